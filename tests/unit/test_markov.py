"""Markov chains of symbols.

Oracles: counts by hand, a chain in a dictionary written out here, closed forms of two-state chains, and the exact
entropies of sources with hidden states (tested against enumeration in test_symbol_source.py).
"""

from __future__ import annotations

from collections import defaultdict

import numpy as np
import pytest

from cortexrnn.errors import DataError, OptionError
from cortexrnn.training.hidden_sources import even_process, golden_mean, markov_source
from cortexrnn.training.markov import MarkovChain, choose_order, ratio_mean
from cortexrnn.training.symbols import as_symbols

UNEQUAL = [np.array([0, 2, 1, 1, 0, 2, 2]), np.array([1]), np.array([2, 0, 1, 0, 2, 1, 1, 0, 2, 1, 0])]


def dictionary_chain(sequences, tested, order, n_symbols, prior):
    """The same chain, symbol by symbol, contexts as tuples."""
    counts = defaultdict(lambda: np.zeros(n_symbols))
    for sequence in sequences:
        for t, symbol in enumerate(sequence):
            for k in range(min(order, t) + 1):
                counts[tuple(sequence[t - k : t])][symbol] += 1
    found = []
    for sequence in tested:
        found.append([])
        for t, symbol in enumerate(sequence):
            k = min(order, t)
            seen = counts[tuple(sequence[t - k : t])]
            found[-1].append(np.log((seen[symbol] + prior) / (seen.sum() + n_symbols * prior)))
    return found


def flipping_entropy(p):
    """Entropy of a coin, bits."""
    return -p * np.log2(p) - (1 - p) * np.log2(1 - p)


def emitted(source, n_sequences, n_steps, seed):
    return source.emit(np.random.default_rng(seed).random((n_sequences, n_steps + 1)))


def test_counts_of_a_short_sequence_are_those_of_the_hand():
    """0 1 1 0 1: after 0 twice a 1; after 1 once a 1 and once a 0."""
    fitted = MarkovChain(order=1, n_symbols=2).fit([[0, 1, 1, 0, 1]])
    np.testing.assert_allclose(fitted.probabilities([[0], [1]]), [[0.5 / 3, 2.5 / 3], [1.5 / 3, 1.5 / 3]], rtol=1e-15)
    np.testing.assert_allclose(fitted.probabilities(np.empty((1, 0), int)), [[2.5 / 6, 3.5 / 6]], rtol=1e-15)
    found = np.exp(fitted.log_probability([[1, 0, 1]])[0])
    np.testing.assert_allclose(found, [3.5 / 6, 1.5 / 3, 2.5 / 3], rtol=1e-14)


@pytest.mark.parametrize("order", [0, 1, 2, 5, 20])
@pytest.mark.parametrize("prior", [0.5, 0.1])
def test_probabilities_are_those_of_a_dictionary(order, prior):
    """Sequences of different lengths, one of a single symbol; the same sums in another order, 1e-14."""
    fitted = MarkovChain(order=order, n_symbols=3, prior=prior).fit(UNEQUAL)
    tested = [*UNEQUAL, np.array([2, 2, 0, 0, 1, 2])]
    expected = dictionary_chain(UNEQUAL, tested, order, 3, prior)
    for one, other in zip(fitted.log_probability(tested), expected, strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-13, atol=1e-14)


def test_lower_orders_lie_in_a_fitted_chain_of_a_higher_one():
    sequences = np.random.default_rng(0).integers(0, 2, (4, 60))
    high, low = (MarkovChain(order=order, n_symbols=2).fit(sequences) for order in (6, 2))
    for one, other in zip(high.log_probability(sequences, order=2), low.log_probability(sequences), strict=True):
        np.testing.assert_array_equal(one, other)
    with pytest.raises(OptionError, match="order=7 is not fitted"):
        high.log_probability(sequences, order=7)


def test_probabilities_of_every_context_sum_to_one_seen_or_not():
    fitted = MarkovChain(order=3, n_symbols=3).fit(UNEQUAL)
    contexts = np.stack(np.meshgrid(*[np.arange(3)] * 3, indexing="ij"), axis=-1).reshape(-1, 3)
    found = fitted.probabilities(contexts)
    np.testing.assert_allclose(found.sum(axis=1), 1.0, rtol=1e-15)
    # 0 0 0 never came.
    np.testing.assert_allclose(found[0], 1 / 3, rtol=1e-15)


def test_the_newest_symbol_of_a_context_is_its_last():
    fitted = MarkovChain(order=2, n_symbols=2, prior=1e-6).fit([[0, 0, 1, 1] * 50])
    found = fitted.probabilities([[0, 0], [0, 1], [1, 1], [1, 0]])
    np.testing.assert_allclose(found[:, 1], [1.0, 1.0, 0.0, 0.0], atol=1e-6)


