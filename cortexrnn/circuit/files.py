"""Circuits as TOML: read strictly, written so that reading gives the same circuit back.

A file has the fields of `Circuit` as keys; populations, projections, inputs and low-rank terms are arrays of
tables, activations, weight laws, rings and noise are tables, and every class of plasticity is a table under
``plasticity``. Whatever is not known is refused, with its place in the file.
"""

from __future__ import annotations

import functools
import importlib.resources
import json
import os
import re
import tomllib
from collections.abc import Callable, Mapping
from dataclasses import MISSING
from dataclasses import fields as fields_of
from pathlib import Path
from typing import Any

from cortexrnn.cells.activation import KINDS, Activation
from cortexrnn.cells.stp import CONVENTIONS, ShortTermPlasticity
from cortexrnn.circuit import fields
from cortexrnn.circuit.fields import suggest
from cortexrnn.circuit.laws import WeightLaw
from cortexrnn.circuit.parts import Input, LowRank, Noise, Population, Projection, Ring, within
from cortexrnn.circuit.spec import Circuit
from cortexrnn.errors import DataError, MissingFileError, OptionError
from cortexrnn.runs.files import atomic_write, read_bytes

# Given weights and loadings of many units are the largest thing that a file may hold.
LARGEST_FILE_BYTES = 16 * 2**20
_MODELS = "cortexrnn.models"
# tomllib 3.11 takes time that grows with the square of a key's parts, 10 s for 1e5 of them; circuits have four.
_PART = rb"""(?:[\w-]++|"(?:[^"\\\n]|\\.)*+"|'[^'\n]*+')"""
_DEEP_KEY = re.compile(rb"(?<![\w-])%s(?:[ \t]*+\.[ \t]*+%s){32}" % (_PART, _PART))
# Which fields hold tables, by class: a class for one table, a list of a class for an array of tables, a dict of a
# class for named tables.
_TABLES: dict[type, dict[str, Any]] = {
    Circuit: {
        "populations": [Population],
        "projections": [Projection],
        "inputs": [Input],
        "low_rank_terms": [LowRank],
        "plasticity": {"": ShortTermPlasticity},
        "noise": Noise,
    },
    Population: {"activation": Activation},
    Projection: {"weights": WeightLaw, "distance": Ring},
    Input: {"weights": WeightLaw},
}
_ARRAYS = {"tau_s", "bias", "mask", "m", "n", "vector", "covariance"}
_ALIASES = {
    "n": "size", "count": "size", "N": "size", "tau": "tau_s", "tau_ms": "tau_s", "tau_f": "tau_f_s",
    "tau_f_ms": "tau_f_s", "tau_d": "tau_d_s", "tau_d_ms": "tau_d_s", "tau_rec": "tau_d_s", "tau_facil": "tau_f_s",
    "std": "sd", "sigma": "sd", "distribution": "law", "type": "sign", "from": "source", "to": "target",
    "pre": "source", "post": "target", "K": "in_degree", "indegree": "in_degree", "p": "density",
    "probability": "density", "autapses": "allow_autapses", "seed": "wiring_seed", "g": "gain",
    "width": "width_rad", "width_deg": "width_rad", "stp": "plasticity", "u": "U",
}  # fmt: skip


def circuit_names() -> tuple[str, ...]:
    """Give the names of the published circuits that come with the package, sorted.

    Returns
    -------
    tuple of str
        What `load_circuit` takes instead of a path.
    """
    folder = importlib.resources.files(_MODELS)
    return tuple(sorted(entry.name[:-5] for entry in folder.iterdir() if entry.name.endswith(".toml")))


def load_circuit(name_or_path: str | os.PathLike) -> Circuit:
    """Read a circuit from a TOML file, or one that comes with the package by its name.

    Parameters
    ----------
    name_or_path : str or path
        A name of `circuit_names`, or the path of a file; what ends in ``.toml`` or has a folder is a path.

    Returns
    -------
    Circuit

    Raises
    ------
    MissingFileError
        If there is no such file, or no published circuit of that name.
    DataError
        If the file is no TOML.
    OptionError
        If a key is unknown or missing or a value cannot be used; names its place in the file.
    """
    source = os.fspath(name_or_path)
    is_path = isinstance(name_or_path, os.PathLike) or source.endswith(".toml") or os.sep in source
    if is_path:
        return circuit_from_toml(_read_limited(source), where=source)
    if source not in circuit_names():
        raise MissingFileError(
            f"there is no published circuit {source!r}; expected one of {', '.join(circuit_names())}.",
            hint=suggest(source, circuit_names()) or "Give a path that ends in .toml for a file of your own.",
        )
    data = (importlib.resources.files(_MODELS) / f"{source}.toml").read_bytes()
    return circuit_from_toml(data, where=f"{source}.toml")


