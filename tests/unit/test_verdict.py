"""The three-valued answer, as a truth table, and the number of trials that would settle it."""

from __future__ import annotations

import math
import re

import pytest

from cortexrnn.evaluation.scores import Gain
from cortexrnn.evaluation.verdict import (
    HISTORY_MATTERS,
    INCONCLUSIVE,
    NO_RELEVANT_HISTORY,
    decide,
    more_trials,
)

MATTERS, NONE, OPEN = HISTORY_MATTERS, NO_RELEVANT_HISTORY, INCONCLUSIVE


def gain(low, high, n_trials=50):
    """A gain in the middle of its interval."""
    return Gain(0.5 * (low + high), low, high, 0.1, 1.5, n_trials)


TRUTH = [
    # Interval over M3, interval over M6cut or None, surrogate p, spikes, trials, answer, words.
    ((0.02, 0.08), None, 0.05, 900, 50, MATTERS, "past spikes predict"),
    ((0.02, 0.08), (0.01, 0.09), 0.05, 900, 50, MATTERS, "past spikes predict"),
    ((0.001, 0.009), None, 0.05, 900, 50, MATTERS, "detectable, but negligible"),
    ((0.02, 0.08), None, 0.10, 900, 50, OPEN, "p = 0.1"),
    ((0.02, 0.08), None, None, 900, 50, OPEN, "no surrogate test"),
    ((0.02, 0.08), (-0.001, 0.05), 0.05, 900, 50, OPEN, "neither excludes zero"),
    ((-0.001, 0.05), (0.02, 0.08), 0.05, 900, 50, OPEN, "neither excludes zero"),
    ((0.0, 0.05), None, 0.05, 900, 50, OPEN, "neither excludes zero"),
    ((-0.004, 0.006), None, 0.5, 900, 50, NONE, r"lies within \+-0.01"),
    ((-0.01, 0.01), None, 0.5, 900, 50, NONE, r"lies within \+-0.01"),
    ((0.001, 0.009), None, 0.5, 900, 50, NONE, r"lies within \+-0.01"),
    ((-0.009, -0.001), None, 0.9, 900, 50, NONE, r"lies within \+-0.01"),
    ((-0.0101, 0.0), None, 0.9, 900, 50, OPEN, "neither excludes zero"),
    ((0.0, 0.0101), None, 0.9, 900, 50, OPEN, "neither excludes zero"),
    ((-0.08, -0.02), None, 0.9, 900, 50, OPEN, "over-fit"),
    ((0.02, 0.08), None, 0.05, 900, 9, OPEN, "Only 9 trials"),
    ((0.02, 0.08), None, 0.05, 900, 10, MATTERS, "past spikes predict"),
    ((0.02, 0.08), None, 0.05, 29, 50, OPEN, "Only 29 held-out spikes"),
    ((0.02, 0.08), None, 0.05, 30, 50, MATTERS, "past spikes predict"),
    ((-0.004, 0.006), None, 0.5, 29, 50, OPEN, "Only 29 held-out spikes"),
    ((math.nan, math.nan), None, None, 0, 50, OPEN, "Only 0 held-out spikes"),
]


@pytest.mark.parametrize(("over_gain", "over_cut", "p", "n_spikes", "n_trials", "answer", "words"), TRUTH)
def test_truth_table(over_gain, over_cut, p, n_spikes, n_trials, answer, words):
    gains = [gain(*interval, n_trials) for interval in (over_gain, over_cut) if interval is not None]
    found = decide(gains, p, n_spikes, 0.01)
    assert found.verdict == answer
    assert re.search(words, found.reason), found.reason


def test_region_of_equivalence_is_the_users():
    assert decide([gain(-0.03, 0.03)], 0.5, 900, 0.05).verdict == NONE
    assert decide([gain(-0.03, 0.03)], 0.5, 900, 0.02).verdict == OPEN


def test_more_trials_by_hand():
    # G = .019, s = .1, f = 1.5, n = 100: n1 = 2.8^2 .0225 / .000361 = 488.6; |G| > .01, so no n2.
    assert more_trials(Gain(0.019, -0.01, 0.05, 0.1, 1.5, 100), 0.01) == 389
    # G = -.002: only n2 = 3.24^2 .0225 / .008^2 = 3690.6 -> 3691.
    assert more_trials(Gain(-0.002, -0.05, 0.05, 0.1, 1.5, 1000), 0.01) == 2691
    # G = .0055: n1 = 7.84 .0225 / 3.025e-5 = 5831.4; n2 = 10.4976 .0225 / 2.025e-5 = 11664; the smaller.
    assert more_trials(Gain(0.0055, -0.05, 0.05, 0.1, 1.5, 1000), 0.01) == 4832
    # G = .0041: n1 = 7.84 .0225 / 1.681e-5 = 10493.8; n2 = 10.4976 .0225 / 3.481e-5 = 6785.3.
    assert more_trials(Gain(0.0041, -0.05, 0.05, 0.1, 1.5, 1000), 0.01) == 5786


def test_no_number_beyond_ten_times_the_recording():
    # n1 = 489 in all: 445 more than 44 are too many, 444 more than 45 are not.
    assert more_trials(Gain(0.019, -0.01, 0.05, 0.1, 1.5, 44), 0.01) is None
    assert more_trials(Gain(0.019, -0.01, 0.05, 0.1, 1.5, 45), 0.01) == 444


def test_too_few_trials_need_at_least_the_minimum():
    assert more_trials(Gain(1.0, 0.9, 1.1, 0.1, 1.5, 6), 0.01) == 4


@pytest.mark.parametrize("value", [-0.01, -0.5, math.nan])
def test_nothing_can_be_promised_for_a_clearly_negative_or_missing_gain(value):
    assert more_trials(Gain(value, value, value, 0.1, 1.5, 50), 0.01) is None


def test_a_gain_without_spread_needs_no_estimate():
    assert more_trials(Gain(0.02, 0.02, 0.02, 0.0, 1.5, 50), 0.01) is None
    assert more_trials(Gain(math.nan, math.nan, math.nan, math.nan, 1.5, 1), 0.01) is None
