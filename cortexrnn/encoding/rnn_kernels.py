"""Kernels of the recurrent rung: one tile's loss and gradient, one epoch of training, and the log-rate.

The network adds to the logarithm of the baseline mu_0 of every bin ::

    log mu_t = log mu_0,t + B tanh(eta_t / B),    eta_t = c + v . h_t + s . x_t

with the GRU's state h_t after input x_t. B bounds what the network can say. A tile is 16 pieces of trials side
by side; arrays have the shape (step, row, lane).
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numba import njit

from cortexrnn.cells.gru import GRUTape, GRUWeights, empty_tape, gru_backward, gru_forward
from cortexrnn.numerics.elementwise import exp, tanh
from cortexrnn.numerics.lanes import N_LANES, Rows, add_outer, add_product
from cortexrnn.training.adam import AdamState, adam_step

# Largest change of the log-rate: a factor of 3000 either way, beyond any refractory period or burst at 1 ms.
LOG_BOUND = 8.0
# Gradients in nats per spike are of order one; a norm of several marks an outlier.
MAX_GRADIENT_NORM = 1.0
# Decay a step of the averaged weights: about an epoch of a small recording.
AVERAGE_DECAY = 0.98


class Network(NamedTuple):
    """A GRU with a linear read-out of its state and its inputs.

    Attributes
    ----------
    gru : GRUWeights
    readout : ndarray, shape (n_hidden,)
    skip : ndarray, shape (n_inputs,)
    offset : ndarray, shape (1,)
    """

    gru: GRUWeights
    readout: np.ndarray
    skip: np.ndarray
    offset: np.ndarray


class Tile(NamedTuple):
    """Sixteen pieces of trials, one in each lane.

    Attributes
    ----------
    inputs : ndarray, shape (n_steps, n_inputs, N_LANES)
    log_baseline, counts, weight : ndarray, shape (n_steps, N_LANES)
        Log of the baseline's expected count, spikes, and weight in the loss (zero in bins that are not scored).
    """

    inputs: np.ndarray
    log_baseline: np.ndarray
    counts: np.ndarray
    weight: np.ndarray


class Workspace(NamedTuple):
    """Buffers of one tile's sweeps."""

    tape: GRUTape
    output: np.ndarray
    slope: np.ndarray
    state_gradient: np.ndarray
    carried: np.ndarray


def empty_workspace(n_steps: int, n_hidden: int, dtype: type = np.float32) -> Workspace:
    """Allocate the buffers for tiles of up to `n_steps` steps."""
    return Workspace(
        tape=empty_tape(n_steps, n_hidden, dtype),
        output=np.zeros((n_steps, N_LANES), dtype),
        slope=np.zeros((n_steps, N_LANES), dtype),
        state_gradient=np.zeros((n_steps, n_hidden, N_LANES), dtype),
        carried=np.zeros((n_hidden, N_LANES), dtype),
    )


@njit(cache=True, nogil=True)
def as_network(flat, n_inputs, n_hidden):
    """Give the views of a flat array of weights that make up a network."""
    n_gates = 3 * n_hidden
    a = n_gates * n_inputs
    b = a + n_gates * n_hidden
    c = b + n_gates
    d = c + n_gates
    e = d + n_hidden
    f = e + n_hidden
    g = f + n_inputs
    gru = GRUWeights(
        flat[:a].reshape(n_gates, n_inputs), flat[a:b].reshape(n_gates, n_hidden), flat[b:c], flat[c:d], flat[d:e]
    )
    return Network(gru, flat[e:f], flat[f:g], flat[g : g + 1])


def count_weights(n_inputs: int, n_hidden: int) -> int:
    """Give the length of the flat array that `as_network` divides."""
    return 3 * n_hidden * (n_inputs + n_hidden + 2) + 2 * n_hidden + n_inputs + 1


@njit(cache=True, nogil=True, error_model="numpy", fastmath={"contract"})
def run_network(inputs, network, work):
    """Run a tile forward from the states in the tape and leave B tanh(eta / B) in ``work.output``."""
    gru_forward(inputs, network.gru, work.tape)
    n_steps, n_inputs, _ = inputs.shape
    hidden, output = work.tape.hidden, work.output
    dtype = output.dtype.type
    bound = dtype(LOG_BOUND)
    inverse = dtype(1.0 / LOG_BOUND)
    block, width = hidden.shape[1] * N_LANES, n_inputs * N_LANES
    flat_output, flat_hidden = output.reshape(output.size), hidden.reshape(hidden.size)
    flat_inputs = inputs.reshape(inputs.size)
    readout = network.readout.reshape(network.readout.size, 1)
    skip = network.skip.reshape(n_inputs, 1)
    for t in range(n_steps):
        at = t * N_LANES
        output[t].fill(network.offset[0])
        add_product(flat_output, at, readout, flat_hidden, (t + 1) * block)
        add_product(flat_output, at, skip, flat_inputs, t * width)
    for i in range(n_steps * N_LANES):
        flat_output[i] = bound * tanh(flat_output[i] * inverse)


