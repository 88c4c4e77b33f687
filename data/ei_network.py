"""An excitatory-inhibitory network with short-term plasticity in Brian2, one copy for every trial.

Conductance-based integrate-and-fire neurons, sparse lognormal weights, and Tsodyks-Markram synapses
in the convention of Tsodyks, Pawelzik and Markram (1998), doi:10.1162/089976698300017502: between
spikes `u` decays to 0 and `x` recovers to 1; at a spike `u <- u + U (1 - u)`, `u x` is released, then
`x <- x - u x`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np

STEP_S = 1e-4
DRIVE_STEP_S = 5e-4
WIRING_SEED = 20261121
N_EXCITATORY, N_INHIBITORY = 120, 30
N_NEURONS = N_EXCITATORY + N_INHIBITORY

# sender and receiver: density, weight, U, tau_f, tau_d in seconds. U and times near those of Markram,
# Wang and Tsodyks 1998 (doi:10.1073/pnas.95.9.5323); densities and weights chosen for 5 to 40 Hz.
PROJECTIONS = {
    "EE": (0.15, 0.35, 0.50, 0.020, 0.400),
    "EI": (0.25, 0.30, 0.15, 0.600, 0.130),
    "IE": (0.30, 0.60, 0.25, 0.020, 0.300),
    "II": (0.30, 0.40, 0.25, 0.020, 0.300),
}

EQUATIONS = """
dv/dt = (-70*mV - v + synaptic + w*(-90*mV - v) + after + drive)/tau_m : volt (unless refractory)
synaptic = g_e*(0*mV - v) + g_i*(-80*mV - v) : volt
dg_e/dt = -g_e/(4*ms) : 1
dg_i/dt = -g_i/(8*ms) : 1
dw/dt = -w/(120*ms) : 1
dafter/dt = -after/(6*ms) : volt
drive : volt
tau_m : second (constant)
w_step : 1 (constant)
after_step : volt (constant)
rest : second (constant)
"""

SYNAPSE = """
du/dt = -u/tau_f : 1 (event-driven)
dx/dt = (1 - x)/tau_d : 1 (event-driven)
use : 1 (constant)
tau_f : second (constant)
tau_d : second (constant)
weight_e : 1 (constant)
weight_i : 1 (constant)
"""

ON_SPIKE = """
u += use*(1 - u)
g_e_post += weight_e*u*x
g_i_post += weight_i*u*x
x -= u*x
"""


class Stimulus(NamedTuple):
    """A step of current into every neuron, filtered and delayed by each neuron's own times.

    Attributes
    ----------
    contrast : ndarray of float, shape (n_copies,)
        Height of the step in every copy of the network.
    on_s, off_s : float
        Start and end of the step since the start of the run.
    """

    contrast: np.ndarray
    on_s: float
    off_s: float


def simulate_network(stimulus: Stimulus, duration_s: float, noise_seed: int) -> tuple[np.ndarray, ...]:
    """Run the copies side by side; they share wiring and tuning and differ in contrast and noise.

    Parameters
    ----------
    stimulus : Stimulus
        Contrast of every copy, start and end.
    duration_s : float
        Length of the run.
    noise_seed : int
        Seed of the background input and of the initial state; the wiring has its own.

    Returns
    -------
    copy, neuron, step : ndarray of int64, shape (n_spikes,)
        Copy, neuron and time step of every spike.
    """
    import brian2 as b2

    b2.prefs.codegen.target = "numpy"
    b2.defaultclock.dt = STEP_S * b2.second
    neurons = _make_neurons(b2, stimulus.contrast.size, noise_seed)
    synapses = _make_synapses(b2, neurons)
    drive = b2.NetworkOperation(_drive(neurons, stimulus, noise_seed), dt=DRIVE_STEP_S * b2.second)
    monitor = b2.SpikeMonitor(neurons)
    b2.Network(neurons, synapses, drive, monitor).run(duration_s * b2.second, report="stderr")
    copy, neuron = np.divmod(np.asarray(monitor.i, dtype=np.int64), N_NEURONS)
    return copy, neuron, np.rint(np.asarray(monitor.t) / STEP_S).astype(np.int64)


def stream(purpose: str, seed: int) -> np.random.Generator:
    """Open the stream of random numbers for one purpose, so that no purpose moves another's draws."""
    return np.random.Generator(np.random.PCG64([seed, *purpose.encode("ascii")]))


def draw_cells() -> dict[str, np.ndarray]:
    """Draw what differs between neurons: membrane and refractory times, adaptation, after-current."""
    rng = stream("cells", WIRING_SEED)
    is_excitatory = np.arange(N_NEURONS) < N_EXCITATORY
    has_after_current = is_excitatory & (rng.random(N_NEURONS) < 0.25)
    return {
        "tau_m_s": np.where(is_excitatory, 0.020, 0.010),
        "rest_s": np.where(is_excitatory, 0.0025, 0.0015),
        "w_step": np.where(is_excitatory, rng.gamma(4.0, 0.02, N_NEURONS), 0.0),
        "after_step_mv": np.where(has_after_current, 60.0, 0.0),
    }


