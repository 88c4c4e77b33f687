"""Oracle: the arrays that scipy wrote; for 7.3, an HDF5 file laid out as MATLAB documents it."""

from __future__ import annotations

import h5py
import numpy as np
import pytest
import scipy.io

from cortexrnn import read_recording
from cortexrnn.errors import DataError, OptionError, TimeUnitError

TRAIN = np.array([[0, 1, 0, 0, 1, 0], [0, 0, 0, 0, 0, 0], [1, 0, 0, 0, 0, 1]], dtype=np.uint8)


@pytest.fixture
def raster(tmp_path):
    """Three trials of six bins with a time axis and a condition."""
    path = tmp_path / "raster.mat"
    scipy.io.savemat(path, {"train": TRAIN, "t": np.arange(-2, 4), "direction": np.array([[0], [1], [1]])})
    return path


def write_73(path, arrays):
    """Write arrays as MATLAB 7.3 does: transposed, in an HDF5 file behind a user block of 512 bytes."""
    with h5py.File(path, "w", userblock_size=512) as file:
        for name, values in arrays.items():
            if isinstance(values, list):
                refs = np.empty((len(values), 1), dtype=h5py.ref_dtype)
                for k, item in enumerate(values):
                    made = file.create_dataset(f"#refs#/{name}{k}", data=np.atleast_2d(item).T)
                    if np.size(item) == 0:
                        made.attrs["MATLAB_empty"] = np.uint8(1)
                    refs[k, 0] = made.ref
                data = file.create_dataset(name, data=refs, dtype=h5py.ref_dtype)
                data.attrs["MATLAB_class"] = np.bytes_("cell")
            else:
                data = file.create_dataset(name, data=np.atleast_2d(values).T)
                data.attrs["MATLAB_class"] = np.bytes_("double")
    with open(path, "r+b") as file:
        file.write(b"MATLAB 7.3 MAT-file, Platform: GLNXA64".ljust(124) + b"\x00\x02IM")
    return path


def test_a_raster_becomes_trials_on_a_synthetic_clock(raster):
    recording = read_recording(raster, variable="train", sample_rate_hz=1000)
    assert recording.attrs["clock"] == "synthetic"
    assert recording.trials["direction"].tolist() == [0, 1, 1]
    trials = recording.align(history_s=0.0, condition="direction")
    np.testing.assert_array_equal(trials["counts"].values[:, :, 0], TRAIN)
    assert trials["observed"].values.all()


def test_the_time_axis_gives_the_zero_of_every_trial(raster):
    recording = read_recording(raster, variable="train", sample_rate_hz=1000)
    np.testing.assert_allclose(
        recording.trials["zero_s"] - recording.trials["start_s"], 0.002, rtol=0, atol=1e-12
    )


def test_a_raster_without_bin_width_is_refused(raster):
    with pytest.raises(
        TimeUnitError, match=r"raster of 3 x 6 does not say how wide its bins are. Give sample_rate_hz"
    ):
        read_recording(raster, variable="train")


def test_a_unit_of_time_is_the_width_of_a_bin_and_must_not_contradict_the_rate(raster):
    for options in ({"time_unit": "ms"}, {"time_unit": "ms", "sample_rate_hz": 1000}):
        assert read_recording(raster, variable="train", **options).tick_hz == 1000.0
    with pytest.raises(OptionError, match="time_unit='s' and sample_rate_hz=1000 give the raster's bins different"):
        read_recording(raster, variable="train", time_unit="s", sample_rate_hz=1000)


def test_a_rate_for_times_that_are_no_samples_is_refused(tmp_path):
    path = tmp_path / "times.mat"
    scipy.io.savemat(path, {"spiketimes": np.array([[100.0], [250.0]])})
    with pytest.raises(OptionError, match="sample_rate_hz=1000 was given, but no time is in samples"):
        read_recording(path, time_unit="ms", sample_rate_hz=1000)
    assert read_recording(path, time_unit="samples", sample_rate_hz=1000).ticks.tolist() == [100, 250]


