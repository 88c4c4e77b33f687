"""Lay trials whose times restart with every trial on one session clock, with gaps between them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd

from cortexrnn.spikes.ticks import to_ticks

GAP_S = 0.5


@dataclass(frozen=True, eq=False, kw_only=True, slots=True)
class Trialised:
    """Spikes on the clocks of their own trials.

    Attributes
    ----------
    times_s : ndarray of float64, shape (n_spikes,)
        Seconds from the trial's own zero.
    trial, unit : ndarray of int64, shape (n_spikes,)
        Position of the spike's trial and unit.
    n_units : int
        Number of units.
    table : pandas.DataFrame
        One row a trial; `start_s` and `stop_s` from the trial's own zero where known.
    tick_hz : float
        Ticks per second of the clock to be made.
    """

    times_s: np.ndarray
    trial: np.ndarray
    unit: np.ndarray
    n_units: int
    table: pd.DataFrame
    tick_hz: float


def lay_out(parts: Trialised) -> tuple[list[np.ndarray], pd.DataFrame, np.ndarray]:
    """Put trial after trial on a synthetic clock.

    Parameters
    ----------
    parts : Trialised
        Spikes, trials and their own times.

    Returns
    -------
    times_s : list of ndarray
        One unit after the other, session seconds, in the order of the file.
    trials : pandas.DataFrame
        `start_s` and `stop_s` (NaN where unknown) on the synthetic clock, `zero_s` where a trial's
        zero is not its start, and the other columns as they were.
    observed_s : ndarray, shape (n_trials, 2)
        One interval a trial; up to the last spike of the data set where the stop is unknown.

    Raises
    ------
    DataError
        If a time is infinite or beyond the clock.
    """
    n_trials = len(parts.table)
    earliest = float(parts.times_s.min(initial=0.0))
    latest = float(parts.times_s.max(initial=0.0)) + 1.0 / parts.tick_hz
    starts = _column(parts.table, "start_s", n_trials)
    stops = _column(parts.table, "stop_s", n_trials)
    # Without a start the trial begins at its zero, or with the earliest spike of the data set before it.
    begin = np.where(np.isnan(starts), earliest, starts)
    end = np.where(np.isnan(stops), max(latest, float(begin.max(initial=0.0))), stops)
    reach = max(latest, float(end.max(initial=0.0))) - min(earliest, float(begin.min(initial=0.0)))
    for what, values in (("spike times", parts.times_s), ("trial starts", begin), ("trial stops", end)):
        to_ticks(values, parts.tick_hz, what)
    # Zeros on whole ticks, so that a spike's distance from its zero is what the file says.
    period = _whole_ticks(reach + GAP_S, parts.tick_hz)
    lead = _whole_ticks(max(0.0, -earliest, -float(begin.min(initial=0.0))), parts.tick_hz)
    zero = (np.arange(n_trials, dtype=float) * period + lead) / parts.tick_hz
    session = parts.times_s + zero[parts.trial]
    order = np.argsort(parts.unit, kind="stable")
    cuts = np.cumsum(np.bincount(parts.unit, minlength=parts.n_units))[:-1]
    trials = parts.table.drop(columns=["start_s", "stop_s"], errors="ignore")
    trials.insert(0, "start_s", zero + begin)
    trials.insert(1, "stop_s", zero + stops)
    if (begin != 0.0).any():
        trials.insert(2, "zero_s", zero)
    return np.split(session[order], cuts), trials, np.stack([zero + begin, zero + end], axis=1)


def _column(table: pd.DataFrame, name: str, n_rows: int) -> np.ndarray:
    """Return a column of numbers, NaN where the table has none."""
    return table[name].to_numpy(dtype=float) if name in table else np.full(n_rows, np.nan)


def _whole_ticks(seconds: float, tick_hz: float) -> int:
    """Return the ticks of at least so many seconds, rounded up to a whole second first."""
    return int(np.ceil(np.ceil(seconds) * tick_hz))
