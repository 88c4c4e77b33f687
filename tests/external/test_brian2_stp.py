"""Tsodyks-Markram events against Brian2's event-driven synapses: 200 random trains in each convention."""

from __future__ import annotations

import brian2 as b2
import numpy as np
import pytest

from cortexrnn.cells.stp import CONVENTIONS, ShortTermPlasticity, release_trains

N_TRAINS, N_STEPS, DT_S = 200, 600, 0.005
EVENT_DRIVEN = """
du/dt = ({rest} - u) / tau_f : 1 (event-driven)
dx/dt = (1 - x) / tau_d : 1 (event-driven)
"""
AT_A_SPIKE = """
u += U * (1 - u)
used_post = u
found_post = x
due_post = t_in_timesteps + 1
x -= u * x
"""


@pytest.fixture
def numpy_target():
    """Let Brian2 run NumPy code, which needs no compiler."""
    before = b2.prefs.codegen.target
    b2.prefs.codegen.target = "numpy"
    yield
    b2.prefs.codegen.target = before


def _ticks(seed):
    """Train and time step of every spike, at rates of 1 to 60 Hz; at most one spike a step."""
    rng = np.random.default_rng(seed)
    rate_hz = np.exp(rng.uniform(0.0, np.log(60.0), N_TRAINS))
    return np.nonzero(rng.random((N_TRAINS, N_STEPS)) < rate_hz[:, None] * DT_S)


def _by_brian2(train, step, stp):
    """Release, u and x of every spike in the order of trains.

    A neuron for each train keeps what its synapse saw; it fires one step later, when its monitor reads it.
    """
    clock = b2.Clock(dt=DT_S * b2.second)
    source = b2.SpikeGeneratorGroup(N_TRAINS, train, step * DT_S * b2.second, clock=clock)
    kept = "used : 1\nfound : 1\ndue : integer"
    target = b2.NeuronGroup(N_TRAINS, kept, threshold="t_in_timesteps == due", clock=clock)
    constants = {"U": stp.U, "tau_f": stp.tau_f_s * b2.second, "tau_d": stp.tau_d_s * b2.second}
    rest = "U" if stp.convention == "mongillo2008" else "0"
    synapse = b2.Synapses(
        source, target, EVENT_DRIVEN.format(rest=rest), on_pre=AT_A_SPIKE, namespace=constants, clock=clock
    )
    synapse.connect(j="i")
    synapse.u, synapse.x, target.due = rest, 1, -1
    monitor = b2.SpikeMonitor(target, variables=["used", "found"])
    b2.Network(source, target, synapse, monitor).run((N_STEPS + 2) * DT_S * b2.second)
    order = np.lexsort((monitor.t / b2.second, monitor.i))
    np.testing.assert_array_equal(np.asarray(monitor.i)[order], train)
    used, found = np.asarray(monitor.used)[order], np.asarray(monitor.found)[order]
    return np.array([used * found, used, found])


@pytest.mark.parametrize("convention", CONVENTIONS)
@pytest.mark.parametrize("parameters", [(0.2, 1.5, 0.2), (0.45, 0.2, 1.5)])
def test_200_random_trains_release_as_brian2_says(parameters, convention, numpy_target):
    U, tau_f_s, tau_d_s = parameters
    stp = ShortTermPlasticity(U=U, tau_f_s=tau_f_s, tau_d_s=tau_d_s, convention=convention)
    train, step = _ticks(seed=8)
    assert train.size > 5000
    offsets = np.searchsorted(train, np.arange(N_TRAINS + 1))
    ours = np.array(release_trains(stp, step * DT_S, offsets))
    # Round-off of times of a few seconds, of Brian2's and ours.
    np.testing.assert_allclose(_by_brian2(train, step, stp), ours, rtol=1e-10)
