"""How many training trials every rung needs: scores on the same held-out trials after training on few or many."""

from __future__ import annotations

import functools
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr

from cortexrnn._checks import check_count
from cortexrnn.encoding.arrays import UnitTrials, unit_trials
from cortexrnn.encoding.likelihood import likelihood_code, mean_likelihood
from cortexrnn.encoding.model import Rung
from cortexrnn.encoding.network_rung import NetworkRung
from cortexrnn.errors import DataError, OptionError
from cortexrnn.evaluation.compare import RunSettings
from cortexrnn.evaluation.ladder import QUICK_RUNGS, usual_models
from cortexrnn.evaluation.options import CompareOptions
from cortexrnn.evaluation.scores import gain_interval
from cortexrnn.evaluation.source import Source
from cortexrnn.evaluation.work import UnitCase, fold_work
from cortexrnn.numerics.streams import stream
from cortexrnn.runs.executor import Work, default_workers, progress_bar, run_all
from cortexrnn.runs.store import Store, array_key, code_key, content_key
from cortexrnn.spikes.folds import assign_folds
from cortexrnn.spikes.recording import Recording

SMALLEST = 5


def data_budget(
    data: xr.Dataset | Recording,
    *,
    models: Mapping[str, Rung] | None = None,
    n_trials: Sequence[int] | None = None,
    seed: int = 0,
    options: CompareOptions | None = None,
    run: RunSettings | None = None,
    **alignment: Any,
) -> xr.Dataset:
    """Train every rung on ever more trials and score it on the same held-out ones.

    The smaller training sets are parts of the larger ones, drawn at random with the conditions shared out evenly, the
    same for every rung and unit. A rung with few parameters is ahead while trials are few; where curves still rise,
    more trials would help.

    Parameters
    ----------
    data : xarray.Dataset or Recording
        Trials, or a recording with the arguments of its alignment.
    models : mapping of str to Rung, optional
        M0 among them; the ladder without networks by default. A network is trained from one seed.
    n_trials : sequence of int, optional
        Sizes of the training set; by default 5, 10, 20, ... and all but a fold.
    seed : int
        Seed of folds, parts and networks.
    options : CompareOptions, optional
        Folds and likelihood.
    run : RunSettings, optional
        Threads, folder for resuming, progress bar.
    **alignment
        As for `compare`.

    Returns
    -------
    xarray.Dataset
        `log_likelihood` in nats over (rung, size, unit, trial) and `n_spikes` over (unit, trial), all held out; `gain`,
        `low` and `high` over (rung, size) in bits/spike, pooled over units, over M0 at the largest size.

    Raises
    ------
    OptionError
        If M0 is missing or a size is below 5 or above what a fold leaves.
    DataError
        If no unit has a spike.
    """
    options, run = options or CompareOptions(), run or RunSettings()
    models = dict(models) if models is not None else usual_models(options, alignment, QUICK_RUNGS)
    if "M0" not in models:
        raise OptionError("models has no M0, against which everything is scored.", hint="Start from ladder().")
    source = Source.of(data, alignment)
    store = None if run.folder is None else Store(Path(run.folder) / "work")
    n_workers = default_workers() if run.workers is None else run.workers
    tables, names, spikes, budget = [], [], [], None
    with progress_bar(0.0, is_shown=run.shows_progress) as progress:
        for trials in source.chunks(with_neighbours=any(rung.needs_neighbours for rung in models.values())):
            budget = budget or _Budget(trials, models, n_trials, options, seed)
            cases = {str(trials["unit"].values[k]): unit_trials(trials, k) for k in range(trials.sizes["unit"])}
            cases = {name: unit for name, unit in cases.items() if unit.spikes_per_trial.sum()}
            works = {name: budget.works(name, unit) for name, unit in cases.items()}
            every = [work for group in works.values() for work in group.values()]
            progress.add_total(sum(work.cost for work in every))
            results = run_all(every, store, n_workers, progress)
            for name, unit in cases.items():
                tables.append(budget.collect({at: results[work.key] for at, work in works[name].items()}))
                names.append(name)
                spikes.append(unit.spikes_per_trial)
    if not tables:
        raise DataError("no unit has a spike in any scored bin.")
    return budget.describe(np.stack(tables, axis=2), names, np.array(spikes))


