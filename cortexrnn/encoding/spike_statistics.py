"""What a spike train looks like in numbers: intervals, autocorrelation, Fano factors, PSTH, refractory mass."""

from __future__ import annotations

import math
from typing import NamedTuple

import numba
import numpy as np

from cortexrnn.encoding.arrays import UnitTrials
from cortexrnn.encoding.renewal import age_steps, sum_by_step

REFRACTORY_S = 0.002
_FANO_WINDOWS_S = (0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0)


class Intervals(NamedTuple):
    """Intervals between spikes of the same trial with no unscored bin between them.

    Attributes
    ----------
    n_bins : ndarray of int64, shape (n_intervals,)
        Lengths in bins; 0 within a bin of several spikes.
    follows : ndarray of bool, same shape
        Whether the interval starts with the spike that ended the one before.
    """

    n_bins: np.ndarray
    follows: np.ndarray


def find_intervals(counts: np.ndarray, scored: np.ndarray) -> Intervals:
    """Give the intervals between scored spikes, trial by trial.

    Parameters
    ----------
    counts : ndarray of uint16, shape (n_trials, n_bins)
    scored : ndarray of bool, same shape

    Returns
    -------
    Intervals
    """
    return Intervals(*_find_intervals(counts, scored, int(counts[scored].sum())))


def interval_cv(intervals: Intervals) -> float:
    """Give the standard deviation of the intervals over their mean; NaN with fewer than two."""
    mean = intervals.n_bins.mean() if intervals.n_bins.size > 1 else 0.0
    return float(intervals.n_bins.std() / mean) if mean > 0.0 else math.nan


def interval_cv2(intervals: Intervals) -> float:
    """Give the mean of ``2 |b - a| / (a + b)`` over successive intervals a, b; hardly moved by a slow rate.

    Holt, Softky, Koch and Douglas (1996), doi:10.1152/jn.1996.75.5.1806. Pairs of intervals within a bin are left
    out; NaN without any pair.
    """
    contrast = _contrasts(intervals)
    return float(np.mean(2.0 * np.abs(contrast))) if contrast.size else math.nan


def interval_lv(intervals: Intervals) -> float:
    """Give the local variation, the mean of ``3 ((b - a) / (a + b))^2`` over successive intervals a, b.

    Shinomoto, Shima and Tanji (2003), doi:10.1162/089976603322518759: 0 for a clock, 1 for a Poisson process. Pairs as
    for `interval_cv2`.
    """
    contrast = _contrasts(intervals)
    return float(3.0 * np.mean(contrast**2)) if contrast.size else math.nan


def interval_shares(intervals: Intervals, edges: np.ndarray) -> np.ndarray:
    """Give the share of the intervals in [edges[k], edges[k + 1]) bins; NaN without intervals."""
    if intervals.n_bins.size == 0:
        return np.full(edges.size - 1, np.nan)
    return np.histogram(intervals.n_bins, edges)[0] / intervals.n_bins.size


def interval_edges(n_bins: int) -> np.ndarray:
    """Give edges in whole bins from 0 to `n_bins`, one bin wide at first, then ever wider (eight a decade)."""
    steps = np.unique(np.round(np.logspace(0.0, math.log10(max(n_bins, 2)), 1 + round(8 * math.log10(max(n_bins, 2))))))
    return np.concatenate(([0], steps.astype(np.int64)))


def autocorrelation(counts: np.ndarray, scored: np.ndarray, n_lags: int) -> np.ndarray:
    """Give the mean count 1, 2, ... n_lags bins after a spike, where both bins are scored; NaN where none is.

    Parameters
    ----------
    counts : ndarray of uint16, shape (n_trials, n_bins)
    scored : ndarray of bool, same shape
    n_lags : int

    Returns
    -------
    ndarray of float64, shape (n_lags,)
    """
    pairs, exposure = _pair_counts(counts, scored, n_lags)
    return np.divide(pairs, exposure, out=np.full(n_lags, np.nan), where=exposure > 0.0)


