"""Matrix products in which every vector element is a small SIMD vector: one trial in each lane.

A recurrent network fitted to spikes is too small for BLAS: 16 units times 16 trials is a few hundred
multiplications a step, less than the cost of the call. Here 16 trials are the lanes of a vector and the weights
are scalars that are broadcast, so a product is a run of fused multiply-adds into a block of accumulators that
never leaves the registers. The inner blocks are written in LLVM's vector types, which it lowers to whatever the
processor has (one AVX-512 register, two AVX2 or four NEON registers a vector of 16 float32).

The order of summation depends on the shapes alone, and lanes never mix: what one trial gets does not depend on
its companions.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from llvmlite import ir
from numba import njit, types
from numba.extending import intrinsic

N_LANES = 16
N_ROWS = 8
_N_LEFT = 4
_N_RIGHT = 4

_INDEX = ir.IntType(64)


class Rows(NamedTuple):
    """Rows of N_LANES elements for every step, somewhere in a flat array.

    Attributes
    ----------
    values : ndarray, C-contiguous
    first : int
        Flat position of the first row of the first step.
    stride : int
        Elements from step to step.
    """

    values: np.ndarray
    first: int
    stride: int


def lane_vector(array_type: types.Array) -> ir.VectorType:
    """Give the LLVM vector type of one element's lanes."""
    element = ir.FloatType() if array_type.dtype == types.float32 else ir.DoubleType()
    return ir.VectorType(element, N_LANES)


def declare_fma(builder: ir.IRBuilder, vector: ir.VectorType) -> ir.Function:
    """Declare LLVM's fused multiply-add for a vector type in the current module."""
    name = f"llvm.fma.v{N_LANES}{'f32' if vector.element == ir.FloatType() else 'f64'}"
    if name in builder.module.globals:
        return builder.module.globals[name]
    return ir.Function(builder.module, ir.FunctionType(vector, [vector] * 3), name)


def data_pointer(context, builder, array_type, array, offset):
    """Give a pointer to the element at a flat offset into an array."""
    data = context.make_array(array_type)(context, builder, array).data
    return builder.gep(data, [offset])


def load_lanes(builder, vector, pointer, offset):
    """Load the lanes that start at a flat offset from a scalar pointer, aligned to one element only."""
    place = builder.bitcast(builder.gep(pointer, [offset]), vector.as_pointer())
    return builder.load(place, align=4 if vector.element == ir.FloatType() else 8)


def store_lanes(builder, vector, pointer, offset, value):
    """Store lanes at a flat offset from a scalar pointer."""
    place = builder.bitcast(builder.gep(pointer, [offset]), vector.as_pointer())
    builder.store(value, place, align=4 if vector.element == ir.FloatType() else 8)


def broadcast(builder, vector, value):
    """Put one scalar into every lane."""
    undefined = ir.Constant(vector, ir.Undefined)
    first = builder.insert_element(undefined, value, ir.Constant(ir.IntType(32), 0))
    every = ir.Constant(ir.VectorType(ir.IntType(32), N_LANES), [0] * N_LANES)
    return builder.shuffle_vector(first, undefined, every)


def accumulate(builder, start, n_steps, emit_step):
    """Emit a loop that carries vectors in registers: `emit_step(step, carried) -> carried`, at least one step."""
    before = builder.block
    loop = builder.append_basic_block("lanes_loop")
    after = builder.append_basic_block("lanes_after")
    builder.branch(loop)
    builder.position_at_end(loop)
    step = builder.phi(_INDEX)
    step.add_incoming(ir.Constant(_INDEX, 0), before)
    carried = [builder.phi(value.type) for value in start]
    for phi, value in zip(carried, start, strict=True):
        phi.add_incoming(value, before)
    updated = emit_step(step, carried)
    following = builder.add(step, ir.Constant(_INDEX, 1))
    step.add_incoming(following, loop)
    for phi, value in zip(carried, updated, strict=True):
        phi.add_incoming(value, loop)
    builder.cbranch(builder.icmp_signed("<", following, n_steps), loop, after)
    builder.position_at_end(after)
    return updated


