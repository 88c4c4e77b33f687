"""Ridge read-outs, free and with signs. Oracles: scikit-learn's Ridge, SciPy's nnls and lstsq, cases by hand."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from scipy.optimize import nnls
from sklearn.linear_model import Ridge as SklearnRidge

from cortexrnn.errors import DataError, NumericalError, OptionError
from cortexrnn.training.reservoirs.readout import Ridge, SignedRidge, relative_error

SIGNS = tuple(np.where(np.arange(20) < 14, 1, -1))


def samples(n=300, n_features=20, n_outputs=2, seed=0, noise=0.3):
    """States with unequal means and scales, and noisy linear targets."""
    rng = np.random.default_rng(seed)
    states = rng.normal(size=(n, n_features)) * rng.uniform(0.5, 2.0, n_features) + rng.normal(size=n_features)
    return states, states @ rng.normal(size=(n_features, n_outputs)) + 2.0 + noise * rng.normal(size=(n, n_outputs))


def absolute(states, penalty, weights=None):
    """The penalty as other libraries count it."""
    weights = np.ones(len(states)) if weights is None else weights
    centred = states - weights @ states / weights.sum()
    return penalty * np.sum(weights[:, None] * centred**2) / states.shape[1]


@pytest.mark.parametrize("penalty", [1e-6, 1e-2, 10.0])
def test_ridge_is_that_of_scikit_learn(penalty):
    """Condition numbers up to 1e2: round-off only."""
    states, targets = samples()
    ours = Ridge(penalties=(penalty,)).fit(states, targets)
    theirs = SklearnRidge(alpha=absolute(states, penalty), solver="svd").fit(states, targets)
    np.testing.assert_allclose(ours.weights, theirs.coef_, rtol=1e-10, atol=1e-12)
    np.testing.assert_allclose(ours.intercept, theirs.intercept_, rtol=1e-10)
    np.testing.assert_allclose(ours.predict(states), theirs.predict(states), rtol=1e-9)
    assert ours.broken < 1e-12


def test_a_mask_is_a_weight_of_the_sample():
    states, targets = samples()
    mask = np.random.default_rng(1).integers(0, 3, 300).astype(float)
    ours = Ridge(penalties=(0.01,)).fit(states, targets, mask=mask)
    theirs = SklearnRidge(alpha=absolute(states, 0.01, mask)).fit(states, targets, sample_weight=mask)
    np.testing.assert_allclose(ours.weights, theirs.coef_, rtol=1e-9)
    np.testing.assert_allclose(ours.intercept, theirs.intercept_, rtol=1e-9)


@pytest.mark.parametrize("rule", [Ridge(penalties=(0.1, 1.0)), SignedRidge(signs=SIGNS, penalties=(0.1, 1.0))])
def test_masked_samples_do_not_exist(rule):
    """Trials padded with rubbish give the fit of the trials, and of the flat samples in the same blocks."""
    states, targets = (array.reshape(10, 30, -1) for array in samples())
    mask = np.ones((10, 30))
    padded = [np.concatenate([array, np.full((10, 7, array.shape[2]), 99.0)], axis=1) for array in (states, targets)]
    whole = rule.fit(states, targets)
    masked = rule.fit(*padded, mask=np.concatenate([mask, np.zeros((10, 7))], axis=1))
    flat = rule.fit(states.reshape(300, -1), targets.reshape(300, -1))
    for other in (masked, flat):
        np.testing.assert_allclose(other.weights, whole.weights, rtol=1e-9, atol=1e-12)
        np.testing.assert_allclose(other.held_out_error, whole.held_out_error, rtol=1e-9)


def test_a_tiny_penalty_keeps_the_digits_that_normal_equations_lose():
    """Features that agree to 1e-7: the squared condition number is 1e14. Oracle: lstsq of the augmented system."""
    rng = np.random.default_rng(2)
    base = rng.normal(size=(200, 5))
    states = np.hstack([base, base + 1e-7 * rng.normal(size=(200, 5))])
    targets = states @ rng.normal(size=10)
    centred = states - states.mean(axis=0)
    alpha = absolute(states, 1e-15)
    augmented = np.vstack([centred, np.sqrt(alpha) * np.eye(10)])
    expected = np.linalg.lstsq(augmented, np.r_[targets - targets.mean(), np.zeros(10)], rcond=None)[0]
    found = Ridge(penalties=(1e-15,)).fit(states, targets).weights[0]
    np.testing.assert_allclose(found, expected, rtol=1e-6)


def test_no_penalty_gives_the_shortest_weights_where_there_are_too_few_samples():
    """Oracle: NumPy's lstsq, which gives the minimum norm."""
    states, targets = samples(n=12)
    found = Ridge(penalties=(0.0,)).fit(states, targets)
    expected = np.linalg.lstsq(states - states.mean(axis=0), targets - targets.mean(axis=0), rcond=None)[0]
    np.testing.assert_allclose(found.weights.T, expected, rtol=1e-9, atol=1e-12)
    np.testing.assert_allclose(found.predict(states), targets, rtol=1e-9)


