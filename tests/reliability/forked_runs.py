"""A process that has imported everything and compiled its kernels, and forks a child for every run of the command.

Each line of JSON on the input is one run; its answer is one line of JSON on the output. Starting the
interpreter takes longer than a small run, so that without this most random moments would fall into
imports. A run can be hit by a signal after so many seconds, or at its n-th touch of the disk, or the first
of a name, by a signal or by an error of the system.
"""

from __future__ import annotations

import builtins
import errno
import itertools
import json
import os
import re
import signal
import sys
import time

import cortexrnn as cx
from cortexrnn.cli import main
from cortexrnn.runs import files, store
from cortexrnn.training import outcome


class Disk:
    """Something happens at the n-th touch of a file (made, written, flushed, replaced), or the first of a name."""

    def __init__(self, at, number):
        self.at, self.number, self.names = at, number, []

    def touch(self, name):
        """Count one; tell whether it is the one that goes wrong."""
        self.names.append(name)
        return self.at == (name if isinstance(self.at, str) else len(self.names))

    def strike(self):
        """Die, or raise what the system would."""
        if self.number is None:
            os.kill(os.getpid(), signal.SIGKILL)
        raise OSError(self.number, os.strerror(self.number))


def kind_of(path):
    """Tell which of the files of a run is meant; a temporary file is the one that it becomes."""
    name = re.sub(r"^\.(.+)\.cortexrnn-[0-9a-f]{8}\.tmp$", r"\1", os.path.basename(path))
    kinds = {".npz": "unit of work", ".svg": "figure"}
    return kinds.get(os.path.splitext(name)[1], name)


class BrittleOS:
    """The os module, with a disk that can fail."""

    def __init__(self, disk):
        self._disk = disk

    def __getattr__(self, name):
        function = getattr(os, name)
        if name not in ("open", "fsync", "replace"):
            return function

        def brittle(first, *args, **kwargs):
            path = os.readlink(f"/proc/self/fd/{first}") if name == "fsync" else first
            does = "make" if name == "open" and args[0] & os.O_CREAT else name
            if self._disk.touch(f"{does} {kind_of(path)}"):
                self._disk.strike()
            return function(first, *args, **kwargs)

        return brittle


def make_brittle_open(disk):
    """Give an open() whose files write half of what they should when the disk fails."""

    def brittle_open(*args, **kwargs):
        file = builtins.open(*args, **kwargs)  # noqa: SIM115 -- the caller closes it
        if not file.writable():
            return file
        write = file.write

        def brittle_write(data):
            if disk.touch(f"write {kind_of(file.name)}"):
                write(data[: len(data) // 2])
                file.flush()
                disk.strike()
            return write(data)

        # A C object takes no attributes; a thin stand-in does.
        return Brittle(file, brittle_write)

    return brittle_open


class Brittle:
    """A file with another write."""

    def __init__(self, file, write):
        self._file, self.write = file, write

    def __getattr__(self, name):
        return getattr(self._file, name)

    def __enter__(self):
        return self

    def __exit__(self, *error):
        self._file.close()


def warm_up(folder):
    """Load every library and kernel that a run needs."""
    recording = cx.read_recording(os.path.join(folder, "spikes.csv"), trials=os.path.join(folder, "trials.csv"))
    result = cx.compare(
        recording,
        models=cx.ladder(["M2", "M4"]),
        options=cx.CompareOptions(n_folds=2, n_surrogates=0),
        event="stim_s",
        window_s=(0.0, 0.5),
        bin_s=0.005,
        history_s=0.1,
        units=[1],
    )
    result.save(os.path.join(folder, "warm"))
    options = cx.TrainOptions(max_steps=1, batch_size=16, n_validation=16, criterion=2.0, n_threads=1)
    trained = cx.train(cx.load_circuit("song_2016"), cx.tasks.random_dots(), options=options)
    outcome.save_training(os.path.join(folder, "warm"), trained)


def run_child(job):
    """Be the command: leaves as the command does."""
    os.chdir(job["folder"])
    log = os.open(job["log"], os.O_CREAT | os.O_WRONLY | os.O_TRUNC, 0o666)
    for descriptor in (1, 2):
        os.dup2(log, descriptor)
    if "touch" in job:
        disk = Disk(job["touch"], None if job["fault"] == "kill" else getattr(errno, job["fault"]))
        for module in (files, store):
            module.os = BrittleOS(disk)
            module.open = make_brittle_open(disk)
    sys.argv = ["cortexrnn", *job["arguments"]]
    signal.signal(signal.SIGINT, signal.default_int_handler)
    main()


def watch_child(child, job):
    """Wait for the child, hit it when it is time, and tell how it ended."""
    started = time.monotonic()
    hit = None
    for _ in itertools.count():
        ended, status = os.waitpid(child, os.WNOHANG)
        now = time.monotonic()
        if ended:
            break
        if hit is None and "after_s" in job and now - started >= job["after_s"]:
            os.kill(child, getattr(signal, job["signal"]))
            hit = now
        if now - started > 120:
            os.kill(child, signal.SIGKILL)
        time.sleep(0.002)
    return {
        "code": os.waitstatus_to_exitcode(status),
        "seconds": now - started,
        "seconds_after_signal": None if hit is None else now - hit,
    }


def serve():
    """Answer until the input ends."""
    warm_up(sys.argv[1])
    answers = os.fdopen(os.dup(1), "w")
    print("{}", file=answers, flush=True)
    for line in sys.stdin:
        job = json.loads(line)
        child = os.fork()
        if not child:
            answers.close()
            run_child(job)
        print(json.dumps(watch_child(child, job)), file=answers, flush=True)


if __name__ == "__main__":
    serve()
