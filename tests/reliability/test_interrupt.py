"""SIGINT and SIGTERM at random moments: a clean end with the right code, no half files, and the run goes on (R20).

Oracle: exit codes of the shell (128 + signal), the content of the folder, and the hash of an uninterrupted run.
"""

from __future__ import annotations

import os
import signal
import subprocess
import time
import zipfile

import numpy as np
import pytest

N_STOPS = int(os.environ.get("CORTEXRNN_FUZZ", "10"))
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
        if number % 3 == 0:
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


def test_a_stop_that_falls_into_a_callback_is_raised_again(tmp_path):
    script = (
        "import sys, time, signal, weakref, click\n"
        "import cortexrnn.cli as cli\n"
        "class Thing: pass\n"
        "@cli.cli.command()\n"
        "def wait():\n"
        "    thing = Thing()\n"
        "    kept = weakref.ref(thing, lambda _: signal.raise_signal(getattr(signal, sys.argv[2])))\n"
        "    del thing\n"
        "    for _ in range(1000): time.sleep(0.02)\n"
        "name = sys.argv.pop(1)\n"
        "sys.argv[1:] = ['wait', name]\n"
        "wait.allow_extra_args = True\n"
        "wait.params.append(click.Argument(['name'], expose_value=False))\n"
        "cli.main()\n"
    )
    path = tmp_path / "script.py"
    path.write_text(script)
    import sys

    for name, code in (("SIGINT", 130), ("SIGTERM", 143)):
        done = subprocess.run([sys.executable, str(path), name], capture_output=True, text=True, timeout=PATIENCE_S)
        assert done.returncode == code, done.stderr
        assert "Exception ignored" not in done.stderr
