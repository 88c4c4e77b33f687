"""The bursting mouse unit on its own spikes: which history models run away, and what it costs to stop them.

    python validation/recordings/free_run.py FOLDER

FOLDER holds ``mouse_psb_nwb/A8604-211122.nwb``, as for `run.py`. Every held-out block is copied by a model that was
fitted to the other folds. Writes ``free_run.md``; exits with 1 if a copy of a model with a bounded link runs away.
"""

from __future__ import annotations

import argparse
import sys
import warnings
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

import cortexrnn as cx
from cortexrnn.encoding import UnitTrials, unit_trials
from cortexrnn.encoding.divergence import find_divergent, shortest_interval
from cortexrnn.encoding.likelihood import trial_log_likelihood
from cortexrnn.encoding.model import Rung
from cortexrnn.encoding.simulation import Copies, simulate_copies
from cortexrnn.errors import EXIT_CHECK_FAILED, EXIT_DONE, CortexWarning
from cortexrnn.evaluation.free_run import FreeRun, judge_copies
from cortexrnn.evaluation.ladder import QUICK_RUNGS
from cortexrnn.evaluation.scores import Gain, gain_interval
from cortexrnn.evaluation.work import FoldFits
from cortexrnn.spikes.folds import assign_folds

HERE = Path(__file__).parent
RECORDING, UNIT = "mouse_psb_nwb/A8604-211122.nwb", "191"
N_FOLDS, N_COPIES, SEED = 5, 100, 0
PLAIN = "M5"
# Must not run away; a stabilised filter alone promises less.
BOUNDED = ("M5 bounded", "M5 bounded and stabilised")
HEAD = (
    "model",
    "copies that run away",
    "models that run away",
    "bits/spike over M0 [95 %]",
    "over plain M5 [95 %]",
    "rate, Hz [95 % of copies]",
    "within 2 ms of the last spike [95 % of copies]",
    "CV [95 % of copies]",
)


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Outcome:
    """What one model did.

    Attributes
    ----------
    log_likelihood : ndarray, shape (n_trials,)
        Of the held-out blocks, on the unit's own spikes.
    run : FreeRun
        Its copies beside the unit.
    n_away : ndarray of int, shape (N_FOLDS,)
        Copies of each fold's model that ran away.
    """

    log_likelihood: np.ndarray
    run: FreeRun
    n_away: np.ndarray


def models() -> dict[str, Rung]:
    """Give the models by name, those of the usual ladder and M5 with each remedy.

    Returns
    -------
    dict of str to Rung
    """
    rungs = cx.ladder(QUICK_RUNGS)
    plain = rungs["M5"]
    return {
        "M4": rungs["M4"],
        PLAIN: plain,
        "M5 bounded": replace(plain, link="bounded"),
        "M5 stabilised": replace(plain, is_stabilised=True),
        "M5 bounded and stabilised": replace(plain, link="bounded", is_stabilised=True),
    }


def let_run(rung: Rung, trials: UnitTrials, fold: np.ndarray, seed: int = SEED) -> Outcome:
    """Fit a model to all folds but one in turn, score the one, and let the model copy it on its own spikes.

    Parameters
    ----------
    rung : Rung
    trials : UnitTrials
    fold : ndarray of int64, shape (n_trials,)
    seed : int
        Seed of the copies.

    Returns
    -------
    Outcome
    """
    shape = (N_COPIES, trials.n_trials)
    copies = Copies(np.empty((*shape, trials.counts.shape[1]), np.uint16), np.empty(shape), np.empty(shape, bool))
    log_mu = np.empty(trials.counts.shape)
    for k in range(N_FOLDS):
        is_test = fold == k
        fits = FoldFits(trials.take(~is_test), trials.take(is_test))
        fitted, log_mu[is_test] = fits.fit(rung)
        made = simulate_copies(fitted, fits.test, n_copies=N_COPIES, seed=seed + k)
        for whole, part in zip(copies, made, strict=True):
            whole[:, is_test] = part
    n_dead = shortest_interval(trials)
    diverges, _ = find_divergent(trials, copies, n_dead)
    return Outcome(
        log_likelihood=trial_log_likelihood(trials, log_mu),
        run=judge_copies(trials, copies, log_mu, n_dead=n_dead),
        n_away=np.array([diverges[:, fold == k].sum() for k in range(N_FOLDS)]),
    )


