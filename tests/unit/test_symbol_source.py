"""Sources with hidden states, and the task of predicting them.

Oracles: enumeration of all words, closed forms (Crutchfield & Feldman 2003; a renewal process by its intervals), and
predictions from ratios of word probabilities.
"""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from cortexrnn.errors import DataError, NumericalError, OptionError
from cortexrnn.training.hidden_sources import (
    HiddenSource,
    even_process,
    golden_mean,
    markov_source,
    simple_nonunifilar,
)
from cortexrnn.training.tasks.symbols import SymbolSource

SOURCES = {
    "even": even_process(),
    "even 0.3": even_process(0.3),
    "golden mean": golden_mean(),
    "nonunifilar": simple_nonunifilar(0.4, 0.7),
    "three symbols": markov_source([[0.1, 0.6, 0.3], [0.5, 0.25, 0.25], [0.2, 0.2, 0.6]]),
}


@pytest.fixture(params=SOURCES)
def source(request):
    """Every source in turn."""
    return SOURCES[request.param]


def entropy(p):
    """Entropy of a distribution, bits."""
    p = np.asarray(p)
    p = p[p > 0]
    return float(-(p * np.log2(p)).sum())


def word_probability(source, word):
    """Probability of a word by multiplying matrices."""
    vector = source.stationary
    for symbol in word:
        vector = vector @ source.tensor[symbol]
    return vector.sum()


def test_block_entropies_are_those_of_all_words(source):
    """Every word up to length 6 or, of three symbols, 729 of them; 1e-12."""
    found = source.block_entropies(6)
    for length in range(1, 7):
        words = itertools.product(range(source.n_symbols), repeat=length)
        assert found[length] == pytest.approx(entropy([word_probability(source, word) for word in words]), abs=1e-12)
    np.testing.assert_allclose(np.diff(found), source.conditional_entropies(5), atol=1e-12)


def test_the_even_process_has_its_closed_form():
    """Only a word of ones leaves the state open: 2^(-k/2) (H(1/3) - 2/3), or 2/3 2^(-(k-1)/2) (H(1/4) - 1/2)."""
    found = even_process().conditional_entropies(60)
    k = np.arange(61)
    even = 2.0 ** (-k / 2) * (entropy([1 / 3, 2 / 3]) - 2 / 3)
    odd = 2 / 3 * 2.0 ** (-(k - 1) / 2) * (entropy([1 / 4, 3 / 4]) - 1 / 2)
    np.testing.assert_allclose(found, 2 / 3 + np.where(k % 2 == 0, even, odd), atol=1e-12)
    # Its excess entropy is all that there is to know about its state.
    assert (found - 2 / 3).sum() == pytest.approx(entropy([1 / 3, 2 / 3]), abs=1e-8)


def test_entropy_rates_are_those_of_the_paper():
    """2/3 bit for both; the golden mean reaches it with one symbol."""
    assert even_process().entropy_rate_bits == pytest.approx(2 / 3, abs=1e-14)
    assert golden_mean().entropy_rate_bits == pytest.approx(2 / 3, abs=1e-14)
    np.testing.assert_allclose(golden_mean().conditional_entropies(5)[1:], 2 / 3, atol=1e-14)


def test_the_rate_of_a_renewal_process_is_the_entropy_of_its_intervals_over_their_mean():
    """The intervals of the nonunifilar source are sums of two geometric ones; 200 of them leave 1e-50 out."""
    p, q = 0.4, 0.7
    first, second = (x * (1 - x) ** np.arange(200) for x in (p, q))
    # The one that leaves the first state and the zero that leaves the second make two steps.
    intervals = np.convolve(first, second)[:200]
    expected = entropy(intervals) / (intervals @ (np.arange(200) + 2))
    low, high = simple_nonunifilar(p, q).entropy_bounds(40)
    assert low[-1] == pytest.approx(expected, abs=1e-9)
    assert high[-1] == pytest.approx(expected, abs=1e-9)


def test_bounds_close_in_and_hold_the_rate(source):
    low, high = source.entropy_bounds(8)
    # Rounding of sums of a few numbers of order 1.
    assert (np.diff(low) > -1e-12).all()
    assert (np.diff(high) < 1e-12).all()
    assert (low <= high + 1e-12).all()
    if source.is_unifilar:
        np.testing.assert_allclose(low, source.entropy_rate_bits, atol=1e-12)


def test_the_ideal_observer_predicts_ratios_of_word_probabilities(source):
    words = np.array(
        [word for word in itertools.product(range(source.n_symbols), repeat=5) if word_probability(source, word) > 0]
    )
    found = source.predict(words)
    np.testing.assert_allclose(found.sum(axis=2), 1.0, atol=1e-12)
    for word, predicted in zip(words.tolist(), found, strict=True):
        for t in range(5):
            whole = word_probability(source, word[: t + 1])
            expected = [word_probability(source, [*word[: t + 1], s]) / whole for s in range(source.n_symbols)]
            np.testing.assert_allclose(predicted[t], expected, atol=1e-12)


def test_emitted_words_are_as_frequent_as_they_are_probable(source):
    """Words of four symbols at steps 3 to 6 of 40000 sequences: five binomial errors, and none that cannot be."""
    emitted = source.emit(np.random.default_rng(0).random((40000, 8)))
    codes = emitted[:, 3:] @ source.n_symbols ** np.arange(4)[::-1]
    counts = np.bincount(codes, minlength=source.n_symbols**4)
    for code, word in enumerate(itertools.product(range(source.n_symbols), repeat=4)):
        p = word_probability(source, word)
        assert abs(counts[code] / 40000 - p) <= 5 * np.sqrt(p * (1 - p) / 40000)


