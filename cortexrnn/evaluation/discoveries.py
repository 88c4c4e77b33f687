"""In how many of many units does history matter, if few of those called may be wrong."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from scipy import stats

from cortexrnn.evaluation.scores import Gain
from cortexrnn.evaluation.verdict import SIGNIFICANCE
from cortexrnn.numerics.multiple_tests import false_discovery


class Discoveries(NamedTuple):
    """Which units are called at a false discovery rate.

    Attributes
    ----------
    q : ndarray of float64, shape (n_units,)
        Smallest false discovery rate at which each unit is called; NaN for a unit that was not tested.
    is_found : ndarray of bool, shape (n_units,)
    n_tests : int
        Units tested.
    rate : float
        Allowed share of false ones among those called, on average.
    """

    q: np.ndarray
    is_found: np.ndarray
    n_tests: int
    rate: float

    @property
    def sentence(self) -> str:
        """How many units are called, in words; empty for fewer than two tests."""
        if self.n_tests < 2:
            return ""
        return (
            f"At a false discovery rate of {self.rate:.0%} history matters in {int(self.is_found.sum())} of the "
            f"{self.n_tests} units tested (Benjamini-Hochberg)."
        ).replace("%", " %")


def history_p(gains: Sequence[Gain]) -> float:
    """Give the p of "history gains nothing" from the intervals over all controls.

    Parameters
    ----------
    gains : sequence of Gain
        Gain of the history rung over each control.

    Returns
    -------
    float
        NaN where a gain has no interval.

    Notes
    -----
    Per control twice the upper tail of Student's t at ``G / (f s / sqrt(n))``, so that p <= .05 where the lower end of
    the 95 % interval is above zero. All controls must be beaten, so the largest p counts (the
    intersection-union test, Berger 1982, doi:10.1080/00401706.1982.10487790).
    """
    return max((_gain_p(gain) for gain in gains), key=lambda p: math.inf if math.isnan(p) else p)


def find_discoveries(
    p: Sequence[float | None], surrogate_p: Sequence[float | None], *, rate: float = 0.05
) -> Discoveries:
    """Control the false discovery rate over units (Benjamini and Hochberg 1995).

    Parameters
    ----------
    p : sequence of float or None
        `history_p` of every unit; None or NaN for a unit that is not tested.
    surrogate_p : sequence of float or None
        p of the surrogate test of every unit; None where it was left out.
    rate : float
        Allowed share of false ones among those called.

    Returns
    -------
    Discoveries

    Notes
    -----
    With B surrogates their p is at least 1 / (B + 1), .05 for 19: as a p of its own it could never pass
    Benjamini and Hochberg's steps of rate k / n unless nearly all units did. It is a gate instead, as in the verdict: a
    unit whose surrogates gain as much, or that has none, enters with p = 1. That can only enlarge a p, so the rate
    holds. Every unit found also has its whole interval above zero, as the largest step is the rate itself.
    """
    values = np.array([np.nan if each is None else each for each in p], dtype=float)
    passed = np.array([each is not None and each <= SIGNIFICANCE for each in surrogate_p], dtype=bool)
    gated = np.where(passed | np.isnan(values), values, 1.0)
    q = false_discovery(gated)
    return Discoveries(q, q <= rate, int((~np.isnan(q)).sum()), rate)


def _gain_p(gain: Gain) -> float:
    """Give twice the upper tail of t, at most 1."""
    if math.isnan(gain.value):
        return math.nan
    if gain.sd == 0.0:
        return 0.0 if gain.value > 0.0 else 1.0
    t = gain.value * math.sqrt(gain.n_trials) / (gain.inflation * gain.sd)
    return min(1.0, 2.0 * float(stats.t.sf(t, gain.n_trials - 1)))
