"""Perturbations: the current comes when and where it was asked for, and moves the choices as far as theory says."""

from __future__ import annotations

import numpy as np
import pytest

from cortexrnn.cells.activation import Activation
from cortexrnn.circuit import Circuit, Noise, Population, Projection, WeightLaw
from cortexrnn.errors import DataError, OptionError
from cortexrnn.report.lesions import draw_lesions, plot_shifts
from cortexrnn.training.cell_model import CellNetwork
from cortexrnn.training.circuit_model import Trainable
from cortexrnn.training.lesions import Lesion, ablation
from cortexrnn.training.loop import TrainOptions, train
from cortexrnn.training.perturbations import Perturbation, perturb
from cortexrnn.training.tasks import DelayedMatch, RandomDots

LEVELS = (0.0, 0.064, 0.128, 0.256, 0.512)
TASK = RandomDots(coherence=LEVELS, stimulus_s=0.4, noise_sd=0.0)
SHORT = TrainOptions(max_steps=1, batch_size=16, evaluate_every=1, n_validation=16, criterion=2.0)


def two_units(sigma):
    """Two linear units without connections to speak of, each with a time constant of 1 s and noise of its own."""
    units = Population(name="left", size=1, activation=Activation(kind="linear"), tau_s=1.0)
    other = Population(name="right", size=1, activation=Activation(kind="linear"), tau_s=1.0)
    loop = Projection(source="left", target="right", weights=WeightLaw(mean=1e-9))
    noise = Noise(sigma=sigma, tau_s=0.02)
    return Circuit(name="two", populations=(units, other), projections=(loop,), noise=noise)


def chooser(sigma=0.3):
    """A network by hand: each unit hears the evidence for its choice, and the outputs are the two rates."""
    trainable = Trainable(reads=("left", "right"))
    trained = train(two_units(sigma), TASK, trainable=trainable, options=SHORT)
    parts = trained.model.parts(trained.model.theta)
    parts["input"][:], parts["readout"][:] = np.eye(2), np.eye(2)
    for name in ("recurrent", "bias", "start", "readout_bias"):
        parts[name][:] = 0.0
    return trained


def test_a_pulse_into_one_unit_moves_the_curve_by_its_height():
    """Linear units: a current of 0.2 beside the evidence is a coherence of 0.2, because the evidence differs by it.

    The stimulus lasts from 0.1 to 0.5 s and so does the pulse; the interval of the shift holds the truth, and the
    same trials for both make it narrower than that of a difference of two independent curves.
    """
    pulse = Perturbation(height=0.2, start_s=0.0, stop_s=0.4, after="stimulus_start_s", populations=("left",))
    found = perturb(chooser(), {"left": pulse}, 4000, seed=5, n_bootstrap=100)
    low, high = (float(found[f"shift_{end}"].sel(pulse="left")[0]) for end in ("low", "high"))
    assert low < -0.2 < high
    assert high - low < 0.06
    assert float(found["shift"].sel(pulse="none")[0]) == 0.0
    apart = (found["mean_high"] - found["mean_low"]).values[:, 0]
    assert high - low < np.hypot(*apart)


def test_a_pulse_is_on_in_its_window_alone():
    """By hand: the answers to the same current as an array, 5 of 30 steps; and without height nothing changes."""
    trained = chooser()
    pulses = {
        "late": Perturbation(height=0.3, start_s=0.3, stop_s=0.4, units=(1,)),
        "flat": Perturbation(height=0.0, start_s=0.0, stop_s=0.4),
    }
    found = perturb(trained, pulses, 400, seed=4, n_bootstrap=0)
    batch = TASK.trials(400, seed=4, mode="test")
    current = np.zeros((400, TASK.n_steps, 2), np.float32)
    current[:, 15:20, 1] = 0.3
    expected = TASK.performance(trained.answer(batch, seed=4, current=current), batch)
    assert float(found["performance"].sel(pulse="late")) == expected.fraction
    assert float(found["error"].sel(pulse="late")) == expected.error
    assert float(found["change"].sel(pulse="flat")) == 0.0
    assert float(found["error"].sel(pulse="flat")) == float(found["error"].sel(pulse="none"))


def test_a_task_without_levels_gets_no_curves():
    """Delayed match: performance only."""
    task = DelayedMatch(dt_s=0.05)
    trained = train(two_units(0.1), task, trainable=Trainable(reads=("left", "right")), options=SHORT)
    found = perturb(trained, {"delay": Perturbation(height=1.0, start_s=0.0, stop_s=0.1, after="delay_start_s")}, 32)
    assert set(found.dims) == {"pulse"}
    assert found.attrs["chance"] == pytest.approx(1.0 / 3.0)
    with pytest.raises(DataError, match="no levels"):
        plot_shifts(None, found)


def test_what_cannot_be_pushed_is_refused():
    """Times out of order or outside the trial, unknown columns and units, cell networks, a reserved name."""
    trained = chooser()
    with pytest.raises(OptionError, match="start_s, stop_s"):
        Perturbation(height=1.0, start_s=0.2, stop_s=0.1)
    with pytest.raises(OptionError, match="height=nan is not finite"):
        Perturbation(height=float("nan"), start_s=0.0, stop_s=0.1)
    cases = {
        "no time step": Perturbation(height=1.0, start_s=5.0, stop_s=6.0),
        "after='go_s' is no column": Perturbation(height=1.0, start_s=0.0, stop_s=0.1, after="go_s"),
        "no unit 2": Perturbation(height=1.0, start_s=0.0, stop_s=0.1, units=(2,)),
        "no population 'middle'": Perturbation(height=1.0, start_s=0.0, stop_s=0.1, populations=("middle",)),
    }
    for match, pulse in cases.items():
        with pytest.raises(OptionError, match=match):
            perturb(trained, {"a": pulse}, 8)
    with pytest.raises(OptionError, match="'none' is that of the network"):
        perturb(trained, {"none": cases["no time step"]}, 8)
    cells = train(CellNetwork(kind="gru", n_hidden=4), TASK, options=SHORT)
    with pytest.raises(OptionError, match="only the units of a circuit have a current"):
        perturb(cells, {"a": Perturbation(height=1.0, start_s=0.0, stop_s=0.1)}, 8)


def test_figures_of_pulses_are_written(tmp_path):
    """Performance and curves, both with the names of the pulses."""
    found = perturb(
        chooser(), {"push": Perturbation(height=0.1, start_s=0.1, stop_s=0.5, units=(0,))}, 400, n_bootstrap=10
    )
    lesioned = ablation(chooser(), {"left": Lesion(units=(0,))}, 400)
    paths = draw_lesions(tmp_path, ablation=lesioned, perturbation=found)
    assert [path.name for path in paths] == ["ablation.svg", "perturbation.svg", "shift.svg"]
    assert all(">push<" in path.read_text() for path in paths[1:])
