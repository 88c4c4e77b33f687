"""Training step of vanilla, LSTM and GRU networks: ours, JAX and PyTorch, on one core and on two, in one run.

Loss ``sum(by * h)`` and its gradient with respect to all weights and biases, 64 trials of 500 steps. Ours packs the
weights, runs tiles of 16 trials forward and back, and adds their gradients. JAX compiles the gradient of a scan with
the input product outside it; PyTorch is torch.nn.RNN, LSTM and GRU. The gradients are compared before anything is
timed. Run ``python benchmarks/bptt_cells.py`` where JAX and PyTorch are installed (``pip install ".[peers]"``), with
numbers of units as arguments for others than 256 and 100. The last column counts the three recurrent products alone.
"""

from __future__ import annotations

import os
import subprocess
import sys

if len(sys.argv) > 2 and sys.argv[1] == "--cores":
    # Libraries count cores when they are loaded.
    os.sched_setaffinity(0, set(sorted(os.sched_getaffinity(0))[: int(sys.argv[2])]))
import gc
import time
from concurrent.futures import ThreadPoolExecutor

import jax
import jax.numpy as jnp
import numpy as np
import torch
from measure import describe_machine, describe_versions
from threadpoolctl import threadpool_limits

from cortexrnn.cells.recurrent import CELLS, to_torch
from cortexrnn.numerics.lanes import N_LANES

N_TRIALS, N_STEPS, N_INPUTS = 64, 500, 3
TORCH = {"vanilla": torch.nn.RNN, "lstm": torch.nn.LSTM, "gru": torch.nn.GRU}
N_ROUNDS = 4
MOST_APART = {"float32": 1e-3, "float64": 1e-10}


def main() -> None:
    """Run every workload with the cores that the arguments name, or one process for each number of cores."""
    if sys.argv[1:2] != ["--cores"]:
        print(describe_machine())
        print(describe_versions(("cortexrnn", "numpy", "numba", "jax", "torch")))
        for n_cores in (1, 2):
            command = [sys.executable, __file__, "--cores", str(n_cores), *(sys.argv[1:] or ("256", "100"))]
            subprocess.run(command, check=True)
        return
    n_cores = int(sys.argv[2])
    jax.config.update("jax_enable_x64", True)
    torch.set_num_threads(n_cores)
    what = "processor time" if n_cores == 1 else "wall time"
    print(f"\n{n_cores} core(s), {what}: microseconds a step of all {N_TRIALS} trials (times ours)")
    print("units  precision  cell           ours                JAX            PyTorch     GFLOP/s")
    for n_units in map(int, sys.argv[3:]):
        for dtype in ("float32", "float64"):
            for name in TORCH:
                compare(name, n_units, dtype, n_cores)


def compare(name: str, n_units: int, dtype: str, n_cores: int) -> None:
    """Check and time one workload."""
    rng = np.random.default_rng(0)
    weights = CELLS[name].draw(N_INPUTS, n_units, seed=0, dtype=np.dtype(dtype).type)
    inputs = rng.normal(size=(N_STEPS, N_TRIALS, N_INPUTS)).astype(dtype)
    by_hidden = (rng.normal(size=(N_STEPS, N_TRIALS, n_units)) / N_TRIALS).astype(dtype)
    runs = {
        "ours": ours(name, weights, inputs, by_hidden, n_cores),
        "JAX": with_jax(name, weights, inputs, by_hidden),
        "PyTorch": with_torch(name, weights, inputs, by_hidden),
    }
    answers = {peer: run() for peer, run in runs.items()}
    for peer, answer in answers.items():
        apart = max(np.abs(a - b).max() / np.abs(b).max() for a, b in zip(answer, answers["ours"], strict=True))
        assert apart < MOST_APART[dtype], f"{peer} is {apart:.1e} apart"
    best_s = dict.fromkeys(runs, np.inf)
    for _ in range(N_ROUNDS):
        for peer, run in runs.items():
            gc.collect()
            # On one core processor time is the wall time of an idle machine.
            start = (time.perf_counter(), time.process_time())
            run()
            taken = (time.perf_counter() - start[0], time.process_time() - start[1])
            best_s[peer] = min(best_s[peer], taken[n_cores == 1])
    row = "".join(f"{1e6 * s / N_STEPS:11.1f} ({s / best_s['ours']:5.2f})" for s in best_s.values())
    speed = 6e-9 * CELLS[name].n_gates * n_units**2 * N_TRIALS * N_STEPS / best_s["ours"]
    print(f"{n_units:5d}  {dtype:9s}  {name:8s} {row} {speed:8.1f}", flush=True)


