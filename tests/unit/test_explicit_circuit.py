"""Trained circuits as circuits. Oracle: what the training engine records of the same inputs."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from cortexrnn.cells.activation import Activation
from cortexrnn.cells.stp import ShortTermPlasticity
from cortexrnn.circuit import (
    Circuit,
    LowRank,
    Noise,
    Population,
    Projection,
    WeightLaw,
    audit_signs,
    build_weights,
    load_circuit,
    save_circuit,
)
from cortexrnn.dynamics.simulate import simulate
from cortexrnn.dynamics.stimuli import Samples
from cortexrnn.errors import OptionError
from cortexrnn.theory.rate_system import circuit_system
from cortexrnn.training import explicit as explicit_module
from cortexrnn.training.cell_model import CellNetwork
from cortexrnn.training.circuit_model import FIELDS, Trainable
from cortexrnn.training.loop import TrainOptions, train
from cortexrnn.training.tasks import RandomDots

TASK = RandomDots(stimulus_s=0.2)
SHORT = TrainOptions(
    max_steps=6, batch_size=20, evaluate_every=3, n_validation=20, criterion=2.0, learning_rate=0.02, n_threads=1
)


def e_i(form="current"):
    """A small E-I circuit with noise, two classes of plastic synapses and static ones."""
    sizes, means = {"excitatory": 8, "inhibitory": 4}, {"excitatory": 0.2, "inhibitory": 0.3}
    classes = {("excitatory", "excitatory"): "facil", ("excitatory", "inhibitory"): "depress"}
    return Circuit(
        name="small",
        form=form,
        populations=tuple(
            Population(name=name, size=size, sign=name, activation=Activation(kind="softplus"), tau_s=0.1)
            for name, size in sizes.items()
        ),
        projections=tuple(
            Projection(
                source=s,
                target=t,
                weights=WeightLaw(law="gamma", mean=means[s], sd=0.1),
                density=0.9,
                plasticity=classes.get((s, t), ""),
            )
            for s in sizes
            for t in sizes
        ),
        plasticity={
            "facil": ShortTermPlasticity(U=0.2, tau_f_s=1.5, tau_d_s=0.2, convention="mongillo2008"),
            "depress": ShortTermPlasticity(U=0.5, tau_f_s=0.0, tau_d_s=0.3),
        },
        rate_scale_hz=10.0,
        noise=Noise(sigma=0.1),
        balance="rows",
        gain=1.1,
        wiring_seed=4,
    )


def quiet(trained):
    """The same network without its noise."""
    trained.model.circuit = replace(trained.model.circuit, noise=None)
    return trained


def check_rates(trained, circuit):
    """Hold a simulation of the circuit against what the training engine records, in float32."""
    batch = TASK.trials(5, seed=3, mode="test")
    recorded = trained.record(batch).rate.values
    n_steps = recorded.shape[1]
    stimulus = {f"input_{k}": Samples(values=batch.inputs[:, :, [k]], step_s=TASK.dt_s) for k in range(TASK.n_inputs)}
    start = trained.model.core_weights().start[0].astype(float)
    run = simulate(
        circuit, duration_s=n_steps * TASK.dt_s, dt_s=TASK.dt_s, n_trials=5, stimulus=stimulus, initial=start
    )
    assert np.nanstd(recorded) > 0.01
    inside = np.arange(n_steps - 1) < batch.length[:, None] - 1
    # A simulation keeps the rates at a moment, the record those after the step; single precision over some steps.
    np.testing.assert_allclose(run.rate.values[:, 1:][inside], recorded[:, :-1][inside], rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("form", ["current", "rate"])
@pytest.mark.parametrize("trains", [FIELDS, ("recurrent", "input", "readout")], ids=["all", "some"])
def test_a_simulation_runs_as_the_trained_network_does(form, trains, tmp_path):
    """All that can be trained, every synapse with parameters of its own; or weights alone, two classes of synapses."""
    trained = quiet(train(e_i(form), TASK, trainable=Trainable(trains=trains), options=SHORT))
    circuit = trained.to_circuit()
    audit_signs(build_weights(circuit).total(), circuit.signs)
    assert len(circuit.plasticity) == (16 if "U" in trains else 2)
    # Sums of the same numbers in another order.
    np.testing.assert_allclose(build_weights(circuit).total(), trained.weights, rtol=1e-6, atol=1e-7)
    check_rates(trained, circuit)
    assert load_circuit(save_circuit(circuit, tmp_path / "trained.toml")) == circuit


def test_a_network_without_signs_and_with_low_rank_weights_is_given_too():
    units = Population(name="units", size=10, tau_s=0.1)
    loop = Projection(source="units", target="units", weights=WeightLaw(law="gaussian", mean=0.0, sd=0.2))
    circuit = Circuit(
        name="mixed", populations=(units,), projections=(loop,), low_rank_terms=(LowRank(overlap=0.5),), wiring_seed=1
    )
    trained = train(circuit, TASK, options=SHORT)
    explicit = trained.to_circuit()
    assert explicit.low_rank_terms == ()
    check_rates(trained, explicit)


def test_the_circuit_can_be_analysed_as_the_trained_network_can():
    """One step of both systems from the same states."""
    trained = quiet(train(e_i(), TASK, trainable=Trainable(trains=FIELDS), options=SHORT))
    ours = trained.system()
    theirs = circuit_system(trained.to_circuit(), dt_s=TASK.dt_s)
    assert theirs.labels == ours.labels
    states = ours.start(3, seed=0)
    # Weights rounded once to float32 in both.
    np.testing.assert_allclose(theirs.step(states), ours.step(states), rtol=1e-6, atol=1e-7)


def test_noise_and_activations_are_those_of_the_beginning():
    circuit = train(e_i(), TASK, options=SHORT).to_circuit()
    assert circuit.noise == e_i().noise
    assert [p.activation for p in circuit.populations] == [p.activation for p in e_i().populations]
    assert (circuit.balance, circuit.gain) == ("", None)


def test_classes_that_were_trained_apart_get_names_of_their_own():
    """One class is called as the second part of another would be."""
    first, second, *rest = e_i().projections
    projections = (first, replace(second, plasticity="facil.1"), *rest)
    plasticity = dict(zip(("facil", "facil.1"), e_i().plasticity.values(), strict=True))
    circuit = replace(e_i(), projections=projections, plasticity=plasticity)
    trained = quiet(train(circuit, TASK, trainable=Trainable(trains=FIELDS), options=SHORT))
    explicit = trained.to_circuit()
    assert len(explicit.plasticity) == 16
    assert {"facil", "facil.1", "facil.2"} < set(explicit.plasticity)
    check_rates(trained, explicit)


def test_more_tables_than_fit_are_refused(monkeypatch):
    trained = train(e_i(), TASK, options=SHORT)
    monkeypatch.setattr(explicit_module, "_LARGEST_TABLES", 300)
    with pytest.raises(OptionError, match="12 units with 2 classes of plasticity are 432 numbers"):
        trained.to_circuit()


def test_cells_are_no_circuit():
    trained = train(CellNetwork(kind="lstm", n_hidden=8), TASK, options=SHORT)
    with pytest.raises(OptionError, match="a network of 'lstm' cells is no circuit"):
        trained.to_circuit()


def test_instant_inhibition_is_no_circuit():
    static = replace(
        e_i(), projections=tuple(replace(p, plasticity="") for p in e_i().projections), plasticity={}, balance=""
    )
    trained = train(static, TASK, trainable=Trainable(dale="dann"), options=SHORT)
    with pytest.raises(OptionError, match="its inhibition answers at once"):
        trained.to_circuit()
