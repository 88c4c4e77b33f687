"""A disk that is full, broken or read-only: a typed error, old results intact, and the run goes on afterwards (R19).

Oracle: exit code 5, the files that were there before, and the hash of an uninterrupted run.
CORTEXRNN_FUZZ=10000000 tries every point at which a run touches the disk.
"""

from __future__ import annotations

import contextlib
import ctypes
import json
import os
import subprocess
import sys

import numpy as np
import pytest
import xarray as xr

import cortexrnn as cx
from cortexrnn.errors import FileAccessError

N_POINTS = 8 if int(os.environ.get("CORTEXRNN_FUZZ", "0")) < 10_000_000 else 400
FAULTS = ("ENOSPC", "EIO", "EDQUOT", "EROFS", "EACCES")
RESULTS = ("summary.json", "units.csv", "methods.txt", "scores.nc", "report.html")
CAP_DAC_OVERRIDE, PR_CAPBSET_DROP = 1, 24


def keep_to_permissions():
    """Give up, in a child, the right of root to write where permissions forbid it."""
    ctypes.CDLL(None).prctl(PR_CAPBSET_DROP, CAP_DAC_OVERRIDE, 0, 0, 0)


@contextlib.contextmanager
def small_disk(folder, n_bytes):
    """Mount a file system of a few bytes; None where the system does not let us."""
    folder.mkdir()
    made = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", f"size={n_bytes}", "tmpfs", str(folder)], capture_output=True, check=False
    )
    if made.returncode:
        yield None
        return
    try:
        yield folder
    finally:
        subprocess.run(["umount", str(folder)], check=True, capture_output=True)


def is_complete(path):
    """Tell whether a result can be read whole."""
    if path.suffix == ".nc":
        with xr.open_dataset(path, engine="h5netcdf") as scores:
            return bool(np.isfinite(scores["log_likelihood"].values).all())
    if path.suffix == ".json":
        return "units" in json.loads(path.read_text())
    return len(path.read_text()) > 100 and (path.suffix != ".html" or "</html>" in path.read_text())


@pytest.mark.slow
def test_a_disk_that_fails_at_any_point_loses_nothing(forked, recording_folder, uninterrupted, results):
    rng = np.random.default_rng(19)
    n_failed = 0
    for number, touch in enumerate(rng.permutation(np.arange(1, 90))[:N_POINTS]):
        run = forked(recording_folder, touch=int(touch), fault=FAULTS[number % len(FAULTS)])
        assert run.code in (0, 5), run.text
        n_failed += run.code == 5
        if run.code == 5:
            assert "cortexrnn: out/" in run.text
            assert "Traceback" not in run.text
        assert results.leftovers(recording_folder) == []
        assert all(is_complete(path) for path in (recording_folder / "out").glob("*.*"))
    assert n_failed >= 4
    run = forked(recording_folder)
    assert run.code == 0, run.text
    assert results.digest(recording_folder / "out") == uninterrupted


@pytest.mark.slow
def test_older_results_stay_as_they_were_while_work_fails(forked, recording_folder, results):
    assert forked(recording_folder).code == 0
    before = results.digest(recording_folder / "out")
    for path in (recording_folder / "out" / "work").iterdir():
        path.unlink()
    run = forked(recording_folder, touch=40, fault="ENOSPC")
    assert run.code == 5
    assert "free some space and run the same command again" in run.text
    assert results.digest(recording_folder / "out") == before


@pytest.mark.slow
# 16: while work is stored; 68: in the scores; 152: in the page.
@pytest.mark.parametrize("n_kibibytes", [16, 68, 152])
def test_a_disk_that_is_really_full(forked, recording_folder, uninterrupted, results, n_kibibytes):
    with small_disk(recording_folder / "out", n_kibibytes * 1024) as disk:
        # Where nothing may be mounted, the same is asked of a disk that fails at a late point.
        hits = {} if disk else {"touch": 2 * n_kibibytes, "fault": "ENOSPC"}
        run = forked(recording_folder, **hits)
        assert run.code == 5, run.text
        assert "No space left on device (" in run.text or "ledger.jsonl: No space left" in run.text
        assert "bytes needed). The disk is full: free some space" in run.text or "ledger" in run.text
        assert "Traceback" not in run.text
        assert results.leftovers(recording_folder) == []
        assert all(is_complete(path) for path in (recording_folder / "out").glob("*.*"))
        if disk:
            subprocess.run(["mount", "-o", "remount,size=8m", str(disk)], check=True, capture_output=True)
        run = forked(recording_folder)
        assert run.code == 0, run.text
        assert results.digest(recording_folder / "out") == uninterrupted


@pytest.mark.parametrize("n_bytes", [10_000, 2_000_000])
def test_the_bytes_that_were_needed_are_told(tmp_path, n_bytes):
    # A limit on the size of files is a disk that is full for one process; small writes fail on closing only.
    script = (
        "import resource, sys; from cortexrnn.runs.files import atomic_write\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (100, 100))\n"
        f"try: atomic_write('a', bytes({n_bytes}))\n"
        "except Exception as error: sys.exit(f'{type(error).__name__} {error}')\n"
    )
    done = subprocess.run([sys.executable, "-c", script], cwd=tmp_path, capture_output=True, text=True, timeout=60)
    assert done.stderr.startswith(f"FileAccessError a: File too large ({n_bytes} bytes needed)."), done.stderr
    assert list(tmp_path.iterdir()) == []


def test_a_read_only_folder_is_named_before_any_work_is_lost(recording_folder, command):
    out = recording_folder / "out"
    out.mkdir()
    out.chmod(0o555)
    done = subprocess.run(
        [command.path, *command.arguments],
        cwd=recording_folder,
        capture_output=True,
        text=True,
        timeout=120,
        preexec_fn=keep_to_permissions,
    )
    assert done.returncode == 5, done.stderr
    assert "out/work" in done.stderr
    assert "Permission denied. The folder may not be written to: choose another one with --out" in done.stderr
    assert "Traceback" not in done.stderr
    assert list(out.iterdir()) == []


def test_a_folder_below_a_file_is_refused_at_once(recording_folder, command):
    arguments = [*command.arguments[:-1], "spikes.csv/out"]
    done = subprocess.run(
        [command.path, *arguments], cwd=recording_folder, capture_output=True, text=True, timeout=120
    )
    assert done.returncode == 5
    assert "A part of the path is a file, not a folder" in done.stderr


def test_the_library_raises_what_the_command_shows(recording_folder):
    recording = cx.read_recording(recording_folder / "spikes.csv", trials=recording_folder / "trials.csv")
    with pytest.raises(FileAccessError, match="A part of the path is a file"):
        cx.compare(recording, run=cx.RunSettings(folder=recording_folder / "spikes.csv"), window_s=(0.0, 0.5))


def test_a_screen_that_is_full_is_a_typed_error(recording_folder, command):
    with open("/dev/full", "w") as full:
        done = subprocess.run(
            [command.path, "doctor", "spikes.csv"],
            cwd=recording_folder,
            stdout=full,
            stderr=subprocess.PIPE,
            text=True,
            timeout=60,
        )
    assert done.returncode == 5
    assert "standard output: No space left on device" in done.stderr
    assert "Traceback" not in done.stderr


def test_a_reader_that_goes_away_is_no_fault(recording_folder, command):
    script = f"{command.path} doctor spikes.csv --json | {sys.executable} -c 'pass'"
    done = subprocess.run(script, shell=True, cwd=recording_folder, capture_output=True, text=True, timeout=60)
    assert "Traceback" not in done.stderr
