"""What an array from MATLAB holds: a 0/1 raster, spike times, or nested cells of them; runs in the child."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from cortexrnn.errors import DataError, OptionError
from cortexrnn.spikes.readers.matlab_fieldtrip import is_fieldtrip, read_fieldtrip

TIME_FIELDS = ("time", "times", "spike_times", "spiketimes", "ts", "t")
MAX_DEPTH = 12


def choose(variable: str | None, shapes: Mapping[str, str]) -> str:
    """Return the name of the array to read; without a name only where there is no other.

    Parameters
    ----------
    variable : str or None
        What the caller asked for; ``"session.spikes"`` means a field of a struct.
    shapes : mapping
        Name and description of every array of the file.

    Returns
    -------
    str

    Raises
    ------
    OptionError
        If there is no such array, or the caller must choose.
    """
    listed = ", ".join(f"{name} ({shape})" for name, shape in list(shapes.items())[:30]) or "nothing"
    if variable is None:
        if len(shapes) == 1:
            return next(iter(shapes))
        raise OptionError(
            f"the file holds several arrays: {listed}.",
            hint="Say which one holds the spikes with variable=NAME.",
        )
    if variable.split(".")[0] not in shapes:
        raise OptionError(f"there is no array {variable!r}.", hint=f"The file holds {listed}.")
    return variable


def step_into(node: Any, fields: list[str]) -> Any:
    """Follow the names of struct fields.

    Parameters
    ----------
    node : Any
        Array, or dict for a struct.
    fields : list of str
        Names, outermost first.

    Returns
    -------
    Any

    Raises
    ------
    OptionError
        If a field is not there.
    """
    for name in fields:
        while isinstance(node, np.ndarray) and node.dtype == object and node.size == 1:
            node = node.ravel()[0]
        if not isinstance(node, dict) or name not in node:
            known = ", ".join(node) if isinstance(node, dict) else "no fields"
            raise OptionError(f"there is no field {name!r}.", hint=f"There are {known}.")
        node = node[name]
    return node


def describe(node: Any, name: str, vectors: Callable[[set[int]], dict[str, np.ndarray]]) -> dict[str, Any]:
    """Reduce an array to spikes.

    Parameters
    ----------
    node : Any
        Numeric array, object array (cells) or dict (struct).
    name : str
        Its name, which becomes the id of a single unit.
    vectors : callable
        Given lengths, returns the numeric vectors of the file that have one of them.

    Returns
    -------
    dict
        ``kind`` "raster" (trial, bin, n_trials, n_bins, vectors), "times" (times, offsets) or "trials"
        (see `cortexrnn.spikes.readers.matlab_fieldtrip.read_fieldtrip`); unit_ids, notes.

    Raises
    ------
    DataError
        If the array is none of these.
    """
    if isinstance(node, np.ndarray) and node.dtype.kind in "biuf" and node.ndim <= 2:
        values = np.atleast_2d(node)
        if values.size and _is_raster(values):
            if values.shape[1] == 1:
                values = values.T
            trial, bins = np.nonzero(values)
            n_trials, n_bins = values.shape
            return {
                "kind": "raster",
                "trial": trial.astype(np.int64),
                "bin": bins.astype(np.int64),
                "n_trials": n_trials,
                "n_bins": n_bins,
                "vectors": vectors({n_trials, n_bins} - {1}),
                "unit_ids": [name],
                "notes": [],
            }
        if 1 not in values.shape and values.size:
            raise DataError(
                f"the array {name!r} of {values.shape[0]} x {values.shape[1]} numbers is no 0/1 raster "
                f"(values from {np.nanmin(values):g} to {np.nanmax(values):g}).",
                hint="Expected trials x bins of 0 and 1, a vector of spike times, or cells with one vector a unit.",
            )
        return _as_units([(name, values.ravel())], [])
    while isinstance(node, np.ndarray) and node.dtype == object and node.size == 1:
        node = node.ravel()[0]
    if is_fieldtrip(node):
        return read_fieldtrip(node)
    notes: list[str] = []
    units = _collect(node, (), notes)
    if not units:
        raise DataError(
            f"the array {name!r} holds no spike times.", hint=f"Looked for fields {', '.join(TIME_FIELDS)}."
        )
    return _as_units([("-".join(map(str, path)) or name, times) for path, times in units], notes)


def _is_raster(values: np.ndarray) -> bool:
    """Tell whether all values are 0 or 1 and there are more than two of them."""
    return values.size > 2 and bool(((values == 0) | (values == 1)).all())


def _collect(
    node: Any, path: tuple[int, ...], notes: list[str], *, keeps_empty: bool = False
) -> list[tuple[tuple[int, ...], np.ndarray]]:
    """Return (path of 1-based positions, times) of every unit below a node.

    Empty cells are skipped, and so are single structs without times in cells (MatClust keeps deleted units
    so). Among the cells of one field, which is what an array of structs is, they are units without spikes.
    """
    if len(path) > MAX_DEPTH:
        raise DataError(f"the cells are nested deeper than {MAX_DEPTH} levels.")
    if isinstance(node, dict):
        field = next((name for name in TIME_FIELDS if name in node), None)
        if field is None:
            notes.append(f"struct {path} has no field of times ({', '.join(list(node)[:8])}) and is left out")
            return []
        is_many = isinstance(node[field], np.ndarray) and node[field].dtype == object
        return _collect(node[field], path, notes, keeps_empty=keeps_empty or is_many)
    if not isinstance(node, np.ndarray):
        return []
    if node.size == 0:
        return [(path, np.empty(0))] if keeps_empty and path else []
    if node.dtype == object:
        if node.ndim == 2 and min(node.shape) > 1:
            raise DataError(
                f"a cell array of {node.shape[0]} x {node.shape[1]} could be units by trials or trials by units.",
                hint="Give a CSV with unit, trial and time, or cells with one vector a unit.",
            )
        found = []
        for position, child in enumerate(node.ravel(), start=1):
            found += _collect(_unwrap(child), (*path, position), notes, keeps_empty=keeps_empty)
        return found
    if node.dtype.kind not in "biuf":
        return []
    # MatClust and others keep one row a spike with the time in the first column.
    return [(path, node[:, 0] if node.ndim == 2 and 1 not in node.shape else node.ravel())]


def _unwrap(node: Any) -> Any:
    """Return the struct inside a 1 x 1 cell of it; leave cells of cells alone, whose levels name units."""
    if (
        isinstance(node, np.ndarray)
        and node.dtype == object
        and node.size == 1
        and isinstance(node.ravel()[0], dict)
    ):
        return node.ravel()[0]
    return node


def _as_units(units: list[tuple[str, np.ndarray]], notes: list[str]) -> dict[str, Any]:
    """Return units as flat times with offsets."""
    times = [np.asarray(values, dtype=np.float64) for _, values in units]
    return {
        "kind": "times",
        "times": np.concatenate([np.empty(0), *times]),
        "offsets": np.concatenate(([0], np.cumsum([values.size for values in times]))).astype(np.int64),
        "unit_ids": [name for name, _ in units],
        "notes": notes,
    }
