"""Poisson regression and the history GLM against statsmodels and scikit-learn."""

from __future__ import annotations

import runpy
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import statsmodels.api as sm
from sklearn.linear_model import PoissonRegressor

from cortexrnn.encoding import Constant, HistoryGLM, fit_poisson
from cortexrnn.encoding.likelihood import trial_log_likelihood
from cortexrnn.spikes.generate import simulate_spikes

TWIN = runpy.run_path(str(Path(__file__).parents[1] / "reference" / "ladder_twins.py"))
# Ours stops within 1e-10 nats, which leaves a coefficient within 1e-5 of its standard error; both are
# compared at 1e-6 of the coefficient or of its standard error, whichever is larger.
RTOL = 1e-6


def draw_problem(seed):
    """Draw counts from a log-linear model with intercept, correlated unequal covariates, offset."""
    rng = np.random.default_rng(seed)
    n_bins, n_columns = int(rng.integers(100, 2000)), int(rng.integers(1, 8))
    covariates = rng.normal(size=(n_bins, n_columns)) @ rng.normal(size=(n_columns, n_columns))
    covariates *= np.exp(rng.normal(0.0, 2.0, n_columns))
    design = np.column_stack([np.ones(n_bins), covariates])
    offset = rng.normal(0.0, 0.5, n_bins)
    weights = np.r_[rng.normal(-1.0, 0.5), rng.normal(0.0, 0.4, n_columns) / covariates.std(axis=0)]
    counts = rng.poisson(np.exp(np.clip(design @ weights + offset, -20.0, 4.0)))
    return design, counts, offset


def reference(design, counts, offset, family):
    """Fit statsmodels' GLM to its last digit."""
    return sm.GLM(counts, design, family=family, offset=offset).fit(
        tol=1e-14, maxiter=100, tol_criterion="params"
    )


def assert_coefficients_agree(found, expected, errors):
    """Differences stay below 1e-6 of the coefficient or 1e-5 of its standard error."""
    assert np.all(np.abs(found - expected) <= np.maximum(RTOL * np.abs(expected), 1e-5 * errors))


@pytest.mark.parametrize("seed", range(10))
def test_coefficients_errors_and_deviance_are_those_of_statsmodels(seed):
    design, counts, offset = draw_problem(seed)
    for shift in (None, offset):
        ours = fit_poisson(design, counts, offset=shift)
        theirs = reference(design, counts, shift, sm.families.Poisson())
        assert_coefficients_agree(ours.coefficients, theirs.params, theirs.bse)
        np.testing.assert_allclose(ours.standard_errors, theirs.bse, rtol=1e-4)
        assert ours.deviance == pytest.approx(theirs.deviance, rel=RTOL)
        assert ours.log_likelihood == pytest.approx(theirs.llf, rel=RTOL)
        assert ours.aic == pytest.approx(theirs.aic, rel=RTOL)


@pytest.mark.parametrize("seed", range(10, 15))
def test_ridge_is_that_of_scikit_learn(seed):
    """Theirs: mean of (mu - y log mu) plus alpha / 2 w^2, the intercept free or a column like any other."""
    design, counts, _ = draw_problem(seed)
    # In unequal scales their solver stops short of six digits.
    design = design / np.sqrt(np.mean(design**2, axis=0))
    ridge = 7.0
    ours = fit_poisson(design, counts, ridge=ridge)
    model = PoissonRegressor(
        alpha=ridge / counts.size, fit_intercept=False, solver="newton-cholesky", tol=1e-12, max_iter=200
    )
    theirs = model.fit(design, counts).coef_
    assert_coefficients_agree(ours.coefficients, theirs, ours.standard_errors)


def draw_unit(make_unit, *, max_count, seed):
    """Trials with a dead time and a rebound, gaps and burn-in."""
    history = np.r_[np.full(3, -2.0), np.full(5, 0.6)]
    counts = simulate_spikes(np.full((20, 250), 50.0), 0.001, history=history, seed=seed)
    observed = np.repeat(np.random.default_rng(seed).random((20, 25)) < 0.9, 10, axis=1)
    return make_unit(np.minimum(counts, max_count), observed=observed, n_burn_in=50)


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("likelihood", ["poisson", "bernoulli"])
def test_history_glm_is_a_glm_on_its_features(make_unit, likelihood, seed):
    """Poisson with log link, or binomial with complementary log-log link, on the slow twin's features."""
    unit = draw_unit(make_unit, max_count=9 if likelihood == "poisson" else 1, seed=seed)
    spec = HistoryGLM(baseline=Constant(), history_s=0.05, likelihood=likelihood, tolerance_nats=1e-13)
    # The weakest prior that leaves the Newton steps well defined; its pull is of the order 1e-9.
    ours = replace(spec, ridges=(1e-9,)).fit(unit)
    features = TWIN["history_features"](unit.counts, unit.observed, ours.basis, ours.mean)
    design, counts = features[:, unit.scored].T, unit.counts[unit.scored]
    offset = np.full(counts.size, np.log(ours.below.mu))
    if likelihood == "poisson":
        family = sm.families.Poisson()
    else:
        family = sm.families.Binomial(link=sm.families.links.CLogLog())
    theirs = reference(design, counts, offset, family)
    # Nine correlated basis functions: what 1e-13 nats and the prior leave of a standard error.
    assert np.all(
        np.abs(ours.weights - theirs.params) <= np.maximum(RTOL * np.abs(theirs.params), 1e-5 * theirs.bse)
    )
    scored = trial_log_likelihood(unit, ours.log_mu(unit), 0 if likelihood == "poisson" else 1).sum()
    assert scored == pytest.approx(theirs.llf, rel=RTOL)
    if likelihood == "poisson":
        np.testing.assert_allclose(np.sqrt(np.diag(ours.covariance)), theirs.bse, rtol=1e-4)


def test_no_history_has_the_likelihood_ratio_of_chance(make_unit):
    """Both likelihoods of a nested pair agree with statsmodels, and so does their ratio."""
    unit = make_unit(simulate_spikes(np.full((40, 200), 40.0), 0.001, seed=9), n_burn_in=20)
    spec = HistoryGLM(baseline=Constant(), history_s=0.01, ridges=(1e-9,), tolerance_nats=1e-13)
    ours = spec.fit(unit)
    features = TWIN["history_features"](unit.counts, unit.observed, ours.basis, ours.mean)
    design, counts = features[:, unit.scored].T, unit.counts[unit.scored]
    full = sm.GLM(counts, design, family=sm.families.Poisson()).fit(tol=1e-14)
    none = sm.GLM(counts, design[:, :1], family=sm.families.Poisson()).fit(tol=1e-14)
    empty = fit_poisson(design[:, :1], counts)
    ratio = trial_log_likelihood(unit, ours.log_mu(unit)).sum() - empty.log_likelihood
    assert ratio == pytest.approx(full.llf - none.llf, rel=1e-6)
