"""Oracle: what the child was told to do. Each way to fail is made on purpose by a small reader."""

from __future__ import annotations

import os
import signal

import numpy as np
import pytest

from cortexrnn.errors import DataError, OptionError, ReaderCrashed, ReaderTimeout
from cortexrnn.runs.guard import GuardLimits, limits_for_size, run_guarded, serve

MISCHIEF = "cortexrnn.runs.mischief:act"
READER = """
import os, signal, time
import numpy as np
from cortexrnn.errors import DataError, OptionError

def act(how):
    if how == "echo":
        return {"a": np.arange(3), "deep": [{"b": np.array([[1.5, 2.5]])}], "text": "x", "none": None, "n": np.int64(4)}
    if how == "typed":
        raise OptionError("no such array.", hint="Look again.")
    if how == "untyped":
        raise KeyError("colnames")
    if how == "crash":
        os.kill(os.getpid(), signal.SIGSEGV)
    if how == "exit":
        os._exit(7)
    if how == "sleep":
        time.sleep(60)
    if how == "spin":
        while True:
            pass
    if how == "eat":
        return np.ones(2**31)
    if how == "print":
        print("noise of a library", flush=True)
        os.write(1, b"more noise")
        return 5
    if how == "object":
        return np.array([object()])
"""


@pytest.fixture
def reader(tmp_path, monkeypatch):
    """A package path for the child in which a module of mischief stands beside ours."""
    room = tmp_path / "mischief"
    room.mkdir()
    (room / "mischief.py").write_text(READER)
    # The child imports cortexrnn.runs from where this process does; its path is stretched by one folder.
    import cortexrnn.runs.guard as guard

    extra = f"import cortexrnn.runs; cortexrnn.runs.__path__.append({str(room)!r}); "
    start, finish = guard._BOOTSTRAP.split("from cortexrnn", 1)
    monkeypatch.setattr(guard, "_BOOTSTRAP", f"{start}{extra}from cortexrnn{finish}")

    def ask(how, **limits):
        return run_guarded(MISCHIEF, {"how": how}, limits=GuardLimits(**limits), where="file.x")

    return ask


def test_a_tree_of_arrays_and_text_comes_back_as_it_was(reader):
    tree = reader("echo")
    np.testing.assert_array_equal(tree["a"], np.arange(3))
    np.testing.assert_array_equal(tree["deep"][0]["b"], [[1.5, 2.5]])
    assert (tree["text"], tree["none"], tree["n"]) == ("x", None, 4)


def test_a_typed_error_crosses_with_its_class_place_and_hint(reader):
    with pytest.raises(OptionError, match=r"file.x: no such array. Look again."):
        reader("typed")


def test_any_other_exception_becomes_a_data_error(reader):
    with pytest.raises(
        DataError, match=r"file.x: the file is damaged or not of its kind \(KeyError: 'colnames'\)"
    ):
        reader("untyped")


def test_death_by_signal_becomes_reader_crashed(reader):
    with pytest.raises(ReaderCrashed, match=r"the reader died .SIGSEGV."):
        reader("crash")


def test_death_by_exit_becomes_reader_crashed(reader):
    with pytest.raises(ReaderCrashed, match="exit status 7"):
        reader("exit")


def test_a_sleeping_child_is_stopped(reader):
    with pytest.raises(ReaderTimeout, match=r"took longer than 1.5 s"):
        reader("sleep", wall_s=1.5)


def test_a_spinning_child_is_stopped_by_its_processor_time(reader):
    with pytest.raises(ReaderTimeout, match="took longer than 1 s"):
        reader("spin", cpu_s=1.0)


def test_a_greedy_child_gets_no_more_than_its_memory(reader):
    with pytest.raises(DataError, match="needs more than the 100 MiB"):
        reader("eat", memory_bytes=100 * 2**20)


def test_what_a_library_prints_does_not_mix_with_the_answer(reader):
    assert reader("print") == 5


def test_objects_cannot_cross(reader):
    with pytest.raises(DataError, match="an array of object cannot cross the pipe"):
        reader("object")


def test_only_functions_of_this_package_are_served():
    request = '{"function": "os:getcwd", "arguments": {}, "memory_bytes": 1, "cpu_s": 1}'
    saved = [os.dup(descriptor) for descriptor in (1, 2)]
    try:
        with pytest.raises(SystemExit, match="2"):
            serve(request)
    finally:
        os.dup2(saved[0], 1)
        os.dup2(saved[1], 2)
        for descriptor in saved:
            os.close(descriptor)


def test_limits_grow_with_the_file_and_have_a_floor():
    small, large = limits_for_size(1000), limits_for_size(10**9)
    assert small.memory_bytes == 192 * 2**20
    assert large.memory_bytes == 7 * 10**9
    assert large.cpu_s > small.cpu_s
    with pytest.raises(ValueError, match="cpu_s=0 is not a positive"):
        GuardLimits(cpu_s=0)


def test_the_parents_signal_handlers_are_left_alone(reader):
    before = signal.getsignal(signal.SIGINT)
    reader("echo")
    assert signal.getsignal(signal.SIGINT) is before
