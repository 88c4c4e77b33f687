"""Recordings from and to objects of other libraries, by what the objects can do and not by their class."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from cortexrnn._checks import check_count
from cortexrnn.errors import DataError, OptionError
from cortexrnn.spikes.readers.delimited import TIME_STEMS, TRIAL_NAMES, DelimitedSpikes
from cortexrnn.spikes.readers.delimited_recording import from_spikes
from cortexrnn.spikes.readers.request import with_start
from cortexrnn.spikes.readers.time_units import is_in_samples, split_header, time_scale, told_unit
from cortexrnn.spikes.recording import NANOSECONDS_HZ, Recording
from cortexrnn.spikes.ticks import to_ticks

if TYPE_CHECKING:
    import brian2
    import pynapple

_WHERE = "table of spikes"
# How far from a whole step a time may be and still count as one, in steps.
_STEP_TOLERANCE = 1e-3


def from_pandas(
    table: pd.DataFrame,
    *,
    unit: str = "unit",
    time: str | None = None,
    trials: pd.DataFrame | None = None,
    time_unit: str | None = None,
    sample_rate_hz: float | None = None,
) -> Recording:
    """Make a recording of a table with one spike a row.

    Parameters
    ----------
    table : pandas.DataFrame
        A column of units, one of times, and, where times restart with every trial, one called "trial".
    unit : str
        Column of unit ids.
    time : str, optional
        Column of times; by default the one that is called time, time_s, spike_times_ms or the like.
    trials : pandas.DataFrame, optional
        One row a trial, indexed by trial; `start_s`, and `stop_s` where known, in seconds.
    time_unit : str, optional
        "s", "ms", "us", "ns" or "samples", where the name of the column does not tell.
    sample_rate_hz : float, optional
        Samples per second, where times are samples.

    Returns
    -------
    Recording

    Raises
    ------
    OptionError
        If there is no such column, or several that could hold the times.
    DataError
        If times are not finite, or spikes belong to no unit or trial.
    TimeUnitError
        If the unit of time is not told.

    Examples
    --------
    >>> table = pd.DataFrame({"unit": ["a", "b", "a"], "time_ms": [1.5, 2.0, 4.0]})
    >>> Recording.from_pandas(table).spike_times_s("a").tolist()
    [0.0015, 0.004]
    """
    time = _time_column(table, unit, time)
    what = f"column {time!r}"
    told = told_unit(split_header(time)[1], time_unit, what=what, where=_WHERE)
    scale = time_scale(told, sample_rate_hz, what=what, where=_WHERE)
    has_samples = is_in_samples(told)
    if sample_rate_hz is not None and not has_samples:
        raise OptionError(f"sample_rate_hz={sample_rate_hz:g} was given, but no time is in samples.")
    times = pd.to_numeric(table[time], errors="coerce").to_numpy(dtype=float) * scale
    to_ticks(times, float(sample_rate_hz) if has_samples else NANOSECONDS_HZ, what)
    trial_column = next((name for name in table.columns if str(name).lower() in TRIAL_NAMES), None)
    codes, labels = _codes(table[unit])
    trial, trial_ids = (None, []) if trial_column is None else _codes(table[trial_column])
    spikes = DelimitedSpikes(
        times_s=times,
        unit=codes,
        unit_ids=labels,
        trial=trial,
        trial_ids=trial_ids,
        tick_hz=float(sample_rate_hz) if has_samples else NANOSECONDS_HZ,
    )
    return from_spikes(spikes, trials, where=_WHERE, without_unit=[])


def from_pynapple(spikes: Any, epochs: Any = None) -> Recording:
    """Make a recording of a pynapple TsGroup or Ts.

    Parameters
    ----------
    spikes : pynapple.TsGroup or pynapple.Ts
        Times in seconds; the time support is what was observed.
    epochs : pynapple.IntervalSet, optional
        The trials; its metadata become their columns.

    Returns
    -------
    Recording
        Keys of the group are unit ids, its metadata columns of the units table.

    Raises
    ------
    DataError
        If the object is neither.
    """
    if not hasattr(spikes, "time_support") or not (hasattr(spikes, "keys") or hasattr(spikes, "t")):
        raise DataError(f"a {type(spikes).__name__} is no pynapple TsGroup or Ts.")
    members = {key: spikes[key] for key in spikes.keys()} if hasattr(spikes, "keys") else {0: spikes}  # noqa: SIM118
    recording = Recording.from_arrays(
        {_plain(key): np.asarray(member.t, dtype=float) for key, member in members.items()},
        trials=None if epochs is None else _intervals(epochs),
        observed_s=np.asarray(spikes.time_support.values, dtype=float),
        attrs={"source": "pynapple", "reader": "pynapple"},
    )
    metadata = _metadata(spikes)
    return recording if metadata is None else replace(recording, units=metadata.set_axis(recording.units.index))


def to_pynapple(recording: Recording) -> tuple[pynapple.TsGroup, pynapple.IntervalSet | None]:
    """Make a pynapple TsGroup, and an IntervalSet of the trials where there are any.

    Parameters
    ----------
    recording : Recording
        Its units must have been observed in the same intervals, which are the time support.

    Returns
    -------
    spikes : pynapple.TsGroup
        Keys are the unit ids, or positions where ids are no whole numbers.
    epochs : pynapple.IntervalSet or None
        The trials with their columns as metadata.

    Raises
    ------
    DataError
        If units differ in what was observed, or trials overlap or have no stop: pynapple would cut or
        join them.
    """
    import pynapple

    intervals = [recording.unit_observed(k) for k in range(recording.n_units)]
    if any(not np.array_equal(intervals[0], other) for other in intervals[1:]):
        raise DataError("units differ in what was observed; a TsGroup has one time support for all.")
    support = intervals[0] / recording.tick_hz if intervals else np.empty((0, 2))
    support = pynapple.IntervalSet(support[:, 0], support[:, 1])
    is_whole = all(isinstance(unit, int) for unit in recording.unit_ids)
    keys = recording.unit_ids if is_whole else range(recording.n_units)
    members = {
        key: pynapple.Ts(recording.unit_ticks(k) / recording.tick_hz, time_support=support)
        for k, key in enumerate(keys)
    }
    metadata = recording.units.reset_index(drop=True).set_axis(list(keys)) if len(recording.units.columns) else None
    group = pynapple.TsGroup(members, time_support=support, metadata=metadata)
    if not len(recording.trials):
        return group, None
    start, stop = (recording.trials.get(name, pd.Series(dtype=float)).to_numpy() for name in ("start_s", "stop_s"))
    if stop.size != start.size or not (stop > start).all() or (start[1:] <= stop[:-1]).any():
        raise DataError("trials overlap, touch or have no stop; an IntervalSet would join or drop them.")
    columns = recording.trials.drop(columns=["start_s", "stop_s"]).reset_index(drop=True)
    return group, pynapple.IntervalSet(start, stop, metadata=columns if len(columns.columns) else None)


def from_spikeinterface(
    sorting: Any, *, segment_index: int | None = None, trials: pd.DataFrame | None = None
) -> Recording:
    """Make a recording of a SpikeInterface sorting.

    Parameters
    ----------
    sorting : spikeinterface.BaseSorting
        Anything with unit ids, a sampling frequency and `get_unit_spike_train`.
    segment_index : int, optional
        Which segment; may be left out where there is one.
    trials : pandas.DataFrame, optional
        One row a trial with `start_s`.

    Returns
    -------
    Recording
        Ticks are samples; properties with one value a unit are columns of the units table.

    Raises
    ------
    OptionError
        If the segment must be named or does not exist.
    DataError
        If sample numbers are no whole numbers.
    """
    n_segments = int(sorting.get_num_segments()) if hasattr(sorting, "get_num_segments") else 1
    if segment_index is None and n_segments != 1:
        raise OptionError(
            f"the sorting has {n_segments} segments.", hint="Give segment_index; segments have no common clock."
        )
    segment = check_count("segment_index", segment_index or 0, at_least=0)
    if segment >= n_segments:
        raise OptionError(f"segment_index={segment} is beyond the {n_segments} segments.")
    ids = sorting.get_unit_ids() if hasattr(sorting, "get_unit_ids") else sorting.unit_ids
    rate = (
        sorting.get_sampling_frequency() if hasattr(sorting, "get_sampling_frequency") else sorting.sampling_frequency
    )
    per_unit = {}
    for unit in ids:
        samples = np.asarray(sorting.get_unit_spike_train(unit, segment_index=segment))
        if samples.dtype.kind not in "iu":
            raise DataError(f"unit {unit}: samples have dtype {samples.dtype}; expected integers.")
        per_unit[_plain(unit)] = samples / float(rate)
    recording = Recording.from_arrays(
        per_unit,
        trials=with_start(trials, "trials"),
        tick_hz=float(rate),
        attrs={"source": type(sorting).__name__, "reader": "spikeinterface"},
    )
    keys = sorting.get_property_keys() if hasattr(sorting, "get_property_keys") else ()
    columns = {key: np.asarray(sorting.get_property(key)) for key in keys}
    simple = {key: values for key, values in columns.items() if values.shape == (len(per_unit),)}
    return replace(recording, units=pd.DataFrame(simple, index=recording.units.index))


def from_brian2(monitor: Any, *, duration_s: float | None = None, trials: pd.DataFrame | None = None) -> Recording:
    """Make a recording of a Brian2 SpikeMonitor.

    Parameters
    ----------
    monitor : brian2.SpikeMonitor
        With `i` and `t`; all neurons of its source are units, also the silent ones.
    duration_s : float, optional
        Seconds that were simulated, from 0; from the first to the last spike by default.
    trials : pandas.DataFrame, optional
        One row a trial with `start_s`.

    Returns
    -------
    Recording
        Ticks are time steps of the simulation where all spikes stand on them.

    Raises
    ------
    DataError
        If indices and times differ in number.
    """
    index, times = np.asarray(monitor.i), np.asarray(monitor.t, dtype=float)
    if index.shape != times.shape:
        raise DataError(f"{index.size} indices and {times.size} times; expected as many.")
    source = getattr(monitor, "source", None)
    n_units = len(source) if source is not None else int(index.max(initial=-1)) + 1
    clock = getattr(monitor, "clock", None)
    steps_hz = 1.0 / float(np.asarray(clock.dt)) if clock is not None else NANOSECONDS_HZ
    steps = times * steps_hz
    is_on_steps = bool((np.abs(steps - np.rint(steps)) < _STEP_TOLERANCE).all())
    # One over a step in binary is not always the whole number that was meant.
    tick_hz = float(f"{steps_hz:.12g}") if is_on_steps else NANOSECONDS_HZ
    order = np.lexsort((times, index))
    cuts = np.searchsorted(index[order], np.arange(1, n_units))
    return Recording.from_arrays(
        np.split(times[order], cuts) if n_units else [],
        trials=with_start(trials, "trials"),
        observed_s=None if duration_s is None else np.array([[0.0, float(duration_s)]]),
        tick_hz=tick_hz,
        attrs={"source": "Brian2", "reader": "brian2"},
    )


def spike_arrays(recording: Recording) -> tuple[np.ndarray, np.ndarray]:
    """Give all spikes in the order of time, as simulators take them.

    Parameters
    ----------
    recording : Recording
        The recording.

    Returns
    -------
    position : ndarray of int64, shape (n_spikes,)
        Position of each spike's unit.
    times_s : ndarray of float64, shape (n_spikes,)
        Sorted; equal times in the order of the units.
    """
    position = np.repeat(np.arange(recording.n_units), np.diff(recording.offsets))
    order = np.argsort(recording.ticks, kind="stable")
    return position[order], recording.ticks[order] / recording.tick_hz


def to_spike_generator(recording: Recording, **given: Any) -> brian2.SpikeGeneratorGroup:
    """Make a Brian2 SpikeGeneratorGroup that plays the recording.

    Parameters
    ----------
    recording : Recording
        No spike before 0 s, and no two of one unit at the same time.
    **given : Any
        More for the group: `dt`, `clock`, `name`.

    Returns
    -------
    brian2.SpikeGeneratorGroup
        One neuron a unit, in the order of the units.

    Raises
    ------
    DataError
        If a spike is before 0 s or doubled, which Brian2 refuses only when it runs.
    """
    import brian2

    position, times_s = spike_arrays(recording)
    if times_s.size and times_s[0] < 0.0:
        raise DataError(f"the first spike is at {times_s[0]:g} s; Brian2 starts at 0 s.")
    doubled = [unit for k, unit in enumerate(recording.unit_ids) if (np.diff(recording.unit_ticks(k)) == 0).any()]
    if doubled:
        raise DataError(
            f"unit {doubled[0]} has two spikes at one time; a neuron of Brian2 has one a time step.",
            hint="Remove the doubled spikes.",
        )
    return brian2.SpikeGeneratorGroup(recording.n_units, position, times_s * brian2.second, **given)


def _time_column(table: pd.DataFrame, unit: str, time: str | None) -> str:
    """Return the column of times, after checking that it and the column of units are there."""
    columns = list(map(str, table.columns))
    for name in (unit, *([time] if time is not None else [])):
        if name not in columns:
            raise OptionError(f"the table has no column {name!r}.", hint=f"It has {', '.join(columns) or 'none'}.")
    if time is not None:
        return time
    found = [name for name in columns if split_header(name)[0] in TIME_STEMS]
    if len(found) != 1:
        raise OptionError(
            f"{len(found)} columns could hold the times: {', '.join(found) or 'none'}.", hint="Give time=COLUMN."
        )
    return found[0]


def _codes(column: pd.Series) -> tuple[np.ndarray, list[Any]]:
    """Return the position of each row's label and the sorted labels; DataError where a label is missing."""
    if column.isna().any():
        raise DataError(f"{int(column.isna().sum())} rows have no {column.name}.", where=_WHERE)
    codes, labels = pd.factorize(column, sort=True)
    return codes.astype(np.int64), [_plain(label) for label in labels]


def _intervals(epochs: Any) -> pd.DataFrame:
    """Return an IntervalSet as trials."""
    edges = np.asarray(epochs.values, dtype=float)
    table = pd.DataFrame({"start_s": edges[:, 0], "stop_s": edges[:, 1]})
    metadata = _metadata(epochs)
    if metadata is not None:
        table = table.join(metadata.reset_index(drop=True))
    return table.rename_axis("trial")


def _metadata(thing: Any) -> pd.DataFrame | None:
    """Return the metadata of a pynapple object as a table, without the rate that pynapple computes."""
    metadata = getattr(thing, "metadata", None)
    if metadata is None or not hasattr(metadata, "columns"):
        return None
    names = [name for name in metadata.columns if name != "rate"]
    return pd.DataFrame({str(name): np.asarray(metadata[name]) for name in names}, index=range(len(thing)))


def _plain(value: Any) -> Any:
    """Return a number of NumPy as one of Python."""
    return value.item() if isinstance(value, np.generic) else value