@njit(cache=True, nogil=True, error_model="numpy", fastmath={"contract"})
def tile_gradient(tile, network, work, is_bernoulli, total):
    """Add the gradient of a tile's loss to `total`, after `run_network`; all but the start state's.

    What is due to the state before the first step is left in ``work.carried``, lane by lane.
    """
    n_steps, n_inputs, _ = tile.inputs.shape
    n_hidden = network.readout.size
    block, width = n_hidden * N_LANES, n_inputs * N_LANES
    slope = work.slope.reshape(work.slope.size)
    hidden = work.tape.hidden.reshape(work.tape.hidden.size)
    state_gradient = work.state_gradient.reshape(work.state_gradient.size)
    flat_inputs = tile.inputs.reshape(tile.inputs.size)
    readout = network.readout.reshape(1, n_hidden)
    fill_slope(work.output, tile.log_baseline, tile.counts, tile.weight, is_bernoulli, work.slope)
    readout_sums = np.zeros((n_hidden, 1, N_LANES), dtype=slope.dtype)
    skip_sums = np.zeros((n_inputs, 1, N_LANES), dtype=slope.dtype)
    add_outer(readout_sums, Rows(hidden, block, block), Rows(slope, 0, N_LANES), n_steps)
    add_outer(skip_sums, Rows(flat_inputs, 0, width), Rows(slope, 0, N_LANES), n_steps)
    state_gradient.fill(0.0)
    for t in range(n_steps):
        add_product(state_gradient, t * block, readout, slope, t * N_LANES)
    work.carried.fill(0.0)
    gru_backward(tile.inputs, network.gru, work.tape, work.state_gradient, work.carried, total.gru)
    for lane in range(N_LANES):
        for j in range(n_hidden):
            total.readout[j] += readout_sums[j, 0, lane]
        for k in range(n_inputs):
            total.skip[k] += skip_sums[k, 0, lane]
        for t in range(n_steps):
            total.offset[0] += slope[t * N_LANES + lane]


@njit(cache=True, nogil=True, error_model="numpy", fastmath={"contract"})
def fill_slope(output, log_baseline, counts, weight, is_bernoulli, slope):
    """Fill the derivative of the loss with respect to eta.

    Parameters
    ----------
    output : ndarray, shape (n_steps, N_LANES)
        B tanh(eta / B).
    log_baseline, counts, weight : ndarray, shape (n_steps, N_LANES)
        Of a `Tile`.
    is_bernoulli : bool
        Bernoulli likelihood with the complementary log-log link, else Poisson.
    slope : ndarray, shape (n_steps, N_LANES)
        Filled.
    """
    dtype = slope.dtype.type
    one = dtype(1.0)
    inverse = dtype(1.0 / LOG_BOUND)
    for t in range(output.shape[0]):
        for lane in range(N_LANES):
            bounded = output[t, lane] * inverse
            mu = exp(log_baseline[t, lane] + output[t, lane])
            y = counts[t, lane]
            if is_bernoulli:
                # The derivative by log mu is mu - y mu / (1 - exp(-mu)); the quotient is 1 + mu/2 + ... near 0.
                series = one + mu * dtype(0.5) + mu * mu * dtype(1.0 / 12.0)
                y = y * (series if mu < dtype(0.01) else mu / (one - exp(-mu)))
            slope[t, lane] = weight[t, lane] * (mu - y) * (one - bounded * bounded)


class TrainingSet(NamedTuple):
    """Pieces of trials in tiles, and how the state passes from piece to piece.

    Attributes
    ----------
    inputs, log_baseline, counts, weight : ndarray
        Fields of `Tile` with a leading axis of tiles.
    states : ndarray, shape (n_tiles, n_hidden, N_LANES)
        State before each piece, from the last time that the piece before it was run.
    following : ndarray of int64, shape (n_tiles, N_LANES)
        Place (tile times N_LANES plus lane) where the trial goes on; -1 at its end.
    is_first : ndarray of bool, shape (n_tiles, N_LANES)
        Where a trial begins.
    """

    inputs: np.ndarray
    log_baseline: np.ndarray
    counts: np.ndarray
    weight: np.ndarray
    states: np.ndarray
    following: np.ndarray
    is_first: np.ndarray


class Learner(NamedTuple):
    """Weights under training.

    Attributes
    ----------
    weights : ndarray, shape (n_weights,)
    average : ndarray, shape (n_weights,)
        Decayed mean of the weights over steps: what is validated and kept.
    adam : AdamState
    """

    weights: np.ndarray
    average: np.ndarray
    adam: AdamState


