"""The GRU kernels: slow twin, central differences, adjoint identity, independence of lanes, one specialisation."""

from __future__ import annotations

import runpy
from pathlib import Path

import numpy as np
import pytest

from cortexrnn.cells.gru import GRUWeights, empty_tape, gru_backward, gru_forward, init_gru
from cortexrnn.numerics.lanes import N_LANES

TWIN = runpy.run_path(str(Path(__file__).parents[1] / "reference" / "gru_twin.py"))
SIZES = [(16, 8, 70), (5, 3, 40), (1, 1, 3)]


def _problem(n_hidden, n_inputs, n_steps, dtype=np.float64, seed=0):
    """Weights with a start state, inputs, and a cotangent for every state."""
    rng = np.random.default_rng(seed)
    weights = init_gru(n_inputs, n_hidden, rng, dtype)
    weights = weights._replace(start=rng.normal(size=n_hidden).astype(dtype) * dtype(0.3))
    inputs = rng.normal(size=(n_steps, n_inputs, N_LANES)).astype(dtype)
    cotangent = rng.normal(size=(n_steps, n_hidden, N_LANES)).astype(dtype)
    return weights, inputs, cotangent


def _forward(weights, inputs):
    tape = empty_tape(inputs.shape[0], weights.start.size, weights.start.dtype.type)
    tape.hidden[0] = weights.start[:, None]
    gru_forward(inputs, weights, tape)
    return tape


def _gradient(weights, inputs, cotangent):
    """Gradient of sum(cotangent * states) with respect to all weights."""
    tape = _forward(weights, inputs)
    gradient = GRUWeights(*(np.zeros_like(w) for w in weights))
    carried = np.zeros_like(tape.hidden[0])
    gru_backward(inputs, weights, tape, cotangent, carried, gradient)
    return gradient._replace(start=carried.sum(axis=1))


def _loss(weights, inputs, cotangent):
    """The same loss by the twin, lane by lane."""
    lanes = [TWIN["run_gru"](inputs[:, :, lane], *weights[:4], weights.start) for lane in range(N_LANES)]
    return float(np.sum(np.stack(lanes, axis=-1) * cotangent))


def _along(weights, direction, length):
    return GRUWeights(*(w + length * d for w, d in zip(weights, direction, strict=True)))


@pytest.mark.parametrize("size", SIZES)
def test_forward_equals_the_slow_twin(size):
    weights, inputs, _ = _problem(*size)
    states = _forward(weights, inputs).hidden[1:]
    for lane in range(N_LANES):
        twin = TWIN["run_gru"](inputs[:, :, lane], *weights[:4], weights.start)
        # Round-off of float64 over some tens of steps of a contracting map.
        np.testing.assert_allclose(states[:, :, lane], twin, rtol=0, atol=1e-13)


def test_float32_forward_stays_within_single_precision_of_the_twin():
    weights, inputs, _ = _problem(16, 8, 500, dtype=np.float32)
    states = _forward(weights, inputs).hidden[1:]
    wide = GRUWeights(*(w.astype(float) for w in weights))
    twin = TWIN["run_gru"](inputs[:, :, 3].astype(float), *wide[:4], wide.start)
    # Some tens of roundings of 6e-8 a step, which the contracting map does not pile up.
    np.testing.assert_allclose(states[:, :, 3], twin, rtol=0, atol=3e-6)


@pytest.mark.parametrize("field", GRUWeights._fields)
@pytest.mark.parametrize("size", SIZES)
def test_gradient_equals_richardson_differences_of_the_twin(size, field):
    weights, inputs, cotangent = _problem(*size, seed=1)
    rng = np.random.default_rng(2)
    direction = GRUWeights(*(np.zeros_like(w) for w in weights))
    direction = direction._replace(**{field: rng.normal(size=getattr(weights, field).shape)})
    analytic = float(np.sum(getattr(_gradient(weights, inputs, cotangent), field) * getattr(direction, field)))

    def difference(step):
        ahead, behind = _along(weights, direction, step), _along(weights, direction, -step)
        return (_loss(ahead, inputs, cotangent) - _loss(behind, inputs, cotangent)) / (2.0 * step)

    # Richardson: the error of a central difference is even in the step, so this is of fourth order.
    numeric = (4.0 * difference(5e-5) - difference(1e-4)) / 3.0
    np.testing.assert_allclose(analytic, numeric, rtol=1e-7, atol=1e-7)


