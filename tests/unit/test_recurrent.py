"""The contract of vanilla, LSTM and GRU cells, every test on each; oracles: the twins in reference/cells_twin.py."""

from __future__ import annotations

import runpy
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest

from cortexrnn.cells.recurrent import CELLS
from cortexrnn.cells.sweeps import add_input_gradient
from cortexrnn.numerics.lanes import N_LANES

TWIN = runpy.run_path(str(Path(__file__).parents[1] / "reference" / "cells_twin.py"))
# Neural ODEs share the contract and have tests of their own.
NAMES = ("vanilla", "lstm", "gru")
# Units, inputs, steps: odd ones, whole blocks of 8 and 16, no input, more than one chunk of 32 steps.
SIZES = [(5, 3, 40), (16, 8, 70), (9, 0, 33), (1, 1, 3), (8, 17, 32)]
# Layer norm, dropout of the recurrent input, start states for three groups of trials.
PLAIN, WITH_NORM, WITH_KEEP, WITH_ALL = (), ("norm",), ("keep",), ("norm", "keep", "groups")
OPTIONS = [PLAIN, WITH_NORM, WITH_KEEP, ("groups",), WITH_ALL]
ALL = [(name, size, options) for name in NAMES for size in SIZES for options in OPTIONS]
IDS = [f"{name}-{'x'.join(map(str, size))}-{' '.join(options) or 'plain'}" for name, size, options in ALL]


class Problem(NamedTuple):
    """A network and what a tile runs it on."""

    weights: NamedTuple
    inputs: np.ndarray
    by_hidden: np.ndarray
    keep: np.ndarray
    group: np.ndarray


def a_problem(name, size, options=PLAIN, dtype=np.float64, seed=0):
    """Weights with start states, inputs, a cotangent for every state, a mask of 0 and 1 / 0.7, groups of the lanes."""
    rng = np.random.default_rng(seed)
    n_hidden, n_inputs, n_steps = size
    weights = CELLS[name].draw(n_inputs, n_hidden, seed=seed, dtype=dtype, norm="norm" in options)
    group = 5 * np.arange(N_LANES) % 7 % 3 if "groups" in options else np.zeros(N_LANES, int)
    starts = [(0.3 * rng.normal(size=(group.max() + 1, n_hidden))).astype(dtype) for _ in CELLS[name].states]
    # A gain of one makes a vanilla network chaotic: the twin's round-off would grow from step to step.
    gain = (0.5 + 0.1 * rng.normal(size=weights.norm_gain.size)).astype(dtype)
    inputs = rng.normal(size=(n_steps, n_inputs * N_LANES)).astype(dtype)
    by_hidden = rng.normal(size=(n_steps, n_hidden * N_LANES)).astype(dtype)
    keep = ((rng.random(n_hidden * N_LANES) < 0.7) / 0.7)[: None if "keep" in options else 0].astype(dtype)
    return Problem(type(weights)(*weights[:4], gain, *starts), inputs, by_hidden, keep, group)


def forward(name, problem):
    """Run forward; gives packed weights and tape."""
    cell, weights = CELLS[name], problem.weights
    packed, tape = cell.pack(weights), cell.empty_tape(len(problem.inputs), weights)
    cell.start(weights, problem.group, tape)
    cell.forward(problem.inputs, problem.keep, packed, tape)
    return packed, tape


def zeros_like(weights):
    """Give a gradient to add to."""
    return type(weights)(*(np.zeros_like(part) for part in weights))


def sweep_back(name, problem, packed, tape, gradient, truncation=0):
    """Run the adjoint of a whole trial, start states and all."""
    cell = CELLS[name]
    for field in cell.carried:
        getattr(tape, field)[:] = 0.0
    cell.backward(problem.inputs, problem.by_hidden, problem.keep, packed, tape, gradient, truncation)
    cell.add_start(tape, problem.group, gradient)


