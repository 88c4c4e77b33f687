"""Hand-written gradients against central differences, for every network, loss, sign option and kind of plasticity.

The gap of one combination is the difference between the derivative along a random direction and its central difference,
over the product of the norms of gradient and direction.
"""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from cortexrnn.cells.activation import Activation
from cortexrnn.cells.stp import ShortTermPlasticity
from cortexrnn.circuit import Circuit, Noise, Population, Projection, WeightLaw
from cortexrnn.report import style
from cortexrnn.report.circuits import EXCITATORY, INHIBITORY
from cortexrnn.training.bidirectional import BidirectionalModel
from cortexrnn.training.bptt import Sweep, Trainer
from cortexrnn.training.cell_model import CellModel, CellNetwork
from cortexrnn.training.circuit_model import FIELDS, CircuitModel, Trainable
from cortexrnn.training.dale import OPTIONS
from cortexrnn.training.losses import CODES, NEGATIVE_BINOMIAL
from cortexrnn.training.model import Asked, Model
from cortexrnn.training.tasks.contract import Batch
from cortexrnn.validation.targets import run_script

if TYPE_CHECKING:
    from matplotlib.figure import Figure

N_TRIALS, N_STEPS, N_INPUTS, N_TARGETS = 20, 15, 4, 2
# Of a difference of fourth order.
STEP = 3e-4
NETWORKS = {
    **{kind: CellNetwork(kind=kind, n_hidden=6) for kind in ("vanilla", "lstm", "gru", "ode")},
    "vanilla, layer norm": CellNetwork(kind="vanilla", n_hidden=6, has_norm=True),
    "lstm, layer norm": CellNetwork(kind="lstm", n_hidden=6, has_norm=True),
    "gru, layer norm": CellNetwork(kind="gru", n_hidden=6, has_norm=True),
    "gru, two directions": CellNetwork(kind="gru", n_hidden=4, is_bidirectional=True),
}
PLASTICITY = {
    "static": None,
    "depressing": ShortTermPlasticity(U=0.4, tau_f_s=0.0, tau_d_s=0.2),
    "facilitating": ShortTermPlasticity(U=0.2, tau_f_s=0.4, tau_d_s=0.1),
    "facilitating, mongillo2008": ShortTermPlasticity(U=0.2, tau_f_s=0.4, tau_d_s=0.1, convention="mongillo2008"),
}


def measure() -> tuple[dict[str, float], pd.DataFrame]:
    """Compare every combination."""
    rows = [
        {"network": name, "option": "", "loss": loss, "gap": gap(cell_model(network, loss), batch_of(loss, name), {})}
        for (name, network), loss in itertools.product(NETWORKS.items(), CODES)
    ]
    for (name, plasticity), form, dale in itertools.product(PLASTICITY.items(), ("current", "rate"), OPTIONS):
        if dale == "dann" and plasticity is not None:
            continue
        for loss, dropout in zip(CODES, (0.0, 0.3, 0.0, 0.3, 0.0), strict=True):
            model = circuit_model(plasticity, form, dale, loss)
            found = gap(model, batch_of(loss, name), {"dropout": dropout})
            rows.append({"network": f"{name}, {form} form", "option": dale, "loss": loss, "gap": found})
    table = pd.DataFrame(rows)
    is_cell = table["option"] == ""
    values = {
        "cells": float(table.loc[is_cell, "gap"].max()),
        "circuits": float(table.loc[~is_cell, "gap"].max()),
        "adjoint": max(adjoint_gap(cell_model(network, "mse"), name) for name, network in NETWORKS.items()),
    }
    return values, table


def batch_of(loss: str, network: str) -> Batch:
    """Give trials of different lengths."""
    rng = np.random.default_rng(3)
    length = rng.integers(5, N_STEPS + 1, N_TRIALS)
    length[0] = N_STEPS
    inside = np.arange(N_STEPS) < length[:, None]
    inputs = rng.normal(size=(N_TRIALS, N_STEPS, N_INPUTS)) * inside[:, :, None]
    if network == "ode":
        # Gap in seconds, and whether there is a sample.
        inputs[:, :, 0], inputs[:, :, 1] = np.abs(inputs[:, :, 0]) * 0.1, inputs[:, :, 1] > 0.0
    shape = (N_TRIALS, N_STEPS, N_TARGETS)
    is_class = loss == "cross entropy"
    targets = rng.normal(size=shape) if loss == "mse" else rng.poisson(0.7, shape).astype(float)
    if loss == "bernoulli cloglog":
        targets = np.minimum(targets, 1.0)
    return Batch(
        inputs=inputs,
        targets=None if is_class else targets,
        labels=rng.integers(0, N_TARGETS, shape[:2]) if is_class else None,
        mask=inside * rng.random(shape[:2]),
        length=length,
        table=pd.DataFrame(index=range(N_TRIALS)),
        loss=loss,
    )


