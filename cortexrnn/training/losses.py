"""Losses of a tile of trials: value and derivative with respect to the outputs.

Counts are predicted by the logarithm of their mean in a bin, spikes in bins of at most one by that of the integrated
intensity. All three likelihoods are averaged over outputs, as the squared error is.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np
from numba import njit

from cortexrnn.numerics.lanes import N_LANES
from cortexrnn.training.tile import to_lanes

if TYPE_CHECKING:
    from cortexrnn.training.tasks.contract import Batch

MSE = "mse"
CROSS_ENTROPY = "cross entropy"
POISSON = "poisson"
CLOGLOG = "bernoulli cloglog"
NEGATIVE_BINOMIAL = "negative binomial"
CODES = {MSE: 0, CROSS_ENTROPY: 1, POISSON: 2, CLOGLOG: 3, NEGATIVE_BINOMIAL: 4}
COUNTS = (POISSON, CLOGLOG, NEGATIVE_BINOMIAL)


def wanted(batch: Batch, n_outputs: int) -> np.ndarray:
    """Give what outputs are held against: targets, or 1 at the right class; (n_trials, n_steps, n_targets)."""
    if batch.labels is None:
        return batch.targets
    return (batch.labels[:, :, None] == np.arange(n_outputs)).astype(np.float32)


def trial_losses(batch: Batch, outputs: np.ndarray) -> np.ndarray:
    """Give the loss of every trial in float64, summed over its steps with the weights of the mask.

    Parameters
    ----------
    batch : Batch
    outputs : ndarray, shape (n_trials, n_steps, n_outputs)

    Returns
    -------
    ndarray, shape (n_trials,)
    """
    kind = np.dtype(float)
    parts = (outputs, wanted(batch, outputs.shape[2]), batch.mask[:, :, None])
    found = []
    for answers, targets, mask in zip(*(to_lanes(part, kind) for part in parts), strict=True):
        found.append(np.empty(N_LANES))
        tile_loss(CODES[batch.loss], answers, targets, mask, np.empty_like(answers), found[-1])
    return np.concatenate(found)[: len(outputs)]


@njit(cache=True, nogil=True, error_model="numpy")
def tile_loss(code, outputs, targets, mask, by_outputs, by_trial):
    """Give the loss of a tile and fill in its derivative.

    With output z and target y, a step counts with

    - mse: ``(z - y)^2``,
    - cross entropy: ``-log softmax(z)`` at the right class, summed over classes,
    - poisson: ``exp(z) - y z + log y!``,
    - bernoulli cloglog: ``exp(z)`` where y is 0 and ``-log(1 - exp(-exp(z)))`` where it is 1,
    - negative binomial: minus the log-probability of y at the mean ``exp(z)`` and the variance
      ``exp(z) + exp(2 z - s)``; the outputs s come behind all outputs z.

    Parameters
    ----------
    code : int
        From `CODES`.
    outputs : ndarray, shape (n_steps, at least n_outputs * N_LANES)
    targets : ndarray, shape (n_steps, n_targets * N_LANES)
        Values or counts; for the cross entropy 1 at the right class and 0 elsewhere. There are as many targets as
        outputs, half as many for the negative binomial.
    mask : ndarray, shape (n_steps, N_LANES)
        Weights, normalised by the caller: they sum to 1 over the batch.
    by_outputs : ndarray, like `outputs`
        Filled; zero beyond the outputs.
    by_trial : ndarray of float64, shape (N_LANES,)
        Filled with every trial's part of the loss.
    """
    by_outputs[:] = 0
    by_trial[:] = 0.0
    n_targets = targets.shape[1] // N_LANES
    for t in range(outputs.shape[0]):
        if code == 1:
            _cross_entropy(outputs[t], targets[t], mask[t], by_outputs[t], by_trial)
            continue
        for k in range(n_targets):
            for lane in range(N_LANES):
                weight = mask[t, lane] / n_targets
                if weight == 0.0:
                    # Outputs behind a trial's end may be anything.
                    continue
                at = k * N_LANES + lane
                z, y = outputs[t, at], targets[t, at]
                if code == 4:
                    spread = at + n_targets * N_LANES
                    value, by_z, by_s = _negative_binomial(z, outputs[t, spread], y)
                    by_outputs[t, spread] = weight * by_s
                else:
                    value, by_z = _pointwise(code, z, y)
                by_trial[lane] += weight * value
                by_outputs[t, at] = weight * by_z


@njit(cache=True, nogil=True, error_model="numpy")
def _pointwise(code, z, y):
    """Give a loss that is a sum over outputs, and its derivative."""
    if code == 0:
        return (z - y) * (z - y), 2.0 * (z - y)
    intensity = math.exp(z)
    if code == 2:
        return intensity - y * z + math.lgamma(y + 1.0), intensity - y
    if y > 0.0:
        return -math.log(-math.expm1(-intensity)), -intensity / math.expm1(intensity)
    return intensity, intensity


@njit(cache=True, nogil=True, error_model="numpy")
def _negative_binomial(z, s, y):
    """Give minus the log-probability of a count of mean exp(z) and dispersion exp(-s), and its derivatives."""
    mean, shape = math.exp(z), math.exp(s)
    # log(shape / (shape + mean)) without cancellation where the shape is large.
    log_keep = -math.log1p(mean / shape)
    value = -shape * log_keep - y * (z - s + log_keep) + math.lgamma(y + 1.0)
    by_s = -shape * log_keep - shape + (y + shape) * shape / (shape + mean)
    # Gamma(y + shape) / Gamma(shape) is a product over the counts below y.
    for k in range(int(y)):
        value -= math.log(shape + k)
        by_s -= shape / (shape + k)
    return value, (y + shape) * mean / (shape + mean) - y, by_s


@njit(cache=True, nogil=True, error_model="numpy")
def _cross_entropy(outputs, targets, mask, by_outputs, by_trial):
    """Add the cross entropy of one step to every trial's and fill in its derivative."""
    n_outputs = targets.size // N_LANES
    for lane in range(N_LANES):
        if mask[lane] == 0.0:
            continue
        largest = -np.inf
        for k in range(n_outputs):
            largest = max(largest, outputs[k * N_LANES + lane])
        norm = 0.0
        for k in range(n_outputs):
            norm += np.exp(outputs[k * N_LANES + lane] - largest)
        for k in range(n_outputs):
            at = k * N_LANES + lane
            log_p = outputs[at] - largest - np.log(norm)
            by_trial[lane] -= mask[lane] * targets[at] * log_p
            by_outputs[at] = mask[lane] * (np.exp(log_p) - targets[at])