def fano_windows(scored: np.ndarray, bin_s: float) -> np.ndarray:
    """Give window lengths in bins that fit into the scored stretch; the whole stretch is the last."""
    longest = stretch_of(scored).stop - stretch_of(scored).start
    lengths = {round(window_s / bin_s) for window_s in _FANO_WINDOWS_S}
    return np.array(sorted({n for n in lengths if 1 <= n < longest} | {longest}), dtype=np.int64)


def fano_factor(counts: np.ndarray, trials: UnitTrials, n_window: int) -> float:
    """Give the variance over trials of the count in a window, over its mean.

    Windows lie side by side from the first scored bin on; variances (unbiased) and means are added over windows and
    conditions, so that neither a PSTH nor a difference of conditions enters. A window that was not wholly scored in
    a trial does without it.

    Parameters
    ----------
    counts : ndarray of uint16, shape (n_trials, n_bins)
        Counts of the trials or of a copy of them.
    trials : UnitTrials
        Masks and conditions.
    n_window : int
        Length in bins.

    Returns
    -------
    float
        NaN without spikes, or where no window was scored in two trials of a condition.
    """
    stretch = stretch_of(trials.scored)
    n_windows = (stretch.stop - stretch.start) // n_window
    in_window, is_whole = _window_counts(counts, trials.scored, stretch.start, n_windows, n_window)
    variance, mean = 0.0, 0.0
    for condition in np.unique(trials.condition):
        members = trials.condition == condition
        n = is_whole[members].sum(axis=0)
        total = in_window[members].sum(axis=0)
        squares = (in_window[members] ** 2).sum(axis=0)
        enough = n > 1
        n, total, squares = n[enough], total[enough], squares[enough]
        variance += float(((squares - total**2 / n) / (n - 1)).sum())
        mean += float((total / n).sum())
    return variance / mean if mean > 0.0 else math.nan


def psth(values: np.ndarray, trials: UnitTrials, n_box: int) -> np.ndarray:
    """Average counts, or expected counts, over the trials of each condition in boxes of `n_box` bins.

    Parameters
    ----------
    values : ndarray, shape (n_trials, n_bins)
    trials : UnitTrials
        Masks and conditions.
    n_box : int

    Returns
    -------
    ndarray of float64, shape (n_conditions, n_boxes)
        Per bin; NaN where no trial was scored.
    """
    stretch = stretch_of(trials.scored)
    edges = np.arange(0, stretch.stop - stretch.start, n_box)
    rows = []
    for condition in np.unique(trials.condition):
        members = trials.condition == condition
        shown = trials.scored[members, stretch]
        total = np.add.reduceat(np.where(shown, values[members, stretch], 0.0).sum(axis=0), edges)
        exposure = np.add.reduceat(shown.sum(axis=0), edges)
        rows.append(np.divide(total, exposure, out=np.full(edges.size, np.nan), where=exposure > 0))
    return np.array(rows)


def psth_r2(observed: np.ndarray, predicted: np.ndarray) -> float:
    """Give the coefficient of determination of one PSTH by another, conditions laid end to end (NLB).

    Parameters
    ----------
    observed, predicted : ndarray, shape (n_conditions, n_boxes)
        Boxes that are NaN in either are left out.

    Returns
    -------
    float
        At most 1, and negative where the mean would predict better; NaN for a flat `observed`.
    """
    kept = np.isfinite(observed) & np.isfinite(predicted)
    truth, guess = observed[kept], predicted[kept]
    total = float(((truth - truth.mean()) ** 2).sum()) if truth.size else 0.0
    return 1.0 - float(((truth - guess) ** 2).sum()) / total if total > 0.0 else math.nan


