"""A circuit as a network of Brian2: the same equations, weights, stimulus and noise as in `simulate`.

Brian2 (Stimberg, Brette and Goodman 2019, doi:10.7554/eLife.47314) is loaded by the first call. Its numpy code
generation is asked for object by object, so that no compiler is needed and no preference of the user changes.
"""

from __future__ import annotations

import importlib.metadata
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import xarray as xr

from cortexrnn.circuit.spec import Circuit
from cortexrnn.dynamics.brian_equations import DIMENSIONS
from cortexrnn.dynamics.brian_layout import Block, BrianRun, Group, Layout, lay_out
from cortexrnn.dynamics.noise import OrnsteinUhlenbeck

if TYPE_CHECKING:
    import brian2


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class BrianNetwork:
    """A circuit as objects of Brian2, ready to run.

    Attributes
    ----------
    network : brian2.Network
        Everything below, and the noise where the circuit has it.
    units : dict of str to brian2.NeuronGroup
        By population, with the variable ``rate`` (and ``current`` in the current form).
    terminals : dict of (str, str) to brian2.NeuronGroup
        By class of short-term plasticity and population, with the variables ``u`` and ``x``.
    synapses : tuple of brian2.Synapses
        One a block of the weights, with the variable ``w``.
    rates : dict of str to brian2.StateMonitor
        Rates of every population, as of the beginning of every step.
    states : dict of (str, str) to brian2.StateMonitor
        ``u`` and ``x`` of the terminals.
    layout : Layout
        What the objects were made of.
    """

    network: brian2.Network
    units: dict[str, brian2.NeuronGroup]
    terminals: dict[tuple[str, str], brian2.NeuronGroup]
    synapses: tuple[brian2.Synapses, ...]
    rates: dict[str, brian2.StateMonitor]
    states: dict[tuple[str, str], brian2.StateMonitor]
    layout: Layout

    def run(self) -> xr.Dataset:
        """Run for the duration that was asked for and give what was monitored.

        Returns
        -------
        xarray.Dataset
            As `simulate` gives it: ``rate`` (trial, time, unit), and ``u`` and ``x`` where synapses are plastic.
        """
        import brian2

        # An empty namespace: otherwise Brian2 looks for names among the local variables of this function.
        self.network.run(self.layout.run.duration_s * brian2.second, namespace={})
        return self.to_dataset()

    def to_dataset(self) -> xr.Dataset:
        """Give what was monitored so far, however the network was run.

        Returns
        -------
        xarray.Dataset
            Dimensions and coordinates as `simulate` gives them.
        """
        circuit = self.layout.circuit
        rate = np.concatenate([self.rates[name].rate for name in circuit.slices])
        is_hertz = circuit.rate_scale_hz == 1.0
        dims = ("trial", "time", "unit")
        variables: dict[str, Any] = {"rate": (dims, rate.T[None], {"units": "Hz" if is_hertz else "1"})}
        for name in circuit.plasticity:
            for symbol in ("u", "x"):
                values = np.full_like(rate, np.nan)
                for population, place in circuit.slices.items():
                    if (name, population) in self.states:
                        values[place] = getattr(self.states[name, population], symbol)
                label = symbol if len(circuit.plasticity) == 1 else f"{symbol}_{name}"
                variables[label] = (dims, values.T[None], {"units": "1"})
        names = np.array(list(circuit.slices))
        coords = {
            "trial": ("trial", np.arange(1)),
            "time": ("time", np.round(np.arange(rate.shape[1]) * self.layout.run.dt_s, 12), {"units": "s"}),
            "unit": ("unit", np.arange(circuit.size)),
            "population": ("unit", names[circuit.population_of]),
            "sign": ("unit", circuit.signs),
        }
        return xr.Dataset(variables, coords=coords, attrs=_provenance(self.layout))


