"""Vanilla, LSTM and GRU cells against PyTorch: stored states, losses and gradients in float64."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from cortexrnn.cells.activation import Activation
from cortexrnn.cells.recurrent import CELLS, from_torch, to_torch
from cortexrnn.cells.sweeps import add_input_gradient
from cortexrnn.numerics.lanes import N_LANES

STORED = Path(__file__).parent / "data" / "recurrent_torch.npz"
NAMES = ("weight_ih_l0", "weight_hh_l0", "bias_ih_l0", "bias_hh_l0")
KINDS = {"tanh": "vanilla", "relu": "vanilla", "lstm": "lstm", "gru": "gru"}
STARTS = {"start": "h0", "start_cell": "c0"}


@pytest.fixture(scope="module")
def stored():
    with np.load(STORED, allow_pickle=False) as file:
        return dict(file)


def run(stored, kind, dtype=np.float64):
    """States, loss, gradient and derivatives by inputs of the stored problem."""
    cell = CELLS[KINDS[kind]]
    weights = from_torch(cell, {name: stored[f"{kind}_{name}"] for name in NAMES})
    starts = {field: stored[f"{kind}_{STARTS[field]}"][None] for field in weights._fields[5:]}
    weights = type(weights)(*(part.astype(dtype) for part in weights._replace(**starts)))
    inputs, target = (stored[name].reshape(len(stored[name]), -1).astype(dtype) for name in ("inputs", "target"))
    mask = np.tile(stored["mask"], (1, target.shape[1] // N_LANES)).astype(dtype)
    packed = cell.pack(weights, Activation(kind=kind)) if kind in ("tanh", "relu") else cell.pack(weights)
    tape = cell.empty_tape(len(inputs), weights)
    group, no_dropout = np.zeros(N_LANES, int), np.empty(0, dtype)
    cell.start(weights, group, tape)
    cell.forward(inputs, no_dropout, packed, tape)
    apart = mask * (tape.hidden[1:] - target)
    gradient = type(weights)(*(np.zeros_like(part) for part in weights))
    cell.backward(inputs, apart, no_dropout, packed, tape, gradient, 0)
    cell.add_start(tape, group, gradient)
    by_inputs = np.zeros_like(inputs)
    add_input_gradient(tape.arguments, packed.input_t, by_inputs)
    return tape.hidden[1:], 0.5 * float((apart**2).sum()), gradient, by_inputs


def by_torch_name(gradient):
    """Give the derivatives by PyTorch's names; without layer norm the field of its gain is empty."""
    found = dict(zip(NAMES, gradient, strict=False))
    return found | {STARTS[field]: getattr(gradient, field) for field in gradient._fields[5:]}


@pytest.mark.parametrize("kind", KINDS)
def test_states_and_loss_equal_pytorchs(stored, kind):
    hidden, loss, _, _ = run(stored, kind)
    np.testing.assert_allclose(hidden, stored[f"{kind}_states"].reshape(hidden.shape), rtol=0, atol=1e-10)
    np.testing.assert_allclose(loss, stored[f"{kind}_loss"], rtol=1e-10)


@pytest.mark.parametrize("kind", KINDS)
def test_all_gradients_equal_pytorchs(stored, kind):
    _, _, gradient, by_inputs = run(stored, kind)
    for name, ours in (by_torch_name(gradient) | {"inputs": by_inputs}).items():
        theirs = stored[f"{kind}_by_{name}"].reshape(ours.shape)
        np.testing.assert_allclose(ours, theirs, rtol=0, atol=1e-10 * np.abs(theirs).max(), err_msg=name)


@pytest.mark.parametrize("kind", KINDS)
def test_float32_gradients_agree_within_single_precision(stored, kind):
    _, _, gradient, _ = run(stored, kind, np.float32)
    for name, ours in by_torch_name(gradient).items():
        theirs = stored[f"{kind}_by_{name}"].reshape(ours.shape)
        # Sums of some hundred terms in float32, each the end of up to 20 steps.
        np.testing.assert_allclose(ours, theirs, rtol=0, atol=2e-5 * np.abs(theirs).max(), err_msg=name)


@pytest.mark.parametrize("kind", KINDS)
def test_a_state_dictionary_goes_there_and_back_to_the_bit(stored, kind):
    state = {name: stored[f"{kind}_{name}"] for name in NAMES}
    back = to_torch(from_torch(CELLS[KINDS[kind]], state))
    assert list(back) == list(state)
    for name, values in state.items():
        np.testing.assert_array_equal(back[name], values)
