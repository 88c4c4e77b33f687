"""Gated recurrent unit for a tile of 16 trials with packed weights, for networks of more than some tens of units.

The equations, weights and their order are those of `cortexrnn.cells.gru`, whose kernels are faster for the 16 units
of a fit to spikes: there everything stays in the first cache as it is.

Arrays of a tile have the shape (step, row * N_LANES): the lanes are the trials.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numba import njit

from cortexrnn.cells.gru import GRUWeights
from cortexrnn.cells.initial import UNIFORM, Initial, draw_arrays, draw_keep_bias
from cortexrnn.cells.sweeps import (
    CHUNK,
    OuterSums,
    add_chunk,
    add_lane_sums,
    empty_outer_sums,
    lay_step,
    sigmoids,
    spread,
    take_row_sums,
    take_sums,
)
from cortexrnn.numerics.elementwise import one, tanh
from cortexrnn.numerics.lanes import N_LANES
from cortexrnn.numerics.packed import add_rows, pack_rows, padded_rows


class GRUPacked(NamedTuple):
    """Weights packed for products, once for all tiles of a step of the optimiser.

    Attributes
    ----------
    input : ndarray
        From `pack_rows`, gates in the order n, r, z.
    hidden : ndarray
        From `pack_rows`, gates in the order r, z, n.
    input_t, hidden_t : ndarray
        Of the transposed weights, for the way back.
    bias : ndarray, shape (n_hidden * N_LANES + padded,)
        Biases of n, r, z and of the recurrent part of n's argument, in every lane.
    """

    input: np.ndarray
    hidden: np.ndarray
    input_t: np.ndarray
    hidden_t: np.ndarray
    bias: np.ndarray


class PackedGRUTape(NamedTuple):
    """What a forward sweep leaves behind for the adjoint sweep.

    Attributes
    ----------
    arguments : ndarray, shape (n_steps, 4 n_hidden * N_LANES)
        Values of n, r, z and of the recurrent part of n's argument; the adjoint sweep overwrites them with the
        derivatives of the loss with respect to the four arguments.
    hidden : ndarray, shape (n_steps + 1, n_hidden * N_LANES)
        States; entry 0 is before the first step.
    carried : ndarray, shape (n_hidden * N_LANES,)
        Derivatives with respect to the state: before an adjoint sweep those that later steps pass to the last
        one, after it those of entry 0.
    outer : OuterSums
        Of the derivatives of r, z and n's recurrent part with states and inputs.
    outer_input : OuterSums
        Of the derivatives of n's argument with inputs.
    """

    arguments: np.ndarray
    hidden: np.ndarray
    carried: np.ndarray
    outer: OuterSums
    outer_input: OuterSums


def draw_gru(
    n_inputs: int, n_hidden: int, *, seed: int, initial: Initial = UNIFORM, dtype: type = np.float32
) -> GRUWeights:
    """Draw initial weights; see `cortexrnn.cells.initial`. The start state is zero."""
    drawn = draw_arrays(3, n_inputs, n_hidden, seed=seed, initial=initial)
    keep = draw_keep_bias(n_hidden, seed=seed, initial=initial)
    if keep is not None:
        drawn["input_bias"][n_hidden : 2 * n_hidden] = keep
        drawn["hidden_bias"][n_hidden : 2 * n_hidden] = 0.0
    return GRUWeights(*(values.astype(dtype) for values in drawn.values()), start=np.zeros(n_hidden, dtype))


def pack_gru_weights(weights: GRUWeights) -> GRUPacked:
    """Pack the weights for the products of a sweep."""
    n = weights.start.size
    from_input = np.roll(weights.input, n, axis=0)
    # A recurrent product runs over whole blocks of rows, and so past the end of the last gate.
    bias = np.zeros((n + padded_rows(3 * n)) * N_LANES, weights.start.dtype)
    both = (weights.input_bias + weights.hidden_bias)[: 2 * n]
    spread(np.concatenate([weights.input_bias[2 * n :], both, weights.hidden_bias[2 * n :]]), bias)
    return GRUPacked(
        input=pack_rows(from_input),
        hidden=pack_rows(weights.hidden),
        input_t=pack_rows(np.ascontiguousarray(from_input.T)),
        hidden_t=pack_rows(np.ascontiguousarray(weights.hidden.T)),
        bias=bias,
    )


def empty_gru_tape(n_steps: int, weights: GRUWeights) -> PackedGRUTape:
    """Allocate the tape of a tile; it can be used for any number of sweeps of this length."""
    n_hidden, n_inputs, dtype = weights.start.size, weights.input.shape[1], weights.start.dtype
    size = n_hidden * N_LANES
    return PackedGRUTape(
        arguments=np.zeros((n_steps, 4 * size), dtype),
        hidden=np.zeros((n_steps + 1, size), dtype),
        carried=np.zeros(size, dtype),
        outer=empty_outer_sums(3 * n_hidden, n_hidden + n_inputs, dtype),
        outer_input=empty_outer_sums(n_hidden, n_inputs, dtype),
    )


def gru_jacobian(state: np.ndarray, inputs: np.ndarray, weights: GRUWeights) -> np.ndarray:
    """Give the derivatives of the state after a step with respect to the state before it.

    Parameters
    ----------
    state : ndarray, shape (n_hidden,)
    inputs : ndarray, shape (n_inputs,)
    weights : GRUWeights
        In float64.

    Returns
    -------
    ndarray, shape (n_hidden, n_hidden)
        Entry (i, j) is the derivative of unit i with respect to unit j.
    """
    n = state.size
    from_input = weights.input @ inputs + weights.input_bias
    from_hidden = weights.hidden @ state + weights.hidden_bias
    # The sigmoid by tanh cannot overflow.
    r, z = 0.5 + 0.5 * np.tanh(0.5 * (from_input + from_hidden)[: 2 * n].reshape(2, n))
    m = from_hidden[2 * n :]
    new = np.tanh(from_input[2 * n :] + r * m)
    to_r, to_z, to_n = weights.hidden.reshape(3, n, n)
    by_new = ((1.0 - z) * (1.0 - new**2))[:, None]
    by_z = ((state - new) * z * (1.0 - z))[:, None]
    return np.diag(z) + by_new * (r[:, None] * to_n + (m * r * (1.0 - r))[:, None] * to_r) + by_z * to_z


@njit(cache=True, nogil=True)
def packed_gru_forward(inputs, weights, packed, tape):
    """Run a tile forward from the start state.

    Parameters
    ----------
    inputs : ndarray, shape (n_steps, n_inputs * N_LANES)
    weights : GRUWeights
    packed : GRUPacked
        The same weights.
    tape : PackedGRUTape
        Filled.
    """
    spread(weights.start, tape.hidden[0])
    packed_gru_forward_from(inputs, packed, tape)


@njit(cache=True, nogil=True)
def packed_gru_forward_from(inputs, packed, tape):
    """Run a tile forward from the state in entry 0 of the tape.

    Parameters
    ----------
    inputs : ndarray, shape (n_steps, n_inputs * N_LANES)
    packed : GRUPacked
    tape : PackedGRUTape
        Filled but for entry 0.
    """
    size = tape.hidden.shape[1]
    arguments = np.empty_like(packed.bias)
    for t in range(inputs.shape[0]):
        arguments[:] = packed.bias
        if inputs.shape[1]:
            add_rows(arguments, packed.input, inputs[t])
        add_rows(arguments[size:], packed.hidden, tape.hidden[t])
        _step_forward(arguments, tape.hidden[t], tape.arguments[t], tape.hidden[t + 1])


@njit(cache=True, nogil=True)
def packed_gru_backward(inputs, by_hidden, weights, packed, tape, gradient, truncation):
    """Run the adjoint of `packed_gru_forward` over the tape that it left.

    Parameters
    ----------
    inputs : ndarray, shape (n_steps, n_inputs * N_LANES)
    by_hidden : ndarray, shape (n_steps, n_hidden * N_LANES)
        Derivative of the loss with respect to the state after every step, by its direct way only.
    weights : GRUWeights
    packed : GRUPacked
    tape : PackedGRUTape
        Its arguments become derivatives.
    gradient : GRUWeights
        Added to, summed over the tile's trials.
    truncation : int
        Steps of a block: states pass its border, derivatives do not. 0 for none.
    """
    tape.carried[:] = 0
    packed_gru_backward_from(inputs, by_hidden, packed, tape, gradient, truncation)
    add_lane_sums(tape.carried, gradient.start)


@njit(cache=True, nogil=True)
def packed_gru_backward_from(inputs, by_hidden, packed, tape, gradient, truncation):
    """Run the adjoint of `packed_gru_forward_from`, from the carried derivatives in the tape.

    Parameters
    ----------
    inputs : ndarray, shape (n_steps, n_inputs * N_LANES)
    by_hidden : ndarray, shape (n_steps, n_hidden * N_LANES)
    packed : GRUPacked
    tape : PackedGRUTape
        Its arguments become derivatives, its carried derivatives those of entry 0.
    gradient : GRUWeights
        Added to, but for the start state.
    truncation : int
        As for `packed_gru_backward`.
    """
    n_steps, size = by_hidden.shape
    tape.outer.sums[:] = 0
    tape.outer_input.sums[:] = 0
    by_h = np.zeros(packed.hidden_t.shape[0] * packed.hidden_t.shape[2] * N_LANES, by_hidden.dtype)
    by_h[:size] = tape.carried
    nothing = np.empty(0, by_hidden.dtype)
    for t in range(n_steps - 1, -1, -1):
        _step_backward(by_hidden[t], by_h, tape.hidden[t], tape.arguments[t])
        if t > 0 and truncation > 0 and t % truncation == 0:
            by_h[:] = 0
        else:
            add_rows(by_h, packed.hidden_t, tape.arguments[t, size:])
        lay_step(tape.arguments[t, size:], tape.hidden[t], inputs[t], t % CHUNK, tape.outer)
        lay_step(tape.arguments[t, :size], inputs[t], nothing, t % CHUNK, tape.outer_input)
        if t % CHUNK == 0:
            add_chunk(min(CHUNK, n_steps - t), tape.outer)
            add_chunk(min(CHUNK, n_steps - t), tape.outer_input)
    tape.carried[:] = by_h[:size]
    _collect(tape.outer, tape.outer_input, gradient)


@njit(cache=True, nogil=True)
def _collect(outer, outer_input, gradient):
    """Add the sums to the gradient, whose gates are r, z, n."""
    n, n_inputs = gradient.start.size, gradient.input.shape[1]
    take_sums(outer, 0, 0, gradient.hidden)
    take_row_sums(outer, 0, n + n_inputs, gradient.hidden_bias)
    take_sums(outer, 0, n, gradient.input[: 2 * n])
    take_row_sums(outer, 0, n + n_inputs, gradient.input_bias[: 2 * n])
    take_sums(outer_input, 0, 0, gradient.input[2 * n :])
    take_row_sums(outer_input, 0, n_inputs, gradient.input_bias[2 * n :])


@njit(cache=True, nogil=True, error_model="numpy", fastmath={"contract"})
def _step_forward(arguments, old, gates, hidden):
    """Apply the gates of one step; write their values and the new state."""
    size = old.size
    n, r, z, m = gates[:size], gates[size : 2 * size], gates[2 * size : 3 * size], gates[3 * size :]
    sigmoids(arguments[size : 3 * size], gates[size : 3 * size])
    m[:] = arguments[3 * size : 4 * size]
    for k in range(size):
        n[k] = tanh(arguments[k] + r[k] * m[k])
    for k in range(size):
        hidden[k] = n[k] + z[k] * (old[k] - n[k])


@njit(cache=True, nogil=True, error_model="numpy", fastmath={"contract"})
def _step_backward(direct, carried, old, gates):
    """Replace the gates of one step by the derivatives of their arguments, and what is carried by its direct way."""
    size = old.size
    unit = one(old[0])
    for k in range(size):
        n, r, z, m = gates[k], gates[size + k], gates[2 * size + k], gates[3 * size + k]
        by_h = carried[k] + direct[k]
        by_n = by_h * (unit - z) * (unit - n * n)
        gates[k] = by_n
        gates[size + k] = by_n * m * r * (unit - r)
        gates[2 * size + k] = by_h * (old[k] - n) * z * (unit - z)
        gates[3 * size + k] = by_n * r
        carried[k] = by_h * z
