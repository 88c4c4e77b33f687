"""From what a user names to what is trained, and back from a file."""

from __future__ import annotations

import json
from dataclasses import asdict

from cortexrnn.cells.initial import Initial
from cortexrnn.circuit.files import circuit_from_toml, circuit_to_toml
from cortexrnn.circuit.spec import Circuit
from cortexrnn.errors import DataError, OptionError
from cortexrnn.training.cell_model import CellModel, CellNetwork
from cortexrnn.training.circuit_model import CircuitModel, Trainable
from cortexrnn.training.model import Model
from cortexrnn.training.tasks.contract import Task

Network = Circuit | CellNetwork


def make_model(network: Network, task: Task, trainable: Trainable | None, *, seed: int, dtype: type) -> Model:
    """Give the parameters of a network at the start of a training.

    Parameters
    ----------
    network : Circuit or CellNetwork
    task : Task
    trainable : Trainable or None
        What of a circuit is trained.
    seed : int
    dtype : numpy float type

    Returns
    -------
    Model

    Raises
    ------
    OptionError
        If the network is of another kind, or `trainable` is given for cells, all of which is trained.
    """
    sizes = (task.n_inputs, task.n_outputs)
    if isinstance(network, Circuit):
        return CircuitModel(network, sizes, task.dt_s, trainable or Trainable(), seed=seed, dtype=dtype)
    if not isinstance(network, CellNetwork):
        raise OptionError(f"network is a {type(network).__name__}; expected a Circuit or a CellNetwork.")
    if trainable is not None:
        raise OptionError("trainable means nothing to a CellNetwork: all its weights are trained.")
    return CellModel(network, sizes, seed=seed, dtype=dtype)


def network_to_text(model: Model) -> dict[str, str]:
    """Give the texts that `network_from_text` makes the same network of."""
    if isinstance(model, CircuitModel):
        trainable = asdict(model.trainable)
        return {"circuit": circuit_to_toml(model.circuit), "trainable": json.dumps(trainable)}
    return {"cells": json.dumps(asdict(model.network))}


def network_from_text(about: dict[str, str], *, where: str) -> tuple[Network, Trainable | None]:
    """Read a network and what of it is trained.

    Parameters
    ----------
    about : dict of str to str
        Texts of a saved file.
    where : str
        Name of the file in messages.

    Returns
    -------
    network : Circuit or CellNetwork
    trainable : Trainable or None

    Raises
    ------
    DataError
        If the texts do not describe a network.
    """
    try:
        if "circuit" in about:
            given = json.loads(about["trainable"])
            lists = {name: tuple(value) for name, value in given.items() if isinstance(value, list)}
            return circuit_from_toml(about["circuit"].encode(), where=where), Trainable(**{**given, **lists})
        given = json.loads(about["cells"])
        return CellNetwork(**{**given, "initial": Initial(**given["initial"])}), None
    except (KeyError, TypeError, ValueError) as error:
        raise DataError(f"the file does not describe a network: {error}.", where=where) from error
