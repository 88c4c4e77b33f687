"""Harris et al. (2022): radius and outlier of a sparse matrix that obeys Dale's law, with and without balanced rows."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import xarray as xr

from cortexrnn.circuit import Circuit, Population, Projection, WeightLaw, build_weights, predict_spectrum
from cortexrnn.report.circuits import plot_spectrum
from cortexrnn.validation.targets import run_script

if TYPE_CHECKING:
    from matplotlib.figure import Figure

SIZES = {"excitatory": 480, "inhibitory": 120}
DENSITY = 0.2
EXCITATION, INHIBITION, HALVED = (0.06, 0.02), (0.24, 0.08), (0.12, 0.04)
DRAWS = range(5)


def circuit(inhibition: tuple[float, float], balance: str = "") -> Circuit:
    """Give the circuit with mean and deviation of the inhibitory magnitudes."""
    moments = {"excitatory": EXCITATION, "inhibitory": inhibition}
    return Circuit(
        name="sparse_dale",
        populations=tuple(Population(name=name, size=size, sign=name) for name, size in SIZES.items()),
        projections=tuple(
            Projection(
                source=source,
                target=target,
                density=DENSITY,
                weights=WeightLaw(law="gaussian", mean=moments[source][0], sd=moments[source][1]),
                allow_autapses=True,
            )
            for source in SIZES
            for target in SIZES
        ),
        balance=balance,
    )


def eigenvalues(spec: Circuit) -> np.ndarray:
    """Give the eigenvalues of all draws, largest first, shape (n_draws, size)."""
    drawn = [np.linalg.eigvals(build_weights(replace(spec, wiring_seed=seed)).total()) for seed in DRAWS]
    return np.array([values[np.argsort(-np.abs(values))] for values in drawn])


def measure() -> tuple[dict[str, float], dict[str, xr.Dataset]]:
    """Draw the three kinds of matrices and hold their eigenvalues against the prediction."""
    specs = {
        "rows balanced": circuit(INHIBITION, "rows"),
        "means balanced": circuit(INHIBITION),
        "inhibition halved": circuit(HALVED),
    }
    predictions = {name: predict_spectrum(spec) for name, spec in specs.items()}
    drawn = {name: eigenvalues(spec) for name, spec in specs.items()}
    sizes = {name: np.abs(values) for name, values in drawn.items()}
    values = {
        "predicted_radius": predictions["rows balanced"].radius,
        "balanced_percentile_99": mean_percentile(sizes["rows balanced"]),
        "balanced_largest": float(sizes["rows balanced"][:, 0].mean()),
        "free_percentile_99": mean_percentile(sizes["means balanced"]),
        "free_largest": float(sizes["means balanced"].max()),
        "predicted_outlier": float(predictions["inhibition halved"].outliers[0].real),
        "outlier": float(drawn["inhibition halved"][:, 0].real.mean()),
        "halved_percentile_99": mean_percentile(sizes["inhibition halved"][:, 1:]),
    }
    spectra = {
        name: xr.Dataset(
            {"eigenvalues": ("eigenvalue", drawn[name][0])},
            attrs={"radius": prediction.radius, "outliers": prediction.outliers},
        )
        for name, prediction in predictions.items()
    }
    return values, spectra


def mean_percentile(sizes: np.ndarray) -> float:
    """Give the 99th percentile, averaged over draws."""
    return float(np.percentile(sizes, 99.0, axis=1).mean())


def draw(figure: Figure, evidence: dict[str, xr.Dataset]) -> None:
    """Draw the three spectra on the same scale."""
    panels = figure.subplots(1, 3, sharey=True, width_ratios=(3.2, 3.2, 4.8))
    for ax, (words, spectrum) in zip(panels, evidence.items(), strict=True):
        plot_spectrum(ax, spectrum)
        ax.set(xlim=(-1.6, 3.2 if words == "inhibition halved" else 1.6), ylim=(-1.6, 1.6))
        ax.get_legend().remove()
        ax.set_ylabel("")
        ax.set_title(words, fontsize=9.5)
    panels[0].set_ylabel("imaginary part")


if __name__ == "__main__":
    run_script("sparse_dale", __file__)
