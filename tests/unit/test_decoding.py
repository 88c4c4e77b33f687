"""Decoding: the same answers as scikit-learn's, no leak, honest chance, and what was planted is found."""

from __future__ import annotations

import numpy as np
import pytest
import xarray as xr
from scipy.stats import chisquare, norm
from sklearn.linear_model import Ridge
from sklearn.metrics import balanced_accuracy_score, confusion_matrix, r2_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from cortexrnn.errors import DataError, OptionError
from cortexrnn.report.decoding import plot_cross_temporal
from cortexrnn.report.figure_file import own_axes
from cortexrnn.training.decoding import DecodeOptions, compare_sources, cross_temporal, decode
from cortexrnn.training.decoding.data import Shuffles, draw_folds, take_target
from cortexrnn.training.decoding.ridge import fit_folds

PENALTIES = (1e-3, 1e-1, 10.0)
QUICK = DecodeOptions(penalties=PENALTIES, n_shuffles=0, n_bootstrap=50)


def gaussians(n_trials, n_units, n_classes, distance, seed):
    """Classes that differ by `distance` along one unit each; the last along none."""
    rng = np.random.default_rng(seed)
    labels = np.arange(n_trials) % n_classes
    shift = distance * (labels[:, None] == np.arange(n_classes - 1))
    activity = rng.standard_normal((n_trials, n_units))
    activity[:, : n_classes - 1] += shift
    return 3.0 * activity + 5.0, labels


def by_scikit_learn(activity, targets, fold, k):
    """Nested by hand: the penalty by the squared error of the other folds, each predicted from the rest of them."""

    def fitted(seen, penalty):
        ridge = Ridge(alpha=penalty * seen.sum(), solver="cholesky")
        return make_pipeline(StandardScaler(), ridge).fit(activity[seen], targets[seen])

    def error(penalty):
        others = [j for j in np.unique(fold) if j != k]
        parts = [fitted((fold != k) & (fold != j), penalty).predict(activity[fold == j]) for j in others]
        wanted = [targets[fold == j] for j in others]
        return sum(np.sum((a - b.reshape(a.shape)) ** 2) for a, b in zip(wanted, parts, strict=True))

    penalty = min(PENALTIES, key=error)
    return fitted(fold != k, penalty), penalty


@pytest.mark.parametrize("n_units", [12, 150])
@pytest.mark.parametrize("kind", ["classes", "values"])
def test_answers_and_weights_are_those_of_nested_ridge_regression_in_scikit_learn(kind, n_units):
    """Fewer units than trials, and more. Both solve by Cholesky or eigenvalues: 1e-9 is round-off."""
    activity, labels = gaussians(90, n_units, 3, 1.0, seed=1)
    if kind == "values":
        labels = activity[:, 0] + np.random.default_rng(2).standard_normal(90)
    found = decode(activity, labels, options=QUICK, seed=3).found
    fold = found["fold"].values
    targets = (labels[:, None] == np.arange(3)).astype(float) if kind == "classes" else labels[:, None]
    weights = []
    for k in range(5):
        pipeline, penalty = by_scikit_learn(activity, targets, fold, k)
        expected = pipeline.predict(activity[fold == k])
        np.testing.assert_allclose(found["answer"].values[fold == k].reshape(expected.shape), expected, atol=1e-9)
        assert float(found["penalty"][k]) == penalty
        weights.append(pipeline[1].coef_.reshape(-1, n_units) / pipeline[0].scale_)
    np.testing.assert_allclose(found["weight"].values.reshape(-1, n_units), np.mean(weights, axis=0), atol=1e-9)


def test_scores_of_classes_are_those_of_scikit_learn():
    """Unequal classes, without and with each class counting alike in the answer (by hand: relative to its share)."""
    activity, labels = gaussians(160, 6, 4, 1.5, seed=4)
    kept = (labels != 3) | (np.arange(160) < 40)
    activity, labels = activity[kept], np.array(["a", "b", "c", "d"])[labels[kept]]
    for is_balanced in (False, True):
        options = DecodeOptions(penalties=(0.1,), n_shuffles=0, is_balanced=is_balanced)
        found = decode(activity, labels, options=options).found
        relative = found["answer"].values.copy()
        fold, names = found["fold"].values, found["class"].values
        for k in range(5) if is_balanced else ():
            relative[fold == k] /= [np.mean(labels[fold != k] == name) for name in names]
        answered = names[relative.argmax(axis=1)]
        assert float(found["accuracy"]) == pytest.approx(np.mean(answered == labels), abs=1e-12)
        assert float(found["balanced_accuracy"]) == pytest.approx(balanced_accuracy_score(labels, answered), abs=1e-12)
        np.testing.assert_array_equal(found["confusion"].values, confusion_matrix(labels, answered))


