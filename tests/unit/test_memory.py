"""The echo-state property and memory capacity. Oracles: eigenvalues of linear reservoirs, closed forms of cycles."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.linalg import solve_discrete_lyapunov

from cortexrnn.cells.activation import Activation
from cortexrnn.errors import DataError, OptionError
from cortexrnn.training.reservoirs.memory import echo_state_test, linear_memory, memory_capacity
from cortexrnn.training.reservoirs.reservoir import Reservoir, ReservoirSpec

LINEAR = Activation(kind="linear")


def white(n, seed=0):
    """Independent inputs, uniform between -1 and 1."""
    return np.random.default_rng(seed).uniform(-1.0, 1.0, n)


@pytest.mark.parametrize("wiring", ["sparse", "dale", "orthogonal"])
@pytest.mark.parametrize(("radius", "leak"), [(0.9, 1.0), (0.98, 0.5), (1.02, 1.0), (1.05, 0.5)])
def test_a_linear_reservoir_converges_exactly_where_its_radius_is_below_one(wiring, radius, leak):
    """Oracle: the logarithm of the largest modulus; a dominant complex pair beats, which ten blocks average."""
    spec = ReservoirSpec(
        n_units=60, wiring=wiring, density=0.3, spectral_radius=radius, leak=leak, activation=LINEAR, seed=2
    )
    reservoir = spec.build()
    expected = np.log(reservoir.effective_radius)
    # Below 1, twice the steps that the tolerance takes.
    found = echo_state_test(reservoir, white(3000 + int(max(-28.0 / expected, 0.0))), n_starts=3)
    assert found.converges == (expected < 0.0)
    assert found.exponent == pytest.approx(expected, abs=1e-3)


def test_distances_of_a_linear_orthogonal_reservoir_fall_by_its_radius():
    """Every distance is multiplied by 0.9 a step: closed form."""
    reservoir = ReservoirSpec(n_units=20, wiring="orthogonal", activation=LINEAR).build()
    found = echo_state_test(reservoir, white(100), n_starts=4)
    np.testing.assert_allclose(found.distance, 0.9 ** np.arange(1, 101), rtol=1e-9)
    assert found.exponent == pytest.approx(np.log(0.9), abs=1e-7)
    assert found.standard_error < 1e-7


def test_chaos_is_found_and_a_strong_input_ends_it():
    """Gain 3 without input is chaotic; an input that saturates the units suppresses chaos (Rajan et al. 2010)."""
    weak, strong = (
        ReservoirSpec(n_units=200, spectral_radius=3.0, input_scale=scale, seed=1).build() for scale in (1e-6, 20.0)
    )
    free = echo_state_test(weak, white(2000))
    assert free.exponent > 10.0 * free.standard_error
    assert not free.converges
    driven = echo_state_test(strong, white(2000))
    assert driven.exponent < 0.0
    assert driven.converges


def test_two_stable_states_are_no_echo_state_though_small_differences_shrink():
    """One unit, h <- tanh(3 h): fixed points at +-0.995, slope 3 (1 - 0.995^2) = 0.031 at both."""
    reservoir = Reservoir(weights=np.full((1, 1), 3.0), input_weights=np.ones((1, 1)), bias=np.zeros(1))
    found = [echo_state_test(reservoir, np.zeros(60), n_starts=6, seed=seed) for seed in range(3)]
    assert all(test.exponent < -3.0 for test in found)
    assert not any(test.converges for test in found)


def test_a_reservoir_without_recurrence_forgets_at_once():
    reservoir = Reservoir(weights=np.zeros((2, 2)), input_weights=np.ones((2, 1)), bias=np.zeros(2))
    found = echo_state_test(reservoir, white(30))
    assert found.exponent == -np.inf
    assert found.distance.max() == 0.0


@pytest.mark.parametrize("radius", [0.7, 0.95])
def test_the_exact_memory_of_a_cycle_is_the_closed_form(radius):
    """Rodan and Tino (2011): r^2 at delay k is rho^(2 n floor(k/n)) (1 - rho^(2n)); all together n."""
    n = 12
    reservoir = ReservoirSpec(n_units=n, wiring="cycle", spectral_radius=radius, activation=LINEAR, seed=3).build()
    found = linear_memory(reservoir, 5 * n - 1)
    turns = np.arange(5 * n) // n
    expected = radius ** (2.0 * n * turns) * (1.0 - radius ** (2 * n))
    np.testing.assert_allclose(found.curve, expected, rtol=1e-9, atol=1e-12)
    assert found.bound == n


@pytest.mark.parametrize("leak", [1.0, 0.4])
def test_the_exact_memory_is_that_of_the_states_covariance(leak):
    """Oracle: SciPy's solver of the Lyapunov equation, ten well-conditioned units; all delays together give n."""
    activation = Activation(kind="linear", gain=0.9)
    spec = ReservoirSpec(n_units=10, wiring="orthogonal", spectral_radius=0.95, leak=leak, activation=activation)
    reservoir = spec.build()
    step = (1.0 - leak) * np.eye(10) + leak * 0.9 * reservoir.weights
    column = leak * 0.9 * reservoir.input_weights[:, 0]
    covariance = solve_discrete_lyapunov(step, np.outer(column, column))
    expected = []
    for _ in range(40):
        expected.append(column @ np.linalg.solve(covariance, column))
        column = step @ column
    np.testing.assert_allclose(linear_memory(reservoir, 39).curve, expected, rtol=1e-5, atol=1e-8)
    assert linear_memory(reservoir, 3000).capacity == pytest.approx(10.0, abs=1e-6)


