"""Each family of tasks shows and asks what its source says.

Oracle: trials computed by hand, slow loops in this file, SciPy for the distributions.
"""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import truncexpon

from cortexrnn.errors import OptionError
from cortexrnn.training.tasks import (
    Adding,
    CategoryMatch,
    CopyMemory,
    DelayedEstimation,
    DelayedMatch,
    FirstSymbol,
    FlipFlop,
    GoNoGo,
    IntervalTiming,
    OneOf,
    ProAnti,
    RandomDots,
    ReactionDots,
    SequenceGeneration,
    SineGeneration,
    TruncatedExponential,
    Uniform,
    load_task,
)
from cortexrnn.training.tasks.timeline import Timeline

SEED = 4


def quiet(name, **changes):
    """Trials of a test without noise, with the task."""
    task = load_task(name, noise_sd=0.0, **changes)
    return task, task.trials(240, seed=SEED, mode="test")


def test_epochs_follow_one_another_and_round_to_the_nearest_step():
    timeline = Timeline({"a": np.array([0.1, 0.2]), "b": np.array([0.05, 0.0]), "c": np.array([0.001, 0.1])}, 0.02, 20)
    np.testing.assert_array_equal(timeline.stop["a"], [5, 10])
    # 0.05 s are 2.5 steps, which round to the even number; a duration is never lost, and nothing stays nothing.
    np.testing.assert_array_equal(timeline.stop["b"], [7, 10])
    np.testing.assert_array_equal(timeline.length, [8, 15])
    np.testing.assert_array_equal(np.flatnonzero(timeline.inside("b", "c")[0]), [5, 6, 7])
    np.testing.assert_allclose(timeline.columns()["c_start_s"], [0.14, 0.2], rtol=1e-12)


def test_a_truncated_exponential_has_the_quantiles_of_scipy():
    duration = TruncatedExponential(0.33, 0.08, 1.5)
    q = np.linspace(0.0, 1.0, 21)
    expected = truncexpon.ppf(q, b=(1.5 - 0.08) / 0.33, loc=0.08, scale=0.33)
    np.testing.assert_allclose(duration.at(q), expected, rtol=1e-10)  # round-off of two inversions
    assert duration.longest_s == 1.5


def test_other_durations_invert_their_distributions():
    np.testing.assert_allclose(Uniform(1.0, 3.0).at(np.array([0.0, 0.25, 1.0])), [1.0, 1.5, 3.0], rtol=1e-15)
    np.testing.assert_array_equal(OneOf((0.2, 0.5, 0.1)).at(np.array([0.0, 0.33, 0.34, 0.99])), [0.2, 0.2, 0.5, 0.1])
    assert OneOf((0.2, 0.5, 0.1)).longest_s == 0.5


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Uniform(2.0, 1.0), "are not in order"),
        (lambda: TruncatedExponential(0.0, 0.1, 1.0), "is no truncated exponential"),
        (lambda: OneOf(()), "holds no durations"),
        (lambda: OneOf((-0.1,)), "holds no durations"),
    ],
)
def test_durations_that_are_none_are_refused(make, message):
    with pytest.raises(OptionError, match=message):
        make()


def test_random_dots_show_the_evidence_over_the_baseline_and_ask_for_the_stronger_side():
    task, batch = quiet("random_dots")
    trial = int(np.flatnonzero(batch.table["signed_coherence"] == -0.256)[0])
    # 0.1 s of fixation, 0.8 s of motion and 0.3 s of decision in steps of 20 ms.
    expected = np.full((60, 2), 0.2)
    expected[5:45] += [0.5 * (1.0 - 0.256), 0.5 * (1.0 + 0.256)]
    np.testing.assert_allclose(batch.inputs[trial], expected, rtol=1e-6)  # single precision
    np.testing.assert_allclose(batch.targets[trial, :45], 0.2, rtol=1e-6)
    np.testing.assert_allclose(batch.targets[trial, 45:], [[0.2, 1.0]] * 15, rtol=1e-6)
    np.testing.assert_array_equal(batch.mask[trial], [1.0] * 5 + [0.0] * 40 + [1.0] * 15)
    assert batch.table["choice"][trial] == 1
    assert task.n_conditions == 10


