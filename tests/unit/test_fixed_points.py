"""Fixed points: those of networks small enough to know them all, planted ones, and systems that have none."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
import scipy.optimize

from cortexrnn.cells.activation import Activation
from cortexrnn.cells.recurrent import CELLS
from cortexrnn.cells.stp import ShortTermPlasticity
from cortexrnn.circuit import Circuit, Population, Projection, WeightLaw, load_circuit
from cortexrnn.errors import DataError, NumericalWarning, OptionError
from cortexrnn.report.dynamics import draw_dynamics
from cortexrnn.theory.cell_system import CellSystem
from cortexrnn.theory.fixed_points import fixed_points, merge
from cortexrnn.theory.projection import project
from cortexrnn.theory.rate_system import circuit_system
from cortexrnn.theory.root_search import damped_roots, newton_roots, search_roots, solve_each
from cortexrnn.theory.system import System


class Tanh(System):
    """``h <- tanh(W h + b)``."""

    name, dt_s = "tanh", 1.0

    def __init__(self, weights, bias=0.0):
        self.weights = np.atleast_2d(np.asarray(weights, float))
        self.size = self.n_units = len(self.weights)
        self.bias = np.broadcast_to(np.asarray(bias, float), self.size)

    @property
    def labels(self):
        return [f"h {k}" for k in range(self.size)]

    def start(self, n, *, seed):
        return np.random.default_rng(seed).uniform(-1.0, 1.0, (n, self.size))

    def step(self, states):
        return np.tanh(states @ self.weights.T + self.bias)

    def jacobian(self, states):
        return self.weights * (1.0 - self.step(states) ** 2)[:, :, None]

    def push(self, states, vectors):
        return self.jacobian(states) @ vectors

    def rates(self, states):
        return states


class Linear(Tanh):
    """``h <- W h + b``."""

    def step(self, states):
        return states @ self.weights.T + self.bias

    def jacobian(self, states):
        return np.broadcast_to(self.weights, (len(states), *self.weights.shape))


class Square(Tanh):
    """``h <- h + b + h^2 / 4``: two points for b < 0, which merge at b = 0."""

    def step(self, states):
        with np.errstate(over="ignore"):
            return states + self.bias + 0.25 * states**2

    def jacobian(self, states):
        return (1.0 + 0.5 * states)[:, :, None]


def vanilla(weights, bias=0.0):
    """The same network as `Tanh`, as the package's own cell."""
    n = len(weights)
    drawn = CELLS["vanilla"].draw(1, n, seed=0, dtype=np.float64)
    drawn = drawn._replace(
        hidden=np.asarray(weights, float), input=np.zeros((n, 1)), input_bias=np.zeros(n),
        hidden_bias=np.broadcast_to(np.asarray(bias, float), n).copy(),
    )  # fmt: skip
    return CellSystem("vanilla", drawn, np.zeros(1), dt_s=0.01)


def test_all_points_of_decoupled_bistable_units_are_found_with_their_indices():
    """``h = tanh(2 h)`` has -r, 0 and r: three units have 27 points, and the index is the number of zeros."""
    r = scipy.optimize.brentq(lambda h: np.tanh(2.0 * h) - h, 0.5, 1.0, xtol=1e-15)
    found = fixed_points(vanilla(2.0 * np.eye(3)), n_starts=600, seed=1)
    expected = np.array(list(itertools.product((-r, 0.0, r), repeat=3)))
    assert found.verdict == "points"
    assert len(found.states) == 27
    for state, index, kind in zip(found.states, found.data["index"].values, found.data["kind"].values, strict=True):
        nearest = expected[np.abs(expected - state).max(axis=1).argmin()]
        np.testing.assert_allclose(state, nearest, rtol=0, atol=1e-14)
        n_zeros = int((nearest == 0.0).sum())
        assert index == n_zeros
        assert kind == {0: "stable", 3: "repeller"}.get(n_zeros, "saddle")
    assert found.counts == {"point": 600, "singular": 0, "slow": 0, "unfinished": 0, "diverged": 0}
    assert found.data["n_starts"].values.sum() == 600


