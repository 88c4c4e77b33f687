"""Remedies for run-away generation. Oracles: hand-made runaways, bounds by hand, NumPy's singular values."""

from __future__ import annotations

import math
from dataclasses import replace
from importlib import resources

import numpy as np
import pytest

from cortexrnn.encoding import Constant, HistoryGLM, unit_trials
from cortexrnn.encoding.arrays import Neighbours
from cortexrnn.encoding.coupled_glm import CoupledHistoryGLM, FittedCoupledGLM
from cortexrnn.encoding.divergence import find_divergent
from cortexrnn.encoding.glm import BoundedHistoryGLM, FittedHistoryGLM
from cortexrnn.encoding.likelihood import POISSON, trial_log_likelihood
from cortexrnn.encoding.network import BoundedNetwork, Network
from cortexrnn.encoding.network_cells import make_model
from cortexrnn.encoding.network_sweep import LogRateNetwork
from cortexrnn.encoding.remedies import N_LEVELS, bound_levels, mildest, runs_away
from cortexrnn.encoding.rnn import RNN, BoundedRNN, cap_gru, initial_weights
from cortexrnn.encoding.rnn_kernels import as_network
from cortexrnn.encoding.scheduled_sampling import Feed, n_ramp
from cortexrnn.encoding.simulation import simulate_copies
from cortexrnn.encoding.spectral_cap import cap_factors
from cortexrnn.encoding.stepping import ReplayStepper
from cortexrnn.errors import OptionError
from cortexrnn.spikes import read_recording
from cortexrnn.spikes.folds import validation_split

QUICK = {"max_epochs": 6, "piece_s": 0.05, "n_hidden": 4, "baseline": Constant()}
CELLS = {
    "fused": RNN(**QUICK),
    "vanilla": Network(cell="vanilla", **QUICK),
    "lstm": Network(cell="lstm", **QUICK),
    "dale": Network(cell="dale", **QUICK),
}

COUPLED = CoupledHistoryGLM(baseline=Constant(), coupling_s=0.01, coupling_ridges=(0.3,))


def rebounding(ceiling, base_hz=5.0):
    """A history GLM, refractory for 2 ms and then excited for 30 ms; without a ceiling it runs away."""
    lag = np.arange(1, 201)
    effect = 1.2 * np.exp(-(lag - 2) / 30.0) - 3.0 * np.exp(-(lag - 2) / 1.5)
    effect[0] = -1e3
    weights = np.r_[math.log(base_hz * 1e-3), effect]
    return FittedHistoryGLM(
        below=None, history_s=0.2, bin_s=1e-3, basis=np.eye(200), weights=weights, covariance=np.eye(201), ridge=0.0,
        mean=0.0, ceiling=ceiling, validation_log_likelihood=math.nan, is_converged=True,
    )  # fmt: skip


def draw(fitted, trials, seed):
    """Trials with spikes that a model drew."""
    copies = simulate_copies(fitted, trials, n_copies=1, likelihood="bernoulli", seed=seed)
    return trials._replace(counts=copies.counts[0])


@pytest.fixture(scope="module")
def empty(make_unit):
    """Sixty trials of 2 s without spikes."""
    return make_unit(np.zeros((60, 2000)), is_locked=False)


@pytest.fixture(scope="module")
def rebounds(empty):
    """Trials of a rebounding unit whose rate stops at 40 Hz."""
    return draw(rebounding(math.log(0.04)), empty, seed=3)


@pytest.fixture(scope="module")
def bursts(make_unit):
    """Thirty trials of 0.3 s with pairs of spikes 5 ms apart."""
    counts = (np.random.default_rng(5).random((30, 300)) < 0.02).astype(int)
    counts[:, 5:] |= counts[:, :-5]
    return make_unit(counts, n_burn_in=50)


@pytest.fixture(scope="module")
def poisson(make_unit):
    """Thirty trials of 0.3 s at 30 Hz without any history."""
    return make_unit(np.random.default_rng(6).random((30, 300)) < 0.03, n_burn_in=50)