def asked(loss: str) -> Asked:
    """Say what is asked of a network."""
    return Asked(N_INPUTS, 2 * N_TARGETS if loss == NEGATIVE_BINOMIAL else N_TARGETS, 0.02)


def cell_model(network: CellNetwork, loss: str) -> Model:
    """Give the parameters of a cell network in float64."""
    kind = BidirectionalModel if network.is_bidirectional else CellModel
    return with_starts(kind(network, asked(loss), seed=0, dtype=np.float64))


def circuit_model(plasticity: ShortTermPlasticity | None, form: str, dale: str, loss: str) -> Model:
    """Give the parameters of a noisy E-I circuit in float64, every one of them trained."""
    sizes, means = {"excitatory": 5, "inhibitory": 3}, {"excitatory": 0.2, "inhibitory": 0.5}
    circuit = Circuit(
        name="small",
        form=form,
        populations=tuple(
            Population(name=name, size=size, sign=name, activation=Activation(kind="softplus"), tau_s=0.1)
            for name, size in sizes.items()
        ),
        projections=tuple(
            Projection(
                source=source, target=target, weights=WeightLaw(law="gamma", mean=means[source], sd=means[source]),
                plasticity="" if plasticity is None or source == "inhibitory" else "stp",
            )
            for source, target in itertools.product(sizes, sizes)
        ),
        plasticity={} if plasticity is None else {"stp": plasticity},
        noise=Noise(sigma=0.2, tau_s=0.05),
        rate_scale_hz=5.0,
    )  # fmt: skip
    trainable = Trainable(dale=dale, trains=FIELDS)
    return with_starts(CircuitModel(circuit, asked(loss), trainable, seed=0, dtype=np.float64))


def with_starts(model: Model) -> Model:
    """Move the start states away from zero."""
    for name, part in model.parts(model.theta).items():
        if name.startswith("start"):
            part[:] = 0.2 + 0.3 * np.random.default_rng(1).random(part.shape)
    return model


def gap(model: Model, batch: Batch, options: dict[str, float]) -> float:
    """Give how far the gradient is from central differences of fourth order."""
    trainer, sweep = Trainer(model, 1), Sweep(noise_key=(0,), **options)
    gradient = trainer.run(batch, sweep).gradient
    free = model.moves & np.isfinite(model.theta)
    direction = np.where(free, np.random.default_rng(2).normal(size=gradient.size), 0.0)
    norm, start = np.linalg.norm(direction), model.theta.copy()

    def loss(times: float) -> float:
        model.theta[:] = start + times * STEP / norm * direction
        return trainer.run(batch, sweep).loss

    numeric = (8.0 * (loss(1.0) - loss(-1.0)) - (loss(2.0) - loss(-2.0))) / (12.0 * STEP / norm)
    model.theta[:] = start
    return float(abs(numeric - gradient @ direction) / (norm * np.linalg.norm(gradient)))


def adjoint_gap(model: Model, name: str) -> float:
    """Give how far the gradient of two losses is from the sum of their gradients: sweeps back are linear."""
    batch = batch_of("mse", name)
    trainer, sweep = Trainer(model, 1), Sweep(noise_key=(0,))
    outputs = trainer.run(batch, sweep).outputs
    rng = np.random.default_rng(4)
    shifts = rng.normal(size=(2, *outputs.shape))
    # With targets at the outputs less a shift, the derivatives of a squared error are linear in the shift.
    gradients = [
        trainer.run(batch._replace(targets=outputs - shift), sweep).gradient for shift in (*shifts, shifts.sum(axis=0))
    ]
    return float(np.linalg.norm(gradients[0] + gradients[1] - gradients[2]) / np.linalg.norm(gradients[2]))


def draw(figure: Figure, table: pd.DataFrame) -> None:
    """Draw every combination's gap, a row a network."""
    ax = figure.subplots()
    names = list(dict.fromkeys(table["network"]))
    colours = dict(zip(CODES, (style.INK, EXCITATORY, INHIBITORY, "#15856b", style.MUTED), strict=True))
    for loss, rows in table.groupby("loss", sort=False):
        place = [names.index(name) for name in rows["network"]]
        ax.plot(np.log10(np.maximum(rows["gap"], 1e-16)), place, ".", color=colours[loss], markersize=3, label=loss)
    ax.axvline(-7.0, color=style.INK, linewidth=0.6)
    ax.set(xlim=(-16.2, -6.5), xlabel="gap to central differences, power of 10")
    ax.set_yticks(range(len(names)), names, fontsize=5)
    ax.invert_yaxis()
    ax.legend(loc="lower center", bbox_to_anchor=(0.3, 1.0), ncols=5, fontsize=5, handletextpad=0.1, columnspacing=0.8)


if __name__ == "__main__":
    run_script("gradients", __file__)