def test_a_missing_variable_lists_the_candidates(raster):
    with pytest.raises(OptionError, match=r"several arrays: train \(3 x 6 uint8\), t \(1 x 6 int64\)"):
        read_recording(raster, sample_rate_hz=1000)
    with pytest.raises(OptionError, match=r"no array 'spikes'. The file holds train"):
        read_recording(raster, variable="spikes", sample_rate_hz=1000)


def test_a_vector_of_times_is_one_unit(tmp_path):
    path = tmp_path / "times.mat"
    scipy.io.savemat(path, {"spiketimes": np.array([[100.0], [250.0]])})
    recording = read_recording(path, time_unit="ms")
    assert recording.unit_ids == ["spiketimes"]
    np.testing.assert_array_equal(recording.spike_times_s("spiketimes"), [0.1, 0.25])
    with pytest.raises(TimeUnitError, match="array of spike times does not say its unit of time"):
        read_recording(path)


def test_nested_cells_of_structs_are_named_by_their_positions(tmp_path):
    def unit(times):
        return {"time": np.column_stack([times, np.full(len(times), 9.0)]), "meanrate": 1.0}

    def cells(items):
        made = np.empty((1, len(items)), dtype=object)
        made[0, :] = items
        return made

    tetrodes = cells(
        [cells([unit([0.1, 0.2]), np.empty((0, 0))]), np.empty((0, 0)), cells([unit([0.3, 0.4])])]
    )
    path = tmp_path / "nested.mat"
    scipy.io.savemat(path, {"spikes": cells([tetrodes])})
    recording = read_recording(path, variable="spikes", time_unit="s")
    assert recording.unit_ids == ["1-1", "3-1"]
    np.testing.assert_array_equal(recording.spike_times_s("3-1"), [0.3, 0.4])


def test_a_field_of_a_struct_is_reached_by_its_path(tmp_path):
    path = tmp_path / "struct.mat"
    scipy.io.savemat(path, {"session": {"spikes": np.array([1.0, 2.0, 3.5]), "rat": 4}})
    assert read_recording(path, variable="session.spikes", time_unit="s").n_spikes == 3
    with pytest.raises(OptionError, match=r"no field 'lfp'. There are spikes, rat"):
        read_recording(path, variable="session.lfp", time_unit="s")


def test_a_matrix_that_is_no_raster_is_refused(tmp_path):
    path = tmp_path / "m.mat"
    scipy.io.savemat(path, {"m": np.array([[0.0, 2.0], [1.0, 3.0]])})
    with pytest.raises(DataError, match=r"2 x 2 numbers is no 0/1 raster .values from 0 to 3."):
        read_recording(path, time_unit="s")


def test_a_square_of_cells_is_not_guessed(tmp_path):
    made = np.empty((2, 2), dtype=object)
    made[:] = [[np.array([1.0]), np.array([2.0])], [np.array([3.0]), np.array([4.0])]]
    path = tmp_path / "c.mat"
    scipy.io.savemat(path, {"c": made})
    with pytest.raises(DataError, match="cell array of 2 x 2 could be units by trials or trials by units"):
        read_recording(path, time_unit="s")


def test_version_73_raster_and_vectors(tmp_path):
    path = write_73(tmp_path / "r.mat", {"train": TRAIN, "direction": np.array([0.0, 1.0, 1.0])})
    recording = read_recording(path, variable="train", sample_rate_hz=1000)
    np.testing.assert_array_equal(recording.align(history_s=0.0)["counts"].values[:, :, 0], TRAIN)
    assert recording.trials["direction"].tolist() == [0.0, 1.0, 1.0]


def test_version_73_cells_skip_empty_ones(tmp_path):
    path = write_73(
        tmp_path / "c.mat", {"spikes": [np.array([0.5, 1.5]), np.empty((0, 0)), np.array([2.5, 3.0])]}
    )
    recording = read_recording(path, time_unit="s")
    assert recording.unit_ids == ["1", "3"]
    np.testing.assert_array_equal(recording.spike_times_s("1"), [0.5, 1.5])
