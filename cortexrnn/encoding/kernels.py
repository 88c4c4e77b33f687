"""Loops of the point-process regression: features made block by block, never a design matrix.

A pass walks over the scored bins in blocks of `BLOCK` bins that stay in the second-level cache. In
every block it lays down the features event by event, then adds to the log-likelihood, its gradient
and its negative Hessian. A function that lives on one bin differs from zero once a spike: its part
of the Hessian is summed over spikes, not over bins.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numba
import numpy as np

from cortexrnn.encoding.arrays import UnitTrials
from cortexrnn.numerics.elementwise import exp64

BLOCK = 512
# Rows that are a power of two apart would fall into the same few sets of the first-level cache.
_ROW = BLOCK + 8
_SUM = {"reassoc", "contract", "nsz"}


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


@numba.njit(cache=True, nogil=True, fastmath={"contract"})
def _add_effects(row, design, k, t0, first, last):
    """Add the effect of spikes first to last by basis function k."""
    effect, begin, end = design.basis[k], design.support[k, 0], design.support[k, 1]
    for s in range(first, last):
        shift = design.spike_bin[s] + 1 - t0
        low, high = max(0, shift + begin), min(row.size, shift + end)
        count = design.spike_count[s]
        # Unsigned: a signed index might be negative, and the test for that keeps the loop from being vectorised.
        for i in range(high - low):
            row[np.uint64(low + i)] += count * effect[np.uint64(low - shift + i)]


@numba.njit(cache=True, nogil=True, fastmath={"contract"})
def _history_block(features, design, trial, t0, n):
    """Lay down rows 1, 2, ... of `features` for bins t0 to t0 + n of a trial; row 0 is the intercept."""
    n_basis, n_lags = design.basis.shape
    features[0, :n] = 1.0
    features[1 : n_basis + 1, :n] = 0.0
    for g in range(design.gap_offset[trial], design.gap_offset[trial + 1]):
        # A bin at t sees the run [start, stop) at lags t - stop + 1 to t - start.
        start, stop = design.gap_start[g], design.gap_stop[g]
        for t in range(max(t0, stop), min(t0 + n, stop + n_lags)):
            near, far = t - stop, min(t - start, n_lags)
            for k in range(n_basis):
                features[k + 1, t - t0] += design.mean * (design.summed[k, far] - design.summed[k, near])
    first, last = design.spike_offset[trial], design.spike_offset[trial + 1]
    last = first + np.searchsorted(design.spike_bin[first:last], t0 + n - 1)
    first += np.searchsorted(design.spike_bin[first:last], t0 - n_lags)
    # One function after the other: its row and its basis stay in the first-level cache.
    for k in range(n_basis):
        _add_effects(features[k + 1, :n], design, k, t0, first, last)


@numba.njit(cache=True, nogil=True, fastmath={"contract"})
def _predictor(features, weights, n, eta):
    """Add the weighted features to `eta`."""
    for p in range(weights.size):
        w = weights[p]
        row = features[p]
        for i in range(n):
            eta[i] += w * row[i]


@numba.njit(cache=True, nogil=True, fastmath=_SUM)
def _dot(a, b):
    """Inner product."""
    total = 0.0
    for i in range(a.size):
        total += a[i] * b[i]
    return total


@numba.njit(cache=True, nogil=True, fastmath=_SUM)
def _four_dots(a, b, c, d):
    """Inner products of two rows with two others; every value that is loaded serves two of them."""
    ac, ad, bc, bd = 0.0, 0.0, 0.0, 0.0
    for i in range(a.size):
        ac += a[i] * c[i]
        ad += a[i] * d[i]
        bc += b[i] * c[i]
        bd += b[i] * d[i]
    return ac, ad, bc, bd


@numba.njit(cache=True, nogil=True)
def _multiply(a, b, product):
    """Product of two rows, value by value."""
    for i in range(a.size):
        product[i] = a[i] * b[i]


@numba.njit(cache=True, nogil=True, fastmath={"contract"}, error_model="numpy")
def _exponentials(eta, n, mu):
    """Exponential of the first n values."""
    for i in range(n):
        mu[i] = exp64(eta[i])


@numba.njit(cache=True, nogil=True, fastmath=_SUM, error_model="numpy")
def _poisson_terms(counts, use, eta, mu, n, residual):
    """Log-likelihood of n bins; fills the residual y - mu and leaves the curvature in `mu`."""
    total = 0.0
    for i in range(n):
        total += use[i] * (counts[i] * eta[i] - mu[i])
        residual[i] = use[i] * (counts[i] - mu[i])
        mu[i] *= use[i]
    return total


@numba.njit(cache=True, nogil=True, error_model="numpy")
def _bernoulli_terms(counts, use, mu, n, residual):
    """As `_poisson_terms`, for one spike at most and p = 1 - exp(-mu)."""
    total = 0.0
    for i in range(n):
        m = mu[i]
        if counts[i] > 0.0:
            slope = m / math.expm1(m) if m > 1e-12 else 1.0
            total += use[i] * math.log(-math.expm1(-max(m, 1e-300)))
            residual[i] = use[i] * slope
            mu[i] = use[i] * slope * max(m + slope - 1.0, 0.0)
        else:
            total -= use[i] * m
            residual[i] = -use[i] * m
            mu[i] = use[i] * m
    return total


class _Block(NamedTuple):
    """What is known of a block of bins; an odd number of features is made even by a row of zeros."""

    features: np.ndarray
    counts: np.ndarray
    use: np.ndarray
    eta: np.ndarray
    mu: np.ndarray
    residual: np.ndarray
    left: np.ndarray


@numba.njit(cache=True, nogil=True)
def _empty_block(n_weights):
    """Allocate a block; every bin is in use."""
    rows = n_weights + n_weights % 2
    return _Block(
        features=np.zeros((rows, _ROW)),
        counts=np.zeros(BLOCK),
        use=np.ones(BLOCK),
        eta=np.zeros(BLOCK),
        mu=np.zeros(BLOCK),
        residual=np.zeros(BLOCK),
        left=np.zeros((2, _ROW)),
    )


@numba.njit(cache=True, nogil=True)
def _accumulate(block, n, n_full, likelihood, gradient, hessian):
    """Add n bins to the gradient and the first `n_full` rows of the Hessian; give their log-likelihood.

    Of the Hessian the lower triangle is filled, two rows by two columns.
    """
    features, mu, residual = block.features, block.mu, block.residual
    _exponentials(block.eta, n, mu)
    if likelihood == 1:
        total = _bernoulli_terms(block.counts, block.use, mu, n, residual)
    else:
        total = _poisson_terms(block.counts, block.use, block.eta, mu, n, residual)
    a, b = block.left[0, :n], block.left[1, :n]
    for p in range(gradient.size):
        gradient[p] += _dot(features[p, :n], residual[:n])
    for p in range(0, n_full, 2):
        _multiply(features[p, :n], mu[:n], a)
        _multiply(features[p + 1, :n], mu[:n], b)
        for q in range(0, p + 2, 2):
            ac, ad, bc, bd = _four_dots(a, b, features[q, :n], features[q + 1, :n])
            hessian[p, q] += ac
            hessian[p, q + 1] += ad
            hessian[p + 1, q] += bc
            hessian[p + 1, q + 1] += bd
    return total


@numba.njit(cache=True, nogil=True)
def _add_singles(block, design, trial, t0, n, n_full, hessian):
    """Add n bins to the rows of the Hessian from `n_full` on, whose functions live on one bin each."""
    first, last = design.spike_offset[trial], design.spike_offset[trial + 1]
    spikes = design.spike_bin[first:last]
    for p in range(n_full, design.basis.shape[0] + 1):
        lag = design.support[p - 1, 0]
        shift = lag + 1 - t0
        for s in range(np.searchsorted(spikes, -shift), np.searchsorted(spikes, n - shift)):
            _add_outer(block, spikes[s] + shift, p, hessian)
        for g in range(design.gap_offset[trial], design.gap_offset[trial + 1]):
            start, stop = design.gap_start[g], design.gap_stop[g]
            for i in range(max(0, stop - t0, start + shift), min(n, stop + shift)):
                _add_outer(block, i, p, hessian)


@numba.njit(cache=True, nogil=True)
def _add_outer(block, i, p, hessian):
    """Add bin i to row p of the Hessian's lower triangle."""
    weight = block.mu[i] * block.features[p, i]
    for q in range(p + 1):
        hessian[p, q] += weight * block.features[q, i]


