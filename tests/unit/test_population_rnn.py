"""M7, the network that sees other units. Oracles: principal components written out, the twin of the chain, the bits."""

from __future__ import annotations

import runpy
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from cortexrnn.encoding import rnn_kernels
from cortexrnn.encoding.arrays import Neighbours, UnitTrials
from cortexrnn.encoding.constant import Constant
from cortexrnn.encoding.likelihood import trial_log_likelihood
from cortexrnn.encoding.population_inputs import find_axes, population_inputs
from cortexrnn.encoding.population_rnn import PopulationRNN
from cortexrnn.encoding.rnn import RNN
from cortexrnn.encoding.rnn_kernels import as_network
from cortexrnn.encoding.simulation import simulate_copies
from cortexrnn.encoding.stepping import ReplayStepper
from cortexrnn.errors import DataError, OptionError
from cortexrnn.evaluation.scores import gain_interval
from cortexrnn.spikes.folds import validation_split

TWIN = runpy.run_path(str(Path(__file__).parents[1] / "reference" / "gru_twin.py"))
QUICK = PopulationRNN(baseline=Constant(), n_population=3, max_epochs=3, piece_s=0.05)


def shared(n_trials, n_bins, n_others, *, seed, depth=1.5):
    """A unit and its neighbours whose rates follow one slow common signal, unlike in every trial."""
    rng = np.random.default_rng(seed)
    noise = rng.standard_normal((n_trials, n_bins))
    signal = np.zeros_like(noise)
    for t in range(1, n_bins):
        signal[:, t] = 0.98 * signal[:, t - 1] + 0.2 * noise[:, t]
    part = np.linspace(0.4, 1.0, n_others + 1)[::-1]
    rate = 0.03 * np.exp(depth * part * signal[:, :, None] - 0.5 * (depth * part) ** 2)
    return rng.poisson(rate).astype(np.uint16)


def as_unit(counts, *, observed=None, n_burn_in=0):
    """Trials of the first unit of a population."""
    own = counts[:, :, 0]
    observed = np.ones(own.shape, bool) if observed is None else observed
    scored = observed.copy()
    scored[:, :n_burn_in] = False
    n = len(own)
    return UnitTrials(
        np.where(observed, own, 0).astype(np.uint16), observed, scored, np.zeros(n, np.int64), 2.0 * np.arange(n), 1e-3,
        True, neighbours=Neighbours(np.ascontiguousarray(counts), 0),
    )  # fmt: skip


@pytest.fixture(scope="module")
def unit():
    """Twenty trials of a unit with four neighbours, with gaps."""
    observed = np.repeat(np.random.default_rng(1).random((20, 20)) < 0.95, 10, axis=1)
    return as_unit(shared(20, 200, 4, seed=2), observed=observed, n_burn_in=20)


@pytest.fixture(scope="module")
def fitted(unit):
    """A network that was trained for three epochs, and says something."""
    found = QUICK.fit(unit)
    assert np.abs(found.log_mu(unit) - found.below.log_mu(unit)).max() > 0.05
    return found


def written_out(unit, decay):
    """Give the traces of all neighbours bin by bin, over the roots of their means, (n_trials, n_bins, n_neighbours)."""
    counts = unit.neighbours.counts[:, :, 1:].astype(float)
    mean = (counts.sum(axis=(0, 1)) + 0.5) / (counts.shape[0] * counts.shape[1])
    traces = np.zeros_like(counts)
    for t in range(1, counts.shape[1]):
        traces[:, t] = decay * traces[:, t - 1] + (counts[:, t - 1] - mean) / np.sqrt(mean)
    return traces


def test_inputs_are_the_principal_components_of_the_traces_written_out(unit):
    axes = find_axes(unit, 3, 0.02)
    inputs = population_inputs(unit, axes)
    traces = written_out(unit, np.exp(-1e-3 / 0.02))
    rows = traces[unit.scored] - traces[unit.scored].mean(axis=0)
    _, sizes, directions = np.linalg.svd(rows, full_matrices=False)
    centred = traces - traces[unit.scored].mean(axis=0)
    for k in range(3):
        direction = directions[k] * np.sign(directions[k][np.abs(directions[k]).argmax()])
        expected = centred @ direction / (sizes[k] / np.sqrt(len(rows)))
        # Round-off of a recursion of 200 steps and of an eigenvalue problem of size 4.
        np.testing.assert_allclose(inputs[:, :, k], expected, atol=1e-9)


def test_inputs_are_standardised_and_uncorrelated_on_the_training_trials(unit):
    inputs = population_inputs(unit, find_axes(unit, 8, 0.02))[unit.scored]
    assert inputs.shape[1] == 4
    np.testing.assert_allclose(inputs.mean(axis=0), 0.0, atol=1e-10)
    np.testing.assert_allclose(np.cov(inputs.T, bias=True), np.eye(4), atol=1e-9)


