"""Oracle: hand-written arrays, and the arrays themselves after a way through another format."""

from __future__ import annotations

import neo
import numpy as np
import pandas as pd
import pytest
import quantities as pq
import xarray as xr

from cortexrnn import Recording, read_recording
from cortexrnn.errors import DataError, DataWarning, NoTrialsError, OptionError


@pytest.fixture
def recording():
    """Three units with text ids, trials with every kind of column, observed intervals that differ by unit."""
    trials = pd.DataFrame(
        {
            "start_s": [1.0, 3.5],
            "stop_s": [2.0, 4.25],
            "side": ["left", "right"],
            "contrast": [0.5, np.nan],
            "correct": [True, False],
        },
        index=pd.Index([4, 7], name="trial"),
    )
    with pytest.warns(DataWarning, match=r"1 unit\(s\) have no spikes and are kept: c"):
        made = Recording.from_arrays(
            {"a": np.array([0.1, 1.25, 1.25, 3.999999999]), "b": np.array([2.0]), "c": np.array([])},
            trials=trials,
            observed_s=[np.array([[0.0, 5.0]]), np.array([[0.0, 1.5], [1.75, 5.0]]), np.empty((0, 2))],
            attrs={"source": "made"},
        )
    return Recording(
        ticks=made.ticks,
        offsets=made.offsets,
        tick_hz=made.tick_hz,
        observed_ticks=made.observed_ticks,
        observed_offsets=made.observed_offsets,
        units=pd.DataFrame({"depth": [1.5, 2.5, 3.5], "layer": ["II", "V", "V"]}, index=made.units.index),
        trials=made.trials,
        tables={"licks": pd.DataFrame({"start_s": [0.5, 1.5], "stop_s": [0.6, 1.6]})},
        attrs=made.attrs,
    )


def assert_same(one, other):
    """Compare everything that a recording holds."""
    for name in ("ticks", "offsets", "observed_ticks", "observed_offsets"):
        np.testing.assert_array_equal(getattr(one, name), getattr(other, name))
    assert one.tick_hz == other.tick_hz
    assert one.unit_ids == other.unit_ids
    loose = {
        "check_dtype": False,
        "check_index_type": False,
        "check_column_type": False,
        "check_names": False,
    }
    pd.testing.assert_frame_equal(one.units, other.units, check_like=True, **loose)
    pd.testing.assert_frame_equal(one.trials, other.trials, check_like=True, **loose)
    assert list(one.tables) == list(other.tables)
    for name in one.tables:
        pd.testing.assert_frame_equal(one.tables[name], other.tables[name], check_like=True, **loose)
    assert {name: one.attrs[name] for name in ("clock", "observed")} == {
        name: other.attrs[name] for name in ("clock", "observed")
    }


def test_times_become_nanosecond_ticks_with_offsets(recording):
    np.testing.assert_array_equal(
        recording.ticks, [100000000, 1250000000, 1250000000, 3999999999, 2000000000]
    )
    np.testing.assert_array_equal(recording.offsets, [0, 4, 5, 5])
    assert recording.attrs["n_duplicates"] == 1
    np.testing.assert_array_equal(recording.spike_times_s("a"), [0.1, 1.25, 1.25, 3.999999999])
    assert (recording.n_units, recording.n_spikes, recording.duration_s) == (3, 5, 5.0)


def test_sample_times_keep_their_sample_numbers():
    samples = np.array([1, 3, 12799, 12801])
    recording = Recording.from_arrays([samples / 12800.0], tick_hz=12800.0)
    np.testing.assert_array_equal(recording.ticks, samples)


def test_an_inferred_span_runs_from_first_to_last_spike_or_trial_edge():
    trials = pd.DataFrame({"start_s": [0.5], "stop_s": [1.0]})
    recording = Recording.from_arrays([np.array([0.75, 2.0])], trials=trials, tick_hz=1000.0)
    np.testing.assert_array_equal(recording.observed_ticks, [[500, 2001]])
    assert recording.attrs["observed"] == "inferred"


def test_unsorted_times_are_sorted_with_a_warning():
    with pytest.warns(DataWarning, match="unit 0: spike times were not sorted"):
        recording = Recording.from_arrays([np.array([3.0, 1.0, 2.0])])
    np.testing.assert_array_equal(recording.spike_times_s(0), [1.0, 2.0, 3.0])


def test_nan_times_are_refused_with_unit_and_count():
    with pytest.raises(DataError, match=r"unit B: 2 of 3 times are NaN or infinite"):
        Recording.from_arrays({"A": np.array([1.0]), "B": np.array([1.0, np.nan, np.inf])})


