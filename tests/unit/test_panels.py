"""What the figures draw. Oracles: boxes counted by hand, and the scores that the panel was made from."""

from __future__ import annotations

import numpy as np
import pytest

from cortexrnn.evaluation.evidence import UnitEvidence
from cortexrnn.evaluation.goodness import goodness_of_fit
from cortexrnn.evaluation.panels import join_panels, score_dataset, unit_panel
from cortexrnn.evaluation.plan import UnitScores
from cortexrnn.evaluation.work import EXCHANGED, UnitCase
from cortexrnn.schema import make_trials


def make_scores(make_unit, counts, name="a", observed=None):
    """Scores of a unit with 10 ms of burn-in, with a made-up panel of a filter of three lags."""
    unit = make_unit(counts, observed=observed, n_burn_in=10, condition=[0, 1, 0, 1])
    n_bins = counts.shape[1]
    return UnitScores(
        case=UnitCase(name=name, trials=unit, fold=np.array([0, 0, 1, 1]), seed=0, likelihood="poisson"),
        log_likelihood={"M0": -np.arange(8.0).reshape(2, 4), "M1": -np.arange(8.0).reshape(2, 4) / 2.0},
        chosen=["M5", "M4"],
        chosen_glm=["M5", "M4"],
        timescale=np.zeros((8, 4)),
        surrogates=[],
        surrogate_kind=EXCHANGED,
        exchanged=[],
        age_expected={"M1": np.arange(102.0), "history": 2.0 * np.arange(102.0)},
        age_spikes=10.0 * np.arange(102.0),
        leaking=[],
        n_leak_probes=0,
        goodness={name: goodness_of_fit(unit, np.full(counts.shape, mu)) for name, mu in (("M1", -4.0), ("M5", -3.0))},
        free_runs={},
        fold_orders=None,
        ceiling=None,
        panel={
            "filter": np.array([-1.0, 0.0, 0.5]),
            "filter_error": np.array([0.1, 0.2, 0.3]),
            "lag_s": np.array([0.001, 0.002, 0.003]),
            "psth_log_mu": np.log(np.full((2, n_bins), 0.02)),
        },
    )


@pytest.fixture
def counts():
    """Four trials of 60 bins, the first ten of which are burn-in."""
    counts = np.zeros((4, 60), dtype=int)
    counts[0, [5, 12, 20, 35]] = 1
    counts[2, [12, 55]] = [2, 1]
    counts[1, 33] = 1
    return counts


@pytest.fixture
def panel(make_unit, counts):
    """The panel of those trials."""
    return unit_panel(
        make_scores(make_unit, counts), np.array(["left", "right"]), (np.arange(60) - 10) * 0.001
    )


def test_psth_counts_scored_spikes_in_boxes_of_20_ms(panel):
    """Left: trials 0 and 2, 1 + 2 + 1 spikes in the first box: 4 / (2 trials * 20 ms) = 100 Hz."""
    left = panel["psth_hz"].sel(condition="left").values[0]
    np.testing.assert_allclose(left, np.repeat([100.0, 25.0, 50.0], [20, 20, 10]), rtol=1e-12)
    right = panel["psth_hz"].sel(condition="right").values[0]
    np.testing.assert_allclose(right, np.repeat([0.0, 25.0, 0.0], [20, 20, 10]), rtol=1e-12)
    np.testing.assert_allclose(panel["psth_model_hz"], 20.0, rtol=1e-12)


def test_boxes_that_nobody_recorded_are_empty_and_not_zero(make_unit, counts):
    observed = np.ones(counts.shape, dtype=bool)
    observed[[1, 3], 10:30] = False
    scores = make_scores(make_unit, counts, observed=observed)
    right = unit_panel(scores, np.array(["left", "right"]), np.arange(60) * 0.001)["psth_hz"].sel(
        condition="right"
    )
    assert np.isnan(right.values[0, :20]).all()
    assert np.isfinite(right.values[0, 20:]).all()


def test_time_runs_over_the_scored_stretch(panel):
    np.testing.assert_allclose(panel["time"], np.arange(50) * 0.001, atol=1e-12)


def test_filter_is_shown_as_a_factor_with_its_95_percent_band(panel):
    np.testing.assert_allclose(panel["history_gain_factor"][0], np.exp([-1.0, 0.0, 0.5]), rtol=1e-12)
    np.testing.assert_allclose(panel["history_low"][0], np.exp([-1.196, -0.392, -0.088]), rtol=1e-12)
    np.testing.assert_allclose(panel["history_high"][0], np.exp([-0.804, 0.392, 1.088]), rtol=1e-12)


