"""Which of the formats in HDF5 a file is, by its content; runs in the guarded child."""

from __future__ import annotations

from typing import Any

import h5py

from cortexrnn.spikes.readers.nix import is_nix, read_nix
from cortexrnn.spikes.readers.nwb import read_nwb


def read_hdf5(path: str, max_bytes: int) -> dict[str, Any]:
    """Read an NWB or NIX file.

    Parameters
    ----------
    path : str
        The file.
    max_bytes : int
        No data set may declare more bytes than this.

    Returns
    -------
    dict
        See `cortexrnn.spikes.readers.nwb.read_nwb` and `cortexrnn.spikes.readers.nix.read_nix`;
        `kind` says which.

    Raises
    ------
    UnsafeFileError
        If the file names other files.
    DataError
        If it is neither, or damaged.
    """
    with h5py.File(path, "r") as file:
        is_from_neo = is_nix(file)
    return read_nix(path, max_bytes) if is_from_neo else {"kind": "nwb", **read_nwb(path, max_bytes)}
