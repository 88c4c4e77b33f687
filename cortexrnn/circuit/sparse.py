"""Weights of a large circuit: two bytes a connection, or none at all.

Where every projection has a fixed in-degree, the k-th source of a unit lies in the k-th run of its candidates
(`cortexrnn.circuit.wiring`), and the table holds places inside short tiles of runs, 16 bits each. Equal weights
are one number a target unit. Connectivity can also be left to the hash from which the table is made: the same
network, nothing stored. Every other circuit is drawn densely and its non-zero weights are kept row by row.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numba import njit

from cortexrnn._checks import check_choice
from cortexrnn.circuit import fields
from cortexrnn.circuit.build import LARGEST_DENSE, build_weights, fan_of, numbered
from cortexrnn.circuit.parts import SIGNS, Projection
from cortexrnn.circuit.spec import Circuit
from cortexrnn.circuit.spectrum import bulk_factor
from cortexrnn.circuit.wiring import N_DRAWS, Fan, Tiles, place_tile, row_key, self_place, sources_of, tiles_of
from cortexrnn.errors import NumericalError
from cortexrnn.numerics.streams import stream

# Weights that are drawn at a time.
_N_AT_ONCE = 2**20


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class FanTable:
    """One projection of fixed in-degree.

    Attributes
    ----------
    plasticity : str
        Its class of short-term plasticity; empty where weights are static.
    fan : Fan
        Who is connected, as a rule.
    tiles : Tiles
        Groups of runs, by which the arrays are ordered: tile, target, run.
    places : ndarray of uint16, shape (n_connections + N_DRAWS,) or (0,)
        Sources, counted from the tile's first; none where they are computed from the hash.
    values : ndarray, shape (n_connections,) or (0,)
        Signed weights in the order of `places`; none where they are equal.
    efficacy : ndarray, shape (n_targets,) or (0,)
        Signed weight of all connections of a target; none where there are values.
    """

    plasticity: str
    fan: Fan
    tiles: Tiles
    places: np.ndarray
    values: np.ndarray
    efficacy: np.ndarray

    def sources(self, first: int, stop: int) -> np.ndarray:
        """Give the sources of some targets, all counted within their populations, shape (stop - first, in_degree)."""
        if self.places.size == 0:
            return sources_of(self.fan, first, stop)
        sources = np.empty((stop - first, self.fan.in_degree), dtype=np.int32)
        for t, (k, k_stop) in enumerate(itertools.pairwise(self.tiles.first.tolist())):
            sources[:, k:k_stop] = self._tile(self.places, k, k_stop)[first:stop] + np.int32(self.tiles.base[t])
        return sources

    def weights(self, first: int, stop: int) -> np.ndarray:
        """Give the signed weights of the same connections, shape (stop - first, in_degree)."""
        shape = (stop - first, self.fan.in_degree)
        if self.values.size == 0:
            return np.broadcast_to(self.efficacy[first:stop, None], shape)
        tiles = itertools.pairwise(self.tiles.first.tolist())
        parts = [self._tile(self.values, k, k_stop)[first:stop] for k, k_stop in tiles]
        return np.concatenate(parts, axis=1)

    def _tile(self, flat: np.ndarray, k: int, k_stop: int) -> np.ndarray:
        """Give one tile of a flat array as rows of targets, without a copy."""
        n = self.fan.n_targets
        return flat[n * k : n * k_stop].reshape(n, k_stop - k)


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class RowTable:
    """Non-zero weights of one class of plasticity over all units, row by row.

    Attributes
    ----------
    plasticity : str
        As in `FanTable`.
    first : ndarray of int64, shape (n_units + 1,)
        Where every unit's connections start.
    places : ndarray of uint16, shape (n_connections,)
        Sources, counted among all units, ascending in a row.
    values : ndarray, shape (n_connections,)
        Signed weights.
    """

    plasticity: str
    first: np.ndarray
    places: np.ndarray
    values: np.ndarray


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class SparseWeights:
    """Weights of a circuit as tables of connections.

    Attributes
    ----------
    size : int
        Number of units.
    dtype : numpy.dtype
        float64 or float32: that of weights and of the rates they meet.
    tables : tuple of FanTable and RowTable
        Their drives add in this order.
    """

    size: int
    dtype: np.dtype
    tables: tuple[FanTable | RowTable, ...]

    @property
    def n_connections(self) -> int:
        """Number of connections."""
        return sum(
            table.values.size if isinstance(table, RowTable) else table.fan.n_targets * table.fan.in_degree
            for table in self.tables
        )

    @property
    def nbytes(self) -> int:
        """Bytes that the tables take."""
        return sum(_nbytes(table) for table in self.tables)

    def work(self) -> np.ndarray:
        """Count the connections of every unit, int64, shape (size,)."""
        counts = np.zeros(self.size, dtype=np.int64)
        for table in self.tables:
            if isinstance(table, RowTable):
                counts += np.diff(table.first)
            else:
                counts[table.fan.first_target :][: table.fan.n_targets] += table.fan.in_degree
        return counts

    def dense(self, plasticity: str = "") -> np.ndarray:
        """Lay the weights of one class of plasticity out as a matrix.

        Parameters
        ----------
        plasticity : str
            Name of the class; empty for static weights.

        Returns
        -------
        ndarray, shape (size, size)
            ``[post, pre]``.

        Raises
        ------
        OptionError
            If the matrix would be too large.
        """
        if self.size > LARGEST_DENSE:
            fix = "Look at rows: every table gives sources and weights."
            fields.refuse("populations", self.size, f"at most {LARGEST_DENSE} units in a dense matrix", fix)
        matrix = np.zeros((self.size, self.size), dtype=self.dtype)
        for table in self.tables:
            if table.plasticity != plasticity:
                continue
            if isinstance(table, RowTable):
                matrix[np.repeat(np.arange(self.size), np.diff(table.first)), table.places] += table.values
                continue
            fan = table.fan
            targets = fan.first_target + np.arange(fan.n_targets)[:, None]
            matrix[targets, fan.first_source + table.sources(0, fan.n_targets)] += table.weights(0, fan.n_targets)
        return matrix


def build_sparse(circuit: Circuit, dtype: type = np.float64) -> SparseWeights:
    """Build the tables of the network that the circuit's wiring seed decides.

    The same network as `build_weights` gives. Where every projection has an in-degree nothing dense is made on
    the way, and rows are balanced by the sums of the weights drawn: equal to `build_weights` to rounding then, to
    the bit without balance.

    Parameters
    ----------
    circuit : Circuit
    dtype : numpy float type
        float64 or float32.

    Returns
    -------
    SparseWeights

    Raises
    ------
    OptionError
        If the circuit has more than `LARGEST_DENSE` units and a part that is not of fixed in-degree, or the
        dtype is neither of the two.
    NumericalError
        If rows are to be balanced and have weights of one sign only.
    """
    precision = _check_dtype(dtype)
    obstacle = next(_obstacles(circuit), None)
    if obstacle is None:
        return _build_fans(circuit, precision, is_stored=True)
    if circuit.size > LARGEST_DENSE:
        where, value, expected = obstacle
        fix = f"Circuits of more than {LARGEST_DENSE} units need an in_degree everywhere and nothing dense."
        fields.refuse(where, value, expected, fix)
    weights = build_weights(circuit, precision.type)
    blocks = {"": weights.static} | weights.plastic
    tables = tuple(_row_table(name, block) for name, block in blocks.items())
    return SparseWeights(size=circuit.size, dtype=precision, tables=tables)


def build_hashed(circuit: Circuit, dtype: type = np.float64) -> SparseWeights:
    """Build weights without any table: connections are computed from the wiring's hash whenever they are needed.

    Parameters
    ----------
    circuit : Circuit
        Every projection has an in_degree and constant weights.
    dtype : numpy float type
        float64 or float32.

    Returns
    -------
    SparseWeights
        The network of `build_sparse`.

    Raises
    ------
    OptionError
        If a part of the circuit cannot be computed from a hash; names it.
    NumericalError
        If rows are to be balanced and have weights of one sign only.
    """
    precision = _check_dtype(dtype)
    for i, projection in enumerate(circuit.projections):
        if projection.is_given:
            expected, fix = "a constant law where no weight is stored", "Take build_sparse."
            fields.refuse(f"projections[{i}].weights", f"an array of {len(projection.weights)}", expected, fix)
        if projection.weights.law != "constant":
            expected, fix = "'constant' where no weight is stored", "Take constant weights, or build_sparse."
            fields.refuse(f"projections[{i}].weights.law", projection.weights.law, expected, fix)
    for where, value, expected in _obstacles(circuit):
        fields.refuse(where, value, expected, "Change it, or take build_sparse.")
    return _build_fans(circuit, precision, is_stored=False)


def _check_dtype(dtype: type) -> np.dtype:
    """Return the dtype, or refuse what is neither float64 nor float32."""
    precision = np.dtype(dtype)
    check_choice("dtype", precision.name, ("float64", "float32"))
    return precision


def _obstacles(circuit: Circuit) -> Iterator[tuple[str, object, str]]:
    """Give the place, value and expectation of everything that keeps a circuit from being made of fans."""
    for i, projection in enumerate(circuit.projections):
        if projection.in_degree is None:
            yield f"projections[{i}].in_degree", None, "a number of sources that every target has"
    if circuit.low_rank_terms:
        value = f"an array of {len(circuit.low_rank_terms)}"
        yield "low_rank_terms", value, "no term that joins every unit to every other"
    if circuit.balance == "random part":
        yield "balance", circuit.balance, "'' or 'rows': what is subtracted would fill every row"


def _build_fans(circuit: Circuit, dtype: np.dtype, *, is_stored: bool) -> SparseWeights:
    """Build a table for every projection of a circuit that has an in-degree throughout."""
    factor = bulk_factor(circuit)
    balance = _balance_factors(circuit) if circuit.balance == "rows" else None
    tables = []
    for projection, number in numbered(circuit.projections):
        fan = fan_of(circuit, projection, number)
        tiles = tiles_of(fan)
        rows = np.ones(fan.n_targets)
        if balance is not None:
            rows = balance[_sign(circuit, projection)][circuit.slices[projection.target]]
        places, values, efficacy = np.empty(0, np.uint16), np.empty(0, dtype), np.empty(0, dtype)
        if is_stored:
            places = np.empty(fan.n_targets * fan.in_degree + N_DRAWS, np.uint16)
            _fill_places(fan.key, tiles, fan.skips_self, fan.n_targets, places)
        if projection.weights.law == "constant":
            efficacy = (projection.weights.mean * (_sign(circuit, projection) or 1) * rows * factor).astype(dtype)
        else:
            values = np.empty(fan.n_targets * fan.in_degree, dtype)
            for first, drawn in _draw_rows(circuit, projection, number, fan):
                stop = first + len(drawn)
                _lay_in_tiles(drawn * rows[first:stop, None] * factor, first, fan, tiles, values)
        parts = {"places": places, "values": values, "efficacy": efficacy}
        tables.append(FanTable(plasticity=projection.plasticity, fan=fan, tiles=tiles, **parts))
    return SparseWeights(size=circuit.size, dtype=dtype, tables=tuple(tables))


def _lay_in_tiles(weights: np.ndarray, first: int, fan: Fan, tiles: Tiles, values: np.ndarray) -> None:
    """Put the rows of some targets, from `first` on, where a table's order wants them."""
    n = fan.n_targets
    for k, k_stop in itertools.pairwise(tiles.first.tolist()):
        tile = values[n * k : n * k_stop].reshape(n, k_stop - k)
        tile[first : first + len(weights)] = weights[:, k:k_stop]


