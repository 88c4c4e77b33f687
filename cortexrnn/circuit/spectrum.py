"""The spectrum of the weights before they are drawn: radius of the bulk and outliers.

Units whose weights have the same statistics form a group: a population, or a sector of it where a ring makes weights
depend on the place, or a single unit where a mask does or weights are given. The bulk's radius is the root of the
largest eigenvalue of the matrix of the groups' variances times their sizes (Aljadeff, Stern and Sharpee 2015,
doi:10.1103/PhysRevLett.114.088101); where the variance depends on the source alone it is the formula of Rajan and
Abbott (2006), doi:10.1103/PhysRevLett.97.188104. Outliers are the eigenvalues of the mean and of the low-rank terms
beyond the radius (Tao 2013, doi:10.1007/s00440-011-0397-9). Balanced rows whose excitatory sums are alike send
the eigenvalue of the mean to zero, and with it the outlier.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from cortexrnn.circuit.moments import entry_moments
from cortexrnn.circuit.parts import Projection
from cortexrnn.circuit.spec import Circuit
from cortexrnn.errors import OptionError

# Enough for a ring: the profile hardly changes within a sector, and 256 of them are quickly diagonalised.
_MAX_SECTORS = 256
# Eigenvalues that are zero but for round-off, relative to the largest one.
_ROUND_OFF = 1e-9


@dataclass(frozen=True, kw_only=True, slots=True)
class Spectrum:
    """Prediction of the eigenvalues of a circuit's total weights.

    Attributes
    ----------
    radius : float
        Radius of the bulk.
    outliers : ndarray of complex128, shape (n_outliers,)
        Predicted eigenvalues beyond the radius, largest modulus first.
    mean_eigenvalues : ndarray of complex128, shape (n_eigenvalues,)
        All eigenvalues of the mean and of the low-rank terms that are not zero, also those inside the bulk.
    is_tight : bool
        Whether single eigenvalues are expected to stay near the circle. Where the mean is not zero and the sums of
        rows differ by chance, some leave it, and how far differs from draw to draw.
    """

    radius: float
    outliers: np.ndarray
    mean_eigenvalues: np.ndarray
    is_tight: bool


class _Groups(NamedTuple):
    """Groups of units, in the order of the units: index of the population, middle place within it, size."""

    population: np.ndarray
    place: np.ndarray
    size: np.ndarray


def predict_spectrum(circuit: Circuit) -> Spectrum:
    """Predict radius and outliers from the description alone.

    Without autapses the mean matrix lacks its diagonal, which moves eigenvalues of the bulk by up to the mean
    weight times the density; that is left out here. It fades as one over the root of the size, but for 400 fully
    connected balanced units the bulk reaches a fifth beyond the radius. With masks the time grows with the cube
    of the masked populations' sizes.

    Parameters
    ----------
    circuit : Circuit

    Returns
    -------
    Spectrum
        Of the weights that `build_weights` draws, gain and balance included.

    Raises
    ------
    OptionError
        If the circuit has a gain but no bulk (see `bulk_factor`).
    """
    groups = _group(circuit)
    sums, variances = _row_moments(circuit, groups)
    raw_radius = _radius(variances)
    factor = _factor(circuit, raw_radius)
    found = np.linalg.eigvals(_with_low_rank(circuit, groups, factor * sums)).astype(complex)
    found = found[np.argsort(-np.abs(found), kind="stable")]
    found = found[np.abs(found) > _ROUND_OFF * np.abs(found).max()]
    radius = factor * raw_radius
    return Spectrum(
        radius=radius,
        outliers=found[np.abs(found) > radius * (1.0 + _ROUND_OFF)],
        mean_eigenvalues=found,
        is_tight=bool(circuit.balance) or not np.any(sums) or not any(map(_has_chance_sums, circuit.projections)),
    )


def bulk_factor(circuit: Circuit) -> float:
    """Give the factor that brings the predicted radius of the bulk to the circuit's gain; 1 without a gain.

    Parameters
    ----------
    circuit : Circuit

    Returns
    -------
    float

    Raises
    ------
    OptionError
        If the weights do not vary, so that there is no bulk.
    """
    if circuit.gain is None:
        return 1.0
    return _factor(circuit, _radius(_row_moments(circuit, _group(circuit))[1]))


def _factor(circuit: Circuit, radius: float) -> float:
    """Give the factor from a radius to the circuit's gain; 1 without a gain."""
    if circuit.gain is None:
        return 1.0
    if radius == 0.0:
        raise OptionError(
            f"{circuit.gain!r} is not valid; expected no gain where the weights have no bulk that it could scale.",
            where="gain",
            hint="Leave gain out, or give the weights of a loop a deviation or a density below 1.",
        )
    return circuit.gain / radius


