"""The tasks under their short names, with published settings: ``tasks.random_dots()``, ``load_task("random_dots")``.

Every function takes the fields of the task as keywords and changes those that are given.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import fields
from typing import Any

from cortexrnn._checks import check_choice
from cortexrnn.errors import OptionError
from cortexrnn.training.tasks.bits import FlipFlop
from cortexrnn.training.tasks.context import ContextDecision
from cortexrnn.training.tasks.contract import Task
from cortexrnn.training.tasks.dots import RandomDots, ReactionDots
from cortexrnn.training.tasks.frequencies import ParametricMemory
from cortexrnn.training.tasks.go import GoNoGo
from cortexrnn.training.tasks.intervals import IntervalTiming
from cortexrnn.training.tasks.irregular import IrregularWaves
from cortexrnn.training.tasks.long_memory import Adding, CopyMemory, FirstSymbol
from cortexrnn.training.tasks.matching import CategoryMatch, DelayedMatch
from cortexrnn.training.tasks.movements import SequenceGeneration
from cortexrnn.training.tasks.ring import DelayedEstimation, ProAnti
from cortexrnn.training.tasks.senses import Multisensory
from cortexrnn.training.tasks.symbols import SymbolSource
from cortexrnn.training.tasks.timeline import TruncatedExponential
from cortexrnn.training.tasks.waves import SineGeneration


def random_dots(**changes: Any) -> RandomDots:
    """Give random dots of fixed duration (Song et al. 2016)."""
    return _make(RandomDots, changes)


def random_dots_variable(**changes: Any) -> RandomDots:
    """Give random dots of variable duration (Kiani et al. 2008; Song et al. 2016)."""
    return _make(RandomDots, {"stimulus_s": TruncatedExponential(0.33, 0.08, 1.5), **changes})


def random_dots_reaction(**changes: Any) -> ReactionDots:
    """Give random dots with a reaction time (Song et al. 2016)."""
    return _make(ReactionDots, changes)


def context_decision(**changes: Any) -> ContextDecision:
    """Give the context-dependent decision (Mante et al. 2013; Song et al. 2016)."""
    return _make(ContextDecision, changes)


def multisensory(**changes: Any) -> Multisensory:
    """Give multisensory integration (Raposo et al. 2014; Song et al. 2016)."""
    return _make(Multisensory, changes)


def parametric_memory(**changes: Any) -> ParametricMemory:
    """Give parametric working memory (Romo et al. 1999; Song et al. 2016)."""
    return _make(ParametricMemory, changes)


def delayed_match(**changes: Any) -> DelayedMatch:
    """Give delayed match to sample (Masse et al. 2019)."""
    return _make(DelayedMatch, changes)


def delayed_match_rotated(**changes: Any) -> DelayedMatch:
    """Give delayed match to a sample rotated by 90 degrees (Masse et al. 2019)."""
    return _make(DelayedMatch, {"rotation_deg": 90.0, **changes})


def delayed_match_category(**changes: Any) -> CategoryMatch:
    """Give delayed match to category (Masse et al. 2019)."""
    return _make(CategoryMatch, changes)


def go_nogo(**changes: Any) -> GoNoGo:
    """Give go/no-go (Kim et al. 2019)."""
    return _make(GoNoGo, changes)


def pro_anti(**changes: Any) -> ProAnti:
    """Give pointing to or away from a stimulus (Yang et al. 2019)."""
    return _make(ProAnti, changes)


def delayed_estimation(**changes: Any) -> DelayedEstimation:
    """Give delayed estimation on a ring (Yang et al. 2019)."""
    return _make(DelayedEstimation, changes)


def flip_flop(**changes: Any) -> FlipFlop:
    """Give the 3-bit flip-flop (Sussillo & Barak 2013)."""
    return _make(FlipFlop, changes)


def sine(**changes: Any) -> SineGeneration:
    """Give sine generation (Sussillo & Barak 2013; Song et al. 2016)."""
    return _make(SineGeneration, changes)


def sequence(**changes: Any) -> SequenceGeneration:
    """Give sequences of eye movements (Averbeck & Lee 2007; Song et al. 2016)."""
    return _make(SequenceGeneration, changes)


def interval_timing(**changes: Any) -> IntervalTiming:
    """Give ready, set, go (Jazayeri & Shadlen 2010)."""
    return _make(IntervalTiming, changes)


def copy_memory(**changes: Any) -> CopyMemory:
    """Give the copy task (Arjovsky et al. 2016)."""
    return _make(CopyMemory, changes)


def adding(**changes: Any) -> Adding:
    """Give the adding task (Hochreiter & Schmidhuber 1997)."""
    return _make(Adding, changes)


def first_symbol(**changes: Any) -> FirstSymbol:
    """Give the naming of the first symbol."""
    return _make(FirstSymbol, changes)


def irregular_waves(**changes: Any) -> IrregularWaves:
    """Give oscillations sampled at irregular times (after Rubanova et al. 2019), for neural ODEs."""
    return _make(IrregularWaves, changes)


def symbol_source(**changes: Any) -> SymbolSource:
    """Give the next symbol of a hidden source (Crutchfield & Feldman 2003)."""
    return _make(SymbolSource, changes)


_PRESETS: dict[str, Callable[..., Task]] = {
    preset.__name__: preset
    for preset in (
        random_dots, random_dots_variable, random_dots_reaction, context_decision, multisensory, parametric_memory,
        delayed_match, delayed_match_rotated, delayed_match_category, go_nogo, pro_anti, delayed_estimation, flip_flop,
        sine, sequence, interval_timing, copy_memory, adding, first_symbol, irregular_waves,
        symbol_source,
    )
}  # fmt: skip


def task_names() -> tuple[str, ...]:
    """Give the names that `load_task` knows."""
    return tuple(_PRESETS)


def load_task(name: str, **changes: Any) -> Task:
    """Give a task by its name.

    Parameters
    ----------
    name : str
        One of `task_names`.
    **changes
        Fields of the task that differ from the published settings.

    Returns
    -------
    Task

    Raises
    ------
    OptionError
        If there is no such task, no such field, or a value is not valid.

    Examples
    --------
    >>> load_task("delayed_match", delay_s=0.5).n_steps
    100
    """
    return _PRESETS[check_choice("task", name, _PRESETS)](**changes)


def _make(kind: type[Task], changes: dict[str, Any]) -> Any:
    """Make a task, or say which fields it has."""
    known = [field.name for field in fields(kind)]
    unknown = [name for name in changes if name not in known]
    if unknown:
        raise OptionError(f"{kind.__name__} has no field {unknown[0]!r}; it has {', '.join(known)}.")
    return kind(**changes)
