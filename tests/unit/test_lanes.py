"""Products with one trial per lane: against einsum, for shapes that fill blocks and for shapes that do not."""

from __future__ import annotations

import numpy as np
import pytest
from numba import njit

from cortexrnn.numerics.lanes import N_LANES, Rows, add_outer, add_product


@njit
def _product(product, product_at, weights, values, values_at):
    add_product(product, product_at, weights, values, values_at)


@njit
def _outer(total, left, right, n_steps):
    add_outer(total, left, right, n_steps)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize(("n_outputs", "n_values"), [(48, 16), (16, 48), (1, 1), (7, 3), (9, 2)])
def test_product_is_that_of_einsum_at_an_offset(dtype, n_outputs, n_values):
    rng = np.random.default_rng(0)
    weights = rng.normal(size=(n_values, n_outputs)).astype(dtype)
    values = rng.normal(size=(n_values + 2, N_LANES)).astype(dtype)
    product = rng.normal(size=(n_outputs + 3, N_LANES)).astype(dtype)
    expected = product.astype(float)
    expected[3:] += np.einsum("ko,kl->ol", weights.astype(float), values[2:].astype(float))
    flat = product.reshape(-1)
    _product(flat, 3 * N_LANES, weights, values.reshape(-1), 2 * N_LANES)
    # Round-off of a sum of n_values products of numbers of order one.
    np.testing.assert_allclose(flat.reshape(product.shape), expected, atol=10 * n_values * np.finfo(dtype).eps)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize(("n_left", "n_right"), [(48, 16), (48, 8), (4, 1), (1, 5), (7, 6), (16, 7)])
def test_outer_is_that_of_einsum_with_strides(dtype, n_left, n_right):
    rng = np.random.default_rng(1)
    n_steps = 9
    left = rng.normal(size=(n_steps, n_left + 2, N_LANES)).astype(dtype)
    right = rng.normal(size=(n_steps, n_right, N_LANES)).astype(dtype)
    total = rng.normal(size=(n_left, n_right, N_LANES)).astype(dtype)
    expected = total + np.einsum("tal,tbl->abl", left[:, 2:].astype(float), right.astype(float))
    rows = Rows(left.reshape(-1), 2 * N_LANES, (n_left + 2) * N_LANES)
    _outer(total, rows, Rows(right.reshape(-1), 0, n_right * N_LANES), n_steps)
    np.testing.assert_allclose(total, expected, atol=10 * n_steps * np.finfo(dtype).eps)


def test_a_lane_does_not_depend_on_its_companions():
    rng = np.random.default_rng(2)
    weights = rng.normal(size=(16, 48)).astype(np.float32)
    values = rng.normal(size=(16, N_LANES)).astype(np.float32)
    product = np.zeros((48, N_LANES), np.float32)
    _product(product.reshape(-1), 0, weights, values.reshape(-1), 0)
    values[:, np.arange(N_LANES) != 5] = np.nan
    alone = np.zeros((48, N_LANES), np.float32)
    _product(alone.reshape(-1), 0, weights, values.reshape(-1), 0)
    np.testing.assert_array_equal(alone[:, 5], product[:, 5])
    assert np.isnan(alone[:, 4]).all()
