"""Decoding by causal networks: no look ahead, no leak, honest chance, and what only history tells is found."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import xarray as xr

from cortexrnn.errors import DataError, NumericalError, OptionError
from cortexrnn.training.behaviour import wilson
from cortexrnn.training.decoding import DecodeOptions, NetworkDecoder, compare_sources, cross_temporal, decode
from cortexrnn.training.decoding.data import take_target
from cortexrnn.training.decoding.network import Lesson, _validation, train_decoder
from cortexrnn.training.decoding.ridge import fit_folds

SMALL = NetworkDecoder(n_hidden=6, n_seeds=2, n_shuffles=0, max_epochs=15)
QUICK = DecodeOptions(n_folds=3, penalties=(0.1,), n_shuffles=0, n_bootstrap=50, network=SMALL)


def noise(n_trials, n_times, n_units, seed):
    """Poisson counts that know nothing."""
    return np.random.default_rng(seed).poisson(0.5, (n_trials, n_times, n_units)).astype(float)


def pulses(n_trials, seed):
    """Two halves of 8 units have a pulse each; the class is which of them is first. Each pulse alone is the same."""
    labels = np.arange(n_trials) % 2
    rates = np.full((n_trials, 8, 8), 0.2)
    for first, second, label in ((slice(0, 4), slice(4, 8), 0), (slice(4, 8), slice(0, 4), 1)):
        rates[labels == label, 1, first] = 2.0
        rates[labels == label, 4, second] = 2.0
    return np.random.default_rng(seed).poisson(rates).astype(float), labels


def test_no_answer_changes_by_a_bit_before_the_counts_do():
    """A trained network, other counts from time 5 on: exact before, and other after it."""
    values, labels = pulses(40, seed=1)
    known = np.ones(values.shape[:2], bool)
    target = take_target(labels, 40, "auto", 5)
    trained = train_decoder(replace(SMALL, max_epochs=40), target, Lesson(values, known, labels, None), 0, (0,))
    before = trained.answer(values, known)
    other = values.copy()
    other[:, 5:] += 1.0
    after = trained.answer(other, known)
    np.testing.assert_array_equal(after[:, :5], before[:, :5])
    assert (after[:, 5] != before[:, 5]).all()
    # Probabilities, by float64 of single-precision logits.
    np.testing.assert_allclose(before.sum(axis=2), 1.0, rtol=1e-12)


@pytest.mark.parametrize("kind", ["classes", "values", "course"])
def test_held_out_trials_have_no_part_in_their_networks(kind):
    """Exact, over the whole of `decode`: a fold is other from time 3 on; its answers up to then stay bit for bit."""
    values = noise(45, 6, 4, seed=2)
    of_trial = 0.1 * np.arange(45)
    values[:, :, 1] += of_trial[:, None]
    labels = {"classes": np.arange(45) // 15, "values": of_trial, "course": values[:, :, 0].copy()}
    before = decode(values, labels[kind], options=QUICK).network.found
    own = before["fold"].values == 1
    values[own, 3:] = noise(int(own.sum()), 3, 4, seed=3) + 5.0
    after = decode(values, labels[kind], options=QUICK).network.found
    np.testing.assert_array_equal(after["answer"].values[own, :3], before["answer"].values[own, :3])
    assert (after["answer"].values[own, 3:] != before["answer"].values[own, 3:]).any()
    assert not np.array_equal(after["answer"].values[~own, :3], before["answer"].values[~own, :3])


def test_the_seed_alone_decides_the_bits_on_any_number_of_workers():
    values, labels = pulses(40, seed=4)
    options = replace(QUICK, n_shuffles=3, network=replace(SMALL, n_shuffles=2, n_workers=1))
    one = decode(values, labels, options=options, seed=5).network.found
    two = decode(values, labels, options=replace(options, network=replace(options.network, n_workers=3)), seed=5)
    xr.testing.assert_identical(one, two.network.found)
    other = decode(values, labels, options=options, seed=6).network.found
    assert not np.array_equal(one["answer"], other["answer"])
    assert one.sizes["shuffle"] == one.attrs["n_shuffles"] == 2


def test_a_condition_that_every_time_tells_alone_is_read_as_well_as_linearly():
    """One time tells, linearly: the score of the networks is in the interval of the linear read-out's."""
    rng = np.random.default_rng(7)
    labels = np.arange(200) % 2
    values = rng.standard_normal((200, 3, 6))
    values[:, 2, :2] += 1.2 * labels[:, None]
    options = DecodeOptions(n_shuffles=0, n_bootstrap=200, network=NetworkDecoder(n_hidden=8, n_seeds=2, n_shuffles=0))
    found = decode(values, labels, options=options)
    linear, network = found.found.isel(time=2), found.network.found.isel(time=2)
    assert float(linear["accuracy_low"]) < float(network["accuracy"]) < float(linear["accuracy_high"])
    assert float(network["difference_low"]) < 0.0 < float(network["difference_high"])
    # Where nothing tells, chance within 4 standard errors of 200 trials.
    assert np.abs(found.network.score.values[:2] - 0.5).max() < 4.0 * 0.5 / np.sqrt(200)


