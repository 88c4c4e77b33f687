"""The scripts of `validation/recordings` without any recording. Oracle: cells and small files worked out by hand."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from scipy.stats import poisson

import cortexrnn as cx
from cortexrnn.encoding import Constant
from cortexrnn.evaluation.scores import gain_interval
from cortexrnn.validation.recordings import free_run, grasshopper, run

UNIT = {
    "unit": 3,
    "n_spikes": 812,
    "rungs": {"M1": {"bits_per_spike": -0.0004}, "M5": {"bits_per_spike": 0.25}, "S1": {"bits_per_spike": None}},
    "history_gain": {"value": 0.2, "ci": [0.1, 0.3]},
    "detectable_gain": 0.0421,
    "surrogate_p": 0.05,
    "timescale_s": 0.02,
    "free_run": {"M5": {"divergence_rate": 0.0001}},
    "verdict": "history matters",
}


@pytest.fixture
def nitime(tmp_path):
    """Two small recordings in the layout of nitime's files: comments before the times, microseconds."""
    for number in grasshopper.NUMBERS:
        times = "\n".join(str(step) for step in range(6700, 9_990_000, 10_100 * number))
        (tmp_path / f"grasshopper_spike_times{number}.txt").write_text(f"# mode: 3\n# signal: 1\n{times}\n\n")
        samples = "\n".join(f"{1000 * k}  {0.1 + 0.09 * (k % 10):g}" for k in range(10_000))
        (tmp_path / f"grasshopper_stimulus{number}.txt").write_text(f"{samples}\n")
    return tmp_path


def test_a_unit_is_written_with_a_dash_where_there_is_nothing():
    cells = run.row("STN", UNIT)
    assert [cells[column] for column in run.COLUMNS] == [
        *("STN", "3", "812", "-0.000", "-", "-", "-", "0.250", "-", "-"),
        *("+0.200 [+0.100, +0.300]", "0.042", "0.05", "20 ms", "0.01 % / -", "history matters"),
    ]


def test_a_unit_without_a_score_is_written_in_dashes():
    silent = UNIT | {"rungs": {}, "free_run": {}, "history_gain": {"value": None, "ci": None}}
    silent |= {"detectable_gain": None, "surrogate_p": None, "timescale_s": None, "verdict": "inconclusive"}
    cells = run.row("STN", silent)
    assert {cells[column] for column in run.COLUMNS[3:-2]} == {"-"}
    assert cells["run away, M5 / M6"] == "- / -"


def test_rows_of_an_older_table_keep_their_columns_by_name():
    older = "| set | unit | M5 | gone | M1 |\n|---|---|---|---|---|\n| STN | train | 0.156 | 7 | 0.064 |\n"
    (read,) = run.read_table(run.write_table(run.read_table(older)))
    known = {name: cell for name, cell in read.items() if cell != run.MISSING}
    assert known == {"set": "STN", "unit": "train", "M5": "0.156", "M1": "0.064"}
    assert list(read) == list(run.COLUMNS)


def test_a_run_replaces_the_rows_of_its_set_only_and_keeps_the_order_of_the_jobs():
    def rows(name, *units):
        return [run.row(name, UNIT | {"unit": unit}) for unit in units]

    old = [*rows("mouse", 1, 2), *rows("STN", 1)]
    kept = run.replace_rows(old, "STN", rows("STN", 8, 9))
    told = [(each["set"], each["unit"]) for each in kept]
    assert told == [("STN", "8"), ("STN", "9"), ("mouse", "1"), ("mouse", "2")]


def test_every_job_has_a_name_of_its_own():
    names = [job.name for job in run.jobs()]
    assert len(set(names)) == len(names)


def test_grasshopper_times_come_in_seconds_with_the_level_in_decibels(nitime):
    recording, sounds = grasshopper.read(nitime, 2)
    np.testing.assert_allclose(recording.spike_times_s("receptor 2")[:2], [0.0067, 0.0269], rtol=1e-12)
    assert recording.duration_s == 10.0
    np.testing.assert_allclose(sounds["amplitude"].time_s[:3], [0.0, 0.001, 0.002], rtol=1e-15)
    # 20 log10(0.1) = -20 and 20 log10(0.19) = -14.4249...
    np.testing.assert_allclose(sounds["level_db"].values[:2], [-20.0, -14.424927980943423], rtol=1e-14)


