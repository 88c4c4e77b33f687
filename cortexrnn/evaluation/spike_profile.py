"""Everything that is measured on a set of trials and on each copy of them, and how copies are held against the data."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import xarray as xr

from cortexrnn.encoding import spike_statistics as stats
from cortexrnn.encoding.arrays import UnitTrials

CURVES = {
    "psth_hz": ("condition", "time"),
    "isi": ("interval",),
    "autocorrelation_hz": ("lag",),
    "fano": ("window",),
}
_PSTH_BOX_S = 0.02
_AUTOCORRELATION_S = 0.1
_COVERAGE = (0.025, 0.975)


class Profile(NamedTuple):
    """What was measured on one set of trials.

    Attributes
    ----------
    rate_hz, cv, cv2, lv, refractory_mass : float
        Mean rate, variability of the intervals and of successive intervals, share of spikes within 2 ms.
    psth_hz : ndarray, shape (n_conditions, n_boxes)
    isi : ndarray, shape (n_interval_bins,)
        Shares of the intervals.
    autocorrelation_hz : ndarray, shape (n_lags,)
        Rate after a spike.
    fano : ndarray, shape (n_windows,)
        Fano factors in growing windows.
    """

    rate_hz: float
    cv: float
    cv2: float
    lv: float
    refractory_mass: float
    psth_hz: np.ndarray
    isi: np.ndarray
    autocorrelation_hz: np.ndarray
    fano: np.ndarray


class Profiler:
    """Measures trials, and any other spikes under the same masks.

    Parameters
    ----------
    trials : UnitTrials
        Masks and conditions; some bin is scored.

    Attributes
    ----------
    n_box : int
        Width of the PSTH's boxes in bins.
    """

    def __init__(self, trials: UnitTrials):
        self._trials = trials
        stretch = stats.stretch_of(trials.scored)
        n_bins = stretch.stop - stretch.start
        self.n_box = min(n_bins, max(1, round(_PSTH_BOX_S / trials.bin_s)))
        self._edges = stats.interval_edges(n_bins)
        self._n_lags = max(1, min(n_bins - 1, round(_AUTOCORRELATION_S / trials.bin_s)))
        self._windows = stats.fano_windows(trials.scored, trials.bin_s)
        self._first = stretch.start

    def measure(self, counts: np.ndarray) -> Profile:
        """Measure spikes of shape (n_trials, n_bins), uint16."""
        trials = self._trials
        scored, bin_s = trials.scored, trials.bin_s
        intervals = stats.find_intervals(counts, scored)
        return Profile(
            rate_hz=float(counts[scored].mean() / bin_s),
            cv=stats.interval_cv(intervals),
            cv2=stats.interval_cv2(intervals),
            lv=stats.interval_lv(intervals),
            refractory_mass=stats.refractory_mass(counts, trials),
            psth_hz=stats.psth(counts, trials, self.n_box) / bin_s,
            isi=stats.interval_shares(intervals, self._edges),
            autocorrelation_hz=stats.autocorrelation(counts, scored, self._n_lags) / bin_s,
            fano=np.array([stats.fano_factor(counts, trials, n) for n in self._windows]),
        )

    def curves(self, observed: Profile, simulated: list[Profile]) -> xr.Dataset:
        """Lay the data's curves beside mean and 95 % range of the copies'."""
        variables = {}
        for name, dims in CURVES.items():
            columns = summarise_copies(np.array([getattr(profile, name) for profile in simulated]))
            variables[f"{name}_observed"] = (dims, getattr(observed, name))
            variables |= {f"{name}_{key}": (dims, values) for key, values in columns.items()}
        bin_s = self._trials.bin_s
        n_boxes = observed.psth_hz.shape[1]
        return xr.Dataset(
            variables,
            coords={
                "condition": np.unique(self._trials.condition),
                "time": (self._first + np.arange(n_boxes) * self.n_box) * bin_s,
                "interval": self._edges[:-1] * bin_s,
                "interval_stop": ("interval", self._edges[1:] * bin_s),
                "lag": np.arange(1, self._n_lags + 1) * bin_s,
                "window": self._windows * bin_s,
            },
        )


def summarise_copies(values: np.ndarray) -> dict[str, np.ndarray]:
    """Give mean and 95 % range over the first axis as ``simulated``, ``low`` and ``high``.

    Copies in which a value is NaN are left out of it; a value that is NaN in all stays NaN.
    """
    flat = values.reshape(values.shape[0], -1)
    columns = np.full((3, flat.shape[1]), np.nan)
    for k, column in enumerate(flat.T):
        known = column[np.isfinite(column)]
        if known.size:
            columns[:, k] = (known.mean(), *np.quantile(known, _COVERAGE))
    shape = values.shape[1:]
    return dict(zip(("simulated", "low", "high"), (row.reshape(shape) for row in columns), strict=True))