class _Budget:
    """The training sets of all folds and sizes, and what is asked of every unit."""

    def __init__(
        self,
        trials: xr.Dataset,
        models: Mapping[str, Rung],
        sizes: Sequence[int] | None,
        options: CompareOptions,
        seed: int,
    ):
        self.models, self.options, self.seed = models, options, seed
        self.condition = trials["condition"].values
        self.fold = assign_folds(self.condition, options.n_folds, order=options.fold_order, seed=seed)
        largest = int(self.fold.size - np.bincount(self.fold).max())
        self.sizes = _sizes(sizes, largest)
        self._base = {"code": code_key(), "kind": "budget", "seed": seed, "likelihood": options.likelihood}

    def works(self, name: str, unit: UnitTrials) -> dict[tuple[int, int], Work]:
        """Give the work of one unit by size and fold."""
        likelihood_code(mean_likelihood(self.options.likelihood), unit.counts)
        data = array_key(unit.counts, unit.observed, unit.scored, unit.condition, unit.start_s, self.fold)
        works = {}
        for size in self.sizes:
            for k in range(self.options.n_folds):
                # Trials of the training set are fold 1 of a smaller problem, those of fold k its fold 0.
                kept = np.sort(np.concatenate([self._training_set(size, k), np.flatnonzero(self.fold == k)]))
                fold = (self.fold[kept] != k).astype(np.int64)
                case = UnitCase(
                    name=name, trials=unit.take(kept), fold=fold, seed=self.seed, likelihood=self.options.likelihood
                )
                draw = int(stream(self.seed, "network", name, k, 0).integers(2**62))
                rungs = {
                    label: replace(rung, seed=draw) if isinstance(rung, NetworkRung) else rung
                    for label, rung in self.models.items()
                }
                which = {"unit": name, "size": size, "fold": k, "data": data, "models": repr(rungs)}
                cost = 4e-6 * kept.size * unit.counts.shape[1]
                run = functools.partial(fold_work, case, rungs, 0)
                works[size, k] = Work(content_key(self._base | which), f"unit {name}: {size} trials", cost, run)
        return works

    def collect(self, results: Mapping[tuple[int, int], dict[str, np.ndarray]]) -> np.ndarray:
        """Lay the held-out scores back onto the trials, shape (n_rungs, n_sizes, n_trials)."""
        table = np.empty((len(self.models), len(self.sizes), self.fold.size))
        for (size, k), result in results.items():
            table[:, self.sizes.index(size), self.fold == k] = result["log_likelihood"]
        return table

    def describe(self, table: np.ndarray, names: list[str], n_spikes: np.ndarray) -> xr.Dataset:
        """Pool the units and label everything; `table` has the shape (n_rungs, n_sizes, n_units, n_trials)."""
        pooled, pooled_spikes = table.sum(axis=2), n_spikes.sum(axis=0)
        reference = pooled[list(self.models).index("M0"), -1]
        n_folds = self.options.n_folds
        gains = [[gain_interval(row, reference, pooled_spikes, n_folds) for row in rows] for rows in pooled]
        columns = np.array([[(gain.value, gain.low, gain.high) for gain in row] for row in gains])
        return xr.Dataset(
            {
                "log_likelihood": (("rung", "size", "unit", "trial"), table, {"units": "nat"}),
                "n_spikes": (("unit", "trial"), n_spikes),
            }
            | {name: (("rung", "size"), columns[..., j]) for j, name in enumerate(("gain", "low", "high"))},
            coords={
                "rung": list(self.models),
                "size": list(self.sizes),
                "unit": names,
                "trial_fold": ("trial", self.fold),
            },
        )

    def _training_set(self, size: int, k: int) -> np.ndarray:
        """Draw the trials of a training set; smaller sets are parts of larger ones."""
        members = np.flatnonzero(self.fold != k)
        order = stream(self.seed, "budget", k).permutation(members)
        # The j-th of n trials of a condition stands at (j + 1/2) / n of the queue: every start of it is a fair share.
        place = np.empty(order.size)
        for value in np.unique(self.condition[order]):
            own = np.flatnonzero(self.condition[order] == value)
            place[own] = (np.arange(own.size) + 0.5) / own.size
        return order[np.argsort(place, kind="stable")][:size]


def _sizes(sizes: Sequence[int] | None, largest: int) -> list[int]:
    """Check the sizes of the training sets, or double from the smallest on."""
    if sizes is None:
        doubled = [SMALLEST * 2**power for power in range(32)]
        return [*(size for size in doubled if size < largest), largest]
    found = sorted({check_count("n_trials", size) for size in sizes})
    if not found or found[0] < SMALLEST or found[-1] > largest:
        raise OptionError(f"n_trials={list(sizes)!r} is not valid; expected sizes from {SMALLEST} to {largest}.")
    return found