def test_the_ladder_of_a_grasshopper_stands_on_its_sound(nitime):
    job = next(job for job in run.jobs() if job.number == 1 and len(job.sounds) == 2)
    recording, alignment = job.read(nitime, nitime)
    assert list(alignment["covariates"]) == ["amplitude", "level_db"]
    models = job.models()
    assert list(models) == ["M0", "M1", "S1", "M2", "M3", "M4", "M5"]
    assert models["M2"].baseline is models["S1"]
    assert models["S1"].lags_s == grasshopper.LAGS_S
    assert list(recording.unit_ids) == ["receptor 1"]


def test_written_tables_are_read_back_as_the_same_spikes_and_sound(nitime, tmp_path):
    recording, sounds = grasshopper.read(nitime, 1)
    grasshopper.write_tables(nitime, 1, tmp_path / "tables")
    read = cx.read_recording(tmp_path / "tables" / "spikes1.csv")
    signals = cx.read_signals(tmp_path / "tables" / "sound1.csv")
    np.testing.assert_array_equal(read.spike_times_s("receptor 1"), recording.spike_times_s("receptor 1"))
    assert list(signals) == list(sounds)
    for name, signal in signals.items():
        # Round-off: a division by 1e6 and a product with 1e-6.
        np.testing.assert_allclose(signal.time_s, sounds[name].time_s, rtol=1e-15)
        # Four decimals of a decibel.
        np.testing.assert_allclose(signal.values, sounds[name].values, atol=5e-5)


def test_every_block_is_scored_by_the_model_that_has_not_seen_it(make_unit):
    # Trials of fold 2 fire ten times faster, so a model that had seen them would expect more than the others' rate.
    fold = np.repeat(np.arange(5), 4)
    rate = np.where(fold == 2, 0.2, 0.02)[:, None]
    counts = np.random.default_rng(7).poisson(rate, (20, 200))
    outcome = free_run.let_run(Constant(), make_unit(counts), fold, seed=11)
    others = counts[fold != 2]
    mu = (others.sum() + 0.5) / others.size
    expected = poisson.logpmf(counts[fold == 2], mu).sum(axis=1)
    # Round-off of a sum over 200 bins.
    np.testing.assert_allclose(outcome.log_likelihood[fold == 2], expected, rtol=1e-12)
    assert outcome.n_away.tolist() == [0] * 5


def test_a_model_that_runs_away_is_counted_by_fold(make_unit):
    # One fold's model expects 500 spikes a trial, where no trial has more than 20.
    fold = np.repeat(np.arange(5), 4)
    counts = np.random.default_rng(7).poisson(0.02, (20, 200))
    counts[fold != 3, :100] = 0
    counts[fold != 3, 100:] = np.arange(100) % 10 == 0

    class Wild(Constant):
        """Fires in every bin when trial 12, the first of fold 3, was held out."""

        def fit_on(self, trials, below, log_mu):
            fitted = super().fit_on(trials, below, log_mu)
            return replace(fitted, mu=2.5) if 24.0 not in trials.start_s else fitted

    outcome = free_run.let_run(Wild(), make_unit(counts), fold)
    assert outcome.n_away.tolist() == [0, 0, 0, 4 * free_run.N_COPIES, 0]
    assert outcome.run.divergence_rate == 0.2
    gain = gain_interval(outcome.log_likelihood, outcome.log_likelihood, counts.sum(axis=1), 5)
    cells = free_run.row("M5 bounded", outcome, gain, gain).split(" | ")
    assert cells[:4] == ["| M5 bounded", "400 of 2000 (20 %)", "1 of 5", "+0.000 [+0.000, +0.000]"]


def test_one_copy_of_a_bounded_model_breaks_the_promise_and_those_of_others_do_not(make_unit):
    fold = np.repeat(np.arange(5), 2)
    counts = np.random.default_rng(7).poisson(0.05, (10, 100))
    stable = free_run.let_run(Constant(), make_unit(counts), fold)
    away = replace(stable, n_away=np.array([0, 0, 1, 0, 0]))
    outcomes = dict.fromkeys(free_run.models(), away) | dict.fromkeys(free_run.BOUNDED, stable)
    assert free_run.broken_promises(outcomes) == []
    assert free_run.broken_promises(outcomes | {"M5 bounded": away}) == ["M5 bounded"]


def test_the_promise_names_models_that_are_there():
    assert set(free_run.BOUNDED) < set(free_run.models())
    assert all(free_run.models()[name].link == "bounded" for name in free_run.BOUNDED)
