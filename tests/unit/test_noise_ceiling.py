"""The noise ceiling. Oracles: Sahani and Linden's formula by hand, Poisson trials of a known rate."""

from __future__ import annotations

import json
import math

import numpy as np
import pytest

from cortexrnn.encoding.psth import PSTH
from cortexrnn.evaluation.noise_ceiling import NO_SIGNAL, ceiling_work, noise_ceiling, read_ceiling
from cortexrnn.evaluation.scores import gain_interval
from cortexrnn.evaluation.signal_power import SignalPower, box_rates, explained_power, signal_power
from cortexrnn.evaluation.work import UnitCase
from cortexrnn.spikes.folds import assign_folds

LN2 = np.log(2.0)
RATE = 0.03 * (1.0 + 0.8 * np.sin(np.arange(600) / 60.0))


def published(rates):
    """Sahani and Linden (2003): (N P(mean r) - mean P(r_n)) / (N - 1), P the variance over time."""
    n = len(rates)
    return (n * rates.mean(axis=0).var() - rates.var(axis=1).mean()) / (n - 1)


def test_three_trials_of_two_bins_by_hand():
    """Means 1 and 3: P = 1. Single trials: 1, 0, 4, mean 5/3. Signal (3 - 5/3) / 2 = 2/3.

    Leaving one out: pairs of trials have covariances 0, 2 and 0; jackknife 2/3 * (2 * (2/3)^2 + (4/3)^2) = 16/9.
    """
    power = signal_power(np.array([[0.0, 2.0], [2.0, 2.0], [1.0, 5.0]]), np.zeros(3))
    np.testing.assert_allclose(power[:3], [2.0 / 3.0, 4.0 / 3.0, 5.0 / 3.0], rtol=1e-12)
    assert power.n_trials == 3
    assert not power.is_reliable


def test_power_of_one_condition_is_the_published_formula():
    rates = np.random.default_rng(1).gamma(2.0, 5.0, (12, 40))
    power = signal_power(rates, np.zeros(12))
    assert power.value == pytest.approx(published(rates), rel=1e-10)
    assert power.single_trial == pytest.approx(rates.var(axis=1).mean(), rel=1e-10)


def test_conditions_laid_end_to_end_are_the_mean_over_all_ways_to_pair_their_trials():
    """Oracle: the published formula on trials glued from one of each condition, all six pairings."""
    rng = np.random.default_rng(2)
    first, second = rng.normal(5.0, 1.0, (3, 4)), rng.normal(9.0, 1.0, (3, 4))
    orders = ([0, 1, 2], [0, 2, 1], [1, 0, 2], [1, 2, 0], [2, 0, 1], [2, 1, 0])
    glued = np.mean([published(np.hstack([first, second[order]])) for order in orders])
    power = signal_power(np.vstack([first, second]), np.repeat([0, 1], 3))
    assert power.value == pytest.approx(glued, rel=1e-10)


@pytest.mark.parametrize("n_conditions", [1, 3])
def test_power_of_poisson_trials_is_the_variance_of_the_rate_and_its_error_holds(n_conditions):
    """Closed form: the variance of the known rate over all boxes; 600 data sets of 30 trials."""
    t = np.arange(40)
    rate_hz = np.array([20.0 * (1.0 + 0.6 * np.sin(t / (5 + c))) + 5.0 * c for c in range(n_conditions)])
    condition = np.arange(30) % n_conditions
    rng = np.random.default_rng(3)
    found = [signal_power(rng.poisson(0.02 * rate_hz[condition]) / 0.02, condition) for _ in range(600)]
    value, error = np.array(found)[:, :2].T
    truth = rate_hz.var()
    # Unbiased: three standard errors of 600 repeats.
    assert np.mean(value) == pytest.approx(truth, abs=3.0 * value.std() / np.sqrt(600))
    # A jackknife errs upwards where the signal is weak, so only the lower end is sharp.
    covered = np.mean(np.abs(value - truth) < 1.96 * error)
    assert 0.93 <= covered <= 0.99
    assert np.mean([each.is_reliable for each in found]) > 0.9


def test_a_constant_rate_has_no_reliable_signal():
    """The mean over 600 data sets is 0, and at most one in six passes one standard error."""
    rng = np.random.default_rng(4)
    found = [signal_power(rng.poisson(0.4, (20, 40)) / 0.02, np.zeros(20)) for _ in range(600)]
    value = np.array([each.value for each in found])
    assert abs(value.mean()) < 3.0 * value.std() / np.sqrt(600)
    assert np.mean([each.is_reliable for each in found]) < 1.0 / 6.0