@pytest.mark.parametrize("penalties", [(0.0, 1e-9, 1e-3, 0.1, 10.0)])
def test_held_out_errors_are_those_of_fits_to_the_other_blocks(penalties):
    """Oracle: scikit-learn, block by block."""
    states, targets = samples(n=203, noise=3.0)
    borders = np.arange(5) * 203 // 4
    errors = np.zeros((len(penalties), 2))
    for start, stop in itertools.pairwise(borders):
        rest = np.r_[0:start, stop:203]
        for i, penalty in enumerate(penalties):
            rule = SklearnRidge(alpha=absolute(states[rest], penalty), solver="svd").fit(states[rest], targets[rest])
            errors[i] += np.sum((rule.predict(states[start:stop]) - targets[start:stop]) ** 2, axis=0)
    expected = np.mean(errors / np.sum((targets - targets.mean(axis=0)) ** 2, axis=0), axis=1)
    found = Ridge(penalties=penalties, n_blocks=4).fit(states, targets)
    np.testing.assert_allclose(found.held_out_error, expected, rtol=1e-8)
    assert found.penalty == penalties[np.argmin(expected)]


def test_the_chosen_penalty_grows_with_the_noise():
    chosen = [Ridge().fit(*samples(n=60, noise=noise)).penalty for noise in (1e-6, 1.0, 100.0)]
    assert chosen[0] < 1e-4 < chosen[1] < chosen[2]


@pytest.mark.parametrize("penalty", [1e-8, 1e-3, 1.0])
def test_signed_ridge_is_nnls_of_the_augmented_system(penalty):
    states, targets = samples(noise=2.0)
    found = SignedRidge(signs=SIGNS, penalties=(penalty,)).fit(states, targets)
    flips, alpha = np.array(SIGNS), absolute(states, penalty)
    augmented = np.vstack([states - states.mean(axis=0), np.sqrt(alpha) * np.eye(20)]) * flips
    for i in range(2):
        wanted = np.r_[targets[:, i] - targets[:, i].mean(), np.zeros(20)]
        np.testing.assert_allclose(found.weights[i], flips * nnls(augmented, wanted)[0], rtol=1e-9, atol=1e-12)
    assert np.all(found.weights * flips >= 0.0)
    assert (found.weights == 0.0).any()
    assert found.broken < 1e-12


def test_signs_of_zero_constrain_nothing():
    states, targets = samples()
    free = Ridge(penalties=(0.01,)).fit(states, targets)
    signed = SignedRidge(signs=(0,) * 20, penalties=(0.01,)).fit(states, targets)
    np.testing.assert_allclose(signed.weights, free.weights, rtol=1e-10)


