"""Oracle: recordings that were spoiled on purpose, and closed forms."""

from __future__ import annotations

import json
import math

import numpy as np
import pandas as pd
import pytest
from elephant import statistics

from cortexrnn import Recording, doctor, foreign_spikes

SEED = 4


def poisson(rate_hz, duration_s, seed=SEED):
    """Sorted times of a Poisson process with a dead time of 3 ms."""
    rng = np.random.default_rng(seed)
    isi = 0.003 + rng.exponential(1.0 / rate_hz - 0.003, size=int(2 * rate_hz * duration_s))
    times = np.cumsum(isi)
    return times[times < duration_s]


def warnings_of(report):
    """The texts of the warnings."""
    return [finding.text for finding in report.findings if finding.severity == "warning"]


def test_a_clean_recording_has_nothing_to_warn_of():
    report = doctor(Recording.from_arrays([poisson(10.0, 600.0)], observed_s=np.array([[0.0, 600.0]])))
    assert warnings_of(report) == []
    assert report.findings[0].severity == "ok"


def test_the_table_of_units_holds_what_can_be_worked_out_by_hand():
    times = np.array([0.0, 0.001, 0.011, 0.511, 0.511])
    report = doctor(Recording.from_arrays([times], observed_s=np.array([[0.0, 2.0]])))
    row = report.units.iloc[0]
    assert row["n_spikes"] == 5
    assert row["rate_hz"] == 2.5
    assert row["n_duplicates"] == 1
    assert row["isi_min_s"] == pytest.approx(0.001, abs=1e-12)
    assert row["refractory_fraction"] == pytest.approx(1 / 3, rel=1e-12)


@pytest.mark.parametrize(("rate_hz", "n_spikes"), [(5.0, 259), (20.0, 63), (50.0, 24)])
def test_the_smallest_dead_time_is_that_of_the_power_table(rate_hz, n_spikes):
    # Ladder target V10: so many spikes show a dead time of 3 ms with 80 % power; n is rounded there (2 %).
    times = np.arange(n_spikes) / rate_hz
    report = doctor(Recording.from_arrays([times], observed_s=np.array([[0.0, n_spikes / rate_hz]])))
    assert report.units["dead_time_min_s"].iloc[0] == pytest.approx(0.003, rel=0.02)


def test_seconds_read_as_milliseconds_are_suspected():
    report = doctor(Recording.from_arrays([1e-3 * poisson(10.0, 600.0)]))
    assert any("seconds that were read as milliseconds" in text for text in warnings_of(report))


def test_milliseconds_read_as_seconds_are_suspected():
    report = doctor(Recording.from_arrays([1e3 * poisson(10.0, 600.0)]))
    assert any("milliseconds that were read as seconds" in text for text in warnings_of(report))


def test_samples_read_as_seconds_are_suspected():
    report = doctor(Recording.from_arrays([np.round(30000.0 * poisson(10.0, 600.0))]))
    texts = warnings_of(report)
    assert any("all spike times are whole seconds" in text for text in texts)
    assert any("samples that were read as seconds" in text for text in texts)


def test_intervals_across_a_gap_are_not_intervals():
    observed = np.array([[0.0, 1.0], [10.0, 11.0]])
    report = doctor(Recording.from_arrays([np.array([0.5, 0.6, 10.5, 10.6])], observed_s=observed))
    assert report.units["cv"].iloc[0] == pytest.approx(0.0, abs=1e-6)
    assert any("1 units have gaps" in finding.text for finding in report.findings)


def test_a_silence_of_all_units_is_named():
    times = np.concatenate([poisson(20.0, 100.0), 400.0 + poisson(20.0, 100.0, seed=5)])
    texts = warnings_of(doctor(Recording.from_arrays([times])))
    assert any("no unit fires for 300" in text for text in texts)


def test_times_that_restart_with_every_trial_are_suspected():
    trials = pd.DataFrame({"start_s": np.arange(20) * 10.0})
    texts = warnings_of(doctor(Recording.from_arrays([poisson(20.0, 2.0)], trials=trials)))
    assert any("restart with every trial" in text for text in texts)


def test_overlapping_outside_and_few_trials_are_named():
    trials = pd.DataFrame({"start_s": [1.0, 1.5, 500.0], "stop_s": [2.0, 2.5, 501.0]})
    recording = Recording.from_arrays(
        [poisson(20.0, 100.0)], trials=trials, observed_s=np.array([[0.0, 100.0]])
    )
    texts = warnings_of(doctor(recording))
    assert any("1 of 3 trials start outside the recording" in text for text in texts)
    assert any("1 trials start before the one before has stopped" in text for text in texts)
    assert any("fewer than 10 trials (3)" in text for text in texts)


def test_refractory_violations_are_named():
    times = np.sort(np.concatenate([poisson(10.0, 300.0), 0.001 + poisson(10.0, 300.0)[::10]]))
    texts = warnings_of(doctor(Recording.from_arrays({"u7": times})))
    assert any("over 1 % of their intervals below 2 ms" in text and "u7" in text for text in texts)


def test_the_share_of_foreign_spikes_is_that_of_the_estimator():
    """Oracle: `foreign_spikes` of a unit with a tenth of its spikes from another one."""
    times = np.sort(np.concatenate([poisson(20.0, 600.0), poisson(2.0, 600.0, seed=9)]))
    report = doctor(Recording.from_arrays([times], observed_s=np.array([[0.0, 600.0]]), tick_hz=1e9))
    expected = foreign_spikes(times, 600.0, refractory_s=0.002, censored_s=5e-6)
    row = report.units.iloc[0]
    # Ticks of a nanosecond move no pair over the limits.
    assert row[["foreign_share", "foreign_low", "foreign_high"]].tolist() == pytest.approx(expected[:3], rel=1e-9)
    assert 0.05 < row["foreign_share"] < 0.15


