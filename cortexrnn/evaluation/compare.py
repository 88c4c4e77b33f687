"""Compare models of spike trains on the same held-out trials: the main job of the package."""

from __future__ import annotations

import importlib.metadata
import json
import os
import warnings
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr

from cortexrnn._checks import check_count
from cortexrnn.encoding.arrays import unit_trials
from cortexrnn.encoding.likelihood import likelihood_code
from cortexrnn.encoding.model import Rung
from cortexrnn.encoding.network_rung import NetworkRung
from cortexrnn.errors import DataError, DataWarning, OptionError
from cortexrnn.evaluation.comparison import Comparison
from cortexrnn.evaluation.evidence import UnitEvidence, unit_evidence
from cortexrnn.evaluation.ladder import ALWAYS, ladder
from cortexrnn.evaluation.options import CompareOptions
from cortexrnn.evaluation.panels import join_panels, score_dataset, unit_panel
from cortexrnn.evaluation.plan import UnitPlan, UnitScores
from cortexrnn.evaluation.summary import (
    control_summary,
    known_truth,
    population_summary,
    silent_summary,
    unit_summary,
    verdict_sentence,
)
from cortexrnn.evaluation.warmup import compile_kernels
from cortexrnn.evaluation.work import UnitCase
from cortexrnn.runs.executor import Progress, default_workers, progress_bar, run_all
from cortexrnn.runs.store import Store, code_key
from cortexrnn.schema import check_trials, is_stimulus_locked
from cortexrnn.spikes.folds import assign_folds, validation_split
from cortexrnn.spikes.recording import Recording

_UNITS_AT_ONCE = 8


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
        ``event``, ``window_s``, ``bin_s``, ``history_s``, ``condition``, ``units`` for a Recording.

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
    models = dict(models) if models is not None else ladder(likelihood=options.likelihood)
    missing = [name for name in ALWAYS if name not in models]
    if missing:
        raise OptionError(f"models has no {', '.join(missing)}, which the verdict needs.", hint="Start from ladder().")
    source = _Source.of(data, alignment)
    job = _Job(
        models=models,
        options=options,
        seed=seed,
        code=code_key(),
        store=None if run.folder is None else Store(Path(run.folder) / "work"),
        n_workers=default_workers() if run.workers is None else run.workers,
    )
    # The first trials come before the compiler, so that nobody waits for it to hear of a misspelt event.
    chunks = source.chunks()
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
        "recording": source.describe(template, answers),
        "settings": _describe_settings(models, options, seed, template),
        "units": units,
    }
    return _assemble(parts, [answer for answer in answers if answer.evidence is not None], template)


@dataclass(frozen=True, slots=True, eq=False)
class _Source:
    """Where trials come from, a few units at a time."""

    load: Callable[[list[int]], xr.Dataset]
    n_units: int
    attrs: Mapping[str, Any]

    @classmethod
    def of(cls, data: xr.Dataset | Recording, alignment: Mapping[str, Any]) -> _Source:
        """Wrap Trials, or a Recording with the arguments of its alignment."""
        if not isinstance(data, Recording):
            if alignment:
                raise OptionError(
                    f"{', '.join(alignment)} cannot be given with trials that are already aligned.",
                    hint="Give a Recording, or leave them out.",
                )
            check_trials(data)
            return cls(lambda chosen: data.isel(unit=chosen), data.sizes["unit"], data.attrs)
        alignment = dict(alignment)
        units = list(alignment.pop("units", None) or data.unit_ids)
        if data.trials.empty and alignment.get("event") is None:
            for name in ("event", "window_s", "condition"):
                if alignment.pop(name, None) is not None:
                    raise OptionError(f"{name} was given, but the recording has no trials.")
            cut = data.blocks
        else:
            cut = data.align
        return cls(lambda chosen: cut(units=[units[i] for i in chosen], **alignment), len(units), data.attrs)

    def chunks(self) -> Iterator[xr.Dataset]:
        """Give trials of a few units after another, so that memory does not grow with their number."""
        if not self.n_units:
            raise DataError("there are no units.")
        for first in range(0, self.n_units, _UNITS_AT_ONCE):
            yield self.load(list(range(first, min(first + _UNITS_AT_ONCE, self.n_units))))

    def describe(self, trials: xr.Dataset, answers: list[_Answer]) -> dict[str, Any]:
        """Describe the recording for the summary."""
        scored = trials["time"].values[trials["scored"].values]
        bin_s = float(trials.attrs["bin_s"])
        start_s = trials["start_s"].values
        return {
            "name": Path(str(trials.attrs.get("source", "trials"))).name,
            "sha256": str(trials.attrs.get("sha256", "")),
            "n_units": self.n_units,
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
            "notes": [str(note) for note in self.attrs.get("notes", [])],
        }


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
            likelihood_code(options.likelihood, data.counts)
            name = str(trials["unit"].values[position])
            case = UnitCase(name=name, trials=data, fold=fold, seed=self.seed, likelihood=options.likelihood)
            plans.append(UnitPlan(case, self.models, options, self.code))
        return plans

    def _run(self, plans: list[UnitPlan], progress: Progress) -> dict[str, UnitScores]:
        """Run both stages of a chunk's work; give the scores by unit name."""
        results = run_all([work for plan in plans for work in plan.fits()], self.store, self.n_workers, progress)
        surrogates = [work for plan in plans for work in plan.surrogates(results)]
        results |= run_all(surrogates, self.store, self.n_workers, progress)
        return {plan.case.name: plan.collect(results) for plan in plans}


def _assemble(parts: dict[str, Any], scored: list[_Answer], template: xr.Dataset) -> Comparison:
    """Put together what was found on the units, and what that says of the population."""
    if not scored:
        raise DataError(
            "no unit has a spike in any scored bin.", hint="Check the window, the event and the unit of time."
        )
    population = population_summary(parts["units"])
    evidence = [answer.evidence for answer in scored]
    summary = {
        "recording": parts["recording"],
        "settings": parts["settings"],
        "controls": control_summary(evidence),
        "units": parts["units"],
        "population": population,
        "verdict_sentence": verdict_sentence(population["verdicts"], len(parts["units"])),
    }
    # NetCDF knows no nested attributes: the settings travel as text, word for word those of summary.json.
    attrs = {name: json.dumps(summary[name], sort_keys=True) for name in ("recording", "settings")}
    table = score_dataset(evidence, [*summary["settings"]["rungs"], "history"], attrs, template)
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
