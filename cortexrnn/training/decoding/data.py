"""What a decoder is given: activity and labels laid out and checked, folds, and shuffles of the labels."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import pandas as pd
import xarray as xr

from cortexrnn.errors import DataError, OptionError
from cortexrnn.numerics.streams import stream
from cortexrnn.spikes.folds import assign_folds
from cortexrnn.training.decoding.scores import CLASSES, VALUES

if TYPE_CHECKING:
    from cortexrnn.training.decoding.result import DecodeOptions

# Numbers with more distinct values than this are values, not names of classes.
MAX_NUMERIC_CLASSES = 12
# Ranges of values that are shared out evenly where trials come in groups.
_N_RANGES = 5


class Samples(NamedTuple):
    """Activity, laid out.

    Attributes
    ----------
    values : ndarray, shape (n_trials, n_times, n_features)
    present : ndarray of bool, shape (n_trials, n_times)
        False where a trial has ended.
    time_s : ndarray, shape (n_times,), or None
        Numbers of the steps where activity has no times, None where it has no time at all.
    has_times : bool
    feature : str
        Name of the last dimension.
    coords : mapping
        Its coordinates.
    """

    values: np.ndarray
    present: np.ndarray
    time_s: np.ndarray | None
    has_times: bool
    feature: str
    coords: Mapping[str, Any]

    @property
    def time_attrs(self) -> dict[str, str]:
        """What a coordinate of times is called."""
        return {"units": "s", "long_name": "time"} if self.has_times else {"long_name": "step"}


class Target(NamedTuple):
    """Labels, laid out.

    Attributes
    ----------
    kind : {"classes", "values"}
    classes : ndarray, shape (n_classes,)
        Labels in ascending order; empty for values.
    truth : ndarray, shape (n_trials,) or (n_trials, n_times)
        Number of the class, or the value, which may change over time; NaN where there is none.
    """

    kind: str
    classes: np.ndarray
    truth: np.ndarray

    @property
    def of_trial(self) -> np.ndarray:
        """One label a trial, shape (n_trials,): the mean of a value that changes."""
        if self.truth.ndim == 1:
            return self.truth
        known = np.isfinite(self.truth)
        return np.where(known, self.truth, 0.0).sum(axis=1) / np.maximum(known.sum(axis=1), 1)

    @property
    def n_columns(self) -> int:
        """Number of columns that a read-out answers: indicators of all classes but the last, or the value."""
        return max(1, len(self.classes) - 1)

    def columns(self, truth: np.ndarray) -> np.ndarray:
        """Give sets of labels, shape (n_trials, n_sets), as columns of targets."""
        if self.kind == VALUES:
            return truth
        indicators = truth[:, :, None] == np.arange(self.n_columns)
        return indicators.reshape(len(truth), -1).astype(float)


def take_samples(activity: np.ndarray | xr.DataArray, window_s: float | None) -> Samples:
    """Lay activity out, averaged in windows of `window_s` where that is given; a window that is not whole is left out.

    Raises DataError where it has other dimensions than (trial, [time,] feature), infinite numbers, nothing but NaN,
    or nothing that varies; OptionError where it cannot be cut into such windows.
    """
    labelled = isinstance(activity, xr.DataArray)
    values = np.asarray(activity.values if labelled else activity)
    if values.ndim not in (2, 3) or values.size == 0 or values.dtype.kind not in "fiub":
        raise DataError(f"activity of shape {values.shape} and dtype {values.dtype} is not valid; {_EXPECTED}.")
    dims = tuple(map(str, activity.dims)) if labelled else ("trial", "time", "unit")[:: 1 if values.ndim == 3 else 2]
    if dims[:-1] != ("trial", "time")[: values.ndim - 1]:
        raise DataError(f"activity has dims {dims}; {_EXPECTED}.")
    time_s, has_times = None, values.ndim == 3 and labelled and "time" in activity.coords
    if values.ndim == 3:
        time_s = np.asarray(activity["time"].values if has_times else np.arange(values.shape[1]), dtype=float)
    values = values.reshape(len(values), -1, values.shape[-1]).astype(float)
    if window_s is not None:
        if not has_times or time_s.size < 2:
            raise OptionError(
                f"window_s={window_s} needs activity with times.",
                hint="Give a DataArray of dims (trial, time, unit) with the coordinate time in seconds.",
            )
        values, time_s = _in_windows(values, time_s, window_s)
    coords = {k: v for k, v in activity.coords.items() if v.dims == dims[-1:]} if labelled else {}
    return Samples(values, _whole(values, dims[-1]), time_s, has_times, dims[-1], coords)


def take_target(labels: Any, n_trials: int, kind: str, n_folds: int) -> Target:
    """Lay labels out.

    Raises DataError where they are not one for every trial, some are missing, all are the same, or a class has fewer
    trials than there are folds.
    """
    labels = np.asarray(getattr(labels, "values", labels))
    if labels.shape != (n_trials,):
        raise DataError(f"labels have shape {labels.shape}; expected one for each of the {n_trials} trials.")
    n_missing = int(np.sum(pd.isna(labels)))
    if n_missing:
        raise DataError(f"{n_missing} labels are missing.", hint="Leave those trials out of activity and labels.")
    try:
        classes, codes = np.unique(labels, return_inverse=True)
    except TypeError:
        raise DataError("labels mix kinds that cannot be sorted; expected all strings or all numbers.") from None
    if classes.size < 2:
        raise DataError(f"all labels are {classes.tolist()[0]!r}; expected at least two different ones.")
    is_number = labels.dtype.kind in "fiu"
    if kind == "auto":
        kind = VALUES if is_number and classes.size > MAX_NUMERIC_CLASSES else CLASSES
    if kind == VALUES:
        if not (is_number or labels.dtype.kind == "b") or not np.isfinite(labels).all():
            raise DataError(f"labels of dtype {labels.dtype} are no finite numbers, so they cannot be values.")
        if n_trials < 2 * n_folds:
            raise DataError(f"{n_trials} trials are too few for {n_folds} folds of at least two.")
        return Target(VALUES, classes[:0], labels.astype(float))
    counts = np.bincount(codes)
    if counts.min() < n_folds:
        raise DataError(
            f"class {classes.tolist()[counts.argmin()]!r} has {counts.min()} trials, fewer than the {n_folds} folds.",
            hint="Lower n_folds, leave the class out, or take DecodeOptions(kind='values') for numbers.",
        )
    if classes.dtype.kind == "O":
        classes = classes.astype(str)
    return Target(CLASSES, classes, codes)


def take_course(labels: Any, activity: np.ndarray | xr.DataArray, samples: Samples, options: DecodeOptions) -> Target:
    """Lay out values that change over time, shape (n_trials, n_times), averaged in the windows of the activity.

    Raises DataError where there is not one for every trial and time, one is missing where there is activity, or all
    are the same; OptionError where they are said to be classes.
    """
    if options.kind == CLASSES:
        raise OptionError("kind='classes' is not valid for labels that change over time; expected one a trial.")
    labels, shape = np.asarray(getattr(labels, "values", labels)), np.shape(activity)[:2]
    if samples.time_s is None or labels.shape != shape:
        raise DataError(
            f"labels have shape {labels.shape}, activity {np.shape(activity)}; expected one label a trial, or one a "
            "trial and time."
        )
    if labels.dtype.kind not in "fiub":
        raise DataError(f"labels of dtype {labels.dtype} are no numbers, so they cannot change over time.")
    truth = labels.astype(float)
    if options.window_s is not None:
        truth = _in_windows(truth[:, :, None], np.asarray(activity["time"].values, float), options.window_s)[0][:, :, 0]
    n_missing = int(np.sum(samples.present & ~np.isfinite(truth)))
    if n_missing:
        raise DataError(f"{n_missing} labels are no finite numbers at times with activity.", hint="Set both to NaN.")
    truth = np.where(samples.present, truth, np.nan)
    if np.nanmin(truth) == np.nanmax(truth):
        raise DataError(f"all labels are {np.nanmin(truth)}; expected at least two different ones.")
    if len(truth) < 2 * options.n_folds:
        raise DataError(f"{len(truth)} trials are too few for {options.n_folds} folds of at least two.")
    return Target(VALUES, np.empty(0), truth)


def take_groups(groups: Any, n_trials: int, n_folds: int) -> np.ndarray | None:
    """Give the number of every trial's group, or None without; DataError where they do not fit or are too few."""
    if groups is None:
        return None
    groups = np.asarray(getattr(groups, "values", groups))
    if groups.shape != (n_trials,):
        raise DataError(f"groups have shape {groups.shape}; expected one for each of the {n_trials} trials.")
    names, codes = np.unique(groups, return_inverse=True)
    if names.size < n_folds:
        raise DataError(f"{names.size} groups cannot be cut into {n_folds} folds.", hint="Lower n_folds.")
    return codes