def test_a_catch_trial_shows_only_the_baseline_and_asks_for_low_outputs_throughout():
    task = RandomDots(noise_sd=0.0, catch_fraction=0.5)
    batch = task.trials(50, seed=SEED)
    is_catch = batch.table["is_catch"].to_numpy()
    np.testing.assert_allclose(batch.inputs[is_catch], 0.2, rtol=1e-6)
    np.testing.assert_allclose(batch.targets[is_catch], 0.2, rtol=1e-6)
    assert (batch.mask[is_catch] == 1.0).all()
    found = task.performance(batch.targets, batch)
    np.testing.assert_array_equal(np.isnan(found.correct), is_catch)
    assert (batch.table["choice"][is_catch] == -1).all()


def test_dots_without_coherence_have_no_right_answer():
    task = RandomDots(coherence=(0.0, 0.5))
    batch = task.trials(40, seed=SEED, mode="test")
    found = task.performance(batch.targets, batch)
    np.testing.assert_array_equal(np.isnan(found.correct), batch.table["coherence"] == 0.0)
    assert found.fraction == 1.0


def test_a_reaction_time_is_counted_from_the_motion_to_the_end_of_the_crossing_step():
    task = ReactionDots(coherence=(0.5,))
    batch = task.trials(4, seed=SEED, mode="test")
    outputs = np.full((4, 55, 2), 0.2)
    side = batch.table["choice"].to_numpy()
    outputs[0, 20:, side[0]] = 0.81
    outputs[1, 2, side[1]] = 0.9
    outputs[1, 54, side[1]] = 0.5
    outputs[2, 30:, 1 - side[2]] = 1.0
    outputs[3, 40:, side[3]] = 0.7
    found = task.performance(outputs, batch)
    # Motion starts at step 5. Trial 1 crosses before it only, trial 3 never; trial 2 chooses the wrong side.
    np.testing.assert_array_equal(found.correct, [1.0, 1.0, 0.0, 1.0])
    np.testing.assert_allclose(found.trials["reaction_time_s"], [0.32, np.nan, 0.52, np.nan], rtol=1e-12)


def test_the_reaction_version_asks_for_the_choice_after_its_patience_and_marks_the_motion():
    _, batch = quiet("random_dots_reaction")
    np.testing.assert_array_equal(batch.mask[0], [1.0] * 5 + [0.0] * 15 + [1.0] * 35)
    np.testing.assert_allclose(batch.inputs[0, :, 2], [0.2] * 5 + [1.2] * 50, rtol=1e-6)


def test_the_context_decides_which_coherence_counts():
    _, batch = quiet("context_decision")
    table = batch.table
    relevant = np.where(table["context"] == "motion", table["motion"], table["colour"])
    np.testing.assert_array_equal(table["choice"], (relevant < 0).astype(int))
    np.testing.assert_array_equal(table["signed_coherence"], relevant)
    shown = batch.inputs[:, 20] - 0.2
    np.testing.assert_allclose(shown[:, 0], table["context"] == "motion", atol=1e-6)
    np.testing.assert_allclose(shown[:, 2] - shown[:, 3], table["motion"], atol=1e-6)
    np.testing.assert_allclose(shown[:, 4] - shown[:, 5], table["colour"], atol=1e-6)
    assert batch.targets.max() == np.float32(1.2)


def test_both_modalities_carry_the_rate_and_a_missing_one_is_silent():
    _, batch = quiet("multisensory")
    shown = batch.inputs[:, 30].astype(float) - 0.2
    rate_hz, modality = batch.table["rate_hz"].to_numpy(), batch.table["modality"].to_numpy()
    rising, falling = 0.5 + 0.6 * (rate_hz - 6.0) / 13.0, 0.5 + 0.6 * (19.0 - rate_hz) / 13.0
    for channel, name in enumerate(("visual", "auditory")):
        is_on = (modality == name) | (modality == "both")
        np.testing.assert_allclose(shown[:, channel], is_on * rising, atol=1e-6)
        np.testing.assert_allclose(shown[:, channel + 2], is_on * falling, atol=1e-6)
    np.testing.assert_array_equal(batch.table["choice"], (rate_hz < 12.5).astype(int))


