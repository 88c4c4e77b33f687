"""Compare models of spike trains on the same held-out trials: the main job of the package."""

from __future__ import annotations

import functools
import importlib.metadata
import json
import os
import warnings
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr

from cortexrnn._checks import check_count
from cortexrnn.encoding.arrays import unit_trials
from cortexrnn.encoding.likelihood import likelihood_code, mean_likelihood
from cortexrnn.encoding.model import Rung
from cortexrnn.encoding.network_rung import NetworkRung
from cortexrnn.errors import DataError, DataWarning, OptionError
from cortexrnn.evaluation.comparison import Comparison
from cortexrnn.evaluation.evidence import UnitEvidence, unit_evidence
from cortexrnn.evaluation.ladder import ALWAYS, CONTROL, usual_models
from cortexrnn.evaluation.options import CompareOptions
from cortexrnn.evaluation.panels import join_panels, score_dataset, unit_panel
from cortexrnn.evaluation.plan import UnitPlan, UnitScores
from cortexrnn.evaluation.population_summary import population_summary, verdict_sentence
from cortexrnn.evaluation.source import Source
from cortexrnn.evaluation.summary import (
    control_summary,
    known_truth,
    silent_summary,
    unit_summary,
)
from cortexrnn.evaluation.warmup import compile_kernels
from cortexrnn.evaluation.work import UnitCase
from cortexrnn.runs.executor import Progress, default_workers, progress_bar, run_all, run_each
from cortexrnn.runs.store import Store, code_key
from cortexrnn.schema import is_stimulus_locked
from cortexrnn.spikes.folds import assign_folds, validation_split
from cortexrnn.spikes.recording import Recording


@dataclass(frozen=True, kw_only=True, slots=True)
class RunSettings:
    """How a comparison is run; nothing here changes a number.

    Attributes
    ----------
    workers : int or None
        Threads; None for every core that the process may use.
    folder : path or None
        Where finished units of work are kept, so that a stopped run goes on from there.
    shows_progress : bool
        Whether to draw a progress bar on the error stream.
    """

    workers: int | None = None
    folder: str | os.PathLike | None = None
    shows_progress: bool = False

    def __post_init__(self) -> None:
        """Check the number of workers."""
        if self.workers is not None:
            check_count("workers", self.workers)


def compare(
    data: xr.Dataset | Recording,
    *,
    models: Mapping[str, Rung] | None = None,
    seed: int = 0,
    options: CompareOptions | None = None,
    run: RunSettings | None = None,
    **alignment: Any,
) -> Comparison:
    """Ask of every unit whether its spike history predicts beyond rate, drift and gain.

    Parameters
    ----------
    data : xarray.Dataset or Recording
        Trials, or a Recording together with the arguments of `Recording.align`; a Recording without
        trials is cut into blocks (`Recording.blocks`).
    models : mapping of str to Rung, optional
        Rungs by name, by default the whole `ladder()`.
    seed : int
        Seed of surrogates, networks and random folds; the same seed gives the same bits.
    options : CompareOptions, optional
        Folds, seeds, surrogates, region of equivalence, likelihood.
    run : RunSettings, optional
        Threads, folder for resuming, progress bar.
    **alignment
        ``event``, ``window_s``, ``bin_s``, ``history_s``, ``condition``, ``units`` for a Recording, ``block_s`` in
        place of event, window and condition for one without trials, and ``covariates``, as for
        `with_covariates`, which bring the stimulus rung S1 into the usual ladder.

    Returns
    -------
    Comparison

    Raises
    ------
    OptionError
        If there are more folds than trials, a rung that the verdict needs is missing, or alignment is
        given with Trials.
    DataError
        If there are too few trials to hold any out.

    Warns
    -----
    DataWarning
        For units without spikes and for few trials.
    """
    options = options or CompareOptions()
    run = run or RunSettings()
    seed = check_count("seed", seed, at_least=0)
    models = dict(models) if models is not None else usual_models(options, alignment)
    for name, rung in models.items():
        if not rung.is_causal:
            raise OptionError(
                f"models[{name!r}], a {type(rung).__name__}, looks at later bins and predicts none from its past.",
                hint="Use co_smoothing(model, trials).",
            )
    missing = [name for name in ALWAYS if name not in models]
    if missing:
        raise OptionError(f"models has no {', '.join(missing)}, which the verdict needs.", hint="Start from ladder().")
    source = Source.of(data, alignment)
    job = _Job(
        models=models,
        options=options,
        seed=seed,
        code=code_key(),
        store=None if run.folder is None else Store(Path(run.folder) / "work"),
        n_workers=default_workers() if run.workers is None else run.workers,
    )
    # The first trials come before the compiler, so that nobody waits for it to hear of a misspelt event.
    chunks = source.chunks(with_neighbours=any(rung.needs_neighbours for rung in models.values()))
    trials = next(chunks)
    _check_enough(trials, options)
    compile_kernels(models, options, is_shown=run.shows_progress)
    template = trials.isel(unit=[0])
    answers: list[_Answer] = []
    with progress_bar(0.0, is_shown=run.shows_progress) as progress:
        while trials is not None:
            answers += job.answer(trials, progress, n_expected=0 if answers else source.n_units)
            # Let go of these trials before the next ones come.
            trials = None
            trials = next(chunks, None)
    units = [answer.summary for answer in answers]
    parts = {
        "recording": _describe_recording(source, template, answers),
        "settings": _describe_settings(models, options, seed, template),
        "units": units,
    }
    return _assemble(parts, [answer for answer in answers if answer.evidence is not None], template, options)


