"""Loops of the history regression: no design matrix, and features only where the Hessian needs them.

A pass walks over the scored bins in blocks that stay in the second-level cache. In every block it adds what each
spike does to the linear predictor, and what the residuals say of each lag: value and gradient cost a few additions a
spike and lag, however many functions there are. For the Hessian it lays down the features event by event. A function
that lives on one bin differs from zero once a spike: its part of the Hessian is summed over spikes, not over bins.
"""

from __future__ import annotations

from typing import NamedTuple

import numba
import numpy as np

from cortexrnn.encoding.arrays import UnitTrials
from cortexrnn.encoding.block_kernels import BLOCK, ROW, SUM, add_products, dot, symmetric, weigh_block


class HistoryDesign(NamedTuple):
    """Everything from which the history features of a block of bins are made.

    Attributes
    ----------
    spike_bin, spike_count : ndarray
        Bin and count of every bin with spikes, flat over trials.
    spike_offset : ndarray of int64, shape (n_trials + 1,)
        Where each trial's spikes start.
    gap_start, gap_stop, gap_offset : ndarray of int64
        Runs of unobserved bins of every trial, flat; the time before the first bin is one of them.
    basis : ndarray, shape (n_basis, n_lags)
        Effect of a spike at lags of 1, 2, ... bins.
    summed : ndarray, shape (n_basis, n_lags + 1)
        Running sum of the basis over lags, from 0.
    support : ndarray of int64, shape (n_basis, 2)
        First and one past the last lag index at which a function is not zero.
    n_wide : int
        Functions from here on live on one bin.
    mean : float
        Expected count of an unobserved bin, which stands in for its spikes.
    """

    spike_bin: np.ndarray
    spike_count: np.ndarray
    spike_offset: np.ndarray
    gap_start: np.ndarray
    gap_stop: np.ndarray
    gap_offset: np.ndarray
    basis: np.ndarray
    summed: np.ndarray
    support: np.ndarray
    n_wide: int
    mean: float


def history_design(trials: UnitTrials, basis: np.ndarray, mean: float) -> HistoryDesign:
    """Collect a unit's spikes and gaps for `history_pass`; `mean` stands in for unobserved bins."""
    n_trials, n_bins = trials.counts.shape
    row, spike_bin = np.divmod(np.flatnonzero(trials.counts), n_bins)
    n_lags = basis.shape[1]
    gap_row, gap_start, gap_stop = _gaps(trials.observed, n_lags)
    inside = basis != 0.0
    is_wide = inside.sum(axis=1) > 1
    return HistoryDesign(
        spike_bin=spike_bin.astype(np.int64),
        spike_count=trials.counts[row, spike_bin].astype(np.float64),
        spike_offset=np.searchsorted(row, np.arange(n_trials + 1)).astype(np.int64),
        gap_start=gap_start,
        gap_stop=gap_stop,
        gap_offset=np.searchsorted(gap_row, np.arange(n_trials + 1)).astype(np.int64),
        basis=np.ascontiguousarray(basis, dtype=np.float64),
        summed=np.concatenate([np.zeros((basis.shape[0], 1)), np.cumsum(basis, axis=1)], axis=1),
        support=np.stack([inside.argmax(axis=1), n_lags - inside[:, ::-1].argmax(axis=1)], axis=1).astype(np.int64),
        n_wide=int(is_wide.size - is_wide[::-1].argmax()) if is_wide.any() else 0,
        mean=float(mean),
    )


def thin_blocks(scored: np.ndarray, every: int) -> np.ndarray:
    """Keep every so-manieth block of `BLOCK` bins, counted through all trials: a part of the data for a first look."""
    first = np.arange(0, scored.shape[1], BLOCK)
    number = np.arange(scored.shape[0])[:, None] * first.size + np.arange(first.size)
    return scored & np.repeat(number % every == 0, BLOCK, axis=1)[:, : scored.shape[1]]


