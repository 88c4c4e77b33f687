"""The names of the rungs, what stands on what, and the options of a comparison."""

from __future__ import annotations

from dataclasses import fields

import pytest

from cortexrnn.encoding.stimulus import Stimulus
from cortexrnn.errors import OptionError
from cortexrnn.evaluation.ladder import ALONE, ALWAYS, QUICK_RUNGS, RUNGS, TWINS, USUAL_RUNGS, ladder
from cortexrnn.evaluation.options import CompareOptions


def test_rungs_come_from_the_lowest_to_the_highest():
    assert tuple(ladder()) == USUAL_RUNGS
    assert tuple(ladder(RUNGS)) == RUNGS
    assert set(RUNGS) - set(USUAL_RUNGS) == {"S1", "MK", "HMM", "M5 coupled", "M7"} | {
        name for pair in TWINS.items() for name in pair if " " in name
    }
    assert tuple(ladder(QUICK_RUNGS)) == QUICK_RUNGS
    assert list(ladder(["M5", "M0"])) == ["M0", "M1", "M3", "M5"]


def test_every_rung_bears_the_name_it_is_listed_under():
    rungs = ladder(RUNGS)
    assert {name: rung.name for name, rung in rungs.items()} == {name: name for name in RUNGS}
    assert all(rung.meaning for rung in rungs.values())


def test_the_controls_are_always_there():
    assert set(ladder([])) == set(ALWAYS)
    for pair in TWINS.items():
        for asked in pair:
            assert set(pair) <= set(ladder([asked]))


def test_history_rungs_stand_on_the_trial_gain_and_not_on_each_other():
    rungs = ladder(RUNGS)
    history = ("M4", "MK", "HMM", "M5", *ALONE, *TWINS)
    for name in (*history, *TWINS.values()):
        assert rungs[name].baseline == rungs["M3"]
    assert rungs["M3"].baseline == rungs["M2"]
    assert rungs["M2"].baseline == rungs["S1"]
    assert rungs["S1"].baseline == rungs["M1"]
    assert ladder()["M2"].baseline == rungs["M1"]
    assert {name for name, rung in rungs.items() if rung.sees_history} == set(history)
    assert {name for name, rung in rungs.items() if not rung.is_candidate} == {"HMM", *ALONE}
    assert {name for name, rung in rungs.items() if rung.needs_neighbours} == set(ALONE)


def test_a_stimulus_carries_every_rung_above_it():
    """Its lags are the user's, its likelihood that of the ladder."""
    rungs = ladder(["M4"], likelihood="bernoulli", stimulus=Stimulus(lags_s=(0.0, 0.05)))
    assert list(rungs) == ["M0", "M1", "S1", "M3", "M4", "M5"]
    assert (rungs["S1"].lags_s, rungs["S1"].likelihood) == ((0.0, 0.05), "bernoulli")
    assert rungs["M4"].baseline.baseline.baseline == rungs["S1"]


def test_a_negative_binomial_is_scored_and_a_poisson_likelihood_maximised():
    assert ladder(likelihood="negative binomial") == ladder()


def test_every_cut_network_differs_from_its_network_by_the_spikes_alone():
    every = ladder(RUNGS, likelihood="bernoulli")
    for name, cut in TWINS.items():
        assert type(every[name]) is type(every[cut])
        names = [entry.name for entry in fields(every[name])]
        differing = {field for field in names if getattr(every[name], field) != getattr(every[cut], field)}
        assert differing == {"uses_own_spikes"}
        assert (every[name].name, every[cut].name) == (name, cut)


def test_every_history_rung_has_the_observation_model_of_the_comparison():
    """Their validation scores are compared with each other, so they must be of one kind."""
    rungs = ladder(RUNGS, likelihood="bernoulli")
    assert {rungs[name].likelihood for name in ("M4", "MK", "M5", "M6", "M6cut")} == {"bernoulli"}


def test_unknown_rungs_are_refused():
    with pytest.raises(OptionError, match="rung='M9' is unknown"):
        ladder(["M9"])


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"n_folds": 1}, "folds=1"),
        ({"n_folds": 2.5}, "folds=2.5"),
        ({"fold_order": "sorted"}, "fold_order='sorted'"),
        ({"n_seeds": 0}, "seeds=0"),
        ({"n_surrogates": -1}, "surrogates=-1"),
        ({"rope": 0.0}, "rope=0.0"),
        ({"likelihood": "normal"}, "likelihood='normal'"),
        ({"history_windows_s": (0.02, -0.1)}, "history_windows_s=-0.1"),
    ],
)
def test_impossible_options_are_refused(options, message):
    with pytest.raises(OptionError, match=message):
        CompareOptions(**options)


def test_options_may_leave_the_surrogates_out():
    assert CompareOptions(n_surrogates=0).n_surrogates == 0
