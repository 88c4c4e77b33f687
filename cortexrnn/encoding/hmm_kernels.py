"""Forward and backward passes of a hidden Markov chain whose states multiply the rate of Poisson counts."""

from __future__ import annotations

import math
from typing import NamedTuple

import numba
import numpy as np


class Sums(NamedTuple):
    """Expected sufficient statistics given all counts.

    Attributes
    ----------
    log_likelihood : float
        Of all observed bins, in nats, without log y!.
    start : ndarray, shape (n_states,)
        Trials that begin in a state.
    moves : ndarray, shape (n_states, n_states)
        Moves from a state (row) to another.
    spikes, expected : ndarray, shape (n_states,)
        Spikes in a state, and what the rung below expects there.
    """

    log_likelihood: float
    start: np.ndarray
    moves: np.ndarray
    spikes: np.ndarray
    expected: np.ndarray


@numba.njit(cache=True, nogil=True)
def emit(count, mu, gain, log_gain, out):
    """Give the probability of a count in every state over that at gain 1, the largest brought to 1; and its log."""
    largest = -np.inf
    for j in range(gain.size):
        out[j] = count * log_gain[j] - mu * (gain[j] - 1.0)
        largest = max(largest, out[j])
    for j in range(gain.size):
        out[j] = math.exp(out[j] - largest)
    return largest


@numba.njit(cache=True, nogil=True)
def filter_states(counts, observed, log_mu, before, move, gain, probability):
    """Fill in the probability of every state given the counts before each bin.

    `before`, (n_trials, n_states), is that before the first bin, and is changed to that after the last one.
    """
    n = gain.size
    log_gain, weight, now = np.log(gain), np.empty(n), np.empty(n)
    for i in range(counts.shape[0]):
        now[:] = before[i]
        for t in range(counts.shape[1]):
            probability[i, t] = now
            if observed[i, t]:
                emit(counts[i, t], math.exp(log_mu[i, t]), gain, log_gain, weight)
                total = 0.0
                for j in range(n):
                    weight[j] *= now[j]
                    total += weight[j]
                for j in range(n):
                    weight[j] /= total
            else:
                weight[:] = now
            for j in range(n):
                chance = 0.0
                for k in range(n):
                    chance += weight[k] * move[k, j]
                now[j] = chance
        before[i] = now


@numba.njit(cache=True, nogil=True)
def mean_gain(probability, gain, mean):
    """Fill in the expected gain, shape (n,), from the probability of every state, (n, n_states)."""
    for i in range(mean.size):
        total = 0.0
        for j in range(gain.size):
            total += probability[i, j] * gain[j]
        mean[i] = total


@numba.njit(cache=True, nogil=True)
def expect(counts, observed, log_mu, start, move, gain):
    """Give the expected sufficient statistics of all trials."""
    n, n_bins = gain.size, counts.shape[1]
    log_gain = np.log(gain)
    sums_start, moves = np.zeros(n), np.zeros((n, n))
    spikes, expected = np.zeros(n), np.zeros(n)
    # Probability of the states given the counts up to a bin, and of its count in every state over that given before.
    forward, emission = np.empty((n_bins, n)), np.empty((n_bins, n))
    now, after, back = np.empty(n), np.empty(n), np.empty(n)
    log_likelihood = 0.0
    for i in range(counts.shape[0]):
        now[:] = start
        for t in range(n_bins):
            total = 1.0
            if observed[i, t]:
                mu = math.exp(log_mu[i, t])
                shift = emit(counts[i, t], mu, gain, log_gain, emission[t])
                total = 0.0
                for j in range(n):
                    total += now[j] * emission[t, j]
                log_likelihood += math.log(total) + shift + counts[i, t] * log_mu[i, t] - mu
            else:
                emission[t] = 1.0
            for j in range(n):
                emission[t, j] /= total
                forward[t, j] = now[j] * emission[t, j]
            for j in range(n):
                chance = 0.0
                for k in range(n):
                    chance += forward[t, k] * move[k, j]
                now[j] = chance
        back[:] = 1.0
        for t in range(n_bins - 1, -1, -1):
            if observed[i, t]:
                mu = math.exp(log_mu[i, t])
                for j in range(n):
                    share = forward[t, j] * back[j]
                    spikes[j] += share * counts[i, t]
                    expected[j] += share * mu
            if t == 0:
                for j in range(n):
                    sums_start[j] += forward[0, j] * back[j]
                break
            for j in range(n):
                after[j] = emission[t, j] * back[j]
            for k in range(n):
                chance = 0.0
                for j in range(n):
                    step = move[k, j] * after[j]
                    moves[k, j] += forward[t - 1, k] * step
                    chance += step
                back[k] = chance
    return Sums(log_likelihood, sums_start, moves, spikes, expected)


@numba.njit(cache=True, nogil=True)
def mixture_log_likelihood(counts, scored, log_mu, probability, gain):
    """Sum the log of the mixture's probability over the scored bins of every trial, with log y!."""
    total = np.zeros(counts.shape[0])
    log_gain, weight = np.log(gain), np.empty(gain.size)
    for i in range(counts.shape[0]):
        for t in range(counts.shape[1]):
            if not scored[i, t]:
                continue
            y, mu = counts[i, t], math.exp(log_mu[i, t])
            shift = emit(y, mu, gain, log_gain, weight)
            chance = 0.0
            for j in range(gain.size):
                chance += probability[i, t, j] * weight[j]
            total[i] += math.log(chance) + shift + y * log_mu[i, t] - mu - math.lgamma(y + 1.0)
    return total
