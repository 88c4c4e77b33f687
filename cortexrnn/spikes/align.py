"""Cut a recording into trials around an event, or into blocks, and mark what nobody recorded."""

from __future__ import annotations

import importlib.metadata
import warnings
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import xarray as xr

from cortexrnn._checks import check_positive, check_window, without_unit
from cortexrnn.errors import DataWarning, NoTrialsError, OptionError, TimeUnitError
from cortexrnn.schema import BLOCKS, make_trials
from cortexrnn.spikes.binning import BinGrid, as_fraction, count_spikes, make_grid, observed_bins
from cortexrnn.spikes.labels import plain, trial_coords, unit_coords
from cortexrnn.spikes.ticks import to_ticks

if TYPE_CHECKING:
    from cortexrnn.spikes.recording import Recording

# Windows up to this length are never held to be in milliseconds.
_SHORT_S = 10.0
SESSION_COLUMNS = ("start_s", "stop_s", "zero_s")


@dataclass(frozen=True, kw_only=True, slots=True)
class AlignSpec:
    """How to cut trials; the fields are the arguments of `Recording.align`."""

    event: str | None
    window_s: tuple[float, float] | None
    bin_s: float
    history_s: float
    condition: str | None
    units: Sequence[Any] | None


@dataclass(frozen=True, kw_only=True, slots=True)
class BlockSpec:
    """How to cut blocks; the fields are the arguments of `Recording.blocks`."""

    block_s: float
    bin_s: float
    history_s: float
    units: Sequence[Any] | None


@dataclass(frozen=True, eq=False, kw_only=True, slots=True)
class _Cut:
    """Where the trials lie: event ticks, the ticks that may belong to each, and the rows they come from."""

    events: np.ndarray
    bounds: np.ndarray
    rows: pd.DataFrame


def cut_trials(recording: Recording, spec: AlignSpec) -> xr.Dataset:
    """Cut trials around an event: the work behind `Recording.align`.

    Parameters
    ----------
    recording : Recording
        The recording.
    spec : AlignSpec
        Event, window, bins, condition and units.

    Returns
    -------
    xarray.Dataset
        Trials dataset.

    Raises
    ------
    OptionError, NoTrialsError, TimeUnitError, DataError
        See `Recording.align`.
    """
    spec = replace(spec, bin_s=check_positive("bin_s", spec.bin_s), history_s=_history(recording, spec.history_s))
    name = spec.event or "start_s"
    cut = _events(recording, name)
    condition = _conditions(cut.rows, spec.condition)
    is_known = ~pd.isna(condition)
    if not is_known.all():
        _warn(f"{int((~is_known).sum())} trials without a value of {spec.condition!r} are left out.")
        cut = _keep(cut, is_known)
        condition = condition[is_known]
    window_s = spec.window_s
    if window_s is None:
        window_s, cut = _default_window(recording, cut, spec.bin_s)
    window_s = check_window("window_s", window_s)
    _check_length(recording, "window_s", window_s[1] - window_s[0])
    grid = make_grid(
        window_s,
        bin_s=spec.bin_s,
        history_s=spec.history_s,
        tick_hz=recording.tick_hz,
    )
    coords = {"condition": ("trial", plain(condition))}
    trials = _materialise(recording, cut, grid, units=spec.units, coords=coords)
    trials = _drop_unobserved(trials, recording, window_s, name)
    _warn_of_overlap(cut, grid)
    return trials.assign_attrs(align_to=name, history_s=float(spec.history_s))


