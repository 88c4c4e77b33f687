"""The figures of many units, drawn in child processes: matplotlib draws in one thread at a time."""

from __future__ import annotations

import contextlib
import gc
import io
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import asdict
from typing import Any

import numpy as np
import xarray as xr

from cortexrnn.report.drawing import Drawing, draw_units
from cortexrnn.runs.executor import default_workers

# A child is worth its start, one to two seconds, from about this many units on: each takes half a second.
_UNITS_PER_CHILD = 12
_MAX_CHILDREN = 8
_BOOTSTRAP = (
    "import sys, json; sys.path[:] = json.loads(sys.argv[1]); "
    "from cortexrnn.report.drawing_pool import serve; serve(int(sys.argv[2]), int(sys.argv[3]))"
)


def draw_many_units(
    summary: dict[str, Any], panels: xr.Dataset, *, n_children: int | None = None
) -> Iterator[list[Drawing]]:
    """Draw the figures of each unit in the order of ``summary["units"]``, several units at a time.

    Parameters
    ----------
    summary : dict
        As `write_report` takes it.
    panels : xarray.Dataset
        As `write_report` takes it.
    n_children : int, optional
        Processes that draw; below two it is this one. If not given one a core, and no more than the units are worth.

    Yields
    ------
    list of Drawing
        The same text however many processes draw. What a child that died has not drawn is drawn in this process.
    """
    n_units = len(summary["units"])
    if n_children is None:
        n_children = min(default_workers(), _MAX_CHILDREN, n_units // _UNITS_PER_CHILD)
    if n_children < 2:
        yield from draw_units(summary, panels)
        return
    with _children(summary, panels, n_children) as children:
        for number in range(n_units):
            line = children[number % n_children].stdout.readline()
            if line.endswith(b"\n"):
                yield [Drawing(**drawing) for drawing in json.loads(line)]
            else:
                yield from draw_units(summary, panels, numbers=[number])


def serve(first: int, step: int) -> None:
    """Draw every `step`-th unit from `first` on and write one line each: the child's side of `draw_many_units`.

    Parameters
    ----------
    first : int
        Number of the first unit.
    step : int
        Number of children.
    """
    # The answer gets a descriptor of its own; what a library prints must not mix with it.
    answer_to = os.dup(1)
    os.dup2(2, 1)
    summary = json.loads(sys.stdin.buffer.readline())
    panels = xr.load_dataset(io.BytesIO(sys.stdin.buffer.read()), engine="h5netcdf")
    # Figures are rings of references: looking for them over and over takes a fifth of the time.
    gc.disable()
    with os.fdopen(answer_to, "wb") as pipe:
        for drawings in draw_units(summary, panels, numbers=range(first, len(summary["units"]), step)):
            pipe.write(json.dumps([asdict(drawing) for drawing in drawings]).encode() + b"\n")
            pipe.flush()
            gc.collect(1)


@contextlib.contextmanager
def _children(summary: dict[str, Any], panels: xr.Dataset, n: int) -> Iterator[list[subprocess.Popen[bytes]]]:
    """Start children, hand them what they draw, and end them whatever happens."""
    told = json.dumps({"units": summary["units"]}, default=_plain).encode() + b"\n"
    told += bytes(panels.drop_attrs(deep=False).drop_encoding().to_netcdf(engine="h5netcdf"))
    search_path = json.dumps([entry or os.getcwd() for entry in sys.path])
    # Not multiprocessing: it would run a script again that does not guard its main part.
    # -I keeps the working folder from choosing what the child imports.
    command = [sys.executable, "-I", "-c", _BOOTSTRAP, search_path]
    children: list[subprocess.Popen[bytes]] = []
    try:
        children.extend(
            subprocess.Popen(
                [*command, str(first), str(n)],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                start_new_session=True,
            )
            for first in range(n)
        )
        for child in children:
            with contextlib.suppress(BrokenPipeError), child.stdin:
                child.stdin.write(told)
        yield children
    finally:
        for child in children:
            child.kill()
            child.stdout.close()
            child.wait()


def _plain(value: Any) -> Any:
    """Give a number or array of NumPy as JSON holds it."""
    return value.tolist() if isinstance(value, np.generic | np.ndarray) else str(value)
