"""What the comparison says of data like one's own when the truth is known."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import xarray as xr

from cortexrnn._checks import check_choice, check_count
from cortexrnn.encoding.arrays import UnitTrials, unit_trials
from cortexrnn.encoding.likelihood import mean_likelihood
from cortexrnn.encoding.model import Fitted, Rung
from cortexrnn.encoding.simulation import draw_without_history, simulate_copies
from cortexrnn.errors import NumericalWarning
from cortexrnn.evaluation.compare import RunSettings, compare
from cortexrnn.evaluation.ladder import CONTROL, QUICK_RUNGS, ladder, usual_models
from cortexrnn.evaluation.options import CompareOptions
from cortexrnn.evaluation.scores import read_gain
from cortexrnn.evaluation.source import Source
from cortexrnn.evaluation.verdict import HISTORY_MATTERS, NO_RELEVANT_HISTORY
from cortexrnn.numerics.streams import stream
from cortexrnn.schema import check_trials
from cortexrnn.spikes.recording import Recording

NO_HISTORY, FITTED_HISTORY = "no history", "fitted history"
_TEXTS = {
    NO_HISTORY: "Simulated with the unit's PSTH, drift and trial gain, and no history.",
    FITTED_HISTORY: "Simulated from the history GLM that was fitted to the unit.",
}


def simulate_like(
    trials: xr.Dataset,
    *,
    truth: str = NO_HISTORY,
    models: Mapping[str, Rung] | None = None,
    likelihood: str = "poisson",
    seed: int = 0,
) -> xr.Dataset:
    """Simulate trials like these, with as many trials, conditions, gaps and about as many spikes, and a known truth.

    Parameters
    ----------
    trials : xarray.Dataset
        Trials of any number of units.
    truth : {"no history", "fitted history"}
        Without history spikes are drawn from PSTH, drift and a gamma gain of every trial, as M3 fits them. With
        fitted history the whole M5 runs on its own spikes.
    models : mapping of str to Rung, optional
        M3 and M5 are simulated from; those of the usual ladder by default.
    likelihood : {"poisson", "bernoulli", "negative binomial"}
        Law of a bin's count; a negative binomial is simulated without its dispersion.
    seed : int

    Returns
    -------
    xarray.Dataset
        Trials, with the coordinates `truth`, `truth_text` and `has_history` that a comparison holds its verdicts
        against. Units without spikes stay silent.

    Raises
    ------
    OptionError
        If `truth` is unknown.

    Warns
    -----
    NumericalWarning
        If the fitted history of a unit runs away; the unit is left silent.
    """
    check_trials(trials)
    check_choice("truth", truth, tuple(_TEXTS))
    check_count("seed", seed, at_least=0)
    law = mean_likelihood(likelihood)
    models = ladder(QUICK_RUNGS, likelihood=law) if models is None else models
    counts = np.zeros(trials["counts"].shape, dtype=np.uint16)
    for k, name in enumerate(trials["unit"].values):
        unit = unit_trials(trials, k)
        if unit.spikes_per_trial.sum():
            if truth == NO_HISTORY:
                rng = stream(seed, "likeness", str(name))
                counts[:, :, k] = draw_without_history(models[CONTROL].fit(unit), unit, law, rng)
            else:
                counts[:, :, k] = _with_history(models["M5"].fit(unit), unit, str(name), law, seed)
    names = ("truth", "truth_text", "has_history")
    values = (truth, _TEXTS[truth], "no" if truth == NO_HISTORY else "yes")
    n_units = trials.sizes["unit"]
    twin = trials.assign(counts=(trials["counts"].dims, counts))
    return twin.assign_coords({name: ("unit", [value] * n_units) for name, value in zip(names, values, strict=True)})


def compare_like(
    data: xr.Dataset | Recording,
    *,
    models: Mapping[str, Rung] | None = None,
    seed: int = 0,
    options: CompareOptions | None = None,
    run: RunSettings | None = None,
    **alignment: Any,
) -> xr.Dataset:
    """Compare two simulations like the data, one without history and one with the history fitted to it.

    Parameters
    ----------
    data : xarray.Dataset or Recording
        Trials, or a recording with the arguments of its alignment. All its units are in memory at once.
    models : mapping of str to Rung, optional
        The ladder without networks by default.
    seed : int
        Seed of simulations and comparisons.
    options : CompareOptions, optional
        As for the comparison itself; copies are left out.
    run : RunSettings, optional
    **alignment
        As for `compare`.

    Returns
    -------
    xarray.Dataset
        `gain`, `low`, `high` (history gain in bits/spike, NaN where it cannot be had) and `verdict` over (truth, unit);
        the attribute `sentence` says how often the verdict was right.

    Raises
    ------
    OptionError
        If an argument is not valid, as for `compare`.

    Warns
    -----
    NumericalWarning
        If the fitted history of a unit runs away; the unit is left silent.
    """
    options = options or CompareOptions()
    models = dict(models) if models is not None else usual_models(options, alignment, QUICK_RUNGS)
    source = Source.of(data, alignment)
    trials = source.load(list(range(source.n_units)))
    rows, names, verdicts = [], [], []
    for truth in _TEXTS:
        twin = simulate_like(trials, truth=truth, models=models, likelihood=options.likelihood, seed=seed)
        result = compare(twin, models=models, seed=seed, options=replace(options, n_copies=0), run=run)
        units = result.summary["units"]
        names = [unit["unit"] for unit in units]
        verdicts.append([unit["verdict"] for unit in units])
        rows.append([read_gain(unit["history_gain"]) for unit in units])
    table = np.array(rows)
    dims = ("truth", "unit")
    return xr.Dataset(
        {name: (dims, table[..., k]) for k, name in enumerate(("gain", "low", "high"))} | {"verdict": (dims, verdicts)},
        coords={"truth": list(_TEXTS), "unit": names},
        attrs={"sentence": _sentence(*(np.array(row) for row in verdicts))},
    )


def _sentence(without: np.ndarray, with_history: np.ndarray) -> str:
    """Say what came out where the truth is known."""
    wrong, found = int((without == HISTORY_MATTERS).sum()), int((with_history == HISTORY_MATTERS).sum())
    missed = int((with_history == NO_RELEVANT_HISTORY).sum())
    return (
        f"In simulations like these data, history was said to matter in {wrong} of {without.size} units without any, "
        f"and in {found} of {with_history.size} units with the history that was fitted to them ({missed} times it was "
        "said to be irrelevant)."
    )



def _with_history(fitted: Fitted, unit: UnitTrials, name: str, likelihood: str, seed: int) -> np.ndarray:
    """Let a unit's M5 run on its own spikes, after the recorded ones of the burn-in."""
    draw = int(stream(seed, "likeness", name).integers(2**62))
    copies = simulate_copies(fitted, unit, n_copies=1, likelihood=likelihood, seed=draw)
    if copies.is_capped.any():
        warnings.warn(
            f"the history fitted to unit {name} runs away on its own spikes; the unit is left silent.",
            NumericalWarning,
            stacklevel=4,
        )
        return np.zeros_like(unit.counts)
    return copies.counts[0]
