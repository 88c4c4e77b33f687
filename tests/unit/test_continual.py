"""Keeping a first task while a second is learned: springs, projections, and the interference that they are to prevent.

Oracles: a quadratic worked out by hand, one linear unit whose gradients are written down, brute-force differences of
losses, and the Gauss-Newton matrix from outputs that are differenced one parameter at a time.
"""

from __future__ import annotations

import copy
from types import SimpleNamespace

import numpy as np
import pytest

from cortexrnn.cells.activation import Activation
from cortexrnn.circuit import Circuit, Noise, Population, Projection, WeightLaw
from cortexrnn.errors import NumericalError, OptionError
from cortexrnn.training.bptt import Sweep, Trainer
from cortexrnn.training.cell_model import CellNetwork
from cortexrnn.training.continual import ElasticWeights, ProjectedGradients, elastic_weights, projected_gradients
from cortexrnn.training.interference import LossSurface, hessian, predict_interference
from cortexrnn.training.loop import TrainOptions, train
from cortexrnn.training.networks import make_model
from cortexrnn.training.tasks import ParametricMemory, RandomDots, from_function
from cortexrnn.training.tasks.own import Trial
from cortexrnn.training.trial_gradients import answer_gradients, loss_gradients

DOTS = RandomDots(dt_s=0.1, coherence=(0.2, 0.6), noise_sd=0.05)
CELLS = CellNetwork(kind="vanilla", n_hidden=3)


def tanh_circuit(sigma=0.0):
    """Four leaky units without signs."""
    return Circuit(
        name="small",
        populations=(Population(name="all", size=4, sign="mixed", activation=Activation(kind="tanh"), tau_s=0.2),),
        projections=(
            Projection(source="all", target="all", weights=WeightLaw(law="gaussian", mean=0.0, sd=0.5)),
        ),
        noise=Noise(sigma=sigma, tau_s=0.05),
    )  # fmt: skip


def trained(network=CELLS, task=DOTS, dtype=np.float64, seed=0):
    """Give a network as it is drawn, for what only looks at its parameters."""
    return SimpleNamespace(model=make_model(network, task, None, seed=seed, dtype=dtype))


def classes(rng, mode):
    """Three steps of two inputs; the larger mean names the class, the middle step counts twice."""
    inputs = rng.standard_normal((3, 2))
    label = int(inputs[:, 0].sum() > inputs[:, 1].sum())
    return Trial(inputs, labels=np.full(3, label), mask=np.array([1.0, 2.0, 1.0]), n_outputs=2)


CLASSES = from_function(classes, name="classes", n_steps=3, noise_sd=0.0)


def elastic(**changes):
    """Springs at 1, 2, 3 with stiffness 0, 1, 4."""
    return ElasticWeights(
        **{"anchor": np.array([1.0, 2.0, 3.0]), "importance": np.array([0.0, 1.0, 4.0]), "factor": 0.5} | changes
    )


def test_springs_pull_as_written_down():
    """0.5 / 2 (0 * 1 + 1 * 4 + 4 * 9) = 10 and 0.5 * F * moved, by hand."""
    loss, gradient = elastic().penalty(np.array([0.0, 4.0, 0.0]))
    assert loss == 10.0
    np.testing.assert_array_equal(gradient, [0.0, 1.0, -6.0])
    assert elastic().penalty(np.zeros(3, np.float32))[1].dtype == np.float32


def test_springs_leave_a_step_alone_and_projections_have_no_penalty():
    """The other half of each contract."""
    change = np.array([1.0, -2.0, 3.0])
    np.testing.assert_array_equal(elastic().step(change), change)
    loss, gradient = ProjectedGradients(directions=np.eye(3)[:1], share=1.0).penalty(change)
    assert loss == 0.0
    np.testing.assert_array_equal(gradient, np.zeros(3))


def test_two_quadratic_tasks_meet_where_springs_and_the_second_task_balance():
    """Loss ``|theta - b|^2 / 2`` with springs k at a has its minimum at (b + k a) / (1 + k), by hand."""
    kept, b = elastic(factor=1.0), np.array([5.0, 6.0, 8.0])
    theta = np.zeros(3)
    for _ in range(400):
        theta -= 0.1 * (theta - b + kept.penalty(theta)[1])
    np.testing.assert_allclose(theta, [5.0, (6.0 + 2.0) / 2.0, (8.0 + 4.0 * 3.0) / 5.0], rtol=1e-12)


