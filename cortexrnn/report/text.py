"""A comparison in words: the summary for the terminal, the paragraph for the paper, the table for a sheet."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Mapping
from typing import Any

import pandas as pd

from cortexrnn.report.formats import (
    interval_ends,
    is_missing,
    show_count,
    show_interval,
    show_label,
    show_number,
    show_percent,
    show_time,
)
from cortexrnn.report.style import CUT_RUNGS, INCONCLUSIVE, NETWORK_RUNGS, RUNG_ORDER

# Terminals may not know an em dash: there a hyphen stands for what is missing.
_NONE = "-"
MAX_TERMINAL_UNITS = 40

CAUTION = (
    'What is measured is a spike-history-conditional prediction gain. "Past spikes predict" is not "the '
    'neuron has memory": unobserved input, arousal or the phase of a field potential make past spikes '
    "predictive too, which is "
    "why the trial gain (M3) and the network without its own spikes (M6cut) stand beside it."
)

_RUNG_METHODS: dict[str, str] = {
    "M0": "M0, a constant rate",
    "M1": "M1, a PSTH per condition, smoothed with a Gaussian kernel whose width was chosen in training",
    "S1": "S1, M1 times filters on the covariates (raised cosines over their lags, ridge chosen in training)",
    "M2": "M2, M1 times a slow drift over trials (natural spline)",
    "M3": "M3, M2 times a causal Gamma-Poisson gain of each trial",
    "M4": "M4, M3 times a function of the time since the last spike (renewal, up to 10 ms)",
    "M5": "M5, a GLM with M3 as offset and the unit's spike history on raised cosines and single bins up to 5 ms",
    "M5 coupled": "M5 coupled, the same GLM with coupling filters from the strictly past spikes of all other units",
    "MK": "MK, M3 times a factor for the pattern of the last bins (a Markov chain of order up to 16)",
    "HMM": "HMM, M3 times the gain of a hidden state that follows a Markov chain, scored one step ahead",
    "M6cut": "M6cut, the network of M6 with its spike input set to zero (control)",
    "M6": "M6, a gated recurrent network on top of log M3 with the unit's own spikes as input",
    "M6 vanilla": "the same with a vanilla network (M6 vanilla) and its control",
    "M6 LSTM": "the same with an LSTM (M6 LSTM) and its control",
    "M6 Dale": "the same with an E-I rate network with Tsodyks-Markram synapses (M6 Dale) and its control",
    "M6 ODE": "the same with a neural ODE whose state jumps at the unit's own spikes (M6 ODE) and its control",
    "M7": "M7, the network of M6 that also sees principal components of the past spikes of all other units",
}


def refractory_sentence(unit: Mapping[str, Any]) -> str:
    """Say how often a unit fires right after a spike, and how often it would by what is locked to the stimulus.

    Parameters
    ----------
    unit : mapping
        One entry of ``summary["units"]``; `refractory_mass` holds `window_s` (seconds) and the fractions
        `expected` and `observed`, and the name of the `model` that expects.

    Returns
    -------
    str
        One sentence, or an empty string where the fractions are not known.
    """
    mass = unit.get("refractory_mass") or {}
    if is_missing(mass.get("observed")) or is_missing(mass.get("expected")):
        return ""
    expecting = "The stimulus alone (S1)" if mass.get("model") == "S1" else "Poisson-PSTH"
    return (
        f"{expecting} expects {show_percent(mass['expected'])} of its spikes within "
        f"{show_time(mass['window_s'])} of the previous spike; your unit {show_label(unit['unit'])} fires "
        f"{show_percent(mass['observed'])}."
    )


def unit_to_quote(units: list[Mapping[str, Any]]) -> Mapping[str, Any] | None:
    """Pick the unit whose refractory sentence opens every summary: the one with the largest history gain.

    Parameters
    ----------
    units : list of mapping
        ``summary["units"]``.

    Returns
    -------
    mapping or None
        None where no unit has both a history gain and a refractory mass.
    """
    quotable = [
        unit
        for unit in units
        if refractory_sentence(unit) and not is_missing((unit.get("history_gain") or {}).get("value"))
    ]
    return max(quotable, key=lambda unit: unit["history_gain"]["value"], default=None)


def alarm_sentences(summary: Mapping[str, Any]) -> list[str]:
    """Say which control failed, one sentence each; empty where all passed."""
    controls = summary.get("controls") or {}
    is_leaking = controls.get("leak_probe") == "failed"
    sentences = []
    # The alarm covers both controls: after a failed leak probe only a gain above zero accuses the exchange.
    if controls.get("alarm") and not (
        is_leaking and not interval_ends(controls.get("trial_exchange_ci"))[0] > 0
    ):
        sentences.append(
            "Pipeline leak, do not trust these gains: trials were exchanged so that no history is left, "
            "and yet M5 gains "
            f"{show_number(controls.get('trial_exchange_bits_per_spike'), 4, signed=True)} "
            f"{show_interval(controls.get('trial_exchange_ci'), 4, signed=True)} bits/spike over M3."
        )
    if is_leaking:
        sentences.append(
            "Pipeline leak, do not trust these gains: changing a spike changed the rate expected at or "
            "before it."
        )
    return sentences


def screen_summary(summary: Mapping[str, Any], *, report_path: str | None = None) -> str:
    """Write what a terminal shows after a comparison: the verdict, one line a unit, the controls.

    Parameters
    ----------
    summary : mapping
        As `write_report` takes it.
    report_path : str, optional
        Where the page lies; named in the last line.

    Returns
    -------
    str
        Lines without control characters, whatever the units are called; no line end at the end.
    """
    lines = [show_label(summary["verdict_sentence"])]
    quoted = unit_to_quote(summary["units"])
    if quoted is not None:
        lines.append(refractory_sentence(quoted))
    lines += [f"WARNING: {sentence}" for sentence in alarm_sentences(summary)]
    lines += ["", *_unit_lines(summary["units"]), ""]
    controls = summary.get("controls") or {}
    exchange = show_number(controls.get("trial_exchange_bits_per_spike"), 4, signed=True, missing=_NONE)
    interval = show_interval(controls.get("trial_exchange_ci"), 4, signed=True, missing="")
    lines.append(
        f"Controls: trial exchange {exchange} {interval}".rstrip()
        + f" bits/spike (should be 0); leak probe {controls.get('leak_probe') or 'not run'}."
    )
    if report_path is not None:
        lines.append(f"Report: {report_path}")
    return "\n".join(lines)


def units_table(summary: Mapping[str, Any]) -> pd.DataFrame:
    """Make the table of ``units.csv``: one row a unit, every rung with its interval, plain columns.

    Parameters
    ----------
    summary : mapping
        As `write_report` takes it.

    Returns
    -------
    pandas.DataFrame
        Bits/spike for scores, seconds for times, fractions for the refractory mass; what is missing is NaN
        or None.
    """
    present = [
        name for name in RUNG_ORDER if any(name in (unit.get("rungs") or {}) for unit in summary["units"])
    ]
    return pd.DataFrame([_unit_row(unit, present) for unit in summary["units"]])


def methods_paragraph(summary: Mapping[str, Any]) -> str:
    """Write the paragraph for a paper's methods: data, rungs, folds, intervals, controls, settings, sources.

    Parameters
    ----------
    summary : mapping
        As `write_report` takes it; every entry of ``summary["settings"]`` is quoted.

    Returns
    -------
    str
        Paragraphs parted by empty lines.
    """
    settings = summary.get("settings") or {}
    return "\n\n".join(
        [
            " ".join([_data_words(summary), _rung_words(settings)]),
            " ".join([_score_words(settings), _verdict_words(settings), _control_words(summary)]),
            "Settings: "
            + "; ".join(f"{key} = {show_setting(value)}" for key, value in settings.items())
            + ".",
            "References: Nadeau C, Bengio Y (2003) Inference for the generalization error. Machine "
            "Learning 52:239-281. Weber AI, Pillow JW (2017) Capturing the dynamical repertoire of single "
            "neurons with generalized linear models. Neural Computation 29:3260-3289. Goris RLT, Movshon "
            "JA, Simoncelli EP (2014) Partitioning neuronal variability. Nature Neuroscience 17:858-865 "
            "(Gamma-Poisson). Gerhard F, Deger M, Truccolo W (2017) On the stability and dynamics of stochastic "
            "spiking neuron models. PLoS Computational Biology 13:e1005390.",
        ]
    )


def show_setting(value: Any) -> str:
    """Write a setting on one line: text as it is, everything else as JSON."""
    if isinstance(value, str):
        return show_label(value)
    return show_label(json.dumps(value, default=str, ensure_ascii=False))


def _unit_lines(units: list[Mapping[str, Any]]) -> list[str]:
    """Lay out the terminal's table."""
    has_truth = any(unit.get("truth") for unit in units)
    head = ["unit", "spikes", "history gain (bits/spike)", "p", "verdict"] + ["truth"] * has_truth
    rows = [_unit_cells(unit, has_truth) for unit in units[:MAX_TERMINAL_UNITS]]
    widths = [max(len(row[column]) for row in [head, *rows]) for column in range(len(head))]
    to_the_right = {1, 3}
    lines = []
    for row in [head, *rows]:
        cells = [
            cell.rjust(width) if column in to_the_right else cell.ljust(width)
            for column, (cell, width) in enumerate(zip(row, widths, strict=True))
        ]
        lines.append("  ".join(cells).rstrip())
    if len(units) > MAX_TERMINAL_UNITS:
        lines.append(f"... and {len(units) - MAX_TERMINAL_UNITS} more units: see units.csv")
    return lines


