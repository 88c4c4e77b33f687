"""Transposition of rows of lanes, in registers: what lies row by row comes to lie lane by lane.

A product reads its factors with the index of summation outermost. A sum over steps and lanes is such a product once
the rows of a step are transposed. The blocks are written in LLVM's vector types, as in `cortexrnn.numerics.lanes`.
"""

from __future__ import annotations

from llvmlite import ir
from numba import types
from numba.extending import intrinsic

from cortexrnn.numerics.lanes import N_LANES, N_ROWS, data_pointer, lane_vector, load_lanes, store_lanes


def _emit_transpose(n_rows: int):
    """Build the code generator that transposes `n_rows` rows of lanes, a power of two."""
    half = ir.VectorType(ir.IntType(32), N_LANES)
    # Elements of two vectors in turns: the first halves of both, then the second ones.
    turns = [[i // 2 + (i % 2) * N_LANES for i in range(first, first + N_LANES)] for first in (0, N_LANES)]
    masks = [ir.Constant(half, turn) for turn in turns]

    def emit(context, builder, signature, arguments):
        out_t, _, values_t, _ = signature.args
        out, out_at, values, values_at = arguments
        vector = lane_vector(values_t)
        values = data_pointer(context, builder, values_t, values, values_at)
        out = data_pointer(context, builder, out_t, out, out_at)
        places = [ir.Constant(ir.IntType(64), i * N_LANES) for i in range(n_rows)]
        rows = [load_lanes(builder, vector, values, place) for place in places]
        # Each pass is a riffle of both halves: it brings the leading bit of the row behind the bits of the lane.
        for _ in range(n_rows.bit_length() - 1):
            pairs = zip(rows[: n_rows // 2], rows[n_rows // 2 :], strict=True)
            rows = [builder.shuffle_vector(a, b, mask) for a, b in pairs for mask in masks]
        for place, row in zip(places, rows, strict=True):
            store_lanes(builder, vector, out, place, row)
        return context.get_dummy_value()

    return emit


@intrinsic
def transpose_block(typing_context, out, out_at, values, values_at):
    """Write N_ROWS rows of lanes from flat position `values_at` on as N_LANES groups of N_ROWS from `out_at` on."""
    return types.void(out, types.intp, values, types.intp), _emit_transpose(N_ROWS)


@intrinsic
def transpose_square(typing_context, out, out_at, values, values_at):
    """Write N_LANES rows of lanes from flat position `values_at` on, transposed, from `out_at` on."""
    return types.void(out, types.intp, values, types.intp), _emit_transpose(N_LANES)
