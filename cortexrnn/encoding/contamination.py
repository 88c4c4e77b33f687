"""A guard against spikes of other neurons: a small share of any rung's spikes comes at a constant rate.

A rung that has learned a dead time expects almost nothing there, and a single stray spike of a held-out trial, a
sorting error, would cost it more than it gained on hundreds of others. With a share ``e`` of foreign spikes the cost of
such a spike over a constant rate is at most ``log2(1 / e)`` bits.
"""

from __future__ import annotations

from dataclasses import dataclass

import numba
import numpy as np
from scipy.optimize import brentq

from cortexrnn.encoding.arrays import UnitTrials
from cortexrnn.encoding.likelihood import BERNOULLI, likelihood_code
from cortexrnn.encoding.model import Fitted, Rung
from cortexrnn.encoding.stepping import Stepper
from cortexrnn.numerics.elementwise import softplus64


@dataclass(frozen=True, kw_only=True, slots=True)
class Guarded(Rung):
    """``(1 - e) mu + e mean(mu)``: mu of the rung below, and a share e of foreign spikes at its mean.

    The share is that of the highest likelihood on the training trials, which is concave in it, but at least half a
    spike among all of them, (1/2) / (N + 1): training trials without a stray spike do not promise that none will come.
    The mean is taken over the training bins, so that the mixture expects as many spikes as the rung itself.

    Attributes
    ----------
    baseline : Rung
        The rung that is guarded.
    likelihood : {"poisson", "bernoulli"}
        Observation model that is maximised.
    """

    baseline: Rung
    likelihood: str = "poisson"

    @property
    def name(self) -> str:
        """That of the rung with a word behind."""
        return f"{self.baseline.name} guarded"

    @property
    def meaning(self) -> str:
        """That of the rung with a word behind."""
        return f"{self.baseline.meaning}, guarded"

    @property
    def sees_history(self) -> bool:
        """Whether the rung does."""
        return self.baseline.sees_history

    @property
    def is_candidate(self) -> bool:
        """Whether the rung is."""
        return self.baseline.is_candidate

    @property
    def needs_neighbours(self) -> bool:
        """Whether the rung does."""
        return self.baseline.needs_neighbours

    def fit_on(self, trials: UnitTrials, below: Fitted | None, log_mu: np.ndarray) -> FittedGuard:
        """Find the share of foreign spikes."""
        code = likelihood_code(self.likelihood, trials.counts)
        spikes, scored = trials.counts[trials.scored].astype(float), log_mu[trials.scored]
        # The mean of a rung that runs away somewhere must still be a number.
        mean = float(np.exp(np.minimum(scored, 700.0)).mean()) if scored.size else 1.0
        share = foreign_share(spikes[spikes > 0.0], scored[spikes > 0.0], mean, code)
        return FittedGuard(below=below, share=share, mean=mean)


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class FittedGuard(Fitted):
    """A fitted guard.

    Attributes
    ----------
    share : float
        Share of foreign spikes.
    mean : float
        Their expected count of a bin over that share: the mean over the training bins.
    """

    below: Fitted | None
    share: float
    mean: float

    @property
    def validation_log_likelihood(self) -> float:
        """That of the rung below, by which history rungs are chosen."""
        return self.below.validation_log_likelihood

    def extend(self, trials: UnitTrials, log_mu: np.ndarray) -> np.ndarray:
        """Mix bin by bin."""
        return self.mix(log_mu)

    def mix(self, log_mu: np.ndarray) -> np.ndarray:
        """Give the logarithm of the mixture; any shape."""
        with np.errstate(divide="ignore"):
            own = np.log1p(-self.share)
        mixed = np.empty(log_mu.size)
        _mix(np.ascontiguousarray(log_mu).ravel(), own, np.log(self.share) + np.log(self.mean), mixed)
        return mixed.reshape(log_mu.shape)

    def stepper(self, trials: UnitTrials) -> GuardStepper:
        """Give the mixture one bin at a time."""
        return GuardStepper(self)


def guarded(rung: Rung) -> Rung:
    """Give a rung that sees history with a guard, whose likelihood is its own; any other as it is.

    Parameters
    ----------
    rung : Rung

    Returns
    -------
    Rung
    """
    if not rung.sees_history or isinstance(rung, Guarded):
        return rung
    return Guarded(baseline=rung, likelihood=getattr(rung, "likelihood", "poisson"))


class GuardStepper(Stepper):
    """The mixture of a fitted guard, which has no state."""

    def __init__(self, fitted: FittedGuard):
        self._fitted = fitted

    def predict(self, t: int, below: np.ndarray) -> np.ndarray:
        """Mix what the rung below expects."""
        return self._fitted.mix(below)

    def update(self, t: int, counts: np.ndarray) -> None:
        """Nothing is carried on."""


@numba.njit(cache=True, nogil=True, fastmath={"contract"}, error_model="numpy")
def _mix(log_mu, own, foreign, mixed):
    """Add exponentials: ``log(exp(own + log_mu) + exp(foreign))``."""
    for i in range(log_mu.size):
        mixed[i] = foreign + softplus64(own + log_mu[i] - foreign)


def foreign_share(spikes: np.ndarray, log_mu: np.ndarray, mean: float, likelihood: int) -> float:
    """Give the share of foreign spikes of the highest likelihood, at least half a spike among all.

    Because the mixture expects as many spikes in all bins whatever the share, only bins with spikes enter: the slope
    is ``sum y (mean - mu) / mix`` for Poisson counts, ``sum (mean - mu) / (1 - exp(-mix))`` for one spike at most.

    Parameters
    ----------
    spikes, log_mu : ndarray of float, shape (n_spiking_bins,)
        Counts of the bins with spikes, and the log of what was expected of them.
    mean : float
        Mean of what was expected, over all bins.
    likelihood : int
        `POISSON` or `BERNOULLI`.

    Returns
    -------
    float
        From ``0.5 / (N + 1)`` to 1.
    """
    least = 0.5 / (float(spikes.sum()) + 1.0)
    mu = np.exp(np.minimum(log_mu, 700.0))

    def slope(share: float) -> float:
        mix = (1.0 - share) * mu + share * mean
        weight = 1.0 / -np.expm1(-mix) if likelihood == BERNOULLI else spikes / mix
        return float(np.sum((mean - mu) * weight))

    if slope(least) <= 0.0:
        return least
    return 1.0 if slope(1.0) >= 0.0 else float(brentq(slope, least, 1.0, xtol=1e-12))
