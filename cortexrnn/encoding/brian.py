"""A fitted rung as a network of Brian2 that fires: one neuron a copy of a trial, one time step a bin.

Every neuron carries the log expected count of its next bin, with the equations of the rungs below it, and fires with
the probability ``1 - exp(-mu)``. It takes what `cortexrnn.encoding.simulation.simulate_copies` takes from the trials:
conditions and start times, the recorded spikes of the burn-in and the bins that nobody observed.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import xarray as xr

from cortexrnn._checks import check_count
from cortexrnn.dynamics.brian_objects import BrianObjects, make_objects
from cortexrnn.dynamics.brian_parts import Operation, Parts, Table, Units
from cortexrnn.dynamics.brian_text import Heading, Script, write_script
from cortexrnn.encoding.arrays import UnitTrials
from cortexrnn.encoding.brian_networks import network_fragment
from cortexrnn.encoding.brian_rungs import (
    COPIES,
    PASSING,
    Fragment,
    Given,
    gain_fragment,
    guard_fragment,
    history_fragment,
    lay_out_table,
    renewal_fragment,
    with_bound,
)
from cortexrnn.encoding.contamination import FittedGuard
from cortexrnn.encoding.gain import FittedGain
from cortexrnn.encoding.glm import BoundedHistoryGLM, FittedHistoryGLM
from cortexrnn.encoding.model import Fitted, as_unit_trials
from cortexrnn.encoding.network import BoundedNetwork, FittedNetwork
from cortexrnn.encoding.renewal import FittedRenewal
from cortexrnn.encoding.rnn import BoundedRNN, FittedRNN
from cortexrnn.errors import DataWarning, NumericalError, OptionError
from cortexrnn.numerics.streams import stream

_FRAGMENTS: dict[type[Fitted], Callable[[Any, Given, str, str], Fragment]] = {
    FittedGain: gain_fragment,
    FittedRenewal: renewal_fragment,
    FittedHistoryGLM: history_fragment,
    FittedRNN: network_fragment,
    FittedNetwork: network_fragment,
    FittedGuard: guard_fragment,
    BoundedHistoryGLM: history_fragment,
    BoundedRNN: network_fragment,
    BoundedNetwork: network_fragment,
}


@dataclass(frozen=True, kw_only=True, eq=False)
class BrianCopies:
    """Copies of trials in Brian2, one neuron a copy of a trial: first all trials of the first copy.

    Attributes
    ----------
    fitted : Fitted
        What is exported.
    trials : UnitTrials
        What is copied.
    n_copies : int
        Copies of every trial.
    seed : int
        Of the spikes.
    keeps_log_mu : bool
        Whether the log expected count of every bin is monitored.
    parts : Parts
        What the objects are made of.
    """

    fitted: Fitted
    trials: UnitTrials
    n_copies: int
    seed: int
    keeps_log_mu: bool
    parts: Parts

    @cached_property
    def objects(self) -> BrianObjects:
        """The objects of Brian2, made when they are first asked for.

        In the group ``copies`` the variable ``log_mu`` is the logarithm of the expected count of the bin and
        ``probability`` that of a spike; a neuron fires where ``uniform`` is below that.
        """
        streams = [stream(self.seed, "free run", copy) for copy in range(self.n_copies)]
        return make_objects(self.parts, streams, keeps_log_mu=self.keeps_log_mu)

    def run(self) -> np.ndarray:
        """Run through all bins of the trials.

        Returns
        -------
        ndarray of uint16, shape (n_copies, n_trials, n_bins)
            As `counts` gives them.
        """
        self.objects.advance()
        return self.counts()

    def log_mu(self) -> np.ndarray:
        """Give the log expected count of the bins so far, where it was to be kept.

        Returns
        -------
        ndarray of float64, shape (n_copies, n_trials, at most n_bins)

        Raises
        ------
        OptionError
            If it was not kept.
        """
        if not self.keeps_log_mu:
            raise OptionError("log_mu was not kept; expected to_brian2(..., keeps_log_mu=True).")
        n_trials, n_bins = self.trials.counts.shape
        return np.asarray(self.objects.log_mu.log_mu).reshape(self.n_copies, n_trials, -1)[:, :, :n_bins]

    def counts(self) -> np.ndarray:
        """Give the spikes so far, however the network was run.

        Returns
        -------
        ndarray of uint16, shape (n_copies, n_trials, n_bins)
            Own spikes in scored bins, at most one in each; the recorded ones in the burn-in before them; 0 where
            nobody observed.
        """
        n_trials, n_bins = self.trials.counts.shape
        copy, trial = np.divmod(np.asarray(self.objects.spikes.i), n_trials)
        t = np.rint(np.asarray(self.objects.spikes.t_) / self.trials.bin_s).astype(int)
        # A network may be run on beyond the trials.
        is_scored = np.pad(self.trials.scored, ((0, 0), (0, 1)))
        is_own = is_scored[trial, np.minimum(t, n_bins)]
        counts = np.repeat(Given(self.trials).recorded[None], self.n_copies, axis=0).astype(np.uint16)
        counts[copy[is_own], trial[is_own], t[is_own]] = 1
        return counts

    def script(self) -> Script:
        """Write the same network as a script that needs brian2 and numpy only; ``save(path)`` keeps it.

        Its spikes come from Brian2's random numbers, so that they are other ones.

        Returns
        -------
        Script
        """
        parts = _lay_out(self.fitted, self.trials, self.n_copies, "rand()")
        chain = " on ".join(reversed([type(rung).__name__ for rung in _chain(self.fitted)]))
        return write_script(parts, Heading(chain, self.trials.n_trials, self.seed))


def to_brian2(
    fitted: Fitted,
    trials: UnitTrials | xr.Dataset,
    *,
    n_copies: int = 1,
    seed: int = 0,
    keeps_log_mu: bool = False,
) -> BrianCopies:
    """Make a Brian2 network that fires as a fitted rung does; see `Fitted.to_brian2`."""
    check_count("n_copies", n_copies)
    check_count("seed", seed, at_least=0)
    data = as_unit_trials(trials)
    n_double = int((data.counts[data.scored] > 1).sum())
    if n_double:
        warnings.warn(
            f"{n_double} scored bins hold more than one spike; a neuron of Brian2 fires at most once in a step, with "
            "the probability 1 - exp(-mu) of at least one.",
            DataWarning,
            stacklevel=3,
        )
    parts = _lay_out(fitted, data, n_copies, "uniform")
    return BrianCopies(fitted=fitted, trials=data, n_copies=n_copies, seed=seed, keeps_log_mu=keeps_log_mu, parts=parts)


def _lay_out(fitted: Fitted, trials: UnitTrials, n_copies: int, uniform: str) -> Parts:
    """Say what a fitted rung on these trials is in Brian2's terms; `uniform` is what decides about a spike."""
    given = Given(trials)
    chain = _chain(fitted)
    ground = chain[0].below if chain else fitted
    log_mu = np.zeros(trials.counts.shape) if ground is None else ground.log_mu(trials)
    if np.isnan(log_mu).any():
        raise NumericalError(f"the rungs that look at no spikes predict NaN in {int(np.isnan(log_mu).sum())} bins.")
    names = ["log_mu_0", *(f"log_mu_{k}" for k in range(1, len(chain))), "log_mu"] if chain else ["log_mu"]
    fragments = [_fragment(rung, given, *names[k : k + 2]) for k, rung in enumerate(chain)]
    copies, tables, passing = _copies(given, log_mu, names[0], fragments, uniform)
    operations = [Operation(units=COPIES, statements=passing, when=PASSING)] if passing else []
    return Parts(
        n_sequences=n_copies * trials.n_trials,
        dt_s=trials.bin_s,
        n_steps=trials.counts.shape[1],
        spiking=COPIES,
        tables=(*tables, *(table for each in fragments for table in each.tables)),
        units=(copies, *(units for each in fragments for units in each.units)),
        links=tuple(links for each in fragments for links in each.links),
        operations=(*operations, *(operation for each in fragments for operation in each.operations)),
    )


