"""What all tests share: the list of rungs, and how one unit's trials are made from bare counts."""

from __future__ import annotations

import numpy as np
import pytest

from cortexrnn.encoding import (
    HMM,
    PSTH,
    RNN,
    CausalGain,
    Constant,
    Drift,
    HistoryGLM,
    Markov,
    Renewal,
    UnitTrials,
)
from cortexrnn.encoding.contamination import Guarded

# A new rung is tested by every law that holds for all of them as soon as it stands here.
ALL_RUNGS = {
    "M0": Constant(),
    "M1": PSTH(),
    "M2": Drift(),
    "M3": CausalGain(),
    "M4": Renewal(),
    "M5": HistoryGLM(),
    "M5 bernoulli": HistoryGLM(likelihood="bernoulli"),
    "M5 guarded": Guarded(baseline=HistoryGLM()),
    "MK": Markov(),
    "HMM": HMM(),
    "M6": RNN(n_hidden=4, max_epochs=2),
    "M6cut": RNN(n_hidden=4, max_epochs=2, uses_own_spikes=False),
}


@pytest.fixture(scope="session", params=ALL_RUNGS.values(), ids=ALL_RUNGS.keys())
def rung(request):
    """Every rung of the ladder in turn."""
    return request.param


@pytest.fixture(scope="session")
def make_unit():
    """Give the function that makes UnitTrials with 1 ms bins; spikes in unobserved bins are dropped."""

    def make(counts, *, observed=None, n_burn_in=0, condition=None, is_locked=True):
        counts = np.asarray(counts)
        observed = np.ones(counts.shape, dtype=bool) if observed is None else np.ascontiguousarray(observed)
        scored = observed.copy()
        scored[:, :n_burn_in] = False
        n_trials = counts.shape[0]
        condition = np.zeros(n_trials) if condition is None else np.asarray(condition)
        return UnitTrials(
            counts=np.where(observed, counts, 0).astype(np.uint16),
            observed=observed,
            scored=scored,
            condition=condition.astype(np.int64),
            start_s=np.arange(n_trials) * 2.0,
            bin_s=0.001,
            is_locked=is_locked,
        )

    return make