@pytest.fixture(scope="module")
def unstable():
    """The bursting unit of the embedded recording, whose bursts a sum of after-effects does not end."""
    with resources.as_file(resources.files("cortexrnn.data") / "recording.nwb") as path:
        trials = read_recording(path).align("stimulus_on", window_s=(-0.2, 1.0), condition="condition", units=[2])
    unit = unit_trials(trials)
    return unit.take(np.arange(unit.n_trials) % 5 != 0)


def test_a_rung_without_a_ceiling_runs_away_and_the_unit_itself_does_not(rebounds):
    assert runs_away(rebounding(math.inf), rebounds, "bernoulli")
    assert not runs_away(rebounding(math.log(0.04)), rebounds, "bernoulli")


@pytest.mark.parametrize("ceiling", [math.inf, math.log(0.08), math.log(0.04)])
def test_what_counts_as_running_away_is_what_the_free_run_reports(rebounds, ceiling):
    """Oracle: `find_divergent` on the same copies, with the shortest interval of the trials by hand."""
    model = rebounding(ceiling)
    copies = simulate_copies(model, rebounds, n_copies=20, likelihood="bernoulli", seed=2017)
    shortest = min(int(np.diff(np.flatnonzero(row)).min(initial=2000)) for row in rebounds.counts)
    assert runs_away(model, rebounds, "bernoulli") == find_divergent(rebounds, copies, shortest)[0].any()


def test_trials_in_which_nothing_is_scored_let_nothing_run_away(empty):
    nothing = empty._replace(scored=np.zeros_like(empty.scored))
    assert not runs_away(rebounding(math.inf), nothing, "bernoulli")


def test_the_mildest_level_is_one_above_the_first_stable_one(rebounds):
    """Oracle: levels 0 to 10 without a ceiling, the others with a low one; twelve of 33 is what a list would give."""
    built = []

    def build(level):
        built.append(level)
        return replace(rebounding(math.inf if level <= 10 else math.log(0.02)), ridge=float(level))

    assert mildest(build, rebounds, "bernoulli").ridge == 12.0
    assert len(built) <= 2 + math.ceil(math.log2(N_LEVELS))


def test_a_stable_rung_gets_no_remedy(poisson):
    """The same bits as without: remedies are only as strong as the copies ask for."""
    plain = HistoryGLM(baseline=Constant(), history_s=0.05).fit(poisson)
    for remedy in ({"link": "bounded"}, {"is_stabilised": True}):
        fitted = HistoryGLM(baseline=Constant(), history_s=0.05, **remedy).fit(poisson)
        assert type(fitted) is FittedHistoryGLM
        np.testing.assert_array_equal(fitted.weights, plain.weights)
        assert fitted.ceiling == plain.ceiling


def test_bounds_go_from_none_over_the_largest_to_the_mean(make_unit):
    """Oracle: by hand; bins that are not scored do not matter."""
    trials = make_unit(np.zeros((1, 4)), n_burn_in=1)
    levels = bound_levels(trials, np.log([[9.0, 0.1, 0.2, 0.6]]))
    assert levels[0] == math.inf
    assert levels[-1] == pytest.approx(math.log(0.3), rel=1e-12)
    np.testing.assert_allclose(np.diff(levels[1:]), (math.log(0.3) - math.log(0.6)) / N_LEVELS, rtol=1e-9)


@pytest.fixture(scope="module")
def remedied(unstable):
    """A history GLM of the bursts without a remedy, with a bounded link, and stabilised."""
    spec = HistoryGLM(baseline=Constant())
    return [replace(spec, **changes).fit(unstable) for changes in ({}, {"link": "bounded"}, {"is_stabilised": True})]


def test_both_remedies_stop_a_glm_that_runs_away(remedied, unstable):
    plain, bounded, stabilised = (runs_away(fitted, unstable, "poisson") for fitted in remedied)
    assert plain
    assert not bounded
    assert not stabilised


