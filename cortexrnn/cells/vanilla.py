"""Vanilla recurrent network (Elman 1990, doi:10.1207/s15516709cog1402_1) for a tile of 16 trials: sweeps, Jacobian.

One step is that of ``torch.nn.RNN``, with any activation::

    h <- phi(W_ih x + b_ih + W_hh h + b_hh)
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numba import njit

from cortexrnn.cells.activation import Activation, activate, slope_of_rate
from cortexrnn.cells.initial import UNIFORM, Initial, draw_arrays
from cortexrnn.cells.sweeps import (
    CHUNK,
    OuterSums,
    add_chunk,
    add_lane_sums,
    empty_outer_sums,
    lay_step,
    spread,
    take_row_sums,
    take_sums,
)
from cortexrnn.numerics.lanes import N_LANES
from cortexrnn.numerics.packed import add_rows, pack_rows, padded_rows

TANH = Activation(kind="tanh")


class VanillaWeights(NamedTuple):
    """Weights of a vanilla network, all float32 or all float64; the gradient has the same fields.

    Attributes
    ----------
    input : ndarray, shape (n_hidden, n_inputs)
        Input weights.
    hidden : ndarray, shape (n_hidden, n_hidden)
        Recurrent weights.
    input_bias, hidden_bias : ndarray, shape (n_hidden,)
        Biases of the two products.
    start : ndarray, shape (n_hidden,)
        State before the first step.
    """

    input: np.ndarray
    hidden: np.ndarray
    input_bias: np.ndarray
    hidden_bias: np.ndarray
    start: np.ndarray


class VanillaPacked(NamedTuple):
    """Weights packed for products, once for all tiles of a step of the optimiser, and the activation.

    Attributes
    ----------
    input, hidden : ndarray
        From `pack_rows`.
    input_t, hidden_t : ndarray
        Of the transposed weights, for the way back.
    bias : ndarray, shape (padded,)
        Sum of the biases in every lane.
    code : int
        `Activation.code`.
    gain, threshold, exponent : float
        Of the activation.
    """

    input: np.ndarray
    hidden: np.ndarray
    input_t: np.ndarray
    hidden_t: np.ndarray
    bias: np.ndarray
    code: int
    gain: float
    threshold: float
    exponent: float


class VanillaTape(NamedTuple):
    """What a forward sweep leaves behind for the adjoint sweep.

    Attributes
    ----------
    arguments : ndarray, shape (n_steps, n_hidden * N_LANES)
        The adjoint sweep writes the derivatives of the loss with respect to the activation's arguments here.
    hidden : ndarray, shape (n_steps + 1, n_hidden * N_LANES)
        States; entry 0 is before the first step.
    carried : ndarray, shape (n_hidden * N_LANES,)
        Derivatives with respect to the state: before an adjoint sweep those that later steps pass to the last
        one, after it those of entry 0.
    outer : OuterSums
        Of the derivatives with states and inputs.
    """

    arguments: np.ndarray
    hidden: np.ndarray
    carried: np.ndarray
    outer: OuterSums


def draw_vanilla(
    n_inputs: int, n_hidden: int, *, seed: int, initial: Initial = UNIFORM, dtype: type = np.float32
) -> VanillaWeights:
    """Draw initial weights; see `cortexrnn.cells.initial`. The start state is zero."""
    drawn = draw_arrays(1, n_inputs, n_hidden, seed=seed, initial=initial)
    return VanillaWeights(*(values.astype(dtype) for values in drawn.values()), start=np.zeros(n_hidden, dtype))


def pack_vanilla_weights(weights: VanillaWeights, activation: Activation = TANH) -> VanillaPacked:
    """Pack the weights for the products of a sweep."""
    bias = np.zeros(padded_rows(weights.start.size) * N_LANES, weights.start.dtype)
    spread(weights.input_bias + weights.hidden_bias, bias)
    return VanillaPacked(
        input=pack_rows(weights.input),
        hidden=pack_rows(weights.hidden),
        input_t=pack_rows(np.ascontiguousarray(weights.input.T)),
        hidden_t=pack_rows(np.ascontiguousarray(weights.hidden.T)),
        bias=bias,
        code=activation.code,
        gain=activation.gain,
        threshold=activation.threshold,
        exponent=activation.exponent,
    )


def empty_vanilla_tape(n_steps: int, weights: VanillaWeights) -> VanillaTape:
    """Allocate the tape of a tile; it can be used for any number of sweeps of this length."""
    n_hidden, dtype = weights.start.size, weights.start.dtype
    size = n_hidden * N_LANES
    return VanillaTape(
        arguments=np.zeros((n_steps, size), dtype),
        hidden=np.zeros((n_steps + 1, size), dtype),
        carried=np.zeros(size, dtype),
        outer=empty_outer_sums(n_hidden, n_hidden + weights.input.shape[1], dtype),
    )


def vanilla_jacobian(
    state: np.ndarray, inputs: np.ndarray, weights: VanillaWeights, activation: Activation = TANH
) -> np.ndarray:
    """Give the derivatives of the state after a step with respect to the state before it.

    Parameters
    ----------
    state : ndarray, shape (n_hidden,)
    inputs : ndarray, shape (n_inputs,)
    weights : VanillaWeights
        In float64.
    activation : Activation

    Returns
    -------
    ndarray, shape (n_hidden, n_hidden)
        Entry (i, j) is the derivative of unit i with respect to unit j.
    """
    z = weights.input @ inputs + weights.input_bias + weights.hidden @ state + weights.hidden_bias
    return activation.slope(z)[:, None] * weights.hidden


@njit(cache=True, nogil=True)
def vanilla_forward(inputs, weights, packed, tape):
    """Run a tile forward from the start state.

    Parameters
    ----------
    inputs : ndarray, shape (n_steps, n_inputs * N_LANES)
    weights : VanillaWeights
    packed : VanillaPacked
        The same weights.
    tape : VanillaTape
        Filled.
    """
    spread(weights.start, tape.hidden[0])
    vanilla_forward_from(inputs, packed, tape)


@njit(cache=True, nogil=True)
def vanilla_forward_from(inputs, packed, tape):
    """Run a tile forward from the state in entry 0 of the tape.

    Parameters
    ----------
    inputs : ndarray, shape (n_steps, n_inputs * N_LANES)
    packed : VanillaPacked
    tape : VanillaTape
        Filled but for entry 0.
    """
    size = tape.hidden.shape[1]
    arguments = np.empty_like(packed.bias)
    for t in range(inputs.shape[0]):
        arguments[:] = packed.bias
        if inputs.shape[1]:
            add_rows(arguments, packed.input, inputs[t])
        add_rows(arguments, packed.hidden, tape.hidden[t])
        activate(packed.code, packed.gain, packed.threshold, packed.exponent, arguments[:size], tape.hidden[t + 1])


@njit(cache=True, nogil=True)
def vanilla_backward(inputs, by_hidden, weights, packed, tape, gradient, truncation):
    """Run the adjoint of `vanilla_forward` over the tape that it left.

    Parameters
    ----------
    inputs : ndarray, shape (n_steps, n_inputs * N_LANES)
    by_hidden : ndarray, shape (n_steps, n_hidden * N_LANES)
        Derivative of the loss with respect to the state after every step, by its direct way only.
    weights : VanillaWeights
    packed : VanillaPacked
    tape : VanillaTape
        Its arguments become derivatives.
    gradient : VanillaWeights
        Added to, summed over the tile's trials.
    truncation : int
        Steps of a block: states pass its border, derivatives do not. 0 for none.
    """
    tape.carried[:] = 0
    vanilla_backward_from(inputs, by_hidden, packed, tape, gradient, truncation)
    add_lane_sums(tape.carried, gradient.start)


@njit(cache=True, nogil=True)
def vanilla_backward_from(inputs, by_hidden, packed, tape, gradient, truncation):
    """Run the adjoint of `vanilla_forward_from`, from the carried derivatives in the tape.

    Parameters
    ----------
    inputs : ndarray, shape (n_steps, n_inputs * N_LANES)
    by_hidden : ndarray, shape (n_steps, n_hidden * N_LANES)
    packed : VanillaPacked
    tape : VanillaTape
        Its arguments become derivatives, its carried derivatives those of entry 0.
    gradient : VanillaWeights
        Added to, but for the start state.
    truncation : int
        As for `vanilla_backward`.
    """
    n_steps, size = by_hidden.shape
    tape.outer.sums[:] = 0
    by_h = np.zeros(packed.hidden_t.shape[0] * packed.hidden_t.shape[2] * N_LANES, by_hidden.dtype)
    by_h[:size] = tape.carried
    slope = np.empty_like(tape.carried)
    for t in range(n_steps - 1, -1, -1):
        slope_of_rate(packed.code, packed.gain, packed.threshold, packed.exponent, tape.hidden[t + 1], slope)
        _step_backward(by_hidden[t], by_h, slope, tape.arguments[t])
        by_h[:] = 0
        if t == 0 or truncation == 0 or t % truncation != 0:
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


@njit(cache=True, nogil=True, fastmath={"contract"})
def _step_backward(direct, later, slope, by_arguments):
    """Give the derivatives of one step's arguments."""
    for k in range(slope.size):
        by_arguments[k] = (direct[k] + later[k]) * slope[k]
