"""From a CSV or TSV file to a Recording."""

from __future__ import annotations

import numpy as np
import pandas as pd

from cortexrnn.runs.files import read_bytes
from cortexrnn.spikes.readers.delimited import DelimitedSpikes, read_spikes, trialise
from cortexrnn.spikes.readers.request import Request, check_rate, from_trialised, trials_file, with_start
from cortexrnn.spikes.recording import Recording


def read_delimited(request: Request) -> Recording:
    """Read a CSV or TSV file with one spike a row.

    Parameters
    ----------
    request : Request
        The file and its options; `select` keeps rows.

    Returns
    -------
    Recording
        On the synthetic clock where the file has a trial column.

    Raises
    ------
    DataError
        If a column is missing or a cell is wrong.
    TimeUnitError
        If the unit of time is not told.
    OptionError
        If an option is of no use.
    """
    where = request.where
    spikes = read_spikes(read_bytes(request.path), where=where, options=request.time, select=request.select)
    trials, without_unit, has_samples = trials_file(request)
    check_rate(request, has_samples or spikes.tick_hz == request.time.sample_rate_hz)
    return from_spikes(spikes, trials, where=where, without_unit=without_unit)


def from_spikes(
    spikes: DelimitedSpikes, trials: pd.DataFrame | None, *, where: str, without_unit: list[str]
) -> Recording:
    """Make a recording of spikes that have a unit and perhaps a trial each.

    Parameters
    ----------
    spikes : DelimitedSpikes
        Spikes of a table.
    trials : pandas.DataFrame or None
        One row a trial.
    where : str
        The table, for messages.
    without_unit : list of str
        Columns of the trials whose unit of time is not told.

    Returns
    -------
    Recording
        On the synthetic clock where spikes have a trial.

    Raises
    ------
    DataError
        If trials have no start, or spikes belong to none of them.
    """
    if spikes.trial is None:
        order = np.argsort(spikes.unit, kind="stable")
        cuts = np.cumsum(np.bincount(spikes.unit, minlength=len(spikes.unit_ids)))[:-1]
        return Recording.from_arrays(
            np.split(spikes.times_s[order], cuts) if spikes.unit_ids else [],
            trials=with_start(trials, where),
            unit_ids=spikes.unit_ids,
            tick_hz=spikes.tick_hz,
            attrs={"columns_without_unit": without_unit},
        )
    parts, notes = trialise(spikes, trials, where)
    return from_trialised(parts, spikes.unit_ids, {"notes": notes, "columns_without_unit": without_unit})
