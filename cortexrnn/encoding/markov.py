"""MK: a factor for every pattern of the last k bins, a Markov chain of order k on top of the trial gain."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, NamedTuple

import numba
import numpy as np

from cortexrnn._checks import check_choice, check_count, check_positive
from cortexrnn.encoding.arrays import UnitTrials
from cortexrnn.encoding.gain import CausalGain
from cortexrnn.encoding.likelihood import LIKELIHOODS, likelihood_code, trial_log_likelihood
from cortexrnn.encoding.model import Fitted, Rung
from cortexrnn.encoding.stepping import Stepper
from cortexrnn.errors import OptionError
from cortexrnn.spikes.folds import validation_split

# 2^16 patterns: beyond, most of them are met once or never.
MOST_BINS = 16


@dataclass(frozen=True, kw_only=True, slots=True)
class Markov(Rung):
    """log mu = log M3 + log f(which of the last k bins had spikes).

    The factor of a pattern of k bins is ``f = (n + a f') / (E + a)``: `n` spikes where the rung below expects `E`, and
    the factor `f'` of its most recent k - 1 bins in place of what is not known yet, worth `a` expected spikes. So
    patterns that were seen often speak for themselves, and the others as the shorter pattern does. Of bins that nobody
    observed only those since count, as at the start of a recording.

    Attributes
    ----------
    orders : tuple of int
        Numbers of bins to choose from, at most 16, by the validation fifth of the training trials.
    prior_counts : tuple of float
        The same for `a`.
    likelihood : {"poisson", "bernoulli"}
        Observation model of the validation score; factors are those of Poisson counts in both.

    Raises
    ------
    OptionError
        If a value is not valid.
    """

    name: ClassVar[str] = "MK"
    meaning: ClassVar[str] = "spike history, Markov chain of order k"
    sees_history: ClassVar[bool] = True
    baseline: Rung | None = CausalGain()
    orders: tuple[int, ...] = (1, 2, 4, 8, 12, 16)
    prior_counts: tuple[float, ...] = (1.0, 4.0, 16.0, 64.0)
    likelihood: str = "poisson"

    def __post_init__(self) -> None:
        """Check every field."""
        check_choice("likelihood", self.likelihood, LIKELIHOODS)
        for order in self.orders:
            if check_count("orders", order) > MOST_BINS:
                raise OptionError(f"an order of {order} is too long; expected at most {MOST_BINS} bins.")
        for count in self.prior_counts:
            check_positive("prior_counts", count)
        if not self.orders or not self.prior_counts:
            raise OptionError("orders and prior_counts are to choose from; expected at least one of each.")

    def fit_on(self, trials: UnitTrials, below: Fitted | None, log_mu: np.ndarray) -> FittedMarkov:
        """Choose order and prior on the validation trials, then count all training trials."""
        code = likelihood_code(self.likelihood, trials.counts)
        log_mu = np.ascontiguousarray(log_mu)
        is_validation = validation_split(trials.condition)
        kept, held_out = trials.take(~is_validation), trials.take(is_validation)
        longest = max(self.orders)
        sums, patterns = _count(kept, log_mu[~is_validation], longest), _patterns(held_out, longest)
        best: tuple[float, int, float] = (-np.inf, self.orders[0], self.prior_counts[0])
        for prior_count in self.prior_counts:
            factors = _log_factors(sums, longest, prior_count)
            for order in self.orders:
                effect = _effect(factors, patterns, order)
                score = float(trial_log_likelihood(held_out, log_mu[is_validation] + effect, code).sum())
                best = max(best, (score, order, prior_count))
        score, order, prior_count = best
        return FittedMarkov(
            below=below,
            order=order,
            prior_count=prior_count,
            log_factors=_log_factors(_count(trials, log_mu, order), order, prior_count),
            validation_log_likelihood=score,
        )


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class FittedMarkov(Fitted):
    """Fitted factors.

    Attributes
    ----------
    order : int
        Chosen number of bins.
    prior_count : float
        Chosen worth of the shorter pattern.
    log_factors : ndarray, shape (2^(order + 1) - 1,)
        Log factors of all patterns: those of k bins begin at ``2^k - 1``, and bit j of the number of a pattern says
        whether there was a spike j + 1 bins ago.
    validation_log_likelihood : float
        Score on the validation trials, by which history rungs are chosen, in nats.
    """

    below: Fitted | None
    order: int
    prior_count: float
    log_factors: np.ndarray
    validation_log_likelihood: float

    def extend(self, trials: UnitTrials, log_mu: np.ndarray) -> np.ndarray:
        """Add the log factor of every bin's pattern."""
        return log_mu + _effect(self.log_factors, _patterns(trials, self.order), self.order)

    def stepper(self, trials: UnitTrials) -> PatternStepper:
        """Give the factor one bin at a time."""
        return PatternStepper(self.log_factors, self.order, trials)


class PatternStepper(Stepper):
    """The factor of `Markov`, by the pattern of the bins before.

    Parameters
    ----------
    log_factors : ndarray, shape (2^(order + 1) - 1,)
        As in `FittedMarkov`.
    order : int
        Number of bins.
    trials : UnitTrials
        The sequences.
    """

    def __init__(self, log_factors: np.ndarray, order: int, trials: UnitTrials):
        self._log_factors, self._order = log_factors, order
        self._observed = np.ascontiguousarray(trials.observed.T)
        self._patterns = _Patterns(*np.zeros((2, trials.n_trials), np.int64))

    def predict(self, t: int, below: np.ndarray) -> np.ndarray:
        """Look up the factor of what is known of the last bins."""
        return below + _effect(self._log_factors, self._patterns, self._order)

    def update(self, t: int, counts: np.ndarray) -> None:
        """Bring a bin into the pattern; an unobserved one ends it."""
        has_spike = np.greater(counts, 0)
        _push(has_spike, self._observed[t], self._order, self._patterns.code, self._patterns.length)


class _Patterns(NamedTuple):
    """The last bins before every bin, and how many of them were observed since the last gap.

    Both (n_trials, n_bins), or (n_sequences,) before one bin.
    """

    code: np.ndarray
    length: np.ndarray


class _Sums(NamedTuple):
    """Spikes and expected spikes of every pattern, laid out as `FittedMarkov.log_factors`."""

    spikes: np.ndarray
    expected: np.ndarray


def _patterns(trials: UnitTrials, longest: int) -> _Patterns:
    """Give every bin's pattern of up to `longest` bins."""
    code, length = np.zeros(trials.counts.shape, np.int64), np.zeros(trials.counts.shape, np.int64)
    _read_patterns(trials.counts, trials.observed, longest, code, length)
    return _Patterns(code, length)


def _count(trials: UnitTrials, log_mu: np.ndarray, longest: int) -> _Sums:
    """Sum spikes and expected spikes of the scored bins over every pattern of up to `longest` bins."""
    patterns = _patterns(trials, longest)
    counts, mu = trials.counts[trials.scored].astype(float), np.exp(log_mu[trials.scored])
    code, length = patterns.code[trials.scored], patterns.length[trials.scored]
    sums = _Sums(*np.zeros((2, 2 ** (longest + 1) - 1)))
    for k in range(1, longest + 1):
        is_known = length >= k
        place = slice(2**k - 1, 2 ** (k + 1) - 1)
        which = code[is_known] & (2**k - 1)
        sums.spikes[place] = np.bincount(which, counts[is_known], 2**k)
        sums.expected[place] = np.bincount(which, mu[is_known], 2**k)
    return sums


def _log_factors(sums: _Sums, longest: int, prior_count: float) -> np.ndarray:
    """Give the log factor of every pattern from that of its most recent bins."""
    factors = np.ones(sums.spikes.size)
    for k in range(1, longest + 1):
        place, shorter = slice(2**k - 1, 2 ** (k + 1) - 1), factors[2 ** (k - 1) - 1 : 2**k - 1]
        # A pattern's most recent k - 1 bins are its lower bits.
        known = np.tile(shorter, 2)
        factors[place] = (sums.spikes[place] + prior_count * known) / (sums.expected[place] + prior_count)
    return np.log(factors)


def _effect(log_factors: np.ndarray, patterns: _Patterns, order: int) -> np.ndarray:
    """Look up the log factor of the longest known pattern of up to `order` bins."""
    known = np.minimum(patterns.length, order)
    size = np.left_shift(1, known)
    return log_factors[size - 1 + (patterns.code & (size - 1))]


@numba.njit(cache=True, nogil=True)
def _read_patterns(counts, observed, longest, code, length):
    """Fill in patterns and their lengths."""
    for i in range(counts.shape[0]):
        now, known = 0, 0
        for t in range(counts.shape[1]):
            code[i, t], length[i, t] = now, known
            now, known = _next_pattern(now, known, counts[i, t] > 0, observed[i, t], longest)


@numba.njit(cache=True, nogil=True)
def _push(has_spike, observed, longest, code, length):
    """Bring one bin of every sequence into its pattern."""
    for i in range(code.size):
        code[i], length[i] = _next_pattern(code[i], length[i], has_spike[i], observed[i], longest)


@numba.njit(cache=True, nogil=True)
def _next_pattern(now, known, has_spike, is_observed, longest):
    """Give the pattern and its length after one more bin."""
    if not is_observed:
        return 0, 0
    return ((now << 1) | (1 if has_spike else 0)) & ((1 << longest) - 1), min(known + 1, longest)
