"""Jaeger (2001): a linear reservoir of N units holds N past inputs, and no reservoir holds more."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from cortexrnn.cells.activation import Activation
from cortexrnn.report import style
from cortexrnn.report.circuits import EXCITATORY, INHIBITORY
from cortexrnn.training.reservoirs.memory import MemoryCapacity, linear_memory, memory_capacity
from cortexrnn.training.reservoirs.reservoir import Reservoir, ReservoirSpec
from cortexrnn.validation.targets import run_script

if TYPE_CHECKING:
    from matplotlib.figure import Figure

N_UNITS, LONGEST, N_STEPS = 50, 299, 10_000
RADII = (0.8, 0.9, 0.95, 0.99)
COLOURS = {"orthogonal": EXCITATORY, "cycle": INHIBITORY}


def reservoir(wiring: str, radius: float, kind: str = "linear") -> Reservoir:
    """Draw a reservoir."""
    activation = Activation(kind=kind)
    return ReservoirSpec(n_units=N_UNITS, wiring=wiring, spectral_radius=radius, activation=activation).build()


def standard_errors_off(measured: MemoryCapacity, exact: MemoryCapacity) -> float:
    """Give the largest distance of two curves in standard errors."""
    r2 = exact.curve
    variance = 4.0 * r2 * (1.0 - r2) ** 2 / N_STEPS + 2.0 / N_STEPS**2
    loss = (1.0 - r2) * N_UNITS / N_STEPS
    return float(np.max(np.abs(measured.curve - r2) / (np.sqrt(variance) + loss)))


def measure() -> tuple[dict[str, float], dict[str, Any]]:
    """Measure and compute memories over the spectral radius."""
    kinds = [(wiring, radius) for wiring in COLOURS for radius in RADII]
    exact = {kind: linear_memory(reservoir(*kind), LONGEST) for kind in kinds}
    measured = {
        kind: memory_capacity(reservoir(*kind), n_steps=N_STEPS, max_delay=LONGEST, seed=i)
        for i, kind in enumerate(kinds)
    }
    tanh = memory_capacity(reservoir("orthogonal", 0.9, "tanh"), n_steps=N_STEPS, max_delay=LONGEST)
    per_unit = {kind: memory.capacity / N_UNITS for kind, memory in measured.items()}
    values = {
        "capacity_high": per_unit["orthogonal", 0.99],
        "capacity_low": per_unit["orthogonal", 0.9],
        "largest": max((m.capacity - 4.0 * m.standard_error) / N_UNITS for m in measured.values()),
        "exact_total": linear_memory(reservoir("orthogonal", 0.8), 1000).capacity / N_UNITS,
        "cycle_curve": float(exact["cycle", 0.95].curve[0]),
        "off_by": max(standard_errors_off(measured["orthogonal", r], exact["orthogonal", r]) for r in RADII),
        "tanh_capacity": tanh.capacity / measured["orthogonal", 0.9].capacity,
    }
    return values, {"exact": exact, "measured": measured}


def draw(figure: Figure, evidence: dict[str, Any]) -> None:
    """Draw memory curves and capacities."""
    left, right = figure.subplots(1, 2, width_ratios=(1.3, 1.0))
    delays = np.arange(LONGEST + 1)
    for radius, shade in zip(RADII, np.linspace(0.35, 1.0, len(RADII)), strict=True):
        kind = ("orthogonal", radius)
        left.plot(delays, evidence["exact"][kind].curve, color=EXCITATORY, alpha=shade, linewidth=1.2)
        points = evidence["measured"][kind].curve[::4]
        left.plot(delays[::4], points, ".", color=EXCITATORY, alpha=shade, markersize=3.0, label=f"rho = {radius}")
    left.set(xlim=(0, 150), ylim=(-0.02, 1.05), xlabel="delay (steps)", ylabel="squared correlation")
    left.legend(frameon=False)
    for wiring, colour in COLOURS.items():
        memories = [evidence["measured"][wiring, radius] for radius in RADII]
        errors = [memory.standard_error for memory in memories]
        right.errorbar(RADII, [memory.capacity for memory in memories], errors, fmt="o", color=colour, label=wiring)
        right.plot(RADII, [evidence["exact"][wiring, radius].capacity for radius in RADII], color=colour)
    right.axhline(N_UNITS, color=style.INK, linewidth=0.8, linestyle=":")
    right.set(xlabel="spectral radius", ylabel="capacity", ylim=(0.0, 1.15 * N_UNITS))
    right.legend(frameon=False, loc="lower left")


if __name__ == "__main__":
    run_script("memory_capacity", __file__)
