"""Single NumPy arrays, without pickle and without trusting what their headers declare."""

from __future__ import annotations

import io
import tokenize
from pathlib import Path

import numpy as np

from cortexrnn.errors import DataError, UnsafeFileError
from cortexrnn.runs.files import read_bytes

_PLAIN = "biufU"
_LAST_CHARACTER = 0x10FFFF
# What NumPy's parser of headers raises: it evaluates a literal and, failing that, takes the text to pieces.
_HEADER_ERRORS = (
    ValueError,
    KeyError,
    TypeError,
    SyntaxError,
    RecursionError,
    MemoryError,
    tokenize.TokenError,
)
_HEADER_READERS = {
    (1, 0): np.lib.format.read_array_header_1_0,
    (2, 0): np.lib.format.read_array_header_2_0,
}
# Above this a float64 no longer holds every whole number.
_LARGEST_SAMPLE = 2**53


def read_npy(path: Path, *, has_fields: bool = False) -> np.ndarray:
    """Read an .npy file: see `parse_npy`, and FileAccessError where it cannot be read.

    Parameters
    ----------
    path : Path
        The file.
    has_fields : bool
        Whether rows of several named numbers are welcome.

    Returns
    -------
    ndarray
    """
    return parse_npy(read_bytes(path), where=str(path), has_fields=has_fields)


def parse_npy(content: bytes, *, where: str, has_fields: bool = False) -> np.ndarray:
    """Turn the bytes of an .npy file into an array.

    Parameters
    ----------
    content : bytes
        Magic, header and data.
    where : str
        For messages.
    has_fields : bool
        Whether rows of several named numbers are welcome.

    Returns
    -------
    ndarray
        Numbers, booleans or text; not writeable where it needed no conversion.

    Raises
    ------
    DataError
        If the header is damaged or declares more data than there is.
    UnsafeFileError
        If the array holds Python objects.
    """
    stream = io.BytesIO(content)
    try:
        version = np.lib.format.read_magic(stream)
        shape, is_fortran, dtype = _HEADER_READERS[version](stream)
    except _HEADER_ERRORS as error:
        raise DataError(f"the header of the array is damaged ({type(error).__name__}).", where=where) from None
    if dtype.hasobject:
        raise UnsafeFileError(
            "the array holds Python objects, which only pickle could load.",
            where=where,
            hint="Save plain arrays of numbers: one array a unit, or flat times and units.",
        )
    if not _is_plain(dtype, has_fields):
        raise DataError(f"the array has dtype {dtype}; expected numbers or text.", where=where)
    n_values = 1
    for length in shape:
        n_values *= int(length)
    held = len(content) - stream.tell()
    if min(shape, default=0) < 0 or n_values * dtype.itemsize != held:
        raise DataError(f"the array declares {n_values} values of {dtype} and holds {held} bytes.", where=where)
    values = np.frombuffer(content, dtype=dtype, offset=stream.tell())
    if dtype.kind == "U" and not _is_text(values):
        raise DataError("the array holds numbers that are no characters.", where=where)
    try:
        return values.reshape(shape, order="F" if is_fortran else "C").astype(dtype.newbyteorder("="), copy=False)
    # Lengths beside a zero may be any.
    except (TypeError, ValueError, OverflowError):
        raise DataError(f"the array declares the shape {shape}.", where=where) from None


def as_vector(values: np.ndarray, *, where: str) -> np.ndarray:
    """Return an array of one row or one column as a vector; DataError where it has more.

    Parameters
    ----------
    values : ndarray
        Of any shape with at most one length other than 1.
    where : str
        The file, for messages.

    Returns
    -------
    ndarray, shape (n,)
    """
    # An array without values keeps its lengths: (0, 3) is a table without rows.
    if values.ndim == 1 or (0 < values.ndim <= 2 and 1 in values.shape):
        return values.ravel()
    raise DataError(f"the array has shape {values.shape}; expected a vector.", where=where)


def as_samples(values: np.ndarray, *, where: str) -> np.ndarray:
    """Return a vector of whole numbers as int64.

    Parameters
    ----------
    values : ndarray
        Integers of any kind, or floats without a fraction, as MATLAB writes them.
    where : str
        The file, for messages.

    Returns
    -------
    ndarray of int64, shape (n,)

    Raises
    ------
    DataError
        If a value is no whole number, negative, or beyond 2**53.
    """
    vector = as_vector(values, where=where)
    if vector.dtype.kind not in "iuf":
        raise DataError(f"the array has dtype {vector.dtype}; expected whole numbers.", where=where)
    if vector.dtype.kind == "f":
        n_bad = int((~np.isfinite(vector) | (vector != np.rint(vector))).sum())
        if n_bad:
            raise DataError(
                f"{n_bad} of {vector.size} values are no whole numbers; expected sample numbers.",
                where=where,
                hint="Times in seconds do not belong into this file.",
            )
    if vector.size and not (vector.min() >= 0 and vector.max() <= _LARGEST_SAMPLE):
        raise DataError(f"the values run from {vector.min()} to {vector.max()}; expected 0 to 2**53.", where=where)
    return vector.astype(np.int64)


def _is_text(values: np.ndarray) -> bool:
    """Tell whether all numbers of an array of text are characters; NumPy makes strings of any, Python dies on some."""
    codes = values.view(np.dtype(np.uint32).newbyteorder(values.dtype.byteorder))
    return not ((codes > _LAST_CHARACTER) | ((codes >= 0xD800) & (codes <= 0xDFFF))).any()


def _is_plain(dtype: np.dtype, has_fields: bool) -> bool:
    """Tell whether values are numbers, booleans or text, or rows of such numbers if these are welcome."""
    if dtype.names and has_fields:
        fields = [dtype[name] for name in dtype.names]
        return all(field.kind in "biuf" and not field.names and field.itemsize for field in fields)
    return dtype.kind in _PLAIN and dtype.itemsize > 0