def test_fitted_transitions_converge_to_those_of_the_source():
    """A three-state chain, 1e6 symbols: five binomial errors."""
    matrix = np.array([[0.1, 0.6, 0.3], [0.5, 0.25, 0.25], [0.2, 0.2, 0.6]])
    source = markov_source(matrix)
    fitted = MarkovChain(order=1, n_symbols=3).fit(emitted(source, 1000, 1000, seed=0))
    error = np.sqrt(matrix * (1 - matrix) / (1e6 * source.stationary[:, None]))
    assert (np.abs(fitted.probabilities([[0], [1], [2]]) - matrix) < 5 * error).all()


@pytest.mark.parametrize(("leave", "back"), [(0.1, 0.3), (0.5, 0.5), (0.01, 0.02)])
def test_the_entropy_rate_of_a_two_state_chain_is_its_closed_form(leave, back):
    """Counts made for the probabilities: share of each state times the entropy of leaving it, 1e-6 for the prior."""
    pairs, counts = [[0, 1], [0, 0], [1, 0], [1, 1]], [leave, 1 - leave, back, 1 - back]
    sequences = np.repeat(pairs, np.round(1e4 * np.array(counts)).astype(int), axis=0)
    fitted = MarkovChain(order=1, n_symbols=2, prior=1e-4).fit(sequences)
    share = back / (leave + back)
    expected = share * flipping_entropy(leave) + (1 - share) * flipping_entropy(back)
    assert fitted.entropy_rate_bits() == pytest.approx(expected, abs=1e-6)


@pytest.mark.parametrize("order", [8, 10])
def test_entropy_rates_by_both_solvers_are_those_of_the_chain_as_a_source(order):
    """256 contexts are solved at once, 1024 by iterations; here the chain is a source whose state is its context."""
    fitted = MarkovChain(order=order, n_symbols=2).fit(emitted(even_process(), 20, 200, seed=1))
    n = 2**order
    contexts = (np.arange(n)[:, None] >> np.arange(order)[::-1]) & 1
    rows = fitted.probabilities(contexts)
    matrix = np.zeros((n, n))
    for symbol in (0, 1):
        matrix[np.arange(n), (2 * np.arange(n) + symbol) % n] = rows[:, symbol]
    # One of the balances follows from the others, and the shares sum to one.
    balance = matrix.T - np.eye(n)
    balance[-1] = 1.0
    share = np.linalg.solve(balance, np.eye(n)[-1])
    expected = -share @ (rows * np.log2(rows)).sum(axis=1)
    # Ten times what the residual of the stationary shares may be.
    assert fitted.entropy_rate_bits() == pytest.approx(expected, abs=1e-8)


def test_a_periodic_sequence_has_next_to_no_entropy():
    """Period two: the chain of order 1 swings for ever, and its shares are still one half each."""
    fitted = MarkovChain(order=1, n_symbols=2, prior=1e-9).fit([[0, 1] * 500])
    assert fitted.entropy_rate_bits() < 1e-9


def test_more_contexts_than_can_be_held_have_no_entropy_rate():
    fitted = MarkovChain(order=25, n_symbols=2).fit([[0, 1, 1, 0]])
    with pytest.raises(OptionError, match=r"2\^25 contexts"):
        fitted.entropy_rate_bits()


def test_order_twenty_holds_only_what_was_seen():
    sequences = np.random.default_rng(0).integers(0, 2, (5, 1000))
    fitted = MarkovChain(order=20, n_symbols=2).fit(sequences)
    assert fitted.counts[20].context.size <= 5 * 980
    assert fitted.counts[20].pair_count.sum() == 5 * 980


def test_the_loss_of_long_data_is_the_exact_conditional_entropy():
    """Even process, 4e5 symbols, orders 0 to 8: within four standard errors over sequences, and the cost of learning.

    That cost is half a logarithm of the count for each of at most 2^8 contexts: below 0.004 bits a symbol.
    """
    data = emitted(even_process(), 400, 1000, seed=2)
    exact = even_process().conditional_entropies(8)
    fitted = MarkovChain(order=8, n_symbols=2).fit(data)
    for order in range(9):
        losses = [-part[8:].mean() / np.log(2) for part in fitted.log_probability(data, order=order)]
        error = np.std(losses, ddof=1) / np.sqrt(len(losses))
        assert abs(np.mean(losses) - exact[order]) < 4 * error + 0.004


def test_a_chain_of_too_high_an_order_pays_for_its_contexts():
    """Golden mean, order 1: held out, the loss rises with every order from 3 on and is least at 1 or 2."""
    found = choose_order(emitted(golden_mean(), 40, 50, seed=0), orders=range(11), n_symbols=2)
    losses = found.orders["loss"].values
    assert found.best in (1, 2)
    assert (np.diff(losses[3:]) > 0).all()
    # On the same symbols differences are surer than this error of one loss.
    assert losses[10] - losses[1] > 5 * float(found.orders["loss_se"][1])
    assert losses[0] - losses[1] > 5 * float(found.orders["loss_se"][1])


