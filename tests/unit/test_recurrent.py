"""The contract of vanilla, LSTM and GRU cells, every test on each; oracles: the twins in reference/cells_twin.py."""

from __future__ import annotations

import runpy
from pathlib import Path

import numpy as np
import pytest

from cortexrnn.cells.recurrent import CELLS, from_torch, to_torch
from cortexrnn.cells.sweeps import add_input_gradient
from cortexrnn.errors import DataError
from cortexrnn.numerics.lanes import N_LANES

TWIN = runpy.run_path(str(Path(__file__).parents[1] / "reference" / "cells_twin.py"))
# Units, inputs, steps: odd ones, whole blocks of 8 and 16, no input, more than one chunk of 32 steps.
SIZES = [(5, 3, 40), (16, 8, 70), (9, 0, 33), (1, 1, 3), (8, 17, 32)]
ALL = [(name, size) for name in CELLS for size in SIZES]


def a_problem(name, n_hidden, n_inputs, n_steps, dtype=np.float64, seed=0):
    """Weights with start states, inputs and a cotangent for every state."""
    rng = np.random.default_rng(seed)
    weights = CELLS[name].draw(n_inputs, n_hidden, seed=seed, dtype=dtype)
    starts = (0.3 * rng.normal(size=(len(weights) - 4, n_hidden))).astype(dtype)
    weights = type(weights)(*weights[:4], *starts)
    inputs = rng.normal(size=(n_steps, n_inputs * N_LANES)).astype(dtype)
    by_hidden = rng.normal(size=(n_steps, n_hidden * N_LANES)).astype(dtype)
    return weights, inputs, by_hidden


def forward(name, weights, inputs):
    """Run forward; gives packed weights and tape."""
    cell = CELLS[name]
    packed, tape = cell.pack(weights), cell.empty_tape(len(inputs), weights)
    cell.forward(inputs, weights, packed, tape)
    return packed, tape


def zeros_like(weights):
    """Give a gradient to add to."""
    return type(weights)(*(np.zeros_like(part) for part in weights))


def backward(name, weights, inputs, by_hidden, truncation=0):
    """Run forward and back; gives gradient, tape, and the derivatives with respect to inputs."""
    packed, tape = forward(name, weights, inputs)
    gradient = zeros_like(weights)
    CELLS[name].backward(inputs, by_hidden, weights, packed, tape, gradient, truncation)
    by_inputs = np.zeros_like(inputs)
    add_input_gradient(tape.arguments, packed.input_t, by_inputs)
    return gradient, tape, by_inputs


def lanes(values):
    """Give (n_steps, n * N_LANES) as (N_LANES, n_steps, n)."""
    return values.reshape(len(values), -1, N_LANES).transpose(2, 0, 1)


def twin_loss(name, weights, inputs, by_hidden):
    """The sum of cotangent times state over all trials, by the twin."""
    step = TWIN["STEPS"][name]
    return sum(
        np.sum(by * TWIN["run"](step, x, weights[:4], weights[4:]))
        for x, by in zip(lanes(inputs), lanes(by_hidden), strict=True)
    )


def norm(parts):
    """Euclidean norm over several arrays."""
    return np.sqrt(sum(float((part**2).sum()) for part in parts))


@pytest.mark.parametrize(("name", "size"), ALL)
def test_the_forward_sweep_is_that_of_the_twin(name, size):
    weights, inputs, _ = a_problem(name, *size)
    found = lanes(forward(name, weights, inputs)[1].hidden[1:])
    for lane, x in enumerate(lanes(inputs)):
        twin = TWIN["run"](TWIN["STEPS"][name], x, weights[:4], weights[4:])
        # Round-off of float64 over some tens of steps of a contracting map.
        np.testing.assert_allclose(found[lane], twin, rtol=0, atol=1e-13)


@pytest.mark.parametrize("name", CELLS)
def test_float32_stays_within_single_precision_of_the_twin(name):
    weights, inputs, _ = a_problem(name, 16, 4, 300, dtype=np.float32)
    found = lanes(forward(name, weights, inputs)[1].hidden[1:])
    wide = [part.astype(float) for part in weights]
    twin = TWIN["run"](TWIN["STEPS"][name], lanes(inputs)[3].astype(float), wide[:4], wide[4:])
    # Some tens of roundings of 6e-8 a step, which the contracting map does not pile up.
    np.testing.assert_allclose(found[3], twin, rtol=0, atol=5e-6)


