"""From the description of a circuit to its weights."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass

import numpy as np

from cortexrnn.circuit.dale import balance_rows
from cortexrnn.circuit.moments import block_shape, connection_probability, mean_weights, ring_profile
from cortexrnn.circuit.parts import LowRank, Projection
from cortexrnn.circuit.spec import Circuit
from cortexrnn.circuit.spectrum import bulk_factor
from cortexrnn.circuit.wiring import LONGEST_RUN, Fan, sources_of
from cortexrnn.errors import OptionError
from cortexrnn.numerics.streams import stream

# A dense matrix above this is refused: circuits of that size have a fixed in-degree and a sparse layout.
LARGEST_DENSE = 30_000


@dataclass(frozen=True, kw_only=True, slots=True)
class Weights:
    """Dense weights of a circuit, ``[post, pre]``.

    Attributes
    ----------
    static : ndarray, shape (size, size)
        Weights without short-term plasticity, low-rank terms among them.
    plastic : dict of str to ndarray, shape (size, size)
        Weights of every class of short-term plasticity.
    balance_residual : float
        Largest absolute row sum after balancing (with balance ``random part``, of the deviation from the mean),
        before the weights are rounded to `dtype`, relative to the row's sum of absolute weights; NaN where the
        circuit asks for no balance.
    """

    static: np.ndarray
    plastic: dict[str, np.ndarray]
    balance_residual: float

    def total(self) -> np.ndarray:
        """Give the sum of static and plastic weights, shape (size, size)."""
        return self.static + sum(self.plastic.values()) if self.plastic else self.static


def build_weights(circuit: Circuit, dtype: type = np.float64) -> Weights:
    """Draw the dense weights that the circuit's wiring seed decides.

    Everything is computed in float64 and rounded once. The draw of one projection depends on no other: its
    stream is keyed by source, target and its number among equal pairs.

    Parameters
    ----------
    circuit : Circuit
    dtype : numpy float type
        float64 or float32.

    Returns
    -------
    Weights

    Raises
    ------
    OptionError
        If the matrix would be too large, the dtype is neither of the two, or the gain has nothing to scale.
    NumericalError
        If a row has weights of one sign only and is to be balanced.
    """
    _check_dtype(dtype)
    if circuit.size > LARGEST_DENSE:
        raise OptionError(
            f"{circuit.size} units are not valid for dense weights; expected at most {LARGEST_DENSE}.",
            where="populations",
            hint="Give every projection an in_degree and constant weights, and use build_sparse or build_hashed.",
        )
    blocks = {name: np.zeros((circuit.size, circuit.size)) for name in ("", *circuit.plasticity)}
    for projection, number in numbered(circuit.projections):
        target, source = circuit.slices[projection.target], circuit.slices[projection.source]
        blocks[projection.plasticity][target, source] += _draw_block(circuit, projection, number)
    residual = _balance(circuit, blocks)
    factor = bulk_factor(circuit)
    for block in blocks.values():
        block *= factor
    for i, term in enumerate(circuit.low_rank_terms):
        m, n = loadings(circuit, term, i)
        blocks[""] += np.outer(m, n / circuit.size)
    rounded = {name: block.astype(dtype, copy=False) for name, block in blocks.items()}
    return Weights(static=rounded.pop(""), plastic=rounded, balance_residual=residual)


def build_inputs(circuit: Circuit, dtype: type = np.float64) -> np.ndarray:
    """Draw the input weights.

    Parameters
    ----------
    circuit : Circuit
    dtype : numpy float type

    Returns
    -------
    ndarray, shape (size, n_channels)
        Columns in the order of `Circuit.channels`.

    Raises
    ------
    OptionError
        If the dtype is neither float64 nor float32.
    """
    _check_dtype(dtype)
    columns = {name: i for i, name in enumerate(circuit.channels)}
    loading = np.zeros((circuit.size, len(columns)))
    for entry, number in _numbered(circuit.inputs, lambda entry: (entry.name, entry.target)):
        place = circuit.slices[entry.target]
        size = place.stop - place.start
        if entry.vector:
            values = np.array(entry.vector)
        else:
            rng = stream(circuit.wiring_seed, "input", entry.name, entry.target, number)
            values = entry.weights.draw(rng, (size,), is_magnitude=False)
        loading[place, columns[entry.name]] += values
    return loading.astype(dtype, copy=False)


def loadings(circuit: Circuit, term: LowRank, number: int) -> tuple[np.ndarray, np.ndarray]:
    """Give the loadings m and n of one low-rank term of a circuit.

    Parameters
    ----------
    circuit : Circuit
    term : LowRank
    number : int
        Its index among the circuit's terms.

    Returns
    -------
    m, n : ndarray of float64, shape (size,)
    """
    if term.m:
        return np.array(term.m), np.array(term.n)
    rng = stream(circuit.wiring_seed, "low rank", number)
    m = rng.normal(0.0, np.sqrt(term.m_variance), circuit.size)
    slope = term.overlap / term.m_variance
    rest = max(term.n_variance - slope * term.overlap, 0.0)
    return m, slope * m + rng.normal(0.0, np.sqrt(rest), circuit.size)


def fan_of(circuit: Circuit, projection: Projection, number: int) -> Fan:
    """Describe the fixed in-degree wiring of a projection.

    Parameters
    ----------
    circuit : Circuit
    projection : Projection
        With an in_degree.
    number : int
        Its number among the projections between the same populations.

    Returns
    -------
    Fan

    Raises
    ------
    OptionError
        If the in-degree is too small for the source population.
    """
    source, target = circuit.slices[projection.source], circuit.slices[projection.target]
    n_sources = source.stop - source.start
    if n_sources > LONGEST_RUN * projection.in_degree:
        smallest = -(-n_sources // LONGEST_RUN)
        raise OptionError(
            f"{projection.in_degree} is not valid; expected at least {smallest} for {n_sources} sources.",
            where=f"in_degree of {projection.source} -> {projection.target}",
            hint="Raise in_degree, or divide the source population.",
        )
    key = stream(circuit.wiring_seed, "wiring", projection.source, projection.target, number, "sources")
    return Fan(
        key=key.integers(0, 2**64, dtype=np.uint64),
        first_source=source.start,
        n_sources=n_sources,
        first_target=target.start,
        n_targets=target.stop - target.start,
        in_degree=projection.in_degree,
        skips_self=projection.skips_self,
    )


def numbered(projections: tuple[Projection, ...]) -> list[tuple[Projection, int]]:
    """Pair every projection with its number among those of the same source and target."""
    return _numbered(projections, lambda projection: (projection.source, projection.target))


def _draw_block(circuit: Circuit, projection: Projection, number: int) -> np.ndarray:
    """Draw one projection's block, shape (n_targets, n_sources), or take the one that is given."""
    if projection.is_given:
        return np.array(projection.weights)
    shape = block_shape(circuit, projection)
    sign = int(circuit.signs[circuit.slices[projection.source]][0])
    places = [np.arange(size) for size in shape]
    rng = stream(circuit.wiring_seed, "wiring", projection.source, projection.target, number)
    if projection.in_degree is not None:
        # One number a connection, so that a sparse layout can draw the same ones without the zeros.
        chosen = sources_of(fan_of(circuit, projection, number), 0, shape[0]).astype(np.intp)
        weights = np.zeros(shape)
        np.put_along_axis(weights, chosen, projection.weights.draw(rng, chosen.shape, is_magnitude=sign != 0), axis=1)
    else:
        weights = projection.weights.draw(rng, shape, is_magnitude=sign != 0)
        probability = connection_probability(projection, shape, *places)
        if probability.min() < 1.0:
            weights[rng.random(shape) >= probability] = 0.0
        if projection.skips_self:
            np.fill_diagonal(weights, 0.0)
    weights *= ring_profile(projection, "weights", shape, *places)
    return weights * sign if sign else weights


