"""M5 with coupling. Oracles: the design matrix written out, statsmodels, CoupledGLM, planted filters, slow replay."""

from __future__ import annotations

import runpy
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from cortexrnn.encoding import coupling_kernels
from cortexrnn.encoding.arrays import Neighbours, UnitTrials
from cortexrnn.encoding.basis import coupling_basis
from cortexrnn.encoding.constant import Constant, mean_count
from cortexrnn.encoding.coupled_glm import CoupledHistoryGLM
from cortexrnn.encoding.coupling import CoupledGLM, Population
from cortexrnn.encoding.glm import HistoryGLM
from cortexrnn.encoding.likelihood import trial_log_likelihood
from cortexrnn.encoding.simulation import simulate_copies
from cortexrnn.encoding.stepping import ReplayStepper
from cortexrnn.errors import DataError, OptionError
from cortexrnn.evaluation.scores import gain_interval
from cortexrnn.spikes.folds import assign_folds

TWIN = runpy.run_path(str(Path(__file__).parents[1] / "reference" / "ladder_twins.py"))
GLM = CoupledHistoryGLM(baseline=Constant(), history_s=0.02, coupling_s=0.01, tolerance_nats=1e-13)
EFFECT = 0.6 * np.exp(-np.arange(20) / 6.0)


def driven(counts, weights, *, rate, seed, effect=EFFECT):
    """Give the counts and log mu of a unit that follows its neighbours' counts by weights times `effect`."""
    log_mu = np.full(counts.shape[:2], np.log(rate))
    for lag, value in enumerate(effect, start=1):
        log_mu[:, lag:] += value * (counts[:, :-lag] @ weights)
    return np.random.default_rng(seed).poisson(np.exp(log_mu)), log_mu


def as_unit(own, others, *, observed=None, n_burn_in=0):
    """Trials of a unit that stands first among its neighbours."""
    observed = np.ones(own.shape, bool) if observed is None else observed
    scored = observed.copy()
    scored[:, :n_burn_in] = False
    own = np.where(observed, own, 0).astype(np.uint16)
    counts = np.concatenate([own[:, :, None], others], axis=2).astype(np.uint16)
    n = len(own)
    start_s = 2.0 * np.arange(n)
    return UnitTrials(
        own, observed, scored, np.zeros(n, np.int64), start_s, 1e-3, True, neighbours=Neighbours(counts, 0)
    )


@pytest.fixture(scope="module")
def unit():
    """Thirty trials with gaps and little burn-in, two neighbours of which the faster one drives the unit."""
    rng = np.random.default_rng(1)
    others = rng.poisson([0.05, 0.02], (30, 200, 2))
    own, _ = driven(others, np.array([1.0, 0.0]), rate=0.05, seed=2)
    observed = np.repeat(rng.random((30, 20)) < 0.9, 10, axis=1)
    return as_unit(own, others, observed=observed, n_burn_in=5)


def explicit_design(unit, spec):
    """Give the scored bins' features: intercept, neighbour after neighbour, own; bins before a trial hold the mean."""
    fitted_own = HistoryGLM(baseline=Constant(), history_s=spec.history_s, ridges=(1.0,)).fit(unit).basis
    basis = coupling_basis(spec.coupling_s, 1e-3)
    n_lags = basis.shape[1]
    columns = [np.ones(unit.counts.shape)[None]]
    for j in unit.neighbours.positions:
        counts = unit.neighbours.counts[:, :, j].astype(float)
        mean = (counts.sum() + 0.5) / counts.size
        padded = np.concatenate([np.full((len(counts), n_lags), mean), counts], axis=1)
        lagged = np.array([padded[:, n_lags - lag : -lag] for lag in range(1, n_lags + 1)])
        columns.append(np.einsum("kl,lit->kit", basis, lagged))
    own = TWIN["history_features"](unit.counts, unit.observed, fitted_own, mean_count(unit))[1:]
    return np.concatenate([*columns, own])[:, unit.scored].T


