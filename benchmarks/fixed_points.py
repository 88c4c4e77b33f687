"""Fixed points of networks of 128 tanh units from 1000 starts: ours, and Adam on q as in FixedPointFinder, one core.

Ours is `search_roots`: analytic Jacobians, Newton's method, and Levenberg and Marquardt's where it gets stuck. The
peer's way is that of FixedPointFinder for PyTorch (Golub and Sussillo 2018, doi:10.21105/joss.01003): Adam on
``q = 1/2 |F(x) - x|^2`` of all starts, rate 0.05, times 0.7 every 500 iterations, 5000 iterations, and a start has
converged at q < 1e-12; its own precision is float32. It is compiled as one JAX loop without the checks and prints
between iterations, and minimises the sum over starts: with their mean, as there, Adam's epsilon holds back 1000 starts.
Starts are states of the network's own trajectories, the same for all.

Ours takes Newton's steps from all starts, chunk by chunk, and then works on what got stuck. A start counts once its
chunk is done, so that the share of converged starts grows with time: the time to the peer's final share is the
comparison at equal share, the time of the row that to the end, when every start has been judged. The peer's row has
come to the end of its iterations, but tells a slow point from what has not converged by q alone. Distinct points are
counted at distance 1e-3.
Run ``python benchmarks/fixed_points.py`` where JAX is installed (``pip install ".[peers]"``); ``--starts 200`` and
``--iterations 1000`` make it shorter.
"""

from __future__ import annotations

import argparse
import time

import measure

measure.use_one_core()

import jax  # noqa: E402
import jax.numpy as jnp  # noqa: E402
import numpy as np  # noqa: E402

from cortexrnn.cells.activation import Activation  # noqa: E402
from cortexrnn.cells.recurrent import CELLS  # noqa: E402
from cortexrnn.circuit import Circuit, Population, Projection, WeightLaw  # noqa: E402
from cortexrnn.circuit.build import build_weights  # noqa: E402
from cortexrnn.theory.cell_system import CellSystem  # noqa: E402
from cortexrnn.theory.fixed_points import merge  # noqa: E402
from cortexrnn.theory.rate_system import circuit_system  # noqa: E402
from cortexrnn.theory.root_search import POINT, UNFINISHED, damped_roots, newton_roots, search_roots  # noqa: E402

N_UNITS, GAIN, TOLERANCE = 128, 1.5, 1e-9
CONVERGED_Q, SAME = 1e-12, 1e-3
CHUNK, SIZES = 32, (16, 32, 64, 128, 256, 512)
TAU_S, DT_S = 0.01, 0.001


