"""Mongillo, Barak and Tsodyks (2008): a memory in facilitated synapses, silent until a pulse to all wakes it."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import xarray as xr

from cortexrnn.circuit import load_circuit
from cortexrnn.dynamics import Pulse, Record, Samples, simulate
from cortexrnn.report import style
from cortexrnn.theory.mean_field import MemoryItems, bistable_window
from cortexrnn.validation.targets import run_script

if TYPE_CHECKING:
    from matplotlib.figure import Figure

PUBLISHED = "mongillo_2008"
N_ITEMS = 5
# To load an item: 20 into its unit.
LOAD = 20.0 * np.eye(N_ITEMS)[0]
LOAD_START_S, LOAD_STOP_S = 1.0, 1.35
PULSE, PULSE_S = 8.0, 0.1
# Loads and backgrounds change on this grid.
GRID_S = 0.05
BACKGROUNDS = np.round(np.arange(-2.5, 0.301, 0.05), 2)
HOLDING, CARRY_S, END_S = -0.8, (3.0, 13.0), 43.0
ACTIVE_HZ, STEADY_HZ = 3.0, 0.05
BURSTING = -1.6


def loading(duration_s: float) -> np.ndarray:
    """Give the input that loads item 1, shape (n_samples, n_items)."""
    number = np.arange(round(duration_s / GRID_S))
    is_on = (number >= round(LOAD_START_S / GRID_S)) & (number < round(LOAD_STOP_S / GRID_S))
    return is_on[:, None] * LOAD


def episode(delay_s: float, *, is_loaded: bool = True, tau_f_s: float | None = None) -> xr.Dataset:
    """Load item 1 or not, wait, and send the same pulse to all items; rates in Hz."""
    spec = load_circuit(PUBLISHED)
    if tau_f_s is not None:
        spec = replace(spec, plasticity={name: replace(stp, tau_f_s=tau_f_s) for name, stp in spec.plasticity.items()})
    start_s = LOAD_STOP_S + delay_s
    duration_s = round(start_s + 1.0, 3)
    stimulus = {
        "pulse": Pulse(amplitude=PULSE, start_s=start_s, stop_s=start_s + PULSE_S),
        "items": Samples(values=is_loaded * loading(duration_s), step_s=GRID_S),
    }
    run = simulate(spec, duration_s=duration_s, stimulus=stimulus, initial=spec.bias)
    return run.assign(rate=spec.rate_scale_hz * run["rate"]).assign_attrs(pulse_s=start_s).isel(trial=0)


def peak_ratio(run: xr.Dataset) -> float:
    """Give the peak of item 1 under and after the pulse over that of item 2."""
    peaks = run["rate"].sel(time=slice(run.attrs["pulse_s"], None)).max("time").values
    return float(peaks[0] / peaks[1])


def end_states() -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """Give mean and deviation over the last five seconds of the rate of item 1 at every background, in Hz.

    Every background is a trial. ``loaded``: item 1 is loaded at that background. ``carried``: it is loaded where its
    fixed point is reached quickly, and the background moves slowly, so that the fixed point is not left before
    it is lost. ``not loaded``: nothing happens.
    """
    spec = load_circuit(PUBLISHED)
    load = loading(END_S)
    progress = np.clip((np.arange(len(load)) * GRID_S - CARRY_S[0]) / (CARRY_S[1] - CARRY_S[0]), 0.0, 1.0)
    at_once = (BACKGROUNDS - spec.bias[0])[:, None, None]
    slowly = HOLDING - spec.bias[0] + (BACKGROUNDS - HOLDING)[:, None, None] * progress[:, None]
    initial = np.full((BACKGROUNDS.size, spec.size), HOLDING)
    # Without any difference between items nothing could break their symmetry.
    initial[:, 0] += 1e-3
    found = {}
    for name, values in (("loaded", at_once + load), ("carried", slowly + load), ("not loaded", at_once + 0.0 * load)):
        rate = simulate(
            spec, duration_s=END_S, n_trials=BACKGROUNDS.size, initial=initial,
            stimulus={"items": Samples(values=values, step_s=GRID_S)},
            record=Record(start_s=END_S - 5.0, plasticity=False, units=[0]),
        )["rate"].isel(unit=0)  # fmt: skip
        scale_hz = spec.rate_scale_hz
        found[name] = scale_hz * rate.mean("time").values, scale_hz * rate.std("time").values
    return found


def measure() -> tuple[dict[str, float], dict[str, Any]]:
    """Reactivate a silent memory, with the controls, and find the bistable window."""
    run = episode(1.2)
    before = run.sel(time=run.attrs["pulse_s"] - 5e-3, method="nearest")
    states = end_states()
    mean_hz, sd_hz = states["carried"]
    is_held = (mean_hz > ACTIVE_HZ) & (sd_hz < STEADY_HZ)
    window = BACKGROUNDS[is_held & (states["not loaded"][0] < ACTIVE_HZ)]
    bursts_mean_hz, bursts_sd_hz = (values[np.flatnonzero(BACKGROUNDS == BURSTING)[0]] for values in states["loaded"])
    bistable = bistable_window(MemoryItems.of_circuit(load_circuit(PUBLISHED)), (BACKGROUNDS[0], BACKGROUNDS[-1]))
    edges = bistable.low.background, bistable.high.background
    values = {
        "rate_above_others": float(before["rate"][0] - before["rate"][1]),
        "u_over_others": float(before["u"][0] / before["u"][1]),
        "peak_over_others": peak_ratio(run),
        "peak_unloaded": peak_ratio(episode(1.2, is_loaded=False)),
        "peak_without_facilitation": peak_ratio(episode(1.2, tau_f_s=0.0)),
        "peak_after_8_s": peak_ratio(episode(8.0)),
        "lower_edge": float(window.min()) if window.size else np.nan,
        "upper_edge": float(window.max()) if window.size else np.nan,
        "bursting": float(bursts_sd_hz / bursts_mean_hz),
        "lower_edge_theory": edges[0],
        "upper_edge_theory": edges[1],
    }
    return values, {"run": run, "states": states, "edges": edges}


def draw(figure: Figure, evidence: dict[str, Any]) -> None:
    """Draw the episode, its synapses, and the window."""
    run = evidence["run"]
    panels = figure.subplot_mosaic([["rate", "window"], ["u", "window"]], width_ratios=(3.0, 2.0))
    time_s = run["time"].values
    for name, words, top in (("rate", "rate (Hz)", 105.0), ("u", "u", 1.0)):
        ax = panels[name]
        ax.axvspan(LOAD_START_S, LOAD_STOP_S, color=style.OBSERVED, linewidth=0.0)
        ax.axvspan(run.attrs["pulse_s"], run.attrs["pulse_s"] + PULSE_S, color=style.EQUIVALENCE, linewidth=0.0)
        ax.plot(time_s, run[name].values[:, 1], color=style.PSTH_MODEL, linewidth=1.2)
        ax.plot(time_s, run[name].values[:, 0], color=style.INK, linewidth=1.4)
        ax.set(xlim=(0.7, 3.5), ylim=(0.0, top), ylabel=words)
    panels["rate"].tick_params(labelbottom=False)
    panels["u"].set_xlabel("time (s)")
    panels["rate"].text(LOAD_STOP_S + 0.05, 90.0, "load", color=style.MUTED)
    panels["rate"].text(run.attrs["pulse_s"] - 0.05, 90.0, "all", ha="right", color=style.MUTED)
    ax = panels["window"]
    ax.axvspan(*evidence["edges"], color=style.EQUIVALENCE, linewidth=0.0)
    for name, marker, face, edge in (
        ("carried", "o", style.INK, style.INK),
        ("loaded", "^", style.PSTH_MODEL, style.PSTH_MODEL),
        ("not loaded", "o", "white", style.INK),
    ):
        look = {"markerfacecolor": face, "markeredgecolor": edge, "markeredgewidth": 0.7, "markersize": 3.0}
        ax.plot(BACKGROUNDS, evidence["states"][name][0], marker, **look)
    ax.set(xlabel="background", ylabel="rate after 30 s (Hz)", ylim=(-0.5, None))


if __name__ == "__main__":
    run_script("mongillo_2008", __file__)
