"""From a unit's held-out scores to what is said about it."""

from __future__ import annotations

import itertools
import math
from typing import Any

import numpy as np
import xarray as xr
from scipy import stats

from cortexrnn.encoding.arrays import UnitTrials
from cortexrnn.evaluation.detectable import detectable_gain, detectable_words
from cortexrnn.evaluation.discoveries import history_p
from cortexrnn.evaluation.evidence import UnitEvidence
from cortexrnn.evaluation.ladder import ALONE, CONTROL, TWINS, stimulus_rung
from cortexrnn.evaluation.options import CompareOptions
from cortexrnn.evaluation.plan import UnitPlan, UnitScores
from cortexrnn.evaluation.scores import Gain, finite_or_none, gain_interval
from cortexrnn.evaluation.seeds import seed_spread
from cortexrnn.evaluation.verdict import (
    HISTORY_MATTERS,
    INCONCLUSIVE,
    MIN_SPIKES,
    MIN_TRIALS,
    NO_RELEVANT_HISTORY,
    decide,
    more_trials,
)
from cortexrnn.evaluation.work import TIMESCALE_WINDOWS_S
from cortexrnn.spikes.refractory import foreign_spikes

REFRACTORY_WINDOW_S = 0.002
ALARM_BITS_PER_SPIKE = 0.003
_TIMESCALE_SHARE = 0.9


def unit_summary(plan: UnitPlan, scores: UnitScores, options: CompareOptions) -> dict[str, Any]:
    """Summarise one unit: scores, gains, surrogate test, verdict, time scale, refractory mass.

    Returns
    -------
    dict
        JSON-able; numbers that cannot be had are None.
    """
    trials = scores.case.trials
    n_spikes = trials.spikes_per_trial
    n_folds = scores.case.n_folds
    mean = {name: values.mean(axis=0) for name, values in scores.log_likelihood.items()}

    def over(name: str, reference: str) -> Gain:
        return gain_interval(mean[name], mean[reference], n_spikes, n_folds)

    gains = {CONTROL: over("history", CONTROL)}
    gains |= {cut: over("history", cut) for cut in TWINS.values() if cut in mean}
    better = min(gains, key=lambda name: gains[name].value)
    ordered = [gains[better], *(gain for name, gain in gains.items() if name != better)]
    p = surrogate_p(plan, scores)
    total = int(n_spikes.sum())
    answer = decide(ordered, p, total, options.rope)
    rungs = {name: _score(over(name, "M0"), total) for name in [*plan.reported, "history"]}
    steps = {
        name: over(name, CONTROL if name in TWINS.values() else below) for name, below in _neighbours(plan.reported)
    }
    is_enough = total >= MIN_SPIKES and trials.n_trials >= MIN_TRIALS
    smallest = finite_or_none(detectable_gain(ordered[0])) if is_enough else None
    spread = seed_spread(scores.log_likelihood, [*TWINS, *TWINS.values(), "M7"], n_spikes)
    extra = more_trials(ordered[0], options.rope) if answer.verdict == INCONCLUSIVE else None
    return {
        "unit": scores.case.name,
        "n_spikes": total,
        "rate_hz": finite_or_none(total / (trials.scored.sum() * trials.bin_s)),
        "n_trials": trials.n_trials,
        "rungs": {
            name: {"bits_per_spike": score["value"], "ci": score["ci"], "seed_sd": spread.get(name)}
            for name, score in rungs.items()
        },
        "steps": {name: _score(gain, total) for name, gain in steps.items()},
        "history_gain": _score(ordered[0], total) | {"over": better, "chosen": scores.chosen},
        "p": finite_or_none(history_p(ordered)) if is_enough else None,
        "detectable_gain": smallest,
        "detectable_text": detectable_words(smallest, trials.n_trials),
        "surrogate_p": p,
        "surrogate_kind": scores.surrogate_kind,
        "verdict": answer.verdict,
        "sentence": answer.reason,
        "more_trials": extra,
        "more_trials_text": _more_trials_text(answer.verdict, extra),
        "timescale_s": _timescale(scores, mean[CONTROL], n_spikes) if answer.verdict == HISTORY_MATTERS else None,
        "refractory_mass": _refractory_mass(scores),
        "goodness": {name: fit.to_dict() for name, fit in scores.goodness.items()},
        "free_run": {name: run.to_dict() for name, run in scores.free_runs.items()},
        "ceiling": scores.ceiling.to_dict() if scores.ceiling else None,
        "fold_orders": scores.fold_orders.to_dict() if scores.fold_orders else None,
        "isi_violations": int(scores.age_spikes[1 : 1 + _n_refractory(scores)].sum()),
        "foreign": _foreign(trials),
        "warnings": [f"{total} held-out spikes: too few for a score."] if total < MIN_SPIKES else [],
    }