def test_weak_evidence_is_summed_up_over_time():
    """The sum of the counts is sufficient: at the end the networks are in the interval of a read-out of the sum."""
    rng = np.random.default_rng(8)
    labels = np.arange(160) % 2
    rates = 0.6 * np.exp(np.outer(2 * labels - 1, 0.2 * rng.standard_normal(12)))
    values = rng.poisson(np.repeat(rates[:, None], 10, axis=1)).astype(float)
    options = DecodeOptions(n_shuffles=0, n_bootstrap=200, network=NetworkDecoder(n_hidden=8, n_seeds=2, n_shuffles=0))
    found = decode(values, labels, options=options)
    best = decode(values.sum(axis=1), labels, options=DecodeOptions(n_shuffles=0)).found
    assert float(best["accuracy_low"]) < float(found.network.score[-1]) < float(best["accuracy_high"])
    assert float(found.network.found["difference_low"][-1]) > 0.0
    assert float(found.network.score[-1]) > float(found.network.score[0]) + 0.1


def test_an_order_that_no_time_alone_tells_is_read_from_history():
    """After two pulses only history knows which was first: linear at chance (4 standard errors), networks above it."""
    values, labels = pulses(120, seed=9)
    network = NetworkDecoder(n_hidden=8, n_seeds=2, n_shuffles=2, max_epochs=200)
    found = decode(values, labels, options=DecodeOptions(n_shuffles=10, n_bootstrap=200, network=network))
    assert abs(float(found.score[-1]) - 0.5) < 4.0 * 0.5 / np.sqrt(120)
    assert float(found.network.score[-1]) > 0.8
    assert float(found.network.found["difference_low"][-1]) > 0.0
    # No shuffle is as good as the labels.
    assert float(found.network.found["accuracy_p"][-1]) == pytest.approx(1.0 / 3.0, rel=1e-12)
    assert abs(found.network.found["accuracy_chance"].values - 0.5).max() < 4.0 * 0.5 / np.sqrt(240)


def test_labels_that_counts_know_nothing_of_are_read_by_chance():
    """20 data sets of noise: their mean accuracy, over times, within 4 of its own standard errors of a half."""
    network = replace(SMALL, n_seeds=1, max_epochs=20, patience=5)
    accuracy = [
        decode(
            noise(40, 4, 6, seed=seed), np.arange(40) % 2, options=replace(QUICK, network=network), seed=seed
        ).network.score.values.mean()
        for seed in range(20)
    ]
    assert abs(np.mean(accuracy) - 0.5) < 4.0 * np.std(accuracy, ddof=1) / np.sqrt(20)


def test_scores_of_classes_are_those_of_the_answers():
    """By hand: largest probability, or relative to the class's share of the other folds; Wilson's interval."""
    values = noise(72, 5, 4, seed=10)
    labels = np.where(np.arange(72) % 4 == 0, "rare", "usual")
    values[labels == "rare", 2:, 0] += 1.0
    for is_balanced in (False, True):
        options = replace(QUICK, is_balanced=is_balanced, network=replace(SMALL, n_seeds=1, max_epochs=60))
        found = decode(values, labels, options=options)
        network, fold = found.network.found, found.found["fold"].values
        judged = network["answer"].values.copy()
        for k in range(3) if is_balanced else ():
            judged[fold == k] /= [np.mean(labels[fold != k] == name) for name in ("rare", "usual")]
        right = network["class"].values[judged.argmax(axis=2)] == labels[:, None]
        np.testing.assert_allclose(network["accuracy"], right.mean(axis=0), rtol=1e-12)
        each = [right[labels == name].mean(axis=0) for name in ("rare", "usual")]
        np.testing.assert_allclose(network["balanced_accuracy"], np.mean(each, axis=0), rtol=1e-12)
        np.testing.assert_allclose(network["accuracy_low"], wilson(right.sum(axis=0), np.full(5, 72))[0], rtol=1e-12)
        np.testing.assert_allclose(network["difference"], right.mean(axis=0) - found.score.values, atol=1e-12)
        assert network["confusion"].values.sum() == 5 * 72
        assert network["n_epochs"].values.max() <= 60


