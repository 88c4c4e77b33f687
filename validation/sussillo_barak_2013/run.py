"""Sussillo and Barak (2013): a network that holds three bits has eight stable fixed points."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from cortexrnn.circuit import Circuit, Population, Projection, WeightLaw
from cortexrnn.numerics.streams import stream
from cortexrnn.report import style
from cortexrnn.theory.fixed_points import FixedPoints, fixed_points
from cortexrnn.training.circuit_model import Trainable
from cortexrnn.training.loop import TrainOptions, train
from cortexrnn.training.optimisers import Schedule
from cortexrnn.training.tasks.bits import FlipFlop
from cortexrnn.training.trained import Trained
from cortexrnn.validation.targets import run_script

if TYPE_CHECKING:
    from matplotlib.figure import Figure

SEEDS, MAX_STEPS, N_UNITS, TAU_S = range(3), 1500, 64, 0.05
TASK = FlipFlop(dt_s=0.02)
N_TRIALS, N_STARTS, N_SEARCHED = 1000, 2048, 1000
# A state is still where no unit moves by more than this in a step; two states closer than the other are one.
STILL, APART, MOST_STEPS = 1e-12, 1e-3, 200_000


class Flow(NamedTuple):
    """One step without input, ``y <- keep y + (1 - keep) (W tanh(y) + b)``, in float64.

    Attributes
    ----------
    weights : ndarray, shape (n_units, n_units)
    bias, keep : ndarray, shape (n_units,)
    """

    weights: np.ndarray
    bias: np.ndarray
    keep: np.ndarray

    def step(self, y: np.ndarray, drive: np.ndarray | float = 0.0) -> np.ndarray:
        """Give the states one step later, shape (n_states, n_units)."""
        return self.keep * y + (1.0 - self.keep) * (np.tanh(y) @ self.weights.T + self.bias + drive)

    def jacobian(self, y: np.ndarray) -> np.ndarray:
        """Give the derivatives of a step at one state, (n_units, n_units)."""
        slope = 1.0 - np.tanh(y) ** 2
        return np.diag(self.keep) + (1.0 - self.keep)[:, None] * self.weights * slope


class Found(NamedTuple):
    """What was found in one network.

    Attributes
    ----------
    trained : Trained
    points : ndarray, shape (n_points, n_units)
        States where it rests.
    radius : ndarray, shape (n_points,)
        Largest modulus of the eigenvalues of a step's derivatives there.
    outputs : ndarray, shape (n_points, 3)
    n_moving : int
        Starts that did not come to rest.
    searched : FixedPoints
        Points of all kinds, from a search for roots.
    twin_error : float
        Largest difference of outputs between the package and the step above.
    """

    trained: Trained
    points: np.ndarray
    radius: np.ndarray
    outputs: np.ndarray
    n_moving: int
    searched: FixedPoints
    twin_error: float


def train_one(seed: int, max_steps: int) -> Trained:
    """Draw a network of leaky tanh units and train it."""
    units = Population(name="units", size=N_UNITS, tau_s=TAU_S)
    law = WeightLaw(law="gaussian", mean=0.0, sd=1.0)
    loop = Projection(source="units", target="units", weights=law, allow_autapses=True)
    circuit = Circuit(name="flip-flop", populations=(units,), projections=(loop,), gain=1.0, wiring_seed=seed)
    options = TrainOptions(
        max_steps=max_steps, batch_size=64, learning_rate=4e-3, schedule=Schedule(shape="cosine"), criterion=2.0,
        evaluate_every=100,
    )  # fmt: skip
    return train(circuit, TASK, seed=seed, trainable=Trainable(reads=("units",)), options=options)


def look(trained: Trained, seed: int) -> Found:
    """Let a network go, without input, from states that it passes through in trials of the task."""
    weights = trained.model.core_weights()
    keep = np.exp(-TASK.dt_s / weights.tau_s.astype(float))
    flow = Flow(trained.weights.astype(float), weights.bias.astype(float), keep)
    readout, bias = (part.astype(float) for part in trained.model.readout())
    batch = TASK.trials(256, seed=seed)
    y, states = np.repeat(weights.start.astype(float), len(batch.inputs), axis=0), []
    for inputs in np.moveaxis(batch.inputs.astype(float), 1, 0):
        y = flow.step(y, inputs @ weights.input.T.astype(float))
        states.append(y)
    states = np.stack(states, axis=1)
    twin_error = float(np.abs(np.tanh(states) @ readout.T + bias - trained.answer(batch)).max())
    every = states.reshape(-1, N_UNITS)
    points, n_moving = rest(flow, every[stream(seed, "starts").choice(len(every), N_STARTS, replace=False)])
    radius = np.array([np.abs(np.linalg.eigvals(flow.jacobian(point))).max() for point in points])
    searched = fixed_points(trained, n_starts=N_SEARCHED, seed=seed)
    return Found(trained, points, radius, np.tanh(points) @ readout.T + bias, n_moving, searched, twin_error)


def rest(flow: Flow, y: np.ndarray) -> tuple[np.ndarray, int]:
    """Run states until they are still; give the different ones, and how many starts never were."""
    points: list[np.ndarray] = []
    for _ in range(MOST_STEPS):
        after = flow.step(y)
        is_still = np.abs(after - y).max(axis=1) < STILL
        for point in after[is_still]:
            if all(np.abs(point - other).max() > APART for other in points):
                points.append(point)
        y = after[~is_still]
        if not len(y):
            break
    return np.array(points).reshape(-1, N_UNITS), len(y)


def measure(seeds: Iterable[int] = SEEDS, max_steps: int = MAX_STEPS) -> tuple[dict[str, float], dict[str, Any]]:
    """Train the networks and find where they rest."""
    found = [look(train_one(seed, max_steps), 1000 + seed) for seed in seeds]
    judged = []
    for each in found:
        batch = TASK.trials(N_TRIALS, seed=2000 + each.trained.seed, mode="test")
        judged.append(TASK.performance(each.trained.answer(batch), batch))
    n_stable = [int(np.sum(each.radius < 1.0)) for each in found]
    patterns = [len(np.unique(each.outputs[each.radius < 1.0] > 0.0, axis=0)) for each in found]
    values = {
        "error": max(each.error for each in judged),
        "performance": min(each.fraction for each in judged),
        "fewest": float(min(n_stable)),
        "most": float(max(n_stable)),
        "patterns": float(min(patterns)),
        "radius": max(float(each.radius.max(initial=0.0)) for each in found),
        "moving": float(sum(each.n_moving for each in found)),
        "searched": float(max(abs(np.sum(indices(each) == 0) - 8) for each in found)),
        "saddles": float(min(np.sum(indices(each) == 1) for each in found)),
        "twin": max(each.twin_error for each in found),
    }
    return values, {"found": found}


def indices(found: Found) -> np.ndarray:
    """Give the number of growing directions at every point of the search, shape (n_points,)."""
    return found.searched.data["index"].values


def draw(figure: Figure, evidence: dict[str, Any]) -> None:
    """Draw trajectories and stable points of the first network in its principal plane, and all eigenvalues there."""
    left, right = figure.subplots(1, 2, width_ratios=(1.2, 1.0))
    first = evidence["found"][0]
    rates = first.trained.record(TASK.trials(12, seed=5))["rate"].values
    resting = np.tanh(first.points)
    centre = resting.mean(axis=0)
    axes = np.linalg.svd(resting - centre, full_matrices=False)[2][:3]
    # Three bits make a cube; from this side no two of its eight corners are on one spot.
    view = axes.T @ np.array([[1.0, 0.35], [-0.3, 1.0], [0.45, -0.5]])
    for trial in (rates - centre) @ view:
        left.plot(*trial.T, color=style.NOT_HISTORY, linewidth=0.5, zorder=1)
    passes = np.tanh(first.searched.states[indices(first) > 0])
    left.plot(*((passes - centre) @ view).T, "o", color=style.HISTORY_MODEL, markerfacecolor="white", markersize=3.5)
    corners = (resting - centre) @ view
    left.plot(*corners.T, "o", color=style.HISTORY_MODEL, markersize=6.0, zorder=2)
    box = {"facecolor": "white", "edgecolor": "none", "alpha": 0.75, "pad": 0.5}
    for point, output in zip(corners, first.outputs, strict=True):
        label = "".join("+" if value > 0.0 else "\N{MINUS SIGN}" for value in output)
        left.annotate(label, point, xytext=(5.0, 5.0), textcoords="offset points", fontsize=9.0, bbox=box)
    left.set(xticks=[], yticks=[], xlabel="rates, seen from one side")
    angle = np.linspace(0.0, 2.0 * np.pi, 200)
    right.plot(np.cos(angle), np.sin(angle), color=style.RULE, linewidth=0.8)
    weights = first.trained.model.core_weights()
    flow = Flow(
        first.trained.weights.astype(float), weights.bias, np.exp(-TASK.dt_s / weights.tau_s.astype(float))
    )
    values = np.concatenate([np.linalg.eigvals(flow.jacobian(point)) for point in first.points])
    right.plot(values.real, values.imag, ".", color=style.HISTORY_MODEL, markersize=3.0)
    right.set(xlabel="eigenvalue, real", ylabel="imaginary", aspect="equal")


def measure_quick() -> tuple[dict[str, float], dict[str, Any]]:
    """Measure one network; the targets are those of three."""
    return measure(seeds=range(1))


if __name__ == "__main__":
    run_script("sussillo_barak_2013", __file__)
