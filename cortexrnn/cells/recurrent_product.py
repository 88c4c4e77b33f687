"""What the steps of vanilla, LSTM and GRU cells share: the recurrent product, dropout before it, layer norm behind it.

What a step's arguments get from the state is, with a mask that every trial keeps for all its steps (variational
dropout, Gal and Ghahramani 2016, arXiv:1512.05287)::

    W_hh (keep h)                                   or, with layer norm,    gain normalised(W_hh (keep h))

Without both a step is a plain product, which the sweeps write out: to hand a NamedTuple of arrays to a function costs
as much as the product of a small network.

The recurrent rows are the last ones of the arguments; those before them, n's argument of a GRU, get the inputs'
product alone.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numba import njit

from cortexrnn.cells.layer_norm import normalise, normalise_backward, normalise_gates
from cortexrnn.cells.sweeps import (
    OuterSums,
    add_lane_sums,
    add_step,
    empty_outer_sums,
    let_through,
    spread,
    take_row_sums,
    take_sums,
)
from cortexrnn.numerics.lanes import N_LANES
from cortexrnn.numerics.packed import add_rows, pack_rows, padded_rows


class PackedCell(NamedTuple):
    """Weights packed for products, once for all tiles of a step of the optimiser.

    Attributes
    ----------
    input, hidden : ndarray
        From `pack_rows`: the inputs' product runs over the arguments from the first one on, the recurrent one over
        the last ones.
    input_t, hidden_t : ndarray
        Of the transposed weights, for the way back.
    bias : ndarray, shape (padded,)
        Biases of the arguments in every lane.
    norm_gain : ndarray, shape (n_rows * N_LANES,) or (0,)
        Gain of the layer norm in every lane; empty without one.
    """

    input: np.ndarray
    hidden: np.ndarray
    input_t: np.ndarray
    hidden_t: np.ndarray
    bias: np.ndarray
    norm_gain: np.ndarray


class ProductTape(NamedTuple):
    """What a sweep keeps of its recurrent products, and the sums that make weight gradients.

    Attributes
    ----------
    normal : ndarray, shape (n_steps, n_rows * N_LANES) or (0, n_rows * N_LANES)
        Normalised products, without the gain; nothing without layer norm.
    scale : ndarray, shape as above with n_gates in place of n_rows
        Factors that brought their variances to one.
    by_gain : ndarray, shape (n_rows * N_LANES,) or (0,)
        Derivatives with respect to the gain.
    product : ndarray, shape (padded,) or (0,)
        Room for a product before it is normalised, and for its derivatives.
    seen, by_seen : ndarray, shape (n_hidden * N_LANES,) and (padded,)
        Room for what a mask leaves of the state, and for the derivatives of it.
    outer : OuterSums
        Of the derivatives of the recurrent product with states and, without layer norm, with inputs.
    outer_input : OuterSums
        With inputs, of the derivatives of those arguments that `outer` does not pair with them, from the first on.
    """

    normal: np.ndarray
    scale: np.ndarray
    by_gain: np.ndarray
    product: np.ndarray
    seen: np.ndarray
    by_seen: np.ndarray
    outer: OuterSums
    outer_input: OuterSums


def pack_cell(weights: Any, from_input: np.ndarray, bias: np.ndarray) -> PackedCell:
    """Pack weights for the products of a sweep.

    Parameters
    ----------
    weights : NamedTuple
        Of a cell: ``hidden`` and ``norm_gain`` are taken as they are.
    from_input : ndarray, shape (n_rows, n_inputs)
        Input weights in the order of the arguments.
    bias : ndarray, shape (n_arguments,)
        Of the arguments.

    Returns
    -------
    PackedCell
    """
    n_rows = len(weights.hidden)
    # A product runs over whole blocks of rows, and so past the last argument.
    lanes = np.zeros((bias.size - n_rows + padded_rows(n_rows)) * N_LANES, bias.dtype)
    spread(bias, lanes)
    return PackedCell(
        input=pack_rows(from_input),
        hidden=pack_rows(weights.hidden),
        input_t=pack_rows(np.ascontiguousarray(from_input.T)),
        hidden_t=pack_rows(np.ascontiguousarray(weights.hidden.T)),
        bias=lanes,
        norm_gain=np.repeat(weights.norm_gain, N_LANES),
    )


def empty_product_tape(n_steps: int, weights: Any, n_apart: int) -> ProductTape:
    """Allocate what a sweep keeps of its products.

    Parameters
    ----------
    n_steps : int
    weights : NamedTuple
        Of a cell.
    n_apart : int
        Arguments before the recurrent rows.

    Returns
    -------
    ProductTape
    """
    (n_rows, n_hidden), n_inputs, dtype = weights.hidden.shape, weights.input.shape[1], weights.hidden.dtype
    is_normed = weights.norm_gain.size > 0
    n_normed = n_rows if is_normed else 0
    n_other = n_apart + n_normed
    return ProductTape(
        normal=np.zeros((n_steps if is_normed else 0, n_rows * N_LANES), dtype),
        scale=np.zeros((n_steps if is_normed else 0, n_rows // n_hidden * N_LANES), dtype),
        by_gain=np.zeros(n_normed * N_LANES, dtype),
        product=np.zeros(padded_rows(n_normed) * N_LANES, dtype),
        seen=np.zeros(n_hidden * N_LANES, dtype),
        by_seen=np.zeros(padded_rows(n_hidden) * N_LANES, dtype),
        outer=empty_outer_sums(n_rows, n_hidden + (0 if is_normed else n_inputs), dtype),
        outer_input=empty_outer_sums(n_other, n_inputs if n_other else 0, dtype),
    )


def product_jacobian(state: np.ndarray, weights: Any) -> tuple[np.ndarray, np.ndarray]:
    """Give what the state adds to the arguments of one trial, and its derivatives with respect to the state.

    Parameters
    ----------
    state : ndarray, shape (n_hidden,)
    weights : NamedTuple
        Of a cell, in float64.

    Returns
    -------
    from_hidden : ndarray, shape (n_rows,)
        With the bias.
    by_state : ndarray, shape (n_rows, n_hidden)
    """
    product = weights.hidden @ state
    if weights.norm_gain.size == 0:
        return product + weights.hidden_bias, weights.hidden
    n = state.size
    normal, by_product = normalise_gates(product.reshape(-1, n), weights.norm_gain.reshape(-1, n))
    by_state = by_product @ weights.hidden.reshape(-1, n, n)
    return normal.ravel() + weights.hidden_bias, by_state.reshape(-1, n)


@njit(cache=True, nogil=True)
def add_recurrent(t, keep, packed, tape, arguments):
    """Add the recurrent product of a step, of the masked state and normalised, to the step's arguments.

    Parameters
    ----------
    t : int
        Step.
    keep : ndarray, shape (n_hidden * N_LANES,) or (0,)
        Mask of the state; nothing is masked where it is empty.
    packed : PackedCell
    tape : NamedTuple
        Of a cell, with ``hidden`` and ``products``.
    arguments : ndarray, shape (padded,)
        The recurrent rows; added to.
    """
    products = tape.products
    seen = let_through(tape.hidden[t], keep, products.seen)
    if packed.norm_gain.size == 0:
        add_rows(arguments, packed.hidden, seen)
        return
    products.product[:] = 0
    add_rows(products.product, packed.hidden, seen)
    normalise(products.product, packed.norm_gain, products.normal[t], products.scale[t], arguments)


@njit(cache=True, nogil=True)
def start_backward(packed, tape):
    """Clear the sums of an adjoint sweep.

    Parameters
    ----------
    packed : PackedCell
    tape : NamedTuple
        Of a cell, with ``carried`` and ``products``.

    Returns
    -------
    ndarray, shape (padded,)
        What is carried to the state, with room for a product.
    """
    tape.products.outer.sums[:] = 0
    tape.products.outer_input.sums[:] = 0
    tape.products.by_gain[:] = 0
    by_h = np.zeros(packed.hidden_t.shape[0] * packed.hidden_t.shape[2] * N_LANES, tape.carried.dtype)
    by_h[: tape.carried.size] = tape.carried
    return by_h


@njit(cache=True, nogil=True)
def recurrent_backward(t, inputs, keep, packed, tape, by_h):
    """Run the adjoint of `add_recurrent`, and add what the step gives to the weight gradients.

    Parameters
    ----------
    t : int
        Step.
    inputs : ndarray, shape (n_steps, n_inputs * N_LANES)
    keep : ndarray, shape (n_hidden * N_LANES,) or (0,)
    packed : PackedCell
    tape : NamedTuple
        Of a cell, with the derivatives of the step's arguments in ``arguments``, and ``hidden`` and ``products``.
    by_h : ndarray, shape (padded,)
        Derivatives of the state before the step; added to.
    """
    products = tape.products
    by_arguments = tape.arguments[t, tape.arguments.shape[1] - packed.hidden_t.shape[1] * N_LANES :]
    seen = let_through(tape.hidden[t], keep, products.seen)
    nothing = np.empty((inputs.shape[0], 0), inputs.dtype)
    if packed.norm_gain.size == 0:
        by_product = by_arguments
        add_step(t, by_product, seen, inputs, products.outer)
    else:
        by_product = products.product
        normal, scale = products.normal[t], products.scale[t]
        normalise_backward(by_arguments, packed.norm_gain, normal, scale, by_product, products.by_gain)
        add_step(t, by_product, seen, nothing, products.outer)
    if products.outer_input.blocks.shape[0]:
        add_step(t, tape.arguments[t], inputs[t], nothing, products.outer_input)
    products.by_seen[:] = 0
    add_rows(products.by_seen, packed.hidden_t, by_product)
    for k in range(seen.size):
        by_h[k] += keep[k] * products.by_seen[k] if keep.size else products.by_seen[k]


@njit(cache=True, nogil=True)
def end_backward(by_h, tape, gradient):
    """Leave what is carried in the tape and add the sums to the gradient.

    Parameters
    ----------
    by_h : ndarray, shape (padded,)
    tape : NamedTuple
        Of a cell.
    gradient : NamedTuple
        Of its weights; but for the start states.
    """
    tape.carried[:] = by_h[: tape.carried.size]
    products = tape.products
    (n_rows, n_hidden), n_inputs = gradient.hidden.shape, gradient.input.shape[1]
    n_apart = tape.arguments.shape[1] // N_LANES - n_rows
    take_sums(products.outer, 0, 0, gradient.hidden)
    # Of the recurrent rows: without layer norm their derivatives are those of the product.
    rows, first, before = products.outer, 0, n_hidden
    if products.by_gain.size:
        rows, first, before = products.outer_input, n_apart, 0
    n_shared = n_rows - n_apart
    take_row_sums(rows, first, before + n_inputs, gradient.hidden_bias)
    take_sums(rows, first, before, gradient.input[:n_shared])
    take_row_sums(rows, first, before + n_inputs, gradient.input_bias[:n_shared])
    take_sums(products.outer_input, 0, 0, gradient.input[n_shared:])
    take_row_sums(products.outer_input, 0, n_inputs, gradient.input_bias[n_shared:])
    add_lane_sums(products.by_gain, gradient.norm_gain)

