"""The recurrent rung one bin at a time: 16 sequences a tile, by the kernel that predicts whole trials."""

from __future__ import annotations

import numba
import numpy as np

from cortexrnn.encoding.arrays import UnitTrials
from cortexrnn.encoding.population_inputs import population_inputs
from cortexrnn.encoding.rnn_kernels import as_network, empty_workspace, run_network
from cortexrnn.encoding.rnn_tiles import InputScale
from cortexrnn.encoding.stepping import Stepper
from cortexrnn.numerics.lanes import N_LANES


class NetworkStepper(Stepper):
    """The network of `RNN`, its traces and its states.

    Parameters
    ----------
    weights : ndarray of float32, shape (n_weights,)
    n_hidden : int
    scale : InputScale
        How the inputs are standardised.
    decay : ndarray, shape (n_traces,)
        Factor of every trace in a bin.
    with_spikes : bool
        False where the network's own spikes are cut off.
    trials : UnitTrials
        The sequences.
    """

    def __init__(
        self,
        weights: np.ndarray,
        n_hidden: int,
        *,
        scale: InputScale,
        decay: np.ndarray,
        with_spikes: bool,
        trials: UnitTrials,
    ):
        n_inputs, n_tiles = scale.n_inputs, -(-trials.n_trials // N_LANES)
        self._weights, self._scale, self._decay, self._with_spikes = weights, scale, decay, with_spikes
        self._observed = np.ascontiguousarray(trials.observed.T)
        self._traces = np.repeat((scale.mean_count / (1.0 - decay))[:, None], trials.n_trials, axis=1)
        self._inputs = np.zeros((n_tiles, 1, n_inputs, N_LANES), dtype=np.float32)
        start = as_network(weights, n_inputs, n_hidden).gru.start
        self._states = np.ascontiguousarray(np.broadcast_to(start[None, :, None], (n_tiles, n_hidden, N_LANES)))
        self._work = empty_workspace(1, n_hidden)
        self._gain = np.zeros((n_tiles, N_LANES), dtype=np.float32)
        self._population = np.zeros((trials.counts.shape[1], 0, trials.n_trials), dtype=np.float32)
        if scale.population is not None:
            self._population = population_inputs(trials, scale.population).astype(np.float32).transpose(1, 2, 0)

    def predict(self, t: int, below: np.ndarray) -> np.ndarray:
        """Add the network's output to the baseline."""
        raw = np.concatenate([self._traces, below[None]])
        scaled = (raw - self._scale.mean[:, None]) / self._scale.spread[:, None]
        if not self._with_spikes:
            scaled[:-1] = 0.0
        scaled = np.concatenate([scaled, self._population[t]])
        n_tiles, n_inputs = self._inputs.shape[0], scaled.shape[0]
        padded = np.zeros((n_inputs, n_tiles * N_LANES), dtype=np.float32)
        padded[:, : below.size] = scaled
        self._inputs[:, 0] = padded.reshape(n_inputs, n_tiles, N_LANES).transpose(1, 0, 2)
        _step_tiles(self._inputs, self._weights, self._states, self._work, self._gain)
        return below + self._gain.reshape(-1)[: below.size].astype(float)

    def update(self, t: int, counts: np.ndarray) -> None:
        """Let the traces decay and take in the spikes."""
        known = np.where(self._observed[t], counts, self._scale.mean_count)
        self._traces = self._decay[:, None] * self._traces + known


@numba.njit(cache=True, nogil=True, error_model="numpy")
def _step_tiles(inputs, weights, states, work, gain):
    """Run every tile for one step; changes the states and fills `gain`."""
    n_tiles, _, n_inputs, n_lanes = inputs.shape
    n_hidden = states.shape[1]
    network = as_network(weights, n_inputs, n_hidden)
    for tile in range(n_tiles):
        for j in range(n_hidden):
            for lane in range(n_lanes):
                work.tape.hidden[0, j, lane] = states[tile, j, lane]
        run_network(inputs[tile], network, work)
        for lane in range(n_lanes):
            gain[tile, lane] = work.output[0, lane]
        for j in range(n_hidden):
            for lane in range(n_lanes):
                states[tile, j, lane] = work.tape.hidden[1, j, lane]
