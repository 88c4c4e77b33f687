"""Our own parsers meet any bytes with a result or a typed error, in bounded time and memory (R1).

`test_bad_files` mutates whole files; here inputs are grown from the grammar of each format, so that they come
past the first check: tables with strange cells, archives whose checksums are right and whose arrays lie,
ledgers of damaged lines. Oracle: the class of what is raised, an alarm clock, and the memory of the process.
CORTEXRNN_FUZZ is the number of inputs.
"""

from __future__ import annotations

import contextlib
import io
import os
import resource
import signal
import warnings
import zipfile

import numpy as np
import pytest

from cortexrnn import read_recording
from cortexrnn.errors import CortexError, DataWarning
from cortexrnn.runs.store import Store

N_INPUTS = int(os.environ.get("CORTEXRNN_FUZZ", "2000"))
ALARM_S = 5
MEMORY_MIB = 400

COLUMNS = [
    b"unit", b"neuron", b"cluster_id", b"trial", b"time_s", b"time (ms)", b"t", b"spike_times_samples", b"start_s",
    b"stop_s", b"duration_ms", b"x", b"", b" ", b"time_s ", b"\xc3\xa9", b"unit\x00", b'"quoted, name"',
    b"time_fortnights",
]  # fmt: skip
CELLS = [
    b"0", b"1", b"-1", b"2.5", b"1e308", b"-1e400", b"1e-320", b"nan", b"inf", b"", b" ", b"1_0", b"0x10", b"abc",
    b"\xd9\xa3", b"9" * 400, b'"', b'""', b'"a\nb"', b"1;2", b"1\t2", b"\x00", b"\xff", b"1.0", b"1.", b".5", b"+5",
    b"9223372036854775807", b"9223372036854775808", b"1e18", b"True", b"None", b"=1+1", b"\xe2\x80\xa8",
]  # fmt: skip
ENDS = [b"\n", b"\r\n", b"\r", b"\n\n"]
NAMES = [
    "times_s", "times_ms", "times", "times_samples", "units", "clusters", "unit_ids", "trial_start_s", "trial_stop_s",
    "trial_side", "trial", "a", " ", "a/b", "../a", "times_s.npy", "\u00e9",
]  # fmt: skip
DESCRS = [
    "'<f8'", "'>f8'", "'<i8'", "'<u2'", "'|b1'", "'<U3'", "'|S2'", "'|O'", "'<c16'", "'<M8[s]'", "'<f2'", "'|V4'",
    "'<U0'", "[('a', '<f8')]", "'<f16'", "3", "None", "'x'", "('<f8', (2, 2))", "'<U2147483647'",
]  # fmt: skip
SHAPES = [
    "(4,)", "(2, 2)", "()", "(0,)", "(-1,)", "(4.0,)", "(1099511627776,)", "(2, 0, 4611686018427387904)", "4",
    "(True,)", "(0, 1180591620717411303424)", "(2.0, 2)", "('a',)",
]  # fmt: skip
HEADERS = ["(" * 3000, "{}", "[1]", "{'descr': '<f8'}", "\x00", "1e999", "-" * 2000 + "1", "{'descr': 0/0}"]
LINES = [b"[" * 5000, b"1e999", b'{"unit": {}, "crc": 0}', b"\xff", b'"\\ud800"', b"NaN"]
OPTIONS = [
    {},
    {"time_unit": "s"},
    {"time_unit": "ms"},
    {"time_unit": "samples", "sample_rate_hz": 30000.0},
    {"time_unit": "samples", "sample_rate_hz": 1e-300},
    {"sample_rate_hz": float("nan"), "time_unit": "samples"},
    {"select": {"unit": "1"}},
    {"select": {"x": 1}},
]


@contextlib.contextmanager
def alarm():
    """Fail when a single input takes too long."""

    def ring(*_):
        raise TimeoutError("the parser hangs")

    before = signal.signal(signal.SIGALRM, ring)
    signal.alarm(ALARM_S)
    try:
        yield
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)


def outcome(read):
    """Give the name of the typed error, or "read"; any other exception escapes."""
    with alarm(), warnings.catch_warnings():
        warnings.simplefilter("ignore", DataWarning)
        try:
            read()
        except CortexError as error:
            return type(error).__name__
    return "read"


def pick(rng, values):
    return values[int(rng.integers(len(values)))]


def grow_table(rng):
    """Make a table that is nearly one."""
    end, delimiter = pick(rng, ENDS), pick(rng, [b",", b"\t", b";"])
    if rng.random() < 0.7:
        header = [b"unit", b"time_s", *([b"trial"] if rng.random() < 0.5 else [])]
    else:
        header = [pick(rng, COLUMNS) for _ in range(rng.integers(1, 6))]
    rows = [header]
    for _ in range(rng.integers(0, 8)):
        n_cells = len(header) if rng.random() < 0.95 else int(rng.integers(0, 7))
        is_odd = rng.random(n_cells) < 0.15
        rows.append([pick(rng, CELLS) if odd else str(rng.integers(1, 9)).encode() for odd in is_odd])
    start = pick(rng, [b"", b"", b"", b"\xef\xbb\xbf", b"\n", b"\x00", b"# comment\n"])
    return start + end.join(delimiter.join(row) for row in rows) + pick(rng, [b"", end])


