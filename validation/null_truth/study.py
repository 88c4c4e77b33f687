"""Measure how often history is found where there is none, whether intervals cover, and what can be detected.

    python validation/null_truth/study.py nulls    [--n 200]
    python validation/null_truth/study.py power    [--n 40]
    python validation/null_truth/study.py networks [--n 10]

Three kinds of simulated units without history (Poisson from a PSTH; the same with a Gamma trial gain
of variance 0.25; the same with a linear drift), 10, 20 and 60 trials of one second; and units with a
3 ms dead time at 5, 20 and 50 Hz. Every recording goes through the ladder's own work: the history
rung is chosen inside each training set, and the verdict is that of `cortexrnn.evaluation.decide`.
Surrogates are drawn only where the interval alone would say that history matters: elsewhere they
could not change the verdict.

The estimand of the interval (mean over folds of the fitted pair's expected gain on fresh trials) is
measured on 400 fresh trials a fold, drawn at the positions of the held-out trials.

Writes one table beside this file and exits with 1 if a promise is not kept.
"""

from __future__ import annotations

import argparse
import sys
from concurrent.futures import ProcessPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import numpy as np

from cortexrnn.encoding.arrays import UnitTrials, unit_trials
from cortexrnn.encoding.likelihood import trial_log_likelihood
from cortexrnn.evaluation.compare import compare
from cortexrnn.evaluation.ladder import QUICK_RUNGS, ladder
from cortexrnn.evaluation.options import CompareOptions
from cortexrnn.evaluation.scores import gain_interval
from cortexrnn.evaluation.verdict import HISTORY_MATTERS, decide
from cortexrnn.evaluation.work import EXCHANGED, SIMULATED, FoldFits, UnitCase, surrogate_work
from cortexrnn.spikes.folds import assign_folds
from cortexrnn.spikes.generate import linear_drift, simulate_spikes
from cortexrnn.spikes.trial_design import TrialDesign

HERE = Path(__file__).parent
KINDS = ("poisson", "trial gain", "drift")
TRIALS = (10, 20, 60)
DEAD_TIME_S = 0.003
DEAD_RATES_HZ = (5.0, 20.0, 50.0)
N_SURROGATES = 19
N_FRESH = 400
LN2 = np.log(2.0)


class Outcome(NamedTuple):
    """What came out for one simulated recording."""

    verdict: str
    gain: float
    low: float
    high: float
    estimand: float


def simulate(kind: str, n_trials: int, seed: int, *, copies: int = 1) -> UnitTrials:
    """Simulate a unit; with `copies` every trial position is drawn that many times, one after another."""
    design = TrialDesign(n_trials=n_trials, duration_s=1.0)
    if kind.startswith("dead time"):
        rate = design.rate_hz(float(kind.split()[-2]))
    else:
        rate = design.rate_hz(lambda t: 20.0 + 15.0 * np.sin(np.pi * np.clip(t, 0.0, 1.0)) ** 2)
    if kind == "drift":
        rate = rate * linear_drift(n_trials, 1.0)[:, None]
    rate = np.repeat(rate, copies, axis=0)
    gain = 0.25 if kind == "trial gain" else 0.0
    dead = DEAD_TIME_S if kind.startswith("dead time") else 0.0
    counts = simulate_spikes(rate, design.bin_s, gain_variance=gain, dead_time_s=dead, seed=seed)
    whole = TrialDesign(n_trials=n_trials * copies, duration_s=1.0)
    data = unit_trials(whole.trials(counts))
    return data._replace(start_s=np.repeat(np.arange(n_trials) * 2.0, copies))


def candidates() -> dict:
    """Give the rungs of the quick ladder with the windows of the history rung."""
    models = ladder(QUICK_RUNGS)
    windows = CompareOptions().history_windows_s
    return models | {f"M5 {w}": replace(models["M5"], history_s=w) for w in windows}


