"""Lesions: what is cut is exactly zero, nothing else changes, and a silent unit is one that nobody hears."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import xarray as xr

from cortexrnn.cells.activation import Activation
from cortexrnn.cells.stp import ShortTermPlasticity
from cortexrnn.circuit import Circuit, Noise, Population, Projection, WeightLaw
from cortexrnn.errors import DataError, NumericalWarning, OptionError
from cortexrnn.report.lesions import draw_lesions, plot_performance
from cortexrnn.training.cell_model import CellNetwork
from cortexrnn.training.circuit_model import Trainable
from cortexrnn.training.lesions import Lesion, ablate, ablation, compare_trials
from cortexrnn.training.loop import TrainOptions, train
from cortexrnn.training.tasks import FlipFlop, RandomDots
from cortexrnn.training.trained import load_trained

TASK = RandomDots(stimulus_s=0.2)
SHORT = TrainOptions(max_steps=3, batch_size=16, evaluate_every=3, n_validation=16, criterion=2.0)
CUT = (1, 7)


def e_i(is_plastic=False):
    """Six excitatory and three inhibitory rectified units with noise."""
    sizes = {"excitatory": 6, "inhibitory": 3}
    law = WeightLaw(law="gamma", mean=0.15, sd=0.1)
    return Circuit(
        name="small",
        populations=tuple(
            Population(name=name, size=size, sign=name, activation=Activation(kind="relu"), tau_s=0.05)
            for name, size in sizes.items()
        ),
        projections=tuple(
            Projection(
                source=s, target=t, weights=law, plasticity="facil" if is_plastic and s == "excitatory" else ""
            )
            for s in sizes
            for t in sizes
        ),
        plasticity={"facil": ShortTermPlasticity(U=0.2, tau_f_s=1.5, tau_d_s=0.2)} if is_plastic else {},
        rate_scale_hz=10.0 if is_plastic else None,
        noise=Noise(sigma=0.1, tau_s=0.05),
    )


def trained_circuit(is_plastic=False, **trainable):
    """A circuit after three steps, whose read-out sees all units."""
    given = Trainable(reads=("excitatory", "inhibitory"), **trainable)
    return train(e_i(is_plastic), TASK, seed=2, trainable=given, options=SHORT)


@pytest.mark.parametrize("dale", ["relu", "abs", "exp", "softplus", "projected"])
def test_columns_of_silent_units_are_exactly_zero_and_the_others_keep_their_bits(dale):
    """By hand: zero two columns of the weights and of the read-out."""
    trained = trained_circuit(dale=dale)
    before = trained.model.theta.copy()
    lesioned = ablate(trained, Lesion(units=CUT))
    expected, (readout, bias) = trained.weights.copy(), trained.model.readout()
    expected[:, CUT], readout[:, CUT] = 0.0, 0.0
    np.testing.assert_array_equal(lesioned.weights, expected)
    np.testing.assert_array_equal(lesioned.model.readout()[0], readout)
    np.testing.assert_array_equal(lesioned.model.readout()[1], bias)
    lesioned.audit_signs()
    np.testing.assert_array_equal(trained.model.theta, before)


@pytest.mark.parametrize("is_plastic", [False, True])
def test_a_lesion_is_a_unit_that_a_current_keeps_below_threshold(is_plastic):
    """The other way to silence a rectified unit: a current of -1000 throughout. The sums are the same: equal bits.

    Start states stay at zero, where these units are silent already.
    """
    trained = trained_circuit(is_plastic, trains=("recurrent", "input", "bias", "readout"))
    batch = TASK.trials(20, seed=3)
    current = np.zeros((20, TASK.n_steps, 9))
    current[:, :, CUT] = -1000.0
    pushed = trained.answer(batch, current=current)
    np.testing.assert_array_equal(ablate(trained, Lesion(units=CUT)).answer(batch), pushed)
    assert np.abs(pushed - trained.answer(batch)).max() > 1e-3


def test_a_population_is_its_units_and_a_block_only_its_connections():
    """Units 6 to 8 are the inhibitory ones; of a block the read-out still sees the source."""
    trained = trained_circuit(is_plastic=True)
    by_name = ablate(trained, Lesion(populations=("inhibitory",)))
    np.testing.assert_array_equal(by_name.model.theta, ablate(trained, Lesion(units=(6, 7, 8))).model.theta)
    block = ablate(trained, Lesion(blocks=(("excitatory", "inhibitory"),)))
    expected = trained.weights.copy()
    expected[6:, :6] = 0.0
    np.testing.assert_array_equal(block.weights, expected)
    np.testing.assert_array_equal(block.model.readout()[0], trained.model.readout()[0])


def test_inhibition_that_is_a_product_of_blocks_goes_with_its_interneurons():
    """DANN: what acts among excitatory units is their own block where the inhibitory ones are silent."""
    trained = trained_circuit(dale="dann")
    silenced = ablate(trained, Lesion(populations=("inhibitory",)))
    excitation = trained.weights[:6, :6]
    np.testing.assert_array_equal(silenced.model.core_weights().recurrent[:6, :6], excitation)
    assert np.abs(trained.model.core_weights().recurrent[:6, :6] - excitation).max() > 1e-3


@pytest.mark.parametrize(
    "network",
    [
        CellNetwork(kind="vanilla", n_hidden=8),
        CellNetwork(kind="gru", n_hidden=8),
        CellNetwork(kind="lstm", n_hidden=8),
        CellNetwork(kind="gru", n_hidden=4, is_bidirectional=True),
    ],
    ids=["vanilla", "gru", "lstm", "bidirectional"],
)
def test_nothing_depends_on_where_a_silent_unit_of_a_cell_network_starts(network):
    """Units 1 and 7 start elsewhere: other outputs from the whole network, the same bits from the lesioned one."""
    task = FlipFlop(n_slots=3)
    trained = train(network, task, seed=1, options=SHORT)
    batch = task.trials(10, seed=4)
    moved = train(network, task, seed=1, options=SHORT)
    parts = moved.model.parts(moved.model.theta)
    if network.is_bidirectional:
        parts["start"][:, 1] += 0.5
        parts["start_back"][:, 3] += 0.5
    else:
        parts["start"][:, CUT] += 0.5
    outputs = [[ablate(each, Lesion(units=CUT)).answer(batch), each.answer(batch)] for each in (trained, moved)]
    np.testing.assert_array_equal(outputs[0][0], outputs[1][0])
    assert np.abs(outputs[0][1] - outputs[1][1]).max() > 1e-3


def test_a_lesioned_network_is_saved_as_it_is(tmp_path):
    """The weights of minus infinity on a logarithmic scale come back."""
    lesioned = ablate(trained_circuit(dale="exp"), Lesion(units=CUT))
    lesioned.save(tmp_path / "net.safetensors")
    loaded = load_trained(tmp_path / "net.safetensors", TASK)
    np.testing.assert_array_equal(loaded.weights, lesioned.weights)


def test_ablation_judges_every_copy_on_the_same_trials():
    """Each lesion by itself, with the same seed, one after the other."""
    trained = trained_circuit()
    lesions = {"two": Lesion(units=CUT), "inhibition": Lesion(populations=("inhibitory",))}
    found = ablation(trained, lesions, 200, seed=5)
    assert found["lesion"].values.tolist() == ["none", "two", "inhibition"]
    alone = [
        each.performance(200, seed=5) for each in (trained, *(ablate(trained, each) for each in lesions.values()))
    ]
    np.testing.assert_allclose(found["performance"], alone, rtol=1e-12)
    np.testing.assert_allclose(found["change"], np.array(alone) - alone[0], atol=1e-12)
    assert found["n_silent"].values.tolist() == [0, 2, 3]
    assert found["change_low"].values[0] == found["change_high"].values[0] == 0.0


def test_trials_that_leave_the_finite_numbers_count_as_wrong():
    """By hand: weights of 1000 among excitatory units, held down by 1e5 from the inhibitory ones.

    Without inhibition float32 overflows within the trial, and every trial with an answer is wrong.
    """
    task = RandomDots(stimulus_s=2.0)
    given = Trainable(reads=("excitatory", "inhibitory"), trains=("recurrent", "readout"))
    trained = train(e_i(), task, seed=2, trainable=given, options=SHORT)
    recurrent = trained.model.parts(trained.model.theta)["recurrent"]
    recurrent[:6, :6], recurrent[:6, 6:] = 1000.0, 1e5
    with pytest.warns(NumericalWarning, match=r"'no inhibition': \d+ of 40 trials left the finite numbers"):
        found = ablation(trained, {"no inhibition": Lesion(populations=("inhibitory",))}, 40)
    assert float(found["performance"][1]) == 0.0
    assert np.isinf(found["error"].values[1])


def test_intervals_of_paired_proportions():
    """By hand: 8 of 10 and 5 of 10, four lost and one gained; Bonett and Price: -1/4 +- 1.96 sqrt((7/12 - 1/16)/12)."""
    first = np.array([1, 1, 1, 1, 1, 1, 1, 1, 0, 0], dtype=float)
    second = np.array([0, 0, 0, 0, 1, 1, 1, 1, 1, 0], dtype=float)
    with_gap = [np.append(first, np.nan), np.append(second, 1.0)]
    found = compare_trials(with_gap)
    np.testing.assert_allclose(found["performance"], [0.8, 0.5])
    np.testing.assert_allclose(found["change"], [0.0, -0.3], atol=1e-15)
    half = 1.959963984540054 * np.sqrt((7.0 / 12.0 - 1.0 / 16.0) / 12.0)
    np.testing.assert_allclose([found["change_low"][1], found["change_high"][1]], [-0.25 - half, -0.25 + half])
    # Wilson's interval of 5 in 10.
    np.testing.assert_allclose(
        [found["performance_low"][1], found["performance_high"][1]], [0.23659, 0.76341], atol=1e-5
    )


def test_scores_that_are_no_proportions_get_normal_intervals():
    """By hand: differences -0.2, 0, 0.2, 0.4 have mean 0.1 and deviation 0.2582."""
    first = np.array([0.5, 0.5, 0.5, 0.5])
    found = compare_trials([first, first + np.array([-0.2, 0.0, 0.2, 0.4])])
    half = 1.959963984540054 * np.sqrt(0.2 / 3.0) / 2.0
    np.testing.assert_allclose([found["change_low"][1], found["change_high"][1]], [0.1 - half, 0.1 + half])
    with pytest.raises(DataError, match="no trial has a score"):
        compare_trials([np.array([np.nan, 1.0]), np.array([1.0, np.nan])])


def test_what_cannot_be_cut_is_refused():
    """Empty lesions, unknown units and populations, populations of cells, a reserved name."""
    with pytest.raises(OptionError, match="cuts nothing"):
        Lesion()
    with pytest.raises(OptionError, match="expected pairs"):
        Lesion(blocks=(("excitatory",),))
    with pytest.raises(OptionError, match="'inhibitory' is one name"):
        Lesion(populations="inhibitory")
    trained = trained_circuit()
    with pytest.raises(OptionError, match="no unit 9; 'small' has 9"):
        ablate(trained, Lesion(units=(9,)))
    with pytest.raises(OptionError, match="no population 'inhib'; there are excitatory, inhibitory"):
        ablate(trained, Lesion(blocks=(("excitatory", "inhib"),)))
    with pytest.raises(OptionError, match="'none' is that of the network without any"):
        ablation(trained, {"none": Lesion(units=(1,))})
    cells = train(CellNetwork(kind="gru", n_hidden=4), TASK, options=SHORT)
    for lesion in (Lesion(populations=("gru",)), Lesion(blocks=(("gru", "gru"),))):
        with pytest.raises(OptionError, match="'gru' is a cell network, which has units only"):
            ablate(cells, lesion)


def test_figures_of_few_and_of_many_lesions_are_written(tmp_path):
    """Named rows up to 24; beyond that sorted and without names. An incomplete result is refused."""
    trained = trained_circuit()
    few = ablation(trained, {"a": Lesion(units=(0,))}, 30)
    draw_lesions(tmp_path, ablation=few)
    assert ">a<" in (tmp_path / "ablation.svg").read_text()
    many = xr.concat([few] + [few.isel(lesion=[1])] * 30, dim="lesion")
    draw_lesions(tmp_path, ablation=many)
    assert "31 lesions, sorted" in (tmp_path / "ablation.svg").read_text()
    with pytest.raises(DataError, match="no variable 'change'"):
        plot_performance(None, few.drop_vars("change"))
    with pytest.raises(DataError, match="expected lesion or pulse"):
        plot_performance(None, few.rename(lesion="cut"))


def test_a_circuit_is_not_changed_by_its_lesions():
    """The description that the network came from stays the same object."""
    trained = trained_circuit()
    assert ablate(trained, Lesion(units=(0,))).model.circuit is trained.model.circuit
    assert replace(trained).model is trained.model
