"""Every task keeps the contract: shapes, masks, determinism, perfect answers and chance.

Oracle: the contract of `Batch`, and binomial error around the chance level that a task declares. A new task is tested
by standing in `task_names`.
"""

from __future__ import annotations

import dataclasses

import numpy as np
import pandas as pd
import pytest

from cortexrnn.errors import NumericalError, OptionError
from cortexrnn.training.losses import CROSS_ENTROPY, MSE
from cortexrnn.training.tasks import (
    FlipFlop,
    RandomDots,
    Trial,
    Uniform,
    from_function,
    load_task,
    task_names,
)
from cortexrnn.training.tasks.contract import Draws

# Lists so short that chance can be seen.
EASY = {
    "flip_flop": {"n_bits": 1, "n_slots": 2},
    "copy_memory": {"n_symbols": 2, "n_items": 2, "n_delay": 3},
    "adding": {"n_values": 6, "n_delay": 2},
}
SEED = 20


@pytest.fixture(params=task_names())
def task(request):
    """Every task in turn."""
    return load_task(request.param)


def perfect(batch, n_outputs):
    """Answer what is asked."""
    if batch.loss == MSE:
        return batch.targets
    return 20.0 * (batch.labels[:, :, None] == np.arange(n_outputs))


def guess(name, batch, n_outputs):
    """Answer without a look at the trial, in the form that the task declares its chance level for."""
    outputs = np.random.default_rng(5).standard_normal((*batch.mask.shape, n_outputs))
    if name in ("pro_anti", "delayed_estimation"):
        outputs[:, :, 0] = 0.0
    if name == "adding":
        outputs[:] = 1.0
    return outputs


def test_batches_have_the_shapes_and_types_of_the_contract(task):
    batch = task.trials(5, seed=SEED)
    assert batch.inputs.shape == (5, task.n_steps, task.n_inputs)
    assert batch.mask.shape == (5, task.n_steps)
    assert batch.length.shape == (5,)
    assert (batch.inputs.dtype, batch.mask.dtype, batch.length.dtype) == (np.float32, np.float32, np.int64)
    assert len(batch.table) == 5
    assert (task.n_inputs, task.n_outputs) == (len(task.input_names), len(task.output_names))
    if batch.loss == MSE:
        assert batch.targets.shape == (5, task.n_steps, task.n_outputs)
        assert batch.targets.dtype == np.float32
        assert batch.labels is None
    else:
        assert batch.labels.shape == (5, task.n_steps)
        assert batch.labels.dtype == np.int64
        assert set(np.unique(batch.labels)) <= set(range(task.n_outputs))
        assert batch.targets is None


@pytest.mark.parametrize("mode", ["train", "test"])
def test_nothing_is_shown_or_asked_past_a_trials_end(task, mode):
    batch = task.trials(40, seed=SEED, mode=mode)
    assert (batch.length >= 1).all()
    assert (batch.length <= task.n_steps).all()
    past = np.arange(task.n_steps) >= batch.length[:, None]
    assert (batch.inputs[past] == 0.0).all()
    assert (batch.mask[past] == 0.0).all()
    assert (batch.mask >= 0.0).all()
    assert (batch.mask.sum(axis=1) > 0.0).all()


def test_the_longest_of_many_trials_is_as_long_as_the_task_says_or_a_step_less(task):
    longest = task.trials(300, seed=SEED).length.max()
    # The longest of 300 uniform durations over a range of 50 steps misses the last step with probability 0.2 %.
    assert task.n_steps - 2 <= longest <= task.n_steps


def test_the_same_seed_gives_the_same_bits(task):
    first, second = task.trials(8, seed=SEED), task.trials(8, seed=SEED)
    for one, other in zip(first, second, strict=True):
        if isinstance(one, pd.DataFrame):
            pd.testing.assert_frame_equal(one, other)
        elif isinstance(one, np.ndarray):
            np.testing.assert_array_equal(one, other)


