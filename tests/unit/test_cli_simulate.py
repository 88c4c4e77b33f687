"""The command line of a simulation: files, numbers handed on, exit codes by kind of failure."""

from __future__ import annotations

import json

import numpy as np
import pytest
import xarray as xr

from cortexrnn.circuit import load_circuit

RUN = ["simulate", "balanced_chaos", "--set", "populations[excitatory].size=40", "--set", "populations[1].size=10"]
SMALL = [*RUN, "--set", "projections[0].density=0.5", "--set", "projections[2].density=0.8", "--duration", "0.1"]
SMALL += ["--set", "projections[1].density=0.5", "--set", "projections[3].density=0.8", "--threads", "1"]


def test_a_simulation_leaves_run_circuit_summary_and_figures(tmp_path, invoke, monkeypatch):
    """Every option reaches the run: trials, seed, step, pulse, precision, thinning."""
    monkeypatch.chdir(tmp_path)
    options = "--trials 3 --seed 7 --dt 0.0005 --every 4 --float32 --plot".split()  # noqa: SIM905
    result = invoke(*SMALL, *options, "--pulse", "drive", "1.5", "0.02", "0.06")
    assert result.code == 0, result.err
    folder = tmp_path / "balanced_chaos-simulation"
    with xr.open_dataset(folder / "run.nc", engine="h5netcdf") as run:
        assert dict(run.sizes) == {"trial": 3, "time": 50, "unit": 50}
        assert (run.attrs["seed"], run.attrs["dt_s"], run["rate"].dtype) == (7, 5e-4, np.float32)
        is_on = (run["time"].values >= 0.02) & (run["time"].values < 0.06)
        np.testing.assert_allclose(run["current_ext"].values[0, :, 0], 1.5 * is_on)
        assert run.attrs["circuit_hash"] == load_circuit(folder / "circuit.toml").hash()
    assert sorted(path.name for path in (folder / "figures").iterdir()) == ["currents.svg", "rates.svg", "spectrum.svg"]
    summary = json.loads((folder / "summary.json").read_text())
    assert summary["run"]["command"].startswith("cortexrnn simulate balanced_chaos --set")
    assert "excitatory" in result.out
    assert "balanced_chaos-simulation" in result.out


def test_json_is_the_summary(tmp_path, invoke):
    """Strict JSON and nothing else on the output."""
    result = invoke(*SMALL, "--json", "--out", tmp_path / "there")
    assert result.code == 0, result.err
    assert json.loads(result.out) == json.loads((tmp_path / "there" / "summary.json").read_text())


def test_a_file_is_simulated_and_long_runs_are_thinned_out(tmp_path, invoke, monkeypatch):
    """A file of one's own; what would take more than 256 MB is kept at fewer moments."""
    monkeypatch.setattr("cortexrnn.cli.circuits._MOST_NUMBERS", 1000)
    (tmp_path / "mine.toml").write_text('name = "mine"\n[[populations]]\nname = "units"\nsize = 10\n')
    result = invoke("simulate", tmp_path / "mine.toml", "--duration", "0.5", "--out", tmp_path / "out")
    assert result.code == 0, result.err
    with xr.open_dataset(tmp_path / "out" / "run.nc", engine="h5netcdf") as run:
        assert dict(run.sizes) == {"trial": 1, "time": 100, "unit": 10}


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (["balanced_chao"], 5, "Did you mean 'balanced_chaos'"),
        (["balanced_chaos", "--set", "gain"], 2, "--set 'gain' is not KEY=VALUE"),
        (["balanced_chaos", "--set", "gian=2"], 2, "Did you mean 'gain'"),
        (["balanced_chaos", "--pulse", "drive", "x", "0", "1"], 2, "--pulse 'x' is not a number"),
        (["balanced_chaos", "--pulse", "dive", "1", "0", "1"], 2, "no target; the circuit has drive"),
        (["balanced_chaos", "--layout", "cube"], 2, "layout='cube' is unknown"),
        (["balanced_chaos", "--duration", "-1"], 2, "duration_s=-1.0"),
        (["balanced_chaos", "--dt", "0.3"], 2, "whole number"),
        (["nowhere.toml"], 5, "nowhere.toml"),
    ],
)
def test_every_fault_has_its_exit_code_and_names_it(tmp_path, invoke, monkeypatch, arguments, code, message):
    """Nothing is written."""
    monkeypatch.chdir(tmp_path)
    result = invoke("simulate", *arguments)
    assert (result.code, result.out) == (code, "")
    assert message in result.err
    assert not list(tmp_path.iterdir())


def test_a_divergence_is_a_numerical_fault(tmp_path, invoke):
    """Exit code 4, trial and time named."""
    (tmp_path / "loud.toml").write_text(
        'name = "loud"\nform = "rate"\ninitial_sd = 1.0\n'
        '[[populations]]\nname = "units"\nsize = 3\nactivation = {kind = "linear"}\n'
        '[[projections]]\nsource = "units"\ntarget = "units"\nweights = {mean = 50.0}\n'
    )
    result = invoke("simulate", tmp_path / "loud.toml", "--duration", "5", "--out", tmp_path / "out")
    assert result.code == 4
    assert "in trial 0 at" in result.err
    assert not (tmp_path / "out").exists()
