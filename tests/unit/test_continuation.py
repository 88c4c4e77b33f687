"""Branches: saddle-nodes and changes of stability whose parameters are known in closed form."""

from __future__ import annotations

import numpy as np
import pytest

from cortexrnn.cells.activation import Activation
from cortexrnn.cells.recurrent import CELLS
from cortexrnn.circuit import Circuit, Input, Population, Projection, WeightLaw
from cortexrnn.errors import DataError, NumericalError, NumericalWarning, OptionError
from cortexrnn.report.dynamics import draw_dynamics
from cortexrnn.theory.cell_system import CellSystem
from cortexrnn.theory.continuation import follow_branch
from cortexrnn.theory.rate_system import circuit_system


def vanilla(weights, bias=0.0):
    """``h <- tanh(W h + b)``."""
    n = len(weights)
    drawn = CELLS["vanilla"].draw(1, n, seed=0, dtype=np.float64)
    drawn = drawn._replace(
        hidden=np.asarray(weights, float), input=np.zeros((n, 1)), input_bias=np.zeros(n),
        hidden_bias=np.broadcast_to(np.asarray(bias, float), n).copy(),
    )  # fmt: skip
    return CellSystem("vanilla", drawn, np.zeros(1), dt_s=0.01)


def unit(weight, current, *, dt_s=1e-3, method="exponential_euler"):
    """One leaky tanh unit that excites itself, tau = 10 ms."""
    circuit = Circuit(
        name="unit",
        populations=(Population(name="p", size=1, activation=Activation(kind="tanh"), tau_s=0.01),),
        projections=(
            Projection(source="p", target="p", weights=WeightLaw(law="constant", mean=weight), allow_autapses=True),
        ),
        inputs=(Input(name="drive", target="p"),),
    )
    return circuit_system(circuit, dt_s=dt_s, inputs={"drive": current}, method=method)


@pytest.mark.parametrize("weight", [1.2, 3.0])
def test_saddle_nodes_of_one_unit_are_where_the_closed_form_says(weight):
    """``h = tanh(w h + b)`` turns where ``w (1 - h^2) = 1``: ``b = atanh(h) - w h``, h = +-sqrt(1 - 1/w). 1e-9."""
    h = np.sqrt(1.0 - 1.0 / weight)
    b = np.arctanh(h) - weight * h
    branch = follow_branch(lambda p: vanilla([[weight]], p), [0.0], parameter=0.0, limits=(-3.0, 3.0), step=0.05)
    np.testing.assert_allclose(np.sort(branch.saddle_nodes), [b, -b], rtol=0, atol=1e-9)
    np.testing.assert_allclose(np.sort(np.abs(branch.data["event_states"].values.ravel())), [h, h], atol=1e-6)
    assert (branch.data.attrs["first_end"], branch.data.attrs["last_end"]) == ("limit", "limit")
    np.testing.assert_allclose(np.sort(branch.data["parameter"].values[[0, -1]]), [-3.0, 3.0], rtol=1e-14)
    # Stable, unstable, stable; and every place lies on the curve.
    states, parameter = branch.data["states"].values[:, 0], branch.data["parameter"].values
    np.testing.assert_allclose(np.arctanh(states) - weight * states, parameter, rtol=0, atol=1e-8)
    np.testing.assert_array_equal(branch.data["is_stable"].values, weight * (1.0 - states**2) < 1.0)


def test_a_flow_turns_at_the_same_place_whatever_its_step():
    """The current form of the same unit, ``x = w tanh(x) + I``: exact with two steps and both maps."""
    x = np.arctanh(np.sqrt(1.0 - 1.0 / 2.0))
    expected = x - 2.0 * np.tanh(x)
    for dt_s, method in ((1e-3, "euler"), (1e-5, "exponential_euler")):
        branch = follow_branch(
            lambda p, dt_s=dt_s, method=method: unit(2.0, p, dt_s=dt_s, method=method), [0.0], parameter=0.0,
            limits=(-2.0, 2.0), step=0.2,
        )  # fmt: skip
        np.testing.assert_allclose(np.sort(branch.saddle_nodes), [expected, -expected], rtol=0, atol=1e-8)


@pytest.mark.parametrize(
    ("matrix", "kind"),
    [([[1.0, 0.0], [0.0, 0.5]], "branch point"), ([[0.0, -1.0], [1.0, 0.0]], "oscillation"),
     ([[-1.0, 0.0], [0.0, 0.5]], "period doubling")],
)  # fmt: skip
def test_other_changes_of_stability_are_named_and_located(matrix, kind):
    """``h <- tanh(p A h)`` at 0 with eigenvalues +1, +-i, -1 of A: stability ends at p = 1, without a turn."""
    branch = follow_branch(lambda p: vanilla(p * np.array(matrix)), [0.0, 0.0], parameter=0.5, limits=(0.0, 1.7))
    assert branch.data["event_kind"].values.tolist() == [kind]
    assert branch.data["event_parameter"].values[0] == pytest.approx(1.0, abs=1e-9)
    np.testing.assert_allclose(branch.data["states"].values, 0.0, atol=1e-12)
    assert branch.saddle_nodes.size == 0