def draw_folds(target: Target, groups: np.ndarray | None, n_folds: int, seed: int) -> np.ndarray:
    """Assign every trial to a fold at random: classes shared out evenly, values by their rank, groups kept together.

    Raises DataError where a class has trials in a single fold.
    """
    rng = stream(seed, "decoding", "folds")
    if target.kind == CLASSES:
        strata = target.truth
    else:
        # Neighbours in rank go to different folds: every fold has the same range. Ties are broken by chance.
        value = target.of_trial
        strata = np.empty(value.size, dtype=np.int64)
        strata[np.lexsort((rng.random(value.size), value))] = np.arange(value.size) // n_folds
    if groups is None:
        return assign_folds(strata, n_folds, order="random", seed=seed)
    if target.kind == VALUES:
        strata = strata * _N_RANGES // (strata.max() + 1)
    # Largest groups first, each to where it evens out the classes most.
    table = np.zeros((groups.max() + 1, strata.max() + 1))
    np.add.at(table, (groups, strata), 1.0)
    shares = table / table.sum(axis=0)
    order = np.lexsort((rng.random(len(table)), -table.sum(axis=1)))
    filled = np.zeros((n_folds, table.shape[1]))
    fold_of = np.empty(len(table), dtype=np.int64)
    for group in order:
        cost = np.sum((filled + shares[group]) ** 2 - filled**2, axis=1)
        fold_of[group] = np.argmin(cost)
        filled[fold_of[group]] += shares[group]
    fold = fold_of[groups]
    alone = [k for k in range(strata.max() + 1) if target.kind == CLASSES and len(set(fold[strata == k])) < 2]
    if alone or np.unique(fold).size < n_folds:
        what = f"class {target.classes.tolist()[alone[0]]!r} has" if alone else f"{len(table)} groups leave"
        raise DataError(f"{what} too few groups for {n_folds} folds.", hint="Lower n_folds, or leave the class out.")
    return fold