def backward(name, problem, truncation=0):
    """Run forward and back; gives gradient, tape, and the derivatives with respect to inputs."""
    packed, tape = forward(name, problem)
    gradient = zeros_like(problem.weights)
    sweep_back(name, problem, packed, tape, gradient, truncation)
    by_inputs = np.zeros_like(problem.inputs)
    add_input_gradient(tape.arguments, packed.input_t, by_inputs)
    return gradient, tape, by_inputs


def lanes(values):
    """Give (n_steps, n * N_LANES) as (N_LANES, n_steps, n)."""
    return values.reshape(len(values), -1, N_LANES).transpose(2, 0, 1)


def twin_run(name, problem, lane):
    """Give the states h of one trial by the twin."""
    starts = [part[problem.group[lane]] for part in problem.weights[5:]]
    keep = problem.keep[lane::N_LANES] if problem.keep.size else 1.0
    return TWIN["run"](TWIN["STEPS"][name], lanes(problem.inputs)[lane], problem.weights[:5], starts, keep)


def twin_loss(name, problem):
    """The sum of cotangent times state over all trials, by the twin."""
    return sum(np.sum(by * twin_run(name, problem, lane)) for lane, by in enumerate(lanes(problem.by_hidden)))


def norm(parts):
    """Euclidean norm over several arrays."""
    return np.sqrt(sum(float((part**2).sum()) for part in parts))


@pytest.mark.parametrize(("name", "size", "options"), ALL, ids=IDS)
def test_the_forward_sweep_is_that_of_the_twin(name, size, options):
    problem = a_problem(name, size, options)
    found = lanes(forward(name, problem)[1].hidden[1:])
    for lane in range(N_LANES):
        # Round-off of float64 over some tens of steps of a contracting map.
        np.testing.assert_allclose(found[lane], twin_run(name, problem, lane), rtol=0, atol=1e-13)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("options", [PLAIN, WITH_ALL], ids=["plain", "all"])
def test_float32_stays_within_single_precision_of_the_twin(name, options):
    problem = a_problem(name, (16, 4, 300), options, dtype=np.float32)
    found = lanes(forward(name, problem)[1].hidden[1:])
    weights = type(problem.weights)(*(part.astype(float) for part in problem.weights))
    wide = Problem(weights, *(part.astype(float) for part in problem[1:4]), problem.group)
    # Some tens of roundings of 6e-8 a step, which the contracting map does not pile up.
    np.testing.assert_allclose(found[3], twin_run(name, wide, 3), rtol=0, atol=5e-6)


@pytest.mark.parametrize(("name", "size", "options"), ALL, ids=IDS)
def test_the_gradient_is_that_of_central_differences(name, size, options):
    """Along one random direction in all weights at once, of our own forward sweep: 1e-7 relative to the norms.

    Of fourth order: under a norm whose gate has next to no variance the third derivative is large.
    """
    problem = a_problem(name, size, options, seed=1)
    gradient, _, _ = backward(name, problem)
    rng = np.random.default_rng(2)
    direction = [rng.normal(size=part.shape) for part in problem.weights]
    step = 3e-5 / norm(direction)

    def loss(n_steps):
        pairs = zip(problem.weights, direction, strict=True)
        moved = problem._replace(weights=type(problem.weights)(*(w + n_steps * step * d for w, d in pairs)))
        return float((forward(name, moved)[1].hidden[1:] * problem.by_hidden).sum())

    near, far = ((loss(n) - loss(-n)) / (2.0 * n * step) for n in (1, 2))
    numeric = (4.0 * near - far) / 3.0
    analytic = sum(float((g * d).sum()) for g, d in zip(gradient, direction, strict=True))
    assert abs(numeric - analytic) <= 1e-7 * norm(direction) * norm(gradient)


