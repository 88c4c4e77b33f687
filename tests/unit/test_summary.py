"""What is said about a unit, from made-up scores whose answer can be worked out by hand."""

from __future__ import annotations

import json
from dataclasses import asdict, replace

import numpy as np
import pytest
import xarray as xr

from cortexrnn.evaluation.discoveries import find_discoveries
from cortexrnn.evaluation.evidence import unit_evidence
from cortexrnn.evaluation.ladder import ladder
from cortexrnn.evaluation.options import CompareOptions
from cortexrnn.evaluation.panels import score_dataset
from cortexrnn.evaluation.plan import UnitPlan, UnitScores
from cortexrnn.evaluation.population_summary import population_summary, verdict_sentence
from cortexrnn.evaluation.scores import gain_interval
from cortexrnn.evaluation.summary import (
    control_summary,
    known_truth,
    silent_summary,
    surrogate_p,
    unit_summary,
)
from cortexrnn.evaluation.verdict import more_trials
from cortexrnn.evaluation.work import EXCHANGED, UnitCase
from cortexrnn.spikes.folds import assign_folds

LN2 = np.log(2.0)
N_TRIALS = 20
OPTIONS = CompareOptions(n_surrogates=19, history_windows_s=())
# Bits per spike over M0 of every rung; the scores scatter around them from trial to trial.
LEVEL = {"M0": 0.0, "M1": 0.3, "M3": 0.4, "M5": 0.6, "history": 0.6, "history GLM": 0.6}


def make_case(make_unit, spikes_per_trial=5):
    """Twenty trials with the same number of spikes each."""
    counts = np.zeros((N_TRIALS, 50), dtype=int)
    counts[:, 10 : 10 + spikes_per_trial] = 1
    unit = make_unit(counts)
    return UnitCase(name="a", trials=unit, fold=assign_folds(unit.condition, 5), seed=0, likelihood="poisson")


def make_surrogate(plan, gain):
    """A surrogate on which every history rung has this gain over M3, in bits per spike."""
    n_spikes = plan.case.trials.spikes_per_trial
    rows = np.zeros((len(plan.plain), N_TRIALS))
    rows[list(plan.plain).index("M5")] = gain * LN2 * n_spikes
    validation = np.full((5, len(plan.plain)), np.nan)
    validation[:, list(plan.plain).index("M5")] = 0.0
    return {"log_likelihood": rows, "validation": validation, "n_spikes": n_spikes}


def make_scores(case, plan, level, *, surrogate_gains=(0.0,) * 19, spread=0.02, timescale=None):
    """Scores with the given levels (bits per spike), one or more seeds."""
    rng = np.random.default_rng(1)
    n_spikes = case.trials.spikes_per_trial
    noise = {name: rng.normal(0.0, spread, N_TRIALS) for name in level}
    log_likelihood = {
        name: np.atleast_2d(np.asarray(value))[..., None].reshape(-1, 1) * LN2 * n_spikes
        + LN2 * n_spikes * noise[name]
        for name, value in level.items()
    }
    surrogates = [make_surrogate(plan, gain) for gain in surrogate_gains]
    rows = np.zeros((8, N_TRIALS)) if timescale is None else np.array(timescale)[:, None] * LN2 * n_spikes
    return UnitScores(
        case=case,
        log_likelihood=log_likelihood,
        chosen=["M5"] * 5,
        chosen_glm=["M5"] * 5,
        timescale=rows + log_likelihood["M3"].mean(axis=0),
        surrogates=surrogates,
        surrogate_kind=EXCHANGED,
        exchanged=surrogates,
        age_expected={name: np.full(102, 2.0) for name in level},
        age_spikes=np.r_[5.0, 1.0, 3.0, np.full(99, 1.0)],
        leaking=[],
        n_leak_probes=20,
        goodness={},
        free_runs={},
        fold_orders=None,
        ceiling=None,
        panel={},
    )


@pytest.fixture
def case(make_unit):
    """A unit of 100 spikes."""
    return make_case(make_unit)


@pytest.fixture
def plan(case):
    """The plan of M0, M1, M3 and M5."""
    return UnitPlan(case, ladder([]), OPTIONS, "code")


