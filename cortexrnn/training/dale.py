"""How a free parameter becomes a weight that keeps its sign: the options for Dale's law under training.

A weight is ``sign f(theta)`` on connections that exist. ``relu``, ``abs``, ``exp`` and ``softplus`` are f; with
``projected`` theta is the weight itself and is put back on its side of zero after every step; columns of mixed
populations are free in every option.
"""

from __future__ import annotations

import numpy as np

from cortexrnn._checks import check_choice

OPTIONS = ("relu", "abs", "exp", "softplus", "projected")
# Where f has no finite inverse of zero: weights as good as absent.
_SMALLEST = 1e-8


class Dale:
    """A parametrisation of a matrix whose columns have signs.

    Parameters
    ----------
    option : {"relu", "abs", "exp", "softplus", "projected"}
    signs : ndarray of int, shape (n_sources,)
        +1, -1, or 0 for columns that are free.
    is_connected : ndarray of bool, shape (n_units, n_sources)
        Weights elsewhere are zero and stay so.

    Raises
    ------
    OptionError
        If there is no such option.
    """

    def __init__(self, option: str, signs: np.ndarray, is_connected: np.ndarray):
        self.option = check_choice("dale", option, OPTIONS)
        self._signs = np.asarray(signs, dtype=float)
        self._is_free = self._signs == 0
        self._is_connected = is_connected

    def parameters(self, weights: np.ndarray) -> np.ndarray:
        """Give the parameters of weights, shape (n_units, n_sources), the inverse of `weights`."""
        magnitude = np.abs(weights).astype(float)
        if self.option == "exp":
            magnitude = np.log(np.maximum(magnitude, _SMALLEST))
        elif self.option == "softplus":
            floored = np.maximum(magnitude, _SMALLEST)
            magnitude = floored + np.log(-np.expm1(-floored))
        elif self.option == "projected":
            magnitude = magnitude * self._signs
        theta = np.where(self._is_free, weights, magnitude)
        return np.where(self._is_connected, theta, 0.0).astype(weights.dtype)

    def weights(self, theta: np.ndarray) -> np.ndarray:
        """Give the weights of parameters, shape (n_units, n_sources)."""
        value = {
            "relu": lambda: np.maximum(theta, 0.0) * self._signs,
            "abs": lambda: np.abs(theta) * self._signs,
            "exp": lambda: np.exp(theta) * self._signs,
            "softplus": lambda: np.logaddexp(0.0, theta) * self._signs,
            "projected": lambda: theta,
        }[self.option]()
        return np.where(self._is_connected, np.where(self._is_free, theta, value), 0.0).astype(theta.dtype)

    def pull_back(self, theta: np.ndarray, by_weights: np.ndarray) -> np.ndarray:
        """Turn derivatives with respect to the weights into those with respect to the parameters."""
        slope = {
            "relu": lambda: (theta > 0.0) * self._signs,
            "abs": lambda: np.sign(theta) * self._signs,
            "exp": lambda: np.exp(theta) * self._signs,
            "softplus": lambda: self._signs / (1.0 + np.exp(-theta)),
            "projected": lambda: np.ones_like(theta),
        }[self.option]()
        slope = np.where(self._is_free, 1.0, slope)
        return np.where(self._is_connected, slope * by_weights, 0.0).astype(theta.dtype)

    def project(self, theta: np.ndarray) -> None:
        """Put parameters back to where weights have their signs, in place; needed by ``projected`` only."""
        if self.option == "projected":
            wrong = (theta * self._signs < 0.0) & ~self._is_free
            theta[wrong] = 0.0
