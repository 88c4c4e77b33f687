"""Memory of a gradient against the number of time steps, whole trials and in segments.

``python benchmarks/bptt_memory.py`` prints the most that Python and NumPy held while one gradient was computed, beyond
the inputs, in bytes for every step, trial and hidden unit: what is linear in the steps shows as a constant. Segments of
about the root of the number of steps keep the states of one segment and the state before each of the others.
"""

from __future__ import annotations

import math
import tracemalloc

import numpy as np

import cortexrnn as cx
from cortexrnn.training.bptt import Sweep, Trainer
from cortexrnn.training.networks import make_model
from cortexrnn.training.tasks import Trial, from_function

N_UNITS, N_TRIALS = 100, 64
STEPS = (250, 500, 1000, 2000, 4000)
NETWORKS = {
    "E-I circuit, noise": cx.load_circuit("song_2016"),
    "vanilla": cx.CellNetwork(kind="vanilla", n_hidden=N_UNITS),
    "LSTM": cx.CellNetwork(kind="lstm", n_hidden=N_UNITS),
    "GRU": cx.CellNetwork(kind="gru", n_hidden=N_UNITS),
}


def main() -> None:
    """Print the table."""
    print(f"{N_UNITS} units, {N_TRIALS} trials, float32: bytes a step, trial and unit (MiB in all)")
    print(f"{'':20s}{'segments':>10s}" + "".join(f"{n:>18d}" for n in STEPS))
    for name, network in NETWORKS.items():
        for is_cut in (False, True):
            cells = "".join(cell(network, n, is_cut) for n in STEPS)
            print(f"{name:20s}{'root' if is_cut else 'none':>10s}{cells}", flush=True)


def cell(network: cx.Circuit | cx.CellNetwork, n_steps: int, is_cut: bool) -> str:
    """Measure one gradient."""
    task = from_function(
        lambda rng, mode: Trial(inputs=rng.normal(size=(n_steps, 2)), targets=np.zeros((n_steps, 1))),
        name="noise",
        n_steps=n_steps,
    )
    model = make_model(network, task, None, seed=0, dtype=np.float32)
    batch = task.trials(N_TRIALS, seed=0)
    warm = task.trials(16, seed=0)
    Trainer(model, 1).run(warm, Sweep(noise_key=(0,)))
    tracemalloc.start()
    Trainer(model, 1, None, math.isqrt(n_steps) if is_cut else 0).run(batch, Sweep(noise_key=(0,)))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    return f"{peak / (n_steps * N_TRIALS * N_UNITS):9.2f} ({peak / 2**20:6.1f})"


if __name__ == "__main__":
    main()
