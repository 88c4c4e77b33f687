"""Where a vanilla network and an LSTM part ways: the gradient on its way back, before and after training.

``python validation/gradient_flow/study.py`` writes ``table.md`` and ``figure.svg``. Two networks of about as many
parameters learn to add two of ten numbers after a delay of 60 steps. Along the trials of a test the derivatives of
their steps are multiplied; the forget gates of the LSTM are read as leaks.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import xarray as xr

import cortexrnn as cx
from cortexrnn.cells.recurrent import CELLS
from cortexrnn.report import style
from cortexrnn.runs.files import atomic_write
from cortexrnn.theory.gates import driven_jacobians, forget_times
from cortexrnn.theory.gradient_flow import GradientFlow, ProductOptions, jacobian_products, step_bound
from cortexrnn.training.tasks.long_memory import Adding
from cortexrnn.validation.targets import draw_svg

if TYPE_CHECKING:
    from matplotlib.figure import Figure

TASK = Adding(n_values=10, n_delay=60)
SIZES, COLOURS = {"vanilla": 64, "lstm": 32}, {"vanilla": style.CONDITIONS[0], "lstm": style.CONDITIONS[2]}
WORDS = {"vanilla": "vanilla", "lstm": "LSTM"}
MAX_STEPS, RATE, N_FOLLOWED, SEED, TEST_SEED = 800, 0.003, 4, 0, 99
# Long enough for the rates to be those of the network, and of Lyapunov exponents.
N_REPEATS = 8


class Look(NamedTuple):
    """What one network at one time does to gradients.

    Attributes
    ----------
    flows : list of GradientFlow
        Of each trial.
    long : GradientFlow
        Of trials shown one after the other.
    bound : float
        Of the norm of a step; NaN for the LSTM, whose cell has none that does not depend on the trajectory.
    gates : xarray.Dataset or None
    """

    flows: list[GradientFlow]
    long: GradientFlow
    bound: float
    gates: xr.Dataset | None


def main() -> None:
    """Train both, write table and figure."""
    found, errors = {}, {}
    for kind, size in SIZES.items():
        options = cx.TrainOptions(
            max_steps=MAX_STEPS, batch_size=32, learning_rate=RATE, schedule=cx.Schedule(shape="cosine"),
            evaluate_every=MAX_STEPS, criterion=2.0, n_threads=1,
        )  # fmt: skip
        initial = cx.Initial(chrono_steps=TASK.n_steps) if kind == "lstm" else cx.Initial()
        network = cx.CellNetwork(kind=kind, n_hidden=size, initial=initial)
        trained = cx.train(network, TASK, seed=SEED, options=options)
        batch = TASK.trials(1000, seed=TEST_SEED, mode="test")
        judged = TASK.performance(trained.answer(batch), batch)
        squared = np.mean((judged.trials["response"] - judged.trials["sum"]) ** 2)
        errors[kind] = float(squared) / TASK.baseline_error
        found[kind] = [look(kind, trained, theta) for theta in (trained.theta_before, trained.model.theta)]
        print(kind, errors[kind], flush=True)
    Path(__file__).with_name("table.md").write_text(page(found, errors))
    atomic_write(Path(__file__).with_name("figure.svg"), draw_svg(draw, found))


def look(kind: str, trained: cx.Trained, theta: np.ndarray) -> Look:
    """Follow gradients of a network with given parameters."""
    parts = trained.model.parts(theta.astype(float))
    weights = CELLS[kind].weights(*(parts[name] for name in CELLS[kind].weights._fields))
    inputs = TASK.trials(N_FOLLOWED * N_REPEATS, seed=TEST_SEED, mode="test").inputs.astype(float)
    bound = step_bound(weights.hidden) if kind == "vanilla" else np.nan
    options = ProductOptions(n_values=4, n_lags=TASK.n_steps)
    flows = [
        jacobian_products(driven_jacobians(kind, weights, trial), dt_s=TASK.dt_s, options=options)
        for trial in inputs[:N_FOLLOWED]
    ]
    in_one = driven_jacobians(kind, weights, inputs.reshape(-1, inputs.shape[2]))
    gates = forget_times(weights, inputs, dt_s=TASK.dt_s) if kind == "lstm" else None
    return Look(flows, jacobian_products(in_one, dt_s=TASK.dt_s), bound, gates)


def page(found: dict[str, list[Look]], errors: dict[str, float]) -> str:
    """Write the table and say what it shows."""
    head = ("network", "", "singular values", "Lyapunov", "discount per step", "1/e after steps", "bound of a step")
    lines = [head, ("---",) * len(head)]
    for kind, looks in found.items():
        for when, one in zip(("at the start", "after training"), looks, strict=True):
            dt_s, long = TASK.dt_s, one.long
            bound = f"{one.bound:.2f}" if np.isfinite(one.bound) else "none"
            lines.append((
                WORDS[kind], when, f"{long.growth_per_s * dt_s:+.4f}", f"{long.lyapunov_per_s * dt_s:+.4f}",
                f"{long.discount:.4f}", f"{long.horizon_s / dt_s:.1f}", bound,
            ))  # fmt: skip
    table = "\n".join(f"| {' | '.join(line)} |" for line in lines)
    shown = ", ".join(f"{WORDS[kind]} {error:.2f}" for kind, error in errors.items())
    gates = [np.sort(one.gates["tau_s"].values) / TASK.dt_s for one in found["lstm"]]
    medians = ", then ".join(f"{np.median(each):.0f} steps (longest {each[-1]:.0f})" for each in gates)
    n_long = N_FOLLOWED * N_REPEATS * TASK.n_steps
    return (
        f"Two of ten numbers added after {TASK.n_delay} steps; {MAX_STEPS} steps of Adam. Mean square error over that\n"
        f"of always answering 1: {shown}. Growth per step of the largest singular value of products of\n"
        f"{n_long} derivatives, and Lyapunov exponent of the same ones:\n\n{table}\n\n"
        f"Time constants of the forget gates, median: {medians}.\n\n"
        "![Singular values over steps back, and forget gates](figure.svg)\n"
    )


def draw(figure: Figure, found: dict[str, list[Look]]) -> None:
    """Draw the largest singular value over steps back, and the forget gates."""
    left, right = figure.subplots(1, 2, width_ratios=(1.2, 1.0))
    left.axhline(0.0, color=style.RULE, linewidth=0.8, zorder=0)
    for kind, looks in found.items():
        for one, line in zip(looks, (":", "-"), strict=True):
            lag = one.flows[0].products["lag"].values
            values = [flow.products["log_value"].sel(direction="backward").values[:, 0] for flow in one.flows]
            middle = np.mean(values, axis=0) / np.log(10.0)
            label = f"{WORDS[kind]}, {'trained' if line == '-' else 'at the start'}"
            left.plot(lag, middle, line, color=COLOURS[kind], label=label)
    left.set(xlim=(0, TASK.n_steps), xlabel="steps back", ylabel="largest singular value, power of 10")
    left.legend(loc="lower left", fontsize=8.5)
    forget(right, found["lstm"])


def forget(ax: Any, looks: list[Look]) -> None:
    """Draw the time constants of units in their order, before and after."""
    for one, colour, label in zip(
        looks, (style.NOT_HISTORY, COLOURS["lstm"]), ("at the start", "trained"), strict=True
    ):
        tau = np.sort(one.gates["tau_s"].values) / TASK.dt_s
        ax.plot(np.arange(1, tau.size + 1), tau, "o", color=colour, markersize=3.4, label=label)
    ax.axhline(TASK.n_delay, color=style.RULE, linewidth=0.8, zorder=0)
    ax.annotate("delay", (1.0, TASK.n_delay), xytext=(0.0, 2.0), textcoords="offset points", fontsize=8.5)
    ax.set_yscale("log")
    ticks = (1, 3, 10, 30, 100)
    ax.set_yticks(ticks, [str(tick) for tick in ticks])
    ax.set_yticks([], minor=True)
    ax.set(xlabel="unit, in order", ylabel="forget gate (steps)")
    ax.legend(fontsize=8.5, loc="lower right")


if __name__ == "__main__":
    main()
