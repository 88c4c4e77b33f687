"""How a system responds to input: whether two inputs add up, and by how much rates move at every operating point.

A `System` has one constant input. What is asked here needs many, and takes a function from input levels to systems, or
a circuit or trained network from which `input_family` makes one. An input over time is a new system at every step.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import xarray as xr

from cortexrnn._checks import check_positive
from cortexrnn.circuit.build import build_inputs
from cortexrnn.circuit.spec import Circuit
from cortexrnn.errors import DataError, NumericalError, OptionError
from cortexrnn.theory.rate_system import RateSystem, circuit_system
from cortexrnn.theory.system import System

if TYPE_CHECKING:
    from matplotlib.axes import Axes

SUBLINEAR, LINEAR, SUPRALINEAR = "sublinear", "linear", "supralinear"

# Indices below this are rounding; so are predictions this much smaller than the rates themselves.
_ROUNDING = 1e-9
_SETTLED, _MOST_STEPS = 1e-13, 50_000
_KEPT_SYSTEMS = 128


class InputFamily:
    """Systems of one network at all inputs; call it with the levels of its inputs.

    Parameters
    ----------
    make : callable
        Takes levels, an ndarray of shape (n_inputs,), gives the `System`.
    names : tuple of str
        Of the inputs.
    """

    def __init__(self, make: Callable[[np.ndarray], System], names: tuple[str, ...]):
        self.names = names
        # Inputs over time come back to the same few levels, or to neighbours of the last one.
        self._at = functools.lru_cache(_KEPT_SYSTEMS)(lambda levels: make(np.array(levels)))

    def __call__(self, levels: np.ndarray) -> System:
        """Give the system at levels, shape (n_inputs,)."""
        return self._at(tuple(map(float, levels)))

    def check_levels(self, name: str, levels: Any) -> np.ndarray:
        """Return levels as (n, n_inputs), or refuse them.

        Parameters
        ----------
        name : str
            What they are called in a message.
        levels : array_like, shape (n, n_inputs), or (n,) for one input

        Returns
        -------
        ndarray, shape (n, n_inputs)

        Raises
        ------
        DataError
            If the shape is another one or a number is not finite.
        """
        found, n = np.asarray(levels, dtype=float), len(self.names)
        found = found[:, None] if found.ndim == 1 and n == 1 else found
        if found.ndim != 2 or found.shape[1] != n or not len(found) or not np.isfinite(found).all():
            raise DataError(f"{name} has shape {np.shape(levels)}; expected finite numbers of shape (n, {n}).")
        return found


def input_family(
    thing: Any, *, n_inputs: int | None = None, dt_s: float | None = None, method: str = "exponential_euler"
) -> InputFamily:
    """Make the systems of a network at all inputs.

    Parameters
    ----------
    thing : Circuit, an object with a method ``system(inputs)``, or callable
        A trained network has such a method. A callable takes levels and gives the `System`.
    n_inputs : int, optional
        For a callable, and for an object whose ``model`` does not say; 1 by default.
    dt_s, method
        For a circuit, as `cortexrnn.theory.rate_system.circuit_system` takes them.

    Returns
    -------
    InputFamily
        A circuit's inputs are its channels, in their order.

    Raises
    ------
    OptionError
        If it is none of these, a circuit has no channel, or options do not belong to it.
    """
    if isinstance(thing, InputFamily):
        return thing
    if isinstance(thing, Circuit):
        return _circuit_family(thing, dt_s, method)
    if dt_s is not None:
        raise OptionError(f"dt_s={dt_s!r} belongs to circuits: a {type(thing).__name__} has its own.")
    if isinstance(thing, System):
        raise OptionError(
            f"{thing.name!r} is a system at one input; expected a function from inputs to systems.",
            hint="Give the circuit or the trained network itself.",
        )
    if not callable(getattr(thing, "system", None)) and not callable(thing):
        raise OptionError(f"a {type(thing).__name__} is no family; expected a Circuit, a network, or a function.")
    n = n_inputs or getattr(getattr(thing, "model", None), "n_inputs", 1)
    return InputFamily(getattr(thing, "system", thing), tuple(f"input {k}" for k in range(n)))


def _circuit_family(circuit: Circuit, dt_s: float | None, method: str) -> InputFamily:
    """Build the circuit's weights once and lay every drive over them."""
    if not circuit.channels:
        raise OptionError("the circuit has no input channel.", where=circuit.name, hint="Add an Input.")
    silent, loading = circuit_system(circuit, dt_s=dt_s, method=method), build_inputs(circuit)

    def make(levels: np.ndarray) -> System:
        return RateSystem(silent.name, silent.units, silent.weights, drive=loading @ levels, method=method)

    return InputFamily(make, tuple(circuit.channels))


