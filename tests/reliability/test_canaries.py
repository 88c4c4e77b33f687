"""No file that is opened runs code or reaches another file (R4, R5).

Oracle: an audit hook of the interpreter, in a forked process, that writes down every event a canary would cause;
and a secret whose bytes must not appear in what was read or said.
"""

from __future__ import annotations

import hashlib
import io
import json
import os
import pickle
import runpy
import struct
import zipfile
import zlib
from pathlib import Path

import h5py
import numpy as np
import pandas as pd
import pytest

import cortexrnn as cx
from cortexrnn import Recording

Opener = runpy.run_path(str(Path(__file__).with_name("opened_files.py")))["Opener"]
SECRET = b"3.14159265358979"
WRITERS = runpy.run_path(str(Path(__file__).parents[1] / "reference" / "format_writers.py"))
TRUTH = {
    "rate_hz": 30_000,
    "units": {2: [300, 600], 4: [450, 900, 903], 9: [1500]},
    "trials": [(0, 300, 1), (600, 900, 2)],
    "observed": [(0, 3000)],
}
class Mischief:
    """What a pickle of it does: touch a file."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return (os.system, (f"touch {self.path}",))


def make_object_npz(folder, name):
    np.savez(folder / "canary.npz", **{name: np.array([Mischief(folder / "touched")], dtype=object)})
    return folder / "canary.npz"


def make_npz_member(folder, content, name="times_s.npy"):
    with zipfile.ZipFile(folder / "canary.npz", "w") as archive:
        archive.writestr(name, content)
    return folder / "canary.npz"


def npy(header):
    """Give an .npy file with this text as its header."""
    text = header.encode("latin-1").ljust(117) + b"\n"
    return b"\x93NUMPY\x01\x00" + len(text).to_bytes(2, "little") + text + bytes(8)


def make_pickle(folder, name):
    (folder / name).write_bytes(b"cposix\nsystem\n(S'touch " + os.fsencode(folder / "touched") + b"'\ntR.")
    return folder / name


def make_csv(folder, cell):
    (folder / "canary.csv").write_text(f"unit,time_s\n{cell},0.5\n1,0.75\n")
    return folder / "canary.csv"


def make_nwb(folder, spoil):
    """Spoil a sound NWB file."""
    trials = pd.DataFrame({"start_s": [0.0, 1.0], "stop_s": [0.5, 1.5]})
    path = Recording.from_arrays([np.array([0.1, 0.2])], trials=trials).to_nwb(folder / "canary.nwb")
    with h5py.File(folder / "other.h5", "w") as other:
        other["spike_times"] = np.full(2, float(SECRET))
    with h5py.File(path, "a") as file:
        spoil(file, folder)
    return path


def link_out(file, folder):
    del file["units/spike_times"]
    file["units/spike_times"] = h5py.ExternalLink(str(folder / "other.h5"), "/spike_times")


def link_out_with_dots(file, folder):
    del file["units/spike_times"]
    file["units/spike_times"] = h5py.ExternalLink(f"../{folder.name}/other.h5", "/spike_times")


def link_group_out(file, folder):
    del file["units"]
    file["units"] = h5py.ExternalLink(str(folder / "other.h5"), "/")


def store_out(file, folder):
    del file["units/spike_times"]
    external = [(str(folder / "secret.txt"), 0, 16)]
    file.create_dataset("units/spike_times", (2,), dtype="f8", external=external)


def map_out(file, folder):
    del file["units/spike_times"]
    layout = h5py.VirtualLayout((2,), dtype="f8")
    layout[:] = h5py.VirtualSource(str(folder / "other.h5"), "spike_times", (2,))
    file.create_virtual_dataset("units/spike_times", layout)


def pickle_in_attribute(file, folder):
    file.attrs["namespace"] = np.void(b"cposix\nsystem\n(S'touch " + os.fsencode(folder / "touched") + b"'\ntR.")


def yaml_in_specification(file, folder):
    file["specifications/core/9.9/namespace"] = f"!!python/object/apply:os.system ['touch {folder / 'touched'}']"


def make_phy(folder, spoil):
    """Spoil a sound folder of Phy."""
    path = WRITERS["write_phy"](folder, TRUTH)
    spoil(path, folder)
    return path


def code_as_parameters(path, folder):
    (path / "params.py").write_text(f"import os\nos.system('touch {folder / 'touched'}')\nsample_rate = 30000.0\n")


def code_as_rate(path, folder):
    (path / "params.py").write_text(f"sample_rate = __import__('os').system('touch {folder / 'touched'}') or 3e4\n")


def pickled_spikes(path, folder):
    np.save(path / "spike_times.npy", np.array([Mischief(folder / "touched")], dtype=object))


def make_pynapple(folder):
    """Put a pickle where pynapple keeps its metadata."""
    path = WRITERS["write_pynapple"](folder, TRUTH)
    content = io.BytesIO()
    np.save(content, np.array([Mischief(folder / "touched")], dtype=object))
    WRITERS["add_member"](path, "_metadata.npy", content.getvalue())
    return path


def make_sorting(folder):
    """Put a pickle among the properties of a sorting."""
    path = WRITERS["write_spikeinterface_folder"](folder, TRUTH)
    np.save(path / "properties" / "extra.npy", np.array([Mischief(folder / "touched")], dtype=object))
    return path


def make_vendor(folder, writer):
    """Put a pickle behind a vendor's file; in a folder in place of the largest one, and beside it."""
    path = WRITERS[writer](folder, TRUTH)
    pickled = make_pickle(path if path.is_dir() else folder, "session.pkl").read_bytes()
    if path.is_file():
        path.write_bytes(path.read_bytes() + pickled)
    else:
        max(path.iterdir(), key=lambda file: file.stat().st_size).write_bytes(pickled)
    return path


