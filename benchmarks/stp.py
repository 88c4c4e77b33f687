"""Short-term plasticity and activations on one core, beside Brian2, Numba with math.exp, NumPy and plain Python.

Three tables: what a million spikes of a thousand trains release, one step of the rate form, and the activations of
rate units. Every answer is checked against ours before anything is timed. Brian2 goes through every time step, spike
or no spike: its time grows with their number, which the table says.

Run: python benchmarks/stp.py [--spikes 1000000] [--repeats 15] [--without-brian2] [--table events]
"""

from __future__ import annotations

import argparse
import math
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass

import measure

measure.use_one_core()

import numba  # noqa: E402
import numpy as np  # noqa: E402

from cortexrnn.cells.activation import KINDS, Activation, activate  # noqa: E402
from cortexrnn.cells.stp import ShortTermPlasticity, release_trains  # noqa: E402
from cortexrnn.cells.stp_kernels import advance_rates, release_spikes  # noqa: E402

_N_TRAINS = 1000
_RATE_HZ = 10.0
_TICK_S = 0.001
# Two arrays of them stay in the second-level cache.
_N_ELEMENTS = 2**15
_CALLS = 20
_STP = ShortTermPlasticity(U=0.2, tau_f_s=1.5, tau_d_s=0.2)
_PACKAGES = ("cortexrnn", "numpy", "numba", "brian2")
_GOALS = "goal: 200 million spikes a second"


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Trains:
    """Spike trains on a grid, which Brian2 needs, one spike a tick at most.

    Attributes
    ----------
    train, tick : ndarray of int64, shape (n_spikes,)
        Train and time step of every spike, train after train.
    offsets : ndarray of int64, shape (n_trains + 1,)
        Where each train's spikes start.
    """

    train: np.ndarray
    tick: np.ndarray
    offsets: np.ndarray

    @property
    def times_s(self) -> np.ndarray:
        """Spike times in seconds."""
        return self.tick * _TICK_S

    def sum_by_train(self, values: np.ndarray) -> np.ndarray:
        """Give the sum of a value of every spike over each train."""
        return np.bincount(self.train, weights=values, minlength=_N_TRAINS)


def draw_trains(n_spikes: int) -> Trains:
    """Draw a thousand trains of 10 Hz, about `n_spikes` in all."""
    rng = np.random.default_rng(1)
    n_ticks = round(n_spikes / (_N_TRAINS * _RATE_HZ * _TICK_S))
    ticks = [np.flatnonzero(rng.random(n_ticks) < _RATE_HZ * _TICK_S) for _ in range(_N_TRAINS)]
    counts = [of_train.size for of_train in ticks]
    return Trains(
        train=np.repeat(np.arange(_N_TRAINS), counts),
        tick=np.concatenate(ticks),
        offsets=np.concatenate([[0], np.cumsum(counts)]),
    )


@numba.njit(fastmath={"contract"}, error_model="numpy")
def naive_releases(times_s, offsets, law, release):
    """Release spike by spike with math.exp, as one would write it at first."""
    for k in range(offsets.size - 1):
        u, x, last_s = 0.0, 1.0, -1e300
        for i in range(offsets[k], offsets[k + 1]):
            interval_s = times_s[i] - last_s
            x = 1.0 + (x - 1.0) * math.exp(-interval_s / law.tau_d_s)
            u = u * math.exp(-interval_s / law.tau_f_s)
            u += law.U * (1.0 - u)
            release[i] = u * x
            x -= u * x
            last_s = times_s[i]


def numpy_releases(trains: Trains, law) -> np.ndarray:
    """Release the k-th spikes of all trains together."""
    counts, times_s = np.diff(trains.offsets), trains.times_s
    # The longest train first: those that still spike are then the first ones.
    order = np.argsort(-counts)
    u, x, last_s = np.zeros(order.size), np.ones(order.size), np.full(order.size, -1e300)
    release = np.empty(times_s.size)
    for k in range(counts.max()):
        n = int((counts > k).sum())
        at = trains.offsets[order[:n]] + k
        interval_s = times_s[at] - last_s[:n]
        found = 1.0 + (x[:n] - 1.0) * np.exp(-interval_s / law.tau_d_s)
        used = u[:n] * np.exp(-interval_s / law.tau_f_s)
        used += law.U * (1.0 - used)
        release[at] = used * found
        u[:n], x[:n], last_s[:n] = used, found - release[at], times_s[at]
    return release


def python_releases(trains: Trains, law) -> np.ndarray:
    """Release spike by spike in plain Python, on a list, which it reads faster than an array."""
    release = [0.0] * trains.tick.size
    naive_releases.py_func(trains.times_s.tolist(), trains.offsets, law, release)
    return np.array(release)


