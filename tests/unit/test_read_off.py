"""What is read off a fitted model, against networks made by hand, closed forms and brute force."""

from __future__ import annotations

import json

import numpy as np
import pytest

from cortexrnn.encoding import Constant, UnitTrials
from cortexrnn.encoding.glm import FittedHistoryGLM
from cortexrnn.encoding.network import FittedNetwork, Network
from cortexrnn.encoding.network_cells import make_model
from cortexrnn.encoding.read_off import read_off
from cortexrnn.encoding.response_modes import added_spike, realised_modes, rotation, system_modes, system_response
from cortexrnn.encoding.rnn import RNN
from cortexrnn.encoding.rnn_tiles import InputScale
from cortexrnn.encoding.spike_loop import SpikeLoop, count_law
from cortexrnn.errors import DataError, OptionError

BIN_S, TAU_S, FREQUENCY_HZ = 5e-3, 0.08, 12.0
SMALL = 1e-3


def empty_trials(n_trials: int, n_bins: int, counts: np.ndarray | None = None) -> UnitTrials:
    """Give trials that were observed everywhere."""
    shape = (n_trials, n_bins)
    return UnitTrials(
        counts=np.zeros(shape, np.uint16) if counts is None else counts.astype(np.uint16),
        observed=np.ones(shape, bool),
        scored=np.ones(shape, bool),
        condition=np.zeros(n_trials, np.int64),
        start_s=20.0 * np.arange(n_trials),
        bin_s=BIN_S,
        is_locked=False,
    )


def linear_network(likelihood: str = "poisson") -> FittedNetwork:
    """Make a vanilla network that is linear for all practical purposes and rotates, damped, at a known rate."""
    spec = Network(cell="vanilla", n_hidden=2, trace_s=(), baseline=None, likelihood=likelihood)
    model = make_model(spec, 2, BIN_S, np.float64)
    decay, angle = np.exp(-BIN_S / TAU_S), 2.0 * np.pi * FREQUENCY_HZ * BIN_S
    views = model.parts(model.theta)
    for name in views:
        views[name][...] = 0.0
    cell = next(k for k, v in views.items() if v.shape == (2, 2) and "hidden" in k)
    views[cell][:] = decay * np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    views["input"][0, 0] = SMALL
    views["readout"][0, 0] = 0.25 / SMALL
    return FittedNetwork(
        below=None,
        spec=spec,
        bin_s=BIN_S,
        weights=np.concatenate([model.theta, np.zeros(2)]).astype(np.float32),
        scale=InputScale(np.array([0.0, np.log(0.1)]), np.ones(2), 0.1),
        validation_log_likelihood=0.0,
        validation_gain=np.zeros(1),
    )


def damped_filter(size: float = 0.3, level_hz: float = 20.0) -> FittedHistoryGLM:
    """Give a GLM whose filter is a damped cosine."""
    lag_s = BIN_S * np.arange(1, 161)
    effect = size * np.exp(-lag_s / TAU_S) * np.cos(2.0 * np.pi * FREQUENCY_HZ * lag_s)
    return FittedHistoryGLM(
        below=None,
        history_s=float(lag_s[-1]),
        bin_s=BIN_S,
        basis=np.eye(lag_s.size),
        weights=np.r_[np.log(level_hz * BIN_S), effect],
        covariance=np.eye(1 + lag_s.size),
        ridge=0.0,
        mean=level_hz * BIN_S,
        ceiling=10.0,
        validation_log_likelihood=float("nan"),
        is_converged=True,
    )


def trained_network(cell: str) -> FittedNetwork:
    """Train a small network for an epoch or two on spikes of a damped filter."""
    rng = np.random.default_rng(5)
    trials = empty_trials(16, 200, rng.poisson(0.15, (16, 200)))
    settings = {"baseline": Constant(), "n_hidden": 5, "trace_s": (0.02, 0.1), "max_epochs": 3, "seed": 2}
    fitted = RNN(**settings).fit(trials) if cell == "gru" else Network(cell=cell, **settings).fit(trials)
    # Weights away from zero whatever the training has kept: the start adds nothing.
    weights = fitted.weights + 0.2 * rng.standard_normal(fitted.weights.size).astype(np.float32)
    return type(fitted)(**{name: getattr(fitted, name) for name in fitted.__slots__} | {"weights": weights})


def test_a_linear_network_gives_back_its_eigenvalues():
    """Oracle: the matrix that was put in; weights are float32."""
    found = read_off(linear_network(), baseline_hz=20.0, rate_hz=20.0)
    turning = found.open.rotation
    assert turning["tau_s"] == pytest.approx(TAU_S, rel=1e-4)
    assert turning["frequency_hz"] == pytest.approx(FREQUENCY_HZ, rel=1e-4)
    assert found.open.radius == pytest.approx(np.exp(-BIN_S / TAU_S), rel=1e-5)
    lag = np.arange(found.open.response.size)
    closed_form = 0.25 * np.exp(-lag * BIN_S / TAU_S) * np.cos(2.0 * np.pi * FREQUENCY_HZ * lag * BIN_S)
    np.testing.assert_allclose(found.open.response, closed_form, atol=1e-4)


