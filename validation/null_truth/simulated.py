"""One simulated recording: drawn, fitted with every choice inside the training set, judged, and held against its truth.

The work is that of `cortexrnn.compare` (the study holds a recording of every row against it), but for two things.
Surrogates are drawn only where the intervals alone would say that history matters, and no more once p exceeds .05:
further ones could not change the verdict. And every fitted pair is also scored on fresh trials of the same unit, drawn
at the positions of the held-out trials, which gives the estimand of the intervals: the mean over folds of the fitted
pair's expected gain.
"""

from __future__ import annotations

import functools
from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np

from cortexrnn.encoding.arrays import UnitTrials, unit_trials
from cortexrnn.encoding.contamination import FittedGuard
from cortexrnn.encoding.likelihood import trial_log_likelihood
from cortexrnn.encoding.model import Fitted, Rung
from cortexrnn.evaluation.compare import RunSettings, compare
from cortexrnn.evaluation.ladder import QUICK_RUNGS, ladder
from cortexrnn.evaluation.options import CompareOptions
from cortexrnn.evaluation.scores import Gain, gain_interval
from cortexrnn.evaluation.verdict import SIGNIFICANCE, decide
from cortexrnn.evaluation.work import EXCHANGED, SIMULATED, FoldFits, UnitCase, surrogate_work
from cortexrnn.numerics.streams import stream
from cortexrnn.spikes.folds import assign_folds
from cortexrnn.spikes.generate import linear_drift, simulate_spikes
from cortexrnn.spikes.trial_design import TrialDesign

DEAD_TIME_S, GAIN_VARIANCE, DURATION_S = 0.003, 0.25, 1.0
NETWORKS = ("M6", "M6cut")
# Fresh trials a fold. Their sampling error adds some 3 % to the width of what 60 trials tell, and 2 % to what 20 tell
# of networks, so that coverage comes out a little too low, never too high.
N_FRESH, N_FRESH_OF_NETWORKS = 200, 100
OPTIONS = CompareOptions()
LN2 = np.log(2.0)
# Fresh trials are drawn from other streams than the recording; seeds of two recordings never meet.
_SEED_STEP, _SEED_OF_FRESH = 1_000_003, 500_000_000
# Name under which `compare` finds the only unit; part of the key of its random streams.
_UNIT = "0"
_NEGLIGIBLE_GAIN = 0.001
Scores = dict[str, np.ndarray]


class Task(NamedTuple):
    """One recording to be drawn and what is asked of it.

    Attributes
    ----------
    kind : str
        ``"poisson"``, ``"trial gain"``, ``"drift"`` or ``"dead time 20 Hz"``, whatever the rate.
    n_trials : int
    number : int
        Which of the recordings of this kind; also the seed of surrogates and networks.
    has_networks : bool
        Whether networks are fitted and may be chosen as the history rung.
    is_judged : bool
        Whether a verdict is asked for, which takes surrogates.
    """

    kind: str
    n_trials: int
    number: int
    has_networks: bool
    is_judged: bool


class Outcome(NamedTuple):
    """What came out for one recording.

    Attributes
    ----------
    verdict : str
        Empty where none was asked for.
    gains : dict of str to Gain
        Held-out gain over M3 of the history rung (``history``) and of each network, with its interval.
    estimands : dict of str to float
        What these intervals are to cover.
    """

    verdict: str
    gains: dict[str, Gain]
    estimands: dict[str, float]


def rate_of(kind: str) -> float | None:
    """Give the rate in Hz of a unit with a dead time; None for the others."""
    return float(kind.split()[-2]) if kind.startswith("dead time") else None


