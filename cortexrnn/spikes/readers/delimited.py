"""Spike times and trials tables in CSV and TSV files."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from cortexrnn.errors import DataError, DataWarning
from cortexrnn.runs.files import read_bytes
from cortexrnn.spikes.readers.synthetic import Trialised
from cortexrnn.spikes.readers.table import TextTable, read_table
from cortexrnn.spikes.readers.time_units import ACCEPTED, is_in_samples, split_header, time_scale, told_unit

UNIT_NAMES = ("unit", "neuron", "cluster", "unit_id", "neuron_id", "cluster_id")
TRIAL_NAMES = ("trial", "trial_id")
TIME_STEMS = ("time", "times", "spike_time", "spike_times", "t", "timestamp", "timestamps")
_EDGES = ("start", "stop", "duration")
_EDGE_NAMES = {"start_time": "start", "stop_time": "stop", "end": "stop", "end_time": "stop"}
NANOSECONDS_HZ = 1e9


@dataclass(frozen=True, kw_only=True, slots=True)
class TimeOptions:
    """What the caller says about the times: their unit, and the rate where they are samples."""

    time_unit: str | None = None
    sample_rate_hz: float | None = None


@dataclass(frozen=True, eq=False, kw_only=True, slots=True)
class DelimitedSpikes:
    """Spikes of a table.

    Attributes
    ----------
    times_s : ndarray of float64, shape (n_spikes,)
        Seconds.
    unit : ndarray of int64, shape (n_spikes,)
        Position of each spike's unit.
    unit_ids : list of int or str
        The units.
    trial : ndarray of int64, shape (n_spikes,), or None
        Position of each spike's trial; None where the file has no trial column.
    trial_ids : list of int or str
        The trials that have spikes.
    tick_hz : float
        Clock that holds the times exactly.
    """

    times_s: np.ndarray
    unit: np.ndarray
    unit_ids: list[Any]
    trial: np.ndarray | None
    trial_ids: list[Any]
    tick_hz: float


class TrialsTable(NamedTuple):
    """A table of trials as it was read.

    Attributes
    ----------
    table : pandas.DataFrame or None
        Indexed by trial, in the order of the file; None where there is none.
    without_unit : list of str
        Columns of numbers whose names tell no unit of time.
    has_samples : bool
        Whether a sampling rate was of use.
    """

    table: pd.DataFrame | None
    without_unit: list[str]
    has_samples: bool


def read_spikes(
    content: bytes, *, where: str, options: TimeOptions, select: Mapping[str, Any] | None = None
) -> DelimitedSpikes:
    """Read a table with one spike a row.

    Parameters
    ----------
    content : bytes
        The file.
    where : str
        Its name, for messages.
    options : TimeOptions
        Unit of time and sampling rate where the header does not tell.
    select : mapping, optional
        Only rows whose columns have these values are read.

    Returns
    -------
    DelimitedSpikes

    Raises
    ------
    DataError
        If a column is missing or twice there, or a cell is wrong.
    TimeUnitError
        If the unit of time is not told.

    Warns
    -----
    DataWarning
        If another text column has several values that are read together.
    """
    table = read_table(content, where=where, select=select)
    unit_column = _one(table, "unit", lambda name: name.lower() in UNIT_NAMES, "unit, neuron or cluster")
    time_column = _one(table, "time", lambda name: split_header(name)[0] in TIME_STEMS, ACCEPTED)
    trial_columns = [name for name in table.columns if name.lower() in TRIAL_NAMES]
    times, tick_hz = _seconds(table, time_column, options)
    unit, unit_ids = table.labels(unit_column)
    _check_finite(times, unit, unit_ids, where)
    trial, trial_ids = table.labels(trial_columns[0]) if trial_columns else (None, [])
    _warn_of_mixture(table, {unit_column, time_column, *trial_columns, *(select or {})})
    return DelimitedSpikes(
        times_s=times, unit=unit, unit_ids=unit_ids, trial=trial, trial_ids=trial_ids, tick_hz=tick_hz
    )


def read_trials(
    path: str | Path, *, options: TimeOptions, select: Mapping[str, Any] | None = None
) -> TrialsTable:
    """Read a table with one trial a row.

    Parameters
    ----------
    path : str or Path
        Columns `trial`, `start_s`, `stop_s` or `duration_s` where known, and any others. Columns
        with a unit of time in their name come out in seconds.
    options : TimeOptions
        Unit of time and sampling rate where the names do not tell.
    select : mapping, optional
        Only rows with these values are read, as far as the table has such columns.

    Returns
    -------
    TrialsTable

    Raises
    ------
    DataError
        If a cell is wrong, or a trial is listed twice.
    TimeUnitError
        If start, stop or duration do not tell their unit.
    """
    where = str(path)
    content = read_bytes(path)
    everything = read_table(content, where=where)
    here = {name: value for name, value in (select or {}).items() if name in everything.columns}
    table = read_table(content, where=where, select=here) if here else everything
    names = [name for name in table.columns if name.lower() in TRIAL_NAMES]
    trials = pd.DataFrame(index=pd.RangeIndex(1, len(table.rows) + 1, name="trial"))
    if names:
        codes, labels = table.labels(names[0])
        ids = [labels[code] for code in codes]
        if len(set(ids)) < len(ids):
            twice = next(label for label in labels if ids.count(label) > 1)
            raise DataError(
                f"trial {twice!r} is listed twice.", where=where, hint="Select one data set of the table."
            )
        trials = pd.DataFrame(index=pd.Index(ids, name="trial"))
    without_unit = []
    for name in table.columns:
        if name in names or name in here:
            continue
        label, values, is_known = _trial_column(table, name, options)
        trials[label] = values
        if not is_known:
            without_unit.append(label)
    if "duration_s" in trials and "stop_s" not in trials:
        trials["stop_s"] = trials.get("start_s", 0.0) + trials["duration_s"]
    if "stop_s" in trials and (trials["stop_s"] < trials.get("start_s", 0.0)).any():
        raise DataError("a trial stops before it starts.", where=where)
    told = [options.time_unit, *(split_header(name)[1] for name in table.columns)]
    return TrialsTable(trials, without_unit, any(map(is_in_samples, told)))


def trialise(spikes: DelimitedSpikes, trials: pd.DataFrame | None, where: str) -> tuple[Trialised, list[str]]:
    """Join spikes with a trial column to their trials table.

    Parameters
    ----------
    spikes : DelimitedSpikes
        With `trial`.
    trials : pandas.DataFrame, optional
        What `read_trials` gave; start and stop count from each trial's own zero.
    where : str
        The file, for messages.

    Returns
    -------
    parts : Trialised
        Ready to be laid on a synthetic clock.
    notes : list of str
        What a reader should know.

    Raises
    ------
    DataError
        If spikes belong to a trial that the table does not list.

    Warns
    -----
    DataWarning
        If there is no trials table, spikes lie outside their trials, or times grow from trial to trial.
    """
    notes = []
    if trials is None:
        trials = pd.DataFrame(index=pd.Index(spikes.trial_ids, name="trial"))
        _warn(f"{where}: without a trials table, trials without any spike cannot be known.")
        missing = _missing_numbers(spikes.trial_ids)
        if missing:
            notes.append(
                f"trials {', '.join(map(str, missing[:20]))} have no spike and are not in the recording"
            )
    position = {label: k for k, label in enumerate(trials.index)}
    unknown = [label for label in spikes.trial_ids if label not in position]
    if unknown:
        raise DataError(
            f"spikes belong to trial {unknown[0]!r}, which the trials table does not list "
            f"({len(unknown)} such trials).",
            where=where,
        )
    trial = np.array([position[label] for label in spikes.trial_ids], dtype=np.int64)[spikes.trial]
    _warn_of_session_times(spikes.times_s, trial, where)
    _warn_of_outside(spikes.times_s, trial, trials, where)
    parts = Trialised(
        times_s=spikes.times_s,
        trial=trial,
        unit=spikes.unit,
        n_units=len(spikes.unit_ids),
        table=trials,
        tick_hz=spikes.tick_hz,
    )
    return parts, notes


def _one(table: TextTable, what: str, is_match: Any, expected: str) -> str:
    """Return the one column that matches."""
    found = [name for name in table.columns if is_match(name)]
    if len(found) == 1:
        return found[0]
    columns = ", ".join(table.columns)
    if found:
        raise DataError(f"several columns hold a {what}: {', '.join(found)}.", where=table.where)
    raise DataError(
        f"there is no {what} column; the columns are {columns}.",
        where=table.where,
        hint=f"Expected {expected}.",
    )


def _seconds(table: TextTable, name: str, options: TimeOptions) -> tuple[np.ndarray, float]:
    """Return a column of times in seconds and the clock that holds them exactly."""
    what = f"column {name!r}"
    unit = told_unit(split_header(name)[1], options.time_unit, what=what, where=table.where)
    scale = time_scale(unit, options.sample_rate_hz, what=what, where=table.where)
    clock = float(options.sample_rate_hz) if is_in_samples(unit) else NANOSECONDS_HZ
    return _scaled(table.numbers(name), scale), clock


def _scaled(numbers: np.ndarray, scale: float) -> np.ndarray:
    """Return numbers times a scale; what overflows is infinite, which is refused or shown as such."""
    with np.errstate(over="ignore"):
        return numbers * scale


def _check_finite(times: np.ndarray, unit: np.ndarray, unit_ids: list[Any], where: str) -> None:
    """Raise DataError with unit and count where times are NaN or infinite."""
    is_bad = ~np.isfinite(times)
    if is_bad.any():
        first = unit[is_bad][0]
        n_bad = int((is_bad & (unit == first)).sum())
        raise DataError(
            f"unit {unit_ids[first]}: {n_bad} times are empty, NaN or infinite.",
            where=where,
            hint="Remove or repair these rows.",
        )


def _trial_column(table: TextTable, name: str, options: TimeOptions) -> tuple[str, Any, bool]:
    """Return label and values of one column of a trials table, and whether its unit of time is settled."""
    stem, unit = split_header(name)
    stem = _EDGE_NAMES.get(stem, stem)
    try:
        numbers = table.numbers(name)
    except DataError:
        if stem in _EDGES:
            raise
        return name, table.columns[name], True
    what = f"column {name!r}"
    if stem in _EDGES:
        unit = told_unit(unit, options.time_unit, what=what, where=table.where)
        return (
            f"{stem}_s",
            _scaled(numbers, time_scale(unit, options.sample_rate_hz, what=what, where=table.where)),
            True,
        )
    if unit is not None:
        scale = time_scale(unit, options.sample_rate_hz, what=what, where=table.where)
        return f"{stem}_s", _scaled(numbers, scale), True
    if np.isfinite(numbers).all() and (numbers == np.rint(numbers)).all() and np.abs(numbers).max() < 2**53:
        numbers = numbers.astype(np.int64)
    return name, numbers, False


def _warn_of_mixture(table: TextTable, used: set[str]) -> None:
    """Warn of text columns with several values: the rows may belong to several recordings."""
    for name in set(table.columns) - used:
        values = set(table.columns[name])
        is_text = any(_is_text(value) for value in values)
        if is_text and 1 < len(values) <= 1000:
            example = sorted(values)[0]
            _warn(
                f"{table.where}: column {name!r} has {len(values)} values and is ignored; "
                f"select={{{name!r}: {example!r}}} would read one of them."
            )


def _is_text(value: str) -> bool:
    """Tell whether a cell is text other than nothing."""
    try:
        float(value or "0")
    except ValueError:
        return True
    return False


def _missing_numbers(ids: list[Any]) -> list[int]:
    """Return the whole numbers that are missing in 1..n, where ids are whole numbers."""
    if not all(isinstance(label, int) for label in ids) or not ids or max(ids) > 10 * len(ids) + 100:
        return []
    return sorted(set(range(min(1, min(ids)), max(ids) + 1)) - set(ids) - ({0} if min(ids) > 0 else set()))


def _warn_of_session_times(times_s: np.ndarray, trial: np.ndarray, where: str) -> None:
    """Warn where every trial begins after the one before has ended: such times are not relative."""
    n_trials = int(trial.max(initial=-1)) + 1
    low, high = np.full(n_trials, np.inf), np.full(n_trials, -np.inf)
    np.minimum.at(low, trial, times_s)
    np.maximum.at(high, trial, times_s)
    has_spikes = np.isfinite(low)
    low, high = low[has_spikes], high[has_spikes]
    if low.size >= 3 and (low[1:] > high[:-1]).all():
        _warn(
            f"{where}: times grow from trial to trial, so they look like session times; drop the trial column and "
            "give a trials table with start_s if they are."
        )


def _warn_of_outside(times_s: np.ndarray, trial: np.ndarray, trials: pd.DataFrame, where: str) -> None:
    """Warn of spikes before the start or after the stop of their trial."""
    start = trials["start_s"].to_numpy(dtype=float)[trial] if "start_s" in trials else np.float64(-np.inf)
    stop = trials["stop_s"].to_numpy(dtype=float)[trial] if "stop_s" in trials else np.float64(np.inf)
    n_outside = int(((times_s < start) | (times_s >= stop)).sum())
    if n_outside:
        _warn(
            f"{where}: {n_outside} of {times_s.size} spikes lie outside their trials (last spike at "
            f"{times_s.max():g} s); they are kept in the recording and left out of every window. "
            "Check start and stop in the trials table."
        )


def _warn(message: str) -> None:
    """Issue a DataWarning that points at the caller of the public door."""
    warnings.warn(DataWarning(message), stacklevel=4)
