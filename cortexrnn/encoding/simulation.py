"""A fitted rung running freely: copies of given trials in which it hears its own spikes and not the recorded ones."""

from __future__ import annotations

import math
from typing import NamedTuple

import numba
import numpy as np
import xarray as xr

from cortexrnn._checks import check_choice, check_count
from cortexrnn.encoding.arrays import UnitTrials
from cortexrnn.encoding.gain import FittedGain
from cortexrnn.encoding.likelihood import BERNOULLI, LIKELIHOODS
from cortexrnn.encoding.model import Fitted, as_unit_trials
from cortexrnn.errors import NumericalError
from cortexrnn.numerics.streams import stream
from cortexrnn.spikes.generate_kernels import LARGEST_EXPECTED, invert_poisson

# Sequences side by side: enough to hide the cost of a call a bin, few enough for half a gigabyte at long trials.
_MAX_SEQUENCES = 4096


class Copies(NamedTuple):
    """Free-running copies of trials.

    Attributes
    ----------
    counts : ndarray of uint16, shape (n_copies, n_trials, n_bins)
        Simulated spikes in scored bins, recorded ones in the burn-in before them, 0 where nobody observed.
    log_likelihood : ndarray of float64, shape (n_copies, n_trials)
        What the model says of its own spikes, in nats, with log(y!).
    is_capped : ndarray of bool, shape (n_copies, n_trials)
        Whether more than 50 spikes were expected in some bin; 50 were drawn from.
    """

    counts: np.ndarray
    log_likelihood: np.ndarray
    is_capped: np.ndarray


