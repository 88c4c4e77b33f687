"""Simulation of a dense tanh network: ours, NumPy, JAX and PyTorch, on one core and on two, in one run.

``tau dx/dt = -x + W tanh(x)`` by the exponential Euler method, float32, nothing kept but the last step. The answers
are compared before anything is timed. Run ``python benchmarks/forward.py`` where JAX and PyTorch are installed
(``pip install ".[peers]"``). The last column counts the products
of weights and rates alone.
"""

from __future__ import annotations

import os
import subprocess
import sys

if len(sys.argv) > 1:
    # Libraries count cores when they are loaded.
    os.sched_setaffinity(0, set(sorted(os.sched_getaffinity(0))[: int(sys.argv[1])]))
import time

import jax
import jax.numpy as jnp
import numpy as np
import torch
from measure import describe_machine, describe_versions

import cortexrnn as cx

TAU_S, DT_S = 0.01, 1e-3
# Units, trials, steps.
WORKLOADS = ((100, 32, 10000), (256, 32, 5000), (1000, 32, 500), (256, 1, 20000), (1000, 1, 5000), (4000, 1, 500))
N_ROUNDS = 3
MOST_APART = 2e-4


def main() -> None:
    """Run every workload with the cores that the argument names, or one process for each number of cores."""
    if len(sys.argv) == 1:
        print(describe_machine())
        print(describe_versions(("cortexrnn", "numpy", "numba", "jax", "torch")))
        for n_cores in (1, 2):
            subprocess.run([sys.executable, __file__, str(n_cores)], check=True)
        return
    n_cores = int(sys.argv[1])
    torch.set_num_threads(n_cores)
    print(f"\n{n_cores} core(s): microseconds a step of all trials (times ours)")
    print("units  trials      ours           NumPy              JAX            PyTorch     GFLOP/s")
    for n_units, n_trials, n_steps in WORKLOADS:
        compare(n_units, n_trials, n_steps, n_cores)


def compare(n_units: int, n_trials: int, n_steps: int, n_cores: int) -> None:
    """Check and time one workload."""
    circuit = cx.Circuit.random(n_units, gain=0.9, seed=1, tau_s=TAU_S)
    weights = cx.build_weights(circuit, np.float32).static
    initial = np.random.default_rng(0).normal(size=(n_trials, n_units)).astype(np.float32)
    runs = {
        name: make(circuit, weights, initial, n_steps)
        for name, make in (("ours", ours), ("NumPy", with_numpy), ("JAX", with_jax), ("PyTorch", with_torch))
    }
    answers = {name: run() for name, run in runs.items()}
    for name, answer in answers.items():
        apart = float(np.abs(answer - answers["ours"]).max())
        assert apart < MOST_APART, f"{name} is {apart} apart"
    best_s = dict.fromkeys(runs, np.inf)
    for _ in range(N_ROUNDS):
        for name, run in runs.items():
            # On one core processor time is the wall time of an idle machine.
            start = (time.perf_counter(), time.process_time())
            run()
            taken = (time.perf_counter() - start[0], time.process_time() - start[1])
            best_s[name] = min(best_s[name], taken[n_cores == 1])
    row = "".join(
        f"{1e6 * s / n_steps:10.1f} ({s / best_s['ours']:5.2f})" for s in best_s.values()
    )
    speed = 2e-9 * n_units**2 * n_trials * n_steps / best_s["ours"]
    print(f"{n_units:5d} {n_trials:7d} {row} {speed:9.1f}", flush=True)


def ours(circuit, weights, initial, n_steps):
    """Call `simulate`, weights and all."""
    record = cx.Record(start_s=round((n_steps - 1) * DT_S, 9))

    def run():
        found = cx.simulate(
            circuit, duration_s=n_steps * DT_S, dt_s=DT_S, n_trials=len(initial), initial=initial, dtype="float32",
            record=record,
        )  # fmt: skip
        return found["rate"].values[:, 0]

    return run


def with_numpy(circuit, weights, initial, n_steps):
    """Write the loop that one writes."""
    decay, gain = np.float32(np.exp(-DT_S / TAU_S)), np.float32(-np.expm1(-DT_S / TAU_S))

    def run():
        x = initial.T.copy()
        rate = np.empty_like(x)
        for _ in range(n_steps - 1):
            np.tanh(x, out=rate)
            x = decay * x + gain * (weights @ rate)
        return np.tanh(x).T

    return run


def with_jax(circuit, weights, initial, n_steps):
    """Compile a scan."""
    decay, gain = np.float32(np.exp(-DT_S / TAU_S)), np.float32(-np.expm1(-DT_S / TAU_S))
    on_device = jnp.asarray(weights)

    @jax.jit
    def scan(x):
        def step(x, _):
            return decay * x + gain * (on_device @ jnp.tanh(x)), None

        return jnp.tanh(jax.lax.scan(step, x, None, length=n_steps - 1)[0])

    start = jnp.asarray(initial[0] if len(initial) == 1 else initial.T)
    return lambda: np.asarray(jax.block_until_ready(scan(start))).reshape(-1, len(initial)).T


def with_torch(circuit, weights, initial, n_steps):
    """Write the loop without gradients."""
    decay, gain = float(np.exp(-DT_S / TAU_S)), float(-np.expm1(-DT_S / TAU_S))
    matrix = torch.tensor(weights)

    def run():
        x = torch.tensor(initial.T.copy())
        with torch.inference_mode():
            for _ in range(n_steps - 1):
                x = decay * x + gain * (matrix @ torch.tanh(x))
            return torch.tanh(x).numpy().T

    return run


if __name__ == "__main__":
    main()