def test_times_beyond_the_clock_are_refused():
    with pytest.raises(DataError, match="beyond the clock"):
        Recording.from_arrays([np.array([1e12])])


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"offsets": np.array([0, 2])}, "offsets does not cut 3 rows"),
        ({"ticks": np.array([3, 2, 1])}, "ticks is not sorted"),
        ({"ticks": np.array([1.0, 2.0, 3.0])}, "has dtype float64"),
        ({"observed_ticks": np.array([[5, 1]])}, "stops before it starts"),
        ({"observed_ticks": np.array([5, 1])}, r"has shape \(2,\)"),
        ({"trials": pd.DataFrame({"onset": [1.0]})}, "no column 'start_s'"),
        ({"units": pd.DataFrame(index=[1, 1]), "offsets": np.array([0, 1, 3])}, "unit id 1 occurs twice"),
    ],
)
def test_parts_that_do_not_fit_are_refused(change, message):
    good = {
        "ticks": np.array([1, 2, 3]),
        "offsets": np.array([0, 3]),
        "tick_hz": 1000.0,
        "observed_ticks": np.array([[0, 10]]),
        "observed_offsets": np.array([0, 1]),
        "units": pd.DataFrame(index=[0]),
    }
    Recording(**good)
    with pytest.raises(DataError, match=message):
        Recording(**{**good, **change})


def test_select_keeps_units_in_the_asked_order(recording):
    chosen = recording.select(units=["b", "a"])
    assert chosen.unit_ids == ["b", "a"]
    np.testing.assert_array_equal(chosen.spike_times_s("a"), recording.spike_times_s("a"))
    np.testing.assert_array_equal(chosen.unit_observed(0), recording.unit_observed(1))
    assert chosen.units["depth"].tolist() == [2.5, 1.5]


def test_units_are_found_by_the_text_of_their_number():
    recording = Recording.from_arrays({3: np.array([1.0]), 5: np.array([2.0])})
    assert recording.positions(["5", 3]) == [1, 0]
    with pytest.raises(OptionError, match=r"no unit '4'. The units are 3, 5"):
        recording.positions(["4"])


def test_select_trials_by_column_and_by_mask(recording):
    assert recording.select_trials(side="right").trials.index.tolist() == [7]
    assert recording.select_trials([True, False]).trials.index.tolist() == [4]
    with pytest.raises(NoTrialsError, match="no trial of 2"):
        recording.select_trials(side="up")
    with pytest.raises(OptionError, match=r"no column 'colour'. It has start_s, stop_s, side"):
        recording.select_trials(colour="red")
    with pytest.raises(OptionError, match=r"mask has dtype int64 and shape \(1,\)"):
        recording.select_trials([1])


def test_neo_round_trip_is_lossless(recording):
    with pytest.warns(DataWarning, match="have no spikes"):
        assert_same(recording, Recording.from_neo(recording.to_neo()))


def test_xarray_round_trip_is_lossless_through_a_file(recording, tmp_path):
    recording.to_xarray().to_netcdf(tmp_path / "r.nc", engine="h5netcdf")
    with xr.open_dataset(tmp_path / "r.nc", engine="h5netcdf") as dataset:
        assert_same(recording, Recording.from_xarray(dataset.load()))


def test_nwb_round_trip_is_lossless(recording, tmp_path):
    path = recording.to_nwb(tmp_path / "r.nwb")
    with pytest.warns(DataWarning, match="have no spikes"):
        assert_same(recording, read_recording(path))


def test_neo_units_of_time_are_honoured():
    train = neo.SpikeTrain([100.0, 250.0] * pq.ms, t_start=50 * pq.ms, t_stop=0.3 * pq.s)
    segment = neo.Segment()
    segment.spiketrains.append(train)
    segment.epochs.append(neo.Epoch([0.1] * pq.s, durations=[50.0] * pq.ms, labels=["go"], name="trials"))
    block = neo.Block()
    block.segments.append(segment)
    recording = Recording.from_neo(block)
    np.testing.assert_array_equal(recording.ticks, [100000000, 250000000])
    np.testing.assert_array_equal(recording.observed_ticks, [[50000000, 300000000]])
    assert recording.trials.to_dict("list") == {
        "start_s": [0.1],
        "stop_s": [pytest.approx(0.15)],
        "label": ["go"],
    }


def test_a_neo_block_of_several_segments_is_refused():
    block = neo.Block()
    block.segments += [neo.Segment(), neo.Segment()]
    with pytest.raises(DataError, match="the block has 2 segments; expected one"):
        Recording.from_neo(block)


def test_from_xarray_refuses_another_dataset():
    with pytest.raises(DataError, match="has format None"):
        Recording.from_xarray(xr.Dataset())


def test_a_recording_shows_itself_in_one_line():
    recording = Recording.from_arrays([np.array([0.1, 0.5]), np.array([0.2])], observed_s=np.array([[0.0, 2.0]]))
    assert repr(recording) == "<Recording: 2 units, 3 spikes, 0 trials, 2 s, from arrays>"