def _fragment(rung: Fitted, given: Given, below: str, name: str) -> Fragment:
    """Say what one rung is, with its bound if it has one."""
    make = _FRAGMENTS[type(rung)]
    if not isinstance(rung, BoundedHistoryGLM | BoundedRNN | BoundedNetwork):
        return make(rung, given, below, name)
    # A short name: lines of scripts have at most 120 characters.
    unbounded = f"{name}_free"
    return with_bound(make(rung, given, below, unbounded), unbounded, name, rung.log_bound)


def _copies(
    given: Given, log_mu: np.ndarray, ground: str, fragments: list[Fragment], uniform: str
) -> tuple[Units, list[Table], tuple[str, ...]]:
    """Give the group of copies, the tables that it looks up beside those of the rungs, and what passes in a bin."""
    baseline, log_baseline = lay_out_table("log_baseline", log_mu)
    scored, is_scored = lay_out_table("is_scored", given.trials.scored)
    recorded, was_recorded = lay_out_table("was_recorded", given.recorded > 0)
    equations = [
        # A spike of the burn-in comes for sure, and passes on to what follows as any other.
        f"probability = {was_recorded} - scored*expm1(-exp(log_mu)) : 1",
        *(line for each in reversed(fragments) for line in each.equations),
        f"{ground} = {log_baseline} : 1",
        f"scored = {is_scored} : 1",
        f"trial = i % {given.trials.n_trials} : integer",
    ]
    if uniform == "uniform":
        equations.append("uniform : 1")
    values: dict[str, float | np.ndarray] = {}
    for each in fragments:
        values |= each.values
    copies = Units(
        name=COPIES,
        size=1,
        equations=tuple(equations),
        values=values,
        threshold=f"{uniform} < probability",
        reset=tuple(line for each in fragments for line in each.reset),
    )
    return copies, [baseline, scored, recorded], tuple(line for each in fragments for line in each.passing)


def _chain(fitted: Fitted) -> list[Fitted]:
    """Give the rungs that hear spikes, lowest first; refuse those that are not known here."""
    chain: list[Fitted] = []
    rung: Fitted | None = fitted
    while rung is not None and _hears(rung):
        chain.insert(0, rung)
        rung = rung.below
    names = [type(each).__name__ for each in chain]
    unknown = [name for name, each in zip(names, chain, strict=True) if type(each) not in _FRAGMENTS]
    if unknown:
        raise OptionError(
            f"{unknown[0]} cannot be exported to Brian2; expected rungs that look at no spikes and "
            f"{', '.join(kind.__name__ for kind in _FRAGMENTS)}."
        )
    makers = [_FRAGMENTS[type(each)] for each in chain]
    if len(set(makers)) < len(makers):
        raise OptionError(f"{' below '.join(names)} cannot be exported to Brian2; expected one rung of a kind.")
    return chain


def _hears(rung: Fitted | None) -> bool:
    """Tell whether a rung or any below it looks at spikes."""
    return rung is not None and (rung.looks_at_spikes or _hears(rung.below))
