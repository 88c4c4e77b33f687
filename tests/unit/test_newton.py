"""Newton's method on problems whose maximum is known."""

from __future__ import annotations

import numpy as np
import pytest

from cortexrnn.encoding.newton import approach, follow, maximise, ridge_path, ridge_precision, thinning
from cortexrnn.errors import NumericalError


def quadratic(center, curvature):
    """Give the pass of -1/2 (w - center)' C (w - center)."""

    def run(weights):
        away = weights - center
        return -0.5 * float(away @ curvature @ away), -curvature @ away, curvature

    return run


def poisson_total(counts):
    """Give the pass of a Poisson count with log mean w: maximum at log(mean(counts))."""

    def run(weights):
        mu = float(np.exp(weights[0]))
        n = len(counts)
        return sum(counts) * weights[0] - n * mu, np.array([sum(counts) - n * mu]), np.array([[n * mu]])

    return run


def test_a_quadratic_is_solved_in_one_step_with_its_covariance():
    curvature = np.array([[4.0, 1.0], [1.0, 3.0]])
    center = np.array([0.5, -1.0])
    optimum = maximise(quadratic(center, curvature), np.zeros(2), np.zeros(2), tolerance_nats=1e-12)
    np.testing.assert_allclose(optimum.weights, center, rtol=1e-12)
    np.testing.assert_allclose(optimum.covariance, np.linalg.inv(curvature), rtol=1e-12)
    assert optimum.is_converged


def test_a_prior_pulls_to_zero_by_the_posterior_mean():
    """Oracle: (C + P)^-1 C center."""
    curvature, precision = np.diag([4.0, 1.0]), np.array([4.0, 0.0])
    optimum = maximise(
        quadratic(np.array([2.0, 3.0]), curvature), np.zeros(2), precision, tolerance_nats=1e-12
    )
    np.testing.assert_allclose(optimum.weights, [1.0, 3.0], rtol=1e-12)
    np.testing.assert_allclose(optimum.covariance, np.diag([1 / 8.0, 1.0]), rtol=1e-12)
    # The penalty is not part of the reported value.
    assert optimum.log_likelihood == pytest.approx(-2.0, rel=1e-12)


@pytest.mark.parametrize("start", [-30.0, -3.0, 0.0, 3.0, 30.0])
def test_a_poisson_mean_is_found_from_any_start(start):
    optimum = maximise(poisson_total([3, 5, 4]), np.array([start]), np.zeros(1), tolerance_nats=1e-12)
    assert optimum.weights[0] == pytest.approx(np.log(4.0), abs=1e-6)
    assert optimum.is_converged


def test_the_objective_never_falls():
    values = []
    run = poisson_total([3, 5, 4])

    def watched(weights):
        values.append(run(weights)[0])
        return run(weights)

    optimum = maximise(watched, np.array([-1.0]), np.zeros(1), tolerance_nats=1e-12)
    assert optimum.log_likelihood == max(values)
    # The first step from here overshoots: the halving must have been needed.
    assert any(np.diff(values) < 0.0)


def test_a_direction_without_curvature_stays_where_it_was():
    optimum = maximise(
        quadratic(np.array([2.0, 9.0]), np.diag([1.0, 0.0])), np.zeros(2), np.zeros(2), tolerance_nats=1e-9
    )
    np.testing.assert_allclose(optimum.weights, [2.0, 0.0], atol=1e-9)
    assert np.isfinite(optimum.covariance).all()


def test_running_out_of_passes_is_said():
    """A straight slope has no maximum."""
    optimum = maximise(
        lambda w: (float(w[0]), np.ones(1), np.full((1, 1), 1e-9)),
        np.zeros(1),
        np.zeros(1),
        tolerance_nats=1e-9,
    )
    assert not optimum.is_converged
    assert optimum.decrement > 1e-9