def silent_summary(name: str, trials: UnitTrials, why: str) -> dict[str, Any]:
    """Summarise a unit that cannot be scored: there is nothing to say, and 0 would be a lie."""
    empty = {"value": None, "ci": None}
    n_spikes = int(trials.spikes_per_trial.sum())
    sentence = f"{why[0].upper()}{why[1:]}."
    return {
        "unit": name,
        "n_spikes": n_spikes,
        "rate_hz": float(n_spikes / max(trials.scored.sum() * trials.bin_s, trials.bin_s)),
        "n_trials": trials.n_trials,
        "rungs": {},
        "steps": {},
        "history_gain": empty | {"over": None, "chosen": []},
        "p": None,
        "detectable_gain": None,
        "detectable_text": "",
        "surrogate_p": None,
        "surrogate_kind": None,
        "verdict": INCONCLUSIVE,
        "sentence": sentence,
        "more_trials": None,
        "more_trials_text": "",
        "timescale_s": None,
        "refractory_mass": {"window_s": REFRACTORY_WINDOW_S, "observed": None, "model": "M1", "expected": None},
        "goodness": {},
        "free_run": {},
        "ceiling": None,
        "fold_orders": None,
        "isi_violations": 0,
        "foreign": _foreign(trials),
        "warnings": [sentence],
    }


def known_truth(unit: xr.Dataset, verdict: str) -> dict[str, Any] | None:
    """Tell what is known of a simulated unit, where its metadata says so, and whether the verdict agrees.

    An inconclusive verdict contradicts nothing.
    """
    if "truth" not in unit.coords or "has_history" not in unit.coords:
        return None
    has_history = str(unit["has_history"].item()).lower() in ("yes", "true", "1")
    wrong = NO_RELEVANT_HISTORY if has_history else HISTORY_MATTERS
    return {
        "label": str(unit["truth"].item()),
        "text": str(unit["truth_text"].item()) if "truth_text" in unit.coords else "",
        "has_history": has_history,
        "agrees": verdict != wrong,
    }


def control_summary(evidence: list[UnitEvidence]) -> dict[str, Any]:
    """Summarise the controls: gain of M5 over M3 on exchanged trials, and the leak probe."""
    exchanged = [gain for unit in evidence for gain in unit.exchange_gains]
    values = np.array([value for value in exchanged if math.isfinite(value)])
    mean, interval = None, None
    if values.size > 1:
        mean = float(values.mean())
        reach = float(stats.t.ppf(0.975, values.size - 1) * values.std(ddof=1) / np.sqrt(values.size))
        interval = [mean - reach, mean + reach]
    leaking = sorted({name for unit in evidence for name in unit.leaking})
    n_probes = sum(unit.n_leak_probes for unit in evidence)
    return {
        "trial_exchange_bits_per_spike": mean,
        "trial_exchange_ci": interval,
        "n_trial_exchanges": int(values.size),
        "leak_probe": "failed" if leaking else "passed",
        "n_leak_probes": n_probes,
        "leaking": leaking,
        "alarm": bool(leaking) or (interval is not None and interval[0] > ALARM_BITS_PER_SPIKE),
    }


