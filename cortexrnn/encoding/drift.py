"""M2: a slow drift of the rate over session time, from trial to trial."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, NamedTuple

import numba
import numpy as np

from cortexrnn.encoding.arrays import UnitTrials
from cortexrnn.encoding.model import Fitted, Rung
from cortexrnn.encoding.overdispersion import gain_evidence, gain_variance
from cortexrnn.encoding.psth import PSTH
from cortexrnn.spikes.folds import assign_folds

_MOST_STEPS = 50


@dataclass(frozen=True, kw_only=True, slots=True)
class Drift(Rung):
    """PSTH times exp(s(trial)), s a natural cubic spline over session time.

    Because s is one number a trial, the trial totals are sufficient: the fit costs nothing.

    Attributes
    ----------
    dfs : tuple of int
        Degrees of freedom to choose from by contiguous inner folds; 0 is no drift, 1 a straight line.
    ridge : float
        Precision of the Gaussian prior on the spline's standardised coefficients.
    """

    name: ClassVar[str] = "M2"
    meaning: ClassVar[str] = "slow drift over trials"
    baseline: Rung | None = PSTH()
    dfs: tuple[int, ...] = (0, 1, 2, 3, 4)
    ridge: float = 1.0

    def fit_on(self, trials: UnitTrials, below: Fitted | None, log_mu: np.ndarray) -> FittedDrift:
        """Choose the degrees of freedom and fit the spline to the trial totals."""
        # A trial in which nobody recorded has no total: its expected count of 0 would have the log -inf.
        seen = trials.scored.any(axis=1)
        start_s = trials.start_s[seen]
        spikes = trials.spikes_per_trial[seen].astype(float)
        expected = expected_per_trial(trials, log_mu)[seen]
        df = self._choose(start_s, spikes, expected)
        return self._fit_totals(below, _Totals.of(start_s, spikes, expected), df)

    def _choose(self, start_s: np.ndarray, spikes: np.ndarray, expected: np.ndarray) -> int:
        """Give the degrees of freedom with the highest likelihood of inner held-out trials."""
        n_trials = start_s.size
        candidates = [df for df in self.dfs if df <= (n_trials - 2) // 2]
        if len(candidates) < 2 or np.unique(start_s).size < n_trials:
            return 0
        fold = assign_folds(np.zeros(n_trials), min(5, n_trials))
        scores = np.zeros(len(candidates))
        for k in range(int(fold.max()) + 1):
            train, test = fold != k, fold == k
            totals = _Totals.of(start_s[train], spikes[train], expected[train])
            for j, df in enumerate(candidates):
                fitted = self._fit_totals(None, totals, df)
                mean = expected[test] * np.exp(fitted.log_factor(start_s[test]))
                evidence = gain_evidence(spikes[test], mean, totals.variance)
                scores[j] += float(np.sum(spikes[test] * np.log(mean) - mean + evidence))
        return candidates[int(np.argmax(scores))]

    def _fit_totals(self, below: Fitted | None, totals: _Totals, df: int) -> FittedDrift:
        """Fit intercept and spline to trial totals, weighted as negative-binomial counts.

        Trials whose gain fluctuates would otherwise look like a drift of many degrees of freedom.
        """
        if df == 0:
            none = np.zeros(0)
            return FittedDrift(below=below, knots_s=none, center=none, scale=none, weights=np.zeros(1))
        start_s, spikes, expected, level, variance = totals
        ranks = np.linspace(0.0, start_s.size - 1.0, df + 1)
        knots_s = np.interp(ranks, np.arange(start_s.size), np.sort(start_s))
        raw = _natural_spline(start_s, knots_s)
        center, scale = raw.mean(axis=0), np.maximum(raw.std(axis=0), 1e-12)
        design = np.column_stack([np.ones(start_s.size), (raw - center) / scale])
        precision = np.r_[1e-6, np.full(df, self.ridge)]
        weights = np.r_[np.log(level), np.zeros(df)]
        _climb(design, spikes, expected, variance, precision, weights)
        return FittedDrift(below=below, knots_s=knots_s, center=center, scale=scale, weights=weights)


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class FittedDrift(Fitted):
    """A fitted drift; its log factor is held constant beyond the training range.

    Attributes
    ----------
    knots_s : ndarray
        Knots in session time; empty where no drift was found.
    center, scale : ndarray, shape (df,)
        Standardisation of the spline's columns.
    weights : ndarray, shape (df + 1,)
        Intercept and spline weights.
    """

    looks_at_spikes: ClassVar[bool] = False
    below: Fitted | None
    knots_s: np.ndarray
    center: np.ndarray
    scale: np.ndarray
    weights: np.ndarray

    def log_factor(self, start_s: np.ndarray) -> np.ndarray:
        """Give the log rate factor at session times `start_s`."""
        if self.knots_s.size == 0:
            return np.zeros(np.shape(start_s))
        raw = _natural_spline(np.clip(start_s, self.knots_s[0], self.knots_s[-1]), self.knots_s)
        return self.weights[0] + (raw - self.center) / self.scale @ self.weights[1:]

    def extend(self, trials: UnitTrials, log_mu: np.ndarray) -> np.ndarray:
        """Add each trial's log factor."""
        return log_mu + self.log_factor(trials.start_s)[:, None]