def simulate(kind: str, n_trials: int, seed: int, *, copies: int = 1) -> UnitTrials:
    """Draw a unit; with `copies` every trial position is drawn that many times, one after another."""
    design = TrialDesign(n_trials=n_trials, duration_s=DURATION_S)
    constant_hz = rate_of(kind)
    if constant_hz is not None:
        rate_hz = design.rate_hz(constant_hz)
    else:
        rate_hz = design.rate_hz(lambda t: 20.0 + 15.0 * np.sin(np.pi * np.clip(t, 0.0, 1.0)) ** 2)
    if kind == "drift":
        rate_hz = rate_hz * linear_drift(n_trials, 1.0)[:, None]
    counts = simulate_spikes(
        np.repeat(rate_hz, copies, axis=0),
        design.bin_s,
        gain_variance=GAIN_VARIANCE if kind == "trial gain" else 0.0,
        dead_time_s=0.0 if constant_hz is None else DEAD_TIME_S,
        seed=seed,
    )
    data = unit_trials(TrialDesign(n_trials=n_trials * copies, duration_s=DURATION_S).trials(counts))
    return data._replace(start_s=np.repeat(np.arange(n_trials) * 2.0, copies))


@functools.cache
def candidates() -> dict[str, Rung]:
    """Give the rungs without networks, with the windows of the history rung."""
    models = ladder(QUICK_RUNGS)
    return models | {f"M5 {w}": replace(models["M5"], history_s=w) for w in OPTIONS.history_windows_s}


