"""Many units, one question. Oracles: SciPy, Student's t by hand, simulated populations."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy import stats

from cortexrnn.evaluation.detectable import detectable_gain, detectable_words
from cortexrnn.evaluation.discoveries import find_discoveries, history_p
from cortexrnn.evaluation.scores import Gain, gain_interval
from cortexrnn.evaluation.seeds import seed_spread
from cortexrnn.evaluation.verdict import more_trials
from cortexrnn.numerics.multiple_tests import false_discovery

LN2 = np.log(2.0)
NOTHING = Gain(math.nan, math.nan, math.nan, math.nan, 1.5, 20)


def test_false_discovery_rates_are_those_of_scipy_and_leave_nan_alone():
    p = np.random.default_rng(1).random(40) ** 3
    np.testing.assert_allclose(false_discovery(p), stats.false_discovery_control(p), rtol=1e-12)
    table = np.array([[np.nan, 0.01], [0.2, np.nan]])
    np.testing.assert_allclose(false_discovery(table), [[np.nan, 0.02], [0.2, np.nan]], rtol=1e-12)
    assert false_discovery(np.array([])).shape == (0,)


def test_p_of_a_gain_by_hand():
    """G = .3, f s / sqrt(n) = 1.5 * .4 / 4 = .15, so t = 2 with 15 degrees of freedom: .0639 from tables, two-sided."""
    assert history_p([Gain(0.3, -0.02, 0.62, 0.4, 1.5, 16)]) == pytest.approx(0.06395, abs=5e-6)


def test_p_falls_below_five_percent_exactly_where_the_interval_leaves_zero():
    rng = np.random.default_rng(2)
    seen = set()
    for _ in range(300):
        spikes = rng.poisson(5.0, 15) + 1
        gain = gain_interval(rng.normal(0.8, 1.0, 15), np.zeros(15), spikes, 5)
        assert (history_p([gain]) < 0.05) == (gain.low > 0.0)
        seen.add(gain.low > 0.0)
    assert seen == {True, False}


def test_a_negative_gain_is_no_evidence():
    assert history_p([Gain(-0.3, -0.6, -0.1, 0.1, 1.5, 16)]) == 1.0


def test_the_control_that_is_harder_to_beat_decides():
    easy, hard = Gain(0.3, 0.2, 0.4, 0.1, 1.5, 16), Gain(0.05, -0.1, 0.2, 0.4, 1.5, 16)
    assert history_p([easy, hard]) == history_p([hard, easy]) == history_p([hard])
    assert math.isnan(history_p([easy, NOTHING]))
    assert math.isnan(history_p([NOTHING, easy]))


@pytest.mark.parametrize(("value", "p"), [(0.2, 0.0), (0.0, 1.0), (-0.2, 1.0)])
def test_a_gain_without_spread_is_beyond_doubt(value, p):
    assert history_p([Gain(value, value, value, 0.0, 1.5, 16)]) == p


def test_units_that_fail_the_surrogates_count_as_tests_but_are_never_found():
    """By hand: gated p are .01, 1, 1, .02; q = .01 * 4 / 1 and .02 * 4 / 2, the unit with NaN apart."""
    found = find_discoveries([0.01, 0.001, 0.001, 0.02, None], [0.05, 0.1, None, 0.05, 0.05])
    np.testing.assert_allclose(found.q, [0.04, 1.0, 1.0, 0.04, np.nan], rtol=1e-12)
    assert found.is_found.tolist() == [True, False, False, True, False]
    assert found.n_tests == 4
    assert found.sentence == (
        "At a false discovery rate of 5 % history matters in 2 of the 4 units tested (Benjamini-Hochberg)."
    )


def test_one_unit_is_no_multiple_test():
    assert find_discoveries([0.01], [0.05]).sentence == ""
    assert find_discoveries([], []).n_tests == 0


def test_nineteen_surrogates_would_find_nobody_by_their_own_p():
    """Why they are a gate: their smallest p, .05, passes no step of Benjamini and Hochberg unless all units have it."""
    surrogate_p = np.where(np.arange(100) < 90, 0.05, 0.5)
    assert (false_discovery(surrogate_p) > 0.05).all()
    by_interval = find_discoveries(np.where(np.arange(100) < 90, 1e-4, 0.5), surrogate_p)
    assert by_interval.is_found.sum() == 90


def test_share_of_false_ones_among_those_found_stays_below_the_rate():
    """Simulated: 100 units, 60 without history, 30 trials; 200 populations. Oracle: the truth that was planted."""
    rng = np.random.default_rng(3)
    has_history = np.arange(100) >= 60
    shares, hits = [], []
    for _ in range(200):
        mean = rng.normal(np.where(has_history, 0.8, 0.0)[:, None], 1.0, (100, 30))
        spread = mean.std(axis=1, ddof=1)
        p = [history_p([Gain(m, 0.0, 0.0, s, 1.0, 30)]) for m, s in zip(mean.mean(axis=1), spread, strict=True)]
        found = find_discoveries(p, [0.05] * 100).is_found
        shares.append((found & ~has_history).sum() / max(found.sum(), 1))
        hits.append(found[has_history].mean())
    # Half of .05 * 60 / 100, as only gains above zero count; three standard errors of 200 populations.
    expected, error = 0.015, np.std(shares) / np.sqrt(200)
    assert abs(np.mean(shares) - expected) < 3.0 * error
    assert np.mean(hits) > 0.9


def test_detectable_gain_by_hand_and_beside_more_trials():
    """2.8 * 1.5 * .1 / 10 = .042; a unit that has this gain needs no more trials, one with less does."""
    gain = Gain(0.042, 0.0, 0.0, 0.1, 1.5, 100)
    assert detectable_gain(gain) == pytest.approx(0.042, rel=1e-12)
    assert more_trials(gain._replace(value=0.0421), 0.01) == 0
    assert more_trials(gain._replace(value=0.0419), 0.01) == 1
    assert math.isnan(detectable_gain(NOTHING))


def test_a_gain_of_this_size_shows_in_four_fifths_of_the_recordings():
    """Simulated intervals of 60 trials; the error of training is drawn beside that of the trials."""
    rng = np.random.default_rng(4)
    n, inflation, sd = 60, 1.5, 0.3
    smallest = detectable_gain(Gain(0.0, 0.0, 0.0, sd, inflation, n))
    shown = 0
    for _ in range(4000):
        trials = rng.normal(smallest, sd, n)
        value = trials.mean() + rng.normal(0.0, sd * np.sqrt((inflation**2 - 1.0) / n))
        reach = stats.t.ppf(0.975, n - 1) * inflation * trials.std(ddof=1) / np.sqrt(n)
        shown += value > reach
    # Student's t for the normal of the formula costs .013 at 60 trials; sampling error .0065.
    assert shown / 4000 == pytest.approx(0.8 - 0.013, abs=3 * 0.0065)


def test_the_sentence_names_gain_and_trials():
    assert detectable_words(0.0421, 120) == (
        "A gain of 0.042 bits/spike would show in 120 trials with a power of 80 %."
    )
    assert detectable_words(None, 120) == detectable_words(math.nan, 120) == ""


def test_spread_over_seeds_is_given_for_every_network():
    """By hand: 10 spikes; sums of 7 and 9 nats differ by 2, SD sqrt(2), in bits per spike over 10 ln 2."""
    rows = {"M6": np.array([[3.0, 4.0], [4.0, 5.0]]), "M6 LSTM": np.zeros((2, 2)), "M5": np.ones((2, 2))}
    found = seed_spread(rows, ["M6", "M6 Dale", "M6 LSTM"], np.array([4, 6]))
    assert found == pytest.approx({"M6": np.sqrt(2.0) / (10.0 * LN2), "M6 LSTM": 0.0}, rel=1e-12)
    assert seed_spread({"M6": np.zeros((1, 2))}, ["M6"], np.array([4, 6])) == {}
    assert seed_spread(rows, ["M6"], np.array([0, 0])) == {}
