"""One unit's trials as plain arrays: what every rung is fitted on and what its kernels see."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import xarray as xr

from cortexrnn.errors import OptionError
from cortexrnn.schema import check_trials, is_stimulus_locked


class Neighbours(NamedTuple):
    """Spikes of a population of which a unit may be one.

    Attributes
    ----------
    counts : ndarray of uint16, shape (n_trials, n_bins, n_units)
        Spikes per bin, 0 where nobody observed; the same array for every unit of the population.
    own : int
        Position of the unit itself among them, whose counts are none of a neighbour; -1 if it is not there.
    """

    counts: np.ndarray
    own: int

    @property
    def positions(self) -> np.ndarray:
        """Positions of all but the unit itself, ascending."""
        everyone = np.arange(self.counts.shape[2])
        return everyone[everyone != self.own]


class UnitTrials(NamedTuple):
    """Trials of one unit.

    Attributes
    ----------
    counts : ndarray of uint16, shape (n_trials, n_bins)
        Spikes per bin, burn-in included.
    observed : ndarray of bool, shape (n_trials, n_bins)
        False where nobody recorded.
    scored : ndarray of bool, shape (n_trials, n_bins)
        True where a bin is observed and past the burn-in: the bins that every likelihood sums over.
    condition : ndarray of int64, shape (n_trials,)
        Condition code of each trial, 0-based.
    start_s : ndarray of float64, shape (n_trials,)
        Session time of each trial's event.
    bin_s : float
        Bin width in seconds.
    is_locked : bool
        Whether time within the trial has a meaning (False for blocks of a continuous recording).
    covariates : ndarray of float64, shape (n_trials, n_bins, n_covariates), or None
        What was measured or done beside the spikes, such as a stimulus; NaN where it is not known.
    neighbours : Neighbours or None
        Spikes of units recorded at the same time.
    covariate_names : tuple of str
        Names of the covariates; may be empty.
    """

    counts: np.ndarray
    observed: np.ndarray
    scored: np.ndarray
    condition: np.ndarray
    start_s: np.ndarray
    bin_s: float
    is_locked: bool
    covariates: np.ndarray | None = None
    neighbours: Neighbours | None = None
    covariate_names: tuple[str, ...] = ()

    @property
    def n_trials(self) -> int:
        """Number of trials."""
        return self.counts.shape[0]

    @property
    def spikes_per_trial(self) -> np.ndarray:
        """Number of scored spikes of every trial."""
        return np.where(self.scored, self.counts, 0).sum(axis=1)

    def take(self, trials: np.ndarray) -> UnitTrials:
        """Keep the trials with these indices (or this mask), in this order."""
        return self._replace(
            counts=np.ascontiguousarray(self.counts[trials]),
            observed=np.ascontiguousarray(self.observed[trials]),
            scored=np.ascontiguousarray(self.scored[trials]),
            condition=self.condition[trials],
            start_s=self.start_s[trials],
            covariates=None if self.covariates is None else np.ascontiguousarray(self.covariates[trials]),
            neighbours=None if self.neighbours is None else self.neighbours._replace(
                counts=np.ascontiguousarray(self.neighbours.counts[trials])
            ),
        )


def unit_trials(trials: xr.Dataset, unit: int | None = None) -> UnitTrials:
    """Take one unit out of a Trials dataset.

    Parameters
    ----------
    trials : xarray.Dataset
        Trials dataset with dims (trial, time, unit); its variables ``covariates`` (trial, time, covariate) and
        ``neighbours`` (trial, time, neighbour), if it has them, go along.
    unit : int, optional
        Position of the unit; may be left out where there is only one.

    Raises
    ------
    OptionError
        If `unit` is left out and there are several units.
    """
    check_trials(trials)
    if unit is None:
        if trials.sizes["unit"] != 1:
            raise OptionError(
                f"trials holds {trials.sizes['unit']} units; a spike model is fitted to one.",
                hint="Use trials.isel(unit=[0]), or compare() for all units.",
            )
        unit = 0
    observed = np.ascontiguousarray(trials["observed"].values[:, :, unit])
    _, condition = np.unique(trials["condition"].values, return_inverse=True)
    return UnitTrials(
        counts=np.ascontiguousarray(trials["counts"].values[:, :, unit], dtype=np.uint16),
        observed=observed,
        scored=observed & trials["scored"].values,
        condition=condition.astype(np.int64),
        start_s=trials["start_s"].values.astype(float),
        bin_s=float(trials.attrs["bin_s"]),
        is_locked=is_stimulus_locked(trials),
        covariates=np.ascontiguousarray(trials["covariates"].values, dtype=float) if "covariates" in trials else None,
        neighbours=_neighbours(trials, unit) if "neighbours" in trials else None,
        covariate_names=tuple(map(str, trials["covariate"].values)) if "covariate" in trials.coords else (),
    )


def _neighbours(trials: xr.Dataset, unit: int) -> Neighbours:
    """Find a unit among those recorded beside it."""
    found = np.flatnonzero(trials["neighbour"].values == trials["unit"].values[unit])
    counts = np.ascontiguousarray(trials["neighbours"].values, dtype=np.uint16)
    return Neighbours(counts, int(found[0]) if found.size else -1)
