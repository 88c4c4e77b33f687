"""Rate RNNs with Dale's law and plasticity beside models of spike trains that are compared honestly.

The public names are listed here and loaded when first used, so that ``import cortexrnn`` is light.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from cortexrnn.encoding import (
        PSTH,
        RNN,
        CausalGain,
        Constant,
        Drift,
        HistoryGLM,
        PoissonFit,
        Renewal,
        fit_poisson,
    )
    from cortexrnn.evaluation import CompareOptions, Comparison, RunSettings, compare, ladder
    from cortexrnn.spikes import DoctorReport, Recording, doctor, read_recording

_ROOMS = {
    "CausalGain": "encoding",
    "Comparison": "evaluation",
    "CompareOptions": "evaluation",
    "Constant": "encoding",
    "DoctorReport": "spikes",
    "Drift": "encoding",
    "HistoryGLM": "encoding",
    "PSTH": "encoding",
    "PoissonFit": "encoding",
    "RNN": "encoding",
    "Recording": "spikes",
    "Renewal": "encoding",
    "RunSettings": "evaluation",
    "compare": "evaluation",
    "doctor": "spikes",
    "fit_poisson": "encoding",
    "ladder": "evaluation",
    "read_recording": "spikes",
}

__all__ = [
    "CausalGain",
    "Comparison",
    "CompareOptions",
    "Constant",
    "DoctorReport",
    "Drift",
    "HistoryGLM",
    "PSTH",
    "PoissonFit",
    "RNN",
    "Recording",
    "Renewal",
    "RunSettings",
    "compare",
    "doctor",
    "fit_poisson",
    "ladder",
    "read_recording",
]


def __getattr__(name: str) -> Any:
    """Load a public name from its room when it is first used."""
    if name not in _ROOMS:
        raise AttributeError(f"module 'cortexrnn' has no attribute {name!r}")
    return getattr(importlib.import_module(f"cortexrnn.{_ROOMS[name]}"), name)


def __dir__() -> list[str]:
    """List the public names."""
    return sorted(__all__)
