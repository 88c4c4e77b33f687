"""What the recurrent rung is shown: causal inputs, standardised, and laid out 16 trials or pieces side by side."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from cortexrnn.encoding.arrays import UnitTrials
from cortexrnn.encoding.population_inputs import PopulationAxes, population_inputs
from cortexrnn.encoding.rnn_kernels import TrainingSet, exponential_traces
from cortexrnn.numerics.lanes import N_LANES

# An input that varies less than this is left unscaled: it carries nothing but round-off.
_SMALLEST_SPREAD = 1e-6


class InputScale(NamedTuple):
    """How inputs are standardised, measured on the training trials.

    Attributes
    ----------
    mean, spread : ndarray of float64, shape (n_inputs,)
        Mean and standard deviation over scored bins; spike inputs first, the log baseline last.
    mean_count : float
        Mean count of an observed bin, which stands in where nobody observed.
    population : PopulationAxes or None
        Inputs behind these that come from other units.
    """

    mean: np.ndarray
    spread: np.ndarray
    mean_count: float
    population: PopulationAxes | None = None

    @property
    def n_inputs(self) -> int:
        """Number of inputs, those of other units included."""
        return self.mean.size + (0 if self.population is None else self.population.offset.size)


def raw_inputs(
    trials: UnitTrials, log_baseline: np.ndarray, trace_s: tuple[float, ...], mean_count: float
) -> np.ndarray:
    """Give the inputs of every bin before scaling.

    They are the count of the bin before, exponential traces ``x_t = exp(-bin_s / tau) x_{t-1} + y_{t-1}`` of all
    counts before, and the log baseline of the bin itself, which is known before the bin. Unobserved bins, and
    the time before the first bin, enter with the mean count: nobody said that there were no spikes.

    Parameters
    ----------
    trials : UnitTrials
    log_baseline : ndarray, shape (n_trials, n_bins)
    trace_s : tuple of float
        Time constants in seconds.
    mean_count : float

    Returns
    -------
    ndarray of float64, shape (n_trials, n_bins, len(trace_s) + 2)
    """
    known = np.where(trials.observed, trials.counts, mean_count).astype(float)
    decay = trace_decay(trace_s, trials.bin_s)
    inputs = np.empty((*known.shape, decay.size + 1))
    exponential_traces(known, decay, mean_count / (1.0 - decay), inputs)
    inputs[:, :, -1] = log_baseline
    return inputs


def trace_decay(trace_s: tuple[float, ...], bin_s: float) -> np.ndarray:
    """Give by what factor every trace decays in a bin; the count of the bin before is the trace that decays to 0."""
    return np.concatenate(([0.0], np.exp(-bin_s / np.asarray(trace_s, dtype=float))))


def measure_inputs(trials: UnitTrials, log_baseline: np.ndarray, trace_s: tuple[float, ...]) -> InputScale:
    """Measure means and spreads of the inputs over the scored bins of the training trials."""
    mean_count = float(trials.counts[trials.observed].mean()) if trials.observed.any() else 0.0
    inputs = raw_inputs(trials, log_baseline, trace_s, mean_count)
    chosen = inputs[trials.scored] if trials.scored.any() else np.zeros((1, inputs.shape[2]))
    spread = chosen.std(axis=0)
    return InputScale(chosen.mean(axis=0), np.where(spread > _SMALLEST_SPREAD, spread, 1.0), mean_count)


def scaled_inputs(
    trials: UnitTrials, log_baseline: np.ndarray, trace_s: tuple[float, ...], scale: InputScale, *, with_spikes: bool
) -> np.ndarray:
    """Give standardised inputs, float32; those of the unit's own spikes are zero where they are cut off."""
    inputs = raw_inputs(trials, log_baseline, trace_s, scale.mean_count)
    inputs -= scale.mean
    inputs /= scale.spread
    if not with_spikes:
        inputs[:, :, :-1] = 0.0
    if scale.population is not None:
        inputs = np.concatenate([inputs, population_inputs(trials, scale.population)], axis=2)
    return inputs.astype(np.float32)


def to_lanes(rows: np.ndarray, order: np.ndarray) -> np.ndarray:
    """Put rows side by side, N_LANES to a tile, in the given order; empty lanes are zero.

    Parameters
    ----------
    rows : ndarray, shape (n_rows, n_steps, ...)
    order : ndarray of int, shape (n_used,)

    Returns
    -------
    ndarray of float32, shape (n_tiles, n_steps, ..., N_LANES)
    """
    n_tiles = -(-order.size // N_LANES)
    padded = np.zeros((n_tiles * N_LANES, *rows.shape[1:]), dtype=np.float32)
    padded[: order.size] = rows[order]
    return np.ascontiguousarray(np.moveaxis(padded.reshape(n_tiles, N_LANES, *rows.shape[1:]), 1, -1))


def cut_pieces(
    trials: UnitTrials, log_baseline: np.ndarray, inputs: np.ndarray, n_pieces: int, order: np.ndarray
) -> TrainingSet:
    """Cut every trial into `n_pieces` of equal length and lay them out in tiles.

    Parameters
    ----------
    trials : UnitTrials
    log_baseline : ndarray, shape (n_trials, n_bins)
    inputs : ndarray of float32, shape (n_trials, n_bins, n_inputs)
    n_pieces : int
    order : ndarray of int, shape (n_trials * n_pieces,)
        Permutation that decides which pieces share a tile.

    Returns
    -------
    TrainingSet
        Without states: their array is empty. Weights make the loss of a tile one in nats per spike.
    """
    n_trials, n_bins = trials.counts.shape
    n_steps = -(-n_bins // n_pieces)
    n_tiles = -(-order.size // N_LANES)

    def cut(values: np.ndarray) -> np.ndarray:
        padded = np.zeros((n_trials, n_pieces * n_steps, *values.shape[2:]), dtype=np.float32)
        padded[:, :n_bins] = values
        return to_lanes(padded.reshape(n_trials * n_pieces, n_steps, *values.shape[2:]), order)

    place = np.empty(order.size, dtype=np.int64)
    place[order] = np.arange(order.size)
    part = np.arange(order.size) % n_pieces
    following = np.full(n_tiles * N_LANES, -1)
    following[place[part < n_pieces - 1]] = place[1:][part[1:] > 0]
    is_first = np.zeros(n_tiles * N_LANES, dtype=bool)
    is_first[place[part == 0]] = True
    spikes_a_tile = max(float(trials.spikes_per_trial.sum()), 1.0) / n_tiles
    return TrainingSet(
        inputs=cut(inputs),
        log_baseline=cut(log_baseline),
        counts=cut(trials.counts),
        weight=cut(trials.scored / spikes_a_tile),
        states=np.zeros((n_tiles, 0, N_LANES), dtype=np.float32),
        following=following.reshape(n_tiles, N_LANES),
        is_first=is_first.reshape(n_tiles, N_LANES),
    )