@dataclass(frozen=True, kw_only=True, slots=True)
class Superposition:
    """Whether the response to two inputs is the sum of the responses to each.

    All changes are from the response to the background alone; the linear prediction is the sum of the changes by a and
    by b. An `index` is the root mean square of what the response to both differs from the prediction by, over that of
    the prediction: 0 for a linear system. A `signed_index` is by how much the response exceeds the prediction, as
    a fraction of it (by projection): negative is sublinear. Where nothing is predicted both are infinite, or 0 where
    nothing happens either.

    Attributes
    ----------
    data : xarray.Dataset
        Rates over (time, unit), as of the end of every step: `response_a`, `response_b`, `response_both`,
        `response_none` and the prediction `linear`. `index` and `signed_index` over unit, `index_over_time` and
        `signed_index_over_time` over time, and `kind` over unit: "sublinear", "linear" or "supralinear".
    index, signed_index : float
        Over all units and times.
    """

    data: xr.Dataset
    index: float
    signed_index: float

    @property
    def kind(self) -> str:
        """Name what the system as a whole is: "sublinear", "linear" or "supralinear"."""
        return str(_name_kinds(np.array(self.index), np.array(self.signed_index)))

    def plot(self, ax: Axes | None = None) -> Axes:
        """Draw the mean response to both inputs over time beside its linear prediction.

        Parameters
        ----------
        ax : matplotlib.axes.Axes, optional
            New ones if not given.

        Returns
        -------
        matplotlib.axes.Axes
        """
        from cortexrnn.report.figure_file import own_axes
        from cortexrnn.report.response import plot_superposition

        return plot_superposition(own_axes() if ax is None else ax, self.data)

    def plot_units(self, ax: Axes | None = None) -> Axes:
        """Draw every unit's largest change against its linear prediction at that time.

        Parameters
        ----------
        ax : matplotlib.axes.Axes, optional
            New ones if not given.

        Returns
        -------
        matplotlib.axes.Axes
        """
        from cortexrnn.report.figure_file import own_axes
        from cortexrnn.report.response import plot_superposition_units

        return plot_superposition_units(own_axes() if ax is None else ax, self.data)


def superposition(
    thing: Any,
    inputs_a: np.ndarray,
    inputs_b: np.ndarray,
    *,
    background: np.ndarray | None = None,
    start: np.ndarray | None = None,
) -> Superposition:
    """Test whether the responses to two inputs add up.

    Parameters
    ----------
    thing : Circuit, trained network, callable or InputFamily
        As `input_family` takes it, which also sets the time step of a circuit; noise is left out.
    inputs_a, inputs_b : array_like, shape (n_steps, n_inputs), or (n_steps,) for one input
        Levels that are added to the background at every step.
    background : array_like, shape (n_inputs,), optional
        Constant levels; zero by default.
    start : array_like, shape (size,), optional
        State before the first step. By default the one to which the network settles under the background from zero
        rates and rested synapses.

    Returns
    -------
    Superposition

    Raises
    ------
    DataError
        If inputs or the state do not fit.
    OptionError
        If there is no family of systems to be made.
    NumericalError
        If the network does not settle, or a response is not finite.

    Notes
    -----
    Supralinear summation of weak and sublinear summation of strong inputs is what supralinear stabilised networks
    predict: Rubin, Van Hooser and Miller (2015), doi:10.1016/j.neuron.2014.12.026.
    """
    family = input_family(thing)
    a, b = family.check_levels("inputs_a", inputs_a), family.check_levels("inputs_b", inputs_b)
    if a.shape != b.shape:
        raise DataError(f"inputs_a has {len(a)} steps and inputs_b {len(b)}; expected as many.")
    rest = np.zeros(len(family.names)) if background is None else np.asarray(background, float)
    base = family.check_levels("background", np.atleast_1d(rest)[None])
    resting = family(base[0])
    state = _settle(resting) if start is None else resting.check_states(start)
    if len(state) != 1:
        raise DataError(f"start has {len(state)} states; expected one.", where=resting.name)
    courses = {"a": base + a, "b": base + b, "both": base + a + b, "none": np.broadcast_to(base, a.shape)}
    responses = {name: _respond(family, course, state) for name, course in courses.items()}
    return _compare(responses, resting)


