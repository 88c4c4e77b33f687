"""A network of the training engine one bin at a time, on spikes of its own."""

from __future__ import annotations

import numpy as np

from cortexrnn.encoding.arrays import UnitTrials
from cortexrnn.encoding.network_sweep import LogRateNetwork
from cortexrnn.encoding.rnn_tiles import InputScale
from cortexrnn.encoding.stepping import Stepper
from cortexrnn.numerics.lanes import N_LANES


class ModelStepper(Stepper):
    """The network of `Network`, its traces and its states.

    Parameters
    ----------
    network : LogRateNetwork
        Swept one step at a time.
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
        network: LogRateNetwork,
        *,
        scale: InputScale,
        decay: np.ndarray,
        with_spikes: bool,
        trials: UnitTrials,
    ):
        n_tiles = -(-trials.n_trials // N_LANES)
        self._network, self._packed = network, network.pack()
        self._scale, self._decay, self._with_spikes = scale, decay, with_spikes
        self._observed = np.ascontiguousarray(trials.observed.T)
        self._traces = np.repeat((scale.mean_count / (1.0 - decay))[:, None], trials.n_trials, axis=1)
        network.lay_start(self._packed)
        self._states = [np.repeat(state[None], n_tiles, axis=0) for state in network.states(0)]

    def predict(self, t: int, below: np.ndarray) -> np.ndarray:
        """Add the network's output to the baseline."""
        raw = np.concatenate([self._traces, below[None]])
        scaled = (raw - self._scale.mean[:, None]) / self._scale.spread[:, None]
        if not self._with_spikes:
            scaled[:-1] = 0.0
        n_tiles, n_inputs = len(self._states[0]), len(raw)
        inputs = np.zeros((n_inputs, n_tiles * N_LANES), dtype=np.float32)
        inputs[:, : below.size] = scaled
        tiles = np.ascontiguousarray(inputs.reshape(n_inputs, n_tiles, N_LANES).transpose(1, 0, 2))
        gain = np.empty((n_tiles, N_LANES), dtype=np.float32)
        for tile in range(n_tiles):
            for state, kept in zip(self._network.states(0), self._states, strict=True):
                state[:] = kept[tile]
            gain[tile] = self._network.forward(self._packed, tiles[tile][None])[0]
            for state, kept in zip(self._network.states(1), self._states, strict=True):
                kept[tile] = state
        return below + gain.reshape(-1)[: below.size].astype(float)

    def update(self, t: int, counts: np.ndarray) -> None:
        """Let the traces decay and take in the spikes."""
        known = np.where(self._observed[t], counts, self._scale.mean_count)
        self._traces = self._decay[:, None] * self._traces + known
