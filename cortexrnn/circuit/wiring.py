"""Who is connected to whom when every unit has a fixed number of sources: computed from a hash, stored nowhere.

The candidates of a projection (all units of the source population, without the target itself where autapses are
off) are cut into `in_degree` runs whose lengths differ by at most one, and every run gives one source, drawn by
a counter-based hash of (seed, projection, target, run). So the in-degree is exact, no source is drawn twice,
sources come in ascending order, and every candidate is connected with probability 1/(length of its run), which
is ``in_degree / n_candidates`` to within the rounding of the length. Two units of one run never share a target.
Draws over the whole population would need either a memory of what was drawn (no formula gives the k-th source
then) or would connect some pairs twice; runs also tell in advance where in memory the k-th source lies.

Runs 2c and 2c + 1 share a 32-bit hash: with halves v (own) and o (the other's) the draw is
``floor((v 2^16 + o) length / 2^32)``. Alone every draw is as uniform as 32 bits allow; together the two are to
within about ``2 length / 2^16`` of the product of their probabilities. The hash is triple32 of Chris Wellons
(hash-prospector, public domain) of ``low + c golden``, with ``high`` added after its first round; `low` and `high`
are the halves of the row's key, the finaliser of SplitMix64 (Steele, Lea and Flood 2014,
doi:10.1145/2660193.2660195; Vigna's constants, public domain) of the projection's key and the target's number.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from llvmlite import ir
from numba import njit, types
from numba.extending import intrinsic

# Two runs, and one place for the step over the target itself, are numbered with 16 bits.
LONGEST_RUN = 32_000
# Draws that one call of the vector code makes: 16 hashes of 32 bits.
N_DRAWS = 32
WIDEST_TILE = 256
# Sources under the runs of a tile: 25 kB of float32 leave room for the table in a first-level cache of 32 kB.
_TILE_SPAN = 6500
_LARGEST_PLACE = 65_535

_GOLDEN = 0x9E3779B9
# Shifts and multipliers of triple32; the last shift has no multiplier.
_ROUNDS = ((17, 0xED5AD4BB), (11, 0xAC4C1B51), (15, 0x31848BAB))
_LAST_SHIFT = 14
_I16, _I32 = ir.IntType(16), ir.IntType(32)
_HASHES = ir.VectorType(_I32, N_DRAWS // 2)
_PLACES = ir.VectorType(_I16, N_DRAWS)
_PRODUCTS = ir.VectorType(_I32, N_DRAWS)


class Fan(NamedTuple):
    """Fixed in-degree connections of one projection.

    Attributes
    ----------
    key : numpy.uint64
        Key of the seed and the projection.
    first_source, n_sources : int
        Place of the source population among all units.
    first_target, n_targets : int
        Place of the target population.
    in_degree : int
        Sources of every target.
    skips_self : bool
        Whether a target is left out of its own candidates.
    """

    key: np.uint64
    first_source: int
    n_sources: int
    first_target: int
    n_targets: int
    in_degree: int
    skips_self: bool

    @property
    def runs(self) -> np.ndarray:
        """Borders of the runs among the candidates, uint32, shape (in_degree + 1,)."""
        n_candidates = self.n_sources - self.skips_self
        borders = np.arange(self.in_degree + 1, dtype=np.int64) * n_candidates // self.in_degree
        return borders.astype(np.uint32)


class Tiles(NamedTuple):
    """The runs of a fan in groups whose sources stay in the cache together, and are numbered with 16 bits.

    Attributes
    ----------
    first : ndarray of int64, shape (n_tiles + 1,)
        First run of every tile, all even, and the number of runs.
    base : ndarray of int64, shape (n_tiles,)
        First source of every tile, counted within the source population; places are counted from it.
    start, length : ndarray of uint16, shape (in_degree + N_DRAWS,)
        Place and number of candidates of every run; zeros behind the last, for vector code to read.
    """

    first: np.ndarray
    base: np.ndarray
    start: np.ndarray
    length: np.ndarray


def tiles_of(fan: Fan) -> Tiles:
    """Group the runs of a fan.

    Parameters
    ----------
    fan : Fan

    Returns
    -------
    Tiles
    """
    runs = fan.runs.astype(np.int64)
    longest = int(np.diff(runs).max())
    # Whole vectors of draws where that is possible; always an even number, so that no hash is split.
    wanted = max(_TILE_SPAN // longest // N_DRAWS * N_DRAWS, N_DRAWS)
    width = min(wanted, WIDEST_TILE, (_LARGEST_PLACE - 1) // longest // 2 * 2)
    first = np.append(np.arange(0, fan.in_degree, width), fan.in_degree)
    base = runs[first[:-1]]
    padding = np.zeros(N_DRAWS, dtype=np.uint16)
    start = runs[:-1] - np.repeat(base, np.diff(first))
    return Tiles(
        first=first,
        base=base,
        start=np.append(start.astype(np.uint16), padding),
        length=np.append(np.diff(runs).astype(np.uint16), padding),
    )


def sources_of(fan: Fan, first: int, stop: int) -> np.ndarray:
    """Give the sources of some target units.

    Parameters
    ----------
    fan : Fan
    first, stop : int
        Range of targets, counted within the target population.

    Returns
    -------
    ndarray of int32, shape (stop - first, in_degree)
        Units, counted within the source population, ascending in every row.
    """
    sources = np.empty((stop - first, fan.in_degree), dtype=np.int32)
    _fill_sources(fan.key, tiles_of(fan), fan.skips_self, first, sources)
    return sources


@njit(cache=True, nogil=True)
def _fill_sources(key, tiles, skips_self, first, sources):
    """Fill the rows of `sources` with the sources of the targets from `first` on."""
    places = np.empty(WIDEST_TILE + N_DRAWS, np.uint16)
    for t in range(tiles.base.size):
        k = tiles.first[t]
        for row in range(sources.shape[0]):
            place_tile(tiles, t, row_key(key, first + row), self_place(tiles, t, first + row, skips_self), places, 0)
            for i in range(tiles.first[t + 1] - k):
                sources[row, k + i] = tiles.base[t] + places[i]


@njit(inline="always")
def row_key(key, target):
    """Give the 64-bit key of a target unit: SplitMix64 of the projection's key and the unit's number."""
    z = key + (np.uint64(target) + np.uint64(1)) * np.uint64(0x9E3779B97F4A7C15)
    z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return z ^ (z >> np.uint64(31))


@njit(inline="always")
def self_place(tiles, t, target, skips_self):
    """Give the place in a tile from which on candidates are one unit further than their number says."""
    if not skips_self:
        return _LARGEST_PLACE
    return min(max(target - tiles.base[t], 0), _LARGEST_PLACE)


@njit(inline="always")
def place_tile(tiles, t, key, skipped, places, at):
    """Write the places of one target's sources in a tile.

    Parameters
    ----------
    tiles : Tiles
    t : int
        Number of the tile.
    key : uint64
        The target's `row_key`.
    skipped : int
        Its `self_place` in the tile.
    places : ndarray of uint16
        Receives the places from `at` on, N_DRAWS at a time: what follows the tile's last is overwritten.
    at : int
        Position of the first.
    """
    k, stop = tiles.first[t], tiles.first[t + 1]
    while k < stop:
        _draw_places(places, at, tiles.start, tiles.length, k, key, skipped)
        k += N_DRAWS
        at += N_DRAWS


@intrinsic
def _draw_places(typing_context, places, at, start, length, k, key, skipped):
    """Draw N_DRAWS places from run `k` on."""
    signature = types.void(places, types.intp, start, length, types.intp, types.uint64, types.intp)
    return signature, _emit_draws


def _emit_draws(context, builder, signature, arguments):
    """Emit the vector code of the module's docstring."""
    places_t, _, start_t, length_t, *_ = signature.args
    places, at, start, length, k, key, skipped = arguments
    halves = builder.bitcast(_emit_hashes(builder, k, key), _PLACES)
    swapped = builder.shuffle_vector(halves, halves, _constants(_PRODUCTS, [i ^ 1 for i in range(N_DRAWS)]))
    lengths = builder.load(_vector_at(context, builder, length_t, length, k), align=2)
    wide_lengths = builder.zext(lengths, _PRODUCTS)

    def high_product(factor):
        product = builder.mul(builder.zext(factor, _PRODUCTS), wide_lengths)
        return builder.trunc(builder.lshr(product, _constants(_PRODUCTS, [16] * N_DRAWS)), _PLACES)

    low_product = builder.mul(halves, lengths)
    total = builder.add(low_product, high_product(swapped))
    carry = builder.zext(builder.icmp_unsigned("<", total, low_product), _PLACES)
    drawn = builder.add(high_product(halves), carry)
    place = builder.add(builder.load(_vector_at(context, builder, start_t, start, k), align=2), drawn)
    step_over = builder.icmp_unsigned(">=", place, _spread(builder, builder.trunc(skipped, _I16), _PLACES))
    place = builder.add(place, builder.zext(step_over, _PLACES))
    builder.store(place, _vector_at(context, builder, places_t, places, at), align=2)
    return context.get_dummy_value()