def test_a_projected_step_is_orthogonal_to_every_gradient():
    """To 1e-12 of both lengths, though the gradients' lengths differ a thousandfold."""
    rng = np.random.default_rng(3)
    rows = rng.standard_normal((20, 300)) * np.geomspace(1.0, 1e-3, 20)[:, None]
    directions = np.linalg.svd(rows, full_matrices=False)[2]
    left = ProjectedGradients(directions=directions, share=1.0).step(rng.standard_normal(300))
    assert np.linalg.norm(left) > 10.0
    off = np.abs(rows @ left) / (np.linalg.norm(rows, axis=1) * np.linalg.norm(left))
    assert off.max() < 1e-12


def test_projecting_twice_changes_nothing_and_a_closed_direction_is_lost():
    """A projection is idempotent; round-off of 300 products."""
    rng = np.random.default_rng(4)
    kept = ProjectedGradients(directions=np.linalg.qr(rng.standard_normal((300, 7)))[0].T, share=0.5)
    left = kept.step(rng.standard_normal(300))
    np.testing.assert_allclose(kept.step(left), left, atol=1e-14)
    np.testing.assert_allclose(kept.step(2.5 * kept.directions[3]), 0.0, atol=1e-14)
    assert kept.step(left.astype(np.float32)).dtype == np.float32


def test_the_fisher_information_of_a_read_out_is_the_one_written_down():
    """One trial, two steps, outputs z = b: loss mean of (z - y)^2, so its gradient by b_k is 2 (b_k - mean y_k) / 2."""
    shown = np.array([[1.0, 3.0], [2.0, -1.0]])

    def one(rng, mode):
        return Trial(np.zeros((2, 1)), targets=shown[:, :], mask=np.array([1.0, 3.0]))

    task = from_function(one, name="one", n_steps=2, noise_sd=0.0)
    network = trained(task=task)
    network.model.theta[:] = 0.0
    network.model.parts(network.model.theta)["readout_bias"][:] = (0.5, 1.0)
    kept = elastic_weights(network, task, factor=2.0, n_trials=5)
    # Steps weigh 1/4 and 3/4; two outputs share the mean.
    by_bias = np.array([0.5 - (0.25 * 1.0 + 0.75 * 2.0), 1.0 - (0.25 * 3.0 - 0.75 * 1.0)])
    found = network.model.parts(kept.importance.copy())
    np.testing.assert_allclose(found["readout_bias"], by_bias**2, rtol=1e-14)
    np.testing.assert_array_equal(found["readout"], 0.0)
    np.testing.assert_array_equal(kept.anchor, network.model.theta)
    assert kept.factor == 2.0


def test_gradients_of_trials_add_up_to_that_of_the_batch():
    """Trials count with the sums of their masks; a circuit without noise, trials of different length; round-off."""
    model = make_model(tanh_circuit(), DOTS, None, seed=1, dtype=np.float64)
    batch = DOTS.trials(9, seed=2)
    rows = loss_gradients(model, batch)
    whole = Trainer(model, 1).run(batch, Sweep(noise_key=(0, "any"))).gradient
    share = batch.mask.sum(axis=1, dtype=float) / batch.mask.sum(dtype=float)
    np.testing.assert_allclose(share @ rows, whole, rtol=0, atol=1e-13 * np.abs(rows).max())


def test_every_trial_has_noise_of_its_own():
    """The same trial twice in a noisy circuit has two gradients; in a silent one a single one."""
    batch = DOTS.trials(1, seed=2)
    twice = type(batch)(*(np.concatenate([p, p]) if isinstance(p, np.ndarray) else p for p in batch))
    for sigma, is_same in ((0.0, True), (0.5, False)):
        model = make_model(tanh_circuit(sigma), DOTS, None, seed=1, dtype=np.float64)
        first, second = loss_gradients(model, twice, seed=5)
        assert np.array_equal(first, second) == is_same
        np.testing.assert_array_equal(loss_gradients(model, twice, seed=5)[1], second)


