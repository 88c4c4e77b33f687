"""A regression of every unit on the past spikes of all units: coupling filters, and who is connected with whom."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import scipy.linalg
from threadpoolctl import threadpool_limits

from cortexrnn._checks import check_positive
from cortexrnn.encoding.basis import coupling_basis, history_basis
from cortexrnn.encoding.coupling_kernels import Spikes, add_effects, gather, lay_features, poisson_terms
from cortexrnn.errors import DataError, NumericalError

# Parts into which trials are cut, whatever the number of threads: their sums are added in order.
_N_PARTS = 16
_MEMORY, _MOST_STEPS, _MOST_HALVINGS = 12, 300, 30
_ARMIJO = 1e-4
_HESSIAN_BINS = 4096


class Population(NamedTuple):
    """Trials of all units as plain arrays.

    Attributes
    ----------
    counts : ndarray of int, shape (n_trials, n_bins, n_units)
    used : ndarray of bool, shape (n_trials, n_bins)
        Bins that are fitted: scored ones behind which the whole history was observed in all units.
    log_mu : ndarray, shape (n_trials, n_bins, n_units)
        Log of what a baseline expects of every bin.
    bin_s : float
    """

    counts: np.ndarray
    used: np.ndarray
    log_mu: np.ndarray
    bin_s: float


@dataclass(frozen=True, kw_only=True, slots=True)
class CoupledGLM:
    """log mu = b + log baseline + filters of the unit's own spikes + filters of the spikes of all others.

    Poisson regression with a Gaussian prior, all units at once (Pillow et al. 2008, doi:10.1038/nature07140).

    Attributes
    ----------
    history_s : float
        Longest lag of a unit's own spikes in seconds.
    coupling_s : float
        Longest lag of other units' spikes.
    ridge : float
        Precision of the prior on all weights but the intercept.
    tolerance_nats : float
        The climb stops when no unit expects more from one more step.
    n_threads : int
        No number depends on it.

    Raises
    ------
    OptionError
        If a value is not valid.
    """

    history_s: float = 0.1
    coupling_s: float = 0.05
    ridge: float = 3.0
    tolerance_nats: float = 1e-5
    n_threads: int = 1

    def __post_init__(self) -> None:
        """Check every field."""
        for name in ("history_s", "coupling_s", "ridge", "tolerance_nats"):
            check_positive(name, getattr(self, name))

    def fit(self, population: Population) -> FittedCoupling:
        """Fit all units.

        Parameters
        ----------
        population : Population

        Returns
        -------
        FittedCoupling

        Raises
        ------
        DataError
            If shapes do not fit, no bin is used, or a unit has no spike in them.
        NumericalError
            If the climb does not arrive.
        """
        problem = _Problem(self, _checked(population))
        with threadpool_limits(1), ThreadPoolExecutor(self.n_threads) as pool:
            start = np.zeros((problem.n_units, problem.size))
            point, gain = climb(lambda point: problem.evaluate(point, pool), start, self.tolerance_nats)
        weights = problem.weights(point)
        return FittedCoupling(spec=self, problem=problem, **weights._asdict(), left_nats=gain)


class Weights(NamedTuple):
    """Weights of all units.

    Attributes
    ----------
    intercept : ndarray, shape (n_units,)
    coupling : ndarray, shape (n_units, n_units, n_functions)
        Target, source; zero where they are the same.
    own : ndarray, shape (n_units, n_own)
    """

    intercept: np.ndarray
    coupling: np.ndarray
    own: np.ndarray


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class FittedCoupling:
    """Fitted filters of a population; weights as in `Weights`.

    Attributes
    ----------
    spec : CoupledGLM
    problem : object
        What was fitted, for what is still to be computed from it.
    left_nats : ndarray, shape (n_units,)
        What one more step would have been expected to gain.
    """

    spec: CoupledGLM
    problem: _Problem
    intercept: np.ndarray
    coupling: np.ndarray
    own: np.ndarray
    left_nats: np.ndarray

    @property
    def filters(self) -> np.ndarray:
        """Log effect of a source's spike on a target by lag, shape (n_units, n_units, n_lags), target first."""
        return self.coupling @ self.problem.basis

    @property
    def own_filters(self) -> np.ndarray:
        """Log effect of a unit's own spike by lag, shape (n_units, n_own_lags)."""
        return self.own @ self.problem.own_basis

    def log_mu(self) -> np.ndarray:
        """Give the log of the expected count of every bin, shape (n_trials, n_bins, n_units)."""
        return self.problem.predictor(Weights(self.intercept, self.coupling, self.own))

    def covariance(self, target: int) -> np.ndarray:
        """Give the posterior covariance of a target's weights around the optimum.

        Parameters
        ----------
        target : int

        Returns
        -------
        ndarray, shape (n_weights, n_weights)
            Intercept, every other source's functions in order, own functions.
        """
        weights = Weights(self.intercept, self.coupling, self.own)
        # One thread of linear algebra: blocks are small, and threads would wait for each other.
        with threadpool_limits(1):
            return scipy.linalg.inv(self.problem.hessian(weights, target), check_finite=False)


