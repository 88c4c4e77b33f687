"""Optimisers and schedules: by hand, by closed form, and L-BFGS on a problem that has one."""

from __future__ import annotations

import numpy as np
import pytest

from cortexrnn.errors import DataError, InterruptedRunError, OptionError
from cortexrnn.training import loop as module
from cortexrnn.training.cell_model import CellNetwork
from cortexrnn.training.loop import TrainOptions, train
from cortexrnn.training.optimisers import Schedule, init_momentum, momentum_step
from cortexrnn.training.tasks import Trial, from_function


def steady(rng, mode):
    """Hold a number that is shown throughout."""
    level = rng.uniform(-0.5, 0.5)
    return Trial(inputs=np.full((6, 1), level), targets=np.full((6, 1), level))


TASK = from_function(steady, name="steady", n_steps=6)
NETWORK = CellNetwork(kind="vanilla", n_hidden=4)


def test_momentum_is_polyaks():
    """Three steps by hand, the last with a clipped gradient."""
    weights, state = np.array([1.0, -2.0]), init_momentum(2, np.float64)
    velocity, expected = np.zeros(2), weights.copy()
    for gradient in (np.array([0.3, 0.4]), np.array([-0.1, 0.2]), np.array([30.0, 40.0])):
        norm = momentum_step(weights, gradient, state, 0.1, 1.0, 0.9)
        velocity = 0.9 * velocity + gradient / max(1.0, np.linalg.norm(gradient))
        expected -= 0.1 * velocity
        assert norm == pytest.approx(np.linalg.norm(gradient), rel=1e-14)
    np.testing.assert_allclose(weights, expected, rtol=1e-14)


def test_a_gradient_that_is_not_finite_changes_nothing():
    """Neither weights nor velocity."""
    weights, state = np.ones(2), init_momentum(2, np.float64)
    assert not np.isfinite(momentum_step(weights, np.array([np.nan, 1.0]), state, 0.1, 1.0, 0.9))
    np.testing.assert_array_equal(weights, 1.0)
    np.testing.assert_array_equal(state.velocity, 0.0)


@pytest.mark.parametrize(
    ("schedule", "expected"),
    [
        (Schedule(), [1.0, 1.0, 1.0, 1.0, 1.0]),
        (Schedule(warmup_steps=3), [0.25, 0.5, 0.75, 1.0, 1.0]),
        (Schedule(shape="cosine", last=0.2), [1.0, 0.2 + 0.4 * (1.0 + np.sqrt(0.5)), 0.6, None, 0.2]),
        (Schedule(shape="exponential", last=1e-4), [1.0, 0.1, 0.01, 1e-3, 1e-4]),
    ],
)
def test_a_schedule_goes_where_its_formula_says(schedule, expected):
    """Five steps by hand."""
    for step, factor in enumerate(expected):
        if factor is not None:
            assert schedule.factor(step, 5) == pytest.approx(factor, rel=1e-12)


def test_a_rate_that_falls_trains_otherwise_and_is_part_of_the_checkpoint(tmp_path):
    """The first step of a schedule is that of none; a checkpoint knows how long its schedule was to last."""
    options = {"max_steps": 4, "evaluate_every": 2, "criterion": 2.0}
    plain = train(NETWORK, TASK, seed=1, options=TrainOptions(**options), dtype=np.float64)
    falling = {**options, "schedule": Schedule(shape="cosine"), "folder": tmp_path}
    other = train(NETWORK, TASK, seed=1, options=TrainOptions(**falling), dtype=np.float64)
    assert not np.array_equal(plain.model.theta, other.model.theta)
    with pytest.raises(OptionError, match="options differ"):
        train(NETWORK, TASK, seed=1, options=TrainOptions(**{**falling, "max_steps": 6}), dtype=np.float64)


@pytest.mark.parametrize("optimiser", ["adam", "sgd", "l-bfgs"])
def test_every_optimiser_learns(optimiser, tmp_path, monkeypatch):
    """A hundred steps, a tenth of the loss at the start; stopped at the sixth look and resumed, to the same bits."""
    options = {
        "max_steps": 100, "optimiser": optimiser, "learning_rate": 0.02, "evaluate_every": 10, "criterion": 2.0,
    }  # fmt: skip
    whole = train(NETWORK, TASK, seed=1, options=TrainOptions(**options), dtype=np.float64)
    losses = whole.history["validation_loss"].values
    assert losses[-1] <= 0.1 * losses[0]
    looks, look = [], module._Run._evaluate

    def stopped(self, *found):
        looks.append(self.step)
        if len(looks) == 6:
            raise KeyboardInterrupt
        look(self, *found)

    monkeypatch.setattr(module._Run, "_evaluate", stopped)
    options = TrainOptions(**options, folder=tmp_path)
    with pytest.raises(InterruptedRunError, match=f"goes on from step {whole.history['step'].values[4]}"):
        train(NETWORK, TASK, seed=1, options=options, dtype=np.float64)
    resumed = train(NETWORK, TASK, seed=1, options=options, dtype=np.float64)
    np.testing.assert_array_equal(resumed.model.theta, whole.model.theta)
    np.testing.assert_array_equal(resumed.history.to_dataframe(), whole.history.to_dataframe())


