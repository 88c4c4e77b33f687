"""Layer norm (Ba, Kiros and Hinton 2016, arXiv:1607.06450) of one step's recurrent product, and its adjoint.

The product p of every gate is normalised over the gate's units, in each trial and step by itself::

    n = (p - mean(p)) / sqrt(var(p) + 1e-5)
    a <- a + gain n

It only shifts and scales what the recurrent weights give: inputs and biases come in beside it, as they are.
"""

from __future__ import annotations

import numpy as np
from numba import njit

from cortexrnn.numerics.lanes import N_LANES

# Added to the variance; PyTorch's default too.
EPSILON = 1e-5
# Elements that one inner loop runs over, eight rows. A loop over the lanes of one row does not become SIMD code, nor
# does one that indexes with a sum, which might be negative: hence the slices.
_WIDTH = 8 * N_LANES


def normalise_gates(product: np.ndarray, gain: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Normalise the product of one trial, and give the derivatives of that.

    Parameters
    ----------
    product, gain : ndarray, shape (n_gates, n_hidden)

    Returns
    -------
    normal : ndarray, shape (n_gates, n_hidden)
        Times the gain.
    by_product : ndarray, shape (n_gates, n_hidden, n_hidden)
        Entry (g, i, j) is the derivative of normal (g, i) with respect to product (g, j).
    """
    n = product.shape[1]
    apart = product - product.mean(axis=1, keepdims=True)
    scale = 1.0 / np.sqrt((apart**2).mean(axis=1, keepdims=True) + EPSILON)
    normal = scale * apart
    along = np.eye(n) - (1.0 + normal[:, :, None] * normal[:, None, :]) / n
    return gain * normal, (gain * scale)[:, :, None] * along


@njit(cache=True, nogil=True, error_model="numpy", fastmath={"contract"})
def normalise(product, gain, normal, scale, arguments):
    """Add the normalised product of a step to its arguments.

    Parameters
    ----------
    product : ndarray, shape (at least n_rows * N_LANES,)
        Gates stacked.
    gain : ndarray, shape (n_rows * N_LANES,)
        The same in every lane.
    normal : ndarray, shape (n_rows * N_LANES,)
        Filled with the normalised product, without the gain.
    scale : ndarray, shape (n_gates * N_LANES,)
        Filled with the factors that brought the variances to one.
    arguments : ndarray, shape (at least n_rows * N_LANES,)
        Added to.
    """
    n_gates = scale.size // N_LANES
    size, kind = gain.size // n_gates, product.dtype.type
    mean, factor = np.empty(_WIDTH, product.dtype), np.empty(_WIDTH, product.dtype)
    for gate in range(n_gates):
        first, stop = gate * size, (gate + 1) * size
        mean[:] = 0
        for at in range(first, stop, _WIDTH):
            values = product[at : min(at + _WIDTH, stop)]
            for k in range(values.size):
                mean[k] += values[k]
        _fold(mean, size)
        factor[:] = 0
        # In a second pass: the difference of two large sums would lose the digits of a small variance.
        for at in range(first, stop, _WIDTH):
            values, apart = product[at : min(at + _WIDTH, stop)], normal[at : min(at + _WIDTH, stop)]
            for k in range(values.size):
                apart[k] = values[k] - mean[k]
            for k in range(apart.size):
                factor[k] += apart[k] * apart[k]
        _fold(factor, size)
        for k in range(_WIDTH):
            factor[k] = kind(1) / np.sqrt(factor[k] + kind(EPSILON))
        scale[gate * N_LANES : (gate + 1) * N_LANES] = factor[:N_LANES]
        for at in range(first, stop, _WIDTH):
            end = min(at + _WIDTH, stop)
            values, gains, out = normal[at:end], gain[at:end], arguments[at:end]
            for k in range(values.size):
                values[k] *= factor[k]
            for k in range(values.size):
                out[k] += gains[k] * values[k]


@njit(cache=True, nogil=True, error_model="numpy", fastmath={"contract"})
def normalise_backward(by_arguments, gain, normal, scale, by_product, by_gain):
    """Run the adjoint of `normalise`.

    Parameters
    ----------
    by_arguments : ndarray, shape (at least n_rows * N_LANES,)
    gain : ndarray, shape (n_rows * N_LANES,)
    normal, scale : ndarray
        What `normalise` left.
    by_product : ndarray, shape (at least n_rows * N_LANES,)
        Filled.
    by_gain : ndarray, shape (n_rows * N_LANES,)
        Added to, lane by lane.
    """
    n_gates = scale.size // N_LANES
    size = gain.size // n_gates
    mean, along = np.empty(_WIDTH, normal.dtype), np.empty(_WIDTH, normal.dtype)
    factor = np.empty(_WIDTH, normal.dtype)
    for gate in range(n_gates):
        first, stop = gate * size, (gate + 1) * size
        mean[:] = 0
        along[:] = 0
        for at in range(first, stop, _WIDTH):
            end = min(at + _WIDTH, stop)
            by_out, by_in, values = by_arguments[at:end], by_product[at:end], normal[at:end]
            gains, by_gains = gain[at:end], by_gain[at:end]
            for k in range(values.size):
                by_gains[k] += by_out[k] * values[k]
                by_in[k] = by_out[k] * gains[k]
            for k in range(values.size):
                mean[k] += by_in[k]
                along[k] += by_in[k] * values[k]
        _fold(mean, size)
        _fold(along, size)
        for k in range(_WIDTH):
            factor[k] = scale[gate * N_LANES + k % N_LANES]
        for at in range(first, stop, _WIDTH):
            by_in, values = by_product[at : min(at + _WIDTH, stop)], normal[at : min(at + _WIDTH, stop)]
            for k in range(values.size):
                by_in[k] = factor[k] * (by_in[k] - mean[k] - values[k] * along[k])


@njit(cache=True, nogil=True, error_model="numpy", fastmath={"contract"})
def _fold(sums, size):
    """Turn sums over every eighth row of a gate into the means of the lanes, each as often as it was there."""
    n = sums.dtype.type(size // N_LANES)
    for lane in range(N_LANES):
        total = sums[lane]
        for k in range(lane + N_LANES, _WIDTH, N_LANES):
            total += sums[k]
        for k in range(lane, _WIDTH, N_LANES):
            sums[k] = total / n