def _settle(system: System) -> np.ndarray:
    """Run from rest until nothing moves."""
    state = np.zeros((1, system.size))
    if isinstance(system, RateSystem):
        # Zero currents or rates, but synapses as `start` has them, at rest.
        state[:, system.n_units :] = system.start(1, seed=0)[:, system.n_units :]
    for _ in range(_MOST_STEPS):
        after = system.step(state)
        if not np.isfinite(after).all():
            break
        moved = np.abs(after - state).max()
        state = after
        if moved <= _SETTLED * (1.0 + np.abs(state).max()):
            return state
    raise NumericalError(
        f"the network does not settle under the background within {_MOST_STEPS} steps.",
        where=system.name,
        hint="Give start=, the state to begin from.",
    )


def _respond(family: InputFamily, course: np.ndarray, state: np.ndarray) -> np.ndarray:
    """Give the rates after every step under inputs over time, shape (n_steps, n_units)."""
    rates = []
    with np.errstate(over="ignore", invalid="ignore"):
        for levels in course:
            system = family(levels)
            state = system.step(state)
            rates.append(system.rates(state)[0])
    if not np.isfinite(state).all():
        raise NumericalError("the response is no longer finite.", where=system.name)
    return np.stack(rates)


def _compare(responses: dict[str, np.ndarray], system: System) -> Superposition:
    """Hold the response to both inputs against the prediction from each."""
    rest = responses["none"]
    linear = responses["a"] + responses["b"] - rest
    predicted, actual = linear - rest, responses["both"] - rest
    # What is a rounding of the rates is no change of them.
    floor = _ROUNDING * max(float(np.abs(rates).max()) for rates in responses.values())
    per_unit, per_time, whole = (_indices(actual, predicted, axis, floor) for axis in (0, 1, None))
    rates = {f"response_{name}": (("time", "unit"), values) for name, values in responses.items()}
    time_s = np.round((np.arange(len(rest)) + 1) * check_positive("dt_s", system.dt_s), 12)
    data = xr.Dataset(
        {
            **rates,
            "linear": (("time", "unit"), linear),
            "index": ("unit", per_unit[0]),
            "signed_index": ("unit", per_unit[1]),
            "kind": ("unit", _name_kinds(*per_unit)),
            "index_over_time": ("time", per_time[0]),
            "signed_index_over_time": ("time", per_time[1]),
        },
        coords={
            "time": ("time", time_s, {"units": "s", "long_name": "time"}),
            "unit": np.arange(rest.shape[1]),
        },
        attrs={"system": system.name, "dt_s": system.dt_s, "index": float(whole[0]), "signed_index": float(whole[1])},
    )
    return Superposition(data=data, index=float(whole[0]), signed_index=float(whole[1]))


def _indices(actual: np.ndarray, predicted: np.ndarray, axis: int | None, floor: float) -> tuple[np.ndarray, ...]:
    """Give index and signed index along an axis, or over all."""
    n = actual.size if axis is None else actual.shape[axis]
    off = np.sqrt(np.sum((actual - predicted) ** 2, axis=axis))
    size = np.sum(predicted**2, axis=axis)
    along = np.sum((actual - predicted) * predicted, axis=axis)
    is_predicted = size > n * floor**2
    nothing = np.where(off > np.sqrt(n) * floor, np.inf, 0.0)
    safe = np.where(is_predicted, size, 1.0)
    return np.where(is_predicted, off / np.sqrt(safe), nothing), np.where(is_predicted, along / safe, nothing)


def _name_kinds(index: np.ndarray, signed: np.ndarray) -> np.ndarray:
    """Name what is sublinear, linear or supralinear."""
    return np.where(index <= _ROUNDING, LINEAR, np.where(signed < 0.0, SUBLINEAR, SUPRALINEAR))
