"""Working memory in facilitating synapses: the states of a mean field of plastic populations and their stability.

Mongillo, Barak and Tsodyks (2008), doi:10.1126/science.1150769, in rates: n items, each exciting itself through
synapses of short-term plasticity, share one inhibitory population ::

    tau dh/dt  = -h + w u x phi(h) - w_i phi_i(h_i) + background
    tau_i dh_i/dt = -h_i + w_e sum phi(h)
    du/dt = (U - u) / tau_f + U (1 - u) R,    dx/dt = (1 - x) / tau_d - u x R,    R = rate_scale phi(h)

In a steady state all items see the same ``e = background - w_i phi_i(h_i)``, and each solves
``h - w u* x* phi(h) = e``. Following one item's h gives e, the others' h are all roots at that e, and the background
is then explicit: the states of all backgrounds are curves over h, of which no root is missed that the grid resolves.
Turning points of the background along a curve are saddle-nodes.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from cortexrnn._checks import check_count, check_positive
from cortexrnn.cells.activation import Activation
from cortexrnn.cells.stp import ShortTermPlasticity
from cortexrnn.circuit import Circuit, build_weights
from cortexrnn.errors import OptionError


@dataclass(frozen=True, kw_only=True, slots=True)
class MemoryItems:
    """Items with facilitating self-excitation that compete through common inhibition.

    Attributes
    ----------
    weight : float
        Self-excitation w of an item, positive.
    plasticity : ShortTermPlasticity
        Of those synapses; the convention ``tsodyks1998`` has the equations of published rate models.
    activation : Activation
        Of an item.
    tau_s : float
        Its time constant in seconds.
    rate_scale_hz : float
        Hertz per unit of rate.
    n_items : int
    excitation, inhibition : float
        Weights from every item to the inhibitory population and back, at least 0; with inhibition 0 an item is alone.
    inhibitory_activation : Activation
    inhibitory_tau_s : float

    Raises
    ------
    OptionError
        If a value is out of range, or rates could be negative.
    """

    weight: float
    plasticity: ShortTermPlasticity
    activation: Activation = field(default_factory=lambda: Activation(kind="softplus"))
    tau_s: float = 0.015
    rate_scale_hz: float = 1.0
    n_items: int = 1
    excitation: float = 0.0
    inhibition: float = 0.0
    inhibitory_activation: Activation = field(default_factory=lambda: Activation(kind="softplus"))
    inhibitory_tau_s: float = 0.01

    def __post_init__(self):
        for name in ("weight", "tau_s", "rate_scale_hz", "inhibitory_tau_s"):
            object.__setattr__(self, name, check_positive(name, getattr(self, name)))
        object.__setattr__(self, "n_items", check_count("n_items", self.n_items))
        for name in ("excitation", "inhibition"):
            value = getattr(self, name)
            object.__setattr__(self, name, 0.0 if value == 0.0 else check_positive(name, value))
        for name in ("activation", "inhibitory_activation"):
            if not getattr(self, name).is_nonnegative:
                raise OptionError(
                    f"{name} is {getattr(self, name).kind!r}, whose rates can be negative.",
                    hint="Short-term plasticity needs rates of at least 0: relu, softplus, sigmoid or power.",
                )

    @classmethod
    def of_circuit(cls, circuit: Circuit) -> MemoryItems:
        """Read the items of a circuit: one population that excites itself plastically, and one unit of inhibition.

        Parameters
        ----------
        circuit : Circuit
            As `mongillo_2008`: current form, every item alike.

        Returns
        -------
        MemoryItems

        Raises
        ------
        OptionError
            If the circuit has other populations, classes of plasticity or differing weights.
        """
        items, *rest = circuit.populations
        is_plain = circuit.form == "current" and len(circuit.plasticity) == 1 and len(rest) <= 1
        if not is_plain or (rest and rest[0].size != 1) or circuit.rate_scale_hz is None:
            raise OptionError(
                f"circuit {circuit.name!r} is not one population of items and one inhibitory unit in current form."
            )
        weights = build_weights(circuit)
        n = items.size
        (plastic,) = weights.plastic.values()
        itself = _only(np.diag(plastic)[:n], "self-excitation")
        static, between = weights.static, plastic - np.diag(np.diag(plastic))
        if between.any() or np.diag(static).any() or static[:n, :n].any():
            raise OptionError(f"items of circuit {circuit.name!r} excite each other; expected themselves only.")
        shared = {}
        if rest:
            shared = {
                "excitation": _only(static[n, :n], "excitation of the inhibitory unit"),
                "inhibition": -_only(static[:n, n], "inhibition"),
                "inhibitory_activation": rest[0].activation,
                "inhibitory_tau_s": float(circuit.tau_s[n]),
            }
        return cls(
            weight=itself, plasticity=next(iter(circuit.plasticity.values())), activation=items.activation, n_items=n,
            tau_s=_only(circuit.tau_s[:n], "tau_s"), rate_scale_hz=circuit.rate_scale_hz, **shared,
        )  # fmt: skip

    def held_at(self, h: np.ndarray) -> np.ndarray:
        """Give the input e, other than from itself, at which an item rests at current h."""
        rate = self.activation(h)
        return h - self.weight * self.plasticity.steady_state(self.rate_scale_hz * rate).efficacy * rate

    def pull(self, h: np.ndarray, h_others: np.ndarray) -> np.ndarray:
        """Give the inhibition that one item at h and all others at h_others bring upon each item."""
        total = self.activation(h) + (self.n_items - 1) * self.activation(h_others)
        return self.inhibition * self.inhibitory_activation(self.excitation * total)

    def eigenvalues(self, h: float, h_others: float) -> np.ndarray:
        """Give all eigenvalues of the linearised dynamics at a steady state, per second, largest real part first.

        One item is at `h`, the others at `h_others`. What sets the others apart from each other changes no
        inhibition, so that an item alone has the eigenvalues of those directions.
        """
        n_others = self.n_items - 1
        numbers, currents = ((1, n_others), (h, h_others)) if n_others else ((1,), (h,))
        size = 3 * len(currents)
        total = sum(number * float(self.activation(at)) for number, at in zip(numbers, currents, strict=True))
        pull_slope = self.inhibition * float(self.inhibitory_activation.slope(self.excitation * total))
        matrix = np.zeros((size + 1, size + 1))
        matrix[size, size] = -1.0 / self.inhibitory_tau_s
        for i, (number, current) in enumerate(zip(numbers, currents, strict=True)):
            matrix[3 * i : 3 * i + 3, 3 * i : 3 * i + 3] = self._jacobian(current)
            matrix[3 * i, size] = -pull_slope / self.tau_s
            matrix[size, 3 * i] = (
                number * self.excitation * float(self.activation.slope(current)) / self.inhibitory_tau_s
            )
        values = np.linalg.eigvals(matrix)
        if n_others > 1:
            values = np.concatenate([values, np.linalg.eigvals(self._jacobian(h_others))])
        return values[np.argsort(-values.real, kind="stable")]

    def _jacobian(self, h: float) -> np.ndarray:
        """Give the Jacobian of (h, u, x) of one item without inhibition, per second."""
        stp = self.plasticity
        rate, slope = float(self.activation(h)), float(self.activation.slope(h))
        seen, grown = self.rate_scale_hz * rate, self.rate_scale_hz * slope
        steady = stp.steady_state(seen)
        u, x = float(steady.u), float(steady.x)
        is_before_jump = stp.convention == "mongillo2008" and stp.tau_f_s > 0.0
        v, v_slope = (u + stp.U * (1.0 - u), 1.0 - stp.U) if is_before_jump else (u, 1.0)
        pushed = np.array([v * x * slope, v_slope * x * rate, v * rate]) * self.weight - np.array([1.0, 0.0, 0.0])
        # With tau_f = 0 u is U for ever: a direction of its own, which decays.
        of_u = [0.0, -1.0 / self.tau_s, 0.0]
        if stp.tau_f_s > 0.0:
            of_u = [stp.U * (1.0 - u) * grown, -1.0 / stp.tau_f_s - stp.U * seen, 0.0]
        return np.array(
            [pushed / self.tau_s, of_u, [-v * x * grown, -v_slope * x * seen, -1.0 / stp.tau_d_s - v * seen]]
        )


def _only(values: np.ndarray, words: str) -> float:
    """Give the one value that all entries have."""
    if np.ptp(values) > 1e-12 * np.abs(values).max():
        raise OptionError(f"{words} differs between items, from {values.min():g} to {values.max():g}.")
    return float(values[0])
