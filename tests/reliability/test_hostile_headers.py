"""Files that declare more than they hold, bombs, and nesting without end meet a limit before memory does (R3).

Oracle: the system's own count of the peak of resident memory, at most max(256 MiB, 8 times the file), in a child
that has 10 s of processor time; and the class of the error. Every file is crafted to be believed by its header.
"""

from __future__ import annotations

import hashlib
import io
import json
import re
import runpy
import struct
import zipfile
import zlib
from pathlib import Path

import h5py
import numpy as np
import pytest
from safetensors.numpy import save

import cortexrnn as cx
from cortexrnn import Recording

HERE = Path(__file__).parent
Opener = runpy.run_path(str(HERE / "opened_files.py"))["Opener"]
WRITERS = runpy.run_path(str(HERE.parent / "reference" / "format_writers.py"))
MEBIBYTE = 2**20
FLOOR_BYTES, PER_FILE_BYTE, CPU_S = 256 * MEBIBYTE, 8, 10
HUGE, DEEP = 2**40, 10**5
TYPED = {
    "DataError", "UnsafeFileError", "TimeUnitError", "OptionError", "FileAccessError", "MissingFileError",
    "ReaderCrashed", "ReaderTimeout",
}  # fmt: skip
TRUTH = {
    "rate_hz": 30_000,
    "units": {2: [300, 600], 4: [450, 900, 903], 9: [1500]},
    "trials": [(0, 300, 1), (600, 900, 2)],
    "observed": [(0, 3000)],
}


def zeros(n_mebibytes, head=b"", has_frame=False):
    """Deflate `head` and so many MiB of zeros at a thousandth of their size, without ever holding them."""
    one = zlib.compressobj(9, zlib.DEFLATED, 15 if has_frame else -15)
    start = one.compress(head) + one.flush(zlib.Z_FULL_FLUSH)
    # After a full flush a block refers to nothing before it, so that copies of it stand in a row.
    block = one.compress(bytes(MEBIBYTE)) + one.flush(zlib.Z_FULL_FLUSH)
    return start + n_mebibytes * block + b"\x03\x00"


def npy(shape, descr="<f8", tail=bytes(64)):
    """Give an .npy file whose header says more than its 64 bytes hold."""
    return npy_header(f"{{'descr': {descr!r}, 'fortran_order': False, 'shape': {shape}}}") + tail


def npy_header(text):
    """Give an .npy header of version 2, which may be long."""
    text = text.encode().ljust(116) + b"\n"
    return b"\x93NUMPY\x02\x00" + struct.pack("<I", len(text)) + text


def make_npz(folder, **members):
    """Write an archive of raw members."""
    with zipfile.ZipFile(folder / "hostile.npz", "w") as archive:
        for name, content in members.items():
            archive.writestr(f"{name}.npy", content)
    return folder / "hostile.npz"


def zip_of(*entries):
    """Write an archive by hand; an entry is name, deflated bytes, and the size that it claims to have."""
    body, directory = b"", b""
    for name, deflated, n_bytes in entries:
        common = struct.pack("<HHHHHIIIHH", 20, 0, 8, 0, 33, 0, len(deflated), n_bytes, len(name), 0)
        directory += b"PK\x01\x02\x14\x00" + common + struct.pack("<HHHII", 0, 0, 0, 0, len(body)) + name
        body += b"PK\x03\x04" + common + name + deflated
    n = len(entries)
    return body + directory + b"PK\x05\x06" + struct.pack("<HHHHIIH", 0, 0, n, n, len(directory), len(body), 0)


def make_zip_bomb(folder, claimed=None, name=b"times_s.npy"):
    """Write 1 GiB of zeros in 1 MiB, with its true size in the directory or a claimed one."""
    head = npy_header(f"{{'descr': '<f8', 'fortran_order': False, 'shape': ({2**27},)}}")
    content = zip_of((name, zeros(1024, head), claimed or len(head) + 2**30))
    (folder / "hostile.npz").write_bytes(content)
    return folder / "hostile.npz"


