"""Models that tell some units' rates from other units' spikes at all times: past, present and future.

They are no rungs: what looks ahead cannot be held against models that predict a bin from its past. What they are good
for is co-smoothing, `cortexrnn.evaluation.co_smoothing`.
"""

from __future__ import annotations

import abc
from dataclasses import dataclass
from typing import Any, ClassVar, NamedTuple

import numpy as np
import scipy.ndimage

from cortexrnn._checks import check_positive
from cortexrnn.encoding.block_kernels import design_pass
from cortexrnn.encoding.likelihood import POISSON
from cortexrnn.encoding.newton import maximise, ridge_precision
from cortexrnn.errors import OptionError
from cortexrnn.spikes.folds import validation_split

_TRUNCATE_SD = 4.0
_TOLERANCE_NATS = 1e-4


class GroupedCounts(NamedTuple):
    """Trials of units in two groups.

    Attributes
    ----------
    held_in : ndarray of int, shape (n_trials, n_bins, n_in)
        Spikes of the units that are seen.
    held_out : ndarray of int, shape (n_trials, n_bins, n_out)
        Spikes of the units that are to be told.
    observed, scored : ndarray of bool, shape (n_trials, n_bins)
        Bins in which all units were observed, and those among them that count.
    condition : ndarray of int64, shape (n_trials,)
    bin_s : float
    """

    held_in: np.ndarray
    held_out: np.ndarray
    observed: np.ndarray
    scored: np.ndarray
    condition: np.ndarray
    bin_s: float

    def take(self, trials: np.ndarray) -> GroupedCounts:
        """Keep the trials with these indices (or this mask)."""
        return self._replace(
            held_in=self.held_in[trials],
            held_out=self.held_out[trials],
            observed=self.observed[trials],
            scored=self.scored[trials],
            condition=self.condition[trials],
        )

    def hidden(self) -> GroupedCounts:
        """Give the same without a spike of the units that are to be told."""
        return self._replace(held_out=np.zeros_like(self.held_out))

    @property
    def mean_counts(self) -> np.ndarray:
        """Mean counts of the units that are to be told, as `mean_count` has them; shape (n_out,)."""
        spikes = self.held_out[self.scored].sum(axis=0)
        return (spikes + 0.5) / max(int(self.scored.sum()), 1)


class Smoother(abc.ABC):
    """The spec of a smoother; subclasses are frozen dataclasses."""

    __slots__ = ()
    is_causal: ClassVar[bool] = False
    name: ClassVar[str]

    @abc.abstractmethod
    def fit(self, data: GroupedCounts) -> FittedSmoother:
        """Fit to training trials."""


class FittedSmoother(abc.ABC):
    """A fitted smoother."""

    __slots__ = ()
    is_causal: ClassVar[bool] = False

    @abc.abstractmethod
    def predict(self, data: GroupedCounts) -> np.ndarray:
        """Give the expected counts of the units that are to be told, (n_trials, n_bins, n_out), all positive."""

    def score(self, trials: Any) -> float:
        """Refuse: a likelihood of a bin given later bins is no score of a prediction.

        Raises
        ------
        OptionError
        """
        raise OptionError(
            f"{type(self).__name__} sees later bins and has no one-step score.", hint="Use co_smoothing(model, trials)."
        )


