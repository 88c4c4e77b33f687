"""Tsodyks and Markram: EPSPs that depress and facilitate, their steady states, the 1/r law and the peak rate."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from scipy.optimize import minimize_scalar

from cortexrnn.cells.stp import ShortTermPlasticity, release_train
from cortexrnn.circuit import load_circuit
from cortexrnn.report import style
from cortexrnn.report.circuits import EXCITATORY, INHIBITORY
from cortexrnn.validation.targets import run_script

if TYPE_CHECKING:
    from matplotlib.figure import Figure

RATE_HZ = 20.0
N_SPIKES = 400
SHOWN = (1, 2, 3, 10)


def found_peak(stp: ShortTermPlasticity) -> float:
    """Search the rate at which the release per spike is largest, in Hz."""
    found = minimize_scalar(
        lambda rate_hz: -float(stp.steady_state(rate_hz).efficacy),
        bounds=(0.1, 50.0), method="bounded", options={"xatol": 1e-10},
    )  # fmt: skip
    return float(found.x)


def measure() -> tuple[dict[str, float], dict[str, Any]]:
    """Send trains through both synapses and read their steady states."""
    times_s = np.arange(N_SPIKES) / RATE_HZ
    synapses = load_circuit("tsodyks_pawelzik_markram_1998").plasticity
    depressing = synapses["depressing"]
    trains = {name: release_train(stp, times_s).release for name, stp in synapses.items()}
    peaked = {f"peak_{percent}": ShortTermPlasticity(U=percent / 100, tau_f_s=1.5, tau_d_s=0.2) for percent in (20, 15)}
    other = ShortTermPlasticity(U=0.2, tau_f_s=1.5, tau_d_s=0.2, convention="mongillo2008")
    values = {f"{name}_{i}": float(train[i - 1]) for name, train in trains.items() for i in SHOWN}
    values |= {f"{name}_steady": float(stp.regular_train(RATE_HZ).efficacy) for name, stp in synapses.items()}
    values |= {f"long_train_{name}": float(train[-1]) for name, train in trains.items()}
    values["one_over_r"] = float(depressing.regular_train(1000.0).release_hz / depressing.limit_hz)
    values |= {name: stp.peak_rate_hz for name, stp in peaked.items()}
    values["found_peak_20"] = found_peak(peaked["peak_20"])
    values["peak_20_mongillo"] = other.peak_rate_hz
    values["found_peak_20_mongillo"] = found_peak(other)
    return values, {"trains": trains, "synapses": synapses}


def draw(figure: Figure, evidence: dict[str, Any]) -> None:
    """Draw the trains, and the steady amplitude against the rate."""
    left, right = figure.subplots(1, 2)
    rates_hz = np.geomspace(0.1, 200.0, 300)
    spikes, synapses = np.arange(1, 13), evidence["synapses"]
    right.plot(rates_hz, synapses["depressing"].limit_hz / rates_hz, color=style.MUTED, linewidth=0.8)
    for name, colour in (("depressing", INHIBITORY), ("facilitating", EXCITATORY)):
        stp = synapses[name]
        left.plot(spikes, evidence["trains"][name][: spikes.size], "-o", color=colour, markersize=3.5, linewidth=1.0)
        steady = float(stp.regular_train(RATE_HZ).efficacy)
        left.axhline(steady, color=colour, linewidth=0.8, linestyle=(0, (2.0, 2.0)))
        right.plot(rates_hz, stp.steady_state(rates_hz).efficacy, color=colour)
    left.text(2.6, 0.275, "depressing", color=INHIBITORY)
    left.text(9.0, 0.195, "facilitating", ha="center", color=EXCITATORY)
    peak_hz = synapses["facilitating"].peak_rate_hz
    highest = synapses["facilitating"].steady_state(peak_hz).efficacy
    right.plot([peak_hz], [highest], "o", color=EXCITATORY, markersize=5.0)
    right.text(4.2, 0.4, "1/r law", color=style.MUTED)
    left.set(xlim=(0.5, 12.5), ylim=(0.0, 0.55), xlabel="spike of a 20 Hz train", ylabel="EPSP / absolute efficacy")
    left.set_xticks([1, 4, 8, 12])
    right.set(xscale="log", xlim=(0.1, 200.0), ylim=(0.0, 0.55), xlabel="rate (Hz)")
    right.set_xticks([0.1, 1.0, 10.0, 100.0], ["0.1", "1", "10", "100"])
    right.set_xticks([], minor=True)


if __name__ == "__main__":
    run_script("tsodyks_markram", __file__)