def test_a_bounded_link_never_exceeds_its_bound_bin_by_bin_or_at_once(remedied, unstable):
    bounded = remedied[1]
    assert isinstance(bounded, BoundedHistoryGLM)
    log_mu = bounded.log_mu(unstable)
    assert log_mu[unstable.scored].max() == bounded.log_bound
    stepper, ground = bounded.stepper(unstable), bounded.below.log_mu(unstable)
    for t in range(unstable.counts.shape[1]):
        predicted, is_scored = stepper.predict(t, ground[:, t]), unstable.scored[:, t]
        # The two add the after-effects in another order: round-off.
        np.testing.assert_allclose(predicted[is_scored], log_mu[is_scored, t], rtol=1e-9, atol=1e-9)
        stepper.update(t, unstable.counts[:, t])


def test_weights_under_a_bound_are_a_summit_of_the_bounded_likelihood(remedied, unstable):
    """Oracle: likelihood minus ridge, a step along every weight either way; where bins cross the bound it has kinks."""
    bounded = remedied[1]

    def objective(weights):
        log_mu = replace(bounded, weights=weights, ceiling=math.inf).log_mu(unstable)
        precision = np.r_[1e-6, np.full(weights.size - 1, bounded.ridge)]
        return trial_log_likelihood(unstable, log_mu, POISSON).sum() - 0.5 * precision @ weights**2

    summit = objective(bounded.weights)
    for step in (-0.1, 0.1):
        for shift in step * np.eye(bounded.weights.size):
            # A hundredth of a nat for what the climb leaves.
            assert objective(bounded.weights + shift) < summit + 0.01
    plain = replace(bounded, weights=remedied[0].weights)
    assert objective(plain.weights) < summit - 1.0


def test_stabilising_makes_positive_after_effects_smaller(remedied):
    plain, stabilised = remedied[0].filter()[1], remedied[2].filter()[1]
    assert np.square(stabilised[plain > 0.0]).sum() < np.square(plain[plain > 0.0]).sum()


def test_the_validation_score_is_that_of_the_remedied_rung(remedied, unstable):
    """Oracle: the rung with the chosen bound, fitted without the validation trials and scored on them."""
    plain, bounded, stabilised = remedied
    assert stabilised.validation_log_likelihood < plain.validation_log_likelihood
    is_validation = validation_split(unstable.condition)
    held_out = unstable.take(is_validation)
    # The fit to all trials, which has seen them, is better on them by less than a tenth of a nat a weight and spike.
    seen = trial_log_likelihood(held_out, bounded.log_mu(held_out), POISSON).sum()
    assert seen - 40.0 < bounded.validation_log_likelihood < seen


@pytest.fixture(scope="module")
def beside(unstable):
    """The bursting unit beside two others, one of which drives half of its spikes 2 ms earlier."""
    rng = np.random.default_rng(7)
    others = rng.poisson(0.01, (*unstable.counts.shape, 2))
    others[:, :-2, 0] += unstable.counts[:, 2:] * (rng.random(unstable.counts[:, 2:].shape) < 0.5)
    counts = np.concatenate([unstable.counts[:, :, None], others], axis=2)
    return unstable._replace(neighbours=Neighbours(np.ascontiguousarray(counts, dtype=np.uint16), 0))


@pytest.fixture(scope="module")
def coupled(beside):
    """A coupled GLM of it without a remedy, with a bounded link, and stabilised."""
    return [replace(COUPLED, **changes).fit(beside) for changes in ({}, {"link": "bounded"}, {"is_stabilised": True})]


def test_both_remedies_stop_a_coupled_glm_that_runs_away(coupled, beside):
    plain, bounded, stabilised = (runs_away(fitted, beside, "poisson") for fitted in coupled)
    assert plain
    assert not bounded
    assert not stabilised
    assert type(coupled[0]) is FittedCoupledGLM
    assert isinstance(coupled[1].history, BoundedHistoryGLM)
    assert coupled[1].log_mu(beside)[beside.scored].max() == coupled[1].history.log_bound


