"""Poisson regression on a design of the user's own, by the same kernel as the history GLM."""

from __future__ import annotations

import warnings
from dataclasses import dataclass

import numpy as np
from scipy.special import gammaln, xlogy

from cortexrnn.encoding.kernels import design_pass
from cortexrnn.encoding.likelihood import POISSON
from cortexrnn.encoding.newton import maximise
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
    # Columns of unit root mean square: Newton's arithmetic is then the same in any unit of the covariates.
    # The largest value is taken out first, so that no square overflows.
    largest = np.abs(x).max(axis=0)
    largest[largest == 0.0] = 1.0
    scale = largest * np.sqrt(np.mean((x / largest) ** 2, axis=0))
    scale[scale == 0.0] = 1.0
    # The least-squares image of the mean rate: exact where the design holds a constant, and never far off.
    stride = max(1, y.size // 10_000)
    level = np.log((y.sum() + 0.5) / y.size) - shift[::stride]
    start = np.linalg.lstsq(x[::stride] / scale, level, rcond=None)[0]
    optimum = maximise(
        lambda weights: design_pass(weights, x, scale, y, shift, POISSON),
        start,
        ridge / scale / scale,
        tolerance_nats=1e-10,
    )
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
    log_likelihood = optimum.log_likelihood - float(gammaln(y + 1.0).sum())
    saturated = float((xlogy(y, y) - y - gammaln(y + 1.0)).sum())
    return PoissonFit(
        coefficients=optimum.weights / scale,
        standard_errors=errors / scale,
        log_likelihood=log_likelihood,
        deviance=2.0 * (saturated - log_likelihood),
        aic=2.0 * x.shape[1] - 2.0 * log_likelihood if ridge == 0.0 else float("nan"),
        is_converged=optimum.is_converged,
    )


def _check_regression(
    design: np.ndarray, counts: np.ndarray, offset: np.ndarray | None
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return design, counts and offset as float64 arrays that fit together."""
    x = np.ascontiguousarray(design, dtype=float)
    y = np.ascontiguousarray(counts, dtype=float)
    if x.ndim != 2 or y.ndim != 1 or x.shape[0] != y.size or x.size == 0:
        raise DataError(f"design has shape {x.shape} and counts {y.shape}; expected (n_bins, n_columns) and (n_bins,).")
    shift = np.zeros(y.size) if offset is None else np.ascontiguousarray(offset, dtype=float)
    if shift.shape != y.shape:
        raise DataError(f"offset has shape {shift.shape}; expected {y.shape}.")
    for name, array in (("design", x), ("counts", y), ("offset", shift)):
        if not np.isfinite(array).all():
            raise DataError(f"{name} holds {int((~np.isfinite(array)).sum())} values that are not finite.")
    if (y < 0).any() or (y != np.rint(y)).any():
        raise DataError(f"counts must be whole and not negative; the smallest is {y.min()}.")
    return x, y, shift
