"""SIGINT and SIGTERM at random moments: a clean end with the right code, no half files, and the run goes on (R20).

Oracle: exit codes of the shell (128 + signal), the content of the folder, and the hash of an uninterrupted run.
CORTEXRNN_FUZZ=10000000 makes it 200 stops.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
import zipfile

import numpy as np
import pytest

N_STOPS = max(10, int(os.environ.get("CORTEXRNN_FUZZ", "0")) // 50_000)
# The promise is 5 s on a free machine; tests share theirs.
PATIENCE_S = 20.0


@pytest.mark.slow
@pytest.mark.parametrize(("name", "code", "word"), [("SIGINT", 130, "stopped"), ("SIGTERM", 143, "terminated")])
def test_a_signal_ends_the_run_cleanly_at_any_moment(
    forked, recording_folder, uninterrupted, results, name, code, word
):
    rng = np.random.default_rng(code)
    n_stopped, whole_s = 0, forked(recording_folder).seconds
    for number in range(-(-N_STOPS // 2)):
        if number % 3 == 0 and (recording_folder / "out").exists():
            (recording_folder / "out").rename(recording_folder / f"before{number}")
        run = forked(recording_folder, after_s=float(rng.uniform(0.02, whole_s)), signal=name)
        if run.code != 0:
            n_stopped += 1
            # Killed without a word is right only when everything was written already.
            assert run.code == code or (recording_folder / "out" / "report.html").exists(), run.text
            assert run.seconds_after_signal < PATIENCE_S
            assert word in run.text or run.code < 0
        assert "Traceback" not in run.text
        assert results.leftovers(recording_folder) == []
        for path in recording_folder.rglob("out/work/*.npz"):
            with zipfile.ZipFile(path) as archive:
                assert archive.testzip() is None
    assert n_stopped >= 1
    run = forked(recording_folder)
    assert run.code == 0, run.text
    assert results.digest(recording_folder / "out") == uninterrupted


@pytest.mark.slow
@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_the_command_itself_says_how_to_go_on(recording_folder, command, number, code):
    long = [*command.arguments, "--surrogates", "999", "--bin", "0.001"]
    with subprocess.Popen(
        [command.path, *long], cwd=recording_folder, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        deadline = time.monotonic() + 90
        while not list(recording_folder.glob("out/work/*.npz")):
            assert time.monotonic() < deadline
            assert process.poll() is None
            time.sleep(0.02)
        process.send_signal(number)
        out, err = process.communicate(timeout=PATIENCE_S)
    assert process.returncode == code
    assert "The same command goes on" in err or "the same command goes on" in err
    assert "Traceback" not in err
    assert out == ""
    assert not (recording_folder / "out" / "report.html").exists()


@pytest.mark.parametrize(("name", "code"), [("SIGINT", 130), ("SIGTERM", 143)])
def test_a_stop_that_falls_into_a_callback_is_raised_again(tmp_path, name, code):
    # Python drops what is raised in the callback of a weak reference; without more the run would go on.
    script = tmp_path / "script.py"
    script.write_text(
        "import signal, sys, time, weakref\n"
        "from cortexrnn.cli import cli, main\n"
        "class Thing: pass\n"
        "@cli.command()\n"
        "def wait():\n"
        "    thing = Thing()\n"
        f"    kept = weakref.ref(thing, lambda _: signal.raise_signal(signal.{name}))\n"
        "    del thing\n"
        "    time.sleep(60)\n"
        "sys.argv = ['cortexrnn', 'wait']\n"
        "main()\n"
    )
    done = subprocess.run([sys.executable, script], capture_output=True, text=True, timeout=PATIENCE_S)
    assert done.returncode == code
    assert "Exception ignored" not in done.stderr
