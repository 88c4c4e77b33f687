"""Whether the spikes could have come from a model: tests on the clock of its own intensity (Ogata 1988)."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import xarray as xr
from scipy.special import kolmogorov, ndtri
from scipy.stats import chi2, norm

from cortexrnn.encoding.arrays import UnitTrials
from cortexrnn.evaluation.rescaling import (
    KS_LIMIT,
    N_RANDOMISATIONS,
    Rescaled,
    detectable_dead_time,
    ks_distance,
    rescale,
)
from cortexrnn.evaluation.scores import finite_or_none
from cortexrnn.report.figure_file import own_axes
from cortexrnn.report.goodness import plot_goodness

if TYPE_CHECKING:
    from matplotlib.axes import Axes

CONSISTENT = "consistent with the model"
DEPARTS = "departs from the model"
UNDERPOWERED = "underpowered"

MIN_SPIKES = 50
DISPERSION_WINDOWS = (2, 5, 10)
_NORMAL_LIMIT = 1.96
# The other five checks share 5 %.
_SMALLEST_P = 0.01
_CURVE_POINTS = 400


class Check(NamedTuple):
    """One test.

    Attributes
    ----------
    value : float
        Median over the randomisations; NaN where there are too few spikes.
    low, high : float
        Where it lies in 95 % of cases if the model is right.
    p_value : float
        Of `value`.
    """

    value: float
    low: float
    high: float
    p_value: float

    @property
    def is_inside(self) -> bool:
        """Whether the value lies within the 95 % limits; NaN does not."""
        return self.low <= self.value <= self.high


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class GoodnessOfFit:
    """How well a model's spikes and a unit's agree on the rescaled clock.

    Attributes
    ----------
    n_spikes : int
        Scored spikes.
    distance : Check
        Kolmogorov-Smirnov distance of the intervals from the exponential law, both sides of every step.
    distance_range : tuple of float
        Smallest and largest distance over the 20 randomisations.
    times : Check
        The same distance of the glued spike times from the uniform law: a rate that drifts away from the model.
    lag_correlation : Check
        Correlation of successive intervals, made normal.
    dispersion : dict of int to Check
        Variance over mean of the counts in windows of 2, 5 and 10 expected spikes; 1 if the model is right.
    detectable_dead_time_s : dict of str to float
        Shortest dead time that a model without one would be caught at with as many spikes: by the distance
        (``"ks"``) and by a likelihood ratio at a power of 80 % (``"likelihood_ratio"``); infinite where none would.
    curve : xarray.Dataset
        What the figure draws.
    """

    n_spikes: int
    distance: Check
    distance_range: tuple[float, float]
    times: Check
    lag_correlation: Check
    dispersion: dict[int, Check]
    detectable_dead_time_s: dict[str, float]
    curve: xr.Dataset

    @property
    def checks(self) -> dict[str, Check]:
        """All six checks by name."""
        windows = {f"dispersion, windows of {width}": check for width, check in self.dispersion.items()}
        return {
            "interval distribution": self.distance,
            "spike times": self.times,
            "lag-1 correlation": self.lag_correlation,
        } | windows

    @property
    def departures(self) -> tuple[str, ...]:
        """Names of the checks that speak against the model: the intervals at 5 %, each of the others at 1 %."""
        found = [] if self.distance.is_inside or not self.n_spikes else ["interval distribution"]
        others = list(self.checks.items())[1:]
        return (*found, *(name for name, check in others if check.p_value < _SMALLEST_P))

    @property
    def verdict(self) -> str:
        """One of "underpowered" (fewer than 50 spikes), "departs from the model", "consistent with the model"."""
        if self.n_spikes < MIN_SPIKES:
            return UNDERPOWERED
        return DEPARTS if self.departures else CONSISTENT

    @property
    def sentence(self) -> str:
        """Verdict and numbers in words."""
        start = f"Time rescaling of {self.n_spikes} spikes: {self.verdict}"
        if self.n_spikes:
            start += f", KS distance {self.distance.value:.3f} (limit {self.distance.high:.3f})"
        if self.departures:
            start += f"; departs in {', '.join(self.departures)}"
        return f"{start}. {self._power}"

    @property
    def _power(self) -> str:
        """What could have been seen with as many spikes."""
        shown = {
            name: f"{1e3 * value:.1f} ms" if math.isfinite(value) else "none"
            for name, value in self.detectable_dead_time_s.items()
        }
        ratio, distance = shown["likelihood_ratio"], shown["ks"]
        return f"Smallest detectable dead time: {distance} by the distance, {ratio} by a likelihood ratio."

    def to_dict(self) -> dict[str, Any]:
        """Give numbers and words, ready for JSON: checks as lists of value, low, high, p; NaN as None."""
        return {
            "n_spikes": self.n_spikes,
            "verdict": self.verdict,
            "departures": list(self.departures),
            "distance_range": [finite_or_none(value) for value in self.distance_range],
            "checks": {name: [finite_or_none(value) for value in check] for name, check in self.checks.items()},
            "detectable_dead_time_s": {
                key: finite_or_none(value) for key, value in self.detectable_dead_time_s.items()
            },
            "sentence": self.sentence,
        }

    def plot(self, ax: Axes | None = None) -> Axes:
        """Draw the rescaled intervals against the law that they should have, with its 95 % band.

        Parameters
        ----------
        ax : matplotlib.axes.Axes, optional
            Where to draw; a figure of its own by default.

        Returns
        -------
        matplotlib.axes.Axes
        """
        return plot_goodness(own_axes() if ax is None else ax, self.curve)


def goodness_of_fit(
    trials: UnitTrials | xr.Dataset, log_mu: np.ndarray, *, likelihood: str = "poisson", seed: int = 0
) -> GoodnessOfFit:
    """Test a model on the rescaled clock: intervals, times, memory and dispersion (Ogata 1988).

    Use trials that the model was not fitted to: on its own training trials a model looks better than it is.

    Parameters
    ----------
    trials : xarray.Dataset of one unit, or UnitTrials
    log_mu : ndarray, shape (n_trials, n_bins)
        Log of the model's expected count (Poisson) or integrated intensity (Bernoulli) of every bin, given the past.
    likelihood : {"poisson", "bernoulli"}
    seed : int
        Seed of the 20 randomisations.

    Returns
    -------
    GoodnessOfFit
        With fewer than 50 spikes its verdict is "underpowered", without any its numbers are NaN.

    Raises
    ------
    DataError
        If `log_mu` does not fit the trials (see `rescale`).
    OptionError
        If the likelihood is unknown.

    Notes
    -----
    Ogata (1988), doi:10.1080/01621459.1988.10478560. Every value is the median over 20 randomisations. Times are
    taken relative to the last spike, so that the number of spikes is given and the rest are uniform order
    statistics.
    """
    return judge_rescaled(rescale(trials, log_mu, likelihood=likelihood, seed=seed))


def judge_rescaled(rescaled: Rescaled) -> GoodnessOfFit:
    """Test rescaled intervals, as `goodness_of_fit` does.

    Parameters
    ----------
    rescaled : Rescaled

    Returns
    -------
    GoodnessOfFit
    """
    n_spikes = rescaled.n_spikes
    uniforms = np.sort(rescaled.uniforms, axis=1)
    distances = ks_distance(uniforms)
    times = np.cumsum(rescaled.intervals, axis=1)
    inner = times[:, :-1] / times[:, -1:] if n_spikes > 1 else times[:, :0]
    return GoodnessOfFit(
        n_spikes=n_spikes,
        distance=_distance_check(distances, n_spikes),
        distance_range=(float(distances.min()), float(distances.max())),
        times=_distance_check(ks_distance(inner), inner.shape[1]),
        lag_correlation=_lag_check(rescaled.uniforms),
        dispersion={width: _dispersion_check(times, width) for width in DISPERSION_WINDOWS},
        detectable_dead_time_s=detectable_dead_time(n_spikes, rescaled.rate_hz),
        curve=_curve(uniforms[np.argsort(distances)[N_RANDOMISATIONS // 2]]),
    )


def _distance_check(distances: np.ndarray, n: int) -> Check:
    """Judge distances of n values from the law by their median."""
    value = float(np.median(distances))
    if n == 0:
        return Check(value, 0.0, math.nan, math.nan)
    return Check(value, 0.0, KS_LIMIT / math.sqrt(n), float(kolmogorov(math.sqrt(n) * value)))


def _lag_check(uniforms: np.ndarray) -> Check:
    """Judge the correlation of each interval with the next."""
    n = uniforms.shape[1]
    if n < 3:
        return Check(math.nan, math.nan, math.nan, math.nan)
    # An interval that the model calls impossible would be infinite as a normal variable.
    normal = ndtri(np.clip(uniforms, 1e-12, 1.0 - 1e-12))
    before, after = normal[:, :-1], normal[:, 1:]
    before = before - before.mean(axis=1, keepdims=True)
    after = after - after.mean(axis=1, keepdims=True)
    power = np.sqrt((before**2).sum(axis=1) * (after**2).sum(axis=1))
    with np.errstate(invalid="ignore"):
        value = float(np.median((before * after).sum(axis=1) / power))
    limit = _NORMAL_LIMIT / math.sqrt(n)
    return Check(value, -limit, limit, float(2.0 * norm.sf(math.sqrt(n) * abs(value))))


def _dispersion_check(times: np.ndarray, width: int) -> Check:
    """Judge variance over mean of the counts in windows of `width` expected spikes."""
    n_windows = int(times[:, -1].min() // width) if times.shape[1] else 0
    if n_windows < 2:
        return Check(math.nan, math.nan, math.nan, math.nan)
    edges = width * np.arange(n_windows + 1)
    counts = np.array([np.diff(np.searchsorted(row, edges)) for row in times])
    mean = counts.mean(axis=1)
    with np.errstate(invalid="ignore"):
        value = float(np.median(counts.var(axis=1, ddof=1) / mean))
    freedom = n_windows - 1
    tail = float(chi2.sf(freedom * value, freedom))
    limits = chi2.ppf((0.025, 0.975), freedom) / freedom
    return Check(value, float(limits[0]), float(limits[1]), 2.0 * min(tail, 1.0 - tail))


def _curve(uniforms: np.ndarray) -> xr.Dataset:
    """Give sorted values and what they should be, thinned to what a figure can show."""
    n = uniforms.size
    kept = np.unique(np.linspace(0, n - 1, min(n, _CURVE_POINTS)).astype(np.int64))
    return xr.Dataset(
        {"model": ("point", (kept + 0.5) / max(n, 1)), "observed": ("point", uniforms[kept])},
        attrs={"n_spikes": n, "limit": KS_LIMIT / math.sqrt(n) if n else math.nan},
    )