@pytest.mark.parametrize(("name", "size"), ALL)
def test_the_gradient_is_that_of_central_differences(name, size):
    """Along one random direction in all weights at once, of our own forward sweep: 1e-7 relative to the norms."""
    weights, inputs, by_hidden = a_problem(name, *size, seed=1)
    gradient, _, _ = backward(name, weights, inputs, by_hidden)
    rng = np.random.default_rng(2)
    direction = [rng.normal(size=part.shape) for part in weights]
    step = 3e-5 / norm(direction)

    def loss(sign):
        moved = type(weights)(*(w + sign * step * d for w, d in zip(weights, direction, strict=True)))
        return float((forward(name, moved, inputs)[1].hidden[1:] * by_hidden).sum())

    numeric = (loss(1.0) - loss(-1.0)) / (2.0 * step)
    analytic = sum(float((g * d).sum()) for g, d in zip(gradient, direction, strict=True))
    assert abs(numeric - analytic) <= 1e-7 * norm(direction) * norm(gradient)


@pytest.mark.parametrize(("name", "size"), ALL)
def test_the_adjoint_identity_holds_for_every_array_of_weights(name, size):
    """<cotangent, J v> = <J^T cotangent, v> to 1e-12 of the norms, J v by imaginary steps of the twin."""
    weights, inputs, by_hidden = a_problem(name, *size, seed=3)
    gradient, _, _ = backward(name, weights, inputs, by_hidden)
    rng = np.random.default_rng(4)
    e = 1e-200
    for field, part in weights._asdict().items():
        v = rng.normal(size=part.shape)
        forward_side = twin_loss(name, weights._replace(**{field: part + 1j * e * v}), inputs, by_hidden).imag / e
        found = getattr(gradient, field)
        backward_side = float((found * v).sum())
        size_of = norm([v]) * norm(gradient)
        np.testing.assert_allclose(backward_side, forward_side, rtol=0, atol=1e-12 * size_of, err_msg=field)


@pytest.mark.parametrize(("name", "size"), ALL)
def test_the_adjoint_identity_holds_for_the_inputs(name, size):
    weights, inputs, by_hidden = a_problem(name, *size, seed=5)
    _, _, by_inputs = backward(name, weights, inputs, by_hidden)
    v = np.random.default_rng(6).normal(size=inputs.shape)
    forward_side = np.imag(twin_loss(name, weights, inputs + 1e-200j * v, by_hidden)) / 1e-200
    # 1e-12 of the norms, as above.
    assert abs(float((by_inputs * v).sum()) - forward_side) <= 1e-12 * norm([v]) * norm([by_inputs])


@pytest.mark.parametrize("name", CELLS)
def test_no_gradient_reaches_an_input_that_is_older_than_a_block(name):
    """Exactly zero: blocks of 10 steps, a loss on the last of 45, so the last block starts at 40."""
    weights, inputs, by_hidden = a_problem(name, 7, 2, 45)
    by_hidden[:-1] = 0.0
    old_only = inputs.copy()
    old_only[40:] = 0.0
    gradient, tape, by_inputs = backward(name, weights, old_only, by_hidden, truncation=10)
    np.testing.assert_array_equal(by_inputs[:40], 0.0)
    np.testing.assert_array_equal(gradient.input, 0.0)
    np.testing.assert_array_equal([gradient[k] for k in range(4, len(gradient))], 0.0)
    assert np.abs(by_inputs[40:]).min() > 0.0
    # The state is passed on all the same: what is carried away from the border was formed from it.
    np.testing.assert_array_equal(tape.hidden, forward(name, weights, old_only)[1].hidden)
    assert np.abs(backward(name, weights, old_only, by_hidden)[2][:40]).min() > 0.0


@pytest.mark.parametrize("name", CELLS)
def test_a_block_longer_than_the_trial_changes_no_bit(name):
    weights, inputs, by_hidden = a_problem(name, 7, 2, 45)
    whole = backward(name, weights, inputs, by_hidden)[0]
    for truncation in (45, 1000):
        for a, b in zip(backward(name, weights, inputs, by_hidden, truncation)[0], whole, strict=True):
            np.testing.assert_array_equal(a, b)


