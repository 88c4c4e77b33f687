"""Long memory in discrete steps: copy a list, add two marked numbers, name the first symbol.

Here a step is a step: delays are numbers of steps, and `dt_s` only says how long one lasts for a cell that asks.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from cortexrnn._checks import check_count, check_positive
from cortexrnn.training.losses import CROSS_ENTROPY, MSE
from cortexrnn.training.tasks.contract import Batch, Draws, Task, at_step, table_of


@dataclass(frozen=True, kw_only=True)
class CopyMemory(Task):
    """Symbols, a delay, a signal, and then the same symbols in the same order.

    Inputs are one-hot: the symbols, a blank and the signal. The label is the blank until the symbols are asked for.
    Right is a trial in which all of them are right; ``fraction_recalled`` of the table is kinder.

    Attributes
    ----------
    n_symbols, n_items : int
        Size of the alphabet and length of the list; 8 and 10.
    n_delay : int
        Steps between list and recall; the signal is the last of them.

    Raises
    ------
    OptionError
        If a number is not valid.

    Notes
    -----
    Hochreiter & Schmidhuber (1997), doi:10.1162/neco.1997.9.8.1735, in the form of Arjovsky, Shah & Bengio (2016),
    arXiv:1511.06464. Without memory the best cross entropy is ``n_items ln(n_symbols) / (n_delay + 2 n_items)``,
    `baseline_error`.
    """

    name: ClassVar[str] = "copy"
    loss: ClassVar[str] = CROSS_ENTROPY

    n_symbols: int = 8
    n_items: int = 10
    n_delay: int = 100
    noise_sd: float = 0.0

    def __post_init__(self):
        Task.__post_init__(self)
        check_count("n_symbols", self.n_symbols, at_least=2)
        check_count("n_items", self.n_items)
        check_count("n_delay", self.n_delay)

    @property
    def input_names(self) -> tuple[str, ...]:
        """Symbols, blank, signal."""
        return (*(f"symbol {k}" for k in range(self.n_symbols)), "blank", "signal")

    @property
    def output_names(self) -> tuple[str, ...]:
        """Symbols, blank."""
        return self.input_names[:-1]

    @property
    def n_steps(self) -> int:
        """Steps of every trial."""
        return self.n_delay + 2 * self.n_items

    @property
    def chance(self) -> float:
        """All symbols by chance, the blank being a possible answer."""
        return float((1.0 / (self.n_symbols + 1)) ** self.n_items)

    @property
    def baseline_error(self) -> float:
        """Cross entropy of the best answer without memory."""
        return float(self.n_items * np.log(self.n_symbols) / self.n_steps)

    @property
    def n_draws(self) -> int:
        """One an item."""
        return self.n_items

    def _compose(self, draws: Draws) -> Batch:
        """Show the list, the blanks and the signal."""
        items = np.floor(draws.uniform * self.n_symbols).astype(np.int64)
        n, blank, signal = len(items), self.n_symbols, self.n_symbols + 1
        shown = np.full((n, self.n_steps), blank)
        shown[:, : self.n_items] = items
        shown[:, self.n_items + self.n_delay - 1] = signal
        labels = np.full((n, self.n_steps), blank)
        labels[:, -self.n_items :] = items
        return _labelled(_one_hot(shown, self.n_inputs), labels, np.ones((n, self.n_steps)), first_symbol=items[:, 0])

    def _judge(self, outputs: np.ndarray, batch: Batch) -> tuple[np.ndarray, dict[str, np.ndarray]]:
        """Compare the largest outputs with the list."""
        recalled = np.argmax(outputs[:, -self.n_items :], axis=2) == batch.labels[:, -self.n_items :]
        return recalled.all(axis=1).astype(float), {"fraction_recalled": recalled.mean(axis=1)}


@dataclass(frozen=True, kw_only=True)
class Adding(Task):
    """One input carries random numbers, the other marks two of them; their sum is asked for at the last step.

    One mark falls into the first half of the numbers and one into the second. Only the last step counts. Right is a sum
    within `tolerance`.

    Attributes
    ----------
    n_values : int
        How many numbers, uniform between 0 and 1.
    n_delay : int
        Empty steps between the last number and the answer.
    tolerance : float
        0.04.

    Raises
    ------
    OptionError
        If a number is not valid.

    Notes
    -----
    Hochreiter & Schmidhuber (1997), doi:10.1162/neco.1997.9.8.1735, experiment 4, whence the tolerance; the marks are
    those of Arjovsky, Shah & Bengio (2016), arXiv:1511.06464. Always answering 1 gives a mean square error of 1/6,
    `baseline_error`. The delay is ours.
    """

    name: ClassVar[str] = "adding"

    n_values: int = 50
    n_delay: int = 0
    tolerance: float = 0.04
    noise_sd: float = 0.0

    def __post_init__(self):
        Task.__post_init__(self)
        check_count("n_values", self.n_values, at_least=2)
        check_count("n_delay", self.n_delay, at_least=0)
        check_positive("tolerance", self.tolerance)

    @property
    def input_names(self) -> tuple[str, ...]:
        """Numbers and marks."""
        return ("value", "mark")

    @property
    def output_names(self) -> tuple[str, ...]:
        """The sum."""
        return ("sum",)

    @property
    def n_steps(self) -> int:
        """Steps of every trial."""
        return self.n_values + self.n_delay

    @property
    def chance(self) -> float:
        """Share of sums, whose density is a triangle, within the tolerance of their most frequent value."""
        reach = min(self.tolerance, 1.0)
        return 2.0 * reach - reach**2

    @property
    def baseline_error(self) -> float:
        """Mean square error of always answering 1."""
        return 1.0 / 6.0

    @property
    def n_draws(self) -> int:
        """The numbers and the two marks."""
        return self.n_values + 2

    def _compose(self, draws: Draws) -> Batch:
        """Show the numbers and the marks."""
        values = draws.uniform[:, : self.n_values]
        rows, half = np.arange(len(values)), self.n_values // 2
        marked = [draws.index(self.n_values, half), half + draws.index(self.n_values + 1, self.n_values - half)]
        inputs = np.zeros((len(values), self.n_steps, 2), dtype=np.float32)
        inputs[:, : self.n_values, 0] = values
        total = np.zeros(len(values))
        for place in marked:
            inputs[rows, place, 1] = 1.0
            total += values[rows, place]
        targets = np.zeros((len(values), self.n_steps, 1), dtype=np.float32)
        targets[:, -1, 0] = total
        mask = np.zeros((len(values), self.n_steps), dtype=np.float32)
        mask[:, -1] = 1.0
        length = np.full(len(values), self.n_steps, dtype=np.int64)
        table = table_of(sum=total, first_mark=marked[0], second_mark=marked[1])
        return Batch(inputs, targets, None, mask, length, table, MSE)

    def _judge(self, outputs: np.ndarray, batch: Batch) -> tuple[np.ndarray, dict[str, np.ndarray]]:
        """Compare the last output with the sum."""
        answer = at_step(outputs, batch.last)[:, 0].astype(float)
        correct = np.abs(answer - batch.table["sum"].to_numpy()) < self.tolerance
        return correct.astype(float), {"response": answer}


@dataclass(frozen=True, kw_only=True)
class FirstSymbol(Task):
    """A string of symbols; at its end the first one is asked for.

    Mirrored, the string runs the other way: the symbol in question comes last and is asked for at the first step. A
    network that reads forward can then only guess; one that reads in both directions has the same task as before.

    Attributes
    ----------
    n_symbols : int
        Size of the alphabet.
    n_length : int
        Length of the string.
    is_mirrored : bool
        Whether it runs backwards.

    Raises
    ------
    OptionError
        If a number is not valid.
    """

    name: ClassVar[str] = "first symbol"
    loss: ClassVar[str] = CROSS_ENTROPY
    condition_columns: ClassVar[tuple[str, ...]] = ("symbol",)

    n_symbols: int = 4
    n_length: int = 50
    is_mirrored: bool = False
    noise_sd: float = 0.0

    def __post_init__(self):
        Task.__post_init__(self)
        check_count("n_symbols", self.n_symbols, at_least=2)
        check_count("n_length", self.n_length, at_least=2)

    @property
    def input_names(self) -> tuple[str, ...]:
        """Symbols."""
        return tuple(f"symbol {k}" for k in range(self.n_symbols))

    @property
    def output_names(self) -> tuple[str, ...]:
        """Symbols."""
        return self.input_names

    @property
    def n_steps(self) -> int:
        """Length of the string."""
        return self.n_length

    @property
    def chance(self) -> float:
        """One symbol in the alphabet."""
        return 1.0 / self.n_symbols

    @property
    def n_draws(self) -> int:
        """One a symbol."""
        return self.n_length

    def _compose(self, draws: Draws) -> Batch:
        """Show the string and ask at its end."""
        symbols = np.floor(draws.uniform * self.n_symbols).astype(np.int64)
        asked = symbols[:, 0]
        labels = np.broadcast_to(asked[:, None], symbols.shape)
        mask = np.zeros(symbols.shape)
        mask[:, 0 if self.is_mirrored else -1] = 1.0
        shown = symbols[:, ::-1] if self.is_mirrored else symbols
        return _labelled(_one_hot(shown, self.n_inputs), labels, mask, symbol=asked)

    def _judge(self, outputs: np.ndarray, batch: Batch) -> tuple[np.ndarray, dict[str, np.ndarray]]:
        """Compare the largest output where it is asked for."""
        response = np.argmax(outputs[:, 0 if self.is_mirrored else -1], axis=1)
        return (response == batch.table["symbol"].to_numpy()).astype(float), {"response": response}


def _one_hot(index: np.ndarray, size: int) -> np.ndarray:
    """Give 1 at the index and 0 elsewhere along a new last axis."""
    return (index[:, :, None] == np.arange(size)).astype(np.float32)


def _labelled(inputs: np.ndarray, labels: np.ndarray, mask: np.ndarray, **columns: np.ndarray) -> Batch:
    """Make a batch of full-length trials with a cross entropy."""
    length = np.full(len(inputs), inputs.shape[1], dtype=np.int64)
    labels = np.ascontiguousarray(labels, dtype=np.int64)
    return Batch(inputs, None, labels, mask.astype(np.float32), length, table_of(**columns), CROSS_ENTROPY)
