"""The command line: one command a job, exit codes by kind of failure."""

from __future__ import annotations

import contextlib
import importlib.resources
import json
import math
import os
import re
import shlex
import signal
import sys
import warnings
from pathlib import Path
from typing import Any, NoReturn

import click

import cortexrnn as cx
from cortexrnn.errors import (
    EXIT_CHECK_FAILED,
    EXIT_DATA,
    EXIT_IO,
    EXIT_TERMINATED,
    CortexError,
    CortexWarning,
    FileAccessError,
    InterruptedRunError,
    OptionError,
)
from cortexrnn.runs.files import explain

_EMBEDDED = "recording.nwb"
_RUNG_HELP = "Rungs to compare; M0, M1, M3 and M5 are always there, M6 brings M6cut. Repeat or separate by commas."

# Numbers that a simulation keeps by default: 256 MB of them.
_MOST_NUMBERS = 32 * 2**20


class _Terminated(BaseException):
    """SIGTERM arrived."""


@click.group(context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110})
@click.version_option(package_name="cortexrnn")
def cli() -> None:
    """Ask whether spike history matters in a recording; simulate, train and take apart circuits of rate units.

    Example: cortexrnn compare session.nwb --align stim_on --window -0.2 1.0
    """


def _reading_options(command: Any) -> Any:
    """Add the options that say how a file is read."""
    for option in (
        click.option("--select", multiple=True, metavar="COLUMN=VALUE", help="Read only rows with this value (CSV)."),
        click.option("--variable", metavar="NAME", help="Variable of a MATLAB file."),
        click.option("--sample-rate", "sample_rate_hz", type=float, metavar="HZ", help="Rate of times in samples."),
        click.option("--time-unit", metavar="UNIT", help="Unit of the spike times: s, ms, us, ns or samples."),
        click.option("--trials", metavar="FILE|TABLE", help="Table of trials, so that trials without spikes count."),
    ):
        command = option(command)
    return command


@cli.command()
@click.argument("file", required=False)
@click.option("--align", "event", metavar="EVENT|COLUMN", help="Event, table or trial column that is time zero.")
@click.option("--window", "window_s", nargs=2, type=float, metavar="START STOP", help="Scored window in seconds.")
@click.option("--bin", "bin_s", type=float, default=1e-3, show_default=True, metavar="S", help="Bin width in seconds.")
@click.option("--history", "history_s", type=float, default=0.5, show_default=True, metavar="S", help="Burn-in, s.")
@click.option("--condition", metavar="COLUMN", help="Trial column whose values have a PSTH each.")
@click.option("--units", multiple=True, metavar="ID", help="Units to use; repeat or separate by commas.")
@click.option("--quick", is_flag=True, help="Leave the networks out: seconds instead of minutes.")
@click.option("--rungs", multiple=True, metavar="RUNG", help=_RUNG_HELP)
@click.option("--folds", type=int, default=5, show_default=True, help="Cross-validation folds.")
@click.option("--fold-order", default="contiguous", show_default=True, help="contiguous or random.")
@click.option("--likelihood", default="poisson", show_default=True, help="poisson or bernoulli (cloglog).")
@click.option("--seeds", type=int, default=3, show_default=True, help="Networks a fold.")
@click.option("--surrogates", type=int, default=19, show_default=True, help="Surrogates of the test.")
@click.option("--thorough", is_flag=True, help="99 surrogates.")
@click.option("--rope", type=float, default=0.01, show_default=True, help="Region of equivalence, +- bits/spike.")
@click.option("--seed", type=int, default=0, show_default=True, help="Seed of everything random.")
@click.option("--workers", type=int, help="Threads; default: all cores.")
@click.option("--out", metavar="DIR", help="Folder for the results; default: named after the recording.")
@click.option("--json", "as_json", is_flag=True, help="Print summary.json instead of the summary.")
@_reading_options
def compare(file: str | None, **given: Any) -> None:
    """Compare models of spike trains on held-out trials and say whether spike history matters.

    Without FILE it runs on the embedded recording.

    Example: cortexrnn compare session.nwb --align stim_on --window -0.2 1.0 --condition contrast
    """
    as_json = given["as_json"]
    reading, alignment = _split(given, file)
    recording = _read(file, reading)
    folder = Path(given["out"] or f"{_stem(file, given['select'])}-comparison")
    names = _rungs(given["rungs"], is_quick=given["quick"])
    models = cx.ladder(names, likelihood=given["likelihood"]) if names else cx.ladder(likelihood=given["likelihood"])
    options = cx.CompareOptions(
        n_folds=given["folds"],
        fold_order=given["fold_order"],
        n_seeds=given["seeds"],
        n_surrogates=99 if given["thorough"] else given["surrogates"],
        rope=given["rope"],
        likelihood=given["likelihood"],
    )
    run = cx.RunSettings(workers=given["workers"], folder=folder, shows_progress=sys.stderr.isatty())
    result = cx.compare(recording, models=models, seed=given["seed"], options=options, run=run, **alignment)
    result.summary["settings"]["command"] = shlex.join(["cortexrnn", *sys.argv[1:]])
    page = result.save(folder, shows_progress=run.shows_progress)
    click.echo(json.dumps(result.summary, indent=2, allow_nan=False) if as_json else f"{result}\n\nReport: {page}")


