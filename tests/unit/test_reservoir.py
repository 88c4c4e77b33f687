"""Reservoirs. Oracles: plain loops, NumPy's eigenvalues, `simulate` on the same circuit, memories known by design."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from cortexrnn.cells.activation import Activation
from cortexrnn.circuit import Circuit, Input, Population, Projection, WeightLaw, build_inputs, build_weights
from cortexrnn.circuit.dale import audit_signs
from cortexrnn.dynamics import Solver, simulate
from cortexrnn.errors import DataError, NumericalError, OptionError
from cortexrnn.training.reservoirs.echo_state import EchoStateNetwork
from cortexrnn.training.reservoirs.readout import Ridge, SignedRidge, relative_error
from cortexrnn.training.reservoirs.reservoir import (
    WIRINGS,
    Reservoir,
    ReservoirSpec,
    scale_to_radius,
)

LINEAR = Activation(kind="linear")


def white(n, seed=0):
    """Independent inputs, uniform between -1 and 1."""
    return np.random.default_rng(seed).uniform(-1.0, 1.0, n)


@pytest.mark.parametrize("leak", [1.0, 0.3])
@pytest.mark.parametrize("kind", ["tanh", "sigmoid", "linear"])
def test_states_are_those_of_plain_loops(kind, leak):
    activation = Activation(kind=kind, gain=1.3, threshold=0.1)
    spec = ReservoirSpec(n_units=40, n_inputs=2, leak=leak, bias_scale=0.2, activation=activation, seed=3)
    reservoir, inputs = spec.build(), white(200).reshape(100, 2)
    state, expected = np.zeros(40), []
    for u in inputs:
        z = reservoir.weights @ state + reservoir.input_weights @ u + reservoir.bias
        state = (1.0 - leak) * state + leak * activation(z)
        expected.append(state)
    np.testing.assert_allclose(reservoir.run(inputs), expected, rtol=1e-11, atol=1e-13)


def test_a_reservoir_is_the_euler_step_of_its_circuit():
    """Oracle: `simulate` with dt = leak tau, two populations of different activations, biases as the only input."""
    populations = (
        Population(name="excitatory", size=24, sign="excitatory", bias=0.3, activation=Activation(kind="softplus")),
        Population(name="inhibitory", size=6, sign="inhibitory", bias=-0.2),
    )
    law = WeightLaw(law="gaussian", mean=0.1, sd=0.03)
    projections = tuple(
        Projection(source=a.name, target=b.name, weights=law, density=0.5) for a in populations for b in populations
    )
    circuit = Circuit(
        name="two", form="rate", populations=populations, projections=projections, inputs=(
            Input(name="cue", target="excitatory"),
        ),
    )  # fmt: skip
    reservoir = Reservoir.from_circuit(circuit, leak=0.2)
    start = np.random.default_rng(0).uniform(size=30)
    expected = simulate(circuit, duration_s=0.1, dt_s=0.002, initial=start, solver=Solver(method="euler"))
    states = reservoir.run(np.zeros(49), initial=start)
    np.testing.assert_allclose(states, expected["rate"].values[0, 1:], rtol=1e-10, atol=1e-12)
    np.testing.assert_array_equal(reservoir.input_weights, build_inputs(circuit))
    np.testing.assert_array_equal(reservoir.signs, circuit.signs)


@pytest.mark.parametrize("wiring", WIRINGS)
@pytest.mark.parametrize("radius", [0.5, 0.95, 1.2])
def test_the_spectral_radius_is_exact(wiring, radius):
    """Oracle: NumPy's eigenvalues of what was built; error of a non-normal matrix's eigenvalues about 1e-13."""
    reservoir = ReservoirSpec(n_units=80, wiring=wiring, spectral_radius=radius, seed=1).build()
    assert np.abs(np.linalg.eigvals(reservoir.weights)).max() == pytest.approx(radius, rel=1e-10)
    assert reservoir.spectral_radius == pytest.approx(radius, rel=1e-10)


def test_the_effective_radius_has_the_leak_in_it():
    """A cycle's eigenvalues lie at all angles: 1 - a + a rho on the real axis."""
    reservoir = ReservoirSpec(n_units=10, wiring="cycle", spectral_radius=0.8, leak=0.25).build()
    assert reservoir.effective_radius == pytest.approx(0.75 + 0.25 * 0.8, rel=1e-12)


