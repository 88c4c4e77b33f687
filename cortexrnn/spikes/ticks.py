"""From seconds to sorted integer ticks, one unit at a time, with what is wrong named on the way."""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from cortexrnn._checks import without_unit
from cortexrnn.errors import DataError, DataWarning, OptionError

if TYPE_CHECKING:
    from cortexrnn.spikes.recording import Recording

_LARGEST_TICK = 2.0**62


def to_ticks(times_s: np.ndarray, tick_hz: float, what: str) -> np.ndarray:
    """Round seconds to whole ticks.

    Parameters
    ----------
    times_s : ndarray of float
        Times in seconds.
    tick_hz : float
        Ticks per second.
    what : str
        Whose times they are, for the message.

    Returns
    -------
    ndarray of int64, same shape

    Raises
    ------
    DataError
        If a time is NaN or infinite, or leaves 62 bits.
    """
    try:
        times = np.asarray(without_unit("times_s", times_s), dtype=float)
    except OptionError:
        raise
    except (TypeError, ValueError):
        raise DataError("the times are not numbers.", where=what) from None
    n_bad = int(times.size - np.isfinite(times).sum())
    if n_bad:
        raise DataError(
            f"{n_bad} of {times.size} times are NaN or infinite.", where=what, hint="Remove or repair them."
        )
    if times.size and np.abs(times).max() >= _LARGEST_TICK / tick_hz:
        raise DataError(
            f"a time of {np.abs(times).max():g} s is beyond the clock of {tick_hz:g} ticks per second.",
            where=what,
            hint="Check the unit of time.",
        )
    return np.rint(times * tick_hz).astype(np.int64)


def sorted_ticks(times_s: np.ndarray, tick_hz: float, unit: Any) -> np.ndarray:
    """Return one unit's times as sorted ticks, with a warning if they were not sorted."""
    ticks = to_ticks(times_s, tick_hz, f"unit {unit}")
    if ticks.ndim != 1:
        raise DataError(f"the times have shape {ticks.shape}; expected one dimension.", where=f"unit {unit}")
    n_falls = int((np.diff(ticks) < 0).sum())
    if n_falls:
        message = (
            f"unit {unit}: spike times were not sorted (they fall {n_falls} times); they are now. "
            "Times that restart with every trial need a trial column."
        )
        warnings.warn(DataWarning(message), stacklevel=3)
        ticks = np.sort(ticks)
    return ticks


def warn_of_silent_units(silent: list[Any]) -> None:
    """Name the units that have no spikes."""
    if silent:
        shown = ", ".join(map(str, silent[:10])) + (", ..." if len(silent) > 10 else "")
        message = f"{len(silent)} unit(s) have no spikes and are kept: {shown}."
        warnings.warn(DataWarning(message), stacklevel=3)


def concatenate(parts: list[np.ndarray], *, width: int | None = None) -> tuple[np.ndarray, np.ndarray]:
    """Join per-unit arrays, rows of `width` values or single ticks, into a flat one with offsets."""
    nothing = np.empty(0 if width is None else (0, width), dtype=np.int64)
    offsets = np.concatenate(([0], np.cumsum([len(part) for part in parts]))).astype(np.int64)
    return np.concatenate([nothing, *parts]), offsets


def inferred_span(ticks: np.ndarray, trials: pd.DataFrame, tick_hz: float) -> np.ndarray:
    """Return the one interval from the first to the last spike or trial edge, shape (0 or 1, 2)."""
    edges = [trials[name].dropna() for name in ("start_s", "stop_s") if name in trials]
    known = [to_ticks(edge.to_numpy(), tick_hz, "trials table") for edge in edges]
    if ticks.size:
        known.append(np.array([ticks.min(), ticks.max() + 1]))
    everything = np.concatenate([np.empty(0, dtype=np.int64), *known])
    if not everything.size:
        return np.empty((0, 2), dtype=np.int64)
    return np.array([[everything.min(), everything.max()]])


def intervals_per_unit(observed_s: Any, ids: list[Any], tick_hz: float) -> list[np.ndarray]:
    """Return each unit's observed intervals in ticks, sorted, from one array for all or one a unit."""
    observed_s = without_unit("observed_s", observed_s)
    shared = isinstance(observed_s, np.ndarray) and observed_s.ndim == 2
    per_unit = [observed_s] * len(ids) if shared else list(observed_s)
    if len(per_unit) != len(ids):
        raise DataError(f"observed_s has {len(per_unit)} arrays for {len(ids)} units; expected one a unit.")
    intervals = []
    for unit, values in zip(ids, per_unit, strict=True):
        where = f"observed intervals of unit {unit}"
        ticks = to_ticks(np.asarray(without_unit("observed_s", values), dtype=float).reshape(-1, 2), tick_hz, where)
        if (ticks[:, 1] < ticks[:, 0]).any():
            raise DataError("an interval stops before it starts.", where=where)
        intervals.append(ticks[np.argsort(ticks[:, 0], kind="stable")])
    return intervals


def check_layout(recording: Recording) -> None:
    """Check that the arrays and tables of a recording fit together.

    Parameters
    ----------
    recording : Recording
        With integer arrays.

    Raises
    ------
    DataError
        If they do not.
    """
    intervals, n_units = recording.observed_ticks, len(recording.units)
    if intervals.ndim != 2 or intervals.shape[1] != 2:
        raise DataError(f"observed_ticks has shape {intervals.shape}; expected (n_intervals, 2).")
    if not recording.units.index.is_unique:
        twice = recording.units.index[recording.units.index.duplicated()].tolist()[0]
        raise DataError(f"unit id {twice!r} occurs twice; ids must be unique.")
    for name, values in (("", recording.ticks), ("observed_", intervals[:, 0])):
        offsets = getattr(recording, f"{name}offsets")
        is_cut = offsets.shape == (n_units + 1,) and offsets[0] == 0 and offsets[-1] == len(values)
        if not is_cut or (np.diff(offsets) < 0).any():
            raise DataError(f"{name}offsets does not cut {len(values)} rows into {n_units} units.")
        falls = np.flatnonzero(np.diff(values) < 0) + 1
        inner = falls[~np.isin(falls, offsets)]
        if inner.size:
            unit = int(np.searchsorted(offsets, inner[0], side="right")) - 1
            raise DataError(f"{name}ticks is not sorted within the unit at position {unit}.")
    if (intervals[:, 1] < intervals[:, 0]).any():
        raise DataError("an observed interval stops before it starts.")
    if len(recording.trials) and "start_s" not in recording.trials:
        raise DataError(f"trials has no column 'start_s'; it has {list(map(str, recording.trials.columns))}.")