def test_remedies_of_a_coupled_glm_leave_its_neighbours_filters_as_they_are(coupled):
    plain, bounded, stabilised = (fitted.filters() for fitted in coupled)
    assert plain.coupling[0, 1] > 1.0
    for remedied in (bounded, stabilised):
        np.testing.assert_array_equal(remedied.coupling, plain.coupling)
        np.testing.assert_array_equal(remedied.coupling_error, plain.coupling_error)
        assert not np.array_equal(remedied.own, plain.own)
    is_excited = plain.own > 0.0
    assert np.square(stabilised.own[is_excited]).sum() < 0.5 * np.square(plain.own[is_excited]).sum()
    np.testing.assert_array_equal(stabilised.own, coupled[2].weights.own[1:] @ coupled[2].regression.bases.own)


def test_the_own_filter_under_a_bound_is_a_summit_given_the_neighbours_filters(coupled, beside):
    """Oracle: as for the GLM alone, a step along every own weight either way."""
    bounded = coupled[1]

    def objective(weights):
        history = replace(bounded.history, weights=weights, ceiling=math.inf)
        log_mu = replace(bounded, history=history).log_mu(beside)
        precision = np.r_[1e-6, np.full(weights.size - 1, bounded.own_ridge)]
        return trial_log_likelihood(beside, log_mu, POISSON).sum() - 0.5 * precision @ weights**2

    summit = objective(bounded.weights.own)
    for step in (-0.1, 0.1):
        for shift in step * np.eye(bounded.weights.own.size):
            assert objective(bounded.weights.own + shift) < summit + 0.01
    assert objective(bounded.unremedied.weights.own) < summit - 1.0


def test_a_remedied_coupled_glm_steps_and_runs_freely_as_the_replayed_one(coupled, beside):
    """Oracle: predicting all bins anew in every bin."""
    few = beside.take(np.arange(2))
    for fitted in coupled[1:]:
        slow = type("Slow", (type(fitted),), {"stepper": lambda self, trials: ReplayStepper(self, trials)})
        replayed = slow(**{name: getattr(fitted, name) for name in type(fitted).__dataclass_fields__})
        ours, theirs = (simulate_copies(each, few, n_copies=1, seed=8).counts for each in (fitted, replayed))
        np.testing.assert_array_equal(ours, theirs)


def test_a_coupled_glm_that_is_stable_gets_no_remedy(poisson):
    """The same bits as without."""
    others = np.random.default_rng(8).poisson(0.02, (*poisson.counts.shape, 1))
    trials = poisson._replace(neighbours=Neighbours(others.astype(np.uint16), -1))
    plain, bounded = (replace(COUPLED, link=link).fit(trials) for link in ("log", "bounded"))
    assert type(bounded) is FittedCoupledGLM
    np.testing.assert_array_equal(bounded.log_mu(trials), plain.log_mu(trials))


@pytest.mark.parametrize("spec", CELLS.values(), ids=CELLS)
def test_a_bounded_network_stops_at_its_bound(spec, bursts):
    plain = spec.fit(bursts)
    trained = spec.train(bursts, plain.below.log_mu(bursts), np.arange(30) > 23)
    bound = math.log(0.04)
    bounded = spec.as_fitted(trained, plain.below, 1e-3, bound)
    unbounded = spec.as_fitted(trained, plain.below, 1e-3)
    assert isinstance(bounded, BoundedRNN | BoundedNetwork)
    np.testing.assert_array_equal(bounded.log_mu(bursts), np.minimum(unbounded.log_mu(bursts), bound))
    assert (unbounded.log_mu(bursts) > bound).any()
    # A copy in which every bin stays below the bound scores itself with finite numbers, and never above it.
    made = simulate_copies(bounded, bursts, n_copies=2, seed=1)
    own = bursts._replace(counts=made.counts[0])
    np.testing.assert_allclose(
        made.log_likelihood[0], trial_log_likelihood(own, bounded.log_mu(own), POISSON), rtol=1e-4
    )


