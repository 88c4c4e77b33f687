"""Network rungs in Brian2's terms: input units, hidden units and explicit weights for every copy of a trial.

In the slot ``groups`` of a step the inputs see the log-rate of the rung below, then the hidden units move on, then the
read-out is summed; ``order`` says so. Inputs are the exponential traces of past spikes and that log-rate as they are:
their standardisation is part of the weights.
"""

from __future__ import annotations

from dataclasses import replace
from typing import NamedTuple

import numpy as np

from cortexrnn.cells.gru_packed import GRUCellWeights
from cortexrnn.dynamics.brian_equations import unit_equations
from cortexrnn.dynamics.brian_layout import Block, BrianRun, Group, Layout, lay_out
from cortexrnn.dynamics.brian_parts import Links, Operation, Units
from cortexrnn.encoding.brian_rungs import COPIES, PASSING, Fragment, Given, lay_out_table
from cortexrnn.encoding.network import FittedNetwork
from cortexrnn.encoding.rnn import FittedRNN
from cortexrnn.encoding.rnn_kernels import LOG_BOUND, as_network, count_weights
from cortexrnn.encoding.rnn_tiles import trace_decay
from cortexrnn.errors import OptionError
from cortexrnn.training.circuit_model import CircuitModel
from cortexrnn.training.explicit import explicit_circuit

_INPUTS, _HIDDEN = "inputs", "hidden"
# Brian2 sums what arrives at a group one place before the group's own order.
_INPUTS_ORDER, _HIDDEN_ORDER = -4, -2
# A logistic function whose exponential cannot overflow.
_GATE = "{0} = 0.5 + 0.5*tanh(0.5*({0}_input + {0}_recurrent)) : 1"


class _Cell(NamedTuple):
    """Arguments in the order in which weights are stacked, equations, and the statements of a step."""

    arguments: tuple[str, ...]
    equations: tuple[str, ...]
    statements: tuple[str, ...]


# As in `cortexrnn.cells`, where their sources are.
_CELLS = {
    "vanilla": _Cell(("drive",), ("h : 1",), ("h = tanh(drive_input + drive_recurrent)",)),
    "gru": _Cell(
        ("reset_gate", "update_gate", "candidate"),
        (
            "h : 1",
            _GATE.format("reset_gate"),
            _GATE.format("update_gate"),
            "candidate = tanh(candidate_input + reset_gate*candidate_recurrent) : 1",
        ),
        ("h = candidate + update_gate*(h - candidate)",),
    ),
    "lstm": _Cell(
        ("input_gate", "forget_gate", "candidate", "output_gate"),
        (
            "h : 1",
            "c : 1",
            _GATE.format("input_gate"),
            _GATE.format("forget_gate"),
            "candidate = tanh(candidate_input + candidate_recurrent) : 1",
            _GATE.format("output_gate"),
        ),
        ("c = forget_gate*c + input_gate*candidate", "h = output_gate*tanh(c)"),
    ),
}


class _Read(NamedTuple):
    """What of a network reaches the log-rate: its offset, direct path from the inputs and weights by group."""

    offset: float
    skip: np.ndarray
    readout: dict[str, np.ndarray]


def network_fragment(fitted: FittedRNN | FittedNetwork, given: Given, below: str, name: str) -> Fragment:
    """Give a network: inputs, hidden units, and what the read-out makes of them.

    Parameters
    ----------
    fitted : FittedRNN or FittedNetwork
    given : Given
    below, name : str
        Log mu of the rung below and of this one.

    Returns
    -------
    Fragment

    Raises
    ------
    OptionError
        If the network has other inputs, such as the spikes of other units.
    """
    if isinstance(fitted, FittedRNN):
        if fitted.weights.size != count_weights(fitted.scale.mean.size, fitted.spec.n_hidden):
            raise OptionError(
                f"the network {fitted.spec.name} has inputs beside the unit's own spikes and the log-rate below; "
                "expected none for Brian2."
            )
        flat = as_network(fitted.weights, fitted.scale.mean.size, fitted.spec.n_hidden)
        weights = GRUCellWeights(*flat.gru[:4], norm_gain=np.empty(0), start=flat.gru.start[None])
        hidden = _gated("gru", fitted, weights)
        read = _read(fitted, flat.skip, float(flat.offset[0]), {_HIDDEN: flat.readout})
    else:
        network = fitted.network(n_steps=1)
        readout, bias = network.model.readout()
        if isinstance(network.model, CircuitModel):
            hidden, readouts = _dale(fitted, network.model, readout[0], len(given.trials.counts[0]))
        elif fitted.spec.cell not in _CELLS:
            raise OptionError(
                f"a network with cell={fitted.spec.cell!r} cannot be exported to Brian2; expected "
                f"{', '.join(_CELLS)} or dale."
            )
        else:
            hidden = _gated(fitted.spec.cell, fitted, network.model.core_weights())
            readouts = {_HIDDEN: readout[0]}
        read = _read(fitted, network.skip, float(bias[0]), readouts)
    inputs = _inputs(fitted, given, below)
    terms = ["network_offset", "from_inputs", *(f"from_{group}" for group in read.readout)]
    return Fragment(
        equations=(
            f"{name} = {below} + {LOG_BOUND}*tanh(({' + '.join(terms)})/{LOG_BOUND}) : 1",
            "network_offset : 1 (shared, constant)",
            *(f"{term} : 1" for term in terms[1:]),
        ),
        values={"network_offset": read.offset},
        tables=inputs.tables,
        units=(*inputs.units, *hidden.units),
        links=(*inputs.links, *hidden.links, *_to_copies(read, hidden)),
        operations=(*inputs.operations, *hidden.operations),
    )