@pytest.mark.parametrize(("name", "size", "options"), ALL, ids=IDS)
def test_the_adjoint_identity_holds_for_every_array_of_weights(name, size, options):
    """<cotangent, J v> = <J^T cotangent, v> to 1e-12 of the norms, J v by imaginary steps of the twin."""
    problem = a_problem(name, size, options, seed=3)
    gradient, _, _ = backward(name, problem)
    rng = np.random.default_rng(4)
    e = 1e-200
    for field, part in problem.weights._asdict().items():
        v = rng.normal(size=part.shape)
        moved = problem._replace(weights=problem.weights._replace(**{field: part + 1j * e * v}))
        forward_side = twin_loss(name, moved).imag / e
        found = getattr(gradient, field)
        backward_side = float((found * v).sum())
        size_of = norm([v]) * norm(gradient)
        np.testing.assert_allclose(backward_side, forward_side, rtol=0, atol=1e-12 * size_of, err_msg=field)


@pytest.mark.parametrize(("name", "size", "options"), ALL, ids=IDS)
def test_the_adjoint_identity_holds_for_the_inputs(name, size, options):
    problem = a_problem(name, size, options, seed=5)
    _, _, by_inputs = backward(name, problem)
    v = np.random.default_rng(6).normal(size=problem.inputs.shape)
    moved = problem._replace(inputs=problem.inputs + 1e-200j * v)
    forward_side = np.imag(twin_loss(name, moved)) / 1e-200
    # 1e-12 of the norms, as above.
    assert abs(float((by_inputs * v).sum()) - forward_side) <= 1e-12 * norm([v]) * norm([by_inputs])


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("options", [PLAIN, WITH_ALL], ids=["plain", "all"])
def test_no_gradient_reaches_an_input_that_is_older_than_a_block(name, options):
    """Exactly zero: blocks of 10 steps, a loss on the last of 45, so the last block starts at 40."""
    problem = a_problem(name, (7, 2, 45), options)
    problem.by_hidden[:-1] = 0.0
    problem.inputs[40:] = 0.0
    gradient, tape, by_inputs = backward(name, problem, truncation=10)
    np.testing.assert_array_equal(by_inputs[:40], 0.0)
    np.testing.assert_array_equal(gradient.input, 0.0)
    np.testing.assert_array_equal(gradient[5:], 0.0)
    assert np.abs(by_inputs[40:]).min() > 0.0
    # The state is passed on all the same: what is carried away from the border was formed from it.
    np.testing.assert_array_equal(tape.hidden, forward(name, problem)[1].hidden)
    assert np.abs(backward(name, problem)[2][:40]).min() > 0.0


@pytest.mark.parametrize("name", NAMES)
def test_a_block_longer_than_the_trial_changes_no_bit(name):
    problem = a_problem(name, (7, 2, 45), WITH_ALL)
    whole = backward(name, problem)[0]
    for truncation in (45, 1000):
        for a, b in zip(backward(name, problem, truncation)[0], whole, strict=True):
            np.testing.assert_array_equal(a, b)


def run_in_parts(name, problem, first, carries):
    """Run two parts, each with a tape of its own; gives states, carried derivatives and gradient."""
    cell, weights = CELLS[name], problem.weights
    packed, gradient = cell.pack(weights), zeros_like(weights)
    parts = [
        problem._replace(inputs=problem.inputs[rows], by_hidden=problem.by_hidden[rows])
        for rows in (slice(first), slice(first, None))
    ]
    early, late = (cell.empty_tape(len(part.inputs), weights) for part in parts)
    cell.start(weights, problem.group, early)
    cell.forward(parts[0].inputs, problem.keep, packed, early)
    for field in cell.states:
        getattr(late, field)[0] = getattr(early, field)[-1]
    cell.forward(parts[1].inputs, problem.keep, packed, late)
    cell.backward(parts[1].inputs, parts[1].by_hidden, problem.keep, packed, late, gradient, 0)
    for field in cell.carried:
        getattr(early, field)[:] = getattr(late, field) if carries else 0.0
    cell.backward(parts[0].inputs, parts[0].by_hidden, problem.keep, packed, early, gradient, 0)
    cell.add_start(early, problem.group, gradient)
    return np.concatenate([early.hidden, late.hidden[1:]]), [getattr(early, field) for field in cell.carried], gradient


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("options", [PLAIN, WITH_ALL], ids=["plain", "all"])
def test_a_trial_in_two_parts_is_the_whole_trial(name, options):
    """States, carried derivatives and those of the start to the bit; sums over steps to rounding: chunks differ."""
    problem = a_problem(name, (6, 3, 70), options)
    whole, tape, _ = backward(name, problem)
    hidden, carried, gradient = run_in_parts(name, problem, 37, carries=True)
    np.testing.assert_array_equal(hidden, tape.hidden)
    for field, found in zip(CELLS[name].carried, carried, strict=True):
        np.testing.assert_array_equal(found, getattr(tape, field))
    for a, b in zip(gradient[:5], whole[:5], strict=True):
        np.testing.assert_allclose(a, b, rtol=0, atol=1e-13 * norm(whole))
    for a, b in zip(gradient[5:], whole[5:], strict=True):
        np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize("name", NAMES)
