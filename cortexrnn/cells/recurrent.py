"""Vanilla, LSTM, GRU and neural ODE behind one contract; the first three exchanged with PyTorch as plain arrays."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import numpy as np

from cortexrnn.cells import gru_packed, lstm, ode, ode_parts, vanilla
from cortexrnn.cells.gru_packed import GRUCellWeights
from cortexrnn.cells.lstm import LSTMWeights
from cortexrnn.cells.ode_parts import OdeWeights
from cortexrnn.cells.vanilla import VanillaWeights
from cortexrnn.errors import DataError, OptionError

# PyTorch's names for the first four fields of the weights of every cell.
_TORCH = ("weight_ih_l0", "weight_hh_l0", "bias_ih_l0", "bias_hh_l0")


class Cell(NamedTuple):
    """One kind of cell: what a training engine calls.

    Attributes
    ----------
    n_gates : int
        Rows of its weights in multiples of the number of units.
    weights : type
        NamedTuple of ``input``, ``hidden``, ``input_bias``, ``hidden_bias``, ``norm_gain`` and the start states,
        (n_groups, n_hidden) each; that of a neural ODE holds its vector field in place of the gain.
    states : tuple of str
        Fields of the tape that hold states, (n_steps + 1, n_hidden * N_LANES); entry 0 is before the first step.
    carried : tuple of str
        Fields of the tape that hold what is carried back to each of them, (n_hidden * N_LANES,).
    draw : callable
        ``(n_inputs, n_hidden, *, seed, initial, dtype, norm) -> weights`` with one group; a neural ODE has no norm.
    pack : callable
        ``(weights) -> packed``; that of the vanilla cell also takes an activation.
    empty_tape : callable
        ``(n_steps, weights) -> tape``.
    start : kernel
        ``(weights, group, tape)`` lays the start states into entry 0 of the tape.
    forward : kernel
        ``(inputs, keep, packed, tape)`` from entry 0 of the tape.
    backward : kernel
        ``(inputs, by_hidden, keep, packed, tape, gradient, truncation)`` from the carried derivatives in the tape,
        which the caller zeroes for the last steps; leaves there those of entry 0.
    add_start : kernel
        ``(tape, group, gradient)`` adds what is carried to the derivatives of the start states.
    jacobian : callable
        ``(state, inputs, weights) -> ndarray`` of one step of one trial in float64.
    """

    n_gates: int
    weights: type
    states: tuple[str, ...]
    carried: tuple[str, ...]
    draw: Callable
    pack: Callable
    empty_tape: Callable
    start: Callable
    forward: Callable
    backward: Callable
    add_start: Callable
    jacobian: Callable


CELLS = {
    "vanilla": Cell(
        n_gates=1,
        weights=VanillaWeights,
        states=vanilla.STATES,
        carried=vanilla.CARRIED,
        draw=vanilla.draw_vanilla,
        pack=vanilla.pack_vanilla_weights,
        empty_tape=vanilla.empty_vanilla_tape,
        start=vanilla.vanilla_start,
        forward=vanilla.vanilla_forward,
        backward=vanilla.vanilla_backward,
        add_start=vanilla.vanilla_add_start,
        jacobian=vanilla.vanilla_jacobian,
    ),
    "lstm": Cell(
        n_gates=4,
        weights=LSTMWeights,
        states=lstm.STATES,
        carried=lstm.CARRIED,
        draw=lstm.draw_lstm,
        pack=lstm.pack_lstm_weights,
        empty_tape=lstm.empty_lstm_tape,
        start=lstm.lstm_start,
        forward=lstm.lstm_forward,
        backward=lstm.lstm_backward,
        add_start=lstm.lstm_add_start,
        jacobian=lstm.lstm_jacobian,
    ),
    "gru": Cell(
        n_gates=3,
        weights=GRUCellWeights,
        states=gru_packed.STATES,
        carried=gru_packed.CARRIED,
        draw=gru_packed.draw_gru,
        pack=gru_packed.pack_gru_weights,
        empty_tape=gru_packed.empty_gru_tape,
        start=gru_packed.packed_gru_start,
        forward=gru_packed.packed_gru_forward,
        backward=gru_packed.packed_gru_backward,
        add_start=gru_packed.packed_gru_add_start,
        jacobian=gru_packed.gru_jacobian,
    ),
    "ode": Cell(
        n_gates=1,
        weights=OdeWeights,
        states=ode_parts.STATES,
        carried=ode_parts.CARRIED,
        draw=ode_parts.draw_ode,
        pack=ode_parts.pack_ode_weights,
        empty_tape=ode_parts.empty_ode_tape,
        start=ode.ode_start,
        forward=ode.ode_forward,
        backward=ode.ode_backward,
        add_start=ode.ode_add_start,
        jacobian=ode.ode_jacobian,
    ),
}


def to_torch(weights: VanillaWeights | LSTMWeights | GRUCellWeights) -> dict[str, np.ndarray]:
    """Give weights as the state dictionary of ``torch.nn.RNN``, ``LSTM`` or ``GRU`` with one layer.

    PyTorch keeps no start states: hand them over as ``h0`` and ``c0``.

    Parameters
    ----------
    weights : VanillaWeights, LSTMWeights or GRUCellWeights

    Returns
    -------
    dict of ndarray
        Copies; ``{name: torch.from_numpy(values)}`` goes into ``load_state_dict``.

    Raises
    ------
    OptionError
        If PyTorch has no such network: a neural ODE, or one with layer norm.
    """
    _refuse_ode(type(weights))
    if weights.norm_gain.size:
        raise OptionError(
            f"the network has layer norm with {weights.norm_gain.size} gains, for which PyTorch's cells have no place.",
            hint="Train a network without layer norm for PyTorch.",
        )
    return {name: values.copy() for name, values in zip(_TORCH, weights[:4], strict=True)}


def from_torch(cell: Cell, state: Mapping[str, Any]) -> VanillaWeights | LSTMWeights | GRUCellWeights:
    """Give the weights that a state dictionary of PyTorch holds; one group of start states, which are zero.

    Parameters
    ----------
    cell : Cell
        From `CELLS`.
    state : mapping of str to array
        ``weight_ih_l0``, ``weight_hh_l0`` and, unless the network has no biases, ``bias_ih_l0`` and ``bias_hh_l0``.

    Returns
    -------
    VanillaWeights, LSTMWeights or GRUCellWeights
        In the precision of ``weight_hh_l0``, float32 or float64.

    Raises
    ------
    DataError
        If an array is missing, unknown (further layers, the way back), of another shape, or not finite.
    OptionError
        If the cell is a neural ODE.
    """
    _refuse_ode(cell.weights)
    unknown = sorted(set(state) - set(_TORCH))
    if unknown:
        raise DataError(
            f"the state dictionary holds {unknown[0]!r}; expected one layer in one direction: {', '.join(_TORCH)}.",
            hint="Take one layer of the network and name its arrays as those of layer 0.",
        )
    missing = [name for name in _TORCH[:2] if name not in state]
    if missing:
        raise DataError(f"the state dictionary has no {missing[0]!r}.", hint="Expected that of one layer.")
    hidden = np.asarray(state["weight_hh_l0"])
    n_hidden = hidden.shape[-1] if hidden.ndim else 0
    n_inputs = np.asarray(state["weight_ih_l0"]).shape[-1:]
    n_rows = cell.n_gates * n_hidden
    dtype = np.float32 if hidden.dtype == np.float32 else np.float64
    shapes = ((n_rows, *n_inputs), (n_rows, n_hidden), (n_rows,), (n_rows,))
    arrays = [_checked(name, state, shape, dtype) for name, shape in zip(_TORCH, shapes, strict=True)]
    starts = [np.zeros((1, n_hidden), dtype) for _ in cell.states]
    return cell.weights(*arrays, np.zeros(0, dtype), *starts)


def _refuse_ode(weights: type) -> None:
    """Say that PyTorch has no neural ODE."""
    if weights is OdeWeights:
        raise OptionError(
            "cell='ode' has no counterpart in PyTorch; expected a vanilla, LSTM or GRU network.",
            hint="Keep it as a saved network.",
        )


def _checked(name: str, state: Mapping[str, Any], shape: tuple[int, ...], dtype: type) -> np.ndarray:
    """Give a copy of one array of a state dictionary, or say what is wrong with it."""
    if name not in state:
        return np.zeros(shape, dtype)
    values = np.array(state[name], dtype=dtype, order="C")
    if values.shape != shape or not values.size:
        raise DataError(f"{name} has the shape {values.shape}; expected {shape}.", hint="Is it another kind of cell?")
    if not np.isfinite(values).all():
        raise DataError(f"{name} holds {int((~np.isfinite(values)).sum())} values that are not finite.")
    return values