def test_the_first_direction_is_the_shared_one_and_not_the_fastest_unit():
    counts = shared(60, 500, 5, seed=3)
    counts[:, :, 5] = np.random.default_rng(4).poisson(0.3, counts.shape[:2])
    axes = find_axes(as_unit(counts), 1, 0.02)
    part = np.abs(axes.axes[:, 0] * np.sqrt(axes.mean))
    # The last neighbour fires ten times as much and follows nobody.
    assert part[:4].min() > 3.0 * part[4]


def test_directions_are_measured_on_the_trials_of_the_training_alone(unit, fitted):
    """Oracle: the axes of four fifths of the trials; the validation fifth has no part in them."""
    expected = find_axes(unit.take(~validation_split(unit.condition)), 3, 0.02)
    for found, value in zip(fitted.scale.population, expected, strict=True):
        np.testing.assert_array_equal(found, value)


def test_prediction_equals_the_twin_of_the_whole_chain(unit, fitted):
    """Oracle: the slow GRU on M6's inputs with those of the population behind them."""
    spec, scale = fitted.spec, fitted.scale
    below = fitted.below.log_mu(unit)
    gain = fitted.extend(unit, below) - below
    network = as_network(fitted.weights.astype(float), scale.n_inputs, spec.n_hidden)
    population = population_inputs(unit, scale.population)
    for i in (0, 17):
        known = np.where(unit.observed[i], unit.counts[i], scale.mean_count)
        inputs = TWIN["network_inputs"](known, below[i], spec.trace_s, 1e-3, scale.mean_count)
        inputs = np.concatenate([(inputs - scale.mean) / scale.spread, population[i]], axis=1)
        states = TWIN["run_gru"](inputs, *network.gru)
        eta = states @ network.readout + inputs @ network.skip + network.offset[0]
        # Single precision over 200 steps of a contracting map.
        np.testing.assert_allclose(gain[i], 8.0 * np.tanh(eta / 8.0), rtol=0, atol=2e-5)


@pytest.mark.parametrize("source", ["own", "neighbour"])
def test_a_spike_changes_no_bit_up_to_its_own_bin_and_the_next_one_after(source, unit, fitted):
    before = fitted.log_mu(unit)
    if source == "own":
        counts = unit.counts.copy()
        counts[4, 77] += 1
        after = fitted.log_mu(unit._replace(counts=counts))
    else:
        counts = unit.neighbours.counts.copy()
        counts[4, 77, 2] += 1
        after = fitted.log_mu(unit._replace(neighbours=Neighbours(counts, 0)))
    np.testing.assert_array_equal(after[4, :78], before[4, :78])
    assert after[4, 78] != before[4, 78]
    elsewhere = np.arange(20) != 4
    np.testing.assert_array_equal(after[elsewhere], before[elsewhere])


def test_a_trial_keeps_its_bits_whatever_trials_stand_beside_it(unit, fitted):
    some = np.array([18, 3, 11])
    np.testing.assert_array_equal(fitted.log_mu(unit.take(some)), fitted.log_mu(unit)[some])


def test_the_unit_itself_is_no_neighbour(unit, fitted):
    """Oracle: the same neighbours without a column of the unit's own."""
    nonsense = unit.neighbours.counts.copy()
    nonsense[:, :, 0] = 7
    bare = np.ascontiguousarray(nonsense[:, :, 1:])
    for neighbours in (Neighbours(nonsense, 0), Neighbours(bare, -1)):
        other = unit._replace(neighbours=neighbours)
        np.testing.assert_array_equal(QUICK.fit(other).log_mu(other), fitted.log_mu(unit))


def test_steps_say_of_given_spikes_what_log_mu_says(unit, fitted):
    below, stepper = fitted.below.log_mu(unit), fitted.stepper(unit)
    found = np.empty(unit.counts.shape)
    for t in range(found.shape[1]):
        found[:, t] = stepper.predict(t, np.ascontiguousarray(below[:, t]))
        stepper.update(t, unit.counts[:, t])
    # Sums in single precision.
    np.testing.assert_allclose(found[unit.scored], fitted.log_mu(unit)[unit.scored], atol=1e-6)


def test_free_running_is_that_of_the_replayed_network(unit, fitted):
    """Oracle: predicting all bins anew in every bin. Neighbours keep their spikes, the unit makes its own."""
    few = unit.take(np.arange(3))
    slow = type("Slow", (type(fitted),), {"stepper": lambda self, trials: ReplayStepper(self, trials)})
    replayed = slow(**{name: getattr(fitted, name) for name in type(fitted).__dataclass_fields__})
    counts = simulate_copies(fitted, few, n_copies=2, seed=5).counts
    np.testing.assert_array_equal(simulate_copies(replayed, few, n_copies=2, seed=5).counts, counts)
    assert counts.sum() > 0


