"""A model of the training engine as a change of the log-rate: forward, back, and an epoch over pieces of trials.

As the kernels of the gated network do it (`cortexrnn.encoding.rnn_kernels`), any `Model` adds to the logarithm of the
baseline ::

    log mu_t = log mu_0,t + B tanh(eta_t / B),    eta_t = c + v . h_t + s . x_t

with what its read-out makes of its state h_t, and a direct path s from the inputs. The engine's own `Trainer` starts
every trial afresh; here a piece of a trial goes on from where the piece before it ended.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numba import njit

from cortexrnn.encoding.network_rung import Learning
from cortexrnn.encoding.rnn_kernels import (
    AVERAGE_DECAY,
    LOG_BOUND,
    MAX_GRADIENT_NORM,
    Tile,
    TrainingSet,
    fill_slope,
)
from cortexrnn.encoding.scheduled_sampling import Feed
from cortexrnn.encoding.spectral_cap import cap_factors
from cortexrnn.numerics.elementwise import tanh
from cortexrnn.numerics.lanes import N_LANES
from cortexrnn.numerics.packed import padded_rows
from cortexrnn.training import tile as lanes
from cortexrnn.training.adam import adam_step, init_adam
from cortexrnn.training.model import Core, Model, Omega
from cortexrnn.training.output import Readout, pack_readout, read_out, read_out_backward


class Packed(NamedTuple):
    """The weights of a network as its sweeps take them."""

    core: Core
    readout: Readout
    skip: np.ndarray


class LogRateNetwork:
    """A model with one output and a direct path from its inputs to that.

    Parameters
    ----------
    model : Model
        With one output. From now on its parameters are a view of `weights`.
    weights : ndarray, shape (n_parameters + n_inputs,), optional
        Parameters of the model and the direct path; those of the model with read-out and direct path zero if left
        out, which add nothing to the baseline.
    n_steps : int
        Steps that are swept at a time at most.
    spectral_cap : float, optional
        Largest singular value of recurrent weights, gate by gate, that `project` leaves.
    """

    def __init__(
        self,
        model: Model,
        weights: np.ndarray | None = None,
        *,
        n_steps: int,
        spectral_cap: float | None = None,
    ):
        self.model, self._spectral_cap = model, spectral_cap
        n_parameters = model.theta.size
        if weights is None:
            weights = np.concatenate([model.theta, np.zeros(model.n_inputs, model.dtype)])
            parts = model.parts(weights[:n_parameters])
            parts["readout"][:] = 0.0
            parts["readout_bias"][:] = 0.0
        self.weights = weights
        model.theta = weights[:n_parameters]
        self._cap()
        self._tape = model.empty_tape(n_steps, model.core_weights())
        # Products write whole blocks: the last step's reaches beyond the last row.
        n_rows = n_steps * model.n_hidden + padded_rows(model.n_hidden) - model.n_hidden
        self._by_hidden = np.zeros(n_rows * N_LANES, model.dtype)
        self._answers = np.zeros((n_steps, padded_rows(1) * N_LANES), model.dtype)
        self._by_answers = np.zeros_like(self._answers)
        self._output = np.zeros((n_steps, N_LANES), model.dtype)

    @property
    def skip(self) -> np.ndarray:
        """Weights of the direct path, shape (n_inputs,), a view."""
        return self.weights[self.model.theta.size :]

    def pack(self) -> Packed:
        """Pack the weights as they are now."""
        weights = self.model.core_weights()
        return Packed(Core(weights, self.model.pack(weights)), pack_readout(*self.model.readout()), self.skip.copy())

    def project(self) -> None:
        """Bring the weights back to where they are allowed to be, after a step."""
        self.model.project()
        self._cap()

    def _cap(self) -> None:
        """Scale the recurrent weights down to the spectral cap."""
        if self._spectral_cap is None:
            return
        # A circuit's weights are sizes of its parameters: what scales the one scales the other.
        views, weights = self.model.parts(self.model.theta), self.model.core_weights()
        name = "recurrent" if "recurrent" in views else "hidden"
        factors = cap_factors(getattr(weights, name), self._spectral_cap)
        gates = views[name].reshape(len(factors), -1, views[name].shape[1])
        gates *= factors.astype(gates.dtype)

    def lay_start(self, packed: Packed) -> None:
        """Lay the start states into the tape."""
        empty = np.empty((0, self.model.n_inputs * N_LANES), self.model.dtype)
        self.model.start(self._tile(empty), packed.core.weights, self._tape)

    def states(self, entry: int) -> list[np.ndarray]:
        """Give views of the states after `entry` steps, each (n * N_LANES,)."""
        return [getattr(self._tape, name)[entry] for name in self.model.states]

    def forward(self, packed: Packed, inputs: np.ndarray) -> np.ndarray:
        """Sweep from the states at entry 0.

        Parameters
        ----------
        packed : Packed
        inputs : ndarray, shape (n_steps, n_inputs, N_LANES)

        Returns
        -------
        ndarray, shape (n_steps, N_LANES)
            Change of the log-rate; a view that the next sweep overwrites.
        """
        n_steps = len(inputs)
        flat = inputs.reshape(n_steps, -1)
        hidden = self.model.forward(self._tile(flat), packed.core, self._part(n_steps))
        read_out(hidden, packed.readout, self._answers[:n_steps])
        bound_output(self._answers[:n_steps], packed.skip, flat, self._output[:n_steps])
        return self._output[:n_steps]

    def backward(self, packed: Packed, tile: Tile, is_first: np.ndarray, is_bernoulli: bool) -> np.ndarray:
        """Give the gradient of a tile's loss, shape (n_weights,), after `forward` on its inputs.

        Parameters
        ----------
        packed : Packed
        tile : Tile
        is_first : ndarray of bool, shape (N_LANES,)
            Lanes that began with the start states.
        is_bernoulli : bool

        Returns
        -------
        ndarray, like `weights`
        """
        model, core = self.model, packed.core
        n_steps = len(tile.inputs)
        flat, tape = tile.inputs.reshape(n_steps, -1), self._part(n_steps)
        slope = np.zeros((n_steps, N_LANES), model.dtype)
        fill_slope(self._output[:n_steps], tile.log_baseline, tile.counts, tile.weight, is_bernoulli, slope)
        self._by_answers[:n_steps, :N_LANES] = slope
        gradient = type(core.weights)(*(np.zeros_like(part) for part in core.weights))
        by_readout = np.zeros((1, model.n_hidden), model.dtype), np.zeros(1, model.dtype)
        carried = [getattr(tape, name) for name in tape._fields if name.startswith("carried")]
        for part in carried:
            part[...] = 0
        hidden = getattr(tape, model.hidden_state)
        read_out_backward(hidden, packed.readout, self._by_answers[:n_steps], self._by_hidden, *by_readout)
        by_steps = self._by_hidden[: n_steps * model.n_hidden * N_LANES].reshape(n_steps, -1)
        swept = self._tile(flat)
        model.backward(swept, by_steps, core, tape, gradient, Omega(slope, 0.0))
        for part in carried:
            part.reshape(-1, N_LANES)[:, ~is_first] = 0
        model.add_start(swept, tape, gradient)
        by_skip = np.zeros_like(packed.skip)
        add_skip(slope, flat, by_skip)
        return np.concatenate([model.pull_back(core.weights, gradient, by_readout), by_skip])

    def predict(self, packed: Packed, inputs: np.ndarray) -> np.ndarray:
        """Run 16 whole trials from the start states, some steps at a time.

        Parameters
        ----------
        packed : Packed
        inputs : ndarray, shape (n_bins, n_inputs, N_LANES)

        Returns
        -------
        ndarray, shape (n_bins, N_LANES)
            Change of the log-rate.
        """
        n_chunk, found = len(self._output), []
        self.lay_start(packed)
        for first in range(0, len(inputs), n_chunk):
            found.append(self.forward(packed, inputs[first : first + n_chunk]).copy())
            for before, after in zip(self.states(0), self.states(len(found[-1])), strict=True):
                before[:] = after
        return np.concatenate(found)

    def _tile(self, inputs: np.ndarray) -> lanes.Tile:
        """Give the inputs as the engine takes them: no noise, no dropout, all trials of one group."""
        dtype = self.model.dtype
        return lanes.Tile(
            inputs=inputs,
            current=np.empty((0, 0), dtype),
            keep=np.empty(0, dtype),
            group=np.zeros(N_LANES, np.int64),
            length=np.full(N_LANES, len(inputs), np.int64),
        )

    def _part(self, n_steps: int) -> Any:
        """Give the tape for a number of steps."""
        return self._tape if n_steps == len(self._output) else self.model.part_of(self._tape, 0, n_steps)


class PieceLearning(Learning):
    """A network that learns from pieces of trials.

    Parameters
    ----------
    network : LogRateNetwork
    pieces : TrainingSet
        Its states are not used: a network may have several.
    held_out_inputs : ndarray, shape (n_tiles, n_bins, n_inputs, N_LANES)
        Of the validation trials.
    n_held_out : int
        How many these are.
    is_bernoulli : bool
        Bernoulli likelihood with the complementary log-log link, else Poisson.
    feed : Feed, optional
        Gives the inputs of every epoch; those of the pieces if left out.
    """

    def __init__(
        self,
        network: LogRateNetwork,
        pieces: TrainingSet,
        held_out_inputs: np.ndarray,
        n_held_out: int,
        *,
        is_bernoulli: bool,
        feed: Feed | None = None,
    ):
        self._network, self._pieces, self._is_bernoulli = network, pieces, is_bernoulli
        self._feed, self._n_epochs = feed, 0
        self._held_out_inputs, self._n_held_out = held_out_inputs, n_held_out
        self._adam = init_adam(network.weights.size, network.weights.dtype.type)
        self._average = network.weights.copy()
        packed = network.pack()
        network.lay_start(packed)
        n_tiles = len(pieces.inputs)
        # States before each piece, from the last time that the piece before it was run.
        self._before = [np.repeat(state.reshape(1, -1, N_LANES), n_tiles, axis=0) for state in network.states(0)]

    def epoch(self, order: np.ndarray, rates: np.ndarray) -> int:
        """Take a step of Adam for every tile; one whose gradient is not finite is left out and changes nothing."""
        network, pieces, n_taken = self._network, self._pieces, 0
        if self._feed is not None:
            pieces = pieces._replace(inputs=self._feed.inputs(self._average, self._n_epochs))
        self._n_epochs += 1
        for i, rate in zip(order, rates, strict=True):
            tile = Tile(pieces.inputs[i], pieces.log_baseline[i], pieces.counts[i], pieces.weight[i])
            packed = network.pack()
            network.lay_start(packed)
            goes_on = ~pieces.is_first[i]
            for state, before in zip(network.states(0), self._before, strict=True):
                state.reshape(-1, N_LANES)[:, goes_on] = before[i][:, goes_on]
            network.forward(packed, tile.inputs)
            self._pass_on(i, network.states(len(tile.inputs)))
            gradient = network.backward(packed, tile, pieces.is_first[i], self._is_bernoulli)
            if not np.isfinite(adam_step(network.weights, gradient, self._adam, rate, MAX_GRADIENT_NORM)):
                continue
            network.project()
            n_taken += 1
            # The mean starts at the first weights and forgets them as 1/n until the decay takes over.
            share = max(1.0 - AVERAGE_DECAY, 1.0 / (self._adam.n_steps[0] + 1.0))
            self._average += network.weights.dtype.type(share) * (network.weights - self._average)
        return n_taken

    def kept(self) -> np.ndarray:
        """Give the decayed mean of the weights over steps."""
        return self._average

    def held_out_gain(self) -> np.ndarray:
        """Give what the kept weights add to the log baseline of the validation trials."""
        network = self._network
        current = network.weights.copy()
        network.weights[:] = self._average
        gain = log_gain(network, self._held_out_inputs, self._n_held_out)
        network.weights[:] = current
        return gain

    def _pass_on(self, i: int, states: list[np.ndarray]) -> None:
        """Hand the last states of tile `i` to the pieces that follow."""
        following = self._pieces.following[i]
        lanes_on = np.flatnonzero(following >= 0)
        to_tile, to_lane = np.divmod(following[lanes_on], N_LANES)
        for state, before in zip(states, self._before, strict=True):
            before[to_tile, :, to_lane] = state.reshape(-1, N_LANES)[:, lanes_on].T


def log_gain(network: LogRateNetwork, inputs: np.ndarray, n_trials: int) -> np.ndarray:
    """Give what a network adds to the log baseline of whole trials.

    Parameters
    ----------
    network : LogRateNetwork
    inputs : ndarray, shape (n_tiles, n_bins, n_inputs, N_LANES)
    n_trials : int
        Lanes that are trials.

    Returns
    -------
    ndarray of float64, shape (n_trials, n_bins)
    """
    packed = network.pack()
    gain = np.stack([network.predict(packed, tile) for tile in inputs])
    return gain.transpose(0, 2, 1).reshape(-1, inputs.shape[1])[:n_trials].astype(float)


@njit(cache=True, nogil=True, error_model="numpy", fastmath={"contract"})
def bound_output(answers, skip, inputs, output):
    """Add the direct path to a read-out and bound the sum.

    Parameters
    ----------
    answers : ndarray, shape (n_steps, at least N_LANES)
        c + v . h, lanes first.
    skip : ndarray, shape (n_inputs,)
    inputs : ndarray, shape (n_steps, n_inputs * N_LANES)
    output : ndarray, shape (n_steps, N_LANES)
        Filled with B tanh(eta / B).
    """
    dtype = output.dtype.type
    bound, inverse = dtype(LOG_BOUND), dtype(1.0 / LOG_BOUND)
    for t in range(output.shape[0]):
        output[t] = answers[t, :N_LANES]
        for k in range(skip.size):
            for lane in range(N_LANES):
                output[t, lane] += skip[k] * inputs[t, k * N_LANES + lane]
        for lane in range(N_LANES):
            output[t, lane] = bound * tanh(output[t, lane] * inverse)


@njit(cache=True, nogil=True)
def add_skip(slope, inputs, by_skip):
    """Add the derivatives of the direct path.

    Parameters
    ----------
    slope : ndarray, shape (n_steps, N_LANES)
        Derivatives with respect to eta.
    inputs : ndarray, shape (n_steps, n_inputs * N_LANES)
    by_skip : ndarray, shape (n_inputs,)
        Added to.
    """
    for t in range(slope.shape[0]):
        for k in range(by_skip.size):
            for lane in range(N_LANES):
                by_skip[k] += slope[t, lane] * inputs[t, k * N_LANES + lane]
