"""Slow twins of the rungs without networks, from their definitions, with plain loops. NumPy only."""

from __future__ import annotations

import math

import numpy as np


def gaussian_sum(row, sd_bins):
    """Weight the values around every bin by a Gaussian cut at 4 SD, whose weights add up to 1."""
    n = len(row)
    if math.isinf(sd_bins):
        return np.full(n, sum(row) / n)
    reach = min(math.ceil(4.0 * sd_bins), n)
    weight = {lag: math.exp(-0.5 * (lag / sd_bins) ** 2) for lag in range(-reach, reach + 1)}
    total = sum(weight.values())
    smooth = np.zeros(n)
    for t in range(n):
        for lag, w in weight.items():
            if 0 <= t + lag < n:
                smooth[t] += w / total * row[t + lag]
    return smooth


def psth(counts, scored, sd_bins):
    """Give the smoothed PSTH of trials of one condition, (S + 1/(2 w)) / (n + 1/(2 w mean)), per bin.

    S and n are smoothed spikes and smoothed numbers of scored trials; the mean is (N + 1/2) / T; the
    width of a Gaussian is 2 sqrt(pi) SD, at least one bin and at most all of them.
    """
    n_trials, n_bins = counts.shape
    spikes, exposure = np.zeros(n_bins), np.zeros(n_bins)
    for i in range(n_trials):
        for t in range(n_bins):
            if scored[i, t]:
                spikes[t] += counts[i, t]
                exposure[t] += 1.0
    mean = (spikes.sum() + 0.5) / exposure.sum()
    width = n_bins if math.isinf(sd_bins) else min(max(1.0, 2.0 * math.sqrt(math.pi) * sd_bins), n_bins)
    smooth_spikes, smooth_exposure = gaussian_sum(spikes, sd_bins), gaussian_sum(exposure, sd_bins)
    return (smooth_spikes + 0.5 / width) / (smooth_exposure + 0.5 / (width * mean))


def causal_gain(counts, scored, mu, variance):
    """Give mu_t (a + N_<t) / (a + L_<t) of every scored bin, a = 1 / variance; NaN elsewhere."""
    a = 1.0 / variance
    out = np.full(mu.shape, np.nan)
    for i in range(mu.shape[0]):
        for t in range(mu.shape[1]):
            if scored[i, t]:
                spikes = sum(int(counts[i, s]) for s in range(t) if scored[i, s])
                expected = sum(mu[i, s] for s in range(t) if scored[i, s])
                out[i, t] = mu[i, t] * (a + spikes) / (a + expected)
    return out


def age_step(counts, observed, trial, t, n_lags):
    """Give the bins since the last spike, n_lags + 1 if more than n_lags, 0 if unknown."""
    lag = 1
    while t - lag >= 0 and observed[trial, t - lag]:
        if counts[trial, t - lag] > 0:
            return min(lag, n_lags + 1)
        lag += 1
    n_silent = lag - 1
    return n_lags + 1 if n_silent >= n_lags else 0


def history_features(counts, observed, basis, mean):
    """Give the intercept and, per basis function, the filtered past of every bin.

    An unobserved bin, and every bin before the first, counts as the mean. Shape (1 + n_basis, n_trials,
    n_bins).
    """
    n_basis, n_lags = basis.shape
    features = np.zeros((n_basis + 1, *counts.shape))
    features[0] = 1.0
    for i in range(counts.shape[0]):
        for t in range(counts.shape[1]):
            for lag in range(1, n_lags + 1):
                s = t - lag
                past = float(counts[i, s]) if s >= 0 and observed[i, s] else mean
                for k in range(n_basis):
                    features[k + 1, i, t] += basis[k, lag - 1] * past
    return features


def log_likelihood(counts, mu, likelihood):
    """Log probability of a count: Poisson with mean mu, or one spike at most with p = 1 - exp(-mu)."""
    if likelihood == "poisson":
        return counts * math.log(mu) - mu - math.log(math.factorial(counts))
    p = 1.0 - math.exp(-mu)
    return math.log(p) if counts else math.log(1.0 - p)
