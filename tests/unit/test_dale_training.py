"""Dale's law under training: interneurons that answer at once, and rows that stay balanced."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from cortexrnn.cells.activation import Activation
from cortexrnn.cells.stp import ShortTermPlasticity
from cortexrnn.circuit import Circuit, Population, Projection, WeightLaw, audit_signs, build_weights
from cortexrnn.circuit.recipes import dann_recipe
from cortexrnn.errors import NumericalError, OptionError
from cortexrnn.training.bptt import Sweep, Trainer
from cortexrnn.training.circuit_model import CircuitModel, Trainable
from cortexrnn.training.dale import OPTIONS, Dale, Interneurons
from cortexrnn.training.loop import TrainOptions, train
from cortexrnn.training.model import Asked
from cortexrnn.training.tasks import RandomDots
from cortexrnn.training.trained import load_trained

TASK = RandomDots(stimulus_s=0.2)
SHORT = TrainOptions(max_steps=6, batch_size=20, evaluate_every=3, n_validation=20, criterion=2.0)
BALANCED_OPTIONS = tuple(option for option in OPTIONS if option != "dann")


def e_i(n_excitatory=6, n_inhibitory=3, density=0.8):
    """A small E-I circuit without balance; some pairs are not connected."""
    sizes, means = {"excitatory": n_excitatory, "inhibitory": n_inhibitory}, {"excitatory": 0.2, "inhibitory": 0.3}
    return Circuit(
        name="small",
        populations=tuple(
            Population(name=name, size=size, sign=name, activation=Activation(kind="softplus"), tau_s=0.1)
            for name, size in sizes.items()
        ),
        projections=tuple(
            Projection(source=s, target=t, weights=WeightLaw(law="gamma", mean=means[s], sd=0.1), density=density)
            for s in sizes
            for t in sizes
        ),
        wiring_seed=4,
    )


def facilitating():
    """The small circuit with plastic synapses among its excitatory units."""
    first, *rest = e_i().projections
    law = ShortTermPlasticity(U=0.2, tau_f_s=1.5, tau_d_s=0.2)
    projections = (replace(first, plasticity="facil"), *rest)
    return replace(e_i(), projections=projections, plasticity={"facil": law}, rate_scale_hz=10.0)


def model_of(circuit, dtype=np.float64, **trainable):
    """The parameters of a circuit for random dots."""
    sizes = (TASK.n_inputs, TASK.n_outputs)
    return CircuitModel(circuit, Asked(*sizes, TASK.dt_s), Trainable(**trainable), seed=0, dtype=dtype)


def recurrent(model):
    """The recurrent parameters, a view."""
    return model.parts(model.theta)["recurrent"]


@pytest.mark.parametrize(
    ("option", "balance"), [(option, "") for option in OPTIONS] + [(option, "rows") for option in BALANCED_OPTIONS]
)
def test_the_loss_has_its_gradient_in_every_option(option, balance):
    """Central differences of the loss of a batch, parameter by parameter; 1e-7 of the gradient's norm."""
    model = model_of(e_i(), dale=option, balance=balance)
    # Away from the start of dann, where the interneurons are alike.
    recurrent(model)[...] *= np.random.default_rng(1).uniform(0.8, 1.2, recurrent(model).shape)
    batch, trainer = TASK.trials(20, seed=3), Trainer(model, 1)
    gradient = trainer.run(batch, Sweep(noise_key=(0, "x"))).gradient
    start, step = model.theta.copy(), 1e-5
    numeric = np.zeros_like(start)
    for k in np.flatnonzero(model.moves):
        losses = []
        for sign in (1.0, -1.0):
            model.theta[:] = start
            model.theta[k] += sign * step
            losses.append(trainer.run(batch, Sweep(noise_key=(0, "x"), wants_gradient=False)).loss)
        numeric[k] = (losses[0] - losses[1]) / (2.0 * step)
    assert np.linalg.norm(gradient) > 1e-3
    assert np.linalg.norm(gradient - numeric) < 1e-7 * np.linalg.norm(gradient)


