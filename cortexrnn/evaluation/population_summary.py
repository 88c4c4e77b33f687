"""From the units' summaries to what is said about the population."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import xarray as xr

from cortexrnn.evaluation.discoveries import find_discoveries
from cortexrnn.evaluation.evidence import UnitEvidence
from cortexrnn.evaluation.nulls import describe_nulls, describe_unit_nulls, three_nulls
from cortexrnn.evaluation.options import CompareOptions
from cortexrnn.evaluation.population_interval import history_errors, population_gain
from cortexrnn.evaluation.verdict import HISTORY_MATTERS, INCONCLUSIVE, NO_RELEVANT_HISTORY, VERDICTS


def population_summary(
    units: list[dict[str, Any]],
    evidence: Sequence[UnitEvidence],
    scores: xr.Dataset,
    *,
    options: CompareOptions,
    seed: int,
) -> dict[str, Any]:
    """Summarise all units: verdicts, history gain, false discovery rate, three nulls, free runs, drift.

    Parameters
    ----------
    units : list of dict
        Summaries of all units; those that stand among many are given `q`, `is_discovery` and `nulls`.
    evidence : sequence of UnitEvidence
        Of the units that were scored.
    scores : xarray.Dataset
        Their held-out log-likelihood, from `score_dataset`.
    options : CompareOptions
        Folds and observation model.
    seed : int
        The user's seed.

    Returns
    -------
    dict
        JSON-able; numbers that cannot be had are None.
    """
    found = find_discoveries([unit["p"] for unit in units], [unit["surrogate_p"] for unit in units])
    nulls = three_nulls(scores, likelihood=options.likelihood)
    place = {unit.name: position for position, unit in enumerate(evidence)}
    for unit, q, is_found in zip(units, found.q.tolist(), found.is_found.tolist(), strict=True):
        unit["q"] = q if math.isfinite(q) else None
        unit["is_discovery"] = bool(is_found)
        unit["nulls"] = describe_unit_nulls(nulls, place[unit["unit"]]) if unit["unit"] in place else {}
    gain = _population_gain(units, evidence, options, seed)
    return {
        "n_units": len(units),
        "verdicts": {verdict: sum(unit["verdict"] == verdict for unit in units) for verdict in VERDICTS},
        "history_gain": {
            "mean": gain["mean"],
            "median": gain["median"],
            "ci": gain["mean_ci"],
            "median_ci": gain["median_ci"],
            "between_sd": gain["between_sd"],
        },
        "sentence": gain["sentence"],
        "discoveries": {
            "rate": found.rate,
            "n_tests": found.n_tests,
            "n_found": int(found.is_found.sum()),
            "sentence": found.sentence,
        },
        "nulls": describe_nulls(nulls),
        "n_drifting": sum(bool((unit["fold_orders"] or {}).get("is_drifting")) for unit in units),
        "free_run": _population_free_run(units),
    }


def _population_gain(
    units: Sequence[Mapping[str, Any]], evidence: Sequence[UnitEvidence], options: CompareOptions, seed: int
) -> dict[str, Any]:
    """Estimate the history gain over units that have one."""
    over = {unit["unit"]: unit["history_gain"]["over"] for unit in units if unit["history_gain"]["value"] is not None}
    kept = [unit for unit in evidence if unit.name in over]
    if not kept:
        return dict.fromkeys(("mean", "median", "mean_ci", "median_ci", "between_sd")) | {"sentence": ""}
    gains, errors = history_errors(kept, [over[unit.name] for unit in kept])
    inflation = math.sqrt(1.0 + options.n_folds / (options.n_folds - 1.0))
    return population_gain(gains, errors, inflation=inflation, seed=seed).to_dict()


def _population_free_run(units: list[Mapping[str, Any]]) -> dict[str, dict[str, int]]:
    """Count the units that every model copied, and those in whose copies some trial ran away."""
    counts: dict[str, dict[str, int]] = {}
    for unit in units:
        for name, run in unit["free_run"].items():
            entry = counts.setdefault(name, {"n_units": 0, "n_diverging": 0})
            entry["n_units"] += 1
            entry["n_diverging"] += run["divergence_rate"] > 0.0
    return counts


def verdict_sentence(counts: Mapping[str, int], n_units: int) -> str:
    """Say the answer for the recording in one sentence."""
    matters, none, open_ = counts[HISTORY_MATTERS], counts[NO_RELEVANT_HISTORY], counts[INCONCLUSIVE]
    noun = "unit" if n_units == 1 else "units"
    parts = [f"Spike history matters in {matters} of {n_units} {noun}"]
    if none:
        parts.append(f"is not relevant in {none}")
    if open_:
        parts.append(f"remains open in {open_}")
    return (", ".join(parts[:-1]) + " and " + parts[-1] if len(parts) > 1 else parts[0]) + "."