class Shuffles:
    """Exchanges of the labels under which every fold keeps its labels, so that all share folds and decompositions.

    Labels change places within a fold, or within a group where groups hold different labels; where each group has one
    label, groups of a fold exchange theirs. Trials that have ended take no part.

    Parameters
    ----------
    target : Target
    fold : ndarray of int, shape (n_trials,)
    groups : ndarray of int, shape (n_trials,), or None
    n_shuffles : int
    seed : int
    """

    def __init__(self, target: Target, fold: np.ndarray, groups: np.ndarray | None, n_shuffles: int, seed: int):
        self._truth, self._blocks, self._groups = target.truth, fold, None
        if groups is not None:
            firsts = np.unique(groups, return_index=True)[1]
            is_constant = np.array_equal(target.truth[firsts][groups], target.truth, equal_nan=target.kind == VALUES)
            self._groups = groups if is_constant else None
            self._blocks = fold if is_constant else groups
        n_keys = len(target.truth) if self._groups is None else groups.max() + 1
        self._keys = stream(seed, "decoding", "shuffles").random((n_shuffles, n_keys))
        self._known: dict[bytes, np.ndarray] = {}
        givers = target.of_trial[self.givers(np.ones(len(target.truth), bool))]
        if n_shuffles and np.all(givers == givers[:, :1]):
            raise DataError(
                "the labels cannot be exchanged without moving a group between folds.",
                hint="Lower n_folds, or set DecodeOptions(n_shuffles=0).",
            )

    def truths(self, present: np.ndarray, time: int = 0) -> np.ndarray:
        """Give the true labels of the trials that are `present` and their shuffles, (n_present, 1 + n_shuffles).

        Labels that change are those of the number `time`.
        """
        truth = self._truth if self._truth.ndim == 1 else self._truth[:, time]
        return truth[self.givers(present)]

    def givers(self, present: np.ndarray) -> np.ndarray:
        """Give the trials whose labels those that are `present` get, (n_present, 1 + n_shuffles); first their own."""
        key = present.tobytes()
        if key not in self._known:
            self._known[key] = self._draw(present)
        return self._known[key]

    def _draw(self, present: np.ndarray) -> np.ndarray:
        """Exchange trials in every block by the order of the keys."""
        trials = owners = np.flatnonzero(present)
        if self._groups is not None:
            owners, firsts, place = np.unique(self._groups[trials], return_index=True, return_inverse=True)
            trials = trials[firsts]
        keys = self._keys[:, owners]
        blocks = self._blocks[trials]
        sets = np.repeat(trials[:, None], 1 + len(keys), axis=1)
        for block in np.unique(blocks):
            own = np.flatnonzero(blocks == block)
            sets[own, 1:] = trials[own][np.argsort(keys[:, own], axis=1)].T
        # The trials of a group have one label.
        return sets if self._groups is None else sets[place]


