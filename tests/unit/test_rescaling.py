"""Discrete time rescaling. Oracles: a slow twin, hand-computed trials, and the law of rescaled intervals."""

from __future__ import annotations

import math
import runpy
from pathlib import Path

import numpy as np
import pytest
from scipy import stats

from cortexrnn.errors import DataError, OptionError
from cortexrnn.evaluation.rescaling import (
    detectable_dead_time,
    fill_clock,
    join_clocks,
    ks_distance,
    place_spikes,
    rescale,
    run_clock,
    wind_clock,
)
from cortexrnn.numerics.streams import stream

TWIN = runpy.run_path(str(Path(__file__).parents[1] / "reference" / "rescaling_twin.py"))
LIKELIHOODS = ("poisson", "bernoulli")


def draw(likelihood, mu, rng):
    """Draw counts from an observation model."""
    return rng.poisson(mu) if likelihood == "poisson" else (rng.random(mu.shape) < -np.expm1(-mu)).astype(int)


@pytest.fixture(params=LIKELIHOODS)
def case(request, make_unit):
    """Twelve trials with burn-in and gaps, several spikes a bin where the likelihood allows them."""
    rng = np.random.default_rng(3)
    mu = np.exp(rng.normal(-1.5, 0.8, (12, 60)))
    observed = rng.random(mu.shape) < 0.9
    unit = make_unit(draw(request.param, mu, rng), observed=observed, n_burn_in=7)
    return unit, np.log(mu), request.param


def test_intervals_equal_the_slow_twin(case):
    unit, log_mu, likelihood = case
    found = rescale(unit, log_mu, likelihood=likelihood, seed=5)
    for k in (0, 19):
        uniforms = stream(5, "time rescaling", k).random(found.n_spikes)
        expected = TWIN["rescale"](unit.counts, unit.scored, np.exp(log_mu), uniforms, likelihood)
        # The clock runs up to about 100, so that its differences are known to 1e-13.
        np.testing.assert_allclose(found.intervals[k], expected, rtol=1e-12, atol=1e-12)


def test_the_remainder_of_a_trial_is_carried_into_the_next_by_hand(make_unit):
    """Two trials of four bins: 1 0 0 0 and 0 0 1 0, mu = 0.1 ... 0.8, so that 0.2 + ... + 0.6 lie between."""
    unit = make_unit(np.array([[1, 0, 0, 0], [0, 0, 1, 0]]))
    mu = np.array([[0.1, 0.2, 0.3, 0.4], [0.5, 0.6, 0.7, 0.8]])
    first, second = rescale(unit, np.log(mu), likelihood="bernoulli", seed=0).intervals[0]
    r = stream(0, "time rescaling", 0).random(2)
    assert first == pytest.approx(-math.log(1.0 - r[0] * (1.0 - math.exp(-0.1))), rel=1e-12)
    assert second == pytest.approx(2.0 - math.log(1.0 - r[1] * (1.0 - math.exp(-0.7))), rel=1e-12)


def test_a_gap_and_the_burn_in_do_not_make_the_clock_run(make_unit):
    """What lies in unscored bins changes nothing, and the clock goes on behind them."""
    counts = np.array([[1, 0, 1, 0, 0, 1]])
    observed = np.array([[True, True, True, False, True, True]])
    unit = make_unit(counts, observed=observed, n_burn_in=1)
    log_mu = np.log(np.full((1, 6), 0.25))
    wild = log_mu.copy()
    wild[0, [0, 3]] = (40.0, np.nan)
    found, same = (rescale(unit, each, seed=1).intervals for each in (log_mu, wild))
    np.testing.assert_array_equal(found, same)
    first, second = found[0]
    # 0.25 of the second bin before the first; what is left of its bin, 0.25 of the fifth, and part of the sixth.
    u = stream(1, "time rescaling", 0).random(2)
    assert first == pytest.approx(0.25 + 0.25 * u[0], rel=1e-12)
    assert second == pytest.approx(0.25 * (1.0 - u[0]) + 0.25 + 0.25 * u[1], rel=1e-12)


@pytest.mark.parametrize("likelihood", LIKELIHOODS)
@pytest.mark.parametrize("mean", [0.02, 0.7])
def test_intervals_of_the_true_model_are_exponential_and_independent(likelihood, mean, make_unit):
    """Oracle: the exponential law. Limits at 4 standard errors and p > 0.001 of one fixed seed."""
    rng = np.random.default_rng(4)
    mu = mean * rng.gamma(4.0, 0.25, (round(400 / mean), 25))
    unit = make_unit(draw(likelihood, mu, rng))
    found = rescale(unit, np.log(mu), likelihood=likelihood, seed=2)
    row = found.intervals[0]
    assert found.n_spikes > 5000
    assert stats.kstest(row, "expon").pvalue > 1e-3
    assert abs(row.mean() - 1.0) < 4.0 / math.sqrt(row.size)
    assert abs(np.corrcoef(found.uniforms[0][:-1], found.uniforms[0][1:])[0, 1]) < 4.0 / math.sqrt(row.size)


