"""Time scales and fixed points of every unit's fitted model of spike history."""

from __future__ import annotations

import functools
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr

from cortexrnn.encoding.arrays import UnitTrials, unit_trials
from cortexrnn.encoding.likelihood import mean_likelihood
from cortexrnn.encoding.model import Rung
from cortexrnn.encoding.read_off import read_off
from cortexrnn.errors import CortexError, DataError, OptionError
from cortexrnn.evaluation.compare import RunSettings
from cortexrnn.evaluation.ladder import QUICK_RUNGS, usual_models
from cortexrnn.evaluation.options import CompareOptions
from cortexrnn.evaluation.source import Source
from cortexrnn.runs.executor import Arrays, Work, default_workers, progress_bar, run_all
from cortexrnn.runs.store import Store, array_key, code_key, content_key
from cortexrnn.spikes.recording import Recording

# The first of these on the ladder is read off: a network where there is one.
_READABLE = ("M6", "M6 vanilla", "M6 LSTM", "M6 Dale", "M5")
_LAG_S = 0.5
_MODES = ("tau_s", "frequency_hz", "share")


def read_off_units(
    data: xr.Dataset | Recording,
    *,
    models: Mapping[str, Rung] | None = None,
    options: CompareOptions | None = None,
    run: RunSettings | None = None,
    **alignment: Any,
) -> xr.Dataset:
    """Fit the network, or else the history GLM, to all trials of every unit and read it off.

    Parameters
    ----------
    data : xarray.Dataset or Recording
        Trials, or a recording with the arguments of its alignment.
    models : mapping of str to Rung, optional
        The first of M6, M6 vanilla, M6 LSTM, M6 Dale and M5 in it is read off. By default the ladder without networks.
    options : CompareOptions, optional
        Likelihood.
    run : RunSettings, optional
        Threads, folder for resuming, progress bar.
    **alignment
        As for `compare`.

    Returns
    -------
    xarray.Dataset
        `tau_s`, `frequency_hz`, `share`, `mode_loop` and `mode_unit` over mode; `n_fixed_points` over unit, NaN for a
        GLM; `sentence` and `details` (JSON, as `ReadOff.to_dict` gives it) over unit. The attribute ``name`` is that
        of the rung. A unit that cannot be read off has no modes, and a sentence that says why.

    Raises
    ------
    OptionError
        If no model can be read off.
    DataError
        If no unit has a spike.
    """
    options, run = options or CompareOptions(), run or RunSettings()
    models = dict(models) if models is not None else usual_models(options, alignment, QUICK_RUNGS)
    name = next((name for name in _READABLE if name in models), None)
    if name is None:
        raise OptionError(f"models has none that can be read off; expected one of {', '.join(_READABLE)}.")
    store = None if run.folder is None else Store(Path(run.folder) / "work")
    n_workers = default_workers() if run.workers is None else run.workers
    law = mean_likelihood(options.likelihood)
    found: dict[str, dict[str, Any]] = {}
    with progress_bar(0.0, is_shown=run.shows_progress) as progress:
        for trials in Source.of(data, alignment).chunks(with_neighbours=models[name].needs_neighbours):
            cases = {str(trials["unit"].values[k]): unit_trials(trials, k) for k in range(trials.sizes["unit"])}
            works = {
                unit: _work(unit, case, models[name], law)
                for unit, case in cases.items()
                if case.spikes_per_trial.sum()
            }
            progress.add_total(sum(work.cost for work in works.values()))
            results = run_all(list(works.values()), store, n_workers, progress)
            found |= {unit: json.loads(results[work.key]["json"].tobytes()) for unit, work in works.items()}
    if not found:
        raise DataError("no unit has a spike in any scored bin.")
    return _describe(name, found)


def _work(name: str, case: UnitTrials, rung: Rung, likelihood: str) -> Work:
    """Make the work of one unit."""
    which = {"code": code_key(), "kind": "read-off", "unit": name, "model": repr(rung), "likelihood": likelihood}
    key = content_key(
        which | {"data": array_key(case.counts, case.observed, case.scored, case.condition, case.start_s)}
    )
    return Work(key, f"unit {name}", 4e-5 * case.counts.size, functools.partial(_read, case, rung, likelihood))


def _read(case: UnitTrials, rung: Rung, likelihood: str) -> Arrays:
    """Fit and read off one unit; what was found is text."""
    # A response must fit into half a trial.
    lag_s = min(_LAG_S, ((case.counts.shape[1] - 1) // 2) * case.bin_s)
    try:
        told = read_off(rung.fit(case), case, lag_s=lag_s, likelihood=likelihood).to_dict()
    except CortexError as error:
        told = {"loops": [], "fixed_points": None, "sentence": f"It cannot be read off: {error.what}"}
    return {"json": np.frombuffer(json.dumps(told).encode(), dtype=np.uint8)}


def _describe(name: str, found: Mapping[str, dict[str, Any]]) -> xr.Dataset:
    """Lay the modes of all units end to end."""
    modes = [
        (unit, loop["label"], *(mode[column] for column in _MODES))
        for unit, told in found.items()
        for loop in told["loops"]
        for mode in loop["modes"]
    ]
    points = [told["fixed_points"] for told in found.values()]
    values = np.array([[np.nan if value is None else value for value in row[2:]] for row in modes]).reshape(-1, 3)
    return xr.Dataset(
        {column: ("mode", values[:, k]) for k, column in enumerate(_MODES)}
        | {
            "mode_unit": ("mode", np.array([row[0] for row in modes], dtype=str)),
            "mode_loop": ("mode", np.array([row[1] for row in modes], dtype=str)),
            "n_fixed_points": ("unit", [np.nan if told is None else float(len(told["points"])) for told in points]),
            "sentence": ("unit", [str(told["sentence"]) for told in found.values()]),
            "details": ("unit", [json.dumps(told) for told in found.values()]),
        },
        coords={"unit": list(found)},
        attrs={"name": name},
    )
