"""The two curves of a perceptual decision: how often, and how fast, as functions of the evidence."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from scipy.optimize import least_squares
from scipy.special import ndtr, xlogy

from cortexrnn.errors import OptionError

# Limits of the standard deviation as fractions of the range of stimuli; at the lower one the curve is a step.
_NARROWEST, _WIDEST = 1e-3, 20.0
# Largest distance of the mean from the middle of the stimuli, in the same unit.
_FARTHEST = 2.0
_FLOOR = 1e-12
# Widths to start from, in the same unit; the gradient a trial at which the search ends, and its most steps.
_START_WIDTHS = (0.01, 0.05, 0.25, 1.0)
_SLOPE = 1e-8
_MAX_STEPS = 200


class CumulativeGaussian(NamedTuple):
    """A psychometric curve, ``lapse + (1 - 2 lapse) Phi((x - mean) / sd)``.

    Attributes
    ----------
    mean, sd : float
        Bias and width, in the unit of the stimulus.
    lapse : float
        Fraction of trials on either end that the stimulus does not decide.
    log_likelihood : float
        In nats, without the binomial coefficients.
    is_converged : bool
        False where the optimiser stopped early, where the curve became a step, whose width the data do not tell, and
        where it lies far beside all stimuli.
    """

    mean: float
    sd: float
    lapse: float
    log_likelihood: float
    is_converged: bool

    def at(self, stimulus: np.ndarray) -> np.ndarray:
        """Give the probability of the choice for every stimulus."""
        return self.lapse + (1.0 - 2.0 * self.lapse) * ndtr((np.asarray(stimulus) - self.mean) / self.sd)


class DiffusionTimes(NamedTuple):
    """A chronometric curve: mean time to a bound, ``bound / (k x) tanh(bound k x) + residual_s``.

    Attributes
    ----------
    bound : float
        Height of the bound in square roots of seconds; noise has unit variance a second.
    sensitivity : float
        k, drift per unit of the stimulus.
    residual_s : float
        Time that does not depend on the stimulus, in seconds.
    is_converged : bool
        False where the optimiser stopped early.
    """

    bound: float
    sensitivity: float
    residual_s: float
    is_converged: bool

    def at(self, stimulus: np.ndarray) -> np.ndarray:
        """Give the mean reaction time in seconds for every stimulus."""
        return _mean_time(np.array([self.bound, self.sensitivity, self.residual_s]), np.asarray(stimulus, dtype=float))


def fit_cumulative_gaussian(
    stimulus: np.ndarray, n_chosen: np.ndarray, n_trials: np.ndarray, *, max_lapse: float = 0.1
) -> CumulativeGaussian:
    """Fit a rising psychometric curve by maximum likelihood.

    Parameters
    ----------
    stimulus : ndarray, shape (n_levels,)
        At least two different levels.
    n_chosen, n_trials : ndarray, shape (n_levels,)
        How often the choice was made, of how many trials.
    max_lapse : float
        Largest lapse rate, below one half. Wichmann & Hill (2001), doi:10.3758/BF03194544, bound it because a few
        lapses at an easy stimulus otherwise widen the curve; they take 0.06.

    Returns
    -------
    CumulativeGaussian

    Raises
    ------
    OptionError
        If there are fewer than two levels with trials, or a number is not valid.
    """
    return fit_cumulative_gaussians(stimulus, np.asarray(n_chosen)[None], n_trials, max_lapse=max_lapse)[0]


def fit_cumulative_gaussians(
    stimulus: np.ndarray, n_chosen: np.ndarray, n_trials: np.ndarray, *, max_lapse: float = 0.1
) -> list[CumulativeGaussian]:
    """Fit many psychometric curves to the same stimuli at once, as for a bootstrap.

    Parameters
    ----------
    stimulus : ndarray, shape (n_levels,)
    n_chosen : ndarray, shape (n_curves, n_levels)
    n_trials : ndarray, shape (n_levels,)
    max_lapse : float
        As `fit_cumulative_gaussian` says.

    Returns
    -------
    list of CumulativeGaussian
        Each the best of four starts.

    Raises
    ------
    OptionError
        If there are fewer than two levels with trials, or a number is not valid.

    Notes
    -----
    Fisher scoring, damped as by Levenberg (1944) and kept within limits by projection, for all curves side by side.
    """
    stimulus, chosen, total = (np.asarray(values, dtype=float) for values in (stimulus, n_chosen, n_trials))
    used = total > 0
    if np.unique(stimulus[used]).size < 2:
        raise OptionError(f"stimulus has {np.unique(stimulus[used]).size} levels with trials; expected at least two.")
    if ((chosen < 0) | (chosen > total)).any() or not 0.0 <= max_lapse < 0.5:
        raise OptionError(f"n_chosen must lie within 0 and n_trials, and max_lapse={max_lapse} within 0 and 0.5.")
    order = np.flatnonzero(used)[np.argsort(stimulus[used], kind="stable")]
    stimulus, chosen, total = stimulus[order], chosen[:, order], total[order]
    centre, reach = 0.5 * (stimulus.min() + stimulus.max()), float(np.ptp(stimulus))
    low = np.array([-_FARTHEST, np.log(_NARROWEST), 0.0])
    high = np.array([_FARTHEST, np.log(_WIDEST), max_lapse])
    scaled = (stimulus - centre) / reach
    # Spearman and Kaerber: the area above a rising curve ends at its mean.
    mean = 0.5 - np.trapezoid(chosen / total, scaled, axis=1)
    best, cost, stopped = (np.empty((len(chosen), 3)), np.full(len(chosen), np.inf), np.zeros(len(chosen), dtype=bool))
    for width in _START_WIDTHS:
        start = np.column_stack([mean, np.full_like(mean, np.log(width)), np.full_like(mean, 0.3 * max_lapse)])
        found = _score(start, (scaled, chosen, total), low, high)
        better = found[1] < cost
        best[better], cost[better], stopped[better] = (part[better] for part in found)
    is_inside = ((best[:, :2] > low[:2] + 1e-6) & (best[:, :2] < high[:2] - 1e-6)).all(axis=1)
    converged = stopped & is_inside & ~_is_step(chosen, total, -cost)
    return [
        CumulativeGaussian(
            mean=float(centre + reach * x[0]),
            sd=float(reach * np.exp(x[1])),
            lapse=float(x[2]),
            log_likelihood=float(-value),
            is_converged=bool(is_converged),
        )
        for x, value, is_converged in zip(best, cost, converged, strict=True)
    ]


def fit_diffusion_times(stimulus: np.ndarray, mean_s: np.ndarray, se_s: np.ndarray) -> DiffusionTimes:
    """Fit a chronometric curve to mean reaction times, weighted by their standard errors.

    Parameters
    ----------
    stimulus : ndarray, shape (n_levels,)
        Strength of the evidence without its sign.
    mean_s, se_s : ndarray, shape (n_levels,)
        Mean reaction times and their standard errors in seconds.

    Returns
    -------
    DiffusionTimes

    Raises
    ------
    OptionError
        If there are fewer than three levels.

    Notes
    -----
    Palmer, Huk & Shadlen (2005), doi:10.1167/5.5.1, equation 2; the sign of the stimulus does not matter.
    """
    stimulus, mean_s, se_s = (np.asarray(values, dtype=float) for values in (stimulus, mean_s, se_s))
    if np.unique(stimulus).size < 3:
        raise OptionError(f"stimulus has {np.unique(stimulus).size} levels; three parameters need at least three.")
    shortest, longest = float(mean_s.min()), float(mean_s.max())
    spread = max(longest - shortest, 1e-3)
    bound = np.sqrt(spread)
    start = np.array([bound, 1.0 / (bound * np.median(stimulus[stimulus > 0.0])), shortest])
    # An error of zero, from one trial or from trials that are all alike, would outweigh everything.
    weight = 1.0 / np.maximum(se_s, 0.02 * spread)
    found = least_squares(
        lambda x: weight * (_mean_time(x, stimulus) - mean_s),
        start,
        bounds=([1e-6, 1e-6, 0.0], [np.inf, np.inf, np.inf]),
        x_scale=np.maximum(start, 1e-3),
    )
    return DiffusionTimes(*map(float, found.x), is_converged=bool(found.success))


def _score(
    x: np.ndarray, data: tuple[np.ndarray, np.ndarray, np.ndarray], low: np.ndarray, high: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Minimise from starts of shape (n_curves, 3); give where it ends, the cost there, and whether it got there."""
    cost, gradient, information = _cost(x, *data)
    damping = np.full(len(x), 1e-3)
    done = np.zeros(len(x), dtype=bool)
    diagonal = np.arange(3)
    for _ in range(_MAX_STEPS):
        # A parameter at a limit that wants to go beyond stays there and leaves the others alone.
        held = ((x <= low) & (gradient > 0.0)) | ((x >= high) & (gradient < 0.0))
        slope = np.where(held, 0.0, gradient)
        done |= np.abs(slope).max(axis=1) < _SLOPE * data[2].sum()
        if done.all():
            break
        curvature = np.where(held[:, :, None] | held[:, None, :], 0.0, information)
        curvature[:, diagonal, diagonal] *= 1.0 + damping[:, None]
        curvature[:, diagonal, diagonal] += np.where(held, 1.0, 1e-9 * data[2].sum())
        step = -np.linalg.solve(curvature, slope[:, :, None])[:, :, 0]
        tried = np.clip(x + np.clip(step, -1.0, 1.0), low, high)
        tried_cost, tried_gradient, tried_information = _cost(tried, *data)
        better = (tried_cost <= cost) & ~done
        damping = np.where(better, damping * 0.2, damping * 5.0)
        # A step that no damping makes good is one that round-off has reached.
        done |= damping > 1e8
        x, cost, gradient = (
            np.where(better if old.ndim == 1 else better[:, None], new, old)
            for old, new in ((x, tried), (cost, tried_cost), (gradient, tried_gradient))
        )
        information = np.where(better[:, None, None], tried_information, information)
    return x, cost, done