def jacobian(model, batch):
    """Give derivatives of all outputs, (n_steps * n_outputs, n_parameters), by central differences."""
    trainer, theta = Trainer(model, 1), model.theta.copy()
    columns = []
    for k in range(theta.size):
        ends = []
        for sign in (1.0, -1.0):
            model.theta[:] = theta + sign * 1e-5 * np.eye(1, theta.size, k)[0]
            ends.append(trainer.run(batch, Sweep(noise_key=(0, "j"), wants_gradient=False)).outputs.ravel())
        columns.append((ends[0] - ends[1]) / 2e-5)
    model.theta[:] = theta
    return np.array(columns).T


@pytest.mark.parametrize("task", [DOTS, CLASSES], ids=["squared error", "cross entropy"])
def test_gradients_of_drawn_answers_average_to_the_gauss_newton_matrix(task):
    """400 draws of one trial against ``J' C J`` from differenced outputs; entries within 5 standard errors."""
    model = trained(task=task).model
    batch = task.trials(1, seed=3)
    n = 400
    many = type(batch)(*(np.repeat(p, n, axis=0) if isinstance(p, np.ndarray) else p for p in batch))
    rows = answer_gradients(model, many, seed=6)
    products = rows[:, :, None] * rows[:, None, :]
    by_output = jacobian(model, batch)
    weight = (batch.mask[0] / batch.mask.sum(dtype=float)).repeat(task.n_outputs)
    if task is DOTS:
        middle = np.diag(2.0 * weight / task.n_outputs)
    else:
        z = Trainer(model, 1).run(batch, Sweep(noise_key=(0, "j"), wants_gradient=False)).outputs[0]
        p = np.exp(z) / np.exp(z).sum(axis=1, keepdims=True)
        middle = np.zeros((p.size, p.size))
        for t in range(len(p)):
            middle[2 * t : 2 * t + 2, 2 * t : 2 * t + 2] = weight[2 * t] * (np.diag(p[t]) - np.outer(p[t], p[t]))
    expected = by_output.T @ middle @ by_output
    off = np.abs(products.mean(axis=0) - expected) / (products.std(axis=0) / np.sqrt(n) + 1e-12)
    assert off.max() < 5.0


def test_directions_are_the_leading_ones_and_say_how_much_they_hold():
    """Against the eigenvectors of the gradients' second moment; signs are free."""
    network, n = trained(), 40
    kept = projected_gradients(network, DOTS, n_directions=4, n_trials=n, of="loss", seed=3)
    rows = loss_gradients(network.model, DOTS.trials(n, seed=3), seed=3)
    size, vectors = np.linalg.eigh(rows.T @ rows)
    assert kept.directions.shape == (4, network.model.theta.size)
    np.testing.assert_allclose(np.abs(np.sum(kept.directions[::-1].T * vectors[:, -4:], axis=0)), 1.0, atol=1e-6)
    assert kept.share == pytest.approx(size[-4:].sum() / size.sum(), rel=1e-10)
    assert 0.5 < kept.share < 1.0


def test_no_more_directions_are_closed_than_gradients_have():
    """Without noise two directions of motion are two trials, however often they are shown."""
    task = RandomDots(dt_s=0.1, coherence=(0.2,), noise_sd=0.0, catch_fraction=0.0)
    kept = projected_gradients(trained(task=task), task, n_directions=10, n_trials=30, of="loss")
    assert len(kept.directions) == 2
    assert kept.share == pytest.approx(1.0, abs=1e-12)


def brute_hessian(surface, theta, step=3e-4):
    """Difference losses in every pair of parameters."""
    n = theta.size
    moves = step * np.eye(n)
    matrix = np.empty((n, n))
    for i in range(n):
        for j in range(i, n):
            corners = [a * b * surface.loss(theta + a * moves[i] + b * moves[j]) for a in (1, -1) for b in (1, -1)]
            matrix[i, j] = matrix[j, i] = sum(corners) / (4.0 * step**2)
    return matrix


def test_the_hessian_is_that_of_differenced_losses():
    """Truncation 1e-7 of fourth derivatives and round-off 1e-16 / 1e-7: 5e-6 of the largest entry."""
    network = trained(CellNetwork(kind="vanilla", n_hidden=2))
    model, batch = network.model, DOTS.trials(5, seed=1)
    found = hessian(model, batch)
    expected = brute_hessian(LossSurface(model, batch), model.theta)
    np.testing.assert_allclose(found, expected, rtol=0, atol=5e-6 * np.abs(expected).max())