def _places(fitted: FittedRNN | FittedNetwork) -> np.ndarray:
    """Give the inputs that reach the network: all, or the log-rate below alone where its own spikes are cut off."""
    n_inputs = fitted.scale.mean.size
    return np.arange(n_inputs) if fitted.spec.uses_own_spikes else np.array([n_inputs - 1])


def _unscaled(fitted: FittedRNN | FittedNetwork, weights: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Give weights of the inputs as they are, (..., n_inputs), and what is to be added to the bias for that."""
    used, scale = _places(fitted), fitted.scale
    unscaled = weights.astype(float)[..., used] / scale.spread[used]
    return unscaled, -unscaled @ scale.mean[used]


def _read(fitted: FittedRNN | FittedNetwork, skip: np.ndarray, offset: float, readout: dict[str, np.ndarray]) -> _Read:
    """Collect what reaches the log-rate."""
    unscaled, extra = _unscaled(fitted, skip)
    return _Read(offset + float(extra), unscaled, {group: part.astype(float) for group, part in readout.items()})


def _inputs(fitted: FittedRNN | FittedNetwork, given: Given, below: str) -> Fragment:
    """Give the input units: traces, which spikes raise and every bin lets decay, and the log-rate below."""
    decay = np.append(trace_decay(fitted.spec.trace_s, fitted.bin_s), 0.0)
    used = _places(fitted)
    n_inputs, n_traces = used.size, used.size - 1
    mean = fitted.scale.mean_count
    beside, counts_beside = lay_out_table("beside_spikes", given.beside_spikes(mean))
    units = Units(
        name=_INPUTS,
        size=n_inputs,
        equations=(
            "x = trace + log_baseline_below : 1",
            "trace : 1",
            "log_baseline_below : 1",
            "decay : 1 (constant)",
            "is_trace : 1 (constant)",
            f"trial = (i // {n_inputs}) % {given.trials.n_trials} : integer",
        ),
        values={
            "decay": decay[used],
            "is_trace": (used < decay.size - 1).astype(float),
            # As if spikes had come at the mean rate for ever.
            "trace": np.where(used < decay.size - 1, mean / (1.0 - decay[used]), 0.0),
        },
        order=_INPUTS_ORDER,
    )
    baseline = Links(
        name="baseline_to_inputs",
        source=COPIES,
        target=_INPUTS,
        pre=np.zeros(1, dtype=int),
        post=np.array([n_inputs - 1]),
        equations=(f"log_baseline_below_post = {below}_pre : 1 (summed)",),
    )
    spikes = Links(
        name="spikes_to_inputs",
        source=COPIES,
        target=_INPUTS,
        pre=np.zeros(n_traces, dtype=int),
        post=np.arange(n_traces),
        on_pre="trace_post += 1",
    )
    if not n_traces:
        return Fragment(equations=(), units=(units,), links=(baseline,))
    passing = Operation(units=_INPUTS, statements=(f"trace = decay*trace + is_trace*{counts_beside}",), when=PASSING)
    return Fragment(equations=(), tables=(beside,), units=(units,), links=(baseline, spikes), operations=(passing,))


def _gated(kind: str, fitted: FittedRNN | FittedNetwork, weights: NamedTuple) -> Fragment:
    """Give the hidden units of a vanilla network, GRU or LSTM."""
    cell, n_hidden = _CELLS[kind], weights.start.shape[1]
    unscaled, extra = _unscaled(fitted, weights.input)
    values = {"h": weights.start[0].astype(float)}
    if kind == "lstm":
        values["c"] = weights.start_cell[0].astype(float)
    biases = {"input": weights.input_bias + extra, "recurrent": weights.hidden_bias.astype(float)}
    equations = list(cell.equations)
    for k, argument in enumerate(cell.arguments):
        for part, bias in biases.items():
            equations += [
                f"{argument}_{part} = {argument}_{part}_bias + {argument}_{part}_sum : 1",
                f"{argument}_{part}_bias : 1 (constant)",
                f"{argument}_{part}_sum : 1",
            ]
            values[f"{argument}_{part}_bias"] = bias[k * n_hidden : (k + 1) * n_hidden]
    units = Units(name=_HIDDEN, size=n_hidden, equations=tuple(equations), values=values, order=_HIDDEN_ORDER)
    links = (
        _weights(cell, "input", (_INPUTS, "x"), unscaled),
        _weights(cell, "recurrent", (_HIDDEN, "h"), weights.hidden.astype(float)),
    )
    step = Operation(units=_HIDDEN, statements=cell.statements, when="groups", order=_HIDDEN_ORDER)
    return Fragment(equations=(), units=(units,), links=links, operations=(step,))


def _weights(cell: _Cell, part: str, sender: tuple[str, str], matrix: np.ndarray) -> Links:
    """Give all weights from a variable of a group to the hidden units; `matrix` has the arguments stacked."""
    source, variable = sender
    n_hidden, n_sources = matrix.shape[0] // len(cell.arguments), matrix.shape[1]
    post, pre = np.divmod(np.arange(n_hidden * n_sources), n_sources)
    equations, values = [], {}
    for k, argument in enumerate(cell.arguments):
        equations += [
            f"w_{argument} : 1 (constant)",
            f"{argument}_{part}_sum_post = w_{argument}*{variable}_pre : 1 (summed)",
        ]
        values[f"w_{argument}"] = matrix[k * n_hidden : (k + 1) * n_hidden].ravel()
    return Links(
        name=f"{part}_weights",
        source=source,
        target=_HIDDEN,
        pre=pre,
        post=post,
        equations=tuple(equations),
        values=values,
    )


def _to_copies(read: _Read, hidden: Fragment) -> list[Links]:
    """Give the read-out of every group and the direct path."""
    sent = {units.name: "h" if units.name == _HIDDEN else "rate" for units in hidden.units}
    found = []
    for group, weights, variable in [(_INPUTS, read.skip, "x"), *((g, w, sent[g]) for g, w in read.readout.items())]:
        found.append(
            Links(
                name=f"{group}_to_copies",
                source=group,
                target=COPIES,
                pre=np.arange(weights.size),
                post=np.zeros(weights.size, dtype=int),
                equations=("w : 1 (constant)", f"from_{group}_post = w*{variable}_pre : 1 (summed)"),
                values={"w": weights},
            )
        )
    return found


def _dale(
    fitted: FittedNetwork, model: CircuitModel, readout: np.ndarray, n_bins: int
) -> tuple[Fragment, dict[str, np.ndarray]]:
    """Give the units, plastic terminals and synapses of a Dale network, and its read-out by group.

    They are those of the exported circuit (`cortexrnn.dynamics.brian_layout`), once for every sequence, and with one
    more term in the drive.
    """
    weights = model.core_weights()
    unscaled, extra = _unscaled(fitted, weights.input)
    circuit = explicit_circuit(model, [], name="dale", extra_bias=extra)
    run = BrianRun(duration_s=n_bins * fitted.bin_s, dt_s=fitted.bin_s, initial=weights.start[0])
    layout = lay_out(circuit, run)
    links = [_of_block(block) for block in layout.blocks]
    readouts = {}
    for population, group in layout.units.items():
        place = circuit.slices[population]
        post, pre = np.divmod(np.arange(unscaled[place].size), unscaled.shape[1])
        links.append(
            Links(
                name=f"inputs_to_{group.name}",
                source=_INPUTS,
                target=group.name,
                pre=pre,
                post=post,
                equations=("w : 1 (constant)", "from_inputs_post = w*x_pre : 1 (summed)"),
                values={"w": unscaled[place].ravel()},
            )
        )
        if readout[place].any():
            readouts[group.name] = readout[place]
    units = [_of_group(group) for group in (*_driven(layout), *layout.terminals.values())]
    return Fragment(equations=(), units=tuple(units), links=tuple(links)), readouts


def _driven(layout: Layout) -> list[Group]:
    """Give the groups of rate units with the inputs in their drive."""
    circuit, found = layout.circuit, []
    for population in circuit.populations:
        group = layout.units[population.name]
        _, equations = unit_equations(population.activation, circuit.form, (*group.terms, "from_inputs"))
        found.append(replace(group, equations=equations))
    return found


def _of_group(group: Group) -> Units:
    """Give a group of an exported circuit as a part, before the read-out is summed."""
    return Units(
        name=group.name,
        size=group.size,
        equations=group.equations,
        values=group.constants | group.values,
        method=group.method,
        order=group.order + _HIDDEN_ORDER,
        linked=group.linked,
    )


def _of_block(block: Block) -> Links:
    """Give the synapses of a block of an exported circuit as a part."""
    return Links(
        name=block.name,
        source=block.source,
        target=block.target,
        pre=block.pre,
        post=block.post,
        equations=block.equations,
        values={"w": block.weights},
    )