def brian2_run(trains: Trains, law) -> tuple[Callable[[], np.ndarray], str]:
    """Build Brian2's event-driven synapses; give a run to the sum of releases of each train, and its code's target."""
    import brian2 as b2

    b2.defaultclock.dt = _TICK_S * b2.second
    source = b2.SpikeGeneratorGroup(_N_TRAINS, trains.train, trains.tick * _TICK_S * b2.second)
    target = b2.NeuronGroup(_N_TRAINS, "released : 1")
    synapse = b2.Synapses(
        source,
        target,
        "du/dt = -u / tau_f : 1 (event-driven)\ndx/dt = (1 - x) / tau_d : 1 (event-driven)",
        on_pre="u += U * (1 - u)\nreleased_post += u * x\nx -= u * x",
        namespace={"U": law.U, "tau_f": law.tau_f_s * b2.second, "tau_d": law.tau_d_s * b2.second},
    )
    synapse.connect(j="i")
    synapse.x = 1
    network = b2.Network(source, target, synapse)
    duration = (int(trains.tick.max()) + 1) * _TICK_S * b2.second
    # The first run writes and compiles the code.
    network.store()
    network.run(_TICK_S * b2.second)

    def run() -> np.ndarray:
        network.restore()
        network.run(duration)
        return np.array(target.released)

    code = synapse.pre.codeobj
    return run, type(code).__name__


def compare_events(options: argparse.Namespace) -> None:
    """Print how fast a million spikes are released."""
    trains, law, repeats = draw_trains(options.spikes), _STP.law, options.repeats
    times_s, n = trains.times_s, trains.tick.size
    out = [np.empty(n) for _ in range(3)]
    naive = np.empty(n)
    contenders: dict[str, tuple[Callable, int]] = {
        "cortexrnn, kernel": (lambda: release_spikes(times_s, trains.offsets, law, *out), repeats),
        "cortexrnn, release_trains": (lambda: release_trains(_STP, times_s, trains.offsets), repeats),
        "Numba, math.exp": (lambda: naive_releases(times_s, trains.offsets, law, naive), repeats),
        "NumPy, all trains together": (lambda: numpy_releases(trains, law), 3),
        "plain Python": (lambda: python_releases(trains, law), 1),
    }
    answers = {name: run() for name, (run, _) in contenders.items()}
    ours = answers["cortexrnn, release_trains"].release
    check("cortexrnn, kernel", out[0], ours)
    check("Numba, math.exp", naive, ours)
    for name in ("NumPy, all trains together", "plain Python"):
        check(name, answers[name], ours)
    if not options.without_brian2:
        run, target = brian2_run(trains, law)
        check("Brian2", run(), trains.sum_by_train(ours))
        contenders[f"Brian2 ({target})"] = (run, 1)
    seconds = {name: measure.best_cpu_s(run, times) for name, (run, times) in contenders.items()}
    print(f"\n{n} spikes of {_N_TRAINS} trains over {trains.tick.max() + 1} ticks of {_TICK_S} s")
    print(f"  {'':38s} {'ms':>10s} {'million spikes/s':>17s} {'times ours':>11s}")
    for name, s in seconds.items():
        print(f"  {name:38s} {1e3 * s:10.2f} {n / s / 1e6:17.2f} {s / seconds['cortexrnn, kernel']:11.1f}")


def numpy_step(u, x, rate_hz, dt_s, law):
    """Give u and x after the step of `rate_step`, in NumPy."""
    relaxation_hz = 1.0 / law.tau_f_s + law.U * rate_hz
    new_u = u - (law.U * (1.0 / law.tau_f_s + rate_hz) / relaxation_hz - u) * np.expm1(-dt_s * relaxation_hz)
    relaxation_hz = 1.0 / law.tau_d_s + 0.5 * (u + new_u) * rate_hz
    return new_u, x - (1.0 / law.tau_d_s / relaxation_hz - x) * np.expm1(-dt_s * relaxation_hz)


def compare_rate_steps(options: argparse.Namespace) -> None:
    """Print how fast the rate form steps."""
    print("\none step of the rate form, ns an element")
    print(f"  {'':38s} {'cortexrnn':>10s} {'NumPy':>8s} {'ratio':>7s}")
    for dtype in (np.float32, np.float64):
        rng = np.random.default_rng(2)
        start = rng.random((2, _N_ELEMENTS)).astype(dtype)
        rate_hz = rng.exponential(20.0, _N_ELEMENTS).astype(dtype)
        u, x = start.copy()
        advance_rates(u, x, rate_hz, 0.001, _STP.law)
        for ours, theirs in zip((u, x), numpy_step(*start, rate_hz, 0.001, _STP.law), strict=True):
            check("NumPy", theirs, ours, 10.0 * np.finfo(dtype).eps)
        step, by_numpy = (
            time_an_element(lambda u=u, x=x, r=rate_hz: advance_rates(u, x, r, 0.001, _STP.law), options.repeats),
            time_an_element(lambda u=u, x=x, r=rate_hz: numpy_step(u, x, r, 0.001, _STP.law), options.repeats),
        )
        print(f"  {np.dtype(dtype).name:38s} {step:10.2f} {by_numpy:8.2f} {by_numpy / step:7.1f}")