def _emit_hashes(builder, k, key):
    """Emit the hashes of the pairs of runs from run `k` on."""
    n = N_DRAWS // 2
    low = builder.trunc(key, _I32)
    high = builder.trunc(builder.lshr(key, ir.Constant(key.type, 32)), _I32)
    pair = builder.trunc(builder.lshr(k, ir.Constant(k.type, 1)), _I32)
    origin = builder.add(low, builder.mul(pair, ir.Constant(_I32, _GOLDEN)))
    offsets = _constants(_HASHES, [i * _GOLDEN & 0xFFFFFFFF for i in range(n)])
    hashes = builder.add(_spread(builder, origin, _HASHES), offsets)
    for number, (shift, multiplier) in enumerate(_ROUNDS):
        hashes = builder.xor(hashes, builder.lshr(hashes, _constants(_HASHES, [shift] * n)))
        if number == 1:
            # Rows whose counters overlap by chance part here.
            hashes = builder.add(hashes, _spread(builder, high, _HASHES))
        hashes = builder.mul(hashes, _constants(_HASHES, [multiplier] * n))
    return builder.xor(hashes, builder.lshr(hashes, _constants(_HASHES, [_LAST_SHIFT] * n)))


def _constants(vector, values):
    """Give a constant vector."""
    return ir.Constant(vector, [ir.Constant(vector.element, value) for value in values])


def _spread(builder, scalar, vector):
    """Put a scalar into every element of a vector."""
    undefined = ir.Constant(vector, ir.Undefined)
    first = builder.insert_element(undefined, scalar, ir.Constant(_I32, 0))
    zeros = _constants(ir.VectorType(_I32, vector.count), [0] * vector.count)
    return builder.shuffle_vector(first, undefined, zeros)


def _vector_at(context, builder, array_type, array, offset):
    """Give a pointer to the vector of places that starts at an offset into an array of uint16."""
    data = context.make_array(array_type)(context, builder, array).data
    return builder.bitcast(builder.gep(data, [offset]), _PLACES.as_pointer())
