"""Signs and balance. Oracles: sums, counts and Rajan and Abbott's theorem on the balanced mean."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from scipy.optimize import linear_sum_assignment

from cortexrnn.circuit import Circuit, audit_signs, balance_rows, build_weights, load_circuit
from cortexrnn.circuit.moments import mean_weights
from cortexrnn.errors import DataError, NumericalError, OptionError

SIGNS = np.array([1, 1, 1, -1, -1])


def draw(rng, shape=(40, 5), signs=SIGNS, density=0.8):
    """Sparse lognormal weights over several decades with the signs of their columns."""
    weights = rng.lognormal(0.0, 2.0, shape) * signs * (rng.random(shape) < density)
    weights[:, 0] += 1e-6
    weights[:, -1] -= 1e-6
    return weights


def largest_distance(a, b):
    """Largest distance between two sets of eigenvalues after the best pairing."""
    distance = np.abs(a[:, None] - b)
    return distance[linear_sum_assignment(distance)].max()


def test_rows_sum_to_zero_with_signs_and_zeros_kept():
    """Relative to the row's sum of absolute weights, to 1e-12: round-off of five terms."""
    weights = draw(np.random.default_rng(1))
    before = weights.copy()
    balanced, residual = balance_rows(weights, SIGNS)
    row_sums = np.abs(balanced.sum(axis=1)) / np.abs(balanced).sum(axis=1)
    assert row_sums.max() <= residual <= 1e-12
    np.testing.assert_array_equal(np.sign(balanced), np.sign(weights))
    np.testing.assert_array_equal(weights, before)


def test_both_sides_meet_at_their_geometric_mean():
    weights = np.array([[1.0, 3.0, 0.0, -1.0, 0.0]])
    balanced, _ = balance_rows(weights, SIGNS)
    np.testing.assert_allclose(balanced, [[0.5, 1.5, 0.0, -2.0, 0.0]], rtol=1e-15)


def test_the_shares_of_sources_of_one_sign_are_kept():
    weights = draw(np.random.default_rng(2), density=1.0)
    balanced, _ = balance_rows(weights, SIGNS)
    np.testing.assert_allclose(balanced[:, :3] / balanced[:, :1], weights[:, :3] / weights[:, :1], rtol=1e-14)


def test_balancing_twice_changes_nothing_more():
    once, _ = balance_rows(draw(np.random.default_rng(3)), SIGNS)
    twice, _ = balance_rows(once, SIGNS)
    np.testing.assert_allclose(twice, once, rtol=1e-14)


def test_a_row_without_weights_stays_empty():
    weights = draw(np.random.default_rng(4))
    weights[3] = 0.0
    balanced, residual = balance_rows(weights, SIGNS)
    assert not balanced[3].any()
    assert residual <= 1e-12


def test_rows_of_one_sign_are_a_typed_error_that_names_them():
    weights = draw(np.random.default_rng(5))
    weights[[2, 7], 3:] = 0.0
    with pytest.raises(NumericalError, match=r"2 rows have weights of one sign only .*: 2, 7 \(row 2: excitation"):
        balance_rows(weights, SIGNS)


def test_columns_of_mixed_sign_cannot_be_balanced_this_way():
    with pytest.raises(DataError, match="1 columns are mixed"):
        balance_rows(np.ones((2, 3)) * [1, -1, 0], np.array([1, -1, 0]))


def test_the_audit_names_the_worst_weight():
    weights = draw(np.random.default_rng(6))
    assert audit_signs(weights, SIGNS) is weights
    weights[4, 3], weights[6, 0] = 0.25, -0.125
    with pytest.raises(DataError, match=r"2 weights .* the largest 0.25 at w\[4, 3\].*inhibitory, <= 0"):
        audit_signs(weights, SIGNS)


def test_the_audit_lets_mixed_columns_have_any_sign():
    weights = np.array([[1.0, -1.0], [-1.0, 1.0]])
    np.testing.assert_array_equal(audit_signs(weights, np.array([0, 0])), weights)
    with pytest.raises(DataError, match="2 weights"):
        audit_signs(weights, np.array([1, 1]))


@pytest.mark.parametrize(
    ("weights", "match"),
    [
        (np.full((5, 5), np.nan), r"NaN, first at w\[0, 0\]"),
        (np.zeros((5, 4)), r"signs of shape \(5,\) do not fit weights of shape \(5, 4\)"),
        (np.zeros(5), "do not fit"),
    ],
)
def test_the_audit_refuses_what_is_no_matrix_of_numbers(weights, match):
    with pytest.raises(DataError, match=match):
        audit_signs(weights, SIGNS)


@pytest.mark.parametrize("n", [50, 300])
def test_a_built_circuit_reports_the_residual_of_its_rows(n):
    circuit = Circuit.balanced(n, 1.5, seed=1)
    weights = build_weights(circuit)
    assert weights.balance_residual <= 1e-12
    sums = np.abs(weights.static.sum(axis=1)) / np.abs(weights.static).sum(axis=1)
    assert sums.max() <= 1e-12
    audit_signs(weights.static, circuit.signs)


def test_a_circuit_without_balance_reports_none():
    assert np.isnan(build_weights(Circuit.random(5, 1.0)).balance_residual)


def test_a_sparse_circuit_with_one_sided_rows_says_what_to_do():
    circuit = Circuit.balanced(20, 1.0)
    projections = tuple(replace(p, in_degree=None, density=0.1) for p in circuit.projections)
    sparse = replace(circuit, projections=projections)
    with pytest.raises(NumericalError, match=r"of one sign only.*Raise the density or use in_degree"):
        build_weights(sparse)


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_the_balanced_mean_of_a_dale_matrix_is_invisible_in_its_spectrum(seed):
    """Rajan and Abbott (2006): W = M + J with M = 1 m^T, sum(m) = 0 and J 1 = 0 has the eigenvalues of J.

    M is the mean of every column, which sums to zero because the rows of W do. To 1e-8, the issue's tolerance.
    """
    weights = build_weights(Circuit.balanced(200, 1.5, seed=seed)).static
    random_part = weights - weights.mean(axis=0)
    assert np.abs(weights.mean(axis=0)).max() > 0.01
    assert largest_distance(np.linalg.eigvals(weights), np.linalg.eigvals(random_part)) < 1e-8


@pytest.mark.slow
def test_the_mean_of_the_published_matrix_is_invisible_too():
    """The same for the subtraction of Rajan and Abbott, with the mean that the description states."""
    circuit = load_circuit("rajan_abbott_2006")
    weights = build_weights(circuit)
    assert weights.balance_residual <= 1e-12
    random_part = weights.static - mean_weights(circuit)
    assert largest_distance(np.linalg.eigvals(weights.static), np.linalg.eigvals(random_part)) < 1e-8


def test_subtraction_is_refused_where_it_would_break_signs():
    with pytest.raises(OptionError, match="a subtraction breaks signs"):
        replace(Circuit.balanced(20, 1.0), balance="random part")
