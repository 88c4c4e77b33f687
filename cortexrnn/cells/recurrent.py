"""Vanilla, LSTM and GRU behind one contract, and their exchange with PyTorch as plain arrays."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import numpy as np

from cortexrnn.cells.gru import GRUWeights
from cortexrnn.cells.gru_packed import (
    draw_gru,
    empty_gru_tape,
    gru_jacobian,
    pack_gru_weights,
    packed_gru_backward,
    packed_gru_backward_from,
    packed_gru_forward,
    packed_gru_forward_from,
)
from cortexrnn.cells.lstm import (
    LSTMWeights,
    draw_lstm,
    empty_lstm_tape,
    lstm_backward,
    lstm_backward_from,
    lstm_forward,
    lstm_forward_from,
    lstm_jacobian,
    pack_lstm_weights,
)
from cortexrnn.cells.vanilla import (
    VanillaWeights,
    draw_vanilla,
    empty_vanilla_tape,
    pack_vanilla_weights,
    vanilla_backward,
    vanilla_backward_from,
    vanilla_forward,
    vanilla_forward_from,
    vanilla_jacobian,
)
from cortexrnn.errors import DataError

# PyTorch's names for the first four fields of the weights of every cell.
_TORCH = ("weight_ih_l0", "weight_hh_l0", "bias_ih_l0", "bias_hh_l0")


class Cell(NamedTuple):
    """One kind of cell: what a training engine calls.

    Attributes
    ----------
    n_gates : int
        Rows of its weights in multiples of the number of units.
    weights : type
        NamedTuple of ``input``, ``hidden``, ``input_bias``, ``hidden_bias`` and the start states.
    draw : callable
        ``(n_inputs, n_hidden, *, seed, initial, dtype) -> weights``.
    pack : callable
        ``(weights) -> packed``; that of the vanilla cell also takes an activation.
    empty_tape : callable
        ``(n_steps, weights) -> tape`` with ``hidden``, (n_steps + 1, n_hidden * N_LANES).
    forward, forward_from : kernel
        ``(inputs, weights, packed, tape)``, and ``(inputs, packed, tape)`` from the states in entry 0 of the tape.
    backward, backward_from : kernel
        ``(inputs, by_hidden, weights, packed, tape, gradient, truncation)``, and without ``weights`` from the
        carried derivatives in the tape.
    jacobian : callable
        ``(state, inputs, weights) -> ndarray`` of one step of one trial in float64.
    """

    n_gates: int
    weights: type
    draw: Callable
    pack: Callable
    empty_tape: Callable
    forward: Callable
    forward_from: Callable
    backward: Callable
    backward_from: Callable
    jacobian: Callable


CELLS = {
    "vanilla": Cell(
        1, VanillaWeights, draw_vanilla, pack_vanilla_weights, empty_vanilla_tape, vanilla_forward,
        vanilla_forward_from, vanilla_backward, vanilla_backward_from, vanilla_jacobian,
    ),
    "lstm": Cell(
        4, LSTMWeights, draw_lstm, pack_lstm_weights, empty_lstm_tape, lstm_forward, lstm_forward_from,
        lstm_backward, lstm_backward_from, lstm_jacobian,
    ),
    "gru": Cell(
        3, GRUWeights, draw_gru, pack_gru_weights, empty_gru_tape, packed_gru_forward, packed_gru_forward_from,
        packed_gru_backward, packed_gru_backward_from, gru_jacobian,
    ),
}  # fmt: skip


def to_torch(weights: VanillaWeights | LSTMWeights | GRUWeights) -> dict[str, np.ndarray]:
    """Give weights as the state dictionary of ``torch.nn.RNN``, ``LSTM`` or ``GRU`` with one layer.

    PyTorch keeps no start states: hand them over as ``h0`` and ``c0``.

    Parameters
    ----------
    weights : VanillaWeights, LSTMWeights or GRUWeights

    Returns
    -------
    dict of ndarray
        Copies; ``{name: torch.from_numpy(values)}`` goes into ``load_state_dict``.
    """
    return {name: values.copy() for name, values in zip(_TORCH, weights[:4], strict=True)}


def from_torch(cell: Cell, state: Mapping[str, Any]) -> VanillaWeights | LSTMWeights | GRUWeights:
    """Give the weights that a state dictionary of PyTorch holds; start states are zero.

    Parameters
    ----------
    cell : Cell
        From `CELLS`.
    state : mapping of str to array
        ``weight_ih_l0``, ``weight_hh_l0`` and, unless the network has no biases, ``bias_ih_l0`` and ``bias_hh_l0``.

    Returns
    -------
    VanillaWeights, LSTMWeights or GRUWeights
        In the precision of ``weight_hh_l0``, float32 or float64.

    Raises
    ------
    DataError
        If an array is missing, unknown (further layers, the way back), of another shape, or not finite.
    """
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
    starts = [np.zeros(n_hidden, dtype) for _ in cell.weights._fields[4:]]
    return cell.weights(*arrays, *starts)


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
