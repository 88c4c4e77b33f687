"""Spike trains, epochs and events that Neo wrote into a NIX file, by h5py; runs in the guarded child.

Neo 0.14's NIXRawIO ignores the unit of spike times (300 ms come back as 300 s), its NixIO needs the
library nixio. What is needed here is small.
"""

from __future__ import annotations

from typing import Any

import h5py
import numpy as np

from cortexrnn.errors import DataError
from cortexrnn.spikes.readers.nwb import refuse_outside_data

_SECONDS_PER = {"s": 1.0, "ms": 1e-3, "us": 1e-6, "ns": 1e-9}
_KINDS = ("neo.spiketrain", "neo.epoch", "neo.event")
_IDS = ("unit_id", "neo_name")
_OWN = ("neo_name", "nix_name", "row")
_MAX_TEXT = 2000


def is_nix(file: h5py.File) -> bool:
    """Tell whether an open HDF5 file says that it is NIX.

    Parameters
    ----------
    file : h5py.File
        The open file.
    """
    told = file.attrs.get("format")
    return isinstance(told, bytes | str) and _text(told) == "nix"


def read_nix(path: str, max_bytes: int) -> dict[str, Any]:
    """Read the one segment of a NIX file by Neo.

    Parameters
    ----------
    path : str
        The file.
    max_bytes : int
        No data set may declare more bytes than this.

    Returns
    -------
    dict
        times_s (flat), offsets, unit_ids, units (columns), observed ({"s", "offsets"}), tables
        (name to columns) and notes.

    Raises
    ------
    UnsafeFileError
        If the file names other files.
    DataError
        If it has several segments, no spike trains, or times of unknown unit.
    """
    with h5py.File(path, "r") as file:
        refuse_outside_data(file)
        segments = [
            group
            for block in _members(file.get("data"))
            for group in _members(block.get("groups"))
            if _type(group) == "neo.segment"
        ]
        if len(segments) != 1:
            raise DataError(
                f"the file has {len(segments)} Neo segments; expected one.",
                hint="Segments that are trials have no common clock: give trials as an Epoch of one segment.",
            )
        tags = {kind: [] for kind in _KINDS}
        for tag in _members(segments[0].get("multi_tags")):
            tags.get(_type(tag), []).append(tag)
        trains = [_Tag(tag, max_bytes) for tag in tags["neo.spiketrain"]]
        if not trains:
            raise DataError("the file has no spike trains.")
        times = [train.times_s() for train in trains]
        tables = {}
        for tag in [*tags["neo.epoch"], *tags["neo.event"]]:
            table = _Tag(tag, max_bytes)
            tables[table.name(f"table_{len(tables)}", tables)] = table.rows()
        return {
            "kind": "nix",
            "times_s": np.concatenate([np.empty(0), *times]),
            "offsets": np.concatenate(([0], np.cumsum([t.size for t in times]))).astype(np.int64),
            "unit_ids": _ids(trains),
            "units": _columns(trains),
            "observed": {
                "s": np.array([train.span_s() for train in trains], dtype=float),
                "offsets": np.arange(len(trains) + 1),
            },
            "tables": tables,
            "notes": [],
        }


