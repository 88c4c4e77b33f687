"""What real recordings trip readers with, as small synthetic twins. Oracle: what the files were made of.

Clocks that start late, four units of time, doubled stamps, empty trials, deleted units, gaps. Documented stops that
are too early, rasters with a time axis, and NWB files without observed intervals stand with their readers.
"""

from __future__ import annotations

import runpy
import warnings
from pathlib import Path

import h5py
import numpy as np
import pytest
import scipy.io

from cortexrnn import doctor, read_recording
from cortexrnn.errors import DataError, DataWarning

WRITERS = runpy.run_path(str(Path(__file__).parents[1] / "reference" / "format_writers.py"))
START_S = 4397.0
LATE = {
    "rate_hz": 30_000,
    "units": {2: [131_910_900, 131_911_200, 132_000_000], 7: [131_910_903]},
    "trials": [(131_910_000, 131_940_000, 1), (131_970_000, 132_000_000, 2)],
    "observed": [(131_910_000, 132_300_000)],
}
DOUBLED = {
    "rate_hz": 30_000,
    "units": {2: [300, 600, 600, 900], 7: [600]},
    "trials": [(0, 300, 1), (600, 900, 2)],
    "observed": [(0, 3000)],
}
OPTIONS = {"csv": {"sample_rate_hz": 30_000}, "npz": {"sample_rate_hz": 30_000}, "matlab": {"time_unit": "s"}}
FORMATS = (
    "phy", "alf", "pynapple", "spikeinterface_npz", "spikeinterface_folder", "csv", "npz", "matlab", "plexon",
    "blackrock", "neuralynx", "neuroexplorer", "openephys", "nix",
)  # fmt: skip


def read(name, folder, truth):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DataWarning)
        return read_recording(WRITERS[f"write_{name}"](folder, truth), **OPTIONS.get(name, {}))


@pytest.mark.parametrize("name", FORMATS)
def test_a_clock_that_starts_late_keeps_its_times(tmp_path, name):
    recording = read(name, tmp_path, LATE)
    first = recording.unit_ticks(0)[0] / recording.tick_hz
    np.testing.assert_allclose(first, START_S + 0.03, rtol=0, atol=1e-9)
    # Plexon's files begin at 0 by their definition; nobody else may be told 73 minutes without a spike.
    if name != "plexon":
        assert recording.duration_s < 15.0
        assert recording.span_ticks[0] / recording.tick_hz >= START_S - 1e-9


def test_blocks_of_a_late_clock_begin_where_it_begins(tmp_path):
    recording = read("pynapple", tmp_path, LATE)
    blocks = recording.blocks(block_s=2.0, bin_s=0.01, history_s=0.5)
    assert blocks["start_s"].values.min() >= START_S
    # The gap before each block is its burn-in: five blocks with their gaps fill the 13 s.
    assert blocks.sizes["trial"] == 5
    assert doctor(recording).units["rate_hz"].tolist() == pytest.approx([3 / 13, 1 / 13], rel=1e-9)


@pytest.mark.parametrize("name", FORMATS)
def test_two_spikes_at_one_time_are_two_spikes(tmp_path, name):
    recording = read(name, tmp_path, DOUBLED)
    assert np.diff(recording.offsets).tolist() == [4, 1]
    assert recording.attrs["n_duplicates"] == 1
    assert doctor(recording).units["n_duplicates"].tolist() == [1, 0]


@pytest.mark.parametrize(
    ("header", "factor"),
    [("time_s", 1.0), ("time (ms)", 1e3), ("time_us", 1e6), ("time_ns", 1e9), ("time_samples", 12_800.0)],
)
def test_the_same_times_in_five_units_are_the_same(tmp_path, header, factor):
    # Multiples of 1/12800 s that are whole in all units: 5 ms is 64 samples.
    times = np.array([0.005, 1.28, 4397.035])
    path = tmp_path / "spikes.csv"
    path.write_text(f"unit,{header}\n" + "".join(f"1,{float(f'{time * factor:.9g}'):.12g}\n" for time in times))
    options = {"sample_rate_hz": 12_800} if "samples" in header else {}
    recording = read_recording(path, **options)
    assert np.rint(recording.unit_ticks(0) * (1e9 / recording.tick_hz)).astype(np.int64).tolist() == [
        5_000_000, 1_280_000_000, 4_397_035_000_000,
    ]  # fmt: skip