@pytest.mark.parametrize("mode", ["train", "test"])
def test_a_trial_does_not_depend_on_how_many_are_drawn_beside_it(task, mode):
    whole = task.trials(9, seed=SEED, mode=mode)
    part = task.trials(3, seed=SEED, mode=mode, first=4)
    np.testing.assert_array_equal(part.inputs, whole.inputs[4:7])
    np.testing.assert_array_equal(part.mask, whole.mask[4:7])
    np.testing.assert_array_equal(part.length, whole.length[4:7])
    asked = "targets" if part.loss == MSE else "labels"
    np.testing.assert_array_equal(getattr(part, asked), getattr(whole, asked)[4:7])
    pd.testing.assert_frame_equal(part.table, whole.table.iloc[4:7], check_index_type=False)


def test_other_seeds_and_modes_give_other_trials(task):
    inputs = [
        task.trials(20, seed=seed, mode=mode).inputs for seed, mode in ((1, "train"), (2, "train"), (1, "test"))
    ]
    noiseless = [load_noise_free(task).trials(20, seed=seed).inputs for seed in (1, 2)]
    assert not np.array_equal(inputs[0], inputs[1])
    assert not np.array_equal(inputs[0], inputs[2])
    assert not np.array_equal(*noiseless)


def load_noise_free(task):
    """The same task without input noise."""
    return dataclasses.replace(task, noise_sd=0.0)


@pytest.mark.parametrize("mode", ["train", "test"])
def test_a_perfect_answer_is_always_right_and_costs_nothing(task, mode):
    batch = task.trials(200, seed=SEED, mode=mode)
    found = task.performance(perfect(batch, task.n_outputs), batch)
    assert found.fraction == 1.0
    # A label answered with 20 to 0 leaves a probability of exp(-20) to each of at most 9 others.
    assert found.error <= (0.0 if batch.loss == MSE else 2e-8)
    assert set(np.unique(found.correct[~np.isnan(found.correct)])) == {1.0}


@pytest.mark.parametrize("name", task_names())
def test_an_answer_that_knows_nothing_is_at_chance(name):
    task = load_task(name, **EASY.get(name, {}))
    batch = task.trials(2000, seed=SEED, mode="test")
    found = task.performance(guess(name, batch, task.n_outputs), batch)
    # Four standard errors of a binomial; noise reaches one at a random moment that is right in a few percent.
    slack = 4.0 * np.sqrt(max(task.chance * (1.0 - task.chance), 1e-4) / 2000)
    assert found.fraction == pytest.approx(task.chance, abs=0.03 if name == "interval_timing" else slack)


def test_conditions_and_durations_do_not_depend_on_the_time_step():
    coarse = load_task("random_dots_variable").trials(30, seed=SEED).table
    fine = load_task("random_dots_variable", dt_s=0.005).trials(30, seed=SEED).table
    pd.testing.assert_frame_equal(coarse[["signed_coherence", "is_catch"]], fine[["signed_coherence", "is_catch"]])
    # Each is rounded to its own step.
    np.testing.assert_allclose(coarse["decision_start_s"], fine["decision_start_s"], atol=0.5 * 0.025)


@pytest.mark.parametrize("dt_s", [0.05, 0.02, 0.005, 0.001])
def test_input_noise_moves_a_leaky_unit_as_much_at_every_time_step(dt_s):
    task = RandomDots(dt_s=dt_s, noise_sd=0.3, noise_tau_s=0.1)
    keep = np.exp(-dt_s / 0.1)
    # Closed form: x <- k x + (1 - k) u with independent u has variance (1 - k)^2 var(u) / (1 - k^2).
    variance = (1.0 - keep) ** 2 * task.step_noise_sd**2 / (1.0 - keep**2)
    assert variance == pytest.approx(0.3**2, rel=1e-12)  # round-off


def test_input_noise_has_the_declared_size_and_is_independent():
    quiet, loud = RandomDots(noise_sd=0.0), RandomDots(noise_sd=0.1)
    noise = loud.trials(200, seed=SEED).inputs - quiet.trials(200, seed=SEED).inputs
    # 200 x 60 x 2 values: the standard deviation has a relative error of 1 / sqrt(48000) = 0.5 %.
    assert noise.std() == pytest.approx(loud.step_noise_sd, rel=0.02)
    assert abs(noise.mean()) < 4.0 * loud.step_noise_sd / np.sqrt(noise.size)
    pairs = {"time": (noise[:, 1:], noise[:, :-1]), "input": (noise[:, :, 0], noise[:, :, 1])}
    for name, (one, other) in pairs.items():
        correlation = np.corrcoef(one.ravel(), other.ravel())[0, 1]
        assert abs(correlation) < 4.0 / np.sqrt(one.size), name


