"""The recurrent drive of sparse excitatory-inhibitory circuits beside SciPy's CSR (and PyTorch's, if installed).

Every unit has K sources, four fifths of them excitatory; weights are equal within a population. One step of one
trial and of 16, on one thread and on two, with the connections stored in two bytes each and with none stored.
Peers hold the same network in float32 with int32 indices. Answers are checked before anything is timed. Every
part runs in a process of its own. On one core times are processor times; on two threads the wall clock, with the
processor time over threads beside it, which is what an idle machine would show if the threads shared evenly.

Run: python benchmarks/sparse_step.py [--rounds 9] [--part single|pair|memory|growth]
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import time
from collections.abc import Callable

import measure

import numpy as np  # isort: skip
from scipy import sparse

from cortexrnn.cells.activation import Activation
from cortexrnn.circuit import Circuit, Population, Projection, WeightLaw
from cortexrnn.circuit.sparse import SparseWeights, build_hashed, build_sparse
from cortexrnn.dynamics.sparse import SparseDrive

_LANES = 16
_SIZES = ((10_000, 1000), (100_000, 1000))
# Drives are sums of a thousand terms in float32, added in another order.
_SAME = 1e-4
_PACKAGES = ("cortexrnn", "numpy", "scipy", "numba", "torch")
_GOALS = (
    "goals at 100 000 x 1000, one trial: table at least 2 x SciPy on one thread and 3 x on two, hash 1.2 x and 2.4 x; "
    "16 trials on two threads: 80 trial-steps/s; at most 300 MB for the whole network"
)
Step = Callable[[], np.ndarray]


def make_circuit(n_units: int, in_degree: int) -> Circuit:
    """Make a circuit of which four fifths are excitatory, units and sources alike."""
    parts = {"excitatory": (n_units * 4 // 5, in_degree * 4 // 5, 1.0)}
    parts["inhibitory"] = (n_units - parts["excitatory"][0], in_degree - parts["excitatory"][1], 4.5)
    populations = tuple(
        Population(name=name, size=size, sign=name, activation=Activation(kind="relu"))
        for name, (size, _, _) in parts.items()
    )
    projections = tuple(
        Projection(source=source, target=target, in_degree=k, weights=WeightLaw(mean=mean / in_degree**0.5))
        for source, (_, k, mean) in parts.items()
        for target in parts
    )
    return Circuit(name="sparse", populations=populations, projections=projections)


def as_csr(weights: SparseWeights) -> sparse.csr_matrix:
    """Write the same network as CSR, row by row, without a matrix on the way."""
    n = weights.size
    row_lengths = weights.work()
    first = np.concatenate([[0], np.cumsum(row_lengths)]).astype(np.int32)
    columns, values = np.empty(first[-1], np.int32), np.empty(first[-1], np.float32)
    filled = np.zeros(n, dtype=np.int64)
    for table in weights.tables:
        fan = table.fan
        for start in range(0, fan.n_targets, 4096):
            stop = min(start + 4096, fan.n_targets)
            units = slice(fan.first_target + start, fan.first_target + stop)
            places = (first[units] + filled[units])[:, None] + np.arange(fan.in_degree)
            columns[places] = fan.first_source + table.sources(start, stop)
            values[places] = table.weights(start, stop)
            filled[units] += fan.in_degree
    return sparse.csr_matrix((values, columns, first), shape=(n, n))


def our_step(weights: SparseWeights, rates: np.ndarray, n_threads: int) -> Step:
    """Give a step of ours, allocation of the drive included as in the peers'."""
    recurrent = SparseDrive(weights, n_threads=n_threads)

    def step() -> np.ndarray:
        drive = np.zeros_like(rates)
        recurrent.add({"": rates}, drive)
        return drive

    return step


