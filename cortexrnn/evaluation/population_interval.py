"""The history gain of a population, with an interval that knows of few units as well as of few trials."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy import stats

from cortexrnn._checks import check_count
from cortexrnn.evaluation.evidence import UnitEvidence
from cortexrnn.evaluation.scores import LN2, finite_or_none, gain_errors
from cortexrnn.numerics.streams import stream
from cortexrnn.report.formats import show_interval, show_number

MIN_UNITS = 5
_RESAMPLES = 10_000
_RESAMPLES_AT_ONCE = 1000
_TAILS = (0.025, 0.975)


@dataclass(frozen=True, kw_only=True, slots=True)
class PopulationGain:
    """The history gain of a population of units in bits per spike.

    Attributes
    ----------
    mean, median : float
        Over units.
    mean_ci, median_ci : tuple of float
        95 % intervals; NaN with fewer than five units.
    between_sd : float
        Standard deviation of the units' gains without the noise of their trials.
    n_units : int
    """

    mean: float
    median: float
    mean_ci: tuple[float, float]
    median_ci: tuple[float, float]
    between_sd: float
    n_units: int

    @property
    def sentence(self) -> str:
        """Mean and median in words; empty with fewer than two units."""
        if self.n_units < 2:
            return ""
        mean, median = (
            f"{show_number(value)} {show_interval(ends, missing='')}".rstrip()
            for value, ends in ((self.mean, self.mean_ci), (self.median, self.median_ci))
        )
        how = "; intervals of 95 % over units and trials" if math.isfinite(self.mean_ci[0]) else ""
        return f"Over {self.n_units} units the history gain is {mean} bits/spike on average, median {median}{how}."

    def to_dict(self) -> dict[str, Any]:
        """Give everything as ``summary.json`` holds it."""
        return {
            "mean": finite_or_none(self.mean),
            "median": finite_or_none(self.median),
            "mean_ci": list(self.mean_ci) if math.isfinite(self.mean_ci[0]) else None,
            "median_ci": list(self.median_ci) if math.isfinite(self.median_ci[0]) else None,
            "between_sd": finite_or_none(self.between_sd),
            "n_units": self.n_units,
            "sentence": self.sentence,
        }


def history_errors(evidence: Sequence[UnitEvidence], over: Sequence[str]) -> tuple[np.ndarray, np.ndarray]:
    """Give every unit's history gain and what each trial contributes to its error.

    Parameters
    ----------
    evidence : sequence of UnitEvidence
        Units with at least one held-out spike each, from the same trials.
    over : sequence of str
        Control that each unit's gain is measured against.

    Returns
    -------
    gains : ndarray of float64, shape (n_units,)
    errors : ndarray of float64, shape (n_units, n_trials)
        As `gain_errors` gives them.
    """
    rows = []
    for unit, control in zip(evidence, over, strict=True):
        bits = (unit.log_likelihood["history"] - unit.log_likelihood[control]).mean(axis=0) / LN2
        rows.append(gain_errors(bits, unit.n_spikes))
    return np.array([value for value, _ in rows]), np.array([errors for _, errors in rows])


def population_gain(
    gains: np.ndarray, errors: np.ndarray, *, inflation: float, seed: int, n_resamples: int = _RESAMPLES
) -> PopulationGain:
    """Estimate mean and median of the gain over a population of units, by a bootstrap over units and trials.

    Units are drawn with replacement, and so are trials, the same for all units, because what disturbs a trial disturbs
    them together.

    Parameters
    ----------
    gains : ndarray of float, shape (n_units,)
        Measured gains in bits per spike, without NaN.
    errors : ndarray of float, shape (n_units, n_trials)
        What each trial contributes to the error of each gain; every row has the mean 0.
    inflation : float
        Factor on the standard errors for training sets that share trials.
    seed : int
        The user's seed.
    n_resamples : int
        Resamples.

    Returns
    -------
    PopulationGain

    Raises
    ------
    OptionError
        If `n_resamples` is not positive.

    Notes
    -----
    Drawing measured gains and trials both with replacement counts a trial's noise up to three times (Owen 2007,
    doi:10.1214/07-AOAS122), as measured gains hold it already. So the units' gains are first drawn together until their
    variance is that of the true gains, by analysis of variance (Davison and Hinkley 1997, section 3.8). Deviations are
    widened so that the percentiles of a mean of few units or trials are Student's (compare Hesterberg 2015,
    doi:10.1080/00031305.2015.1089789). The median is that of measured gains: where gains are skewed, noise draws it
    towards their mean.
    """
    check_count("n_resamples", n_resamples)
    n_units = len(gains)
    if n_units == 0:
        nothing = (math.nan, math.nan)
        return PopulationGain(
            mean=math.nan, median=math.nan, mean_ci=nothing, median_ci=nothing, between_sd=math.nan, n_units=0
        )
    between = _between_variance(gains, errors, inflation)
    mean_ci = median_ci = (math.nan, math.nan)
    if n_units >= MIN_UNITS:
        observed = float(np.var(gains, ddof=1))
        share = math.sqrt(between / observed) if observed > 0.0 else 0.0
        spread = (gains - gains.mean()) * share * _widening(n_units)
        n_trials = errors.shape[1]
        noise = errors.T * (inflation * _widening(n_trials) / n_trials)
        means, medians = _resample(gains.mean() + spread, noise, stream(seed, "population"), n_resamples)
        mean_ci, median_ci = (tuple(map(float, np.quantile(each, _TAILS))) for each in (means, medians))
    return PopulationGain(
        mean=float(np.mean(gains)), median=float(np.median(gains)), mean_ci=mean_ci, median_ci=median_ci,
        between_sd=math.sqrt(between), n_units=n_units,
    )  # fmt: skip


def _between_variance(gains: np.ndarray, errors: np.ndarray, inflation: float) -> float:
    """Give the variance of the units' true gains: that of the measured ones less the noise that sets units apart."""
    n_units, n_trials = errors.shape
    if n_units < 2 or n_trials < 2:
        return math.nan
    per_trial = inflation**2 / n_trials
    own = per_trial * errors.var(axis=1, ddof=1).mean()
    shared = per_trial * errors.mean(axis=0).var(ddof=1)
    # The noise of the mean of all units moves them together and sets none apart.
    apart = n_units * (own - shared) / (n_units - 1)
    return max(float(np.var(gains, ddof=1) - apart), 0.0)


def _widening(n: int) -> float:
    """Give what makes the percentiles of a mean of n resampled values Student's."""
    return float(stats.t.ppf(_TAILS[1], n - 1) / stats.norm.ppf(_TAILS[1])) * math.sqrt(n / (n - 1))


def _resample(
    true_gains: np.ndarray, noise: np.ndarray, rng: np.random.Generator, n_resamples: int
) -> tuple[np.ndarray, np.ndarray]:
    """Draw units and, for the noise on each place, trials; give mean and median of every resample."""
    n_trials, n_units = noise.shape
    means, medians = np.empty(n_resamples), np.empty(n_resamples)
    even = np.full(n_trials, 1.0 / n_trials)
    for first in range(0, n_resamples, _RESAMPLES_AT_ONCE):
        part = slice(first, min(first + _RESAMPLES_AT_ONCE, n_resamples))
        n = part.stop - part.start
        drawn = true_gains[rng.integers(n_units, size=(n, n_units))]
        # Noise stays with the place and is not drawn with the unit: a unit drawn twice would count its noise twice.
        drawn += rng.multinomial(n_trials, even, size=n) @ noise
        means[part] = drawn.mean(axis=1)
        medians[part] = np.median(drawn, axis=1)
    return means, medians
