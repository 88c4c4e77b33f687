"""State-dependent gain: by how much rates follow small inputs at every operating point, slowly and at frequencies.

Around a fixed point ``x = F(x, I)`` with ``J = dF/dx``, ``B = dF/dI`` and ``R = d(rates)/dx`` the map answers a small
input of frequency f with ``H(f) = R (exp(2 pi i f dt) - J)^-1 B``, exactly; ``H(0)``, the static gain, is the slope of
the rates of the fixed point itself.
"""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import xarray as xr

from cortexrnn._checks import check_count
from cortexrnn.cells.activation import KINDS, Activation
from cortexrnn.cells.rate_parts import CURRENT
from cortexrnn.errors import NumericalWarning, OptionError
from cortexrnn.theory.fixed_points import fixed_points
from cortexrnn.theory.modes import count_growing, count_unstable, flow_exponents
from cortexrnn.theory.rate_system import RateSystem
from cortexrnn.theory.response import InputFamily, input_family
from cortexrnn.theory.root_search import SINGULAR
from cortexrnn.theory.system import System

if TYPE_CHECKING:
    from matplotlib.axes import Axes

# Central differences of fourth order on a step of a thousandth: 1e-12 both of truncation and of rounding.
_STENCIL = ((-2.0, 1.0 / 12.0), (-1.0, -2.0 / 3.0), (1.0, 2.0 / 3.0), (2.0, -1.0 / 12.0))
_STEP = 1e-3
# Differences on this and half this step that part by more do so at a kink.
_KINK = 1e-5
# Newton's steps from a prediction, how small the last must be, and how far they may lead relative to the way predicted.
_MOST_NEWTON, _NEWTON, _NEAR = 12, 1e-12, 0.5
_SHORTEST = 2.0**-16
# Two results are one point, and a singular one is where a branch ends, if they are nearer than this.
_SAME, _SAME_SINGULAR = 1e-6, 3e-2
# A component of the singular direction that is smaller is rounding.
_COMPONENT = 1e-8


@dataclass(frozen=True, kw_only=True, slots=True)
class StateGain:
    """Gains of every unit to every input over operating points.

    Attributes
    ----------
    data : xarray.Dataset
        Over (branch, level): `is_present`, whether the branch has a point at this level; `is_stable`, `n_unstable`
        (directions, of the flow where there is one; -1 without a point) and `is_singular`, where the gain diverges.
        Over (branch, level, state): `states`; over (branch, level, unit): `rate`. Over (branch, level, unit, input):
        `static_gain`, infinite at a singular point for units that move there and NaN for the others; at an unstable
        point it is the slope of the branch, which no experiment sees. Over (branch, level, frequency, unit, input):
        `dynamic_gain`, complex, NaN where flow or map are not stable. `background` over (level, input).
    """

    data: xr.Dataset

    def plot(self, ax: Axes | None = None, *, channel: str = "", unit: int | None = None) -> Axes:
        """Draw the static gain over the background, stable branches solid, unstable ones dashed.

        Parameters
        ----------
        ax : matplotlib.axes.Axes, optional
            New ones if not given.
        channel : str
            Input; the first if empty.
        unit : int, optional
            The mean over units by default.

        Returns
        -------
        matplotlib.axes.Axes

        Raises
        ------
        OptionError
            If there is no such input or unit.
        """
        from cortexrnn.report.figure_file import own_axes
        from cortexrnn.report.response import plot_static_gain

        return plot_static_gain(own_axes() if ax is None else ax, self._chosen(channel, unit))

    def plot_frequencies(self, ax: Axes | None = None, *, channel: str = "", unit: int | None = None) -> Axes:
        """Draw the size of the dynamic gain over the frequency, one line a level and stable branch.

        Parameters
        ----------
        ax, channel, unit
            As for `plot`.

        Returns
        -------
        matplotlib.axes.Axes

        Raises
        ------
        OptionError
            If there is no such input or unit, or no frequency was asked for.
        """
        from cortexrnn.report.figure_file import own_axes
        from cortexrnn.report.response import plot_dynamic_gain

        if not self.data.sizes["frequency"]:
            raise OptionError("there is no dynamic gain to draw.", hint="Give frequencies_hz to state_gain().")
        return plot_dynamic_gain(own_axes() if ax is None else ax, self._chosen(channel, unit))

    def _chosen(self, channel: str, unit: int | None) -> xr.Dataset:
        """Give the gains of one input, of one unit or of the mean over units."""
        names = [str(name) for name in self.data["input"].values]
        if channel and channel not in names:
            raise OptionError(f"channel={channel!r} is unknown; there are {', '.join(names)}.")
        n = self.data.sizes["unit"]
        if unit is not None and check_count("unit", unit, at_least=0) >= n:
            raise OptionError(f"unit={unit} is unknown; there are {n} units.")
        data = self.data.sel(input=channel or names[0])
        words = "mean over units" if unit is None and n > 1 else f"unit {unit or 0}"
        data = data.mean("unit", skipna=False, keep_attrs=True) if unit is None else data.isel(unit=unit)
        return data.assign_attrs(unit=words)