def test_truncation_is_the_sum_of_blocks_on_their_own(name):
    problem = a_problem(name, (6, 3, 70), WITH_ALL)
    truncated = backward(name, problem, truncation=35)[0]
    _, _, gradient = run_in_parts(name, problem, 35, carries=False)
    for a, b in zip(gradient, truncated, strict=True):
        np.testing.assert_allclose(a, b, rtol=0, atol=1e-13 * norm(truncated))


@pytest.mark.parametrize("name", NAMES)
def test_the_gradient_of_a_tile_is_the_sum_of_those_of_its_lanes(name):
    problem = a_problem(name, (6, 3, 40), WITH_ALL)
    whole = backward(name, problem)[0]
    parts = []
    for lane in range(N_LANES):
        alone = np.zeros_like(problem.by_hidden)
        alone[:, lane::N_LANES] = problem.by_hidden[:, lane::N_LANES]
        parts.append(backward(name, problem._replace(by_hidden=alone))[0])
        # The start states of other groups have nothing to do with it.
        others = np.arange(3) != problem.group[lane]
        np.testing.assert_array_equal([part[others] for part in parts[-1][5:]], 0.0)
    for k, part in enumerate(whole):
        # Round-off of sums in another order.
        np.testing.assert_allclose(sum(p[k] for p in parts), part, rtol=0, atol=1e-13 * norm(whole))


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("options", [PLAIN, WITH_ALL], ids=["plain", "all"])
def test_a_lane_keeps_its_bits_whatever_its_companions_are(name, options):
    problem = a_problem(name, (16, 5, 50), options, dtype=np.float32)
    others = problem.inputs.copy()
    others.reshape(50, 5, N_LANES)[:, :, np.arange(N_LANES) != 7] = 0.0
    found, alone = (backward(name, problem._replace(inputs=x)) for x in (problem.inputs, others))
    np.testing.assert_array_equal(lanes(found[1].hidden)[7], lanes(alone[1].hidden)[7])
    np.testing.assert_array_equal(lanes(found[2])[7], lanes(alone[2])[7])


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("options", [PLAIN, WITH_ALL], ids=["plain", "all"])
def test_a_tape_can_be_used_again_and_gradients_add_to_what_is_there(name, options):
    problem = a_problem(name, (6, 3, 40), options)
    once, _, _ = backward(name, problem)
    packed, tape = forward(name, problem)
    gradient = type(problem.weights)(*(np.ones_like(part) for part in problem.weights))
    for _ in range(2):
        CELLS[name].start(problem.weights, problem.group, tape)
        CELLS[name].forward(problem.inputs, problem.keep, packed, tape)
        sweep_back(name, problem, packed, tape, gradient)
    for a, b in zip(gradient, once, strict=True):
        # Three roundings of a sum.
        np.testing.assert_allclose(a, 1.0 + 2.0 * b, rtol=0, atol=1e-14 * (1.0 + norm(once)))


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("options", [PLAIN, WITH_ALL], ids=["plain", "all"])
def test_a_state_that_is_not_a_number_stays_one(name, options):
    problem = a_problem(name, (6, 3, 10), options)
    problem.inputs[4, 2] = np.nan
    gradient, tape, _ = backward(name, problem)
    assert np.isnan(lanes(tape.hidden)[2][5:]).all()
    assert np.isfinite(np.delete(lanes(tape.hidden), 2, axis=0)).all()
    assert np.isnan(gradient.hidden).all()