def row(name: str, outcome: Outcome, gain: Gain, over_plain: Gain) -> str:
    """Write one model as a line of the table.

    Parameters
    ----------
    name : str
    outcome : Outcome
    gain : Gain
        Over a constant rate.
    over_plain : Gain
        Over M5 without a remedy.

    Returns
    -------
    str
    """
    n_copies = outcome.run.n_copies * outcome.run.n_trials
    data = outcome.run.data

    def copies(statistic: str, digits: int) -> str:
        one = data.sel(statistic=statistic)
        mean, low, high = (float(one[name]) for name in ("simulated", "low", "high"))
        return f"{mean:.{digits}f} [{low:.{digits}f}, {high:.{digits}f}]"

    cells = [
        name,
        f"{outcome.n_away.sum()} of {n_copies} ({100.0 * outcome.n_away.sum() / n_copies:.3g} %)",
        f"{(outcome.n_away > 0).sum()} of {outcome.n_away.size}",
        _interval(gain),
        "-" if name == PLAIN else _interval(over_plain),
        copies("rate_hz", 1),
        copies("refractory_mass", 3),
        copies("cv", 2),
    ]
    return f"| {' | '.join(cells)} |"


def _interval(gain: Gain) -> str:
    """Write a gain with its interval."""
    return f"{gain.value:+.3f} [{gain.low:+.3f}, {gain.high:+.3f}]"


def table(trials: UnitTrials, outcomes: dict[str, Outcome], constant: np.ndarray) -> str:
    """Write all models, and the unit itself below them.

    Parameters
    ----------
    trials : UnitTrials
    outcomes : dict of str to Outcome
        By model, `PLAIN` among them.
    constant : ndarray, shape (n_trials,)
        Held-out log-likelihood of M0.

    Returns
    -------
    str
        A table in Markdown.
    """
    n_spikes = trials.spikes_per_trial

    def over(name: str, reference: np.ndarray) -> Gain:
        return gain_interval(outcomes[name].log_likelihood, reference, n_spikes, N_FOLDS)

    lines = [f"| {' | '.join(HEAD)} |", "|" + "---|" * len(HEAD)]
    plain = outcomes[PLAIN].log_likelihood
    lines += [row(name, outcome, over(name, constant), over(name, plain)) for name, outcome in outcomes.items()]
    observed = outcomes[PLAIN].run.data["observed"]
    rate_hz, mass, cv = (float(observed.sel(statistic=name)) for name in ("rate_hz", "refractory_mass", "cv"))
    lines.append(f"| the unit itself | - | - | - | - | {rate_hz:.1f} | {mass:.3f} | {cv:.2f} |")
    return "\n".join(lines) + "\n"


def broken_promises(outcomes: dict[str, Outcome]) -> list[str]:
    """Give the models with a bounded link of which a copy ran away.

    Parameters
    ----------
    outcomes : dict of str to Outcome
        By model.

    Returns
    -------
    list of str
    """
    return [name for name in BOUNDED if outcomes[name].n_away.any()]


def main() -> int:
    """Let every model run, write the table and hold the promise."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path)
    given = parser.parse_args()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", CortexWarning)
        blocks = cx.read_recording(given.folder / RECORDING).blocks(units=[UNIT])
    trials = unit_trials(blocks)
    fold = assign_folds(blocks["condition"].values, N_FOLDS)
    constant = np.empty(trials.n_trials)
    for k in range(N_FOLDS):
        fits = FoldFits(trials.take(fold != k), trials.take(fold == k))
        constant[fold == k] = trial_log_likelihood(fits.test, fits.fit(cx.ladder()["M0"])[1])
    outcomes = {}
    for name, rung in models().items():
        outcomes[name] = let_run(rung, trials, fold)
        print(f"{name}: {outcomes[name].run.sentence}", flush=True)
    (HERE / "free_run.md").write_text(table(trials, outcomes, constant))
    broken = broken_promises(outcomes)
    for name in broken:
        print(f"FAIL {name} runs away")
    return EXIT_CHECK_FAILED if broken else EXIT_DONE


if __name__ == "__main__":
    sys.exit(main())