def test_products_with_the_hessian_are_right_for_directions_of_any_length():
    """Against the whole matrix; a product is linear, which its step must not depend on."""
    model, batch = trained().model, DOTS.trials(5, seed=1)
    matrix, surface = hessian(model, batch), LossSurface(model, batch)
    direction = np.random.default_rng(0).standard_normal(model.theta.size)
    for factor in (1e-12, 1.0, 1e9):
        found = surface.hessian_product(model.theta, factor * direction)
        np.testing.assert_allclose(found, factor * matrix @ direction, rtol=0, atol=1e-8 * factor)
    np.testing.assert_array_equal(surface.hessian_product(model.theta, 0.0 * direction), 0.0)


def test_what_is_not_trained_has_no_curvature():
    """A circuit whose time constants stay: zero rows and columns for them, and only for what stays or is unused."""
    model, batch = make_model(tanh_circuit(), DOTS, None, seed=1, dtype=np.float64), DOTS.trials(4, seed=1)
    matrix = hessian(model, batch)
    assert (~model.moves).any()
    np.testing.assert_array_equal(matrix[~model.moves], 0.0)
    np.testing.assert_array_equal(matrix, matrix.T)
    assert np.abs(matrix[model.moves]).max() > 0.0


@pytest.mark.parametrize("sigma", [0.0, 0.3])
def test_the_prediction_errs_in_third_order_of_the_step(sigma):
    """Halving the step divides the error by 8, and by 6 to 10 at finite size; noise is the same before and after."""
    model, batch = make_model(tanh_circuit(sigma), DOTS, None, seed=1, dtype=np.float64), DOTS.trials(6, seed=1)
    before, change = model.theta.copy(), np.random.default_rng(1).standard_normal(model.theta.size) * model.moves
    errors = []
    for size in (0.04, 0.02, 0.01):
        found = predict_interference(model, batch, size * change, seed=4)
        assert found.predicted == found.first_order + found.second_order
        errors.append(abs(found.predicted - found.measured))
    ratios = np.array(errors[:-1]) / errors[1:]
    assert ((ratios > 6.0) & (ratios < 10.0)).all()
    np.testing.assert_array_equal(model.theta, before)


def test_second_order_alone_has_the_wrong_sign_where_tasks_agree():
    """At the start a step down a task's own gradient lowers its loss, which curvature alone says rises."""
    model, batch = trained().model, DOTS.trials(20, seed=1)
    gradient = LossSurface(model, batch).gradient(model.theta)
    found = predict_interference(model, batch, -0.01 * gradient)
    assert found.measured < 0.0 < found.second_order
    # Third order at a step of one hundredth.
    assert found.predicted / found.measured == pytest.approx(1.0, abs=0.01)


@pytest.fixture(scope="module")
def after_first():
    """A network that has learned random dots."""
    options = TrainOptions(max_steps=60, batch_size=32, learning_rate=5e-3, n_validation=64, evaluate_every=20)
    return train(CellNetwork(kind="vanilla", n_hidden=8), DOTS, seed=1, options=options, dtype=np.float64)


SECOND = ParametricMemory(dt_s=0.1)
SHORT = {"max_steps": 15, "batch_size": 32, "learning_rate": 2e-3, "n_validation": 32, "criterion": 2.0}


def test_a_training_with_closed_directions_never_moves_along_them(after_first):
    """The sum of 15 projected steps of Adam, in double precision, against plain training that does move along."""
    kept = projected_gradients(after_first, DOTS, n_directions=12, n_trials=60)
    moved = []
    for keeps in (kept, None):
        second = train(after_first, SECOND, seed=2, options=TrainOptions(**SHORT), keeps=keeps)
        change = second.model.theta - after_first.model.theta
        moved.append(np.abs(kept.directions @ change).max() / np.linalg.norm(change))
    assert moved[0] < 1e-12
    assert moved[1] > 1e-3


