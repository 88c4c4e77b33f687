"""A trained circuit: its weights, how it got there, and what it does."""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import xarray as xr

from cortexrnn.circuit.dale import audit_signs
from cortexrnn.circuit.spec import Circuit
from cortexrnn.errors import DataError, OptionError
from cortexrnn.runs.executor import default_workers
from cortexrnn.schema import TRIAL_DIMS
from cortexrnn.theory.system import System
from cortexrnn.training.bptt import Sweep, Trainer, check_current
from cortexrnn.training.checkpoint import load_arrays, save_arrays
from cortexrnn.training.explicit import explicit_circuit
from cortexrnn.training.model import Model
from cortexrnn.training.networks import go_on_from, make_model, network_from_text, network_size, network_to_text

if TYPE_CHECKING:
    from cortexrnn.training.tasks.contract import Batch, Task

# Columns of what is seen on the way of a training.
# Above this a float64 no longer holds every whole number.
_LARGEST_STEP = 2.0**53
HISTORY = ("step", "loss", "gradient_norm", "validation_loss", "performance")
_CURRENTS = {"current_e": "recurrent excitatory", "current_i": "recurrent inhibitory", "current_ext": "external"}


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Trained:
    """A circuit after training.

    Attributes
    ----------
    model : Model
        Its parameters.
    task : Task
        What it was trained on.
    seed : int
    history : xarray.Dataset
        Over `step`: loss, gradient_norm, validation_loss, performance.
    theta_before : ndarray, shape (n_parameters,)
        Parameters with which the training began.
    """

    model: Model
    task: Task
    seed: int
    history: xr.Dataset
    theta_before: np.ndarray

    @property
    def weights(self) -> np.ndarray:
        """Recurrent weights ``[post, pre]``, all synapses of a pair together; gates of a cell stacked."""
        return self.model.matrix()

    def answer(
        self, batch: Batch, *, seed: int = 0, is_forced: bool = False, current: np.ndarray | None = None
    ) -> np.ndarray:
        """Give the outputs to a batch of trials.

        Parameters
        ----------
        batch : Batch
        seed : int
            Of the noise.
        is_forced : bool
            Where the task feeds back the target: whether the network is fed it, and not its own output.
        current : ndarray, shape (n_trials, n_steps, n_units), optional
            Added to the current of every unit of a circuit: a perturbation.

        Returns
        -------
        ndarray, shape (n_trials, n_steps, n_outputs)
        """
        trainer = Trainer(self.model, default_workers())
        return trainer.run(batch, self._sweep(seed, is_forced, current)).outputs

    def record(
        self,
        batch: Batch,
        *,
        seed: int = 0,
        is_forced: bool = False,
        current: np.ndarray | None = None,
        currents: bool = False,
    ) -> xr.Dataset:
        """Give the rates of every unit in a batch of trials, as `cortexrnn.dynamics.simulate` lays them out.

        Parameters
        ----------
        batch : Batch
        seed, is_forced, current
            As for `answer`; the same give the same trials.
        currents : bool
            Whether to keep the currents of every unit of a circuit.

        Returns
        -------
        xarray.Dataset
            ``rate`` (trial, time, unit), as of the end of every step, NaN past a trial's end; a cell network's
            hidden state. Coordinates `population` and `sign` over unit. With plastic synapses also ``u`` and ``x``
            (trial, time, source), with the coordinate `sender`: the unit that sends through them. With `currents`
            also ``current_e`` and ``current_i``, the recurrent currents of excitatory and inhibitory units, and
            ``current_ext``, that of inputs, bias, noise and what is added, all (trial, time, unit): those of the step
            that ends with the rate beside them, whose sum is the argument that the unit's state moves towards (in the
            rate form, whose activation it moves towards).

        Raises
        ------
        OptionError
            If currents are asked of a network of cells, or where units send through weights of both signs.
        """
        found = Trainer(self.model, 1).record(batch, self._sweep(seed, is_forced, current), currents=currents)
        n_steps = found["rate"].shape[1]
        for values in found.values():
            values[np.arange(n_steps) >= batch.length[:, None]] = np.nan
        synapses = {
            name: (("trial", "time", "source"), found[name], {"units": "1", "long_name": long_name})
            for name, long_name in (("u", "utilisation"), ("x", "resources"))
            if name in found
        }
        kept = {
            name: (TRIAL_DIMS, found[name], {"units": "1", "long_name": f"{what} current"})
            for name, what in _CURRENTS.items()
            if name in found
        }
        senders = {"sender": ("source", self.model.senders)} if synapses else {}
        time_s = np.round((np.arange(n_steps) + 1) * self.task.dt_s, 12)
        return xr.Dataset(
            {"rate": (TRIAL_DIMS, found["rate"], {"units": "1", "long_name": "rate"}), **synapses, **kept},
            coords={
                "trial": np.arange(len(found["rate"])),
                "time": ("time", time_s, {"units": "s", "long_name": "time"}),
                "unit": np.arange(self.model.n_hidden),
                "population": ("unit", self.model.populations),
                "sign": ("unit", self.model.signs),
                **senders,
            },
            attrs={"network": self.model.name, "task": repr(self.task), "seed": seed, "dt_s": self.task.dt_s},
        )

    def performance(self, n_trials: int = 1000, *, seed: int = 1) -> float:
        """Give the fraction of correct trials among new ones.

        Parameters
        ----------
        n_trials : int
        seed : int
            Of trials and noise.

        Returns
        -------
        float
        """
        batch = self.task.trials(n_trials, seed=seed, mode="test")
        return self.task.performance(self.answer(batch, seed=seed), batch).fraction

    def psychometric(self, n_trials: int = 1000, *, seed: int = 1) -> xr.Dataset:
        """Give how often the network chooses at every level of the stimulus, with a fitted curve.

        Parameters
        ----------
        n_trials : int
        seed : int
            Of trials and noise.

        Returns
        -------
        xarray.Dataset
            See `cortexrnn.training.behaviour.psychometric`.

        Raises
        ------
        OptionError
            If the task has no stimulus with a sign.
        """
        if not self.task.stimulus_column:
            raise OptionError(f"{type(self.task).__name__} has no stimulus with levels, so there is no such curve.")
        # SciPy's statistics take longer to load than a small network to train.
        from cortexrnn.training.behaviour import psychometric

        batch = self.task.trials(n_trials, seed=seed, mode="test")
        judged = self.task.performance(self.answer(batch, seed=seed), batch)
        return psychometric(
            judged.trials, stimulus=self.task.stimulus_column, by=self.task.group_column or None, seed=seed
        )

    def system(self, inputs: np.ndarray | None = None) -> System:
        """Give the network at a constant input, for what `cortexrnn.theory` makes of it; noise is left out.

        Parameters
        ----------
        inputs : array_like, shape (n_inputs,), optional
            Zero if left out.

        Returns
        -------
        System

        Raises
        ------
        OptionError
            If there are not as many inputs as the task has, or the network looks ahead in time.
        """
        n_inputs = self.model.n_inputs
        values = np.zeros(n_inputs) if inputs is None else np.asarray(inputs, dtype=float)
        if values.shape != (n_inputs,) or not np.isfinite(values).all():
            raise OptionError(f"inputs={inputs!r} is not valid; expected {n_inputs} finite numbers.")
        return self.model.system(values, self.task.dt_s)

    def to_circuit(self) -> Circuit:
        """Give a trained circuit as a circuit, to be simulated, analysed, changed or saved as one.

        Its channels are ``input_0`` and so on, in the order of the task's inputs. A simulation with the exponential
        Euler method, the task's time step and the same inputs runs as `record` does, which tells the rates after
        every step; where start states were trained, give them as `initial`. The read-out is no part of a circuit: it
        is ``model.readout()``.

        Returns
        -------
        Circuit

        Raises
        ------
        OptionError
            See `cortexrnn.training.explicit.explicit_circuit`.
        """
        inputs = getattr(self.model.core_weights(), "input", None)
        channels = [] if inputs is None else [(f"input_{k}", column) for k, column in enumerate(inputs.T)]
        return explicit_circuit(self.model, channels, name=self.model.name)

    @property
    def weights_before(self) -> np.ndarray:
        """Recurrent weights with which the training began, in the shape of `weights`."""
        return go_on_from(self.model, self.task, self.model.name, theta=self.theta_before).matrix()

    def describe(self, n_trials: int = 1000, *, seed: int = 1) -> dict[str, Any]:
        """Summarise the training, ready for JSON.

        Parameters
        ----------
        n_trials : int
            Trials of the last look at the performance.
        seed : int
            Of these trials.

        Returns
        -------
        dict
        """
        self.audit_signs()
        last = self.history.isel(step=-1)
        return {
            "network": {"name": self.model.name, "n_units": self.model.n_hidden, **self.model.identity()},
            "task": repr(self.task),
            "seed": self.seed,
            "n_parameters": int(self.model.moves.sum()),
            "n_steps": int(last["step"]),
            "loss": float(last["validation_loss"]),
            "performance": self.performance(n_trials, seed=seed),
            "n_weights_of_wrong_sign": 0,
        }

    def audit_signs(self) -> None:
        """Raise DataError where a weight has the wrong sign; none can have it."""
        audit_signs(self.weights, self.model.signs)

    def save(self, path: str | os.PathLike) -> None:
        """Write network, parameters and history as one safetensors file.

        Parameters
        ----------
        path : path

        Raises
        ------
        FileAccessError
            If the file cannot be written.
        """
        self.audit_signs()
        about = {
            "kind": "trained",
            **network_to_text(self.model),
            "task": repr(self.task),
            "seed": str(self.seed),
        }
        rows = np.stack([self.history[name].values.astype(float) for name in HISTORY], axis=1)
        arrays = {**self.model.parts(self.model.theta), "history": rows, "theta_before": self.theta_before}
        save_arrays(path, arrays, about)

    def _sweep(self, seed: int, is_forced: bool, current: np.ndarray | None) -> Sweep:
        """Say how a batch is answered."""
        if current is not None:
            check_current(self.model, current)
        own = 0.0 if is_forced else 1.0
        return Sweep(noise_key=(seed, "answer"), wants_gradient=False, own=own, current=current)