def peer_steps(matrix: sparse.csr_matrix, rates: np.ndarray, n_threads: int) -> dict[str, Step]:
    """Give a step of every peer that is installed."""
    steps: dict[str, Step] = {"SciPy CSR": lambda: matrix @ rates}
    try:
        import torch
    except ImportError as error:
        print(f"  left out: {error}")
        return steps
    torch.set_num_threads(n_threads)
    parts = (torch.from_numpy(part) for part in (matrix.indptr, matrix.indices, matrix.data))
    tensor, sent = torch.sparse_csr_tensor(*parts, size=matrix.shape), torch.from_numpy(rates)
    steps["PyTorch CSR"] = lambda: (tensor @ sent).numpy()
    return steps


def time_in_turns(steps: dict[str, Step], rounds: int) -> dict[str, tuple[float, float]]:
    """Give the best wall and processor time of every step in seconds, one call of each in every round."""
    best = dict.fromkeys(steps, (np.inf, np.inf))
    for _ in range(rounds):
        for name, step in steps.items():
            wall_s, cpu_s = time.perf_counter(), time.process_time()
            step()
            taken_s = (time.perf_counter() - wall_s, time.process_time() - cpu_s)
            best[name] = tuple(map(min, best[name], taken_s))
    return best


def check(steps: dict[str, Step]) -> None:
    """Stop where a step's answer is not that of the first."""
    answers = {name: step() for name, step in steps.items()}
    expected = next(iter(answers.values()))
    for name, answer in answers.items():
        apart = np.abs(answer - expected).max() / np.abs(expected).max()
        assert apart < _SAME, f"{name} is {apart:.1e} of the largest drive away"


def compare(n_threads: int, rounds: int) -> None:
    """Check and time all layouts at both sizes, for one trial and for 16."""
    if n_threads == 1:
        measure.use_one_core()
    for n_units, in_degree in _SIZES:
        circuit = make_circuit(n_units, in_degree)
        stored, hashed = build_sparse(circuit, np.float32), build_hashed(circuit, np.float32)
        matrix = as_csr(stored)
        megabytes = {"SciPy CSR": sum(part.nbytes for part in (matrix.data, matrix.indices, matrix.indptr)) / 1e6}
        megabytes |= {"cortexrnn, table": stored.nbytes / 1e6, "cortexrnn, hash": hashed.nbytes / 1e6}
        for lanes in (1, _LANES):
            rates = np.random.default_rng(0).random((n_units, lanes), dtype=np.float32)
            steps = peer_steps(matrix, rates, n_threads)
            steps["cortexrnn, table"] = our_step(stored, rates, n_threads)
            steps["cortexrnn, hash"] = our_step(hashed, rates, n_threads)
            check(steps)
            print(f"\n{n_units} units x {in_degree} sources, {lanes} trials, float32, {n_threads} threads")
            report(time_in_turns(steps, rounds), lanes, n_threads, megabytes)


def report(best: dict[str, tuple[float, float]], lanes: int, n_threads: int, megabytes: dict[str, float]) -> None:
    """Print a table: times, ratios to SciPy by the wall clock and by processor time over threads, rate, memory."""
    titles = ("wall ms", "cpu ms", "by wall", "by cpu", "trial-steps/s", "MB")
    print(f"  {'':18s}" + "".join(f"{title:>14s}" for title in titles))
    wall_s, cpu_s = best["SciPy CSR"]
    for name, (wall, cpu) in best.items():
        # SciPy multiplies on one thread, whatever there is.
        shared = cpu if name == "SciPy CSR" else cpu / n_threads
        used = cpu if n_threads == 1 else wall
        values = (wall * 1e3, cpu * 1e3, wall_s / wall, cpu_s / shared, lanes / used, megabytes.get(name, np.nan))
        print(f"  {name:18s}" + "".join(f"{value:14.2f}" for value in values))