@pytest.mark.parametrize("value", [np.nan, -np.inf, np.inf])
def test_a_start_that_cannot_be_evaluated_is_a_named_error(value):
    with pytest.raises(NumericalError, match="at the start of the fit"):
        maximise(lambda w: (value, np.zeros(1), np.eye(1)), np.zeros(1), np.zeros(1), tolerance_nats=1e-9)


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_a_hessian_that_is_not_finite_is_a_named_error(bad):
    with pytest.raises(NumericalError, match="Hessian"):
        maximise(
            lambda w: (0.0, np.ones(1), np.full((1, 1), bad)), np.zeros(1), np.zeros(1), tolerance_nats=1e-9
        )


def test_the_start_is_not_changed():
    start = np.array([-3.0])
    maximise(poisson_total([1]), start, np.zeros(1), tolerance_nats=1e-9)
    assert start[0] == -3.0


def test_few_spikes_are_never_thinned_and_many_by_sixteen_at_most():
    assert thinning(0, 14) == 1
    assert thinning(279, 14) == 1
    assert thinning(280, 14) == 2
    assert thinning(10**6, 14) == 16


def test_the_approach_ends_close_to_the_maximum_of_its_part():
    """Oracle: log(4); a tenth of a nat at a curvature of 12 is sqrt(0.2 / 12) = 0.13 in the weight."""
    near = approach(poisson_total([3, 5, 4]), np.zeros(1), np.zeros(1))
    assert near[0] == pytest.approx(np.log(4.0), abs=0.13)


def test_the_approach_does_not_run_away_where_its_part_holds_no_spike():
    near = approach(poisson_total([0, 0, 0]), np.zeros(1), np.zeros(1))
    # exp(w) = -0.03 w at w = -2.6.
    assert -5.0 < near[0] < -1.0


def test_a_known_curvature_leads_to_the_same_maximum():
    """Oracle: log(4). With a tenth of the curvature wrong every step leaves a hundredth of the gain."""
    total = poisson_total([3, 5, 4])
    found = follow(lambda w: total(w)[:2], np.array([1.2]), np.zeros(1), np.array([[13.2]]), tolerance_nats=1e-14)
    assert found[0] == pytest.approx(np.log(4.0), abs=1e-8)


def test_a_curvature_that_misleads_is_given_up_before_it_does_harm():
    """A tenth of the curvature overshoots tenfold: the start comes back, or something nearer."""
    center = np.array([0.5, -1.0])
    run = quadratic(center, np.eye(2))
    calls = []

    def run_slope(weights):
        calls.append(weights)
        return run(weights)[:2]

    found = follow(run_slope, np.zeros(2), np.zeros(2), 0.1 * np.eye(2), tolerance_nats=1e-12)
    np.testing.assert_allclose(found, np.zeros(2), atol=1e-15)
    assert len(calls) == 2


def test_following_a_curvature_knows_the_prior():
    """Oracle: (C + P)^-1 C center, exact after one step of a quadratic."""
    curvature, precision = np.diag([4.0, 1.0]), np.array([4.0, 0.0])
    run = quadratic(np.array([2.0, 3.0]), curvature)
    found = follow(lambda w: run(w)[:2], np.zeros(2), precision, curvature, tolerance_nats=1e-12)
    np.testing.assert_allclose(found, [1.0, 3.0], rtol=1e-12)


def test_a_path_of_ridges_is_exact_on_a_quadratic():
    """Oracle: (C + P)^-1 C center for every ridge, P with its own value for the intercept."""
    curvature, center = np.array([[4.0, 1.0, 0.5], [1.0, 3.0, 0.2], [0.5, 0.2, 2.0]]), np.array([0.5, -1.0, 2.0])
    ridges = (3.0, 0.3, 300.0)

    def solve(ridge):
        return np.linalg.solve(curvature + np.diag(ridge_precision(3, ridge)), curvature @ center)

    found = dict(ridge_path(solve(0.3), curvature, ridges))
    assert tuple(found) == ridges
    for ridge in ridges:
        np.testing.assert_allclose(found[ridge], solve(ridge), rtol=1e-12)
