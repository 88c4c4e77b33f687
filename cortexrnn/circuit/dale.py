"""Dale's law and balance: one sign a column, audited; rows that sum to zero without a change of sign."""

from __future__ import annotations

import numpy as np

from cortexrnn.errors import DataError, NumericalError

_SHOWN = 3


def audit_signs(weights: np.ndarray, signs: np.ndarray) -> np.ndarray:
    """Give the weights back as they are if no column has a weight of the wrong sign.

    Parameters
    ----------
    weights : ndarray, shape (n_post, n_pre)
    signs : ndarray of int, shape (n_pre,)
        +1, -1, or 0 for columns that are not constrained.

    Returns
    -------
    ndarray, shape (n_post, n_pre)

    Raises
    ------
    DataError
        If there is a weight of the wrong sign or a NaN; names the worst of them.
    """
    weights, signs = np.asarray(weights), np.asarray(signs)
    if weights.ndim != 2 or signs.shape != weights.shape[1:]:
        raise DataError(
            f"signs of shape {signs.shape} do not fit weights of shape {weights.shape}; expected one sign a column.",
            hint="Weights are [post, pre]: transpose them if the senders are the rows.",
        )
    if np.isnan(weights).any():
        post, pre = np.argwhere(np.isnan(weights))[0]
        raise DataError(f"weights hold NaN, first at w[{post}, {pre}]; expected finite numbers.")
    wrong = np.maximum(-weights * signs, 0.0)
    n_wrong = int(np.count_nonzero(wrong))
    if n_wrong:
        post, pre = np.unravel_index(np.argmax(wrong), wrong.shape)
        kind, relation = ("excitatory", ">= 0") if signs[pre] > 0 else ("inhibitory", "<= 0")
        raise DataError(
            f"{n_wrong} weights have the wrong sign, the largest {weights[post, pre]:.4g} at w[{post}, {pre}]; "
            f"expected column {pre} to be {kind}, {relation}.",
            hint="Build weights with build_weights(); it keeps Dale's law by construction.",
        )
    return weights


def balance_rows(matrix: np.ndarray, signs: np.ndarray) -> tuple[np.ndarray, float]:
    """Scale excitation and inhibition of every row so that the row sums to zero; signs and zeros are kept.

    With S_E the excitatory and S_I the absolute inhibitory sum of a row and ``g = sqrt(S_E S_I)``, excitation is
    multiplied by ``g/S_E`` and inhibition by ``g/S_I``. Rows without any weight stay as they are.

    Parameters
    ----------
    matrix : ndarray, shape (n_post, n_pre)
        Columns follow `signs`.
    signs : ndarray of int, shape (n_pre,)
        +1 or -1.

    Returns
    -------
    balanced : ndarray of float64, shape (n_post, n_pre)
    residual : float
        Largest absolute row sum, relative to the row's sum of absolute weights.

    Raises
    ------
    NumericalError
        If a row has weights of one sign only.
    DataError
        If a column breaks its sign, or has none.
    """
    matrix = audit_signs(np.asarray(matrix, dtype=float), signs)
    if np.any(np.asarray(signs) == 0):
        raise DataError(
            f"{int(np.sum(np.asarray(signs) == 0))} columns are mixed; expected signs of +1 or -1.",
            hint="Rows of an unconstrained matrix are balanced by subtraction: balance = 'random part'.",
        )
    is_excitatory = np.asarray(signs) > 0
    excitation = matrix[:, is_excitatory].sum(axis=1)
    inhibition = -matrix[:, ~is_excitatory].sum(axis=1)
    one_sided = np.flatnonzero((excitation > 0.0) != (inhibition > 0.0))
    if one_sided.size:
        shown = ", ".join(map(str, one_sided[:_SHOWN])) + (", ..." if one_sided.size > _SHOWN else "")
        row = one_sided[0]
        raise NumericalError(
            f"{one_sided.size} rows have weights of one sign only and cannot be balanced: {shown} "
            f"(row {row}: excitation {excitation[row]:.4g}, inhibition {-inhibition[row]:.4g}).",
            hint="Raise the density or use in_degree, so that every unit has excitatory and inhibitory sources.",
        )
    shared = np.sqrt(excitation) * np.sqrt(inhibition)
    one = np.ones_like(shared)
    by_excitation = np.divide(shared, excitation, out=one.copy(), where=excitation > 0.0)
    by_inhibition = np.divide(shared, inhibition, out=one.copy(), where=inhibition > 0.0)
    balanced = matrix * np.where(is_excitatory, by_excitation[:, None], by_inhibition[:, None])
    scale = np.maximum(np.abs(balanced).sum(axis=1), np.finfo(float).tiny)
    return balanced, float(np.max(np.abs(balanced.sum(axis=1)) / scale, initial=0.0))