def ours(name, weights, inputs, by_hidden, n_cores):
    """Run the tiles over threads."""
    cell = CELLS[name]
    tiles = [
        tuple(
            np.ascontiguousarray(part[:, first : first + N_LANES].transpose(0, 2, 1)).reshape(N_STEPS, -1)
            for part in (inputs, by_hidden)
        )
        for first in range(0, N_TRIALS, N_LANES)
    ]
    tapes = [cell.empty_tape(N_STEPS, weights) for _ in tiles]
    group, nothing = np.zeros(N_LANES, np.int64), np.empty(0, inputs.dtype)

    def run():
        packed = cell.pack(weights)

        def work(k):
            gradient = type(weights)(*(np.zeros_like(part) for part in weights))
            cell.start(weights, group, tapes[k])
            cell.forward(tiles[k][0], nothing, packed, tapes[k])
            for name in cell.carried:
                getattr(tapes[k], name)[:] = 0
            cell.backward(*tiles[k], nothing, packed, tapes[k], gradient, 0)
            cell.add_start(tapes[k], group, gradient)
            return gradient

        with threadpool_limits(1), ThreadPoolExecutor(n_cores) as pool:
            parts = list(pool.map(work, range(len(tiles))))
        return [sum(values) for values in zip(*(part[:4] for part in parts), strict=True)]

    return run


def with_jax(name, weights, inputs, by_hidden):
    """Compile the gradient of a scan."""
    on_device, direct = jnp.asarray(inputs), jnp.asarray(by_hidden)
    h = weights.start.shape[1]

    def vanilla(state, from_input, w_hh, b_hh):
        new = jnp.tanh(from_input + state[0] @ w_hh.T + b_hh)
        return (new,), new

    def lstm(state, from_input, w_hh, b_hh):
        i, f, g, o = jnp.split(from_input + state[0] @ w_hh.T + b_hh, 4, axis=-1)
        c = jax.nn.sigmoid(f) * state[1] + jax.nn.sigmoid(i) * jnp.tanh(g)
        new = jax.nn.sigmoid(o) * jnp.tanh(c)
        return (new, c), new

    def gru(state, from_input, w_hh, b_hh):
        from_hidden = state[0] @ w_hh.T + b_hh
        r, z = jnp.split(jax.nn.sigmoid(from_input[:, : 2 * h] + from_hidden[:, : 2 * h]), 2, axis=-1)
        n = jnp.tanh(from_input[:, 2 * h :] + r * from_hidden[:, 2 * h :])
        new = (1.0 - z) * n + z * state[0]
        return (new,), new

    advance = {"vanilla": vanilla, "lstm": lstm, "gru": gru}[name]
    start = tuple(jnp.zeros((N_TRIALS, h), inputs.dtype) for _ in CELLS[name].states)

    def loss(w_ih, w_hh, b_ih, b_hh):
        from_input = on_device @ w_ih.T + b_ih
        _, states = jax.lax.scan(lambda state, x: advance(state, x, w_hh, b_hh), start, from_input)
        return jnp.sum(states * direct)

    compiled = jax.jit(jax.grad(loss, argnums=(0, 1, 2, 3)))
    parts = [jnp.asarray(part) for part in weights[:4]]
    return lambda: [np.asarray(part) for part in jax.block_until_ready(compiled(*parts))]


def with_torch(name, weights, inputs, by_hidden):
    """Differentiate PyTorch's network by autograd."""
    network = TORCH[name](N_INPUTS, weights.start.shape[1], dtype=getattr(torch, inputs.dtype.name))
    network.load_state_dict({key: torch.from_numpy(values) for key, values in to_torch(weights).items()})
    on_device, direct = torch.from_numpy(inputs), torch.from_numpy(by_hidden)

    def run():
        states, _ = network(on_device)
        return [g.numpy() for g in torch.autograd.grad(torch.sum(states * direct), list(network.parameters()))]

    return run


if __name__ == "__main__":
    main()
