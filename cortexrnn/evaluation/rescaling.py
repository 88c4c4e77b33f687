"""Discrete time rescaling: the intervals between spikes on the clock of a model's own intensity."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numba
import numpy as np
import xarray as xr

from cortexrnn.encoding.arrays import UnitTrials
from cortexrnn.encoding.likelihood import BERNOULLI, likelihood_code
from cortexrnn.encoding.model import as_unit_trials
from cortexrnn.errors import DataError
from cortexrnn.numerics.streams import stream

N_RANDOMISATIONS = 20
# Of the Kolmogorov distance times the square root of n, at 5 %, as it is printed everywhere.
KS_LIMIT = 1.36
# (1.96 + 0.84)^2 / 2: a likelihood ratio with this expectation in nats is found at 5 % with a power of 80 %.
_LR_NATS = 3.92


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Rescaled:
    """Intervals between spikes on the model's own clock: exponential with mean 1 if the model is right.

    Attributes
    ----------
    intervals : ndarray of float64, shape (20, n_spikes)
        Rescaled intervals in time order, one row a randomisation.
    uniforms : ndarray of float64, same shape
        ``1 - exp(-interval)``, uniform if the model is right.
    rate_hz : float
        Mean rate over the scored bins.
    """

    intervals: np.ndarray
    rate_hz: float

    @property
    def uniforms(self) -> np.ndarray:
        """Give the intervals on the scale on which they are uniform."""
        return -np.expm1(-self.intervals)

    @property
    def n_spikes(self) -> int:
        """Number of scored spikes."""
        return self.intervals.shape[1]


def rescale(
    trials: UnitTrials | xr.Dataset, log_mu: np.ndarray, *, likelihood: str = "poisson", seed: int = 0
) -> Rescaled:
    """Rescale the time between spikes by a model's intensity, in bins and glued across trials.

    Only scored bins make the clock run: burn-in and unobserved gaps are cut out, and what has run up since the last
    spike is carried over the cut, as it is from the end of a trial into the next. With the conditional intensity
    of every scored bin what is left is one long process, whose intervals are independent.

    Parameters
    ----------
    trials : xarray.Dataset of one unit, or UnitTrials
        Trials that the model was not fitted to.
    log_mu : ndarray, shape (n_trials, n_bins)
        Log of the model's expected count (Poisson) or integrated intensity (Bernoulli) of every bin, given the past.
    likelihood : {"poisson", "bernoulli"}
        Poisson puts the spikes of a bin at sorted uniform places of its time; Bernoulli draws the place of the one
        spike from the law that a bin with a spike leaves.
    seed : int
        Seed of the 20 randomisations.

    Returns
    -------
    Rescaled

    Raises
    ------
    DataError
        If `log_mu` has another shape, or NaN or an infinite expectation in a scored bin; or if a bin holds several
        spikes under the Bernoulli likelihood.
    OptionError
        If the likelihood is unknown.

    Notes
    -----
    Haslinger, Pipa and Brown (2010), doi:10.1162/NECO_a_00015, with ``q_k = -log(1 - p_k)`` and
    ``z = sum q_k + delta``, ``delta = -log(1 - r p_b)``, r uniform. Bins with several spikes, which their program
    drops, are kept under the Poisson likelihood; the remainder of a trial, which it drops, is carried.
    """
    data = as_unit_trials(trials)
    return run_clock(wind_clock(data, log_mu, likelihood=likelihood), data.bin_s, likelihood=likelihood, seed=seed)


class Clock(NamedTuple):
    """All that rescaling needs to know of a model over some trials: numbers by spike, not by bin.

    Attributes
    ----------
    quiet : ndarray of float64, shape (n_spiking_bins,)
        Expected counts of the scored bins since the spiking bin before it in its trial, or since the trial's start.
    mu : ndarray of float64, same shape
        Expected count of the bin.
    n_spikes : ndarray of int64, same shape
        Its spikes.
    n_with : ndarray of int64, shape (n_trials,)
        Spiking bins of every trial.
    rest : ndarray of float64, shape (n_trials,)
        Expected counts of the scored bins behind the last spiking one.
    n_scored : ndarray of int64, shape (n_trials,)
        Scored bins.
    """

    quiet: np.ndarray
    mu: np.ndarray
    n_spikes: np.ndarray
    n_with: np.ndarray
    rest: np.ndarray
    n_scored: np.ndarray


def wind_clock(trials: UnitTrials, log_mu: np.ndarray, *, likelihood: str = "poisson") -> Clock:
    """Take from a model's expectation what its clock needs.

    Parameters
    ----------
    trials : UnitTrials
    log_mu : ndarray, shape (n_trials, n_bins)
    likelihood : {"poisson", "bernoulli"}

    Returns
    -------
    Clock

    Raises
    ------
    DataError, OptionError
        As for `rescale`.
    """
    likelihood_code(likelihood, trials.counts)
    log_mu = np.ascontiguousarray(log_mu, dtype=float)
    if log_mu.shape != trials.counts.shape:
        raise DataError(f"log_mu has shape {log_mu.shape}; expected that of the counts, {trials.counts.shape}.")
    n_wrong = int((~(log_mu[trials.scored] < np.inf)).sum())
    if n_wrong:
        raise DataError(f"log_mu is NaN or infinite in {n_wrong} scored bins.")
    n_with = (trials.scored & (trials.counts > 0)).sum(axis=1)
    clock = Clock(
        *np.empty((2, n_with.sum())),
        n_spikes=np.empty(n_with.sum(), np.int64),
        n_with=n_with.astype(np.int64),
        rest=np.empty(trials.n_trials),
        n_scored=trials.scored.sum(axis=1).astype(np.int64),
    )
    fill_clock(trials.counts, trials.scored, log_mu, clock)
    return clock


def join_clocks(clocks: Sequence[Clock], trials: Sequence[np.ndarray]) -> Clock:
    """Lay clocks of parts of the trials out in the order of the trials.

    Parameters
    ----------
    clocks : sequence of Clock
    trials : sequence of ndarray of int
        Numbers of the trials of each; together every number from 0 on once.

    Returns
    -------
    Clock
    """
    order = np.argsort(np.concatenate(trials), kind="stable")
    whole = Clock(*(np.concatenate(parts) for parts in zip(*clocks, strict=True)))
    first = np.concatenate([[0], np.cumsum(whole.n_with)])
    bins = np.concatenate([np.arange(first[i], first[i + 1]) for i in order]).astype(np.int64)
    return Clock(*(part[bins] for part in whole[:3]), *(part[order] for part in whole[3:]))


def run_clock(clock: Clock, bin_s: float, *, likelihood: str = "poisson", seed: int = 0) -> Rescaled:
    """Rescale the time between spikes by a clock, the remainder of each trial carried into the next.

    Parameters
    ----------
    clock : Clock
        In the order of the trials.
    bin_s : float
    likelihood : {"poisson", "bernoulli"}
    seed : int
        Seed of the 20 randomisations.

    Returns
    -------
    Rescaled
    """
    is_bernoulli = likelihood_code(likelihood) == BERNOULLI
    glued = clock._replace(quiet=clock.quiet.copy())
    carry = 0.0
    first = np.concatenate([[0], np.cumsum(clock.n_with)])
    for i, rest in enumerate(clock.rest):
        if clock.n_with[i]:
            glued.quiet[first[i]] += carry
            carry = 0.0
        carry += rest
    n_spikes = int(clock.n_spikes.sum())
    intervals = np.empty((N_RANDOMISATIONS, n_spikes))
    for k, row in enumerate(intervals):
        place_spikes(glued, stream(seed, "time rescaling", k).random(n_spikes), is_bernoulli, row)
    duration_s = int(clock.n_scored.sum()) * bin_s
    return Rescaled(intervals=intervals, rate_hz=n_spikes / duration_s if duration_s else math.nan)


def ks_distance(sorted_uniforms: np.ndarray) -> np.ndarray:
    """Give the largest distance of each row's step function from the diagonal, below and above every step.

    Parameters
    ----------
    sorted_uniforms : ndarray, shape (n_rows, n)
        Values from 0 to 1 in rising order.

    Returns
    -------
    ndarray of float64, shape (n_rows,)
        NaN where n = 0.
    """
    n = sorted_uniforms.shape[1]
    if n == 0:
        return np.full(sorted_uniforms.shape[0], np.nan)
    after = np.arange(1, n + 1) / n
    above = (after - sorted_uniforms).max(axis=1)
    below = (sorted_uniforms - (after - 1.0 / n)).max(axis=1)
    return np.maximum(above, below)


def detectable_dead_time(n_spikes: int, rate_hz: float) -> dict[str, float]:
    """Give the shortest dead time, in seconds, at which a model without one is caught with this many spikes.

    The distance of the intervals is 1 - exp(-rate tau) and must reach 1.36 / sqrt(n); a likelihood ratio gains
    -log(1 - rate tau) nats a spike and needs 3.92 (5 %, power 80 %).

    Parameters
    ----------
    n_spikes : int
    rate_hz : float

    Returns
    -------
    dict of str to float
        ``"ks"`` and ``"likelihood_ratio"``; infinite where no dead time would be seen.
    """
    if n_spikes == 0:
        return {"ks": math.inf, "likelihood_ratio": math.inf}
    reach = KS_LIMIT / math.sqrt(n_spikes)
    return {
        "ks": -math.log1p(-reach) / rate_hz if reach < 1.0 else math.inf,
        "likelihood_ratio": -math.expm1(-_LR_NATS / n_spikes) / rate_hz,
    }


@numba.njit(cache=True, nogil=True)
def fill_clock(counts, scored, log_mu, clock):
    """Walk through the scored bins of every trial and fill in all but the counts by trial."""
    j = 0
    for i in range(counts.shape[0]):
        quiet = 0.0
        for t in range(counts.shape[1]):
            if not scored[i, t]:
                continue
            mu = math.exp(log_mu[i, t])
            if counts[i, t] > 0:
                clock.quiet[j] = quiet
                clock.mu[j] = mu
                clock.n_spikes[j] = counts[i, t]
                j += 1
                quiet = 0.0
            else:
                quiet += mu
        clock.rest[i] = quiet


@numba.njit(cache=True, nogil=True)
def place_spikes(bins, uniforms, is_bernoulli, intervals):
    """Fill `intervals` from one uniform number a spike; the places of a bin's spikes are sorted."""
    s = 0
    rest = 0.0
    for j in range(bins.mu.size):
        mu = bins.mu[j]
        if is_bernoulli:
            # log(1 - r p) with p = 1 - exp(-mu); the bin ends with its spike.
            intervals[s] = bins.quiet[j] - math.log1p(uniforms[s] * math.expm1(-mu))
            s += 1
            continue
        stop = s + bins.n_spikes[j]
        places = np.sort(uniforms[s:stop])
        last = -(rest + bins.quiet[j])
        for k in range(stop - s):
            place = mu * places[k]
            intervals[s + k] = place - last
            last = place
        rest = mu - last
        s = stop
