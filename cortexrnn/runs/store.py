"""Finished units of work on disk: content-addressed, checked by a ledger, safe to kill at any moment."""

from __future__ import annotations

import hashlib
import io
import json
import os
import threading
import tokenize
import zipfile
import zlib
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from cortexrnn.errors import DataError
from cortexrnn.runs.files import atomic_write, explain, sweep

_LEDGER = "ledger.jsonl"


def content_key(parts: Mapping[str, object]) -> str:
    """Give the SHA-256 of a JSON-able description of a unit of work."""
    text = json.dumps(parts, sort_keys=True, separators=(",", ":"), allow_nan=True)
    return hashlib.sha256(text.encode()).hexdigest()


def array_key(*arrays: np.ndarray) -> str:
    """Give the SHA-256 of arrays' types, shapes and bytes."""
    digest = hashlib.sha256()
    for array in arrays:
        digest.update(f"{array.dtype.str}{array.shape}".encode())
        digest.update(np.ascontiguousarray(array).data)
    return digest.hexdigest()


def code_key() -> str:
    """Give the SHA-256 of the package's own source, so that results of other code are never reused."""
    root = Path(__file__).parent.parent
    digest = hashlib.sha256()
    for path in sorted(root.rglob("*.py")):
        digest.update(path.relative_to(root).as_posix().encode())
        digest.update(path.read_bytes())
    return digest.hexdigest()


class Store:
    """A folder of finished units of work.

    Each is an `.npz` file named by its key. The ledger is append-only, one line a unit with a
    checksum of the line; a torn last line and a file that does not match its line count as absent,
    so that the unit is simply done again.

    Parameters
    ----------
    folder : path
        Created when the first unit is put.
    """

    def __init__(self, folder: str | os.PathLike):
        self.folder = Path(folder)
        self._lock = threading.Lock()
        self._is_swept = False
        self._digests = self._read_ledger()

    def get(self, key: str) -> dict[str, np.ndarray] | None:
        """Give the arrays stored under `key`, or None where they are absent or damaged.

        Raises
        ------
        DataError
            If they are what `put` never wrote, Python objects among it.
        """
        expected = self._digests.get(key)
        if expected is None:
            return None
        try:
            data = (self.folder / f"{key}.npz").read_bytes()
        except OSError:
            return None
        if hashlib.sha256(data).hexdigest() != expected:
            return None
        try:
            with zipfile.ZipFile(io.BytesIO(data)) as archive:
                # `put` does not compress: what declares more than there is was put by somebody else.
                if sum(member.file_size for member in archive.infolist()) > len(data):
                    return None
            with np.load(io.BytesIO(data), allow_pickle=False) as file:
                return {name: file[name] for name in file.files}
        except (zipfile.BadZipFile, tokenize.TokenError, MemoryError):
            return None
        except ValueError as error:
            hint = "Delete the file; its work is done again."
            raise DataError(f"{error}.", where=str(self.folder / f"{key}.npz"), hint=hint) from None

    def put(self, key: str, arrays: Mapping[str, np.ndarray]) -> None:
        """Store arrays under `key`: the file first, then its line in the ledger.

        Raises
        ------
        FileAccessError
            If the folder cannot be written to or the disk is full.
        """
        buffer = io.BytesIO()
        np.savez(buffer, **arrays)
        data = buffer.getvalue()
        with self._lock:
            # Once is enough, and not on opening: who only reads a store leaves it as it is.
            if not self._is_swept:
                sweep(self.folder)
                self._is_swept = True
        atomic_write(self.folder / f"{key}.npz", data)
        digest = hashlib.sha256(data).hexdigest()
        with self._lock:
            self._append(key, digest)
            self._digests[key] = digest

    def _append(self, key: str, digest: str) -> None:
        """Add a checked line to the ledger and flush it to the disk."""
        body = f"{key} {digest}"
        line = json.dumps({"unit": body, "crc": zlib.crc32(body.encode())}) + "\n"
        path = self.folder / _LEDGER
        try:
            with open(path, "a+b") as file:
                # A line torn by a crash must not swallow the next one.
                if file.tell() and os.pread(file.fileno(), 1, file.tell() - 1) != b"\n":
                    file.write(b"\n")
                file.write(line.encode())
                file.flush()
                os.fsync(file.fileno())
        except OSError as error:
            raise explain(error, path) from error

    def _read_ledger(self) -> dict[str, str]:
        """Read every intact line of the ledger."""
        digests = {}
        try:
            lines = (self.folder / _LEDGER).read_bytes().split(b"\n")
        except FileNotFoundError:
            return digests
        except OSError as error:
            raise explain(error, self.folder / _LEDGER) from error
        for line in lines:
            try:
                entry = json.loads(line)
                body = entry["unit"]
                if entry["crc"] == zlib.crc32(body.encode()):
                    key, digest = body.split(" ")
                    digests[key] = digest
            except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
                continue
        return digests
