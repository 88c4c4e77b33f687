"""Run a reader in a child process that may die, hang or eat memory without taking this one along.

Third-party readers crash on damaged files (scipy.io.loadmat: 2.5 % of byte-mutated files end in a
segmentation fault), so they never run in the user's process. The child answers over a pipe with a
JSON header and raw .npy bytes, never a pickle.
"""

from __future__ import annotations

import contextlib
import importlib
import io
import json
import os
import signal
import struct
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from tokenize import TokenError
from typing import Any

import numpy as np

from cortexrnn import errors
from cortexrnn._checks import check_positive
from cortexrnn.errors import CortexError, DataError, ReaderCrashed, ReaderTimeout

MEBIBYTE = 2**20
# Only these may cross the pipe, by name: a child that was taken over cannot name anything else.
_CROSSING = (
    "DataError",
    "FileAccessError",
    "MissingFileError",
    "NoTrialsError",
    "OptionError",
    "TimeUnitError",
    "UnsafeFileError",
)
_BOOTSTRAP = (
    "import sys, json; sys.path[:] = json.loads(sys.argv[1]); "
    "from cortexrnn.runs.guard import serve; serve(sys.argv[2])"
)
_ARRAY = "__array__"
# How an answer fails to be one; a child that was taken over may have written any bytes.
_UNREADABLE = (
    struct.error, ValueError, KeyError, IndexError, TypeError, AttributeError, RecursionError, SyntaxError, TokenError,
    MemoryError, OverflowError,
)  # fmt: skip


@dataclass(frozen=True, kw_only=True, slots=True)
class GuardLimits:
    """What a guarded child may use.

    Attributes
    ----------
    memory_bytes : int
        Address space beyond what the interpreter and its libraries take at the start.
    cpu_s : float
        Seconds of processor time.
    wall_s : float
        Seconds until the child is killed.
    """

    memory_bytes: int = 192 * MEBIBYTE
    cpu_s: float = 20.0
    wall_s: float = 120.0

    def __post_init__(self) -> None:
        """Check that all limits are positive."""
        for name in ("memory_bytes", "cpu_s", "wall_s"):
            check_positive(name, getattr(self, name))


def limits_for_size(n_bytes: int) -> GuardLimits:
    """Give the limits for reading a file of this size.

    Parameters
    ----------
    n_bytes : int
        Size of the file.

    Returns
    -------
    GuardLimits
        With the libraries' own 60 MiB the child stays below max(256 MiB, 8 times the file).
    """
    return GuardLimits(
        memory_bytes=max(192 * MEBIBYTE, 7 * n_bytes),
        cpu_s=10.0 + n_bytes / (5 * MEBIBYTE),
        wall_s=120.0 + n_bytes / MEBIBYTE,
    )


def run_guarded(function: str, arguments: Mapping[str, Any], *, limits: GuardLimits, where: str) -> Any:
    """Call a function of this package in a guarded child process and give back what it returns.

    Parameters
    ----------
    function : str
        ``"cortexrnn.room.module:name"``; called with `arguments` as keywords.
    arguments : mapping
        Anything JSON can hold.
    limits : GuardLimits
        Memory and time the child may use.
    where : str
        What is being read, for the messages.

    Returns
    -------
    Any
        A tree of dicts, lists, strings, numbers, None and arrays of numbers.

    Raises
    ------
    CortexError
        Whatever typed error the function raised.
    ReaderCrashed
        If the child died.
    ReaderTimeout
        If it ran past its time.
    DataError
        If it needed more memory than allowed or failed with another exception.
    """
    request = json.dumps(
        {
            "function": function,
            "arguments": dict(arguments),
            "memory_bytes": limits.memory_bytes,
            "cpu_s": limits.cpu_s,
        }
    )
    search_path = json.dumps([entry or os.getcwd() for entry in sys.path])
    # -I keeps the user's environment and working folder from choosing what the child imports.
    command = [sys.executable, "-I", "-c", _BOOTSTRAP, search_path, request]
    with subprocess.Popen(
        command,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        env=_child_environment(),
        start_new_session=True,
    ) as child:
        try:
            answer, _ = child.communicate(timeout=limits.wall_s)
        except subprocess.TimeoutExpired:
            raise _timeout(limits.wall_s, where) from None
        finally:
            child.kill()
    if child.returncode != 0:
        raise _death(child.returncode, limits, where)
    return _unpack(answer, where)


def serve(request: str) -> None:
    """Answer one request: the child's side of `run_guarded`.

    Parameters
    ----------
    request : str
        JSON with the function, its arguments and the limits.
    """
    # The answer gets a descriptor of its own; what a library prints must not mix with it.
    answer_to = os.dup(1)
    os.dup2(2, 1)
    job = json.loads(request)
    module_name, name = job["function"].split(":")
    if not module_name.startswith("cortexrnn."):
        raise SystemExit(2)
    function = getattr(importlib.import_module(module_name), name)
    _limit(job["memory_bytes"], job["cpu_s"])
    try:
        parts = _pack({"result": function(**job["arguments"])})
    except CortexError as error:
        told = {"class": type(error).__name__, "what": error.what, "where": error.where, "hint": error.hint}
        parts = _pack({"error": told})
    except MemoryError:
        parts = _pack({"out_of_memory": int(job["memory_bytes"])})
    except Exception as error:  # noqa: BLE001
        # Whatever a third-party reader throws at a damaged file becomes one typed error in the parent.
        first_line = (str(error).splitlines() or [""])[0][:300]
        parts = _pack({"failure": f"{type(error).__name__}: {first_line}"})
    with os.fdopen(answer_to, "wb") as pipe:
        for part in parts:
            pipe.write(part)
    # Libraries may crash in their exit handlers after a damaged file; the answer is out already.
    os._exit(0)