def _emit_product_block(n_rows: int):
    """Build the code generator that adds `n_rows` rows of a product to their destination."""

    def emit(context, builder, signature, arguments):
        product_t, product_at, weights_t, weights_at, n_outputs, values_t, values_at, n_values = signature.args
        product, product_at, weights, weights_at, n_outputs, values, values_at, n_values = arguments
        vector = lane_vector(product_t)
        fma = declare_fma(builder, vector)
        product = data_pointer(context, builder, product_t, product, product_at)
        weights = data_pointer(context, builder, weights_t, weights, weights_at)
        values = data_pointer(context, builder, values_t, values, values_at)

        def step(k, sums):
            value = load_lanes(builder, vector, values, builder.mul(k, ir.Constant(_INDEX, N_LANES)))
            row = builder.gep(weights, [builder.mul(k, n_outputs)])
            scalars = [builder.load(builder.gep(row, [ir.Constant(_INDEX, i)])) for i in range(n_rows)]
            return [
                builder.call(fma, [broadcast(builder, vector, scalar), value, total])
                for scalar, total in zip(scalars, sums, strict=True)
            ]

        places = [ir.Constant(_INDEX, i * N_LANES) for i in range(n_rows)]
        start = [load_lanes(builder, vector, product, place) for place in places]
        for place, total in zip(places, accumulate(builder, start, n_values, step), strict=True):
            store_lanes(builder, vector, product, place, total)
        return context.get_dummy_value()

    return emit


def _emit_outer_block(n_left: int, n_right: int):
    """Build the code generator that adds `n_left` x `n_right` entries of a sum of outer products."""

    def emit(context, builder, signature, arguments):
        total_t, left_t, right_t = signature.args[0], signature.args[3], signature.args[6]
        total, total_at, row_stride, left, left_at, left_stride, right, right_at, right_stride, n_steps = arguments
        vector = lane_vector(total_t)
        fma = declare_fma(builder, vector)
        total = data_pointer(context, builder, total_t, total, total_at)
        left = data_pointer(context, builder, left_t, left, left_at)
        right = data_pointer(context, builder, right_t, right, right_at)

        def lanes_of(pointer, t, stride, n):
            first = builder.gep(pointer, [builder.mul(t, stride)])
            return [load_lanes(builder, vector, first, ir.Constant(_INDEX, i * N_LANES)) for i in range(n)]

        def step(t, sums):
            lefts = lanes_of(left, t, left_stride, n_left)
            rights = lanes_of(right, t, right_stride, n_right)
            pairs = [(a, b) for a in lefts for b in rights]
            return [builder.call(fma, [a, b, total]) for (a, b), total in zip(pairs, sums, strict=True)]

        places = [
            builder.add(builder.mul(ir.Constant(_INDEX, i), row_stride), ir.Constant(_INDEX, j * N_LANES))
            for i in range(n_left)
            for j in range(n_right)
        ]
        start = [load_lanes(builder, vector, total, place) for place in places]
        for place, value in zip(places, accumulate(builder, start, n_steps, step), strict=True):
            store_lanes(builder, vector, total, place, value)
        return context.get_dummy_value()

    return emit


def _product_signature(product, weights, values):
    """Give the type signature of a product block."""
    index = types.intp
    return types.void(product, index, weights, index, index, values, index, index)


def _outer_signature(total, left, right):
    """Give the type signature of an outer-product block."""
    index = types.intp
    return types.void(total, index, index, left, index, index, right, index, index, index)


@intrinsic
def product_rows(typing_context, product, product_at, weights, weights_at, n_outputs, values, values_at, n_values):
    """Add a block of N_ROWS rows of a product."""
    return _product_signature(product, weights, values), _emit_product_block(N_ROWS)


@intrinsic
def _product_row(typing_context, product, product_at, weights, weights_at, n_outputs, values, values_at, n_values):
    """Add one row of a product."""
    return _product_signature(product, weights, values), _emit_product_block(1)


