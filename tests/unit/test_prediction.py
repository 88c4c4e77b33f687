"""Theory laid over a circuit: which theory, its numbers, and what was measured beside them."""

from __future__ import annotations

import numpy as np
import pytest

from cortexrnn.circuit import Circuit, load_circuit
from cortexrnn.circuit.build import loadings
from cortexrnn.report.figure_file import own_axes
from cortexrnn.theory.fixed_points import fixed_points
from cortexrnn.theory.lyapunov import lyapunov
from cortexrnn.theory.mean_field import dmft, rank_one
from cortexrnn.theory.prediction import predict
from cortexrnn.theory.system import as_system


def predicted(circuit, duration_s, points=None, **options):
    """Follow a circuit for a while and hold its theory against it."""
    system = as_system(circuit, **options)
    spectrum = lyapunov(system, duration_s=duration_s, n=1, seed=0)
    points = np.empty((0, system.size)) if points is None else points
    return predict(circuit, system, spectrum, points, **options)


def test_a_random_network_is_held_against_dynamic_mean_field_theory():
    found = predicted(Circuit.random(400, 2.0, seed=3), 3.0)
    theory = dmft(2.0)
    assert found.theory == "dynamic mean field, g = 2"
    expected = [np.sqrt(theory.rate_variance), theory.rate_half_lag, theory.exponent]
    # The predicted radius is the gain up to the rounding of its factor.
    np.testing.assert_allclose(found.table["predicted"], expected, rtol=1e-9)
    deviation, half, exponent = found.table["measured"]
    # One network of 400 units: its variance is some percent low, its exponent up to 0.035 lower or 0.015 higher.
    assert deviation == pytest.approx(expected[0], rel=0.08)
    assert half == pytest.approx(expected[1], rel=0.3)
    assert -0.035 <= exponent - expected[2] <= 0.015
    # The first dot is the variance.
    assert found.dots[0] == pytest.approx([0.0, deviation**2])
    assert "measured" in [text.get_text() for text in found.plot(own_axes()).get_legend().get_texts()]


def test_a_silent_network_is_predicted_and_found_silent():
    found = predicted(Circuit.random(100, 0.5, seed=1), 1.0)
    np.testing.assert_allclose(found.table["predicted"].iloc[[0, 2]], [0.0, -0.5], atol=1e-12)
    # The largest real part of 100 eigenvalues, some 0.05 about the radius.
    assert found.table["measured"].iloc[2] == pytest.approx(-0.5, abs=0.1)
    assert found.table["measured"].iloc[0] < 1e-6


def test_a_rank_one_network_settles_where_the_theory_of_its_own_overlap_says():
    circuit = Circuit.low_rank(500, 2.0, seed=5)
    m, n = loadings(circuit, circuit.low_rank_terms[0], 0)
    found = predicted(circuit, 1.0)
    assert "structured" in found.theory
    assert found.table.loc["activity along m, kappa", "predicted"] == rank_one(float(np.mean(m * n))).kappa
    kappa = 2.0
    for _ in range(2000):
        kappa = float(np.mean(n * np.tanh(kappa * m)))
    # The state is kappa m, one number: iterated by hand.
    assert found.table.loc["activity along m, kappa", "measured"] == pytest.approx(kappa, rel=1e-6)
    assert found.dots.shape == (1, 2)


def test_all_steady_states_of_a_pair_are_held_against_the_points_found():
    circuit, drive = load_circuit("hennequin_2018"), {"drive": 10.0}
    points = fixed_points(as_system(circuit, inputs=drive), n_starts=64).states
    found = predicted(circuit, 0.1, points, inputs=drive)
    # r_E(h = 10) from the branch that begins at rest, to the three digits of the table of targets.
    assert found.table.loc["state 0, inhibition-stabilised: E", "predicted"] == pytest.approx(10.667, abs=1e-3)
    np.testing.assert_allclose(found.table["measured"], found.table["predicted"], rtol=1e-6)


@pytest.mark.parametrize(
    "circuit",
    [
        load_circuit("mongillo_2008"),
        Circuit.balanced(60, 2.0, density=0.5),
        Circuit.random(50, 40.0),
        Circuit.random(50, 1.00001),
        Circuit.random(50, 2.0, activation="relu"),
    ],
    ids=["plastic", "means that cancel", "gain beyond the series", "gain at the transition", "no tanh"],
)
def test_where_no_theory_applies_there_is_none(circuit):
    assert predicted(circuit, 0.02) is None
