"""How a free parameter becomes a weight that keeps its sign: the options for Dale's law under training.

A weight is ``sign f(theta)`` on connections that exist. ``relu``, ``abs``, ``exp`` and ``softplus`` are f; with
``projected`` theta is the weight itself and is put back on its side of zero after every step; columns of mixed
populations are free in every option. ``dann`` is ``relu`` with inhibitory units that answer at once (`Interneurons`).
"""

from __future__ import annotations

import numpy as np

from cortexrnn._checks import check_choice
from cortexrnn.circuit.dale import balance_rows
from cortexrnn.errors import NumericalError, OptionError

OPTIONS = ("relu", "abs", "exp", "softplus", "projected", "dann")
BALANCES = ("", "rows")
# Where f has no finite inverse of zero: weights as good as absent.
_SMALLEST = 1e-8


class Dale:
    """A parametrisation of a matrix whose columns have signs.

    Parameters
    ----------
    option : {"relu", "abs", "exp", "softplus", "projected"}
    signs : ndarray of int, shape (n_sources,)
        +1, -1, or 0 for columns that are free.
    is_connected : ndarray of bool, shape (n_units, n_sources)
        Weights elsewhere are zero and stay so.
    balance : {"", "rows"}
        ``rows``: `project` scales excitation and inhibition of every row so that it sums to zero.

    Raises
    ------
    OptionError
        If there is no such option, or rows with free columns are to be balanced.
    """

    def __init__(self, option: str, signs: np.ndarray, is_connected: np.ndarray, *, balance: str = ""):
        self.option = check_choice("dale", option, OPTIONS)
        self._balance = check_choice("balance", balance, BALANCES)
        self._signs = np.asarray(signs, dtype=float)
        self._is_free = self._signs == 0
        self._is_connected = is_connected
        if self._balance and self._is_free.any():
            raise OptionError(
                f"balance={balance!r} is not valid for {int(self._is_free.sum())} sources of mixed populations.",
                hint="Rows are balanced between excitation and inhibition: give every population a sign.",
            )

    def start(self, weights: np.ndarray) -> np.ndarray:
        """Give the parameters with which a training begins, balanced where that is asked for.

        Parameters
        ----------
        weights : ndarray, shape (n_units, n_sources)
            Of the circuit.

        Returns
        -------
        ndarray, shape (n_units, n_sources)

        Raises
        ------
        NumericalError
            If a row that is to be balanced has weights of one sign only.
        """
        theta = self.parameters(weights)
        self.project(theta)
        return theta

    def parameters(self, weights: np.ndarray) -> np.ndarray:
        """Give the parameters of weights, shape (n_units, n_sources), the inverse of `weights`."""
        magnitude = np.abs(weights).astype(float)
        if self.option == "exp":
            magnitude = np.log(np.maximum(magnitude, _SMALLEST))
        elif self.option == "softplus":
            magnitude = _inverse_softplus(np.maximum(magnitude, _SMALLEST))
        elif self.option == "projected":
            magnitude = magnitude * self._signs
        theta = np.where(self._is_free, weights, magnitude)
        return np.where(self._is_connected, theta, 0.0).astype(weights.dtype)

    def weights(self, theta: np.ndarray) -> np.ndarray:
        """Give the weights of parameters, shape (n_units, n_sources)."""
        value = {
            "relu": lambda: np.maximum(theta, 0.0) * self._signs,
            "abs": lambda: np.abs(theta) * self._signs,
            "exp": lambda: np.exp(theta) * self._signs,
            "softplus": lambda: np.logaddexp(0.0, theta) * self._signs,
            "projected": lambda: theta,
            "dann": lambda: np.maximum(theta, 0.0) * self._signs,
        }[self.option]()
        return np.where(self._is_connected, np.where(self._is_free, theta, value), 0.0).astype(theta.dtype)

    def effective(self, theta: np.ndarray) -> np.ndarray:
        """Give the matrix that multiplies the sources' rates, (n_units, n_sources): here the weights themselves."""
        return self.weights(theta)

    def pull_back(self, theta: np.ndarray, by_effective: np.ndarray) -> np.ndarray:
        """Turn derivatives with respect to `effective` into those with respect to the parameters."""
        slope = {
            "relu": lambda: (theta > 0.0) * self._signs,
            "abs": lambda: np.sign(theta) * self._signs,
            "exp": lambda: np.exp(theta) * self._signs,
            "softplus": lambda: self._signs / (1.0 + np.exp(-theta)),
            "projected": lambda: np.ones_like(theta),
            "dann": lambda: (theta > 0.0) * self._signs,
        }[self.option]()
        slope = np.where(self._is_free, 1.0, slope)
        return np.where(self._is_connected, slope * by_effective, 0.0).astype(theta.dtype)

    def project(self, theta: np.ndarray) -> None:
        """Put parameters back, in place, to where weights have their signs and rows the balance that was asked for.

        Only ``projected`` needs it for the signs.

        Raises
        ------
        NumericalError
            If a row that is to be balanced has weights of one sign only.
        """
        if self.option == "projected":
            wrong = (theta * self._signs < 0.0) & ~self._is_free
            theta[wrong] = 0.0
        if self._balance:
            self._balance_rows(theta)

    def _balance_rows(self, theta: np.ndarray) -> None:
        """Move parameters to where the rows of the weights sum to zero."""
        weights = self.weights(theta)
        try:
            balanced, _ = balance_rows(weights, self._signs)
        except NumericalError as error:
            hint = "Give every unit sources of both signs; lower the learning rate if it had them, or take dale='exp'."
            raise NumericalError(error.what, where="balance of the rows", hint=hint) from None
        is_there = weights != 0.0
        factor = np.divide(balanced, weights, out=np.ones(weights.shape), where=is_there)
        if self.option == "exp":
            theta += np.log(factor)
        elif self.option == "softplus":
            theta[is_there] = _inverse_softplus(np.abs(balanced[is_there]))
        else:
            # Parameters are scaled, not found anew from the weights: those of abs keep their side of zero.
            theta *= factor


