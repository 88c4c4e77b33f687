"""Systems: their step is the simulation, their derivatives central differences, their flow the limit of their map."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from cortexrnn.cells.activation import Activation
from cortexrnn.cells.stp import ShortTermPlasticity
from cortexrnn.circuit import Circuit, Input, Population, Projection, WeightLaw
from cortexrnn.dynamics import Samples, Solver, simulate
from cortexrnn.errors import DataError, OptionError
from cortexrnn.theory.rate_system import circuit_system
from cortexrnn.theory.system import as_system
from cortexrnn.training.cell_model import CellNetwork
from cortexrnn.training.loop import TrainOptions, train
from cortexrnn.training.tasks import Trial, from_function

CASES = list(itertools.product(("current", "rate"), (None, "tsodyks1998", "mongillo2008"), (0.4, 0.0)))[:]
CASES = [case for case in CASES if case[1] is not None or case[2] == 0.0]


def a_circuit(form, convention, tau_f_s):
    """Two populations with time constants of their own, one sends through plastic synapses."""
    names = ("excitatory", "inhibitory")
    plastic = {} if convention is None else {"stp": ShortTermPlasticity(
        U=0.2, tau_f_s=tau_f_s, tau_d_s=0.1, convention=convention)}  # fmt: skip
    return Circuit(
        name="pair",
        form=form,
        populations=tuple(
            Population(name=name, size=size, sign=name, activation=Activation(kind=kind), tau_s=tau_s, bias=0.2)
            for name, size, tau_s, kind in zip(names, (5, 3), (0.02, 0.01), ("softplus", "sigmoid"), strict=True)
        ),
        projections=tuple(
            Projection(
                source=source, target=target, weights=WeightLaw(law="gamma", mean=0.2, sd=0.1),
                plasticity="stp" if plastic and source == "excitatory" else "",
            )
            for source in names
            for target in names
        ),
        plasticity=plastic,
        inputs=(Input(name="drive", target="excitatory"), Input(name="drive", target="inhibitory")),
        rate_scale_hz=5.0,
    )  # fmt: skip


def some_states(system, seed=0):
    """Three states, positive rates, synapses between their limits."""
    rng = np.random.default_rng(seed)
    return rng.uniform(0.1, 0.9, (3, system.size))


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("method", ["exponential_euler", "euler"])
def test_a_step_is_that_of_the_simulation(case, method):
    """Thirty steps at a constant input, synapses rested at first: 1e-12."""
    circuit, initial = a_circuit(*case), np.linspace(0.1, 0.8, 8)
    system = circuit_system(circuit, dt_s=1e-3, inputs={"drive": 0.7}, method=method)
    start = system.start(1, seed=0)
    start[0, :8] = initial
    states = system.trajectory(start, 30)
    run = simulate(
        circuit, duration_s=31e-3, dt_s=1e-3, initial=initial, solver=Solver(method=method),
        stimulus={"drive": Samples(values=np.full(31, 0.7), step_s=1e-3)},
    )  # fmt: skip
    rates = system.rates(states[:, 0])
    np.testing.assert_allclose(rates, run["rate"].values[0], rtol=0, atol=1e-12)


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("method", ["exponential_euler", "euler"])
def test_derivatives_are_those_of_central_differences(case, method):
    """Of the step and of the velocity, every entry, 1e-8 of the largest."""
    system = circuit_system(a_circuit(*case), dt_s=1e-3, method=method)
    states, h = some_states(system), 1e-6
    for function, jacobian in ((system.step, system.jacobian), (system.velocity, system.velocity_jacobian)):
        found = jacobian(states)
        for k in range(system.size):
            shift = h * np.eye(system.size)[k]
            numeric = (function(states + shift) - function(states - shift)) / (2.0 * h)
            np.testing.assert_allclose(found[:, :, k], numeric, rtol=0, atol=2e-8 * np.abs(found).max())


@pytest.mark.parametrize("case", CASES)
def test_the_flow_is_the_limit_of_the_map(case):
    """The difference of a step over its time against the velocity: first order in the step, ratio 10 for 10."""
    gaps = []
    for dt_s in (1e-4, 1e-5):
        system = circuit_system(a_circuit(*case), dt_s=dt_s)
        states = some_states(system)
        if case[2] == 0.0 and case[1] is not None:
            # Without facilitation u is U and does not move.
            states[:, 8:13] = 0.2
        gaps.append(np.abs((system.step(states) - states) / dt_s - system.velocity(states)).max())
    assert gaps[0] / gaps[1] == pytest.approx(10.0, rel=0.05)


def test_push_is_the_jacobian_times_vectors():
    """Random vectors, 1e-14 of the product; states side by side do not mix."""
    system = circuit_system(a_circuit("current", "tsodyks1998", 0.4), dt_s=1e-3)
    states = some_states(system)
    vectors = np.random.default_rng(1).normal(size=(3, system.size, 4))
    np.testing.assert_allclose(system.push(states, vectors), system.jacobian(states) @ vectors, atol=1e-13)
    np.testing.assert_allclose(system.push(states[1:2], vectors[1:2])[0], system.push(states, vectors)[1], atol=1e-15)


def test_what_is_no_system_is_refused():
    """A number; options for what is settled; a channel that there is not; states of another size."""
    system = circuit_system(a_circuit("current", None, 0.0))
    assert as_system(system) is system
    assert as_system(a_circuit("rate", None, 0.0), dt_s=1e-3).dt_s == 1e-3
    assert len(system.labels) == system.size
    with pytest.raises(OptionError, match="a float is no system"):
        as_system(3.0)
    with pytest.raises(OptionError, match="dt_s was settled"):
        as_system(system, dt_s=1e-3)
    with pytest.raises(OptionError, match="inputs has 'light'; the circuit has the channels drive"):
        circuit_system(a_circuit("current", None, 0.0), inputs={"light": 1.0})
    with pytest.raises(DataError, match=r"expected \(n, 8\)"):
        system.check_states(np.zeros((2, 7)))
    with pytest.raises(DataError, match="not finite"):
        system.check_states(np.full((2, 8), np.nan))


@pytest.mark.parametrize(
    "network",
    [
        *(CellNetwork(kind=kind, n_hidden=5) for kind in ("vanilla", "lstm", "gru")),
        CellNetwork(kind="gru", n_hidden=5, has_norm=True),
        a_circuit("current", "tsodyks1998", 0.4),
        a_circuit("rate", "mongillo2008", 0.4),
    ],
    ids=lambda network: network.kind if isinstance(network, CellNetwork) else network.form,
)
def test_a_trained_network_is_a_system(network):
    """Its steps are the rates that training recorded at a constant input, its derivatives central differences."""
    level = np.array([0.375, -0.25])

    def steady(rng, mode):
        return Trial(inputs=np.tile(level, (12, 1)), targets=np.zeros((12, 1)))

    task = from_function(steady, name="steady", n_steps=12, dt_s=1e-3)
    trained = train(network, task, seed=1, options=TrainOptions(max_steps=2, criterion=2.0), dtype=np.float64)
    system = as_system(trained, inputs=level)
    start = np.zeros((1, system.size))
    if isinstance(network, Circuit):
        start = system.start(1, seed=0)
        start[0, : system.n_units] = 0.0
    for name, values in trained.model.parts(trained.model.theta).items():
        if name.startswith("start"):
            values[:] = 0.0
    states = system.trajectory(start, 12)
    recorded = trained.record(task.trials(1, seed=0))["rate"].values[0]
    np.testing.assert_allclose(np.stack([system.rates(s)[0] for s in states[1:]]), recorded, rtol=0, atol=1e-12)
    found, h = system.jacobian(states[5]), 1e-6
    for k in range(system.size):
        shift = h * np.eye(system.size)[k]
        numeric = (system.step(states[5] + shift) - system.step(states[5] - shift)) / (2.0 * h)
        np.testing.assert_allclose(found[:, :, k], numeric, rtol=0, atol=2e-8 * np.abs(found).max())
    with pytest.raises(OptionError, match="expected 2 finite numbers"):
        trained.system(inputs=[1.0])


def test_what_looks_ahead_is_no_system():
    """A bidirectional network."""
    task = from_function(
        lambda rng, mode: Trial(inputs=np.ones((4, 1)), targets=np.ones((4, 1))), name="ones", n_steps=4
    )
    options = TrainOptions(max_steps=1, criterion=2.0)
    trained = train(CellNetwork(n_hidden=3, is_bidirectional=True), task, options=options)
    with pytest.raises(OptionError, match="no step from one state to the next"):
        trained.system()
