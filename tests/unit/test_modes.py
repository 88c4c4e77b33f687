"""Modes: rotations whose time constant and frequency are known, and the step beyond which Euler's map is unstable."""

from __future__ import annotations

import numpy as np
import pytest

from cortexrnn.cells.activation import Activation
from cortexrnn.circuit import Circuit, LowRank, Population, Projection, WeightLaw
from cortexrnn.errors import DataError, NumericalWarning
from cortexrnn.report.dynamics import plot_modes
from cortexrnn.report.figure_file import own_axes
from cortexrnn.theory.fixed_points import fixed_points
from cortexrnn.theory.modes import map_tau_s, modes
from cortexrnn.theory.rate_system import circuit_system
from cortexrnn.theory.system import System


class Linear(System):
    """``x <- A x`` and, if there is a generator, ``dx/dt = B x``."""

    name = "linear"

    def __init__(self, matrix, *, dt_s, generator=None):
        self.matrix, self.dt_s, self.generator = np.asarray(matrix, float), dt_s, generator
        self.size = self.n_units = len(self.matrix)
        self.is_flow = generator is not None

    @property
    def labels(self):
        return [f"x {k}" for k in range(self.size)]

    def start(self, n, *, seed):
        return np.random.default_rng(seed).normal(size=(n, self.size))

    def step(self, states):
        return states @ self.matrix.T

    def push(self, states, vectors):
        return self.matrix @ vectors

    def rates(self, states):
        return states

    def velocity(self, states):
        return states @ self.generator.T

    def velocity_jacobian(self, states):
        return np.broadcast_to(self.generator, (len(states), self.size, self.size))


def rotation(rate, angle):
    """A rotation that shrinks."""
    c, s = np.cos(angle), np.sin(angle)
    return rate * np.array([[c, -s], [s, c]])


def test_a_rotation_that_shrinks_has_its_time_constant_and_frequency():
    """Shrinks as exp(-t / 50 ms), turns 7 times a second, steps of 2 ms: exact up to round-off."""
    dt_s = 2e-3
    found = modes(Linear(rotation(np.exp(-dt_s / 0.05), 2.0 * np.pi * 7.0 * dt_s), dt_s=dt_s), np.zeros(2))
    np.testing.assert_allclose(found["tau_s"].values, [[0.05, 0.05]], rtol=1e-12)
    np.testing.assert_allclose(found["frequency_hz"].values, [[7.0, 7.0]], rtol=1e-12)
    assert found["n_unstable"].values.tolist() == [0]
    assert "flow_tau_s" not in found


def test_a_flow_has_the_same_modes_as_its_exact_map():
    """``B = [[-1/tau, -w], [w, -1/tau]]`` and ``A = exp(B dt)``, with a slower mode beside it: 1e-12."""
    dt_s, tau_s, f_hz, slow_s = 1e-3, 0.02, 11.0, 0.3
    generator = np.zeros((3, 3))
    generator[:2, :2] = [[-1.0 / tau_s, -2.0 * np.pi * f_hz], [2.0 * np.pi * f_hz, -1.0 / tau_s]]
    generator[2, 2] = -1.0 / slow_s
    matrix = np.zeros((3, 3))
    matrix[:2, :2] = rotation(np.exp(-dt_s / tau_s), 2.0 * np.pi * f_hz * dt_s)
    matrix[2, 2] = np.exp(-dt_s / slow_s)
    found = modes(Linear(matrix, dt_s=dt_s, generator=generator), np.zeros((2, 3)))
    for tau, frequency in (("tau_s", "frequency_hz"), ("flow_tau_s", "flow_frequency_hz")):
        np.testing.assert_allclose(found[tau].values, [[slow_s, tau_s, tau_s]] * 2, rtol=1e-12)
        np.testing.assert_allclose(found[frequency].values, [[0.0, f_hz, f_hz]] * 2, rtol=1e-12, atol=1e-12)
    vectors = found["vector"].values[0]
    np.testing.assert_allclose(matrix @ vectors, vectors * found["multiplier"].values[0], atol=1e-15)


