"""Against run-away generation: whether a fitted rung runs away on its training trials, and how little stops it.

One-step prediction on recorded spikes says nothing of what a model does on its own (Gerhard, Deger and Truccolo 2017,
doi:10.1371/journal.pcbi.1005390). The remedies of the rungs are therefore as strong as copies of the training trials
ask for, and no stronger: a rung that is stable is left as it is.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

import numpy as np

from cortexrnn.encoding.arrays import UnitTrials
from cortexrnn.encoding.divergence import find_divergent, shortest_interval
from cortexrnn.encoding.model import Fitted
from cortexrnn.encoding.simulation import simulate_copies
from cortexrnn.encoding.stepping import Stepper

LINKS = ("log", "bounded")
# Strengths of a remedy between none and the strongest.
N_LEVELS = 32
_N_COPIES = 20
# Not the seed that free runs have by default: a rung must not be chosen by the copies it is judged by.
_SEED = 2017

Candidate = TypeVar("Candidate", bound=Fitted)


def runs_away(fitted: Fitted, trials: UnitTrials, likelihood: str) -> bool:
    """Tell whether one of 20 copies of some trial runs away, as `find_divergent` has it.

    Parameters
    ----------
    fitted : Fitted
        With all rungs below it.
    trials : UnitTrials
        Training trials.
    likelihood : {"poisson", "bernoulli"}

    Returns
    -------
    bool

    Raises
    ------
    NumericalError
        If the prediction is NaN.
    """
    if not trials.scored.any():
        return False
    copies = simulate_copies(fitted, trials, n_copies=_N_COPIES, likelihood=likelihood, seed=_SEED)
    return bool(find_divergent(trials, copies, shortest_interval(trials))[0].any())


def mildest(build: Callable[[int], Candidate], trials: UnitTrials, likelihood: str) -> Candidate:
    """Give the model of a remedy one level above the mildest with which it does not run away, found by bisection.

    The level above is a margin: the copies of a bisection are few, and the one that passed may have been lucky.

    Parameters
    ----------
    build : callable
        Gives the fitted rung with a remedy of strength 0 (none) to `N_LEVELS` (the strongest).
    trials : UnitTrials
        Training trials.
    likelihood : {"poisson", "bernoulli"}

    Returns
    -------
    Fitted
        That without a remedy where it is stable; that of the strongest where no other is, whether it is or not.
    """
    plain = build(0)
    if not runs_away(plain, trials, likelihood):
        return plain
    unstable, stable = 0, N_LEVELS
    while stable - unstable > 1:
        level = (unstable + stable) // 2
        if runs_away(build(level), trials, likelihood):
            unstable = level
        else:
            stable = level
    return build(min(stable + 1, N_LEVELS))


def bound_levels(trials: UnitTrials, log_mu: np.ndarray) -> np.ndarray:
    """Give the bounds of a bounded link by level, from none to the mean count.

    Parameters
    ----------
    trials : UnitTrials
        Training trials.
    log_mu : ndarray, shape (n_trials, n_bins)
        What the rung without a bound expects of them.

    Returns
    -------
    ndarray, shape (N_LEVELS + 1,)
        Largest log mu: at level 0 infinite, then at equal steps from the largest in a scored bin to the log of the
        mean.
    """
    scored = log_mu[trials.scored]
    highest, mean = float(scored.max()), float(np.log(np.exp(np.minimum(scored, 700.0)).mean()))
    return np.r_[np.inf, np.linspace(highest, mean, N_LEVELS + 1)[1:]]


class BoundedStepper(Stepper):
    """A stepper whose log mu has a bound.

    Parameters
    ----------
    stepper : Stepper
    log_bound : float
        Largest log mu.
    """

    def __init__(self, stepper: Stepper, log_bound: float):
        self._stepper, self._log_bound = stepper, log_bound

    def predict(self, t: int, below: np.ndarray) -> np.ndarray:
        """Give what the rung says, up to the bound."""
        return np.minimum(self._stepper.predict(t, below), self._log_bound)

    def update(self, t: int, counts: np.ndarray) -> None:
        """Pass the spikes on."""
        self._stepper.update(t, counts)