def test_every_number_is_that_of_the_scores(case, plan):
    scores = make_scores(case, plan, LEVEL)
    unit = unit_summary(plan, scores, OPTIONS)
    n = case.trials.spikes_per_trial
    rows = {name: values[0] for name, values in scores.log_likelihood.items()}
    for name in ("M0", "M1", "M3", "M5", "history"):
        expected = gain_interval(rows[name], rows["M0"], n, 5)
        numbers = {"bits_per_spike": expected.value, "ci": expected.interval, "seed_sd": None}
        assert unit["rungs"][name] == numbers
    for name, below in (("M1", "M0"), ("M3", "M1"), ("M5", "M3")):
        assert unit["steps"][name]["value"] == gain_interval(rows[name], rows[below], n, 5).value
    over = gain_interval(rows["history"], rows["M3"], n, 5)
    assert unit["history_gain"] == {
        "value": over.value,
        "ci": over.interval,
        "over": "M3",
        "chosen": ["M5"] * 5,
    }
    assert (unit["n_spikes"], unit["n_trials"]) == (100, 20)
    assert unit["rate_hz"] == pytest.approx(100.0, rel=1e-12)
    assert (unit["verdict"], unit["surrogate_p"]) == ("history matters", 0.05)
    assert unit["warnings"] == []
    json.dumps(unit, allow_nan=False)


def test_steps_of_all_rungs_are_measured_against_the_right_one(case):
    """M4, M5, M6 and M6cut each against M3, the others against the one below."""
    level = {f"M{k}": 0.1 * k for k in range(6)} | {
        "M6": [0.8, 0.9],
        "M6cut": 0.42,
        "history": 0.8,
        "history GLM": 0.5,
    }
    plan = UnitPlan(case, ladder(), OPTIONS, "code")
    unit = unit_summary(plan, make_scores(case, plan, level, spread=0.0), OPTIONS)
    steps = {name: round(step["value"], 9) for name, step in unit["steps"].items()}
    assert steps == {"M1": 0.1, "M2": 0.1, "M3": 0.1, "M4": 0.1, "M5": 0.2, "M6": 0.55, "M6cut": 0.12}
    # Of the two controls the better one counts.
    assert unit["history_gain"]["over"] == "M6cut"
    assert unit["history_gain"]["value"] == pytest.approx(0.8 - 0.42, rel=1e-9)
    # Two seeds at 0.8 and 0.9: their SD.
    assert unit["rungs"]["M6"]["seed_sd"] == pytest.approx(0.1 / np.sqrt(2.0), rel=1e-9)
    assert unit["rungs"]["M5"]["seed_sd"] is None


def test_a_flexible_rate_that_explains_the_gain_forbids_the_verdict(case):
    """M6cut as good as the history rung: the gain over M3 alone does not count."""
    level = LEVEL | {"M2": 0.3, "M4": 0.5, "M6": 0.6, "M6cut": 0.6}
    plan = UnitPlan(case, ladder(), OPTIONS, "code")
    unit = unit_summary(plan, make_scores(case, plan, level), OPTIONS)
    assert unit["verdict"] != "history matters"
    assert unit["history_gain"]["over"] == "M6cut"


def test_surrogate_p_counts_surrogates_that_are_at_least_as_good(case, plan):
    """Observed gain 0.2: p = (1 + #{>= 0.2}) / 20; a surrogate without spikes counts against it."""
    for gains, p in (
        ((0.0,) * 19, 0.05),
        ((0.5,) + (0.0,) * 18, 0.1),
        ((0.5,) * 19, 1.0),
        ((0.2,) * 3 + (0.0,) * 16, 0.2),
    ):
        scores = make_scores(case, plan, LEVEL, surrogate_gains=gains, spread=0.0)
        assert surrogate_p(plan, scores) == pytest.approx(p, rel=1e-12)
    empty = make_surrogate(plan, 0.0) | {"n_spikes": np.zeros(N_TRIALS, dtype=int)}
    scores = replace(make_scores(case, plan, LEVEL), surrogates=[empty] + [make_surrogate(plan, 0.0)] * 18)
    assert surrogate_p(plan, scores) == pytest.approx(0.1, rel=1e-12)
    assert surrogate_p(plan, replace(scores, surrogates=[])) is None


