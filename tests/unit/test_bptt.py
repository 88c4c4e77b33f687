"""The engine: gradients of every network, loss and option together; segments, feedback, dropout, start states."""

from __future__ import annotations

import itertools

import numpy as np
import pandas as pd
import pytest

from cortexrnn.cells.activation import Activation
from cortexrnn.cells.stp import ShortTermPlasticity
from cortexrnn.circuit import Circuit, Noise, Population, Projection, WeightLaw
from cortexrnn.errors import OptionError
from cortexrnn.training.bidirectional import BidirectionalModel
from cortexrnn.training.bptt import Sweep, Trainer
from cortexrnn.training.cell_model import CellModel, CellNetwork
from cortexrnn.training.circuit_model import CircuitModel, Trainable
from cortexrnn.training.losses import CODES
from cortexrnn.training.model import Asked
from cortexrnn.training.penalties import Penalties
from cortexrnn.training.tasks.contract import Batch

N_TRIALS, N_STEPS, N_INPUTS, N_TARGETS = 19, 12, 2, 2
EVERYTHING = (
    "recurrent", "input", "bias", "tau_s", "start", "U", "tau_f_s", "tau_d_s", "readout", "readout_bias",
)  # fmt: skip


def a_circuit(tau_f_s=0.1, form="current", convention="tsodyks1998"):
    """Noisy E-I circuit whose excitatory synapses are plastic, smooth units."""
    sizes, means = {"excitatory": 5, "inhibitory": 2}, {"excitatory": 0.2, "inhibitory": 0.5}
    plastic = {"excitatory": "stp", "inhibitory": ""}
    return Circuit(
        name="small",
        form=form,
        populations=tuple(
            Population(name=name, size=size, sign=name, activation=Activation(kind="softplus"), tau_s=0.1)
            for name, size in sizes.items()
        ),
        projections=tuple(
            Projection(
                source=s, target=t, weights=WeightLaw(law="gamma", mean=means[s], sd=means[s]), plasticity=plastic[s]
            )
            for s in sizes
            for t in sizes
        ),
        plasticity={"stp": ShortTermPlasticity(U=0.3, tau_f_s=tau_f_s, tau_d_s=0.2, convention=convention)},
        noise=Noise(sigma=0.2, tau_s=0.05),
        rate_scale_hz=5.0,
    )


def a_batch(loss="mse", seed=0):
    """Trials of different lengths, of two kinds."""
    rng = np.random.default_rng(seed)
    length = rng.integers(4, N_STEPS + 1, N_TRIALS)
    length[0] = N_STEPS
    inside = np.arange(N_STEPS) < length[:, None]
    counts = {"poisson": rng.poisson, "negative binomial": rng.poisson}
    shape = (N_TRIALS, N_STEPS, N_TARGETS)
    targets = counts[loss](1.3, shape) if loss in counts else rng.normal(size=shape)
    if loss == "bernoulli cloglog":
        targets = (targets > 0.0).astype(float)
    is_class = loss == "cross entropy"
    return Batch(
        inputs=rng.normal(size=(N_TRIALS, N_STEPS, N_INPUTS)) * inside[:, :, None],
        targets=None if is_class else targets,
        labels=rng.integers(0, N_TARGETS, (N_TRIALS, N_STEPS)) if is_class else None,
        mask=inside * rng.random((N_TRIALS, N_STEPS)),
        length=length,
        table=pd.DataFrame({"context": np.where(rng.random(N_TRIALS) < 0.5, "left", "right")}),
        loss=loss,
    )


def with_gaps(batch):
    """Put gaps of 0 to 0.1 s and presence, 0 or 1, before the inputs."""
    rng = np.random.default_rng(7)
    gap = rng.uniform(0.0, 0.1, (N_TRIALS, N_STEPS, 1))
    seen = (rng.random((N_TRIALS, N_STEPS, 1)) < 0.8).astype(float)
    return batch._replace(inputs=np.concatenate([gap, seen, batch.inputs], axis=2))