@dataclass(frozen=True, slots=True, eq=False)
class _Answer:
    """All that is kept of a unit; evidence and panel are None where it could not be scored."""

    summary: dict[str, Any]
    n_multi_spike_bins: int
    evidence: UnitEvidence | None = None
    panel: xr.Dataset | None = None


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class _Job:
    """What is asked of every unit, and how it is run."""

    models: Mapping[str, Rung]
    options: CompareOptions
    seed: int
    code: str
    store: Store | None
    n_workers: int

    def answer(self, trials: xr.Dataset, progress: Progress, *, n_expected: int) -> list[_Answer]:
        """Answer for every unit of a chunk; the plans and scores, which hold its trials, end here.

        The cost of `n_expected` units like these is added to the bar.
        """
        plans = self._plan(trials)
        scorable = [plan for plan in plans if isinstance(plan, UnitPlan)]
        progress.add_total(sum(plan.cost() for plan in scorable) * n_expected / len(plans))
        scores = self._run(scorable, progress)
        conditions, time_s = np.unique(trials["condition"].values), trials["time"].values
        crowded = (trials["counts"].values > 1).sum(axis=(0, 1)).tolist()
        answers = []
        for position, plan in enumerate(plans):
            name = str(trials["unit"].values[position])
            if isinstance(plan, str):
                warnings.warn(f"unit {name} has {plan}.", DataWarning, stacklevel=3)
                silent = silent_summary(name, unit_trials(trials, position), plan)
                answers.append(_Answer(silent, crowded[position]))
                continue
            unit = unit_summary(plan, scores[name], self.options)
            unit |= {"truth": known_truth(trials.isel(unit=position), unit["verdict"])}
            panel = unit_panel(scores[name], conditions, time_s)
            answers.append(_Answer(unit, crowded[position], unit_evidence(plan, scores[name]), panel))
        return answers

    def _plan(self, trials: xr.Dataset) -> list[UnitPlan | str]:
        """Plan the work of every unit; for a unit that cannot be scored, say what it has instead."""
        options = self.options
        fold = assign_folds(trials["condition"].values, options.n_folds, order=options.fold_order, seed=self.seed)
        plans: list[UnitPlan | str] = []
        for position in range(trials.sizes["unit"]):
            data = unit_trials(trials, position)
            if not data.spikes_per_trial.sum():
                plans.append("no spike in any scored bin")
                continue
            if not all(data.scored[fold != k].any() for k in range(options.n_folds)):
                plans.append("no observed bin in the training trials of a fold")
                continue
            likelihood_code(mean_likelihood(options.likelihood), data.counts)
            name = str(trials["unit"].values[position])
            case = UnitCase(
                name=name,
                trials=data,
                fold=fold,
                seed=self.seed,
                likelihood=options.likelihood,
                control=self.models[CONTROL],
            )
            plans.append(UnitPlan(case, self.models, options, self.code))
        return plans

    def _run(self, plans: list[UnitPlan], progress: Progress) -> dict[str, UnitScores]:
        """Run both stages of a chunk's work; give the scores by unit name."""
        results = run_all([work for plan in plans for work in plan.fits()], self.store, self.n_workers, progress)
        surrogates = [work for plan in plans for work in plan.surrogates(results)]
        # Where surrogates are simulated, trials are exchanged as well.
        progress.add_total(sum(work.cost for work in surrogates) - sum(plan.surrogate_cost() for plan in plans))
        results |= run_all(surrogates, self.store, self.n_workers, progress)
        scores = run_each([functools.partial(plan.collect, results) for plan in plans], self.n_workers)
        return {plan.case.name: score for plan, score in zip(plans, scores, strict=True)}


