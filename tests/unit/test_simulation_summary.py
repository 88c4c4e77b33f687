"""What is told of a simulation: numbers, screen, files, figures."""

from __future__ import annotations

import json
import xml.etree.ElementTree as ET

import numpy as np
import pytest
import xarray as xr

from cortexrnn.circuit import Circuit, Population, load_circuit
from cortexrnn.dynamics import Record, describe, simulate
from cortexrnn.dynamics.summary import balance_index, moderate_dt_s, save_figures, save_simulation, show


@pytest.fixture(scope="module")
def balanced():
    """A small balanced circuit and a run with currents."""
    circuit = load_circuit("balanced_chaos")
    return circuit, simulate(circuit, duration_s=0.3, n_trials=2, record=Record(currents=True))


def test_numbers_are_those_of_the_run(balanced):
    """Against NumPy on the Dataset."""
    circuit, run = balanced
    summary = describe(circuit, run)
    rate = run["rate"].values[:, :, :320]
    entry = summary["populations"][0]
    assert entry["name"] == "excitatory"
    assert entry["n_units"] == 320
    assert entry["mean_rate"] == pytest.approx(rate.mean())
    assert entry["sd_over_time"] == pytest.approx(rate.std(axis=1).mean())
    assert entry["sd_over_units"] == pytest.approx(rate.mean(axis=(0, 1)).std())
    assert summary["spectrum"]["radius"] == pytest.approx(4.0)
    # Finite size: the 99th percentile of a balanced matrix of this size lies within 4 % of the circle.
    assert summary["spectrum"]["drawn_percentile_99"] == pytest.approx(4.0, rel=0.04)
    assert "excitatory" in show(summary)
    json.dumps(summary, allow_nan=False)


def test_balance_index_of_made_currents():
    """Excitation 4, inhibition -3, external 1 and -1: (4 - 3 + 1) / (4 + 1) and (4 - 3 - 1) / 4."""
    dims = ("trial", "time", "unit")
    made = {"current_e": [4.0, 4.0], "current_i": [-3.0, -3.0], "current_ext": [1.0, -1.0]}
    run = xr.Dataset({name: (dims, np.tile(values, (2, 5, 1))) for name, values in made.items()})
    np.testing.assert_allclose(balance_index(run), [0.4, 0.0])


def test_a_simulation_is_saved_and_drawn(balanced, tmp_path):
    """The files read back; every figure is well-formed SVG that names its axes."""
    circuit, run = balanced
    save_simulation(tmp_path, circuit, run, describe(circuit, run))
    assert load_circuit(tmp_path / "circuit.toml") == circuit
    with xr.open_dataset(tmp_path / "run.nc", engine="h5netcdf") as stored:
        xr.testing.assert_equal(stored.load(), run)
    assert json.loads((tmp_path / "summary.json").read_text())["circuit"]["name"] == "balanced_chaos"
    drawn = save_figures(circuit, run, tmp_path / "figures")
    assert [path.name for path in drawn] == ["rates.svg", "currents.svg", "spectrum.svg"]
    for path in drawn:
        ET.fromstring(path.read_text())


@pytest.mark.parametrize(("tau_s", "expected"), [(0.02, 1e-3), (0.008, 5e-4), (0.004, 2e-4), (0.01, 1e-3)])
def test_the_default_step_is_at_most_a_tenth_of_the_shortest_time_constant(tau_s, expected):
    """Rounded down to 1, 2 or 5 times a power of ten."""
    circuit = Circuit(name="one", populations=(Population(name="units", size=1, tau_s=tau_s),))
    assert moderate_dt_s(circuit) == expected