def _draw_rows(circuit: Circuit, projection: Projection, number: int, fan: Fan) -> Iterator[tuple[int, np.ndarray]]:
    """Draw the signed weights of a fan as `build_weights` does, some targets at a time: the first of them, weights."""
    sign = _sign(circuit, projection)
    rng = stream(circuit.wiring_seed, "wiring", projection.source, projection.target, number)
    step = max(_N_AT_ONCE // fan.in_degree, 1)
    for first in range(0, fan.n_targets, step):
        shape = (min(step, fan.n_targets - first), fan.in_degree)
        yield first, projection.weights.draw(rng, shape, is_magnitude=sign != 0) * (sign or 1)


def _balance_factors(circuit: Circuit) -> dict[int, np.ndarray]:
    """Give the factor of excitation (1) and of inhibition (-1) of every unit, as `balance_rows` defines them."""
    sums = {1: np.zeros(circuit.size), -1: np.zeros(circuit.size)}
    for projection, number in numbered(circuit.projections):
        row = sums[_sign(circuit, projection)][circuit.slices[projection.target]]
        if projection.weights.law == "constant":
            row += projection.in_degree * projection.weights.mean
            continue
        for first, drawn in _draw_rows(circuit, projection, number, fan_of(circuit, projection, number)):
            row[first : first + len(drawn)] += np.abs(drawn).sum(axis=1)
    excitation, inhibition = sums[1], sums[-1]
    one_sided = np.flatnonzero((excitation > 0.0) != (inhibition > 0.0))
    if one_sided.size:
        row = one_sided[0]
        name = circuit.populations[circuit.population_of[row]].name
        raise NumericalError(
            f"{one_sided.size} rows have weights of one sign only and cannot be balanced "
            f"(row {row}: excitation {excitation[row]:.4g}, inhibition {-inhibition[row]:.4g}).",
            where=f"population {name!r}",
            hint="Project excitation and inhibition to every population, both with a mean above 0.",
        )
    shared = np.sqrt(excitation) * np.sqrt(inhibition)
    return {sign: np.divide(shared, s, out=np.ones_like(s), where=s > 0.0) for sign, s in sums.items()}


def _row_table(plasticity: str, matrix: np.ndarray) -> RowTable:
    """Keep what is not zero."""
    is_connected = matrix != 0.0
    first = np.concatenate([[0], np.cumsum(is_connected.sum(axis=1))])
    # Row by row: the indices of a large matrix at once would be larger than itself.
    places = [np.flatnonzero(row).astype(np.uint16) for row in is_connected]
    return RowTable(plasticity=plasticity, first=first, places=np.concatenate(places), values=matrix[is_connected])


def _sign(circuit: Circuit, projection: Projection) -> int:
    """Give the sign of a projection's weights, 0 where any is allowed."""
    return SIGNS[next(p.sign for p in circuit.populations if p.name == projection.source)]


def _nbytes(table: FanTable | RowTable) -> int:
    """Count the bytes of a table's arrays."""
    if isinstance(table, RowTable):
        return table.first.nbytes + table.places.nbytes + table.values.nbytes
    arrays = (*table.tiles, table.places, table.values, table.efficacy)
    return sum(array.nbytes for array in arrays)


@njit(cache=True, nogil=True)
def _fill_places(key, tiles, skips_self, n_targets, places):
    """Fill a table: what a target's draws overwrite behind its own places is written later, or padding."""
    for t in range(tiles.base.size):
        width = tiles.first[t + 1] - tiles.first[t]
        at = n_targets * tiles.first[t]
        for target in range(n_targets):
            place_tile(tiles, t, row_key(key, target), self_place(tiles, t, target, skips_self), places, at)
            at += width
