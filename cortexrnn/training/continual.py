"""Learn a second task and keep the first: what `cortexrnn.training.loop.train` takes as ``keeps``.

`ElasticWeights` makes it dear to move what the first task needs, `ProjectedGradients` moves beside what it needs.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from cortexrnn._checks import check_choice, check_count, check_positive
from cortexrnn.errors import NumericalError, OptionError
from cortexrnn.training.trial_gradients import answer_gradients, loss_gradients

if TYPE_CHECKING:
    from cortexrnn.training.tasks.contract import Task
    from cortexrnn.training.trained import Trained

_GRADIENTS = {"answers": answer_gradients, "loss": loss_gradients}


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class ElasticWeights:
    """Elastic weight consolidation: every parameter is tied to its value by a spring as stiff as it was needed.

    The penalty is ``factor / 2 sum_i importance_i (theta_i - anchor_i)^2``.

    Attributes
    ----------
    anchor : ndarray, shape (n_parameters,)
        Parameters after the first task.
    importance : ndarray, shape (n_parameters,)
        Diagonal of the Fisher information of the first task.
    factor : float
        Weight of the penalty beside the loss.

    Raises
    ------
    OptionError
        If arrays do not fit each other, an importance is negative, or the factor is not positive.

    Notes
    -----
    Kirkpatrick et al. (2017), doi:10.1073/pnas.1611835114, equation 3, where the factor is called lambda.
    """

    anchor: np.ndarray
    importance: np.ndarray
    factor: float

    def __post_init__(self):
        object.__setattr__(self, "factor", check_positive("factor", self.factor))
        for name in ("anchor", "importance"):
            object.__setattr__(self, name, _frozen(name, getattr(self, name), n_axes=1))
        if self.anchor.shape != self.importance.shape:
            raise OptionError(
                f"importance has shape {self.importance.shape}; expected {self.anchor.shape}, one a parameter."
            )
        if (self.importance < 0.0).any():
            raise OptionError(f"importance holds {self.importance.min():.4g}; a Fisher information is never negative.")

    def penalty(self, theta: np.ndarray) -> tuple[float, np.ndarray]:
        """Give the energy of the springs and its gradient.

        Parameters
        ----------
        theta : ndarray, shape (n_parameters,)

        Returns
        -------
        loss : float
        gradient : ndarray, shape (n_parameters,)
            In the precision of `theta`.

        Raises
        ------
        OptionError
            If there are other parameters than those of the first task.
        """
        _check_size("theta", theta, self.anchor.size)
        moved = theta - self.anchor
        pull = self.factor * self.importance * moved
        return 0.5 * float(pull @ moved), pull.astype(theta.dtype)

    def step(self, change: np.ndarray) -> np.ndarray:
        """Leave a change of the parameters as it is."""
        return change

    def identity(self) -> str:
        """Say which springs these are."""
        return f"elastic weights {self.factor} {_digest(self.anchor, self.importance)}"


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class ProjectedGradients:
    """Orthogonal gradient descent: parameters move only where the answers to the first task stay, to first order.

    Attributes
    ----------
    directions : ndarray, shape (n_directions, n_parameters)
        Orthonormal; no change of the parameters has a part along any of them.
    share : float
        Part of the squared length of the first task's gradients that lies along them.

    Raises
    ------
    OptionError
        If the directions are not orthonormal.

    Notes
    -----
    Farajtabar, Azizan, Mott & Li (2020), arXiv:1910.07104, who project the gradient before a step of plain gradient
    descent and take all stored gradients as directions. Here the step itself is projected, because Adam rescales
    a gradient unit by unit and turns it out of the complement, and the directions are the leading singular vectors.
    """

    directions: np.ndarray
    share: float

    def __post_init__(self):
        object.__setattr__(self, "directions", _frozen("directions", self.directions, n_axes=2))
        off = np.abs(self.directions @ self.directions.T - np.eye(len(self.directions)))
        if off.max(initial=0.0) > 1e-8:
            raise OptionError(f"directions are not orthonormal: a product is off by {off.max():.3g}.")

    def penalty(self, theta: np.ndarray) -> tuple[float, np.ndarray]:
        """Give nothing: no parameters are better than others.

        Parameters
        ----------
        theta : ndarray, shape (n_parameters,)

        Returns
        -------
        loss : float
        gradient : ndarray, shape (n_parameters,)
        """
        return 0.0, np.zeros_like(theta)

    def step(self, change: np.ndarray) -> np.ndarray:
        """Take away what of a change lies along the directions.

        Parameters
        ----------
        change : ndarray, shape (n_parameters,)

        Returns
        -------
        ndarray, shape (n_parameters,)
            In the precision of `change`.

        Raises
        ------
        OptionError
            If there are other parameters than those of the first task.
        """
        _check_size("change", change, self.directions.shape[1])
        left = change.astype(float)
        # Round-off of the first pass is as large as what was taken away; the second pass removes it.
        for _ in range(2):
            left -= self.directions.T @ (self.directions @ left)
        return left.astype(change.dtype)

    def identity(self) -> str:
        """Say which directions are closed."""
        return f"projected gradients {_digest(self.directions)}"


def elastic_weights(
    trained: Trained, task: Task, *, factor: float, n_trials: int = 256, of: str = "loss", seed: int = 0
) -> ElasticWeights:
    """Tie a trained network's parameters to their values, each as firmly as a task needs it.

    Parameters
    ----------
    trained : Trained
    task : Task
        What it is to keep, the task that it was trained on as a rule.
    factor : float
        Weight of the penalty beside the loss of the next task; none is right for all. With ``of="answers"``, 1 would be
        the rise of a loss that is quadratic, has no errors, and in which parameters do not interact; where thousands
        of them move together it is far less than the rise.
    n_trials : int
        Trials whose squared gradients are averaged.
    of : {"loss", "answers"}
        The empirical Fisher information, from the gradients of the network's errors, or that of the answers which it
        predicts; see `loss_gradients` and `answer_gradients`.
    seed : int
        Of the trials and of the noise.

    Returns
    -------
    ElasticWeights

    Raises
    ------
    OptionError
        If an argument is not valid.
    NumericalError
        If all gradients are zero or one is not finite.
    """
    importance = np.mean(_gradients(trained, task, n_trials, of, seed) ** 2, axis=0)
    return ElasticWeights(anchor=trained.model.theta, importance=importance, factor=factor)


def projected_gradients(
    trained: Trained, task: Task, *, n_directions: int = 10, n_trials: int = 256, of: str = "answers", seed: int = 0
) -> ProjectedGradients:
    """Find the directions in which a trained network's parameters must not move if a task is to be kept.

    Parameters
    ----------
    trained : Trained
    task : Task
        What it is to keep, the task that it was trained on as a rule.
    n_directions : int
        How many, at most as many as trials; fewer are taken where the gradients have a lower rank. The more are closed,
        the farther the others are moved, and the less first order says of it.
    n_trials : int
        Trials whose gradients are taken.
    of : {"answers", "loss"}
        Gradients of the answers, as published, or of the errors, which leave directions open along which a network
        without errors would make some.
    seed : int
        Of the trials and of the noise.

    Returns
    -------
    ProjectedGradients
        The leading right singular vectors of the matrix of gradients, a row a trial.

    Raises
    ------
    OptionError
        If an argument is not valid.
    NumericalError
        If all gradients are zero or one is not finite.
    """
    n_directions = check_count("n_directions", n_directions)
    rows = _gradients(trained, task, n_trials, of, seed)
    if n_directions > min(rows.shape):
        raise OptionError(
            f"n_directions={n_directions} is more than {rows.shape[0]} trials and {rows.shape[1]} parameters span.",
            hint="Take more trials, or fewer directions.",
        )
    _, length, directions = np.linalg.svd(rows, full_matrices=False)
    # Vectors of singular values that are round-off point anywhere.
    rank = int(np.sum(length > max(rows.shape) * np.finfo(trained.model.dtype).eps * length[0]))
    taken = min(n_directions, rank)
    share = float(np.sum(length[:taken] ** 2) / np.sum(length**2))
    return ProjectedGradients(directions=directions[:taken], share=share)


def _gradients(trained: Trained, task: Task, n_trials: int, of: str, seed: int) -> np.ndarray:
    """Give the gradients of trials of a task, one a row."""
    gradients = _GRADIENTS[check_choice("of", of, _GRADIENTS)]
    batch = task.trials(check_count("n_trials", n_trials), seed=seed)
    rows = gradients(trained.model, batch, seed=seed)
    if not np.isfinite(rows).all() or not rows.any():
        what = "zero for every trial" if np.isfinite(rows).all() else "not finite"
        raise NumericalError(f"the gradients of {task.name} are {what}; they do not say what is to be kept.")
    return rows


def _frozen(name: str, values: np.ndarray, *, n_axes: int) -> np.ndarray:
    """Give a read-only copy in double precision, or refuse what is no finite array of so many axes."""
    array = np.array(values, dtype=float)
    if array.ndim != n_axes or not np.isfinite(array).all():
        raise OptionError(f"{name} has shape {array.shape}; expected {n_axes} axes of finite numbers.")
    array.flags.writeable = False
    return array


def _check_size(name: str, values: np.ndarray, size: int) -> None:
    """Refuse parameters of another network."""
    if values.shape != (size,):
        raise OptionError(
            f"{name} has shape {values.shape}; expected ({size},) as for the task that is kept.",
            hint="Train the same network: same units, inputs and outputs.",
        )


def _digest(*arrays: np.ndarray) -> str:
    """Give a short name of the numbers in arrays."""
    return hashlib.sha256(b"".join(array.tobytes() for array in arrays)).hexdigest()[:16]
