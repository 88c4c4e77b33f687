"""Read-outs that learn sample by sample. Oracles: ridge in closed form, SciPy's nnls after every sample."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.optimize import nnls

from cortexrnn.errors import DataError, NumericalError, NumericalWarning, OptionError
from cortexrnn.training.reservoirs import rls_kernels
from cortexrnn.training.reservoirs.rls import RLS, SignedRLS

SIGNS = np.where(np.arange(12) < 8, 1, -1)


def samples(n=200, n_features=12, n_outputs=2, seed=0, noise=1.0):
    """Correlated features and noisy linear targets."""
    rng = np.random.default_rng(seed)
    states = rng.normal(size=(n, n_features)) @ rng.normal(size=(n_features, n_features))
    return states, states @ rng.normal(size=(n_features, n_outputs)) + noise * rng.normal(size=(n, n_outputs))


def ridge(states, targets, penalty, forgetting=1.0):
    """Weights in closed form, shape (n_outputs, n_features)."""
    n = len(states)
    weights = forgetting ** np.arange(n - 1, -1, -1)
    gram = states.T @ (weights[:, None] * states) + forgetting**n * penalty * np.eye(states.shape[1])
    return np.linalg.solve(gram, states.T @ (weights[:, None] * targets)).T


def signed(states, target, signs, penalty, forgetting=1.0):
    """The best weights of the right signs, by SciPy."""
    n = len(states)
    roots = forgetting ** (0.5 * np.arange(n - 1, -1, -1))
    penalised = np.sqrt(forgetting**n * penalty) * np.eye(states.shape[1])
    augmented = np.vstack([roots[:, None] * states, penalised]) * signs
    return signs * nnls(augmented, np.r_[roots * target, np.zeros(states.shape[1])])[0]


@pytest.mark.parametrize("forgetting", [1.0, 0.97])
def test_after_every_sample_the_weights_are_those_of_ridge(forgetting):
    """Condition number about 1e5."""
    states, targets = samples()
    found = RLS(penalty=0.3, forgetting=forgetting).fit(states, targets, keep_every=1)
    for n in (1, 5, 12, 13, 50, 200):
        expected = ridge(states[:n], targets[:n], 0.3, forgetting)
        np.testing.assert_allclose(found.path[n - 1], expected, rtol=1e-8, atol=1e-10)
    np.testing.assert_array_equal(found.path[-1], found.weights)


def test_errors_are_those_before_the_update():
    states, targets = samples()
    found = RLS().fit(states, targets, keep_every=1)
    before = np.concatenate([np.zeros((1, 2, 12)), found.path[:-1]])
    np.testing.assert_allclose(found.errors, targets - np.einsum("toi,ti->to", before, states), rtol=1e-9, atol=1e-11)


@pytest.mark.parametrize("forgetting", [1.0, 0.97])
@pytest.mark.parametrize("seed", range(3))
def test_after_every_sample_the_signed_weights_are_the_best_of_their_signs(seed, forgetting):
    """The online solution is the batch solution of all samples so far, for each output by itself."""
    states, targets = samples(seed=seed, noise=5.0)
    found = SignedRLS(signs=SIGNS, penalty=0.3, forgetting=forgetting).fit(states, targets, keep_every=1)
    for n in (1, 2, 3, 7, 12, 13, 40, 111, 200):
        for output in range(2):
            expected = signed(states[:n], targets[:n, output], SIGNS, 0.3, forgetting)
            np.testing.assert_allclose(
                found.path[n - 1, output], expected, rtol=1e-6, atol=1e-8 * np.abs(expected).max()
            )
    assert found.n_exchanges > 0
    assert found.n_unfinished == 0


def test_no_weight_has_the_wrong_sign_after_any_sample():
    states, targets = samples(n=500, noise=5.0)
    found = SignedRLS(signs=SIGNS).fit(states, targets, keep_every=1)
    assert found.path.shape == (500, 2, 12)
    assert np.all(found.path * SIGNS >= 0.0)
    # Signs are kept by leaving weights out, and not all of them.
    assert 0.1 < np.mean(found.path == 0.0) < 0.9


def test_clipped_recursive_least_squares_is_not_the_same_and_stays_worse():
    """Why not simply clip: the clipped filter settles at weights that break the conditions, ours at the optimum."""
    states, targets = samples(n=2000, n_outputs=1, noise=5.0)
    inverse, weights = np.eye(12), np.zeros(12)
    for x, y in zip(states, targets[:, 0], strict=True):
        k = inverse @ x / (1.0 + x @ inverse @ x)
        weights = weights + k * (y - weights @ x)
        weights[weights * SIGNS < 0.0] = 0.0
        inverse -= np.outer(k, x @ inverse)
    best = signed(states, targets[:, 0], SIGNS, 1.0)
    ours = SignedRLS(signs=SIGNS).fit(states, targets).weights[0]
    np.testing.assert_allclose(ours, best, rtol=1e-7, atol=1e-9)
    excess = np.mean((targets[:, 0] - states @ weights) ** 2) / np.mean((targets[:, 0] - states @ best) ** 2)
    assert excess > 1.1


def test_signed_weights_converge_to_the_truth_where_it_has_these_signs():
    rng = np.random.default_rng(4)
    truth = SIGNS * rng.exponential(size=12)
    truth[[1, 9]] = 0.0
    states = samples(n=20_000)[0]
    found = SignedRLS(signs=SIGNS).fit(states, states @ truth + rng.normal(size=20_000), keep_every=200)
    distance = np.linalg.norm(found.path[:, 0] - truth, axis=1)
    # Standard errors fall with the root of the samples: 10 over the whole path.
    assert distance[-1] < 0.3 * distance[0]
    covariance = np.linalg.inv(states.T @ states)
    assert np.all(np.abs(found.weights[0] - truth) < 5.0 * np.sqrt(np.diag(covariance)))


def test_signs_of_zero_constrain_nothing():
    states, targets = samples()
    free = RLS(penalty=0.3).fit(states, targets, keep_every=1)
    found = SignedRLS(signs=np.zeros(12, int), penalty=0.3).fit(states, targets, keep_every=1)
    np.testing.assert_allclose(found.path, free.path, rtol=1e-7, atol=1e-9)
    assert found.n_exchanges == 0


def test_an_unfinished_update_keeps_the_signs_is_reported_and_is_caught_up():
    states, targets = samples(n=400, noise=5.0)
    with pytest.warns(NumericalWarning, match="updates stopped before their optimum"):
        found = SignedRLS(signs=SIGNS, most_exchanges=1).fit(states, targets, keep_every=1)
    assert found.n_unfinished > 0
    assert np.all(found.path * SIGNS >= 0.0)
    for output in range(2):
        expected = signed(states, targets[:, output], SIGNS, 1.0)
        np.testing.assert_allclose(found.weights[output], expected, rtol=1e-2, atol=1e-2)


def test_a_lost_inverse_is_computed_again():
    """Features that agree to 1e-9: rank-one changes lose the inverse, the weights still meet the conditions."""
    rng = np.random.default_rng(5)
    base = rng.normal(size=(300, 6))
    states = np.hstack([base, base + 1e-9 * rng.normal(size=(300, 6))])
    target = states @ rng.normal(size=12)
    found = SignedRLS(signs=SIGNS, penalty=1e-6).fit(states, target)
    assert np.all(found.weights[0] * SIGNS >= 0.0)
    best = signed(states, target, SIGNS, 1e-6)
    error = np.sum((target - states @ found.weights[0]) ** 2)
    assert error == pytest.approx(np.sum((target - states @ best) ** 2), rel=1e-6)


@pytest.mark.parametrize("target", [np.zeros(30), np.r_[np.zeros(10), np.ones(20)]])
def test_targets_that_begin_with_silence_are_learned(target):
    states = samples(n=30)[0]
    found = SignedRLS(signs=SIGNS).fit(states, target)
    np.testing.assert_allclose(found.weights[0], signed(states, target, SIGNS, 1.0), rtol=1e-8, atol=1e-10)


def test_symmetric_products_use_the_lower_triangle_only():
    """Oracle: NumPy on the symmetric matrix; the upper triangle holds NaN."""
    rng = np.random.default_rng(6)
    full = rng.normal(size=(9, 9))
    full = full + full.T
    matrix = np.where(np.tri(9) > 0, full, np.nan)
    u, v, out = rng.normal(size=9), rng.normal(size=9), np.empty(9)
    rls_kernels.multiply(matrix, v, out)
    np.testing.assert_allclose(out, full @ v, rtol=1e-13)
    rls_kernels.change(matrix, 0.5, -0.3, u)
    expected = np.tril(0.5 * full - 0.3 * np.outer(u, u))
    np.testing.assert_allclose(np.tril(matrix), expected, rtol=1e-12, atol=1e-13)
    assert np.isnan(matrix[0, 1])


def test_whatever_comes_in_the_kernels_have_one_specialisation():
    states, targets = samples(n=20)
    for given in (states, np.asfortranarray(states), states.astype(np.float32), states[::-1]):
        RLS().fit(given, targets[:, 0])
        SignedRLS(signs=SIGNS).fit(given, targets, keep_every=3)
    assert len(rls_kernels.filter_samples.signatures) == 1
    assert len(rls_kernels.filter_signed_samples.signatures) == 1


@pytest.mark.parametrize("kind", [RLS, lambda **given: SignedRLS(signs=(1,), **given)])
def test_wrong_options_are_refused(kind):
    with pytest.raises(OptionError, match=r"penalty=0\.0"):
        kind(penalty=0.0)
    with pytest.raises(OptionError, match=r"forgetting=1\.5 is above 1"):
        kind(forgetting=1.5)


def test_wrong_data_are_refused():
    states, targets = samples(n=20)
    with pytest.raises(DataError, match="do not fit"):
        RLS().fit(states[:-1], targets)
    with pytest.raises(DataError, match="12 features do not fit 3 signs"):
        SignedRLS(signs=(1, 1, -1)).fit(states, targets)
    with pytest.raises(DataError, match=r"states hold inf at \[2, 0\]"):
        RLS().fit(np.where(np.arange(20)[:, None] == 2, np.inf, states), targets)


def test_an_inverse_that_grows_without_limit_is_an_error_and_no_result():
    states = np.zeros((4000, 2))
    states[:, 0] = 1.0
    with pytest.raises(NumericalError, match=r"forgetting=0\.5"):
        RLS(forgetting=0.5).fit(states, np.ones(4000))