class _Point(NamedTuple):
    """A fixed point of a level, and whether the Jacobian is singular there."""

    state: np.ndarray
    is_singular: bool


def state_gain(
    thing: Any,
    levels: np.ndarray,
    *,
    frequencies_hz: np.ndarray = (),
    n_starts: int = 64,
    seed: int = 0,
) -> StateGain:
    """Give the gains of a network at the fixed points of every background.

    All fixed points of every level are looked for, and each is followed to the next level, so that a point that keeps
    existing keeps its branch. A branch ends where its point merges with another one.

    Parameters
    ----------
    thing : Circuit, trained network, callable or InputFamily
        As `cortexrnn.theory.response.input_family` takes it.
    levels : array_like, shape (n_levels, n_inputs), or (n_levels,) for one input
        Constant inputs, along a path.
    frequencies_hz : array_like, shape (n_frequencies,)
        Of the dynamic gain, at most half the rate of steps.
    n_starts : int
        Starts of the search at every level.
    seed : int
        Of the starts.

    Returns
    -------
    StateGain

    Raises
    ------
    DataError
        If the levels do not fit.
    OptionError
        If a frequency is not valid or there is no family of systems to be made.

    Warns
    -----
    NumericalWarning
        If the gain diverges at a point, a level has no fixed point, or a step is not smooth in its input.

    Notes
    -----
    J is the analytic one everywhere, and so are B and R of circuits, but B where plastic synapses send into units of
    the rate form. There, and for cell networks, B and R are central differences of fourth order, good to some 1e-11 of
    their size; a second look with half the step warns where a unit sits on a kink.
    """
    family = input_family(thing)
    background = family.check_levels("levels", levels)
    frequencies_hz = np.atleast_1d(np.asarray(frequencies_hz, dtype=float))
    system = family(background[0])
    if not np.all((frequencies_hz >= 0.0) & (frequencies_hz <= 0.5 / system.dt_s + 1e-9)):
        raise OptionError(f"frequencies_hz are not valid; expected 0 to {0.5 / system.dt_s:g}, half the rate of steps.")
    branches: list[dict[int, _Point]] = []
    for k, level in enumerate(background):
        found = _search(family(level), n_starts, seed)
        reached = _follow(family, branches, k, background) if k else []
        _link(branches, k, reached, found)
    return StateGain(data=_collect(family, branches, background, frequencies_hz))


def _search(system: System, n_starts: int, seed: int) -> list[_Point]:
    """Give the fixed points of a level, the fewest unstable directions first."""
    data = fixed_points(system, n_starts=n_starts, seed=seed).data
    return [_Point(x, kind == SINGULAR) for x, kind in zip(data["states"].values, data["kind"].values, strict=True)]


def _follow(family: InputFamily, branches: list, k: int, background: np.ndarray) -> list[tuple[int, np.ndarray, bool]]:
    """Give, of every branch that reaches the level before, its number, how far it got and whether to this level."""
    before, now = background[k - 1], background[k]
    alive = [(number, branch[k - 1]) for number, branch in enumerate(branches) if k - 1 in branch]
    return [(number, *_carry(family, before, now, point)) for number, point in alive]


def _carry(family: InputFamily, before: np.ndarray, now: np.ndarray, point: _Point) -> tuple[np.ndarray, bool]:
    """Follow a point from one level to the next; give the last state that was found and whether it is the end."""
    x, s, length = point.state, 0.0, 1.0
    while s < 1.0 and not point.is_singular:
        to = min(s + length, 1.0)
        after = _advance(family, before + s * (now - before), before + to * (now - before), x)
        if after is not None:
            x, s, length = after, to, 2.0 * length
            continue
        length *= 0.5
        if length < _SHORTEST:
            break
    return x, s == 1.0


