"""Rajan and Abbott (2006): the circle of a Dale matrix, and the eigenvalues outside it that balanced rows remove."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import xarray as xr
from scipy.optimize import linear_sum_assignment

from cortexrnn.circuit import build_weights, load_circuit, predict_spectrum
from cortexrnn.report.circuits import plot_spectrum
from cortexrnn.validation.targets import run_script

if TYPE_CHECKING:
    from matplotlib.figure import Figure

DRAWS = range(5)


def measure() -> tuple[dict[str, float], dict[str, xr.Dataset]]:
    """Draw both kinds of matrices and hold their eigenvalues against the prediction."""
    spec = load_circuit("rajan_abbott_2006")
    radius = predict_spectrum(spec).radius
    mean_of = {projection.source: projection.weights.mean for projection in spec.projections}
    means = np.array([mean_of[population.name] for population in spec.populations])[spec.population_of]
    balanced, free, distances = [], [], []
    for seed in DRAWS:
        matrix = build_weights(replace(spec, wiring_seed=seed)).total()
        balanced.append(np.linalg.eigvals(matrix))
        distances.append(largest_distance(balanced[-1], np.linalg.eigvals(matrix - means)))
        free.append(np.linalg.eigvals(build_weights(replace(spec, wiring_seed=seed, balance="")).total()))
    largest = np.abs(free).max(axis=1)
    values = {
        "predicted_radius": radius,
        "percentile_99": float(np.mean(np.percentile(np.abs(balanced), 99.0, axis=1))),
        "distance_to_random_part": max(distances),
        "n_beyond_balanced": float(np.mean(np.sum(np.abs(balanced) > 1.1 * radius, axis=1))),
        "n_beyond_free": float(np.mean(np.sum(np.abs(free) > 1.1 * radius, axis=1))),
        "spread_of_largest": float(np.ptp(largest)),
    }
    spectra = {
        name: xr.Dataset({"eigenvalues": ("eigenvalue", drawn[0])}, attrs={"radius": radius})
        for name, drawn in (("rows balanced", balanced), ("rows free", free))
    }
    return values, spectra


def largest_distance(a: np.ndarray, b: np.ndarray) -> float:
    """Pair two sets of eigenvalues with the smallest total distance and give the largest one."""
    distance = np.abs(a[:, None] - b[None, :])
    return float(distance[linear_sum_assignment(distance)].max())


def draw(figure: Figure, evidence: dict[str, xr.Dataset]) -> None:
    """Draw both spectra on the same scale."""
    panels = figure.subplots(1, 2, sharex=True, sharey=True)
    reach = 1.08 * max(float(np.abs(spectrum["eigenvalues"]).max()) for spectrum in evidence.values())
    for ax, (words, spectrum) in zip(panels, evidence.items(), strict=True):
        plot_spectrum(ax, spectrum)
        ax.set(xlim=(-reach, reach), ylim=(-reach, reach))
        ax.get_legend().remove()
        ax.set_title(words, fontsize=10.5)
    panels[1].set_ylabel("")


if __name__ == "__main__":
    run_script("rajan_abbott_2006", __file__)