def test_r2_is_against_the_training_mean():
    """By hand from the answers; scikit-learn's R2, against the mean of all, is close (the folds' means are alike)."""
    activity, _ = gaussians(100, 8, 2, 0.0, seed=5)
    labels = activity[:, 0] - activity[:, 1] + 3.0 * np.random.default_rng(6).standard_normal(100)
    found = decode(activity, labels, options=QUICK).found
    fold, answer = found["fold"].values, found["answer"].values
    centre = np.array([labels[fold != k].mean() for k in fold])
    expected = 1.0 - np.sum((labels - answer) ** 2) / np.sum((labels - centre) ** 2)
    assert float(found["r2"]) == pytest.approx(expected, abs=1e-12)
    assert float(found["r2"]) == pytest.approx(r2_score(labels, answer), abs=0.01)
    assert float(found["correlation"]) == pytest.approx(np.corrcoef(labels - centre, answer - centre)[0, 1], abs=1e-12)
    assert float(found["r2_low"]) < float(found["r2"]) < float(found["r2_high"])


def test_what_is_held_out_has_no_part_in_its_own_read_out():
    """Exact: other features and labels in a fold leave mean, scale, penalty and weights without it bit for bit."""
    activity, labels = gaussians(60, 7, 2, 1.0, seed=7)
    fold = np.arange(60) % 5
    targets = np.stack([labels, labels[::-1]], axis=1).astype(float)
    before = fit_folds(activity, targets, fold, PENALTIES, 2)
    activity[fold == 2] = 1e6 * np.random.default_rng(8).standard_normal((12, 7))
    targets[fold == 2] = 1.0 - targets[fold == 2]
    after = fit_folds(activity, targets, fold, PENALTIES, 2)
    for mine, other in zip(before[2], after[2], strict=True):
        np.testing.assert_array_equal(mine, other)
    assert not np.array_equal(before[1].mean, after[1].mean)


def test_a_feature_that_is_the_label_in_training_trials_only_does_not_help():
    """It tells the label of all trials but those of a fold: theirs are answered by chance, 3 standard errors of 400."""
    rng = np.random.default_rng(9)
    labels = np.tile([0, 1], 1000)
    fold = draw_folds(take_target(labels, 2000, "auto", 5), None, 5, seed=0)
    activity = rng.standard_normal((2000, 3))
    activity[:, 0] = np.where(fold == 4, rng.integers(2, size=2000), labels)
    found = decode(activity, labels, options=QUICK, seed=0).found
    np.testing.assert_array_equal(found["fold"].values, fold)
    is_right = found["answer"].values.argmax(axis=1) == labels
    assert is_right[fold != 4].all()
    assert abs(is_right[fold == 4].mean() - 0.5) < 3.0 * 0.5 / np.sqrt(400)


@pytest.mark.slow
def test_nothing_is_found_where_there_is_nothing():
    """400 data sets of noise: the mean accuracy is within 3 standard errors of chance, and p-values are uniform.

    Chi-squared over the 20 values that p can have; a threshold of 0.001 with a fixed seed. R2 has no ties. The
    accuracy has: its p-values are then too large, never too small.
    """
    options = DecodeOptions(penalties=(1e-2, 1.0), n_shuffles=19, n_bootstrap=1)
    accuracy, p_classes, p_values = [], [], []
    for seed in range(400):
        rng = np.random.default_rng(seed)
        activity = rng.standard_normal((40, 6))
        found = decode(activity, np.arange(40) % 2, options=options, seed=seed).found
        accuracy.append(float(found["accuracy"]))
        p_classes.append(float(found["accuracy_p"]))
        values = decode(activity, rng.standard_normal(40), options=options, seed=seed).found
        p_values.append(float(values["r2_p"]))
    assert abs(np.mean(accuracy) - 0.5) < 3.0 * np.std(accuracy) / np.sqrt(400)
    counts = np.bincount(np.round(20.0 * np.array(p_values)).astype(int), minlength=21)[1:]
    assert chisquare(counts).pvalue > 0.001
    for level in (0.05, 0.1, 0.25):
        assert np.mean(np.array(p_classes) <= level + 1e-9) < level + 3.0 * np.sqrt(level * (1.0 - level) / 400)


