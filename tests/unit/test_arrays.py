"""One unit's trials as plain arrays: what is taken out of a Trials dataset, checked by hand."""

from __future__ import annotations

import numpy as np
import pytest

from cortexrnn.encoding.arrays import unit_trials
from cortexrnn.errors import OptionError
from cortexrnn.schema import make_trials


@pytest.fixture
def trials():
    """Three trials of four bins, one of them burn-in; unit "b" misses a bin."""
    counts = np.arange(24, dtype=np.uint16).reshape(3, 4, 2)
    observed = np.ones(counts.shape, dtype=bool)
    observed[1, 2, 1] = False
    counts[1, 2, 1] = 0
    return make_trials(
        counts,
        observed=observed,
        scored=np.array([False, True, True, True]),
        time_s=np.arange(-1, 3) * 0.001,
        coords={
            "condition": ("trial", ["right", "left", "right"]),
            "start_s": ("trial", [1.0, 2.0, 3.0]),
            "unit": ("unit", ["a", "b"]),
        },
        attrs={"bin_s": 0.001, "align_to": "go", "history_s": 0.001},
    )


def test_a_unit_is_taken_out_by_its_position(trials):
    unit = unit_trials(trials, 1)
    np.testing.assert_array_equal(unit.counts, trials["counts"].values[:, :, 1])
    np.testing.assert_array_equal(unit.observed, trials["observed"].values[:, :, 1])
    np.testing.assert_array_equal(unit.start_s, [1.0, 2.0, 3.0])
    assert unit.bin_s == 0.001
    assert unit.is_locked


def test_scored_bins_are_observed_and_past_the_burn_in(trials):
    expected = np.array([[0, 1, 1, 1], [0, 1, 0, 1], [0, 1, 1, 1]], dtype=bool)
    np.testing.assert_array_equal(unit_trials(trials, 1).scored, expected)


def test_conditions_become_codes_in_sorted_order(trials):
    np.testing.assert_array_equal(unit_trials(trials, 0).condition, [1, 0, 1])


def test_spikes_of_a_trial_leave_out_the_burn_in(trials):
    # Unit "a" holds 0, 2, 4, ... 22; the first bin of each trial is burn-in.
    np.testing.assert_array_equal(
        unit_trials(trials, 0).spikes_per_trial, [2 + 4 + 6, 10 + 12 + 14, 18 + 20 + 22]
    )


def test_taking_trials_keeps_their_order_and_their_layout(trials):
    unit = unit_trials(trials, 0)
    taken = unit.take(np.array([2, 0]))
    np.testing.assert_array_equal(taken.counts, unit.counts[[2, 0]])
    np.testing.assert_array_equal(taken.start_s, [3.0, 1.0])
    assert taken.n_trials == 2
    assert all(array.flags.c_contiguous for array in (taken.counts, taken.observed, taken.scored))


def test_blocks_of_a_continuous_recording_are_not_locked(trials):
    assert not unit_trials(trials.assign_attrs(align_to="blocks"), 0).is_locked


def test_arrays_are_what_the_kernels_are_compiled_for(trials):
    unit = unit_trials(trials, 1)
    assert (unit.counts.dtype, unit.observed.dtype, unit.condition.dtype) == (np.uint16, bool, np.int64)
    assert all(array.flags.c_contiguous for array in (unit.counts, unit.observed, unit.scored))


def test_which_unit_must_be_said_where_there_are_several(trials):
    with pytest.raises(OptionError, match="trials holds 2 units"):
        unit_trials(trials)
    assert unit_trials(trials.isel(unit=[0])).n_trials == 3