def refractory_mass(counts: np.ndarray, trials: UnitTrials, log_mu: np.ndarray | None = None) -> float:
    """Give the share of the scored spikes that come within 2 ms of the spike before.

    Parameters
    ----------
    counts : ndarray of uint16, shape (n_trials, n_bins)
        Spikes, whose burn-in counts as spikes before.
    trials : UnitTrials
        Masks.
    log_mu : ndarray, shape (n_trials, n_bins), optional
        With it the share of the spikes that this expects there, given the same spikes before.

    Returns
    -------
    float
        NaN where no spike is, or is expected.
    """
    n_lags = max(1, round(REFRACTORY_S / trials.bin_s))
    steps = age_steps(counts, trials.observed, n_lags)
    base = np.zeros(counts.shape) if log_mu is None else np.ascontiguousarray(log_mu)
    spikes, expected = sum_by_step(counts, trials.scored, base, steps, n_lags + 2)
    mass = (spikes if log_mu is None else expected).sum(axis=0)
    return float(mass[1 : n_lags + 1].sum() / mass.sum()) if mass.sum() > 0.0 else math.nan


def fastest_windows(counts: np.ndarray, scored: np.ndarray, n_window: int) -> np.ndarray:
    """Give the largest number of scored spikes in any `n_window` bins of every trial, shape (n_trials,)."""
    running = np.cumsum(np.pad(np.where(scored, counts, 0).astype(np.int64), ((0, 0), (1, 0))), axis=1)
    n_window = min(n_window, counts.shape[1])
    return (running[:, n_window:] - running[:, :-n_window]).max(axis=1)


def stretch_of(scored: np.ndarray) -> slice:
    """Give the bins from the first to the last that is scored in some trial; empty without any."""
    bins = np.flatnonzero(scored.any(axis=0))
    return slice(int(bins[0]), int(bins[-1]) + 1) if bins.size else slice(0, 0)


@numba.njit(cache=True, nogil=True)
def _window_counts(counts, scored, start, n_windows, n_window):
    """Count the spikes of windows that lie side by side; 0 where a window is not wholly scored."""
    in_window = np.zeros((counts.shape[0], n_windows), np.int64)
    is_whole = np.ones((counts.shape[0], n_windows), np.bool_)
    for i in range(counts.shape[0]):
        for w in range(n_windows):
            first, total = start + w * n_window, 0
            for t in range(first, first + n_window):
                total += counts[i, t]
                is_whole[i, w] &= scored[i, t]
            in_window[i, w] = total if is_whole[i, w] else 0
    return in_window, is_whole


def _contrasts(intervals: Intervals) -> np.ndarray:
    """Give ``(b - a) / (a + b)`` of successive intervals a, b that are not both within a bin."""
    second = np.flatnonzero(intervals.follows)
    a, b = intervals.n_bins[second - 1], intervals.n_bins[second]
    is_long = a + b > 0
    return (b - a)[is_long] / (a + b)[is_long]


@numba.njit(cache=True, nogil=True)
def _find_intervals(counts, scored, n_spikes):
    """Walk through the trials; at most one interval a spike."""
    n_bins = np.empty(n_spikes, np.int64)
    follows = np.empty(n_spikes, np.bool_)
    k = 0
    for i in range(counts.shape[0]):
        last = -1
        is_second = False
        for t in range(counts.shape[1]):
            if not scored[i, t]:
                last = -1
                is_second = False
                continue
            for _ in range(counts[i, t]):
                if last >= 0:
                    n_bins[k] = t - last
                    follows[k] = is_second
                    k += 1
                    is_second = True
                last = t
    return n_bins[:k].copy(), follows[:k].copy()


@numba.njit(cache=True, nogil=True)
def _pair_counts(counts, scored, n_lags):
    """Count pairs of spikes, and spikes whose partner's bin is scored, at lags of 1 to n_lags bins."""
    pairs = np.zeros(n_lags)
    exposure = np.zeros(n_lags)
    n_bins = counts.shape[1]
    for i in range(counts.shape[0]):
        for t in range(n_bins):
            if not scored[i, t] or counts[i, t] == 0:
                continue
            for lag in range(1, min(n_lags, n_bins - 1 - t) + 1):
                if scored[i, t + lag]:
                    exposure[lag - 1] += counts[i, t]
                    pairs[lag - 1] += float(counts[i, t]) * counts[i, t + lag]
    return pairs, exposure