def _assemble(
    parts: dict[str, Any], scored: list[_Answer], template: xr.Dataset, options: CompareOptions
) -> Comparison:
    """Put together what was found on the units, and what that says of the population."""
    if not scored:
        raise DataError(
            "no unit has a spike in any scored bin.", hint="Check the window, the event and the unit of time."
        )
    evidence = [answer.evidence for answer in scored]
    # NetCDF knows no nested attributes: the settings travel as text, word for word those of summary.json.
    attrs = {name: json.dumps(parts[name], sort_keys=True) for name in ("recording", "settings")}
    settings, units = parts["settings"], parts["units"]
    table = score_dataset(evidence, [*settings["rungs"], "history"], attrs, template)
    population = population_summary(units, evidence, table, options=options, seed=settings["seed"])
    summary = {
        "recording": parts["recording"],
        "settings": settings,
        "controls": control_summary(evidence),
        "units": units,
        "population": population,
        "verdict_sentence": verdict_sentence(population["verdicts"], len(units)),
    }
    return Comparison(scores=table, summary=summary, panels=join_panels([answer.panel for answer in scored]))


def _check_enough(trials: xr.Dataset, options: CompareOptions) -> None:
    """Refuse trials that leave nothing to train, validate and test on."""
    n_trials = trials.sizes["trial"]
    condition = trials["condition"].values
    if n_trials == 1:
        raise DataError(
            "there is one trial only: nothing can be held out.",
            hint="Cut a continuous recording into blocks with Recording.blocks(), or read it without trials.",
        )
    fold = assign_folds(condition, options.n_folds, order=options.fold_order)
    for k in range(options.n_folds):
        left = condition[fold != k]
        if left.size < 2 or validation_split(left).all():
            raise DataError(f"{n_trials} trials in {options.n_folds} folds leave too few to train on.")


def _describe_recording(source: Source, trials: xr.Dataset, answers: list[_Answer]) -> dict[str, Any]:
    """Describe the recording for the summary."""
    scored = trials["time"].values[trials["scored"].values]
    bin_s = float(trials.attrs["bin_s"])
    start_s = trials["start_s"].values
    return {
        "name": Path(str(trials.attrs.get("source", "trials"))).name,
        "sha256": str(trials.attrs.get("sha256", "")),
        "n_units": source.n_units,
        "n_trials": trials.sizes["trial"],
        "n_spikes": sum(answer.summary["n_spikes"] for answer in answers),
        "duration_s": float(trials["observed"].values[:, trials["scored"].values, 0].sum() * bin_s),
        "bin_s": bin_s,
        "window_s": [float(scored[0]), float(np.round(scored[-1] + bin_s, 9))],
        "align_to": str(trials.attrs["align_to"]),
        "is_stimulus_locked": is_stimulus_locked(trials),
        "session_s": [float(start_s.min()), float(start_s.max())],
        "conditions": [str(value) for value in np.unique(trials["condition"].values)],
        "n_multi_spike_bins": sum(answer.n_multi_spike_bins for answer in answers),
        "clock": str(trials.attrs.get("clock", "session")),
        "notes": [str(note) for note in source.attrs.get("notes", [])],
    }


def _describe_settings(models, options: CompareOptions, seed: int, trials: xr.Dataset) -> dict[str, Any]:
    """Describe everything that changes a number."""
    described = asdict(options)
    described["folds"] = described.pop("n_folds")
    described["surrogates"] = described.pop("n_surrogates")
    described["copies"] = described.pop("n_copies")
    described["history_windows_s"] = list(described["history_windows_s"])
    if not any(isinstance(rung, NetworkRung) for rung in models.values()):
        del described["n_seeds"]
    return {
        "version": importlib.metadata.version("cortexrnn"),
        "rungs": list(models),
        "seed": seed,
        "bin_s": float(trials.attrs["bin_s"]),
        "history_s": float(trials.attrs["history_s"]),
        **described,
    }
