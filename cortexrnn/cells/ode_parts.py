"""Weights of a neural ODE, how they are drawn and packed, and the tape of its sweeps."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from cortexrnn._checks import check_count
from cortexrnn.cells.initial import UNIFORM, Initial, draw_arrays
from cortexrnn.cells.sweeps import OuterSums, empty_outer_sums, spread
from cortexrnn.numerics.lanes import N_LANES
from cortexrnn.numerics.packed import pack_rows, padded_rows
from cortexrnn.numerics.streams import stream

# Fields of the tape that hold states, and of what is carried to them.
STATES, CARRIED = ("hidden",), ("carried",)
# An oscillation with eight gaps a period is followed to 1e-5 of its size from gap to gap: n (pi / 4n)^5 / 120.
N_SUBSTEPS = 4
# Inputs before x: the gap, and whether there is a sample.
N_TIMING = 2


class OdeWeights(NamedTuple):
    """Weights of a neural ODE, all float32 or all float64; the gradient has the same fields.

    Attributes
    ----------
    input : ndarray, shape (n_hidden, n_inputs - 2)
        Input weights of the update; gap and presence of a sample have none.
    hidden : ndarray, shape (n_hidden, n_hidden)
        Recurrent weights of the update.
    input_bias, hidden_bias : ndarray, shape (n_hidden,)
        Biases of the two products.
    field_in : ndarray, shape (n_field, n_hidden)
        From the state to the hidden layer of the vector field.
    field_in_bias : ndarray, shape (n_field,)
    field_out : ndarray, shape (n_hidden, n_field)
        From there to the time derivative of the state, per second.
    field_out_bias : ndarray, shape (n_hidden,)
    start : ndarray, shape (n_groups, n_hidden)
        State before the first gap.
    """

    input: np.ndarray
    hidden: np.ndarray
    input_bias: np.ndarray
    hidden_bias: np.ndarray
    field_in: np.ndarray
    field_in_bias: np.ndarray
    field_out: np.ndarray
    field_out_bias: np.ndarray
    start: np.ndarray


class OdePacked(NamedTuple):
    """Weights packed for products, once for all tiles of a step of the optimiser, and the number of substeps.

    Attributes
    ----------
    input, hidden, field_in, field_out : ndarray
        From `pack_rows`; `input` has zeros for gap and presence.
    input_t, hidden_t, field_in_t, field_out_t : ndarray
        Of the transposed weights, for the way back.
    bias : ndarray, shape (padded,)
        Sum of the biases of the update in every lane.
    field_in_bias, field_out_bias : ndarray, shape (padded,)
        In every lane.
    n_substeps : int
        Runge-Kutta steps a gap.
    """

    input: np.ndarray
    hidden: np.ndarray
    field_in: np.ndarray
    field_out: np.ndarray
    input_t: np.ndarray
    hidden_t: np.ndarray
    field_in_t: np.ndarray
    field_out_t: np.ndarray
    bias: np.ndarray
    field_in_bias: np.ndarray
    field_out_bias: np.ndarray
    n_substeps: int


class OdeTape(NamedTuple):
    """What a forward sweep leaves behind for the adjoint sweep.

    Attributes
    ----------
    arguments : ndarray, shape (n_steps, n_hidden * N_LANES)
        What the state is moved to; the adjoint sweep overwrites it with the derivatives of the loss with respect to
        the arguments of its tanh.
    hidden : ndarray, shape (n_steps + 1, n_hidden * N_LANES)
        States after the samples; entry 0 is before the first gap.
    carried : ndarray, shape (n_hidden * N_LANES,)
        Derivatives with respect to the state: before an adjoint sweep those that later steps pass to the last
        one, after it those of entry 0.
    outer : OuterSums
        Of the derivatives of the update with states and inputs.
    outer_in, outer_out : OuterSums
        Of the derivatives of the vector field's layers with what they receive.
    """

    arguments: np.ndarray
    hidden: np.ndarray
    carried: np.ndarray
    outer: OuterSums
    outer_in: OuterSums
    outer_out: OuterSums


def draw_ode(
    n_inputs: int,
    n_hidden: int,
    *,
    seed: int,
    initial: Initial = UNIFORM,
    dtype: type = np.float32,
    n_field: int | None = None,
) -> OdeWeights:
    """Draw initial weights: the update as `cortexrnn.cells.initial` says, the field uniform, the start state zero.

    Parameters
    ----------
    n_inputs : int
        At least 2: gap, presence, x.
    n_hidden : int
    seed : int
    initial : Initial
        Of the update.
    dtype : numpy float type
    n_field : int, optional
        Units of the vector field's hidden layer; as many as `n_hidden` if not given. Weights of both layers are
        uniform in +-1 over the root of the number of their sources, as are linear layers in PyTorch.

    Returns
    -------
    OdeWeights

    Raises
    ------
    OptionError
        If a size is not a count, or the cell has no gates that the wish is about.
    """
    n_inputs = check_count("n_inputs", n_inputs, at_least=N_TIMING)
    drawn = draw_arrays(1, n_inputs - N_TIMING, n_hidden, seed=seed, initial=initial, norm=False)
    # There is no layer norm: the state between samples has no product to normalise.
    del drawn["norm_gain"]
    n_hidden = drawn["hidden_bias"].size
    n_field = n_hidden if n_field is None else check_count("n_field", n_field)
    for name, n_rows, n_sources in (("field_in", n_field, n_hidden), ("field_out", n_hidden, n_field)):
        bound = 1.0 / np.sqrt(n_sources)
        drawn[name] = stream(seed, "cell", name).uniform(-bound, bound, (n_rows, n_sources))
        drawn[f"{name}_bias"] = stream(seed, "cell", f"{name} bias").uniform(-bound, bound, n_rows)
    arrays = {name: values.astype(dtype) for name, values in drawn.items()}
    return OdeWeights(**arrays, start=np.zeros((1, n_hidden), dtype))


def pack_ode_weights(weights: OdeWeights, n_substeps: int = N_SUBSTEPS) -> OdePacked:
    """Pack the weights for the products of a sweep with `n_substeps` Runge-Kutta steps a gap."""
    n_hidden, dtype = weights.hidden.shape[0], weights.hidden.dtype
    from_input = np.concatenate([np.zeros((n_hidden, N_TIMING), dtype), weights.input], axis=1)

    def in_lanes(values: np.ndarray) -> np.ndarray:
        out = np.zeros(padded_rows(values.size) * N_LANES, dtype)
        spread(values, out)
        return out

    matrices = {"hidden": weights.hidden, "field_in": weights.field_in, "field_out": weights.field_out}
    matrices["input"] = from_input
    ways = {name: pack_rows(matrix) for name, matrix in matrices.items()}
    back = {f"{name}_t": pack_rows(np.ascontiguousarray(matrix.T)) for name, matrix in matrices.items()}
    return OdePacked(
        **ways,
        **back,
        bias=in_lanes(weights.input_bias + weights.hidden_bias),
        field_in_bias=in_lanes(weights.field_in_bias),
        field_out_bias=in_lanes(weights.field_out_bias),
        n_substeps=n_substeps,
    )


def empty_ode_tape(n_steps: int, weights: OdeWeights) -> OdeTape:
    """Allocate the tape of a tile; it can be used for any number of sweeps of this length."""
    (n_field, n_hidden), dtype = weights.field_in.shape, weights.hidden.dtype
    size = n_hidden * N_LANES
    return OdeTape(
        arguments=np.zeros((n_steps, size), dtype),
        hidden=np.zeros((n_steps + 1, size), dtype),
        carried=np.zeros(size, dtype),
        outer=empty_outer_sums(n_hidden, n_hidden + N_TIMING + weights.input.shape[1], dtype),
        outer_in=empty_outer_sums(n_field, n_hidden, dtype),
        outer_out=empty_outer_sums(n_hidden, n_field, dtype),
    )
