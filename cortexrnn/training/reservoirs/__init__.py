"""Networks whose recurrent weights stay as they were drawn: echo states, linear read-outs, FORCE."""

from cortexrnn.training.reservoirs.echo_state import EchoStateNetwork
from cortexrnn.training.reservoirs.force import Force
from cortexrnn.training.reservoirs.memory import echo_state_test, linear_memory, memory_capacity
from cortexrnn.training.reservoirs.readout import Readout, Ridge, SignedRidge
from cortexrnn.training.reservoirs.reservoir import Reservoir, ReservoirSpec
from cortexrnn.training.reservoirs.rls import RLS, SignedRLS

__all__ = [
    "RLS",
    "EchoStateNetwork",
    "Force",
    "Readout",
    "Reservoir",
    "ReservoirSpec",
    "Ridge",
    "SignedRLS",
    "SignedRidge",
    "echo_state_test",
    "linear_memory",
    "memory_capacity",
]
