"""Markov chains of order k: the next symbol's probability from how often it followed the k before it.

A chain knows exactly the last k symbols and nothing else, and needs no search for its parameters: it is the honest
measure of a memory of k steps. What it pays is data: the number of its contexts grows as ``n_symbols ** k``.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import xarray as xr

from cortexrnn._checks import check_count, check_positive
from cortexrnn.errors import DataError, NumericalError, OptionError
from cortexrnn.training.symbols import Symbols, as_symbols

# Codes of a context with its next symbol are 64-bit whole numbers.
_LARGEST_CODE = 2**63
# Below the first size stationary shares come from a dense solution, up to the second from Arnoldi iterations.
_DENSE, _MOST_CONTEXTS = 512, 2**20
_RESIDUAL = 1e-9


class ContextCounts(NamedTuple):
    """How often symbols followed contexts of one length; only what was seen has an entry.

    Attributes
    ----------
    context, context_count : ndarray of int64, shape (n_contexts,)
        Codes, ascending, and how often any symbol followed.
    pair, pair_count : ndarray of int64, shape (n_pairs,)
        Codes of a context and the symbol behind it, ascending: ``context * n_symbols + symbol``.
    """

    context: np.ndarray
    context_count: np.ndarray
    pair: np.ndarray
    pair_count: np.ndarray


@dataclass(frozen=True, kw_only=True, slots=True)
class MarkovChain:
    """A Markov chain of order k, to be fitted to sequences of symbols.

    Attributes
    ----------
    order : int
        k, at least 0.
    n_symbols : int
        Size of the alphabet, at least 2; the symbols are 0 to ``n_symbols - 1``.
    prior : float
        What is added to every count (Dirichlet prior); 1/2 is Krichevsky and Trofimov's.

    Raises
    ------
    OptionError
        If a value is not valid, or ``n_symbols ** (order + 1)`` does not fit into 64 bits.

    Notes
    -----
    Krichevsky & Trofimov (1981), doi:10.1109/TIT.1981.1056331: with 1/2 the excess code length of every context grows
    no faster than half the logarithm of its count times the number of its free probabilities, whatever these are. A
    context that was never seen has equal probabilities. The chains of all lower orders are fitted beside the one asked
    for: symbol number t of a sequence, from 0, is predicted by the chain of order t where that is lower.
    """

    order: int
    n_symbols: int
    prior: float = 0.5

    def __post_init__(self):
        object.__setattr__(self, "order", check_count("order", self.order, at_least=0))
        object.__setattr__(self, "n_symbols", check_count("n_symbols", self.n_symbols, at_least=2))
        object.__setattr__(self, "prior", check_positive("prior", self.prior))
        if self.n_symbols ** (self.order + 1) >= _LARGEST_CODE:
            raise OptionError(
                f"order={self.order} with n_symbols={self.n_symbols} has {self.n_symbols}^{self.order + 1} pairs of "
                "context and symbol; expected fewer than 2^63."
            )

    def fit(self, sequences: np.ndarray | Sequence[np.ndarray]) -> FittedMarkovChain:
        """Count what follows what.

        Parameters
        ----------
        sequences : array_like of int, shape (n_sequences, n_steps), or sequence of 1-d array_like of int
            No context reaches from one sequence into another.

        Returns
        -------
        FittedMarkovChain

        Raises
        ------
        DataError
            If a value is no symbol, or there is none.
        """
        symbols = as_symbols(sequences, self.n_symbols)
        counts = [
            _count(code[symbols.position >= order], symbols.values[symbols.position >= order], self.n_symbols)
            for order, code in enumerate(symbols.contexts(self.order, self.n_symbols))
        ]
        return FittedMarkovChain(spec=self, counts=tuple(counts))


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class FittedMarkovChain:
    """A Markov chain with its counts.

    Attributes
    ----------
    spec : MarkovChain
    counts : tuple of ContextCounts
        For contexts of 0, 1, ... ``spec.order`` symbols.
    """

    spec: MarkovChain
    counts: tuple[ContextCounts, ...]

    def log_probability(
        self, sequences: np.ndarray | Sequence[np.ndarray], *, order: int | None = None
    ) -> list[np.ndarray]:
        """Give the natural logarithm of the probability of every symbol given those before it.

        Parameters
        ----------
        sequences : array_like of int, shape (n_sequences, n_steps), or sequence of 1-d array_like of int
        order : int, optional
            Of a lower chain; that of the spec if left out. The first symbols have lower orders, see `MarkovChain`.

        Returns
        -------
        list of ndarray, one a sequence, shape (n_steps,)

        Raises
        ------
        OptionError
            If the order is higher than the fitted one.
        DataError
            If a value is no symbol, or there is none.
        """
        order = self._check_order(order)
        symbols = as_symbols(sequences, self.spec.n_symbols)
        *_, found = _log_probabilities(self, symbols, order)
        return symbols.split(found)

    def probabilities(self, contexts: np.ndarray) -> np.ndarray:
        """Give the probabilities of all symbols behind contexts.

        Parameters
        ----------
        contexts : array_like of int, shape (n_contexts, k)
            The last k symbols, the newest last; k from 0 to the order.

        Returns
        -------
        ndarray, shape (n_contexts, n_symbols)

        Raises
        ------
        OptionError
            If k is higher than the order.
        DataError
            If these are no symbols.
        """
        contexts = np.asarray(contexts)
        order = self._check_order(contexts.shape[1] if contexts.ndim == 2 else None)
        if order == 0:
            return self._rows(0, np.zeros(len(contexts), dtype=np.int64))
        grid = as_symbols(contexts, self.spec.n_symbols).grid()
        return self._rows(order, grid @ self.spec.n_symbols ** np.arange(order - 1, -1, -1))

    def entropy_rate_bits(self) -> float:
        """Give the exact entropy rate of this chain, run for ever, in bits a symbol.

        Raises
        ------
        OptionError
            If there are more than 2^20 contexts.
        NumericalError
            If the stationary shares of the contexts are not found.
        """
        n, order = self.spec.n_symbols, self.spec.order
        if n**order > _MOST_CONTEXTS:
            raise OptionError(f"there are {n}^{order} contexts; expected at most {_MOST_CONTEXTS} for an entropy rate.")
        rows = self._rows(order, np.arange(n**order))
        return float(-_stationary(rows) @ (rows * np.log2(rows)).sum(axis=1))

    def _rows(self, order: int, codes: np.ndarray) -> np.ndarray:
        """Give the probabilities of all symbols behind coded contexts, (n_contexts, n_symbols)."""
        n = self.spec.n_symbols
        return self._probability(order, np.repeat(codes, n), np.tile(np.arange(n), codes.size)).reshape(-1, n)

    def _probability(self, order: int, codes: np.ndarray, symbols: np.ndarray) -> np.ndarray:
        """Give the probability of one symbol behind each coded context."""
        n, prior, counts = self.spec.n_symbols, self.spec.prior, self.counts[order]
        together = _look_up(counts.pair, counts.pair_count, codes * n + symbols)
        return (together + prior) / (_look_up(counts.context, counts.context_count, codes) + n * prior)

    def _check_order(self, order: int | None) -> int:
        """Give an order that is fitted."""
        order = self.spec.order if order is None else check_count("order", order, at_least=0)
        if order > self.spec.order:
            raise OptionError(f"order={order} is not fitted; expected at most {self.spec.order}.")
        return order


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class OrderChoice:
    """How well chains of several orders do.

    Attributes
    ----------
    orders : xarray.Dataset
        Over `order`: ``loss`` of symbols held out and its standard error over sequences ``loss_se``, bits a symbol;
        ``n_parameters``; ``aic`` and ``bic``.
    """

    orders: xr.Dataset

    @property
    def best(self) -> int:
        """Order with the smallest held-out loss."""
        return int(self.orders["loss"].idxmin())

    @property
    def best_by_aic(self) -> int:
        """Order with the smallest AIC."""
        return int(self.orders["aic"].idxmin())

    @property
    def best_by_bic(self) -> int:
        """Order with the smallest BIC."""
        return int(self.orders["bic"].idxmin())


def choose_order(
    sequences: np.ndarray | Sequence[np.ndarray], *, orders: Sequence[int], n_symbols: int, folds: int = 5,
    prior: float = 0.5,
) -> OrderChoice:  # fmt: skip
    """Compare orders by the likelihood of sequences held out, and by two information criteria.

    Parameters
    ----------
    sequences : array_like of int, shape (n_sequences, n_steps), or sequence of 1-d array_like of int
    orders : sequence of int
    n_symbols : int
    folds : int
        Sequence i is held out with those of the same remainder of i by `folds`.
    prior : float
        As for `MarkovChain`.

    Returns
    -------
    OrderChoice

    Raises
    ------
    OptionError
        If a value is not valid or there are fewer sequences than folds.
    DataError
        If a value is no symbol, or no sequence is longer than the largest order.

    Notes
    -----
    All orders are judged on the same symbols: held out on all of them, the first of a sequence by chains of lower
    order; the criteria on those that have as many before them as the largest order needs. They take maximal likelihoods
    and count ``n_symbols^k (n_symbols - 1)`` parameters: Tong (1975) and Katz (1981, Technometrics 23:243); BIC is
    consistent (Csiszar & Shields 2000, doi:10.1214/aos/1015957472).
    """
    chosen = sorted({check_count("orders", order, at_least=0) for order in orders})
    if not chosen:
        raise OptionError("orders is empty; expected at least one.")
    folds = check_count("folds", folds, at_least=2)
    spec = MarkovChain(order=chosen[-1], n_symbols=n_symbols, prior=prior)
    parts = [np.asarray(part) for part in sequences]
    if len(parts) < folds:
        raise OptionError(
            f"there are {len(parts)} sequences for folds={folds}.", hint="Cut long ones into pieces, or take fewer."
        )
    lengths, totals = np.array([part.size for part in parts]), np.empty((len(chosen), len(parts)))
    for fold in range(folds):
        held = range(fold, len(parts), folds)
        fitted = spec.fit([part for k, part in enumerate(parts) if k % folds != fold])
        symbols = as_symbols([parts[k] for k in held], n_symbols)
        for order, found in enumerate(_log_probabilities(fitted, symbols, spec.order)):
            if order in chosen:
                losses = [-part.sum() / np.log(2.0) for part in symbols.split(found)]
                totals[chosen.index(order), fold::folds] = losses
    loss, loss_se = zip(*(ratio_mean(total, lengths) for total in totals), strict=True)
    n_parameters = [n_symbols**order * (n_symbols - 1) for order in chosen]
    log_likelihood, n = _maximal(as_symbols(parts, n_symbols), n_symbols, chosen)
    columns = {
        "loss": list(loss), "loss_se": list(loss_se), "n_parameters": n_parameters,
        "aic": 2.0 * np.array(n_parameters) - 2.0 * log_likelihood,
        "bic": np.log(n) * np.array(n_parameters) - 2.0 * log_likelihood,
    }  # fmt: skip
    variables = {name: ("order", np.asarray(values, dtype=float)) for name, values in columns.items()}
    return OrderChoice(orders=xr.Dataset(variables, {"order": chosen}, {"unit": "bits", "folds": folds}))


def ratio_mean(totals: np.ndarray, weights: np.ndarray) -> tuple[float, float]:
    """Give a mean over groups of different weight, and its standard error over the groups.

    Parameters
    ----------
    totals : ndarray, shape (n_groups,)
        Sums of the weighted values of every group.
    weights : ndarray, shape (n_groups,)
        Sums of the weights.

    Returns
    -------
    mean : float
        Sum of the totals over the sum of the weights.
    error : float
        Of this ratio to first order (Cochran 1977, equation 6.13); NaN for a single group.
    """
    mean = float(totals.sum() / weights.sum())
    n = len(totals)
    if n < 2:
        return mean, float("nan")
    spread = float(np.square(totals - mean * weights).sum())
    return mean, float(np.sqrt(spread * n / (n - 1)) / weights.sum())


def _count(codes: np.ndarray, symbols: np.ndarray, n_symbols: int) -> ContextCounts:
    """Count pairs of context and symbol, and contexts."""
    pair, pair_count = np.unique(codes * n_symbols + symbols, return_counts=True)
    context, first = np.unique(pair // n_symbols, return_index=True)
    context_count = np.add.reduceat(pair_count, first) if pair.size else pair_count
    return ContextCounts(context, context_count, pair, pair_count)


def _look_up(keys: np.ndarray, counts: np.ndarray, wanted: np.ndarray) -> np.ndarray:
    """Give counts by code, 0 for what was never seen."""
    if not keys.size:
        return np.zeros(wanted.shape, dtype=np.int64)
    at = np.minimum(np.searchsorted(keys, wanted), keys.size - 1)
    return np.where(keys[at] == wanted, counts[at], 0)


def _log_probabilities(fitted: FittedMarkovChain, symbols: Symbols, max_order: int) -> Iterator[np.ndarray]:
    """Give the log-probabilities of all symbols by the chains of order 0, 1, ... in turn."""
    found = np.empty(symbols.values.size)
    for order, code in enumerate(symbols.contexts(max_order, fitted.spec.n_symbols)):
        # What has fewer symbols before it keeps what the highest order that fits made of it.
        fits = symbols.position >= order
        found[fits] = np.log(fitted._probability(order, code[fits], symbols.values[fits]))
        yield found


def _maximal(symbols: Symbols, n_symbols: int, orders: Sequence[int]) -> tuple[np.ndarray, int]:
    """Give the maximal log-likelihood of every order, on the same symbols, and their number."""
    fits = symbols.position >= max(orders)
    if not fits.any():
        raise DataError(f"no sequence is longer than the largest order, {max(orders)}.")
    found = []
    for order, code in enumerate(symbols.contexts(max(orders), n_symbols)):
        if order in orders:
            counts = _count(code[fits], symbols.values[fits], n_symbols)
            parts = (counts.pair_count, counts.context_count)
            joint, alone = (float(np.sum(part * np.log(part))) for part in parts)
            found.append(joint - alone)
    return np.array(found), int(fits.sum())


def _stationary(rows: np.ndarray) -> np.ndarray:
    """Give the share of every context in a chain that runs for ever, from the rows of all contexts."""
    n_contexts, n_symbols = rows.shape

    def step(share: np.ndarray) -> np.ndarray:
        # The oldest symbol has the largest place value: it is forgotten, and the new one gets the place of ones.
        flow = (share[:, None] * rows).reshape(-1, n_contexts // n_symbols, n_symbols)
        return flow.sum(axis=0).ravel()

    if n_contexts == 1:
        return np.ones(1)
    if n_contexts <= _DENSE:
        matrix = np.stack([step(column) for column in np.eye(n_contexts)], axis=1)
        equations = np.concatenate([matrix - np.eye(n_contexts), np.ones((1, n_contexts))])
        share = np.linalg.lstsq(equations, np.append(np.zeros(n_contexts), 1.0), rcond=None)[0]
    else:
        # SciPy's eigenvalues of large operators are needed for high orders only.
        from scipy.sparse.linalg import ArpackNoConvergence, LinearOperator, eigs

        operator = LinearOperator((n_contexts, n_contexts), matvec=step, dtype=float)
        try:
            vectors = eigs(operator, k=1, which="LR", v0=np.full(n_contexts, 1.0 / n_contexts))[1]
        except ArpackNoConvergence as error:
            raise NumericalError(f"no stationary shares of {n_contexts} contexts were found: {error}.") from error
        share = vectors[:, 0].real
    share = share / share.sum()
    residual = float(np.abs(step(share) - share).sum())
    if not residual <= _RESIDUAL:
        raise NumericalError(
            f"the shares of {n_contexts} contexts move by {residual:.2g} in a step; expected at most {_RESIDUAL}.",
            hint="Take a larger prior or a lower order.",
        )
    return share