def grow_array(rng):
    """Make an array that is nearly one, with a header that may lie."""
    if rng.random() < 0.4:
        buffer = io.BytesIO()
        values = [rng.random(4), np.arange(4), np.array([0.1, np.nan, 1, 2]), np.array(list("abcd")), np.zeros((2, 2))]
        np.save(buffer, pick(rng, values))
        return buffer.getvalue()
    header = f"{{'descr': {pick(rng, DESCRS)}, 'fortran_order': False, 'shape': {pick(rng, SHAPES)}}}"
    if rng.random() < 0.1:
        header = pick(rng, HEADERS)
    text = header.encode().ljust(117) + b"\n"
    magic = pick(rng, [b"\x93NUMPY\x01\x00"] * 6 + [b"\x93NUMPY\x02\x00", b"\x93NUMPY\x09\x00", b"PK\x03\x04"])
    n_header = len(text) if rng.random() < 0.95 else int(rng.integers(0, 65536))
    return magic + n_header.to_bytes(2, "little") + text + bytes(int(rng.integers(0, 65)))


def grow_archive(rng):
    """Make an archive of a few arrays."""
    buffer = io.BytesIO()
    names = ["times_s", "units"] if rng.random() < 0.5 else [pick(rng, NAMES) for _ in range(rng.integers(0, 4))]
    with warnings.catch_warnings():
        # zipfile warns of two members with one name; that is one of the things to be tried.
        warnings.simplefilter("ignore", UserWarning)
        with zipfile.ZipFile(buffer, "w", pick(rng, [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED])) as archive:
            for name in names:
                archive.writestr(name + pick(rng, [".npy"] * 9 + [""]), grow_array(rng))
    return buffer.getvalue()


def grow_ledger(rng, lines):
    """Make a ledger of damaged, doubled and torn lines."""
    rows = []
    for _ in range(rng.integers(1, 6)):
        line = bytearray(pick(rng, lines))
        kind = rng.integers(4)
        if kind == 0:
            line[int(rng.integers(len(line)))] ^= 1 << int(rng.integers(8))
        elif kind == 1:
            del line[int(rng.integers(len(line))) :]
        elif kind == 2:
            line = bytearray(pick(rng, LINES))
        rows.append(bytes(line))
    return pick(rng, [b"\n", b"\r\n", b"\n\n"]).join(rows)


@pytest.fixture
def memory():
    """Fail where the process grew by more than a small file may cost."""
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    yield
    assert (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024 < MEMORY_MIB


@pytest.mark.slow
@pytest.mark.usefixtures("memory")
def test_tables_grown_from_their_grammar(tmp_path):
    rng = np.random.default_rng(101)
    path, trials = tmp_path / "a.csv", tmp_path / "trials.csv"
    outcomes = set()
    for number in range(N_INPUTS):
        path.write_bytes(grow_table(rng))
        options = dict(pick(rng, OPTIONS))
        if number % 4 == 0:
            trials.write_bytes(grow_table(rng).replace(b"time_s", b"start_s").replace(b"unit", b"trial"))
            options["trials"] = trials
        outcomes.add(outcome(lambda options=options: read_recording(path, **options)))
    assert {"read", "DataError", "TimeUnitError", "OptionError"} <= outcomes


@pytest.mark.slow
@pytest.mark.usefixtures("memory")
def test_archives_whose_arrays_lie(tmp_path):
    rng = np.random.default_rng(102)
    path = tmp_path / "a.npz"
    outcomes = set()
    for _ in range(N_INPUTS):
        path.write_bytes(grow_archive(rng))
        options = pick(rng, OPTIONS)
        outcomes.add(outcome(lambda options=options: read_recording(path, **options)))
    assert {"read", "DataError", "TimeUnitError", "UnsafeFileError"} <= outcomes


@pytest.mark.slow
@pytest.mark.usefixtures("memory")
def test_ledgers_of_damaged_lines(tmp_path):
    rng = np.random.default_rng(103)
    store = Store(tmp_path)
    for key in "abc":
        store.put(key, {"x": np.arange(3.0)})
    lines = (tmp_path / "ledger.jsonl").read_bytes().splitlines()
    n_found = 0
    for _ in range(N_INPUTS):
        (tmp_path / "ledger.jsonl").write_bytes(grow_ledger(rng, lines))
        with alarm():
            found = [Store(tmp_path).get(key) for key in "abc"]
        # What is found is what was put; a damaged line never gives anything else.
        assert all(arrays is None or arrays["x"].tolist() == [0.0, 1.0, 2.0] for arrays in found)
        n_found += sum(arrays is not None for arrays in found)
    assert n_found > N_INPUTS / 4
