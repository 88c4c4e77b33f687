"""Tests on the rescaled clock. Oracles: their nominal levels, models that are wrong in one known way, hand counts."""

from __future__ import annotations

import json
import math

import numpy as np
import pytest
from matplotlib.figure import Figure

from cortexrnn.errors import DataError
from cortexrnn.evaluation.goodness import CONSISTENT, DEPARTS, UNDERPOWERED, Check, goodness_of_fit
from cortexrnn.report.goodness import draw_goodness, plot_goodness
from cortexrnn.spikes.generate import simulate_spikes

RNG_SHAPE = (60, 400)


def poisson_unit(make_unit, seed, mean=0.03, shape=RNG_SHAPE):
    """Draw a homogeneous Poisson unit and give it with its own log mu."""
    return make_unit(np.random.default_rng(seed).poisson(mean, shape)), np.full(shape, math.log(mean))


def test_every_check_of_the_true_model_keeps_its_level(make_unit):
    """Oracle: 5 % of 300 repetitions, within three binomial errors of 0.013."""
    outside = []
    for seed in range(300):
        unit, log_mu = poisson_unit(make_unit, seed, shape=(20, 400))
        checks = goodness_of_fit(unit, log_mu, seed=seed).checks
        outside.append([not check.is_inside for check in checks.values()])
    shares = np.mean(outside, axis=0)
    assert shares.shape == (6,)
    assert np.all((shares >= 0.01) & (shares <= 0.09)), shares


def test_a_true_model_is_consistent_and_says_so(make_unit):
    fit = goodness_of_fit(*poisson_unit(make_unit, 1))
    assert fit.verdict == CONSISTENT
    assert fit.departures == ()
    assert fit.distance_range[0] <= fit.distance.value <= fit.distance_range[1]
    assert fit.sentence.startswith(f"Time rescaling of {fit.n_spikes} spikes: consistent with the model, KS distance")


def test_a_dead_time_that_the_model_does_not_know_is_found_in_the_intervals(make_unit):
    rate_hz = np.full((60, 1000), 40.0)
    unit = make_unit(simulate_spikes(rate_hz, 1e-3, dead_time_s=0.005, seed=2))
    fit = goodness_of_fit(unit, np.log(rate_hz * 1e-3), likelihood="bernoulli")
    assert fit.verdict == DEPARTS
    assert "interval distribution" in fit.departures
    assert "departs in interval distribution" in fit.sentence


def test_a_drift_that_the_model_does_not_know_is_found_in_the_times(make_unit):
    """The rate falls from 1.5 to 0.5 of its mean over the session."""
    mu = 0.03 * np.linspace(1.5, 0.5, 60)[:, None] * np.ones(RNG_SHAPE)
    unit = make_unit(np.random.default_rng(3).poisson(mu))
    fit = goodness_of_fit(unit, np.full(RNG_SHAPE, math.log(0.03)))
    assert not fit.times.is_inside
    assert "spike times" in fit.departures


def test_a_gain_that_the_model_does_not_know_is_found_in_correlation_and_dispersion(make_unit):
    gain = np.random.default_rng(4).gamma(2.0, 0.5, 60)[:, None]
    unit = make_unit(np.random.default_rng(5).poisson(0.03 * gain * np.ones(RNG_SHAPE)))
    fit = goodness_of_fit(unit, np.full(RNG_SHAPE, math.log(0.03)))
    assert fit.lag_correlation.value > fit.lag_correlation.high
    assert fit.dispersion[10].value > fit.dispersion[10].high
    assert "dispersion, windows of 10" in fit.departures


def test_fewer_than_fifty_spikes_are_underpowered_and_the_sentence_says_what_could_be_seen(make_unit):
    counts = np.zeros((49, 100), dtype=int)
    counts[:, 30] = 1
    log_mu = np.full(counts.shape, math.log(0.01))
    fit = goodness_of_fit(make_unit(counts), log_mu)
    assert fit.verdict == UNDERPOWERED
    # 10 Hz: -log(1 - 1.36 / 7) / 10 and (1 - exp(-3.92 / 49)) / 10.
    assert fit.sentence.endswith("dead time: 21.6 ms by the distance, 7.7 ms by a likelihood ratio.")
    counts[0, 60] = 1
    assert goodness_of_fit(make_unit(counts), log_mu).verdict != UNDERPOWERED


@pytest.mark.parametrize("n_spikes", [0, 1, 2])
def test_hardly_any_spike_gives_numbers_or_nan_and_no_warning(n_spikes, make_unit):
    counts = np.zeros((1, 20), dtype=int)
    counts[0, 5 : 5 + n_spikes] = 1
    fit = goodness_of_fit(make_unit(counts), np.full((1, 20), -2.0))
    assert fit.verdict == UNDERPOWERED
    assert fit.n_spikes == n_spikes
    assert np.isnan(fit.distance.value) == (n_spikes == 0)
    assert np.isnan(fit.lag_correlation.value)
    json.dumps(fit.to_dict(), allow_nan=False)


def test_limits_are_those_that_are_printed_everywhere(make_unit):
    fit = goodness_of_fit(*poisson_unit(make_unit, 1))
    n = fit.n_spikes
    assert fit.distance.high == pytest.approx(1.36 / math.sqrt(n), rel=1e-15)
    assert fit.times.high == pytest.approx(1.36 / math.sqrt(n - 1), rel=1e-15)
    assert fit.lag_correlation.high == pytest.approx(1.96 / math.sqrt(n), rel=1e-15)
    # 95 % of chi2 with n/2 - 1 degrees: about 1 +- 1.96 sqrt(2 / (n/2)).
    assert fit.dispersion[2].high == pytest.approx(1.0 + 1.96 * math.sqrt(4.0 / n), rel=0.02)


def test_nan_is_outside_every_limit():
    assert not Check(math.nan, -1.0, 1.0, math.nan).is_inside
    assert Check(0.5, -1.0, 1.0, 0.2).is_inside


def test_the_figure_shows_the_curve_within_its_band(make_unit, tmp_path):
    fit = goodness_of_fit(*poisson_unit(make_unit, 1))
    ax = Figure().subplots()
    assert plot_goodness(ax, fit.curve, label="M0") is ax
    x, y = ax.lines[-1].get_data()
    assert np.abs(np.asarray(y) - np.asarray(x)).max() <= fit.distance_range[1]
    assert fit.plot().get_xlabel() == "quantile expected"
    assert draw_goodness(tmp_path, fit.curve)[0].read_text().startswith("<?xml")


def test_the_figure_of_a_silent_unit_says_so_and_a_foreign_dataset_is_refused(make_unit):
    fit = goodness_of_fit(make_unit(np.zeros((2, 5), dtype=int)), np.full((2, 5), -2.0))
    assert fit.plot().texts[0].get_text() == "no spikes to rescale"
    with pytest.raises(DataError, match="there is no variable 'observed'"):
        plot_goodness(Figure().subplots(), fit.curve.drop_vars("observed"))
