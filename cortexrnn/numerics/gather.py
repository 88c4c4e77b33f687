"""Sums over scattered places: one element each, or the lanes of sixteen trials that lie side by side.

Places are 16-bit numbers counted from a given element. The sum runs in partial sums that are added in pairs at
the end, and what is left over by itself, in the same order for an element and for every lane. Nothing is fused,
so one trial gets the same bits alone and among sixteen. Written in LLVM's terms, because a loop that may be
reordered becomes a gather instruction, which took a fifth more time than single loads (AMD Zen 4), and because
the partial sums of sixteen lanes have to stay in registers.
"""

from __future__ import annotations

from llvmlite import ir
from numba import njit, types
from numba.extending import intrinsic

from cortexrnn.numerics.lanes import N_LANES

CACHE_LINE = 64
# Partial sums: enough to keep additions from waiting for each other.
_N_SUMS = 4
_INDEX = ir.IntType(64)


@njit(inline="always")
def prefetch(table, at, n):
    """Ask for the cache lines of n elements of a table from `at` on; beyond its end this does no harm.

    Parameters
    ----------
    table : ndarray
    at : int
        First element.
    n : int
        Number of elements.
    """
    for i in range(0, n, CACHE_LINE // table.itemsize):
        _prefetch_line(table, at + i)


@intrinsic
def _prefetch_line(typing_context, table, at):
    """Ask for the cache line of an element, to be read once."""
    return types.void(table, types.intp), _emit_prefetch


def _emit_prefetch(context, builder, signature, arguments):
    """Emit LLVM's prefetch: for reading, without a place in the outer caches, data."""
    table, at = arguments
    pointer = builder.gep(context.make_array(signature.args[0])(context, builder, table).data, [at])
    byte, word = ir.IntType(8).as_pointer(), ir.IntType(32)
    signature = ir.FunctionType(ir.VoidType(), [byte, word, word, word])
    function = builder.module.declare_intrinsic("llvm.prefetch", [byte], signature)
    builder.call(function, [builder.bitcast(pointer, byte), word(0), word(0), word(1)])
    return context.get_dummy_value()


@intrinsic
def add_equal(typing_context, drive, drive_at, weight, sources, sources_at, places, places_at, n):
    """Add ``weight sum_k sources[sources_at + places[places_at + k]]`` to an element of `drive`; for kernels.

    Parameters
    ----------
    drive : ndarray, C-contiguous
    drive_at : int
        Flat position of the element.
    weight : float
        Of the precision of `drive`.
    sources : ndarray, C-contiguous
    sources_at : int
        Flat position from which places count.
    places : ndarray of uint16
    places_at, n : int
        First place and number of places.
    """
    return _equal_signature(drive, sources, places), _emit_equal(1)


@intrinsic
def add_equal_lanes(typing_context, drive, drive_at, weight, sources, sources_at, places, places_at, n):
    """Do what `add_equal` does for N_LANES neighbouring elements, with places counted in units of N_LANES."""
    return _equal_signature(drive, sources, places), _emit_equal(N_LANES)


@intrinsic
def add_weighted(typing_context, drive, drive_at, values, values_at, sources, sources_at, places, places_at, n):
    """Add ``sum_k values[values_at + k] sources[sources_at + places[places_at + k]]`` to an element of `drive`.

    Parameters
    ----------
    drive, drive_at, sources, sources_at, places, places_at, n
        As in `add_equal`.
    values : ndarray
        Weights.
    values_at : int
        The first of them.
    """
    return _weighted_signature(drive, values, sources, places), _emit_weighted(1)


@intrinsic
def add_weighted_lanes(typing_context, drive, drive_at, values, values_at, sources, sources_at, places, places_at, n):
    """Do what `add_weighted` does for N_LANES neighbouring elements, with places counted in units of N_LANES."""
    return _weighted_signature(drive, values, sources, places), _emit_weighted(N_LANES)


def _equal_signature(drive, sources, places):
    """Give the type signature of a sum with equal weights."""
    index = types.intp
    return types.void(drive, index, drive.dtype, sources, index, places, index, index)


def _weighted_signature(drive, values, sources, places):
    """Give the type signature of a sum with stored weights."""
    index = types.intp
    return types.void(drive, index, values, index, sources, index, places, index, index)


def _emit_equal(lanes: int):
    """Build the code generator of a sum with equal weights."""

    def emit(context, builder, signature, arguments):
        drive_t, _, _, sources_t, _, places_t, *_ = signature.args
        drive, drive_at, weight, sources, sources_at, places, places_at, n = arguments
        place = _lanes_at(context, builder, drive_t, lanes)(drive, drive_at)
        load = _gather(context, builder, (sources_t, sources, sources_at), (places_t, places, places_at), lanes)
        total = _emit_sum(builder, n, place.type.pointee, load)
        _add_to(builder, place, builder.fmul(_spread(builder, weight, lanes), total))
        return context.get_dummy_value()

    return emit


def _emit_weighted(lanes: int):
    """Build the code generator of a sum with stored weights."""

    def emit(context, builder, signature, arguments):
        drive_t, _, values_t, _, sources_t, _, places_t, *_ = signature.args
        drive, drive_at, values, values_at, sources, sources_at, places, places_at, n = arguments
        place = _lanes_at(context, builder, drive_t, lanes)(drive, drive_at)
        load = _gather(context, builder, (sources_t, sources, sources_at), (places_t, places, places_at), lanes)
        weights = builder.gep(context.make_array(values_t)(context, builder, values).data, [values_at])

        def load_product(k):
            return builder.fmul(_spread(builder, builder.load(builder.gep(weights, [k])), lanes), load(k))

        _add_to(builder, place, _emit_sum(builder, n, place.type.pointee, load_product))
        return context.get_dummy_value()

    return emit


def _gather(context, builder, sources, places, lanes):
    """Give what emits the load of the k-th source's lanes."""
    sources_t, array, sources_at = sources
    places_t, numbers, places_at = places
    at = _lanes_at(context, builder, sources_t, lanes)
    first = builder.gep(context.make_array(places_t)(context, builder, numbers).data, [places_at])

    def load(k):
        number = builder.zext(builder.load(builder.gep(first, [k])), _INDEX)
        offset = builder.add(sources_at, builder.mul(number, ir.Constant(_INDEX, lanes)))
        return builder.load(at(array, offset), align=sources_t.dtype.bitwidth // 8)

    return load


def _lanes_at(context, builder, array_type, lanes):
    """Give what emits a pointer to the lanes that start at a flat offset into an array."""

    def at(array, offset):
        pointer = builder.gep(context.make_array(array_type)(context, builder, array).data, [offset])
        if lanes == 1:
            return pointer
        return builder.bitcast(pointer, ir.VectorType(pointer.type.pointee, lanes).as_pointer())

    return at


def _spread(builder, scalar, lanes):
    """Put a scalar into every lane."""
    if lanes == 1:
        return scalar
    undefined = ir.Constant(ir.VectorType(scalar.type, lanes), ir.Undefined)
    first = builder.insert_element(undefined, scalar, ir.Constant(ir.IntType(32), 0))
    return builder.shuffle_vector(first, undefined, ir.Constant(ir.VectorType(ir.IntType(32), lanes), [0] * lanes))


def _add_to(builder, place, value):
    """Add a value to what a pointer shows."""
    element = place.type.pointee
    scalar = element.element if isinstance(element, ir.VectorType) else element
    align = 4 if isinstance(scalar, ir.FloatType) else 8
    builder.store(builder.fadd(builder.load(place, align=align), value), place, align=align)


def _emit_sum(builder, n, kind, load):
    """Emit the sum of ``load(k)`` for k below n: _N_SUMS partial sums, added in pairs, and what is left over."""
    zero = ir.Constant(kind, [0.0] * kind.count if isinstance(kind, ir.VectorType) else 0.0)
    n_even = builder.and_(n, ir.Constant(_INDEX, -_N_SUMS))

    def add_several(k, sums):
        numbers = [builder.add(k, ir.Constant(_INDEX, i)) for i in range(_N_SUMS)]
        return [builder.fadd(total, load(number)) for total, number in zip(sums, numbers, strict=True)]

    start = ir.Constant(_INDEX, 0)
    sums = _emit_loop(builder, (start, n_even, _N_SUMS), [zero] * _N_SUMS, add_several)
    while len(sums) > 1:
        sums = [builder.fadd(a, b) for a, b in zip(sums[::2], sums[1::2], strict=True)]
    return _emit_loop(builder, (n_even, n, 1), sums, lambda k, left: [builder.fadd(left[0], load(k))])[0]


def _emit_loop(builder, span, carried, emit_step):
    """Emit ``for k in range(*span): carried = emit_step(k, carried)`` with the carried values in registers."""
    start, stop, step = span
    before = builder.block
    loop, after = builder.append_basic_block("sum_loop"), builder.append_basic_block("sum_after")
    builder.cbranch(builder.icmp_signed("<", start, stop), loop, after)
    builder.position_at_end(loop)
    k = builder.phi(_INDEX)
    k.add_incoming(start, before)
    inside = [builder.phi(value.type) for value in carried]
    for phi, value in zip(inside, carried, strict=True):
        phi.add_incoming(value, before)
    updated = emit_step(k, inside)
    following = builder.add(k, ir.Constant(_INDEX, step))
    k.add_incoming(following, loop)
    for phi, value in zip(inside, updated, strict=True):
        phi.add_incoming(value, loop)
    builder.cbranch(builder.icmp_signed("<", following, stop), loop, after)
    builder.position_at_end(after)
    results = [builder.phi(value.type) for value in carried]
    for phi, old, new in zip(results, carried, updated, strict=True):
        phi.add_incoming(old, before)
        phi.add_incoming(new, loop)
    return results
