"""Ridge regression for decoding: every fold held out once, the penalty chosen without it, many label sets at once.

`cortexrnn.training.reservoirs.readout.Ridge` is for one long recording: it holds out contiguous blocks, chooses one
penalty for all targets, and decomposes once a block and target set. Here folds are given, features are standardised
within every training set, and all shuffles of the labels share its decomposition, each with a penalty of its own.
"""

from __future__ import annotations

import itertools
from typing import NamedTuple

import numpy as np


class FoldFit(NamedTuple):
    """Read-outs that have not seen one fold.

    Attributes
    ----------
    mean, scale : ndarray, shape (n_features,)
        Of the training trials; the scale is infinite for a feature that is the same in all of them.
    coefficients : ndarray, shape (n_features, n_columns)
        For standardised features.
    centre : ndarray, shape (n_columns,)
        Means of the targets of the training trials.
    penalty : ndarray, shape (n_sets,)
        Chosen for every set of targets.
    """

    mean: np.ndarray
    scale: np.ndarray
    coefficients: np.ndarray
    centre: np.ndarray
    penalty: np.ndarray

    def answer(self, features: np.ndarray) -> np.ndarray:
        """Give the answers to features, shape (..., n_features), as (..., n_columns)."""
        return ((features - self.mean) / self.scale) @ self.coefficients + self.centre


def fit_folds(
    features: np.ndarray, targets: np.ndarray, fold: np.ndarray, penalties: tuple[float, ...], n_sets: int
) -> dict[int, FoldFit]:
    """Fit read-outs of several sets of targets, one without every fold.

    The penalty of a set is that with the smallest squared error when each of the other folds is predicted from the
    rest of them: the fold itself has no part in it. A fit without two folds serves both of them.

    Parameters
    ----------
    features : ndarray, shape (n_trials, n_features)
    targets : ndarray, shape (n_trials, n_sets * n_targets)
        Columns of a set are neighbours. Several are indicators of all classes but the last.
    fold : ndarray of int, shape (n_trials,)
        At least two folds; three where there are several penalties.
    penalties : tuple of float
        Candidates above 0, relative to the number of training trials.
    n_sets : int

    Returns
    -------
    dict of int to FoldFit
        By the fold that was left out.
    """
    folds = [int(k) for k in np.unique(fold)]
    factors = np.array(penalties)
    errors = {k: np.zeros((factors.size, n_sets)) for k in folds}
    if factors.size > 1:
        for pair in itertools.combinations(folds, 2):
            seen = (fold != pair[0]) & (fold != pair[1])
            basis = _decompose(features[seen], targets[seen])
            for validated, held_out in (pair, pair[::-1]):
                own = fold == validated
                errors[held_out] += _squared_errors(basis, features[own], targets[own], factors, n_sets)
    fits = {}
    for k in folds:
        basis = _decompose(features[fold != k], targets[fold != k])
        penalty = factors[np.argmin(errors[k], axis=0)]
        shrunk = 1.0 / (basis.values[:, None] + basis.n_trials * penalty)
        by_column = np.repeat(shrunk, targets.shape[1] // n_sets, axis=1)
        fits[k] = FoldFit(basis.mean, basis.scale, basis.vectors @ (by_column * basis.rotated), basis.centre, penalty)
    return fits


class _Basis(NamedTuple):
    """Training trials in a basis in which every penalty is a factor: weights ``vectors @ (rotated / (values + p))``."""

    mean: np.ndarray
    scale: np.ndarray
    centre: np.ndarray
    values: np.ndarray
    vectors: np.ndarray
    rotated: np.ndarray
    n_trials: int


def _decompose(features: np.ndarray, targets: np.ndarray) -> _Basis:
    """Standardise training trials and decompose them, by features or by trials, whichever are fewer."""
    n_trials, n_features = features.shape
    mean, centre = features.mean(axis=0), targets.mean(axis=0)
    sd = features.std(axis=0)
    # The round-off of a mean gives a constant feature a deviation; it must not be blown up to one.
    is_constant = sd <= n_trials * np.finfo(float).eps * np.abs(mean)
    scale = np.where(is_constant, np.inf, sd)
    scaled, centred = (features - mean) / scale, targets - centre
    if n_features <= n_trials:
        values, vectors = np.linalg.eigh(scaled.T @ scaled)
        rotated = vectors.T @ (scaled.T @ centred)
    else:
        values, among_trials = np.linalg.eigh(scaled @ scaled.T)
        rotated = among_trials.T @ centred
        vectors = scaled.T @ among_trials
    return _Basis(mean, scale, centre, np.maximum(values, 0.0), vectors, rotated, n_trials)


def _squared_errors(
    basis: _Basis, features: np.ndarray, targets: np.ndarray, factors: np.ndarray, n_sets: int
) -> np.ndarray:
    """Give the summed squared error of trials that were left out, shape (n_penalties, n_sets)."""
    turned = ((features - basis.mean) / basis.scale) @ basis.vectors
    wanted = targets - basis.centre
    errors = np.empty((factors.size, n_sets))
    for row, penalty in zip(errors, basis.n_trials * factors, strict=True):
        missed = wanted - turned @ (basis.rotated / (basis.values + penalty)[:, None])
        row[:] = np.einsum("ij,ij->j", missed, missed).reshape(n_sets, -1).sum(axis=1)
        if wanted.shape[1] > n_sets:
            # Indicators sum to one and so do their answers: the last class misses by minus the sum of the others.
            last = missed.reshape(len(missed), n_sets, -1).sum(axis=2)
            row += np.einsum("ij,ij->j", last, last)
    return errors
