"""Imports run one way, and looking at the package costs nothing (R31).

Oracle: import-linter on the contracts of pyproject.toml, and the list of modules of a fresh interpreter.
"""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
COMMAND = Path(sys.executable).with_name("cortexrnn")
LINTER = Path(sys.executable).with_name("lint-imports")
HEAVY = {
    "brian2", "dask", "elephant", "h5py", "jax", "jinja2", "matplotlib", "neo", "numba", "numpy", "pandas", "pynwb",
    "quantities", "scipy", "sklearn", "sympy", "torch", "tqdm", "xarray",
}  # fmt: skip
VENDORS = {"brian2", "dask", "elephant", "jax", "neo", "pynwb", "quantities", "sympy", "torch"}
LIST_MODULES = "import sys, json; print(json.dumps(sorted({name.partition('.')[0] for name in sys.modules})))"


def loaded(statement):
    """Give the top-level modules that a statement loads in a fresh interpreter."""
    done = subprocess.run(
        # -P: without it Python would find the checkout in the working folder, not the installed package.
        [sys.executable, "-P", "-c", f"{statement}\n{LIST_MODULES}"],
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )
    return set(json.loads(done.stdout.splitlines()[-1]))


def test_the_contracts_are_kept():
    done = subprocess.run([LINTER, "--no-cache"], cwd=ROOT, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stdout
    assert "2 kept, 0 broken" in done.stdout


@pytest.mark.parametrize("statement", ["import cortexrnn", "import cortexrnn; dir(cortexrnn)", "import cortexrnn.cli"])
def test_looking_at_the_package_loads_nothing_heavy(statement):
    assert loaded(statement) & HEAVY == set()


@pytest.mark.parametrize("arguments", [["--help"], ["--version"], ["compare", "--help"], ["doctor", "--help"]])
def test_help_loads_nothing_heavy(arguments):
    statement = (
        "import contextlib, io, sys; from cortexrnn.cli import main\n"
        f"sys.argv = ['cortexrnn', *{arguments!r}]\n"
        "with contextlib.redirect_stdout(io.StringIO()), contextlib.suppress(SystemExit): main()"
    )
    assert loaded(statement) & HEAVY == set()


def test_a_misspelt_option_is_refused_before_anything_heavy_is_loaded():
    done = subprocess.run(
        [sys.executable, "-X", "importtime", COMMAND, "compare", "--nope"], capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 2
    assert "numpy" not in done.stderr


def test_doctor_needs_no_kernel_and_no_picture():
    statement = (
        "import cortexrnn as cx, importlib.resources as r\n"
        "str(cx.doctor(cx.read_recording(r.files('cortexrnn.data') / 'recording.nwb')))"
    )
    assert loaded(statement) & (VENDORS | {"matplotlib"}) == set()


def test_comparing_loads_no_vendor_format_and_no_simulator():
    modules = loaded("import cortexrnn as cx; cx.compare, cx.ladder()")
    assert modules & VENDORS == set()


def test_every_public_name_can_be_loaded():
    statement = "import cortexrnn\nfor name in cortexrnn.__all__: getattr(cortexrnn, name)"
    assert "xarray" in loaded(statement)


def test_an_unknown_name_is_an_attribute_error():
    import cortexrnn

    with pytest.raises(AttributeError, match="module 'cortexrnn' has no attribute 'compress'"):
        getattr(cortexrnn, "compress")  # noqa: B009 -- an expression on its own is what the test is about
