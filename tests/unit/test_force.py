"""FORCE learning. Oracles: plain loops in NumPy, `simulate` on the trained circuit, the signs of the weights."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from cortexrnn.cells.activation import Activation
from cortexrnn.circuit import Circuit, Input, Noise, Population, Projection, WeightLaw, build_inputs, build_weights
from cortexrnn.dynamics import simulate
from cortexrnn.errors import DataError, NumericalError, NumericalWarning, OptionError
from cortexrnn.numerics.streams import stream
from cortexrnn.training.reservoirs import force_kernels
from cortexrnn.training.reservoirs.force import Force
from cortexrnn.training.reservoirs.readout import relative_error
from cortexrnn.training.reservoirs.rls import RLS, SignedRLS

PERIOD_S = 0.6
SIGNS = np.where(np.arange(300) % 5 < 4, 1, -1)


def chaotic(n, *, seed=0, gain=1.5, inputs=()):
    """The network of Sussillo and Abbott (2009): sparse, Gaussian, gain 1.5."""
    law = WeightLaw(law="gaussian", mean=0.0, sd=1.0)
    loop = Projection(source="units", target="units", weights=law, density=min(1.0, 30 / n), allow_autapses=True)
    return Circuit(
        name="chaotic",
        populations=(Population(name="units", size=n),),
        projections=(loop,),
        inputs=inputs,
        gain=gain,
        initial_sd=0.5,
        wiring_seed=seed,
    )


def waves(n_steps, dt_s=1e-3):
    """A sum of three sines of one period."""
    phase = 2.0 * np.pi * np.arange(n_steps) * dt_s / PERIOD_S
    return 0.8 * np.sin(phase) + 0.4 * np.sin(2.0 * phase) + 0.2 * np.cos(3.0 * phase)


def by_plain_loops(force, targets, state):
    """Learn as published, step by step in NumPy; gives outputs and weights."""
    weights = build_weights(force.circuit).total()
    feedback = force.feedback_weights(targets.shape[1])
    decay = np.exp(-force.dt_s / force.circuit.tau_s)
    inverse = np.eye(force.circuit.size) / force.learner.penalty
    x, w, outputs = state.copy(), np.zeros((targets.shape[1], force.circuit.size)), []
    for t, target in enumerate(targets):
        rate = np.tanh(x)
        z = w @ rate
        outputs.append(z)
        if t % force.every == 0:
            k = inverse @ rate
            c = 1.0 + rate @ k
            inverse = inverse - np.outer(k, k) / c
            w = w + np.outer(target - z, k) / c
        x = decay * x + (1.0 - decay) * (weights @ rate + feedback @ z + force.circuit.bias)
    return np.array(outputs), w, x


def test_learning_is_that_of_plain_loops():
    """60 steps, before chaos has made round-off visible."""
    targets = np.stack([waves(60), waves(80)[20:]], axis=1)
    force = Force(circuit=chaotic(50), learner=RLS(penalty=2.0), every=3)
    fitted = force.fit(targets, seed=4)
    start = 0.5 * stream(4, "force", "initial state").normal(size=50)
    outputs, weights, state = by_plain_loops(force, targets, start)
    np.testing.assert_allclose(fitted.outputs, outputs, rtol=1e-9, atol=1e-11)
    np.testing.assert_allclose(fitted.weights, weights, rtol=1e-8, atol=1e-10)
    np.testing.assert_allclose(fitted.state, state, rtol=1e-9, atol=1e-11)


@pytest.fixture(scope="module", params=["free", "signed"])
def trained(request):
    """300 units that have learned waves over 24 periods."""
    learner = RLS(penalty=0.1) if request.param == "free" else SignedRLS(signs=SIGNS, penalty=0.1)
    return Force(circuit=chaotic(300), learner=learner).fit(waves(14_400), seed=1)


def test_the_trained_network_goes_on_by_itself(trained):
    """Chaotic before (gain 1.5), it now repeats the waves: below a tenth of their deviation for two periods."""
    n = round(2 * PERIOD_S / 1e-3)
    out = trained.run(n)[:, 0]
    assert relative_error(out, waves(14_400 + n)[14_400:]) < 0.1
    # From another state without learning it does not.
    untrained = replace(trained, weights=np.zeros_like(trained.weights))
    assert relative_error(untrained.run(n)[:, 0], waves(14_400 + n)[14_400:]) > 0.9


def test_a_trained_circuit_simulated_is_the_trained_network(trained):
    """The loop through the read-out as a low-rank term: half a period before round-off differs by more."""
    run = simulate(trained.circuit(), duration_s=PERIOD_S / 2, initial=trained.state)
    outputs = run["rate"].values[0] @ trained.weights.T
    np.testing.assert_allclose(outputs, trained.run(len(outputs)), rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(
        build_weights(trained.circuit()).total(), trained.total_weights(), rtol=1e-12, atol=1e-14
    )


def test_signed_learning_leaves_no_weight_of_the_wrong_sign():
    fitted = Force(circuit=chaotic(100), learner=SignedRLS(signs=SIGNS[:100])).fit(waves(3000))
    assert np.all(fitted.weights * SIGNS[:100] >= 0.0)
    assert 20 < np.count_nonzero(fitted.weights) < 80
    assert fitted.n_exchanges > 100


def test_the_loop_of_a_signed_read_out_keeps_dales_law_between_units():
    """An excitatory-inhibitory circuit, positive feedback: the signs of all weights between units stay."""
    circuit = replace(Circuit.balanced(100, 1.5, seed=2), initial_sd=0.5)
    signed = SignedRLS(signs=circuit.signs)
    fitted = Force(circuit=circuit, learner=signed, feedback=(0.0, 1.0)).fit(waves(1200))
    assert np.all(fitted.total_weights() * circuit.signs >= 0.0)
    assert np.abs(fitted.weights).max() > 0.0
    free = Force(circuit=circuit, feedback=(0.0, 1.0)).fit(waves(1200))
    assert np.any(free.total_weights() * circuit.signs < -1e-6)


def test_inputs_reach_the_units_by_their_channels():
    """Without recurrent weights and feedback a linear unit low-passes its input: closed form, a step."""
    unit = Population(name="units", size=1, activation=Activation(kind="linear"), bias=0.25)
    circuit = Circuit(name="filter", populations=(unit,), inputs=(Input(name="drive", target="units"),))
    fitted = Force(circuit=circuit, feedback=(0.0, 0.0)).fit(np.zeros(40), inputs=np.ones((40, 1)))
    assert build_inputs(circuit)[0, 0] == 1.0
    np.testing.assert_allclose(fitted.state, 1.25 * (1.0 - np.exp(-40 * 1e-3 / 0.01)), rtol=1e-12)


def test_equal_seeds_give_equal_bits_and_others_another_start():
    force = Force(circuit=chaotic(60))
    one, same, other = (force.fit(waves(200), seed=seed) for seed in (3, 3, 4))
    assert np.array_equal(one.weights, same.weights)
    assert not np.array_equal(one.outputs, other.outputs)
    assert np.array_equal(one.feedback, other.feedback)
    wired = Force(circuit=chaotic(60, seed=1)).fit(waves(200), seed=3)
    assert not np.array_equal(one.feedback, wired.feedback)


def test_whatever_comes_in_the_kernels_have_one_specialisation():
    circuit = chaotic(20, inputs=(Input(name="cue", target="units"),))
    for targets in (waves(30), waves(60)[::2], waves(30).astype(np.float32)):
        for learner in (RLS(), SignedRLS(signs=SIGNS[:20])):
            fitted = Force(circuit=circuit, learner=learner).fit(targets, inputs=np.asfortranarray(np.ones((30, 1))))
            fitted.run(5)
            fitted.run(5, inputs=np.ones(5, dtype=np.float32), initial=fitted.state[::-1])
    for kernel in (force_kernels.learn, force_kernels.learn_signed, force_kernels.run_closed):
        assert len(kernel.signatures) == 1


def test_activity_that_explodes_is_an_error_with_its_step():
    linear = Population(name="units", size=20, activation=Activation(kind="linear"))
    circuit = replace(chaotic(20, gain=300.0), populations=(linear,))
    with pytest.raises(NumericalError, match=r"not finite at step \d+ of 5000"):
        Force(circuit=circuit, feedback=(0.0, 0.0)).fit(waves(5000))


def test_unfinished_updates_are_reported():
    learner = SignedRLS(signs=SIGNS[:60], most_exchanges=1)
    with pytest.warns(NumericalWarning, match="of 100 updates stopped"):
        fitted = Force(circuit=chaotic(60), learner=learner).fit(waves(200))
    assert np.all(fitted.weights * SIGNS[:60] >= 0.0)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"circuit": 3}, "expected a Circuit"),
        ({"circuit": Circuit.ssn()}, "form='rate'"),
        ({"circuit": replace(chaotic(10), noise=Noise(sigma=0.1))}, "has noise"),
        ({"every": 0}, "every=0"),
        ({"dt_s": -1.0}, "dt_s"),
        ({"feedback": (1.0, 0.0)}, "low <= high"),
        ({"learner": "RLS"}, "expected RLS"),
    ],
)
def test_wrong_options_are_refused(change, message):
    with pytest.raises(OptionError, match=message):
        Force(**({"circuit": chaotic(10)} | change))


def test_wrong_series_are_refused():
    force = Force(circuit=chaotic(10, inputs=(Input(name="cue", target="units"),)))
    with pytest.raises(DataError, match="targets of shape"):
        force.fit(np.array([0.0, np.nan]))
    with pytest.raises(DataError, match=r"expected \(5, 1\), one column for each of the channels \('cue',\)"):
        force.fit(np.ones(5), inputs=np.ones(4))
    with pytest.raises(DataError, match="10 features do not fit 3 signs"):
        replace(force, learner=SignedRLS(signs=(1, 1, 1))).fit(np.ones(5))
    with pytest.raises(DataError, match="initial has shape"):
        force.fit(np.ones(5)).run(3, initial=np.zeros(9))


def test_signed_circuits_have_no_low_rank_form():
    circuit = Circuit.balanced(20, 1.0, density=0.5)
    with pytest.raises(OptionError, match="signed populations"):
        Force(circuit=circuit).fit(waves(10)).circuit()