def test_spikes_on_both_sides_of_a_gap_are_no_violation():
    observed = np.array([[0.0, 1.0], [1.001, 2.0]])
    report = doctor(Recording.from_arrays([np.array([0.5, 0.9999, 1.0011, 1.5])], observed_s=observed))
    assert report.units["foreign_share"].iloc[0] == 0.0


def test_more_violations_than_foreign_spikes_could_make_are_called_so():
    doublets = np.sort(np.concatenate([poisson(10.0, 300.0), 0.0015 + poisson(10.0, 300.0)]))
    texts = warnings_of(doctor(Recording.from_arrays([doublets])))
    assert any("not even all could be" in text for text in texts)


def test_the_local_variation_is_elephants():
    times = poisson(20.0, 60.0)
    report = doctor(Recording.from_arrays([times], tick_hz=1e9))
    # Ticks of a nanosecond move an interval of 3 ms or more by less than a millionth.
    assert report.units["lv"].iloc[0] == pytest.approx(statistics.lv(np.diff(times)), rel=1e-5)


def test_the_local_variation_pairs_no_intervals_across_a_gap():
    observed = np.array([[0.0, 1.0], [10.0, 11.0]])
    report = doctor(Recording.from_arrays([np.array([0.1, 0.2, 0.3, 10.1, 10.5, 10.9])], observed_s=observed))
    assert report.units["lv"].iloc[0] == pytest.approx(0.0, abs=1e-9)


def test_a_rate_that_doubles_is_called_drift():
    times = np.concatenate([poisson(5.0, 600.0), 600.0 + poisson(20.0, 600.0, seed=5)])
    report = doctor(Recording.from_arrays([times]))
    assert abs(report.units["trend_z"].iloc[0]) > 3.0
    assert any("not stationary" in finding.text for finding in report.findings)


def in_trials(counts, lengths_s):
    """A recording with so many spikes in trials of these lengths, ten seconds apart, and what lies between."""
    starts = 10.0 * np.arange(len(counts))
    rows = zip(starts, counts, lengths_s, strict=True)
    times = [start + np.arange(n) * (length / n) for start, n, length in rows]
    trials = pd.DataFrame({"start_s": starts, "stop_s": starts + lengths_s})
    observed = np.array([[0.0, 10.0 * len(counts)]])
    return Recording.from_arrays([np.sort(np.concatenate([*times, starts + 5.0]))], trials=trials, observed_s=observed)


def test_the_fano_factor_is_that_of_the_trials():
    """Oracle: variance over mean of 2, 4, 6, 4, 4 is 2 / 4; the spikes between trials do not count."""
    row = doctor(in_trials([2, 4, 6, 4, 4], np.full(5, 2.0))).units.iloc[0]
    assert row["fano"] == pytest.approx(0.5, rel=1e-12)


def test_longer_trials_are_expected_to_hold_more_spikes():
    """Counts that grow with the length of the trial: no variance beyond it, and no trend."""
    lengths_s = np.array([1.0, 2.0, 3.0, 4.0, 4.0])
    row = doctor(in_trials([2, 4, 6, 8, 8], lengths_s)).units.iloc[0]
    assert row["fano"] == pytest.approx(0.0, abs=1e-12)
    assert row["trend_z"] == pytest.approx(0.0, abs=1e-6)


def test_trials_in_which_nobody_recorded_do_not_count():
    recording = in_trials([4, 4, 4, 4, 4, 4], np.full(6, 2.0))
    trials = pd.concat([recording.trials, pd.DataFrame({"start_s": [1e300], "stop_s": [np.inf]}, index=[6])])
    part = Recording.from_arrays(
        [recording.spike_times_s(0)[5:]], trials=trials, observed_s=np.array([[9.0, 60.0]])
    )
    assert doctor(part).units["fano"].iloc[0] == pytest.approx(0.0, abs=1e-12)


def test_columns_that_nobody_can_know_are_left_out_of_the_text():
    report = doctor(Recording.from_arrays([poisson(10.0, 100.0)]))
    assert math.isnan(report.units["fano"].iloc[0])
    assert "fano" not in str(report)
    assert "NaN" not in str(report)
    assert report.to_dict()["units"][0]["fano"] is None
    assert "fano" in str(doctor(in_trials([2, 4, 6, 4, 4], np.full(5, 2.0))))


def test_the_report_is_text_and_strict_json():
    with pytest.warns(UserWarning, match="have no spikes"):
        recording = Recording.from_arrays(
            {"a": poisson(10.0, 100.0), "b": np.array([])}, attrs={"source": "x.csv"}
        )
    report = doctor(recording)
    assert str(report).startswith("x.csv: 2 units")
    as_dict = json.loads(json.dumps(report.to_dict(), allow_nan=False))
    assert [row["unit"] for row in as_dict["units"]] == ["a", "b"]
    assert as_dict["units"][1]["cv"] is None
    assert math.isfinite(as_dict["units"][0]["cv"])


def test_an_empty_recording_is_a_finding_and_no_crash():
    assert warnings_of(doctor(Recording.from_arrays([]))) == ["the recording has no units."]
