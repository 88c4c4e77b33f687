"""Every way to keep Dale's law under training, on one task: entropy of the weights at the start, steps, accuracy.

``python validation/dale_options/study.py`` writes ``table.md``. The circuit is `models/song_2016.toml`, the task random
dots with a criterion of 85 %; `free` has the same weights in populations without signs. `balance` keeps every row's sum
at zero; the other two starts are the recipes of Li et al. (2023) in the same circuit.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

import cortexrnn as cx
from cortexrnn.circuit import dann_recipe, spectral_recipe
from cortexrnn.training.networks import make_model

SEEDS = range(5)
MAX_STEPS, N_TRIALS = 600, 1000
HEAD = (
    "option", "start", "entropy at the start", "steps to 85 %", "correct on new trials", "wrong signs", "weights lost",
    "largest imbalance",
)  # fmt: skip


@dataclass(frozen=True, kw_only=True, slots=True)
class Way:
    """One line of the table: what is trained, how, and where it begins; `circuit` takes a wiring seed."""

    words: str
    start: str
    trainable: cx.Trainable
    circuit: Callable[[int], cx.Circuit]


def main() -> None:
    """Train in every way with every seed and write the table."""
    lines = [HEAD, ["---"] * len(HEAD), *(row(way) for way in ways())]
    table = "\n".join(f"| {' | '.join(line)} |" for line in lines)
    text = (
        "Five seeds of wiring, read-out and trials in every way, Adam with a learning rate of 0.002, looked at every\n"
        "5 steps; median [lowest, highest]. Entropy is that of the singular values over its largest possible value,\n"
        f"for dann of the matrix among excitatory units; steps beyond {MAX_STEPS} count as {MAX_STEPS}. Lost weights\n"
        "are those of the start that are zero at the end; imbalance is a row's sum over its sum of absolute weights,\n"
        "at the end.\n\n"
    )
    Path(__file__).with_name("table.md").write_text(text + table + "\n")
    print(table)


def ways() -> list[Way]:
    """List the lines of the table."""
    options = ("relu", "abs", "exp", "softplus", "projected", "dann")
    plain = [Way(words=o, start="song_2016", trainable=cx.Trainable(dale=o), circuit=song) for o in options]
    balanced = [
        Way(words=f"{o}, balance", start="song_2016", trainable=cx.Trainable(dale=o, balance="rows"), circuit=song)
        for o in ("relu", "exp")
    ]
    columns = [
        Way(words=o, start="spectral_recipe", trainable=cx.Trainable(dale=o), circuit=with_columns)
        for o in ("relu", "exp")
    ]
    return [
        *plain,
        *balanced,
        *columns,
        Way(words="dann", start="dann_recipe", trainable=cx.Trainable(dale="dann"), circuit=with_interneurons),
        Way(words="free", start="moments of song_2016", trainable=cx.Trainable(), circuit=without_signs),
    ]


def row(way: Way) -> list[str]:
    """Train in one way; give its cells of the table."""
    task = cx.tasks.random_dots()
    options = cx.TrainOptions(criterion=0.85, max_steps=MAX_STEPS, evaluate_every=5, n_threads=1)
    cells: list[list[float]] = []
    for seed in SEEDS:
        circuit = way.circuit(seed)
        start = make_model(circuit, task, way.trainable, seed=seed, dtype=np.float32).core_weights().recurrent
        excitatory = slice(0, 80) if way.trainable.dale == "dann" else slice(None)
        trained = cx.train(circuit, task, seed=seed, trainable=way.trainable, options=options)
        before, after = trained.weights_before, trained.weights
        cells.append([
            entropy(start[excitatory, excitatory]),
            int(trained.history["step"][-1]),
            trained.performance(N_TRIALS, seed=50 + seed),
            float(np.mean(after * song(0).signs < 0.0)),
            float(np.mean(after[before != 0.0] == 0.0)),
            float(np.max(np.abs(after.sum(axis=1, dtype=float)) / np.abs(after).sum(axis=1, dtype=float))),
        ])  # fmt: skip
    forms = ("{:.3f}", "{:.0f}", "{:.3f}", "{:.3f}", "{:.3f}", "{:.2g}")
    shown = [spread(list(column), form) for column, form in zip(zip(*cells, strict=True), forms, strict=True)]
    if way.trainable.dale == "dann":
        # Interneurons are excited only: their rows have nothing to balance.
        shown[-1] = "-"
    return [way.words, way.start, *shown]


def song(seed: int) -> cx.Circuit:
    """Give the published circuit with other wiring."""
    return replace(cx.load_circuit("song_2016"), wiring_seed=seed)


def with_columns(seed: int) -> cx.Circuit:
    """Give the circuit with exponential weights, one sign a column, of spectral radius 1.5."""
    projections = spectral_recipe(80, 20, radius=1.5, seed=seed).projections
    return replace(song(seed), projections=projections, balance="", gain=None)


def with_interneurons(seed: int) -> cx.Circuit:
    """Give the circuit with the weights from which a Dale's ANN begins."""
    return replace(song(seed), projections=dann_recipe(80, 20, seed=seed).projections, balance="", gain=None)


def without_signs(seed: int) -> cx.Circuit:
    """Give populations without signs whose weights have the moments of the circuit's, inhibition negative."""
    circuit = song(seed)
    signs = {population.name: -1.0 if population.sign == "inhibitory" else 1.0 for population in circuit.populations}
    return replace(
        circuit,
        name="free",
        populations=tuple(replace(population, sign="mixed") for population in circuit.populations),
        projections=tuple(
            replace(
                projection,
                weights=cx.WeightLaw(
                    law="gaussian", mean=signs[projection.source] * projection.weights.mean, sd=projection.weights.sd
                ),
            )
            for projection in circuit.projections
        ),
        balance="random part",
    )


def entropy(matrix: np.ndarray) -> float:
    """Give the entropy of the normalised singular values over its largest possible value."""
    p = np.linalg.svd(matrix, compute_uv=False)
    p = p[p > 0.0] / p.sum()
    return float(-(p * np.log(p)).sum() / np.log(len(matrix)))


def spread(values: list[float], form: str) -> str:
    """Write median and range."""
    low, high = min(values), max(values)
    return f"{form.format(np.median(values))} [{form.format(low)}, {form.format(high)}]"


if __name__ == "__main__":
    main()
