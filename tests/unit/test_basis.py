"""The basis of the history filter: values from its equation, and what a basis must be."""

from __future__ import annotations

import numpy as np
import pytest

from cortexrnn.encoding.basis import history_basis
from cortexrnn.errors import OptionError

SHAPES = [
    (0.001, 0.001),
    (0.002, 0.001),
    (0.005, 0.001),
    (0.02, 0.001),
    (0.1, 0.001),
    (0.5, 0.001),
    (0.5, 0.005),
    (0.5, 0.02),
    (2.0, 0.0005),
]


@pytest.mark.parametrize(("history_s", "bin_s"), SHAPES)
def test_functions_are_independent_and_span_the_window(history_s, bin_s):
    basis = history_basis(history_s, bin_s)
    assert basis.shape[1] == round(history_s / bin_s)
    assert np.linalg.matrix_rank(basis) == basis.shape[0]
    assert basis.min() >= 0.0
    assert basis.max() <= 1.0
    assert (basis.max(axis=1) > 0.05).all()
    # No lag is left out: at every one some function has at least a tenth of its height.
    assert basis.max(axis=0).min() >= 0.1
    assert basis.flags.c_contiguous


def test_values_follow_the_equation():
    """Oracle: (1 + cos(pi (log(lag + 1 ms) - peak) / (2 spacing))) / 2 within two spacings, 0 beyond; single bins."""
    basis = history_basis(0.1, 0.001)
    position = np.log(np.arange(2, 102) * 1e-3)
    n = 1 + round((position[-1] - position[0]) / 0.45)
    spacing = (position[-1] - position[0]) / n
    rows = []
    for k in range(n):
        distance = (position - position[0] - k * spacing) / spacing
        rows.append(np.where(np.abs(distance) < 2.0, 0.5 * (1.0 + np.cos(0.5 * np.pi * distance)), 0.0))
    # Two of them end within the single bins.
    kept = [row for row in rows if row[5:].any()]
    assert len(kept) == n - 2
    np.testing.assert_allclose(basis, np.concatenate([kept, np.eye(5, 100)]), atol=1e-12)


@pytest.mark.parametrize(("history_s", "bin_s", "n_lags"), [(0.006, 0.001, 6), (0.02, 0.005, 4), (0.003, 0.0005, 6)])
def test_a_short_window_is_made_of_single_bins(history_s, bin_s, n_lags):
    np.testing.assert_array_equal(history_basis(history_s, bin_s), np.eye(n_lags))



def test_cosines_peak_one_after_the_other():
    basis = history_basis(0.5, 0.001)
    assert (np.diff(basis[:-5].argmax(axis=1)) > 0).all()


def test_resolution_falls_with_the_lag():
    widths = (history_basis(0.5, 0.001)[:-5] > 0.5).sum(axis=1)
    assert (np.diff(widths) >= 0).all()
    assert widths[-1] > 20 * widths[0]


def test_a_window_of_one_bin_has_one_function():
    np.testing.assert_array_equal(history_basis(0.001, 0.001), [[1.0]])


def test_a_window_shorter_than_a_bin_is_refused():
    with pytest.raises(OptionError, match="shorter than a bin"):
        history_basis(0.0004, 0.001)
    with pytest.raises(OptionError, match="history_s=-1"):
        history_basis(-1, 0.001)
