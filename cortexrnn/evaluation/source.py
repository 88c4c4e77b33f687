"""Where trials come from: a Recording that is cut, or Trials that are there already, a few units at a time."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import xarray as xr

from cortexrnn.errors import DataError, OptionError
from cortexrnn.schema import check_trials
from cortexrnn.spikes.covariates import with_covariates
from cortexrnn.spikes.recording import Recording

_UNITS_AT_ONCE = 8


@dataclass(frozen=True, slots=True, eq=False)
class Source:
    """Where trials come from, a few units at a time."""

    load: Callable[[list[int]], xr.Dataset]
    n_units: int
    attrs: Mapping[str, Any]

    @classmethod
    def of(cls, data: xr.Dataset | Recording, alignment: Mapping[str, Any]) -> Source:
        """Wrap Trials, or a Recording with the arguments of its alignment."""
        if not isinstance(data, Recording):
            if alignment:
                raise OptionError(
                    f"{', '.join(alignment)} cannot be given with trials that are already aligned.",
                    hint="Give a Recording, or leave them out.",
                )
            check_trials(data)
            return cls(lambda chosen: data.isel(unit=chosen), data.sizes["unit"], data.attrs)
        alignment = dict(alignment)
        covariates = alignment.pop("covariates", None)
        units = list(alignment.pop("units", None) or data.unit_ids)
        if data.trials.empty and alignment.get("event") is None:
            for name in ("event", "window_s", "condition"):
                if alignment.pop(name, None) is not None:
                    raise OptionError(f"{name} was given, but the recording has no trials.")
            cut = data.blocks
        else:
            if alignment.pop("block_s", None) is not None:
                raise OptionError(
                    "block_s was given, but the recording has trials.", hint="Give the window around an event instead."
                )
            cut = data.align

        def load(chosen: list[int]) -> xr.Dataset:
            """Cut some units out."""
            trials = cut(units=[units[i] for i in chosen], **alignment)
            return with_covariates(trials, covariates, data) if covariates else trials

        return cls(load, len(units), data.attrs)

    def chunks(self, *, with_neighbours: bool = False) -> Iterator[xr.Dataset]:
        """Give trials of a few units after another, so that memory does not grow with their number.

        Parameters
        ----------
        with_neighbours : bool
            Whether the counts of all units come along, one array for all chunks; memory then grows with them.

        Yields
        ------
        xarray.Dataset

        Raises
        ------
        DataError
            If there are no units, or neighbours are asked for and there is one unit.
        """
        if not self.n_units:
            raise DataError("there are no units.")
        everyone = self._everyone() if with_neighbours else None
        for first in range(0, self.n_units, _UNITS_AT_ONCE):
            trials = self.load(list(range(first, min(first + _UNITS_AT_ONCE, self.n_units))))
            yield trials if everyone is None else trials.assign(neighbours=everyone)

    def _everyone(self) -> xr.DataArray:
        """Give the counts of all units, loaded a few at a time; 0 where a unit was not observed."""
        if self.n_units < 2:
            raise DataError(
                "there is one unit: it has no neighbours.", hint="Leave out the rungs that look at other units."
            )
        counts, names = np.empty((0, 0, 0), np.uint16), []
        for part in self.chunks():
            if not names:
                counts = np.zeros((*part["observed"].shape[:2], self.n_units), np.uint16)
            stop = len(names) + part.sizes["unit"]
            np.multiply(part["counts"].values, part["observed"].values, out=counts[:, :, len(names) : stop])
            names += part["unit"].values.tolist()
        return xr.DataArray(counts, dims=("trial", "time", "neighbour"), coords={"neighbour": names})
