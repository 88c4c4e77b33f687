"""The check of the time step."""

from __future__ import annotations

import numpy as np
import pytest

from cortexrnn.cells.activation import Activation
from cortexrnn.circuit import Circuit, Noise, Population
from cortexrnn.dynamics import Samples, Solver, check_dt
from cortexrnn.errors import NumericalWarning, OptionError

LEAK = (Population(name="units", size=4, tau_s=0.01, activation=Activation(kind="linear")),)


def test_a_step_that_is_too_long_is_told():
    """Euler on a leak driven by numbers held for 5 ms each: an autoregression, whose variances are closed forms."""
    rng = np.random.default_rng(0)
    held = rng.normal(size=(16, 8000, 4))
    with pytest.warns(NumericalWarning, match=r"sd over time of population units is .* lower dt_s"):
        table = check_dt(
            Circuit(name="leak", populations=LEAK),
            duration_s=40.0,
            dt_s=5e-3,
            n_trials=16,
            solver=Solver(method="euler"),
            stimulus={"units": Samples(values=held, step_s=5e-3)},
        )
    ratio = table["value"] / table["value_at_half"]
    # x' = a x + (1 - a) n has the variance (1 - a)^2 / (1 - a^2); two steps of half the length are one with a = b^2.
    a, b = 0.5, 0.75
    coarse, halved = (1 - a) / (1 + a), (1 - b**2) / (1 + b**2)
    assert float(ratio.sel(statistic="sd over time").values[0]) == pytest.approx(np.sqrt(coarse / halved), rel=0.02)


def test_a_step_that_is_short_enough_is_not(recwarn):
    """Exponential Euler with exact noise: nothing to warn of; the statistics are those of the process."""
    circuit = Circuit(name="leak", populations=LEAK, noise=Noise(sigma=1.0, tau_s=0.05))
    table = check_dt(circuit, duration_s=20.0, dt_s=1e-3, n_trials=16)
    assert not recwarn.list
    # Variance of a leak driven by an Ornstein-Uhlenbeck current: sigma^2 tau_n / (tau_n + tau).
    assert float(table["value"].sel(statistic="sd over time").values[0]) == pytest.approx(np.sqrt(5 / 6), rel=0.05)


def test_record_is_refused():
    """The check decides what is kept."""
    with pytest.raises(OptionError, match="record"):
        check_dt(Circuit.random(5, gain=1.0), duration_s=0.1, record=None)
