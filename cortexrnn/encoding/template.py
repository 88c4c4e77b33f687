"""A model of another library: how it is copied before every fit and described, and how its answers are checked."""

from __future__ import annotations

import copy
import functools
import hashlib
import inspect
import sys
import types
from typing import Any

import numpy as np

from cortexrnn.encoding.arrays import UnitTrials
from cortexrnn.errors import NumericalError, OptionError

RATE_METHOD = "predict_rate"


class Template:
    """A model that is never fitted itself.

    Two of the same kind, settings and source code are equal, and have the same text whatever process they live in:
    that text is part of the key under which finished work is stored.

    Parameters
    ----------
    model : object
        Any model.
    """

    __slots__ = ("_text", "model")

    def __init__(self, model: Any):
        self.model = model
        self._text = describe_model(model)

    def fresh(self) -> Any:
        """Give an unfitted copy, so that no fit can see what another one left behind.

        A model with `get_params`, as scikit-learn has it, is made anew from its settings; others are deep-copied.
        """
        if hasattr(self.model, "__sklearn_clone__"):
            return self.model.__sklearn_clone__()
        if hasattr(self.model, "get_params"):
            return type(self.model)(**copy.deepcopy(self.model.get_params(deep=False)))
        return copy.deepcopy(self.model)

    def __repr__(self) -> str:
        return self._text

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Template) and self._text == other._text

    def __hash__(self) -> int:
        return hash(self._text)


def describe_model(value: Any) -> str:
    """Give a text that changes with a model's kind, settings, source code or library version, and with nothing else.

    Parameters
    ----------
    value : object
        A model with `get_params`, or any object with a state.

    Returns
    -------
    str
        Arrays and source code enter by their digests.
    """
    return _describe(value, ())


def as_template(model: Any, *methods: str) -> Template:
    """Keep a model that has these methods."""
    if isinstance(model, Template):
        return model
    check_methods(model, *methods)
    return Template(model)


def check_methods(model: Any, *methods: str) -> None:
    """Refuse a model that lacks one of these methods, or a class in the place of a model."""
    if isinstance(model, type):
        raise OptionError(f"model is the class {model.__name__}.", hint=f"Give an object: {model.__name__}().")
    missing = [name for name in methods if not callable(getattr(model, name, None))]
    if missing:
        raise OptionError(
            f"{type(model).__name__} has no method {' and no '.join(missing)}.",
            hint=f"It needs {' and '.join(methods)}.",
        )


def smallest_count(trials: UnitTrials) -> float:
    """Give the expected count of half a spike in all training bins, as `mean_count` has it without a spike."""
    return 0.5 / max(int(trials.scored.sum()), 1)


def as_numbers(answer: Any, shape: tuple[int, ...], name: str) -> np.ndarray:
    """Give a model's answer as float64 of this shape; an axis of length 1 behind it is dropped."""
    values = np.asarray(answer, dtype=float)
    if values.shape == (*shape, 1):
        values = values[..., 0]
    if values.shape != shape:
        raise NumericalError(f"the model's prediction has shape {values.shape}; expected {shape}.", where=name)
    return values


def raise_to(mu: np.ndarray, floor: float, counts_as: np.ndarray, name: str) -> np.ndarray:
    """Raise expected counts to the floor; those of bins that are not scored may be missing."""
    n_wrong = int((~np.isfinite(mu[counts_as])).sum())
    if n_wrong:
        raise NumericalError(
            f"the model's prediction is not finite in {n_wrong} of {int(counts_as.sum())} scored bins.",
            where=name,
            hint="Give the model a stronger penalty, or a smaller range of features.",
        )
    return np.where(mu > floor, np.where(np.isfinite(mu), mu, floor), floor)


def _describe(value: Any, above: tuple[int, ...]) -> str:
    """Describe a value inside of others."""
    if value is None or isinstance(value, bool | int | float | complex | str | bytes):
        return repr(value)
    if id(value) in above:
        return "..."
    above = (*above, id(value))
    if isinstance(value, type | types.FunctionType | types.BuiltinFunctionType | types.MethodType):
        return _describe_code(value)
    if isinstance(value, functools.partial):
        return f"partial{_describe((value.func, value.args, value.keywords), above)}"
    if isinstance(value, dict):
        return "{" + ", ".join(sorted(f"{_describe(k, above)}: {_describe(v, above)}" for k, v in value.items())) + "}"
    if isinstance(value, list | tuple):
        return f"{type(value).__name__}({', '.join(_describe(each, above) for each in value)})"
    if isinstance(value, set | frozenset):
        return f"{type(value).__name__}({', '.join(sorted(_describe(each, above) for each in value))})"
    if hasattr(value, "__array__"):
        return _describe_array(value)
    # What scikit-learn calls parameters is all that a fresh copy is made of; others are copied with their whole state.
    state = value.get_params(deep=False) if hasattr(value, "get_params") else value.__getstate__()
    return f"{_describe_code(type(value))}{_describe(state, above)}"


def _describe_code(thing: Any) -> str:
    """Name a class or function, the version of its library, and a digest of its source where that can be read."""
    module = str(getattr(thing, "__module__", ""))
    version = getattr(sys.modules.get(module.partition(".")[0]), "__version__", "")
    try:
        source = inspect.getsource(thing)
    except (OSError, TypeError):
        # Compiled, or typed at a prompt.
        source = ""
    digest = hashlib.sha256(source.encode()).hexdigest()[:12]
    return f"{module}.{getattr(thing, '__qualname__', thing)}[{version} {digest}]"


def _describe_array(value: Any) -> str:
    """Describe an array by its type, shape and a digest of its bytes."""
    # Weights of PyTorch refuse to become arrays while they are under training.
    array = np.asarray(value.detach() if hasattr(value, "detach") else value)
    if array.dtype == object:
        return f"array{_describe(array.tolist(), ())}"
    digest = hashlib.sha256(np.ascontiguousarray(array).tobytes()).hexdigest()[:16]
    return f"array({array.dtype.str}{array.shape} {digest})"
