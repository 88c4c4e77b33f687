"""Rubin et al. (2015), Hennequin et al. (2018): the supralinear network that inhibition stabilises."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from cortexrnn.circuit import load_circuit
from cortexrnn.dynamics import Pulse, simulate
from cortexrnn.report import style
from cortexrnn.report.circuits import EXCITATORY, INHIBITORY
from cortexrnn.theory.mean_field import EIPair, rest_branch
from cortexrnn.validation.targets import run_script

if TYPE_CHECKING:
    from matplotlib.figure import Figure

SHOWN = {2: 3.261, 5: 8.454, 10: 10.667, 15: 11.209, 20: 11.087}
STEPS_PER_UNIT = 100
LARGEST = 22


def measure() -> tuple[dict[str, float], dict[str, Any]]:
    """Read the branch at the drives of the table, and find where it turns from supralinear to sublinear."""
    spec = load_circuit("hennequin_2018")
    drives = np.arange(LARGEST * STEPS_PER_UNIT + 1) / STEPS_PER_UNIT
    states = rest_branch(EIPair.of_circuit(spec), drives).states
    rates = states["rate"].values
    per_drive = rates[1:, 0] / drives[1:]
    values = {f"excitatory_{h}": float(rates[h * STEPS_PER_UNIT, 0]) for h in SHOWN}
    values["turning_drive"] = float(drives[1 + int(np.argmax(per_drive))])
    values["stabilised_from"] = float(drives[np.argmax(states["is_inhibition_stabilised"].values)])
    step = simulate(spec, duration_s=1.0, stimulus={"drive": Pulse(amplitude=10.0)}, initial=np.zeros(2))
    values["simulated_10"] = float(step["rate"][0, -1, 0])
    values["largest_real_part"] = float(states["growth"].max())
    return values, {"drives": drives, "rates": rates}


def draw(figure: Figure, evidence: dict[str, Any]) -> None:
    """Draw the branch and the rate per drive."""
    left, right = figure.subplots(1, 2)
    drives, rates = evidence["drives"], evidence["rates"]
    for i, (words, colour) in enumerate((("excitatory", EXCITATORY), ("inhibitory", INHIBITORY))):
        left.plot(drives, rates[:, i], color=colour, linewidth=1.5)
        left.text(*((21.5, 12.5), (12.0, 33.0))[i], words, ha="right", color=colour)
    left.plot(list(SHOWN), list(SHOWN.values()), "o", markerfacecolor="none", markeredgecolor=style.INK, markersize=6.0)
    left.set(xlim=(0.0, drives[-1]), ylim=(0.0, None), xlabel="drive h", ylabel="rate (Hz)")
    right.plot(drives[1:], rates[1:, 0] / drives[1:], color=EXCITATORY, linewidth=1.5)
    right.set(xlim=(0.0, drives[-1]), ylim=(0.0, None), xlabel="drive h", ylabel="excitatory rate / drive")


if __name__ == "__main__":
    run_script("ssn", __file__)