def stacked(fitted):
    """Give all weights in the order of the explicit design."""
    own, coupling = fitted.weights
    return np.concatenate([own[:1], coupling.ravel(), own[1:]])


@pytest.mark.parametrize("likelihood", ["poisson", "bernoulli"])
def test_without_ridges_weights_and_errors_are_those_of_statsmodels(likelihood, unit):
    import statsmodels.api as sm

    unit = unit._replace(counts=np.minimum(unit.counts, 1))
    spec = replace(GLM, ridges=(1e-9,), coupling_ridges=(1e-9,), likelihood=likelihood)
    fitted = spec.fit(unit)
    family = sm.families.Poisson() if likelihood == "poisson" else sm.families.Binomial(sm.families.links.CLogLog())
    x, y = explicit_design(unit, spec), unit.counts[unit.scored]
    found = sm.GLM(y, x, family=family, offset=np.full(y.size, np.log(fitted.below.mu))).fit(tol=1e-14)
    # The climb stops at 1e-13 nats, a weight then is known to some 1e-6 of its standard error of up to 2.
    np.testing.assert_allclose(stacked(fitted), found.params, atol=1e-5)
    filters = fitted.filters()
    basis = coupling_basis(spec.coupling_s, 1e-3)
    k = len(basis)
    # statsmodels takes the expected information, which for the log link is the observed one.
    if likelihood == "poisson":
        covariance = found.cov_params()[1 + k : 1 + 2 * k, 1 + k : 1 + 2 * k]
        np.testing.assert_allclose(filters.coupling_error[1] ** 2, np.diag(basis.T @ covariance @ basis), rtol=1e-5)
        own = found.cov_params()[1 + 2 * k :, 1 + 2 * k :]
        own_basis = fitted.regression.bases.own
        np.testing.assert_allclose(filters.own_error**2, np.diag(own_basis.T @ own @ own_basis), rtol=1e-5)


@pytest.mark.parametrize("likelihood", ["poisson", "bernoulli"])
def test_with_ridges_weights_solve_the_score_equation_of_the_written_out_design(likelihood, unit):
    unit = unit._replace(counts=np.minimum(unit.counts, 1))
    spec = replace(GLM, ridges=(4.0,), coupling_ridges=(0.5,), likelihood=likelihood)
    fitted = spec.fit(unit)
    x, y, weights = explicit_design(unit, spec), unit.counts[unit.scored], stacked(fitted)
    mu = np.exp(x @ weights + np.log(fitted.below.mu))
    slope = y - mu if likelihood == "poisson" else np.where(y > 0, mu / np.expm1(mu), -mu)
    k = fitted.weights.coupling.shape[1]
    precision = np.concatenate([[1e-6], np.repeat(fitted.prior.coupling, k), np.full(fitted.weights.own.size - 1, 4.0)])
    # 1e-13 nats at a curvature of some hundred spikes: the slope is known to sqrt(2e-13 * 500).
    np.testing.assert_allclose(x.T @ slope, precision * weights, atol=3e-5)
    log_mu = np.log(fitted.below.mu) + x @ weights
    capped = fitted.log_mu(unit)[unit.scored]
    # On the training trials themselves nothing is above the largest effect met there.
    np.testing.assert_allclose(capped, log_mu, atol=1e-10)


