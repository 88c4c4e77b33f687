"""Rate circuits, with and without plastic synapses, as systems."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from cortexrnn._checks import check_choice, check_positive
from cortexrnn.cells.activation import KINDS, Activation
from cortexrnn.cells.rate_parts import CURRENT, RateUnits, RateWeights
from cortexrnn.cells.stp_adjoint import (
    Synapses,
    recover_backward,
    recover_forward,
    release_backward,
    release_forward,
    spread_synapses,
)
from cortexrnn.circuit.build import build_inputs
from cortexrnn.circuit.rate_cell import circuit_sources, circuit_units
from cortexrnn.circuit.spec import Circuit
from cortexrnn.errors import OptionError
from cortexrnn.numerics.lanes import N_LANES
from cortexrnn.numerics.streams import stream
from cortexrnn.theory.system import System

METHODS = ("exponential_euler", "euler")


class RateSystem(System):
    """A circuit of leaky rate units at a constant input; the state is y, then u and x of every plastic source.

    Parameters
    ----------
    name : str
    units : RateUnits
    weights : RateWeights
        In float64; input weights are not used.
    drive : ndarray, shape (n_units,)
        Constant current of every unit beside its bias.
    method : {"exponential_euler", "euler"}
        The map. Plastic synapses take the step of `cortexrnn.simulate` in both.
    start_sd : float
        Deviation of the currents that `start` draws.

    Attributes
    ----------
    units, weights
        As given.
    bias : ndarray, shape (n_units,)
        Bias and drive.
    move : ndarray, shape (n_units,)
        Part of the way to its target that a unit goes in a step.
    is_plain : bool
        Whether sources are the units: none is plastic, none is missing.
    """

    is_flow = True

    def __init__(
        self, name: str, units: RateUnits, weights: RateWeights, *, drive: np.ndarray, method: str,
        start_sd: float = 1.0,
    ):  # fmt: skip
        self.name, self.dt_s = name, units.dt_s
        self.n_units = weights.bias.size
        self._n_plastic = units.plastic_unit.size
        self.size = self.n_units + 2 * self._n_plastic
        self.units, self.weights, self._start_sd = units, weights, start_sd
        self.bias = weights.bias + drive
        ratio = units.dt_s / weights.tau_s
        check_choice("method", method, METHODS)
        self.move = -np.expm1(-ratio) if method == "exponential_euler" else ratio
        self._shapes = [
            Activation(kind=KINDS[code], gain=gain, threshold=threshold, exponent=exponent)
            for code, (gain, threshold, exponent) in zip(units.codes, units.shapes, strict=True)
        ]
        self._sources = np.concatenate([units.static_unit, units.plastic_unit]).astype(int)
        # Where no unit is missing or plastic, sources are units.
        self.is_plain = self._n_plastic == 0 and np.array_equal(self._sources, np.arange(self.n_units))

    @property
    def labels(self) -> list[str]:
        """Names of the state's entries."""
        kind = "current" if self.units.form == CURRENT else "rate"
        senders = self.units.plastic_unit
        return [f"{kind} {k}" for k in range(self.n_units)] + [f"{v} {k}" for v in ("u", "x") for k in senders]

    def start(self, n: int, *, seed: int) -> np.ndarray:
        """Draw currents, and begin with rested synapses; in the rate form the rates of these currents."""
        current = self._start_sd * stream(seed, "theory", "start").normal(size=(n, self.n_units))
        y = current if self.units.form == CURRENT else self._activate(current)
        rest = np.concatenate([self.weights.U, np.ones(self._n_plastic)])
        return np.hstack([y, np.broadcast_to(rest, (n, rest.size))])

    def rates(self, states: np.ndarray) -> np.ndarray:
        """Give the rates."""
        y = states[:, : self.n_units]
        return self._activate(y) if self.units.form == CURRENT else y

    def step(self, states: np.ndarray) -> np.ndarray:
        """Advance by one step."""
        y, u, x = self._split(states)
        rate = self.rates(states)
        z = self._argument(rate, u, x)
        target = z if self.units.form == CURRENT else self._activate(z)
        return np.hstack([y + self.move * (target - y), *self._recover(rate, u, x)])

    def push(self, states: np.ndarray, vectors: np.ndarray) -> np.ndarray:
        """Apply the derivative of the step."""
        n = self.n_units
        _, u, x = self._split(states)
        rate, slope = self.rates(states), self._state_slopes(states)
        by_y = vectors[:, :n]
        by_rate = by_y * slope[:, :, None]
        by_z = self._push_argument(rate, (u, x), by_rate, vectors[:, n:])
        if self.units.form != CURRENT:
            by_z *= self._slopes(self._argument(rate, u, x))[:, :, None]
        out = np.empty(vectors.shape)
        out[:, :n] = by_y + self.move[:, None] * (by_z - by_y)
        if self._n_plastic:
            out[:, n:] = self._push_recover(rate, (u, x), by_rate, vectors[:, n:])
        return out

    def jacobian(self, states: np.ndarray) -> np.ndarray:
        """Give the derivative of the step: without plastic synapses the weights, scaled."""
        if not self.is_plain:
            return super().jacobian(states)
        recurrent = self.weights.recurrent
        if self.units.form == CURRENT:
            out = (self.move[:, None] * recurrent) * self._state_slopes(states)[:, None, :]
        else:
            slope = self._slopes(self.rates(states) @ recurrent.T + self.bias)
            out = (self.move * slope)[:, :, None] * recurrent
        np.einsum("kii->ki", out)[...] += 1.0 - self.move
        return out

    def velocity(self, states: np.ndarray) -> np.ndarray:
        """Give the time derivative."""
        y, u, x = self._split(states)
        rate = self.rates(states)
        z = self._argument(rate, u, x)
        target = z if self.units.form == CURRENT else self._activate(z)
        of_y = (target - y) / self.weights.tau_s
        if not self._n_plastic:
            return of_y
        r = np.maximum(rate[:, self.units.plastic_unit], 0.0) * self.units.rate_scale_hz
        laws = self._laws()
        used = u + laws.jumps * laws.U * (1.0 - u)
        of_u = laws.facilitates * ((laws.U - u) * laws.per_tau_f + laws.U * (1.0 - u) * r)
        return np.hstack([of_y, of_u, (1.0 - x) * laws.per_tau_d - used * x * r])

    def velocity_jacobian(self, states: np.ndarray) -> np.ndarray:
        """Give the derivative of the velocity."""
        n, m, size = self.n_units, self._n_plastic, self.size
        _, u, x = self._split(states)
        rate, slope = self.rates(states), self._state_slopes(states)
        eye = np.broadcast_to(np.eye(size), (len(states), size, size))
        by_rate = eye[:, :n] * slope[:, :, None]
        by_z = self._push_argument(rate, (u, x), by_rate, eye[:, n:])
        if self.units.form != CURRENT:
            by_z *= self._slopes(self._argument(rate, u, x))[:, :, None]
        out = np.zeros((len(states), size, size))
        out[:, :n] = (by_z - eye[:, :n]) / self.weights.tau_s[:, None]
        if m:
            laws, unit = self._laws(), self.units.plastic_unit
            positive = rate[:, unit] > 0.0
            scale = self.units.rate_scale_hz
            r = np.where(positive, rate[:, unit], 0.0) * scale
            by_r = by_rate[:, unit] * positive[:, :, None] * scale
            by_u, by_x = eye[:, n : n + m], eye[:, n + m :]
            keeps = 1.0 - laws.jumps * laws.U
            used = u + laws.jumps * laws.U * (1.0 - u)
            slower = laws.per_tau_f + laws.U * r
            out[:, n : n + m] = laws.facilitates[:, None] * (
                (laws.U * (1.0 - u))[:, :, None] * by_r - slower[:, :, None] * by_u
            )
            out[:, n + m :] = (
                -(laws.per_tau_d + used * r)[:, :, None] * by_x
                - (x * r * keeps)[:, :, None] * by_u
                - (used * x)[:, :, None] * by_r
            )
        return out

    def _split(self, states: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Cut states into y, u and x."""
        n, m = self.n_units, self._n_plastic
        return states[:, :n], states[:, n : n + m], states[:, n + m :]

    def _activate(self, z: np.ndarray) -> np.ndarray:
        """Apply every population's activation."""
        first, out = self.units.first, np.empty_like(z)
        for k, shape in enumerate(self._shapes):
            out[:, first[k] : first[k + 1]] = shape(z[:, first[k] : first[k + 1]])
        return out

    def _slopes(self, z: np.ndarray) -> np.ndarray:
        """Give the derivative of every population's activation."""
        first, out = self.units.first, np.empty_like(z)
        for k, shape in enumerate(self._shapes):
            out[:, first[k] : first[k + 1]] = shape.slope(z[:, first[k] : first[k + 1]])
        return out

    def _state_slopes(self, states: np.ndarray) -> np.ndarray:
        """Give the derivatives of rates with respect to the state's y."""
        y = states[:, : self.n_units]
        return self._slopes(y) if self.units.form == CURRENT else np.ones_like(y)

    def _argument(self, rate: np.ndarray, u: np.ndarray, x: np.ndarray) -> np.ndarray:
        """Give the argument z of every unit."""
        if self.is_plain:
            return rate @ self.weights.recurrent.T + self.bias
        sent = rate[:, self._sources]
        if self._n_plastic:
            released = np.empty(u.size)
            release_forward(u.ravel(), x.ravel(), self._sent_plastic(rate), self._laws(len(u)), released)
            sent[:, self.units.static_unit.size :] = released.reshape(u.shape)
        return sent @ self.weights.recurrent.T + self.bias

    def _push_argument(self, rate, synapses, by_rate, by_synapses):
        """Apply the derivative of the argument to vectors of rates and of synapses' states."""
        if self.is_plain:
            return self.weights.recurrent @ by_rate
        by_sent = by_rate[:, self._sources]
        if self._n_plastic:
            u, x = synapses
            m, n_static = self._n_plastic, self.units.static_unit.size
            by_u, by_x, by_r, by_law = np.zeros((4, u.size))
            laws = self._laws(len(u))
            release_backward(
                np.ones(u.size), u.ravel(), x.ravel(), self._sent_plastic(rate), laws, (by_u, by_x), by_r, by_law
            )
            parts = [part.reshape(*u.shape, 1) for part in (by_r, by_u, by_x)]
            by_sent[:, n_static:] = (
                parts[0] * by_sent[:, n_static:] + parts[1] * by_synapses[:, :m] + parts[2] * by_synapses[:, m:]
            )
        return self.weights.recurrent @ by_sent

    def _recover(self, rate: np.ndarray, u: np.ndarray, x: np.ndarray) -> list[np.ndarray]:
        """Advance the synapses by one step."""
        if not self._n_plastic:
            return []
        new_u, new_x = np.empty((2, u.size))
        scales = (float(self.units.rate_scale_hz), float(self.dt_s))
        recover_forward(u.ravel(), x.ravel(), self._sent_plastic(rate), scales, self._laws(len(u)), new_u, new_x)
        return [new_u.reshape(u.shape), new_x.reshape(x.shape)]

    def _push_recover(self, rate, synapses, by_rate, by_synapses):
        """Apply the derivative of the synapses' step: every synapse by itself, a 2 x 3 matrix."""
        u, x = synapses
        m = self._n_plastic
        scales, laws = (float(self.units.rate_scale_hz), float(self.dt_s)), self._laws(len(u))
        rows = []
        for k in range(2):
            state = (np.full(u.size, float(k == 0)), np.full(u.size, float(k == 1)))
            by_r, unused = np.zeros(u.size), tuple(np.zeros((3, u.size)))
            recover_backward(u.ravel(), x.ravel(), self._sent_plastic(rate), scales, laws, state, by_r, unused)
            of_u, of_x, of_r = (part.reshape(*u.shape, 1) for part in (*state, by_r))
            from_rate = of_r * by_rate[:, self.units.plastic_unit]
            rows.append(of_u * by_synapses[:, :m] + of_x * by_synapses[:, m:] + from_rate)
        return np.concatenate(rows, axis=1)

    def _sent_plastic(self, rate: np.ndarray) -> np.ndarray:
        """Give the rates at the plastic synapses, flat."""
        return rate[:, self.units.plastic_unit].ravel()

    def _laws(self, n: int = 1) -> Synapses:
        """Give the synapses' parameters for `n` states, one after the other."""
        weights = self.weights
        spread = spread_synapses(weights.U, weights.tau_f_s, weights.tau_d_s, self.units.convention)
        return Synapses(*(np.tile(part[::N_LANES], n) for part in spread))


def circuit_system(
    circuit: Circuit,
    *,
    dt_s: float | None = None,
    inputs: Mapping[str, float] | None = None,
    method: str = "exponential_euler",
) -> RateSystem:
    """Give a circuit at constant inputs as a system.

    Parameters
    ----------
    circuit : Circuit
        Noise is left out.
    dt_s : float, optional
        Time step; a tenth of the shortest time constant if not given.
    inputs : mapping of str to float, optional
        Level of every channel; channels that are not named are silent.
    method : {"exponential_euler", "euler"}
        Of the map.

    Returns
    -------
    RateSystem

    Raises
    ------
    OptionError
        If an argument is not valid or there is no such channel.
    """
    dt_s = check_positive("dt_s", dt_s if dt_s is not None else 0.1 * float(np.min(circuit.tau_s)))
    names = circuit.channels
    levels = dict(inputs or {})
    unknown = [name for name in levels if name not in names]
    if unknown:
        raise OptionError(
            f"inputs has {unknown[0]!r}; the circuit has the channels {', '.join(names) or 'none'}.", where=circuit.name
        )
    drive = np.zeros(circuit.size)
    if names:
        drive = build_inputs(circuit) @ np.array([float(levels.get(name, 0.0)) for name in names])
    matrix, static, plastic = circuit_sources(circuit)
    laws = [circuit.plasticity[name] for name, _ in plastic]
    weights = RateWeights(
        recurrent=np.ascontiguousarray(matrix),
        input=np.zeros((circuit.size, 0)),
        bias=np.asarray(circuit.bias, float),
        tau_s=np.asarray(circuit.tau_s, float),
        start=np.zeros((1, circuit.size)),
        U=np.array([law.U for law in laws], float),
        tau_f_s=np.array([law.tau_f_s for law in laws], float),
        tau_d_s=np.array([law.tau_d_s for law in laws], float),
    )
    units = circuit_units(circuit, static, plastic, dt_s)
    return RateSystem(circuit.name, units, weights, drive=drive, method=method)
