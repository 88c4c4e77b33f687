"""Surrogates that keep every PSTH bin and destroy history."""

from __future__ import annotations

import numba
import numpy as np


def exchange_trials(
    counts: np.ndarray, observed: np.ndarray, condition: np.ndarray, rng: np.random.Generator
) -> np.ndarray:
    """Permute, in every time bin of a condition, the counts over the trials observed there.

    Parameters
    ----------
    counts : ndarray of uint16, shape (n_trials, n_bins)
        Spikes per bin.
    observed : ndarray of bool, shape (n_trials, n_bins)
        Only observed bins are exchanged among each other.
    condition : ndarray of int64, shape (n_trials,)
        Condition code of each trial, 0-based.
    rng : numpy.random.Generator
        Stream of the permutation.

    Returns
    -------
    ndarray of uint16, shape (n_trials, n_bins)
        Exchanged counts; the sum over the trials of a condition is unchanged in every bin.
    """
    exchanged = counts.copy()
    for value in np.unique(condition):
        members = np.flatnonzero(condition == value)
        _shuffle_bins(exchanged, observed, members, rng.random((counts.shape[1], members.size)))
    return exchanged


@numba.njit(cache=True, nogil=True)
def _shuffle_bins(counts, observed, members, uniform):
    """Fisher-Yates in place over `members` in every bin, with one given uniform number a draw."""
    for t in range(counts.shape[1]):
        n = 0
        present = np.empty(members.size, np.int64)
        for member in members:
            if observed[member, t]:
                present[n] = member
                n += 1
        for i in range(n - 1, 0, -1):
            j = int(uniform[t, i] * (i + 1))
            a, b = present[i], present[j]
            counts[a, t], counts[b, t] = counts[b, t], counts[a, t]
