"""The neural ODE cell: its flow, its sweeps and its adjoint.

Oracles: the twin in reference/ode_twin.py, SciPy's DOP853, closed forms, central differences and imaginary steps.
"""

from __future__ import annotations

import runpy
from pathlib import Path

import numpy as np
import pytest
from scipy.integrate import solve_ivp

from cortexrnn.cells.initial import Initial
from cortexrnn.cells.ode import ode_add_start, ode_backward, ode_forward, ode_jacobian, ode_start
from cortexrnn.cells.ode_flow import flow_jacobian
from cortexrnn.cells.ode_parts import (
    N_SUBSTEPS,
    N_TIMING,
    STATES,
    OdeWeights,
    draw_ode,
    empty_ode_tape,
    pack_ode_weights,
)
from cortexrnn.cells.sweeps import add_input_gradient
from cortexrnn.errors import OptionError
from cortexrnn.numerics.lanes import N_LANES

TWIN = runpy.run_path(str(Path(__file__).parents[1] / "reference" / "ode_twin.py"))
# Units, units of the field, inputs, samples, substeps: odd ones, whole blocks of 8 and 16, no x, several chunks of 32.
SIZES = [(5, 7, 4, 20, 3), (16, 16, 10, 12, 4), (9, 3, 2, 33, 1), (1, 1, 3, 3, 2), (8, 24, 18, 40, 2)]
NO_DROPOUT = np.empty(0)
ONE_GROUP = np.zeros(N_LANES, np.int64)


