"""M4, time since the last spike. Oracles: a slow twin, the closed form by hand, a known dead time."""

from __future__ import annotations

import runpy
from pathlib import Path

import numpy as np
import pytest

from cortexrnn.encoding.constant import Constant
from cortexrnn.encoding.likelihood import BERNOULLI, POISSON, trial_log_likelihood
from cortexrnn.encoding.renewal import FittedRenewal, Renewal, age_steps, sum_by_step
from cortexrnn.errors import DataError
from cortexrnn.spikes.folds import validation_split
from cortexrnn.spikes.generate import simulate_spikes

TWIN = runpy.run_path(str(Path(__file__).parents[1] / "reference" / "ladder_twins.py"))


@pytest.mark.parametrize("n_lags", [1, 4, 10])
def test_ages_equal_the_slow_twin_across_gaps(make_unit, n_lags):
    rng = np.random.default_rng(n_lags)
    unit = make_unit(rng.poisson(0.12, (20, 60)), observed=rng.random((20, 60)) < 0.93)
    expected = [
        [TWIN["age_step"](unit.counts, unit.observed, i, t, n_lags) for t in range(60)] for i in range(20)
    ]
    np.testing.assert_array_equal(age_steps(unit.counts, unit.observed, n_lags), expected)


def test_ages_by_hand():
    counts = np.array([[0, 0, 0, 1, 0, 0, 0, 1, 1]], dtype=np.uint16)
    observed = np.ones(counts.shape, dtype=bool)
    # Unknown until two silent bins have passed; then "long ago" (3), and from the spike on its age.
    np.testing.assert_array_equal(age_steps(counts, observed, 2), [[0, 0, 3, 3, 1, 2, 3, 3, 1]])


def test_sums_by_step_use_scored_bins_only(make_unit):
    unit = make_unit([[1, 0, 2, 0]], n_burn_in=1)
    steps = np.array([[0, 1, 2, 1]])
    spikes, expected = sum_by_step(unit.counts, unit.scored, np.log([[0.1, 0.2, 0.3, 0.4]]), steps, 3)
    np.testing.assert_array_equal(spikes, [[0.0, 0.0, 2.0]])
    np.testing.assert_allclose(expected, [[0.0, 0.6, 0.3]], rtol=1e-14)


def test_factor_is_observed_over_expected_with_a_prior_count(make_unit):
    """Oracle: (n + k) / (E + k) of the bins at every age, counted by hand."""
    rng = np.random.default_rng(3)
    unit = make_unit(rng.poisson(0.1, (12, 80)))
    fitted = Renewal(baseline=Constant(), window_s=0.004, prior_counts=(3.0, 3.0)).fit(unit)
    mean = (unit.counts.sum() + 0.5) / unit.counts.size
    steps = [[TWIN["age_step"](unit.counts, unit.observed, i, t, 4) for t in range(80)] for i in range(12)]
    for step in range(1, 6):
        here = np.array(steps) == step
        expected = (unit.counts[here].sum() + 3.0) / (mean * here.sum() + 3.0)
        assert np.exp(fitted.log_factor[step]) == pytest.approx(expected, rel=1e-12)
    assert fitted.log_factor[0] == 0.0


def test_a_dead_time_is_found(make_unit):
    """Oracle: the hazard is 0 for three bins and q / (1 - 3 q) after them."""
    counts = simulate_spikes(np.full((300, 1000), 40.0), 0.001, dead_time_s=0.003, seed=4)
    fitted = Renewal(baseline=Constant()).fit(make_unit(counts))
    factor = np.exp(fitted.log_factor)
    assert factor[1:4].max() < 0.01
    # Some 500 spikes at every age: four standard errors of a ratio are 18 %; at long ages far less.
    np.testing.assert_allclose(factor[4:-1], 1.0 / (1.0 - 3 * 0.04), rtol=0.18)
    assert factor[-1] == pytest.approx(1.0 / (1.0 - 3 * 0.04), rel=0.04)


def test_prior_count_is_large_where_there_is_no_history(make_unit):
    counts = np.random.default_rng(5).poisson(0.03, (20, 500))
    assert Renewal(baseline=Constant()).fit(make_unit(counts)).prior_count >= 32.0


@pytest.mark.parametrize(("likelihood", "code"), [("poisson", POISSON), ("bernoulli", BERNOULLI)])
def test_validation_score_is_that_of_the_validation_fifth(make_unit, likelihood, code):
    """Oracle: the factor by hand from the other four fifths, scored by the scorer of the comparison."""
    rng = np.random.default_rng(6)
    unit = make_unit(rng.random((25, 100)) < 0.05)
    spec = Renewal(baseline=Constant(), prior_counts=(4.0, 4.0), likelihood=likelihood)
    below = Constant().fit(unit)
    fitted = spec.fit_on(unit, below, below.log_mu(unit))
    held_out = validation_split(unit.condition)
    steps = age_steps(unit.counts, unit.observed, 10)
    log_factor = np.zeros(12)
    for step in range(1, 12):
        here = (steps == step) & ~held_out[:, None]
        log_factor[step] = np.log((unit.counts[here].sum() + 4.0) / (below.mu * here.sum() + 4.0))
    log_mu = (below.log_mu(unit) + log_factor[steps])[held_out]
    expected = trial_log_likelihood(unit.take(held_out), log_mu, code).sum()
    assert fitted.validation_log_likelihood == pytest.approx(expected, rel=1e-12)


def test_prediction_adds_the_factor_of_each_age(make_unit):
    unit = make_unit([[0, 0, 1, 0, 0, 0]])
    log_factor = np.array([0.0, -5.0, 0.3, 0.1])
    fitted = FittedRenewal(below=None, log_factor=log_factor, prior_count=1.0, validation_log_likelihood=0.0)
    # Unknown, unknown, long ago, then 1, 2 and more than 2 bins after the spike.
    expected = [[0.0, 0.0, 0.1, -5.0, 0.3, 0.1]]
    np.testing.assert_array_equal(fitted.extend(unit, np.zeros((1, 6))), expected)


def test_bernoulli_refuses_bins_with_several_spikes(make_unit):
    with pytest.raises(DataError, match="more than one spike"):
        Renewal(baseline=Constant(), likelihood="bernoulli").fit(make_unit([[0, 2], [1, 0]]))
