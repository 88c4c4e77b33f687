"""What rungs need to know of the units beside a unit."""

from __future__ import annotations

import numpy as np

from cortexrnn.encoding.arrays import UnitTrials
from cortexrnn.errors import DataError


def check_neighbours(trials: UnitTrials, positions: np.ndarray | None = None) -> np.ndarray:
    """Give the positions of a unit's neighbours, which are there and are those expected.

    Parameters
    ----------
    trials : UnitTrials
    positions : ndarray of int, shape (n_neighbours,), optional
        Where they were in the training trials.

    Returns
    -------
    ndarray of int, shape (n_neighbours,)

    Raises
    ------
    DataError
        If there are none, or others than those.
    """
    found = np.empty(0, int) if trials.neighbours is None else trials.neighbours.positions
    if not found.size:
        raise DataError(
            "the trials hold no spikes of other units.",
            hint="Use a recording of several units, or rungs that look at one alone.",
        )
    if positions is not None and not np.array_equal(found, positions):
        raise DataError(
            f"the trials hold neighbours at {found.tolist()}; expected those of the training at {positions.tolist()}."
        )
    return found


def mean_counts(trials: UnitTrials) -> np.ndarray:
    """Give the expected count of a bin of every neighbour.

    Parameters
    ----------
    trials : UnitTrials
        With neighbours.

    Returns
    -------
    ndarray of float64, shape (n_neighbours,)
        (N + 1/2) / T, which is positive also without any spike.
    """
    counts, positions = trials.neighbours.counts, trials.neighbours.positions
    total = np.zeros(counts.shape[2], np.int64)
    # Trial by trial: numpy would widen all counts at once.
    for trial in counts:
        total += trial.sum(axis=0, dtype=np.int64)
    return (total[positions] + 0.5) / max(counts.shape[0] * counts.shape[1], 1)