def code(folder):
    """Give Python that touches a file."""
    return f"__import__('os').system('touch {folder / 'touched'}')"


def pickled(folder):
    """Give a pickle that touches a file."""
    return pickle.dumps(Mischief(folder / "touched"), protocol=4)


def object_npy(folder):
    """Give an .npy file of pickled objects."""
    content = io.BytesIO()
    np.save(content, np.array([Mischief(folder / "touched")], dtype=object))
    return content.getvalue()


def make_neo_pickle(folder, name):
    """Write what Neo's PickleIO writes, with mischief for a description, under another name."""
    import neo

    block = neo.Block()
    block.description = Mischief(folder / "touched")
    block.segments.append(neo.Segment())
    (folder / name).write_bytes(pickle.dumps(block))
    return folder / name


def make_member(folder, writer, name):
    """Put a pickle in place of one array of a sound archive."""
    path = WRITERS[writer](folder, TRUTH)
    with zipfile.ZipFile(path) as archive:
        members = {member: archive.read(member) for member in archive.namelist()}
    with zipfile.ZipFile(path, "w") as archive:
        for member, content in {**members, f"{name}.npy": object_npy(folder)}.items():
            archive.writestr(member, content)
    return path


def make_file_of(folder, writer, name, content):
    """Replace or add one file of a sound folder."""
    path = WRITERS[writer](folder, TRUTH)
    (path / name).write_bytes(content)
    return path


def make_changed(folder, writer, old, new):
    """Replace bytes in the largest file of a vendor that holds them."""
    path = WRITERS[writer](folder, TRUTH)
    files = sorted(path.parent.glob(f"{path.stem}.*")) if path.is_file() else sorted(path.iterdir())
    file = next(one for one in files if old in one.read_bytes())
    file.write_bytes(file.read_bytes().replace(old, new, 1))
    return path


def make_nix(folder, spoil):
    """Spoil a sound NIX file."""
    path = WRITERS["write_nix"](folder, TRUTH)
    with h5py.File(path, "a") as file:
        spoil(file["data/block/groups/segment/multi_tags/train 4"], folder)
    return path


def code_as_unit(tag, folder):
    # The library of units that Neo uses evaluates the text of a unit.
    tag["positions"].attrs["unit"] = code(folder)


