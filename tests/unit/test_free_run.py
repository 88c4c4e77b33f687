"""Free runs held against the data. Oracles: models that are right, models wrong in one known way, hand counts."""

from __future__ import annotations

import json
import math

import numpy as np
import pytest
from matplotlib.figure import Figure

from cortexrnn.encoding import PSTH, CausalGain, Constant
from cortexrnn.encoding.constant import FittedConstant
from cortexrnn.encoding.divergence import find_divergent
from cortexrnn.encoding.glm import FittedHistoryGLM
from cortexrnn.encoding.likelihood import trial_log_likelihood
from cortexrnn.encoding.simulation import Copies, simulate_copies
from cortexrnn.errors import DataError, OptionError
from cortexrnn.evaluation.free_run import free_run
from cortexrnn.evaluation.goodness import goodness_of_fit
from cortexrnn.evaluation.spike_profile import summarise_copies
from cortexrnn.report import free_run as figures
from cortexrnn.spikes.generate import simulate_spikes


@pytest.fixture(scope="module")
def poisson(make_unit):
    """Forty trials whose rate swings between 5 and 45 Hz."""
    rate_hz = np.tile(25.0 + 20.0 * np.sin(np.arange(600) / 60.0), (40, 1))
    return make_unit(simulate_spikes(rate_hz, 1e-3, seed=1), n_burn_in=100)


@pytest.fixture(scope="module")
def run(poisson):
    """A free run of the PSTH of other trials."""
    rate_hz = np.tile(25.0 + 20.0 * np.sin(np.arange(600) / 60.0), (40, 1))
    training = poisson._replace(counts=simulate_spikes(rate_hz, 1e-3, seed=2))
    return free_run(PSTH().fit(training), poisson, n_copies=60, seed=3)


def rebounding(ceiling=np.inf):
    """A history GLM at 5 Hz, refractory for 2 ms and then excited for 30 ms."""
    lag = np.arange(1, 201)
    effect = 1.2 * np.exp(-(lag - 2) / 30.0) - 3.0 * np.exp(-(lag - 2) / 1.5)
    effect[0] = -1e3
    weights = np.r_[math.log(0.005), effect]
    return FittedHistoryGLM(
        below=None, history_s=0.2, bin_s=1e-3, basis=np.eye(200), weights=weights, covariance=np.eye(201), ridge=0.0,
        mean=0.0, ceiling=ceiling, validation_log_likelihood=math.nan, is_converged=True,
    )  # fmt: skip


def test_a_poisson_model_does_not_run_away(run):
    assert run.divergence_rate == run.pinned_rate == 0.0
    assert len(run.departures) <= 1
    assert run.sentence.startswith("Running freely, none of 2400 simulated trials ran away; the unit lies ")


def test_a_statistic_of_the_true_model_departs_in_one_of_twenty_units(make_unit):
    """Oracle: 5 % of 40 units times six statistics, within four errors of 0.02 (they are not independent)."""
    departed = []
    for seed in range(40):
        unit = make_unit(np.random.default_rng(seed).poisson(0.05, (8, 200)))
        departed.append(len(free_run(FittedConstant(below=None, mu=0.05), unit, n_copies=60, seed=seed).departures) / 6)
    assert 0.01 < np.mean(departed) < 0.13


def test_numbers_of_a_poisson_model_are_those_of_the_poisson_law(run):
    """Oracle: Fano 1 and CV2 near 1 at every rate; share of spikes within 2 ms 2 mu; bounds of sampling error."""
    simulated = run.data["simulated"]
    assert float(simulated.sel(statistic="fano")) == pytest.approx(1.0, abs=0.1)
    assert float(simulated.sel(statistic="cv2")) == pytest.approx(1.0, abs=0.03)
    assert float(run.data["fano_simulated"][0]) == pytest.approx(1.0, abs=0.02)
    lags = run.data["autocorrelation_hz_simulated"]
    assert float(lags[:5].mean()) == pytest.approx(float(lags[-5:].mean()), rel=0.35)


