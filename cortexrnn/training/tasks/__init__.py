"""Tasks that networks learn: trials from a seed, a table of their conditions, and a judge of the answers."""

from __future__ import annotations

from cortexrnn.training.tasks.bits import FlipFlop
from cortexrnn.training.tasks.context import ContextDecision
from cortexrnn.training.tasks.contract import Batch, Performance, Task
from cortexrnn.training.tasks.dots import RandomDots, ReactionDots
from cortexrnn.training.tasks.frequencies import ParametricMemory
from cortexrnn.training.tasks.go import GoNoGo
from cortexrnn.training.tasks.intervals import IntervalTiming
from cortexrnn.training.tasks.irregular import GriddedWaves, IrregularWaves
from cortexrnn.training.tasks.long_memory import Adding, CopyMemory, FirstSymbol
from cortexrnn.training.tasks.matching import CategoryMatch, DelayedMatch
from cortexrnn.training.tasks.movements import SequenceGeneration
from cortexrnn.training.tasks.own import OwnTask, Trial, from_function
from cortexrnn.training.tasks.presets import (
    adding,
    context_decision,
    copy_memory,
    delayed_estimation,
    delayed_match,
    delayed_match_category,
    delayed_match_rotated,
    first_symbol,
    flip_flop,
    go_nogo,
    interval_timing,
    irregular_waves,
    load_task,
    multisensory,
    parametric_memory,
    pro_anti,
    random_dots,
    random_dots_reaction,
    random_dots_variable,
    sequence,
    sine,
    symbol_source,
    task_names,
)
from cortexrnn.training.tasks.ring import DelayedEstimation, ProAnti
from cortexrnn.training.tasks.senses import Multisensory
from cortexrnn.training.tasks.symbols import SymbolSource
from cortexrnn.training.tasks.timeline import Duration, OneOf, TruncatedExponential, Uniform
from cortexrnn.training.tasks.waves import SineGeneration

__all__ = [
    "Adding",
    "Batch",
    "CategoryMatch",
    "ContextDecision",
    "CopyMemory",
    "DelayedEstimation",
    "DelayedMatch",
    "Duration",
    "FirstSymbol",
    "FlipFlop",
    "GoNoGo",
    "GriddedWaves",
    "IntervalTiming",
    "IrregularWaves",
    "Multisensory",
    "OneOf",
    "OwnTask",
    "ParametricMemory",
    "Performance",
    "ProAnti",
    "RandomDots",
    "ReactionDots",
    "SequenceGeneration",
    "SineGeneration",
    "SymbolSource",
    "Task",
    "Trial",
    "TruncatedExponential",
    "Uniform",
    "adding",
    "context_decision",
    "copy_memory",
    "delayed_estimation",
    "delayed_match",
    "delayed_match_category",
    "delayed_match_rotated",
    "first_symbol",
    "flip_flop",
    "from_function",
    "go_nogo",
    "interval_timing",
    "irregular_waves",
    "load_task",
    "multisensory",
    "parametric_memory",
    "pro_anti",
    "random_dots",
    "random_dots_reaction",
    "random_dots_variable",
    "sequence",
    "sine",
    "symbol_source",
    "task_names",
]
