"""Lyapunov exponents.

Oracles: linear maps and planted dynamics with known exponents, published values of the maps of Henon and of Lorenz,
Householder's QR at every step written out below, determinants.
"""

from __future__ import annotations

import numpy as np
import pytest

from cortexrnn.cells.activation import KINDS, Activation
from cortexrnn.cells.recurrent import CELLS
from cortexrnn.cells.stp import ShortTermPlasticity
from cortexrnn.circuit import Circuit, Population, Projection, WeightLaw
from cortexrnn.errors import DataError, NumericalError, NumericalWarning, OptionError
from cortexrnn.numerics.streams import stream
from cortexrnn.report import lyapunov as figures
from cortexrnn.report.figure_file import own_axes
from cortexrnn.theory.cell_system import CellSystem
from cortexrnn.theory.lyapunov import LyapunovOptions, lyapunov
from cortexrnn.theory.lyapunov_kernels import carry_plain
from cortexrnn.theory.lyapunov_spectrum import kaplan_yorke
from cortexrnn.theory.rate_system import circuit_system
from cortexrnn.theory.system import System
from cortexrnn.theory.tangent import householder, make_carrier, orthonormalise, random_vectors


class Map(System):
    """A map given by its step and its derivative at one state."""

    def __init__(self, step, derivative, start, dt_s=1.0):
        self.name, self.dt_s = "map", dt_s
        self._step, self._derivative, self._start = step, derivative, np.asarray(start, float)
        self.size = self.n_units = self._start.size

    labels = property(lambda self: [f"entry {k}" for k in range(self.size)])

    def start(self, n, *, seed):
        return np.tile(self._start, (n, 1))

    def step(self, states):
        return np.stack([self._step(state) for state in states])

    def push(self, states, vectors):
        return np.stack([self._derivative(state) @ v for state, v in zip(states, vectors, strict=True)])

    def rates(self, states):
        return states


class Lorenz(Map):
    """The flow of Lorenz (1963) by Runge and Kutta's fourth order; the derivative of the step is exact."""

    is_flow = True

    def __init__(self, dt_s):
        super().__init__(self._advance, None, [1.0, 2.0, 20.0], dt_s)

    def velocity(self, states):
        x, y, z = states.T
        return np.stack([10.0 * (y - x), x * (28.0 - z) - y, x * y - 8.0 / 3.0 * z], axis=1)

    def velocity_jacobian(self, states):
        return np.stack([[[-10.0, 10.0, 0.0], [28.0 - z, -1.0, -x], [y, x, -8.0 / 3.0]] for x, y, z in states])

    def _stages(self, state, vectors):
        """Runge and Kutta for the state and for vectors at it, which obey the linearised flow."""
        total, moved, shift, shifted = 0.0, 0.0, np.zeros(3), np.zeros_like(vectors)
        for weight, part in ((1, 0.5), (2, 0.5), (2, 1.0), (1, 0.0)):
            at = (state + shift)[None]
            speed, change = self.velocity(at)[0], self.velocity_jacobian(at)[0] @ (vectors + shifted)
            total, moved = total + weight * speed, moved + weight * change
            shift, shifted = part * self.dt_s * speed, part * self.dt_s * change
        return state + self.dt_s / 6.0 * total, vectors + self.dt_s / 6.0 * moved

    def _advance(self, state):
        return self._stages(state, np.zeros((3, 0)))[0]

    def push(self, states, vectors):
        return np.stack([self._stages(state, v)[1] for state, v in zip(states, vectors, strict=True)])


def linear(matrix, dt_s=1.0):
    """A linear map at rest."""
    return Map(lambda x: matrix @ x, lambda x: matrix, np.zeros(len(matrix)), dt_s)


def henon(start=(0.1, 0.1)):
    """The map of Henon (1976)."""
    return Map(
        lambda s: np.array([1.0 - 1.4 * s[0] ** 2 + s[1], 0.3 * s[0]]),
        lambda s: np.array([[-2.8 * s[0], 1.0], [0.3, 0.0]]),
        start,
    )