def test_a_flow_that_begins_to_oscillate_does_so_where_its_trace_changes_sign():
    """``tau dx/dt = -x + p tanh(x) -+ 2 tanh(y)``: the real part ``(p - 1) / tau`` crosses zero at p = 1."""

    def family(p):
        circuit = Circuit(
            name="pair",
            populations=tuple(
                Population(name=name, size=1, activation=Activation(kind="tanh"), tau_s=0.01) for name in "ab"
            ),
            projections=tuple(
                Projection(source=s, target=t, weights=WeightLaw(law="constant", mean=mean), allow_autapses=True)
                for s, t, mean in (("a", "a", p), ("b", "b", p), ("a", "b", 2.0), ("b", "a", -2.0))
            ),
        )
        return circuit_system(circuit, dt_s=1e-4)

    branch = follow_branch(family, [0.0, 0.0], parameter=0.5, limits=(0.2, 1.5), step=0.1)
    assert branch.data["event_kind"].values.tolist() == ["oscillation"]
    assert branch.data["event_parameter"].values[0] == pytest.approx(1.0, abs=1e-8)


def test_a_closed_branch_ends_where_it_began():
    """Points on a circle: ``h^2 + p^2 = 1`` in two coordinates closes, with a saddle-node at either side."""

    class Circle(CellSystem):
        """``h <- h + (1 - h^2 - p^2) / 10``."""

        p = 0.0

        def step(self, states):
            return states + 0.1 * (1.0 - states**2 - self.p**2)

        def jacobian(self, states):
            return (1.0 - 0.2 * states)[:, :, None]

    def family(p):
        system = vanilla([[0.0]])
        system.__class__ = Circle
        system.p = p
        return system

    branch = follow_branch(family, [1.0], parameter=0.0, limits=(-2.0, 2.0), step=0.05)
    assert branch.data.attrs["first_end"] == branch.data.attrs["last_end"] == "closed"
    np.testing.assert_allclose(np.sort(branch.saddle_nodes), [-1.0, 1.0], atol=1e-9)
    radius = branch.data["states"].values[:, 0] ** 2 + branch.data["parameter"].values ** 2
    np.testing.assert_allclose(radius, 1.0, atol=1e-9)


def test_the_figure_parts_stable_from_unstable(tmp_path):
    """Three lines and a mark; the height is the mean rate or an entry of the state."""
    branch = follow_branch(lambda p: vanilla([[3.0]], p), [0.0], parameter=0.0, limits=(-2.0, 2.0), step=0.1)
    ax = branch.plot(entry="hidden 0")
    assert [line.get_linestyle() for line in ax.lines[:3]] == ["-", "--", "-"]
    assert ax.get_ylabel() == "hidden 0"
    assert branch.plot().get_ylabel() == "mean rate"
    with pytest.raises(OptionError, match="entry='u 3' is unknown"):
        branch.plot(entry="u 3")
    shown = branch.data.assign(height=branch.data["mean_rate"], event_height=branch.data["event_mean_rate"])
    shown.attrs["height"] = "mean rate"
    assert draw_dynamics(tmp_path / "branch.svg", shown, kind="branch").stat().st_size > 1000


def test_what_cannot_be_followed_is_refused():
    """A parameter outside its limits, a state of another size, two states, no point near the state, too few points."""

    def family(p):
        return vanilla([[3.0]], p)

    with pytest.raises(OptionError, match=r"parameter=5\.0 is not within limits"):
        follow_branch(family, [0.0], parameter=5.0, limits=(-1.0, 1.0))
    with pytest.raises(DataError, match=r"expected \(n, 1\)"):
        follow_branch(family, [0.0, 1.0], parameter=0.0, limits=(-1.0, 1.0))
    with pytest.raises(DataError, match="2 states were given; expected one"):
        follow_branch(family, [[0.0], [1.0]], parameter=0.0, limits=(-1.0, 1.0))
    with pytest.raises(NumericalError, match="no fixed point near the state was found"):
        follow_branch(lambda p: vanilla([[1.0]], p), [0.3], parameter=0.0, limits=(-1.0, 1.0))
    with pytest.warns(NumericalWarning, match="the branch ends early: too many points"):
        follow_branch(family, [0.0], parameter=0.0, limits=(-1.0, 1.0), max_points=3)
