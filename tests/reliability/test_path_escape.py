"""No file that is opened leads to another one (R5).

Oracle: a secret beside the file, in every form that its format could lead to; neither its bytes nor its numbers
appear in what was read or said, nothing is written, and an audit hook sees nobody open it.
"""

from __future__ import annotations

import json
import runpy
import stat
import struct
import zipfile
from pathlib import Path

import h5py
import numpy as np
import pandas as pd
import pytest

import cortexrnn as cx
from cortexrnn import Recording

HERE = Path(__file__).parent
Opener = runpy.run_path(str(HERE / "opened_files.py"))["Opener"]
WRITERS = runpy.run_path(str(HERE.parent / "reference" / "format_writers.py"))
TYPED = {"DataError", "UnsafeFileError", "TimeUnitError", "OptionError", "FileAccessError", "MissingFileError"}
NUMBER = 3.14159265358979
SECRET = repr(NUMBER).encode()
# As ticks of a nanosecond it is this.
TOLD_AS = (SECRET.decode(), "3.14159", "3141592654", "314159")
TRUTH = {
    "rate_hz": 30_000,
    "units": {2: [300, 600], 4: [450, 900, 903], 9: [1500]},
    "trials": [(0, 300, 1), (600, 900, 2)],
    "observed": [(0, 3000)],
}


def link(file, name, folder):
    """Link to a data set of another file."""
    file[name] = h5py.ExternalLink(str(folder / "other.h5"), "/secret")


def link_upwards(file, name, folder):
    """Link to it by dots."""
    file[name] = h5py.ExternalLink(f"../{folder.name}/./other.h5", "/secret")


def link_twice(file, name, folder):
    """Link softly to a link that leads out."""
    file["way"] = h5py.ExternalLink(str(folder / "other.h5"), "/")
    file[name] = h5py.SoftLink("/way/secret")


def store(file, name, folder):
    """Store the values in a file of bytes."""
    file.create_dataset(name, (2,), dtype="f8", external=[(str(folder / "secret.txt"), 0, 16)])


def store_upwards(file, name, folder):
    """Store the values in a file of bytes that is named by dots."""
    file.create_dataset(name, (2,), dtype="f8", external=[(f"../{folder.name}/secret.txt", 0, 16)])


def map_to(file, name, folder):
    """Map a data set onto another file."""
    layout = h5py.VirtualLayout((2,), dtype="f8")
    layout[:] = h5py.VirtualSource(str(folder / "other.h5"), "secret", (2,))
    file.create_virtual_dataset(name, layout)


ESCAPES = {
    "an external link": link,
    "an external link upwards": link_upwards,
    "a soft link to an external one": link_twice,
    "external storage": store,
    "external storage upwards": store_upwards,
    "a virtual data set": map_to,
}


def make_nwb(folder, escape, name):
    trials = pd.DataFrame({"start_s": [0.0, 1.0], "stop_s": [0.5, 1.5]})
    path = Recording.from_arrays([np.array([0.1, 0.2])], trials=trials).to_nwb(folder / "file.nwb")
    with h5py.File(path, "a") as file:
        if name in file:
            del file[name]
        escape(file, name, folder)
    return path


def make_nix(folder, escape):
    path = WRITERS["write_nix"](folder, TRUTH)
    with h5py.File(path, "a") as file:
        name = "data/block/groups/segment/multi_tags/train 4/positions/data"
        del file[name]
        escape(file, name, folder)
    return path


def make_matlab73(folder, escape):
    path = folder / "file.mat"
    with h5py.File(path, "w", userblock_size=512) as file:
        escape(file, "x", folder)
    with open(path, "r+b") as raw:
        raw.write(b"MATLAB 7.3 MAT-file".ljust(124) + b"\x00\x02IM")
    return path


def make_comparison(folder, escape, name="x", at="scores.nc"):
    """Write the skeleton of a saved comparison, and let one of its files lead out."""
    with h5py.File(folder / "scores.nc", "w") as file:
        file.create_dataset("unit", data=np.arange(2)).make_scale("unit")
        file.create_group("panels")
        file["summary/json"] = "{}"
    with h5py.File(folder / at, "a") as file:
        if name in file:
            del file[name]
        escape(file, name, folder)
    return folder