@numba.njit(cache=True, nogil=True)
def history_pass(weights, design, counts, scored, log_mu, trial_mask, likelihood):
    """One pass over the scored bins of the trials in `trial_mask`; blocks without any cost nothing.

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

    Returns
    -------
    log_likelihood : float
    gradient : ndarray, shape (1 + n_basis,)
    hessian : ndarray, shape (1 + n_basis, 1 + n_basis)
        Negative second derivative.
    """
    n_weights = weights.size
    block = _empty_block(n_weights)
    gradient = np.zeros(block.features.shape[0])
    hessian = np.zeros((gradient.size, gradient.size))
    n_full = design.n_wide + 1 + (design.n_wide + 1) % 2
    total = 0.0
    n_bins = counts.shape[1]
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
                block.counts[i] = counts[trial, t0 + i]
                block.use[i] = 1.0 if scored[trial, t0 + i] else 0.0
                block.eta[i] = log_mu[trial, t0 + i]
            _history_block(block.features, design, trial, t0, n)
            _predictor(block.features, weights, n, block.eta)
            total += _accumulate(block, n, n_full, likelihood, gradient, hessian)
            _add_singles(block, design, trial, t0, n, n_full, hessian)
            t0 += n
    return total, gradient[:n_weights].copy(), _symmetric(hessian, n_weights)


