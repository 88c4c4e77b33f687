"""Networks of other cells as rungs: twins, gradients, causality, threads, the cut control, and the way to circuits."""

from __future__ import annotations

import runpy
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from cortexrnn.circuit import audit_signs, build_weights, load_circuit, save_circuit
from cortexrnn.dynamics.simulate import simulate
from cortexrnn.dynamics.stimuli import Samples
from cortexrnn.encoding.arrays import UnitTrials
from cortexrnn.encoding.gain import CausalGain
from cortexrnn.encoding.likelihood import trial_log_likelihood
from cortexrnn.encoding.network import Network
from cortexrnn.encoding.network_cells import CELLS, make_model
from cortexrnn.encoding.network_sweep import LogRateNetwork, PieceLearning, add_skip, bound_output
from cortexrnn.encoding.rnn import RNN
from cortexrnn.encoding.rnn_kernels import Tile, as_network, fill_slope
from cortexrnn.encoding.rnn_tiles import raw_inputs
from cortexrnn.encoding.simulation import simulate_copies
from cortexrnn.errors import DataError, NumericalError, OptionError
from cortexrnn.evaluation.scores import gain_interval
from cortexrnn.numerics.lanes import N_LANES
from cortexrnn.spikes.folds import assign_folds
from cortexrnn.theory.fixed_points import fixed_points
from cortexrnn.theory.system import as_system

REFERENCE = Path(__file__).parents[1] / "reference"
TWIN = runpy.run_path(str(REFERENCE / "gru_twin.py"))
CELLS_TWIN = runpy.run_path(str(REFERENCE / "cells_twin.py"))
QUICK = {"max_epochs": 3, "piece_s": 0.05}


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


def _baseline(n_trials, n_bins):
    """A log baseline that varies over time and trials."""
    return np.log(0.02) + 0.5 * np.sin(np.arange(n_bins) / 30.0) + np.linspace(-0.2, 0.2, n_trials)[:, None]


@pytest.fixture(scope="module", params=CELLS)
def bursts(request):
    """Twenty bursty trials of 0.2 s, a baseline that varies, and a network of every kind trained on them."""
    trials, baseline = _trials(_bursty(20, 200, seed=1)), _baseline(20, 200)
    return trials, baseline, Network(cell=request.param, **QUICK).fit_on(trials, None, baseline)


@pytest.fixture(scope="module")
def dale():
    """The Dale network on the same trials, at a baseline that is constant, for ten epochs."""
    trials, baseline = _trials(_bursty(20, 200, seed=1)), np.full((20, 200), np.log(0.02))
    spec = Network(cell="dale", max_epochs=10, patience=10, piece_s=0.05)
    return trials, baseline, spec.fit_on(trials, None, baseline)


def _scaled(fitted, counts, baseline):
    """Scaled inputs of one trial, by the twin."""
    inputs = TWIN["network_inputs"](counts, baseline, fitted.spec.trace_s, 1e-3, fitted.scale.mean_count)
    return (inputs - fitted.scale.mean) / fitted.scale.spread


def _read(network, hidden, inputs):
    """Change of the log-rate from states and inputs, by hand."""
    readout, bias = (part.astype(float) for part in network.model.readout())
    eta = hidden @ readout[0] + inputs @ network.skip.astype(float) + bias[0]
    return 8.0 * np.tanh(eta / 8.0)


def test_the_gated_network_is_that_of_the_fused_kernel():
    """The same weights in both: the kernel of `RNN` is the oracle."""
    trials, baseline = _trials(_bursty(20, 200, seed=1)), _baseline(20, 200)
    fused = RNN(**QUICK).fit_on(trials, None, baseline)
    parts = as_network(fused.weights, fused.scale.mean.size, 16)
    spec = Network(cell="gru", **QUICK)
    network = LogRateNetwork(make_model(spec, fused.scale.mean.size, 1e-3), n_steps=1)
    views = network.model.parts(network.model.theta)
    for name, values in zip(("input", "hidden", "input_bias", "hidden_bias", "start"), parts.gru, strict=True):
        views[name][...] = values
    views["readout"][0], views["readout_bias"][0], network.skip[:] = parts.readout, parts.offset[0], parts.skip
    fitted = spec.as_fitted(spec.train(trials, baseline, np.arange(20) > 15), None, 1e-3)
    fitted = replace(fitted, weights=network.weights, scale=fused.scale)
    gain = fused.extend(trials, baseline) - baseline
    assert np.abs(gain).max() > 0.3
    # Single precision over 200 steps of a contracting map.
    np.testing.assert_allclose(fitted.extend(trials, baseline) - baseline, gain, rtol=0, atol=2e-5)


