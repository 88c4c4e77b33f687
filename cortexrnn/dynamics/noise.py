"""Ornstein-Uhlenbeck currents with the exact update, so that their variance does not depend on the time step."""

from __future__ import annotations

import numba
import numpy as np

from cortexrnn.circuit.parts import Noise
from cortexrnn.errors import OptionError
from cortexrnn.numerics.streams import stream


class OrnsteinUhlenbeck:
    """The noise of a tile of trials, block after block; every trial has its own stream.

    Parameters
    ----------
    noise : Noise
        Standard deviation, time constant and what units share.
    n_units : int
    dt_s : float
        Time step.
    key : tuple
        What the streams are for beside the trials: a seed, and as the step of a training what else.
    trials : sequence of int
        Numbers of the trials, one a lane.
    dtype : numpy float type

    Raises
    ------
    OptionError
        If the covariance is not that of `n_units` variables.
    """

    def __init__(
        self, noise: Noise, n_units: int, dt_s: float, *, key: tuple, trials: range, dtype: np.dtype
    ):
        self._streams = [stream(key[0], "noise", *key[1:], trial) for trial in trials]
        self._n_units, self._dtype = n_units, np.dtype(dtype)
        self._mix = mixing(noise, n_units).astype(dtype) if noise.covariance or noise.shared else None
        keep = np.exp(-dt_s / noise.tau_s)
        # expm1 keeps the digits of 1 - keep^2 for small steps.
        self._keep, self._scale = keep, noise.sigma * np.sqrt(-np.expm1(-2.0 * dt_s / noise.tau_s))
        self._eta = (noise.sigma * self._normals(1)[:, 0, :].T).astype(dtype).ravel()

    def block(self, n_steps: int) -> np.ndarray:
        """Give the current at the next steps and at the one after, shape (n_steps + 1, n_units * lanes)."""
        current = np.empty((n_steps + 1, self._eta.size), self._dtype)
        _run(self._eta, self._normals(n_steps), self._dtype.type(self._keep), self._dtype.type(self._scale), current)
        return current

    def _normals(self, n_steps: int) -> np.ndarray:
        """Draw correlated standard normal numbers, shape (lanes, n_steps, n_units)."""
        n_drawn = self._n_units if self._mix is None else self._mix.shape[1]
        shape = (n_steps, n_drawn)
        drawn = np.stack([rng.standard_normal(shape, self._dtype) for rng in self._streams])
        return drawn if self._mix is None else drawn @ self._mix.T


def mixing(noise: Noise, n_units: int) -> np.ndarray:
    """Give the matrix that turns independent normal numbers into those of a noise.

    Parameters
    ----------
    noise : Noise
    n_units : int

    Returns
    -------
    ndarray, shape (n_units, n_drawn)
        Times its transpose it is the covariance over units, in units of ``sigma^2``.

    Raises
    ------
    OptionError
        If the covariance has the wrong size or is not positive semidefinite.
    """
    if not noise.covariance:
        private = np.sqrt(1.0 - noise.shared) * np.eye(n_units)
        return np.hstack([private, np.full((n_units, 1), np.sqrt(noise.shared))])
    covariance = np.array(noise.covariance)
    if covariance.shape != (n_units, n_units):
        raise OptionError(
            f"a table of {len(covariance)} rows is not valid; expected {n_units}, one a unit.", where="noise.covariance"
        )
    variances, axes = np.linalg.eigh(covariance)
    if variances[0] < -1e-10 * abs(variances[-1]):
        raise OptionError(
            f"the smallest eigenvalue is {variances[0]:.3g}; expected none below 0.",
            where="noise.covariance",
            hint="Check the table: no variables have such covariances.",
        )
    return axes * np.sqrt(np.maximum(variances, 0.0))


@numba.njit(cache=True, nogil=True, fastmath={"contract"})
def _run(eta, normals, keep, scale, current):
    """Fill `current` with the current before each step and after the last, where `eta` is left."""
    lanes, n_steps, n_units = normals.shape
    current[0] = eta
    for t in range(n_steps):
        for unit in range(n_units):
            for lane in range(lanes):
                at = unit * lanes + lane
                current[t + 1, at] = keep * current[t, at] + scale * normals[lane, t, unit]
    eta[:] = current[n_steps]
