"""What a comparison keeps of a unit once its trials are let go."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from cortexrnn.evaluation.plan import UnitPlan, UnitScores
from cortexrnn.evaluation.scores import gain_interval


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class UnitEvidence:
    """The held-out scores and the controls of one unit, without its trials and its surrogates.

    Attributes
    ----------
    name : str
        Unit id.
    log_likelihood : dict of str to ndarray, shape (n_seeds, n_trials)
        Held-out log-likelihood in nats of every reported rung and of the history rung (``history``).
    n_spikes : ndarray of int64, shape (n_trials,)
        Scored spikes.
    n_bins : ndarray of int64, shape (n_trials,)
        Scored bins.
    fold : ndarray of int64, shape (n_trials,)
        Fold in which each trial is held out.
    chosen : list of str
        History rung chosen in each training set.
    exchange_gains : list of float
        Gain of M5 over M3 in bits per spike on every trial exchange; NaN without spikes.
    leaking : list of str
        Rungs whose prediction moved with its own bin.
    n_leak_probes : int
    """

    name: str
    log_likelihood: dict[str, np.ndarray]
    n_spikes: np.ndarray
    n_bins: np.ndarray
    fold: np.ndarray
    chosen: list[str]
    exchange_gains: list[float]
    leaking: list[str]
    n_leak_probes: int


def unit_evidence(plan: UnitPlan, scores: UnitScores) -> UnitEvidence:
    """Take from a unit's scores what the whole comparison needs."""
    exchange_gains = []
    for surrogate in scores.exchanged:
        _, glm, control = plan.surrogate_gain(surrogate)
        exchange_gains.append(gain_interval(glm, control, surrogate["n_spikes"], scores.case.n_folds).value)
    return UnitEvidence(
        name=scores.case.name,
        log_likelihood={name: scores.log_likelihood[name] for name in [*plan.reported, "history"]},
        n_spikes=scores.case.trials.spikes_per_trial,
        n_bins=scores.case.trials.scored.sum(axis=1),
        fold=scores.case.fold,
        chosen=scores.chosen,
        exchange_gains=exchange_gains,
        leaking=scores.leaking,
        n_leak_probes=scores.n_leak_probes,
    )
