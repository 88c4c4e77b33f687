"""A batch cut into tiles of 16 trials, which lie side by side in the lanes of a vector."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from numba import njit

from cortexrnn.errors import OptionError
from cortexrnn.numerics.lanes import N_LANES
from cortexrnn.numerics.streams import stream

if TYPE_CHECKING:
    from cortexrnn.training.tasks.contract import Batch


class Tile(NamedTuple):
    """What a sweep over 16 trials is given.

    Attributes
    ----------
    inputs : ndarray, shape (n_steps, n_inputs * N_LANES)
    current : ndarray, shape (n_steps, n_hidden * N_LANES) or (0, 0)
        Noise, and what else is added to the current of every unit; empty without either.
    keep : ndarray, shape (n_hidden * N_LANES,) or (0,)
        What dropout leaves of every unit's output to the others; empty without dropout.
    group : ndarray of int64, shape (N_LANES,)
        Row of the start states for every trial.
    length : ndarray of int64, shape (N_LANES,)
        Steps of every trial; 0 where a lane is empty.
    """

    inputs: np.ndarray
    current: np.ndarray
    keep: np.ndarray
    group: np.ndarray
    length: np.ndarray

    def between(self, first: int, stop: int, current: np.ndarray) -> Tile:
        """Give the steps from `first` to before `stop`, with their current."""
        return self._replace(inputs=self.inputs[first:stop], current=current)


def to_lanes(values: np.ndarray, dtype: np.dtype) -> list[np.ndarray]:
    """Lay (n_trials, n_steps, n) out as tiles of (n_steps, n * N_LANES); a last tile is filled up with zeros."""
    n_trials, n_steps, n = values.shape
    n_tiles = -(-n_trials // N_LANES)
    padded = np.zeros((n_tiles * N_LANES, n_steps, n), dtype)
    padded[:n_trials] = values
    return [
        np.ascontiguousarray(padded[k * N_LANES : (k + 1) * N_LANES].transpose(1, 2, 0)).reshape(n_steps, -1)
        for k in range(n_tiles)
    ]


def from_lanes(tiles: list[np.ndarray], n_trials: int) -> np.ndarray:
    """Lay tiles of (n_steps, n * N_LANES) out as (n_trials, n_steps, n)."""
    parts = [tile.reshape(len(tile), -1, N_LANES).transpose(2, 0, 1) for tile in tiles]
    return np.ascontiguousarray(np.concatenate(parts)[:n_trials])


def lane_values(values: np.ndarray) -> list[np.ndarray]:
    """Cut one whole number a trial into tiles of (N_LANES,), filled up with zeros."""
    padded = np.zeros(-(-len(values) // N_LANES) * N_LANES, np.int64)
    padded[: len(values)] = values
    return list(padded.reshape(-1, N_LANES))


def groups_of(batch: Batch, column: str, levels: tuple) -> np.ndarray:
    """Give the row of the start states for every trial.

    Parameters
    ----------
    batch : Batch
    column : str
        Of the trial table; empty where all trials start alike.
    levels : tuple
        Its values in the order of the rows.

    Returns
    -------
    ndarray of int64, shape (n_trials,)

    Raises
    ------
    OptionError
        If a trial has a value that none of the rows is for.
    """
    if not column:
        return np.zeros(len(batch.inputs), np.int64)
    rows = {level: k for k, level in enumerate(levels)}
    values = batch.table[column].tolist()
    unknown = [value for value in values if value not in rows]
    if unknown:
        raise OptionError(f"start_by={column!r}: no start state for the value {unknown[0]!r}; there are {levels}.")
    return np.array([rows[value] for value in values], np.int64)


def draw_keep(key: tuple, trials: range, n_hidden: int, dropout: float, dtype: np.dtype) -> np.ndarray:
    """Draw which units are silent to the others through a whole trial (Gal and Ghahramani 2016, arXiv:1512.05287).

    Parameters
    ----------
    key : tuple
        What it is drawn for, a seed first.
    trials : range
        Numbers of the trials; a trial's mask does not depend on its companions.
    n_hidden : int
    dropout : float
        Share of silent units; the others are scaled by ``1 / (1 - dropout)``.
    dtype : numpy float type

    Returns
    -------
    ndarray, shape (n_hidden * N_LANES,), or (0,) without dropout
    """
    if dropout == 0.0:
        return np.empty(0, dtype)
    stays = np.stack([stream(key[0], "dropout", *key[1:], trial).random(n_hidden) >= dropout for trial in trials])
    return (stays.T / (1.0 - dropout)).astype(dtype).ravel()


@njit(cache=True, nogil=True)
def reverse_lanes(values, length, out):
    """Turn every trial around in time, up to its own end.

    Parameters
    ----------
    values : ndarray, shape (n_steps, n * N_LANES)
    length : ndarray of int64, shape (N_LANES,)
    out : ndarray, like `values`
        Filled; zero behind the end of a trial.
    """
    n_steps, size = values.shape
    for t in range(n_steps):
        for i in range(size):
            steps = length[i % N_LANES]
            out[t, i] = values[steps - 1 - t, i] if t < steps else 0
