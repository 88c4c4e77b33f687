"""The few checks that phrase every message at the public doors."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from cortexrnn.errors import OptionError


def without_unit(name: str, value: Any) -> Any:
    """Return a quantity as Neo has them, which knows its unit, as plain numbers in the unit that `name` ends in.

    Anything else is returned as it is. OptionError where the quantity is of another kind.
    """
    if not hasattr(value, "rescale"):
        return value
    unit = "Hz" if name.endswith("_hz") else "s"
    try:
        return value.rescale(unit).magnitude
    except ValueError:
        raise OptionError(f"{name} is in {value.dimensionality}; expected {unit} or a unit like it.") from None


def check_positive(name: str, value: float) -> float:
    """Return `value` as a float, or raise OptionError where it is not a positive finite number."""
    number = _as_float(name, value)
    if not 0.0 < number < float("inf"):
        raise OptionError(f"{name}={value!r} is not a positive finite number.")
    return number


def check_window(name: str, window_s: Iterable[float]) -> tuple[float, float]:
    """Return `(start, stop)` in seconds with start < stop, or raise OptionError."""
    try:
        values = tuple(window_s)
    except TypeError:
        raise OptionError(f"{name}={window_s!r} is not a window; expected (start, stop) in seconds.") from None
    if len(values) != 2:
        raise OptionError(f"{name}={values!r} has {len(values)} values; expected (start, stop) in seconds.")
    start, stop = (_as_float(name, value) for value in values)
    if not start < stop or abs(start) == float("inf") or abs(stop) == float("inf"):
        raise OptionError(f"{name}=({start}, {stop}) is not a window; expected finite start < stop in seconds.")
    return start, stop


def check_count(name: str, value: int, *, at_least: int = 1) -> int:
    """Return `value` as an int, or raise OptionError where it is no integer of at least `at_least`."""
    number = _as_float(name, value)
    if isinstance(value, bool | str) or not number.is_integer() or number < at_least:
        raise OptionError(f"{name}={value!r} is not valid; expected an integer of at least {at_least}.")
    return int(value)


def check_choice(name: str, value: str, choices: Iterable[str]) -> str:
    """Return `value` if it is one of `choices`, or raise OptionError that lists them."""
    known = tuple(choices)
    if value not in known:
        raise OptionError(f"{name}={value!r} is unknown; expected one of {', '.join(map(str, known))}.")
    return value


def _as_float(name: str, value: float) -> float:
    """Return `value` as a float or say which argument was no number."""
    try:
        return float(without_unit(name, value))
    except OptionError:
        raise
    except (TypeError, ValueError, OverflowError):
        raise OptionError(f"{name}={value!r} is not a number.") from None
