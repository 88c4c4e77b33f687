"""What a file or folder is: by its content first, then by its ending."""

from __future__ import annotations

from pathlib import Path

from cortexrnn.errors import DataError, FileAccessError, MissingFileError
from cortexrnn.spikes.readers.alf import is_alf
from cortexrnn.spikes.readers.phy import SPIKE_TIMES
from cortexrnn.spikes.readers.spikeinterface_files import NPZ_CACHE, NUMPY_INFO

_HDF5_MAGIC = b"\x89HDF\r\n\x1a\n"
_MATLAB_5, _MATLAB_73 = b"MATLAB 5.0 MAT-file", b"MATLAB 7.3 MAT-file"
_ZIP_MAGIC = (b"PK\x03\x04", b"PK\x05\x06")
# HDF5 may start after a user block of 512 bytes, 1024, ...; MATLAB 7.3 uses the first.
_USER_BLOCKS = (0, 512, 1024, 2048)
_TEXT_ENDINGS = (".csv", ".tsv", ".txt", ".dat")
_OWN_ENDINGS = (".nwb", ".nix", ".mat", ".npz", ".h5", ".hdf5", ".plx", ".nex", ".smr", ".set")
# First bytes of vendors' files; a .smr file has its maker's name after two bytes.
_VENDORS = {
    b"PLEX": "plexon",
    b"NEURALEV": "blackrock",
    b"BREVENTS": "blackrock",
    b"NEX1": "neuroexplorer",
}
_CED = b"(C) CED"
_AXONA = b"trial_date "
_NEURALYNX = b"######## Neuralynx"
_NEURALYNX_SPIKES = (".nse", ".ntt")
# Formats that Neo reads only with a library of the vendor, which would be loaded or fetched as code.
_REFUSED = {
    ".pl2": "Plexon's .pl2 needs a library of the vendor: export it as .plx or NeuroExplorer .nex.",
    ".smrx": "Spike2's .smrx needs a library of the vendor: export it as .smr (32 bits) or MATLAB.",
    ".nex5": "NeuroExplorer's .nex5 has no reader in Neo: save it as .nex.",
    ".pkl": "Pickles run code when they are opened: export the spikes as NWB or CSV.",
}
KNOWN = (
    "NWB (.nwb), CSV or TSV (.csv, .tsv, .txt), NumPy, pynapple and SpikeInterface (.npz), MATLAB (.mat), NIX (.nix), "
    "Plexon (.plx), Blackrock (.nev), Neuralynx (.nse, .ntt), NeuroExplorer (.nex), Spike2 (.smr) and Axona (.set)"
)
FOLDERS = "Phy or Kilosort, ALF, SpikeInterface, Neuralynx, Open Ephys (.spikes) and TDT"


def detect(path: Path) -> str:
    """Tell the format of a file or folder.

    Parameters
    ----------
    path : Path
        File or folder.

    Returns
    -------
    str
        Name of the reader.

    Raises
    ------
    MissingFileError
        If there is nothing.
    FileAccessError
        If it may not be read, or is a folder of no known format.
    DataError
        If it is empty or of an unknown format.
    """
    if path.is_dir():
        return _folder(path)
    try:
        with open(path, "rb") as file:
            head = file.read(max(_USER_BLOCKS) + len(_HDF5_MAGIC))
    except FileNotFoundError:
        raise MissingFileError("there is no such file.", where=str(path), hint="Check the spelling.") from None
    except OSError as error:
        raise FileAccessError(f"the file cannot be read: {error.strerror}.", where=str(path)) from None
    if not head:
        raise DataError("the file is empty.", where=str(path))
    return _file(head, path.suffix.lower(), str(path))


def _file(head: bytes, ending: str, where: str) -> str:
    """Tell the format of a file from its first bytes and its ending."""
    if head.startswith(_MATLAB_5):
        return "matlab5"
    if any(head[at:].startswith(_HDF5_MAGIC) for at in _USER_BLOCKS):
        return "matlab73" if head.startswith(_MATLAB_73) or ending == ".mat" else "hdf5"
    if head.startswith(_ZIP_MAGIC):
        return "npz"
    vendor = next((kind for magic, kind in _VENDORS.items() if head.startswith(magic)), None)
    if vendor is not None:
        return vendor
    if head[2:].startswith(_CED) and ending == ".smr":
        return "spike2"
    if head.startswith(_AXONA) and ending == ".set":
        return "axona"
    if head.startswith(_NEURALYNX) and ending in _NEURALYNX_SPIKES:
        return "neuralynx"
    if head.startswith(_NEURALYNX):
        raise DataError(
            f"a Neuralynx file {ending} has no spikes.",
            where=where,
            hint="Name the folder: its .nse and .ntt files are read with its events.",
        )
    if ending in _REFUSED:
        raise DataError(f"files of {ending} are not read.", where=where, hint=_REFUSED[ending])
    if ending in _TEXT_ENDINGS:
        return "delimited"
    if ending in _OWN_ENDINGS:
        raise DataError(f"the content of the file is not what {ending} promises.", where=where)
    raise DataError(f"the format of the file is unknown (ending {ending!r}).", where=where, hint=f"Read are {KNOWN}.")


def _folder(path: Path) -> str:
    """Tell the format of a folder from the names of its files."""
    try:
        names = {child.name for child in path.iterdir()}
    except OSError as error:
        raise FileAccessError(f"the folder cannot be read: {error.strerror}.", where=str(path)) from None
    endings = {Path(name).suffix.lower() for name in names}
    if SPIKE_TIMES in names:
        return "phy"
    if is_alf(path):
        return "alf"
    if NUMPY_INFO in names or NPZ_CACHE in names:
        return "spikeinterface"
    if endings & set(_NEURALYNX_SPIKES):
        return "neuralynx"
    if ".spikes" in endings:
        return "openephys"
    if ".tsq" in endings:
        return "tdt"
    if "structure.oebin" in names:
        raise DataError(
            "Neo reads no spikes of Open Ephys' binary format.",
            where=str(path),
            hint="Read the folder of the spike sorter (Phy, SpikeInterface).",
        )
    raise FileAccessError(
        "the path is a directory.",
        where=str(path),
        hint=f"Name a file ({KNOWN}) or a folder of {FOLDERS}.",
    )