class _Problem:
    """The regression: spikes, bases, and the change of coordinates in which it is climbed.

    Features are taken about their means and every source's functions are made independent of each other, as if sources
    were: weights in these coordinates have about the same curvature.
    """

    def __init__(self, spec: CoupledGLM, population: Population):
        self.population = population
        n_trials, n_bins, self.n_units = population.counts.shape
        self.basis = coupling_basis(spec.coupling_s, population.bin_s)
        self.own_basis = history_basis(spec.history_s, population.bin_s)
        self.ridge = spec.ridge
        edges = np.arange(_N_PARTS + 1) * n_trials // _N_PARTS
        self.parts = [
            _Part(population, slice(first, last)) for first, last in itertools.pairwise(edges) if last > first
        ]
        n_used = int(population.used.sum())
        self.n_spikes = np.einsum("itu,it->u", population.counts.astype(float), population.used.astype(float))
        sent = population.counts.sum(axis=(0, 1)).astype(float)
        rate = self.n_spikes / n_used
        self._mean = sent[:, None] / (n_trials * n_bins) * self.basis.sum(axis=1)
        self._own_mean = sent[:, None] / (n_trials * n_bins) * self.own_basis.sum(axis=1)
        gram, own_gram = self.basis @ self.basis.T, self.own_basis @ self.own_basis.T
        share = n_used / (n_trials * n_bins)
        # Where filters were independent of each other, their curvature would be that of spikes that hit spikes.
        curvature = rate[:, None] * share * sent
        root = np.linalg.cholesky(curvature[:, :, None, None] * gram + self.ridge * np.eye(len(gram)))
        own_root = np.linalg.cholesky(np.diag(curvature)[:, None, None] * own_gram + self.ridge * np.eye(len(own_gram)))
        # From coordinates to weights, and from derivatives by weights to those by coordinates: the transposed inverse.
        self._back = np.linalg.inv(root).swapaxes(-1, -2)
        self._own_back = np.linalg.inv(own_root).swapaxes(-1, -2)
        self._intercept_root = np.sqrt(self.n_spikes)

    @property
    def size(self) -> int:
        """Coordinates of a unit."""
        return 1 + self.n_units * len(self.basis) + len(self.own_basis)

    def weights(self, point: np.ndarray) -> Weights:
        """Give the weights at a point, shape (n_units, size)."""
        n, k = self.n_units, len(self.basis)
        coupling = np.matmul(self._back, point[:, 1 : 1 + n * k].reshape(n, n, k, 1))[..., 0]
        coupling[np.arange(n), np.arange(n)] = 0.0
        own = np.matmul(self._own_back, point[:, 1 + n * k :, None])[..., 0]
        intercept = point[:, 0] / self._intercept_root - self._mean_effect(coupling, own)
        return Weights(intercept, coupling, own)

    def _mean_effect(self, coupling: np.ndarray, own: np.ndarray) -> np.ndarray:
        """Give what filters add to every unit's predictor on average."""
        return np.einsum("ujk,jk->u", coupling, self._mean) + np.einsum("uk,uk->u", own, self._own_mean)

    def evaluate(self, point: np.ndarray, pool: ThreadPoolExecutor) -> tuple[np.ndarray, np.ndarray]:
        """Give every unit's penalised log-likelihood, (n_units,), and its gradient, (n_units, size)."""
        weights = self.weights(point)
        filters = np.ascontiguousarray(np.einsum("ujk,kl->jlu", weights.coupling, self.basis))
        own = np.ascontiguousarray(weights.own @ self.own_basis)
        found = list(pool.map(lambda part: part.evaluate(weights.intercept, filters, own), self.parts))
        value, by_filters, by_own, left = (np.sum(each, axis=0) for each in zip(*found, strict=True))
        value -= 0.5 * self.ridge * ((weights.coupling**2).sum(axis=(1, 2)) + (weights.own**2).sum(axis=1))
        by_coupling = np.einsum("jlu,kl->ujk", by_filters, self.basis) - left[:, None, None] * self._mean
        by_coupling -= self.ridge * weights.coupling
        by_own = by_own @ self.own_basis.T - left[:, None] * self._own_mean - self.ridge * weights.own
        n = self.n_units
        by_coupling[np.arange(n), np.arange(n)] = 0.0
        inner = np.matmul(self._back.swapaxes(-1, -2), by_coupling[..., None]).reshape(n, -1)
        by_own = np.matmul(self._own_back.swapaxes(-1, -2), by_own[..., None])[..., 0]
        gradient = np.concatenate([(left / self._intercept_root)[:, None], inner, by_own], axis=1)
        return value, gradient

    def predictor(self, weights: Weights) -> np.ndarray:
        """Give the linear predictor of every bin, shape (n_trials, n_bins, n_units)."""
        filters = np.ascontiguousarray(np.einsum("ujk,kl->jlu", weights.coupling, self.basis))
        own = np.ascontiguousarray(weights.own @ self.own_basis)
        parts = [part.predictor(weights.intercept, filters, own) for part in self.parts]
        return np.concatenate(parts).reshape(self.population.counts.shape)

    def hessian(self, weights: Weights, target: int) -> np.ndarray:
        """Give the negative second derivative of a target's penalised log-likelihood."""
        n_weights = 1 + (self.n_units - 1) * len(self.basis) + len(self.own_basis)
        hessian = np.diag(np.concatenate([[0.0], np.full(n_weights - 1, self.ridge)]))
        mu = np.exp(self.predictor(weights)[:, :, target])
        for part in self.parts:
            features = np.zeros((part.use.size, n_weights))
            lay_features(part.spikes, self.basis, self.own_basis, target, part.first_bin, features)
            root = np.sqrt(np.where(part.use, mu[part.trials].ravel(), 0.0))
            for first in range(0, root.size, _HESSIAN_BINS):
                block = features[first : first + _HESSIAN_BINS]
                block *= root[first : first + _HESSIAN_BINS, None]
                # A matrix with itself is half of the work.
                hessian += block.T @ block
        return hessian


