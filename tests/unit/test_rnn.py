"""The recurrent rung: slow twin, causality, lanes, threads, the control without spikes, and what it must win."""

from __future__ import annotations

import csv
import os
import runpy
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from cortexrnn.encoding import rnn_kernels
from cortexrnn.encoding.arrays import UnitTrials
from cortexrnn.encoding.gain import CausalGain
from cortexrnn.encoding.glm import HistoryGLM
from cortexrnn.encoding.likelihood import trial_log_likelihood
from cortexrnn.encoding.rnn import RNN, initial_weights
from cortexrnn.encoding.rnn_kernels import Learner, as_network, empty_workspace, train_epoch
from cortexrnn.encoding.rnn_tiles import cut_pieces, measure_inputs, raw_inputs, to_lanes
from cortexrnn.errors import DataError, NumericalError, OptionError
from cortexrnn.evaluation.scores import gain_interval
from cortexrnn.numerics.lanes import N_LANES
from cortexrnn.spikes.folds import assign_folds
from cortexrnn.theory.fixed_points import fixed_points
from cortexrnn.theory.system import as_system
from cortexrnn.training.adam import init_adam

TWIN = runpy.run_path(str(Path(__file__).parents[1] / "reference" / "gru_twin.py"))
QUICK = RNN(max_epochs=3, piece_s=0.05)


def _trials(counts, n_burn_in=0):
    """Trials of one condition, everything observed, without the first bins in the score."""
    observed = np.ones(counts.shape, dtype=bool)
    scored = observed.copy()
    scored[:, :n_burn_in] = False
    n_trials = counts.shape[0]
    counts = counts.astype(np.uint16)
    return UnitTrials(counts, observed, scored, np.zeros(n_trials, np.int64), np.arange(n_trials) * 3.0, 1e-3, True)


def _bursty(n_trials, n_bins, seed):
    """Spikes that come in bursts of up to four, but only after 100 ms of silence: history that is no sum of effects."""
    rng = np.random.default_rng(seed)
    counts = np.zeros((n_trials, n_bins))
    uniform = rng.random(counts.shape)
    for i in range(n_trials):
        since, left = 1000, 0
        for t in range(n_bins):
            in_burst = left > 0 and since <= 12
            mu = 0.0 if since <= 2 else 0.25 if in_burst else 0.008
            if uniform[i, t] < mu:
                counts[i, t] = 1
                left = 3 if since > 100 else left - 1 if in_burst else 0
                since = 1
            else:
                since += 1
    return counts


@pytest.fixture(scope="module")
def bursts():
    """Twenty bursty trials of 0.2 s, a baseline that varies, and a network trained on them."""
    trials = _trials(_bursty(20, 200, seed=1))
    baseline = np.log(0.02) + 0.5 * np.sin(np.arange(200) / 30.0) + np.linspace(-0.2, 0.2, 20)[:, None]
    return trials, baseline, QUICK.fit_on(trials, None, baseline)


def test_inputs_are_those_of_the_twin_and_stop_at_the_bin_before():
    counts = _bursty(3, 60, seed=2)
    trials, baseline = _trials(counts), np.random.default_rng(0).normal(size=counts.shape)
    inputs = raw_inputs(trials, baseline, (0.005, 0.05), 0.03)
    for i in range(3):
        twin = TWIN["network_inputs"](counts[i], baseline[i], (0.005, 0.05), 1e-3, 0.03)
        # Round-off of a recursion of 60 steps.
        np.testing.assert_allclose(inputs[i], twin, rtol=1e-12, atol=1e-13)


def test_unobserved_bins_enter_with_the_mean_count():
    trials = _trials(np.zeros((2, 30)))
    observed = trials.observed.copy()
    observed[:, 10:20] = False
    gap = trials._replace(observed=observed)
    inputs = raw_inputs(gap, np.zeros((2, 30)), (0.01,), 0.25)
    np.testing.assert_array_equal(inputs[:, 11:21, 0], 0.25)
    np.testing.assert_array_equal(inputs[:, 1:11, 0], 0.0)


