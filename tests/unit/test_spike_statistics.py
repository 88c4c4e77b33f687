"""Statistics of spike trains. Oracles: Elephant and scikit-learn where they have them, else hand counts."""

from __future__ import annotations

import math

import neo
import numpy as np
import pytest
import quantities as pq
from elephant import statistics as elephant
from sklearn.metrics import r2_score

from cortexrnn.encoding import spike_statistics as stats
from cortexrnn.encoding.constant import FittedConstant


@pytest.fixture
def unit(make_unit):
    """Thirty trials of one condition without gaps, at most one spike a bin."""
    return make_unit((np.random.default_rng(1).random((30, 400)) < 0.06).astype(int))


def elephant_trains(unit):
    """Give the trials as Neo spike trains, a spike in the middle of its bin."""
    n_bins = unit.counts.shape[1]
    return [
        neo.SpikeTrain((np.flatnonzero(row) + 0.5) * pq.ms, t_stop=n_bins * pq.ms) for row in unit.counts
    ]


def test_intervals_equal_elephants(unit):
    found = stats.find_intervals(unit.counts, unit.scored)
    expected = np.concatenate([elephant.isi(train).rescale("ms").magnitude for train in elephant_trains(unit)])
    np.testing.assert_allclose(found.n_bins, expected, rtol=1e-12)


def test_cv_equals_elephants_of_the_pooled_intervals(unit):
    intervals = stats.find_intervals(unit.counts, unit.scored)
    assert stats.interval_cv(intervals) == pytest.approx(elephant.cv(intervals.n_bins), rel=1e-12)


def test_cv2_equals_elephants_trial_by_trial(unit):
    for i in range(5):
        one = unit.take(np.array([i]))
        found = stats.interval_cv2(stats.find_intervals(one.counts, one.scored))
        assert found == pytest.approx(elephant.cv2(elephant.isi(elephant_trains(one)[0])), rel=1e-12)


def test_lv_equals_elephants_trial_by_trial(unit):
    for i in range(5):
        one = unit.take(np.array([i]))
        found = stats.interval_lv(stats.find_intervals(one.counts, one.scored))
        assert found == pytest.approx(elephant.lv(elephant.isi(elephant_trains(one)[0])), rel=1e-12)


def test_lv_of_a_clock_is_zero_and_of_doublets_by_hand(make_unit):
    clock, doublets = np.zeros((1, 40), int), np.zeros((1, 40), int)
    clock[0, ::4] = 1
    doublets[0, [0, 1, 4, 5, 8]] = 1
    lv = [stats.interval_lv(stats.find_intervals(u.counts, u.scored)) for u in map(make_unit, (clock, doublets))]
    # Intervals 1, 3, 1, 3: every contrast is a half.
    assert lv == pytest.approx([0.0, 0.75], rel=1e-12)


def test_cv2_pairs_no_intervals_of_different_trials(make_unit):
    """By hand: intervals 2, 4 | 8, 8, so that the pairs are (2, 4) and (8, 8), and not (4, 8): mean of 2/3 and 0."""
    counts = np.zeros((2, 20), dtype=int)
    counts[0, [1, 3, 7]] = 1
    counts[1, [1, 9, 17]] = 1
    unit = make_unit(counts)
    assert stats.interval_cv2(stats.find_intervals(unit.counts, unit.scored)) == pytest.approx(1.0 / 3.0, rel=1e-15)


def test_fano_factor_of_whole_trials_is_elephants_with_the_unbiased_variance(unit):
    """Elephant divides the sum of squares by n, we by n - 1."""
    n = unit.n_trials
    found = stats.fano_factor(unit.counts, unit, 400) * (n - 1) / n
    assert found == pytest.approx(elephant.fanofactor(elephant_trains(unit)), rel=1e-12)


def test_fano_factors_of_windows_and_conditions_by_hand(make_unit):
    """Two windows of two bins, two conditions: variances 2, 0 | 0.5, 0.5 over means 1, 1 | 0.5, 1.5."""
    counts = np.array([[0, 0, 1, 0], [1, 1, 0, 1], [0, 0, 1, 1], [1, 0, 1, 0]])
    unit = make_unit(counts, condition=[0, 0, 1, 1])
    assert stats.fano_factor(unit.counts, unit, 2) == pytest.approx(3.0 / 4.0, rel=1e-15)


def test_a_window_with_a_gap_is_left_out_of_the_fano_factor(make_unit):
    counts = np.array([[1, 0, 3, 0], [0, 0, 1, 0], [1, 1, 0, 0]])
    observed = np.ones(counts.shape, dtype=bool)
    observed[2, 1] = False
    unit = make_unit(counts, observed=observed)
    # First window: 1, 0 with variance 0.5 and mean 0.5; second: 3, 1, 0 with variance 7/3 and mean 4/3.
    assert stats.fano_factor(unit.counts, unit, 2) == pytest.approx((0.5 + 7.0 / 3.0) / (0.5 + 4.0 / 3.0), rel=1e-14)