def _has_chance_sums(projection: Projection) -> bool:
    """Tell whether the sum of a row of a projection is left to chance."""
    if projection.is_given:
        return False
    return projection.weights.sd > 0.0 or (projection.in_degree is None and projection.density < 1.0)


def _group(circuit: Circuit) -> _Groups:
    """Divide the units into groups of equal statistics."""
    masked = {end for p in circuit.projections if p.mask or p.is_given for end in (p.source, p.target)}
    ringed = {end for p in circuit.projections if p.distance is not None for end in (p.source, p.target)}
    parts = []
    for i, population in enumerate(circuit.populations):
        n_groups = 1
        if population.name in masked:
            n_groups = population.size
        elif population.name in ringed:
            n_groups = min(population.size, _MAX_SECTORS)
        borders = np.arange(n_groups + 1) * population.size // n_groups
        middle = 0.5 * (borders[:-1] + borders[1:] - 1)
        parts.append((np.full(n_groups, i), middle, np.diff(borders)))
    return _Groups(*(np.concatenate(column) for column in zip(*parts, strict=True)))


def _row_moments(circuit: Circuit, groups: _Groups) -> tuple[np.ndarray, np.ndarray]:
    """Give mean and variance of the sum over every group of sources, shape (n_groups, n_groups), target first."""
    order = {population.name: i for i, population in enumerate(circuit.populations)}
    sums = np.zeros((groups.size.size, groups.size.size))
    variances = np.zeros_like(sums)
    for projection in circuit.projections:
        rows = np.flatnonzero(groups.population == order[projection.target])
        columns = np.flatnonzero(groups.population == order[projection.source])
        mean, variance = entry_moments(circuit, projection, groups.place[rows], groups.place[columns])
        n_sources = groups.size[columns] - (rows[:, None] == columns) * projection.skips_self
        sums[np.ix_(rows, columns)] += n_sources * mean
        variances[np.ix_(rows, columns)] += n_sources * variance
    if circuit.balance == "rows":
        factors = _balance_factors(sums)
        sums, variances = sums * factors, variances * factors**2
    return sums, variances


def _balance_factors(sums: np.ndarray) -> np.ndarray:
    """Give the expected factors of the weights when rows are balanced, shape (n_groups, n_groups)."""
    excitation = np.maximum(sums, 0.0).sum(axis=1, keepdims=True)
    inhibition = np.maximum(-sums, 0.0).sum(axis=1, keepdims=True)
    shared, smallest = np.sqrt(excitation * inhibition), np.finfo(float).tiny
    return np.where(sums > 0.0, shared / np.maximum(excitation, smallest), shared / np.maximum(inhibition, smallest))


def _radius(variances: np.ndarray) -> float:
    """Give the radius of the bulk from the groups' variances."""
    return math.sqrt(float(np.abs(np.linalg.eigvals(variances)).max()))


def _with_low_rank(circuit: Circuit, groups: _Groups, sums: np.ndarray) -> np.ndarray:
    """Give a small matrix with the non-zero eigenvalues of the mean and the low-rank terms together.

    For mean weights ``P Q`` (P says which group a unit is in, Q sums over groups) and terms ``M N^T`` it is
    ``[Q; N^T] [P, M]``. Loadings that are drawn are independent of the groups and of each other.
    """
    n_groups, terms = groups.size.size, circuit.low_rank_terms
    matrix = np.zeros((n_groups + len(terms),) * 2)
    matrix[:n_groups, :n_groups] = sums
    group_of = np.repeat(np.arange(n_groups), groups.size)
    for i, term in enumerate(terms):
        at = n_groups + i
        matrix[at, at] = term.overlap
        if term.m:
            matrix[:n_groups, at] = sums @ (np.bincount(group_of, term.m) / groups.size)
            matrix[at, :n_groups] = np.bincount(group_of, term.n) / circuit.size
            for j, other in enumerate(terms):
                if other.m:
                    matrix[at, n_groups + j] = np.dot(term.n, other.m) / circuit.size
    return matrix
