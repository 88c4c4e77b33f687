"""The balanced state at a finite number of inputs.

Oracle: the equations solved by hand for the published pair; Newton's method on the circuit of the validation script of
C12; integration of the rectified equations.
"""

from __future__ import annotations

import numpy as np
import pytest

from cortexrnn.circuit import build_weights
from cortexrnn.errors import NumericalError, OptionError
from cortexrnn.theory.mean_field import balanced_curve, balanced_state
from cortexrnn.validation.van_vreeswijk_sompolinsky_1998.run import circuit

WEIGHTS, DRIVE = [[1.0, -2.0], [1.0, -1.8]], [1.0, 0.8]


def newton(spec):
    """Find the rates of a circuit by Newton's method from silence."""
    weights, phi, rates = build_weights(spec).total(), spec.populations[0].activation, np.zeros(2)
    for _ in range(50):
        z = weights @ rates + spec.bias
        step = np.linalg.solve(np.eye(2) - phi.slope(z)[:, None] * weights, phi(z) - rates)
        rates = rates + step
        if np.abs(step).max() < 1e-14:
            break
    return rates


def integrated(weights, drive, in_degree, taus, start):
    """Integrate the rectified equations by small Euler steps to their rest."""
    scale, rate = np.sqrt(in_degree), np.array(start, float)
    for _ in range(40_000):
        rate = rate + 2e-3 / np.array(taus) * (np.maximum(scale * (weights @ rate + drive), 0.0) - rate)
    return rate


def test_the_published_pair_has_the_rates_worked_out_by_hand():
    found = balanced_state(WEIGHTS, DRIVE, in_degree=100)
    # (0.1 - 1) a + 2 b = 1, -a + (0.1 + 1.8) b = 0.8: a = 0.30 / 0.29, b = 0.28 / 0.29.
    np.testing.assert_allclose(found.rates, [0.30 / 0.29, 0.28 / 0.29], rtol=1e-13)
    np.testing.assert_allclose(found.limit, [1.0, 1.0], rtol=1e-13)
    assert found.is_balanced
    assert found.failures == ()


@pytest.mark.parametrize("k", [10.0, 100.0, 1e6])
def test_the_rates_equal_those_of_newtons_method_on_the_circuit(k):
    # Two solvers of one linear system.
    np.testing.assert_allclose(balanced_state(WEIGHTS, DRIVE, in_degree=k).rates, newton(circuit(k)), rtol=1e-9)


def test_what_the_first_correction_leaves_falls_with_one_over_k():
    left = [
        np.abs(found.rates - found.limit - found.correction).max()
        for found in (balanced_state(WEIGHTS, DRIVE, in_degree=k) for k in (1e6, 4e6))
    ]
    # A factor of 4 in K, up to terms of relative order 1/sqrt(K) = 1e-3.
    assert left[0] / left[1] == pytest.approx(4.0, rel=0.02)


def test_the_equations_come_to_rest_at_the_stable_state():
    found = balanced_state(WEIGHTS, DRIVE, in_degree=100, taus=[1.0, 0.9])
    np.testing.assert_allclose(integrated(WEIGHTS, DRIVE, 100, [1.0, 0.9], [0.0, 0.0]), found.rates, atol=1e-9)


def test_slow_inhibition_makes_it_unstable_and_the_result_says_so():
    found = balanced_state(WEIGHTS, DRIVE, in_degree=100, taus=[1.0, 3.0])
    assert not found.is_balanced
    assert "unstable" in found.failures[0]
    start = found.rates * 1.01
    assert np.abs(integrated(WEIGHTS, DRIVE, 100, [1.0, 3.0], start) - found.rates).max() > 0.1


def test_too_much_drive_to_inhibition_silences_excitation_and_the_result_says_so():
    found = balanced_state(WEIGHTS, [1.0, 1.2], in_degree=100)
    assert not found.is_balanced
    assert "excitatory" in found.failures[0]
    assert np.isnan(found.rates).all()
    (rate,) = found.states["rate"].values
    # Inhibition alone: b = 12 / (1 + 18).
    np.testing.assert_allclose(rate, [0.0, 12.0 / 19.0], rtol=1e-13)


def test_all_states_of_two_populations_that_inhibit_each_other_are_found():
    found = balanced_state([[-1.0, -2.0], [-2.0, -1.0]], [1.0, 1.0], in_degree=100)
    rates = found.states["rate"].values
    # By hand: both at 10 / 31, or one alone at 10 / 11.
    np.testing.assert_allclose(rates, [[10 / 31, 10 / 31], [10 / 11, 0.0], [0.0, 10 / 11]], rtol=1e-13)
    assert found.states["is_stable"].values.tolist() == [False, True, True]


def test_the_curve_crosses_the_single_states():
    curve = balanced_curve(WEIGHTS, DRIVE, in_degrees=[100.0, 400.0])
    np.testing.assert_allclose(curve["rate"][1], balanced_state(WEIGHTS, DRIVE, in_degree=400).rates, rtol=1e-13)
    assert curve["population"].values.tolist() == ["excitatory", "inhibitory"]


def test_the_figure_marks_this_number_of_inputs():
    ax = balanced_state(WEIGHTS, DRIVE, in_degree=100).plot()
    assert ax.get_xscale() == "log"
    assert [text.get_text() for text in ax.get_legend().get_texts()] == ["excitatory", "inhibitory"]


def test_singular_weights_are_a_named_result():
    with pytest.raises(NumericalError, match="singular"):
        balanced_state([[1.0, -1.0], [1.0, -1.0]], DRIVE, in_degree=100)


@pytest.mark.parametrize(
    ("weights", "drive", "options", "words"),
    [
        ([[1.0, -2.0]], DRIVE, {"in_degree": 100}, "shape"),
        (WEIGHTS, [1.0, np.nan], {"in_degree": 100}, "not finite"),
        (WEIGHTS, DRIVE, {"in_degree": 0}, "in_degree"),
        (WEIGHTS, DRIVE, {"in_degree": 100, "taus": [1.0, -1.0]}, "taus"),
        (-np.eye(13), np.ones(13), {"in_degree": 100}, "from 1 to 12"),
    ],
)
def test_what_does_not_fit_is_refused(weights, drive, options, words):
    with pytest.raises(OptionError, match=words):
        balanced_state(weights, drive, **options)