def test_the_same_ridge_gives_the_weights_of_the_regression_of_all_units():
    rng = np.random.default_rng(3)
    others = rng.poisson(0.04, (20, 300, 1))
    own, _ = driven(others, np.array([1.0]), rate=0.05, seed=4)
    unit = as_unit(own, others, n_burn_in=30)
    spec = replace(GLM, ridges=(2.0,), coupling_ridges=(0.1,))
    information = spec.fit(unit).prior.coupling[0] / 0.1
    fitted = replace(spec, coupling_ridges=(2.0 / information,)).fit(unit)
    assert fitted.prior.coupling == pytest.approx([2.0], rel=1e-12)
    log_mu = np.full((20, 300, 2), np.log(fitted.below.mu))
    population = Population(unit.neighbours.counts, unit.scored, log_mu, 1e-3)
    whole = CoupledGLM(history_s=0.02, coupling_s=0.01, ridge=2.0, tolerance_nats=1e-14).fit(population)
    # Both stop within 1e-13 nats.
    np.testing.assert_allclose(fitted.weights.coupling[0], whole.coupling[0, 1], atol=1e-5)
    np.testing.assert_allclose(fitted.weights.own[1:], whole.own[0], atol=1e-5)
    assert fitted.weights.own[0] == pytest.approx(whole.intercept[0], abs=1e-5)
    covariance = whole.covariance(0)
    basis = whole.problem.basis
    error = np.sqrt(np.diag(basis.T @ covariance[1 : 1 + len(basis), 1 : 1 + len(basis)] @ basis))
    np.testing.assert_allclose(fitted.filters().coupling_error[0], error, rtol=1e-5)


def test_a_ridge_of_one_halves_the_weights_of_fast_and_slow_neighbours():
    """One bin of lag and weak effects: the log-likelihood is a parabola, and ridges divide its weights by 1 + ridge."""
    rng = np.random.default_rng(5)
    others = rng.poisson([0.2, 0.01], (200, 1000, 2))
    own, _ = driven(others, np.array([0.3, 0.3]), rate=0.1, seed=6, effect=np.ones(1))
    unit = as_unit(own, others)
    spec = replace(GLM, history_s=0.001, coupling_s=0.001, ridges=(1.0,))
    free, halved = (replace(spec, coupling_ridges=(ridge,)).fit(unit) for ridge in (1e-9, 1.0))
    np.testing.assert_allclose(free.weights.coupling[:, 0], 0.3, atol=0.1)
    # The unit's bins behind its neighbours' spikes hold a third more spikes than the information counts with.
    np.testing.assert_allclose(halved.weights.coupling / free.weights.coupling, 0.5, atol=0.08)


def test_a_planted_filter_lies_within_its_band_and_others_are_nothing():
    rng = np.random.default_rng(7)
    others = rng.poisson(0.02, (150, 600, 5))
    weights = np.array([1.0, 0.0, -1.0, 0.0, 0.0])
    own, _ = driven(others, weights, rate=0.03, seed=8)
    spec = CoupledHistoryGLM(baseline=Constant(), history_s=0.05, coupling_s=0.02, coupling_ridges=(0.01,))
    filters = spec.fit(as_unit(own, others, n_burn_in=50)).filters()
    np.testing.assert_allclose(filters.lag_s, 1e-3 * np.arange(1, 21), rtol=1e-12)
    # 100 correlated values; the basis is not the planted exponential to the last bin.
    assert np.abs((filters.coupling - weights[:, None] * EFFECT) / filters.coupling_error).max() < 4.0
    # Bits of its own history there are none.
    assert np.abs(filters.own / filters.own_error).max() < 4.0
    assert filters.coupling_error.max() < 0.25


def held_out(unit, rungs, n_folds=5):
    """Give the held-out log-likelihood of every trial under every rung."""
    fold = assign_folds(unit.condition, n_folds)
    scores = np.zeros((len(rungs), unit.n_trials))
    for k in range(n_folds):
        train, test = unit.take(fold != k), unit.take(fold == k)
        for row, rung in zip(scores, rungs, strict=True):
            row[fold == k] = trial_log_likelihood(test, rung.fit(train).log_mu(test))
    return scores