def test_the_largest_uniform_number_still_gives_a_symbol(source):
    edge = np.full((1, 30), np.nextafter(1.0, 0.0))
    assert source.emit(edge).max() < source.n_symbols


def test_a_word_that_cannot_be_is_refused():
    with pytest.raises(NumericalError, match="cannot emit symbol 0 at step 2 of sequence 1"):
        golden_mean().predict([[0, 1, 0], [1, 0, 0]])
    with pytest.raises(DataError, match="no symbol"):
        golden_mean().predict([[0, 2]])


@pytest.mark.parametrize(
    ("transitions", "match"),
    [
        ([[0.5, 0.5]], "is no array"),
        ([[[0.5, "x"]]], "is no array"),
        ([[[0.5]], [[0.4]]], "expected 1"),
        ([[[1.5]], [[-0.5]]], "expected 1"),
        ([[[1.0, 0.0], [0.0, 1.0]]], "leads to every other"),
    ],
)
def test_what_is_no_source_is_refused(transitions, match):
    with pytest.raises(OptionError, match=match):
        HiddenSource(transitions=transitions)


def test_a_source_that_is_not_unifilar_has_no_closed_rate():
    with pytest.raises(OptionError, match="not unifilar"):
        _ = simple_nonunifilar().entropy_rate_bits
    with pytest.raises(OptionError, match=r"p=1\.0"):
        even_process(1.0)
    with pytest.raises(OptionError, match="expected"):
        markov_source([0.5, 0.5])


def test_sources_have_a_value():
    """Tasks that hold one are compared by their text when a file is read."""
    assert even_process() == even_process()
    assert hash(even_process()) == hash(even_process())
    assert repr(even_process()) == repr(eval_free_copy(even_process()))
    assert even_process() != golden_mean()


def eval_free_copy(source):
    """The same source from its own array."""
    return HiddenSource(transitions=source.tensor, name=source.name)


def test_labels_are_the_next_symbols():
    task = SymbolSource(n_length=12)
    batch = task.trials(20, seed=1)
    symbols = task.symbols(batch)
    np.testing.assert_array_equal(batch.inputs.argmax(axis=2), symbols[:, :-1])
    np.testing.assert_array_equal(batch.labels, symbols[:, 1:])
    np.testing.assert_array_equal(batch.inputs.sum(axis=2), 1.0)
    assert batch.inputs.dtype == np.float32


def test_answers_of_the_ideal_observer_pay_what_the_table_says():
    """Its probabilities as outputs: its own loss, to float64; -60 stands for minus infinity."""
    task = SymbolSource(n_length=30)
    batch = task.trials(200, seed=4, mode="test")
    found = task.performance(np.maximum(np.log(np.maximum(task.ideal(batch), 1e-300)), -60.0), batch)
    np.testing.assert_allclose(found.trials["loss_bits"], found.trials["ideal_loss_bits"], atol=1e-12)
    np.testing.assert_allclose(found.correct, found.trials["ideal_correct"], atol=1e-15)
    assert found.error / np.log(2) == pytest.approx(found.trials["ideal_loss_bits"].mean(), abs=1e-12)


def test_the_ideal_observer_pays_the_exact_entropies_on_the_mean():
    """Over 30 steps, 4000 trials: four standard errors."""
    task = SymbolSource(n_length=30)
    batch = task.trials(4000, seed=4, mode="test")
    paid = task.performance(np.zeros((4000, 30, 2)), batch).trials["ideal_loss_bits"]
    expected = task.source.conditional_entropies(30)[1:].mean()
    assert abs(paid.mean() - expected) < 4 * paid.std() / np.sqrt(4000)
    # Of the even process two thirds can be told in the long run (2/3 of the time a coin, else for sure).
    many = task.performance(np.zeros((4000, 30, 2)), batch)
    assert many.trials["ideal_correct"].mean() == pytest.approx(2 / 3, abs=0.01)


def test_stored_sequences_are_drawn_again_in_training_and_never_in_a_test():
    task = SymbolSource(n_length=20, n_sequences=5, data_seed=3)
    stored = task.stored()
    assert stored.shape == (5, 21)
    batch = task.trials(300, seed=0)
    np.testing.assert_array_equal(task.symbols(batch), stored[batch.table["sequence"]])
    assert set(batch.table["sequence"]) == set(range(5))
    tested = task.symbols(task.trials(300, seed=0, mode="test"))
    assert not any((row == tested).all(axis=1).any() for row in stored)
    # The first of more are the same, so that others of the same seed can be held out.
    np.testing.assert_array_equal(SymbolSource(n_length=20, n_sequences=9, data_seed=3).stored()[:5], stored)
    assert not np.array_equal(SymbolSource(n_length=20, n_sequences=5, data_seed=4).stored(), stored)


def test_a_task_without_stored_sequences_says_so():
    with pytest.raises(OptionError, match="stores none"):
        SymbolSource().stored()
    with pytest.raises(OptionError, match="expected a HiddenSource"):
        SymbolSource(source="even")
    with pytest.raises(OptionError, match="nothing to predict"):
        SymbolSource(source=HiddenSource(transitions=[[[1.0]]]))
