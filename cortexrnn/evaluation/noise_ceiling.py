"""What a stimulus-locked rate can reach: the ceiling of M1, in signal power and in bits per spike."""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import numpy as np

from cortexrnn.encoding.arrays import UnitTrials
from cortexrnn.encoding.likelihood import LIKELIHOODS, mean_likelihood, trial_log_likelihood
from cortexrnn.encoding.psth import PSTH
from cortexrnn.evaluation.scores import Gain, finite_or_none, gain_interval
from cortexrnn.evaluation.signal_power import (
    BOX_S,
    MIN_TRIALS,
    SignalPower,
    box_rates,
    explained_power,
    signal_power,
)
from cortexrnn.evaluation.verdict import MIN_SPIKES
from cortexrnn.evaluation.work import Arrays, UnitCase
from cortexrnn.report.formats import show_interval, show_number

NO_SIGNAL = "no reliable stimulus-locked signal"


class NoiseCeiling(NamedTuple):
    """What a stimulus-locked rate can reach.

    Attributes
    ----------
    power : SignalPower
        In Hz^2, in boxes of 20 ms.
    explained : float
        Share of the signal power that the held-out PSTH (M1) explains; NaN where there is no reliable signal.
    leave_one_out : Gain
        PSTH of all other trials over their mean rate, in bits per spike.
    split_half : Gain
        PSTH of the other half of the trials over the same.
    limit : Gain
        What the PSTH of endless trials would score, extrapolated from both.
    n_spikes : int
        Scored spikes.
    """

    power: SignalPower
    explained: float
    leave_one_out: Gain
    split_half: Gain
    limit: Gain
    n_spikes: int

    @property
    def sentence(self) -> str:
        """Power and scores in words."""
        value, error, single, _ = self.power
        if math.isnan(value):
            return ""
        if not self.power.is_reliable:
            return f"There is {NO_SIGNAL}: signal power {value:.3g} +- {error:.2g} Hz^2."
        words = f"Signal power {value:.3g} +- {error:.2g} Hz^2, {value / single:.0%} of that of single trials"
        words += f"; M1 explains {self.explained:.0%} of it" if math.isfinite(self.explained) else ""
        words = words.replace("%", " %") + "."
        if self.n_spikes < MIN_SPIKES:
            return words
        return (
            f"{words} A PSTH of all other trials scores {_shown(self.leave_one_out)} bits/spike, of half of them "
            f"{_shown(self.split_half)}, of endless trials about {_shown(self.limit)}."
        )

    def to_dict(self) -> dict[str, Any]:
        """Give everything as ``summary.json`` holds it."""
        value, error, single, n_trials = self.power
        gains = {"leave_one_out": self.leave_one_out, "split_half": self.split_half, "limit": self.limit}
        is_enough = self.n_spikes >= MIN_SPIKES
        return {
            "signal_power": finite_or_none(value),
            "signal_power_error": finite_or_none(error),
            "single_trial_power": finite_or_none(single),
            "is_reliable": bool(self.power.is_reliable),
            "explained": finite_or_none(self.explained),
            "n_trials": n_trials,
            "box_s": BOX_S,
            "sentence": self.sentence,
        } | {
            name: {
                "value": finite_or_none(gain.value) if is_enough else None,
                "ci": gain.interval if is_enough else None,
            }
            for name, gain in gains.items()
        }


def noise_ceiling(trials: UnitTrials, fold: np.ndarray, *, likelihood: str = "poisson") -> NoiseCeiling:
    """Measure what a stimulus-locked rate can reach on these trials.

    Parameters
    ----------
    trials : UnitTrials
        All trials of a unit.
    fold : ndarray of int, shape (n_trials,)
        Folds in which the PSTH is held out for `explained`.
    likelihood : {"poisson", "bernoulli", "negative binomial"}
        Observation model; under the negative binomial the PSTH is scored by the Poisson likelihood that it maximises.

    Returns
    -------
    NoiseCeiling

    Notes
    -----
    A PSTH of m trials falls short of the true rate by a variance that goes with 1/m, so that two sizes give the limit.
    The bandwidth is chosen once, on all trials, and its bias stays.
    """
    rates = box_rates(trials.counts, trials)
    power = signal_power(rates, trials.condition)
    explained = math.nan
    if power.is_reliable:
        log_mu = np.empty(trials.counts.shape)
        for k in np.unique(fold):
            log_mu[fold == k] = PSTH().fit(trials.take(fold != k)).log_mu(trials.take(fold == k))
        predicted = box_rates(np.exp(log_mu), trials)
        explained = explained_power(rates, predicted, trials.condition, fold, power)
    return NoiseCeiling(power, explained, *_psth_scores(trials, LIKELIHOODS[mean_likelihood(likelihood)]))


