"""What a recording is: flat integer spike ticks, what was observed, trials and units."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import pandas as pd
import xarray as xr

from cortexrnn._checks import check_positive
from cortexrnn.errors import DataError, NoTrialsError, OptionError
from cortexrnn.spikes.align import AlignSpec, BlockSpec, cut_blocks, cut_trials
from cortexrnn.spikes.exchange import Exchange
from cortexrnn.spikes.ticks import (
    check_layout,
    concatenate,
    inferred_span,
    intervals_per_unit,
    sorted_ticks,
    warn_of_silent_units,
)

SESSION, SYNTHETIC = "session", "synthetic"
NANOSECONDS_HZ = 1e9


@dataclass(frozen=True, eq=False, kw_only=True, slots=True, repr=False)
class Recording(Exchange):
    """Spikes of many units on one clock, with trials and with what was observed.

    Attributes
    ----------
    ticks : ndarray of int64, shape (n_spikes,)
        Spike times of unit 0, then unit 1, ...; sorted within a unit.
    offsets : ndarray of int64, shape (n_units + 1,)
        Unit k owns ``ticks[offsets[k]:offsets[k + 1]]``.
    tick_hz : float
        Ticks per second: the sampling rate where times are samples, 1e9 where the file has seconds.
    observed_ticks : ndarray of int64, shape (n_intervals, 2)
        Half-open intervals [start, stop) in which a unit was recorded; unit after unit, sorted.
    observed_offsets : ndarray of int64, shape (n_units + 1,)
        Unit k owns ``observed_ticks[observed_offsets[k]:observed_offsets[k + 1]]``.
    units : pandas.DataFrame
        Metadata, one row a unit; the index holds the unit ids.
    trials : pandas.DataFrame
        One row a trial: `start_s`, `stop_s` where known (NaN where not), any other columns.
        Empty where the recording has no trials.
    tables : dict of str to pandas.DataFrame
        Other tables of intervals with `start_s` and `stop_s`.
    attrs : dict
        Where it came from: source, sha256, reader, `clock` ("session" or "synthetic"),
        `observed` ("given" or "inferred"), n_duplicates, notes (list of str).

    Notes
    -----
    On the synthetic clock, trials of a file whose times restart with every trial stand one after the
    other with gaps between them; `start_s`, `stop_s` and `zero_s` are times on that clock, and every
    other column of the trials table counts from the trial's own zero, as in the file.
    """

    ticks: np.ndarray
    offsets: np.ndarray
    tick_hz: float
    observed_ticks: np.ndarray
    observed_offsets: np.ndarray
    units: pd.DataFrame
    trials: pd.DataFrame = field(default_factory=pd.DataFrame)
    tables: Mapping[str, pd.DataFrame] = field(default_factory=dict)
    attrs: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Check that the parts fit together."""
        for name in ("ticks", "offsets", "observed_ticks", "observed_offsets"):
            values = np.ascontiguousarray(getattr(self, name))
            if values.dtype.kind not in "iu":
                raise DataError(f"{name} has dtype {values.dtype}; expected integers.")
            object.__setattr__(self, name, values.astype(np.int64, copy=False))
        check_positive("tick_hz", self.tick_hz)
        check_layout(self)

    def __repr__(self) -> str:
        """Say what is in it, in one line."""
        about = f"{self.n_units} units, {self.n_spikes} spikes, {len(self.trials)} trials, {self.duration_s:g} s"
        return f"<Recording: {about}, from {self.attrs.get('source') or 'arrays'}>"

    @classmethod
    def from_arrays(
        cls,
        times_s: Sequence[np.ndarray] | Mapping[Any, np.ndarray],
        *,
        trials: pd.DataFrame | None = None,
        observed_s: np.ndarray | Sequence[np.ndarray] | None = None,
        unit_ids: Sequence[Any] | None = None,
        tick_hz: float = NANOSECONDS_HZ,
        attrs: Mapping[str, Any] | None = None,
    ) -> Recording:
        """Make a recording of spike times in seconds.

        Parameters
        ----------
        times_s : sequence or mapping of ndarray
            Spike times of every unit in seconds; the keys of a mapping are the unit ids.
        trials : pandas.DataFrame, optional
            Columns `start_s`, if known `stop_s`, and any others; times in seconds on the same clock.
        observed_s : ndarray, shape (n_intervals, 2), or a sequence of them, optional
            What was observed, for all units or one array a unit. By default from the first to the last
            spike of any unit or trial edge; the recording then says ``attrs["observed"] == "inferred"``.
        unit_ids : sequence, optional
            Unit ids; 0, 1, ... by default.
        tick_hz : float
            Resolution of the clock: times are rounded to 1 / `tick_hz` seconds.
        attrs : mapping, optional
            Where the data came from.

        Returns
        -------
        Recording

        Raises
        ------
        DataError
            If a time is NaN or infinite, or too large for the clock.

        Warns
        -----
        DataWarning
            If times were not sorted, or a unit has no spikes.

        Examples
        --------
        >>> recording = Recording.from_arrays([np.array([0.1, 0.25, 0.9])])
        >>> recording.n_spikes, recording.duration_s
        (3, 0.800000001)
        """
        if isinstance(times_s, Mapping):
            unit_ids, times_s = list(times_s), list(times_s.values())
        ids = list(range(len(times_s))) if unit_ids is None else list(unit_ids)
        if len(ids) != len(times_s):
            raise DataError(f"{len(ids)} unit ids for {len(times_s)} units.")
        tick_hz = check_positive("tick_hz", tick_hz)
        per_unit = [sorted_ticks(times, tick_hz, unit) for times, unit in zip(times_s, ids, strict=True)]
        warn_of_silent_units([unit for unit, ticks in zip(ids, per_unit, strict=True) if not ticks.size])
        trials = pd.DataFrame() if trials is None else trials.copy()
        ticks, offsets = concatenate(per_unit)
        if observed_s is None:
            intervals = [inferred_span(ticks, trials, tick_hz)] * len(ids)
        else:
            intervals = intervals_per_unit(observed_s, ids, tick_hz)
        observed_ticks, observed_offsets = concatenate(intervals, width=2)
        known = {
            "clock": SESSION,
            "observed": "inferred" if observed_s is None else "given",
            "n_duplicates": sum(int((np.diff(unit) == 0).sum()) for unit in per_unit),
            "notes": [],
        }
        return cls(
            ticks=ticks,
            offsets=offsets,
            tick_hz=tick_hz,
            observed_ticks=observed_ticks,
            observed_offsets=observed_offsets,
            units=pd.DataFrame(index=pd.Index(ids, name="unit")),
            trials=trials,
            attrs={**known, **(attrs or {})},
        )

    @property
    def n_units(self) -> int:
        """Number of units, silent ones included."""
        return len(self.units)

    @property
    def unit_ids(self) -> list[Any]:
        """Ids of the units, in their order."""
        return self.units.index.tolist()

    @property
    def n_spikes(self) -> int:
        """Number of spikes of all units."""
        return int(self.ticks.size)

    @property
    def span_ticks(self) -> tuple[int, int]:
        """First observed tick of any unit and the tick after the last one; (0, 0) if nothing was observed."""
        if not self.observed_ticks.size:
            return 0, 0
        return int(self.observed_ticks[:, 0].min()), int(self.observed_ticks[:, 1].max())

    @property
    def duration_s(self) -> float:
        """Seconds from the start of the first observed interval to the end of the last one."""
        first, last = self.span_ticks
        return (last - first) / self.tick_hz

    def unit_ticks(self, position: int) -> np.ndarray:
        """Give the sorted spike ticks of the unit at `position`, shape (n_spikes_of_unit,)."""
        return self.ticks[self.offsets[position] : self.offsets[position + 1]]

    def unit_observed(self, position: int) -> np.ndarray:
        """Give the observed [start, stop) ticks of the unit at `position`, shape (n_intervals, 2)."""
        return self.observed_ticks[self.observed_offsets[position] : self.observed_offsets[position + 1]]

    def spike_times_s(self, unit_id: Any) -> np.ndarray:
        """Give the spike times of one unit in seconds; OptionError where there is no such unit."""
        return self.unit_ticks(self.positions([unit_id])[0]) / self.tick_hz

    def positions(self, units: Sequence[Any] | None) -> list[int]:
        """Find the positions of these unit ids; all of them for None.

        An id may be given as text: "3" finds unit 3 where no unit is called "3". OptionError where
        there is no such unit.
        """
        if units is None:
            return list(range(self.n_units))
        by_id = {str(unit): position for position, unit in enumerate(self.unit_ids)}
        by_id |= {unit: position for position, unit in enumerate(self.unit_ids)}
        unknown = [unit for unit in units if unit not in by_id]
        if unknown:
            shown = ", ".join(map(str, self.unit_ids[:20])) + (", ..." if self.n_units > 20 else "")
            raise OptionError(f"there is no unit {unknown[0]!r}.", hint=f"The units are {shown}.")
        return [by_id[unit] for unit in units]

    def select(self, *, units: Sequence[Any]) -> Recording:
        """Keep these units, in this order.

        Parameters
        ----------
        units : sequence
            Unit ids; OptionError where there is no such unit.

        Returns
        -------
        Recording
        """
        keep = self.positions(units)
        ticks, offsets = concatenate([self.unit_ticks(k) for k in keep])
        intervals, cuts = concatenate([self.unit_observed(k) for k in keep], width=2)
        parts = {"ticks": ticks, "offsets": offsets, "observed_ticks": intervals, "observed_offsets": cuts}
        return replace(self, units=self.units.iloc[keep], **parts)

    def select_trials(self, mask: Any = None, **columns: Any) -> Recording:
        """Keep some trials; spikes and observed intervals stay as they are.

        Parameters
        ----------
        mask : array-like of bool, shape (n_trials,), optional
            True for the trials to keep.
        **columns : Any
            Column of the trials table and the value it must have, compared as text.

        Returns
        -------
        Recording

        Raises
        ------
        OptionError
            If there is no such column or the mask has another length.
        NoTrialsError
            If no trial is left.
        """
        keep = np.ones(len(self.trials), dtype=bool)
        if mask is not None:
            mask = np.asarray(mask)
            if mask.dtype != bool or mask.shape != keep.shape:
                raise OptionError(
                    f"mask has dtype {mask.dtype} and shape {mask.shape}; expected bool and {keep.shape}."
                )
            keep &= mask
        for name, value in columns.items():
            if name not in self.trials:
                raise OptionError(
                    f"the trials table has no column {name!r}.",
                    hint=f"It has {', '.join(map(str, self.trials.columns)) or 'no columns'}.",
                )
            keep &= (self.trials[name].astype(str) == str(value)).to_numpy()
        if not keep.any():
            raise NoTrialsError(f"no trial of {len(self.trials)} has {columns or 'a true mask'}.")
        return replace(self, trials=self.trials.loc[keep])

    def align(
        self,
        event: str | None = None,
        window_s: tuple[float, float] | None = None,
        bin_s: float = 1e-3,
        history_s: float = 0.5,
        condition: str | None = None,
        units: Sequence[Any] | None = None,
    ) -> xr.Dataset:
        """Cut trials around an event and count spikes in bins.

        Bins are closed on the left and open on the right and computed on integers.

        Parameters
        ----------
        event : str, optional
            A column of the trials table that holds times, or the name of another interval table
            (its starts). By default the start of the trial.
        window_s : tuple of float, optional
            Start and stop from the event in seconds; from the event to the last trial stop by default.
        bin_s : float
            Bin width in seconds; must divide the window.
        history_s : float
            Seconds before the window that are kept as burn-in: they feed history and are not scored.
        condition : str, optional
            Column that becomes the coordinate `condition`; all trials have condition 0 without it.
        units : sequence, optional
            Unit ids; only these are held in memory. All by default.

        Returns
        -------
        xarray.Dataset
            Trials dataset, see `cortexrnn.schema.make_trials`.

        Raises
        ------
        OptionError
            If an option is unknown or impossible.
        NoTrialsError
            If the recording has no trials or none of them has an observed bin in the window.
        TimeUnitError
            If the event's column has no unit of time.
        DataError
            If a bin holds more than 65535 spikes.

        Warns
        -----
        DataWarning
            If trials are dropped or overlap, or the window had to be inferred.
        """
        spec = AlignSpec(
            event=event, window_s=window_s, bin_s=bin_s, history_s=history_s, condition=condition, units=units
        )
        return cut_trials(self, spec)

    def blocks(
        self,
        block_s: float = 10.0,
        bin_s: float = 1e-3,
        history_s: float = 0.5,
        units: Sequence[Any] | None = None,
    ) -> xr.Dataset:
        """Cut a continuous recording into blocks; the gap before a block is its burn-in.

        Parameters
        ----------
        block_s : float
            Scored seconds of a block.
        bin_s : float
            Bin width in seconds; must divide the block.
        history_s : float
            Seconds of burn-in before each block.
        units : sequence, optional
            Unit ids; all by default.

        Returns
        -------
        xarray.Dataset
            Trials dataset whose `align_to` is ``cortexrnn.schema.BLOCKS``.

        Raises
        ------
        OptionError, NoTrialsError
            If an option is impossible, or the recording is shorter than one block with its burn-in.
        """
        return cut_blocks(self, BlockSpec(block_s=block_s, bin_s=bin_s, history_s=history_s, units=units))
