"""How much the score of a network depends on where its training starts."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import numpy as np

from cortexrnn.evaluation.scores import LN2


def seed_spread(
    log_likelihood: Mapping[str, np.ndarray], names: Iterable[str], n_spikes: np.ndarray
) -> dict[str, float]:
    """Give the standard deviation over seeds of every network's score.

    Parameters
    ----------
    log_likelihood : mapping of str to ndarray, shape (n_seeds, n_trials)
        Held-out log-likelihood in nats.
    names : iterable of str
        Networks; those that were not fitted are left out.
    n_spikes : ndarray of int, shape (n_trials,)
        Scored spikes.

    Returns
    -------
    dict of str to float
        In bits per spike; empty without spikes or with one seed.
    """
    total = float(n_spikes.sum())
    rows = {name: log_likelihood[name] for name in names if name in log_likelihood}
    if total == 0.0:
        return {}
    return {name: float(np.std(row.sum(axis=1), ddof=1) / (total * LN2)) for name, row in rows.items() if len(row) > 1}