def _numbered(items: Iterable, ends_of: Callable) -> list[tuple]:
    """Pair every item with its number among those of the same ends."""
    seen: Counter = Counter()
    pairs = []
    for item in items:
        pairs.append((item, seen[ends_of(item)]))
        seen[ends_of(item)] += 1
    return pairs


def _check_dtype(dtype: type) -> None:
    """Refuse what is neither float64 nor float32."""
    if dtype not in (np.float64, np.float32):
        expected = "expected numpy.float64 or numpy.float32."
        raise OptionError(f"dtype={dtype!r} is not valid; {expected}", hint="Leave it out for float64.")


def _balance(circuit: Circuit, blocks: dict[str, np.ndarray]) -> float:
    """Balance the rows of the blocks in place, as the circuit asks, and give the relative residual."""
    if circuit.balance == "":
        return np.nan
    total = sum(blocks.values())
    if circuit.balance == "rows":
        balanced, residual = balance_rows(total, circuit.signs)
        for block in blocks.values():
            # Every non-zero weight keeps its share of a pair's total.
            np.multiply(block, np.divide(balanced, total, out=np.zeros_like(total), where=total != 0.0), out=block)
        return residual
    deviation = total - mean_weights(circuit)
    blocks[""] -= deviation.mean(axis=1, keepdims=True)
    sums = (sum(blocks.values()) - mean_weights(circuit)).sum(axis=1)
    return float(np.max(np.abs(sums) / np.maximum(np.abs(total).sum(axis=1), np.finfo(float).tiny)))
