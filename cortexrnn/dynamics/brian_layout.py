"""What a circuit is in Brian2's terms: groups, equations and connection arrays, before Brian2 is loaded.

`cortexrnn.dynamics.brian` makes objects of it, `cortexrnn.dynamics.brian_script` a script: both say the same.

Three kinds of group appear. ``units_<population>`` holds the rate units. ``terminals_<class>_<population>`` holds the
utilisation and resources of the units that send through a class of short-term plasticity, one pair a unit, because
all synapses of a unit and class see the same rate. ``recurrent_<number>`` are the synapses of a block of the weight
matrix. At every step the synapses are summed first, then terminals and units move on, all from the same old state:
Brian2 sorts objects of one order by their names, and ``recurrent`` comes before ``terminals``.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from cortexrnn._checks import check_choice, check_positive
from cortexrnn.circuit.build import build_weights
from cortexrnn.circuit.parts import Noise
from cortexrnn.circuit.spec import Circuit
from cortexrnn.dynamics.brian_equations import terminal_equations, unit_equations
from cortexrnn.dynamics.network import METHODS
from cortexrnn.dynamics.stimuli import Drive, Stimulus
from cortexrnn.errors import OptionError
from cortexrnn.numerics.streams import stream

# Brian2's names of our methods.
STATE_UPDATERS = dict(zip(METHODS, ("exponential_euler", "euler", "rk4"), strict=True))
_IDENTIFIER = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class BrianRun:
    """One trial of a circuit in Brian2.

    Attributes
    ----------
    duration_s : float
        Length in seconds, a whole number of steps. A stimulus is laid down for so long; its last value is held
        after that.
    dt_s : float
        Time step in seconds.
    method : {"exponential_euler", "euler", "runge_kutta"}
        Integrator, as in `Solver`. Brian2 holds the recurrent current over a step, so that ``runge_kutta`` is of
        fourth order only where nothing recurs; the other two are the same as in `simulate`.
    stimulus : mapping of str to Signal, optional
        By channel or population; of a signal with several trials the first is taken.
    seed : int
        Of the initial state and the noise.
    initial : array_like, shape (n_units,), optional
        State before the first step, currents or rates by the circuit's form; drawn by default.

    Raises
    ------
    OptionError
        If a value is not valid.
    """

    duration_s: float = 1.0
    dt_s: float = 1e-3
    method: str = "exponential_euler"
    stimulus: Stimulus | None = None
    seed: int = 0
    initial: Any = None

    def __post_init__(self):
        check_choice("method", self.method, METHODS)
        # Plain floats: they are written into scripts.
        for name in ("duration_s", "dt_s"):
            object.__setattr__(self, name, check_positive(name, getattr(self, name)))
        n_steps = self.duration_s / self.dt_s
        if round(n_steps) < 1 or abs(n_steps - round(n_steps)) > 1e-6 * n_steps:
            raise OptionError(
                f"duration_s is {n_steps:.6g} steps of dt_s={self.dt_s}; expected a whole number of them."
            )

    @property
    def n_steps(self) -> int:
        """Number of steps."""
        return round(self.duration_s / self.dt_s)


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Group:
    """A NeuronGroup.

    Attributes
    ----------
    name : str
        Its name in Brian2, an identifier.
    size : int
    equations : tuple of str
        One line each.
    method : str
        Brian2's name of the integrator.
    order : int
        Its place among what happens in a step.
    constants : dict of str to float
        Variables that all units share.
    values : dict of str to ndarray, shape (size,)
        What variables are set to before the first step.
    linked : tuple of (str, str, str), or None
        Variable, group and the group's variable that it stands for.
    stimulus : str
        Population whose stimulus the equations use; empty for none.
    terms : tuple of str
        What is added to the bias of rate units.
    """

    name: str
    size: int
    equations: tuple[str, ...]
    method: str
    order: int
    constants: dict[str, float] = field(default_factory=dict)
    values: dict[str, np.ndarray] = field(default_factory=dict)
    linked: tuple[str, str, str] | None = None
    stimulus: str = ""
    terms: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Block:
    """Synapses from one group to another.

    Attributes
    ----------
    name, source, target : str
        Names in Brian2.
    variable : str
        Variable of the target that receives the sum.
    sent : str
        Variable of the source that is weighted.
    pre, post : ndarray of int, shape (n_synapses,)
        Places in the two groups.
    weights : ndarray, shape (n_synapses,)
    """

    name: str
    source: str
    target: str
    variable: str
    sent: str
    pre: np.ndarray
    post: np.ndarray
    weights: np.ndarray

    @property
    def equations(self) -> tuple[str, str]:
        """Equations of the synapses, one line each."""
        return ("w : 1", f"{self.variable}_post = w*{self.sent}_pre : 1 (summed)")


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Layout:
    """A circuit in Brian2's terms.

    Attributes
    ----------
    circuit : Circuit
    run : BrianRun
    units : dict of str to Group
        By population.
    terminals : dict of (str, str) to Group
        By class of plasticity and population.
    blocks : tuple of Block
    samples : dict of str to ndarray, shape (n_steps, n_columns)
        Stimulus of every population that has one; the units' variable `column` says which column is theirs.
    """

    circuit: Circuit
    run: BrianRun
    units: dict[str, Group]
    terminals: dict[tuple[str, str], Group]
    blocks: tuple[Block, ...]
    samples: dict[str, np.ndarray]

    @property
    def groups(self) -> list[Group]:
        """All groups."""
        return [*self.units.values(), *self.terminals.values()]

    @property
    def noise(self) -> Noise | None:
        """The circuit's noise, if it has any."""
        noise = self.circuit.noise
        return noise if noise is not None and noise.sigma > 0.0 else None


