"""Training: it learns, gives the same bits on any threads and after a stop, and breaks with a word."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest

from cortexrnn.cells.activation import Activation
from cortexrnn.circuit import Circuit, Noise, Population, Projection, WeightLaw
from cortexrnn.errors import DataError, InterruptedRunError, NumericalError, OptionError
from cortexrnn.training import loop as module
from cortexrnn.training.bptt import Sweep, Trainer
from cortexrnn.training.cell_model import CellModel, CellNetwork
from cortexrnn.training.circuit_model import CircuitModel, Trainable
from cortexrnn.training.loop import TrainOptions, train
from cortexrnn.training.model import Asked
from cortexrnn.training.penalties import Penalties
from cortexrnn.training.tasks import RandomDots, load_task
from cortexrnn.training.trained import load_trained

TASK = RandomDots()
DECAY = Penalties(l2_weights=0.01)
ASKED = Asked(TASK.n_inputs, TASK.n_outputs, TASK.dt_s)
SHORT = {"max_steps": 12, "batch_size": 20, "evaluate_every": 4, "n_validation": 20, "criterion": 2.0}


def e_i(n_excitatory=16, n_inhibitory=4, sigma=0.1, kind="relu"):
    """A small noisy E-I circuit with balanced rows."""
    sizes, means = {"excitatory": n_excitatory, "inhibitory": n_inhibitory}, {"excitatory": 0.1, "inhibitory": 0.4}
    return Circuit(
        name="small",
        populations=tuple(
            Population(name=name, size=size, sign=name, activation=Activation(kind=kind), tau_s=0.1)
            for name, size in sizes.items()
        ),
        projections=tuple(
            Projection(
                source=s, target=t, weights=WeightLaw(law="gamma", mean=means[s], sd=means[s]), allow_autapses=True
            )
            for s in sizes
            for t in sizes
        ),
        balance="rows",
        gain=1.2,
        noise=Noise(sigma=sigma, tau_s=0.05),
    )


def test_an_e_i_circuit_learns_random_dots_and_keeps_dales_law():
    """From chance to 85 % on trials of its own; every option but none of its own for the weights' signs."""
    trained = train(e_i(), TASK, seed=1, options=TrainOptions(max_steps=400, learning_rate=5e-3, criterion=0.85))
    assert trained.history["performance"].values[-1] >= 0.85
    assert trained.performance(400) >= 0.8
    trained.audit_signs()


def test_threads_change_no_bit():
    """Two against one, float32, three tiles, a batch that does not fill them."""
    options = {**SHORT, "batch_size": 37}
    one, two = (train(e_i(), TASK, seed=2, options=TrainOptions(**options, n_threads=n)) for n in (1, 2))
    np.testing.assert_array_equal(one.model.theta, two.model.theta)
    np.testing.assert_array_equal(one.history["validation_loss"].values, two.history["validation_loss"].values)


def test_a_trials_answers_do_not_depend_on_its_companions():
    """The first five of forty trials against five alone."""
    model = CircuitModel(e_i(), ASKED, Trainable(), seed=0, dtype=np.float32)
    many, few = (Trainer(model, 2).run(TASK.trials(n, seed=1), Sweep(noise_key=(0, "x"))).outputs for n in (40, 5))
    np.testing.assert_array_equal(many[:5], few)


def test_a_training_that_was_stopped_goes_on_to_the_same_bits(tmp_path, monkeypatch):
    """Ctrl-C in step 7, after the checkpoint of step 4; against one that ran through."""
    whole = train(e_i(), TASK, seed=3, options=TrainOptions(**SHORT))
    take, calls = module._Run._take_step, []

    def interrupted(self):
        calls.append(self.step)
        if len(calls) == 8:
            raise KeyboardInterrupt
        return take(self)

    monkeypatch.setattr(module._Run, "_take_step", interrupted)
    options = TrainOptions(**SHORT, folder=tmp_path)
    with pytest.raises(InterruptedRunError, match=r"stopped after 7 of 12 steps.*goes on from step 4"):
        train(e_i(), TASK, seed=3, options=options)
    monkeypatch.setattr(module._Run, "_take_step", take)
    resumed = train(e_i(), TASK, seed=3, options=options)
    np.testing.assert_array_equal(resumed.model.theta, whole.model.theta)
    np.testing.assert_array_equal(resumed.history.to_dataframe(), whole.history.to_dataframe())


