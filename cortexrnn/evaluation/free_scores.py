"""Scores of a model that predicts on the unit's spikes, beside those of one that runs on its own."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from cortexrnn.encoding import spike_statistics as stats
from cortexrnn.encoding.arrays import UnitTrials
from cortexrnn.encoding.likelihood import BERNOULLI, trial_log_likelihood
from cortexrnn.encoding.model import LN2
from cortexrnn.encoding.simulation import Copies

SCORES = ("bits_per_spike", "psth_r2", "psth_bits_per_spike", "rate_hz", "refractory_mass")
# A finite price for spikes where a trial-averaged rate is zero.
_SMALLEST_MU = 1e-9


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Scorer:
    """Scores both ways of running a model on the same trials.

    Attributes
    ----------
    trials : UnitTrials
    likelihood : int
        Code of the observation model.
    psth_hz : ndarray, shape (n_conditions, n_boxes)
        PSTH of the trials.
    n_box : int
        Bins in a box.
    """

    trials: UnitTrials
    likelihood: int
    psth_hz: np.ndarray
    n_box: int

    def teacher_forced(self, log_mu: np.ndarray) -> dict[str, float]:
        """Score predictions that were given the unit's own past spikes, all of `SCORES`."""
        trials = self.trials
        log_mu = np.ascontiguousarray(log_mu)
        expected = -np.expm1(-np.exp(log_mu)) if self.likelihood == BERNOULLI else np.exp(log_mu)
        psth_hz = stats.psth(expected, trials, self.n_box) / trials.bin_s
        gain = self._log_likelihood(trials, log_mu) - self._null(trials)
        return {
            "bits_per_spike": _bits(gain, int(trials.spikes_per_trial.sum())),
            "rate_hz": float(expected[trials.scored].mean() / trials.bin_s),
            "refractory_mass": stats.refractory_mass(trials.counts, trials, np.log(np.maximum(expected, 1e-300))),
        } | self._psth_scores(psth_hz)

    def free_running(self, copies: Copies, psth_hz: np.ndarray) -> dict[str, float]:
        """Score the copies under the model that made them, and the trials under the copies' mean rate."""
        nulls = [self._null(self.trials._replace(counts=counts)) for counts in copies.counts]
        n_spikes = int(copies.counts[:, self.trials.scored].sum())
        gain = float(copies.log_likelihood.sum()) - sum(nulls)
        return {"bits_per_spike": _bits(gain, n_spikes)} | self._psth_scores(psth_hz)

    def _psth_scores(self, psth_hz: np.ndarray) -> dict[str, float]:
        """Score a trial-averaged rate by the trials; NaN where time within the trial has no meaning."""
        if not self.trials.is_locked:
            return {"psth_r2": math.nan, "psth_bits_per_spike": math.nan}
        gain = self._log_likelihood(self.trials, self._spread(psth_hz)) - self._null(self.trials)
        return {
            "psth_r2": stats.psth_r2(self.psth_hz, psth_hz),
            "psth_bits_per_spike": _bits(gain, int(self.trials.spikes_per_trial.sum())),
        }

    def _spread(self, psth_hz: np.ndarray) -> np.ndarray:
        """Give log mu of every bin if the rate were this PSTH and nothing else."""
        trials = self.trials
        stretch = stats.stretch_of(trials.scored)
        _, condition = np.unique(trials.condition, return_inverse=True)
        per_bin = np.repeat(np.nan_to_num(psth_hz) * trials.bin_s, self.n_box, axis=1)
        log_mu = np.zeros(trials.counts.shape)
        log_mu[:, stretch] = np.log(self._level(per_bin[:, : stretch.stop - stretch.start]))[condition]
        return log_mu

    def _level(self, mean: np.ndarray | float) -> np.ndarray:
        """Give the mu that makes this the mean count of a bin."""
        if self.likelihood == BERNOULLI:
            mean = -np.log1p(-np.minimum(mean, 1.0 - 1e-12))
        return np.maximum(mean, _SMALLEST_MU)

    def _null(self, trials: UnitTrials) -> float:
        """Give the log-likelihood of spikes under their own constant rate."""
        level = self._level(float(trials.counts[trials.scored].mean()))
        return self._log_likelihood(trials, np.full(trials.counts.shape, math.log(level)))

    def _log_likelihood(self, trials: UnitTrials, log_mu: np.ndarray) -> float:
        """Sum the log-likelihood over all scored bins."""
        return float(trial_log_likelihood(trials, log_mu, self.likelihood).sum())


def _bits(nats: float, n_spikes: int) -> float:
    """Give bits per spike; NaN without spikes."""
    return float(nats / (n_spikes * LN2)) if n_spikes else math.nan
