"""Fitted rungs one bin at a time, on spikes of their own: what free running needs.

`Fitted.log_mu` predicts every bin of spikes that are there already. A simulation makes them as it goes, so each rung
that looks at spikes has a stepper: the same prediction from a state that is carried from bin to bin, for any number of
sequences side by side. Its log mu is that of `extend` on the finished spikes, up to round-off. Rungs that look at no
spikes need none, and a rung without a stepper of its own is asked again from the start in every bin: right, but slow.
"""

from __future__ import annotations

import abc
import math
from typing import TYPE_CHECKING

import numba
import numpy as np

from cortexrnn.encoding.arrays import UnitTrials

if TYPE_CHECKING:
    from cortexrnn.encoding.model import Fitted


class Stepper(abc.ABC):
    """One rung under way; call `predict` and then `update` once for every bin, in order."""

    @abc.abstractmethod
    def predict(self, t: int, below: np.ndarray) -> np.ndarray:
        """Give log mu of bin t from that of the rung below, both of shape (n_sequences,)."""

    @abc.abstractmethod
    def update(self, t: int, counts: np.ndarray) -> None:
        """Take in the spikes of bin t, uint16 of shape (n_sequences,); 0 where nobody observes."""


class ReplayStepper(Stepper):
    """Any fitted rung, by calling its `extend` on all bins in every bin; the cost is quadratic in the bins.

    Parameters
    ----------
    fitted : Fitted
        A causal rung: its log mu of a bin depends on the spikes of earlier bins only.
    trials : UnitTrials
        The sequences, with nothing in the bins that are still to come.
    """

    def __init__(self, fitted: Fitted, trials: UnitTrials):
        self._fitted = fitted
        self._trials = trials._replace(counts=np.zeros_like(trials.counts))
        self._below = np.zeros(trials.counts.shape)

    def predict(self, t: int, below: np.ndarray) -> np.ndarray:
        """Extend all bins and keep this one; later bins hold the last value known of the rung below."""
        self._below[:, t:] = below[:, None]
        return np.ascontiguousarray(self._fitted.extend(self._trials, self._below)[:, t])

    def update(self, t: int, counts: np.ndarray) -> None:
        """Write the spikes where `extend` will see them."""
        self._trials.counts[:, t] = counts


class GainStepper(Stepper):
    """The causal gain of `CausalGain`: spikes so far over their expectation so far."""

    def __init__(self, variance: float, trials: UnitTrials):
        self._a = 1.0 / variance if variance > 0.0 else np.inf
        self._scored = np.ascontiguousarray(trials.scored.T)
        self._spikes = np.zeros(trials.n_trials)
        self._expected = np.zeros(trials.n_trials)
        self._log_gain = np.zeros(trials.n_trials)

    def predict(self, t: int, below: np.ndarray) -> np.ndarray:
        """Multiply by the gain, then let the expectation of a scored bin run up; other bins keep the last gain."""
        if np.isinf(self._a):
            return below
        below, log_mu = np.ascontiguousarray(below), np.empty(below.size)
        _raise_by_gain(self._a, self._scored[t], below, self._spikes, self._expected, self._log_gain, log_mu)
        return log_mu

    def update(self, t: int, counts: np.ndarray) -> None:
        """Count the spikes of scored bins."""
        self._spikes += np.where(self._scored[t], counts, 0)


class AgeStepper(Stepper):
    """The factor of `Renewal`, a function of the bins since the last spike."""

    def __init__(self, log_factor: np.ndarray, trials: UnitTrials):
        self._log_factor = log_factor
        self._n_lags = log_factor.size - 2
        self._observed = np.ascontiguousarray(trials.observed.T)
        self._age = np.zeros(trials.n_trials, dtype=np.int64)
        self._silent = np.zeros(trials.n_trials, dtype=np.int64)

    def predict(self, t: int, below: np.ndarray) -> np.ndarray:
        """Look the factor up; a time that is unknown has its own."""
        unknown = np.where(self._silent >= self._n_lags, self._n_lags + 1, 0)
        step = np.where(self._age > 0, np.minimum(self._age, self._n_lags + 1), unknown)
        return below + self._log_factor[step]

    def update(self, t: int, counts: np.ndarray) -> None:
        """Age by a bin; a spike starts over, and an unobserved bin makes the time unknown."""
        observed, spikes = self._observed[t], counts > 0
        aged = np.where(self._age > 0, self._age + 1, 0)
        self._age = np.where(observed, np.where(spikes, 1, aged), 0)
        self._silent = np.where(observed, self._silent + ~spikes, 0)


class FilterStepper(Stepper):
    """The after-effects of `HistoryGLM`: every spike adds its filter to the bins to come.

    Parameters
    ----------
    intercept : float
    effect : ndarray, shape (n_lags,)
        Log effect of a spike 1, 2, ... bins later.
    mean : float
        Count that stands in where nobody observed, which includes the time before the first bin.
    ceiling : float
        Largest log effect.
    trials : UnitTrials
        The sequences.
    """

    def __init__(self, intercept: float, effect: np.ndarray, *, mean: float, ceiling: float, trials: UnitTrials):
        self._intercept, self._mean, self._ceiling = intercept, mean, ceiling
        self._effect = np.ascontiguousarray(effect)
        self._observed = np.ascontiguousarray(trials.observed.T)
        # A ring of the bins to come: column t mod n_lags holds what earlier bins have added to bin t.
        before = mean * np.cumsum(self._effect[::-1])[::-1]
        self._ring = np.repeat(before[None], trials.n_trials, axis=0)

    def predict(self, t: int, below: np.ndarray) -> np.ndarray:
        """Add what has been laid down for this bin, up to the ceiling, and clear its row for the next round."""
        below, log_mu = np.ascontiguousarray(below), np.empty(below.size)
        _pick_up(self._ring, t, self._intercept, self._ceiling, below, log_mu)
        return log_mu

    def update(self, t: int, counts: np.ndarray) -> None:
        """Lay down the filter of every spike."""
        _lay_down(self._ring, self._effect, t, np.ascontiguousarray(counts), self._observed[t], self._mean)


@numba.njit(cache=True, nogil=True)
def _raise_by_gain(a, scored, below, spikes, expected, log_gain, log_mu):
    """Raise scored bins by the gain so far and the others by the last one; then run up what was expected."""
    for i in range(below.size):
        if scored[i]:
            log_gain[i] = math.log((a + spikes[i]) / (a + expected[i]))
            expected[i] += math.exp(below[i])
        log_mu[i] = below[i] + log_gain[i]


@numba.njit(cache=True, nogil=True)
def _pick_up(ring, t, intercept, ceiling, below, log_mu):
    """Add what has been laid down for bin t, up to the ceiling, and clear its place."""
    column = t % ring.shape[1]
    for i in range(ring.shape[0]):
        log_mu[i] = below[i] + min(intercept + ring[i, column], ceiling)
        ring[i, column] = 0.0


@numba.njit(cache=True, nogil=True)
def _lay_down(ring, effect, t, counts, observed, mean):
    """Add to bins t + 1, t + 2, ... the effect of the counts of bin t, or of their mean where nobody observed."""
    n_lags = effect.size
    first = (t + 1) % n_lags
    for i in range(counts.size):
        count = float(counts[i]) if observed[i] else mean
        if count == 0.0:
            continue
        for lag in range(n_lags - first):
            ring[i, first + lag] += count * effect[lag]
        for lag in range(first):
            ring[i, lag] += count * effect[n_lags - first + lag]
