"""From a NumPy archive, of whichever writer, to a Recording."""

from __future__ import annotations

from cortexrnn.spikes.readers import pynapple_npz, spikeinterface_files
from cortexrnn.spikes.readers.npz import read_members, spikes_of
from cortexrnn.spikes.readers.request import Request, check_rate, trials_file, with_start
from cortexrnn.spikes.recording import Recording


def read_npz(request: Request) -> Recording:
    """Read an archive of pynapple, of SpikeInterface, or of plain arrays.

    Parameters
    ----------
    request : Request
        The archive and its options.

    Returns
    -------
    Recording

    Raises
    ------
    DataError
        If it is damaged, declares more than it holds, or has no spikes.
    UnsafeFileError
        If an array holds Python objects.
    TimeUnitError
        If the unit of time is not told.
    OptionError
        If an option is of no use.
    """
    arrays = read_members(request.path)
    if pynapple_npz.kind_of(arrays) is not None:
        return pynapple_npz.from_archive(arrays, request)
    if spikeinterface_files.is_archive(arrays):
        return spikeinterface_files.from_archive(arrays, request)
    found = spikes_of(arrays, options=request.time, where=request.where)
    trials, without_unit, has_samples = trials_file(request)
    check_rate(request, has_samples or found.has_samples)
    return Recording.from_arrays(
        found.times_s,
        trials=with_start(found.trials if request.trials is None else trials, request.where),
        unit_ids=found.unit_ids,
        tick_hz=found.tick_hz,
        attrs={"notes": found.notes, "columns_without_unit": without_unit},
    )