def test_a_published_choice_of_noise_is_nearly_that_of_the_sources():
    # coth(x) = 1 / x + x / 3 - ..., at x = dt / (2 tau) = 0.1: the root is 0.17 % larger than that of 1 / x.
    assert RandomDots().step_noise_sd == pytest.approx(0.01 * np.sqrt(2.0 * 0.1 / 0.02), rel=0.002)


def test_a_test_runs_through_all_conditions_equally_often_without_catch_trials():
    task = load_task("context_decision")
    table = task.trials(3 * task.n_conditions, seed=SEED, mode="test").table
    counts = table.groupby(list(task.condition_columns)).size()
    assert task.n_conditions == 72
    assert (counts == 3).all()
    assert len(counts) == 72
    assert not table["is_catch"].any()


def test_training_has_the_declared_share_of_catch_trials():
    table = RandomDots(catch_fraction=0.3).trials(3000, seed=SEED).table
    assert table["is_catch"].mean() == pytest.approx(0.3, abs=4.0 * np.sqrt(0.21 / 3000))  # binomial error


def test_draws_choose_every_level_in_training_and_take_turns_in_a_test():
    uniform = np.array([[0.0, 0.999], [0.5, 0.0]])
    train = Draws(uniform, np.array([0, 1]), "train", 0).choose((2, 3))
    test = Draws(uniform, np.array([4, 5]), "test", 0).choose((2, 3))
    np.testing.assert_array_equal(train, [[0, 1], [2, 0]])
    np.testing.assert_array_equal(test, [[1, 1], [1, 2]])


def test_an_error_is_the_mean_over_what_the_mask_counts():
    task = FlipFlop(n_bits=1, n_slots=1)
    batch = task.trials(2, seed=SEED)
    outputs = batch.targets.copy()
    outputs[batch.mask == 0.0] = 1e6
    outputs[1] += 0.5 * (batch.mask[1] > 0.0)[:, None]
    # Half of the steps that count are wrong by 0.5: a mean square of 0.125.
    assert task.performance(outputs, batch).error == pytest.approx(0.125, rel=1e-12)


def test_a_cross_entropy_of_equal_outputs_is_the_logarithm_of_their_number():
    task = load_task("delayed_match")
    batch = task.trials(4, seed=SEED)
    outputs = np.full((*batch.mask.shape, 3), 700.0)
    assert task.performance(outputs, batch).error == pytest.approx(np.log(3.0), rel=1e-12)


def test_outputs_past_a_trials_end_are_not_looked_at():
    task = load_task("random_dots_variable")
    batch = task.trials(30, seed=SEED, mode="test")
    outputs = batch.targets.copy()
    past = np.arange(task.n_steps) >= batch.length[:, None]
    assert past.any()
    outputs[past] = np.nan
    found = task.performance(outputs, batch)
    assert (found.fraction, found.error) == (1.0, 0.0)


def test_an_output_that_is_not_finite_is_refused_with_its_place():
    task = RandomDots()
    batch = task.trials(2, seed=SEED, mode="test")
    outputs = batch.targets.copy()
    outputs[1, 7, 0] = np.inf
    with pytest.raises(NumericalError, match="inf at trial 1, step 7, output 0"):
        task.performance(outputs, batch)


def test_outputs_of_another_shape_are_refused():
    task = RandomDots()
    batch = task.trials(2, seed=SEED)
    with pytest.raises(OptionError, match=r"outputs has shape \(2, 60\); expected \(2, 60, 2\)"):
        task.performance(np.zeros((2, 60)), batch)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"n": 0, "seed": 1}, "n=0 is not valid"),
        ({"n": 1, "seed": -1}, "seed=-1 is not valid"),
        ({"n": 1, "seed": 1, "first": -2}, "first=-2 is not valid"),
        ({"n": 1, "seed": 1, "mode": "validate"}, "mode='validate' is unknown; expected one of train, test"),
    ],
)
def test_arguments_of_trials_are_checked(arguments, message):
    with pytest.raises(OptionError, match=message):
        RandomDots().trials(**arguments)