def test_prediction_equals_the_twin_of_the_whole_chain(bursts):
    trials, baseline, fitted = bursts
    spec, scale = fitted.spec, fitted.scale
    gain = fitted.extend(trials, baseline) - baseline
    network = as_network(fitted.weights.astype(float), scale.mean.size, spec.n_hidden)
    assert np.abs(gain).max() > 0.3
    for i in (0, 17):
        inputs = TWIN["network_inputs"](trials.counts[i], baseline[i], spec.trace_s, 1e-3, scale.mean_count)
        inputs = (inputs - scale.mean) / scale.spread
        states = TWIN["run_gru"](inputs, *network.gru)
        eta = states @ network.readout + inputs @ network.skip + network.offset[0]
        # Single precision over 200 steps of a contracting map.
        np.testing.assert_allclose(gain[i], 8.0 * np.tanh(eta / 8.0), rtol=0, atol=2e-5)


@pytest.mark.parametrize("uses_own_spikes", [True, False])
def test_the_system_of_a_network_runs_as_the_network_does(bursts, uses_own_spikes):
    """Where nobody observed, spikes enter with their mean: the input is constant, as that of a system is."""
    trials, baseline, fitted = bursts
    fitted = replace(fitted, spec=replace(fitted.spec, uses_own_spikes=uses_own_spikes))
    unseen = trials._replace(observed=np.zeros_like(trials.observed))
    level = np.full(baseline.shape, np.log(0.03))
    gain = fitted.extend(unseen, level)[0] - level[0]
    system = fitted.system(baseline_hz=30.0, rate_hz=fitted.scale.mean_count / 1e-3)
    assert (system.dt_s, system.size) == (1e-3, fitted.spec.n_hidden)
    assert as_system(fitted, baseline_hz=30.0).dt_s == 1e-3
    network = as_network(fitted.weights.astype(float), fitted.scale.mean.size, fitted.spec.n_hidden)
    hidden = system.trajectory(network.gru.start[None], 200)[1:, 0]
    inputs = raw_inputs(unseen, level, fitted.spec.trace_s, fitted.scale.mean_count)[0]
    inputs = (inputs - fitted.scale.mean) / fitted.scale.spread
    inputs[:, :-1] *= uses_own_spikes
    eta = hidden @ network.readout + inputs @ network.skip + network.offset[0]
    # Single precision over 200 steps of a contracting map.
    np.testing.assert_allclose(gain, 8.0 * np.tanh(eta / 8.0), rtol=0, atol=2e-5)
    assert fixed_points(system, n_starts=8).verdict == "points"


@pytest.mark.parametrize(("rates", "told"), [((0.0, 1.0), "baseline_hz=0.0"), ((1.0, -1.0), "rate_hz=-1.0")])
def test_rates_that_cannot_be_are_refused(bursts, rates, told):
    with pytest.raises(OptionError, match=told):
        bursts[2].system(baseline_hz=rates[0], rate_hz=rates[1])


def test_a_spike_changes_no_bit_up_to_its_own_bin_and_the_next_one_after(bursts):
    trials, baseline, fitted = bursts
    before = fitted.extend(trials, baseline)
    counts = trials.counts.copy()
    counts[4, 77] += 1
    after = fitted.extend(trials._replace(counts=counts), baseline)
    np.testing.assert_array_equal(after[4, :78], before[4, :78])
    assert after[4, 78] != before[4, 78]
    others = np.arange(20) != 4
    np.testing.assert_array_equal(after[others], before[others])


def test_a_trial_keeps_its_bits_whatever_trials_stand_beside_it(bursts):
    trials, baseline, fitted = bursts
    together = fitted.extend(trials, baseline)
    some = np.array([18, 3, 11])
    np.testing.assert_array_equal(fitted.extend(trials.take(some), baseline[some]), together[some])


