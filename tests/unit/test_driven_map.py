"""Driven random maps: mean field by an independent quadrature and expansions, memory by simulated networks."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.integrate import quad
from scipy.stats import norm

from cortexrnn.cells.activation import Activation
from cortexrnn.errors import DataError, OptionError
from cortexrnn.report.figure_file import own_axes
from cortexrnn.report.mean_field import plot_driven
from cortexrnn.theory.mean_field import dmft
from cortexrnn.theory.mean_field.driven_map import driven_curve, driven_map, transition_gain
from cortexrnn.theory.mean_field.driven_memory import driven_memory
from cortexrnn.training.reservoirs import Reservoir, linear_memory


def average(function, q):
    """E[function(sqrt(q) z)] by adaptive quadrature."""
    return quad(lambda z: function(np.sqrt(q) * z) * norm.pdf(z), -12.0, 12.0, epsabs=1e-13, epsrel=1e-12, limit=200)[0]


def twin(gain, input_sd):
    """Variance and exponent by another quadrature and another search: the map of variances is iterated."""
    before, q = 0.0, input_sd**2
    while abs(q - before) > 1e-11 * q:
        before, q = q, gain**2 * average(lambda h: np.tanh(h) ** 2, q) + input_sd**2
    return q, 0.5 * np.log(gain**2 * average(lambda h: np.cosh(h) ** -4.0, q))


@pytest.mark.parametrize("gain", [0.3, 1.0, 1.5, 2.5])
@pytest.mark.parametrize("input_sd", [0.05, 0.5, 1.5])
def test_variance_and_exponent_are_those_of_the_iterated_quadrature(gain, input_sd):
    """Adaptive quadrature to 1e-12; the iteration stops within 1e-9 of the root."""
    found = driven_map(gain, input_sd)
    q, exponent = twin(gain, input_sd)
    assert found.current_variance == pytest.approx(q, rel=1e-8)
    assert found.exponent == pytest.approx(exponent, abs=1e-8)
    assert found.rate_variance == pytest.approx((q - input_sd**2) / gain**2, rel=1e-7)
    assert found.residual < 1e-12
    assert found.is_chaotic == (exponent > 0.0)


def test_without_much_input_it_is_the_network_by_itself():
    """dmft's discrete network at gain 1.5; the input of 1e-4 changes its variance by less than 1e-6."""
    alone, driven = dmft(1.5, dynamics="discrete"), driven_map(1.5, 1e-4)
    assert driven.current_variance == pytest.approx(alone.current_variance, abs=1e-6)
    assert driven.exponent == pytest.approx(alone.exponent, abs=1e-6)


def test_weak_input_moves_the_edge_by_the_third_root_of_its_variance():
    """To leading order g - 1 = q = (3 sigma^2 / 4)^(1/3); the next order is of relative size q, here 2e-3 and 2e-2."""
    for input_sd in (1e-4, 3e-3):
        expected = (0.75 * input_sd**2) ** (1.0 / 3.0)
        edge = transition_gain(input_sd)
        assert edge - 1.0 == pytest.approx(expected, rel=2.0 * expected)
        assert driven_map(edge, input_sd).current_variance == pytest.approx(expected, rel=3.0 * expected)


@pytest.mark.parametrize("input_sd", [0.1, 1.0, 4.0])
def test_the_exponent_changes_sign_at_the_edge(input_sd):
    """Bracket of 1e-9 around the root."""
    edge = transition_gain(input_sd)
    assert not driven_map(edge - 1e-9, input_sd).is_chaotic
    assert driven_map(edge + 1e-9, input_sd).is_chaotic


def test_two_networks_under_one_input_part_at_the_rate_of_the_theory():
    """2000 units, 130 steps of private Gaussian noise: exponents of one draw scatter by about 0.01."""
    gain, input_sd, n = 2.0, 0.8, 2000
    rng = np.random.default_rng(0)
    weights = gain * rng.normal(size=(n, n)) / np.sqrt(n)
    h = rng.normal(size=n)
    tangent = rng.normal(size=n)
    logs, variances = [], []
    for _ in range(150):
        tangent = weights @ (np.cosh(h) ** -2.0 * tangent)
        h = weights @ np.tanh(h) + input_sd * rng.normal(size=n)
        size = np.linalg.norm(tangent)
        tangent /= size
        logs.append(np.log(size))
        variances.append(np.mean(h**2))
    found = driven_map(gain, input_sd)
    assert np.mean(logs[20:]) == pytest.approx(found.exponent, abs=0.03)
    assert np.mean(variances[20:]) == pytest.approx(found.current_variance, rel=0.03)


