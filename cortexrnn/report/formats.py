"""How single values are written: numbers, intervals, times and names, with one sign for what is missing."""

from __future__ import annotations

import math
import unicodedata
from collections.abc import Sequence
from typing import Any

EM_DASH = "\N{EM DASH}"
_REPLACEMENT = "\N{REPLACEMENT CHARACTER}"


def is_missing(value: Any) -> bool:
    """Tell whether `value` is None, NaN or infinite, or no number at all."""
    if value is None:
        return True
    try:
        return not math.isfinite(value)
    except TypeError:
        return True


def show_number(value: Any, decimals: int = 3, *, signed: bool = False, missing: str = EM_DASH) -> str:
    """Write a number with fixed decimals, and `missing` where there is none.

    A value that rounds to zero carries no sign.

    Examples
    --------
    >>> show_number(0.12345, signed=True)
    '+0.123'
    >>> show_number(-0.0001)
    '0.000'
    """
    if is_missing(value):
        return missing
    rounded = round(float(value), decimals)
    if rounded == 0.0:
        return f"{0.0:.{decimals}f}"
    return f"{rounded:+.{decimals}f}" if signed else f"{rounded:.{decimals}f}"


def show_interval(
    interval: Sequence[Any] | None, decimals: int = 3, *, signed: bool = False, missing: str = EM_DASH
) -> str:
    """Write ``[low, high]``, or `missing` where the interval or one of its ends is not known.

    Examples
    --------
    >>> show_interval([0.01, 0.25])
    '[0.010, 0.250]'
    """
    low, high = interval_ends(interval)
    if is_missing(low) or is_missing(high):
        return missing
    return f"[{show_number(low, decimals, signed=signed)}, {show_number(high, decimals, signed=signed)}]"


def interval_ends(interval: Sequence[Any] | None) -> tuple[float, float]:
    """Give both ends of an interval as floats, NaN where it is missing or malformed."""
    try:
        low, high = interval
    except (TypeError, ValueError):
        return math.nan, math.nan
    return (math.nan if is_missing(low) else float(low)), (math.nan if is_missing(high) else float(high))


def show_percent(fraction: Any, *, missing: str = EM_DASH) -> str:
    """Write a fraction as a percentage: one decimal, two below one per cent.

    Examples
    --------
    >>> show_percent(0.0984), show_percent(0.0012)
    ('9.8 %', '0.12 %')
    """
    if is_missing(fraction):
        return missing
    percent = 100.0 * float(fraction)
    if percent == 0.0:
        return "0 %"
    return f"{percent:.2f} %" if abs(percent) < 1.0 else f"{percent:.1f} %"


def show_time(seconds: Any, *, missing: str = EM_DASH) -> str:
    """Write a duration in milliseconds below one second, in seconds up to ten minutes, else in minutes.

    Examples
    --------
    >>> show_time(0.12), show_time(2.5), show_time(3600)
    ('120 ms', '2.5 s', '60 min')
    """
    if is_missing(seconds):
        return missing
    value = float(seconds)
    if abs(value) < 1.0:
        return f"{1e3 * value:.4g} ms"
    if abs(value) < 600.0:
        return f"{value:.4g} s"
    return f"{value / 60.0:.4g} min"


def show_window(window_s: Sequence[float] | None, *, missing: str = EM_DASH) -> str:
    """Write a window of time.

    Examples
    --------
    >>> show_window((-0.2, 1.0))
    '-0.2 to 1 s'
    """
    start, stop = interval_ends(window_s)
    return missing if is_missing(start) or is_missing(stop) else f"{start:g} to {stop:g} s"


def show_count(value: Any, *, missing: str = EM_DASH) -> str:
    """Write a whole number with commas between thousands.

    Examples
    --------
    >>> show_count(12345)
    '12,345'
    """
    return missing if is_missing(value) else f"{round(float(value)):,}"


def show_label(name: Any, max_chars: int | None = None) -> str:
    """Write a name from a file so that it fits on one line and steers neither a terminal nor a parser.

    Control characters, line ends and direction overrides become replacement characters; a name longer than
    `max_chars` ends in an ellipsis.

    Examples
    --------
    >>> show_label("a-very-long-unit-name", 10)
    'a-very-...'
    """
    text = "".join(_REPLACEMENT if _steers(letter) else letter for letter in str(name))
    if max_chars is not None and len(text) > max_chars:
        return text[: max_chars - 3] + "..."
    return text


def _steers(letter: str) -> bool:
    """Tell whether a character is a control, a format override, a lone surrogate or a line separator."""
    return unicodedata.category(letter) in {"Cc", "Cf", "Cs", "Zl", "Zp"} or letter in "\ufffe\uffff"
