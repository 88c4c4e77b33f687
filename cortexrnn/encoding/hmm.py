"""HMM: a hidden state that jumps and multiplies the rate, on top of the trial gain."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, NamedTuple

import numpy as np

from cortexrnn._checks import check_count, check_positive
from cortexrnn.encoding.arrays import UnitTrials
from cortexrnn.encoding.gain import CausalGain
from cortexrnn.encoding.hmm_kernels import expect, filter_states, mean_gain, mixture_log_likelihood
from cortexrnn.encoding.likelihood import likelihood_code, trial_log_likelihood
from cortexrnn.encoding.model import Fitted, Rung
from cortexrnn.encoding.stepping import Stepper
from cortexrnn.errors import OptionError
from cortexrnn.numerics.streams import stream
from cortexrnn.spikes.folds import validation_split

# Mean stay in a state at the start of the fit, in seconds: drawn between these, on a logarithmic scale.
_STAY_S = (0.02, 0.5)
# A transition and a state's expected spikes before any data.
_PRIOR_TRANSITIONS, _PRIOR_SPIKES = 1.0, 1.0
_SHORT_ITERATIONS = 30


@dataclass(frozen=True, kw_only=True, slots=True)
class HMM(Rung):
    """mu_t = M3 times the gain of a hidden state that follows a Markov chain, predicted from all spikes before t.

    Fitted by expectation-maximisation (Baum, Petrie, Soules and Weiss 1970) to all observed bins, Poisson counts in
    every state. Scored one step ahead: the distribution over states is filtered, never smoothed. Its prediction of a
    bin is a mixture of Poisson distributions; `extend` gives the mean of it, which is what every other rung predicts,
    and `FittedHMM.mixture_log_likelihood` scores the mixture itself.

    Attributes
    ----------
    n_states : tuple of int
        Numbers of states to choose from, each at least 2, by the validation fifth of the training trials.
    n_starts : int
        Random starts of the fit, of which the best after 30 iterations goes on.
    max_iterations : int
        Of the one that goes on.
    tolerance_nats : float
        It stops when an iteration gains less.
    seed : int
        Of the starts.

    Raises
    ------
    OptionError
        If a value is not valid.
    """

    name: ClassVar[str] = "HMM"
    meaning: ClassVar[str] = "spike history, hidden state"
    sees_history: ClassVar[bool] = True
    # A state that outlasts many spikes is no effect of theirs, and fits to all surrogates would take minutes.
    is_candidate: ClassVar[bool] = False
    baseline: Rung | None = CausalGain()
    n_states: tuple[int, ...] = (2, 3)
    n_starts: int = 3
    max_iterations: int = 200
    tolerance_nats: float = 1e-2
    seed: int = 0

    def __post_init__(self) -> None:
        """Check every field."""
        if not self.n_states:
            raise OptionError("n_states are to choose from; expected at least one.")
        for number in self.n_states:
            check_count("n_states", number, at_least=2)
        check_count("n_starts", self.n_starts)
        check_count("max_iterations", self.max_iterations)
        check_positive("tolerance_nats", self.tolerance_nats)
        check_count("seed", self.seed, at_least=0)

    def fit_on(self, trials: UnitTrials, below: Fitted | None, log_mu: np.ndarray) -> FittedHMM:
        """Choose the number of states on the validation trials, then go on with all training trials."""
        log_mu = np.ascontiguousarray(log_mu)
        is_validation = validation_split(trials.condition)
        kept, held_out = trials.take(~is_validation), trials.take(is_validation)
        code = likelihood_code("poisson")
        best: tuple[float, States] | None = None
        for number in self.n_states:
            states = self._search(kept, log_mu[~is_validation], number)
            predicted = predict(states, held_out, log_mu[is_validation])
            score = float(trial_log_likelihood(held_out, predicted, code).sum())
            if best is None or score > best[0]:
                best = score, states
        score, states = best
        states, log_likelihood = climb(states, trials, log_mu, self.max_iterations, self.tolerance_nats)
        order = np.argsort(states.gain, kind="stable")
        return FittedHMM(
            below=below,
            states=States(states.start[order], np.ascontiguousarray(states.move[order][:, order]), states.gain[order]),
            bin_s=trials.bin_s,
            log_likelihood=log_likelihood,
            validation_log_likelihood=score,
        )

    def _search(self, trials: UnitTrials, log_mu: np.ndarray, number: int) -> States:
        """Climb a little from every start, and on from the best."""
        rng = stream(self.seed, "hidden states", number)
        tried = [
            climb(_draw_states(number, trials.bin_s, rng), trials, log_mu, _SHORT_ITERATIONS, self.tolerance_nats)
            for _ in range(self.n_starts)
        ]
        states = max(tried, key=lambda each: each[1][-1])[0]
        return climb(states, trials, log_mu, self.max_iterations, self.tolerance_nats)[0]


class States(NamedTuple):
    """A hidden chain.

    Attributes
    ----------
    start : ndarray, shape (n_states,)
        Distribution in the first bin of a trial.
    move : ndarray, shape (n_states, n_states)
        Probability to go from a state (row) to another in a bin.
    gain : ndarray, shape (n_states,)
        By what a state multiplies the rate of the rung below.
    """

    start: np.ndarray
    move: np.ndarray
    gain: np.ndarray


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class FittedHMM(Fitted):
    """A fitted hidden chain.

    Attributes
    ----------
    states : States
        By rising gain.
    bin_s : float
    log_likelihood : ndarray, shape (n_iterations,)
        Of the training trials with the prior, in nats, before every iteration of the last climb; it never falls.
    validation_log_likelihood : float
        Score of the mean prediction on the validation trials, by which history rungs are chosen, in nats.
    """

    below: Fitted | None
    states: States
    bin_s: float
    log_likelihood: np.ndarray
    validation_log_likelihood: float

    @property
    def stay_s(self) -> np.ndarray:
        """Mean time in every state in seconds, shape (n_states,)."""
        return self.bin_s / (1.0 - np.diag(self.states.move))

    def extend(self, trials: UnitTrials, log_mu: np.ndarray) -> np.ndarray:
        """Add the log of the gain that is expected given the spikes before each bin."""
        return predict(self.states, trials, log_mu)

    def stepper(self, trials: UnitTrials) -> StateStepper:
        """Give the expected gain one bin at a time."""
        return StateStepper(self.states, trials)

    def state_probability(self, trials: UnitTrials, log_mu: np.ndarray) -> np.ndarray:
        """Give the probability of every state in every bin given the spikes before it.

        Parameters
        ----------
        trials : UnitTrials
        log_mu : ndarray, shape (n_trials, n_bins)
            Of the rung below.

        Returns
        -------
        ndarray, shape (n_trials, n_bins, n_states)
        """
        return _filtered(self.states, trials, log_mu)

    def mixture_log_likelihood(self, trials: UnitTrials, log_mu: np.ndarray) -> np.ndarray:
        """Score the mixture of Poisson distributions that the chain predicts.

        Parameters
        ----------
        trials : UnitTrials
        log_mu : ndarray, shape (n_trials, n_bins)
            Of the rung below.

        Returns
        -------
        ndarray, shape (n_trials,)
            In nats, over the scored bins.
        """
        probability = _filtered(self.states, trials, log_mu)
        log_mu = np.ascontiguousarray(log_mu)
        return mixture_log_likelihood(trials.counts, trials.scored, log_mu, probability, self.states.gain)


class StateStepper(Stepper):
    """The expected gain of `HMM`, by the distribution over states given the spikes so far.

    Parameters
    ----------
    states : States
    trials : UnitTrials
        The sequences.
    """

    def __init__(self, states: States, trials: UnitTrials):
        self._states = states
        # One bin of every sequence is a column for the kernel of whole trials.
        self._observed = np.ascontiguousarray(trials.observed.T)[:, :, None]
        self._before = np.tile(states.start, (trials.n_trials, 1))
        self._log_mu = np.zeros((trials.n_trials, 1))

    def predict(self, t: int, below: np.ndarray) -> np.ndarray:
        """Add the log of the expected gain."""
        self._log_mu = np.ascontiguousarray(below)[:, None]
        return below + _log_mean_gain(self._before, self._states.gain)

    def update(self, t: int, counts: np.ndarray) -> None:
        """Filter the states by the counts of the bin where it is observed, and move on."""
        column, (_, move, gain) = np.ascontiguousarray(counts)[:, None], self._states
        present = np.empty((*column.shape, gain.size))
        filter_states(column, self._observed[t], self._log_mu, self._before, move, gain, present)


def predict(states: States, trials: UnitTrials, log_mu: np.ndarray) -> np.ndarray:
    """Give the log of the mean count of every bin given the spikes before it, shape (n_trials, n_bins)."""
    return log_mu + _log_mean_gain(_filtered(states, trials, log_mu), states.gain)


def climb(
    states: States, trials: UnitTrials, log_mu: np.ndarray, max_iterations: int, tolerance_nats: float
) -> tuple[States, np.ndarray]:
    """Improve a chain by expectation-maximisation.

    Parameters
    ----------
    states : States
        Where to begin.
    trials : UnitTrials
        All observed bins are used.
    log_mu : ndarray, shape (n_trials, n_bins)
        Of the rung below.
    max_iterations : int
    tolerance_nats : float
        It stops when an iteration gains less.

    Returns
    -------
    states : States
    log_likelihood : ndarray, shape (n_iterations,)
        With the log of the prior, before every iteration.
    """
    values: list[float] = []
    while len(values) < max_iterations:
        sums = expect(trials.counts, trials.observed, log_mu, *states)
        values.append(sums.log_likelihood + _log_prior(states))
        if len(values) > 1 and values[-1] - values[-2] < tolerance_nats:
            break
        start, move = sums.start + _PRIOR_TRANSITIONS, sums.moves + _PRIOR_TRANSITIONS
        gain = (sums.spikes + _PRIOR_SPIKES) / (sums.expected + _PRIOR_SPIKES)
        states = States(start / start.sum(), move / move.sum(axis=1, keepdims=True), gain)
    return states, np.array(values)


def _log_prior(states: States) -> float:
    """Give the log of the prior up to a constant: of Dirichlet distributions and of Gamma distributions with mode 1."""
    chances = np.log(states.start).sum() + np.log(states.move).sum()
    return float(_PRIOR_TRANSITIONS * chances + _PRIOR_SPIKES * (np.log(states.gain) - states.gain).sum())


def _draw_states(number: int, bin_s: float, rng: np.random.Generator) -> States:
    """Draw a chain to begin with: gains apart by a factor of e or so, long stays."""
    stay_s = np.exp(rng.uniform(*np.log(_STAY_S), number))
    leave = np.minimum(bin_s / stay_s, 0.5)
    move = np.tile((leave / (number - 1))[:, None], (1, number))
    np.fill_diagonal(move, 1.0 - leave)
    gain = np.exp(np.linspace(-1.0, 1.0, number) + 0.3 * rng.standard_normal(number))
    return States(np.full(number, 1.0 / number), move, gain)


def _filtered(states: States, trials: UnitTrials, log_mu: np.ndarray) -> np.ndarray:
    """Give the probability of every state given the spikes before each bin, shape (n_trials, n_bins, n_states)."""
    probability = np.empty((*trials.counts.shape, states.gain.size))
    before = np.tile(states.start, (trials.n_trials, 1))
    log_mu = np.ascontiguousarray(log_mu)
    filter_states(trials.counts, trials.observed, log_mu, before, states.move, states.gain, probability)
    return probability


def _log_mean_gain(probability: np.ndarray, gain: np.ndarray) -> np.ndarray:
    """Give the log of the expected gain; the states are the last axis of their probability."""
    mean = np.empty(probability.shape[:-1])
    mean_gain(probability.reshape(-1, gain.size), gain, mean.reshape(-1))
    return np.log(mean)