def pickle_as_property(tag, folder):
    tag["metadata/properties/extra"] = np.array([np.void(pickled(folder))])


def filtered(file, folder, number):
    """Let a data set be a pickle that went through a filter; HDF5 looks for unknown ones among its plug-ins."""
    del file["units/spike_times"]
    kind = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
    kind.set_chunk((2,))
    kind.set_filter(number, h5py.h5z.FLAG_OPTIONAL, (1,))
    space = h5py.h5s.create_simple((2,))
    data = h5py.h5d.create(file["units"].id, b"spike_times", h5py.h5t.IEEE_F64LE, space, kind)
    data.write_direct_chunk((0,), pickled(folder))


def code_in_json(file, folder):
    text = json.dumps({"py/object": "os.system", "py/reduce": [{"py/function": "os.system"}, [code(folder)]]})
    del file["general"]
    file["general/notes"] = json.dumps({"cortexrnn-recording-1": {"clock": text, "tick_hz": code(folder)}})


def make_matlab(folder, kind):
    """Write a MATLAB file with a function handle (class 16) or an opaque object (class 17)."""
    content = code(folder).encode()
    inner = struct.pack("<IIII", 6, 8, kind, 0) + struct.pack("<IIii", 5, 8, 1, 1) + struct.pack("<HH", 1, 1)
    inner += b"x\0\0\0" + struct.pack("<II", 1, len(content)) + content + bytes(-len(content) % 8)
    header = b"MATLAB 5.0 MAT-file".ljust(124) + b"\x00\x01IM"
    (folder / "canary.mat").write_bytes(header + struct.pack("<II", 14, len(inner)) + inner)
    return folder / "canary.mat"


def make_matlab73(folder):
    """Write a MATLAB 7.3 file whose array is a pickle."""
    with h5py.File(folder / "canary.mat", "w", userblock_size=512) as file:
        file["x"] = np.array([[np.void(pickled(folder))]])
    with open(folder / "canary.mat", "r+b") as raw:
        raw.write(b"MATLAB 7.3 MAT-file".ljust(124) + b"\x00\x02IM")
    return folder / "canary.mat"


def make_circuit(folder, text):
    (folder / "canary.toml").write_text(text)
    return folder / "canary.toml"


def make_network(folder, **about):
    """Write a saved network whose texts are code."""
    from safetensors.numpy import save

    about = {"kind": "trained", "task": repr(cx.tasks.load_task("random_dots")), "format": "1", "seed": "0", **about}
    (folder / "canary.safetensors").write_bytes(save({"readout": np.zeros((2, 3))}, metadata=about))
    return folder / "canary.safetensors"


def make_torch(folder):
    """Write what torch.save writes, an archive around a pickle, under the name of a saved network."""
    with zipfile.ZipFile(folder / "canary.safetensors", "w") as archive:
        archive.writestr("archive/data.pkl", pickled(folder))
    return folder / "canary.safetensors"


def make_comparison(folder, **attributes):
    """Write the skeleton of a saved comparison with attributes on its scores."""
    with h5py.File(folder / "scores.nc", "w") as file:
        file.create_dataset("unit", data=np.arange(3)).make_scale("unit")
        file["unit"].attrs.update(attributes)
        file.create_group("panels")
        file["summary/json"] = "{}"
    return folder