def run_in_parts(name, weights, inputs, by_hidden, first, carries):
    """Run two parts, each with a tape of its own; gives states, carried derivatives and gradient."""
    cell = CELLS[name]
    packed, gradient = cell.pack(weights), zeros_like(weights)
    early, late = cell.empty_tape(first, weights), cell.empty_tape(len(inputs) - first, weights)
    cell.forward(inputs[:first], weights, packed, early)
    moved = {"hidden": "carried", "cell": "carried_cell"}
    states = [field for field in moved if field in early._fields]
    for field in states:
        getattr(late, field)[0] = getattr(early, field)[-1]
    cell.forward_from(inputs[first:], packed, late)
    cell.backward_from(inputs[first:], by_hidden[first:], packed, late, gradient, 0)
    for field in states:
        getattr(early, moved[field])[:] = getattr(late, moved[field]) if carries else 0.0
    cell.backward_from(inputs[:first], by_hidden[:first], packed, early, gradient, 0)
    return np.concatenate([early.hidden, late.hidden[1:]]), [getattr(early, moved[field]) for field in states], gradient


@pytest.mark.parametrize("name", CELLS)
def test_a_trial_in_two_parts_is_the_whole_trial(name):
    """States and carried derivatives to the bit; sums over steps to rounding, as chunks fall elsewhere."""
    weights, inputs, by_hidden = a_problem(name, 6, 3, 70)
    whole, tape, _ = backward(name, weights, inputs, by_hidden)
    hidden, carried, gradient = run_in_parts(name, weights, inputs, by_hidden, 37, carries=True)
    np.testing.assert_array_equal(hidden, tape.hidden)
    np.testing.assert_array_equal(carried[0], tape.carried)
    for a, b in zip(gradient[:4], whole[:4], strict=True):
        np.testing.assert_allclose(a, b, rtol=0, atol=1e-13 * norm(whole))
    # The lanes of what is carried sum to the derivative with respect to the start.
    for a, b in zip(carried, whole[4:], strict=True):
        np.testing.assert_allclose(a.reshape(-1, N_LANES).sum(axis=1), b, rtol=0, atol=1e-13 * norm(whole))


@pytest.mark.parametrize("name", CELLS)
def test_truncation_is_the_sum_of_blocks_on_their_own(name):
    weights, inputs, by_hidden = a_problem(name, 6, 3, 70)
    truncated = backward(name, weights, inputs, by_hidden, truncation=35)[0]
    _, _, gradient = run_in_parts(name, weights, inputs, by_hidden, 35, carries=False)
    for a, b in zip(gradient[:4], truncated[:4], strict=True):
        np.testing.assert_allclose(a, b, rtol=0, atol=1e-13 * norm(truncated))


@pytest.mark.parametrize("name", CELLS)
def test_the_gradient_of_a_tile_is_the_sum_of_those_of_its_lanes(name):
    weights, inputs, by_hidden = a_problem(name, 6, 3, 40)
    whole = backward(name, weights, inputs, by_hidden)[0]
    parts = []
    for lane in range(N_LANES):
        alone = np.zeros_like(by_hidden)
        alone[:, lane::N_LANES] = by_hidden[:, lane::N_LANES]
        parts.append(backward(name, weights, inputs, alone)[0])
    for k, part in enumerate(whole):
        # Round-off of sums in another order.
        np.testing.assert_allclose(sum(p[k] for p in parts), part, rtol=0, atol=1e-13 * norm(whole))


@pytest.mark.parametrize("name", CELLS)
def test_a_lane_keeps_its_bits_whatever_its_companions_are(name):
    weights, inputs, by_hidden = a_problem(name, 16, 5, 50, dtype=np.float32)
    others = inputs.copy()
    others.reshape(50, 5, N_LANES)[:, :, np.arange(N_LANES) != 7] = 0.0
    found, alone = (backward(name, weights, x, by_hidden) for x in (inputs, others))
    np.testing.assert_array_equal(lanes(found[1].hidden)[7], lanes(alone[1].hidden)[7])
    np.testing.assert_array_equal(lanes(found[2])[7], lanes(alone[2])[7])


