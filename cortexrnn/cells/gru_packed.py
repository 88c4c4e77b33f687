"""Gated recurrent unit for a tile of 16 trials with packed weights, for networks of more than some tens of units.

The equations, weights and their order are those of `cortexrnn.cells.gru`, whose kernels are faster for the 16 units
of a fit to spikes: there everything stays in the first cache as it is.

Arrays of a tile have the shape (step, row * N_LANES): the lanes are the trials.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numba import njit

from cortexrnn.cells.initial import UNIFORM, Initial, draw_arrays, draw_keep_bias
from cortexrnn.cells.recurrent_product import (
    PackedCell,
    ProductTape,
    add_recurrent,
    empty_product_tape,
    end_backward,
    pack_cell,
    product_jacobian,
    recurrent_backward,
    start_backward,
)
from cortexrnn.cells.sweeps import add_start_sums, add_step, lay_starts, sigmoids
from cortexrnn.numerics.elementwise import one, tanh
from cortexrnn.numerics.lanes import N_LANES
from cortexrnn.numerics.packed import add_rows

# Fields of the tape that hold states, and of what is carried to them.
STATES, CARRIED = ("hidden",), ("carried",)


class GRUCellWeights(NamedTuple):
    """Weights of a GRU, all float32 or all float64; the gradient has the same fields.

    Attributes
    ----------
    input : ndarray, shape (3 n_hidden, n_inputs)
        Input weights, gates stacked as r, z, n.
    hidden : ndarray, shape (3 n_hidden, n_hidden)
        Recurrent weights.
    input_bias, hidden_bias : ndarray, shape (3 n_hidden,)
        Biases of the two products.
    norm_gain : ndarray, shape (3 n_hidden,) or (0,)
        Gain of the layer norm; empty without one.
    start : ndarray, shape (n_groups, n_hidden)
        State before the first step, a row for every group of trials.
    """

    input: np.ndarray
    hidden: np.ndarray
    input_bias: np.ndarray
    hidden_bias: np.ndarray
    norm_gain: np.ndarray
    start: np.ndarray


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
    products : ProductTape
    """

    arguments: np.ndarray
    hidden: np.ndarray
    carried: np.ndarray
    products: ProductTape


def draw_gru(
    n_inputs: int, n_hidden: int, *, seed: int, initial: Initial = UNIFORM, dtype: type = np.float32,
    norm: bool = False,
) -> GRUCellWeights:  # fmt: skip
    """Draw initial weights, with layer norm or without; see `cortexrnn.cells.initial`. The one start state is zero."""
    drawn = draw_arrays(3, n_inputs, n_hidden, seed=seed, initial=initial, norm=norm)
    keep = draw_keep_bias(n_hidden, seed=seed, initial=initial)
    if keep is not None:
        drawn["input_bias"][n_hidden : 2 * n_hidden] = keep
        drawn["hidden_bias"][n_hidden : 2 * n_hidden] = 0.0
    return GRUCellWeights(*(values.astype(dtype) for values in drawn.values()), start=np.zeros((1, n_hidden), dtype))


def pack_gru_weights(weights: GRUCellWeights) -> PackedCell:
    """Pack the weights for the products of a sweep, those of the inputs in the order n, r, z."""
    n = weights.start.shape[1]
    both = (weights.input_bias + weights.hidden_bias)[: 2 * n]
    bias = np.concatenate([weights.input_bias[2 * n :], both, weights.hidden_bias[2 * n :]])
    return pack_cell(weights, np.roll(weights.input, n, axis=0), bias)


def empty_gru_tape(n_steps: int, weights: GRUCellWeights) -> PackedGRUTape:
    """Allocate the tape of a tile; it can be used for any number of sweeps of this length."""
    n_hidden, dtype = weights.start.shape[1], weights.start.dtype
    size = n_hidden * N_LANES
    return PackedGRUTape(
        arguments=np.zeros((n_steps, 4 * size), dtype),
        hidden=np.zeros((n_steps + 1, size), dtype),
        carried=np.zeros(size, dtype),
        products=empty_product_tape(n_steps, weights, n_hidden),
    )


