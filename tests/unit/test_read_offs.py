"""Reading off every unit of a recording. Oracle: `read_off` of the same rung fitted to the same unit."""

from __future__ import annotations

import json

import numpy as np
import pytest

from cortexrnn.encoding import PSTH, HistoryGLM, unit_trials
from cortexrnn.encoding.read_off import read_off
from cortexrnn.errors import DataError, OptionError
from cortexrnn.evaluation import RunSettings
from cortexrnn.evaluation.read_offs import read_off_units
from cortexrnn.report import write_report
from cortexrnn.report.on_demand import read_off_rows
from cortexrnn.spikes.generate import simulate_spikes
from cortexrnn.spikes.trial_design import TrialDesign

QUIET = RunSettings(workers=1)
M5 = HistoryGLM()


@pytest.fixture(scope="module")
def trials():
    """A unit with a dead time of 4 ms and a silent one, 20 trials of 0.6 s."""
    design = TrialDesign(n_trials=20, duration_s=0.6, history_s=0.1)
    counts = simulate_spikes(design.rate_hz(60.0), 0.001, dead_time_s=0.004, seed=1)
    return design.trials(np.stack([counts, np.zeros_like(counts)], axis=2))


@pytest.fixture(scope="module")
def found(trials):
    """What was read off its M5."""
    return read_off_units(trials, models={"M1": PSTH(), "M5": M5}, run=QUIET)


def test_a_unit_is_read_off_as_alone_and_a_silent_one_is_left_out(trials, found):
    unit = unit_trials(trials, 0)
    # Trials last 0.7 s with their history: responses fit into less than half of that.
    expected = read_off(M5.fit(unit), unit, lag_s=0.349).to_dict()
    assert found.attrs["name"] == "M5"
    assert found["unit"].values.tolist() == ["0"]
    assert json.loads(found["details"].values[0]) == json.loads(json.dumps(expected))
    modes = [mode for loop in expected["loops"] for mode in loop["modes"]]
    assert found["tau_s"].values.tolist() == [mode["tau_s"] for mode in modes]
    assert np.isnan(found["n_fixed_points"].values).all()


def test_rows_hold_the_mode_that_turns_or_else_the_strongest(found):
    (row,) = read_off_rows(found)
    for loop in json.loads(found["details"].values[0])["loops"]:
        mode = loop["rotation"] or loop["modes"][0]
        assert row["loops"][loop["label"]] == mode
    assert row["n_fixed_points"] is None


def test_the_page_shows_figure_and_table(found, report_summary, report_panels, tmp_path):
    report_summary["units"] = report_summary["units"][:1]
    page = write_report(
        tmp_path / "report.html", report_summary, report_panels, extras={"read_off": found}
    ).read_text(encoding="utf-8")
    assert "Time scales and fixed points, unit by unit" in page
    assert "Time constants and frequencies of M5, fitted to all trials of 1 units" in page


def test_a_second_run_takes_what_the_first_has_written(trials, found, tmp_path):
    run = RunSettings(workers=1, folder=tmp_path)
    models = {"M5": M5}
    first, again = (read_off_units(trials, models=models, run=run) for _ in range(2))
    assert first.identical(again)
    assert first["details"].values.tolist() == found["details"].values.tolist()


def test_what_cannot_be_read_off_is_refused(trials):
    with pytest.raises(OptionError, match="none that can be read off"):
        read_off_units(trials, models={"M1": PSTH()}, run=QUIET)
    with pytest.raises(DataError, match="no unit has a spike"):
        read_off_units(trials.isel(unit=[1]), models={"M5": M5}, run=QUIET)