def surrogate_p(plan: UnitPlan, scores: UnitScores) -> float | None:
    """Rank the history gain of the rungs without networks among that of the surrogates."""
    if not scores.surrogates:
        return None
    n_folds = scores.case.n_folds
    mean = {name: values.mean(axis=0) for name, values in scores.log_likelihood.items()}
    observed = gain_interval(mean["history GLM"], mean[CONTROL], scores.case.trials.spikes_per_trial, n_folds).value
    drawn = []
    for surrogate in scores.surrogates:
        history, _, control = plan.surrogate_gain(surrogate)
        drawn.append(gain_interval(history, control, surrogate["n_spikes"], n_folds).value)
    # A surrogate without spikes says nothing against the null, so it counts for it.
    n_as_large = sum(not value < observed for value in drawn)
    return (1 + n_as_large) / (len(drawn) + 1)


def _neighbours(names: list[str]) -> list[tuple[str, str]]:
    """Pair every rung above the lowest with the one it is measured against."""
    pairs = []
    for below, name in itertools.pairwise(names):
        is_history = name in ("M4", "MK", "HMM", "M5", *TWINS)
        pairs.append((name, ALONE.get(name, CONTROL if is_history else below)))
    return pairs


def _score(gain: Gain, n_spikes: int) -> dict[str, Any]:
    """Write a gain, or None where there are too few held-out spikes to report one."""
    if n_spikes < MIN_SPIKES or not math.isfinite(gain.value):
        return {"value": None, "ci": None}
    return {"value": gain.value, "ci": gain.interval}


def _more_trials_text(verdict: str, extra: int | None) -> str:
    """Say how many more trials an undecided unit would need."""
    if verdict != INCONCLUSIVE or extra == 0:
        return ""
    return f"about {extra} more trials" if extra is not None else "more than 10 times this recording"


def _timescale(scores: UnitScores, control: np.ndarray, n_spikes: np.ndarray) -> float | None:
    """Give the shortest history window that reaches 90 % of the largest gain over windows."""
    gains = (scores.timescale - control).sum(axis=1)
    if not n_spikes.sum() or gains.max() <= 0.0:
        return None
    return TIMESCALE_WINDOWS_S[int(np.flatnonzero(gains >= _TIMESCALE_SHARE * gains.max())[0])]


def _n_refractory(scores: UnitScores) -> int:
    """Give the refractory window in bins."""
    return max(1, round(REFRACTORY_WINDOW_S / scores.case.trials.bin_s))


def _refractory_mass(scores: UnitScores) -> dict[str, Any]:
    """Compare the share of spikes soon after the last one with what the stimulus alone expects, held out."""
    n_lags = _n_refractory(scores)
    early = slice(1, 1 + n_lags)
    model = stimulus_rung(scores.age_expected)
    observed, expected = scores.age_spikes, scores.age_expected[model]
    return {
        "window_s": n_lags * scores.case.trials.bin_s,
        "observed": finite_or_none(observed[early].sum() / observed.sum()) if observed.sum() else None,
        "model": model,
        "expected": finite_or_none(expected[early].sum() / expected.sum()) if expected.sum() else None,
    }


def _foreign(trials: UnitTrials) -> dict[str, float] | None:
    """Estimate the share of spikes of other neurons; None without spikes, or in bins wider than a refractory period."""
    n_near = int(REFRACTORY_WINDOW_S / trials.bin_s + 1e-9)
    counts = np.where(trials.scored, trials.counts, 0)
    if not counts.any() or n_near < 1:
        return None
    # Counted in whole bins, trials laid apart: pairs fewer than n_near bins apart are surely within the window.
    apart = np.pad(counts, ((0, 0), (0, n_near))).ravel()
    found = foreign_spikes(np.repeat(np.arange(apart.size), apart), trials.scored.sum(), refractory_s=n_near - 0.5)
    return {"share": found.share, "low": found.low, "high": found.high}
