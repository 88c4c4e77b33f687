"""Loops of the coupled regression: spikes add filters to all units at once, and gather what they left over.

Nothing is laid out as a design matrix. A spike touches as many bins of all units as its filters are long, which is one
contiguous block of memory: the cost goes with the number of spikes, not of bins times coefficients.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numba
import numpy as np

from cortexrnn.numerics.elementwise import exp64


class Spikes(NamedTuple):
    """All spikes of a population, in the order of their bins.

    Attributes
    ----------
    bin : ndarray of int64
        Bin, flat over trials.
    end : ndarray of int64
        One past the last bin of the spike's trial.
    unit : ndarray of int64
    count : ndarray of float64
    is_used : ndarray of bool
        Whether the bin is among those that are fitted.
    """

    bin: np.ndarray
    end: np.ndarray
    unit: np.ndarray
    count: np.ndarray
    is_used: np.ndarray


@numba.njit(cache=True, nogil=True, fastmath={"contract"})
def add_effects(spikes, filters, own, eta, first_bin):
    """Add the effect of every spike on all units, and of its longer own filter on its unit.

    Parameters
    ----------
    spikes : Spikes
    filters : ndarray, shape (n_units, n_lags, n_units)
        Source, lag of 1, 2, ... bins, target.
    own : ndarray, shape (n_units, n_own_lags)
    eta : ndarray, shape (n_bins, n_units)
        Bins from `first_bin` on.
    first_bin : int
    """
    n_lags, n_units = filters.shape[1], filters.shape[2]
    flat = eta.reshape(eta.size)
    for s in range(spikes.bin.size):
        j, c = spikes.unit[s], spikes.count[s]
        start = spikes.bin[s] + 1 - first_bin
        n = min(n_lags, spikes.end[s] - spikes.bin[s] - 1)
        effect = filters[j].reshape(n_lags * n_units)
        at = start * n_units
        for i in range(n * n_units):
            flat[np.uint64(at + i)] += c * effect[np.uint64(i)]
        n = min(own.shape[1], spikes.end[s] - spikes.bin[s] - 1)
        for lag in range(n):
            eta[start + lag, j] += c * own[j, lag]


@numba.njit(cache=True, nogil=True, fastmath={"contract"})
def gather(spikes, residual, first_bin, by_filters, by_own):
    """Add what is left over in the bins after every spike; shapes as in `add_effects`."""
    n_lags, n_units = by_filters.shape[1], by_filters.shape[2]
    flat = residual.reshape(residual.size)
    for s in range(spikes.bin.size):
        j, c = spikes.unit[s], spikes.count[s]
        start = spikes.bin[s] + 1 - first_bin
        n = min(n_lags, spikes.end[s] - spikes.bin[s] - 1)
        out = by_filters[j].reshape(n_lags * n_units)
        at = start * n_units
        for i in range(n * n_units):
            out[np.uint64(i)] += c * flat[np.uint64(at + i)]
        n = min(by_own.shape[1], spikes.end[s] - spikes.bin[s] - 1)
        for lag in range(n):
            by_own[j, lag] += c * residual[start + lag, j]


@numba.njit(cache=True, nogil=True, fastmath={"contract"}, error_model="numpy")
def poisson_terms(spikes, use, eta, first_bin, log_likelihood):
    """Add every unit's log-likelihood without log y!, and turn the linear predictor into the residual y - mu."""
    n_bins, n_units = eta.shape
    for s in range(spikes.bin.size):
        if spikes.is_used[s]:
            log_likelihood[spikes.unit[s]] += spikes.count[s] * eta[spikes.bin[s] - first_bin, spikes.unit[s]]
    for t in range(n_bins):
        if use[t]:
            for u in range(n_units):
                eta[t, u] = -exp64(eta[t, u])
                log_likelihood[u] += eta[t, u]
        else:
            for u in range(n_units):
                eta[t, u] = 0.0
    for s in range(spikes.bin.size):
        if spikes.is_used[s]:
            eta[spikes.bin[s] - first_bin, spikes.unit[s]] += spikes.count[s]


@numba.njit(cache=True, nogil=True, fastmath={"contract"})
def lay_features(spikes, basis, own_basis, target, first_bin, features):
    """Lay down the features of one target: an intercept, every source's functions, and its own longer ones.

    Parameters
    ----------
    spikes : Spikes
    basis : ndarray, shape (n_functions, n_lags)
    own_basis : ndarray, shape (n_own, n_own_lags)
    target : int
        Its own spikes have the longer functions only.
    first_bin : int
    features : ndarray, shape (n_bins, 1 + (n_units - 1) * n_functions + n_own)
        Zero on entry; the sources in their order without the target.
    """
    n_functions, n_lags = basis.shape
    n_own, n_own_lags = own_basis.shape
    first_own = features.shape[1] - n_own
    features[:, 0] = 1.0
    for s in range(spikes.bin.size):
        j, c = spikes.unit[s], spikes.count[s]
        start = spikes.bin[s] + 1 - first_bin
        left = spikes.end[s] - spikes.bin[s] - 1
        if j == target:
            for lag in range(min(n_own_lags, left)):
                for k in range(n_own):
                    features[start + lag, first_own + k] += c * own_basis[k, lag]
        else:
            column = 1 + (j - (j > target)) * n_functions
            for lag in range(min(n_lags, left)):
                for k in range(n_functions):
                    features[start + lag, column + k] += c * basis[k, lag]


@numba.njit(cache=True, nogil=True, error_model="numpy")
def unit_terms(counts, use, eta, is_bernoulli, residual, curvature):
    """Give the log-likelihood of one unit's bins without log y!, and its derivatives with respect to `eta`.

    Parameters
    ----------
    counts : ndarray of uint16, shape (n_bins,)
    use : ndarray of bool, shape (n_bins,)
        Bins that count; derivatives are 0 in others.
    eta : ndarray of float64, shape (n_bins,)
        Log of the expected count, or of the integrated intensity.
    is_bernoulli : bool
        One spike at most with p = 1 - exp(-mu), else Poisson.
    residual, curvature : ndarray of float64, shape (n_bins,)
        Filled with the first and the negative second derivative.

    Returns
    -------
    float
    """
    total = 0.0
    for t in range(eta.size):
        if not use[t]:
            residual[t] = curvature[t] = 0.0
            continue
        mu = exp64(eta[t])
        y = float(counts[t])
        if is_bernoulli and y > 0.0:
            slope = mu / math.expm1(mu) if mu > 1e-12 else 1.0
            total += math.log(-math.expm1(-max(mu, 1e-300)))
            residual[t] = slope
            curvature[t] = slope * max(mu + slope - 1.0, 0.0)
        else:
            total -= mu
            if y > 0.0:
                total += y * eta[t]
            residual[t] = y - mu
            curvature[t] = mu
    return total
