"""Commands on recordings: compare, report and doctor."""

from __future__ import annotations

import importlib.resources
import json
import re
import shlex
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import click

import cortexrnn as cx
from cortexrnn.cli.options import pair, several
from cortexrnn.errors import OptionError

_EMBEDDED = "recording.nwb"
_RUNG_HELP = "Rungs to compare; M0, M1, M3 and M5 are always there, networks bring their cut twins."


def _reading_options(command: Any) -> Any:
    """Add the options that say how a file is read."""
    for option in (
        click.option("--select", multiple=True, metavar="COLUMN=VALUE", help="Rows or units; quality=good,mua."),
        click.option("--variable", metavar="NAME", help="Variable of a MATLAB file."),
        click.option("--sample-rate", "sample_rate_hz", type=float, metavar="HZ", help="Rate of times in samples."),
        click.option("--time-unit", metavar="UNIT", help="Unit of the spike times: s, ms, us, ns or samples."),
        click.option("--trials", metavar="FILE|TABLE", help="Table of trials, so that trials without spikes count."),
    ):
        command = option(command)
    return command


@click.command()
@click.argument("file", required=False)
@click.option("--align", "event", metavar="EVENT|COLUMN", help="Event, table or trial column that is time zero.")
@click.option("--window", "window_s", nargs=2, type=float, metavar="START STOP", help="Scored window in seconds.")
@click.option("--bin", "bin_s", type=float, default=1e-3, show_default=True, metavar="S", help="Bin width in seconds.")
@click.option("--history", "history_s", type=float, default=0.5, show_default=True, metavar="S", help="Burn-in, s.")
@click.option("--block", "block_s", type=float, metavar="S", help="Without trials: blocks of so many s (10).")
@click.option("--condition", metavar="COLUMN", help="Trial column whose values have a PSTH each.")
@click.option("--signal", multiple=True, metavar="FILE[:NAME,..]", help="Sampled stimulus: a table with time_s.")
@click.option("--timing", multiple=True, metavar="COLUMN", help="Event of a trial that acts on the rate.")
@click.option("--boxcar", nargs=2, multiple=True, metavar="START STOP", help="Two columns between which it acts.")
@click.option("--trial-value", multiple=True, metavar="COLUMN", help="Value of a trial that acts on the rate.")
@click.option("--lags", nargs=2, type=float, default=(0.0, 0.3), show_default=True, help="Of stimulus filters, s.")
@click.option("--units", multiple=True, metavar="ID", help="Units to use; repeat or separate by commas.")
@click.option("--quick", is_flag=True, help="Leave the networks out: seconds instead of minutes.")
@click.option("--rungs", multiple=True, metavar="RUNG", help=_RUNG_HELP)
@click.option("--folds", type=int, default=5, show_default=True, help="Cross-validation folds.")
@click.option("--fold-order", default="contiguous", show_default=True, help="contiguous or random.")
@click.option("--likelihood", default="poisson", show_default=True, help="poisson, bernoulli or negative binomial.")
@click.option("--seeds", type=int, default=3, show_default=True, help="Networks a fold.")
@click.option("--surrogates", type=int, default=19, show_default=True, help="Surrogates of the test.")
@click.option("--copies", type=int, default=100, show_default=True, help="Free-running copies of a trial; 0 for none.")
@click.option("--bin-sweep", is_flag=True, help="Also: bins of 0.5 to 20 ms.")
@click.option("--data-budget", is_flag=True, help="Also: every rung's score against the number of training trials.")
@click.option("--like", is_flag=True, help="Also: the verdicts on simulations like the data, where the truth is known.")
@click.option("--read-off", is_flag=True, help="Also: time scales and fixed points of the network, or of M5.")
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
    options = cx.CompareOptions(
        n_folds=given["folds"],
        fold_order=given["fold_order"],
        n_seeds=given["seeds"],
        n_surrogates=99 if given["thorough"] else given["surrogates"],
        n_copies=given["copies"],
        rope=given["rope"],
        likelihood=given["likelihood"],
    )
    models = _models(given, options, has_covariates="covariates" in alignment)
    run = cx.RunSettings(workers=given["workers"], folder=folder, shows_progress=sys.stderr.isatty())
    result = cx.compare(recording, models=models, seed=given["seed"], options=options, run=run, **alignment)
    extras = _ask_beside(given, recording, models, {"seed": given["seed"], "options": options, "run": run} | alignment)
    if extras:
        result = replace(result, extras=extras)
    result.summary["settings"]["command"] = shlex.join(["cortexrnn", *sys.argv[1:]])
    page = result.save(folder, shows_progress=run.shows_progress)
    click.echo(json.dumps(result.summary, indent=2, allow_nan=False) if as_json else f"{result}\n\nReport: {page}")


