"""Superposition and state-dependent gain against closed forms, simulations, and the slopes of the fixed points."""

from __future__ import annotations

import numpy as np
import pytest

from cortexrnn.cells.activation import Activation
from cortexrnn.cells.recurrent import CELLS
from cortexrnn.cells.stp import ShortTermPlasticity
from cortexrnn.circuit import Circuit, Input, Population, Projection, WeightLaw, load_circuit
from cortexrnn.dynamics import Samples, simulate
from cortexrnn.errors import DataError, NumericalError, NumericalWarning, OptionError
from cortexrnn.report.figure_file import own_axes
from cortexrnn.report.response import plot_superposition
from cortexrnn.theory.cell_system import CellSystem
from cortexrnn.theory.fixed_points import fixed_points
from cortexrnn.theory.rate_system import circuit_system
from cortexrnn.theory.response import input_family, superposition
from cortexrnn.theory.state_gain import state_gain
from cortexrnn.training.cell_model import CellNetwork
from cortexrnn.training.loop import TrainOptions, train
from cortexrnn.training.tasks import Trial, from_function

# Fixed points of models/hennequin_2018.toml, from an independent computation (target C16).
SSN_RATES = {2: 3.261, 5: 8.454, 10: 10.667, 20: 11.087}


def unit(activation, *, weight=0.0, form="rate", tau_s=0.02):
    """One unit with an input."""
    loops = ()
    if weight:
        law = WeightLaw(law="constant", mean=weight)
        loops = (Projection(source="p", target="p", weights=law, allow_autapses=True),)
    return Circuit(
        name="unit",
        form=form,
        populations=(Population(name="p", size=1, activation=activation, tau_s=tau_s),),
        projections=loops,
        inputs=(Input(name="drive", target="p"),),
    )


def network(kind, form="rate", plastic=False):
    """Six excitatory and four inhibitory units with two channels."""
    sizes = {"excitatory": 6, "inhibitory": 4}
    return Circuit(
        name="network",
        form=form,
        populations=tuple(
            Population(name=n, size=k, sign=n, activation=Activation(kind=kind), tau_s=0.02, bias=0.1)
            for n, k in sizes.items()
        ),
        projections=tuple(
            Projection(
                source=a, target=b, weights=WeightLaw(law="gamma", mean=0.1, sd=0.05),
                plasticity="stp" if plastic and a == "excitatory" else "",
            )
            for a in sizes for b in sizes
        ),
        plasticity={"stp": ShortTermPlasticity(U=0.3, tau_f_s=0.4, tau_d_s=0.1)} if plastic else {},
        inputs=(Input(name="first", target="excitatory"), Input(name="second", target="inhibitory")),
        rate_scale_hz=5.0,
    )  # fmt: skip


def courses(n_steps=60, n_inputs=2, seed=0):
    """Two inputs over time."""
    return np.random.default_rng(seed).normal(0.0, 0.5, (2, n_steps, n_inputs))


def gru(levels):
    """A GRU of five units with two inputs."""
    drawn = CELLS["gru"].draw(2, 5, seed=3, dtype=np.float64)
    return CellSystem("gru", drawn, np.asarray(levels, float), dt_s=0.01)


# Superposition


@pytest.mark.parametrize("form", ["rate", "current"])
def test_linear_units_add_up_exactly(form):
    """Index 0 to 1e-12; measured 1e-15."""
    a, b = courses()
    found = superposition(input_family(network("linear", form), dt_s=1e-3), a, b)
    assert found.index < 1e-12
    assert found.data["index"].values.max() < 1e-12
    assert found.data["index_over_time"].values.max() < 1e-12
    assert found.kind == "linear"
    assert set(found.data["kind"].values) == {"linear"}


def test_one_squaring_unit_exceeds_the_sum_by_the_product():
    """(a + b)^2 over a^2 + b^2: index 2 a b / (a^2 + b^2) at every time, for rates that leak linearly. 1e-12."""
    circuit = unit(Activation(kind="power", gain=0.3, exponent=2.0))
    family = input_family(circuit, dt_s=1e-3)
    for a, b in ((1.0, 1.0), (0.5, 2.0)):
        expected = 2.0 * a * b / (a**2 + b**2)
        found = superposition(family, np.full(50, a), np.full(50, b))
        assert found.index == pytest.approx(expected, rel=1e-12)
        assert found.signed_index == pytest.approx(expected, rel=1e-12)
        np.testing.assert_allclose(found.data["index_over_time"], expected, rtol=1e-11)
        assert found.kind == "supralinear"
        rate = 0.3 * (a + b) ** 2 * -np.expm1(-found.data["time"].values / 0.02)
        np.testing.assert_allclose(found.data["response_both"][:, 0], rate, rtol=1e-12)


