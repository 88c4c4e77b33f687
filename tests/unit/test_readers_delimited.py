"""Oracle: tables written by hand, whose spikes can be read off."""

from __future__ import annotations

import numpy as np
import pytest

from cortexrnn import read_recording
from cortexrnn.errors import DataError, DataWarning, FileAccessError, OptionError, TimeUnitError
from cortexrnn.spikes.readers.time_units import split_header

ONE = "unit,time_s\n1,0.5\n2,0.25\n1,0.75\n"


def put(tmp_path, text, name="spikes.csv"):
    """Write a text file and give its path."""
    path = tmp_path / name
    path.write_bytes(text.encode() if isinstance(text, str) else text)
    return path


def test_units_are_sorted_numbers_with_their_times(tmp_path):
    recording = read_recording(put(tmp_path, ONE))
    assert recording.unit_ids == [1, 2]
    np.testing.assert_array_equal(recording.spike_times_s(1), [0.5, 0.75])
    assert recording.attrs["source"] == "spikes.csv"
    assert len(recording.attrs["sha256"]) == 64


@pytest.mark.parametrize(
    ("header", "scale"),
    [("time_s", 1), ("Time (ms)", 1e3), ("spike_time_us", 1e6), ("t [ns]", 1e9), ("times_seconds", 1)],
)
def test_the_header_tells_the_unit_of_time(tmp_path, header, scale):
    path = put(tmp_path, f"neuron;{header}\na;{0.25 * scale}\n", "spikes.txt")
    assert read_recording(path).ticks.tolist() == [250_000_000]


def test_headers_are_split_into_stem_and_unit():
    assert split_header("start_ms") == ("start", "ms")
    assert split_header("Valve Open (samples)") == ("valve open", "samples")
    assert split_header("stimulus_on") == ("stimulus_on", None)
    assert split_header("s") == ("s", None)


def test_the_unit_of_time_is_never_guessed(tmp_path):
    path = put(tmp_path, "unit,time\n1,0.5\n")
    with pytest.raises(TimeUnitError, match=r"'time' does not say its unit of time. Name it time_s, time_ms"):
        read_recording(path)
    assert read_recording(path, time_unit="ms").ticks.tolist() == [500_000]
    with pytest.raises(TimeUnitError, match="time_unit='minutes' is unknown"):
        read_recording(path, time_unit="minutes")


def test_header_and_option_must_not_contradict(tmp_path):
    with pytest.raises(TimeUnitError, match="is in s by its header, and time_unit='ms' was given"):
        read_recording(put(tmp_path, ONE), time_unit="ms")


def test_samples_need_their_rate_and_stay_exact(tmp_path):
    path = put(tmp_path, "cluster\ttime_samples\n1\t3\n1\t30001\n", "spikes.tsv")
    with pytest.raises(TimeUnitError, match="the sampling rate is not known"):
        read_recording(path)
    recording = read_recording(path, sample_rate_hz=30000)
    assert recording.ticks.tolist() == [3, 30001]
    assert recording.tick_hz == 30000.0


def test_an_option_that_nothing_could_use_is_refused(tmp_path):
    path = put(tmp_path, ONE)
    with pytest.raises(OptionError, match="variable='spikes' was given, but this is no MATLAB file"):
        read_recording(path, variable="spikes")
    with pytest.raises(OptionError, match="sample_rate_hz=30000 was given, but no time is in samples"):
        read_recording(path, sample_rate_hz=30000)
    with pytest.raises(OptionError, match="sample_rate_hz=nan was given"):
        read_recording(put(tmp_path, "unit,time\n1,0.5\n"), sample_rate_hz=float("nan"), time_unit="ms")


def test_a_sampling_rate_may_be_for_the_trials_only(tmp_path):
    spikes = put(tmp_path, ONE)
    trials = put(tmp_path, "trial,start_samples\n1,3000\n2,6000\n", "trials.csv")
    recording = read_recording(spikes, trials=trials, sample_rate_hz=30000)
    np.testing.assert_array_equal(recording.trials["start_s"], [0.1, 0.2])
    trials = put(tmp_path, "trial,start_s\n1,0.1\n2,0.2\n", "trials.csv")
    with pytest.raises(OptionError, match="sample_rate_hz=30000 was given, but no time is in samples"):
        read_recording(spikes, trials=trials, sample_rate_hz=30000)


