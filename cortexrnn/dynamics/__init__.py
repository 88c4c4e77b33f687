"""How a circuit moves: simulation, stimuli, noise, what is kept, and spikes drawn from it."""

from cortexrnn.dynamics.check import check_dt
from cortexrnn.dynamics.record import Record
from cortexrnn.dynamics.sample import SpikeProcess, sample_spikes
from cortexrnn.dynamics.simulate import Solver, simulate
from cortexrnn.dynamics.stimuli import Fluctuation, Pulse, Ramp, Samples, Signal, Sinusoid
from cortexrnn.dynamics.summary import describe

__all__ = [
    "Fluctuation",
    "Pulse",
    "Ramp",
    "Record",
    "Samples",
    "Signal",
    "Sinusoid",
    "Solver",
    "SpikeProcess",
    "check_dt",
    "describe",
    "sample_spikes",
    "simulate",
]
