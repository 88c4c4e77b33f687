"""The figures of a simulation, one file each."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import xarray as xr

from cortexrnn.report.circuits import plot_currents, plot_plasticity, plot_raster_of_rates, plot_spectrum
from cortexrnn.report.figure_file import draw_file

_WIDTH_IN, _HEIGHT_IN = 7.2, 3.4


def draw_simulation(
    folder: str | Path, run: xr.Dataset, spectrum: xr.Dataset | None, plasticity: tuple[str, ...] = ()
) -> list[Path]:
    """Draw the first trial of a run.

    Parameters
    ----------
    folder : path
        Made if it does not exist.
    run : xarray.Dataset
        With ``rate``; with ``current_e`` and ``current_i`` their cancellation in the unit of median excitation is
        drawn too, with ``u`` and ``x`` the state of the synapses.
    spectrum : xarray.Dataset or None
        As `plot_spectrum` takes it.
    plasticity : tuple of str
        Classes of plasticity of the circuit.

    Returns
    -------
    list of pathlib.Path
        SVG files.

    Raises
    ------
    FileAccessError
        If the folder cannot be written to.
    """
    folder = Path(folder)
    written = [_draw(folder / "rates.svg", lambda ax: plot_raster_of_rates(ax, run))]
    if "current_e" in run:
        typical = run["current_e"].isel(trial=0).mean("time").values
        unit = int(np.argsort(typical)[typical.size // 2])
        written.append(_draw(folder / "currents.svg", lambda ax: plot_currents(ax, run, unit=unit)))
    for name in plasticity:
        is_only = len(plasticity) == 1
        if ("u" if is_only else f"u_{name}") in run:
            label = "" if is_only else name
            path = folder / ("plasticity.svg" if is_only else f"plasticity_{name}.svg")
            written.append(_draw(path, lambda ax, label=label: plot_plasticity(ax, run, plasticity=label)))
    if spectrum is not None:
        written.append(_draw(folder / "spectrum.svg", lambda ax: plot_spectrum(ax, spectrum), width_in=4.4))
    return written


def _draw(path: Path, plot: Callable, *, width_in: float = _WIDTH_IN) -> Path:
    """Draw one pair of axes into a file."""
    return draw_file(path, (width_in, _HEIGHT_IN), lambda figure: plot(figure.add_subplot()))