def test_missing_boxes_and_unequal_conditions_leave_the_power_unbiased():
    """Oracle: the variance of the known rate; missing at random, 3 standard errors and the approximation's 1 %."""
    rng = np.random.default_rng(5)
    rate_hz = np.array([20.0 + 12.0 * np.sin(np.arange(40) / 5.0), np.full(40, 10.0)])
    condition = np.repeat([0, 1], [9, 5])
    value = []
    for _ in range(1500):
        rates = rng.poisson(0.02 * rate_hz[condition]) / 0.02
        rates[0, 30:] = np.nan
        rates[10, :8] = np.nan
        value.append(signal_power(rates, condition).value)
    truth = rate_hz.var()
    assert np.mean(value) == pytest.approx(truth, abs=3.0 * np.std(value) / np.sqrt(1500) + 0.01 * truth)


@pytest.mark.parametrize("n_boxes", [1, 7])
def test_flat_trials_have_no_signal_whatever_their_rate(n_boxes):
    """Round-off of rates in Hz must not be taken for a signal; nor has a single box any variance over time."""
    rates = np.repeat(np.array([1.1, 700.3, 0.7, 33.3])[:, None], n_boxes, axis=1)
    power = signal_power(rates, np.zeros(4))
    assert power.value == 0.0
    assert not power.is_reliable


def test_conditions_with_two_trials_are_left_out():
    rates = np.random.default_rng(6).gamma(2.0, 5.0, (7, 10))
    condition = np.array([0, 0, 0, 0, 1, 1, 2])
    assert signal_power(rates, condition) == signal_power(rates[:4], condition[:4])
    assert math.isnan(signal_power(rates[4:], condition[4:]).value)


def test_trials_in_which_nobody_recorded_are_no_trials():
    rates = np.random.default_rng(7).gamma(2.0, 5.0, (6, 10))
    lost = np.vstack([rates, np.full((2, 10), np.nan)])
    assert signal_power(lost, np.zeros(8)) == signal_power(rates, np.zeros(6))


def test_the_true_rate_explains_all_of_the_signal_and_a_constant_nothing(make_unit):
    """Closed form: 1 for the rate itself, 0 for its mean, 3/4 for half of its modulation; 400 trials."""
    rng = np.random.default_rng(8)
    unit = make_unit(rng.poisson(RATE, (400, 600)))
    rates = box_rates(unit.counts, unit)
    power = signal_power(rates, unit.condition)
    fold = assign_folds(unit.condition, 5)
    half = RATE.mean() + 0.5 * (RATE - RATE.mean())
    for guess, share in ((RATE, 1.0), (half, 0.75), (np.full(600, RATE.mean()), 0.0)):
        predicted = box_rates(np.broadcast_to(guess, (400, 600)), unit)
        found = explained_power(rates, predicted, unit.condition, fold, power)
        # Numerator and denominator vary together; what is left is about the relative error of the power.
        assert found == pytest.approx(share, abs=2.0 * power.error / power.value)


def test_without_a_reliable_signal_no_ratio_is_given():
    rates = np.ones((5, 4))
    for power in (SignalPower(-1.0, 0.5, 3.0, 5), SignalPower(0.4, 0.5, 3.0, 5), SignalPower(math.nan, 1.0, 1.0, 0)):
        assert math.isnan(explained_power(rates, rates, np.zeros(5), np.arange(5), power))


def test_boxes_hold_whole_scored_stretches_only(make_unit):
    """By hand: bins of 1 ms, boxes of 3, a burn-in of 2, one bin unobserved; the eighth scored bin fills no box."""
    counts = np.array([[9, 9, 1, 0, 1, 0, 0, 3, 5], [9, 9, 0, 0, 0, 1, 1, 1, 5]])
    observed = np.ones(counts.shape, dtype=bool)
    observed[1, 6] = False
    unit = make_unit(counts, observed=observed, n_burn_in=2)
    found = box_rates(unit.counts, unit, box_s=0.003)
    np.testing.assert_allclose(found, [[2 / 0.003, 3 / 0.003], [0.0, np.nan]], rtol=1e-12)