def _unit_cells(unit: Mapping[str, Any], has_truth: bool) -> list[str]:
    """Write one unit's row of the terminal's table."""
    gain = unit.get("history_gain") or {}
    value = show_number(gain.get("value"), signed=True, missing=_NONE)
    interval = show_interval(gain.get("ci"), signed=True, missing="")
    cells = [
        show_label(unit["unit"], 20),
        show_count(unit.get("n_spikes"), missing=_NONE),
        f"{value} {interval}".rstrip(),
        show_number(unit.get("surrogate_p"), missing=_NONE),
        str(unit.get("verdict")),
    ]
    if has_truth:
        truth = unit.get("truth") or {}
        agreement = {True: " (agrees)", False: " (DISAGREES)"}.get(truth.get("agrees"), "")
        # An open verdict contradicts nothing and confirms nothing.
        agreement = "" if unit.get("verdict") == INCONCLUSIVE else agreement
        cells.append(show_label(truth.get("label", _NONE), 40) + agreement)
    return cells


def _unit_row(unit: Mapping[str, Any], rungs: list[str]) -> dict[str, Any]:
    """Flatten one unit for the table."""
    gain, mass, truth = (unit.get(key) or {} for key in ("history_gain", "refractory_mass", "truth"))
    low, high = interval_ends(gain.get("ci"))
    row: dict[str, Any] = {"unit": unit["unit"]}
    row |= {key: unit.get(key) for key in ("n_spikes", "rate_hz", "n_trials", "verdict")}
    row |= {
        "history_gain": _number(gain.get("value")),
        "history_gain_low": low,
        "history_gain_high": high,
        "history_gain_over": gain.get("over"),
        "history_chosen": "; ".join(map(str, gain.get("chosen") or [])),
    }
    row |= {
        key: unit.get(key)
        for key in (
            "surrogate_p",
            "surrogate_kind",
            "p",
            "q",
            "detectable_gain",
            "more_trials",
            "timescale_s",
            "isi_violations",
        )
    }
    row |= {f"foreign_{key}": _number((unit.get("foreign") or {}).get(key)) for key in ("share", "low", "high")}
    row |= {f"refractory_{key}": _number(mass.get(key)) for key in ("window_s", "observed", "expected")}
    for name in rungs:
        rung = (unit.get("rungs") or {}).get(name) or {}
        low, high = interval_ends(rung.get("ci"))
        row |= {
            f"{name}_bits_per_spike": _number(rung.get("bits_per_spike")),
            f"{name}_low": low,
            f"{name}_high": high,
        }
        if name in (*NETWORK_RUNGS, *CUT_RUNGS, "M7"):
            row[f"{name}_seed_sd"] = _number(rung.get("seed_sd"))
    for name in rungs:
        step = (unit.get("steps") or {}).get(name)
        if step:
            low, high = interval_ends(step.get("ci"))
            row |= {
                f"{name}_step": _number(step.get("value")),
                f"{name}_step_low": low,
                f"{name}_step_high": high,
            }
    if truth:
        row |= {
            "truth": truth.get("label"),
            "truth_has_history": truth.get("has_history"),
            "truth_agrees": truth.get("agrees"),
        }
    return row | {"warnings": "; ".join(map(str, unit.get("warnings") or []))}


