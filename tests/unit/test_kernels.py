"""The regression's loops. Oracles: features by plain loops, terms by hand, derivatives by differences."""

from __future__ import annotations

import runpy
from pathlib import Path

import numpy as np
import pytest

from cortexrnn.encoding.basis import history_basis
from cortexrnn.encoding.block_kernels import BLOCK, design_pass
from cortexrnn.encoding.kernels import (
    history_design,
    history_effect,
    history_pass,
    thin_blocks,
)
from cortexrnn.encoding.likelihood import BERNOULLI, POISSON

TWIN = runpy.run_path(str(Path(__file__).parents[1] / "reference" / "ladder_twins.py"))
MEAN = 0.07


def draw(make_unit, shape, *, share_observed, n_burn_in, seed):
    """Counts with several spikes a bin, gaps of several bins, burn-in."""
    rng = np.random.default_rng(seed)
    observed = np.repeat(rng.random((shape[0], shape[1] // 4)) < share_observed, 4, axis=1)
    return make_unit(rng.poisson(0.15, shape), observed=observed, n_burn_in=n_burn_in)


def read_features(unit, basis):
    """Read the kernel's features one by one, as the effect of unit weights; NaN where nothing is scored."""
    design = history_design(unit, basis, MEAN)
    everyone = np.ones(unit.n_trials, dtype=bool)
    rows = np.eye(basis.shape[0] + 1)
    features = np.array([history_effect(row, design, unit.scored, everyone) for row in rows])
    return np.where(unit.scored, features, np.nan)


@pytest.mark.parametrize("share_observed", [1.0, 0.8, 0.3])
@pytest.mark.parametrize("n_burn_in", [0, 9])
def test_history_features_equal_the_slow_twin(make_unit, share_observed, n_burn_in):
    """Spikes, several in a bin too, and the mean in place of bins that nobody observed."""
    unit = draw(make_unit, (6, 80), share_observed=share_observed, n_burn_in=n_burn_in, seed=1)
    basis = history_basis(0.03, 0.001)
    found = read_features(unit, basis)
    expected = TWIN["history_features"](unit.counts, unit.observed, basis, MEAN)
    shown = np.isfinite(found)
    np.testing.assert_allclose(found[shown], expected[shown], rtol=1e-12, atol=1e-13)
    np.testing.assert_array_equal(shown[0], unit.scored)


def test_features_continue_across_blocks_of_bins(make_unit):
    """A trial longer than a block of the cache, with spikes and a gap that straddle its edge."""
    counts = np.zeros((1, 2 * BLOCK + 50))
    counts[0, [BLOCK - 30, BLOCK - 1, BLOCK, 2 * BLOCK - 1]] = [1, 2, 1, 1]
    observed = np.ones(counts.shape, dtype=bool)
    observed[0, BLOCK - 10 : BLOCK - 4] = False
    unit = make_unit(counts, observed=observed, n_burn_in=100)
    basis = history_basis(0.05, 0.001)
    expected = TWIN["history_features"](unit.counts, unit.observed, basis, MEAN)
    found = read_features(unit, basis)
    shown = np.isfinite(found)
    np.testing.assert_allclose(found[shown], expected[shown], rtol=1e-12, atol=1e-13)


@pytest.fixture
def regression(make_unit):
    """A small regression with gaps, burn-in and a mask that leaves trials out."""
    rng = np.random.default_rng(2)
    unit = draw(make_unit, (7, 60), share_observed=0.8, n_burn_in=5, seed=3)
    unit = unit._replace(counts=np.minimum(unit.counts, 1))
    basis = history_basis(0.02, 0.001)
    log_mu = rng.normal(-2.0, 0.5, unit.counts.shape)
    weights = rng.normal(0.0, 0.4, basis.shape[0] + 1)
    mask = np.array([1, 1, 0, 1, 1, 0, 1], dtype=bool)
    return unit, basis, log_mu, weights, mask


def slow_value(unit, basis, log_mu, weights, mask, likelihood):
    """Sum the twin's terms over the scored bins of the chosen trials, without log y!."""
    features = TWIN["history_features"](unit.counts, unit.observed, basis, MEAN)
    mu = np.exp(log_mu + np.tensordot(weights, features, axes=1))
    chosen = unit.scored & mask[:, None]
    terms = [
        TWIN["log_likelihood"](int(y), m, likelihood)
        for y, m in zip(unit.counts[chosen], mu[chosen], strict=True)
    ]
    return float(np.sum(terms))


@pytest.mark.parametrize(("likelihood", "code"), [("poisson", POISSON), ("bernoulli", BERNOULLI)])
def test_value_gradient_and_hessian_equal_those_of_the_slow_twin(regression, likelihood, code):
    """Oracle: the twin's value, and its derivatives by a central difference."""
    unit, basis, log_mu, weights, mask = regression
    design = history_design(unit, basis, MEAN)

    def run(w):
        return history_pass(w, design, unit.counts, unit.scored, log_mu, mask, code, True)

    value, gradient, hessian = run(weights)
    assert value == pytest.approx(slow_value(unit, basis, log_mu, weights, mask, likelihood), rel=1e-12)
    step = 1e-5
    for p in range(weights.size):
        shift = step * np.eye(weights.size)[p]
        slope = slow_value(unit, basis, log_mu, weights + shift, mask, likelihood)
        slope -= slow_value(unit, basis, log_mu, weights - shift, mask, likelihood)
        # Central differences err by step squared times a third derivative of some 100, and round-off / step.
        assert gradient[p] == pytest.approx(slope / (2.0 * step), rel=1e-6, abs=1e-6)
        curvature = -(run(weights + shift)[1] - run(weights - shift)[1]) / (2.0 * step)
        np.testing.assert_allclose(hessian[p], curvature, rtol=1e-6, atol=1e-6)
    np.testing.assert_array_equal(hessian, hessian.T)


def test_effect_is_zero_before_the_first_scored_bin_and_in_trials_left_out(regression):
    unit, basis, _, weights, mask = regression
    effect = history_effect(weights, history_design(unit, basis, MEAN), unit.scored, mask)
    assert not effect[~mask].any()
    assert not effect[:, :5].any()
    assert effect[mask].any()


@pytest.mark.parametrize("n_bins", [1, 50, BLOCK, 2 * BLOCK + 3])
def test_design_pass_equals_matrix_algebra(n_bins):
    """Oracle: X'(y - mu) and X' diag(mu) X."""
    rng = np.random.default_rng(4)
    design, offset = rng.normal(size=(n_bins, 3)), rng.normal(-1.0, 0.3, n_bins)
    counts, weights = rng.poisson(0.5, n_bins).astype(float), np.array([0.2, -0.5, 0.1])
    value, gradient, hessian = design_pass(weights, 2.0 * design, np.full(3, 0.5), counts, offset, POISSON)
    eta = design @ weights + offset
    mu = np.exp(eta)
    # Sums of up to 2000 terms in another order.
    assert value == pytest.approx(counts @ eta - mu.sum(), rel=1e-12)
    np.testing.assert_allclose(gradient, design.T @ (counts - mu), rtol=1e-10, atol=1e-11)
    np.testing.assert_allclose(hessian, design.T @ (mu[:, None] * design), rtol=1e-11, atol=1e-12)


def test_inputs_are_left_as_they_were(regression):
    unit, basis, log_mu, weights, mask = regression
    before = unit.counts.copy(), log_mu.copy(), weights.copy()
    history_pass(weights, history_design(unit, basis, MEAN), unit.counts, unit.scored, log_mu, mask, POISSON, True)
    for array, kept in zip((unit.counts, log_mu, weights), before, strict=True):
        np.testing.assert_array_equal(array, kept)


def test_thinned_blocks_are_every_third_of_all_trials_in_order():
    scored = np.ones((2, 2 * BLOCK + 10), dtype=bool)
    scored[0, :5] = False
    thin = thin_blocks(scored, 3)
    # Blocks 0, 1, 2 of the first trial are numbers 0, 1, 2 and those of the second 3, 4, 5.
    expected = np.zeros_like(scored)
    expected[0, 5:BLOCK] = expected[1, :BLOCK] = True
    np.testing.assert_array_equal(thin, expected)


def test_a_pass_over_thinned_blocks_sums_those_bins_alone(make_unit):
    """Oracle: a sum over the blocks kept and one over the others make the sum over all."""
    rng = np.random.default_rng(6)
    unit = make_unit(rng.poisson(0.1, (1, 4 * BLOCK)), n_burn_in=30)
    basis = history_basis(0.02, 0.001)
    design, log_mu = history_design(unit, basis, MEAN), np.full(unit.counts.shape, -2.0)
    weights, everyone = np.full(basis.shape[0] + 1, 0.1), np.ones(1, dtype=bool)
    thin = thin_blocks(unit.scored, 2)
    parts = [
        history_pass(weights, design, unit.counts, kept, log_mu, everyone, POISSON, True)
        for kept in (thin, unit.scored & ~thin, unit.scored)
    ]
    # The Hessian is added up in single precision within a block.
    for first, second, whole, rtol in zip(*parts, (1e-11, 1e-11, 1e-5), strict=True):
        np.testing.assert_allclose(np.add(first, second), whole, rtol=rtol)