def _advance(family: InputFamily, here: np.ndarray, there: np.ndarray, x: np.ndarray) -> np.ndarray | None:
    """Give the fixed point at a level near by that belongs to the one here, or None where that is not certain."""
    eye, h = np.eye(x.size), 1e-4 * (there - here)
    matrix = eye - family(here).jacobian(x[None])[0]
    # Differences of second order are enough for a guess.
    push = (family(here + h).step(x[None]) - family(here - h).step(x[None]))[0] / 2e-4
    try:
        moved = np.linalg.solve(matrix, push)
        after = _newton(family(there), x + moved)
    except np.linalg.LinAlgError:
        return None
    if after is None:
        return None
    # On the other side of a fold the determinant has the other sign.
    sign = np.linalg.slogdet(eye - family(there).jacobian(after[None])[0])[0]
    allowed = _NEAR * np.linalg.norm(moved) + _SAME * (1.0 + np.linalg.norm(x))
    is_certain = sign == np.linalg.slogdet(matrix)[0] and np.linalg.norm(after - x - moved) <= allowed
    return after if is_certain else None


def _newton(system: System, x: np.ndarray) -> np.ndarray | None:
    """Find the fixed point next to a state, or None."""
    eye = np.eye(x.size)
    for _ in range(_MOST_NEWTON):
        residual = (system.step(x[None]) - x)[0]
        step = np.linalg.solve(eye - system.jacobian(x[None])[0], residual)
        x = x + step
        if not np.isfinite(x).all():
            return None
        if np.abs(step).max() <= _NEWTON * (1.0 + np.abs(x).max()):
            return x
    return None


def _link(branches: list[dict[int, _Point]], k: int, reached: list, found: list[_Point]) -> None:
    """Give every point of a level to the branch that leads there, and a branch of its own to every other one."""
    free = list(found)
    for number, x, is_end in reached:
        limit = (_SAME if is_end else _SAME_SINGULAR) * (1.0 + np.linalg.norm(x))
        near = [p for p in free if np.linalg.norm(p.state - x) <= limit and (is_end or p.is_singular)]
        if near:
            branches[number][k] = min(near, key=lambda p, x=x: float(np.linalg.norm(p.state - x)))
            free = [p for p in free if p is not branches[number][k]]
        elif is_end:
            # The search's starts have missed it.
            branches[number][k] = _Point(x, False)
    branches.extend({k: point} for point in free)


def _collect(family: InputFamily, branches: list, background: np.ndarray, frequencies_hz: np.ndarray) -> xr.Dataset:
    """Lay states and gains out over branches and levels."""
    system = family(background[0])
    shape = (len(branches), len(background))
    n, n_inputs, n_f = system.n_units, background.shape[1], frequencies_hz.size
    flags = {name: np.zeros(shape, bool) for name in ("is_present", "is_stable", "is_singular")}
    n_unstable = np.full(shape, -1)
    states, rate = np.full((*shape, system.size), np.nan), np.full((*shape, n), np.nan)
    static = np.full((*shape, n, n_inputs), np.nan)
    dynamic = np.full((*shape, n_f, n, n_inputs), np.nan, complex)
    largest, has_kink = np.abs(background).max(axis=0), False
    scale = np.where(largest > 0.0, largest, 1.0)
    for b, branch in enumerate(branches):
        for k, point in branch.items():
            at, x = family(background[k]), point.state[None]
            states[b, k], rate[b, k], n_unstable[b, k] = x[0], at.rates(x)[0], _count_unstable(at, x)
            is_stable = n_unstable[b, k] == 0 and not point.is_singular
            for name, value in (("is_present", True), ("is_stable", is_stable), ("is_singular", point.is_singular)):
                flags[name][b, k] = value
            by_input, is_kink = _input_derivative(family, background[k], x, scale)
            by_state, jacobian = _rate_derivative(at, x), at.jacobian(x)[0]
            has_kink |= is_kink
            static[b, k] = _static(jacobian, by_input, by_state, point.is_singular)
            if is_stable and not count_unstable(np.linalg.eigvals(jacobian[None]))[0]:
                turns = np.exp(2j * np.pi * frequencies_hz * at.dt_s)[:, None, None]
                dynamic[b, k] = by_state @ np.linalg.solve(turns * np.eye(len(jacobian)) - jacobian, by_input[None])
    _warn(system, flags, has_kink)
    over = ("branch", "level")
    return xr.Dataset(
        {
            **{name: (over, values) for name, values in flags.items()},
            "n_unstable": (over, n_unstable),
            "states": ((*over, "state"), states),
            "rate": ((*over, "unit"), rate),
            "static_gain": ((*over, "unit", "input"), static),
            "dynamic_gain": ((*over, "frequency", "unit", "input"), dynamic),
            "background": (("level", "input"), background),
        },
        coords={
            "state": system.labels,
            "input": list(family.names),
            "frequency": ("frequency", frequencies_hz, {"units": "Hz"}),
        },
        attrs={"system": system.name, "dt_s": system.dt_s},
    )


