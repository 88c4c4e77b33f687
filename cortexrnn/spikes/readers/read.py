"""The one door: find out what a file or folder is, have it read, make a Recording of it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from cortexrnn.errors import OptionError
from cortexrnn.runs.files import sha256_of_file
from cortexrnn.spikes.readers.alf import read_alf
from cortexrnn.spikes.readers.clusters import QUALITY
from cortexrnn.spikes.readers.delimited import TimeOptions
from cortexrnn.spikes.readers.delimited_recording import read_delimited
from cortexrnn.spikes.readers.detect import detect
from cortexrnn.spikes.readers.hdf5_recording import read_hdf5
from cortexrnn.spikes.readers.matlab_recording import read_matlab5, read_matlab73
from cortexrnn.spikes.readers.npz_recording import read_npz
from cortexrnn.spikes.readers.phy import read_phy
from cortexrnn.spikes.readers.request import Request
from cortexrnn.spikes.readers.spikeinterface_files import read_folder
from cortexrnn.spikes.readers.vendor import vendor_reader
from cortexrnn.spikes.recording import Recording

_VENDORS = ("axona", "blackrock", "neuralynx", "neuroexplorer", "openephys", "plexon", "spike2", "tdt")
_READERS: dict[str, Callable[[Request], Recording]] = {
    "alf": read_alf,
    "delimited": read_delimited,
    "hdf5": read_hdf5,
    "matlab5": read_matlab5,
    "matlab73": read_matlab73,
    "npz": read_npz,
    "phy": read_phy,
    "spikeinterface": read_folder,
    **{kind: vendor_reader(kind) for kind in _VENDORS},
}
# These choose units by their quality themselves, before any spike is copied.
_CHOOSE_QUALITY = ("alf", "phy", "spikeinterface", *_VENDORS)


def read_recording(
    path: str | Path,
    *,
    time_unit: str | None = None,
    sample_rate_hz: float | None = None,
    trials: str | Path | None = None,
    variable: str | None = None,
    select: Mapping[str, Any] | None = None,
) -> Recording:
    """Read spike times and trials from a file, or from the folder of a spike sorter or a vendor.

    Files: NWB, NIX, CSV, TSV, NumPy, pynapple, SpikeInterface, MATLAB, Plexon, Blackrock, Neuralynx,
    NeuroExplorer, Spike2, Axona. Folders: Phy or Kilosort, ALF, SpikeInterface, Neuralynx, Open Ephys, TDT.
    The unit of time is never guessed: the file must tell it, or `time_unit`. The format is told by
    the content first, then by the ending.

    Parameters
    ----------
    path : str or Path
        The file or folder.
    time_unit : str, optional
        "s", "ms", "us", "ns" or "samples", where the file does not tell.
    sample_rate_hz : float, optional
        Samples (or bins of a raster) per second.
    trials : str or Path, optional
        A CSV or TSV file with one trial a row, or the name of an interval table of the file;
        the table "trials" by default.
    variable : str, optional
        Which array of a MATLAB file holds the spikes.
    select : mapping, optional
        Column and value: keep these rows of a table, units of a units table, or trials. In the output
        of a spike sorter ``{"quality": "good,mua"}`` keeps units with these labels and
        ``{"quality": "all"}`` every unit; without it good units are kept, of vendors' files sorted ones.

    Returns
    -------
    Recording

    Raises
    ------
    MissingFileError
        If there is no such file.
    FileAccessError
        If it may not be read, or is a folder of no known format.
    DataError
        If it is empty, damaged, of an unknown format, or holds NaN times.
    TimeUnitError
        If the unit of time is not told.
    UnsafeFileError
        If opening it would run code or read other files.
    ReaderCrashed, ReaderTimeout
        If the guarded child process died or took too long.
    OptionError
        If an option does not fit the file, or nothing in it could use it.

    Warns
    -----
    DataWarning
        If times were not sorted, units have no spikes, or something was inferred.
    """
    path = Path(path)
    request = Request(
        path=path,
        time=TimeOptions(time_unit=time_unit, sample_rate_hz=sample_rate_hz),
        trials=None if trials is None else str(trials),
        variable=variable,
        select=dict(select or {}),
    )
    kind = detect(path)
    if variable is not None and not kind.startswith("matlab"):
        raise OptionError(
            f"variable={variable!r} was given, but this is no MATLAB file.", where=str(path), hint="Leave it out."
        )
    recording = _READERS[kind](request)
    known = {"sha256", "reader"} & set(recording.attrs)
    told = {"source": path.name or str(path), "reader": kind}
    if "sha256" not in known:
        told["sha256"] = sha256_of_file(path)
    recording = replace(recording, attrs={**told, **recording.attrs})
    if kind == "delimited":
        return recording
    used = {QUALITY} if kind in _CHOOSE_QUALITY else set()
    return _selected(recording, {name: value for name, value in request.select.items() if name not in used})


def _selected(recording: Recording, select: Mapping[str, Any]) -> Recording:
    """Keep the units, or else the trials, whose column has the value."""
    for name, value in select.items():
        if name in recording.units:
            keep = (recording.units[name].astype(str) == str(value)).to_numpy()
            if not keep.any():
                raise OptionError(f"no unit has {name}={value!r}.")
            recording = recording.select(units=recording.units.index[keep].tolist())
        elif name in recording.trials:
            recording = recording.select_trials(**{name: value})
        else:
            known = [*map(str, recording.units.columns), *map(str, recording.trials.columns)]
            raise OptionError(
                f"there is no column {name!r} to select by.", hint=f"Known are {', '.join(known) or 'none'}."
            )
    return recording
