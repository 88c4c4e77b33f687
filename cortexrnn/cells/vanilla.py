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
from cortexrnn.cells.recurrent_product import (
    ProductTape,
    add_recurrent,
    empty_product_tape,
    end_backward,
    pack_cell,
    product_jacobian,
    recurrent_backward,
    start_backward,
)
from cortexrnn.cells.sweeps import add_start_sums, add_step, lay_starts
from cortexrnn.numerics.lanes import N_LANES
from cortexrnn.numerics.packed import add_rows

TANH = Activation(kind="tanh")
# Fields of the tape that hold states, and of what is carried to them.
STATES, CARRIED = ("hidden",), ("carried",)


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
    norm_gain : ndarray, shape (n_hidden,) or (0,)
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


class VanillaPacked(NamedTuple):
    """Weights packed for products, as in `PackedCell`, and the activation.

    Attributes
    ----------
    input, hidden, input_t, hidden_t, bias, norm_gain : ndarray
        The bias is the sum of the two.
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
    norm_gain: np.ndarray
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
    products : ProductTape
    """

    arguments: np.ndarray
    hidden: np.ndarray
    carried: np.ndarray
    products: ProductTape


def draw_vanilla(
    n_inputs: int, n_hidden: int, *, seed: int, initial: Initial = UNIFORM, dtype: type = np.float32,
    norm: bool = False,
) -> VanillaWeights:  # fmt: skip
    """Draw initial weights, with layer norm or without; see `cortexrnn.cells.initial`. The one start state is zero."""
    drawn = draw_arrays(1, n_inputs, n_hidden, seed=seed, initial=initial, norm=norm)
    return VanillaWeights(*(values.astype(dtype) for values in drawn.values()), start=np.zeros((1, n_hidden), dtype))


def pack_vanilla_weights(weights: VanillaWeights, activation: Activation = TANH) -> VanillaPacked:
    """Pack the weights for the products of a sweep."""
    return VanillaPacked(
        *pack_cell(weights, weights.input, weights.input_bias + weights.hidden_bias),
        code=activation.code,
        gain=activation.gain,
        threshold=activation.threshold,
        exponent=activation.exponent,
    )


def empty_vanilla_tape(n_steps: int, weights: VanillaWeights) -> VanillaTape:
    """Allocate the tape of a tile; it can be used for any number of sweeps of this length."""
    size, dtype = weights.start.shape[1] * N_LANES, weights.start.dtype
    return VanillaTape(
        arguments=np.zeros((n_steps, size), dtype),
        hidden=np.zeros((n_steps + 1, size), dtype),
        carried=np.zeros(size, dtype),
        products=empty_product_tape(n_steps, weights, 0),
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
    from_hidden, by_state = product_jacobian(state, weights)
    z = weights.input @ inputs + weights.input_bias + from_hidden
    return activation.slope(z)[:, None] * by_state


@njit(cache=True, nogil=True)
def vanilla_start(weights, group, tape):
    """Lay the start state into entry 0 of the tape.

    Parameters
    ----------
    weights : VanillaWeights
    group : ndarray of int64, shape (N_LANES,)
        Row of the start states for every trial.
    tape : VanillaTape
    """
    lay_starts(weights.start, group, tape.hidden[0])


@njit(cache=True, nogil=True)
def vanilla_forward(inputs, keep, packed, tape):
    """Run a tile forward from the state in entry 0 of the tape.

    Parameters
    ----------
    inputs : ndarray, shape (n_steps, n_inputs * N_LANES)
    keep : ndarray, shape (n_hidden * N_LANES,) or (0,)
        Variational dropout: the recurrent product sees ``keep * h``, entries 0 or ``1 / (1 - p)``; empty for none.
    packed : VanillaPacked
    tape : VanillaTape
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
            add_rows(arguments, packed.hidden, tape.hidden[t])
        else:
            add_recurrent(t, keep, packed, tape, arguments)
        activate(packed.code, packed.gain, packed.threshold, packed.exponent, arguments[:size], tape.hidden[t + 1])


@njit(cache=True, nogil=True)
def vanilla_backward(inputs, by_hidden, keep, packed, tape, gradient, truncation):
    """Run the adjoint of `vanilla_forward` over the tape that it left, from the carried derivatives in the tape.

    Parameters
    ----------
    inputs : ndarray, shape (n_steps, n_inputs * N_LANES)
    by_hidden : ndarray, shape (n_steps, n_hidden * N_LANES)
        Derivative of the loss with respect to the state h after every step, by its direct way only.
    keep : ndarray, shape (n_hidden * N_LANES,) or (0,)
        As for `vanilla_forward`.
    packed : VanillaPacked
    tape : VanillaTape
        Its arguments become derivatives, its carried derivatives those of entry 0.
    gradient : VanillaWeights
        Added to, summed over the tile's trials, but for the start states.
    truncation : int
        Steps of a block: states pass its border, derivatives do not. 0 for none.
    """
    by_h, outer = start_backward(packed, tape), tape.products.outer
    is_plain = keep.size == 0 and packed.norm_gain.size == 0
    slope = np.empty_like(tape.carried)
    for t in range(inputs.shape[0] - 1, -1, -1):
        slope_of_rate(packed.code, packed.gain, packed.threshold, packed.exponent, tape.hidden[t + 1], slope)
        _step_backward(by_hidden[t], by_h, slope, tape.arguments[t])
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
    end_backward(by_h, tape, gradient)


@njit(cache=True, nogil=True)
def vanilla_add_start(tape, group, gradient):
    """Add the carried derivatives to those of the start states.

    Parameters
    ----------
    tape : VanillaTape
    group : ndarray of int64, shape (N_LANES,)
        As for `vanilla_start`.
    gradient : VanillaWeights
        Added to.
    """
    add_start_sums(tape.carried, group, gradient.start)


@njit(cache=True, nogil=True, fastmath={"contract"})
def _step_backward(direct, later, slope, by_arguments):
    """Give the derivatives of one step's arguments."""
    for k in range(slope.size):
        by_arguments[k] = (direct[k] + later[k]) * slope[k]