def history_dataset(rows: np.ndarray) -> xr.Dataset:
    """Lay the history of a training, shape (n_looks, 5), out over the steps at which it was looked at."""
    columns = {name: ("step", rows[:, k]) for k, name in enumerate(HISTORY) if name != "step"}
    return xr.Dataset(columns, coords={"step": rows[:, 0].astype(int)})


def load_trained(path: str | os.PathLike, task: Task) -> Trained:
    """Read a trained network.

    Parameters
    ----------
    path : path
    task : Task
        The task that it was trained on.

    Returns
    -------
    Trained

    Raises
    ------
    DataError
        If the file is damaged or belongs to another task.
    """
    arrays, about = load_arrays(path)
    where = os.fspath(path)
    for name, value in (("kind", "trained"), ("task", repr(task))):
        if about.get(name) != value:
            raise DataError(f"the file has the {name} {about.get(name)!r:.80}; expected {value:.80}.", where=where)
    network, trainable = network_from_text(about, where=where)
    n_hidden, n_held = network_size(network), sum(array.size for array in arrays.values())
    # Every unit has a weight from every other one, so that a network larger than its file is never made.
    if n_hidden**2 > n_held:
        raise DataError(f"the network has {n_hidden} units, and the file holds {n_held} numbers.", where=where)
    try:
        seed, dtype, rows = int(about["seed"]), arrays["readout"].dtype.type, arrays["history"]
    except (KeyError, ValueError) as error:
        raise DataError(f"seed, readout or history is missing or damaged: {error!r:.80}.", where=where) from error
    if dtype not in (np.float32, np.float64) or rows.ndim != 2 or rows.shape[1] != len(HISTORY):
        raise DataError(f"readout is {dtype.__name__} or history has the shape {rows.shape}.", where=where)
    if seed < 0 or not (np.abs(rows[:, 0]) < _LARGEST_STEP).all():
        raise DataError("the seed or the steps of the history are no whole numbers from 0.", where=where)
    model = make_model(network, task, trainable, seed=seed, dtype=dtype)
    for name, part in model.parts(model.theta).items():
        if name not in arrays or arrays[name].shape != part.shape:
            raise DataError(f"{name} is missing or has another shape than {part.shape}.", where=where)
        part[:] = arrays[name]
    before = arrays.get("theta_before")
    if before is None or before.shape != model.theta.shape:
        raise DataError(f"theta_before is missing or has another shape than {model.theta.shape}.", where=where)
    history = history_dataset(rows)
    trained = Trained(model=model, task=task, seed=seed, history=history, theta_before=before)
    trained.audit_signs()
    return trained