def test_signs_that_the_free_weights_have_change_nothing_and_others_cost():
    states, targets = samples(n_outputs=1)
    free = Ridge(penalties=(0.01,)).fit(states, targets)
    signs = np.sign(free.weights[0]).astype(int)
    same = SignedRidge(signs=tuple(signs), penalties=(0.01,)).fit(states, targets)
    opposite = SignedRidge(signs=tuple(-signs), penalties=(0.01,)).fit(states, targets)
    np.testing.assert_allclose(same.weights, free.weights, rtol=1e-10)
    assert relative_error(opposite.predict(states), targets) > 3.0 * relative_error(free.predict(states), targets)


@pytest.mark.parametrize("factor", [1e-6, 1e6])
def test_the_fit_does_not_depend_on_the_units_of_the_states(factor):
    states, targets = samples(noise=2.0)
    for rule in (Ridge(), SignedRidge(signs=SIGNS)):
        one, other = rule.fit(states, targets), rule.fit(factor * states, targets)
        assert one.penalty == other.penalty
        np.testing.assert_allclose(factor * other.weights, one.weights, rtol=1e-8, atol=1e-10)


def test_relative_error_by_hand():
    targets = np.array([0.0, 2.0])
    assert relative_error(targets, targets) == 0.0
    assert relative_error(np.ones(2), targets) == 1.0
    assert relative_error(np.array([0.0, 1.0]), targets) == pytest.approx(np.sqrt(0.5), rel=1e-15)
    with pytest.raises(DataError, match="do not vary"):
        relative_error(np.zeros(3), np.ones(3))
    with pytest.raises(DataError, match=r"\(2,\) and targets of shape \(3,\)"):
        relative_error(np.zeros(2), np.ones(3))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"penalties": ()}, "penalties"),
        ({"penalties": (-1.0,)}, "at least 0"),
        ({"penalties": (np.nan,)}, "finite"),
        ({"penalties": 1.0}, "expected a tuple"),
        ({"n_blocks": 1}, "n_blocks=1"),
    ],
)
def test_wrong_options_are_refused(change, message):
    with pytest.raises(OptionError, match=message):
        Ridge(**change)


@pytest.mark.parametrize("signs", [(), (2, 1), ("+",), ((1, -1),)])
def test_wrong_signs_are_refused(signs):
    with pytest.raises(OptionError, match="expected one of -1, 0 and 1"):
        SignedRidge(signs=signs)


def test_signed_ridge_needs_a_penalty():
    with pytest.raises(OptionError, match="above 0"):
        SignedRidge(signs=(1,), penalties=(0.0,))


def test_wrong_data_are_refused():
    states, targets = samples(n=40)
    with pytest.raises(DataError, match="do not fit"):
        Ridge().fit(states, targets[:-1])
    with pytest.raises(DataError, match="20 features do not fit 3 signs"):
        SignedRidge(signs=(1, 1, -1)).fit(states, targets)
    with pytest.raises(DataError, match="do not vary"):
        Ridge().fit(np.ones_like(states), targets)
    with pytest.raises(DataError, match="cannot be cut into 5 blocks"):
        Ridge().fit(states[:4], targets[:4])
    with pytest.raises(DataError, match="in one block"):
        Ridge().fit(states, targets, mask=(np.arange(40) < 5).astype(float))
    with pytest.raises(DataError, match="leaves no sample"):
        Ridge().fit(states, targets, mask=np.zeros(40))
    with pytest.raises(DataError, match="at least 0"):
        Ridge().fit(states, targets, mask=-np.ones(40))
    broken = states.copy()
    broken[3, 1] = np.nan
    with pytest.raises(DataError, match=r"nan at \[3, 1\]"):
        Ridge().fit(broken, targets)


def test_states_that_are_too_much_alike_for_the_penalty_are_refused():
    states = np.repeat(np.random.default_rng(0).normal(size=(50, 1)), 3, axis=1)
    with pytest.raises(NumericalError, match="Raise the penalty"):
        SignedRidge(signs=(0, 0, 0), penalties=(1e-20,)).fit(states, states[:, 0])
