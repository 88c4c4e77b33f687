"""A system taken apart in one go: fixed points, their modes, Lyapunov exponents; for the screen and for a folder."""

from __future__ import annotations

import json
import math
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from cortexrnn.report.dynamics import draw_dynamics
from cortexrnn.report.lyapunov import draw_lyapunov
from cortexrnn.runs.files import atomic_write, sweep
from cortexrnn.theory.fixed_points import FixedPoints, fixed_points
from cortexrnn.theory.lyapunov import lyapunov
from cortexrnn.theory.lyapunov_spectrum import LyapunovSpectrum
from cortexrnn.theory.projection import project
from cortexrnn.theory.system import System, as_system


@dataclass(frozen=True, kw_only=True, slots=True)
class Analysis:
    """What was found in a system.

    Attributes
    ----------
    system : System
    points : FixedPoints
    spectrum : LyapunovSpectrum
        The leading exponents.
    """

    system: System
    points: FixedPoints
    spectrum: LyapunovSpectrum

    @property
    def summary(self) -> dict[str, Any]:
        """Everything in numbers, ready for JSON; what is not finite is None."""
        table = self.points.table
        return {
            "system": {"name": self.system.name, "size": self.system.size, "dt_s": self.system.dt_s},
            "fixed_points": {
                "verdict": self.points.verdict,
                "starts": self.points.counts,
                "points": [
                    {name: _plain(value) for name, value in row.items()} for row in table.to_dict(orient="records")
                ],
            },
            "lyapunov": {
                "exponents_per_s": [_plain(value) for value in self.spectrum.exponents_per_s],
                "errors_per_s": [_plain(value) for value in self.spectrum.errors_per_s],
            },
        }

    def show(self) -> str:
        """Write what was found for the screen."""
        table = self.points.table
        columns = {"kind": "kind", "index": "growing", "tau_s": "slowest tau (s)", "frequency_hz": "at (Hz)"}
        rows = table[list(columns)].rename(columns=columns).head(20).to_string() if len(table) else ""
        pairs = zip(self.spectrum.exponents_per_s, self.spectrum.errors_per_s, strict=True)
        exponents = ", ".join(f"{value:.3g} +- {error:.1g}" for value, error in pairs)
        return f"{self.points.summary()}\n{rows}\nleading Lyapunov exponents (per s): {exponents}"

    def save(self, folder: str | os.PathLike) -> None:
        """Write ``summary.json``, ``fixed_points.csv`` and ``figures/``.

        Parameters
        ----------
        folder : path
            Made if it does not exist.

        Raises
        ------
        FileAccessError
            If the folder cannot be written to or the disk is full.
        """
        target = Path(folder)
        sweep(target)
        sweep(target / "figures")
        text = json.dumps(self.summary, indent=2, allow_nan=False) + "\n"
        atomic_write(target / "summary.json", text.encode())
        atomic_write(target / "fixed_points.csv", self.points.table.to_csv().encode())
        if len(self.points.states):
            draw_dynamics(target / "figures" / "fixed_points.svg", project(self.points), kind="fixed_points")
        draw_lyapunov(target / "figures", spectrum=self.spectrum.to_dataset())


def analyse(
    thing: Any, *, duration_s: float | None = None, n_starts: int = 256, n_exponents: int = 5, seed: int = 0,
    **options: Any,
) -> Analysis:  # fmt: skip
    """Look for fixed points and the leading Lyapunov exponents.

    Parameters
    ----------
    thing : System, Circuit, or an object with a method ``system``
    duration_s : float, optional
        Time over which exponents are averaged; 2000 steps if not given.
    n_starts : int
        Of the search for fixed points.
    n_exponents : int
        Or as many as there are.
    seed : int
    **options
        Of `cortexrnn.theory.system.as_system`.

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
    system = as_system(thing, **options)
    duration_s = 2000.0 * system.dt_s if duration_s is None else duration_s
    points = fixed_points(system, n_starts=n_starts, seed=seed)
    n = min(n_exponents, system.size)
    return Analysis(
        system=system, points=points, spectrum=lyapunov(system, duration_s=duration_s, n=n, seed=seed)
    )


def _plain(value: Any) -> Any:
    """Give a NumPy value as one of Python that JSON has."""
    value = value.item() if isinstance(value, np.generic) else value
    return None if isinstance(value, float) and not math.isfinite(value) else value
