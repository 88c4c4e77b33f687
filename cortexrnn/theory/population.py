"""A population as a whole: the directions in which its activity moves, and how inhibition follows excitation."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import xarray as xr

from cortexrnn._checks import check_count, check_positive
from cortexrnn.dynamics.summary import balance_index
from cortexrnn.errors import DataError, OptionError
from cortexrnn.schema import TRIAL_DIMS

if TYPE_CHECKING:
    from matplotlib.axes import Axes

CURRENTS = ("current_e", "current_i", "current_ext")


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class PrincipalComponents:
    """Orthogonal directions of largest variance, and activity in their coordinates.

    Attributes
    ----------
    loadings : xarray.DataArray, dims (component, unit)
        Rows of unit length; the entry of largest magnitude of every row is positive.
    mean : xarray.DataArray, dims (unit,)
        What is taken off before activity is projected.
    trajectories : xarray.DataArray, dims (trial, time, component) or (condition, time, component)
        What the components were made from, projected; NaN past a trial's end.
    variance : xarray.DataArray, dims (order,)
        Variances along all components, falling, also those that were not asked for.
    """

    loadings: xr.DataArray
    mean: xr.DataArray
    trajectories: xr.DataArray
    variance: xr.DataArray

    @property
    def variance_fraction(self) -> xr.DataArray:
        """Share of the variance along every component, dims (order,)."""
        return self.variance / self.variance.sum()

    @property
    def participation_ratio(self) -> float:
        """``(sum of variances)^2 / sum of squared variances``: the number of components, if all were equal."""
        return float(self.variance.sum() ** 2 / (self.variance**2).sum())

    @property
    def n_for_90_percent(self) -> int:
        """Smallest number of components with 90 % of the variance."""
        # Round-off must not make a share of exactly 90 % fall short.
        return int(np.argmax(np.cumsum(self.variance_fraction.values) >= 0.9 - 1e-12)) + 1

    def transform(self, activity: np.ndarray | xr.DataArray) -> xr.DataArray:
        """Project other activity of the same units.

        Parameters
        ----------
        activity : array or DataArray, shape (..., n_units)
            The last dimension is that of the units.

        Returns
        -------
        xarray.DataArray, dims (..., component)

        Raises
        ------
        DataError
            If there are not as many units.
        """
        values = np.asarray(activity.values if isinstance(activity, xr.DataArray) else activity, dtype=float)
        if values.ndim == 0 or values.shape[-1] != self.mean.size:
            raise DataError(f"activity of shape {values.shape} does not fit components of {self.mean.size} units.")
        projected = (values - self.mean.values) @ self.loadings.values.T
        if not isinstance(activity, xr.DataArray):
            dims = TRIAL_DIMS[: values.ndim - 1] if values.ndim <= 3 else [f"axis_{k}" for k in range(values.ndim - 1)]
            return xr.DataArray(projected, dims=(*dims, "component"))
        last = activity.dims[-1]
        coords = {name: coord for name, coord in activity.coords.items() if last not in coord.dims}
        return xr.DataArray(projected, dims=(*activity.dims[:-1], "component"), coords=coords)

    def plot(self, ax: Axes | None = None, *, n_dimensions: int = 2, colour_by: Sequence | None = None) -> Axes:
        """Draw the trajectories along the first components, a dot where each starts, in the colour of its condition.

        Parameters
        ----------
        ax : matplotlib.axes.Axes, optional
            Where to draw; a figure of its own by default. Three-dimensional axes for three components.
        n_dimensions : {2, 3}
            Of a figure of its own.
        colour_by : sequence, optional
            One label a trajectory; by default its condition, or one colour for all trials.

        Returns
        -------
        matplotlib.axes.Axes

        Raises
        ------
        DataError
            If there are fewer components than dimensions, or the labels are not one a trajectory.
        """
        from cortexrnn.report import population_view as figures

        if ax is None:
            ax = figures.own_view(n_dimensions)
        return figures.plot_trajectories(ax, self._to_dataset(), colour_by=colour_by)

    def plot_scree(self, ax: Axes | None = None) -> Axes:
        """Draw the share of the variance along every component, and their sum so far.

        Parameters
        ----------
        ax : matplotlib.axes.Axes, optional
            Where to draw; a figure of its own by default.

        Returns
        -------
        matplotlib.axes.Axes
        """
        from cortexrnn.report import population_view as figures
        from cortexrnn.report.figure_file import own_axes

        return figures.plot_scree(own_axes() if ax is None else ax, self._to_dataset())

    def _to_dataset(self) -> xr.Dataset:
        """Give what the figures show."""
        return xr.Dataset(
            {"trajectories": self.trajectories, "variance_fraction": self.variance_fraction},
            attrs={"participation_ratio": self.participation_ratio, "n_for_90_percent": self.n_for_90_percent},
        )


def principal_components(
    activity: np.ndarray | xr.DataArray, n_components: int | None = None, *, by_condition: Any = None
) -> PrincipalComponents:
    """Find the directions in which trajectories, or their averages over the trials of a condition, vary most.

    Moments of all trials (conditions) and times count alike.

    Parameters
    ----------
    activity : array or DataArray, shape (n_trials, n_times, n_units)
        Rates, counts or other states; NaN past a trial's end, for all units of a moment.
    n_components : int, optional
        Components that are kept; all by default.
    by_condition : array_like, shape (n_trials,), optional
        Condition of every trial. The components are then those of the averages over the trials of a condition that
        last, in which the noise of single trials has no part.

    Returns
    -------
    PrincipalComponents

    Raises
    ------
    DataError
        If activity has another shape, holds infinite numbers, some units of a moment are NaN and others not, nothing
        varies, or conditions are not one a trial.
    OptionError
        If there are not as many components.

    Examples
    --------
    >>> angle = np.linspace(0.0, 2.0 * np.pi, 50)
    >>> circle = np.stack([np.cos(angle), np.sin(angle), 0.0 * angle], axis=-1)[None]
    >>> found = principal_components(circle)
    >>> found.n_for_90_percent, round(found.participation_ratio, 2)
    (2, 2.0)
    """
    activity = _as_trials(activity)
    if by_condition is not None:
        activity = _averages(activity, np.asarray(getattr(by_condition, "values", by_condition)))
    values = activity.values
    known = np.isfinite(values).all(axis=2)
    cloud = values[known]
    mean = cloud.mean(axis=0) if len(cloud) else np.zeros(values.shape[2])
    centred = cloud - mean
    # The triangle has the same singular values and directions as the cloud, and is no larger than (unit, unit).
    _, singular, axes = np.linalg.svd(np.linalg.qr(centred, mode="r"), full_matrices=False)
    scale = float(np.abs(cloud).max(initial=0.0))
    if not singular.size or singular[0] <= len(cloud) * np.finfo(float).eps * scale:
        raise DataError(f"activity does not vary in {len(cloud)} moments; there are no components.")
    n = len(axes) if n_components is None else check_count("n_components", n_components)
    if n > len(axes):
        raise OptionError(f"n_components={n} is more than the {len(axes)} that there are.")
    axes = axes * np.sign(axes[np.arange(len(axes)), np.abs(axes).argmax(axis=1)])[:, None]
    unit = {name: coord for name, coord in activity.coords.items() if coord.dims == ("unit",)}
    rest = {name: coord for name, coord in activity.coords.items() if "unit" not in coord.dims}
    component = {"component": np.arange(1, n + 1)}
    return PrincipalComponents(
        loadings=xr.DataArray(axes[:n], dims=("component", "unit"), coords={**component, **unit}),
        mean=xr.DataArray(mean, dims=("unit",), coords=unit),
        trajectories=xr.DataArray(
            (values - mean) @ axes[:n].T, dims=(activity.dims[0], "time", "component"), coords={**rest, **component}
        ),
        variance=xr.DataArray(singular**2 / len(cloud), dims=("order",), coords={"order": np.arange(1, len(axes) + 1)}),
    )


def ei_balance(run: xr.Dataset, *, max_lag_s: float = 0.05) -> xr.Dataset:
    """Give how excitation and inhibition of every unit cancel, on average and from moment to moment.

    Excitation is the recurrent excitatory current and what is positive of the external one; inhibition, counted as
    positive, all that is negative.

    Parameters
    ----------
    run : xarray.Dataset, dims (trial, time, unit)
        With ``current_e``, ``current_i`` and ``current_ext``: from `cortexrnn.simulate` with ``Record(currents=True)``
        or ``Trained.record(batch, currents=True)``.
    max_lag_s : float
        Largest lag in seconds at which the two are compared; at most half of the run is looked at.

    Returns
    -------
    xarray.Dataset
        Over unit: means over trials and time of ``excitation``, ``inhibition`` and ``net`` (the difference);
        ``balance_index``; ``correlation`` of excitation and inhibition over the time of a trial, 1 where inhibition
        follows every change; ``lag_s``, by how much inhibition comes after excitation where their correlation is
        largest, and ``peak_correlation`` there. Over (lag, unit) the ``cross_correlation``. Over `group` the means of
        all of them over the units of a population, as ``mean_...``. NaN where a current does not vary.

    Raises
    ------
    DataError
        If the run has no currents.
    OptionError
        If the lag is not positive.

    Notes
    -----
    Loose balance is a small index; tight balance a correlation near 1 at a short lag (Okun and Lampl 2008,
    doi:10.1038/nn.2105; Deneve and Machens 2016, doi:10.1038/nn.4243). Slow changes of a trial's mean count in the
    index, not in the correlation, for which every trial is taken about its own mean.
    """
    check_positive("max_lag_s", max_lag_s)
    missing = [name for name in CURRENTS if name not in run]
    if missing:
        raise DataError(
            f"the run has no {missing[0]}.",
            hint="Record them: simulate(..., record=Record(currents=True)) or record(batch, currents=True).",
        )
    external = run["current_ext"]
    excitation = (run["current_e"] + external.clip(min=0.0)).transpose(*TRIAL_DIMS)
    inhibition = -(run["current_i"] + external.clip(max=0.0)).transpose(*TRIAL_DIMS)
    dt_s = float(np.median(np.diff(run["time"].values))) if run.sizes["time"] > 1 else max_lag_s
    n_lags = min(round(max_lag_s / dt_s), run.sizes["time"] // 2)
    cross = _cross_correlation(excitation.values, inhibition.values, n_lags)
    lag_s = np.round(np.arange(-n_lags, n_lags + 1) * dt_s, 12)
    known = np.isfinite(cross).all(axis=0)
    best = np.where(known, np.argmax(np.where(known, cross, -np.inf), axis=0), n_lags)
    over_unit = {
        "excitation": excitation.mean(["trial", "time"]).values,
        "inhibition": inhibition.mean(["trial", "time"]).values,
        "net": (excitation - inhibition).mean(["trial", "time"]).values,
        "balance_index": balance_index(run).values,
        "correlation": cross[n_lags],
        "peak_correlation": np.take_along_axis(cross, best[None], axis=0)[0],
        "lag_s": np.where(known, lag_s[best], np.nan),
    }
    coords = {name: coord for name, coord in run.coords.items() if coord.dims == ("unit",)}
    found = xr.Dataset(
        {name: ("unit", each) for name, each in over_unit.items()} | {"cross_correlation": (("lag", "unit"), cross)},
        coords={**coords, "lag": ("lag", lag_s, {"units": "s", "long_name": "inhibition after excitation"})},
    )
    if "population" not in found.coords:
        return found
    table = pd.DataFrame(over_unit).groupby(found["population"].values, sort=False).mean()
    means = {f"mean_{name}": ("group", table[name].to_numpy()) for name in over_unit}
    return found.assign(means).assign_coords(group=table.index.to_numpy().astype(str))


def _as_trials(activity: np.ndarray | xr.DataArray) -> xr.DataArray:
    """Give activity as (trial, time, unit), or say what is wrong."""
    if not isinstance(activity, xr.DataArray):
        activity = np.asarray(activity)
        if activity.ndim != 3:
            raise DataError(f"activity has shape {activity.shape}; expected (n_trials, n_times, n_units).")
        activity = xr.DataArray(activity, dims=TRIAL_DIMS)
    if activity.dims != TRIAL_DIMS:
        raise DataError(f"activity has dims {activity.dims}; expected {TRIAL_DIMS}.")
    activity = activity.astype(float)
    unknown = np.isnan(activity.values)
    if np.isinf(activity.values).any() or np.any(unknown.any(axis=2) != unknown.all(axis=2)):
        raise DataError(
            "activity is infinite somewhere, or NaN for some units of a moment and not for others.",
            hint="Leave out the units or the trials.",
        )
    return activity


def _averages(activity: xr.DataArray, condition: np.ndarray) -> xr.DataArray:
    """Average over the trials of every condition that last."""
    if condition.shape != activity.shape[:1]:
        raise DataError(f"by_condition has shape {condition.shape}; expected {activity.shape[:1]}.")
    names, codes = np.unique(condition, return_inverse=True)
    values, known = np.nan_to_num(activity.values), ~np.isnan(activity.values)
    sums, counts = np.zeros((2, names.size, *activity.shape[1:]))
    np.add.at(sums, codes, values)
    np.add.at(counts, codes, known)
    means = np.divide(sums, counts, out=np.full(sums.shape, np.nan), where=counts > 0.0)
    coords = {name: coord for name, coord in activity.coords.items() if "trial" not in coord.dims}
    return xr.DataArray(means, dims=("condition", "time", "unit"), coords={"condition": names, **coords})


def _cross_correlation(first: np.ndarray, second: np.ndarray, n_lags: int) -> np.ndarray:
    """Correlate two currents, (trial, time, unit), at lags of -n_lags to n_lags steps, shape (n_lags * 2 + 1, unit).

    Positive lags: the second comes later. Every trial is taken about its mean; pairs of all trials are averaged.
    """
    n_times, n_units = first.shape[1:]
    length = n_times + n_lags
    sums, counts = np.zeros((2 * n_lags + 1, n_units)), np.zeros((2 * n_lags + 1, 1))
    power, n_known = np.zeros((2, n_units)), 0.0
    for a, b in zip(first, second, strict=True):
        known = np.isfinite(a).all(axis=1) & np.isfinite(b).all(axis=1)
        if not known.any():
            continue
        a, b = (np.where(known[:, None], x - x[known].mean(axis=0, dtype=float), 0.0) for x in (a, b))
        power += np.sum(a**2, axis=0), np.sum(b**2, axis=0)
        n_known += known.sum()
        sums += _lagged(a, b, length, n_lags)
        counts += np.round(_lagged(known[:, None].astype(float), known[:, None].astype(float), length, n_lags))
    scale = np.sqrt(power[0] * power[1]) / max(n_known, 1.0)
    # The round-off of a mean is no fluctuation.
    level = max(float(np.nanmax(np.abs(x))) for x in (first, second)) if n_known else 0.0
    moves = scale > (np.finfo(first.dtype).eps * level) ** 2
    mean = sums / np.maximum(counts, 1.0)
    return np.divide(mean, scale, out=np.full(mean.shape, np.nan), where=moves & (counts > 0.0))


def _lagged(a: np.ndarray, b: np.ndarray, length: int, n_lags: int) -> np.ndarray:
    """Sum ``a[t] b[t + lag]`` over t for lags of -n_lags to n_lags."""
    product = np.fft.irfft(np.conj(np.fft.rfft(a, length, axis=0)) * np.fft.rfft(b, length, axis=0), length, axis=0)
    return np.concatenate([product[length - n_lags :], product[: n_lags + 1]])
