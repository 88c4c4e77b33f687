"""The recurrent drive of a sparse network, one step at a time, one trial or sixteen side by side.

A target's drive is a sum over places in a short tile of the sources; nothing is multiplied until the tile is
summed where weights are equal. Tiles are the outer loop, so that their sources stay in the first-level cache
(one trial) or the second (sixteen) while a block of targets passes. Every row is summed in an order that
depends on the wiring alone, by the same additions for one trial and for sixteen: neither threads nor a trial's
companions can change a bit.
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import NamedTuple

import numpy as np
from numba import njit

from cortexrnn._checks import check_count
from cortexrnn.circuit.sparse import FanTable, RowTable, SparseWeights
from cortexrnn.circuit.wiring import N_DRAWS, WIDEST_TILE, Tiles, place_tile, row_key, self_place
from cortexrnn.errors import OptionError
from cortexrnn.numerics.gather import (
    CACHE_LINE,
    add_equal,
    add_equal_lanes,
    add_weighted,
    add_weighted_lanes,
    prefetch,
)
from cortexrnn.numerics.lanes import N_LANES

# Targets that pass while a tile stays in the cache: their drive stays in the next one.
_N_ROWS = 2048
# Pieces of work a thread: a slow one is overtaken by the others.
_N_PIECES = 4
# Connections times lanes below which threads cost more than they save.
_SMALL_WORK = 500_000
_NOTHING = np.empty(0)
# Elements of a table that are asked for this far ahead: a fifth less time than with the processor's own foresight.
_AHEAD = 1024
# Targets whose places are computed together: sums can start while the next hashes are under way.
_N_TOGETHER = 4


class SparseDrive:
    """Recurrent input of every unit from what all units send; one caller at a time.

    Parameters
    ----------
    weights : SparseWeights
    n_threads : int
        Threads that share the rows; the result is the same to the bit for any number.

    Raises
    ------
    OptionError
        If `n_threads` is no positive integer.
    """

    def __init__(self, weights: SparseWeights, *, n_threads: int = 1):
        self._weights = weights
        self._names = tuple(dict.fromkeys(table.plasticity for table in weights.tables))
        self._n_threads = check_count("n_threads", n_threads)
        self._pool = ThreadPoolExecutor(self._n_threads) if self._n_threads > 1 else None
        self._connections = tuple(map(_as_arrays, weights.tables))
        self._pieces = _cut(weights.work(), _N_PIECES * self._n_threads)
        self._aligned: dict[str, np.ndarray] = {}

    def __enter__(self) -> SparseDrive:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """End the threads."""
        if self._pool is not None:
            self._pool.shutdown()

    def add(self, sources: Mapping[str, np.ndarray], drive: np.ndarray) -> None:
        """Add the recurrent input to `drive`.

        Parameters
        ----------
        sources : mapping of str to ndarray, shape (n_units, lanes)
            What every unit sends to the synapses of a class of plasticity, by its name: rates to static ones
            (the empty name), ``u x rate`` to plastic ones. C-contiguous, of the weights' dtype; 1 or 16 lanes.
        drive : ndarray, shape (n_units, lanes)
            Changed in place.

        Raises
        ------
        OptionError
            If a class is missing, or an array has another shape, dtype or order.
        """
        missing = [name for name in self._names if name not in sources]
        if missing:
            raise OptionError(f"sources has no {missing[0]!r}; expected {', '.join(map(repr, self._names))}.")
        self._check("drive", drive)
        for name in self._names:
            self._check(f"sources[{name!r}]", sources[name])
            if sources[name].shape != drive.shape:
                what = f"sources[{name!r}] has shape {sources[name].shape} and drive {drive.shape}; expected the same."
                raise OptionError(what)
        lanes = drive.shape[1]
        flat = {name: self._align(name, sources[name]) for name in self._names}
        out = drive.reshape(-1)
        if self._pool is None or self._weights.n_connections * lanes < _SMALL_WORK:
            self._add_rows(flat, out, (0, self._weights.size))
            return
        for _ in self._pool.map(lambda piece: self._add_rows(flat, out, piece), self._pieces):
            pass

    def _check(self, name: str, array: np.ndarray) -> None:
        """Refuse what the kernels would misread."""
        n, dtype = self._weights.size, self._weights.dtype
        is_shaped = array.ndim == 2 and array.shape[0] == n and array.shape[1] in (1, N_LANES)
        is_usable = array.flags.c_contiguous and (array.flags.writeable or name != "drive")
        if not (is_shaped and array.dtype == dtype and is_usable):
            raise OptionError(
                f"{name} is {array.dtype} of shape {array.shape}; expected C-contiguous {dtype} of shape "
                f"({n}, 1) or ({n}, {N_LANES}), the drive writeable."
            )

    def _align(self, name: str, array: np.ndarray) -> np.ndarray:
        """Copy sources to where no unit's lanes lie across two cache lines."""
        if self._aligned.get(name, _NOTHING).size != array.size:
            room = np.empty(array.nbytes + CACHE_LINE, dtype=np.uint8)
            start = -room.ctypes.data % CACHE_LINE
            self._aligned[name] = room[start : start + array.nbytes].view(array.dtype)
        self._aligned[name].reshape(array.shape)[:] = array
        return self._aligned[name]

    def _add_rows(self, sources: dict[str, np.ndarray], drive: np.ndarray, rows: tuple[int, int]) -> None:
        """Add the input of a range of units, table by table."""
        lanes = drive.size // self._weights.size
        for table, connections in zip(self._weights.tables, self._connections, strict=True):
            sent = sources[table.plasticity]
            if isinstance(table, RowTable):
                _add_rows(connections, sent, drive, *rows)
                continue
            fan = table.fan
            first = max(rows[0] - fan.first_target, 0)
            stop = min(rows[1] - fan.first_target, fan.n_targets)
            if first < stop:
                sent = sent[fan.first_source * lanes : (fan.first_source + fan.n_sources) * lanes]
                received = drive[fan.first_target * lanes : (fan.first_target + fan.n_targets) * lanes]
                _kernel_of(table)(connections, sent, received, first, stop)


