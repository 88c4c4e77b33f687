"""Every way to keep Dale's law under training, on one task: entropy of the weights at the start, steps, accuracy.

``python validation/dale_options/study.py`` writes ``table.md``. The circuit is `models/song_2016.toml`, the task random
dots with trials of 85 % criterion; `free` has the same weights in populations without signs.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np

import cortexrnn as cx

OPTIONS = ("relu", "abs", "exp", "softplus", "projected")
SEEDS = range(5)
MAX_STEPS, N_TRIALS = 600, 1000


def main() -> None:
    """Train every option with every seed and write the table."""
    circuit, task = cx.load_circuit("song_2016"), cx.tasks.random_dots()
    rows = [row(option, circuit, task) for option in OPTIONS]
    rows.append(row("free", without_signs(circuit), task))
    head = "| option | entropy at the start | steps to 85 % | correct on new trials | wrong signs | zero weights |"
    lines = [head, "|---|---|---|---|---|---|", *rows]
    text = (
        "Five seeds an option, Adam with a learning rate of 0.002, looked at every 5 steps; median [lowest, highest].\n"
        f"Entropy is that of the singular values over ln N; steps beyond {MAX_STEPS} count as {MAX_STEPS}.\n\n"
    )
    Path(__file__).with_name("table.md").write_text(text + "\n".join(lines) + "\n")
    print("\n".join(lines))


def row(option: str, circuit: cx.Circuit, task: cx.tasks.Task) -> str:
    """Train with one option; give its line of the table."""
    trainable = cx.Trainable(dale="relu" if option == "free" else option)
    options = cx.TrainOptions(criterion=0.85, max_steps=MAX_STEPS, evaluate_every=5)
    trained = [cx.train(circuit, task, seed=seed, trainable=trainable, options=options) for seed in SEEDS]
    steps = [int(each.history["step"][-1]) for each in trained]
    correct = [each.performance(N_TRIALS, seed=50 + seed) for seed, each in zip(SEEDS, trained, strict=True)]
    signs = cx.load_circuit("song_2016").signs
    wrong = [float(np.mean(each.weights * signs < 0.0)) for each in trained]
    zero = [float(np.mean(each.weights == 0.0)) for each in trained]
    cells = [
        option,
        f"{entropy(trained[0].weights_before):.3f}",
        spread(steps, "{:.0f}"),
        spread(correct, "{:.3f}"),
        spread(wrong, "{:.3f}"),
        spread(zero, "{:.3f}"),
    ]
    return f"| {' | '.join(cells)} |"


def without_signs(circuit: cx.Circuit) -> cx.Circuit:
    """Give populations without signs whose weights have the moments of the circuit's, inhibition negative."""
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
