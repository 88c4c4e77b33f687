"""From what a user names to what is trained, and back from a file."""

from __future__ import annotations

import copy
import json
from dataclasses import asdict

import numpy as np

from cortexrnn.cells.initial import Initial
from cortexrnn.circuit.files import circuit_from_toml, circuit_to_toml
from cortexrnn.circuit.spec import Circuit
from cortexrnn.errors import DataError, OptionError
from cortexrnn.training.bidirectional import BidirectionalModel
from cortexrnn.training.cell_model import CellModel, CellNetwork
from cortexrnn.training.circuit_model import CircuitModel, Trainable
from cortexrnn.training.model import Asked, Model
from cortexrnn.training.tasks.contract import Task

Network = Circuit | CellNetwork
# Trials in which conditions are looked for, and how many there may be.
_N_LOOKED_AT, _MOST_LEVELS = 512, 64


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
        If the network is of another kind, `trainable` is given for cells, all of which is trained, or the task has no
        such conditions.
    """
    if isinstance(network, Circuit):
        trainable = trainable or Trainable()
        return CircuitModel(network, _asked(task, trainable.start_by), trainable, seed=seed, dtype=dtype)
    if not isinstance(network, CellNetwork):
        raise OptionError(f"network is a {type(network).__name__}; expected a Circuit, a CellNetwork or a Trained.")
    if trainable is not None:
        raise OptionError("trainable means nothing to a CellNetwork: all its weights are trained.")
    kind = BidirectionalModel if network.is_bidirectional else CellModel
    return kind(network, _asked(task, network.start_by), seed=seed, dtype=dtype)


def go_on_from(model: Model, task: Task, where: str, theta: np.ndarray | None = None) -> Model:
    """Give a copy of a trained network, or tell why the task does not fit it.

    Parameters
    ----------
    model : Model
    task : Task
    where : str
        What the network is called in messages.
    theta : ndarray, shape (n_parameters,), optional
        Its parameters; its own if left out.

    Returns
    -------
    Model

    Raises
    ------
    OptionError
        If the task has other numbers of inputs or outputs, or another time step where that matters.
    """
    asked, has = (task.n_inputs, task.n_outputs), (model.n_inputs, model.n_outputs)
    if asked != has:
        raise OptionError(f"the task has {asked} inputs and outputs, the network {has}.", where=where)
    if isinstance(model, CircuitModel) and model.units.dt_s != task.dt_s:
        raise OptionError(f"the task has dt_s={task.dt_s}, the circuit was trained at {model.units.dt_s}.", where=where)
    new = copy.copy(model)
    new.theta = (model.theta if theta is None else theta).copy()
    return new


def _asked(task: Task, column: str) -> Asked:
    """Say what a task asks of a network, with the values of a column of its trial tables."""
    asked = Asked(task.n_inputs, task.n_outputs, task.dt_s)
    if not column:
        return asked
    # In tests all conditions come in turn.
    table = task.trials(_N_LOOKED_AT, seed=0, mode="test").table
    if column not in table:
        raise OptionError(f"start_by={column!r} is no column; the task has {', '.join(table)}.")
    levels = tuple(sorted(set(table[column].tolist())))
    if len(levels) > _MOST_LEVELS:
        raise OptionError(
            f"start_by={column!r} has {len(levels)} values in {_N_LOOKED_AT} trials; expected a column of conditions, "
            f"of at most {_MOST_LEVELS} values."
        )
    return asked._replace(levels=levels)


def network_size(network: Network) -> int:
    """Give the number of hidden units."""
    return network.n_hidden if isinstance(network, CellNetwork) else network.size


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
    except (KeyError, TypeError, ValueError, AttributeError, RecursionError) as error:
        raise DataError(f"the file does not describe a network: {error}.", where=where) from error
