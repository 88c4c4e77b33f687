"""The comparison from trials to summary, on small recordings without networks."""

from __future__ import annotations

import contextlib
import importlib
import json
import subprocess
import sys
import warnings
import weakref

import numpy as np
import pytest
import xarray as xr

from cortexrnn.encoding import Constant
from cortexrnn.encoding.arrays import unit_trials
from cortexrnn.errors import DataError, DataWarning, MissingFileError, OptionError
from cortexrnn.evaluation import CompareOptions, Comparison, RunSettings, compare, gain_interval, ladder
from cortexrnn.evaluation.ladder import QUICK_RUNGS
from cortexrnn.evaluation.work import EXCHANGED, SIMULATED
from cortexrnn.spikes.folds import assign_folds
from cortexrnn.spikes.generate import simulate_spikes
from cortexrnn.spikes.trial_design import TrialDesign

DESIGN = TrialDesign(n_trials=20, duration_s=0.2, history_s=0.1)
MODELS = ladder(QUICK_RUNGS)
OPTIONS = CompareOptions(n_surrogates=2)
RATES_HZ = (60.0, 40.0, 30.0)


def draw(n_units=2, *, n_trials=20, seed=1):
    """Trials of units with a dead time of 3 ms."""
    design = TrialDesign(n_trials=n_trials, duration_s=0.2, history_s=0.1)
    counts = [
        simulate_spikes(design.rate_hz(RATES_HZ[u % 3]), 0.001, dead_time_s=0.003, seed=seed + u)
        for u in range(n_units)
    ]
    return design.trials(np.stack(counts, axis=2), condition=np.tile([0, 1], n_trials)[:n_trials])


def run(trials, *, workers=1, folder=None, seed=0, options=OPTIONS, models=None):
    """Compare without networks."""
    settings = RunSettings(workers=workers, folder=folder)
    return compare(trials, models=models or MODELS, seed=seed, options=options, run=settings)


@pytest.fixture(scope="module")
def trials():
    """Two units, twenty trials of two conditions."""
    return draw()


@pytest.fixture(scope="module")
def comparison(trials):
    """Their comparison on one thread."""
    return run(trials)


def test_scores_have_the_promised_dimensions(trials, comparison):
    scores = comparison.scores
    assert scores["log_likelihood"].dims == ("rung", "seed", "unit", "trial")
    assert scores["rung"].values.tolist() == ["M0", "M1", "M2", "M3", "M4", "M5", "history"]
    np.testing.assert_array_equal(scores["trial_fold"], assign_folds(trials["condition"].values, 5))
    spikes = trials["counts"].values[:, trials["scored"].values].sum(axis=1).T
    np.testing.assert_array_equal(scores["n_spikes"], spikes)
    assert np.isfinite(scores["log_likelihood"]).all()


def test_a_saved_comparison_comes_back_whole(comparison, tmp_path):
    page = comparison.save(tmp_path)
    back = Comparison.load(tmp_path)
    assert back.scores.identical(comparison.scores)
    assert back.panels.identical(comparison.panels)
    assert back.summary == comparison.summary
    assert Comparison.load(tmp_path / "scores.nc").summary == comparison.summary
    assert back.draw(tmp_path / "again").read_bytes() == page.read_bytes()
    drawn, again = (sorted(path.name for path in folder.glob("*.svg"))
                    for folder in (tmp_path / "figures", tmp_path / "again" / "figures"))
    assert drawn == again
    assert (tmp_path / "again" / "figures" / drawn[-1]).read_bytes() == (tmp_path / "figures" / drawn[-1]).read_bytes()


