"""How a circuit moves: simulation, stimuli, noise, what is kept, and spikes drawn from it."""

from cortexrnn.dynamics.brian import to_brian2
from cortexrnn.dynamics.brian_layout import BrianRun
from cortexrnn.dynamics.brian_script import export_brian2
from cortexrnn.dynamics.check import check_dt
from cortexrnn.dynamics.record import Record
from cortexrnn.dynamics.sample import SpikeProcess, sample_spikes
from cortexrnn.dynamics.simulate import Solver, simulate
from cortexrnn.dynamics.stimuli import Fluctuation, Pulse, Ramp, Samples, Signal, Sinusoid
from cortexrnn.dynamics.summary import describe
from cortexrnn.dynamics.twin import spiking_twin

__all__ = [
    "BrianRun",
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
    "export_brian2",
    "sample_spikes",
    "simulate",
    "spiking_twin",
    "to_brian2",
]
