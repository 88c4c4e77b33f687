"""The ladder: which rungs are compared, by name."""

from __future__ import annotations

from collections.abc import Iterable

from cortexrnn._checks import check_choice
from cortexrnn.encoding.constant import Constant
from cortexrnn.encoding.drift import Drift
from cortexrnn.encoding.gain import CausalGain
from cortexrnn.encoding.glm import HistoryGLM
from cortexrnn.encoding.hmm import HMM
from cortexrnn.encoding.markov import Markov
from cortexrnn.encoding.model import Rung
from cortexrnn.encoding.network import Network
from cortexrnn.encoding.psth import PSTH
from cortexrnn.encoding.renewal import Renewal
from cortexrnn.encoding.rnn import RNN

CONTROL = "M3"
# Networks and their controls, whose own spikes are cut.
TWINS = {
    "M6": "M6cut",
    "M6 vanilla": "M6 vanilla cut",
    "M6 LSTM": "M6 LSTM cut",
    "M6 Dale": "M6 Dale cut",
}
ALWAYS = ("M0", "M1", "M3", "M5")
USUAL_RUNGS = ("M0", "M1", "M2", "M3", "M4", "M5", "M6", "M6cut")
# With those that are compared on request only.
RUNGS = (*USUAL_RUNGS[:5], "MK", "HMM", "M5", *(name for pair in TWINS.items() for name in pair))
QUICK_RUNGS = ("M0", "M1", "M2", "M3", "M4", "M5")


def ladder(names: Iterable[str] = USUAL_RUNGS, *, likelihood: str = "poisson") -> dict[str, Rung]:
    """Give the rungs of the comparison by name, from the lowest to the highest.

    Parameters
    ----------
    names : iterable of str
        Rungs to compare. M0, M1, M3 and M5 are always there, because scores, figures and verdict
        are read against them, and every network brings its control. MK, a Markov chain of order k, HMM, a hidden
        state, and networks of other cells are there on request.
    likelihood : {"poisson", "bernoulli"}
        Observation model that history rungs maximise.

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
    wanted = {check_choice("rung", name, RUNGS) for name in names} | set(ALWAYS)
    for pair in TWINS.items():
        if wanted.intersection(pair):
            wanted.update(pair)
    specs: dict[str, Rung] = {
        "M0": Constant(),
        "M1": PSTH(),
        "M2": Drift(),
        "M3": CausalGain(),
        "M4": Renewal(likelihood=likelihood),
        "MK": Markov(likelihood=likelihood),
        "HMM": HMM(),
        "M5": HistoryGLM(likelihood=likelihood),
        "M6": RNN(likelihood=likelihood),
        "M6cut": RNN(likelihood=likelihood, uses_own_spikes=False),
    }
    for cell in ("vanilla", "lstm", "dale"):
        for uses_own_spikes in (True, False):
            rung = Network(cell=cell, likelihood=likelihood, uses_own_spikes=uses_own_spikes)
            specs[rung.name] = rung
    return {name: specs[name] for name in RUNGS if name in wanted}
