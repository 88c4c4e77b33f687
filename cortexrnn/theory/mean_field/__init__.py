"""What large networks do on average, by theory: one module a theory."""

from cortexrnn.theory.mean_field.balanced import BalancedState, balanced_curve, balanced_state
from cortexrnn.theory.mean_field.dmft import MeanField, dmft
from cortexrnn.theory.mean_field.driven_map import DrivenMap, driven_curve, driven_map, transition_gain
from cortexrnn.theory.mean_field.driven_memory import driven_memory
from cortexrnn.theory.mean_field.memory import MemoryItems
from cortexrnn.theory.mean_field.memory_states import BistableWindow, bistable_window, memory_states
from cortexrnn.theory.mean_field.oscillation import LimitCycle, limit_cycle
from cortexrnn.theory.mean_field.pair import EIPair, PairStates, nullclines, pair_states
from cortexrnn.theory.mean_field.rank_one import RankOne, rank_one, rank_one_curve
from cortexrnn.theory.mean_field.supralinear import RestBranch, rest_branch

__all__ = [
    "BalancedState",
    "BistableWindow",
    "DrivenMap",
    "EIPair",
    "LimitCycle",
    "MeanField",
    "MemoryItems",
    "PairStates",
    "RankOne",
    "RestBranch",
    "balanced_curve",
    "balanced_state",
    "bistable_window",
    "dmft",
    "driven_curve",
    "driven_map",
    "driven_memory",
    "limit_cycle",
    "memory_states",
    "nullclines",
    "pair_states",
    "rank_one",
    "rank_one_curve",
    "rest_branch",
    "transition_gain",
]
