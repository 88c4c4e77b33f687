"""Steady states of an excitatory and an inhibitory population, and what inhibition does for their stability.

``tau dr/dt = -r + phi(W r + h)`` for two populations: the reduced supralinear stabilised network (Rubin, Van Hooser
and Miller 2015, doi:10.1016/j.neuron.2014.12.026; Ahmadian, Rubin and Miller 2013, doi:10.1162/NECO_a_00472) and the
equations of Wilson and Cowan. Given the excitatory rate, inhibition has one answer, because it inhibits itself; what
is left is one equation for the excitatory input, of which all roots are taken.

With excitatory gain ``phi'_E W_EE`` above 1 the excitatory population alone would run away: a stable state is then
stabilised by inhibition, and more drive to inhibition lowers its rate (Tsodyks, Skaggs, Sejnowski and McNaughton 1997,
doi:10.1523/JNEUROSCI.17-11-04382.1997).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import xarray as xr
from scipy.optimize import brentq

from cortexrnn.cells.activation import Activation
from cortexrnn.circuit import Circuit, build_weights
from cortexrnn.errors import OptionError

if TYPE_CHECKING:
    from matplotlib.axes import Axes

POPULATIONS = ("excitatory", "inhibitory")
# Excitatory inputs are looked at from -_FARTHEST to _FARTHEST, evenly on a scale that is linear near zero.
_FARTHEST = 1e6
_N_GRID = 20_001
_N_HALVINGS = 64


@dataclass(frozen=True, kw_only=True, slots=True)
class EIPair:
    """Two populations in rate form, excitatory first.

    Attributes
    ----------
    weights : tuple of tuple of float
        W, target first; the excitatory column at least 0, the inhibitory at most 0.
    activations : tuple of two Activation
        None with negative slope; rates of the supralinear network are ``k [z]_+^n``.
    taus_s : tuple of two float
        Time constants in seconds.
    bias : tuple of two float
        Constant inputs, to which drives add.

    Raises
    ------
    OptionError
        If a sign is wrong or a value not valid.
    """

    weights: tuple[tuple[float, float], tuple[float, float]]
    activations: tuple[Activation, Activation]
    taus_s: tuple[float, float] = (0.02, 0.01)
    bias: tuple[float, float] = (0.0, 0.0)

    def __post_init__(self):
        weights, taus_s, bias = (np.array(getattr(self, name), float) for name in ("weights", "taus_s", "bias"))
        if weights.shape != (2, 2) or taus_s.shape != (2,) or bias.shape != (2,) or len(self.activations) != 2:
            raise OptionError("weights, taus_s, bias or activations are not those of two populations.")
        if not (np.isfinite(weights).all() and np.isfinite(bias).all() and np.isfinite(taus_s).all()):
            raise OptionError("weights, taus_s or bias hold a value that is not finite.")
        if not (taus_s > 0.0).all():
            raise OptionError(f"taus_s={self.taus_s!r} is not valid; expected positive seconds.")
        if (weights[:, 0] < 0.0).any() or (weights[:, 1] > 0.0).any():
            raise OptionError(
                f"weights={self.weights!r} break Dale's law; expected a column of at least 0, then one of at most 0.",
                hint="Inhibition is negative: ((1.25, -0.65), (1.2, -0.5)).",
            )
        for name, values in (("weights", weights), ("taus_s", taus_s), ("bias", bias)):
            object.__setattr__(self, name, _as_tuples(values))
        object.__setattr__(self, "activations", tuple(self.activations))

    @classmethod
    def of_circuit(cls, circuit: Circuit) -> EIPair:
        """Read the pair of a circuit in rate form with one excitatory and one inhibitory unit.

        Parameters
        ----------
        circuit : Circuit
            As `hennequin_2018` and `wilson_cowan_1972`.

        Returns
        -------
        EIPair

        Raises
        ------
        OptionError
            If the circuit is another.
        """
        if circuit.form != "rate" or circuit.signs.tolist() != [1, -1] or circuit.plasticity:
            raise OptionError(
                f"circuit {circuit.name!r} is no excitatory and inhibitory unit in rate form without plasticity."
            )
        return cls(
            weights=_as_tuples(build_weights(circuit).total()),
            activations=tuple(population.activation for population in circuit.populations),
            taus_s=_as_tuples(circuit.tau_s),
            bias=_as_tuples(circuit.bias),
        )

    def velocity(self, rates: np.ndarray, drive: np.ndarray) -> np.ndarray:
        """Give dr/dt at rates, per second, shape (2,)."""
        z = np.array(self.weights) @ rates + drive + self.bias
        answers = np.array([float(phi(value)) for phi, value in zip(self.activations, z, strict=True)])
        return (answers - rates) / self.taus_s

    def slopes(self, z: np.ndarray) -> np.ndarray:
        """Give the slopes of the activations at inputs z, shape (2,)."""
        return np.array([float(phi.slope(value)) for phi, value in zip(self.activations, z, strict=True)])

    def jacobian(self, rates: np.ndarray, drive: np.ndarray) -> np.ndarray:
        """Give the Jacobian at rates, per second."""
        weights = np.array(self.weights)
        slopes = self.slopes(weights @ rates + drive + self.bias)
        return (slopes[:, None] * weights - np.eye(2)) / np.array(self.taus_s)[:, None]


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class PairStates:
    """All steady states of a pair at one drive.

    Attributes
    ----------
    pair : EIPair
    drive : ndarray, shape (2,)
    states : xarray.Dataset
        Over ``state``, by ascending excitatory rate: ``rate`` (state, population); ``growth``, the largest real part
        of the eigenvalues in 1/s; ``frequency_hz`` of that eigenvalue; ``is_stable``; ``excitatory_gain``, above 1
        where the excitatory population alone would run away; ``is_inhibition_stabilised``; ``response`` (state,
        population, driven), change of the steady rate per drive; ``is_paradoxical``: drive to inhibition lowers its
        rate.
    """

    pair: EIPair
    drive: np.ndarray
    states: xr.Dataset

    def plot(self, ax: Axes | None = None) -> Axes:
        """Draw the nullclines and the steady states, stable ones filled.

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

        rates = self.states["rate"].values
        tops = [phi.ceiling for phi in self.pair.activations]
        seen = 1.5 * np.maximum(rates.max(axis=0, initial=0.0), 1.0)
        highest = tuple(float(min(top, most)) for top, most in zip(tops, seen, strict=True))
        lines = nullclines(self.pair, self.drive, highest=highest)
        ax = own_axes() if ax is None else ax
        return mean_field.plot_phase_plane(ax, lines, states=self.states)


