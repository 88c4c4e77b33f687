"""M0: one rate for everything."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from cortexrnn.encoding.arrays import UnitTrials
from cortexrnn.encoding.model import Fitted, Rung


def mean_count(trials: UnitTrials) -> float:
    """Give the expected count of a bin, (N + 1/2) / T, which is positive also without any spike."""
    n_bins = max(int(trials.scored.sum()), 1)
    return float((trials.spikes_per_trial.sum() + 0.5) / n_bins)


@dataclass(frozen=True, kw_only=True, slots=True)
class Constant(Rung):
    """Homogeneous Poisson process with the mean rate of the training trials."""

    name: ClassVar[str] = "M0"
    meaning: ClassVar[str] = "constant rate"
    baseline: Rung | None = None

    def fit_on(self, trials: UnitTrials, below: Fitted | None, log_mu: np.ndarray) -> FittedConstant:
        """Take the mean count of the training trials."""
        return FittedConstant(below=below, mu=mean_count(trials))


@dataclass(frozen=True, kw_only=True, slots=True)
class FittedConstant(Fitted):
    """A fitted constant rate; `mu` is the expected count of a bin."""

    looks_at_spikes: ClassVar[bool] = False
    below: Fitted | None
    mu: float

    def extend(self, trials: UnitTrials, log_mu: np.ndarray) -> np.ndarray:
        """Give the same log mu for every bin."""
        return np.full(trials.counts.shape, np.log(self.mu))
