"""One unit's regression on its own past spikes and on those of its neighbours, climbed without a design matrix."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from threadpoolctl import threadpool_limits

from cortexrnn.encoding.arrays import UnitTrials
from cortexrnn.encoding.coupling import climb
from cortexrnn.encoding.coupling_kernels import Spikes, add_effects, gather, lay_features, unit_terms
from cortexrnn.encoding.likelihood import BERNOULLI, POISSON, trial_log_likelihood
from cortexrnn.encoding.neighbours import mean_counts

_HESSIAN_BINS = 4096


class Past(NamedTuple):
    """Spikes whose after-effects add up in the bins to come.

    Attributes
    ----------
    spikes : Spikes
        Of all sources, in the order of their bins.
    before : ndarray, shape (n_sources,)
        Count that stands in for every bin before the first one of a trial.
    """

    spikes: Spikes
    before: np.ndarray


def past_of_own(trials: UnitTrials, mean: float) -> Past:
    """Collect a unit's own spikes; `mean` stands in where nobody observed, as in `HistoryGLM`."""
    known = np.where(trials.observed, trials.counts, mean).ravel()
    place = np.flatnonzero(known)
    return Past(_spikes(place, np.zeros_like(place), known[place], trials.counts.shape[1]), np.array([mean]))


def past_of_others(trials: UnitTrials, mean: np.ndarray) -> Past:
    """Collect the spikes of all neighbours; `mean`, shape (n_neighbours,), stands in before the first bin."""
    counts, positions = trials.neighbours.counts, trials.neighbours.positions
    # The search is several times as fast in an array of bool.
    place, unit = np.divmod(np.flatnonzero(counts != 0), counts.shape[2])
    source = np.full(counts.shape[2], -1)
    source[positions] = np.arange(positions.size)
    is_other = source[unit] >= 0
    place, unit = place[is_other], unit[is_other]
    values = counts.reshape(-1, counts.shape[2])[place, unit].astype(float)
    return Past(_spikes(place, source[unit], values, counts.shape[1]), mean)


def add_past(past: Past, filters: np.ndarray, eta: np.ndarray) -> None:
    """Add what spikes do to the bins after them.

    Parameters
    ----------
    past : Past
    filters : ndarray, shape (n_sources, n_lags)
        Effect of a spike at lags of 1, 2, ... bins.
    eta : ndarray, shape (n_trials, n_bins)
        C-contiguous; changed.
    """
    columns = np.ascontiguousarray(filters)[:, :, None]
    add_effects(past.spikes, columns, np.zeros((len(filters), 0)), eta.reshape(-1, 1), 0)
    tail = _tails(past.before @ filters, eta.shape[1])
    eta[:, : tail.size] += tail


def gather_past(past: Past, residual: np.ndarray, n_lags: int) -> np.ndarray:
    """Give the sum of what is left over after every spike, (n_sources, n_lags): the transpose of `add_past`."""
    n_sources = past.before.size
    by_filters = np.zeros((n_sources, n_lags, 1))
    gather(past.spikes, residual.reshape(-1, 1), 0, by_filters, np.zeros((n_sources, 0)))
    first = np.cumsum(residual[:, :n_lags].sum(axis=0))
    summed = np.concatenate([first, np.full(n_lags - first.size, first[-1])])
    return by_filters[:, :, 0] + past.before[:, None] * summed


def _tails(effect: np.ndarray, n_bins: int) -> np.ndarray:
    """Give what a spike in every bin before the first one does to each of the first bins; lags last."""
    return np.flip(np.cumsum(np.flip(effect, -1), axis=-1), -1)[..., :n_bins]