def test_a_curve_holds_what_single_calls_give_and_is_drawn():
    gains, strengths = np.array([0.5, 1.5, 2.5]), np.array([0.2, 1.0])
    curve = driven_curve(gains, strengths)
    assert curve["exponent"].dims == ("input_sd", "gain")
    assert float(curve["exponent"].sel(input_sd=1.0, gain=1.5)) == driven_map(1.5, 1.0).exponent
    assert float(curve["transition"].sel(input_sd=0.2)) == transition_gain(0.2)
    ax = plot_driven(own_axes(), curve)
    np.testing.assert_allclose(ax.lines[1].get_ydata(), curve["exponent"].sel(input_sd=0.2))
    with pytest.raises(DataError, match="no variable 'transition'"):
        plot_driven(own_axes(), curve.drop_vars("transition"))


def test_what_is_not_positive_is_refused():
    with pytest.raises(OptionError, match="input_sd=0"):
        driven_map(1.0, 0.0)
    with pytest.raises(OptionError, match="gain=-1"):
        driven_map(-1.0, 1.0)
    with pytest.raises(OptionError, match="input_sd=2000"):
        transition_gain(2000.0)


def a_network(gain, input_sd, n, seed):
    """Gaussian weights and input weights."""
    rng = np.random.default_rng(seed)
    return gain * rng.normal(size=(n, n)) / np.sqrt(n), input_sd * rng.normal(size=n)


def test_memory_of_a_hardly_driven_network_is_that_of_the_linear_one():
    """An orthogonal matrix, so that both are exact; the noise of its units has 1e-11 of the variance."""
    rng = np.random.default_rng(3)
    weights = 0.9 * np.linalg.qr(rng.normal(size=(20, 20))).Q
    column = 1e-3 * rng.normal(size=20)
    linear = Reservoir(
        weights=weights, input_weights=column[:, None], bias=np.zeros(20), activations=(Activation(kind="linear"),)
    )
    found = driven_memory(weights, column, 40)["memory"].values
    np.testing.assert_allclose(found, linear_memory(linear, 40).curve, atol=1e-4)


@pytest.mark.parametrize(("gain", "seed"), [(1.1, 0), (1.7, 1)])
def test_memory_with_noise_in_the_readout_is_what_regression_finds(gain, seed):
    """Before and beyond the edge, 120 units: 1/sqrt(N) is 9 %, one delay by twice that."""
    n = 120
    weights, column = a_network(gain, 0.3, n, seed)
    theory = driven_memory(weights, column, 40, readout_noise_sd=0.1)["memory"].values
    rng = np.random.default_rng(seed + 10)
    signs = rng.choice([-1.0, 1.0], 10_500)
    states = Reservoir(weights=weights, input_weights=column[:, None], bias=np.zeros(n)).run(signs)[500:]
    states = states + 0.1 * rng.normal(size=states.shape)
    delayed = np.stack([signs[500 - k : signs.size - k] for k in range(41)], axis=1)
    fit = np.linalg.lstsq(states[:5000], delayed[:5000])[0]
    explained = 1.0 - np.mean((states[5000:] @ fit - delayed[5000:]) ** 2, axis=0)
    # A fit of n weights to 5000 steps costs (1 - r^2) n / 5000 in other steps.
    corrected = 1.0 - (1.0 - explained) / (1.0 + n / 5000)
    assert corrected.sum() == pytest.approx(theory.sum(), rel=0.10)
    assert np.abs(corrected - theory).max() < 2.0 / np.sqrt(n)


def test_variances_of_units_are_those_of_a_simulation():
    """Private sizes of the input give units variances of their own; 5000 steps, tanh of 100 units: 10 %."""
    weights, column = a_network(1.2, 0.5, 100, 5)
    found = driven_memory(weights, column, 3)
    rng = np.random.default_rng(7)
    h, seen = np.zeros(100), []
    for s in rng.normal(size=5000):
        h = weights @ np.tanh(h) + column * s
        seen.append(h)
    simulated = np.var(seen[100:], axis=0)
    assert np.corrcoef(simulated, found["current_variance"])[0, 1] > 0.97
    assert simulated.mean() == pytest.approx(float(found["current_variance"].mean()), rel=0.10)


def test_shapes_and_noise_of_a_memory_are_checked():
    with pytest.raises(DataError, match="do not fit"):
        driven_memory(np.eye(3), np.ones(2), 5)
    with pytest.raises(DataError, match="do not fit"):
        driven_memory(np.full((2, 2), np.nan), np.ones(2), 5)
    with pytest.raises(OptionError, match="readout_noise_sd"):
        driven_memory(0.5 * np.eye(2), np.ones(2), 5, readout_noise_sd=-1.0)
    with pytest.raises(OptionError, match="max_delay"):
        driven_memory(0.5 * np.eye(2), np.ones(2), -1)


def test_a_network_is_marked_on_the_curve_of_its_input():
    found = driven_map(1.8, 0.4)
    marked = found.plot().lines[-1]
    assert (marked.get_xdata()[0], marked.get_ydata()[0]) == (1.8, found.exponent)
