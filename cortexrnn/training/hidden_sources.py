"""Sources of symbols with hidden states: exact entropies, and the best prediction that their past allows.

In state i a source emits symbol s and goes to state j with probability ``T[s][i, j]``. All entropies are in bits and
exact: nothing here is estimated from a sample.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from cortexrnn._checks import check_count
from cortexrnn.errors import NumericalError, OptionError
from cortexrnn.training.symbols import as_symbols

# Probabilities that should sum to 1 may miss it by the rounding of a literature value.
_SUM_TOLERANCE = 1e-9
# Beliefs that agree to so many decimals are one: what differs below is rounding.
_DECIMALS = 12
_MOST_BELIEFS = 2**20


class EntropyBounds(NamedTuple):
    """Bounds of an entropy rate that close in with the number of symbols seen.

    Attributes
    ----------
    low, high : ndarray, shape (max_order + 1,)
        Bits a symbol, after 0, 1, ... symbols.
    """

    low: np.ndarray
    high: np.ndarray


@dataclass(frozen=True, kw_only=True, slots=True)
class HiddenSource:
    """An edge-emitting hidden Markov source.

    Attributes
    ----------
    transitions : nested tuples of float, shape (n_symbols, n_states, n_states)
        ``transitions[s][i][j]`` is the probability to emit s and go to j from i; an array is taken too.
    name : str

    Raises
    ------
    OptionError
        If these are no probabilities, or the states do not hang together as one class.

    Examples
    --------
    >>> golden_mean().conditional_entropies(2).round(4).tolist()
    [0.9183, 0.6667, 0.6667]
    """

    transitions: tuple
    name: str = "source"

    def __post_init__(self):
        try:
            tensor = np.array(self.transitions, dtype=float)
        except (TypeError, ValueError):
            tensor = np.empty(0)
        if tensor.ndim != 3 or tensor.shape[1] != tensor.shape[2] or 0 in tensor.shape:
            raise OptionError(
                f"transitions of {self.name!r} is no array (n_symbols, n_states, n_states) of numbers, one "
                "matrix a symbol."
            )
        sums = tensor.sum(axis=(0, 2))
        if not (tensor >= 0.0).all() or not (np.abs(sums - 1.0) <= _SUM_TOLERANCE).all():
            raise OptionError(f"the probabilities that leave the states of {self.name!r} sum to {sums}; expected 1.")
        tensor = tensor / sums[:, None]
        steps = np.linalg.matrix_power(tensor.sum(axis=0) + np.eye(len(sums)), len(sums))
        if not (steps > 0.0).all():
            raise OptionError(f"not every state of {self.name!r} leads to every other: there is no one entropy rate.")
        # Nested tuples have a value, a hash and a text of their own, which an array has not.
        object.__setattr__(self, "transitions", tuple(tuple(map(tuple, matrix)) for matrix in tensor.tolist()))

    @property
    def tensor(self) -> np.ndarray:
        """Transitions as an array, shape (n_symbols, n_states, n_states)."""
        return np.array(self.transitions)

    @property
    def n_symbols(self) -> int:
        """Size of the alphabet."""
        return len(self.transitions)

    @property
    def n_states(self) -> int:
        """Number of hidden states."""
        return len(self.transitions[0])

    @property
    def stationary(self) -> np.ndarray:
        """Share of time in every state, shape (n_states,)."""
        n = self.n_states
        equations = np.concatenate([self.tensor.sum(axis=0).T - np.eye(n), np.ones((1, n))])
        found = np.linalg.lstsq(equations, np.append(np.zeros(n), 1.0), rcond=None)[0]
        return found / found.sum()

    @property
    def is_unifilar(self) -> bool:
        """Whether state and symbol together leave only one next state."""
        return bool(((self.tensor > 0.0).sum(axis=2) <= 1).all())

    @property
    def entropy_rate_bits(self) -> float:
        """Entropy of a symbol given the whole past, in bits; of a unifilar source only.

        Given its state at the start, the state of a unifilar source is known ever after, and the entropy rate is the
        mean entropy of the symbol from a known state.
        """
        if not self.is_unifilar:
            raise OptionError(
                f"{self.name!r} is not unifilar: its entropy rate has no closed form.", hint="Use entropy_bounds."
            )
        return float(self.stationary @ _entropy_bits(self.tensor.sum(axis=2).T))

    def conditional_entropies(self, max_order: int) -> np.ndarray:
        """Give the entropy of a symbol given the k before it: the least loss of whatever sees k symbols.

        Parameters
        ----------
        max_order : int
            Largest k.

        Returns
        -------
        ndarray, shape (max_order + 1,)
            Bits, from k = 0.

        Raises
        ------
        OptionError
            If `max_order` is not valid.
        NumericalError
            If there are more than a million different beliefs about the state after so many symbols.

        Notes
        -----
        A word of k symbols only matters through the belief that it leaves about the state: words with the same belief
        are added up. A unifilar source has few beliefs, any other may have one for every word.
        """
        return self._conditional(self.stationary[None], np.ones(1), max_order)

    def block_entropies(self, max_length: int) -> np.ndarray:
        """Give the entropy of words.

        Parameters
        ----------
        max_length : int
            Of the longest word.

        Returns
        -------
        ndarray, shape (max_length + 1,)
            Bits, from the empty word.

        Raises
        ------
        OptionError
            If `max_length` is not valid.
        NumericalError
            As for `conditional_entropies`.
        """
        parts = self.conditional_entropies(check_count("max_length", max_length) - 1)
        return np.append(0.0, np.cumsum(parts))

    def entropy_bounds(self, max_order: int) -> EntropyBounds:
        """Give bounds of the entropy rate: of a symbol given those before it, with and without the first state.

        Parameters
        ----------
        max_order : int
            Symbols seen at most.

        Returns
        -------
        EntropyBounds
            Bits; `high` is `conditional_entropies`.

        Raises
        ------
        OptionError
            If `max_order` is not valid.
        NumericalError
            As for `conditional_entropies`.

        Notes
        -----
        Cover & Thomas (2006), theorem 4.5.1, doi:10.1002/047174882X.
        """
        known = self._conditional(np.eye(self.n_states), self.stationary, max_order)
        return EntropyBounds(known, self.conditional_entropies(max_order))

    def predict(self, sequences: np.ndarray) -> np.ndarray:
        """Give what the ideal observer knows after every symbol about the next one.

        It begins with the stationary distribution over states, as something that comes across a source that has been
        running for ever, and follows Bayes' rule.

        Parameters
        ----------
        sequences : array_like of int, shape (n_sequences, n_steps)

        Returns
        -------
        ndarray, shape (n_sequences, n_steps, n_symbols)
            Probability of every next symbol after the symbols up to and with each step.

        Raises
        ------
        DataError
            If these are no symbols of the source.
        NumericalError
            If a sequence cannot come from the source.
        """
        symbols = as_symbols(sequences, self.n_symbols).grid()
        tensor, found = self.tensor, np.empty((*symbols.shape, self.n_symbols))
        belief = np.repeat(self.stationary[None], len(symbols), axis=0)
        for t in range(symbols.shape[1]):
            belief = np.einsum("ni,nij->nj", belief, tensor[symbols[:, t]])
            weight = belief.sum(axis=1, keepdims=True)
            if not (weight > 0.0).all():
                sequence = int(np.argmin(weight))
                raise NumericalError(
                    f"{self.name!r} cannot emit symbol {symbols[sequence, t]} at step {t} of sequence {sequence}."
                )
            belief /= weight
            found[:, t] = _next_symbol(belief, tensor)
        return found

    def emit(self, uniform: np.ndarray) -> np.ndarray:
        """Turn uniform numbers into symbols of the stationary source.

        Parameters
        ----------
        uniform : ndarray, shape (n_sequences, n_steps + 1)
            Between 0 and 1; the first of a row draws the state, every other a symbol and the next state.

        Returns
        -------
        ndarray of int64, shape (n_sequences, n_steps)
        """
        n_states = self.n_states
        # A row for every state, in it symbol after symbol, next state after next state.
        moves = self.tensor.transpose(1, 0, 2).reshape(n_states, -1)
        state = _pick(np.broadcast_to(np.cumsum(self.stationary), (len(uniform), n_states)), uniform[:, 0])
        limits = np.cumsum(moves, axis=1)
        found = np.empty((len(uniform), uniform.shape[1] - 1), dtype=np.int64)
        for t in range(found.shape[1]):
            move = _pick(limits[state], uniform[:, t + 1])
            found[:, t], state = np.divmod(move, n_states)
        return found

    def _conditional(self, beliefs: np.ndarray, weight: np.ndarray, max_order: int) -> np.ndarray:
        """Give the mean entropy of the next symbol after 0, 1, ... symbols from beliefs that have weights."""
        tensor = self.tensor
        spread = self._spread(beliefs, weight, check_count("max_order", max_order, at_least=0))
        return np.array([part @ _entropy_bits(_next_symbol(belief, tensor)) for belief, part in spread])

    def _spread(
        self, beliefs: np.ndarray, weight: np.ndarray, max_order: int
    ) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        """Give beliefs and their probabilities after 0, 1, ... symbols."""
        tensor = self.tensor
        yield beliefs, weight
        for order in range(1, max_order + 1):
            joint = np.einsum("b,bi,sij->bsj", weight, beliefs, tensor).reshape(-1, self.n_states)
            weight = joint.sum(axis=1)
            joint, weight = joint[weight > 0.0], weight[weight > 0.0]
            # What rounding parts at the edge of a decimal stays apart, which costs room and no accuracy.
            rounded, group = np.unique(np.round(joint / weight[:, None], _DECIMALS), axis=0, return_inverse=True)
            if len(rounded) > _MOST_BELIEFS:
                raise NumericalError(
                    f"after {order} symbols there are {len(rounded)} beliefs about the state; expected at most "
                    f"{_MOST_BELIEFS}.",
                    where=self.name,
                    hint="Take a smaller order.",
                )
            group = group.ravel()
            summed = np.stack([np.bincount(group, column) for column in joint.T], axis=1)
            weight = summed.sum(axis=1)
            beliefs = summed / weight[:, None]
            yield beliefs, weight


def even_process(p: float = 0.5) -> HiddenSource:
    """Give the even process: ones come in runs of even length.

    Parameters
    ----------
    p : float
        Probability of a 0 between runs; 0.5.

    Returns
    -------
    HiddenSource

    Raises
    ------
    OptionError
        If `p` is not between 0 and 1.

    Notes
    -----
    No finite number of symbols is enough: within a run of ones that began before them, whether it is even so far is not
    known. Crutchfield & Feldman (2003), doi:10.1063/1.1530990.
    """
    p = _check_probability(p)
    return HiddenSource(transitions=(((p, 0.0), (0.0, 0.0)), ((0.0, 1.0 - p), (1.0, 0.0))), name="even process")


def golden_mean(p: float = 0.5) -> HiddenSource:
    """Give the golden mean process: never two zeros in a row. A Markov chain of order 1.

    Parameters
    ----------
    p : float
        Probability of a 0 after a 1; 0.5.

    Returns
    -------
    HiddenSource

    Raises
    ------
    OptionError
        If `p` is not between 0 and 1.

    Notes
    -----
    Crutchfield & Feldman (2003), doi:10.1063/1.1530990.
    """
    p = _check_probability(p)
    return HiddenSource(transitions=(((0.0, p), (0.0, 0.0)), ((1.0 - p, 0.0), (1.0, 0.0))), name="golden mean")


def simple_nonunifilar(p: float = 0.5, q: float = 0.5) -> HiddenSource:
    """Give the simple nonunifilar source: a renewal process whose intervals are sums of two geometric ones.

    Parameters
    ----------
    p, q : float
        Probability to leave the first state, with a 1, and the second, with a 0, the event; 0.5.

    Returns
    -------
    HiddenSource

    Raises
    ------
    OptionError
        If a probability is not between 0 and 1.

    Notes
    -----
    Two states, and yet no finite number of them would tell an observer all that the past holds. Marzen & Crutchfield
    (2015), doi:10.3390/e17074891.
    """
    p, q = _check_probability(p), _check_probability(q)
    return HiddenSource(
        transitions=(((0.0, 0.0), (q, 0.0)), ((1.0 - p, p), (0.0, 1.0 - q))), name="simple nonunifilar source"
    )


def markov_source(matrix: np.ndarray, name: str = "Markov chain") -> HiddenSource:
    """Give a Markov chain of order 1 as a source whose state is its last symbol.

    Parameters
    ----------
    matrix : array_like, shape (n_symbols, n_symbols)
        Row i holds the probabilities of what follows symbol i.
    name : str

    Returns
    -------
    HiddenSource

    Raises
    ------
    OptionError
        If the rows are no probabilities.
    """
    matrix = np.asarray(matrix, dtype=float)
    if matrix.ndim != 2 or matrix.shape[0] != matrix.shape[1]:
        raise OptionError(f"matrix has shape {matrix.shape}; expected (n_symbols, n_symbols).")
    return HiddenSource(transitions=matrix.T[:, :, None] * np.eye(len(matrix))[:, None, :], name=name)


def _check_probability(p: float) -> float:
    """Give a probability that is neither 0 nor 1."""
    if not 0.0 < p < 1.0:
        raise OptionError(f"p={p!r} is not valid; expected a probability between 0 and 1, neither of them.")
    return float(p)


def _next_symbol(beliefs: np.ndarray, tensor: np.ndarray) -> np.ndarray:
    """Give the probabilities of the next symbol, (n_beliefs, n_symbols)."""
    return beliefs @ tensor.sum(axis=2).T


def _entropy_bits(probability: np.ndarray) -> np.ndarray:
    """Give the entropy of distributions along the last axis."""
    logarithm = np.log2(np.where(probability > 0.0, probability, 1.0))
    return -(probability * logarithm).sum(axis=-1)


def _pick(limits: np.ndarray, uniform: np.ndarray) -> np.ndarray:
    """Give for every row the first entry whose upper limit is above its number, and that has a probability."""
    # A sum of probabilities may end a rounding error below 1: a number above it must not fall off the end.
    scaled = uniform * limits[:, -1]
    return (scaled[:, None] >= limits).sum(axis=1)
