"""The result of a comparison: scores, what is said about them, and the files they are written to."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import h5py
import pandas as pd
import xarray as xr

from cortexrnn.errors import DataError, MissingFileError
from cortexrnn.report import methods_paragraph, screen_summary, units_table, write_report
from cortexrnn.runs.files import atomic_write, sweep
from cortexrnn.spikes.readers.nwb import refuse_large_data, refuse_outside_data

SCORES = "scores.nc"
_PANELS, _SUMMARY = "/panels", "/summary"
# What the data sets of a small file may declare together.
_FLOOR_BYTES = 16 * 2**20
EXTRAS = ("bin_sweep", "data_budget", "likeness", "read_off")


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Comparison:
    """Who predicts held-out spikes better, and what follows.

    Attributes
    ----------
    scores : xarray.Dataset
        `log_likelihood` in nats with dims (rung, seed, unit, trial), the fold a coordinate of trial.
        Every number below derives from it.
    summary : dict
        What ``summary.json`` holds.
    panels : xarray.Dataset
        What the figures draw.
    extras : dict of str to xarray.Dataset
        What was asked beside it: `bin_sweep`, `data_budget`, `likeness` from `compare_like` or `read_off` from
        `read_off_units`.
    """

    scores: xr.Dataset
    summary: dict[str, Any]
    panels: xr.Dataset
    extras: Mapping[str, xr.Dataset] = field(default_factory=dict)

    @property
    def units(self) -> pd.DataFrame:
        """One row a unit: scores with intervals, history gain, verdict, time scale, refractory mass."""
        return units_table(self.summary)

    @property
    def verdicts(self) -> dict[str, str]:
        """Verdict of every unit by its id."""
        return {unit["unit"]: unit["verdict"] for unit in self.summary["units"]}

    def __str__(self) -> str:
        """Give the answer as it is shown on the screen."""
        return screen_summary(self.summary)

    def to_html(self, path: str | os.PathLike) -> Path:
        """Write the report as one self-contained page."""
        return write_report(path, self.summary, self.panels, extras=self.extras)

    def save(self, folder: str | os.PathLike, *, shows_progress: bool = False) -> Path:
        """Write report, summary, table, scores, methods and figures into a folder.

        Parameters
        ----------
        folder : path
            Created if it is not there; files of the same names are replaced, each atomically.
        shows_progress : bool
            Whether to count the units drawn on the error stream.

        Returns
        -------
        pathlib.Path
            The report page.

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
        atomic_write(target / "units.csv", self.units.to_csv(index=False).encode())
        atomic_write(target / "methods.txt", (methods_paragraph(self.summary) + "\n").encode())
        tree = xr.DataTree.from_dict({"/": self.scores, _PANELS: self.panels, _SUMMARY: xr.Dataset({"json": text})})
        # Made in memory: on a full disk the HDF5 library ends the whole process (2.0, SIGSEGV on closing).
        atomic_write(target / SCORES, bytes(tree.to_netcdf(engine="h5netcdf")))
        for name, extra in self.extras.items():
            atomic_write(target / f"{name}.nc", bytes(extra.to_netcdf(engine="h5netcdf")))
        return self.draw(target, shows_progress=shows_progress)

    def draw(self, folder: str | os.PathLike, *, shows_progress: bool = False) -> Path:
        """Write the report page and every figure into a folder, as `save` does, and nothing else.

        Parameters
        ----------
        folder : path
            Created if it is not there.
        shows_progress : bool
            Whether to count the units drawn on the error stream.

        Returns
        -------
        pathlib.Path
            The report page.

        Raises
        ------
        FileAccessError
            If the folder cannot be written to.
        """
        target = Path(folder)
        return write_report(
            target / "report.html",
            self.summary,
            self.panels,
            extras=self.extras,
            figures_folder=target / "figures",
            shows_progress=shows_progress,
        )

    @classmethod
    def load(cls, path: str | os.PathLike) -> Comparison:
        """Read a saved comparison.

        Parameters
        ----------
        path : path
            The folder that was given to `save`, or its ``scores.nc``.

        Returns
        -------
        Comparison

        Raises
        ------
        MissingFileError
            If there is no ``scores.nc``.
        DataError
            If that is damaged, none of a comparison, or declares more than it may hold.
        UnsafeFileError
            If it names other files.
        """
        file = Path(path)
        file = file / SCORES if file.is_dir() else file
        if not file.is_file():
            raise MissingFileError(f"{file} does not exist.", hint="Give a folder that a comparison was saved in.")
        files = {name: file.parent / f"{name}.nc" for name in EXTRAS}
        files = {name: at for name, at in files.items() if at.is_file()}
        try:
            for at in (file, *files.values()):
                _look_at(at)
            with xr.open_datatree(file, engine="h5netcdf") as tree:
                parts = {name: tree[name].to_dataset(inherit=False).load() for name in ("/", _PANELS, _SUMMARY)}
            extras = {name: xr.load_dataset(at, engine="h5netcdf") for name, at in files.items()}
            summary = json.loads(str(parts[_SUMMARY]["json"].item()))
        except DataError:
            raise
        except (OSError, KeyError, ValueError, RuntimeError, TypeError, AttributeError) as error:
            raise DataError(
                f"{file} cannot be read as a comparison ({type(error).__name__}: {error}).",
                hint="It is damaged, or another program's: compare again.",
            ) from error
        # A coordinate that both have is written once.
        panels = parts[_PANELS].assign_coords(unit=parts["/"]["unit"])
        return cls(scores=parts["/"], summary=summary, panels=panels, extras=extras)


def _look_at(path: Path) -> None:
    """Refuse a file that names other files, or declares more than `Comparison.save` would need the bytes for."""
    with h5py.File(path, "r") as file:
        try:
            refuse_outside_data(file)
            refuse_large_data(file, max(_FLOOR_BYTES, 4 * path.stat().st_size))
        except DataError as error:
            raise type(error)(error.what, where=f"{path}: {error.where or '/'}", hint=error.hint) from None