@pytest.mark.parametrize("cell", ["vanilla", "lstm"])
def test_prediction_equals_the_twin_of_the_whole_chain(cell):
    trials, baseline = _trials(_bursty(20, 200, seed=1)), _baseline(20, 200)
    fitted = Network(cell=cell, **QUICK).fit_on(trials, None, baseline)
    network = fitted.network(n_steps=1)
    weights = [part.astype(float) for part in network.model.core_weights()]
    gain = fitted.extend(trials, baseline) - baseline
    assert np.abs(gain).max() > 0.3
    for i in (0, 17):
        inputs = _scaled(fitted, trials.counts[i], baseline[i])
        hidden = CELLS_TWIN["run"](CELLS_TWIN["STEPS"][cell], inputs, weights[:5], [part[0] for part in weights[5:]])
        # Single precision over 200 steps.
        np.testing.assert_allclose(gain[i], _read(network, hidden, inputs), rtol=0, atol=5e-5)


@pytest.mark.parametrize("is_bernoulli", [False, True])
@pytest.mark.parametrize("cell", CELLS)
def test_the_loss_on_top_of_a_baseline_has_its_gradient(cell, is_bernoulli):
    """Central differences of the loss by every parameter, its own read-out and direct path among them; float64."""
    rng = np.random.default_rng(3)
    model = make_model(Network(cell=cell, n_hidden=5), 3, 1e-3, np.float64)
    network = LogRateNetwork(model, n_steps=12)
    network.weights[:] += 0.1 * rng.normal(size=network.weights.size) * np.append(model.moves, [True] * 3)
    if cell == "dale":
        _tie(model, network.weights)
    counts = (rng.random((12, N_LANES)) < 0.3).astype(float)
    weight = rng.random((12, N_LANES)) * (rng.random((12, N_LANES)) < 0.8)
    tile = Tile(rng.normal(size=(12, 3, N_LANES)), rng.normal(size=(12, N_LANES)) - 1.0, counts, weight)

    def loss():
        packed = network.pack()
        network.lay_start(packed)
        log_mu = tile.log_baseline + network.forward(packed, tile.inputs)
        mu = np.exp(log_mu)
        cost = np.where(counts > 0, -np.log(-np.expm1(-mu)), mu) if is_bernoulli else mu - counts * log_mu
        return float((weight * cost).sum())

    loss()
    gradient = network.backward(network.pack(), tile, np.ones(N_LANES, bool), is_bernoulli)
    found = np.zeros_like(gradient)
    for group in _groups(model, gradient.size):
        moved = []
        for step in (1e-5, -1e-5):
            network.weights[group] += step
            moved.append(loss())
            network.weights[group] -= step
        # Shared parameters move together, and their derivative is handed out in equal parts.
        found[group] = (moved[0] - moved[1]) / 2e-5 / len(group)
    moves = np.append(model.moves, [True] * 3)
    assert np.abs(gradient[~moves]).max(initial=0.0) == 0.0
    # Central differences of step 1e-5 are good to 1e-10 / 1e-5 of the loss; the Bernoulli series leaves 1e-10.
    np.testing.assert_allclose(gradient[moves], found[moves], rtol=1e-5, atol=1e-7)


def _groups(model, size):
    """Indices of parameters that move together: those of one class of synapses, and all others alone."""
    places = model.parts(np.arange(model.theta.size))
    shared = []
    if hasattr(model, "senders"):
        for name in ("U", "tau_f_s", "tau_d_s"):
            labels = model.populations[model.senders]
            shared += [places[name][labels == label].tolist() for label in np.unique(labels)]
    taken = {k for group in shared for k in group}
    return shared + [[k] for k in range(size) if k not in taken]