def a_problem(n_hidden, n_field, n_inputs, n_steps, dtype=np.float64, seed=0):
    """Weights with start states of three groups, inputs and a cotangent for every state."""
    rng = np.random.default_rng(seed)
    weights = draw_ode(n_inputs, n_hidden, seed=seed, dtype=dtype, n_field=n_field)
    weights = weights._replace(
        start=(0.3 * rng.normal(size=(3, n_hidden))).astype(dtype), field_out=dtype(2.0) * weights.field_out
    )
    inputs = rng.normal(size=(n_steps, n_inputs, N_LANES))
    inputs[:, 0] = rng.exponential(0.4, (n_steps, N_LANES))
    inputs[:, 1] = rng.random((n_steps, N_LANES)) < 0.7
    inputs[n_steps // 2, 0] = 0.0
    by_hidden = rng.normal(size=(n_steps, n_hidden * N_LANES)).astype(dtype)
    return weights, inputs.reshape(n_steps, -1).astype(dtype), by_hidden, np.arange(N_LANES) % 3


def forward(weights, inputs, group, *, n_substeps=N_SUBSTEPS, keep=NO_DROPOUT):
    """Run forward; gives packed weights and tape."""
    packed, tape = pack_ode_weights(weights, n_substeps), empty_ode_tape(len(inputs), weights)
    ode_start(weights, group, tape)
    ode_forward(inputs, keep.astype(inputs.dtype), packed, tape)
    return packed, tape


def zeros_like(weights):
    """Give a gradient to add to."""
    return OdeWeights(*(np.zeros_like(part) for part in weights))


def backward(weights, inputs, by_hidden, group, *, n_substeps=N_SUBSTEPS, keep=NO_DROPOUT, truncation=0):
    """Run forward and back; gives gradient, tape, and the derivatives with respect to inputs."""
    packed, tape = forward(weights, inputs, group, n_substeps=n_substeps, keep=keep)
    gradient = zeros_like(weights)
    tape.carried[:] = 0
    ode_backward(inputs, by_hidden, keep.astype(inputs.dtype), packed, tape, gradient, truncation)
    ode_add_start(tape, group, gradient)
    by_inputs = np.zeros_like(inputs)
    add_input_gradient(tape.arguments, packed.input_t, by_inputs)
    return gradient, tape, by_inputs


def lanes(values):
    """Give (n_steps, n * N_LANES) as (N_LANES, n_steps, n)."""
    return values.reshape(len(values), -1, N_LANES).transpose(2, 0, 1)


def twin_states(weights, inputs, group, n_substeps, keep=None):
    """Give the states of all trials by the twin: (N_LANES, n_steps, n_hidden)."""
    by_name = weights._asdict()
    masks = np.ones((N_LANES, 1)) if keep is None else keep.reshape(-1, N_LANES).T
    return np.array(
        [
            TWIN["run"](x, weights.start[group[lane]], by_name, n_substeps, masks[lane])
            for lane, x in enumerate(lanes(inputs))
        ]
    )


def norm(parts):
    """Euclidean norm over several arrays."""
    return np.sqrt(sum(float((part**2).sum()) for part in parts))


def a_rotation(frequency_hz, damping_hz=0.0, small=1e-7):
    """Weights whose field is a damped rotation of two units: tanh is linear to rounding where its argument is small."""
    omega = 2.0 * np.pi * frequency_hz
    matrix = np.array([[-damping_hz, -omega], [omega, -damping_hz]])
    weights = draw_ode(2, 2, seed=0, dtype=np.float64, n_field=2)
    return weights._replace(
        field_in=small * np.eye(2), field_out=matrix / small, field_in_bias=np.zeros(2), field_out_bias=np.zeros(2)
    )


def flow_of_a_tile(weights, state, gap_s, n_substeps):
    """Let 16 states (n_hidden, N_LANES) flow, each for its own gap, without a sample."""
    inputs = np.zeros((1, N_TIMING + weights.input.shape[1], N_LANES))
    inputs[0, 0] = gap_s
    packed, tape = pack_ode_weights(weights, n_substeps), empty_ode_tape(1, weights)
    tape.hidden[0] = state.ravel()
    ode_forward(inputs.reshape(1, -1), NO_DROPOUT, packed, tape)
    return tape.hidden[1].reshape(state.shape)


def a_flow(seed):
    """Weights of a lively field, a state and a gap for every lane."""
    rng = np.random.default_rng(seed)
    weights = draw_ode(3, 6, seed=seed, dtype=np.float64, n_field=9)
    weights = weights._replace(field_in=2.0 * weights.field_in, field_out=3.0 * weights.field_out)
    return weights, rng.normal(size=(6, N_LANES)), rng.uniform(0.2, 1.5, N_LANES)


def exact_flow(weights, state, gap_s):
    """The differential equation by SciPy's method of order eight."""
    by_name = weights._asdict()
    return np.array(
        [
            solve_ivp(lambda _, h: TWIN["field"](h, by_name), (0.0, gap), h, method="DOP853", rtol=1e-10, atol=1e-12).y[
                :, -1
            ]
            for h, gap in zip(state.T, gap_s, strict=True)
        ]
    ).T


@pytest.mark.parametrize("size", SIZES)
def test_the_forward_sweep_is_that_of_the_twin(size):
    weights, inputs, _, group = a_problem(*size[:4])
    found = lanes(forward(weights, inputs, group, n_substeps=size[4])[1].hidden[1:])
    # Round-off of float64 over some tens of samples of some tens of products each.
    np.testing.assert_allclose(found, twin_states(weights, inputs, group, size[4]), rtol=0, atol=1e-12)


def test_float32_stays_within_single_precision_of_the_twin():
    weights, inputs, _, group = a_problem(16, 16, 4, 100, dtype=np.float32)
    found = lanes(forward(weights, inputs, group)[1].hidden[1:])
    wide = OdeWeights(*(part.astype(float) for part in weights))
    # Some tens of roundings of 6e-8 a gap; samples contract what piles up.
    np.testing.assert_allclose(found, twin_states(wide, inputs.astype(float), group, 4), rtol=0, atol=1e-5)


def test_the_flow_converges_to_the_differential_equation_with_order_four():
    weights, state, gap_s = a_flow(seed=1)
    exact = exact_flow(weights, state, gap_s)
    errors = [np.abs(flow_of_a_tile(weights, state, gap_s, n) - exact).max() for n in (8, 16, 32)]
    orders = np.log2(np.divide(errors[:-1], errors[1:]))
    # The next order of the error is still seen at these steps.
    np.testing.assert_allclose(orders, 4.0, atol=0.25)
    assert errors[-1] < 1e-5


def test_many_substeps_are_the_differential_equation_itself():
    weights, state, gap_s = a_flow(seed=2)
    # The tolerance of SciPy's method; ours has an error of order four of 1e-10.
    np.testing.assert_allclose(
        flow_of_a_tile(weights, state, gap_s, 512), exact_flow(weights, state, gap_s), rtol=0, atol=1e-8
    )


def test_a_linear_field_gives_the_damped_rotation_of_the_closed_form():
    frequency_hz, damping_hz = 0.5, 0.3
    gap_s = np.linspace(0.0, 3.0, N_LANES)
    state = np.array([[1.0], [0.5]]) * np.ones(N_LANES)
    found = flow_of_a_tile(a_rotation(frequency_hz, damping_hz), state, gap_s, 256)
    z = (1.0 + 0.5j) * np.exp((-damping_hz + 2j * np.pi * frequency_hz) * gap_s)
    # n (omega s)^5 / 120 = 3e-7 at most for the method; tanh is linear to 1e-14.
    np.testing.assert_allclose(found, [z.real, z.imag], rtol=0, atol=1e-6)


def test_one_substep_multiplies_a_linear_field_by_the_polynomial_of_the_method():
    gap_s = np.linspace(0.0, 0.8, N_LANES)
    found = flow_of_a_tile(a_rotation(0.5), np.array([[1.0], [0.0]]) * np.ones(N_LANES), gap_s, 1)
    x = 1j * np.pi * gap_s
    z = 1.0 + x + x**2 / 2.0 + x**3 / 6.0 + x**4 / 24.0
    # tanh is linear to 1e-14 where its argument is 1e-7.
    np.testing.assert_allclose(found, [z.real, z.imag], rtol=0, atol=1e-12)


def test_a_gap_in_two_parts_without_a_sample_between_is_the_whole_gap():
    """To the error of the method, which shrinks by 2^4 where substeps are halved; in equal parts to rounding."""
    weights, state, gap_s = a_flow(seed=3)
    share = np.random.default_rng(0).random(N_LANES)
    apart = []
    for n_substeps in (32, 64):
        whole = flow_of_a_tile(weights, state, gap_s, n_substeps)
        first = flow_of_a_tile(weights, state, share * gap_s, n_substeps)
        apart.append(np.abs(flow_of_a_tile(weights, first, (1.0 - share) * gap_s, n_substeps) - whole).max())
    assert apart[0] < 1e-5
    assert apart[1] < apart[0] / 12.0
    half = flow_of_a_tile(weights, state, 0.5 * gap_s, 4)
    both = flow_of_a_tile(weights, half, 0.5 * gap_s, 4)
    np.testing.assert_allclose(both, flow_of_a_tile(weights, state, gap_s, 8), rtol=0, atol=1e-14)


def test_backwards_in_time_leads_to_where_the_state_came_from():
    weights, state, gap_s = a_flow(seed=4)
    there = flow_of_a_tile(weights, state, gap_s, 128)
    # Twice the error of the method.
    np.testing.assert_allclose(flow_of_a_tile(weights, there, -gap_s, 128), state, rtol=0, atol=1e-7)


def test_asking_for_the_state_where_there_is_no_sample_changes_nothing_later():
    """A gap without time and without a sample leaves every bit alone, in the state and in the gradient."""
    weights, inputs, by_hidden, group = a_problem(5, 7, 4, 12)
    asked = np.insert(inputs, 6, 0.0, axis=0)
    asked[6, N_TIMING * N_LANES :] = 123.0
    by_asked = np.insert(by_hidden, 6, 0.0, axis=0)
    plain, found = backward(weights, inputs, by_hidden, group), backward(weights, asked, by_asked, group)
    np.testing.assert_array_equal(np.delete(found[1].hidden, 7, axis=0), plain[1].hidden)
    np.testing.assert_array_equal(found[1].hidden[7], found[1].hidden[6])
    for a, b in zip(found[0], plain[0], strict=True):
        np.testing.assert_array_equal(a, b)


def test_a_cell_without_gaps_is_a_vanilla_network():
    weights, inputs, _, group = a_problem(6, 5, 5, 30)
    inputs[:, :N_LANES], inputs[:, N_LANES : 2 * N_LANES] = 0.0, 1.0
    found = lanes(forward(weights, inputs, group)[1].hidden)
    for lane, x in enumerate(lanes(inputs)):
        h = weights.start[group[lane]]
        for t in range(30):
            h = np.tanh(weights.input @ x[t, 2:] + weights.input_bias + weights.hidden @ h + weights.hidden_bias)
            # Round-off of a contracting map.
            np.testing.assert_allclose(found[lane, t + 1], h, rtol=0, atol=1e-13)


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("drops", [False, True])
def test_the_gradient_is_that_of_central_differences(size, drops):
    """Along one random direction in all weights at once, of our own forward sweep: 1e-7 relative to the norms."""
    weights, inputs, by_hidden, group = a_problem(*size[:4], seed=1)
    keep = dropout(size[0]) if drops else NO_DROPOUT
    gradient, _, _ = backward(weights, inputs, by_hidden, group, n_substeps=size[4], keep=keep)
    rng = np.random.default_rng(2)
    direction = [rng.normal(size=part.shape) for part in weights]
    step = 1e-5 / norm(direction)

    def loss(sign):
        moved = OdeWeights(*(w + sign * step * d for w, d in zip(weights, direction, strict=True)))
        tape = forward(moved, inputs, group, n_substeps=size[4], keep=keep)[1]
        return float((tape.hidden[1:] * by_hidden).sum())

    numeric = (loss(1.0) - loss(-1.0)) / (2.0 * step)
    analytic = sum(float((g * d).sum()) for g, d in zip(gradient, direction, strict=True))
    assert abs(numeric - analytic) <= 1e-7 * norm(direction) * norm(gradient)


def dropout(n_hidden):
    """Give a mask that drops a third of the units, others in every trial."""
    return np.where(np.random.default_rng(9).random(n_hidden * N_LANES) < 1.0 / 3.0, 0.0, 1.5)


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("drops", [False, True])
def test_the_adjoint_identity_holds_for_every_weight(size, drops):
    """<J v, w> by imaginary steps of the twin, <v, J' w> by the adjoint sweep: 1e-12 of the norms, field by field."""
    weights, inputs, by_hidden, group = a_problem(*size[:4], seed=3)
    keep = dropout(size[0]) if drops else NO_DROPOUT
    gradient, _, _ = backward(weights, inputs, by_hidden, group, n_substeps=size[4], keep=keep)
    rng = np.random.default_rng(4)
    for field in OdeWeights._fields:
        v = rng.normal(size=getattr(weights, field).shape)
        moved = weights._replace(**{field: getattr(weights, field) + 1e-200j * v})
        states = twin_states(moved, inputs, group, size[4], keep if drops else None)
        forward_side = np.imag((states * lanes(by_hidden)).sum()) / 1e-200
        backward_side = float((getattr(gradient, field) * v).sum())
        size_of = norm([v]) * norm(gradient)
        np.testing.assert_allclose(backward_side, forward_side, rtol=0, atol=1e-12 * size_of, err_msg=field)


def test_the_adjoint_identity_holds_for_the_inputs_that_are_no_timing():
    weights, inputs, by_hidden, group = a_problem(8, 9, 6, 30, seed=5)
    by_inputs = backward(weights, inputs, by_hidden, group)[2]
    v = np.random.default_rng(6).normal(size=inputs.shape)
    v[:, : N_TIMING * N_LANES] = 0.0
    states = twin_states(weights, inputs + 1e-200j * v, group, N_SUBSTEPS)
    forward_side = np.imag((states * lanes(by_hidden)).sum()) / 1e-200
    # 1e-12 of the norms, as above.
    assert abs(float((by_inputs * v).sum()) - forward_side) <= 1e-12 * norm([v]) * norm([by_inputs])
    np.testing.assert_array_equal(by_inputs[:, : N_TIMING * N_LANES], 0.0)


def test_no_gradient_reaches_an_input_that_is_older_than_a_block():
    """Exactly zero: blocks of 10 samples, a loss on the last of 45, so the last block starts at 40."""
    weights, inputs, by_hidden, group = a_problem(7, 6, 4, 45)
    by_hidden[:-1] = 0.0
    inputs[:, N_LANES : 2 * N_LANES] = 1.0
    old_only = inputs.copy()
    old_only[40:, N_TIMING * N_LANES :] = 0.0
    gradient, tape, by_inputs = backward(weights, old_only, by_hidden, group, truncation=10)
    np.testing.assert_array_equal(by_inputs[:40], 0.0)
    np.testing.assert_array_equal(gradient.input, 0.0)
    np.testing.assert_array_equal(gradient.start, 0.0)
    assert np.abs(by_inputs[40:, N_TIMING * N_LANES :]).min() > 0.0
    assert np.abs(gradient.field_in).min() > 0.0
    np.testing.assert_array_equal(tape.hidden, forward(weights, old_only, group)[1].hidden)
    assert np.abs(backward(weights, old_only, by_hidden, group)[2][39, N_TIMING * N_LANES :]).min() > 0.0


def test_a_block_longer_than_the_trial_changes_no_bit():
    weights, inputs, by_hidden, group = a_problem(7, 6, 4, 45)
    whole = backward(weights, inputs, by_hidden, group)[0]
    for a, b in zip(backward(weights, inputs, by_hidden, group, truncation=45)[0], whole, strict=True):
        np.testing.assert_array_equal(a, b)


def run_in_parts(weights, inputs, by_hidden, group, first, carries):
    """Run two parts, each with a tape of its own; gives states, carried derivatives and gradient."""
    packed, gradient = pack_ode_weights(weights), zeros_like(weights)
    early, late = empty_ode_tape(first, weights), empty_ode_tape(len(inputs) - first, weights)
    ode_start(weights, group, early)
    ode_forward(inputs[:first], NO_DROPOUT, packed, early)
    for field in STATES:
        getattr(late, field)[0] = getattr(early, field)[-1]
    ode_forward(inputs[first:], NO_DROPOUT, packed, late)
    ode_backward(inputs[first:], by_hidden[first:], NO_DROPOUT, packed, late, gradient, 0)
    early.carried[:] = late.carried if carries else 0.0
    ode_backward(inputs[:first], by_hidden[:first], NO_DROPOUT, packed, early, gradient, 0)
    ode_add_start(early, group, gradient)
    return np.concatenate([early.hidden, late.hidden[1:]]), early.carried, gradient


def test_a_trial_in_two_parts_is_the_whole_trial():
    """States and carried derivatives to the bit; sums over steps to rounding, as chunks fall elsewhere."""
    weights, inputs, by_hidden, group = a_problem(6, 5, 4, 40)
    whole, tape, _ = backward(weights, inputs, by_hidden, group)
    hidden, carried, gradient = run_in_parts(weights, inputs, by_hidden, group, 17, carries=True)
    np.testing.assert_array_equal(hidden, tape.hidden)
    np.testing.assert_array_equal(carried, tape.carried)
    for a, b in zip(gradient, whole, strict=True):
        np.testing.assert_allclose(a, b, rtol=0, atol=1e-13 * norm(whole))


def test_truncation_is_the_sum_of_blocks_on_their_own():
    weights, inputs, by_hidden, group = a_problem(6, 5, 4, 40)
    truncated = backward(weights, inputs, by_hidden, group, truncation=20)[0]
    _, _, gradient = run_in_parts(weights, inputs, by_hidden, group, 20, carries=False)
    for a, b in zip(gradient, truncated, strict=True):
        np.testing.assert_allclose(a, b, rtol=0, atol=1e-13 * norm(truncated))


def test_every_trial_starts_from_its_group_and_moves_only_that_start():
    weights, inputs, by_hidden, group = a_problem(6, 5, 4, 20)
    group = np.where(np.arange(N_LANES) < 4, 2, 0)
    gradient, tape, _ = backward(weights, inputs, by_hidden, group)
    np.testing.assert_array_equal(tape.hidden[0].reshape(6, N_LANES).T, weights.start[group])
    np.testing.assert_array_equal(gradient.start[1], 0.0)
    carried = tape.carried.reshape(6, N_LANES)
    # Sums of a few lanes in another order.
    np.testing.assert_allclose(gradient.start[2], carried[:, :4].sum(axis=1), rtol=1e-12)
    np.testing.assert_allclose(gradient.start[0], carried[:, 4:].sum(axis=1), rtol=1e-12)


def test_a_lane_keeps_its_bits_whatever_its_companions_are():
    weights, inputs, by_hidden, group = a_problem(16, 16, 5, 30, dtype=np.float32)
    others = inputs.copy()
    others.reshape(30, 5, N_LANES)[:, :, np.arange(N_LANES) != 7] = 0.0
    inputs[4].reshape(5, N_LANES)[0, 7] = others[4].reshape(5, N_LANES)[0, 7] = 0.0
    found, alone = (backward(weights, x, by_hidden, group) for x in (inputs, others))
    np.testing.assert_array_equal(lanes(found[1].hidden)[7], lanes(alone[1].hidden)[7])
    np.testing.assert_array_equal(lanes(found[2])[7], lanes(alone[2])[7])


def test_a_tape_can_be_used_again_and_gradients_add_to_what_is_there():
    weights, inputs, by_hidden, group = a_problem(6, 5, 4, 20)
    once, _, _ = backward(weights, inputs, by_hidden, group)
    packed, tape = forward(weights, inputs, group)
    gradient = OdeWeights(*(np.ones_like(part) for part in weights))
    for _ in range(2):
        ode_start(weights, group, tape)
        ode_forward(inputs, NO_DROPOUT, packed, tape)
        tape.carried[:] = 0
        ode_backward(inputs, by_hidden, NO_DROPOUT, packed, tape, gradient, 0)
        ode_add_start(tape, group, gradient)
    for a, b in zip(gradient, once, strict=True):
        # Three roundings of a sum.
        np.testing.assert_allclose(a, 1.0 + 2.0 * b, rtol=0, atol=1e-14 * (1.0 + norm(once)))


@pytest.mark.parametrize("row", [0, 1, 2])
def test_a_state_that_is_not_a_number_stays_one(row):
    weights, inputs, by_hidden, group = a_problem(6, 5, 4, 10)
    inputs[3:, N_LANES : 2 * N_LANES] = 1.0
    inputs[4, row * N_LANES + 2] = np.nan
    gradient, tape, _ = backward(weights, inputs, by_hidden, group)
    assert np.isnan(lanes(tape.hidden)[2][5:]).all()
    assert np.isfinite(np.delete(lanes(tape.hidden), 2, axis=0)).all()
    assert np.isnan(gradient.hidden).all()


@pytest.mark.parametrize("presence", [0.0, 0.6, 1.0])
def test_the_jacobian_is_that_of_imaginary_steps_of_the_twin(presence):
    weights, _, _, _ = a_problem(6, 9, 4, 1)
    rng = np.random.default_rng(7)
    state, x = rng.normal(size=6), np.array([0.7, presence, 0.3, -1.0])
    columns = [TWIN["step"](state + 1e-200j * e, x, weights._asdict(), N_SUBSTEPS).imag / 1e-200 for e in np.eye(6)]
    # A few roundings of some tens of products.
    np.testing.assert_allclose(ode_jacobian(state, x, weights), np.array(columns).T, rtol=0, atol=1e-13)


def test_the_jacobian_of_the_flow_of_a_rotation_is_the_rotation():
    end, by_state = flow_jacobian(0.25, np.array([1.0, 0.0]), a_rotation(1.0), 64)
    # A quarter of a turn; n (omega s)^5 / 120 = 6e-9 for the method.
    np.testing.assert_allclose(by_state, [[0.0, -1.0], [1.0, 0.0]], rtol=0, atol=1e-8)
    np.testing.assert_allclose(end, [0.0, 1.0], rtol=0, atol=1e-8)


def test_kernels_have_one_specialisation_for_each_precision():
    for dtype in (np.float32, np.float64):
        for size in SIZES:
            weights, inputs, by_hidden, group = a_problem(*size[:4], dtype=dtype)
            backward(weights, inputs, by_hidden, group, keep=dropout(size[0]))
    for kernel in (ode_start, ode_add_start, ode_forward, ode_backward):
        assert len(kernel.signatures) == 2


def test_the_tape_does_not_grow_with_the_number_of_substeps():
    """Room for the stages is one gap's; a tape of 100 samples is two states a sample and the sums."""
    weights, _, _, _ = a_problem(16, 16, 3, 1)
    sizes = [sum(part.nbytes for part in empty_ode_tape(n, weights)[:2]) for n in (100, 200)]
    assert sizes[1] - sizes[0] == 100 * 2 * 16 * N_LANES * 8


def test_drawing_is_uniform_in_the_bounds_and_every_array_has_a_stream_of_its_own():
    weights = draw_ode(5, 40, seed=3, n_field=90)
    assert weights.input.shape == (40, 3)
    assert weights.start.shape == (1, 40)
    assert weights.field_in.shape == (90, 40)
    assert weights.field_out.shape == (40, 90)
    for part, n_sources in ((weights.field_in, 40), (weights.field_out, 90)):
        bound = 1.0 / np.sqrt(n_sources)
        assert np.abs(part).max() <= bound
        # 3600 draws: the standard error of the deviation is 0.75 %.
        np.testing.assert_allclose(part.std(), bound / np.sqrt(3.0), rtol=0.03)
    other = draw_ode(5, 40, seed=3, n_field=90, initial=Initial(recurrent="orthogonal"))
    np.testing.assert_array_equal(other.field_in, weights.field_in)
    np.testing.assert_allclose(other.hidden @ other.hidden.T, np.eye(40), rtol=0, atol=1e-5)


def test_the_field_has_as_many_units_as_the_state_unless_said_otherwise():
    assert draw_ode(2, 7, seed=0).field_in.shape == (7, 7)


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"n_inputs": 1}, "n_inputs=1 is not valid; expected an integer of at least 2"),
        ({"n_hidden": 0}, "n_hidden=0 is not valid"),
        ({"n_field": 0}, "n_field=0 is not valid"),
        ({"initial": Initial(keep_bias=1.0)}, "a vanilla cell has none"),
    ],
)
def test_sizes_and_wishes_that_do_not_fit_are_refused(wrong, message):
    given = {"n_inputs": 3, "n_hidden": 4, "seed": 0} | wrong
    with pytest.raises(OptionError, match=message):
        draw_ode(given.pop("n_inputs"), given.pop("n_hidden"), **given)