def lay_out(circuit: Circuit, run: BrianRun) -> Layout:
    """Say what a circuit is in Brian2's terms.

    Parameters
    ----------
    circuit : Circuit
        Small enough for dense weights.
    run : BrianRun

    Returns
    -------
    Layout

    Raises
    ------
    OptionError
        If the run does not fit the circuit, a name is no identifier, or the weights are too large.
    """
    labels = _labels([population.name for population in circuit.populations])
    state, samples = first_state(circuit, run), _samples(circuit, run)
    terminals, blocks = _connections(circuit, run, labels)
    has_noise = circuit.noise is not None and circuit.noise.sigma > 0.0
    units = {}
    for population in circuit.populations:
        name, place = f"units_{labels[population.name]}", circuit.slices[population.name]
        terms = ["stimulus(t, column)"] if population.name in samples else []
        terms += (["noise"] if has_noise else []) + [block.variable for block in blocks if block.target == name]
        values = {"bias": circuit.bias[place], "tau": circuit.tau_s[place]}
        values["current" if circuit.form == "current" else "rate"] = state[place]
        if population.name in samples:
            values["column"] = samples[population.name][1]
        constants, equations = unit_equations(population.activation, circuit.form, terms)
        units[population.name] = Group(
            name=name,
            size=population.size,
            equations=equations,
            method=STATE_UPDATERS[run.method],
            order=0,
            constants=constants,
            values=values,
            stimulus=population.name if population.name in samples else "",
            terms=tuple(terms),
        )
    return Layout(
        circuit=circuit,
        run=run,
        units=units,
        terminals=terminals,
        blocks=tuple(blocks),
        samples={name: columns for name, (columns, _) in samples.items()},
    )


def first_state(circuit: Circuit, run: BrianRun) -> np.ndarray:
    """Give the units' state before the first step, as the first trial of `simulate` has it, shape (n_units,).

    Parameters
    ----------
    circuit : Circuit
    run : BrianRun

    Returns
    -------
    ndarray

    Raises
    ------
    OptionError
        If a given state has another shape or is not finite.
    """
    if run.initial is not None:
        given = np.asarray(run.initial, dtype=float)
        if given.shape != (circuit.size,) or not np.isfinite(given).all():
            raise OptionError(f"initial has shape {given.shape}; expected finite ({circuit.size},).")
        return given
    current = circuit.initial_sd * stream(run.seed, "initial state", 0).standard_normal(circuit.size)
    if circuit.form == "current":
        return current
    return np.concatenate([p.activation(current[circuit.slices[p.name]]) for p in circuit.populations])