def _data_words(summary: Mapping[str, Any]) -> str:
    """Describe the recording for the methods."""
    recording, settings = summary.get("recording") or {}, summary.get("settings") or {}
    window = recording.get("window_s")
    span = "" if window is None else f", from {window[0]:g} to {window[1]:g} s"
    crowded = recording.get("n_multi_spike_bins")
    clipped = (
        "" if crowded is None else f" ({show_count(crowded)} bins held more than one spike; none was clipped)"
    )
    digest = recording.get("sha256")
    return (
        f"Spike-history analysis was done with cortexrnn {settings.get('version', '')}".rstrip()
        + f" on {show_count(recording.get('n_units'))} units"
        + f" of {show_label(recording.get('name', 'a recording'))}"
        + (f" (SHA-256 {digest})" if digest else "")
        + f", {show_count(recording.get('n_spikes'))} spikes"
        + f" in {show_count(recording.get('n_trials'))} trials"
        + f" aligned to {show_label(recording.get('align_to', 'trial start'))}{span}"
        + f", in bins of {show_time(recording.get('bin_s'))}{clipped}."
    )


def _rung_words(settings: Mapping[str, Any]) -> str:
    """Describe the ladder for the methods, only the rungs that were fitted."""
    rungs = settings.get("rungs") or []
    known = [_RUNG_METHODS[name] for name in _RUNG_METHODS if name in rungs]
    if "S1" in rungs:
        known = [words.replace("M2, M1 times", "M2, S1 times") for words in known]
    words = f"A ladder of models was fitted to each unit: {'; '.join(known)}." if known else ""
    if settings.get("history_s") is not None:
        words += f" Spike history reached back {show_time(settings['history_s'])}."
    if settings.get("likelihood"):
        words += f" The likelihood was {show_label(settings['likelihood'])}."
    if settings.get("n_seeds") is not None and any(name in NETWORK_RUNGS for name in rungs):
        words += f" A network's score is the mean over {settings['n_seeds']} seeds."
    return words