def test_two_gaussians_are_told_apart_as_well_as_they_can_be():
    """d' = 2: the best accuracy is Phi(1) = 0.841; 4 standard errors of 4000 trials, and chance is half."""
    activity, labels = gaussians(4000, 5, 2, 2.0, seed=10)
    found = decode(activity, labels == 1, options=DecodeOptions(n_shuffles=20)).found
    assert float(found["accuracy"]) == pytest.approx(norm.cdf(1.0), abs=4.0 * np.sqrt(0.841 * 0.159 / 4000))
    assert float(found["accuracy_low"]) < norm.cdf(1.0) < float(found["accuracy_high"])
    assert float(found["accuracy_chance"]) == pytest.approx(0.5, abs=0.02)
    assert float(found["accuracy_p"]) == 1.0 / 21.0


def test_weights_cancel_noise_and_patterns_do_not():
    """Haufe et al. (2014), their first example: s + d and d. Weights (1, -1), pattern (1, 0) of the signal s.

    Weights are exact up to the penalty of 1e-6; the pattern up to the sampled correlation of s and d, 4 / sqrt(n).
    """
    rng = np.random.default_rng(11)
    signal, distractor = rng.standard_normal((2, 5000))
    activity = np.stack([signal + distractor, distractor], axis=1)
    found = decode(activity, signal, options=DecodeOptions(penalties=(1e-8,), n_shuffles=0)).found
    np.testing.assert_allclose(found["weight"].values, [1.0, -1.0], atol=1e-6)
    np.testing.assert_allclose(found["pattern"].values, [1.0, 0.0], atol=4.0 / np.sqrt(5000))


def test_the_pattern_finds_a_planted_direction_in_correlated_noise():
    """Classes differ along a known direction of 30 units; shared noise turns the weights, not the pattern."""
    rng = np.random.default_rng(12)
    direction, shared = rng.standard_normal((2, 30))
    labels = np.arange(3000) % 2
    activity = np.outer(labels, direction) + np.outer(3.0 * rng.standard_normal(3000), shared)
    activity += rng.standard_normal((3000, 30))
    found = decode(activity, labels, options=QUICK).found.sel({"class": 1})

    def cosine(values):
        return abs(values @ direction) / np.linalg.norm(values) / np.linalg.norm(direction)

    assert cosine(found["pattern"].values) > 0.98
    assert cosine(found["pattern"].values) > cosine(found["weight"].values)


def test_trials_of_a_group_are_never_on_both_sides():
    """Every group has one fold, classes are in all folds, and shuffles exchange labels within what may be exchanged."""
    rng = np.random.default_rng(13)
    groups = rng.integers(20, size=300)
    labels = rng.integers(3, size=300)
    target = take_target(labels, 300, "auto", 5)
    fold = draw_folds(target, groups, 5, seed=1)
    assert all(len(set(fold[groups == k])) == 1 for k in range(20))
    assert all(set(labels[fold == k]) == {0, 1, 2} for k in range(5))
    sets = Shuffles(target, fold, groups, 10, 1).truths(np.ones(300, bool))
    for k in range(20):
        own = np.sort(sets[groups == k], axis=0)
        np.testing.assert_array_equal(own, np.repeat(own[:, :1], 11, axis=1))
    of_group = rng.permutation(np.arange(20) % 2)
    target = take_target(of_group[groups], 300, "auto", 5)
    fold = draw_folds(target, groups, 5, seed=1)
    sets = Shuffles(target, fold, groups, 10, 1).truths(np.ones(300, bool))
    for k in range(20):
        assert (sets[groups == k] == sets[groups == k][0]).all()
    assert any(not np.array_equal(sets[:, 0], sets[:, k]) for k in range(1, 11))


