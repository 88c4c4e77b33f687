"""Functional connectivity: whose spikes change whose rate, by how much and with which sign."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import xarray as xr
from scipy.special import chdtrc
from tqdm import tqdm

from cortexrnn.encoding.arrays import unit_trials
from cortexrnn.encoding.coupling import CoupledGLM, FittedCoupling, Population
from cortexrnn.encoding.gain import CausalGain
from cortexrnn.encoding.model import Rung, fit_below
from cortexrnn.errors import DataError, OptionError
from cortexrnn.numerics.multiple_tests import false_discovery
from cortexrnn.schema import check_trials

if TYPE_CHECKING:
    from matplotlib.axes import Axes


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Connectivity:
    """Coupling filters of all pairs.

    Attributes
    ----------
    data : xarray.Dataset
        Over (target, source): `strength`, the log of the rate's change by a spike summed over lags, in bins, with its
        standard error `strength_se`; `p` of the test that the whole filter is zero, and `q`, the smallest false
        discovery rate at which it is called a connection (Benjamini and Hochberg 1995); all NaN for a unit with itself.
        Over (target, source, lag): `filter`, log change of the rate, and `filter_se`. Over (unit, own_lag):
        `own_filter`. Over unit: `n_spikes`.
    fitted : FittedCoupling
    """

    data: xr.Dataset
    fitted: FittedCoupling

    def found(self, false_discovery_rate: float = 0.05) -> np.ndarray:
        """Give the signs of the connections found, 0 where there is none, shape (n_units, n_units), target first.

        Parameters
        ----------
        false_discovery_rate : float
            Share of false ones among those found that is allowed on average, between 0 and 1.

        Returns
        -------
        ndarray of int

        Raises
        ------
        OptionError
            If the rate is not between 0 and 1.
        """
        if not 0.0 < false_discovery_rate < 1.0:
            raise OptionError(f"false_discovery_rate={false_discovery_rate!r} is not between 0 and 1.")
        is_found = self.data["q"].values <= false_discovery_rate
        return np.where(is_found, np.sign(np.nan_to_num(self.data["strength"].values)), 0.0).astype(int)

    def plot(self, ax: Axes | None = None) -> Axes:
        """Draw the strengths as a matrix, those found at a false discovery rate of 5 % framed.

        Parameters
        ----------
        ax : matplotlib.axes.Axes, optional
            Where to draw; a figure of its own by default.

        Returns
        -------
        matplotlib.axes.Axes
        """
        from cortexrnn.report.connectivity import plot_matrix
        from cortexrnn.report.figure_file import own_axes

        return plot_matrix(own_axes() if ax is None else ax, self.data)

    def plot_filter(self, target: str | int, source: str | int, ax: Axes | None = None) -> Axes:
        """Draw one filter with its 95 % band.

        Parameters
        ----------
        target, source : str or int
            Ids of two units.
        ax : matplotlib.axes.Axes, optional
            Where to draw; a figure of its own by default.

        Returns
        -------
        matplotlib.axes.Axes
        """
        from cortexrnn.report.connectivity import plot_filter
        from cortexrnn.report.figure_file import own_axes

        return plot_filter(own_axes() if ax is None else ax, self.data.sel(target=target, source=source))


def functional_connectivity(
    trials: xr.Dataset, *, spec: CoupledGLM | None = None, baseline: Rung | None = None, shows_progress: bool = False
) -> Connectivity:
    """Fit coupling filters between all units, and test every pair.

    Filters stand on a baseline of every unit by itself, so that a stimulus or a gain that all units follow is not read
    as a connection. What they share beyond that, such as input from units that were not recorded, is.

    Parameters
    ----------
    trials : xarray.Dataset
        Trials of two units or more, from `cortexrnn.spikes.align.align`.
    spec : CoupledGLM, optional
    baseline : Rung, optional
        What each unit's filters stand on; by default M3, stimulus, drift and causal gain of the trial.
    shows_progress : bool
        Whether to count the units tested on the error stream.

    Returns
    -------
    Connectivity

    Raises
    ------
    DataError
        If there are fewer than two units, a unit is silent, or no bin has its whole history observed.

    Notes
    -----
    A filter is tested by ``w^T C^-1 w`` with the posterior covariance C of its weights, against the chi-squared
    distribution with as many degrees of freedom as weights. The prior pulls both towards zero, so that the test is
    conservative where spikes are few.
    """
    check_trials(trials)
    spec = spec or CoupledGLM()
    if trials.sizes["unit"] < 2:
        raise DataError(f"trials hold {trials.sizes['unit']} unit; expected at least two.")
    population = take_population(trials, spec, baseline or CausalGain())
    fitted = spec.fit(population)
    basis = fitted.problem.basis
    n, k = trials.sizes["unit"], len(basis)
    statistic = np.full((n, n), np.nan)
    strength_se = np.full((n, n), np.nan)
    filter_se = np.zeros((n, n, basis.shape[1]))
    area = basis.sum(axis=1)
    for target in tqdm(range(n), "testing", leave=False, disable=not shows_progress):
        covariance = fitted.covariance(target)
        for place, source in enumerate(np.delete(np.arange(n), target)):
            part = slice(1 + place * k, 1 + (place + 1) * k)
            block, weights = covariance[part, part], fitted.coupling[target, source]
            statistic[target, source] = weights @ np.linalg.solve(block, weights)
            strength_se[target, source] = np.sqrt(area @ block @ area)
            filter_se[target, source] = np.sqrt(np.einsum("kl,km,ml->l", basis, block, basis))
    p = chdtrc(k, statistic)
    strength = np.where(np.eye(n, dtype=bool), np.nan, fitted.coupling @ area)
    pair = ("target", "source")
    names = trials["unit"].values
    bin_s = population.bin_s
    lag_s, own_lag_s = (bin_s * np.arange(1, each.shape[1] + 1) for each in (basis, fitted.problem.own_basis))
    data = xr.Dataset(
        {
            "strength": (pair, strength, {"long_name": "log change of the rate, summed over lags"}),
            "strength_se": (pair, strength_se),
            "p": (pair, p),
            "q": (pair, false_discovery(p)),
            "filter": ((*pair, "lag"), fitted.filters, {"long_name": "log change of the rate"}),
            "filter_se": ((*pair, "lag"), filter_se),
            "own_filter": (("unit", "own_lag"), fitted.own_filters),
            "n_spikes": ("unit", fitted.problem.n_spikes.astype(int)),
        },
        coords={
            "target": names, "source": names, "unit": names, "lag": ("lag", lag_s, {"units": "s"}),
            "own_lag": ("own_lag", own_lag_s, {"units": "s"}),
        },
    )  # fmt: skip
    return Connectivity(data=data, fitted=fitted)


def take_population(trials: xr.Dataset, spec: CoupledGLM, baseline: Rung) -> Population:
    """Lay all units out as arrays, each with its baseline.

    Parameters
    ----------
    trials : xarray.Dataset
    spec : CoupledGLM
        Says how much history a bin needs.
    baseline : Rung
        Fitted to every unit; what it says of a training trial is without that trial's own spikes where it can be.

    Returns
    -------
    Population
    """
    units = [unit_trials(trials, number) for number in range(trials.sizes["unit"])]
    bin_s = units[0].bin_s
    log_mu = []
    for unit in units:
        below, on_training = fit_below(baseline, unit)
        log_mu.append(baseline.fit_on(unit, below, on_training).on_training(unit, on_training))
    observed = np.all([unit.observed for unit in units], axis=0)
    n_history = round(max(spec.history_s, spec.coupling_s) / bin_s)
    used = units[0].scored & observed & _has_history(observed, n_history)
    counts = np.stack([np.where(observed, unit.counts, 0) for unit in units], axis=2)
    return Population(counts=counts, used=used, log_mu=np.stack(log_mu, axis=2), bin_s=bin_s)


def _has_history(observed: np.ndarray, n_history: int) -> np.ndarray:
    """Tell behind which bins so many were observed without a gap."""
    seen = np.concatenate([np.zeros((len(observed), 1), int), np.cumsum(observed, axis=1)], axis=1)
    out = np.zeros(observed.shape, bool)
    out[:, n_history:] = seen[:, n_history:-1] - seen[:, : -n_history - 1] == n_history
    return out
