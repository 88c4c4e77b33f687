"""M6 and M6cut: a recurrent network on top of the trial gain, with the unit's own past spikes or without."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, NamedTuple

import numpy as np

from cortexrnn._checks import check_choice, check_count, check_positive
from cortexrnn.cells.gru import init_gru
from cortexrnn.cells.gru_packed import GRUCellWeights
from cortexrnn.encoding.arrays import UnitTrials
from cortexrnn.encoding.gain import CausalGain
from cortexrnn.encoding.likelihood import BERNOULLI, LIKELIHOODS, likelihood_code, trial_log_likelihood
from cortexrnn.encoding.model import Fitted, Rung
from cortexrnn.encoding.rnn_kernels import (
    Learner,
    TrainingSet,
    Workspace,
    as_network,
    count_weights,
    empty_workspace,
    predict_tile,
    train_epoch,
)
from cortexrnn.encoding.rnn_stepping import NetworkStepper
from cortexrnn.encoding.rnn_tiles import InputScale, cut_pieces, measure_inputs, scaled_inputs, to_lanes, trace_decay
from cortexrnn.errors import DataError, NumericalError, OptionError
from cortexrnn.numerics.lanes import N_LANES
from cortexrnn.numerics.streams import stream
from cortexrnn.spikes.folds import validation_split
from cortexrnn.theory.cell_system import CellSystem
from cortexrnn.theory.system import System
from cortexrnn.training.adam import init_adam

# Whole trials are predicted in chunks of this many bins, so that the buffers stay in the cache.
_CHUNK_BINS = 256


@dataclass(frozen=True, kw_only=True, slots=True)
class RNN(Rung):
    """log mu = log M3 + what a GRU makes of the unit's own past spikes and of log M3.

    Trained on four fifths of the training trials by Adam with truncated back-propagation through time; the last
    fifth stops it early. The read-out starts at zero, so that training starts at M3, and M3 is kept where no epoch
    is better on the validation trials. Trials are cut into pieces; a piece starts from the state in which the piece
    before it ended when that was last run.

    Attributes
    ----------
    n_hidden : int
        Units of the GRU.
    likelihood : {"poisson", "bernoulli"}
        Observation model that is maximised.
    uses_own_spikes : bool
        False gives the control M6cut: the same network, hyper-parameters and random streams, its spike inputs zero.
    trace_s : tuple of float
        Time constants, in seconds, of the exponential traces of past spikes that are inputs beside the count of
        the last bin. A network can grow such traces itself, but takes several times as many epochs.
    piece_s : float
        Length of the pieces, in seconds, and so of the longest way of a gradient into the past.
    learning_rate : float
        Peak of the schedule, which rises linearly over the first epoch and falls as a cosine to zero.
    max_epochs : int
        Length of the schedule.
    patience : int
        Epochs without a better validation score after which training stops.
    seed : int
        Seed of the initial weights and of the order of the pieces.
    """

    meaning: ClassVar[str] = "spike history, recurrent network"
    baseline: Rung | None = CausalGain()
    n_hidden: int = 16
    likelihood: str = "poisson"
    uses_own_spikes: bool = True
    trace_s: tuple[float, ...] = (0.002, 0.005, 0.012, 0.03, 0.1, 0.3)
    piece_s: float = 0.25
    learning_rate: float = 0.015
    max_epochs: int = 30
    patience: int = 6
    seed: int = 0

    def __post_init__(self) -> None:
        """Check every field."""
        check_count("n_hidden", self.n_hidden)
        check_choice("likelihood", self.likelihood, LIKELIHOODS)
        for value in self.trace_s:
            check_positive("trace_s", value)
        check_positive("piece_s", self.piece_s)
        check_positive("learning_rate", self.learning_rate)
        check_count("max_epochs", self.max_epochs)
        check_count("patience", self.patience)
        check_count("seed", self.seed, at_least=0)

    @property
    def name(self) -> str:
        """M6, or M6cut without the unit's own spikes."""
        return "M6" if self.uses_own_spikes else "M6cut"

    @property
    def sees_history(self) -> bool:
        """Whether the unit's own spikes are inputs."""
        return self.uses_own_spikes

    def fit_on(self, trials: UnitTrials, below: Fitted | None, log_mu: np.ndarray) -> FittedRNN:
        """Train on four fifths of the training trials and stop by the last fifth.

        Raises
        ------
        DataError
            If there are fewer than two trials, or several spikes in a bin under the Bernoulli likelihood.
        NumericalError
            If no gradient of an epoch is finite.
        """
        likelihood_code(self.likelihood, trials.counts)
        is_validation = validation_split(trials.condition)
        if is_validation.all():
            raise DataError(
                f"{trials.n_trials} training trial cannot be divided for early stopping; a network needs at least two.",
                hint="Use more trials, or rungs without networks.",
            )
        trained = train_network(self, trials, log_mu, is_validation)
        return FittedRNN(below=below, spec=self, bin_s=trials.bin_s, **trained._asdict())