def test_deleted_units_of_matclust_are_no_units(tmp_path):
    # spikes{day}{tetrode}{unit}: empty cells, and structs without times where a unit was deleted.
    def struct(times):
        cell = np.empty((1, 1), dtype=[("time", object), ("meanrate", object)])
        cell[0, 0] = (np.asarray(times, dtype=float).reshape(-1, 1), 1.0)
        return cell

    def cells(*members):
        row = np.empty((1, len(members)), dtype=object)
        for k, member in enumerate(members):
            row[0, k] = member
        return row

    empty = np.empty((0, 0))
    tree = cells(cells(empty, cells(struct([4397.5, 4398.0]), struct([])), cells(empty, struct([4399.0]))))
    scipy.io.savemat(tmp_path / "spikes.mat", {"spikes": tree})
    recording = read_recording(tmp_path / "spikes.mat", time_unit="s")
    assert recording.unit_ids == ["2-1", "3-2"]
    assert recording.spike_times_s("2-1").tolist() == [4397.5, 4398.0]


@pytest.fixture
def fieldtrip(tmp_path):
    """Give the function that writes FieldTrip's spikes with the trial of each."""

    def write(trial, trialtime=((-0.5, 1.0), (-0.5, 1.0), (-0.5, 0.75))):
        label, time, of = (np.empty((1, 2), dtype=object) for _ in range(3))
        label[0, :] = ["sig001a", "sig002a"]
        time[0, 0], time[0, 1] = np.array([[-0.25, 0.5, 0.25]]), np.empty((1, 0))
        of[0, 0], of[0, 1] = np.array([trial]), np.empty((1, 0))
        spike = {"label": label, "time": time, "trial": of, "trialtime": np.array(trialtime)}
        scipy.io.savemat(tmp_path / "ft.mat", {"spike": spike})
        return tmp_path / "ft.mat"

    return write


def test_trials_without_spikes_and_silent_units_of_fieldtrip_stay(fieldtrip):
    with pytest.warns(DataWarning, match=r"1 unit.s. have no spikes and are kept: sig002a"):
        recording = read_recording(fieldtrip([1, 1, 3]))
    assert recording.unit_ids == ["sig001a", "sig002a"]
    assert recording.attrs["clock"] == "synthetic"
    counts = recording.align("zero_s", window_s=(-0.5, 0.75), bin_s=0.25, history_s=0.0)["counts"].values
    assert counts[:, :, 0].tolist() == [[0, 1, 0, 0, 1], [0, 0, 0, 0, 0], [0, 0, 0, 1, 0]]


@pytest.mark.parametrize("trial", [[1, 1, 4], [0, 1, 2], [1, 2]])
def test_spikes_of_fieldtrip_must_have_a_trial(fieldtrip, trial):
    with pytest.raises(DataError, match=r"the trials of the spikes do not fit 3 spikes in 3 trials"):
        read_recording(fieldtrip(trial))


def test_the_trial_times_of_fieldtrip_are_pairs(fieldtrip):
    with pytest.raises(DataError, match=r"trialtime has shape \(3, 1\)"):
        read_recording(fieldtrip([1, 1, 3], trialtime=((1.0,), (1.0,), (1.0,))))


def test_spikes_in_a_gap_are_kept_and_counted_nowhere(tmp_path):
    truth = {**DOUBLED, "observed": [(0, 450), (750, 3000)]}
    recording = read("pynapple", tmp_path, truth)
    assert recording.n_spikes == 5
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DataWarning)
        blocks = recording.blocks(block_s=0.05, bin_s=0.005, history_s=0.0)
    # Of the doubled spike in the gap and the one of the other unit at the same time none is in an observed bin.
    assert int(blocks["counts"].sum()) == 2


def test_an_array_of_structs_is_the_same_in_both_versions_of_matlab(tmp_path):
    times = [[0.5, 1.5], [], [2.5, 3.0]]
    structs = np.empty((1, 3), dtype=[("times", object), ("name", object)])
    for k, values in enumerate(times):
        structs[0, k] = (np.array(values), f"unit {k}")
    scipy.io.savemat(tmp_path / "v5.mat", {"spikes": structs})
    with h5py.File(tmp_path / "v73.mat", "w") as file:
        # MATLAB 7.3 keeps one data set of references a field, and rows where MATLAB has columns.
        field = file.create_dataset("spikes/times", (3, 1), dtype=h5py.ref_dtype)
        for k, values in enumerate(times):
            file[f"#refs#/{k}"] = np.array(values)[:, None] if values else np.zeros(2, dtype=np.uint64)
            if not values:
                file[f"#refs#/{k}"].attrs["MATLAB_empty"] = 1
            field[k, 0] = file[f"#refs#/{k}"].ref
    for name in ("v5.mat", "v73.mat"):
        with pytest.warns(DataWarning, match=r"1 unit.s. have no spikes and are kept: 2"):
            recording = read_recording(tmp_path / name, time_unit="s")
        assert recording.unit_ids == ["1", "2", "3"]
        assert recording.ticks.tolist() == [500_000_000, 1_500_000_000, 2_500_000_000, 3_000_000_000]