def test_select_reads_one_data_set_and_a_mixture_is_named(tmp_path):
    path = put(tmp_path, "dataset,unit,time_s\nA,1,0.5\nB,1,0.25\nA,1,0.75\n")
    assert read_recording(path, select={"dataset": "A"}).n_spikes == 2
    with (
        pytest.warns(DataWarning, match=r"'dataset' has 2 values and is ignored; select="),
        pytest.warns(DataWarning, match="not sorted"),
    ):
        read_recording(path)
    with pytest.raises(OptionError, match="no row has"):
        read_recording(path, select={"dataset": "C"})
    with pytest.raises(
        OptionError, match=r"no column 'animal' to select by. The columns are dataset, unit, time_s"
    ):
        read_recording(path, select={"animal": "C"})


def test_trial_times_are_laid_on_a_synthetic_clock_with_gaps(tmp_path):
    path = put(tmp_path, "unit,trial,time_s\n1,1,0.5\n1,3,0.25\n2,1,0.75\n2,3,2.5\n")
    with pytest.warns(DataWarning, match="trials without any spike cannot be known"):
        recording = read_recording(path)
    assert recording.attrs["clock"] == "synthetic"
    assert recording.trials.index.tolist() == [1, 3]
    assert recording.attrs["notes"] == ["trials 2 have no spike and are not in the recording"]
    observed = recording.unit_observed(0)
    assert (observed[1:, 0] - observed[:-1, 1]).min() >= 0.5e9
    relative = recording.spike_times_s(2) - recording.trials["start_s"].to_numpy()
    np.testing.assert_allclose(relative, [0.75, 2.5], rtol=0, atol=1e-12)


def test_without_stops_the_window_ends_with_the_last_spike(tmp_path):
    path = put(tmp_path, "unit,trial,time_s\n1,1,0.5\n1,2,0.2504\n")
    with pytest.warns(DataWarning, match="cannot be known"):
        recording = read_recording(path)
    with pytest.warns(DataWarning, match="ends with the last spike of the data set, at 0.501 s"):
        trials = recording.align(history_s=0.0)
    assert trials.sizes["time"] == 501
    assert int(trials["counts"].sum()) == 2
    assert trials["observed"].values.all()


def test_a_trials_table_keeps_empty_trials_and_their_conditions(tmp_path):
    spikes = put(tmp_path, "unit,trial,time_s\n1,1,0.5\n1,3,0.25\n")
    table = put(
        tmp_path, "trial,duration_ms,odour,valve_s\n1,1000,a,0.1\n2,1000,b,0.1\n3,500,a,0.2\n", "trials.csv"
    )
    recording = read_recording(spikes, trials=table)
    trials = recording.align(bin_s=0.25, history_s=0.0, condition="odour")
    assert trials["counts"].values[:, :, 0].tolist() == [[0, 0, 1, 0], [0, 0, 0, 0], [0, 1, 0, 0]]
    assert trials["observed"].values[2, :, 0].tolist() == [True, True, False, False]
    assert trials["condition"].values.tolist() == ["a", "b", "a"]
    opened = recording.align("valve_s", (0.0, 0.5), bin_s=0.25, history_s=0.0)
    assert opened["counts"].values[:, :, 0].tolist() == [[0, 1], [0, 0], [1, 0]]


def test_negative_times_keep_their_zero(tmp_path):
    spikes = put(tmp_path, "unit,trial,time_s\n1,1,-0.5\n1,2,0.25\n")
    table = put(tmp_path, "trial,start_s,stop_s\n1,-1,1\n2,-1,1\n", "trials.csv")
    recording = read_recording(spikes, trials=table)
    trials = recording.align("zero_s", (-1.0, 1.0), bin_s=0.5, history_s=0.0)
    assert trials["counts"].values[:, :, 0].tolist() == [[0, 1, 0, 0], [0, 0, 1, 0]]


def test_spikes_after_a_documented_stop_are_kept_and_named(tmp_path):
    spikes = put(tmp_path, "unit,trial,time_s\n1,1,0.5\n1,1,10.974\n1,2,0.25\n")
    table = put(tmp_path, "trial,duration_s\n1,10\n2,10\n", "trials.csv")
    with pytest.warns(DataWarning, match="1 of 3 spikes lie outside their trials .last spike at 10.974 s"):
        recording = read_recording(spikes, trials=table)
    assert recording.n_spikes == 3
    assert int(recording.align()["counts"].sum()) == 2


def test_session_times_with_a_trials_table(tmp_path):
    spikes = put(tmp_path, "unit,time_s\n1,1.5\n1,5.25\n")
    table = put(tmp_path, "start_ms,stop_ms,cue,side\n1000,2000,1.2,L\n5000,6000,5.1,R\n", "trials.csv")
    recording = read_recording(spikes, trials=table)
    assert recording.trials["start_s"].tolist() == [1.0, 5.0]
    assert recording.attrs["clock"] == "session"
    with pytest.raises(TimeUnitError, match="column 'cue' of the trials file does not say its unit of time"):
        recording.align("cue", (0.0, 0.1))


