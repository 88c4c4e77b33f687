"""Steady states, branches and cycles of an excitatory and an inhibitory population.

Oracle: the published table of C16, closed forms of linear units, the simulator, and integration by SciPy.
"""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
from scipy.integrate import solve_ivp
from scipy.optimize import fsolve

from cortexrnn.cells.activation import Activation
from cortexrnn.circuit import Circuit, load_circuit
from cortexrnn.dynamics import Pulse, Solver, simulate
from cortexrnn.errors import NumericalError, OptionError
from cortexrnn.theory.mean_field import EIPair, limit_cycle, nullclines, pair_states, rest_branch

TABLE = {2.0: 3.261, 5.0: 8.454, 10.0: 10.667, 15.0: 11.209, 20.0: 11.087}
SQUARE = Activation(kind="power", gain=0.3, exponent=2.0)
# Strong self-excitation and weak inhibition: two states at low drive, none at high.
RUNAWAY = EIPair(weights=((2.5, -0.3), (0.5, -0.5)), activations=(SQUARE, SQUARE))


@pytest.fixture(scope="module")
def ssn():
    """The reduced supralinear network."""
    return EIPair.of_circuit(Circuit.ssn())


@pytest.fixture(scope="module")
def wilson_cowan():
    """The published oscillator, with its drive as bias."""
    return EIPair.of_circuit(load_circuit("wilson_cowan_1972"))


def test_the_branch_from_rest_has_the_published_rates(ssn):
    branch = rest_branch(ssn, list(TABLE))
    np.testing.assert_allclose(branch.states["rate"].sel(population="excitatory"), list(TABLE.values()), atol=1e-3)
    assert branch.turning_drive == math.inf


@pytest.mark.parametrize("drive", TABLE)
def test_the_scan_of_all_states_finds_the_branch_from_rest_and_nothing_else(ssn, drive):
    (rate,) = pair_states(ssn, drive).states["rate"].values
    # Two root searches.
    np.testing.assert_allclose(rate, rest_branch(ssn, [drive]).states["rate"].values[0], rtol=1e-10)


def test_the_simulated_network_comes_to_rest_there(ssn):
    run = simulate(Circuit.ssn(), duration_s=1.0, stimulus={"drive": Pulse(amplitude=10.0)}, initial=np.zeros(2))
    (rate,) = pair_states(ssn, 10.0).states["rate"].values
    np.testing.assert_allclose(run["rate"][0, -1], rate, rtol=1e-6)


def test_weak_drive_is_feed_forward_and_strong_drive_is_held_by_inhibition(ssn):
    states = rest_branch(ssn, [0.0, 0.5, 2.0, 10.0]).states
    assert states["excitatory_gain"][0] == 0.0
    assert states["is_inhibition_stabilised"].values.tolist() == [False, False, True, True]
    assert states["is_stable"].all()


@pytest.mark.parametrize("drive", [0.5, 2.0, 10.0])
def test_more_drive_to_inhibition_lowers_its_rate_exactly_where_inhibition_stabilises(ssn, drive):
    found = pair_states(ssn, drive).states
    step = 1e-5
    more, less = (pair_states(ssn, [drive, drive + shift]).states["rate"].values[0] for shift in (step, -step))
    # Central differences of 1e-5.
    np.testing.assert_allclose(found["response"].values[0][:, 1], (more - less) / (2.0 * step), rtol=1e-5)
    assert bool(found["is_paradoxical"][0]) == bool(found["is_inhibition_stabilised"][0]) == (more[1] < less[1])


def test_frozen_inhibition_lets_excitation_run_away_where_its_gain_is_above_one(ssn):
    (rate,) = pair_states(ssn, 10.0).states["rate"].values
    frozen = EIPair(weights=((1.25, 0.0), (0.0, 0.0)), activations=(SQUARE, SQUARE))
    # The inhibitory rate stays at its value as a negative drive: the state is the same and now unstable.
    alone = pair_states(frozen, [10.0 - 0.65 * rate[1], 0.0]).states
    at = int(np.argmin(np.abs(alone["rate"].values[:, 0] - rate[0])))
    assert alone["rate"].values[at, 0] == pytest.approx(rate[0], rel=1e-9)
    assert float(alone["growth"][at]) == pytest.approx((float(alone["excitatory_gain"][at]) - 1.0) / 0.02, rel=1e-9)
    assert not alone["is_stable"][at]


