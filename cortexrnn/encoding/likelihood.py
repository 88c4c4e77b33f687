"""The observation models and the log-likelihood of a trial, which every score derives from.

Poisson and Bernoulli are what rungs maximise, draw from and are rescaled by. The negative binomial is a model of the
scorer: given what a rung expects, the count of a bin varies by ``mu + dispersion mu^2``, with one dispersion for every
unit, rung and training set, of the highest likelihood on the training trials. The rungs themselves maximise the Poisson
likelihood, which finds the right mean whatever the law around it (a quasi-likelihood). At 1 ms, where hardly a bin
holds two spikes, it says nothing that Poisson does not; it is meant for bins of 10 ms and more.
"""

from __future__ import annotations

import math

import numba
import numpy as np
from scipy.optimize import minimize_scalar

from cortexrnn._checks import check_choice
from cortexrnn.encoding.arrays import UnitTrials
from cortexrnn.errors import DataError

POISSON = 0
BERNOULLI = 1
LIKELIHOODS = {"poisson": POISSON, "bernoulli": BERNOULLI}
NEGATIVE_BINOMIAL = "negative binomial"
OBSERVATION_MODELS = (*LIKELIHOODS, NEGATIVE_BINOMIAL)
_DISPERSIONS = (1e-8, 1e4)
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


def mean_likelihood(name: str) -> str:
    """Give the likelihood that rungs maximise where an observation model is scored.

    Parameters
    ----------
    name : {"poisson", "bernoulli", "negative binomial"}

    Returns
    -------
    str
        "poisson" for the negative binomial, else the name.

    Raises
    ------
    OptionError
        If the name is unknown.
    """
    check_choice("likelihood", name, OBSERVATION_MODELS)
    return "poisson" if name == NEGATIVE_BINOMIAL else name


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


def negative_binomial_log_likelihood(trials: UnitTrials, log_mu: np.ndarray, dispersion: float) -> np.ndarray:
    """Sum the negative-binomial log-likelihood over the scored bins of every trial.

    Parameters
    ----------
    trials : UnitTrials
        Counts and which bins are scored.
    log_mu : ndarray of float64, shape (n_trials, n_bins)
        Log of the expected count of every bin.
    dispersion : float
        The variance of a count is ``mu + dispersion mu^2``; 0 gives the Poisson law.

    Returns
    -------
    ndarray of float64, shape (n_trials,)
        Natural-log likelihood, including log(y!).
    """
    log_mu = np.ascontiguousarray(log_mu)
    if dispersion == 0.0:
        return _trial_log_likelihood(trials.counts, trials.scored, log_mu, POISSON)
    return _dispersed_log_likelihood(trials.counts, trials.scored, log_mu, float(dispersion))


def count_dispersion(trials: UnitTrials, log_mu: np.ndarray) -> float:
    """Estimate the dispersion of the counts around what is expected, by maximum likelihood.

    Parameters
    ----------
    trials : UnitTrials
        Training trials.
    log_mu : ndarray of float64, shape (n_trials, n_bins)
        Log of the expected count of every bin, each trial's from the others where a rung leaves it out.

    Returns
    -------
    float
        From 1e-8 to 1e4, or 0 where the counts vary no more than Poisson counts do, or there is no spike.

    Notes
    -----
    The likelihood rises from 0 where ``sum (y - mu)^2 - y`` is positive (the score test of Dean and Lawless 1989,
    doi:10.1080/01621459.1989.10478792).
    """
    y, mu = trials.counts[trials.scored].astype(float), np.exp(np.minimum(log_mu[trials.scored], 700.0))
    # Silence alone would be met best by the largest dispersion there is.
    if not y.any() or not np.sum((y - mu) ** 2 - y) > 0.0:
        return 0.0
    log_mu = np.ascontiguousarray(log_mu)
    best = minimize_scalar(
        lambda log: -float(_dispersed_log_likelihood(trials.counts, trials.scored, log_mu, math.exp(log)).sum()),
        bounds=tuple(math.log(limit) for limit in _DISPERSIONS),
        method="bounded",
        options={"xatol": 1e-7},
    )
    return float(math.exp(best.x))


def draw_gains(
    trials: UnitTrials, log_mu: np.ndarray, dispersion: float, rng: np.random.Generator
) -> np.ndarray:
    """Draw what the gain of every bin may have been, given its count, where counts are negative binomial.

    A negative-binomial count is a Poisson count whose mean is multiplied by a Gamma-distributed gain of mean 1 and
    variance `dispersion`, anew in every bin. If the model is right, the spikes are Poisson given ``mu`` times these
    gains, and can be rescaled by it.

    Parameters
    ----------
    trials : UnitTrials
    log_mu : ndarray of float64, shape (n_trials, n_bins)
        Log of the expected count of every bin.
    dispersion : float
        At least 0.
    rng : numpy.random.Generator

    Returns
    -------
    ndarray of float64, shape (n_trials, n_bins)
        Log of the expected counts times the gains.
    """
    if dispersion == 0.0:
        return log_mu
    shape = 1.0 / dispersion
    gains = rng.gamma(shape + trials.counts) / (shape + np.exp(np.minimum(log_mu, 700.0)))
    # A Gamma variable of a small shape may be too small for a number.
    return log_mu + np.log(np.maximum(gains, _SMALLEST_MU))


@numba.njit(cache=True, nogil=True)
def _dispersed_log_likelihood(counts, scored, log_mu, dispersion):
    """Sum of ``sum_k<y log(1 + k d) + y log mu - (y + 1/d) log(1 + d mu) - log y!`` over scored bins."""
    total = np.zeros(counts.shape[0])
    for i in range(counts.shape[0]):
        for t in range(counts.shape[1]):
            if not scored[i, t]:
                continue
            y = float(counts[i, t])
            mu = max(math.exp(log_mu[i, t]), _SMALLEST_MU)
            total[i] -= (y + 1.0 / dispersion) * math.log1p(dispersion * mu)
            if y > 0.0:
                total[i] += y * log_mu[i, t] - math.lgamma(y + 1.0)
                for k in range(1, counts[i, t]):
                    total[i] += math.log1p(k * dispersion)
    return total


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
