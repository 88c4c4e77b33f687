"""Which trials are held out together."""

from __future__ import annotations

import numpy as np

from cortexrnn._checks import check_choice, check_count
from cortexrnn.errors import OptionError
from cortexrnn.numerics.streams import stream

FOLD_ORDERS = ("contiguous", "random")


def assign_folds(condition: np.ndarray, n_folds: int, *, order: str = "contiguous", seed: int = 0) -> np.ndarray:
    """Assign every trial to a fold, with the conditions shared out evenly.

    Parameters
    ----------
    condition : ndarray, shape (n_trials,)
        Condition of each trial, in trial order.
    n_folds : int
        Number of folds, at least 2 and at most the number of trials.
    order : {"contiguous", "random"}
        Contiguous folds are runs of neighbouring trials, so that a slow drift must be extrapolated;
        random folds let a flexible model interpolate it.
    seed : int
        Seed of the random order.

    Returns
    -------
    ndarray of int64, shape (n_trials,)
        Fold of each trial, 0-based.

    Raises
    ------
    OptionError
        If there are more folds than trials.
    """
    check_count("n_folds", n_folds, at_least=2)
    check_choice("order", order, FOLD_ORDERS)
    condition = np.asarray(condition)
    if n_folds > condition.size:
        raise OptionError(
            f"folds={n_folds} is more than the {condition.size} trials.",
            hint=f"Use at most {condition.size} folds." if condition.size > 1 else "One trial cannot be held out.",
        )
    fold = np.empty(condition.size, dtype=np.int64)
    n_before = 0
    for value in np.unique(condition):
        members = np.flatnonzero(condition == value)
        if order == "random":
            members = stream(seed, "folds", int(n_before)).permutation(members)
        # Small conditions start where the one before stopped; else the first folds would get them all.
        position = (np.arange(members.size) * n_folds + (n_before % n_folds)) // max(members.size, n_folds)
        in_turn = n_before + np.arange(members.size)
        fold[members] = (position if members.size >= n_folds else in_turn) % n_folds
        n_before += members.size
    return fold


def validation_split(condition: np.ndarray) -> np.ndarray:
    """Mark a fifth of the trials of each condition, evenly spread, for choices inside a training set.

    Parameters
    ----------
    condition : ndarray, shape (n_trials,)
        Condition of each training trial, in trial order.

    Returns
    -------
    ndarray of bool, shape (n_trials,)
        True for validation trials; at least one, and never all.
    """
    condition = np.asarray(condition)
    is_validation = np.zeros(condition.size, dtype=bool)
    for value in np.unique(condition):
        members = np.flatnonzero(condition == value)
        is_validation[members[2::5]] = True
    if not is_validation.any():
        is_validation[condition.size // 2] = True
    return is_validation