@njit(cache=True, nogil=True, error_model="numpy")
def train_epoch(pieces, order, rates, learner, work, is_bernoulli):
    """Take one step of Adam for every tile, in the given order.

    Parameters
    ----------
    pieces : TrainingSet
        Its states are updated.
    order : ndarray of int64, shape (n_tiles,)
    rates : ndarray of float64, shape (n_tiles,)
        Learning rate of every step.
    learner : Learner
        Changed in place.
    work : Workspace
    is_bernoulli : bool
        Bernoulli likelihood with the complementary log-log link, else Poisson.

    Returns
    -------
    n_taken : int
        Steps taken; a step whose gradient is not finite is left out and changes nothing.
    """
    n_inputs, n_hidden = pieces.inputs.shape[2], pieces.states.shape[1]
    network = as_network(learner.weights, n_inputs, n_hidden)
    gradient = np.zeros_like(learner.weights)
    total = as_network(gradient, n_inputs, n_hidden)
    n_taken = 0
    for step in range(order.size):
        i = order[step]
        tile = Tile(pieces.inputs[i], pieces.log_baseline[i], pieces.counts[i], pieces.weight[i])
        for j in range(n_hidden):
            for lane in range(N_LANES):
                carried = pieces.states[i, j, lane]
                work.tape.hidden[0, j, lane] = network.gru.start[j] if pieces.is_first[i, lane] else carried
        run_network(tile.inputs, network, work)
        gradient.fill(0.0)
        tile_gradient(tile, network, work, is_bernoulli, total)
        _pass_states_on(pieces, i, work, total.gru.start)
        norm = adam_step(learner.weights, gradient, learner.adam, rates[step], MAX_GRADIENT_NORM)
        if not np.isfinite(norm):
            continue
        n_taken += 1
        # The mean starts at the first weights and forgets them as 1/n until the decay takes over.
        share = max(1.0 - AVERAGE_DECAY, 1.0 / (learner.adam.n_steps[0] + 1.0))
        for k in range(learner.weights.size):
            learner.average[k] += share * (learner.weights[k] - learner.average[k])
    return n_taken


@njit
def _pass_states_on(pieces, i, work, start_gradient):
    """Hand the last states of tile `i` to the pieces that follow; collect the start state's gradient."""
    n_steps = pieces.inputs.shape[1]
    for lane in range(N_LANES):
        place = pieces.following[i, lane]
        for j in range(start_gradient.size):
            if pieces.is_first[i, lane]:
                start_gradient[j] += work.carried[j, lane]
            if place >= 0:
                pieces.states[place // N_LANES, j, place % N_LANES] = work.tape.hidden[n_steps, j, lane]


@njit(cache=True, nogil=True, error_model="numpy")
def predict_tile(inputs, flat, work, log_gain):
    """Run 16 whole trials in chunks of the workspace's length and write their change of the log-rate.

    Parameters
    ----------
    inputs : ndarray, shape (n_bins, n_inputs, N_LANES)
    flat : ndarray, shape (n_weights,)
    work : Workspace
    log_gain : ndarray, shape (n_bins, N_LANES)
        Filled here.
    """
    n_bins, n_inputs, _ = inputs.shape
    n_hidden = work.carried.shape[0]
    n_chunk = work.output.shape[0]
    network = as_network(flat, n_inputs, n_hidden)
    for j in range(n_hidden):
        work.tape.hidden[0, j].fill(network.gru.start[j])
    first = 0
    while first < n_bins:
        stop = min(first + n_chunk, n_bins)
        run_network(inputs[first:stop], network, work)
        for t in range(first, stop):
            for lane in range(N_LANES):
                log_gain[t, lane] = work.output[t - first, lane]
        for j in range(n_hidden):
            for lane in range(N_LANES):
                work.tape.hidden[0, j, lane] = work.tape.hidden[stop - first, j, lane]
        first = stop


@njit(cache=True, nogil=True, error_model="numpy")
def exponential_traces(counts, decay, start, traces):
    """Fill ``x_t = decay x_{t-1} + y_{t-1}``: the trace of bin t knows the bins before t only.

    Parameters
    ----------
    counts : ndarray of float64, shape (n_trials, n_bins)
    decay : ndarray of float64, shape (n_traces,)
        Factor per bin.
    start : ndarray of float64, shape (n_traces,)
        Traces of the first bin.
    traces : ndarray of float64, shape (n_trials, n_bins, at least n_traces)
        The first n_traces entries are filled.
    """
    n_trials, n_bins = counts.shape
    for trial in range(n_trials):
        for k in range(decay.size):
            trace = start[k]
            for t in range(n_bins):
                traces[trial, t, k] = trace
                trace = decay[k] * trace + counts[trial, t]