def test_what_groups_share_is_not_taken_for_the_label():
    """Each of 20 groups has one label and an offset: random folds would know the groups; grouped ones are at chance.

    With 20 groups the standard error is at least that of 20 coins, 0.11.
    """
    rng = np.random.default_rng(14)
    groups = np.repeat(np.arange(20), 20)
    activity = rng.standard_normal((20, 40))[groups] + 0.1 * rng.standard_normal((400, 40))
    labels = (np.arange(20) % 2)[groups]
    assert float(decode(activity, labels, options=QUICK).score) > 0.95
    found = decode(activity, labels, groups=groups, options=DecodeOptions(n_shuffles=20)).found
    assert abs(float(found["accuracy"]) - 0.5) < 3.0 * 0.11
    assert float(found["accuracy_p"]) > 0.05
    assert float(found["accuracy_high"]) - float(found["accuracy_low"]) > 0.1


def test_the_order_of_trials_does_not_matter_to_given_folds():
    """Round-off of sums in another order: 1e-10."""
    activity, labels = gaussians(80, 9, 2, 1.0, seed=15)
    fold, targets = np.arange(80) % 4, labels[:, None].astype(float)
    order = np.random.default_rng(16).permutation(80)
    for k, fit in fit_folds(activity, targets, fold, PENALTIES, 1).items():
        other = fit_folds(activity[order], targets[order], fold[order], PENALTIES, 1)[k]
        np.testing.assert_allclose(fit.answer(activity), other.answer(activity), atol=1e-10)


def test_shuffles_share_decompositions_and_change_nothing():
    """Slow twin: each set of labels fitted on its own. Every fold keeps its labels under every shuffle."""
    activity, labels = gaussians(60, 8, 3, 1.0, seed=17)
    target = take_target(labels, 60, "auto", 5)
    fold = draw_folds(target, None, 5, seed=2)
    sets = Shuffles(target, fold, None, 6, 2).truths(np.ones(60, bool))
    together = fit_folds(activity, target.columns(sets), fold, PENALTIES, 7)
    for number in range(7):
        alone = fit_folds(activity, target.columns(sets[:, [number]]), fold, PENALTIES, 1)
        for k in range(5):
            own = together[k].coefficients[:, 2 * number : 2 * number + 2]
            np.testing.assert_allclose(own, alone[k].coefficients, atol=1e-12)
            np.testing.assert_array_equal(np.bincount(sets[fold == k, number]), np.bincount(labels[fold == k]))
    assert len(np.unique(sets.T, axis=0)) == 7


def test_trials_are_left_out_after_their_end():
    """By hand: at a time with 50 of 80 trials the answers are those of these 50 with the folds that they have."""
    activity, labels = gaussians(80, 5, 2, 1.0, seed=18)
    activity = np.repeat(activity[:, None], 3, axis=1)
    activity[50:, 1] = np.nan
    activity[3:, 2] = np.nan
    found = decode(activity, labels, options=QUICK).found
    assert found["n_trials"].values.tolist() == [80, 50, 3]
    assert np.isnan(found["answer"].values[50:, 1]).all()
    fold = found["fold"].values[:50]
    for k, fit in fit_folds(activity[:50, 1], 1.0 - labels[:50, None], fold, PENALTIES, 1).items():
        mine = found["answer"].values[:50, 1, 0][fold == k]
        np.testing.assert_allclose(mine, fit.answer(activity[:50, 1])[fold == k, 0], atol=1e-12)
    assert np.isnan(found["accuracy"].values[2])
    assert found["confusion"].values[2].sum() == 0


def test_windows_are_means_and_named_by_their_end():
    """By hand: means over 5 steps of 20 ms; what is left at the end of 23 steps is dropped."""
    activity, labels = gaussians(60, 4, 2, 1.0, seed=19)
    values = activity[:, None] + np.random.default_rng(20).standard_normal((60, 23, 4))
    counts = xr.DataArray(values, dims=("trial", "time", "unit"), coords={"time": 0.02 * np.arange(1, 24)})
    found = decode(counts, labels, options=DecodeOptions(penalties=(0.1,), n_shuffles=0, window_s=0.1)).found
    np.testing.assert_allclose(found["time"].values, [0.1, 0.2, 0.3, 0.4], rtol=1e-12)
    options = DecodeOptions(penalties=(0.1,), n_shuffles=0)
    alone = decode(values[:, 5:10].mean(axis=1), labels, options=options).found
    np.testing.assert_allclose(found["answer"].values[:, 1], alone["answer"].values, atol=1e-12)


