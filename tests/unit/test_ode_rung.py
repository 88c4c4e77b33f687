"""The neural ODE among the rungs: its twin in float64, where it jumps, how fine its steps are, and a dead time."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from cortexrnn.encoding.arrays import UnitTrials
from cortexrnn.encoding.likelihood import trial_log_likelihood
from cortexrnn.encoding.network import Network
from cortexrnn.encoding.network_cells import OdeModel, make_model
from cortexrnn.encoding.rnn_tiles import raw_inputs
from cortexrnn.errors import OptionError
from cortexrnn.numerics.lanes import N_LANES
from cortexrnn.training.model import Asked

QUICK = Network(cell="ode", max_epochs=3, piece_s=0.05)


def trials_of(counts, bin_s=1e-3):
    """Trials of one condition, everything observed and scored."""
    seen = np.ones(counts.shape, dtype=bool)
    n = len(counts)
    return UnitTrials(
        counts.astype(np.uint16), seen, seen.copy(), np.zeros(n, np.int64), 3.0 * np.arange(n), bin_s, True
    )


def with_dead_time(n_trials, n_bins, mean_count, dead_bins, seed):
    """Spikes of a constant probability that are never closer than the dead time."""
    rng = np.random.default_rng(seed)
    counts, since = np.zeros((n_trials, n_bins)), np.full(n_trials, n_bins)
    for t in range(n_bins):
        since += 1
        fires = (rng.random(n_trials) < mean_count) & (since > dead_bins)
        counts[fires, t], since[fires] = 1, 0
    return counts


@pytest.fixture(scope="module")
def fitted():
    """Twenty trials of 0.2 s, a baseline that varies, and a network of few epochs."""
    trials = trials_of(with_dead_time(20, 200, 0.05, 5, seed=1))
    baseline = np.log(0.04) + 0.5 * np.sin(np.arange(200) / 30.0) + np.linspace(-0.2, 0.2, 20)[:, None]
    return trials, baseline, QUICK.fit_on(trials, None, baseline)


def run_by_hand(weights, inputs, is_spike, *, bin_s, n_substeps):
    """Flow in steps of Runge and Kutta, then the jump or the draw; states after every bin, (n_bins, n_hidden)."""

    def field(h):
        return weights.field_out @ np.tanh(weights.field_in @ h + weights.field_in_bias) + weights.field_out_bias

    h, states, step = weights.start[0], [], bin_s / 0.01 / n_substeps
    for x, spike in zip(inputs, is_spike, strict=True):
        for _ in range(n_substeps):
            k1 = field(h)
            k2 = field(h + 0.5 * step * k1)
            k3 = field(h + 0.5 * step * k2)
            k4 = field(h + step * k3)
            h = h + step / 6.0 * (k1 + 2.0 * k2 + 2.0 * k3 + k4)
        target = np.tanh(weights.input @ x + weights.input_bias + weights.hidden @ h + weights.hidden_bias)
        share = 1.0 if spike else 1.0 - np.exp(-bin_s / 0.02)
        h = (1.0 - share) * h + share * target
        states.append(h)
    return np.array(states)


def test_prediction_equals_the_twin_of_the_whole_chain(fitted):
    """By hand in float64, from raw inputs to the bounded change of the log-rate."""
    trials, baseline, rung = fitted
    network = rung.network(n_steps=1)
    weights = type(network.model.core_weights())(*(part.astype(float) for part in network.model.core_weights()))
    readout, bias = (part.astype(float) for part in network.model.readout())
    gain = rung.extend(trials, baseline) - baseline
    assert np.abs(gain).max() > 0.3
    raw = raw_inputs(trials, baseline, rung.spec.trace_s, rung.scale.mean_count)
    for i in (0, 17):
        x = (raw[i] - rung.scale.mean) / rung.scale.spread
        states = run_by_hand(weights, x, np.append(0, trials.counts[i, :-1]) > 0, bin_s=1e-3, n_substeps=1)
        eta = states @ readout[0] + x @ network.skip.astype(float) + bias[0]
        # Single precision over 200 steps.
        np.testing.assert_allclose(gain[i], 8.0 * np.tanh(eta / 8.0), rtol=0, atol=5e-5)


@pytest.mark.parametrize("mean_count", [0.01, 0.3])
def test_the_state_jumps_after_spikes_and_not_where_nobody_observed(mean_count):
    """Exact: the bins after those with a spike, in rare and in frequent firing; none where spikes are cut off."""
    trials = trials_of(with_dead_time(20, 100, mean_count, 0, seed=2))
    trials.observed[:5, 30:60] = trials.scored[:5, 30:60] = False
    trials.scored[:, :20] = False
    baseline = np.full((20, 100), np.log(mean_count))
    rung = replace(QUICK, max_epochs=1).fit_on(trials, None, baseline)
    model = make_model(QUICK, rung.scale.mean.size, 1e-3)
    is_spike = np.zeros((20, 100), bool)
    is_spike[:, 1:] = (trials.counts[:, :-1] > 0) & trials.observed[:, :-1]
    for spec, expected in ((QUICK, is_spike), (replace(QUICK, uses_own_spikes=False), np.zeros_like(is_spike))):
        lanes = spec.whole_trials(trials, baseline, rung.scale)
        jump = [model._with_timing(tile.reshape(100, -1))[:, N_LANES : 2 * N_LANES] for tile in lanes]
        np.testing.assert_array_equal(np.concatenate(jump, axis=1).T[:20] == 1.0, expected)


@pytest.mark.parametrize(("bin_s", "n_substeps"), [(5e-4, 1), (1e-3, 1), (5e-3, 2), (0.02, 4)])
def test_bins_of_any_length_are_crossed_in_fine_enough_steps(bin_s, n_substeps):
    """Eight times as many steps, by hand, change the states by less than single precision and training would notice."""
    rng = np.random.default_rng(3)
    model = OdeModel(8, Asked(4, 1, bin_s), seed=0, dtype=np.float64)
    weights = model.core_weights()
    assert model.pack(weights).n_substeps == n_substeps
    inputs, is_spike = rng.standard_normal((60, 4)), rng.random(60) < 0.2
    coarse, fine = (
        run_by_hand(weights, inputs, is_spike, bin_s=bin_s, n_substeps=n) for n in (n_substeps, 8 * n_substeps)
    )
    # Steps of at most half the field's time constant: the error of order five.
    np.testing.assert_allclose(coarse, fine, rtol=0, atol=1e-4)


def test_inputs_keep_their_number_and_the_system_its_own():
    """Gap and jump are the model's own affair; the system is at rest between spikes where its inputs say so."""
    model = OdeModel(5, Asked(3, 1, 1e-3), seed=1, dtype=np.float32)
    assert model.n_inputs == 3
    assert model.core_weights().input.shape == (5, 3)
    weights = model.core_weights()._asdict()
    weights = type(model.core_weights())(**{name: part.astype(float) for name, part in weights.items()})
    for count, is_spike in ((-0.1, False), (3.0, True)):
        inputs = np.array([count, 0.2, -0.4])
        system = model.system(inputs, 1e-3)
        state = system.start(1, seed=0)
        one = run_by_hand(weights._replace(start=state), inputs[None], [is_spike], bin_s=1e-3, n_substeps=4)
        np.testing.assert_allclose(system.step(state), one, rtol=0, atol=1e-7)


