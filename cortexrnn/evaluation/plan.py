"""From one unit's trials to its held-out scores: which work is needed, and how its results fit together."""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields, replace

import numpy as np

from cortexrnn.encoding.arrays import UnitTrials
from cortexrnn.encoding.divergence import shortest_interval
from cortexrnn.encoding.glm import HistoryGLM
from cortexrnn.encoding.likelihood import LIKELIHOODS, mean_likelihood
from cortexrnn.encoding.model import Rung
from cortexrnn.encoding.network_rung import NetworkRung
from cortexrnn.evaluation.copying import COPIED, join_folds
from cortexrnn.evaluation.fold_orders import REFOLDED, FoldOrders, compare_fold_orders, refold, refold_work
from cortexrnn.evaluation.free_run import FreeRun, judge_copies
from cortexrnn.evaluation.goodness import GoodnessOfFit, judge_rescaled
from cortexrnn.evaluation.ladder import CONTROL
from cortexrnn.evaluation.noise_ceiling import NoiseCeiling, ceiling_work, read_ceiling
from cortexrnn.evaluation.options import CompareOptions
from cortexrnn.evaluation.rescaling import Clock, join_clocks, run_clock
from cortexrnn.evaluation.scores import gain_interval
from cortexrnn.evaluation.work import (
    EXCHANGED,
    JUDGED,
    RUNS_FREELY,
    SIMULATED,
    TIMESCALE_WINDOWS_S,
    UnitCase,
    fold_work,
    panel_work,
    surrogate_work,
)
from cortexrnn.numerics.streams import stream
from cortexrnn.runs.executor import Arrays, Work
from cortexrnn.runs.store import array_key, content_key

# M3 over M1, in bits per spike, from which on surrogates must carry the gain that exchanged trials lose.
_NEGLIGIBLE_GAIN = 0.001
_CONTROL_EXCHANGES = 5
_MICROSECONDS_A_BIN = {"fold": 4.0, "refold": 0.6, "ceiling": 1.0, "panel": 1.0, "surrogate": 5.0, "network": 4.0}
_LABELS = {
    "fold": "ladder", "refold": "ladder, other folds", "ceiling": "ceiling", "panel": "figures", "network": "networks",
    "surrogate": "surrogates",
}  # fmt: skip


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class UnitScores:
    """Everything measured on one unit.

    Attributes
    ----------
    case : UnitCase
    log_likelihood : dict of str to ndarray, shape (n_seeds, n_trials)
        Held-out log-likelihood of every rung, of the history rung (``history``), and of the history
        GLM windows; rungs without networks repeat the same values for every seed.
    chosen : list of str
        History rung chosen in each training set.
    chosen_glm : list of str
        The same without networks, which is what the surrogates are compared with.
    timescale : ndarray, shape (n_windows, n_trials)
    surrogates : list of dict
        Results of `surrogate_work`.
    surrogate_kind : str
    exchanged : list of dict
        Results of `surrogate_work` on trial exchanges, the built-in negative control.
    age_expected : dict of str to ndarray, shape (n_steps,)
        Expected spikes by bins since the last spike, teacher-forced on held-out trials.
    age_spikes : ndarray, shape (n_steps,)
    leaking : list of str
        Rungs whose prediction moved with its own bin.
    n_leak_probes : int
    goodness : dict of str to GoodnessOfFit
        Tests of the PSTH and of the history GLM on the rescaled clock of held-out trials.
    free_runs : dict of str to FreeRun
        What the history GLM and the networks of the first seed do on their own spikes, each held-out trial copied by
        models that have not seen it.
    fold_orders : FoldOrders or None
        How scores change with folds of the other order; None where those leave nothing to train on.
    ceiling : NoiseCeiling or None
        What a stimulus-locked rate can reach; None where time within the trial has no meaning.
    panel : dict of ndarray
        Results of `panel_work`.
    """

    case: UnitCase
    log_likelihood: dict[str, np.ndarray]
    chosen: list[str]
    chosen_glm: list[str]
    timescale: np.ndarray
    surrogates: list[Arrays]
    surrogate_kind: str
    exchanged: list[Arrays]
    age_expected: dict[str, np.ndarray]
    age_spikes: np.ndarray
    leaking: list[str]
    n_leak_probes: int
    goodness: dict[str, GoodnessOfFit]
    free_runs: dict[str, FreeRun]
    fold_orders: FoldOrders | None
    ceiling: NoiseCeiling | None
    panel: Arrays


