"""Lyapunov exponents of a random tanh network: ours against JAX and against QR at every step, and cost against size.

g = 2, steps of tau/10, float64, one core. Every contender gets the same start, the same vectors and the same steps, and
the exponents are compared before anything is timed. Ours chooses its interval and pays for choosing it; JAX is
compiled with every interval that is shown, and its compilation is not counted. Run ``python benchmarks/lyapunov.py``
where JAX is installed (``pip install ".[peers]"``); ``--small`` takes a minute.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from functools import partial

from measure import describe_machine, describe_versions, use_one_core

use_one_core()

import jax  # noqa: E402
import jax.numpy as jnp  # noqa: E402
import numpy as np  # noqa: E402

import cortexrnn as cx  # noqa: E402
from cortexrnn.circuit import build_weights  # noqa: E402
from cortexrnn.numerics.streams import stream  # noqa: E402
from cortexrnn.theory.lyapunov import LyapunovOptions, lyapunov  # noqa: E402
from cortexrnn.theory.rate_system import circuit_system  # noqa: E402
from cortexrnn.theory.tangent import random_vectors  # noqa: E402

jax.config.update("jax_enable_x64", True)
GAIN, TAU_S, STEPS_PER_TAU, SEED = 2.0, 0.01, 10, 1
DT_S = TAU_S / STEPS_PER_TAU
MOVE = -np.expm1(-1.0 / STEPS_PER_TAU)
N_BEFORE, N_STEPS, N_ROUNDS = 160, 960, 3
SIZES, COMPARED, INTERVALS = (100, 200, 400, 800), (200, 400), (1, 16)
if "--small" in sys.argv[1:]:
    N_BEFORE, N_STEPS, N_ROUNDS, SIZES, COMPARED = 160, 480, 2, (50, 100, 200), (100, 200)
# A tenth of all exponents, which is enough for dimension and entropy.
LEADING = 0.1


def main() -> None:
    """Print both tables."""
    print(describe_machine())
    print(describe_versions(("cortexrnn", "numpy", "scipy", "jax")))
    print(f"\nOne core, {N_STEPS} steps after {N_BEFORE} ({N_BEFORE // 2} of them with vectors): processor time")
    print("ms a step with vectors (times ours)")
    for size in COMPARED:
        for n in (size, int(LEADING * size)):
            compare(size, n)
    print("\nOurs against size: ms a step, all exponents and a tenth of them; the slope is that since the row above")
    growth()


def network(size: int) -> tuple[cx.Circuit, np.ndarray, np.ndarray]:
    """Give a circuit, its weights and a start."""
    circuit = cx.Circuit.random(size, gain=GAIN, seed=SEED, tau_s=TAU_S)
    return circuit, build_weights(circuit).total(), circuit_system(circuit, dt_s=DT_S).start(1, seed=SEED)[0]


def ours(circuit: cx.Circuit, n: int, start: np.ndarray, **options: int) -> Callable[[], np.ndarray]:
    """Give our run."""
    system = circuit_system(circuit, dt_s=DT_S)
    chosen = LyapunovOptions(start=start, **options)
    times = {"duration_s": N_STEPS * DT_S, "transient_s": N_BEFORE * DT_S}
    return lambda: lyapunov(system, n=n, seed=SEED, options=chosen, **times).exponents_per_s * TAU_S


@partial(jax.jit, static_argnums=(3, 4))
def jax_run(weights, state, vectors, n_blocks, interval):
    """Scan over blocks of steps with one QR each."""

    def step(carry, _):
        state, vectors = carry
        rate = jnp.tanh(state)
        vectors = (1.0 - MOVE) * vectors + MOVE * (weights @ ((1.0 - rate * rate)[:, None] * vectors))
        return (state + MOVE * (weights @ rate - state), vectors), None

    def block(carry, _):
        (state, vectors, total), _ = carry, None
        (state, vectors), _ = jax.lax.scan(step, (state, vectors), None, length=interval)
        vectors, triangle = jnp.linalg.qr(vectors)
        return (state, vectors, total + jnp.log(jnp.abs(jnp.diag(triangle)))), None

    return jax.lax.scan(block, (state, vectors, jnp.zeros(vectors.shape[1])), None, length=n_blocks)[0]


@partial(jax.jit, static_argnums=2)
def jax_skip(weights, state, n_steps):
    """Scan over steps of the state alone."""

    def step(state, _):
        return state + MOVE * (weights @ jnp.tanh(state) - state), None

    return jax.lax.scan(step, state, None, length=n_steps)[0]


def by_jax(weights: np.ndarray, start: np.ndarray, vectors: np.ndarray, interval: int) -> Callable[[], np.ndarray]:
    """Give JAX's run with one QR every `interval` steps."""
    on_device = [jnp.asarray(each) for each in (weights, start, vectors)]

    def run() -> np.ndarray:
        state = jax_skip(on_device[0], on_device[1], N_BEFORE // 2)
        state, turned, _ = jax_run(on_device[0], state, on_device[2], N_BEFORE // 2 // interval, interval)
        total = jax_run(on_device[0], state, turned, N_STEPS // interval, interval)[2]
        return np.sort(np.asarray(total) / (N_STEPS / STEPS_PER_TAU))[::-1]

    return run


def by_numpy(weights: np.ndarray, start: np.ndarray, vectors: np.ndarray) -> Callable[[], np.ndarray]:
    """Give the plain way: the derivative of every step as a matrix, and Householder's QR after each."""

    def run() -> np.ndarray:
        state, turned, total = start, vectors, 0.0
        keep = (1.0 - MOVE) * np.eye(len(weights))
        for t in range(N_BEFORE + N_STEPS):
            rate = np.tanh(state)
            if t >= N_BEFORE // 2:
                turned, triangle = np.linalg.qr((keep + MOVE * weights * (1.0 - rate * rate)) @ turned)
                if t >= N_BEFORE:
                    total = total + np.log(np.abs(np.diag(triangle)))
            state = state + MOVE * (weights @ rate - state)
        return np.sort(total / (N_STEPS / STEPS_PER_TAU))[::-1]

    return run


def compare(size: int, n: int) -> None:
    """Check and time one size."""
    circuit, weights, start = network(size)
    vectors = random_vectors(circuit_system(circuit), n, stream(SEED, "theory", "lyapunov"))
    runs = {"ours": ours(circuit, n, start, n_checked=0)}
    if n == size:
        runs["ours, sum rule checked"] = ours(circuit, n, start)
    runs |= {f"ours, every {k}": ours(circuit, n, start, n_checked=0, interval=k) for k in INTERVALS}
    runs |= {f"JAX, every {k}": by_jax(weights, start, vectors, k) for k in INTERVALS}
    runs["NumPy, every 1"] = by_numpy(weights, start, vectors)
    answers = {name: run() for name, run in runs.items()}
    apart = max(np.abs(answer - answers["ours"]).max() for answer in answers.values())
    assert apart < 1e-7, f"exponents are {apart:.1e} per tau apart"
    best_s = best(runs)
    n_carried = N_STEPS + N_BEFORE - N_BEFORE // 2
    print(f"N = {size}, {n} exponents, at most {apart:.0e} per tau apart")
    for name, taken_s in best_s.items():
        print(f"    {name:24s} {1e3 * taken_s / n_carried:8.3f} ({taken_s / best_s['ours']:5.2f})", flush=True)


def best(runs: dict[str, Callable]) -> dict[str, float]:
    """Give the smallest processor time of each, turn by turn."""
    best_s = dict.fromkeys(runs, np.inf)
    for _ in range(N_ROUNDS):
        for name, run in runs.items():
            start = time.process_time()
            run()
            best_s[name] = min(best_s[name], time.process_time() - start)
    return best_s


def growth() -> None:
    """Print the cost of a step against the number of units."""
    before = None
    for size in SIZES:
        circuit, _, start = network(size)
        taken = best({n: ours(circuit, n, start) for n in (size, int(LEADING * size))})
        per_step = np.array(list(taken.values())) / (N_STEPS + N_BEFORE - N_BEFORE // 2)
        slopes = ""
        if before is not None:
            ratio = np.log(per_step / before[1]) / np.log(size / before[0])
            slopes = f"   slopes {ratio[0]:.2f} {ratio[1]:.2f}"
        # A push of n vectors is a product of 2 N^2 n operations.
        speed = 2e-9 * size**3 / per_step[0]
        print(f"N = {size:4d}  {1e3 * per_step[0]:8.3f}  {1e3 * per_step[1]:8.3f}   {speed:5.1f} GFLOP/s{slopes}")
        before = size, per_step


if __name__ == "__main__":
    main()
