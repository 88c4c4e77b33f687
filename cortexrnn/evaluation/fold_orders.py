"""Random against contiguous folds: what a flexible model gains when it may interpolate a drift."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from cortexrnn.encoding.model import Rung
from cortexrnn.evaluation.ladder import CONTROL
from cortexrnn.evaluation.scores import Gain, gain_interval
from cortexrnn.evaluation.verdict import MIN_SPIKES
from cortexrnn.evaluation.work import Arrays, FoldFits, UnitCase
from cortexrnn.report.formats import show_interval, show_number
from cortexrnn.spikes.folds import FOLD_ORDERS, assign_folds

# Rungs that are cheap enough to be fitted twice.
REFOLDED = ("M0", "M1", "M2", "M3", "M4", "M5")
_HISTORY = "M5"
_LEVEL, _DRIFT = "M1", "M2"


@dataclass(frozen=True, kw_only=True, slots=True)
class FoldOrders:
    """How scores change from contiguous to random folds.

    Attributes
    ----------
    changes : dict of str to Gain
        Score of every rung with random folds minus that with contiguous ones, on the same trials, in bits per spike.
    history_change : Gain
        The same of the gain of M5 over M3.
    n_spikes : int
        Held-out spikes.
    rope : float
        Half-width of the region of equivalence in bits per spike.
    """

    changes: dict[str, Gain]
    history_change: Gain
    n_spikes: int
    rope: float

    @property
    def telltale(self) -> str:
        """The rung in which a drift shows most: M2, which can follow one, or M1 where M2 was not fitted."""
        return _DRIFT if _DRIFT in self.changes else _LEVEL

    @property
    def is_drifting(self) -> bool:
        """Whether random folds are better by more than the region of equivalence, beyond doubt."""
        return self.n_spikes >= MIN_SPIKES and self.changes[self.telltale].low > self.rope

    @property
    def sentence(self) -> str:
        """What the second opinion says, in words; empty where there are too few spikes."""
        if self.n_spikes < MIN_SPIKES:
            return ""
        start = f"Random folds change {self.telltale} by {_shown(self.changes[self.telltale])} bits/spike"
        middle = ": the rate drifts over the session" if self.is_drifting else ""
        return f"{start}{middle}, and the gain of {_HISTORY} over {CONTROL} by {_shown(self.history_change)}."

    def to_dict(self) -> dict[str, Any]:
        """Give everything as ``summary.json`` holds it; None where there are too few spikes."""
        is_enough = self.n_spikes >= MIN_SPIKES

        def written(gain: Gain) -> dict[str, Any]:
            return {"value": gain.value, "ci": gain.interval} if is_enough else {"value": None, "ci": None}

        return {
            "rungs": {name: written(gain) for name, gain in self.changes.items()},
            "history": written(self.history_change),
            "is_drifting": self.is_drifting,
            "sentence": self.sentence,
        }


def refold(case: UnitCase) -> UnitCase | None:
    """Deal a unit's trials into folds of the other order.

    Parameters
    ----------
    case : UnitCase
        The unit with contiguous or random folds.

    Returns
    -------
    UnitCase or None
        None where a training set of the other order would hold no observed bin.
    """
    first, second = (
        assign_folds(case.trials.condition, case.n_folds, order=order, seed=case.seed) for order in FOLD_ORDERS
    )
    other = replace(case, fold=second if np.array_equal(case.fold, first) else first)
    is_fittable = all(case.trials.scored[other.fold != k].any() for k in range(other.n_folds))
    return other if is_fittable else None


def refold_work(case: UnitCase, rungs: Mapping[str, Rung], k: int) -> Arrays:
    """Fit rungs on all folds but `k` and score fold `k`, and nothing else.

    Parameters
    ----------
    case : UnitCase
        From `refold`.
    rungs : mapping of str to Rung
    k : int

    Returns
    -------
    dict of ndarray
        ``log_likelihood`` (n_rungs, n_test).
    """
    is_test = case.fold == k
    fits = FoldFits(case.trials.take(~is_test), case.trials.take(is_test))
    rows = [fits.score(rung, fits.fit(rung)[1], case.likelihood) for rung in rungs.values()]
    return {"log_likelihood": np.array(rows)}


def compare_fold_orders(
    contiguous: Mapping[str, np.ndarray],
    random: Mapping[str, np.ndarray],
    n_spikes: np.ndarray,
    *,
    n_folds: int,
    rope: float,
) -> FoldOrders:
    """Say by how much random folds change every score.

    Parameters
    ----------
    contiguous, random : mapping of str to ndarray, shape (n_trials,)
        Held-out log-likelihood in nats of every rung with either order; M1, M3 and M5 among them.
    n_spikes : ndarray of int, shape (n_trials,)
        Scored spikes.
    n_folds : int
    rope : float
        Half-width of the region of equivalence in bits per spike.

    Returns
    -------
    FoldOrders

    Notes
    -----
    Intervals take trials for independent, as all intervals of gains do. The trials of a contiguous fold share the error
    of one extrapolation: with a strong drift the interval is too narrow.
    """
    changes = {name: gain_interval(random[name], contiguous[name], n_spikes, n_folds) for name in random}
    gain, other = (scores[_HISTORY] - scores[CONTROL] for scores in (random, contiguous))
    return FoldOrders(
        changes=changes,
        history_change=gain_interval(gain, other, n_spikes, n_folds),
        n_spikes=int(n_spikes.sum()),
        rope=rope,
    )


def _shown(gain: Gain) -> str:
    """Write a gain with its interval."""
    return f"{show_number(gain.value, signed=True)} {show_interval(gain.interval, signed=True)}"
