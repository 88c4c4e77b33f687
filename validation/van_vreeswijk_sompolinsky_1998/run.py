"""Van Vreeswijk and Sompolinsky (1998): currents that cancel fix the rates, at finite K not at the balanced state."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np

from cortexrnn.cells.activation import Activation
from cortexrnn.circuit import Circuit, Population, Projection, WeightLaw, build_weights, load_circuit
from cortexrnn.dynamics import Record, simulate
from cortexrnn.report import style
from cortexrnn.report.circuits import EXCITATORY, INHIBITORY
from cortexrnn.theory.mean_field import balanced_curve, balanced_state
from cortexrnn.validation.targets import run_script

if TYPE_CHECKING:
    from matplotlib.figure import Figure

MAGNITUDES = {"excitatory": (1.0, 1.0), "inhibitory": (2.0, 1.8)}
DRIVE = {"excitatory": 1.0, "inhibitory": 0.8}
# Target first.
WEIGHTS = [[1.0, -2.0], [1.0, -1.8]]
REALISTIC, INFINITE = 100.0, 1e10
IN_DEGREES = np.geomspace(10.0, 1e6, 26)


def circuit(k: float) -> Circuit:
    """Give the two populations with K inputs each, weights of order 1/sqrt(K)."""
    relu = Activation(kind="relu")
    return Circuit(
        name="van_vreeswijk_sompolinsky_1998",
        form="rate",
        populations=tuple(
            Population(name=name, size=1, sign=name, activation=relu, bias=math.sqrt(k) * drive)
            for name, drive in DRIVE.items()
        ),
        projections=tuple(
            Projection(source=source, target=target, weights=WeightLaw(mean=math.sqrt(k) * mean), allow_autapses=True)
            for source, means in MAGNITUDES.items()
            for target, mean in zip(DRIVE, means, strict=True)
        ),
    )


def fixed_point(k: float) -> np.ndarray:
    """Give the rates of the balanced state at K."""
    return balanced_state(WEIGHTS, list(DRIVE.values()), in_degree=k).rates


def currents(k: float) -> tuple[float, float]:
    """Give the excitatory (recurrent and external) and the inhibitory current into E."""
    spec = circuit(k)
    weights, rates = build_weights(spec).total(), fixed_point(k)
    return float(weights[0, 0] * rates[0] + spec.bias[0]), float(weights[0, 1] * rates[1])


def order(k: float) -> float:
    """Give the logarithmic slope of the excitatory rate's deviation from 1 against 1/sqrt(K)."""
    ratio = 1.002
    more, less = (abs(fixed_point(each)[0] - 1.0) for each in (k / ratio, k * ratio))
    return math.log(more / less) / math.log(ratio)


def measure() -> tuple[dict[str, float], dict[str, Any]]:
    """Find the fixed points at a realistic and a very large K and how they approach the balanced state."""
    realistic, infinite = fixed_point(REALISTIC), fixed_point(INFINITE)
    excitation, inhibition = currents(1e4)
    run = simulate(circuit(REALISTIC), duration_s=1.0, dt_s=1e-4, initial=np.zeros(2))
    network = simulate(load_circuit("van_vreeswijk_sompolinsky_1998"), duration_s=3.0, record=Record(start_s=1.0))
    means = network["rate"].mean(("trial", "time")).groupby("population").mean()
    values = {
        "excitatory_100": realistic[0],
        "inhibitory_100": realistic[1],
        "simulated_100": float(run["rate"][0, -1, 0]),
        "excitatory_infinite": infinite[0],
        "inhibitory_infinite": infinite[1],
        "order": order(INFINITE),
        "order_100": order(REALISTIC),
        "network_excitatory": float(means.sel(population="excitatory")),
        "network_inhibitory": float(means.sel(population="inhibitory")),
        "residual_10000": (excitation + inhibition) / excitation,
    }
    evidence = {
        "rates": np.array([fixed_point(k) for k in IN_DEGREES]),
        "currents": np.array([currents(k) for k in IN_DEGREES]),
    }
    return values, evidence


def draw(figure: Figure, evidence: dict[str, Any]) -> None:
    """Draw rates and currents against K."""
    left, right = figure.subplots(1, 2)
    fine = np.geomspace(IN_DEGREES[0], IN_DEGREES[-1], 300)
    exact = balanced_curve(WEIGHTS, list(DRIVE.values()), in_degrees=fine)["rate"].values
    left.axhline(1.0, color=style.RULE, linewidth=0.8)
    for i, (words, colour) in enumerate((("excitatory", EXCITATORY), ("inhibitory", INHIBITORY))):
        left.plot(fine, exact[:, i], color=colour, linewidth=1.0)
        left.plot(IN_DEGREES, evidence["rates"][:, i], "o", color=colour, markersize=3.2)
        left.text(1e3, (1.045, 0.965)[i], words, color=colour)
    left.set(xscale="log", xlim=(8.0, 1.3e6), ylim=(0.85, 1.09), xlabel="K", ylabel="rate")
    excitation, inhibition = evidence["currents"].T
    right.plot(IN_DEGREES, excitation, color=EXCITATORY)
    right.plot(IN_DEGREES, -inhibition, color=INHIBITORY, linestyle=(0, (4.0, 3.0)))
    right.plot(IN_DEGREES, excitation + inhibition, color=style.INK)
    right.text(2e3, 250.0, "excitatory", ha="right", color=EXCITATORY)
    right.text(3e4, 60.0, "inhibitory,\nsign turned", va="top", color=INHIBITORY)
    right.text(1e5, 1.3, "sum")
    right.set(xscale="log", yscale="log", xlim=(8.0, 1.3e6), xlabel="K", ylabel="current into E")
    for ax in (left, right):
        ax.set_xticks([10.0, 1000.0, 100_000.0], ["10", "1,000", "100,000"])
        ax.set_xticks([], minor=True)
    right.set_yticks([1.0, 10.0, 100.0, 1000.0], ["1", "10", "100", "1,000"])
    right.set_yticks([], minor=True)


if __name__ == "__main__":
    run_script("van_vreeswijk_sompolinsky_1998", __file__)