@dataclass(frozen=True, kw_only=True, slots=True)
class PoissonSmoother(Smoother):
    """Poisson regression of every held-out unit on the held-in units' counts, as they are and smoothed both ways.

    Attributes
    ----------
    widths_s : tuple of float
        Standard deviations of the Gaussian kernels in seconds; 0 is the bin itself.
    ridges : tuple of float
        Precisions of the prior on the weights of columns of unit variance, to choose from, for every unit, by the
        validation fifth of the training trials.

    Raises
    ------
    OptionError
        If a value is not valid.
    """

    name: ClassVar[str] = "Poisson regression"
    widths_s: tuple[float, ...] = (0.0, 0.02, 0.1)
    ridges: tuple[float, ...] = (1.0, 10.0, 100.0, 1000.0)

    def __post_init__(self) -> None:
        """Check every field."""
        for width_s in self.widths_s:
            if width_s != 0.0:
                check_positive("widths_s", width_s)
        for ridge in self.ridges:
            check_positive("ridges", ridge)
        if not self.widths_s or not self.ridges:
            raise OptionError("widths_s and ridges are to choose from; expected at least one of each.")

    def fit(self, data: GroupedCounts) -> FittedPoissonSmoother:
        """Choose every unit's ridge on the validation trials, then fit it to all training trials.

        Parameters
        ----------
        data : GroupedCounts

        Returns
        -------
        FittedPoissonSmoother
        """
        raw = smoothed_columns(data, self.widths_s)
        rows = raw[data.scored]
        center, spread = rows.mean(axis=0), rows.std(axis=0)
        scale = np.where(spread > 0.0, spread, 1.0)
        design = np.column_stack([np.ones(len(rows)), (rows - center) / scale])
        is_validation = np.broadcast_to(validation_split(data.condition)[:, None], data.scored.shape)[data.scored]
        counts, means = data.held_out[data.scored].astype(float), data.mean_counts
        fits = [self._fit_unit(design, counts[:, u], means[u], is_validation) for u in range(counts.shape[1])]
        weights = np.stack([weights for weights, _ in fits], axis=1)
        return FittedPoissonSmoother(
            spec=self,
            center=center,
            scale=scale,
            weights=weights,
            means=means,
            ceiling=(design @ weights).max(axis=0, initial=0.0),
            ridges=np.array([ridge for _, ridge in fits]),
        )

    def _fit_unit(
        self, design: np.ndarray, counts: np.ndarray, mean: float, is_validation: np.ndarray
    ) -> tuple[np.ndarray, float]:
        """Give weights and ridge of one unit; a unit without spikes keeps its mean."""
        kept = ~is_validation
        if not counts[kept].any() or not is_validation.any():
            return np.zeros(design.shape[1]), max(self.ridges)
        training, test = (np.ascontiguousarray(design[part]) for part in (kept, is_validation))
        weights, scores = np.zeros(design.shape[1]), {}
        # From the strongest on: each is a good start for the next.
        for ridge in sorted(self.ridges, reverse=True):
            weights = _climb(training, counts[kept], mean, ridge, weights)
            eta = np.minimum(test @ weights, (training @ weights).max())
            scores[ridge] = float((counts[is_validation] * eta - mean * np.exp(eta)).sum())
        ridge = max(scores, key=scores.get)
        return _climb(design, counts, mean, ridge, weights), ridge


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class FittedPoissonSmoother(FittedSmoother):
    """Fitted regressions.

    Attributes
    ----------
    spec : PoissonSmoother
    center, scale : ndarray, shape (n_columns,)
        Standardisation of the columns.
    weights : ndarray, shape (1 + n_columns, n_out)
        Intercept, around the log of the mean, and weights of the standardised columns.
    means : ndarray, shape (n_out,)
        Mean counts of the training bins.
    ceiling : ndarray, shape (n_out,)
        Largest log effect met in training, at which prediction stops.
    ridges : ndarray, shape (n_out,)
        Chosen precisions.
    """

    spec: PoissonSmoother
    center: np.ndarray
    scale: np.ndarray
    weights: np.ndarray
    means: np.ndarray
    ceiling: np.ndarray
    ridges: np.ndarray

    def predict(self, data: GroupedCounts) -> np.ndarray:
        """Give the expected counts of every bin."""
        design = (smoothed_columns(data, self.spec.widths_s) - self.center) / self.scale
        return self.means * np.exp(np.minimum(self.weights[0] + design @ self.weights[1:], self.ceiling))


def smoothed_columns(data: GroupedCounts, widths_s: tuple[float, ...]) -> np.ndarray:
    """Give the held-in units' counts, smoothed with every width over the bins that were observed.

    Parameters
    ----------
    data : GroupedCounts
    widths_s : tuple of float
        Standard deviations of the Gaussian kernels; 0 for none.

    Returns
    -------
    ndarray of float64, shape (n_trials, n_bins, n_in * n_widths)
        Mean counts under the kernel; 0 where it meets no observed bin.
    """
    counts = np.where(data.observed[:, :, None], data.held_in, 0).astype(float)
    exposure = data.observed[:, :, None].astype(float)
    columns = []
    for width_s in widths_s:
        if width_s == 0.0:
            columns.append(counts)
            continue
        spikes, seen = (
            scipy.ndimage.gaussian_filter1d(
                values, width_s / data.bin_s, axis=1, mode="constant", truncate=_TRUNCATE_SD
            )
            for values in (counts, exposure)
        )
        columns.append(np.divide(spikes, seen, out=np.zeros_like(spikes), where=seen > 0.0))
    return np.concatenate(columns, axis=2)


def _climb(design: np.ndarray, counts: np.ndarray, mean: float, ridge: float, start: np.ndarray) -> np.ndarray:
    """Fit a Poisson regression with an offset of log(mean) by Newton's method."""
    ones, offset = np.ones(start.size), np.full(counts.size, np.log(mean))
    precision = ridge_precision(start.size, ridge)
    optimum = maximise(
        lambda weights: design_pass(weights, design, ones, counts, offset, POISSON),
        start,
        precision,
        tolerance_nats=_TOLERANCE_NATS,
    )
    return optimum.weights
