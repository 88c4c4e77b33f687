"""Put integer spike ticks into half-open bins, exactly: no floating point decides where a spike falls."""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction

import numpy as np

from cortexrnn._checks import check_positive
from cortexrnn.errors import DataError, NumericalError, OptionError

_INT64_ROOM = 2**60


def as_fraction(seconds: float) -> Fraction:
    """Return the simplest fraction within 1e-12 of a number: 0.001 is 1/1000, 0.1 + 0.2 is 3/10.

    Parameters
    ----------
    seconds : float
        A finite number; what a user typed or computed in floating point.

    Returns
    -------
    fractions.Fraction
    """
    number = Fraction(repr(float(seconds)))
    for limit in (10**3, 10**5, 10**7):
        simple = number.limit_denominator(limit)
        if abs(simple - number) <= Fraction(1, 10**12) * max(1, abs(number)):
            return simple
    return number.limit_denominator(10**9)


@dataclass(frozen=True, kw_only=True, slots=True)
class BinGrid:
    """Bins around an event, in whole numbers of 1/`scale` ticks.

    Bin k of an event at tick e holds the ticks t with
    ``first + k * width <= (t - e) * scale < first + (k + 1) * width``.

    Attributes
    ----------
    first, width : int
        Left edge of bin 0 (burn-in included) and bin width, in 1/`scale` ticks.
    scale : int
        Common denominator that makes both of them integers.
    n_history, n_bins : int
        Bins of burn-in, and all bins.
    start_s, bin_s : float
        Left edge of the first scored bin from the event, and bin width, in seconds.
    """

    first: int
    width: int
    scale: int
    n_history: int
    n_bins: int
    start_s: float
    bin_s: float

    @property
    def time_s(self) -> np.ndarray:
        """Left edge of every bin in seconds from the event, shape (n_bins,)."""
        start = as_fraction(self.start_s)
        width = as_fraction(self.bin_s)
        scale = np.lcm(start.denominator, width.denominator)
        edges = int(start * scale) + (np.arange(self.n_bins) - self.n_history) * int(width * scale)
        return edges / scale

    @property
    def scored(self) -> np.ndarray:
        """False in the burn-in, shape (n_bins,)."""
        return np.arange(self.n_bins) >= self.n_history

    def edge_ticks(self, events: np.ndarray, k: int) -> np.ndarray:
        """Return the first whole tick at or after the left edge of bin `k`, for every event tick."""
        return events - (-(self.first + k * self.width) // self.scale)


def make_grid(window_s: tuple[float, float], *, bin_s: float, history_s: float, tick_hz: float) -> BinGrid:
    """Lay bins over a window and put whole bins of burn-in before it.

    Parameters
    ----------
    window_s : tuple of float
        Start and stop from the event in seconds.
    bin_s : float
        Bin width in seconds; must divide the window to 1e-6 of a bin.
    history_s : float
        Burn-in in seconds, at least 0; rounded up to whole bins.
    tick_hz : float
        Ticks per second.

    Returns
    -------
    BinGrid

    Raises
    ------
    OptionError
        If the bin does not divide the window, is shorter than a tick, or the numbers are so odd that
        exact arithmetic would leave 64 bits.
    """
    check_positive("bin_s", bin_s)
    if not 0.0 <= history_s < float("inf"):
        raise OptionError(f"history_s={history_s!r} is not valid; expected seconds, 0 or more.")
    start, stop = (as_fraction(edge) for edge in window_s)
    width, rate = as_fraction(bin_s), as_fraction(tick_hz)
    if width * rate < 1:
        raise OptionError(
            f"bin_s={bin_s} is shorter than one tick of this recording ({1.0 / tick_hz:g} s).",
            hint="Use a wider bin.",
        )
    n_scored = _whole_bins(start, stop, width)
    n_history = -(-as_fraction(history_s) // width)
    first = (start - n_history * width) * rate
    width_ticks = width * rate
    scale = int(np.lcm.reduce([first.denominator, width_ticks.denominator], dtype=object))
    n_bins = int(n_history + n_scored)
    reach = (abs(first) + n_bins * width_ticks) * scale
    if reach >= _INT64_ROOM:
        raise OptionError(
            f"window_s={window_s} and bin_s={bin_s} have no common measure with {tick_hz:g} ticks per second.",
            hint="Round them to microseconds.",
        )
    return BinGrid(
        first=int(first * scale),
        width=int(width_ticks * scale),
        scale=scale,
        n_history=int(n_history),
        n_bins=n_bins,
        start_s=float(start),
        bin_s=float(width),
    )


def count_spikes(
    ticks: np.ndarray, events: np.ndarray, grid: BinGrid, bounds: np.ndarray | None = None
) -> np.ndarray:
    """Count one unit's spikes in every bin of every trial.

    Parameters
    ----------
    ticks : ndarray of int64, shape (n_spikes,)
        Sorted spike ticks.
    events : ndarray of int64, shape (n_trials,)
        Event tick of every trial.
    grid : BinGrid
        The bins.
    bounds : ndarray of int64, shape (n_trials, 2), optional
        Only ticks in [start, stop) of a trial belong to it.

    Returns
    -------
    ndarray of uint16, shape (n_trials, n_bins)

    Raises
    ------
    DataError
        If a bin holds more than 65535 spikes.
    NumericalError
        If the sum of all counts is not the number of spikes between the outer edges (a bug).
    """
    left, right = grid.edge_ticks(events, 0), grid.edge_ticks(events, grid.n_bins)
    if bounds is not None:
        left, right = np.maximum(left, bounds[:, 0]), np.minimum(right, bounds[:, 1])
    begin = np.searchsorted(ticks, left)
    n_inside = np.maximum(np.searchsorted(ticks, right) - begin, 0)
    trial = np.repeat(np.arange(events.size), n_inside)
    skipped = np.concatenate(([0], np.cumsum(n_inside)[:-1])) if events.size else n_inside
    spike = np.arange(trial.size) + np.repeat(begin - skipped, n_inside)
    index = ((ticks[spike] - events[trial]) * grid.scale - grid.first) // grid.width
    counts = np.zeros((events.size, grid.n_bins), dtype=np.uint16)
    if index.size:
        # Spikes are sorted within a trial and trials follow each other, so equal bins are neighbours:
        # counting the runs needs no array of the size of the bins.
        flat = trial * grid.n_bins + index
        starts = np.concatenate(([0], np.flatnonzero(np.diff(flat)) + 1))
        runs = np.diff(np.concatenate((starts, [flat.size])))
        if runs.max() > np.iinfo(np.uint16).max:
            raise DataError(
                f"a bin of {grid.bin_s} s holds {runs.max()} spikes of one unit; at most 65535 can be counted.",
                hint="Check the unit of time, or use narrower bins.",
            )
        counts.ravel()[flat[starts]] = runs
    if int(counts.sum(dtype=np.int64)) != int(n_inside.sum()):
        raise NumericalError(
            f"binning kept {counts.sum()} of {n_inside.sum()} spikes; please report this as a bug."
        )
    return counts


def observed_bins(
    intervals: np.ndarray,
    events: np.ndarray,
    grid: BinGrid,
    *,
    bounds: np.ndarray | None = None,
    is_exact: bool = True,
) -> np.ndarray:
    """Tell for every bin of every trial whether it was recorded.

    Parameters
    ----------
    intervals : ndarray of int64, shape (n_intervals, 2)
        Observed [start, stop) ticks, sorted by start.
    events : ndarray of int64, shape (n_trials,)
        Event tick of every trial.
    grid : BinGrid
        The bins.
    bounds : ndarray of int64, shape (n_trials, 2), optional
        Only [start, stop) of a trial belongs to it.
    is_exact : bool
        True: a bin counts if all of it was observed. False (intervals inferred from the spikes
        themselves): a bin counts if any of it was, so that the last spike's bin is kept.

    Returns
    -------
    ndarray of bool, shape (n_trials, n_bins)
    """
    merged = merge_intervals(intervals)
    left, right = grid.edge_ticks(events, 0), grid.edge_ticks(events, grid.n_bins)
    lowest = np.searchsorted(merged[:, 1], left, side="right")
    n_touched = np.maximum(np.searchsorted(merged[:, 0], right) - lowest, 0)
    trial = np.repeat(np.arange(events.size), n_touched)
    skipped = np.concatenate(([0], np.cumsum(n_touched)[:-1])) if events.size else n_touched
    pieces = merged[np.arange(trial.size) + np.repeat(lowest - skipped, n_touched)]
    if bounds is not None:
        pieces = np.stack(
            [np.maximum(pieces[:, 0], bounds[trial, 0]), np.minimum(pieces[:, 1], bounds[trial, 1])], axis=1
        )
    # Clipping to the window first keeps the scaled numbers inside 64 bits for any length of recording.
    reach = (right - left).max(initial=0) + 1
    pieces = np.clip(pieces, (left - reach)[trial, None], (right + reach)[trial, None])
    scaled = (pieces - events[trial, None]) * grid.scale - grid.first
    if is_exact:
        first, last = -(-scaled[:, 0] // grid.width), scaled[:, 1] // grid.width
    else:
        first, last = scaled[:, 0] // grid.width, -(-scaled[:, 1] // grid.width)
    first, last = np.clip(first, 0, grid.n_bins), np.clip(last, 0, grid.n_bins)
    is_some = (last > first) & (pieces[:, 1] > pieces[:, 0])
    steps = np.zeros((events.size, grid.n_bins + 1), dtype=np.int32)
    np.add.at(steps, (trial[is_some], first[is_some]), 1)
    np.add.at(steps, (trial[is_some], last[is_some]), -1)
    return np.cumsum(steps, axis=1, dtype=np.int32)[:, :-1] > 0


def merge_intervals(intervals: np.ndarray) -> np.ndarray:
    """Join intervals that touch or overlap.

    Parameters
    ----------
    intervals : ndarray of int64, shape (n_intervals, 2)
        [start, stop) ticks, sorted by start.

    Returns
    -------
    ndarray of int64, shape (n_merged, 2)
    """
    if intervals.shape[0] < 2:
        return intervals
    reach = np.maximum.accumulate(intervals[:, 1])
    opens = np.concatenate(([True], intervals[1:, 0] > reach[:-1]))
    first = np.flatnonzero(opens)
    return np.stack([intervals[first, 0], reach[np.concatenate((first[1:], [reach.size])) - 1]], axis=1)


def _whole_bins(start: Fraction, stop: Fraction, width: Fraction) -> int:
    """Return how many bins fill the window, or say what would."""
    ratio = (stop - start) / width
    n_bins = round(ratio)
    if n_bins < 1 or abs(ratio - n_bins) > Fraction(1, 10**6):
        length = float(stop - start)
        wider = float(start + max(1, -(-ratio // 1)) * width)
        divisor = length / max(1, -(-length // 0.001))
        raise OptionError(
            f"bin_s={float(width):g} does not divide the window of {length:g} s ({float(ratio):.2f} bins).",
            hint=f"Expected a divisor of {length:g}; try bin_s={divisor:g} or window_s=({float(start):g}, {wider:g}).",
        )
    return n_bins
