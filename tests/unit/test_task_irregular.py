"""Irregular samples of oscillations, as they come and on a grid.

Oracle: the formula of the oscillation at the times that the batch itself tells, order statistics, slow loops here.
"""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from scipy.stats import kstest

from cortexrnn.errors import OptionError
from cortexrnn.training.cell_model import CellNetwork
from cortexrnn.training.loop import TrainOptions, train
from cortexrnn.training.tasks.irregular import GriddedWaves, IrregularWaves

SEED = 6


def times_and_values(batch):
    """Read the samples back from the inputs, times from the first sample on."""
    time_s = np.cumsum(batch.inputs[:, :, 0].astype(float), axis=1)[:, ::2]
    return time_s, batch.inputs[:, ::2, 2].astype(float)


def slow_grid(task, seed, n):
    """Samples, bins and shown values of gridded trials by loops over samples: list of dictionaries by trial."""
    waves = task.waves
    draws, _ = waves._draw(n, seed, "train", 0)
    time_s, value, _ = waves.samples(draws)
    trials = []
    for times, values in zip(time_s, value, strict=True):
        bins = {}
        for k, (t, v) in enumerate(zip(times, values, strict=True)):
            bins.setdefault(min(int(t // task.dt_s), task.n_steps - 1), []).append((k, v))
        trials.append({"bins": bins, "values": values})
    return trials


def test_every_question_comes_with_its_gap_and_its_answer_with_the_value():
    task = IrregularWaves(n_samples=8, n_given=3)
    batch = task.trials(20, seed=SEED)
    assert batch.inputs.shape == (20, 15, 3)
    assert (batch.length == 15).all()
    questions, answers = batch.inputs[:, 1::2], batch.inputs[:, ::2]
    assert (questions[:, :, 0] > 0.0).all()
    np.testing.assert_array_equal(questions[:, :, 1:], 0.0)
    np.testing.assert_array_equal(answers[:, :, 0], 0.0)
    np.testing.assert_array_equal(answers[:, :, 1], 1.0)
    np.testing.assert_array_equal(batch.targets[:, 1::2, 0], answers[:, 1:, 2])
    # Three samples are given; the first question that counts is about the fourth.
    np.testing.assert_array_equal(batch.mask[0], [0, 0, 0, 0, 0, 1, 0, 1, 0, 1, 0, 1, 0, 1, 0])


def test_values_are_those_of_a_damped_cosine_at_the_times_that_gaps_add_up_to():
    """The time of the first sample is not told; frequency, decay and all later values follow from the table's row."""
    task = IrregularWaves(decay_s=7.0)
    batch = task.trials(50, seed=SEED)
    time_s, value = times_and_values(batch)
    draws, _ = task._draw(50, SEED, "train", 0)
    first_s = task.duration_s * draws.uniform[:, 2:].min(axis=1)
    time_s = time_s + first_s[:, None]
    frequency_hz, phase_rad = (batch.table[name].to_numpy()[:, None] for name in ("frequency_hz", "phase_rad"))
    expected = np.exp(-time_s / 7.0) * np.cos(2.0 * np.pi * frequency_hz * time_s + phase_rad)
    # Gaps are float32: 6e-8 of some seconds times 4 rad/s.
    np.testing.assert_allclose(value, expected, rtol=0, atol=1e-5)


def test_gaps_have_the_mean_that_the_time_step_says_and_the_law_of_uniform_spacings():
    task = IrregularWaves(dt_s=0.25, n_samples=20)
    gaps = task.trials(600, seed=SEED).inputs[:, 1::2, 0].astype(float)
    # 19 gaps of 600 trials, slightly anticorrelated: a standard error below 1 % of the mean.
    np.testing.assert_allclose(gaps.mean(), 0.25, rtol=0.03)
    # A single spacing of n uniform points is Beta(1, n); one gap a trial makes independent draws.
    assert kstest(gaps[:, 7] / task.duration_s, "beta", args=(1, 20)).pvalue > 0.01


def test_frequencies_and_phases_fill_their_ranges_evenly():
    table = IrregularWaves(frequency_hz=(0.3, 0.9)).trials(600, seed=SEED).table
    assert kstest(table["frequency_hz"], "uniform", args=(0.3, 0.6)).pvalue > 0.01
    assert kstest(table["phase_rad"], "uniform", args=(0.0, 2.0 * np.pi)).pvalue > 0.01


def test_training_and_test_share_no_trial_and_a_trial_depends_on_its_number_alone():
    task = IrregularWaves()
    whole, part = task.trials(9, seed=SEED), task.trials(3, seed=SEED, first=4)
    np.testing.assert_array_equal(part.inputs, whole.inputs[4:7])
    np.testing.assert_array_equal(part.targets, whole.targets[4:7])
    assert not np.array_equal(task.trials(9, seed=SEED, mode="test").inputs, whole.inputs)
    assert not np.array_equal(task.trials(9, seed=SEED + 1).inputs, whole.inputs)


def test_the_right_values_are_right_and_zeros_are_wrong_by_their_size():
    task = IrregularWaves()
    batch = task.trials(100, seed=SEED, mode="test")
    found = task.performance(batch.targets, batch)
    assert (found.fraction, found.error) == (1.0, 0.0)
    nothing = task.performance(np.zeros_like(batch.targets), batch)
    assert nothing.fraction == task.chance
    np.testing.assert_allclose(nothing.trials["relative_error"], 1.0, rtol=1e-12)
    asked = batch.mask > 0.0
    np.testing.assert_allclose(nothing.error, np.square(batch.targets[asked].astype(float)).mean(), rtol=1e-9)


def test_the_tolerance_is_where_right_becomes_wrong():
    task = IrregularWaves(tolerance=0.1)
    batch = task.trials(10, seed=SEED)
    assert task.performance(0.901 * batch.targets, batch).fraction == 1.0
    assert task.performance(0.899 * batch.targets, batch).fraction == 0.0


@pytest.mark.parametrize("fill", ["zero", "hold"])
@pytest.mark.parametrize("dt_s", [0.1, 0.4, 1.0])
def test_the_grid_shows_the_means_of_bins_one_step_later(dt_s, fill):
    task = GriddedWaves(waves=IrregularWaves(n_samples=12), dt_s=dt_s, fill=fill)
    batch = task.trials(15, seed=SEED)
    for trial, slow in enumerate(slow_grid(task, SEED, 15)):
        last = 0.0
        for step in range(task.n_steps):
            seen = [v for _, v in slow["bins"].get(step - 1, [])]
            last = np.mean(seen) if seen else (last if fill == "hold" else 0.0)
            # Values are float32.
            np.testing.assert_allclose(batch.inputs[trial, step], [float(bool(seen)), last], rtol=0, atol=1e-7)


@pytest.mark.parametrize("dt_s", [0.1, 1.0])
def test_the_grid_asks_for_the_means_of_the_samples_that_count(dt_s):
    task = GriddedWaves(waves=IrregularWaves(n_samples=12, n_given=4), dt_s=dt_s)
    batch = task.trials(15, seed=SEED)
    for trial, slow in enumerate(slow_grid(task, SEED, 15)):
        for step in range(task.n_steps):
            asked = [v for k, v in slow["bins"].get(step, []) if k >= 4]
            assert batch.mask[trial, step] == len(asked)
            # Values are float32.
            np.testing.assert_allclose(
                batch.targets[trial, step, 0], np.mean(asked) if asked else 0.0, rtol=0, atol=1e-7
            )


@pytest.mark.parametrize("dt_s", [0.05, 0.4, 1.0])
def test_the_relative_error_on_the_grid_is_that_of_the_samples_themselves(dt_s):
    task = GriddedWaves(waves=IrregularWaves(n_samples=12, n_given=4), dt_s=dt_s)
    batch = task.trials(15, seed=SEED)
    outputs = np.random.default_rng(0).normal(size=batch.targets.shape)
    found = task.performance(outputs, batch).trials["relative_error"].to_numpy()
    for trial, slow in enumerate(slow_grid(task, SEED, 15)):
        squares = [(outputs[trial, b, 0] - v) ** 2 for b, seen in slow["bins"].items() for k, v in seen if k >= 4]
        expected = np.sqrt(np.sum(squares) / np.square(slow["values"][4:]).sum())
        # Targets are float32.
        np.testing.assert_allclose(found[trial], expected, rtol=1e-6)


def test_both_tasks_have_the_same_trials():
    waves = IrregularWaves(n_samples=10)
    # So fine a grid that hardly two samples share a bin: what is shown in order is every value.
    task = GriddedWaves(waves=waves, dt_s=1e-3, fill="zero")
    for mode in ("train", "test"):
        plain, gridded = waves.trials(8, seed=SEED, mode=mode, first=3), task.trials(8, seed=SEED, mode=mode, first=3)
        for a, b in zip(plain.inputs, gridded.inputs, strict=True):
            shown = b[b[:, 0] > 0.0, 1]
            np.testing.assert_array_equal(shown, a[::2, 2][: len(shown)])
            assert len(shown) >= 9
        np.testing.assert_array_equal(plain.table["frequency_hz"], gridded.table["frequency_hz"])


def test_right_answers_on_a_coarse_grid_are_wrong_by_what_the_bins_hide():
    fine, coarse = (GriddedWaves(dt_s=dt_s) for dt_s in (0.02, 1.0))
    errors = []
    for task in (fine, coarse):
        batch = task.trials(100, seed=SEED)
        found = task.performance(batch.targets, batch)
        assert found.error == 0.0
        errors.append(found.trials["relative_error"].mean())
    assert errors[0] < 0.01
    assert errors[1] > 0.3


def test_a_grid_that_divides_the_trial_has_no_bin_too_many():
    waves = IrregularWaves(dt_s=0.1, n_samples=29, n_given=1)
    # 3.0000000000000004 s are thirty bins of 0.1 s all the same.
    assert GriddedWaves(waves=waves, dt_s=0.1).n_steps == 30


@pytest.mark.parametrize("task", [IrregularWaves(), GriddedWaves()])
def test_names_and_sizes_agree(task):
    batch = task.trials(3, seed=SEED)
    assert batch.inputs.shape == (3, task.n_steps, task.n_inputs)
    assert batch.targets.shape == (3, task.n_steps, task.n_outputs)
    assert {batch.inputs.dtype, batch.targets.dtype, batch.mask.dtype} == {np.dtype(np.float32)}
    assert (task.n_inputs, task.n_outputs) == (len(task.input_names), len(task.output_names))


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: IrregularWaves(n_samples=5, n_given=5), "n_samples=5 is not valid; expected an integer of at least 6"),
        (lambda: IrregularWaves(n_given=0), "n_given=0 is not valid"),
        (lambda: IrregularWaves(frequency_hz=(0.6, 0.2)), r"frequency_hz=\(0.6, 0.2\) is not valid"),
        (lambda: IrregularWaves(decay_s=-1.0), "decay_s=-1.0 is not a positive number"),
        (lambda: IrregularWaves(noise_sd=0.1), "noise_sd=0.1 would fall on the gaps"),
        (lambda: IrregularWaves(tolerance=0.0), "tolerance=0.0"),
        (lambda: GriddedWaves(fill="linear"), "fill='linear' is unknown; expected one of zero, hold"),
        (lambda: GriddedWaves(noise_sd=0.1), "noise_sd=0.1 is not valid"),
        (lambda: GriddedWaves(waves="irregular"), "waves is a str; expected IrregularWaves"),
        (lambda: dataclasses.replace(GriddedWaves(), dt_s=0.0), "dt_s=0.0"),
    ],
)
def test_fields_that_make_no_task_are_refused(make, message):
    with pytest.raises(OptionError, match=message):
        make()


def test_no_damping_is_an_infinite_time_constant():
    batch = IrregularWaves(decay_s=float("inf"), n_samples=200).trials(20, seed=SEED)
    late = batch.inputs[:, -99::2, 2]
    # 50 values of a cosine at random phases: its mean square is a half, here with an error of a few per cent.
    np.testing.assert_allclose(np.square(late).mean(), 0.5, atol=0.05)


@pytest.mark.slow
def test_a_neural_ode_learns_to_foresee_samples_better_than_the_last_value_does():
    """The sample before is the answer of a network that has learned nothing but to copy; seeds are written here."""
    task = IrregularWaves()
    options = TrainOptions(
        max_steps=150, learning_rate=0.02, evaluate_every=150, n_validation=64, criterion=2.0, n_threads=1
    )
    trained = train(CellNetwork(kind="ode", n_hidden=16), task, seed=0, options=options)
    batch = task.trials(200, seed=SEED, mode="test")
    copied = np.zeros_like(batch.targets)
    copied[:, 1::2, 0] = batch.inputs[:, :-1:2, 2]
    errors = [
        task.performance(outputs, batch).trials["relative_error"].mean() for outputs in (trained.answer(batch), copied)
    ]
    assert errors[0] < 0.5 * errors[1]