def test_session_times_beside_trial_numbers_are_suspected(tmp_path):
    path = put(tmp_path, "unit,trial,time_s\n1,1,0.5\n1,2,10.5\n1,3,20.5\n")
    with (
        pytest.warns(DataWarning, match="cannot be known"),
        pytest.warns(DataWarning, match="look like session times"),
    ):
        read_recording(path)


def test_trials_tables_that_do_not_fit_are_refused(tmp_path):
    spikes = put(tmp_path, "unit,trial,time_s\n1,1,0.5\n1,9,0.25\n")
    with pytest.raises(DataError, match="spikes belong to trial 9, which the trials table does not list"):
        read_recording(spikes, trials=put(tmp_path, "trial,stop_s\n1,1\n", "t1.csv"))
    with pytest.raises(DataError, match="trial 1 is listed twice"):
        read_recording(spikes, trials=put(tmp_path, "trial,stop_s\n1,1\n1,1\n", "t2.csv"))
    with pytest.raises(DataError, match="a trial stops before it starts"):
        read_recording(spikes, trials=put(tmp_path, "trial,start_s,stop_s\n1,2,1\n9,0,1\n", "t3.csv"))
    with pytest.raises(TimeUnitError, match="column 'stop' does not say its unit of time"):
        read_recording(spikes, trials=put(tmp_path, "trial,stop\n1,2\n9,1\n", "t4.csv"))
    with pytest.raises(DataError, match="the trials table has no start"):
        read_recording(put(tmp_path, ONE, "session.csv"), trials=put(tmp_path, "trial\n1\n", "t5.csv"))
    with pytest.raises(FileAccessError, match="the path is a directory"):
        read_recording(spikes, trials=tmp_path)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("unit,time_s\n1,0.5\n1,x\n", r"row 3, column 'time_s': 'x' is not a number"),
        ("unit,time_s\n1,1_000\n", r"row 2, column 'time_s': '1_000' is not a number"),
        ("unit,time_s\n1,0.5,3\n", "row 2 has 3 cells; the header has 2"),
        ("unit,time_s\n\n1,0.5\n1\n", "row 4 has 1 cells"),
        ("unit,time_s\n,0.5\n", "row 2, column 'unit': the cell is empty"),
        ("unit,time_s\n1,nan\n1,\n", "unit 1: 2 times are empty, NaN or infinite"),
        ("unit,time_s\n", "a header and no rows"),
        ("  \n\n", "the file is empty"),
        ("unit,unit,time_s\n1,1,1\n", "has an empty or a repeated name"),
        (
            "channel,time_s\n1,1\n",
            "no unit column; the columns are channel, time_s. Expected unit, neuron or cluster",
        ),
        ("unit,onset\n1,1\n", "no time column"),
        ("unit,cluster,time_s\n1,1,1\n", "several columns hold a unit: unit, cluster"),
        (b"unit,time_s\n\xff,1\n", "is no UTF-8 text .byte 12."),
        ('unit,time_s\n"1,1\n', "row 2: unexpected end of data"),
    ],
)
def test_malformed_tables_name_the_row(tmp_path, text, message):
    with pytest.raises(DataError, match=message):
        read_recording(put(tmp_path, text))


def test_blanks_and_a_byte_order_mark_do_no_harm(tmp_path):
    recording = read_recording(put(tmp_path, "\ufeff\n unit , time_s \n 1 , 0.5 \n1,0.75\n\n"))
    assert recording.unit_ids == [1]
    assert recording.n_spikes == 2


@pytest.mark.parametrize("cell", ["1e300", "-1e300", "1e12"])
def test_times_beyond_the_clock_are_refused_with_and_without_trials(tmp_path, cell):
    with pytest.raises(DataError, match="beyond the clock"):
        read_recording(put(tmp_path, f"unit,time_s\n1,{cell}\n"))
    with (
        pytest.warns(DataWarning, match="cannot be known"),
        pytest.raises(DataError, match="beyond the clock"),
    ):
        read_recording(put(tmp_path, f"unit,trial,time_s\n1,1,{cell}\n", "t.csv"))


def test_an_infinite_trial_stop_is_refused(tmp_path):
    spikes = put(tmp_path, "unit,trial,time_s\n1,1,0.5\n")
    with pytest.raises(DataError, match="trial stops: 1 of 1 times are NaN or infinite"):
        read_recording(spikes, trials=put(tmp_path, "trial,stop_s\n1,inf\n", "trials.csv"))
