"""Units, observed intervals and interval tables of an NWB file, by h5py; runs in the guarded child.

Neo's NWBIO drops the trials table and the unit ids, and fails where `obs_intervals` is missing or a
unit has several; pynwb is heavy and needs the extensions of a file. What is needed here is small.
"""

from __future__ import annotations

import itertools
import json
from collections.abc import Iterator
from typing import Any

import h5py
import numpy as np

from cortexrnn.errors import DataError, UnsafeFileError

OWN_FORMAT = "cortexrnn-recording-1"
_MAX_OBJECTS = 200_000
_MAX_NOTES = 1_000_000
_TIME_NAMES = {"start_time": "start_s", "stop_time": "stop_s"}


def read_nwb(path: str, max_bytes: int) -> dict[str, Any]:
    """Read the spike times and interval tables of an NWB file.

    Parameters
    ----------
    path : str
        The file.
    max_bytes : int
        No data set may declare more bytes than this.

    Returns
    -------
    dict
        times_s (flat, float64), offsets, unit_ids, units (columns), observed_s and observed_offsets
        (or None), tables (name to columns; `id` holds the row ids), notes, and
        written_by_us (what `Recording.to_nwb` left there; empty for other files).

    Raises
    ------
    UnsafeFileError
        If the file names other files.
    DataError
        If it has no units table or the table is inconsistent.
    """
    with h5py.File(path, "r") as file:
        refuse_outside_data(file)
        table = _Table(file, "units", max_bytes)
        n_units = table.n_rows
        times, offsets = table.ragged("spike_times")
        observed = None
        if "obs_intervals" in table.group:
            intervals, observed_offsets = table.ragged("obs_intervals")
            observed = {"s": _as_pairs(intervals), "offsets": observed_offsets}
        columns = table.columns(skip={"spike_times", "obs_intervals"})
        notes = [f"units: {note}" for note in table.notes]
        tables = {}
        for name in _children(file, "intervals"):
            interval_table = _Table(file, f"intervals/{name}", max_bytes)
            tables[name] = {"id": interval_table.ids, **interval_table.columns(skip=set())}
            notes += [f"{name}: {note}" for note in interval_table.notes]
        return {
            "times_s": np.asarray(times, dtype=np.float64),
            "offsets": offsets,
            "unit_ids": table.ids,
            "n_units": n_units,
            "units": columns,
            "observed": observed,
            "tables": {name: _rename(columns) for name, columns in tables.items()},
            "notes": notes,
            "written_by_us": _own_notes(file),
        }


def refuse_outside_data(file: h5py.File) -> None:
    """Walk all links of an open HDF5 file and refuse those that lead out of it.

    Parameters
    ----------
    file : h5py.File
        The open file.

    Raises
    ------
    UnsafeFileError
        If there is an external link, external storage or a virtual data set.
    DataError
        If the file holds more than 200 000 objects.
    """
    for where, item in _objects(file):
        if isinstance(item, h5py.ExternalLink):
            raise _outside("an external link", where)
        if isinstance(item, h5py.Dataset) and item.is_virtual:
            raise _outside("a virtual data set", where)
        if isinstance(item, h5py.Dataset) and item.external:
            raise _outside("external storage", where)


def refuse_large_data(file: h5py.File, max_bytes: int) -> None:
    """Refuse an open HDF5 file that declares more than so many bytes, or holds an object under two names.

    A group that holds itself would be walked for ever by whoever does not look for it.

    Parameters
    ----------
    file : h5py.File
        The open file.
    max_bytes : int
        Of all data sets together, compressed or not, written or not.

    Raises
    ------
    DataError
        If it does, or holds more than 200 000 objects.
    """
    left = max_bytes
    for where, item in _objects(file):
        if item is None:
            raise DataError("an object of the file stands under two names.", where=where)
        if isinstance(item, h5py.Dataset) and item.shape is not None:
            left -= int(item.size) * max(item.dtype.itemsize, 1)
            if left < 0:
                raise DataError(
                    f"the data sets declare more than the {max_bytes} bytes that a file of this size may hold.",
                    where=where,
                )


def _objects(file: h5py.File) -> Iterator[tuple[str, Any]]:
    """Yield every object with its path, None where it is met again, and external links; soft links are passed over."""
    seen = {h5py.h5o.get_info(file.id).addr}
    waiting: list[h5py.Group] = [file["/"]]
    while waiting:
        group = waiting.pop()
        for name in group:
            link = group.get(name, getlink=True)
            where = f"{group.name.rstrip('/')}/{name}"
            if isinstance(link, h5py.ExternalLink):
                yield where, link
            if isinstance(link, h5py.ExternalLink | h5py.SoftLink):
                continue
            child = group[name]
            address = h5py.h5o.get_info(child.id).addr
            if address in seen:
                yield where, None
                continue
            seen.add(address)
            if len(seen) > _MAX_OBJECTS:
                raise DataError(f"the file holds more than {_MAX_OBJECTS} objects.")
            if isinstance(child, h5py.Group):
                waiting.append(child)
            yield where, child


