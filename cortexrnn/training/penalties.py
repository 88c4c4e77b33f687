"""What training pays for beside errors: activity, its changes, and weights."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Any

import numpy as np
from numba import njit
from scipy.linalg import eigh
from threadpoolctl import threadpool_limits

from cortexrnn.errors import OptionError
from cortexrnn.numerics.lanes import N_LANES

# Fields of a core's weights that are matrices of connections; "back" is a bidirectional network's way back.
_STACKED = ("hidden", "hidden_back")
_CONNECTIONS = ("recurrent", *_STACKED, "input", "input_back")


@dataclass(frozen=True, kw_only=True, slots=True)
class Penalties:
    """Factors of terms that are added to the loss; 0 leaves a term out.

    Attributes
    ----------
    l2_rates : float
        Of the mean square of the hidden rates over units and the steps of the trials: a metabolic cost.
    smoothness : float
        Of the mean square of their change from step to step.
    omega : float
        Of the mean over steps and trials of ``(|J' e| / |e| - 1)^2``, the term against vanishing gradients of Pascanu,
        Mikolov and Bengio (2013); see `cortexrnn.cells.omega`. For circuits and vanilla cells. Song et al. (2016)
        train with 2.
    l2_weights, l1_weights : float
        Of the sum of squares, and of absolute values, of recurrent, input and read-out weights.
    spectral : float
        Of ``max(0, s - spectral_cap)^2``, with s the largest singular value of the recurrent weights, of every gate
        by itself. In a circuit they are the matrix that acts on the sources.
    spectral_cap : float
        Singular value up to which nothing is paid.

    Raises
    ------
    OptionError
        If a factor or the cap is negative or not finite.
    """

    l2_rates: float = 0.0
    smoothness: float = 0.0
    omega: float = 0.0
    l2_weights: float = 0.0
    l1_weights: float = 0.0
    spectral: float = 0.0
    spectral_cap: float = 1.0

    def __post_init__(self):
        for entry in fields(self):
            value = getattr(self, entry.name)
            if not 0.0 <= value < float("inf"):
                raise OptionError(f"{entry.name}={value!r} is not valid; expected a finite number of at least 0.")

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
        named = {name: part for name, part in weights._asdict().items() if name in _CONNECTIONS} | {"readout": readout}
        loss, by = 0.0, {}
        if self.l2_weights or self.l1_weights:
            for name, part in named.items():
                loss += self.l2_weights * float((part**2).sum(dtype=float))
                loss += self.l1_weights * float(np.abs(part).sum(dtype=float))
                by[name] = 2.0 * self.l2_weights * part + self.l1_weights * np.sign(part)
        if self.spectral:
            for name in ("recurrent", *_STACKED):
                if name in named:
                    excess, slope = _spectral_excess(_gates(name, named[name]), self.spectral_cap)
                    loss += self.spectral * excess
                    by[name] = by.get(name, 0.0) + self.spectral * slope.reshape(named[name].shape)
        return loss, by


def _gates(name: str, matrix: np.ndarray) -> np.ndarray:
    """Give recurrent weights gate by gate, (n_gates, n_units, n_sources)."""
    # A circuit's matrix is one, also where it has a multiple of its sources as rows.
    return matrix.reshape(-1, matrix.shape[1], matrix.shape[1]) if name in _STACKED else matrix[None]


def _spectral_excess(gates: np.ndarray, cap: float) -> tuple[float, np.ndarray]:
    """Give the sum over gates of ``max(0, s - cap)^2`` and its derivatives; those of s are ``u v'``."""
    total, slopes = 0.0, np.zeros_like(gates)
    if not gates.size:
        return total, slopes
    if not np.isfinite(gates).all():
        # Left to the check of the loss, which names the parameter.
        return float("nan"), slopes
    last = gates.shape[2] - 1
    # On one thread: the bits must not depend on how many there are.
    with threadpool_limits(1):
        for gate, slope in zip(gates.astype(float), slopes, strict=True):
            v = eigh(gate.T @ gate, subset_by_index=[last, last])[1][:, 0]
            image = gate @ v
            size = float(np.linalg.norm(image))
            if size > cap:
                total += (size - cap) ** 2
                slope[:] = np.outer(2.0 * (size - cap) / size * image, v)
    return total, slopes


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