def test_the_two_vibrations_lie_on_either_side_of_the_delay():
    task, batch = quiet("parametric_memory", delay_s=1.0)
    trial = int(np.flatnonzero((batch.table["first_hz"] == 34.0).to_numpy())[0])
    expected = np.full((120, 2), 0.2)
    expected[5:30] += [1.0, 0.2]
    expected[80:105] += [0.2 + 0.8 * 16.0 / 24.0, 0.2 + 0.8 * 8.0 / 24.0]
    np.testing.assert_allclose(batch.inputs[trial], expected, rtol=1e-6)
    assert batch.table["choice"][trial] == 0
    assert batch.table["difference_hz"][trial] == 8.0
    assert load_task("parametric_memory").n_steps == 245
    assert task.n_steps == 120


@pytest.mark.parametrize("rotation_deg", [0.0, 45.0, 90.0, 180.0])
def test_a_match_is_the_rotated_sample_and_a_non_match_any_other_direction(rotation_deg):
    table = DelayedMatch(rotation_deg=rotation_deg).trials(800, seed=SEED).table
    turned = (table["sample_deg"] + rotation_deg) % 360.0
    np.testing.assert_array_equal(turned == table["test_deg"], table["is_match"])
    others = ((table["test_deg"] - turned) % 360.0)[~table["is_match"]]
    counts = others.value_counts()
    assert set(counts.index) == set(45.0 * np.arange(1, 8))
    # About 400 non-matches over 7 directions, 57 each: four standard deviations of a multinomial.
    assert (np.abs(counts - len(others) / 7) < 4.0 * np.sqrt(len(others) * 6 / 49)).all()


def test_a_category_match_shares_the_half_circle_but_not_the_direction():
    table = CategoryMatch().trials(800, seed=SEED).table
    same = (table["sample_deg"] < 180.0) == (table["test_deg"] < 180.0)
    np.testing.assert_array_equal(same, table["is_match"])
    matches = table[table["is_match"]]
    assert (matches["sample_deg"] != matches["test_deg"]).all()
    assert len(matches.groupby(["sample_deg", "test_deg"])) == 24
    assert len(table[~table["is_match"]].groupby(["sample_deg", "test_deg"])) == 32


def test_delayed_match_shows_tuned_inputs_and_labels_the_test():
    task, batch = quiet("delayed_match")
    sample, test = batch.table["sample_deg"][0], batch.table["test_deg"][0]
    preferred = 15.0 * np.arange(24)
    expected = 4.0 * np.exp(2.0 * (np.cos(np.deg2rad(sample - preferred)) - 1.0))
    # Fixation, sample and test of 25 steps each, 50 steps of delay.
    np.testing.assert_allclose(batch.inputs[0, 25:50], np.tile(expected, (25, 1)), rtol=1e-5)
    assert np.argmax(batch.inputs[0, 110]) == round(test / 15.0)
    assert (batch.inputs[0, 50:100] == 0.0).all()
    assert (batch.labels[0, :100] == 0).all()
    assert (batch.labels[0, 100:] == 1 + batch.table["is_match"][0]).all()
    np.testing.assert_array_equal(np.flatnonzero(batch.mask[0] == 0.0), [100, 101])
    assert task.n_steps == 125


def test_delayed_match_judges_the_mean_over_the_test_without_its_grace():
    task, batch = quiet("delayed_match")
    answer = 1 + batch.table["is_match"].to_numpy()
    outputs = np.zeros((240, 125, 3))
    outputs[:, :100, 0] = 50.0
    outputs[:, 100:102, 0] = 50.0
    outputs[np.arange(240), 110, answer] = 1.0
    assert task.performance(outputs, batch).fraction == 1.0
    outputs[np.arange(240), 120, 3 - answer] = 1.1
    assert task.performance(outputs, batch).fraction == 0.0


def test_going_needs_one_crossing_and_not_going_needs_silence():
    task = GoNoGo(dt_s=0.005)
    batch = task.trials(4, seed=SEED, mode="test")
    np.testing.assert_array_equal(batch.table["is_go"], [False, True, False, True])
    assert task.n_steps == 200
    np.testing.assert_array_equal(np.flatnonzero(batch.inputs[1, :, 0]), np.arange(50, 75))
    assert (batch.inputs[0] == 0.0).all()
    np.testing.assert_array_equal(np.flatnonzero(batch.targets[1, :, 0]), np.arange(75, 200))
    outputs = np.zeros((4, 200, 1))
    outputs[0, 10] = 0.9
    outputs[1, 150] = 0.71
    outputs[2, 150] = -0.31
    outputs[3, 150] = 0.69
    np.testing.assert_array_equal(task.performance(outputs, batch).correct, [1.0, 1.0, 0.0, 0.0])


