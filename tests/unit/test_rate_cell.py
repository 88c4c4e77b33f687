"""The rate cell: its forward sweep is the simulation, its adjoint the gradient."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from cortexrnn.cells.activation import KINDS, Activation
from cortexrnn.cells.rate import rate_add_start, rate_backward, rate_forward, rate_start
from cortexrnn.cells.rate_parts import CURRENT, RATE, RateUnits, RateWeights, empty_rate_tape, pack_rate_weights
from cortexrnn.cells.stp import ShortTermPlasticity
from cortexrnn.circuit import Circuit, Input, Noise, Population, Projection, WeightLaw, build_weights
from cortexrnn.dynamics import Samples, simulate
from cortexrnn.training.bptt import Sweep, Trainer
from cortexrnn.training.circuit_model import CircuitModel, Trainable
from cortexrnn.training.model import Asked
from cortexrnn.training.tasks import RandomDots

N, N_INPUTS, N_STEPS = 5, 2, 30
# Trials of two kinds, with start states of their own; nothing dropped, and some units silent in some trials.
GROUP = np.arange(16) % 3 % 2
ALL = np.empty(0)
SOME = np.where(np.random.default_rng(9).random(N * 16) < 0.3, 0.0, 1.0 / 0.7)


def a_cell(form, kind, convention, facilitates, dtype=np.float64):
    """Units, weights, inputs and noise of a small cell with three plastic sources."""
    rng = np.random.default_rng(3)
    shape = Activation(kind=kind, gain=0.8, threshold=0.1, **({"exponent": 1.5} if kind == "power" else {}))
    units = RateUnits(
        form=form,
        first=np.array([0, 3, N]),
        codes=np.array([shape.code] * 2),
        shapes=np.array([[shape.gain, shape.threshold, shape.exponent]] * 2),
        static_unit=np.array([0, 1, 3, 4]),
        plastic_unit=np.array([0, 1, 2]),
        convention=np.full(3, convention),
        rate_scale_hz=10.0,
        dt_s=2e-3,
    )
    weights = RateWeights(
        recurrent=0.4 * rng.normal(size=(N, 7)),
        input=rng.normal(size=(N, N_INPUTS)),
        bias=0.5 + 0.3 * rng.normal(size=N),
        tau_s=rng.uniform(0.01, 0.03, N),
        start=0.2 + rng.random((2, N)),
        U=rng.uniform(0.1, 0.6, 3),
        tau_f_s=rng.uniform(0.05, 0.3, 3) if facilitates else np.zeros(3),
        tau_d_s=rng.uniform(0.05, 0.3, 3),
    )
    inputs, noise, by_rate = (rng.normal(size=(N_STEPS, k * 16)) * s for k, s in ((N_INPUTS, 1.0), (N, 0.1), (N, 1.0)))
    cast = [np.ascontiguousarray(part, dtype) for part in (inputs, noise, by_rate)]
    return units, RateWeights(*(np.ascontiguousarray(part, dtype) for part in weights)), *cast


def rates(units, weights, inputs, noise, keep=ALL):
    """Run forward; gives the tape."""
    tape = empty_rate_tape(len(inputs), weights)
    rate_start(units, weights, GROUP % len(weights.start), tape)
    rate_forward(inputs, noise, keep.astype(inputs.dtype), units, weights, pack_rate_weights(weights), tape)
    return tape


def adjoint(units, weights, inputs, noise, by_rate, truncation=0, keep=ALL):
    """Run forward and back; gives the gradient."""
    tape = rates(units, weights, inputs, noise, keep)
    gradient = RateWeights(*(np.zeros_like(part) for part in weights))
    packed = pack_rate_weights(weights)
    rate_backward(inputs, by_rate, keep.astype(inputs.dtype), units, weights, packed, tape, gradient, truncation)
    rate_add_start(tape, GROUP % len(weights.start), gradient)
    return gradient


@pytest.mark.parametrize(
    ("form", "kind", "convention", "facilitates", "keep"),
    [
        *((*case, ALL) for case in itertools.product((CURRENT, RATE), KINDS, (0, 1), (False, True))),
        *((*case, SOME) for case in itertools.product((CURRENT, RATE), ("softplus",), (0, 1), (False, True))),
    ],
)
def test_the_gradient_is_that_of_central_differences(form, kind, convention, facilitates, keep):
    """Along one random direction in all parameters at once, 1e-7 relative to the norms; float64; with dropout too."""
    units, weights, inputs, noise, by_rate = a_cell(form, kind, convention, facilitates)
    gradient = adjoint(units, weights, inputs, noise, by_rate, keep=keep)
    rng = np.random.default_rng(1)
    # A time constant of zero stays: it stands for no facilitation.
    named = weights._asdict().items()
    scales = [np.abs(part) if name.startswith("tau") else np.ones_like(part) for name, part in named]
    direction = RateWeights(*(scale * rng.normal(size=scale.shape) for scale in scales))
    norm = np.sqrt(sum((part**2).sum() for part in direction))
    step = 3e-6 / norm

    def loss(sign):
        moved = RateWeights(*(w + sign * step * d for w, d in zip(weights, direction, strict=True)))
        return float((rates(units, moved, inputs, noise, keep).rate[1:] * by_rate).sum())

    numeric = (loss(1.0) - loss(-1.0)) / (2.0 * step)
    analytic = sum(float((g * d).sum()) for g, d in zip(gradient, direction, strict=True))
    size = norm * np.sqrt(sum((part**2).sum() for part in gradient))
    assert abs(numeric - analytic) <= 1e-7 * size


def test_the_adjoint_is_linear_and_sums_over_trials():
    """The gradient of a tile is the sum of those of its lanes alone; adjoints of two losses add: 1e-12."""
    units, weights, inputs, noise, by_rate = a_cell(CURRENT, "softplus", 0, True)
    whole = adjoint(units, weights, inputs, noise, by_rate)
    parts = []
    for lane in range(16):
        alone = np.zeros_like(by_rate)
        alone[:, lane::16] = by_rate[:, lane::16]
        parts.append(adjoint(units, weights, inputs, noise, alone))
    for k, part in enumerate(whole):
        np.testing.assert_allclose(sum(p[k] for p in parts), part, rtol=1e-11, atol=1e-12 * np.abs(part).max())


@pytest.mark.parametrize("form", [CURRENT, RATE])
def test_truncation_cuts_what_is_older_than_a_block_and_nothing_else(form):
    """A loss at the last step and inputs before the last block: exactly zero; blocks at least as long: every bit."""
    units, weights, inputs, noise, by_rate = a_cell(form, "softplus", 0, True)
    last = np.zeros_like(by_rate)
    last[-1] = by_rate[-1]
    early = inputs.copy()
    early[20:] = 0.0
    assert not adjoint(units, weights, early, noise, last, 10).input.any()
    assert adjoint(units, weights, early, noise, last, 15).input.any()
    whole, same = (adjoint(units, weights, inputs, noise, by_rate, k) for k in (0, N_STEPS))
    for a, b in zip(whole, same, strict=True):
        np.testing.assert_array_equal(a, b)
    # A truncated gradient is the sum of those of the blocks' own losses, each cut at its block's beginning.
    parts = []
    for first in range(0, N_STEPS, 10):
        own = np.zeros_like(by_rate)
        own[first : first + 10] = by_rate[first : first + 10]
        parts.append(adjoint(units, weights, inputs, noise, own, 10))
    for k, part in enumerate(adjoint(units, weights, inputs, noise, by_rate, 10)):
        np.testing.assert_allclose(sum(p[k] for p in parts), part, rtol=1e-12, atol=1e-13 * np.abs(part).max())


@pytest.mark.parametrize("form", ["current", "rate"])
def test_the_forward_sweep_is_the_simulation(form):
    """The same circuit, the same input, no noise: rates of `simulate` to rounding, 1e-12."""
    names = ("excitatory", "inhibitory")
    shape = Activation(kind="softplus")
    circuit = Circuit(
        name="same",
        form=form,
        populations=tuple(
            Population(name=name, size=size, sign=name, activation=shape, tau_s=tau_s, bias=0.2)
            for name, size, tau_s in zip(names, (6, 3), (0.02, 0.01), strict=True)
        ),
        projections=tuple(
            Projection(
                source=source, target=target, weights=WeightLaw(law="gamma", mean=0.1, sd=0.05), plasticity=plasticity
            )
            for source, plasticity in zip(names, ("facil", ""), strict=True)
            for target in names
        ),
        plasticity={"facil": ShortTermPlasticity(U=0.2, tau_f_s=0.4, tau_d_s=0.1, convention="mongillo2008")},
        inputs=(Input(name="drive", target="excitatory"), Input(name="drive", target="inhibitory")),
        rate_scale_hz=5.0,
    )
    model = CircuitModel(circuit, Asked(1, 1, 2e-3), Trainable(), seed=0, dtype=np.float64)
    weights = model.core_weights()._replace(input=np.ones((9, 1)))
    signal = np.random.default_rng(0).normal(size=40)
    tape = rates(model.units, weights, np.repeat(signal[:, None], 16, axis=1), np.empty((0, 0)))
    run = simulate(
        circuit, duration_s=41 * 2e-3, dt_s=2e-3, initial=np.zeros(9),
        stimulus={"drive": Samples(values=signal, step_s=2e-3)},
    )  # fmt: skip
    np.testing.assert_allclose(tape.rate.reshape(41, 9, 16)[:, :, 3], run["rate"].values[0], rtol=0, atol=1e-12)


@pytest.mark.parametrize("dale", ["relu", "abs", "exp", "softplus", "projected"])
def test_every_dale_option_starts_from_the_circuit_and_has_its_gradient(dale):
    """Weights at the start are the circuit's (1e-7: the floor of exp and softplus); central differences."""
    circuit = Circuit.balanced(20, gain=1.2, seed=2)
    model = CircuitModel(circuit, Asked(2, 1, 1e-3), Trainable(dale=dale), seed=0, dtype=np.float64)
    matrix = build_weights(circuit).static
    units = model.units.static_unit
    np.testing.assert_allclose(model.core_weights().recurrent, matrix[:, units], atol=1e-7)
    rng = np.random.default_rng(0)
    by = RateWeights(*(rng.normal(size=part.shape) for part in model.core_weights()))
    by_readout = (rng.normal(size=(1, 20)), rng.normal(size=1))

    def value():
        cell, (readout, bias) = model.core_weights(), model.readout()
        parts = [(a * b).sum() for a, b in zip(cell, by, strict=True)]
        return sum(parts) + (readout * by_readout[0]).sum() + (bias * by_readout[1]).sum()

    gradient = model.pull_back(model.core_weights(), by, by_readout)
    direction = np.where(model.moves, rng.normal(size=gradient.size), 0.0)
    start = model.theta.copy()
    numeric = 0.0
    for sign in (1.0, -1.0):
        model.theta[:] = start + sign * 1e-6 * direction
        numeric += sign * value() / 2e-6
    assert numeric == pytest.approx(float(gradient @ direction), rel=1e-7)


def test_noise_of_a_circuit_reaches_the_sweep():
    """A circuit with noise differs from one without; the same key draws the same."""
    batch = RandomDots().trials(20, seed=0)
    outputs = []
    for sigma, key in ((0.0, 1), (0.5, 1), (0.5, 1), (0.5, 2)):
        circuit = Circuit.random(10, gain=0.5)
        noisy = Circuit(**{name: getattr(circuit, name) for name in ("name", "populations", "projections", "gain")},
                        noise=Noise(sigma=sigma))  # fmt: skip
        model = CircuitModel(noisy, Asked(2, 2, 0.02), Trainable(), seed=0, dtype=np.float64)
        outputs.append(Trainer(model, 1).run(batch, Sweep(noise_key=(0, key), wants_gradient=False)).outputs)
    assert not np.array_equal(outputs[0], outputs[1])
    np.testing.assert_array_equal(outputs[1], outputs[2])
    assert not np.array_equal(outputs[1], outputs[3])
