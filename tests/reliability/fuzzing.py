"""What the fuzz tests share: damage, a clock, a folder in memory, and a count of how reading ended."""

from __future__ import annotations

import contextlib
import os
import resource
import signal
import tempfile
import warnings
from collections import Counter
from pathlib import Path

from cortexrnn.errors import CortexError, DataWarning

# All inputs of our own parsers together, over all fuzz tests.
N_INPUTS = int(os.environ.get("CORTEXRNN_FUZZ", "200000"))
ALARM_S = 5
MEMORY_MIB = 400


class Hang(BaseException):
    """The clock rang. Nothing that catches errors of the system may swallow it."""


class Escape(Exception):
    """An input ended neither in a result nor in a typed error."""


@contextlib.contextmanager
def folder_in_memory():
    """Give a folder that costs no disk, where the system has one."""
    with tempfile.TemporaryDirectory(dir="/dev/shm" if os.access("/dev/shm", os.W_OK) else None) as folder:
        yield Path(folder)


@contextlib.contextmanager
def bounded_memory():
    """Fail where the process grew by more than small files may cost."""
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    yield
    assert (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024 < MEMORY_MIB


def count_outcomes(read, inputs, alarm_s=ALARM_S):
    """Read every input; give how often each typed error came, and "read". Anything else is an Escape."""

    def ring(*_):
        raise Hang

    counts = Counter()
    before = signal.signal(signal.SIGALRM, ring)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DataWarning)
            for content in inputs:
                signal.setitimer(signal.ITIMER_REAL, alarm_s)
                try:
                    read(content)
                except CortexError as error:
                    counts[type(error).__name__] += 1
                except (Exception, Hang) as error:
                    raise Escape(f"{type(error).__name__} from {content!r:.3000}") from error
                else:
                    counts["read"] += 1
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
    return counts


def mutate(content, rng, places=None):
    """Flip bits, cut, splice or overwrite a length field, at `places` where these are given."""
    data = bytearray(content)

    def place():
        return rng.choice(places) if places else rng.randrange(len(data))

    kind = rng.randrange(4)
    if kind == 0:
        for _ in range(rng.randrange(1, 6)):
            data[place()] ^= 1 << rng.randrange(8)
    elif kind == 1:
        del data[rng.randrange(len(data)) :]
    elif kind == 2:
        a, b = sorted((place(), place()))
        start = place()
        data[a:b] = data[start : start + rng.randrange(64)]
    else:
        at = place()
        data[at : at + 8] = b"\xff" * 8
    return bytes(data)
