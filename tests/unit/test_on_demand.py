"""Bin sweep, data budget and simulations like the data, on small recordings without networks."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from matplotlib.figure import Figure

from cortexrnn.encoding import PSTH, CausalGain, Constant, unit_trials
from cortexrnn.encoding.likelihood import POISSON, trial_log_likelihood
from cortexrnn.errors import DataError, OptionError
from cortexrnn.evaluation import CompareOptions, RunSettings, compare, gain_interval, ladder
from cortexrnn.evaluation.bin_sweep import bin_sweep
from cortexrnn.evaluation.data_budget import data_budget
from cortexrnn.evaluation.likeness import FITTED_HISTORY, NO_HISTORY, compare_like, simulate_like
from cortexrnn.report.on_demand import plot_bin_sweep, plot_data_budget, plot_likeness
from cortexrnn.spikes.generate import simulate_spikes
from cortexrnn.spikes.recording import Recording
from cortexrnn.spikes.trial_design import TrialDesign

OPTIONS = CompareOptions(n_surrogates=0, n_copies=0)
QUIET = RunSettings(workers=1)
N_TRIALS = 24


@pytest.fixture(scope="module")
def trials():
    """A unit with a dead time of 4 ms and one without, two conditions, 24 trials of 0.4 s."""
    design = TrialDesign(n_trials=N_TRIALS, duration_s=0.4, history_s=0.1)
    rate_hz = design.rate_hz(60.0)
    counts = [
        simulate_spikes(rate_hz, 0.001, dead_time_s=dead_time_s, seed=seed)
        for seed, dead_time_s in enumerate((0.004, 0.0))
    ]
    return design.trials(np.stack(counts, axis=2), condition=np.tile([0, 1], N_TRIALS // 2))


@pytest.fixture(scope="module")
def recording(trials):
    """The same spikes as a recording on a clock of 20 kHz, every spike in the middle of its bin."""
    bin_s, n_bins = 0.001, trials.sizes["time"]
    times_s = []
    for k in range(trials.sizes["unit"]):
        trial, t = np.nonzero(trials["counts"].values[:, :, k])
        times_s.append(trial * 1.0 + (t + 0.5) * bin_s)
    table = pd.DataFrame({"start_s": np.arange(N_TRIALS) * 1.0 + 0.1, "side": np.tile([0, 1], N_TRIALS // 2)})
    observed_s = np.column_stack([np.arange(N_TRIALS) * 1.0, np.arange(N_TRIALS) * 1.0 + n_bins * bin_s])
    return Recording.from_arrays(times_s, trials=table, observed_s=observed_s, tick_hz=20_000.0)


ALIGNED = {"window_s": (0.0, 0.4), "history_s": 0.1, "condition": "side"}


def test_a_bin_sweep_is_a_comparison_at_every_width(recording):
    """Oracle: `compare` at one of the widths; a dead time of 4 ms is seen in bins of 1 ms and not in bins of 20 ms."""
    found = bin_sweep(recording, bins_s=(0.02, 0.001), options=OPTIONS, run=QUIET, **ALIGNED)
    assert found["gain"].dims == ("step", "bin", "unit")
    assert found["bin"].values.tolist() == [0.001, 0.02]
    models = ladder([])
    alone = compare(recording, models=models, options=OPTIONS, run=QUIET, bin_s=0.02, **ALIGNED)
    for k, unit in enumerate(alone.summary["units"]):
        for step, rung in (("stimulus", "M1"), ("history", "M5")):
            mine = found.sel(step=step, bin=0.02).isel(unit=k)
            assert mine["gain"].item() == unit["steps"][rung]["value"]
            assert [mine["low"].item(), mine["high"].item()] == unit["steps"][rung]["ci"]
    history = found.sel(step="history").isel(unit=0)
    assert history["low"].sel(bin=0.001) > 0.1
    assert history["gain"].sel(bin=0.02) < 0.5 * history["gain"].sel(bin=0.001)
    np.testing.assert_array_equal(found["n_crowded"].sel(bin=0.02), alone.summary["recording"]["n_multi_spike_bins"])
    ax = plot_bin_sweep(Figure().add_subplot(), found)
    # Two thin lines and a thick one a step, and the line at zero.
    assert len(ax.get_lines()) == 2 * 3 + 1


def test_a_bin_sweep_refuses_what_it_cannot_do(recording):
    with pytest.raises(OptionError, match="bins_s is empty"):
        bin_sweep(recording, bins_s=())
    with pytest.raises(OptionError, match="bin_s cannot be given"):
        bin_sweep(recording, bin_s=0.001)
    with pytest.raises(OptionError, match="bins_s"):
        bin_sweep(recording, bins_s=(0.001, -0.1))


def test_the_largest_budget_is_the_comparison_itself(trials):
    """Oracle: `compare`, whose training sets are all trials outside a fold, four fifths of 24 at most."""
    models = ladder(["M4"])
    budget = data_budget(trials, models=models, options=OPTIONS, run=QUIET, n_trials=(6, 19), seed=3)
    scores = compare(trials, models=models, options=OPTIONS, run=QUIET, seed=3).scores
    largest = budget.sel(size=19)
    fold = budget["trial_fold"].values
    np.testing.assert_array_equal(fold, scores["trial_fold"].values)
    # Folds of five trials leave 19, those of four leave 20, of which one is left out.
    whole = np.isin(fold, np.flatnonzero(np.bincount(fold) == 5))
    assert whole.sum() == 20
    for name in models:
        np.testing.assert_array_equal(
            largest["log_likelihood"].sel(rung=name).values[:, whole],
            scores["log_likelihood"].sel(rung=name).isel(seed=0).values[:, whole],
        )


def test_gains_of_a_budget_are_pooled_over_units(trials):
    """Oracle: the interval's formula on sums over units."""
    models = {"M0": Constant(), "M1": PSTH(), "M3": CausalGain()}
    budget = data_budget(trials, models=models, options=OPTIONS, run=QUIET)
    assert budget["size"].values.tolist() == [5, 10, 19]
    pooled, spikes = budget["log_likelihood"].sum("unit"), budget["n_spikes"].sum("unit").values
    reference = pooled.sel(rung="M0", size=19).values
    for name in models:
        for size in (5, 10, 19):
            gain = gain_interval(pooled.sel(rung=name, size=size).values, reference, spikes, 5)
            mine = budget.sel(rung=name, size=size)
            assert (mine["gain"].item(), mine["low"].item(), mine["high"].item()) == (gain.value, gain.low, gain.high)
    assert budget["gain"].sel(rung="M0", size=19) == 0.0
    ax = plot_data_budget(Figure().add_subplot(), budget)
    assert [text.get_text() for text in ax.get_legend().get_texts()] == list(models)