def draw_wiring() -> dict[str, np.ndarray]:
    """Draw the synapses of one copy: sender, receiver, weights in units of the leak, U and times."""
    rng = stream("wiring", WIRING_SEED)
    members = {"E": np.arange(N_EXCITATORY), "I": np.arange(N_EXCITATORY, N_NEURONS)}
    parts = []
    for name, (density, weight, use, tau_f_s, tau_d_s) in PROJECTIONS.items():
        sender, receiver = np.meshgrid(members[name[0]], members[name[1]], indexing="ij")
        is_chosen = (rng.random(sender.shape) < density) & (sender != receiver)
        n_chosen = int(is_chosen.sum())
        # exp(N(-s^2/2, s^2)) has mean 1, so that `weight` is the mean weight.
        drawn = weight * rng.lognormal(-0.125, 0.5, n_chosen)
        part = {
            "sender": sender[is_chosen],
            "receiver": receiver[is_chosen],
            "weight_e": drawn * (name[0] == "E"),
            "weight_i": drawn * (name[0] == "I"),
            "delay_s": rng.uniform(0.0005, 0.002, n_chosen),
        }
        constants = {"use": use, "tau_f_s": tau_f_s, "tau_d_s": tau_d_s}
        parts.append(part | {key: np.full(n_chosen, value) for key, value in constants.items()})
    return {key: np.concatenate([part[key] for part in parts]) for key in parts[0]}


def _make_neurons(b2, n_copies: int, noise_seed: int):
    """Build one group that holds all copies, copy after copy."""
    neurons = b2.NeuronGroup(
        N_NEURONS * n_copies,
        EQUATIONS,
        threshold="v > -50*mV",
        reset="v = -62*mV; w += w_step; after += after_step",
        refractory="rest",
        method="euler",
    )
    cells = draw_cells()
    neurons.tau_m = np.tile(cells["tau_m_s"], n_copies) * b2.second
    neurons.rest = np.tile(cells["rest_s"], n_copies) * b2.second
    neurons.w_step = np.tile(cells["w_step"], n_copies)
    neurons.after_step = np.tile(cells["after_step_mv"], n_copies) * b2.mV
    neurons.v = stream("initial", noise_seed).uniform(-70.0, -52.0, N_NEURONS * n_copies) * b2.mV
    return neurons


def _make_synapses(b2, neurons):
    """Connect every copy alike, with explicit arrays."""
    n_copies = len(neurons) // N_NEURONS
    wiring = {key: np.tile(values, n_copies) for key, values in draw_wiring().items()}
    offset = np.repeat(np.arange(n_copies) * N_NEURONS, wiring["sender"].size // n_copies)
    synapses = b2.Synapses(neurons, neurons, SYNAPSE, on_pre=ON_SPIKE)
    synapses.connect(i=wiring["sender"] + offset, j=wiring["receiver"] + offset)
    for name in ("use", "weight_e", "weight_i"):
        setattr(synapses, name, wiring[name])
    for name in ("tau_f", "tau_d", "delay"):
        setattr(synapses, name, wiring[f"{name}_s"] * b2.second)
    synapses.u = 0
    synapses.x = 1
    return synapses


def _drive(neurons, stimulus: Stimulus, noise_seed: int) -> Callable[[], None]:
    """Return what sets the drive of every neuron: a private OU background plus the filtered stimulus."""
    tuning = stream("tuning", WIRING_SEED)
    rng = stream("background", noise_seed)
    is_excitatory = np.arange(N_NEURONS) < N_EXCITATORY
    mean_mv = np.where(is_excitatory, 13.5, 10.0) + tuning.normal(0.0, 1.5, N_NEURONS)
    step_mv = tuning.gamma(3.0, np.where(is_excitatory, 4.0, 1.5))
    latency_s = tuning.uniform(0.020, 0.080, N_NEURONS)
    filter_s = tuning.uniform(0.005, 0.030, N_NEURONS)
    sigma_mv, keep = 11.0, np.exp(-DRIVE_STEP_S / 0.005)
    noise_mv = sigma_mv * rng.standard_normal((stimulus.contrast.size, N_NEURONS))
    evoked_mv = np.zeros_like(noise_mv)
    n_calls = 0

    def update() -> None:
        """Advance noise and stimulus by one step and hand their sum to the neurons."""
        nonlocal noise_mv, evoked_mv, n_calls
        now_s = n_calls * DRIVE_STEP_S - latency_s
        is_on = (now_s >= stimulus.on_s) & (now_s < stimulus.off_s)
        target_mv = np.outer(stimulus.contrast, step_mv * is_on)
        evoked_mv = evoked_mv + (target_mv - evoked_mv) * (DRIVE_STEP_S / filter_s)
        # The exact update of the process: its variance does not depend on the step.
        noise_mv = keep * noise_mv + sigma_mv * np.sqrt(1.0 - keep**2) * rng.standard_normal(noise_mv.shape)
        neurons.drive_ = (1e-3 * (mean_mv + evoked_mv + noise_mv)).ravel()
        n_calls += 1

    return update