def test_intervals_leave_out_the_unknown_and_the_long_ones(panel):
    np.testing.assert_array_equal(panel["isi_observed"][0], 10.0 * np.arange(1, 101))
    np.testing.assert_array_equal(panel["isi_model"].sel(model="history")[0], 2.0 * np.arange(1, 101))
    assert panel.sizes["isi"] == 100


def test_raster_holds_every_scored_spike_bin_of_its_trial(panel):
    np.testing.assert_array_equal(panel["spike_trial"], [0, 0, 0, 1, 2, 2])
    np.testing.assert_allclose(panel["spike_time_s"], [0.002, 0.010, 0.025, 0.023, 0.002, 0.045], atol=1e-12)


def test_joined_panels_keep_each_units_spikes(make_unit, counts, panel):
    more = counts.copy()
    more[3, 40] = 1
    second = unit_panel(
        make_scores(make_unit, more, "b"), np.array(["left", "right"]), (np.arange(60) - 10) * 0.001
    )
    joined = join_panels([panel, second])
    assert joined["unit"].values.tolist() == ["a", "b"]
    np.testing.assert_array_equal(joined["spike_unit"], [0] * 6 + [1] * 7)
    of_second = joined["spike_unit"].values == 1
    np.testing.assert_array_equal(joined["spike_time_s"].values[of_second], second["spike_time_s"])
    np.testing.assert_array_equal(joined["psth_hz"].sel(unit="b"), second["psth_hz"][0])
    assert not join_panels([]).data_vars


def make_evidence(name):
    """Evidence of a unit of four trials and two seeds."""
    rows = -np.arange(8.0).reshape(2, 4)
    return UnitEvidence(
        name=name,
        log_likelihood={"M0": rows, "M1": rows / 2.0},
        n_spikes=np.array([3, 1, 3, 0]),
        n_bins=np.array([10, 10, 9, 10]),
        fold=np.array([0, 0, 1, 1]),
        chosen=["M5", "M4"],
        exchange_gains=[],
        leaking=[],
        n_leak_probes=0,
    )


def test_scores_of_all_units_become_one_labelled_array():
    units = [make_evidence("a"), make_evidence("b")]
    trials = make_trials(
        np.zeros((4, 60, 1), dtype=np.uint16),
        observed=np.ones((4, 60, 1), dtype=bool),
        scored=np.ones(60, dtype=bool),
        time_s=np.arange(60) * 0.001,
        coords={"condition": ("trial", list("lrlr")), "start_s": ("trial", np.arange(4.0)), "unit": ["a"]},
        attrs={"bin_s": 0.001, "align_to": "go", "history_s": 0.01},
    )
    scores = score_dataset(units, ["M0", "M1"], {"note": "x"}, trials)
    assert scores["log_likelihood"].dims == ("rung", "seed", "unit", "trial")
    np.testing.assert_array_equal(
        scores["log_likelihood"].sel(rung="M1", unit="b"), -np.arange(8.0).reshape(2, 4) / 2.0
    )
    np.testing.assert_array_equal(scores["n_spikes"].sel(unit="a"), [3, 1, 3, 0])
    np.testing.assert_array_equal(scores["trial_fold"], [0, 0, 1, 1])
    assert scores["condition"].values.tolist() == list("lrlr")
    assert scores["history_choice"].values.tolist() == [["M5", "M4"]] * 2
    assert scores.attrs == {"note": "x"}


def test_rescaled_intervals_are_read_off_at_the_same_quantiles(make_unit, counts, panel):
    """A slower clock has shorter intervals; the limit is that of seven scored spikes."""
    assert list(panel["judged"].values) == ["M1", "M5"]
    curve = goodness_of_fit(make_scores(make_unit, counts).case.trials, np.full(counts.shape, -3.0)).curve
    expected = np.interp(panel["quantile"], curve["model"], curve["observed"])
    np.testing.assert_array_equal(panel["rescaled"].sel(judged="M5")[0], expected)
    assert (panel["rescaled"].sel(judged="M1") < panel["rescaled"].sel(judged="M5")).all()
    # Spikes in scored bins: 12, 20, 35, 33, 12 twice and 55.
    assert float(panel["rescaled_limit"][0]) == pytest.approx(1.36 / np.sqrt(7.0))