def test_linear_units_have_the_state_of_the_linear_equations():
    linear = Activation(kind="linear")
    pair = EIPair(weights=((0.5, -1.0), (1.0, -2.0)), activations=(linear, linear), taus_s=(0.01, 0.01))
    found = pair_states(pair, [1.0, 0.2]).states
    np.testing.assert_allclose(found["rate"], [np.linalg.solve([[0.5, 1.0], [-1.0, 3.0]], [1.0, 0.2])], rtol=1e-10)
    expected = np.linalg.eigvals((np.array(pair.weights) - np.eye(2)) / 0.01)
    assert float(found["growth"][0]) == pytest.approx(expected.real.max(), rel=1e-9)


def test_all_states_of_the_published_oscillator_at_low_drive_are_found(wilson_cowan):
    found = pair_states(wilson_cowan, -1.25).states
    rng, drive = np.random.default_rng(3), np.full(2, -1.25)
    roots = []
    for start in rng.uniform(-0.1, 1.0, (200, 2)):
        at, _, flag, _ = fsolve(lambda r: 0.01 * wilson_cowan.velocity(r, drive), start, full_output=True)
        if flag == 1 and not any(np.allclose(at, root, atol=1e-6) for root in roots):
            roots.append(at)
    assert len(roots) == found.sizes["state"] == 3
    np.testing.assert_allclose(found["rate"], sorted(map(tuple, roots)), atol=1e-7)
    assert found["is_stable"].values.tolist() == [True, False, False]


def test_a_branch_that_turns_says_where_and_ends_in_nan():
    drives = np.linspace(0.0, 1.0, 21)
    branch = rest_branch(RUNAWAY, drives)
    rate = branch.states["rate"].values[:, 0]
    # Beyond the turn no state is left; before it there are two. Halving finds where.
    low, high = 0.3, 0.4
    for _ in range(20):
        middle = 0.5 * (low + high)
        low, high = (middle, high) if pair_states(RUNAWAY, middle).states.sizes["state"] == 2 else (low, middle)
    assert branch.turning_drive == pytest.approx(low, abs=2e-6)
    np.testing.assert_array_equal(np.isnan(rate), drives > branch.turning_drive)
    assert branch.states["is_stable"].dtype == bool
    assert not branch.states["is_stable"].values[-1]


def test_no_state_at_all_is_an_empty_table():
    assert pair_states(RUNAWAY, 1.0).states.sizes["state"] == 0


def test_a_branch_that_turns_before_the_first_drive_is_all_nan():
    branch = rest_branch(RUNAWAY, [1.0])
    assert branch.turning_drive < 1.0
    assert np.isnan(branch.states["rate"]).all()


def test_the_published_oscillator_oscillates_with_the_simulated_period(wilson_cowan):
    found = limit_cycle(wilson_cowan, 0.0)
    run = simulate(
        load_circuit("wilson_cowan_1972"), duration_s=1.0, dt_s=1e-4, initial=[0.1, 0.05],
        solver=Solver(method="runge_kutta"),
    )  # fmt: skip
    time_s, rate = run["time"].values, run["rate"].values[0, :, 0]
    level = float(found.steady.states["rate"][0, 0])
    up = np.flatnonzero((rate[1:] >= level) & (rate[:-1] < level))
    crossings_s = time_s[up] + 1e-4 * (level - rate[up]) / (rate[up + 1] - rate[up])
    # Crossings are interpolated linearly between steps of 0.1 ms.
    assert found.period_s == pytest.approx(np.diff(crossings_s)[-5:].mean(), rel=1e-6)
    assert found.exists
    assert not found.steady.states["is_stable"].any()