def ceiling_work(case: UnitCase) -> Arrays:
    """Measure the ceiling of a unit as a unit of work, which `read_ceiling` reads.

    Parameters
    ----------
    case : UnitCase

    Returns
    -------
    dict of ndarray
        ``power`` (4,), ``scores`` (3, 6), ``explained`` and ``n_spikes``.
    """
    ceiling = noise_ceiling(case.trials, case.fold, likelihood=case.likelihood)
    return {
        "power": np.array(ceiling.power, dtype=float),
        "scores": np.array([ceiling.leave_one_out, ceiling.split_half, ceiling.limit], dtype=float),
        "explained": np.array(ceiling.explained),
        "n_spikes": np.array(ceiling.n_spikes),
    }


def read_ceiling(arrays: Arrays) -> NoiseCeiling:
    """Read what `ceiling_work` gave.

    Parameters
    ----------
    arrays : dict of ndarray

    Returns
    -------
    NoiseCeiling
    """
    *power, n_trials = arrays["power"].tolist()
    gains = [Gain(*row[:5], int(row[5])) for row in arrays["scores"].tolist()]
    return NoiseCeiling(
        SignalPower(*power, int(n_trials)), float(arrays["explained"]), *gains, int(arrays["n_spikes"])
    )


def _psth_scores(trials: UnitTrials, likelihood: int) -> tuple[Gain, Gain, Gain, int]:
    """Score the PSTH of all other trials, of half of them, and of endless ones, over the mean of all others."""
    trials = trials.take(trials.scored.any(axis=1))
    counts = np.bincount(trials.condition)
    trials = trials.take(counts[trials.condition] >= MIN_TRIALS)
    n_spikes = trials.spikes_per_trial
    if not n_spikes.sum():
        nothing = Gain(math.nan, math.nan, math.nan, math.nan, math.nan, trials.n_trials)
        return nothing, nothing, nothing, 0
    whole = PSTH().fit(trials)
    same_width = PSTH(bandwidths_s=(whole.bandwidth_s,), uses_elephant=False)
    rank = np.empty(trials.n_trials, dtype=np.int64)
    for c in np.unique(trials.condition):
        members = np.flatnonzero(trials.condition == c)
        rank[members] = np.arange(members.size)
    half = rank % 2
    half_log_mu = np.empty(trials.counts.shape)
    for side in (0, 1):
        half_log_mu[half == side] = same_width.fit(trials.take(half != side)).log_mu(trials.take(half == side))
    n_bins = trials.scored.sum(axis=1)
    mean = (n_spikes.sum() - n_spikes + 0.5) / np.maximum(n_bins.sum() - n_bins, 1)
    other_log_mu = whole.on_training(trials, np.zeros(trials.counts.shape))
    constant, others, halves = (
        trial_log_likelihood(trials, np.zeros(trials.counts.shape) + log_mu, likelihood)
        for log_mu in (np.log(mean)[:, None], other_log_mu, half_log_mu)
    )
    size = counts[trials.condition]
    n_half = np.where(half == 0, size // 2, size - size // 2)
    # The score falls short by a / m: with m - 1 and with half of the trials, two equations for limit and a.
    few, many = 1.0 / n_half, 1.0 / (size - 1)
    limit = others + (others - halves) * many / np.where(few > many, few - many, np.inf)
    return (
        gain_interval(others, constant, n_spikes, trials.n_trials),
        gain_interval(halves, constant, n_spikes, 2),
        gain_interval(limit, constant, n_spikes, 2),
        int(n_spikes.sum()),
    )


def _shown(gain: Gain) -> str:
    """Write a gain with its interval."""
    return f"{show_number(gain.value)} {show_interval(gain.interval)}"