def pair_states(pair: EIPair, drive) -> PairStates:
    """Find all steady states of a pair.

    Parameters
    ----------
    pair : EIPair
    drive : float or array_like, shape (2,)
        Constant input to both, or to each.

    Returns
    -------
    PairStates

    Raises
    ------
    OptionError
        If the drive is not one or two finite numbers.

    Examples
    --------
    >>> from cortexrnn.circuit import Circuit
    >>> found = pair_states(EIPair.of_circuit(Circuit.ssn()), 10.0)
    >>> found.states.rate.values.round(3), found.states.is_inhibition_stabilised.values
    (array([[10.667, 26.725]]), array([ True]))
    """
    drive = checked_drive(drive)
    z = np.sinh(np.linspace(-np.arcsinh(_FARTHEST), np.arcsinh(_FARTHEST), _N_GRID))
    values = _mismatch(pair, drive, z)
    found = [
        brentq(lambda at: float(_mismatch(pair, drive, np.array([at]))[0]), z[i], z[i + 1], xtol=1e-14, rtol=1e-15)
        for i in np.flatnonzero(np.sign(values[:-1]) * np.sign(values[1:]) < 0.0)
    ]
    inputs = np.sort(np.concatenate([found, z[values == 0.0]]))
    excitatory = pair.activations[0](inputs)
    inhibitory = pair.activations[1](_inhibitory_input(pair, drive, excitatory))
    rates = np.stack([excitatory, inhibitory], axis=1)
    return PairStates(pair=pair, drive=drive, states=describe_states(pair, rates, np.broadcast_to(drive, rates.shape)))


def checked_drive(drive) -> np.ndarray:
    """Give a drive as two finite numbers, or raise OptionError."""
    values = np.array(drive, dtype=np.float64)
    if values.shape not in ((), (2,)) or not np.isfinite(values).all():
        raise OptionError(f"drive={drive!r} is not valid; expected one finite number, or one a population.")
    return np.broadcast_to(values, (2,)).copy()


