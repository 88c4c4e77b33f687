"""Checkpoints of a training and saved networks, as safetensors: arrays and texts, nothing that could run."""

from __future__ import annotations

import json
import os
import re
from typing import NamedTuple

import numpy as np

from cortexrnn.errors import DataError, OptionError
from cortexrnn.runs.files import atomic_write, read_bytes
from cortexrnn.training.optimisers import State

FORMAT = 1


class Checkpoint(NamedTuple):
    """A training at one of its steps; batches and noise are keyed by the step, so nothing else is needed.

    Attributes
    ----------
    theta : ndarray, shape (n_parameters,)
    state : State
        Of the optimiser.
    step : int
    rows : ndarray, shape (n_looks, n_columns)
        The history so far.
    """

    theta: np.ndarray
    state: State
    step: int
    rows: np.ndarray


def save_arrays(path: str | os.PathLike, arrays: dict[str, np.ndarray], about: dict[str, str]) -> None:
    """Write arrays and texts as one safetensors file, atomically.

    Parameters
    ----------
    path : path
    arrays : dict of str to ndarray
    about : dict of str to str

    Raises
    ------
    FileAccessError
        If the file cannot be written.
    """
    from safetensors.numpy import save

    whole = {name: np.ascontiguousarray(array) for name, array in arrays.items()}
    atomic_write(path, save(whole, metadata={**about, "format": str(FORMAT)}))


def load_arrays(path: str | os.PathLike) -> tuple[dict[str, np.ndarray], dict[str, str]]:
    """Read a safetensors file of ours.

    Parameters
    ----------
    path : path

    Returns
    -------
    arrays : dict of str to ndarray
    about : dict of str to str

    Raises
    ------
    DataError
        If the file is damaged, is none of ours, or comes from a newer version.
    """
    from safetensors import SafetensorError
    from safetensors.numpy import load

    data = read_bytes(path)
    where = os.fspath(path)
    try:
        arrays = load(data)
        size = int.from_bytes(data[:8], "little")
        about = json.loads(data[8 : 8 + size]).get("__metadata__", {})
    except (SafetensorError, ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise DataError(
            f"not a readable safetensors file: {error}.", where=where, hint="The file is damaged: train or save again."
        ) from error
    # Python's isdigit() takes a superscript two, its int() does not.
    if re.fullmatch("[0-9]{1,9}", about.get("format", "")) is None:
        raise DataError("the file was not written by this package.", where=where)
    if int(about["format"]) > FORMAT:
        raise DataError(
            f"the file has format {about['format']}; this version reads up to {FORMAT}.",
            where=where,
            hint="Install a newer cortexrnn.",
        )
    return arrays, about


def save_checkpoint(path: str | os.PathLike, checkpoint: Checkpoint, identity: dict[str, str]) -> None:
    """Write a checkpoint, atomically; parameters as in `load_checkpoint`."""
    arrays = {
        "theta": checkpoint.theta,
        **{f"state {name}": part for name, part in checkpoint.state._asdict().items()},
        "step": np.array([checkpoint.step]),
        "rows": checkpoint.rows,
    }
    save_arrays(path, arrays, {"kind": "checkpoint", **identity})


def load_checkpoint(path: str | os.PathLike, identity: dict[str, str], state: type[State]) -> Checkpoint:
    """Read a checkpoint.

    Parameters
    ----------
    path : path
    identity : dict of str to str
        What the training is: circuit, task, seed, options.
    state : type
        Of the optimiser's state.

    Returns
    -------
    Checkpoint

    Raises
    ------
    DataError
        If the file is damaged.
    OptionError
        If it belongs to another training.
    """
    arrays, about = load_arrays(path)
    different = [name for name, value in identity.items() if about.get(name) != value]
    if about.get("kind") != "checkpoint" or different:
        raise OptionError(
            f"the checkpoint belongs to another training: {', '.join(different) or 'kind'} differ.",
            where=os.fspath(path),
            hint="Choose another folder, or delete this one.",
        )
    try:
        found = state(*(np.array(arrays[f"state {name}"]) for name in state._fields))
        theta, step, rows = (arrays[name] for name in ("theta", "step", "rows"))
    except KeyError as error:
        raise DataError(f"the file has no {error}.", where=os.fspath(path)) from error
    if step.shape != (1,) or step.dtype.kind != "i" or rows.ndim != 2 or rows.dtype.kind != "f":
        raise DataError("step or rows have another shape or type than a training writes.", where=os.fspath(path))
    return Checkpoint(theta, found, int(step[0]), rows)
