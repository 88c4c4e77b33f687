"""Figures of decoders: scores over time, from one time to another, which classes are confused, sources compared."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import xarray as xr

from cortexrnn.errors import DataError
from cortexrnn.report import style
from cortexrnn.report.formats import show_label

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_WORDS = {"accuracy": "fraction correct", "balanced_accuracy": "fraction correct, mean of classes", "r2": "held-out R2",
          "correlation": "correlation"}  # fmt: skip
_SHARES = ("accuracy", "balanced_accuracy")
_SHUFFLED = style.OBSERVED
# More classes than this get no names and no numbers.
_MAX_NAMED = 12


def plot_scores(ax: Axes, found: xr.Dataset, *, score: str | None = None) -> Axes:
    """Draw a score over time with its interval, the range of 95 % of the shuffles in grey, and chance dotted.

    Parameters
    ----------
    ax : matplotlib.axes.Axes
        Where to draw.
    found : xarray.Dataset
        ``Decoding.found``, with time.
    score : str, optional
        Which score; the main one by default.

    Returns
    -------
    matplotlib.axes.Axes
        The same axes; black below the curve where p, corrected for looking at all times, is below 0.05.

    Raises
    ------
    DataError
        If there is no such score.
    """
    score = _score(found, score)
    time_s = found["time"].values
    _chance(ax, found, score, time_s)
    _band(ax, time_s, found, score, style.HISTORY_MODEL)
    if f"{score}_p_any" in found:
        sure = found[f"{score}_p_any"].values < 0.05
        bottom = np.full(time_s.size, 0.02)
        ax.plot(
            time_s[sure], bottom[sure], linestyle="none", marker="s", markersize=3.0, color=style.INK,
            transform=ax.get_xaxis_transform(), clip_on=False,
        )  # fmt: skip
    ax.set(xlabel=f"time{_unit(found['time'])}", ylabel=_WORDS[score], xlim=_limits(time_s))
    _height(ax, score)
    return ax


def plot_decoders(ax: Axes, linear: xr.Dataset, network: xr.Dataset, *, score: str | None = None) -> Axes:
    """Draw the scores of a linear read-out and of causal networks over time, each with its interval and its chance.

    Parameters
    ----------
    ax : matplotlib.axes.Axes
        Where to draw.
    linear, network : xarray.Dataset
        ``Decoding.found`` and ``Decoding.network.found``.
    score : str, optional
        Which score; the main one by default.

    Returns
    -------
    matplotlib.axes.Axes
        The same axes. The range of 95 % of the linear read-out's shuffles is grey, that of the networks' lies between
        dashed lines; thin lines are single networks.

    Raises
    ------
    DataError
        If there is no such score.
    """
    score = _score(linear, score)
    time_s = linear["time"].values
    _chance(ax, linear, score, time_s)
    if f"{score}_shuffled" in network:
        for k, end in enumerate(_shuffled_range(network, score)):
            name = "networks, labels shuffled" if k == 0 else None
            ax.plot(time_s, end, color=style.HISTORY_MODEL, linewidth=0.8, linestyle="--", zorder=1, label=name)
    _band(ax, time_s, linear, score, style.PSTH_MODEL, "linear, each time alone")
    for one in network[f"{score}_seed"].values:
        ax.plot(time_s, one, color=style.HISTORY_MODEL, linewidth=0.5, alpha=0.5, zorder=2)
    _band(ax, time_s, network, score, style.HISTORY_MODEL, "causal network")
    ax.set(xlabel=f"time{_unit(linear['time'])}", ylabel=_WORDS[score], xlim=_limits(time_s))
    _height(ax, score)
    if score not in _SHARES:
        # Shares leave room below chance; others get some above.
        low, high = ax.get_ylim()
        ax.set_ylim(low, high + 0.3 * (high - low))
    where = {"loc": "lower right"} if score in _SHARES else {"loc": "upper center", "ncols": 2}
    ax.legend(**where, frameon=False, fontsize=8.5)
    return ax


def plot_shuffles(ax: Axes, found: xr.Dataset, *, score: str | None = None) -> Axes:
    """Draw the score of the labels as a line among those of their shuffles.

    Parameters
    ----------
    ax : matplotlib.axes.Axes
        Where to draw.
    found : xarray.Dataset
        ``Decoding.found``, without time.
    score : str, optional
        Which score; the main one by default.

    Returns
    -------
    matplotlib.axes.Axes
        The same axes.

    Raises
    ------
    DataError
        If there is no such score.
    """
    score = _score(found, score)
    if f"{score}_shuffled" in found:
        ax.hist(found[f"{score}_shuffled"].values, bins=20, color=_SHUFFLED, label="labels shuffled")
    value, low, high = (float(found[f"{score}{end}"]) for end in ("", "_low", "_high"))
    ax.axvspan(low, high, color=style.HISTORY_MODEL, alpha=0.18, linewidth=0.0)
    ax.axvline(value, color=style.HISTORY_MODEL, linewidth=1.8, label="as they are")
    ax.set(xlabel=_WORDS[score], ylabel="shuffles")
    ax.legend(loc="upper center", frameon=False)
    return ax


def plot_cross_temporal(ax: Axes, found: xr.Dataset, *, score: str | None = None) -> Axes:
    """Draw the score over times of training (up) and of testing (right); the diagonal is dotted.

    Parameters
    ----------
    ax : matplotlib.axes.Axes
        Where to draw.
    found : xarray.Dataset
        From `cortexrnn.training.decoding.cross_temporal`.
    score : str, optional
        Which score; the main one by default.

    Returns
    -------
    matplotlib.axes.Axes
        The same axes; a colour bar stands beside them, with chance in white.

    Raises
    ------
    DataError
        If there is no such score.
    """
    score = _score(found, score)
    values, time_s = found[score].values, found["train_time"].values
    middle = float(found[f"{score}_chance"].mean()) if f"{score}_chance" in found else _guess(found, score)
    reach = max(np.nanmax(np.abs(values - middle), initial=0.0), 1e-3)
    edges_s = _edges(time_s)
    drawn = ax.pcolormesh(
        edges_s, edges_s, values, cmap="RdBu_r", vmin=middle - reach, vmax=middle + reach, rasterized=True
    )
    ax.plot(edges_s[[0, -1]], edges_s[[0, -1]], color=style.INK, linewidth=0.8, linestyle=":")
    ax.figure.colorbar(drawn, ax=ax, label=_WORDS[score])
    ax.set_aspect("equal")
    unit = _unit(found["train_time"])
    ax.set(xlabel=f"tested at{unit}", ylabel=f"trained at{unit}")
    return ax


def plot_confusion(ax: Axes, found: xr.Dataset, *, time_s: float | None = None) -> Axes:
    """Draw for every class (row) which share of its trials was taken for which.

    Parameters
    ----------
    ax : matplotlib.axes.Axes
        Where to draw.
    found : xarray.Dataset
        ``Decoding.found``.
    time_s : float, optional
        The nearest time is drawn; by default that of the highest accuracy.

    Returns
    -------
    matplotlib.axes.Axes
        The same axes, with the time as title.

    Raises
    ------
    DataError
        If labels are values.
    """
    if "confusion" not in found:
        raise DataError("labels are values; they are not confused.", hint="Plot the score.")
    if "time" in found.dims:
        best = int(np.nanargmax(found["accuracy"].values))
        found = found.isel(time=best) if time_s is None else found.sel(time=time_s, method="nearest")
        ax.set_title(f"at {float(found['time']):.3g}{_unit(found['time'])}", fontsize=10.5)
    counts = found["confusion"].values.astype(float)
    shares = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1.0)
    ax.imshow(shares, cmap="Blues", vmin=0.0, vmax=1.0)
    names = [show_label(name, 14) for name in found["class"].values]
    if len(names) <= _MAX_NAMED:
        ax.set_xticks(range(len(names)), names, rotation=45 if max(map(len, names)) > 4 else 0)
        ax.set_yticks(range(len(names)), names)
        for (row, column), share in np.ndenumerate(shares):
            colour = "white" if share > 0.6 else style.INK
            ax.text(column, row, f"{share:.2f}", ha="center", va="center", color=colour, fontsize=8.5)
    ax.set(xlabel="answered", ylabel="true")
    for side in ax.spines.values():
        side.set_visible(False)
    ax.tick_params(length=0.0)
    return ax


def plot_sources(ax: Axes, found: xr.Dataset) -> Axes:
    """Draw the scores of several sources with their intervals: over time, or side by side where there is none.

    Parameters
    ----------
    ax : matplotlib.axes.Axes
        Where to draw.
    found : xarray.Dataset
        ``SourceComparison.found``.

    Returns
    -------
    matplotlib.axes.Axes
        The same axes.
    """
    score = _score(found, None)
    colours = (style.HISTORY_MODEL, style.PSTH_MODEL, *style.CONDITIONS[3:])
    names = [show_label(name, 20) for name in found["source"].values]
    middle = float(found[f"{score}_chance"].mean()) if f"{score}_chance" in found else _guess(found, score)
    ax.axhline(middle, color=style.MUTED, linewidth=0.8, linestyle=":")
    if "time" in found.dims:
        time_s = found["time"].values
        for k, name in enumerate(names):
            _band(ax, time_s, found.isel(source=k), score, colours[k % len(colours)], name)
        ax.set(xlabel=f"time{_unit(found['time'])}", xlim=_limits(time_s))
        ax.legend(loc="best", frameon=False)
    else:
        at = np.arange(len(names))
        for k in at:
            one, colour = found.isel(source=k), colours[k % len(colours)]
            ax.vlines(k, float(one[f"{score}_low"]), float(one[f"{score}_high"]), color=colour, linewidth=1.5)
            ax.plot(k, float(one[score]), "o", color=colour, markersize=5.0)
        ax.set_xticks(at, names)
        ax.set_xlim(-0.5, len(names) - 0.5)
    ax.set_ylabel(_WORDS[score])
    _height(ax, score)
    return ax


def _score(found: xr.Dataset, score: str | None) -> str:
    """Give the name of the score, or say that there is none."""
    score = found.attrs["score"] if score is None else score
    if score not in _WORDS or score not in found:
        raise DataError(f"there is no score {score!r}; there are {', '.join(n for n in _WORDS if n in found)}.")
    return score


def _chance(ax: Axes, found: xr.Dataset, score: str, time_s: np.ndarray) -> None:
    """Draw the range of the shuffles and their mean, or else what guessing gives."""
    if f"{score}_shuffled" not in found:
        ax.axhline(_guess(found, score), color=style.MUTED, linewidth=0.8, linestyle=":", zorder=1)
        return
    low, high = _shuffled_range(found, score)
    ax.fill_between(time_s, low, high, color=_SHUFFLED, alpha=0.5, linewidth=0.0, zorder=0, label="labels shuffled")
    ax.plot(time_s, found[f"{score}_chance"], color=style.MUTED, linewidth=0.8, linestyle=":", zorder=1)
    ax.legend(loc="upper left", frameon=False)


def _shuffled_range(found: xr.Dataset, score: str) -> np.ndarray:
    """Give the ends of the range of 95 % of the shuffles at every time, (2, n_times)."""
    known = np.isfinite(found[score].values)
    ends = np.full((2, known.size), np.nan)
    ends[:, known] = np.percentile(found[f"{score}_shuffled"].values[:, known], (2.5, 97.5), axis=0)
    return ends


def _band(ax: Axes, time_s: np.ndarray, found: xr.Dataset, score: str, colour: str, name: str | None = None) -> None:
    """Draw a score over time in its interval."""
    ax.fill_between(
        time_s, found[f"{score}_low"], found[f"{score}_high"], color=colour, alpha=0.2, linewidth=0.0, zorder=2
    )
    ax.plot(time_s, found[score], color=colour, linewidth=1.5, zorder=3, label=name)


def _guess(found: xr.Dataset, score: str) -> float:
    """Give the score of one who knows the labels' shares alone."""
    if score == "accuracy":
        return float(found.attrs["largest_share"])
    return 1.0 / found.attrs["n_classes"] if score == "balanced_accuracy" else 0.0


def _height(ax: Axes, score: str) -> None:
    """Draw shares from 0 to 1."""
    if score in _SHARES:
        ax.set_ylim(0.0, 1.03)
        ax.set_yticks([0.0, 0.5, 1.0], ["0", "0.5", "1"])


def _unit(time: xr.DataArray) -> str:
    """Write the unit of times; steps have none."""
    return f" ({time.attrs['units']})" if "units" in time.attrs else " (steps)"


def _limits(time_s: np.ndarray) -> tuple[float, float] | None:
    """Give the ends of the time axis; a single time has none."""
    return (float(time_s[0]), float(time_s[-1])) if time_s.size > 1 else None


def _edges(time_s: np.ndarray) -> np.ndarray:
    """Give the borders between times."""
    if time_s.size < 2:
        return time_s[0] + np.array([-0.5, 0.5])
    inner = 0.5 * (time_s[1:] + time_s[:-1])
    return np.concatenate([[2.0 * time_s[0] - inner[0]], inner, [2.0 * time_s[-1] - inner[-1]]])