def test_ties_with_the_surrogates_count_against_the_unit(case, plan):
    scores = make_scores(case, plan, LEVEL, spread=0.0)
    tie = make_surrogate(plan, 0.0)
    rows = {name: values.mean(axis=0) for name, values in scores.log_likelihood.items()}
    tie["log_likelihood"][list(plan.plain).index("M5")] = rows["history GLM"]
    tie["log_likelihood"][list(plan.plain).index("M3")] = rows["M3"]
    assert surrogate_p(plan, replace(scores, surrogates=[tie] * 19)) == 1.0


def test_without_surrogates_nothing_matters(case, plan):
    scores = replace(make_scores(case, plan, LEVEL), surrogates=[], exchanged=[])
    unit = unit_summary(plan, scores, OPTIONS)
    assert unit["verdict"] == "inconclusive"
    assert unit["surrogate_p"] is None
    assert control_summary([unit_evidence(plan, scores)])["trial_exchange_bits_per_spike"] is None


@pytest.mark.parametrize(("spikes_per_trial", "is_reported"), [(1, False), (2, True)])
def test_fewer_than_thirty_spikes_have_no_score(make_unit, spikes_per_trial, is_reported):
    """Twenty spikes: None everywhere and a warning; forty: numbers."""
    case = make_case(make_unit, spikes_per_trial)
    plan = UnitPlan(case, ladder([]), OPTIONS, "code")
    unit = unit_summary(plan, make_scores(case, plan, LEVEL), OPTIONS)
    values = [entry["bits_per_spike"] for entry in unit["rungs"].values()]
    values += [step["value"] for step in unit["steps"].values()] + [unit["history_gain"]["value"]]
    assert all((value is not None) == is_reported for value in values)
    assert (unit["history_gain"]["ci"] is not None) == is_reported
    assert bool(unit["warnings"]) != is_reported
    assert (unit["verdict"] == "history matters") == is_reported
    json.dumps(unit, allow_nan=False)


def test_time_scale_is_the_shortest_window_with_ninety_percent_of_the_largest_gain(case, plan):
    # Windows of 2, 5, 10, 20, 50, 100, 200, 500 ms; the largest gain is .20, nine tenths are .18.
    gains = [0.02, 0.10, 0.179, 0.181, 0.17, 0.20, 0.19, 0.15]
    scores = make_scores(case, plan, LEVEL, spread=0.0, timescale=gains)
    assert unit_summary(plan, scores, OPTIONS)["timescale_s"] == 0.02
    # No verdict, no time scale.
    undecided = make_scores(case, plan, LEVEL | {"history": 0.4}, spread=0.0, timescale=gains)
    assert unit_summary(plan, undecided, OPTIONS)["timescale_s"] is None


def test_refractory_mass_is_the_share_of_the_first_two_milliseconds(case, plan):
    unit = unit_summary(plan, make_scores(case, plan, LEVEL), OPTIONS)
    # 1 + 3 of 5 + 1 + 3 + 99 spikes; two of 102 equal steps.
    assert unit["refractory_mass"] == pytest.approx(
        {"window_s": 0.002, "observed": 4.0 / 108.0, "model": "M1", "expected": 2.0 / 102.0}
    )


def test_foreign_spikes_come_from_pairs_that_are_surely_within_two_milliseconds(make_unit):
    """By hand: pairs 0 and 1 bins apart violate, those 2 bins apart or in different trials do not."""
    counts = np.zeros((40, 100), dtype=int)
    counts[:, [50, 99]] = 1
    counts[0, 10], counts[1, [20, 21]], counts[2, [30, 32]], counts[3, 0] = 2, 1, 1, 1
    n_spikes, n_violations, n_bins = counts.sum(), 2, counts.size
    # Two of N spikes in T bins violate; the pairs of a Poisson train would be N^2 1.5 / T.
    share = 1.0 - np.sqrt(1.0 - n_violations * n_bins / (n_spikes**2 * 1.5))
    found = silent_summary("a", make_unit(counts), "why")["foreign"]
    assert found["share"] == pytest.approx(share, rel=1e-12)
    assert found["low"] < share < found["high"]
    assert silent_summary("a", make_unit(0 * counts), "why")["foreign"] is None
    assert silent_summary("a", make_unit(counts)._replace(bin_s=0.005), "why")["foreign"] is None


