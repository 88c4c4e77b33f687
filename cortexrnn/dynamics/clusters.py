"""Clusters of LIF neurons in Brian2, one a rate unit, and the units that collect their spikes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from cortexrnn.dynamics.brian import make_synapses, noise_operation, stimulus_of, unit_of
from cortexrnn.dynamics.brian_equations import drive_equations, shared_equations
from cortexrnn.dynamics.brian_layout import STATE_UPDATERS, Group, Layout
from cortexrnn.dynamics.lif import LIF, Transfer
from cortexrnn.numerics.streams import stream

if TYPE_CHECKING:
    import brian2


class Clusters:
    """The spiking network of a circuit.

    The units and terminals of the circuit's Brian2 layout stay, and so do the synapses between them; what they send
    is no longer computed from the state but collected from the spikes of their neurons.

    Parameters
    ----------
    layout : Layout
    transfers : dict of str to Transfer
        How the neurons of every population take their input.
    neuron : LIF
    n_per_unit : int
    """

    def __init__(self, layout: Layout, transfers: dict[str, Transfer], neuron: LIF, n_per_unit: int):
        import brian2
        from brian2.codegen.runtime.numpy_rt import NumpyCodeObject

        self._layout, self._neuron, self._n_per_unit = layout, neuron, n_per_unit
        self._shared = {"clock": brian2.Clock(dt=layout.run.dt_s * brian2.second), "codeobj_class": NumpyCodeObject}
        groups = {group.name: self._collector(group, is_terminal=False) for group in layout.units.values()}
        groups |= {group.name: self._collector(group, is_terminal=True) for group in layout.terminals.values()}
        self._units = {name: groups[group.name] for name, group in layout.units.items()}
        self._neurons = {name: self._cluster(name, transfer) for name, transfer in transfers.items()}
        self._terminals = {key: self._plastic(key, groups[group.name]) for key, group in layout.terminals.items()}
        self._monitors = {
            name: brian2.SpikeMonitor(group, codeobj_class=NumpyCodeObject) for name, group in self._neurons.items()
        }
        everything = [*groups.values(), *self._neurons.values(), *self._terminals.values(), *self._monitors.values()]
        everything += [make_synapses(block, groups, self._shared) for block in layout.blocks]
        everything += [self._sending(name) for name in self._units]
        everything += [self._membrane_noise(transfers)]
        if layout.noise is not None:
            everything.append(noise_operation(layout, self._units, self._shared["clock"]))
        self._network = brian2.Network(everything)

    def run(self, bin_s: float) -> dict[str, np.ndarray]:
        """Run the network.

        Parameters
        ----------
        bin_s : float
            Time from one sample to the next.

        Returns
        -------
        dict of str to ndarray, shape (n_times, n_populations)
            Mean ``rate`` of the units (in the rate form, where it is a state), and ``u`` and ``x`` (``u_name`` and
            ``x_name`` where there are several classes of plasticity), as of the beginning of every bin.
        """
        import brian2

        circuit = self._layout.circuit
        samples: dict[str, list[np.ndarray]] = {"rate": []} if circuit.form == "rate" else {}
        labels = {name: f"_{name}" if len(circuit.plasticity) > 1 else "" for name in circuit.plasticity}
        samples |= {f"{symbol}{label}": [] for label in labels.values() for symbol in ("u", "x")}

        def sample() -> None:
            if "rate" in samples:
                samples["rate"].append(np.array([_mean(units, "rate") for units in self._units.values()]))
            for name, label in labels.items():
                states = [self._state(name, population) for population in circuit.slices]
                samples[f"u{label}"].append(np.array([u for u, _ in states]))
                samples[f"x{label}"].append(np.array([x for _, x in states]))

        clock = brian2.Clock(dt=bin_s * brian2.second)
        self._network.add(brian2.NetworkOperation(sample, clock=clock, when="start"))
        self._network.run(self._layout.run.duration_s * brian2.second, namespace={})
        return {name: np.array(values) for name, values in samples.items()}

    def spikes(self) -> dict[str, tuple[np.ndarray, list[np.ndarray]]]:
        """Give the unit of every neuron and its spike times in seconds, by population."""
        found = {}
        for name, monitor in self._monitors.items():
            neurons, times_s = np.array(monitor.i), np.array(monitor.t_)
            order = np.argsort(neurons, kind="stable")
            cuts = np.searchsorted(neurons[order], np.arange(1, len(self._neurons[name])))
            first = self._layout.circuit.slices[name].start
            found[name] = (first + self._owners(name), np.split(times_s[order], cuts))
        return found

    def _owners(self, population: str) -> np.ndarray:
        """Give the unit, within its population, of every neuron."""
        return np.repeat(np.arange(self._layout.units[population].size), self._n_per_unit)

    def _state(self, class_name: str, population: str) -> tuple[float, float]:
        """Give the mean utilisation, in the meaning of the rate form, and the mean resources of a population."""
        if (class_name, population) not in self._terminals:
            return np.nan, np.nan
        synapses, stp = self._terminals[class_name, population], self._layout.circuit.plasticity[class_name]
        u, x = _mean(synapses, "u"), _mean(synapses, "x")
        is_before_jump = stp.convention == "tsodyks1998" and stp.tau_f_s > 0.0
        return (u + stp.U * (1.0 - u) if is_before_jump else u), x

    def _collector(self, group: Group, *, is_terminal: bool) -> brian2.NeuronGroup:
        """Make the group that collects what the spikes of the last step sent, and passes it on as its form asks."""
        import brian2

        is_current = self._layout.circuit.form == "current"
        sent = "released" if is_terminal else "rate"
        lines = ["arriving : 1", f"{sent} = arriving : 1"]
        if not is_current:
            lines = ["arriving : 1", f"d{sent}/dt = (-{sent} + arriving)/tau : 1"]
        values = dict(group.values)
        if is_terminal:
            source = next(units for units in self._layout.units.values() if units.name == group.linked[1])
            values = {"tau": source.values["tau"]}
            lines.append("tau : second (constant)")
        else:
            lines += (["dcurrent/dt = (-current + drive)/tau : 1"] if is_current else []) + drive_equations(group.terms)
        made = brian2.NeuronGroup(
            group.size,
            "\n".join(lines),
            method=STATE_UPDATERS[self._layout.run.method],
            namespace=stimulus_of(self._layout, group),
            name=group.name,
            **self._shared,
        )
        # What arrived in the last step has been used by now, and this step's spikes come later.
        made.run_regularly("arriving = 0", when="after_groups", codeobj_class=self._shared["codeobj_class"])
        for name, of_units in values.items():
            setattr(made, name, of_units * unit_of(name))
        return made

    def _cluster(self, population: str, transfer: Transfer) -> brian2.NeuronGroup:
        """Make the neurons of a population."""
        import brian2

        layout, group = self._layout, self._layout.units[population]
        constants = {"offset": transfer.offset, "slope": transfer.slope, "tau_m": self._neuron.tau_m_s}
        refractory_s = self._neuron.refractory_s
        lines = [
            f"dv/dt = (offset + slope*received + kick - v)/tau_m : 1{' (unless refractory)' if refractory_s else ''}",
            "received : 1 (linked)",
            "kick : 1",
            *shared_equations(constants),
        ]
        owners = self._owners(population)
        made = brian2.NeuronGroup(
            owners.size,
            "\n".join(lines),
            threshold="v > 1",
            reset="v = 0",
            # Brian2 counts the step of the spike as the first one of the period.
            refractory=(refractory_s + layout.run.dt_s) * brian2.second if refractory_s else False,
            method="exponential_euler",
            namespace=stimulus_of(layout, group),
            name=group.name.replace("units_", "neurons_", 1),
            **self._shared,
        )
        for name, value in constants.items():
            setattr(made, name, value * unit_of(name))
        made.v = stream(layout.run.seed, "membranes", population).random(owners.size)
        variable = "current" if layout.circuit.form == "current" else "drive"
        made.received = brian2.linked_var(self._units[population], variable, index=owners)
        return made

    def _sending(self, population: str) -> brian2.Synapses:
        """Make the synapses through which a neuron's spikes count for its unit."""
        import brian2

        synapses = brian2.Synapses(
            self._neurons[population],
            self._units[population],
            on_pre="arriving_post += quantum",
            namespace={"quantum": self._quantum},
            name=self._layout.units[population].name.replace("units_", "spikes_", 1),
            **self._shared,
        )
        owners = self._owners(population)
        synapses.connect(i=np.arange(owners.size), j=owners)
        return synapses

    def _plastic(self, key: tuple[str, str], terminals: brian2.NeuronGroup) -> brian2.Synapses:
        """Make the plastic synapses of a population's neurons: one a neuron, because all of its own are alike."""
        import brian2

        class_name, population = key
        stp = self._layout.circuit.plasticity[class_name]
        has_facilitation = stp.tau_f_s > 0.0
        rest = stp.U if stp.convention == "mongillo2008" or not has_facilitation else 0.0
        namespace: dict[str, Any] = {"U": stp.U, "tau_d": stp.tau_d_s * brian2.second, "quantum": self._quantum}
        lines = ["dx/dt = (1 - x)/tau_d : 1 (clock-driven)"]
        if has_facilitation:
            lines.append("du/dt = (rest - u)/tau_f : 1 (clock-driven)")
            namespace |= {"rest": rest, "tau_f": stp.tau_f_s * brian2.second}
        else:
            lines.append("u : 1")
        jump = ["u += U*(1 - u)"] if has_facilitation else []
        synapses = brian2.Synapses(
            self._neurons[population],
            terminals,
            "\n".join(lines),
            on_pre="\n".join([*jump, "arriving_post += quantum*u*x", "x -= u*x"]),
            method="exact",
            namespace=namespace,
            name=terminals.name.replace("terminals_", "plastic_", 1),
            **self._shared,
        )
        owners = self._owners(population)
        synapses.connect(i=np.arange(owners.size), j=owners)
        synapses.u, synapses.x = rest, 1.0
        return synapses

    @property
    def _quantum(self) -> float:
        """What one spike of one neuron is, in rates of its unit held for one step."""
        layout = self._layout
        return 1.0 / (self._n_per_unit * layout.run.dt_s * layout.circuit.rate_scale_hz)

    def _membrane_noise(self, transfers: dict[str, Transfer]) -> brian2.NetworkOperation:
        """Make the operation that draws the white noise of every membrane, as its exact update takes it."""
        import brian2

        keep = np.exp(-self._layout.run.dt_s / self._neuron.tau_m_s)
        # The update multiplies it by 1 - keep, and the variance must come to sd^2 (1 - keep^2) a step.
        scale = np.sqrt((1.0 + keep) / (1.0 - keep))
        parts = [
            (group.variables["kick"], transfers[name].noise_sd * scale, stream(self._layout.run.seed, "kicks", name))
            for name, group in self._neurons.items()
        ]

        def draw() -> None:
            for variable, size, rng in parts:
                variable.set_value(size * rng.standard_normal(variable.size))

        return brian2.NetworkOperation(draw, clock=self._shared["clock"], when="start")


def _mean(group: Any, variable: str) -> float:
    """Give the mean of a state variable of a group; its attribute would be compiled anew at every call."""
    return float(np.mean(group.variables[variable].get_value()))