def test_a_smaller_training_set_is_part_of_a_larger_one_and_shares_conditions_evenly(trials):
    """Oracle: M0 of a part is the mean count of its trials, whose likelihood names the part."""
    models = {"M0": Constant()}
    budget = data_budget(trials, models=models, options=OPTIONS, run=QUIET, n_trials=(8, 16))
    unit = unit_trials(trials, 0)
    fold = budget["trial_fold"].values
    train = np.flatnonzero(fold != 0)
    spikes, n_scored = unit.spikes_per_trial, unit.scored.sum(axis=1)

    def log_likelihood(members):
        mu = (spikes[members].sum() + 0.5) / n_scored[members].sum()
        log_mu = np.full(unit.counts.shape, np.log(mu))
        return trial_log_likelihood(unit, log_mu, POISSON)[fold == 0]

    found = budget["log_likelihood"].isel(rung=0, unit=0).values[:, fold == 0]
    # M0 knows of a part only its number of spikes: some part with equal conditions has it.
    total = [
        n for n in range(spikes[train].sum() + 1)
        if np.allclose(found[0], trial_log_likelihood(
            unit, np.full(unit.counts.shape, np.log((n + 0.5) / (8 * n_scored[0]))), POISSON)[fold == 0], rtol=1e-12)
    ]  # fmt: skip
    assert len(total) == 1
    assert not np.allclose(found[0], log_likelihood(train))


@pytest.mark.parametrize("sizes", [(4,), (21,), (), (5, 100)])
def test_sizes_that_cannot_be_trained_on_are_refused(trials, sizes):
    with pytest.raises(OptionError, match="n_trials"):
        data_budget(trials, options=OPTIONS, run=QUIET, n_trials=sizes)


def test_a_budget_needs_m0_and_spikes(trials):
    with pytest.raises(OptionError, match="M0"):
        data_budget(trials, models={"M1": PSTH()}, options=OPTIONS, run=QUIET)
    silent = trials.assign(counts=trials["counts"] * np.uint16(0))
    with pytest.raises(DataError, match="no unit has a spike"):
        data_budget(silent, options=OPTIONS, run=QUIET)


def test_simulations_like_the_data_have_its_rate_and_the_history_asked_for(trials):
    """Without history as many intervals below 4 ms as Poisson gives, with fitted history next to none."""
    observed = trials["counts"].values[:, 100:, 0]
    found = {}
    for truth in (NO_HISTORY, FITTED_HISTORY):
        twin = simulate_like(trials, truth=truth, seed=1)
        assert twin["truth"].values.tolist() == [truth, truth]
        assert twin["has_history"].values.tolist() == ["no" if truth == NO_HISTORY else "yes"] * 2
        counts = twin["counts"].values[:, 100:, 0]
        # Counts of 24 trials of about 24 spikes: four standard errors of a Poisson number of 576.
        assert abs(int(counts.sum()) - int(observed.sum())) < 4.0 * np.sqrt(observed.sum())
        close = sum((counts[:, lag:] * counts[:, :-lag].astype(int)).sum() for lag in (1, 2, 3))
        found[truth] = close / counts.sum()
    # 60 Hz in three bins of 1 ms: 0.18 spikes expected.
    assert 0.12 < found[NO_HISTORY] < 0.25
    assert found[FITTED_HISTORY] < 0.03
    again = simulate_like(trials, truth=FITTED_HISTORY, seed=1)
    np.testing.assert_array_equal(again["counts"].values[:, 100:, 0], counts)
    with pytest.raises(OptionError, match="truth"):
        simulate_like(trials, truth="some history")


def test_verdicts_on_known_truth_are_told(trials):
    found = compare_like(trials, options=CompareOptions(n_surrogates=19), run=QUIET, seed=2)
    assert found["verdict"].dims == ("truth", "unit")
    verdicts = found["verdict"].values
    assert "history matters" not in verdicts[0]
    assert verdicts[1, 0] == "history matters"
    assert "in 0 of 2 units without any" in found.attrs["sentence"]
    assert "in 1 of 2 units with the history" in found.attrs["sentence"]
    ax = plot_likeness(Figure().add_subplot(), found)
    assert [label.get_text() for label in ax.get_yticklabels()] == [NO_HISTORY, FITTED_HISTORY]
