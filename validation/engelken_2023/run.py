"""Engelken, Wolf and Abbott (2023): the chaos of random networks is extensive; its dimension, entropy and exponents."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from cortexrnn.circuit import Circuit
from cortexrnn.report import style
from cortexrnn.theory.lyapunov import LyapunovOptions, lyapunov
from cortexrnn.theory.lyapunov_spectrum import LyapunovSpectrum
from cortexrnn.theory.rate_system import circuit_system
from cortexrnn.validation.targets import run_script

if TYPE_CHECKING:
    from matplotlib.figure import Figure

TAU_S, STEPS_PER_TAU = 0.01, 10
# Gains, with the part of all exponents that is computed at first: somewhat more than the dimension.
PART = {2.0: 0.06, 3.0: 0.085}
JUDGED, ALL_GAINS = 400, (1.5, 2.0, 3.0)
DIMENSION_LIMIT = {2.0: 0.0355, 3.0: 0.0609}


@dataclass(frozen=True, kw_only=True, slots=True)
class Plan:
    """How much is computed.

    Attributes
    ----------
    n_networks : mapping of int to int
        Networks of every size, for dimension and entropy.
    duration_tau, transient_tau : float
        Of every run.
    largest_size, n_largest : int
        Units and number of the networks whose largest exponent is computed alone.
    """

    n_networks: Mapping[int, int]
    duration_tau: float = 300.0
    transient_tau: float = 100.0
    largest_size: int = 1600
    n_largest: int = 3


FULL = Plan(n_networks={200: 24, 400: 12, 800: 6})
QUICK = Plan(n_networks={200: 4, 400: 3, 800: 1}, duration_tau=150.0, transient_tau=60.0, largest_size=800, n_largest=1)


def exponents(size: int, gain: float, seed: int, n: int, plan: Plan) -> LyapunovSpectrum:
    """Give the `n` largest exponents of a network."""
    circuit = Circuit.random(size, gain=gain, seed=seed, tau_s=TAU_S)
    return lyapunov(
        circuit_system(circuit, dt_s=TAU_S / STEPS_PER_TAU), n=n, seed=seed, duration_s=plan.duration_tau * TAU_S,
        transient_s=plan.transient_tau * TAU_S, options=LyapunovOptions(tau_s=TAU_S),
    )  # fmt: skip


def with_dimension(size: int, gain: float, seed: int, plan: Plan) -> LyapunovSpectrum:
    """Give as many exponents as the dimension needs."""
    n = int(PART[gain] * size) + 4
    while True:
        found = exponents(size, gain, seed, n, plan)
        if np.isfinite(found.dimension.value):
            return found
        n = min(2 * n, size)


def measure(plan: Plan = FULL) -> tuple[dict[str, float], dict[str, Any]]:
    """Compute all networks."""
    spectra = {
        gain: {
            size: [with_dimension(size, gain, seed, plan) for seed in range(n)] for size, n in plan.n_networks.items()
        }
        for gain in PART
    }
    dimension = {
        gain: {size: np.array([one.dimension.value for one in found]) / size for size, found in by_size.items()}
        for gain, by_size in spectra.items()
    }
    values: dict[str, float] = {}
    for gain, by_size in spectra.items():
        entropy = [one.entropy_per_s * TAU_S / JUDGED for one in by_size[JUDGED]]
        values[f"dimension_{gain:g}"] = float(dimension[gain][JUDGED].mean())
        values[f"entropy_{gain:g}"] = float(np.mean(entropy))
    means = {gain: {size: float(each.mean()) for size, each in found.items()} for gain, found in dimension.items()}
    sizes = list(means[3.0].values())
    values["spread_3"] = (max(sizes) - min(sizes)) / float(np.mean(sizes))
    values["small_2"] = means[2.0][200] / means[2.0][800]
    for gain in ALL_GAINS:
        runs = [exponents(plan.largest_size, gain, 100 + seed, 1, plan) for seed in range(plan.n_largest)]
        values[f"exponent_{gain:g}"] = float(np.mean([run.exponents_per_tau[0] for run in runs]))
    return values, {"spectra": spectra, "dimension": dimension}


def draw(figure: Figure, evidence: dict[str, Any]) -> None:
    """Draw spectra over the index per unit, and dimensions per unit over the size."""
    left, right = figure.subplots(1, 2, width_ratios=(1.25, 1.0))
    left.axhline(0.0, color=style.RULE, linewidth=0.8, zorder=0)
    looks = dict(zip(FULL.n_networks, (":", "--", "-"), strict=True))
    colours = dict(zip(PART, (style.HISTORY_MODEL, style.PSTH_MODEL), strict=True))
    for gain, by_size in evidence["spectra"].items():
        for size, found in by_size.items():
            n = min(one.exponents_per_s.size for one in found)
            mean = np.mean([one.exponents_per_tau[:n] for one in found], axis=0)
            label = f"N = {size}" if gain == 3.0 else None
            index = (np.arange(n) + 0.5) / size
            left.plot(index, mean, looks[size], color=colours[gain], linewidth=1.3, label=label)
    left.set(xlim=(0.0, 0.085), xlabel="index / N", ylabel="exponent (per tau)")
    left.legend(handlelength=2.2, loc="upper right")
    for gain, by_size in evidence["dimension"].items():
        colour = colours[gain]
        right.axhline(DIMENSION_LIMIT[gain], color=colour, linewidth=0.8, linestyle=":", zorder=1)
        sizes = np.array(list(by_size))
        for size, each in by_size.items():
            right.plot(np.full(each.size, size), each, "o", color=colour, alpha=0.25, markersize=3.0, zorder=2)
        means = [each.mean() for each in by_size.values()]
        right.plot(sizes, means, "o-", color=colour, markersize=5.0, zorder=3, label=f"g = {gain:g}")
    right.set_xscale("log")
    right.set_xticks(list(FULL.n_networks), [str(size) for size in FULL.n_networks])
    right.set_xticks([], minor=True)
    right.set(xlim=(160.0, 1000.0), xlabel="N", ylabel="dimension / N")
    right.set_ylim(bottom=0.0)
    right.legend(loc="lower right")


def measure_quick() -> tuple[dict[str, float], dict[str, Any]]:
    """Compute fewer networks for a shorter time; the largest exponent is that of 800 units in place of 1600."""
    return measure(QUICK)


if __name__ == "__main__":
    run_script("engelken_2023", __file__)