def circuit_from_toml(data: bytes, *, where: str) -> Circuit:
    """Read a circuit from the bytes of a TOML file; errors as in `load_circuit`.

    Parameters
    ----------
    data : bytes
    where : str
        Name of the file in messages.

    Returns
    -------
    Circuit
    """
    if _DEEP_KEY.search(data):
        raise DataError("a key has more than 32 parts; expected a circuit.", where=where, hint="Circuits need four.")
    try:
        # With or without a byte order mark, which editors on Windows add.
        table = tomllib.loads(data.decode("utf-8-sig"))
    except UnicodeDecodeError as error:
        hint = "Give the circuit's text file, saved as UTF-8."
        raise DataError(f"byte {error.start} is no UTF-8; expected a TOML file.", where=where, hint=hint) from None
    except (tomllib.TOMLDecodeError, RecursionError, ValueError) as error:
        hint = "Mend the line; texts need quotes, and true and false are lower case."
        raise DataError(f"not valid TOML: {error}.", where=where, hint=hint) from None
    return circuit_from_table(table, where=where)


def circuit_from_table(table: Mapping[str, Any], *, where: str) -> Circuit:
    """Make a circuit from the tables of a TOML file; errors as in `load_circuit`.

    Parameters
    ----------
    table : mapping
        As `tomllib` reads it.
    where : str
        Name of the file in messages.

    Returns
    -------
    Circuit
    """
    try:
        return _read_table(Circuit, table, "")
    except OptionError as error:
        raise OptionError(error.what, where=f"{where}: {error.where}", hint=error.hint) from None


def save_circuit(circuit: Circuit, path: str | os.PathLike) -> Path:
    """Write a circuit as TOML; `load_circuit` gives an equal circuit back.

    Fields that have their default value are left out.

    Parameters
    ----------
    circuit : Circuit
    path : str or path
        File to make or replace.

    Returns
    -------
    pathlib.Path
        Where it is.

    Raises
    ------
    OptionError
        If its given weights are more than `load_circuit` takes.
    FileAccessError
        If the file cannot be written.
    """
    data = circuit_to_toml(circuit).encode()
    if len(data) > LARGEST_FILE_BYTES:
        raise OptionError(
            f"the circuit takes {len(data)} bytes; expected at most {LARGEST_FILE_BYTES} in a file.",
            where=os.fspath(path),
            hint="Give weights by a law: a seed and a law decide as many as one likes.",
        )
    atomic_write(path, data)
    return Path(path)


def circuit_to_toml(circuit: Circuit) -> str:
    """Give the text of a circuit's TOML file."""
    lines: list[str] = []
    _write_table(circuit, "", lines)
    return "\n".join(lines).strip() + "\n"


def _read_limited(path: str) -> bytes:
    """Read a file, refusing one that no circuit can need."""
    try:
        n_bytes = Path(path).stat().st_size
    except OSError:
        n_bytes = 0
    if n_bytes > LARGEST_FILE_BYTES:
        raise DataError(
            f"the file has {n_bytes} bytes; expected a circuit of at most {LARGEST_FILE_BYTES}.", where=path
        )
    return read_bytes(path)


def _read_table(kind: type, table: object, path: str) -> Any:
    """Make an object of a class from its TOML table; errors carry the path within the file."""
    if not isinstance(table, Mapping):
        raise OptionError(
            f"{table!r:.60} is not valid; expected a table.",
            where=path,
            hint=f"Write [{path}] and its keys below it, or {path.rpartition('.')[2]} = {{key = value}}.",
        )
    known = {entry.name: entry for entry in fields_of(kind)}
    for key, value in table.items():
        if key not in known:
            _refuse_key(key, value, known, path)
    for name, entry in known.items():
        if name not in table and entry.default is MISSING and entry.default_factory is MISSING:
            raise OptionError(
                f"nothing is given; expected a value for {name!r}, which has no default.",
                where=_join(path, name),
                hint=f"Add {name} = ... to {f'[{path}]' if path else 'the head of the file'}.",
            )
    values = {key: _read_value(kind, key, value, _join(path, key)) for key, value in table.items()}
    try:
        return kind(**values)
    except OptionError as error:
        if path == "":
            raise
        raise within(path, error) from None


def _read_value(kind: type, key: str, value: object, path: str) -> Any:
    """Turn one TOML value into what the field holds."""
    expected = _TABLES.get(kind, {}).get(key)
    if isinstance(expected, list):
        if not isinstance(value, list):
            hint = f"Write [[{path}]], with two brackets, before each of them."
            raise OptionError(f"{value!r:.60} is not valid; expected an array of tables.", where=path, hint=hint)
        return tuple(_read_table(expected[0], item, f"{path}[{i}]") for i, item in enumerate(value))
    if isinstance(expected, dict):
        if not isinstance(value, Mapping):
            hint = f"Write [{path}.facilitating] and its keys below it."
            raise OptionError(f"{value!r:.60} is not valid; expected named tables.", where=path, hint=hint)
        return {name: _read_table(expected[""], item, f"{path}.{name}") for name, item in value.items()}
    if (kind, key) == (Projection, "weights") and isinstance(value, list):
        return value
    if expected is not None:
        return _read_table(expected, value, path)
    if isinstance(value, list) and key not in _ARRAYS and kind is not Circuit:
        hint = f"Write {key} = ... with one value."
        raise OptionError(f"{value!r:.60} is not valid; expected one value.", where=path, hint=hint)
    if (kind, key) in _CHECKS:
        return _CHECKS[kind, key](path, value)
    return value