@intrinsic
def _outer_block(typing_context, total, total_at, row, left, left_at, left_row, right, right_at, right_row, n_steps):
    """Add a block of _N_LEFT x _N_RIGHT entries of a sum of outer products."""
    return _outer_signature(total, left, right), _emit_outer_block(_N_LEFT, _N_RIGHT)


@intrinsic
def _outer_column(typing_context, total, total_at, row, left, left_at, left_row, right, right_at, right_row, n_steps):
    """Add a block of _N_LEFT x 1 entries of a sum of outer products."""
    return _outer_signature(total, left, right), _emit_outer_block(_N_LEFT, 1)


@intrinsic
def _outer_entry(typing_context, total, total_at, row, left, left_at, left_row, right, right_at, right_row, n_steps):
    """Add one entry of a sum of outer products."""
    return _outer_signature(total, left, right), _emit_outer_block(1, 1)


@intrinsic
def fill_lanes(typing_context, array, at, value):
    """Put one value into the N_LANES elements from a flat position on."""

    def emit(context, builder, signature, arguments):
        array_t, _, value_t = signature.args
        array, at, value = arguments
        vector = lane_vector(array_t)
        value = context.cast(builder, value, value_t, array_t.dtype)
        pointer = data_pointer(context, builder, array_t, array, at)
        store_lanes(builder, vector, pointer, ir.Constant(_INDEX, 0), broadcast(builder, vector, value))
        return context.get_dummy_value()

    return types.void(array, types.intp, value), emit


@njit(forceinline=True)
def add_product(product, product_at, weights, values, values_at):
    """Add ``weights.T @ values`` to `product`, lane by lane.

    Parameters
    ----------
    product : ndarray, C-contiguous
        Destination; rows of N_LANES elements from flat position `product_at` on.
    product_at : int
        Flat position of the first of the n_outputs destination rows.
    weights : ndarray, shape (n_values, n_outputs)
        Weights, C-contiguous, one row for each value.
    values : ndarray, C-contiguous
        Rows of N_LANES elements from flat position `values_at` on.
    values_at : int
        Flat position of the first of the n_values rows; at least one.
    """
    n_values, n_outputs = weights.shape
    row = 0
    while row + N_ROWS <= n_outputs:
        product_rows(product, product_at + row * N_LANES, weights, row, n_outputs, values, values_at, n_values)
        row += N_ROWS
    while row < n_outputs:
        _product_row(product, product_at + row * N_LANES, weights, row, n_outputs, values, values_at, n_values)
        row += 1


@njit(forceinline=True)
def add_outer(total, left, right, n_steps):
    """Add the sum over steps of ``outer(left_t, right_t)`` to `total`, lane by lane.

    Parameters
    ----------
    total : ndarray, shape (n_left, n_right, N_LANES)
        Destination, C-contiguous.
    left, right : Rows
        n_left and n_right rows a step.
    n_steps : int
        Number of steps, at least one.
    """
    n_left, n_right = total.shape[0], total.shape[1]
    row = n_right * N_LANES
    i = 0
    while i < n_left:
        is_block = i + _N_LEFT <= n_left
        to, from_left = i * row, left.first + i * N_LANES
        j = 0
        while is_block and j + _N_RIGHT <= n_right:
            _outer_block(
                total, to + j * N_LANES, row, left.values, from_left, left.stride,
                right.values, right.first + j * N_LANES, right.stride, n_steps,
            )  # fmt: skip
            j += _N_RIGHT
        while is_block and j < n_right:
            _outer_column(
                total, to + j * N_LANES, row, left.values, from_left, left.stride,
                right.values, right.first + j * N_LANES, right.stride, n_steps,
            )  # fmt: skip
            j += 1
        while j < n_right:
            _outer_entry(
                total, to + j * N_LANES, row, left.values, from_left, left.stride,
                right.values, right.first + j * N_LANES, right.stride, n_steps,
            )  # fmt: skip
            j += 1
        i += _N_LEFT if is_block else 1