def test_a_checkpoint_of_another_training_is_refused(tmp_path):
    """Another seed; a damaged file; a file of a newer format."""
    options = TrainOptions(**SHORT, folder=tmp_path)
    train(e_i(), TASK, seed=3, options=options)
    with pytest.raises(OptionError, match="another training: start, seed differ"):
        train(e_i(), TASK, seed=4, options=options)
    path = tmp_path / "training.safetensors"
    data = path.read_bytes()
    path.write_bytes(data[:-20])
    with pytest.raises(DataError, match="not a readable safetensors file"):
        train(e_i(), TASK, seed=3, options=options)
    path.write_bytes(data.replace(b'"format":"1"', b'"format":"9"'))
    with pytest.raises(DataError, match="format 9"):
        train(e_i(), TASK, seed=3, options=options)


def test_what_is_saved_answers_alike(tmp_path):
    """Circuit, parameters and history come back; another task or a tampered file does not."""
    trained = train(e_i(), TASK, seed=3, options=TrainOptions(**SHORT))
    path = tmp_path / "net.safetensors"
    trained.save(path)
    loaded = load_trained(path, TASK)
    batch = TASK.trials(10, seed=5, mode="test")
    np.testing.assert_array_equal(loaded.answer(batch), trained.answer(batch))
    np.testing.assert_array_equal(loaded.history.to_dataframe(), trained.history.to_dataframe())
    with pytest.raises(DataError, match="task"):
        load_trained(path, RandomDots(stimulus_s=0.4))
    path.write_bytes(path.read_bytes().replace(b'"kind":"trained"', b'"kind":"drained"'))
    with pytest.raises(DataError, match="kind 'drained'"):
        load_trained(path, TASK)


@pytest.mark.parametrize("network", [e_i(), CellNetwork(kind="lstm", n_hidden=9)], ids=["circuit", "lstm"])
def test_the_recorded_rates_are_what_the_read_out_saw(network):
    """Weights times rates plus bias give the answers of the same seed, 1e-5 in float32; NaN past a trial's end."""
    task = load_task("random_dots_variable")
    trained = train(network, task, seed=3, options=TrainOptions(**SHORT))
    batch = task.trials(20, seed=5)
    run = trained.record(batch, seed=7)
    readout, bias = trained.model.readout()
    expected = trained.answer(batch, seed=7)
    inside = np.arange(batch.inputs.shape[1]) < batch.length[:, None]
    assert not inside.all()
    answers = run["rate"].values @ readout.T + bias
    np.testing.assert_allclose(answers[inside], expected[inside], rtol=1e-4, atol=1e-5)
    assert np.isnan(run["rate"].values[~inside]).all()
    assert run["rate"].dims == ("trial", "time", "unit")
    assert run["time"].values[0] == task.dt_s
    if network == e_i():
        assert run["population"].values.tolist() == ["excitatory"] * 16 + ["inhibitory"] * 4


def test_a_loss_that_explodes_is_told_with_its_step():
    """Linear units with a gain of 60 leave float32 within a trial."""
    circuit = e_i(kind="linear")
    loud = Circuit(
        **{name: getattr(circuit, name) for name in ("name", "populations", "projections", "balance", "noise")},
        gain=60.0,
        form="rate",
    )
    with pytest.raises(NumericalError, match=r"the loss on held-out trials is not finite at step 0"):
        train(loud, TASK, options=TrainOptions(**SHORT))


def test_only_what_is_trained_moves():
    """Frozen parameters keep their bits; time constants and plasticity may move too."""
    for trains in (("readout",), ("tau_s", "bias")):
        circuit = e_i()
        trained = train(circuit, TASK, seed=1, trainable=Trainable(trains=trains), options=TrainOptions(**SHORT))
        start = CircuitModel(circuit, ASKED, Trainable(), seed=1, dtype=np.float32)
        after, before = trained.model.parts(trained.model.theta), start.parts(start.theta)
        moved = {name for name in after if not np.array_equal(after[name], before[name])}
        assert moved == set(trains)


