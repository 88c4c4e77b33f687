"""What options of several commands have in common."""

from __future__ import annotations

from cortexrnn.errors import OptionError


def pair(option: str, text: str, metavar: str) -> tuple[str, str]:
    """Split an option's NAME=VALUE."""
    name, equals, value = text.partition("=")
    if not equals or not name:
        raise OptionError(f"{option} {text!r} is not {metavar}.")
    return name, value


def number(option: str, text: str) -> float:
    """Read a number of an option that takes several things."""
    try:
        return float(text)
    except ValueError:
        raise OptionError(f"{option} {text!r} is not a number.") from None


def several(values: tuple[str, ...]) -> list[str]:
    """Split values that were repeated or separated by commas, and keep each once."""
    return list(dict.fromkeys(part for value in values for part in value.split(",") if part))