@pytest.mark.parametrize("trace_s", [(), (0.002, 0.005, 0.012, 0.03, 0.1, 0.3)])
def test_a_dead_time_is_learned(trace_s):
    """Rates in and behind a dead time of 5 ms on trials of their own, also from spikes alone; the truth is known."""
    below = np.full((60, 1000), np.log(0.045))
    trials, fresh = (trials_of(with_dead_time(60, 1000, 0.06, 5, seed=seed)) for seed in (4, 5))
    log_mu = Network(cell="ode", trace_s=trace_s).fit_on(trials, None, below).extend(fresh, below)
    since, truth = np.full(60, 1000), np.empty(below.shape)
    by_lag = {1: [], 3: [], 5: [], 20: []}
    for t in range(1000):
        # Rare beyond any effect on the score, but not impossible.
        truth[:, t] = np.log(np.where(since > 5, 0.06, 1e-6))
        for lag, values in by_lag.items():
            values.extend(np.exp(log_mu[since == lag, t]))
        since = np.where(fresh.counts[:, t] > 0, 1, since + 1)
    mean = {lag: np.mean(values) for lag, values in by_lag.items()}
    # Of 0.06 a bin; the edge, between lags of 5 and 6 ms, is smooth. 3000 spikes leave 2 % of a rate, networks more.
    assert max(mean[1], mean[3]) < 0.003
    assert mean[5] < 0.02
    assert mean[20] == pytest.approx(0.06, rel=0.15)
    best, gain = (trial_log_likelihood(fresh, each).sum() for each in (truth, log_mu))
    start = trial_log_likelihood(fresh, below).sum()
    assert gain - start > 0.85 * (best - start)


def test_it_is_no_circuit_and_has_a_control():
    assert (QUICK.name, replace(QUICK, uses_own_spikes=False).name) == ("M6 ODE", "M6 ODE cut")
    trials = trials_of(with_dead_time(6, 40, 0.1, 2, seed=6))
    rung = replace(QUICK, max_epochs=1).fit_on(trials, None, np.full((6, 40), np.log(0.1)))
    with pytest.raises(OptionError, match="cell='ode' is no circuit of rate units"):
        rung.to_circuit(baseline_hz=10.0)