def test_a_code_that_changes_is_not_read_by_a_read_out_from_another_time():
    """One unit tells the class in the first half, another in the second. The diagonal is what `decode` gives."""
    rng = np.random.default_rng(21)
    labels = np.arange(200) % 2
    activity = rng.standard_normal((200, 6, 4))
    activity[:, :3, 0] += 4.0 * labels[:, None]
    activity[:, 3:, 1] += 4.0 * labels[:, None]
    options = DecodeOptions(penalties=PENALTIES, n_shuffles=20)
    found = cross_temporal(activity, labels, options=options)
    accuracy = found["accuracy"].values
    np.testing.assert_array_equal(np.diag(accuracy), decode(activity, labels, options=options).score.values)
    same = np.arange(6)[:, None] // 3 == np.arange(6) // 3
    assert accuracy[same].min() > 0.9
    # Chance within 4 standard errors of 200 trials.
    assert abs(accuracy[~same] - 0.5).max() < 4.0 * 0.5 / np.sqrt(200)
    assert found["accuracy_p"].values[same].max() == 1.0 / 21.0
    assert abs(found["accuracy_chance"].values - 0.5).max() < 0.05


def test_sources_are_compared_on_the_same_trials_and_resamples():
    """The same source twice differs by nothing; the interval of a difference has the width of a paired one.

    Standard deviation by hand from the trials' differences, 1.96 of them; 10 % for 1000 resamples.
    """
    activity, labels = gaussians(600, 4, 2, 1.5, seed=22)
    worse = activity + 4.0 * np.random.default_rng(23).standard_normal(activity.shape)
    options = DecodeOptions(penalties=(0.1,), n_shuffles=10)
    both = compare_sources({"clear": activity, "noisy": worse, "again": activity}, labels, options=options)
    found = both.found
    assert found["pair"].values.tolist() == ["clear - noisy", "clear - again", "noisy - again"]
    again = found.sel(pair="clear - again")
    assert float(again["difference_low"]) == float(again["difference"]) == float(again["difference_high"]) == 0.0
    answers = [both.decodings[name].found["answer"].values.argmax(axis=1) for name in ("clear", "noisy")]
    apart = (answers[0] == labels).astype(float) - (answers[1] == labels)
    one = found.sel(pair="clear - noisy")
    assert float(one["difference"]) == pytest.approx(apart.mean(), abs=1e-12)
    width = float(one["difference_high"] - one["difference_low"])
    assert width == pytest.approx(2.0 * 1.96 * apart.std() / np.sqrt(600), rel=0.1)
    np.testing.assert_array_equal(both.decodings["clear"].found["fold"], both.decodings["noisy"].found["fold"])


def test_constant_features_are_ignored_and_change_nothing():
    """A unit that is silent in all trials, and one at 1/3, whose mean has round-off: the others' answers stay.

    At a time at which all units are constant every answer is the training mean: chance, and no R2.
    """
    activity, labels = gaussians(60, 5, 2, 1.0, seed=24)
    more = np.column_stack([activity, np.zeros(60), np.full(60, 1.0 / 3.0)])
    alone, found = (decode(each, labels, options=QUICK).found for each in (activity, more))
    np.testing.assert_allclose(found["answer"].values, alone["answer"].values, atol=1e-10)
    assert (found["weight"].values[:, 5:] == 0.0).all()
    rests = np.stack([np.full_like(activity, 0.1), activity], axis=1)
    assert decode(rests, labels, options=QUICK).score.values[0] == 0.5
    values = decode(rests, np.arange(60.0), options=QUICK).found
    assert (float(values["r2"][0]), float(values["correlation"][0])) == (0.0, 0.0)


def test_numbers_are_classes_where_there_are_few_of_them():
    """Eight directions are classes, strings and booleans too; many distinct numbers are values, and may be classes."""
    activity = np.random.default_rng(25).standard_normal((104, 3))
    directions = 45.0 * (np.arange(104) % 8)
    assert decode(activity, directions, options=QUICK).classes == tuple(45.0 * np.arange(8))
    assert decode(activity, directions, options=DecodeOptions(kind="values", n_shuffles=0)).kind == "values"
    assert decode(activity, np.arange(104), options=QUICK).kind == "values"
    assert decode(activity, directions > 100.0, options=QUICK).classes == (False, True)
    thirteen = np.arange(104) % 13
    assert len(decode(activity, thirteen, options=DecodeOptions(kind="classes", n_shuffles=0)).classes) == 13