def test_the_worst_condition_is_the_lowest_mean():
    task = load_task("parametric_memory", delay_s=0.1)
    batch = task.trials(20, seed=SEED, mode="test")
    outputs = batch.targets.copy()
    wrong = (batch.table["first_hz"] == 10.0).to_numpy() & (np.arange(20) < 10)
    outputs[wrong] = 1.2 - outputs[wrong]
    found = task.performance(outputs, batch)
    assert found.fraction == pytest.approx(0.95, rel=1e-12)
    assert found.worst(task.condition_columns) == 0.5


def test_a_task_is_found_by_its_name_and_takes_changes():
    assert load_task("delayed_match", delay_s=2.0).delay_s == 2.0
    assert set(task_names()) >= {"random_dots", "flip_flop", "copy_memory"}
    with pytest.raises(OptionError, match="task='chess' is unknown; expected one of random_dots"):
        load_task("chess")
    with pytest.raises(OptionError, match=r"RandomDots has no field 'coherences'; it has dt_s"):
        load_task("random_dots", coherences=(0.1,))


@pytest.mark.parametrize(
    ("name", "changes", "message"),
    [
        ("random_dots", {"dt_s": 0.0}, "dt_s=0.0 is not a positive finite number"),
        ("random_dots", {"noise_sd": -1.0}, "noise_sd=-1.0 is not valid"),
        ("random_dots", {"coherence": (1.2,)}, "coherence=.* expected numbers from 0 to 1"),
        ("random_dots", {"stimulus_s": "long"}, "stimulus_s='long' is no duration"),
        ("random_dots", {"high": 0.1}, "high=0.1 is not above low=0.2"),
        ("random_dots", {"catch_fraction": 1.0}, "catch_fraction=1.0 is not valid"),
        ("random_dots_reaction", {"patience_s": 1.5}, "patience_s=1.5 leaves no time in stimulus_s=1.0"),
        ("random_dots_reaction", {"threshold": 2.0}, "threshold=2.0 is not between"),
        ("multisensory", {"boundary_hz": 30.0}, "does not lie on both sides of 30.0 Hz"),
        ("parametric_memory", {"pairs_hz": ((10.0, 18.0),)}, "the higher frequency first"),
        ("delayed_match", {"rotation_deg": 30.0}, "leads between the 8 directions; expected a multiple of 45"),
        ("delayed_match", {"grace_s": 0.5}, "grace_s=0.5 leaves nothing of test_s=0.5"),
        ("delayed_match_category", {"n_directions": 5}, "does not divide into two categories"),
        ("delayed_match_category", {"rotation_deg": 90.0}, "has no meaning for categories"),
        ("go_nogo", {"go_above": 0.2}, "are not in order in 0 to 1"),
        ("delayed_estimation", {"tolerance_rad": 4.0}, "is not between 0 and pi"),
        ("delayed_estimation", {"grace_s": 0.5}, "grace_s=0.5 leaves nothing of response_s=0.5"),
        ("flip_flop", {"pulse_s": 0.3}, "leaves no step of slot_s=0.3"),
        ("flip_flop", {"pulse_probability": 0.0}, "pulse_probability=0.0 is not valid"),
        ("sine", {"frequency_hz": (20.0,)}, "expected frequencies up to 12.5 Hz"),
        ("interval_timing", {"interval_s": (0.01,)}, "expected longer than 0.05 s"),
        ("interval_timing", {"tolerance": 0.0}, "tolerance=0.0 is not valid"),
        ("copy_memory", {"n_symbols": 1}, "n_symbols=1 is not valid"),
    ],
)
def test_settings_that_make_no_task_are_refused(name, changes, message):
    with pytest.raises(OptionError, match=message):
        load_task(name, **changes)


