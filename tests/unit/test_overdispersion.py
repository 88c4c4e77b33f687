"""The negative-binomial law of trial counts. Oracles: SciPy's nbinom, and moments of simulated counts."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from cortexrnn.encoding.overdispersion import gain_evidence, gain_variance


@pytest.mark.parametrize("variance", [1e-3, 0.05, 0.25, 4.0])
def test_evidence_is_the_log_ratio_of_nbinom_and_poisson(variance):
    spikes, expected = np.array([0.0, 3.0, 20.0, 55.0]), np.array([0.4, 5.0, 20.0, 30.0])
    a = 1.0 / variance
    ratio = stats.nbinom.logpmf(spikes, a, a / (a + expected)) - stats.poisson.logpmf(spikes, expected)
    # gammaln(a) of 1000 is some 6000, whose round-off of 1e-12 is what is left.
    np.testing.assert_allclose(gain_evidence(spikes, expected, variance), ratio, rtol=1e-9, atol=1e-10)


def test_no_variance_is_the_poisson_law_exactly():
    np.testing.assert_array_equal(gain_evidence(np.array([2.0, 9.0]), np.array([3.0, 3.0]), 0.0), [0.0, 0.0])


def test_a_trial_that_nobody_recorded_says_nothing():
    assert gain_evidence(np.array([0.0]), np.array([0.0]), 0.25)[0] == 0.0


@pytest.mark.parametrize("truth", [0.05, 0.25, 1.0])
def test_variance_of_a_gamma_gain_is_recovered(truth):
    rng = np.random.default_rng(1)
    expected = np.full(4000, 20.0)
    spikes = rng.poisson(expected * rng.gamma(1.0 / truth, truth, 4000)).astype(float)
    # SD of the estimate, from the curvature of the likelihood, is about sqrt(2/n) (v + 1/mu); four of them.
    assert gain_variance(spikes, expected) == pytest.approx(
        truth, abs=4.0 * np.sqrt(2.0 / 4000) * (truth + 0.05)
    )


def test_underdispersed_counts_have_no_gain_variance():
    assert gain_variance(np.full(50, 20.0), np.full(50, 20.0)) == 0.0


def test_estimate_maximises_the_likelihood():
    """Oracle: a fine grid."""
    rng = np.random.default_rng(2)
    expected = rng.uniform(5.0, 30.0, 200)
    spikes = rng.poisson(expected * rng.gamma(4.0, 0.25, 200)).astype(float)
    grid = np.exp(np.linspace(np.log(1e-4), np.log(10.0), 20001))
    best = grid[np.argmax([gain_evidence(spikes, expected, v).sum() for v in grid])]
    # The search stops within 1e-3 of log variance, the grid steps by 6e-4.
    assert gain_variance(spikes, expected) == pytest.approx(best, rel=2e-3)


def test_silent_trials_give_a_finite_variance():
    assert 0.0 <= gain_variance(np.zeros(10), np.full(10, 0.05)) <= 10.0
    assert gain_variance(np.zeros(0), np.zeros(0)) == 0.0