def _tie(model, weights):
    """Give shared parameters one value."""
    for group in _groups(model, weights.size):
        weights[group] = weights[group][0]


def test_dale_rates_are_those_of_the_simulated_circuit(dale, tmp_path):
    """`simulate` of the circuit, driven by the traces of a trial, read out by hand, against `extend`."""
    trials, baseline, fitted = dale
    circuit = fitted.to_circuit(baseline_hz=20.0)
    assert load_circuit(save_circuit(circuit, tmp_path / "fitted.toml")) == circuit
    gain = fitted.extend(trials, baseline) - baseline
    assert np.abs(gain).max() > 0.3
    raw = raw_inputs(trials, baseline, fitted.spec.trace_s, fitted.scale.mean_count)
    channels = circuit.channels
    assert channels == ("count", *(f"trace_{t * 1e3:g}_ms" for t in fitted.spec.trace_s))
    stimulus = {name: Samples(values=raw[:, :, [k]], step_s=1e-3) for k, name in enumerate(channels)}
    run = simulate(circuit, duration_s=0.2, n_trials=20, stimulus=stimulus)
    network = fitted.network(n_steps=1)
    for i in (0, 17):
        inputs = (raw[i] - fitted.scale.mean) / fitted.scale.spread
        # The rate at a moment is that before its step; the read-out sees the one after it.
        expected = _read(network, run.rate.values[i, 1:], inputs[:-1])
        # Single precision over 200 steps.
        np.testing.assert_allclose(gain[i, :-1], expected, rtol=0, atol=2e-5)


def test_the_circuit_of_a_silent_unit_steps_as_the_system_of_the_network(dale):
    """The theory of circuits against that of fitted networks, from the same states."""
    fitted = dale[2]
    ours = fitted.system(baseline_hz=20.0)
    theirs = as_system(fitted.to_circuit(baseline_hz=20.0), dt_s=1e-3)
    assert theirs.labels == ours.labels
    states = ours.start(4, seed=0)
    # Inputs are scaled in float64 in both, their weights rounded once to float32.
    np.testing.assert_allclose(theirs.step(states), ours.step(states), rtol=1e-6, atol=1e-7)


def test_dale_signs_are_kept_and_synapses_of_a_class_stay_alike(dale):
    circuit = dale[2].to_circuit(baseline_hz=20.0)
    assert [p.size for p in circuit.populations] == [13, 3]
    weights = build_weights(circuit)
    audit_signs(weights.total(), circuit.signs)
    start = build_weights(make_model(dale[2].spec, 8, 1e-3).circuit)
    assert np.abs(weights.total() - start.total()).max() > 0.01
    assert sorted(circuit.plasticity) == ["excitatory", "inhibitory"]
    before = make_model(dale[2].spec, 8, 1e-3).circuit.plasticity["excitatory"]
    assert abs(circuit.plasticity["excitatory"].tau_d_s - before.tau_d_s) > 1e-3


def test_only_the_dale_network_is_a_circuit(bursts):
    _, _, fitted = bursts
    if fitted.spec.cell == "dale":
        assert fitted.to_circuit(baseline_hz=10.0).size == 16
        with pytest.raises(OptionError, match="baseline_hz=0"):
            fitted.to_circuit(baseline_hz=0)
    else:
        with pytest.raises(OptionError, match="expected a network with cell='dale'"):
            fitted.to_circuit(baseline_hz=10.0)


def test_a_cut_circuit_has_no_channels(dale):
    fitted = dale[2]
    cut = replace(fitted, spec=replace(fitted.spec, uses_own_spikes=False))
    assert cut.to_circuit(baseline_hz=20.0).channels == ()


