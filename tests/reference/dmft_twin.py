"""Dynamic mean field of a random tanh network by iterating its definition on a ring of times.

``D(t) = integral exp(-|t - s|) / 2 g^2 C(D(s)) ds``, solved by Newton's method for the values of D at evenly spaced
lags of one long even period. C is a double sum over Gaussian variables. No energy, no series in the correlation.
"""

from __future__ import annotations

import numpy as np

X = np.arange(-68, 69) / 8.0
WEIGHTS = np.exp(-0.5 * X**2)
WEIGHTS = WEIGHTS / WEIGHTS.sum()


def averages(covariance, variance):
    """Give C, its derivative with respect to the covariance, and that with respect to the variance."""
    size = np.minimum(np.abs(covariance), variance)
    private, shared = np.sqrt(variance - size), np.sqrt(size)
    x = private[:, None, None] * X[:, None] + shared[:, None, None] * X
    rate = np.tanh(x)
    slope = 1.0 - rate**2
    inner = [np.einsum("i,kij->kj", WEIGHTS, values) for values in (rate, slope, -2.0 * rate * slope)]
    sign = np.sign(covariance)
    return sign * (inner[0] ** 2 @ WEIGHTS), inner[1] ** 2 @ WEIGHTS, sign * ((inner[0] * inner[2]) @ WEIGHTS)


def solve(gain, *, start, half_period, n_lags):
    """Give lags, D and the largest exponent, in tau; `start` is a guess of the variance and of the half lag."""
    lag = np.linspace(0.0, half_period, n_lags)
    frequency = np.pi * np.arange(n_lags) / half_period
    waves = np.cos(frequency * lag[:, None])
    analysis = np.linalg.inv(waves)
    smooth = waves @ (analysis / (1.0 + frequency[:, None] ** 2))
    d = start[0] / np.cosh(np.arccosh(2.0) * lag / start[1])
    for _ in range(40):
        rates, slopes, by_variance = averages(d, d[0])
        matrix = -smooth * (gain**2 * slopes)
        matrix[:, 0] -= smooth @ (gain**2 * by_variance)
        matrix += np.eye(n_lags)
        step = np.linalg.solve(matrix, smooth @ (gain**2 * rates) - d)
        d = d + step
        if np.abs(step).max() < 1e-12 * d[0]:
            break
    curvature = waves @ (analysis * frequency[:, None] ** 2)
    potential = 1.0 - gain**2 * averages(d, d[0])[1]
    energy = np.linalg.eigvals(curvature + np.diag(potential)).real.min()
    return lag, d, np.sqrt(1.0 - energy) - 1.0


def discrete_variance(gain):
    """Iterate ``q <- g^2 E[tanh^2]`` from 1 to its fixed point."""
    q = 1.0
    for _ in range(20_000):
        q = gain**2 * float(np.tanh(np.sqrt(q) * X) ** 2 @ WEIGHTS)
    return q
