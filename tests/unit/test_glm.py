"""M5, the history GLM. Oracles: fit_poisson on an explicit design, known filters, the ridge's equation."""

from __future__ import annotations

import runpy
from dataclasses import dataclass, replace
from pathlib import Path
from typing import ClassVar

import numpy as np
import pytest

from cortexrnn.encoding.basis import history_basis
from cortexrnn.encoding.constant import Constant, mean_count
from cortexrnn.encoding.glm import HistoryGLM
from cortexrnn.encoding.likelihood import BERNOULLI, POISSON, trial_log_likelihood
from cortexrnn.encoding.model import Fitted, Rung
from cortexrnn.encoding.poisson import fit_poisson
from cortexrnn.errors import DataError, NumericalWarning, OptionError
from cortexrnn.spikes.folds import validation_split
from cortexrnn.spikes.generate import expected_counts, simulate_spikes

TWIN = runpy.run_path(str(Path(__file__).parents[1] / "reference" / "ladder_twins.py"))
GLM = HistoryGLM(baseline=Constant(), history_s=0.02, tolerance_nats=1e-12)


@dataclass(frozen=True, kw_only=True, slots=True)
class Shape(Rung):
    """A log rate that rises over the trial, whatever the spikes."""

    name: ClassVar[str] = "shape"
    meaning: ClassVar[str] = "known shape"
    baseline: Rung | None = None

    def fit_on(self, trials, below, log_mu):
        return FittedShape(below=None)


@dataclass(frozen=True, kw_only=True, slots=True)
class FittedShape(Fitted):
    """The rising log rate."""

    below: Fitted | None

    def extend(self, trials, log_mu):
        return np.tile(np.linspace(-4.0, -2.0, trials.counts.shape[1]), (trials.n_trials, 1))


@pytest.fixture
def unit(make_unit):
    """Thirty trials with gaps, burn-in, a history that suppresses and rebounds, now and then two spikes."""
    rate_hz = np.full((30, 150), 60.0)
    history = np.r_[np.full(3, -2.0), np.full(4, 0.4)]
    counts = simulate_spikes(rate_hz, 0.001, history=history, seed=1)
    observed = np.repeat(np.random.default_rng(1).random((30, 15)) < 0.9, 10, axis=1)
    return make_unit(counts, observed=observed, n_burn_in=20)


def explicit_design(unit, basis):
    """Give the design matrix of the scored bins with the twin's features."""
    features = TWIN["history_features"](unit.counts, unit.observed, basis, mean_count(unit))
    return features[:, unit.scored].T


def test_weights_are_those_of_a_regression_on_the_explicit_design(unit):
    """Oracle: fit_poisson; a ridge of 1e-12 is none."""
    fitted = replace(GLM, baseline=Shape(), ridges=(1e-12,)).fit(unit)
    offset = fitted.below.log_mu(unit)[unit.scored]
    regression = fit_poisson(explicit_design(unit, fitted.basis), unit.counts[unit.scored], offset=offset)
    # Both stop within 1e-10 nats; a weight known to 0.1 is then found to 0.1 sqrt(2e-10), the intercept's
    # prior of 1e-6 adds 1e-8.
    np.testing.assert_allclose(fitted.weights, regression.coefficients, atol=1e-5)
    errors = np.sqrt(np.diag(fitted.covariance))
    np.testing.assert_allclose(errors, regression.standard_errors, rtol=1e-4)


@pytest.mark.parametrize("likelihood", ["poisson", "bernoulli"])
def test_ridge_weights_solve_the_score_equation(unit, likelihood):
    """Oracle: X'(y - mu), or X' d/deta log p for Bernoulli, equals ridge times weight."""
    unit = unit._replace(counts=np.minimum(unit.counts, 1))
    fitted = replace(GLM, ridges=(4.0,), likelihood=likelihood).fit(unit)
    design = explicit_design(unit, fitted.basis)
    mu = np.exp(design @ fitted.weights + np.log(fitted.below.mu))
    y = unit.counts[unit.scored]
    slope = y - mu if likelihood == "poisson" else np.where(y > 0, mu / np.expm1(mu), -mu)
    prior = np.r_[1e-6, np.full(fitted.weights.size - 1, 4.0)] * fitted.weights
    # A decrement of 1e-12 nats at a curvature of some 1000 spikes.
    np.testing.assert_allclose(design.T @ slope, prior, atol=2e-4)


def test_prediction_is_the_explicit_linear_predictor(unit):
    fitted = replace(GLM, ridges=(3.0,)).fit(unit)
    effect = explicit_design(unit, fitted.basis) @ fitted.weights
    expected = np.log(fitted.below.mu) + np.minimum(effect, fitted.ceiling)
    np.testing.assert_allclose(fitted.log_mu(unit)[unit.scored], expected, rtol=1e-11)
    assert fitted.ceiling == pytest.approx(effect.max(), rel=1e-12)


def test_effect_stops_at_the_largest_one_met_in_training(make_unit):
    """A burst beyond everything seen must not run away."""
    counts = np.random.default_rng(2).poisson(0.05, (40, 100))
    counts[:, 1:] += counts[:, :-1]
    fitted = replace(GLM, ridges=(0.1,)).fit(make_unit(np.minimum(counts, 2)))
    assert fitted.filter()[1][0] > 0.5
    storm = make_unit(np.full((1, 100), 50))
    assert fitted.log_mu(storm).max() <= np.log(fitted.below.mu) + fitted.ceiling + 1e-12


