"""Which trials are held out together, by hand."""

from __future__ import annotations

import numpy as np
import pytest

from cortexrnn.errors import OptionError
from cortexrnn.spikes.folds import assign_folds, validation_split


def test_folds_are_runs_of_neighbouring_trials():
    np.testing.assert_array_equal(assign_folds(np.zeros(10), 5), [0, 0, 1, 1, 2, 2, 3, 3, 4, 4])
    np.testing.assert_array_equal(assign_folds(np.zeros(7), 3), [0, 0, 0, 1, 1, 2, 2])


def test_folds_are_contiguous_within_each_condition():
    condition = np.tile([0, 1, 2], 10)
    fold = assign_folds(condition, 5)
    for value in range(3):
        np.testing.assert_array_equal(fold[condition == value], np.repeat(np.arange(5), 2))


@pytest.mark.parametrize("order", ["contiguous", "random"])
def test_conditions_are_shared_out_evenly(order):
    rng = np.random.default_rng(1)
    for n_folds in (2, 3, 5, 8):
        condition = rng.choice(4, 97, p=[0.6, 0.25, 0.1, 0.05])
        fold = assign_folds(condition, n_folds, order=order)
        for value in range(4):
            sizes = np.bincount(fold[condition == value], minlength=n_folds)
            assert np.ptp(sizes) <= 1
        assert set(fold) == set(range(n_folds))


def test_rare_conditions_do_not_all_fall_into_the_first_fold():
    # Ten conditions of one trial each: every fold gets two.
    np.testing.assert_array_equal(np.bincount(assign_folds(np.arange(10), 5)), [2, 2, 2, 2, 2])


def test_remainders_of_the_conditions_do_not_pile_up_in_one_fold():
    # Five conditions of six trials: one each has two trials in a fold, and every fold is that fold once.
    np.testing.assert_array_equal(np.bincount(assign_folds(np.repeat(np.arange(5), 6), 5)), [6, 6, 6, 6, 6])


def test_random_folds_follow_their_seed():
    condition = np.zeros(40)
    first = assign_folds(condition, 5, order="random", seed=1)
    np.testing.assert_array_equal(first, assign_folds(condition, 5, order="random", seed=1))
    assert (first != assign_folds(condition, 5, order="random", seed=2)).any()
    assert (np.diff(first) < 0).any()


def test_as_many_folds_as_trials_leave_one_out():
    assert sorted(assign_folds(np.array([0, 1, 0, 1, 1]), 5)) == [0, 1, 2, 3, 4]


def test_more_folds_than_trials_are_refused():
    with pytest.raises(OptionError, match="folds=5 is more than the 4 trials"):
        assign_folds(np.zeros(4), 5)
    with pytest.raises(OptionError, match="One trial cannot be held out"):
        assign_folds(np.zeros(1), 2)
    with pytest.raises(OptionError, match="n_folds=1"):
        assign_folds(np.zeros(4), 1)
    with pytest.raises(OptionError, match="order='shuffled'"):
        assign_folds(np.zeros(4), 2, order="shuffled")


def test_validation_trials_are_every_fifth_of_a_condition():
    np.testing.assert_array_equal(np.flatnonzero(validation_split(np.zeros(13))), [2, 7, 12])
    condition = np.r_[np.zeros(5), np.ones(5)]
    np.testing.assert_array_equal(np.flatnonzero(validation_split(condition)), [2, 7])


@pytest.mark.parametrize("condition", [np.zeros(2), np.arange(4), np.array([0, 0, 1, 1])])
def test_small_training_sets_keep_one_validation_trial(condition):
    is_validation = validation_split(condition)
    assert is_validation.sum() == 1
    assert not is_validation.all()