class _Part:
    """Some of the trials, worked on at once."""

    def __init__(self, population: Population, trials: slice):
        n_bins = population.counts.shape[1]
        self.trials = trials
        self.first_bin = trials.start * n_bins
        self.use = np.ascontiguousarray(population.used[trials].ravel())
        self._log_mu = population.log_mu[trials].reshape(self.use.size, -1)
        counts = population.counts[trials].reshape(self.use.size, -1)
        place, unit = np.nonzero(counts)
        self.spikes = Spikes(
            bin=(place + self.first_bin).astype(np.int64),
            end=((place + self.first_bin) // n_bins + 1) * n_bins,
            unit=unit.astype(np.int64),
            count=counts[place, unit].astype(float),
            is_used=self.use[place],
        )

    def predictor(self, intercept: np.ndarray, filters: np.ndarray, own: np.ndarray) -> np.ndarray:
        """Give the linear predictor, shape (n_bins, n_units)."""
        eta = self._log_mu + intercept
        add_effects(self.spikes, filters, own, eta, self.first_bin)
        return eta

    def evaluate(self, intercept: np.ndarray, filters: np.ndarray, own: np.ndarray) -> tuple[np.ndarray, ...]:
        """Give log-likelihoods and their derivatives with respect to filters, own filters and intercepts."""
        eta = self.predictor(intercept, filters, own)
        value, by_filters, by_own = np.zeros(eta.shape[1]), np.zeros_like(filters), np.zeros_like(own)
        poisson_terms(self.spikes, self.use, eta, self.first_bin, value)
        gather(self.spikes, eta, self.first_bin, by_filters, by_own)
        return value, by_filters, by_own, eta.sum(axis=0)


def climb(
    evaluate: Callable[[np.ndarray], tuple[np.ndarray, np.ndarray]], start: np.ndarray, tolerance_nats: float
) -> tuple[np.ndarray, np.ndarray]:
    """Climb concave functions side by side with limited-memory BFGS, each with steps of its own.

    Parameters
    ----------
    evaluate : callable
        Gives the values, shape (n_functions,), and their gradients at a point.
    start : ndarray, shape (n_functions, size)
        In coordinates of about the same curvature.
    tolerance_nats : float
        The climb stops when none expects more from one more step.

    Returns
    -------
    point : ndarray, shape (n_functions, size)
    left_nats : ndarray, shape (n_functions,)
        What one more step would have been expected to gain.

    Raises
    ------
    NumericalError
        If the climb does not arrive.
    """
    point = start
    value, gradient = evaluate(point)
    if not np.isfinite(value).all():
        raise NumericalError("the log-likelihood is not finite at the start of the fit.")
    memory: list[tuple[np.ndarray, np.ndarray, np.ndarray]] = []
    for _ in range(_MOST_STEPS):
        step = _two_loops(gradient, memory)
        slope = np.einsum("up,up->u", gradient, step)
        left = 0.5 * slope
        is_moving = left > tolerance_nats
        if not is_moving.any():
            return point, left
        length = np.where(is_moving, 1.0, 0.0)
        for _ in range(_MOST_HALVINGS):
            there = point + length[:, None] * step
            new_value, new_gradient = evaluate(there)
            is_short = ~(new_value >= value + _ARMIJO * length * slope - 1e-10 * np.abs(value)) & is_moving
            if not is_short.any():
                break
            length[is_short] *= 0.5
        else:
            raise NumericalError("the fit of the coupled regression finds no way up.")
        change, turn = there - point, gradient - new_gradient
        curvature = np.einsum("up,up->u", change, turn)
        memory = [*memory[-_MEMORY + 1 :], (change, turn, curvature)]
        point, value, gradient = there, new_value, new_gradient
    raise NumericalError(
        f"the fit of the coupled regression did not arrive in {_MOST_STEPS} steps.", hint="A larger ridge helps."
    )


def _two_loops(gradient: np.ndarray, memory: list[tuple[np.ndarray, np.ndarray, np.ndarray]]) -> np.ndarray:
    """Give every unit's direction upward: the gradient times the inverse curvature that recent steps tell."""
    direction, shares = gradient.copy(), []
    for change, turn, curvature in reversed(memory):
        ok = curvature > 0.0
        share = np.where(ok, np.einsum("up,up->u", change, direction) / np.where(ok, curvature, 1.0), 0.0)
        direction -= share[:, None] * turn
        shares.append(share)
    if memory:
        change, turn, curvature = memory[-1]
        size = np.einsum("up,up->u", turn, turn)
        direction *= np.where(curvature > 0.0, curvature / np.where(size > 0.0, size, 1.0), 1.0)[:, None]
    for (change, turn, curvature), share in zip(memory, reversed(shares), strict=True):
        ok = curvature > 0.0
        back = np.where(ok, np.einsum("up,up->u", turn, direction) / np.where(ok, curvature, 1.0), 0.0)
        direction += ((share - back) * ok)[:, None] * change
    return direction


def _checked(population: Population) -> Population:
    """Refuse arrays that do not fit together."""
    counts, used, log_mu = (np.asarray(part) for part in population[:3])
    if counts.ndim != 3 or used.shape != counts.shape[:2] or log_mu.shape != counts.shape:
        raise DataError(
            f"counts {counts.shape}, used {used.shape} and log_mu {log_mu.shape} do not fit; expected "
            "(n_trials, n_bins, n_units), (n_trials, n_bins) and (n_trials, n_bins, n_units)."
        )
    if not used.any():
        raise DataError("no bin is used.", hint="Record more time before the window, or take a shorter history.")
    silent = np.flatnonzero(~(counts * used[:, :, None]).any(axis=(0, 1)))
    if silent.size:
        raise DataError(f"unit {silent[0]} has no spike in the bins that are used.", hint="Leave it out.")
    if not np.isfinite(log_mu[used]).all():
        raise DataError("log_mu is not finite in all bins that are used.")
    return Population(counts, used, np.where(used[:, :, None], log_mu, 0.0), check_positive("bin_s", population.bin_s))
