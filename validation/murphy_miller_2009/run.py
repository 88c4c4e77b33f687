"""Murphy and Miller (2009): a balanced pair amplifies differences into sums while all its eigenvalues decay."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
from scipy.linalg import expm, schur
from scipy.optimize import minimize_scalar

from cortexrnn.circuit import Circuit, WeightLaw, build_weights, load_circuit
from cortexrnn.dynamics import Solver, simulate
from cortexrnn.report import style
from cortexrnn.report.circuits import EXCITATORY, INHIBITORY
from cortexrnn.validation.targets import run_script

if TYPE_CHECKING:
    from matplotlib.figure import Figure

WEIGHTS = (0.5, 1.0, 2.0, 4.0, 6.0, 8.0)
SUM, DIFFERENCE = np.array([1.0, 1.0]) / math.sqrt(2.0), np.array([1.0, -1.0]) / math.sqrt(2.0)


def pair(w: float, k: float) -> Circuit:
    """Give the published pair with weights w and k w onto both units."""
    laws = {"excitatory": WeightLaw(mean=w), "inhibitory": WeightLaw(mean=k * w)}
    spec = load_circuit("murphy_miller_2009")
    return replace(spec, projections=tuple(replace(each, weights=laws[each.source]) for each in spec.projections))


def response(weights: np.ndarray, t: float) -> float:
    """Give the sum mode at time t (in tau) after a unit of the difference mode, by the matrix exponential."""
    return float(SUM @ expm((weights - np.eye(2)) * t) @ DIFFERENCE)


def peak(weights: np.ndarray) -> tuple[float, float]:
    """Give the time and the height of the largest response."""
    found = minimize_scalar(
        lambda t: -response(weights, t), bounds=(0.05, 5.0), method="bounded", options={"xatol": 1e-9}
    )
    return float(found.x), -float(found.fun)


def measure() -> tuple[dict[str, float], dict[str, Any]]:
    """Measure the Schur form, the peak, and how both depend on the weight."""
    published = load_circuit("murphy_miller_2009")
    strong = build_weights(published).total()
    triangle, _ = schur(strong)
    time, gain = peak(strong)
    balanced = {w: build_weights(pair(w, 1.0)).total() for w in WEIGHTS}
    gains = {2.0 * w: peak(matrix)[1] for w, matrix in balanced.items()}
    slowest = {2.0 * w: float(np.linalg.eigvals(matrix - np.eye(2)).real.max()) for w, matrix in balanced.items()}
    per_weight = [gain / weight for weight, gain in gains.items()]
    solver = Solver(method="runge_kutta")
    run = simulate(published, duration_s=0.05, dt_s=1e-4, initial=DIFFERENCE, solver=solver)
    values = {
        "feedforward_weight": abs(float(triangle[0, 1])),
        "sum_eigenvalue": float(min(np.diag(triangle))),
        "peak_gain": gain,
        "simulated_peak": float((run["rate"].values[0] @ SUM).max()),
        "peak_time": time,
        "smallest_gain_per_weight": min(per_weight),
        "largest_gain_per_weight": max(per_weight),
        "slowest_decay": max(slowest.values()),
    }
    return values, {"balanced": balanced, "gains": gains, "slowest": slowest}


def draw(figure: Figure, evidence: dict[str, Any]) -> None:
    """Draw responses of balanced pairs, and peak and slowest eigenvalue against the feed-forward weight."""
    left, right = figure.subplots(1, 2)
    t = np.linspace(0.0, 6.0, 241)
    for w, shade in ((1.0, 0.35), (4.0, 0.65), (8.0, 1.0)):
        numerical = [response(evidence["balanced"][w], each) for each in t]
        left.plot(t, numerical, color=EXCITATORY, alpha=shade, linewidth=1.4)
        left.plot(t[::12], 2.0 * w * t[::12] * np.exp(-t[::12]), "o", color=style.INK, markersize=2.6, zorder=3)
        left.annotate(f"{2.0 * w:g}", (1.0, 2.0 * w / math.e), xytext=(0, 3), textcoords="offset points", ha="center")
    left.set(xlim=(0.0, 6.0), ylim=(0.0, 6.9), xlabel="time (tau)", ylabel="sum mode")
    weights = np.array(list(evidence["gains"]))
    right.axhline(0.0, color=style.RULE, linewidth=0.8)
    right.plot([0.0, 17.0], [0.0, 17.0 / math.e], color=style.MUTED, linewidth=1.0)
    right.plot(weights, list(evidence["gains"].values()), "o", color=EXCITATORY, markersize=4.5)
    right.plot(weights, list(evidence["slowest"].values()), "s", color=INHIBITORY, markersize=4.0)
    right.text(10.4, 4.2, "peak", ha="right", color=EXCITATORY)
    right.text(16.0, -0.75, "slowest eigenvalue", ha="right", color=INHIBITORY)
    right.set(xlim=(0.0, 17.0), ylim=(-1.6, 6.9), xlabel="feed-forward weight")


if __name__ == "__main__":
    run_script("murphy_miller_2009", __file__)
