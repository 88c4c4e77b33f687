"""What a pulse of current does to the choices of a trained circuit."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import pandas as pd
import xarray as xr

from cortexrnn._checks import check_count, check_window
from cortexrnn.errors import OptionError
from cortexrnn.numerics.streams import stream
from cortexrnn.training.behaviour import LEVEL, psychometric
from cortexrnn.training.behaviour_fits import fit_cumulative_gaussians
from cortexrnn.training.lesions import (
    WHOLE,
    check_conditions,
    check_targets,
    compare_trials,
    judge,
    labelled,
    units_of,
)
from cortexrnn.training.tasks.contract import Batch, Task
from cortexrnn.training.trained import Trained

_TAILS = (50.0 * (1.0 - LEVEL), 100.0 - 50.0 * (1.0 - LEVEL))


@dataclass(frozen=True, kw_only=True, slots=True)
class Perturbation:
    """A current into some units of a circuit for some time.

    Attributes
    ----------
    height : float
        Current, in the unit of the activation's argument; negative suppresses.
    start_s, stop_s : float
        When it begins and ends, in seconds from the beginning of the trial or from `after`; rounded to time steps.
    after : str
        Column of the trial table with a time in seconds, such as ``delay_start_s``; empty for the trial's beginning.
    units : tuple of int
        0-based positions of units that get it.
    populations : tuple of str
        Populations that get it. Without units and populations all units do.

    Raises
    ------
    OptionError
        If a number is not finite or the times are not in order.
    """

    height: float
    start_s: float
    stop_s: float
    after: str = ""
    units: tuple[int, ...] = ()
    populations: tuple[str, ...] = ()

    def __post_init__(self):
        check_targets(self)
        if not np.isfinite(self.height):
            raise OptionError(f"height={self.height!r} is not finite.")
        check_window("start_s, stop_s", (self.start_s, self.stop_s))


def perturb(
    trained: Trained,
    pulses: Mapping[str, Perturbation],
    n_trials: int = 1000,
    *,
    seed: int = 1,
    n_bootstrap: int = 400,
) -> xr.Dataset:
    """Give the performance of a circuit, left alone and under each of several pulses, on the same trials and noise.

    Parameters
    ----------
    trained : Trained
        A circuit.
    pulses : mapping of str to Perturbation
        By the name that each gets in the result.
    n_trials : int
    seed : int
        Of trials, noise and resampling.
    n_bootstrap : int
        Resamples for the intervals of psychometric curves and of their shift.

    Returns
    -------
    xarray.Dataset
        Over `pulse`, the first of which is ``none``: `performance` and `change` with their intervals, and `error`, as
        `ablation` gives them. For tasks whose stimulus has levels also what `cortexrnn.training.behaviour.psychometric`
        gives, over (pulse, curve), and `shift` with `shift_low` and `shift_high`: by how much the curve's mean is above
        that without a pulse, the interval from resampled trials, the same ones for both.

    Raises
    ------
    OptionError
        If a pulse does not fit the network or the trials, or one is called ``none``.

    Warns
    -----
    NumericalWarning
        If the fit of a psychometric curve did not converge, as where a pulse decides alone, or a network left the
        finite numbers: such trials count as wrong and have no part in the curves.
    """
    check_conditions(pulses)
    task = trained.task
    batch = task.trials(check_count("n_trials", n_trials), seed=seed, mode="test")
    judged = [judge(trained, batch, trained.answer(batch, seed=seed), WHOLE)]
    for name, pulse in pulses.items():
        current = _current(trained, batch, pulse, name)
        judged.append(judge(trained, batch, trained.answer(batch, seed=seed, current=current), name))
    found = compare_trials([each.correct for each in judged])
    found["error"] = [each.error for each in judged]
    whole = labelled(trained, found, "pulse", [WHOLE, *pulses], (n_trials, seed))
    if not task.stimulus_column:
        return whole
    curves = _curves(task, [each.trials for each in judged], n_bootstrap, seed)
    return whole.merge(curves.assign_coords(pulse=whole["pulse"]), combine_attrs="no_conflicts")


def _current(trained: Trained, batch: Batch, pulse: Perturbation, name: str) -> np.ndarray:
    """Give the current of a pulse, shape (n_trials, n_steps, n_units)."""
    model, dt_s = trained.model, trained.task.dt_s
    n_trials, n_steps = batch.mask.shape
    if pulse.after and pulse.after not in batch.table:
        raise OptionError(
            f"after={pulse.after!r} is no column; the trials have {', '.join(batch.table)}.", where=name
        )
    origin_s = batch.table[pulse.after].to_numpy(dtype=float) if pulse.after else np.zeros(n_trials)
    first, stop = (np.rint((origin_s + at_s) / dt_s)[:, None] for at_s in (pulse.start_s, pulse.stop_s))
    step = np.arange(n_steps)
    is_on = (step >= first) & (step < stop) & (step < batch.length[:, None])
    if not is_on.any():
        raise OptionError(
            f"start_s={pulse.start_s}, stop_s={pulse.stop_s} hold no time step of {dt_s} s within any trial.",
            where=name,
        )
    units = units_of(model, pulse.units, pulse.populations)
    current = np.zeros((n_trials, n_steps, model.n_hidden), dtype=model.dtype)
    current[:, :, units if pulse.units or pulse.populations else slice(None)] = pulse.height * is_on[:, :, None]
    return current


def _curves(task: Task, tables: list[pd.DataFrame], n_bootstrap: int, seed: int) -> xr.Dataset:
    """Fit psychometric curves to the same trials under all pulses, and tell how far each lies from the first."""
    stimulus, by = task.stimulus_column, task.group_column or None
    fits = [psychometric(each, stimulus=stimulus, by=by, n_bootstrap=n_bootstrap, seed=seed) for each in tables]
    curves = xr.concat(fits, dim="pulse", combine_attrs="override")
    rows = tables[0]
    is_used = rows[stimulus].notna().to_numpy() & np.all([each["response"].notna() for each in tables], axis=0)
    if "is_catch" in rows:
        is_used &= ~rows["is_catch"].to_numpy(dtype=bool)
    labels = rows[by].to_numpy() if by else np.zeros(len(rows))
    shifts = np.empty((len(tables), curves.sizes["curve"], 3))
    for j, label in enumerate(pd.unique(labels[is_used])):
        chosen = is_used & (labels == label)
        levels, place = np.unique(rows[stimulus].to_numpy(dtype=float)[chosen], return_inverse=True)
        before, *_ = answers = [(table["response"] == 0).to_numpy()[chosen] for table in tables]
        for k, after in enumerate(answers):
            # How often neither chose 0, the second alone, the first alone, and both.
            counts = [np.bincount(place[2 * before + after == cell], minlength=levels.size) for cell in range(4)]
            shifts[k, j] = _shift(levels, np.stack(counts, axis=1), n_bootstrap, stream(seed, "shift", j))
    for k, end in enumerate(("", "_low", "_high")):
        curves[f"shift{end}"] = (("pulse", "curve"), shifts[:, :, k])
    return curves


def _shift(
    levels: np.ndarray, counts: np.ndarray, n_bootstrap: int, rng: np.random.Generator
) -> tuple[float, ...]:
    """Give by how much the mean of a second curve is above that of a first, and the ends of its interval.

    Counts are (n_levels, 4): trials in which neither, the second, the first and both made the choice. NaN without fits.
    """
    n_trials = counts.sum(axis=1)
    drawn = rng.multinomial(n_trials, counts / n_trials[:, None], size=(n_bootstrap, levels.size))
    every = np.concatenate([counts[None], drawn])
    first, second = (fit_cumulative_gaussians(levels, every[:, :, k] + every[:, :, 3], n_trials) for k in (2, 1))
    is_fitted = np.array([a.is_converged and b.is_converged for a, b in zip(first, second, strict=True)])
    moved = np.array([b.mean - a.mean for a, b in zip(first, second, strict=True)])
    known = moved[1:][is_fitted[1:]]
    if not is_fitted[0]:
        return np.nan, np.nan, np.nan
    return (moved[0], *np.percentile(known, _TAILS)) if known.size else (moved[0], np.nan, np.nan)
