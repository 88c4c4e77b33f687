"""How the answer depends on the width of the bins."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import xarray as xr

from cortexrnn._checks import check_positive
from cortexrnn.errors import OptionError
from cortexrnn.evaluation.compare import RunSettings, compare
from cortexrnn.evaluation.ladder import usual_models
from cortexrnn.evaluation.options import CompareOptions
from cortexrnn.evaluation.scores import read_gain
from cortexrnn.spikes.recording import Recording

BINS_S = (0.0005, 0.001, 0.002, 0.005, 0.01, 0.02)
# Steps of the ladder that are followed, and the rung that takes each.
STEPS = {"stimulus": "M1", "history": "M5"}


def bin_sweep(
    recording: Recording,
    *,
    bins_s: Sequence[float] = BINS_S,
    seed: int = 0,
    options: CompareOptions | None = None,
    run: RunSettings | None = None,
    **alignment: Any,
) -> xr.Dataset:
    """Compare M0, M1, M3 and M5 in bins of several widths.

    What history tells about the spikes saturates as bins shrink. An answer that wide bins alone give is an answer of
    the bins: they blur refractoriness and make one spike out of a burst.

    Parameters
    ----------
    recording : Recording
    bins_s : sequence of float
        Widths in seconds; each divides the window and is a whole number of the recording's ticks.
    seed : int
    options : CompareOptions, optional
        Folds and likelihood; there are no surrogates and no copies. The Poisson likelihood serves every width.
    run : RunSettings, optional
    **alignment
        As for `compare`, without ``bin_s``.

    Returns
    -------
    xarray.Dataset
        `gain`, `low` and `high` in bits/spike over (step, bin, unit), NaN where there are too few spikes; step is
        "stimulus" (M1 over M0) or "history" (M5 over M3), `bin` in seconds; `n_crowded` over bin, the number of bins
        with several spikes.

    Raises
    ------
    OptionError
        If there is no width, or one does not divide the window; and as `compare`.
    """
    if not bins_s:
        raise OptionError("bins_s is empty.", hint="Give at least one width in seconds.")
    if "bin_s" in alignment:
        raise OptionError("bin_s cannot be given to a sweep over bins_s.")
    widths_s = sorted(check_positive("bins_s", width_s) for width_s in bins_s)
    options = options or CompareOptions()
    plain = replace(options, n_surrogates=0, n_copies=0)
    models = usual_models(options, alignment, [])
    columns, crowded, names = [], [], []
    for width_s in widths_s:
        result = compare(recording, models=models, seed=seed, options=plain, run=run, bin_s=width_s, **alignment)
        units = result.summary["units"]
        names = [unit["unit"] for unit in units]
        columns.append([[read_gain(unit["steps"].get(rung)) for unit in units] for rung in STEPS.values()])
        crowded.append(result.summary["recording"]["n_multi_spike_bins"])
    table = np.array(columns)
    dims = ("bin", "step", "unit")
    return xr.Dataset(
        {name: (dims, table[..., k]) for k, name in enumerate(("gain", "low", "high"))}
        | {"n_crowded": ("bin", crowded)},
        coords={"bin": ("bin", widths_s, {"units": "s"}), "step": list(STEPS), "unit": names},
    ).transpose("step", "bin", "unit")