def test_the_reported_angle_is_that_of_the_mean_vector():
    task = DelayedEstimation(noise_sd=0.0)
    batch = task.trials(100, seed=SEED, mode="test")
    found = task.performance(batch.targets, batch)
    # A bump sampled at 32 angles has its mean vector at its centre up to aliasing of its 32nd harmonic, where it is cut
    # at the far side too: far below a hundredth of a degree.
    np.testing.assert_allclose(found.trials["error_rad"], 0.0, atol=1e-4)


def test_an_estimate_is_right_within_the_tolerance_and_without_fixation():
    task = DelayedEstimation(noise_sd=0.0, tolerance_rad=0.3)
    batch = task.trials(3, seed=SEED, mode="test")
    preferred = 2.0 * np.pi * np.arange(32) / 32
    outputs = np.zeros_like(batch.targets)
    for trial, off in enumerate((0.29, 0.31, 0.0)):
        outputs[trial, batch.last[trial], 1:] = 1.0 + np.cos(preferred - batch.table["target_rad"][trial] - off)
    outputs[2, batch.last[2], 0] = 0.6
    found = task.performance(outputs, batch)
    np.testing.assert_array_equal(found.correct, [1.0, 0.0, 0.0])
    np.testing.assert_allclose(found.trials["error_rad"], [0.29, 0.31, 0.0], atol=1e-5)


def test_fixation_goes_off_with_the_response_and_the_response_weighs_five_times():
    task = DelayedEstimation(noise_sd=0.0, fixation_s=0.3, stimulus_s=0.2, delay_s=0.4)
    batch = task.trials(2, seed=SEED)
    np.testing.assert_array_equal(batch.inputs[0, :, 0], [1.0] * 45 + [0.0] * 25)
    np.testing.assert_array_equal(batch.mask[0], [1.0] * 45 + [0.0] * 5 + [5.0] * 20)
    np.testing.assert_allclose(batch.targets[0, [0, -1], 0], [0.85, 0.05], rtol=1e-6)
    preferred = 2.0 * np.pi * np.arange(32) / 32
    distance = np.angle(np.exp(1j * (preferred - batch.table["angle_rad"][0])))
    bump = 0.8 * np.exp(-0.5 * (distance / (np.pi / 8.0)) ** 2)
    np.testing.assert_allclose(batch.inputs[0, 20, 1:], bump, atol=1e-6)
    np.testing.assert_allclose(batch.targets[0, -1, 1:], 0.05 + bump, atol=1e-6)


def test_anti_trials_ask_for_the_opposite_angle_and_say_so_throughout():
    batch = ProAnti(noise_sd=0.0).trials(40, seed=SEED, mode="test")
    is_anti = (batch.table["rule"] == "anti").to_numpy()
    assert is_anti.mean() == 0.5
    moved = np.angle(np.exp(1j * (batch.table["target_rad"] - batch.table["angle_rad"])))
    np.testing.assert_allclose(np.abs(moved), np.where(is_anti, np.pi, 0.0), atol=1e-9)
    inside = np.arange(batch.mask.shape[1]) < batch.length[:, None]
    np.testing.assert_array_equal(batch.inputs[:, :, 33], inside & ~is_anti[:, None])
    np.testing.assert_array_equal(batch.inputs[:, :, 34], inside & is_anti[:, None])