def _cost(
    x: np.ndarray, stimulus: np.ndarray, chosen: np.ndarray, total: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Give minus the log-likelihood of every curve, its gradient and the expected information on x."""
    mean, sd, lapse = x[:, :1], np.exp(x[:, 1:2]), x[:, 2:]
    z = (stimulus - mean) / sd
    below = ndtr(z)
    p = np.clip(lapse + (1.0 - 2.0 * lapse) * below, _FLOOR, 1.0 - _FLOOR)
    cost = -(chosen * np.log(p) + (total - chosen) * np.log1p(-p)).sum(axis=1)
    density = (1.0 - 2.0 * lapse) * np.exp(-0.5 * z * z) / np.sqrt(2.0 * np.pi)
    slope = np.stack([-density / sd, -density * z, 1.0 - 2.0 * below], axis=1)
    gradient = (slope * ((total - chosen) / (1.0 - p) - chosen / p)[:, None]).sum(axis=2)
    weight = total / (p * (1.0 - p))
    return cost, gradient, np.einsum("cil,cjl,cl->cij", slope, slope, weight)


def _is_step(chosen: np.ndarray, total: np.ndarray, log_likelihood: np.ndarray) -> np.ndarray:
    """Tell which curves pass through all points with at most one of them between never and always."""
    share = chosen / total
    entropy = xlogy(chosen, share) + xlogy(total - chosen, 1.0 - share)
    is_between = (chosen > 0) & (chosen < total)
    return (is_between.sum(axis=1) <= 1) & (log_likelihood > entropy.sum(axis=1) - 1e-3)


def _mean_time(x: np.ndarray, stimulus: np.ndarray) -> np.ndarray:
    """Give the mean time to the bound plus the rest; without drift it takes the square of the bound."""
    bound, sensitivity, residual_s = x
    drift = sensitivity * np.abs(stimulus)
    is_zero = drift * bound < 1e-6
    return np.where(is_zero, bound**2, bound * np.tanh(bound * drift) / np.where(is_zero, 1.0, drift)) + residual_s