@pytest.mark.parametrize("likelihood", ["poisson", "bernoulli"])
def test_the_closed_loop_of_a_linear_network_has_the_eigenvalues_of_its_matrix_with_feedback(likelihood):
    """Oracle: A + m k c with the matrices written down by hand, at the rate at which the loop rests."""
    found = read_off(linear_network(likelihood), baseline_hz=20.0, rate_hz=20.0)
    mu = found.closed.expected_hz * BIN_S
    gain = mu if likelihood == "poisson" else mu * np.exp(-mu)
    decay, angle = np.exp(-BIN_S / TAU_S), 2.0 * np.pi * FREQUENCY_HZ * BIN_S
    matrix = decay * np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    matrix = matrix + gain * np.outer([1.0, 0.0], [0.25, 0.0])
    expected = np.linalg.eigvals(matrix)[0]
    turning = found.closed.rotation
    assert turning["tau_s"] == pytest.approx(-BIN_S / np.log(abs(expected)), rel=2e-3)
    assert turning["frequency_hz"] == pytest.approx(abs(np.angle(expected)) / (2 * np.pi * BIN_S), rel=2e-3)
    assert turning["tau_s"] > 1.1 * TAU_S


@pytest.mark.parametrize("cell", ["gru", "vanilla", "lstm", "dale"])
@pytest.mark.parametrize("is_closed", [False, True])
def test_the_derivative_of_a_loop_is_that_of_finite_differences_of_its_step(cell, is_closed):
    """Oracle: central differences of `step`, which averages the cells' own kernels."""
    system = SpikeLoop(trained_network(cell), baseline=0.15, count=0.15, is_closed=is_closed)
    state = system.start(1, seed=3)
    for _ in range(5):
        state = system.step(state)
    h = 1e-5
    moved = [
        (system.step(state + h * row) - system.step(state - h * row))[0] / (2.0 * h) for row in np.eye(system.size)
    ]
    # Differences inside (inputs) and outside, each accurate to the square of its step.
    np.testing.assert_allclose(system.jacobian(state)[0], np.array(moved).T, atol=2e-6)


@pytest.mark.parametrize("cell", ["gru", "lstm"])
def test_a_loop_predicts_what_the_stepper_of_the_network_predicts(cell):
    """Oracle: the stepper, in float32, on spikes that are there: one law of a certain count takes the average away."""
    fitted = trained_network(cell)
    spikes = np.random.default_rng(0).poisson(0.2, 30)
    trials = empty_trials(1, 30, spikes[None])
    stepper, below = fitted.stepper(trials), np.log(np.array([0.15]))
    system = SpikeLoop(fitted, baseline=0.15, count=0.15, is_closed=False)
    traces, hidden = fitted.scale.mean_count / (1.0 - system.decay), None
    for t, count in enumerate(spikes):
        predicted = stepper.predict(t, below)
        hidden = _start(fitted, system) if hidden is None else hidden
        hidden = system.inner(traces).step(hidden)
        ours = system.log_mu(np.hstack([traces[None], hidden]))
        assert ours[0] == pytest.approx(predicted[0], abs=2e-4)
        stepper.update(t, np.array([count]))
        traces = system.decay * traces + count


def _start(fitted, system) -> np.ndarray:
    """Give the state that a network starts from."""
    if isinstance(fitted, FittedNetwork):
        weights = fitted.network(n_steps=1).model.core_weights()
        return np.concatenate([np.ravel(getattr(weights, f)) for f in weights._fields if f.startswith("start")])[None]
    from cortexrnn.encoding.rnn_kernels import as_network

    return as_network(fitted.weights, fitted.scale.n_inputs, fitted.spec.n_hidden).gru.start[None].astype(float)


def test_the_closed_loop_rests_at_the_rate_that_it_expects():
    """Oracle: many steps of the map of the mean from another state, which the root search never sees."""
    fitted = trained_network("gru")
    found = read_off(fitted, baseline_hz=30.0, rate_hz=30.0)
    system = SpikeLoop(fitted, baseline=30.0 * BIN_S, count=30.0 * BIN_S, is_closed=True)
    state = system.start(1, seed=1)
    for _ in range(400):
        state = system.step(state)
    assert found.closed.radius < 1.0
    assert np.exp(system.log_mu(state)[0]) / BIN_S == pytest.approx(found.closed.expected_hz, rel=1e-6)


def test_a_glm_gives_back_its_damped_cosine_open_and_the_slower_one_closed():
    """Oracle: the filter, and 1/tau - mu A / 2 for a weak loop; the next order is of the size (mu A tau)^2."""
    found = read_off(damped_filter())
    assert found.open.rotation["tau_s"] == pytest.approx(TAU_S, rel=1e-6)
    assert found.open.rotation["frequency_hz"] == pytest.approx(FREQUENCY_HZ, rel=1e-6)
    slower_s = 1.0 / (1.0 / TAU_S - 0.5 * 0.3 * found.closed.expected_hz)
    assert found.closed.rotation["tau_s"] == pytest.approx(slower_s, rel=0.05)
    assert found.closed.radius < 1.0


