"""What was recorded: recordings, readers, alignment, folds, checks of a recording.

The names are loaded when first used: the guarded child imports the readers below this package and
must not pay for pandas and xarray in time and memory.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from cortexrnn.spikes.checkup import DoctorReport, doctor
    from cortexrnn.spikes.readers.read import read_recording
    from cortexrnn.spikes.recording import Recording

_MODULES = {
    "DoctorReport": "checkup",
    "Recording": "recording",
    "doctor": "checkup",
    "read_recording": "readers.read",
}

__all__ = ["DoctorReport", "Recording", "doctor", "read_recording"]


def __getattr__(name: str) -> Any:
    """Load a public name from its module."""
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}.{_MODULES[name]}"), name)