def test_what_is_no_saved_comparison_is_refused(comparison, tmp_path):
    with pytest.raises(MissingFileError, match="does not exist"):
        Comparison.load(tmp_path)
    file = tmp_path / "scores.nc"
    comparison.save(tmp_path)
    whole = file.read_bytes()
    for damaged in (b"", b"no file of ours", whole[: len(whole) // 2], whole[:3000] + b"x" * 200 + whole[3200:]):
        file.write_bytes(damaged)
        with pytest.raises(DataError, match="cannot be read as a comparison"):
            Comparison.load(tmp_path)
    comparison.scores.to_netcdf(file, engine="h5netcdf")
    with pytest.raises(DataError, match="cannot be read as a comparison"):
        Comparison.load(tmp_path)


def test_the_history_glm_runs_freely_on_held_out_trials(comparison):
    """Both units have a dead time of 3 ms and no reason to run away."""
    for position, unit in enumerate(comparison.summary["units"]):
        run = unit["free_run"]["M5"]
        assert set(unit["free_run"]) == {"M5"}
        assert (run["n_copies"], run["n_trials"]) == (100, 20)
        assert run["divergence_rate"] == 0.0
        rate = run["statistics"]["rate_hz"]
        assert rate["low"] < rate["observed"] < rate["high"]
        assert rate["observed"] == pytest.approx(unit["rate_hz"], rel=1e-12)
        panel = comparison.panels.isel(unit=position).sel(runner="M5")
        # Intervals of one and two bins are in the dead time.
        np.testing.assert_array_equal(panel["free_isi_observed"].values[1:3], 0.0)
        first_s = comparison.panels["time"].values[0]
        assert panel["free_time"].values[0] == pytest.approx(first_s, abs=1e-9)


def test_without_copies_nothing_runs_freely(trials):
    quiet = run(trials, options=CompareOptions(n_surrogates=0, n_copies=0))
    assert all(unit["free_run"] == {} for unit in quiet.summary["units"])
    assert "runner" not in quiet.panels.sizes
    with pytest.raises(OptionError, match="copies"):
        CompareOptions(n_copies=39)


def test_every_number_of_the_summary_derives_from_the_scores(comparison):
    """Oracle: the interval's formula on the saved scores."""
    scores = comparison.scores
    for position, unit in enumerate(comparison.summary["units"]):
        n = scores["n_spikes"].values[position]

        def row(name, position=position):
            return scores["log_likelihood"].sel(rung=name).isel(unit=position).mean("seed").values

        gain = gain_interval(row("history"), row("M3"), n, 5)
        assert unit["history_gain"]["value"] == gain.value
        assert unit["history_gain"]["ci"] == gain.interval
        for name in ("M1", "M5"):
            assert unit["rungs"][name]["bits_per_spike"] == gain_interval(row(name), row("M0"), n, 5).value
        assert unit["n_spikes"] == n.sum()


def test_history_scores_are_those_of_the_chosen_rung_in_every_fold(comparison):
    scores = comparison.scores
    for position in range(2):
        for k, name in enumerate(scores["history_choice"].values[position]):
            here = scores.isel(unit=position, trial=scores["trial_fold"].values == k)["log_likelihood"]
            if name in scores["rung"]:
                np.testing.assert_array_equal(here.sel(rung="history"), here.sel(rung=name))
            else:
                assert name.startswith("M5 ")


def test_number_of_workers_changes_no_bit(trials, comparison, tmp_path):
    # Two threads, then one that goes on from the finished units of work.
    for again in (run(trials, workers=2, folder=tmp_path), run(trials, workers=1, folder=tmp_path)):
        xr.testing.assert_identical(again.scores, comparison.scores)
        xr.testing.assert_identical(again.panels, comparison.panels)
        assert json.dumps(again.summary) == json.dumps(comparison.summary)


def test_another_seed_gives_other_surrogates_and_the_same_scores(trials, comparison):
    other = run(trials, seed=1)
    np.testing.assert_array_equal(other.scores["log_likelihood"], comparison.scores["log_likelihood"])
    controls = [found.summary["controls"]["trial_exchange_bits_per_spike"] for found in (other, comparison)]
    assert controls[0] != controls[1]


def test_random_folds_follow_the_seed(trials):
    options = CompareOptions(n_surrogates=0, fold_order="random", n_folds=2)
    folds = [run(trials, seed=seed, options=options).scores["trial_fold"].values for seed in (0, 0, 1)]
    np.testing.assert_array_equal(folds[0], folds[1])
    assert (folds[0] != folds[2]).any()


def test_a_unit_is_answered_the_same_alone_and_among_others():
    """More units than are loaded at once: nine, of which the last stands in a chunk of its own."""
    trials = draw(9)
    options = CompareOptions(n_surrogates=1, n_folds=2)
    models = ladder([])
    every, alone = (run(chosen, options=options, models=models) for chosen in (trials, trials.isel(unit=[8])))
    np.testing.assert_array_equal(
        every.scores["log_likelihood"].isel(unit=[8]), alone.scores["log_likelihood"]
    )
    assert every.summary["units"][8] == alone.summary["units"][0]
    assert [unit["unit"] for unit in every.summary["units"]] == [str(u) for u in range(9)]


def test_bins_with_several_spikes_are_counted_over_all_units():
    trials = draw(9, n_trials=8)
    counts = np.minimum(trials["counts"].values, 1)
    counts[2, -1, [0, 8]] = 2, 3
    trials["counts"] = trials["counts"].dims, counts
    result = run(trials, options=CompareOptions(n_surrogates=0, n_folds=2), models=ladder([]))
    assert result.summary["recording"]["n_multi_spike_bins"] == 2


def test_trials_of_units_that_are_answered_are_let_go(monkeypatch):
    """Oracle: weak references to every unit's counts; eight units are worked on at once."""
    n_units = 20
    trials = draw(n_units, n_trials=8)
    module = importlib.import_module("cortexrnn.evaluation.compare")
    counts, n_alive = [], []

    def watched(*arguments):
        unit = unit_trials(*arguments)
        counts.append(weakref.ref(unit.counts))
        n_alive.append(sum(ref() is not None for ref in counts))
        return unit

    monkeypatch.setattr(module, "unit_trials", watched)
    run(trials, options=CompareOptions(n_surrogates=0, n_folds=2), models=ladder([]))
    assert len(counts) == n_units
    assert max(n_alive) == 8


@pytest.mark.parametrize("gain_variance", [0.0, 1.0])
def test_the_bar_ends_at_its_total(monkeypatch, gain_variance):
    """Where trials have a gain, surrogates are simulated and trials exchanged as well."""
    bar = {"total": 0.0, "done": 0.0}

    class Bar:
        def add_total(self, cost):
            bar["total"] += cost

        def advance(self, work):
            bar["done"] += work.cost

    counts = [simulate_spikes(DESIGN.rate_hz(60.0), 0.001, gain_variance=gain_variance, seed=u) for u in (1, 2)]
    module = importlib.import_module("cortexrnn.evaluation.compare")
    monkeypatch.setattr(module, "progress_bar", lambda *_, **__: contextlib.nullcontext(Bar()))
    result = run(DESIGN.trials(np.stack(counts, axis=2)))
    kinds = {unit["surrogate_kind"] for unit in result.summary["units"]}
    assert bar["done"] == pytest.approx(bar["total"], rel=1e-12)
    assert kinds == ({SIMULATED} if gain_variance else {EXCHANGED})


def test_no_rung_leaks(comparison):
    controls = comparison.summary["controls"]
    assert controls["leak_probe"] == "passed"
    # Two units, five folds, six rungs and two windows of M5.
    assert controls["n_leak_probes"] == 2 * 5 * 8


def test_answers_can_be_read_in_every_form(comparison):
    assert comparison.verdicts == {unit["unit"]: unit["verdict"] for unit in comparison.summary["units"]}
    assert list(comparison.units["unit"]) == ["0", "1"]
    assert comparison.summary["verdict_sentence"] in str(comparison)


def test_a_silent_unit_is_warned_of_and_never_scored(trials):
    silent = trials.copy(deep=True)
    silent["counts"][:, 150:, 1] = 0
    silent["counts"][:, 100:150, 1] = 0
    with pytest.warns(DataWarning, match="unit 1 has no spike in any scored bin"):
        found = run(silent)
    # Its spikes in the burn-in do not count.
    assert silent["counts"].values[:, :, 1].sum() > 0
    unit = found.summary["units"][1]
    assert unit["history_gain"]["value"] is None
    assert unit["verdict"] == "inconclusive"
    assert found.scores["unit"].values.tolist() == ["0"]
    assert found.summary["population"]["n_units"] == 2


def test_silence_everywhere_is_an_error(trials):
    silent = trials.copy(deep=True)
    silent["counts"][:] = 0
    with pytest.warns(DataWarning), pytest.raises(DataError, match="no unit has a spike"):
        run(silent)


def test_a_unit_recorded_in_the_last_trials_only_does_not_stop_the_others(trials):
    part = trials.copy(deep=True)
    part["observed"][:17, :, 1] = False
    part["counts"][:17, :, 1] = 0
    with pytest.warns(DataWarning, match="unit 1 has no observed bin in the training trials of a fold"):
        found = run(part)
    assert found.summary["units"][1]["n_spikes"] > 0
    assert found.summary["units"][1]["history_gain"]["value"] is None
    assert found.scores["unit"].values.tolist() == ["0"]


def test_trials_in_which_a_unit_was_not_recorded_say_nothing(trials):
    """Oracle: a log-likelihood of zero there, and finite numbers everywhere."""
    part = trials.copy(deep=True)
    part["observed"][[3, 11], :, 0] = False
    part["counts"][[3, 11], :, 0] = 0
    part["observed"][5, 150:200, 0] = False
    part["counts"][5, 150:200, 0] = 0
    scores = run(part).scores["log_likelihood"]
    np.testing.assert_array_equal(scores.isel(unit=0, trial=[3, 11]), 0.0)
    assert np.isfinite(scores).all()


@pytest.mark.parametrize("lone", [0, 9])
def test_a_condition_of_one_trial_is_held_out_like_any_other(lone):
    """The code of the lone condition is the lowest or the highest: either way training never saw it."""
    trials = draw(1)
    condition = np.full(20, 5)
    condition[7] = lone
    found = run(trials.assign_coords(condition=("trial", condition)))
    assert np.isfinite(found.scores["log_likelihood"]).all()
    assert found.summary["recording"]["conditions"] == sorted(map(str, (5, lone)))


def test_two_trials_in_two_folds_are_refused_and_four_are_compared():
    options = CompareOptions(n_folds=2, n_surrogates=0)
    with pytest.raises(DataError, match="2 trials in 2 folds leave too few"):
        run(draw(1, n_trials=2), options=options)
    found = run(draw(1, n_trials=4), options=options)
    assert found.summary["units"][0]["verdict"] == "inconclusive"
    assert "Only 4 trials" in found.summary["units"][0]["sentence"]


def test_bins_with_several_spikes_are_counted_and_not_clipped(trials):
    several = trials.isel(unit=[0]).copy(deep=True)
    several["counts"][0, 150, 0] = 3
    assert np.isfinite(run(several).scores["log_likelihood"]).all()
    with pytest.raises(DataError, match="1 bins hold more than one spike"):
        run(
            several,
            options=CompareOptions(likelihood="bernoulli"),
            models=ladder(["M4"], likelihood="bernoulli"),
        )


def test_bernoulli_scores_are_those_of_one_spike_a_bin(trials, comparison):
    """Same spikes, another observation model: M0 by hand."""
    one = trials.isel(unit=[1])
    options = CompareOptions(likelihood="bernoulli", n_surrogates=0)
    found = run(one, options=options, models=ladder([], likelihood="bernoulli"))
    counts, fold = one["counts"].values[:, 100:, 0].astype(int), found.scores["trial_fold"].values
    for k in range(5):
        mu = (counts[fold != k].sum() + 0.5) / counts[fold != k].size
        expected = (counts * np.log(-np.expm1(-mu)) - (1 - counts) * mu)[fold == k].sum(axis=1)
        row = found.scores["log_likelihood"].sel(rung="M0").values[0, 0, fold == k]
        np.testing.assert_allclose(row, expected, rtol=1e-12)


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"options": CompareOptions(n_folds=21)}, OptionError, "folds=21 is more than the 20 trials"),
        ({"models": {"M0": Constant()}}, OptionError, "models has no M1, M3, M5"),
        ({"event": "go"}, OptionError, "event cannot be given with trials"),
        ({"seed": -1}, OptionError, "seed=-1"),
    ],
)
def test_what_cannot_be_compared_is_refused(trials, arguments, error, message):
    with pytest.raises(error, match=message):
        compare(trials, **({"models": MODELS} | arguments))


