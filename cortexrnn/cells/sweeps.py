"""What the sweeps of every packed cell share: start states, sums of outer products, derivatives of the inputs.

A weight gradient is the sum over steps and trials of outer products. The derivatives of some steps are laid out as
blocks of rows and the states beside them as panels of columns, in the order in which the product reads them; the
sums stay in that layout until the sweep is over. The order of summation depends on the shapes alone.

Arrays of a tile have the shape (step, row * N_LANES): the lanes are the trials.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numba import njit

from cortexrnn.numerics.elementwise import sigmoid, tanh
from cortexrnn.numerics.lanes import N_LANES, N_ROWS, product_rows
from cortexrnn.numerics.packed import add_rows, padded_rows

# Steps whose weight gradients are formed in one product.
CHUNK = 32


class OuterSums(NamedTuple):
    """Sums of outer products over a sweep, and the room in which their factors are laid out.

    Attributes
    ----------
    blocks : ndarray, shape (padded rows * CHUNK * N_LANES,)
        The left side of a chunk in blocks of `N_ROWS` rows.
    panels : ndarray, shape (padded columns * CHUNK * N_LANES,)
        The right side in panels of `N_LANES` columns.
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


def empty_outer_sums(n_rows: int, n_columns: int, dtype: np.dtype) -> OuterSums:
    """Allocate the sums of outer products of `n_rows` derivatives and `n_columns` states and inputs."""
    n_panels = -(-(n_columns + 1) // N_LANES)
    return OuterSums(
        blocks=np.zeros(padded_rows(n_rows) * CHUNK * N_LANES, dtype),
        panels=np.zeros(n_panels * N_LANES * CHUNK * N_LANES, dtype),
        sums=np.zeros((n_panels, padded_rows(n_rows) * N_LANES), dtype),
    )


@njit(cache=True, nogil=True)
def add_outer_products(steps, first, states, inputs, outer):
    """Add the sum over steps and lanes of outer products.

    On the right stand the states, behind them the inputs, and behind those a one, which makes sums of rows.

    Parameters
    ----------
    steps : ndarray, shape (n_steps, at least (first + n_rows) * N_LANES)
        The left side, its rows from `first` on; at most `CHUNK` steps.
    first : int
    states : ndarray, shape (n_steps, n_states * N_LANES)
    inputs : ndarray, shape (n_steps, n_inputs * N_LANES)
    outer : OuterSums
    """
    blocks = _lay_rows(steps, first, outer.sums.shape[1] // N_LANES, outer.blocks)
    n_lanes = steps.shape[0] * N_LANES
    n_panels = outer.sums.shape[0]
    panels = outer.panels[: n_panels * n_lanes * N_LANES].reshape(n_panels, n_lanes * N_LANES)
    n_states, n_inputs = states.shape[1] // N_LANES, inputs.shape[1] // N_LANES
    _lay_columns(states, 0, panels)
    _lay_columns(inputs, n_states, panels)
    _lay_ends(n_states + n_inputs, panels)
    _add_products(blocks, panels, outer.sums)


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
def _add_products(blocks, panels, sums):
    """Multiply every block with every panel: a block stays in the first cache while the panels pass by."""
    n_blocks, n_lanes, _ = blocks.shape
    flat_panels, flat_sums = panels.reshape(panels.size), sums.reshape(sums.size)
    for i in range(n_blocks):
        block, to = i * N_ROWS * n_lanes, i * N_ROWS * N_LANES
        for k in range(panels.shape[0]):
            at = k * panels.shape[1]
            product_rows(flat_sums, k * sums.shape[1] + to, blocks, block, N_ROWS, flat_panels, at, n_lanes)


@njit(cache=True, nogil=True)
def _lay_rows(steps, first, n_padded, room):
    """Lay rows of some steps out in blocks: (n_blocks, n_steps * N_LANES, N_ROWS), what is missing as zeros."""
    n_steps, n_blocks = steps.shape[0], n_padded // N_ROWS
    n_rows = min(n_padded, steps.shape[1] // N_LANES - first)
    blocks = room[: n_padded * n_steps * N_LANES].reshape(n_blocks, n_steps * N_LANES, N_ROWS)
    for t in range(n_steps):
        for i in range(n_rows // N_ROWS):
            for lane in range(N_LANES):
                for row in range(N_ROWS):
                    blocks[i, t * N_LANES + lane, row] = steps[t, (first + i * N_ROWS + row) * N_LANES + lane]
    if n_rows < n_padded:
        last = blocks[n_blocks - 1]
        last[:] = 0
        for t in range(n_steps):
            for lane in range(N_LANES):
                for row in range(n_rows % N_ROWS):
                    last[t * N_LANES + lane, row] = steps[t, (first + n_rows - n_rows % N_ROWS + row) * N_LANES + lane]
    return blocks


@njit(cache=True, nogil=True)
def _lay_columns(steps, first, panels):
    """Lay rows of some steps out as columns of panels, from column `first` on."""
    for j in range(steps.shape[1] // N_LANES):
        panel, at = panels[(first + j) // N_LANES], (first + j) % N_LANES
        for t in range(steps.shape[0]):
            for lane in range(N_LANES):
                panel[(t * N_LANES + lane) * N_LANES + at] = steps[t, j * N_LANES + lane]


@njit(cache=True, nogil=True)
def _lay_ends(column, panels):
    """Write the column of ones, and zeros behind it."""
    last = panels[column // N_LANES]
    at = column % N_LANES
    for k in range(0, last.size, N_LANES):
        last[k + at] = 1
        for behind in range(at + 1, N_LANES):
            last[k + behind] = 0
