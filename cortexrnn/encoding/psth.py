"""M1: the smoothed PSTH of each condition, its bandwidth chosen inside the training trials."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import scipy.fft

from cortexrnn.encoding.arrays import UnitTrials
from cortexrnn.encoding.constant import mean_count
from cortexrnn.encoding.model import Fitted, Rung
from cortexrnn.errors import DataError
from cortexrnn.spikes.folds import assign_folds

_TRUNCATE_SD = 4.0


@dataclass(frozen=True, kw_only=True, slots=True)
class PSTH(Rung):
    """Poisson process whose rate is the Gaussian-smoothed PSTH of the trial's condition.

    The floor is that of `Constant`, half a spike in the kernel's window: with `S` spikes and `n`
    trials under a kernel of effective width `w` bins, ``mu = (S + 1/(2 w)) / (n + 1/(2 w mean))``.

    Attributes
    ----------
    bandwidths_s : tuple of float
        Standard deviations of the Gaussian kernel to choose from; infinity is a constant rate.
    uses_elephant : bool
        Whether Elephant's optimal kernel bandwidth (Shimazaki and Shinomoto 2010,
        doi:10.1007/s10827-009-0180-4) joins the candidates.
    """

    name: ClassVar[str] = "M1"
    meaning: ClassVar[str] = "PSTH of the condition"
    baseline: Rung | None = None
    bandwidths_s: tuple[float, ...] = (0.003, 0.006, 0.0125, 0.025, 0.05, 0.1, 0.2, 0.5, np.inf)
    uses_elephant: bool = True

    def fit_on(self, trials: UnitTrials, below: Fitted | None, log_mu: np.ndarray) -> FittedPSTH:
        """Choose the bandwidth by contiguous inner folds, then smooth all training trials with it.

        Raises
        ------
        DataError
            If nobody recorded in any scored bin of the training trials.
        """
        if not trials.scored.any():
            raise DataError(f"none of the {trials.n_trials} training trials was observed in a scored bin.")
        smoother = _Smoother(trials)
        bandwidth_s = self._choose(trials, smoother) if trials.is_locked else np.inf
        per_condition = _sum_by(trials.condition, int(trials.condition.max()) + 1)
        spikes = smoother.smooth(per_condition @ smoother.counts, bandwidth_s)
        exposure = smoother.smooth(per_condition @ smoother.scored, bandwidth_s)
        return FittedPSTH(
            below=below,
            bandwidth_s=bandwidth_s,
            bin_s=trials.bin_s,
            first_bin=smoother.first,
            floor=smoother.floor(bandwidth_s),
            spikes=spikes,
            exposure=exposure,
        )

    def _choose(self, trials: UnitTrials, smoother: _Smoother) -> float:
        """Give the bandwidth with the highest likelihood of inner held-out folds."""
        if trials.n_trials < 2:
            return np.inf
        candidates = list(self.bandwidths_s)
        if self.uses_elephant:
            candidates += _elephant_bandwidth(trials, smoother)
        n_folds = min(5, trials.n_trials)
        n_conditions = int(trials.condition.max()) + 1
        group = trials.condition * n_folds + assign_folds(trials.condition, n_folds)
        per_group = _sum_by(group, n_conditions * n_folds)
        spikes, exposure = per_group @ smoother.counts, per_group @ smoother.scored
        scores = []
        for bandwidth_s in candidates:
            pseudo_spikes, pseudo_trials = smoother.floor(bandwidth_s)
            smooth_spikes = _all_but_own(smoother.smooth(spikes, bandwidth_s), n_conditions)
            smooth_exposure = _all_but_own(smoother.smooth(exposure, bandwidth_s), n_conditions)
            mu = (smooth_spikes + pseudo_spikes) / (smooth_exposure + pseudo_trials)
            scores.append(float(np.sum(spikes * np.log(mu) - exposure * mu)))
        return float(candidates[int(np.argmax(scores))])


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class FittedPSTH(Fitted):
    """A fitted PSTH.

    Attributes
    ----------
    bandwidth_s : float
        Chosen bandwidth in seconds.
    spikes, exposure : ndarray of float64, shape (n_conditions, n_scored_bins)
        Smoothed spikes and observed trials of every bin of the training set.
    floor : tuple of float
        Spikes and trials added to both, which keep the rate positive.
    first_bin : int
        Position of the first scored bin.
    """

    looks_at_spikes: ClassVar[bool] = False
    below: Fitted | None
    bandwidth_s: float
    bin_s: float
    first_bin: int
    floor: tuple[float, float]
    spikes: np.ndarray
    exposure: np.ndarray

    def extend(self, trials: UnitTrials, log_mu: np.ndarray) -> np.ndarray:
        """Give the log PSTH of each trial's condition; the burn-in takes the first scored bin's value.

        A condition that training did not hold gets what no data leave of the PSTH, the mean rate.
        """
        table = np.log((self.spikes + self.floor[0]) / (self.exposure + self.floor[1]))
        unseen = np.full((1, table.shape[1]), np.log(self.floor[0] / self.floor[1]))
        row = np.minimum(trials.condition, table.shape[0])
        return self._spread(trials, np.concatenate([table, unseen])[row])

    def on_training(self, trials: UnitTrials, log_mu: np.ndarray) -> np.ndarray:
        """Give each training trial the PSTH of the other trials of its condition."""
        smoother = _Smoother(trials)
        own_spikes = smoother.smooth(smoother.counts, self.bandwidth_s)
        own_exposure = smoother.smooth(smoother.scored, self.bandwidth_s)
        spikes = np.maximum(self.spikes[trials.condition] - own_spikes, 0.0)
        exposure = np.maximum(self.exposure[trials.condition] - own_exposure, 0.0)
        return self._spread(trials, np.log((spikes + self.floor[0]) / (exposure + self.floor[1])))

    def _spread(self, trials: UnitTrials, table: np.ndarray) -> np.ndarray:
        """Lay rows over the scored bins onto all bins, repeating the edges."""
        n_after = trials.counts.shape[1] - self.first_bin - table.shape[1]
        return np.pad(table, ((0, 0), (self.first_bin, n_after)), mode="edge")


class _Smoother:
    """Gaussian smoothing of rows over the scored stretch of the trials, by FFT, unnormalised at the edges."""

    def __init__(self, trials: UnitTrials):
        scored = np.flatnonzero(trials.scored.any(axis=0))
        self.first, self.last = int(scored[0]), int(scored[-1]) + 1
        stretch = slice(self.first, self.last)
        self.scored = trials.scored[:, stretch].astype(float)
        self.counts = trials.counts[:, stretch] * self.scored
        self.bin_s = trials.bin_s
        self.n_bins = self.last - self.first
        self.mean = mean_count(trials)

    def smooth(self, rows: np.ndarray, bandwidth_s: float) -> np.ndarray:
        """Give the kernel-weighted sum of each row around every bin, non-negative."""
        if np.isinf(bandwidth_s):
            return np.repeat(rows.mean(axis=1, keepdims=True), self.n_bins, axis=1)
        sd = bandwidth_s / self.bin_s
        reach = min(int(np.ceil(_TRUNCATE_SD * sd)), self.n_bins)
        kernel = np.exp(-0.5 * (np.arange(-reach, reach + 1) / sd) ** 2)
        kernel /= kernel.sum()
        length = scipy.fft.next_fast_len(self.n_bins + 2 * reach, real=True)
        spectrum = scipy.fft.rfft(rows, length, axis=1) * scipy.fft.rfft(kernel, length)
        smoothed = scipy.fft.irfft(spectrum, length, axis=1)[:, reach : reach + self.n_bins]
        return np.maximum(smoothed, 0.0)

    def floor(self, bandwidth_s: float) -> tuple[float, float]:
        """Give the spikes and trials to add: half a spike at the mean rate within the kernel's width."""
        if np.isinf(bandwidth_s):
            width = float(self.n_bins)
        else:
            width = min(max(1.0, 2.0 * np.sqrt(np.pi) * bandwidth_s / self.bin_s), float(self.n_bins))
        return 0.5 / width, 0.5 / (width * self.mean)