def test_intervals_stop_at_gaps_and_several_spikes_of_a_bin_are_no_bin_apart(make_unit):
    counts = np.array([[1, 0, 2, 0, 1, 1]])
    observed = np.array([[True, True, True, False, True, True]])
    found = stats.find_intervals(*make_unit(counts, observed=observed)[0:3:2])
    assert found.n_bins.tolist() == [2, 0, 1]
    assert found.follows.tolist() == [False, True, False]


def test_shares_and_edges_of_intervals(make_unit):
    edges = stats.interval_edges(1000)
    assert edges[:4].tolist() == [0, 1, 2, 3]
    assert edges[-1] == 1000
    assert np.all(np.diff(edges) > 0)
    unit = make_unit(np.array([[1, 1, 0, 1, 0, 1]]))
    intervals = stats.find_intervals(unit.counts, unit.scored)
    np.testing.assert_allclose(stats.interval_shares(intervals, np.array([0, 2, 3])), [1 / 3, 2 / 3], rtol=1e-15)


def test_autocorrelation_by_hand(make_unit):
    """Spikes in bins 0, 2, 3 of five, bin 4 not observed. Lag 1: of 0 and 2, once; lag 2: of 0, once; lag 3: of 0."""
    observed = np.array([[True, True, True, True, False]])
    unit = make_unit(np.array([[1, 0, 1, 1, 0]]), observed=observed)
    found = stats.autocorrelation(unit.counts, unit.scored, 5)
    np.testing.assert_array_equal(found, [0.5, 1.0, 1.0, np.nan, np.nan])


def test_psth_by_hand(make_unit):
    counts = np.array([[1, 0, 0, 1], [1, 1, 0, 0], [0, 0, 0, 2]])
    observed = np.ones(counts.shape, dtype=bool)
    observed[0, 1] = False
    unit = make_unit(counts, observed=observed, condition=[0, 0, 1])
    np.testing.assert_allclose(stats.psth(unit.counts, unit, 2), [[1.0, 0.25], [0.0, 1.0]], rtol=1e-15)


def test_psth_r2_is_that_of_scikit_learn_over_what_is_finite():
    rng = np.random.default_rng(2)
    truth, guess = rng.random((3, 40)), rng.random((3, 40))
    truth[0, 3], guess[1, 5] = np.nan, np.nan
    kept = np.isfinite(truth) & np.isfinite(guess)
    assert stats.psth_r2(truth, guess) == pytest.approx(r2_score(truth[kept], guess[kept]), rel=1e-12)


def test_refractory_mass_by_hand(make_unit):
    """Of four scored spikes two come 1 and 2 bins after one; the first follows a spike of the burn-in."""
    unit = make_unit(np.array([[0, 1, 0, 1, 1, 0, 0, 0, 1, 0, 0, 0, 1]]), n_burn_in=3)
    assert stats.refractory_mass(unit.counts, unit) == pytest.approx(0.5, rel=1e-15)
    # A constant rate expects a tenth in each of ten scored bins: bins 3 to 6, 9, 10 lie within 2 of a spike.
    log_mu = FittedConstant(below=None, mu=0.2).log_mu(unit)
    assert stats.refractory_mass(unit.counts, unit, log_mu) == pytest.approx(0.6, rel=1e-12)


def test_fastest_windows_by_hand(make_unit):
    unit = make_unit(np.array([[1, 1, 0, 1, 0, 0], [0, 0, 0, 0, 0, 2]]))
    assert stats.fastest_windows(unit.counts, unit.scored, 3).tolist() == [2, 2]
    assert stats.fastest_windows(unit.counts, unit.scored, 99).tolist() == [3, 2]


def test_without_spikes_everything_is_nan_and_nothing_warns(make_unit):
    unit = make_unit(np.zeros((3, 30), dtype=int))
    intervals = stats.find_intervals(unit.counts, unit.scored)
    found = [
        stats.interval_cv(intervals),
        stats.interval_cv2(intervals),
        stats.fano_factor(unit.counts, unit, 10),
        stats.refractory_mass(unit.counts, unit),
        stats.psth_r2(stats.psth(unit.counts, unit, 5), np.ones((1, 6))),
        stats.autocorrelation(unit.counts, unit.scored, 3)[0],
        stats.interval_shares(intervals, np.array([0, 5]))[0],
    ]
    assert all(math.isnan(value) for value in found)


def test_windows_of_the_fano_curve_end_with_the_whole_stretch(make_unit):
    unit = make_unit(np.zeros((2, 337), dtype=int), n_burn_in=37)
    assert stats.fano_windows(unit.scored, 0.001).tolist() == [5, 10, 20, 50, 100, 200, 300]
