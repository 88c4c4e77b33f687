"""Spike trains whose law is known exactly: what tests, studies and the simulation twin draw from."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from cortexrnn._checks import check_positive
from cortexrnn.errors import NumericalError, OptionError
from cortexrnn.numerics.streams import stream
from cortexrnn.spikes.generate_kernels import (
    LARGEST_EXPECTED,
    draw_bursts,
    draw_history,
    evaluate_bursts,
    evaluate_history,
)
from cortexrnn.spikes.trial_design import whole_bins

_NO_HISTORY = np.zeros(0)


@dataclass(frozen=True, kw_only=True, slots=True)
class StateBursts:
    """Bursts that only a spike out of silence can start, which no additive history can express.

    Attributes
    ----------
    silence_s : float
        A spike starts a burst only if no spike came in the `silence_s` before it.
    start_s, stop_s : float
        The burst lasts from `start_s` to `stop_s` after the spike that started it.
    factor : float
        By how much the rate is multiplied during the burst.
    """

    silence_s: float = 0.06
    start_s: float = 0.002
    stop_s: float = 0.008
    factor: float = 30.0


def simulate_spikes(
    rate_hz: np.ndarray,
    bin_s: float,
    *,
    history: np.ndarray | None = None,
    gain_variance: float = 0.0,
    dead_time_s: float = 0.0,
    seed: int,
) -> np.ndarray:
    """Draw spikes from a rate, a trial gain, an additive log history and a dead time.

    Without dead time a bin holds a Poisson number of spikes. With a dead time of n bins it holds at most
    one, with probability ``q_t / (1 - q_{t-1} - ... - q_{t-n})``, so that the *realised* rate is `rate_hz`
    (times the gain) in every bin and not the rate that is left after the silences.

    Parameters
    ----------
    rate_hz : ndarray of float, shape (n_trials, n_bins)
        Rate before history; a trial knows nothing of the one before.
    bin_s : float
        Bin width in seconds.
    history : ndarray of float, shape (n_lags,), optional
        Log factor on the rate from each spike 1, 2, ... n_lags bins ago.
    gain_variance : float
        Variance of the Gamma factor, of mean 1, that scales each trial (see `draw_trial_gain`).
    dead_time_s : float
        Absolute dead time, a whole number of bins.
    seed : int
        Seed of gain and spikes.

    Returns
    -------
    ndarray of uint16, shape (n_trials, n_bins)

    Raises
    ------
    OptionError
        If the rate is negative or not finite, or no neuron with this dead time can fire at it.
    NumericalError
        If the history drives the rate away.
    """
    expected = _expected_without_history(rate_hz, bin_s)
    if gain_variance != 0.0:
        expected = expected * draw_trial_gain(expected.shape[0], gain_variance, seed=seed)[:, np.newaxis]
    n_dead = whole_bins("dead_time_s", dead_time_s, bin_s)
    hazard = _dead_time_hazard(expected, n_dead) if n_dead else expected
    counts = np.zeros(expected.shape, dtype=np.uint16)
    log_factor = _NO_HISTORY if history is None else np.ascontiguousarray(history, dtype=float)
    uniforms = stream(seed, "spikes").random(expected.shape)
    trial, t, reached = draw_history(counts, hazard, log_factor, n_dead, uniforms)
    if trial >= 0:
        raise NumericalError(
            f"the history drives the rate away: {reached:.3g} spikes expected in one bin.",
            where=f"trial {trial}, bin {t} ({t * bin_s:.4g} s)",
            hint="Weaken the excitatory part of the history.",
        )
    return counts


def expected_counts(
    counts: np.ndarray,
    rate_hz: np.ndarray,
    bin_s: float,
    *,
    history: np.ndarray | None = None,
    dead_time_s: float = 0.0,
) -> np.ndarray:
    """Give the true expected count of every bin given the spikes before it, for `simulate_spikes`.

    Parameters
    ----------
    counts : ndarray of uint16, shape (n_trials, n_bins)
        Spikes per bin.
    rate_hz, bin_s, history, dead_time_s : see `simulate_spikes`
        As they were given there; a trial gain belongs into `rate_hz`.

    Returns
    -------
    ndarray of float, shape (n_trials, n_bins)

    Raises
    ------
    OptionError
        As `simulate_spikes`.
    """
    expected = _expected_without_history(rate_hz, bin_s)
    n_dead = whole_bins("dead_time_s", dead_time_s, bin_s)
    hazard = _dead_time_hazard(expected, n_dead) if n_dead else expected
    log_factor = _NO_HISTORY if history is None else np.ascontiguousarray(history, dtype=float)
    return evaluate_history(np.ascontiguousarray(counts, dtype=np.uint16), hazard, log_factor, n_dead)


def simulate_state_bursts(rate_hz: np.ndarray, bin_s: float, *, bursts: StateBursts, seed: int) -> np.ndarray:
    """Draw Poisson spikes of a unit that bursts only out of silence.

    Parameters
    ----------
    rate_hz : ndarray of float, shape (n_trials, n_bins)
        Rate outside bursts. Every trial begins in silence.
    bin_s : float
        Bin width in seconds; must divide the times of `bursts`.
    bursts : StateBursts
        When a burst starts, how long it lasts and how strong it is.
    seed : int
        Seed of the spikes.

    Returns
    -------
    ndarray of uint16, shape (n_trials, n_bins)

    Raises
    ------
    OptionError
        If the rate is negative or not finite, or a time is no whole number of bins.
    NumericalError
        If more than 50 spikes are expected in one bin of a burst.
    """
    expected = _expected_without_history(rate_hz, bin_s)
    largest = float(expected.max(initial=0.0)) * bursts.factor
    if largest > LARGEST_EXPECTED:
        raise NumericalError(f"a burst would hold {largest:.3g} spikes in one bin.", hint="Lower factor or rate_hz.")
    silence, start, stop = _burst_bins(bursts, bin_s)
    counts = np.zeros(expected.shape, dtype=np.uint16)
    uniforms = stream(seed, "bursts").random(expected.shape)
    draw_bursts(counts, expected, silence, start, stop, bursts.factor, uniforms)
    return counts


def expected_burst_counts(counts: np.ndarray, rate_hz: np.ndarray, bin_s: float, *, bursts: StateBursts) -> np.ndarray:
    """Give the true expected count of every bin given the spikes before it, for `simulate_state_bursts`.

    Parameters
    ----------
    counts : ndarray of uint16, shape (n_trials, n_bins)
        Spikes per bin.
    rate_hz, bin_s, bursts : see `simulate_state_bursts`
        As they were given there.

    Returns
    -------
    ndarray of float, shape (n_trials, n_bins)

    Raises
    ------
    OptionError
        As `simulate_state_bursts`.
    """
    expected = _expected_without_history(rate_hz, bin_s)
    silence, start, stop = _burst_bins(bursts, bin_s)
    counts = np.ascontiguousarray(counts, dtype=np.uint16)
    return evaluate_bursts(counts, expected, silence, start, stop, bursts.factor)


def simulate_gamma_renewal(rate_hz: np.ndarray, bin_s: float, *, shape: float, seed: int) -> np.ndarray:
    """Draw a stationary Gamma renewal process in rescaled time, so that its rate is `rate_hz`.

    Intervals are Gamma(shape) with mean 1 on the clock of the cumulative rate; each trial starts in
    equilibrium: its first spike comes a uniform fraction into a length-biased interval.

    Parameters
    ----------
    rate_hz : ndarray of float, shape (n_trials, n_bins)
        Rate, constant within a bin.
    bin_s : float
        Bin width in seconds.
    shape : float
        Shape of the intervals: 1 is Poisson, above it regular, below it bursting.
    seed : int
        Seed of the intervals.

    Returns
    -------
    ndarray of uint16, shape (n_trials, n_bins)

    Raises
    ------
    OptionError
        If the rate is negative or not finite, or `shape` is not positive.
    """
    shape = check_positive("shape", shape)
    expected = _expected_without_history(rate_hz, bin_s)
    rng = stream(seed, "gamma renewal")
    counts = np.zeros(expected.shape, dtype=np.uint16)
    for row, edges in zip(counts, np.cumsum(expected, axis=1), strict=True):
        spike = rng.random() * rng.gamma(shape + 1.0, 1.0 / shape)
        chunk = max(16, math.ceil(2.0 * edges[-1]))
        while spike < edges[-1]:
            times = np.concatenate(([spike], spike + np.cumsum(rng.gamma(shape, 1.0 / shape, chunk))))
            # The last of a chunk is only the first of the next, so that it is counted once.
            placed = times[:-1][times[:-1] < edges[-1]]
            np.add.at(row, np.searchsorted(edges, placed, side="right"), 1)
            spike = times[-1]
    return counts


def draw_trial_gain(n_trials: int, variance: float, *, seed: int) -> np.ndarray:
    """Draw the Gamma factor of every trial, mean 1, as `simulate_spikes` does with the same seed.

    Parameters
    ----------
    n_trials : int
        Number of trials.
    variance : float
        Variance of the factor.
    seed : int
        Seed.

    Returns
    -------
    ndarray of float, shape (n_trials,)

    Raises
    ------
    OptionError
        If `variance` is not positive.
    """
    variance = check_positive("variance", variance)
    return stream(seed, "trial gain").gamma(1.0 / variance, variance, n_trials)


def linear_drift(n_trials: int, change: float) -> np.ndarray:
    """Give factors that fall or rise linearly over trials, mean 1, from ``1 - change/2`` to ``1 + change/2``.

    Parameters
    ----------
    n_trials : int
        Number of trials.
    change : float
        Last factor minus first; between -2 and 2.

    Returns
    -------
    ndarray of float, shape (n_trials,)

    Raises
    ------
    OptionError
        If a factor would be negative.
    """
    if not abs(change) <= 2.0:
        raise OptionError(f"change={change!r} makes a factor negative; expected -2 <= change <= 2.")
    return 1.0 + change * np.linspace(-0.5, 0.5, n_trials)


def _expected_without_history(rate_hz: np.ndarray, bin_s: float) -> np.ndarray:
    """Give `rate_hz` in spikes per bin, checked and C-contiguous."""
    bin_s = check_positive("bin_s", bin_s)
    expected = np.ascontiguousarray(np.asarray(rate_hz, dtype=float) * bin_s)
    if expected.ndim != 2:
        raise OptionError(f"rate_hz has shape {expected.shape}; expected (n_trials, n_bins).")
    if not np.all((expected >= 0.0) & (expected <= LARGEST_EXPECTED)):
        raise OptionError(
            f"rate_hz reaches from {np.min(rate_hz)} to {np.max(rate_hz)} Hz; expected 0 to"
            f" {LARGEST_EXPECTED / bin_s:g} Hz (50 spikes a bin)."
        )
    return expected


def _dead_time_hazard(expected: np.ndarray, n_dead: int) -> np.ndarray:
    """Give the chance of a spike in a bin that is not dead, so that the realised rate is `expected`."""
    before = np.cumsum(np.pad(expected, ((0, 0), (n_dead + 1, 0))), axis=1)
    alive = 1.0 - (before[:, n_dead:-1] - before[:, : -n_dead - 1])
    # Round-off of the cumulative sum must not refuse a rate at its very limit.
    too_fast = expected > alive + 1e-9
    if np.any(too_fast):
        trial, t = np.argwhere(too_fast)[0]
        raise OptionError(
            f"no unit with a dead time of {n_dead} bins can fire {expected[trial, t]:.3g} spikes a bin"
            f" (trial {trial}, bin {t}); the largest is {1.0 / (n_dead + 1):.3g}."
        )
    return np.minimum(1.0, np.divide(expected, alive, out=np.zeros_like(expected), where=expected > 0.0))


def _burst_bins(bursts: StateBursts, bin_s: float) -> tuple[int, int, int]:
    """Give silence, start and stop of a burst in bins."""
    silence, start, stop = (
        whole_bins(name, getattr(bursts, name), bin_s) for name in ("silence_s", "start_s", "stop_s")
    )
    return silence, start, stop
