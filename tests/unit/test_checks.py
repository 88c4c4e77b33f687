"""Oracle: the docstring of each check, on values chosen by hand."""

from __future__ import annotations

import math

import numpy as np
import pytest

from cortexrnn._checks import check_choice, check_count, check_positive, check_window
from cortexrnn.errors import OptionError


@pytest.mark.parametrize("value", [1e-3, 2, np.float64(0.5), np.int64(7)])
def test_positive_numbers_come_back_as_floats(value):
    checked = check_positive("bin_s", value)
    assert checked == value
    assert type(checked) is float


@pytest.mark.parametrize("value", [0, -1.0, math.nan, math.inf])
def test_numbers_that_are_not_positive_and_finite_are_refused_with_their_value(value):
    with pytest.raises(OptionError, match=f"bin_s={value!r} is not a positive finite number"):
        check_positive("bin_s", value)


@pytest.mark.parametrize("value", [None, "a", [1, 2], 10**400])
def test_what_is_no_number_is_said_to_be_none(value):
    with pytest.raises(OptionError, match=r"bin_s=.* is not a number"):
        check_positive("bin_s", value)


@pytest.mark.parametrize("window", [(-0.2, 1.0), [0, 1], np.array([0.0, 0.5])])
def test_a_window_comes_back_as_two_floats(window):
    start, stop = check_window("window_s", window)
    assert (start, stop) == tuple(window)
    assert type(start) is type(stop) is float


@pytest.mark.parametrize(
    ("window", "message"),
    [
        ((1.0, 0.0), r"window_s=\(1.0, 0.0\) is not a window; expected finite start < stop in seconds"),
        ((0.0, 0.0), r"not a window"),
        ((math.nan, 1.0), r"not a window"),
        ((0.0, math.inf), r"not a window"),
        ((-math.inf, 0.0), r"not a window"),
        ((0.0, 1.0, 2.0), r"has 3 values; expected \(start, stop\) in seconds"),
        ((0.0,), r"has 1 values"),
        (("a", "b"), r"window_s='a' is not a number"),
        (0.5, r"window_s=0.5 is not a window"),
        (None, r"window_s=None is not a window"),
    ],
)
def test_what_is_no_window_is_refused(window, message):
    with pytest.raises(OptionError, match=message):
        check_window("window_s", window)


@pytest.mark.parametrize("value", [3, np.int64(3), 3.0])
def test_counts_come_back_as_ints(value):
    assert type(check_count("folds", value)) is int
    assert check_count("folds", value) == 3


@pytest.mark.parametrize("value", [0, -1, 2.5, True, math.nan, math.inf, "3"])
def test_what_is_no_count_is_refused(value):
    with pytest.raises(OptionError, match=f"folds={value!r} is not valid; expected an integer of at least 1"):
        check_count("folds", value)


def test_the_smallest_count_is_allowed_and_one_less_is_not():
    assert check_count("folds", 2, at_least=2) == 2
    with pytest.raises(OptionError, match="folds=1 is not valid; expected an integer of at least 2"):
        check_count("folds", 1, at_least=2)


@pytest.mark.parametrize("value", [None, "five", [1]])
def test_a_count_that_is_no_number_is_refused_too(value):
    with pytest.raises(OptionError, match=r"folds=.* is not a number"):
        check_count("folds", value)


def test_a_choice_comes_back_and_an_unknown_one_lists_the_known():
    assert check_choice("order", "random", ("contiguous", "random")) == "random"
    with pytest.raises(OptionError, match="order='up' is unknown; expected one of contiguous, random"):
        check_choice("order", "up", ("contiguous", "random"))


def test_a_choice_may_come_from_an_iterator():
    assert check_choice("order", "b", iter("abc")) == "b"
