"""A trained circuit as a circuit whose weights are given one by one, for what a circuit is good for."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from cortexrnn.cells.stp import CONVENTIONS, ShortTermPlasticity
from cortexrnn.circuit.parts import Input, Population, Projection
from cortexrnn.circuit.spec import Circuit
from cortexrnn.errors import OptionError
from cortexrnn.training.circuit_model import CircuitModel
from cortexrnn.training.model import Model

# Numbers in the tables of a circuit, a fraction of a gigabyte. Every class of plasticity has tables of its own, so
# that they grow with the cube of the units where every synapse was trained by itself.
_LARGEST_TABLES = 4_000_000


def explicit_circuit(
    model: Model, channels: Sequence[tuple[str, np.ndarray]], *, name: str, extra_bias: np.ndarray | None = None
) -> Circuit:
    """Give the circuit that a model's parameters stand for.

    Weights, biases, time constants and plasticity are those of the parameters, in the numbers of the model's
    precision. Noise, activations and the units' order are the circuit's with which the training began. Start states
    have no place in a circuit: give them to a simulation as its initial state.

    Parameters
    ----------
    model : Model
        A `CircuitModel`.
    channels : sequence of (str, ndarray of shape (n_units,))
        Name and input weights of every channel of the stimulus.
    name : str
        Of the circuit.
    extra_bias : ndarray, shape (n_units,), optional
        Added to the biases.

    Returns
    -------
    Circuit

    Raises
    ------
    OptionError
        If the model is no circuit, or its inhibition has no units of its own, or there are too many weights or
        classes of plasticity, or a trained time constant is longer than any circuit's.
    """
    if not isinstance(model, CircuitModel):
        raise OptionError(
            f"a network of {model.name!r} cells is no circuit; expected a trained Circuit.",
            hint="Look at other networks through system().",
        )
    if model.trainable.dale == "dann":
        raise OptionError(
            "what was trained with dale='dann' is no circuit of units with signs: its inhibition answers at once, as a "
            "part of the weights among excitatory units.",
            hint="Train with another value of dale.",
        )
    weights = model.core_weights()
    plasticity, class_of = _classes(model)
    n_numbers = (len(plasticity) + 1) * model.n_hidden**2
    if n_numbers > _LARGEST_TABLES:
        raise OptionError(
            f"{model.n_hidden} units with {len(plasticity)} classes of plasticity are {n_numbers} numbers; expected at "
            f"most {_LARGEST_TABLES} in a circuit's tables.",
            hint="Leave U, tau_f_s and tau_d_s out of what is trained, so that a class stays one class.",
        )
    bias = weights.bias.astype(float) + (0.0 if extra_bias is None else extra_bias)
    projections = tuple(
        projection
        for label, block in _blocks(model, class_of).items()
        for projection in _projections(model.circuit, block, label)
    )
    used = {projection.plasticity for projection in projections}
    circuit = model.circuit
    return replace(
        circuit,
        name=name,
        populations=tuple(_population(circuit, p, bias, weights.tau_s.astype(float)) for p in circuit.populations),
        projections=projections,
        plasticity={label: law for label, law in plasticity.items() if label in used},
        inputs=tuple(
            Input(name=channel, target=p.name, vector=_numbers(values[circuit.slices[p.name]]))
            for channel, values in channels
            for p in circuit.populations
        ),
        low_rank_terms=(),
        balance="",
        gain=None,
    )


def _classes(model: CircuitModel) -> tuple[dict[str, ShortTermPlasticity], np.ndarray]:
    """Give the classes of plasticity by label, and the label of every plastic source: one a set of parameters."""
    weights, units = model.core_weights(), model.units
    laws = [
        ShortTermPlasticity(U=float(U), tau_f_s=float(f), tau_d_s=float(d), convention=CONVENTIONS[convention])
        for U, f, d, convention in zip(weights.U, weights.tau_f_s, weights.tau_d_s, units.convention, strict=True)
    ]
    found: dict[ShortTermPlasticity, str] = {}
    labels = []
    for law, name in zip(laws, model.class_names, strict=True):
        if law not in found:
            others = (f"{name}.{k}" for k in itertools.count(1))
            taken = {*found.values(), *model.class_names} - ({name} - set(found.values()))
            found[law] = next(label for label in itertools.chain([name], others) if label not in taken)
        labels.append(found[law])
    return {label: law for law, label in found.items()}, np.array(labels, dtype=str)


def _blocks(model: CircuitModel, class_of: np.ndarray) -> dict[str, np.ndarray]:
    """Give the weights of all units by the class of their plasticity, (n_units, n_units), float64; "" is static."""
    recurrent, units = model.core_weights().recurrent.astype(float), model.units
    labels = np.concatenate([np.full(units.static_unit.size, ""), class_of]).astype(str)
    blocks: dict[str, np.ndarray] = {}
    for k, unit in enumerate(np.concatenate([units.static_unit, units.plastic_unit])):
        block = blocks.setdefault(str(labels[k]), np.zeros((model.n_hidden, model.n_hidden)))
        block[:, unit] += recurrent[:, k]
    return blocks


def _projections(circuit: Circuit, block: np.ndarray, plasticity: str) -> list[Projection]:
    """Give the projections of a class with their weights; none where all are zero."""
    found = []
    for source, columns in circuit.slices.items():
        for target, rows in circuit.slices.items():
            weights = block[rows, columns]
            if weights.any():
                has_autapses = source == target and bool(np.diagonal(weights).any())
                table = tuple(_numbers(row) for row in weights)
                found.append(
                    Projection(
                        source=source, target=target, weights=table, plasticity=plasticity, allow_autapses=has_autapses
                    )
                )
    return found


def _population(circuit: Circuit, population: Population, bias: np.ndarray, tau_s: np.ndarray) -> Population:
    """Give a population with the biases and time constants of its units."""
    place = circuit.slices[population.name]
    return replace(population, bias=_numbers(bias[place]), tau_s=_numbers(tau_s[place]))


def _numbers(values: np.ndarray) -> tuple[float, ...]:
    """Give an array as a tuple of Python floats."""
    return tuple(values.tolist())
