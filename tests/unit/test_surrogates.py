"""Trial exchange: what it keeps, and that it mixes. Oracles: sums by hand, frequencies of permutations."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest

from cortexrnn.spikes.surrogates import exchange_trials


@pytest.fixture
def case():
    """Counts of three conditions, partly unobserved."""
    rng = np.random.default_rng(1)
    observed = rng.random((30, 40)) < 0.8
    counts = np.where(observed, rng.poisson(0.5, observed.shape), 0).astype(np.uint16)
    return counts, observed, np.repeat([0, 1, 2], 10)


def test_every_bin_keeps_its_counts_in_each_condition(case):
    counts, observed, condition = case
    exchanged = exchange_trials(counts, observed, condition, np.random.default_rng(2))
    for value in range(3):
        members = condition == value
        np.testing.assert_array_equal(np.sort(exchanged[members], axis=0), np.sort(counts[members], axis=0))
    assert exchanged.dtype == np.uint16
    assert (exchanged != counts).any()


def test_no_spike_moves_into_an_unobserved_bin(case):
    counts, observed, condition = case
    exchanged = exchange_trials(counts, observed, condition, np.random.default_rng(3))
    assert not exchanged[~observed].any()


def test_the_original_is_left_as_it_was(case):
    counts, observed, condition = case
    before = counts.copy()
    exchange_trials(counts, observed, condition, np.random.default_rng(4))
    np.testing.assert_array_equal(counts, before)


def test_all_permutations_are_equally_likely_and_independent_between_bins():
    """Oracle: 1/6 each, and 1/36 for pairs of neighbouring bins."""
    counts = np.tile(np.array([[1], [2], [3]], dtype=np.uint16), (1, 12000))
    exchanged = exchange_trials(
        counts, np.ones(counts.shape, bool), np.zeros(3, int), np.random.default_rng(5)
    )
    seen = Counter(map(tuple, exchanged.T.tolist()))
    # Four binomial standard deviations.
    assert len(seen) == 6
    assert all(abs(n - 2000) < 4 * np.sqrt(12000 * 5 / 36) for n in seen.values())
    pairs = Counter(
        zip(map(tuple, exchanged.T[::2].tolist()), map(tuple, exchanged.T[1::2].tolist()), strict=True)
    )
    assert len(pairs) == 36
    assert all(abs(n - 6000 / 36) < 4.5 * np.sqrt(6000 / 36) for n in pairs.values())


def test_history_is_gone(case):
    """A dead time leaves no two spikes in neighbouring bins; the exchange brings them back at chance."""
    counts = np.zeros((200, 100), dtype=np.uint16)
    rng = np.random.default_rng(6)
    for row in counts:
        row[np.cumsum(rng.integers(2, 8, 30))[:12] % 100] = 1
    together = counts.mean(axis=0)
    chance = 200 * np.sum(together[:-1] * together[1:])
    exchanged = exchange_trials(
        counts, np.ones(counts.shape, bool), np.zeros(200, int), np.random.default_rng(7)
    )
    n_pairs = np.sum(exchanged[:, :-1] * exchanged[:, 1:])
    # A count of independent coincidences: four Poisson standard deviations.
    assert abs(n_pairs - chance) < 4.0 * np.sqrt(chance)
    assert np.sum(counts[:, :-1] * counts[:, 1:]) < 0.5 * chance


def test_same_stream_gives_the_same_surrogate(case):
    counts, observed, condition = case
    first = exchange_trials(counts, observed, condition, np.random.default_rng(8))
    np.testing.assert_array_equal(
        first, exchange_trials(counts, observed, condition, np.random.default_rng(8))
    )
    assert (first != exchange_trials(counts, observed, condition, np.random.default_rng(9))).any()


def test_a_condition_of_one_trial_is_its_own_surrogate(case):
    counts, observed, _ = case
    condition = np.arange(30)
    np.testing.assert_array_equal(
        exchange_trials(counts, observed, condition, np.random.default_rng(10)), counts
    )
