"""Vendor files through Neo's raw readers, by an allow-list; runs in the guarded child.

Never by Neo's own choice of a reader, which takes a pickle for a recording. Only spikes and events are
asked for: files of continuous signals, which are large and have troubles of their own, stay closed.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

# Before the limits of the child are set, which are for the file and not for the library.
import neo.rawio
import numpy as np

from cortexrnn.errors import DataError

NANOSECONDS_HZ = 1e9
# Neo 0.14 cuts spikes at the ends of a segment where it is asked for all of them: at the time of the last record,
# which need not be the latest (Plexon, Neuralynx), after truncating it to whole microseconds, which may lose the last
# spike (Neuralynx), or at samples taken for seconds, which loses all of them (Open Ephys).
_ALL = {"t_start": 0.0, "t_stop": 1e12}
_CUTTING = ("blackrock", "neuralynx", "openephys", "plexon")
_MAX_LABEL = 200
# In ticks; a double holds a day of nanoseconds to a tenth of one.
_ROUND_OFF = 1e-3
_NUMBER = re.compile(r"#(\d+)$")
# What a unit's number means where it is not a sorted unit.
_UNSORTED = {0: "unsorted"}
_MEANING: dict[str, dict[int, str]] = {
    "plexon": _UNSORTED,
    "blackrock": {**_UNSORTED, 255: "noise"},
    "neuralynx": _UNSORTED,
    "spike2": _UNSORTED,
    "openephys": _UNSORTED,
    "tdt": {**_UNSORTED, 31: "noise"},
    "neuroexplorer": {},
    "axona": {},
}
# These files hold tetrodes; what a sorter made of them stands elsewhere.
_NEVER_SORTED = ("axona",)
# Formats whose limits are those of the recording and not of its first and last event.
_TELLS_SPAN = ("plexon", "neuroexplorer", "tdt")
_NAMED_BY_ID = ("plexon", "spike2")


def read_vendor(kind: str, path: str, names: list[str]) -> dict[str, Any]:
    """Read the spikes and events of a vendor's file or folder.

    Parameters
    ----------
    kind : str
        One of the allow-list.
    path : str
        The file or folder.
    names : list of str
        Files of the folder to read, for formats that are a folder.

    Returns
    -------
    dict
        ticks (flat, int64), offsets, tick_hz, unit_ids, quality, channel (one a unit), observed (or
        None), tables (name to start_s, stop_s, label) and notes.

    Raises
    ------
    DataError
        If there are no spikes, or the segments of the recording have no common clock.
    """
    reader = _READERS[kind](path, names)
    reader.parse_header()
    channels = reader.header["spike_channels"]
    if not len(channels) or reader.header["nb_block"] != 1:
        raise DataError(
            f"the file has {len(channels)} spike channels in {reader.header['nb_block']} blocks.",
            hint="There are no sorted or detected spikes to read.",
        )
    segments = range(reader.header["nb_segment"][0])
    limits = _limits(reader, segments, kind)
    stamps = [[_stamps(reader, kind, segment, unit) for segment in segments] for unit in range(len(channels))]
    tick_hz, per_unit = _on_one_clock(reader, stamps)
    notes = [f"{len(segments)} segments stand on one clock with gaps between them"] if len(segments) > 1 else []
    quality = [_quality(channel, kind) for channel in channels]
    return {
        "ticks": np.concatenate([np.empty(0, dtype=np.int64), *per_unit]),
        "offsets": np.concatenate(([0], np.cumsum([ticks.size for ticks in per_unit]))).astype(np.int64),
        "tick_hz": tick_hz,
        "unit_ids": _ids(channels, kind),
        "quality": quality,
        "channel": [str(name)[:_MAX_LABEL] for name in channels["name"]],
        # The last tick of a file is one that was recorded.
        "observed": None if limits is None else limits + np.array([0.0, 1.0 / tick_hz]),
        "tables": _tables(reader, kind, segments, tick_hz),
        "notes": notes,
    }


def _plexon(path: str, names: list[str]) -> neo.rawio.PlexonRawIO:
    """Open a .plx file."""
    return neo.rawio.PlexonRawIO(filename=path, progress_bar=False)


def _blackrock(path: str, names: list[str]) -> neo.rawio.BlackrockRawIO:
    """Open a .nev file without the files of signals beside it."""
    # A file inside a file cannot exist, so that no .ns5 of gigabytes and gaps is opened.
    return neo.rawio.BlackrockRawIO(
        filename=str(Path(path).with_suffix("")), nsx_override=f"{path}/none", nev_override=path
    )


def _neuralynx(path: str, names: list[str]) -> neo.rawio.NeuralynxRawIO:
    """Open the files of spikes and events of a folder, with the times that they have."""
    return neo.rawio.NeuralynxRawIO(dirname=path, include_filenames=names, keep_original_times=True)


def _neuroexplorer(path: str, names: list[str]) -> neo.rawio.NeuroExplorerRawIO:
    """Open a .nex file."""
    return neo.rawio.NeuroExplorerRawIO(filename=path)


def _spike2(path: str, names: list[str]) -> neo.rawio.Spike2RawIO:
    """Open a .smr file of 32 bits."""
    return neo.rawio.Spike2RawIO(filename=path, try_signal_grouping=False)


def _openephys(path: str, names: list[str]) -> neo.rawio.OpenEphysRawIO:
    """Open a folder of the older format, with .spikes files."""
    return neo.rawio.OpenEphysRawIO(dirname=path)


def _tdt(path: str, names: list[str]) -> neo.rawio.TdtRawIO:
    """Open a block folder of TDT."""
    index = next(name for name in names if name.lower().endswith(".tsq"))
    return neo.rawio.TdtRawIO(dirname=str(Path(path) / index))


def _axona(path: str, names: list[str]) -> neo.rawio.AxonaRawIO:
    """Open a .set file and the tetrodes beside it."""
    return neo.rawio.AxonaRawIO(filename=path)


_READERS: dict[str, Callable[[str, list[str]], Any]] = {
    "plexon": _plexon,
    "blackrock": _blackrock,
    "neuralynx": _neuralynx,
    "neuroexplorer": _neuroexplorer,
    "spike2": _spike2,
    "openephys": _openephys,
    "tdt": _tdt,
    "axona": _axona,
}


def _limits(reader: Any, segments: range, kind: str) -> np.ndarray | None:
    """Return start and stop of every segment in seconds, or None where only spikes could tell."""
    if len(segments) == 1 and kind not in _TELLS_SPAN:
        return None
    limits = np.array([[reader.segment_t_start(0, k), reader.segment_t_stop(0, k)] for k in segments], dtype=float)
    if not np.isfinite(limits).all():
        return None
    if (limits[1:, 0] < limits[:-1, 1]).any() or (limits[:, 1] < limits[:, 0]).any():
        raise DataError(
            f"the clock of the recording starts again: its {len(limits)} segments overlap in time.",
            hint="Export every segment as a file of its own.",
        )
    return limits


def _stamps(reader: Any, kind: str, segment: int, unit: int) -> np.ndarray:
    """Return the time stamps of one unit in one segment as the file has them."""
    limits = _ALL if kind in _CUTTING else {}
    return np.asarray(reader.get_spike_timestamps(0, segment, unit, **limits)).ravel()


def _on_one_clock(reader: Any, stamps: list[list[np.ndarray]]) -> tuple[float, list[np.ndarray]]:
    """Return ticks per second and the sorted ticks of every unit, exact where stamps are whole numbers."""
    everything = [part for parts in stamps for part in parts]
    probe = np.array([0, 1_000_000], dtype=np.int64)
    low, high = (float(value) for value in reader.rescale_spike_timestamp(probe, dtype="float64"))
    is_whole = all(part.dtype.kind in "iu" for part in everything) and low == 0.0 and high > 0.0
    per_unit = []
    for parts in stamps:
        if not is_whole:
            times = [np.asarray(reader.rescale_spike_timestamp(part, dtype="float64")) for part in parts]
            parts = [np.rint(_finite(part) * NANOSECONDS_HZ) for part in times]
        # Electrodes may be written one after the other, so the order of the file is not that of time.
        per_unit.append(np.sort(np.concatenate(parts).astype(np.int64)))
    rate = 1e6 / high if is_whole else NANOSECONDS_HZ
    return (float(round(rate)) if abs(rate - round(rate)) < 1e-6 else rate), per_unit


def _finite(times_s: np.ndarray) -> np.ndarray:
    """Return times after checking that they are finite."""
    n_bad = int((~np.isfinite(times_s)).sum())
    if n_bad:
        raise DataError(f"{n_bad} of {times_s.size} times are NaN or infinite.")
    return times_s


def _tables(reader: Any, kind: str, segments: range, tick_hz: float) -> dict[str, Any]:
    """Return every event or epoch channel that is not empty as columns of a table."""
    tables: dict[str, Any] = {}
    limits = _ALL if kind in _CUTTING else {}
    for position, channel in enumerate(reader.header["event_channels"]):
        starts, stops, labels = [], [], []
        for segment in segments:
            stamps, durations, texts = reader.get_event_timestamps(0, segment, position, **limits)
            begin = np.asarray(reader.rescale_event_timestamp(stamps, dtype="float64", event_channel_index=position))
            starts.append(_snapped(_finite(begin.ravel()), tick_hz))
            labels += [str(text)[:_MAX_LABEL] for text in texts]
            if durations is not None:
                length = reader.rescale_epoch_duration(durations, dtype="float64", event_channel_index=position)
                stops.append(_snapped(starts[-1] + _finite(np.asarray(length).ravel()), tick_hz))
        begin = np.concatenate(starts)
        if not begin.size:
            continue
        columns: dict[str, Any] = {"start_s": begin}
        if stops:
            columns["stop_s"] = np.concatenate(stops)
        if len(labels) == begin.size and any(labels):
            columns["label"] = labels
        tables[_free_name(str(channel["name"]).strip() or f"events_{position}", tables)] = columns
    return tables


def _snapped(times_s: np.ndarray, tick_hz: float) -> np.ndarray:
    """Return times on whole ticks where round-off alone keeps them from it."""
    ticks = np.rint(times_s * tick_hz)
    return np.where(np.abs(times_s * tick_hz - ticks) < _ROUND_OFF, ticks / tick_hz, times_s)


def _free_name(name: str, taken: dict[str, Any]) -> str:
    """Return a name that no table has yet."""
    return name[:_MAX_LABEL] if name[:_MAX_LABEL] not in taken else f"{name[:_MAX_LABEL]} ({len(taken)})"


def _ids(channels: np.ndarray, kind: str) -> list[str]:
    """Return what tells the units apart: name, or channel and number."""
    for field in ("id", "name") if kind in _NAMED_BY_ID else ("name", "id"):
        ids = [str(value).strip()[:_MAX_LABEL] for value in channels[field]]
        if len(set(ids)) == len(ids) and "" not in ids:
            return ids
    return [f"unit_{position}" for position in range(len(channels))]


def _quality(channel: Any, kind: str) -> str:
    """Return "sorted", "unsorted" or "noise" by the number that the vendor gives a unit."""
    if kind in _NEVER_SORTED:
        return "unsorted"
    for field in ("id", "name"):
        found = _NUMBER.search(str(channel[field]))
        if found is not None:
            return _MEANING[kind].get(int(found[1]), "sorted")
    return "sorted"
