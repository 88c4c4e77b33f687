"""The loops over times of a decoder, and the scores of what they find."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from threadpoolctl import threadpool_limits

from cortexrnn.numerics.streams import stream
from cortexrnn.training.behaviour import LEVEL, wilson
from cortexrnn.training.decoding.data import Samples, Shuffles, Target
from cortexrnn.training.decoding.result import DecodeOptions
from cortexrnn.training.decoding.ridge import FoldFit, fit_folds
from cortexrnn.training.decoding.scores import CLASSES, SCORES, class_sums, scores, value_sums

TAILS = (50.0 * (1.0 - LEVEL), 50.0 * (1.0 + LEVEL))


class Question(NamedTuple):
    """What is decoded, with which folds and shuffles.

    Attributes
    ----------
    target : Target
    fold : ndarray of int, shape (n_trials,)
    groups : ndarray of int, shape (n_trials,), or None
    shuffles : Shuffles
    options : DecodeOptions
    """

    target: Target
    fold: np.ndarray
    groups: np.ndarray | None
    shuffles: Shuffles
    options: DecodeOptions

    @classmethod
    def of(
        cls, target: Target, fold: np.ndarray, groups: np.ndarray | None, options: DecodeOptions, seed: int
    ) -> Question:
        """Draw the shuffles."""
        return cls(target, fold, groups, Shuffles(target, fold, groups, options.n_shuffles, seed), options)

    def can_be_asked(self, present: np.ndarray) -> bool:
        """Tell whether the trials that are present are enough: some of every fold and class."""
        fold, n_folds = self.fold[present], self.options.n_folds
        if np.unique(fold).size < n_folds:
            return False
        if self.target.kind != CLASSES:
            return fold.size >= 2 * n_folds
        return np.bincount(self.target.truth[present], minlength=len(self.target.classes)).min() >= n_folds


class Run(NamedTuple):
    """What a decoder found at every time; NaN where there were too few trials.

    Attributes
    ----------
    sums : ndarray, shape (n_trials, n_times, n)
        What every trial adds to the scores (see `decoding_scores`), 0 where it was left out.
    shuffled : ndarray, shape (n_shuffles, n_times, n)
        The sums of shuffled labels over all trials.
    answers : ndarray, shape (n_trials, n_times[, n_classes])
    weights, patterns : ndarray, shape (n_times, [n_classes,] n_features)
    intercepts : ndarray, shape (n_times[, n_classes])
    penalties : ndarray, shape (n_times, n_folds)
    confusion : ndarray of int, shape (n_times, n_classes, n_classes)
    """

    sums: np.ndarray
    shuffled: np.ndarray
    answers: np.ndarray
    weights: np.ndarray
    patterns: np.ndarray
    intercepts: np.ndarray
    penalties: np.ndarray
    confusion: np.ndarray


def run_over_time(samples: Samples, question: Question) -> Run:
    """Decode at every time."""
    target, options = question.target, question.options
    n_trials, n_times, n_features = samples.values.shape
    n_answers, n_classes = max(1, len(target.classes)), len(target.classes)
    n_sums = 2 * n_classes if target.kind == CLASSES else 7
    run = Run(
        sums=np.zeros((n_trials, n_times, n_sums)),
        shuffled=np.zeros((options.n_shuffles, n_times, n_sums)),
        answers=np.full((n_trials, n_times, n_answers), np.nan),
        weights=np.full((n_times, n_answers, n_features), np.nan),
        patterns=np.full((n_times, n_answers, n_features), np.nan),
        intercepts=np.full((n_times, n_answers), np.nan),
        penalties=np.full((n_times, options.n_folds), np.nan),
        confusion=np.zeros((n_times, n_classes, n_classes), dtype=np.int64),
    )
    # One thread of linear algebra: the same bits on every machine with the same library.
    with threadpool_limits(1):
        for t in range(n_times):
            if question.can_be_asked(samples.present[:, t]):
                _run_once(samples, question, t, run)
    if target.kind == CLASSES:
        return run
    flat = {name: getattr(run, name)[:, 0] for name in ("weights", "patterns", "intercepts")}
    return run._replace(answers=run.answers[:, :, 0], **flat)


def run_over_time_pairs(samples: Samples, question: Question) -> dict[str, np.ndarray]:
    """Train at every time and test at all; gives scores, their chance and p by name, each (n_times, n_times)."""
    n_times, target, n_shuffles = samples.values.shape[1], question.target, question.options.n_shuffles
    ends = ("", "_chance", "_p") if n_shuffles else ("",)
    found = {f"{name}{end}": np.full((n_times, n_times), np.nan) for name in SCORES[target.kind] for end in ends}
    with threadpool_limits(1):
        for train in range(n_times):
            present = samples.present[:, train]
            if not question.can_be_asked(present):
                continue
            fits = _fit(samples, question, train, present)
            for test in range(n_times):
                there = samples.present[:, test]
                if not question.can_be_asked(there):
                    continue
                found_here = scores(target.kind, _judge(samples, question, fits, test)[2].sum(axis=0))
                for name in SCORES[target.kind]:
                    values = found_here[name]
                    found[name][train, test] = values[0]
                    if n_shuffles:
                        found[f"{name}_chance"][train, test] = values[1:].mean()
                        found[f"{name}_p"][train, test] = (1 + np.sum(values[1:] >= values[0])) / values.size
    return found


def resample(sums: np.ndarray, question: Question, seed: int) -> np.ndarray:
    """Give the sums of resampled trials, or groups, shape (n_bootstrap, n_times, n); all sources get the same ones."""
    n_trials, n_bootstrap = len(sums), question.options.n_bootstrap
    unit = np.arange(n_trials) if question.groups is None else question.groups
    n_units = unit.max() + 1
    rng = stream(seed, "decoding", "bootstrap")
    often = rng.multinomial(n_units, np.full(n_units, 1.0 / n_units), size=n_bootstrap)[:, unit].astype(float)
    with threadpool_limits(1):
        return (often @ sums.reshape(n_trials, -1)).reshape(n_bootstrap, *sums.shape[1:])


class Scored(NamedTuple):
    """Scores over time by name.

    Attributes
    ----------
    main : dict of str to ndarray, shape (n_times,)
    drawn, shuffled : dict of str to ndarray, shape (n_bootstrap, n_times) and (n_shuffles, n_times)
        Of resampled trials and of shuffled labels.
    total : ndarray, shape (n_times, n)
        Sums over all trials.
    """

    main: dict[str, np.ndarray]
    drawn: dict[str, np.ndarray]
    shuffled: dict[str, np.ndarray]
    total: np.ndarray

    @classmethod
    def of(cls, kind: str, sums: np.ndarray, resampled: np.ndarray, shuffled: np.ndarray) -> Scored:
        """Score sums over trials."""
        total = sums.sum(axis=0)
        return cls(scores(kind, total), scores(kind, resampled), scores(kind, shuffled), total)


def score_variables(scored: Scored, question: Question) -> dict[str, Any]:
    """Give every score over time with its interval, chance and p-values, as xarray takes them."""
    # At a time with too few trials nothing was summed: resamples and shuffles are NaN there as the score is.
    main, drawn, shuffled, total = scored
    variables: dict[str, Any] = {}
    for name, values in main.items():
        known = np.isfinite(values)
        low, high = np.full((2, values.size), np.nan)
        if known.any():
            low[known], high[known] = np.nanpercentile(drawn[name][:, known], TAILS, axis=0)
        if name == "accuracy" and question.groups is None:
            n_classes = len(question.target.classes)
            low, high = wilson(total[:, n_classes:].sum(axis=-1), total[:, :n_classes].sum(axis=-1))
        variables |= {name: ("time", values), f"{name}_low": ("time", low), f"{name}_high": ("time", high)}
        null = shuffled[name]
        if len(null) and name in SCORES[question.target.kind]:
            best = np.where(known, null, -np.inf).max(axis=1)
            p = np.where(known, (1 + (null >= values).sum(axis=0)) / (1 + len(null)), np.nan)
            p_any = np.where(known, (1 + (best[:, None] >= values).sum(axis=0)) / (1 + len(null)), np.nan)
            variables |= {
                f"{name}_shuffled": (("shuffle", "time"), null),
                f"{name}_chance": ("time", null.mean(axis=0)),
                f"{name}_p": ("time", p),
                f"{name}_p_any": ("time", p_any),
            }
    return variables


def _fit(samples: Samples, question: Question, t: int, present: np.ndarray) -> dict[int, FoldFit]:
    """Fit read-outs of the labels and their shuffles at one time."""
    truth = question.shuffles.truths(present, t)
    columns = question.target.columns(truth)
    features = np.ascontiguousarray(samples.values[present, t])
    return fit_folds(features, columns, question.fold[present], question.options.penalties, truth.shape[1])


def _judge(
    samples: Samples, question: Question, fits: dict[int, FoldFit], t: int
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Answer the trials at a time; gives answers and numbers of classes for the labels as they are, and sums for all.

    Shapes (n_present, n_answers), (n_present,) and (n_present, n_sets, n).
    """
    target, present = question.target, samples.present[:, t]
    truth, fold = question.shuffles.truths(present, t), question.fold[present]
    features = samples.values[present, t]
    answers = np.empty((len(features), truth.shape[1] * target.n_columns))
    centres = np.empty_like(answers)
    for k, fit in fits.items():
        answers[fold == k], centres[fold == k] = fit.answer(features[fold == k]), fit.centre
    if target.kind != CLASSES:
        return answers[:, :1], np.zeros(len(answers), np.int64), value_sums(answers, truth, centres)
    every = judged = _with_last(answers.reshape(*truth.shape, -1))
    if question.options.is_balanced:
        shares = _with_last(centres.reshape(*truth.shape, -1))
        judged = np.divide(every, shares, out=np.full(every.shape, -np.inf), where=shares > 0.0)
    chosen = np.argmax(judged, axis=-1)
    return every[:, 0], chosen[:, 0], class_sums(chosen, truth, len(target.classes))


