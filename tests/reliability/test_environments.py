"""Odd environments: the command works, or says in one typed line what it lacks (R28, R30).

Oracle: what the same command prints in the environment of the tests.
"""

from __future__ import annotations

import ctypes
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import cortexrnn

CAP_DAC_OVERRIDE, PR_CAPBSET_DROP = 1, 24
NOWHERE = "/proc/no/such/folder"
DOCTOR = ["doctor", "spikes.csv", "--trials", "trials.csv", "--json"]
ENVIRONMENTS = {
    "a kernel cache that cannot be written": {"NUMBA_CACHE_DIR": NOWHERE},
    "no home": {"HOME": None, "XDG_CACHE_HOME": None},
    "a home that is not there": {"HOME": NOWHERE, "XDG_CACHE_HOME": NOWHERE, "MPLCONFIGDIR": NOWHERE},
    "LANG=C": {"LANG": "C", "LC_ALL": None, "LC_CTYPE": None},
    "ASCII in and out": {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"},
    "a locale that does not exist": {"LC_ALL": "xx_YY.nonsense"},
    "a time zone ahead of all": {"TZ": "Pacific/Kiritimati"},
    "a time zone that does not exist": {"TZ": "Mars/Olympus_Mons"},
    "no compiler and no other program": {"PATH": NOWHERE, "CC": NOWHERE},
    "no folder for temporary files": {"TMPDIR": NOWHERE},
    "a narrow terminal": {"COLUMNS": "1", "TERM": "dumb"},
    "assertions off": {"PYTHONOPTIMIZE": "2"},
}


def changed(changes):
    """Give the environment of the tests with changes; None removes."""
    merged = {**os.environ, **changes}
    return {name: value for name, value in merged.items() if value is not None}


def keep_to_permissions():
    """Give up, in a child, the right of root to write where permissions forbid it."""
    ctypes.CDLL(None).prctl(PR_CAPBSET_DROP, CAP_DAC_OVERRIDE, 0, 0, 0)


def run(command, folder, changes=None, **how):
    """Run the command through its interpreter, so that an empty PATH does not hide it."""
    return subprocess.run(
        [sys.executable, *command],
        cwd=folder,
        env=changed(changes or {}),
        capture_output=True,
        encoding="utf-8",
        timeout=120,
        **how,
    )


@pytest.fixture(scope="module")
def usual(tmp_path_factory, command, results):
    """What doctor says where nothing is odd."""
    folder = tmp_path_factory.mktemp("usual")
    results.write_recording(folder)
    return json.loads(run([command.path, *DOCTOR], folder).stdout)


@pytest.mark.slow
@pytest.mark.parametrize("name", ENVIRONMENTS)
def test_doctor_says_the_same_in_an_odd_environment(recording_folder, command, usual, name):
    odd = run([command.path, *DOCTOR], recording_folder, ENVIRONMENTS[name])
    assert odd.returncode == 0, odd.stderr
    assert json.loads(odd.stdout) == usual


def test_an_ascii_terminal_shows_names_it_cannot_write(recording_folder, command):
    path = recording_folder / "Zelle \u00e9\u4e2d.csv"
    path.write_text("unit,time_s\n\u00e9\u4e2d,0.5\n\u00e9\u4e2d,0.75\n", encoding="utf-8")
    done = run([command.path, "doctor", path.name], recording_folder, ENVIRONMENTS["ASCII in and out"])
    assert "Traceback" not in done.stderr
    assert done.returncode == 0, done.stderr


@pytest.mark.slow
def test_compare_works_in_all_of_them_at_once_in_a_folder_with_spaces(
    recording_folder, command, uninterrupted, results
):
    changes = {}
    for name in ("no home", "ASCII in and out", "a time zone ahead of all", "no compiler and no other program"):
        changes |= ENVIRONMENTS[name]
    folder = recording_folder / "ein Ordner \u00e9\u4e2d"
    folder.mkdir()
    for name in ("spikes.csv", "trials.csv"):
        (folder / name).write_bytes((recording_folder / name).read_bytes())
    done = run([command.path, *command.arguments], folder, changes)
    assert done.returncode == 0, done.stderr
    assert results.digest(folder / "out") == uninterrupted


@pytest.mark.slow
def test_a_place_where_no_kernel_can_be_kept_is_named(recording_folder, tmp_path):
    # The package in a folder that may not be written to, as on a shared system, and no home.
    site = tmp_path / "site"
    source = Path(cortexrnn.__file__).parent
    shutil.copytree(source, site / "cortexrnn", ignore=shutil.ignore_patterns("__pycache__"))
    for path in [site, *site.rglob("*")]:
        path.chmod(0o555 if path.is_dir() else 0o444)
    changes = {"PYTHONPATH": str(site), "HOME": NOWHERE, "XDG_CACHE_HOME": NOWHERE, "NUMBA_CACHE_DIR": NOWHERE}
    script = (
        "import cortexrnn, sys; from cortexrnn.cli import main; "
        "assert cortexrnn.__file__.startswith(sys.argv.pop(1)); main()"
    )
    arguments = ["-c", script, str(site), "compare", "spikes.csv", "--trials", "trials.csv", "--window", "0", "0.5"]
    done = run(arguments, recording_folder, changes, preexec_fn=keep_to_permissions)
    for path in [site, *site.rglob("*")]:
        path.chmod(0o755)
    assert done.returncode == 5, done.stderr
    assert "Set the environment variable NUMBA_CACHE_DIR to a folder that may be written to" in done.stderr
    assert "Traceback" not in done.stderr
