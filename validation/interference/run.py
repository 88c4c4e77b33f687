"""Learning one task undoes another: how much is predicted to second order, and two remedies beside plain training."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from scipy.optimize import minimize
from scipy.stats import t as student

import cortexrnn as cx
from cortexrnn.report import style
from cortexrnn.training.continual import elastic_weights, projected_gradients
from cortexrnn.training.interference import LossSurface, hessian, predict_interference
from cortexrnn.training.model import Model
from cortexrnn.training.networks import make_model
from cortexrnn.validation.targets import run_script

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

COHERENCES = (0.1, 0.2, 0.4, 0.8)
ETAS = np.geomspace(1e-4, 1.0, 13)
# Up to here a step counts as small.
SMALL = 3e-4
# Small circuits whose loss is expanded, and the one that is drawn.
EXPANDED, DRAWN = (0, 1, 2), 1
SEEDS = range(10)
STEPS = {"before its minimum": 5, "at its minimum": 600}
REMEDIES: dict[str, Callable[[cx.Trained, cx.tasks.Task], Any]] = {
    "plain": lambda trained, task: None,
    "elastic weights": lambda trained, task: elastic_weights(trained, task, factor=1000.0, n_trials=200),
    "projected": lambda trained, task: projected_gradients(trained, task, n_directions=10, n_trials=200),
}


@dataclass(frozen=True, kw_only=True)
class OneContext(cx.tasks.ContextDecision):
    """The context-dependent decision in one of its contexts only.

    Attributes
    ----------
    context : int
        0 for motion, 1 for colour.
    """

    context: int = 0

    @property
    def levels(self) -> tuple[int, ...]:
        """As of the whole task, with one context."""
        return (1, *super().levels[1:])

    def _conditions(self, levels: list[np.ndarray]) -> dict[str, np.ndarray]:
        """Put the context in the place of a drawn one."""
        return super()._conditions([levels[0] + self.context, *levels[1:]])


def leaky(n_units: int, seed: int) -> cx.Circuit:
    """Draw a circuit of leaky units without signs at the edge of chaos."""
    law = cx.WeightLaw(law="gaussian", mean=0.0, sd=1.0 / np.sqrt(n_units))
    units = cx.Population(name="all", size=n_units, sign="mixed", activation=cx.Activation(kind="tanh"), tau_s=0.1)
    loop = cx.Projection(source="all", target="all", weights=law, allow_autapses=True)
    return cx.Circuit(name="leaky", populations=(units,), projections=(loop,), wiring_seed=seed)


def tasks(noise_sd: float) -> tuple[OneContext, OneContext]:
    """Give the task to decide by motion and the one to decide by colour, the other modality saying nothing."""
    shared = {"dt_s": 0.05, "noise_sd": noise_sd}
    return (
        OneContext(context=0, motion=COHERENCES, colour=(0.0,), **shared),
        OneContext(context=1, motion=(0.0,), colour=COHERENCES, **shared),
    )


def measure() -> tuple[dict[str, float], dict[str, Any]]:
    """Predict one step's interference in a circuit of eight units; train circuits of 32 on two tasks in turn."""
    found = {seed: predict(seed) for seed in EXPANDED}
    scores = train_in_turn()
    small = {name: np.concatenate([found[seed][name][ETAS < SMALL] for seed in EXPANDED]) for name in STEPS}
    early, late = (found[DRAWN][name][ETAS < SMALL] for name in STEPS)
    first = {name: score[:, 0] for name, score in scores.items()}
    values = {
        "ratio_minimum": worst(small["at its minimum"]),
        "ratio_early": worst(small["before its minimum"]),
        "second_minimum": worst(late, orders=slice(1, 2)),
        "second_early": float(np.max(early[:, 1] / early[:, 2])),
        "hessian": max(found[seed]["off"] for seed in EXPANDED),
        "forgotten": interval(first["after task 1"] - first["plain"])[0],
        "elastic": interval(first["elastic weights"] - first["plain"])[0],
        "projected": interval(first["projected"] - first["plain"])[0],
        "second_elastic": float(scores["elastic weights"][:, 1].mean()),
        "second_projected": float(scores["projected"][:, 1].mean()),
    }
    return values, {"steps": found[DRAWN], "scores": scores}


def predict(seed: int) -> dict[str, Any]:
    """Give first order, second order and measured change for steps down the second task's gradient.

    Parameters
    ----------
    seed : int
        Of the circuit.

    Returns
    -------
    dict
        Arrays of shape (n_etas, 3) before the minimum of the first task's loss and at it, and ``off``, how far the
        second order is from that of the whole Hessian.
    """
    both = tasks(noise_sd=0.2)
    batches = [task.trials(32, seed=k) for k, task in enumerate(both)]
    model = make_model(leaky(8, seed=0), both[0], None, seed=seed, dtype=np.float64)
    found: dict[str, Any] = {}
    for name, n_steps in STEPS.items():
        descend(model, batches[0], n_steps)
        gradient = LossSurface(model, batches[1]).gradient(model.theta)
        found[name] = np.array([predict_interference(model, batches[0], -eta * gradient) for eta in ETAS])
    second = 0.5 * ETAS[0] ** 2 * gradient @ hessian(model, batches[0]) @ gradient
    return {**found, "off": abs(found["at its minimum"][0, 1] / second - 1.0)}


