"""Small differences along a trajectory: vectors carried through the steps of a system and made orthonormal again."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from scipy.linalg.blas import dsyrk, dtrsm
from scipy.linalg.lapack import dpotrf

from cortexrnn.theory.lyapunov_kernels import PlainStep, carry_plain
from cortexrnn.theory.rate_system import RateSystem
from cortexrnn.theory.system import System

# How oblique vectors may be: the largest ratio of the length of one to its distance from those before it. Rounding
# moves a distance by the precision times that ratio. One pass of Cholesky QR leaves lengths and angles that are off by
# the precision times its square, 2e-10 at the first limit. Beyond the second two passes do not restore them.
OBLIQUE = 1e3
_TOO_OBLIQUE = 1e6


class Orthonormal(NamedTuple):
    """Vectors made orthonormal.

    Attributes
    ----------
    vectors : ndarray, shape (size, n), Fortran order
    growth : ndarray, shape (n,)
        Logarithm of the distance of each vector from those before it; -inf where it is round-off.
    obliqueness : float
        Largest ratio of a vector's length to that distance; infinite where one is round-off.
    """

    vectors: np.ndarray
    growth: np.ndarray
    obliqueness: float


def random_vectors(system: System, n: int, rng: np.random.Generator) -> np.ndarray:
    """Draw `n` orthonormal vectors, (size, n) in Fortran order."""
    return np.asfortranarray(np.linalg.qr(rng.standard_normal((system.size, n)))[0])


def make_carrier(system: System, n: int) -> Callable[[np.ndarray, np.ndarray, int], tuple[np.ndarray, np.ndarray]]:
    """Give the quickest way to carry vectors along a trajectory.

    Parameters
    ----------
    system : System
    n : int
        Number of vectors.

    Returns
    -------
    callable
        ``(state, vectors, n_steps) -> (state, vectors)`` with shapes (1, size) and (size, n), in Fortran order; the
        vectors that it is given are used up.
    """
    if isinstance(system, RateSystem) and system.is_plain:
        return _PlainCarrier(system, n)

    def carry(state: np.ndarray, vectors: np.ndarray, n_steps: int) -> tuple[np.ndarray, np.ndarray]:
        """Push by the system's own method."""
        for _ in range(n_steps):
            vectors = system.push(state, vectors[None])[0]
            state = system.step(state)
        return state, np.asfortranarray(vectors)

    return carry


def orthonormalise(vectors: np.ndarray) -> Orthonormal:
    """Make vectors orthonormal, one after the other as Gram and Schmidt, and give by how much they had grown.

    Cholesky QR: the factor of ``V'V`` is R. It costs a third of Householder's way, runs at the speed of a matrix
    product, and squares the condition; oblique vectors get a second pass, and very oblique ones Householder's.

    Parameters
    ----------
    vectors : ndarray, shape (size, n), Fortran order
        Used up.

    Returns
    -------
    Orthonormal
        With NaN where a vector is not finite.
    """
    gram = dsyrk(1.0, vectors, trans=1, lower=0)
    lengths = np.sqrt(np.diag(gram))
    if not np.isfinite(lengths).all():
        return Orthonormal(vectors, np.full(lengths.size, np.nan), np.nan)
    factor, info = dpotrf(gram, lower=0, overwrite_a=1, clean=0)
    obliqueness = float(np.max(lengths / np.diag(factor))) if info == 0 else np.inf
    if obliqueness > _TOO_OBLIQUE:
        return householder(vectors)
    vectors = dtrsm(1.0, factor, vectors, side=1, lower=0, overwrite_b=1)
    growth = np.log(np.diag(factor))
    if obliqueness > OBLIQUE:
        factor, _ = dpotrf(dsyrk(1.0, vectors, trans=1, lower=0), lower=0, overwrite_a=1, clean=0)
        vectors = dtrsm(1.0, factor, vectors, side=1, lower=0, overwrite_b=1)
        growth += np.log(np.diag(factor))
    return Orthonormal(vectors, growth, obliqueness)


def householder(vectors: np.ndarray) -> Orthonormal:
    """Make vectors orthonormal by Householder's reflections, as `orthonormalise` does quicker.

    Parameters
    ----------
    vectors : ndarray, shape (size, n)
        All finite; left as they are.

    Returns
    -------
    Orthonormal
    """
    lengths = np.linalg.norm(vectors, axis=0)
    turned, factor = np.linalg.qr(vectors)
    distance = np.diag(factor)
    turned *= np.where(distance < 0.0, -1.0, 1.0)
    distance = np.abs(distance)
    # Below this a distance is what rounding left of a vector that lies among those before it.
    lost = distance <= 8.0 * np.sqrt(lengths.size) * np.finfo(float).eps * lengths
    growth = np.log(np.where(lost, 1.0, distance))
    obliqueness = np.inf if lost.any() else float(np.max(lengths / distance))
    return Orthonormal(np.asfortranarray(turned), np.where(lost, -np.inf, growth), obliqueness)


class _PlainCarrier:
    """Carry through a rate circuit without plasticity by its kernel, in buffers of its own."""

    def __init__(self, system: RateSystem, n: int):
        units, weights = system.units, np.ascontiguousarray(system.weights.recurrent)
        self._parts = PlainStep(
            form=int(units.form),
            first=np.asarray(units.first, np.int64),
            codes=np.asarray(units.codes, np.int64),
            shapes=np.ascontiguousarray(units.shapes, float),
            weights=weights,
            weights_t=np.ascontiguousarray(weights.T),
            bias=np.ascontiguousarray(system.bias, float),
            move=np.ascontiguousarray(np.broadcast_to(system.move, (system.size,)), float),
        )
        self._work = np.empty((n, system.size)), np.empty((n, system.size))

    def __call__(self, state: np.ndarray, vectors: np.ndarray, n_steps: int) -> tuple[np.ndarray, np.ndarray]:
        """Carry vectors, which are overwritten."""
        y = state[0].copy()
        # The transpose of Fortran order is C order.
        carry_plain(n_steps, self._parts, y, vectors.T, self._work)
        return y[None], vectors
