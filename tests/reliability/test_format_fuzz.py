"""Folders of spike sorters and vendors' files with any damage: a recording or a typed error (R1 to R3).

Oracle: the class of what is raised, an alarm clock for our own parsers, and the life of this process for those
that Neo reads in the guarded child. The number of inputs is turned up by CORTEXRNN_FUZZ.
"""

from __future__ import annotations

import os
import runpy
import shutil
import signal
import warnings
from pathlib import Path

import numpy as np
import pytest

from cortexrnn import read_recording
from cortexrnn.errors import CortexError, DataError, DataWarning

N_INPUTS = int(os.environ.get("CORTEXRNN_FUZZ", "2000"))
N_OWN = max(50, N_INPUTS // 4)
N_GUARDED = max(3, N_INPUTS // 600)
ALARM_S = 5
WRITERS = runpy.run_path(str(Path(__file__).parents[1] / "reference" / "format_writers.py"))
TRUTH = {
    "rate_hz": 30_000,
    "units": {2: [300, 600], 4: [450, 900, 903], 9: [1500]},
    "trials": [(0, 300, 1), (600, 900, 2)],
    "observed": [(0, 3000)],
}
OWN = {
    "phy": "write_phy",
    "alf": "write_alf",
    "spikeinterface folder": "write_spikeinterface_folder",
    "spikeinterface npz": "write_spikeinterface_npz",
    "pynapple": "write_pynapple",
}
GUARDED = {
    name: f"write_{name}"
    for name in (
        "plexon", "blackrock", "neuralynx", "neuroexplorer", "spike2", "openephys", "tdt", "axona", "nix", "fieldtrip",
    )
}  # fmt: skip
NUMBERS = [b"-1", b"nan", b"inf", b"1e400", b"9" * 40, b"", b"\xff", b"0x1", b"1_0", b"\x00", b"good", b"\t", b"\n"]
SHAPES = [b"(6,)", b"(1099511627776,)", b"(-1,)", b"(2, 3)", b"()", b"(0,)", b"(6.0,)", b"(True,)"]
DESCRS = [b"'<i8'", b"'|O'", b"'<f8'", b"'>u8'", b"'<U9'", b"'<c16'", b"[('a', '|O')]", b"'<M8[s]'", b"3"]


def damage(content, rng):
    """Flip bits, cut, splice, fill with ones, or put a strange token or array header in."""
    data = bytearray(content)
    at = int(rng.integers(0, max(len(data), 1)))
    kind = rng.integers(6)
    if kind == 0:
        for place in rng.integers(0, max(len(data), 1), size=rng.integers(1, 6)):
            data[place : place + 1] = bytes([int(rng.integers(256))])
    elif kind == 1:
        del data[at:]
    elif kind == 2:
        data[at : at + int(rng.integers(0, 64))] = data[: int(rng.integers(0, 64))]
    elif kind == 3:
        data[at : at + 8] = b"\xff" * 8
    elif kind == 4:
        data[at : at + 2] = NUMBERS[int(rng.integers(len(NUMBERS)))]
    else:
        shape, descr = (options[int(rng.integers(len(options)))] for options in (SHAPES, DESCRS))
        header = b"{'descr': %s, 'fortran_order': False, 'shape': %s}" % (descr, shape)
        data[:128] = b"\x93NUMPY\x01\x00\x76\x00" + header.ljust(117) + b"\n"
    return bytes(data)


def outcome(path, **options):
    """Give the name of the typed error, or "read"; any other exception escapes."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DataWarning)
        try:
            read_recording(path, **options)
        except CortexError as error:
            return type(error).__name__
    return "read"


def damaged(path, rng):
    """Damage one file, of a folder any one, and give it with its sound content."""
    files = [path] if path.is_file() else sorted(file for file in path.rglob("*") if file.is_file())
    victim = files[int(rng.integers(len(files)))]
    sound = victim.read_bytes()
    victim.write_bytes(damage(sound, rng))
    return victim, sound


@pytest.fixture
def alarm():
    """Fail when a parser of ours hangs; give the function that winds the clock."""

    def ring(*_):
        raise TimeoutError("the parser hangs")

    before = signal.signal(signal.SIGALRM, ring)
    yield lambda: signal.alarm(ALARM_S)
    signal.alarm(0)
    signal.signal(signal.SIGALRM, before)


@pytest.mark.slow
@pytest.mark.parametrize("name", OWN)
def test_damaged_sortings_end_in_a_recording_or_a_typed_error(tmp_path, name, alarm):
    rng = np.random.default_rng(201)
    path = WRITERS[OWN[name]](tmp_path, TRUTH)
    outcomes = set()
    for _ in range(N_OWN):
        alarm()
        victim, sound = damaged(path, rng)
        outcomes.add(outcome(path))
        victim.write_bytes(sound)
    assert {"DataError", "read"} <= outcomes
    assert outcome(path) == "read"


@pytest.mark.slow
@pytest.mark.parametrize("name", GUARDED)
def test_damaged_vendor_files_end_in_a_recording_or_a_typed_error(tmp_path, name):
    rng = np.random.default_rng(202)
    options = {"time_unit": "samples", "sample_rate_hz": 30_000} if name == "fieldtrip" else {}
    path = WRITERS[GUARDED[name]](tmp_path, TRUTH)
    outcomes = set()
    for _ in range(N_GUARDED):
        victim, sound = damaged(path, rng)
        outcomes.add(outcome(path, **options))
        victim.write_bytes(sound)
    assert outcome(path, **options) == "read"
    # That this process is alive is what is tested; every outcome has a name that a user can look up.
    assert outcomes <= {
        "read", "DataError", "OptionError", "ReaderCrashed", "ReaderTimeout", "UnsafeFileError", "FileAccessError",
        "MissingFileError", "TimeUnitError",
    }  # fmt: skip


@pytest.mark.parametrize("name", ["phy", "alf", "spikeinterface folder"])
@pytest.mark.parametrize("shape", ["(1099511627776,)", "(1, 4611686018427387904)", "(0, 4611686018427387904)"])
def test_an_array_that_declares_more_than_there_is_is_refused(tmp_path, name, shape):
    path = WRITERS[OWN[name]](tmp_path, TRUTH)
    victim = max(path.glob("spike*.npy"), key=lambda file: file.name)
    header = f"{{'descr': '<i8', 'fortran_order': False, 'shape': {shape}}}".encode()
    victim.write_bytes(b"\x93NUMPY\x01\x00\x76\x00" + header.ljust(117) + b"\n" + bytes(48))
    with pytest.raises(DataError, match=r"declares"):
        read_recording(path)


@pytest.mark.parametrize("name", ["phy", "alf", "neuralynx", "tdt"])
def test_a_folder_whose_files_are_folders_or_gone_is_a_typed_error(tmp_path, name):
    path = WRITERS[{**OWN, **GUARDED}[name]](tmp_path, TRUTH)
    for victim in sorted(path.iterdir()):
        kept = victim.rename(tmp_path / "kept")
        assert outcome(path) != "crash"
        victim.mkdir()
        assert outcome(path) != "crash"
        victim.rmdir()
        kept.rename(victim)
    assert outcome(path) == "read"
    shutil.rmtree(path)
    assert outcome(path) == "MissingFileError"
