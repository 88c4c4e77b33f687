"""Oracle: pynwb, which wrote the files and reads them back."""

from __future__ import annotations

from datetime import UTC, datetime

import h5py
import numpy as np
import pynwb
import pytest
from pynwb.epoch import TimeIntervals

from cortexrnn import read_recording
from cortexrnn.errors import DataError, DataWarning, OptionError, UnsafeFileError

TIMES = [np.array([0.1, 0.2, 3.0]), np.array([1.5]), np.array([0.25, 4.0])]


def new_file():
    """An empty NWB file."""
    return pynwb.NWBFile("test", "id", datetime(2020, 1, 1, tzinfo=UTC))


def write(file, path):
    """Write with pynwb and give the path."""
    with pynwb.NWBHDF5IO(str(path), "w") as writer:
        writer.write(file)
    return path


@pytest.fixture
def rich(tmp_path):
    """Units with odd ids and metadata, trials, a custom table, and 0, 1 or 2 observed intervals a unit."""
    file = new_file()
    device = file.create_device(name="probe")
    group = file.create_electrode_group(name="shank0", description="", location="CA1", device=device)
    file.add_unit_column("quality", "good or mua")
    file.add_unit_column("depth", "um")
    intervals = [[[0.0, 5.0]], [[0.0, 1.0], [1.25, 5.0]], [[0.0, 2.0], [2.0, 5.0]]]
    for unit, times, observed, depth in zip([11, 3, 8], TIMES, intervals, [1.5, 2.5, 3.5], strict=True):
        file.add_unit(
            id=unit,
            spike_times=times,
            obs_intervals=observed,
            quality="good",
            depth=depth,
            electrode_group=group,
        )
    file.add_trial_column("stimulus_on", "s")
    file.add_trial_column("side", "choice")
    file.add_trial_column("correct", "bool")
    file.add_trial_column("path", "2-d", index=True)
    for k in range(3):
        file.add_trial(
            start_time=float(k),
            stop_time=k + 0.75,
            stimulus_on=k + 0.25,
            side="LR"[k % 2],
            correct=k > 0,
            path=[1.0] * k,
        )
    ripples = TimeIntervals(name="ripples", description="events")
    ripples.add_interval(start_time=0.5, stop_time=0.6)
    file.add_time_intervals(ripples)
    return write(file, tmp_path / "rich.nwb")


def test_spike_times_ids_and_columns_equal_pynwb(rich):
    recording = read_recording(rich)
    with pynwb.NWBHDF5IO(str(rich), "r") as reader:
        units = reader.read().units
        assert recording.unit_ids == units.id[:].tolist()
        for position, unit in enumerate(recording.unit_ids):
            np.testing.assert_array_equal(recording.spike_times_s(unit), units["spike_times"][position])
            np.testing.assert_allclose(
                recording.unit_observed(position) / 1e9, units["obs_intervals"][position], rtol=0, atol=1e-9
            )
        assert recording.units["quality"].tolist() == list(units["quality"][:])
        assert recording.units["depth"].tolist() == list(units["depth"][:])
    assert recording.units["electrode_group"].tolist() == ["shank0"] * 3


def test_trials_and_tables_equal_pynwb(rich):
    recording = read_recording(rich)
    with pynwb.NWBHDF5IO(str(rich), "r") as reader:
        expected = reader.read().trials.to_dataframe()
    assert recording.trials["start_s"].tolist() == expected["start_time"].tolist()
    assert recording.trials["stop_s"].tolist() == expected["stop_time"].tolist()
    for name in ("stimulus_on", "side", "correct"):
        assert recording.trials[name].tolist() == expected[name].tolist()
    assert recording.tables["ripples"].to_dict("list") == {"start_s": [0.5], "stop_s": [0.6]}


def test_what_cannot_be_represented_is_noted(rich):
    assert read_recording(rich).attrs["notes"] == [
        "trials: column 'path' has no single number or text a row and is left out"
    ]


def test_units_without_observed_intervals_are_read(tmp_path):
    file = new_file()
    for times in TIMES:
        file.add_unit(spike_times=times)
    recording = read_recording(write(file, tmp_path / "plain.nwb"))
    assert recording.unit_ids == [0, 1, 2]
    assert recording.attrs["observed"] == "inferred"
    assert recording.n_spikes == 6
    assert recording.trials.empty


