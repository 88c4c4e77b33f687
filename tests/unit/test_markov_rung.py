"""The rung of patterns: counted by hand, a chain of known order, dead time, gaps, steps, and what must not leak."""

from __future__ import annotations

import numpy as np
import pytest

from cortexrnn.encoding import markov
from cortexrnn.encoding.arrays import UnitTrials
from cortexrnn.encoding.constant import Constant
from cortexrnn.encoding.gain import CausalGain
from cortexrnn.encoding.likelihood import trial_log_likelihood
from cortexrnn.encoding.markov import Markov
from cortexrnn.encoding.simulation import simulate_copies
from cortexrnn.encoding.stepping import ReplayStepper
from cortexrnn.errors import OptionError


def trials_of(counts, observed=None):
    """Trials of one condition."""
    observed = np.ones(counts.shape, bool) if observed is None else observed
    n = len(counts)
    counts = np.where(observed, counts, 0).astype(np.uint16)
    return UnitTrials(counts, observed, observed, np.zeros(n, np.int64), 3.0 * np.arange(n), 1e-3, True)


def chain(n_trials, n_bins, chance, seed):
    """Spikes whose chance depends on the two bins before; `chance` over (one ago, two ago)."""
    rng = np.random.default_rng(seed)
    counts = np.zeros((n_trials, n_bins), int)
    for t in range(2, n_bins):
        counts[:, t] = rng.random(n_trials) < chance[counts[:, t - 1], counts[:, t - 2]]
    return counts


def test_factors_are_those_counted_by_hand():
    counts = np.array([[1, 0, 1, 1, 0, 0, 1, 0], [0, 1, 0, 0, 1, 1, 0, 1], [0, 0, 1, 0, 1, 0, 0, 1]])
    trials = trials_of(counts)
    fitted = Markov(baseline=None, orders=(2,), prior_counts=(3.0,)).fit_on(trials, None, np.full(counts.shape, -1.0))
    mu = np.exp(-1.0)
    factors = {(): 1.0}
    for pattern in [(0,), (1,), (0, 0), (0, 1), (1, 0), (1, 1)]:
        k = len(pattern)
        bins = [(i, t) for i in range(3) for t in range(k, 8)]
        places = [(i, t) for i, t in bins if tuple(counts[i, t - j - 1] for j in range(k)) == pattern]
        spikes = sum(counts[place] for place in places)
        factors[pattern] = (spikes + 3.0 * factors[pattern[:-1]]) / (mu * len(places) + 3.0)
    for i, t in [(0, 0), (0, 1), (1, 2), (2, 7), (1, 5)]:
        pattern = tuple(counts[i, t - j - 1] for j in range(min(2, t)))
        assert fitted.log_mu(trials)[i, t] == pytest.approx(np.log(factors[pattern]), rel=1e-12)


def test_the_order_and_the_chances_of_a_chain_are_found():
    chance = np.array([[0.05, 0.3], [0.02, 0.02]])
    trials = trials_of(chain(100, 500, chance, seed=1))
    fitted = Markov(baseline=Constant()).fit(trials)
    assert fitted.order >= 2
    found = np.exp(fitted.log_factors[3:7]) * fitted.below.mu
    # Bit 0 is one bin ago, bit 1 two bins ago; the rarest pattern comes some 50 times, the others thousands of times.
    np.testing.assert_allclose(found[[0, 2]], [chance[0, 0], chance[0, 1]], rtol=0.1)
    assert found[1] == pytest.approx(chance[1, 0], rel=0.25)


def test_a_dead_time_is_found_and_gives_what_it_is_worth():
    """-log2(1 - n q) bits a spike for n dead bins and q expected spikes a bin: 0.0893 at 20 Hz and 3 ms."""
    rng = np.random.default_rng(2)
    counts, rate = np.zeros((400, 1000), int), 0.02 / (1.0 - 0.06)
    for t in range(1000):
        is_free = counts[:, max(t - 3, 0) : t].sum(axis=1) == 0
        counts[:, t] = is_free & (rng.random(400) < rate)
    trials = trials_of(counts)
    train, test = trials.take(np.arange(400) < 320), trials.take(np.arange(400) >= 320)
    fitted = Markov(baseline=Constant(), likelihood="bernoulli").fit(train)
    gain = trial_log_likelihood(test, fitted.log_mu(test)) - trial_log_likelihood(test, fitted.below.log_mu(test))
    # About 1600 test spikes, each of them worth 0.089 with a deviation of 0.25.
    assert gain.sum() / np.log(2.0) / test.counts.sum() == pytest.approx(0.0893, abs=0.02)