def simulate(build: Callable[..., SparseWeights], lanes: int, n_steps: int = 3) -> np.ndarray:
    """Build the large network and take some steps of its rates: everything that a simulation holds."""
    circuit = make_circuit(*_SIZES[-1])
    rates = np.full((circuit.size, lanes), 0.1, np.float32)
    drive = np.empty_like(rates)
    with SparseDrive(build(circuit, np.float32), n_threads=2) as recurrent:
        for _ in range(n_steps):
            drive[:] = 1.0
            recurrent.add({"": rates}, drive)
            np.maximum(drive, 0.0, out=drive)
            rates += np.float32(0.1) * (drive - rates)
    return rates


def weigh() -> None:
    """Print the highest memory of a whole simulation above what the interpreter and the compiled kernels take."""
    warm = make_circuit(2000, 400)
    for build in (build_hashed, build_sparse):
        our_step(build(warm, np.float32), np.ones((2000, 1), np.float32), 2)()
    print(f"\n{_SIZES[-1][0]} units x {_SIZES[-1][1]} sources, built and simulated, peak beside the interpreter")
    for label, build in (("hash", build_hashed), ("table", build_sparse)):
        for lanes in (1, _LANES):
            extra = measure.peak_extra_mib(lambda build=build, lanes=lanes: simulate(build, lanes))
            print(f"  {label:6s} {lanes:3d} trials {extra:8.1f} MiB")


def grow(rounds: int) -> None:
    """Print time and memory against units, sources and trials, with the slopes of their logarithms."""
    measure.use_one_core()
    _grow_one("units", [(n, 500, 1) for n in (10_000, 20_000, 40_000, 80_000)], rounds)
    _grow_one("sources", [(20_000, k, 1) for k in (100, 200, 400, 800, 1600)], rounds)
    _grow_one("trials", [(20_000, 500, lanes) for lanes in (16, 32, 64)], rounds)


def _grow_one(what: str, cases: list[tuple[int, int, int]], rounds: int) -> None:
    """Print the table of one of the three."""
    rows = []
    for n_units, in_degree, n_trials in cases:
        circuit = make_circuit(n_units, in_degree)
        layouts = [build(circuit, np.float32) for build in (build_sparse, build_hashed)]
        tile = np.ones((n_units, min(n_trials, _LANES)), np.float32)
        steps = {str(i): our_step(weights, tile, 1) for i, weights in enumerate(layouts)}
        for step in steps.values():
            step()
        # More trials than lanes are further tiles, one after the other.
        n_tiles = n_trials // tile.shape[1]
        cpu_ms = [1e3 * n_tiles * cpu for _, cpu in time_in_turns(steps, rounds).values()]
        rows.append([*cpu_ms, *(weights.nbytes / 1e6 for weights in layouts)])
    values = np.array(rows)
    titles = ("units", "sources", "trials", "table ms", "hash ms", "table MB", "hash MB")
    print("\n" + "".join(f"{title:>10s}" for title in titles))
    for case, row in zip(cases, values, strict=True):
        print("{:10d}{:10d}{:10d}{:10.2f}{:10.2f}{:10.2f}{:10.3f}".format(*case, *row))
    axis = np.log([case[("units", "sources", "trials").index(what)] for case in cases])
    slopes = np.polyfit(axis, np.log(values), 1)[0]
    print("  slope against {}: {:.2f} {:.2f} {:.2f} {:.2f}".format(what, *slopes))


def main() -> None:
    """Read the options and run every part in a process of its own."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--part", choices=("single", "pair", "memory", "growth"), help="run this one only")
    options = parser.parse_args()
    parts = {
        "single": lambda: compare(1, options.rounds),
        "pair": lambda: compare(2, options.rounds),
        "memory": weigh,
        "growth": lambda: grow(options.rounds),
    }
    if options.part:
        parts[options.part]()
        return
    print(measure.describe_machine())
    print(measure.describe_versions(_PACKAGES))
    print(_GOALS, flush=True)
    for part in parts:
        subprocess.run([sys.executable, __file__, *sys.argv[1:], "--part", part], check=True)


if __name__ == "__main__":
    main()