def test_interneurons_answer_at_once():
    """One step of the matrix by hand: the inhibitory units sum what they are sent and subtract it in the same step."""
    model = model_of(e_i(), dale="dann")
    weights, rng = model.matrix(), np.random.default_rng(0)
    rate = rng.uniform(0.0, 1.0, 9)
    inhibition = [sum(weights[i, j] * rate[j] for j in range(6)) for i in range(6, 9)]
    expected = [
        sum(weights[e, j] * rate[j] for j in range(6)) + sum(weights[e, 6 + k] * inhibition[k] for k in range(3))
        for e in range(6)
    ]
    drive = model.core_weights().recurrent @ rate[model.units.static_unit]
    np.testing.assert_allclose(drive, [*expected, *inhibition], rtol=0, atol=1e-14)


def test_interneurons_that_send_nothing_are_excited_all_the_same():
    """The third of three interneurons has no targets: its row is what it is sent, and nothing else of it is left."""
    mask = tuple("110" for _ in range(6))
    circuit = e_i(density=1.0)
    circuit = replace(
        circuit,
        projections=tuple(
            replace(p, mask=mask) if (p.source, p.target) == ("inhibitory", "excitatory") else p
            for p in circuit.projections
            if (p.source, p.target) != ("inhibitory", "inhibitory")
        ),
    )
    model = model_of(circuit, dale="dann")
    assert model.units.static_unit.size == 8
    matrix, weights = model.core_weights().recurrent, model.matrix()
    np.testing.assert_array_equal(matrix[8, :6], build_weights(circuit).static[8, :6])
    np.testing.assert_allclose(
        matrix[:6, :6], weights[:6, :6] + weights[:6, 6:8] @ weights[6:8, :6], rtol=0, atol=1e-14
    )


def test_what_is_reported_is_wired_with_its_signs():
    """The matrix keeps the circuit's connections and signs but for those among inhibitory units, which do nothing."""
    circuit = e_i()
    model, wired = model_of(circuit, dale="dann"), build_weights(circuit).static
    weights = audit_signs(model.matrix(), circuit.signs)
    wired[6:, 6:] = 0.0
    np.testing.assert_array_equal(weights != 0.0, wired != 0.0)
    np.testing.assert_array_equal(weights[:6, :6], wired[:6, :6])
    effective = model.core_weights().recurrent
    assert not effective[:, circuit.signs[model.units.static_unit] < 0].any()
    np.testing.assert_array_equal(effective[6:, :6], weights[6:, :6])


def test_a_dann_starts_centred_as_in_the_paper():
    """All connected: P_IE is the mean of the columns of P_EE, rows of P_EI sum to 1 (Li et al. 2023, their code)."""
    circuit = dann_recipe(12, 4, seed=2)
    weights, drawn = model_of(circuit, dale="dann").matrix(), build_weights(circuit).static
    np.testing.assert_allclose(weights[12:, :12], np.tile(drawn[:12, :12].mean(axis=0), (4, 1)), rtol=1e-13)
    np.testing.assert_allclose(weights[:12, 12:].sum(axis=1), -1.0, rtol=1e-13)
    share = drawn[:12, 12:] / drawn[:12, 12:].sum(axis=1, keepdims=True)
    np.testing.assert_allclose(weights[:12, 12:], -share, rtol=1e-13)


@pytest.mark.parametrize(("dtype", "size"), [(np.float64, 1e-14), (np.float32, 1e-6)])
def test_a_sparse_dann_starts_with_columns_that_sum_to_zero(dtype, size):
    """What an excitatory unit brings to the excitatory ones: nothing in all, to round-off of the sum."""
    matrix = model_of(e_i(20, 5, density=0.5), dtype=dtype, dale="dann").core_weights().recurrent[:20, :20]
    assert np.abs(matrix.sum(axis=0)).max() < size * np.abs(matrix).sum(axis=0).max()


def test_a_unit_that_excites_only_interneurons_keeps_its_weights():
    """There is nothing to centre, and weights of zero would never learn again."""
    mask = tuple("011111" for _ in range(6))
    circuit = e_i(density=1.0)
    first, *rest = circuit.projections
    circuit = replace(circuit, projections=(replace(first, mask=mask), *rest))
    weights, drawn = model_of(circuit, dale="dann").matrix(), build_weights(circuit).static
    np.testing.assert_array_equal(weights[:, 0], drawn[:, 0])
    assert (weights[6:, 0] > 0.0).all()
    assert np.ptp(weights[6:, 1:6], axis=0).max() == 0.0


