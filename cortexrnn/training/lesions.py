"""What a trained network can do without: units, populations and connections taken out of a copy."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import xarray as xr
from scipy.stats import norm

from cortexrnn._checks import check_count
from cortexrnn.errors import DataError, NumericalWarning, OptionError
from cortexrnn.training.behaviour import LEVEL, wilson
from cortexrnn.training.circuit_model import CircuitModel
from cortexrnn.training.model import Model
from cortexrnn.training.networks import go_on_from
from cortexrnn.training.tasks.contract import Batch, Performance
from cortexrnn.training.trained import Trained

WHOLE = "none"
_Z = float(norm.ppf(0.5 + 0.5 * LEVEL))
# Dale options whose parameter of a weight of zero is minus infinity; that of the others is zero.
_WITHOUT_ZERO = ("exp", "softplus")
# Parameters of a cell network whose columns are what a unit's state reaches; "field_in" is that of a neural ODE.
_COLUMNS_OF_UNITS = ("hidden", "field_in")


@dataclass(frozen=True, kw_only=True, slots=True)
class Lesion:
    """What is cut from a network.

    A silenced unit reaches neither others nor itself nor the read-out; it still receives, so that its own rate can be
    looked at. Of a block only the connections from one population to another are cut.

    Attributes
    ----------
    units : tuple of int
        0-based positions of units that are silenced.
    populations : tuple of str
        Populations of a circuit that are silenced.
    blocks : tuple of (str, str)
        Source and target population of a circuit's connections that are cut.

    Raises
    ------
    OptionError
        If nothing is cut or a block is no pair.
    """

    units: tuple[int, ...] = ()
    populations: tuple[str, ...] = ()
    blocks: tuple[tuple[str, str], ...] = ()

    def __post_init__(self):
        check_targets(self)
        blocks = tuple(tuple(block) for block in self.blocks)
        if any(len(block) != 2 for block in blocks):
            raise OptionError(
                f"blocks={self.blocks!r} is not valid; expected pairs (source, target) of populations."
            )
        object.__setattr__(self, "blocks", blocks)
        if not (self.units or self.populations or self.blocks):
            raise OptionError("a lesion without units, populations and blocks cuts nothing.")


def ablate(trained: Trained, lesion: Lesion) -> Trained:
    """Give a copy of a trained network with weights set to exactly zero.

    Signs and all other weights stay. Where units are normalised together (layer norm) what a silenced unit receives
    still counts in the mean and the variance. Training the copy on may bring weights back.

    Parameters
    ----------
    trained : Trained
    lesion : Lesion

    Returns
    -------
    Trained

    Raises
    ------
    OptionError
        If there is no such unit or population, or a cell network is asked for populations.
    """
    model = go_on_from(trained.model, trained.task, trained.model.name)
    parts = model.parts(model.theta)
    silent = units_of(model, lesion.units, lesion.populations)
    if isinstance(model, CircuitModel):
        is_cut = np.zeros((model.n_hidden, model.n_hidden), dtype=bool)
        is_cut[:, silent] = True
        for source, target in lesion.blocks:
            is_cut[np.ix_(units_of(model, (), (target,)), units_of(model, (), (source,)))] = True
        senders = np.concatenate([model.units.static_unit, model.units.plastic_unit])
        has_no_zero = (model.trainable.dale in _WITHOUT_ZERO) & (model.signs[senders] != 0)
        absent = np.where(has_no_zero, -np.inf, 0.0).astype(model.dtype)
        parts["recurrent"][:] = np.where(is_cut[:, senders], absent, parts["recurrent"])
    else:
        if lesion.blocks:
            raise _without_populations(model, lesion.blocks[0][0])
        _silence_cells(parts, silent)
    parts["readout"][:, silent] = 0.0
    return replace(trained, model=model)


def ablation(
    trained: Trained, lesions: Mapping[str, Lesion], n_trials: int = 1000, *, seed: int = 1
) -> xr.Dataset:
    """Give the performance of a network, whole and with each of several lesions, on the same trials and noise.

    Parameters
    ----------
    trained : Trained
    lesions : mapping of str to Lesion
        By the name that each gets in the result.
    n_trials : int
        Trials that every copy of the network is given.
    seed : int
        Of trials and noise.

    Returns
    -------
    xarray.Dataset
        Over `lesion`, the first of which is ``none``: `performance` (fraction correct) and `change` from the whole
        network, each with its ``_low`` and ``_high``, `error` (the task's loss) and `n_silent` units. Intervals are
        those of `compare_trials`.

    Raises
    ------
    OptionError
        If a lesion does not fit the network, or one is called ``none``.

    Warns
    -----
    NumericalWarning
        If a network left the finite numbers, as rectified units without inhibition may: these trials count as wrong.
    """
    check_conditions(lesions)
    batch = trained.task.trials(check_count("n_trials", n_trials), seed=seed, mode="test")
    judged, n_silent = [judge(trained, batch, trained.answer(batch, seed=seed), WHOLE)], [0]
    for name, lesion in lesions.items():
        judged.append(judge(trained, batch, ablate(trained, lesion).answer(batch, seed=seed), name))
        n_silent.append(len(units_of(trained.model, lesion.units, lesion.populations)))
    found = compare_trials([each.correct for each in judged])
    found["error"] = [each.error for each in judged]
    found["n_silent"] = n_silent
    return labelled(trained, found, "lesion", [WHOLE, *lesions], (n_trials, seed))


def compare_trials(correct: list[np.ndarray]) -> dict[str, np.ndarray]:
    """Give the mean of every condition and its change from the first, all judged on the same trials, with intervals.

    Parameters
    ----------
    correct : list of ndarray, shape (n_trials,)
        Score of every trial, the same trials in all; NaN for a trial that has none.

    Returns
    -------
    dict of str to ndarray, shape (n_conditions,)
        `performance` and `change` with their ``_low`` and ``_high``: 95 %. Where scores are 0 or 1, Wilson's interval,
        and for the change that of Bonett and Price (2012), doi:10.3102/1076998611411915, for paired proportions; else
        normal ones.

    Raises
    ------
    DataError
        If no trial has a score in all conditions.
    """
    scores = np.array(correct, dtype=float)
    scores = scores[:, np.isfinite(scores).all(axis=0)]
    n = scores.shape[1]
    if n == 0:
        raise DataError("no trial has a score in all conditions.", hint="Draw trials with an answer.")
    mean, difference = scores.mean(axis=1), scores - scores[0]
    change = difference.mean(axis=1)
    if np.isin(scores, (0.0, 1.0)).all():
        low, high = wilson(scores.sum(axis=1), np.full(len(scores), n))
        gained, lost = (((difference == sign).sum(axis=1) + 1.0) / (n + 2.0) for sign in (1.0, -1.0))
        centre = gained - lost
        half = _Z * np.sqrt((gained + lost - centre**2) / (n + 2.0))
    else:
        half_mean = _Z * scores.std(axis=1, ddof=1) / np.sqrt(n)
        low, high = mean - half_mean, mean + half_mean
        centre, half = change, _Z * difference.std(axis=1, ddof=1) / np.sqrt(n)
    # A condition does not differ from itself.
    half = np.where(np.arange(len(scores)) == 0, 0.0, half)
    return {
        "performance": mean, "performance_low": low, "performance_high": high,
        "change": change, "change_low": centre - half, "change_high": centre + half,
    }  # fmt: skip


def check_targets(given: Any) -> None:
    """Make tuples of units and populations, or refuse them."""
    if isinstance(given.populations, str):
        raise OptionError(f"populations={given.populations!r} is one name; expected a tuple of names.")
    object.__setattr__(given, "units", tuple(check_count("units", k, at_least=0) for k in given.units))
    object.__setattr__(given, "populations", tuple(given.populations))


def check_conditions(conditions: Mapping[str, object]) -> None:
    """Refuse a name that the untouched network has."""
    if WHOLE in conditions:
        raise OptionError(f"the name {WHOLE!r} is that of the network without any; call yours otherwise.")


def units_of(model: Model, units: tuple[int, ...], populations: tuple[str, ...]) -> np.ndarray:
    """Give positions of units, those of populations among them, sorted."""
    beyond = [k for k in units if k >= model.n_hidden]
    if beyond:
        raise OptionError(f"there is no unit {beyond[0]}; {model.name!r} has {model.n_hidden}.")
    if populations and not isinstance(model, CircuitModel):
        raise _without_populations(model, populations[0])
    names = model.populations
    unknown = [name for name in populations if name not in names]
    if unknown:
        raise OptionError(f"there is no population {unknown[0]!r}; there are {', '.join(dict.fromkeys(names))}.")
    return np.union1d(np.array(units, dtype=np.int64), np.flatnonzero(np.isin(names, populations)))


def _without_populations(model: Model, name: str) -> OptionError:
    """Say that a cell network has no populations."""
    return OptionError(f"{name!r} is no population: {model.name!r} is a cell network, which has units only.")


def _silence_cells(parts: dict[str, np.ndarray], silent: np.ndarray) -> None:
    """Zero the columns through which units of a cell network reach others, in both directions where there are two."""
    for name in _COLUMNS_OF_UNITS:
        first = 0
        for each in (name, f"{name}_back"):
            if each in parts:
                n = parts[each].shape[1]
                parts[each][:, silent[(silent >= first) & (silent < first + n)] - first] = 0.0
                first += n


def judge(trained: Trained, batch: Batch, outputs: np.ndarray, name: str) -> Performance:
    """Judge what a network answered; a trial in which it left the finite numbers is wrong, and has no response."""
    inside = np.arange(outputs.shape[1]) < batch.length[:, None]
    is_broken = (~np.isfinite(outputs).all(axis=2) & inside).any(axis=1)
    if not is_broken.any():
        return trained.task.performance(outputs, batch)
    warnings.warn(
        f"{name!r}: {int(is_broken.sum())} of {len(outputs)} trials left the finite numbers and count as wrong.",
        NumericalWarning,
        stacklevel=3,
    )
    judged = trained.task.performance(np.where(is_broken[:, None, None], 0.0, outputs), batch)
    correct = np.where(is_broken & ~np.isnan(judged.correct), 0.0, judged.correct)
    trials = judged.trials.assign(correct=correct)
    if "response" in trials:
        trials["response"] = trials["response"].where(~is_broken)
    return judged._replace(correct=correct, fraction=float(np.nanmean(correct)), error=float("inf"), trials=trials)


def labelled(
    trained: Trained, found: dict[str, np.ndarray], dim: str, names: list[str], drawn: tuple[int, int]
) -> xr.Dataset:
    """Lay results out over the conditions."""
    attrs = {
        "network": trained.model.name, "task": repr(trained.task), "chance": trained.task.chance,
        "n_trials": drawn[0], "seed": drawn[1], "interval": LEVEL,
    }  # fmt: skip
    return xr.Dataset({name: (dim, np.asarray(values)) for name, values in found.items()}, {dim: names}, attrs)