def make_archive(folder, name, mode=None):
    """Write a sound archive with a further member of this name, a symbolic link if the mode says so."""
    with zipfile.ZipFile(folder / "file.npz", "w") as archive:
        np.savez(folder / "sound.npz", times_s=np.array([0.1, 0.2]))
        with zipfile.ZipFile(folder / "sound.npz") as sound:
            archive.writestr("times_s.npy", sound.read("times_s.npy"))
        member = zipfile.ZipInfo(name)
        member.external_attr = (mode or stat.S_IFREG | 0o644) << 16
        archive.writestr(member, str(folder / "secret.txt"))
    (folder / "sound.npz").unlink()
    return folder / "file.npz"


def make_linked(folder, writer, name, target="secret.txt"):
    """Replace one file of a sound folder by a symbolic link."""
    path = WRITERS[writer](folder, TRUTH)
    (path / name).unlink(missing_ok=True)
    (path / name).symlink_to(folder / target)
    return path


def make_symlink(folder, name):
    """Make a symbolic link to the secret under the name of another format."""
    (folder / name).symlink_to(folder / "secret.txt")
    return folder / name


def make_manifest(folder, writer, name, text):
    """Name the secret in a file that says where others lie."""
    path = WRITERS[writer](folder, TRUTH)
    (path / name).write_text(text)
    return path


def make_circuit(folder, line):
    text = f'name = "x"\n[[populations]]\nname = "e"\nsize = 2\ntau_s = 0.1\n{line}\n'
    (folder / "file.toml").write_text(text)
    return folder / "file.toml"


def make_network(folder, **about):
    from safetensors.numpy import save

    about = {"kind": "trained", "task": repr(cx.tasks.load_task("random_dots")), "format": "1", "seed": "0", **about}
    (folder / "file.safetensors").write_bytes(save({"readout": np.zeros((2, 3))}, metadata=about))
    return folder / "file.safetensors"


def make_safetensors(folder, name):
    """Write a safetensors file whose array claims to lie in a file."""
    head = json.dumps({name: {"dtype": "F64", "shape": [2], "data_offsets": [0, 16], "path": name}}).encode()
    (folder / "file.safetensors").write_bytes(struct.pack("<Q", len(head)) + head + bytes(16))
    return folder / "file.safetensors"


MAT = {"variable": "x", "time_unit": "s"}
CASES = {
    **{
        f"nwb: {name}": ("recording", lambda f, e=escape: make_nwb(f, e, "units/spike_times"), {})
        for name, escape in ESCAPES.items()
    },
    **{
        f"mat 7.3: {name}": ("recording", lambda f, e=escape: make_matlab73(f, e), MAT)
        for name, escape in ESCAPES.items()
    },
    **{
        f"comparison: {name}": ("comparison", lambda f, e=escape: make_comparison(f, e), {})
        for name, escape in ESCAPES.items()
    },
    "nix: an external link": ("recording", lambda f: make_nix(f, link), {}),
    "nix: external storage": ("recording", lambda f: make_nix(f, store), {}),
    "nix: a virtual data set": ("recording", lambda f: make_nix(f, map_to), {}),
    "nwb: an external link among the trials": (
        "recording", lambda f: make_nwb(f, link, "intervals/trials/start_time"), {},
    ),
    "nwb: an external link that nobody needs": ("recording", lambda f: make_nwb(f, link, "scratch"), {}),
    "comparison: a summary that is a link": (
        "comparison", lambda f: make_comparison(f, link, name="summary/json"), {},
    ),
    "comparison: a link in another of its files": (
        "comparison", lambda f: make_comparison(f, link, at="read_off.nc"), {},
    ),
    "npz: a path upwards": ("recording", lambda f: make_archive(f, "../escaped.npy"), {}),
    "npz: an absolute path": ("recording", lambda f: make_archive(f, "/tmp/escaped.npy"), {}),
    "npz: a symbolic link": ("recording", lambda f: make_archive(f, "units.npy", stat.S_IFLNK | 0o777), {}),
    "signals: a path upwards": ("signals", lambda f: make_archive(f, "../escaped.npy"), {}),
    "phy: an absolute path in the parameters": (
        "recording",
        lambda f: make_manifest(f, "write_phy", "params.py", f"dat_path = '{f}/secret.txt'\nsample_rate = 30000.\n"),
        {},
    ),
    "phy: a path upwards in the parameters": (
        "recording",
        lambda f: make_manifest(f, "write_phy", "params.py", "dat_path = '../secret.txt'\nsample_rate = 30000.\n"), {},
    ),
    "spikeinterface: an absolute path in the description": (
        "recording",
        lambda f: make_manifest(
            f, "write_spikeinterface_folder", "si_folder.json", json.dumps({"file_path": f"{f}/secret.txt"})
        ),
        {},
    ),
    "circuit: weights in a file": (
        "circuit",
        lambda f: make_circuit(
            f, f'[[projections]]\nsource = "e"\ntarget = "e"\nweights = "{f}/secret.txt"'
        ),
        {},
    ),
    "circuit: a key that names a file": ("circuit", lambda f: make_circuit(f, f'include = "{f}/secret.txt"'), {}),
    "network: a circuit in a file": (
        "trained", lambda f: make_network(f, circuit=f"{f}/secret.txt", trainable="{}"), {},
    ),
    "network: an array in a file": ("trained", lambda f: make_safetensors(f, "../secret.txt"), {}),
    "checkpoint: an array in a file": ("checkpoint", lambda f: make_safetensors(f, "/etc/hostname"), {}),
}  # fmt: skip
# These are opened, as whoever keeps data in git-annex needs; the secret must not be told for all that.
FOLLOWED = {
    "phy: times": ("recording", lambda f: make_linked(f, "write_phy", "spike_times.npy")),
    "phy: parameters": ("recording", lambda f: make_linked(f, "write_phy", "params.py")),
    "alf: clusters": ("recording", lambda f: make_linked(f, "write_alf", "spikes.clusters.npy")),
    "spikeinterface: description": (
        "recording", lambda f: make_linked(f, "write_spikeinterface_folder", "numpysorting_info.json"),
    ),
    "neuralynx: spikes": ("recording", lambda f: make_linked(f, "write_neuralynx", "SE1.nse")),
    "circuit": ("circuit", lambda f: make_symlink(f, "file.toml")),
    "network": ("trained", lambda f: make_symlink(f, "file.safetensors")),
    "comparison": ("comparison", lambda f: make_symlink(f, "scores.nc").parent),
    "nwb": ("recording", lambda f: make_symlink(f, "file.nwb")),
}  # fmt: skip


