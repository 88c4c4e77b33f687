"""M6 and M6cut: a recurrent network on top of the trial gain, with the unit's own past spikes or without."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from cortexrnn._checks import check_positive
from cortexrnn.cells.gru import init_gru
from cortexrnn.cells.gru_packed import GRUCellWeights
from cortexrnn.encoding.arrays import UnitTrials
from cortexrnn.encoding.likelihood import BERNOULLI, LIKELIHOODS
from cortexrnn.encoding.model import Fitted
from cortexrnn.encoding.network_rung import Learning, NetworkRung, TrainedNetwork, stop_early
from cortexrnn.encoding.remedies import BoundedStepper
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
from cortexrnn.encoding.rnn_tiles import InputScale, measure_inputs, trace_decay
from cortexrnn.encoding.scheduled_sampling import Feed, make_feed
from cortexrnn.encoding.spectral_cap import cap_factors
from cortexrnn.encoding.stepping import Stepper
from cortexrnn.errors import OptionError
from cortexrnn.numerics.lanes import N_LANES
from cortexrnn.theory.cell_system import CellSystem
from cortexrnn.theory.system import System
from cortexrnn.training.adam import init_adam

# Whole trials are predicted in chunks of this many bins, so that the buffers stay in the cache.
_CHUNK_BINS = 256


@dataclass(frozen=True, kw_only=True, slots=True)
class RNN(NetworkRung):
    """log mu = log M3 + what a GRU makes of the unit's own past spikes and of log M3; fields as in `NetworkRung`."""

    @property
    def name(self) -> str:
        """M6, or M6cut without the unit's own spikes."""
        return "M6" if self.uses_own_spikes else "M6cut"

    def train(self, trials: UnitTrials, log_baseline: np.ndarray, is_validation: np.ndarray) -> TrainedNetwork:
        """Train on top of any baseline; see `NetworkRung.train`. The weights are all zero where that was kept."""
        rng = self.training_stream()
        training, base = trials.take(~is_validation), log_baseline[~is_validation]
        held_out, held_base = trials.take(is_validation), log_baseline[is_validation]
        scale = self.measure(training, base)
        pieces = self.pieces(training, base, scale, rng)
        learning = _FusedLearning(
            self,
            pieces,
            initial_weights(scale.n_inputs, self.n_hidden, rng),
            held_out,
            self.whole_trials(held_out, held_base, scale),
            feed=make_feed(self, training, base, scale),
        )
        weights, score, gains = stop_early(self, learning, held_out, held_base, n_tiles=len(pieces.inputs), rng=rng)
        return TrainedNetwork(np.zeros_like(learning.kept()) if weights is None else weights, scale, score, gains)

    def measure(self, trials: UnitTrials, log_baseline: np.ndarray) -> InputScale:
        """Measure how inputs are standardised.

        Parameters
        ----------
        trials : UnitTrials
            Trials that the network is trained on, without those that stop the training.
        log_baseline : ndarray, shape (n_trials, n_bins)

        Returns
        -------
        InputScale
        """
        return measure_inputs(trials, log_baseline, self.trace_s)

    def as_fitted(
        self, trained: TrainedNetwork, below: Fitted | None, bin_s: float, log_bound: float = np.inf
    ) -> FittedRNN:
        """Give what was trained as a fitted rung; see `NetworkRung.as_fitted`."""
        if log_bound < np.inf:
            return BoundedRNN(below=below, spec=self, bin_s=bin_s, log_bound=log_bound, **trained._asdict())
        return FittedRNN(below=below, spec=self, bin_s=bin_s, **trained._asdict())


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
        return log_mu + log_gain(self.spec, self.spec.whole_trials(trials, log_mu, self.scale), self.weights, trials)

    def stepper(self, trials: UnitTrials) -> Stepper:
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
            Rate at which the unit fires, at least 0: traces of its spikes, and of its neighbours', stand at their
            means.

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
        inputs = np.pad(inputs, (0, self.scale.n_inputs - inputs.size))
        gru = as_network(self.weights, inputs.size, self.spec.n_hidden).gru
        weights = GRUCellWeights(*gru[:4], norm_gain=np.empty(0), start=gru.start[None])
        return CellSystem("gru", weights, inputs, dt_s=self.bin_s)


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class BoundedRNN(FittedRNN):
    """A trained network with a bounded link.

    Attributes
    ----------
    log_bound : float
        Largest log mu. Further fields as in `FittedRNN`.
    """

    log_bound: float

    def extend(self, trials: UnitTrials, log_mu: np.ndarray) -> np.ndarray:
        """Add the network's output, up to the bound."""
        return np.minimum(FittedRNN.extend(self, trials, log_mu), self.log_bound)

    def stepper(self, trials: UnitTrials) -> Stepper:
        """Give the network one bin at a time, up to the bound."""
        return BoundedStepper(FittedRNN.stepper(self, trials), self.log_bound)