def _child_environment() -> dict[str, str]:
    """Return the environment of the child: one thread, no plug-ins of HDF5 from disk."""
    single = dict.fromkeys(("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS"), "1")
    return {**os.environ, **single, "HDF5_PLUGIN_PRELOAD": "::", "HDF5_USE_FILE_LOCKING": "FALSE"}


def _limit(memory_bytes: int, cpu_s: float) -> None:
    """Limit this process's address space and processor time where the system can."""
    try:
        import resource
    except ImportError:  # Windows: the wall time is the only limit there.
        return
    base = 0
    with contextlib.suppress(OSError), open("/proc/self/statm", encoding="ascii") as status:
        base = int(status.read().split()[0]) * resource.getpagesize()
    used = resource.getrusage(resource.RUSAGE_SELF)
    limits = [
        (resource.RLIMIT_CPU, int(used.ru_utime + used.ru_stime + cpu_s) + 1),
        (resource.RLIMIT_CORE, 0),
    ]
    if base:
        limits.append((resource.RLIMIT_AS, base + int(memory_bytes)))
    for kind, value in limits:
        with contextlib.suppress(ValueError, OSError):
            # At its soft limit of time a process gets SIGXCPU, which tells; at the hard one SIGKILL.
            resource.setrlimit(kind, (value, value + 1 if kind == resource.RLIMIT_CPU else value))


def _pack(tree: Any) -> list[bytes | memoryview]:
    """Turn a tree into a JSON header and the raw .npy bytes of its arrays, each with its length."""
    arrays: list[np.ndarray] = []

    def strip(node: Any) -> Any:
        if isinstance(node, np.ndarray):
            if node.dtype.kind not in "biuf":
                raise TypeError(f"an array of {node.dtype} cannot cross the pipe")
            arrays.append(node)
            return {_ARRAY: len(arrays) - 1}
        if isinstance(node, Mapping):
            return {str(key): strip(value) for key, value in node.items()}
        if isinstance(node, list | tuple):
            return [strip(value) for value in node]
        return node.item() if isinstance(node, np.generic) else node

    header = json.dumps(strip(tree)).encode()
    parts: list[bytes | memoryview] = [struct.pack("<QQ", len(header), len(arrays)), header]
    for array in arrays:
        buffer = io.BytesIO()
        np.lib.format.write_array(buffer, np.ascontiguousarray(array), allow_pickle=False)
        parts += [struct.pack("<Q", buffer.getbuffer().nbytes), buffer.getbuffer()]
    return parts


def _unpack(answer: bytes, where: str) -> Any:
    """Rebuild the tree, or raise the error that came instead."""
    try:
        n_header, n_arrays = struct.unpack_from("<QQ", answer)
        tree = json.loads(answer[16 : 16 + n_header])
        arrays, at = [], 16 + n_header
        for _ in range(n_arrays):
            (n_bytes,) = struct.unpack_from("<Q", answer, at)
            buffer = io.BytesIO(memoryview(answer)[at + 8 : at + 8 + n_bytes])
            arrays.append(np.lib.format.read_array(buffer, allow_pickle=False))
            at += 8 + n_bytes
        failed = _failure(tree, where)
        result = None if failed else _fill(tree["result"], arrays)
    except _UNREADABLE as error:
        raise ReaderCrashed("the reader's answer is incomplete.", where=where) from error
    if failed:
        raise failed
    return result


def _failure(tree: Any, where: str) -> CortexError | None:
    """Return the error that came instead of a result, if one did."""
    if "error" in tree:
        told = tree["error"]
        kind = getattr(errors, told["class"]) if told["class"] in _CROSSING else DataError
        return kind(told["what"], where=told["where"] or where, hint=told["hint"])
    if "out_of_memory" in tree:
        return DataError(
            f"reading needs more than the {tree['out_of_memory'] // MEBIBYTE} MiB that a file of this size may take.",
            where=where,
            hint="Store large arrays in a smaller type (logical or uint8), or uncompressed.",
        )
    if "failure" in tree:
        return DataError(
            f"the file is damaged or not of its kind ({tree['failure']}).",
            where=where,
            hint="Open it with the program that wrote it and save it again.",
        )
    return None


def _fill(node: Any, arrays: list[np.ndarray]) -> Any:
    """Put the arrays back into the tree."""
    if isinstance(node, dict):
        if set(node) == {_ARRAY}:
            return arrays[node[_ARRAY]]
        return {key: _fill(value, arrays) for key, value in node.items()}
    return [_fill(value, arrays) for value in node] if isinstance(node, list) else node


def _timeout(seconds: float, where: str) -> ReaderTimeout:
    """Return the error for a child that ran past its time."""
    return ReaderTimeout(
        f"reading took longer than {seconds:g} s and was stopped.",
        where=where,
        hint="The file is probably damaged.",
    )


def _death(code: int, limits: GuardLimits, where: str) -> DataError:
    """Return the error for a child that died."""
    if -code == getattr(signal, "SIGXCPU", None):
        return _timeout(limits.cpu_s, where)
    how = f"exit status {code}"
    if code < 0:
        with contextlib.suppress(ValueError):
            how = signal.Signals(-code).name
    return ReaderCrashed(
        f"the reader died ({how}); the file is probably damaged.",
        where=where,
        hint="Open it with the program that wrote it and save it again.",
    )
