"""Averages of tanh over Gaussian variables, alone and in pairs.

For z standard normal and x of variance v, ``tanh(sqrt(v) z) = sum c_n he_n(z)`` in the normalised Hermite
polynomials. Two such variables x, y of covariance ``rho v`` then have (Mehler) ::

    E[tanh(x) tanh(y)]              = sum c_n^2 rho^n
    E[tanh'(x) tanh'(y)]            = sum n c_n^2 rho^(n-1) / v
    E[Phi(x) Phi(y)] - E[Phi]^2     = v sum c_n^2 rho^(n+1) / (n+1),      Phi = log cosh

so that one series in the correlation gives the covariance of rates, its slope and its integral.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from cortexrnn.cells.activation import Activation
from cortexrnn.errors import NumericalError

# The normal density falls to 1e-31 there, and its root to 4e-16.
_REACH = 12.0
# Of the step to the distance of the poles of tanh(sqrt(v) z), pi / (2 sqrt(v)): errors of exp(-2 pi / 0.11).
_STEP = 0.11
_WIDEST_STEP = 0.1
# Orders between two looks at what the series still lacks.
_BLOCK = 128
_MISSING = 1e-13
_MOST_ORDERS = 400_000


class PairSeries(NamedTuple):
    """Squared Hermite coefficients of tanh of a Gaussian.

    Attributes
    ----------
    variance : float
        Of the Gaussian.
    orders : ndarray, shape (n_terms,)
        1, 3, 5 and so on.
    squares : ndarray, shape (n_terms,)
        ``c_n^2``.
    """

    variance: float
    orders: np.ndarray
    squares: np.ndarray

    def rates(self, rho: np.ndarray) -> np.ndarray:
        """Give the covariance of two rates at correlations from 0 to 1 of the currents."""
        return self._sums(rho, self.squares, 0)

    def slopes(self, rho: np.ndarray) -> np.ndarray:
        """Give its derivative with respect to the covariance of the currents: E[tanh' tanh']."""
        return self._sums(rho, self.squares * self.orders, -1) / self.variance

    def integral(self, rho: np.ndarray) -> np.ndarray:
        """Give its integral over the covariance of the currents from zero: Cov(Phi, Phi)."""
        return self.variance * self._sums(rho, self.squares / (self.orders + 1.0), 1)

    def remainder(self, log_rho: np.ndarray) -> np.ndarray:
        """Give the integral from a correlation to 1, given its logarithm: no digit is lost where it is near 1."""
        powers = np.atleast_1d(log_rho)[:, None] * (self.orders + 1.0)
        return -self.variance * np.expm1(powers) @ (self.squares / (self.orders + 1.0))

    def _sums(self, rho: np.ndarray, coefficients: np.ndarray, shift: int) -> np.ndarray:
        """Sum ``coefficients rho^(n + shift)``."""
        return np.atleast_1d(rho)[:, None] ** (self.orders + shift) @ coefficients


def gaussian_mean(function: Callable[[np.ndarray], np.ndarray], variance: float) -> float:
    """Average a function over a centred Gaussian by the trapezoidal rule.

    The rule converges exponentially for functions that are analytic as far from the real line as tanh is.

    Parameters
    ----------
    function : callable
        Takes an array of values of the Gaussian.
    variance : float
        At least 0.

    Returns
    -------
    float
    """
    z, weights = _grid(variance)
    return float(function(math.sqrt(variance) * z) @ weights)


def mean_slope(variance: float) -> float:
    """Give E[tanh'(x)] for x of a variance."""
    return gaussian_mean(Activation().slope, variance)


def mean_square_slope(variance: float) -> float:
    """Give E[tanh'(x)^2] for x of a variance."""
    return gaussian_mean(lambda x: Activation().slope(x) ** 2, variance)


def mean_square_rate(variance: float) -> float:
    """Give E[tanh(x)^2] for x of a variance."""
    return gaussian_mean(lambda x: np.tanh(x) ** 2, variance)


def potential_variance(variance: float) -> float:
    """Give the variance of log cosh(x) for x of a variance."""
    mean = gaussian_mean(log_cosh, variance)
    return gaussian_mean(lambda x: (log_cosh(x) - mean) ** 2, variance)


def log_cosh(x: np.ndarray) -> np.ndarray:
    """Give log cosh x to a few roundings of itself, also where x is small or large."""
    size = np.abs(x)
    # sinh of at most 1 / 2: what is small comes from a product, not from a difference.
    small = np.log1p(2.0 * np.sinh(0.5 * np.minimum(size, 1.0)) ** 2)
    return np.where(size < 1.0, small, size + np.log1p(np.exp(-2.0 * size)) - math.log(2.0))


def pair_series(variance: float) -> PairSeries:
    """Expand tanh of a Gaussian until the series gives E[tanh'^2], its slowest sum, to 1e-13.

    Parameters
    ----------
    variance : float
        Positive. The number of terms grows in proportion: 30,000 at a variance of 300.

    Returns
    -------
    PairSeries

    Raises
    ------
    NumericalError
        If the series is too long, at variances above some 3000.
    """
    z, weights = _grid(variance)
    z, weights = z[z > 0.0], 2.0 * weights[z > 0.0]
    # Each factor carries the root of the density: polynomials alone would overflow, the density underflow.
    root = np.exp(-0.25 * z**2)
    projected = np.tanh(math.sqrt(variance) * z) * weights / root
    goal = variance * mean_square_slope(variance)
    before, now = np.zeros_like(z), root
    found, total = [], 0.0
    for first in range(0, _MOST_ORDERS, _BLOCK):
        block = np.empty(_BLOCK // 2)
        for n in range(first, first + _BLOCK):
            if n % 2:
                block[(n - first) // 2] = projected @ now
            before, now = now, (z * now - math.sqrt(n) * before) / math.sqrt(n + 1)
        found.append(block**2)
        total += float(found[-1] @ np.arange(first + 1, first + _BLOCK, 2))
        if goal - total <= _MISSING * goal:
            squares = np.concatenate(found)
            return PairSeries(variance, np.arange(1, 2 * squares.size, 2), squares)
    raise NumericalError(
        f"the Hermite series of tanh at variance {variance:.6g} lacks {(goal - total) / goal:.1e} "
        f"of its slope after {_MOST_ORDERS} orders.",
        hint="Take a smaller gain: the theory is then that of the sign function, to 1 %.",
    )


def _grid(variance: float) -> tuple[np.ndarray, np.ndarray]:
    """Give points of a standard normal and their weights, fine enough for tanh(sqrt(variance) z)."""
    step = min(_WIDEST_STEP, _STEP * math.pi / 2.0 / math.sqrt(max(variance, 1e-300)))
    n_points = math.ceil(_REACH / step)
    z = np.arange(-n_points, n_points + 1) * step
    weights = np.exp(-0.5 * z**2)
    return z, weights / weights.sum()
