"""Compile what a comparison needs before it starts, on a tiny recording, so that the wait has a name."""

from __future__ import annotations

import sys
import threading
from collections.abc import Mapping

import numpy as np
from tqdm import tqdm

from cortexrnn.encoding.adapter import Adapted
from cortexrnn.encoding.adapter_trials import AdaptedTrials
from cortexrnn.encoding.arrays import Neighbours, UnitTrials
from cortexrnn.encoding.model import Rung
from cortexrnn.encoding.network_rung import NetworkRung
from cortexrnn.evaluation.options import CompareOptions
from cortexrnn.evaluation.work import EXCHANGED, SIMULATED, UnitCase, fold_work, surrogate_work
from cortexrnn.numerics.streams import stream


def compile_kernels(models: Mapping[str, Rung], options: CompareOptions, *, is_shown: bool) -> None:
    """Run the ladder once on a tiny recording, which compiles or loads every kernel it uses.

    Numba keeps compiled kernels on disk: the first run on a machine waits here, later ones do not.

    Parameters
    ----------
    models : mapping of str to Rung
        Rungs of the comparison; kernels of rungs that are not among them are not compiled.
    options : CompareOptions
        Its likelihood is used.
    is_shown : bool
        Whether to show a line with the time spent.
    """
    rng = stream(0, "warm-up")
    counts = (rng.random((8, 40)) < 0.2).astype(np.uint16)
    whole = np.ones(counts.shape, dtype=bool)
    trials = UnitTrials(counts, whole, whole.copy(), np.zeros(8, dtype=np.int64), np.arange(8.0), 1e-3, True)
    trials = trials._replace(covariates=rng.standard_normal((8, 40, 1)), covariate_names=("warm-up",))
    # Models of other libraries have nothing to compile, and may want more than eight trials.
    models = {name: rung for name, rung in models.items() if not isinstance(rung, Adapted | AdaptedTrials)}
    if any(rung.needs_neighbours for rung in models.values()):
        trials = trials._replace(neighbours=Neighbours(np.stack([counts, counts[::-1]], axis=2), 0))
    case = UnitCase(name="warm-up", trials=trials, fold=np.arange(8) // 4, seed=0, likelihood=options.likelihood)
    plain = {name: rung for name, rung in models.items() if not isinstance(rung, NetworkRung)}
    with _ticking("compiling kernels (first run only)", is_shown=is_shown):
        fold_work(case, models, 0, n_copies=min(options.n_copies, 1))
        for kind in (EXCHANGED, SIMULATED):
            surrogate_work(case, plain, kind, 0)


class _ticking:
    """Show a line with elapsed time while a block runs."""

    def __init__(self, label: str, *, is_shown: bool):
        self._bar = tqdm(
            desc=label, disable=not is_shown, bar_format="{desc} [{elapsed}]", leave=False, file=sys.stderr, delay=0.5
        )
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._tick, daemon=True)

    def __enter__(self) -> None:
        """Start the clock."""
        self._thread.start()

    def __exit__(self, *error: object) -> None:
        """Stop the clock and remove the line."""
        self._stop.set()
        self._thread.join()
        self._bar.close()

    def _tick(self) -> None:
        """Redraw twice a second."""
        while not self._stop.wait(0.5):
            self._bar.update(0)
            self._bar.refresh()
