"""What the leaky rate cell is made of: units, weights, and the tape of a tile of 16 trials."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from cortexrnn.cells.sweeps import OuterSums, empty_outer_sums
from cortexrnn.numerics.lanes import N_LANES
from cortexrnn.numerics.packed import pack_rows, padded_rows

CURRENT, RATE = 0, 1
# Fields of a tape that have an entry before the first step.
STATES = ("y", "rate", "u", "x")


class RateUnits(NamedTuple):
    """What does not change while a cell is trained.

    Attributes
    ----------
    form : int
        `CURRENT` or `RATE`.
    first : ndarray of int64, shape (n_populations + 1,)
        Where each population's units start.
    codes : ndarray of int64, shape (n_populations,)
        Activation of each population.
    shapes : ndarray of float64, shape (n_populations, 3)
        Its gain, threshold and exponent.
    static_unit : ndarray of int64, shape (n_static,)
        Units that send through static weights.
    plastic_unit : ndarray of int64, shape (n_plastic,)
        Units that send through plastic weights; their sources come after the static ones.
    convention : ndarray of int64, shape (n_plastic,)
        Convention of the plasticity of each.
    rate_scale_hz : float
        What a rate of 1 is in Hz.
    dt_s : float
        Time step.
    """

    form: int
    first: np.ndarray
    codes: np.ndarray
    shapes: np.ndarray
    static_unit: np.ndarray
    plastic_unit: np.ndarray
    convention: np.ndarray
    rate_scale_hz: float
    dt_s: float


class RateWeights(NamedTuple):
    """What is trained, all float32 or all float64; the gradient has the same fields.

    Attributes
    ----------
    recurrent : ndarray, shape (n_units, n_sources)
        From static and plastic sources to units.
    input : ndarray, shape (n_units, n_inputs)
    bias, tau_s : ndarray, shape (n_units,)
        Bias and time constant.
    start : ndarray, shape (n_groups, n_units)
        State before the first step of every group of trials.
    U, tau_f_s, tau_d_s : ndarray, shape (n_plastic,)
        Plasticity of every plastic source.
    """

    recurrent: np.ndarray
    input: np.ndarray
    bias: np.ndarray
    tau_s: np.ndarray
    start: np.ndarray
    U: np.ndarray
    tau_f_s: np.ndarray
    tau_d_s: np.ndarray


class RatePacked(NamedTuple):
    """Weights packed for products, once for all tiles of a step of the optimiser.

    Attributes
    ----------
    recurrent, input : ndarray
        From `pack_rows`.
    recurrent_t : ndarray
        The transposed recurrent weights, for the way back.
    """

    recurrent: np.ndarray
    input: np.ndarray
    recurrent_t: np.ndarray


class RateTape(NamedTuple):
    """What a forward sweep leaves behind for the adjoint sweep.

    Attributes
    ----------
    y, rate : ndarray, shape (n_steps + 1, n_units * N_LANES)
        State and rate; entry 0 is before the first step. The adjoint sweep overwrites ``y`` from entry 1 on with the
        derivatives of the loss with respect to it.
    drive : ndarray, shape (n_steps, padded)
        Argument z; the adjoint sweep overwrites it with the derivatives of the loss with respect to it.
    sent : ndarray, shape (n_steps, n_sources * N_LANES)
        What the sources send; not touched where that is the rate of every unit.
    u, x : ndarray, shape (n_steps + 1, n_plastic * N_LANES)
        State of the plastic synapses.
    carried : ndarray, shape (n_units * N_LANES,)
        Derivatives with respect to y: before an adjoint sweep those that later steps pass to the last entry, after
        it those of entry 0, without what the loss sees of that entry's rate.
    carried_synapses : ndarray, shape (2, n_plastic * N_LANES)
        The same with respect to u and x.
    outer : OuterSums
        Of the derivatives with what was sent and with the inputs.
    """

    y: np.ndarray
    rate: np.ndarray
    drive: np.ndarray
    sent: np.ndarray
    u: np.ndarray
    x: np.ndarray
    carried: np.ndarray
    carried_synapses: np.ndarray
    outer: OuterSums


def pack_rate_weights(weights: RateWeights) -> RatePacked:
    """Pack the weights for the products of a sweep."""
    return RatePacked(
        recurrent=pack_rows(weights.recurrent),
        input=pack_rows(weights.input),
        recurrent_t=pack_rows(np.ascontiguousarray(weights.recurrent.T)),
    )


def empty_rate_tape(n_steps: int, weights: RateWeights) -> RateTape:
    """Allocate the tape of a tile; it can be used for any number of sweeps of this length."""
    n_units, n_sources = weights.recurrent.shape
    n_plastic, dtype = weights.U.size, weights.bias.dtype

    def room(n_rows: int, n: int) -> np.ndarray:
        return np.zeros((n_rows, n * N_LANES), dtype)

    return RateTape(
        y=room(n_steps + 1, n_units),
        rate=room(n_steps + 1, n_units),
        drive=room(n_steps, padded_rows(n_units)),
        sent=room(n_steps, n_sources),
        u=room(n_steps + 1, n_plastic),
        x=room(n_steps + 1, n_plastic),
        carried=room(1, n_units)[0],
        carried_synapses=room(2, n_plastic),
        outer=empty_outer_sums(n_units, n_sources + weights.input.shape[1], dtype),
    )
