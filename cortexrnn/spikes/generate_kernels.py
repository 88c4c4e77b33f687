"""Kernels of the generators: one bin after another, one given uniform number a bin."""

from __future__ import annotations

import math

import numpy as np
from numba import njit

# Far above any neuron at any sensible bin; beyond it a history that feeds on itself has run away.
LARGEST_EXPECTED = 50.0


@njit(cache=True, nogil=True)
def invert_poisson(expected, uniform):
    """Invert the Poisson distribution function at one uniform number; exact for expected counts up to 50."""
    term = math.exp(-expected)
    total = term
    n = 0
    # The terms vanish before round-off can keep the sum below the largest uniform number.
    while uniform >= total and term > 1e-300:
        n += 1
        term *= expected / n
        total += term
    return n


@njit(cache=True, nogil=True)
def _history_expected(counts, hazard, log_factor, n_dead, t):
    """Give the expected count of bin t of one trial: 0 while dead, else the hazard times exp(history)."""
    for lag in range(1, min(n_dead, t) + 1):
        if counts[t - lag] > 0:
            return 0.0
    log_rate = 0.0
    for lag in range(1, min(log_factor.size, t) + 1):
        log_rate += log_factor[lag - 1] * counts[t - lag]
    return hazard[t] * math.exp(log_rate)


@njit(cache=True, nogil=True)
def draw_history(counts, hazard, log_factor, n_dead, uniforms):
    """Fill `counts`, at most one spike a bin if a spike leaves dead bins; return where the rate ran away."""
    for i in range(counts.shape[0]):
        for t in range(counts.shape[1]):
            expected = _history_expected(counts[i], hazard[i], log_factor, n_dead, t)
            # With a dead time the expected count is the chance of the one spike.
            if expected > (1.0 if n_dead > 0 else LARGEST_EXPECTED):
                return i, t, expected
            if n_dead > 0:
                counts[i, t] = 1 if uniforms[i, t] < expected else 0
            else:
                counts[i, t] = invert_poisson(expected, uniforms[i, t])
    return -1, -1, 0.0


@njit(cache=True, nogil=True)
def evaluate_history(counts, hazard, log_factor, n_dead):
    """Give the expected count of every bin given the counts before it."""
    expected = np.empty(hazard.shape)
    for i in range(counts.shape[0]):
        for t in range(counts.shape[1]):
            expected[i, t] = _history_expected(counts[i], hazard[i], log_factor, n_dead, t)
    return expected


@njit(cache=True, nogil=True)
def _burst_expected(expected, t, started, start, stop, factor):
    """Give the expected count of bin t when the last burst was started by a spike in bin `started`."""
    since = t - started
    return expected[t] * factor if start <= since < stop else expected[t]


@njit(cache=True, nogil=True)
def draw_bursts(counts, expected, silence, start, stop, factor, uniforms):
    """Fill `counts`: a spike starts a burst if the `silence` bins before it were empty."""
    for i in range(counts.shape[0]):
        last, started = -silence - 1, -stop - 1
        for t in range(counts.shape[1]):
            mean = _burst_expected(expected[i], t, started, start, stop, factor)
            counts[i, t] = invert_poisson(mean, uniforms[i, t])
            if counts[i, t] > 0:
                if t - last > silence:
                    started = t
                last = t


@njit(cache=True, nogil=True)
def evaluate_bursts(counts, expected, silence, start, stop, factor):
    """Give the expected count of every bin given the counts before it."""
    means = np.empty(expected.shape)
    for i in range(counts.shape[0]):
        last, started = -silence - 1, -stop - 1
        for t in range(counts.shape[1]):
            means[i, t] = _burst_expected(expected[i], t, started, start, stop, factor)
            if counts[i, t] > 0:
                if t - last > silence:
                    started = t
                last = t
    return means
