"""Make the embedded recording: six neurons of a Brian2 E-I network and five units whose truth is known.

Run as ``python data/make_recording.py [OUT]``; without OUT the file beside this script is replaced.
Every random number comes from NumPy Generators keyed by purpose, and Brian2 runs on its numpy target
with explicit connection arrays, so that the same versions of both give the same arrays.
"""

from __future__ import annotations

import argparse
import dataclasses
import datetime
import hashlib
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import numpy as np
from ei_network import N_EXCITATORY, STEP_S, WIRING_SEED, Stimulus, draw_cells, simulate_network, stream

TICK_RATE_HZ = round(1.0 / STEP_S)
NOISE_SEED = 3

# Fixed, so that the file does not depend on the day on which it was made.
WRITTEN_AT = datetime.datetime(2026, 11, 21, 9, 0, tzinfo=datetime.UTC)

N_TRIALS = 60
TRIAL_S = 1.2
STIMULUS_ON_S = 0.2
STIMULUS_S = 0.6
GAP_RANGE_S = (1.5, 2.0)
# Blocks are joined this long after a trial: a trial and the second before it are one run of the network.
JOIN_AFTER_S = 0.4
WARM_UP_S = 0.5
CONTRAST = {"weak": 0.5, "strong": 1.0}

# Neurons of the network that an electrode would have picked up: 5 to 40 Hz, with unlike latencies.
RECORDED = (34, 45, 76, 85, 125, 133)


class Session(NamedTuple):
    """Where the trials lie, in ticks of the session clock.

    Attributes
    ----------
    start, stop, stimulus_on : ndarray of int64, shape (N_TRIALS,)
        Trial start, trial stop and stimulus onset.
    join : ndarray of int64, shape (N_TRIALS + 1,)
        Limits of the blocks, one block a trial; the last is the end of the session.
    condition : ndarray of str, shape (N_TRIALS,)
        Stimulus contrast, ``weak`` or ``strong``.
    """

    start: np.ndarray
    stop: np.ndarray
    stimulus_on: np.ndarray
    join: np.ndarray
    condition: np.ndarray


class Unit(NamedTuple):
    """Spike ticks of one unit and the truth about it, as it stands in the file."""

    ticks: np.ndarray
    truth: str
    has_history: str
    truth_text: str


@dataclasses.dataclass(frozen=True, kw_only=True)
class Control:
    """A unit without a network: a rate locked to the stimulus, times the effect of its own past spikes.

    Attributes
    ----------
    truth, truth_text : str
        Short label and one sentence.
    rate_hz : tuple of float
        Rate before the stimulus, height of its onset transient and of its sustained part, at full contrast.
    latency_s : float
        Time from stimulus onset to the first change of the rate.
    gain_variance : float
        Variance of the Gamma factor, of mean 1, that scales a whole block.
    history : callable, optional
        Factor on the rate from the present tick and the list of past spike ticks.
    largest_factor : float
        Upper bound of `history`, for thinning.
    """

    truth: str
    truth_text: str
    rate_hz: tuple[float, float, float]
    latency_s: float
    gain_variance: float = 0.0
    history: Callable[[int, list[int]], float] | None = None
    largest_factor: float = 1.0