def test_the_step_over_m5_is_that_of_the_planted_model():
    """Oracle: the held-out gain of the filters that made the spikes over M5, which knows no neighbours."""
    rng = np.random.default_rng(9)
    others = rng.poisson(0.02, (100, 600, 6))
    own, truth = driven(others, np.array([1.0, -1.0, 1.0, 0.0, 0.0, 0.0]), rate=0.03, seed=10)
    unit = as_unit(own, others, n_burn_in=50)
    alone = HistoryGLM(baseline=Constant(), history_s=0.05)
    coupled = CoupledHistoryGLM(baseline=Constant(), history_s=0.05, coupling_s=0.02)
    m5, m5_coupled = held_out(unit, [alone, coupled])
    known = trial_log_likelihood(unit, truth)
    gain = gain_interval(m5_coupled, m5, unit.spikes_per_trial, 5)
    possible = gain_interval(known, m5, unit.spikes_per_trial, 5)
    assert gain.low > 0.0
    assert gain.low < possible.value < gain.high
    # The fit pays for its weights, and cannot be better than the truth by more than chance.
    assert 0.6 * possible.value < gain.value < possible.value + 0.01


@pytest.mark.slow
def test_independent_neighbours_cost_next_to_nothing():
    """Twelve populations of nine units, 1350 spikes each: .006 bits/spike at most, some 8 bits in the whole recording.

    M5 itself pays .0036 over a constant rate at 540 spikes; the cost falls as one over the number of spikes.
    """
    gains = []
    for seed in range(12):
        counts = np.random.default_rng(100 + seed).poisson(0.03, (100, 500, 9))
        unit = as_unit(counts[:, :, 0], counts[:, :, 1:], n_burn_in=50)
        alone = HistoryGLM(baseline=Constant(), history_s=0.05)
        coupled = CoupledHistoryGLM(baseline=Constant(), history_s=0.05)
        m5, m5_coupled = held_out(unit, [alone, coupled], n_folds=4)
        gains.append(gain_interval(m5_coupled, m5, unit.spikes_per_trial, 4).value)
    assert -0.006 < np.mean(gains) < 2.0 * np.std(gains) / np.sqrt(12)


def test_steps_say_of_given_spikes_what_log_mu_says(unit):
    fitted = replace(GLM, tolerance_nats=1e-6).fit(unit)
    below, stepper = fitted.below.log_mu(unit), fitted.stepper(unit)
    found = np.empty(unit.counts.shape)
    for t in range(found.shape[1]):
        found[:, t] = stepper.predict(t, np.ascontiguousarray(below[:, t]))
        stepper.update(t, unit.counts[:, t])
    # The same sums in another order.
    np.testing.assert_allclose(found[unit.scored], fitted.log_mu(unit)[unit.scored], atol=1e-11)


def test_free_running_is_that_of_the_replayed_rung(unit):
    """Oracle: predicting all bins anew in every bin. Neighbours keep their spikes, the unit makes its own."""
    fitted = replace(GLM, tolerance_nats=1e-6).fit(unit)
    few = unit.take(np.arange(3))
    counts = simulate_copies(fitted, few, n_copies=2, seed=11).counts
    slow = type("Slow", (type(fitted),), {"stepper": lambda self, trials: ReplayStepper(self, trials)})
    replayed = slow(**{name: getattr(fitted, name) for name in type(fitted).__dataclass_fields__})
    np.testing.assert_array_equal(simulate_copies(replayed, few, n_copies=2, seed=11).counts, counts)
    assert counts.sum() > 0


@pytest.mark.parametrize("source", ["own", "neighbour"])
def test_a_spike_changes_no_bit_up_to_its_own_bin_and_the_next_one_after(source, unit):
    fitted = replace(GLM, tolerance_nats=1e-6).fit(unit)
    before = fitted.log_mu(unit)
    if source == "own":
        counts = unit.counts.copy()
        counts[4, 77] += 1
        after = fitted.log_mu(unit._replace(counts=counts))
    else:
        counts = unit.neighbours.counts.copy()
        counts[4, 77, 1] += 1
        after = fitted.log_mu(unit._replace(neighbours=Neighbours(counts, 0)))
    np.testing.assert_array_equal(after[4, :78], before[4, :78])
    assert after[4, 78] != before[4, 78]
    elsewhere = np.arange(30) != 4
    np.testing.assert_array_equal(after[elsewhere], before[elsewhere])