def _models(given: dict[str, Any], options: cx.CompareOptions, *, has_covariates: bool) -> dict[str, Any]:
    """Give the rungs that were asked for, on stimulus filters where there are covariates."""
    names = _rungs(given["rungs"], is_quick=given["quick"])
    stimulus = cx.Stimulus(lags_s=given["lags"]) if has_covariates else None
    if names is None:
        return cx.ladder(likelihood=options.likelihood, stimulus=stimulus)
    return cx.ladder(names, likelihood=options.likelihood, stimulus=stimulus)


def _covariates(given: dict[str, Any]) -> dict[str, Any]:
    """Read the covariates that were given, by name: of a column, of an event, of both events of a boxcar."""
    found: dict[str, Any] = {}
    for text in given["signal"]:
        path, _, names = text.partition(":")
        for name, signal in cx.read_signals(path, names=names.split(",") if names else None).items():
            found[name if name not in found else f"{Path(path).stem} {name}"] = signal
    found |= {column: cx.Timing(column=column) for column in given["timing"]}
    found |= {f"{start}-{stop}": cx.Boxcar(start=start, stop=stop) for start, stop in given["boxcar"]}
    return found | {column: cx.TrialValue(column=column) for column in given["trial_value"]}


def _ask_beside(
    given: dict[str, Any], recording: cx.Recording, models: dict[str, Any], settings: dict[str, Any]
) -> dict[str, Any]:
    """Compute what was asked beside the comparison, by the names under which it is kept."""
    extras = {}
    if given["bin_sweep"]:
        extras["bin_sweep"] = cx.bin_sweep(recording, **{k: v for k, v in settings.items() if k != "bin_s"})
    if given["data_budget"]:
        extras["data_budget"] = cx.data_budget(recording, models=models, **settings)
    if given["like"]:
        extras["likeness"] = cx.compare_like(recording, **settings)
    if given["read_off"]:
        unseeded = {name: value for name, value in settings.items() if name != "seed"}
        extras["read_off"] = cx.read_off_units(recording, models=models, **unseeded)
    return extras


@click.command()
@click.argument("folder")
def report(folder: str) -> None:
    """Draw the report page and the figures of a saved comparison again.

    FOLDER is where `cortexrnn compare` wrote its results.

    Example: cortexrnn report session-comparison
    """
    click.echo(f"Report: {cx.Comparison.load(folder).draw(folder, shows_progress=sys.stderr.isatty())}")


@click.command()
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


def _split(given: dict[str, Any], file: str | None) -> tuple[dict[str, Any], dict[str, Any]]:
    """Part the options into those of the reader and those of the alignment."""
    reading = {name: given[name] for name in ("trials", "time_unit", "sample_rate_hz", "variable", "select")}
    alignment: dict[str, Any] = {"bin_s": given["bin_s"], "history_s": given["history_s"]}
    for name in ("event", "window_s", "block_s", "condition"):
        # A block of 0 s must be refused and not forgotten.
        if given[name] not in (None, ()):
            alignment[name] = given[name]
    if given["units"]:
        alignment["units"] = several(given["units"])
    covariates = _covariates(given)
    if covariates:
        alignment["covariates"] = covariates
    if file is None and "event" not in alignment and "window_s" not in alignment:
        alignment |= {"event": "stimulus_on", "window_s": (-0.2, 1.0)}
        alignment.setdefault("condition", "condition")
    return reading, alignment


def _read(file: str | None, reading: dict[str, Any]) -> cx.Recording:
    """Read a file, or the embedded recording where none is given."""
    select = dict(pair("--select", text, "COLUMN=VALUE") for text in reading["select"])
    options = {name: value for name, value in reading.items() if value is not None and name != "select"}
    if select:
        options["select"] = select
    if file is not None:
        return cx.read_recording(file, **options)
    with importlib.resources.as_file(importlib.resources.files("cortexrnn.data") / _EMBEDDED) as path:
        return cx.read_recording(path, **options)


def _rungs(values: tuple[str, ...], *, is_quick: bool) -> list[str] | None:
    """Give the names of the rungs; None for the whole ladder."""
    names = several(values)
    networks = [name for name in names if name.startswith(("M6", "M7"))]
    if is_quick and networks:
        raise OptionError(f"--quick leaves the networks out, and --rungs asks for {', '.join(networks)}.")
    return names or (["M0", "M1", "M2", "M3", "M4", "M5"] if is_quick else None)


def _stem(file: str | None, select: tuple[str, ...]) -> str:
    """Name the results after the recording, and after the part of it that was selected."""
    parts = [Path(file or _EMBEDDED).stem, *(text.partition("=")[2] for text in select)]
    # A selected value may hold a slash, and the folder must not leave this one.
    return "-".join(re.sub(r"[/\\\0]", "_", part) for part in parts)
