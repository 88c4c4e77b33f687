"""Figures of mean field theories: autocovariances, branches, windows and phase planes, from labelled results."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import xarray as xr

from cortexrnn.report import style
from cortexrnn.report.circuits import EXCITATORY, INHIBITORY
from cortexrnn.report.figure_file import check_variables

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_COLOURS = {"excitatory": EXCITATORY, "inhibitory": INHIBITORY}
_UNSTABLE = (0, (3.0, 2.0))
_DOTTED = (0, (1.0, 2.0))


def plot_autocovariance(ax: Axes, autocovariance: xr.Dataset) -> Axes:
    """Draw the autocovariances of current and rate over the lag, and mark where half is left.

    Parameters
    ----------
    ax : matplotlib.axes.Axes
        Where to draw.
    autocovariance : xarray.Dataset
        ``current`` and ``rate`` over ``lag``, from `cortexrnn.theory.mean_field.dmft`.

    Returns
    -------
    matplotlib.axes.Axes
        The same axes.

    Raises
    ------
    DataError
        If a variable is missing.
    """
    check_variables(autocovariance, "current", "rate")
    lag = autocovariance["lag"].values
    unit = str(autocovariance["lag"].attrs.get("units", "tau"))
    if not autocovariance["current"].any():
        return style.write_instead(ax, "silent: no activity")
    is_step = unit == "step"
    for name, colour in (("current", style.INK), ("rate", style.HISTORY_MODEL)):
        values = autocovariance[name].values
        if is_step:
            ax.vlines(lag, 0.0, values, color=colour, linewidth=1.2)
        ax.plot(lag, values, "o" if is_step else "-", color=colour, markersize=4.0, label=name)
        if not is_step:
            half = float(np.interp(-0.5 * values[0], -values, lag))
            ax.plot([half], [0.5 * values[0]], "o", color=colour, markersize=4.0)
    ax.set_xlim(-0.2 if is_step else 0.0, lag[-1])
    ax.set_ylim(0.0, 1.05 * float(autocovariance["current"].max()))
    ax.set_xlabel(f"lag ({'steps' if is_step else unit})")
    ax.set_ylabel("autocovariance")
    ax.legend(loc="upper right", title=None if is_step else "dots: half is left", title_fontsize=9.0, alignment="left")
    return ax


def plot_kappa(ax: Axes, curve: xr.Dataset, *, at: tuple[float, float] | None = None) -> Axes:
    """Draw the activity along m of a rank-one network against the overlap.

    Solid where it does not fluctuate, dotted where it does; kappa = 0 is dashed where there is a structured state.

    Parameters
    ----------
    ax : matplotlib.axes.Axes
        Where to draw.
    curve : xarray.Dataset
        ``kappa`` and ``phase`` over ``overlap``, from `cortexrnn.theory.mean_field.rank_one_curve`.
    at : tuple of float, optional
        Overlap and kappa of a state to mark.

    Returns
    -------
    matplotlib.axes.Axes
        The same axes.

    Raises
    ------
    DataError
        If a variable is missing.
    """
    check_variables(curve, "kappa", "phase")
    overlap, kappa, phase = (curve[name].values for name in ("overlap", "kappa", "phase"))
    is_on = kappa > 0.0
    _with_breaks(ax, overlap, np.zeros_like(overlap), ~is_on, color=style.INK, linewidth=1.6)
    _with_breaks(ax, overlap, np.zeros_like(overlap), is_on, color=style.INK, linewidth=1.0, linestyle=_UNSTABLE)
    for sign in (1.0, -1.0):
        for name, dashes in (("structured", "-"), ("structured chaos", _DOTTED)):
            _with_breaks(ax, overlap, sign * kappa, phase == name, color=style.INK, linewidth=1.6, linestyle=dashes)
    if at is not None:
        ax.plot([at[0], at[0]], [at[1], -at[1]], "o", color=style.PSTH_MODEL, markersize=5.0, zorder=3)
    ax.set_xlim(float(overlap.min()), float(overlap.max()))
    ax.set_xlabel("overlap of the loadings")
    ax.set_ylabel("activity along m, kappa")
    return ax


def plot_balance(ax: Axes, curve: xr.Dataset, *, in_degree: float | None = None) -> Axes:
    """Draw the rates of balanced populations against their number of inputs.

    Solid: exact; dashed: to first order in 1/sqrt(K); thin: infinite K.

    Parameters
    ----------
    ax : matplotlib.axes.Axes
        Where to draw.
    curve : xarray.Dataset
        From `cortexrnn.theory.mean_field.balanced_curve`.
    in_degree : float, optional
        K to mark.

    Returns
    -------
    matplotlib.axes.Axes
        The same axes.

    Raises
    ------
    DataError
        If a variable is missing.
    """
    check_variables(curve, "rate", "first_order", "limit")
    k = curve["in_degree"].values
    others = iter(style.CONDITIONS[3:] * 4)
    for name in curve["population"].values:
        one, colour = curve.sel(population=name), _COLOURS.get(str(name)) or next(others)
        ax.axhline(float(one["limit"]), color=colour, linewidth=0.6, zorder=1)
        ax.plot(k, one["first_order"], color=colour, linewidth=1.0, linestyle=_UNSTABLE)
        ax.plot(k, one["rate"], color=colour, linewidth=1.6, label=str(name))
        if in_degree is not None:
            at = float(np.interp(np.log(in_degree), np.log(k), one["rate"].values))
            ax.plot([in_degree], [at], "o", color=colour, markersize=4.5)
    exact = curve["rate"].values
    low, high = min(exact.min(), curve["limit"].values.min()), max(exact.max(), curve["limit"].values.max())
    margin = 0.15 * (high - low)
    # The first order leaves the picture at small K, where it means nothing.
    ax.set_ylim(low - margin, high + margin)
    ax.set_xscale("log")
    ax.set_xlim(k[0], k[-1])
    decades = 10.0 ** np.arange(np.ceil(np.log10(k[0]) - 1e-9), np.floor(np.log10(k[-1]) + 1e-9) + 1.0, 2.0)
    ax.set_xticks(decades, [f"{value:,.0f}" for value in decades])
    ax.set_xticks([], minor=True)
    ax.set_xlabel("inputs of a unit, K")
    ax.set_ylabel("rate")
    ax.legend(loc="upper right")
    return ax


def plot_memory(
    ax: Axes, branches: xr.Dataset, *, window: tuple[float, float] | None = None, saddle_nodes: np.ndarray = ()
) -> Axes:
    """Draw the rate of an item in every steady state against the background.

    Black: at most this one item differs from the others; grey: states in which all but one do, or all are alike and
    active. Solid is stable, dotted unstable.

    Parameters
    ----------
    ax : matplotlib.axes.Axes
        Where to draw.
    branches : xarray.Dataset
        From `cortexrnn.theory.mean_field.bistable_window`.
    window : tuple of float, optional
        Backgrounds to shade.
    saddle_nodes : array_like
        Backgrounds at which lines are drawn to the axis.

    Returns
    -------
    matplotlib.axes.Axes
        The same axes.

    Raises
    ------
    DataError
        If a variable is missing.
    """
    check_variables(branches, "background", "rate_hz", "growth", "branch")
    if window is not None:
        ax.axvspan(*window, color=style.EQUIVALENCE, linewidth=0.0, zorder=0)
        ax.text(
            np.mean(window), 1.0, "both stable", transform=ax.get_xaxis_transform(), ha="center", va="bottom",
            color=style.MUTED, fontsize=9.5,
        )  # fmt: skip
    for number in np.unique(branches["branch"].values):
        one = branches.isel(point=np.flatnonzero(branches["branch"].values == number))
        is_low = (one["rate_others_hz"] <= one["rate_hz"] + 1e-9).values
        is_stable = (one["growth"] < 0.0).values
        at, rate = one["background"].values, one["rate_hz"].values
        for stable, dashes, width in ((True, "-", 1.6), (False, _DOTTED, 1.1)):
            for low, colour in ((True, style.INK), (False, style.NOT_HISTORY)):
                chosen = (is_stable == stable) & (is_low == low)
                _with_breaks(ax, at, rate, chosen, color=colour, linestyle=dashes, linewidth=width)
    for place in saddle_nodes:
        ax.plot([place, place], [0.0, 0.03], color=style.PSTH_MODEL, transform=ax.get_xaxis_transform(), linewidth=1.2)
    ax.set_xlim(float(branches["background"].min()), float(branches["background"].max()))
    ax.set_ylim(0.0, 1.05 * float(branches["rate_hz"].max()))
    ax.set_xlabel("background")
    ax.set_ylabel("rate of an item (Hz)")
    return ax


def plot_phase_plane(
    ax: Axes, lines: xr.Dataset, *, states: xr.Dataset | None = None, orbit: xr.Dataset | None = None
) -> Axes:
    """Draw the nullclines of two populations, their steady states and a cycle.

    Parameters
    ----------
    ax : matplotlib.axes.Axes
        Where to draw.
    lines : xarray.Dataset
        From `cortexrnn.theory.mean_field.nullclines`.
    states : xarray.Dataset, optional
        ``rate`` (state, population) and ``is_stable``; filled where stable.
    orbit : xarray.Dataset, optional
        ``rate`` (time, population).

    Returns
    -------
    matplotlib.axes.Axes
        The same axes.

    Raises
    ------
    DataError
        If a variable is missing.
    """
    check_variables(lines, "rate")
    for name, colour in _COLOURS.items():
        curve = lines["rate"].sel(of=name).values
        ax.plot(curve[:, 0], curve[:, 1], color=colour, linewidth=1.3, label=f"{name} nullcline")
    if orbit is not None and orbit.sizes["time"]:
        ax.plot(*orbit["rate"].values.T, color=style.INK, linewidth=1.6, label="cycle")
    if states is not None:
        for rate, is_stable in zip(states["rate"].values, states["is_stable"].values, strict=True):
            ax.plot(
                *rate,
                "o",
                markersize=6.0,
                color=style.INK,
                markerfacecolor=style.INK if is_stable else "white",
                zorder=4,
            )
    ax.set_xlabel("excitatory rate")
    ax.set_ylabel("inhibitory rate")
    ax.set_xlim(left=0.0)
    ax.set_ylim(bottom=0.0)
    ax.legend(loc="lower right", bbox_to_anchor=(1.0, 1.0), ncols=3, columnspacing=1.0, handlelength=1.4, borderpad=0.1)
    return ax


def plot_branch(ax: Axes, states: xr.Dataset) -> Axes:
    """Draw the rates of a pair against the drive, shaded where inhibition stabilises them.

    Parameters
    ----------
    ax : matplotlib.axes.Axes
        Where to draw.
    states : xarray.Dataset
        Over ``drive``, from `cortexrnn.theory.mean_field.rest_branch`.

    Returns
    -------
    matplotlib.axes.Axes
        The same axes.

    Raises
    ------
    DataError
        If a variable is missing.
    """
    check_variables(states, "rate", "is_inhibition_stabilised")
    drive = states["drive"].values
    for name, colour in _COLOURS.items():
        ax.plot(drive, states["rate"].sel(population=name), color=colour, linewidth=1.6, label=name)
    held = drive[states["is_inhibition_stabilised"].values]
    if held.size:
        ax.axvspan(held.min(), held.max(), color=style.EQUIVALENCE, linewidth=0.0, zorder=0)
        ax.text(
            held.max(), 1.0, "inhibition-stabilised", transform=ax.get_xaxis_transform(), ha="right", va="bottom",
            color=style.MUTED, fontsize=9.5,
        )  # fmt: skip
    ax.set_xlim(drive[0], drive[-1])
    ax.set_ylim(bottom=0.0)
    ax.set_xlabel("drive")
    ax.set_ylabel("rate")
    ax.legend(loc="upper left")
    return ax


def plot_driven(ax: Axes, curve: xr.Dataset, *, at: tuple[float, float] | None = None) -> Axes:
    """Draw conditional exponents over the gain, one line an input strength, with the gains at which chaos begins.

    Parameters
    ----------
    ax : matplotlib.axes.Axes
        Where to draw.
    curve : xarray.Dataset
        From `cortexrnn.theory.mean_field.driven_curve`.
    at : tuple of float, optional
        Gain and exponent of a network to mark.

    Returns
    -------
    matplotlib.axes.Axes
        The same axes.

    Raises
    ------
    DataError
        If a variable is missing.
    """
    check_variables(curve, "exponent", "transition")
    gain = curve["gain"].values
    ax.axhline(0.0, color=style.RULE, linewidth=0.8, zorder=0)
    for k, strength in enumerate(curve["input_sd"].values):
        colour = style.CONDITIONS[k % len(style.CONDITIONS)]
        ax.plot(gain, curve["exponent"].values[k], color=colour, linewidth=1.5, label=f"{strength:g}")
        ax.plot(float(curve["transition"][k]), 0.0, "o", color=colour, markersize=4.5, zorder=3)
    if at is not None:
        ax.plot(*at, "o", color=style.PSTH_MODEL, markersize=6.0, zorder=4)
    ax.set(xlim=(gain[0], gain[-1]), xlabel="gain", ylabel="conditional exponent per step")
    ax.legend(title="input", loc="lower right")
    return ax


def plot_over(ax: Axes, dots: np.ndarray) -> Axes:
    """Lay what was measured over a figure of this module as rings, and widen its axes where they lie outside.

    Parameters
    ----------
    ax : matplotlib.axes.Axes
        With a figure.
    dots : ndarray, shape (n, 2)

    Returns
    -------
    matplotlib.axes.Axes
        The same axes.
    """
    known = dots[np.isfinite(dots).all(axis=1)]
    size = 8.0 if len(known) < 9 else 4.0
    ax.plot(
        *known.T, "o", markerfacecolor="none", markeredgecolor=style.PSTH_MODEL, markersize=size, zorder=5,
        label="measured",
    )  # fmt: skip
    for values, get, put in ((known[:, 0], ax.get_xlim, ax.set_xlim), (known[:, 1], ax.get_ylim, ax.set_ylim)):
        low, high = get()
        if values.size and (values.min() < low or values.max() > high):
            put(min(low, values.min()), max(high, 1.05 * values.max()))
    legend = ax.get_legend()
    title = legend.get_title().get_text() if legend else ""
    ax.legend(loc="lower right", bbox_to_anchor=(1.0, 1.0), ncols=4, title=title or None, title_fontsize=9.0)
    return ax


def _with_breaks(ax: Axes, x: np.ndarray, y: np.ndarray, chosen: np.ndarray, **look) -> None:
    """Draw the chosen part of a curve, joined to its neighbour so that no gap opens between parts."""
    grown = chosen | np.append(chosen[1:] & False, False) | np.append(False, chosen[:-1])
    if chosen.any():
        ax.plot(np.where(grown, x, np.nan), np.where(grown, y, np.nan), **look)