def run_one(task: tuple[str, int, int]) -> Outcome:
    """Simulate a recording, fit, decide, and measure the estimand on fresh trials."""
    kind, n_trials, number = task
    data = simulate(kind, n_trials, 1_000_003 * number + n_trials)
    copies = -(-N_FRESH * 5 // n_trials)
    fresh = simulate(kind, n_trials, 1_000_003 * number + n_trials + 500_000_000, copies=copies)
    fold = assign_folds(data.condition, 5)
    fresh_fold = np.repeat(fold, copies)
    rungs = candidates()
    history, control = np.empty(n_trials), np.empty(n_trials)
    expected = []
    scores = {name: np.empty(n_trials) for name in ("M1", "M3")}
    for k in range(5):
        fits = FoldFits(data.take(fold != k), data.take(fold == k))
        seen = {name: fits.fit(rung)[0] for name, rung in rungs.items() if rung.sees_history}
        chosen = max(seen, key=lambda name: seen[name].validation_log_likelihood)
        history[fold == k] = trial_log_likelihood(fits.test, fits.fit(rungs[chosen])[1])
        for name in scores:
            scores[name][fold == k] = trial_log_likelihood(fits.test, fits.fit(rungs[name])[1])
        other = fresh.take(fresh_fold == k)
        below = fits.fit(rungs["M3"])[0].log_mu(other)
        difference = trial_log_likelihood(other, seen[chosen].extend(other, below)) - trial_log_likelihood(other, below)
        expected.append(difference.sum() / LN2 / other.spikes_per_trial.sum())
    control = scores["M3"]
    n_spikes = data.spikes_per_trial
    gain = gain_interval(history, control, n_spikes, 5)
    p = 1.0
    if gain.low > 0.0:
        p = surrogate_p(data, fold, rungs, gain.value, gain_interval(control, scores["M1"], n_spikes, 5).value)
    verdict = decide([gain], p, int(n_spikes.sum()), 0.01).verdict
    return Outcome(verdict, gain.value, gain.low, gain.high, float(np.mean(expected)))


def surrogate_p(data: UnitTrials, fold: np.ndarray, rungs: dict, observed: float, above_psth: float) -> float:
    """Rank the gain among those of surrogates; stop as soon as p exceeds .05."""
    case = UnitCase(name="study", trials=data, fold=fold, seed=0, likelihood="poisson")
    kind = SIMULATED if above_psth > 0.001 else EXCHANGED
    names = list(rungs)
    for b in range(N_SURROGATES):
        result = surrogate_work(case, rungs, kind, b)
        history = np.empty(fold.size)
        for k in range(5):
            history[fold == k] = result["log_likelihood"][int(np.nanargmax(result["validation"][k])), fold == k]
        control = result["log_likelihood"][names.index("M3")]
        if gain_interval(history, control, result["n_spikes"], 5).value >= observed:
            return 2.0 / (N_SURROGATES + 1)
    return 1.0 / (N_SURROGATES + 1)


def run_many(tasks: list[tuple[str, int, int]], workers: int) -> list[Outcome]:
    """Run recordings on processes, in order."""
    with ProcessPoolExecutor(workers) as pool:
        return list(pool.map(run_one, tasks, chunksize=4))


def study_nulls(n: int, workers: int) -> bool:
    """Tabulate false positives and coverage."""
    lines = [
        f"# Units without history: {n} simulated recordings each",
        "",
        "`python validation/null_truth/study.py nulls`; "
        "promise: \"history matters\" in at most 5 %, coverage at least 93 %.",
        "",
        "| truth | trials | \"history matters\" | \"no relevant history\" | inconclusive "
        "| coverage of 95 % interval | mean gain | mean estimand |",
        "|---|---|---|---|---|---|---|---|",
    ]
    kept = True
    for kind in KINDS:
        for n_trials in TRIALS:
            found = run_many([(kind, n_trials, i) for i in range(n)], workers)
            false = np.mean([o.verdict == HISTORY_MATTERS for o in found])
            none = np.mean([o.verdict == "no relevant history" for o in found])
            covered = np.mean([o.low <= o.estimand <= o.high for o in found])
            kept &= bool(false <= 0.05 and covered >= 0.93)
            lines.append(
                f"| {kind} | {n_trials} | {false:.3f} | {none:.3f} | {1 - false - none:.3f} | {covered:.3f} "
                f"| {np.mean([o.gain for o in found]):+.4f} | {np.mean([o.estimand for o in found]):+.4f} |"
            )
            print(lines[-1], flush=True)
    (HERE / "nulls.md").write_text("\n".join(lines) + "\n")
    return kept


def study_power(n: int, workers: int) -> bool:
    """Tabulate how often a 3 ms dead time is found, against rate and trials."""
    lines = [
        f"# Power against a 3 ms dead time: {n} simulated recordings each, trials of one second",
        "",
        "`python validation/null_truth/study.py power`; "
        "exact gain of the true model: 0.0218, 0.0893, 0.2345 bits/spike.",
        "",
        "| rate (Hz) | trials | spikes | \"history matters\" | mean gain | coverage of 95 % interval |",
        "|---|---|---|---|---|---|",
    ]
    for rate in DEAD_RATES_HZ:
        for n_trials in TRIALS:
            found = run_many([(f"dead time {rate:g} Hz", n_trials, i) for i in range(n)], workers)
            hit = np.mean([o.verdict == HISTORY_MATTERS for o in found])
            covered = np.mean([o.low <= o.estimand <= o.high for o in found])
            gain = np.mean([o.gain for o in found])
            lines.append(f"| {rate:g} | {n_trials} | {rate * n_trials:g} | {hit:.3f} | {gain:+.4f} | {covered:.3f} |")
            print(lines[-1], flush=True)
    (HERE / "power.md").write_text("\n".join(lines) + "\n")
    return True


def study_networks(n: int) -> bool:
    """Tabulate the whole comparison, networks included, on units without history."""
    lines = [
        f"# Units without history, networks included: {n} simulated recordings each, 20 trials",
        "",
        "`python validation/null_truth/study.py networks`; M6cut must gain nothing over M3.",
        "",
        "| truth | \"history matters\" | M6cut over M3: mean, largest | lower bound above 0 | M6 over M3: mean |",
        "|---|---|---|---|---|",
    ]
    kept = True
    for kind in KINDS:
        verdicts, cut, above, network = [], [], [], []
        for i in range(n):
            data = simulate(kind, 20, 1_000_003 * i + 20)
            trials = TrialDesign(n_trials=20, duration_s=1.0).trials(data.counts)
            trials = trials.assign_coords(start_s=("trial", data.start_s))
            result = compare(trials, options=CompareOptions(n_surrogates=N_SURROGATES))
            log_likelihood = result.scores["log_likelihood"].isel(unit=0).mean("seed")
            gains = {name: gain_interval(log_likelihood.sel(rung=name).values, log_likelihood.sel(rung="M3").values,
                                         data.spikes_per_trial, 5) for name in ("M6", "M6cut")}
            verdicts.append(result.summary["units"][0]["verdict"])
            cut.append(gains["M6cut"].value)
            above.append(gains["M6cut"].low > 0.0)
            network.append(gains["M6"].value)
        false = np.mean([v == HISTORY_MATTERS for v in verdicts])
        kept &= bool(false <= 0.05)
        lines.append(
            f"| {kind} | {false:.3f} | {np.mean(cut):+.4f}, {np.max(cut):+.4f} | {np.mean(above):.3f} "
            f"| {np.mean(network):+.4f} |"
        )
        print(lines[-1], flush=True)
    (HERE / "networks.md").write_text("\n".join(lines) + "\n")
    return kept


def main() -> int:
    """Run one part of the study."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("part", choices=("nulls", "power", "networks"))
    parser.add_argument("--n", type=int)
    parser.add_argument("--workers", type=int, default=2)
    given = parser.parse_args()
    if given.part == "nulls":
        kept = study_nulls(given.n or 200, given.workers)
    elif given.part == "power":
        kept = study_power(given.n or 40, given.workers)
    else:
        kept = study_networks(given.n or 10)
    return 0 if kept else 1


if __name__ == "__main__":
    sys.exit(main())