def test_circuits_without_interneurons_are_refused():
    """Mixed populations, one sign only, plastic sources, and balance beside it."""
    with pytest.raises(OptionError, match="'mixed': 10"):
        model_of(Circuit.random(10, 1.0), dale="dann")
    only = replace(e_i(), populations=e_i().populations[:1], projections=e_i().projections[:1])
    with pytest.raises(OptionError, match=r"'\+1': 6, '-1': 0"):
        model_of(only, dale="dann")
    with pytest.raises(OptionError, match="6 plastic sources"):
        model_of(facilitating(), dale="dann")
    with pytest.raises(OptionError, match="balance='rows' is not valid with dale='dann'"):
        model_of(e_i(), dale="dann", balance="rows")


@pytest.mark.parametrize(("dtype", "size"), [(np.float64, 1e-12), (np.float32, 1e-6)])
@pytest.mark.parametrize("option", BALANCED_OPTIONS)
def test_rows_stay_balanced_with_signs_and_zeros(option, dtype, size):
    """At the start of a circuit that is not balanced, and after steps of any direction; relative to the row's sum."""
    circuit, rng = e_i(24, 6), np.random.default_rng(0)
    model = model_of(circuit, dtype=dtype, dale=option, balance="rows")
    wired = build_weights(circuit).static != 0.0
    for _ in range(20):
        weights = audit_signs(model.matrix(), circuit.signs).astype(float)
        assert np.all(np.abs(weights.sum(axis=1)) <= size * np.abs(weights).sum(axis=1))
        assert not weights[~wired].any()
        recurrent(model)[...] += (0.03 * rng.normal(size=weights.shape)).astype(dtype)
        model.project()


@pytest.mark.parametrize("option", BALANCED_OPTIONS)
def test_balance_multiplies_by_the_roots_of_the_sums(option):
    """By hand: excitation 1 + 3, inhibition 1: g = 2, so excitation is halved and inhibition doubled."""
    connected = np.array([[True, True, True, False], [False, False, False, False]])
    dale = Dale(option, np.array([1, 1, -1, -1]), connected, balance="rows")
    theta = dale.parameters(np.where(connected, [1.0, 3.0, -1.0, 0.0], 0.0))
    dale.project(theta)
    expected = np.array([[0.5, 1.5, -2.0, 0.0], [0.0, 0.0, 0.0, 0.0]])
    np.testing.assert_allclose(dale.weights(theta), expected, rtol=0, atol=1e-14)


def test_plastic_and_static_sources_are_balanced_together():
    """Six plastic sources beside nine static ones: the rows of all synapses sum to zero, 1e-12 of the row's sum."""
    model = model_of(facilitating(), balance="rows")
    assert recurrent(model).shape == (9, 15)
    recurrent(model)[...] *= np.random.default_rng(0).uniform(0.5, 1.5, (9, 15))
    model.project()
    weights = model.matrix()
    assert np.all(np.abs(weights.sum(axis=1)) <= 1e-12 * np.abs(weights).sum(axis=1))


def test_balance_moves_no_parameter_of_abs_across_zero():
    """A parameter below zero stays there: the optimiser's memory of it would point the wrong way."""
    dale = Dale("abs", np.array([1, 1, -1]), np.ones((1, 3), bool), balance="rows")
    theta = np.array([[-1.0, 3.0, -1.0]])
    dale.project(theta)
    np.testing.assert_allclose(theta, [[-0.5, 1.5, -2.0]], rtol=1e-15)


def test_balance_keeps_weights_that_are_almost_absent():
    """softplus and exp far below zero, float32: finite, and the row balanced."""
    for option in ("exp", "softplus"):
        dale = Dale(option, np.array([1, 1, -1]), np.ones((1, 3), bool), balance="rows")
        theta = np.array([[-60.0, 0.5, 2.0]], np.float32)
        dale.project(theta)
        weights = dale.weights(theta)
        assert np.isfinite(theta).all()
        assert np.all(weights != 0.0)
        assert abs(weights.sum()) < 1e-6 * np.abs(weights).sum()


