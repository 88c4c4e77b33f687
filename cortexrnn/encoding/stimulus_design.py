"""The regression behind the stimulus filters: covariates, lags, and the columns made of them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import scipy.fft

from cortexrnn.encoding.arrays import UnitTrials
from cortexrnn.encoding.block_kernels import design_pass
from cortexrnn.encoding.kernels import thin_blocks
from cortexrnn.encoding.likelihood import trial_log_likelihood
from cortexrnn.encoding.newton import Optimum, approach, maximise, ridge_precision, thinning
from cortexrnn.errors import DataError

# 256 MB of columns are kept; more are made again in every pass.
_MOST_KEPT = 2**25


def lag_basis(lags_s: tuple[float, float], bin_s: float, n_basis: int) -> tuple[np.ndarray, np.ndarray]:
    """Build raised cosines at equal steps over a window of lags.

    The first peaks at the first lag and the last at the last one, where they are cut: a filter may be anything at its
    ends. Inside the window they add up to 2.

    Parameters
    ----------
    lags_s : tuple of float
        First and last lag in seconds, rounded to whole bins, both included.
    bin_s : float
        Bin width in seconds.
    n_basis : int
        Number of functions; where the window has no more lags than that, every lag has one of its own.

    Returns
    -------
    lags : ndarray of int64, shape (n_lags,)
        Lags in bins.
    basis : ndarray of float64, shape (n_basis, n_lags)
        Value of each function at each lag.

    Examples
    --------
    >>> lags, basis = lag_basis((-0.01, 0.03), 0.01, 3)
    >>> lags, basis.round(2)
    (array([-1,  0,  1,  2,  3]), array([[1.  , 0.85, 0.5 , 0.15, 0.  ],
           [0.5 , 0.85, 1.  , 0.85, 0.5 ],
           [0.  , 0.15, 0.5 , 0.85, 1.  ]]))
    """
    first, last = (round(lag_s / bin_s) for lag_s in lags_s)
    lags = np.arange(first, last + 1, dtype=np.int64)
    if lags.size <= n_basis:
        return lags, np.eye(lags.size)
    if n_basis == 1:
        return lags, np.ones((1, lags.size))
    peaks = np.linspace(first, last, n_basis)
    phase = (lags - peaks[:, None]) * (np.pi / 2.0) / (peaks[1] - peaks[0])
    return lags, 0.5 * (1.0 + np.cos(np.clip(phase, -np.pi, np.pi)))


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class CovariateFilter:
    """How one covariate becomes columns of the regression.

    Attributes
    ----------
    lags : ndarray of int64, shape (n_lags,)
        Lags in bins, rising.
    basis : ndarray, shape (n_basis, n_lags)
        Functions of the lag, for the z-scored covariate.
    center, scale : float
        Mean and standard deviation of the covariate in training.
    is_constant : bool
        Whether it is the same in all bins of every training trial; there is then one lag, 0.
    """

    lags: np.ndarray
    basis: np.ndarray
    center: float
    scale: float
    is_constant: bool

    def convolve(self, values: np.ndarray, rows: np.ndarray) -> np.ndarray:
        """Filter a covariate by functions of the lag.

        Parameters
        ----------
        values : ndarray, shape (n_trials, n_bins)
            The covariate as it was given.
        rows : ndarray, shape (n_rows, n_lags)
            Functions for the z-scored covariate.

        Returns
        -------
        ndarray, shape (n_trials, n_rows, n_bins)
        """
        z = np.where(np.isfinite(values), (values - self.center) / self.scale, 0.0)
        if self.is_constant:
            return z[:, None, :] * rows[None, :, :]
        n_bins, n_lags = z.shape[1], self.lags.size
        # Bins on both sides, so that a window of lags that lies far from zero finds only zeros there.
        before, after = max(0, int(self.lags[0])), max(0, -int(self.lags[0]))
        length = scipy.fft.next_fast_len(before + n_bins + after + n_lags, real=True)
        spectrum = scipy.fft.rfft(np.pad(z, ((0, 0), (before, after))), length, axis=1)
        filtered = scipy.fft.irfft(spectrum[:, None, :] * scipy.fft.rfft(rows, length, axis=1), length, axis=2)
        return filtered[:, :, after : after + n_bins]


class StimulusProblem:
    """The regression of one training set: what every ridge and subset of trials shares."""

    def __init__(
        self, trials: UnitTrials, log_mu: np.ndarray, parts: tuple[CovariateFilter, ...], likelihood: int
    ) -> None:
        self.trials = trials
        self.parts = parts
        self._log_mu = log_mu
        self._likelihood = likelihood
        n_weights = 1 + sum(part.basis.shape[0] for part in parts)
        is_kept = int(trials.scored.sum()) * n_weights <= _MOST_KEPT
        self._kept = [self._make(i) for i in range(trials.n_trials)] if is_kept else None
        self.scale = np.ones(n_weights)
        squares = sum((self._rows(i) ** 2).sum(axis=0) for i in range(trials.n_trials))
        for chosen in weights_of(parts):
            size = np.sqrt(squares[chosen].mean() / max(int(trials.scored.sum()), 1))
            self.scale[chosen] = 1.0 / size if size > 0.0 else 1.0

    def maximise(self, mask: np.ndarray, start: np.ndarray, ridge: float, tolerance_nats: float) -> Optimum:
        """Fit to the trials in `mask`."""
        run_pass = self._pass_over(mask, self.trials.scored)
        return maximise(run_pass, start, ridge_precision(start.size, ridge), tolerance_nats=tolerance_nats)

    def approach(self, mask: np.ndarray, ridge: float) -> np.ndarray:
        """Give weights to start from, fitted to every so-manieth block of bins where there are spikes enough."""
        start = np.zeros(self.scale.size)
        every = thinning(int(self.trials.spikes_per_trial[mask].sum()), start.size)
        if every == 1:
            return start
        run_part = self._pass_over(mask, thin_blocks(self.trials.scored, every))
        return approach(run_part, start, ridge_precision(start.size, ridge) / every)

    def effect(self, weights: np.ndarray, mask: np.ndarray) -> np.ndarray:
        """Give the log effect in every scored bin of the trials in `mask`, 0 elsewhere; shape (n_trials, n_bins)."""
        effect = np.zeros(self.trials.counts.shape)
        for i in np.flatnonzero(mask):
            effect[i, self.trials.scored[i]] = self._rows(i) @ (weights * self.scale)
        return effect

    def log_likelihood(self, weights: np.ndarray, mask: np.ndarray) -> float:
        """Score the trials in `mask`."""
        log_mu = (self._log_mu + self.effect(weights, mask))[mask]
        return float(trial_log_likelihood(self.trials.take(mask), log_mu, self._likelihood).sum())

    def _pass_over(self, mask: np.ndarray, scored: np.ndarray) -> Callable:
        """Give the pass over these bins of the trials in `mask`."""
        chosen = np.flatnonzero(mask & scored.any(axis=1))

        def run_pass(weights):
            total, gradient, hessian = 0.0, np.zeros(weights.size), np.zeros((weights.size, weights.size))
            for i in chosen:
                value, slope, curvature = self._trial_pass(weights, i, scored[i])
                total += value
                gradient += slope
                hessian += curvature
            return total, gradient, hessian

        return run_pass

    def _trial_pass(self, weights: np.ndarray, i: int, scored: np.ndarray) -> tuple[float, np.ndarray, np.ndarray]:
        """Give log-likelihood, gradient and negative Hessian of some scored bins of a trial."""
        rows, is_used = self._rows(i), scored[self.trials.scored[i]]
        if not is_used.all():
            rows = rows[is_used]
        counts = self.trials.counts[i, scored].astype(float)
        return design_pass(weights, rows, self.scale, counts, self._log_mu[i, scored], self._likelihood)

    def _rows(self, i: int) -> np.ndarray:
        """Give the design of a trial, shape (n_scored, n_weights)."""
        return self._make(i) if self._kept is None else self._kept[i]

    def _make(self, i: int) -> np.ndarray:
        """Filter the covariates of a trial."""
        scored = self.trials.scored[i]
        columns = [np.ones((1, int(scored.sum())))]
        for c, part in enumerate(self.parts):
            columns.append(part.convolve(self.trials.covariates[i : i + 1, :, c], part.basis)[0][:, scored])
        return np.ascontiguousarray(np.concatenate(columns).T)


def covariate_columns(trials: UnitTrials) -> list[np.ndarray]:
    """Give the covariates one by one, each of shape (n_trials, n_bins)."""
    if trials.covariates is None or not trials.covariates.shape[2]:
        raise DataError("the trials hold no covariates.", hint="Give them with_covariates(trials, {...}, recording).")
    return list(np.moveaxis(trials.covariates, 2, 0))


def make_filter(values: np.ndarray, trials: UnitTrials, lags: np.ndarray, basis: np.ndarray) -> CovariateFilter:
    """Measure a covariate on the scored bins of the training trials."""
    known = values[trials.scored & np.isfinite(values)]
    center = float(known.mean()) if known.size else 0.0
    scale = float(known.std()) if known.size else 0.0
    # The standard deviation of a constant is round-off.
    is_flat = scale <= 1e-12 * np.abs(known).max(initial=0.0)
    is_constant = np.array_equal(np.fmin.reduce(values, axis=1), np.fmax.reduce(values, axis=1), equal_nan=True)
    return CovariateFilter(
        lags=np.zeros(1, dtype=np.int64) if is_constant else lags,
        basis=np.ones((1, 1)) if is_constant else basis,
        center=center,
        scale=1.0 if is_flat else scale,
        is_constant=is_constant,
    )


def weights_of(parts: tuple[CovariateFilter, ...]) -> list[slice]:
    """Give the position of every covariate's weights, after the intercept."""
    stops = 1 + np.cumsum([part.basis.shape[0] for part in parts])
    return [slice(int(stop) - part.basis.shape[0], int(stop)) for stop, part in zip(stops, parts, strict=True)]