def to_brian2(circuit: Circuit, run: BrianRun | None = None) -> BrianNetwork:
    """Make a Brian2 network of a circuit.

    Its rates are those of the first trial of `simulate` with the same settings, up to the rounding of the last
    digits; noise included, because it comes from the same stream.

    Parameters
    ----------
    circuit : Circuit
        Small enough for dense weights.
    run : BrianRun, optional
        Duration, time step, integrator, stimulus, seed and initial state.

    Returns
    -------
    BrianNetwork

    Raises
    ------
    OptionError
        If the run does not fit the circuit.

    Examples
    --------
    >>> from cortexrnn.circuit import Circuit
    >>> to_brian2(Circuit.ssn(), BrianRun(duration_s=0.01)).run().rate.shape
    (1, 10, 2)
    """
    layout = lay_out(circuit, run or BrianRun())
    import brian2
    from brian2.codegen.runtime.numpy_rt import NumpyCodeObject

    shared = {"clock": brian2.Clock(dt=layout.run.dt_s * brian2.second), "codeobj_class": NumpyCodeObject}
    groups = {group.name: _group(layout, group, shared) for group in layout.groups}
    for group in layout.groups:
        if group.linked is not None:
            variable, source, of_source = group.linked
            setattr(groups[group.name], variable, brian2.linked_var(groups[source], of_source))
    units = {name: groups[group.name] for name, group in layout.units.items()}
    terminals = {key: groups[group.name] for key, group in layout.terminals.items()}
    synapses = tuple(make_synapses(block, groups, shared) for block in layout.blocks)
    rates = {name: brian2.StateMonitor(group, "rate", record=True, **shared) for name, group in units.items()}
    states = {key: brian2.StateMonitor(group, ("u", "x"), record=True, **shared) for key, group in terminals.items()}
    noise = [] if layout.noise is None else [noise_operation(layout, units, shared["clock"])]
    everything = [*groups.values(), *synapses, *rates.values(), *states.values(), *noise]
    return BrianNetwork(
        network=brian2.Network(everything),
        units=units,
        terminals=terminals,
        synapses=synapses,
        rates=rates,
        states=states,
        layout=layout,
    )


def _provenance(layout: Layout) -> dict[str, Any]:
    """Say where the numbers come from."""
    circuit, run = layout.circuit, layout.run
    return {
        "circuit": circuit.name,
        "circuit_hash": circuit.hash(),
        "wiring_seed": circuit.wiring_seed,
        "seed": int(run.seed),
        "dt_s": run.dt_s,
        "method": run.method,
        "rate_scale_hz": circuit.rate_scale_hz or np.nan,
        "cortexrnn": importlib.metadata.version("cortexrnn"),
        "brian2": importlib.metadata.version("brian2"),
    }


def _group(layout: Layout, group: Group, shared: dict[str, Any]) -> brian2.NeuronGroup:
    """Make a NeuronGroup and set its variables."""
    import brian2

    made = brian2.NeuronGroup(
        group.size,
        "\n".join(group.equations),
        method=group.method,
        order=group.order,
        namespace=stimulus_of(layout, group),
        name=group.name,
        **shared,
    )
    for name, values in (group.constants | group.values).items():
        setattr(made, name, values * unit_of(name))
    return made


def stimulus_of(layout: Layout, group: Group) -> dict[str, brian2.TimedArray]:
    """Give the stimulus that a group's equations use, by its name in them."""
    import brian2

    if not group.stimulus:
        return {}
    return {"stimulus": brian2.TimedArray(layout.samples[group.stimulus], dt=layout.run.dt_s * brian2.second)}


def make_synapses(block: Block, groups: dict[str, brian2.NeuronGroup], shared: dict[str, Any]) -> brian2.Synapses:
    """Make the synapses of a block, one for each weight."""
    import brian2

    synapses = brian2.Synapses(
        groups[block.source], groups[block.target], "\n".join(block.equations), name=block.name, **shared
    )
    synapses.connect(i=block.pre, j=block.post)
    synapses.w = block.weights
    return synapses


def noise_operation(
    layout: Layout, units: dict[str, brian2.NeuronGroup], clock: brian2.Clock
) -> brian2.NetworkOperation:
    """Make the operation that sets the noise of all units before every step."""
    import brian2

    circuit, run = layout.circuit, layout.run
    process = OrnsteinUhlenbeck(
        layout.noise, circuit.size, run.dt_s, key=(run.seed,), trials=range(1), dtype=np.dtype(np.float64)
    )

    def advance() -> None:
        current = process.block(1)[0]
        for name, place in circuit.slices.items():
            units[name].variables["noise"].set_value(current[place])

    return brian2.NetworkOperation(advance, clock=clock, when="start")


def unit_of(name: str) -> Any:
    """Give Brian2's unit of a constant or variable, 1 for a number."""
    import brian2

    return getattr(brian2, DIMENSIONS[name]) if name in DIMENSIONS else 1
