"""Oracle: counts and masks worked out by hand on small recordings."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from cortexrnn import Recording
from cortexrnn.errors import DataError, DataWarning, NoTrialsError, OptionError, TimeUnitError
from cortexrnn.schema import BLOCKS, check_trials


def make(times_s, starts, *, observed_s=((0.0, 100.0),), tick_hz=1e9, clock="session", **columns):
    """One unit, trials with these starts."""
    return Recording.from_arrays(
        [np.array(times_s)],
        trials=pd.DataFrame({"start_s": starts, **columns}),
        observed_s=np.array(observed_s),
        tick_hz=tick_hz,
        attrs={"clock": clock},
    )


def counted(trials):
    """Counts of the scored bins of unit 0, as lists."""
    return trials["counts"].values[:, trials["scored"].values, 0].tolist()


def test_bins_are_closed_on_the_left_and_open_on_the_right():
    recording = make([10.0, 10.1, 10.2, 10.3], [10.0])
    assert counted(recording.align(window_s=(0.0, 0.3), bin_s=0.1)) == [[1, 1, 1]]


def test_spikes_on_decimal_edges_fall_right_of_them_at_any_session_time():
    # 0.1 * k is not exact in binary; on integers the k-th spike still opens the k-th bin.
    starts = [0.7, 1234.3, 98765.1]
    times = np.sort(np.concatenate([start + 0.001 * np.arange(500) for start in starts]))
    recording = make(times, starts, observed_s=((0.0, 1e5),))
    assert counted(recording.align(window_s=(0.0, 0.5), bin_s=1e-3)) == [[1] * 500] * 3


def test_a_rate_of_12800_samples_fills_millisecond_bins_with_12_or_13_samples():
    recording = make(np.arange(12800) / 12800.0, [0.0], tick_hz=12800.0, observed_s=((0.0, 1.0),))
    counts = recording.align(window_s=(0.0, 1.0), history_s=0.0)["counts"].values.ravel()
    edges = [-(-k * 12800 // 1000) for k in range(1001)]
    np.testing.assert_array_equal(counts, np.diff(edges))


def test_several_spikes_in_a_bin_are_counted_and_reported():
    trials = make([1.0001, 1.0002, 1.0003, 1.5], [1.0]).align(window_s=(0.0, 1.0))
    assert trials["counts"].values.max() == 3
    assert trials.attrs["n_multi_spike_bins"] == 1
    assert int(trials["counts"].sum()) == 4


def test_history_bins_come_first_and_are_not_scored():
    trials = make([9.95, 10.05], [10.0]).align(window_s=(0.0, 0.1), bin_s=0.05, history_s=0.1)
    np.testing.assert_allclose(trials["time"], [-0.1, -0.05, 0.0, 0.05], rtol=0, atol=1e-15)
    assert trials["scored"].values.tolist() == [False, False, True, True]
    assert trials["counts"].values.ravel().tolist() == [0, 1, 0, 1]


def test_time_before_the_recording_is_unobserved_and_not_silent():
    trials = make([10.05], [10.0], observed_s=((9.95, 20.0),)).align(
        window_s=(0.0, 0.1), bin_s=0.05, history_s=0.1
    )
    assert trials["observed"].values.ravel().tolist() == [False, True, True, True]


def test_a_bin_that_was_partly_observed_is_masked_with_its_spikes():
    recording = make([1.0, 1.25, 1.32], [1.0], observed_s=((0.0, 1.25), (1.27, 5.0)))
    with pytest.warns(DataWarning, match="1 spikes lie in bins that were not wholly observed"):
        trials = recording.align(window_s=(0.0, 0.4), bin_s=0.1, history_s=0.0)
    assert trials["observed"].values.ravel().tolist() == [True, True, False, True]
    assert trials["counts"].values.ravel().tolist() == [1, 0, 0, 1]
    assert trials.attrs["n_masked_spikes"] == 1


def test_touching_observed_intervals_count_as_one():
    trials = make([1.05], [1.0], observed_s=((0.0, 1.05), (1.05, 2.0))).align(window_s=(0.0, 0.1), bin_s=0.1)
    assert trials["observed"].values.all()


def test_the_last_spike_is_kept_where_the_span_was_inferred():
    recording = Recording.from_arrays([np.array([1.0, 1.95])], trials=pd.DataFrame({"start_s": [1.0]}))
    assert counted(recording.align(window_s=(0.0, 1.0), bin_s=0.1, history_s=0.0)) == [[1, *[0] * 8, 1]]


def test_the_default_window_ends_with_the_longest_trial_and_masks_shorter_ones():
    recording = make([1.05, 3.05, 3.15, 3.25], [1.0, 3.0], stop_s=[1.1, 3.3])
    trials = recording.align(bin_s=0.1, history_s=0.0)
    assert trials["observed"].values[:, :, 0].tolist() == [[True, False, False], [True, True, True]]
    assert counted(trials) == [[1, 0, 0], [1, 1, 1]]


def test_without_stops_a_session_clock_needs_a_window():
    with pytest.raises(OptionError, match="have no stop, so the window cannot be inferred"):
        make([1.0], [1.0]).align()


def test_a_synthetic_trial_never_reaches_into_its_neighbour():
    recording = make(
        [0.05, 0.95, 1.55],
        [0.0, 1.5],
        observed_s=((0.0, 1.0), (1.5, 2.5)),
        clock="synthetic",
        stop_s=[1.0, 2.5],
    )
    trials = recording.align(window_s=(0.0, 2.0), bin_s=0.5, history_s=1.0)
    # Two bins of history, four scored; the second trial's history would hold the first trial's end.
    assert trials["observed"].values[:, :, 0].tolist() == [
        [False, False, True, True, False, False],
        [False, False, True, True, False, False],
    ]
    assert trials["counts"].values[:, :, 0].tolist() == [[0, 0, 1, 1, 0, 0], [0, 0, 1, 0, 0, 0]]


def test_other_columns_of_synthetic_trials_count_from_the_trials_own_zero():
    recording = make(
        [0.45, 1.95],
        [0.0, 1.5],
        observed_s=((0.0, 1.0), (1.5, 2.5)),
        clock="synthetic",
        stop_s=[1.0, 2.5],
        valve_s=[0.4, 0.4],
    )
    trials = recording.align("valve_s", window_s=(0.0, 0.1), bin_s=0.1, history_s=0.0)
    assert counted(trials) == [[1], [1]]
    np.testing.assert_allclose(trials["start_s"], [0.4, 1.9], rtol=0, atol=1e-12)


def test_condition_and_simple_columns_become_coordinates():
    recording = make([1.0, 2.0], [1.0, 2.0], side=["left", "right"], contrast=[0.5, 1.0])
    trials = recording.align(window_s=(0.0, 0.1), condition="side")
    assert trials["condition"].values.tolist() == ["left", "right"]
    assert trials["contrast"].dims == ("trial",)
    check_trials(trials)


def test_trials_without_a_condition_are_left_out_with_a_warning():
    recording = make([1.0, 2.0], [1.0, 2.0], contrast=[0.5, np.nan])
    with pytest.warns(DataWarning, match="1 trials without a value of 'contrast'"):
        assert recording.align(window_s=(0.0, 0.1), condition="contrast").sizes["trial"] == 1


def test_an_event_that_did_not_happen_drops_the_trial():
    recording = make([1.0, 2.0], [1.0, 2.0], lick=[1.05, np.nan])
    with pytest.warns(DataWarning, match="1 of 2 rows have no time of the event"):
        assert recording.align("lick", (0.0, 0.1))["start_s"].values.tolist() == [1.05]


def test_another_table_gives_events():
    base = make([1.0, 2.0], [1.0])
    recording = Recording(
        ticks=base.ticks,
        offsets=base.offsets,
        tick_hz=base.tick_hz,
        observed_ticks=base.observed_ticks,
        observed_offsets=base.observed_offsets,
        units=base.units,
        tables={"licks": pd.DataFrame({"start_s": [1.0, 2.0]})},
        attrs=base.attrs,
    )
    assert counted(recording.align("licks", (0.0, 0.1), bin_s=0.1)) == [[1], [1]]


def test_an_unknown_event_lists_the_known_ones():
    with pytest.raises(OptionError, match=r"no event 'go'. Known are start_s, cue"):
        make([1.0], [1.0], cue=[1.0]).align("go")


def test_a_recording_without_trials_says_so():
    with pytest.raises(NoTrialsError, match=r"no trials and no table of intervals.*blocks\(\)"):
        Recording.from_arrays([np.array([1.0])]).align()


def test_a_column_without_unit_of_time_is_no_event():
    base = make([1.0], [1.0], cue=[1.0])
    recording = Recording.from_arrays(
        [base.spike_times_s(0)], trials=base.trials, attrs={"columns_without_unit": ["cue"]}
    )
    with pytest.raises(TimeUnitError, match="'cue' of the trials file does not say its unit"):
        recording.align("cue", (0.0, 0.1))


def test_a_window_that_holds_no_trial_names_window_and_span():
    with pytest.raises(NoTrialsError, match=r"window_s=\(500.0, 501.0\): the recording spans 0 to 100 s"):
        make([1.0], [1.0, 2.0]).align(window_s=(500.0, 501.0))


def test_trials_outside_the_recording_are_dropped_with_a_count():
    with pytest.warns(DataWarning, match="1 of 2 trials have no observed bin"):
        trials = make([1.0], [1.0, 500.0]).align(window_s=(0.0, 1.0))
    assert trials.sizes["trial"] == 1


def test_overlapping_trials_name_the_shared_bins():
    with pytest.warns(DataWarning, match="1 trials overlap the one before: 250 bins"):
        make([1.0], [1.0, 1.75]).align(window_s=(0.0, 1.0))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (
            {"bin_s": 0.0015},
            r"does not divide the window of 0.5 s \(333.33 bins\).*try bin_s=0.001 or window_s=\(0, 0.501\)",
        ),
        ({"bin_s": 0.0}, "bin_s=0.0 is not a positive"),
        ({"bin_s": 1e-10}, "shorter than one tick"),
        ({"history_s": -1.0}, "history_s=-1.0 is not valid"),
        ({"window_s": (1.0, 0.0)}, "is not a window"),
        ({"condition": "colour"}, "no column 'colour'"),
        ({"units": [9]}, "no unit 9"),
    ],
)
def test_impossible_options_say_what_to_do(options, message):
    with pytest.raises(OptionError, match=message):
        make([1.0], [1.0]).align(**{"window_s": (0.0, 0.5), **options})


def test_more_spikes_than_a_bin_can_count_are_refused():
    recording = make(np.full(70000, 1.0), [1.0])
    with pytest.raises(DataError, match="holds 70000 spikes of one unit; at most 65535"):
        recording.align(window_s=(0.0, 0.1))


def test_only_asked_units_are_counted():
    recording = Recording.from_arrays(
        {"a": np.array([1.0]), "b": np.array([1.0, 1.01])}, trials=pd.DataFrame({"start_s": [1.0]})
    )
    trials = recording.align(window_s=(0.0, 0.1), units=["b"])
    assert trials["unit"].values.tolist() == ["b"]
    assert int(trials["counts"].sum()) == 2


def test_blocks_leave_one_history_between_them():
    recording = make(np.arange(0.25, 20.0, 0.5), [0.0], observed_s=((0.0, 20.0),))
    blocks = recording.blocks(block_s=4.0, bin_s=0.5, history_s=1.0)
    np.testing.assert_array_equal(blocks["start_s"], [1.0, 6.0, 11.0, 16.0])
    assert blocks.sizes == {"trial": 4, "time": 10, "unit": 1}
    assert (blocks["counts"].values == 1).all()
    assert blocks["observed"].values.all()
    assert blocks.attrs["align_to"] == BLOCKS


def test_a_recording_shorter_than_a_block_is_refused():
    with pytest.raises(NoTrialsError, match=r"holds no block of 10 s with its burn-in of 0.5 s"):
        make([1.0], [0.0], observed_s=((0.0, 5.0),)).blocks()
