"""Objects of other libraries. Oracle: Brian2 itself, and stand-ins that can do what the real objects can.

The stand-ins were compared with pynapple 0.11 and SpikeInterface 0.105 by hand.
"""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest

from cortexrnn import Recording
from cortexrnn.errors import DataError, DataWarning, OptionError, TimeUnitError
from cortexrnn.spikes.live import spike_arrays


class Intervals(SimpleNamespace):
    """As pynapple's IntervalSet."""

    def __len__(self):
        return len(self.values)


class Group(dict):
    """As pynapple's TsGroup."""

    time_support = Intervals(values=np.array([[0.0, 5.0], [10.0, 20.0]]))
    metadata = pd.DataFrame({"rate": [0.2, 0.1], "area": ["V1", "V2"]}, index=[3, 9])


class Sorting:
    """As SpikeInterface's BaseSorting."""

    def __init__(self, *segments):
        self.segments = segments

    def get_num_segments(self):
        return len(self.segments)

    def get_unit_ids(self):
        return np.array(list(self.segments[0]))

    def get_sampling_frequency(self):
        return 30_000.0

    def get_unit_spike_train(self, unit_id, segment_index=None):
        return self.segments[segment_index][str(unit_id)]

    def get_property_keys(self):
        return ["quality", "location"]

    def get_property(self, key):
        return {"quality": np.array(["good", "mua"]), "location": np.zeros((2, 2))}[key]


def test_a_table_of_spikes_keeps_its_ids_and_times():
    table = pd.DataFrame({"unit": ["b", "a", "b"], "time_ms": [1.5, 2.0, 4.0], "amplitude": [1, 2, 3]})
    recording = Recording.from_pandas(table)
    assert recording.unit_ids == ["a", "b"]
    assert recording.spike_times_s("b").tolist() == [0.0015, 0.004]


def test_samples_of_a_table_stay_samples():
    table = pd.DataFrame({"cluster": [7, 7, 5], "t": [10, 20, 15]})
    recording = Recording.from_pandas(table, unit="cluster", time_unit="samples", sample_rate_hz=30_000)
    assert (recording.unit_ids, recording.ticks.tolist()) == ([5, 7], [15, 10, 20])
    assert recording.tick_hz == 30_000


def test_a_table_with_trials_goes_onto_the_synthetic_clock():
    table = pd.DataFrame({"unit": [1, 1, 1], "trial": ["x", "x", "z"], "time_s": [0.1, 0.2, 0.1]})
    trials = pd.DataFrame({"stop_s": [1.0, 1.0, 1.0], "side": list("LRL")}, index=["x", "y", "z"])
    recording = Recording.from_pandas(table, trials=trials)
    counts = recording.align(window_s=(0.0, 1.0), bin_s=0.5, history_s=0.0)["counts"].values
    assert counts[..., 0].sum(axis=1).tolist() == [2, 0, 1]
    assert recording.trials["side"].tolist() == ["L", "R", "L"]


@pytest.mark.parametrize(
    ("columns", "options", "error", "message"),
    [
        ({"unit": [1], "t": [1.0]}, {}, TimeUnitError, "does not say its unit of time"),
        ({"unit": [1], "x": [1.0]}, {}, OptionError, "0 columns could hold the times"),
        ({"unit": [1], "t_s": [1.0], "time_ms": [1.0]}, {}, OptionError, "2 columns could hold the times"),
        ({"unit": [1], "t_s": [1.0]}, {"unit": "neuron"}, OptionError, "no column 'neuron'. It has unit, t_s"),
        ({"unit": [None], "t_s": [1.0]}, {}, DataError, "1 rows have no unit"),
        ({"unit": [1], "t_s": ["x"]}, {}, DataError, "1 of 1 times are NaN"),
        ({"unit": [1], "t_s": [np.nan]}, {}, DataError, "1 of 1 times are NaN"),
        ({"unit": [1], "t_s": [1.0]}, {"time_unit": "ms"}, TimeUnitError, "in s by its header"),
        ({"unit": [1], "t_s": [1.0]}, {"sample_rate_hz": 1000}, OptionError, "no time is in samples"),
        ({"unit": [1], "t_samples": [1]}, {}, TimeUnitError, "the sampling rate is not known"),
    ],
)
def test_a_table_that_cannot_be_read_says_why(columns, options, error, message):
    with pytest.raises(error, match=message):
        Recording.from_pandas(pd.DataFrame(columns), **options)


