"""Commands on circuits and trained networks: simulate, train and analyse."""

from __future__ import annotations

import json
import math
import shlex
import sys
from pathlib import Path
from typing import Any

import click

import cortexrnn as cx
from cortexrnn.cli.options import number, pair
from cortexrnn.errors import OptionError

# Numbers that a simulation keeps by default: 256 MB of them.
_MOST_NUMBERS = 32 * 2**20


@click.command()
@click.argument("circuit")
@click.option("--duration", "duration_s", type=float, default=1.0, show_default=True, metavar="S", help="Length, s.")
@click.option("--dt", "dt_s", type=float, metavar="S", help="Time step, s; default: 1 ms or a tenth of tau.")
@click.option("--trials", "n_trials", type=int, default=1, show_default=True, help="Trials.")
@click.option("--seed", type=int, default=0, show_default=True, help="Seed of initial states and noise.")
@click.option("--set", "changes", multiple=True, metavar="KEY=VALUE", help="Change a field: gain=2, noise.sigma=0.1.")
@click.option("--pulse", "pulses", multiple=True, nargs=4, metavar="TARGET HEIGHT START STOP", help="Send a pulse in.")
@click.option("--every", type=int, help="Steps from one kept moment to the next; default: all, or what fits 256 MB.")
@click.option("--float32", is_flag=True, help="Single precision.")
@click.option("--layout", default="auto", show_default=True, help="auto, dense, sparse or hashed.")
@click.option("--threads", type=int, help="Threads; default: all cores.")
@click.option("--out", metavar="DIR", help="Folder for the results; default: CIRCUIT-simulation.")
@click.option("--plot", is_flag=True, help="Draw rates, currents, plasticity and spectrum into DIR/figures.")
@click.option("--json", "as_json", is_flag=True, help="Print summary.json instead of the summary.")
def simulate(circuit: str, **given: Any) -> None:
    """Simulate a circuit: a TOML file, or the name of a published one.

    Example: cortexrnn simulate balanced_chaos --duration 2 --trials 20 --set gain=3 --plot
    """
    # The compiled kernels of a simulation are not wanted by the other commands.
    from cortexrnn.circuit.changes import change_circuit
    from cortexrnn.dynamics.summary import describe, moderate_dt_s, save_figures, save_simulation, show

    changes = dict(pair("--set", text, "KEY=VALUE") for text in given["changes"])
    network = change_circuit(cx.load_circuit(circuit), changes)
    dt_s = given["dt_s"] or moderate_dt_s(network)
    has_currents = 0 not in network.signs
    n_numbers = given["duration_s"] / dt_s * given["n_trials"] * network.size * (4 if has_currents else 1)
    every = given["every"] or max(1, math.ceil(n_numbers / _MOST_NUMBERS))
    stimulus: dict[str, cx.Signal] = {}
    for target, *numbers in given["pulses"]:
        height, start_s, stop_s = (number("--pulse", text) for text in numbers)
        pulse = cx.Pulse(amplitude=height, start_s=start_s, stop_s=stop_s)
        stimulus[target] = stimulus[target] + pulse if target in stimulus else pulse
    run = cx.simulate(
        network,
        duration_s=given["duration_s"],
        dt_s=dt_s,
        n_trials=given["n_trials"],
        stimulus=stimulus,
        seed=given["seed"],
        dtype="float32" if given["float32"] else "float64",
        record=cx.Record(every=every, currents=has_currents),
        solver=cx.Solver(
            layout=given["layout"], n_threads=given["threads"], shows_progress=sys.stderr.isatty()
        ),
    )
    summary = describe(network, run)
    summary["run"]["command"] = shlex.join(["cortexrnn", *sys.argv[1:]])
    folder = Path(given["out"] or f"{network.name}-simulation")
    save_simulation(folder, network, run, summary)
    if given["plot"]:
        save_figures(network, run, folder / "figures")
    words = json.dumps(summary, indent=2, allow_nan=False) if given["as_json"] else f"{show(summary)}\n\n{folder}"
    click.echo(words)


