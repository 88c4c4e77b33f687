"""Models of spike trains: one file a rung, and regression on a design of the user's own."""

from __future__ import annotations

from cortexrnn.encoding.arrays import UnitTrials, unit_trials
from cortexrnn.encoding.constant import Constant
from cortexrnn.encoding.drift import Drift
from cortexrnn.encoding.gain import CausalGain
from cortexrnn.encoding.glm import HistoryGLM
from cortexrnn.encoding.hmm import HMM
from cortexrnn.encoding.markov import Markov
from cortexrnn.encoding.model import Fitted, Rung
from cortexrnn.encoding.network import Network
from cortexrnn.encoding.poisson import PoissonFit, fit_poisson
from cortexrnn.encoding.psth import PSTH
from cortexrnn.encoding.renewal import Renewal
from cortexrnn.encoding.rnn import RNN

__all__ = [
    "HMM",
    "PSTH",
    "RNN",
    "CausalGain",
    "Constant",
    "Drift",
    "Fitted",
    "HistoryGLM",
    "Markov",
    "Network",
    "PoissonFit",
    "Renewal",
    "Rung",
    "UnitTrials",
    "fit_poisson",
    "unit_trials",
]
