"""kill -9 at any moment, then the same command: the results are those of a run that nobody killed, to the bit (R6).

Oracle: SHA-256 of the results of one uninterrupted run in a process of its own. CORTEXRNN_FUZZ=10000000
makes it a thousand kills.
"""

from __future__ import annotations

import os
import signal
import subprocess
import time

import numpy as np
import pytest

N_KILLS = max(10, int(os.environ.get("CORTEXRNN_FUZZ", "0")) // 10_000)
LAST_TOUCH = 45
# Before an empty file is made, in the middle of its bytes, before they are flushed, before it gets its name.
STEPS = ("make", "write", "open", "fsync", "replace")
# What else is touched after the first file of a kind: its folder is flushed, and the ledger gets a line.
AFTER = {
    "unit of work": ["open work", "fsync work", "write ledger.jsonl", "fsync ledger.jsonl"],
    "summary.json": ["open out", "fsync out"],
    "figure": ["open figures", "fsync figures"],
}
FILES = ("unit of work", "summary.json", "units.csv", "methods.txt", "scores.nc", "figure", "report.html")
POINTS = {file: [f"{step} {file}" for step in STEPS] + AFTER.get(file, []) for file in FILES}


@pytest.mark.slow
def test_kills_at_random_moments_change_no_bit(forked, recording_folder, uninterrupted, results):
    rng = np.random.default_rng(6)
    whole_s = forked(recording_folder).seconds
    n_killed, n_finished = 0, 0
    for number in range(N_KILLS):
        if number % 4 == 0:
            folder = recording_folder / f"chain{number}"
            folder.mkdir()
            for name in ("spikes.csv", "trials.csv"):
                (folder / name).write_bytes((recording_folder / name).read_bytes())
        # The kills of a chain hit the same folder one after another, each on what the one before left.
        run = forked(folder, after_s=float(rng.uniform(0.0, whole_s)), signal="SIGKILL")
        n_killed += run.code == -signal.SIGKILL
        if number % 4 == 3 or number == N_KILLS - 1:
            run = forked(folder)
            assert run.code == 0, run.text
            assert results.digest(folder / "out") == uninterrupted
            assert results.leftovers(folder) == []
            n_finished += 1
    assert n_killed >= 0.3 * N_KILLS
    assert n_finished == -(-N_KILLS // 4)


@pytest.mark.slow
@pytest.mark.parametrize("file", POINTS)
def test_a_kill_at_every_point_of_writing_a_file_changes_no_bit(
    forked, recording_folder, uninterrupted, results, file
):
    n_left = []
    for point in POINTS[file]:
        run = forked(recording_folder, touch=point, fault="kill")
        assert run.code == -signal.SIGKILL, f"{point}: {run.text}"
        n_left.append(len(results.leftovers(recording_folder)))
    # Between making a file and giving it its name half of it stays behind, until the next run comes.
    assert n_left == [0, 1, 1, 1, 1] + [0] * len(AFTER.get(file, []))
    run = forked(recording_folder)
    assert run.code == 0, run.text
    assert results.digest(recording_folder / "out") == uninterrupted
    assert results.leftovers(recording_folder) == []


@pytest.mark.slow
def test_kills_at_random_touches_of_the_disk_change_no_bit(forked, recording_folder, uninterrupted, results):
    rng = np.random.default_rng(7)
    for touch in rng.integers(1, LAST_TOUCH, N_KILLS // 2):
        run = forked(recording_folder, touch=int(touch), fault="kill")
        assert run.code in (-signal.SIGKILL, 0), run.text
        if run.code == 0:
            break
    run = forked(recording_folder)
    assert run.code == 0, run.text
    assert results.digest(recording_folder / "out") == uninterrupted


@pytest.mark.slow
def test_the_command_itself_goes_on_after_kills(recording_folder, uninterrupted, results, command):
    rng = np.random.default_rng(8)
    for _ in range(2):
        with subprocess.Popen(
            [command.path, *command.arguments],
            cwd=recording_folder,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        ) as process:
            # Wait until work is on the disk, then a random moment more: a loaded machine starts slowly.
            deadline = time.monotonic() + 60
            n_before = len(list(recording_folder.glob("out/work/*.npz")))
            while len(list(recording_folder.glob("out/work/*.npz"))) <= n_before and process.poll() is None:
                assert time.monotonic() < deadline
                time.sleep(0.01)
            time.sleep(float(rng.uniform(0.0, 0.5)))
            process.kill()
    done = subprocess.run([command.path, *command.arguments], cwd=recording_folder, capture_output=True, timeout=120)
    assert done.returncode == 0, done.stderr.decode()
    assert results.digest(recording_folder / "out") == uninterrupted