def _run_once(samples: Samples, question: Question, t: int, run: Run) -> None:
    """Decode at one time and put what is found into the arrays of `run`."""
    target, present = question.target, samples.present[:, t]
    fits = _fit(samples, question, t, present)
    answers, chosen, sums = _judge(samples, question, fits, t)
    run.answers[present, t] = answers
    run.sums[present, t] = sums[:, 0]
    run.shuffled[:, t] = sums[:, 1:].sum(axis=0)
    if target.kind == CLASSES:
        np.add.at(run.confusion[t], (target.truth[present], chosen), 1)
    features, fold = samples.values[present, t], question.fold[present]
    found = [_weights(fit, features[fold != k], target) for k, fit in sorted(fits.items())]
    for name, parts in zip(("weights", "patterns", "intercepts"), zip(*found, strict=True), strict=True):
        getattr(run, name)[t] = np.mean(parts, axis=0)
    run.penalties[t] = [fit.penalty[0] for _, fit in sorted(fits.items())]


def _weights(fit: FoldFit, features: np.ndarray, target: Target) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Give weights and patterns, (n_answers, n_features), and intercepts of one fold, on the scale of activity."""
    weights = (fit.coefficients[:, : target.n_columns] / fit.scale[:, None]).T
    intercept = fit.centre[: target.n_columns] - weights @ fit.mean
    if target.kind == CLASSES:
        weights = np.vstack([weights, -weights.sum(axis=0)])
        intercept = np.append(intercept, 1.0 - intercept.sum())
    centred = features - fit.mean
    read = centred @ weights.T
    spread = np.sum(read**2, axis=0)
    # A read-out that is the same in all trials moves with no unit.
    pattern = np.divide((centred.T @ read).T, spread[:, None], out=np.zeros_like(weights), where=spread[:, None] > 0.0)
    return weights, pattern, intercept


def _with_last(answers: np.ndarray) -> np.ndarray:
    """Add the answer to the last class: indicators sum to one."""
    return np.concatenate([answers, 1.0 - answers.sum(axis=-1, keepdims=True)], axis=-1)
