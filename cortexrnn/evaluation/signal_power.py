"""How much of the variance of a unit's rate all its trials share (Sahani and Linden 2003)."""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np

from cortexrnn.encoding.arrays import UnitTrials
from cortexrnn.encoding.spike_statistics import stretch_of

BOX_S = 0.02
# A jackknife over trials of a condition needs as many.
MIN_TRIALS = 3
_ROUND_OFF = 1e-10


class SignalPower(NamedTuple):
    """Variance over time of the rate that all trials share, conditions laid end to end.

    Attributes
    ----------
    value : float
        Unbiased, so that it may be negative; NaN where no condition has three trials.
    error : float
        Standard error, by the jackknife over trials.
    single_trial : float
        Mean variance over time of single trials, signal and noise together.
    n_trials : int
        Trials that entered.
    """

    value: float
    error: float
    single_trial: float
    n_trials: int

    @property
    def is_reliable(self) -> bool:
        """Whether there is a signal of more than one standard error."""
        return self.value > 0.0 and self.value >= self.error


def box_rates(values: np.ndarray, trials: UnitTrials, box_s: float = BOX_S) -> np.ndarray:
    """Give the rate in boxes from the first scored bin on.

    Parameters
    ----------
    values : ndarray, shape (n_trials, n_bins)
        Counts, or expected counts.
    trials : UnitTrials
        Masks and the width of a bin.
    box_s : float
        Width of a box in seconds.

    Returns
    -------
    ndarray of float64, shape (n_trials, n_boxes)
        In Hz; NaN where a bin of the box was not scored. Bins that fill no box are left out.
    """
    stretch = stretch_of(trials.scored)
    width = min(max(1, round(box_s / trials.bin_s)), max(stretch.stop - stretch.start, 1))
    n_boxes = (stretch.stop - stretch.start) // width
    used = slice(stretch.start, stretch.start + n_boxes * width)
    shape = (trials.n_trials, n_boxes, width)
    is_whole = trials.scored[:, used].reshape(shape).all(axis=2)
    rates = values[:, used].reshape(shape).sum(axis=2, dtype=float) / (width * trials.bin_s)
    return np.where(is_whole, rates, np.nan)


def signal_power(rates: np.ndarray, condition: np.ndarray) -> SignalPower:
    """Estimate the variance over time of the rate that the trials of a condition share.

    Parameters
    ----------
    rates : ndarray of float, shape (n_trials, n_boxes)
        NaN where nobody recorded.
    condition : ndarray, shape (n_trials,)
        Condition of each trial; conditions with fewer than three trials are left out.

    Returns
    -------
    SignalPower
        In the square of the rates' unit.

    Notes
    -----
    For one condition of N trials this is ``(N P(mean_n r_n) - mean_n P(r_n)) / (N - 1)`` with P the variance over time
    (Sahani and Linden 2003, Neural Information Processing Systems 15, eq. 1): the mean over pairs of trials of their
    covariance over time. In that form conditions may differ in their number of trials. Where some boxes of a trial are
    missing, the part of the mean rate is weighted approximately.
    """
    groups = [rates[condition == c] for c in np.unique(condition)]
    groups = [group[np.isfinite(group).any(axis=1)] for group in groups]
    groups = [group for group in groups if len(group) >= MIN_TRIALS]
    if not groups:
        return SignalPower(math.nan, math.nan, math.nan, 0)
    terms = np.array([_pair_terms(group) for group in groups])
    variance = 0.0
    for c, group in enumerate(groups):
        without = np.empty(len(group))
        for n in range(len(group)):
            changed = terms.copy()
            changed[c] = _pair_terms(np.delete(group, n, axis=0))
            without[n] = _combine(changed)[0]
        variance += (len(group) - 1) * float(without.var())
    value, single = _combine(terms)
    # Trials that are flat, each at its own rate, leave a signal of round-off.
    if abs(value) < _ROUND_OFF * np.nanmean(rates**2):
        value = 0.0
    return SignalPower(value, math.sqrt(variance), single, sum(map(len, groups)))


def explained_power(
    rates: np.ndarray, predicted: np.ndarray, condition: np.ndarray, fold: np.ndarray, power: SignalPower
) -> float:
    """Give the share of the signal power that a prediction of held-out trials explains (SPE).

    Parameters
    ----------
    rates : ndarray of float, shape (n_trials, n_boxes)
        Measured rates; NaN where nobody recorded.
    predicted : ndarray of float, shape (n_trials, n_boxes)
        Rates predicted by models that saw neither the trial nor its spikes.
    condition, fold : ndarray, shape (n_trials,)
        Condition of each trial and the fold in which it was held out.
    power : SignalPower
        From `signal_power`.

    Returns
    -------
    float
        ``(P(mean r) - P(mean r - prediction)) / P_signal``, the mean over folds; NaN where the signal is not reliable.
    """
    if not power.is_reliable:
        return math.nan
    explained = weight = 0.0
    for k in np.unique(fold):
        measured, guess = [], []
        for c in np.unique(condition[fold == k]):
            members = (fold == k) & (condition == c)
            seen = np.isfinite(rates[members])
            n = seen.sum(axis=0)
            kept = n > 0
            for values, rows in ((rates, measured), (predicted, guess)):
                rows.append(np.where(seen, values[members], 0.0).sum(axis=0)[kept] / n[kept])
        mean, expected = np.concatenate(measured), np.concatenate(guess)
        if mean.size:
            n_held = float((fold == k).sum())
            explained += n_held * (mean.var() - (mean - expected).var())
            weight += n_held
    return float(explained / weight / power.value) if weight else math.nan


def _pair_terms(rates: np.ndarray) -> tuple[float, ...]:
    """Sum over the boxes of a condition what pairs of its trials, and single trials, say of power and mean.

    Gives the number of boxes; the sum over boxes of the mean product of two trials, and of a trial with itself; the sum
    of the mean rates; and the mean product of two trials' sums, and of a sum with itself.
    """
    seen = np.isfinite(rates)
    n = seen.sum(axis=0)
    kept = n >= 2
    n, values = n[kept], np.where(seen, rates, 0.0)[:, kept]
    total, squares = values.sum(axis=0), (values**2).sum(axis=0)
    pairs, own = ((total**2 - squares) / (n * (n - 1))).sum(), (squares / n).sum()
    # A trial's share of the sum of means; where every box has all trials, its own sum over their number.
    shares = (values / n).sum(axis=1)
    n_trials = len(rates)
    shared_squares = (shares**2).sum()
    summed = (shares.sum() ** 2 - shared_squares) * n_trials / (n_trials - 1)
    return n.size, pairs, own, shares.sum(), summed, n_trials * shared_squares


def _combine(terms: np.ndarray) -> tuple[float, float]:
    """Give variance over all conditions' boxes of what trials share, and of single trials."""
    n_boxes, pairs, own, sums, summed, summed_own = terms.T
    size = n_boxes.sum()
    between = sums.sum() ** 2 - (sums**2).sum()
    signal = pairs.sum() / size - (between + summed.sum()) / size**2
    single = own.sum() / size - (between + summed_own.sum()) / size**2
    return float(signal), float(single)