def make_shared_bomb(folder):
    """Write an archive with a thousand names for the same 100 MiB."""
    deflated = zeros(100)
    content = bytearray(zip_of((b"0000.npy", deflated, 100 * MEBIBYTE)))
    start = content.index(b"PK\x01\x02")
    entry, body = bytes(content[start : content.index(b"PK\x05\x06")]), bytes(content[:start])
    entries = b"".join(entry.replace(b"0000.npy", b"%04d.npy" % k) for k in range(1000))
    end = b"PK\x05\x06" + struct.pack("<HHHHIIH", 0, 0, 1000, 1000, len(entries), start, 0)
    (folder / "hostile.npz").write_bytes(body + entries + end)
    return folder / "hostile.npz"


def make_sorting(folder, writer, name, content):
    """Replace one file of a sound folder."""
    path = WRITERS[writer](folder, TRUTH)
    (path / name).write_bytes(content)
    return path


def make_archive(folder, writer, name):
    """Replace one array of a sound archive by one that declares 2**40 values."""
    path = WRITERS[writer](folder, TRUTH)
    with zipfile.ZipFile(path) as archive:
        members = {member.removesuffix(".npy"): archive.read(member) for member in archive.namelist()}
    return make_npz(folder, **{**members, name: npy(f"({HUGE},)")})


def make_nwb(folder, name, **how):
    """Replace one data set of a sound NWB file."""
    path = Recording.from_arrays([np.array([0.1, 0.2])]).to_nwb(folder / "hostile.nwb")
    with h5py.File(path, "a") as file:
        if name in file:
            del file[name]
        add_data(file, name, **how)
    return path