def pair(form, tau_s=(0.01, 0.01), plasticity=None):
    """Twelve and eight units, tanh and strongly coupled, one population possibly plastic and slower."""
    populations = tuple(
        Population(name=name, size=size, activation=Activation(kind="sigmoid" if plasticity else "tanh"), tau_s=each)
        for name, size, each in zip(("a", "b"), (12, 8), tau_s, strict=True)
    )
    projections = tuple(
        Projection(
            source=s, target=t, weights=WeightLaw(law="gaussian", mean=0.0, sd=0.7), allow_autapses=True,
            plasticity="stp" if plasticity and s == "a" else "",
        )
        for s in "ab" for t in "ab"
    )  # fmt: skip
    return Circuit(
        name="pair", form=form, populations=populations, projections=projections, wiring_seed=5,
        plasticity={"stp": plasticity} if plasticity else {}, rate_scale_hz=5.0 if plasticity else None,
    )  # fmt: skip


FACILITATING = ShortTermPlasticity(U=0.2, tau_f_s=0.4, tau_d_s=0.1)
SYSTEMS = {
    "current": circuit_system(pair("current"), dt_s=1e-3),
    "rate": circuit_system(pair("rate"), dt_s=1e-3),
    "two time constants": circuit_system(pair("current", (0.01, 0.03)), dt_s=1e-3, method="euler"),
    "rate, two time constants": circuit_system(pair("rate", (0.01, 0.03)), dt_s=1e-3),
    "plastic": circuit_system(pair("current", plasticity=FACILITATING), dt_s=1e-3),
    "gru": CellSystem("gru", CELLS["gru"].draw(1, 10, seed=0, dtype=np.float64), np.array([0.3]), dt_s=1e-3),
    "henon": henon(),
}


