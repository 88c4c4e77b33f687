"""One page of all figures and tables that the targets brought out."""

from __future__ import annotations

import base64
import re
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

from markupsafe import Markup, escape

from cortexrnn.report.html import fill_template
from cortexrnn.runs.files import atomic_write
from cortexrnn.validation.targets import Outcome

_MINUS = "\N{MINUS SIGN}"


def write_page(path: str | Path, outcomes: Sequence[Outcome]) -> None:
    """Write outcomes as one self-contained HTML page.

    Parameters
    ----------
    path : path
        The page; replaced atomically if it exists.
    outcomes : sequence of Outcome

    Raises
    ------
    FileAccessError
        If the page cannot be written.
    """
    judgements = [judgement for outcome in outcomes for judgement in outcome.judgements]
    n_passed, n_all = sum(judgement.passed for judgement in judgements), len(judgements)
    share = f"All {n_all}" if n_passed == n_all else f"{n_passed} of {n_all}"
    text = fill_template(
        "validation.html",
        headline=f"{share} published numbers come out.",
        version=version("cortexrnn"),
        studies=[_study(outcome) for outcome in outcomes],
    )
    atomic_write(Path(path), text.encode("utf-8"))


def _study(outcome: Outcome) -> dict[str, Any]:
    """Lay out what the page shows of a target."""
    study = outcome.study
    rows = [
        {
            "words": judgement.target.words,
            "paper": judgement.target.shown_expected.replace("-", _MINUS),
            "ours": f"{judgement.value:.6g}".replace("-", _MINUS),
            "tolerance": judgement.target.shown_tolerance.replace("-", _MINUS),
            "passed": judgement.passed,
        }
        for judgement in outcome.judgements
    ]
    return {
        "name": study.name,
        "id": study.id,
        "title": study.title,
        "source": study.source,
        "doi": study.doi,
        "setting": _with_code(study.setting),
        "caption": study.caption,
        "figure": base64.b64encode(outcome.figure).decode("ascii"),
        "rows": rows,
        "n_passed": sum(row["passed"] for row in rows),
        "notes": [_with_code(f"{target.words}: {target.note}") for target in study.targets if target.note],
        "seconds": outcome.seconds,
        "is_quick": outcome.is_quick,
    }


def _with_code(text: str) -> Markup:
    """Escape a text and set what stands between backticks as code."""
    return Markup(re.sub(r"`([^`]*)`", r"<code>\1</code>", str(escape(text))))