class TrainedNetwork(NamedTuple):
    """What training gives.

    Attributes
    ----------
    weights : ndarray of float32, shape (n_weights,)
        Weights of the best epoch, in the order of `as_network`; all zero where the baseline was kept.
    scale : InputScale
    validation_log_likelihood : float
        Score on the validation trials, in nats.
    validation_gain : ndarray of float64, shape (n_epochs,)
        Gain over the baseline on the validation trials after every epoch, in nats.
    """

    weights: np.ndarray
    scale: InputScale
    validation_log_likelihood: float
    validation_gain: np.ndarray


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class FittedRNN(Fitted):
    """A trained network on top of a fitted rung; fields as in `TrainedNetwork`."""

    below: Fitted | None
    spec: RNN
    bin_s: float
    weights: np.ndarray
    scale: InputScale
    validation_log_likelihood: float
    validation_gain: np.ndarray

    def extend(self, trials: UnitTrials, log_mu: np.ndarray) -> np.ndarray:
        """Add the network's output, given all spikes before each bin."""
        return log_mu + log_gain(self.spec, _whole_trials(self.spec, trials, log_mu, self.scale), self.weights, trials)

    def stepper(self, trials: UnitTrials) -> NetworkStepper:
        """Give the network one bin at a time."""
        return NetworkStepper(
            self.weights,
            self.spec.n_hidden,
            scale=self.scale,
            decay=trace_decay(self.spec.trace_s, self.bin_s),
            with_spikes=self.spec.uses_own_spikes,
            trials=trials,
        )

    def system(self, *, baseline_hz: float, rate_hz: float = 0.0) -> System:
        """Give the network at a constant input, for what `cortexrnn.theory` makes of it; its rates are hidden states.

        Parameters
        ----------
        baseline_hz : float
            Rate that the rungs below expect, above 0.
        rate_hz : float
            Rate at which the unit fires, at least 0: traces of its spikes stand at their means.

        Returns
        -------
        System

        Raises
        ------
        OptionError
            If a rate is not valid.
        """
        if not 0.0 <= rate_hz < np.inf:
            raise OptionError(f"rate_hz={rate_hz!r} is not valid; expected a finite number of at least 0.")
        count = self.bin_s * rate_hz
        baseline = self.bin_s * check_positive("baseline_hz", baseline_hz)
        decay = trace_decay(self.spec.trace_s, self.bin_s)
        inputs = (np.append(count / (1.0 - decay), np.log(baseline)) - self.scale.mean) / self.scale.spread
        if not self.spec.uses_own_spikes:
            inputs[:-1] = 0.0
        gru = as_network(self.weights, inputs.size, self.spec.n_hidden).gru
        weights = GRUCellWeights(*gru[:4], norm_gain=np.empty(0), start=gru.start[None])
        return CellSystem("gru", weights, inputs, dt_s=self.bin_s)


