"""Causal networks for every fold, seed and shuffle of the labels, and what they answer to trials they have not seen."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from cortexrnn.runs.executor import Work, default_workers, progress_bar, run_all
from cortexrnn.training.decoding.data import Samples
from cortexrnn.training.decoding.network import Lesson, train_decoder
from cortexrnn.training.decoding.runs import TAILS, Question, Scored, resample, score_variables
from cortexrnn.training.decoding.scores import CLASSES, SCORES, class_sums, scores, value_sums


class NetworkRun(NamedTuple):
    """What networks found at every time; NaN, or 0 in sums, where there were too few trials.

    Attributes
    ----------
    sums : ndarray, shape (n_seeds, n_trials, n_times, n)
        What every trial adds to the scores.
    shuffled : ndarray, shape (n_shuffles, n_times, n)
        The sums of shuffled labels over all trials.
    answers : ndarray, shape (n_trials, n_times, n_answers)
        Means over the seeds: probabilities of the classes, or the value.
    confusion : ndarray, shape (n_times, n_classes, n_classes)
        Mean over the seeds.
    n_epochs : ndarray of int, shape (n_seeds, n_folds)
        Epoch whose weights were kept.
    """

    sums: np.ndarray
    shuffled: np.ndarray
    answers: np.ndarray
    confusion: np.ndarray
    n_epochs: np.ndarray


def run_networks(samples: Samples, question: Question, seed: int) -> NetworkRun:
    """Train a network without every fold and answer the fold with it, for every seed, and for shuffles of the labels.

    Parameters
    ----------
    samples : Samples
        With time.
    question : Question
        With a network among its options.
    seed : int
        Of the networks' weights and of the trials that stop their training.

    Returns
    -------
    NetworkRun

    Raises
    ------
    NumericalError
        If the gradient of an epoch is not finite.
    InterruptedRunError
        If the user pressed Ctrl-C.
    """
    spec = question.options.network
    asked = np.array([question.can_be_asked(present) for present in samples.present.T])
    trials = np.flatnonzero((samples.present & asked).any(axis=1))
    folds = np.unique(question.fold[trials])
    there = np.isin(np.arange(len(question.fold)), trials)
    givers = question.shuffles.givers(there)[:, : 1 + spec.n_shuffles]
    # Of the labels as they are n_seeds networks a fold, of every shuffle one.
    asked_sets = [(0, number) for number in range(spec.n_seeds)] + [(k, 0) for k in range(1, givers.shape[1])]
    works = []
    for number_of_set, number in asked_sets if len(trials) else ():
        lesson = _lesson(samples, question, asked, trials, givers[:, number_of_set])
        for fold in folds:
            key = (number_of_set, number, int(fold))
            works.append(_work(question, lesson, question.fold[trials] == fold, seed, key))
    with progress_bar(len(works), is_shown=False) as bar:
        found = run_all(works, None, spec.n_workers or default_workers(), bar)
    return _gather(samples, question, (asked, trials, givers), found)


def network_variables(run: NetworkRun, linear: tuple[np.ndarray, np.ndarray], question: Question, seed: int) -> dict:
    """Give the networks' scores over time beside those of the linear read-out, as xarray takes them.

    Parameters
    ----------
    run : NetworkRun
    linear : tuple of ndarray
        The linear read-out's sums, (n_trials, n_times, n), and their resamples, (n_bootstrap, n_times, n).
    question : Question
    seed : int
        The user's: networks are judged on the resamples of the linear read-out.

    Returns
    -------
    dict
        Every score as the mean over seeds, with its interval and chance; ``_seed`` over seeds and ``_seed_sd`` their
        standard deviation; of the main score the ``difference``, networks less linear, with its interval.
    """
    kind = question.target.kind
    each = [Scored.of(kind, sums, resample(sums, question, seed), run.shuffled) for sums in run.sums]
    mean = Scored(
        _mean_of([one.main for one in each]), _mean_of([one.drawn for one in each]), each[0].shuffled,
        run.sums.sum(axis=1).mean(axis=0),
    )  # fmt: skip
    variables: dict[str, Any] = score_variables(mean, question)
    for name in mean.main:
        by_seed = np.stack([one.main[name] for one in each])
        variables[f"{name}_seed"] = (("network_seed", "time"), by_seed)
        if len(each) > 1:
            variables[f"{name}_seed_sd"] = ("time", by_seed.std(axis=0, ddof=1))
    score = SCORES[kind][0]
    drawn = mean.drawn[score] - scores(kind, linear[1])[score]
    difference = mean.main[score] - scores(kind, linear[0].sum(axis=0))[score]
    ends = np.full((2, difference.size), np.nan)
    known = np.isfinite(difference)
    if known.any():
        ends[:, known] = np.nanpercentile(drawn[:, known], TAILS, axis=0)
    names = ("difference", "difference_low", "difference_high")
    return variables | {name: ("time", values) for name, values in zip(names, (difference, *ends), strict=True)}


def _mean_of(found: list[dict[str, np.ndarray]]) -> dict[str, np.ndarray]:
    """Average scores over seeds."""
    return {name: np.mean([one[name] for one in found], axis=0) for name in found[0]}


def _lesson(samples: Samples, question: Question, asked: np.ndarray, trials: np.ndarray, givers: np.ndarray) -> Lesson:
    """Give trials with the labels that they get."""
    truth = question.target.truth[givers]
    known = samples.present[trials] & asked
    if truth.ndim == 2:
        known &= np.isfinite(truth)
    groups = None if question.groups is None else question.groups[trials]
    return Lesson(samples.values[trials], known, truth, groups)


def _work(question: Question, lesson: Lesson, is_held_out: np.ndarray, seed: int, key: tuple) -> Work:
    """Give the training of one network, and its answers to the trials that it has not seen."""

    def run() -> dict[str, np.ndarray]:
        spec, target = question.options.network, question.target
        trained = train_decoder(spec, target, lesson.take(~is_held_out), seed, key)
        held_out = lesson.take(is_held_out)
        answers = trained.answer(held_out.values, held_out.known)
        return {"answers": answers, "n_epochs": np.array(trained.n_epochs)}

    return Work(key=_name(key), label="networks", cost=1.0, run=run)


def _name(key: tuple) -> str:
    """Name a unit of work by its numbers."""
    return " ".join(map(str, key))


def _gather(
    samples: Samples, question: Question, given: tuple[np.ndarray, ...], found: dict[str, dict[str, np.ndarray]]
) -> NetworkRun:
    """Lay answers out over trials and judge them."""
    (asked, trials, givers), target = given, question.target
    n_trials, n_times = samples.present.shape
    n_seeds, n_answers, n_classes = question.options.network.n_seeds, max(1, len(target.classes)), len(target.classes)
    n_sums = 2 * n_classes if target.kind == CLASSES else 7
    folds = np.unique(question.fold[trials])
    run = NetworkRun(
        sums=np.zeros((n_seeds, n_trials, n_times, n_sums)),
        shuffled=np.zeros((givers.shape[1] - 1, n_times, n_sums)),
        answers=np.full((n_trials, n_times, n_answers), np.nan),
        confusion=np.zeros((n_times, n_classes, n_classes)),
        n_epochs=np.zeros((n_seeds, question.options.n_folds), dtype=np.int64),
    )
    every = np.zeros((n_seeds, len(trials), n_times, n_answers))
    for k in range(givers.shape[1] if len(trials) else 0):
        lesson = _lesson(samples, question, asked, trials, givers[:, k])
        for number in range(n_seeds if k == 0 else 1):
            answers = np.zeros((len(trials), n_times, n_answers))
            for fold in folds:
                one = found[_name((k, number, int(fold)))]
                answers[question.fold[trials] == fold] = one["answers"]
                if k == 0:
                    run.n_epochs[number, fold] = one["n_epochs"]
            sums, confusion = _judge(answers, lesson, question, question.fold[trials])
            if k == 0:
                every[number] = answers
                run.sums[number, trials] = sums
                run.confusion[:] += confusion / n_seeds
            else:
                run.shuffled[k - 1] = sums.sum(axis=0)
    known = samples.present[trials] & asked
    run.answers[trials] = np.where(known[:, :, None], every.mean(axis=0), np.nan)
    return run


def _judge(answers: np.ndarray, lesson: Lesson, question: Question, fold: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Give what every trial adds to the scores, (n_trials, n_times, n), and the confusion, (n_times, n, n)."""
    target, known = question.target, lesson.known
    truth = lesson.truth if lesson.truth.ndim == 2 else np.repeat(lesson.truth[:, None], known.shape[1], axis=1)
    if target.kind != CLASSES:
        truth = np.where(known, truth, 0.0)
        centres = _centres(truth[:, :, None], known, fold)[:, :, 0]
        sums = value_sums(answers[:, :, 0], truth, centres)
        return np.where(known[:, :, None], sums, 0.0), np.zeros((known.shape[1], 0, 0))
    n_classes = len(target.classes)
    judged = answers
    if question.options.is_balanced:
        shares = _centres((truth[:, :, None] == np.arange(n_classes)).astype(float), known, fold)
        judged = np.divide(answers, shares, out=np.full(answers.shape, -np.inf), where=shares > 0.0)
    chosen = np.argmax(judged, axis=2)
    confusion = np.zeros((known.shape[1], n_classes, n_classes))
    rows, times = np.nonzero(known)
    np.add.at(confusion, (times, truth[rows, times], chosen[rows, times]), 1.0)
    return class_sums(chosen, truth, n_classes) * known[:, :, None], confusion


def _centres(values: np.ndarray, known: np.ndarray, fold: np.ndarray) -> np.ndarray:
    """Give for every trial and time the mean over the trials of the other folds, (n_trials, n_times, n)."""
    centres = np.zeros(values.shape)
    for k in np.unique(fold):
        others = known & (fold != k)[:, None]
        n = np.maximum(others.sum(axis=0), 1)[:, None]
        centres[fold == k] = np.where(others[:, :, None], values, 0.0).sum(axis=0) / n
    return centres
