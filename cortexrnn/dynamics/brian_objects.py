"""Objects of Brian2 from a description, and the uniform numbers that its spikes are drawn with."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from cortexrnn.dynamics.brian import unit_of
from cortexrnn.dynamics.brian_parts import Links, Parts, Units

if TYPE_CHECKING:
    import brian2


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class BrianObjects:
    """What Brian2 made of a description, ready to run.

    Attributes
    ----------
    network : brian2.Network
        Everything below.
    copies : brian2.NeuronGroup
        The group whose spikes count, one neuron a sequence.
    groups : dict of str to brian2.NeuronGroup
        All groups by name.
    synapses : dict of str to brian2.Synapses
        All synapses by name.
    draw : brian2.NetworkOperation
        Gives every neuron of `copies` the uniform number that decides about its spike.
    spikes : brian2.SpikeMonitor
        Of `copies`.
    log_mu : brian2.StateMonitor or None
        Of the variable ``log_mu`` of `copies`, where it was asked for.
    parts : Parts
        The description.
    """

    network: brian2.Network
    copies: brian2.NeuronGroup
    groups: dict[str, brian2.NeuronGroup]
    synapses: dict[str, brian2.Synapses]
    draw: brian2.NetworkOperation
    spikes: brian2.SpikeMonitor
    log_mu: brian2.StateMonitor | None
    parts: Parts

    def advance(self) -> None:
        """Run for as many steps as the description has."""
        import brian2

        # An empty namespace: otherwise Brian2 looks for names among the local variables of this function.
        self.network.run(self.parts.n_steps * self.parts.dt_s * brian2.second, namespace={})


def make_objects(parts: Parts, streams: Sequence[np.random.Generator], *, keeps_log_mu: bool = False) -> BrianObjects:
    """Make the objects of a description.

    Code is generated for numpy, object by object: no compiler is needed, and no preference of the user changes.

    Parameters
    ----------
    parts : Parts
    streams : sequence of numpy.random.Generator
        Uniform numbers of the spikes; each serves an equal share of the sequences, one after the other.
    keeps_log_mu : bool
        Whether ``log_mu`` is monitored.

    Returns
    -------
    BrianObjects
    """
    import brian2
    from brian2.codegen.runtime.numpy_rt import NumpyCodeObject

    dt = parts.dt_s * brian2.second
    shared = {"clock": brian2.Clock(dt=dt), "codeobj_class": NumpyCodeObject}
    tables = {table.name: brian2.TimedArray(table.values, dt=dt) for table in parts.tables}
    # Synapses see the equations of their groups, tables and all.
    placed = shared | {"namespace": tables}
    groups = {units.name: _make_group(units, parts.n_sequences, placed) for units in parts.units}
    for units in parts.units:
        if units.linked is not None:
            variable, source, of_source = units.linked
            setattr(groups[units.name], variable, brian2.linked_var(groups[source], of_source))
    synapses = {links.name: _make_synapses(links, parts, groups, placed) for links in parts.links}
    for operation in parts.operations:
        code = "\n".join(operation.statements)
        groups[operation.units].run_regularly(code, when=operation.when, order=operation.order, **shared)
    copies, monitor = groups[parts.spiking], None
    spikes = brian2.SpikeMonitor(copies, codeobj_class=NumpyCodeObject)
    if keeps_log_mu:
        monitor = brian2.StateMonitor(copies, "log_mu", record=True, when="before_thresholds", **shared)
    draw = _draw_operation(copies, streams, shared["clock"])
    monitors = [spikes] if monitor is None else [spikes, monitor]
    return BrianObjects(
        network=brian2.Network([*groups.values(), *synapses.values(), draw, *monitors]),
        copies=copies,
        groups=groups,
        synapses=synapses,
        draw=draw,
        spikes=spikes,
        log_mu=monitor,
        parts=parts,
    )


def _draw_operation(
    copies: brian2.NeuronGroup, streams: Sequence[np.random.Generator], clock: brian2.Clock
) -> brian2.NetworkOperation:
    """Make the operation that gives every neuron a uniform number before every step."""
    import brian2

    uniform, n_each = copies.variables["uniform"], len(copies) // len(streams)

    def draw() -> None:
        uniform.set_value(np.concatenate([rng.random(n_each) for rng in streams]))

    return brian2.NetworkOperation(draw, clock=clock, when="start")


def _make_group(units: Units, n_sequences: int, placed: dict[str, Any]) -> brian2.NeuronGroup:
    """Make a NeuronGroup and set its variables."""
    import brian2

    group = brian2.NeuronGroup(
        n_sequences * units.size,
        "\n".join(units.equations),
        method=units.method,
        threshold=units.threshold or None,
        reset="\n".join(units.reset) if units.threshold else None,
        order=units.order,
        name=units.name,
        **placed,
    )
    for name, value in units.values.items():
        spread = np.tile(value, n_sequences) if np.ndim(value) else value
        setattr(group, name, spread * unit_of(name))
    return group


def _make_synapses(
    links: Links, parts: Parts, groups: dict[str, brian2.NeuronGroup], placed: dict[str, Any]
) -> brian2.Synapses:
    """Make the synapses of every sequence."""
    import brian2

    made = brian2.Synapses(
        groups[links.source],
        groups[links.target],
        "\n".join(links.equations),
        on_pre=links.on_pre or None,
        name=links.name,
        **placed,
    )
    sequence = np.arange(parts.n_sequences)[:, None]
    source = sequence * parts.size_of(links.source) + links.pre
    target = sequence * parts.size_of(links.target) + links.post
    made.connect(i=source.ravel(), j=target.ravel())
    for name, values in links.values.items():
        setattr(made, name, np.tile(values, parts.n_sequences))
    if links.delay_steps is not None:
        made.delay = np.tile(links.delay_steps, parts.n_sequences) * parts.dt_s * brian2.second
    return made