def test_an_undecided_unit_says_how_many_trials_more(case, plan):
    """Oracle: `more_trials` of the gain; both ways of saying it."""
    for spread, text in ((0.05, "about {} more trials"), (0.5, "more than 10 times this recording")):
        scores = make_scores(case, plan, LEVEL | {"history": 0.42}, spread=spread)
        rows = {name: values[0] for name, values in scores.log_likelihood.items()}
        extra = more_trials(gain_interval(rows["history"], rows["M3"], case.trials.spikes_per_trial, 5), 0.01)
        unit = unit_summary(plan, scores, OPTIONS)
        assert unit["verdict"] == "inconclusive"
        assert unit["more_trials"] == extra
        assert unit["more_trials_text"] == text.format(extra)
    settled = unit_summary(plan, make_scores(case, plan, LEVEL), OPTIONS)
    assert (settled["more_trials"], settled["more_trials_text"]) == (None, "")


def test_a_silent_unit_has_no_number_that_could_be_taken_for_one(make_unit):
    unit = silent_summary("s", make_unit(np.zeros((4, 10))), "no spike in any scored bin")
    assert unit["history_gain"] == {"value": None, "ci": None, "over": None, "chosen": []}
    assert unit["rungs"] == {}
    assert (unit["n_spikes"], unit["rate_hz"], unit["n_trials"]) == (0, 0.0, 4)
    assert unit["verdict"] == "inconclusive"
    assert unit["sentence"] == "No spike in any scored bin."


def test_every_summary_has_the_same_keys(case, plan, make_unit):
    full = unit_summary(plan, make_scores(case, plan, LEVEL), OPTIONS)
    assert silent_summary("s", make_unit(np.zeros((4, 10))), "x").keys() == full.keys()


def test_control_is_the_mean_over_exchanges_with_its_interval(case, plan):
    """Oracle: t interval of the gains by hand; the alarm rings where its lower end exceeds .003."""

    def controls(gains):
        return control_summary([unit_evidence(plan, make_scores(case, plan, LEVEL, surrogate_gains=gains))])

    control = controls((0.001, 0.003, 0.002))
    assert control["trial_exchange_bits_per_spike"] == pytest.approx(0.002, rel=1e-9)
    # Student's t with 2 degrees of freedom at .975 is 4.30265.
    reach = 4.30265 * 0.001 / np.sqrt(3.0)
    np.testing.assert_allclose(control["trial_exchange_ci"], [0.002 - reach, 0.002 + reach], rtol=1e-5)
    assert (control["n_trial_exchanges"], control["alarm"], control["leak_probe"]) == (3, False, "passed")
    assert controls((0.02, 0.021, 0.019))["alarm"]
    assert not controls((-0.02, -0.021, -0.019))["alarm"]


def test_a_leak_rings_the_alarm_and_is_named(case, plan):
    scores = replace(make_scores(case, plan, LEVEL), leaking=["M5"])
    control = control_summary([unit_evidence(plan, scores)])
    assert (control["leak_probe"], control["leaking"], control["alarm"]) == ("failed", ["M5"], True)


def test_evidence_holds_the_reported_rungs_and_the_exchanges_but_no_trials(case, plan):
    """Oracle: the scores that it was taken from; M5 over M3 of two exchanges by construction."""
    scores = make_scores(case, plan, LEVEL, surrogate_gains=(0.1, -0.05))
    evidence = unit_evidence(plan, scores)
    assert list(evidence.log_likelihood) == ["M0", "M1", "M3", "M5", "history"]
    for name, values in evidence.log_likelihood.items():
        np.testing.assert_array_equal(values, scores.log_likelihood[name])
    np.testing.assert_allclose(evidence.exchange_gains, [0.1, -0.05], rtol=1e-12)
    np.testing.assert_array_equal(evidence.n_spikes, [5] * N_TRIALS)
    shapes = {np.shape(value) for value in asdict(evidence).values() if isinstance(value, np.ndarray)}
    assert shapes == {(N_TRIALS,)}


