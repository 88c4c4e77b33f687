"""A circuit with its weights, laid out for the kernels: dense, or sparse with or without a stored table."""

from __future__ import annotations

import abc
import threading
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from cortexrnn.cells.stp import ShortTermPlasticity
from cortexrnn.circuit.build import build_weights
from cortexrnn.circuit.sparse import build_hashed, build_sparse
from cortexrnn.circuit.spec import Circuit
from cortexrnn.dynamics.kernels import (
    CURRENT,
    RATE,
    STATIC,
    Recurrent,
    State,
    Units,
    advance,
    advance_runge_kutta,
    keep,
    rates_of,
    rates_of_all,
    recover,
    relax,
    send,
    send_all,
    spread,
)
from cortexrnn.dynamics.sparse import SparseDrive
from cortexrnn.errors import OptionError
from cortexrnn.numerics.lanes import N_LANES
from cortexrnn.numerics.packed import pack_columns, pack_rows

AUTO, DENSE, SPARSE, HASHED = LAYOUTS = ("auto", "dense", "sparse", "hashed")
# Above it the dense product is slower than a sparse one of the densities that circuits have.
_LARGEST_AUTO_DENSE = 4096
METHODS = ("exponential_euler", "euler", "runge_kutta")


@dataclass(frozen=True, slots=True)
class Group:
    """Neighbouring units that send through one kind of synapse.

    Attributes
    ----------
    name : str
        Class of short-term plasticity; empty without.
    units : slice
        Which units.
    """

    name: str
    units: slice

    @property
    def size(self) -> int:
        """Number of units."""
        return self.units.stop - self.units.start