def test_one_more_spike_changes_a_glm_by_its_filter():
    """Oracle: the filter itself, which is linear."""
    fitted = damped_filter(0.1)
    rng = np.random.default_rng(1)
    trials = empty_trials(3, 400, rng.poisson(0.1, (3, 400)))
    response = added_spike(fitted, trials, lag_s=0.4)
    np.testing.assert_allclose(response, (fitted.weights[1:] @ fitted.basis)[:80], atol=1e-12)


def test_a_response_of_two_parts_is_realised_by_three_states():
    """Oracle: the sum of a fast decay and a rotation, whose poles are known."""
    time_s = BIN_S * np.arange(100)
    turn = np.exp(-time_s / 0.1) * np.cos(2.0 * np.pi * 9.0 * time_s)
    found = realised_modes(turn - 2.0 * np.exp(-time_s / 0.01), BIN_S, n_states=3)
    assert len(found) == 2
    decay = found[found["imag"] == 0.0].iloc[0]
    assert decay["tau_s"] == pytest.approx(0.01, rel=1e-6)
    assert rotation(found)["tau_s"] == pytest.approx(0.1, rel=1e-6)
    assert rotation(found)["frequency_hz"] == pytest.approx(9.0, rel=1e-6)


def test_modes_are_ranked_by_the_energy_of_their_part_of_the_response():
    """Oracle: two decays of known size; energy a^2 / (1 - lambda^2)."""
    found = system_modes(np.diag([0.9, 0.5]), np.ones(2), np.array([1.0, 4.0]), BIN_S)
    energy = np.array([16.0 / (1.0 - 0.25), 1.0 / (1.0 - 0.81)])
    np.testing.assert_allclose(found["share"], energy / energy.sum())
    np.testing.assert_allclose(found["real"], [0.5, 0.9])
    np.testing.assert_allclose(system_response(np.diag([0.9, 0.5]), np.ones(2), np.array([1.0, 4.0]), 2), [5.0, 2.9])


@pytest.mark.parametrize("likelihood", ["poisson", "bernoulli"])
def test_the_derivative_of_a_law_of_counts_is_that_of_finite_differences(likelihood):
    """Oracle: central differences in log mu; Poisson weights are cut at 1e-9."""
    law, h = count_law(0.3, likelihood), 1e-5
    up, down = (count_law(0.3 * np.exp(sign * h), likelihood).weight[: law.weight.size] for sign in (1.0, -1.0))
    n = min(up.size, down.size, law.weight.size)
    np.testing.assert_allclose(law.by_log_mu[:n], (up[:n] - down[:n]) / (2.0 * h), atol=1e-7)
    assert law.weight.sum() == pytest.approx(1.0, abs=1e-12)


def test_what_was_read_off_is_ready_for_json_and_a_figure(tmp_path):
    """Oracle: json without NaN, and the words that the sentence must have."""
    from cortexrnn.report.read_off import draw_read_off

    trials = empty_trials(4, 300, np.random.default_rng(2).poisson(0.15, (4, 300)))
    found = read_off(trained_network("gru"), trials)
    text = json.dumps(found.to_dict(), allow_nan=False)
    for label in ("open loop", "closed loop", "recording"):
        assert label in text
    assert "the map of the mean" in text
    assert "with the spikes that it causes" in found.sentence
    assert draw_read_off(tmp_path / "figure.svg", found.to_dataset()).stat().st_size > 1000
    assert found.plot().get_xlabel() == "frequency (Hz)"


def test_a_network_that_hears_no_spikes_is_refused():
    """Oracle: M6cut has no response to a spike."""
    rng = np.random.default_rng(5)
    trials = empty_trials(16, 100, rng.poisson(0.15, (16, 100)))
    fitted = RNN(baseline=Constant(), n_hidden=3, max_epochs=1, uses_own_spikes=False).fit(trials)
    with pytest.raises(OptionError, match="hears no spikes"):
        read_off(fitted)


def test_other_models_and_short_trials_are_refused():
    """Oracle: the messages."""
    with pytest.raises(OptionError, match="no modes to read off"):
        read_off(Constant().fit(empty_trials(2, 50)))
    with pytest.raises(DataError, match="too short"):
        read_off(damped_filter(), empty_trials(2, 50, np.ones((2, 50))))
    with pytest.raises(OptionError, match="likelihood"):
        read_off(damped_filter(), likelihood="gamma")
    with pytest.raises(DataError, match="at least 3 finite lags"):
        realised_modes(np.array([1.0, np.nan, 0.0]), BIN_S)


def test_a_network_that_stayed_at_its_baseline_does_not_respond():
    """Oracle: with a read-out of zero no mode carries anything."""
    quiet = linear_network()
    quiet.weights[:] = np.where(np.isclose(quiet.weights, 0.25 / SMALL), 0.0, quiet.weights)
    found = read_off(quiet, baseline_hz=20.0, rate_hz=20.0)
    assert found.open.rotation is None
    assert "open loop does not respond to a spike" in found.sentence
    assert found.closed.expected_hz == pytest.approx(20.0)
    json.dumps(found.to_dict(), allow_nan=False)