def train_network(spec: RNN, trials: UnitTrials, log_baseline: np.ndarray, is_validation: np.ndarray) -> TrainedNetwork:
    """Train a network on top of any baseline.

    Parameters
    ----------
    spec : RNN
    trials : UnitTrials
        Training and validation trials.
    log_baseline : ndarray, shape (n_trials, n_bins)
        Log of the baseline's expected count of every bin, given the past only; finite everywhere.
    is_validation : ndarray of bool, shape (n_trials,)
        Trials that stop the training; at least one, and not all.

    Returns
    -------
    TrainedNetwork

    Raises
    ------
    NumericalError
        If no gradient of an epoch is finite.
    """
    rng = stream(spec.seed, "recurrent network")
    held_out, held_base = trials.take(is_validation), log_baseline[is_validation]
    scale = measure_inputs(trials.take(~is_validation), log_baseline[~is_validation], spec.trace_s)
    pieces = _training_pieces(spec, trials.take(~is_validation), log_baseline[~is_validation], scale, rng)
    n_tiles, n_steps, n_inputs, _ = pieces.inputs.shape
    weights = initial_weights(n_inputs, spec.n_hidden, rng)
    learner = Learner(weights, weights.copy(), init_adam(weights.size))
    work = empty_workspace(n_steps, spec.n_hidden)
    held_inputs = _whole_trials(spec, held_out, held_base, scale)
    code = LIKELIHOODS[spec.likelihood]
    reference = float(trial_log_likelihood(held_out, held_base, code).sum())
    best, best_weights, gains, n_waited = 0.0, np.zeros_like(weights), [], 0
    while len(gains) < spec.max_epochs and n_waited < spec.patience:
        rates = _learning_rates(spec, len(gains), n_tiles)
        n_taken = train_epoch(pieces, rng.permutation(n_tiles), rates, learner, work, code == BERNOULLI)
        # A network near chaos now and then sends an infinite gradient back; one that does nothing else is lost.
        if n_taken == 0:
            raise NumericalError(
                f"no gradient of epoch {len(gains) + 1} is finite; expected most of {n_tiles} to be.",
                hint="Use a smaller learning_rate.",
            )
        log_mu = held_base + log_gain(spec, held_inputs, learner.average, held_out)
        gains.append(float(trial_log_likelihood(held_out, log_mu, code).sum()) - reference)
        n_waited += 1
        if gains[-1] > best:
            best, best_weights, n_waited = gains[-1], learner.average.copy(), 0
    return TrainedNetwork(best_weights, scale, reference + best, np.array(gains))


def initial_weights(n_inputs: int, n_hidden: int, rng: np.random.Generator, dtype: type = np.float32) -> np.ndarray:
    """Draw a GRU's weights into a flat array and leave the read-out at zero: training starts at the baseline."""
    flat = np.zeros(count_weights(n_inputs, n_hidden), dtype=dtype)
    drawn = init_gru(n_inputs, n_hidden, rng, dtype)
    for view, values in zip(as_network(flat, n_inputs, n_hidden).gru, drawn, strict=True):
        view[:] = values
    return flat


def log_gain(spec: RNN, inputs: np.ndarray, weights: np.ndarray, trials: UnitTrials) -> np.ndarray:
    """Give what the network adds to the log baseline, shape (n_trials, n_bins), float64."""
    n_tiles, n_bins = inputs.shape[:2]
    work: Workspace = empty_workspace(min(n_bins, _CHUNK_BINS), spec.n_hidden)
    gain = np.empty((n_tiles, n_bins, N_LANES), dtype=np.float32)
    for tile in range(n_tiles):
        predict_tile(inputs[tile], weights, work, gain[tile])
    return gain.transpose(0, 2, 1).reshape(n_tiles * N_LANES, n_bins)[: trials.n_trials].astype(float)


def _training_pieces(
    spec: RNN, trials: UnitTrials, log_baseline: np.ndarray, scale: InputScale, rng: np.random.Generator
) -> TrainingSet:
    """Cut the training trials into pieces, shuffled into tiles, with states of zero before each."""
    inputs = scaled_inputs(trials, log_baseline, spec.trace_s, scale, with_spikes=spec.uses_own_spikes)
    n_pieces = max(1, round(trials.counts.shape[1] * trials.bin_s / spec.piece_s))
    pieces = cut_pieces(trials, log_baseline, inputs, n_pieces, rng.permutation(trials.n_trials * n_pieces))
    states = np.zeros((pieces.inputs.shape[0], spec.n_hidden, N_LANES), dtype=np.float32)
    return pieces._replace(states=states)


def _whole_trials(spec: RNN, trials: UnitTrials, log_baseline: np.ndarray, scale: InputScale) -> np.ndarray:
    """Give the inputs of whole trials in tiles, shape (n_tiles, n_bins, n_inputs, N_LANES)."""
    inputs = scaled_inputs(trials, log_baseline, spec.trace_s, scale, with_spikes=spec.uses_own_spikes)
    return to_lanes(inputs, np.arange(trials.n_trials))


def _learning_rates(spec: RNN, epoch: int, n_tiles: int) -> np.ndarray:
    """Give the learning rate of every step of an epoch: a linear rise over the first, then a cosine to zero."""
    passed = epoch + np.arange(1, n_tiles + 1) / n_tiles
    return spec.learning_rate * np.minimum(passed, 0.5 + 0.5 * np.cos(np.pi * passed / spec.max_epochs))
