"""What training pays for beside errors: activity, its changes, and weights."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Any

import numpy as np
from numba import njit

from cortexrnn.errors import OptionError
from cortexrnn.numerics.lanes import N_LANES

# Fields of a core's weights that are matrices of connections.
_CONNECTIONS = ("recurrent", "hidden", "input")


@dataclass(frozen=True, kw_only=True, slots=True)
class Penalties:
    """Factors of terms that are added to the loss; 0 leaves a term out.

    Attributes
    ----------
    l2_rates : float
        Of the mean square of the hidden rates over units and the steps of the trials: a metabolic cost.
    smoothness : float
        Of the mean square of their change from step to step.
    l2_weights, l1_weights : float
        Of the sum of squares, and of absolute values, of recurrent, input and read-out weights.

    Raises
    ------
    OptionError
        If a factor is negative or not finite.
    """

    l2_rates: float = 0.0
    smoothness: float = 0.0
    l2_weights: float = 0.0
    l1_weights: float = 0.0

    def __post_init__(self):
        for entry in fields(self):
            value = getattr(self, entry.name)
            if not 0.0 <= value < float("inf"):
                raise OptionError(f"{entry.name}={value!r} is not valid; expected a finite factor of at least 0.")

    @property
    def is_on_rates(self) -> bool:
        """Whether the hidden rates are penalised."""
        return self.l2_rates > 0.0 or self.smoothness > 0.0

    def of_weights(self, weights: Any, readout: np.ndarray) -> tuple[float, dict[str, np.ndarray]]:
        """Give the term of the weights and its derivatives by the fields' names, the read-out's as ``readout``.

        Parameters
        ----------
        weights : NamedTuple of ndarray
            Of the core.
        readout : ndarray, shape (n_outputs, n_hidden)

        Returns
        -------
        loss : float
        derivatives : dict of str to ndarray
            Empty where no weight is penalised.
        """
        if not (self.l2_weights or self.l1_weights):
            return 0.0, {}
        named = {name: part for name, part in weights._asdict().items() if name in _CONNECTIONS} | {"readout": readout}
        loss = sum(
            self.l2_weights * float((part**2).sum(dtype=float)) + self.l1_weights * float(np.abs(part).sum(dtype=float))
            for part in named.values()
        )
        by = {name: 2.0 * self.l2_weights * part + self.l1_weights * np.sign(part) for name, part in named.items()}
        return loss, by


def alive(length: np.ndarray, n_steps: int) -> np.ndarray:
    """Give the weight of every step, (n_trials, n_steps): the same up to a trial's end, in all 1."""
    return (np.arange(n_steps) < length[:, None]) / length.sum(dtype=float)


@njit(cache=True, nogil=True, error_model="numpy")
def add_rate_penalties(hidden, weight, l2_rates, smoothness, by_hidden):
    """Give the terms of a tile's rates and add their derivatives.

    Parameters
    ----------
    hidden : ndarray, shape (n_steps + 1, n_hidden * N_LANES)
        Entry 0 is before the first step and is not counted.
    weight : ndarray, shape (n_steps, N_LANES)
        Of every step; sums to 1 over the batch.
    l2_rates, smoothness : float
        Factors.
    by_hidden : ndarray, shape (n_steps * n_hidden * N_LANES or more,)
        Added to.

    Returns
    -------
    float
    """
    n_steps, size = weight.shape[0], hidden.shape[1]
    per_unit = N_LANES / size
    total = 0.0
    for t in range(n_steps):
        for i in range(size):
            w = weight[t, i % N_LANES] * per_unit
            if w > 0.0:
                rate = hidden[t + 1, i]
                change = rate - hidden[t, i] if t > 0 else 0.0
                total += w * (l2_rates * rate * rate + smoothness * change * change)
                by_hidden[t * size + i] += 2.0 * w * (l2_rates * rate + smoothness * change)
                if t > 0:
                    by_hidden[(t - 1) * size + i] -= 2.0 * w * smoothness * change
    return total
