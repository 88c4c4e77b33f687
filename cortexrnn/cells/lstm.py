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
    tanhs,
)
from cortexrnn.numerics.elementwise import one, tanh
from cortexrnn.numerics.lanes import N_LANES
from cortexrnn.numerics.packed import add_rows, pack_rows, padded_rows


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
    start, start_cell : ndarray, shape (n_hidden,)
        State h and cell c before the first step.
    """

    input: np.ndarray
    hidden: np.ndarray
    input_bias: np.ndarray
    hidden_bias: np.ndarray
    start: np.ndarray
    start_cell: np.ndarray


class LSTMPacked(NamedTuple):
    """Weights packed for products, once for all tiles of a step of the optimiser.

    Attributes
    ----------
    input, hidden : ndarray
        From `pack_rows`.
    input_t, hidden_t : ndarray
        Of the transposed weights, for the way back.
    bias : ndarray, shape (padded,)
        Sum of the biases in every lane.
    """

    input: np.ndarray
    hidden: np.ndarray
    input_t: np.ndarray
    hidden_t: np.ndarray
    bias: np.ndarray


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
    outer : OuterSums
        Of the derivatives with states and inputs.
    """

    arguments: np.ndarray
    hidden: np.ndarray
    cell: np.ndarray
    carried: np.ndarray
    carried_cell: np.ndarray
    outer: OuterSums


def draw_lstm(
    n_inputs: int, n_hidden: int, *, seed: int, initial: Initial = UNIFORM, dtype: type = np.float32
) -> LSTMWeights:
    """Draw initial weights; see `cortexrnn.cells.initial`. The start states are zero."""
    drawn = draw_arrays(4, n_inputs, n_hidden, seed=seed, initial=initial)
    keep = draw_keep_bias(n_hidden, seed=seed, initial=initial)
    if keep is not None:
        drawn["input_bias"][n_hidden : 2 * n_hidden] = keep
        drawn["hidden_bias"][n_hidden : 2 * n_hidden] = 0.0
    if keep is not None and initial.chrono_steps is not None:
        drawn["input_bias"][:n_hidden] = -keep
        drawn["hidden_bias"][:n_hidden] = 0.0
    starts = np.zeros((2, n_hidden), dtype)
    return LSTMWeights(*(values.astype(dtype) for values in drawn.values()), *starts)


def pack_lstm_weights(weights: LSTMWeights) -> LSTMPacked:
    """Pack the weights for the products of a sweep."""
    bias = np.zeros(padded_rows(weights.input_bias.size) * N_LANES, weights.start.dtype)
    spread(weights.input_bias + weights.hidden_bias, bias)
    return LSTMPacked(
        input=pack_rows(weights.input),
        hidden=pack_rows(weights.hidden),
        input_t=pack_rows(np.ascontiguousarray(weights.input.T)),
        hidden_t=pack_rows(np.ascontiguousarray(weights.hidden.T)),
        bias=bias,
    )