def test_a_unit_that_needs_both_inputs_is_infinitely_supralinear_and_a_silent_one_linear():
    circuit = unit(Activation(kind="relu", threshold=1.5))
    found = superposition(circuit, np.ones(20), np.ones(20))
    assert found.index == np.inf
    assert found.kind == "supralinear"
    silent = superposition(circuit, np.full(20, 0.1), np.full(20, 0.1))
    assert (silent.index, silent.kind) == (0.0, "linear")


def test_a_response_is_that_of_the_simulation():
    """`simulate` with the same samples from the same start, float64: 1e-12."""
    circuit, (a, b) = network("softplus", plastic=True), courses()
    base = np.array([0.2, 0.1])
    family = input_family(circuit, dt_s=1e-3)
    start = np.concatenate([np.zeros(10), np.full(6, 0.3), np.ones(6)])
    found = superposition(family, a, b, background=base, start=start)
    for name, course in {"both": a + b, "a": a, "none": 0.0 * a}.items():
        stimulus = {
            channel: Samples(values=base[k] + course[:, k], step_s=1e-3) for k, channel in enumerate(family.names)
        }
        run = simulate(circuit, duration_s=0.06, dt_s=1e-3, stimulus=stimulus, initial=np.zeros(10), dtype=np.float64)
        # A simulation keeps rates as of the beginning of every step.
        np.testing.assert_allclose(found.data[f"response_{name}"][:-1], run["rate"][0, 1:], rtol=1e-11, atol=1e-13)


def test_by_default_it_starts_at_rest_under_the_background():
    """Without inputs nothing happens, plastic synapses included: the distance left is 1e-13 times tau / dt."""
    nothing = np.zeros((30, 2))
    found = superposition(network("softplus", plastic=True), nothing, nothing, background=[0.4, 0.1])
    rates = found.data["response_none"].values
    assert rates.min() > 0.1
    np.testing.assert_allclose(rates, np.broadcast_to(rates[0], rates.shape), atol=1e-10)
    assert found.kind == "linear"


@pytest.mark.parametrize("drive", [5, 10])
def test_the_supralinear_network_sums_strong_inputs_sublinearly_as_its_fixed_points_say(drive):
    """Excitatory rate at 2h against twice that at h, to the three digits of the published branch."""
    course = np.full(600, float(drive))
    found = superposition(input_family(load_circuit("hennequin_2018"), dt_s=1e-3), course, course)
    expected = SSN_RATES[2 * drive] / (2.0 * SSN_RATES[drive]) - 1.0
    last = found.data.isel(time=-1, unit=0)
    assert float(last["response_both"] / last["linear"] - 1.0) == pytest.approx(expected, abs=2e-4)
    assert str(found.data["kind"].values[0]) == "sublinear"


def test_the_supralinear_network_sums_weak_inputs_supralinearly_and_turns_in_between():
    """Newton's method on the equations of the paper, along the branch from silence; 1.5 s leave 1e-5 of a difference.

    A hardly driven network squares: index 1. The sign turns between h = 2 and 2.25, where r(2h) = 2 r(h).
    """
    family = input_family(load_circuit("hennequin_2018"), dt_s=1e-3)
    weights, rates, branch = np.array([[1.25, -0.65], [1.2, -0.5]]), np.zeros(2), [0.0]
    for k in range(1, 601):
        for _ in range(20):
            z = np.maximum(weights @ rates + 0.01 * k, 0.0)
            rates = rates + np.linalg.solve(np.eye(2) - 0.6 * z[:, None] * weights, 0.3 * z**2 - rates)
        branch.append(rates[0])
    signs = {}
    for drive in (0.01, 1.5, 2.0, 2.25, 3.0):
        found = superposition(family, np.full(1500, drive), np.full(1500, drive)).data.isel(time=-1, unit=0)
        ours = float(found["response_both"] / found["linear"]) - 1.0
        expected = branch[round(200 * drive)] / (2.0 * branch[round(100 * drive)]) - 1.0
        assert ours == pytest.approx(expected, abs=1e-5)
        signs[drive] = np.sign(ours)
    assert signs == {0.01: 1.0, 1.5: 1.0, 2.0: 1.0, 2.25: -1.0, 3.0: -1.0}