def hold(rng, mode):
    """Hold the side of a pulse; trials of different lengths."""
    side, n_steps = rng.choice([-1.0, 1.0]), int(rng.integers(20, 31))
    inputs, targets = np.zeros((n_steps, 1)), np.zeros((n_steps, 1))
    inputs[2:5] = side
    targets[5:] = side
    return Trial(inputs=inputs, targets=targets, conditions={"side": side, "mode": mode})


def test_a_function_of_ten_lines_is_a_task():
    task = from_function(hold, name="hold", n_steps=30)
    batch = task.trials(50, seed=SEED)
    assert batch.inputs.shape == (50, 30, 1)
    assert batch.loss == MSE
    assert set(batch.table["mode"]) == {"train"}
    assert len(np.unique(batch.length)) > 5
    np.testing.assert_array_equal(batch.targets[np.arange(50), batch.last, 0], batch.table["side"])
    assert task.performance(batch.targets, batch).fraction == 1.0
    assert task.performance(-batch.targets, batch).fraction == 0.0


def test_a_function_gets_a_generator_of_its_own_for_every_trial():
    task = from_function(hold, name="hold", n_steps=30, noise_sd=0.1)
    whole, part = task.trials(9, seed=SEED), task.trials(3, seed=SEED, first=4)
    np.testing.assert_array_equal(part.inputs, whole.inputs[4:7])
    assert not np.array_equal(task.trials(9, seed=SEED, mode="test").length, whole.length)


def test_a_function_may_give_labels_and_bring_its_judge():
    def name_it(rng, mode):
        symbol = int(rng.integers(3))
        inputs = np.zeros((4, 3))
        inputs[0, symbol] = 1.0
        return Trial(inputs, labels=np.full(4, symbol), mask=np.array([0.0, 0.0, 1.0, 0.0]), n_outputs=3)

    plain = from_function(name_it, name="name it", n_steps=4)
    batch = plain.trials(30, seed=SEED)
    assert batch.loss == CROSS_ENTROPY
    outputs = np.zeros((30, 4, 3))
    outputs[np.arange(30), 2, batch.labels[:, 2]] = 1.0
    assert plain.performance(outputs, batch).fraction == 1.0
    judged = from_function(
        name_it, name="name it", n_steps=4, judge=lambda out, trial: out[0, trial.labels[0]] > 0.0
    )
    assert judged.performance(outputs, batch).fraction == 0.0
    assert judged.performance(np.ones_like(outputs), batch).fraction == 1.0


@pytest.mark.parametrize(
    ("made", "message"),
    [
        (lambda: np.zeros(3), "the function gave a ndarray; expected a Trial"),
        (lambda: Trial(np.zeros((5, 1))), "needs either targets or labels"),
        (lambda: Trial(np.zeros((5, 1)), targets=np.zeros((4, 1))), r"targets of a trial has shape \(4, 1\)"),
        (lambda: Trial(np.zeros((50, 1)), targets=np.zeros((50, 1))), "at most n_steps=10"),
        (lambda: Trial(np.zeros((5, 1)), targets=np.zeros((5, 1)), mask=np.zeros(4)), "mask of a trial"),
        (lambda: Trial(np.zeros((5, 1)), labels=np.zeros(5, int)), "n_outputs=0 is not valid"),
    ],
)
def test_a_function_that_makes_no_trial_is_refused(made, message):
    with pytest.raises(OptionError, match=message):
        from_function(lambda rng, mode: made(), name="broken", n_steps=10)


def test_what_is_no_function_is_refused():
    with pytest.raises(OptionError, match="cannot be called"):
        from_function(3, name="three", n_steps=10)


def test_variable_durations_cover_their_range():
    task = RandomDots(stimulus_s=Uniform(0.2, 0.6), fixation_s=0.1)
    table = task.trials(500, seed=SEED).table
    duration_s = table["decision_start_s"] - table["stimulus_start_s"]
    assert duration_s.min() == pytest.approx(0.2, abs=0.011)
    assert duration_s.max() == pytest.approx(0.6, abs=0.011)
    # The mean of 500 uniform numbers over 0.4 s has a standard error of 5 ms.
    assert duration_s.mean() == pytest.approx(0.4, abs=0.02)
