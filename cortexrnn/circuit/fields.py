"""Checks of the fields of a circuit's parts; every refusal names the field, the value, what is expected and a fix."""

from __future__ import annotations

import difflib
import math
from collections.abc import Iterable
from typing import Any, NoReturn

import numpy as np

from cortexrnn.errors import OptionError

# No published time constant of a rate unit or its noise is longer, and hardly one in milliseconds is a smaller number.
LONGEST_UNIT_S = 1.0
# The same for short-term plasticity, which is slower.
LONGEST_PLASTICITY_S = 10.0


def refuse(field: str, value: object, expected: str, fix: str) -> NoReturn:
    """Raise the OptionError of a field; its `where` is the field's name, which a file's reader completes."""
    raise OptionError(f"{_shorten(value)} is not valid; expected {expected}.", where=field, hint=fix)


def number(field: str, value: object, *, expected: str = "a finite number", low: float = -math.inf) -> float:
    """Return `value` as a finite float of at least `low`, or refuse it."""
    if isinstance(value, bool | np.bool_) or not _is_real(value):
        refuse(field, value, expected, f"Write {_key(field)} as a finite number, without quotes or unit.")
    # Adding zero turns -0.0, which equals 0.0 but is written differently, into 0.0.
    as_float = float(value) + 0.0
    if as_float < low:
        fix = f"Raise {_key(field)} to {low:g} or more."
        if -as_float >= max(low, 0.0):
            fix = f"Write {_key(field)} = {-as_float:g}."
        refuse(field, value, expected, fix)
    return as_float


def positive(field: str, value: object) -> float:
    """Return `value` as a float above 0, or refuse it."""
    expected = "a number above 0"
    as_float = number(field, value, expected=expected)
    if as_float <= 0.0:
        refuse(field, value, expected, f"Write {_key(field)} as a positive number, or leave it out.")
    return as_float


def fraction(field: str, value: object) -> float:
    """Return `value` as a float in (0, 1], or refuse it."""
    expected = "a fraction above 0 and at most 1"
    as_float = number(field, value, expected=expected)
    if not 0.0 < as_float <= 1.0:
        refuse(field, value, expected, f"Divide by 100 if {_key(field)} is in percent; leave the part out if it is 0.")
    return as_float


def whole(field: str, value: object, *, low: int) -> int:
    """Return `value` as an int of at least `low`, or refuse it."""
    expected = f"a whole number of at least {low}"
    is_number = not isinstance(value, bool | np.bool_) and _is_real(value)
    if not is_number or float(value) != int(float(value)) or value < low:
        refuse(field, value, expected, f"Write {_key(field)} as a whole number, as in {_key(field)} = {max(low, 1)}.")
    return int(value)


def name(field: str, value: object, *, may_be_empty: bool = False) -> str:
    """Return `value` as a name of letters, digits, ``_``, ``-`` and ``.``, or refuse it."""
    is_plain = isinstance(value, str) and value.isascii() and value.replace("-", "").replace(".", "").isidentifier()
    if not is_plain and not (may_be_empty and value == ""):
        fix = 'Use letters, digits and underscores, not starting with a digit, as in "excitatory".'
        refuse(field, value, "a name", fix)
    return value


def text(field: str, value: object) -> str:
    """Return `value` if it is text, or refuse it."""
    if not isinstance(value, str):
        refuse(field, value, "text", f"Put the value of {_key(field)} in quotes.")
    if any("\ud800" <= character <= "\udfff" for character in value):
        refuse(field, value, "text that UTF-8 can hold", "Delete the characters that start with \\ud.")
    return value


def flag(field: str, value: object) -> bool:
    """Return `value` if it is a bool, or refuse it."""
    if not isinstance(value, bool):
        refuse(field, value, "true or false", f"Write {_key(field)} = true or {_key(field)} = false, without quotes.")
    return value


def choice(field: str, value: object, choices: tuple[str, ...]) -> str:
    """Return `value` if it is one of `choices`, or refuse it and suggest the nearest."""
    if value not in choices:
        expected = "one of " + ", ".join(repr(known) for known in choices)
        refuse(field, value, expected, suggest(value, choices) or f"Take one of the {len(choices)} known values.")
    return value


def seconds(field: str, value: object, *, longest_s: float = LONGEST_UNIT_S) -> float:
    """Return a positive time constant in seconds, or refuse it; a value in milliseconds is recognised."""
    expected = f"a time in seconds above 0 and at most {longest_s:g}"
    as_float = number(field, value, expected=expected)
    if as_float > longest_s:
        refuse(field, value, expected, f"If it is in milliseconds, write {_key(field)} = {as_float / 1000:g}.")
    if as_float <= 0.0:
        refuse(field, value, expected, f"Write a positive time, as in {_key(field)} = 0.01 for 10 ms.")
    return as_float


def vector(field: str, value: object, size: int, check: Any) -> float | tuple[float, ...]:
    """Return one checked number, or a tuple of `size` checked numbers."""
    if isinstance(value, str) or not isinstance(value, Iterable) or getattr(value, "ndim", 1) == 0:
        return check(field, value)
    items = tuple(check(f"{field}[{i}]", item) for i, item in enumerate(value))
    if len(items) != size:
        expected = f"one number, or {size} numbers, one a unit"
        refuse(field, f"an array of {len(items)}", expected, f"Make {_key(field)} and the population's size agree.")
    return items


def numbers(field: str, value: object) -> tuple[float, ...]:
    """Return an array as a tuple of finite floats, or refuse it."""
    if isinstance(value, str | bytes | dict) or not isinstance(value, Iterable) or getattr(value, "ndim", 1) == 0:
        refuse(field, value, "an array of numbers", f"Write {_key(field)} = [0.1, 0.2, ...].")
    return tuple(number(f"{field}[{i}]", item) for i, item in enumerate(value))


def instances(field: str, value: object, kind: type) -> tuple:
    """Return `value` as a tuple whose items are all of a class, or refuse it."""
    if not isinstance(value, list | tuple) or not all(isinstance(item, kind) for item in value):
        refuse(field, value, f"a tuple of {kind.__name__}", f"Build every item with {kind.__name__}(...).")
    return tuple(value)


def suggest(value: object, known: Iterable[str]) -> str:
    """Give ``Did you mean ...?`` where a known word is near, or an empty string."""
    near = difflib.get_close_matches(str(value), list(known), n=1, cutoff=0.6)
    return f"Did you mean {near[0]!r}?" if near else ""


def _key(field: str) -> str:
    """Give the last key of a path, which is what stands in the file's line."""
    return field.rpartition(".")[2]


def _is_real(value: object) -> bool:
    """Tell whether a value is a real number (NumPy's scalars too) and no NaN in disguise."""
    try:
        return not isinstance(value, str | bytes) and math.isfinite(float(value))
    except (TypeError, ValueError, OverflowError):
        return False


def _shorten(value: object) -> str:
    """Show a value in at most 60 characters."""
    shown = value if isinstance(value, str) and value.startswith("an array of") else repr(value)
    return shown if len(shown) <= 60 else f"{shown[:57]}..."
