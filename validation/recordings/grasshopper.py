"""Two auditory receptors of a grasshopper with the sound they heard, from the data files of the package nitime.

    python validation/recordings/grasshopper.py NITIME OUT

NITIME is the folder of that package's data files. OUT gets the tables that ``cortexrnn compare`` reads: spikes and
sound of each recording.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import numpy as np

import cortexrnn as cx
from cortexrnn.errors import EXIT_DONE

NUMBERS = (1, 2)
# A presentation lasts 10 s, so blocks are short; a receptor forgets the sound and its own spikes within this burn-in.
DURATION_S, BLOCK_S, HISTORY_S, BIN_S = 10.0, 0.35, 0.05, 1e-3
# Receptors answer within a few milliseconds, and 21 lags of 1 ms are few enough for a weight each.
LAGS_S = (0.0, 0.02)
_TICK_HZ = 1e6


def read(folder: Path, number: int) -> tuple[cx.Recording, dict[str, cx.Signal]]:
    """Read one receptor and its sound.

    Parameters
    ----------
    folder : Path
        With ``grasshopper_spike_times1.txt``, ``grasshopper_stimulus1.txt`` and those of 2; times in microseconds.
    number : int
        1 or 2.

    Returns
    -------
    recording : Recording
        One unit, observed for 10 s.
    sounds : dict of str to Signal
        The envelope as it stands in the file (``amplitude``) and its level (``level_db``, dB re full amplitude), which
        is what was drawn from a Gaussian law.
    """
    times_us, sound = _load(folder, number)
    recording = cx.Recording.from_arrays(
        {f"receptor {number}": times_us / _TICK_HZ},
        observed_s=np.array([[0.0, DURATION_S]]),
        tick_hz=_TICK_HZ,
        attrs={"source": f"grasshopper_spike_times{number}.txt"},
    )
    time_s = sound[:, 0] / _TICK_HZ
    values = {"amplitude": sound[:, 1], "level_db": level_db(sound[:, 1])}
    return recording, {name: cx.Signal(time_s=time_s, values=column) for name, column in values.items()}


def level_db(amplitude: np.ndarray) -> np.ndarray:
    """Give the level of an amplitude in dB re 1.

    Parameters
    ----------
    amplitude : ndarray
        Above 0.

    Returns
    -------
    ndarray
    """
    return 20.0 * np.log10(amplitude)


def write_tables(folder: Path, number: int, out: Path) -> None:
    """Write one receptor as the tables that the readers take: spikes and sound.

    Parameters
    ----------
    folder : Path
        As in `read`.
    number : int
        1 or 2.
    out : Path
        Gets ``spikesN.csv`` and ``soundN.csv``.
    """
    times_us, sound = _load(folder, number)
    out.mkdir(parents=True, exist_ok=True)
    spikes = [f"receptor {number},{time_us:.0f}" for time_us in times_us]
    samples = [f"{row[0]:.0f},{row[1]:g},{level:.4f}" for row, level in zip(sound, level_db(sound[:, 1]), strict=True)]
    for name, header, rows in (
        (f"spikes{number}.csv", "unit,time_us", spikes),
        (f"sound{number}.csv", "time_us,amplitude,level_db", samples),
    ):
        (out / name).write_text("\n".join([header, *rows]) + "\n")


def _load(folder: Path, number: int) -> tuple[np.ndarray, np.ndarray]:
    """Load spike times in microseconds, and times in microseconds with amplitudes."""
    spikes = np.loadtxt(folder / f"grasshopper_spike_times{number}.txt")
    return spikes, np.loadtxt(folder / f"grasshopper_stimulus{number}.txt")


def main() -> int:
    """Write the tables of both recordings."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("nitime", type=Path)
    parser.add_argument("out", type=Path)
    given = parser.parse_args()
    for number in NUMBERS:
        write_tables(given.nitime, number, given.out)
    return EXIT_DONE


if __name__ == "__main__":
    sys.exit(main())