@pytest.mark.parametrize("name", CELLS)
def test_a_tape_can_be_used_again_and_gradients_add_to_what_is_there(name):
    weights, inputs, by_hidden = a_problem(name, 6, 3, 40)
    once, _, _ = backward(name, weights, inputs, by_hidden)
    packed, tape = forward(name, weights, inputs)
    gradient = type(weights)(*(np.ones_like(part) for part in weights))
    for _ in range(2):
        CELLS[name].forward(inputs, weights, packed, tape)
        CELLS[name].backward(inputs, by_hidden, weights, packed, tape, gradient, 0)
    for a, b in zip(gradient, once, strict=True):
        # Three roundings of a sum.
        np.testing.assert_allclose(a, 1.0 + 2.0 * b, rtol=0, atol=1e-14 * (1.0 + norm(once)))


@pytest.mark.parametrize("name", CELLS)
def test_a_state_that_is_not_a_number_stays_one(name):
    weights, inputs, by_hidden = a_problem(name, 6, 3, 10)
    inputs[4, 2] = np.nan
    gradient, tape, _ = backward(name, weights, inputs, by_hidden)
    assert np.isnan(lanes(tape.hidden)[2][5:]).all()
    assert np.isfinite(np.delete(lanes(tape.hidden), 2, axis=0)).all()
    assert np.isnan(gradient.hidden).all()


@pytest.mark.parametrize("name", CELLS)
def test_the_jacobian_is_that_of_imaginary_steps_of_the_twin(name):
    weights, inputs, _ = a_problem(name, 6, 3, 1)
    states = np.random.default_rng(7).normal(size=(len(weights) - 4, 6))
    x = lanes(inputs)[0, 0]
    found = CELLS[name].jacobian(np.concatenate(states), x, weights)
    twin = TWIN["jacobian"](TWIN["STEPS"][name], x, tuple(states), weights[:4])
    # A few roundings of sums of four products.
    np.testing.assert_allclose(found, twin, rtol=0, atol=1e-14)


@pytest.mark.parametrize("name", CELLS)
def test_kernels_have_one_specialisation_for_each_precision(name):
    for dtype in (np.float32, np.float64):
        for size in SIZES:
            weights, inputs, by_hidden = a_problem(name, *size, dtype=dtype)
            backward(name, weights, inputs, by_hidden)
            run_in_parts(name, *a_problem(name, 6, 3, 20, dtype=dtype), 7, carries=True)
    cell = CELLS[name]
    for kernel in (cell.forward, cell.forward_from, cell.backward, cell.backward_from):
        assert len(kernel.signatures) == 2


@pytest.mark.parametrize("name", CELLS)
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_a_state_dictionary_there_and_back_is_the_same_network(name, dtype):
    weights, _, _ = a_problem(name, 6, 3, 1, dtype=dtype)
    state = to_torch(weights)
    assert list(state) == ["weight_ih_l0", "weight_hh_l0", "bias_ih_l0", "bias_hh_l0"]
    back = from_torch(CELLS[name], state)
    for a, b in zip(back[:4], weights[:4], strict=True):
        np.testing.assert_array_equal(a, b)
        assert a.dtype == dtype
        assert not np.shares_memory(a, b)
    assert not np.any(back[4:])


def test_a_network_without_biases_gets_zeros():
    state = to_torch(a_problem("lstm", 6, 3, 1)[0])
    found = from_torch(CELLS["lstm"], {name: values for name, values in state.items() if "bias" not in name})
    assert found.input_bias.shape == (24,)
    assert not np.any(found.input_bias)
    assert not np.any(found.hidden_bias)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"weight_ih_l1": np.zeros((24, 6))}, "holds 'weight_ih_l1'; expected one layer"),
        ({"weight_hh_l0": None}, "has no 'weight_hh_l0'"),
        ({"weight_hh_l0": np.zeros((18, 6))}, r"weight_hh_l0 has the shape \(18, 6\); expected \(24, 6\)"),
        ({"weight_ih_l0": np.zeros(24)}, r"weight_ih_l0 has the shape \(24,\)"),
        ({"bias_hh_l0": np.zeros(23)}, r"bias_hh_l0 has the shape \(23,\); expected \(24,\)"),
        ({"bias_ih_l0": np.full(24, np.nan)}, "bias_ih_l0 holds 24 values that are not finite"),
    ],
)
def test_a_state_dictionary_of_another_network_is_refused(change, message):
    state = to_torch(a_problem("lstm", 6, 3, 1)[0]) | change
    with pytest.raises(DataError, match=message):
        from_torch(CELLS["lstm"], {name: values for name, values in state.items() if values is not None})
