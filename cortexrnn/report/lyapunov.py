"""Figures of Lyapunov exponents, of gradients on their way through time, and of what gates keep."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import xarray as xr

from cortexrnn.report import style
from cortexrnn.report.figure_file import check_variables, draw_file

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_SIZE_IN = (4.4, 3.2)
# More exponents than this are a line, fewer are points with bars.
_MAX_POINTS = 60
_MAX_RUNNING = 6
_POSITIVE, _NEGATIVE = style.PSTH_MODEL, style.HISTORY_MODEL
_LOG10 = np.log(10.0)


def plot_exponents(ax: Axes, spectrum: xr.Dataset) -> Axes:
    """Draw exponents over their index, the positive ones in their own colour, up to the dimension shaded.

    Parameters
    ----------
    ax : matplotlib.axes.Axes
        Where to draw.
    spectrum : xarray.Dataset
        From ``LyapunovSpectrum.to_dataset()``.

    Returns
    -------
    matplotlib.axes.Axes
        The same axes; exponents per tau where the dataset has a time constant.

    Raises
    ------
    DataError
        If a variable is missing.
    """
    check_variables(spectrum, "exponent", "error")
    factor, unit = _unit(spectrum)
    index = spectrum["index"].values
    values, errors = (factor * spectrum[name].values for name in ("exponent", "error"))
    is_known = np.isfinite(values)
    dimension = float(spectrum.attrs["dimension"])
    if dimension > 0.0:
        ax.axvspan(0.5, dimension + 0.5, color=style.EQUIVALENCE, linewidth=0.0, zorder=0)
    ax.axhline(0.0, color=style.RULE, linewidth=0.8, zorder=1)
    is_positive = is_known & (values > 0.0)
    is_line = index.size > _MAX_POINTS
    for chosen, colour in ((is_known & ~is_positive, _NEGATIVE), (is_positive, _POSITIVE)):
        if is_line:
            ax.fill_between(
                index[chosen], (values - 2.0 * errors)[chosen], (values + 2.0 * errors)[chosen], color=colour,
                alpha=0.22, linewidth=0.0, zorder=2,
            )  # fmt: skip
            ax.plot(index[chosen], values[chosen], color=colour, linewidth=1.5, zorder=3)
        else:
            ax.vlines(
                index[chosen], (values - 2.0 * errors)[chosen], (values + 2.0 * errors)[chosen], color=colour, zorder=2
            )
            ax.plot(index[chosen], values[chosen], "o", color=colour, markersize=4.0, zorder=3)
    ax.set(xlim=(0.5, index[-1] + 0.5), xlabel="index", ylabel=f"Lyapunov exponent ({unit})")
    ax.text(0.03, 0.05, _summary(spectrum, factor, unit), transform=ax.transAxes, fontsize=9.5, va="bottom")
    return ax


def plot_running(ax: Axes, spectrum: xr.Dataset) -> Axes:
    """Draw how the estimates of the leading exponents settled.

    Parameters
    ----------
    ax : matplotlib.axes.Axes
        Where to draw.
    spectrum : xarray.Dataset
        From ``LyapunovSpectrum.to_dataset()``.

    Returns
    -------
    matplotlib.axes.Axes
        The same axes; bars are two standard errors around the last estimate.

    Raises
    ------
    DataError
        If a variable is missing.
    """
    check_variables(spectrum, "running", "error")
    factor, unit = _unit(spectrum)
    time = spectrum["time"].values / (float(spectrum.attrs["tau_s"]) if "tau_s" in spectrum.attrs else 1.0)
    running, errors = factor * spectrum["running"].values, factor * spectrum["error"].values
    shown = np.flatnonzero(np.isfinite(running[-1]))[:_MAX_RUNNING]
    ax.axhline(0.0, color=style.RULE, linewidth=0.8, zorder=0)
    for at, (k, colour) in enumerate(zip(shown, style.CONDITIONS, strict=False)):
        ax.plot(time, running[:, k], color=colour, linewidth=1.2, label=f"{k + 1}" if at else f"index {k + 1}")
        # Bars stand side by side behind the last estimate, where they hide no line.
        ends = running[-1, k] - 2.0 * errors[k], running[-1, k] + 2.0 * errors[k]
        ax.vlines(time[-1] * (1.02 + 0.015 * at), *ends, color=colour, linewidth=2.0)
    ax.set(xlim=(0.0, 1.12 * time[-1]), ylabel=f"exponent so far ({unit})")
    ax.set_xlabel("time (tau)" if "tau_s" in spectrum.attrs else "time (s)")
    ax.legend(loc="lower right", bbox_to_anchor=(1.0, 0.98), ncols=_MAX_RUNNING, fontsize=9.0, handlelength=1.0)
    return ax


def plot_products(ax: Axes, products: xr.Dataset, *, direction: str = "backward") -> Axes:
    """Draw singular values of products over the number of steps, beside the slope of the largest Lyapunov exponent.

    Parameters
    ----------
    ax : matplotlib.axes.Axes
        Where to draw.
    products : xarray.Dataset
        ``products`` of a `GradientFlow` with ``lyapunov`` over (direction, index), per second.
    direction : {"backward", "forward"}

    Returns
    -------
    matplotlib.axes.Axes
        The same axes; the ordinate is a power of ten.

    Raises
    ------
    DataError
        If a variable is missing.
    """
    check_variables(products, "log_value", "lyapunov")
    one = products.sel(direction=direction)
    lag, values = one["lag"].values, one["log_value"].values / _LOG10
    ax.axhline(0.0, color=style.RULE, linewidth=0.8, zorder=0)
    for k in range(1, values.shape[1]):
        label = "other singular values" if k == 1 else None
        ax.plot(lag, values[:, k], color=style.OBSERVED, linewidth=1.0, label=label, zorder=1)
    ax.plot(lag, values[:, 0], color=_NEGATIVE, linewidth=1.8, label="largest", zorder=3)
    first = int(0.25 * lag.size)
    dt_s = float(one["lag_s"][0] / one["lag"][0])
    slope = float(one["lyapunov"][0]) * dt_s / _LOG10
    if np.isfinite(slope):
        line = values[first, 0] + slope * (lag[first:] - lag[first])
        ax.plot(lag[first:], line, color=_POSITIVE, linestyle="--", label="Lyapunov exponent", zorder=4)
    if "log_gradient" in one:
        ax.plot(lag, one["log_gradient"] / _LOG10, color=style.CONDITIONS[3], label="gradient of the loss", zorder=2)
    if "log_bound" in one:
        low, high = np.nanmin(values), np.nanmax(values)
        bound = one["log_bound"].values / _LOG10
        # A bound that leaves the picture would flatten all the rest.
        is_near = bound < high + 0.5 * (high - low + 1.0)
        ax.plot(lag[is_near], bound[is_near], ":", color=style.INK, label="bound")
    ax.set(xlim=(0, lag[-1]), ylabel="singular value, power of 10")
    ax.set_xlabel("steps back" if direction == "backward" else "steps on")
    ax.legend(fontsize=9.0, loc="best")
    return ax


def plot_forget_times(ax: Axes, gates: xr.Dataset) -> Axes:
    """Draw the time constants of forget gates, units in the order of theirs, with the middle 80 % over time.

    Parameters
    ----------
    ax : matplotlib.axes.Axes
        Where to draw.
    gates : xarray.Dataset
        From `cortexrnn.theory.gates.forget_times`.

    Returns
    -------
    matplotlib.axes.Axes
        The same axes, logarithmic in steps; a gate that never forgets stands at the upper edge.

    Raises
    ------
    DataError
        If a variable is missing.
    """
    check_variables(gates, "tau_s", "tau_low_s", "tau_high_s")
    dt_s = float(gates.attrs["dt_s"])
    order = np.argsort(gates["tau_s"].values, kind="stable")
    middle, low, high = (gates[name].values[order] / dt_s for name in ("tau_s", "tau_low_s", "tau_high_s"))
    finite = np.concatenate([each[np.isfinite(each) & (each > 0.0)] for each in (middle, low, high)])
    ceiling = 2.0 * finite.max(initial=1.0)
    floor = 0.5 * finite.min(initial=1.0)
    low, middle, high = (np.clip(each, floor, ceiling) for each in (low, middle, high))
    rank = np.arange(1, order.size + 1)
    ax.vlines(rank, low, high, color=style.OBSERVED, linewidth=2.0, zorder=1)
    ax.plot(rank, middle, "o", color=_NEGATIVE, markersize=3.6, zorder=2)
    ax.set_yscale("log")
    _plain_ticks(ax)
    ax.set(xlim=(0.0, order.size + 1.0), xlabel="unit, in the order of its time constant")
    ax.set_ylabel("forget gate's time constant (steps)")
    return ax


def draw_lyapunov(
    folder: str | Path, *, spectrum: xr.Dataset | None = None, products: xr.Dataset | None = None,
    gates: xr.Dataset | None = None,
) -> list[Path]:  # fmt: skip
    """Draw what there is, one file a figure.

    Parameters
    ----------
    folder : path
        Made if it does not exist.
    spectrum, products, gates : xarray.Dataset, optional
        As `plot_exponents` and `plot_running`, `plot_products`, and `plot_forget_times` take them.

    Returns
    -------
    list of pathlib.Path
        SVG files.

    Raises
    ------
    FileAccessError
        If the folder cannot be written to.
    """
    plots = (
        ("lyapunov", plot_exponents, spectrum),
        ("lyapunov_running", plot_running, spectrum),
        ("gradient_flow", plot_products, products),
        ("forget_times", plot_forget_times, gates),
    )
    return [
        draw_file(Path(folder) / f"{name}.svg", _SIZE_IN, lambda figure, p=plot, f=found: p(figure.subplots(), f))
        for name, plot, found in plots
        if found is not None
    ]


def _plain_ticks(ax: Axes) -> None:
    """Write ticks of a logarithmic ordinate as plain numbers: the style of the package reads no mathematics."""
    from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

    low, high = ax.get_ylim()
    ax.yaxis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0) if high / low < 100.0 else (1.0,)))
    ax.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    ax.yaxis.set_minor_formatter(NullFormatter())


def _unit(spectrum: xr.Dataset) -> tuple[float, str]:
    """Give by what exponents per second are multiplied, and the unit that they then have."""
    if "tau_s" in spectrum.attrs:
        return float(spectrum.attrs["tau_s"]), "per tau"
    return 1.0, "per s"


def _summary(spectrum: xr.Dataset, factor: float, unit: str) -> str:
    """Write dimension and entropy rate where they are known."""
    dimension, entropy = float(spectrum.attrs["dimension"]), factor * float(spectrum.attrs["entropy_per_s"])
    lines = []
    if np.isfinite(dimension):
        lines.append(f"dimension {dimension:.3g} of {spectrum.attrs['size']}")
    if np.isfinite(entropy):
        lines.append(f"entropy rate {entropy:.3g} nats {unit}")
    return "\n".join(lines)