@pytest.mark.parametrize("name", NAMES)
def test_a_mask_of_ones_is_no_dropout(name):
    problem = a_problem(name, (6, 3, 40), WITH_NORM)
    plain = backward(name, problem)
    ones = backward(name, problem._replace(keep=np.ones(6 * N_LANES)))
    np.testing.assert_array_equal(ones[1].hidden, plain[1].hidden)
    for a, b in zip(ones[0], plain[0], strict=True):
        # A product is rounded before it is added to what is carried.
        np.testing.assert_allclose(a, b, rtol=0, atol=1e-13 * norm(plain[0]))


@pytest.mark.parametrize("name", NAMES)
def test_a_unit_that_is_dropped_in_every_trial_sends_nothing_and_its_weights_get_nothing(name):
    problem = a_problem(name, (6, 3, 40), WITH_KEEP)
    problem.keep.reshape(6, N_LANES)[2] = 0.0
    found, tape, _ = backward(name, problem)
    np.testing.assert_array_equal(found.hidden[:, 2], 0.0)
    problem.weights.hidden[:, 2] = 7.0
    np.testing.assert_array_equal(forward(name, problem)[1].hidden, tape.hidden)


@pytest.mark.parametrize("name", NAMES)
def test_layer_norm_takes_no_notice_of_the_size_of_the_weights_but_for_epsilon(name):
    """The product of a gate times a constant is the same after the norm; 1e-5 beside a variance of thousands."""
    problem = a_problem(name, (16, 3, 20), WITH_NORM)
    states = []
    for factor in (1e3, 2e3):
        weights = problem.weights._replace(hidden=factor * problem.weights.hidden)
        states.append(forward(name, problem._replace(weights=weights))[1].hidden)
    # Half of 1e-5 over variances from 1e3 on, passed on by some steps.
    np.testing.assert_allclose(states[0], states[1], rtol=0, atol=1e-6)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("options", [PLAIN, WITH_NORM], ids=["plain", "norm"])
def test_the_jacobian_is_that_of_imaginary_steps_of_the_twin(name, options):
    weights, inputs, *_ = a_problem(name, (6, 3, 1), options)
    states = np.random.default_rng(7).normal(size=(len(weights) - 5, 6))
    x = lanes(inputs)[0, 0]
    found = CELLS[name].jacobian(np.concatenate(states), x, weights)
    twin = TWIN["jacobian"](TWIN["STEPS"][name], x, tuple(states), weights[:5])
    # A few roundings of sums of four products.
    np.testing.assert_allclose(found, twin, rtol=0, atol=1e-14)


@pytest.mark.parametrize("name", NAMES)
def test_the_jacobian_of_a_product_without_variance_is_that_of_epsilon(name):
    """From a state of zero the norm divides by the root of 1e-5 alone."""
    weights, inputs, *_ = a_problem(name, (6, 3, 1), WITH_NORM)
    states, x = np.zeros((len(weights) - 5, 6)), lanes(inputs)[0, 0]
    found = CELLS[name].jacobian(np.concatenate(states), x, weights)
    twin = TWIN["jacobian"](TWIN["STEPS"][name], x, tuple(states), weights[:5])
    # A few roundings of numbers of order 1 / sqrt(1e-5).
    np.testing.assert_allclose(found, twin, rtol=0, atol=1e-12)


@pytest.mark.parametrize("name", NAMES)
def test_kernels_have_one_specialisation_for_each_precision(name):
    for dtype in (np.float32, np.float64):
        for size in SIZES:
            for options in OPTIONS:
                backward(name, a_problem(name, size, options, dtype=dtype))
        run_in_parts(name, a_problem(name, (6, 3, 20), dtype=dtype), 7, carries=True)
    cell = CELLS[name]
    for kernel in (cell.start, cell.forward, cell.backward, cell.add_start):
        assert len(kernel.signatures) == 2
