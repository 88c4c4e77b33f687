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
            n_finished += 1
    assert n_killed >= 0.3 * N_KILLS
    assert n_finished == -(-N_KILLS // 4)


@pytest.mark.slow
def test_kills_at_every_kind_of_touch_of_the_disk_change_no_bit(forked, recording_folder, uninterrupted, results):
    rng = np.random.default_rng(7)
    # Making, half writing, flushing, replacing, flushing the folder; half a line of the ledger, flushing it:
    # seven touches store one unit of work, and each must have been the last one in some run.
    for touch in [*range(1, 8), *rng.integers(8, LAST_TOUCH, N_KILLS - 7)]:
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
