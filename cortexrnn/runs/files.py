"""Files that are either old and complete or new and complete, whatever happens in between."""

from __future__ import annotations

import contextlib
import errno
import functools
import hashlib
import os
import re
import secrets
from collections.abc import Callable, Iterator
from pathlib import Path

from cortexrnn.errors import FileAccessError, MissingFileError

try:
    import fcntl
except ImportError:
    # Windows has no such locks, and neither replaces nor removes a file that is open: nothing is swept there.
    fcntl = None

_TEMPORARY = re.compile(r"\..+\.cortexrnn-[0-9a-f]{8}\.tmp")
_ADVICE = {
    errno.ENOSPC: "The disk is full: free some space and run the same command again; nothing finished is lost.",
    errno.EDQUOT: "The disk quota is used up: free some space and run the same command again.",
    errno.EROFS: "The file system is read-only: choose another folder with --out.",
    errno.EACCES: "The folder may not be written to: choose another one with --out or change its permissions.",
    errno.EPERM: "The folder may not be written to: choose another one with --out or change its permissions.",
    errno.ENOTDIR: "A part of the path is a file, not a folder: choose another path.",
    errno.EISDIR: "The path is a folder: name a file.",
}


@contextlib.contextmanager
def atomic_path(path: str | os.PathLike, *, n_bytes: int | None = None) -> Iterator[Path]:
    """Yield a temporary path in the same folder that replaces `path` when the block succeeds.

    The temporary file is flushed to the disk before it replaces the old one, and the folder after,
    so that a crash or power cut leaves the old file or the new one, never a mixture.

    Parameters
    ----------
    path : path
        File to make or replace; missing folders above it are made.
    n_bytes : int, optional
        How much will be written, for the message when the disk is full.

    Yields
    ------
    pathlib.Path
        Where to write.

    Raises
    ------
    FileAccessError
        If the folder cannot be written to or the disk is full; `path` is then untouched.
    """
    target = Path(path)
    temporary = release = None
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        while release is None:
            temporary = target.with_name(f".{target.name}.cortexrnn-{secrets.token_hex(4)}.tmp")
            release = _make_locked(temporary)
        yield temporary
        _flush(temporary)
        os.replace(temporary, target)
        _flush(target.parent)
    except OSError as error:
        if isinstance(error, FileAccessError):
            raise
        raise explain(error, target, n_bytes) from error
    finally:
        if temporary is not None:
            with contextlib.suppress(OSError):
                temporary.unlink(missing_ok=True)
        if release is not None:
            release()


def atomic_write(path: str | os.PathLike, data: bytes) -> None:
    """Write `data` to `path` so that a reader sees the old content or all of the new.

    Parameters
    ----------
    path : path
        File to make or replace; missing folders above it are made.
    data : bytes
        Its whole new content.

    Raises
    ------
    FileAccessError
        If the folder cannot be written to or the disk is full; says how many bytes were needed.
    """
    with atomic_path(path, n_bytes=len(data)) as temporary, open(temporary, "wb") as file:
        file.write(data)


def sweep(folder: str | os.PathLike) -> None:
    """Remove the temporary files that killed processes left in a folder; what cannot be removed stays.

    Parameters
    ----------
    folder : path
        Where `atomic_path` was used; folders in it are not looked into.
    """
    if fcntl is None:
        return
    with contextlib.suppress(OSError):
        for path in Path(folder).iterdir():
            if _TEMPORARY.fullmatch(path.name):
                _remove_if_abandoned(path)


def read_bytes(path: str | os.PathLike) -> bytes:
    """Read a whole file, or raise MissingFileError or FileAccessError."""
    try:
        return Path(path).read_bytes()
    except FileNotFoundError as error:
        raise MissingFileError("the file does not exist.", where=str(path)) from error
    except OSError as error:
        raise explain(error, Path(path)) from error


def sha256_of_file(path: str | os.PathLike) -> str:
    """Give the SHA-256 of a file's content as a hexadecimal string."""
    try:
        with open(path, "rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except FileNotFoundError as error:
        raise MissingFileError("the file does not exist.", where=str(path)) from error
    except OSError as error:
        raise explain(error, Path(path)) from error


def _make_locked(path: Path) -> Callable[[], None] | None:
    """Make a file and lock it; give what lets go of it, or None where a sweep came in between."""
    handle = os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o666)
    if fcntl is None:
        os.close(handle)
        return lambda: None
    # A file system that knows no locks refuses the sweep's as well, so nothing is swept there.
    with contextlib.suppress(OSError):
        fcntl.flock(handle, fcntl.LOCK_EX)
    if path.exists():
        return functools.partial(os.close, handle)
    os.close(handle)
    return None


def _remove_if_abandoned(path: Path) -> None:
    """Remove a temporary file that no living process holds."""
    # The system gives up a lock when its process ends, however it ends, and not before: a file that can be
    # locked has lost its owner. Age would not tell (a process may sleep for days), nor would a process id
    # (ids are used again, and mean nothing on another machine or in another container).
    with contextlib.suppress(OSError):
        handle = os.open(path, os.O_WRONLY)
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            path.unlink()
        finally:
            os.close(handle)


def _flush(path: Path) -> None:
    """Force a file or folder onto the disk."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def explain(error: OSError, path: Path, n_bytes: int | None = None) -> FileAccessError:
    """Turn an OSError into a FileAccessError that says what to do."""
    is_short_of_space = n_bytes is not None and error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
    size = f" ({n_bytes} bytes needed)" if is_short_of_space else ""
    hint = _ADVICE.get(error.errno, "Check the path and its permissions.")
    typed = FileAccessError(f"{error.strerror or error}{size}.", where=str(path), hint=hint)
    typed.errno = error.errno
    return typed
