"""What is installed is whole, and every setting stands in one place.

Oracle: the folders on the disk, the two files of settings, and a wheel used from another folder.
"""

from __future__ import annotations

import configparser
import importlib.metadata
import json
import os
import re
import shutil
import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
SHIPPED = ("cortexrnn", "models", "data", "validation", "pyproject.toml", "setup.cfg", "README.md", "LICENSE")
BESIDE = {"models": "cortexrnn.models", "data": "cortexrnn.data", "validation": "cortexrnn.validation"}
LOOK = """
import importlib.resources as resources, json, sys
import cortexrnn as cx
from cortexrnn.report import html
data = resources.files("cortexrnn.data")
print(json.dumps({
    "package": cx.__file__,
    "data": sorted(entry.name for entry in data.iterdir()),
    "n_units": len(cx.read_recording(data / "recording.nwb").unit_ids),
    "templates": [html._environment().get_template(name).name for name in ("report.html", "style.html")],
    "models": {name: cx.load_circuit(name).size for name in cx.circuit_names()},
    "validation": sorted(entry.name for entry in resources.files("cortexrnn.validation").iterdir()),
}))
"""


@pytest.fixture(scope="module")
def project():
    return tomllib.loads((ROOT / "pyproject.toml").read_text())


@pytest.fixture(scope="module")
def setup():
    parser = configparser.ConfigParser()
    parser.read(ROOT / "setup.cfg")
    return parser


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    """A wheel built from a copy, so that nothing is left in the checkout."""
    folder = tmp_path_factory.mktemp("build")
    for name in SHIPPED:
        path = ROOT / name
        if path.is_dir():
            shutil.copytree(path, folder / "source" / name, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy(path, folder / "source" / name)
    command = ["-m", "pip", "wheel", "--quiet", "--no-deps", "--wheel-dir", str(folder), str(folder / "source")]
    done = subprocess.run([sys.executable, *command], capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    return next(folder.glob("*.whl"))


@pytest.fixture(scope="module")
def installed(wheel, tmp_path_factory):
    """The folder of an installation of the wheel alone."""
    folder = tmp_path_factory.mktemp("site")
    command = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--target", str(folder), str(wheel)]
    subprocess.run(command, check=True, capture_output=True, timeout=300)
    return folder


def words(text):
    """Split a list of setup.cfg."""
    return text.split()


def run_installed(installed, folder, *arguments):
    """Run Python in another folder with the installation first."""
    environment = {**os.environ, "PYTHONPATH": str(installed)}
    done = subprocess.run(
        [sys.executable, *arguments], cwd=folder, env=environment, capture_output=True, text=True, timeout=300
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_the_packages_of_setup_cfg_are_those_on_the_disk(setup):
    inside = {
        ".".join(path.parent.relative_to(ROOT).parts) for path in (ROOT / "cortexrnn").rglob("__init__.py")
    }
    beside = {package for folder, package in BESIDE.items() if (ROOT / folder / "__init__.py").exists()}
    assert set(words(setup["options"]["packages"])) == inside | beside
    directories = dict(line.split(" = ") for line in setup["options"]["package_dir"].strip().splitlines())
    assert directories == {package: folder for folder, package in BESIDE.items()}


def test_every_folder_with_modules_is_a_package():
    folders = {path.parent for path in (ROOT / "cortexrnn").rglob("*.py")}
    assert [folder for folder in folders if not (folder / "__init__.py").exists()] == []


def test_every_setting_stands_in_one_of_the_two_files(project, setup):
    assert set(setup.sections()) == {"options", "options.package_data"}
    assert set(setup["options"]) == {"package_dir", "packages"}
    assert "setuptools" not in project["tool"]
    assert "dynamic" not in project["project"]
    for tool in project["tool"]:
        assert not any(tool in section for section in setup.sections())
    for name in ("setup.py", "ruff.toml", ".ruff.toml", "pytest.ini", "tox.ini", ".importlinter", "MANIFEST.in"):
        assert not (ROOT / name).exists()


def test_the_version_stands_in_one_place(project):
    version = project["project"]["version"]
    places = [
        path.name
        for path in [*(ROOT / "cortexrnn").rglob("*.py"), ROOT / "setup.cfg"]
        if re.search(rf"(?<![\d.]){re.escape(version)}(?![\d.])", path.read_text())
    ]
    assert places == []
    assert importlib.metadata.version("cortexrnn") == version


def test_what_is_imported_is_declared(project):
    declared = {re.match(r"[\w-]+", line).group().lower() for line in project["project"]["dependencies"]}
    source = "\n".join(path.read_text() for path in (ROOT / "cortexrnn").rglob("*.py"))
    imported = set(re.findall(r"^\s*(?:import|from) (\w+)", source, flags=re.MULTILINE))
    # Each of these comes with the package in brackets, whose version it is bound to.
    with_others = {"llvmlite": "numba", "quantities": "neo", "markupsafe": "jinja2", "hdmf": "pynwb"}
    third = {with_others.get(name, name) for name in imported - set(sys.stdlib_module_names) - {"cortexrnn"}}
    # What one format needs and no other is asked for where it is read.
    optional = {re.match(r"[\w-]+", line).group() for line in project["project"]["optional-dependencies"]["formats"]}
    assert third <= declared | optional
    assert optional <= third
    # Brian2 makes the embedded recording (data/), h5netcdf is named to xarray as an engine.
    assert declared - third <= {"brian2", "h5netcdf"}


@pytest.mark.slow
def test_the_wheel_is_pure_and_holds_everything(wheel):
    assert wheel.name.endswith("-py3-none-any.whl")
    with zipfile.ZipFile(wheel) as archive:
        names = set(archive.namelist())
    for path in (ROOT / "cortexrnn").rglob("*.py"):
        assert path.relative_to(ROOT).as_posix() in names
    for path in (ROOT / "cortexrnn" / "report" / "templates").iterdir():
        assert path.relative_to(ROOT).as_posix() in names
    assert {"cortexrnn/py.typed", "cortexrnn/data/recording.nwb", "cortexrnn/data/recording.sha256"} <= names
    assert not any(name.startswith(("tests/", "benchmarks/", "docs/")) for name in names)


@pytest.mark.slow
def test_an_installed_package_finds_everything_from_another_folder(installed, tmp_path):
    found = json.loads(run_installed(installed, tmp_path, "-c", LOOK))
    assert Path(found["package"]).is_relative_to(installed)
    assert {"CARD.md", "recording.nwb", "recording.sha256"} <= set(found["data"])
    assert found["n_units"] >= 8
    assert found["templates"] == ["report.html", "style.html"]
    assert set(found["models"]) == {path.stem for path in (ROOT / "models").glob("*.toml")}
    here = {path.name for path in (ROOT / "validation").iterdir() if path.suffix in (".md", ".csv", ".toml")}
    assert here <= set(found["validation"])


@pytest.mark.slow
def test_an_installed_package_checks_its_embedded_recording(installed, tmp_path):
    command = "import sys; from cortexrnn.cli import main; sys.argv[0] = 'cortexrnn'; main()"
    shown = json.loads(run_installed(installed, tmp_path, "-c", command, "doctor", "--json"))
    assert shown["n_trials"] == 60
    assert list(tmp_path.iterdir()) == []