def test_correcting_for_many_times_raises_p():
    """Of 30 times with noise some are below 0.05, none with the best time of every shuffle as its measure."""
    rng = np.random.default_rng(26)
    options = DecodeOptions(penalties=(0.1,), n_shuffles=99)
    found = decode(rng.standard_normal((60, 30, 4)), rng.standard_normal(60), options=options, seed=1).found
    assert (found["r2_p"] < 0.05).any()
    assert (found["r2_p_any"] >= found["r2_p"]).all()
    assert (found["r2_p_any"] > 0.05).all()


def test_what_cannot_be_decoded_is_refused():
    """Each with what is wrong and its value."""
    activity, labels = gaussians(40, 4, 2, 1.0, seed=27)
    timeless = xr.DataArray(activity, dims=("trial", "unit"))
    cases = [
        (activity, np.zeros(40), {}, "all labels are 0.0"),
        (activity, labels[:-1], {}, "labels have shape"),
        (activity, np.where(np.arange(40) < 3, "rare", "frequent"), {}, "class 'rare' has 3 trials, fewer than the 5"),
        (activity, np.where(np.arange(40) < 3, np.nan, 1.0), {}, "3 labels are missing"),
        (activity, np.array(["a", 1] * 20, dtype=object), {}, "mix kinds"),
        (np.full((40, 4), np.nan), labels, {}, "NaN everywhere"),
        (np.column_stack([activity, np.full(40, np.nan)]), labels, {}, "unit 4 is NaN everywhere"),
        (np.ones((40, 4)), labels, {}, "the same in all trials"),
        (np.where(activity > 5.0, np.inf, activity), labels, {}, "infinite"),
        (activity[:, 0], labels, {}, "activity of shape"),
        (timeless.transpose("unit", "trial"), labels, {}, "activity has dims"),
        (activity, labels, {"groups": np.zeros(40)}, "1 groups cannot be cut into 5 folds"),
        (activity, labels, {"groups": np.zeros(39)}, "groups have shape"),
        (activity, labels, {"groups": np.where(labels == 1, 9, np.arange(40) % 9)}, "class 1 has too few groups"),
        (activity, np.array(list("ab") * 20), {"options": DecodeOptions(kind="values")}, "no finite numbers"),
        (activity[:8], np.arange(8.0), {"options": DecodeOptions(kind="values")}, "too few for 5 folds"),
    ]
    for values, given, keywords, match in cases:
        with pytest.raises(DataError, match=match):
            decode(values, given, **keywords)
    with pytest.raises(OptionError, match="needs activity with times"):
        decode(timeless, labels, options=DecodeOptions(window_s=0.1))
    with pytest.raises(DataError, match="no time"):
        cross_temporal(activity, labels)
    with pytest.raises(OptionError, match="1 sources"):
        compare_sources({"a": activity}, labels)
    with pytest.raises(DataError, match="source 'b' has"):
        compare_sources({"a": activity, "b": activity[:, None]}, labels)
    for keywords in ({"n_folds": 2}, {"penalties": (0.0,)}, {"penalties": ()}, {"kind": "words"}, {"n_shuffles": -1}):
        with pytest.raises(OptionError, match=next(iter(keywords))):
            DecodeOptions(**keywords)


def test_figures_show_what_was_found(tmp_path):
    """Every picture has its words."""
    rng = np.random.default_rng(28)
    labels = np.array(["left", "right"])[np.arange(60) % 2]
    activity = rng.standard_normal((60, 4, 3)) + 3.0 * (labels == "left")[:, None, None]
    options = DecodeOptions(penalties=(0.1,), n_shuffles=10)
    found = decode(activity, labels, options=options)
    flat = decode(activity[:, 0], labels, options=options)
    sources = compare_sources({"rates": activity, "synapses": -activity}, labels, options=options)
    drawn = {
        "fraction correct": found.plot(),
        "shuffles": flat.plot(),
        "answered": found.plot_confusion(time_s=2.0),
        "synapses": sources.plot(),
        "trained at (steps)": plot_cross_temporal(own_axes(), cross_temporal(activity, labels, options=options)),
    }
    for number, (words, ax) in enumerate(drawn.items()):
        path = tmp_path / f"{number}.svg"
        ax.figure.savefig(path)
        texts = [text.get_text() for text in ax.figure.findobj(match=lambda a: hasattr(a, "get_text"))]
        assert words in texts
        assert path.stat().st_size > 0
    with pytest.raises(DataError, match="not confused"):
        decode(activity, np.arange(60.0), options=options).plot_confusion()
