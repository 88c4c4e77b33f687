"""How far back a trained network looks: its loss when it is shown only the last k inputs.

Beside it, where inputs are symbols and the answer is the next one: Markov chains, which know exactly the last k, fitted
to a finite set of sequences; and, where the source is known, the least loss that k symbols allow.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import xarray as xr
from scipy.special import stdtrit

from cortexrnn._checks import check_count, check_positive
from cortexrnn.errors import DataError, NumericalError, OptionError
from cortexrnn.numerics.streams import stream
from cortexrnn.training.bidirectional import BidirectionalModel
from cortexrnn.training.hidden_sources import HiddenSource
from cortexrnn.training.losses import CROSS_ENTROPY, MSE, trial_losses
from cortexrnn.training.markov import MarkovChain, ratio_mean
from cortexrnn.training.tasks.contract import Batch
from cortexrnn.training.tasks.symbols import SymbolSource
from cortexrnn.training.tile import groups_of
from cortexrnn.training.trained import Trained

if TYPE_CHECKING:
    from matplotlib.axes import Axes

# Values that the windows of one call to the network, its states and its outputs may hold: some 100 MB.
_MOST_VALUES = 4_000_000
# Steps of a network's tape are some gates wide.
_ARRAYS_A_UNIT = 8


@dataclass(frozen=True, kw_only=True, slots=True)
class HorizonOptions:
    """What counts as no loss, and how sure that must be.

    Attributes
    ----------
    margin : float
        Excess loss that is taken for none, in the unit of the losses: bits for likelihoods, else squared error. At 0.01
        bits two predictors differ by a factor of two in likelihood over a hundred steps.
    level : float
        Confidence of the one-sided upper limit of the excess that has to lie below the margin.
    prior : float
        Of the Markov chains, see `cortexrnn.training.markov.MarkovChain`.
    seed : int
        Of the noise of a circuit.

    Raises
    ------
    OptionError
        If a value is not valid.
    """

    margin: float = 0.01
    level: float = 0.95
    prior: float = 0.5
    seed: int = 0

    def __post_init__(self):
        check_positive("margin", self.margin)
        check_positive("prior", self.prior)
        check_count("seed", self.seed, at_least=0)
        if not 0.5 <= self.level < 1.0:
            raise OptionError(f"level={self.level!r} is not valid; expected at least 0.5 and below 1.")


DEFAULT = HorizonOptions()


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class MemoryHorizon:
    """Losses over the number of inputs seen.

    Attributes
    ----------
    losses : xarray.Dataset
        Means over the same steps of the same trials, each with its standard error over trials, ``_se``. Over `depth`,
        the number of last inputs: ``loss`` of the network; ``excess`` of it over all inputs, with its upper limit
        ``excess_high``. Without a dimension: ``full_loss``, that of all inputs. With Markov chains: ``chain_loss`` of
        the chain of order `depth`, and ``chain_excess`` over the network with all inputs. With a known source:
        ``exact``, the least expected loss; ``above_exact`` and ``chain_above_exact``, differences to the ideal observer
        of the same last inputs, of network and chain; ``full_above_ideal``, that of the network to the ideal observer,
        both with all inputs; ``entropy_rate`` where that has a closed form. The attributes hold `unit`, `margin`,
        `level`, the numbers of trials and of steps, and names.
    """

    losses: xr.Dataset

    @property
    def horizon(self) -> int | None:
        """Smallest depth from which on no excess loss is left; None where the deepest does not show that."""
        is_none = self.losses["excess_high"].values <= self.losses.attrs["margin"]
        from_here = np.logical_and.accumulate(is_none[::-1])[::-1]
        return int(self.losses["depth"].values[from_here][0]) if from_here.any() else None

    @property
    def best_chain(self) -> int | None:
        """Order of the Markov chain with the smallest loss on the very steps that it is judged on; None without."""
        return int(self.losses["chain_loss"].idxmin()) if "chain_loss" in self.losses else None

    def plot(self, ax: Axes | None = None) -> Axes:
        """Draw the losses over the number of inputs seen.

        Parameters
        ----------
        ax : matplotlib.axes.Axes, optional
            Where to draw; a figure of its own by default.

        Returns
        -------
        matplotlib.axes.Axes
        """
        from cortexrnn.report.figure_file import own_axes
        from cortexrnn.report.memory_horizon import plot_horizon

        return plot_horizon(own_axes() if ax is None else ax, self.losses, horizon=self.horizon)


def memory_horizon(
    trained: Trained,
    batch: Batch,
    *,
    depths: Sequence[int],
    sequences: np.ndarray | Sequence[np.ndarray] | None = None,
    options: HorizonOptions = DEFAULT,
) -> MemoryHorizon:
    """Measure how many of its last inputs a network uses.

    Parameters
    ----------
    trained : Trained
        Any network that reads forward in time, with any loss.
    batch : Batch
        New trials of its task. Steps count that have a weight in the loss and at least ``max(depths)`` inputs up to
        then.
    depths : sequence of int
        Numbers of last inputs.
    sequences : array_like of int, shape (n_sequences, n_steps), or sequence of 1-d array_like of int, optional
        Symbols to which Markov chains are fitted, where inputs are one-hot symbols and labels the next ones.
    options : HorizonOptions

    Returns
    -------
    MemoryHorizon

    Raises
    ------
    OptionError
        If the network looks ahead, a depth is not valid, or chains are asked for without symbols.
    DataError
        If fewer than two trials have a step that counts, or `sequences` are not such symbols.
    NumericalError
        If the network leaves the finite numbers.

    Notes
    -----
    A network is shown windows: the last k inputs, from its start state on. It has been trained to make the best of that
    at step k of its trials. That start says that a trial begins, which the middle of a long trial may never look like:
    the excess then holds both what was forgotten and what the false start costs.

    Steps, trials and, up to noise of their own, networks are the same at all depths, and differences are paired. Their
    errors are those of means over trials, for steps of a trial depend on each other.

    The horizon is the smallest depth from which on, up to the deepest, the upper limit of the excess lies below the
    margin. The deepest is tested first and the first failure ends it: tests in a fixed order keep their level without a
    correction (Maurer, Hothorn & Lehmacher 1995), so that a horizon below the true one is found with a probability of
    at most ``1 - level``. The rule of one standard error, or the first depth without a significant excess, would find a
    shorter memory the fewer trials there are; this rule finds a longer one, or none.

    Inputs that feed back targets are those of the batch, never the network's own answers.
    """
    if isinstance(trained.model, BidirectionalModel):
        raise OptionError(f"{trained.model.name!r} reads trials from their end too: it has no last inputs.")
    chosen = np.array(sorted({check_count("depths", depth) for depth in depths}))
    if not chosen.size:
        raise OptionError("depths is empty; expected at least one.")
    steps = _Steps(batch, int(chosen[-1]))
    found = _measure(trained, batch, steps, chosen, options)
    if sequences is not None or isinstance(trained.task, SymbolSource):
        grid = _symbols_of(batch)
        if isinstance(trained.task, SymbolSource):
            found |= _exact(trained.task.source, (grid, batch.length), steps, chosen)
        if sequences is not None:
            chain = MarkovChain(order=0, n_symbols=batch.inputs.shape[2], prior=options.prior)
            found["chain"] = _chains(chain, sequences, grid, steps, chosen)
    return MemoryHorizon(losses=_dataset(trained, batch, steps, (chosen, found), options))


class _Steps:
    """The steps that are judged, and what they weigh."""

    def __init__(self, batch: Batch, deepest: int):
        inside = np.arange(batch.mask.shape[1]) < batch.length[:, None]
        is_judged = (batch.mask > 0.0) & inside
        is_judged[:, : deepest - 1] = False
        self.trial, self.step = np.nonzero(is_judged)
        self.weight = batch.mask[is_judged].astype(float)
        if np.unique(self.trial).size < 2:
            raise DataError(
                f"{np.unique(self.trial).size} trials have a step in the loss with {deepest} inputs up to then; "
                "expected at least 2.",
                hint="Take smaller depths, or more and longer trials.",
            )

    def mean(self, values: np.ndarray) -> tuple[float, float]:
        """Give a weighted mean over steps and its standard error over trials."""
        n = self.trial[-1] + 1
        totals, weights = (np.bincount(self.trial, part, n) for part in (self.weight * values, self.weight))
        return ratio_mean(totals[weights > 0.0], weights[weights > 0.0])

    @property
    def n_trials(self) -> int:
        """Trials with a step that is judged."""
        return np.unique(self.trial).size

    def windows(self, values: np.ndarray, depth: int, rows: np.ndarray) -> np.ndarray:
        """Give the last entries along axis 1 up to some of the steps, (n_rows, depth, ...)."""
        return values[self.trial[rows][:, None], self.step[rows][:, None] + np.arange(1 - depth, 1)]


def _measure(
    trained: Trained, batch: Batch, steps: _Steps, depths: np.ndarray, options: HorizonOptions
) -> dict[str, np.ndarray]:
    """Give the losses of all steps: with all inputs, (n_steps,), and over depths, (n_depths, n_steps)."""
    full = trained.answer(batch, seed=_seed(options, 0, 0), is_forced=True)[steps.trial, steps.step]
    found = [_step_losses(batch, steps.trial, steps.step, full)]
    for depth in depths.tolist():
        outputs = np.empty_like(full)
        for first, stop in _pieces(steps.step.size, depth * batch.inputs.shape[2]):
            outputs[first:stop] = _answers(trained, batch, steps, depth, np.arange(first, stop), options)
        found.append(_step_losses(batch, steps.trial, steps.step, outputs))
    for depth, losses in zip([None, *depths.tolist()], found, strict=True):
        if not np.isfinite(losses).all():
            shown = "all inputs" if depth is None else f"the last {depth} inputs"
            raise NumericalError(f"the loss is not finite with {shown}.", where=trained.model.name)
    return {"full": found[0], "network": np.stack(found[1:])}


def _answers(
    trained: Trained, batch: Batch, steps: _Steps, depth: int, rows: np.ndarray, options: HorizonOptions
) -> np.ndarray:
    """Give the outputs to the last inputs up to some of the steps, (n_rows, n_outputs)."""
    model, which = trained.model, np.arange(rows.size)
    if model.noise((options.seed, ""), range(1)) is None:
        # The same window has the same answer: of symbols there are far fewer windows than steps.
        seen = steps.windows(batch.inputs, depth, rows).reshape(rows.size, -1)
        group = groups_of(batch, model.start_by, model.levels)[steps.trial[rows], None]
        at, which = _distinct(np.concatenate([seen, group.astype(seen.dtype)], axis=1))
        rows = rows[at]
    found = []
    values_a_step = 2 * model.n_inputs + _ARRAYS_A_UNIT * model.n_hidden + 4 * model.n_outputs
    for first, stop in _pieces(rows.size, depth * values_a_step):
        shown = _window_batch(batch, steps, depth, rows[first:stop])
        seed = _seed(options, depth, int(rows[first]))
        found.append(trained.answer(shown, seed=seed, is_forced=True)[:, -1])
    return np.concatenate(found)[which]


def _window_batch(batch: Batch, steps: _Steps, depth: int, rows: np.ndarray) -> Batch:
    """Make trials of the last inputs up to steps, with the loss at their end."""
    mask = np.zeros((rows.size, depth), dtype=np.float32)
    mask[:, -1] = 1.0
    return batch._replace(
        inputs=steps.windows(batch.inputs, depth, rows),
        targets=None if batch.targets is None else steps.windows(batch.targets, depth, rows),
        labels=None if batch.labels is None else steps.windows(batch.labels, depth, rows),
        mask=mask,
        length=np.full(rows.size, depth, dtype=np.int64),
        table=batch.table.iloc[steps.trial[rows]].reset_index(drop=True),
    )


def _step_losses(batch: Batch, trial: np.ndarray, step: np.ndarray, outputs: np.ndarray) -> np.ndarray:
    """Give the loss of single steps, in bits where it is a likelihood."""
    single = batch._replace(
        targets=None if batch.targets is None else batch.targets[trial, step][:, None],
        labels=None if batch.labels is None else batch.labels[trial, step][:, None],
        mask=np.ones((trial.size, 1), dtype=np.float32),
    )
    return trial_losses(single, outputs[:, None]) / _nats(batch)


def _exact(
    source: HiddenSource, sequences: tuple[np.ndarray, np.ndarray], steps: _Steps, depths: np.ndarray
) -> dict[str, Any]:
    """Give the least expected losses, and the losses of ideal observers that see all and that see the last inputs."""
    grid, lengths = sequences
    labels = grid[steps.trial, steps.step + 1]
    beliefs = np.zeros((len(grid), grid.shape[1] - 1, source.n_symbols))
    for length in np.unique(lengths).tolist():
        beliefs[lengths == length, :length] = source.predict(grid[lengths == length, :length])
    everything = beliefs[steps.trial, steps.step]
    limited = np.empty((depths.size, labels.size, source.n_symbols))
    for row, depth in zip(limited, depths.tolist(), strict=True):
        for first, stop in _pieces(labels.size, depth):
            windows = steps.windows(grid, depth, np.arange(first, stop))
            at, which = _distinct(windows)
            row[first:stop] = source.predict(windows[at])[which, -1]
    ideal, *observers = (-np.log2(part[np.arange(labels.size), labels]) for part in (everything, *limited))
    exact = source.conditional_entropies(int(depths[-1]))[depths]
    rate = source.entropy_rate_bits if source.is_unifilar else None
    return {"ideal": ideal, "observers": np.stack(observers), "exact": exact, "entropy_rate": rate}


def _chains(
    spec: MarkovChain, sequences: np.ndarray | Sequence[np.ndarray], grid: np.ndarray, steps: _Steps, depths: np.ndarray
) -> np.ndarray:
    """Give the losses of chains of the orders `depths`, (n_depths, n_steps); NaN where contexts have no codes."""
    most = math.ceil(63.0 / math.log2(spec.n_symbols)) - 2
    orders = depths[depths <= most].tolist()
    found = np.full((depths.size, steps.step.size), np.nan)
    if orders:
        fitted = MarkovChain(order=orders[-1], n_symbols=spec.n_symbols, prior=spec.prior).fit(sequences)
        for row, order in enumerate(orders):
            log_probability = np.stack(fitted.log_probability(grid, order=order))
            found[row] = -log_probability[steps.trial, steps.step + 1] / np.log(2.0)
    return found


def _symbols_of(batch: Batch) -> np.ndarray:
    """Give the symbols of a batch with the last answers behind them, or say that there are none."""
    inside = np.arange(batch.mask.shape[1]) < batch.length[:, None]
    is_one_hot = ((batch.inputs == 0.0) | (batch.inputs == 1.0)).all(axis=2) & (batch.inputs.sum(axis=2) == 1.0)
    if batch.loss != CROSS_ENTROPY or not is_one_hot[inside].all():
        raise OptionError("the inputs are no symbols: a Markov chain needs one-hot inputs and the next one as label.")
    symbols = np.argmax(batch.inputs, axis=2)
    if (batch.labels[:, :-1] != symbols[:, 1:])[inside[:, 1:]].any():
        raise OptionError("the labels are not the next symbols: a Markov chain predicts nothing else.")
    grid = np.concatenate([symbols, np.zeros((len(symbols), 1), dtype=symbols.dtype)], axis=1)
    rows = np.arange(len(grid))
    grid[rows, batch.length] = batch.labels[rows, batch.last]
    return grid


def _dataset(
    trained: Trained, batch: Batch, steps: _Steps, measured: tuple[np.ndarray, dict[str, Any]],
    options: HorizonOptions,
) -> xr.Dataset:  # fmt: skip
    """Lay means and their errors out over depths."""
    depths, found = measured
    full = found["full"]
    single = {"full_loss": full}
    over_depths = {"loss": found["network"], "excess": found["network"] - full}
    if "chain" in found:
        over_depths |= {"chain_loss": found["chain"], "chain_excess": found["chain"] - full}
    if "exact" in found:
        single["full_above_ideal"] = full - found["ideal"]
        over_depths["above_exact"] = found["network"] - found["observers"]
        if "chain" in found:
            over_depths["chain_above_exact"] = found["chain"] - found["observers"]
    variables: dict[str, Any] = {}
    for name, values in single.items():
        variables[name], variables[f"{name}_se"] = steps.mean(values)
    for name, rows in over_depths.items():
        means, errors = np.array([steps.mean(row) for row in rows]).T
        variables[name], variables[f"{name}_se"] = ("depth", means), ("depth", errors)
    limit = float(stdtrit(steps.n_trials - 1, options.level))
    excess, error = variables["excess"][1], variables["excess_se"][1]
    variables["excess_high"] = ("depth", excess + limit * error)
    if "exact" in found:
        variables["exact"] = ("depth", found["exact"])
        if found["entropy_rate"] is not None:
            variables["entropy_rate"] = found["entropy_rate"]
    attrs = {
        "network": trained.model.name, "task": repr(trained.task), "unit": _unit(batch), "margin": options.margin,
        "level": options.level, "n_trials": steps.n_trials, "n_steps": steps.step.size,
    }  # fmt: skip
    return xr.Dataset(variables, {"depth": depths}, attrs)


def _distinct(rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Give where each different row comes first, and for every row which of them it is."""
    rows = np.ascontiguousarray(rows)
    # A dictionary of their bytes takes a tenth of the time of sorting rows.
    numbers: dict[bytes, int] = {}
    texts = rows.view(f"V{rows[0].nbytes}").ravel().tolist()
    which = np.array([numbers.setdefault(text, len(numbers)) for text in texts])
    return np.unique(which, return_index=True)[1], which


def _pieces(n: int, values_each: int) -> Iterator[tuple[int, int]]:
    """Cut rows into pieces that fit into memory."""
    size = max(1, _MOST_VALUES // values_each)
    yield from ((first, min(first + size, n)) for first in range(0, n, size))


def _seed(options: HorizonOptions, depth: int, first: int) -> int:
    """Give the seed of the noise of a piece."""
    return int(stream(options.seed, "memory horizon", depth, first).integers(2**62))


def _nats(batch: Batch) -> float:
    """Give by what a loss is divided."""
    return 1.0 if batch.loss == MSE else math.log(2.0)


def _unit(batch: Batch) -> str:
    """Name the unit of a loss."""
    return "squared error" if batch.loss == MSE else "bits"