def test_stiffer_springs_let_a_training_move_less(after_first):
    """Distance in the springs' own measure; the limit of a tight one is not to move where it matters."""
    distance = []
    for factor in (1.0, 1e3, 1e6):
        kept = elastic_weights(after_first, DOTS, factor=factor, n_trials=40)
        second = train(after_first, SECOND, seed=2, options=TrainOptions(**SHORT), keeps=kept)
        distance.append(float(kept.importance @ (second.model.theta - after_first.model.theta) ** 2))
    assert distance[0] > 1.5 * distance[1] > 2.25 * distance[2]


def test_identities_tell_apart_what_is_kept():
    """Equal for equal numbers, different for another factor, anchor or direction."""
    assert elastic().identity() == elastic().identity()
    others = [elastic(factor=1.0), elastic(anchor=np.zeros(3)), elastic(importance=np.ones(3))]
    directions = [ProjectedGradients(directions=np.eye(3)[k : k + 1], share=1.0) for k in range(2)]
    assert len({each.identity() for each in (elastic(), *others, *directions)}) == 6


def test_what_is_kept_cannot_be_changed_from_outside():
    """Arrays are copies and read-only."""
    anchor = np.zeros(3)
    kept = elastic(anchor=anchor)
    anchor[:] = 7.0
    np.testing.assert_array_equal(kept.anchor, 0.0)
    with pytest.raises(ValueError, match="read-only"):
        kept.importance[0] = 1.0


@pytest.mark.parametrize(
    ("make", "told"),
    [
        (lambda: elastic(factor=0.0), "factor=0.0 is not a positive"),
        (lambda: elastic(importance=np.ones(2)), r"importance has shape \(2,\); expected \(3,\)"),
        (lambda: elastic(importance=np.array([1.0, -2.0, 0.0])), "importance holds -2; a Fisher information"),
        (lambda: elastic(anchor=np.array([1.0, np.nan, 0.0])), r"anchor has shape \(3,\); expected 1 axes of finite"),
        (lambda: elastic().penalty(np.zeros(4)), r"theta has shape \(4,\); expected \(3,\)"),
        (lambda: ProjectedGradients(directions=np.ones((1, 3)), share=1.0), "not orthonormal: a product is off by 2"),
        (lambda: ProjectedGradients(directions=np.eye(3), share=1.0).step(np.zeros(2)), r"change has shape \(2,\)"),
        (lambda: elastic_weights(trained(), DOTS, factor=1.0, of="hessian"), "of='hessian' is unknown"),
        (lambda: projected_gradients(trained(), DOTS, n_directions=9, n_trials=8), "9 is more than 8 trials"),
        (lambda: hessian(trained(dtype=np.float32).model, DOTS.trials(2, seed=0)), "in float32; differences"),
        (lambda: hessian(trained(CellNetwork(n_hidden=64)).model, DOTS.trials(2, seed=0)), "at most 4000"),
        (
            lambda: predict_interference(trained().model, DOTS.trials(2, seed=0), np.zeros(2)),
            r"change has shape \(2,\)",
        ),
    ],
)
def test_what_cannot_be_is_refused_with_a_word(make, told):
    with pytest.raises(OptionError, match=told):
        make()


def test_gradients_that_say_nothing_are_refused():
    """A network that answers without error has none; one that is not finite has no good ones."""

    def silent(rng, mode):
        return Trial(np.zeros((2, 1)), targets=np.zeros((2, 1)))

    task = from_function(silent, name="silent", n_steps=2, noise_sd=0.0)
    network = trained(task=task)
    network.model.theta[:] = 0.0
    with pytest.raises(NumericalError, match="zero for every trial"):
        elastic_weights(network, task, factor=1.0, n_trials=3)
    broken = SimpleNamespace(model=copy.deepcopy(network.model))
    broken.model.theta[:] = np.nan
    with pytest.raises(NumericalError, match="not finite"):
        projected_gradients(broken, task, n_directions=1, n_trials=3, of="loss")


def test_a_change_that_leaves_the_finite_numbers_is_an_error():
    """A read-out of 1e200 squares to infinity."""
    model, batch = trained().model, DOTS.trials(3, seed=1)
    with pytest.raises(NumericalError, match="change of the loss is not finite"):
        predict_interference(model, batch, np.full(model.theta.size, 1e200))