def test_mutual_inhibition_has_its_three_points_and_not_its_cycle():
    """``a <- tanh(-3 b)``: (r, -r), (-r, r) and 0. The map also has the cycle (r, r), (-r, -r), which is no point."""
    system = vanilla([[0.0, -3.0], [-3.0, 0.0]])
    r = scipy.optimize.brentq(lambda h: np.tanh(3.0 * h) - h, 0.5, 1.0, xtol=1e-15)
    cycle = np.array([[r, r]])
    np.testing.assert_allclose(system.step(system.step(cycle)), cycle, rtol=0, atol=1e-14)
    found = fixed_points(system, n_starts=200, starts=np.concatenate([cycle, -cycle]))
    order = np.argsort(found.states[:, 0])
    np.testing.assert_allclose(found.states[order], [[-r, r], [0.0, 0.0], [r, -r]], rtol=0, atol=1e-14)
    np.testing.assert_array_equal(found.data["index"].values[order], [0, 2, 0])
    # Starts of one's own alone: on the diagonal Newton's method finds 0.
    own = fixed_points(system, n_starts=0, starts=0.1 * cycle)
    np.testing.assert_allclose(own.states, [[0.0, 0.0]], rtol=0, atol=1e-14)


@pytest.mark.parametrize("size", [1, 2, 7, 40, 150])
def test_planted_points_are_found_in_random_networks_of_any_size(size):
    """A bias is chosen such that a drawn state is a fixed point; starts are a tenth away from it: 1e-12."""
    rng = np.random.default_rng(size)
    weights = 1.5 * rng.normal(size=(size, size)) / np.sqrt(size)
    planted = np.tanh(rng.normal(size=size))
    system = Tanh(weights, np.arctanh(planted) - weights @ planted)
    starts = planted + 0.1 / np.sqrt(size) * rng.normal(size=(20, size))
    found = fixed_points(system, n_starts=10, starts=starts)
    distance = np.abs(found.states - planted).max(axis=1)
    assert distance.min() < 1e-12
    ends = found.data["ends_at"].values[:20]
    assert (ends == distance.argmin()).mean() >= 0.9
    values = np.linalg.eigvals((1.0 - planted**2)[:, None] * weights)
    assert found.data["index"].values[distance.argmin()] == (np.abs(values) > 1.0).sum()


def test_a_leaky_circuit_has_the_points_of_its_equation():
    """Two populations in the rate form against SciPy's root finder from the same starts: 1e-10."""
    circuit = Circuit(
        name="pair",
        form="rate",
        populations=tuple(
            Population(
                name=name, size=size, activation=Activation(kind="sigmoid", gain=4.0, threshold=0.5), tau_s=tau_s
            )
            for name, size, tau_s in (("a", 3, 0.02), ("b", 2, 0.01))
        ),
        projections=tuple(
            Projection(source=s, target=t, weights=WeightLaw(law="gaussian", mean=0.4 if s == t else -0.4, sd=0.2))
            for s in "ab"
            for t in "ab"
        ),
    )
    system = circuit_system(circuit)
    found = fixed_points(system, n_starts=300, seed=3)
    starts = system.start(60, seed=5)
    others = [scipy.optimize.root(lambda x: system.velocity(x[None])[0], start, tol=1e-13) for start in starts]
    roots = np.array([each.x for each in others if each.success])
    apart = np.abs(roots[:, None] - found.states[None]).max(axis=2).min(axis=1)
    assert apart.max() < 1e-10
    np.testing.assert_allclose(system.velocity(found.states), 0.0, atol=1e-10)
    np.testing.assert_array_equal(found.data["index"].values, found.data["map_index"].values)


def test_synapses_at_a_fixed_point_are_at_their_steady_state():
    """Rates r of the point put into the closed forms of u and x (science of Tsodyks et al. 1998): 1e-12."""
    stp = ShortTermPlasticity(U=0.2, tau_f_s=1.5, tau_d_s=0.2)
    circuit = Circuit(
        name="plastic",
        form="rate",
        rate_scale_hz=10.0,
        populations=(Population(name="p", size=3, activation=Activation(kind="softplus"), tau_s=0.01, bias=0.3),),
        projections=(
            Projection(source="p", target="p", weights=WeightLaw(law="gaussian", mean=0.5, sd=0.1), plasticity="facil"),
        ),
        plasticity={"facil": stp},
    )
    system = circuit_system(circuit, dt_s=1e-3)
    found = fixed_points(system, n_starts=60)
    assert len(found.states) >= 1
    for state in found.states:
        r = 10.0 * np.maximum(state[:3], 0.0)
        u = stp.U * (1.0 + stp.tau_f_s * r) / (1.0 + stp.U * stp.tau_f_s * r)
        np.testing.assert_allclose(state[3:6], u, rtol=0, atol=1e-12)
        np.testing.assert_allclose(state[6:], 1.0 / (1.0 + u * stp.tau_d_s * r), rtol=0, atol=1e-12)
    assert found.data.sizes["state"] == 9


