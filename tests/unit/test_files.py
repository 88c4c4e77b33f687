"""Oracle: the content of the folder, looked at with the standard library."""

from __future__ import annotations

import errno
import fcntl
import hashlib
import os
import signal
import subprocess
import sys

import pytest

from cortexrnn.errors import FileAccessError, MissingFileError
from cortexrnn.runs import files
from cortexrnn.runs.files import atomic_path, atomic_write, explain, read_bytes, sha256_of_file, sweep


class FailingOS:
    """The os module in which one function fails."""

    def __init__(self, name, code):
        self._name, self._code = name, code

    def __getattr__(self, name):
        if name == self._name:

            def fail(*args, **kwargs):
                raise OSError(self._code, os.strerror(self._code))

            return fail
        return getattr(os, name)


def names(folder):
    return sorted(path.name for path in folder.iterdir())


def test_bytes_are_written_and_nothing_else_is_left(tmp_path):
    atomic_write(tmp_path / "a.bin", b"\x00one")
    assert (tmp_path / "a.bin").read_bytes() == b"\x00one"
    assert names(tmp_path) == ["a.bin"]


def test_an_old_file_is_replaced(tmp_path):
    (tmp_path / "a").write_bytes(b"old and longer")
    atomic_write(tmp_path / "a", b"new")
    assert (tmp_path / "a").read_bytes() == b"new"


def test_missing_folders_are_made(tmp_path):
    atomic_write(tmp_path / "x" / "y" / "a", b"1")
    assert read_bytes(tmp_path / "x" / "y" / "a") == b"1"


def test_the_file_has_the_permissions_of_an_ordinary_one(tmp_path):
    (tmp_path / "ordinary").write_bytes(b"")
    atomic_write(tmp_path / "ours", b"")
    assert (tmp_path / "ours").stat().st_mode == (tmp_path / "ordinary").stat().st_mode


def test_a_failing_block_leaves_the_old_file_and_no_temporary(tmp_path):
    def write_half():
        with atomic_path(tmp_path / "a") as temporary:
            temporary.write_bytes(b"half")
            raise KeyError("lost")

    (tmp_path / "a").write_bytes(b"old")
    with pytest.raises(KeyError, match="lost"):
        write_half()
    assert (tmp_path / "a").read_bytes() == b"old"
    assert names(tmp_path) == ["a"]


def test_nothing_is_to_be_seen_before_the_block_ends(tmp_path):
    with atomic_path(tmp_path / "a") as temporary:
        temporary.write_bytes(b"whole")
        assert not (tmp_path / "a").exists()
        assert temporary.parent == tmp_path
    assert (tmp_path / "a").read_bytes() == b"whole"


DIES_IN_THE_MIDDLE = """
import os, signal
from cortexrnn.runs.files import atomic_path
with atomic_path("a") as temporary:
    temporary.write_bytes(b"half")
    print(temporary.name, flush=True)
    input()
    os.kill(os.getpid(), signal.SIGKILL)
"""