LEVELS = ("left", "right")
NETWORKS = {
    "vanilla": CellNetwork(kind="vanilla", n_hidden=5),
    "lstm": CellNetwork(kind="lstm", n_hidden=5, start_by="context"),
    "gru": CellNetwork(kind="gru", n_hidden=5),
    "ode": CellNetwork(kind="ode", n_hidden=5),
    "normed gru": CellNetwork(kind="gru", n_hidden=5, has_norm=True),
    "two ways": CellNetwork(kind="gru", n_hidden=4, is_bidirectional=True, start_by="context"),
    "facilitating": a_circuit(),
    "depressing": a_circuit(tau_f_s=0.0),
    "rate form": a_circuit(form="rate", convention="mongillo2008"),
}


def a_model(network, loss="mse", **trainable):
    """Parameters in float64, everything trained, start states not at zero."""
    n_outputs = 2 * N_TARGETS if loss == "negative binomial" else N_TARGETS
    n_inputs = N_INPUTS + 2 if network == NETWORKS["ode"] else N_INPUTS
    sizes = (n_inputs, n_outputs)
    if isinstance(network, Circuit):
        trainable = {"dale": "softplus", "trains": EVERYTHING, "start_by": "context", **trainable}
        levels = LEVELS if trainable["start_by"] else ()
        asked = Asked(*sizes, 0.02, levels)
        model = CircuitModel(network, asked, Trainable(**trainable), seed=0, dtype=np.float64)
    else:
        kind = BidirectionalModel if network.is_bidirectional else CellModel
        levels = LEVELS if network.start_by else ()
        model = kind(network, Asked(*sizes, levels=levels), seed=0, dtype=np.float64)
    for name, part in model.parts(model.theta).items():
        if name.startswith("start"):
            # Rates of the rate form may not be negative.
            part[:] = 0.3 * np.random.default_rng(1).random(part.shape)
    return model


def check_gradient(model, batch, sweep, **options):
    """Loss and gradient along a random direction against central differences: 1e-7 of the norms."""
    trainer = Trainer(model, 1, **options)
    gradient = trainer.run(batch, sweep).gradient
    rng = np.random.default_rng(2)
    direction = np.where(model.moves & np.isfinite(model.theta), rng.normal(size=gradient.size), 0.0)
    start, numeric = model.theta.copy(), 0.0
    for sign in (1.0, -1.0):
        model.theta[:] = start + sign * 2e-6 * direction
        numeric += sign * trainer.run(batch, sweep).loss / 4e-6
    model.theta[:] = start
    assert abs(numeric - gradient @ direction) <= 1e-7 * np.linalg.norm(gradient) * np.linalg.norm(direction)


@pytest.mark.parametrize(("network", "loss"), list(itertools.product(NETWORKS, CODES)))
def test_the_gradient_of_every_network_and_loss(network, loss):
    """Trials of different lengths; start states by condition; noise of a circuit held."""
    batch = a_batch(loss)
    if network == "ode":
        batch = with_gaps(batch)
    check_gradient(a_model(NETWORKS[network], loss), batch, Sweep(noise_key=(0,)))


@pytest.mark.parametrize(
    ("network", "option"),
    list(itertools.product(NETWORKS, ("dropout", "segments", "penalties", "current", "own output"))),
)
def test_the_gradient_of_every_option(network, option):
    """Dropout, segments of five steps, penalties of rates and weights, an added current, half of the outputs fed."""
    batch, model = a_batch(), a_model(NETWORKS[network])
    sweep, options = {"noise_key": (0,)}, {}
    is_circuit = isinstance(NETWORKS[network], Circuit)
    if network == "ode":
        batch = with_gaps(batch)
    if option == "dropout":
        sweep["dropout"] = 0.4
    elif option == "segments":
        options["segment_steps"] = 5
    elif option == "penalties":
        options["penalties"] = Penalties(l2_rates=0.3, smoothness=2.0, l2_weights=0.01, l1_weights=0.01)
    elif option == "current" and is_circuit:
        sweep["current"] = np.random.default_rng(5).normal(size=(N_TRIALS, N_STEPS, model.n_hidden))
    elif option == "own output":
        # Derivatives do not go through what is fed back, so it is held: fed by hand, as the network would.
        batch = batch._replace(n_fed_back=N_TARGETS)
    if network == "two ways" and option in ("segments", "own output"):
        with pytest.raises(OptionError, match=r"needs whole trials|looks ahead"):
            Trainer(model, 1, **options).run(batch, Sweep(**sweep, own=0.5))
        return
    check_gradient(model, batch, Sweep(**sweep), **options)