class UnitPlan:
    """The work of one unit, in two stages: fits first, then surrogates of a kind that depends on them.

    Parameters
    ----------
    case : UnitCase
        The unit.
    models : mapping of str to Rung
        The ladder.
    options : CompareOptions
        Settings.
    code : str
        Key of the package's source.
    """

    def __init__(self, case: UnitCase, models: Mapping[str, Rung], options: CompareOptions, code: str):
        self.case = case
        self.options = options
        self.reported = list(models)
        glm = models["M5"]
        # A window shorter than a bin holds no lag.
        lengths = [window_s for window_s in options.history_windows_s if window_s >= case.trials.bin_s]
        windows = {f"M5 {window_s * 1e3:g} ms": replace(glm, history_s=window_s) for window_s in lengths}
        self.glm: HistoryGLM = glm
        self.plain = {name: rung for name, rung in models.items() if not isinstance(rung, NetworkRung)} | windows
        self.tested = {name: rung for name, rung in self.plain.items() if rung.is_candidate}
        self.refolded = refold(case)
        self.twice = {name: self.plain[name] for name in REFOLDED if name in self.plain}
        self.networks = {name: rung for name, rung in models.items() if isinstance(rung, NetworkRung)}
        data = case.trials
        self._base = {
            "code": code,
            "data": array_key(
                data.counts, data.observed, data.scored, data.condition, data.start_s, case.fold, *_context(data)
            ),
            "bin_s": data.bin_s,
            "is_locked": data.is_locked,
            "unit": case.name,
            "seed": case.seed,
            "likelihood": case.likelihood,
            "n_copies": options.n_copies,
            "models": {name: _describe(rung) for name, rung in (self.plain | self.networks).items()},
        }

    def fits(self) -> list[Work]:
        """Give the work of the first stage: folds, figures, networks."""
        folds = range(self.case.n_folds)
        n_copies = self.options.n_copies
        works = [self._work("fold", functools.partial(fold_work, self.case, self.plain, k, n_copies), k) for k in folds]
        if self.refolded is not None:
            again = functools.partial(refold_work, self.refolded, self.twice)
            works += [self._work("refold", functools.partial(again, k), k) for k in folds]
        if self.case.trials.is_locked:
            works.append(self._work("ceiling", functools.partial(ceiling_work, self.case)))
        works.append(self._work("panel", functools.partial(panel_work, self.case, self.plain, self.glm)))
        if self.networks:
            for seed in range(self.options.n_seeds):
                works += [self._work("network", functools.partial(self._train, seed, k), seed, k) for k in folds]
        return works

    def surrogates(self, results: Mapping[str, Arrays]) -> list[Work]:
        """Give the work of the second stage, once the fits are known."""
        kind = self.surrogate_kind(results)
        drawn = [(kind, b) for b in range(self.options.n_surrogates)]
        if kind != EXCHANGED:
            drawn += [(EXCHANGED, b) for b in range(self._n_exchanges)]
        return [
            self._work("surrogate", functools.partial(surrogate_work, self.case, self.tested, kind, b), kind, b)
            for kind, b in drawn
        ]

    def cost(self) -> float:
        """Give the rough cost of all work of both stages, before the second is known."""
        return sum(work.cost for work in self.fits()) + self.surrogate_cost()

    def surrogate_cost(self) -> float:
        """Give the rough cost of the second stage where surrogates are the control as well."""
        return self.options.n_surrogates * self._cost("surrogate")

    @property
    def _n_exchanges(self) -> int:
        """Trial exchanges of the control where the surrogate test itself uses none."""
        return min(_CONTROL_EXCHANGES, self.options.n_surrogates)

    def surrogate_kind(self, results: Mapping[str, Arrays]) -> str:
        """Exchange trials unless covariates, drift or gain would be lost with them: then simulate from M3."""
        if "S1" in self.plain:
            return SIMULATED
        scores = self._gather(results, "fold", list(self.plain))
        n_spikes = self.case.trials.spikes_per_trial
        gain = gain_interval(scores[CONTROL], scores["M1"], n_spikes, self.case.n_folds)
        return SIMULATED if gain.value > _NEGLIGIBLE_GAIN else EXCHANGED

    def collect(self, results: Mapping[str, Arrays]) -> UnitScores:
        """Put the results of both stages together."""
        n_seeds = self.options.n_seeds if self.networks else 1
        folds = range(self.case.n_folds)
        plain = list(self.plain)
        found = [results[self._key("fold", k)] for k in folds]
        seeds = range(n_seeds if self.networks else 0)
        trained = {(seed, k): results[self._key("network", seed, k)] for seed in seeds for k in folds}
        gathered = self._gather(results, "fold", plain)
        scores = {name: np.repeat(values[None], n_seeds, axis=0) for name, values in gathered.items()}
        age_expected = {name: sum(r["age_expected"][j] for r in found) for j, name in enumerate(plain)}
        leaking = [name for r in found for j, name in enumerate(plain) if r["leaks"][j]]
        for j, name in enumerate(self.networks):
            scores[name] = np.empty((n_seeds, self.case.fold.size))
            age_expected[name] = sum(r["age_expected"][j] for r in trained.values()) / n_seeds
            for (seed, k), r in trained.items():
                scores[name][seed, self.case.fold == k] = r["log_likelihood"][j]
            leaking += [name for r in trained.values() if r["leaks"][j]]
        validation = np.array([r["validation"] for r in found])
        glm_choice = [plain[int(np.nanargmax(row))] for row in validation]
        choice = list(glm_choice)
        for k in folds if trained else ():
            rows = np.array([trained[seed, k]["validation"] for seed in range(n_seeds)]).mean(axis=0)
            j = int(np.nanargmax(rows))
            if rows[j] > np.nanmax(validation[k]):
                choice[k] = list(self.networks)[j]
        scores["history"] = self._pick(scores, choice)
        scores["history GLM"] = self._pick(scores, glm_choice)
        age_expected["history"] = self._expected_of_choice(found, trained, choice, n_seeds)
        timescale = np.empty((len(TIMESCALE_WINDOWS_S), self.case.fold.size))
        for k in folds:
            timescale[:, self.case.fold == k] = found[k]["timescale"]
        kind = self.surrogate_kind(results)
        surrogates = [results[self._key("surrogate", kind, b)] for b in range(self.options.n_surrogates)]
        exchanged = surrogates
        if kind != EXCHANGED:
            exchanged = [results[self._key("surrogate", EXCHANGED, b)] for b in range(self._n_exchanges)]
        return UnitScores(
            case=self.case,
            log_likelihood=scores,
            chosen=choice,
            chosen_glm=glm_choice,
            timescale=timescale,
            surrogates=surrogates,
            surrogate_kind=kind,
            exchanged=exchanged,
            age_expected=age_expected,
            age_spikes=sum(r["age_spikes"] for r in found),
            leaking=sorted(set(leaking)),
            n_leak_probes=len(found) * len(plain) + len(trained) * len(self.networks),
            goodness={name: self._judge(found, name) for name in JUDGED if name in self.plain},
            free_runs=self._run_freely(found, trained),
            fold_orders=self._reorder(results, gathered),
            ceiling=read_ceiling(results[self._key("ceiling")]) if self.case.trials.is_locked else None,
            panel=results[self._key("panel")],
        )

    def surrogate_gain(self, surrogate: Arrays) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Give per-trial log-likelihoods of the chosen history GLM, of M5 and of M3 on a surrogate."""
        names = list(self.tested)
        rows = surrogate["log_likelihood"]
        history = np.empty(rows.shape[1])
        for k, row in enumerate(surrogate["validation"]):
            is_test = self.case.fold == k
            history[is_test] = rows[int(np.nanargmax(row)), is_test]
        return history, rows[names.index("M5")], rows[names.index(CONTROL)]

    def _judge(self, found: list[Arrays], name: str) -> GoodnessOfFit:
        """Glue the clocks of a rung on all held-out trials and test it."""
        clocks = [Clock(*(result[f"{name} {field}"] for field in Clock._fields)) for result in found]
        held_out = [np.flatnonzero(self.case.fold == k) for k in range(self.case.n_folds)]
        whole = join_clocks(clocks, held_out)
        bin_s, seed = self.case.trials.bin_s, self.case.seed
        return judge_rescaled(run_clock(whole, bin_s, likelihood=mean_likelihood(self.case.likelihood), seed=seed))

    def _reorder(self, results: Mapping[str, Arrays], scores: Mapping[str, np.ndarray]) -> FoldOrders | None:
        """Compare the scores with those of folds of the other order."""
        if self.refolded is None:
            return None
        other = self._gather(results, "refold", list(self.twice), fold=self.refolded.fold)
        own = {name: scores[name] for name in self.twice}
        orders = (own, other) if self.options.fold_order == "contiguous" else (other, own)
        n_spikes = self.case.trials.spikes_per_trial
        return compare_fold_orders(*orders, n_spikes, n_folds=self.case.n_folds, rope=self.options.rope)

    def _run_freely(self, found: list[Arrays], trained: Mapping[tuple[int, int], Arrays]) -> dict[str, FreeRun]:
        """Judge the copies of all folds together."""
        runs, trials = {}, self.case.trials
        if not self.options.n_copies or self.case.likelihood not in LIKELIHOODS:
            return runs
        held_out = [np.flatnonzero(self.case.fold == k) for k in range(self.case.n_folds)]
        for name in (name for name in RUNS_FREELY if name in self.reported):
            results = [trained[0, k] for k in range(self.case.n_folds)] if name in self.networks else found
            parts = [{field: result[f"{name} {field}"] for field in COPIED} for result in results]
            copies, log_mu = join_folds(trials, parts, held_out)
            runs[name] = judge_copies(
                trials, copies, log_mu, likelihood=self.case.likelihood, n_dead=shortest_interval(trials)
            )
        return runs

    def _train(self, seed: int, k: int) -> Arrays:
        """Fit the networks of one seed on all folds but `k`."""
        draw = int(stream(self.case.seed, "network", self.case.name, k, seed).integers(2**62))
        rungs = {name: replace(rung, seed=draw) for name, rung in self.networks.items()}
        # The networks of one seed run freely: copies of others would tell the same.
        return fold_work(self.case, rungs, k, self.options.n_copies if seed == 0 else 0)

    def _gather(
        self, results: Mapping[str, Arrays], kind: str, names: list[str], *, fold: np.ndarray | None = None
    ) -> dict[str, np.ndarray]:
        """Lay the folds' held-out scores of every rung back onto the trials."""
        fold = self.case.fold if fold is None else fold
        scores = {name: np.empty(self.case.fold.size) for name in names}
        for k in range(self.case.n_folds):
            rows = results[self._key(kind, k)]["log_likelihood"]
            for j, name in enumerate(names):
                scores[name][fold == k] = rows[j]
        return scores

    def _pick(self, scores: Mapping[str, np.ndarray], choice: list[str]) -> np.ndarray:
        """Take every fold's scores from the rung chosen in its training set."""
        picked = np.empty_like(scores[CONTROL])
        for k, name in enumerate(choice):
            picked[:, self.case.fold == k] = scores[name][:, self.case.fold == k]
        return picked

    def _expected_of_choice(self, found, trained, choice, n_seeds) -> np.ndarray:
        """Sum the chosen rungs' expected spikes by time since the last spike."""
        plain, networks = list(self.plain), list(self.networks)
        total = np.zeros_like(found[0]["age_spikes"])
        for k, name in enumerate(choice):
            if name in self.networks:
                total += sum(trained[s, k]["age_expected"][networks.index(name)] for s in range(n_seeds)) / n_seeds
            else:
                total += found[k]["age_expected"][plain.index(name)]
        return total

    def _work(self, kind: str, run: Callable[[], Arrays], *which: object) -> Work:
        """Wrap a unit of work with its address, label and cost."""
        return Work(self._key(kind, *which), f"unit {self.case.name}: {_LABELS[kind]}", self._cost(kind), run)

    def _key(self, kind: str, *which: object) -> str:
        """Give the content address of a unit of work."""
        return content_key(self._base | {"kind": kind, "which": list(which)})

    def _cost(self, kind: str) -> float:
        """Guess a duration in seconds from the number of bins."""
        return _MICROSECONDS_A_BIN[kind] * 1e-6 * self.case.trials.counts.size


def _context(trials: UnitTrials) -> list[np.ndarray]:
    """Give what rungs may look at beside the unit's own spikes."""
    context = [] if trials.covariates is None else [trials.covariates]
    if trials.neighbours is not None:
        context += [trials.neighbours.counts, np.array(trials.neighbours.own)]
    return context


def _describe(rung: Rung) -> dict[str, object]:
    """Describe a rung's spec, its baselines included, in JSON-able terms."""
    values = {field.name: getattr(rung, field.name) for field in fields(rung)}
    return {"type": type(rung).__name__} | {
        name: _describe(value) if isinstance(value, Rung) else repr(value) for name, value in values.items()
    }