def make_population(case, plan, levels):
    """Units of the given levels, summarised, with their evidence and their scores."""
    units, evidence = [], []
    for k, level in enumerate(levels):
        scores = make_scores(case, plan, LEVEL | {"history": level, "history GLM": level}, spread=0.02 + 0.01 * k)
        units.append(unit_summary(plan, scores, OPTIONS) | {"unit": str(k)})
        evidence.append(replace(unit_evidence(plan, scores), name=str(k)))
    trials = xr.Dataset(coords={"trial": np.arange(N_TRIALS), "condition": ("trial", np.zeros(N_TRIALS))})
    return units, evidence, score_dataset(evidence, ["M0", "M1", "M3", "M5", "history"], {}, trials)


def test_a_population_is_averaged_counted_and_tested_together(case, plan):
    """Oracles: the units' own numbers, and the functions that the parts come from."""
    units, evidence, scores = make_population(case, plan, [0.6, 0.7, 0.4, 0.8, 0.65, 0.4])
    silent = silent_summary("silent", case.trials, "no spike in any scored bin") | {"unit": "silent"}
    population = population_summary([*units, silent], evidence, scores, options=OPTIONS, seed=1)
    gains = [unit["history_gain"]["value"] for unit in units]
    assert population["n_units"] == 7
    assert population["verdicts"]["history matters"] == sum(unit["verdict"] == "history matters" for unit in units)
    assert population["history_gain"]["mean"] == pytest.approx(np.mean(gains), rel=1e-12)
    assert population["history_gain"]["median"] == pytest.approx(np.median(gains), rel=1e-12)
    low, high = population["history_gain"]["ci"]
    assert low < np.mean(gains) < high
    found = find_discoveries([unit["p"] for unit in units], [unit["surrogate_p"] for unit in units])
    assert [unit["q"] for unit in units] == found.q.tolist()
    assert population["discoveries"]["n_found"] == int(found.is_found.sum()) == 4
    assert (silent["q"], silent["is_discovery"], silent["nulls"]) == (None, False, {})
    pooled = population["nulls"]["train mean"]["M5"]["value"]
    assert pooled == pytest.approx(np.mean([unit["rungs"]["M5"]["bits_per_spike"] for unit in units]), rel=1e-9)
    json.dumps(population, allow_nan=False)


def test_a_population_of_one_or_no_score_has_no_interval(case, plan):
    units, evidence, scores = make_population(case, plan, [0.6])
    assert population_summary(units, evidence, scores, options=OPTIONS, seed=1)["history_gain"]["ci"] is None
    nothing = [units[0] | {"history_gain": {"value": None, "over": None}}]
    empty = population_summary(nothing, evidence, scores, options=OPTIONS, seed=1)
    assert set(empty["history_gain"].values()) == {None}
    assert empty["sentence"] == ""


@pytest.mark.parametrize(
    ("counts", "sentence"),
    [
        ((1, 0, 0), "Spike history matters in 1 of 1 unit."),
        ((2, 1, 0), "Spike history matters in 2 of 3 units and is not relevant in 1."),
        ((2, 0, 1), "Spike history matters in 2 of 3 units and remains open in 1."),
        ((0, 3, 4), "Spike history matters in 0 of 7 units, is not relevant in 3 and remains open in 4."),
    ],
)
def test_the_answer_in_one_sentence(counts, sentence):
    names = ("history matters", "no relevant history", "inconclusive")
    assert verdict_sentence(dict(zip(names, counts, strict=True)), sum(counts)) == sentence


@pytest.mark.parametrize(
    ("has_history", "verdict", "agrees"),
    [
        (True, "history matters", True),
        (True, "no relevant history", False),
        (True, "inconclusive", True),
        (False, "history matters", False),
        (False, "no relevant history", True),
        ("no", "history matters", False),
    ],
)
def test_known_truth_is_held_against_the_verdict(has_history, verdict, agrees):
    unit = xr.Dataset(coords={"truth": "dead time", "has_history": has_history, "truth_text": "3 ms"})
    truth = known_truth(unit, verdict)
    assert (truth["label"], truth["text"], truth["agrees"]) == ("dead time", "3 ms", agrees)
    assert known_truth(xr.Dataset(), verdict) is None
