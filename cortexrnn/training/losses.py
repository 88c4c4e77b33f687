"""Losses of a tile of trials: value and derivative with respect to the outputs."""

from __future__ import annotations

import numpy as np
from numba import njit

from cortexrnn.numerics.lanes import N_LANES

MSE, CROSS_ENTROPY = 0, 1
CODES = {"mse": MSE, "cross entropy": CROSS_ENTROPY}


@njit(cache=True, nogil=True, error_model="numpy")
def tile_loss(code, outputs, targets, mask, by_outputs):
    """Give the loss of a tile and fill in its derivative.

    Parameters
    ----------
    code : int
        `MSE`: ``mask (z - target)^2`` averaged over outputs; `CROSS_ENTROPY`: ``-mask log softmax(z)[target]``.
    outputs : ndarray, shape (n_steps, at least n_outputs * N_LANES)
    targets : ndarray, shape (n_steps, n_outputs * N_LANES)
        Values; for the cross entropy 1 at the right class and 0 elsewhere.
    mask : ndarray, shape (n_steps, N_LANES)
        Weights, normalised by the caller: they sum to 1 over the batch.
    by_outputs : ndarray, like `outputs`
        Filled; zero beyond the outputs.

    Returns
    -------
    float
        The tile's part of the loss.
    """
    n_outputs = targets.shape[1] // N_LANES
    by_outputs[:] = 0
    total = 0.0
    if code == MSE:
        for t in range(outputs.shape[0]):
            for k in range(n_outputs):
                for lane in range(N_LANES):
                    at = k * N_LANES + lane
                    error = outputs[t, at] - targets[t, at]
                    weight = mask[t, lane] / n_outputs
                    total += weight * error * error
                    by_outputs[t, at] = 2.0 * weight * error
        return total
    for t in range(outputs.shape[0]):
        for lane in range(N_LANES):
            if mask[t, lane] == 0.0:
                continue
            largest = -np.inf
            for k in range(n_outputs):
                largest = max(largest, outputs[t, k * N_LANES + lane])
            norm = 0.0
            for k in range(n_outputs):
                norm += np.exp(outputs[t, k * N_LANES + lane] - largest)
            for k in range(n_outputs):
                at = k * N_LANES + lane
                log_p = outputs[t, at] - largest - np.log(norm)
                total -= mask[t, lane] * targets[t, at] * log_p
                by_outputs[t, at] = mask[t, lane] * (np.exp(log_p) - targets[t, at])
    return total
