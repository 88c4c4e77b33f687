"""Prediction of the next symbol of a source with hidden states, beside the best that anything can do."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import ClassVar

import numpy as np

from cortexrnn._checks import check_count
from cortexrnn.errors import OptionError
from cortexrnn.numerics.streams import stream
from cortexrnn.training.hidden_sources import HiddenSource, even_process
from cortexrnn.training.losses import CROSS_ENTROPY
from cortexrnn.training.tasks.contract import TRAIN, Batch, Draws, Task, table_of


@dataclass(frozen=True, kw_only=True)
class SymbolSource(Task):
    """Every step shows a symbol; the answer is the next one.

    Inputs are one-hot. A trial is a stretch of a source that has been running for ever. Its score is the share of steps
    in which the largest output was that of the symbol that came; the judge puts what a network and the ideal observer
    pay beside it, ``loss_bits`` and ``ideal_loss_bits`` a symbol, and the ideal observer's share ``ideal_correct``.

    Attributes
    ----------
    source : HiddenSource
        The even process by default.
    n_length : int
        Steps of a trial; one symbol more is drawn, the last answer.
    n_sequences : int
        Training draws its trials, with replacement, from so many stored sequences; 0 makes new ones for ever. A test
        always has new ones.
    data_seed : int
        Of the stored sequences.

    Raises
    ------
    OptionError
        If a value is not valid.

    Notes
    -----
    The ideal observer follows Bayes' rule from the first symbol of the trial on (`HiddenSource.predict`), which is all
    that a network sees too: no network has a smaller expected loss.
    """

    name: ClassVar[str] = "symbol source"
    loss: ClassVar[str] = CROSS_ENTROPY

    source: HiddenSource = field(default_factory=even_process)
    n_length: int = 64
    n_sequences: int = 0
    data_seed: int = 0
    noise_sd: float = 0.0

    def __post_init__(self):
        Task.__post_init__(self)
        if not isinstance(self.source, HiddenSource):
            raise OptionError(f"source is a {type(self.source).__name__}; expected a HiddenSource.")
        if self.source.n_symbols < 2:
            raise OptionError(f"{self.source.name!r} has one symbol: there is nothing to predict.")
        check_count("n_length", self.n_length)
        check_count("n_sequences", self.n_sequences, at_least=0)
        check_count("data_seed", self.data_seed, at_least=0)

    @property
    def input_names(self) -> tuple[str, ...]:
        """Symbols."""
        return tuple(f"symbol {k}" for k in range(self.source.n_symbols))

    @property
    def output_names(self) -> tuple[str, ...]:
        """Symbols."""
        return self.input_names

    @property
    def n_steps(self) -> int:
        """Steps of every trial."""
        return self.n_length

    @property
    def chance(self) -> float:
        """One symbol in the alphabet."""
        return 1.0 / self.source.n_symbols

    @property
    def n_draws(self) -> int:
        """The state at the start, one for every symbol, and the number of the stored sequence."""
        return self.n_length + 3

    def stored(self) -> np.ndarray:
        """Give the sequences that training draws from, shape (n_sequences, n_length + 1).

        Raises
        ------
        OptionError
            If there are none, for training makes new ones.
        """
        if not self.n_sequences:
            raise OptionError("n_sequences=0: training makes new sequences and stores none.")
        return self._stored(np.arange(self.n_sequences))

    def symbols(self, batch: Batch) -> np.ndarray:
        """Give the symbols of a batch with the last answers behind them, shape (n_trials, n_length + 1)."""
        shown = np.argmax(batch.inputs, axis=2)
        return np.concatenate([shown, batch.labels[:, -1:]], axis=1)

    def ideal(self, batch: Batch) -> np.ndarray:
        """Give the ideal observer's probabilities of every next symbol, shape (n_trials, n_steps, n_symbols)."""
        return self.source.predict(self.symbols(batch)[:, :-1])

    def _compose(self, draws: Draws) -> Batch:
        """Emit or look up sequences; show all but the last symbol and ask for all but the first."""
        if draws.mode == TRAIN and self.n_sequences:
            number = draws.index(self.n_draws - 1, self.n_sequences)
            sequences, columns = self._stored(number), {"sequence": number}
        else:
            sequences, columns = self.source.emit(draws.uniform[:, :-1]), {}
        inputs = (sequences[:, :-1, None] == np.arange(self.source.n_symbols)).astype(np.float32)
        labels = np.ascontiguousarray(sequences[:, 1:])
        mask = np.ones(labels.shape, dtype=np.float32)
        length = np.full(len(labels), self.n_length, dtype=np.int64)
        return Batch(inputs, None, labels, mask, length, table_of(first=sequences[:, 0], **columns), CROSS_ENTROPY)

    def _stored(self, number: np.ndarray) -> np.ndarray:
        """Emit stored sequences, each from its own block of the counter."""
        key = stream(self.data_seed, "task", self.name, "stored").bit_generator.state["state"]["key"]
        uniform = np.empty((len(number), self.n_draws - 1))
        for row, k in zip(uniform, number.tolist(), strict=True):
            np.random.Generator(np.random.Philox(key=key, counter=[0, 0, k, 0])).random(out=row)
        return self.source.emit(uniform)

    def _judge(self, outputs: np.ndarray, batch: Batch) -> tuple[np.ndarray, dict[str, np.ndarray]]:
        """Count right symbols, and hold the loss against that of the ideal observer."""
        outputs = outputs.astype(float)
        largest = outputs.max(axis=2, keepdims=True)
        log_sum = largest + np.log(np.exp(outputs - largest).sum(axis=2, keepdims=True))
        ideal = self.ideal(batch)
        found = {
            "loss_bits": _loss_bits(outputs - log_sum, batch.labels),
            "ideal_loss_bits": _loss_bits(np.log(np.maximum(ideal, np.finfo(float).tiny)), batch.labels),
            "ideal_correct": (np.argmax(ideal, axis=2) == batch.labels).mean(axis=1),
        }
        return (np.argmax(outputs, axis=2) == batch.labels).mean(axis=1), found


def _loss_bits(log_probability: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """Give the mean loss of every trial."""
    asked = np.take_along_axis(log_probability, labels[:, :, None], axis=2)[:, :, 0]
    return -asked.mean(axis=1) / np.log(2.0)