def test_a_poisson_clock_adds_up_to_all_expected_counts(make_unit):
    """The intervals and the remainder after the last spike make up the whole of the expected counts."""
    rng = np.random.default_rng(5)
    mu = np.full((6, 50), 0.3)
    counts = rng.poisson(mu)
    counts[-1, -1] = 1
    unit = make_unit(counts)
    intervals = rescale(unit, np.log(mu), seed=0).intervals
    rest = mu.sum() - intervals.sum(axis=1)
    assert np.all((rest > 0.0) & (rest < 0.3))


def test_randomisations_follow_the_seed_alone(case):
    unit, log_mu, likelihood = case
    again = rescale(unit, log_mu, likelihood=likelihood, seed=5).intervals
    np.testing.assert_array_equal(rescale(unit, log_mu, likelihood=likelihood, seed=5).intervals, again)
    assert (rescale(unit, log_mu, likelihood=likelihood, seed=6).intervals != again).any()
    assert np.unique(again[:, 0]).size == 20


def test_no_spike_gives_no_interval(make_unit):
    found = rescale(make_unit(np.zeros((3, 10), dtype=int)), np.full((3, 10), -2.0))
    assert found.intervals.shape == (20, 0)
    assert found.rate_hz == 0.0


def test_distances_count_both_sides_of_every_step():
    """By hand: of 0.2, 0.4 the step to 1 lies 0.6 above; of 0.9 alone the law lies 0.9 above nothing."""
    np.testing.assert_allclose(ks_distance(np.array([[0.2, 0.4]])), [0.6], rtol=1e-15)
    np.testing.assert_allclose(ks_distance(np.array([[0.9]])), [0.9], rtol=1e-15)
    assert np.isnan(ks_distance(np.empty((2, 0)))).all()


def test_distances_equal_those_of_scipy():
    values = np.sort(np.random.default_rng(6).random((5, 200)), axis=1)
    expected = [stats.kstest(row, "uniform").statistic for row in values]
    np.testing.assert_allclose(ks_distance(values), expected, rtol=1e-13)


@pytest.mark.parametrize(("rate_hz", "dead_s", "n_ks", "n_ratio"), [(5, 3e-3, 8344, 259), (20, 3e-3, 545, 63)])
def test_detectable_dead_times_are_the_inverse_of_the_sample_sizes(rate_hz, dead_s, n_ks, n_ratio):
    """Oracle: n = (1.36 / (1 - exp(-r tau)))^2 and 3.92 / -log(1 - r tau), rounded: 1 % of tau."""
    assert detectable_dead_time(n_ks, rate_hz)["ks"] == pytest.approx(dead_s, rel=0.01)
    assert detectable_dead_time(n_ratio, rate_hz)["likelihood_ratio"] == pytest.approx(dead_s, rel=0.01)


def test_one_spike_shows_no_dead_time_to_the_distance():
    assert detectable_dead_time(1, 5.0)["ks"] == math.inf
    assert detectable_dead_time(0, 5.0) == {"ks": math.inf, "likelihood_ratio": math.inf}


def test_what_cannot_be_rescaled_is_refused(make_unit):
    unit = make_unit(np.array([[0, 2, 0]]))
    log_mu = np.full((1, 3), -1.0)
    with pytest.raises(DataError, match=r"log_mu has shape \(1, 2\); expected that of the counts, \(1, 3\)"):
        rescale(unit, log_mu[:, :2])
    with pytest.raises(DataError, match="NaN or infinite in 1 scored bins"):
        rescale(unit, np.array([[-1.0, np.nan, -1.0]]))
    with pytest.raises(DataError, match="1 bins hold more than one spike"):
        rescale(unit, log_mu, likelihood="bernoulli")
    with pytest.raises(OptionError, match="likelihood='normal' is unknown"):
        rescale(unit, log_mu, likelihood="normal")


def test_each_kernel_has_one_specialisation():
    assert len(fill_clock.signatures) == 1
    assert len(place_spikes.signatures) == 1


def test_clocks_of_folds_joined_are_the_clock_of_all_trials(make_unit):
    """Folds that interleave, a silent trial, a gap: glued in the order of the trials, to the bit."""
    rng = np.random.default_rng(4)
    counts = (rng.random((9, 120)) < 0.1).astype(int)
    counts[4] = 0
    unit = make_unit(counts)
    unit = unit._replace(scored=unit.scored & (rng.random(counts.shape) < 0.9))
    log_mu = rng.normal(-2.3, 0.5, counts.shape)
    fold = np.arange(9) % 3
    parts = [np.flatnonzero(fold == k) for k in range(3)]
    clocks = [wind_clock(unit.take(part), log_mu[part]) for part in parts]
    whole = run_clock(join_clocks(clocks, parts), unit.bin_s, seed=3)
    np.testing.assert_array_equal(whole.intervals, rescale(unit, log_mu, seed=3).intervals)
    assert whole.rate_hz == rescale(unit, log_mu, seed=3).rate_hz
