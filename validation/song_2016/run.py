"""Song, Yang and Wang (2016): an excitatory-inhibitory network learns to discriminate random dots."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

import cortexrnn as cx
from cortexrnn.report.behaviour import plot_psychometric
from cortexrnn.validation.targets import run_script

if TYPE_CHECKING:
    from matplotlib.figure import Figure

SEEDS, N_TRIALS = range(3), 2000


def measure() -> tuple[dict[str, float], dict[str, Any]]:
    """Train three networks and look at their choices on trials of their own."""
    circuit, task = cx.load_circuit("song_2016"), cx.tasks.random_dots()
    options = cx.TrainOptions(criterion=0.85, max_steps=1000, evaluate_every=10)
    trained = [cx.train(circuit, task, seed=seed, options=options) for seed in SEEDS]
    curves = [each.psychometric(N_TRIALS, seed=100 + seed) for seed, each in zip(SEEDS, trained, strict=True)]
    wrong = [int(np.sum(each.weights * circuit.signs < 0.0)) for each in trained]
    # A fall that one standard error of the two fractions explains is none.
    falls = [largest_fall(curve["fraction"].values[0], curve["n_trials"].values[0]) for curve in curves]
    correct = [each.performance(N_TRIALS, seed=200 + seed) for seed, each in zip(SEEDS, trained, strict=True)]
    ends = [curve["fraction"].values[0, [0, -1]] for curve in curves]
    values = {
        "performance": min(correct),
        "wrong_signs": float(max(wrong)),
        "largest_fall": max(falls),
        "steps": float(max(int(each.history["step"][-1]) for each in trained)),
        "weakest": float(min(abs(last - first) for first, last in ends)),
    }
    return values, {"curve": curves[0], "trained": trained[0]}


def largest_fall(fraction: np.ndarray, n_trials: np.ndarray) -> float:
    """Give the largest fall from level to level in standard errors; 0 for a curve that only rises."""
    variance = np.maximum(fraction * (1.0 - fraction), 0.25 / n_trials) / n_trials
    step = np.diff(fraction) / np.sqrt(variance[1:] + variance[:-1])
    return float(max(0.0, -step.min()))


def draw(figure: Figure, evidence: dict[str, Any]) -> None:
    """Draw the choices of the first network, and its weights."""
    left, right = figure.subplots(1, 2)
    plot_psychometric(left, evidence["curve"])
    weights = evidence["trained"].weights
    largest = float(np.percentile(np.abs(weights), 99.5))
    image = right.imshow(weights, cmap="RdBu_r", vmin=-largest, vmax=largest, interpolation="nearest")
    right.set_xlabel("from unit")
    right.set_ylabel("to unit")
    figure.colorbar(image, ax=right, label="weight", shrink=0.8)


if __name__ == "__main__":
    run_script("song_2016", __file__)