def test_the_seed_alone_decides_the_bits_also_on_threads(bursts):
    trials, baseline, fitted = bursts
    specs = [QUICK, replace(QUICK, seed=1), QUICK, replace(QUICK, uses_own_spikes=False)]
    with ThreadPoolExecutor(4) as pool:
        weights = list(pool.map(lambda spec: spec.fit_on(trials, None, baseline).weights, specs))
    np.testing.assert_array_equal(weights[0], fitted.weights)
    np.testing.assert_array_equal(weights[2], fitted.weights)
    assert not np.array_equal(weights[1], fitted.weights)


def test_the_cut_network_never_sees_spikes(bursts):
    trials, baseline, _ = bursts
    fitted = replace(QUICK, uses_own_spikes=False).fit_on(trials, None, baseline)
    assert fitted.weights.any()
    silent = trials._replace(counts=np.zeros_like(trials.counts))
    np.testing.assert_array_equal(fitted.extend(silent, baseline), fitted.extend(trials, baseline))


def test_the_cut_network_is_named_and_not_offered_as_history():
    cut = RNN(uses_own_spikes=False)
    assert (RNN().name, RNN().sees_history, cut.name, cut.sees_history) == ("M6", True, "M6cut", False)


def test_training_starts_at_the_baseline():
    weights = as_network(initial_weights(3, 16, np.random.default_rng(0)), 3, 16)
    assert not weights.readout.any()
    assert not weights.skip.any()
    assert not weights.offset.any()
    assert np.abs(weights.gru.hidden).max() > 0.2


def test_the_baseline_is_kept_where_every_epoch_is_worse():
    counts = np.zeros((10, 100))
    counts[8:, ::5] = 1
    trials, baseline = _trials(counts), np.full(counts.shape, np.log(0.1))
    is_validation = np.arange(10) >= 8
    # Silent training trials teach a lower rate, which the busy validation trials refuse.
    trained = QUICK.train(trials, baseline, is_validation)
    assert not trained.weights.any()
    assert (trained.validation_gain < 0).all()
    start = trial_log_likelihood(trials, baseline)[is_validation].sum()
    assert trained.validation_log_likelihood == pytest.approx(start, rel=1e-12)


def test_the_best_epoch_is_the_one_that_is_kept(bursts):
    trials, baseline, fitted = bursts
    is_validation = np.arange(20) % 5 == 2
    reached = trial_log_likelihood(trials, fitted.extend(trials, baseline))[is_validation].sum()
    start = trial_log_likelihood(trials, baseline)[is_validation].sum()
    # The same sums in another order.
    assert fitted.validation_log_likelihood == pytest.approx(reached, rel=1e-12)
    assert reached - start == pytest.approx(fitted.validation_gain.max(), rel=1e-9)