@pytest.mark.parametrize(("likelihood", "code"), [("poisson", POISSON), ("bernoulli", BERNOULLI)])
def test_validation_score_is_that_of_a_fit_to_the_other_four_fifths(unit, likelihood, code):
    """Oracle: the same rung fitted to those trials alone, scored by the scorer of the comparison."""
    unit = unit._replace(counts=np.minimum(unit.counts, 1))
    spec = replace(GLM, baseline=Shape(), ridges=(2.0,), likelihood=likelihood)
    whole = spec.fit(unit)
    held_out = validation_split(unit.condition)
    part = spec.fit(unit.take(~held_out))
    # The mean count of an unobserved bin is that of the whole training set; put it in.
    part = replace(part, ceiling=np.inf, mean=whole.mean)
    expected = trial_log_likelihood(unit.take(held_out), part.log_mu(unit.take(held_out)), code).sum()
    # That mean shifts the features of the four fifths by some 1e-2 of a weight near gaps.
    assert whole.validation_log_likelihood == pytest.approx(expected, rel=2e-4)


def test_ridge_is_weak_for_strong_history_and_strong_for_none(make_unit):
    dead = simulate_spikes(np.full((60, 500), 40.0), 0.001, dead_time_s=0.003, seed=3)
    none = simulate_spikes(np.full((60, 500), 40.0), 0.001, seed=3)
    assert replace(GLM, tolerance_nats=1e-6).fit(make_unit(dead)).ridge <= 3.0
    assert replace(GLM, tolerance_nats=1e-6).fit(make_unit(none)).ridge >= 30.0


def test_a_known_filter_is_recovered_within_its_error(make_unit):
    """Oracle: the filter that made the spikes, which lies in the span of the basis."""
    basis = history_basis(0.02, 0.001)
    truth = np.r_[-1.5, -0.6, 0.5, 0.3, np.zeros(basis.shape[0] - 4)] @ basis
    counts = simulate_spikes(np.full((300, 700), 40.0), 0.001, history=truth, seed=4)
    fitted = replace(GLM, ridges=(0.1,)).fit(make_unit(counts, n_burn_in=100))
    lag_s, found, error = fitted.filter()
    np.testing.assert_allclose(lag_s, np.arange(1, 21) * 0.001, rtol=1e-12)
    # Four standard errors; 20 correlated lags.
    np.testing.assert_array_less(np.abs(found - truth), 4.0 * error)
    assert error.max() < 0.2
    # The training intercept takes up the baseline's mistake: the true rate without history.
    assert np.log(fitted.below.mu) + fitted.weights[0] == pytest.approx(np.log(0.04), abs=0.03)


def test_true_model_is_hardly_better_than_the_fit_and_much_better_than_no_history(make_unit):
    history = np.r_[np.full(2, -3.0), np.full(6, 0.7)]
    rate_hz = np.full((200, 600), 40.0)
    counts = simulate_spikes(rate_hz, 0.001, history=history, seed=5)
    train, test = (make_unit(part, n_burn_in=100) for part in (counts[:100], counts[100:]))
    fitted = GLM.fit(train)
    true = make_unit(counts[100:], n_burn_in=100)
    log_true = np.log(expected_counts(counts[100:], rate_hz[100:], 0.001, history=history))
    bits = np.log(2.0) * test.spikes_per_trial.sum()
    best = trial_log_likelihood(true, log_true).sum() / bits
    assert fitted.below.score(test) + 0.05 < best
    # Some eight weights of 1/2 nat each over 2000 spikes, and what the smooth basis cannot follow.
    assert best - 0.03 < fitted.score(test) < best + 0.01


def test_counts_above_one_are_refused_by_the_bernoulli_model_only(make_unit):
    unit = make_unit(np.tile([0, 2, 0, 1], (10, 10)))
    with pytest.raises(DataError, match="more than one spike"):
        replace(GLM, likelihood="bernoulli").fit(unit)
    assert replace(GLM).fit(unit).is_converged
    with pytest.raises(OptionError, match="likelihood='normal'"):
        replace(GLM, likelihood="normal").fit(unit)


@pytest.mark.parametrize("likelihood", ["poisson", "bernoulli"])
@pytest.mark.parametrize(
    "counts", [np.zeros((8, 40)), np.ones((8, 40)), np.eye(8, 40)], ids=["silent", "always", "rare"]
)
def test_extreme_units_have_a_finite_fit(make_unit, likelihood, counts):
    unit = make_unit(counts)
    fitted = replace(GLM, likelihood=likelihood).fit(unit)
    assert fitted.is_converged
    assert np.isfinite(fitted.weights).all()
    assert np.isfinite(fitted.log_mu(unit)).all()
    assert np.isfinite(fitted.validation_log_likelihood)


def test_a_fit_that_stops_short_says_so(unit):
    with pytest.warns(NumericalWarning, match="stopped with an expected gain of .* nats left"):
        fitted = replace(GLM, tolerance_nats=0.0).fit(unit)
    assert not fitted.is_converged
