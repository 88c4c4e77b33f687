"""Cell networks on a batch of stimuli: their states, the derivatives of their steps, and how long their gates keep."""

from __future__ import annotations

from typing import Any

import numpy as np
import xarray as xr

from cortexrnn._checks import check_choice, check_positive
from cortexrnn.cells.lstm import LSTMWeights
from cortexrnn.cells.recurrent import CELLS
from cortexrnn.errors import DataError
from cortexrnn.numerics.lanes import N_LANES

# A neural ODE also has gaps between its samples: it is driven by its own engine.
DRIVEN = ("vanilla", "lstm", "gru")


def driven_jacobians(kind: str, weights: Any, inputs: np.ndarray) -> np.ndarray:
    """Give the derivatives of the steps of a network on one stimulus, for `gradient_flow.jacobian_products`.

    Parameters
    ----------
    kind : {"vanilla", "lstm", "gru"}
    weights : NamedTuple of ndarray
        Of the cell; it begins in the first of its start states.
    inputs : ndarray, shape (n_steps, n_inputs)

    Returns
    -------
    ndarray, shape (n_steps, size, size)
        The state of an LSTM is h and then c.

    Raises
    ------
    OptionError
        If there is no such cell.
    DataError
        If the inputs do not fit the weights.
    """
    weights, inputs = _checked(kind, weights, np.asarray(inputs)[None])
    states = _run(kind, weights, inputs)[0][0]
    cell = CELLS[kind]
    return np.stack([cell.jacobian(state, now, weights) for state, now in zip(states[:-1], inputs[0], strict=True)])


def driven_states(kind: str, weights: Any, inputs: np.ndarray) -> np.ndarray:
    """Give the states of a network on a batch of stimuli.

    Parameters
    ----------
    kind : {"vanilla", "lstm", "gru"}
    weights : NamedTuple of ndarray
        Of the cell; every trial begins in the first of its start states.
    inputs : ndarray, shape (n_trials, n_steps, n_inputs)

    Returns
    -------
    ndarray, shape (n_trials, n_steps + 1, size)
        Entry 0 is before the first step.

    Raises
    ------
    OptionError
        If there is no such cell.
    DataError
        If the inputs do not fit the weights.
    """
    return _run(kind, *_checked(kind, weights, inputs))[0]


def forget_times(weights: LSTMWeights, inputs: np.ndarray, *, dt_s: float) -> xr.Dataset:
    """Read the forget gates of an LSTM as leaks: a gate f forgets with the time constant ``-dt / log(f)``.

    Parameters
    ----------
    weights : LSTMWeights
        Every trial begins in the first of the start states.
    inputs : ndarray, shape (n_trials, n_steps, n_inputs)
    dt_s : float
        Time of a step.

    Returns
    -------
    xarray.Dataset
        ``gate`` over (trial, time, unit); over unit ``tau_s``, which belongs to the geometric mean of a unit's gates
        (their product is what a cell keeps), infinite where all are 1; and ``tau_low_s``, ``tau_high_s``, the 10 % and
        90 % quantiles over trials and time.

    Raises
    ------
    DataError
        If the inputs do not fit the weights.
    OptionError
        If `dt_s` is not positive.
    """
    dt_s = check_positive("dt_s", dt_s)
    weights, inputs = _checked("lstm", weights, inputs)
    n = weights.start.shape[1]
    gate = _run("lstm", weights, inputs)[1][:, :, n : 2 * n]
    with np.errstate(divide="ignore"):
        log_gate = np.log(gate)
        tau_s = -dt_s / log_gate.mean(axis=(0, 1))
        low_s, high_s = -dt_s / np.quantile(log_gate, (0.1, 0.9), axis=(0, 1))
    return xr.Dataset(
        {
            "gate": (("trial", "time", "unit"), gate),
            # A gate of exactly 1 gives -0.
            "tau_s": ("unit", np.abs(tau_s)),
            "tau_low_s": ("unit", np.abs(low_s)),
            "tau_high_s": ("unit", np.abs(high_s)),
        },
        coords={"time": ("time", np.arange(inputs.shape[1]) * dt_s, {"units": "s"}), "unit": np.arange(n)},
        attrs={"dt_s": dt_s},
    )


def _checked(kind: str, weights: Any, inputs: np.ndarray) -> tuple[Any, np.ndarray]:
    """Give weights and inputs in float64, or refuse what does not fit."""
    check_choice("kind", kind, DRIVEN)
    weights = type(weights)(*(np.ascontiguousarray(part, dtype=float) for part in weights))
    found = np.asarray(inputs, dtype=float)
    n_inputs = weights.input.shape[1]
    if found.ndim != 3 or found.shape[2] != n_inputs or 0 in found.shape[:2]:
        raise DataError(
            f"inputs have the shape {np.shape(inputs)}; expected trials, steps and {n_inputs} inputs.", where=kind
        )
    if not np.isfinite(found).all():
        raise DataError("inputs hold values that are not finite.", where=kind)
    return weights, found


def _run(kind: str, weights: Any, inputs: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Give states (n_trials, n_steps + 1, size) and the values of gates (n_trials, n_steps, n_gates n_units)."""
    cell, (n_trials, n_steps, _) = CELLS[kind], inputs.shape
    packed, tape = cell.pack(weights), cell.empty_tape(n_steps, weights)
    states, gates = [], []
    for first in range(0, n_trials, N_LANES):
        part = inputs[first : first + N_LANES]
        lanes = np.zeros((*inputs.shape[1:], N_LANES))
        lanes[:, :, : len(part)] = part.transpose(1, 2, 0)
        cell.start(weights, np.zeros(N_LANES, np.int64), tape)
        cell.forward(lanes.reshape(n_steps, -1), np.empty(0), packed, tape)
        flat = np.concatenate([getattr(tape, name) for name in cell.states], axis=1)
        states.append(flat.reshape(n_steps + 1, -1, N_LANES).transpose(2, 0, 1)[: len(part)].copy())
        if kind == "lstm":
            gates.append(tape.arguments.reshape(n_steps, -1, N_LANES).transpose(2, 0, 1)[: len(part)].copy())
    return np.concatenate(states), np.concatenate(gates) if gates else np.empty((n_trials, n_steps, 0))