def _gaps(observed: np.ndarray, n_lags: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Give row, first bin and stop of every run of unobserved bins; the time before bin 0 is one, n_lags long."""
    n_trials = observed.shape[0]
    if observed.all():
        return np.arange(n_trials), np.full(n_trials, -n_lags), np.zeros(n_trials, dtype=np.int64)
    edge = np.ones((n_trials, 1), dtype=bool)
    change = np.diff(np.concatenate([edge, ~observed, ~edge], axis=1).astype(np.int8), axis=1)
    row, start = np.nonzero(change == 1)
    _, stop = np.nonzero(change == -1)
    row = np.concatenate([np.arange(n_trials), row])
    start = np.concatenate([np.full(n_trials, -n_lags), start])
    order = np.argsort(row, kind="stable")
    return row[order], start[order].astype(np.int64), stop.astype(np.int64)


@numba.njit(cache=True, nogil=True)
def _near_spikes(design, trial, t0, n):
    """Give the first and one past the last spike of a trial that bins t0 to t0 + n can see."""
    first, last = design.spike_offset[trial], design.spike_offset[trial + 1]
    stop = first + np.searchsorted(design.spike_bin[first:last], t0 + n - 1)
    return first + np.searchsorted(design.spike_bin[first:stop], t0 - design.basis.shape[1]), stop


@numba.njit(cache=True, nogil=True)
def _summed_effects(weights, design):
    """Give the log effect of a spike at every lag, and its running sum over lags from 0."""
    effect, summed = np.zeros(design.basis.shape[1]), np.zeros(design.summed.shape[1])
    for k in range(design.basis.shape[0]):
        for lag in range(effect.size):
            effect[lag] += weights[k + 1] * design.basis[k, lag]
        for lag in range(summed.size):
            summed[lag] += weights[k + 1] * design.summed[k, lag]
    return effect, summed


@numba.njit(cache=True, nogil=True, fastmath={"contract"})
def _add_effects(eta, effect, summed, design, trial, t0, n):
    """Add to `eta` what spikes and gaps do to bins t0 to t0 + n of a trial."""
    n_lags = effect.size
    for g in range(design.gap_offset[trial], design.gap_offset[trial + 1]):
        # A bin at t sees the run [start, stop) at lags t - stop + 1 to t - start.
        start, stop = design.gap_start[g], design.gap_stop[g]
        for t in range(max(t0, stop), min(t0 + n, stop + n_lags)):
            eta[t - t0] += design.mean * (summed[min(t - start, n_lags)] - summed[t - stop])
    first, last = _near_spikes(design, trial, t0, n)
    for s in range(first, last):
        shift = design.spike_bin[s] + 1 - t0
        low, high = max(0, shift), min(n, shift + n_lags)
        count = design.spike_count[s]
        # Unsigned: a signed index might be negative, and the test for that keeps the loop from being vectorised.
        for i in range(high - low):
            eta[np.uint64(low + i)] += count * effect[np.uint64(low - shift + i)]


@numba.njit(cache=True, nogil=True, fastmath={"contract"})
def _add_residuals(residual, effect, summed, design, trial, t0, n):
    """Add residuals to the lags at which spikes and gaps act on them: the transpose of `_add_effects`."""
    n_lags = effect.size
    for g in range(design.gap_offset[trial], design.gap_offset[trial + 1]):
        start, stop = design.gap_start[g], design.gap_stop[g]
        for t in range(max(t0, stop), min(t0 + n, stop + n_lags)):
            summed[min(t - start, n_lags)] += design.mean * residual[t - t0]
            summed[t - stop] -= design.mean * residual[t - t0]
    first, last = _near_spikes(design, trial, t0, n)
    for s in range(first, last):
        shift = design.spike_bin[s] + 1 - t0
        low, high = max(0, shift), min(n, shift + n_lags)
        count = design.spike_count[s]
        for i in range(high - low):
            effect[np.uint64(low - shift + i)] += count * residual[np.uint64(low + i)]


@numba.njit(cache=True, nogil=True, fastmath={"contract"})
def _add_feature(row, values, begin, end, design, t0, first, last):
    """Add spikes first to last to the feature whose function of the lag has `values`, zero outside [begin, end)."""
    for s in range(first, last):
        shift = design.spike_bin[s] + 1 - t0
        low, high = max(0, shift + begin), min(row.size, shift + end)
        count = np.float32(design.spike_count[s])
        for i in range(high - low):
            row[np.uint64(low + i)] += count * values[np.uint64(low - shift + i)]


@numba.njit(cache=True, nogil=True, fastmath={"contract"})
def _history_block(features, basis, design, trial, t0, n):
    """Lay down rows 1, 2, ... of `features` for bins t0 to t0 + n of a trial; row 0 is the intercept."""
    n_basis, n_lags = design.basis.shape
    features[0, :n] = 1.0
    features[1 : n_basis + 1, :n] = 0.0
    for g in range(design.gap_offset[trial], design.gap_offset[trial + 1]):
        start, stop = design.gap_start[g], design.gap_stop[g]
        for t in range(max(t0, stop), min(t0 + n, stop + n_lags)):
            near, far = t - stop, min(t - start, n_lags)
            for k in range(n_basis):
                features[k + 1, t - t0] += np.float32(design.mean * (design.summed[k, far] - design.summed[k, near]))
    first, last = _near_spikes(design, trial, t0, n)
    # One function after the other: its row and its values stay in the first-level cache.
    for k in range(n_basis):
        begin, end = design.support[k, 0], design.support[k, 1]
        _add_feature(features[k + 1, :n], basis[k], begin, end, design, t0, first, last)


@numba.njit(cache=True, nogil=True, fastmath=SUM)
def _total(values, n):
    """Sum of the first n values."""
    total = 0.0
    for i in range(n):
        total += values[i]
    return total


@numba.njit(cache=True, nogil=True)
def _add_singles(features, mu, design, trial, t0, n, n_full, hessian):
    """Add n bins to the rows of the Hessian from `n_full` on, whose functions live on one bin each."""
    first, last = design.spike_offset[trial], design.spike_offset[trial + 1]
    spikes = design.spike_bin[first:last]
    for p in range(n_full, design.basis.shape[0] + 1):
        lag = design.support[p - 1, 0]
        shift = lag + 1 - t0
        for s in range(np.searchsorted(spikes, -shift), np.searchsorted(spikes, n - shift)):
            _add_outer(features, mu, spikes[s] + shift, p, hessian)
        for g in range(design.gap_offset[trial], design.gap_offset[trial + 1]):
            start, stop = design.gap_start[g], design.gap_stop[g]
            for i in range(max(0, stop - t0, start + shift), min(n, stop + shift)):
                _add_outer(features, mu, i, p, hessian)


@numba.njit(cache=True, nogil=True)
def _add_outer(features, mu, i, p, hessian):
    """Add bin i to row p of the Hessian's lower triangle."""
    weight = mu[i] * features[p, i]
    for q in range(p + 1):
        hessian[p, q] += weight * features[q, i]


@numba.njit(cache=True, nogil=True)
def history_pass(weights, design, counts, scored, log_mu, trial_mask, likelihood, is_curved):
    """One pass over the scored bins of the trials in `trial_mask`; blocks without any cost nothing.

    Value and gradient are in float64 and come event by event; only the Hessian needs the features, in float32, which
    moves no optimum.

    Parameters
    ----------
    weights : ndarray of float64, shape (1 + n_basis,)
        Intercept and history weights.
    design : HistoryDesign
        Spikes, gaps and basis.
    counts, scored, log_mu : ndarray, shape (n_trials, n_bins)
        uint16, bool and float64: spikes, bins that count, offset of the linear predictor.
    trial_mask : ndarray of bool, shape (n_trials,)
        Trials to use.
    likelihood : int
        0 Poisson, 1 Bernoulli.
    is_curved : bool
        Whether the Hessian is wanted; without it a pass takes a third of the time.

    Returns
    -------
    log_likelihood : float
    gradient : ndarray, shape (1 + n_basis,)
    hessian : ndarray, shape (1 + n_basis, 1 + n_basis)
        Negative second derivative; zeros where it is not wanted.
    """
    n_basis, n_bins = design.basis.shape[0], counts.shape[1]
    effect, summed = _summed_effects(weights, design)
    residual_effect, residual_summed = np.zeros_like(effect), np.zeros_like(summed)
    # Row by row: an odd number of features is made even by a row of zeros.
    n_rows = n_basis + 1 + (n_basis + 1) % 2
    n_full = design.n_wide + 1 + (design.n_wide + 1) % 2
    features, left = np.zeros((n_rows, ROW), np.float32), np.zeros((2, ROW), np.float32)
    basis, weight = design.basis.astype(np.float32), np.zeros(BLOCK, np.float32)
    block_counts, use, eta = np.zeros(BLOCK), np.zeros(BLOCK), np.zeros(BLOCK)
    mu, residual = np.zeros(BLOCK), np.zeros(BLOCK)
    hessian = np.zeros((n_rows, n_rows))
    total, intercept_slope = 0.0, 0.0
    for trial in range(counts.shape[0]):
        t0 = 0 if trial_mask[trial] else n_bins
        while t0 < n_bins:
            if not scored[trial, t0 : t0 + BLOCK].any():
                t0 += BLOCK
                continue
            while not scored[trial, t0]:
                t0 += 1
            n = min(BLOCK, n_bins - t0)
            for i in range(n):
                block_counts[i] = counts[trial, t0 + i]
                use[i] = 1.0 if scored[trial, t0 + i] else 0.0
                eta[i] = log_mu[trial, t0 + i] + weights[0]
            _add_effects(eta, effect, summed, design, trial, t0, n)
            total += weigh_block(block_counts, use, eta, n, likelihood, mu, residual)
            intercept_slope += _total(residual, n)
            _add_residuals(residual, residual_effect, residual_summed, design, trial, t0, n)
            if is_curved:
                _history_block(features, basis, design, trial, t0, n)
                weight[:n] = mu[:n]
                add_products(features, weight, left, n, n_full, hessian)
                _add_singles(features, weight, design, trial, t0, n, n_full, hessian)
            t0 += n
    gradient = np.empty(n_basis + 1)
    gradient[0] = intercept_slope
    for k in range(n_basis):
        gradient[k + 1] = dot(design.basis[k], residual_effect) + dot(design.summed[k], residual_summed)
    return total, gradient, symmetric(hessian, n_basis + 1)


@numba.njit(cache=True, nogil=True)
def history_effect(weights, design, scored, trial_mask):
    """Give intercept plus weighted history from a trial's first scored bin on, 0 elsewhere.

    Parameters are those of `history_pass`; the shape is (n_trials, n_bins).
    """
    effect, summed = _summed_effects(weights, design)
    found = np.zeros(scored.shape)
    n_bins = scored.shape[1]
    for trial in range(scored.shape[0]):
        if not trial_mask[trial]:
            continue
        t0 = 0
        while t0 < n_bins and not scored[trial, t0]:
            t0 += 1
        found[trial, t0:] = weights[0]
        _add_effects(found[trial, t0:], effect, summed, design, trial, t0, n_bins - t0)
    return found