def _exponent(path: str, value: object) -> float:
    """Return the exponent of a power law, or refuse it."""
    return fields.number(path, value, expected="an exponent of at least 1", low=1.0)


def _facilitation_s(path: str, value: object) -> float:
    """Return a time constant of facilitation, 0 where there is none, or refuse it."""
    return fields.number(path, value) and _plasticity_s(path, value)


def _plasticity_s(path: str, value: object) -> float:
    """Return a time constant of plasticity, or refuse it."""
    return fields.seconds(path, value, longest_s=fields.LONGEST_PLASTICITY_S)


# Fields of the cells' parts, which know nothing of files: their own errors would not name the key.
_CHECKS: dict[tuple[type, str], Callable[[str, object], Any]] = {
    (Activation, "kind"): functools.partial(fields.choice, choices=KINDS),
    (Activation, "gain"): fields.positive,
    (Activation, "threshold"): fields.number,
    (Activation, "exponent"): _exponent,
    (ShortTermPlasticity, "convention"): functools.partial(fields.choice, choices=CONVENTIONS),
    (ShortTermPlasticity, "U"): fields.fraction,
    (ShortTermPlasticity, "tau_f_s"): _facilitation_s,
    (ShortTermPlasticity, "tau_d_s"): _plasticity_s,
}


def _refuse_key(key: str, value: object, known: Mapping[str, Any], path: str) -> None:
    """Raise for a key that the table does not have, with the key that was probably meant."""
    alias = _ALIASES.get(key, "")
    meant = alias if alias in known else ""
    if meant and key.endswith("_ms") and isinstance(value, int | float):
        hint = f"Times are in seconds: write {meant} = {value / 1000:g}."
    elif meant == "tau_s" or meant.startswith("tau_"):
        hint = f"Write {meant}, in seconds."
    elif meant:
        hint = f"Write {meant}."
    else:
        hint = suggest(key, known) or "Delete it, or put it under [notes] as text."
    where = _join(path, key)
    shown = f"{value!r:.40}"
    expected = f"expected one of {', '.join(known)}."
    raise OptionError(f"unknown key with the value {shown}; {expected}", where=where, hint=hint)


def _join(path: str, key: str) -> str:
    """Place a key inside a path."""
    return f"{path}.{key}" if path else key


def _write_table(part: Any, path: str, lines: list[str]) -> None:
    """Write the fields of a part that differ from their defaults: plain ones first, then its tables."""
    tables = []
    for entry in fields_of(part):
        value = getattr(part, entry.name)
        default = entry.default_factory() if entry.default_factory is not MISSING else entry.default
        if value is None or value == default:
            continue
        if entry.name in _TABLES.get(type(part), {}) or isinstance(value, dict):
            tables.append((entry.name, value))
        else:
            lines.append(f"{entry.name} = {_write_value(value)}")
    for name, value in tables:
        place = _join(path, name)
        if isinstance(value, tuple):
            for item in value:
                lines.extend(("", f"[[{place}]]"))
                _write_nested(item, place, lines)
        elif isinstance(value, dict) and name == "notes":
            lines.extend(("", f"[{place}]", *(f"{key} = {_write_value(item)}" for key, item in value.items())))
        elif isinstance(value, dict):
            for key, item in value.items():
                lines.extend(("", f"[{place}.{_write_key(key)}]"))
                _write_nested(item, f"{place}.{_write_key(key)}", lines)
        else:
            lines.extend(("", f"[{place}]"))
            _write_nested(value, place, lines)


def _write_nested(part: Any, path: str, lines: list[str]) -> None:
    """Write a part below its heading, its own tables inline, which keeps a projection in one block."""
    for entry in fields_of(part):
        value = getattr(part, entry.name)
        default = entry.default_factory() if entry.default_factory is not MISSING else entry.default
        if value is None or value == default:
            continue
        if entry.name in _TABLES.get(type(part), {}) and not isinstance(value, tuple):
            inner: list[str] = []
            _write_nested(value, _join(path, entry.name), inner)
            lines.append(f"{entry.name} = {{{', '.join(inner)}}}")
        else:
            lines.append(f"{entry.name} = {_write_value(value)}")


def _write_key(key: str) -> str:
    """Write a key, quoted where TOML wants it."""
    return key if key.replace("-", "_").isidentifier() and key.isascii() else json.dumps(key)


def _write_value(value: object) -> str:
    """Write a TOML value: text, bool, number, or an array of them."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str):
        # JSON's escapes are a subset of TOML's, but for DEL, which TOML wants escaped, and for pairs of surrogates,
        # which it refuses: what is not ASCII stays as it is.
        return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")
    if isinstance(value, tuple):
        inner = ", ".join(_write_value(item) for item in value)
        return f"[{inner}]"
    return repr(value)
