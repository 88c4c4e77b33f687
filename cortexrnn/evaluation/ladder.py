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
from cortexrnn.encoding.psth import PSTH
from cortexrnn.encoding.renewal import Renewal
from cortexrnn.encoding.rnn import RNN

CONTROL = "M3"
CUT = "M6cut"
ALWAYS = ("M0", "M1", "M3", "M5")
RUNGS = ("M0", "M1", "M2", "M3", "M4", "MK", "HMM", "M5", "M6", "M6cut")
# Without those that are compared on request only.
USUAL_RUNGS = tuple(name for name in RUNGS if name not in ("MK", "HMM"))
QUICK_RUNGS = ("M0", "M1", "M2", "M3", "M4", "M5")


def ladder(names: Iterable[str] = USUAL_RUNGS, *, likelihood: str = "poisson") -> dict[str, Rung]:
    """Give the rungs of the comparison by name, from the lowest to the highest.

    Parameters
    ----------
    names : iterable of str
        Rungs to compare. M0, M1, M3 and M5 are always there, because scores, figures and verdict
        are read against them, and M6 brings its control M6cut. MK, a Markov chain of order k, and HMM, a hidden state,
        are there on request.
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
    if wanted & {"M6", CUT}:
        wanted |= {"M6", CUT}
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
    return {name: specs[name] for name in RUNGS if name in wanted}
