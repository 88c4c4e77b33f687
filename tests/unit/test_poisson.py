"""Regression on a design of the user's own: closed forms, and degenerate designs that must say so."""

from __future__ import annotations

import warnings

import numpy as np
import pytest
from scipy import stats

from cortexrnn.encoding.poisson import _column_sizes, fit_poisson
from cortexrnn.errors import DataError, NumericalError, NumericalWarning, OptionError

# Newton stops within 1e-10 nats of the maximum: sqrt(2e-10 / 200 spikes) in a log rate.
RTOL = 2e-6
RNG = np.random.default_rng(12)
N = 200
ONE = np.ones(N)
X = RNG.normal(size=N)
GROUP = (np.arange(N) < N // 2).astype(float)
Y = RNG.poisson(1.0, N)
SPIKE_AT_0 = np.r_[1.0, np.zeros(N - 1)]


def columns(*parts):
    """Put columns side by side."""
    return np.column_stack(parts)


# Design, counts, options. Together 30 (reliability row R12): each ends in a finite answer, or says why not.
DEGENERATE = {
    "separable": (columns(ONE, GROUP), np.where(GROUP > 0, 0, Y + 1), {}),
    "separable from above": (columns(ONE, 1.0 - GROUP), np.where(GROUP > 0, 0, Y + 1), {}),
    "separable by two groups": (columns(GROUP, 1.0 - GROUP), np.where(GROUP > 0, 0, Y + 1), {}),
    "separable slope": (columns(X), np.where(X > 0, 0, 0), {}),
    "one spike at one indicator": (columns(ONE, SPIKE_AT_0), SPIKE_AT_0, {}),
    "silence at one indicator": (columns(ONE, SPIKE_AT_0), (1 - SPIKE_AT_0) * (Y + 1), {}),
    "collinear": (columns(ONE, X, 2.0 * X), Y, {}),
    "collinear to round-off": (columns(ONE, X, X + 1e-14), Y, {}),
    "nearly collinear": (columns(ONE, X, X + 1e-7 * RNG.normal(size=N)), Y, {}),
    "two intercepts": (columns(ONE, ONE), Y, {}),
    "dummy trap": (columns(ONE, GROUP, 1.0 - GROUP), Y, {}),
    "zero column": (columns(ONE, 0.0 * X), Y, {}),
    "only a zero column": (columns(0.0 * X), Y, {}),
    "no counts": (columns(ONE, X), 0 * Y, {}),
    "no counts, no intercept": (columns(X), 0 * Y, {}),
    "no counts, zero column": (columns(0.0 * X), 0 * Y, {}),
    "huge covariate": (columns(ONE, 1e12 * X), Y, {}),
    "square overflows": (columns(ONE, 1e200 * X), Y, {}),
    "largest doubles": (columns(ONE, 1e308 * np.sign(X)), Y, {}),
    "tiny covariate": (columns(ONE, 1e-12 * X), Y, {}),
    "square underflows": (columns(ONE, 1e-200 * X), Y, {}),
    "scales apart": (columns(1e-150 * ONE, 1e150 * X), Y, {}),
    "one outlying covariate": (columns(ONE, 1e6 * SPIKE_AT_0 + X), Y, {}),
    "covariate far from zero": (columns(ONE, 1e8 + X), Y, {}),
    "huge counts": (columns(ONE, X), Y * 10**12, {}),
    "one huge count": (columns(ONE, X), (SPIKE_AT_0 * 1e9).astype(int), {}),
    "more columns than bins": (RNG.normal(size=(5, 9)), np.array([0, 1, 2, 0, 3]), {}),
    "one bin": (np.ones((1, 1)), np.array([3]), {}),
    "offset far off": (columns(ONE, X), Y, {"offset": np.full(N, 900.0)}),
    "offsets apart": (columns(ONE, X), Y, {"offset": np.where(X > 0, 300.0, -300.0)}),
}


def test_there_are_thirty_degenerate_designs():
    assert len(DEGENERATE) == 30


@pytest.mark.parametrize("case", DEGENERATE.values(), ids=DEGENERATE.keys())
def test_degenerate_design_gives_a_finite_answer_or_says_why(case):
    """Oracle: the gradient at a maximum is zero, whatever the design; else a named warning or error."""
    design, counts, options = case
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        try:
            fit = fit_poisson(design, counts, **options)
        except NumericalError:
            return
    assert {warning.category for warning in caught} <= {NumericalWarning}
    assert np.isfinite(fit.coefficients).all()
    assert np.isfinite([fit.log_likelihood, fit.deviance]).all()
    if fit.is_converged:
        scale = np.abs(design).max(axis=0)
        scale[scale == 0.0] = 1.0
        eta = (design / scale) @ (fit.coefficients * scale) + options.get("offset", 0.0)
        slope = (design / scale).T @ (counts - np.exp(eta))
        # A decrement of 1e-10 nats leaves a slope of sqrt(2e-10 curvature); the curvature is the spikes'.
        assert np.abs(slope).max() <= 1e-4 * np.sqrt(counts.sum() + 1.0) + 1e-12 * counts.sum()
    else:
        assert caught


@pytest.mark.parametrize(
    "name",
    [
        "separable",
        "collinear",
        "two intercepts",
        "dummy trap",
        "zero column",
        "no counts",
        "more columns than bins",
    ],
)
def test_coefficients_that_the_data_do_not_determine_are_named(name):
    design, counts, options = DEGENERATE[name]
    with pytest.warns(NumericalWarning, match="do not determine the coefficients of columns"):
        fit_poisson(design, counts, **options)


def test_a_small_ridge_settles_separable_data_without_a_warning():
    design, counts, _ = DEGENERATE["separable"]
    fit = fit_poisson(design, counts, ridge=1e-2)
    assert fit.is_converged
    assert -20.0 < fit.coefficients[1] < -2.0


def test_an_intercept_is_the_log_of_the_mean():
    fit = fit_poisson(ONE[:, None], Y)
    assert fit.coefficients[0] == pytest.approx(np.log(Y.mean()), abs=RTOL)
    assert fit.standard_errors[0] == pytest.approx(1.0 / np.sqrt(Y.sum()), rel=RTOL)


def test_two_groups_have_their_own_means_and_deviance():
    fit = fit_poisson(columns(GROUP, 1.0 - GROUP), Y)
    means = np.array([Y[g == GROUP].mean() for g in (1, 0)])
    np.testing.assert_allclose(np.exp(fit.coefficients), means, rtol=RTOL)
    mu = np.where(GROUP > 0, means[0], means[1])
    log_likelihood = stats.poisson.logpmf(Y, mu).sum()
    saturated = stats.poisson.logpmf(Y[Y > 0], Y[Y > 0]).sum()
    assert fit.log_likelihood == pytest.approx(log_likelihood, rel=1e-12)
    assert fit.deviance == pytest.approx(2.0 * (saturated - log_likelihood), rel=1e-10)
    assert fit.aic == pytest.approx(4.0 - 2.0 * log_likelihood, rel=1e-12)


def test_offset_is_a_known_part_of_the_log_mean():
    exposure = np.where(GROUP > 0, 2.0, 0.5)
    fit = fit_poisson(ONE[:, None], Y, offset=np.log(exposure))
    assert np.exp(fit.coefficients[0]) == pytest.approx(Y.sum() / exposure.sum(), rel=RTOL)


def test_ridge_solves_its_score_equation_in_the_users_units():
    design = columns(ONE, 1e3 * X)
    fit = fit_poisson(design, Y, ridge=5.0)
    mu = np.exp(design @ fit.coefficients)
    np.testing.assert_allclose(
        design.T @ (Y - mu) / np.array([1.0, 1e3]), 5.0 * fit.coefficients / [1.0, 1e3], atol=1e-4
    )
    assert np.isnan(fit.aic)


def test_duplicated_data_keep_coefficients_and_halve_variances():
    design = columns(ONE, X)
    once, twice = fit_poisson(design, Y), fit_poisson(np.tile(design, (2, 1)), np.tile(Y, 2))
    np.testing.assert_allclose(twice.coefficients, once.coefficients, rtol=RTOL)
    np.testing.assert_allclose(twice.standard_errors, once.standard_errors / np.sqrt(2.0), rtol=RTOL)
    assert twice.deviance == pytest.approx(2.0 * once.deviance, rel=1e-10)


@pytest.mark.parametrize(
    ("design", "counts", "options", "error", "message"),
    [
        (np.ones((3, 1)), np.zeros(4), {}, DataError, r"design has shape \(3, 1\)"),
        (np.ones((3, 0)), np.zeros(3), {}, DataError, r"design has shape \(3, 0\)"),
        (np.ones((0, 1)), np.zeros(0), {}, DataError, r"design has shape \(0, 1\)"),
        (np.ones(3), np.zeros(3), {}, DataError, "design has shape"),
        (np.full((3, 1), np.nan), np.zeros(3), {}, DataError, "design holds 3 values"),
        (np.ones((3, 1)), np.array([0, np.inf, 1]), {}, DataError, "counts holds 1 values"),
        (np.ones((3, 1)), np.array([0, -1, 1]), {}, DataError, "smallest is -1"),
        (np.ones((3, 1)), np.array([0, 0.5, 1]), {}, DataError, "whole and not negative"),
        (np.ones((3, 1)), np.zeros(3), {"offset": np.zeros(2)}, DataError, r"offset has shape \(2,\)"),
        (np.ones((3, 1)), np.zeros(3), {"offset": np.full(3, np.inf)}, DataError, "offset holds 3 values"),
        (np.ones((3, 1)), np.zeros(3), {"ridge": -1.0}, OptionError, "ridge=-1.0"),
        (np.ones((3, 1)), np.zeros(3), {"ridge": np.nan}, OptionError, "ridge=nan"),
    ],
)
def test_what_cannot_be_fitted_is_refused(design, counts, options, error, message):
    with pytest.raises(error, match=message):
        fit_poisson(design, counts, **options)


def test_column_sizes_are_root_mean_squares_whatever_the_unit():
    rng = np.random.default_rng(5)
    columns = np.column_stack([rng.normal(size=1000), np.zeros(1000), np.full(1000, 3.0)])
    expected = np.sqrt((columns**2).mean(axis=0))
    # Squares of 1e200 and of 1e-200 do not exist in double precision.
    for unit in (1.0, 1e200, 1e-200):
        np.testing.assert_allclose(_column_sizes(unit * columns), unit * expected, rtol=1e-12)


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_the_size_of_a_column_that_is_not_finite_is_not_finite(bad):
    columns = np.ones((7, 2))
    columns[3, 1] = bad
    sizes = _column_sizes(columns)
    assert sizes[0] == 1.0
    assert not np.isfinite(sizes[1])
