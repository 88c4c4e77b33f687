"""M4: a factor that depends on the time since the last spike."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numba
import numpy as np

from cortexrnn.encoding.arrays import UnitTrials
from cortexrnn.encoding.gain import CausalGain
from cortexrnn.encoding.likelihood import likelihood_code, trial_log_likelihood
from cortexrnn.encoding.model import Fitted, Rung
from cortexrnn.encoding.stepping import AgeStepper
from cortexrnn.spikes.folds import assign_folds, validation_split


@dataclass(frozen=True, kw_only=True, slots=True)
class Renewal(Rung):
    """Trial gain times f(time since the last spike), a step function with one step a bin.

    Times beyond `window_s` share one step. For Poisson counts the steps have a closed form,
    ``f = (n + k) / (E + k)`` with `n` spikes where the rung below expects `E`; the prior count `k`
    pulls rarely visited steps to 1. Before the first spike of a stretch of observed bins the time
    since the last spike is unknown until `window_s` has passed; there f = 1.

    Attributes
    ----------
    window_s : float
        Longest time since the last spike that has a step of its own.
    prior_counts : tuple of float
        Prior counts to choose from by contiguous inner folds.
    likelihood : {"poisson", "bernoulli"}
        Observation model of the validation score, so that it compares with that of other history
        rungs; the steps are those of Poisson counts in both.
    """

    name: ClassVar[str] = "M4"
    meaning: ClassVar[str] = "time since the last spike"
    sees_history: ClassVar[bool] = True
    baseline: Rung | None = CausalGain()
    window_s: float = 0.01
    prior_counts: tuple[float, ...] = (0.5, 2.0, 8.0, 32.0, 128.0)
    likelihood: str = "poisson"

    def fit_on(self, trials: UnitTrials, below: Fitted | None, log_mu: np.ndarray) -> FittedRenewal:
        """Choose the prior count and take the ratio of observed to expected spikes at every step."""
        code = likelihood_code(self.likelihood, trials.counts)
        n_lags = max(1, round(self.window_s / trials.bin_s))
        steps = age_steps(trials.counts, trials.observed, n_lags)
        spikes, expected = sum_by_step(trials.counts, trials.scored, np.ascontiguousarray(log_mu), steps, n_lags + 2)
        prior_count = self._choose(spikes, expected)
        is_validation = validation_split(trials.condition)
        kept = _log_factor(spikes[~is_validation], expected[~is_validation], prior_count)
        held_out = (log_mu + kept[steps])[is_validation]
        return FittedRenewal(
            below=below,
            log_factor=_log_factor(spikes, expected, prior_count),
            prior_count=prior_count,
            validation_log_likelihood=float(trial_log_likelihood(trials.take(is_validation), held_out, code).sum()),
        )

    def _choose(self, spikes: np.ndarray, expected: np.ndarray) -> float:
        """Give the prior count with the highest likelihood of inner held-out trials."""
        n_trials = spikes.shape[0]
        if n_trials < 2:
            return max(self.prior_counts)
        fold = assign_folds(np.zeros(n_trials), min(5, n_trials))
        scores = np.zeros(len(self.prior_counts))
        for k in range(int(fold.max()) + 1):
            n_train, e_train = spikes[fold != k].sum(axis=0), expected[fold != k].sum(axis=0)
            n_test, e_test = spikes[fold == k].sum(axis=0), expected[fold == k].sum(axis=0)
            for j, prior_count in enumerate(self.prior_counts):
                log_factor = _log_factor(n_train[None], e_train[None], prior_count)
                scores[j] += float(np.sum(n_test * log_factor - e_test * np.exp(log_factor)))
        return self.prior_counts[int(np.argmax(scores))]


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class FittedRenewal(Fitted):
    """A fitted renewal factor.

    Attributes
    ----------
    log_factor : ndarray, shape (n_lags + 2,)
        Log factor where the time since the last spike is unknown (first, zero), is 1, 2, ... bins,
        and is longer (last).
    prior_count : float
        Chosen prior count.
    validation_log_likelihood : float
        Score on the validation trials, by which history rungs are chosen, in nats.
    """

    below: Fitted | None
    log_factor: np.ndarray
    prior_count: float
    validation_log_likelihood: float

    def extend(self, trials: UnitTrials, log_mu: np.ndarray) -> np.ndarray:
        """Add the log factor of each bin's time since the last spike."""
        return log_mu + self.log_factor[age_steps(trials.counts, trials.observed, self.log_factor.size - 2)]

    def stepper(self, trials: UnitTrials) -> AgeStepper:
        """Give the factor one bin at a time."""
        return AgeStepper(self.log_factor, trials)


def _log_factor(spikes: np.ndarray, expected: np.ndarray, prior_count: float) -> np.ndarray:
    """Log ratio of observed to expected spikes at every step, over trials; 0 where the step is unknown."""
    log_factor = np.log((spikes.sum(axis=0) + prior_count) / (expected.sum(axis=0) + prior_count))
    log_factor[0] = 0.0
    return log_factor


@numba.njit(cache=True, nogil=True)
def age_steps(counts, observed, n_lags):
    """Give 0 where the bins since the last spike are unknown, their number up to n_lags, else n_lags + 1."""
    steps = np.zeros(counts.shape, np.int64)
    for i in range(counts.shape[0]):
        age = 0
        silent = 0
        for t in range(counts.shape[1]):
            if age > 0:
                steps[i, t] = min(age, n_lags + 1)
            elif silent >= n_lags:
                steps[i, t] = n_lags + 1
            if not observed[i, t]:
                age = 0
                silent = 0
            elif counts[i, t] > 0:
                age = 1
            else:
                silent += 1
                if age > 0:
                    age += 1
    return steps


@numba.njit(cache=True, nogil=True)
def sum_by_step(counts, scored, log_mu, steps, n_steps):
    """Sum spikes and expected counts of the scored bins by trial and step; both (n_trials, n_steps)."""
    spikes = np.zeros((counts.shape[0], n_steps))
    expected = np.zeros((counts.shape[0], n_steps))
    for i in range(counts.shape[0]):
        for t in range(counts.shape[1]):
            if scored[i, t]:
                spikes[i, steps[i, t]] += counts[i, t]
                expected[i, steps[i, t]] += np.exp(log_mu[i, t])
    return spikes, expected