def test_scores_of_a_model_that_hears_no_spikes_are_the_same_either_way(run):
    """Oracle: the free-running rate is the predicted one, up to the sampling error of 60 copies."""
    teacher, free = (run.data["score"].sel(mode=mode) for mode in ("teacher-forced", "free-running"))
    for name, tolerance in (("psth_r2", 0.01), ("psth_bits_per_spike", 0.01), ("rate_hz", 0.5)):
        assert float(free.sel(score_name=name)) == pytest.approx(float(teacher.sel(score_name=name)), abs=tolerance)
    assert float(teacher.sel(score_name="psth_r2")) > 0.8


def test_teacher_forced_bits_per_spike_by_their_definition(poisson):
    fitted = PSTH().fit(poisson)
    found = free_run(fitted, poisson, n_copies=1).data["score"].sel(mode="teacher-forced", score_name="bits_per_spike")
    mean = poisson.counts[poisson.scored].mean()
    null = trial_log_likelihood(poisson, np.full(poisson.counts.shape, math.log(mean))).sum()
    gain = trial_log_likelihood(poisson, fitted.log_mu(poisson)).sum() - null
    assert float(found) == pytest.approx(gain / (poisson.spikes_per_trial.sum() * math.log(2.0)), rel=1e-12)


def test_a_dead_time_that_the_model_does_not_know_shows_in_the_refractory_mass(make_unit):
    rate_hz = np.full((40, 600), 40.0)
    unit = make_unit(simulate_spikes(rate_hz, 1e-3, dead_time_s=0.004, seed=4))
    run = free_run(Constant().fit(unit), unit, n_copies=60, likelihood="bernoulli")
    assert {"cv", "cv2", "refractory_mass"} <= set(run.departures)
    assert float(run.data["observed"].sel(statistic="refractory_mass")) == 0.0
    assert run.dead_time_s == pytest.approx(0.005)
    assert "outside 95 % of its copies in" in run.sentence


def test_a_gain_that_the_model_does_not_know_shows_in_the_fano_factor_and_one_that_it_knows_does_not(make_unit):
    rate_hz = np.full((80, 600), 40.0)
    unit = make_unit(simulate_spikes(rate_hz, 1e-3, gain_variance=0.25, seed=5))
    assert "fano" in free_run(Constant().fit(unit), unit, n_copies=60).departures
    assert "fano" not in free_run(CausalGain().fit(unit), unit, n_copies=60).departures


def test_a_model_that_passes_the_test_runs_away_and_is_caught(make_unit):
    """A unit whose rate is bounded, and its own law without the bound: the distance does not tell them apart."""
    everything = make_unit(np.zeros((20, 5000), dtype=int), is_locked=False)
    bounded, model = rebounding(math.log(0.04)), rebounding()
    counts = simulate_copies(bounded, everything, n_copies=1, likelihood="bernoulli", seed=9).counts[0]
    unit = everything._replace(counts=counts)
    fit = goodness_of_fit(unit, model.log_mu(unit), likelihood="bernoulli")
    run, own = (
        free_run(each, unit, n_copies=40, likelihood="bernoulli", dead_time_s=0.002) for each in (model, bounded)
    )
    assert fit.distance.is_inside
    assert run.divergence_rate >= run.pinned_rate > 0.01
    assert "pinned at 500 Hz" in run.sentence
    assert own.divergence_rate == own.pinned_rate == 0.0


def test_divergent_trials_by_hand(make_unit):
    """The unit fires at most 2 of 200 bins: 7 spikes are too many, 90 in a row of 100 at intervals of 1 are pinned."""
    counts = np.zeros((2, 200), dtype=int)
    counts[0, [10, 110]] = 1
    unit = make_unit(counts)
    copies = np.zeros((4, 2, 200), dtype=np.uint16)
    copies[0, 0, :6] = 1
    copies[1, 0, ::29] = 1
    copies[2, 1, :89] = 1
    copies[3, 1, 50:140] = 1
    is_capped = np.zeros((4, 2), dtype=bool)
    is_capped[0, 1] = True
    diverges, is_pinned = find_divergent(unit, Copies(copies, np.zeros((4, 2)), is_capped), 1)
    assert diverges.tolist() == [[False, True], [True, False], [False, True], [False, True]]
    assert is_pinned.tolist() == [[False, False], [False, False], [False, False], [False, True]]