@pytest.mark.parametrize("kind", ["lstm", "gru"])
def test_points_of_gated_cells_do_not_move(kind):
    """A thousand steps of the cell itself from a stable point: round-off."""
    weights = CELLS[kind].draw(1, 8, seed=3, dtype=np.float64)
    system = CellSystem(kind, weights, np.zeros(1), dt_s=0.01)
    found = fixed_points(system, n_starts=100)
    stable = found.select("stable")
    assert len(stable) >= 1
    np.testing.assert_allclose(system.trajectory(stable, 1000)[-1], stable, rtol=0, atol=1e-12)


def test_a_saddle_node_gives_two_points_then_a_singular_one_then_a_slow_one():
    """``h + b + h^2 / 4``: at b = -0.01 the points -0.2 and 0.2; at 0 they merge; at 0.01 q is least at 0: b^2 / 2."""
    before = fixed_points(Square([[0.0]], -0.01), n_starts=60)
    np.testing.assert_allclose(np.sort(before.states.ravel()), [-0.2, 0.2], rtol=0, atol=1e-12)
    assert before.data["kind"].values.tolist() == ["stable", "repeller"]
    with pytest.warns(NumericalWarning, match="the Jacobian is singular at 1 points"):
        at = fixed_points(Square([[0.0]], 0.0), n_starts=60)
    assert at.data["kind"].values.tolist() == ["singular"]
    assert np.abs(at.states).max() < 1e-6
    assert np.isnan(at.data["correction"].values).all()
    with pytest.warns(NumericalWarning, match="no fixed point was found"):
        after = fixed_points(Square([[0.0]], 0.01), n_starts=60)
    assert after.states.shape == (0, 1)
    assert after.counts["point"] == after.counts["singular"] == 0
    # The first slow point is the best one; a minimum is flat, and others stop a little beside it.
    assert after.data["slow_q"].values[0] == pytest.approx(0.5e-4, rel=1e-4)
    assert after.data["slow_speed_per_s"].values[0] == pytest.approx(0.01, rel=1e-4)
    assert len(after.table) == 0


def test_a_line_of_points_is_called_one():
    """``h <- (h_0, h_1 / 2)``: every (c, 0) is a point, and no number of points means anything."""
    with pytest.warns(NumericalWarning, match="they lie on a line of points"):
        found = fixed_points(Linear(np.diag([1.0, 0.5])), n_starts=80)
    assert found.verdict == "continuum"
    assert found.counts["singular"] == 80
    np.testing.assert_allclose(found.states[:, 1], 0.0, atol=1e-12)


@pytest.mark.parametrize(
    ("weights", "bias"), [(np.diag([1.0, 0.5]), [0.1, 0.0]), ([[1.0, 0.1], [0.0, 1.0]], [0.0, 0.1])]
)
def test_what_drifts_for_ever_has_no_point(weights, bias):
    """A linear map that adds 0.1 in a direction in which it does not decay."""
    with pytest.warns(NumericalWarning, match="no fixed point was found"):
        found = fixed_points(Linear(weights, bias), n_starts=40)
    assert found.verdict == "no points"
    assert len(found.states) == 0
    assert found.data["slow_q"].values == pytest.approx(0.5 * 0.1**2, rel=1e-9)


def test_trajectories_that_diverge_do_not_hide_the_point():
    """``h <- 1.2 h + 1`` leaves, but has the point -5; with h^2 added to 1 there is none."""
    found = fixed_points(Linear([[1.2]], 1.0), n_starts=40)
    np.testing.assert_allclose(found.states, [[-5.0]], rtol=1e-13)
    assert found.data["kind"].values.tolist() == ["repeller"]
    assert found.data.attrs["n_diverging_trajectories"] == 64
    with pytest.warns(NumericalWarning, match="no fixed point was found"):
        lost = fixed_points(Square([[0.0]], 1.0), n_starts=40)
    assert lost.verdict == "diverges"


def test_threads_and_chunks_do_not_change_the_result():
    """The same starts in another order: the same points within the tolerance, start by start."""
    rng = np.random.default_rng(0)
    system = Tanh(1.5 * rng.normal(size=(20, 20)) / np.sqrt(20.0), 0.1 * rng.normal(size=20))
    starts = system.start(300, seed=2)
    one = search_roots(system, starts, tolerance=1e-9)
    other = search_roots(system, starts[::-1], tolerance=1e-9)
    again = search_roots(system, starts, tolerance=1e-9)
    np.testing.assert_array_equal(one.states, again.states)
    assert (one.outcome == other.outcome[::-1]).mean() > 0.98


