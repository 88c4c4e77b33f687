"""S1: what a stimulus, an event or any other covariate of now and of the last moments says of the rate."""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, NamedTuple

import numpy as np
import xarray as xr

from cortexrnn._checks import check_count, check_window
from cortexrnn.encoding.arrays import UnitTrials
from cortexrnn.encoding.constant import Constant
from cortexrnn.encoding.likelihood import likelihood_code
from cortexrnn.encoding.model import Fitted, Rung
from cortexrnn.encoding.newton import CHOICE_NATS, ridge_path, ridge_precision
from cortexrnn.encoding.stimulus_design import (
    CovariateFilter,
    StimulusProblem,
    covariate_columns,
    lag_basis,
    make_filter,
    weights_of,
)
from cortexrnn.errors import DataError, NumericalWarning, OptionError
from cortexrnn.spikes.folds import validation_split

if TYPE_CHECKING:
    from matplotlib.axes import Axes



@dataclass(frozen=True, kw_only=True, slots=True)
class Stimulus(Rung):
    """log mu = b + log baseline + sum over covariates of a filter made of `lag_basis`.

    Covariates are z-scored on the scored bins of the training trials. A bin in which one is not known, or that lies
    before the first or after the last bin of the trial, counts as its mean, so burn-in should be as long as the longest
    lag. A covariate that is the same in all bins of every training trial gets one weight, because its lags cannot be
    told apart. Columns of the regression are scaled to unit size, so that a ridge means the same for all covariates.

    The baseline is the rate that does not depend on the covariates; where the same stimulus is repeated in every trial,
    a PSTH as baseline leaves it nothing to explain.

    Attributes
    ----------
    lags_s : tuple of float
        First and last lag of the filters in seconds, both included; a covariate may act on its own bin. A negative one
        lets a covariate act before its time, as that of a movement may: covariates are given, so nothing leaks.
    n_basis : tuple of int
        Numbers of functions that a filter is made of, to choose from; a filter with no more lags than that has a weight
        for each. Their spacing is what a filter can resolve: a unit that follows a sound to the millisecond needs a
        window of some tens of milliseconds, and what the filters miss looks like history.
    ridges : tuple of float
        Precisions of the Gaussian prior on the weights, to choose from. Both choices are made by the validation fifth
        of the training trials.
    likelihood : {"poisson", "bernoulli"}
        Observation model that is maximised.
    tolerance_nats : float
        Newton's method stops when one more step would gain less than this.

    Raises
    ------
    OptionError
        If the lags are no window, or `n_basis` or `ridges` is empty or holds an impossible number.
    """

    name: ClassVar[str] = "S1"
    meaning: ClassVar[str] = "stimulus filters"
    baseline: Rung | None = Constant()
    lags_s: tuple[float, float] = (0.0, 0.3)
    n_basis: tuple[int, ...] = (10, 30)
    ridges: tuple[float, ...] = (0.3, 3.0, 30.0, 300.0, 3000.0)
    likelihood: str = "poisson"
    tolerance_nats: float = 1e-6

    def __post_init__(self) -> None:
        """Check window and basis."""
        check_window("lags_s", self.lags_s)
        for n_basis in self.n_basis:
            check_count("n_basis", n_basis)
        if not self.n_basis or not self.ridges or not all(0.0 <= ridge < np.inf for ridge in self.ridges):
            raise OptionError(
                f"n_basis={self.n_basis} and ridges={self.ridges}: expected at least one of each, ridges of 0 or more."
            )

    def fit_on(self, trials: UnitTrials, below: Fitted | None, log_mu: np.ndarray) -> FittedStimulus:
        """Choose basis and ridge on the validation trials, then fit to all training trials.

        Raises
        ------
        DataError
            If the trials hold no covariates, or counts that the likelihood does not allow.

        Warns
        -----
        NumericalWarning
            If Newton's method stopped short.
        """
        is_validation = validation_split(trials.condition)
        best = None
        for lags, basis in self._bases(trials.bin_s):
            parts = tuple(make_filter(values, trials, lags, basis) for values in covariate_columns(trials))
            problem = StimulusProblem(
                trials, np.ascontiguousarray(log_mu), parts, likelihood_code(self.likelihood, trials.counts)
            )
            found = self._choose(problem, is_validation)
            if best is None or found.score > best.score:
                best = found
        problem, everyone = best.problem, np.ones(trials.n_trials, dtype=bool)
        optimum = problem.maximise(everyone, best.start, best.ridge, self.tolerance_nats)
        if not optimum.is_converged:
            warnings.warn(
                f"the stimulus filters stopped with an expected gain of {optimum.decrement:.2g} nats left "
                f"(wanted {self.tolerance_nats:.2g}); a stronger ridge makes them converge.",
                NumericalWarning,
                stacklevel=2,
            )
        effect = problem.effect(optimum.weights, everyone)[trials.scored]
        return FittedStimulus(
            below=below,
            bin_s=trials.bin_s,
            names=trials.covariate_names,
            parts=problem.parts,
            weights=problem.scale * optimum.weights,
            covariance=problem.scale[:, None] * optimum.covariance * problem.scale,
            ridge=best.ridge,
            effect_range=(float(effect.min()), float(effect.max())) if effect.size else (0.0, 0.0),
            is_converged=optimum.is_converged,
        )

    def _bases(self, bin_s: float) -> list[tuple[np.ndarray, np.ndarray]]:
        """Give lags and functions of every basis to choose from, none twice."""
        bases = [lag_basis(self.lags_s, bin_s, n_basis) for n_basis in self.n_basis]
        return list({basis.shape: (lags, basis) for lags, basis in bases}.values())

    def _choose(self, problem: StimulusProblem, is_validation: np.ndarray) -> _Choice:
        """Give the ridge of the best score on the validation trials, and weights to start from.

        Only the weakest ridge is fitted; one Newton step from there, with its Hessian, gives the others.
        """
        weakest = min(self.ridges)
        start = problem.approach(~is_validation, weakest)
        optimum = problem.maximise(~is_validation, start, weakest, CHOICE_NATS)
        curvature = np.linalg.inv(optimum.covariance) - np.diag(ridge_precision(start.size, weakest))
        best = _Choice(problem, optimum.weights, weakest, -np.inf)
        for ridge, weights in ridge_path(optimum.weights, curvature, self.ridges):
            score = problem.log_likelihood(weights, is_validation)
            if score > best.score:
                best = _Choice(problem, weights, ridge, score)
        return best