def test_a_trained_cell_network_answers_with_its_own_weights():
    """One step from zero: tanh(u s + b) with the trained weights, for a, b and both. 1e-12."""

    def trial(rng, mode):
        return Trial(inputs=rng.normal(size=(5, 1)), targets=np.zeros((5, 1)))

    task = from_function(trial, name="noise", n_steps=5, dt_s=0.1)
    options = TrainOptions(max_steps=1, criterion=2.0)
    trained = train(CellNetwork(kind="vanilla", n_hidden=4), task, seed=0, options=options, dtype=np.float64)
    found = superposition(trained, np.array([0.7]), np.array([-0.2]), start=np.zeros(4)).data.isel(time=0)
    weights = trained.model.core_weights()
    bias = weights.input_bias + weights.hidden_bias
    a, b, both, none = (np.tanh(weights.input[:, 0] * level + bias) for level in (0.7, -0.2, 0.5, 0.0))
    np.testing.assert_allclose(found["response_both"], both, rtol=1e-12)
    np.testing.assert_allclose(found["linear"], a + b - none, rtol=1e-12)
    np.testing.assert_allclose(found["index"], np.abs((both - a - b + none) / (a + b - 2.0 * none)), rtol=1e-9)


def test_a_chaotic_network_does_not_settle_and_takes_a_start():
    rng = np.random.default_rng(0)
    drawn = CELLS["vanilla"].draw(1, 40, seed=0, dtype=np.float64)
    weights = 3.0 * rng.normal(size=(40, 40)) / np.sqrt(40.0)
    drawn = drawn._replace(hidden=weights, hidden_bias=0.1 * rng.normal(size=40))

    def family(levels):
        return CellSystem("vanilla", drawn, levels, dt_s=1.0)

    with pytest.raises(NumericalError, match="does not settle"):
        superposition(family, np.ones(3), np.ones(3))
    assert superposition(family, np.ones(3), np.ones(3), start=np.zeros(40)).index > 0.0


def test_what_does_not_fit_is_refused():
    circuit = network("tanh")
    with pytest.raises(DataError, match=r"inputs_a has shape \(5,\); expected finite numbers of shape \(n, 2\)"):
        superposition(circuit, np.ones(5), np.ones(5))
    with pytest.raises(DataError, match="5 steps and inputs_b 6"):
        superposition(circuit, np.ones((5, 2)), np.ones((6, 2)))
    with pytest.raises(DataError, match="start has 2 states"):
        superposition(circuit, np.ones((5, 2)), np.ones((5, 2)), start=np.zeros((2, 10)))
    with pytest.raises(OptionError, match="is a system at one input"):
        superposition(circuit_system(circuit), np.ones(5), np.ones(5))
    with pytest.raises(OptionError, match="is no family"):
        input_family(3)
    with pytest.raises(OptionError, match="belongs to circuits"):
        input_family(gru, n_inputs=2, dt_s=1e-3)
    with pytest.raises(OptionError, match="no input channel"):
        input_family(Circuit(name="bare", populations=(Population(name="p", size=1),)))
    with pytest.raises(NumericalError, match="no longer finite"):
        superposition(unit(Activation(kind="linear"), weight=50.0), np.full(9000, 1.0), np.ones(9000))


def test_figures_of_superposition_show_the_response_and_every_unit():
    a, b = courses()
    found = superposition(network("relu"), a, b)
    ax = found.plot()
    change = (found.data["response_both"] - found.data["response_none"]).mean("unit")
    assert any(np.array_equal(line.get_ydata(), change) for line in ax.lines)
    dots = found.plot_units(own_axes())
    assert sum(line.get_xdata().size for line in dots.lines[1:]) == 10
    with pytest.raises(DataError, match="no variable 'linear'"):
        plot_superposition(own_axes(), found.data.drop_vars("linear"))


# Gain


def slopes_of_points(family, levels, branch, h=1e-4):
    """Central differences of the rates of the fixed point itself, found by itself from the branch's state."""
    out = []
    for level, state in zip(levels, branch, strict=True):
        columns = []
        for step in np.eye(level.size) * h:
            ends = [
                family(end).rates(fixed_points(family(end), n_starts=0, starts=state[None]).states[:1])[0]
                for end in (level + step, level - step)
            ]
            columns.append((ends[0] - ends[1]) / (2.0 * h))
        out.append(np.stack(columns, axis=1))
    return np.stack(out)


