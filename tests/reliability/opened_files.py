"""A process that has imported everything and forks a child for every file that is opened.

Each line of JSON on the input names a door and a path; its answer is one line of JSON on the output: what was
said, the peak of resident memory of the child and of its own children, and, where it is watched, every event of
the interpreter that opening a file has no reason to cause. A watched child reads in its own process what would
otherwise be read by a guarded one, so that the hook sees the parser at work.
"""

from __future__ import annotations

import contextlib
import importlib
import json
import os
import resource
import select
import signal
import subprocess
import sys
import time
import warnings
from pathlib import Path
from types import SimpleNamespace

import h5py  # noqa: F401 -- what a reader would load is loaded before the hook looks
import scipy.io  # noqa: F401

from cortexrnn import load_circuit, read_recording, read_signals
from cortexrnn.errors import CortexError, DataError
from cortexrnn.runs import guard
from cortexrnn.runs.store import Store
from cortexrnn.spikes.readers import alf, hdf5_recording, matlab_recording, vendor

# More than a loaded machine needs to start a guarded child, and much less than hanging.
WALL_S = 60.0
GUARDED = ("hdf5", "matlab5", "matlab73", "neo_child")
STRANGE = (
    "os.system", "os.exec", "os.posix_spawn", "os.fork", "subprocess.Popen", "socket.connect", "socket.bind",
    "socket.getaddrinfo", "pickle.find_class", "ctypes.dlopen", "os.remove", "os.rename", "os.mkdir", "os.symlink",
)  # fmt: skip
# Lazy imports of installed libraries are no fault of the file.
LIBRARIES = ("<frozen ", *(entry + os.sep for entry in sys.path[1:] if os.path.isabs(entry)))
# Under this name the syntax tree of a literal is made, which is looked at and never run.
LITERAL = "<unknown>"


class Opener:
    """Opens files in forked children of one warm process."""

    def __init__(self, loads):
        """Start it; `loads` is "reading" for the readers alone, or "everything"."""
        command = [sys.executable, "-B", str(Path(__file__).resolve()), loads]
        self.server = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        assert self.server.stdout.readline() == "{}\n"

    def __call__(self, path, *, door="recording", is_watched=False, cpu_s=10, **options):
        """Open one file by a door."""
        job = {"path": str(path), "door": door, "is_watched": is_watched, "cpu_s": cpu_s, "options": options}
        print(json.dumps(job), file=self.server.stdin, flush=True)
        return SimpleNamespace(**json.loads(self.server.stdout.readline()))

    def close(self):
        """End it."""
        self.server.stdin.close()
        self.server.wait(30)
        self.server.stdout.close()


def describe(recording):
    """Give all that a recording tells."""
    tables = {name: table.to_dict() for name, table in recording.tables.items()}
    return repr((recording.ticks, recording.unit_ids, recording.units.to_dict(), recording.trials.to_dict(), tables))


def open_store(path, **options):
    """Get what a store holds under the name of a file."""
    return repr(Store(path.parent).get(path.stem))


def open_trained(path, **options):
    """Read a trained network."""
    import cortexrnn as cx

    return repr(cx.load_trained(path, cx.tasks.load_task("random_dots")).model)


def open_checkpoint(path, **options):
    """Read the checkpoint of a training."""
    from cortexrnn.training.adam import AdamState
    from cortexrnn.training.checkpoint import load_checkpoint

    return repr(load_checkpoint(path, {}, AdamState))


def open_comparison(path, **options):
    """Read a saved comparison and say what it says."""
    from cortexrnn import Comparison

    found = Comparison.load(path)
    return repr((found.scores.to_dict(), found.panels.to_dict(), found.summary, dict(found.extras)))


def open_unsafely(path, **options):
    """Do all that no door may do, so that a test can see the watch at work."""
    import numpy as np

    with open(f"{path}.copy", "wb"):
        pass
    with contextlib.suppress(ImportError):
        exec(compile("import nowhere_at_all", "canary", "exec"))  # noqa: S102 -- what the watch must see
    return repr(np.load(path, allow_pickle=True)["times_s"])


DOORS = {
    "recording": lambda path, **options: describe(read_recording(path, **options)),
    "signals": lambda path, **options: repr(read_signals(path, **options)),
    "circuit": lambda path, **options: repr(load_circuit(path)),
    "store": open_store,
    "trained": open_trained,
    "checkpoint": open_checkpoint,
    "comparison": open_comparison,
    "unsafe": open_unsafely,
}


