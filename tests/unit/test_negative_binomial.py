"""The negative binomial as the scorer's law. Oracles: SciPy, statsmodels, the Poisson limit, known truth."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import statsmodels.api as sm
from scipy import stats

from cortexrnn.encoding import PSTH, CausalGain, Constant, HistoryGLM, Renewal
from cortexrnn.encoding.likelihood import (
    NEGATIVE_BINOMIAL,
    OBSERVATION_MODELS,
    count_dispersion,
    draw_gains,
    likelihood_code,
    mean_likelihood,
    negative_binomial_log_likelihood,
    trial_log_likelihood,
)
from cortexrnn.errors import OptionError
from cortexrnn.evaluation import CompareOptions
from cortexrnn.evaluation.goodness import goodness_of_fit
from cortexrnn.evaluation.work import (
    EXCHANGED,
    SIMULATED,
    FoldFits,
    UnitCase,
    _make_surrogate,
    fold_work,
    surrogate_work,
)
from cortexrnn.spikes.folds import assign_folds

RUNGS = {"M0": Constant(), "M1": PSTH(), "M3": CausalGain(), "M4": Renewal(), "M5": HistoryGLM(history_s=0.02)}


def draw(mu, dispersion, seed=1):
    """Gamma-mixed Poisson counts."""
    rng = np.random.default_rng(seed)
    return rng.poisson(mu * rng.gamma(1.0 / dispersion, dispersion, np.shape(mu)))


@pytest.mark.parametrize("dispersion", [1e-6, 0.02, 0.5, 3.0, 100.0])
def test_log_likelihood_is_that_of_scipy(make_unit, dispersion):
    rng = np.random.default_rng(1)
    mu = rng.gamma(1.0, 2.0, (5, 40))
    unit = make_unit(draw(mu, min(dispersion, 3.0)), observed=rng.random(mu.shape) < 0.9, n_burn_in=5)
    law = stats.nbinom(1.0 / dispersion, 1.0 / (1.0 + dispersion * mu))
    expected = np.where(unit.scored, law.logpmf(unit.counts), 0.0).sum(axis=1)
    found = negative_binomial_log_likelihood(unit, np.log(mu), dispersion)
    # SciPy takes differences of log-Gamma functions of 1 / dispersion, which cost it digits where that is large.
    np.testing.assert_allclose(found, expected, rtol=1e-12 if dispersion > 0.01 else 1e-7)


def test_without_dispersion_it_is_poisson(make_unit):
    mu = np.random.default_rng(1).gamma(1.0, 2.0, (5, 40))
    unit = make_unit(np.random.default_rng(2).poisson(mu))
    poisson = trial_log_likelihood(unit, np.log(mu))
    np.testing.assert_array_equal(negative_binomial_log_likelihood(unit, np.log(mu), 0.0), poisson)
    # The first order in the dispersion d is d/2 sum (y - mu)^2 - y.
    slope = 0.5 * ((unit.counts - mu) ** 2 - unit.counts).sum(axis=1)
    change = (negative_binomial_log_likelihood(unit, np.log(mu), 1e-6) - poisson) / 1e-6
    np.testing.assert_allclose(change, slope, rtol=1e-3, atol=0.05)


def test_impossible_bins_cost_nothing_while_silent(make_unit):
    unit = make_unit([[0, 0]])
    found = negative_binomial_log_likelihood(unit, np.array([[-np.inf, np.log(0.2)]]), 0.5)[0]
    assert found == pytest.approx(-2.0 * np.log1p(0.1), rel=1e-14)
    assert negative_binomial_log_likelihood(make_unit([[1, 0]]), np.array([[-np.inf, 0.0]]), 0.5)[0] == -np.inf


@pytest.mark.parametrize("dispersion", [0.1, 0.7])
def test_dispersion_is_that_of_statsmodels(make_unit, dispersion):
    """Oracle: its NB2 regression on dummies of three groups, whose means are those of the groups in both laws."""
    group = np.arange(3000) % 3
    y = draw(np.array([0.5, 2.0, 4.0])[group], dispersion)
    means = np.array([y[group == g].mean() for g in range(3)])
    model = sm.NegativeBinomial(y, (group[:, None] == np.arange(3)).astype(float))
    start = np.r_[np.log(means), dispersion]
    fitted = model.fit(start_params=start, method="newton", maxiter=100, tol=1e-10, disp=0)
    np.testing.assert_allclose(np.exp(fitted.params[:3]), means, rtol=1e-6)
    unit = make_unit(y.reshape(30, 100))
    found = count_dispersion(unit, np.log(means)[group].reshape(30, 100))
    assert found == pytest.approx(fitted.params[3], rel=1e-4)


def test_dispersion_comes_back(make_unit):
    """Oracle: the truth, four standard errors from the information, by central differences."""
    mu = np.full((100, 100), 1.5)
    unit = make_unit(draw(mu, 0.4))
    found = count_dispersion(unit, np.log(mu))

    def total(dispersion):
        return negative_binomial_log_likelihood(unit, np.log(mu), dispersion).sum()

    information = -(total(found + 1e-3) - 2.0 * total(found) + total(found - 1e-3)) / 1e-6
    assert abs(found - 0.4) < 4.0 / np.sqrt(information)
    assert 4.0 / np.sqrt(information) < 0.1
    assert abs(total(found + 1e-4) - total(found - 1e-4)) < 1e-3


def test_counts_that_vary_no_more_than_poisson_have_none(make_unit):
    regular = make_unit(np.tile([0, 1], (20, 50)))
    assert count_dispersion(regular, np.full((20, 100), np.log(0.5))) == 0.0
    silent = make_unit(np.zeros((4, 10)))
    assert count_dispersion(silent, np.full((4, 10), -3.0)) == 0.0


def test_given_the_gains_the_counts_are_poisson(make_unit):
    """Oracle: Haslinger's and Ogata's tests, which the true model passes and the mean alone does not."""
    mu = np.tile(1.5 + np.sin(np.arange(200) / 10.0), (60, 1))
    unit = make_unit(draw(mu, 0.5))
    drawn = draw_gains(unit, np.log(mu), 0.5, np.random.default_rng(1))
    assert goodness_of_fit(unit, drawn).departures == ()
    assert "dispersion, windows of 10" in goodness_of_fit(unit, np.log(mu)).departures
    # Over all bins the gains have mean 1 and variance 0.5 again; four standard errors of a Gamma variable's.
    gains = np.exp(drawn - np.log(mu))
    assert abs(gains.mean() - 1.0) < 4.0 * np.sqrt(0.5 / gains.size)
    assert abs(gains.var() - 0.5) < 4.0 * np.sqrt((0.5 * 3.0 + 2.0 * 0.25) / gains.size)
    np.testing.assert_array_equal(draw_gains(unit, np.log(mu), 0.0, np.random.default_rng(1)), np.log(mu))


def test_names_of_observation_models():
    assert OBSERVATION_MODELS == ("poisson", "bernoulli", NEGATIVE_BINOMIAL)
    assert [mean_likelihood(name) for name in OBSERVATION_MODELS] == ["poisson", "bernoulli", "poisson"]
    assert CompareOptions(likelihood=NEGATIVE_BINOMIAL).likelihood == "negative binomial"
    with pytest.raises(OptionError, match="likelihood='nb' is unknown"):
        mean_likelihood("nb")
    with pytest.raises(OptionError, match="expected one of poisson, bernoulli"):
        likelihood_code(NEGATIVE_BINOMIAL)


@pytest.fixture
def case(make_unit):
    """Twenty trials of two conditions in bins of 20 ms, overdispersed around a sine."""
    mu = np.tile(1.5 + np.sin(np.arange(60) / 6.0), (20, 1))
    unit = make_unit(draw(mu, 0.5), n_burn_in=5, condition=np.tile([0, 1], 10))._replace(bin_s=0.02)
    fold = assign_folds(unit.condition, 4)
    return UnitCase(name="a", trials=unit, fold=fold, seed=7, likelihood=NEGATIVE_BINOMIAL)


def test_every_rung_is_scored_with_the_dispersion_of_its_own_training_trials(case):
    """Oracle: rung by rung by hand; the mean is that of the Poisson fit."""
    found = fold_work(case, RUNGS, 0)
    train, test = case.trials.take(case.fold != 0), case.trials.take(case.fold == 0)
    fits = FoldFits(train, test)
    dispersions = []
    for j, (name, rung) in enumerate(RUNGS.items()):
        fitted, log_mu = fits.fit(rung)
        # What a rung says of its own training trials, below left out trial by trial.
        chain, below = [], fitted
        while below is not None:
            chain.insert(0, below)
            below = below.below
        on_training = np.zeros(train.counts.shape)
        for each in chain:
            on_training = each.on_training(train, on_training)
        dispersions.append(count_dispersion(train, on_training))
        expected = negative_binomial_log_likelihood(test, log_mu, dispersions[-1])
        np.testing.assert_allclose(found["log_likelihood"][j], expected, rtol=1e-12, err_msg=name)
    # M0 has the sine among its dispersion.
    assert dispersions[0] > dispersions[1] > 0.3
    poisson = fold_work(replace(case, likelihood="poisson"), RUNGS, 0)
    assert (found["log_likelihood"].sum(axis=1) > poisson["log_likelihood"].sum(axis=1)).all()
    np.testing.assert_array_equal(found["validation"], poisson["validation"])
    assert found["timescale"].shape == poisson["timescale"].shape
    assert np.isfinite(found["M5 mu"]).all()


def test_surrogates_have_the_dispersion(case):
    """Oracle: the law they are drawn from, mean 1.5 and variance 1.5 + 0.5 mu^2 around the sine."""
    many = replace(case, trials=case.trials.take(np.tile(np.arange(20), 20)))
    drawn = _make_surrogate(replace(many, fold=np.tile(case.fold, 20)), SIMULATED, 0)
    scored = drawn.counts[:, 5:].astype(float)
    mean = scored.mean(axis=0)
    excess = (scored.var(axis=0) - mean).mean() / (mean**2).mean()
    plain = _make_surrogate(replace(many, fold=np.tile(case.fold, 20), likelihood="poisson"), SIMULATED, 0)
    rest = plain.counts[:, 5:].astype(float)
    left = (rest.var(axis=0) - rest.mean(axis=0)).mean() / (rest.mean(axis=0) ** 2).mean()
    assert 0.35 < excess < 0.65
    assert abs(left) < 0.1


def test_surrogates_are_scored_alike(case):
    found = surrogate_work(case, RUNGS, EXCHANGED, 0)
    poisson = surrogate_work(replace(case, likelihood="poisson"), RUNGS, EXCHANGED, 0)
    assert np.isfinite(found["log_likelihood"]).all()
    assert (found["log_likelihood"].sum(axis=1) > poisson["log_likelihood"].sum(axis=1)).all()