def test_orthogonal_weights_are_orthogonal_and_a_cycle_passes_on():
    orthogonal = ReservoirSpec(n_units=30, wiring="orthogonal", spectral_radius=0.9).build().weights
    np.testing.assert_allclose(orthogonal @ orthogonal.T, 0.81 * np.eye(30), atol=1e-13)
    cycle = ReservoirSpec(n_units=4, wiring="cycle", spectral_radius=0.5).build().weights
    np.testing.assert_array_equal(cycle @ np.array([1.0, 2.0, 3.0, 4.0]), [2.0, 0.5, 1.0, 1.5])


def test_orthogonal_draws_favour_no_direction():
    """Entries of a uniform draw have mean 0 (without the correction of signs their diagonal does not)."""
    diagonals = [
        np.diag(ReservoirSpec(n_units=10, wiring="orthogonal", spectral_radius=1.0, seed=seed).build().weights)
        for seed in range(200)
    ]
    # Deviation 1/sqrt(10) an entry, 2000 of them.
    assert abs(np.mean(diagonals)) < 4.0 / np.sqrt(10.0 * 2000)


def test_a_sparse_reservoir_has_the_density_asked_for():
    """Binomial: 4 standard deviations of 40000 draws."""
    weights = ReservoirSpec(n_units=200, density=0.1).build().weights
    assert abs(np.mean(weights != 0.0) - 0.1) < 4.0 * np.sqrt(0.09 / 40_000)


def test_a_dale_reservoir_keeps_its_signs_and_balance_under_scaling():
    reservoir = ReservoirSpec(n_units=100, wiring="dale", density=0.3, spectral_radius=0.7).build()
    audit_signs(reservoir.weights, reservoir.signs)
    assert np.sum(reservoir.signs > 0) == 80
    assert np.abs(reservoir.weights.sum(axis=1)).max() < 1e-12 * np.abs(reservoir.weights).sum(axis=1).max()


def test_a_reservoir_from_a_circuit_can_be_scaled():
    circuit = Circuit.random(50, gain=1.5, seed=2)
    as_is = Reservoir.from_circuit(circuit)
    np.testing.assert_array_equal(as_is.weights, build_weights(circuit).total())
    scaled = Reservoir.from_circuit(circuit, spectral_radius=0.9)
    assert scaled.spectral_radius == pytest.approx(0.9, rel=1e-10)
    assert as_is.input_weights.shape == (50, 0)


def test_draws_depend_on_the_seed_and_on_nothing_else():
    spec = ReservoirSpec(n_units=30, seed=5)
    one, same, other = spec.build(), spec.build(), replace(spec, seed=6).build()
    more_inputs = replace(spec, n_inputs=2, bias_scale=0.1).build()
    assert np.array_equal(one.weights, same.weights)
    assert np.array_equal(one.input_weights, same.input_weights)
    assert not np.array_equal(one.weights, other.weights)
    assert np.array_equal(one.weights, more_inputs.weights)


def test_trials_run_alone_and_in_company_are_the_same():
    reservoir = ReservoirSpec(n_units=30, n_inputs=2).build()
    inputs = white(3 * 50 * 2).reshape(3, 50, 2)
    together = reservoir.run(inputs)
    assert together.shape == (3, 50, 30)
    for trial in range(3):
        np.testing.assert_array_equal(together[trial], reservoir.run(inputs[trial]))


def test_a_linear_cycle_reads_its_own_past_without_error():
    """A cycle of 20 units holds the last 20 inputs exactly: the read-out of the input 7 steps ago is perfect."""
    reservoir = ReservoirSpec(n_units=20, wiring="cycle", spectral_radius=0.5, activation=LINEAR).build()
    inputs = white(2000)
    wanted = np.roll(inputs, 7)
    network = EchoStateNetwork(reservoir=reservoir, readout=Ridge(penalties=(0.0,)))
    fitted = network.fit(inputs[:1000], wanted[:1000])
    # What came round the cycle once is left: 0.5^20.
    assert relative_error(fitted.predict(inputs)[1000:, 0], wanted[1000:]) < 10.0 * 0.5**20


def test_washout_steps_count_for_nothing():
    reservoir = ReservoirSpec(n_units=20).build()
    inputs = white(300)
    rubbish = np.where(np.arange(300) < 50, 1e3, np.roll(inputs, 1))
    network = EchoStateNetwork(reservoir=reservoir, readout=Ridge(penalties=(1e-6,)), washout=50)
    found, clean = network.fit(inputs, rubbish), network.fit(inputs, np.roll(inputs, 1))
    np.testing.assert_array_equal(found.readout.weights, clean.readout.weights)