def test_a_burst_of_a_poisson_model_is_not_pinned_where_the_shortest_interval_is_long(make_unit):
    """Nine spikes in 0.1 s reach nine tenths of 1 / 10 ms, but twenty such intervals last 0.2 s."""
    counts = np.zeros((1, 400), dtype=int)
    counts[0, [0, 10, 200, 300]] = 1
    unit = make_unit(counts)
    copies = np.zeros((2, 1, 400), dtype=np.uint16)
    copies[0, 0, np.arange(100, 190, 10)] = 1
    copies[1, 0, np.arange(100, 300, 10)] = 1
    _, is_pinned = find_divergent(unit, Copies(copies, np.zeros((2, 1)), np.zeros((2, 1), dtype=bool)), 10)
    assert is_pinned.tolist() == [[False], [True]]


def test_a_unit_as_fast_as_its_shortest_interval_allows_is_not_pinned_by_its_own_firing(make_unit):
    """A clock: every interval is the shortest; only more spikes than it ever had would be pinned."""
    counts = np.zeros((3, 400), dtype=int)
    counts[:, ::10] = 1
    unit = make_unit(counts)
    copies = Copies(unit.counts[None], np.zeros((1, 3)), np.zeros((1, 3), dtype=bool))
    assert not find_divergent(unit, copies, 10)[0].any()


def test_summaries_leave_nan_out_and_keep_what_is_nan_everywhere():
    values = np.array([[1.0, np.nan, np.nan], [3.0, 2.0, np.nan]])
    found = summarise_copies(values)
    np.testing.assert_array_equal(found["simulated"], [2.0, 2.0, np.nan])
    np.testing.assert_allclose(found["low"], [1.05, 2.0, np.nan], rtol=1e-12)


def test_a_silent_unit_gives_nan_and_no_warning(make_unit):
    unit = make_unit(np.zeros((4, 120), dtype=int), n_burn_in=20)
    run = free_run(FittedConstant(below=None, mu=1e-12), unit, n_copies=3)
    assert np.isnan(float(run.data["observed"].sel(statistic="fano")))
    assert run.departures == ()
    json.dumps(run.to_dict(), allow_nan=False)


def test_blocks_have_no_psth_to_score(make_unit):
    unit = make_unit(np.random.default_rng(1).poisson(0.05, (6, 300)), is_locked=False)
    run = free_run(Constant().fit(unit), unit, n_copies=3)
    assert np.isnan(run.data["observed"].sel(statistic="psth_r2"))
    assert np.isnan(run.data["score"].sel(score_name="psth_r2")).all()


def test_what_cannot_be_run_is_refused(poisson):
    fitted = Constant().fit(poisson)
    with pytest.raises(OptionError, match="dead_time_s=0 is not a positive finite number"):
        free_run(fitted, poisson, dead_time_s=0)
    nothing = poisson._replace(scored=np.zeros_like(poisson.scored))
    with pytest.raises(DataError, match="none of the 40 trials was observed in a scored bin"):
        free_run(fitted, nothing)
    several = poisson._replace(counts=poisson.counts * np.uint16(2))
    with pytest.raises(DataError, match="bins hold more than one spike"):
        free_run(fitted, several, likelihood="bernoulli")


PLOTS = ("plot_intervals", "plot_autocorrelation", "plot_fano", "plot_copied_psth", "plot_rasters")


@pytest.mark.parametrize("name", PLOTS)
def test_every_figure_draws_on_the_axes_that_it_is_given(name, run):
    ax = Figure().subplots()
    assert getattr(figures, name)(ax, run.data) is ax
    assert ax.get_xlabel()
    with pytest.raises(DataError, match="there is no variable"):
        getattr(figures, name)(Figure().subplots(), run.data[["observed"]])


def test_the_curves_drawn_are_those_of_the_data(run):
    ax = figures.plot_fano(Figure().subplots(), run.data)
    np.testing.assert_allclose(ax.lines[-1].get_ydata(), run.data["fano_observed"], rtol=1e-15)
    np.testing.assert_allclose(ax.lines[-1].get_xdata(), 1e3 * run.data["window"], rtol=1e-15)


def test_the_page_is_written_and_the_result_draws_itself(run, tmp_path):
    assert run.plot().get_xlabel() == "interval (ms)"
    path = figures.draw_free_run(tmp_path, run.data)[0]
    assert path.name == "free_run.svg"
    assert path.read_text().count("<path") > 10
    assert json.dumps(run.to_dict(), allow_nan=False)