def by_householder(system, n_before, n_steps, seed, n):
    """The same run with Householder's QR at every step."""
    state = system.start(1, seed=seed)
    for _ in range(n_before // 2):
        state = system.step(state)
    vectors = random_vectors(system, n, stream(seed, "theory", "lyapunov"))
    total = np.zeros(n)
    for t in range(n_before - n_before // 2 + n_steps):
        vectors, triangle = np.linalg.qr(system.jacobian(state)[0] @ vectors)
        state = system.step(state)
        if t >= n_before - n_before // 2:
            total += np.log(np.abs(np.diag(triangle)))
    return np.sort(total / (n_steps * system.dt_s))[::-1]


@pytest.mark.parametrize("name", SYSTEMS)
@pytest.mark.parametrize("n", [None, 2])
def test_exponents_are_those_of_householder_at_every_step(name, n):
    """All and two of them; the contract is 1e-10 in units of ten steps, seen are 1e-13."""
    system = SYSTEMS[name]
    found = lyapunov(system, n=n, duration_s=500 * system.dt_s, transient_s=100 * system.dt_s, seed=2)
    expected = by_householder(system, 100, 500, 2, n or system.size)
    unit = 10.0 * system.dt_s
    np.testing.assert_allclose(found.exponents_per_s * unit, expected * unit, rtol=0, atol=1e-10)
    # The bound holds, but for a few roundings of the twin's own.
    apart = np.abs(found.exponents_per_s - expected).max() * unit
    assert apart <= found.interval_error_per_s * unit + 1e-14
    assert found.interval_error_per_s * unit < 1e-10


@pytest.mark.parametrize("name", SYSTEMS)
def test_exponents_sum_up_to_the_mean_log_determinant(name):
    """At every step of the run; the contract is 1e-6, rounding leaves 1e-12."""
    system = SYSTEMS[name]
    options = LyapunovOptions(n_checked=400)
    found = lyapunov(system, duration_s=400 * system.dt_s, options=options)
    assert found.sum_rule.n_steps == 400
    np.testing.assert_allclose(found.sum_rule.exponents, found.exponents_per_s.sum(), rtol=1e-12)
    assert found.sum_rule.residual < 1e-10
    start = system.trajectory(system.start(1, seed=0), 500)[100:-1, 0]
    log_det = np.linalg.slogdet(system.jacobian(start))[1].mean() / system.dt_s
    np.testing.assert_allclose(found.exponents_per_s.sum(), log_det, rtol=1e-9)


def test_the_sum_of_a_map_is_not_the_trace_of_its_flow():
    """60 units without weights: -60 per tau for the flow, 600 ln(0.9) = -63.216 for Euler's map at a tenth of tau."""
    silent = Circuit.random(60, gain=1e-9, tau_s=0.01)
    found = lyapunov(circuit_system(silent, method="euler"), duration_s=0.5)
    assert found.sum_rule.trace * 0.01 == pytest.approx(-60.0, abs=1e-6)
    assert found.sum_rule.exponents * 0.01 == pytest.approx(600.0 * np.log(0.9), abs=1e-6)
    exact = lyapunov(circuit_system(silent), duration_s=0.5)
    np.testing.assert_allclose(exact.exponents_per_s * 0.01, -1.0, rtol=0, atol=1e-6)


@pytest.mark.parametrize("dt_s", [1.0, 0.02])
def test_a_linear_map_has_the_logarithms_of_its_eigenvalues(dt_s):
    """Real eigenvalues, oblique eigenvectors: exact once the vectors have turned to theirs, 1e-12."""
    eigenvalues = np.array([1.0, 0.8, -0.5, 0.1])
    basis = np.random.default_rng(0).normal(size=(4, 4))
    system = linear(basis @ np.diag(eigenvalues) @ np.linalg.inv(basis), dt_s)
    found = lyapunov(system, duration_s=200 * dt_s, transient_s=500 * dt_s)
    np.testing.assert_allclose(found.exponents_per_step, np.log(np.abs(eigenvalues)), rtol=0, atol=1e-12)
    assert found.dimension.value == 1.0
    leading = lyapunov(system, n=2, duration_s=200 * dt_s, transient_s=500 * dt_s)
    np.testing.assert_allclose(leading.exponents_per_step, found.exponents_per_step[:2], rtol=0, atol=1e-12)
    assert leading.sum_rule is None


def test_a_rotation_neither_grows_nor_shrinks():
    """Two planes: four exponents of zero, which is a torus of the whole state; no entropy."""
    angle = np.array([0.3, 1.1])
    blocks = np.zeros((4, 4))
    for k, a in enumerate(angle):
        blocks[2 * k : 2 * k + 2, 2 * k : 2 * k + 2] = [[np.cos(a), -np.sin(a)], [np.sin(a), np.cos(a)]]
    found = lyapunov(linear(blocks), duration_s=300.0)
    np.testing.assert_allclose(found.exponents_per_s, 0.0, atol=1e-14)
    assert found.dimension.value == 4.0
    assert found.entropy_per_s == pytest.approx(0.0, abs=1e-13)


def test_the_identity_keeps_every_volume():
    """Sums of zero by all ways are no division by zero and no warning."""
    found = lyapunov(linear(np.eye(3)), duration_s=100.0)
    assert found.sum_rule.volume == 0.0
    assert abs(found.sum_rule.exponents) < 1e-14
    assert found.dimension.value == 3.0


def test_a_silent_coupled_network_has_the_exponents_of_its_eigenvalues():
    """Complex pairs swing within their plane, so that the error falls with the inverse time: 2e-3 per tau at 1000."""
    circuit = Circuit.random(12, gain=0.5, seed=2, tau_s=0.01)
    system = circuit_system(circuit, dt_s=1e-3)
    options = LyapunovOptions(start=np.zeros(12), tau_s=0.01)
    found = lyapunov(system, duration_s=10.0, transient_s=4.0, options=options)
    eigenvalues = np.linalg.eigvals(system.jacobian(np.zeros((1, 12)))[0])
    expected = np.sort(np.log(np.abs(eigenvalues)))[::-1] * 10.0
    np.testing.assert_allclose(found.exponents_per_tau, expected, rtol=0, atol=2e-3)
    assert found.dimension.value == 0.0
    assert found.entropy_per_s == 0.0


def test_henon():
    """Exponent 0.4192 and dimension 1.258 (Sprott 2003, appendix A); sum ln 0.3 exactly, as volume shrinks evenly."""
    found = lyapunov(henon(), duration_s=40_000.0, transient_s=1000.0)
    assert found.exponents_per_s[0] == pytest.approx(0.4192, abs=3.0 * found.errors_per_s[0] + 1e-4)
    assert found.errors_per_s[0] < 3e-3
    assert found.exponents_per_s.sum() == pytest.approx(np.log(0.3), abs=1e-12)
    assert found.dimension.value == pytest.approx(1.258, abs=0.004)
    assert found.entropy_per_s == found.exponents_per_s[0]


@pytest.mark.slow
def test_lorenz():
    """0.9056, 0, -14.5723 and dimension 2.062 (Sprott 2003, appendix A); the trace is -41/3 everywhere.

    Along the flow growth is bounded, so that its mean over 300 time units is within a few parts in 300 of zero.
    """
    found = lyapunov(Lorenz(0.01), duration_s=300.0, transient_s=20.0)
    np.testing.assert_allclose(found.exponents_per_s, [0.9056, 0.0, -14.5723], rtol=0, atol=0.03)
    assert abs(found.exponents_per_s[1]) < 0.01
    assert found.sum_rule.trace == pytest.approx(-41.0 / 3.0, abs=1e-12)
    assert found.sum_rule.volume == pytest.approx(-41.0 / 3.0, abs=1e-4)
    assert found.dimension.value == pytest.approx(2.062, abs=0.003)


def test_a_limit_cycle_has_dimension_one():
    """Two leaky units that drive each other round and round: the phase neither grows nor shrinks."""
    circuit = Circuit.random(2, gain=1.0, tau_s=0.01)
    weights = np.array([[2.0, -2.0], [2.0, 2.0]])
    system = circuit_system(circuit, dt_s=1e-3)
    wired = Map(
        lambda x: x + 0.1 * (weights @ np.tanh(x) - x),
        lambda x: 0.9 * np.eye(2) + 0.1 * weights / np.cosh(x) ** 2,
        [0.5, 0.1],
        system.dt_s,
    )
    found = lyapunov(wired, duration_s=10.0, transient_s=1.0)
    assert abs(found.exponents_per_s[0]) * 0.01 < 1e-3
    assert found.exponents_per_s[1] * 0.01 < -0.1
    assert found.dimension.value == 1.0


def test_a_direction_that_is_forgotten_at_once_has_no_exponent():
    """A singular map: -inf, and the determinant agrees; the others are those of the map on what is left."""
    matrix = np.diag([0.9, 0.5, 0.0])
    matrix[0, 2] = 0.7
    found = lyapunov(linear(matrix), duration_s=100.0, transient_s=200.0)
    np.testing.assert_allclose(found.exponents_per_s[:2], np.log([0.9, 0.5]), atol=1e-12)
    assert found.exponents_per_s[2] == -np.inf
    assert found.sum_rule.residual == 0.0
    assert found.dimension.value == 0.0


def test_what_rounding_hides_is_said():
    """Eigenvalues down to 1e-18 in a rotated basis: the map as it is stored has no digit of the last."""
    basis = np.linalg.qr(np.random.default_rng(1).normal(size=(6, 6)))[0]
    planted = np.array([1.0, 0.8, 0.6, 0.4, 0.2, 1e-18])
    with pytest.warns(NumericalWarning, match="too close to singular"):
        found = lyapunov(linear(basis @ np.diag(planted) @ basis.T), duration_s=50.0, transient_s=300.0)
    np.testing.assert_allclose(found.exponents_per_s[:5], np.log(planted[:5]), rtol=0, atol=1e-12)
    assert found.exponents_per_s[5] < -30.0


def test_divergence_is_named():
    """Henon's map beyond its basin; a linear map so steep that vectors overflow within one interval."""
    with pytest.raises(NumericalError, match="trajectory left the finite numbers before step"):
        lyapunov(henon((3.0, 3.0)), duration_s=100.0)
    options = LyapunovOptions(interval=10)
    with pytest.raises(NumericalError, match="vectors left the finite numbers within 10 steps"):
        lyapunov(linear(np.diag([1e200, 1e190])), duration_s=100.0, options=options)


@pytest.mark.parametrize(
    ("exponents", "value", "rule"),
    [
        ([0.5, -1.0], 1.5, "Kaplan and Yorke"),
        ([0.3, 0.1, -0.2, -0.8], 3.25, "Kaplan and Yorke"),
        ([0.5, -0.2], 2.0, "whole state"),
        ([-0.1, -0.2], 0.0, "number of zeros"),
        ([0.0, -0.2], 1.0, "number of zeros"),
        ([1.0, -np.inf], 1.0, "Kaplan and Yorke"),
    ],
)
def test_dimension_by_hand(exponents, value, rule):
    """Written out: (0.3 + 0.1 - 0.2) / 0.8 = 0.25."""
    found = kaplan_yorke(exponents)
    assert found.value == pytest.approx(value, abs=1e-12)
    assert found.rule.startswith(rule)


def test_too_few_exponents_give_no_dimension():
    """A sum that is still positive; then NaN, also for the entropy where the last one is positive."""
    assert np.isnan(kaplan_yorke([0.5, -0.2], is_full=False).value)
    found = lyapunov(linear(np.diag([1.0, 1.2, 0.1])), n=1, duration_s=50.0)
    assert np.isnan(found.dimension.value)
    assert "more exponents" in found.dimension.rule
    assert np.isnan(found.entropy_per_s)


@pytest.mark.parametrize("obliqueness", [1e1, 1e5, 1e8])
def test_orthonormal_vectors_and_their_growth(obliqueness):
    """Planted Q and R: one pass, two passes, Householder; error at most the precision times the obliqueness."""
    rng = np.random.default_rng(3)
    basis = np.linalg.qr(rng.normal(size=(30, 6)))[0]
    triangle = np.triu(rng.normal(size=(6, 6)), 1) + np.diag([2.0, 1.0, 1.0, 1.0, 1.0, 1.0 / obliqueness])
    triangle[:5, 5] = 1.0
    vectors = np.asfortranarray(basis @ triangle)
    found = orthonormalise(vectors.copy(order="F"))
    eps = np.finfo(float).eps
    np.testing.assert_allclose(found.growth, np.log(np.diag(triangle)), rtol=0, atol=50.0 * eps * obliqueness)
    np.testing.assert_allclose(found.vectors.T @ found.vectors, np.eye(6), rtol=0, atol=1e-12)
    np.testing.assert_allclose(found.growth, householder(vectors).growth, rtol=0, atol=100.0 * eps * obliqueness)


@pytest.mark.parametrize("form", ["current", "rate"])
@pytest.mark.parametrize("kind", KINDS)
def test_the_kernel_carries_vectors_as_step_and_push_do(form, kind):
    """Five steps of every activation, two populations of their own gain and time constant: 1e-12; compiled once."""
    exponent = {"exponent": 2.0} if kind == "power" else {}
    shapes = [Activation(kind=kind, gain=gain, threshold=0.1, **exponent) for gain in (0.8, 1.3)]
    circuit = Circuit(
        name="two", form=form, wiring_seed=1,
        populations=tuple(
            Population(name=name, size=6, activation=shape, tau_s=tau_s, bias=0.3)
            for name, shape, tau_s in zip("ab", shapes, (0.01, 0.02), strict=True)
        ),
        projections=tuple(
            Projection(source=s, target=t, weights=WeightLaw(law="gaussian", mean=0.0, sd=0.2))
            for s in "ab" for t in "ab"
        ),
    )  # fmt: skip
    system = circuit_system(circuit, dt_s=1e-3)
    state, vectors = system.start(1, seed=3), random_vectors(system, 5, np.random.default_rng(0))
    found_state, found = make_carrier(system, 5)(state, vectors.copy(order="F"), 5)
    for _ in range(5):
        vectors, state = system.push(state, vectors[None])[0], system.step(state)
    np.testing.assert_allclose(found, vectors, rtol=0, atol=1e-12)
    np.testing.assert_allclose(found_state, state, rtol=0, atol=1e-12)
    assert len(carry_plain.signatures) == 1


def test_the_interval_is_shorter_where_vectors_turn_faster():
    """Exponents far apart make vectors oblique within a few steps; close ones allow the longest interval."""
    slow = lyapunov(linear(np.diag([0.9, 0.89])), duration_s=400.0)
    fast = lyapunov(SYSTEMS["henon"], duration_s=400.0)
    assert slow.interval == 16
    assert fast.interval < 16
    fixed = lyapunov(SYSTEMS["henon"], duration_s=400.0, options=LyapunovOptions(interval=3))
    assert fixed.interval == 3


def test_the_error_is_that_of_repeated_runs():
    """Thirty starts of Henon's map: their deviation within a factor of 1.6 of the mean error that one run gives."""
    runs = [lyapunov(henon((0.1 + 0.003 * k, 0.1)), n=1, duration_s=400.0, transient_s=100.0) for k in range(30)]
    spread = np.std([run.exponents_per_s[0] for run in runs], ddof=1)
    claimed = np.mean([run.errors_per_s[0] for run in runs])
    assert 1.0 / 1.6 < claimed / spread < 1.6


def test_the_same_seed_gives_the_same_numbers_and_the_estimate_runs_up_to_them():
    """Bit by bit; the running estimate ends in the result."""
    first, second = (lyapunov(SYSTEMS["current"], duration_s=0.5, seed=4) for _ in range(2))
    assert np.array_equal(first.exponents_per_s, second.exponents_per_s)
    assert np.array_equal(first.running["exponent"].values[-1], first.exponents_per_s)
    assert float(first.running["time"][-1]) == pytest.approx(0.5)


def test_figures_show_what_was_computed(tmp_path):
    """Points at the exponents, one line an exponent; SVG files; a dataset without exponents is refused."""
    found = lyapunov(SYSTEMS["current"], duration_s=0.5, options=LyapunovOptions(tau_s=0.01))
    ax = found.plot()
    drawn = np.concatenate([line.get_ydata() for line in ax.lines if line.get_marker() == "o"])
    np.testing.assert_allclose(np.sort(drawn), np.sort(found.exponents_per_tau))
    assert "per tau" in ax.get_ylabel()
    running = figures.plot_running(own_axes(), found.to_dataset())
    np.testing.assert_allclose(running.lines[1].get_ydata()[-1], found.exponents_per_tau[0])
    files = figures.draw_lyapunov(tmp_path, spectrum=found.to_dataset())
    assert [path.name for path in files] == ["lyapunov.svg", "lyapunov_running.svg"]
    with pytest.raises(DataError, match="no variable 'exponent'"):
        figures.plot_exponents(ax, found.running.drop_vars("exponent"))


def test_what_cannot_be_asked_is_refused():
    """Too many exponents, too short a run, options out of range, no time constant."""
    with pytest.raises(OptionError, match="n=3 is more than the 2"):
        lyapunov(henon(), n=3, duration_s=100.0)
    with pytest.raises(OptionError, match="at least 10 steps"):
        lyapunov(henon(), duration_s=5.0)
    with pytest.raises(OptionError, match="interval=0 is not valid"):
        LyapunovOptions(interval=0)
    with pytest.raises(OptionError, match="there is no time constant"):
        _ = lyapunov(henon(), duration_s=100.0).exponents_per_tau
