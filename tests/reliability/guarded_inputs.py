"""A process that reads damaged files as a user would, with guarded children that are forked and not started.

Each line of JSON on the input names a sound file or folder, the options of `read_recording` and a number of damages;
its answer is one line of JSON on the output: how often every typed error came, and "read", what escaped, and every
event of the interpreter in a child that reading has no reason to cause. Starting an interpreter with Neo takes a
second, forking one takes milliseconds: everything else, from the limits to what a death is called, is the guard's.
"""

from __future__ import annotations

import gc
import json
import os
import random
import runpy
import select
import signal
import subprocess
import sys
import time
from pathlib import Path
from types import SimpleNamespace

import h5py  # noqa: F401 -- what a reader would load is loaded before the first fork
import scipy.io

from cortexrnn import read_recording
from cortexrnn.runs import guard
from cortexrnn.spikes.readers import (  # noqa: F401 -- the same
    hdf5,
    matlab5,
    matlab73,
    matlab_recording,
    neo_child,
    nix,
    nwb,
)

FUZZING = runpy.run_path(str(Path(__file__).with_name("fuzzing.py")))
# The least processor time that the system can limit to; the guard adds one second to it.
CPU_S = 0.0
# A machine that does other things may need this long for a second of processor time.
ALARM_S = 100.0
STRANGE = (
    "os.system", "os.posix_spawn", "os.exec", "os.fork", "subprocess.Popen", "socket.connect", "pickle.find_class",
    "ctypes.dlopen", "os.remove", "os.rename", "os.mkdir",
)  # fmt: skip
# Libraries may make classes and import modules while a file is read; no other text may be run.
LIBRARIES = ("<frozen ", *(entry + os.sep for entry in sys.path if os.path.isabs(entry)))


class ForkedReader:
    """What `subprocess.Popen` is to the guard, for the one command that the guard runs."""

    def __init__(self, command, **_):
        assert command[1:3] == ["-I", "-c"]
        request = json.dumps({**json.loads(command[-1]), "cpu_s": CPU_S})
        self.returncode = None
        self._answer, writing = os.pipe()
        self.pid = os.fork()
        if not self.pid:
            try:
                WATCH.is_on = True
                os.dup2(writing, 1)
                os.dup2(os.open(os.devnull, os.O_WRONLY), 2)
                guard.serve(request)
            finally:
                # What the interpreter would end with: an exception that `serve` lets through.
                os._exit(1)
        os.close(writing)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        os.close(self._answer)

    def communicate(self, timeout):
        """Read to the end of the answer, and bury the child."""
        parts, until = [], time.monotonic() + timeout
        while True:
            if not select.select([self._answer], [], [], max(0.0, until - time.monotonic()))[0]:
                raise subprocess.TimeoutExpired("reader", timeout)
            part = os.read(self._answer, 2**20)
            if not part:
                break
            parts.append(part)
        self.returncode = os.waitstatus_to_exitcode(os.waitpid(self.pid, 0)[1])
        return b"".join(parts), None

    def kill(self):
        """End a child that has not ended."""
        if self.returncode is None:
            os.kill(self.pid, signal.SIGKILL)
            os.waitpid(self.pid, 0)


class Watch:
    """Write down what a child does that reading has no reason to do."""

    def __init__(self, log):
        self.is_on = False
        self.log = log

    def __call__(self, event, arguments):
        if not self.is_on:
            return
        is_strange = event in STRANGE
        if event == "open" and isinstance(arguments[0], str | bytes):
            name, flags = os.fsdecode(arguments[0]), arguments[2]
            is_strange = name != os.devnull and bool(flags & (os.O_WRONLY | os.O_RDWR))
        elif event == "exec":
            is_strange = not is_of_a_library(arguments[0])
        if is_strange:
            os.write(self.log, f"{event} {arguments!r:.200}\n".encode())


def is_of_a_library(code):
    """Tell whether code is a module's or class's, or a unit that `quantities` has checked: 1.0 / 30000 * s."""
    name = getattr(code, "co_filename", "text")
    return name.startswith(LIBRARIES) or (name == "" and set(code.co_names) <= {"s", "dimensionless"})


def damages(path, rng, number):
    """Give so many damages of a file, or of any one of a folder or beside it: its path, sound and damaged content."""
    files = sorted(file for file in (path if path.is_dir() else path.parent).rglob("*") if file.is_file())
    sound = {file: file.read_bytes() for file in files}
    # Zeros fill records up; most damage to them would not be seen.
    places = {file: [at for at, byte in enumerate(content) if byte] for file, content in sound.items()}
    for _ in range(number):
        victim = rng.choice(files)
        chosen = places[victim] if rng.random() < 0.8 else None
        yield victim, sound[victim], FUZZING["mutate"](sound[victim], rng, chosen)


def fuzz(job):
    """Read so many damaged files."""
    path = Path(job["path"])

    def read(given):
        victim, sound, damaged = given
        victim.write_bytes(damaged)
        try:
            read_recording(path, **job["options"])
        finally:
            victim.write_bytes(sound)

    start = os.lseek(WATCH.log, 0, os.SEEK_END)
    escape, counts = None, {}
    try:
        counts = FUZZING["count_outcomes"](read, damages(path, random.Random(job["seed"]), job["number"]), ALARM_S)
    except FUZZING["Escape"] as error:
        escape = str(error)
    seen = os.pread(WATCH.log, 2**16, start).decode().splitlines()
    return {"counts": counts, "escape": escape, "seen": seen}


def spin():
    """Take processor time for ever."""
    while True:
        pass


# What a test of the test plants in the reader of MATLAB files, in the child or behind it.
PLANTS = {
    "escape": (matlab_recording, "recording_parts", lambda *_: {}["planted"]),
    "crash": (scipy.io, "loadmat", lambda *_, **__: os.kill(os.getpid(), signal.SIGSEGV)),
    "exit": (scipy.io, "loadmat", lambda *_, **__: sys.exit(0)),
    "hang": (scipy.io, "loadmat", lambda *_, **__: spin()),
    "memory": (scipy.io, "loadmat", lambda *_, **__: len(bytearray(2**30))),
    "code": (scipy.io, "loadmat", lambda *_, **__: eval(compile("1 + 1", "planted", "eval"))),  # noqa: S307
    "write": (scipy.io, "loadmat", lambda *_, **__: os.open(f"{os.devnull}/none", os.O_WRONLY | os.O_CREAT)),
}


def serve():
    """Answer until the input ends."""
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    guard.subprocess = SimpleNamespace(
        Popen=ForkedReader, DEVNULL=None, PIPE=None, TimeoutExpired=subprocess.TimeoutExpired
    )
    sys.addaudithook(WATCH)
    # A collection in a child would touch, and so copy, every page.
    gc.collect()
    gc.freeze()
    for line in sys.stdin:
        # A fork copies one thread; the locks of others would stay locked.
        assert os.listdir("/proc/self/task") == [str(os.getpid())]
        job = json.loads(line)
        module, name, planted = PLANTS.get(job.get("plant"), (guard, "serve", guard.serve))
        sound = getattr(module, name)
        setattr(module, name, planted)
        answer = fuzz(job)
        setattr(module, name, sound)
        print(json.dumps(answer), file=answers, flush=True)


if __name__ == "__main__":
    WATCH = Watch(os.open(sys.argv[1], os.O_CREAT | os.O_RDWR | os.O_APPEND, 0o600))
    serve()
