"""Folders of spike sorters and vendors' files with any damage: a recording or a typed error (R1 to R3).

Oracle: the class of what is raised, an alarm clock for our own parsers, and the life of this process for those
that Neo reads in the guarded child; `test_guarded_fuzz` has many more of those. CORTEXRNN_FUZZ is the number of
inputs of all fuzz tests together.
"""

from __future__ import annotations

import random
import runpy
import shutil
import warnings
from pathlib import Path

import pytest

from cortexrnn import read_recording
from cortexrnn.errors import CortexError, DataError, DataWarning

FUZZING = runpy.run_path(str(Path(__file__).with_name("fuzzing.py")))
N_OWN = FUZZING["N_INPUTS"] // 100
N_GUARDED = max(1, FUZZING["N_INPUTS"] // 200_000)
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
    at = rng.randrange(max(len(data), 1))
    kind = rng.randrange(6)
    if kind == 0:
        for _ in range(rng.randrange(1, 6)):
            place = rng.randrange(max(len(data), 1))
            data[place : place + 1] = bytes([rng.randrange(256)])
    elif kind == 1:
        del data[at:]
    elif kind == 2:
        data[at : at + rng.randrange(64)] = data[: rng.randrange(64)]
    elif kind == 3:
        data[at : at + 8] = b"\xff" * 8
    elif kind == 4:
        data[at : at + 2] = rng.choice(NUMBERS)
    else:
        header = b"{'descr': %s, 'fortran_order': False, 'shape': %s}" % (rng.choice(DESCRS), rng.choice(SHAPES))
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


def damages(path, rng, number):
    """Give so many damages of a file, or of any one of a folder: the victim, its sound and its damaged content."""
    files = [path] if path.is_file() else sorted(file for file in path.rglob("*") if file.is_file())
    sound = {file: file.read_bytes() for file in files}
    for _ in range(number):
        victim = rng.choice(files)
        yield victim, sound[victim], damage(sound[victim], rng)


@pytest.mark.slow
@pytest.mark.parametrize("name", OWN)
def test_damaged_sortings_end_in_a_recording_or_a_typed_error(name):
    def read(given):
        victim, sound, damaged = given
        victim.write_bytes(damaged)
        try:
            read_recording(path)
        finally:
            victim.write_bytes(sound)

    with FUZZING["folder_in_memory"]() as folder, FUZZING["bounded_memory"]():
        path = WRITERS[OWN[name]](folder, TRUTH)
        outcomes = FUZZING["count_outcomes"](read, damages(path, random.Random(201), N_OWN))
        assert {"DataError", "read"} <= set(outcomes)
        assert outcome(path) == "read"


@pytest.mark.slow
@pytest.mark.parametrize("name", GUARDED)
def test_damaged_vendor_files_end_in_a_recording_or_a_typed_error(tmp_path, name):
    rng = random.Random(202)
    options = {"time_unit": "samples", "sample_rate_hz": 30_000} if name == "fieldtrip" else {}
    path = WRITERS[GUARDED[name]](tmp_path, TRUTH)
    outcomes = set()
    for victim, sound, damaged in damages(path, rng, N_GUARDED):
        victim.write_bytes(damaged)
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