def test_scores_are_means_over_seeds_and_their_deviation_is_told():
    values, labels = pulses(40, seed=11)
    network = decode(values, labels, options=QUICK).network.found
    for score in ("accuracy", "balanced_accuracy"):
        each = network[f"{score}_seed"].values
        assert each.shape == (2, 8)
        np.testing.assert_allclose(network[score], each.mean(axis=0), rtol=1e-12)
        np.testing.assert_allclose(network[f"{score}_seed_sd"], np.abs(each[0] - each[1]) / np.sqrt(2.0), atol=1e-12)


def test_a_behaviour_that_changes_is_read_at_every_time():
    """Linear answers are those of the values of that time (by hand); R2 and RMSE of both decoders are by hand."""
    rng = np.random.default_rng(12)
    course = np.cumsum(0.5 * rng.standard_normal((60, 6)), axis=1)
    values = course[:, :, None] + rng.standard_normal((60, 6, 5))
    found = decode(values, course, options=replace(QUICK, network=replace(SMALL, n_seeds=1, max_epochs=80)))
    fold = found.found["fold"].values
    for k, fit in fit_folds(values[:, 4], course[:, [4]], fold, (0.1,), 1).items():
        mine = found.found["answer"].values[fold == k, 4]
        # The same sums in the same order but for the layout of the targets.
        np.testing.assert_allclose(mine, fit.answer(values[fold == k, 4])[:, 0], atol=1e-12)
    centre = np.stack([course[fold != k].mean(axis=0) for k in fold])
    for data in (found.found, found.network.found):
        error = course - data["answer"].values
        r2 = 1.0 - np.sum(error**2, axis=0) / np.sum((course - centre) ** 2, axis=0)
        np.testing.assert_allclose(data["r2"], r2, rtol=1e-10)
        np.testing.assert_allclose(data["rmse"], np.sqrt(np.mean(error**2, axis=0)), rtol=1e-12)
        assert (data["rmse_low"] < data["rmse"]).all()
        assert (data["rmse"] < data["rmse_high"]).all()
        np.testing.assert_array_equal(data["truth"], course)


def test_shuffles_exchange_whole_courses():
    """A course that all trials share is known by its shuffles too: R2 about the mean of each time is at chance."""
    rng = np.random.default_rng(13)
    shared = np.sin(np.arange(6.0))
    values = shared[:, None] + rng.standard_normal((60, 6, 4))
    course = shared + 0.1 * rng.standard_normal((60, 6))
    found = decode(values, course, options=replace(QUICK, n_shuffles=19, network=None)).found
    # R2 of nothing with 4 units, 60 trials and a ridge is a few hundredths below 0.
    assert abs(found["r2"].values).max() < 0.2
    assert (found["r2_p_any"] > 0.05).all()


def test_trials_are_left_out_after_their_end():
    values, labels = pulses(60, seed=14)
    values[40:, 5:] = np.nan
    found = decode(values, labels, options=QUICK).network.found
    assert np.isnan(found["answer"].values[40:, 5:]).all()
    assert np.isfinite(found["answer"].values[:40]).all()
    assert found["confusion"].values.sum(axis=(1, 2)).tolist() == [60.0] * 5 + [40.0] * 3
    values[3:, 7] = np.nan
    found = decode(values, labels, options=QUICK).network.found
    assert np.isnan(found["accuracy"].values).tolist() == [False] * 7 + [True]
    assert np.isnan(found["answer"].values[:, 7]).all()
    course = np.where(np.isnan(values[:, :, 0]), np.nan, values[:, :, 1])
    assert np.isfinite(decode(values, course, options=QUICK).network.found["r2"].values[:7]).all()


def test_whole_groups_stop_the_training_and_some_of_every_class():
    labels = np.arange(40) % 2
    groups = np.repeat(np.arange(10), 4)
    target = take_target(labels, 40, "auto", 5)
    lesson = Lesson(noise(40, 2, 2, seed=15), np.ones((40, 2), bool), labels, groups)
    chosen = _validation(target, lesson, np.random.default_rng(0))
    assert sorted(chosen.reshape(10, 4).sum(axis=1).tolist()) == [0] * 8 + [4] * 2
    chosen = _validation(target, lesson._replace(groups=None), np.random.default_rng(0))
    assert np.bincount(labels[chosen]).tolist() == [4, 4]
    found = decode(lesson.values, labels, groups=groups, options=QUICK)
    assert np.isfinite(found.network.score.values).all()


