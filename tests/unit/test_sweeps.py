"""Sums of outer products over steps and lanes, and what else the sweeps of packed cells share; oracle: NumPy."""

from __future__ import annotations

import numpy as np
import pytest

from cortexrnn.cells.sweeps import (
    CHUNK,
    add_chunk,
    add_input_gradient,
    add_lane_sums,
    add_start_sums,
    add_step,
    empty_outer_sums,
    lay_starts,
    lay_step,
    sigmoids,
    spread,
    take_row_sums,
    take_sums,
    tanhs,
)
from cortexrnn.numerics.lanes import N_LANES
from cortexrnn.numerics.packed import pack_rows


def drawn(rng, n_steps, n, dtype):
    """Give normal numbers, (n_steps, n * N_LANES)."""
    return rng.normal(size=(n_steps, n * N_LANES)).astype(dtype)


@pytest.mark.parametrize(("dtype", "within"), [(np.float64, 1e-12), (np.float32, 1e-3)])
@pytest.mark.parametrize(
    ("n_rows", "first", "n_states", "n_inputs"),
    [(8, 0, 16, 0), (13, 5, 7, 3), (1, 0, 0, 1), (24, 8, 15, 17), (9, 0, 31, 0)],
)
def test_sums_over_chunks_are_those_of_an_outer_product(n_rows, first, n_states, n_inputs, dtype, within):
    """Two whole chunks and one of a single step; some hundred roundings of numbers of order 30."""
    rng = np.random.default_rng(0)
    n_steps = 2 * CHUNK + 1
    left, states, inputs = (drawn(rng, n_steps, n, dtype) for n in (first + n_rows, n_states, n_inputs))
    outer = empty_outer_sums(n_rows, n_states + n_inputs, dtype)
    for t in range(n_steps - 1, -1, -1):
        add_step(t, left[t, first * N_LANES :], states[t], inputs, outer)
    rows, by_state, by_input = (part.reshape(n_steps, -1, N_LANES) for part in (left, states, inputs))
    rows = rows[:, first:].astype(float)
    by_states, by_inputs, sums = (
        np.zeros(shape, dtype) for shape in ((n_rows, n_states), (n_rows, n_inputs), (n_rows,))
    )
    take_sums(outer, 0, 0, by_states)
    take_sums(outer, 0, n_states, by_inputs)
    take_row_sums(outer, 0, n_states + n_inputs, sums)
    np.testing.assert_allclose(by_states, np.einsum("til,tjl->ij", rows, by_state), rtol=0, atol=within)
    np.testing.assert_allclose(by_inputs, np.einsum("til,tjl->ij", rows, by_input), rtol=0, atol=within)
    np.testing.assert_allclose(sums, rows.sum(axis=(0, 2)), rtol=0, atol=within)
    if n_rows > 3:
        part = np.ones((n_rows - 3, n_states), dtype)
        take_sums(outer, 3, 0, part)
        np.testing.assert_array_equal(part, by_states[3:] + dtype(1))


def test_a_value_that_is_not_a_number_reaches_its_row_only():
    rng = np.random.default_rng(1)
    left, states = drawn(rng, 3, 10, np.float64), drawn(rng, 3, 4, np.float64)
    left[1, 9 * N_LANES] = np.nan
    outer = empty_outer_sums(10, 4, np.float64)
    for t in range(3):
        lay_step(left[t], states[t], np.empty(0), t, outer)
    add_chunk(3, outer)
    total = np.zeros((10, 4))
    take_sums(outer, 0, 0, total)
    assert np.isnan(total[9]).all()
    assert np.isfinite(total[:9]).all()


def test_derivatives_of_inputs_are_the_transposed_product():
    rng = np.random.default_rng(2)
    weights, by_arguments = rng.normal(size=(11, 3)), drawn(rng, 5, 12, np.float64)
    found = np.ones((5, 3 * N_LANES))
    add_input_gradient(by_arguments, pack_rows(np.ascontiguousarray(weights.T)), found)
    rows = by_arguments.reshape(5, 12, N_LANES)[:, :11]
    expected = 1.0 + np.einsum("ij,til->tjl", weights, rows).reshape(5, -1)
    # Eleven roundings of numbers of order 5.
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-13)


def test_values_are_spread_over_lanes_and_lanes_are_added_up():
    values, out, total = np.array([1.0, -2.0]), np.full(3 * N_LANES, 7.0), np.array([0.5, 0.5])
    spread(values, out)
    np.testing.assert_array_equal(out, np.repeat([1.0, -2.0, 7.0], N_LANES))
    add_lane_sums(out, total)
    np.testing.assert_array_equal(total, [16.5, -31.5])


@pytest.mark.parametrize(("dtype", "within"), [(np.float64, 1e-15), (np.float32, 3e-7)])
def test_slices_go_through_sigmoid_and_tanh(dtype, within):
    """The stated errors of the polynomials, rounded up."""
    values = np.linspace(-30.0, 30.0, 301).astype(dtype)
    out = np.empty_like(values)
    sigmoids(values, out)
    np.testing.assert_allclose(out, 1.0 / (1.0 + np.exp(-values.astype(float))), rtol=within)
    tanhs(values, out)
    np.testing.assert_allclose(out, np.tanh(values.astype(float)), rtol=within)


def test_start_states_go_to_the_lanes_of_their_group_and_their_derivatives_come_back():
    rng = np.random.default_rng(3)
    start, group = rng.normal(size=(3, 5)), rng.integers(0, 2, N_LANES)
    out = np.empty(5 * N_LANES)
    lay_starts(start, group, out)
    np.testing.assert_array_equal(out.reshape(5, N_LANES), start[group].T)
    values, total = rng.normal(size=5 * N_LANES), np.ones((3, 5))
    add_start_sums(values, group, total)
    expected = np.array([1.0 + values.reshape(5, N_LANES)[:, group == k].sum(axis=1) for k in range(3)])
    # Sixteen roundings of numbers of order one.
    np.testing.assert_allclose(total, expected, rtol=0, atol=1e-14)
    # A group without a trial gets nothing.
    np.testing.assert_array_equal(total[2], 1.0)