def descend(model: Model, batch: cx.tasks.Batch, n_steps: int) -> None:
    """Take steps of L-BFGS down the loss of one batch."""
    options = {"maxiter": n_steps, "maxfun": 2 * n_steps, "ftol": 0.0, "gtol": 1e-9, "maxcor": 30}
    value = LossSurface(model, batch).loss_and_gradient
    model.theta[:] = minimize(value, model.theta, jac=True, method="L-BFGS-B", options=options).x


def train_in_turn() -> dict[str, np.ndarray]:
    """Train circuits on task 1, then with every remedy on task 2; give fractions correct, (n_seeds, 2 tasks)."""
    first, second = tasks(noise_sd=0.05)
    shared = {"batch_size": 32, "learning_rate": 5e-4, "evaluate_every": 10, "n_validation": 128, "max_steps": 400}
    scores: dict[str, list[list[float]]] = {"after task 1": [], **{name: [] for name in REMEDIES}}

    def score(name: str, trained: cx.Trained) -> None:
        answers = ((task, task.trials(512, seed=2, mode="test")) for task in (first, second))
        scores[name].append([task.performance(trained.answer(batch), batch).fraction for task, batch in answers])

    for seed in SEEDS:
        one = cx.train(leaky(32, seed), first, seed=seed, options=cx.TrainOptions(criterion=0.98, **shared))
        score("after task 1", one)
        for name, remedy in REMEDIES.items():
            options = cx.TrainOptions(criterion=0.95, **shared)
            score(name, cx.train(one, second, seed=100 + seed, options=options, keeps=remedy(one, first)))
    return {name: np.array(rows) for name, rows in scores.items()}


def worst(steps: np.ndarray, orders: slice = slice(0, 2)) -> float:
    """Give the ratio of predicted to measured that is farthest from 1."""
    ratio = steps[:, orders].sum(axis=1) / steps[:, 2]
    return float(ratio[np.argmax(np.abs(ratio - 1.0))])


def interval(values: np.ndarray) -> tuple[float, float]:
    """Give the 95 % interval of a mean over seeds, after Student."""
    half = student.ppf(0.975, len(values) - 1) * values.std(ddof=1) / np.sqrt(len(values))
    return float(values.mean() - half), float(values.mean() + half)


def draw(figure: Figure, evidence: dict[str, Any]) -> None:
    """Draw changes of the loss over the size of the step, and what is left of both tasks."""
    grid = figure.add_gridspec(2, 2, width_ratios=(1.0, 1.35))
    late = figure.add_subplot(grid[0, 0])
    early = figure.add_subplot(grid[1, 0], sharex=late)
    for ax, name in ((late, "at its minimum"), (early, "before its minimum")):
        draw_steps(ax, evidence["steps"][name])
        ax.set_title(f"task 1 {name}", fontsize="small", loc="left")
    late.legend(frameon=False, fontsize="x-small")
    late.tick_params(labelbottom=False)
    early.set_xlabel("learning rate r of a step on task 2", fontsize="small")
    draw_scores(figure.add_subplot(grid[:, 1]), evidence["scores"])


def draw_steps(ax: Axes, steps: np.ndarray) -> None:
    """Draw both predictions and what was measured, over the learning rate: the first order is then the same for all."""
    seen = ETAS < 0.25
    first, second, measured = (steps[seen] / ETAS[seen, None]).T
    ax.plot(ETAS[seen], first + second, color=style.CONDITIONS[1], label="both orders")
    ax.plot(ETAS[seen], second, color=style.CONDITIONS[2], linestyle="--", label="second order alone")
    ax.plot(ETAS[seen], measured, "o", color=style.CONDITIONS[0], markersize=3.0, label="measured")
    ax.axhline(0.0, color=style.RULE, linewidth=0.7, zorder=0)
    ax.set_xscale("log")
    ax.set_xticks([1e-4, 1e-3, 1e-2, 1e-1], ["0.0001", "0.001", "0.01", "0.1"])
    ax.minorticks_off()
    ax.set_ylabel("change of loss / r", fontsize="small")


def draw_scores(ax: Axes, scores: dict[str, np.ndarray]) -> None:
    """Draw every network's fraction correct on both tasks, with means and their intervals."""
    for k, colour in enumerate((style.CONDITIONS[0], style.CONDITIONS[3])):
        for x, rows in enumerate(scores.values()):
            at, mean = x + 0.36 * (k - 0.5), rows[:, k].mean()
            spread = at + np.linspace(-0.1, 0.1, len(rows))
            ax.plot(spread, rows[:, k], "o", color=colour, alpha=0.35, markersize=2.5, markeredgewidth=0.0)
            half = mean - interval(rows[:, k])[0]
            label = f"task {k + 1}" if x == 0 else None
            ax.errorbar(at, mean, half, fmt="s", color=colour, markersize=3.5, capsize=2.0, label=label)
    ax.axhline(0.5, color=style.MUTED, linewidth=0.7, linestyle=":")
    ax.axvline(0.5, color=style.RULE, linewidth=0.7)
    names = ["after\ntask 1", "plain", "elastic\nweights", "projected\nsteps"]
    ax.set_xticks(range(len(names)), names, fontsize="small")
    ax.set(ylabel="fraction correct", ylim=(0.05, 1.03))
    ax.set_title("after task 2", fontsize="small", loc="right")
    ax.legend(frameon=False, loc="lower right", fontsize="small")


if __name__ == "__main__":
    run_script("interference", __file__)