@cli.command()
@click.argument("file", required=False)
@click.option("--json", "as_json", is_flag=True, help="Print as JSON.")
@_reading_options
def doctor(file: str | None, as_json: bool, **reading: Any) -> None:
    """Check a recording in seconds: what was read, and what looks wrong.

    Without FILE it checks the embedded recording.

    Example: cortexrnn doctor spikes.csv --time-unit ms
    """
    report = cx.doctor(_read(file, reading))
    click.echo(json.dumps(report.to_dict(), indent=2, allow_nan=False) if as_json else str(report))


@cli.command()
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

    changes = dict(_pair("--set", text, "KEY=VALUE") for text in given["changes"])
    network = change_circuit(cx.load_circuit(circuit), changes)
    dt_s = given["dt_s"] or moderate_dt_s(network)
    has_currents = 0 not in network.signs
    n_numbers = given["duration_s"] / dt_s * given["n_trials"] * network.size * (4 if has_currents else 1)
    every = given["every"] or max(1, math.ceil(n_numbers / _MOST_NUMBERS))
    stimulus: dict[str, cx.Signal] = {}
    for target, *numbers in given["pulses"]:
        height, start_s, stop_s = (_number("--pulse", text) for text in numbers)
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


@cli.command()
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

    changes = dict(_pair("--set", text, "KEY=VALUE") for text in given["changes"])
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


@cli.command()
@click.argument("network", metavar="FILE|CIRCUIT")
@click.option("--task", metavar="NAME", help="What a trained network, a .safetensors file, was trained on.")
@click.option("--set", "changes", multiple=True, metavar="KEY=VALUE", help="Change a field of the circuit.")
@click.option("--input", "levels", multiple=True, metavar="NAME=LEVEL", help="Hold an input at a level; others are 0.")
@click.option("--duration", "duration_s", type=float, help="Seconds for the Lyapunov exponents; default: 2000 steps.")
@click.option("--starts", "n_starts", type=int, default=256, show_default=True, help="Starts of the search for points.")
@click.option("--exponents", "n_exponents", type=int, default=5, show_default=True, help="Leading exponents.")
@click.option("--seed", type=int, default=0, show_default=True, help="Seed of starts.")
@click.option("--out", metavar="DIR", help="Folder for the results; default: NAME-analysis.")
@click.option("--json", "as_json", is_flag=True, help="Print summary.json instead of the tables.")
def analyse(network: str, **given: Any) -> None:
    """Take a circuit or a trained network apart: fixed points and their modes, Lyapunov exponents, figures.

    Example: cortexrnn analyse wilson_cowan_1972 --starts 100
    """
    from cortexrnn.circuit.changes import change_circuit
    from cortexrnn.theory.analysis import analyse as take_apart

    pairs = [_pair("--input", text, "NAME=LEVEL") for text in given["levels"]]
    levels = {name: _number("--input", text) for name, text in pairs}
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
        thing = change_circuit(cx.load_circuit(network), dict(_pair("--set", t, "KEY=VALUE") for t in given["changes"]))
        options, name = {"inputs": levels}, thing.name
    settings = {key: given[key] for key in ("duration_s", "n_starts", "n_exponents", "seed")}
    found = take_apart(thing, **settings, **options)
    folder = Path(given["out"] or f"{name}-analysis")
    found.save(folder)
    words = json.dumps(found.summary, indent=2, allow_nan=False) if given["as_json"] else f"{found.show()}\n\n{folder}"
    click.echo(words)


