"""Loops of a reservoir: steps of a fixed sparse network under inputs and fed-back outputs, one trial at a time."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numba import njit

from cortexrnn.cells.activation import Activation
from cortexrnn.dynamics.kernels import CURRENT, RATE, State, Units, rates_of, relax
from cortexrnn.numerics.gather import add_weighted

# Sources are 16-bit numbers.
LARGEST = 1 << 16


class Network(NamedTuple):
    """A fixed network as kernels see it.

    Attributes
    ----------
    units : Units
        Form, step and activations.
    first : ndarray of int64, shape (n_units + 1,)
        Where each unit's connections start.
    sources : ndarray of uint16, shape (n_connections,)
        Units that they come from.
    weights : ndarray of float64, shape (n_connections,)
    """

    units: Units
    first: np.ndarray
    sources: np.ndarray
    weights: np.ndarray


def make_network(
    weights: np.ndarray, decay: np.ndarray, activations: tuple[Activation, ...], sizes: tuple[int, ...], *, form: str
) -> Network:
    """Lay a network out for the kernels.

    Parameters
    ----------
    weights : ndarray of float64, shape (n_units, n_units)
        ``[post, pre]``; zeros cost nothing.
    decay : ndarray of float64, shape (n_units,)
        What is left of a unit's state after one step.
    activations : tuple of Activation
        One a population.
    sizes : tuple of int
        Units of each population.
    form : {"current", "rate"}
        Whether the state is what the activation is applied to, or its result.

    Returns
    -------
    Network
    """
    n_units = len(weights)
    post, pre = np.nonzero(weights)
    units = Units(
        form=CURRENT if form == "current" else RATE,
        lanes=1,
        decay=np.ascontiguousarray(decay, dtype=float),
        gain=1.0 - decay,
        speed=np.ones(n_units),
        first=np.cumsum([0, *sizes]),
        codes=np.array([activation.code for activation in activations]),
        shapes=np.array([(a.gain, a.threshold, a.exponent) for a in activations]),
        dt_s=1.0,
    )
    return Network(
        units=units,
        first=np.concatenate([[0], np.cumsum(np.bincount(post, minlength=n_units))]),
        sources=pre.astype(np.uint16),
        weights=np.ascontiguousarray(weights[post, pre], dtype=float),
    )


@njit(cache=True, nogil=True)
def step(network, state, rate, drive):
    """Advance a state by one step.

    Parameters
    ----------
    network : Network
    state : State
        Changed in place; without plasticity.
    rate : ndarray, shape (n_units,)
        Rates that the state stands for, as of `rates_of`; overwritten.
    drive : ndarray, shape (n_units,)
        Input from outside; the recurrent input is added to it.
    """
    for i in range(drive.size):
        at = network.first[i]
        add_weighted(drive, i, network.weights, at, rate, 0, network.sources, at, network.first[i + 1] - at)
    relax(network.units, drive, rate, state)


@njit(cache=True, nogil=True)
def run(network, y, external, rates):
    """Advance a state under an input and keep the rates after every step.

    Parameters
    ----------
    network : Network
    y : ndarray, shape (n_units,)
        State; changed in place.
    external : ndarray, shape (n_steps, n_units)
        Input to every unit at every step.
    rates : ndarray, shape (n_steps, n_units)
        Receives the rates.
    """
    nothing = np.empty(0)
    state = State(y, nothing, nothing)
    rate, drive = np.empty_like(y), np.empty_like(y)
    rates_of(network.units, y, rate)
    for t in range(external.shape[0]):
        drive[:] = external[t]
        step(network, state, rate, drive)
        rates_of(network.units, y, rate)
        rates[t] = rate


@njit(cache=True, nogil=True)
def follow_twin(network, y, direction, separation, external, logs):
    """Follow a state and a neighbour of it that is brought back near it after every step.

    Benettin, Galgani, Giorgilli and Strelcyn (1980), doi:10.1007/BF02128236.

    Parameters
    ----------
    network : Network
    y : ndarray, shape (n_units,)
        State; changed in place.
    direction : ndarray, shape (n_units,)
        Unit vector from the state to its neighbour.
    separation : float
        Their distance, relative to 1 plus the length of the state.
    external : ndarray, shape (n_steps, n_units)
    logs : ndarray, shape (n_steps,)
        Receives the logarithm of the factor by which the distance grew; minus infinity where it vanished and
        ever after.
    """
    nothing = np.empty(0)
    twin = np.empty_like(y)
    rate, drive = np.empty_like(y), np.empty_like(y)
    for t in range(external.shape[0]):
        distance = separation * (1.0 + np.sqrt(np.sum(y**2)))
        twin[:] = y + distance * direction
        for point in (y, twin):
            rates_of(network.units, point, rate)
            drive[:] = external[t]
            step(network, State(point, nothing, nothing), rate, drive)
        grown = np.sqrt(np.sum((twin - y) ** 2))
        if grown == 0.0:
            logs[t:] = -np.inf
            return
        logs[t] = np.log(grown / distance)
        direction = (twin - y) / grown
