"""M2, the slow drift. Oracles: known drifts, a natural spline's defining properties, trial totals by hand."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pytest

from cortexrnn.encoding.constant import Constant
from cortexrnn.encoding.drift import Drift, _natural_spline, expected_per_trial
from cortexrnn.encoding.overdispersion import gain_variance


@dataclass(frozen=True)
class Totals:
    """Trials of which only the totals matter: 20 bins each, the spikes in the first ones."""

    per_trial: np.ndarray

    def counts(self):
        """Lay every trial's spikes into one bin."""
        counts = np.zeros((self.per_trial.size, 20), dtype=int)
        counts[:, 5] = self.per_trial
        return counts


def test_expected_counts_are_summed_over_scored_bins_only(make_unit):
    observed = np.ones((2, 5), dtype=bool)
    observed[1, 3:] = False
    unit = make_unit(np.zeros((2, 5)), observed=observed, n_burn_in=1)
    np.testing.assert_allclose(expected_per_trial(unit, np.full((2, 5), np.log(0.2))), [0.8, 0.4], rtol=1e-14)


def test_spline_is_cubic_between_knots_and_straight_at_the_ends():
    """Oracle: the definition of a natural cubic spline, by finite differences."""
    knots = np.array([0.0, 2.0, 5.0, 9.0])
    x = np.linspace(-1.0, 10.0, 1101)
    columns = _natural_spline(x, knots)
    assert columns.shape == (1101, 3)
    third = np.diff(columns, 3, axis=0)
    for low, high in ((-1.0, 0.0), (0.0, 2.0), (2.0, 5.0), (5.0, 9.0), (9.0, 10.0)):
        inside = (x[:-3] >= low) & (x[3:] <= high)
        np.testing.assert_allclose(
            third[inside], np.broadcast_to(third[inside].mean(axis=0), third[inside].shape), atol=1e-11
        )
    curvature = np.diff(columns, 2, axis=0)
    outside = (x[2:] <= 0.0) | (x[:-2] >= 9.0)
    np.testing.assert_allclose(curvature[outside], 0.0, atol=1e-11)
    assert np.linalg.matrix_rank(np.column_stack([np.ones(x.size), columns])) == 4


def test_no_drift_is_found_where_there_is_none(make_unit):
    flat = []
    for seed in range(20):
        unit = make_unit(Totals(np.random.default_rng(seed).poisson(20.0, 60)).counts())
        fitted = Drift(baseline=Constant()).fit(unit)
        flat.append(fitted.knots_s.size == 0)
        # A straight line through 60 log totals with errors of 1 / sqrt(20) ends within 0.06 of zero (SD).
        assert np.abs(fitted.log_factor(unit.start_s)).max() < 0.3
    # Any one of four useless fits wins by chance less than half of the time.
    assert sum(flat) >= 8


def test_a_linear_drift_is_found_and_held_constant_beyond_training(make_unit):
    rng = np.random.default_rng(2)
    factor = np.exp(np.linspace(-0.8, 0.8, 80))
    unit = make_unit(Totals(rng.poisson(30.0 * factor)).counts())
    fitted = Drift(baseline=Constant()).fit(unit)
    found = fitted.log_factor(unit.start_s)
    mean = np.log(unit.spikes_per_trial.mean())
    # A trial's log total has an error of 1 / sqrt(30); a line through 80 of them of about 0.04 at its ends.
    np.testing.assert_allclose(found + mean, np.log(30.0 * factor), atol=0.2)
    beyond = fitted.log_factor(np.array([-100.0, unit.start_s[0], unit.start_s[-1], 1e4]))
    assert beyond[0] == beyond[1]
    assert beyond[2] == beyond[3]


def test_a_fluctuating_gain_is_not_taken_for_a_drift(make_unit):
    """Independent gains have no order: the held-out trials of contiguous folds must refuse a wiggle."""
    large = 0
    for seed in range(20):
        rng = np.random.default_rng(seed)
        unit = make_unit(Totals(rng.poisson(20.0 * rng.gamma(2.0, 0.5, 40))).counts())
        fitted = Drift(baseline=Constant()).fit(unit)
        large += np.ptp(fitted.log_factor(unit.start_s)) > 1.0
    # Drifts as large as the gain's own SD of 0.7 over a session are chance finds: a few of 20 at most.
    assert large <= 3


def test_straight_line_solves_its_score_equation(make_unit):
    """Oracle: gradient of the penalised negative-binomial likelihood, written out by hand."""
    rng = np.random.default_rng(3)
    per_trial = rng.poisson(np.linspace(10.0, 40.0, 50) * rng.gamma(10.0, 0.1, 50))
    unit = make_unit(Totals(per_trial).counts())
    spec = Drift(baseline=Constant(), dfs=(1, 1), ridge=2.0)
    below = Constant().fit(unit)
    fitted = spec.fit_on(unit, below, below.log_mu(unit))
    expected = np.exp(below.log_mu(unit)).sum(axis=1)
    level = (per_trial.sum() + 0.5) / (expected.sum() + 0.5)
    variance = gain_variance(per_trial.astype(float), level * expected)
    mean = expected * np.exp(fitted.log_factor(unit.start_s))
    z = (unit.start_s - unit.start_s[0]) / np.ptp(unit.start_s)
    z = (z - z.mean()) / z.std()
    residual = (per_trial - mean) / (1.0 + variance * mean)
    # Newton stops at a step of 1e-9, times a curvature of some thousand.
    assert residual @ z - 2.0 * fitted.weights[1] == pytest.approx(0.0, abs=1e-5)
    assert residual.sum() - 1e-6 * fitted.weights[0] == pytest.approx(0.0, abs=1e-5)


def test_a_trial_that_nobody_recorded_changes_nothing(make_unit):
    rng = np.random.default_rng(4)
    counts = Totals(rng.poisson(np.linspace(10.0, 40.0, 30))).counts()
    observed = np.ones(counts.shape, dtype=bool)
    observed[7] = False
    with_gap = make_unit(counts, observed=observed)
    seen = np.arange(30) != 7
    spec = Drift(baseline=Constant())
    first, second = spec.fit(with_gap), spec.fit(with_gap.take(seen))
    np.testing.assert_array_equal(first.log_factor(with_gap.start_s), second.log_factor(with_gap.start_s))
    assert first.weights.size > 1


@pytest.mark.parametrize("n_trials", [1, 2, 3])
def test_few_trials_allow_no_drift(make_unit, n_trials):
    unit = make_unit(Totals(np.arange(n_trials) * 10).counts())
    fitted = Drift(baseline=Constant()).fit(unit)
    np.testing.assert_array_equal(fitted.log_factor(unit.start_s), 0.0)


def test_trials_without_a_clock_have_no_drift(make_unit):
    unit = make_unit(Totals(np.arange(20) * 5).counts())._replace(start_s=np.zeros(20))
    np.testing.assert_array_equal(Drift(baseline=Constant()).fit(unit).log_factor(np.zeros(20)), 0.0)
