"""The log-likelihood of a trial. Oracles: SciPy's distributions, a slow twin, cases by hand."""

from __future__ import annotations

import runpy
from pathlib import Path

import numpy as np
import pytest
from scipy import stats

from cortexrnn.encoding.likelihood import BERNOULLI, POISSON, likelihood_code, trial_log_likelihood
from cortexrnn.errors import DataError, OptionError

TWIN = runpy.run_path(str(Path(__file__).parents[1] / "reference" / "ladder_twins.py"))


@pytest.mark.parametrize("likelihood", ["poisson", "bernoulli"])
def test_log_likelihood_equals_the_slow_twin(make_unit, likelihood):
    rng = np.random.default_rng(1)
    mu = np.exp(rng.normal(-2.0, 1.5, (6, 50)))
    counts = rng.poisson(mu) if likelihood == "poisson" else rng.random(mu.shape) < -np.expm1(-mu)
    unit = make_unit(counts, observed=rng.random(mu.shape) < 0.9, n_burn_in=5)
    found = trial_log_likelihood(unit, np.log(mu), likelihood_code(likelihood))
    for i in range(6):
        expected = sum(
            TWIN["log_likelihood"](int(unit.counts[i, t]), mu[i, t], likelihood)
            for t in range(50)
            if unit.scored[i, t]
        )
        assert found[i] == pytest.approx(expected, rel=1e-12)


def test_multi_spike_bins_carry_the_log_factorial(make_unit):
    unit = make_unit([[3, 0, 7]])
    expected = stats.poisson.logpmf([3, 0, 7], 0.5).sum()
    assert trial_log_likelihood(unit, np.full((1, 3), np.log(0.5)))[0] == pytest.approx(expected, rel=1e-13)


def test_bernoulli_probability_is_that_of_at_least_one_poisson_spike(make_unit):
    unit = make_unit([[1, 0]])
    mu = np.array([[0.3, 2.0]])
    expected = np.log(1.0 - stats.poisson.pmf(0, 0.3)) + stats.poisson.logpmf(0, 2.0)
    assert trial_log_likelihood(unit, np.log(mu), BERNOULLI)[0] == pytest.approx(expected, rel=1e-13)


@pytest.mark.parametrize("code", [POISSON, BERNOULLI])
def test_an_impossible_bin_costs_nothing_while_silent_and_everything_else(make_unit, code):
    """A dead time has mu = 0: silence there is certain, log mu is minus infinity."""
    log_mu = np.array([[-np.inf, np.log(0.2)]])
    silent = trial_log_likelihood(make_unit([[0, 0]]), log_mu, code)[0]
    assert silent == pytest.approx(-0.2, rel=1e-14)
    spiking = trial_log_likelihood(make_unit([[1, 0]]), log_mu, code)[0]
    # Poisson: minus infinity; Bernoulli: the smallest positive mu, 1e-300.
    assert spiking < np.log(1e-299)


def test_a_nan_prediction_stays_visible(make_unit):
    log_mu = np.full((2, 3), -1.0)
    log_mu[1, 2] = np.nan
    found = trial_log_likelihood(make_unit([[0, 1, 0], [0, 0, 1]]), log_mu)
    assert np.isfinite(found[0])
    assert np.isnan(found[1])


def test_names_become_codes_and_unknown_ones_are_refused():
    assert (likelihood_code("poisson"), likelihood_code("bernoulli")) == (0, 1)
    with pytest.raises(OptionError, match="likelihood='gaussian' is unknown"):
        likelihood_code("gaussian")


def test_bernoulli_never_clips_counts():
    with pytest.raises(DataError, match=r"2 bins hold more than one spike \(up to 4\)"):
        likelihood_code("bernoulli", np.array([[0, 2], [4, 1]]))
    assert likelihood_code("poisson", np.array([[4]])) == 0
