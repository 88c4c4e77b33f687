"""A cap on recurrent weights: no gate's matrix may stretch a state by more than a factor."""

from __future__ import annotations

import numpy as np
from threadpoolctl import threadpool_limits


def cap_factors(matrix: np.ndarray, cap: float) -> np.ndarray:
    """Give the factors that scale recurrent weights down until the largest singular value of every gate is the cap.

    The largest singular value bounds the spectral radius from above. One factor a gate keeps every sign.

    Parameters
    ----------
    matrix : ndarray of float, shape (n_gates * n_units, n_units)
    cap : float
        Above 0.

    Returns
    -------
    ndarray of float64, shape (n_gates, 1, 1)
        At most 1, and 1 for a gate with a weight that is not finite.
    """
    gates = matrix.reshape(-1, matrix.shape[1], matrix.shape[1]).astype(float)
    factors = np.ones((len(gates), 1, 1))
    # On one thread: the bits must not depend on how many there are.
    with threadpool_limits(1, user_api="blas"):
        for factor, gate in zip(factors, gates, strict=True):
            if np.isfinite(gate).all():
                factor[:] = min(1.0, cap / max(float(np.linalg.norm(gate, 2)), np.finfo(float).tiny))
    return factors
