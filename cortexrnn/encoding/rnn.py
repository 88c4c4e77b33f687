"""Rungs M6 and M6cut: a recurrent network with (or without) the unit's own past spikes, on top of a baseline."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from cortexrnn._checks import check_choice, check_count, check_positive
from cortexrnn.cells.gru import init_gru
from cortexrnn.encoding.arrays import UnitTrials
from cortexrnn.encoding.rnn_kernels import (
    Learner,
    TrainingSet,
    as_network,
    count_weights,
    empty_workspace,
    exponential_traces,
    predict_tile,
    train_epoch,
)
from cortexrnn.errors import NumericalError, OptionError
from cortexrnn.numerics.lanes import N_LANES
from cortexrnn.training.adam import init_adam


@dataclass(frozen=True, kw_only=True, slots=True)
class RNN:
    """A GRU that adds what it makes of the past to the log-rate of a baseline.

    Attributes
    ----------
    n_hidden : int
        Units of the GRU.
    likelihood : str
        "poisson", or "bernoulli" with the complementary log-log link for counts of 0 and 1.
    uses_own_spikes : bool
        False gives the control rung: the same network, hyper-parameters and seeds, its spike inputs zero.
    trace_s : tuple of float
        Time constants of the exponential traces of past spikes that are offered beside the last bin's count.
    segment_s : float
        Longest piece of a trial through which gradients travel back.
    learning_rate : float
        Peak of the schedule, which rises over the first epoch and falls as a cosine to zero.
    max_epochs : int
        Epochs of the schedule.
    patience : int
        Epochs without a better validation score after which training stops.
    """

    n_hidden: int = 16
    likelihood: str = "poisson"
    uses_own_spikes: bool = True
    trace_s: tuple[float, ...] = (0.003, 0.01, 0.03, 0.1, 0.3)
    segment_s: float = 0.25
    learning_rate: float = 0.01
    max_epochs: int = 40
    patience: int = 8
    average_decay: float = 0.98

    def __post_init__(self) -> None:
        """Check every field."""
        check_count("n_hidden", self.n_hidden)
        check_choice("likelihood", self.likelihood, ("poisson", "bernoulli"))
        for value in self.trace_s:
            check_positive("trace_s", value)
        check_positive("segment_s", self.segment_s)
        check_positive("learning_rate", self.learning_rate)
        check_count("max_epochs", self.max_epochs)
        check_count("patience", self.patience)


class InputScale(NamedTuple):
    """Means and scales of the inputs over the training trials; spike inputs first, the log baseline last."""

    mean: np.ndarray
    scale: np.ndarray
    mean_count: float


@dataclass(frozen=True, kw_only=True, slots=True)
class FittedRNN:
    """A trained network.

    Attributes
    ----------
    spec : RNN
    weights : ndarray of float32, shape (n_weights,)
    input_scale : InputScale
    bin_s : float
    validation_gain : float
        Gain over the baseline on the validation trials, in nats per spike; 0 where the baseline was kept.
    n_epochs : int
        Epochs trained.
    """

    spec: RNN
    weights: np.ndarray
    input_scale: InputScale
    bin_s: float
    validation_gain: float
    n_epochs: int

    def log_mu(self, trials: UnitTrials, baseline: np.ndarray) -> np.ndarray:
        """Give the log expected count of every bin, given all spikes before it.

        Parameters
        ----------
        trials : UnitTrials
        baseline : ndarray, shape (n_trials, n_bins)
            Log of the baseline's expected count per bin.

        Returns
        -------
        ndarray of float64, shape (n_trials, n_bins)
        """
        inputs = lane_inputs(self.spec, trials, baseline, self.input_scale)
        return baseline + _log_gain(inputs, self.weights, self.spec, trials)


def train_network(spec, trials, baseline, is_validation, seed):
    rng = np.random.default_rng(seed)
    training = trials.take(~is_validation)
    validation = trials.take(is_validation)
    scale = measure_inputs(spec, training, baseline[~is_validation])
    pieces = cut_pieces(spec, training, baseline[~is_validation], scale, rng)
    held_inputs = lane_inputs(spec, validation, baseline[is_validation], scale)
    n_inputs = held_inputs.shape[2]
    weights = initial_weights(n_inputs, spec.n_hidden, rng)
    learner = Learner(weights, weights.copy(), init_adam(weights.size))
    work = empty_workspace(pieces.inputs.shape[1], spec.n_hidden)
    n_tiles = pieces.inputs.shape[0]
    n_spikes = max(1.0, float(validation.spikes_per_trial.sum()))
    start = _loss(spec, validation, baseline[is_validation])
    best, best_weights, best_epoch = 0.0, np.zeros_like(weights), 0
    options = (spec.likelihood == "bernoulli", spec.average_decay)
    log = []
    for epoch in range(spec.max_epochs):
        progress = (epoch + np.arange(1, n_tiles + 1) / n_tiles) / spec.max_epochs
        rates = spec.learning_rate * np.minimum(progress * spec.max_epochs, 0.5 * (1 + np.cos(np.pi * progress)))
        n_done = train_epoch(pieces, rng.permutation(n_tiles), learner, rates, work, options)
        if n_done < n_tiles:
            raise NumericalError(
                f"the gradient of step {epoch * n_tiles + n_done} is not finite.",
                hint="Use a smaller learning_rate.",
            )
        log_mu = baseline[is_validation] + _log_gain(held_inputs, learner.average, spec, validation)
        gain = (start - _loss(spec, validation, log_mu)) / n_spikes
        log.append(gain)
        if gain > best:
            best, best_weights, best_epoch = gain, learner.average.copy(), epoch
        if epoch - best_epoch >= spec.patience:
            break
    f = FittedRNN(
        spec=spec, weights=best_weights, input_scale=scale, bin_s=trials.bin_s, validation_gain=best, n_epochs=epoch + 1
    )
    return f, log


def initial_weights(n_inputs: int, n_hidden: int, rng: np.random.Generator) -> np.ndarray:
    """Draw a GRU's weights and leave the read-out at zero, so that training starts at the baseline."""
    flat = np.zeros(count_weights(n_inputs, n_hidden), dtype=np.float32)
    views = as_network(flat, n_inputs, n_hidden)
    for view, drawn in zip(views.gru, init_gru(n_inputs, n_hidden, rng), strict=True):
        view[:] = drawn
    return flat