class _Fan(NamedTuple):
    """What the kernels need of a `FanTable`, and the number of its targets."""

    key: np.uint64
    skips_self: bool
    n_targets: int
    tiles: Tiles
    places: np.ndarray
    values: np.ndarray
    efficacy: np.ndarray


class _Rows(NamedTuple):
    """What the kernel needs of a `RowTable`."""

    first: np.ndarray
    places: np.ndarray
    values: np.ndarray


def _as_arrays(table: FanTable | RowTable) -> _Fan | _Rows:
    """Give a table as the kernels see it."""
    if isinstance(table, RowTable):
        return _Rows(table.first, table.places, table.values)
    fan = table.fan
    arrays = (table.tiles, table.places, table.values, table.efficacy)
    return _Fan(fan.key, fan.skips_self, fan.n_targets, *arrays)


def _kernel_of(table: FanTable):
    """Choose the kernel of a fan's layout."""
    if table.values.size:
        return _add_valued
    return _add_stored if table.places.size else _add_hashed


def _cut(work: np.ndarray, n_pieces: int) -> list[tuple[int, int]]:
    """Cut units into ranges of about equal work."""
    done = np.cumsum(work + 1)
    borders = np.searchsorted(done, done[-1] * np.arange(1, n_pieces) / n_pieces)
    borders = np.unique(np.concatenate([[0], borders, [work.size]])).tolist()
    return list(itertools.pairwise(borders))


@njit(cache=True, nogil=True)
def _add_stored(fan, sources, drive, first, stop):
    """Add the input of targets whose places are stored and whose weights are equal."""
    lanes = drive.size // fan.n_targets
    for block in range(first, stop, _N_ROWS):
        for t in range(fan.tiles.base.size):
            k, base = fan.tiles.first[t], fan.tiles.base[t] * lanes
            width = fan.tiles.first[t + 1] - k
            for target in range(block, min(block + _N_ROWS, stop)):
                at, weight = fan.n_targets * k + target * width, fan.efficacy[target]
                prefetch(fan.places, at + _AHEAD, width)
                if lanes == 1:
                    add_equal(drive, target, weight, sources, base, fan.places, at, width)
                else:
                    add_equal_lanes(drive, target * lanes, weight, sources, base, fan.places, at, width)


@njit(cache=True, nogil=True)
def _add_hashed(fan, sources, drive, first, stop):
    """Add the input of targets whose places are computed and whose weights are equal."""
    tiles, lanes = fan.tiles, drive.size // fan.n_targets
    # Draws come N_DRAWS at a time.
    places = np.empty(_N_TOGETHER * WIDEST_TILE + N_DRAWS, np.uint16)
    for block in range(first, stop, _N_ROWS):
        block_stop = min(block + _N_ROWS, stop)
        for t in range(tiles.base.size):
            width, base = tiles.first[t + 1] - tiles.first[t], tiles.base[t] * lanes
            for group in range(block, block_stop, _N_TOGETHER):
                group_stop = min(group + _N_TOGETHER, block_stop)
                for target in range(group, group_stop):
                    skipped = self_place(tiles, t, target, fan.skips_self)
                    place_tile(tiles, t, row_key(fan.key, target), skipped, places, (target - group) * width)
                for target in range(group, group_stop):
                    at, weight = (target - group) * width, fan.efficacy[target]
                    if lanes == 1:
                        add_equal(drive, target, weight, sources, base, places, at, width)
                    else:
                        add_equal_lanes(drive, target * lanes, weight, sources, base, places, at, width)


@njit(cache=True, nogil=True)
def _add_valued(fan, sources, drive, first, stop):
    """Add the input of targets whose places and weights are stored."""
    lanes = drive.size // fan.n_targets
    for block in range(first, stop, _N_ROWS):
        for t in range(fan.tiles.base.size):
            k, base = fan.tiles.first[t], fan.tiles.base[t] * lanes
            width = fan.tiles.first[t + 1] - k
            for target in range(block, min(block + _N_ROWS, stop)):
                at = fan.n_targets * k + target * width
                prefetch(fan.places, at + _AHEAD, width)
                prefetch(fan.values, at + _AHEAD, width)
                if lanes == 1:
                    add_weighted(drive, target, fan.values, at, sources, base, fan.places, at, width)
                else:
                    add_weighted_lanes(drive, target * lanes, fan.values, at, sources, base, fan.places, at, width)


@njit(cache=True, nogil=True)
def _add_rows(rows, sources, drive, first, stop):
    """Add the input of units whose connections are stored row by row."""
    lanes = drive.size // (rows.first.size - 1)
    for unit in range(first, stop):
        at = rows.first[unit]
        n = rows.first[unit + 1] - at
        if lanes == 1:
            add_weighted(drive, unit, rows.values, at, sources, 0, rows.places, at, n)
        else:
            add_weighted_lanes(drive, unit * lanes, rows.values, at, sources, 0, rows.places, at, n)
