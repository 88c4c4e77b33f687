"""Events of the trials table on the bins of trials: impulses, and states that last from one event to another."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import pandas as pd
import xarray as xr

from cortexrnn.errors import DataError, OptionError, TimeUnitError
from cortexrnn.schema import is_stimulus_locked
from cortexrnn.spikes.align import SESSION_COLUMNS
from cortexrnn.spikes.binning import BinGrid, count_spikes, make_grid, merge_intervals
from cortexrnn.spikes.ticks import to_ticks

if TYPE_CHECKING:
    from cortexrnn.spikes.recording import Recording

_NOTHING = ("", "nan", "none", "nat", "<na>")


class EventFrame(NamedTuple):
    """The bins of all trials on the integer clock of the recording, and the table whose events lie on it.

    Attributes
    ----------
    recording : Recording
        What the trials were cut from.
    rows : pandas.DataFrame
        The trials table; where `is_own`, the row of every trial, in order.
    is_own : bool
        Whether only the events of its own row count for a trial.
    events : ndarray of int64, shape (n_trials,)
        Tick of every trial's time zero.
    grid : BinGrid
        The bins, without burn-in.
    where : str
        Whose events they are, for messages.
    """

    recording: Recording
    rows: pd.DataFrame
    is_own: bool
    events: np.ndarray
    grid: BinGrid
    where: str

    @property
    def span(self) -> str:
        """From when to when the trials reach, in words."""
        first = self.grid.edge_ticks(self.events, 0).min() / self.recording.tick_hz
        last = self.grid.edge_ticks(self.events, self.grid.n_bins).max() / self.recording.tick_hz
        return f"{first:g} to {last:g} s"

    def ticks(self, column: str) -> tuple[np.ndarray, np.ndarray]:
        """Give a column of times in ticks of the session.

        Parameters
        ----------
        column : str
            Its name.

        Returns
        -------
        ticks : ndarray of int64, shape (n_rows,)
        is_known : ndarray of bool, shape (n_rows,)
            False where the column holds no time.

        Raises
        ------
        OptionError
            If there is no such column.
        DataError
            If it is not numeric, or holds no time at all.
        TimeUnitError
            If it does not tell its unit of time.
        """
        check_column(self.rows, column, self.where)
        if column in self.recording.attrs.get("columns_without_unit", ()):
            raise TimeUnitError(
                f"column {column!r} of the trials file does not say its unit of time.",
                where=self.where,
                hint=f"Rename it to {column}_s, {column}_ms, {column}_us or {column}_samples.",
            )
        times_s = numbers_of(self.rows[column], column, self.where)
        if self.recording.attrs.get("clock") == "synthetic" and column not in SESSION_COLUMNS:
            times_s = times_s + self.rows["zero_s" if "zero_s" in self.rows else "start_s"].to_numpy(dtype=float)
        is_known = np.isfinite(times_s)
        if not is_known.any():
            raise DataError(f"column {column!r} holds no time in any of {times_s.size} rows.", where=self.where)
        return to_ticks(np.where(is_known, times_s, 0.0), self.recording.tick_hz, self.where), is_known


def event_frame(trials: xr.Dataset, recording: Recording, where: str) -> EventFrame:
    """Lay the bins of trials on the clock of their recording.

    Parameters
    ----------
    trials : xarray.Dataset
        Trials dataset.
    recording : Recording
        What they were cut from.
    where : str
        Whose events will be laid there, for messages.

    Returns
    -------
    EventFrame

    Raises
    ------
    OptionError
        If the recording has no trials table.
    DataError
        If the trials are not rows of it.
    """
    if recording.trials.empty:
        raise OptionError("the recording has no trials table to take events from.", where=where)
    time_s, bin_s = trials["time"].values, float(trials.attrs["bin_s"])
    window_s = float(time_s[0]), float(time_s[-1]) + bin_s
    is_own = has_own_clocks(trials)
    return EventFrame(
        recording=recording,
        rows=rows_of(trials, recording, where) if is_own else recording.trials,
        is_own=is_own,
        events=to_ticks(trials["start_s"].values, recording.tick_hz, where),
        grid=make_grid(window_s, bin_s=bin_s, history_s=0.0, tick_hz=recording.tick_hz),
        where=where,
    )


def lay_timing(frame: EventFrame, column: str) -> np.ndarray:
    """Count the events of a column in every bin.

    Parameters
    ----------
    frame : EventFrame
        Bins and table.
    column : str
        Column of times.

    Returns
    -------
    ndarray of float64, shape (n_trials, n_bins)

    Raises
    ------
    OptionError, DataError, TimeUnitError
        See `EventFrame.ticks`.
    """
    ticks, is_known = frame.ticks(column)
    if not frame.is_own:
        return count_spikes(np.sort(ticks[is_known]), frame.events, frame.grid).astype(float)
    trial = np.flatnonzero(is_known)
    # On integers, as spikes are: no floating point decides on which side of an edge an event falls.
    position = ((ticks[trial] - frame.events[trial]) * frame.grid.scale - frame.grid.first) // frame.grid.width
    is_inside = (position >= 0) & (position < frame.grid.n_bins)
    values = np.zeros((frame.events.size, frame.grid.n_bins))
    values[trial[is_inside], position[is_inside]] = 1.0
    return values


def lay_boxcar(frame: EventFrame, start: str, stop: str) -> np.ndarray:
    """Give the share of every bin that lies between the events of two columns.

    Parameters
    ----------
    frame : EventFrame
        Bins and table.
    start, stop : str
        Columns of times.

    Returns
    -------
    ndarray of float64, shape (n_trials, n_bins)

    Raises
    ------
    OptionError, DataError, TimeUnitError
        See `EventFrame.ticks`; also if an interval stops before it starts.
    """
    starts, has_start = frame.ticks(start)
    stops, has_stop = frame.ticks(stop)
    is_known = has_start & has_stop
    intervals = np.stack([starts, stops], axis=1)[is_known]
    n_reversed = int((intervals[:, 1] < intervals[:, 0]).sum())
    if n_reversed:
        raise DataError(f"{n_reversed} intervals stop before they start.", where=frame.where)
    trial = np.flatnonzero(is_known)
    if not frame.is_own:
        # Where intervals overlap the state is still 1.
        trial, intervals = _meet(frame, merge_intervals(intervals[np.argsort(intervals[:, 0], kind="stable")]))
    whole = np.zeros((frame.events.size, frame.grid.n_bins + 1))
    part = np.zeros(whole.shape)
    for side, sign in ((0, 1.0), (1, -1.0)):
        steps = (intervals[:, side] - frame.events[trial]) * frame.grid.scale - frame.grid.first
        position = np.clip(steps / frame.grid.width, 0.0, frame.grid.n_bins)
        first = position.astype(np.int64)
        np.add.at(whole, (trial, first), sign)
        np.add.at(part, (trial, first), -sign * (position - first))
    return (np.cumsum(whole, axis=1) + part)[:, :-1]


def rows_of(trials: xr.Dataset, recording: Recording, where: str) -> pd.DataFrame:
    """Find the row of the recording's table that each trial was cut from.

    Parameters
    ----------
    trials : xarray.Dataset
        Trials dataset.
    recording : Recording
        What they were cut from.
    where : str
        Who asks, for messages.

    Returns
    -------
    pandas.DataFrame
        One row a trial, in their order.

    Raises
    ------
    DataError
        If a trial is in no row, or in several.
    """
    name = trials.attrs["align_to"]
    table = recording.trials if name in recording.trials else recording.tables.get(name, recording.trials)
    ids = trials["trial"].values
    if not table.index.is_unique or not np.isin(ids, table.index).all():
        raise DataError(
            "the trials are not rows of the recording's table.",
            where=where,
            hint="Give the recording that they were aligned from.",
        )
    return table.loc[ids]


def has_own_clocks(trials: xr.Dataset) -> bool:
    """Tell whether every trial has a clock of its own, laid on a synthetic one.

    Parameters
    ----------
    trials : xarray.Dataset
        Trials dataset.
    """
    return trials.attrs.get("clock") == "synthetic" and is_stimulus_locked(trials)


def check_column(rows: pd.DataFrame, column: str, where: str) -> None:
    """Raise OptionError where a table has no such column.

    Parameters
    ----------
    rows : pandas.DataFrame
        The table.
    column : str
        Name of the column.
    where : str
        Who asks, for messages.
    """
    if column not in rows:
        raise OptionError(
            f"there is no column {column!r}.", where=where, hint=f"The columns are {', '.join(map(str, rows.columns))}."
        )


def numbers_of(values: pd.Series, column: str, where: str) -> np.ndarray:
    """Give a column as numbers, NaN where a cell is empty.

    Parameters
    ----------
    values : pandas.Series
        The column.
    column : str
        Its name.
    where : str
        Who asks, for messages.

    Returns
    -------
    ndarray of float64, shape (n_rows,)

    Raises
    ------
    DataError
        If a cell holds text, or an infinite number.
    """
    numbers = pd.to_numeric(values, errors="coerce").to_numpy(dtype=float)
    texts = [str(cell).strip() for cell in values.to_numpy()[np.isnan(numbers)]]
    text = next((text for text in texts if text.lower() not in _NOTHING), None)
    if text is not None:
        raise DataError(f"column {column!r} holds {text[:40]!r}, which is no number.", where=where)
    if np.isinf(numbers).any():
        raise DataError(f"column {column!r} holds {int(np.isinf(numbers).sum())} infinite values.", where=where)
    return numbers


def _meet(frame: EventFrame, intervals: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Pair trials with the disjoint intervals that touch them; give the trial of every pair, and its interval."""
    left, right = frame.grid.edge_ticks(frame.events, 0), frame.grid.edge_ticks(frame.events, frame.grid.n_bins)
    lowest = np.searchsorted(intervals[:, 1], left, side="right")
    n_met = np.maximum(np.searchsorted(intervals[:, 0], right) - lowest, 0)
    trial = np.repeat(np.arange(left.size), n_met)
    before = np.concatenate(([0], np.cumsum(n_met)[:-1]))
    return trial, intervals[np.arange(trial.size) + np.repeat(lowest - before, n_met)]
