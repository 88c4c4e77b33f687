"""Transposition in registers; oracle: NumPy's."""

from __future__ import annotations

import numpy as np
import pytest
from numba import njit

from cortexrnn.numerics.lanes import N_LANES, N_ROWS
from cortexrnn.numerics.transpose import transpose_block, transpose_square


@njit
def _block(out, out_at, values, values_at):
    transpose_block(out, out_at, values, values_at)


@njit
def _square(out, out_at, values, values_at):
    transpose_square(out, out_at, values, values_at)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize(("transpose", "n_rows"), [(_block, N_ROWS), (_square, N_LANES)])
def test_rows_come_to_lie_lane_by_lane_and_nothing_else_is_touched(transpose, n_rows, dtype):
    """At places that are aligned to one element only."""
    size = n_rows * N_LANES
    values, out = np.arange(size + 10, dtype=dtype), np.full(size + 10, -1.0, dtype)
    transpose(out, 3, values, 5)
    np.testing.assert_array_equal(out[3:-7].reshape(N_LANES, n_rows), values[5:-5].reshape(n_rows, N_LANES).T)
    np.testing.assert_array_equal(out[:3], -1.0)
    np.testing.assert_array_equal(out[-7:], -1.0)