@pytest.fixture(scope="module")
def opener():
    """A warm process that forks a watched child for every file."""
    opener = Opener("everything")
    yield opener
    opener.close()


@pytest.fixture
def folder(tmp_path):
    """A folder with the secret as text and as HDF5."""
    (tmp_path / "secret.txt").write_bytes(SECRET)
    with h5py.File(tmp_path / "other.h5", "w") as file:
        file["secret"] = np.full(2, NUMBER)
        file["json"] = SECRET.decode()
    return tmp_path


def check_untold(answer, folder, before):
    """Fail where the secret was told, or anything was written."""
    # Where a file lies may hold the digits by chance, and the bytes of the text are a number of their own.
    told = answer.told.replace(str(folder), "")
    for text in (*TOLD_AS, repr(float(np.frombuffer(SECRET[:8])[0]))[:8]):
        assert text not in told
    assert sorted(folder.rglob("*")) == before


@pytest.mark.slow
@pytest.mark.parametrize("name", CASES)
def test_a_file_that_leads_to_another_tells_nothing_of_it(folder, opener, name):
    door, make, options = CASES[name]
    path = make(folder)
    before = sorted(folder.rglob("*"))
    # The hook looks for a secret beside what is opened.
    answer = opener(path, door=door, is_watched=True, **options)
    assert answer.kind in TYPED | {"read"}
    assert answer.seen == []
    check_untold(answer, folder, before)
    if any(escape in name for escape in ("link", "storage", "virtual")):
        assert answer.kind in ("UnsafeFileError", "DataError")


@pytest.mark.slow
@pytest.mark.parametrize("name", FOLLOWED)
def test_a_symbolic_link_to_a_secret_tells_nothing_of_it(folder, opener, name):
    door, make = FOLLOWED[name]
    path = make(folder)
    before = sorted(folder.rglob("*"))
    answer = opener(path, door=door)
    assert answer.kind in TYPED
    check_untold(answer, folder, before)


@pytest.mark.parametrize("name", ESCAPES)
def test_the_escapes_lead_to_the_secret(folder, monkeypatch, name):
    # By h5py, which follows them: a link that leads nowhere proves nothing. Storage counts from where one stands.
    monkeypatch.chdir(folder)
    path = make_nwb(folder, ESCAPES[name], "units/spike_times")
    with h5py.File(path) as file:
        values = file["units/spike_times"][()]
    assert values.tobytes() in (np.full(2, NUMBER).tobytes(), SECRET[:16].ljust(16, b"\0"))


def test_there_are_twenty_four_cases():
    assert len(CASES) >= 24
