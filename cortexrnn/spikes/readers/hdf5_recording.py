"""From what the child found in an NWB or NIX file to a Recording."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd

from cortexrnn.errors import DataError
from cortexrnn.runs.guard import limits_for_size, run_guarded
from cortexrnn.spikes.readers.request import Request, choose_trials
from cortexrnn.spikes.recording import NANOSECONDS_HZ, SESSION, SYNTHETIC, Recording


def read_hdf5(request: Request) -> Recording:
    """Read an NWB file, or a NIX file by Neo, in the guarded child.

    Parameters
    ----------
    request : Request
        The file; `trials` names an interval table of it, or another file.

    Returns
    -------
    Recording

    Raises
    ------
    CortexError
        Whatever the child says.
    DataError
        If what this package once wrote into the file is damaged.
    """
    limits = limits_for_size(request.path.stat().st_size)
    tree = run_guarded(
        "cortexrnn.spikes.readers.hdf5:read_hdf5",
        {"path": str(request.path.resolve()), "max_bytes": limits.memory_bytes},
        limits=limits,
        where=request.where,
    )
    what = "a NIX file" if tree["kind"] == "nix" else "an NWB file"
    tables = {name: _frame(columns) for name, columns in tree["tables"].items()}
    trials, without_unit = choose_trials(tables, request, what)
    observed = tree["observed"]
    if observed is not None:
        observed = np.split(np.reshape(observed["s"], (-1, 2)), observed["offsets"][1:-1])
    told = _own_attrs(tree.get("written_by_us", {}), request)
    columns = tree["units"]
    names = columns.pop("unit_name", None) if told else None
    recording = Recording.from_arrays(
        np.split(tree["times_s"], tree["offsets"][1:-1]) if tree["unit_ids"] else [],
        trials=trials,
        observed_s=observed,
        unit_ids=names or tree["unit_ids"],
        tick_hz=told.pop("tick_hz", NANOSECONDS_HZ),
        attrs={
            **told,
            "reader": tree["kind"],
            "notes": [*told.get("notes", []), *tree["notes"]],
            "columns_without_unit": without_unit,
        },
    )
    units = pd.DataFrame(columns, index=recording.units.index)
    return replace(recording, units=units, tables=tables)


def _own_attrs(told: dict[str, Any], request: Request) -> dict[str, Any]:
    """Return what our own writer said about clock and ticks, after checking it."""
    if not told:
        return {}
    known = {name: told[name] for name in ("clock", "observed", "notes", "tick_hz") if name in told}
    rate = known.get("tick_hz")
    if (
        known.get("clock") not in (SESSION, SYNTHETIC)
        or known.get("observed") not in ("given", "inferred")
        or not isinstance(known.get("notes"), list)
        or not isinstance(rate, int | float)
        or not 0 < rate < float("inf")
    ):
        raise DataError("the notes that this package left in the file are damaged.", where=request.where)
    return known


def _frame(columns: dict[str, Any]) -> pd.DataFrame:
    """Make a table of columns; `id`, if there is one, becomes the index."""
    table = pd.DataFrame({name: values for name, values in columns.items() if name != "id"}, index=columns.get("id"))
    return table.rename_axis("trial") if "id" not in columns else table
