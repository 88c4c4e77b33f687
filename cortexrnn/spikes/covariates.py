"""What was shown, done or measured beside the spikes, on the bins of trials."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
import xarray as xr

from cortexrnn._checks import without_unit
from cortexrnn.errors import DataError, OptionError
from cortexrnn.schema import check_trials, is_stimulus_locked
from cortexrnn.spikes.covariate_events import (
    check_column,
    event_frame,
    has_own_clocks,
    lay_boxcar,
    lay_timing,
    numbers_of,
    rows_of,
)

if TYPE_CHECKING:
    from cortexrnn.spikes.recording import Recording

# A bin is known if all of it is, up to round-off in session times.
_ROUND_OFF = 1e-6


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Signal:
    """A sampled signal, such as the envelope of a sound or a position.

    Every sample stands until the next one, the last for the median interval, and a bin gets the mean over its duration.
    So samples finer than the bins are averaged, coarser ones are held, and no bin depends on a sample taken after it.

    Attributes
    ----------
    time_s : ndarray of float64, shape (n_samples,)
        Session times in seconds, strictly increasing. On a synthetic clock they count from the zero of every trial.
    values : ndarray of float64, shape (n_samples,)
        NaN where the value is not known, such as from the start of a gap on.

    Raises
    ------
    DataError
        If these are not two vectors of numbers of the same length of two or more, or times do not increase.
    """

    time_s: np.ndarray
    values: np.ndarray

    def __post_init__(self) -> None:
        """Take both as vectors of floats and check them."""
        for name in ("time_s", "values"):
            try:
                given = getattr(self, name)
                plain = without_unit(name, given) if name == "time_s" else given
                array = np.ascontiguousarray(plain, dtype=float)
            except OptionError:
                raise
            except (TypeError, ValueError):
                raise DataError(f"{name} of a signal holds values that are not numbers.") from None
            object.__setattr__(self, name, array)
        if self.time_s.ndim != 1 or self.time_s.shape != self.values.shape or self.time_s.size < 2:
            raise DataError(
                f"time_s of a signal has shape {self.time_s.shape} and values {self.values.shape}; "
                "expected two vectors of the same length, 2 or more."
            )
        n_bad = int((~np.isfinite(self.time_s)).sum())
        if n_bad:
            raise DataError(f"time_s of a signal holds {n_bad} times that are not finite.")
        falls = np.flatnonzero(np.diff(self.time_s) <= 0.0)
        if falls.size:
            raise DataError(
                f"time_s of a signal must increase; {self.time_s[falls[0]]:g} s is followed by "
                f"{self.time_s[falls[0] + 1]:g} s ({falls.size} such places).",
                hint="Sort the samples, and remove repeated ones.",
            )
        if np.isinf(self.values).any():
            raise DataError(f"values of a signal holds {int(np.isinf(self.values).sum())} infinite values.")


@dataclass(frozen=True, kw_only=True, slots=True)
class Timing:
    """Events: an impulse of 1 in the bin of each.

    Attributes
    ----------
    column : str
        Column of the trials table that holds their times in seconds; where it holds none there is no event.
    """

    column: str


@dataclass(frozen=True, kw_only=True, slots=True)
class Boxcar:
    """A state that lasts: 1 between two events, 0 elsewhere, and in a bin with an edge the share that lies between.

    Attributes
    ----------
    start, stop : str
        Columns of the trials table that hold the times in seconds; a row that lacks one of them has no such state.
    """

    start: str
    stop: str


@dataclass(frozen=True, kw_only=True, slots=True)
class TrialValue:
    """A value of the trial, the same in all of its bins, such as a contrast.

    Attributes
    ----------
    column : str
        Column of the trials table with numbers; NaN where it has none.
    """

    column: str


Covariate = Signal | Timing | Boxcar | TrialValue


def with_covariates(
    trials: xr.Dataset, covariates: Mapping[str, Covariate], recording: Recording | None = None
) -> xr.Dataset:
    """Lay covariates on the bins of trials.

    A covariate is a function of session time: on the session clock an event counts in every bin that it lies in, also
    in the burn-in of the trial after its own. On a synthetic clock, where neighbouring trials were never neighbours, a
    trial has only the events of its own row of the trials table, and blocks of it have those of every row.

    Parameters
    ----------
    trials : xarray.Dataset
        From `Recording.align` or `Recording.blocks`. Covariates that it holds already are kept before the new ones.
    covariates : mapping of str to Signal, Timing, Boxcar or TrialValue
        By name.
    recording : Recording, optional
        What the trials were cut from. Events need it; a `TrialValue` is otherwise taken from the coordinates of
        `trials`.

    Returns
    -------
    xarray.Dataset
        The trials with a variable `covariates` (trial, time, covariate) of float64, NaN where a value is not known.

    Raises
    ------
    OptionError
        If there is no such column, a name is used twice or none is given, the recording is missing, or blocks are asked
        for the value of a trial.
    DataError
        If a column is not numeric, an interval stops before it starts, trials are not those of the recording, or no
        value of a covariate lies in any bin.
    TimeUnitError
        If a column does not tell its unit of time.

    Examples
    --------
    >>> from cortexrnn.spikes import Recording
    >>> table = pd.DataFrame({"start_s": [1.0, 3.0], "lever_s": [1.25, np.nan]})
    >>> recording = Recording.from_arrays([np.array([1.1, 3.3])], trials=table, observed_s=np.array([[0.0, 5.0]]))
    >>> trials = recording.align(window_s=(0.0, 0.5), bin_s=0.1, history_s=0.0)
    >>> with_covariates(trials, {"lever": Timing(column="lever_s")}, recording)["covariates"].values[:, :, 0]
    array([[0., 0., 1., 0., 0.],
           [0., 0., 0., 0., 0.]])
    """
    check_trials(trials)
    if not covariates:
        raise OptionError("covariates names none.", hint="Give for example {'sound': Signal(...)}.")
    there = [str(name) for name in trials["covariate"].values] if "covariates" in trials else []
    twice = [name for name in covariates if name in there]
    if twice:
        raise OptionError(f"trials holds a covariate {twice[0]!r} already.", hint="Use another name.")
    columns = [_lay(trials, covariate, recording, f"covariate {name!r}") for name, covariate in covariates.items()]
    new = np.stack(columns, axis=2)
    if there:
        new = np.concatenate([trials["covariates"].values, new], axis=2)
        trials = trials.drop_dims("covariate")
    return trials.assign_coords(covariate=[*there, *map(str, covariates)]).assign(
        covariates=(("trial", "time", "covariate"), new)
    )


def _lay(trials: xr.Dataset, covariate: Covariate, recording: Recording | None, where: str) -> np.ndarray:
    """Give one covariate on the bins, shape (n_trials, n_bins)."""
    if isinstance(covariate, Signal):
        return _lay_signal(trials, covariate, where)
    if isinstance(covariate, TrialValue):
        return _lay_value(trials, covariate.column, recording, where)
    if not isinstance(covariate, Timing | Boxcar):
        raise OptionError(
            f"a {type(covariate).__name__} is no covariate; expected Signal, Timing, Boxcar or TrialValue.", where=where
        )
    if recording is None:
        raise OptionError(
            "events need the recording, which knows their clock and their unit of time.",
            where=where,
            hint="Give with_covariates(trials, covariates, recording).",
        )
    frame = event_frame(trials, recording, where)
    if isinstance(covariate, Timing):
        values = lay_timing(frame, covariate.column)
    else:
        values = lay_boxcar(frame, covariate.start, covariate.stop)
    if not values.any():
        raise DataError(
            f"none of its events lies in a bin of the trials, which span {frame.span}.",
            where=where,
            hint="Check the window and the unit of time of the column.",
        )
    return values


def _lay_signal(trials: xr.Dataset, signal: Signal, where: str) -> np.ndarray:
    """Average a signal over every bin."""
    bin_s = float(trials.attrs["bin_s"])
    edges_s = np.append(trials["time"].values, trials["time"].values[-1] + bin_s)
    # Times that restart with every trial are those of the signal, too.
    start_s = trials["start_s"].values
    if has_own_clocks(trials):
        start_s = start_s - trials["zero_s" if "zero_s" in trials.coords else "trial_start_s"].values
    values = np.stack([_average(signal, start + edges_s) for start in start_s])
    if not np.isfinite(values).any():
        raise DataError(
            f"the signal spans {signal.time_s[0]:g} to {signal.time_s[-1]:g} s and the trials "
            f"{start_s.min() + edges_s[0]:g} to {start_s.max() + edges_s[-1]:g} s: no bin has a value.",
            where=where,
            hint="Check that both are in seconds on the same clock.",
        )
    return values


def _average(signal: Signal, edges_s: np.ndarray) -> np.ndarray:
    """Give the mean of a signal between neighbouring edges, each sample held until the next; NaN where not known."""
    time_s = signal.time_s
    first = max(int(np.searchsorted(time_s, edges_s[0], side="right")) - 1, 0)
    last = int(np.searchsorted(time_s, edges_s[-1]))
    if last <= first:
        return np.full(edges_s.size - 1, np.nan)
    end_s = time_s[last] if last < time_s.size else time_s[-1] + float(np.median(np.diff(time_s)))
    knots_s, values = np.append(time_s[first:last], end_s), signal.values[first:last]
    is_known = np.isfinite(values)
    level = float(values[is_known].mean()) if is_known.any() else 0.0
    # Sums of what is left over a common level lose no digits to it.
    lengths_s = np.where(is_known, np.diff(knots_s), 0.0)
    known_s = np.interp(edges_s, knots_s, np.append(0.0, np.cumsum(lengths_s)))
    rest = np.interp(edges_s, knots_s, np.append(0.0, np.cumsum(lengths_s * np.where(is_known, values - level, 0.0))))
    known_s, rest = np.diff(known_s), np.diff(rest)
    is_whole = known_s >= (1.0 - _ROUND_OFF) * np.diff(edges_s)
    return np.where(is_whole, level + rest / np.where(is_whole, known_s, 1.0), np.nan)


def _lay_value(trials: xr.Dataset, column: str, recording: Recording | None, where: str) -> np.ndarray:
    """Repeat a trial's value over its bins."""
    if not is_stimulus_locked(trials):
        raise OptionError(
            "blocks have no values of trials.", where=where, hint="Align to an event, or use a Boxcar or a Signal."
        )
    if recording is not None:
        rows = rows_of(trials, recording, where)
        check_column(rows, column, where)
        values = rows[column]
    else:
        known = [str(name) for name, values in trials.coords.items() if values.dims == ("trial",)]
        if column not in known:
            raise OptionError(f"trials has no coordinate {column!r}.", where=where, hint=f"It has {', '.join(known)}.")
        values = pd.Series(trials[column].values)
    numbers = numbers_of(values, column, where)
    if not np.isfinite(numbers).any():
        raise DataError(f"column {column!r} holds no number for any of {numbers.size} trials.", where=where)
    return np.repeat(numbers[:, None], trials.sizes["time"], axis=1)