def test_l_bfgs_goes_down_on_its_batch():
    """The loss of the one batch falls from look to look, and ends lower than Adam's after as many steps."""
    options = {"max_steps": 60, "evaluate_every": 20, "criterion": 2.0, "batch_size": 32}
    quasi, adam = (
        train(NETWORK, TASK, seed=1, options=TrainOptions(**options, optimiser=name), dtype=np.float64)
        for name in ("l-bfgs", "adam")
    )
    losses = quasi.history["loss"].values[1:]
    assert (np.diff(losses) < 0.0).all()
    assert losses[-1] < 0.1 * adam.history["loss"].values[-1]


def test_a_trained_network_goes_on_from_its_parameters():
    """The new training begins where the old one ended, and says so; trainable and another task are refused."""
    options = TrainOptions(max_steps=5, criterion=2.0, evaluate_every=5)
    first = train(NETWORK, TASK, seed=1, options=options)
    second = train(first, TASK, seed=2, options=options)
    np.testing.assert_array_equal(second.theta_before, first.model.theta)
    np.testing.assert_array_equal(second.weights_before, first.weights)
    assert not np.array_equal(second.model.theta, first.model.theta)
    wide = from_function(
        lambda rng, mode: Trial(inputs=np.ones((6, 2)), targets=np.ones((6, 1))), name="wide", n_steps=6
    )
    with pytest.raises(OptionError, match=r"the task has \(2, 1\) inputs and outputs, the network \(1, 1\)"):
        train(first, wide, options=options)
    from cortexrnn.training.circuit_model import Trainable

    with pytest.raises(OptionError, match="leave it out"):
        train(first, TASK, trainable=Trainable(), options=options)


def test_a_keeper_sees_every_change():
    """One that keeps half of the parameters: they do not move; its penalty is in the loss."""

    class Half:
        """Keeps the first half."""

        def penalty(self, theta):
            """A constant."""
            return 3.0, np.zeros_like(theta)

        def step(self, change):
            """Nothing of the first half."""
            return np.where(np.arange(change.size) < change.size // 2, 0.0, change)

        def identity(self):
            """Its name."""
            return "half"

    options = TrainOptions(max_steps=5, criterion=2.0, evaluate_every=5)
    plain = train(NETWORK, TASK, seed=1, options=options, dtype=np.float64)
    kept = train(NETWORK, TASK, seed=1, options=options, keeps=Half(), dtype=np.float64)
    n = kept.model.theta.size // 2
    np.testing.assert_array_equal(kept.model.theta[:n], kept.theta_before[:n])
    assert not np.array_equal(kept.model.theta[n:], kept.theta_before[n:])
    assert kept.history["loss"].values[-1] > 3.0 > plain.history["loss"].values[-1]


def test_a_saved_network_knows_how_it_began(tmp_path):
    """The parameters before come back; a file without them is refused."""
    from cortexrnn.training.checkpoint import load_arrays, save_arrays
    from cortexrnn.training.trained import load_trained

    trained = train(NETWORK, TASK, seed=1, options=TrainOptions(max_steps=3, criterion=2.0))
    path = tmp_path / "net.safetensors"
    trained.save(path)
    np.testing.assert_array_equal(load_trained(path, TASK).weights_before, trained.weights_before)
    arrays, about = load_arrays(path)
    del arrays["theta_before"]
    save_arrays(path, arrays, {name: text for name, text in about.items() if name != "format"})
    with pytest.raises(DataError, match="theta_before is missing"):
        load_trained(path, TASK)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Schedule(shape="line"), "shape='line'"),
        (lambda: Schedule(last=0.0), "last=0.0"),
        (lambda: TrainOptions(optimiser="newton"), "optimiser='newton'"),
        (lambda: TrainOptions(dropout=1.0), "dropout=1.0"),
        (lambda: TrainOptions(momentum=-0.1), "momentum=-0.1"),
        (lambda: TrainOptions(sampling=1.5), "sampling=1.5"),
        (lambda: TrainOptions(segment_steps=-1), "segment_steps=-1"),
    ],
)
def test_wrong_options_are_refused(make, message):
    """By name."""
    with pytest.raises(OptionError, match=message):
        make()


def test_tasks_of_counts_and_of_feedback():
    """Counts have a likelihood and a judge, fed tasks an input more; values that are no counts are refused."""

    def spikes(rng, mode):
        rate = np.exp(rng.normal(size=(8, 1)))
        return Trial(inputs=np.log(rate), targets=rng.poisson(rate), counts=kind)

    kind = "poisson"
    task = from_function(spikes, name="spikes", n_steps=8, primed_steps=2)
    batch = task.trials(30, seed=0)
    assert (task.n_inputs, task.n_outputs, batch.loss, batch.n_fed_back, batch.n_primed) == (2, 1, "poisson", 1, 2)
    np.testing.assert_array_equal(batch.inputs[:, 1:, 1], batch.targets[:, :-1, 0])
    judged = task.performance(batch.inputs[:, :, :1], batch)
    assert judged.fraction > 0.9
    kind = "negative binomial"
    assert from_function(spikes, name="s", n_steps=8).n_outputs == 2
    kind = "bernoulli cloglog"
    with pytest.raises(OptionError, match="whole numbers from 0 to 1"):
        from_function(spikes, name="s", n_steps=8).trials(30, seed=0)
    kind = "gamma"
    with pytest.raises(OptionError, match="counts='gamma'"):
        from_function(spikes, name="s", n_steps=8)
