"""Li et al. (2023): columns of one sign spread the singular values of a recurrent matrix."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
from scipy.linalg import svdvals

from cortexrnn.circuit import Circuit, build_weights, spectral_recipe
from cortexrnn.report import style
from cortexrnn.report.circuits import EXCITATORY, INHIBITORY
from cortexrnn.validation.targets import run_script

if TYPE_CHECKING:
    from matplotlib.figure import Figure

N = 100
DRAWS = range(20)
LOOKS = {
    "gaussian": ("Gaussian", style.INK, "solid"),
    "columns_80_20": ("80 : 20", INHIBITORY, (0, (4.0, 1.6))),
    "columns_90_10": ("90 : 10", EXCITATORY, (0, (1.2, 1.2))),
}


def entropy(singular_values: np.ndarray) -> float:
    """Give the normalised entropy of singular values, 1 where all are equal."""
    p = singular_values / singular_values.sum()
    p = p[p > 0.0]
    return float(-(p * np.log(p)).sum() / np.log(singular_values.size))


def measure() -> tuple[dict[str, float], dict[str, np.ndarray]]:
    """Draw the three kinds of matrices and average the entropy of their singular values."""
    specs = {
        "gaussian": Circuit.random(N, 1.0),
        # The spectral radius has no part in a normalised entropy.
        "columns_80_20": spectral_recipe(80, 20, radius=None),
        "columns_90_10": spectral_recipe(90, 10, radius=None),
    }
    drawn = {
        name: [svdvals(build_weights(replace(spec, wiring_seed=seed)).total()) for seed in DRAWS]
        for name, spec in specs.items()
    }
    return (
        {name: float(np.mean([entropy(values) for values in sets])) for name, sets in drawn.items()},
        {name: sets[0] / sets[0].mean() for name, sets in drawn.items()},
    )


def draw(figure: Figure, evidence: dict[str, np.ndarray]) -> None:
    """Draw the singular values by rank."""
    ax = figure.subplots()
    for name, values in evidence.items():
        words, colour, dashes = LOOKS[name]
        ax.plot(np.arange(1, values.size + 1), values, color=colour, linestyle=dashes, label=words, linewidth=1.5)
    ax.set(xlim=(1, N), yscale="log", ylim=(0.01, 20.0), xlabel="rank", ylabel="singular value / mean")
    ax.set_xticks([1, 20, 40, 60, 80, 100])
    ax.set_yticks([0.01, 0.1, 1.0, 10.0], ["0.01", "0.1", "1", "10"])
    ax.set_yticks([], minor=True)
    ax.legend(loc="upper right")


if __name__ == "__main__":
    run_script("li_2023", __file__)
