"""Standalone Brian2 scripts. Oracle: `simulate` for what they compute, the syntax tree for what they may do."""

from __future__ import annotations

import ast
import subprocess
import sys

import numpy as np
import pytest

from cortexrnn.cells.activation import Activation
from cortexrnn.cells.stp import ShortTermPlasticity
from cortexrnn.circuit import Circuit, Input, Noise, Population, Projection, WeightLaw
from cortexrnn.dynamics.brian_layout import BrianRun
from cortexrnn.dynamics.brian_script import export_brian2
from cortexrnn.dynamics.simulate import simulate
from cortexrnn.dynamics.stimuli import Pulse, Sinusoid
from cortexrnn.errors import FileAccessError, OptionError

RUN = {"duration_s": 0.05, "seed": 4}
EVIL = "'\"\"\"\\\n__import__('pathlib').Path('stolen').touch()\n\"\"\"'"


def plastic(**more):
    """Two populations, one of which facilitates; a channel into the other's own number of units."""
    shape = Activation(kind="relu", gain=0.8)
    populations = (
        Population(name="pyramidal-cells", size=3, sign="excitatory", activation=shape, bias=(0.1, 0.5, 0.9)),
        Population(name="lambda", size=2, sign="inhibitory", activation=shape, tau_s=0.008),
    )
    law = WeightLaw(law="gaussian", mean=0.5, sd=0.1)
    projections = (
        Projection(source="pyramidal-cells", target="lambda", weights=law, plasticity="class"),
        Projection(source="lambda", target="pyramidal-cells", weights=law),
    )
    settings = {
        "name": "plastic",
        "form": "rate",
        "populations": populations,
        "projections": projections,
        "plasticity": {"class": ShortTermPlasticity(U=0.2, tau_f_s=0.5, tau_d_s=0.1)},
        "inputs": (Input(name="drive", target="lambda", vector=(0.3, 0.6)),),
        "rate_scale_hz": 20.0,
        "initial_sd": 0.5,
    }
    return Circuit(**(settings | more))


def rates_of(script, names):
    """Run a script in another process and folder, and give its rates, shape (time, unit)."""
    out = script.with_name("rates.npz")
    done = subprocess.run(
        [sys.executable, "-W", "ignore", str(script), str(out)],
        cwd=script.parent, capture_output=True, text=True, check=False, timeout=120,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert all(f"{name}: mean rate" in done.stdout for name in names)
    with np.load(out, allow_pickle=False) as arrays:
        return np.concatenate([arrays[f"rate_{name}"] for name in names], axis=1)


def test_a_small_circuit_is_one_script_that_gives_the_rates_of_simulate(tmp_path):
    circuit = plastic()
    stimulus = {
        "drive": Pulse(amplitude=1.0, start_s=0.01, stop_s=0.03),
        "pyramidal-cells": Sinusoid(amplitude=0.3, frequency_hz=20.0),
    }
    script = export_brian2(circuit, tmp_path / "small.py", BrianRun(stimulus=stimulus, **RUN))
    assert [path.name for path in tmp_path.iterdir()] == ["small.py"]
    expected = simulate(circuit, stimulus=stimulus, **RUN).rate.values[0]
    # Round-off, as in the tests of `to_brian2`.
    np.testing.assert_allclose(rates_of(script, circuit.slices), expected, rtol=0, atol=1e-12)


def test_a_large_circuit_has_its_arrays_beside_the_script_and_gives_the_rates_of_simulate(tmp_path):
    circuit = Circuit.balanced(100, 1.5, seed=1)
    script = export_brian2(circuit, tmp_path / "large.py", BrianRun(**RUN))
    assert sorted(path.name for path in tmp_path.iterdir()) == ["large.npz", "large.py"]
    assert script.stat().st_size < 10_000
    expected = simulate(circuit, **RUN).rate.values[0]
    np.testing.assert_allclose(rates_of(script, circuit.slices), expected, rtol=0, atol=1e-12)


def test_a_script_refuses_the_arrays_of_another_circuit(tmp_path):
    script = export_brian2(Circuit.balanced(100, 1.5, seed=1), tmp_path / "first.py")
    export_brian2(Circuit.balanced(100, 1.5, seed=2), tmp_path / "second.py")
    (tmp_path / "second.npz").replace(tmp_path / "first.npz")
    done = subprocess.run(
        [sys.executable, "-W", "ignore", str(script)], capture_output=True, text=True, check=False, timeout=60
    )
    assert done.returncode == 1
    assert "belongs to another one: export the circuit again" in done.stderr


@pytest.mark.slow
def test_the_noise_of_a_script_has_the_variance_that_was_asked_for(tmp_path):
    """Oracle: a leak that follows an OU current has variance sigma^2 tau_noise / (tau_noise + tau).

    200 units over 60 independent stretches of 5 (tau + tau_noise): the sampling error is 1.3 %, and the step of a
    twentieth of tau adds 1 % at most.
    """
    units = Population(name="units", size=200, activation=Activation(kind="linear"), tau_s=0.01)
    circuit = Circuit(name="noisy", populations=(units,), noise=Noise(sigma=0.5, tau_s=0.01), initial_sd=0.35)
    rates = rates_of(export_brian2(circuit, tmp_path / "noisy.py", BrianRun(duration_s=0.6, dt_s=5e-4)), ["units"])
    assert rates[200:].var() == pytest.approx(0.5**2 / 2.0, rel=0.06)


def test_a_script_imports_brian2_and_numpy_and_nothing_else_from_outside(tmp_path):
    circuit = plastic(noise=Noise(sigma=0.1, shared=0.3))
    tree = ast.parse(export_brian2(circuit, tmp_path / "script.py", BrianRun(**RUN)).read_text(encoding="ascii"))
    modules = {alias.name for node in ast.walk(tree) if isinstance(node, ast.Import) for alias in node.names}
    modules |= {node.module for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)}
    assert modules - set(sys.stdlib_module_names) == {"brian2", "numpy"}