def simulate_copies(
    fitted: Fitted,
    trials: UnitTrials | xr.Dataset,
    *,
    n_copies: int = 100,
    likelihood: str = "poisson",
    seed: int = 0,
) -> Copies:
    """Let a fitted rung make its own spikes in every scored bin of some trials.

    Each copy has the conditions, start times, burn-in spikes and unobserved bins of the trials, so that it can be
    held against them. Spikes come one uniform number a bin; a copy does not depend on how many others there are.

    Parameters
    ----------
    fitted : Fitted
        Any causal rung with all below it.
    trials : xarray.Dataset of one unit, or UnitTrials
        Trials to copy.
    n_copies : int
        Copies of every trial.
    likelihood : {"poisson", "bernoulli"}
        Poisson counts, or at most one spike a bin with p = 1 - exp(-mu).
    seed : int
        Seed of the spikes.

    Returns
    -------
    Copies

    Raises
    ------
    OptionError
        If an argument is not valid.
    NumericalError
        If the rung's prediction is NaN.
    """
    check_count("n_copies", n_copies)
    check_choice("likelihood", likelihood, LIKELIHOODS)
    data = as_unit_trials(trials)
    rungs, ground = _ground(fitted, data)
    is_bernoulli = LIKELIHOODS[likelihood] == BERNOULLI
    # Every copy of a trial carries its neighbours' spikes along.
    n_beside = 0 if data.neighbours is None else data.neighbours.counts.shape[2]
    n_together = min(n_copies, max(1, _MAX_SEQUENCES // (max(data.n_trials, 1) * (1 + n_beside // 16))))
    parts = []
    for first in range(0, n_copies, n_together):
        copies = range(first, min(first + n_together, n_copies))
        sequences = data.take(np.tile(np.arange(data.n_trials), len(copies)))
        shape = (data.counts.shape[1], data.n_trials)
        uniforms = np.hstack([stream(seed, "free run", copy).random(shape) for copy in copies])
        base = np.ascontiguousarray(np.tile(ground.T, len(copies)))
        parts.append(_run(rungs, base, sequences, uniforms, is_bernoulli))
    counts, log_likelihood, is_capped = (np.concatenate(arrays) for arrays in zip(*parts, strict=True))
    if np.isnan(log_likelihood).any():
        raise NumericalError(
            f"the model's own prediction became NaN in {int(np.isnan(log_likelihood).sum())} of {log_likelihood.size} "
            "simulated trials."
        )
    shape = (n_copies, data.n_trials)
    return Copies(counts.reshape(*shape, -1), log_likelihood.reshape(shape), is_capped.reshape(shape))


def draw_without_history(
    fitted: FittedGain, trials: UnitTrials, likelihood: str, rng: np.random.Generator, *, dispersion: float = 0.0
) -> np.ndarray:
    """Draw spikes with the PSTH, the drift and the trial gain of a fitted M3, and nothing else.

    Parameters
    ----------
    fitted : FittedGain
    trials : UnitTrials
        Conditions, start times and what was observed; their spikes are not looked at.
    likelihood : {"poisson", "bernoulli", "negative binomial"}
    rng : numpy.random.Generator
    dispersion : float
        Of a negative binomial.

    Returns
    -------
    ndarray of uint16, shape (n_trials, n_bins)
        Burn-in included; 0 where nobody observed.
    """
    gain = np.ones(trials.n_trials)
    if fitted.variance > 0.0:
        gain = rng.gamma(1.0 / fitted.variance, fitted.variance, trials.n_trials)
    mean = np.exp(fitted.below.log_mu(trials)) * gain[:, None]
    if dispersion > 0.0:
        mean = mean * rng.gamma(1.0 / dispersion, dispersion, mean.shape)
    is_bernoulli = LIKELIHOODS.get(likelihood) == BERNOULLI
    drawn = rng.random(mean.shape) < -np.expm1(-mean) if is_bernoulli else rng.poisson(mean)
    return np.where(trials.observed, drawn, 0).astype(np.uint16)


def _ground(fitted: Fitted, trials: UnitTrials) -> tuple[list[Fitted], np.ndarray]:
    """Give the rungs that look at spikes, lowest first, and log mu of those below them, which look at none."""
    chain: list[Fitted] = []
    rung: Fitted | None = fitted
    while rung is not None:
        chain.insert(0, rung)
        rung = rung.below
    log_mu = np.zeros(trials.counts.shape)
    while chain and not chain[0].looks_at_spikes:
        log_mu = chain.pop(0).extend(trials, log_mu)
    return chain, log_mu


def _run(
    rungs: list[Fitted], ground: np.ndarray, sequences: UnitTrials, uniforms: np.ndarray, is_bernoulli: bool
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Simulate sequences side by side; `ground` and `uniforms` have the shape (n_bins, n_sequences)."""
    n_sequences, n_bins = sequences.counts.shape
    steppers = [rung.stepper(sequences) for rung in rungs]
    scored = np.ascontiguousarray(sequences.scored.T)
    has_begun = np.logical_or.accumulate(scored, axis=0)
    counts = np.where(has_begun, 0, np.ascontiguousarray(sequences.counts.T))
    log_likelihood = np.zeros(n_sequences)
    is_capped = np.zeros(n_sequences, dtype=bool)
    for t in range(n_bins):
        log_mu = ground[t]
        for stepper in steppers:
            log_mu = stepper.predict(t, log_mu)
        _draw_bin(log_mu, scored[t], uniforms[t], is_bernoulli, counts[t], log_likelihood, is_capped)
        for stepper in steppers:
            stepper.update(t, counts[t])
    return np.ascontiguousarray(counts.T), log_likelihood, is_capped


@numba.njit(cache=True, nogil=True)
def _draw_bin(log_mu, scored, uniforms, is_bernoulli, counts, log_likelihood, is_capped):
    """Draw the spikes of one bin of every sequence where it is scored, and add up their log-likelihood."""
    for i in range(log_mu.size):
        if not scored[i]:
            continue
        mu = math.exp(min(log_mu[i], 700.0))
        if mu > LARGEST_EXPECTED:
            mu = LARGEST_EXPECTED
            is_capped[i] = True
        if is_bernoulli:
            p = -math.expm1(-mu)
            counts[i] = 1 if uniforms[i] < p else 0
            log_likelihood[i] += math.log(p) if counts[i] > 0 else -mu
            continue
        counts[i] = invert_poisson(mu, uniforms[i])
        log_likelihood[i] -= mu
        if counts[i] > 0:
            log_likelihood[i] += counts[i] * math.log(mu)
            if counts[i] > 1:
                log_likelihood[i] -= math.lgamma(counts[i] + 1.0)
