"""Gated recurrent unit (GRU) for a tile of 16 trials: forward sweep, hand-written adjoint, initial weights.

The equations are those of Cho et al. (2014), doi:10.3115/v1/D14-1179, with the reset gate applied after the
recurrent product as in PyTorch and cuDNN::

    r = sigmoid(W_ir x + b_ir + W_hr h + b_hr)
    z = sigmoid(W_iz x + b_iz + W_hz h + b_hz)
    n = tanh(W_in x + b_in + r (W_hn h + b_hn))
    h <- (1 - z) n + z h

All right-hand sides use the old h. Weights are stacked in the order r, z, n (PyTorch's), so they can be
exchanged with ``torch.nn.GRU`` without a permutation.

Arrays of a tile have the shape (step, row, lane): the lanes are the trials.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numba import njit

from cortexrnn.numerics.elementwise import sigmoid, tanh
from cortexrnn.numerics.lanes import N_LANES, Rows, add_outer, add_product

# Steps whose weight gradients are formed together, while their activations are still in the cache.
_CHUNK = 32


class GRUWeights(NamedTuple):
    """Weights of a GRU with n_hidden units and n_inputs inputs, float32 or float64 throughout.

    Attributes
    ----------
    input : ndarray, shape (3 n_hidden, n_inputs)
        Input weights, gates stacked as r, z, n.
    hidden : ndarray, shape (3 n_hidden, n_hidden)
        Recurrent weights.
    input_bias, hidden_bias : ndarray, shape (3 n_hidden,)
        Biases of the two products.
    start : ndarray, shape (n_hidden,)
        State before the first step.
    """

    input: np.ndarray
    hidden: np.ndarray
    input_bias: np.ndarray
    hidden_bias: np.ndarray
    start: np.ndarray


class GRUTape(NamedTuple):
    """What a forward sweep leaves behind for the adjoint sweep.

    Attributes
    ----------
    gates : ndarray, shape (n_steps, 4 n_hidden, N_LANES)
        Values of n, r, z and of the recurrent part of n's argument; the adjoint sweep overwrites them with the
        derivatives of the loss with respect to the four arguments.
    hidden : ndarray, shape (n_steps + 1, n_hidden, N_LANES)
        States; entry 0 is the state before the first step.
    """

    gates: np.ndarray
    hidden: np.ndarray


def init_gru(n_inputs: int, n_hidden: int, rng: np.random.Generator, dtype: type = np.float32) -> GRUWeights:
    """Draw initial weights: all uniform in +-1/sqrt(n_hidden) as in PyTorch, the initial state zero."""
    bound = 1.0 / np.sqrt(n_hidden)
    shapes = ((3 * n_hidden, n_inputs), (3 * n_hidden, n_hidden), (3 * n_hidden,), (3 * n_hidden,))
    drawn = [rng.uniform(-bound, bound, shape).astype(dtype) for shape in shapes]
    return GRUWeights(*drawn, start=np.zeros(n_hidden, dtype=dtype))


def empty_tape(n_steps: int, n_hidden: int, dtype: type = np.float32) -> GRUTape:
    """Allocate the tape of a tile; it can be used for any number of sweeps of up to this length."""
    return GRUTape(
        gates=np.zeros((n_steps, 4 * n_hidden, N_LANES), dtype=dtype),
        hidden=np.zeros((n_steps + 1, n_hidden, N_LANES), dtype=dtype),
    )


@njit(cache=True, nogil=True, error_model="numpy", fastmath={"contract"})
def gru_forward(inputs, weights, tape):
    """Run a tile forward from the states in ``tape.hidden[0]``.

    Parameters
    ----------
    inputs : ndarray, shape (n_steps, n_inputs, N_LANES)
    weights : GRUWeights
    tape : GRUTape
        At least n_steps long; filled here.
    """
    n_steps, n_inputs, _ = inputs.shape
    n_hidden = tape.hidden.shape[1]
    block = n_hidden * N_LANES
    gates = tape.gates.reshape(tape.gates.size)
    hidden = tape.hidden.reshape(tape.hidden.size)
    flat_inputs = inputs.reshape(inputs.size)
    from_input, from_hidden, bias = _arrange_weights(weights)
    for t in range(n_steps):
        at = t * 4 * block
        now = t * block
        step_gates = gates[at : at + 4 * block]
        for i in range(4 * block):
            step_gates[i] = bias[i]
        add_product(gates, at, from_input, flat_inputs, t * n_inputs * N_LANES)
        add_product(gates, at + block, from_hidden, hidden, now)
        _step_forward(step_gates, hidden[now : now + block], hidden[now + block : now + 2 * block])


@njit(cache=True, nogil=True, error_model="numpy", fastmath={"contract"})
def gru_backward(inputs, weights, tape, state_gradient, carried, gradient):
    """Run the adjoint of `gru_forward` over the tape that it left.

    Parameters
    ----------
    inputs : ndarray, shape (n_steps, n_inputs, N_LANES)
    weights : GRUWeights
    tape : GRUTape
        Its gates are overwritten.
    state_gradient : ndarray, shape (n_steps, n_hidden, N_LANES)
        Derivative of the loss with respect to the state after every step, by its direct way only.
    carried : ndarray, shape (n_hidden, N_LANES)
        On entry the derivative that later steps pass to the last state, on return that of the state before
        the first step.
    gradient : GRUWeights
        The derivatives with respect to all weights but `start`, summed over lanes, are added here.
    """
    n_steps, n_inputs, _ = inputs.shape
    n_hidden = tape.hidden.shape[1]
    block, width = n_hidden * N_LANES, n_inputs * N_LANES
    gates = tape.gates.reshape(tape.gates.size)
    hidden = tape.hidden.reshape(tape.hidden.size)
    flat_inputs = inputs.reshape(inputs.size)
    direct = state_gradient.reshape(state_gradient.size)
    later = carried.reshape(block)
    # Sums over steps keep their lanes until the end: a sum across lanes costs more than the products.
    input_sums = np.zeros((3 * n_hidden, n_inputs, N_LANES), dtype=gates.dtype)
    hidden_sums = np.zeros((3 * n_hidden, n_hidden, N_LANES), dtype=gates.dtype)
    bias_sums = np.zeros((4 * n_hidden, 1, N_LANES), dtype=gates.dtype)
    flat_bias_sums = bias_sums.reshape(4 * block)
    stop = n_steps
    while stop > 0:
        first = max(0, stop - _CHUNK)
        for t in range(stop - 1, first - 1, -1):
            at, now = t * 4 * block, t * block
            _step_backward(
                gates[at : at + 4 * block], hidden[now : now + block], direct[now : now + block], later, flat_bias_sums
            )
            add_product(later, 0, weights.hidden, gates, at + block)
        at, n_chunk = first * 4 * block, stop - first
        by_input, by_hidden = Rows(gates, at, 4 * block), Rows(gates, at + block, 4 * block)
        add_outer(input_sums, by_input, Rows(flat_inputs, first * width, width), n_chunk)
        add_outer(hidden_sums, by_hidden, Rows(hidden, first * block, block), n_chunk)
        stop = first
    _collect_gradients(input_sums, hidden_sums, flat_bias_sums, gradient)


@njit
def _arrange_weights(weights):
    """Bring the weights into the row order of the tape, n r z | r z n, as `add_product` wants them."""
    n_rows, n_hidden = weights.hidden.shape
    n_inputs = weights.input.shape[1]
    from_input = np.empty((n_inputs, n_rows), dtype=weights.input.dtype)
    from_hidden = np.empty((n_hidden, n_rows), dtype=weights.input.dtype)
    bias = np.zeros((n_rows + n_hidden) * N_LANES, dtype=weights.input.dtype)
    for row in range(n_rows):
        arranged = (row + n_hidden) % n_rows
        for k in range(n_inputs):
            from_input[k, arranged] = weights.input[row, k]
        for k in range(n_hidden):
            from_hidden[k, row] = weights.hidden[row, k]
        for lane in range(N_LANES):
            bias[arranged * N_LANES + lane] += weights.input_bias[row]
            bias[(n_hidden + row) * N_LANES + lane] += weights.hidden_bias[row]
    return from_input, from_hidden, bias


@njit(error_model="numpy", fastmath={"contract"})
def _step_forward(gates, old, new):
    """Apply the gates of one step, in place, and write the new state."""
    size = old.size
    for i in range(size):
        r = sigmoid(gates[size + i])
        z = sigmoid(gates[2 * size + i])
        n = tanh(gates[i] + r * gates[3 * size + i])
        gates[i] = n
        gates[size + i] = r
        gates[2 * size + i] = z
        new[i] = n + z * (old[i] - n)


@njit(error_model="numpy", fastmath={"contract"})
def _step_backward(gates, old, direct, carried, bias_sums):
    """Replace the gates of one step by the derivatives of their arguments and start the next carried one."""
    size = old.size
    one = gates.dtype.type(1.0)
    for i in range(size):
        n = gates[i]
        r = gates[size + i]
        z = gates[2 * size + i]
        dh = carried[i] + direct[i]
        dn = dh * (one - z) * (one - n * n)
        dr = dn * gates[3 * size + i] * r * (one - r)
        dz = dh * (old[i] - n) * z * (one - z)
        dm = dn * r
        gates[i] = dn
        gates[size + i] = dr
        gates[2 * size + i] = dz
        gates[3 * size + i] = dm
        bias_sums[i] += dn
        bias_sums[size + i] += dr
        bias_sums[2 * size + i] += dz
        bias_sums[3 * size + i] += dm
        carried[i] = dh * z


@njit
def _collect_gradients(input_sums, hidden_sums, bias_sums, gradient):
    """Add the sums over lanes to the gradient, its rows in the order r, z, n."""
    n_rows, n_inputs, _ = input_sums.shape
    n_hidden = n_rows // 3
    for row in range(n_rows):
        arranged = (row + n_hidden) % n_rows
        for lane in range(N_LANES):
            for k in range(n_inputs):
                gradient.input[row, k] += input_sums[arranged, k, lane]
            for k in range(n_hidden):
                gradient.hidden[row, k] += hidden_sums[row, k, lane]
            gradient.input_bias[row] += bias_sums[arranged * N_LANES + lane]
            gradient.hidden_bias[row] += bias_sums[(n_hidden + row) * N_LANES + lane]