@pytest.mark.parametrize("kind", ["vanilla", "lstm", "gru"])
def test_cell_networks_learn_too_and_come_back_from_a_file(tmp_path, kind):
    """A flip-flop bit: the held-out loss falls to a fifth in 150 steps; the file answers to the bit; threads too."""
    task = load_task("flip_flop", n_bits=1)
    options = {"max_steps": 150, "learning_rate": 1e-2, "criterion": 2.0, "n_validation": 64, "evaluate_every": 50}
    network = CellNetwork(kind=kind, n_hidden=13)
    trained = train(network, task, seed=1, options=TrainOptions(**options))
    loss = trained.history["validation_loss"].values
    assert loss[-1] < 0.2 * loss[0]
    trained.save(tmp_path / "net.safetensors")
    loaded = load_trained(tmp_path / "net.safetensors", task)
    assert loaded.model.network == network
    batch = task.trials(20, seed=5, mode="test")
    np.testing.assert_array_equal(loaded.answer(batch), trained.answer(batch))
    one = train(network, task, seed=1, options=TrainOptions(**{**options, "max_steps": 3}, n_threads=1))
    two = train(network, task, seed=1, options=TrainOptions(**{**options, "max_steps": 3}, n_threads=2))
    np.testing.assert_array_equal(one.model.theta, two.model.theta)


@pytest.mark.parametrize("kind", ["vanilla", "lstm", "gru"])
@pytest.mark.parametrize("loss", ["mse", "cross entropy"])
def test_the_gradient_of_a_batch_is_that_of_central_differences(kind, loss):
    """Cells, read-out, loss and mask together in float64, trials of different lengths: 1e-7 of the norms."""
    rng = np.random.default_rng(0)
    mask = (np.arange(12)[None, :] < rng.integers(4, 13, 21)[:, None]).astype(np.float32)
    batch = SimpleNamespace(
        inputs=rng.normal(size=(21, 12, 2)),
        targets=rng.normal(size=(21, 12, 3)) if loss == "mse" else None,
        labels=rng.integers(0, 3, (21, 12)) if loss == "cross entropy" else None,
        mask=mask,
        length=mask.sum(axis=1).astype(int),
        loss=loss,
        n_fed_back=0,
    )
    model = CellModel(CellNetwork(kind=kind, n_hidden=5), Asked(2, 3), seed=0, dtype=np.float64)
    trainer = Trainer(model, 1)
    gradient = trainer.run(batch, Sweep(noise_key=(0,))).gradient
    direction = rng.normal(size=gradient.size)
    start, numeric = model.theta.copy(), 0.0
    for sign in (1.0, -1.0):
        model.theta[:] = start + sign * 1e-6 * direction
        numeric += sign * trainer.run(batch, Sweep(noise_key=(0,), wants_gradient=False)).loss / 2e-6
    size = np.linalg.norm(gradient) * np.linalg.norm(direction)
    assert abs(numeric - gradient @ direction) <= 1e-7 * size


@pytest.mark.parametrize(
    "penalties",
    [
        {"l2_rates": 0.3},
        {"smoothness": 2.0},
        {"l2_weights": 0.01},
        {"l1_weights": 0.01},
        {"l2_rates": 0.1, "smoothness": 1.0},
    ],
    ids=lambda p: " ".join(p),
)
@pytest.mark.parametrize("kind", ["circuit", "gru"])
def test_penalties_have_their_gradients(penalties, kind):
    """Loss, penalty and gradient together in float64, trials of different lengths: 1e-7 of the norms."""
    rng = np.random.default_rng(0)
    length = rng.integers(4, 13, 21)
    batch = SimpleNamespace(
        inputs=rng.normal(size=(21, 12, 2)),
        targets=rng.normal(size=(21, 12, 2)),
        labels=None,
        mask=(np.arange(12)[None, :] < length[:, None]).astype(float),
        length=length,
        loss="mse",
        n_fed_back=0,
    )
    if kind == "circuit":
        trainable = Trainable(dale="softplus")
        model = CircuitModel(e_i(kind="softplus"), Asked(2, 2, 0.02), trainable, seed=0, dtype=np.float64)
    else:
        model = CellModel(CellNetwork(kind=kind, n_hidden=5), Asked(2, 2), seed=0, dtype=np.float64)
    trainer, plain = Trainer(model, 1, Penalties(**penalties)), Trainer(model, 1)
    found = trainer.run(batch, Sweep(noise_key=(0,)))
    assert found.loss > plain.run(batch, Sweep(noise_key=(0,))).loss
    direction = np.where(model.moves, rng.normal(size=found.gradient.size), 0.0)
    start, numeric = model.theta.copy(), 0.0
    for sign in (1.0, -1.0):
        model.theta[:] = start + sign * 1e-6 * direction
        numeric += sign * trainer.run(batch, Sweep(noise_key=(0,))).loss / 2e-6
    size = np.linalg.norm(found.gradient) * np.linalg.norm(direction)
    assert abs(numeric - found.gradient @ direction) <= 1e-7 * size