def test_the_unit_itself_is_no_neighbour(unit):
    """Oracle: the same neighbours without a column of the unit's own."""
    spec = replace(GLM, tolerance_nats=1e-6)
    expected = spec.fit(unit).log_mu(unit)
    nonsense = unit.neighbours.counts.copy()
    nonsense[:, :, 0] = 7
    bare = np.ascontiguousarray(nonsense[:, :, 1:])
    for neighbours in (Neighbours(nonsense, 0), Neighbours(bare, -1)):
        other = unit._replace(neighbours=neighbours)
        np.testing.assert_array_equal(spec.fit(other).log_mu(other), expected)


def test_a_neighbour_that_was_silent_in_training_says_nothing_later(unit):
    counts = unit.neighbours.counts.copy()
    counts[:, :, 2] = 0
    fitted = GLM.fit(unit._replace(neighbours=Neighbours(counts, 0)))
    # Only the mean that stands in before a trial holds anything of it, half a spike in 6000 bins.
    assert np.abs(fitted.weights.coupling[1]).max() < 0.01


def test_coupling_stops_at_the_largest_effect_met_in_training(unit):
    fitted = replace(GLM, tolerance_nats=1e-6, coupling_ridges=(0.1,)).fit(unit)
    storm = unit._replace(neighbours=Neighbours(np.full_like(unit.neighbours.counts, 50), 0))
    assert fitted.filters().coupling[0].max() > 0.2
    assert fitted.coupling_effect(storm).max() == fitted.coupling_ceiling
    assert fitted.coupling_effect(unit)[unit.scored].max() == fitted.coupling_ceiling


def test_a_silent_unit_can_be_fitted(unit):
    silent = unit._replace(counts=np.zeros_like(unit.counts))
    assert np.isfinite(replace(GLM, tolerance_nats=1e-6).fit(silent).log_mu(silent)).all()


def test_what_cannot_be_fitted_or_predicted_is_refused(unit):
    alone = unit._replace(neighbours=Neighbours(np.ascontiguousarray(unit.neighbours.counts[:, :, :1]), 0))
    for trials in (unit._replace(neighbours=None), alone):
        with pytest.raises(DataError, match="no spikes of other units"):
            GLM.fit(trials)
    fitted = replace(GLM, tolerance_nats=1e-6).fit(unit)
    fewer = unit._replace(neighbours=Neighbours(np.ascontiguousarray(unit.neighbours.counts[:, :, :2]), 0))
    with pytest.raises(DataError, match=r"neighbours at \[1\]; expected those of the training at \[1, 2\]"):
        fitted.log_mu(fewer)
    for wrong in ({"coupling_s": 0.0}, {"coupling_ridges": (1.0, -1.0)}, {"tolerance_nats": 0.0}):
        with pytest.raises(OptionError, match=next(iter(wrong))):
            CoupledHistoryGLM(**wrong)
    with pytest.raises(DataError, match="hold more than one spike"):
        replace(GLM, likelihood="bernoulli").fit(unit._replace(counts=np.where(unit.observed, 2, 0).astype(np.uint16)))


def test_the_rung_is_compared_and_never_chosen():
    assert (GLM.name, GLM.sees_history, GLM.is_candidate, GLM.needs_neighbours) == ("M5 coupled", True, False, True)
    assert not HistoryGLM.needs_neighbours


def test_kernels_have_one_specialisation(unit):
    for likelihood in ("poisson", "bernoulli"):
        one = unit._replace(counts=np.minimum(unit.counts, 1))
        replace(GLM, likelihood=likelihood, tolerance_nats=1e-6).fit(one).filters()
    for name in ("add_effects", "gather", "lay_features", "unit_terms"):
        assert len(getattr(coupling_kernels, name).signatures) == 1
