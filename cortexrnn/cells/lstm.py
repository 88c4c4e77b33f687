"""Long short-term memory (LSTM) for a tile of 16 trials: forward sweep, hand-written adjoint, Jacobian.

The equations are those of Hochreiter and Schmidhuber (1997), doi:10.1162/neco.1997.9.8.1735, with the forget gate of
Gers, Schmidhuber and Cummins (2000), doi:10.1162/089976600300015015, as PyTorch has them::

    i = sigmoid(W_ii x + b_ii + W_hi h + b_hi)
    f = sigmoid(W_if x + b_if + W_hf h + b_hf)
    g = tanh(W_ig x + b_ig + W_hg h + b_hg)
    o = sigmoid(W_io x + b_io + W_ho h + b_ho)
    c <- f c + i g
    h <- o tanh(c),        with the new c

All other right-hand sides use the old h and c. Weights are stacked in the order i, f, g, o (PyTorch's). A forget gate
is a leak: it forgets with the time constant ``-dt / log(f)``.
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
from cortexrnn.cells.sweeps import add_start_sums, add_step, lay_starts, sigmoids, tanhs
from cortexrnn.numerics.elementwise import one, tanh
from cortexrnn.numerics.lanes import N_LANES
from cortexrnn.numerics.packed import add_rows

# Fields of the tape that hold states, and of what is carried to them.
STATES, CARRIED = ("hidden", "cell"), ("carried", "carried_cell")


class LSTMWeights(NamedTuple):
    """Weights of an LSTM, all float32 or all float64; the gradient has the same fields.

    Attributes
    ----------
    input : ndarray, shape (4 n_hidden, n_inputs)
        Input weights, gates stacked as i, f, g, o.
    hidden : ndarray, shape (4 n_hidden, n_hidden)
        Recurrent weights.
    input_bias, hidden_bias : ndarray, shape (4 n_hidden,)
        Biases of the two products.
    norm_gain : ndarray, shape (4 n_hidden,) or (0,)
        Gain of the layer norm; empty without one.
    start, start_cell : ndarray, shape (n_groups, n_hidden)
        State h and cell c before the first step, a row for every group of trials.
    """

    input: np.ndarray
    hidden: np.ndarray
    input_bias: np.ndarray
    hidden_bias: np.ndarray
    norm_gain: np.ndarray
    start: np.ndarray
    start_cell: np.ndarray


class LSTMTape(NamedTuple):
    """What a forward sweep leaves behind for the adjoint sweep.

    Attributes
    ----------
    arguments : ndarray, shape (n_steps, 4 n_hidden * N_LANES)
        Values of i, f, g, o; the adjoint sweep overwrites them with the derivatives of the loss with respect to
        their arguments.
    hidden, cell : ndarray, shape (n_steps + 1, n_hidden * N_LANES)
        States; entry 0 is before the first step.
    carried, carried_cell : ndarray, shape (n_hidden * N_LANES,)
        Derivatives with respect to the states: before an adjoint sweep those that later steps pass to the last
        ones, after it those of entry 0.
    products : ProductTape
    """

    arguments: np.ndarray
    hidden: np.ndarray
    cell: np.ndarray
    carried: np.ndarray
    carried_cell: np.ndarray
    products: ProductTape


def draw_lstm(
    n_inputs: int, n_hidden: int, *, seed: int, initial: Initial = UNIFORM, dtype: type = np.float32,
    norm: bool = False,
) -> LSTMWeights:  # fmt: skip
    """Draw initial weights, with layer norm or without; see `cortexrnn.cells.initial`. The start states are zero."""
    drawn = draw_arrays(4, n_inputs, n_hidden, seed=seed, initial=initial, norm=norm)
    keep = draw_keep_bias(n_hidden, seed=seed, initial=initial)
    if keep is not None:
        drawn["input_bias"][n_hidden : 2 * n_hidden] = keep
        drawn["hidden_bias"][n_hidden : 2 * n_hidden] = 0.0
    if keep is not None and initial.chrono_steps is not None:
        drawn["input_bias"][:n_hidden] = -keep
        drawn["hidden_bias"][:n_hidden] = 0.0
    starts = np.zeros((2, 1, n_hidden), dtype)
    return LSTMWeights(*(values.astype(dtype) for values in drawn.values()), *starts)


def pack_lstm_weights(weights: LSTMWeights) -> PackedCell:
    """Pack the weights for the products of a sweep."""
    return pack_cell(weights, weights.input, weights.input_bias + weights.hidden_bias)


def empty_lstm_tape(n_steps: int, weights: LSTMWeights) -> LSTMTape:
    """Allocate the tape of a tile; it can be used for any number of sweeps of this length."""
    size, dtype = weights.start.shape[1] * N_LANES, weights.start.dtype
    return LSTMTape(
        arguments=np.zeros((n_steps, 4 * size), dtype),
        hidden=np.zeros((n_steps + 1, size), dtype),
        cell=np.zeros((n_steps + 1, size), dtype),
        carried=np.zeros(size, dtype),
        carried_cell=np.zeros(size, dtype),
        products=empty_product_tape(n_steps, weights, 0),
    )


def lstm_jacobian(state: np.ndarray, inputs: np.ndarray, weights: LSTMWeights) -> np.ndarray:
    """Give the derivatives of the state after a step with respect to the state before it.

    Parameters
    ----------
    state : ndarray, shape (2 n_hidden,)
        h, then c.
    inputs : ndarray, shape (n_inputs,)
    weights : LSTMWeights
        In float64.

    Returns
    -------
    ndarray, shape (2 n_hidden, 2 n_hidden)
        Entry (i, j) is the derivative of state i with respect to state j.
    """
    h, c = state.reshape(2, -1)
    n = h.size
    from_hidden, by_state = product_jacobian(h, weights)
    arguments = weights.input @ inputs + weights.input_bias + from_hidden
    a_i, a_f, a_g, a_o = arguments.reshape(4, n)
    # The sigmoid by tanh cannot overflow.
    i, f, o = (0.5 + 0.5 * np.tanh(0.5 * a) for a in (a_i, a_f, a_o))
    g, squashed = np.tanh(a_g), np.tanh(f * c + i * np.tanh(a_g))
    to_i, to_f, to_g, to_o = by_state.reshape(4, n, n)
    slopes = [g * i * (1.0 - i), c * f * (1.0 - f), i * (1.0 - g**2)]
    cell_by_h = sum(slope[:, None] * to for slope, to in zip(slopes, (to_i, to_f, to_g), strict=True))
    cell = np.hstack([cell_by_h, np.diag(f)])
    hidden = (o * (1.0 - squashed**2))[:, None] * cell
    hidden[:, :n] += (squashed * o * (1.0 - o))[:, None] * to_o
    return np.vstack([hidden, cell])


@njit(cache=True, nogil=True)
def lstm_start(weights, group, tape):
    """Lay the start states into entry 0 of the tape.

    Parameters
    ----------
    weights : LSTMWeights
    group : ndarray of int64, shape (N_LANES,)
        Row of the start states for every trial.
    tape : LSTMTape
    """
    lay_starts(weights.start, group, tape.hidden[0])
    lay_starts(weights.start_cell, group, tape.cell[0])


@njit(cache=True, nogil=True)
def lstm_forward(inputs, keep, packed, tape):
    """Run a tile forward from the states in entry 0 of the tape.

    Parameters
    ----------
    inputs : ndarray, shape (n_steps, n_inputs * N_LANES)
    keep : ndarray, shape (n_hidden * N_LANES,) or (0,)
        Variational dropout: the recurrent product sees ``keep * h``, entries 0 or ``1 / (1 - p)``; empty for none.
    packed : PackedCell
    tape : LSTMTape
        Filled but for entry 0.
    """
    arguments = np.empty_like(packed.bias)
    is_plain = keep.size == 0 and packed.norm_gain.size == 0
    for t in range(inputs.shape[0]):
        arguments[:] = packed.bias
        if inputs.shape[1]:
            add_rows(arguments, packed.input, inputs[t])
        if is_plain:
            add_rows(arguments, packed.hidden, tape.hidden[t])
        else:
            add_recurrent(t, keep, packed, tape, arguments)
        _step_forward(arguments, tape.cell[t], tape.arguments[t], tape.cell[t + 1], tape.hidden[t + 1])


@njit(cache=True, nogil=True)
def lstm_backward(inputs, by_hidden, keep, packed, tape, gradient, truncation):
    """Run the adjoint of `lstm_forward` over the tape that it left, from the carried derivatives in the tape.

    Parameters
    ----------
    inputs : ndarray, shape (n_steps, n_inputs * N_LANES)
    by_hidden : ndarray, shape (n_steps, n_hidden * N_LANES)
        Derivative of the loss with respect to the state h after every step, by its direct way only.
    keep : ndarray, shape (n_hidden * N_LANES,) or (0,)
        As for `lstm_forward`.
    packed : PackedCell
    tape : LSTMTape
        Its arguments become derivatives, its carried derivatives those of entry 0.
    gradient : LSTMWeights
        Added to, summed over the tile's trials, but for the start states.
    truncation : int
        Steps of a block: states pass its border, derivatives do not. 0 for none.
    """
    by_h, outer = start_backward(packed, tape), tape.products.outer
    is_plain = keep.size == 0 and packed.norm_gain.size == 0
    for t in range(inputs.shape[0] - 1, -1, -1):
        _step_backward(by_hidden[t], by_h, tape.cell[t], tape.cell[t + 1], tape.arguments[t], tape.carried_cell)
        is_cut = t > 0 and truncation > 0 and t % truncation == 0
        by_h[:] = 0
        if is_plain:
            if not is_cut:
                add_rows(by_h, packed.hidden_t, tape.arguments[t])
            add_step(t, tape.arguments[t], tape.hidden[t], inputs, outer)
        else:
            recurrent_backward(t, inputs, keep, packed, tape, by_h)
        if is_cut:
            by_h[:] = 0
            tape.carried_cell[:] = 0
    end_backward(by_h, tape, gradient)


@njit(cache=True, nogil=True)
def lstm_add_start(tape, group, gradient):
    """Add the carried derivatives to those of the start states.

    Parameters
    ----------
    tape : LSTMTape
    group : ndarray of int64, shape (N_LANES,)
        As for `lstm_start`.
    gradient : LSTMWeights
        Added to.
    """
    add_start_sums(tape.carried, group, gradient.start)
    add_start_sums(tape.carried_cell, group, gradient.start_cell)


@njit(cache=True, nogil=True, error_model="numpy", fastmath={"contract"})
def _step_forward(arguments, old, gates, cell, hidden):
    """Apply the gates of one step; write their values, the new cell and the new state."""
    n = old.size
    sigmoids(arguments[: 2 * n], gates[: 2 * n])
    tanhs(arguments[2 * n : 3 * n], gates[2 * n : 3 * n])
    sigmoids(arguments[3 * n : 4 * n], gates[3 * n :])
    i, f, g, o = gates[:n], gates[n : 2 * n], gates[2 * n : 3 * n], gates[3 * n :]
    for k in range(n):
        cell[k] = f[k] * old[k] + i[k] * g[k]
    for k in range(n):
        hidden[k] = o[k] * tanh(cell[k])


@njit(cache=True, nogil=True, error_model="numpy", fastmath={"contract"})
def _step_backward(direct, later, old, cell, gates, carried):
    """Replace the gates of one step by the derivatives of their arguments, and the carried one by the cell before."""
    n = old.size
    unit = one(old[0])
    for k in range(n):
        i, f, g, o = gates[k], gates[n + k], gates[2 * n + k], gates[3 * n + k]
        by_h = direct[k] + later[k]
        squashed = tanh(cell[k])
        by_c = carried[k] + by_h * o * (unit - squashed * squashed)
        gates[k] = by_c * g * i * (unit - i)
        gates[n + k] = by_c * old[k] * f * (unit - f)
        gates[2 * n + k] = by_c * i * (unit - g * g)
        gates[3 * n + k] = by_h * squashed * o * (unit - o)
        carried[k] = by_c * f
