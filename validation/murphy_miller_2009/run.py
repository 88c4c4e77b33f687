"""Murphy and Miller (2009): a balanced pair amplifies differences into sums while all its eigenvalues decay."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
from scipy.linalg import expm

from cortexrnn.circuit import Circuit, WeightLaw, build_weights, load_circuit
from cortexrnn.dynamics import Solver, simulate
from cortexrnn.report import style
from cortexrnn.report.circuits import EXCITATORY, INHIBITORY
from cortexrnn.theory.balanced_amplification import balanced_amplification
from cortexrnn.theory.spectra import non_normality, transient_gain
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


def measure() -> tuple[dict[str, float], dict[str, Any]]:
    """Measure the Schur form, the peak, and how both depend on the weight; times are in tau."""
    published = load_circuit("murphy_miller_2009")
    strong = build_weights(published).total()
    found = balanced_amplification(strong, tau_s=1.0)
    balanced = {w: build_weights(pair(w, 1.0)).total() for w in WEIGHTS}
    pairs = [balanced_amplification(matrix, tau_s=1.0) for matrix in balanced.values()]
    slowest = [non_normality(matrix - np.eye(2)).spectral_abscissa for matrix in balanced.values()]
    per_weight = [each.peak_gain / each.feed_forward for each in pairs]
    solver = Solver(method="runge_kutta")
    run = simulate(published, duration_s=0.05, dt_s=1e-4, initial=DIFFERENCE, solver=solver)
    values = {
        "feedforward_weight": found.feed_forward,
        "sum_eigenvalue": found.driven,
        "peak_gain": found.peak_gain,
        "exponential_at_peak": response(strong, found.peak_s),
        "simulated_peak": float((run["rate"].values[0] @ SUM).max()),
        "peak_time": found.peak_s,
        "smallest_gain_per_weight": min(per_weight),
        "largest_gain_per_weight": max(per_weight),
        "slowest_decay": max(slowest),
        "transient_gain": transient_gain(strong - np.eye(2)).gain,
    }
    weights = [each.feed_forward for each in pairs]
    gains = [each.peak_gain for each in pairs]
    return values, {"balanced": balanced, "weights": weights, "gains": gains, "slowest": slowest}


def draw(figure: Figure, evidence: dict[str, Any]) -> None:
    """Draw responses of balanced pairs, and peak and slowest eigenvalue against the feed-forward weight."""
    left, right = figure.subplots(1, 2)
    t = np.linspace(0.0, 6.0, 241)
    for w, shade in ((1.0, 0.35), (4.0, 0.65), (8.0, 1.0)):
        numerical = [response(evidence["balanced"][w], each) for each in t]
        left.plot(t, numerical, color=EXCITATORY, alpha=shade, linewidth=1.4)
        closed = balanced_amplification(evidence["balanced"][w], tau_s=1.0).driven_response(t[::12])
        left.plot(t[::12], closed, "o", color=style.INK, markersize=2.6, zorder=3)
        left.annotate(f"{2.0 * w:g}", (1.0, 2.0 * w / math.e), xytext=(0, 3), textcoords="offset points", ha="center")
    left.set(xlim=(0.0, 6.0), ylim=(0.0, 6.9), xlabel="time (tau)", ylabel="sum mode")
    right.axhline(0.0, color=style.RULE, linewidth=0.8)
    right.plot([0.0, 17.0], [0.0, 17.0 / math.e], color=style.MUTED, linewidth=1.0)
    right.plot(evidence["weights"], evidence["gains"], "o", color=EXCITATORY, markersize=4.5)
    right.plot(evidence["weights"], evidence["slowest"], "s", color=INHIBITORY, markersize=4.0)
    right.text(10.4, 4.2, "peak", ha="right", color=EXCITATORY)
    right.text(16.0, -0.75, "slowest eigenvalue", ha="right", color=INHIBITORY)
    right.set(xlim=(0.0, 17.0), ylim=(-1.6, 6.9), xlabel="feed-forward weight")


if __name__ == "__main__":
    run_script("murphy_miller_2009", __file__)