@pytest.mark.slow
def test_likelihood_bounds_hold_what_the_true_rate_reaches(make_unit):
    """Oracle: expected gain of the known rate over its mean; halves below all others below endless trials."""
    rng = np.random.default_rng(9)
    truth = np.sum(RATE * np.log(RATE / RATE.mean())) / (RATE.sum() * LN2)
    held, rows = 0, []
    for _ in range(40):
        unit = make_unit(rng.poisson(RATE, (24, 600)))
        ceiling = noise_ceiling(unit, assign_folds(unit.condition, 4))
        rows.append([ceiling.split_half.value, ceiling.leave_one_out.value, ceiling.limit.value])
        held += ceiling.limit.low <= truth <= ceiling.limit.high
    half, others, limit = np.mean(rows, axis=0)
    assert half < others < limit
    # Three standard errors of 40 recordings, and 3 % for what smoothing takes off for good.
    assert limit == pytest.approx(truth, abs=3.0 * np.std(rows, axis=0)[2] / np.sqrt(40) + 0.03 * truth)
    assert held >= 36


def test_leave_one_out_is_the_psth_of_the_others(make_unit):
    """Oracle: a PSTH with the same bandwidth fitted without each trial in turn, over the mean of the others."""
    unit = make_unit(np.random.default_rng(10).poisson(RATE, (9, 600)))
    width = PSTH().fit(unit).bandwidth_s
    rows, null = np.empty(9), np.empty(9)
    for i in range(9):
        others, one = unit.take(np.arange(9) != i), unit.take(np.array([i]))
        log_mu = PSTH(bandwidths_s=(width,), uses_elephant=False).fit(others).log_mu(one)
        mean = (others.counts.sum() + 0.5) / others.counts.size
        rows[i] = (one.counts * log_mu - np.exp(log_mu)).sum()
        null[i] = one.counts.sum() * np.log(mean) - 600 * mean
    expected = gain_interval(rows, null, unit.spikes_per_trial, 9)
    found = noise_ceiling(unit, assign_folds(unit.condition, 3)).leave_one_out
    # The floor of the PSTH is scaled with the mean of all trials there, of the others here.
    assert found.value == pytest.approx(expected.value, abs=1e-3)


def test_noise_gains_nothing_from_its_own_psth(make_unit):
    """V7: a PSTH that holds the trial itself would gain .4 bits/spike here; left out it must not."""
    rng = np.random.default_rng(11)
    values = []
    for _ in range(30):
        unit = make_unit(rng.poisson(0.05, (10, 200)))
        values.append(noise_ceiling(unit, assign_folds(unit.condition, 5)).leave_one_out.value)
    assert np.mean(values) <= 0.0 + 3.0 * np.std(values) / np.sqrt(30)


def test_words_and_numbers(make_unit):
    rng = np.random.default_rng(12)
    unit = make_unit(rng.poisson(RATE, (40, 600)))
    ceiling = noise_ceiling(unit, assign_folds(unit.condition, 5))
    entry = json.loads(json.dumps(ceiling.to_dict(), allow_nan=False))
    assert entry["is_reliable"]
    assert entry["sentence"].startswith("Signal power ")
    assert " of endless trials about " in entry["sentence"]
    flat = make_unit(np.tile(np.array([[0, 1], [1, 0]]), (3, 20)))
    entry = noise_ceiling(flat, np.arange(6) % 3).to_dict()
    assert not entry["is_reliable"]
    assert entry["explained"] is None
    assert NO_SIGNAL in entry["sentence"]


def test_too_few_trials_and_spikes_say_nothing(make_unit):
    silent = noise_ceiling(make_unit(np.zeros((6, 50))), np.arange(6) % 2)
    assert math.isnan(silent.limit.value)
    assert silent.to_dict()["limit"] == {"value": None, "ci": None}
    two = noise_ceiling(make_unit(np.ones((2, 50))), np.arange(2))
    assert two.sentence == ""
    json.dumps(two.to_dict(), allow_nan=False)


def test_a_stored_ceiling_is_the_ceiling(make_unit):
    unit = make_unit(np.random.default_rng(13).poisson(RATE, (12, 600)), condition=np.arange(12) % 2)
    fold = assign_folds(unit.condition, 3)
    case = UnitCase(name="a", trials=unit, fold=fold, seed=0, likelihood="poisson")
    arrays = ceiling_work(case)
    assert all(isinstance(values, np.ndarray) for values in arrays.values())
    assert read_ceiling(arrays) == noise_ceiling(unit, fold)