def test_a_training_keeps_rows_balanced_and_what_does_not_move_in_place():
    """Six steps of Adam, float32: 1e-6 of the row's sum; recurrent weights that are not trained keep their bits."""
    trained = train(e_i(24, 6), TASK, seed=1, trainable=Trainable(balance="rows"), options=SHORT)
    weights = trained.weights.astype(float)
    assert np.all(np.abs(weights.sum(axis=1)) <= 1e-6 * np.abs(weights).sum(axis=1))
    assert np.abs(trained.weights - trained.weights_before).max() > 1e-4
    still = Trainable(balance="rows", trains=("readout",))
    trained = train(e_i(24, 6), TASK, seed=1, trainable=still, options=SHORT)
    np.testing.assert_array_equal(trained.weights, trained.weights_before)


def test_what_cannot_be_balanced_is_refused_at_the_start():
    """Mixed populations; rows that see one sign only; a word that is no balance."""
    with pytest.raises(OptionError, match="10 sources of mixed populations"):
        model_of(Circuit.random(10, 1.0), balance="rows")
    circuit = e_i(density=1.0)
    one_sided = replace(circuit, projections=tuple(p for p in circuit.projections if p.source == "excitatory"))
    with pytest.raises(NumericalError, match="9 rows have weights of one sign only"):
        model_of(one_sided, balance="rows")
    with pytest.raises(OptionError, match="balance='columns' is unknown"):
        model_of(circuit, balance="columns")


def test_a_row_that_loses_its_inhibition_stops_the_training():
    """All inhibition of row 2 pushed below zero: no scaling can balance what is left."""
    model = model_of(e_i(density=1.0), balance="rows")
    recurrent(model)[2, 6:] = -1.0
    with pytest.raises(NumericalError, match="1 rows have weights of one sign only and cannot be balanced: 2"):
        model.project()


@pytest.mark.parametrize("trainable", [Trainable(dale="dann"), Trainable(balance="rows", dale="exp")])
def test_what_is_saved_answers_alike(trainable, tmp_path):
    """Option and balance are in the file: the same answers and the same weights before and after."""
    trained = train(e_i(), TASK, seed=3, trainable=trainable, options=SHORT)
    trained.save(tmp_path / "net.safetensors")
    loaded = load_trained(tmp_path / "net.safetensors", TASK)
    assert loaded.model.trainable == trainable
    batch = TASK.trials(10, seed=5)
    np.testing.assert_array_equal(loaded.answer(batch), trained.answer(batch))
    np.testing.assert_array_equal(loaded.weights_before, trained.weights_before)
    np.testing.assert_array_equal(loaded.weights, trained.weights)


def test_a_dann_learns():
    """Random dots from the published start, to 85 % of its own trials, with the signs kept throughout."""
    circuit = replace(dann_recipe(24, 6, seed=1), form="current")
    options = TrainOptions(max_steps=400, learning_rate=5e-3, criterion=0.85)
    trained = train(circuit, RandomDots(), seed=1, trainable=Trainable(dale="dann"), options=options)
    assert trained.history["performance"].values[-1] >= 0.85
    audit_signs(trained.weights, circuit.signs)
    moved = np.abs(trained.weights - trained.weights_before)
    assert moved[:24, 24:].max() > 1e-3
    assert (moved[24:].max(axis=1) > 1e-3).all()


def test_inhibition_of_interneurons_is_a_product_of_weights():
    """By hand: 0.5 - 0.5 x 0.5 among two excitatory units with one interneuron; the plain option has its weights."""
    signs, connected = np.array([1, 1, -1]), np.ones((3, 3), bool)
    theta = np.full((3, 3), 0.5)
    plain, fast = Dale("relu", signs, connected), Interneurons(signs, np.arange(3), connected)
    np.testing.assert_array_equal(plain.effective(theta), plain.weights(theta))
    np.testing.assert_array_equal(fast.effective(theta), [[0.25, 0.25, 0.0], [0.25, 0.25, 0.0], [0.5, 0.5, 0.0]])
