"""Adam: against the published algorithm written out, and at its edges."""

from __future__ import annotations

import numpy as np
import pytest

from cortexrnn.training.adam import adam_step, init_adam


def _published_adam(gradients, rate, beta1=0.9, beta2=0.99, eps=1e-8):
    """Algorithm 1 of Kingma & Ba (2015) on a list of gradients, from weights of zero."""
    weights = first = second = np.zeros_like(gradients[0])
    for n, g in enumerate(gradients, start=1):
        first = beta1 * first + (1 - beta1) * g
        second = beta2 * second + (1 - beta2) * g**2
        weights = weights - rate * (first / (1 - beta1**n)) / (np.sqrt(second / (1 - beta2**n)) + eps)
    return weights


def test_steps_are_those_of_the_published_algorithm():
    rng = np.random.default_rng(0)
    gradients = [rng.normal(size=7) for _ in range(20)]
    weights, state = np.zeros(7), init_adam(7, np.float64)
    for gradient in gradients:
        norm = adam_step(weights, gradient, state, 0.01, 1e9)
    np.testing.assert_allclose(weights, _published_adam(gradients, 0.01), rtol=1e-12)
    assert norm == pytest.approx(np.linalg.norm(gradients[-1]), rel=1e-12)
    assert state.n_steps[0] == 20


def test_a_long_gradient_is_cut_to_the_largest_norm():
    gradients = [np.array([3.0, 4.0]), np.array([0.3, -0.4])]
    weights, state = np.zeros(2), init_adam(2, np.float64)
    for gradient in gradients:
        adam_step(weights, gradient, state, 0.1, 1.0)
    np.testing.assert_allclose(weights, _published_adam([gradients[0] / 5.0, gradients[1]], 0.1), rtol=1e-12)


def test_a_gradient_that_is_not_finite_changes_nothing():
    weights, state = np.ones(3, np.float32), init_adam(3)
    norm = adam_step(weights, np.array([0.0, np.nan, 1.0], np.float32), state, 0.1, 1.0)
    assert np.isnan(norm)
    np.testing.assert_array_equal(weights, 1.0)
    assert state.n_steps[0] == 0