@pytest.mark.parametrize(
    "make",
    [
        pytest.param(lambda: input_family(network("softplus")), id="rate"),
        pytest.param(lambda: input_family(network("softplus", "current")), id="current"),
        pytest.param(lambda: input_family(network("softplus", plastic=True)), id="rate plastic"),
        pytest.param(lambda: input_family(network("softplus", "current", plastic=True)), id="current plastic"),
        pytest.param(lambda: input_family(gru, n_inputs=2), id="gru"),
    ],
)
def test_the_static_gain_is_the_slope_of_the_fixed_point(make):
    """Differences on a step of 1e-4 err by 1e-8 and, of points good to 1e-9 or better, by 1e-5 in the worst case."""
    family = make()
    levels = np.array([[0.0, 0.0], [0.5, 0.2], [1.0, 0.4]])
    data = state_gain(family, levels, frequencies_hz=[0.0, 3.0]).data
    assert data["is_present"].values[0].all()
    expected = slopes_of_points(family, levels, data["states"].values[0])
    np.testing.assert_allclose(data["static_gain"].values[0], expected, rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(data["dynamic_gain"].values[0, :, 0], data["static_gain"].values[0], rtol=1e-9)


def test_the_gain_of_one_leaky_unit_is_a_closed_form():
    """dr/dI = phi' / (1 - w phi'); of the map m phi' / (e^(2 pi i f dt) - 1 + m (1 - w phi')), m = 1 - e^(-dt/tau)."""
    weight, dt_s, tau_s = -2.0, 1e-3, 0.02
    levels = np.array([-1.0, 0.0, 1.5])
    frequencies = np.array([0.0, 5.0, 80.0])
    family = input_family(unit(Activation(kind="sigmoid"), weight=weight, tau_s=tau_s), dt_s=dt_s)
    data = state_gain(family, levels, frequencies_hz=frequencies).data
    rate = data["rate"].values[0, :, 0]
    slope = rate * (1.0 - rate)
    np.testing.assert_allclose(1.0 / (1.0 + np.exp(-(weight * rate + levels))), rate, rtol=1e-9)
    np.testing.assert_allclose(data["static_gain"].values[0, :, 0, 0], slope / (1.0 - weight * slope), rtol=1e-8)
    move = -np.expm1(-dt_s / tau_s)
    turn = np.exp(2j * np.pi * frequencies * dt_s)
    expected = (move * slope)[:, None] / (turn - 1.0 + move * (1.0 - weight * slope)[:, None])
    np.testing.assert_allclose(data["dynamic_gain"].values[0, :, :, 0, 0], expected, rtol=1e-8)


def test_the_dynamic_gain_is_what_a_small_sinusoid_does():
    """Amplitude 1e-5, ten periods after ten of settling: the second order and the transient are below 1e-4."""
    family = input_family(network("sigmoid", "current"), dt_s=1e-3)
    level, frequency = np.array([0.5, 0.2]), 10.0
    data = state_gain(family, level[None], frequencies_hz=[frequency]).data
    t = np.arange(1000)
    system_state = data["states"].values[0, 0][None]
    rates = []
    for s in np.cos(2.0 * np.pi * frequency * t * 1e-3):
        system_state = family(level + [1e-5 * s, 0.0]).step(system_state)
        rates.append(family(level).rates(system_state)[0])
    # x(t+1) follows the input at t.
    phase = np.exp(-2j * np.pi * frequency * (t + 1) * 1e-3)
    seen = 2.0 * np.mean((np.array(rates) - data["rate"].values[0, 0])[500:] * phase[500:, None], axis=0) / 1e-5
    np.testing.assert_allclose(seen, data["dynamic_gain"].values[0, 0, 0, :, 0], rtol=1e-4)


def test_a_power_law_at_its_threshold_has_no_gain():
    """The supralinear network in silence: the slope of a square at 0 is exactly 0."""
    gain = state_gain(load_circuit("hennequin_2018"), np.array([0.0, 2.0])).data["static_gain"].values
    assert np.all(gain[0, 0] == 0.0)
    assert gain[0, 1, 0, 0] > 1.0


def bistable(levels):
    """h <- tanh(2 h + b): three points where |b| is below the fold."""
    drawn = CELLS["vanilla"].draw(1, 1, seed=0, dtype=np.float64)
    zero, one = np.zeros(1), np.ones((1, 1))
    drawn = drawn._replace(hidden=2.0 * one, input=one, input_bias=zero, hidden_bias=zero)
    return CellSystem("vanilla", drawn, np.asarray(levels, float), dt_s=0.01)


FOLD = np.sqrt(2.0) - 2.0 * np.arctanh(np.sqrt(0.5)) / 2.0


def test_branches_are_told_apart_and_end_where_points_merge():
    """b = atanh(h) - 2 h: gain (1 - h^2) / (1 - 2 (1 - h^2)) at each of three points, one beyond the fold. 1e-8."""
    levels = np.linspace(-0.9, 0.9, 19)
    data = state_gain(bistable, levels).data
    n_points = data["is_present"].values.sum(axis=0)
    np.testing.assert_array_equal(n_points, np.where(np.abs(levels) < FOLD, 3, 1))
    assert data.sizes["branch"] == 3
    states, slope = data["states"].values[:, :, 0], 1.0 - data["states"].values[:, :, 0] ** 2
    np.testing.assert_allclose(data["static_gain"].values[..., 0, 0], slope / (1.0 - 2.0 * slope), rtol=1e-8)
    for branch in range(3):
        known = states[branch][data["is_present"].values[branch]]
        assert np.all(np.diff(known) > 0.0) or np.all(np.diff(known) < 0.0)
        flags = data["is_stable"].values[branch][data["is_present"].values[branch]]
        assert flags.all() or not flags.any()
    middle = ~data["is_stable"].values & data["is_present"].values
    assert np.all(data["static_gain"].values[middle] < 0.0)
    dynamic = state_gain(bistable, [0.0], frequencies_hz=[0.0, 10.0]).data
    np.testing.assert_array_equal(
        np.isfinite(dynamic["dynamic_gain"].values[:, 0, 0, 0, 0]), dynamic["is_stable"][:, 0]
    )


def test_at_the_fold_the_gain_is_infinite_and_says_so():
    """Just beside it, at a distance d in b, it grows as 1 / sqrt(d): from 1e-4 to 1e-6 by ten, to 2 %."""
    with pytest.warns(NumericalWarning, match="singular"):
        data = state_gain(bistable, np.array([FOLD - 0.1, FOLD, FOLD + 0.1])).data
    # A stable branch ends there, the other one goes on; the unstable one is that of the same point.
    np.testing.assert_array_equal(data["is_singular"].values.sum(axis=0), [0, 1, 0])
    ends = data["is_singular"].values[:, 1]
    assert np.isposinf(data["static_gain"].values[ends, 1]).all()
    np.testing.assert_array_equal(data["is_present"].values[ends][0], [True, True, False])
    assert data["is_present"].values.all(axis=1).sum() == 1
    assert np.isnan(data["dynamic_gain"].values[ends]).all()
    near = [np.nanmax(state_gain(bistable, np.array([FOLD - d])).data["static_gain"].values) for d in (1e-4, 1e-6)]
    assert near[1] / near[0] == pytest.approx(10.0, rel=0.02)


def test_gain_options_are_checked_and_figures_drawn():
    levels = np.linspace(0.0, 4.0, 5)
    family = input_family(load_circuit("hennequin_2018"), dt_s=1e-3)
    with pytest.raises(OptionError, match="expected 0 to 500"):
        state_gain(family, levels, frequencies_hz=[600.0])
    with pytest.raises(DataError, match="levels has shape"):
        state_gain(family, np.ones((3, 2)))
    gain = state_gain(family, levels, frequencies_hz=np.geomspace(1.0, 100.0, 9))
    ax = gain.plot(unit=0)
    np.testing.assert_allclose(ax.lines[1].get_ydata(), gain.data["static_gain"].values[0, :, 0, 0])
    curves = gain.plot_frequencies(unit=1)
    np.testing.assert_allclose(curves.lines[-1].get_ydata(), np.abs(gain.data["dynamic_gain"].values[0, -1, :, 1, 0]))
    with pytest.raises(OptionError, match="channel='x' is unknown"):
        gain.plot(channel="x")
    with pytest.raises(OptionError, match="unit=2 is unknown"):
        gain.plot(unit=2)
    with pytest.raises(OptionError, match="no dynamic gain"):
        state_gain(family, levels[:1]).plot_frequencies()
