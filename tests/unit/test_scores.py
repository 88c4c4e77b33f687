"""Gains and their intervals: the formula by hand, and how often the interval holds the truth."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from cortexrnn.encoding.constant import Constant
from cortexrnn.encoding.psth import PSTH
from cortexrnn.evaluation.scores import gain_interval
from cortexrnn.spikes.folds import assign_folds

LN2 = np.log(2.0)


def test_gain_and_interval_by_hand():
    """G = sum d / sum n; e = (d - G n) / mean(n); G +- t f SD(e) / sqrt(n)."""
    bits, n = np.array([1.0, 0.0, 4.0]), np.array([2, 1, 3])
    gain = gain_interval(bits * LN2, np.zeros(3), n, 5)
    value = 5.0 / 6.0
    errors = (bits - value * n) / 2.0
    spread = np.sqrt(np.sum((errors - errors.mean()) ** 2) / 2.0)
    factor = np.sqrt(1.0 + 5.0 / 4.0)
    # Student's t with 2 degrees of freedom at .975 is 4.302652730.
    reach = 4.302652730 * factor * spread / np.sqrt(3.0)
    assert gain.value == pytest.approx(value, rel=1e-14)
    assert gain.sd == pytest.approx(spread, rel=1e-12)
    assert gain.inflation == pytest.approx(1.5, rel=1e-14)
    np.testing.assert_allclose(gain.interval, [value - reach, value + reach], rtol=1e-9)
    assert gain.n_trials == 3


def test_gain_is_antisymmetric():
    rng = np.random.default_rng(1)
    a, b, n = rng.normal(size=20), rng.normal(size=20), rng.poisson(5.0, 20)
    forth, back = gain_interval(a, b, n, 5), gain_interval(b, a, n, 5)
    np.testing.assert_allclose(
        [back.value, back.low, back.high], [-forth.value, -forth.high, -forth.low], rtol=1e-12
    )


def test_trials_that_gain_in_proportion_to_their_spikes_leave_no_doubt():
    n = np.array([1, 5, 20, 3])
    gain = gain_interval(0.3 * LN2 * n, np.zeros(4), n, 4)
    np.testing.assert_allclose([gain.value, gain.low, gain.high], 0.3, rtol=1e-12)


def test_no_spikes_and_no_second_trial_give_nan_and_never_zero():
    for gain in (
        gain_interval(np.zeros(5), np.ones(5), np.zeros(5, int), 5),
        gain_interval(np.zeros(1), np.ones(1), np.array([4]), 5),
    ):
        assert np.isnan([gain.value, gain.low, gain.high]).all()


def test_interval_shrinks_with_the_square_root_of_the_trials():
    rng = np.random.default_rng(2)
    d, n = rng.normal(size=50), rng.poisson(5.0, 50) + 1
    once, four = (
        gain_interval(d, np.zeros(50), n, 5),
        gain_interval(np.tile(d, 4), np.zeros(200), np.tile(n, 4), 5),
    )
    assert four.value == pytest.approx(once.value, rel=1e-12)
    ratio = (once.high - once.low) / (four.high - four.low)
    # 2, but for t and n - 1: t_49 / t_199 = 1.019, sqrt(199 * 50 / (49 * 200)) = 1.008.
    assert ratio == pytest.approx(2.0 * 1.019 * 1.008, rel=2e-3)


@pytest.mark.parametrize("n_trials", [10, 20, 60])
def test_interval_holds_the_expected_gain_of_the_fitted_pair(n_trials, make_unit):
    """Measured coverage is .95 to .99; .93 is promised. Oracle: expectation under the known rate.

    200 recordings a size: PSTH over constant rate, five folds. The estimand is the mean over folds of
    the expected gain of the fitted pair on fresh trials.
    """
    rate = 0.02 * (1.0 + 0.6 * np.sin(np.arange(100) / 8.0))
    rng = np.random.default_rng(n_trials)
    fold = assign_folds(np.zeros(n_trials), 5)
    held = 0
    for _ in range(200):
        unit = make_unit(rng.poisson(rate, (n_trials, 100)))
        while not unit.spikes_per_trial.sum():
            unit = make_unit(rng.poisson(rate, (n_trials, 100)))
        scores, expected = np.zeros((2, n_trials)), []
        for k in range(5):
            train, test = unit.take(fold != k), unit.take(fold == k)
            fits = [
                spec.fit(train) for spec in (PSTH(bandwidths_s=(0.006,), uses_elephant=False), Constant())
            ]
            log_mu = np.array([fitted.log_mu(test) for fitted in fits])
            scores[:, fold == k] = (test.counts * log_mu - np.exp(log_mu)).sum(axis=2)
            one = log_mu[:, 0]
            terms = (rate * one - np.exp(one)).sum(axis=1)
            expected.append((terms[0] - terms[1]) / (rate.sum() * LN2))
        gain = gain_interval(scores[0], scores[1], unit.spikes_per_trial, 5)
        held += gain.low <= np.mean(expected) <= gain.high
    # Fewer would happen once in a thousand were the coverage .93: exact binomial quantile.
    assert held >= stats.binom.ppf(1e-3, 200, 0.93)