CANARIES = {
    "phy: code as parameters": ("bare", lambda f: make_phy(f, code_as_parameters)),
    "phy: code as sampling rate": ("bare", lambda f: make_phy(f, code_as_rate)),
    "phy: pickle among the times": ("bare", lambda f: make_phy(f, pickled_spikes)),
    "pynapple: pickled metadata": ("bare", make_pynapple),
    "spikeinterface: pickle among the properties": ("bare", make_sorting),
    "plexon: pickle behind": ("bare", lambda f: make_vendor(f, "write_plexon")),
    "neuroexplorer: pickle behind": ("bare", lambda f: make_vendor(f, "write_neuroexplorer")),
    "neuralynx: pickle for a file": ("bare", lambda f: make_vendor(f, "write_neuralynx")),
    "pickle called plx": ("bare", lambda f: make_pickle(f, "canary.plx")),
    "pickle called nix": ("bare", lambda f: make_pickle(f, "canary.nix")),
    "npz: pickle among the times": ("read", lambda f: make_object_npz(f, "times_s")),
    "npz: pickle among the units": ("read", lambda f: make_object_npz(f, "units")),
    "npz: pickle among the trials": ("read", lambda f: make_object_npz(f, "trial_start_s")),
    "npz: code as header": ("read", lambda f: make_npz_member(f, npy("__import__('os').system('touch touched')"))),
    "npz: object type": (
        "read",
        lambda f: make_npz_member(f, npy("{'descr': '|O', 'fortran_order': False, 'shape': (1,)}")),
    ),
    "npz: nested object type": (
        "read",
        lambda f: make_npz_member(f, npy("{'descr': [('a', '|O')], 'fortran_order': False, 'shape': (1,)}")),
    ),
    "npz: path upwards": ("read", lambda f: make_npz_member(f, b"x", "../escaped.npy")),
    "npz: absolute path": ("read", lambda f: make_npz_member(f, b"x", "/tmp/escaped.npy")),
    "npz: pickle for an array": ("read", lambda f: make_npz_member(f, b"cposix\nsystem\n(S'touch touched'\ntR.")),
    "pickle called mat": ("read", lambda f: make_pickle(f, "canary.mat")),
    "pickle called nwb": ("read", lambda f: make_pickle(f, "canary.nwb")),
    "pickle called npz": ("read", lambda f: make_pickle(f, "canary.npz")),
    "pickle called pkl": ("read", lambda f: make_pickle(f, "canary.pkl")),
    "pickle called csv": ("read", lambda f: make_pickle(f, "canary.csv")),
    "csv: code in a cell": ("read", lambda f: make_csv(f, "__import__('os').system('touch touched')")),
    "csv: formula in a cell": ("read", lambda f: make_csv(f, "=cmd|'/c touch touched'!A1")),
    "csv: a file for a cell": ("read", lambda f: make_csv(f, f"file://{f}/secret.txt")),
    "nwb: external link": ("read", lambda f: make_nwb(f, link_out)),
    "nwb: external link with dots": ("read", lambda f: make_nwb(f, link_out_with_dots)),
    "nwb: external group": ("read", lambda f: make_nwb(f, link_group_out)),
    "nwb: external storage": ("read", lambda f: make_nwb(f, store_out)),
    "nwb: virtual data set": ("read", lambda f: make_nwb(f, map_out)),
    "nwb: pickle in an attribute": ("read", lambda f: make_nwb(f, pickle_in_attribute)),
    "nwb: YAML tag in the schema": ("read", lambda f: make_nwb(f, yaml_in_specification)),
    "store: pickle in a unit of work": ("store", lambda f: make_stored(f)),
    "npz: pickle among a column of the trials": ("read", lambda f: make_object_npz(f, "trial_side")),
    "npz: a function as type": (
        "read", lambda f: make_npz_member(f, npy("{'descr': (lambda: 1)(), 'fortran_order': False, 'shape': (1,)}")),
    ),
    "npz: a comprehension as shape": (
        "read", lambda f: make_npz_member(f, npy("{'descr': '<f8', 'fortran_order': 0, 'shape': (*[1],)}")),
    ),
    "pynapple: pickled times": ("bare", lambda f: make_member(f, "write_pynapple", "t")),
    "spikeinterface: pickled spikes in an archive": (
        "bare", lambda f: make_member(f, "write_spikeinterface_npz", "spike_indexes_seg0"),
    ),
    "spikeinterface: pickled ids in an archive": (
        "bare", lambda f: make_member(f, "write_spikeinterface_npz", "unit_ids"),
    ),
    "spikeinterface: pickled rows": (
        "bare", lambda f: make_file_of(f, "write_spikeinterface_folder", "spikes.npy", object_npy(f)),
    ),
    "spikeinterface: a class in the description": (
        "bare",
        lambda f: make_file_of(
            f, "write_spikeinterface_folder", "numpysorting_info.json",
            json.dumps({"class": "os.system", "module": "os", "kwargs": {"command": code(f)}}).encode(),
        ),
    ),
    "phy: pickled clusters": (
        "bare", lambda f: make_file_of(f, "write_phy", "spike_clusters.npy", object_npy(f)),
    ),
    "phy: code among the labels": (
        "bare",
        lambda f: make_file_of(f, "write_phy", "cluster_group.tsv", f"cluster_id\tgroup\n2\t{code(f)}\n".encode()),
    ),
    "alf: pickled times": ("bare", lambda f: make_file_of(f, "write_alf", "spikes.times.npy", object_npy(f))),
    "alf: pickled depths": ("bare", lambda f: make_file_of(f, "write_alf", "clusters.depths.npy", object_npy(f))),
    "alf: pickle called parquet": ("bare", lambda f: make_file_of(f, "write_alf", "clusters.more.pqt", pickled(f))),
    "Neo pickle called mat": ("read", lambda f: make_neo_pickle(f, "canary.mat")),
    "Neo pickle called nix": ("bare", lambda f: make_neo_pickle(f, "canary.nix")),
    "Neo pickle called h5": ("bare", lambda f: make_neo_pickle(f, "canary.h5")),
    "nix: code as unit of time": ("bare", lambda f: make_nix(f, code_as_unit)),
    "nix: pickle as property": ("bare", lambda f: make_nix(f, pickle_as_property)),
    "nwb: a filter fed with a pickle": (
        "bare", lambda f: make_nwb(f, lambda file, folder: filtered(file, folder, h5py.h5z.FILTER_DEFLATE)),
    ),
    "nwb: a filter that nobody has": (
        "bare", lambda f: make_nwb(f, lambda file, folder: filtered(file, folder, 32_999)),
    ),
    "nwb: code in our own notes": ("bare", lambda f: make_nwb(f, code_in_json)),
    "mat: a function handle": ("read", lambda f: make_matlab(f, 16)),
    "mat: an opaque object": ("read", lambda f: make_matlab(f, 17)),
    "mat 7.3: a pickle for an array": ("read", make_matlab73),
    "plexon: pickle behind the first bytes": (
        "bare", lambda f: make_changed(f, "write_plexon", b"sig001", b"cos\nsystem\n(S'touch touched'\ntR."),
    ),
    "openephys: code as sampling rate": (
        "bare", lambda f: make_changed(f, "write_openephys", b"sampleRate = 30000", f"sampleRate = {code(f)}".encode()),
    ),
    "neuralynx: code as sampling rate": (
        "bare",
        lambda f: make_changed(
            f, "write_neuralynx", b"SamplingFrequency 30000", f"SamplingFrequency {code(f)}".encode()
        ),
    ),
    "tdt: code as sampling rate": ("bare", lambda f: make_changed(f, "write_tdt", b"VALUE=30000", code(f).encode())),
    "axona: code as time base": (
        "bare", lambda f: make_changed(f, "write_axona", b"timebase 10000", f"timebase {code(f)}".encode()),
    ),
    "signals: pickled times": ("signals", lambda f: make_object_npz(f, "time_s")),
    "signals: code in a cell": (
        "signals", lambda f: make_csv(f, code(f)).rename(f / "signals.csv"),
    ),
    "circuit: code as bias": (
        "circuit",
        lambda f: make_circuit(
            f, f'name = "x"\n[[populations]]\nname = "e"\nsize = 2\ntau_s = 0.1\nbias = "{code(f)}"\n'
        ),
    ),
    "circuit: a YAML tag": ("circuit", lambda f: make_circuit(f, f"!!python/object/apply:os.system ['{code(f)}']\n")),
    "circuit: pickle called toml": ("circuit", lambda f: make_pickle(f, "canary.toml")),
    "network: pickle called safetensors": ("trained", lambda f: make_pickle(f, "canary.safetensors")),
    "network: what torch.save writes": ("trained", make_torch),
    "network: code as kind of cell": (
        "trained", lambda f: make_network(f, cells=json.dumps({"kind": code(f), "n_hidden": 1, "initial": {}})),
    ),
    "network: code as task": ("trained", lambda f: make_network(f, task=code(f))),
    "checkpoint: pickle called safetensors": ("checkpoint", lambda f: make_pickle(f, "canary.safetensors")),
    "comparison: pickle called nc": ("comparison", lambda f: make_pickle(f, "scores.nc").parent),
    "comparison: pickle in an attribute": (
        "comparison", lambda f: make_comparison(f, dtype=np.void(pickled(f))),
    ),
    "comparison: code as unit of time": ("comparison", lambda f: make_comparison(f, units=f"seconds since {code(f)}")),
    "store: a bare pickle": ("store", lambda f: make_pickle_of_work(f)),
}  # fmt: skip


