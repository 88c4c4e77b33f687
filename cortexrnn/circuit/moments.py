"""Mean and variance of every weight before anything is drawn."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from cortexrnn.circuit.parts import SIGNS, Projection

if TYPE_CHECKING:
    from cortexrnn.circuit.spec import Circuit


def block_shape(circuit: Circuit, projection: Projection) -> tuple[int, int]:
    """Give the sizes of a projection's target and source populations."""
    sizes = {population.name: population.size for population in circuit.populations}
    return sizes[projection.target], sizes[projection.source]


def connection_probability(
    projection: Projection, shape: tuple[int, int], rows: np.ndarray, columns: np.ndarray
) -> np.ndarray:
    """Give the probability of connections, autapses apart.

    Parameters
    ----------
    projection : Projection
    shape : tuple of int
        Sizes of the target and the source population.
    rows, columns : ndarray
        Places of units within the target and the source population; fractions stand for places between units.

    Returns
    -------
    ndarray, shape (n_rows, n_columns), or (1, 1) where it is the same for all
    """
    n_sources = shape[1]
    at_any_distance = projection.density
    if projection.in_degree is not None:
        at_any_distance = projection.in_degree / (n_sources - projection.skips_self)
    probability = at_any_distance * ring_profile(projection, "density", shape, rows, columns)
    if projection.mask:
        allowed = np.array([list(row) for row in projection.mask]) == "1"
        probability = probability * allowed[np.ix_(rows.astype(np.intp), columns.astype(np.intp))]
    # A ring may ask for 1 at its peak, and round-off for a little more.
    return np.minimum(probability, 1.0)


def ring_profile(
    projection: Projection, modulated: str, shape: tuple[int, int], rows: np.ndarray, columns: np.ndarray
) -> np.ndarray:
    """Give what a projection's ring multiplies weights or density by: 1 where it has none for `modulated`.

    Parameters
    ----------
    projection : Projection
    modulated : {"weights", "density"}
    shape, rows, columns
        As in `connection_probability`.

    Returns
    -------
    ndarray, shape (n_rows, n_columns), or (1, 1) where there is none
    """
    ring = projection.distance
    if ring is None or ring.modulates != modulated:
        return np.ones((1, 1))
    angles = [2.0 * np.pi * place / size for place, size in zip((rows, columns), shape, strict=True)]
    return ring.profile(*angles, shape[1])


def entry_moments(
    circuit: Circuit, projection: Projection, rows: np.ndarray, columns: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Give mean and variance of entries of a projection's block, absent connections included, before the gain.

    Parameters
    ----------
    circuit : Circuit
    projection : Projection
    rows, columns : ndarray
        As in `connection_probability`.

    Returns
    -------
    mean, variance : ndarray, shape (n_rows, n_columns), or (1, 1) where they are the same for all
        The diagonal is that of a projection with autapses.
    """
    shape = block_shape(circuit, projection)
    if projection.is_given:
        given = np.array(projection.weights)[np.ix_(rows.astype(np.intp), columns.astype(np.intp))]
        return given, np.zeros_like(given)
    sign = next(SIGNS[population.sign] for population in circuit.populations if population.name == projection.source)
    law = projection.weights
    probability = connection_probability(projection, shape, rows, columns)
    scale = ring_profile(projection, "weights", shape, rows, columns)
    mean = probability * scale * law.mean * (sign or 1)
    return mean, probability * scale**2 * (law.sd**2 + (1.0 - probability) * law.mean**2)


def mean_weights(circuit: Circuit) -> np.ndarray:
    """Give the mean of every weight before gain and balance, low-rank terms apart, shape (size, size).

    Its diagonal is that of a circuit with autapses, so that the mean of unstructured projections is the same in
    all rows of a population.
    """
    mean = np.zeros((circuit.size, circuit.size))
    for projection in circuit.projections:
        rows, columns = (np.arange(size) for size in block_shape(circuit, projection))
        place = circuit.slices[projection.target], circuit.slices[projection.source]
        mean[place] += entry_moments(circuit, projection, rows, columns)[0]
    return mean
