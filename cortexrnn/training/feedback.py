"""What a network is fed where a batch feeds back the last target: that, or its own last output."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from cortexrnn.errors import OptionError
from cortexrnn.numerics.lanes import N_LANES
from cortexrnn.numerics.streams import stream
from cortexrnn.training.losses import CROSS_ENTROPY, MSE

if TYPE_CHECKING:
    from cortexrnn.training.tasks.contract import Batch


def check_feedback(batch: Batch, n_outputs: int, can_step: bool) -> None:
    """Refuse to feed outputs back where they are no inputs.

    Parameters
    ----------
    batch : Batch
    n_outputs : int
    can_step : bool
        Whether the network can be swept one step at a time.

    Raises
    ------
    OptionError
        If the network looks ahead, the batch feeds back another number of values than there are outputs, or an
        output is no value: counts are drawn from it.
    """
    if not can_step:
        raise OptionError("a network that looks ahead in time cannot be fed its own outputs.")
    if batch.loss not in (MSE, CROSS_ENTROPY):
        raise OptionError(
            f"outputs of the loss {batch.loss!r} cannot be fed back; expected the loss {MSE!r} or {CROSS_ENTROPY!r}."
        )
    if batch.n_fed_back != n_outputs:
        raise OptionError(
            f"the batch feeds back {batch.n_fed_back} values and the network has {n_outputs} outputs; expected as many."
        )


def draw_fed(key: tuple, trials: range, n_steps: int, own: float, n_primed: int) -> np.ndarray:
    """Draw the steps at which every trial of a tile is fed its own output, none of the first ones, (n_steps, lanes)."""
    drawn = [stream(key[0], "sampling", *key[1:], trial).random(n_steps) < own for trial in trials]
    return np.stack(drawn, axis=1) & (np.arange(n_steps) >= n_primed)[:, None]


def feed(loss: str, answer: np.ndarray, is_own: np.ndarray, n_outputs: int, inputs: np.ndarray) -> None:
    """Put a step's outputs where the next step's last inputs are, in the lanes that are fed their own.

    Parameters
    ----------
    loss : str
        A squared error feeds the outputs, a cross entropy 1 at the largest of them and 0 at the others.
    answer : ndarray, shape (at least n_outputs * N_LANES,)
    is_own : ndarray of bool, shape (N_LANES,)
    n_outputs : int
    inputs : ndarray, shape (n_inputs * N_LANES,)
        Changed in place.
    """
    values = answer[: n_outputs * N_LANES].reshape(n_outputs, N_LANES)
    if loss == CROSS_ENTROPY:
        values = np.arange(n_outputs)[:, None] == values.argmax(axis=0)
    fed = inputs[-n_outputs * N_LANES :].reshape(n_outputs, N_LANES)
    fed[:, is_own] = values[:, is_own]
