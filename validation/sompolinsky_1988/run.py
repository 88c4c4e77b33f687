"""Sompolinsky, Crisanti and Sommers (1988): a random network is silent below gain 1 and chaotic above."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import xarray as xr

from cortexrnn.circuit import load_circuit
from cortexrnn.dynamics import simulate
from cortexrnn.report import style
from cortexrnn.validation.targets import run_script

if TYPE_CHECKING:
    from matplotlib.figure import Figure

GAINS = (0.8, 1.5)
TAU_S, STEPS_PER_TAU = 0.01, 10
LENGTH_TAU, LAG_TAU, APART_TAU = 200, 60, 150
DIFFERENCE = 1e-8


def pair_of_trials(gain: float) -> xr.DataArray:
    """Simulate two trials whose starts differ by `DIFFERENCE` in every unit; rates, dims (trial, time, unit)."""
    circuit = replace(load_circuit("sompolinsky_1988"), gain=gain)
    start = np.random.default_rng(1988).standard_normal(circuit.size)
    both = np.stack([start, start + DIFFERENCE])
    return simulate(
        circuit, duration_s=LENGTH_TAU * TAU_S + TAU_S, dt_s=TAU_S / STEPS_PER_TAU, n_trials=2, initial=both
    )["rate"]


def distance(rates: np.ndarray, tau: int) -> float:
    """Give the root mean square difference of the two trials at a time in tau."""
    difference = rates[1, tau * STEPS_PER_TAU] - rates[0, tau * STEPS_PER_TAU]
    return float(np.sqrt(np.mean(difference**2)))


def measure() -> tuple[dict[str, float], dict[float, np.ndarray]]:
    """Simulate both gains and look at the rates after 200 tau."""
    runs = {gain: pair_of_trials(gain).values for gain in GAINS}
    chaotic = runs[1.5]
    at_end = LENGTH_TAU * STEPS_PER_TAU
    lagged = chaotic[0, at_end - LAG_TAU * STEPS_PER_TAU]
    values = {
        "quiescent_sd": float(runs[0.8][0, at_end].std()),
        "chaotic_sd": float(chaotic[0, at_end].std()),
        "chaotic_autocorrelation": abs(float(np.corrcoef(chaotic[0, at_end], lagged)[0, 1])),
        "separation": distance(chaotic, APART_TAU) / distance(chaotic, 0),
    }
    return values, {gain: rates[0, :, :6] for gain, rates in runs.items()}


def draw(figure: Figure, evidence: dict[float, np.ndarray]) -> None:
    """Draw six units of each network."""
    panels = figure.subplots(1, 2, sharey=True)
    for ax, (gain, rates) in zip(panels, evidence.items(), strict=True):
        time_tau = np.arange(len(rates)) / STEPS_PER_TAU
        for unit, colour in enumerate(style.CONDITIONS):
            ax.plot(time_tau, rates[:, unit], color=colour, linewidth=0.9)
        ax.set(xlim=(0.0, 100.0), ylim=(-1.05, 1.05), xlabel="time (tau)")
        ax.set_title(f"g = {gain:g}", fontsize=10.5)
    panels[0].set_ylabel("rate")


if __name__ == "__main__":
    run_script("sompolinsky_1988", __file__)