def test_the_time_support_of_pynapple_is_what_was_observed():
    group = Group({3: SimpleNamespace(t=np.array([0.5, 12.0])), 9: SimpleNamespace(t=np.array([1.25]))})
    epochs = Intervals(values=np.array([[0.0, 2.0], [10.0, 12.5]]), metadata=pd.DataFrame({"side": ["L", "R"]}))
    recording = Recording.from_pynapple(group, epochs)
    assert recording.unit_ids == [3, 9]
    assert recording.ticks.tolist() == [500_000_000, 12_000_000_000, 1_250_000_000]
    assert recording.observed_ticks[:2].tolist() == [[0, 5_000_000_000], [10_000_000_000, 20_000_000_000]]
    assert recording.units["area"].tolist() == ["V1", "V2"]
    assert recording.trials.to_dict("list") == {"start_s": [0.0, 10.0], "stop_s": [2.0, 12.5], "side": ["L", "R"]}


def test_a_single_train_of_pynapple_is_one_unit():
    single = SimpleNamespace(t=np.array([0.5, 1.0]), time_support=Intervals(values=np.array([[0.0, 2.0]])))
    assert Recording.from_pynapple(single).ticks.tolist() == [500_000_000, 1_000_000_000]
    with pytest.raises(DataError, match="a list is no pynapple TsGroup or Ts"):
        Recording.from_pynapple([1.0])


def test_samples_of_a_sorting_stay_samples():
    recording = Recording.from_spikeinterface(Sorting({"a": np.array([10, 300, 300]), "b": np.array([7])}))
    assert (recording.unit_ids, recording.ticks.tolist()) == (["a", "b"], [10, 300, 300, 7])
    assert recording.tick_hz == 30_000
    assert recording.units.to_dict("list") == {"quality": ["good", "mua"]}


def test_segments_of_a_sorting_are_named():
    sorting = Sorting(*({"a": np.array([k + 1]), "b": np.array([k + 5])} for k in range(2)))
    with pytest.raises(OptionError, match=r"the sorting has 2 segments. Give segment_index"):
        Recording.from_spikeinterface(sorting)
    with pytest.raises(OptionError, match="segment_index=2 is beyond the 2 segments"):
        Recording.from_spikeinterface(sorting, segment_index=2)
    assert Recording.from_spikeinterface(sorting, segment_index=1).ticks.tolist() == [2, 6]


def test_times_in_seconds_are_no_samples_of_a_sorting():
    with pytest.raises(DataError, match="unit a: samples have dtype float64; expected integers"):
        Recording.from_spikeinterface(Sorting({"a": np.array([0.5]), "b": np.array([1])}))


def test_what_brian2_plays_is_what_its_monitor_hears():
    import brian2

    with pytest.warns(DataWarning, match="1 unit.s. have no spikes"):
        recording = Recording.from_arrays([np.array([0.0003, 0.001]), np.array([]), np.array([0.0003])], tick_hz=1e4)
    generator = recording.to_spike_generator(dt=0.1 * brian2.ms)
    monitor = brian2.SpikeMonitor(generator)
    network = brian2.Network(generator, monitor)
    before = brian2.prefs.codegen.target
    brian2.prefs.codegen.target = "numpy"
    try:
        network.run(2 * brian2.ms)
    finally:
        brian2.prefs.codegen.target = before
    with pytest.warns(DataWarning, match="1 unit.s. have no spikes"):
        heard = Recording.from_brian2(monitor, duration_s=0.002)
    assert heard.tick_hz == 1e4
    np.testing.assert_array_equal(heard.ticks, recording.ticks)
    np.testing.assert_array_equal(heard.offsets, recording.offsets)
    assert heard.observed_ticks.tolist() == [[0, 20]] * 3


def test_the_monitor_of_brian2_needs_as_many_indices_as_times():
    with pytest.raises(DataError, match="2 indices and 1 times; expected as many"):
        Recording.from_brian2(SimpleNamespace(i=[0, 1], t=[0.1]))


def test_times_between_steps_become_nanoseconds():
    clock = SimpleNamespace(dt=1e-4)
    monitor = SimpleNamespace(i=[1, 0], t=[0.00013, 0.0005], clock=clock, source=range(2))
    recording = Recording.from_brian2(monitor)
    assert recording.tick_hz == 1e9
    assert recording.ticks.tolist() == [500_000, 130_000]


def test_spikes_are_given_in_the_order_of_time():
    recording = Recording.from_arrays([np.array([0.1, 0.3]), np.array([0.1, 0.2])])
    position, times_s = spike_arrays(recording)
    assert position.tolist() == [0, 1, 1, 0]
    assert times_s.tolist() == [0.1, 0.1, 0.2, 0.3]


@pytest.mark.parametrize(
    ("times", "message"), [([-0.1, 0.2], "the first spike is at -0.1 s"), ([0.1, 0.1], "two spikes at one time")]
)
def test_what_brian2_cannot_play_is_said_before_it_runs(times, message):
    with pytest.raises(DataError, match=message):
        Recording.from_arrays([np.array(times)]).to_spike_generator()