def _terminals(circuit: Circuit, run: BrianRun, class_name: str, name: str, units: str, size: int) -> Group:
    """Describe utilisation and resources of the units that send through a class of plasticity."""
    stp = circuit.plasticity[class_name]
    # Plasticity relaxes exactly under Euler's method too, as in `simulate`.
    is_exact = run.method != "runge_kutta"
    constants, equations = terminal_equations(stp, circuit.rate_scale_hz, is_exact=is_exact)
    return Group(
        name=name,
        size=size,
        equations=equations,
        method="exponential_euler" if is_exact else "rk4",
        order=-1,
        constants=constants,
        values={"u": np.full(size, stp.U), "x": np.ones(size)},
        linked=("rate", units, "rate"),
    )


def _connections(
    circuit: Circuit, run: BrianRun, labels: dict[str, str]
) -> tuple[dict[tuple[str, str], Group], list[Block]]:
    """Describe the synapses of every block of the weights, and the plastic terminals from which they come."""
    weights = build_weights(circuit)
    classes = _labels(list(circuit.plasticity))
    terminals: dict[tuple[str, str], Group] = {}
    blocks: list[Block] = []
    for name, matrix in {"": weights.static, **weights.plastic}.items():
        for source, target in ((s, t) for s in circuit.populations for t in circuit.populations):
            part = matrix[circuit.slices[target.name], circuit.slices[source.name]]
            if not part.any():
                continue
            sender = f"units_{labels[source.name]}"
            if name:
                if (name, source.name) not in terminals:
                    # The number keeps names apart that differ in where the class ends and the population begins.
                    own = f"terminals_{len(terminals)}_{classes[name]}_{labels[source.name]}"
                    terminals[name, source.name] = _terminals(circuit, run, name, own, sender, source.size)
                sender = terminals[name, source.name].name
            post, pre = np.nonzero(part)
            number = len(blocks)
            blocks.append(
                Block(
                    name=f"recurrent_{number}",
                    source=sender,
                    target=f"units_{labels[target.name]}",
                    variable=f"from_{number}",
                    sent="released" if name else "rate",
                    pre=pre,
                    post=post,
                    weights=part[post, pre],
                )
            )
    return terminals, blocks


def _samples(circuit: Circuit, run: BrianRun) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """Sample the stimulus of every population: different columns, and which of them each unit has."""
    if not run.stimulus:
        return {}
    silent = replace(circuit, populations=tuple(replace(p, bias=0.0) for p in circuit.populations))
    # Rounded as in `simulate`, so that a pulse begins at the step that is meant.
    time_s = np.round(np.arange(run.n_steps) * run.dt_s, 12)
    current = Drive(silent, run.stimulus).sample(time_s, range(0, 1))[:, :, 0]
    if not np.isfinite(current).all():
        time = time_s[np.argwhere(~np.isfinite(current))[0, 0]]
        raise OptionError(f"the stimulus is not finite at {time} s; expected finite values.")
    samples = {}
    for name, place in circuit.slices.items():
        if current[:, place].any():
            columns, column = np.unique(current[:, place], axis=1, return_inverse=True)
            samples[name] = (np.ascontiguousarray(columns), column.reshape(-1))
    return samples


def _labels(names: list[str]) -> dict[str, str]:
    """Turn names into different identifiers; refuse what is none after ``-`` and ``.`` have become ``_``.

    Names are checked where populations are made; these become names in a script, and are checked again here.
    """
    labels: dict[str, str] = {}
    for name in names:
        label = name.replace("-", "_").replace(".", "_")
        if not _IDENTIFIER.fullmatch(label):
            raise OptionError(
                f"{name!r} cannot be a name in Brian2; expected letters, digits, '_', '-' and '.'.",
                hint="Rename it, as in 'excitatory'.",
            )
        while label in labels.values():
            label += "_"
        labels[name] = label
    return labels