def test_measured_memory_is_the_exact_one():
    """Each r^2 has a standard error of about 2 r (1 - r^2) / sqrt(10000), at most 0.008: 4 of them."""
    reservoir = ReservoirSpec(n_units=30, wiring="orthogonal", spectral_radius=0.97, activation=LINEAR, seed=4).build()
    measured, exact = memory_capacity(reservoir, max_delay=150, seed=1), linear_memory(reservoir, 150)
    assert np.abs(measured.curve - exact.curve).max() < 0.032
    assert measured.capacity == pytest.approx(exact.capacity, rel=0.03)


def test_delays_without_memory_add_nothing_on_average():
    """One unit that holds the last input only: 400 other delays would add 400/1000 = 0.4 uncorrected."""
    reservoir = Reservoir(
        weights=np.zeros((1, 1)), input_weights=np.ones((1, 1)), bias=np.zeros(1), activations=(LINEAR,)
    )
    found = [memory_capacity(reservoir, n_steps=1000, max_delay=400, seed=seed) for seed in range(8)]
    capacities = [memory.capacity for memory in found]
    assert all(memory.curve[0] == pytest.approx(1.0, rel=1e-12) for memory in found)
    assert abs(np.mean(capacities) - 1.0) < 4.0 * found[0].standard_error / np.sqrt(8)
    # The error of a standard deviation from 8 draws is a quarter of it.
    assert 0.3 < np.std(capacities) / found[0].standard_error < 2.0


@pytest.mark.parametrize("kind", ["tanh", "linear"])
@pytest.mark.parametrize("wiring", ["sparse", "dale", "orthogonal", "cycle"])
def test_no_reservoir_exceeds_its_number_of_units(wiring, kind):
    spec = ReservoirSpec(
        n_units=20, wiring=wiring, density=0.5, activation=Activation(kind=kind), input_scale=0.1, seed=5
    )
    found = memory_capacity(spec.build(), n_steps=4000)
    assert 2.0 < found.capacity <= 20.0 + 4.0 * found.standard_error


def test_saturation_costs_memory():
    weak, strong = (
        memory_capacity(ReservoirSpec(n_units=50, input_scale=scale, seed=6).build(), n_steps=4000).capacity
        for scale in (0.01, 3.0)
    )
    assert weak > 1.5 * strong


def test_wrong_use_is_refused():
    tanh = ReservoirSpec(n_units=10).build()
    with pytest.raises(OptionError, match="not linear"):
        linear_memory(tanh)
    with pytest.raises(OptionError, match="never forgets"):
        linear_memory(ReservoirSpec(n_units=10, spectral_radius=1.1, density=0.5, activation=LINEAR).build())
    with pytest.raises(OptionError, match="has 2 inputs"):
        memory_capacity(ReservoirSpec(n_units=10, n_inputs=2).build())
    with pytest.raises(OptionError, match="n_steps=20 is too few"):
        memory_capacity(tanh, n_steps=20)
    with pytest.raises(DataError, match="at least 20"):
        echo_state_test(tanh, np.zeros(19))
    with pytest.raises(OptionError, match="n_starts=1"):
        echo_state_test(tanh, np.zeros(30), n_starts=1)