class _Tag:
    """One spike train, epoch object or event object, with its annotations."""

    def __init__(self, tag: h5py.Group, max_bytes: int):
        """Read the annotations of a tag."""
        self.tag, self.max_bytes = tag, max_bytes
        self.properties: dict[str, Any] = {}
        self.units: dict[str, str] = {}
        self.columns: dict[str, list[Any]] = {}
        metadata = tag.get("metadata")
        properties = metadata.get("properties") if isinstance(metadata, h5py.Group) else None
        for name in properties if isinstance(properties, h5py.Group) else ():
            data = properties[name]
            if not isinstance(data, h5py.Dataset) or data.ndim != 1 or data.nbytes > max_bytes:
                continue
            values = [_text(value)[:_MAX_TEXT] if isinstance(value, bytes | str) else value for value in data[()]]
            self.columns[name] = values
            if len(values) == 1:
                self.properties[name] = values[0]
                self.units[name] = _text(data.attrs.get("unit", ""))

    def name(self, default: str, taken: Any) -> str:
        """Return the name that Neo gave, or the default where it is empty or taken."""
        name = str(self.properties.get("neo_name", ""))
        return default if name in ("", *taken) else name

    def times_s(self) -> np.ndarray:
        """Return the positions in seconds."""
        return self._seconds("positions")

    def span_s(self) -> list[float]:
        """Return t_start and t_stop of a spike train in seconds."""
        edges = [self.properties.get(name) for name in ("t_start", "t_stop")]
        if not all(isinstance(edge, float | np.floating) for edge in edges):
            raise DataError("a spike train has no t_start and t_stop.", where=self.tag.name)
        names = ("t_start", "t_stop")
        return [float(edge) * self._scale(self.units[name]) for edge, name in zip(edges, names, strict=True)]

    def rows(self) -> dict[str, Any]:
        """Return starts, stops where there are durations, labels, and array annotations."""
        starts = self.times_s()
        columns: dict[str, Any] = {"start_s": starts}
        if "extents" in self.tag:
            durations = self._seconds("extents")
            if durations.shape != starts.shape:
                raise DataError("times and durations differ in number.", where=self.tag.name)
            columns["stop_s"] = starts + durations
        labels = self.tag["positions"].get("dimensions/1/labels")
        if isinstance(labels, h5py.Dataset) and labels.shape == starts.shape and starts.size:
            columns["label"] = [_text(value) for value in labels[()]]
        for name, values in self.columns.items():
            # One value a row is an array annotation; of a single row it cannot be told from a plain one.
            if name not in (*columns, *_OWN) and len(values) == starts.size > 1:
                columns[name] = values
        return columns

    def _seconds(self, name: str) -> np.ndarray:
        """Return a linked data array in seconds."""
        array = self.tag.get(name)
        data = array.get("data") if isinstance(array, h5py.Group) else None
        if not isinstance(data, h5py.Dataset) or data.dtype.kind not in "iuf" or data.ndim != 1:
            raise DataError(f"{name} are no vector of numbers.", where=self.tag.name)
        if data.size * data.dtype.itemsize > self.max_bytes:
            raise DataError(f"{name} declare {data.size} values, more than a file of this size may hold.")
        return data[()].astype(np.float64) * self._scale(_text(array.attrs.get("unit", "")))

    def _scale(self, unit: str) -> float:
        """Return the seconds that one unit lasts."""
        if unit not in _SECONDS_PER:
            raise DataError(
                f"the unit of time {unit!r} is unknown; expected {', '.join(_SECONDS_PER)}.", where=self.tag.name
            )
        return _SECONDS_PER[unit]


def _ids(trains: list[_Tag]) -> list[Any]:
    """Return the annotation unit_id or the name, whichever all trains have and tells them apart; else numbers."""
    for name in _IDS:
        ids = [train.properties.get(name) for train in trains]
        ids = [value.item() if isinstance(value, np.generic) else value for value in ids]
        if None not in ids and "" not in ids and len(set(map(str, ids))) == len(ids):
            return ids
    return list(range(len(trains)))


def _columns(trains: list[_Tag]) -> dict[str, list[Any]]:
    """Return the annotations that all trains have, as columns of a units table."""
    shared = set.intersection(*(set(train.properties) for train in trains))
    columns = {}
    for name in sorted(shared - {"t_start", "t_stop", "nix_name", "unit_id"}):
        values = [train.properties[name] for train in trains]
        values = [value.item() if isinstance(value, np.generic) else value for value in values]
        if all(isinstance(value, str | int | float) for value in values):
            columns[name] = values
    return columns


def _members(group: Any) -> list[h5py.Group]:
    """Return the groups inside a group in the order of their making, where the file keeps it."""
    if not isinstance(group, h5py.Group):
        return []
    names = sorted(group, key=lambda name: _order(group, name))
    return [group[name] for name in names if isinstance(group.get(name), h5py.Group)]


def _order(group: h5py.Group, name: str) -> tuple[int, str]:
    """Return the order of creation of a link, 0 where the file does not keep it, and its name."""
    info = group.id.links.get_info(name.encode())
    return (info.corder if info.corder_valid else 0), name


def _type(group: h5py.Group) -> str:
    """Return what NIX calls the type of a group."""
    return _text(group.attrs.get("type", ""))


def _text(value: Any) -> str:
    """Return text for a byte string or text."""
    return value.decode("utf-8", "replace") if isinstance(value, bytes) else str(value)