class Interneurons(Dale):
    """Dale's ANN: inhibitory units answer at once and linearly, so that inhibition is a product of two blocks.

    With the magnitudes P of the weights the matrix that acts is ``P_EE - P_EI P_IE`` among excitatory units. The rows
    of the inhibitory units are ``P_IE``: their rates show what they inhibit by, beside inputs and noise of their own,
    which reach nobody else. Their columns are zero, and connections among them have no part in it.

    Parameters
    ----------
    unit_signs : ndarray of int, shape (n_units,)
        +1 or -1, both present.
    source_units : ndarray of int, shape (n_sources,)
        The unit of every source.
    is_connected : ndarray of bool, shape (n_units, n_sources)

    Raises
    ------
    OptionError
        If a unit has no sign, or all have the same.

    Notes
    -----
    Cornford, Kalajdzievski, Leite, Lamarquette, Kullmann and Richards (2021), Learning to live with Dale's principle,
    ICLR; recurrent: Li, Cornford, Ghosh and Richards (2023), doi:10.1101/2023.06.28.546924. Their clamped weights
    are ``relu`` here, and their divisive part and the scaled gradients of inhibition, made for plain gradient
    descent, are left out.
    """

    def __init__(self, unit_signs: np.ndarray, source_units: np.ndarray, is_connected: np.ndarray):
        signs = np.asarray(unit_signs)
        if set(np.unique(signs)) != {-1, 1}:
            n_each = {word: int((signs == sign).sum()) for word, sign in (("+1", 1), ("-1", -1), ("mixed", 0))}
            raise OptionError(
                f"dale='dann' is not valid for units of the signs {n_each}; expected excitatory and inhibitory ones.",
                hint="Take a circuit with both populations, or dale='relu'.",
            )
        source_signs = signs[source_units]
        self._excited = np.flatnonzero(signs > 0)
        self._from_excited, self._from_inhibited = np.flatnonzero(source_signs > 0), np.flatnonzero(source_signs < 0)
        # The rows of the inhibitory units that send something, in the order of their columns.
        self._relays = np.asarray(source_units)[self._from_inhibited]
        super().__init__("dann", source_signs, is_connected & ~np.outer(signs < 0, source_signs < 0))

    def start(self, weights: np.ndarray) -> np.ndarray:
        """Give the parameters with which a training begins: the circuit's excitation, centred by its inhibition.

        The weights from inhibitory to excitatory units are divided by their sum in every row. Those that an
        excitatory unit sends to inhibitory ones are all alike, and such that what it brings to the excitatory units
        sums to zero; where all connections exist they are the mean of its weights. That is the start in the code of
        Li et al. (2023); in Cornford et al. (2021) inhibition centres on average. A unit that excites or inhibits no
        excitatory unit cannot be centred and keeps its weights.

        Parameters
        ----------
        weights : ndarray, shape (n_units, n_sources)
            Of the circuit.

        Returns
        -------
        ndarray, shape (n_units, n_sources)
        """
        theta = self.parameters(weights)
        excitation, outward, inward = self._blocks(theta)
        sums = outward.sum(axis=1, keepdims=True)
        outward = np.divide(outward, sums, out=np.zeros_like(outward), where=sums > 0.0)
        theta[np.ix_(self._excited, self._from_inhibited)] = outward
        connected = self._is_connected[np.ix_(self._relays, self._from_excited)]
        brought, reached = excitation.sum(axis=0), outward.sum(axis=0) @ connected
        is_centred = (brought > 0.0) & (reached > 0.0)
        alike = np.divide(brought, reached, out=np.zeros_like(brought), where=is_centred)
        theta[np.ix_(self._relays, self._from_excited)] = np.where(is_centred, connected * alike, inward)
        return theta

    def effective(self, theta: np.ndarray) -> np.ndarray:
        """Give the matrix that multiplies the sources' rates, (n_units, n_sources)."""
        weights = np.abs(self.weights(theta))
        excitation, outward, inward = self._blocks(weights)
        matrix = np.where(self._signs > 0.0, weights, 0.0).astype(theta.dtype)
        matrix[np.ix_(self._excited, self._from_excited)] = excitation - outward @ inward
        return matrix

    def pull_back(self, theta: np.ndarray, by_effective: np.ndarray) -> np.ndarray:
        """Turn derivatives with respect to `effective` into those with respect to the parameters."""
        _, outward, inward = self._blocks(np.abs(self.weights(theta)))
        among_excited = np.ix_(self._excited, self._from_excited)
        by = np.where(self._signs > 0.0, by_effective, 0.0)
        by[np.ix_(self._relays, self._from_excited)] -= outward.T @ by[among_excited]
        by[np.ix_(self._excited, self._from_inhibited)] = -by[among_excited] @ inward.T
        return np.where(self._is_connected & (theta > 0.0), by, 0.0).astype(theta.dtype)

    def _blocks(self, matrix: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Give the blocks from E to E, from I to E, and from E to those I that send something."""
        return (
            matrix[np.ix_(self._excited, self._from_excited)],
            matrix[np.ix_(self._excited, self._from_inhibited)],
            matrix[np.ix_(self._relays, self._from_excited)],
        )


def parametrise(
    option: str, balance: str, unit_signs: np.ndarray, static: np.ndarray, plastic: np.ndarray, is_connected: np.ndarray
) -> Dale:
    """Choose the parametrisation of a circuit's recurrent weights.

    Parameters
    ----------
    option : {"relu", "abs", "exp", "softplus", "projected", "dann"}
    balance : {"", "rows"}
        Whether rows are kept balanced during training.
    unit_signs : ndarray of int, shape (n_units,)
        +1, -1 or 0.
    static, plastic : ndarray of int, shape (n_static,) and (n_plastic,)
        Units of the sources without and with short-term plasticity, the columns of the matrix in this order.
    is_connected : ndarray of bool, shape (n_units, n_static + n_plastic)

    Returns
    -------
    Dale

    Raises
    ------
    OptionError
        If there is no such option, or the circuit does not fit it.
    """
    source_units = np.concatenate([static, plastic]).astype(int)
    if option != "dann":
        return Dale(option, unit_signs[source_units], is_connected, balance=balance)
    if balance:
        raise OptionError(
            f"balance={balance!r} is not valid with dale='dann', whose inhibition is a product of weights.",
            hint="Leave balance out: its start is centred.",
        )
    if len(plastic):
        raise OptionError(
            f"dale='dann' is not valid for a circuit with {len(plastic)} plastic sources: its inhibition has no time.",
            hint="Leave the plasticity out, or take dale='relu'.",
        )
    return Interneurons(unit_signs, source_units, is_connected)


def _inverse_softplus(value: np.ndarray) -> np.ndarray:
    """Give the number whose ``log(1 + exp(.))`` is the positive value."""
    return value + np.log(-np.expm1(-value))
