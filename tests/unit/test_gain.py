"""M3, the causal gain. Oracles: a slow twin, and the negative-binomial law of a trial's count."""

from __future__ import annotations

import runpy
from pathlib import Path

import numpy as np
import pytest
from scipy import stats

from cortexrnn.encoding.constant import Constant
from cortexrnn.encoding.gain import CausalGain, FittedGain
from cortexrnn.encoding.likelihood import trial_log_likelihood

TWIN = runpy.run_path(str(Path(__file__).parents[1] / "reference" / "ladder_twins.py"))


@pytest.fixture
def gappy(make_unit):
    """Eight trials with burn-in, gaps and several spikes a bin, and a rate that changes in time."""
    rng = np.random.default_rng(1)
    mu = np.exp(rng.normal(-2.0, 0.7, (8, 40)))
    observed = rng.random(mu.shape) < 0.85
    return make_unit(rng.poisson(mu), observed=observed, n_burn_in=6), np.log(mu)


@pytest.mark.parametrize("variance", [0.01, 0.25, 3.0])
def test_predictive_gain_equals_the_slow_twin(gappy, variance):
    unit, log_mu = gappy
    found = np.exp(FittedGain(below=None, variance=variance).extend(unit, log_mu))
    expected = TWIN["causal_gain"](unit.counts, unit.scored, np.exp(log_mu), variance)
    np.testing.assert_allclose(found[unit.scored], expected[unit.scored], rtol=1e-12)
    assert np.isfinite(found).all()


def test_product_over_a_trial_makes_its_count_negative_binomial(gappy):
    """Oracle: Poisson likelihood of the bins plus log NB(N) - log Poisson(N), exact as bins shrink."""
    unit, log_mu = gappy
    a, errors = 4.0, []
    for split in (20, 100):
        # Every bin is cut into `split` with its spike in the first; only one spike fits into a fine bin.
        counts = np.zeros((8, 40 * split), dtype=np.uint16)
        counts[:, ::split] = np.minimum(unit.counts, 1)
        fine = unit._replace(
            counts=counts,
            observed=np.repeat(unit.observed, split, axis=1),
            scored=np.repeat(unit.scored, split, axis=1),
        )
        base = np.repeat(log_mu, split, axis=1) - np.log(split)
        n, total = fine.spikes_per_trial, np.where(fine.scored, np.exp(base), 0.0).sum(axis=1)
        ratio = stats.nbinom.logpmf(n, a, a / (a + total)) - stats.poisson.logpmf(n, total)
        found = trial_log_likelihood(fine, FittedGain(below=None, variance=1.0 / a).extend(fine, base))
        errors.append(np.abs(found - trial_log_likelihood(fine, base) - ratio).max())
    assert errors[0] < 0.03
    # What is left is the gain's change within a bin, of first order in the bin: a fifth of it.
    assert errors[1] == pytest.approx(errors[0] / 5.0, rel=0.1)


def test_spikes_of_the_burn_in_do_not_count(gappy):
    unit, log_mu = gappy
    counts = unit.counts.copy()
    counts[:, :6] = 9
    fitted = FittedGain(below=None, variance=0.25)
    np.testing.assert_array_equal(
        fitted.extend(unit, log_mu)[unit.scored],
        fitted.extend(unit._replace(counts=counts), log_mu)[unit.scored],
    )


def test_without_variance_the_rung_below_passes_unchanged(gappy):
    unit, log_mu = gappy
    np.testing.assert_array_equal(FittedGain(below=None, variance=0.0).extend(unit, log_mu), log_mu)


def test_variance_of_a_simulated_gain_is_recovered(make_unit):
    rng = np.random.default_rng(2)
    gain = rng.gamma(4.0, 0.25, 500)
    unit = make_unit(rng.poisson(0.1 * gain[:, None], (500, 200)))
    # As in test_overdispersion: four SD of sqrt(2/n) (v + 1/mu).
    fitted = CausalGain(baseline=Constant()).fit(unit)
    assert fitted.variance == pytest.approx(0.25, abs=4.0 * np.sqrt(2.0 / 500) * 0.3)


def test_every_trial_starts_from_scratch(gappy):
    unit, log_mu = gappy
    fitted = FittedGain(below=None, variance=0.25)
    whole = fitted.extend(unit, log_mu)
    for i in range(8):
        np.testing.assert_array_equal(fitted.extend(unit.take(np.array([i])), log_mu[i : i + 1])[0], whole[i])
