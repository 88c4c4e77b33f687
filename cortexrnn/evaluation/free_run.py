"""Whether a fitted model can fire like the unit: copies of the trials on its own spikes, held against the data."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import xarray as xr

from cortexrnn._checks import check_positive
from cortexrnn.encoding import spike_statistics as stats
from cortexrnn.encoding.arrays import UnitTrials
from cortexrnn.encoding.divergence import find_divergent, shortest_interval
from cortexrnn.encoding.likelihood import LIKELIHOODS, likelihood_code
from cortexrnn.encoding.model import Fitted, as_unit_trials
from cortexrnn.encoding.simulation import Copies, simulate_copies
from cortexrnn.errors import DataError
from cortexrnn.evaluation.free_scores import SCORES, Scorer
from cortexrnn.evaluation.scores import finite_or_none
from cortexrnn.evaluation.spike_profile import Profile, Profiler, summarise_copies
from cortexrnn.report.figure_file import own_axes
from cortexrnn.report.free_run import plot_intervals

if TYPE_CHECKING:
    from matplotlib.axes import Axes

STATISTICS = ("rate_hz", "fano", "cv", "cv2", "lv", "refractory_mass", "psth_r2")
TEACHER_FORCED, FREE_RUNNING = "teacher-forced", "free-running"


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class FreeRun:
    """A model's own spikes beside the unit's.

    Attributes
    ----------
    data : xarray.Dataset
        ``observed``, ``simulated`` (mean over copies), ``low`` and ``high`` (95 % of copies) over statistic;
        ``score`` over (mode, score_name); ``psth_hz_*`` over (condition, time), ``isi_*`` (shares) over interval,
        ``autocorrelation_hz_*`` over lag and ``fano_*`` over window, each ``_observed``, ``_simulated``, ``_low``
        and ``_high``; spikes of the trials and of the first copy as ``observed_trial``, ``observed_time_s``,
        ``simulated_trial``, ``simulated_time_s``. Times in seconds.
    divergence_rate : float
        Share of the simulated trials that ran away: above three times the highest rate of any recorded trial, or
        pinned for 0.1 s, or 20 dead times if that is longer, at nearly the rate that the dead time allows.
    pinned_rate : float
        Share of the simulated trials that were pinned.
    dead_time_s : float
        Dead time by which a trial is called pinned.
    n_copies, n_trials : int
    """

    data: xr.Dataset
    divergence_rate: float
    pinned_rate: float
    dead_time_s: float
    n_copies: int
    n_trials: int

    @property
    def departures(self) -> tuple[str, ...]:
        """Names of the statistics in which the data lie outside 95 % of the copies; of a true model each is in 5 %."""
        outside = (self.data["observed"] < self.data["low"]) | (self.data["observed"] > self.data["high"])
        return tuple(str(name) for name in self.data["statistic"].values[outside.values])

    @property
    def is_stable(self) -> bool:
        """Whether no simulated trial ran away."""
        return self.divergence_rate == 0.0

    @property
    def sentence(self) -> str:
        """What came out, in words."""
        n = self.n_copies * self.n_trials
        if self.is_stable:
            start = f"Running freely, none of {n} simulated trials ran away"
        else:
            start = f"Running freely, {100.0 * self.divergence_rate:.2g} % of {n} simulated trials ran away"
        if self.pinned_rate > 0.0:
            start += f" ({100.0 * self.pinned_rate:.2g} % pinned at {1.0 / self.dead_time_s:.0f} Hz)"
        if not self.departures:
            return f"{start}; the unit lies within 95 % of its copies in every statistic."
        return f"{start}; the unit lies outside 95 % of its copies in {', '.join(self.departures)}."

    def to_dict(self) -> dict[str, Any]:
        """Give numbers and words, ready for JSON; NaN as None."""
        data = self.data
        columns = ("observed", "simulated", "low", "high")
        scores = data["score"]
        return {
            "divergence_rate": self.divergence_rate,
            "pinned_rate": self.pinned_rate,
            "dead_time_s": self.dead_time_s,
            "n_copies": self.n_copies,
            "n_trials": self.n_trials,
            "statistics": {
                name: {column: finite_or_none(data[column].sel(statistic=name)) for column in columns}
                for name in STATISTICS
            },
            "scores": {
                mode: {name: finite_or_none(scores.sel(mode=mode, score_name=name)) for name in SCORES}
                for mode in (TEACHER_FORCED, FREE_RUNNING)
            },
            "departures": list(self.departures),
            "sentence": self.sentence,
        }

    def plot(self, ax: Axes | None = None) -> Axes:
        """Draw the intervals of the unit and of its copies; the other figures are in `cortexrnn.report.free_run`.

        Parameters
        ----------
        ax : matplotlib.axes.Axes, optional
            Where to draw; a figure of its own by default.

        Returns
        -------
        matplotlib.axes.Axes
        """
        return plot_intervals(own_axes() if ax is None else ax, self.data)


def free_run(
    fitted: Fitted,
    trials: UnitTrials | xr.Dataset,
    *,
    n_copies: int = 100,
    likelihood: str = "poisson",
    dead_time_s: float | None = None,
    seed: int = 0,
) -> FreeRun:
    """Let a model copy trials on its own spikes, and hold the copies against the trials.

    The likelihood of a model, and the tests on the rescaled clock, look one bin ahead on the unit's own spikes. A
    model can pass them all and still run away on its own spikes.

    Parameters
    ----------
    fitted : Fitted
        Any fitted rung.
    trials : xarray.Dataset of one unit, or UnitTrials
        Trials that it was not fitted to; burn-in spikes start every copy.
    n_copies : int
        Copies of every trial; their 95 % range needs at least 40.
    likelihood : {"poisson", "bernoulli"}
    dead_time_s : float, optional
        Absolute refractory period, whose inverse is the highest rate; by default the shortest interval of the trials.
    seed : int
        Seed of the copies.

    Returns
    -------
    FreeRun

    Raises
    ------
    OptionError
        If an argument is not valid.
    DataError
        If nothing is scored, or a bin holds several spikes under the Bernoulli likelihood.
    NumericalError
        If the model's prediction is NaN.

    Notes
    -----
    Divergence after Gerhard, Deger and Truccolo (2017), doi:10.1371/journal.pcbi.1005390. Scores: the log-likelihood
    of the model over a constant rate (teacher-forced: of the unit's spikes; free-running: of the copies'), and how
    well the trial-averaged rate, predicted on the unit's spikes or on the model's own, explains the trials.
    """
    data = as_unit_trials(trials)
    if not data.scored.any():
        raise DataError(f"none of the {data.n_trials} trials was observed in a scored bin.")
    likelihood_code(likelihood, data.counts)
    n_dead = shortest_interval(data) if dead_time_s is None else _whole_bins(dead_time_s, data.bin_s)
    copies = simulate_copies(fitted, data, n_copies=n_copies, likelihood=likelihood, seed=seed)
    return judge_copies(data, copies, fitted.log_mu(data), likelihood=likelihood, n_dead=n_dead)


def judge_copies(
    trials: UnitTrials, copies: Copies, log_mu: np.ndarray, *, likelihood: str = "poisson", n_dead: int = 1
) -> FreeRun:
    """Hold copies of trials that are there already against the trials.

    Parameters
    ----------
    trials : UnitTrials
        The recorded trials; some bin is scored.
    copies : Copies
        What one model, or several that are alike, made of them.
    log_mu : ndarray, shape (n_trials, n_bins)
        What the model predicts on the unit's own spikes.
    likelihood : {"poisson", "bernoulli"}
    n_dead : int
        Shortest possible interval in bins.

    Returns
    -------
    FreeRun
    """
    diverges, is_pinned = find_divergent(trials, copies, n_dead)
    profiler = Profiler(trials)
    observed, simulated = profiler.measure(trials.counts), [profiler.measure(counts) for counts in copies.counts]
    psth_hz = np.array([profile.psth_hz for profile in simulated])
    table = _statistics(trials, observed, simulated, psth_hz)
    scorer = Scorer(trials=trials, likelihood=LIKELIHOODS[likelihood], psth_hz=observed.psth_hz, n_box=profiler.n_box)
    scores = {
        TEACHER_FORCED: scorer.teacher_forced(log_mu),
        FREE_RUNNING: scorer.free_running(copies, psth_hz.mean(axis=0))
        | {name: float(table["simulated"].sel(statistic=name)) for name in ("rate_hz", "refractory_mass")},
    }
    score = xr.DataArray(
        [[scores[mode][name] for name in SCORES] for mode in scores],
        dims=("mode", "score_name"),
        coords={"mode": list(scores), "score_name": list(SCORES)},
    )
    curves = profiler.curves(observed, simulated)
    return FreeRun(
        data=xr.merge([table, score.to_dataset(name="score"), curves, _raster(trials, copies.counts[0])]),
        divergence_rate=float(diverges.mean()),
        pinned_rate=float(is_pinned.mean()),
        dead_time_s=n_dead * trials.bin_s,
        n_copies=copies.counts.shape[0],
        n_trials=trials.n_trials,
    )


def _statistics(
    trials: UnitTrials, observed: Profile, simulated: list[Profile], psth_hz: np.ndarray
) -> xr.Dataset:
    """Lay the data's numbers beside the copies'; every PSTH is scored by that of the other copies."""
    n_copies = psth_hz.shape[0]
    total = psth_hz.sum(axis=0)
    others = [(total - own) / (n_copies - 1) if n_copies > 1 else np.full_like(own, np.nan) for own in psth_hz]

    def numbers(profile: Profile, reference_hz: np.ndarray) -> list[float]:
        r2 = stats.psth_r2(profile.psth_hz, reference_hz) if trials.is_locked else math.nan
        return [profile.rate_hz, profile.fano[-1], profile.cv, profile.cv2, profile.lv, profile.refractory_mass, r2]

    copies = np.array([numbers(profile, reference) for profile, reference in zip(simulated, others, strict=True)])
    columns = {"observed": np.array(numbers(observed, total / n_copies))} | summarise_copies(copies)
    return xr.Dataset(
        {name: ("statistic", values) for name, values in columns.items()}, coords={"statistic": list(STATISTICS)}
    )


def _raster(trials: UnitTrials, copy: np.ndarray) -> xr.Dataset:
    """Give the scored spikes of the trials and of one copy; several in a bin count once."""
    variables = {}
    for name, counts in (("observed", trials.counts), ("simulated", copy)):
        trial, t = np.nonzero(np.where(trials.scored, counts, 0))
        variables[f"{name}_trial"] = (f"{name}_spike", trial)
        variables[f"{name}_time_s"] = (f"{name}_spike", t * trials.bin_s)
    return xr.Dataset(variables)


def _whole_bins(dead_time_s: float, bin_s: float) -> int:
    """Give a dead time in bins, at least one."""
    return max(1, round(check_positive("dead_time_s", dead_time_s) / bin_s))
