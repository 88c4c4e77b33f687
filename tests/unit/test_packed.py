"""Products with packed weights: against NumPy, and one vector against sixteen."""

from __future__ import annotations

import numpy as np
import pytest
from numba import njit

from cortexrnn.numerics.packed import add_columns, add_rows, pack_columns, pack_rows, padded_columns, padded_rows


@njit
def by_rows(product, blocks, values):
    add_rows(product, blocks, values)


@njit
def by_columns(product, packed, values, first, stop):
    add_columns(product, packed, values, first, stop)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("shape", [(1, 1), (8, 3), (16, 16), (37, 21), (130, 65), (255, 100), (300, 7)])
def test_both_layouts_give_the_product_and_the_same_bits(shape, dtype):
    """NumPy in float64 as the oracle, a unit of rounding for every source; one lane equals lane 5 of sixteen."""
    n, k = shape
    rng = np.random.default_rng(1)
    weights = rng.normal(size=shape).astype(dtype)
    values = rng.normal(size=(k, 16)).astype(dtype)
    start = rng.normal(size=(n, 16)).astype(dtype)
    rows = np.zeros((padded_rows(n), 16), dtype)
    rows[:n] = start
    by_rows(rows.reshape(-1), pack_rows(weights), values.reshape(-1))
    exact = start.astype(float) + weights.astype(float) @ values.astype(float)
    scale = np.abs(start) + np.abs(weights).astype(float) @ np.abs(values).astype(float)
    assert np.all(np.abs(rows[:n] - exact) <= (k + 1) * np.finfo(dtype).eps * scale)
    column = np.zeros(padded_columns(n), dtype)
    column[:n] = start[:, 5]
    by_columns(column, pack_columns(weights), values[:, 5].copy(), 0, column.size)
    np.testing.assert_array_equal(column[:n], rows[:n, 5])


def test_a_range_of_columns_is_that_part_of_the_whole():
    """From 128 on, whole blocks."""
    rng = np.random.default_rng(2)
    weights, values = rng.normal(size=(300, 40)), rng.normal(size=40)
    packed = pack_columns(weights)
    whole, part = np.zeros(304), np.zeros(304)
    by_columns(whole, packed, values, 0, 304)
    by_columns(part, packed, values, 128, 256)
    np.testing.assert_array_equal(part[128:256], whole[128:256])
    assert not part[:128].any()
    assert not part[256:].any()
