"""How well trials that a decoder has not seen were answered: scores as functions of sums over trials.

Because they are, the same sums give the score of all trials, of resampled ones, and of the labels' shuffles.
"""

from __future__ import annotations

import numpy as np

CLASSES, VALUES = KINDS = ("classes", "values")
# Larger is better; the first is the main one.
SCORES = {CLASSES: ("accuracy", "balanced_accuracy"), VALUES: ("r2", "correlation")}


def class_sums(answered: np.ndarray, truth: np.ndarray, n_classes: int) -> np.ndarray:
    """Give what every trial adds to the sums: that there is one of its class, and whether it was found.

    Parameters
    ----------
    answered, truth : ndarray of int, shape (...,)
        Numbers of classes.
    n_classes : int

    Returns
    -------
    ndarray of bool, shape (..., 2 * n_classes)
    """
    is_own = truth[..., None] == np.arange(n_classes)
    return np.concatenate([is_own, is_own & (answered == truth)[..., None]], axis=-1)


def value_sums(answered: np.ndarray, truth: np.ndarray, centre: np.ndarray) -> np.ndarray:
    """Give what every trial adds to the sums: number, error, and moments of answer and truth.

    All are about the training mean, which is another one in every fold: the answer to a trial whose own fold lies
    low has a higher mean, and such answers are correlated with the truth, negatively, where nothing is known.

    Parameters
    ----------
    answered, truth, centre : ndarray, shape (...,)

    Returns
    -------
    ndarray, shape (..., 7)
    """
    answered, truth = answered - centre, truth - centre
    parts = (np.ones_like(truth), (truth - answered) ** 2, truth, answered, truth**2, answered**2, truth * answered)
    return np.stack(parts, axis=-1)


def scores(kind: str, sums: np.ndarray) -> dict[str, np.ndarray]:
    """Give the scores by name from sums over trials.

    Parameters
    ----------
    kind : {"classes", "values"}
    sums : ndarray, shape (..., n)
        Of `class_sums` or `value_sums`.

    Returns
    -------
    dict of str to ndarray, shape (...,)
        Those of `SCORES`, and of values the root mean square error, ``rmse``; NaN where there are no trials, or the
        truth does not vary.
    """
    return _class_scores(sums) if kind == CLASSES else _value_scores(sums)


def _class_scores(sums: np.ndarray) -> dict[str, np.ndarray]:
    """Give the share of trials whose class was found, and its mean over the classes."""
    there, found = np.split(np.asarray(sums, dtype=float), 2, axis=-1)
    total = there.sum(axis=-1)
    is_there = there > 0.0
    share = np.where(is_there, found / np.where(is_there, there, 1.0), 0.0)
    n_classes = is_there.sum(axis=-1)
    return {
        "accuracy": _ratio(found.sum(axis=-1), total),
        "balanced_accuracy": _ratio(share.sum(axis=-1), n_classes.astype(float)),
    }


def _value_scores(sums: np.ndarray) -> dict[str, np.ndarray]:
    """Give the explained share of the squared deviation from the training mean, and the correlation."""
    n, error, truth, answer, truth2, answer2, both = np.moveaxis(np.asarray(sums, dtype=float), -1, 0)
    safe = np.maximum(n, 1.0)
    spread_truth, spread_answer = truth2 - truth**2 / safe, answer2 - answer**2 / safe
    # Answers that do not vary, as of constant features, know nothing.
    varies = spread_answer > 1e-12 * np.maximum(answer2, 1e-300)
    joint = np.sqrt(np.maximum(spread_truth, 0.0) * np.where(varies, spread_answer, 1.0))
    return {
        "r2": 1.0 - _ratio(error, truth2),
        "correlation": np.where(varies, _ratio(both - truth * answer / safe, joint), np.where(n > 0.0, 0.0, np.nan)),
        "rmse": np.sqrt(_ratio(error, n)),
    }


def _ratio(above: np.ndarray, below: np.ndarray) -> np.ndarray:
    """Divide; NaN where there is nothing to divide by."""
    return np.divide(above, below, out=np.full(np.shape(above), np.nan), where=below > 0.0)