def test_a_network_that_is_stable_gets_no_bound(bursts):
    spec = CELLS["fused"]
    plain, bounded = spec.fit(bursts), replace(spec, link="bounded").fit(bursts)
    assert type(bounded) is type(plain)
    np.testing.assert_array_equal(bounded.weights, plain.weights)


def test_the_cap_scales_only_gates_that_stretch_more():
    """Oracle: singular values by NumPy."""
    rng, n_units = np.random.default_rng(1), 5
    gates = rng.normal(size=(3, n_units, n_units))
    gates[0] *= 0.01
    gates[2, 0, 0] = np.nan
    factors = cap_factors(gates.reshape(-1, n_units), 0.7)[:, 0, 0]
    assert factors[0] == factors[2] == 1.0
    assert np.linalg.svd(factors[1] * gates[1], compute_uv=False)[0] == pytest.approx(0.7, rel=1e-12)


@pytest.mark.parametrize("spec", CELLS.values(), ids=CELLS)
def test_recurrent_weights_of_a_capped_network_keep_to_the_cap(spec, bursts):
    """Oracle: singular values by NumPy; the mean of weights within the cap is within it. Single precision."""
    cap = 0.2
    fitted = replace(spec, spectral_cap=cap).fit(bursts)
    plain = spec.fit(bursts)
    if isinstance(spec, RNN):
        matrices = [as_network(each.weights, each.scale.n_inputs, 4).gru[1] for each in (fitted, plain)]
    else:
        weights = [each.network(n_steps=1).model.core_weights() for each in (fitted, plain)]
        matrices = [each.recurrent if spec.cell == "dale" else each.hidden for each in weights]
    sizes = [np.linalg.svd(each.reshape(-1, 4, 4).astype(float), compute_uv=False).max() for each in matrices]
    assert sizes[0] <= cap * (1.0 + 1e-5)
    assert sizes[1] > 2.0 * cap


def test_a_cap_out_of_reach_changes_no_bit_of_a_network(bursts):
    """The steps of an epoch one by one are the steps at once."""
    for spec in CELLS.values():
        plain, capped = spec.fit(bursts), replace(spec, spectral_cap=1e3).fit(bursts)
        np.testing.assert_array_equal(capped.weights, plain.weights)
        np.testing.assert_array_equal(capped.validation_gain, plain.validation_gain)


def test_the_cap_of_a_flat_network_leaves_all_but_recurrent_weights():
    spec = RNN(n_hidden=4, spectral_cap=0.1)
    before = initial_weights(3, 4, np.random.default_rng(1))
    after = before.copy()
    cap_gru(after, 3, spec)
    is_recurrent = np.zeros(before.size, dtype=bool)
    as_network(is_recurrent, 3, 4).gru[1][:] = True
    np.testing.assert_array_equal(after[~is_recurrent], before[~is_recurrent])
    assert not np.array_equal(after[is_recurrent], before[is_recurrent])


def test_the_sign_of_every_weight_of_a_dale_network_survives_the_cap():
    spec = Network(cell="dale", n_hidden=10)
    network = LogRateNetwork(make_model(spec, 3, 1e-3), n_steps=1, spectral_cap=0.3)
    before = network.model.core_weights().recurrent.copy()
    network.project()
    after = network.model.core_weights().recurrent
    np.testing.assert_array_equal(np.sign(after), np.sign(before))
    np.testing.assert_allclose(after, before * (after[0, 0] / before[0, 0]), rtol=1e-5)


def feed_of(spec, trials):
    """The feed of a network over a constant rate, and weights that add nothing to that."""
    base = np.full(trials.counts.shape, math.log(0.1))
    scale = spec.measure(trials, base)
    return Feed(spec, trials, base, scale), np.zeros_like(initial_weights(scale.n_inputs, 4, np.random.default_rng(0)))