def test_the_washout_is_of_every_trial():
    reservoir = ReservoirSpec(n_units=20).build()
    inputs = white(400).reshape(4, 100, 1)
    targets = np.roll(inputs, 1, axis=1)
    mask = np.ones((4, 100))
    whole = EchoStateNetwork(reservoir=reservoir, readout=Ridge(n_blocks=2), washout=30).fit(inputs, targets)
    mask[:, :30] = 0.0
    masked = EchoStateNetwork(reservoir=reservoir, readout=Ridge(n_blocks=2), washout=0).fit(inputs, targets, mask=mask)
    np.testing.assert_allclose(masked.readout.weights, whole.readout.weights, rtol=1e-7, atol=1e-9)


def test_a_dale_read_out_of_a_dale_reservoir_has_its_signs():
    """NARMA of order 10 (Atiya and Parlos 2000); the signs cost, and leave far less than the mean's error of 1."""
    rng = np.random.default_rng(7)
    inputs, narma = rng.uniform(0.0, 0.5, 3000), np.zeros(3001)
    for t in range(9, 3000):
        recent = narma[t - 9 : t + 1]
        narma[t + 1] = 0.3 * narma[t] + 0.05 * narma[t] * recent.sum() + 1.5 * inputs[t - 9] * inputs[t] + 0.1
    reservoir = ReservoirSpec(n_units=200, wiring="dale", input_scale=0.3, bias_scale=0.3).build()
    errors = {}
    for name, rule in (("free", Ridge()), ("signed", SignedRidge(signs=tuple(reservoir.signs)))):
        fitted = EchoStateNetwork(reservoir=reservoir, readout=rule).fit(inputs[:2000], narma[1:2001])
        errors[name] = relative_error(fitted.predict(inputs)[2000:, 0], narma[2001:])
        weights = fitted.readout.weights * reservoir.signs
        assert np.all(weights >= 0.0) == (name == "signed")
    assert errors["free"] < 0.3
    assert errors["free"] < errors["signed"] < 0.6


def test_states_that_explode_are_an_error():
    reservoir = ReservoirSpec(n_units=20, spectral_radius=3.0, activation=LINEAR).build()
    with pytest.raises(NumericalError, match=r"no longer finite\. Lower the spectral radius"):
        reservoir.run(white(2000))


def test_weights_without_a_loop_cannot_be_scaled():
    """Strictly triangular: all eigenvalues are zero."""
    with pytest.raises(NumericalError, match="cannot be scaled"):
        scale_to_radius(np.triu(np.ones((12, 12)), 1), 0.9)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"wiring": "small world"}, "wiring='small world'"),
        ({"n_units": 0}, "n_units=0"),
        ({"n_units": 9, "wiring": "dale"}, "at least 10"),
        ({"leak": 1.5}, r"leak=1\.5 is above 1"),
        ({"density": 2.0}, r"density=2\.0 is above 1"),
        ({"spectral_radius": 0.0}, "spectral_radius"),
        ({"bias_scale": -1.0}, "bias_scale"),
        ({"activation": "tanh"}, "expected Activation"),
        ({"seed": -1}, "seed=-1"),
    ],
)
def test_wrong_options_are_refused(change, message):
    with pytest.raises(OptionError, match=message):
        ReservoirSpec(**change)


def test_wrong_arrays_are_refused():
    reservoir = ReservoirSpec(n_units=10, n_inputs=2).build()
    with pytest.raises(DataError, match="do not fit; expected"):
        Reservoir(weights=np.eye(3), input_weights=np.ones((3, 1)), bias=np.zeros(2))
    with pytest.raises(DataError, match="not finite"):
        Reservoir(weights=np.full((1, 1), np.inf), input_weights=np.ones((1, 1)), bias=np.zeros(1))
    with pytest.raises(DataError, match="3 units do not fit sizes"):
        Reservoir(weights=np.eye(3), input_weights=np.ones((3, 1)), bias=np.zeros(3), sizes=(2,))
    with pytest.raises(DataError, match=r"expected finite numbers of shape \(n_steps, 2\)"):
        reservoir.run(np.ones(5))
    with pytest.raises(DataError, match="initial has shape"):
        reservoir.run(np.ones((5, 2)), initial=np.zeros(3))
    network = EchoStateNetwork(reservoir=reservoir)
    with pytest.raises(DataError, match="washout=100 leaves none of 50 steps"):
        network.fit(np.ones((50, 2)), np.ones(50))
    with pytest.raises(DataError, match="differ in their steps or trials"):
        network.fit(np.ones((200, 2)), np.ones(199))
    with pytest.raises(OptionError, match="draws a Reservoir"):
        EchoStateNetwork(reservoir=ReservoirSpec())
