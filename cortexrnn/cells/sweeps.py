"""What the sweeps of every packed cell share: start states, sums of outer products, derivatives of the inputs.

A weight gradient is the sum over steps and trials of outer products. The derivatives of some steps are laid out as
blocks of rows and the states beside them as panels of columns, while they are in the cache and in the order in which
the product reads them; the sums stay in that layout until the sweep is over. The order of summation depends on the
shapes alone.

Arrays of a tile have the shape (step, row * N_LANES): the lanes are the trials.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numba import njit

from cortexrnn.numerics.elementwise import sigmoid, tanh
from cortexrnn.numerics.lanes import N_LANES, N_ROWS, product_rows
from cortexrnn.numerics.packed import add_rows, padded_rows
from cortexrnn.numerics.transpose import transpose_block, transpose_square

# Steps whose weight gradients are formed in one product.
CHUNK = 32
# Panels that one pass over the blocks multiplies.
_PANELS = 2


class OuterSums(NamedTuple):
    """Sums of outer products over a sweep, and the room in which their factors are laid out.

    Attributes
    ----------
    blocks : ndarray, shape (n_blocks, CHUNK * N_LANES * N_ROWS)
        The left sides of a chunk in blocks of `N_ROWS` rows.
    panels : ndarray, shape (n_panels, CHUNK * N_LANES * N_LANES)
        The right sides in panels of `N_LANES` columns; behind the last one is a column of ones, which makes sums
        of rows.
    sums : ndarray, shape (n_panels, padded rows * N_LANES)
        The sums, panel by panel.
    """

    blocks: np.ndarray
    panels: np.ndarray
    sums: np.ndarray


@njit(cache=True, nogil=True)
def spread(values, out):
    """Give every lane the same value.

    Parameters
    ----------
    values : ndarray, shape (n,)
    out : ndarray, shape (at least n * N_LANES,)
    """
    for i in range(values.size):
        for lane in range(N_LANES):
            out[i * N_LANES + lane] = values[i]


@njit(cache=True, nogil=True)
def add_lane_sums(values, total):
    """Add the sums over lanes.

    Parameters
    ----------
    values : ndarray, shape (n * N_LANES,)
    total : ndarray, shape (n,)
    """
    for i in range(total.size):
        for lane in range(N_LANES):
            total[i] += values[i * N_LANES + lane]


@njit(cache=True, nogil=True, error_model="numpy", fastmath={"contract"})
def sigmoids(values, out):
    """Apply the logistic sigmoid to a slice; not in place, where the loop would not become SIMD code.

    Parameters
    ----------
    values, out : ndarray, shape (n,)
    """
    for k in range(values.size):
        out[k] = sigmoid(values[k])


@njit(cache=True, nogil=True, error_model="numpy", fastmath={"contract"})
def tanhs(values, out):
    """Apply tanh to a slice; not in place, where the loop would not become SIMD code.

    Parameters
    ----------
    values, out : ndarray, shape (n,)
    """
    for k in range(values.size):
        out[k] = tanh(values[k])


@njit(cache=True, nogil=True)
def lay_starts(start, group, out):
    """Give every lane the start state of its group.

    Parameters
    ----------
    start : ndarray, shape (n_groups, n)
    group : ndarray of int64, shape (N_LANES,)
    out : ndarray, shape (n * N_LANES,)
    """
    for i in range(start.shape[1]):
        for lane in range(N_LANES):
            out[i * N_LANES + lane] = start[group[lane], i]


@njit(cache=True, nogil=True)
def add_start_sums(values, group, total):
    """Add the sums over the lanes of every group.

    Parameters
    ----------
    values : ndarray, shape (n * N_LANES,)
    group : ndarray of int64, shape (N_LANES,)
    total : ndarray, shape (n_groups, n)
    """
    for i in range(total.shape[1]):
        for lane in range(N_LANES):
            total[group[lane], i] += values[i * N_LANES + lane]


@njit(cache=True, nogil=True)
def let_through(state, keep, room):
    """Give the state as recurrent weights see it after dropout.

    Parameters
    ----------
    state : ndarray, shape (n * N_LANES,)
    keep : ndarray, shape (n * N_LANES,) or (0,)
        What is left of every entry; nothing is dropped if empty.
    room : ndarray, like `keep`
        Where the result goes.

    Returns
    -------
    ndarray
        `room`, or the state itself where nothing is dropped.
    """
    if keep.size == 0:
        return state
    for k in range(keep.size):
        room[k] = keep[k] * state[k]
    return room


def empty_outer_sums(n_rows: int, n_columns: int, dtype: np.dtype) -> OuterSums:
    """Allocate the sums of outer products of `n_rows` derivatives and `n_columns` states and inputs."""
    n_panels = n_columns // N_LANES + 1
    panels = np.zeros((n_panels, CHUNK * N_LANES * N_LANES), dtype)
    panels[-1, n_columns % N_LANES :: N_LANES] = 1.0
    return OuterSums(
        blocks=np.zeros((padded_rows(n_rows) // N_ROWS, CHUNK * N_LANES * N_ROWS), dtype),
        panels=panels,
        sums=np.zeros((n_panels, padded_rows(n_rows) * N_LANES), dtype),
    )


@njit(cache=True, nogil=True)
def lay_step(rows, states, inputs, slot, outer):
    """Lay out the factors of one step's outer products, whose sum over lanes `add_chunk` adds.

    Parameters
    ----------
    rows : ndarray, shape (at least n_rows * N_LANES,)
        The left side.
    states, inputs : ndarray, shape (n_states * N_LANES,) and (n_inputs * N_LANES,)
        The right side.
    slot : int
        Place of the step in its chunk, less than `CHUNK`.
    outer : OuterSums
    """
    _lay_rows(rows, slot, outer.blocks)
    _lay_columns(states, 0, slot, outer.panels)
    _lay_columns(inputs, states.size // N_LANES, slot, outer.panels)


@njit(cache=True, nogil=True)
def add_chunk(n_steps, outer):
    """Add the outer products of the first `n_steps` slots to the sums.

    Few panels are multiplied at a time, so that they stay in the second cache while the blocks pass by.

    Parameters
    ----------
    n_steps : int
        At least 1.
    outer : OuterSums
    """
    blocks, panels, sums = outer.blocks, outer.panels, outer.sums
    n_panels, n_lanes = panels.shape[0], n_steps * N_LANES
    flat_panels, flat_sums = panels.reshape(panels.size), sums.reshape(sums.size)
    for first in range(0, n_panels, _PANELS):
        for i in range(blocks.shape[0]):
            block, to = i * blocks.shape[1], i * N_ROWS * N_LANES
            for k in range(first, min(first + _PANELS, n_panels)):
                at = k * panels.shape[1]
                product_rows(flat_sums, k * sums.shape[1] + to, blocks, block, N_ROWS, flat_panels, at, n_lanes)


@njit(forceinline=True)
def add_step(t, rows, states, inputs, outer):
    """Lay out a step of a sweep that goes back, and add up its chunk where that is complete.

    A call that is not inlined would count the references of all these arrays, 3 % of a step of 32 units.

    Parameters
    ----------
    t : int
        Step.
    rows : ndarray, shape (at least n_rows * N_LANES,)
        The left side.
    states : ndarray, shape (n_states * N_LANES,)
        The right side, with the step's inputs.
    inputs : ndarray, shape (n_steps, n_inputs * N_LANES)
        Of all steps.
    outer : OuterSums
    """
    lay_step(rows, states, inputs[t], t % CHUNK, outer)
    if t % CHUNK == 0:
        add_chunk(min(CHUNK, inputs.shape[0] - t), outer)


@njit(cache=True, nogil=True)
def take_sums(outer, first_row, first_column, total):
    """Add a rectangle of the sums to a gradient.

    Parameters
    ----------
    outer : OuterSums
    first_row, first_column : int
    total : ndarray, shape (n_rows, n_columns)
    """
    for i in range(total.shape[0]):
        for j in range(total.shape[1]):
            column = first_column + j
            total[i, j] += outer.sums[column // N_LANES, (first_row + i) * N_LANES + column % N_LANES]


@njit(cache=True, nogil=True)
def take_row_sums(outer, first_row, n_columns, total):
    """Add sums of rows to a gradient.

    Parameters
    ----------
    outer : OuterSums
    first_row : int
    n_columns : int
        States and inputs together.
    total : ndarray, shape (n_rows,)
    """
    for i in range(total.size):
        total[i] += outer.sums[n_columns // N_LANES, (first_row + i) * N_LANES + n_columns % N_LANES]


@njit(cache=True, nogil=True)
def add_input_gradient(by_arguments, input_t, by_inputs):
    """Add the derivatives of the loss with respect to a cell's inputs, after its adjoint sweep.

    Parameters
    ----------
    by_arguments : ndarray, shape (n_steps, padded)
        What the sweep left in ``tape.arguments``.
    input_t : ndarray, shape (n_blocks, n_rows, N_ROWS)
        The transposed input weights in the order of the tape, from `pack_rows`.
    by_inputs : ndarray, shape (n_steps, n_inputs * N_LANES)
    """
    n_blocks, n_rows, _ = input_t.shape
    room = np.empty(n_blocks * N_ROWS * N_LANES, by_inputs.dtype)
    for t in range(by_inputs.shape[0]):
        room[:] = 0
        add_rows(room, input_t, by_arguments[t, : n_rows * N_LANES])
        for i in range(by_inputs.shape[1]):
            by_inputs[t, i] += room[i]


@njit(cache=True, nogil=True)
def _lay_rows(rows, slot, blocks):
    """Lay the rows of a step out in blocks; rows behind those that are summed may land in the last one."""
    size = N_ROWS * N_LANES
    n_rows = min(blocks.shape[0] * N_ROWS, rows.size // N_LANES)
    n_whole = n_rows // N_ROWS
    flat = blocks.reshape(blocks.size)
    for i in range(n_whole):
        transpose_block(flat, i * blocks.shape[1] + slot * size, rows, i * size)
    for row in range(n_whole * N_ROWS, n_rows):
        for lane in range(N_LANES):
            blocks[n_whole, slot * size + lane * N_ROWS + row % N_ROWS] = rows[row * N_LANES + lane]


@njit(cache=True, nogil=True)
def _lay_columns(rows, first, slot, panels):
    """Lay the rows of a step out as columns of panels, from column `first` on."""
    size, n_rows = N_LANES * N_LANES, rows.size // N_LANES
    # Panels that these rows fill alone.
    n_whole = n_rows // N_LANES if first % N_LANES == 0 else 0
    flat = panels.reshape(panels.size)
    for k in range(n_whole):
        transpose_square(flat, (first // N_LANES + k) * panels.shape[1] + slot * size, rows, k * size)
    for row in range(n_whole * N_LANES, n_rows):
        column = first + row
        at = slot * size + column % N_LANES
        for lane in range(N_LANES):
            panels[column // N_LANES, at + lane * N_LANES] = rows[row * N_LANES + lane]