def test_pieces_hold_every_bin_once_and_know_what_follows():
    counts = np.arange(5 * 70).reshape(5, 70)
    trials = _trials(counts)
    inputs = np.zeros((5, 70, 2), np.float32)
    order = np.random.default_rng(0).permutation(5 * 4)
    pieces = cut_pieces(trials, np.zeros((5, 70)), inputs, 4, order)
    # Four pieces of 18 bins: 70 bins and two of padding, which carry no weight.
    assert pieces.counts.shape == (2, 18, N_LANES)
    assert pieces.is_first.sum() == 5
    rebuilt = []
    for place in np.flatnonzero(pieces.is_first.ravel()):
        bins = []
        while place >= 0:
            bins.append(pieces.counts[place // N_LANES, :, place % N_LANES])
            place = pieces.following.ravel()[place]
        rebuilt.append(np.concatenate(bins)[:70])
    rebuilt = np.array(rebuilt)
    np.testing.assert_array_equal(rebuilt[np.argsort(rebuilt[:, 0])], counts)
    assert (pieces.weight > 0).sum() == 5 * 70


def test_states_travel_from_piece_to_piece_until_they_are_those_of_the_whole_trial(bursts):
    trials, baseline, _ = bursts
    inputs = np.random.default_rng(0).normal(size=(20, 200, 3)).astype(np.float32)
    pieces = cut_pieces(trials, baseline, inputs, 4, np.random.default_rng(1).permutation(80))
    pieces = pieces._replace(states=np.zeros((5, 16, N_LANES), np.float32))
    weights = initial_weights(3, 16, np.random.default_rng(2))
    work = empty_workspace(50, 16)
    learner = Learner(weights, weights.copy(), init_adam(weights.size))
    for _ in range(4):
        train_epoch(pieces, np.arange(5), np.zeros(5), learner, work, False)
    network = as_network(weights.astype(float), 3, 16)
    for place in np.flatnonzero(pieces.is_first.ravel()):
        third = pieces.following.ravel()[pieces.following.ravel()[place]]
        state = pieces.states[third // N_LANES, :, third % N_LANES]
        whole = next(
            i
            for i in range(20)
            if np.array_equal(inputs[i, :50], pieces.inputs[place // N_LANES, :, :, place % N_LANES])
        )
        twin = TWIN["run_gru"](inputs[whole, :100].astype(float), *network.gru)
        # Single precision over 100 steps.
        np.testing.assert_allclose(state, twin[-1], rtol=0, atol=3e-6)


def test_lanes_are_filled_in_order_and_the_rest_is_zero():
    rows = np.arange(18 * 2).reshape(18, 2) + 1.0
    tiles = to_lanes(rows, np.arange(18)[::-1])
    assert tiles.shape == (2, 2, N_LANES)
    np.testing.assert_array_equal(tiles[0, :, 0], rows[17])
    np.testing.assert_array_equal(tiles[1, :, 1], rows[0])
    assert not tiles[1, :, 2:].any()


def test_constant_inputs_are_not_blown_up():
    trials = _trials(np.zeros((4, 50)))
    scale = measure_inputs(trials, np.full((4, 50), -3.0), (0.01,))
    np.testing.assert_array_equal(scale.spread, 1.0)


def test_a_silent_unit_and_a_very_short_trial_can_be_fitted():
    for counts in (np.zeros((6, 40)), np.eye(6, 3)):
        baseline = np.full(counts.shape, np.log(0.01))
        fitted = QUICK.fit_on(_trials(counts), None, baseline)
        assert np.isfinite(fitted.extend(_trials(counts), baseline)).all()


def test_bernoulli_and_poisson_agree_where_rates_are_low():
    trials = _trials(np.random.default_rng(5).random((20, 200)) < 0.002)
    # The baseline asks for twice the spikes that are there, so that there is something to learn.
    baseline = np.full((20, 200), np.log(0.004))
    specs = [replace(QUICK, likelihood=name) for name in ("poisson", "bernoulli")]
    poisson, bernoulli = (spec.fit_on(trials, None, baseline).extend(trials, baseline) for spec in specs)
    assert np.abs(poisson - baseline).max() > 0.2
    # Their gradients differ by a share mu/2 = 0.002; three epochs of small steps do not magnify that much.
    np.testing.assert_allclose(bernoulli, poisson, atol=0.02)


def test_bernoulli_refuses_two_spikes_in_a_bin():
    counts = np.zeros((6, 40))
    counts[2, 3] = 2
    with pytest.raises(DataError, match="1 bins hold more than one spike"):
        replace(QUICK, likelihood="bernoulli").fit_on(_trials(counts), None, np.zeros(counts.shape))


def test_one_training_trial_is_refused():
    with pytest.raises(DataError, match="1 training trial cannot be divided"):
        QUICK.fit_on(_trials(np.zeros((1, 40))), None, np.zeros((1, 40)))


def test_training_without_any_finite_gradient_stops_with_the_epoch():
    baseline = np.zeros((6, 40))
    baseline[0, 5] = np.nan
    trials = _trials(np.ones((6, 40)))
    with pytest.raises(NumericalError, match="no gradient of epoch 1 is finite; expected most of 1"):
        QUICK.train(trials, baseline, np.arange(6) == 5)


@pytest.mark.parametrize(
    "wrong",
    [
        {"n_hidden": 0},
        {"likelihood": "gaussian"},
        {"trace_s": (0.0,)},
        {"piece_s": -1.0},
        {"learning_rate": float("nan")},
        {"max_epochs": 0},
        {"patience": 0},
        {"seed": -1},
    ],
)
def test_specs_that_make_no_sense_are_refused(wrong):
    with pytest.raises(OptionError, match=next(iter(wrong))):
        RNN(**wrong)


def test_kernels_have_one_specialisation(bursts):
    trials, baseline, _ = bursts
    for spec in (QUICK, replace(QUICK, n_hidden=5, likelihood="bernoulli"), replace(QUICK, trace_s=())):
        spec.fit_on(trials, None, baseline)
    for kernel in (train_epoch, rnn_kernels.predict_tile, rnn_kernels.exponential_traces):
        assert len(kernel.signatures) == 1


def _held_out(trials, rungs, n_folds=5):
    """Held-out log-likelihood of every rung and trial, all rungs on the same baseline fits; None is M3 itself."""
    fold = assign_folds(trials.condition, n_folds)
    scores = np.zeros((len(rungs), trials.n_trials))
    for k in range(n_folds):
        train, test = trials.take(fold != k), trials.take(fold == k)
        below = CausalGain().fit(train)
        on_train, on_test = below.on_training(train, below.below.log_mu(train)), below.log_mu(test)
        for j, rung in enumerate(rungs):
            log_mu = on_test if rung is None else rung.fit_on(train, below, on_train).extend(test, on_test)
            scores[j, fold == k] = trial_log_likelihood(test, log_mu)
    return scores


def _gain(scores, control, trials):
    """The package's interval, in bits per spike."""
    return gain_interval(scores, control, trials.spikes_per_trial, 5)


@pytest.mark.slow
def test_history_that_is_no_sum_of_effects_is_won_by_the_network():
    trials = _trials(_bursty(60, 1500, seed=7), n_burn_in=500)
    glm, network = _held_out(trials, [HistoryGLM(), RNN()])
    gain = _gain(network, glm, trials)
    assert gain.value > 0.05
    assert gain.low > 0.0


@pytest.mark.slow
def test_without_history_neither_network_gains_or_loses():
    rng = np.random.default_rng(8)
    rate = 0.02 * (1.0 + np.exp(-0.5 * ((np.arange(1500) - 900) / 60.0) ** 2))
    trials = _trials(rng.random((60, 1500)) < rate, n_burn_in=500)
    m3, network, cut = _held_out(trials, [None, RNN(), RNN(uses_own_spikes=False)])
    # The standard error of a gain of nothing with 1300 spikes is a few thousandths.
    assert abs(_gain(network, m3, trials).value) < 0.02
    assert abs(_gain(cut, m3, trials).value) < 0.02


@pytest.mark.slow
@pytest.mark.recordings
def test_antennal_lobe_neuron_reaches_what_an_independent_network_reached():
    folder = Path(os.environ["CORTEXRNN_RECORDINGS"])
    counts = np.zeros((20, 11000))
    with (folder / "cockroach_al" / "spikes.csv").open(newline="") as file:
        for row in csv.DictReader(file):
            if row["dataset"] == "CAL1V" and row["neuron"] == "1":
                counts[int(row["trial"]) - 1, int(float(row["time_s"]) * 1000.0 + 1e-6)] += 1
    trials = _trials(counts)
    m3, glm, network, cut = _held_out(trials, [None, HistoryGLM(), RNN(), RNN(uses_own_spikes=False)])
    # Over M3, which has 0.56 bits/spike: an independent GRU of the same size had 0.61, a history GLM 0.52.
    assert _gain(network, m3, trials).value > 0.61
    assert _gain(network, glm, trials).value > 0.1
    assert abs(_gain(cut, m3, trials).value) < 0.02