@cli.command()
@click.argument("name", nargs=-1)
@click.option("--out", metavar="DIR", help="Folder for result.md and figure.svg of every target.")
@click.option("--quick", is_flag=True, help="Fewer or smaller networks where a target takes longer than a minute.")
def validate(name: tuple[str, ...], out: str | None, quick: bool) -> None:
    """Let published numbers come out: what the paper has, what we have, PASS or FAIL. All of them without NAME.

    Example: cortexrnn validate rajan_abbott_2006 --out validated
    """
    from cortexrnn.validation import targets

    failed = [
        each
        for each in name or targets.names()
        if targets.main(each, Path(out) / each if out else None, quick=quick)
    ]
    if failed:
        click.echo(f"cortexrnn: failed: {', '.join(failed)}", err=True)
        sys.exit(EXIT_CHECK_FAILED)


def main() -> NoReturn:
    """Run the command line; the exit code tells the kind of failure."""
    warnings.showwarning = _show_warning
    # The default, 5 ms, is longer than most kernels: a thread that comes back from one would wait for its turn.
    sys.setswitchinterval(2e-4)
    sys.unraisablehook = _raise_again
    signal.signal(signal.SIGTERM, _terminate)
    try:
        cli.main(prog_name="cortexrnn", standalone_mode=False)
    except CortexError as error:
        _leave(error)
    except click.ClickException as error:
        error.show()
        sys.exit(error.exit_code)
    except click.Abort as abort:
        # Click turns every KeyboardInterrupt into Abort, also ours that knows how far the run came.
        cause = abort.__cause__
        is_ours = isinstance(cause, InterruptedRunError)
        _leave(cause if is_ours else InterruptedRunError("stopped before anything was finished."))
    except _Terminated:
        click.echo("cortexrnn: terminated; the same command goes on from what is finished.", err=True)
        _exit_at_once(EXIT_TERMINATED)
    except MemoryError:
        click.echo("cortexrnn: out of memory. Use fewer --units, fewer --workers or a larger --bin.", err=True)
        sys.exit(EXIT_DATA)
    except RuntimeError as error:
        if "no locator available" not in str(error):
            raise
        _leave(
            FileAccessError(
                "the compiled kernels cannot be kept: no folder for them may be written to.",
                hint="Set the environment variable NUMBA_CACHE_DIR to a folder that may be written to.",
            )
        )
    except OSError as error:
        # The results are on the disk; only what was to be shown could not be.
        click.echo(f"cortexrnn: {explain(error, Path(error.filename or 'standard output'))}", err=True)
        _exit_at_once(EXIT_IO)
    _let_signals_kill()
    sys.exit(0)


def _split(given: dict[str, Any], file: str | None) -> tuple[dict[str, Any], dict[str, Any]]:
    """Part the options into those of the reader and those of the alignment."""
    reading = {name: given[name] for name in ("trials", "time_unit", "sample_rate_hz", "variable", "select")}
    alignment: dict[str, Any] = {"bin_s": given["bin_s"], "history_s": given["history_s"]}
    for name in ("event", "window_s", "condition"):
        if given[name]:
            alignment[name] = given[name]
    if given["units"]:
        alignment["units"] = _several(given["units"])
    if file is None and "event" not in alignment and "window_s" not in alignment:
        alignment |= {"event": "stimulus_on", "window_s": (-0.2, 1.0)}
        alignment.setdefault("condition", "condition")
    return reading, alignment


