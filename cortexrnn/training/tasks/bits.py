"""The n-bit flip-flop: every output remembers the sign of the last pulse on its input."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import pandas as pd

from cortexrnn._checks import check_count, check_positive
from cortexrnn.errors import OptionError
from cortexrnn.training.losses import MSE
from cortexrnn.training.tasks.contract import Batch, Draws, Task
from cortexrnn.training.tasks.timeline import n_steps_of


@dataclass(frozen=True, kw_only=True)
class FlipFlop(Task):
    """Pulses of +1 and -1 arrive on each input independently; each output holds the sign of the last one.

    Time is cut into slots. A slot starts with a pulse on an input with probability `pulse_probability`; the first slot
    has one on every input, so that every target is defined. Steps of the pulses do not count in the loss: the output
    may take that long to turn. Right is a trial in which all outputs have the right sign at the end of every slot.

    Attributes
    ----------
    n_bits : int
        3.
    n_slots : int
        Slots in a trial.
    slot_s, pulse_s : float
        Durations of a slot and of the pulse at its start, in seconds.
    pulse_probability : float
        Per slot and input.

    Raises
    ------
    OptionError
        If a field is not valid.

    Notes
    -----
    Sussillo & Barak (2013), doi:10.1162/NECO_a_00409: three inputs with transient pulses and three outputs
    that hold +1 or -1. The durations and the probability are ours; a first pulse on every input is that of the example
    of FixedPointFinder (Golub & Sussillo 2018), which draws a pulse in every step with probability 0.5.
    """

    name: ClassVar[str] = "flip-flop"

    n_bits: int = 3
    n_slots: int = 8
    slot_s: float = 0.3
    pulse_s: float = 0.1
    pulse_probability: float = 0.4
    noise_sd: float = 0.0

    def __post_init__(self):
        Task.__post_init__(self)
        check_count("n_bits", self.n_bits)
        check_count("n_slots", self.n_slots)
        check_positive("pulse_s", self.pulse_s)
        check_positive("slot_s", self.slot_s)
        if not n_steps_of(self.pulse_s, self.dt_s) < n_steps_of(self.slot_s, self.dt_s):
            raise OptionError(f"pulse_s={self.pulse_s} leaves no step of slot_s={self.slot_s} to hold.")
        if not 0.0 < self.pulse_probability <= 1.0:
            raise OptionError(f"pulse_probability={self.pulse_probability!r} is not valid; expected above 0 to 1.")

    @property
    def input_names(self) -> tuple[str, ...]:
        """Bits."""
        return tuple(f"bit {k}" for k in range(self.n_bits))

    @property
    def output_names(self) -> tuple[str, ...]:
        """Bits."""
        return self.input_names

    @property
    def n_steps(self) -> int:
        """Steps of every trial."""
        return self.n_slots * n_steps_of(self.slot_s, self.dt_s)

    @property
    def chance(self) -> float:
        """All signs at the end of all slots by chance."""
        return 0.5 ** (self.n_bits * self.n_slots)

    @property
    def n_draws(self) -> int:
        """One for every slot and input."""
        return self.n_slots * self.n_bits

    def _compose(self, draws: Draws) -> Batch:
        """Draw the pulses of every slot and hold their signs."""
        per_slot, per_pulse = n_steps_of(self.slot_s, self.dt_s), n_steps_of(self.pulse_s, self.dt_s)
        uniform = draws.uniform.reshape(-1, self.n_slots, self.n_bits)
        # One number decides both: below half the probability a negative pulse, above its complement a positive one.
        pulse = (uniform >= 1.0 - 0.5 * self.pulse_probability).astype(np.int64)
        pulse -= uniform < 0.5 * self.pulse_probability
        pulse[:, 0] = np.where(uniform[:, 0] < 0.5, -1, 1)
        latest = np.maximum.accumulate(np.where(pulse != 0, np.arange(self.n_slots)[:, None], 0), axis=1)
        state = np.take_along_axis(pulse, latest, axis=1)
        in_pulse = np.arange(self.n_steps) % per_slot < per_pulse
        inputs = (np.repeat(pulse, per_slot, axis=1) * in_pulse[:, None]).astype(np.float32)
        targets = np.repeat(state, per_slot, axis=1).astype(np.float32)
        mask = np.broadcast_to(~in_pulse, (len(pulse), self.n_steps)).astype(np.float32)
        length = np.full(len(pulse), self.n_steps, dtype=np.int64)
        return Batch(inputs, targets, None, mask, length, self._table(pulse, state), MSE)

    def _table(self, pulse: np.ndarray, state: np.ndarray) -> pd.DataFrame:
        """Say how many pulses a trial had and where it ended."""
        final = state[:, -1] > 0
        return pd.DataFrame(
            {"n_pulses": (pulse != 0).sum(axis=(1, 2)), **{f"bit_{k}": final[:, k] for k in range(self.n_bits)}}
        )

    def _judge(self, outputs: np.ndarray, batch: Batch) -> tuple[np.ndarray, dict[str, np.ndarray]]:
        """Compare signs at the last step of every slot."""
        per_slot = n_steps_of(self.slot_s, self.dt_s)
        is_right = (outputs[:, per_slot - 1 :: per_slot] > 0.0) == (batch.targets[:, per_slot - 1 :: per_slot] > 0.0)
        return is_right.all(axis=(1, 2)).astype(float), {"fraction_held": is_right.mean(axis=(1, 2))}
