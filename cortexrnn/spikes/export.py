"""Recordings to and from Neo and xarray, and to NWB, without loss."""

from __future__ import annotations

import io
import json
from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import xarray as xr

from cortexrnn.errors import DataError
from cortexrnn.runs.files import atomic_write
from cortexrnn.spikes.recording import NANOSECONDS_HZ, Recording

if TYPE_CHECKING:
    import neo

_FORMAT = "cortexrnn-recording-1"
_TRIALS = "trials"


def to_neo(recording: Recording) -> neo.Block:
    """Make a Neo block: one segment, one spike train a unit, one epoch object for trials and each table.

    Parameters
    ----------
    recording : Recording
        The recording.

    Returns
    -------
    neo.Block
        Unit ids, metadata and observed intervals are annotations of the spike trains; columns of
        the trials table are array annotations of the epoch object "trials".
    """
    import neo

    first, last = (tick / recording.tick_hz for tick in recording.span_ticks)
    if recording.n_spikes:
        first = min(first, recording.ticks.min() / recording.tick_hz)
        last = max(last, recording.ticks.max() / recording.tick_hz)
    segment = neo.Segment(name="session")
    for position, unit in enumerate(recording.unit_ids):
        row = recording.units.iloc[position]
        segment.spiketrains.append(
            neo.SpikeTrain(
                recording.unit_ticks(position) / recording.tick_hz,
                units="s",
                t_start=first,
                t_stop=last,
                name=f"unit {unit}",
                unit_id=unit,
                observed_s=(recording.unit_observed(position) / recording.tick_hz).ravel().tolist(),
                metadata=json.dumps({str(name): _simple(row[name]) for name in recording.units.columns}),
            )
        )
    for name, table in {_TRIALS: recording.trials, **recording.tables}.items():
        if len(table):
            segment.epochs.append(_to_epoch(name, table))
    block = neo.Block(name=str(recording.attrs.get("source", "")), format=_FORMAT, tick_hz=recording.tick_hz)
    block.annotate(attrs=json.dumps(_simple(dict(recording.attrs))))
    block.segments.append(segment)
    return block


def from_neo(block: neo.Block) -> Recording:
    """Make a recording of a Neo block with one segment.

    Parameters
    ----------
    block : neo.Block
        Spike trains with any unit of time; an epoch object called "trials" becomes the trials table,
        others become tables. A spike train without the annotation `unit_id` is numbered.

    Returns
    -------
    Recording

    Raises
    ------
    DataError
        If the block has no segment or several.
    """
    if len(block.segments) != 1:
        raise DataError(
            f"the block has {len(block.segments)} segments; expected one.",
            hint="Segments that are trials have no common clock: give trials as an Epoch of one segment.",
        )
    segment = block.segments[0]
    trains = list(segment.spiketrains)
    ids = [train.annotations.get("unit_id", position) for position, train in enumerate(trains)]
    observed = [_observed_of(train) for train in trains]
    tables = {epoch.name or f"epochs_{k}": _from_epoch(epoch) for k, epoch in enumerate(segment.epochs)}
    is_ours = block.annotations.get("format") == _FORMAT
    attrs = (
        json.loads(block.annotations["attrs"]) if is_ours else {"source": block.name or "", "reader": "neo"}
    )
    recording = Recording.from_arrays(
        [np.asarray(train.rescale("s").magnitude, dtype=float) for train in trains],
        trials=tables.pop(_TRIALS, None),
        observed_s=observed,
        unit_ids=ids,
        tick_hz=float(block.annotations["tick_hz"]) if is_ours else NANOSECONDS_HZ,
        attrs=attrs,
    )
    metadata = [json.loads(train.annotations.get("metadata", "{}")) for train in trains]
    units = pd.DataFrame(metadata, index=recording.units.index)
    return replace(recording, units=units, tables=tables)