def spike_inputs(spec, trials, mean_count):
    """Give the last bin's count and the traces, shape (n_trials, n_bins, n_spike_inputs), before scaling."""
    n_trials, n_bins = trials.counts.shape
    known = np.where(trials.observed, trials.counts, mean_count).astype(float)
    decays = np.concatenate(([0.0], np.exp(-trials.bin_s / np.asarray(spec.trace_s))))
    out = np.empty((n_trials, n_bins, decays.size))
    for trial in range(n_trials):
        exponential_traces(known[trial], decays, mean_count / (1 - decays), out[trial])
    return out


def measure_inputs(spec, trials, baseline):
    """Measure means and scales over the scored bins of the training trials."""
    mean_count = float(trials.counts[trials.observed].mean()) if trials.observed.any() else 0.0
    values = np.concatenate((spike_inputs(spec, trials, mean_count), baseline[:, :, None]), axis=2)
    chosen = values[trials.scored]
    spread = chosen.std(axis=0)
    scale = np.where(spread > 1e-6, spread, 1.0)
    # The raw count's sd is tiny at low rates: a spike would be an input of 10 or more.
    return InputScale(chosen.mean(axis=0), scale, mean_count)


def lane_inputs(spec, trials, baseline, scale):
    """Give standardised inputs in tiles of whole trials, shape (n_tiles, n_bins, n_inputs, N_LANES) float32."""
    n_trials, n_bins = trials.counts.shape
    values = np.concatenate((spike_inputs(spec, trials, scale.mean_count), baseline[:, :, None]), axis=2)
    values -= scale.mean
    values /= scale.scale
    if not spec.uses_own_spikes:
        values[:, :, :-1] = 0.0
    n_tiles = -(-n_trials // N_LANES)
    padded = np.zeros((n_tiles * N_LANES, n_bins, values.shape[2]), dtype=np.float32)
    padded[:n_trials] = values
    return np.ascontiguousarray(padded.reshape(n_tiles, N_LANES, n_bins, -1).transpose(0, 2, 3, 1))


def cut_pieces(spec, trials, baseline, scale, rng):
    n_trials, n_bins = trials.counts.shape
    inputs = lane_inputs(spec, trials, baseline, scale)
    n_pieces = max(1, round(n_bins * trials.bin_s / spec.segment_s))
    n_steps = -(-n_bins // n_pieces)
    n_all = n_trials * n_pieces
    n_tiles = -(-n_all // N_LANES)
    shuffled = rng.permutation(n_all)
    tile_of = np.empty(n_all, np.int64)
    lane_of = np.empty(n_all, np.int64)
    tile_of[shuffled] = np.arange(n_all) // N_LANES
    lane_of[shuffled] = np.arange(n_all) % N_LANES
    n_inputs = inputs.shape[2]
    # A step's gradient is in nats per spike of an average tile.
    per_spike = n_tiles / max(1.0, float(trials.spikes_per_trial.sum()))
    pieces = TrainingSet(
        inputs=np.zeros((n_tiles, n_steps, n_inputs, N_LANES), np.float32),
        log_baseline=np.zeros((n_tiles, n_steps, N_LANES), np.float32),
        counts=np.zeros((n_tiles, n_steps, N_LANES), np.float32),
        weight=np.zeros((n_tiles, n_steps, N_LANES), np.float32),
        states=np.zeros((n_tiles, spec.n_hidden, N_LANES), np.float32),
        next_tile=np.full((n_tiles, N_LANES), -1),
        next_lane=np.full((n_tiles, N_LANES), -1),
        is_first=np.zeros((n_tiles, N_LANES), bool),
    )
    for piece in range(n_all):
        trial, part = divmod(piece, n_pieces)
        tile, lane = tile_of[piece], lane_of[piece]
        first, stop = part * n_steps, min((part + 1) * n_steps, n_bins)
        n = stop - first
        pieces.inputs[tile, :n, :, lane] = inputs[trial // N_LANES, first:stop, :, trial % N_LANES]
        pieces.log_baseline[tile, :n, lane] = baseline[trial, first:stop]
        pieces.counts[tile, :n, lane] = trials.counts[trial, first:stop]
        pieces.weight[tile, :n, lane] = trials.scored[trial, first:stop] * per_spike
        pieces.is_first[tile, lane] = part == 0
        if part + 1 < n_pieces:
            pieces.next_tile[tile, lane] = tile_of[piece + 1]
            pieces.next_lane[tile, lane] = lane_of[piece + 1]
    return pieces


def _log_gain(inputs, weights, spec, trials):
    n_tiles, n_bins = inputs.shape[:2]
    work = empty_workspace(min(n_bins, 256), spec.n_hidden)
    gain = np.empty((n_tiles, n_bins, N_LANES), np.float32)
    for tile in range(n_tiles):
        predict_tile(inputs[tile], weights, work, gain[tile])
    return gain.transpose(0, 2, 1).reshape(n_tiles * N_LANES, n_bins)[: trials.n_trials].astype(float)


def _loss(spec, trials, log_mu):
    mu = np.exp(log_mu[trials.scored])
    y = trials.counts[trials.scored].astype(float)
    if spec.likelihood == "bernoulli":
        return float(np.sum((1 - y) * mu) - np.sum(np.log(-np.expm1(-mu[y > 0]))))
    return float(np.sum(mu) - np.sum((y * log_mu[trials.scored])[y > 0]))