@pytest.mark.parametrize("network", [name for name in NETWORKS if name != "two ways"])
@pytest.mark.parametrize("segment_steps", [1, 5, 12, 40])
def test_segments_change_nothing(network, segment_steps):
    """Loss, outputs and gradient of whole trials: 1e-12 of the largest; noise and dropout are the same."""
    batch, sweep = a_batch(), Sweep(noise_key=(0,), dropout=0.3)
    if network == "ode":
        batch = with_gaps(batch)
    model, penalties = a_model(NETWORKS[network]), Penalties(l2_rates=0.3)
    whole = Trainer(model, 1, penalties).run(batch, sweep)
    found = Trainer(model, 1, penalties, segment_steps).run(batch, sweep)
    assert found.loss == pytest.approx(whole.loss, rel=1e-13)
    np.testing.assert_allclose(found.outputs, whole.outputs, rtol=0, atol=1e-13)
    np.testing.assert_allclose(found.gradient, whole.gradient, rtol=0, atol=1e-12 * np.abs(whole.gradient).max())


def test_segments_need_whole_numbers_of_nothing_else():
    """Truncation and smoothness look across the borders of segments."""
    with pytest.raises(OptionError, match="truncation needs whole trials"):
        Trainer(a_model(CellNetwork(kind="gru", n_hidden=4, truncation=3)), 1, None, 5)
    with pytest.raises(OptionError, match="smoothness needs whole trials"):
        Trainer(a_model(NETWORKS["gru"]), 1, Penalties(smoothness=1.0), 5)


@pytest.mark.parametrize("network", ["gru", "lstm", "facilitating"])
@pytest.mark.parametrize("loss", ["mse", "cross entropy"])
def test_a_network_that_runs_freely_is_one_whose_outputs_were_put_into_its_inputs(network, loss):
    """Fed by hand, step by step, until nothing changes; primed with three targets."""
    model = a_model(NETWORKS[network])
    batch = a_batch(loss)._replace(n_fed_back=N_TARGETS, n_primed=3)
    free = Trainer(model, 1).run(batch, Sweep(noise_key=(0,), own=1.0))
    by_hand = batch
    for _ in range(N_STEPS):
        outputs = Trainer(model, 1).run(by_hand, Sweep(noise_key=(0,))).outputs
        fed = outputs if loss == "mse" else (outputs.argmax(axis=2)[:, :, None] == np.arange(N_TARGETS)).astype(float)
        inputs = batch.inputs.copy()
        inputs[:, 3:] = fed[:, 2:-1]
        by_hand = batch._replace(inputs=inputs)
    np.testing.assert_allclose(free.outputs, Trainer(model, 1).run(by_hand, Sweep(noise_key=(0,))).outputs, atol=1e-12)
    # Derivatives do not go through what was fed.
    by_hand = Trainer(model, 1).run(by_hand, Sweep(noise_key=(0,)))
    np.testing.assert_allclose(free.gradient, by_hand.gradient, atol=1e-11)


def test_scheduled_sampling_feeds_the_share_that_was_asked():
    """A linear model of one unit that shows its inputs: a third of the steps, four standard errors."""
    batch = a_batch()._replace(n_fed_back=N_TARGETS)
    model = a_model(NETWORKS["vanilla"])
    forced, half = (Trainer(model, 1).run(batch, Sweep(noise_key=(0,), own=own)).outputs for own in (0.0, 1 / 3))
    free = Trainer(model, 1).run(batch, Sweep(noise_key=(0,), own=1.0)).outputs
    # The second step sees what was fed after the first, and nothing else differs yet.
    share = np.mean(np.isclose(half[:, 1], free[:, 1]).all(axis=1))
    same = np.isclose(half[:, 1], forced[:, 1]).all(axis=1)
    assert set(same) == {True, False}
    assert abs(share - 1 / 3) <= 4.0 * np.sqrt(2 / 9 / N_TRIALS)


def test_outputs_that_are_no_inputs_are_not_fed():
    """Counts, and another number of values."""
    model = a_model(NETWORKS["gru"])
    for batch, message in (
        (a_batch("poisson")._replace(n_fed_back=2), "cannot be fed back"),
        (a_batch()._replace(n_fed_back=1), "feeds back 1 values and the network has 2 outputs"),
    ):
        with pytest.raises(OptionError, match=message):
            Trainer(model, 1).run(batch, Sweep(noise_key=(0,), own=0.5))


