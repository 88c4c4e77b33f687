"""What learning one task does to another: the change of its loss, predicted to second order and measured."""

from __future__ import annotations

import copy
from typing import NamedTuple

import numpy as np

from cortexrnn.errors import NumericalError, OptionError
from cortexrnn.training.bptt import Sweep, Trainer
from cortexrnn.training.model import Model
from cortexrnn.training.tasks.contract import Batch

# Of a central difference of gradients, in the norm of the parameters. The cube root of the precision, 6e-6, would suit
# a loss that bends on the scale of its parameters; those of recurrent networks bend far more sharply where they are
# small, to the point that 6e-6 missed curvatures altogether. At 1e-7 round-off still leaves nine digits.
_STEP = 1e-7
# A Hessian of 4000 parameters takes 128 MB and 8000 gradients.
_MOST_PARAMETERS = 4000


class Interference(NamedTuple):
    """How a change of the parameters acts on the loss of a task.

    Attributes
    ----------
    first_order : float
        ``g'd``, with the gradient g of the task's loss and the change d.
    second_order : float
        ``d'Hd / 2``, with the Hessian H.
    measured : float
        Loss after the change less the loss before.
    """

    first_order: float
    second_order: float
    measured: float

    @property
    def predicted(self) -> float:
        """Sum of both orders."""
        return self.first_order + self.second_order


class LossSurface:
    """Loss of one batch as a function of a network's parameters, the network's own noise held fixed.

    Parameters
    ----------
    model : Model
        In double precision; it is copied, and stays as it is.
    batch : Batch
    seed : int
        Of the noise within the network.

    Raises
    ------
    OptionError
        If the network is in single precision.
    """

    def __init__(self, model: Model, batch: Batch, *, seed: int = 0):
        if model.dtype != np.float64:
            raise OptionError(
                f"the network is in {model.dtype}; differences of losses and gradients need float64.",
                hint="Train it with dtype=np.float64.",
            )
        self._model, self._batch = copy.deepcopy(model), batch
        self._trainer = Trainer(self._model, 1)
        self._key = (seed, "loss surface")

    def loss(self, theta: np.ndarray) -> float:
        """Give the loss at parameters of shape (n_parameters,)."""
        self._model.theta[:] = theta
        return self._trainer.run(self._batch, Sweep(noise_key=self._key, wants_gradient=False)).loss

    def gradient(self, theta: np.ndarray) -> np.ndarray:
        """Give the gradient at parameters of shape (n_parameters,); zero for those that are not trained."""
        return self.loss_and_gradient(theta)[1]

    def loss_and_gradient(self, theta: np.ndarray) -> tuple[float, np.ndarray]:
        """Give both in one sweep, as `scipy.optimize.minimize` takes them with ``jac=True``."""
        self._model.theta[:] = theta
        found = self._trainer.run(self._batch, Sweep(noise_key=self._key))
        return found.loss, found.gradient.copy()

    def hessian_product(self, theta: np.ndarray, direction: np.ndarray) -> np.ndarray:
        """Give the Hessian times a direction, from two exact gradients on either side.

        Parameters
        ----------
        theta, direction : ndarray, shape (n_parameters,)

        Returns
        -------
        ndarray, shape (n_parameters,)
            Relative error about 1e-8 where the loss is smooth; at the kink of a rectified unit there is no Hessian.
        """
        # The largest entry first: squares of a very long or short direction would leave the range of numbers.
        largest = float(np.abs(direction).max(initial=0.0))
        if largest == 0.0:
            return np.zeros_like(theta)
        shape = direction / largest
        size = float(np.linalg.norm(shape))
        move = shape * (_STEP * max(1.0, float(np.linalg.norm(theta))) / size)
        ahead, behind = theta + move, theta - move
        # Divided by the step that was taken, not by the one that was wanted.
        taken = float(np.linalg.norm(ahead - behind))
        return (self.gradient(ahead) - self.gradient(behind)) * (size / taken) * largest


def predict_interference(model: Model, batch: Batch, change: np.ndarray, *, seed: int = 0) -> Interference:
    """Predict what a change of the parameters does to the loss of a task, and measure it.

    The second-order term alone, ``eta^2 g2'H1g2 / 2`` for a step of gradient descent on a second task, is right only
    where the gradient of the first task vanishes. It is never negative near a minimum, while the first-order
    term is wherever both tasks ask for the same.

    Parameters
    ----------
    model : Model
        Parameters before the change, in double precision.
    batch : Batch
        Trials of the first task.
    change : ndarray, shape (n_parameters,)
    seed : int
        Of the noise within the network, the same before and after.

    Returns
    -------
    Interference

    Raises
    ------
    OptionError
        If the network is in single precision or the change has another shape than its parameters.
    NumericalError
        If a loss is not finite.
    """
    if np.shape(change) != model.theta.shape:
        raise OptionError(f"change has shape {np.shape(change)}; expected {model.theta.shape}, one a parameter.")
    surface, theta = LossSurface(model, batch, seed=seed), model.theta
    # What overflows is told below, in words.
    with np.errstate(over="ignore", invalid="ignore"):
        found = Interference(
            first_order=float(surface.gradient(theta) @ change),
            second_order=0.5 * float(change @ surface.hessian_product(theta, change)),
            measured=surface.loss(theta + change) - surface.loss(theta),
        )
    if not np.isfinite(found).all():
        raise NumericalError(f"the change of the loss is not finite: {found}.", hint="Take a smaller change.")
    return found


def hessian(model: Model, batch: Batch, *, seed: int = 0) -> np.ndarray:
    """Give the Hessian of a batch's loss, column by column, of a small network.

    Parameters
    ----------
    model : Model
        In double precision, with at most 4000 parameters.
    batch : Batch
    seed : int
        Of the noise within the network.

    Returns
    -------
    ndarray, shape (n_parameters, n_parameters)
        Symmetric; zero in rows and columns of parameters that are not trained.

    Raises
    ------
    OptionError
        If the network is in single precision or has too many parameters.
    """
    n = model.theta.size
    if n > _MOST_PARAMETERS:
        raise OptionError(
            f"the network has {n} parameters; a whole Hessian is for at most {_MOST_PARAMETERS}.",
            hint="Take LossSurface.hessian_product for the directions that matter.",
        )
    surface, matrix = LossSurface(model, batch, seed=seed), np.zeros((n, n))
    for k in np.flatnonzero(model.moves):
        matrix[k] = surface.hessian_product(model.theta, np.eye(1, n, k)[0])
    return 0.5 * (matrix + matrix.T)