def make_stored(folder):
    """Put a pickle under a key that the ledger vouches for."""
    from cortexrnn.runs.store import Store

    Store(folder).put("key", {"a": np.array([Mischief(folder / "touched")], dtype=object)})
    return folder / "key.npz"


def make_pickle_of_work(folder):
    """Put a bare pickle under a key that the ledger vouches for."""
    path = make_stored(folder)
    sound, content = path.read_bytes(), pickled(folder)
    ledger = (folder / "ledger.jsonl").read_text()
    body = json.loads(ledger)["unit"].replace(hashlib.sha256(sound).hexdigest(), hashlib.sha256(content).hexdigest())
    (folder / "ledger.jsonl").write_text(json.dumps({"unit": body, "crc": zlib.crc32(body.encode())}) + "\n")
    path.write_bytes(content)
    return path


DOORS = {"read": ("recording", {"time_unit": "s"}), "bare": ("recording", {})}
TYPED = {"DataError", "UnsafeFileError", "TimeUnitError", "OptionError", "FileAccessError", "MissingFileError"}


@pytest.fixture(scope="module")
def opener():
    """A warm process that forks a watched child for every canary."""
    opener = Opener("everything")
    yield opener
    opener.close()


@pytest.mark.slow
@pytest.mark.parametrize("name", CANARIES)
def test_a_canary_runs_nothing_and_tells_no_secret(tmp_path, opener, name):
    kind, make = CANARIES[name]
    (tmp_path / "secret.txt").write_bytes(SECRET)
    path = make(tmp_path)
    before = sorted(tmp_path.rglob("*"))
    door, options = DOORS.get(kind, (kind, {}))
    answer = opener(path, door=door, is_watched=True, **options)
    assert answer.seen == []
    assert answer.kind in TYPED | {"read"}
    assert SECRET.decode() not in answer.told
    assert SECRET[:8].decode().replace(".", "") not in answer.told
    assert sorted(tmp_path.rglob("*")) == before


@pytest.mark.slow
@pytest.mark.parametrize("name", ["nwb: external link", "nix: code as unit of time", "plexon: pickle behind"])
def test_the_guarded_child_does_no_more_than_the_watched_one(tmp_path, opener, name):
    # A watched child reads in its own process: here the same files go the way that users' files go.
    _, make = CANARIES[name]
    (tmp_path / "secret.txt").write_bytes(SECRET)
    path = make(tmp_path)
    before = sorted(tmp_path.rglob("*"))
    watched, guarded = opener(path, is_watched=True), opener(path)
    assert guarded.kind == watched.kind != "read"
    assert sorted(tmp_path.rglob("*")) == before


def test_there_are_sixty_canaries():
    assert len(CANARIES) >= 60


def test_the_watch_would_notice(tmp_path, opener):
    # The same hook on a door that unpickles: a watch that sees nothing anywhere proves nothing.
    answer = opener(make_object_npz(tmp_path, "times_s"), door="unsafe", is_watched=True)
    assert (tmp_path / "touched").exists()
    events = {event.split()[0] for event in answer.seen}
    assert {"os.system", "pickle.find_class", "exec", "compile", "open", "import"} <= events
