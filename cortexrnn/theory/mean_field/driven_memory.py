"""What a driven random tanh network remembers: the network as a linear one, whose noise is its own nonlinearity.

Under a Gaussian current of variance q a unit is the line that fits it best and a rest that is not correlated with it,
``tanh(h) = E[tanh'(h)] h + rest``, of variance ``E[tanh(h)^2] - q E[tanh'(h)]^2``. Rests of a large random network are
as good as independent over units and time, so that it remembers what a linear network with noise does (White, Lee and
Sompolinsky 2004, doi:10.1103/PhysRevLett.92.148102). The variance of every unit's current follows from the covariance
of the rates, and that from these variances.
"""

from __future__ import annotations

import math
import warnings

import numpy as np
import scipy.linalg
import xarray as xr
from threadpoolctl import threadpool_limits

from cortexrnn._checks import check_count, check_positive
from cortexrnn.errors import DataError, NumericalWarning

# Rounds until no variance changes by more than this, relative to the largest one.
_SETTLED, _MOST_ROUNDS = 1e-9, 20_000
_REACH, _WIDEST_STEP = 9.0, 0.1


def driven_memory(
    weights: np.ndarray, input_weights: np.ndarray, max_delay: int, *, readout_noise_sd: float = 0.0
) -> xr.Dataset:
    """Predict how well past inputs can be read out linearly from a driven tanh network.

    The network is ``h <- W tanh(h) + w s``, s white of variance 1.

    Parameters
    ----------
    weights : ndarray, shape (n_units, n_units)
        ``[post, pre]``, as if drawn at random.
    input_weights : ndarray, shape (n_units,)
    max_delay : int
        Longest delay.
    readout_noise_sd : float
        Deviation of independent noise that a read-out sees on every rate.

    Returns
    -------
    xarray.Dataset
        Over delay: ``memory``, the squared correlation between the input k steps before the last one and its best
        linear read-out from tanh(h). Over unit: ``current_variance``, ``mean_slope`` and ``noise_variance``.

    Raises
    ------
    DataError
        If the shapes do not fit or a number is not finite.
    OptionError
        If the delay or the noise is not valid.

    Warns
    -----
    NumericalWarning
        If the variances have not settled.

    Notes
    -----
    The theory of Haruna and Nakajima (2019), doi:10.1103/PhysRevE.100.062312, for one given matrix: correlations that
    the matrix makes between units are kept. Rests are the less independent the more of every unit's current is the
    input that it shares with all others: a read-out without noise then finds more than is predicted.
    """
    weights, column = np.asarray(weights, float), np.asarray(input_weights, float)
    n = column.size
    if weights.shape != (n, n) or column.ndim != 1 or not (np.isfinite(weights).all() and np.isfinite(column).all()):
        raise DataError(
            f"weights {weights.shape} and input_weights {column.shape} do not fit; expected finite (n, n) and (n,)."
        )
    max_delay = check_count("max_delay", max_delay, at_least=0)
    if readout_noise_sd != 0.0:
        check_positive("readout_noise_sd", readout_noise_sd)
    with threadpool_limits(1):
        covariance, variance, slope, noise = _settle(weights, column)
        step, column = slope[:, None] * weights, slope * column
        columns = np.empty((n, max_delay + 1))
        for k in range(max_delay + 1):
            columns[:, k] = column
            column = step @ column
        covariance[np.diag_indices(n)] += readout_noise_sd**2
        # Least squares: where the network is all but linear the covariance is singular to rounding.
        memory = np.sum(columns * scipy.linalg.lstsq(covariance, columns)[0], axis=0)
    return xr.Dataset(
        {
            "memory": ("delay", memory),
            "current_variance": ("unit", variance),
            "mean_slope": ("unit", slope),
            "noise_variance": ("unit", noise),
        },
        coords={"delay": np.arange(max_delay + 1), "unit": np.arange(n)},
    )


def _settle(weights: np.ndarray, column: np.ndarray) -> tuple[np.ndarray, ...]:
    """Give the covariance of rates and, of every unit, variance of the current, mean slope and variance of the rest."""
    n = column.size
    covariance = np.zeros((n, n))
    before = np.zeros(n)
    for _ in range(_MOST_ROUNDS):
        currents = weights @ covariance @ weights.T + np.outer(column, column)
        variance = np.diag(currents).copy()
        slope, noise = _line(variance)
        covariance = slope[:, None] * currents * slope
        covariance[np.diag_indices(n)] += noise
        moved = float(np.abs(variance - before).max())
        if moved <= _SETTLED * float(variance.max()):
            return covariance, variance, slope, noise
        before = variance
    warnings.warn(
        f"the variances of the network still change by {moved / variance.max():.1e} a round.",
        NumericalWarning,
        stacklevel=3,
    )
    return covariance, variance, slope, noise


def _line(variance: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Give the mean slope of tanh and the variance of what is not linear in it, for Gaussians of these variances."""
    root = np.sqrt(variance)
    # As fine as the poles of tanh are near.
    step = min(_WIDEST_STEP, 0.17 / max(float(root.max()), 1e-300))
    z = np.arange(-math.ceil(_REACH / step), math.ceil(_REACH / step) + 1) * step
    density = np.exp(-0.5 * z**2)
    density /= density.sum()
    rate = np.tanh(root[:, None] * z)
    slope = (1.0 - rate**2) @ density
    return slope, np.maximum(rate**2 @ density - variance * slope**2, 0.0)
