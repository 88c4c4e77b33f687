"""MATLAB 7.3 files, which are HDF5, by h5py; runs in the guarded child."""

from __future__ import annotations

from typing import Any

import h5py
import numpy as np

from cortexrnn.errors import DataError
from cortexrnn.spikes.readers.matlab_cells import MAX_DEPTH, choose, describe, step_into
from cortexrnn.spikes.readers.nwb import refuse_outside_data


def read_matlab73(path: str, variable: str | None, max_bytes: int) -> dict[str, Any]:
    """Read one array of a MATLAB 7.3 file.

    Parameters
    ----------
    path : str
        The file.
    variable : str or None
        Name of the array; may be left out where there is only one.
    max_bytes : int
        No array must declare more bytes than this.

    Returns
    -------
    dict
        See `cortexrnn.spikes.readers.matlab_cells.describe`.

    Raises
    ------
    UnsafeFileError
        If the file names other files.
    OptionError
        If the array is not there or must be chosen.
    DataError
        If it holds no spikes or declares too much.
    """
    with h5py.File(path, "r") as file:
        refuse_outside_data(file)
        shapes = {name: _shape(file[name]) for name in file if not name.startswith("#")}
        name = choose(variable, shapes)
        top, *fields = name.split(".")

        def vectors(lengths: set[int]) -> dict[str, np.ndarray]:
            found = {}
            for other in shapes:
                data = file[other]
                is_vector = isinstance(data, h5py.Dataset) and data.ndim == 2 and 1 in data.shape
                if other != top and is_vector and data.dtype.kind in "biuf" and max(data.shape) in lengths:
                    found[other] = np.ravel(data[()])
            return found

        node = step_into(_load(file, file[top], max_bytes), fields)
        return describe(node, fields[-1] if fields else top, vectors)


def _shape(item: h5py.HLObject) -> str:
    """Describe an array as MATLAB would."""
    if isinstance(item, h5py.Dataset):
        kind = item.attrs.get("MATLAB_class", b"")
        return (
            f"{' x '.join(map(str, item.shape[::-1]))} {kind.decode() if isinstance(kind, bytes) else kind}"
        )
    return "struct"


def _load(file: h5py.File, item: h5py.HLObject, max_bytes: int, depth: int = 0) -> Any:
    """Load an array as MATLAB shaped it: struct as dict, cells as an array of objects."""
    if depth > 2 * MAX_DEPTH:
        raise DataError(f"the cells are nested deeper than {MAX_DEPTH} levels.")
    if isinstance(item, h5py.Group):
        return {name: _load(file, item[name], max_bytes, depth + 1) for name in item}
    if not isinstance(item, h5py.Dataset):
        raise DataError(f"{item.name!r} is no array.")
    if "MATLAB_empty" in item.attrs or item.shape is None or 0 in item.shape:
        return np.empty((0, 0))
    if item.size * item.dtype.itemsize > max_bytes:
        raise DataError(
            f"array {item.name!r} declares {item.size} values, more than a file of this size may hold."
        )
    values = item[()]
    if h5py.check_ref_dtype(item.dtype) is h5py.Reference:
        cells = np.empty(values.shape, dtype=object)
        for index in np.ndindex(values.shape):
            cells[index] = (
                _load(file, file[values[index]], max_bytes, depth + 1) if values[index] else np.empty(0)
            )
        return cells.T
    # MATLAB writes columns first, HDF5 reads rows first.
    return values.T if isinstance(values, np.ndarray) else np.atleast_2d(values)