def test_the_share_of_own_spikes_rises_over_the_first_third(bursts):
    """Oracle: with a rate of 100 Hz instead of some 40, the bins that were drawn are those that differ in mean."""
    spec = replace(CELLS["fused"], own_spikes=1.0, max_epochs=9)
    feed, weights = feed_of(spec, bursts)
    assert n_ramp(spec) == 3
    recorded = bursts.counts[bursts.scored].mean()
    means = [feed.hear(weights, epoch)[bursts.scored].mean() for epoch in (0, 1, 2, 3, 8)]
    shares = np.array([0.0, 1.0 / 3.0, 2.0 / 3.0, 1.0, 1.0])
    # 7500 bins: four errors of a mean of 0.1 are 0.015.
    np.testing.assert_allclose(means, recorded + shares * (0.1 - recorded), atol=0.015)
    assert means[0] == recorded


def test_what_is_heard_is_keyed_by_seed_and_epoch_and_leaves_the_burn_in(bursts):
    spec = replace(CELLS["fused"], own_spikes=0.5)
    feed, weights = feed_of(spec, bursts)
    heard = feed.hear(weights, 4)
    np.testing.assert_array_equal(heard, feed_of(spec, bursts)[0].hear(weights, 4))
    np.testing.assert_array_equal(heard[:, :50], bursts.counts[:, :50])
    assert not np.array_equal(heard, feed.hear(weights, 5))
    assert not np.array_equal(heard, feed_of(replace(spec, seed=1), bursts)[0].hear(weights, 4))


def test_without_own_spikes_the_feed_gives_the_recorded_inputs(bursts):
    """In epoch 0 the share is 0: the pieces are laid out as they were."""
    spec = replace(CELLS["fused"], own_spikes=1.0)
    feed, weights = feed_of(spec, bursts)
    base = np.full(bursts.counts.shape, math.log(0.1))
    pieces = spec.pieces(bursts, base, spec.measure(bursts, base), spec.training_stream())
    np.testing.assert_array_equal(feed.inputs(weights, 0), pieces.inputs)


@pytest.mark.parametrize("spec", CELLS.values(), ids=CELLS)
def test_a_network_that_hears_itself_only_predicts_recorded_spikes_worse(spec, bursts):
    """A pair of spikes is what it could have learned; the first epochs are not kept."""
    spec = replace(spec, max_epochs=12, patience=12)
    plain, own = spec.fit(bursts), replace(spec, own_spikes=1.0).fit(bursts)
    assert plain.validation_log_likelihood > own.validation_log_likelihood
    assert plain.validation_gain[0] == own.validation_gain[0]
    kept = own.validation_gain[n_ramp(own.spec) :].max()
    assert own.validation_log_likelihood - max(kept, 0.0) == pytest.approx(
        plain.validation_log_likelihood - max(plain.validation_gain.max(), 0.0), rel=1e-9
    )


def test_the_cut_network_is_trained_as_without_but_for_the_epochs_passed_over(bursts):
    spec = replace(CELLS["fused"], uses_own_spikes=False)
    plain, own = spec.fit(bursts), replace(spec, own_spikes=0.5).fit(bursts)
    np.testing.assert_array_equal(own.validation_gain, plain.validation_gain[: own.validation_gain.size])


@pytest.mark.parametrize(
    ("wrong", "match"),
    [
        ({"own_spikes": -0.1}, "own_spikes=-0.1 is not valid; expected a share"),
        ({"own_spikes": math.nan}, "own_spikes=nan is not valid"),
        ({"spectral_cap": 0.0}, "spectral_cap"),
        ({"link": "probit"}, "link"),
    ],
)
def test_remedies_that_make_no_sense_are_refused(wrong, match):
    with pytest.raises(OptionError, match=match):
        RNN(**wrong)


@pytest.mark.parametrize("rung", [HistoryGLM, CoupledHistoryGLM])
def test_a_link_that_is_unknown_is_refused_by_the_glm(rung):
    with pytest.raises(OptionError, match="link"):
        rung(link="identity")
