"""Losses: values of scipy.stats, derivatives by central differences, nothing where the mask is zero."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from cortexrnn.numerics.lanes import N_LANES
from cortexrnn.training.losses import CODES, tile_loss, trial_losses
from cortexrnn.training.tasks.contract import Batch

N_STEPS, N_TARGETS = 5, 3


def a_problem(loss):
    """Outputs of a tile, its targets and mask; some steps do not count."""
    rng = np.random.default_rng(4)
    n_outputs = 2 * N_TARGETS if loss == "negative binomial" else N_TARGETS
    outputs = rng.normal(size=(N_STEPS, n_outputs * N_LANES))
    targets = {
        "mse": rng.normal(size=(N_STEPS, N_TARGETS * N_LANES)),
        "poisson": rng.poisson(1.5, (N_STEPS, N_TARGETS * N_LANES)).astype(float),
        "bernoulli cloglog": rng.integers(0, 2, (N_STEPS, N_TARGETS * N_LANES)).astype(float),
        "negative binomial": rng.poisson(2.0, (N_STEPS, N_TARGETS * N_LANES)).astype(float),
        "cross entropy": _one_hot(rng.integers(0, N_TARGETS, (N_STEPS, N_LANES))),
    }[loss]
    mask = rng.random((N_STEPS, N_LANES)) * (rng.random((N_STEPS, N_LANES)) < 0.7)
    return outputs, targets, mask


def _one_hot(labels):
    """1 at the right class."""
    hot = labels[:, None, :] == np.arange(N_TARGETS)[:, None]
    return hot.astype(float).reshape(N_STEPS, -1)


def value(loss, outputs, targets, mask):
    """Loss and derivative of a tile."""
    by, by_trial = np.full_like(outputs, np.nan), np.full(N_LANES, np.nan)
    tile_loss(CODES[loss], outputs, targets, mask, by, by_trial)
    return by_trial, by


def by_scipy(loss, outputs, targets):
    """Minus log-probabilities of every step and lane, averaged over outputs, by scipy.stats."""
    z, y = outputs.reshape(N_STEPS, -1, N_LANES), targets.reshape(N_STEPS, -1, N_LANES)
    if loss == "mse":
        return np.mean((z - y) ** 2, axis=1)
    if loss == "cross entropy":
        return -(y * (z - np.log(np.exp(z).sum(axis=1, keepdims=True)))).sum(axis=1)
    if loss == "poisson":
        return -stats.poisson(np.exp(z)).logpmf(y).mean(axis=1)
    if loss == "bernoulli cloglog":
        return -stats.bernoulli(1.0 - np.exp(-np.exp(z))).logpmf(y).mean(axis=1)
    mean, shape = np.exp(z[:, :N_TARGETS]), np.exp(z[:, N_TARGETS:])
    return -stats.nbinom(shape, shape / (shape + mean)).logpmf(y).mean(axis=1)


@pytest.mark.parametrize("loss", CODES)
def test_a_loss_is_that_of_its_distribution(loss):
    """Every trial's part against scipy.stats, 1e-12."""
    outputs, targets, mask = a_problem(loss)
    found, _ = value(loss, outputs, targets, mask)
    np.testing.assert_allclose(found, (mask * by_scipy(loss, outputs, targets)).sum(axis=0), rtol=1e-12)


@pytest.mark.parametrize("loss", CODES)
def test_a_derivative_is_that_of_central_differences(loss):
    """All outputs of a tile, 1e-8 of the largest."""
    outputs, targets, mask = a_problem(loss)
    _, by = value(loss, outputs, targets, mask)
    numeric = np.empty_like(outputs)
    for at in np.ndindex(outputs.shape):
        ends = []
        for sign in (1.0, -1.0):
            moved = outputs.copy()
            moved[at] += sign * 1e-5
            ends.append(value(loss, moved, targets, mask)[0].sum())
        numeric[at] = (ends[0] - ends[1]) / 2e-5
    np.testing.assert_allclose(by, numeric, rtol=0, atol=1e-8 * np.abs(numeric).max())


@pytest.mark.parametrize("loss", CODES)
def test_what_does_not_count_may_be_anything(loss):
    """NaN where the mask is zero: the same losses, derivative zero there."""
    outputs, targets, mask = a_problem(loss)
    expected, _ = value(loss, outputs, targets, mask)
    outputs.reshape(N_STEPS, -1, N_LANES).transpose(0, 2, 1)[mask == 0.0] = np.nan
    found, by = value(loss, outputs, targets, mask)
    np.testing.assert_array_equal(found, expected)
    assert not by.reshape(N_STEPS, -1, N_LANES).transpose(0, 2, 1)[mask == 0.0].any()


def test_a_large_shape_makes_the_negative_binomial_a_poisson():
    """At exp(18): the logarithms differ by less than 1e-6."""
    outputs, targets, mask = a_problem("negative binomial")
    outputs[:, N_TARGETS * N_LANES :] = 18.0
    poisson = np.ascontiguousarray(outputs[:, : N_TARGETS * N_LANES])
    np.testing.assert_allclose(
        value("negative binomial", outputs, targets, mask)[0], value("poisson", poisson, targets, mask)[0], rtol=1e-6
    )


def test_losses_of_trials_are_those_of_their_tiles():
    """Nineteen trials, squared error by hand."""
    rng = np.random.default_rng(0)
    outputs, targets = rng.normal(size=(2, 19, 7, 2))
    mask = rng.random((19, 7))
    batch = Batch(np.zeros((19, 7, 1)), targets, None, mask, np.full(19, 7), None, "mse")
    expected = (mask * ((outputs - targets) ** 2).mean(axis=2)).sum(axis=1)
    np.testing.assert_allclose(trial_losses(batch, outputs), expected, rtol=1e-13)
