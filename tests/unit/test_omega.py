"""Omega: the kernels against explicit Jacobians, and their gradients against central differences."""

from __future__ import annotations

import itertools
import runpy
from pathlib import Path

import numpy as np
import pytest

from cortexrnn.cells.activation import Activation
from cortexrnn.cells.omega import rate_omega, vanilla_omega
from cortexrnn.cells.rate import rate_backward, rate_forward, rate_start
from cortexrnn.cells.rate_parts import (
    CURRENT,
    RATE,
    RateUnits,
    RateWeights,
    empty_rate_tape,
    pack_rate_weights,
)
from cortexrnn.cells.recurrent import CELLS
from cortexrnn.numerics.lanes import N_LANES
from cortexrnn.numerics.packed import pack_rows

TWIN = runpy.run_path(str(Path(__file__).parents[1] / "reference" / "omega_twin.py"))
N, N_INPUTS, N_STEPS = 5, 2, 37
RNG_SEED = 3


def a_share(rng):
    """Weights of trials of different lengths, in all 1."""
    length = rng.integers(N_STEPS // 2, N_STEPS + 1, N_LANES)
    return (np.arange(N_STEPS)[:, None] < length) / length.sum()


def a_rate_cell(form, kind, plasticity, drops, dtype=np.float64):
    """Units, weights, inputs, keep, by_rate and share of a small cell."""
    rng = np.random.default_rng(RNG_SEED)
    shape = Activation(kind=kind)
    n_plastic = 0 if plasticity is None else 3
    units = RateUnits(
        form=form,
        first=np.array([0, 3, N]),
        codes=np.array([shape.code] * 2),
        shapes=np.array([[shape.gain, shape.threshold, shape.exponent]] * 2),
        static_unit=np.arange(N) if plasticity is None else np.array([0, 1, 3, 4]),
        plastic_unit=np.arange(n_plastic),
        convention=np.full(n_plastic, plasticity or 0),
        rate_scale_hz=10.0,
        dt_s=5e-3,
    )
    weights = RateWeights(
        recurrent=0.5 * rng.normal(size=(N, units.static_unit.size + n_plastic)),
        input=rng.normal(size=(N, N_INPUTS)),
        bias=0.2 + 0.3 * rng.normal(size=N),
        tau_s=rng.uniform(0.01, 0.03, N),
        start=0.2 + rng.random((1, N)),
        U=rng.uniform(0.1, 0.6, n_plastic),
        tau_f_s=rng.uniform(0.05, 0.3, n_plastic),
        tau_d_s=rng.uniform(0.05, 0.3, n_plastic),
    )
    keep = 1.25 * rng.integers(0, 2, N * N_LANES) if drops else np.empty(0)
    inputs, by_rate = rng.normal(size=(N_STEPS, N_INPUTS * N_LANES)), rng.normal(size=(N_STEPS, N * N_LANES))
    share = a_share(rng)
    # Nothing is asked of a trial behind its end, nor of some trials before it.
    by_rate *= np.tile(share > 0.0, N)
    by_rate[-12:, ::N_LANES] = 0.0
    cast = [np.ascontiguousarray(part, dtype) for part in (inputs, keep, by_rate, share)]
    return units, RateWeights(*(np.ascontiguousarray(part, dtype) for part in weights)), *cast


def swept(units, weights, inputs, keep, by_rate):
    """Run forward and back; gives the tape."""
    packed, tape = pack_rate_weights(weights), empty_rate_tape(len(inputs), weights)
    gradient = RateWeights(*(np.zeros_like(part) for part in weights))
    rate_start(units, weights, np.zeros(N_LANES, np.int64), tape)
    rate_forward(inputs, np.empty((0, 0), inputs.dtype), keep, units, weights, packed, tape)
    rate_backward(inputs, by_rate, keep, units, weights, packed, tape, gradient, 0)
    return tape


def omega_at(recurrent, units, weights, keep, tape, share):
    """Omega and its gradient with other recurrent weights in the Jacobian alone."""
    packed = pack_rate_weights(weights)._replace(recurrent_t=pack_rows(np.ascontiguousarray(recurrent.T)))
    gradient = RateWeights(*(np.zeros_like(part) for part in weights))
    return rate_omega(keep, units, weights, packed, tape, share, 2.0, gradient), gradient.recurrent


def twin_omega(units, kind, weights, inputs, keep, by_rate, share):
    """Give a function of the recurrent weights in the Jacobian: the twin's Omega over all trials, errors its own."""
    form = "current" if units.form == CURRENT else "rate"
    parts = []
    for lane in range(N_LANES):
        cell = TWIN["RateCell"](
            form, kind, weights._asdict(), (units.static_unit, units.plastic_unit),
            (units.rate_scale_hz, units.dt_s), units.convention, keep[lane::N_LANES] if keep.size else np.ones(N),
        )  # fmt: skip
        drives = inputs[:, lane::N_LANES] @ weights.input.T + weights.bias
        states = [np.concatenate([weights.start[0], weights.U, np.ones_like(weights.U)])]
        for drive in drives:
            states.append(cell.step(states[-1], drive))
        direct = np.zeros((N_STEPS, states[0].size))
        direct[:, :N] = by_rate[:, lane::N_LANES]
        if form == "current":
            direct[:, :N] *= np.array([cell.slope(s[:N]) for s in states[1:]])
        parts.append((cell, states, drives, TWIN["errors"](cell.step, states, drives, direct)[:, :N]))

    def value(recurrent):
        return sum(
            TWIN["omega"](
                error, [cell.unit_jacobian(s, d, recurrent) for s, d in zip(states[:-1], drives, strict=True)],
                share[:, lane],
            )
            for lane, (cell, states, drives, error) in enumerate(parts)
        )  # fmt: skip

    return value


CASES = list(itertools.product((CURRENT, RATE), ("tanh", "relu", "softplus"), (None, 0, 1), (False, True)))


@pytest.mark.parametrize(("form", "kind", "plasticity", "drops"), CASES)
def test_omega_of_rate_units_is_that_of_explicit_jacobians(form, kind, plasticity, drops):
    """The NumPy twin with its own states and errors, where they are and with other weights in the Jacobian."""
    units, weights, inputs, keep, by_rate, share = a_rate_cell(form, kind, plasticity, drops)
    tape = swept(units, weights, inputs, keep, by_rate)
    twin = twin_omega(units, kind, weights, inputs, keep, by_rate, share)
    moved = weights.recurrent + 0.3 * np.random.default_rng(0).normal(size=weights.recurrent.shape)
    for recurrent in (weights.recurrent, moved):
        found, _ = omega_at(recurrent, units, weights, keep, tape, share)
        # Round-off of float64 over some tens of steps.
        assert found == pytest.approx(2.0 * twin(recurrent), rel=1e-11)


@pytest.mark.parametrize(("form", "kind", "plasticity", "drops"), CASES)
def test_the_gradient_of_rate_units_is_that_of_central_differences(form, kind, plasticity, drops):
    """Along a random direction in the weights where they stand in the Jacobian, errors and states fixed: 1e-7."""
    units, weights, inputs, keep, by_rate, share = a_rate_cell(form, kind, plasticity, drops)
    tape = swept(units, weights, inputs, keep, by_rate)
    _, gradient = omega_at(weights.recurrent, units, weights, keep, tape, share)
    direction = np.random.default_rng(4).normal(size=gradient.shape)
    values = [
        omega_at(weights.recurrent + sign * 1e-6 * direction, units, weights, keep, tape, share)[0]
        for sign in (1.0, -1.0)
    ]
    numeric = (values[0] - values[1]) / 2e-6
    size = np.linalg.norm(gradient) * np.linalg.norm(direction)
    assert abs(numeric - float((gradient * direction).sum())) <= 1e-7 * size


def a_vanilla(kind, drops, norm=False):
    """Weights, the same packed, tape after the sweep forward, and what it was given."""
    rng = np.random.default_rng(RNG_SEED)
    cell, shape = CELLS["vanilla"], Activation(kind=kind)
    weights = cell.draw(N_INPUTS, N, seed=1, dtype=np.float64, norm=norm)
    weights = weights._replace(hidden=2.0 * weights.hidden, input_bias=weights.input_bias + 0.4)
    inputs, by_hidden = rng.normal(size=(N_STEPS, N_INPUTS * N_LANES)), rng.normal(size=(N_STEPS, N * N_LANES))
    keep = 1.25 * rng.integers(0, 2, N * N_LANES) if drops else np.empty(0)
    share = a_share(rng)
    by_hidden *= np.tile(share > 0.0, N)
    packed, tape = cell.pack(weights, shape), cell.empty_tape(N_STEPS, weights)
    cell.start(weights, np.zeros(N_LANES, np.int64), tape)
    cell.forward(inputs, keep, packed, tape)
    return weights, packed, tape, inputs, by_hidden, keep, share


def zeros_like(weights):
    """A gradient to add to."""
    return type(weights)(*(np.zeros_like(part) for part in weights))


@pytest.mark.parametrize(
    ("kind", "drops", "norm", "truncation"),
    list(itertools.product(("tanh", "relu", "softplus"), (False, True), (False, True), (0, 10))),
)
def test_omega_of_a_vanilla_network_is_that_of_explicit_jacobians(kind, drops, norm, truncation):
    """Value against the NumPy twin, 1e-11; gradient against central differences of the twin, 1e-7."""
    weights, packed, tape, inputs, by_hidden, keep, share = a_vanilla(kind, drops, norm)
    CELLS["vanilla"].backward(inputs, by_hidden, keep, packed, tape, zeros_like(weights), truncation)
    gradient, later = zeros_like(weights), np.zeros(N * N_LANES)
    found = vanilla_omega(by_hidden, later, keep, packed, tape, share, 2.0, gradient, truncation)
    drives = inputs.reshape(N_STEPS, N_INPUTS, N_LANES).transpose(2, 0, 1) @ weights.input.T
    drives += weights.input_bias + weights.hidden_bias
    cells = [
        TWIN["VanillaCell"](kind, weights.hidden, keep[lane::N_LANES] if drops else np.ones(N), weights.norm_gain)
        for lane in range(N_LANES)
    ]
    trials = []
    for lane, cell in enumerate(cells):
        states = [weights.start[0]]
        for drive in drives[lane]:
            states.append(cell.step(states[-1], drive))
        direct = by_hidden[:, lane::N_LANES]
        trials.append((states, TWIN["errors"](cell.step, states, drives[lane], direct, truncation)))

    def twin(hidden):
        return 2.0 * sum(
            TWIN["omega"](
                error, [cell.unit_jacobian(s, d, hidden) for s, d in zip(states[:-1], drives[lane], strict=True)],
                share[:, lane],
            )
            for lane, (cell, (states, error)) in enumerate(zip(cells, trials, strict=True))
        )  # fmt: skip

    assert found == pytest.approx(twin(weights.hidden), rel=1e-11)
    direction = np.random.default_rng(4).normal(size=(N, N))
    numeric = sum(sign * twin(weights.hidden + sign * 1e-6 * direction) / 2e-6 for sign in (1.0, -1.0))
    size = np.linalg.norm(gradient.hidden) * np.linalg.norm(direction)
    assert abs(numeric - float((gradient.hidden * direction).sum())) <= 1e-7 * size
    for name, part in gradient._asdict().items():
        assert name == "hidden" or not part.any()


def test_omega_in_two_segments_is_that_of_the_whole():
    """What the second segment carries into the first is an error of the first: the same sum and gradient, 1e-12."""
    weights, packed, tape, inputs, by_hidden, keep, share = a_vanilla("tanh", False)
    cell, later = CELLS["vanilla"], np.zeros(N * N_LANES)
    parts, gradients = [], []
    for first, stop in ((0, N_STEPS), (20, N_STEPS), (0, 20)):
        piece = cell.empty_tape(stop - first, weights)
        piece.hidden[0] = tape.hidden[first]
        cell.forward(inputs[first:stop], keep, packed, piece)
        piece.carried[:] = later if first == 0 and stop == 20 else 0.0
        given = piece.carried.copy()
        gradient = zeros_like(weights)
        cell.backward(inputs[first:stop], by_hidden[first:stop], keep, packed, piece, zeros_like(weights), 0)
        args = (by_hidden[first:stop], given, keep, packed, piece, share[first:stop], 1.0, gradient, 0)
        parts.append(vanilla_omega(*args))
        gradients.append(gradient.hidden)
        later = piece.carried.copy()
    assert parts[0] == pytest.approx(parts[1] + parts[2], rel=1e-12)
    np.testing.assert_allclose(gradients[1] + gradients[2], gradients[0], rtol=0, atol=1e-12)


def test_an_orthogonal_linear_network_has_no_omega_and_a_scaled_one_has_its_own():
    """Every error keeps its length, or is scaled by 1.5: Omega 0.25, its gradient along W ``2 (1.5 - 1) 1.5``."""
    rng = np.random.default_rng(0)
    cell = CELLS["vanilla"]
    orthogonal = np.linalg.qr(rng.normal(size=(N, N)))[0]
    by_hidden = np.zeros((N_STEPS, N * N_LANES))
    by_hidden[-1] = rng.normal(size=N * N_LANES)
    share = np.full((N_STEPS, N_LANES), 1.0 / (N_STEPS * N_LANES))
    keep, later, inputs = np.empty(0), np.zeros(N * N_LANES), np.zeros((N_STEPS, N_INPUTS * N_LANES))
    for gain, expected, along in ((1.0, 0.0, 0.0), (1.5, 0.25, 1.5)):
        weights = cell.draw(N_INPUTS, N, seed=1, dtype=np.float64)._replace(hidden=gain * orthogonal)
        packed, tape = cell.pack(weights, Activation(kind="linear")), cell.empty_tape(N_STEPS, weights)
        cell.start(weights, np.zeros(N_LANES, np.int64), tape)
        cell.forward(inputs, keep, packed, tape)
        cell.backward(inputs, by_hidden, keep, packed, tape, zeros_like(weights), 0)
        gradient = zeros_like(weights)
        found = vanilla_omega(by_hidden, later, keep, packed, tape, share, 1.0, gradient, 0)
        # Round-off of lengths over some tens of steps.
        assert found == pytest.approx(expected, abs=1e-12)
        assert float((gradient.hidden * weights.hidden).sum()) == pytest.approx(along, abs=1e-12)


@pytest.mark.parametrize("form", [CURRENT, RATE])
def test_errors_that_vanish_in_single_precision_still_count(form):
    """Errors of 1e-30, whose squares float32 cannot hold: Omega of those of size one, to 1e-5, finite gradient."""
    found = []
    for size in (1.0, 1e-30):
        units, weights, inputs, keep, by_rate, share = a_rate_cell(form, "tanh", 0, False, np.float32)
        tape = swept(units, weights, inputs, keep, by_rate * np.float32(size))
        found.append(omega_at(weights.recurrent, units, weights, keep, tape, share))
    assert found[1][0] == pytest.approx(found[0][0], rel=1e-5)
    np.testing.assert_allclose(found[1][1], found[0][1], rtol=0, atol=1e-5 * np.abs(found[0][1]).max())


def test_a_lost_number_stays_lost():
    """A NaN among the errors of one trial makes the term NaN."""
    units, weights, inputs, keep, by_rate, share = a_rate_cell(CURRENT, "tanh", None, False)
    by_rate[3, 5] = np.nan
    tape = swept(units, weights, inputs, keep, by_rate)
    assert np.isnan(omega_at(weights.recurrent, units, weights, keep, tape, share)[0])


def test_no_error_no_omega():
    """Nothing is asked of the network: 0, and no gradient."""
    units, weights, inputs, keep, by_rate, share = a_rate_cell(RATE, "relu", None, False)
    tape = swept(units, weights, inputs, keep, np.zeros_like(by_rate))
    found, gradient = omega_at(weights.recurrent, units, weights, keep, tape, share)
    assert found == 0.0
    assert not gradient.any()