def test_without_the_units_own_spikes_the_population_is_still_seen(unit):
    cut = replace(QUICK, uses_own_spikes=False).fit(unit)
    silent = unit._replace(counts=np.zeros_like(unit.counts))
    np.testing.assert_array_equal(cut.log_mu(silent), cut.log_mu(unit))
    moved = unit._replace(neighbours=Neighbours(np.ascontiguousarray(unit.neighbours.counts[::-1]), 0))
    assert not np.array_equal(cut.log_mu(moved), cut.log_mu(unit))


def test_the_system_of_a_network_stands_where_its_neighbours_fire_at_their_means(unit, fitted):
    """Oracle: the network's own map at inputs of the population of 0."""
    system = fitted.system(baseline_hz=30.0, rate_hz=20.0)
    decay = np.exp(-1e-3 / np.asarray(fitted.spec.trace_s))
    raw = np.r_[0.02, 0.02 / (1.0 - decay), np.log(0.03)]
    inputs = np.r_[(raw - fitted.scale.mean) / fitted.scale.spread, np.zeros(3)]
    network = as_network(fitted.weights.astype(float), inputs.size, fitted.spec.n_hidden)
    states = TWIN["run_gru"](np.tile(inputs, (50, 1)), *network.gru)
    found = system.trajectory(network.gru.start[None], 50)[1:, 0]
    np.testing.assert_allclose(found, states, atol=2e-6)


def test_the_seed_alone_decides_the_bits(unit, fitted):
    np.testing.assert_array_equal(QUICK.fit(unit).weights, fitted.weights)
    assert not np.array_equal(replace(QUICK, seed=1).fit(unit).weights, fitted.weights)


def test_the_rung_is_compared_and_never_chosen():
    spec = PopulationRNN()
    assert (spec.name, spec.sees_history, spec.is_candidate, spec.needs_neighbours) == ("M7", True, False, True)
    assert (spec.n_population, spec.population_s) == (8, 0.02)
    assert replace(spec, uses_own_spikes=False).name == "M7cut"
    assert RNN().is_candidate
    assert not RNN().needs_neighbours


def test_silent_neighbours_are_inputs_of_nothing(unit):
    silent = unit._replace(neighbours=Neighbours(np.zeros_like(unit.neighbours.counts), 0))
    found = QUICK.fit(silent)
    assert np.isfinite(found.log_mu(silent)).all()
    assert np.abs(population_inputs(silent, found.scale.population)[silent.scored]).max() < 10.0


def test_what_cannot_be_fitted_or_predicted_is_refused(unit, fitted):
    with pytest.raises(DataError, match="no spikes of other units"):
        QUICK.fit(unit._replace(neighbours=None))
    fewer = unit._replace(neighbours=Neighbours(np.ascontiguousarray(unit.neighbours.counts[:, :, :2]), 0))
    with pytest.raises(DataError, match=r"neighbours at \[1\]; expected those of the training at \[1, 2, 3, 4\]"):
        fitted.log_mu(fewer)
    for wrong in ({"n_population": 0}, {"population_s": -1.0}, {"n_hidden": 0}):
        with pytest.raises(OptionError, match=next(iter(wrong))):
            PopulationRNN(**wrong)


def test_kernels_have_one_specialisation(unit, fitted):
    fitted.log_mu(unit)
    for kernel in (rnn_kernels.train_epoch, rnn_kernels.predict_tile, rnn_kernels.exponential_traces):
        assert len(kernel.signatures) == 1


@pytest.mark.slow
def test_a_signal_that_all_units_share_is_worth_a_step_over_m6():
    unit = as_unit(shared(120, 1000, 12, seed=7, depth=0.6), n_burn_in=100)
    train, test = unit.take(np.arange(90)), unit.take(np.arange(90, 120))
    m6, m7 = (
        trial_log_likelihood(test, spec(baseline=Constant()).fit(train).log_mu(test)) for spec in (RNN, PopulationRNN)
    )
    gain = gain_interval(m7, m6, test.spikes_per_trial, 4)
    assert gain.low > 0.0
    assert gain.value > 0.05


@pytest.mark.slow
def test_independent_neighbours_cost_the_network_next_to_nothing():
    """Four populations of 13 units, 1800 training spikes each: .01 bits/spike on average at most, 18 bits in all."""
    gains = []
    for seed in range(4):
        counts = shared(80, 1000, 12, seed=10 + seed, depth=0.0)
        unit = as_unit(counts, n_burn_in=100)
        train, test = unit.take(np.arange(60)), unit.take(np.arange(60, 80))
        m6, m7 = (
            trial_log_likelihood(test, spec(baseline=Constant()).fit(train).log_mu(test))
            for spec in (RNN, PopulationRNN)
        )
        gains.append(gain_interval(m7, m6, test.spikes_per_trial, 4).value)
    assert abs(np.mean(gains)) < 0.01