def cut_blocks(recording: Recording, spec: BlockSpec) -> xr.Dataset:
    """Cut a continuous recording into blocks: the work behind `Recording.blocks`.

    Parameters
    ----------
    recording : Recording
        The recording.
    spec : BlockSpec
        Length of the blocks, bins, burn-in and units.

    Returns
    -------
    xarray.Dataset
        Trials dataset whose `align_to` is ``cortexrnn.schema.BLOCKS``.

    Raises
    ------
    OptionError
        If an option is unknown or impossible.
    NoTrialsError
        If the recording is shorter than one block with its burn-in.
    """
    lengths = {name: check_positive(name, getattr(spec, name)) for name in ("block_s", "bin_s")}
    spec = replace(spec, **lengths, history_s=_history(recording, spec.history_s))
    grid = make_grid(
        (0.0, spec.block_s), bin_s=spec.bin_s, history_s=spec.history_s, tick_hz=recording.tick_hz
    )
    first, last = recording.span_ticks
    n_history = as_fraction(spec.bin_s) * grid.n_history * as_fraction(recording.tick_hz)
    period = n_history + as_fraction(spec.block_s) * as_fraction(recording.tick_hz)
    n_blocks = int((last - first) // period)
    if n_blocks < 1:
        raise NoTrialsError(
            f"the recording of {recording.duration_s:g} s holds no block of {spec.block_s:g} s with its burn-in of "
            f"{spec.history_s:g} s.",
            hint="Use shorter blocks (block_s, --block).",
        )
    events = np.array(
        [first + int(-(-(n_history + k * period) // 1)) for k in range(n_blocks)], dtype=np.int64
    )
    rows = pd.DataFrame(index=pd.RangeIndex(n_blocks, name="trial"))
    cut = _Cut(events=events, bounds=_own_ticks(recording, events), rows=rows)
    coords = {"condition": ("trial", np.zeros(n_blocks, dtype=np.int64))}
    trials = _materialise(recording, cut, grid, units=spec.units, coords=coords)
    is_seen = (trials["observed"] & trials["scored"]).any(("time", "unit")).values
    if not is_seen.any():
        raise NoTrialsError("no block holds an observed bin.", hint="Check the observed intervals.")
    return trials.isel(trial=is_seen).assign_attrs(align_to=BLOCKS, history_s=float(spec.history_s))


def _history(recording: Recording, history_s: float) -> float:
    """Return the burn-in as a plain number of seconds, after comparing it with the recording."""
    history_s = without_unit("history_s", history_s)
    _check_length(recording, "history_s", history_s)
    return history_s


def _check_length(recording: Recording, name: str, length_s: float) -> None:
    """Refuse seconds that no recording of this length can fill: they were meant as milliseconds."""
    # What was observed may be inferred from few spikes, and windows that reach beyond it are cut: hence the room.
    longest_s = max(_SHORT_S, 2.0 * recording.duration_s)
    if isinstance(length_s, int | float | np.number | np.ndarray) and length_s > longest_s:
        raise OptionError(
            f"{name} is {length_s:g} s long, and the recording {recording.duration_s:g} s.",
            hint="Times are in seconds: 500 ms are 0.5.",
        )


def _events(recording: Recording, name: str) -> _Cut:
    """Find the event of every trial, leaving out trials in which it did not happen."""
    if name in recording.trials:
        rows = recording.trials
        where = f"trials column {name!r}"
        _check_has_unit(recording, name)
        times = pd.to_numeric(rows[name], errors="coerce").to_numpy(dtype=float)
        if recording.attrs.get("clock") == "synthetic" and name not in SESSION_COLUMNS:
            times = times + _zeros_s(rows)
    elif name in recording.tables:
        rows = recording.tables[name]
        where = f"table {name!r}"
        times = rows["start_s"].to_numpy(dtype=float)
    else:
        known = [*map(str, recording.trials.columns), *map(str, recording.tables)]
        what = (
            f"there is no event {name!r}."
            if known
            else "the recording has no trials and no table of intervals."
        )
        hint = f"Known are {', '.join(known)}." if known else "Give a trials table, or use blocks()."
        raise OptionError(what, hint=hint) if known else NoTrialsError(what, hint=hint)
    is_known = np.isfinite(times)
    if not is_known.any():
        raise NoTrialsError(f"none of {times.size} rows holds a time of the event.", where=where)
    if not is_known.all():
        _warn(
            f"{where}: {int((~is_known).sum())} of {times.size} rows have no time of the event and are left out."
        )
    events = to_ticks(times[is_known], recording.tick_hz, where)
    rows = rows.loc[is_known]
    owner = to_ticks(rows["start_s"].to_numpy(dtype=float), recording.tick_hz, where)
    return _Cut(events=events, bounds=_own_ticks(recording, owner), rows=rows)


def _check_has_unit(recording: Recording, name: str) -> None:
    """Raise TimeUnitError for a column whose unit of time the file does not tell."""
    if name in recording.attrs.get("columns_without_unit", ()):
        raise TimeUnitError(
            f"column {name!r} of the trials file does not say its unit of time.",
            hint=f"Rename it to {name}_s, {name}_ms, {name}_us or {name}_samples.",
        )


def _zeros_s(rows: pd.DataFrame) -> np.ndarray:
    """Return the session time of each trial's own zero on the synthetic clock."""
    return rows["zero_s" if "zero_s" in rows else "start_s"].to_numpy(dtype=float)


def _own_ticks(recording: Recording, inside: np.ndarray) -> np.ndarray:
    """Return the ticks [start, stop) that belong with each tick of `inside`, shape (n_trials, 2).

    On the session clock that is all time. On the synthetic clock neighbouring trials were never
    neighbours, so a window must not reach from one into the next: each trial is one observed interval.
    """
    bounds = np.tile(np.array([-(2**61), 2**61]), (inside.size, 1))
    if recording.attrs.get("clock") != "synthetic" or not recording.n_units:
        return bounds
    intervals = recording.unit_observed(0)
    owner = np.searchsorted(intervals[:, 0], inside, side="right") - 1
    is_owned = owner >= 0
    bounds[is_owned] = intervals[owner[is_owned]]
    bounds[~is_owned] = 0
    return bounds


def _conditions(rows: pd.DataFrame, name: str | None) -> np.ndarray:
    """Return the condition of every trial; zeros without a name."""
    if name is None:
        return np.zeros(len(rows), dtype=np.int64)
    if name not in rows:
        raise OptionError(
            f"there is no column {name!r} to take the condition from.",
            hint=f"The columns are {', '.join(map(str, rows.columns))}.",
        )
    return rows[name].to_numpy()


def _default_window(recording: Recording, cut: _Cut, bin_s: float) -> tuple[tuple[float, float], _Cut]:
    """Return the window from the event to the last trial stop, and bounds that end each trial at its stop."""
    check_positive("bin_s", bin_s)
    rate, width = as_fraction(recording.tick_hz), as_fraction(bin_s)
    if "stop_s" in cut.rows and cut.rows["stop_s"].notna().all():
        stops = to_ticks(
            cut.rows["stop_s"].to_numpy(dtype=float), recording.tick_hz, "trials column 'stop_s'"
        )
        is_exact = recording.attrs.get("observed") == "given"
        longest = int((stops - cut.events).max())
        n_bins = longest / rate // width if is_exact else -(-(longest / rate) // width)
        bounds = np.stack([cut.bounds[:, 0], np.minimum(cut.bounds[:, 1], stops)], axis=1)
        cut = _Cut(events=cut.events, bounds=bounds, rows=cut.rows)
    elif recording.attrs.get("clock") == "synthetic":
        n_bins = -(-_last_spike(recording, cut) / rate // width)
        _warn(
            f"the trials have no stop: the window ends with the last spike of the data set, at "
            f"{float(n_bins * width):g} s."
        )
    else:
        raise OptionError(
            "the trials have no stop, so the window cannot be inferred.", hint="Give window_s=(start, stop)."
        )
    if n_bins < 1:
        raise NoTrialsError(
            f"no trial lasts as long as a bin of {bin_s:g} s.", hint="Give window_s=(start, stop)."
        )
    return (0.0, float(n_bins * width)), cut


def _last_spike(recording: Recording, cut: _Cut) -> int:
    """Return the tick after the last spike of any unit, counted from its trial's event."""
    last = 0
    for position in range(recording.n_units):
        ticks = recording.unit_ticks(position)
        end = np.searchsorted(ticks, cut.bounds[:, 1])
        has_any = end > np.searchsorted(ticks, cut.bounds[:, 0])
        if has_any.any():
            last = max(last, int((ticks[end[has_any] - 1] - cut.events[has_any]).max()) + 1)
    return last


def _materialise(
    recording: Recording, cut: _Cut, grid: BinGrid, *, units: Sequence[Any] | None, coords: dict[str, Any]
) -> xr.Dataset:
    """Count the spikes of the asked units in every bin and label the result."""
    positions = recording.positions(units)
    # Units first in memory, so that one unit's trials are contiguous for the kernels.
    shape = (len(positions), cut.events.size, grid.n_bins)
    counts, observed = np.empty(shape, dtype=np.uint16), np.empty(shape, dtype=bool)
    is_exact = recording.attrs.get("observed") == "given"
    known_bins: dict[bytes, int] = {}
    n_masked = 0
    for row, position in enumerate(positions):
        intervals = recording.unit_observed(position)
        twin = known_bins.setdefault(intervals.tobytes(), row)
        if twin != row:
            observed[row] = observed[twin]
        else:
            observed[row] = observed_bins(intervals, cut.events, grid, bounds=cut.bounds, is_exact=is_exact)
        unit_counts = count_spikes(recording.unit_ticks(position), cut.events, grid, cut.bounds)
        n_masked += int(unit_counts[~observed[row]].sum(dtype=np.int64))
        counts[row] = np.where(observed[row], unit_counts, 0)
    if n_masked:
        _warn(f"{n_masked} spikes lie in bins that were not wholly observed and are left out.")
    attrs = {
        "bin_s": grid.bin_s,
        "align_to": "",
        "history_s": 0.0,
        "source": str(recording.attrs.get("source", "")),
        "sha256": str(recording.attrs.get("sha256", "")),
        "clock": str(recording.attrs.get("clock", "session")),
        "version": _version(),
        "n_multi_spike_bins": int((counts > 1).sum()),
        "n_masked_spikes": n_masked,
    }
    labels = {
        **trial_coords(cut.rows, cut.events / recording.tick_hz),
        **unit_coords(recording, positions, set(map(str, cut.rows.columns))),
        **coords,
    }
    return make_trials(
        counts.transpose(1, 2, 0),
        observed=observed.transpose(1, 2, 0),
        scored=grid.scored,
        time_s=grid.time_s,
        coords=labels,
        attrs=attrs,
    )


def _keep(cut: _Cut, mask: np.ndarray) -> _Cut:
    """Keep some trials, or raise NoTrialsError if none is left."""
    if not mask.any():
        raise NoTrialsError("no trial has a value of the condition.")
    return _Cut(events=cut.events[mask], bounds=cut.bounds[mask], rows=cut.rows.loc[mask])


def _drop_unobserved(
    trials: xr.Dataset, recording: Recording, window_s: tuple[float, float], name: str
) -> xr.Dataset:
    """Leave out trials without an observed scored bin, or raise NoTrialsError if there is no other."""
    is_seen = trials["observed"].values[:, trials["scored"].values].any(axis=(1, 2))
    if is_seen.all():
        return trials
    first, last = (tick / recording.tick_hz for tick in recording.span_ticks)
    if not is_seen.any():
        starts = trials["start_s"].values
        raise NoTrialsError(
            f"no trial has an observed bin in window_s={tuple(window_s)}: the recording spans {first:g} to {last:g} s "
            f"and {starts.size} events {name!r} lie between {starts.min():g} and {starts.max():g} s.",
            hint="Change the window, align to another event, or check the unit of time.",
        )
    _warn(
        f"{int((~is_seen).sum())} of {is_seen.size} trials have no observed bin in the window and are left out "
        f"(the recording spans {first:g} to {last:g} s)."
    )
    return trials.isel(trial=is_seen)


def _warn_of_overlap(cut: _Cut, grid: BinGrid) -> None:
    """Say how many scored bins belong to more than one trial."""
    starts = np.maximum(grid.edge_ticks(cut.events, grid.n_history), cut.bounds[:, 0])
    stops = np.minimum(grid.edge_ticks(cut.events, grid.n_bins), cut.bounds[:, 1])
    order = np.argsort(starts, kind="stable")
    shared = np.maximum(stops[order][:-1] - starts[order][1:], 0)
    n_shared = int(shared.sum()) * grid.scale // grid.width
    if n_shared:
        _warn(
            f"{int((shared > 0).sum())} trials overlap the one before: {n_shared} bins are counted in two "
            "trials, so they are not independent."
        )


def _version() -> str:
    """Return the version of the package."""
    try:
        return importlib.metadata.version("cortexrnn")
    except importlib.metadata.PackageNotFoundError:
        return "0+unknown"


def _warn(message: str) -> None:
    """Issue a DataWarning that points at the caller of the public door."""
    warnings.warn(DataWarning(message), stacklevel=4)
