"""A system taken apart in one go, for the screen and for a folder."""

from __future__ import annotations

import json
import math
import os
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr
from tqdm import tqdm

from cortexrnn.circuit.eigenvalues import drawn_spectrum
from cortexrnn.circuit.spec import Circuit
from cortexrnn.report.circuits import plot_spectrum
from cortexrnn.report.dynamics import draw_dynamics
from cortexrnn.report.figure_file import draw_plot
from cortexrnn.report.lyapunov import draw_lyapunov
from cortexrnn.runs.files import atomic_write, sweep
from cortexrnn.theory.fixed_points import FixedPoints, fixed_points
from cortexrnn.theory.lyapunov import lyapunov
from cortexrnn.theory.lyapunov_spectrum import LyapunovSpectrum
from cortexrnn.theory.modes import modes
from cortexrnn.theory.prediction import Prediction, predict
from cortexrnn.theory.projection import project
from cortexrnn.theory.spectra import NonNormality, Transient, non_normality, transient_gain
from cortexrnn.theory.system import System, as_system

_DEFAULT_STEPS, _DEFAULT_STARTS, _FEWEST_STARTS = 2000, 256, 16
# A start's cost grows faster than the square of the size: from this size on there are fewer of them.
_MANY_UNITS = 200
_MODE_COLUMNS = ("tau_s", "frequency_hz", "flow_tau_s", "flow_frequency_hz")
# Larger matrices take more than a few seconds.
_LARGEST_DECOMPOSED = 800
# Points and modes a point that are written.
_MOST_POINTS, _MOST_MODES = 20, 20


@dataclass(frozen=True, kw_only=True, slots=True)
class AnalysisOptions:
    """How much is looked at.

    Attributes
    ----------
    duration_s : float, optional
        Time over which Lyapunov exponents are averaged; 2000 steps if not given.
    n_starts : int, optional
        Of the search for fixed points; if not given 256, and fewer, down to 16, above 200 entries of the state.
    n_exponents : int
        Or as many as there are.
    shows_progress : bool
        Whether to show on the error stream how far it is.
    """

    duration_s: float | None = None
    n_starts: int | None = None
    n_exponents: int = 5
    shows_progress: bool = False


@dataclass(frozen=True, kw_only=True, slots=True)
class Analysis:
    """What was found in a system.

    Attributes
    ----------
    system : System
    points : FixedPoints
    modes : xarray.Dataset
        Of the first 20 points, see `cortexrnn.theory.modes.modes`.
    spectrum : LyapunovSpectrum
        The leading exponents.
    non_normality : NonNormality, optional
        Of the system around its first point; None where there is no point or more than 800 entries of the state.
    transient : Transient, optional
        The same; None too where the first point is not stable.
    weights : xarray.Dataset, optional
        Eigenvalues of a circuit's weights, see `cortexrnn.circuit.eigenvalues.drawn_spectrum`; None for other systems
        and more than 800 units.
    prediction : Prediction, optional
        Mean-field theory of a circuit, where one applies.
    """

    system: System
    points: FixedPoints
    modes: xr.Dataset
    spectrum: LyapunovSpectrum
    non_normality: NonNormality | None
    transient: Transient | None
    weights: xr.Dataset | None
    prediction: Prediction | None

    @property
    def summary(self) -> dict[str, Any]:
        """Everything in numbers, ready for JSON; what is not finite is None."""
        return _plain(
            {
                "system": {"name": self.system.name, "size": self.system.size, "dt_s": self.system.dt_s},
                "fixed_points": {
                    "verdict": self.points.verdict,
                    "starts": self.points.counts,
                    "points": self.points.table.to_dict(orient="records"),
                },
                "lyapunov": {
                    "exponents_per_s": list(self.spectrum.exponents_per_s),
                    "errors_per_s": list(self.spectrum.errors_per_s),
                },
                "non_normality": asdict(self.non_normality) if self.non_normality else None,
                "transient": {"gain": self.transient.gain, "peak_s": self.transient.peak_s} if self.transient else None,
                "weights": self._weights(),
                "prediction": {
                    "theory": self.prediction.theory,
                    "quantities": self.prediction.table.reset_index().to_dict(orient="records"),
                }
                if self.prediction
                else None,
            }
        )

    def show(self) -> str:
        """Write what was found for the screen."""
        table = self.points.table
        columns = {"kind": "kind", "index": "growing", "tau_s": "slowest tau (s)", "frequency_hz": "at (Hz)"}
        parts = [self.points.summary()]
        if len(table):
            parts.append(table[list(columns)].rename(columns=columns).head(_MOST_POINTS).to_string())
        pairs = zip(self.spectrum.exponents_per_s, self.spectrum.errors_per_s, strict=True)
        exponents = ", ".join(f"{value:.3g} +- {error:.1g}" for value, error in pairs)
        parts.append(f"leading Lyapunov exponents (per s): {exponents}")
        if self.non_normality:
            found = self.non_normality
            parts.append(
                f"around point 0: relative departure from normality {found.relative_henrici:.3g}, growth (per s) at "
                f"first up to {found.numerical_abscissa:.4g}, in the end {found.spectral_abscissa:.4g}"
            )
        if self.transient:
            when_ms = 1e3 * self.transient.peak_s
            parts.append(f"largest transient gain {self.transient.gain:.4g}, after {when_ms:.4g} ms")
        if self.weights is not None:
            found = self._weights()
            pairs = found["outliers"]
            outliers = ", ".join(f"{real:.3g}{imag:+.3g}i" if imag else f"{real:.3g}" for real, imag in pairs)
            parts.append(
                f"weights: radius of the bulk predicted {found['radius']:.4g}, 99th percentile of the moduli drawn "
                f"{found['percentile_99']:.4g}; outliers predicted: {outliers or 'none'}"
            )
        if self.prediction:
            numbers = self.prediction.table.to_string(float_format=lambda value: f"{value:.4g}")
            parts.append(f"{self.prediction.theory}\n{numbers}")
        return "\n".join(parts)

    def save(self, folder: str | os.PathLike) -> None:
        """Write ``summary.json``, ``fixed_points.csv``, ``modes.csv``, ``prediction.csv`` and ``figures/``.

        Parameters
        ----------
        folder : path
            Made if it does not exist. What was not found has no file.

        Raises
        ------
        FileAccessError
            If the folder cannot be written to or the disk is full.
        """
        target = Path(folder)
        figures = target / "figures"
        sweep(target)
        sweep(figures)
        text = json.dumps(self.summary, indent=2, allow_nan=False) + "\n"
        atomic_write(target / "summary.json", text.encode())
        atomic_write(target / "fixed_points.csv", self.points.table.to_csv().encode())
        draw_lyapunov(figures, spectrum=self.spectrum.to_dataset())
        if len(self.points.states):
            draw_dynamics(figures / "fixed_points.svg", project(self.points), kind="fixed_points")
            draw_dynamics(figures / "modes.svg", self.modes, kind="modes")
            names = [name for name in _MODE_COLUMNS if name in self.modes]
            table = self.modes[names].isel(mode=slice(_MOST_MODES)).to_dataframe()
            atomic_write(target / "modes.csv", table[names].to_csv().encode())
        if self.transient:
            draw_plot(figures / "transient.svg", self.transient.plot)
        if self.weights is not None:
            draw_plot(figures / "weights.svg", lambda ax: plot_spectrum(ax, self.weights))
        if self.prediction:
            draw_plot(figures / "prediction.svg", self.prediction.plot)
            atomic_write(target / "prediction.csv", self.prediction.table.to_csv().encode())

    def _weights(self) -> dict[str, Any] | None:
        """Give the bulk and the outliers of the weights in numbers; outliers as real and imaginary part."""
        if self.weights is None:
            return None
        return {
            "radius": float(self.weights.attrs["radius"]),
            "percentile_99": float(np.percentile(np.abs(self.weights["eigenvalues"].values), 99)),
            "outliers": [[float(value.real), float(value.imag)] for value in self.weights.attrs["outliers"]],
        }


