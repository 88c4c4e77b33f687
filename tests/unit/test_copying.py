"""Copies of held-out trials, packed fold by fold and laid back onto all trials."""

from __future__ import annotations

import numpy as np
import pytest

from cortexrnn.encoding import CausalGain, HistoryGLM
from cortexrnn.encoding.divergence import shortest_interval
from cortexrnn.encoding.simulation import simulate_copies
from cortexrnn.evaluation.copying import COPIED, copy_fold, join_folds
from cortexrnn.evaluation.free_run import free_run, judge_copies

N_COPIES = 5


@pytest.fixture(scope="module")
def unit(make_unit):
    """Twelve trials of two conditions with burn-in and gaps; a bin holds up to two spikes."""
    rng = np.random.default_rng(3)
    counts = np.minimum(rng.poisson(0.2, (12, 80)), 2)
    return make_unit(counts, observed=rng.random(counts.shape) < 0.97, n_burn_in=10, condition=np.arange(12) % 2)


def copy(unit, rung, fold, *, seed=0):
    """Copy every fold with a rung fitted to the others."""
    parts = []
    for k in range(fold.max() + 1):
        fitted, test = rung.fit(unit.take(fold != k)), unit.take(fold == k)
        parts.append(copy_fold(fitted, test, fitted.log_mu(test), n_copies=N_COPIES, likelihood="poisson", seed=seed))
    return parts


def test_folds_come_back_as_they_were_made(unit):
    """Oracle: `simulate_copies` on every fold; single precision of log mu is the tolerance."""
    fold = np.arange(12) // 4
    rung = HistoryGLM(history_s=0.02)
    held_out = [np.flatnonzero(fold == k) for k in range(3)]
    copies, log_mu = join_folds(unit, copy(unit, rung, fold, seed=7), held_out)
    assert copies.counts.max() > 1
    for k, members in enumerate(held_out):
        fitted, test = rung.fit(unit.take(fold != k)), unit.take(fold == k)
        expected = simulate_copies(fitted, test, n_copies=N_COPIES, seed=7)
        np.testing.assert_array_equal(copies.counts[:, members], expected.counts)
        np.testing.assert_array_equal(copies.log_likelihood[:, members], expected.log_likelihood)
        np.testing.assert_array_equal(copies.is_capped[:, members], expected.is_capped)
        np.testing.assert_allclose(log_mu[members], fitted.log_mu(test), rtol=1e-6)


def test_judging_copies_is_what_free_run_does(unit):
    """Oracle: `free_run` on all trials with the same fitted rung and seed."""
    fitted = CausalGain().fit(unit)
    whole = free_run(fitted, unit, n_copies=N_COPIES, seed=2)
    everyone = np.arange(12)
    part = copy_fold(fitted, unit, fitted.log_mu(unit), n_copies=N_COPIES, likelihood="poisson", seed=2)
    copies, _ = join_folds(unit, [part], [everyone])
    judged = judge_copies(unit, copies, fitted.log_mu(unit), n_dead=shortest_interval(unit))
    assert judged.data.identical(whole.data)
    assert judged.to_dict() == whole.to_dict()


def test_a_fold_keeps_spikes_and_not_bins(unit):
    part = copy(unit, CausalGain(), np.arange(12) // 6)[0]
    assert tuple(part) == COPIED
    assert part["copied"].shape == part["copied_counts"].shape
    # A copy that runs away holds many spikes and no more bins: each bin is kept once.
    assert np.unique(part["copied"]).size == part["copied"].size < part["copied_counts"].sum()
    assert part["forced_log_mu"].dtype == np.float32
