"""Basins and completion: systems whose basins are known by symmetry, and what must stay undecided."""

from __future__ import annotations

import numpy as np
import pytest

from cortexrnn.cells.recurrent import CELLS
from cortexrnn.errors import DataError, OptionError
from cortexrnn.report.dynamics import draw_dynamics
from cortexrnn.theory.basins import basins, complete_patterns
from cortexrnn.theory.cell_system import CellSystem
from cortexrnn.theory.fixed_points import fixed_points


def vanilla(weights, bias=0.0):
    """``h <- tanh(W h + b)``, steps of 10 ms."""
    n = len(weights)
    drawn = CELLS["vanilla"].draw(1, n, seed=0, dtype=np.float64)
    drawn = drawn._replace(
        hidden=np.asarray(weights, float), input=np.zeros((n, 1)), input_bias=np.zeros(n),
        hidden_bias=np.broadcast_to(np.asarray(bias, float), n).copy(),
    )  # fmt: skip
    return CellSystem("vanilla", drawn, np.zeros(1), dt_s=0.01)


def test_quadrants_are_the_basins_of_two_decoupled_units():
    """``h <- tanh(2 h)`` keeps its sign: every start ends at the point with its signs."""
    system = vanilla(2.0 * np.eye(2))
    points = fixed_points(system, n_starts=200).states
    starts = np.random.default_rng(0).uniform(-2.0, 2.0, (400, 2))
    found = basins(system, points, starts)
    ends = found.data["ends_at"].values
    np.testing.assert_array_equal(np.sign(points[ends]), np.sign(starts))
    assert found.undecided == 0.0
    np.testing.assert_allclose(found.data["share"].values, np.bincount(ends, minlength=9) / 400.0, rtol=1e-15)
    assert found.data["share"].values[4:].sum() == 0.0


def test_the_time_of_arrival_is_that_of_the_map():
    """One unit from 0.1: the first step after which it is within 2 % of the distance to 0, counted by hand."""
    system = vanilla([[2.0]])
    points = fixed_points(system, n_starts=200).states
    assert len(points) == 3
    r = points.max()
    x, steps = 0.1, 0
    while abs(x - r) > 0.02 * r:
        x, steps = np.tanh(2.0 * x), steps + 1
    found = basins(system, points, np.array([[0.1]]))
    assert found.data["time_s"].values[0] == pytest.approx(0.01 * steps, rel=1e-12)


def test_what_stays_on_a_cycle_or_on_a_saddle_is_undecided():
    """Mutual inhibition ``a <- tanh(-3 b)``: the diagonal leads onto a cycle of two, everything else to a point."""
    system = vanilla([[0.0, -3.0], [-3.0, 0.0]])
    points = fixed_points(system, n_starts=100).states
    found = basins(system, points, np.array([[0.5, 0.5], [0.0, 0.0], [0.6, -0.2], [-0.1, 0.4]]), duration_s=2.0)
    ends = found.data["ends_at"].values
    assert ends[:2].tolist() == [-1, -1]
    assert np.isnan(found.data["time_s"].values[:2]).all()
    assert (points[ends[2:]][:, 0] * [1.0, -1.0] > 0.9).all()
    assert found.undecided == 0.5


def test_states_that_leave_are_counted_as_such():
    """A linear unit through a large weight: ``h <- 3 h`` as a GRU cannot, so as a stub."""
    system = vanilla([[2.0]])

    class Leaves(type(system)):
        """Beyond 2 it triples."""

        def step(self, states):
            return np.where(np.abs(states) > 2.0, 3.0 * states, super().step(states))

    system.__class__ = Leaves
    points = fixed_points(vanilla([[2.0]]), n_starts=50).states
    found = basins(system, points, np.array([[1.0], [2.5]]))
    assert found.data["ends_at"].values[1] == -2
    assert found.data.attrs["diverged"] == 0.5


def memory(n=60):
    """Three random patterns in the weights (Hopfield 1982), their states as fixed points."""
    patterns = np.random.default_rng(1).choice([-1.0, 1.0], (3, n))
    system = vanilla(1.8 * patterns.T @ patterns / n)
    found = fixed_points(system, n_starts=0, starts=patterns)
    stable = found.select("stable")
    assert len(stable) == 3
    return system, stable


def test_patterns_are_completed_when_few_entries_are_wrong_and_lost_when_most_are():
    """No disturbance completes all; all entries wrong is another pattern: exactly none. The interval by hand."""
    system, points = memory()
    found = complete_patterns(system, points, levels=(0.0, 0.1, 1.0), kind="corruption", n_trials=20)
    np.testing.assert_array_equal(found["completed"].values[:, [0, 1]], 1.0)
    np.testing.assert_array_equal(found["completed"].values[:, 2], 0.0)
    np.testing.assert_array_equal(found["elsewhere"].values[:, 2], 1.0)
    np.testing.assert_array_equal(found["undecided"].values, 0.0)
    # Wilson's interval of 20 of 20: from 1 / (1 + z^2 / n) on.
    assert found["completed_low"].values[0, 0] == pytest.approx(1.0 / (1.0 + 1.959963984540054**2 / 20.0), rel=1e-12)
    assert found["completed_high"].values[0, 0] == 1.0


def test_noise_is_relative_to_the_patterns():
    """Little noise is removed; noise far beyond a pattern, seven times its share in the sums, is not."""
    system, points = memory()
    found = complete_patterns(system, points, levels=(0.2, 50.0), n_trials=40, seed=3)
    np.testing.assert_array_equal(found["completed"].values[:, 0], 1.0)
    assert (found["completed"].values[:, 1] < 0.6).all()
    total = found["completed"] + found["elsewhere"] + found["undecided"]
    np.testing.assert_allclose(total.values, 1.0, rtol=1e-15)


def test_figures_are_written(tmp_path):
    """Basins in the plane, completion over its level; the legend counts what ended where."""
    system = vanilla(2.0 * np.eye(2))
    points = fixed_points(system, n_starts=200).states
    ax = basins(system, points, np.random.default_rng(0).uniform(-2.0, 2.0, (40, 2))).plot()
    words = [text.get_text() for text in ax.get_legend().get_texts()]
    assert len(words) == 5
    assert words[-1] == "unstable"
    assert (ax.get_xlabel(), ax.get_ylabel()) == tuple(system.labels)
    system, points = memory()
    found = complete_patterns(system, points, levels=(0.0, 1.0), kind="corruption", n_trials=4)
    assert draw_dynamics(tmp_path / "completion.svg", found, kind="completion").stat().st_size > 1000
    assert basins(system, points, points).plot().get_xlabel() == "first component"


def test_what_is_no_point_or_not_stable_is_refused():
    """A state that moves; completion of a saddle, of one point, at a level that there is not."""
    system = vanilla(2.0 * np.eye(2))
    points = fixed_points(system, n_starts=200).states
    with pytest.raises(DataError, match=r"point 0 moves by 0\.\d+ in a step"):
        basins(system, np.array([[0.5, 0.5]]), points)
    with pytest.raises(DataError, match="point 2 is not stable"):
        complete_patterns(system, points[[0, 1, 8]], levels=(0.1,), n_trials=2)
    with pytest.raises(DataError, match="1 point was given"):
        complete_patterns(system, points[:1], levels=(0.1,))
    with pytest.raises(OptionError, match="expected corruption from 0 to 1"):
        complete_patterns(system, points[:2], levels=(1.5,), kind="corruption")
    with pytest.raises(OptionError, match="kind='blur' is unknown"):
        complete_patterns(system, points[:2], levels=(0.5,), kind="blur")