def test_a_flip_flop_holds_the_sign_of_the_last_pulse():
    task = FlipFlop(n_slots=12)
    batch = task.trials(50, seed=SEED)
    assert task.n_steps == 180
    for trial in range(50):
        for bit in range(3):
            held = 0.0
            for step in range(180):
                if batch.inputs[trial, step, bit] != 0.0:
                    held = batch.inputs[trial, step, bit]
                assert batch.targets[trial, step, bit] == held
    # Pulses of 5 steps at the start of slots of 15, which do not count.
    np.testing.assert_array_equal(batch.mask[0], ([0.0] * 5 + [1.0] * 10) * 12)
    assert (np.abs(batch.inputs[:, 0]) == 1.0).all()
    later = batch.inputs[:, 15::15]
    # 50 x 11 x 3 slots with a probability of 0.4, half of them positive: binomial error.
    assert (later != 0.0).mean() == pytest.approx(0.4, abs=4.0 * np.sqrt(0.24 / later.size))
    assert (later > 0.0).mean() == pytest.approx(0.2, abs=4.0 * np.sqrt(0.16 / later.size))


def test_one_wrong_bit_at_the_end_of_one_slot_spoils_a_flip_flop_trial():
    task = FlipFlop()
    batch = task.trials(2, seed=SEED)
    outputs = batch.targets.copy()
    outputs[0, 44, 1] *= -1.0
    outputs[1, 43, 1] *= -1.0
    found = task.performance(outputs, batch)
    np.testing.assert_array_equal(found.correct, [0.0, 1.0])
    np.testing.assert_allclose(found.trials["fraction_held"], [23.0 / 24.0, 1.0], rtol=1e-12)


def test_the_sine_has_the_frequency_that_the_level_stands_for():
    batch = SineGeneration().trials(30, seed=SEED, mode="test")
    frequency_hz = batch.table["frequency_hz"].to_numpy()
    np.testing.assert_allclose(batch.inputs[:, 0, 0], 0.25 + (frequency_hz - 0.75), rtol=1e-6)
    time_s = 0.02 * np.arange(1, 81)
    expected = np.sin(2.0 * np.pi * frequency_hz[:, None] * time_s)
    np.testing.assert_allclose(batch.targets[:, :80, 0], expected, atol=1e-6)
    silent = SineGeneration().performance(np.zeros_like(batch.targets), batch)
    np.testing.assert_allclose(silent.trials["relative_error"], 1.0, rtol=1e-12)
    assert silent.fraction == 0.0


def test_a_sequence_lights_the_dot_looked_at_and_the_two_that_may_follow():
    task, batch = quiet("sequence")
    trial = int(np.flatnonzero(batch.table["sequence"] == 0)[0])
    # The first sequence goes from the centre to the dots 5, 1 and 0; a pause and fixation of 50 steps, then 25 each.
    lit = [np.flatnonzero(batch.inputs[trial, step, :9]).tolist() for step in (10, 60, 110, 135, 160)]
    assert lit == [[], [4], [3, 4, 5], [1, 5, 7], [0, 1, 2]]
    assert (batch.inputs[trial, :, 9] == 1.0).all()
    gaze = batch.targets[trial, [60, 110, 135, 160]]
    np.testing.assert_array_equal(gaze, [[0.0, 0.0], [0.5, 0.0], [0.0, 0.5], [-0.5, 0.5]])
    assert set(np.unique(batch.inputs)) == {0.0, 1.0}
    np.testing.assert_array_equal(batch.mask[trial], [0.0] * 50 + [1.0] * 125)
    outputs = batch.targets.copy()
    outputs[trial, 149] = [0.0, -0.5]
    found = task.performance(outputs, batch)
    assert found.correct[trial] == 0.0
    assert found.trials["n_right_movements"][trial] == 2
    assert np.delete(found.correct, trial).all()


def test_the_ramp_reaches_one_after_the_interval_has_passed_again():
    task = IntervalTiming(noise_sd=0.0, dt_s=0.01)
    batch = task.trials(44, seed=SEED, mode="test")
    found = task.performance(batch.targets, batch)
    np.testing.assert_allclose(found.trials["produced_s"], found.trials["interval_s"], rtol=1e-12)
    onsets = [np.argmax(batch.inputs[:, :, channel] > 0.0, axis=1) for channel in (0, 1)]
    np.testing.assert_allclose((onsets[1] - onsets[0]) * 0.01, batch.table["interval_s"], rtol=1e-12)
    # Sampled intervals are rounded to the step, and come from 494 to 847 ms.
    assert sorted(set(np.round(batch.table["interval_s"], 9)))[::10] == [0.49, 0.85]


