"""No file that is opened runs code or reaches another file (R4, R5).

Oracle: an audit hook of the interpreter, in a process of its own, that writes down every event a canary
would cause; and a secret whose bytes must not appear in what was read or said.
"""

from __future__ import annotations

import io
import json
import os
import runpy
import subprocess
import sys
import zipfile
from pathlib import Path

import h5py
import numpy as np
import pandas as pd
import pytest

from cortexrnn import Recording

SECRET = b"3.14159265358979"
WRITERS = runpy.run_path(str(Path(__file__).parents[1] / "reference" / "format_writers.py"))
TRUTH = {
    "rate_hz": 30_000,
    "units": {2: [300, 600], 4: [450, 900, 903], 9: [1500]},
    "trials": [(0, 300, 1), (600, 900, 2)],
    "observed": [(0, 3000)],
}
WATCH = """
import json, os, sys, warnings
import numpy as np, pandas as pd, xarray, h5py, scipy.io, zipfile
from cortexrnn import read_recording
from cortexrnn.errors import CortexError
from cortexrnn.runs.store import Store
import cortexrnn.spikes.readers.read, cortexrnn.spikes.readers.nwb, cortexrnn.spikes.readers.matlab5
import cortexrnn.spikes.readers.matlab73, cortexrnn.runs.guard

kind, path = sys.argv[1:]
secret = os.path.join(os.path.dirname(path), "secret.txt")
seen = []
# Modules of installed libraries may still be imported while a file is read; nothing else may be executed.
LIBRARIES = ("<frozen ", *(entry + os.sep for entry in sys.path if os.path.isabs(entry) and entry != os.getcwd()))

def watch(event, arguments):
    if event in ("os.system", "os.posix_spawn", "os.exec", "socket.connect", "pickle.find_class"):
        seen.append(event)
    elif event == "subprocess.Popen" and arguments[1][:2] != [sys.executable, "-I"]:
        seen.append(f"{event} {arguments[1]}")
    elif event == "open" and isinstance(arguments[0], (str, bytes)):
        name, mode = os.fsdecode(arguments[0]), arguments[1]
        if name == secret or (mode and set(mode) & set("wax+") and name != os.devnull):
            seen.append(f"open {name} {mode}")
    elif event == "exec" and not arguments[0].co_filename.startswith(LIBRARIES):
        seen.append(f"exec {arguments[0].co_filename}")

sys.addaudithook(watch)
warnings.simplefilter("ignore")
told = ""
try:
    if kind == "store":
        told = repr(Store(os.path.dirname(path)).get(os.path.basename(path)[:-4]))
    else:
        recording = read_recording(path, **({} if kind == "bare" else {"time_unit": "s"}))
        told = repr((recording.ticks, recording.unit_ids, recording.units.to_dict(), recording.trials.to_dict()))
except CortexError as error:
    told = f"{type(error).__name__} {error}"
except ValueError as error:
    told = f"ValueError {error}" if kind == "store" else 1 / 0
found = list(seen)
print(json.dumps({"told": told, "seen": found}))
"""


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
}


def make_stored(folder):
    """Put a pickle under a key that the ledger vouches for."""
    from cortexrnn.runs.store import Store

    Store(folder).put("key", {"a": np.array([Mischief(folder / "touched")], dtype=object)})
    return folder / "key.npz"


@pytest.mark.slow
@pytest.mark.parametrize("name", CANARIES)
def test_a_canary_runs_nothing_and_tells_no_secret(tmp_path, name):
    kind, make = CANARIES[name]
    (tmp_path / "secret.txt").write_bytes(SECRET)
    path = make(tmp_path)
    before = sorted(tmp_path.rglob("*"))
    done = subprocess.run(
        [sys.executable, "-B", "-c", WATCH, kind, str(path)], cwd=tmp_path, capture_output=True, text=True, timeout=120
    )
    assert done.returncode == 0, done.stderr
    answer = json.loads(done.stdout)
    assert answer["seen"] == []
    assert SECRET.decode() not in answer["told"]
    assert SECRET[:8].decode().replace(".", "") not in answer["told"]
    assert sorted(tmp_path.rglob("*")) == before


def test_the_watch_would_notice(tmp_path):
    # The same hook on a reader that does unpickle: a watch that sees nothing anywhere proves nothing.
    path = make_object_npz(tmp_path, "times_s")
    reader = (
        "def read_recording(path, **options):\n"
        "    np.load(path, allow_pickle=True)['times_s']\n"
        "    raise CortexError('read.')\n"
    )
    script = WATCH.replace("sys.addaudithook", f"{reader}sys.addaudithook", 1)
    done = subprocess.run([sys.executable, "-c", script, "read", str(path)], capture_output=True, text=True, timeout=60)
    assert (tmp_path / "touched").exists()
    assert "os.system" in json.loads(done.stdout)["seen"]
