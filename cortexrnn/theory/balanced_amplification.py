"""Balanced amplification of a pair of units in closed form (Murphy and Miller 2009)."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from cortexrnn._checks import check_positive
from cortexrnn.errors import DataError
from cortexrnn.theory.spectra import generator


@dataclass(frozen=True, kw_only=True, slots=True)
class BalancedPair:
    """Balanced amplification of a pair in closed form: ``tau dr/dt = -r + W r + I``.

    In the Schur basis the second pattern decays by itself and drives the first one through `feed_forward`, which no
    eigenvalue shows (Murphy and Miller 2009,
    doi:10.1016/j.neuron.2009.02.005).

    Attributes
    ----------
    tau_s : float
    feed_forward : float
        Feed-forward weight, ``|w_01 - w_10|``: of an E-I pair the sum of ``w_EI`` and ``w_IE``.
    driven, driving : float
        Eigenvalues of W: that of the driven pattern and that of the driving one.
    driven_pattern, driving_pattern : ndarray, shape (2,)
        Unit vectors, at a right angle, such that the feed-forward weight is positive.
    """

    tau_s: float
    feed_forward: float
    driven: float
    driving: float
    driven_pattern: np.ndarray
    driving_pattern: np.ndarray

    @property
    def peak_s(self) -> float:
        """Time of the driven pattern's peak after a unit start in the driving one."""
        a, b = 1.0 - self.driven, 1.0 - self.driving
        return self.tau_s * (1.0 / a if _is_same(a, b) else math.log(a / b) / (a - b))

    @property
    def peak_gain(self) -> float:
        """Height of that peak."""
        return float(self.driven_response(self.peak_s))

    @property
    def steady_gain(self) -> float:
        """Steady response of the driven pattern to a unit sustained input to the driving one."""
        return self.feed_forward / ((1.0 - self.driven) * (1.0 - self.driving))

    def driven_response(self, time_s: np.ndarray | float) -> np.ndarray:
        """Give the driven pattern's amplitude after a unit start in the driving one.

        Parameters
        ----------
        time_s : array_like
            Times in seconds since the start.

        Returns
        -------
        ndarray
            In the shape of the times.
        """
        t = np.asarray(time_s, float) / self.tau_s
        a, b = 1.0 - self.driven, 1.0 - self.driving
        if _is_same(a, b):
            return self.feed_forward * t * np.exp(-a * t)
        return self.feed_forward * np.exp(-b * t) * -np.expm1(-(a - b) * t) / (a - b)

    def gain(self, time_s: np.ndarray | float) -> np.ndarray:
        """Give the largest response to any start of unit length: the norm of ``exp(A t)``.

        Parameters
        ----------
        time_s : array_like

        Returns
        -------
        ndarray
            In the shape of the times.
        """
        t = np.asarray(time_s, float) / self.tau_s
        own = np.exp(-(1.0 - self.driven) * t), np.exp(-(1.0 - self.driving) * t)
        # The singular values of a triangular 2 x 2 matrix from the sum of their squares and their product.
        squares = own[0] ** 2 + own[1] ** 2 + self.driven_response(time_s) ** 2
        product = own[0] * own[1]
        return 0.5 * (np.sqrt(squares + 2.0 * product) + np.sqrt(np.maximum(squares - 2.0 * product, 0.0)))


def balanced_amplification(weights: np.ndarray, *, tau_s: float) -> BalancedPair:
    """Give the balanced amplification of a pair of units, such as one excitatory and one inhibitory, in closed form.

    Parameters
    ----------
    weights : array_like, shape (2, 2)
        ``weights[post, pre]`` with real eigenvalues, both below 1.
    tau_s : float
        Time constant of both units.

    Returns
    -------
    BalancedPair
        The driven pattern is that of the smaller eigenvalue where they differ: of Murphy and Miller's pair the sum, and
        the difference is the driving one.

    Raises
    ------
    DataError
        If the weights are not 2 x 2, their eigenvalues are complex, or the pair does not decay.
    OptionError
        If the time constant is not positive.
    """
    matrix = generator(np.asarray(weights, float))
    check_positive("tau_s", tau_s)
    if matrix.shape != (2, 2):
        raise DataError(f"weights have the shape {matrix.shape}; expected (2, 2).")
    half, root = 0.5 * np.trace(matrix), 0.25 * np.trace(matrix) ** 2 - np.linalg.det(matrix)
    if root < 0.0:
        raise DataError(
            f"the pair's eigenvalues are complex ({half:.3g} +- {math.sqrt(-root):.3g} i): its patterns turn.",
            hint="transient_gain has no closed form, but takes any matrix.",
        )
    driven, driving = half - math.sqrt(root), half + math.sqrt(root)
    if driving >= 1.0:
        raise DataError(f"the pair's largest eigenvalue is {driving:.3g}; expected one below 1, so that it decays.")
    # The driven pattern is an eigenvector; of the two rows of W - lambda the longer one tells it better.
    rows = matrix - driven * np.eye(2)
    row = rows[np.linalg.norm(rows, axis=1).argmax()]
    length = float(np.linalg.norm(row))
    first = np.array([1.0, 0.0]) if length == 0.0 else np.array([row[1], -row[0]]) / length
    first = -first if first.sum() < 0.0 else first
    second = np.array([first[1], -first[0]])
    forward = float(first @ matrix @ second)
    if forward < 0.0:
        second, forward = -second, -forward
    return BalancedPair(
        tau_s=tau_s, feed_forward=forward, driven=driven, driving=driving, driven_pattern=first, driving_pattern=second
    )


def _is_same(a: float, b: float) -> bool:
    """Tell whether two decay rates are so near that their difference would be round-off."""
    return abs(a - b) <= 1e-12 * max(abs(a), abs(b))
