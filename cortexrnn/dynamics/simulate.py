"""Simulate a circuit: many trials side by side, tiles of them over threads."""

from __future__ import annotations

import concurrent.futures
import importlib.metadata
import sys
import threading
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import xarray as xr
from threadpoolctl import threadpool_limits
from tqdm import tqdm

from cortexrnn._checks import check_choice, check_count, check_positive
from cortexrnn.circuit.spec import Circuit
from cortexrnn.dynamics.network import AUTO, LAYOUTS, METHODS, Network, SparseNetwork, make_network
from cortexrnn.dynamics.observe import Observer
from cortexrnn.dynamics.record import Record, open_store
from cortexrnn.dynamics.stimuli import Drive, Stimulus
from cortexrnn.dynamics.tile import Beginning, Tile
from cortexrnn.errors import InterruptedRunError, OptionError
from cortexrnn.numerics.lanes import N_LANES
from cortexrnn.runs.executor import default_workers

# Numbers of external current and of kept states that a block of steps of a tile holds.
_BLOCK_NUMBERS = 1 << 18


@dataclass(frozen=True, kw_only=True, slots=True)
class Solver:
    """How a simulation is computed.

    Attributes
    ----------
    method : {"exponential_euler", "euler", "runge_kutta"}
        Integrator. Short-term plasticity relaxes exactly under the first two.
    layout : {"auto", "dense", "sparse", "hashed"}
        How the weights are held: as a matrix, as a table of connections, or not at all but computed from the
        wiring's hash at every step (fixed in-degree and constant weights only). "auto" is dense up to 4096 units.
        A layout decides in which order currents are summed, so results agree to rounding only.
    n_threads : int, optional
        Threads; none for every core that the process may use. No number depends on it.
    shows_progress : bool
        Whether to draw a progress bar on the error stream.

    Raises
    ------
    OptionError
        If a value is not valid.
    """

    method: str = "exponential_euler"
    layout: str = AUTO
    n_threads: int | None = None
    shows_progress: bool = False

    def __post_init__(self):
        check_choice("method", self.method, METHODS)
        check_choice("layout", self.layout, LAYOUTS)
        if self.n_threads is not None:
            object.__setattr__(self, "n_threads", check_count("n_threads", self.n_threads))