def make_session() -> Session:
    """Draw the gaps between the trials and the order of the conditions."""
    rng = stream("session", WIRING_SEED)
    gap = rng.integers(_ticks(GAP_RANGE_S[0]), _ticks(GAP_RANGE_S[1]), N_TRIALS, endpoint=True)
    length = _ticks(TRIAL_S)
    join = np.concatenate(([0], np.cumsum(gap + length)))
    start = join[1:] - _ticks(JOIN_AFTER_S) - length
    return Session(
        start=start,
        stop=start + length,
        stimulus_on=start + _ticks(STIMULUS_ON_S),
        join=join,
        condition=rng.permutation(np.repeat(list(CONTRAST), N_TRIALS // len(CONTRAST))),
    )


def dead_time(tick: int, past: list[int]) -> float:
    """Silence a unit for 3 ms after a spike."""
    return 0.0 if past and tick - past[-1] < _ticks(0.003) else 1.0


def bursting(tick: int, past: list[int]) -> float:
    """Silence a unit for 2 ms, raise its rate 20-fold until 6 ms and lower it to a third until 40 ms."""
    since_s = (tick - past[-1]) / TICK_RATE_HZ if past else 1.0
    if since_s < 0.002:
        return 0.0
    if since_s < 0.006:
        return 20.0
    return 1.0 / 3.0 if since_s < 0.040 else 1.0


def adapting(tick: int, past: list[int]) -> float:
    """Multiply the rate by exp(-1) for every past spike, recovering with 90 ms."""
    trace = 0.0
    for spike in reversed(past):
        age_s = (tick - spike) / TICK_RATE_HZ
        if age_s > 1.0:
            break
        trace += np.exp(-age_s / 0.090)
    return float(np.exp(-trace))


CONTROLS = (
    Control(
        truth="poisson",
        truth_text="Poisson spikes from a stimulus-locked rate; past spikes say nothing more.",
        rate_hz=(12.0, 45.0, 22.0),
        latency_s=0.035,
    ),
    Control(
        truth="poisson with trial gain",
        truth_text="Poisson spikes, scaled by one Gamma factor a trial (variance 0.25); no spike history.",
        rate_hz=(16.0, 30.0, 22.0),
        latency_s=0.050,
        gain_variance=0.25,
    ),
    Control(
        truth="dead time 3 ms",
        truth_text="Poisson spikes with an absolute dead time of 3 ms after every spike, and nothing else.",
        rate_hz=(22.0, 60.0, 18.0),
        latency_s=0.025,
        history=dead_time,
    ),
    Control(
        truth="bursting",
        truth_text="After a spike: silence to 2 ms, 20-fold rate to 6 ms, a third of the rate to 40 ms.",
        rate_hz=(8.0, 30.0, 10.0),
        latency_s=0.060,
        history=bursting,
        largest_factor=20.0,
    ),
    Control(
        truth="adapting",
        truth_text="Every spike multiplies the rate by exp(-1), which recovers exponentially with 90 ms.",
        rate_hz=(40.0, 200.0, 90.0),
        latency_s=0.040,
        history=adapting,
    ),
)


def make_control(control: Control, session: Session, noise_seed: int = NOISE_SEED) -> Unit:
    """Simulate a control unit by thinning on the tick grid, which is exact.

    Parameters
    ----------
    control : Control
        What the unit does.
    session : Session
        Trials and conditions.
    noise_seed : int
        Seed of everything that would differ if the experiment were repeated.

    Returns
    -------
    Unit
        Sorted spike ticks over the whole session, at most one spike a tick, and the truth.
    """
    rng = stream(control.truth, noise_seed)
    rate_hz = _locked_rate_hz(control, session)
    if control.gain_variance > 0.0:
        gain = rng.gamma(1.0 / control.gain_variance, control.gain_variance, N_TRIALS)
        rate_hz = rate_hz * np.repeat(gain, np.diff(session.join))
    bound = rate_hz * control.largest_factor / TICK_RATE_HZ
    candidates = np.flatnonzero(rng.random(bound.size) < bound)
    accept = rng.random(candidates.size) * control.largest_factor
    past: list[int] = []
    for tick, level in zip(candidates.tolist(), accept.tolist(), strict=True):
        if control.history is None or level < control.history(tick, past):
            past.append(tick)
    has_history = "no" if control.history is None else "yes"
    return Unit(np.array(past, dtype=np.int64), control.truth, has_history, control.truth_text)


def make_network_units(session: Session, noise_seed: int = NOISE_SEED) -> list[Unit]:
    """Simulate the network and lay the recorded neurons' blocks on the session clock.

    Parameters
    ----------
    session : Session
        Trials and conditions.
    noise_seed : int
        Seed of everything that would differ if the experiment were repeated.

    Returns
    -------
    list of Unit
        One unit for each of `RECORDED`.
    """
    # The stimulus comes after the warm-up and the longest stretch that any block keeps before it.
    on_s = WARM_UP_S + GAP_RANGE_S[1] - JOIN_AFTER_S + STIMULUS_ON_S
    contrast = np.array([CONTRAST[name] for name in session.condition])
    stimulus = Stimulus(contrast=contrast, on_s=on_s, off_s=on_s + STIMULUS_S)
    duration_s = on_s - STIMULUS_ON_S + TRIAL_S + JOIN_AFTER_S
    block, neuron, step = simulate_network(stimulus, duration_s, noise_seed)
    tick = step - _ticks(on_s) + session.stimulus_on[block]
    is_kept = (tick >= session.join[block]) & (tick < session.join[block + 1])
    return [_network_unit(index, np.sort(tick[is_kept & (neuron == index)])) for index in RECORDED]


def write_nwb(path: Path, session: Session, units: list[Unit]) -> None:
    """Write the recording with its trials, its units and the truth about each."""
    import brian2
    import pynwb

    file = pynwb.NWBFile(
        session_description="Simulated: neurons of an E-I network, and control units of known truth.",
        identifier="cortexrnn-embedded-recording-1",
        session_start_time=WRITTEN_AT,
        file_create_date=WRITTEN_AT,
        source_script="data/make_recording.py",
        source_script_file_name="make_recording.py",
        notes=f"numpy {np.__version__}; brian2 {brian2.__version__}; pynwb {pynwb.__version__}",
        keywords=["simulation", "spike history", "ground truth"],
    )
    file.add_trial_column("stimulus_on", "Onset of the stimulus in seconds of the session clock")
    file.add_trial_column("condition", "Contrast of the stimulus: weak or strong")
    for k in range(N_TRIALS):
        file.add_trial(
            start_time=session.start[k] / TICK_RATE_HZ,
            stop_time=session.stop[k] / TICK_RATE_HZ,
            stimulus_on=session.stimulus_on[k] / TICK_RATE_HZ,
            condition=str(session.condition[k]),
        )
    file.units = pynwb.misc.Units(name="units", description="Simulated units", resolution=1.0 / TICK_RATE_HZ)
    file.add_unit_column("truth", "What made the spikes, in a word")
    file.add_unit_column("has_history", "Whether past spikes of the unit change its rate, by construction")
    file.add_unit_column("truth_text", "What made the spikes, in a sentence")
    for number, unit in enumerate(units):
        file.add_unit(
            id=number,
            spike_times=unit.ticks / TICK_RATE_HZ,
            obs_intervals=np.array([[0.0, session.join[-1] / TICK_RATE_HZ]]),
            truth=unit.truth,
            has_history=unit.has_history,
            truth_text=unit.truth_text,
        )
    with pynwb.NWBHDF5IO(path, mode="w") as nwb:
        nwb.write(file)


def main() -> None:
    """Read the command line, simulate, and write the file and its SHA-256."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("out", nargs="?", type=Path, default=Path(__file__).with_name("recording.nwb"))
    parser.add_argument("--noise-seed", type=int, default=NOISE_SEED, help="repeat with other noise")
    args = parser.parse_args()
    session = make_session()
    controls = [make_control(control, session, args.noise_seed) for control in CONTROLS]
    write_nwb(args.out, session, make_network_units(session, args.noise_seed) + controls)
    digest = hashlib.sha256(args.out.read_bytes()).hexdigest()
    args.out.with_suffix(".sha256").write_text(f"{digest}  {args.out.name}\n", encoding="ascii")


def _ticks(seconds: float) -> int:
    """Convert seconds to ticks of the session clock."""
    return round(seconds * TICK_RATE_HZ)


def _network_unit(index: int, ticks: np.ndarray) -> Unit:
    """Say what kind of neuron of the network this one is."""
    cells = draw_cells()
    fires_doublets = cells["after_step_mv"][index] > 0.0
    kind = "excitatory" if index < N_EXCITATORY else "inhibitory"
    traits = [f"a refractory period of {1e3 * cells['rest_s'][index]:.1f} ms", "a reset of the membrane"]
    if kind == "excitatory":
        traits.append("spike-triggered adaptation (120 ms)")
    if fires_doublets:
        traits.append("an after-depolarisation that makes doublets")
    text = f"Neuron {index} of a simulated network, integrate-and-fire with {', '.join(traits)}."
    return Unit(ticks, f"E-I network, {kind}" + (", doublets" if fires_doublets else ""), "yes", text)


def _locked_rate_hz(control: Control, session: Session) -> np.ndarray:
    """Give the rate of every tick of the session, without history and gain."""
    baseline, transient, sustained = control.rate_hz
    rate_hz = np.full(session.join[-1], baseline)
    since_s = np.arange(_ticks(TRIAL_S - STIMULUS_ON_S + JOIN_AFTER_S)) / TICK_RATE_HZ - control.latency_s
    on_s, off_s = np.clip(since_s, 0.0, None), np.clip(since_s - STIMULUS_S, 0.0, None)
    response = (1.0 - np.exp(-on_s / 0.010)) * (transient * np.exp(-on_s / 0.060) + sustained)
    response *= np.exp(-off_s / 0.030)
    for onset, condition in zip(session.stimulus_on, session.condition, strict=True):
        rate_hz[onset : onset + response.size] += CONTRAST[condition] * response
    return rate_hz


if __name__ == "__main__":
    main()
