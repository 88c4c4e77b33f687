"""Working memory in facilitating synapses: all states, their stability, the bistable window.

Oracle: the equations written out below with finite differences, a plain scan of the scalar
equation of a lone item, and the simulator.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from scipy.optimize import brentq

from cortexrnn.cells.activation import Activation
from cortexrnn.cells.stp import ShortTermPlasticity
from cortexrnn.circuit import Circuit, load_circuit
from cortexrnn.dynamics import Record, Samples, simulate
from cortexrnn.errors import OptionError
from cortexrnn.theory.mean_field import MemoryItems, bistable_window, memory_states

N_ITEMS = 5
# Roots of the largest real part of the Jacobian of the equations written out, by finite differences.
EDGES = (-1.819640456793865, -0.5785347531238094)


@pytest.fixture(scope="module")
def items():
    """The items of the shipped circuit."""
    return MemoryItems.of_circuit(load_circuit("mongillo_2008"))


@pytest.fixture(scope="module")
def lone(items):
    """One of them alone."""
    return replace(items, n_items=1, excitation=0.0, inhibition=0.0)


@pytest.fixture(scope="module")
def window(items):
    """Its bistable window."""
    return bistable_window(items, (-2.5, 0.2))


def derivative(state, background):
    """Write the equations and their numbers out, apart from the file and the simulator: items, inhibition, u, x."""
    h, h_inhibitory, u, x = np.split(state, [N_ITEMS, N_ITEMS + 1, 2 * N_ITEMS + 1])
    rate, rate_inhibitory = (1.5 * np.logaddexp(0.0, current / 1.5) for current in (h, h_inhibitory))
    return np.concatenate(
        [
            (-h + 5.0 * u * x * rate - 0.5 * rate_inhibitory + background) / 0.015,
            (-h_inhibitory + 0.5 * rate.sum()) / 0.01,
            (0.2 - u) / 1.5 + 0.2 * (1.0 - u) * rate,
            (1.0 - x) / 0.2 - u * x * rate,
        ]
    )


def whole_state(items, states, number):
    """Lay one found state out as the equations have it: items, inhibition, u, x."""
    one = states.isel(state=number)
    h = np.array([float(one["current"])] + [float(one["current_others"])] * (N_ITEMS - 1))
    rate = 1.5 * np.logaddexp(0.0, h / 1.5)
    steady = items.plasticity.steady_state(rate)
    return np.concatenate([h, [0.5 * rate.sum()], steady.u, steady.x])


@pytest.mark.parametrize("background", [-3.0, -1.0, -0.5])
def test_found_states_are_at_rest_in_the_equations_written_out(items, background):
    states = memory_states(items, background)
    for number in range(states.sizes["state"]):
        change = derivative(whole_state(items, states, number), background)
        # Per second, where currents of 10 change at 67 per second: rounding.
        assert np.abs(change).max() < 1e-8


@pytest.mark.parametrize("background", [-3.0, -1.0])
def test_the_eigenvalues_are_those_of_finite_differences(items, background):
    states = memory_states(items, background)
    for number in range(states.sizes["state"]):
        at = whole_state(items, states, number)
        steps = 1e-6 * np.eye(at.size)
        matrix = np.stack([(derivative(at + s, background) - derivative(at - s, background)) / 2e-6 for s in steps], 1)
        largest = np.linalg.eigvals(matrix).real.max()
        # Central differences of 1e-6 leave 1e-9 of rates of 67 per second.
        assert float(states["growth"][number]) == pytest.approx(largest, abs=1e-5)


def test_both_memory_states_are_found_and_a_saddle_between_them(items):
    states = memory_states(items, -1.0)
    assert states["is_stable"].values.tolist() == [True, False, True]
    assert states["rate_hz"].values[-1] > 10.0 > 1.0 > states["rate_others_hz"].values[-1]


def test_the_window_is_that_of_the_equations_written_out(window):
    # Finite differences of 1e-6 put the published edges off by 1e-8.
    assert window.low.background == pytest.approx(EDGES[0], abs=1e-7)
    assert window.high.background == pytest.approx(EDGES[1], abs=1e-7)
    assert (window.low.kind, window.high.kind) == ("oscillation", "branch point")


def test_within_the_window_both_states_are_stable_and_outside_not(items, window):
    for background, expected in ((-1.83, 1), (-1.81, 2), (-0.58, 2), (-0.57, 1)):
        states = memory_states(items, background)
        is_candidate = states["is_stable"] & (states["rate_hz"] >= states["rate_others_hz"] - 1e-9)
        assert int(is_candidate.sum()) == expected, background


def test_the_lone_items_saddle_node_is_where_its_scalar_equation_turns(lone):
    window = bistable_window(lone, (-3.4, 0.0))
    rate = lambda h: 1.5 * np.logaddexp(0.0, h / 1.5)  # noqa: E731 -- the equation in one line

    def needed(h):
        r = rate(h)
        u = 0.2 * (1.0 + 1.5 * r) / (1.0 + 0.3 * r)
        return h - 5.0 * u * r / (1.0 + 0.2 * u * r)

    h = np.linspace(-4.0, 1.0, 500_001)
    # On a grid of 1e-5 the maximum is right to its square.
    assert window.high.background == pytest.approx(needed(h).max(), abs=1e-8)
    assert window.high.kind == "saddle-node"
    assert window.saddle_nodes == pytest.approx([needed(h).max()], abs=1e-8)


def test_all_roots_of_a_lone_item_are_found(lone):
    background = -2.5
    states = memory_states(lone, background)
    h = np.linspace(-10.0, 30.0, 40_001)
    values = lone.held_at(h) - background
    places = np.flatnonzero(np.sign(values[1:]) != np.sign(values[:-1]))
    roots = [brentq(lambda at: float(lone.held_at(at)) - background, h[i], h[i + 1]) for i in places]
    np.testing.assert_allclose(states["current"], roots, rtol=1e-9)
    assert len(roots) == 3


def test_without_facilitation_and_with_weak_synapses_there_is_no_window(lone):
    weak = replace(lone, weight=0.5)
    assert not bistable_window(weak, (-5.0, 5.0)).is_bistable
    assert memory_states(weak, 0.0).sizes["state"] == 1


@pytest.mark.parametrize("convention", ["tsodyks1998", "mongillo2008"])
@pytest.mark.parametrize("tau_f_s", [0.0, 1.5])
def test_the_jacobian_of_a_lone_item_is_that_of_finite_differences(lone, convention, tau_f_s):
    stp = ShortTermPlasticity(U=0.2, tau_f_s=tau_f_s, tau_d_s=0.2, convention=convention)
    one = replace(lone, plasticity=stp)
    h = 3.0
    steady = stp.steady_state(float(1.5 * one.activation(h)))

    def velocity(state):
        h, u, x = state
        rate = float(one.activation(h))
        v = u + 0.2 * (1.0 - u) if convention == "mongillo2008" and tau_f_s else u
        du = (0.2 - u) / tau_f_s + 0.2 * (1.0 - u) * 1.5 * rate if tau_f_s else 0.0
        return np.array([(-h + 7.5 * v * x * rate) / 0.015, du, (1.0 - x) / 0.2 - v * x * 1.5 * rate])

    at = np.array([h, float(steady.u), float(steady.x)])
    matrix = np.stack([(velocity(at + s) - velocity(at - s)) / 2e-6 for s in 1e-6 * np.eye(3)], axis=1)
    expected = np.append(np.linalg.eigvals(matrix if tau_f_s else matrix[np.ix_([0, 2], [0, 2])]), -1.0 / 0.01)
    found = one.eigenvalues(h, h)
    for value in expected:
        # Rates of 67 per second by central differences.
        assert np.abs(found - value).min() < 1e-5


@pytest.mark.parametrize("is_loaded", [True, False])
def test_the_simulator_ends_at_the_predicted_state_loaded_or_not(items, is_loaded):
    background = -0.8
    states = memory_states(items, background)
    expected = states.where(states["is_stable"], drop=True)["rate_hz"].values[-1 if is_loaded else 0]
    inputs = np.full((260, N_ITEMS), background + 3.0)
    inputs[20:27, 0] += 20.0 * is_loaded
    run = simulate(
        load_circuit("mongillo_2008"), duration_s=13.0, initial=np.full(6, background), record=Record(start_s=12.9),
        stimulus={"items": Samples(values=inputs, step_s=0.05)},
    )  # fmt: skip
    # The slower of the two states is reached with some 1 per second: exp(-11) of the way is left.
    assert 1.5 * float(run["rate"][0, -1, 0]) == pytest.approx(expected, rel=1e-3)


def test_the_figure_shades_the_window(window):
    ax = window.plot()
    assert "both stable" in [text.get_text() for text in ax.texts]


def test_circuits_that_are_no_items_are_refused():
    with pytest.raises(OptionError, match="is not one population of items"):
        MemoryItems.of_circuit(Circuit.random(10, 1.0))


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"weight": 0.0}, "weight"),
        ({"n_items": 0}, "n_items"),
        ({"inhibition": -1.0}, "inhibition"),
        ({"activation": Activation(kind="tanh")}, "can be negative"),
    ],
)
def test_values_out_of_range_are_refused(items, changes, words):
    with pytest.raises(OptionError, match=words):
        replace(items, **changes)


def test_backgrounds_that_are_none_are_refused(items):
    with pytest.raises(OptionError, match="background"):
        memory_states(items, np.nan)
    with pytest.raises(OptionError, match="backgrounds"):
        bistable_window(items, (1.0, -1.0))