def nullclines(pair: EIPair, drive, *, highest: tuple[float, float]) -> xr.Dataset:
    """Give both nullclines as curves in the plane of the rates.

    Parameters
    ----------
    pair : EIPair
    drive : float or array_like, shape (2,)
    highest : tuple of two float
        Largest excitatory and inhibitory rate of interest.

    Returns
    -------
    xarray.Dataset
        ``rate`` (of, point, population): on the nullcline of one population, of both; NaN outside what is of interest.

    Raises
    ------
    OptionError
        If the drive is not valid.
    """
    drive = checked_drive(drive)
    z = np.sinh(np.linspace(-np.arcsinh(1e3), np.arcsinh(1e3), _N_GRID // 4))
    on_own = pair.activations[0](z)
    (w_ee, w_ei), input_e = pair.weights[0], drive[0] + pair.bias[0]
    needed = (z - w_ee * on_own - input_e) / w_ei if w_ei else np.full_like(z, np.nan)
    swept = np.linspace(0.0, highest[0], z.size)
    answer = pair.activations[1](_inhibitory_input(pair, drive, swept))
    curves = np.stack([np.stack([on_own, needed], axis=1), np.stack([swept, answer], axis=1)])
    margin = 0.02 * np.array(highest)
    curves[((curves < -margin) | (curves > highest + margin)).any(axis=2)] = np.nan
    return xr.Dataset(
        {"rate": (("of", "point", "population"), curves)},
        coords={"of": list(POPULATIONS), "population": list(POPULATIONS)},
    )


def describe_states(pair: EIPair, rates: np.ndarray, drives: np.ndarray) -> xr.Dataset:
    """Lay steady states out with their stability and what inhibition does for it.

    Parameters
    ----------
    pair : EIPair
    rates, drives : ndarray, shape (n_states, 2)

    Returns
    -------
    xarray.Dataset
        As `PairStates.states`.
    """
    weights, unit = np.array(pair.weights), np.eye(2)
    n = len(rates)
    response, leading, gain = np.empty((n, 2, 2)), np.empty(n, dtype=complex), np.empty(n)
    for i, (rate, drive) in enumerate(zip(rates, drives, strict=True)):
        slopes = pair.slopes(weights @ rate + drive + pair.bias)
        values = np.linalg.eigvals(pair.jacobian(rate, drive))
        leading[i] = values[np.argmax(values.real)]
        gain[i] = slopes[0] * weights[0, 0]
        response[i] = np.linalg.solve(unit - slopes[:, None] * weights, np.diag(slopes))
    is_stable = leading.real < 0.0
    return xr.Dataset(
        {
            "rate": (("state", "population"), rates),
            "growth": ("state", leading.real, {"units": "1/s"}),
            "frequency_hz": ("state", np.abs(leading.imag) / (2.0 * np.pi)),
            "is_stable": ("state", is_stable),
            "excitatory_gain": ("state", gain),
            "is_inhibition_stabilised": ("state", is_stable & (gain > 1.0)),
            "response": (("state", "population", "driven"), response),
            "is_paradoxical": ("state", response[:, 1, 1] < 0.0),
        },
        coords={"population": list(POPULATIONS), "driven": list(POPULATIONS)},
    )


def _mismatch(pair: EIPair, drive: np.ndarray, z: np.ndarray) -> np.ndarray:
    """Give by how much excitatory inputs differ from what they bring about."""
    excitatory = pair.activations[0](z)
    inhibitory = pair.activations[1](_inhibitory_input(pair, drive, excitatory))
    w_ee, w_ei = pair.weights[0]
    return z - w_ee * excitatory - w_ei * inhibitory - drive[0] - pair.bias[0]


def _inhibitory_input(pair: EIPair, drive: np.ndarray, excitatory: np.ndarray) -> np.ndarray:
    """Give the one inhibitory input that is steady for each excitatory rate, by bisection."""
    phi, (w_ie, w_ii) = pair.activations[1], pair.weights[1]
    given = w_ie * excitatory + drive[1] + pair.bias[1]
    # Without its own inhibition it would be `given`; the rate there inhibits it by more than its own.
    ends = np.sort(np.stack([given, given + w_ii * phi(given)]), axis=0)
    # Halved on a scale that is logarithmic far from zero: ends may be of very different size.
    low, high = np.arcsinh(ends)
    for _ in range(_N_HALVINGS):
        middle = 0.5 * (low + high)
        z = np.sinh(middle)
        is_above = z - w_ii * phi(z) > given
        low, high = np.where(is_above, low, middle), np.where(is_above, middle, high)
    return np.sinh(0.5 * (low + high))


def _as_tuples(values: np.ndarray):
    """Give an array as nested tuples of floats."""
    return tuple(map(tuple, values.tolist())) if values.ndim == 2 else tuple(values.tolist())