class Network(abc.ABC):
    """What a simulation needs of a circuit.

    Parameters
    ----------
    circuit : Circuit
    dt_s : float
        Time step.
    method : str
        One of `METHODS`.
    dtype : numpy float type
        Precision of the state.

    Attributes
    ----------
    groups : tuple of Group
        What the recurrent weights multiply.
    """

    groups: tuple[Group, ...]

    def __init__(self, circuit: Circuit, dt_s: float, method: str, dtype: np.dtype):
        self.circuit = circuit
        self.dt_s = dt_s
        self.method = method
        self.dtype = np.dtype(dtype)
        self._lock = threading.Lock()
        self._by_lanes: dict[int, tuple[Units, Recurrent]] = {}

    @abc.abstractmethod
    def advance(self, lanes: int, state: State, external: np.ndarray, every: int, kept: State) -> None:
        """Advance a tile by a block of steps; see `kernels.advance`."""

    @abc.abstractmethod
    def currents(self, kept: State, lanes: int, units: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Give recurrent excitatory and inhibitory currents at kept moments, each (n_kept, n_chosen, lanes)."""

    @abc.abstractmethod
    def _packed(self, lanes: int) -> np.ndarray:
        """Give the recurrent weights as kernels take them."""

    @cached_property
    def plastic_unit(self) -> dict[str, tuple[slice, np.ndarray]]:
        """Place among the utilisations and units of every class of plasticity."""
        places: dict[str, tuple[slice, np.ndarray]] = {}
        start = 0
        for name in self.circuit.plasticity:
            units = [np.arange(g.units.start, g.units.stop) for g in self.groups if g.name == name]
            joined = np.concatenate(units or [np.empty(0, int)])
            places[name] = (slice(start, start + joined.size), joined)
            start += joined.size
        return places

    def resting_state(self, y: np.ndarray) -> State:
        """Give the state of a tile whose synapses have rested; `y` has shape (n_units, lanes)."""
        use = np.concatenate([np.full(g.size, self._law(g)[0]) for g in self.groups if g.name] or [np.empty(0)])
        u = np.repeat(use.astype(self.dtype), y.shape[1])
        return State(y=np.ascontiguousarray(y, self.dtype).ravel(), u=u, x=np.ones_like(u))

    def rates(self, kept: State, lanes: int) -> np.ndarray:
        """Give the rates at kept moments, shape (n_kept, n_units * lanes)."""
        rate = np.empty_like(kept.y)
        rates_of_all(self._laid_out(lanes)[0], kept, rate)
        return rate

    def _laid_out(self, lanes: int) -> tuple[Units, Recurrent]:
        """Give units and weights for a tile of so many trials, laid out once."""
        with self._lock:
            if lanes not in self._by_lanes:
                self._by_lanes[lanes] = (self._units(lanes), self._recurrent(lanes))
            return self._by_lanes[lanes]

    def _units(self, lanes: int) -> Units:
        """Lay the units out for a tile of so many trials side by side."""
        circuit = self.circuit
        step = self.dt_s / circuit.tau_s
        is_euler = self.method == "euler"
        decay, gain = (1.0 - step, step) if is_euler else (np.exp(-step), -np.expm1(-step))

        def spread_out(values: np.ndarray) -> np.ndarray:
            return np.repeat(values.astype(self.dtype), lanes)

        activations = [population.activation for population in circuit.populations]
        return Units(
            form=CURRENT if circuit.form == "current" else RATE,
            lanes=lanes,
            decay=spread_out(decay),
            gain=spread_out(gain),
            speed=spread_out(1.0 / circuit.tau_s),
            first=np.cumsum([0, *(population.size for population in circuit.populations)]),
            codes=np.array([a.code for a in activations]),
            shapes=np.array([(a.gain, a.threshold, a.exponent) for a in activations]),
            dt_s=self.dt_s,
        )

    def _recurrent(self, lanes: int) -> Recurrent:
        """Lay sources and weights out for a tile of 16 trials or one."""
        sizes = np.array([group.size for group in self.groups], dtype=np.int64)
        is_plastic = np.array([bool(group.name) for group in self.groups], dtype=bool)
        state = np.where(is_plastic, np.cumsum(sizes * is_plastic) - sizes * is_plastic, STATIC)
        return Recurrent(
            weights=self._packed(lanes),
            unit=np.array([group.units.start for group in self.groups], dtype=np.int64),
            size=sizes,
            first=self._first_sources(sizes),
            state=state.astype(np.int64),
            laws=np.array([self._law(group) for group in self.groups], dtype=float).reshape(-1, 4),
            rate_scale_hz=self.circuit.rate_scale_hz or 1.0,
        )

    def _first_sources(self, sizes: np.ndarray) -> np.ndarray:
        """Give every group's first source."""
        return np.cumsum(sizes) - sizes

    def _law(self, group: Group) -> tuple[float, ...]:
        """Give a group's plasticity as numbers."""
        if not group.name:
            return (0.0, 0.0, 1.0, 0.0)
        stp: ShortTermPlasticity = self.circuit.plasticity[group.name]
        return tuple(float(value) for value in stp.law)


class DenseNetwork(Network):
    """A circuit whose weights are one packed matrix; parameters as `Network`."""

    def __init__(self, circuit: Circuit, dt_s: float, method: str, dtype: np.dtype):
        super().__init__(circuit, dt_s, method, dtype)
        weights = build_weights(circuit, self.dtype.type)
        blocks = {"": weights.static, **weights.plastic}
        self.groups = _joined(
            Group(name, units)
            for name, block in blocks.items()
            for units in circuit.slices.values()
            if np.any(block[:, units])
        )
        columns = [blocks[group.name][:, group.units] for group in self.groups]
        self._matrix = np.hstack(columns) if columns else np.zeros((circuit.size, 0), self.dtype)

    def advance(self, lanes: int, state: State, external: np.ndarray, every: int, kept: State) -> None:
        """Advance a tile by a block of steps; see `kernels.advance`."""
        kernel = advance_runge_kutta if self.method == "runge_kutta" else advance
        kernel(*self._laid_out(lanes), state, external, every, kept)

    def currents(self, kept: State, lanes: int, units: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Give recurrent excitatory and inhibitory currents at kept moments, each (n_kept, n_chosen, lanes)."""
        source_unit = np.concatenate([np.arange(g.units.start, g.units.stop) for g in self.groups] or [[]]).astype(int)
        signs = self.circuit.signs[source_unit]
        sent = np.empty((len(kept.y), source_unit.size * lanes), self.dtype)
        send_all(*self._laid_out(lanes), kept, sent)
        sent = sent.reshape(len(kept.y), -1, lanes)
        rows = self._matrix[units]
        return tuple(rows[:, signs == sign] @ sent[:, signs == sign] for sign in (1, -1))

    def _packed(self, lanes: int) -> np.ndarray:
        """Pack the matrix by rows for 16 trials, by columns for one."""
        return (pack_rows if lanes == N_LANES else pack_columns)(self._matrix)


class SparseNetwork(Network):
    """A circuit whose connections are a table, or computed whenever they are needed.

    Parameters
    ----------
    circuit, dt_s, method, dtype
        As in `Network`.
    is_stored : bool
        Whether there is a table.
    n_threads : int
        Threads that share the units of one step.
    """

    def __init__(
        self, circuit: Circuit, dt_s: float, method: str, dtype: np.dtype, *, is_stored: bool, n_threads: int
    ):
        super().__init__(circuit, dt_s, method, dtype)
        build = build_sparse if is_stored else build_hashed
        self._drive = SparseDrive(build(circuit, self.dtype.type), n_threads=n_threads)
        plastic = {(p.plasticity, p.source) for p in circuit.projections if p.plasticity}
        self.groups = (
            Group("", slice(0, circuit.size)),
            *(
                Group(name, units)
                for name in circuit.plasticity
                for source, units in circuit.slices.items()
                if (name, source) in plastic
            ),
        )

    def advance(self, lanes: int, state: State, external: np.ndarray, every: int, kept: State) -> None:
        """Advance a tile by a block of steps; see `kernels.advance`."""
        units, recurrent = self._laid_out(lanes)
        rate, drive = np.empty_like(state.y), np.empty_like(state.y)
        sent = self._sent(lanes)
        for t in range(len(external)):
            if t % every == 0:
                keep(state, kept, t // every)
            rates_of(units, state.y, rate)
            send(units, recurrent, rate, state, sent.reshape(-1))
            spread(units, external[t], drive)
            self._add(sent, drive.reshape(-1, lanes))
            recover(units, recurrent, rate, state)
            relax(units, drive, rate, state)

    def currents(self, kept: State, lanes: int, units: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Give recurrent excitatory and inhibitory currents at kept moments, each (n_kept, n_chosen, lanes)."""
        laid_out = self._laid_out(lanes)
        sent = self._sent(lanes)
        rate = np.empty(kept.y.shape[1], self.dtype)
        currents = np.zeros((2, len(kept.y), units.size, lanes), self.dtype)
        for k in range(len(kept.y)):
            rates_of(laid_out[0], kept.y[k], rate)
            send(*laid_out, rate, State(*(part[k] for part in kept)), sent.reshape(-1))
            for place, sign in enumerate((1, -1)):
                drive = np.zeros((self.circuit.size, lanes), self.dtype)
                self._add(np.where((self.circuit.signs == sign)[:, None], sent, self.dtype.type(0)), drive)
                currents[place, k] = drive[units]
        return tuple(currents)

    def _sent(self, lanes: int) -> np.ndarray:
        """Make room for what all units send through every kind of synapse, (n_kinds, n_units, lanes)."""
        return np.zeros((1 + len(self.circuit.plasticity), self.circuit.size, lanes), self.dtype)

    def _add(self, sent: np.ndarray, drive: np.ndarray) -> None:
        """Add the recurrent current to `drive`."""
        self._drive.add(dict(zip(("", *self.circuit.plasticity), sent, strict=True)), drive)

    def _first_sources(self, sizes: np.ndarray) -> np.ndarray:
        """Give every group's first source: each kind of synapse has a place for every unit."""
        kinds = ("", *self.circuit.plasticity)
        return np.array([kinds.index(g.name) * self.circuit.size + g.units.start for g in self.groups])

    def _packed(self, lanes: int) -> np.ndarray:
        """Give nothing: the drive holds the weights."""
        return np.empty(0, self.dtype)


def _joined(groups: Iterable[Group]) -> tuple[Group, ...]:
    """Join neighbours without plasticity: where all units send their rates, nothing has to be laid out."""
    found: list[Group] = []
    for group in groups:
        if found and group.name == found[-1].name == "" and found[-1].units.stop == group.units.start:
            group = Group("", slice(found.pop().units.start, group.units.stop))
        found.append(group)
    return tuple(found)


def make_network(
    circuit: Circuit, dt_s: float, dtype: np.dtype, *, method: str, layout: str, n_threads: int
) -> Network:
    """Lay a circuit out for simulation.

    Parameters
    ----------
    circuit : Circuit
    dt_s : float
    dtype : numpy float type
    method : str
        One of `METHODS`.
    layout : str
        One of `LAYOUTS`; "auto" is dense up to 4096 units and sparse above.
    n_threads : int

    Returns
    -------
    Network

    Raises
    ------
    OptionError
        If the circuit cannot have that layout, or the layout that integrator.
    """
    if layout == AUTO:
        layout = DENSE if circuit.size <= _LARGEST_AUTO_DENSE else SPARSE
    if layout == DENSE:
        return DenseNetwork(circuit, dt_s, method, dtype)
    if method == "runge_kutta":
        raise OptionError(
            f"method='runge_kutta' cannot be had with the {layout} layout.",
            hint="Take layout='dense', or method='exponential_euler' with a smaller dt_s.",
        )
    return SparseNetwork(circuit, dt_s, method, dtype, is_stored=layout == SPARSE, n_threads=n_threads)