def test_a_unit_without_spikes_is_kept_with_a_warning(tmp_path):
    file = new_file()
    file.add_unit(spike_times=TIMES[0])
    file.add_unit(spike_times=[])
    path = write(file, tmp_path / "silent.nwb")
    with pytest.warns(DataWarning, match=r"1 unit\(s\) have no spikes and are kept: 1"):
        assert read_recording(path).n_units == 2


def test_another_interval_table_may_serve_as_trials(rich):
    assert read_recording(rich, trials="ripples").trials["start_s"].tolist() == [0.5]
    with pytest.raises(
        OptionError, match=r"neither a file nor an interval table. The file has ripples, trials"
    ):
        read_recording(rich, trials="blinks")


def test_select_keeps_units_or_trials_by_column(rich):
    assert read_recording(rich, select={"depth": 2.5}).unit_ids == [3]
    assert read_recording(rich, select={"side": "L"}).trials["start_s"].tolist() == [0.0, 2.0]
    with pytest.raises(OptionError, match="no column 'colour' to select by"):
        read_recording(rich, select={"colour": "red"})


def test_a_file_without_units_says_what_it_holds(tmp_path):
    with pytest.raises(DataError, match=r"no table 'units'; it holds .*general"):
        read_recording(write(new_file(), tmp_path / "empty.nwb"))


def test_an_index_that_cuts_beyond_the_data_is_refused(rich):
    with h5py.File(rich, "a") as file:
        file["units/spike_times_index"][-1] = 200
    with pytest.raises(
        DataError, match="index of column 'spike_times' does not cut its 6 values into 3 rows"
    ):
        read_recording(rich)


@pytest.mark.parametrize("kind", ["link", "storage", "virtual"])
def test_files_that_name_other_files_are_refused(rich, tmp_path, kind):
    secret = tmp_path / "secret.bin"
    secret.write_bytes(b"\x00" * 64)
    with h5py.File(rich, "a") as file:
        if kind == "link":
            file["scratch"] = h5py.ExternalLink(str(secret), "/x")
        elif kind == "storage":
            file.create_dataset("stray", shape=(8,), dtype="f8", external=[(str(secret), 0, 64)])
        else:
            layout = h5py.VirtualLayout(shape=(8,), dtype="f8")
            layout[:] = h5py.VirtualSource(str(secret), "x", shape=(8,))
            file.create_virtual_dataset("stray", layout)
    with pytest.raises(UnsafeFileError, match="would read another file"):
        read_recording(rich)


def test_a_data_set_that_declares_more_than_the_file_may_hold_is_refused(rich):
    with h5py.File(rich, "a") as file:
        attributes = dict(file["units/spike_times"].attrs)
        del file["units/spike_times"]
        made = file["units"].create_dataset("spike_times", shape=(2**40,), dtype="f8", chunks=(1024,))
        made.attrs.update(attributes)
    with pytest.raises(DataError, match="declares 1099511627776 values"):
        read_recording(rich)


def test_an_option_that_nothing_could_use_is_refused(rich, tmp_path):
    for trials in (None, "trials"):
        with pytest.raises(OptionError, match="time_unit='ms' was given, but the times of an NWB file are in seconds"):
            read_recording(rich, time_unit="ms", trials=trials)
        with pytest.raises(OptionError, match="sample_rate_hz=30000 was given, but no time is in samples"):
            read_recording(rich, sample_rate_hz=30000, trials=trials)
    with pytest.raises(OptionError, match="variable='units' was given, but this is no MATLAB file"):
        read_recording(rich, variable="units")
    # A trials file may need both.
    table = tmp_path / "trials.csv"
    table.write_text("trial,start\n1,30000\n2,60000\n")
    recording = read_recording(rich, trials=table, time_unit="samples", sample_rate_hz=30000)
    np.testing.assert_array_equal(recording.trials["start_s"], [1.0, 2.0])
    with pytest.raises(OptionError, match="sample_rate_hz=30000 was given, but no time is in samples"):
        read_recording(rich, trials=table, time_unit="ms", sample_rate_hz=30000)