class _Choice(NamedTuple):
    """A ridge chosen for a regression: weights to start from, and the score on the validation trials in nats."""

    problem: StimulusProblem
    start: np.ndarray
    ridge: float
    score: float


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class FittedStimulus(Fitted):
    """Fitted stimulus filters.

    There is no leave-one-out version of it as there is of a PSTH, in which a trial's spikes stand where they were
    fired: here they only move weights that all trials share. With 51 weights and 180 spikes in 20 trials a history GLM
    that learned on the filters of the other trials differed by (0.5 +- 0.6) 1e-3 bits/spike on held-out trials.

    Attributes
    ----------
    names : tuple of str
        The covariates.
    parts : tuple of CovariateFilter
        How each becomes columns.
    weights, covariance : ndarray
        Intercept and filter weights for z-scored covariates, and their posterior covariance.
    ridge : float
        Chosen precision of the prior.
    effect_range : tuple of float
        Smallest and largest log effect met in training, at which prediction stops: a log-linear filter of a stimulus
        stronger than any before would otherwise run away.
    is_converged : bool
    """

    looks_at_spikes: ClassVar[bool] = False
    below: Fitted | None
    bin_s: float
    names: tuple[str, ...]
    parts: tuple[CovariateFilter, ...]
    weights: np.ndarray
    covariance: np.ndarray
    ridge: float
    effect_range: tuple[float, float]
    is_converged: bool

    def extend(self, trials: UnitTrials, log_mu: np.ndarray) -> np.ndarray:
        """Add intercept and filtered covariates, within the range met in training.

        Raises
        ------
        DataError
            If the trials do not hold the covariates of the training trials.
        """
        columns = covariate_columns(trials)
        if len(columns) != len(self.parts) or trials.covariate_names != self.names:
            raise DataError(
                f"trials holds the covariates {', '.join(trials.covariate_names) or len(columns)}; the filters were "
                f"fitted to {', '.join(self.names) or len(self.parts)}."
            )
        effect = np.full(log_mu.shape, self.weights[0])
        for part, values, chosen in zip(self.parts, columns, weights_of(self.parts), strict=True):
            effect += part.convolve(values, (self.weights[chosen] @ part.basis)[None])[:, 0]
        return log_mu + np.clip(effect, *self.effect_range)

    def filters(self) -> xr.Dataset:
        """Give the filter of every covariate.

        Returns
        -------
        xarray.Dataset
            Over (covariate, lag), with the lag in seconds: `filter`, by how much one unit of the covariate in one bin
            changes the log of the rate a lag later, and its standard error `filter_se`; NaN for a covariate that is
            constant in a trial. Over covariate: `summed`, the change by a unit that lasts, which is the sum over lags
            or the one weight, with `summed_se`; `center` and `scale`, mean and standard deviation in training.

        Notes
        -----
        Errors are those of the posterior. Around a filter 1.96 of them hold the truth at .96 of the lags under a weak
        ridge, and at .90 where one is chosen among five by 30 trials, because a strong one flattens peaks.
        """
        lags = next((part.lags for part in self.parts if not part.is_constant), np.zeros(0, dtype=np.int64))
        n = len(self.parts)
        effect, error = np.full((n, lags.size), np.nan), np.full((n, lags.size), np.nan)
        summed, summed_error = np.empty(n), np.empty(n)
        for k, (part, chosen) in enumerate(zip(self.parts, weights_of(self.parts), strict=True)):
            rows, spread = part.basis / part.scale, self.covariance[chosen, chosen]
            total = rows.sum(axis=1)
            summed[k], summed_error[k] = self.weights[chosen] @ total, np.sqrt(total @ spread @ total)
            if not part.is_constant:
                effect[k] = self.weights[chosen] @ rows
                error[k] = np.sqrt(np.einsum("kl,km,ml->l", rows, spread, rows))
        by_lag = ("covariate", "lag")
        return xr.Dataset(
            {
                "filter": (by_lag, effect),
                "filter_se": (by_lag, error),
                "summed": ("covariate", summed),
                "summed_se": ("covariate", summed_error),
                "center": ("covariate", np.array([part.center for part in self.parts])),
                "scale": ("covariate", np.array([part.scale for part in self.parts])),
            },
            coords={
                "covariate": list(self.names) or [f"covariate {k}" for k in range(n)],
                "lag": ("lag", lags * self.bin_s, {"units": "s"}),
            },
            attrs={"bin_s": self.bin_s},
        )

    def plot(self, ax: Axes | None = None) -> Axes:
        """Draw the filters of all covariates, each for one standard deviation of its own.

        Parameters
        ----------
        ax : matplotlib.axes.Axes, optional
            Where to draw; a figure of its own by default.

        Returns
        -------
        matplotlib.axes.Axes
        """
        from cortexrnn.report.figure_file import own_axes
        from cortexrnn.report.stimulus import plot_stimulus_filters

        return plot_stimulus_filters(own_axes() if ax is None else ax, self.filters())
