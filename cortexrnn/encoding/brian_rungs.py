"""Rungs that look at spikes in Brian2's terms: trial gain, time since the last spike, history filter, guard, bound.

A fragment is what a rung adds to the group in which every neuron is one copy of a trial. In a step t these things
happen, by Brian2's schedule: ``groups`` moves networks on, ``thresholds`` draws the spikes of bin t,
``after_thresholds`` lets the time of a bin pass, ``synapses`` and ``resets`` take in the spikes of bin t and of the
bins before, which the next bin sees.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace

import numpy as np
from scipy.signal import fftconvolve

from cortexrnn.dynamics.brian_parts import Links, Operation, Table, Units
from cortexrnn.encoding.arrays import UnitTrials
from cortexrnn.encoding.contamination import FittedGuard
from cortexrnn.encoding.gain import FittedGain
from cortexrnn.encoding.glm import FittedHistoryGLM
from cortexrnn.encoding.renewal import FittedRenewal

# Name of the group with one neuron a sequence, and the slot in which the time of a bin passes there.
COPIES = "copies"
PASSING = "after_thresholds"


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Fragment:
    """What a rung is in Brian2.

    Attributes
    ----------
    equations : tuple of str
        Lines of the group of copies; they define log mu of this rung from that of the rung below.
    values : dict of str to float
        Constants and first values there.
    reset : tuple of str
        What a spike does there.
    passing : tuple of str
        What happens there in every bin after the spikes are drawn.
    tables : tuple of Table
    units : tuple of Units
        Further groups.
    links : tuple of Links
    operations : tuple of Operation
        In further groups.
    """

    equations: tuple[str, ...]
    values: dict[str, float] = field(default_factory=dict)
    reset: tuple[str, ...] = ()
    passing: tuple[str, ...] = ()
    tables: tuple[Table, ...] = ()
    units: tuple[Units, ...] = ()
    links: tuple[Links, ...] = ()
    operations: tuple[Operation, ...] = ()


@dataclass(frozen=True, slots=True, eq=False)
class Given:
    """What a simulation of some trials takes from them beside its own spikes.

    Attributes
    ----------
    trials : UnitTrials
    """

    trials: UnitTrials

    @property
    def recorded(self) -> np.ndarray:
        """Counts of the burn-in, shape (n_trials, n_bins); 0 from the first scored bin on."""
        is_before = np.cumsum(self.trials.scored, axis=1) == 0
        return np.where(is_before & self.trials.observed, self.trials.counts, 0)

    def beside_spikes(self, mean: float) -> np.ndarray:
        """Give the counts that enter history without a spike of the neuron, shape (n_trials, n_bins).

        They are the mean where nobody observed, and what recorded bins hold beyond the one spike that a neuron can
        fire in a step.
        """
        return np.where(self.trials.observed, np.maximum(self.recorded - 1.0, 0.0), mean)


def lay_out_table(name: str, values: np.ndarray) -> tuple[Table, str]:
    """Make a table of all bins, and the expression that looks the present bin up.

    Parameters
    ----------
    name : str
    values : ndarray, shape (n_trials, n_bins)

    Returns
    -------
    table : Table
        Without columns where all trials are alike.
    expression : str
    """
    if (values == values[:1]).all():
        return Table(name=name, values=np.ascontiguousarray(values[0], dtype=float)), f"{name}(t)"
    return Table(name=name, values=np.ascontiguousarray(values.T, dtype=float)), f"{name}(t, trial)"


def gain_fragment(fitted: FittedGain, given: Given, below: str, name: str) -> Fragment:
    """Give the causal gain: spikes so far over their expectation so far.

    Parameters
    ----------
    fitted : FittedGain
    given : Given
    below, name : str
        Log mu of the rung below and of this one.

    Returns
    -------
    Fragment
    """
    if fitted.variance == 0.0:
        return Fragment(equations=(f"{name} = {below} : 1",))
    return Fragment(
        equations=(
            f"{name} = {below} + log_gain : 1",
            # Bins that are not scored keep the gain of the last one that was.
            "log_gain = scored*log((gain_a + n_spikes)/(gain_a + n_expected)) + (1 - scored)*last_log_gain : 1",
            "n_spikes : 1",
            "n_expected : 1",
            "last_log_gain : 1",
            "gain_a : 1 (shared, constant)",
        ),
        values={"gain_a": 1.0 / fitted.variance},
        reset=("n_spikes += scored",),
        passing=("last_log_gain = log_gain", f"n_expected += scored*exp({below})"),
    )


def renewal_fragment(fitted: FittedRenewal, given: Given, below: str, name: str) -> Fragment:
    """Give the factor that depends on the bins since the last spike; parameters as `gain_fragment`."""
    observed, is_observed = lay_out_table("observed", given.trials.observed)
    return Fragment(
        equations=(
            f"{name} = {below} + renewal_log_factor(age_step*dt) : 1",
            # Without a spike seen so far, the time since the last is known to be long after so many silent bins.
            "age_step = age + longest_age*int(age == 0 and n_silent >= longest_age - 1) : integer",
            "age : integer",
            "n_silent : integer",
            "longest_age : integer (shared, constant)",
        ),
        values={"longest_age": fitted.log_factor.size - 1},
        reset=("age = 1",),
        passing=(f"age = int({is_observed})*(age + int(age > 0))", f"n_silent = int({is_observed})*(n_silent + 1)"),
        tables=(observed, Table(name="renewal_log_factor", values=fitted.log_factor)),
    )


def history_fragment(fitted: FittedHistoryGLM, given: Given, below: str, name: str) -> Fragment:
    """Give the history filter: a neuron's synapses onto itself, one a lag, each with its own delay.

    Parameters as `gain_fragment`. The filter has any shape and is exact. What is known without the neuron's spikes,
    the mean count of the time before the first bin above all, is a table.
    """
    effect = fitted.weights[1:] @ fitted.basis
    before, before_effect = lay_out_table("before_effect", _effect_beside_spikes(effect, fitted.mean, given))
    return Fragment(
        equations=(
            f"{name} = {below} + clip(history_offset + {before_effect} + after_effect, -inf, history_ceiling) : 1",
            "after_effect : 1",
            "history_offset : 1 (shared, constant)",
            "history_ceiling : 1 (shared, constant)",
        ),
        values={"history_offset": float(fitted.weights[0]), "history_ceiling": fitted.ceiling},
        # Spent in this bin; the synapses then lay down what the next bin sees.
        passing=("after_effect = 0",),
        tables=(before,),
        links=(_filter_links(effect),) if effect.any() else (),
    )


def guard_fragment(fitted: FittedGuard, given: Given, below: str, name: str) -> Fragment:
    """Give the mixture with foreign spikes, which has no state; parameters as `gain_fragment`."""
    return Fragment(
        equations=(
            f"{name} = log(own_share*exp({below}) + foreign) : 1",
            "own_share : 1 (shared, constant)",
            "foreign : 1 (shared, constant)",
        ),
        values={"own_share": 1.0 - fitted.share, "foreign": fitted.share * fitted.mean},
    )


def with_bound(fragment: Fragment, unbounded: str, name: str, log_bound: float) -> Fragment:
    """Give a rung a largest log mu.

    Parameters
    ----------
    fragment : Fragment
        The rung without a bound.
    unbounded, name : str
        Log mu without the bound and with it.
    log_bound : float

    Returns
    -------
    Fragment
    """
    bound = f"{name}_bound"
    lines = (f"{name} = clip({unbounded}, -inf, {bound}) : 1", f"{bound} : 1 (shared, constant)")
    return replace(fragment, equations=(*lines, *fragment.equations), values=fragment.values | {bound: log_bound})


def _filter_links(effect: np.ndarray) -> Links:
    """Give the synapses of a neuron onto itself, one for every lag at which a spike has an effect."""
    lags = np.flatnonzero(effect)
    return Links(
        name="history",
        source=COPIES,
        target=COPIES,
        pre=np.zeros(lags.size, dtype=int),
        post=np.zeros(lags.size, dtype=int),
        equations=("effect : 1 (constant)",),
        on_pre="after_effect_post += effect",
        values={"effect": effect[lags]},
        # The first lag is the next bin, which sees what arrived in this one.
        delay_steps=lags,
    )


def _effect_beside_spikes(effect: np.ndarray, mean: float, given: Given) -> np.ndarray:
    """Sum the filter over all counts that are no spikes of the neuron, the time before the first bin among them."""
    counts = given.beside_spikes(mean)
    n_trials, n_bins = counts.shape
    before = np.full((n_trials, effect.size), mean)
    summed = fftconvolve(np.hstack([before, counts]), effect[None], axes=1)
    # Bin t sees what is at least one bin back.
    return summed[:, effect.size - 1 : effect.size - 1 + n_bins]