@click.command()
@click.argument("circuit")
@click.option("--task", required=True, metavar="NAME", help="Task; a wrong name shows them all.")
@click.option("--set", "changes", multiple=True, metavar="KEY=VALUE", help="Change a field of the circuit.")
@click.option("--dale", default="relu", show_default=True, help="relu, abs, exp, softplus, projected or dann.")
@click.option("--balance", default="", metavar="rows", help="rows: every row of the weights sums to zero throughout.")
@click.option("--steps", "max_steps", type=int, default=2000, show_default=True, help="Steps at most.")
@click.option("--batch", "batch_size", type=int, default=64, show_default=True, help="Trials a step.")
@click.option("--learning-rate", type=float, default=2e-3, show_default=True, help="Of Adam.")
@click.option("--criterion", type=float, default=0.9, show_default=True, help="Fraction correct at which it stops.")
@click.option("--seed", type=int, default=0, show_default=True, help="Seed of trials, noise and read-out.")
@click.option("--threads", "n_threads", type=int, help="Threads; default: all cores.")
@click.option("--out", metavar="DIR", help="Folder for the results; default: CIRCUIT-TASK.")
@click.option("--json", "as_json", is_flag=True, help="Print summary.json instead of the summary.")
def train(circuit: str, task: str, **given: Any) -> None:
    """Train a circuit on a task, Dale's law kept; the same command goes on where it was stopped.

    Example: cortexrnn train song_2016 --task random_dots --criterion 0.85
    """
    from cortexrnn.circuit.changes import change_circuit
    from cortexrnn.training.outcome import save_training, show

    changes = dict(pair("--set", text, "KEY=VALUE") for text in given["changes"])
    network = change_circuit(cx.load_circuit(circuit), changes)
    folder = Path(given["out"] or f"{network.name}-{task}")
    names = ("max_steps", "batch_size", "learning_rate", "criterion", "n_threads")
    options = cx.TrainOptions(
        **{name: given[name] for name in names}, folder=folder, shows_progress=sys.stderr.isatty()
    )
    trainable = cx.Trainable(dale=given["dale"], balance=given["balance"])
    trained = cx.train(network, cx.tasks.load_task(task), seed=given["seed"], trainable=trainable, options=options)
    summary = save_training(folder, trained)
    click.echo(json.dumps(summary, indent=2, allow_nan=False) if given["as_json"] else f"{show(summary)}\n\n{folder}")


@click.command()
@click.argument("network", metavar="FILE|CIRCUIT")
@click.option("--task", metavar="NAME", help="What a trained network, a .safetensors file, was trained on.")
@click.option("--set", "changes", multiple=True, metavar="KEY=VALUE", help="Change a field of the circuit.")
@click.option("--input", "levels", multiple=True, metavar="NAME=LEVEL", help="Hold an input at a level; others are 0.")
@click.option("--duration", "duration_s", type=float, help="Seconds for the Lyapunov exponents; default: 2000 steps.")
@click.option("--starts", "n_starts", type=int, help="Starts of the search for points; default: 256, fewer if large.")
@click.option("--exponents", "n_exponents", type=int, default=5, show_default=True, help="Leading exponents.")
@click.option("--seed", type=int, default=0, show_default=True, help="Seed of starts.")
@click.option("--out", metavar="DIR", help="Folder for the results; default: NAME-analysis.")
@click.option("--json", "as_json", is_flag=True, help="Print summary.json instead of the tables.")
def analyse(network: str, **given: Any) -> None:
    """Take a circuit or a trained network apart: fixed points, modes, Lyapunov exponents, spectra, mean field, figures.

    Example: cortexrnn analyse wilson_cowan_1972 --starts 100
    """
    from cortexrnn.circuit.changes import change_circuit
    from cortexrnn.theory.analysis import AnalysisOptions
    from cortexrnn.theory.analysis import analyse as take_apart

    pairs = [pair("--input", text, "NAME=LEVEL") for text in given["levels"]]
    levels = {name: number("--input", text) for name, text in pairs}
    if network.endswith(".safetensors"):
        if not given["task"]:
            raise OptionError("--task is missing: a trained network needs the task that it was trained on.")
        if given["changes"]:
            raise OptionError("--set changes circuits; a trained network is as it is.")
        trained = cx.load_trained(network, cx.tasks.load_task(given["task"]))
        unknown = [name for name in levels if name not in trained.task.input_names]
        if unknown:
            raise OptionError(f"--input {unknown[0]!r} is unknown; the task has {', '.join(trained.task.input_names)}.")
        thing = trained.system([levels.get(name, 0.0) for name in trained.task.input_names])
        options, name = {}, Path(network).stem
    else:
        thing = change_circuit(cx.load_circuit(network), dict(pair("--set", t, "KEY=VALUE") for t in given["changes"]))
        options, name = {"inputs": levels}, thing.name
    settings = {key: given[key] for key in ("duration_s", "n_starts", "n_exponents")}
    analysis = AnalysisOptions(**settings, shows_progress=sys.stderr.isatty())
    found = take_apart(thing, options=analysis, seed=given["seed"], **options)
    folder = Path(given["out"] or f"{name}-analysis")
    found.save(folder)
    words = json.dumps(found.summary, indent=2, allow_nan=False) if given["as_json"] else f"{found.show()}\n\n{folder}"
    click.echo(words)