def _count_unstable(system: System, x: np.ndarray) -> int:
    """Count the unstable directions, of the flow where there is one."""
    if system.is_flow:
        return int(count_growing(flow_exponents(system, x))[0])
    return int(count_unstable(np.linalg.eigvals(system.jacobian(x)))[0])


def _warn(system: System, flags: dict[str, np.ndarray], has_kink: bool) -> None:
    """Warn of gains that diverge and of kinks."""
    levels = np.flatnonzero(flags["is_singular"].any(axis=0))
    if levels.size:
        warnings.warn(
            f"{system.name}: the Jacobian is singular and the gain diverges at level {', '.join(map(str, levels))}.",
            NumericalWarning,
            stacklevel=4,
        )
    if has_kink:
        warnings.warn(
            f"{system.name}: a unit sits at a kink of its activation; its gain is the mean of both sides.",
            NumericalWarning,
            stacklevel=4,
        )


def _static(jacobian: np.ndarray, by_input: np.ndarray, by_state: np.ndarray, is_singular: bool) -> np.ndarray:
    """Give the static gain, infinite where the singular direction is driven and seen."""
    matrix = np.eye(len(jacobian)) - jacobian
    if not is_singular:
        return by_state @ np.linalg.solve(matrix, by_input)
    left, _, right = np.linalg.svd(matrix)
    moves = np.abs(by_state @ right[-1])[:, None] * np.abs(left[:, -1] @ by_input)[None]
    largest = np.linalg.norm(by_state, axis=1).max() * np.linalg.norm(by_input)
    return np.where(moves > _COMPONENT * largest, np.inf, np.nan)


def _input_derivative(family: InputFamily, level: np.ndarray, x: np.ndarray, scale: np.ndarray) -> tuple:
    """Give the derivative of a step by the inputs, shape (size, n_inputs), and whether it has a kink there."""
    system, steps = family(level), np.eye(level.size) * scale
    if isinstance(system, RateSystem) and (system.units.form == CURRENT or system.is_plain):
        # Inputs add to the bias, in proportion.
        loading = np.stack([(family(level + d).bias - system.bias) / w for d, w in zip(steps, scale, strict=True)], 1)
        found = np.zeros((system.size, level.size))
        found[: system.n_units] = system.move[:, None] * loading
        if system.units.form != CURRENT:
            argument = system.weights.recurrent @ system.rates(x)[0] + system.bias
            found[: system.n_units] *= _slopes(system, argument)[:, None]
        return found, False

    def differences(h: float) -> np.ndarray:
        columns = [
            sum(weight * family(level + offset * h * d).step(x)[0] for offset, weight in _STENCIL) / (h * w)
            for d, w in zip(steps, scale, strict=True)
        ]
        return np.stack(columns, axis=1)

    coarse, fine = differences(_STEP), differences(0.5 * _STEP)
    return fine, bool(np.abs(fine - coarse).max() > _KINK * np.abs(fine).max(initial=0.0))


def _slopes(system: RateSystem, z: np.ndarray) -> np.ndarray:
    """Give the derivatives of the activations of all units, shape (n_units,)."""
    units, out = system.units, np.empty_like(z)
    for k, (code, (gain, threshold, exponent)) in enumerate(zip(units.codes, units.shapes, strict=True)):
        own = slice(units.first[k], units.first[k + 1])
        out[own] = Activation(kind=KINDS[code], gain=gain, threshold=threshold, exponent=exponent).slope(z[own])
    return out


def _rate_derivative(system: System, x: np.ndarray) -> np.ndarray:
    """Give the derivative of the rates by the state, shape (n_units, size)."""
    if isinstance(system, RateSystem):
        n = system.n_units
        slope = _slopes(system, x[0, :n]) if system.units.form == CURRENT else np.ones(n)
        return np.hstack([np.diag(slope), np.zeros((n, system.size - n))])
    h = _STEP * (1.0 + np.abs(x[0]))
    around = np.stack([x + offset * np.diag(h) for offset, _ in _STENCIL])
    weights = np.array([weight for _, weight in _STENCIL])
    rates = np.stack([system.rates(states) for states in around])
    return np.einsum("o,oki,k->ik", weights, rates, 1.0 / h)
