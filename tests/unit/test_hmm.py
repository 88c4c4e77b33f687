"""The hidden-state rung: every path enumerated, a slow twin, a planted chain, and what the mixture is worth."""

from __future__ import annotations

import itertools
from dataclasses import replace

import numpy as np
import pytest
from scipy.stats import poisson

from cortexrnn.encoding import hmm_kernels
from cortexrnn.encoding.arrays import UnitTrials
from cortexrnn.encoding.constant import Constant
from cortexrnn.encoding.gain import CausalGain
from cortexrnn.encoding.hmm import HMM, States, climb
from cortexrnn.encoding.hmm_kernels import expect
from cortexrnn.encoding.likelihood import trial_log_likelihood
from cortexrnn.encoding.simulation import simulate_copies
from cortexrnn.encoding.stepping import ReplayStepper
from cortexrnn.errors import OptionError
from cortexrnn.numerics.streams import stream

CHAIN = States(np.array([0.7, 0.3]), np.array([[0.9, 0.1], [0.25, 0.75]]), np.array([0.4, 2.5]))


def trials_of(counts, observed=None):
    """Trials of one condition."""
    observed = np.ones(counts.shape, bool) if observed is None else observed
    n = len(counts)
    counts = np.where(observed, counts, 0).astype(np.uint16)
    return UnitTrials(counts, observed, observed, np.zeros(n, np.int64), 3.0 * np.arange(n), 1e-3, True)


def planted(n_trials, n_bins, *, seed, stay=(200, 100), gain=(0.4, 2.4), mean=0.025):
    """Counts of a chain of two states."""
    rng = np.random.default_rng(seed)
    state = np.empty((n_trials, n_bins), int)
    state[:, 0] = rng.random(n_trials) < stay[1] / sum(stay)
    for t in range(1, n_bins):
        leaves = rng.random(n_trials) < 1.0 / np.array(stay)[state[:, t - 1]]
        state[:, t] = np.where(leaves, 1 - state[:, t - 1], state[:, t - 1])
    return rng.poisson(mean * np.array(gain)[state]), state


@pytest.fixture(scope="module")
def enumerated():
    """One trial of seven bins, one of them unobserved, and the probability of every path of states."""
    counts = np.array([[0, 2, 1, 0, 3, 0, 1]])
    observed = np.array([[True, True, True, False, True, True, True]])
    log_mu = np.log(np.array([[0.5, 0.8, 0.3, 0.9, 1.0, 0.2, 0.6]]))
    paths, joint = np.array(list(itertools.product(range(2), repeat=7))), []
    for path in paths:
        chance = CHAIN.start[path[0]] * np.prod(CHAIN.move[path[:-1], path[1:]])
        emitted = poisson.pmf(counts[0], np.exp(log_mu[0]) * CHAIN.gain[path])
        joint.append(chance * np.prod(np.where(observed[0], emitted, 1.0)))
    return trials_of(counts, observed), log_mu, paths, np.array(joint)


def test_expected_statistics_are_sums_over_all_paths(enumerated):
    trials, log_mu, paths, joint = enumerated
    found = expect(trials.counts, trials.observed, log_mu, *CHAIN)
    weight = joint / joint.sum()
    occupied = np.stack([(paths == k).T @ weight for k in range(2)], axis=1)
    seen = trials.observed[0]
    np.testing.assert_allclose(found.start, occupied[0], rtol=1e-12)
    np.testing.assert_allclose(found.spikes, trials.counts[0, seen] @ occupied[seen], rtol=1e-12)
    np.testing.assert_allclose(found.expected, np.exp(log_mu[0, seen]) @ occupied[seen], rtol=1e-12)
    moves = [[((paths[:, :-1] == k) & (paths[:, 1:] == j)).sum(axis=1) @ weight for j in range(2)] for k in range(2)]
    np.testing.assert_allclose(found.moves, moves, rtol=1e-12)
    # log y! is left out of the sums: of 2 and of 3 spikes.
    assert found.log_likelihood == pytest.approx(np.log(joint.sum()) + np.log(2.0) + np.log(6.0), rel=1e-12)