def test_the_multiplier_is_the_measured_contraction_onto_the_cycle(wilson_cowan):
    found = limit_cycle(wilson_cowan, [-0.2, 0.0])
    start = found.orbit["rate"].values[0]
    shift = 1e-5

    def crossing(_, rates):
        return rates[0] - start[0]

    crossing.terminal, crossing.direction = True, 1.0

    def after_one_turn(inhibitory):
        options = {"rtol": 1e-11, "atol": 1e-13, "method": "DOP853"}
        velocity = lambda _, rates: wilson_cowan.velocity(rates, found.steady.drive)  # noqa: E731 -- a signature only
        begun = solve_ivp(velocity, (0.0, 1e-3), [start[0], inhibitory], **options).y[:, -1]
        return solve_ivp(velocity, (0.0, 1.0), begun, events=crossing, **options).y_events[0][0][1]

    measured = (after_one_turn(start[1] + shift) - after_one_turn(start[1] - shift)) / (2.0 * shift)
    # Central differences; the multiplier is of the order of 1e-3.
    assert found.multiplier == pytest.approx(measured, rel=0.02, abs=1e-6)


def test_the_orbit_closes_and_encircles_the_steady_state(wilson_cowan):
    orbit = limit_cycle(wilson_cowan, 0.0).orbit["rate"].values
    np.testing.assert_allclose(orbit[0], orbit[-1], atol=1e-7)
    centre = pair_states(wilson_cowan, 0.0).states["rate"].values[0]
    angles = np.unwrap(np.arctan2(*(orbit - centre).T))
    assert abs(angles[-1] - angles[0]) == pytest.approx(2.0 * np.pi, abs=1e-5)


def test_a_pair_at_rest_and_one_that_runs_away_have_no_cycle(wilson_cowan):
    rest = limit_cycle(wilson_cowan, -1.25)
    assert not rest.exists
    assert math.isnan(rest.period_s)
    assert rest.orbit.sizes["time"] == 0
    assert not limit_cycle(RUNAWAY, 0.1).exists


def test_nullclines_cross_at_the_steady_states(ssn):
    lines = nullclines(ssn, 10.0, highest=(16.0, 40.0))["rate"]
    (rate,) = pair_states(ssn, 10.0).states["rate"].values
    for name in ("excitatory", "inhibitory"):
        curve = lines.sel(of=name).dropna("point").values
        # Linear interpolation between points less than a tenth apart.
        assert np.interp(rate[0], curve[:, 0], curve[:, 1]) == pytest.approx(rate[1], rel=1e-3)


def test_figures_show_what_they_are_asked_for(ssn, wilson_cowan):
    assert pair_states(ssn, 10.0).plot().get_xlabel() == "excitatory rate"
    assert "inhibition-stabilised" in [text.get_text() for text in rest_branch(ssn, [1.0, 5.0]).plot().texts]
    words = [text.get_text() for text in limit_cycle(wilson_cowan, 0.0).plot().get_legend().get_texts()]
    assert "cycle" in words
    assert limit_cycle(wilson_cowan, -1.25).plot().get_ylabel() == "inhibitory rate"


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"weights": ((1.0, 0.5), (1.0, -0.5))}, "Dale"),
        ({"weights": ((1.0, -0.5),)}, "two populations"),
        ({"taus_s": (0.01, 0.0)}, "positive seconds"),
        ({"bias": (math.nan, 0.0)}, "not finite"),
    ],
)
def test_pairs_that_are_none_are_refused(fields, words):
    given = {"weights": ((1.0, -0.5), (1.0, -0.5)), "activations": (SQUARE, SQUARE)} | fields
    with pytest.raises(OptionError, match=words):
        EIPair(**given)


def test_other_circuits_are_refused():
    with pytest.raises(OptionError, match="is no excitatory and inhibitory unit"):
        EIPair.of_circuit(Circuit.random(10, 1.0))


def test_drives_that_are_none_are_refused(ssn):
    with pytest.raises(OptionError, match="drive"):
        pair_states(ssn, [1.0, 2.0, 3.0])
    with pytest.raises(OptionError, match="ascending"):
        rest_branch(ssn, [2.0, 1.0])


def test_a_pair_without_a_state_at_rest_is_a_named_result():
    with pytest.raises(NumericalError, match="no steady state without drive"):
        rest_branch(replace(RUNAWAY, bias=(5.0, 0.0)), [1.0])