def test_a_production_that_is_late_by_more_than_the_tolerance_is_wrong():
    task = IntervalTiming(noise_sd=0.0, dt_s=0.01, interval_s=(0.6,), wait_s=0.1)
    batch = task.trials(3, seed=SEED, mode="test")
    outputs = np.zeros_like(batch.targets)
    for trial, at_s in enumerate((0.68, 0.7, 0.05)):
        outputs[trial, 70 + round(at_s / 0.01) - 1 :] = 1.0
    found = task.performance(outputs, batch)
    np.testing.assert_allclose(found.trials["produced_s"], [0.68, 0.7, 0.05], rtol=1e-12)
    np.testing.assert_array_equal(found.correct, [1.0, 0.0, 0.0])
    assert np.isnan(task.performance(np.zeros_like(outputs), batch).trials["produced_s"]).all()


def test_copying_asks_for_the_list_after_the_signal():
    task = CopyMemory(n_symbols=3, n_items=2, n_delay=4)
    batch = task.trials(20, seed=SEED)
    shown = np.argmax(batch.inputs, axis=2)
    assert (batch.inputs.sum(axis=2) == 1.0).all()
    items = shown[:, :2]
    assert set(np.unique(items)) == {0, 1, 2}
    np.testing.assert_array_equal(shown[:, 2:], [[3, 3, 3, 4, 3, 3]] * 20)
    np.testing.assert_array_equal(batch.labels[:, :6], 3)
    np.testing.assert_array_equal(batch.labels[:, 6:], items)


def test_without_memory_copying_costs_the_published_baseline():
    task = CopyMemory(n_delay=100)
    batch = task.trials(50, seed=SEED)
    outputs = np.full((50, 120, 9), -50.0)
    outputs[:, :110, 8] = 50.0
    outputs[:, 110:, :8] = 0.0
    # The blank for certain, then eight equally likely symbols: 10 ln 8 / 120.
    assert task.performance(outputs, batch).error == pytest.approx(10.0 * np.log(8.0) / 120.0, rel=1e-9)
    assert task.baseline_error == pytest.approx(10.0 * np.log(8.0) / 120.0, rel=1e-12)


def test_adding_marks_a_number_in_each_half_and_asks_for_their_sum_at_the_end():
    task = Adding(n_values=9, n_delay=3)
    batch = task.trials(500, seed=SEED)
    marks = batch.inputs[:, :, 1]
    np.testing.assert_array_equal(marks[:, :4].sum(axis=1), 1.0)
    np.testing.assert_array_equal(marks[:, 4:9].sum(axis=1), 1.0)
    np.testing.assert_allclose((batch.inputs[:, :, 0] * marks).sum(axis=1), batch.targets[:, -1, 0], rtol=1e-6)
    assert (batch.inputs[:, 9:] == 0.0).all()
    np.testing.assert_array_equal(batch.mask[0], [0.0] * 11 + [1.0])
    ones = np.ones_like(batch.targets)
    # The variance of a sum of two uniform numbers, with the sampling error of 500 squares.
    assert task.performance(ones, batch).error == pytest.approx(1.0 / 6.0, abs=4.0 * 0.17 / np.sqrt(500))


def test_the_first_symbol_is_asked_for_at_the_other_end():
    forward, mirrored = FirstSymbol(n_length=6), FirstSymbol(n_length=6, is_mirrored=True)
    there, back = forward.trials(30, seed=SEED), mirrored.trials(30, seed=SEED)
    np.testing.assert_array_equal(there.inputs, back.inputs[:, ::-1])
    np.testing.assert_array_equal(np.argmax(there.inputs[:, 0], axis=1), there.table["symbol"])
    np.testing.assert_array_equal(there.mask[0], [0.0] * 5 + [1.0])
    np.testing.assert_array_equal(back.mask[0], [1.0] + [0.0] * 5)
    # What stands at the step of the question tells nothing of the answer where the string runs backwards.
    shown = np.argmax(mirrored.trials(4000, seed=SEED).inputs[:, 0], axis=1)
    agree = (shown == mirrored.trials(4000, seed=SEED).table["symbol"]).mean()
    assert agree == pytest.approx(0.25, abs=4.0 * np.sqrt(0.1875 / 4000))  # binomial error


def test_sequences_come_in_turn():
    assert SequenceGeneration().trials(8, seed=SEED, mode="test").table["sequence"].tolist() == list(range(8))
