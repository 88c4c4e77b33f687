"""Change single fields of a circuit by their place, as ``populations[excitatory].size`` or ``gain``."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Mapping
from typing import Any

from cortexrnn.circuit.files import circuit_from_table, circuit_to_toml
from cortexrnn.circuit.spec import Circuit
from cortexrnn.errors import OptionError

_PART = re.compile(r"([A-Za-z_][A-Za-z0-9_-]*)(?:\[([^\[\]]+)\])?(?:\.|$)")


def change_circuit(circuit: Circuit, changes: Mapping[str, str]) -> Circuit:
    """Give a circuit with some fields changed, checked as if it had been read from a file.

    Parameters
    ----------
    circuit : Circuit
    changes : mapping of str to str
        New values as TOML writes them, by place: ``gain``, ``plasticity.facilitating.U``,
        ``populations[0].size``. Populations, inputs and low-rank terms go by number or name, projections by number
        or as ``projections[source->target]``. A text without quotes is taken as one.

    Returns
    -------
    Circuit

    Raises
    ------
    OptionError
        If there is no such place, or the value is not valid there.

    Examples
    --------
    >>> change_circuit(Circuit.random(50, gain=1.5), {"gain": "2.0", "populations[units].size": "80"}).size
    80
    """
    table = tomllib.loads(circuit_to_toml(circuit))
    for place, text in changes.items():
        _set(table, place, _value(text))
    return circuit_from_table(table, where="after the change")


def _set(table: dict[str, Any], place: str, value: Any) -> None:
    """Put a value at its place."""
    parts, at = [], 0
    while at < len(place):
        match = _PART.match(place, at)
        if match is None:
            raise OptionError(
                f"{place!r} is no place in a circuit; expected one such as gain or populations[excitatory].size."
            )
        parts.append((match[1], match[2]))
        at = match.end()
    for key, item in parts[:-1]:
        table = _entry(table.setdefault(key, {}), item, place)
    key, item = parts[-1]
    if item is not None:
        raise OptionError(f"{place!r} is a whole table; expected the place of one value in it.")
    table[key] = value


def _entry(found: Any, item: str | None, place: str) -> dict[str, Any]:
    """Give the table that a key, or an item of its list, stands for."""
    if item is not None and isinstance(found, list):
        by_name = {str(k): entry for k, entry in enumerate(found)}
        for entry in found:
            for label in (entry.get("name"), f"{entry.get('source')}->{entry.get('target')}"):
                by_name.setdefault(str(label), entry)
        if item in by_name:
            return by_name[item]
        known = [name for name in by_name if name not in ("None", "None->None")]
        raise OptionError(f"{place!r} names nothing: [{item}] is none of {', '.join(known)}.")
    if item is not None or not isinstance(found, dict):
        raise OptionError(
            f"{place!r} is no place in the circuit.", hint="Lists need a number or a name, as in populations[0].size."
        )
    return found


def _value(text: str) -> Any:
    """Read a TOML value; what is none is a text."""
    try:
        return tomllib.loads(f"value = {text}")["value"]
    except tomllib.TOMLDecodeError:
        return text