def to_nwb(recording: Recording, path: str | Path) -> Path:
    """Write an NWB file with units, observed intervals, trials and tables; old file or new, never half.

    Parameters
    ----------
    recording : Recording
        The recording.
    path : str or Path
        Where to write; should end in .nwb.

    Returns
    -------
    Path
        The file.

    Raises
    ------
    FileAccessError
        If the file cannot be written.
    """
    import h5py
    import pynwb

    file = pynwb.NWBFile(
        session_description=str(recording.attrs.get("source") or "spike times"),
        identifier=str(recording.attrs.get("sha256") or "recording"),
        # NWB demands a date; where the source has none, the start of Unix time says so.
        session_start_time=datetime(1970, 1, 1, tzinfo=UTC),
        notes=json.dumps({_FORMAT: {"tick_hz": recording.tick_hz, **_simple(dict(recording.attrs))}}),
    )
    _add_units(file, recording)
    for name, table in {_TRIALS: recording.trials, **recording.tables}.items():
        if len(table):
            _add_intervals(file, name, table)
    # Made in memory: on a full disk the HDF5 library ends the whole process (2.0, SIGSEGV on closing).
    buffer = io.BytesIO()
    with h5py.File(buffer, "w") as target, pynwb.NWBHDF5IO(file=target, mode="w") as writer:
        writer.write(file)
    atomic_write(path, buffer.getvalue())
    return Path(path)


def to_xarray(recording: Recording) -> xr.Dataset:
    """Make a flat Dataset that a netCDF file can hold.

    Parameters
    ----------
    recording : Recording
        The recording.

    Returns
    -------
    xarray.Dataset
        `ticks` over spike, `offsets` and `observed_offsets` over edge, `observed_ticks` over interval,
        one variable ``<table>/<column>`` a column of units, trials and every other table.
    """
    variables: dict[str, Any] = {
        "ticks": ("spike", recording.ticks, {"long_name": "spike time in ticks"}),
        "offsets": ("edge", recording.offsets),
        "observed_ticks": (("interval", "side"), recording.observed_ticks),
        "observed_offsets": ("edge", recording.observed_offsets),
    }
    tables = {"units": recording.units, _TRIALS: recording.trials, **recording.tables}
    columns = {}
    for table_name, table in tables.items():
        columns[table_name] = [str(column) for column in table.columns]
        variables[f"{table_name}:index"] = (f"{table_name}_row", _storable(table.index.to_numpy()))
        for column in table.columns:
            variables[f"{table_name}:{column}"] = (f"{table_name}_row", _storable(table[column].to_numpy()))
    attrs = {
        "format": _FORMAT,
        "tick_hz": recording.tick_hz,
        "columns": json.dumps(columns),
        "attrs": json.dumps(_simple(dict(recording.attrs))),
    }
    return xr.Dataset(variables, attrs=attrs)


def from_xarray(dataset: xr.Dataset) -> Recording:
    """Undo `to_xarray`.

    Parameters
    ----------
    dataset : xarray.Dataset
        What `to_xarray` gave, also after a way through a netCDF file.

    Returns
    -------
    Recording

    Raises
    ------
    DataError
        If it is something else.
    """
    if dataset.attrs.get("format") != _FORMAT:
        raise DataError(f"the dataset has format {dataset.attrs.get('format')!r}; expected {_FORMAT!r}.")
    tables = {}
    for name, columns in json.loads(dataset.attrs["columns"]).items():
        index = pd.Index(dataset[f"{name}:index"].values, name={"units": "unit", _TRIALS: "trial"}.get(name))
        tables[name] = pd.DataFrame(
            {column: dataset[f"{name}:{column}"].values for column in columns}, index=index
        )
    return Recording(
        ticks=dataset["ticks"].values,
        offsets=dataset["offsets"].values,
        tick_hz=float(dataset.attrs["tick_hz"]),
        observed_ticks=dataset["observed_ticks"].values,
        observed_offsets=dataset["observed_offsets"].values,
        units=tables.pop("units"),
        trials=tables.pop(_TRIALS),
        tables=tables,
        attrs=json.loads(dataset.attrs["attrs"]),
    )


def _to_epoch(name: str, table: pd.DataFrame) -> neo.Epoch:
    """Return one table of intervals as a Neo epoch object."""
    import neo

    starts = table["start_s"].to_numpy(dtype=float)
    stops = table["stop_s"].to_numpy(dtype=float) if "stop_s" in table else np.full(starts.size, np.nan)
    # The stops themselves travel along: start + (stop - start) is not always stop in floating point.
    columns = {
        str(column): _storable(table[column].to_numpy()) for column in table.columns if column != "start_s"
    }
    return neo.Epoch(
        starts,
        durations=stops - starts,
        units="s",
        labels=table.index.astype(str).to_numpy(dtype=str),
        name=name,
        array_annotations={"row": _storable(table.index.to_numpy()), **columns},
    )