def test_wrong_penalties_are_refused():
    """Negative, not a number."""
    for value in (-1.0, float("nan")):
        with pytest.raises(OptionError, match="l2_rates"):
            Penalties(l2_rates=value)


def test_a_padded_trial_trains_as_one_that_is_not():
    """Trials of 7 steps alone and in a batch of 12 steps under a mask: the same loss and gradient, 1e-12."""
    rng = np.random.default_rng(1)
    inputs, targets = rng.normal(size=(5, 12, 2)), rng.normal(size=(5, 12, 1))
    mask = (np.arange(12) < 7)[None, :] * np.ones((5, 1))
    model = CircuitModel(e_i(sigma=0.0), Asked(2, 1, 0.02), Trainable(), seed=0, dtype=np.float64)
    whole, short = (
        Trainer(model, 1).run(
            SimpleNamespace(
                inputs=inputs[:, :n], targets=targets[:, :n], labels=None, mask=mask[:, :n], length=np.full(5, 7),
                loss="mse", n_fed_back=0,
            ),
            Sweep(noise_key=(0,)),
        )
        for n in (12, 7)
    )
    assert whole.loss == pytest.approx(short.loss, rel=1e-13)
    np.testing.assert_allclose(whole.gradient, short.gradient, rtol=0, atol=1e-13)


def test_trainable_belongs_to_circuits():
    """All of a cell network is trained."""
    with pytest.raises(OptionError, match="means nothing to a CellNetwork"):
        train(CellNetwork(), TASK, trainable=Trainable())
    with pytest.raises(OptionError, match="expected a Circuit, a CellNetwork or a Trained"):
        train("song_2016", TASK)


@pytest.mark.parametrize(
    "given", [{"max_steps": 0}, {"learning_rate": -1.0}, {"criterion": 0.0}, {"n_threads": 0}, {"batch_size": 1.5}]
)
def test_wrong_options_are_refused(given):
    """Typed, by name."""
    with pytest.raises(OptionError, match=next(iter(given))):
        TrainOptions(**given)


@pytest.mark.parametrize(
    ("given", "message"),
    [({"dale": "square"}, "dale='square'"), ({"trains": ("bais",)}, "bais"), ({"reads": ("nobody",)}, "nobody")],
)
def test_wrong_trainables_are_refused(given, message):
    """Unknown option, parameter, population."""
    with pytest.raises(OptionError, match=message):
        train(e_i(), TASK, trainable=Trainable(**given), options=TrainOptions(**SHORT))


@pytest.mark.parametrize("dale", ["relu", "exp"])
def test_frozen_projections_stay(dale, tmp_path):
    """Inhibition onto inhibition does not move by a bit, everything else does; it is saved; wrong ones are refused."""
    frozen = (("inhibitory", "inhibitory"),)
    trainable = Trainable(dale=dale, frozen=frozen)
    trained = train(e_i(), TASK, seed=1, trainable=trainable, options=TrainOptions(**SHORT, penalties=DECAY))
    is_same = trained.weights == trained.weights_before
    assert is_same[16:, 16:].all()
    assert not is_same[:16].all()
    assert not is_same[16:, :16].all()
    trained.save(tmp_path / "net.safetensors")
    assert load_trained(tmp_path / "net.safetensors", TASK).model.trainable == trainable
    with pytest.raises(OptionError, match=r"frozen has \('nobody', 'inhibitory'\)"):
        train(e_i(), TASK, trainable=Trainable(frozen=(("nobody", "inhibitory"),)), options=TrainOptions(**SHORT))
    with pytest.raises(OptionError, match="which scales all weights"):
        Trainable(frozen=frozen, balance="rows")
