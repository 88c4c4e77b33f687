"""Quadratic minimisation with signs. Oracles: a case by hand, optimality conditions, all active sets, SciPy's nnls."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from scipy.optimize import nnls

from cortexrnn.errors import NumericalError
from cortexrnn.training.reservoirs.nonnegative import broken_conditions, solve_signed


def problem(n, seed, *, n_samples=None, likeness=0.0):
    """A Gram matrix, its moment, and the features and target they come from."""
    rng = np.random.default_rng(seed)
    features = rng.normal(size=(n_samples or 3 * n, n)) + likeness * rng.normal(size=(n_samples or 3 * n, 1))
    target = rng.normal(size=len(features))
    return features.T @ features, features.T @ target, features, target


def test_a_case_by_hand():
    """Features (1, 0) and (1, 1), target (2, -1): the free weights are (3, -1); without the second, the first is 2."""
    features, target = np.array([[1.0, 1.0], [0.0, 1.0]]), np.array([2.0, -1.0])
    weights, used, _ = solve_signed(features.T @ features, features.T @ target, np.array([1, 1]))
    np.testing.assert_allclose(weights, [2.0, 0.0], atol=1e-14)
    assert used.tolist() == [True, False]


def test_a_case_in_which_the_first_variable_has_to_leave():
    """Of the kind of SciPy issue 25389, where nnls returned a wrong point: free (-1, 3), by hand (0, 12/5)."""
    features = np.array([[1.0, 1.0], [1.0, 2.0]])
    target = features @ np.array([-1.0, 3.0])
    gram, moment = features.T @ features, features.T @ target
    weights, _, _ = solve_signed(gram, moment, np.ones(2, int))
    assert weights[0] == 0.0
    # (1, 2) . (2, 5) / |(1, 2)|^2
    assert weights[1] == pytest.approx(12.0 / 5.0, rel=1e-14)


@pytest.mark.parametrize("seed", range(20))
def test_no_other_active_set_is_better(seed):
    """Oracle: all 2^7 sets of variables that may be used."""
    gram, moment, _, _ = problem(7, seed, n_samples=9, likeness=1.0)
    signs = np.random.default_rng(seed).choice([-1, 0, 1], 7)
    weights, _, _ = solve_signed(gram, moment, signs)
    lowest = 0.0
    for used in itertools.product([False, True], repeat=7):
        places = np.flatnonzero(used)
        trial = np.zeros(7)
        trial[places] = np.linalg.solve(gram[np.ix_(places, places)], moment[places])
        if np.all(trial * signs >= 0.0):
            lowest = min(lowest, 0.5 * trial @ gram @ trial - moment @ trial)
    found = 0.5 * weights @ gram @ weights - moment @ weights
    assert np.all(weights * signs >= 0.0)
    assert found == pytest.approx(lowest, rel=1e-10)


@pytest.mark.parametrize("likeness", [0.0, 10.0, 1000.0])
def test_it_is_nnls_with_signs(likeness):
    """Round-off grows with the condition number, up to 1e9 here."""
    gram, moment, features, target = problem(60, 3, likeness=likeness)
    signs = np.where(np.arange(60) < 45, 1, -1)
    weights, _, _ = solve_signed(gram, moment, signs)
    expected = signs * nnls(features * signs, target)[0]
    np.testing.assert_allclose(weights, expected, rtol=1e-6, atol=1e-8 * np.abs(expected).max())
    assert np.array_equal(weights == 0.0, expected == 0.0)


def test_conditions_hold_to_round_off_for_many_features_in_few_factorisations():
    gram, moment, _, _ = problem(500, 4, likeness=3.0)
    signs = np.where(np.arange(500) < 400, 1, -1)
    weights, used, n_solved = solve_signed(gram, moment, signs)
    assert broken_conditions(gram @ weights - moment, moment, signs, weights) < 1e-12
    assert 100 < used.sum() < 400
    assert n_solved <= 25


def test_a_start_at_the_solution_takes_one_factorisation_and_any_start_ends_there():
    gram, moment, _, _ = problem(80, 5)
    signs = np.ones(80, int)
    weights, used, n_solved = solve_signed(gram, moment, signs)
    again, _, n_again = solve_signed(gram, moment, signs, start=used)
    from_nothing, _, _ = solve_signed(gram, moment, signs, start=np.zeros(80, bool))
    assert n_again == 1 < n_solved
    np.testing.assert_array_equal(again, weights)
    np.testing.assert_allclose(from_nothing, weights, rtol=1e-11, atol=1e-13)


def test_without_signs_it_is_the_linear_solution():
    gram, moment, _, _ = problem(30, 6)
    weights, used, n_solved = solve_signed(gram, moment, np.zeros(30, int), start=np.zeros(30, bool))
    np.testing.assert_allclose(weights, np.linalg.solve(gram, moment), rtol=1e-10)
    assert used.all()
    assert n_solved == 1


def test_conditions_see_every_kind_of_violation():
    gram, signs, moment = np.eye(3), np.array([1, 1, -1]), np.array([1.0, -1.0, -1.0])
    best = np.array([1.0, 0.0, -1.0])
    assert broken_conditions(gram @ best - moment, moment, signs, best) == 0.0
    for wrong, size in (([1.0, 0.0, 0.0], 1.0), ([0.5, 0.0, -1.0], 0.5), ([1.0, -0.25, -1.0], 0.75)):
        wrong = np.array(wrong)
        assert broken_conditions(gram @ wrong - moment, moment, signs, wrong) == pytest.approx(size, rel=1e-14)


def test_dependent_features_are_refused_with_a_hint():
    features = np.ones((5, 2))
    with pytest.raises(NumericalError, match=r"not positive definite\. Raise the penalty"):
        solve_signed(features.T @ features - 1e-9 * np.eye(2), features.T @ np.ones(5), np.ones(2, int))
