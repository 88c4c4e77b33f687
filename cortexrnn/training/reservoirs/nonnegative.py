"""Quadratic minimisation with a sign for every variable, exactly, in a few Cholesky factorisations.

Block principal pivoting: all variables that break a condition change sides at once, and one at a time where that
stops helping (Portugal, Judice and Vicente 1994, doi:10.1090/S0025-5718-1994-1250776-4; Kim and Park 2011,
doi:10.1137/110821172). Active-set methods that move one variable at a time need as many factorisations as there are
variables, and coordinate descent needs more sweeps the more the features resemble each other, as states of a
reservoir do.
"""

from __future__ import annotations

import numpy as np
from scipy.linalg import LinAlgError, cho_factor, cho_solve

from cortexrnn.errors import NumericalError

# Exchanges of whole blocks that may fail to lower the number of broken conditions before single ones take over.
_PATIENCE = 3


def solve_signed(
    gram: np.ndarray, moment: np.ndarray, signs: np.ndarray, *, start: np.ndarray | None = None
) -> tuple[np.ndarray, np.ndarray, int]:
    """Minimise ``w^T gram w / 2 - moment^T w`` over the weights of the right sign.

    Parameters
    ----------
    gram : ndarray, shape (n, n)
        Symmetric, positive definite.
    moment : ndarray, shape (n,)
    signs : ndarray of int, shape (n,)
        +1, -1, or 0 for variables without constraint.
    start : ndarray of bool, shape (n,), optional
        Variables that are supposed not to be zero; all by default.

    Returns
    -------
    weights : ndarray, shape (n,)
        No weight has the wrong sign; those on the boundary are exactly zero.
    used : ndarray of bool, shape (n,)
        Variables that are not held at zero.
    n_solved : int
        Factorisations that it took.

    Raises
    ------
    NumericalError
        If the matrix is not positive definite to working precision, or no solution was found.
    """
    flips = np.where(signs < 0, -1.0, 1.0)
    is_signed = signs != 0
    used = np.ones(moment.size, dtype=bool) if start is None else start | ~is_signed
    fewest, patience = moment.size + 1, _PATIENCE
    for n_solved in range(1, 100 + 5 * moment.size):
        weights = _solve_used(gram, moment, used)
        slope = flips * (gram @ weights - moment)
        tolerance = _round_off(gram, moment, weights)
        broken = np.where(used, is_signed & (flips * weights < 0.0), slope < -tolerance)
        n_broken = int(broken.sum())
        if n_broken == 0:
            return weights, used, n_solved
        if n_broken < fewest:
            fewest, patience = n_broken, _PATIENCE
        elif patience > 0:
            patience -= 1
        else:
            # One at a time, always the last: this cannot cycle (Murty 1974).
            broken[: np.flatnonzero(broken)[-1]] = False
        used = used ^ broken
    raise NumericalError(
        f"{n_broken} of {moment.size} sign conditions are still broken after {n_solved} factorisations.",
        hint="Raise the penalty: the features are too much alike.",
    )


def broken_conditions(slope: np.ndarray, moment: np.ndarray, signs: np.ndarray, weights: np.ndarray) -> float:
    """Give the largest violation of the conditions of Karush, Kuhn and Tucker.

    Parameters
    ----------
    slope : ndarray, shape (n,)
        ``gram weights - moment``.
    moment, signs
        As in `solve_signed`.
    weights : ndarray, shape (n,)

    Returns
    -------
    float
        Largest wrong sign, slope of a weight that is not held at zero, or downhill slope of one that is, all
        relative: signs to the largest weight, slopes to the largest moment.
    """
    flips = np.where(signs < 0, -1.0, 1.0)
    is_held = (signs != 0) & (weights == 0.0)
    slopes = np.where(is_held, np.maximum(-flips * slope, 0.0), np.abs(slope))
    wrong = np.where(signs != 0, np.maximum(-flips * weights, 0.0), 0.0)
    smallest = np.finfo(float).tiny
    return float(
        max(slopes.max() / max(np.abs(moment).max(), smallest), wrong.max() / max(np.abs(weights).max(), smallest))
    )


def _solve_used(gram: np.ndarray, moment: np.ndarray, used: np.ndarray) -> np.ndarray:
    """Give the minimum over the used variables, all others zero."""
    weights = np.zeros(moment.size)
    places = np.flatnonzero(used)
    if places.size == 0:
        return weights
    try:
        factor = cho_factor(gram[np.ix_(places, places)], lower=True, overwrite_a=True, check_finite=False)
    except LinAlgError:
        raise NumericalError(
            f"the Gram matrix of {places.size} features is not positive definite.",
            hint="Raise the penalty: the features are linearly dependent.",
        ) from None
    weights[places] = cho_solve(factor, moment[places], check_finite=False)
    return weights


def _round_off(gram: np.ndarray, moment: np.ndarray, weights: np.ndarray) -> float:
    """Give the size of a slope that means nothing."""
    largest = np.abs(gram).max() * np.abs(weights).sum() + np.abs(moment).max()
    return 4.0 * np.finfo(float).eps * largest