_EXPECTED = "expected numbers with the dimensions (trial, unit) or (trial, time, unit)"


def _in_windows(values: np.ndarray, time_s: np.ndarray, window_s: float) -> tuple[np.ndarray, np.ndarray]:
    """Average over windows; each is named by its last time, so that it holds nothing later."""
    step_s = float(np.median(np.diff(time_s)))
    width = round(window_s / step_s)
    n_windows = len(time_s) // max(width, 1)
    if width < 1 or n_windows < 1 or abs(width * step_s - window_s) > 1e-6 * window_s:
        raise OptionError(
            f"window_s={window_s} does not cut {len(time_s)} steps of {step_s:g} s into windows of whole steps."
        )
    cut = values[:, : n_windows * width].reshape(len(values), n_windows, width, -1)
    return cut.mean(axis=2), time_s[: n_windows * width].reshape(n_windows, width)[:, -1]


def _whole(values: np.ndarray, feature: str) -> np.ndarray:
    """Mark where no feature is NaN, or say what is wrong."""
    if np.isinf(values).any():
        raise DataError(f"activity holds {int(np.isinf(values).sum())} infinite numbers.")
    known = ~np.isnan(values)
    if not known.any():
        raise DataError("activity is NaN everywhere.")
    lost = np.flatnonzero(~known.any(axis=(0, 1)))
    if lost.size:
        raise DataError(f"{feature} {lost[0]} is NaN everywhere.", hint="Leave it out.")
    present = known.all(axis=2)
    low = np.where(known, values, np.inf).min(axis=0)
    high = np.where(known, values, -np.inf).max(axis=0)
    if not np.any(high > low):
        raise DataError(f"activity is the same in all trials, for every {feature} at every time.")
    return present