def test_prediction_and_mixture_see_the_past_only_and_multiply_to_the_whole(enumerated):
    trials, log_mu, _, joint = enumerated
    fitted = HMM(baseline=None, n_states=(2,), n_starts=1, max_iterations=1).fit_on(
        trials_of(np.array([[0, 1], [1, 0], [0, 0]])), None, np.zeros((3, 2))
    )
    fitted = replace(fitted, states=CHAIN)
    # One step ahead, bin by bin: the product is the probability of all counts.
    whole = fitted.mixture_log_likelihood(trials, log_mu)
    assert whole[0] == pytest.approx(np.log(joint.sum()), rel=1e-12)
    before = fitted.extend(trials, log_mu)
    changed = trials._replace(counts=trials.counts + np.array([[0, 0, 0, 0, 0, 2, 0]], np.uint16))
    after = fitted.extend(changed, log_mu)
    np.testing.assert_array_equal(after[0, :6], before[0, :6])
    assert after[0, 6] > before[0, 6]
    probability = fitted.state_probability(trials, log_mu)
    np.testing.assert_allclose(probability.sum(axis=2), 1.0, rtol=1e-12)
    np.testing.assert_allclose(before, log_mu + np.log(probability @ CHAIN.gain), rtol=1e-12)


def test_no_iteration_loses_likelihood():
    counts, _ = planted(10, 400, seed=3)
    trials = trials_of(counts)
    log_mu = np.full(counts.shape, np.log(counts.mean()))
    start = States(np.array([0.5, 0.5]), np.array([[0.95, 0.05], [0.05, 0.95]]), np.array([0.8, 1.3]))
    _, values = climb(start, trials, log_mu, 60, 1e-300)
    # Round-off of a sum of 4000 terms.
    assert np.diff(values).min() > -1e-8
    assert values[-1] - values[0] > 1.0


def test_a_planted_chain_is_found_again():
    counts, state = planted(60, 1700, seed=1)
    trials = trials_of(counts)
    fitted = HMM(baseline=Constant(), n_states=(2,)).fit(trials)
    gain = fitted.states.gain * np.exp(fitted.below.log_mu(trials)[0, 0]) / 0.025
    # About 1000 stays and 2500 spikes in all: some 5 % each, three times that allowed.
    np.testing.assert_allclose(gain, [0.4, 2.4], rtol=0.15)
    np.testing.assert_allclose(fitted.stay_s, [0.2, 0.1], rtol=0.25)
    probability = fitted.state_probability(trials, fitted.below.log_mu(trials))[:, :, 1]
    assert probability[state == 1].mean() > probability[state == 0].mean() + 0.2


def test_the_mixture_is_worth_more_than_its_mean_where_states_differ_and_bins_are_wide():
    """In bins of 20 ms counts are overdispersed, which a mean does not say: the textbook's advantage of an HMM."""
    counts, _ = planted(60, 100, seed=2, stay=(10, 5), mean=0.5)
    trials = trials_of(counts)._replace(bin_s=0.02)
    fitted = HMM(baseline=Constant(), n_states=(2,)).fit(trials)
    base = fitted.below.log_mu(trials)
    mean = trial_log_likelihood(trials, fitted.extend(trials, base))
    mixture = fitted.mixture_log_likelihood(trials, base)
    difference = mixture - mean
    assert difference.mean() > 4.0 * difference.std(ddof=1) / np.sqrt(len(difference))


def test_the_same_seed_gives_the_same_chain_and_no_history_gives_no_gain():
    rng = stream(5, "test")
    train, test = (trials_of(rng.poisson(0.03, (40, 500))) for _ in range(2))
    one, two = (HMM(baseline=Constant(), seed=4).fit(train) for _ in range(2))
    np.testing.assert_array_equal(one.states.gain, two.states.gain)
    np.testing.assert_array_equal(one.log_mu(test), two.log_mu(test))
    gain = trial_log_likelihood(test, one.log_mu(test)) - trial_log_likelihood(test, one.below.log_mu(test))
    # Some parameters too many: half a nat each, over 600 spikes.
    assert -5.0 < gain.sum() < 3.0


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
def test_states_are_followed_bin_by_bin_to_the_bit(baseline, gappy):
    """Oracles: `extend` on finished spikes, and free running that replays all bins in every bin."""
    fitted = HMM(baseline=baseline, n_states=(3,)).fit(gappy)
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
    simulate_copies(HMM(baseline=Constant(), n_states=(2,)).fit(gappy), gappy, n_copies=1)
    for kernel in (hmm_kernels.filter_states, hmm_kernels.mean_gain):
        assert len(kernel.signatures) == 1


@pytest.mark.parametrize(
    ("changed", "told"),
    [
        ({"n_states": ()}, "n_states are to choose from"),
        ({"n_states": (1,)}, "n_states=1 is not valid"),
        ({"n_starts": 0}, "n_starts=0 is not valid"),
        ({"tolerance_nats": 0.0}, "tolerance_nats=0.0 is not a positive"),
        ({"seed": -1}, "seed=-1 is not valid"),
    ],
)
def test_settings_that_mean_nothing_are_refused(changed, told):
    with pytest.raises(OptionError, match=told):
        HMM(**changed)
