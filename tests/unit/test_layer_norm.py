"""Layer norm of a tile's step and its adjoint; oracles: NumPy in float64, imaginary steps."""

from __future__ import annotations

import numpy as np
import pytest

from cortexrnn.cells.layer_norm import EPSILON, normalise, normalise_backward, normalise_gates
from cortexrnn.numerics.lanes import N_LANES

# Gates and units: less than a loop's eight rows, whole ones, one more.
SIZES = [(1, 1), (3, 5), (4, 16), (2, 33)]


def run(product, gain):
    """Normalise (n_gates, n_hidden, N_LANES); gives what is added, normal and scale."""
    n_gates, n_hidden, _ = product.shape
    normal, scale = np.empty(product.size, product.dtype), np.empty(n_gates * N_LANES, product.dtype)
    out = np.zeros(product.size, product.dtype)
    normalise(product.ravel(), np.repeat(gain, N_LANES), normal, scale, out)
    return out.reshape(n_gates, n_hidden, N_LANES), normal, scale


def expected(product, gain):
    """Normalise with NumPy."""
    wide = product.astype(float)
    apart = wide - wide.mean(axis=1, keepdims=True)
    return gain.reshape(len(wide), -1, 1) * apart / np.sqrt((apart**2).mean(axis=1, keepdims=True) + EPSILON)


@pytest.mark.parametrize("size", SIZES)
def test_every_gate_of_every_trial_is_normalised_by_itself(size):
    rng = np.random.default_rng(0)
    product, gain = 3.0 + rng.normal(size=(*size, N_LANES)), rng.normal(size=size[0] * size[1])
    # Some tens of roundings of numbers of order one.
    np.testing.assert_allclose(run(product, gain)[0], expected(product, gain), rtol=0, atol=1e-13)


def test_a_small_variance_beside_a_large_mean_keeps_its_digits_in_float32():
    rng = np.random.default_rng(1)
    product = (1000.0 + rng.normal(size=(1, 256, N_LANES))).astype(np.float32)
    # The mean is rounded to 3e-5, and so is every difference; a variance from sums of squares would be off by 0.1.
    np.testing.assert_allclose(run(product, np.ones(256, np.float32))[0], expected(product, np.ones(256)), atol=3e-4)


@pytest.mark.parametrize("size", SIZES)
def test_the_derivatives_are_those_of_imaginary_steps(size):
    """Of the product, of the gain, and of one trial as a matrix."""
    rng = np.random.default_rng(2)
    product, gain = rng.normal(size=(*size, N_LANES)), rng.normal(size=size[0] * size[1])
    by_out, e = rng.normal(size=product.shape), 1e-200
    _, normal, scale = run(product, gain)
    by_product, by_gain = np.empty(product.size), np.ones(product.size)
    normalise_backward(by_out.ravel(), np.repeat(gain, N_LANES), normal, scale, by_product, by_gain)
    _, matrix = normalise_gates(product[:, :, 3], gain.reshape(size))

    def moved(by):
        wide = product + 1j * e * by
        apart = wide - wide.mean(axis=1, keepdims=True)
        return apart / np.sqrt((apart**2).mean(axis=1, keepdims=True) + EPSILON)

    by_normal = by_out * gain.reshape(*size, 1)
    for gate in range(size[0]):
        for unit in range(size[1]):
            along = np.zeros(product.shape)
            along[gate, unit] = 1.0
            change = moved(along).imag / e
            found = by_product.reshape(product.shape)[gate, unit]
            # Some tens of roundings; one unit alone divides by the root of 1e-5.
            np.testing.assert_allclose(found, (by_normal * change).sum(axis=(0, 1)), rtol=0, atol=1e-12)
            column = (gain.reshape(size) * change[:, :, 3])[gate]
            np.testing.assert_allclose(matrix[gate, :, unit], column, rtol=0, atol=1e-12)
    np.testing.assert_allclose(by_gain - 1.0, (by_out * moved(0.0).real).ravel(), rtol=0, atol=1e-13)
