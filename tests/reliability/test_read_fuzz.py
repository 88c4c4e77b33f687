"""Our own parsers meet any bytes with a result or a typed error, in bounded time and memory (R1).

`test_bad_files` mutates whole files; here inputs are grown from the grammar of each format, so that they come
past the first check: tables with strange cells, archives whose checksums are right and whose arrays lie,
ledgers of damaged lines. Oracle: the class of what is raised, an alarm clock, and the memory of the process.
CORTEXRNN_FUZZ is the number of inputs of all fuzz tests together.
"""

from __future__ import annotations

import io
import random
import runpy
import time
import warnings
import zipfile
from pathlib import Path

import numpy as np
import pytest

from cortexrnn import read_recording
from cortexrnn.runs.store import Store
from cortexrnn.spikes.readers import table
from cortexrnn.spikes.readers.npy import parse_npy

FUZZING = runpy.run_path(str(Path(__file__).with_name("fuzzing.py")))
N_INPUTS, count_outcomes = FUZZING["N_INPUTS"], FUZZING["count_outcomes"]
N_TABLES, N_ARCHIVES, N_ARRAYS, N_LEDGERS = (N_INPUTS * share // 1000 for share in (150, 100, 100, 75))

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


def save(values):
    """Give the bytes of an .npy file."""
    buffer = io.BytesIO()
    np.save(buffer, values)
    return buffer.getvalue()


SOUND = [
    save(values)
    for values in (
        np.array([0.5, 0.25, 1.5, 2.0]), np.arange(4), np.array([0.1, np.nan, 1, 2]), np.array(list("abcd")),
        np.zeros((2, 2)),
    )
]  # fmt: skip


def grow_table(rng):
    """Make a table that is nearly one."""
    end, delimiter = rng.choice(ENDS), rng.choice([b",", b"\t", b";"])
    if rng.random() < 0.7:
        header = [b"unit", b"time_s", *([b"trial"] if rng.random() < 0.5 else [])]
    else:
        header = [rng.choice(COLUMNS) for _ in range(rng.randrange(1, 6))]
    rows = [header]
    for _ in range(rng.randrange(8)):
        n_cells = len(header) if rng.random() < 0.95 else rng.randrange(7)
        rows.append([rng.choice(CELLS) if rng.random() < 0.15 else b"%d" % rng.randrange(1, 9) for _ in range(n_cells)])
    start = rng.choice([b"", b"", b"", b"\xef\xbb\xbf", b"\n", b"\x00", b"# comment\n"])
    return start + end.join(delimiter.join(row) for row in rows) + rng.choice([b"", end])


def grow_array(rng):
    """Make an array that is nearly one, with a header that may lie."""
    if rng.random() < 0.4:
        return rng.choice(SOUND)
    header = f"{{'descr': {rng.choice(DESCRS)}, 'fortran_order': False, 'shape': {rng.choice(SHAPES)}}}"
    if rng.random() < 0.1:
        header = rng.choice(HEADERS)
    text = header.encode().ljust(117) + b"\n"
    magic = rng.choice([b"\x93NUMPY\x01\x00"] * 6 + [b"\x93NUMPY\x02\x00", b"\x93NUMPY\x09\x00", b"PK\x03\x04"])
    n_header = len(text) if rng.random() < 0.95 else rng.randrange(65536)
    return magic + n_header.to_bytes(2, "little") + text + bytes(rng.randrange(65))


def grow_archive(rng):
    """Make an archive of a few arrays."""
    buffer = io.BytesIO()
    names = ["times_s", "units"] if rng.random() < 0.5 else [rng.choice(NAMES) for _ in range(rng.randrange(4))]
    with warnings.catch_warnings():
        # zipfile warns of two members with one name; that is one of the things to be tried.
        warnings.simplefilter("ignore", UserWarning)
        with zipfile.ZipFile(buffer, "w", rng.choice([zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED])) as archive:
            for name in names:
                archive.writestr(name + rng.choice([".npy"] * 9 + [""]), grow_array(rng))
    return buffer.getvalue()


def grow_ledger(rng, lines):
    """Make a ledger of damaged, doubled and torn lines."""
    rows = []
    for _ in range(rng.randrange(1, 6)):
        line = bytearray(rng.choice(lines))
        kind = rng.randrange(4)
        if kind == 0:
            line[rng.randrange(len(line))] ^= 1 << rng.randrange(8)
        elif kind == 1:
            del line[rng.randrange(len(line)) :]
        elif kind == 2:
            line = bytearray(rng.choice(LINES))
        rows.append(bytes(line))
    return rng.choice([b"\n", b"\r\n", b"\n\n"]).join(rows)


@pytest.fixture
def folder():
    """A folder in memory, left when the test has grown no further than small files may make it."""
    with FUZZING["folder_in_memory"]() as made, FUZZING["bounded_memory"]():
        yield made


def tables(rng, number):
    """Give tables of spikes, options, and for every fourth a table of trials."""
    for k in range(number):
        trials = None if k % 4 else grow_table(rng).replace(b"time_s", b"start_s").replace(b"unit", b"trial")
        yield grow_table(rng), trials, rng.choice(OPTIONS)


def table_reader(folder):
    """Give what reads the inputs of `tables`."""
    path, beside = folder / "a.csv", folder / "trials.csv"

    def read(given):
        content, trials, options = given
        path.write_bytes(content)
        if trials is not None:
            beside.write_bytes(trials)
            options = {**options, "trials": beside}
        read_recording(path, **options)

    return read


@pytest.mark.slow
def test_tables_grown_from_their_grammar(folder):
    outcomes = count_outcomes(table_reader(folder), tables(random.Random(101), N_TABLES))
    assert {"read", "DataError", "TimeUnitError", "OptionError"} <= set(outcomes)


@pytest.mark.slow
def test_archives_whose_arrays_lie(folder):
    rng = random.Random(102)
    path = folder / "a.npz"

    def read(given):
        content, options = given
        path.write_bytes(content)
        read_recording(path, **options)

    outcomes = count_outcomes(read, ((grow_archive(rng), rng.choice(OPTIONS)) for _ in range(N_ARCHIVES)))
    assert {"read", "DataError", "TimeUnitError", "UnsafeFileError"} <= set(outcomes)


@pytest.mark.slow
@pytest.mark.usefixtures("folder")
def test_arrays_that_lie():
    rng = random.Random(104)
    read = lambda given: parse_npy(given[0], where="a.npy", has_fields=given[1])  # noqa: E731
    outcomes = count_outcomes(read, ((grow_array(rng), rng.random() < 0.5) for _ in range(N_ARRAYS)))
    assert {"read", "DataError", "UnsafeFileError"} == set(outcomes)


@pytest.mark.slow
def test_ledgers_of_damaged_lines(folder):
    rng = random.Random(103)
    store = Store(folder)
    for key in "abc":
        store.put(key, {"x": np.arange(3.0)})
    ledger = folder / "ledger.jsonl"
    lines = ledger.read_bytes().splitlines()
    n_found = 0

    def read(content):
        nonlocal n_found
        ledger.write_bytes(content)
        arrays = Store(folder).get(rng.choice("abc"))
        # What is found is what was put; a damaged line never gives anything else.
        assert arrays is None or arrays["x"].tolist() == [0.0, 1.0, 2.0]
        n_found += arrays is not None

    outcomes = count_outcomes(read, (grow_ledger(rng, lines) for _ in range(N_LEDGERS)))
    assert set(outcomes) == {"read"}
    assert N_LEDGERS / 10 < n_found < N_LEDGERS


@pytest.mark.parametrize(
    ("does", "name"), [(lambda: {}["planted"], "KeyError"), (lambda: time.sleep(9), "Hang"), (lambda: 1 / 0, "ZeroDiv")]
)
def test_the_fuzz_would_notice(folder, monkeypatch, does, name):
    """A reader that breaks on one kind of cell, or hangs on it, is found within 300 tables."""
    sound = table._is_number
    monkeypatch.setattr(table, "_is_number", lambda cell: does() if cell == "abc" else sound(cell))
    with pytest.raises(FUZZING["Escape"], match=rf"^{name}.*abc"):
        count_outcomes(table_reader(folder), tables(random.Random(105), 300), alarm_s=0.5)
