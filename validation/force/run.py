"""Sussillo and Abbott (2009): a chaotic network learns a sum of sines; and again with a sign for every weight."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from cortexrnn.circuit import Circuit, Population, Projection, WeightLaw
from cortexrnn.report import style
from cortexrnn.report.circuits import EXCITATORY, INHIBITORY
from cortexrnn.training.reservoirs.force import Force
from cortexrnn.training.reservoirs.readout import relative_error
from cortexrnn.training.reservoirs.rls import RLS, SignedRLS
from cortexrnn.validation.targets import run_script

if TYPE_CHECKING:
    from matplotlib.figure import Figure

N_UNITS = 1000
N_PERIOD = 1200
N_LEARNING, N_FREE = 24 * N_PERIOD, 12 * N_PERIOD
DT_S = 1e-3
PENALTY = 0.1
SEEDS, SIGNED_SEEDS = range(3), range(1)
SIGNS = tuple(np.where(np.arange(N_UNITS) < 0.8 * N_UNITS, 1, -1))


def chaotic(seed: int) -> Circuit:
    """Draw the network of the paper."""
    loop = Projection(
        source="units",
        target="units",
        weights=WeightLaw(law="gaussian", mean=0.0, sd=1.0),
        density=0.1,
        allow_autapses=True,
    )
    units = Population(name="units", size=N_UNITS, tau_s=0.01)
    return Circuit(
        name="chaotic", populations=(units,), projections=(loop,), gain=1.5, initial_sd=0.5, wiring_seed=seed
    )


def sines(n_steps: int) -> np.ndarray:
    """Give the target."""
    phase = 2.0 * np.pi * np.arange(n_steps) / N_PERIOD
    parts = np.sin(phase) + np.sin(2 * phase) / 2 + np.sin(3 * phase) / 6 + np.sin(4 * phase) / 3
    return 1.3 / 1.5 * parts


def learn(seed: int, learner: RLS | SignedRLS) -> dict[str, Any]:
    """Let one network learn and go on by itself; give errors, weights and stretches of the output."""
    target = sines(N_LEARNING + N_FREE)
    fitted = Force(circuit=chaotic(seed), learner=learner, dt_s=DT_S).fit(target[:N_LEARNING])
    free = fitted.run(N_FREE)[:, 0]
    rest = target[N_LEARNING:]
    second = slice(N_PERIOD, 2 * N_PERIOD)
    return {
        "learning": relative_error(fitted.outputs[second, 0], target[second]),
        "periods": [
            relative_error(free[at : at + N_PERIOD], rest[at : at + N_PERIOD]) for at in range(0, N_FREE, N_PERIOD)
        ],
        "all": relative_error(free, rest),
        "weights": fitted.weights[0],
        "learned": fitted.outputs[-N_PERIOD:, 0],
        "free": free[-N_PERIOD:],
    }


def run_untrained(seed: int, weights: np.ndarray) -> np.ndarray:
    """Give what the learned read-out sees in the network without feedback: chaos."""
    silent = Force(circuit=chaotic(seed), feedback=(0.0, 0.0), dt_s=DT_S).fit(np.zeros(2 * N_PERIOD))
    return replace(silent, weights=weights[None, :]).run(N_PERIOD)[:, 0]


def measure() -> tuple[dict[str, float], dict[str, Any]]:
    """Let all networks learn."""
    free = [learn(seed, RLS(penalty=PENALTY)) for seed in SEEDS]
    signed = [learn(seed, SignedRLS(signs=SIGNS, penalty=PENALTY)) for seed in SIGNED_SEEDS]
    untrained = [run_untrained(seed, result["weights"]) for seed, result in zip(SEEDS, free, strict=True)]
    values = {
        "untrained_error": min(relative_error(output, sines(N_PERIOD)) for output in untrained),
        "learning_error": max(result["learning"] for result in free),
        "first_period": max(result["periods"][0] for result in free),
        "twelve_periods": max(result["all"] for result in free),
        "signed_first_period": max(result["periods"][0] for result in signed),
        "signed_twelve_periods": max(result["all"] for result in signed),
        "n_wrong_signs": sum(int(np.sum(result["weights"] * SIGNS < 0.0)) for result in signed),
    }
    return values, {"free": free, "signed": signed, "untrained": untrained[0]}


def draw(figure: Figure, evidence: dict[str, Any]) -> None:
    """Draw outputs over the target, and the errors of the free periods."""
    left, right = figure.subplots(1, 2, width_ratios=(1.3, 1.0))
    time_s, target = np.arange(N_PERIOD) * DT_S, sines(N_PERIOD)
    shown = (evidence["untrained"], evidence["free"][0]["learned"], evidence["free"][0]["free"])
    for i, (words, output) in enumerate(zip(("no feedback", "learning", "free, period 12"), shown, strict=True)):
        left.plot(time_s, target - 3.5 * i, color=style.INK, linewidth=1.0)
        left.plot(time_s, output - 3.5 * i, color=EXCITATORY, linewidth=1.5, alpha=0.8)
        left.text(1.19, 1.5 - 3.5 * i, words, ha="right")
    left.set(xlim=(0.0, N_PERIOD * DT_S), xlabel="time (s)", yticks=[], ylim=(-9.0, 2.6))
    periods = np.arange(1, N_FREE // N_PERIOD + 1)
    for name, colour in (("free", EXCITATORY), ("signed", INHIBITORY)):
        for i, result in enumerate(evidence[name]):
            label = f"{name} weights" if i == 0 else None
            right.plot(periods, result["periods"], color=colour, linewidth=1.2, label=label)
    right.axhline(0.05, color=style.INK, linewidth=0.8, linestyle=":")
    right.set(yscale="log", xlabel="free period", ylabel="error / target SD", xlim=(1, periods[-1]), ylim=(2e-4, 0.1))
    right.set_yticks([1e-3, 1e-2, 1e-1], ["0.001", "0.01", "0.1"])
    right.legend(frameon=False, loc="lower right")


if __name__ == "__main__":
    run_script("force", __file__)