class _Totals(NamedTuple):
    """Trial totals, their overall level, and the variance of the gain around it."""

    start_s: np.ndarray
    spikes: np.ndarray
    expected: np.ndarray
    level: float
    variance: float

    @classmethod
    def of(cls, start_s: np.ndarray, spikes: np.ndarray, expected: np.ndarray) -> _Totals:
        """Measure level and variance."""
        level = float((spikes.sum() + 0.5) / (expected.sum() + 0.5))
        return cls(start_s, spikes, expected, level, gain_variance(spikes, level * expected))


def expected_per_trial(trials: UnitTrials, log_mu: np.ndarray) -> np.ndarray:
    """Sum the expected counts of the scored bins of every trial."""
    return np.where(trials.scored, np.exp(log_mu), 0.0).sum(axis=1)


@numba.njit(cache=True, nogil=True)
def _climb(design, spikes, expected, variance, precision, weights):
    """Climb the negative-binomial likelihood of trial totals by Fisher scoring; changes `weights`."""
    n_trials, n_weights = design.shape
    for _ in range(_MOST_STEPS):
        step = -precision * weights
        hessian = np.diag(precision)
        for i in range(n_trials):
            eta = 0.0
            for p in range(n_weights):
                eta += design[i, p] * weights[p]
            mean = expected[i] * np.exp(min(max(eta, -30.0), 30.0))
            trust = 1.0 / (1.0 + variance * mean)
            for p in range(n_weights):
                step[p] += trust * (spikes[i] - mean) * design[i, p]
                for q in range(n_weights):
                    hessian[p, q] += trust * mean * design[i, p] * design[i, q]
        _solve(hessian, step)
        size = np.abs(step).max()
        weights += step / max(1.0, size)
        if size < 1e-9:
            break


@numba.njit(cache=True, nogil=True)
def _solve(matrix, vector):
    """Solve a small positive system in place by elimination; the solution is left in `vector`."""
    n = vector.size
    for p in range(n):
        for q in range(p + 1, n):
            factor = matrix[q, p] / matrix[p, p]
            for r in range(p, n):
                matrix[q, r] -= factor * matrix[p, r]
            vector[q] -= factor * vector[p]
    for p in range(n - 1, -1, -1):
        for q in range(p + 1, n):
            vector[p] -= matrix[p, q] * vector[q]
        vector[p] /= matrix[p, p]


def _natural_spline(x: np.ndarray, knots: np.ndarray) -> np.ndarray:
    """Give the truncated-power basis of a natural cubic spline without intercept, one column a df.

    Hastie, Tibshirani and Friedman 2009, The Elements of Statistical Learning, eq. 5.4 and 5.5.
    """
    span = knots[-1] - knots[0]
    z = (x - knots[0]) / span
    k = (knots - knots[0]) / span

    def d(j: int) -> np.ndarray:
        return (np.maximum(z - k[j], 0.0) ** 3 - np.maximum(z - k[-1], 0.0) ** 3) / (k[-1] - k[j])

    columns = [z] + [d(j) - d(k.size - 2) for j in range(k.size - 2)]
    return np.column_stack(columns)