def empty_lstm_tape(n_steps: int, weights: LSTMWeights) -> LSTMTape:
    """Allocate the tape of a tile; it can be used for any number of sweeps of this length."""
    size, dtype = weights.start.size * N_LANES, weights.start.dtype
    return LSTMTape(
        arguments=np.zeros((n_steps, 4 * size), dtype),
        hidden=np.zeros((n_steps + 1, size), dtype),
        cell=np.zeros((n_steps + 1, size), dtype),
        carried=np.zeros(size, dtype),
        carried_cell=np.zeros(size, dtype),
        outer=empty_outer_sums(4 * weights.start.size, weights.start.size + weights.input.shape[1], dtype),
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
    arguments = weights.input @ inputs + weights.input_bias + weights.hidden @ h + weights.hidden_bias
    a_i, a_f, a_g, a_o = arguments.reshape(4, n)
    # The sigmoid by tanh cannot overflow.
    i, f, o = (0.5 + 0.5 * np.tanh(0.5 * a) for a in (a_i, a_f, a_o))
    g, squashed = np.tanh(a_g), np.tanh(f * c + i * np.tanh(a_g))
    to_i, to_f, to_g, to_o = weights.hidden.reshape(4, n, n)
    slopes = [g * i * (1.0 - i), c * f * (1.0 - f), i * (1.0 - g**2)]
    cell_by_h = sum(slope[:, None] * to for slope, to in zip(slopes, (to_i, to_f, to_g), strict=True))
    cell = np.hstack([cell_by_h, np.diag(f)])
    hidden = (o * (1.0 - squashed**2))[:, None] * cell
    hidden[:, :n] += (squashed * o * (1.0 - o))[:, None] * to_o
    return np.vstack([hidden, cell])


@njit(cache=True, nogil=True)
def lstm_forward(inputs, weights, packed, tape):
    """Run a tile forward from the start states.

    Parameters
    ----------
    inputs : ndarray, shape (n_steps, n_inputs * N_LANES)
    weights : LSTMWeights
    packed : LSTMPacked
        The same weights.
    tape : LSTMTape
        Filled.
    """
    spread(weights.start, tape.hidden[0])
    spread(weights.start_cell, tape.cell[0])
    lstm_forward_from(inputs, packed, tape)


@njit(cache=True, nogil=True)
def lstm_forward_from(inputs, packed, tape):
    """Run a tile forward from the states in entry 0 of the tape.

    Parameters
    ----------
    inputs : ndarray, shape (n_steps, n_inputs * N_LANES)
    packed : LSTMPacked
    tape : LSTMTape
        Filled but for entry 0.
    """
    arguments = np.empty_like(packed.bias)
    for t in range(inputs.shape[0]):
        arguments[:] = packed.bias
        if inputs.shape[1]:
            add_rows(arguments, packed.input, inputs[t])
        add_rows(arguments, packed.hidden, tape.hidden[t])
        _step_forward(arguments, tape.cell[t], tape.arguments[t], tape.cell[t + 1], tape.hidden[t + 1])


@njit(cache=True, nogil=True)
def lstm_backward(inputs, by_hidden, weights, packed, tape, gradient, truncation):
    """Run the adjoint of `lstm_forward` over the tape that it left.

    Parameters
    ----------
    inputs : ndarray, shape (n_steps, n_inputs * N_LANES)
    by_hidden : ndarray, shape (n_steps, n_hidden * N_LANES)
        Derivative of the loss with respect to the state h after every step, by its direct way only.
    weights : LSTMWeights
    packed : LSTMPacked
    tape : LSTMTape
        Its arguments become derivatives.
    gradient : LSTMWeights
        Added to, summed over the tile's trials.
    truncation : int
        Steps of a block: states pass its border, derivatives do not. 0 for none.
    """
    tape.carried[:] = 0
    tape.carried_cell[:] = 0
    lstm_backward_from(inputs, by_hidden, packed, tape, gradient, truncation)
    add_lane_sums(tape.carried, gradient.start)
    add_lane_sums(tape.carried_cell, gradient.start_cell)


@njit(cache=True, nogil=True)
def lstm_backward_from(inputs, by_hidden, packed, tape, gradient, truncation):
    """Run the adjoint of `lstm_forward_from`, from the carried derivatives in the tape.

    Parameters
    ----------
    inputs : ndarray, shape (n_steps, n_inputs * N_LANES)
    by_hidden : ndarray, shape (n_steps, n_hidden * N_LANES)
    packed : LSTMPacked
    tape : LSTMTape
        Its arguments become derivatives, its carried derivatives those of entry 0.
    gradient : LSTMWeights
        Added to, but for the start states.
    truncation : int
        As for `lstm_backward`.
    """
    n_steps, size = by_hidden.shape
    tape.outer.sums[:] = 0
    by_h = np.zeros(packed.hidden_t.shape[0] * packed.hidden_t.shape[2] * N_LANES, by_hidden.dtype)
    by_h[:size] = tape.carried
    for t in range(n_steps - 1, -1, -1):
        _step_backward(by_hidden[t], by_h, tape.cell[t], tape.cell[t + 1], tape.arguments[t], tape.carried_cell)
        by_h[:] = 0
        if t > 0 and truncation > 0 and t % truncation == 0:
            tape.carried_cell[:] = 0
        else:
            add_rows(by_h, packed.hidden_t, tape.arguments[t])
        lay_step(tape.arguments[t], tape.hidden[t], inputs[t], t % CHUNK, tape.outer)
        if t % CHUNK == 0:
            add_chunk(min(CHUNK, n_steps - t), tape.outer)
    tape.carried[:] = by_h[:size]
    n_hidden, n_columns = size // N_LANES, (size + inputs.shape[1]) // N_LANES
    take_sums(tape.outer, 0, 0, gradient.hidden)
    take_sums(tape.outer, 0, n_hidden, gradient.input)
    take_row_sums(tape.outer, 0, n_columns, gradient.input_bias)
    take_row_sums(tape.outer, 0, n_columns, gradient.hidden_bias)


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