def _elephant_bandwidth(trials: UnitTrials, smoother: _Smoother) -> list[float]:
    """Give Elephant's bandwidth for the pooled spikes, or nothing where it finds none."""
    from elephant.statistics import optimal_kernel_bandwidth

    pooled = smoother.counts.sum(axis=0)
    times_s = np.repeat((np.arange(smoother.n_bins) + 0.5) * trials.bin_s, pooled.astype(int))
    if np.unique(times_s).size < 10:
        return []
    edges_s = np.linspace(0.0, smoother.n_bins * trials.bin_s, min(1000, smoother.n_bins))
    with np.errstate(all="ignore"):
        best = optimal_kernel_bandwidth(times_s, times=edges_s)["optw"]
    return [float(best)] if best is not None and np.isfinite(best) and best > 0 else []


def _sum_by(group: np.ndarray, n_groups: int) -> np.ndarray:
    """Give the matrix that adds up rows by their group; shape (n_groups, n_rows)."""
    return (group[None, :] == np.arange(n_groups)[:, None]).astype(float)


def _all_but_own(rows: np.ndarray, n_conditions: int) -> np.ndarray:
    """Replace each fold's rows by the sum over the other folds of its condition."""
    folds = rows.reshape(n_conditions, -1, rows.shape[1])
    return np.maximum(folds.sum(axis=1, keepdims=True) - folds, 0.0).reshape(rows.shape)