def gru_jacobian(state: np.ndarray, inputs: np.ndarray, weights: GRUCellWeights) -> np.ndarray:
    """Give the derivatives of the state after a step with respect to the state before it.

    Parameters
    ----------
    state : ndarray, shape (n_hidden,)
    inputs : ndarray, shape (n_inputs,)
    weights : GRUCellWeights
        In float64.

    Returns
    -------
    ndarray, shape (n_hidden, n_hidden)
        Entry (i, j) is the derivative of unit i with respect to unit j.
    """
    n = state.size
    from_input = weights.input @ inputs + weights.input_bias
    from_hidden, by_state = product_jacobian(state, weights)
    # The sigmoid by tanh cannot overflow.
    r, z = 0.5 + 0.5 * np.tanh(0.5 * (from_input + from_hidden)[: 2 * n].reshape(2, n))
    m = from_hidden[2 * n :]
    new = np.tanh(from_input[2 * n :] + r * m)
    to_r, to_z, to_n = by_state.reshape(3, n, n)
    by_new = ((1.0 - z) * (1.0 - new**2))[:, None]
    by_z = ((state - new) * z * (1.0 - z))[:, None]
    return np.diag(z) + by_new * (r[:, None] * to_n + (m * r * (1.0 - r))[:, None] * to_r) + by_z * to_z


@njit(cache=True, nogil=True)
def packed_gru_start(weights, group, tape):
    """Lay the start state into entry 0 of the tape.

    Parameters
    ----------
    weights : GRUCellWeights
    group : ndarray of int64, shape (N_LANES,)
        Row of the start states for every trial.
    tape : PackedGRUTape
    """
    lay_starts(weights.start, group, tape.hidden[0])


@njit(cache=True, nogil=True)
def packed_gru_forward(inputs, keep, packed, tape):
    """Run a tile forward from the state in entry 0 of the tape.

    Parameters
    ----------
    inputs : ndarray, shape (n_steps, n_inputs * N_LANES)
    keep : ndarray, shape (n_hidden * N_LANES,) or (0,)
        Variational dropout: the recurrent product sees ``keep * h``, entries 0 or ``1 / (1 - p)``; empty for none.
    packed : PackedCell
    tape : PackedGRUTape
        Filled but for entry 0.
    """
    size = tape.hidden.shape[1]
    arguments = np.empty_like(packed.bias)
    is_plain = keep.size == 0 and packed.norm_gain.size == 0
    for t in range(inputs.shape[0]):
        arguments[:] = packed.bias
        if inputs.shape[1]:
            add_rows(arguments, packed.input, inputs[t])
        if is_plain:
            add_rows(arguments[size:], packed.hidden, tape.hidden[t])
        else:
            add_recurrent(t, keep, packed, tape, arguments[size:])
        _step_forward(arguments, tape.hidden[t], tape.arguments[t], tape.hidden[t + 1])


@njit(cache=True, nogil=True)
def packed_gru_backward(inputs, by_hidden, keep, packed, tape, gradient, truncation):
    """Run the adjoint of `packed_gru_forward` over the tape that it left, from the carried derivatives in the tape.

    Parameters
    ----------
    inputs : ndarray, shape (n_steps, n_inputs * N_LANES)
    by_hidden : ndarray, shape (n_steps, n_hidden * N_LANES)
        Derivative of the loss with respect to the state h after every step, by its direct way only.
    keep : ndarray, shape (n_hidden * N_LANES,) or (0,)
        As for `packed_gru_forward`.
    packed : PackedCell
    tape : PackedGRUTape
        Its arguments become derivatives, its carried derivatives those of entry 0.
    gradient : GRUCellWeights
        Added to, summed over the tile's trials, but for the start states.
    truncation : int
        Steps of a block: states pass its border, derivatives do not. 0 for none.
    """
    n_steps, size = by_hidden.shape
    by_h, outer, outer_input = start_backward(packed, tape), tape.products.outer, tape.products.outer_input
    nothing = np.empty((n_steps, 0), inputs.dtype)
    is_plain = keep.size == 0 and packed.norm_gain.size == 0
    for t in range(n_steps - 1, -1, -1):
        _step_backward(by_hidden[t], by_h, tape.hidden[t], tape.arguments[t])
        is_cut = t > 0 and truncation > 0 and t % truncation == 0
        if is_plain:
            if not is_cut:
                add_rows(by_h, packed.hidden_t, tape.arguments[t, size:])
            add_step(t, tape.arguments[t, size:], tape.hidden[t], inputs, outer)
            add_step(t, tape.arguments[t], inputs[t], nothing, outer_input)
        else:
            recurrent_backward(t, inputs, keep, packed, tape, by_h)
        if is_cut:
            by_h[:] = 0
    end_backward(by_h, tape, gradient)


@njit(cache=True, nogil=True)
def packed_gru_add_start(tape, group, gradient):
    """Add the carried derivatives to those of the start states.

    Parameters
    ----------
    tape : PackedGRUTape
    group : ndarray of int64, shape (N_LANES,)
        As for `packed_gru_start`.
    gradient : GRUCellWeights
        Added to.
    """
    add_start_sums(tape.carried, group, gradient.start)


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
