"""Covariates on the bins of trials. Oracles: values worked out by hand, and a slow loop over bins and samples."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pandas as pd
import pytest

from cortexrnn import Recording
from cortexrnn.encoding.arrays import unit_trials
from cortexrnn.errors import DataError, DataWarning, OptionError, TimeUnitError, UnsafeFileError
from cortexrnn.schema import check_trials
from cortexrnn.spikes.covariates import Boxcar, Signal, Timing, TrialValue, with_covariates
from cortexrnn.spikes.readers.signals import read_signals

BIN_S = 0.1


def record(starts, *, clock="session", observed_s=((0.0, 100.0),), without_unit=(), **columns):
    """One unit without much to say, and trials with these starts."""
    table = pd.DataFrame({"start_s": starts, **columns})
    return Recording.from_arrays(
        [np.array([50.0])],
        trials=table,
        observed_s=np.array(observed_s),
        attrs={"clock": clock, "columns_without_unit": list(without_unit)},
    )


def laid(recording, covariate, *, window_s=(0.0, 0.5), history_s=0.0, bin_s=BIN_S):
    """Lay one covariate on the trials of a recording; shape (n_trials, n_bins)."""
    trials = recording.align(window_s=window_s, bin_s=bin_s, history_s=history_s)
    return with_covariates(trials, {"x": covariate}, recording)["covariates"].values[:, :, 0]


def slow_average(signal, edges_s):
    """Average a held signal over every bin, sample by sample."""
    typical = np.median(np.diff(signal.time_s))
    stops = np.append(signal.time_s[1:], signal.time_s[-1] + typical)
    out = []
    for low, high in pairwise(edges_s):
        shares = np.clip(np.minimum(stops, high) - np.maximum(signal.time_s, low), 0.0, None)
        inside = shares > 0.0
        is_whole = shares.sum() > (high - low) * (1 - 1e-6) and np.isfinite(signal.values[inside]).all()
        out.append((shares[inside] * signal.values[inside]).sum() / shares.sum() if is_whole else np.nan)
    return np.array(out)


def test_samples_finer_than_bins_are_averaged():
    signal = Signal(time_s=10.0 + 0.025 * np.arange(20), values=np.arange(20.0))
    # Four samples a bin: 0 to 3, 4 to 7, ...
    np.testing.assert_allclose(laid(record([10.0]), signal), [[1.5, 5.5, 9.5, 13.5, 17.5]], rtol=1e-9)


def test_samples_coarser_than_bins_are_held_and_never_look_ahead():
    signal = Signal(time_s=[10.0, 10.25, 10.5], values=[1.0, 3.0, 7.0])
    # The sample at 10.25 s falls into the middle of the third bin.
    np.testing.assert_allclose(laid(record([10.0]), signal), [[1.0, 1.0, 2.0, 3.0, 3.0]], rtol=1e-9)


def test_a_bin_that_the_signal_does_not_fill_is_unknown():
    signal = Signal(time_s=[10.1, 10.2, 10.3], values=[1.0, np.nan, 5.0])
    # The last sample stands for the median interval, 0.1 s.
    expected = [[np.nan, 1.0, np.nan, 5.0, np.nan]]
    np.testing.assert_allclose(laid(record([10.0]), signal), expected, rtol=1e-9)
    # Samples that begin in the middle of the bins fill none of the first trial's.
    later = Signal(time_s=[20.05, 20.15, 30.0], values=[1.0, np.nan, 5.0])
    np.testing.assert_array_equal(np.isfinite(laid(record([20.0, 30.0]), later)).sum(axis=1), [0, 5])


@pytest.mark.parametrize("seed", range(5))
def test_irregular_signals_are_averaged_as_by_a_slow_loop(seed):
    rng = np.random.default_rng(seed)
    time_s = np.sort(rng.uniform(0.5, 6.0, rng.integers(5, 200)))
    values = np.where(rng.random(time_s.size) < 0.05, np.nan, 1e6 + rng.standard_normal(time_s.size))
    signal = Signal(time_s=time_s, values=values)
    found = laid(record([1.0, 3.7, 5.6]), signal, history_s=0.3)
    slow = [slow_average(signal, start + np.linspace(-0.3, 0.5, 9)) for start in (1.0, 3.7, 5.6)]
    # Round-off of the loop at a level of 1e6.
    np.testing.assert_allclose(found, slow, atol=1e-8)


def test_a_signal_on_a_synthetic_clock_counts_from_each_trials_zero():
    recording = record([2.0, 12.0], clock="synthetic", observed_s=((2.0, 3.0), (12.0, 13.0)), zero_s=[1.9, 11.9])
    signal = Signal(time_s=[0.0, 0.1, 0.2, 0.3, 0.4, 0.5], values=np.arange(6.0))
    found = laid(recording, signal)
    np.testing.assert_allclose(found, np.tile(np.arange(1.0, 6.0), (2, 1)), rtol=1e-9)


def test_events_fall_into_bins_as_spikes_do():
    # 0.1 * k is not exact in binary; on integers the event still opens its bin.
    starts = [0.7, 12.3, 98.1]
    recording = record(starts, lever_s=[start + 0.3 for start in starts])
    assert laid(recording, Timing(column="lever_s")).tolist() == [[0, 0, 0, 1, 0]] * 3


def test_a_trial_without_the_event_has_no_impulse_and_two_events_in_a_bin_count_twice():
    recording = record([10.0, 10.2, 20.0], lever_s=[10.31, 10.35, np.nan])
    with pytest.warns(DataWarning, match="overlap"):
        found = laid(recording, Timing(column="lever_s"))
    assert found.tolist() == [[0, 0, 0, 2, 0], [0, 2, 0, 0, 0], [0, 0, 0, 0, 0]]


def test_on_the_session_clock_events_of_other_trials_reach_into_the_burn_in():
    recording = record([10.0, 10.6], reward_s=[10.45, np.nan])
    found = laid(recording, Timing(column="reward_s"), history_s=0.2)
    # 10.45 s is the second bin of the burn-in of the trial at 10.6 s, which begins at 10.4 s.
    assert found.tolist() == [[0, 0, 0, 0, 0, 0, 1], [1, 0, 0, 0, 0, 0, 0]]


def test_on_a_synthetic_clock_a_trial_has_only_its_own_events_counted_from_its_zero():
    observed_s = ((0.0, 1.0), (2.0, 3.0))
    recording = record([0.0, 2.0], clock="synthetic", observed_s=observed_s, lever_s=[0.2, 0.4], stop_s=[1.0, 3.0])
    assert laid(recording, Timing(column="lever_s")).tolist() == [[0, 0, 1, 0, 0], [0, 0, 0, 0, 1]]
    # The window of the first trial covers the second trial's event on the synthetic clock.
    far = laid(recording, Timing(column="lever_s"), window_s=(0.0, 3.0))
    assert np.flatnonzero(far[0]).tolist() == [2]
    # Session columns are times on the synthetic clock already.
    assert laid(recording, Timing(column="stop_s"), window_s=(0.5, 1.1)).tolist() == [[0, 0, 0, 0, 0, 1]] * 2
    shares = laid(recording, Boxcar(start="lever_s", stop="stop_s"))
    assert shares.tolist() == [[0, 0, 1, 1, 1], [0, 0, 0, 0, 1]]


def test_boxcar_is_the_share_of_the_bin_between_the_two_events():
    recording = record([10.0], on_s=[10.05], off_s=[10.325])
    np.testing.assert_allclose(laid(recording, Boxcar(start="on_s", stop="off_s")), [[0.5, 1, 1, 0.25, 0]], rtol=1e-12)
    inside = record([10.0], on_s=[10.22], off_s=[10.27])
    np.testing.assert_allclose(laid(inside, Boxcar(start="on_s", stop="off_s")), [[0, 0, 0.5, 0, 0]], rtol=1e-12)
    around = record([10.0], on_s=[1.0], off_s=[99.0])
    assert laid(around, Boxcar(start="on_s", stop="off_s")).tolist() == [[1.0] * 5]


def test_overlapping_boxcars_are_one_state_and_rows_without_an_edge_are_none():
    recording = record([10.0, 20.0, 30.0], on_s=[10.1, 10.2, np.nan], off_s=[10.3, 10.4, 30.2])
    found = laid(recording, Boxcar(start="on_s", stop="off_s"))
    assert found.tolist() == [[0, 1, 1, 1, 0], [0] * 5, [0] * 5]


def test_values_of_trials_stand_in_every_bin():
    recording = record([10.0, 20.0], contrast=[0.25, np.nan])
    expected = [[0.25] * 5, [np.nan] * 5]
    np.testing.assert_array_equal(laid(recording, TrialValue(column="contrast")), expected)
    trials = recording.align(window_s=(0.0, 0.5), bin_s=BIN_S, history_s=0.0)
    without = with_covariates(trials, {"x": TrialValue(column="contrast")})
    np.testing.assert_array_equal(without["covariates"].values[:, :, 0], expected)


def test_values_follow_the_trials_that_alignment_kept():
    recording = record([10.0, 20.0, 30.0, 200.0], cue_s=[10.0, np.nan, 30.0, 200.0], contrast=[1, 2, 3, 4])
    with pytest.warns(DataWarning, match="left out"):
        trials = recording.align("cue_s", window_s=(0.0, 0.5), bin_s=BIN_S, history_s=0.0)
    given = {"contrast": TrialValue(column="contrast"), "start": Timing(column="start_s")}
    found = with_covariates(trials.isel(trial=[1, 0]), given, recording)
    assert found["covariates"].values[:, 0, 0].tolist() == [3.0, 1.0]
    assert found["covariates"].values[:, :, 1].tolist() == [[1, 0, 0, 0, 0]] * 2


def test_empty_cells_of_a_mixed_column_are_unknown():
    recording = record([10.0, 20.0], side=[None, "1.5"])
    np.testing.assert_array_equal(laid(recording, TrialValue(column="side"))[:, 0], [np.nan, 1.5])


def test_blocks_have_the_events_of_every_row():
    recording = record([1.0, 7.0], lever_s=[2.25, 8.05])
    trials = recording.blocks(block_s=5.0, bin_s=BIN_S, history_s=0.0)
    found = with_covariates(trials, {"lever": Timing(column="lever_s")}, recording)["covariates"].values[:, :, 0]
    assert np.argwhere(found).tolist() == [[0, 22], [1, 30]]
    with pytest.raises(OptionError, match="blocks have no values of trials"):
        with_covariates(trials, {"x": TrialValue(column="lever_s")}, recording)


def test_covariates_are_added_to_those_that_are_there_and_reach_the_models():
    recording = record([10.0, 20.0], contrast=[1.0, 2.0], lever_s=[10.2, 20.2])
    trials = recording.align(window_s=(0.0, 0.5), bin_s=BIN_S, history_s=0.0)
    first = with_covariates(trials, {"contrast": TrialValue(column="contrast")})
    both = with_covariates(first, {"lever": Timing(column="lever_s")}, recording)
    check_trials(both)
    assert "covariates" not in trials
    unit = unit_trials(both)
    assert unit.covariate_names == ("contrast", "lever")
    assert unit.covariates[:, 2].tolist() == [[1.0, 1.0], [2.0, 1.0]]
    assert unit.take(np.array([1])).covariates[0, 0].tolist() == [2.0, 0.0]
    with pytest.raises(OptionError, match="'lever' already"):
        with_covariates(both, {"lever": Timing(column="lever_s")}, recording)


@pytest.mark.parametrize(
    ("covariate", "error", "message"),
    [
        (Timing(column="nose_s"), OptionError, "covariate 'x': there is no column 'nose_s'. The columns are start_s"),
        (TrialValue(column="nose_s"), OptionError, "there is no column 'nose_s'"),
        (Timing(column="side"), DataError, "column 'side' holds 'left', which is no number"),
        (TrialValue(column="side"), DataError, "column 'side' holds 'left', which is no number"),
        (TrialValue(column="endless"), DataError, "1 infinite values"),
        (Timing(column="never_s"), DataError, "holds no time in any of 2 rows"),
        (TrialValue(column="never_s"), DataError, "holds no number for any of 2 trials"),
        (Timing(column="lever"), TimeUnitError, "does not say its unit of time. Rename it to lever_s"),
        (Timing(column="late_s"), DataError, "none of its events lies in a bin .* 10 to 20.5 s"),
        (Boxcar(start="late_s", stop="start_s"), DataError, "2 intervals stop before they start"),
        (Signal(time_s=[80.0, 81.0], values=[1.0, 2.0]), DataError, "spans 80 to 81 s and the trials 10 to 20.5 s"),
        ("sound", OptionError, "a str is no covariate"),
    ],
)
def test_what_cannot_be_laid_is_told(covariate, error, message):
    recording = record(
        [10.0, 20.0],
        without_unit=["lever"],
        side=["left", "right"],
        endless=[1.0, np.inf],
        never_s=[np.nan, np.nan],
        lever=[100, 200],
        late_s=[90.0, 91.0],
    )
    with pytest.raises(error, match=message):
        laid(recording, covariate)


def test_what_is_missing_is_told():
    recording = record([10.0, 20.0], lever_s=[10.2, 20.2])
    trials = recording.align(window_s=(0.0, 0.5), bin_s=BIN_S, history_s=0.0)
    with pytest.raises(OptionError, match="names none"):
        with_covariates(trials, {})
    with pytest.raises(OptionError, match="events need the recording"):
        with_covariates(trials, {"lever": Timing(column="lever_s")})
    with pytest.raises(OptionError, match=r"no coordinate 'contrast'. It has .*lever_s"):
        with_covariates(trials, {"contrast": TrialValue(column="contrast")})
    with pytest.raises(DataError, match="not rows of the recording's table"):
        with_covariates(trials, {"x": TrialValue(column="lever_s")}, record([10.0], lever_s=[10.2]))
    bare = Recording.from_arrays([np.array([10.1])], observed_s=np.array([[0.0, 30.0]]))
    with pytest.raises(OptionError, match="no trials table"):
        with_covariates(trials, {"lever": Timing(column="lever_s")}, bare)


@pytest.mark.parametrize(
    ("time_s", "values", "message"),
    [
        ([0.0, 2.0, 1.0], [1.0, 2.0, 3.0], "2 s is followed by 1 s .* Sort the samples"),
        ([0.0, 1.0, 1.0], [1.0, 2.0, 3.0], "must increase"),
        ([0.0, np.nan], [1.0, 2.0], "1 times that are not finite"),
        ([0.0, 1.0], [1.0, np.inf], "1 infinite values"),
        ([0.0, 1.0], [1.0], r"has shape \(2,\) and values \(1,\)"),
        ([0.0], [1.0], "2 or more"),
        ([0.0, 1.0], ["loud", "soft"], "not numbers"),
    ],
)
def test_signals_that_are_none_are_refused(time_s, values, message):
    with pytest.raises(DataError, match=message):
        Signal(time_s=time_s, values=values)


def test_signals_are_read_from_tables_in_the_unit_that_the_header_tells(tmp_path):
    path = tmp_path / "sound.csv"
    path.write_text("time_ms,left,right\n0,1.5,\n1,2.5,4\n2,3.5,5\n")
    found = read_signals(path)
    assert list(found) == ["left", "right"]
    np.testing.assert_allclose(found["left"].time_s, [0.0, 0.001, 0.002], rtol=1e-12)
    np.testing.assert_array_equal(found["right"].values, [np.nan, 4.0, 5.0])
    assert list(read_signals(path, names=["right"])) == ["right"]


def test_signals_are_read_from_archives(tmp_path):
    path = tmp_path / "track.npz"
    np.savez(path, t=np.arange(4), position=np.array([0, 1, 3, 6], dtype=np.float32))
    found = read_signals(path, time_unit="samples", sample_rate_hz=20.0)
    np.testing.assert_allclose(found["position"].time_s, [0.0, 0.05, 0.1, 0.15], rtol=1e-12)
    assert found["position"].values.tolist() == [0.0, 1.0, 3.0, 6.0]


@pytest.mark.parametrize(
    ("text", "options", "error", "message"),
    [
        ("time,x\n0,1\n1,2\n", {}, TimeUnitError, "column 'time' does not say its unit of time"),
        ("time_s,t_ms,x\n0,0,1\n", {}, DataError, "several columns of times: time_s, t_ms"),
        ("lag_s,x\n0,1\n", {}, DataError, "no column of times; the columns are lag_s, x"),
        ("time_s\n0\n1\n", {}, DataError, "times and no signal"),
        ("time_s,x\n0,1\n1,loud\n", {}, DataError, "row 3, column 'x': 'loud' is not a number"),
        ("time_s,x\n1,1\n0,2\n", {}, DataError, "column 'x': time_s of a signal must increase"),
        ("time_s,x\n0,1\n1,2\n", {"names": ["y"]}, OptionError, "no signal 'y'. It has x"),
        ("time_s,x\n0,1\n1,2\n", {"time_unit": "ms"}, TimeUnitError, "is in s by its header"),
    ],
)
def test_wrong_tables_of_signals_are_refused(tmp_path, text, options, error, message):
    path = tmp_path / "sound.csv"
    path.write_text(text)
    with pytest.raises(error, match=message):
        read_signals(path, **options)


def test_archives_of_objects_and_of_text_are_refused(tmp_path):
    path = tmp_path / "sound.npz"
    np.savez(path, time_s=np.array([0.0, 1.0]), x=np.array([{}, {}], dtype=object))
    with pytest.raises(UnsafeFileError, match="only pickle could load"):
        read_signals(path)
    np.savez(path, time_s=np.array([0.0, 1.0]), x=np.array(["loud", "soft"]))
    with pytest.raises(DataError, match="array 'x' has dtype <U4; expected numbers"):
        read_signals(path)
    other = tmp_path / "sound.mat"
    other.write_bytes(b"MATLAB 5.0 MAT-file" + b" " * 200)
    with pytest.raises(DataError, match=r"signals are read from CSV, TSV and .npz"):
        read_signals(other)