def _score_words(settings: Mapping[str, Any]) -> str:
    """Describe folds, score and intervals for the methods."""
    folds = settings.get("folds", "K")
    return (
        f"Models were scored by the log-likelihood of held-out trials in {folds} folds "
        f"({settings.get('fold_order', 'contiguous')} in trial order, stratified by condition), in bits "
        "per spike over the constant rate of the training trials; bandwidths, penalties, windows and "
        "early stopping were chosen inside the training trials. Intervals are 95 % t intervals over "
        "trials whose standard error is multiplied by sqrt(1 + K/(K-1)), K the number of folds, because "
        "folds share training data (Nadeau and Bengio 2003)." + _copies_words(settings)
    )


def _copies_words(settings: Mapping[str, Any]) -> str:
    """Describe the free run for the methods; nothing where there was none."""
    if not settings.get("copies"):
        return ""
    return (
        f" M5 and the networks made {settings['copies']} copies of every held-out trial on their own spikes; a copy "
        "diverges if its rate is more than three times that of any trial, or pinned at what the shortest interval "
        "allows (Gerhard, Deger and Truccolo 2017)."
    )


def _verdict_words(settings: Mapping[str, Any]) -> str:
    """Describe history gain and verdict for the methods."""
    rope = show_number(settings.get("rope", 0.01), 3)
    rungs = settings.get("rungs") or ["M4", "M5", "M6cut", "M6"]
    candidates = " or ".join(name for name in ("M4", "MK", "M5", *NETWORK_RUNGS) if name in rungs)
    control = control_words(rungs)
    has_network = control != "M3"
    return (
        f"The history gain is the score of the history rung ({candidates}, chosen by an inner validation "
        f"split of the training trials) minus that of {control}. "
        f"History matters where the lower bound{'s over both are' if has_network else ' is'} above zero and "
        "the surrogate test gives p <= 0.05; there is no relevant history where the whole interval lies "
        f"within +-{rope} bits/spike; everything else is inconclusive."
    )


def control_words(rungs: Iterable[str]) -> str:
    """Name what the history gain is measured against.

    Parameters
    ----------
    rungs : iterable of str
        Rungs that were fitted.

    Returns
    -------
    str
    """
    cut = [name for name in CUT_RUNGS if name in set(rungs)]
    if not cut:
        return "M3"
    return f"the {'better' if len(cut) == 1 else 'best'} of {', '.join(['M3', *cut[:-1]])} and {cut[-1]}"


def _control_words(summary: Mapping[str, Any]) -> str:
    """Describe surrogates, controls and seed for the methods, only those that were run."""
    settings, controls = summary.get("settings") or {}, summary.get("controls") or {}
    words = ""
    if settings.get("surrogates"):
        simulated = "simulated from the fitted M3, which keep covariates, drift and gain and hold no history. "
        exchanged = (
            "made by trial exchange: the trials of a condition are permuted in every bin, which keeps the PSTH "
            "exactly and destroys history (where the trial gain was not negligible, surrogates were "
            "simulated from the fitted M3). "
        )
        words += f"The surrogate test refitted the whole GLM pipeline on {settings['surrogates']} surrogates "
        words += simulated if "S1" in (settings.get("rungs") or []) else exchanged
    exchange = controls.get("trial_exchange_bits_per_spike")
    if not is_missing(exchange):
        interval = show_interval(controls.get("trial_exchange_ci"), 4, signed=True, missing="")
        words += (
            f"On trial-exchanged data M5 gained {show_number(exchange, 4, signed=True)} {interval}".rstrip()
        )
        words += " bits/spike over M3. "
    if controls.get("leak_probe"):
        words += "A leak probe (does a spike change the rate expected at or before it?) "
        words += f"{controls['leak_probe']}. "
    return words + f"The seed was {settings.get('seed', 0)}."


def _number(value: Any) -> float:
    """Give a float, NaN where it is missing."""
    return math.nan if is_missing(value) else float(value)