@numba.njit(cache=True, nogil=True)
def history_effect(weights, design, scored, trial_mask):
    """Give intercept plus weighted history from a trial's first scored bin on, 0 elsewhere.

    Parameters are those of `history_pass`; the shape is (n_trials, n_bins).
    """
    features = np.empty((weights.size, _ROW))
    effect = np.zeros(scored.shape)
    n_bins = scored.shape[1]
    for trial in range(scored.shape[0]):
        if not trial_mask[trial]:
            continue
        t0 = 0
        while t0 < n_bins and not scored[trial, t0]:
            t0 += 1
        while t0 < n_bins:
            n = min(BLOCK, n_bins - t0)
            _history_block(features, design, trial, t0, n)
            _predictor(features, weights, n, effect[trial, t0:])
            t0 += n
    return effect


@numba.njit(cache=True, nogil=True)
def design_pass(weights, design, scale, counts, offset, likelihood):
    """As `history_pass`, for the columns of a design of shape (n_bins, n_weights), each multiplied by its scale."""
    n_bins, n_weights = design.shape
    block = _empty_block(n_weights)
    gradient = np.zeros(block.features.shape[0])
    hessian = np.zeros((gradient.size, gradient.size))
    total = 0.0
    for t0 in range(0, n_bins, BLOCK):
        n = min(BLOCK, n_bins - t0)
        for i in range(n):
            block.counts[i] = counts[t0 + i]
            block.eta[i] = offset[t0 + i]
            for p in range(n_weights):
                block.features[p, i] = design[t0 + i, p] * scale[p]
        _predictor(block.features, weights, n, block.eta)
        total += _accumulate(block, n, gradient.size, likelihood, gradient, hessian)
    return total, gradient[:n_weights].copy(), _symmetric(hessian, n_weights)


@numba.njit(cache=True, nogil=True)
def _symmetric(lower, n):
    """Give the first n rows and columns of a matrix of which only the lower triangle holds."""
    matrix = np.empty((n, n))
    for p in range(n):
        for q in range(p + 1):
            matrix[p, q] = lower[p, q]
            matrix[q, p] = lower[p, q]
    return matrix
