"""The ladder: which rungs are compared, by name."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Any

from cortexrnn._checks import check_choice
from cortexrnn.encoding.constant import Constant
from cortexrnn.encoding.coupled_glm import CoupledHistoryGLM
from cortexrnn.encoding.drift import Drift
from cortexrnn.encoding.gain import CausalGain
from cortexrnn.encoding.glm import HistoryGLM
from cortexrnn.encoding.hmm import HMM
from cortexrnn.encoding.likelihood import mean_likelihood
from cortexrnn.encoding.markov import Markov
from cortexrnn.encoding.model import Rung
from cortexrnn.encoding.network import Network
from cortexrnn.encoding.population_rnn import PopulationRNN
from cortexrnn.encoding.psth import PSTH
from cortexrnn.encoding.renewal import Renewal
from cortexrnn.encoding.rnn import RNN
from cortexrnn.encoding.stimulus import Stimulus
from cortexrnn.evaluation.options import CompareOptions

CONTROL = "M3"
# Networks and their controls, whose own spikes are cut.
TWINS = {
    "M6": "M6cut",
    "M6 vanilla": "M6 vanilla cut",
    "M6 LSTM": "M6 LSTM cut",
    "M6 Dale": "M6 Dale cut",
    "M6 ODE": "M6 ODE cut",
}
# Rungs that see other units, and what they are measured against: the same without them.
ALONE = {"M5 coupled": "M5", "M7": "M6"}
ALWAYS = ("M0", "M1", "M3", "M5")
USUAL_RUNGS = ("M0", "M1", "M2", "M3", "M4", "M5", "M6", "M6cut")
# With those that are compared on request only.
_NETWORKS = tuple(name for pair in TWINS.items() for name in pair)
RUNGS = ("M0", "M1", "S1", "M2", "M3", "M4", "MK", "HMM", "M5", "M5 coupled", *_NETWORKS, "M7")
QUICK_RUNGS = ("M0", "M1", "M2", "M3", "M4", "M5")


def ladder(
    names: Iterable[str] = USUAL_RUNGS, *, likelihood: str = "poisson", stimulus: Stimulus | None = None
) -> dict[str, Rung]:
    """Give the rungs of the comparison by name, from the lowest to the highest.

    Parameters
    ----------
    names : iterable of str
        Rungs to compare. M0, M1, M3 and M5 are always there, because scores, figures and verdict
        are read against them, and every network brings its control. MK, a Markov chain of order k, HMM, a hidden
        state, and networks of other cells are there on request.
    likelihood : {"poisson", "bernoulli", "negative binomial"}
        Observation model; where the negative binomial is scored, history rungs maximise the Poisson likelihood.
    stimulus : Stimulus, optional
        Brings S1, which then stands on M1 and carries every rung above it; the trials must hold covariates.

    Returns
    -------
    dict of str to Rung

    Raises
    ------
    OptionError
        If a name is unknown.

    Examples
    --------
    >>> list(ladder(["M4"]))
    ['M0', 'M1', 'M3', 'M4', 'M5']
    """
    likelihood = mean_likelihood(likelihood)
    wanted = {check_choice("rung", name, RUNGS) for name in names} | set(ALWAYS)
    wanted |= {ALONE[name] for name in wanted.intersection(ALONE)}
    for pair in TWINS.items():
        if wanted.intersection(pair):
            wanted.update(pair)
    if "S1" in wanted or stimulus is not None:
        wanted.add("S1")
        lowest: Rung = replace(stimulus or Stimulus(), baseline=PSTH(), likelihood=likelihood)
    else:
        lowest = PSTH()
    drift = Drift(baseline=lowest)
    gain = CausalGain(baseline=drift)
    above = {"baseline": gain, "likelihood": likelihood}
    specs: dict[str, Rung] = {
        "M0": Constant(),
        "M1": PSTH(),
        "S1": lowest,
        "M2": drift,
        "M3": gain,
        "M4": Renewal(**above),
        "MK": Markov(**above),
        "HMM": HMM(baseline=gain),
        "M5": HistoryGLM(**above),
        "M5 coupled": CoupledHistoryGLM(**above),
        "M6": RNN(**above),
        "M6cut": RNN(**above, uses_own_spikes=False),
        "M7": PopulationRNN(**above),
    }
    for cell in ("vanilla", "lstm", "dale", "ode"):
        for uses_own_spikes in (True, False):
            rung = Network(cell=cell, uses_own_spikes=uses_own_spikes, **above)
            specs[rung.name] = rung
    return {name: specs[name] for name in RUNGS if name in wanted}


def stimulus_rung(rungs: Iterable[str]) -> str:
    """Name the rung that holds all that is locked to the stimulus.

    Parameters
    ----------
    rungs : iterable of str
        Rungs that are compared.

    Returns
    -------
    str
        S1 where it is among them, else M1.
    """
    return "S1" if "S1" in set(rungs) else "M1"


def usual_models(
    options: CompareOptions, alignment: Mapping[str, Any], names: Iterable[str] = USUAL_RUNGS
) -> dict[str, Rung]:
    """Give the ladder for a comparison in which nobody named the models: with S1 where there are covariates.

    Parameters
    ----------
    options : CompareOptions
        Its observation model is used.
    alignment : mapping
        Arguments of the alignment.
    names : iterable of str
        Rungs.

    Returns
    -------
    dict of str to Rung
    """
    stimulus = Stimulus() if alignment.get("covariates") else None
    return ladder(names, likelihood=options.likelihood, stimulus=stimulus)