def main() -> None:
    """Check and time every workload."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--starts", type=int, default=1000)
    parser.add_argument("--iterations", type=int, default=5000)
    given = parser.parse_args()
    jax.config.update("jax_enable_x64", True)
    print(measure.describe_machine())
    print(measure.describe_versions(("cortexrnn", "numpy", "jax")))
    print(f"\n{N_UNITS} units, {given.starts} starts, one core, processor time")
    for make in (rate_network, vanilla_cell):
        compare(*make(), given.starts, given.iterations)
    grow(max(given.starts // 10, 1))


def grow(n_starts):
    """Print the cost of a start against the number of units."""
    print(f"\nleaky network, g = 1.5, {n_starts} starts: cost of a start against its size")
    print("units     ms a start   Jacobians   q < 1e-12   slope of the time")
    last = None
    for n_units in SIZES:
        system = rate_network(n_units)[1]
        starts = system.trajectory(system.start(n_starts, seed=1), 200)[-1]
        search_roots(system, starts[:1], tolerance=TOLERANCE)
        begin = time.process_time()
        roots = search_roots(system, starts, tolerance=TOLERANCE)
        used_s = time.process_time() - begin
        share = (residuals(system, roots.states) < CONVERGED_Q).mean()
        slope = "" if last is None else f"{np.log(used_s / last[1]) / np.log(n_units / last[0]):.2f}"
        print(f"{n_units:5d} {1e3 * used_s / n_starts:14.2f} {roots.n_iterations.mean():11.1f} {share:11.3f}   {slope}")
        last = n_units, used_s


def rate_network(n_units=N_UNITS):
    """Give a random leaky network of gain 1.5 as a system, with the map in JAX."""
    circuit = Circuit(
        name="tanh_network",
        populations=(Population(name="units", size=n_units, activation=Activation(kind="tanh"), tau_s=TAU_S),),
        projections=(
            Projection(source="units", target="units", weights=WeightLaw(law="gaussian", mean=0.0, sd=n_units**-0.5)),
        ),
        gain=GAIN,
    )
    system = circuit_system(circuit, dt_s=DT_S, method="euler")
    weights, alpha = build_weights(circuit).static, DT_S / TAU_S

    def step(x, matrix):
        return x + alpha * (jnp.tanh(x) @ matrix - x)

    return "leaky network, g = 1.5", system, step, weights.T


def vanilla_cell():
    """Give a random vanilla cell of gain 1.5 with biases as a system, with the map in JAX."""
    rng = np.random.default_rng(0)
    weights = CELLS["vanilla"].draw(1, N_UNITS, seed=0, dtype=np.float64)
    matrix, bias = GAIN * rng.normal(size=(N_UNITS, N_UNITS)) / np.sqrt(N_UNITS), 0.1 * rng.normal(size=N_UNITS)
    weights = weights._replace(hidden=matrix, hidden_bias=bias, input_bias=np.zeros(N_UNITS))
    system = CellSystem("vanilla", weights, np.zeros(1), dt_s=DT_S)

    def step(x, given):
        return jnp.tanh(x @ given[:-1] + given[-1])

    return "vanilla cell, g = 1.5", system, step, np.vstack([matrix.T, bias])


def compare(name, system, step, matrix, n_starts, n_iterations):
    """Check that the maps agree, run both, and print shares and times."""
    starts = system.trajectory(system.start(n_starts, seed=1), 200)[-1]
    after = np.asarray(step(jnp.asarray(starts), jnp.asarray(matrix)))
    assert np.abs(after - system.step(starts)).max() < 1e-13
    print(f"\n{name}")
    print("way                       s   q < 1e-12   q < 1e-20   points   ours to the same share")
    times, shares, found, q = with_newton(system, starts)
    describe("ours", times[-1], system, found, q)
    for dtype in (np.float32, np.float64):
        used_s, states = with_adam(step, matrix, starts, n_iterations, dtype)
        q = residuals(system, states)
        reached = int(np.searchsorted(shares, (q < CONVERGED_Q).mean()))
        ours = f"{used_s / times[reached]:.1f} times faster" if reached < len(times) else "not reached"
        describe(f"Adam, {np.dtype(dtype).name}", used_s, system, states, q, ours)
    steps = np.linspace(0, len(times) - 1, 6).astype(int)
    print("ours, share by time: " + ", ".join(f"{shares[k]:.3f} at {times[k]:.2f} s" for k in steps))


def with_newton(system, starts):
    """Run both parts chunk by chunk; give time and share of converged starts after each, the states and their q."""
    search_roots(system, starts[:1], tolerance=TOLERANCE)
    times, n_converged, states = [0.0], [0], starts.copy()
    left = np.arange(len(starts))
    for part in (newton_roots, damped_roots):
        stuck = []
        for first in range(0, len(left), CHUNK):
            some = left[first : first + CHUNK]
            begin = time.process_time()
            roots = part(system, states[some], tolerance=TOLERANCE)
            times.append(times[-1] + time.process_time() - begin)
            states[some] = roots.states
            n_converged.append(n_converged[-1] + int((roots.outcome == POINT).sum()))
            stuck.append(some[roots.outcome == UNFINISHED])
        left = np.concatenate(stuck)
    return np.array(times), np.array(n_converged) / len(starts), states, residuals(system, states)


def with_adam(step, matrix, starts, n_iterations, dtype):
    """Minimise q by Adam; give the processor time without compilation, and the states."""
    given = jnp.asarray(matrix.astype(dtype))
    rate, decay = jnp.asarray(0.05, dtype), jnp.asarray(0.7, dtype)
    b1, b2 = jnp.asarray(0.9, dtype), jnp.asarray(0.999, dtype)
    gradient = jax.grad(lambda x: 0.5 * jnp.sum((step(x, given) - x) ** 2))

    def iterate(k, carry):
        x, m, v = carry
        g = gradient(x)
        m, v = b1 * m + (1 - b1) * g, b2 * v + (1 - b2) * g * g
        t = (k + 1).astype(dtype)
        move = m / (1 - b1**t) / (jnp.sqrt(v / (1 - b2**t)) + 1e-8)
        return x - rate * decay ** (k // 500) * move, m, v

    x = jnp.asarray(starts.astype(dtype))
    empty = (x, jnp.zeros_like(x), jnp.zeros_like(x))
    run = jax.jit(lambda carry: jax.lax.fori_loop(0, n_iterations, iterate, carry)[0]).lower(empty).compile()
    found = []
    used_s = measure.best_cpu_s(lambda: found.append(run(empty).block_until_ready()), 1)
    return used_s, np.asarray(found[-1], float)


def residuals(system, states):
    """Give q in float64."""
    return 0.5 * ((system.step(states) - states) ** 2).sum(axis=1)


def describe(name, used_s, system, states, q, ours=""):
    """Print a row."""
    converged = states[q < CONVERGED_Q]
    n_points = int(merge(converged, SAME).max(initial=-1)) + 1
    print(
        f"{name:18s} {used_s:8.2f} {np.mean(q < CONVERGED_Q):11.3f} {np.mean(q < 1e-20):11.3f} {n_points:8d}   {ours}",
        flush=True,
    )


if __name__ == "__main__":
    main()