def test_modes_that_grow_alternate_vanish_or_stay_have_their_values():
    """By hand: exp(1) grows with -1 step; -1/2 has half the sampling rate; 0 is gone at once; 1 stays for ever."""
    found = modes(Linear(np.diag([np.e, -0.5, 0.0, 1.0]), dt_s=0.1), np.zeros(4))
    np.testing.assert_allclose(found["tau_s"].values[0], [-0.1, np.inf, 0.1 / np.log(2.0), 0.0], rtol=1e-14)
    np.testing.assert_allclose(found["frequency_hz"].values[0], [0.0, 0.0, 5.0, 0.0], rtol=1e-14)
    assert found["n_unstable"].values.tolist() == [1]
    np.testing.assert_allclose(map_tau_s(np.array([-np.e, 0.5j]), 1.0), [-1.0, 1.0 / np.log(2.0)], rtol=1e-14)


def leaky_ring():
    """Two linear units that inhibit and excite each other: ``mu = (-1 +- 3 i) / tau``, tau = 10 ms."""
    return Circuit(
        name="ring",
        populations=tuple(
            Population(name=name, size=1, activation=Activation(kind="linear"), tau_s=0.01) for name in "ab"
        ),
        projections=tuple(
            Projection(source=s, target=t, weights=WeightLaw(law="constant", mean=mean))
            for s, t, mean in (("a", "b", 3.0), ("b", "a", -3.0))
        ),
    )


def test_eulers_map_of_a_stable_flow_is_unstable_beyond_a_step_that_the_warning_names():
    """``|1 + dt mu| < 1`` iff ``dt < 2 tau / (1 + 9)`` = 2 ms: 1.9 ms is stable, 2.1 ms is not."""
    with pytest.warns(NumericalWarning, match=r"with a dt_s below 0\.002\."):
        found = modes(circuit_system(leaky_ring(), dt_s=2.1e-3, method="euler"), np.zeros(2))
    assert found["n_unstable"].values.tolist() == [2]
    assert found["flow_n_unstable"].values.tolist() == [0]
    np.testing.assert_allclose(found["flow_tau_s"].values, [[0.01, 0.01]], rtol=1e-13)
    np.testing.assert_allclose(found["flow_frequency_hz"].values, [[300.0 / (2.0 * np.pi)] * 2], rtol=1e-13)
    fine = modes(circuit_system(leaky_ring(), dt_s=1.9e-3, method="euler"), np.zeros(2))
    assert fine["n_unstable"].values.tolist() == [0]


def test_a_fixed_point_is_judged_by_the_flow_and_says_so():
    """The same circuit: the point is stable, its map is not, and a warning says that."""
    with pytest.warns(NumericalWarning, match="at 1 of 1 points the map with dt_s=0.0021 and the flow disagree"):
        found = fixed_points(circuit_system(leaky_ring(), dt_s=2.1e-3, method="euler"), n_starts=20)
    assert found.data["kind"].values.tolist() == ["stable"]
    assert found.data["index"].values.tolist() == [0]
    assert found.data["map_index"].values.tolist() == [2]
    with pytest.warns(NumericalWarning, match="disagree about stability"):
        assert found.modes(has_vectors=False)["kind"].values.tolist() == ["stable"]


def test_the_mode_of_a_rank_one_network_is_its_overlap():
    """``W = m n' / N`` at rest: one mode with ``mu = (s - 1) / tau``, s the overlap of m and n; the others -1 / tau."""
    n = 6
    rng = np.random.default_rng(0)
    m, k = rng.normal(size=n), rng.normal(size=n)
    circuit = Circuit(
        name="rank_one",
        populations=(Population(name="p", size=n, activation=Activation(kind="tanh"), tau_s=0.05),),
        low_rank_terms=(LowRank(m=tuple(m), n=tuple(k)),),
    )
    found = modes(circuit, np.zeros(n), has_vectors=False)
    overlap = float(m @ k) / n
    values = found["exponent_per_s"].values[0].real
    np.testing.assert_allclose(np.sort(values), np.sort([(overlap - 1.0) / 0.05] + [-20.0] * (n - 1)), rtol=1e-9)


def test_the_figure_of_modes_parts_those_that_grow():
    """Two labels; a point that there is not is refused."""
    found = modes(Linear(np.diag([1.5, 0.5]), dt_s=0.1), np.zeros(2))
    ax = plot_modes(own_axes(), found)
    assert [text.get_text() for text in ax.get_legend().get_texts()] == ["decays", "grows"]
    with pytest.raises(DataError, match="point=1 is not there"):
        plot_modes(own_axes(), found, point=1)
