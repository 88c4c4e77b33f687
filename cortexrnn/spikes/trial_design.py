"""The plan of a simulated experiment: how many trials, how long, how much history before each."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import xarray as xr

from cortexrnn._checks import check_count, check_positive
from cortexrnn.errors import OptionError
from cortexrnn.schema import make_trials


@dataclass(frozen=True, kw_only=True, slots=True)
class TrialDesign:
    """Trials of equal length with observed history before each.

    Attributes
    ----------
    n_trials : int
        Number of trials.
    duration_s : float
        Scored length of a trial in seconds; the event is its start.
    bin_s : float
        Bin width in seconds.
    history_s : float
        Burn-in before the event in seconds: simulated and observed, but not scored.

    Raises
    ------
    OptionError
        If a length is not positive (`history_s` may be zero) or is no whole number of bins.
    """

    n_trials: int
    duration_s: float
    bin_s: float = 0.001
    history_s: float = 0.5

    def __post_init__(self) -> None:
        check_count("n_trials", self.n_trials)
        check_positive("bin_s", self.bin_s)
        check_positive("duration_s", self.duration_s)
        if self.history_s != 0.0:
            check_positive("history_s", self.history_s)
        for name in ("duration_s", "history_s"):
            whole_bins(name, getattr(self, name), self.bin_s)

    @property
    def time_s(self) -> np.ndarray:
        """Left edge of every bin in seconds from the event, shape (n_bins,)."""
        n_before = whole_bins("history_s", self.history_s, self.bin_s)
        n_bins = n_before + whole_bins("duration_s", self.duration_s, self.bin_s)
        return (np.arange(n_bins) - n_before) * self.bin_s

    def rate_hz(self, rate: float | Callable[[np.ndarray], np.ndarray]) -> np.ndarray:
        """Evaluate a rate (Hz, a number or a function of time) on the bins, shape (n_trials, n_bins)."""
        values = rate(self.time_s) if callable(rate) else np.full(self.time_s.size, float(rate))
        return np.tile(np.asarray(values, dtype=float), (self.n_trials, 1))

    def trials(self, counts: np.ndarray, *, condition: np.ndarray | None = None) -> xr.Dataset:
        """Lay simulated counts out as a Trials dataset.

        Parameters
        ----------
        counts : ndarray of uint16, shape (n_trials, n_bins) or (n_trials, n_bins, n_units)
            Spikes per bin, burn-in included.
        condition : ndarray, shape (n_trials,), optional
            Condition of each trial; one condition for all by default.

        Returns
        -------
        xarray.Dataset
            Trials dataset, observed everywhere, on a session clock whose trials follow one another.

        Raises
        ------
        OptionError
            If `counts` does not have the shape of the design.
        """
        cube = counts[:, :, np.newaxis] if counts.ndim == 2 else counts
        time_s = self.time_s
        if cube.shape[:2] != (self.n_trials, time_s.size):
            raise OptionError(f"counts has shape {counts.shape}; expected ({self.n_trials}, {time_s.size}, ...).")
        if condition is None:
            condition = np.zeros(self.n_trials, dtype=np.int64)
        length_s = self.history_s + self.duration_s
        coords = {
            "condition": ("trial", np.asarray(condition)),
            "start_s": ("trial", np.arange(self.n_trials) * length_s + self.history_s, {"units": "s"}),
            "unit": ("unit", np.arange(cube.shape[2])),
        }
        return make_trials(
            cube,
            observed=np.ones(cube.shape, dtype=bool),
            scored=time_s >= -0.5 * self.bin_s,
            time_s=time_s,
            coords=coords,
            attrs={
                "bin_s": self.bin_s,
                "align_to": "event",
                "history_s": self.history_s,
                "source": "simulated",
            },
        )


def whole_bins(name: str, length_s: float, bin_s: float) -> int:
    """Give the number of bins in a length.

    Parameters
    ----------
    name : str
        Name of the length, for the message.
    length_s, bin_s : float
        Length and bin width in seconds.

    Returns
    -------
    int

    Raises
    ------
    OptionError
        If the length is negative or no whole number of bins to a nanosecond.
    """
    n_bins = round(length_s / bin_s)
    if n_bins < 0 or abs(n_bins * bin_s - length_s) > 1e-9:
        raise OptionError(f"{name}={length_s!r} is no whole number of bins of {bin_s!r} s.")
    return n_bins
