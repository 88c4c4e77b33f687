"""Kernel that carries vectors through the steps of a rate circuit whose synapses are not plastic."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numba import njit

from cortexrnn.cells.activation import activate, slope_of_rate
from cortexrnn.cells.rate_parts import CURRENT


class PlainStep(NamedTuple):
    """What a step is made of, ``y <- y + move (target - y)``.

    Attributes
    ----------
    form : int
        `CURRENT`, where the target is ``W phi(y) + bias``, or `RATE`, where it is ``phi(W y + bias)``.
    first, codes, shapes : ndarray
        Populations and their activations, as in `RateUnits`.
    weights, weights_t : ndarray, shape (n_units, n_units), C-contiguous
        W and its transpose.
    bias, move : ndarray, shape (n_units,)
    """

    form: int
    first: np.ndarray
    codes: np.ndarray
    shapes: np.ndarray
    weights: np.ndarray
    weights_t: np.ndarray
    bias: np.ndarray
    move: np.ndarray


@njit(cache=True, nogil=True, error_model="numpy")
def carry_plain(n_steps, parts, y, rows, work):
    """Advance a state, and vectors at it by the derivative.

    Parameters
    ----------
    n_steps : int
    parts : PlainStep
    y : ndarray, shape (n_units,)
        State; overwritten.
    rows : ndarray, shape (n_vectors, n_units), C-contiguous
        Vectors; overwritten.
    work : tuple of two ndarray, shape (n_vectors, n_units), C-contiguous
    """
    scaled, product = work
    rate, slope, z = np.empty(y.size), np.empty(y.size), np.empty(y.size)
    for _ in range(n_steps):
        if parts.form == CURRENT:
            _activate(parts, y, rate, slope)
            np.dot(parts.weights, rate, out=z)
            _scale(rows, slope, scaled)
            np.dot(scaled, parts.weights_t, out=product)
            _relax(parts.move, product, rows)
            for i in range(y.size):
                y[i] += parts.move[i] * (z[i] + parts.bias[i] - y[i])
        else:
            np.dot(parts.weights, y, out=z)
            for i in range(y.size):
                z[i] += parts.bias[i]
            _activate(parts, z, rate, slope)
            np.dot(rows, parts.weights_t, out=product)
            _scale(product, slope, scaled)
            _relax(parts.move, scaled, rows)
            for i in range(y.size):
                y[i] += parts.move[i] * (rate[i] - y[i])


@njit(cache=True, nogil=True, error_model="numpy")
def _activate(parts, z, rate, slope):
    """Give the rates of arguments and the slopes there."""
    for k in range(parts.codes.size):
        low, high = parts.first[k], parts.first[k + 1]
        gain, threshold, exponent = parts.shapes[k, 0], parts.shapes[k, 1], parts.shapes[k, 2]
        activate(parts.codes[k], gain, threshold, exponent, z[low:high], rate[low:high])
        slope_of_rate(parts.codes[k], gain, threshold, exponent, rate[low:high], slope[low:high])


@njit(cache=True, nogil=True, error_model="numpy", fastmath={"contract"})
def _scale(rows, factors, out):
    """Multiply every row entry by entry."""
    for k in range(rows.shape[0]):
        _scale_row(rows[k], factors, out[k])


@njit(cache=True, nogil=True, error_model="numpy", fastmath={"contract"})
def _scale_row(row, factors, out):
    """Multiply one row: a loop over plain slices becomes SIMD code."""
    for i in range(row.size):
        out[i] = row[i] * factors[i]


@njit(cache=True, nogil=True, error_model="numpy", fastmath={"contract"})
def _relax(move, targets, rows):
    """Move every row towards its target."""
    for k in range(rows.shape[0]):
        _relax_row(move, targets[k], rows[k])


@njit(cache=True, nogil=True, error_model="numpy", fastmath={"contract"})
def _relax_row(move, target, row):
    """Move one row towards its target."""
    for i in range(row.size):
        row[i] += move[i] * (target[i] - row[i])
