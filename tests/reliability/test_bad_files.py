"""Whatever the file, reading ends with a recording or a typed error that says what to do (R1 to R3, R5).

Oracle: the class of the error and its exit code. The number of mutated files is turned up by CORTEXRNN_FUZZ.
"""

from __future__ import annotations

import os
import warnings

import h5py
import numpy as np
import pandas as pd
import pytest
import scipy.io

from cortexrnn import Recording, read_recording
from cortexrnn.errors import (
    EXIT_DATA,
    EXIT_IO,
    CortexError,
    DataError,
    DataWarning,
    FileAccessError,
    MissingFileError,
    NoTrialsError,
    OptionError,
    UnsafeFileError,
)

N_MUTANTS = int(os.environ.get("CORTEXRNN_FUZZ", "2000"))
N_GUARDED = max(10, N_MUTANTS // 100)
CSV = b"unit,trial,time_s\n1,1,0.5\n2,1,0.25\n1,2,0.75\n2,2,0.125\n"


@pytest.fixture
def nwb(tmp_path):
    """A small sound NWB file."""
    trials = pd.DataFrame({"start_s": [0.0, 1.0], "stop_s": [0.5, 1.5], "side": ["L", "R"]})
    recording = Recording.from_arrays([np.array([0.1, 0.2, 1.1]), np.array([0.3])], trials=trials)
    return recording.to_nwb(tmp_path / "sound.nwb")


def mutate(content, rng):
    """Flip bits, cut, splice or overwrite a length field."""
    data = bytearray(content)
    kind = rng.integers(4)
    if kind == 0:
        for at in rng.integers(0, len(data), size=rng.integers(1, 6)):
            data[at] ^= 1 << int(rng.integers(8))
    elif kind == 1:
        del data[int(rng.integers(0, len(data))) :]
    elif kind == 2:
        a, b = sorted(rng.integers(0, len(data), size=2))
        data[a:b] = data[int(rng.integers(0, len(data))) :][: int(rng.integers(0, 64))]
    else:
        at = int(rng.integers(0, len(data)))
        data[at : at + 8] = b"\xff" * 8
    return bytes(data)


def read_quietly(path, **options):
    """Read and give the error, or None; anything that is no CortexError escapes."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DataWarning)
        try:
            read_recording(path, **options)
        except CortexError as error:
            return error
    return None


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(MissingFileError, match=r"nowhere.nwb: there is no such file") as caught:
        read_recording(tmp_path / "nowhere.nwb")
    assert caught.value.exit_code == EXIT_IO


def test_a_directory_is_no_recording(tmp_path):
    with pytest.raises(FileAccessError, match=r"the path is a directory. Name a file") as caught:
        read_recording(tmp_path)
    assert caught.value.exit_code == EXIT_IO


@pytest.mark.parametrize("ending", [".nwb", ".csv", ".npz", ".mat", ""])
def test_an_empty_file_is_said_to_be_empty(tmp_path, ending):
    path = tmp_path / f"empty{ending}"
    path.touch()
    with pytest.raises(DataError, match="the file is empty") as caught:
        read_recording(path)
    assert caught.value.exit_code == EXIT_DATA


def test_a_text_file_called_nwb_is_not_believed(tmp_path):
    path = tmp_path / "text.nwb"
    path.write_text("hello")
    with pytest.raises(DataError, match=r"content of the file is not what .nwb promises"):
        read_recording(path)


def test_an_unknown_format_lists_the_known_ones(tmp_path):
    path = tmp_path / "thing.xyz"
    path.write_text("hello")
    with pytest.raises(DataError, match=r"unknown .ending '.xyz'.. Read are NWB"):
        read_recording(path)


@pytest.mark.parametrize("kept", [0.05, 0.5, 0.95])
def test_a_truncated_nwb_is_a_data_error(nwb, tmp_path, kept):
    content = nwb.read_bytes()
    path = tmp_path / "cut.nwb"
    path.write_bytes(content[: int(kept * len(content))])
    with pytest.raises(DataError, match="damaged") as caught:
        read_recording(path)
    assert caught.value.exit_code == EXIT_DATA


def test_a_pickle_called_mat_is_not_opened(tmp_path):
    path = tmp_path / "canary.mat"
    path.write_bytes(b"cos\nsystem\n(S'touch " + str(tmp_path / "touched").encode() + b"'\ntR.")
    with pytest.raises(DataError, match=r"content of the file is not what .mat promises"):
        read_recording(path)
    assert not (tmp_path / "touched").exists()


def test_a_pickle_inside_an_npz_is_refused(tmp_path):
    path = tmp_path / "canary.npz"
    np.savez(path, times_s=np.array([{"a": 1}], dtype=object))
    with pytest.raises(UnsafeFileError, match="holds Python objects"):
        read_recording(path)


def test_a_window_that_holds_no_trial_says_where_the_recording_is(nwb):
    recording = read_recording(nwb)
    with pytest.raises(NoTrialsError, match="no trial has an observed bin in window_s") as caught:
        recording.align(window_s=(1000.0, 1001.0))
    assert caught.value.exit_code == EXIT_DATA


def test_external_data_never_appear(nwb, tmp_path):
    secret = tmp_path / "secret.h5"
    with h5py.File(secret, "w") as file:
        file["units"] = np.arange(5.0)
    with h5py.File(nwb, "a") as file:
        del file["units"]
        file["units"] = h5py.ExternalLink(str(secret), "/units")
    with pytest.raises(UnsafeFileError, match="an external link"):
        read_recording(nwb)


def test_mutated_tables_end_in_a_result_or_a_typed_error(tmp_path):
    rng = np.random.default_rng(11)
    path = tmp_path / "m.csv"
    outcomes = set()
    for _ in range(N_MUTANTS):
        path.write_bytes(mutate(CSV, rng))
        outcomes.add(type(read_quietly(path)).__name__)
    assert {"NoneType", "DataError"} <= outcomes


def test_mutated_archives_end_in_a_result_or_a_typed_error(tmp_path):
    rng = np.random.default_rng(12)
    seed_path, path = tmp_path / "seed.npz", tmp_path / "m.npz"
    np.savez_compressed(
        seed_path, times_s=np.arange(20.0), units=np.arange(20) % 3, trial_start_s=np.arange(3.0)
    )
    content = seed_path.read_bytes()
    outcomes = set()
    for _ in range(N_MUTANTS):
        path.write_bytes(mutate(content, rng))
        outcomes.add(type(read_quietly(path)).__name__)
    assert "DataError" in outcomes


def test_mutated_nwb_files_end_in_a_result_or_a_typed_error(nwb, tmp_path):
    rng = np.random.default_rng(13)
    path = tmp_path / "m.nwb"
    content = nwb.read_bytes()
    errors = []
    for _ in range(N_GUARDED):
        path.write_bytes(mutate(content, rng))
        errors.append(read_quietly(path))
    assert any(isinstance(error, DataError) for error in errors)


def test_mutated_matlab_files_end_in_a_result_or_a_typed_error(tmp_path):
    rng = np.random.default_rng(14)
    seed_path, path = tmp_path / "seed.mat", tmp_path / "m.mat"
    scipy.io.savemat(seed_path, {"spikes": np.arange(30.0), "info": {"a": [1, 2]}}, do_compression=False)
    content = seed_path.read_bytes()
    errors = []
    for _ in range(N_GUARDED):
        # The first 128 bytes are text and version; damage there only changes the format that is told.
        path.write_bytes(content[:128] + mutate(content[128:], rng))
        errors.append(read_quietly(path, variable="spikes", time_unit="s"))
    assert any(isinstance(error, DataError | OptionError) for error in errors)


def test_a_compressed_bomb_in_a_matlab_file_meets_the_memory_limit(tmp_path):
    path = tmp_path / "bomb.mat"
    scipy.io.savemat(path, {"train": np.zeros((1000, 40000))}, do_compression=True)
    assert path.stat().st_size < 2**20
    # Depending on scipy it is the header or the allocation that is refused first.
    with pytest.raises(DataError, match=r"(declares|needs) .*more than|needs more than the 192 MiB"):
        read_recording(path, variable="train", sample_rate_hz=1000)
