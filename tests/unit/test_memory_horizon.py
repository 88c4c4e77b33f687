"""Memory horizons of trained networks.

Oracles: networks built by hand that copy an input so many steps back, windows answered one by one, chains and means
written out, and the exact entropies of the source.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import xarray as xr
from scipy.stats import t as student

import cortexrnn as cx
from cortexrnn.errors import DataError, NumericalError, OptionError
from cortexrnn.report.figure_file import own_axes
from cortexrnn.report.memory_horizon import draw_horizon, plot_horizon
from cortexrnn.training.cell_model import CellNetwork
from cortexrnn.training.hidden_sources import golden_mean
from cortexrnn.training.loop import TrainOptions, train
from cortexrnn.training.losses import CROSS_ENTROPY, MSE
from cortexrnn.training.markov import MarkovChain
from cortexrnn.training.memory_horizon import HorizonOptions, memory_horizon
from cortexrnn.training.networks import make_model
from cortexrnn.training.tasks.bits import FlipFlop
from cortexrnn.training.tasks.contract import Batch
from cortexrnn.training.tasks.own import Trial, from_function
from cortexrnn.training.tasks.symbols import SymbolSource
from cortexrnn.training.trained import Trained, history_dataset

GOLDEN = SymbolSource(source=golden_mean(), n_length=20)


def wrap(model, task):
    """A network as if it had been trained."""
    return Trained(
        model=model, task=task, seed=0, history=history_dataset(np.zeros((1, 5))), theta_before=model.theta.copy()
    )


def random_network(task, kind="gru", seed=0):
    """A network as it begins."""
    return wrap(make_model(CellNetwork(kind=kind, n_hidden=8), task, None, seed=seed, dtype=np.float64), task)


def shift_register(delay):
    """A vanilla network whose output is the input, -1 or 1, so many steps back, and 0 before there was one."""
    task = FlipFlop(n_bits=1)
    model = make_model(CellNetwork(kind="vanilla", n_hidden=delay + 1), task, None, seed=0, dtype=np.float64)
    model.theta[:] = 0.0
    parts = model.parts(model.theta)
    parts["input"][0, 0] = 3.0
    height = np.tanh(3.0)
    for k in range(delay):
        parts["hidden"][k + 1, k] = 3.0
        height = np.tanh(3.0 * height)
    parts["readout"][0, delay] = 1.0 / height
    return wrap(model, task)


def delayed_batch(delay, n_trials=12, n_steps=15, seed=0):
    """Random signs, and as targets those so many steps before."""
    signs = np.random.default_rng(seed).choice([-1.0, 1.0], (n_trials, n_steps, 1)).astype(np.float32)
    targets = np.zeros_like(signs)
    targets[:, delay:] = signs[:, : n_steps - delay]
    length = np.full(n_trials, n_steps)
    table = pd.DataFrame({"number": np.arange(n_trials)})
    return Batch(signs, targets, None, np.ones((n_trials, n_steps), np.float32), length, table, MSE)


@pytest.mark.parametrize("delay", [0, 1, 4])
def test_a_network_that_copies_an_input_has_a_horizon_of_one_more_than_its_delay(delay):
    """Without the input in question the output is 0 and the squared error 1; with it, nothing is lost."""
    found = memory_horizon(shift_register(delay), delayed_batch(delay), depths=range(1, 9))
    assert found.horizon == delay + 1
    expected = np.where(np.arange(1, 9) <= delay, 1.0, 0.0)
    np.testing.assert_allclose(found.losses["loss"], expected, atol=1e-12)
    np.testing.assert_allclose(found.losses["excess"], expected, atol=1e-12)
    assert found.losses.attrs["unit"] == "squared error"
    assert found.best_chain is None


def test_a_horizon_beyond_the_deepest_is_none_and_between_depths_the_next():
    batch = delayed_batch(4)
    assert memory_horizon(shift_register(4), batch, depths=(1, 2, 3)).horizon is None
    assert memory_horizon(shift_register(4), batch, depths=(1, 3, 8, 10)).horizon == 8


def test_a_gain_in_the_middle_does_not_end_the_memory():
    """Fine with 2 inputs by chance, not with 3: the horizon is where all deeper ones are fine too."""
    found = memory_horizon(shift_register(0), delayed_batch(0), depths=(1, 2, 3, 4))
    changed = found.losses.assign(excess_high=("depth", [0.5, 0.001, 0.5, 0.002]))
    assert replace(found, losses=changed).horizon == 4


def weighted_batch(task, n_trials=9, seed=5):
    """Symbols with trials of different lengths and steps of different weight."""
    batch = task.trials(n_trials, seed=seed, mode="test")
    rng = np.random.default_rng(seed)
    length = rng.integers(12, task.n_steps + 1, n_trials)
    inside = np.arange(task.n_steps) < length[:, None]
    mask = rng.choice([0.0, 1.0, 2.5], inside.shape) * inside
    return batch._replace(
        mask=mask.astype(np.float32), length=length, inputs=batch.inputs * inside[:, :, None].astype(np.float32)
    )


@pytest.mark.parametrize("kind", ["vanilla", "lstm", "gru"])
def test_losses_are_those_of_windows_answered_one_by_one(kind):
    """Loss, excess and their errors, written out, at three depths; both in float64 up to the single-precision mask."""
    network, batch, depths = random_network(GOLDEN, kind), weighted_batch(GOLDEN), (1, 3, 7)
    found = memory_horizon(network, batch, depths=depths).losses
    pairs = [(i, t) for i, t in np.argwhere(batch.mask > 0) if t >= 6]
    whole = network.answer(batch)

    def loss(outputs, i, t):
        scores = outputs - outputs.max()
        return (np.log(np.exp(scores).sum()) - scores[batch.labels[i, t]]) / np.log(2)

    def mean(values):
        weights = np.array([batch.mask[pair] for pair in map(tuple, pairs)], float)
        middle = np.average(values, weights=weights)
        residual = [
            sum(w * (v - middle) for w, v, (i, _) in zip(weights, values, pairs, strict=True) if i == trial)
            for trial in range(9)
        ]
        n = len({i for i, _ in pairs})
        return middle, np.sqrt(n / (n - 1) * np.square(residual).sum()) / weights.sum()

    full = np.array([loss(whole[i, t], i, t) for i, t in pairs])
    assert float(found["full_loss"]) == pytest.approx(mean(full)[0], abs=1e-9)
    assert (found.attrs["n_steps"], found.attrs["n_trials"]) == (len(pairs), 9)
    for depth in depths:
        cut = []
        for i, t in pairs:
            part = slice(t - depth + 1, t + 1)
            one = batch._replace(
                inputs=batch.inputs[i : i + 1, part], labels=batch.labels[i : i + 1, part],
                mask=np.ones((1, depth), np.float32), length=np.array([depth]), table=batch.table.iloc[[i]],
            )  # fmt: skip
            cut.append(loss(network.answer(one)[0, -1], i, t))
        at = found.sel(depth=depth)
        assert (float(at["loss"]), float(at["loss_se"])) == pytest.approx(mean(cut), abs=1e-9)
        excess, error = mean(np.array(cut) - full)
        assert (float(at["excess"]), float(at["excess_se"])) == pytest.approx((excess, error), abs=1e-9)
        assert float(at["excess_high"]) == pytest.approx(excess + student.ppf(0.95, 8) * error, abs=1e-9)


def test_pieces_that_fit_into_little_memory_give_the_same(monkeypatch):
    """A few windows at a time, some of them equal: the same bits, for no answer depends on its companions."""
    task = SymbolSource(n_length=12)
    network, batch = random_network(task), weighted_batch(task)
    whole = memory_horizon(network, batch, depths=(2, 5)).losses
    monkeypatch.setattr("cortexrnn.training.memory_horizon._MOST_VALUES", 900)
    xr.testing.assert_identical(memory_horizon(network, batch, depths=(2, 5)).losses, whole)


def test_a_window_as_long_as_the_trial_is_all_there_is():
    """Only the last step has so many inputs: no excess at all."""
    found = memory_horizon(random_network(GOLDEN), GOLDEN.trials(6, seed=0), depths=(20,))
    assert found.losses.attrs["n_steps"] == 6
    np.testing.assert_array_equal(found.losses["excess"], 0.0)
    assert found.horizon == 20


def test_chains_are_judged_on_the_same_steps():
    network, batch = random_network(GOLDEN), weighted_batch(GOLDEN)
    training = GOLDEN.source.emit(np.random.default_rng(0).random((10, 30)))
    found = memory_horizon(network, batch, depths=(1, 4), sequences=training).losses
    for depth in (1, 4):
        chain = MarkovChain(order=depth, n_symbols=2).fit(training)
        total = weight = 0.0
        for i, t in np.argwhere(batch.mask > 0):
            if t >= 3:
                context = [batch.inputs[i, t - depth + 1 : t + 1].argmax(axis=1)]
                total -= batch.mask[i, t] * np.log2(chain.probabilities(context)[0, batch.labels[i, t]])
                weight += batch.mask[i, t]
        assert float(found["chain_loss"].sel(depth=depth)) == pytest.approx(total / weight, abs=1e-12)
        difference = total / weight - float(found["full_loss"])
        assert float(found["chain_excess"].sel(depth=depth)) == pytest.approx(difference, abs=1e-12)


def test_nothing_beats_the_ideal_observer_of_as_many_symbols():
    """A network with random weights pays more than the least at every depth, beyond four standard errors."""
    task = SymbolSource(n_length=24)
    found = memory_horizon(random_network(task), task.trials(300, seed=0, mode="test"), depths=(1, 2, 6)).losses
    np.testing.assert_allclose(found["exact"], task.source.conditional_entropies(6)[[1, 2, 6]], rtol=1e-14)
    assert (found["above_exact"] > 4 * found["above_exact_se"]).all()
    # The ideal observer of k symbols pays the exact entropy on the mean: four standard errors.
    paid = found["loss"] - found["above_exact"]
    assert (np.abs(paid - found["exact"]) < 4 * (found["loss_se"] + found["above_exact_se"])).all()
    assert float(found["entropy_rate"]) == pytest.approx(2 / 3)


def test_the_golden_mean_process_is_remembered_for_one_step():
    """Trained on it, a network sees all that counts in the last symbol, as the chain of order 1 does."""
    options = TrainOptions(max_steps=300, learning_rate=0.02, criterion=2.0, n_threads=1, evaluate_every=300)
    trained = train(CellNetwork(kind="gru", n_hidden=8), GOLDEN, seed=0, options=options)
    training = GOLDEN.source.emit(np.random.default_rng(0).random((500, 21)))
    found = memory_horizon(trained, GOLDEN.trials(300, seed=1, mode="test"), depths=range(1, 7), sequences=training)
    assert found.horizon == 1
    # Neither can beat the other by more than the margin.
    assert abs(float(found.losses["chain_excess"].sel(depth=1))) < found.losses.attrs["margin"]


def test_noise_is_that_of_the_seed():
    circuit = cx.load_circuit("song_2016")
    options = TrainOptions(max_steps=1, batch_size=16, n_validation=16, n_threads=1)
    trained = train(circuit, FlipFlop(n_bits=1, n_slots=2), options=options)
    batch = trained.task.trials(8, seed=0)
    first, again, other = (
        memory_horizon(trained, batch, depths=(4,), options=HorizonOptions(seed=seed)).losses for seed in (0, 0, 1)
    )
    assert float(first["loss"][0]) == float(again["loss"][0])
    assert float(first["loss"][0]) != float(other["loss"][0])


def test_likelihoods_of_counts_are_in_bits():
    """A silent network predicts a mean of 1: a loss of 1 + log(y!) nats at every depth."""

    def one(rng, mode):
        counts = rng.integers(0, 3, (10, 1)).astype(float)
        return Trial(inputs=counts, targets=counts, counts="poisson")

    task = from_function(one, name="counts", n_steps=10)
    network = random_network(task)
    network.model.theta[:] = 0.0
    batch = task.trials(5, seed=0)
    found = memory_horizon(network, batch, depths=(1, 2)).losses
    factorial = np.array([1.0, 1.0, 2.0])[batch.targets[:, 1:, 0].astype(int)]
    np.testing.assert_allclose(found["loss"], (1 + np.log(factorial)).mean() / np.log(2), rtol=1e-6)
    assert found.attrs["unit"] == "bits"


def test_what_has_no_last_inputs_is_refused():
    task = GOLDEN
    model = make_model(CellNetwork(n_hidden=4, is_bidirectional=True), task, None, seed=0, dtype=np.float32)
    with pytest.raises(OptionError, match="reads trials from their end"):
        memory_horizon(wrap(model, task), task.trials(4, seed=0), depths=(1,))


def test_depths_that_no_step_has_are_refused():
    network, batch = random_network(GOLDEN), GOLDEN.trials(4, seed=0)
    with pytest.raises(DataError, match="0 trials have a step in the loss with 21 inputs"):
        memory_horizon(network, batch, depths=(21,))
    with pytest.raises(OptionError, match="depths is empty"):
        memory_horizon(network, batch, depths=())
    with pytest.raises(OptionError, match="depths=0"):
        memory_horizon(network, batch, depths=(0,))


def test_chains_need_symbols():
    with pytest.raises(OptionError, match="inputs are no symbols"):
        memory_horizon(shift_register(1), delayed_batch(1), depths=(1,), sequences=[[0, 1]])
    batch = GOLDEN.trials(4, seed=0)
    turned = batch._replace(labels=1 - batch.labels, loss=CROSS_ENTROPY)
    with pytest.raises(OptionError, match="labels are not the next symbols"):
        memory_horizon(random_network(GOLDEN), turned, depths=(1,), sequences=[[0, 1]])


def test_a_network_that_left_the_numbers_is_named():
    network = shift_register(1)
    network.model.theta[:] = np.nan
    with pytest.raises(NumericalError, match="not finite with all inputs"):
        memory_horizon(network, delayed_batch(1), depths=(1,))


@pytest.mark.parametrize(
    ("changes", "match"),
    [({"margin": 0.0}, "margin"), ({"level": 1.0}, "level"), ({"level": 0.4}, "level"), ({"prior": -1.0}, "prior")],
)
def test_options_out_of_range_are_refused(changes, match):
    with pytest.raises(OptionError, match=match):
        HorizonOptions(**changes)


def test_the_figure_shows_what_is_there(tmp_path):
    task = SymbolSource(n_length=12)
    training = task.source.emit(np.random.default_rng(0).random((10, 30)))
    found = memory_horizon(random_network(task), task.trials(10, seed=0), depths=(1, 2, 3), sequences=training)
    labels = [text.get_text() for text in found.plot().get_legend().get_texts()]
    assert labels == [
        "network, all inputs", "entropy rate", "least possible, k inputs", "Markov chain of order k",
        "network, last k inputs",
    ]  # fmt: skip
    bare = memory_horizon(shift_register(1), delayed_batch(1), depths=(1, 2)).plot()
    assert bare.get_ylabel() == "loss (squared error)"
    (path,) = draw_horizon(tmp_path, found.losses, horizon=2)
    assert path.read_bytes() == draw_horizon(tmp_path, found.losses, horizon=2)[0].read_bytes()
    with pytest.raises(DataError, match="no variable 'full_loss'"):
        plot_horizon(own_axes(), found.losses.drop_vars("full_loss"))