class _FusedLearning(Learning):
    """The GRU under training by the fused kernel; the weights to start from are changed in place."""

    def __init__(
        self,
        spec: RNN,
        pieces: TrainingSet,
        weights: np.ndarray,
        held_out: UnitTrials,
        held_out_inputs: np.ndarray,
        *,
        feed: Feed | None,
    ):
        n_tiles, n_steps, _, _ = pieces.inputs.shape
        self._learner = Learner(weights, weights.copy(), init_adam(weights.size))
        self._pieces = pieces._replace(states=np.zeros((n_tiles, spec.n_hidden, N_LANES), dtype=np.float32))
        self._work = empty_workspace(n_steps, spec.n_hidden)
        self._is_bernoulli = LIKELIHOODS[spec.likelihood] == BERNOULLI
        self._spec, self._held_out, self._held_out_inputs = spec, held_out, held_out_inputs
        self._feed, self._n_epochs = feed, 0

    def epoch(self, order: np.ndarray, rates: np.ndarray) -> int:
        """Take a step of Adam for every tile; gives how many were taken."""
        if self._feed is not None:
            inputs = self._feed.inputs(self._learner.average, self._n_epochs)
            self._pieces = self._pieces._replace(inputs=inputs)
        self._n_epochs += 1
        if self._spec.spectral_cap is None:
            return self._run(order, rates)
        n_taken = 0
        for i in range(order.size):
            n_taken += self._run(order[i : i + 1], rates[i : i + 1])
            # The mean took the weights before they were capped.
            for flat in (self._learner.weights, self._learner.average):
                cap_gru(flat, self._pieces.inputs.shape[2], self._spec)
        return n_taken

    def _run(self, order: np.ndarray, rates: np.ndarray) -> int:
        """Take steps with the fused kernel."""
        return train_epoch(self._pieces, order, rates, self._learner, self._work, self._is_bernoulli)

    def kept(self) -> np.ndarray:
        """Give the decayed mean of the weights over steps."""
        return self._learner.average

    def held_out_gain(self) -> np.ndarray:
        """Give what the kept weights add to the log baseline of the validation trials."""
        return log_gain(self._spec, self._held_out_inputs, self._learner.average, self._held_out)


def initial_weights(n_inputs: int, n_hidden: int, rng: np.random.Generator, dtype: type = np.float32) -> np.ndarray:
    """Draw a GRU's weights into a flat array and leave the read-out at zero: training starts at the baseline."""
    flat = np.zeros(count_weights(n_inputs, n_hidden), dtype=dtype)
    drawn = init_gru(n_inputs, n_hidden, rng, dtype)
    for view, values in zip(as_network(flat, n_inputs, n_hidden).gru, drawn, strict=True):
        view[:] = values
    return flat


def cap_gru(flat: np.ndarray, n_inputs: int, spec: RNN) -> None:
    """Scale the recurrent weights of a flat GRU, in place, until every gate keeps to the spectral cap."""
    recurrent = as_network(flat, n_inputs, spec.n_hidden).gru[1]
    gates = recurrent.reshape(-1, spec.n_hidden, spec.n_hidden)
    gates *= cap_factors(recurrent, spec.spectral_cap).astype(flat.dtype)


def log_gain(spec: RNN, inputs: np.ndarray, weights: np.ndarray, trials: UnitTrials) -> np.ndarray:
    """Give what the network adds to the log baseline, shape (n_trials, n_bins), float64."""
    n_tiles, n_bins = inputs.shape[:2]
    work: Workspace = empty_workspace(min(n_bins, _CHUNK_BINS), spec.n_hidden)
    gain = np.empty((n_tiles, n_bins, N_LANES), dtype=np.float32)
    for tile in range(n_tiles):
        predict_tile(inputs[tile], weights, work, gain[tile])
    return gain.transpose(0, 2, 1).reshape(n_tiles * N_LANES, n_bins)[: trials.n_trials].astype(float)
