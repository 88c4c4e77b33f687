"""Archives that pynapple saves: TsGroup and Ts with their time support, IntervalSet as trials."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from cortexrnn.errors import DataError
from cortexrnn.spikes.readers.npz import read_members
from cortexrnn.spikes.readers.request import Request, choose_trials
from cortexrnn.spikes.recording import NANOSECONDS_HZ, Recording

_WHAT = "a pynapple archive"
_GROUP, _SINGLE, _INTERVALS = "TsGroup", "Ts", "IntervalSet"
_PARTS = ("type", "t", "index", "keys", "start", "end", "d")


def kind_of(arrays: dict[str, np.ndarray]) -> str | None:
    """Tell which pynapple object an archive holds; None for other archives.

    Parameters
    ----------
    arrays : dict of str to ndarray
        All arrays of the archive.
    """
    told = arrays.get("type")
    if told is None or told.dtype.kind != "U" or told.size != 1 or "start" not in arrays or "end" not in arrays:
        return None
    return str(told.ravel()[0])


def from_archive(arrays: dict[str, np.ndarray], request: Request) -> Recording:
    """Make a recording of a TsGroup or a Ts.

    Parameters
    ----------
    arrays : dict of str to ndarray
        All arrays of the archive but the pickled metadata.
    request : Request
        `trials` may be the archive of an IntervalSet.

    Returns
    -------
    Recording
        The time support is what was observed.

    Raises
    ------
    DataError
        If an array is missing or does not fit the others, or the object holds no spikes.
    OptionError
        If an option is of no use.
    """
    where, kind = request.where, kind_of(arrays)
    if kind not in (_GROUP, _SINGLE):
        raise DataError(
            f"the archive holds a pynapple {kind}, which are no spikes.",
            where=where,
            hint="Save the TsGroup; an IntervalSet goes into trials=.",
        )
    times = _vector(arrays, "t", where)
    if kind == _SINGLE:
        ids, per_unit, columns = [0], [times], {}
    else:
        ids, per_unit = _split(arrays, times, where)
        columns = {
            name: values for name, values in arrays.items() if name not in _PARTS and values.shape == (len(ids),)
        }
    trials, without_unit = _trials(request)
    recording = Recording.from_arrays(
        per_unit,
        unit_ids=ids,
        trials=trials,
        observed_s=_intervals(arrays, where),
        tick_hz=NANOSECONDS_HZ,
        attrs={"columns_without_unit": without_unit, "notes": ["pickled metadata, if any, are not read"]},
    )
    recording.units[list(columns)] = pd.DataFrame(columns, index=recording.units.index)
    return recording


def read_intervals(path: Path) -> pd.DataFrame:
    """Read the archive of an IntervalSet as a table of trials.

    Parameters
    ----------
    path : Path
        The archive.

    Returns
    -------
    pandas.DataFrame
        Columns `start_s` and `stop_s`.

    Raises
    ------
    DataError
        If it holds something else.
    """
    arrays = read_members(path)
    if kind_of(arrays) != _INTERVALS:
        raise DataError("the archive holds no pynapple IntervalSet.", where=str(path))
    edges = _intervals(arrays, str(path))
    return pd.DataFrame({"start_s": edges[:, 0], "stop_s": edges[:, 1]}).rename_axis("trial")


def _trials(request: Request) -> tuple[pd.DataFrame | None, list[str]]:
    """Return the trials of an IntervalSet, or of a table."""
    if request.trials is not None and request.trials.endswith(".npz"):
        return read_intervals(Path(request.trials)), []
    return choose_trials({}, request, _WHAT)


def _split(arrays: dict[str, np.ndarray], times: np.ndarray, where: str) -> tuple[list[Any], list[np.ndarray]]:
    """Return the units, also those without spikes, and their times."""
    index = arrays.get("index")
    keys = arrays.get("keys", None if index is None else np.unique(index))
    if index is None or index.shape != times.shape or index.dtype.kind not in "iuf" or keys.ndim != 1:
        raise DataError("the unit of each spike is missing or does not fit the times.", where=where)
    if keys.dtype.kind not in "iuf" or len(set(keys.tolist())) < keys.size or not np.isin(index, keys).all():
        raise DataError("the keys of the units are repeated, or spikes belong to none of them.", where=where)
    if not np.array_equal(keys, np.rint(keys)):
        raise DataError("the keys of the units are no whole numbers.", where=where)
    return keys.astype(np.int64).tolist(), [times[index == key] for key in keys]


def _intervals(arrays: dict[str, np.ndarray], where: str) -> np.ndarray:
    """Return the start and end arrays, shape (n_intervals, 2)."""
    start, end = _vector(arrays, "start", where), _vector(arrays, "end", where)
    if start.shape != end.shape:
        raise DataError(f"{start.size} interval starts and {end.size} ends; expected as many.", where=where)
    return np.stack([start, end], axis=1)


def _vector(arrays: dict[str, np.ndarray], name: str, where: str) -> np.ndarray:
    """Return one array of numbers."""
    values = arrays.get(name)
    if values is None or values.ndim != 1 or values.dtype.kind not in "iuf":
        raise DataError(f"array {name!r} is missing or no vector of numbers.", where=where)
    return values.astype(np.float64)