@pytest.mark.parametrize("uses_own_spikes", [True, False])
def test_the_system_of_a_network_runs_as_the_network_does(bursts, uses_own_spikes):
    """Where nobody observed, spikes enter with their mean: the input is constant, as that of a system is."""
    trials, baseline, fitted = bursts
    fitted = replace(fitted, spec=replace(fitted.spec, uses_own_spikes=uses_own_spikes))
    unseen = trials._replace(observed=np.zeros_like(trials.observed))
    level = np.full(baseline.shape, np.log(0.03))
    gain = fitted.extend(unseen, level)[0] - level[0]
    system = as_system(fitted, baseline_hz=30.0, rate_hz=fitted.scale.mean_count / 1e-3)
    assert system.dt_s == 1e-3
    network = fitted.network(n_steps=1)
    network.lay_start(network.pack())
    # A system's state is laid out as the tape's states are, but for the rates, which follow from y.
    names = [name for name in network.model.states if name != "rate"]
    starts = dict(zip(network.model.states, network.states(0), strict=True))
    start = np.concatenate([starts[name].reshape(-1, N_LANES)[:, 0] for name in names]).astype(float)
    hidden = system.trajectory(start[None], 200)[1:, 0, : fitted.spec.n_hidden]
    inputs = raw_inputs(unseen, level, fitted.spec.trace_s, fitted.scale.mean_count)[0]
    inputs = (inputs - fitted.scale.mean) / fitted.scale.spread
    inputs[:, :-1] *= uses_own_spikes
    # Single precision over 200 steps.
    np.testing.assert_allclose(gain, _read(network, hidden, inputs), rtol=0, atol=5e-5)
    assert fixed_points(system, n_starts=4).verdict == "points"


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


def test_long_trials_are_predicted_in_chunks_without_a_seam(bursts):
    """600 bins, which are three chunks, against the same in one sweep."""
    _, _, fitted = bursts
    trials, baseline = _trials(_bursty(3, 600, seed=5)), _baseline(3, 600)
    network = fitted.network(n_steps=600)
    whole = network.predict(network.pack(), fitted.spec.whole_trials(trials, baseline, fitted.scale)[0])
    np.testing.assert_array_equal(fitted.extend(trials, baseline), baseline + whole.T[:3].astype(float))


def test_the_seed_alone_decides_the_bits_also_on_threads(bursts):
    trials, baseline, fitted = bursts
    specs = [fitted.spec, replace(fitted.spec, seed=1), fitted.spec]
    with ThreadPoolExecutor(2) as pool:
        found = list(pool.map(lambda spec: spec.fit_on(trials, None, baseline), specs))
        predicted = list(pool.map(lambda one: one.extend(trials, baseline), found))
    np.testing.assert_array_equal(found[0].weights, fitted.weights)
    np.testing.assert_array_equal(found[2].weights, fitted.weights)
    assert not np.array_equal(found[1].weights, fitted.weights)
    np.testing.assert_array_equal(predicted[0], fitted.extend(trials, baseline))


def test_the_cut_network_never_sees_spikes(bursts):
    trials, baseline, fitted = bursts
    cut = replace(fitted.spec, uses_own_spikes=False).fit_on(trials, None, baseline)
    assert not np.array_equal(cut.extend(trials, baseline), baseline)
    silent = trials._replace(counts=np.zeros_like(trials.counts))
    np.testing.assert_array_equal(cut.extend(silent, baseline), cut.extend(trials, baseline))


def test_the_cut_network_starts_from_the_same_weights_and_takes_the_same_order(bursts):
    """The same model and the same pieces: only the spike inputs differ, which are zero."""
    trials, baseline, fitted = bursts
    spec, cut = fitted.spec, replace(fitted.spec, uses_own_spikes=False)
    weights = [make_model(each, 8, 1e-3).theta for each in (spec, cut)]
    np.testing.assert_array_equal(*weights)
    pieces = [each.pieces(trials, baseline, fitted.scale, np.random.default_rng(0)) for each in (spec, cut)]
    np.testing.assert_array_equal(pieces[0].counts, pieces[1].counts)
    np.testing.assert_array_equal(pieces[0].inputs[:, :, -1], pieces[1].inputs[:, :, -1])
    assert not pieces[1].inputs[:, :, :-1].any()


def test_one_bin_at_a_time_is_the_same_prediction(bursts):
    """`extend` on what a free run drew is the oracle; burn-in spikes and a gap are among the inputs."""
    _, _, fitted = bursts
    trials = _trials(_bursty(18, 120, seed=6), n_burn_in=30)
    trials.observed[3, 50:60] = trials.scored[3, 50:60] = False
    baseline = _baseline(18, 120)
    stepper = fitted.stepper(trials)
    found = np.empty(baseline.shape)
    for t in range(120):
        found[:, t] = stepper.predict(t, baseline[:, t])
        stepper.update(t, np.where(trials.observed[:, t], trials.counts[:, t], 0))
    # The same sums in float32, the traces of both in float64.
    np.testing.assert_allclose(found, fitted.extend(trials, baseline), rtol=0, atol=1e-5)


