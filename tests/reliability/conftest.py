"""The command under test, run in forked children, and what its results hash to."""

from __future__ import annotations

import hashlib
import json
import shlex
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import xarray as xr

COMMAND = Path(sys.executable).with_name("cortexrnn")
ARGUMENTS = shlex.split(
    "compare spikes.csv --trials trials.csv --align stim_s --window 0 0.5 --bin 0.005 --history 0.1 "
    "--quick --units 1 --surrogates 2 --folds 3 --workers 2 --out out"
)


def write_recording(folder):
    """Write three units with a dead time in 24 trials as two small tables."""
    rng = np.random.default_rng(0)
    spikes = [
        f"{unit},{time:.6f}"
        for unit in range(3)
        for time in np.cumsum(0.004 + rng.exponential(0.03, 700))
        if time < 24.0
    ]
    (folder / "spikes.csv").write_text("unit,time_s\n" + "\n".join(spikes) + "\n")
    trials = [f"{k},{k},{k + 1},{k + 0.3},{'LR'[k % 2]}" for k in range(24)]
    (folder / "trials.csv").write_text("trial,start_s,stop_s,stim_s,side\n" + "\n".join(trials) + "\n")


def digest(folder):
    """Give the SHA-256 of the arrays of scores.nc and of every other result."""
    found = {}
    sha = hashlib.sha256()
    with xr.open_dataset(folder / "scores.nc", engine="h5netcdf") as scores:
        for name in sorted(map(str, scores.variables)):
            values = scores[name].values
            content = json.dumps(values.tolist()).encode() if values.dtype.kind in "OU" else values.tobytes()
            sha.update(f"{name} {values.shape}".encode() + content)
    found["scores.nc"] = sha.hexdigest()
    for name in ("summary.json", "units.csv", "methods.txt", "report.html"):
        found[name] = hashlib.sha256((folder / name).read_bytes()).hexdigest()
    return found


def leftovers(folder):
    """Give the names of temporary files."""
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*.tmp"))


class Runner:
    """Runs of the command in forked children of one warm process."""

    def __init__(self, folder):
        self.server = subprocess.Popen(
            [sys.executable, str(Path(__file__).with_name("forked_runs.py")), str(folder)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        assert self.server.stdout.readline() == "{}\n"

    def __call__(self, folder, **how):
        """Run the command in `folder`; what hits it is in `how`."""
        log = folder / "log.txt"
        job = {"folder": str(folder), "log": str(log), "arguments": ARGUMENTS, **how}
        print(json.dumps(job), file=self.server.stdin, flush=True)
        answer = json.loads(self.server.stdout.readline())
        return SimpleNamespace(text=log.read_text(), **answer)


@pytest.fixture(scope="session")
def forked(tmp_path_factory):
    """A runner that is warm."""
    folder = tmp_path_factory.mktemp("warm")
    write_recording(folder)
    runner = Runner(folder)
    yield runner
    runner.server.stdin.close()
    runner.server.wait(30)
    runner.server.stdout.close()


@pytest.fixture
def recording_folder(tmp_path):
    """A folder with a small recording."""
    write_recording(tmp_path)
    return tmp_path


@pytest.fixture(scope="session")
def uninterrupted(tmp_path_factory):
    """What the results of the whole command hash to, run once in a process of its own."""
    folder = tmp_path_factory.mktemp("uninterrupted")
    write_recording(folder)
    subprocess.run([COMMAND, *ARGUMENTS], cwd=folder, check=True, capture_output=True, timeout=120)
    return digest(folder / "out")


@pytest.fixture(scope="session")
def results():
    """Functions that make a folder with a recording and look into one with results."""
    return SimpleNamespace(digest=digest, leftovers=leftovers, write_recording=write_recording)


@pytest.fixture(scope="session")
def command():
    """The command and the arguments of the run that is interrupted."""
    return SimpleNamespace(path=str(COMMAND), arguments=ARGUMENTS)