def test_training_begins_with_the_answer_of_one_who_has_seen_nothing():
    """Labels that turn around between training and stopping trials: the start, the classes' shares, is kept."""
    labels = np.array([0] * 24 + [1] * 8)
    target = take_target(labels, 32, "auto", 5)
    lesson = Lesson(noise(32, 3, 2, seed=16), np.ones((32, 3), bool), labels, None)
    trained = train_decoder(replace(SMALL, learning_rate=1e-12, max_epochs=1), target, lesson, 0, ())
    # Steps of 1e-12 change no bit that single precision has beyond its last ones.
    np.testing.assert_allclose(trained.answer(lesson.values, lesson.known)[:, :, 1], 0.25, rtol=1e-5)


def test_constant_units_and_windows_are_taken():
    """A unit that never fires, one at 1/3, whose mean has round-off: the answers stay. Windows are those of linear."""
    values, labels = pulses(40, seed=17)
    counts = xr.DataArray(values, dims=("trial", "time", "unit"), coords={"time": 0.01 * np.arange(1, 9)})
    found = decode(counts, labels, options=replace(QUICK, window_s=0.02))
    np.testing.assert_array_equal(found.network.found["time"], found.found["time"])
    more = np.concatenate([values, np.zeros((40, 8, 1)), np.full((40, 8, 1), 1.0 / 3.0)], axis=2)
    target, known = take_target(labels, 40, "auto", 5), np.ones((40, 8), bool)
    trained = train_decoder(SMALL, target, Lesson(more, known, labels, None), 0, ())
    assert np.isinf(trained.scale.spread[8:]).all()
    moved = more.copy()
    moved[:, :, 8:] += 100.0
    np.testing.assert_array_equal(trained.answer(moved, known), trained.answer(more, known))


def test_what_networks_cannot_read_is_refused():
    values, labels = pulses(40, seed=18)
    cases = [
        (lambda: decode(values[:, 0], labels, options=QUICK), DataError, "activity has no time"),
        (lambda: cross_temporal(values, labels, options=QUICK), OptionError, "network is for decode"),
        (lambda: compare_sources({"a": values, "b": values}, labels, options=QUICK), OptionError, "network is for"),
        (lambda: DecodeOptions(network="gru"), OptionError, "network is a str"),
        (lambda: DecodeOptions(n_folds=2, penalties=(1.0,), network=SMALL), OptionError, "n_folds=2"),
        (lambda: decode(values, values[:, :5, 0]), DataError, r"labels have shape \(40, 5\)"),
        (lambda: decode(values[:, 0], values[:, :5, 0]), DataError, r"labels have shape \(40, 5\)"),
        (lambda: decode(values, np.full((40, 8), "a")), DataError, "are no numbers"),
        (lambda: decode(values, np.full((40, 8), np.nan)), DataError, "320 labels are no finite numbers"),
        (lambda: decode(values, np.full((40, 8), 2.0)), DataError, "all labels are 2.0"),
        (lambda: decode(values[:8], values[:8, :, 0]), DataError, "8 trials are too few for 5 folds"),
        (lambda: decode(values, values[:, :, 0], options=DecodeOptions(kind="classes")), OptionError, "kind='classes'"),
    ]
    for call, error, match in cases:
        with pytest.raises(error, match=match):
            call()
    wrong = {"n_hidden": 0, "n_seeds": 0, "n_shuffles": -1, "l2_weights": -1.0, "learning_rate": 0.0, "n_workers": 0}
    for name, value in wrong.items():
        with pytest.raises(OptionError, match=name):
            NetworkDecoder(**{name: value})
    target = take_target(labels, 40, "auto", 5)
    huge = Lesson(np.where(values > 0.0, np.nan, values), np.ones((40, 8), bool), labels, None)
    with pytest.raises(NumericalError, match="gradient of epoch 1 is not finite"):
        train_decoder(SMALL, target, huge, 0, ())


def test_the_figure_shows_both_decoders():
    values, labels = pulses(40, seed=19)
    options = replace(QUICK, n_shuffles=5, network=replace(SMALL, n_shuffles=2))
    ax = decode(values, labels, options=options).plot()
    words = [text.get_text() for text in ax.get_legend().get_texts()]
    assert words == ["labels shuffled", "networks, labels shuffled", "linear, each time alone", "causal network"]
    assert ax.get_ylabel() == "fraction correct"
    without = replace(options, n_shuffles=0, network=replace(SMALL, n_shuffles=0))
    assert len(decode(values, values[:, :, 0], options=without).plot().get_legend().get_texts()) == 2
