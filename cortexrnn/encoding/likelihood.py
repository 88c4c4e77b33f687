"""The two observation models and the log-likelihood of a trial, which every score derives from."""

from __future__ import annotations

import math

import numba
import numpy as np

from cortexrnn._checks import check_choice
from cortexrnn.encoding.arrays import UnitTrials
from cortexrnn.errors import DataError

POISSON = 0
BERNOULLI = 1
LIKELIHOODS = {"poisson": POISSON, "bernoulli": BERNOULLI}
_SMALLEST_MU = 1e-300


def likelihood_code(name: str, counts: np.ndarray | None = None) -> int:
    """Give the kernels' code of an observation model.

    Parameters
    ----------
    name : {"poisson", "bernoulli"}
        Poisson counts, or at most one spike a bin with p = 1 - exp(-mu) (complementary log-log).
    counts : ndarray, optional
        Counts that the model is meant for.

    Raises
    ------
    OptionError
        If the name is unknown.
    DataError
        If the model is Bernoulli and a bin holds several spikes; counts are never clipped.
    """
    check_choice("likelihood", name, LIKELIHOODS)
    if name == "bernoulli" and counts is not None and counts.size and counts.max() > 1:
        raise DataError(
            f"{int((counts > 1).sum())} bins hold more than one spike (up to {int(counts.max())}); "
            "the Bernoulli likelihood allows one.",
            hint="Use likelihood='poisson' or a smaller bin.",
        )
    return LIKELIHOODS[name]


def trial_log_likelihood(trials: UnitTrials, log_mu: np.ndarray, likelihood: int = POISSON) -> np.ndarray:
    """Sum the log-likelihood over the scored bins of every trial.

    Parameters
    ----------
    trials : UnitTrials
        Counts and which bins are scored.
    log_mu : ndarray of float64, shape (n_trials, n_bins)
        Log of the expected count (Poisson) or of the integrated intensity (Bernoulli) of every bin.
    likelihood : int
        `POISSON` or `BERNOULLI`.

    Returns
    -------
    ndarray of float64, shape (n_trials,)
        Natural-log likelihood, including the Poisson normalisation log(y!).
    """
    return _trial_log_likelihood(trials.counts, trials.scored, np.ascontiguousarray(log_mu), likelihood)


@numba.njit(cache=True, nogil=True)
def _trial_log_likelihood(counts, scored, log_mu, likelihood):
    """Sum of y log mu - mu - log y!, or of y log(1 - exp(-mu)) - (1 - y) mu, over scored bins."""
    total = np.zeros(counts.shape[0])
    for i in range(counts.shape[0]):
        for t in range(counts.shape[1]):
            if not scored[i, t]:
                continue
            y = float(counts[i, t])
            mu = max(math.exp(log_mu[i, t]), _SMALLEST_MU)
            if likelihood == BERNOULLI:
                total[i] += math.log(-math.expm1(-mu)) if y > 0.0 else -mu
            elif y == 0.0:
                # Apart, because 0 times the log of an impossible bin is no number.
                total[i] -= mu
            else:
                total[i] += y * log_mu[i, t] - mu
                if y > 1.0:
                    total[i] -= math.lgamma(y + 1.0)
    return total
