"""Random tanh networks in discrete time under a white input: how strong input moves the edge of chaos.

``h <- J tanh(h) + input``, J Gaussian of variance g^2 / N, times in steps. The current h has the variance ::

    q = g^2 E[tanh(sqrt(q) z)^2] + sigma^2

and two trajectories under the same input part as ``exp(exponent t)``, ``exponent = log(g^2 E[tanh'(sqrt(q) z)^2]) / 2``
(Molgedey, Schuchhardt and Schuster 1992, doi:10.1103/PhysRevLett.69.3717): the input makes units less steep, so that
chaos begins at a gain above 1. The input is white and Gaussian to every unit by itself, or one signal of constant size,
such as random signs, through Gaussian weights of deviation sigma: of either only the variance over units counts.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import xarray as xr
from scipy.optimize import brentq

from cortexrnn._checks import check_positive
from cortexrnn.errors import OptionError
from cortexrnn.theory.mean_field.gaussian import mean_square_rate, mean_square_slope

if TYPE_CHECKING:
    from matplotlib.axes import Axes

# Beyond, units are signs, and averages over them take ever more points.
_LARGEST = 1e3


@dataclass(frozen=True, kw_only=True, slots=True)
class DrivenMap:
    """What mean field theory says of a driven random tanh network of infinite size in discrete time.

    Attributes
    ----------
    gain : float
        Deviation of the weights times sqrt(N).
    input_sd : float
        Deviation of the input over units.
    current_variance : float
        Of h, the argument of tanh.
    rate_variance : float
        Of tanh(h).
    exponent : float
        Largest conditional Lyapunov exponent per step.
    residual : float
        Relative violation of the equation for the variance.
    """

    gain: float
    input_sd: float
    current_variance: float
    rate_variance: float
    exponent: float
    residual: float

    @property
    def is_chaotic(self) -> bool:
        """Whether trajectories part although they get the same input."""
        return self.exponent > 0.0

    def plot(self, ax: Axes | None = None) -> Axes:
        """Draw the exponent against the gain under this input, and mark this network.

        Parameters
        ----------
        ax : matplotlib.axes.Axes, optional
            Where to draw; a figure of its own by default.

        Returns
        -------
        matplotlib.axes.Axes
        """
        from cortexrnn.report import mean_field
        from cortexrnn.report.figure_file import own_axes

        curve = driven_curve(np.linspace(0.2, 1.5, 40) * max(self.gain, 1.0), np.array([self.input_sd]))
        ax = own_axes() if ax is None else ax
        return mean_field.plot_driven(ax, curve, at=(self.gain, self.exponent))


def driven_map(gain: float, input_sd: float) -> DrivenMap:
    """Solve the mean field theory of a driven random tanh network in discrete time.

    Parameters
    ----------
    gain : float
        Deviation of the weights times sqrt(N), up to 1000.
    input_sd : float
        Deviation of the input over units, positive, up to 1000; without any input see
        `cortexrnn.theory.mean_field.dmft`.

    Returns
    -------
    DrivenMap

    Raises
    ------
    OptionError
        If an argument is not positive or too large.

    Examples
    --------
    >>> found = driven_map(1.5, 0.5)
    >>> round(found.current_variance, 4), round(found.exponent, 4)
    (1.2182, -0.0167)
    """
    gain, input_sd = check_positive("gain", gain), check_positive("input_sd", input_sd)
    for name, value in (("gain", gain), ("input_sd", input_sd)):
        if value > _LARGEST:
            raise OptionError(f"{name}={value!r} is above {_LARGEST:g}: the units are signs.")
    noise = input_sd**2

    def excess(log_q: float) -> float:
        q = math.exp(log_q)
        return (gain**2 * mean_square_rate(q) + noise) / q - 1.0

    # Relative to q the right-hand side falls: one root, between the input alone and the largest rates.
    low, high = math.log(noise), math.log(gain**2 + noise)
    q = math.exp(brentq(excess, low, high, xtol=1e-15, rtol=1e-15)) if excess(low) > 0.0 else noise
    return DrivenMap(
        gain=gain,
        input_sd=input_sd,
        current_variance=q,
        rate_variance=mean_square_rate(q),
        exponent=0.5 * math.log(gain**2 * mean_square_slope(q)),
        residual=abs(excess(math.log(q))),
    )


def transition_gain(input_sd: float) -> float:
    """Find the gain at which a driven network becomes chaotic: where the conditional exponent is 0.

    Parameters
    ----------
    input_sd : float
        Deviation of the input over units, positive, up to 1000.

    Returns
    -------
    float
        Above 1, by ``(3 input_sd^2 / 4)^(1/3)`` where the input is weak.

    Raises
    ------
    OptionError
        If the input is not positive or too large.

    Examples
    --------
    >>> round(transition_gain(0.5), 4)
    1.5497
    """
    input_sd = check_positive("input_sd", input_sd)
    # Units that are all but signs: E[tanh'^2] is 4 / (3 sqrt(2 pi q)), so that the edge is at 1.4 sqrt(input_sd).
    high = 2.0 + 2.0 * math.sqrt(input_sd)
    return brentq(lambda gain: driven_map(gain, input_sd).exponent, 1.0, high, xtol=1e-13, rtol=1e-13)


def driven_curve(gains: np.ndarray, input_sds: np.ndarray) -> xr.Dataset:
    """Solve the theory for all gains and input strengths.

    Parameters
    ----------
    gains : array_like, shape (n_gains,)
    input_sds : array_like, shape (n_inputs,)

    Returns
    -------
    xarray.Dataset
        ``exponent``, ``current_variance`` and ``rate_variance`` over (input_sd, gain), and ``transition``, the gain at
        which chaos begins, over input_sd.

    Raises
    ------
    OptionError
        If a value is not positive.
    """
    gains, input_sds = np.atleast_1d(np.asarray(gains, float)), np.atleast_1d(np.asarray(input_sds, float))
    solved = [[driven_map(gain, sd) for gain in gains] for sd in input_sds]
    names = ("exponent", "current_variance", "rate_variance")
    columns = {name: (("input_sd", "gain"), [[getattr(one, name) for one in row] for row in solved]) for name in names}
    transition = [transition_gain(sd) for sd in input_sds]
    return xr.Dataset(
        {**columns, "transition": ("input_sd", transition)}, coords={"gain": gains, "input_sd": input_sds}
    )