def test_bic_finds_the_order_of_a_chain():
    """Order 1 among 0 to 6, from 1e4 symbols of ten seeds (consistent; here it never errs)."""
    for seed in range(10):
        data = emitted(golden_mean(), 10, 1000, seed=seed)
        assert choose_order(data, orders=range(7), n_symbols=2).best_by_bic == 1


def test_criteria_and_held_out_loss_are_those_written_out():
    """Maximal likelihood by counts in a dictionary on symbols with at least two before them; folds by remainder."""
    data = np.random.default_rng(3).integers(0, 3, (7, 30))
    found = choose_order(data, orders=(0, 2), n_symbols=3, folds=3)
    for order in (0, 2):
        counts = defaultdict(lambda: np.zeros(3))
        for row in data:
            for t in range(2, 30):
                counts[tuple(row[t - order : t])][row[t]] += 1
        likelihood = sum(n * np.log(n / seen.sum()) for seen in counts.values() for n in seen if n)
        n_parameters = 2 * 3**order
        one = found.orders.sel(order=order)
        assert float(one["aic"]) == pytest.approx(2 * n_parameters - 2 * likelihood, rel=1e-12)
        assert float(one["bic"]) == pytest.approx(n_parameters * np.log(7 * 28) - 2 * likelihood, rel=1e-12)
        losses = np.empty(7)
        for fold in range(3):
            rest = [row for k, row in enumerate(data) if k % 3 != fold]
            parts = dictionary_chain(rest, data[fold::3], order, 3, 0.5)
            losses[fold::3] = [-np.mean(part) / np.log(2) for part in parts]
        assert float(one["loss"]) == pytest.approx(losses.mean(), rel=1e-12)
        assert float(one["loss_se"]) == pytest.approx(losses.std(ddof=1) / np.sqrt(7), rel=1e-12)


def test_a_mean_over_groups_has_the_error_of_groups():
    """Equal weights: the usual standard error. One group has none."""
    totals = np.array([1.0, 2.0, 4.0])
    assert ratio_mean(2.0 * totals, np.full(3, 2.0)) == pytest.approx((7 / 3, totals.std(ddof=1) / np.sqrt(3)))
    mean, error = ratio_mean(np.array([3.0]), np.array([2.0]))
    assert mean == 1.5
    assert np.isnan(error)


def test_an_array_and_a_list_of_its_rows_are_the_same():
    grid = np.random.default_rng(0).integers(0, 3, (4, 6))
    for one, other in zip(as_symbols(grid, 3), as_symbols(list(grid), 3), strict=True):
        np.testing.assert_array_equal(one, other)
        assert one.dtype == other.dtype


def test_sequences_lie_end_to_end_and_no_context_crosses():
    symbols = as_symbols(UNEQUAL, 3)
    assert symbols.position.tolist() == [*range(7), 0, *range(11)]
    codes = list(symbols.contexts(2, 3))
    # Step 2 of the first sequence has 0 2 before it, newest first: 2 + 3 * 0.
    assert codes[2][2] == 2
    # Step 3 of the last one has 2 0 1 before it: 1 + 3 * 0.
    assert codes[2][8 + 3] == 1


@pytest.mark.parametrize(
    ("sequences", "match"),
    [
        ([[0, 1], [1, 2]], "2 at step 1 is no symbol"),
        ([[0.5, 1.0]], "type float64"),
        ([0, 1, 1], "Give one sequence as"),
        ([[]], "no symbol in the sequences"),
        ([[0, -1]], "-1 at step 1 is no symbol"),
        (np.array([[0, 1], [1, 2]]), "sequence 1: 2 at step 1 is no symbol"),
        (np.ones((2, 3)), "type float64"),
        (np.ones((0, 3), int), r"shape \(0, 3\)"),
    ],
)
def test_what_is_no_sequence_of_symbols_is_refused(sequences, match):
    with pytest.raises(DataError, match=match):
        MarkovChain(order=1, n_symbols=2).fit(sequences)


@pytest.mark.parametrize(
    ("changes", "match"),
    [
        ({"order": -1}, "order=-1"),
        ({"n_symbols": 1}, "n_symbols=1"),
        ({"prior": 0.0}, r"prior=0\.0"),
        ({"order": 63}, "fewer than 2"),
    ],
)
def test_chains_that_cannot_be_are_refused(changes, match):
    with pytest.raises(OptionError, match=match):
        MarkovChain(**({"order": 1, "n_symbols": 2} | changes))


def test_orders_that_cannot_be_compared_are_refused():
    data = np.zeros((4, 5), int)
    with pytest.raises(OptionError, match="4 sequences for folds=5"):
        choose_order(data, orders=[1], n_symbols=2)
    with pytest.raises(OptionError, match="orders is empty"):
        choose_order(data, orders=[], n_symbols=2, folds=2)
    with pytest.raises(DataError, match="longer than the largest order, 5"):
        choose_order(data, orders=[5], n_symbols=2, folds=2)