def test_a_sweep_removes_what_a_killed_process_left_and_nothing_of_a_living_one(tmp_path):
    """Oracle: one process before and after its death, whatever the age of its file."""
    command = [sys.executable, "-c", DIES_IN_THE_MIDDLE]
    with subprocess.Popen(
        command, cwd=tmp_path, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        name = process.stdout.readline().strip()
        os.utime(tmp_path / name, (0, 0))
        sweep(tmp_path)
        assert names(tmp_path) == [name]
        process.communicate("\n", timeout=60)
    assert process.returncode == -signal.SIGKILL
    assert names(tmp_path) == [name]
    sweep(tmp_path)
    assert names(tmp_path) == []


def test_a_sweep_leaves_the_files_of_its_own_process_and_of_others(tmp_path):
    foreign = [".a.0123abcd.tmp", "a.cortexrnn-0123abcd.tmp", ".a.cortexrnn-0123abcd.tmp.bak", ".a.cortexrnn-xyz.tmp"]
    for name in foreign:
        (tmp_path / name).write_bytes(b"")
    (tmp_path / "deeper").mkdir()
    (tmp_path / "deeper" / ".a.cortexrnn-0123abcd.tmp").write_bytes(b"")
    with atomic_path(tmp_path / "a") as temporary:
        sweep(tmp_path)
        temporary.write_bytes(b"whole")
    assert (tmp_path / "a").read_bytes() == b"whole"
    assert names(tmp_path) == sorted([*foreign, "a", "deeper"])
    assert names(tmp_path / "deeper") == [".a.cortexrnn-0123abcd.tmp"]
    sweep(tmp_path / "not there")


def test_a_file_that_is_swept_before_it_is_locked_is_made_again(tmp_path, monkeypatch):
    """The moment between making and locking: another process takes the file for abandoned."""
    lock, n_locks = fcntl.flock, []

    def swept_first(handle, how):
        n_locks.append(how)
        if len(n_locks) == 1:
            sweep(tmp_path)
            assert names(tmp_path) == []
        lock(handle, how)

    monkeypatch.setattr(files.fcntl, "flock", swept_first)
    atomic_write(tmp_path / "a", b"new")
    assert n_locks == [fcntl.LOCK_EX, fcntl.LOCK_EX | fcntl.LOCK_NB, fcntl.LOCK_EX]
    assert (tmp_path / "a").read_bytes() == b"new"


def test_where_nothing_can_be_locked_files_are_written_and_nothing_is_swept(tmp_path, monkeypatch):
    def refuse(handle, how):
        raise OSError(errno.ENOLCK, os.strerror(errno.ENOLCK))

    monkeypatch.setattr(files.fcntl, "flock", refuse)
    left = tmp_path / ".b.cortexrnn-0123abcd.tmp"
    left.write_bytes(b"half")
    atomic_write(tmp_path / "a", b"new")
    sweep(tmp_path)
    assert names(tmp_path) == [left.name, "a"]


@pytest.mark.parametrize(
    ("function", "code", "hint"),
    [
        ("open", errno.EACCES, "may not be written to: choose another one with --out"),
        ("open", errno.EROFS, "read-only: choose another folder with --out"),
        ("fsync", errno.ENOSPC, "disk is full: free some space and run the same command again"),
        ("fsync", errno.EIO, "Check the path and its permissions"),
        ("replace", errno.EDQUOT, "quota is used up"),
        ("replace", errno.EISDIR, "path is a folder"),
    ],
)
def test_every_fault_of_the_system_is_typed_and_leaves_the_old_file(tmp_path, monkeypatch, function, code, hint):
    (tmp_path / "a").write_bytes(b"old")
    monkeypatch.setattr(files, "os", FailingOS(function, code))
    with pytest.raises(FileAccessError, match=hint) as caught:
        atomic_write(tmp_path / "a", b"new")
    assert ("(3 bytes needed)" in str(caught.value)) == (code in (errno.ENOSPC, errno.EDQUOT))
    assert caught.value.errno == code
    assert caught.value.where == str(tmp_path / "a")
    assert (tmp_path / "a").read_bytes() == b"old"
    assert names(tmp_path) == ["a"]


def test_the_file_is_flushed_before_it_replaces_and_the_folder_after(tmp_path, monkeypatch):
    calls = []

    class Watched:
        def __getattr__(self, name):
            if name in ("fsync", "replace"):
                calls.append(name)
            return getattr(os, name)

    monkeypatch.setattr(files, "os", Watched())
    atomic_write(tmp_path / "a", b"x")
    assert calls == ["fsync", "replace", "fsync"]


def test_a_full_disk_says_how_many_bytes_were_needed():
    error = explain(OSError(errno.ENOSPC, "No space left on device"), files.Path("x/a"), n_bytes=42)
    assert str(error).startswith("x/a: No space left on device (42 bytes needed). The disk is full")


def test_an_error_without_a_text_is_still_explained():
    assert str(explain(OSError("odd"), files.Path("a"))) == "a: odd. Check the path and its permissions."


def test_a_path_below_a_file_is_no_folder(tmp_path):
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(FileAccessError, match=r"A part of the path is a file|File exists|Not a directory"):
        atomic_write(tmp_path / "file" / "a", b"x")


def test_reading_a_missing_file_is_typed(tmp_path):
    for read in (read_bytes, sha256_of_file):
        with pytest.raises(MissingFileError, match=r"nothing: the file does not exist"):
            read(tmp_path / "nothing")


def test_reading_a_folder_is_typed(tmp_path):
    for read in (read_bytes, sha256_of_file):
        with pytest.raises(FileAccessError, match=r"Is a directory. The path is a folder: name a file"):
            read(tmp_path)


def test_the_digest_is_that_of_hashlib(tmp_path):
    content = bytes(range(256)) * 5000
    (tmp_path / "a").write_bytes(content)
    assert sha256_of_file(tmp_path / "a") == hashlib.sha256(content).hexdigest()