def test_a_bidirectional_network_is_two_networks():
    """Its states are those of one on the trials and one on each trial turned around up to its own end."""
    model, batch = a_model(NETWORKS["two ways"]), a_batch()
    found = Trainer(model, 1).record(batch, Sweep(noise_key=(0,)))["rate"]
    halves = []
    for k, turns in enumerate((False, True)):
        alone = a_model(CellNetwork(kind="gru", n_hidden=4, start_by="context"))
        for name, part in alone.parts(alone.theta).items():
            if not name.startswith("readout"):
                part[:] = model.parts(model.theta)[name + ("_back" if turns else "")]
        turned = turn(batch.inputs, batch.length) if turns else batch.inputs
        states = Trainer(alone, 1).record(batch._replace(inputs=turned), Sweep(noise_key=(0,)))["rate"]
        halves.append(turn(states, batch.length) if turns else states)
        inside = np.arange(N_STEPS) < batch.length[:, None]
        np.testing.assert_allclose(found[inside, 4 * k : 4 * k + 4], halves[k][inside], atol=1e-14)


def turn(values, length):
    """Turn every trial around up to its end."""
    out = np.zeros_like(values)
    for k, n in enumerate(length):
        out[k, :n] = values[k, :n][::-1]
    return out


def test_what_comes_behind_a_trials_end_changes_nothing_in_either_direction():
    """Inputs of 7 behind the ends, a network that reads from both sides: outputs within the trials, and gradients."""
    model, batch = a_model(NETWORKS["two ways"]), a_batch()
    inside = np.arange(N_STEPS) < batch.length[:, None]
    noisy = batch._replace(inputs=np.where(inside[:, :, None], batch.inputs, 7.0))
    one, two = (Trainer(model, 1).run(each, Sweep(noise_key=(0,))) for each in (batch, noisy))
    np.testing.assert_array_equal(one.outputs[inside], two.outputs[inside])
    np.testing.assert_allclose(one.gradient, two.gradient, atol=1e-14)


def test_conditions_begin_where_their_own_state_is():
    """Without inputs the first states differ by condition alone; an unknown condition is refused."""
    model, batch = a_model(NETWORKS["lstm"]), a_batch()
    rates = Trainer(model, 1).record(batch._replace(inputs=0.0 * batch.inputs), Sweep(noise_key=(0,)))["rate"][:, 0]
    context = batch.table["context"].to_numpy()
    for level in LEVELS:
        assert len(np.unique(rates[context == level], axis=0)) == 1
    assert not np.allclose(rates[context == "left"][0], rates[context == "right"][0])
    with pytest.raises(OptionError, match="no start state for the value 'up'"):
        Trainer(model, 1).run(batch._replace(table=pd.DataFrame({"context": ["up"] * N_TRIALS})), Sweep(noise_key=(0,)))


def test_dropout_is_one_mask_a_trial():
    """A trial's mask does not depend on its companions; the share of silent units is what was asked (4 sd)."""
    from cortexrnn.training.tile import draw_keep

    keep = draw_keep((3, "x"), range(16), 500, 0.25, np.dtype(float)).reshape(500, 16)
    assert set(np.unique(keep)) == {0.0, 1.0 / 0.75}
    assert abs(np.mean(keep == 0.0) - 0.25) <= 4.0 * np.sqrt(0.25 * 0.75 / keep.size)
    other = draw_keep((3, "x"), range(5, 21), 500, 0.25, np.dtype(float)).reshape(500, 16)
    np.testing.assert_array_equal(keep[:, 5], other[:, 0])
    assert draw_keep((3, "x"), range(16), 500, 0.0, np.dtype(float)).size == 0


def test_the_tape_keeps_what_synapses_did():
    """u and x of a circuit's plastic sources start at U and 1 and stay in range; a cell has none."""
    model = a_model(NETWORKS["facilitating"])
    found = Trainer(model, 1).record(a_batch(), Sweep(noise_key=(0,)))
    assert found["u"].shape == found["x"].shape == (N_TRIALS, N_STEPS, 5)
    assert ((found["u"] > 0.0) & (found["u"] < 1.0) & (found["x"] > 0.0) & (found["x"] <= 1.0)).all()
    assert set(Trainer(a_model(NETWORKS["gru"]), 1).record(a_batch(), Sweep(noise_key=(0,)))) == {"rate"}
