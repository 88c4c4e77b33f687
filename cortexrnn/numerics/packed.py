"""Products with weights that stay the same for many steps, laid out once in the order in which they are read.

A recurrent network multiplies the same matrix at every time step; a library packs it again each time. Here it is
packed before the first step, for 16 vectors side by side (`pack_rows`, one trial a lane) or for a single one
(`pack_columns`, one output a lane). Every output is the sum over sources in their order, a fused multiply-add
each, in both: a trial gets the same bits alone and in company.
"""

from __future__ import annotations

import numpy as np
from llvmlite import ir
from numba import njit, types
from numba.extending import intrinsic

from cortexrnn.numerics.lanes import (
    N_LANES,
    N_ROWS,
    accumulate,
    broadcast,
    data_pointer,
    declare_fma,
    lane_vector,
    load_lanes,
    product_rows,
    store_lanes,
)

_INDEX = ir.IntType(64)
# Lane vectors that one pass over the sources carries in registers.
_WIDEST = 8


def padded_rows(n_outputs: int) -> int:
    """Give the rows of a product with packed rows, whole blocks of them."""
    return -(-n_outputs // N_ROWS) * N_ROWS


def padded_columns(n_outputs: int) -> int:
    """Give the elements of a product with packed columns, whole lane vectors of them."""
    return -(-n_outputs // N_LANES) * N_LANES


def pack_rows(weights: np.ndarray) -> np.ndarray:
    """Pack weights for `add_rows`.

    Parameters
    ----------
    weights : ndarray, shape (n_outputs, n_sources)

    Returns
    -------
    ndarray, shape (n_blocks, n_sources, N_ROWS)
        Outputs in blocks, padded with zeros.
    """
    n_outputs, n_sources = weights.shape
    padded = np.zeros((padded_rows(n_outputs), n_sources), weights.dtype)
    padded[:n_outputs] = weights
    return np.ascontiguousarray(padded.reshape(len(padded) // N_ROWS, N_ROWS, n_sources).transpose(0, 2, 1))


def pack_columns(weights: np.ndarray) -> np.ndarray:
    """Pack weights for `add_columns`.

    Parameters
    ----------
    weights : ndarray, shape (n_outputs, n_sources)

    Returns
    -------
    ndarray, shape (padded_columns(n_outputs) * n_sources,)
        Blocks of 128, 64, 32 and 16 outputs, as many of the wider ones as fit.
    """
    n_outputs, n_sources = weights.shape
    padded = np.zeros((padded_columns(n_outputs), n_sources), weights.dtype)
    padded[:n_outputs] = weights
    packed = np.empty(padded.size, weights.dtype)
    first = 0
    while first < len(padded):
        stop = first + N_LANES * _vectors_of_block(len(padded) - first)
        packed[first * n_sources : stop * n_sources] = padded[first:stop].T.ravel()
        first = stop
    return packed


@njit
def add_rows(product, blocks, values):
    """Add weights times N_LANES vectors to their products.

    Parameters
    ----------
    product : ndarray, shape (padded_rows(n_outputs) * N_LANES,)
        Destination, lanes innermost.
    blocks : ndarray, shape (n_blocks, n_sources, N_ROWS)
        From `pack_rows`; at least one source.
    values : ndarray, shape (n_sources * N_LANES,)
        The vectors, lanes innermost.
    """
    n_blocks, n_sources, _ = blocks.shape
    for i in range(n_blocks):
        at = i * N_ROWS
        product_rows(product, at * N_LANES, blocks, at * n_sources, N_ROWS, values, 0, n_sources)


@njit
def add_columns(product, packed, values, first, stop):
    """Add weights times one vector to a range of its product.

    Parameters
    ----------
    product : ndarray, shape (padded_columns(n_outputs),)
        Destination.
    packed : ndarray
        From `pack_columns`; at least one source.
    values : ndarray, shape (n_sources,)
        The vector.
    first, stop : int
        Outputs to compute: whole blocks, `first` a multiple of 128.
    """
    n_sources = values.size
    at = first
    while at < stop:
        left = product.size - at
        if left >= 128:
            _columns8(product, at, packed, at * n_sources, values, n_sources)
            at += 128
        elif left >= 64:
            _columns4(product, at, packed, at * n_sources, values, n_sources)
            at += 64
        elif left >= 32:
            _columns2(product, at, packed, at * n_sources, values, n_sources)
            at += 32
        else:
            _columns1(product, at, packed, at * n_sources, values, n_sources)
            at += 16


def _vectors_of_block(n_left: int) -> int:
    """Give the lane vectors of the widest block that `n_left` outputs fill."""
    n_vectors = _WIDEST
    while n_vectors * N_LANES > n_left:
        n_vectors //= 2
    return n_vectors


def _emit_columns(n_vectors: int):
    """Build the code generator that adds a block of `n_vectors` lane vectors of outputs."""

    def emit(context, builder, signature, arguments):
        product_t, _, weights_t, _, values_t, _ = signature.args
        product, product_at, weights, weights_at, values, n_values = arguments
        vector = lane_vector(product_t)
        fma = declare_fma(builder, vector)
        product = data_pointer(context, builder, product_t, product, product_at)
        weights = data_pointer(context, builder, weights_t, weights, weights_at)
        values = data_pointer(context, builder, values_t, values, ir.Constant(_INDEX, 0))
        places = [ir.Constant(_INDEX, i * N_LANES) for i in range(n_vectors)]

        def step(k, sums):
            value = broadcast(builder, vector, builder.load(builder.gep(values, [k])))
            row = builder.gep(weights, [builder.mul(k, ir.Constant(_INDEX, n_vectors * N_LANES))])
            return [
                builder.call(fma, [load_lanes(builder, vector, row, place), value, total])
                for place, total in zip(places, sums, strict=True)
            ]

        start = [load_lanes(builder, vector, product, place) for place in places]
        for place, total in zip(places, accumulate(builder, start, n_values, step), strict=True):
            store_lanes(builder, vector, product, place, total)
        return context.get_dummy_value()

    return emit


def _columns_signature(product, weights, values):
    """Give the type signature of a block of columns."""
    return types.void(product, types.intp, weights, types.intp, values, types.intp)


@intrinsic
def _columns8(typing_context, product, product_at, weights, weights_at, values, n_values):
    """Add a block of 128 outputs."""
    return _columns_signature(product, weights, values), _emit_columns(8)


@intrinsic
def _columns4(typing_context, product, product_at, weights, weights_at, values, n_values):
    """Add a block of 64 outputs."""
    return _columns_signature(product, weights, values), _emit_columns(4)


@intrinsic
def _columns2(typing_context, product, product_at, weights, weights_at, values, n_values):
    """Add a block of 32 outputs."""
    return _columns_signature(product, weights, values), _emit_columns(2)


@intrinsic
def _columns1(typing_context, product, product_at, weights, weights_at, values, n_values):
    """Add a block of 16 outputs."""
    return _columns_signature(product, weights, values), _emit_columns(1)
