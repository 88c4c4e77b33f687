"""Gains in bits per spike with their intervals, all derived from held-out log-likelihoods per trial."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np
from scipy import stats

LN2 = float(np.log(2.0))


class Gain(NamedTuple):
    """A difference of two models in held-out bits per spike.

    Attributes
    ----------
    value : float
        NaN where there are no spikes.
    low, high : float
        95 % interval.
    sd : float
        Standard deviation of a trial's contribution.
    inflation : float
        Factor on the standard error for training sets that share trials.
    n_trials : int
    """

    value: float
    low: float
    high: float
    sd: float
    inflation: float
    n_trials: int

    @property
    def interval(self) -> list[float]:
        """Low and high end of the interval."""
        return [self.low, self.high]


def gain_interval(log_likelihood: np.ndarray, reference: np.ndarray, n_spikes: np.ndarray, n_folds: int) -> Gain:
    """Estimate the gain of one model over another from per-trial held-out log-likelihoods.

    The unit of resampling is the trial. With ``d`` a trial's difference in bits and ``n`` its
    spikes, ``G = sum d / sum n`` and ``e = (d - G n) / mean(n)``; the interval is
    ``G +- t f sd(e) / sqrt(n_trials)`` with ``f = sqrt(1 + K / (K - 1))``, because the K training sets
    share trials (Nadeau and Bengio 2003, doi:10.1023/A:1024068626366).

    Parameters
    ----------
    log_likelihood, reference : ndarray of float, shape (n_trials,)
        Natural-log likelihood of each held-out trial under the two models.
    n_spikes : ndarray of int, shape (n_trials,)
        Scored spikes of each trial.
    n_folds : int
        Number of folds K.

    Returns
    -------
    Gain
        Model minus reference.
    """
    bits = (np.asarray(log_likelihood) - np.asarray(reference)) / LN2
    n_trials = bits.size
    inflation = float(np.sqrt(1.0 + n_folds / (n_folds - 1.0)))
    total = float(np.sum(n_spikes))
    if total == 0.0 or n_trials < 2:
        return Gain(np.nan, np.nan, np.nan, np.nan, inflation, n_trials)
    value, errors = gain_errors(bits, n_spikes)
    sd = float(np.std(errors, ddof=1))
    reach = float(stats.t.ppf(0.975, n_trials - 1)) * inflation * sd / np.sqrt(n_trials)
    return Gain(value, float(value - reach), float(value + reach), sd, inflation, n_trials)


def gain_errors(bits: np.ndarray, n_spikes: np.ndarray) -> tuple[float, np.ndarray]:
    """Give a gain in bits per spike and what each trial contributes to its error.

    Parameters
    ----------
    bits : ndarray of float, shape (n_trials,)
        Difference of two models on each held-out trial, in bits.
    n_spikes : ndarray of int, shape (n_trials,)
        Scored spikes of each trial; some trial must hold one.

    Returns
    -------
    value : float
        ``G = sum d / sum n``.
    errors : ndarray of float, shape (n_trials,)
        ``e = (d - G n) / mean(n)``, whose mean is 0.
    """
    value = float(bits.sum() / float(np.sum(n_spikes)))
    return value, (bits - value * n_spikes) / np.mean(n_spikes)


def finite_or_none(value: float) -> float | None:
    """Give a number that JSON knows: None for NaN and infinity."""
    return float(value) if math.isfinite(value) else None


def read_gain(entry: Mapping[str, Any] | None) -> tuple[float, float, float]:
    """Read value and interval of a gain from a summary; NaN where it has none."""
    if not entry or entry["value"] is None:
        return (math.nan, math.nan, math.nan)
    return (entry["value"], *entry["ci"])
