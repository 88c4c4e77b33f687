"""Sequences of symbols laid end to end, and the codes of the contexts in which symbols stand."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np

from cortexrnn.errors import DataError


class Symbols(NamedTuple):
    """Sequences laid end to end.

    Attributes
    ----------
    values : ndarray of int64, shape (n,)
        Symbols, from 0.
    position : ndarray of int64, shape (n,)
        Step of each within its sequence, from 0.
    start : ndarray of int64, shape (n_sequences + 1,)
        Where sequences begin, and the end.
    """

    values: np.ndarray
    position: np.ndarray
    start: np.ndarray

    def contexts(self, max_order: int, n_symbols: int) -> Iterator[np.ndarray]:
        """Give the codes of the last 0, 1, ... symbols before each symbol.

        The symbol just before counts with 1, that before it with `n_symbols`, and so on. Where a sequence has not so
        many symbols yet the code means nothing.
        """
        code = np.zeros(self.values.size, dtype=np.int64)
        yield code
        for order in range(1, max_order + 1):
            code = code.copy()
            code[order:] += self.values[:-order] * n_symbols ** (order - 1)
            yield code

    def grid(self) -> np.ndarray:
        """Give sequences of the same length as an array, shape (n_sequences, n_steps)."""
        lengths = np.diff(self.start)
        if np.any(lengths != lengths[0]):
            raise DataError(f"sequences have {lengths.min()} to {lengths.max()} symbols; expected all the same.")
        return self.values.reshape(lengths.size, lengths[0])

    def split(self, values: np.ndarray) -> list[np.ndarray]:
        """Cut one number a symbol back into sequences."""
        return np.split(values, self.start[1:-1])


def as_symbols(sequences: np.ndarray | Sequence[np.ndarray], n_symbols: int) -> Symbols:
    """Lay sequences end to end, or say why they are none.

    Parameters
    ----------
    sequences : array_like of int, shape (n_sequences, n_steps), or sequence of 1-d array_like of int
        Of different lengths in the second case.
    n_symbols : int
        Symbols are 0 to ``n_symbols - 1``.

    Returns
    -------
    Symbols

    Raises
    ------
    DataError
        If there is no symbol, an array has another number of dimensions, or a value is no symbol.
    """
    if isinstance(sequences, np.ndarray) and sequences.ndim == 2:
        return _of_grid(sequences, n_symbols)
    parts = [np.asarray(part) for part in sequences]
    for k, part in enumerate(parts):
        if part.ndim != 1 or not (part.size == 0 or np.issubdtype(part.dtype, np.integer)):
            raise DataError(
                f"it has {part.ndim} dimensions and type {part.dtype}; expected one dimension of whole numbers.",
                where=f"sequence {k}",
                hint="Give one sequence as [sequence].",
            )
        _check_values(part[None], n_symbols, k)
    lengths = np.array([part.size for part in parts], dtype=np.int64)
    if not lengths.sum():
        raise DataError("there is no symbol in the sequences.")
    start = np.append(0, np.cumsum(lengths))
    values = np.concatenate(parts).astype(np.int64)
    return Symbols(values, np.arange(values.size) - np.repeat(start[:-1], lengths), start)


def _of_grid(values: np.ndarray, n_symbols: int) -> Symbols:
    """Lay sequences of the same length end to end: the same without a turn for each."""
    if not np.issubdtype(values.dtype, np.integer) or not values.size:
        raise DataError(f"sequences have shape {values.shape} and type {values.dtype}; expected whole numbers.")
    _check_values(values, n_symbols, 0)
    n_sequences, n_steps = values.shape
    start = np.arange(n_sequences + 1) * n_steps
    return Symbols(values.astype(np.int64).ravel(), np.tile(np.arange(n_steps), n_sequences), start)


def _check_values(values: np.ndarray, n_symbols: int, first: int) -> None:
    """Refuse what is no symbol in sequences of which the first has a number."""
    wrong = np.argwhere((values < 0) | (values >= n_symbols))
    if wrong.size:
        sequence, step = wrong[0]
        raise DataError(
            f"{values[sequence, step]} at step {step} is no symbol; expected 0 to {n_symbols - 1}.",
            where=f"sequence {first + sequence}",
        )