def run_one(task: Task) -> Outcome:
    """Draw a recording, fit, judge, and measure the estimands on fresh trials."""
    case = draw_case(task)
    n_trials, n_folds = task.n_trials, case.n_folds
    n_fresh = N_FRESH_OF_NETWORKS if task.has_networks else N_FRESH
    copies = -(-n_fresh * n_folds // n_trials)
    seed = _SEED_STEP * task.number + n_trials + _SEED_OF_FRESH
    fresh, fresh_fold = simulate(task.kind, n_trials, seed, copies=copies), np.repeat(case.fold, copies)
    networks = NETWORKS if task.has_networks else ()
    names = ("history", *networks)
    held_out: Scores = {}
    expected = {name: np.empty(n_folds) for name in names}
    for k in range(n_folds):
        new = fresh.take(fresh_fold == k)
        own, others = score_fold(case, new, k, networks)
        for name, values in own.items():
            held_out.setdefault(name, np.empty(n_trials))[case.fold == k] = values
        for name in names:
            bits = (others[name] - others["M3"]).sum() / LN2
            expected[name][k] = bits / new.spikes_per_trial.sum()
    return Outcome(
        judge(case, held_out) if task.is_judged else "",
        {name: over(case, held_out, name, "M3") for name in names},
        {name: float(expected[name].mean()) for name in names},
    )


def draw_case(task: Task) -> UnitCase:
    """Draw the recording of a task."""
    data = simulate(task.kind, task.n_trials, _SEED_STEP * task.number + task.n_trials)
    fold = assign_folds(data.condition, OPTIONS.n_folds)
    return UnitCase(name=_UNIT, trials=data, fold=fold, seed=task.number, likelihood=OPTIONS.likelihood)


def score_fold(case: UnitCase, fresh: UnitTrials, k: int, networks: tuple[str, ...]) -> tuple[Scores, Scores]:
    """Fit all folds but `k`; give every rung's log-likelihood of each held-out trial, and of each fresh one."""
    fits = FoldFits(case.trials.take(case.fold != k), case.trials.take(case.fold == k))
    rungs = candidates()
    below = fits.fit(rungs["M3"])[0].log_mu(fresh)

    def score(rung: Rung) -> tuple[np.ndarray, np.ndarray]:
        fitted, log_mu = fits.fit(rung)
        new = trial_log_likelihood(fresh, predict_fresh(fitted, fresh, below))
        return trial_log_likelihood(fits.test, log_mu), new

    validation = {name: _validation(fits, rung) for name, rung in rungs.items() if rung.sees_history}
    chosen = max(validation, key=validation.get)
    scores = {"M3": (trial_log_likelihood(fits.test, fits.fit(rungs["M3"])[1]), trial_log_likelihood(fresh, below))}
    scores["history"] = scores["history GLM"] = score(rungs[chosen])
    for name in networks:
        spec = ladder()[name]
        seeds = [int(stream(case.seed, "network", case.name, k, s).integers(2**62)) for s in range(OPTIONS.n_seeds)]
        rows = [replace(spec, seed=seed) for seed in seeds]
        each = [score(row) for row in rows]
        scores[name] = tuple(np.mean(values, axis=0) for values in zip(*each, strict=True))
        if spec.sees_history and np.mean([_validation(fits, row) for row in rows]) > validation[chosen]:
            scores["history"] = scores[name]
    own = {name: pair[0] for name, pair in scores.items()}
    own["M1"] = trial_log_likelihood(fits.test, fits.fit(rungs["M1"])[1])
    return own, {name: pair[1] for name, pair in scores.items()}


def _validation(fits: FoldFits, rung: Rung) -> float:
    """Give the score by which history rungs are chosen."""
    return fits.fit(rung)[0].validation_log_likelihood


def predict_fresh(fitted: Fitted, fresh: UnitTrials, below: np.ndarray) -> np.ndarray:
    """Give log mu of a rung that stands on M3, guarded or not, from that of M3."""
    if isinstance(fitted, FittedGuard):
        return fitted.extend(fresh, fitted.below.extend(fresh, below))
    return fitted.extend(fresh, below)


def over(case: UnitCase, scores: Scores, name: str, reference: str) -> Gain:
    """Give the held-out gain of one rung over another."""
    return gain_interval(scores[name], scores[reference], case.trials.spikes_per_trial, case.n_folds)


def judge(case: UnitCase, scores: Scores) -> str:
    """Give the verdict, over M3 and, where there are networks, over M6cut."""
    gains = [over(case, scores, "history", name) for name in ("M3", "M6cut") if name in scores]
    gains.sort(key=lambda gain: gain.value)
    p = 1.0
    if all(gain.low > 0.0 for gain in gains):
        kind = SIMULATED if over(case, scores, "M3", "M1").value > _NEGLIGIBLE_GAIN else EXCHANGED
        p = surrogate_p(case, kind, over(case, scores, "history GLM", "M3").value)
    return decide(gains, p, int(case.trials.spikes_per_trial.sum()), OPTIONS.rope).verdict


def surrogate_p(case: UnitCase, kind: str, observed: float) -> float:
    """Rank the gain of the history GLM among those of surrogates; stop as soon as p exceeds .05."""
    rungs = {name: rung for name, rung in candidates().items() if rung.is_candidate}
    n_as_large, smallest = 0, 1.0 / (OPTIONS.n_surrogates + 1)
    for b in range(OPTIONS.n_surrogates):
        result = surrogate_work(case, rungs, kind, b)
        rows, history = result["log_likelihood"], np.empty(case.fold.size)
        for k, row in enumerate(result["validation"]):
            history[case.fold == k] = rows[int(np.nanargmax(row)), case.fold == k]
        value = gain_interval(history, rows[list(rungs).index("M3")], result["n_spikes"], case.n_folds).value
        n_as_large += not value < observed
        if (1 + n_as_large) * smallest > SIGNIFICANCE:
            break
    return (1 + n_as_large) * smallest


def compared(task: Task) -> dict[str, Any]:
    """Give what `cortexrnn.compare` says of the same recording: an entry of its summary."""
    case = draw_case(task)
    trials = TrialDesign(n_trials=task.n_trials, duration_s=DURATION_S).trials(case.trials.counts)
    trials = trials.assign_coords(start_s=("trial", case.trials.start_s, trials["start_s"].attrs))
    models = ladder((*QUICK_RUNGS, *(NETWORKS if task.has_networks else ())))
    options = replace(OPTIONS, n_copies=0, n_surrogates=OPTIONS.n_surrogates if task.is_judged else 0)
    result = compare(trials, models=models, seed=task.number, options=options, run=RunSettings(workers=1))
    return result.summary["units"][0]