def test_lines_of_a_script_can_be_read(tmp_path):
    text = export_brian2(plastic(), tmp_path / "script.py", BrianRun(**RUN)).read_text(encoding="ascii")
    assert max(len(line) for line in text.splitlines()) <= 120


def test_a_citation_stays_a_text(tmp_path):
    with_evil = export_brian2(plastic(citation=EVIL), tmp_path / "evil.py", BrianRun(**RUN))
    without = export_brian2(plastic(citation="harmless"), tmp_path / "good.py", BrianRun(**RUN))
    trees = [ast.parse(path.read_text(encoding="ascii")) for path in (with_evil, without)]
    assert EVIL in [node.value for node in ast.walk(trees[0]) if isinstance(node, ast.Constant)]
    for tree in trees:
        for node in ast.walk(tree):
            if isinstance(node, ast.Constant):
                node.value = None
    assert ast.dump(trees[0]) == ast.dump(trees[1])


@pytest.mark.parametrize("name", [EVIL, 'a"b', "a\nb", "a b", "a)", "1a", "", "\u0430"])
def test_a_name_that_could_become_code_is_refused_by_the_population(name):
    with pytest.raises(OptionError, match="name"):
        Population(name=name, size=1)


@pytest.mark.parametrize("name", [EVIL, "a\nb", "a'b", ""])
def test_a_name_that_was_smuggled_past_the_population_is_refused_by_the_script(tmp_path, name):
    units = Population(name="units", size=1)
    object.__setattr__(units, "name", name)
    circuit = Circuit(name="smuggler", populations=(units,))
    with pytest.raises(OptionError, match="cannot be a name in Brian2"):
        export_brian2(circuit, tmp_path / "script.py")
    assert list(tmp_path.iterdir()) == []


def test_numbers_of_other_kinds_are_written_as_plain_ones(tmp_path):
    run = BrianRun(duration_s=np.float64(0.01), dt_s=np.float32(1e-3), seed=np.int64(3))
    text = export_brian2(plastic(), tmp_path / "script.py", run).read_text(encoding="ascii")
    assert "np.float" not in text
    assert "np.int" not in text


def test_a_path_that_is_no_script_is_refused(tmp_path):
    with pytest.raises(OptionError, match=r"is no Python script; expected a name that ends in \.py"):
        export_brian2(plastic(), tmp_path / "script.txt")


def test_an_export_that_fails_leaves_the_old_script(tmp_path):
    """Oracle: the bytes before. A folder stands where the new arrays would go."""
    script = export_brian2(plastic(), tmp_path / "script.py", BrianRun(**RUN))
    before = script.read_bytes()
    (tmp_path / "script.npz").mkdir()
    with pytest.raises(FileAccessError, match="The path is a folder"):
        export_brian2(Circuit.balanced(100, 1.5), script)
    assert script.read_bytes() == before
    assert sorted(path.name for path in tmp_path.iterdir()) == ["script.npz", "script.py"]