def test_one_trial_cannot_be_held_out(trials):
    with pytest.raises(DataError, match="one trial only"):
        run(trials.isel(trial=[0]))


def test_no_warning_on_ordinary_data(trials):
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        run(trials, options=CompareOptions(n_surrogates=1))
    assert [str(warning.message) for warning in caught] == []


COUNT_SPECIALISATIONS = """
import json, pkgutil, importlib
import numpy as np
from numba.core.dispatcher import Dispatcher
from cortexrnn.evaluation import CompareOptions, Comparison, RunSettings, compare, ladder
from cortexrnn.spikes.generate import simulate_spikes
from cortexrnn.spikes.trial_design import TrialDesign

design = TrialDesign(n_trials=12, duration_s=0.1, history_s=0.05)
counts = [simulate_spikes(design.rate_hz(60.0), 0.001, gain_variance=v, seed=1) for v in (0.01, 1.0)]
trials = design.trials(np.stack(counts, axis=2))
trials["observed"][3, 100:110, 1] = False
trials["counts"][3, 100:110, 1] = 0
options = CompareOptions(n_surrogates=1, n_seeds=1, n_folds=3)
compare(trials, models=ladder(), options=options, run=RunSettings(workers=1))
found = {}
for room in ("encoding", "spikes", "numerics", "training", "cells"):
    package = importlib.import_module(f"cortexrnn.{room}")
    for info in pkgutil.iter_modules(package.__path__):
        if info.ispkg:
            continue
        module = importlib.import_module(f"cortexrnn.{room}.{info.name}")
        for name, value in vars(module).items():
            # What is inlined into its callers is compiled with each of them anyway.
            is_kernel = isinstance(value, Dispatcher) and not value.targetoptions.get("forceinline")
            if is_kernel and value.__module__ == module.__name__:
                found[f"{info.name}.{name}"] = len(value.signatures)
print(json.dumps(found))
"""


@pytest.mark.slow
def test_every_kernel_has_one_specialisation_after_a_comparison():
    """A second one means that arrays of another type or layout came in, and half a minute of compilation."""
    done = subprocess.run(
        [sys.executable, "-c", COUNT_SPECIALISATIONS], check=True, capture_output=True, text=True
    )
    found = json.loads(done.stdout)
    used = {
        "kernels.history_pass",
        "kernels.history_effect",
        "likelihood._trial_log_likelihood",
        "renewal.age_steps",
        "renewal.sum_by_step",
        "gain._apply_gain",
        "surrogates._shuffle_bins",
        "rnn_kernels.train_epoch",
    }
    assert used <= set(found)
    assert {name for name, n in found.items() if n > 1} == set()
    assert {name for name in used if found[name] != 1} == set()
