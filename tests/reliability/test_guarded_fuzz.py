"""Damaged files of third parties' formats end in a recording or a typed error, and the reading process lives (R2).

The guard's own code runs over forked children, of one process that has loaded all libraries: `guarded_inputs`.
Oracle: the class of what is raised, an audit hook in every child, and the life of that process. CORTEXRNN_FUZZ is the
number of inputs of our own parsers; one for fifty of them is read here, and 3000 at least in an ordinary run.
"""

from __future__ import annotations

import json
import os
import runpy
import subprocess
import sys
from pathlib import Path

import h5py
import numpy as np
import pandas as pd
import pytest
import scipy.io

from cortexrnn import Recording
from cortexrnn.runs.guard import _child_environment

HERE = Path(__file__).parent
FUZZING = runpy.run_path(str(HERE / "fuzzing.py"))
WRITERS = runpy.run_path(str(HERE.parent / "reference" / "format_writers.py"))
N_INPUTS = int(os.environ.get("CORTEXRNN_FUZZ", "150000")) // 50
TRUTH = {
    "rate_hz": 30_000,
    "units": {2: [300, 600], 4: [450, 900, 903], 9: [1500]},
    "trials": [(0, 300, 1), (600, 900, 2)],
    "observed": [(0, 3000)],
}
RASTER = np.array([[0, 1, 0, 0, 1, 0], [0, 0, 0, 0, 0, 0], [1, 0, 0, 0, 0, 1]], dtype=np.uint8)
TYPED = {
    "read", "DataError", "OptionError", "ReaderCrashed", "ReaderTimeout", "UnsafeFileError", "FileAccessError",
    "MissingFileError", "TimeUnitError", "NoTrialsError",
}  # fmt: skip


def write_nwb(folder, _):
    trials = pd.DataFrame({"start_s": [0.0, 1.0], "stop_s": [0.5, 1.5], "side": ["L", "R"]})
    recording = Recording.from_arrays([np.array([0.1, 0.2, 1.1]), np.array([0.3])], trials=trials)
    return recording.to_nwb(folder / "sound.nwb")


def write_raster(folder, _):
    scipy.io.savemat(folder / "raster.mat", {"train": RASTER, "side": np.array([[0], [1], [1]])})
    return folder / "raster.mat"


def write_compressed(folder, _):
    scipy.io.savemat(folder / "raster.mat", {"train": RASTER}, do_compression=True)
    return folder / "raster.mat"


def write_matlab73(folder, _):
    path = folder / "raster.mat"
    with h5py.File(path, "w", userblock_size=512) as file:
        data = file.create_dataset("train", data=RASTER.T.astype(float))
        data.attrs["MATLAB_class"] = np.bytes_("double")
    with open(path, "r+b") as file:
        file.write(b"MATLAB 7.3 MAT-file, Platform: GLNXA64".ljust(124) + b"\x00\x02IM")
    return path


RASTERS = {"variable": "train", "sample_rate_hz": 1000.0}
SAMPLES = {"time_unit": "samples", "sample_rate_hz": 30_000.0}
SEEDS = {
    "nwb": (write_nwb, {}),
    "nix": (WRITERS["write_nix"], {}),
    "matlab raster": (write_raster, RASTERS),
    "matlab compressed": (write_compressed, RASTERS),
    "matlab structs": (WRITERS["write_matlab"], {"time_unit": "s"}),
    "matlab cells": (WRITERS["write_matlab_cells"], SAMPLES),
    "matlab 7.3": (write_matlab73, RASTERS),
    "fieldtrip": (WRITERS["write_fieldtrip"], SAMPLES),
    **{
        name: (WRITERS[f"write_{name}"], {})
        for name in ("plexon", "blackrock", "neuralynx", "neuroexplorer", "spike2", "openephys", "tdt", "axona")
    },
}


class Server:
    """A warm process that reads damaged files."""

    def __init__(self, folder):
        self.folder = folder
        self.process = subprocess.Popen(
            [sys.executable, str(HERE / "guarded_inputs.py"), str(folder / "log.txt")],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env=_child_environment(),
            text=True,
        )

    def __call__(self, name, number, seed=1, plant=None):
        """Read so many damages of a format's file."""
        write, options = SEEDS[name]
        folder = self.folder / f"{name} {plant}"
        folder.mkdir()
        job = {"path": str(write(folder, TRUTH)), "options": options, "number": number, "seed": seed, "plant": plant}
        print(json.dumps(job), file=self.process.stdin, flush=True)
        line = self.process.stdout.readline()
        assert line, f"the reading process died of {name}"
        return json.loads(line)


@pytest.fixture(scope="module")
def server():
    """A server with its folder in memory; it lives to the end."""
    with FUZZING["folder_in_memory"]() as folder:
        made = Server(folder)
        yield made
        made.process.stdin.close()
        assert made.process.wait(30) == 0
        made.process.stdout.close()


@pytest.mark.slow
@pytest.mark.parametrize("name", SEEDS)
def test_damaged_files_end_in_a_recording_or_a_typed_error(server, name):
    answer = server(name, -(-N_INPUTS // len(SEEDS)))
    assert answer["escape"] is None
    assert answer["seen"] == []
    assert {"read", "DataError"} <= set(answer["counts"]) <= TYPED


@pytest.mark.parametrize(
    ("plant", "told"),
    [("crash", "ReaderCrashed"), ("exit", "ReaderCrashed"), ("hang", "ReaderTimeout"), ("memory", "DataError")],
)
def test_what_goes_wrong_in_a_child_is_told_by_its_class(server, plant, told):
    answer = server("matlab raster", 5, plant=plant)
    assert answer["escape"] is None
    assert told in answer["counts"]
    assert "read" not in answer["counts"]


def test_an_escape_behind_the_child_is_found(server):
    """Whatever of a damaged file comes through the pipe is used in the reading process itself."""
    assert server("matlab raster", 50, plant="escape")["escape"].startswith("KeyError from (")


@pytest.mark.parametrize(("plant", "event"), [("code", "exec "), ("write", "open ")])
def test_what_a_child_should_not_do_is_seen(server, plant, event):
    seen = server("matlab raster", 5, plant=plant)["seen"]
    assert any(line.startswith(event) for line in seen)
