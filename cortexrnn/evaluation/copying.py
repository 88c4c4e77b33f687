"""Copies of held-out trials on their way from the folds of a comparison to the judgement: as spikes, not as bins."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from cortexrnn.encoding.arrays import UnitTrials
from cortexrnn.encoding.model import Fitted
from cortexrnn.encoding.simulation import Copies, simulate_copies
from cortexrnn.runs.executor import Arrays

COPIED = ("copied", "copied_counts", "copied_log_likelihood", "copied_is_capped", "forced_log_mu")


def copy_fold(
    fitted: Fitted, test: UnitTrials, log_mu: np.ndarray, *, n_copies: int, likelihood: str, seed: int
) -> Arrays:
    """Let a rung copy the held-out trials of a fold.

    Parameters
    ----------
    fitted : Fitted
        Fitted to the other folds.
    test : UnitTrials
        The held-out trials.
    log_mu : ndarray, shape (n_test, n_bins)
        What the rung predicts on their own spikes.
    n_copies : int
    likelihood : str
    seed : int

    Returns
    -------
    dict of ndarray
        ``copied`` and ``copied_counts`` (n_spiking_bins,), the scored bins of the copies that hold spikes, as places
        in the flattened copies, and how many each holds, which is many where a copy runs away;
        ``copied_log_likelihood`` and ``copied_is_capped`` (n_copies, n_test), as in `Copies`; ``forced_log_mu``
        (n_test, n_bins) in single precision.
    """
    copies = simulate_copies(fitted, test, n_copies=n_copies, likelihood=likelihood, seed=seed)
    made = np.where(test.scored, copies.counts, 0).ravel()
    places = np.flatnonzero(made)
    return {
        "copied": places,
        "copied_counts": made[places],
        "copied_log_likelihood": copies.log_likelihood,
        "copied_is_capped": copies.is_capped,
        "forced_log_mu": log_mu.astype(np.float32),
    }


def join_folds(
    trials: UnitTrials, folds: Sequence[Arrays], held_out: Sequence[np.ndarray]
) -> tuple[Copies, np.ndarray]:
    """Lay the copies of every fold back onto all trials.

    Parameters
    ----------
    trials : UnitTrials
        All trials.
    folds : sequence of dict of ndarray
        Results of `copy_fold`.
    held_out : sequence of ndarray of int
        The trials of each fold.

    Returns
    -------
    copies : Copies
    log_mu : ndarray of float64, shape (n_trials, n_bins)
        The prediction on the recorded spikes.
    """
    n_copies, n_bins = folds[0]["copied_log_likelihood"].shape[0], trials.counts.shape[1]
    counts = np.zeros((n_copies, trials.n_trials, n_bins), dtype=np.uint16)
    log_likelihood = np.empty((n_copies, trials.n_trials))
    is_capped = np.empty((n_copies, trials.n_trials), dtype=bool)
    log_mu = np.empty((trials.n_trials, n_bins))
    counts[:] = np.where(np.logical_or.accumulate(trials.scored, axis=1), 0, trials.counts)
    for part, members in zip(folds, held_out, strict=True):
        made = np.zeros(n_copies * members.size * n_bins, dtype=np.uint16)
        made[part["copied"]] = part["copied_counts"]
        counts[:, members] += made.reshape(n_copies, members.size, n_bins)
        log_likelihood[:, members] = part["copied_log_likelihood"]
        is_capped[:, members] = part["copied_is_capped"]
        log_mu[members] = part["forced_log_mu"]
    return Copies(counts, log_likelihood, is_capped), log_mu
