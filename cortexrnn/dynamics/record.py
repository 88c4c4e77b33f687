"""What is kept of a simulation, in memory or in a file that is written while the simulation goes on."""

from __future__ import annotations

import contextlib
import os
import shutil
import threading
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr

from cortexrnn._checks import check_count
from cortexrnn.circuit.spec import Circuit
from cortexrnn.errors import FileAccessError, OptionError
from cortexrnn.runs.files import atomic_path
from cortexrnn.schema import TRIAL_DIMS


@dataclass(frozen=True, kw_only=True, slots=True)
class Record:
    """What to keep.

    Attributes
    ----------
    every : int
        Steps from one kept moment to the next.
    start_s : float
        Moments before this are not kept.
    units : str, sequence of str or sequence of int
        Names of populations, or numbers of units; empty for all.
    currents : bool
        Whether to keep the recurrent excitatory and inhibitory and the external current of every unit.
    plasticity : bool
        Whether to keep utilisation and resources of plastic synapses.
    path : path, optional
        NetCDF file to write to while the simulation goes on, for what does not fit into memory. The Dataset is
        then read from it as it is used.

    Raises
    ------
    OptionError
        If a value is not valid.
    """

    every: int = 1
    start_s: float = 0.0
    units: Any = ()
    currents: bool = False
    plasticity: bool = True
    path: str | os.PathLike | None = None

    def __post_init__(self):
        object.__setattr__(self, "every", check_count("every", self.every))
        if not 0.0 <= self.start_s < float("inf"):
            raise OptionError(f"start_s={self.start_s!r} is not valid; expected a time of at least 0 s.")

    def chosen(self, circuit: Circuit) -> np.ndarray:
        """Give the numbers of the units that are kept, ascending, shape (n_kept,)."""
        given = (self.units,) if isinstance(self.units, str) else tuple(self.units)
        if not given:
            return np.arange(circuit.size)
        if all(isinstance(item, str) for item in given):
            unknown = [name for name in given if name not in circuit.slices]
            if unknown:
                known = ", ".join(circuit.slices)
                raise OptionError(f"units={unknown[0]!r} is no population; the circuit has {known}.")
            return np.sort(np.concatenate([np.arange(circuit.size)[circuit.slices[name]] for name in set(given)]))
        numbers = np.unique(np.asarray(given))
        if numbers.dtype.kind not in "iu" or numbers[0] < 0 or numbers[-1] >= circuit.size:
            raise OptionError(
                f"units={self.units!r:.60} is not valid; expected names of populations or numbers from 0 to "
                f"{circuit.size - 1}."
            )
        return numbers


class Store:
    """Where a simulation puts what is kept; safe to use from several threads.

    Parameters
    ----------
    layout : mapping of str to (dtype, attrs)
        Variables, all of dims (trial, time, unit).
    coords : mapping
        Coordinates as xarray takes them, `trial`, `time` and `unit` among them.
    attrs : mapping
        Attributes of the Dataset.
    """

    def __init__(self, layout: Mapping[str, tuple[np.dtype, dict[str, Any]]], coords: Mapping, attrs: Mapping):
        self._coords, self._attrs = coords, attrs
        shape = tuple(np.size(coords[dim][1]) for dim in TRIAL_DIMS)
        self._arrays = {name: np.empty(shape, dtype) for name, (dtype, _) in layout.items()}
        self._labels = {name: labels for name, (_, labels) in layout.items()}

    def put(self, name: str, trials: slice, times: slice, values: np.ndarray) -> None:
        """Keep values of shape (n_times, n_units, n_trials)."""
        self._arrays[name][trials, times] = values.transpose(2, 0, 1)

    def dataset(self) -> xr.Dataset:
        """Give everything that was kept."""
        variables = {name: (TRIAL_DIMS, values, self._labels[name]) for name, values in self._arrays.items()}
        return xr.Dataset(variables, coords=self._coords, attrs=self._attrs)


class FileStore(Store):
    """The same in a NetCDF file.

    Parameters
    ----------
    file : h5netcdf.File
        Open for writing.
    layout, coords, attrs
        As in `Store`.
    """

    def __init__(self, file: Any, layout: Mapping, coords: Mapping, attrs: Mapping):
        import h5py

        self._lock = threading.Lock()
        sizes = {dim: np.size(coords[dim][1]) for dim in TRIAL_DIMS}
        file.dimensions = sizes
        for name, (dims, values, *labels) in coords.items():
            values = np.asarray(values)
            is_text = values.dtype.kind == "U"
            variable = file.create_variable(name, (dims,), h5py.string_dtype() if is_text else values.dtype)
            variable[...] = values.astype(object) if is_text else values
            variable.attrs.update(labels[0] if labels else {})
        chunks = tuple(max(1, min(size, most)) for size, most in zip(sizes.values(), (16, 64, 256), strict=True))
        self._arrays = {}
        for name, (dtype, labels) in layout.items():
            variable = file.create_variable(name, TRIAL_DIMS, dtype, chunks=chunks)
            # What a name of a coordinate is to xarray.
            variable.attrs.update({**labels, "coordinates": "population sign"})
            self._arrays[name] = variable
        file.attrs.update(attrs)

    def put(self, name: str, trials: slice, times: slice, values: np.ndarray) -> None:
        """Write values of shape (n_times, n_units, n_trials)."""
        with self._lock:
            self._arrays[name][trials, times, :] = np.ascontiguousarray(values.transpose(2, 0, 1))


@contextlib.contextmanager
def open_store(path: str | os.PathLike | None, layout: Mapping, coords: Mapping, attrs: Mapping) -> Iterator[Store]:
    """Open the place for what is kept; a file appears under its name only once it is whole."""
    if path is None:
        yield Store(layout, coords, attrs)
        return
    import h5netcdf

    n_bytes = sum(np.dtype(dtype).itemsize for dtype, _ in layout.values()) * int(
        np.prod([np.size(coords[dim][1]) for dim in TRIAL_DIMS])
    )
    _check_room(Path(path), n_bytes)
    # The temporary file is locked by us already.
    with atomic_path(Path(path), n_bytes=n_bytes) as temporary, h5netcdf.File(temporary, "w", locking=False) as file:
        yield FileStore(file, layout, coords, attrs)


def _check_room(path: Path, n_bytes: int) -> None:
    """Refuse to start what will not fit on the disk: when it is full the HDF5 library ends the process."""
    folder = next(parent for parent in path.absolute().parents if parent.exists())
    free = shutil.disk_usage(folder).free
    if free < n_bytes:
        raise FileAccessError(
            f"the run takes {n_bytes} bytes, but {free} bytes are free.",
            where=str(path),
            hint="Keep fewer moments (Record.every) or units (Record.units), or choose another disk.",
        )