def analyse(thing: Any, *, options: AnalysisOptions | None = None, seed: int = 0, **system: Any) -> Analysis:
    """Take something apart: fixed points, modes, Lyapunov exponents, non-normality, and a circuit's mean field.

    Parameters
    ----------
    thing : System, Circuit, or an object with a method ``system``
    options : AnalysisOptions, optional
    seed : int
        Of starts.
    **system
        Options of `cortexrnn.theory.system.as_system`.

    Returns
    -------
    Analysis

    Raises
    ------
    OptionError
        If an argument is not valid.
    NumericalError
        If a trajectory leaves the finite numbers.
    """
    found, options = as_system(thing, **system), options or AnalysisOptions()
    duration_s = _DEFAULT_STEPS * found.dt_s if options.duration_s is None else options.duration_s
    usual = round(_DEFAULT_STARTS * min(1.0, (_MANY_UNITS / found.size) ** 2))
    n_starts = max(usual, _FEWEST_STARTS) if options.n_starts is None else options.n_starts
    with tqdm(total=4, leave=False, disable=not options.shows_progress) as bar:
        bar.set_description("fixed points")
        points = fixed_points(found, n_starts=n_starts, seed=seed)
        bar.update()
        bar.set_description("Lyapunov exponents")
        spectrum = lyapunov(found, duration_s=duration_s, n=min(options.n_exponents, found.size), seed=seed)
        bar.update()
        bar.set_description("around the points")
        around = modes(found, points.states[:_MOST_POINTS], has_vectors=False)
        is_small = len(points.states) > 0 and found.size <= _LARGEST_DECOMPOSED
        normality = non_normality(found, points.states[0]) if is_small else None
        is_decaying = normality is not None and normality.spectral_abscissa < 0.0
        transient = transient_gain(found, points.states[0]) if is_decaying else None
        bar.update()
        bar.set_description("mean field")
        weights = prediction = None
        if isinstance(thing, Circuit):
            weights = drawn_spectrum(thing) if thing.size <= _LARGEST_DECOMPOSED else None
            prediction = predict(thing, found, spectrum, points.states, inputs=system.get("inputs"), seed=seed)
        bar.update()
    return Analysis(
        system=found, points=points, modes=around, spectrum=spectrum, non_normality=normality, transient=transient,
        weights=weights, prediction=prediction,
    )  # fmt: skip


def _plain(value: Any) -> Any:
    """Give a value as JSON has it: NumPy's numbers as Python's, and None for what is not finite."""
    if isinstance(value, dict):
        return {name: _plain(part) for name, part in value.items()}
    if isinstance(value, list):
        return [_plain(part) for part in value]
    value = value.item() if isinstance(value, np.generic) else value
    return None if isinstance(value, float) and not math.isfinite(value) else value