def test_states_merge_by_distance():
    """By hand: two pairs and a single one; the distance is relative to 1 + max|x|."""
    states = np.array([[0.0, 0.0], [10.0, 0.0], [0.0, 1e-8], [10.0, 5e-7], [0.0, 1.0]])
    np.testing.assert_array_equal(merge(states, 1e-7), [0, 1, 0, 1, 2])
    assert merge(np.empty((0, 2)), 1e-7).size == 0


def test_singular_systems_of_equations_get_the_shortest_solution():
    """By hand, beside a regular one and one that is not finite."""
    matrices = np.array([[[1.0, 0.0], [0.0, 0.0]], [[2.0, 0.0], [0.0, 4.0]], [[np.nan, 0.0], [0.0, 1.0]]])
    found = solve_each(matrices, np.ones((3, 2)))
    np.testing.assert_allclose(found[:2], [[1.0, 0.0], [0.5, 0.25]], rtol=1e-15)
    assert np.isnan(found[2]).all()


def test_the_figure_shows_points_and_directions(tmp_path):
    """Two units need no projection; unstable directions are the axes; the same file twice; legend and table."""
    found = fixed_points(vanilla(2.0 * np.eye(2)), n_starts=200)
    plane = project(found)
    np.testing.assert_array_equal(plane["points"].values, found.states)
    # Saddles have one unstable direction, the middle two: along the axes.
    assert plane.sizes["arrow"] == 4 + 2
    np.testing.assert_allclose(np.abs(plane["direction"].values).max(axis=1), 1.0, atol=1e-12)
    files = [draw_dynamics(tmp_path / name, plane, kind="fixed_points") for name in ("a.svg", "b.svg")]
    assert files[0].stat().st_size == files[1].stat().st_size
    ax = found.plot()
    assert [text.get_text() for text in ax.get_legend().get_texts()] == ["repeller (1)", "saddle (4)", "stable (4)"]
    assert found.summary().startswith("vanilla: points; 9 points (4 stable, 4 saddle, 1 repeller, 0 singular)")
    assert found.table["kind"].tolist() == ["stable"] * 4 + ["saddle"] * 4 + ["repeller"]
    assert len(project(fixed_points(vanilla(0.5 * np.eye(5)), n_starts=20))["share"]) == 2


def test_arguments_that_cannot_be_used_are_refused():
    """A tolerance of zero, no starts, starts of another size, an unknown figure."""
    system = Tanh(2.0 * np.eye(2))
    with pytest.raises(OptionError, match=r"tolerance=0\.0 is not a positive"):
        fixed_points(system, tolerance=0.0)
    with pytest.raises(OptionError, match="n_starts=0 is not valid"):
        fixed_points(system, n_starts=0)
    with pytest.raises(OptionError, match="inputs was settled when the system was made"):
        fixed_points(system, [1.0])
    with pytest.raises(DataError, match=r"expected \(n, 2\)"):
        fixed_points(system, starts=np.zeros((3, 3)))
    with pytest.raises(DataError, match="kind='pie' is unknown"):
        draw_dynamics("x.svg", project(fixed_points(system, n_starts=10)), kind="pie")


def test_newton_leaves_what_gets_stuck_to_the_damped_search():
    """``h + b + h^2 / 4`` without a point: Newton's method names none, the damped search ends at the minimum h = 0."""
    system = Square([[0.0]], 0.01)
    starts = np.array([[0.5], [-0.3]])
    first = newton_roots(system, starts, tolerance=1e-9)
    assert first.outcome.tolist() == ["unfinished"] * 2
    second = damped_roots(system, starts, tolerance=1e-9)
    assert second.outcome.tolist() == ["slow"] * 2
    np.testing.assert_allclose(second.states, 0.0, atol=0.02)
    both = search_roots(system, starts, tolerance=1e-9)
    assert both.outcome.tolist() == ["slow"] * 2
    # With points there is nothing left to do.
    assert newton_roots(Square([[0.0]], -0.01), starts, tolerance=1e-9).outcome.tolist() == ["point"] * 2


def test_inputs_are_levels_by_name_for_a_circuit():
    circuit = load_circuit("hennequin_2018")
    by_name = fixed_points(circuit, {"drive": 10.0}, n_starts=20)
    made = circuit_system(circuit, inputs={"drive": 10.0})
    np.testing.assert_array_equal(by_name.states, fixed_points(made, n_starts=20).states)
    # r_E(h = 10), to the three digits of the table of targets.
    assert by_name.states[0, 0] == pytest.approx(10.667, abs=1e-3)