def add_data(file, name, *, shape=(HUGE,), dtype="f8", n_mebibytes=0):
    """Add a data set of which nothing is written, or so many MiB of compressed zeros."""
    chunks = (2**20,) + shape[1:]
    if not n_mebibytes:
        return file.create_dataset(name, shape, dtype=dtype, chunks=chunks)
    data = file.create_dataset(name, (n_mebibytes * 2**17,), dtype="f8", chunks=chunks, compression="gzip")
    block = zlib.compress(bytes(8 * 2**20), 9)
    for k in range(n_mebibytes // 8):
        data.id.write_direct_chunk((k * 2**20,), block)
    return data


def make_deep_nwb(folder):
    """Nest groups 10 000 deep; deeper ones take long to write."""
    path = folder / "hostile.nwb"
    with h5py.File(path, "w", libver="latest") as file:
        group = file.create_group("units")
        for _ in range(10_000):
            group = group.create_group("a")
    return path


def make_nix(folder):
    path = WRITERS["write_nix"](folder, TRUTH)
    with h5py.File(path, "a") as file:
        positions = file["data/block/groups/segment/multi_tags/train 4/positions"]
        del positions["data"]
        add_data(positions, "data")
    return path


MAT_HEADER = b"MATLAB 5.0 MAT-file".ljust(124) + b"\x00\x01IM"


def matlab_matrix(kind, dims, n_rest, name=b"x"):
    """Give the head of a MATLAB 5 array of which `n_rest` bytes are to follow."""
    body = struct.pack("<IIII", 6, 8, kind, 0) + struct.pack("<II", 5, 4 * len(dims)) + struct.pack("<ii", *dims)
    body += struct.pack("<HH", 1, len(name)) + name.ljust(4, b"\0")
    return struct.pack("<II", 14, (len(body) + n_rest) % 2**32) + body


def make_matlab(folder, body):
    (folder / "hostile.mat").write_bytes(MAT_HEADER + body)
    return folder / "hostile.mat"


def matlab_bomb():
    """Give a raster of 1 GiB of zeros, compressed."""
    head = matlab_matrix(6, (1024, 2**17), 8 + 2**30) + struct.pack("<II", 9, 2**30)
    deflated = zeros(1024, head, has_frame=True)
    return struct.pack("<II", 15, len(deflated)) + deflated


def nested_cells():
    """Give cells in cells, 10**5 of them."""
    head = len(matlab_matrix(1, (1, 1), 0))
    return b"".join(matlab_matrix(1, (1, 1), (DEEP - k) * head) for k in range(DEEP + 1))


def make_matlab73(folder, spoil):
    """Write a MATLAB 7.3 file, which is HDF5 behind 512 bytes of text."""
    path = folder / "hostile.mat"
    with h5py.File(path, "w", userblock_size=512) as file:
        spoil(file)
    with open(path, "r+b") as raw:
        raw.write(b"MATLAB 7.3 MAT-file".ljust(124) + b"\x00\x02IM")
    return path


def cell_of_itself(file):
    """Put a cell into itself."""
    cell = file.create_dataset("x", (1, 1), dtype=h5py.ref_dtype)
    cell[0, 0] = cell.ref
    cell.attrs["MATLAB_class"] = np.bytes_("cell")


def make_vendor(folder, writer, at, content):
    """Overwrite some bytes of a vendor's sound file."""
    path = WRITERS[writer](folder, TRUTH)
    file = path if path.is_file() else max(path.iterdir(), key=lambda one: one.stat().st_size)
    data = bytearray(file.read_bytes())
    data[at : at + len(content)] = content
    file.write_bytes(data)
    return path


def make_text(folder, text, name="hostile.csv"):
    (folder / name).write_text(text)
    return folder / name


def make_axona(folder):
    path = WRITERS["write_axona"](folder, TRUTH)
    tetrode = path.with_suffix(".1")
    tetrode.write_bytes(re.sub(rb"num_spikes \d+", b"num_spikes %d" % HUGE, tetrode.read_bytes()))
    return path


def make_comparison(folder, spoil, text="{}"):
    """Write the skeleton of a saved comparison and spoil it."""
    with h5py.File(folder / "scores.nc", "w") as file:
        file.create_dataset("unit", data=np.arange(3)).make_scale("unit")
        file.create_group("panels")
        file["summary/json"] = text
        spoil(file)
    return folder


def make_stored(folder, content):
    """Put a file under a key that the ledger vouches for."""
    (folder / "key.npz").write_bytes(content)
    body = f"key {hashlib.sha256(content).hexdigest()}"
    (folder / "ledger.jsonl").write_text(json.dumps({"unit": body, "crc": zlib.crc32(body.encode())}) + "\n")
    return folder / "key.npz"


def make_saved(folder, **about):
    """Write a saved network whose texts are hostile."""
    task = cx.tasks.load_task("random_dots")
    arrays = {"readout": np.zeros((2, 3)), "history": np.zeros((1, 5)), "theta_before": np.zeros(9)}
    about = {"kind": "trained", "task": repr(task), "format": "1", "seed": "0", **about}
    (folder / "hostile.safetensors").write_bytes(save(arrays, metadata=about))
    return folder / "hostile.safetensors"


def make_safetensors(folder, header, n_header=None):
    """Write a safetensors file by hand."""
    content = struct.pack("<Q", len(header) if n_header is None else n_header) + header
    (folder / "hostile.safetensors").write_bytes(content)
    return folder / "hostile.safetensors"


def stored_zip(content):
    """Give the bytes of an archive with one raw member."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr("a.npy", content)
    return buffer.getvalue()


CIRCUIT = 'name = "x"\ndt_s = 0.01\n\n[[populations]]\nname = "e"\nsize = {size}\ntau_s = 0.1\n'
CELLS = json.dumps({"kind": "gru", "n_hidden": 200_000, "initial": {}})
MANY = f"({HUGE},)"
MAT = {"variable": "x", "sample_rate_hz": 1000}
# What is opened by the doors after these needs more than the readers.
READERS = ("recording", "signals")
FILES = {
    "npz: 2**40 spikes": ("recording", lambda f: make_npz(f, times_s=npy(MANY)), {}),
    "npz: a product beyond 2**64": ("recording", lambda f: make_npz(f, times_s=npy(f"({2**33}, {2**33})")), {}),
    "npz: 2**40 labels": ("recording", lambda f: make_npz(f, times_s=npy("(8,)"), units=npy(MANY, "<i8")), {}),
    "npz: text of 2**30 characters": ("recording", lambda f: make_npz(f, times_s=npy("(1,)", f"<U{2**29}")), {}),
    "npz: no values in 2**62 rows": ("recording", lambda f: make_npz(f, times_s=npy(f"({2**62}, 0)", tail=b"")), {}),
    "npz: 10**5 brackets": ("recording", lambda f: make_npz(f, times_s=npy_header("(" * DEEP + ")" * DEEP)), {}),
    "npz: 10**5 signs": ("recording", lambda f: make_npz(f, times_s=npy_header("-" * DEEP + "1")), {}),
    "npz: 1 GB in 1 MB": ("recording", make_zip_bomb, {}),
    "npz: 1 GB in 1 MB, said to be 1 kB": ("recording", lambda f: make_zip_bomb(f, 1000), {}),
    "npz: a thousand times the same 100 MB": ("recording", make_shared_bomb, {}),
    "signals: 2**40 times": ("signals", lambda f: make_npz(f, time_s=npy(MANY), x=npy("(8,)")), {}),
    "signals: 1 GB in 1 MB": ("signals", lambda f: make_zip_bomb(f, name=b"time_s.npy"), {}),
    "pynapple: 2**40 spikes": ("recording", lambda f: make_archive(f, "write_pynapple", "t"), {}),
    "spikeinterface: 2**40 spikes in an archive": (
        "recording", lambda f: make_archive(f, "write_spikeinterface_npz", "spike_indexes_seg0"), {},
    ),
    "spikeinterface: 2**40 rows": (
        "recording", lambda f: make_sorting(f, "write_spikeinterface_folder", "spikes.npy", npy(MANY)), {},
    ),
    "spikeinterface: 10**5 brackets": (
        "recording",
        lambda f: make_sorting(f, "write_spikeinterface_folder", "numpysorting_info.json", b"[" * DEEP), {},
    ),
    "phy: 2**40 spikes": ("recording", lambda f: make_sorting(f, "write_phy", "spike_times.npy", npy(MANY)), {}),
    "alf: 2**40 spikes": ("recording", lambda f: make_sorting(f, "write_alf", "spikes.times.npy", npy(MANY)), {}),
    "nwb: 2**40 spikes": ("recording", lambda f: make_nwb(f, "units/spike_times"), {}),
    "nwb: 2**40 units": ("recording", lambda f: make_nwb(f, "units/id", dtype="i8"), {}),
    "nwb: 2**40 texts": ("recording", lambda f: make_nwb(f, "units/id", dtype=h5py.string_dtype()), {}),
    "nwb: 1 GB in 1 MB": ("recording", lambda f: make_nwb(f, "units/spike_times", n_mebibytes=1024), {}),
    "nwb: 10 000 groups deep": ("recording", make_deep_nwb, {}),
    "nix: 2**40 spikes": ("recording", make_nix, {}),
    "mat: 2**40 bins": (
        "recording", lambda f: make_matlab(f, matlab_matrix(6, (2**20, 2**20), 2**31) + bytes(64)), MAT,
    ),
    "mat: 1 GB in 1 MB": ("recording", lambda f: make_matlab(f, matlab_bomb()), MAT),
    "mat: 10**5 cells deep": ("recording", lambda f: make_matlab(f, nested_cells()), MAT),
    "mat 7.3: 2**40 bins": ("recording", lambda f: make_matlab73(f, lambda file: add_data(file, "x")), MAT),
    "mat 7.3: 1 GB in 1 MB": (
        "recording", lambda f: make_matlab73(f, lambda file: add_data(file, "x", n_mebibytes=1024)), MAT,
    ),
    "mat 7.3: a cell in itself": ("recording", lambda f: make_matlab73(f, cell_of_itself), MAT),
    "plexon: 2**31 channels": (
        "recording", lambda f: make_vendor(f, "write_plexon", 140, struct.pack("<i", 2**31 - 1)), {},
    ),
    "blackrock: 2**32 headers": (
        "recording", lambda f: make_vendor(f, "write_blackrock", 332, struct.pack("<I", 2**32 - 1)), {},
    ),
    "neuroexplorer: 2**31 variables": (
        "recording", lambda f: make_vendor(f, "write_neuroexplorer", 280, struct.pack("<i", 2**31 - 1)), {},
    ),
    "axona: 2**40 spikes": ("recording", make_axona, {}),
    "csv: a number of 10**6 digits": (
        "recording", lambda f: make_text(f, "unit,time_s\n1," + 10**6 * "9" + "\n"), {},
    ),
    "csv: 10**5 quotes": ("recording", lambda f: make_text(f, "unit,time_s\n" + '"' * (DEEP + 1)), {}),
    "circuit: 10**5 brackets": ("circuit", lambda f: make_text(f, "name = " + "[" * DEEP, "hostile.toml"), {}),
    "circuit: 10**5 tables": ("circuit", lambda f: make_text(f, "name = " + "{a = " * DEEP, "hostile.toml"), {}),
    "circuit: a key of 10**5 parts": (
        "circuit", lambda f: make_text(f, "a" + ".a" * DEEP + " = 1", "hostile.toml"), {},
    ),
    "circuit: a quoted header of 10**5 parts": (
        "circuit", lambda f: make_text(f, '[["a"' + " . 'b'" * DEEP + "]]", "hostile.toml"), {},
    ),
    "comparison: 2**40 scores": ("comparison", lambda f: make_comparison(f, lambda file: add_data(file, "x")), {}),
    "comparison: 1 GB in 1 MB": (
        "comparison", lambda f: make_comparison(f, lambda file: add_data(file, "x", n_mebibytes=1024)), {},
    ),
    "comparison: 10**5 brackets": ("comparison", lambda f: make_comparison(f, len, "[" * DEEP), {}),
    "comparison: a group in itself": (
        "comparison",
        lambda f: make_comparison(f, lambda file: file["panels"].__setitem__("again", file["panels"])),
        {},
    ),
    "store: 2**40 values": ("store", lambda f: make_stored(f, stored_zip(npy(MANY))), {}),
    "store: 1 GB in 1 MB": ("store", lambda f: make_stored(f, make_zip_bomb(f).read_bytes()), {}),
    "store: brackets for a header": ("store", lambda f: make_stored(f, stored_zip(npy_header("(" * 9000))), {}),
    "network: a header of 2**60 bytes": ("trained", lambda f: make_safetensors(f, b"{}", 2**60), {}),
    "network: 10**5 brackets for a header": ("trained", lambda f: make_safetensors(f, b'{"a":' + b"[" * DEEP), {}),
    "network: 10**5 brackets for cells": ("trained", lambda f: make_saved(f, cells="[" * DEEP), {}),
    "network: 200 000 cells": ("trained", lambda f: make_saved(f, cells=CELLS), {}),
    "network: a circuit of 30 000 units": (
        "trained", lambda f: make_saved(f, circuit=CIRCUIT.format(size=30_000), trainable="{}"), {},
    ),
    "checkpoint: 2**40 parameters": (
        "checkpoint",
        lambda f: make_safetensors(
            f, b'{"theta":{"dtype":"F64","shape":[%d],"data_offsets":[0,%d]}}' % (HUGE, 8 * HUGE)
        ),
        {},
    ),
}  # fmt: skip


@pytest.fixture(scope="module")
def openers():
    """One process with the readers alone, one with everything."""
    both = {True: Opener("reading"), False: Opener("everything")}
    yield both
    for opener in both.values():
        opener.close()


def size_of(path):
    """Give the bytes of a file, or of all files of a folder."""
    files = [path] if path.is_file() else [one for one in path.rglob("*") if one.is_file()]
    return sum(one.stat().st_size for one in files)


@pytest.mark.slow
@pytest.mark.parametrize("name", FILES)
def test_a_hostile_file_meets_a_limit_before_memory_does(tmp_path, openers, name):
    door, make, options = FILES[name]
    path = make(tmp_path)
    answer = openers[door in READERS](path, door=door, cpu_s=CPU_S, **options)
    # A unit of work that is not what it should be counts as absent, and is done again.
    assert answer.kind in TYPED or (door == "store" and answer.told == "None"), answer
    assert answer.peak_bytes <= max(FLOOR_BYTES, PER_FILE_BYTE * size_of(path))
    assert answer.peak_bytes > 16 * MEBIBYTE


def test_the_count_of_memory_would_notice(tmp_path, openers):
    # A sound archive of 40 million bins, which nobody refuses: a count that never grows proves nothing.
    np.savez(tmp_path / "large.npz", times_s=np.zeros(12 * MEBIBYTE))
    before = openers[True](make_text(tmp_path, "unit,time_s\n1,0.5\n"))
    answer = openers[True](tmp_path / "large.npz")
    assert (before.kind, answer.kind) == ("read", "read")
    assert answer.peak_bytes > before.peak_bytes + 96 * MEBIBYTE


def test_there_are_forty_files_that_are_small_and_declare_much(tmp_path):
    assert len(FILES) >= 40
    bomb = make_zip_bomb(tmp_path)
    assert size_of(bomb) < 1.2 * MEBIBYTE
    with zipfile.ZipFile(bomb) as archive, archive.open("times_s.npy") as member:
        # The bomb is one: its first 8 MiB inflate to zeros.
        assert member.read(8 * MEBIBYTE)[200:] == bytes(8 * MEBIBYTE - 200)