def _spikes(place: np.ndarray, source: np.ndarray, count: np.ndarray, n_bins: int) -> Spikes:
    """Describe spikes by the bins they are in, flat over trials."""
    return Spikes(place, (place // n_bins + 1) * n_bins, source, count, np.ones(place.size, bool))


def _between(spikes: Spikes, first_bin: int, stop_bin: int) -> Spikes:
    """Give the spikes of some bins."""
    part = slice(*np.searchsorted(spikes.bin, [first_bin, stop_bin]))
    return Spikes(*(values[part] for values in spikes))


class CoupledWeights(NamedTuple):
    """Weights of a unit.

    Attributes
    ----------
    own : ndarray, shape (1 + n_own,)
        Intercept and own filter.
    coupling : ndarray, shape (n_neighbours, n_functions)
    """

    own: np.ndarray
    coupling: np.ndarray


class Bases(NamedTuple):
    """Functions of which filters are made; shapes (n_own, n_own_lags) and (n_functions, n_lags)."""

    own: np.ndarray
    coupling: np.ndarray


class Prior(NamedTuple):
    """Gaussian prior on the weights.

    Attributes
    ----------
    own : ndarray, shape (1 + n_own,)
        Precisions.
    coupling : ndarray, shape (n_neighbours,)
        Precision of each of a neighbour's weights.
    """

    own: np.ndarray
    coupling: np.ndarray


class CoupledRegression:
    """The regression of one training set.

    Parameters
    ----------
    trials : UnitTrials
        With neighbours.
    log_mu : ndarray, shape (n_trials, n_bins)
        What the filters stand on.
    bases : Bases
    mean : float
        Count of the unit that stands in where nobody observed.
    is_bernoulli : bool
        One spike a bin at most, else Poisson.
    """

    def __init__(self, trials: UnitTrials, log_mu: np.ndarray, bases: Bases, *, mean: float, is_bernoulli: bool):
        self.trials, self.bases, self.mean = trials, bases, mean
        self.means = mean_counts(trials)
        self._log_mu, self._is_bernoulli = log_mu, is_bernoulli
        self._own, self._others = past_of_own(trials, mean), past_of_others(trials, self.means)
        self._gram = bases.coupling @ bases.coupling.T
        self._mean_features = self.means[:, None] * bases.coupling.sum(axis=1)
        # The curvature where the unit did not follow its neighbours: that of their shot noise at its own spikes.
        self._curvature = mean * trials.scored.sum() * self.means

    @property
    def information(self) -> np.ndarray:
        """What the trials tell about a weight of every neighbour, roughly: a precision, shape (n_neighbours,)."""
        return self._curvature * np.diag(self._gram).mean()

    def fit(
        self, mask: np.ndarray, start: CoupledWeights, prior: Prior, own_covariance: np.ndarray, tolerance_nats: float
    ) -> CoupledWeights:
        """Climb to the optimum of the trials in `mask`.

        Own weights are climbed in the coordinates in which their covariance without neighbours is one, and every
        neighbour's functions about their means and independent of each other: all have about the same curvature.

        Parameters
        ----------
        mask : ndarray of bool, shape (n_trials,)
        start : CoupledWeights
        prior : Prior
        own_covariance : ndarray, shape (1 + n_own, 1 + n_own)
            Of a fit without neighbours.
        tolerance_nats : float

        Returns
        -------
        CoupledWeights

        Raises
        ------
        NumericalError
            If the climb does not arrive.
        """
        own_root = np.linalg.cholesky(own_covariance)
        k = len(self._gram)
        curvature = self._curvature[:, None, None] * self._gram + prior.coupling[:, None, None] * np.eye(k)
        root = np.linalg.cholesky(curvature)
        back = np.linalg.inv(root).swapaxes(-1, -2)
        use = self.trials.scored & mask[:, None]
        n_own = own_root.shape[0]

        def weights_at(point: np.ndarray) -> CoupledWeights:
            coupling = np.matmul(back, point[n_own:].reshape(-1, k, 1))[..., 0]
            own = start.own + own_root @ point[:n_own]
            own[0] -= ((coupling - start.coupling) * self._mean_features).sum()
            return CoupledWeights(own, coupling)

        def evaluate(point: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
            weights = weights_at(point[0])
            value, by_own, by_coupling = self._derivatives(weights, use)
            value -= 0.5 * (prior.own @ weights.own**2 + prior.coupling @ (weights.coupling**2).sum(axis=1))
            if not np.isfinite(value):
                return np.array([-np.inf]), np.zeros_like(point)
            by_own -= prior.own * weights.own
            by_coupling -= by_own[0] * self._mean_features + prior.coupling[:, None] * weights.coupling
            inner = np.matmul(back.swapaxes(-1, -2), by_coupling[..., None]).ravel()
            return np.array([value]), np.concatenate([own_root.T @ by_own, inner])[None]

        first = np.matmul(root.swapaxes(-1, -2), start.coupling[..., None]).ravel()
        point, _ = climb(evaluate, np.concatenate([np.zeros(n_own), first])[None], tolerance_nats)
        return weights_at(point[0])

    def effects(self, weights: CoupledWeights) -> tuple[np.ndarray, np.ndarray]:
        """Give what the own filter, with the intercept, and the neighbours add to every bin, (n_trials, n_bins)."""
        own = np.full(self._log_mu.shape, weights.own[0])
        add_past(self._own, weights.own[None, 1:] @ self.bases.own, own)
        others = np.zeros(self._log_mu.shape)
        add_past(self._others, weights.coupling @ self.bases.coupling, others)
        return own, others

    def log_likelihood(self, weights: CoupledWeights, mask: np.ndarray) -> float:
        """Score the trials in `mask`."""
        log_mu = self._log_mu + np.add(*self.effects(weights))
        code = BERNOULLI if self._is_bernoulli else POISSON
        return float(trial_log_likelihood(self.trials, log_mu, code)[mask].sum())

    def covariance(self, weights: CoupledWeights, prior: Prior) -> np.ndarray:
        """Give the posterior covariance of intercept, weights of neighbour after neighbour, and own weights."""
        others = np.repeat(prior.coupling, weights.coupling.shape[1])
        hessian = np.diag(np.concatenate([prior.own[:1], others, prior.own[1:]]))
        curvature = self._slopes(weights, self.trials.scored)[2]
        n_trials, n_bins = curvature.shape
        n_together = max(1, _HESSIAN_BINS // n_bins)
        # One thread of linear algebra: blocks are small, and threads would wait for each other.
        with threadpool_limits(1):
            for first in range(0, n_trials, n_together):
                part = curvature[first : first + n_together].ravel()
                features = np.zeros((part.size, len(hessian)))
                self._lay_features(features, first * n_bins)
                is_used = part > 0.0
                features = features[is_used] * np.sqrt(part[is_used, None])
                # A matrix with itself is half of the work.
                hessian += features.T @ features
            return np.linalg.inv(hessian)

    def _lay_features(self, features: np.ndarray, first_bin: int) -> None:
        """Lay down the features of whole trials from some bin on; columns in the order of `covariance`."""
        n_bins, n_others = self._log_mu.shape[1], self.means.size
        stop_bin = first_bin + len(features)
        # All neighbours come before a target of this number, which is none of them.
        for past, target in ((self._others, n_others), (self._own, 0)):
            spikes = _between(past.spikes, first_bin, stop_bin)
            lay_features(spikes, self.bases.coupling, self.bases.own, target, first_bin, features)
        by_trial = features.reshape(-1, n_bins, features.shape[1])
        n_own = len(self.bases.own)
        own, others = (_tails(basis, n_bins) for basis in (self.bases.own, self.bases.coupling))
        by_trial[:, : own.shape[1], -n_own:] += self.mean * own.T
        by_trial[:, : others.shape[1], 1:-n_own] += np.kron(self.means[:, None], others).T

    def _slopes(self, weights: CoupledWeights, use: np.ndarray) -> tuple[float, np.ndarray, np.ndarray]:
        """Give the log-likelihood and its derivatives with respect to the predictor of every bin."""
        eta = self._log_mu + weights.own[0]
        add_past(self._own, weights.own[None, 1:] @ self.bases.own, eta)
        add_past(self._others, weights.coupling @ self.bases.coupling, eta)
        residual, curvature = np.empty_like(eta), np.empty_like(eta)
        flat = (each.reshape(-1) for each in (self.trials.counts, use, eta))
        value = unit_terms(*flat, self._is_bernoulli, residual.reshape(-1), curvature.reshape(-1))
        return value, residual, curvature

    def _derivatives(self, weights: CoupledWeights, use: np.ndarray) -> tuple[float, np.ndarray, np.ndarray]:
        """Give the log-likelihood and its derivatives with respect to the weights, without the prior."""
        value, residual, _ = self._slopes(weights, use)
        if not np.isfinite(value):
            return value, np.zeros_like(weights.own), np.zeros_like(weights.coupling)
        by_own = gather_past(self._own, residual, self.bases.own.shape[1])[0] @ self.bases.own.T
        by_coupling = gather_past(self._others, residual, self.bases.coupling.shape[1]) @ self.bases.coupling.T
        return value, np.concatenate([[residual.sum()], by_own]), by_coupling
