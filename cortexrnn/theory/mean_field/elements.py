"""Smooth functions on a line cut into panels, each held at Gauss-Lobatto points: integrals and bound states."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.polynomial import legendre
from scipy.linalg import eigh


class Panels(NamedTuple):
    """Panels of a line; neighbours share a point.

    Attributes
    ----------
    points : ndarray, shape (n_panels, n)
        Ascending.
    weights : ndarray, shape (n_panels, n)
        Of the quadrature within each.
    derivative : ndarray, shape (n, n)
        From values to derivatives on a panel from -1 to 1.
    integral : ndarray, shape (n, n)
        From values to integrals from the panel's first point.
    """

    points: np.ndarray
    weights: np.ndarray
    derivative: np.ndarray
    integral: np.ndarray

    def cumulate(self, values: np.ndarray) -> np.ndarray:
        """Integrate values (n_panels, n) from the first point of all; same shape."""
        parts = values @ self.integral.T * self.half_widths[:, None]
        before = np.concatenate([[0.0], np.cumsum(parts[:-1, -1])])
        return parts + before[:, None]

    @property
    def half_widths(self) -> np.ndarray:
        """Half the width of every panel."""
        return 0.5 * (self.points[:, -1] - self.points[:, 0])


def make_panels(edges: np.ndarray, n: int) -> Panels:
    """Lay n points, the ends among them, on every panel between two edges."""
    inner = legendre.Legendre.basis(n - 1).deriv().roots().real
    x = np.concatenate([[-1.0], np.sort(inner), [1.0]])
    weights = 2.0 / (n * (n - 1) * legendre.legval(x, np.eye(n)[n - 1]) ** 2)
    values = legendre.legvander(x, n - 1)
    columns = np.eye(n)
    slopes = np.stack([legendre.legval(x, legendre.legder(column)) for column in columns], axis=1)
    sums = np.stack([legendre.legval(x, legendre.legint(column, lbnd=-1.0)) for column in columns], axis=1)
    to_coefficients = np.linalg.inv(values)
    half = 0.5 * np.diff(edges)[:, None]
    middle = 0.5 * (edges[1:] + edges[:-1])[:, None]
    return Panels(middle + half * x, half * weights, slopes @ to_coefficients, sums @ to_coefficients)


def lowest_states(panels: Panels, speed: np.ndarray, potential: np.ndarray) -> tuple[float, float]:
    """Give the energies of the lowest even and the lowest odd state of ``-d2/dt2 + potential(t)``.

    The time is a function of the line's coordinate w with the derivative `speed`, dt/dw; the first point of the line
    is t = 0, about which the potential is even. States have died out at the last.

    Parameters
    ----------
    panels : Panels
    speed, potential : ndarray, shape (n_panels, n)

    Returns
    -------
    tuple of float
    """
    n_panels, n = panels.points.shape
    size = n_panels * (n - 1) + 1
    stiffness, mass = np.zeros((size, size)), np.zeros(size)
    pulled = np.zeros(size)
    for i, half in enumerate(panels.half_widths):
        at = slice(i * (n - 1), i * (n - 1) + n)
        slope = panels.derivative / half
        stiffness[at, at] += slope.T @ ((panels.weights[i] / speed[i])[:, None] * slope)
        mass[at] += panels.weights[i] * speed[i]
        pulled[at] += panels.weights[i] * speed[i] * potential[i]
    scale = 1.0 / np.sqrt(mass)
    matrix = scale[:, None] * stiffness * scale + np.diag(pulled * scale**2)
    even, odd = (eigh(part, eigvals_only=True, subset_by_index=(0, 0))[0] for part in (matrix, matrix[1:, 1:]))
    return float(even), float(odd)