def test_adjoint_identity_holds_for_the_start_state():
    weights, inputs, cotangent = _problem(16, 4, 50, seed=3)
    rng = np.random.default_rng(4)
    tape = _forward(weights, inputs)
    tangent = rng.normal(size=tape.hidden[0].shape)
    carried = np.zeros_like(tape.hidden[0])
    gradient = GRUWeights(*(np.zeros_like(w) for w in weights))
    gru_backward(inputs, weights, tape, cotangent, carried, gradient)

    def pushed(step):
        moved = empty_tape(inputs.shape[0], 16, np.float64)
        moved.hidden[0] = weights.start[:, None] + step * tangent
        gru_forward(inputs, weights, moved)
        return moved.hidden[1:]

    # <cotangent, J tangent> = <J^T cotangent, tangent>, J tangent by Richardson differences.
    forward = [(pushed(h) - pushed(-h)) / (2.0 * h) for h in (1e-4, 5e-5)]
    left = np.sum(cotangent * (4.0 * forward[1] - forward[0]) / 3.0)
    np.testing.assert_allclose(left, np.sum(carried * tangent), rtol=1e-8)


def test_a_lane_keeps_its_bits_whatever_its_companions_are():
    weights, inputs, _ = _problem(16, 8, 60, dtype=np.float32)
    states = _forward(weights, inputs).hidden
    others = inputs.copy()
    others[:, :, np.arange(N_LANES) != 7] = 0.0
    np.testing.assert_array_equal(_forward(weights, others).hidden[:, :, 7], states[:, :, 7])


def test_a_run_in_two_parts_has_the_bits_of_one_run():
    weights, inputs, _ = _problem(16, 8, 60, dtype=np.float32)
    states = _forward(weights, inputs).hidden
    tape = empty_tape(35, 16)
    tape.hidden[0] = states[25]
    gru_forward(np.ascontiguousarray(inputs[25:]), weights, tape)
    np.testing.assert_array_equal(tape.hidden, states[25:])


def test_gradients_add_to_what_is_there():
    weights, inputs, cotangent = _problem(5, 3, 40)
    once = _gradient(weights, inputs, cotangent)
    gradient = GRUWeights(*(np.ones_like(w) for w in weights))
    tape = _forward(weights, inputs)
    gru_backward(inputs, weights, tape, cotangent, np.zeros_like(tape.hidden[0]), gradient)
    # One rounding of a sum.
    np.testing.assert_allclose(gradient.hidden - 1.0, once.hidden, atol=1e-12)
    np.testing.assert_array_equal(gradient.start, np.ones(5))


def test_initial_weights_are_uniform_in_pytorchs_range():
    weights = init_gru(8, 16, np.random.default_rng(5))
    drawn = np.concatenate([w.ravel() for w in weights[:4]])
    assert np.abs(drawn).max() <= 0.25
    # The variance of a uniform variable in +-b is b^2 / 3; 1248 draws give it to 3 % (one standard error).
    assert drawn.var() == pytest.approx(0.25**2 / 3, rel=0.12)
    assert not weights.start.any()


def test_kernels_have_one_specialisation_for_each_precision():
    for dtype in (np.float32, np.float64):
        for size in SIZES:
            weights, inputs, cotangent = _problem(*size, dtype=dtype)
            _gradient(weights, inputs, cotangent)
    assert len(gru_forward.signatures) == 2
    assert len(gru_backward.signatures) == 2
