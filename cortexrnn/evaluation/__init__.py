"""Who predicts better: comparison on held-out trials, intervals, controls, verdict."""

from __future__ import annotations

from cortexrnn.evaluation.compare import RunSettings, compare
from cortexrnn.evaluation.comparison import Comparison
from cortexrnn.evaluation.ladder import ladder
from cortexrnn.evaluation.options import CompareOptions
from cortexrnn.evaluation.scores import Gain, gain_interval
from cortexrnn.evaluation.verdict import decide, more_trials

__all__ = [
    "Comparison",
    "CompareOptions",
    "Gain",
    "RunSettings",
    "compare",
    "decide",
    "gain_interval",
    "ladder",
    "more_trials",
]