class _Clock(NamedTuple):
    """Steps of a simulation, and which of them are kept."""

    dt_s: float
    n_steps: int
    every: int
    first: int

    @property
    def time_s(self) -> np.ndarray:
        """Kept moments, shape (n_kept,)."""
        return np.round(np.arange(self.first, self.n_steps, self.every) * self.dt_s, 12)

    def blocks(self, n_drawn: int, n_kept: int) -> list[tuple[int, int]]:
        """Cut the steps into blocks of about `_BLOCK_NUMBERS`; the first kept moment begins one.

        A step takes `n_drawn` numbers, and `n_kept` more where it is kept.
        """
        skipped = max(1, _BLOCK_NUMBERS // n_drawn)
        length = max(1, _BLOCK_NUMBERS // (n_drawn + n_kept // self.every) // self.every) * self.every
        starts = [*range(0, self.first, skipped), *range(self.first, self.n_steps, length)]
        return list(zip(starts, [*starts[1:], self.n_steps], strict=True))


def simulate(
    circuit: Circuit,
    *,
    duration_s: float,
    dt_s: float = 1e-3,
    n_trials: int = 1,
    stimulus: Stimulus | None = None,
    seed: int = 0,
    initial: Any = None,
    dtype: Any = np.float64,
    record: Record | None = None,
    solver: Solver | None = None,
) -> xr.Dataset:
    """Simulate a circuit.

    Trials differ in their initial state and noise only, unless a stimulus has values for each. A trial's numbers
    depend on the circuit, `seed` and its number, not on how many others there are or on the threads.

    Parameters
    ----------
    circuit : Circuit
        Its wiring seed decides the weights.
    duration_s : float
        Length of a trial in seconds, a whole number of steps.
    dt_s : float
        Time step in seconds.
    n_trials : int
    stimulus : mapping of str to Signal, optional
        By channel or population; see `cortexrnn.dynamics.stimuli`.
    seed : int
        Of initial states and noise.
    initial : array_like, shape (n_units,) or (n_trials, n_units), optional
        State before the first step, currents or rates by the circuit's form; drawn by default.
    dtype : numpy float type
        float64, or float32 for large simulations.
    record : Record, optional
        What is kept; by default the rates of every unit at every step, and the state of plastic synapses.
    solver : Solver, optional
        Integrator and threads.

    Returns
    -------
    xarray.Dataset
        ``rate`` (trial, time, unit), as of the moment `time`; ``u`` and ``x`` where synapses are plastic (one pair a
        class where there are several, as ``u_name``; NaN for units without); ``current_e``, ``current_i`` and
        ``current_ext`` where asked for. Coordinates `population` and `sign` over unit.

    Raises
    ------
    OptionError
        If an argument is not valid.
    NumericalError
        If the activity is no longer finite.
    InterruptedRunError
        If the user pressed Ctrl-C.

    Examples
    --------
    >>> from cortexrnn.circuit import Circuit
    >>> run = simulate(Circuit.random(50, gain=0.5, seed=1), duration_s=0.5, n_trials=2)
    >>> dict(run.sizes), bool(abs(run.rate.isel(time=-1)).max() < 1e-3)
    ({'trial': 2, 'time': 500, 'unit': 50}, True)
    """
    record, solver = record or Record(), solver or Solver()
    clock = _clock(duration_s, dt_s, record)
    n_trials = check_count("n_trials", n_trials)
    dtype = _precision(dtype)
    _check_step(circuit, clock.dt_s, solver.method)
    n_threads = solver.n_threads or default_workers()
    network = make_network(
        circuit, clock.dt_s, dtype, method=solver.method, layout=solver.layout, n_threads=n_threads
    )
    beginning = Beginning(Drive(circuit, stimulus or {}), int(seed), _initial(initial, n_trials, circuit), n_trials)
    observer = Observer(network, record, dtype)
    coords = _coords(circuit, n_trials, clock.time_s, observer.units)
    attrs = _provenance(circuit, clock, solver.method, seed)
    with open_store(record.path, observer.layout(), coords, attrs) as store:
        _run(network, beginning, clock, solver, lambda tile, kept, at: observer.put(store, tile, kept, at))
        dataset = store.dataset() if record.path is None else None
    return xr.open_dataset(record.path, engine="h5netcdf") if dataset is None else dataset


def tiles_of(n_trials: int) -> list[range]:
    """Cut trials into tiles: 16 side by side, and the rest alone where they are fewer than eight."""
    n_whole = n_trials // N_LANES
    tiles = [range(i * N_LANES, (i + 1) * N_LANES) for i in range(n_whole)]
    rest = range(n_whole * N_LANES, n_trials)
    if len(rest) < N_LANES // 2:
        return tiles + [range(trial, trial + 1) for trial in rest]
    return [*tiles, range(rest.start, rest.start + N_LANES)]


def _run(network: Network, beginning: Beginning, clock: _Clock, solver: Solver, keep: Callable) -> None:
    """Advance all tiles over threads."""
    tiles = tiles_of(beginning.n_trials)
    n_tile = network.circuit.size * N_LANES
    has_own_currents = network.circuit.noise is not None or beginning.drive.differs_between_trials
    blocks = clock.blocks(n_tile if has_own_currents else network.circuit.size, n_tile)
    stopped = threading.Event()
    bar = tqdm(
        total=len(tiles) * clock.n_steps, desc="simulating", disable=not solver.shows_progress, leave=False,
        unit="step", unit_scale=True, file=sys.stderr,
    )  # fmt: skip

    def go(trials: range) -> None:
        tile = Tile(network, beginning, trials)
        for start, stop in blocks:
            if stopped.is_set():
                return
            if start < clock.first:
                tile.advance(start, stop, stop - start)
            else:
                keep(tile, tile.advance(start, stop, clock.every), (start - clock.first) // clock.every)
            bar.update(stop - start)

    # Threads share the units of a sparse network, and the tiles of a dense one.
    n_threads = 1 if isinstance(network, SparseNetwork) else min(solver.n_threads or default_workers(), len(tiles))
    pool = concurrent.futures.ThreadPoolExecutor(n_threads)
    try:
        with threadpool_limits(1):
            for future in concurrent.futures.as_completed([pool.submit(go, trials) for trials in tiles]):
                future.result()
    except KeyboardInterrupt as error:
        raise InterruptedRunError("the simulation was stopped; nothing was kept.") from error
    finally:
        stopped.set()
        pool.shutdown(wait=True, cancel_futures=True)
        bar.close()


def _clock(duration_s: float, dt_s: float, record: Record) -> _Clock:
    """Count the steps."""
    duration_s, dt_s = check_positive("duration_s", duration_s), check_positive("dt_s", dt_s)
    counts = {"duration_s": duration_s / dt_s, "record.start_s": record.start_s / dt_s}
    for name, n in counts.items():
        if abs(n - round(n)) > 1e-6 * max(1.0, n):
            raise OptionError(f"{name} is {n:.6g} steps of dt_s={dt_s}; expected a whole number of them.")
    n_steps, first = (round(n) for n in counts.values())
    if not first < n_steps:
        raise OptionError(f"record.start_s={record.start_s} is not before the end, {duration_s} s.")
    return _Clock(dt_s, n_steps, record.every, first)


def _precision(dtype: Any) -> np.dtype:
    """Give float32 or float64, or refuse."""
    try:
        found = np.dtype(dtype)
    except TypeError:
        found = None
    if found not in (np.dtype(np.float32), np.dtype(np.float64)):
        raise OptionError(f"dtype={dtype!r} is not valid; expected float32 or float64.")
    return found


def _check_step(circuit: Circuit, dt_s: float, method: str) -> None:
    """Refuse a step with which the leak alone would not decay."""
    fastest = float(circuit.tau_s.min())
    if method != "exponential_euler" and dt_s > 2.0 * fastest:
        raise OptionError(
            f"dt_s={dt_s} is more than twice the shortest time constant, {fastest} s: {method} is unstable there.",
            hint="Lower dt_s, and see check_dt().",
        )


def _initial(given: Any, n_trials: int, circuit: Circuit) -> np.ndarray | None:
    """Check the shape of an initial state."""
    if given is None:
        return None
    initial = np.asarray(given, dtype=float)
    if initial.shape not in ((circuit.size,), (n_trials, circuit.size)) or not np.isfinite(initial).all():
        raise OptionError(
            f"initial has shape {initial.shape}; expected finite ({circuit.size},) or ({n_trials}, {circuit.size})."
        )
    return initial


def _coords(circuit: Circuit, n_trials: int, time_s: np.ndarray, units: np.ndarray) -> dict[str, tuple]:
    """Label trials, moments and units."""
    names = np.array([population.name for population in circuit.populations])
    return {
        "trial": ("trial", np.arange(n_trials)),
        "time": ("time", time_s, {"units": "s", "long_name": "time"}),
        "unit": ("unit", units),
        "population": ("unit", names[circuit.population_of[units]]),
        "sign": ("unit", circuit.signs[units]),
    }


def _provenance(circuit: Circuit, clock: _Clock, method: str, seed: int) -> dict[str, Any]:
    """Say where the numbers come from."""
    return {
        "circuit": circuit.name,
        "circuit_hash": circuit.hash(),
        "wiring_seed": circuit.wiring_seed,
        "seed": int(seed),
        "dt_s": clock.dt_s,
        "method": method,
        "rate_scale_hz": circuit.rate_scale_hz or np.nan,
        "cortexrnn": importlib.metadata.version("cortexrnn"),
        "numpy": np.__version__,
    }
