"""Whether a model runs away on its own spikes: copies of trials, held against what the unit ever did."""

from __future__ import annotations

import math

import numpy as np

from cortexrnn.encoding import spike_statistics as stats
from cortexrnn.encoding.arrays import UnitTrials
from cortexrnn.encoding.simulation import Copies

# A simulated trial diverges above this many times the highest rate of any recorded trial,
RATE_FACTOR = 3.0
# or if for this long, and for this many of the shortest intervals, it fires at nearly the rate that these allow, and
# faster than the unit ever did.
PINNED_S = 0.1
PINNED_INTERVALS = 20
_PINNED_SHARE = 0.9


def find_divergent(trials: UnitTrials, copies: Copies, n_dead: int) -> tuple[np.ndarray, np.ndarray]:
    """Tell which simulated trials ran away.

    Parameters
    ----------
    trials : UnitTrials
        The recorded trials.
    copies : Copies
        The simulated ones.
    n_dead : int
        Shortest possible interval in bins.

    Returns
    -------
    diverges, is_pinned : ndarray of bool, shape (n_copies, n_trials)
        A trial that is pinned, or in which more than 50 spikes were expected in a bin, diverges as well.
    """
    n_scored = np.maximum(trials.scored.sum(axis=1), 1)
    # A unit that was silent is taken to have fired once.
    highest = np.max(np.maximum(trials.spikes_per_trial, 1) / n_scored)
    n_spikes = np.where(trials.scored, copies.counts, 0).sum(axis=2)
    n_window = min(max(round(PINNED_S / trials.bin_s), PINNED_INTERVALS * n_dead), trials.counts.shape[1])
    fastest = int(stats.fastest_windows(trials.counts, trials.scored, n_window).max())
    threshold = max(math.ceil(_PINNED_SHARE * n_window / n_dead), fastest + 1)
    is_pinned = np.array([stats.fastest_windows(counts, trials.scored, n_window) for counts in copies.counts])
    is_pinned = is_pinned >= threshold
    return (n_spikes / n_scored > RATE_FACTOR * highest) | is_pinned | copies.is_capped, is_pinned


def shortest_interval(trials: UnitTrials) -> int:
    """Give the shortest interval of the trials in bins, at least one."""
    return max(1, int(stats.find_intervals(trials.counts, trials.scored).n_bins.min(initial=trials.counts.shape[1])))