class _Table:
    """One DynamicTable of an NWB file; collects a note for every column that it cannot represent."""

    def __init__(self, file: h5py.File, name: str, max_bytes: int):
        """Open the table called `name`."""
        if not isinstance(file.get(name), h5py.Group):
            top = ", ".join(sorted(file)[:12]) or "nothing"
            raise DataError(f"the file has no table {name!r}; it holds {top}.", hint="Is this an NWB 2 file?")
        self.file, self.name, self.max_bytes = file, name, max_bytes
        self.group = file[name]
        self.notes: list[str] = []
        ids = self._read("id") if "id" in self.group else self._default_ids()
        self.ids = [value.item() if isinstance(value, np.generic) else value for value in np.ravel(ids)]

    @property
    def n_rows(self) -> int:
        """Number of rows."""
        return len(self.ids)

    def ragged(self, column: str) -> tuple[np.ndarray, np.ndarray]:
        """Return the flat values of a ragged column and the offsets of its rows."""
        if column not in self.group:
            raise DataError(
                f"table {self.name!r} has no column {column!r}.", hint="There are no spikes to read."
            )
        values = self._read(column)
        if f"{column}_index" in self.group:
            ends = np.asarray(self._read(f"{column}_index")).astype(np.int64)
        elif self.n_rows == 1:
            ends = np.array([len(values)], dtype=np.int64)
        else:
            raise DataError(f"column {column!r} of table {self.name!r} has no index.")
        offsets = np.concatenate(([0], ends))
        if ends.shape != (self.n_rows,) or (np.diff(offsets) < 0).any() or offsets[-1] > len(values):
            raise DataError(
                f"the index of column {column!r} does not cut its {len(values)} values into {self.n_rows} rows."
            )
        if offsets[-1] < len(values):
            self.notes.append(
                f"{len(values) - offsets[-1]} values of {column!r} belong to no row and are left out"
            )
        return values[: offsets[-1]], offsets

    def columns(self, *, skip: set[str]) -> dict[str, Any]:
        """Return all columns with one number or text a row."""
        found = {}
        for name in self.group:
            target = self.group.get(name)
            is_index = name.endswith("_index") and name.removesuffix("_index") in self.group
            if name in skip or name == "id" or is_index or not isinstance(target, h5py.Dataset):
                continue
            values = self._column(name, target)
            if values is None:
                self.notes.append(f"column {name!r} has no single number or text a row and is left out")
            else:
                found[name] = values
        return found

    def _column(self, name: str, data: h5py.Dataset) -> Any:
        """Return one column, or None if it cannot be represented."""
        kind = data.dtype.kind
        is_text = h5py.check_string_dtype(data.dtype) is not None
        if f"{name}_index" in self.group:
            if not is_text:
                return None
            flat, offsets = self.ragged(name)
            return [";".join(map(_text, flat[a:b])) for a, b in itertools.pairwise(offsets)]
        if data.shape != (self.n_rows,):
            return None
        if is_text:
            return [_text(value) for value in self._read(name)]
        if kind in "biuf":
            return np.asarray(self._read(name)).astype(data.dtype.newbyteorder("="))
        if h5py.check_ref_dtype(data.dtype) is h5py.Reference:
            return [self._name_of(reference) for reference in self._read(name)]
        return None

    def _name_of(self, reference: h5py.Reference) -> str:
        """Return the name of the object that a reference points to, without its path."""
        return self.file[reference].name.rsplit("/", 1)[-1] if reference else ""

    def _default_ids(self) -> np.ndarray:
        """Return 0, 1, ... for a table without ids, as many as its index or first column has rows."""
        for name in self.group:
            data = self.group[name]
            if isinstance(data, h5py.Dataset) and data.shape and f"{name}_index" not in self.group:
                return np.arange(data.shape[0])
        return np.arange(0)

    def _read(self, name: str) -> np.ndarray:
        """Return a whole data set after looking at the size it declares."""
        data = self.group[name]
        if not isinstance(data, h5py.Dataset) or not data.shape:
            raise DataError(f"column {name!r} of table {self.name!r} is not an array.")
        if data.size * max(data.dtype.itemsize, 1) > self.max_bytes:
            raise DataError(
                f"column {name!r} of table {self.name!r} declares {data.size} values, "
                f"more than a file of this size may hold."
            )
        return data[()]


def _as_pairs(intervals: np.ndarray) -> np.ndarray:
    """Return observed intervals with shape (n_intervals, 2)."""
    if intervals.size == 0:
        return np.empty((0, 2))
    if intervals.ndim != 2 or intervals.shape[1] != 2:
        raise DataError(f"obs_intervals has shape {intervals.shape}; expected (n_intervals, 2).")
    return intervals.astype(np.float64)


def _own_notes(file: h5py.File) -> dict[str, Any]:
    """Return what our own writer left in the notes of the file: clock, tick rate and the like."""
    data = file.get("general/notes")
    if not isinstance(data, h5py.Dataset) or data.shape != () or not h5py.check_string_dtype(data.dtype):
        return {}
    try:
        notes = json.loads(_text(data[()])[:_MAX_NOTES])
    except ValueError:
        return {}
    ours = notes.get(OWN_FORMAT) if isinstance(notes, dict) else None
    return ours if isinstance(ours, dict) else {}


def _rename(columns: dict[str, Any]) -> dict[str, Any]:
    """Give start and stop times the names they have in this package."""
    return {_TIME_NAMES.get(name, name): values for name, values in columns.items()}


def _children(file: h5py.File, name: str) -> list[str]:
    """Return the names of the groups inside a group, if there is one."""
    group = file.get(name)
    if not isinstance(group, h5py.Group):
        return []
    return [child for child in group if isinstance(group.get(child), h5py.Group)]


def _text(value: Any) -> str:
    """Return text for a byte string or text."""
    return value.decode("utf-8", "replace") if isinstance(value, bytes) else str(value)


def _outside(what: str, where: str) -> UnsafeFileError:
    """Return the error for a file that names another one."""
    return UnsafeFileError(
        f"the file holds {what}, which would read another file.",
        where=where,
        hint="Export it as one self-contained file.",
    )
