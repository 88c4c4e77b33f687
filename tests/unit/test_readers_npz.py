"""Oracle: the arrays that numpy wrote."""

from __future__ import annotations

import io
import zipfile

import numpy as np
import pytest

from cortexrnn import read_recording
from cortexrnn.errors import DataError, OptionError, TimeUnitError, UnsafeFileError


def test_flat_times_and_units_are_split(tmp_path):
    path = tmp_path / "a.npz"
    np.savez(path, spike_times_ms=np.array([1.0, 2.0, 3.0]), units=np.array([7, 2, 7]))
    recording = read_recording(path)
    assert recording.unit_ids == [2, 7]
    np.testing.assert_array_equal(recording.spike_times_s(7), [0.001, 0.003])


def test_samples_keep_their_clock(tmp_path):
    path = tmp_path / "a.npz"
    np.savez_compressed(path, times_samples=np.array([3, 30001]), clusters=np.array(["a", "a"]))
    recording = read_recording(path, sample_rate_hz=30000)
    assert recording.unit_ids == ["a"]
    assert recording.ticks.tolist() == [3, 30001]
    with pytest.raises(TimeUnitError, match="in samples, and the sampling rate is not known"):
        read_recording(path)


def test_an_option_that_nothing_could_use_is_refused(tmp_path):
    path = tmp_path / "a.npz"
    np.savez(path, times_s=np.array([0.5]), units=np.array([1]))
    with pytest.raises(OptionError, match="sample_rate_hz=30000 was given, but no time is in samples"):
        read_recording(path, sample_rate_hz=30000)
    with pytest.raises(OptionError, match="variable='units' was given, but this is no MATLAB file"):
        read_recording(path, variable="units")
    # Trials in samples beside spikes in seconds do need the rate.
    np.savez(path, times_s=np.array([0.5]), units=np.array([1]), trial_start_samples=np.array([0, 3000]))
    recording = read_recording(path, sample_rate_hz=30000)
    np.testing.assert_array_equal(recording.trials["start_s"], [0.0, 0.1])


def test_one_array_a_unit_with_trials(tmp_path):
    path = tmp_path / "a.npz"
    np.savez(
        path,
        left=np.array([0.1, 0.9]),
        right=np.array([1.2]),
        trial_start=np.array([0.0, 1.0]),
        trial_stop=np.array([0.5, 1.5]),
        trial_side=np.array(["L", "R"]),
    )
    recording = read_recording(path, time_unit="s")
    assert recording.unit_ids == ["left", "right"]
    assert recording.trials.to_dict("list") == {
        "start_s": [0.0, 1.0],
        "stop_s": [0.5, 1.5],
        "side": ["L", "R"],
    }


def test_the_unit_of_time_is_never_guessed(tmp_path):
    path = tmp_path / "a.npz"
    np.savez(path, times=np.array([0.1]), units=np.array([1]))
    with pytest.raises(TimeUnitError, match="'times' does not say its unit of time"):
        read_recording(path)


def test_pickled_objects_are_refused_and_not_run(tmp_path):
    class Mischief:
        def __reduce__(self):
            return (open, (str(tmp_path / "touched"), "w"))

    path = tmp_path / "a.npz"
    np.savez(path, times_s=np.array([Mischief()], dtype=object), units=np.array([1]))
    with pytest.raises(UnsafeFileError, match="holds Python objects, which only pickle could load"):
        read_recording(path)
    assert not (tmp_path / "touched").exists()


def test_a_header_that_declares_more_than_there_is_is_refused(tmp_path):
    path = tmp_path / "a.npz"
    buffer = io.BytesIO()
    np.lib.format.write_array_header_1_0(buffer, {"descr": "<f8", "fortran_order": False, "shape": (2**40,)})
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("times_s.npy", buffer.getvalue() + b"\x00" * 80)
    with pytest.raises(DataError, match="declares 1099511627776 values of float64 and holds 80 bytes"):
        read_recording(path)


def test_a_zip_bomb_is_refused_by_its_directory(tmp_path):
    path = tmp_path / "a.npz"
    with (
        zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive,
        archive.open("times_s.npy", "w") as member,
    ):
        for _ in range(200):
            member.write(bytes(2**20))
    assert path.stat().st_size < 2**20
    with pytest.raises(DataError, match="more than an archive of this size may hold"):
        read_recording(path)


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        ({"times_s": np.zeros(2), "units": np.zeros(3, dtype=int)}, "2 times and 3 unit labels"),
        ({"times_s": np.zeros((2, 2)), "units": np.zeros(4, dtype=int)}, "expected a vector of times"),
        ({"units": np.zeros(3, dtype=int)}, "and 0 arrays of times"),
        ({"times_s": np.zeros(2), "units": np.array([0.5, 1.0])}, "not whole numbers or text"),
        ({"a_s": np.zeros(2), "trial_stop_s": np.zeros(2)}, "no trial_start_s"),
        (
            {"a_s": np.zeros(2), "trial_start_s": np.zeros(2), "trial_side": np.zeros(3)},
            "expected as many values",
        ),
        ({"trial_start_s": np.zeros(2)}, "holds no spike times"),
        ({"a_s": np.array([1 + 2j])}, "expected numbers or text"),
    ],
)
def test_arrays_that_do_not_fit_are_refused(tmp_path, arrays, message):
    path = tmp_path / "a.npz"
    np.savez(path, **arrays)
    with pytest.raises(DataError, match=message):
        read_recording(path)


@pytest.mark.parametrize(("code", "order"), [(0x110000, "<"), (0xFFFFFFFF, ">"), (0xD800, "<")])
def test_numbers_that_are_no_characters_are_refused(tmp_path, code, order):
    # Turning such an array into strings ends in a SystemError of the interpreter.
    names = np.array(["a", "b"]).view(np.uint32).copy()
    names[1] = code
    labels = names.astype(f"{order}u4").view(f"{order}U1")
    np.savez(tmp_path / "a.npz", times_s=np.array([0.5, 1.0]), units=labels)
    with pytest.raises(DataError, match="the array holds numbers that are no characters"):
        read_recording(tmp_path / "a.npz")


def test_text_of_either_byte_order_is_read(tmp_path):
    np.savez(tmp_path / "a.npz", times_s=np.array([0.5, 1.0]), units=np.array(["b", "\u00e9"], dtype=">U1"))
    assert read_recording(tmp_path / "a.npz").unit_ids == ["b", "\u00e9"]
