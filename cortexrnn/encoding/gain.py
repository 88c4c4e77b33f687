"""M3: a gain that differs from trial to trial, read causally from the trial's own spikes so far."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numba
import numpy as np

from cortexrnn.encoding.arrays import UnitTrials
from cortexrnn.encoding.drift import Drift, expected_per_trial
from cortexrnn.encoding.model import Fitted, Rung
from cortexrnn.encoding.overdispersion import gain_variance
from cortexrnn.encoding.stepping import GainStepper


@dataclass(frozen=True, kw_only=True, slots=True)
class CausalGain(Rung):
    """Gamma-Poisson predictive: mu_t = base_t (a + N_<t) / (a + L_<t).

    `N` counts the trial's scored spikes so far, `L` sums their expectation, both from zero in every
    trial; `1/a` is the variance of a Gamma-distributed trial gain. The product over a trial is the
    negative-binomial probability of its count, so that a trial gain is captured exactly, and what
    a history rung adds to it is no gain fluctuation.
    """

    name: ClassVar[str] = "M3"
    meaning: ClassVar[str] = "trial gain, causal"
    baseline: Rung | None = Drift()

    def fit_on(self, trials: UnitTrials, below: Fitted | None, log_mu: np.ndarray) -> FittedGain:
        """Estimate the gain variance by the negative-binomial likelihood of the trial counts."""
        spikes = trials.spikes_per_trial.astype(float)
        expected = expected_per_trial(trials, log_mu)
        return FittedGain(below=below, variance=gain_variance(spikes, expected))


@dataclass(frozen=True, kw_only=True, slots=True)
class FittedGain(Fitted):
    """A fitted trial gain; `variance` is that of the gain, 0 for none."""

    below: Fitted | None
    variance: float

    def extend(self, trials: UnitTrials, log_mu: np.ndarray) -> np.ndarray:
        """Multiply by the predictive gain given the trial's spikes so far."""
        if self.variance == 0.0:
            return log_mu
        return _apply_gain(trials.counts, trials.scored, np.ascontiguousarray(log_mu), 1.0 / self.variance)

    def stepper(self, trials: UnitTrials) -> GainStepper:
        """Give the gain one bin at a time."""
        return GainStepper(self.variance, trials)


@numba.njit(cache=True, nogil=True)
def _apply_gain(counts, scored, log_mu, a):
    """Log of base_t (a + N_<t) / (a + L_<t); unscored bins pass without counting."""
    out = log_mu.copy()
    for i in range(counts.shape[0]):
        spikes = 0.0
        expected = 0.0
        log_gain = 0.0
        for t in range(counts.shape[1]):
            if scored[i, t]:
                log_gain = np.log((a + spikes) / (a + expected))
                out[i, t] += log_gain
                spikes += counts[i, t]
                expected += np.exp(log_mu[i, t])
            else:
                out[i, t] += log_gain
    return out
