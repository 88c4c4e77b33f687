"""MATLAB files of versions 5 to 7, by scipy; runs in the guarded child."""

from __future__ import annotations

from typing import Any

import numpy as np
import scipy.io

from cortexrnn.errors import DataError
from cortexrnn.spikes.readers.matlab_cells import MAX_DEPTH, choose, describe, step_into

_ITEM_BYTES = {"double": 8, "single": 4, "logical": 1, "char": 2}
_NUMERIC = (
    "double",
    "single",
    "logical",
    "int8",
    "uint8",
    "int16",
    "uint16",
    "int32",
    "uint32",
    "int64",
    "uint64",
)


def read_matlab5(path: str, variable: str | None, max_bytes: int) -> dict[str, Any]:
    """Read one array of a MATLAB 5 to 7 file.

    Parameters
    ----------
    path : str
        The file.
    variable : str or None
        Name of the array; may be left out where there is only one.
    max_bytes : int
        The array must not declare more bytes than this.

    Returns
    -------
    dict
        See `cortexrnn.spikes.readers.matlab_cells.describe`.

    Raises
    ------
    OptionError
        If the array is not there or must be chosen.
    DataError
        If it holds no spikes or declares too much.
    """
    listing = {name: (shape, kind) for name, shape, kind in scipy.io.whosmat(path)}
    shapes = {name: f"{' x '.join(map(str, shape))} {kind}" for name, (shape, kind) in listing.items()}
    name = choose(variable, shapes)
    top, *fields = name.split(".")
    shape, kind = listing[top]
    declared = np.prod(shape, dtype=float) * _ITEM_BYTES.get(kind, 8)
    if declared > max_bytes:
        raise DataError(
            f"array {top!r} declares {declared / 2**20:.0f} MiB, more than a file of this size may hold.",
            hint="Store it as logical or uint8, or uncompressed.",
        )

    def vectors(lengths: set[int]) -> dict[str, np.ndarray]:
        names = [
            other
            for other, (size, kind_of) in listing.items()
            if other != top and kind_of in _NUMERIC and len(size) == 2 and 1 in size and max(size) in lengths
        ]
        loaded = _load(path, names) if names else {}
        return {other: np.ravel(loaded[other]) for other in names if other in loaded}

    node = step_into(_simplify(_load(path, [top])[top]), fields)
    return describe(node, fields[-1] if fields else top, vectors)


def _load(path: str, names: list[str]) -> dict[str, Any]:
    """Load some arrays as MATLAB shaped them."""
    return scipy.io.loadmat(path, variable_names=names, squeeze_me=False, mat_dtype=False)


def _simplify(node: Any, depth: int = 0) -> Any:
    """Turn structs into dicts, and arrays of structs into dicts of cells, as MATLAB 7.3 stores them."""
    if depth > 2 * MAX_DEPTH:
        raise DataError(f"the cells are nested deeper than {MAX_DEPTH} levels.")
    if not isinstance(node, np.ndarray) or (node.dtype != object and not node.dtype.names):
        return node
    if node.dtype.names and node.size != 1:
        return {name: _simplify(node[name], depth + 1) for name in node.dtype.names}
    simple = np.empty(node.shape, dtype=object)
    for index in np.ndindex(node.shape):
        item = node[index]
        if node.dtype.names:
            simple[index] = {name: _simplify(item[name], depth + 1) for name in node.dtype.names}
        else:
            simple[index] = _simplify(item, depth + 1)
    return simple