def test_a_whole_stack_runs_freely():
    trials = _trials(_bursty(12, 150, seed=2))
    fitted = Network(cell="dale", **QUICK).fit(trials)
    copies = simulate_copies(fitted, trials, n_copies=2, seed=1)
    assert copies.counts.shape == (2, 12, 150)
    log_mu = fitted.log_mu(trials._replace(counts=copies.counts[1]))
    expected = trial_log_likelihood(trials._replace(counts=copies.counts[1]), log_mu)
    # Single precision states.
    np.testing.assert_allclose(copies.log_likelihood[1], expected, rtol=1e-4)


def test_states_travel_from_piece_to_piece_until_they_are_those_of_the_whole_trial(bursts):
    """With steps of length zero, the states before the pieces become those of a sweep over the whole trial."""
    trials, baseline, fitted = bursts
    pieces = fitted.spec.pieces(trials, baseline, fitted.scale, np.random.default_rng(1))
    n_tiles, n_steps = pieces.inputs.shape[:2]
    network = fitted.network(n_steps=n_steps)
    learning = PieceLearning(network, pieces, pieces.inputs[:1], 1, is_bernoulli=False)
    for _ in range(4):
        learning.epoch(np.arange(n_tiles), np.zeros(n_tiles))
    whole = fitted.spec.whole_trials(trials, baseline, fitted.scale)
    packed = network.pack()
    first = np.flatnonzero(pieces.is_first.ravel())[0]
    tile, lane = divmod(int(pieces.following.ravel()[first]), N_LANES)
    for k in range(20):
        k_tile, k_lane = divmod(k, N_LANES)
        begins = pieces.inputs[first // N_LANES, :, :, first % N_LANES]
        if np.array_equal(whole[k_tile, :n_steps, :, k_lane], begins):
            network.lay_start(packed)
            network.forward(packed, whole[k_tile, :n_steps])
            for before, state in zip(learning._before, network.states(n_steps), strict=True):
                np.testing.assert_array_equal(before[tile, :, lane], state.reshape(-1, N_LANES)[:, k_lane])
            return
    pytest.fail("no trial begins as the piece does")


def test_training_starts_at_the_baseline(bursts):
    trials, baseline, fitted = bursts
    start = LogRateNetwork(make_model(fitted.spec, fitted.scale.mean.size, 1e-3), n_steps=1)
    np.testing.assert_array_equal(replace(fitted, weights=start.weights).extend(trials, baseline), baseline)


def test_the_baseline_is_kept_where_every_epoch_is_worse(bursts):
    counts = np.zeros((10, 100))
    counts[8:, ::5] = 1
    trials, baseline = _trials(counts), np.full(counts.shape, np.log(0.1))
    is_validation = np.arange(10) >= 8
    # Silent training trials teach a lower rate, which the busy validation trials refuse.
    spec = replace(bursts[2].spec, uses_own_spikes=False)
    trained = spec.train(trials, baseline, is_validation)
    assert (trained.validation_gain < 0).all()
    np.testing.assert_array_equal(spec.as_fitted(trained, None, 1e-3).extend(trials, baseline), baseline)
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


def test_training_without_any_finite_gradient_stops_with_the_epoch(bursts):
    baseline = np.zeros((6, 40))
    baseline[0, 5] = np.nan
    trials = _trials(np.ones((6, 40)))
    with pytest.raises(NumericalError, match="no gradient of epoch 1 is finite; expected most of 1"):
        bursts[2].spec.train(trials, baseline, np.arange(6) == 5)


def test_a_silent_unit_and_a_very_short_trial_can_be_fitted(bursts):
    for counts in (np.zeros((6, 40)), np.eye(6, 3)):
        baseline = np.full(counts.shape, np.log(0.01))
        fitted = bursts[2].spec.fit_on(_trials(counts), None, baseline)
        assert np.isfinite(fitted.extend(_trials(counts), baseline)).all()


def test_kernels_have_one_specialisation_a_precision(bursts):
    trials, baseline, _ = bursts
    for spec in (replace(bursts[2].spec, n_hidden=5, likelihood="bernoulli"), replace(bursts[2].spec, trace_s=())):
        spec.fit_on(trials, None, baseline)
    for kernel in (bound_output, add_skip, fill_slope):
        # The gradient's test runs in float64.
        assert len(kernel.signatures) == len({signature[0].dtype for signature in kernel.signatures})


def test_names_say_which_cell_and_whether_it_is_the_control():
    names = {cell: Network(cell=cell).name for cell in CELLS}
    assert names == {"vanilla": "M6 vanilla", "lstm": "M6 LSTM", "gru": "M6 GRU", "dale": "M6 Dale", "ode": "M6 ODE"}
    cut = Network(cell="dale", uses_own_spikes=False)
    assert (cut.name, cut.sees_history, Network().sees_history) == ("M6 Dale cut", False, True)


def test_bernoulli_refuses_two_spikes_in_a_bin():
    counts = np.zeros((6, 40))
    counts[2, 3] = 2
    with pytest.raises(DataError, match="1 bins hold more than one spike"):
        Network(likelihood="bernoulli").fit_on(_trials(counts), None, np.zeros(counts.shape))


def test_one_training_trial_is_refused():
    with pytest.raises(DataError, match="1 training trial cannot be divided"):
        Network().fit_on(_trials(np.zeros((1, 40))), None, np.zeros((1, 40)))


@pytest.mark.parametrize(("rates", "told"), [((0.0, 1.0), "baseline_hz=0.0"), ((1.0, -1.0), "rate_hz=-1.0")])
def test_rates_that_cannot_be_are_refused(dale, rates, told):
    with pytest.raises(OptionError, match=told):
        dale[2].system(baseline_hz=rates[0], rate_hz=rates[1])


@pytest.mark.parametrize(
    "wrong",
    [
        {"cell": "rate"},
        {"n_hidden": 0},
        {"n_hidden": 1, "cell": "dale"},
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
        Network(**wrong)


def _held_out(trials, specs, n_folds=3):
    """Held-out log-likelihood of every rung and trial, all on the same baseline fits; None is M3 itself."""
    fold = assign_folds(trials.condition, n_folds)
    scores = np.zeros((len(specs), trials.n_trials))
    for k in range(n_folds):
        train, test = trials.take(fold != k), trials.take(fold == k)
        below = CausalGain().fit(train)
        on_train, on_test = below.on_training(train, below.below.log_mu(train)), below.log_mu(test)
        for j, spec in enumerate(specs):
            log_mu = on_test if spec is None else spec.fit_on(train, below, on_train).extend(test, on_test)
            scores[j, fold == k] = trial_log_likelihood(test, log_mu)
    return scores


@pytest.mark.slow
@pytest.mark.parametrize("cell", CELLS)
def test_history_that_is_no_sum_of_effects_is_won_over_the_cut_twin(cell):
    """Bursts that only follow silence, held out; the lower bound of the gain over the control is above zero."""
    trials = _trials(_bursty(30, 1500, seed=7), n_burn_in=500)
    network, cut = _held_out(trials, [Network(cell=cell), Network(cell=cell, uses_own_spikes=False)])
    gain = gain_interval(network, cut, trials.spikes_per_trial, 3)
    assert gain.value > 0.5
    assert gain.low > 0.0


@pytest.mark.slow
@pytest.mark.parametrize("cell", CELLS)
def test_without_history_neither_network_gains_or_loses(cell):
    rng = np.random.default_rng(8)
    rate = 0.02 * (1.0 + np.exp(-0.5 * ((np.arange(1500) - 900) / 60.0) ** 2))
    trials = _trials(rng.random((60, 1500)) < rate, n_burn_in=500)
    m3, network, cut = _held_out(trials, [None, Network(cell=cell), Network(cell=cell, uses_own_spikes=False)])
    for scores in (network, cut):
        # The standard error of a gain of nothing with 1300 spikes is a few thousandths.
        assert abs(gain_interval(scores, m3, trials.spikes_per_trial, 3).value) < 0.02
