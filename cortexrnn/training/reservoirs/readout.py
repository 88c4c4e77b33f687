"""Linear read-outs of recorded states: ridge regression, free and with a sign for every feature.

Penalties are relative: the weights minimise ``sum |y - w x - b|^2 + penalty s |w|^2`` with `s` the mean over the
features of their summed squared deviation from the mean. The same penalty then means the same for any number of
samples and any scale of the states. The intercept `b` is free and without penalty.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from scipy.linalg import cho_factor, cho_solve, eigh, qr_multiply, svd
from threadpoolctl import threadpool_limits

from cortexrnn._checks import check_count
from cortexrnn.errors import DataError, OptionError
from cortexrnn.training.reservoirs.nonnegative import broken_conditions, solve_signed
from cortexrnn.training.reservoirs.rls import check_samples, check_signs

# Below this the normal equations would lose more digits than the penalty leaves.
_SMALLEST_FOR_CHOLESKY = 1e-8
DEFAULT_PENALTIES = tuple(10.0 ** np.arange(-10.0, 2.0))
DEFAULT_SIGNED_PENALTIES = tuple(10.0 ** np.arange(-8.0, 2.0, 2.0))


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Readout:
    """A fitted linear read-out, ``y = w x + b``.

    Attributes
    ----------
    weights : ndarray, shape (n_outputs, n_features)
    intercept : ndarray, shape (n_outputs,)
    penalty : float
        The one that was used.
    held_out_error : ndarray, shape (n_penalties,)
        Mean over the outputs of the squared error on held-out blocks relative to the target's variance, one value a
        candidate; NaN where there was nothing to choose.
    broken : float
        Largest violation of the optimality conditions, relative (see
        `cortexrnn.training.reservoirs.nonnegative.broken_conditions`).
    """

    weights: np.ndarray
    intercept: np.ndarray
    penalty: float
    held_out_error: np.ndarray
    broken: float

    def predict(self, states: np.ndarray) -> np.ndarray:
        """Give the outputs of states.

        Parameters
        ----------
        states : ndarray, shape (..., n_features)

        Returns
        -------
        ndarray, shape (..., n_outputs)
        """
        return np.asarray(states, dtype=float) @ self.weights.T + self.intercept


@dataclass(frozen=True, kw_only=True, slots=True)
class Ridge:
    """Ridge regression.

    Attributes
    ----------
    penalties : tuple of float
        Candidates, relative, at least 0; one of several is chosen by its error on held-out blocks.
    n_blocks : int
        Contiguous blocks that are held out in turn.

    Raises
    ------
    OptionError
        If a value is not valid.
    """

    penalties: tuple[float, ...] = DEFAULT_PENALTIES
    n_blocks: int = 5

    def __post_init__(self):
        _check_choice(self, low=0.0)

    def fit(self, states: np.ndarray, targets: np.ndarray, *, mask: np.ndarray | None = None) -> Readout:
        """Fit the read-out.

        Parameters
        ----------
        states : ndarray, shape (n_steps, n_features) or (n_trials, n_steps, n_features)
        targets : ndarray, shape (n_steps,), (n_steps, n_outputs) or (n_trials, n_steps, n_outputs)
        mask : ndarray, shape (n_steps,) or (n_trials, n_steps), optional
            Weights of the samples, at least 0.

        Returns
        -------
        Readout
            With penalty 0, the shortest of all best weights.

        Raises
        ------
        DataError
            If the shapes do not fit, a number is not finite, or the states do not vary.
        """
        samples = _take_samples(states, targets, mask, self.n_blocks)
        # One thread of linear algebra: the same bits on every machine with the same library.
        with threadpool_limits(1):
            penalty, errors = _choose(self, samples, _ridge_candidates)
            weights = _solve_ridge(samples, penalty)
            return _readout(samples, weights, np.zeros(len(weights)), penalty, errors)


@dataclass(frozen=True, kw_only=True, slots=True)
class SignedRidge:
    """Ridge regression in which every feature has the sign that its weights must not leave.

    A read-out of excitatory and inhibitory units that keeps Dale's law; with a single sign it is non-negative least
    squares. The solution is exact (see `cortexrnn.training.reservoirs.nonnegative`).

    Attributes
    ----------
    signs : tuple of int, one a feature
        +1, -1, or 0 for a feature without constraint; a circuit's are `Circuit.signs`.
    penalties : tuple of float
        As in `Ridge`, above 0.
    n_blocks : int
        As in `Ridge`.

    Raises
    ------
    OptionError
        If a value is not valid.
    """

    signs: tuple[int, ...]
    penalties: tuple[float, ...] = DEFAULT_SIGNED_PENALTIES
    n_blocks: int = 5

    def __post_init__(self):
        object.__setattr__(self, "signs", check_signs(self.signs))
        _check_choice(self, low=np.finfo(float).tiny)

    def fit(self, states: np.ndarray, targets: np.ndarray, *, mask: np.ndarray | None = None) -> Readout:
        """Fit the read-out.

        Parameters
        ----------
        states, targets, mask
            As in `Ridge.fit`.

        Returns
        -------
        Readout
            No weight has the wrong sign.

        Raises
        ------
        DataError
            If the shapes do not fit, a number is not finite, or the states do not vary.
        NumericalError
            If the states are too much alike for the penalty.
        """
        samples = _take_samples(states, targets, mask, self.n_blocks)
        signs = np.array(self.signs)
        if signs.size != samples.states.shape[1]:
            raise DataError(f"{samples.states.shape[1]} features do not fit {signs.size} signs; expected one each.")

        def candidates(block: _Moments, penalties: np.ndarray) -> np.ndarray:
            return np.stack([_solve_all_signed(block, penalty, signs) for penalty in penalties])

        with threadpool_limits(1):
            penalty, errors = _choose(self, samples, candidates)
            weights = _solve_all_signed(_moments(samples.states, samples.targets), penalty * samples.scale, signs)
            return _readout(samples, weights, signs, penalty, errors)


def relative_error(outputs: np.ndarray, targets: np.ndarray) -> float:
    """Give the root mean squared error over the standard deviation of the targets.

    Parameters
    ----------
    outputs, targets : ndarray, shape (n_steps,) or (n_steps, n_outputs)

    Returns
    -------
    float
        0 for a perfect output, 1 for one that knows no more than the mean.

    Raises
    ------
    DataError
        If the shapes differ or the targets do not vary.
    """
    outputs, targets = np.asarray(outputs, dtype=float), np.asarray(targets, dtype=float)
    if outputs.shape != targets.shape or targets.size == 0:
        raise DataError(f"outputs of shape {outputs.shape} and targets of shape {targets.shape} do not fit.")
    spread = np.sum((targets - targets.mean(axis=0)) ** 2)
    if not spread > 0.0:
        raise DataError("the targets do not vary; expected ones that do.")
    return float(np.sqrt(np.sum((outputs - targets) ** 2) / spread))


class _Samples(NamedTuple):
    """Weighted samples about their means.

    Rows are multiplied by the root of their weight; `blocks` gives the borders of the blocks that are held out.
    """

    states: np.ndarray
    targets: np.ndarray
    root: np.ndarray
    state_mean: np.ndarray
    target_mean: np.ndarray
    scale: float
    blocks: np.ndarray


class _Moments(NamedTuple):
    """Products of states with states and with targets."""

    gram: np.ndarray
    moment: np.ndarray


def _take_samples(states, targets, mask, n_blocks: int) -> _Samples:
    """Check, flatten, weight and centre samples; blocks consist of whole trials where there are trials."""
    states, targets = np.asarray(states, dtype=float), np.asarray(targets, dtype=float)
    lead = states.shape[:-1]
    targets = targets[..., None] if targets.shape == lead else targets
    if states.ndim not in (2, 3) or targets.shape[:-1] != lead or targets.ndim != states.ndim:
        raise DataError(
            f"states of shape {states.shape} and targets of shape {targets.shape} do not fit; expected "
            "(n_steps, n_features) or (n_trials, n_steps, n_features), and targets to match."
        )
    weights = np.ones(lead) if mask is None else np.asarray(mask, dtype=float)
    if weights.shape != lead or not np.isfinite(weights).all() or weights.min(initial=0.0) < 0.0:
        raise DataError(f"mask of shape {weights.shape} is not valid; expected {lead} finite numbers of at least 0.")
    n_steps = 1 if states.ndim == 2 else lead[1]
    blocks = n_steps * (np.arange(n_blocks + 1) * lead[0] // n_blocks)
    states, targets = check_samples(states.reshape(-1, states.shape[-1]), targets.reshape(-1, targets.shape[-1]))
    weights = weights.ravel()
    if not weights.sum() > 0.0:
        raise DataError("the mask leaves no sample.")
    state_mean, target_mean = (weights @ array / weights.sum() for array in (states, targets))
    root = np.sqrt(weights)
    states = root[:, None] * (states - state_mean)
    scale = float(np.sum(states**2) / states.shape[1])
    if not scale > 0.0:
        raise DataError("the states do not vary.", hint="Check the inputs and the washout.")
    return _Samples(states, root[:, None] * (targets - target_mean), root, state_mean, target_mean, scale, blocks)


def _check_choice(spec: Ridge | SignedRidge, *, low: float) -> None:
    """Refuse penalties or a number of blocks that cannot be used."""
    try:
        penalties = tuple(float(penalty) for penalty in spec.penalties)
    except TypeError:
        raise OptionError(f"penalties={spec.penalties!r} is not valid; expected a tuple of numbers.") from None
    if not penalties or not all(low <= penalty < np.inf for penalty in penalties):
        kind = "at least 0" if low == 0.0 else "above 0"
        raise OptionError(f"penalties={spec.penalties!r} are not valid; expected finite numbers, {kind}.")
    object.__setattr__(spec, "penalties", penalties)
    object.__setattr__(spec, "n_blocks", check_count("n_blocks", spec.n_blocks, at_least=2))


def _moments(states: np.ndarray, targets: np.ndarray) -> _Moments:
    """Sum products over samples."""
    return _Moments(states.T @ states, states.T @ targets)


def _choose(spec, samples: _Samples, solve: Callable) -> tuple[float, np.ndarray]:
    """Give the penalty with the smallest error on held-out blocks, and the errors of all.

    Every block is predicted with the weights, means and scale of the others.
    """
    penalties = np.array(spec.penalties)
    if penalties.size == 1:
        return float(penalties[0]), np.full(1, np.nan)
    if np.any(np.diff(samples.blocks) == 0):
        raise DataError(
            f"{samples.blocks[-1]} samples or trials cannot be cut into {spec.n_blocks} blocks.",
            hint="Lower n_blocks, or give one penalty.",
        )
    whole = _moments(samples.states, samples.targets)
    errors = np.zeros((penalties.size, samples.targets.shape[1]))
    for start, stop in zip(samples.blocks[:-1], samples.blocks[1:], strict=True):
        states, targets, root = (array[start:stop] for array in samples[:3])
        rest = np.sum(samples.root**2) - np.sum(root**2)
        if not rest > 0.0:
            raise DataError("all samples with a weight lie in one block.", hint="Lower n_blocks or shuffle trials.")
        own = _moments(states, targets)
        # The whole sums to zero about its means: the rest's sums are minus the block's.
        means = [-(root @ array) / rest for array in (states, targets)]
        gram = whole.gram - own.gram - rest * np.outer(means[0], means[0])
        moment = whole.moment - own.moment - rest * np.outer(means[0], means[1])
        scale = max(float(np.trace(gram)) / len(gram), np.finfo(float).tiny)
        weights = solve(_Moments(gram, moment), penalties * scale)
        predicted = (states - root[:, None] * means[0]) @ weights + root[:, None] * means[1]
        errors += np.sum((targets - predicted) ** 2, axis=1)
    variance = np.maximum(np.sum(samples.targets**2, axis=0), np.finfo(float).tiny)
    mean_error = np.mean(errors / variance, axis=1)
    return float(penalties[np.argmin(mean_error)]), mean_error


def _ridge_candidates(block: _Moments, penalties: np.ndarray) -> np.ndarray:
    """Give the weights of all penalties from one eigendecomposition, shape (n_penalties, n_features, n_outputs)."""
    values, vectors = eigh(block.gram, check_finite=False)
    rotated = vectors.T @ block.moment
    # Eigenvalues below round-off are none: without this a penalty of 0 would divide by them.
    floor = values.size * np.finfo(float).eps * max(values[-1], 0.0)
    inverse = np.where(values > floor, 1.0, 0.0) / np.maximum(values, floor)
    shrunk = np.stack([np.where(p > 0.0, 1.0 / (np.maximum(values, 0.0) + max(p, 1e-300)), inverse) for p in penalties])
    return np.einsum("ij,pj,jk->pik", vectors, shrunk, rotated, optimize=True)


def _solve_ridge(samples: _Samples, penalty: float) -> np.ndarray:
    """Give the weights, shape (n_features, n_outputs): by Cholesky, or by QR and SVD where the penalty is tiny."""
    if penalty >= _SMALLEST_FOR_CHOLESKY:
        gram, moment = _moments(samples.states, samples.targets)
        gram[np.diag_indices_from(gram)] += penalty * samples.scale
        return cho_solve(cho_factor(gram, lower=True, overwrite_a=True), moment)
    rotated, triangle = qr_multiply(samples.states, samples.targets.T, mode="right")
    left, values, right = svd(triangle, full_matrices=False, check_finite=False)
    kept = values > max(samples.states.shape) * np.finfo(float).eps * values[0]
    factors = np.divide(values, values**2 + penalty * samples.scale, out=np.zeros_like(values), where=kept)
    return right.T @ (factors[:, None] * (left.T @ rotated.T))


def _solve_all_signed(block: _Moments, penalty: float, signs: np.ndarray) -> np.ndarray:
    """Give the weights of the right signs for all outputs, shape (n_features, n_outputs)."""
    gram = block.gram.copy()
    gram[np.diag_indices_from(gram)] += penalty
    return np.stack([solve_signed(gram, moment, signs)[0] for moment in block.moment.T], axis=1)


def _readout(samples: _Samples, weights: np.ndarray, signs: np.ndarray, penalty: float, errors) -> Readout:
    """Pack weights of shape (n_features, n_outputs), with the intercept and the conditions that they break."""
    moment = samples.states.T @ samples.targets
    slope = samples.states.T @ (samples.states @ weights - samples.targets) + penalty * samples.scale * weights
    broken = [broken_conditions(slope[:, i], moment[:, i], signs, weights[:, i]) for i in range(weights.shape[1])]
    return Readout(
        weights=np.ascontiguousarray(weights.T),
        intercept=samples.target_mean - samples.state_mean @ weights,
        penalty=penalty,
        held_out_error=errors,
        broken=max(broken),
    )