def test_without_history_hardly_anything_is_lost():
    rng = np.random.default_rng(3)
    train, test = (trials_of(rng.random((60, 800)) < 0.02) for _ in range(2))
    fitted = Markov(baseline=Constant()).fit(train)
    gain = trial_log_likelihood(test, fitted.log_mu(test)) - trial_log_likelihood(test, fitted.below.log_mu(test))
    assert gain.sum() / np.log(2.0) / test.counts.sum() > -0.02


def test_a_gap_is_no_silence_and_the_present_does_not_leak():
    counts = np.random.default_rng(4).random((40, 300)) < 0.1
    observed = np.ones(counts.shape, bool)
    observed[:, 100:110] = False
    trials = trials_of(counts, observed)
    fitted = Markov(baseline=Constant(), orders=(4,)).fit(trials)
    # Right behind the gap nothing is known, one bin later one bin is.
    np.testing.assert_array_equal(fitted.log_mu(trials)[:, 110], fitted.below.log_mu(trials)[:, 110])
    np.testing.assert_allclose(
        fitted.log_mu(trials)[:, 111] - fitted.below.log_mu(trials)[:, 111],
        fitted.log_factors[1 + trials.counts[:, 110].astype(int)], rtol=1e-12,
    )  # fmt: skip
    changed = trials.counts.copy()
    changed[7, 200] = 1 - changed[7, 200]
    after = fitted.log_mu(trials._replace(counts=changed))
    np.testing.assert_array_equal(after[7, :201], fitted.log_mu(trials)[7, :201])
    assert after[7, 201] != fitted.log_mu(trials)[7, 201]


@pytest.fixture(scope="module")
def gappy():
    """Eight trials with bursts, bins of several spikes and gaps, one of them at the start of a trial."""
    rng = np.random.default_rng(6)
    observed = np.repeat(rng.random((8, 30)) < 0.9, 5, axis=1)
    observed[2, :20] = False
    counts = rng.poisson(0.02 + 0.3 * (rng.random((8, 150)) < 0.2))
    trials = trials_of(counts, observed)
    return trials._replace(scored=observed & (np.arange(150) >= 15))


@pytest.mark.parametrize("baseline", [Constant(), CausalGain()])
def test_patterns_are_followed_bin_by_bin_to_the_bit(baseline, gappy):
    """Oracles: `extend` on finished spikes, and free running that replays all bins in every bin."""
    fitted = Markov(baseline=baseline, orders=(6,)).fit(gappy)
    below, stepper = fitted.below.log_mu(gappy), fitted.stepper(gappy)
    found = np.empty(below.shape)
    for t in range(found.shape[1]):
        found[:, t] = stepper.predict(t, below[:, t])
        stepper.update(t, gappy.counts[:, t])
    np.testing.assert_array_equal(found, fitted.extend(gappy, below))
    slow = type("Slow", (type(fitted),), {"stepper": lambda self, trials: ReplayStepper(self, trials)})
    replayed = slow(**{name: getattr(fitted, name) for name in type(fitted).__dataclass_fields__})
    ours, theirs = (simulate_copies(each, gappy, n_copies=3, seed=9) for each in (fitted, replayed))
    np.testing.assert_array_equal(ours.counts, theirs.counts)
    assert ours.counts[:, gappy.scored].sum() > 100
    # The rung below in another order of sums.
    np.testing.assert_allclose(ours.log_likelihood, theirs.log_likelihood, rtol=1e-12)


def test_kernels_have_one_specialisation(gappy):
    simulate_copies(Markov(baseline=Constant(), orders=(6,)).fit(gappy), gappy, n_copies=1)
    for kernel in (markov._read_patterns, markov._push):
        assert len(kernel.signatures) == 1


@pytest.mark.parametrize(
    ("changed", "told"),
    [
        ({"orders": (17,)}, "an order of 17 is too long"),
        ({"orders": (0,)}, "orders=0 is not valid"),
        ({"orders": ()}, "to choose from"),
        ({"prior_counts": (0.0,)}, "prior_counts=0.0 is not a positive"),
        ({"likelihood": "gauss"}, "likelihood='gauss' is unknown"),
    ],
)
def test_settings_that_mean_nothing_are_refused(changed, told):
    with pytest.raises(OptionError, match=told):
        Markov(**changed)
