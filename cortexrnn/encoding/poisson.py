"""Poisson regression on a design of the user's own, by the same kernel as the history GLM."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from dataclasses import dataclass

import numba
import numpy as np
from scipy.special import gammaln, xlogy

from cortexrnn.encoding.block_kernels import BLOCK, design_pass
from cortexrnn.encoding.likelihood import POISSON
from cortexrnn.encoding.newton import approach, maximise, thinning
from cortexrnn.errors import DataError, NumericalWarning, OptionError

# A millionth of a spike's worth of information on a column of unit size is none.
_LARGEST_ERROR = 1e3


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class PoissonFit:
    """A fitted Poisson regression.

    Attributes
    ----------
    coefficients : ndarray, shape (n_columns,)
        Log-rate weights of the design's columns.
    standard_errors : ndarray, shape (n_columns,)
        From the inverse Hessian.
    log_likelihood : float
        Natural logarithm, with log(y!).
    deviance : float
        Twice the distance to the saturated model.
    aic : float
        Akaike's criterion; meaningless with a penalty, then NaN.
    is_converged : bool
    """

    coefficients: np.ndarray
    standard_errors: np.ndarray
    log_likelihood: float
    deviance: float
    aic: float
    is_converged: bool


def fit_poisson(
    design: np.ndarray, counts: np.ndarray, *, offset: np.ndarray | None = None, ridge: float = 0.0
) -> PoissonFit:
    """Fit ``counts ~ Poisson(exp(design @ coefficients + offset))`` by Newton's method.

    No intercept is added: give the design a column of ones.

    Parameters
    ----------
    design : ndarray, shape (n_bins, n_columns)
        Covariates.
    counts : ndarray of int, shape (n_bins,)
        Spikes per bin.
    offset : ndarray, shape (n_bins,), optional
        Known part of the log expected count.
    ridge : float
        Precision of a Gaussian prior on every coefficient; 0 for maximum likelihood.

    Returns
    -------
    PoissonFit

    Raises
    ------
    OptionError
        If `ridge` is negative or not finite.
    DataError
        If shapes do not fit, a value is not finite, or a count is negative or not whole.
    NumericalError
        If the log-likelihood cannot be evaluated.

    Warns
    -----
    NumericalWarning
        If Newton's method stopped short, or if the data do not determine a coefficient (separable
        data: it runs to infinity; collinear or zero columns: any value does).

    Examples
    --------
    >>> import numpy as np
    >>> fit = fit_poisson(np.ones((4, 1)), np.array([0, 1, 2, 1]))
    >>> round(float(np.exp(fit.coefficients[0])), 6)
    1.0
    """
    x, y, shift = _check_regression(design, counts, offset)
    if not 0.0 <= ridge < np.inf:
        raise OptionError(f"ridge={ridge!r} is not a precision; expected 0 or a positive finite number.")
    scale = _column_scale(x)
    # The least-squares image of the mean rate: exact where the design holds a constant, and never far off.
    stride = max(1, y.size // 10_000)
    level = np.log((y.sum() + 0.5) / y.size) - shift[::stride]
    start = np.linalg.lstsq(x[::stride] / scale, level, rcond=None)[0]
    precision = ridge / scale / scale
    every = thinning(int(y.sum()), scale.size)
    if every > 1:
        start = approach(_pass_over(x, scale, y, shift, every), start, precision / every)
    optimum = maximise(_pass_over(x, scale, y, shift, 1), start, precision, tolerance_nats=1e-10)
    if not optimum.is_converged:
        warnings.warn(
            f"fit_poisson stopped with an expected gain of {optimum.decrement:.2g} nats left (wanted 1e-10): "
            "the data may be separable; a small ridge makes the fit finite.",
            NumericalWarning,
            stacklevel=2,
        )
    errors = np.sqrt(np.diag(optimum.covariance))
    loose = np.flatnonzero(errors > _LARGEST_ERROR)
    if loose.size:
        warnings.warn(
            f"the data do not determine the coefficients of columns {loose.tolist()} (standard error up to "
            f"{errors.max():.2g} on columns of unit size): separable data, or columns that are zero or collinear.",
            NumericalWarning,
            stacklevel=2,
        )
    # log(y!) is zero for no spike and for one.
    several = y[y > 1.0]
    log_factorials = float(gammaln(several + 1.0).sum())
    log_likelihood = optimum.log_likelihood - log_factorials
    saturated = float((xlogy(several, several) - several).sum()) - float((y == 1.0).sum()) - log_factorials
    return PoissonFit(
        coefficients=optimum.weights / scale,
        standard_errors=errors / scale,
        log_likelihood=log_likelihood,
        deviance=2.0 * (saturated - log_likelihood),
        aic=2.0 * x.shape[1] - 2.0 * log_likelihood if ridge == 0.0 else float("nan"),
        is_converged=optimum.is_converged,
    )


def _pass_over(x: np.ndarray, scale: np.ndarray, y: np.ndarray, shift: np.ndarray, every: int) -> Callable:
    """Give the pass over every so-manieth block of bins, or over all of them at once."""
    if every == 1:
        return lambda weights: design_pass(weights, x, 1.0 / scale, y, shift, POISSON)
    blocks = [slice(first, first + BLOCK) for first in range(0, y.size, every * BLOCK)]

    def run_part(weights):
        parts = [design_pass(weights, x[block], 1.0 / scale, y[block], shift[block], POISSON) for block in blocks]
        return tuple(sum(terms) for terms in zip(*parts, strict=True))

    return run_part


def _column_scale(x: np.ndarray) -> np.ndarray:
    """Give every column's size, 1 for a column of zeros; Newton's arithmetic on x / size is the same in any unit."""
    sizes = _column_sizes(x)
    if not np.isfinite(sizes).all():
        raise DataError(f"design holds {int((~np.isfinite(x)).sum())} values that are not finite.")
    # The inverse must be a number as well.
    return np.clip(np.where(sizes > 0.0, sizes, 1.0), 1e-300, 1e300)


@numba.njit(cache=True, nogil=True, error_model="numpy")
def _column_sizes(design):
    """Give the root mean square of every column, 0 for a column of zeros, NaN where a value is not finite.

    The largest value is taken out first, so that no square overflows.
    """
    n_bins, n_columns = design.shape
    largest, total = np.zeros(n_columns), np.zeros(n_columns)
    for i in range(n_bins):
        for p in range(n_columns):
            largest[p] = max(largest[p], abs(design[i, p]))
    # The inverse of a subnormal number does not exist.
    unit = np.maximum(largest, 1e-300)
    inverse = 1.0 / unit
    for i in range(n_bins):
        for p in range(n_columns):
            share = design[i, p] * inverse[p]
            total[p] += share * share
    return unit * np.sqrt(total / n_bins)


def _check_regression(
    design: np.ndarray, counts: np.ndarray, offset: np.ndarray | None
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return design, counts and offset as float64 arrays that fit together."""
    x = np.ascontiguousarray(design, dtype=float)
    y = np.ascontiguousarray(counts, dtype=float)
    if x.ndim != 2 or y.ndim != 1 or x.shape[0] != y.size or x.size == 0:
        raise DataError(f"design has shape {x.shape} and counts {y.shape}; expected (n_bins, n_columns) and (n_bins,).")
    _check_finite("counts", y)
    if (y < 0).any() or (y != np.rint(y)).any():
        raise DataError(f"counts must be whole and not negative; the smallest is {y.min()}.")
    shift = np.zeros(y.size) if offset is None else np.ascontiguousarray(offset, dtype=float)
    if shift.shape != y.shape:
        raise DataError(f"offset has shape {shift.shape}; expected {y.shape}.")
    _check_finite("offset", shift)
    return x, y, shift


def _check_finite(name: str, array: np.ndarray) -> None:
    """Refuse values that are not finite."""
    if not np.isfinite(array).all():
        raise DataError(f"{name} holds {int((~np.isfinite(array)).sum())} values that are not finite.")
