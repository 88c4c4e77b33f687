"""The linear read-out of a tile of trials: outputs of every step, and the way back."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numba import njit

from cortexrnn.numerics.lanes import N_LANES
from cortexrnn.numerics.packed import add_rows, pack_rows

# Steps whose read-out gradient is formed in one product.
_CHUNK = 32


class Readout(NamedTuple):
    """The read-out, packed.

    Attributes
    ----------
    forward, backward : ndarray
        From `pack_rows`, of the matrix and of its transpose.
    bias : ndarray, shape (n_outputs,)
    """

    forward: np.ndarray
    backward: np.ndarray
    bias: np.ndarray


def pack_readout(readout: np.ndarray, bias: np.ndarray) -> Readout:
    """Pack a read-out, (n_outputs, n_units), for both ways."""
    return Readout(pack_rows(readout), pack_rows(np.ascontiguousarray(readout.T)), bias)


@njit(cache=True, nogil=True)
def read_out(rate, readout, outputs):
    """Fill the outputs of every step from the rates after it.

    Parameters
    ----------
    rate : ndarray, shape (n_steps + 1, n_units * N_LANES)
    readout : Readout
    outputs : ndarray, shape (n_steps, padded)
    """
    for t in range(outputs.shape[0]):
        outputs[t] = 0
        for k in range(readout.bias.size):
            for lane in range(N_LANES):
                outputs[t, k * N_LANES + lane] = readout.bias[k]
        add_rows(outputs[t], readout.forward, rate[t + 1])


@njit(cache=True, nogil=True)
def read_out_backward(rate, readout, by_outputs, by_rate, by_readout, by_bias):
    """Run the adjoint of `read_out`.

    Parameters
    ----------
    rate : ndarray, shape (n_steps + 1, n_units * N_LANES)
    readout : Readout
    by_outputs : ndarray, shape (n_steps, padded)
    by_rate : ndarray, shape (at least n_steps * n_units * N_LANES,)
        Filled, step after step, with room for a whole block behind the last.
    by_readout, by_bias : ndarray, shape (n_outputs, n_units) and (n_outputs,)
        Added to.
    """
    n_outputs = by_bias.size * N_LANES
    size = rate.shape[1]
    for t in range(by_outputs.shape[0]):
        # What a block has beyond the step is zero, and the next step begins anew.
        by_rate[t * size : (t + 1) * size] = 0
        add_rows(by_rate[t * size :], readout.backward, by_outputs[t, :n_outputs])
        for i in range(n_outputs):
            by_bias[i // N_LANES] += by_outputs[t, i]
    for first in range(0, by_outputs.shape[0], _CHUNK):
        stop = min(first + _CHUNK, by_outputs.shape[0])
        _add_outer_products(by_outputs[first:stop], rate[first + 1 : stop + 1], by_readout)


@njit(cache=True, nogil=True)
def _add_outer_products(left, right, total):
    """Add the sum over steps and lanes of ``outer(left, right)`` to `total`.

    Parameters
    ----------
    left : ndarray, shape (n_steps, at least n_left * N_LANES)
    right : ndarray, shape (n_steps, at least n_right * N_LANES)
    total : ndarray, shape (n_left, n_right)
    """
    if total.size:
        total += np.dot(_rows_of(left, total.shape[0]), _rows_of(right, total.shape[1]).T)


@njit(cache=True, nogil=True)
def _rows_of(steps, n_rows):
    """Give steps of lanes as a matrix with a row for every unit: (n_rows, n_steps * N_LANES)."""
    out = np.empty((n_rows, steps.shape[0] * N_LANES), steps.dtype)
    for i in range(n_rows):
        for t in range(steps.shape[0]):
            for lane in range(N_LANES):
                out[i, t * N_LANES + lane] = steps[t, i * N_LANES + lane]
    return out
