"""Trial counts that vary more than Poisson counts: the negative-binomial law and its variance."""

from __future__ import annotations

import numpy as np
from scipy.optimize import minimize_scalar
from scipy.special import gammaln

_VARIANCE_RANGE = (1e-4, 10.0)


def gain_evidence(spikes: np.ndarray, expected: np.ndarray, variance: float) -> np.ndarray:
    """Give, for every trial, the log-likelihood ratio of negative-binomial over Poisson counts.

    Parameters
    ----------
    spikes, expected : ndarray of float, shape (n_trials,)
        Spikes of a trial and their mean.
    variance : float
        Variance of a Gamma-distributed trial gain of mean 1; 0 gives the Poisson law.

    Returns
    -------
    ndarray of float, shape (n_trials,)
        In nats.
    """
    if variance == 0.0:
        return np.zeros(np.shape(spikes))
    a = 1.0 / variance
    rising = gammaln(spikes + a) - gammaln(a) - spikes * np.log(a + expected)
    return rising - a * np.log1p(expected / a) + expected


def gain_variance(spikes: np.ndarray, expected: np.ndarray) -> float:
    """Estimate the variance of the trial gain by maximum likelihood; 0 where Poisson counts do as well.

    Parameters
    ----------
    spikes, expected : ndarray of float, shape (n_trials,)
        Spikes of a trial and their mean.

    Returns
    -------
    float
        Between 1e-4 and 10, or 0.
    """
    best = minimize_scalar(
        lambda log_variance: -float(gain_evidence(spikes, expected, np.exp(log_variance)).sum()),
        bounds=tuple(np.log(_VARIANCE_RANGE)),
        method="bounded",
        options={"xatol": 1e-3},
    )
    return float(np.exp(best.x)) if best.fun < 0.0 else 0.0