def _read(file: str | None, reading: dict[str, Any]) -> cx.Recording:
    """Read a file, or the embedded recording where none is given."""
    select = dict(_pair("--select", text, "COLUMN=VALUE") for text in reading["select"])
    options = {name: value for name, value in reading.items() if value is not None and name != "select"}
    if select:
        options["select"] = select
    if file is not None:
        return cx.read_recording(file, **options)
    with importlib.resources.as_file(importlib.resources.files("cortexrnn.data") / _EMBEDDED) as path:
        return cx.read_recording(path, **options)


def _pair(option: str, text: str, metavar: str) -> tuple[str, str]:
    """Split an option's NAME=VALUE."""
    name, equals, value = text.partition("=")
    if not equals or not name:
        raise OptionError(f"{option} {text!r} is not {metavar}.")
    return name, value


def _number(option: str, text: str) -> float:
    """Read a number of an option that takes several things."""
    try:
        return float(text)
    except ValueError:
        raise OptionError(f"{option} {text!r} is not a number.") from None


def _several(values: tuple[str, ...]) -> list[str]:
    """Split values that were repeated or separated by commas, and keep each once."""
    return list(dict.fromkeys(part for value in values for part in value.split(",") if part))


def _rungs(values: tuple[str, ...], *, is_quick: bool) -> list[str] | None:
    """Give the names of the rungs; None for the whole ladder."""
    names = _several(values)
    networks = [name for name in names if name.startswith("M6")]
    if is_quick and networks:
        raise OptionError(f"--quick leaves the networks out, and --rungs asks for {', '.join(networks)}.")
    return names or (["M0", "M1", "M2", "M3", "M4", "M5"] if is_quick else None)


def _stem(file: str | None, select: tuple[str, ...]) -> str:
    """Name the results after the recording, and after the part of it that was selected."""
    parts = [Path(file or _EMBEDDED).stem, *(text.partition("=")[2] for text in select)]
    # A selected value may hold a slash, and the folder must not leave this one.
    return "-".join(re.sub(r"[/\\\0]", "_", part) for part in parts)


def _show_warning(message: Warning, category: type[Warning], *_: Any) -> None:
    """Show our own warnings as one line; those of other packages are not the user's business."""
    if issubclass(category, CortexWarning):
        click.echo(f"warning: {message}", err=True)


def _terminate(*_: Any) -> None:
    """Turn SIGTERM into an exception in the main thread."""
    raise _Terminated


def _raise_again(dropped: Any) -> None:
    """Raise a stop again that fell into a callback of the interpreter, where every exception is dropped."""
    if not issubclass(dropped.exc_type, KeyboardInterrupt | _Terminated):
        sys.__unraisablehook__(dropped)
        return

    def stop(*_: Any) -> NoReturn:
        """Stop in what is hopefully no callback."""
        raise dropped.exc_type

    signal.signal(signal.SIGALRM, stop)
    signal.setitimer(signal.ITIMER_REAL, 0.05)


def _let_signals_kill() -> None:
    """Let a further signal end the process at once and without a word: there is nothing left to save."""
    signal.setitimer(signal.ITIMER_REAL, 0.0)
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_DFL)


def _leave(error: CortexError) -> NoReturn:
    """Show an error as one line and leave with its exit code."""
    _let_signals_kill()
    click.echo(f"cortexrnn: {error}", err=True)
    if isinstance(error, InterruptedRunError):
        _exit_at_once(error.exit_code)
    sys.exit(error.exit_code)


def _exit_at_once(code: int) -> NoReturn:
    """Leave without waiting for kernels that are still running; everything finished is on the disk."""
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(OSError, ValueError):
            stream.flush()
    os._exit(code)