def is_import():
    """Tell whether the interpreter is importing a module at this moment."""
    frame = sys._getframe(2)
    while frame is not None:
        if frame.f_code.co_filename.startswith("<frozen importlib"):
            return True
        frame = frame.f_back
    return False


def make_watch(secret, seen):
    """Give an audit hook that writes down what opening a file has no reason to do."""

    def watch(event, arguments):
        if event in STRANGE:
            seen.append(f"{event} {arguments[:1]!r:.200}")
        elif event == "open" and isinstance(arguments[0], str | bytes):
            name, mode = os.fsdecode(arguments[0]), arguments[1]
            if name == secret or (mode and set(mode) & set("wax+") and name != os.devnull):
                seen.append(f"open {name} {mode}")
        elif event == "exec" and not is_import():
            name = getattr(arguments[0], "co_filename", "text")
            if not name.startswith(LIBRARIES):
                seen.append(f"exec {name}")
        elif event == "compile" and not is_import() and arguments[1] not in (LITERAL, LITERAL.encode()):
            seen.append(f"compile {arguments[1]!r} {arguments[0]!r:.100}")
        elif event == "import" and not sys._getframe(1).f_code.co_filename.startswith(LIBRARIES):
            seen.append(f"import {arguments[0]}")

    return watch


def read_here(function, arguments, *, limits, where):
    """Call in this process what `run_guarded` calls in a guarded one, with the same classes of errors."""
    module, name = function.split(":")
    try:
        tree = getattr(importlib.import_module(module), name)(**arguments)
        return guard._unpack(b"".join(bytes(part) for part in guard._pack({"result": tree})), where)
    except CortexError:
        raise
    except Exception as error:  # noqa: BLE001 -- as the guarded child does
        raise DataError(f"the file is damaged ({error}).", where=where) from None


def answer(job):
    """Open one file and give what was said, seen and used."""
    path, seen = Path(job["path"]), []
    warnings.simplefilter("ignore")
    resource.setrlimit(resource.RLIMIT_CPU, (job["cpu_s"], job["cpu_s"]))
    if job["is_watched"]:
        for module in (alf, hdf5_recording, matlab_recording, vendor):
            module.run_guarded = read_here
        sys.addaudithook(make_watch(str(path.parent / "secret.txt"), seen))
    try:
        told, kind = DOORS[job["door"]](path, **job["options"]), "read"
    except (CortexError, ValueError) as error:
        # Objects among stored work are a plain ValueError of NumPy's.
        told, kind = str(error), type(error).__name__
    peak = max(resource.getrusage(who).ru_maxrss for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    return {"kind": kind, "told": told[:20_000_000], "seen": list(seen), "peak_bytes": 1024 * peak}


def serve():
    """Answer job after job."""
    print("{}", flush=True)  # noqa: T201 -- the answers go this way
    for line in sys.stdin:
        job = json.loads(line)
        reading, writing = os.pipe()
        child = os.fork()
        if not child:
            os.close(reading)
            os.setpgid(0, 0)
            with os.fdopen(writing, "w") as pipe:
                json.dump(answer(job), pipe)
            os._exit(0)
        os.close(writing)
        print(json.dumps(collect(child, reading)), flush=True)  # noqa: T201


def collect(child, reading):
    """Read the answer of a child to its end, or end the child."""
    until, parts = time.monotonic() + WALL_S, []
    with os.fdopen(reading, "rb") as pipe:
        while select.select([pipe], [], [], max(0.0, until - time.monotonic()))[0]:
            parts.append(os.read(pipe.fileno(), 2**20))
            if not parts[-1]:
                break
        else:
            os.killpg(child, signal.SIGKILL)
    _, status = os.waitpid(child, 0)
    text = b"".join(parts)
    if status or not text:
        return {"kind": f"died with status {status}", "told": "", "seen": [], "peak_bytes": 0}
    return json.loads(text)


if __name__ == "__main__":
    os.environ.update(guard._child_environment())
    if sys.argv[1] == "everything":
        for room in ("evaluation.comparison", "training.trained", "training.adam", "training.tasks"):
            importlib.import_module(f"cortexrnn.{room}")
        importlib.import_module("safetensors.numpy")
        for room in GUARDED:
            importlib.import_module(f"cortexrnn.spikes.readers.{room}")
    serve()
