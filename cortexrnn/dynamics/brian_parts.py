"""Many copies of one small model in Brian2's terms, before Brian2 is loaded.

A fitted model of spikes runs on many trials at once and each of them has the same units and connections, so that these
are given for one *sequence* (one copy of one trial) and repeated. `cortexrnn.dynamics.brian_objects` makes objects of
them, `cortexrnn.dynamics.brian_text` a script: both say the same.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Table:
    """A TimedArray.

    Attributes
    ----------
    name : str
        By which equations call it, an identifier.
    values : ndarray, shape (n_rows,) or (n_rows, n_columns)
        One row a time step.
    """

    name: str
    values: np.ndarray


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Units:
    """A NeuronGroup that holds the same units for every sequence.

    Attributes
    ----------
    name : str
        Its name in Brian2, an identifier.
    size : int
        Units of one sequence.
    equations : tuple of str
        One line each.
    values : dict of str to float or ndarray of shape (size,)
        What shared constants and variables are set to before the first step.
    threshold : str
        Condition of a spike; empty for none.
    reset : tuple of str
        What a spike does to its own unit, one statement each.
    method : str
        Brian2's name of the integrator.
    order : int
        Place among what happens in a step.
    linked : tuple of (str, str, str), or None
        Variable, group of the same size and the group's variable that it stands for.
    """

    name: str
    size: int
    equations: tuple[str, ...]
    values: dict[str, float | np.ndarray] = field(default_factory=dict)
    threshold: str = ""
    reset: tuple[str, ...] = ()
    method: str = "euler"
    order: int = 0
    linked: tuple[str, str, str] | None = None


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Links:
    """Synapses inside every sequence; none connects two of them.

    Attributes
    ----------
    name, source, target : str
        Names in Brian2.
    pre, post : ndarray of int, shape (n_links,)
        Places among the units of one sequence.
    equations : tuple of str
        One line each.
    on_pre : str
        What a spike of the source does; empty for nothing.
    values : dict of str to ndarray of shape (n_links,)
        Variables of the synapses.
    delay_steps : ndarray of int, shape (n_links,), or None
        After how many steps a spike arrives; at once if left out.
    """

    name: str
    source: str
    target: str
    pre: np.ndarray
    post: np.ndarray
    equations: tuple[str, ...] = ()
    on_pre: str = ""
    values: dict[str, np.ndarray] = field(default_factory=dict)
    delay_steps: np.ndarray | None = None


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Operation:
    """Statements that a group runs in every step (``run_regularly``).

    Attributes
    ----------
    units : str
        The group.
    statements : tuple of str
    when : str
        Slot of the step.
    order : int
        Place within the slot.
    """

    units: str
    statements: tuple[str, ...]
    when: str
    order: int = 0


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Parts:
    """A model in Brian2's terms.

    Attributes
    ----------
    n_sequences : int
    dt_s : float
        Time step.
    n_steps : int
    spiking : str
        The group whose spikes count, with one unit a sequence.
    tables : tuple of Table
    units : tuple of Units
    links : tuple of Links
    operations : tuple of Operation
    """

    n_sequences: int
    dt_s: float
    n_steps: int
    spiking: str
    tables: tuple[Table, ...]
    units: tuple[Units, ...]
    links: tuple[Links, ...]
    operations: tuple[Operation, ...]

    def size_of(self, name: str) -> int:
        """Give the number of units that a group has in one sequence."""
        return next(units.size for units in self.units if units.name == name)
