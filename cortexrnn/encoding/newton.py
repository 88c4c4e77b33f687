"""Newton's method with step halving for a concave log-likelihood with a Gaussian prior."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

import numpy as np
import scipy.linalg

from cortexrnn.errors import NumericalError

# As closely as the choice of a ridge needs an optimum.
CHOICE_NATS = 1e-2
_INTERCEPT_PRECISION = 1e-6
_LONGEST_STEP = 5.0
_MOST_PASSES = 100
_MOST_THINNING = 16
_SPIKES_A_WEIGHT = 10
_ROUGH_NATS = 1.0
_WEAK_PRIOR = 0.03


class Optimum(NamedTuple):
    """Where Newton's method ended.

    Attributes
    ----------
    weights : ndarray, shape (n_weights,)
    covariance : ndarray, shape (n_weights, n_weights)
        Inverse of the negative Hessian of the penalised log-likelihood.
    log_likelihood : float
        Without the penalty.
    decrement : float
        Expected rise of the objective in nats by one more step.
    is_converged : bool
    """

    weights: np.ndarray
    covariance: np.ndarray
    log_likelihood: float
    decrement: float
    is_converged: bool


def ridge_precision(n_weights: int, ridge: float) -> np.ndarray:
    """Give the prior precision of every weight; that of the first, an intercept, only keeps it finite."""
    return np.r_[_INTERCEPT_PRECISION, np.full(n_weights - 1, ridge)]


def ridge_path(
    optimum: np.ndarray, curvature: np.ndarray, ridges: Sequence[float]
) -> Iterator[tuple[float, np.ndarray]]:
    """Give every ridge with weights one Newton step from those of the weakest.

    Parameters
    ----------
    optimum : ndarray, shape (n_weights,)
        Weights under the weakest ridge.
    curvature : ndarray, shape (n_weights, n_weights)
        Negative Hessian of the log-likelihood there, without the ridge.
    ridges : sequence of float

    Yields
    ------
    tuple of float and ndarray
    """
    weakest = min(ridges)
    for ridge in ridges:
        pull = np.r_[0.0, np.full(optimum.size - 1, ridge - weakest)] * optimum
        yield ridge, optimum - np.linalg.solve(curvature + np.diag(ridge_precision(optimum.size, ridge)), pull)


def thinning(n_spikes: int, n_weights: int) -> int:
    """Give n so that a so-manieth part of the data still determines the weights roughly; 1 for all data."""
    return max(1, min(_MOST_THINNING, n_spikes // (_SPIKES_A_WEIGHT * n_weights)))


def approach(
    run_part: Callable[[np.ndarray], tuple[float, np.ndarray, np.ndarray]],
    start: np.ndarray,
    precision: np.ndarray,
) -> np.ndarray:
    """Give weights from which `maximise` needs few passes, by climbing on a part of the data.

    Parameters are those of `maximise`; the precision is that of the part.
    """
    # A weight that the part alone would send to infinity must not go far: the way back is long.
    weak = _WEAK_PRIOR * np.diag(run_part(start)[2])
    return maximise(run_part, start, precision + weak, tolerance_nats=_ROUGH_NATS).weights


def follow(
    run_slope: Callable[[np.ndarray], tuple[float, np.ndarray]],
    start: np.ndarray,
    precision: np.ndarray,
    curvature: np.ndarray,
    *,
    tolerance_nats: float,
) -> np.ndarray:
    """Climb as `maximise` does, with a curvature from elsewhere, for as long as that serves.

    It serves while every step leaves less than a tenth of the gain that was expected before it.

    Parameters
    ----------
    run_slope : callable
        Gives log-likelihood and gradient at the weights, which is cheaper than the Hessian.
    start, precision : ndarray, shape (n_weights,)
        As for `maximise`.
    curvature : ndarray, shape (n_weights, n_weights)
        Negative Hessian of a log-likelihood like this one, somewhere near.
    tolerance_nats : float
        As for `maximise`.

    Returns
    -------
    ndarray, shape (n_weights,)
        From where `maximise` goes on.
    """
    weights, previous, step = start, np.inf, np.zeros_like(start)
    factor = _factor(curvature + np.diag(precision))
    while True:
        slope = run_slope(weights)[1] - precision * weights
        next_step = scipy.linalg.cho_solve(factor, slope)
        decrement = 0.5 * float(slope @ next_step)
        if not decrement < 0.1 * previous:
            return weights if decrement < previous else weights - step
        step = next_step * min(1.0, _LONGEST_STEP / max(float(np.abs(next_step).max()), 1e-300))
        weights, previous = weights + step, decrement
        if decrement < tolerance_nats:
            return weights


def maximise(
    run_pass: Callable[[np.ndarray], tuple[float, np.ndarray, np.ndarray]],
    start: np.ndarray,
    precision: np.ndarray,
    *,
    tolerance_nats: float,
) -> Optimum:
    """Climb a concave log-likelihood minus ``1/2 sum(precision * weights**2)``.

    Parameters
    ----------
    run_pass : callable
        Gives log-likelihood, gradient and negative Hessian at the weights.
    start : ndarray, shape (n_weights,)
        Weights to start from.
    precision : ndarray, shape (n_weights,)
        Diagonal of the prior precision, zero for free weights.
    tolerance_nats : float
        Stop when one more step would raise the objective by less than this.

    Raises
    ------
    NumericalError
        If the objective or the Hessian is not finite at the start.
    """
    weights = start.copy()
    best = -np.inf
    step = np.zeros_like(weights)
    log_likelihood, decrement, factor = np.nan, np.inf, None
    for _ in range(_MOST_PASSES):
        value, gradient, hessian = run_pass(weights)
        objective = value - 0.5 * float(precision @ weights**2)
        if not np.isfinite(objective) and not np.isfinite(best):
            raise NumericalError(f"the log-likelihood is {value} at the start of the fit.")
        if not objective >= best - 1e-9 * abs(best):
            step *= 0.5
            weights = weights - step
            if float(np.abs(step).max()) < 1e-14:
                break
            continue
        best, log_likelihood = objective, value
        factor = _factor(hessian + np.diag(precision))
        slope = gradient - precision * weights
        step = scipy.linalg.cho_solve(factor, slope)
        decrement = 0.5 * float(slope @ step)
        if decrement < tolerance_nats:
            # The last step costs no pass, and makes the weights independent of the way that led here.
            weights = weights + step
            break
        step *= min(1.0, _LONGEST_STEP / float(np.abs(step).max()))
        weights = weights + step
    covariance = scipy.linalg.cho_solve(factor, np.eye(weights.size))
    return Optimum(weights, covariance, log_likelihood, decrement, decrement < tolerance_nats)


def _factor(matrix: np.ndarray) -> tuple[np.ndarray, bool]:
    """Factorise a positive matrix, with the smallest ridge that makes it so where it is singular."""
    ridge = 0.0
    scale = max(float(np.trace(matrix)) / matrix.shape[0], 1e-12)
    while True:
        try:
            return scipy.linalg.cho_factor(matrix + ridge * np.eye(matrix.shape[0]), lower=True)
        except (scipy.linalg.LinAlgError, ValueError) as error:
            ridge = max(10.0 * ridge, 1e-12 * scale)
            if ridge > scale or not np.isfinite(scale):
                raise NumericalError("the Hessian of the fit is not finite or not positive.") from error