def _from_epoch(epoch: neo.Epoch) -> pd.DataFrame:
    """Return a Neo epoch object as a table of intervals."""
    columns = {str(name): np.asarray(values) for name, values in epoch.array_annotations.items()}
    index = columns.pop("row", np.arange(len(epoch.times)))
    starts = np.asarray(epoch.rescale("s").times.magnitude, dtype=float)
    if "row" not in epoch.array_annotations:
        durations = np.asarray(epoch.durations.rescale("s").magnitude, dtype=float)
        columns = {"stop_s": starts + durations, "label": np.asarray(epoch.labels, dtype=str), **columns}
    return pd.DataFrame({"start_s": starts, **columns}, index=pd.Index(index, name="trial"))


def _observed_of(train: neo.SpikeTrain) -> np.ndarray:
    """Return what a Neo spike train says was observed, in seconds, shape (n_intervals, 2)."""
    if "observed_s" in train.annotations:
        return np.asarray(train.annotations["observed_s"], dtype=float).reshape(-1, 2)
    edges = [float(edge.rescale("s").magnitude) for edge in (train.t_start, train.t_stop)]
    return np.array([edges])


def _add_units(file: Any, recording: Recording) -> None:
    """Add the units table; ids that are no whole numbers go into a column `unit_name`."""
    is_whole = all(isinstance(unit, int | np.integer) and unit >= 0 for unit in recording.unit_ids)
    columns = {str(name): _storable(recording.units[name].to_numpy()) for name in recording.units.columns}
    if not is_whole:
        columns["unit_name"] = np.array([str(unit) for unit in recording.unit_ids])
    # In NWB a column of this name holds references to groups, which nobody here has.
    if "electrode_group" in columns:
        columns["electrode_group_name"] = columns.pop("electrode_group")
    for name in columns:
        file.add_unit_column(name=name, description=name)
    # Where the observed time was inferred from the spikes, writing it would promise too much; on the
    # synthetic clock the gaps between trials must be told all the same.
    is_told = recording.attrs.get("observed") == "given" or recording.attrs.get("clock") == "synthetic"
    for position, unit in enumerate(recording.unit_ids):
        extra = {"obs_intervals": recording.unit_observed(position) / recording.tick_hz} if is_told else {}
        file.add_unit(
            id=int(unit) if is_whole else position,
            spike_times=recording.unit_ticks(position) / recording.tick_hz,
            **extra,
            **{name: values[position] for name, values in columns.items()},
        )


def _add_intervals(file: Any, name: str, table: pd.DataFrame) -> None:
    """Add one table of intervals under its name."""
    from pynwb.epoch import TimeIntervals

    intervals = TimeIntervals(name=name, description=name)
    columns = {
        str(column): _storable(table[column].to_numpy())
        for column in table.columns
        if column not in ("start_s", "stop_s")
    }
    for column in columns:
        if column != "tags":
            intervals.add_column(name=column, description=column)
    starts = table["start_s"].to_numpy(dtype=float)
    stops = table["stop_s"].to_numpy(dtype=float) if "stop_s" in table else np.full(starts.size, np.nan)
    index = table.index.to_numpy()
    for row in range(len(table)):
        values = {column: values[row] for column, values in columns.items()}
        if "tags" in values:
            values["tags"] = [str(tag) for tag in str(values["tags"]).split(";")]
        number = {"id": int(index[row])} if index.dtype.kind in "iu" else {}
        intervals.add_interval(start_time=starts[row], stop_time=stops[row], **values, **number)
    if name == _TRIALS:
        file.trials = intervals
    else:
        file.add_time_intervals(intervals)


def _storable(values: np.ndarray) -> np.ndarray:
    """Return numbers and booleans as they are and anything else as text."""
    values = np.asarray(values)
    if values.dtype.kind in "iufb":
        return values
    return np.array(["" if value is None or value is pd.NA else str(value) for value in values], dtype=str)


def _simple(value: Any) -> Any:
    """Return a value as JSON holds it."""
    if isinstance(value, Mapping):
        return {str(key): _simple(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_simple(item) for item in value]
    if isinstance(value, np.generic):
        return value.item()
    return value if isinstance(value, int | float | str | bool) or value is None else str(value)
