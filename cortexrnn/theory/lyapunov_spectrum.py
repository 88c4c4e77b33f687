"""Lyapunov exponents as a result: their dimension, their entropy, and what their sum must be."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import xarray as xr

from cortexrnn.errors import OptionError

if TYPE_CHECKING:
    from matplotlib.axes import Axes

# A mean of logarithms below this a step is zero to rounding.
ZERO_STEP = 1e-12


class SumRule(NamedTuple):
    """Sum of all exponents by three ways, per second, over the same steps.

    Attributes
    ----------
    n_steps : int
        Steps that were looked at.
    exponents : float
        Sum of all exponents.
    volume : float
        Mean of ``log(abs(det J))`` over dt, J the derivative of a step; the same number, but for rounding.
    trace : float
        Mean trace of the flow's derivative, which both approach as the step gets shorter; NaN for a map.
    """

    n_steps: int
    exponents: float
    volume: float
    trace: float

    @property
    def residual(self) -> float:
        """Difference of the first two as a fraction of the larger; zero where both are -inf, infinite where one is."""
        if self.exponents == self.volume:
            return 0.0
        apart = abs(self.exponents - self.volume)
        return math.inf if math.isinf(apart) else apart / max(abs(self.exponents), abs(self.volume))


class Dimension(NamedTuple):
    """Kaplan-Yorke dimension, and by which rule.

    Attributes
    ----------
    value : float
        NaN where more exponents are needed.
    rule : str
    """

    value: float
    rule: str


@dataclass(frozen=True, kw_only=True, slots=True)
class LyapunovSpectrum:
    """Exponents of a system, largest first.

    Attributes
    ----------
    name : str
        Of the system.
    dt_s : float
        Time of a step.
    tau_s : float or None
        Time constant of the exponents per tau.
    size : int
        Length of the state; there are as many exponents in all.
    n_steps : int
        Steps over which the exponents are means.
    interval : int
        Steps between orthonormalisations at the end of the run.
    interval_error_per_s : float
        Bound of the difference to Householder's way at every step, from how oblique the vectors became.
    exponents_per_s : ndarray, shape (n_exponents,)
        -inf for a direction in which a step forgets everything.
    errors_per_s : ndarray, shape (n_exponents,)
        Convergence error: one standard error from the means of ten blocks of the run.
    running : xarray.Dataset
        ``exponent`` over (time, index): the estimate from the steps before each time, per second.
    sum_rule : SumRule or None
        None where not all exponents were computed.
    """

    name: str
    dt_s: float
    tau_s: float | None
    size: int
    n_steps: int
    interval: int
    interval_error_per_s: float
    exponents_per_s: np.ndarray
    errors_per_s: np.ndarray
    running: xr.Dataset
    sum_rule: SumRule | None

    @property
    def is_full(self) -> bool:
        """Whether these are all exponents."""
        return self.exponents_per_s.size == self.size

    @property
    def exponents_per_step(self) -> np.ndarray:
        """Exponents per step, shape (n_exponents,)."""
        return self.exponents_per_s * self.dt_s

    @property
    def exponents_per_tau(self) -> np.ndarray:
        """Exponents per time constant, shape (n_exponents,); OptionError where none was given."""
        if self.tau_s is None:
            raise OptionError("there is no time constant.", where=self.name, hint="Give LyapunovOptions(tau_s=...).")
        return self.exponents_per_s * self.tau_s

    @property
    def dimension(self) -> Dimension:
        """Kaplan-Yorke dimension, see `kaplan_yorke`."""
        zero = 2.0 * np.nan_to_num(self.errors_per_s) + ZERO_STEP / self.dt_s
        return kaplan_yorke(self.exponents_per_s, zero=zero, is_full=self.is_full)

    @property
    def entropy_per_s(self) -> float:
        """Sum of the positive exponents in nats per second, NaN where more exponents are needed.

        It is the rate at which the system makes information (Pesin), for measures that are smooth along the unstable
        directions, and an upper bound for all others.
        """
        if not self.is_full and self.exponents_per_s[-1] > 0.0:
            return math.nan
        return float(np.sum(np.maximum(self.exponents_per_s, 0.0)))

    def to_dataset(self) -> xr.Dataset:
        """Give what the figures show.

        Returns
        -------
        xarray.Dataset
            ``exponent`` and ``error`` over index, ``running`` over (time, index), per second; attributes ``tau_s``
            (where there is one), ``size``, ``dimension`` and ``entropy_per_s``.
        """
        attrs = {"size": self.size, "dimension": self.dimension.value, "entropy_per_s": self.entropy_per_s}
        if self.tau_s is not None:
            attrs["tau_s"] = self.tau_s
        variables = {"exponent": ("index", self.exponents_per_s), "error": ("index", self.errors_per_s)}
        return self.running.rename(exponent="running").assign(variables).assign_attrs(attrs)

    def plot(self, ax: Axes | None = None) -> Axes:
        """Draw the exponents over their index.

        Parameters
        ----------
        ax : matplotlib.axes.Axes, optional
            Where to draw; a figure of its own by default.

        Returns
        -------
        matplotlib.axes.Axes
        """
        from cortexrnn.report import lyapunov as figures
        from cortexrnn.report.figure_file import own_axes

        return figures.plot_exponents(own_axes() if ax is None else ax, self.to_dataset())


def kaplan_yorke(exponents: np.ndarray, *, zero: float | np.ndarray = 0.0, is_full: bool = True) -> Dimension:
    """Give the dimension of the attractor from its exponents (Kaplan and Yorke 1979, doi:10.1007/BFb0064319).

    ``D = j + (l_1 + ... + l_j) / abs(l_(j+1))`` with the largest j at which the sum is not negative. Where no exponent
    is positive, those within `zero` of zero are counted: a fixed point has 0, a limit cycle 1, a torus 2. Where no
    sum is negative volumes do not shrink, and the dimension is that of the whole state.

    Parameters
    ----------
    exponents : ndarray, shape (n_exponents,)
        Falling, in any unit.
    zero : float or ndarray, shape (n_exponents,)
        What counts as zero, in the same unit.
    is_full : bool
        Whether these are all exponents.

    Returns
    -------
    Dimension

    Examples
    --------
    >>> round(kaplan_yorke([0.906, 0.0, -14.572]).value, 3)
    2.062
    """
    exponents = np.asarray(exponents, dtype=float)
    if not np.any(exponents > zero):
        n_zero = int(np.sum(np.abs(exponents) <= zero))
        if n_zero == exponents.size and not is_full:
            return Dimension(math.nan, "more exponents are needed: none is negative")
        return Dimension(float(n_zero), "number of zeros: none is positive")
    sums = np.cumsum(exponents)
    if sums[-1] >= 0.0:
        if is_full:
            return Dimension(float(exponents.size), "whole state: no sum is negative")
        return Dimension(math.nan, "more exponents are needed: no sum is negative")
    j = int(np.argmax(sums < 0.0))
    below = float(sums[j - 1]) if j else 0.0
    return Dimension(j + below / abs(float(exponents[j])), "Kaplan and Yorke")
