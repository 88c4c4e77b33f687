"""What only a vanilla cell does: any activation, the IRNN; the contract is in test_recurrent.py."""

from __future__ import annotations

import runpy
from pathlib import Path

import numpy as np
import pytest

from cortexrnn.cells.activation import KINDS, Activation
from cortexrnn.cells.initial import Initial
from cortexrnn.cells.vanilla import (
    VanillaWeights,
    draw_vanilla,
    empty_vanilla_tape,
    pack_vanilla_weights,
    vanilla_add_start,
    vanilla_backward,
    vanilla_forward,
    vanilla_jacobian,
    vanilla_start,
)
from cortexrnn.numerics.lanes import N_LANES

TWIN = runpy.run_path(str(Path(__file__).parents[1] / "reference" / "cells_twin.py"))
N, N_INPUTS, N_STEPS = 6, 2, 40
GROUP, NO_DROPOUT = np.zeros(N_LANES, int), np.empty(0)


def a_problem(kind):
    """Activation, weights, inputs, cotangent."""
    rng = np.random.default_rng(3)
    shape = Activation(kind=kind, gain=0.8, threshold=0.1, **({"exponent": 1.5} if kind == "power" else {}))
    weights = draw_vanilla(N_INPUTS, N, seed=1, dtype=np.float64)
    # Away from the kinks of rectifying kinds.
    weights = weights._replace(start=0.2 + rng.random((1, N)), input_bias=weights.input_bias + 0.8)
    return shape, weights, rng.normal(size=(N_STEPS, N_INPUTS * N_LANES)), rng.normal(size=(N_STEPS, N * N_LANES))


def run(shape, weights, inputs):
    """Run forward; gives packed weights and tape."""
    packed, tape = pack_vanilla_weights(weights, shape), empty_vanilla_tape(len(inputs), weights)
    vanilla_start(weights, GROUP, tape)
    vanilla_forward(inputs, NO_DROPOUT, packed, tape)
    return packed, tape


def sweep_back(weights, inputs, by_hidden, packed, tape):
    """Run back over a fresh tape; gives the gradient."""
    gradient = VanillaWeights(*(np.zeros_like(part) for part in weights))
    vanilla_backward(inputs, by_hidden, NO_DROPOUT, packed, tape, gradient, 0)
    vanilla_add_start(tape, GROUP, gradient)
    return gradient


@pytest.mark.parametrize("kind", KINDS)
def test_the_gradient_of_every_activation_is_that_of_central_differences(kind):
    """Along one random direction in all weights at once, 1e-7 relative to the norms."""
    shape, weights, inputs, by_hidden = a_problem(kind)
    packed, tape = run(shape, weights, inputs)
    gradient = sweep_back(weights, inputs, by_hidden, packed, tape)
    rng = np.random.default_rng(4)
    direction = [rng.normal(size=part.shape) for part in weights]
    norm = np.sqrt(sum(float((d**2).sum()) for d in direction))
    step = 3e-6 / norm

    def loss(sign):
        moved = VanillaWeights(*(w + sign * step * d for w, d in zip(weights, direction, strict=True)))
        return float((run(shape, moved, inputs)[1].hidden[1:] * by_hidden).sum())

    numeric = (loss(1.0) - loss(-1.0)) / (2.0 * step)
    analytic = sum(float((g * d).sum()) for g, d in zip(gradient, direction, strict=True))
    size = norm * np.sqrt(sum(float((g**2).sum()) for g in gradient))
    assert abs(numeric - analytic) <= 1e-7 * size


def test_a_rectified_network_is_the_twins():
    shape = Activation(kind="relu")
    _, weights, inputs, _ = a_problem("relu")
    found = run(shape, weights, inputs)[1].hidden[1:]

    def step(x, states, arrays, keep):
        return TWIN["vanilla_step"](x, states, arrays, keep, TWIN["relu"])

    for lane in range(N_LANES):
        twin = TWIN["run"](step, inputs[:, lane::N_LANES], weights[:5], weights.start)
        # Round-off of float64 over some tens of steps.
        np.testing.assert_allclose(found[:, lane::N_LANES], twin, rtol=0, atol=1e-13)


@pytest.mark.parametrize("kind", ["tanh", "relu"])
def test_the_jacobian_of_an_activation_is_that_of_imaginary_steps(kind):
    _, weights, inputs, _ = a_problem(kind)
    shape, activation = Activation(kind=kind), {"tanh": np.tanh, "relu": TWIN["relu"]}[kind]

    def step(x, states, arrays, keep):
        return TWIN["vanilla_step"](x, states, arrays, keep, activation)

    x = inputs[0, 4::N_LANES]
    twin = TWIN["jacobian"](step, x, (weights.start[0],), weights[:5])
    # One rounding of a product.
    np.testing.assert_allclose(vanilla_jacobian(weights.start[0], x, weights, shape), twin, rtol=0, atol=1e-15)


def test_an_irnn_keeps_a_positive_state_for_ever_and_its_gradient_is_one():
    weights = draw_vanilla(0, 3, seed=0, initial=Initial(recurrent="identity"), dtype=np.float64)
    weights = weights._replace(start=np.array([[0.1, 2.0, 30.0]]))
    inputs, by_hidden = np.zeros((500, 0)), np.zeros((500, 3 * N_LANES))
    by_hidden[-1] = 1.0
    packed, tape = run(Activation(kind="relu"), weights, inputs)
    np.testing.assert_array_equal(tape.hidden[-1].reshape(3, N_LANES), weights.start.T * np.ones(N_LANES))
    gradient = sweep_back(weights, inputs, by_hidden, packed, tape)
    np.testing.assert_array_equal(gradient.start, 16.0)


def test_a_linear_orthogonal_network_keeps_the_norm_of_what_is_carried():
    weights = draw_vanilla(0, 20, seed=2, initial=Initial(recurrent="orthogonal"), dtype=np.float64)
    inputs, by_hidden = np.zeros((300, 0)), np.zeros((300, 20 * N_LANES))
    by_hidden[-1] = np.random.default_rng(0).normal(size=20 * N_LANES)
    packed, tape = run(Activation(kind="linear"), weights, inputs)
    sweep_back(weights, inputs, by_hidden, packed, tape)
    before, after = (np.linalg.norm(v.reshape(20, N_LANES), axis=0) for v in (by_hidden[-1], tape.carried))
    # A rounding a step.
    np.testing.assert_allclose(after, before, rtol=1e-12)
