"""Whatever the file, reading ends with a recording or a typed error that says what to do (R1 to R3, R5).

Oracle: the class of the error and its exit code. CORTEXRNN_FUZZ is the number of inputs of all fuzz tests together;
many more damaged files of third parties' formats are in `test_guarded_fuzz`, here a few go the whole way.
"""

from __future__ import annotations

import random
import runpy
from pathlib import Path

import h5py
import numpy as np
import pandas as pd
import pytest
import scipy.io

from cortexrnn import Recording, read_recording
from cortexrnn.errors import (
    EXIT_DATA,
    EXIT_IO,
    DataError,
    FileAccessError,
    MissingFileError,
    NoTrialsError,
    UnsafeFileError,
)

FUZZING = runpy.run_path(str(Path(__file__).with_name("fuzzing.py")))
N_INPUTS, count_outcomes, mutate = (FUZZING[name] for name in ("N_INPUTS", "count_outcomes", "mutate"))
N_TABLES, N_ARCHIVES = N_INPUTS * 125 // 1000, N_INPUTS * 75 // 1000
N_GUARDED = max(8, N_INPUTS // 20_000)
CSV = b"unit,trial,time_s\n1,1,0.5\n2,1,0.25\n1,2,0.75\n2,2,0.125\n"


@pytest.fixture
def nwb(tmp_path):
    """A small sound NWB file."""
    trials = pd.DataFrame({"start_s": [0.0, 1.0], "stop_s": [0.5, 1.5], "side": ["L", "R"]})
    recording = Recording.from_arrays([np.array([0.1, 0.2, 1.1]), np.array([0.3])], trials=trials)
    return recording.to_nwb(tmp_path / "sound.nwb")


@pytest.fixture
def folder():
    """A folder in memory, left when the test has grown no further than small files may make it."""
    with FUZZING["folder_in_memory"]() as made, FUZZING["bounded_memory"]():
        yield made


def reader(path, **options):
    """Give what reads bytes as the file of this path."""

    def read(content):
        path.write_bytes(content)
        read_recording(path, **options)

    return read


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


@pytest.mark.slow
def test_mutated_tables_end_in_a_result_or_a_typed_error(folder):
    rng = random.Random(11)
    outcomes = count_outcomes(reader(folder / "m.csv"), (mutate(CSV, rng) for _ in range(N_TABLES)))
    assert {"read", "DataError", "TimeUnitError"} <= set(outcomes)


@pytest.mark.slow
def test_mutated_archives_end_in_a_result_or_a_typed_error(folder):
    rng = random.Random(12)
    np.savez_compressed(
        folder / "seed.npz", times_s=np.arange(20.0), units=np.arange(20) % 3, trial_start_s=np.arange(3.0)
    )
    content = (folder / "seed.npz").read_bytes()
    outcomes = count_outcomes(reader(folder / "m.npz"), (mutate(content, rng) for _ in range(N_ARCHIVES)))
    assert {"read", "DataError"} <= set(outcomes)


def test_mutated_nwb_files_end_in_a_result_or_a_typed_error(nwb, tmp_path):
    rng = random.Random(13)
    content = nwb.read_bytes()
    # A reader in a child may take its own time; the guard watches the clock.
    outcomes = count_outcomes(reader(tmp_path / "m.nwb"), (mutate(content, rng) for _ in range(N_GUARDED)), alarm_s=200)
    assert "DataError" in outcomes


def test_mutated_matlab_files_end_in_a_result_or_a_typed_error(tmp_path):
    rng = random.Random(14)
    seed_path = tmp_path / "seed.mat"
    scipy.io.savemat(seed_path, {"spikes": np.arange(30.0), "info": {"a": [1, 2]}}, do_compression=False)
    content = seed_path.read_bytes()
    # The first 128 bytes are text and version; damage there only changes the format that is told.
    mutants = (content[:128] + mutate(content[128:], rng) for _ in range(N_GUARDED))
    outcomes = count_outcomes(reader(tmp_path / "m.mat", variable="spikes", time_unit="s"), mutants, alarm_s=200)
    assert {"DataError", "OptionError"} & set(outcomes)


def test_a_compressed_bomb_in_a_matlab_file_meets_the_memory_limit(tmp_path):
    path = tmp_path / "bomb.mat"
    scipy.io.savemat(path, {"train": np.zeros((1000, 40000))}, do_compression=True)
    assert path.stat().st_size < 2**20
    # Depending on scipy it is the header or the allocation that is refused first.
    with pytest.raises(DataError, match=r"(declares|needs) .*more than|needs more than the 192 MiB"):
        read_recording(path, variable="train", sample_rate_hz=1000)