@numba.njit(error_model="numpy")
def math_tanh(v, out):
    """Apply math.tanh."""
    for i in range(v.size):
        out[i] = math.tanh(v[i])


@numba.njit(error_model="numpy")
def math_softplus(v, out):
    """Apply log(1 + exp)."""
    for i in range(v.size):
        out[i] = max(v[i], 0.0) + math.log1p(math.exp(-abs(v[i])))


@numba.njit(error_model="numpy")
def math_sigmoid(v, out):
    """Apply the logistic sigmoid."""
    for i in range(v.size):
        out[i] = 1.0 / (1.0 + math.exp(-v[i]))


@numba.njit(error_model="numpy")
def math_relu(v, out):
    """Apply max(v, 0)."""
    for i in range(v.size):
        out[i] = max(v[i], 0.0)


@numba.njit(error_model="numpy")
def math_square(v, out):
    """Apply max(v, 0)^2."""
    for i in range(v.size):
        out[i] = max(v[i], 0.0) ** 2.0


# What NumPy and a loop of math.* do for the unit gain and no threshold; linear and wilson_cowan add nothing new.
PEERS = {
    "tanh": (np.tanh, math_tanh),
    "relu": (lambda v: np.maximum(v, 0.0), math_relu),
    "softplus": (lambda v: np.maximum(v, 0.0) + np.log1p(np.exp(-np.abs(v))), math_softplus),
    "sigmoid": (lambda v: 1.0 / (1.0 + np.exp(-v)), math_sigmoid),
    "power": (lambda v: np.maximum(v, 0.0) ** 2.0, math_square),
}


def compare_activations(options: argparse.Namespace) -> None:
    """Print how fast activations are."""
    print("\nactivations, ns an element")
    print(f"  {'':38s} {'cortexrnn':>10s} {'NumPy':>8s} {'math.*':>8s} {'NumPy/ours':>11s} {'math.*/ours':>12s}")
    for kind, (by_numpy, by_math) in PEERS.items():
        activation = Activation(kind=kind, exponent=2.0 if kind == "power" else 1.0)
        law = (KINDS.index(kind), activation.gain, activation.threshold, activation.exponent)
        for dtype in (np.float32, np.float64):
            z = np.random.default_rng(3).normal(0.0, 2.0, _N_ELEMENTS).astype(dtype)
            ours, looped = np.empty_like(z), np.empty_like(z)
            activate(*law, z, ours)
            by_math(z, looped)
            check("NumPy", by_numpy(z), ours, 10.0 * np.finfo(dtype).eps)
            check("math.*", looped, ours, 10.0 * np.finfo(dtype).eps)
            times_ns = [
                time_an_element(lambda law=law, z=z, out=ours: activate(*law, z, out), options.repeats),
                time_an_element(lambda run=by_numpy, z=z: run(z), options.repeats),
                time_an_element(lambda run=by_math, z=z, out=looped: run(z, out), options.repeats),
            ]
            columns = f"{times_ns[0]:10.2f} {times_ns[1]:8.2f} {times_ns[2]:8.2f}"
            name = f"{kind} {np.dtype(dtype).name}"
            print(f"  {name:38s} {columns} {times_ns[1] / times_ns[0]:11.1f} {times_ns[2] / times_ns[0]:12.1f}")


def time_an_element(run: Callable[[], object], repeats: int) -> float:
    """Give the time of a call that goes over `_N_ELEMENTS` elements, in nanoseconds an element."""

    def many() -> None:
        for _ in range(_CALLS):
            run()

    return measure.best_cpu_s(many, repeats) / (_CALLS * _N_ELEMENTS) * 1e9


def check(name: str, answer: np.ndarray, ours: np.ndarray, rtol: float = 1e-10) -> None:
    """Stop where an answer is not ours."""
    np.testing.assert_allclose(answer, ours, rtol=rtol, atol=rtol * 1e-3, err_msg=name)


TABLES = {"events": compare_events, "rates": compare_rate_steps, "activations": compare_activations}


def main() -> None:
    """Read the options and print every table in a process of its own, which no other peer has stirred."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--spikes", type=int, default=1_000_000)
    parser.add_argument("--repeats", type=int, default=15)
    parser.add_argument(
        "--without-brian2", action="store_true", help="leave Brian2 out (its code takes long to compile)"
    )
    parser.add_argument("--table", choices=TABLES, help="print this one only")
    options = parser.parse_args()
    if options.table:
        TABLES[options.table](options)
        return
    print(measure.describe_machine())
    print(measure.describe_versions(_PACKAGES))
    print(_GOALS, flush=True)
    for name in TABLES:
        subprocess.run([sys.executable, __file__, *sys.argv[1:], "--table", name], check=True)


if __name__ == "__main__":
    main()
