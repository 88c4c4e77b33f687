"""Published numbers against ours: the frame of every validation script.

A target is a folder beside this file with two files in it. ``expected.toml`` says what must come out: the source, the
setting, and for every quantity its value and how far off it may be. ``run.py`` has two functions: ``measure()``
returns the quantities by name and whatever the figure needs, ``draw(figure, evidence)`` draws it. One that takes longer
than a minute has a third, ``measure_quick()``: the same from fewer or smaller networks.

    python -m cortexrnn.validation.rajan_abbott_2006.run

prints the table, writes ``result.md`` and ``figure.svg`` beside the script, and exits with 1 if a quantity fails.
"""

from __future__ import annotations

import importlib
import importlib.resources
import io
import math
import sys
import time
import tomllib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from threadpoolctl import threadpool_limits

from cortexrnn._checks import check_choice
from cortexrnn.errors import EXIT_CHECK_FAILED, EXIT_DONE, DataError, OptionError
from cortexrnn.runs.files import atomic_write

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_PACKAGE = "cortexrnn.validation"
TOLERANCES = ("relative", "absolute", "at least", "at most", "between")
_WIDTH_IN, _HEIGHT_IN = 400.0 / 72.0, 230.0 / 72.0


@dataclass(frozen=True, kw_only=True, slots=True)
class Target:
    """One quantity that must come out.

    Attributes
    ----------
    quantity : str
        Its key in what ``measure()`` returns.
    words : str
        What it is, for the table.
    expected : float or tuple of two floats
        The published or exact value; for ``between`` the lowest and the highest.
    tolerance : {"relative", "absolute", "at least", "at most", "between"}
        How `expected` is meant.
    size : float
        Largest deviation, as a fraction of the expected value or absolute; the other three kinds have none.
    note : str
        Where the value and the tolerance come from.

    Raises
    ------
    DataError
        If the parts do not fit together.
    """

    quantity: str
    words: str
    expected: float | tuple[float, float]
    tolerance: str
    size: float | None = None
    note: str = ""

    def __post_init__(self):
        check_choice(f"tolerance of {self.quantity}", self.tolerance, TOLERANCES)
        is_range = self.tolerance == "between"
        values = tuple(self.expected) if isinstance(self.expected, list | tuple) else (self.expected,)
        if len(values) != 1 + is_range or not all(math.isfinite(value) for value in values) or values[-1] < values[0]:
            raise DataError(
                f"expected={self.expected!r} does not fit the tolerance {self.tolerance!r}.", where=self.quantity
            )
        object.__setattr__(self, "expected", values if is_range else float(self.expected))
        is_sized = self.tolerance in ("relative", "absolute")
        # A relative tolerance of 1 or more would let zero pass.
        largest = 1.0 if self.tolerance == "relative" else math.inf
        if is_sized != (self.size is not None) or (is_sized and not 0.0 <= self.size < largest):
            raise DataError(f"size={self.size!r} does not fit the tolerance {self.tolerance!r}.", where=self.quantity)

    def passes(self, value: float) -> bool:
        """Tell whether a value is within the tolerance; NaN never is.

        Parameters
        ----------
        value : float

        Returns
        -------
        bool
        """
        match self.tolerance:
            case "relative":
                return abs(value - self.expected) <= self.size * abs(self.expected)
            case "absolute":
                return abs(value - self.expected) <= self.size
            case "at least":
                return value >= self.expected
            case "at most":
                return value <= self.expected
        low, high = self.expected
        return low <= value <= high

    @property
    def shown_expected(self) -> str:
        """The expected value as the table shows it."""
        return "{:.6g} to {:.6g}".format(*self.expected) if self.tolerance == "between" else f"{self.expected:.6g}"

    @property
    def shown_tolerance(self) -> str:
        """The tolerance as the table shows it."""
        if self.size is None:
            return "within" if self.tolerance == "between" else self.tolerance
        if self.tolerance == "absolute":
            return f"{self.size:g}"
        return f"{100.0 * self.size:g} %" if self.size >= 1e-3 else f"{self.size:g} of it"


@dataclass(frozen=True, kw_only=True, slots=True)
class Study:
    """What one folder must bring out.

    Attributes
    ----------
    name : str
        Name of the folder.
    id : str
        Numbers of the target in PAPER_MAP.md.
    title : str
        What it is about, in a few words.
    source, doi : str
        The publication.
    setting : str
        What is computed, and with which parameters.
    caption : str
        What the figure shows.
    targets : tuple of Target
    """

    name: str
    id: str
    title: str
    source: str
    doi: str
    setting: str
    caption: str
    targets: tuple[Target, ...]


@dataclass(frozen=True, kw_only=True, slots=True)
class Judgement:
    """One target and what came out.

    Attributes
    ----------
    target : Target
    value : float
    """

    target: Target
    value: float

    @property
    def passed(self) -> bool:
        """Whether the value is within the tolerance."""
        return self.target.passes(self.value)


@dataclass(frozen=True, kw_only=True, slots=True)
class Outcome:
    """What a target's script brought out.

    Attributes
    ----------
    study : Study
    judgements : tuple of Judgement
    figure : bytes
        As SVG.
    seconds : float
        What the measurement took.
    is_quick : bool
        Whether fewer or smaller networks were measured than the whole has.
    """

    study: Study
    judgements: tuple[Judgement, ...]
    figure: bytes
    seconds: float
    is_quick: bool

    @property
    def passed(self) -> bool:
        """Whether every quantity is within its tolerance."""
        return all(judgement.passed for judgement in self.judgements)

    def show(self) -> str:
        """Write source, setting and table for the screen."""
        study = self.study
        return f"{study.id}: {study.title}\n{study.source}\n{study.setting}\n\n{show_table(self.judgements)}\n"

    def save(self, folder: str | Path) -> None:
        """Write ``result.md`` and ``figure.svg``.

        Parameters
        ----------
        folder : path
            Made if it does not exist.

        Raises
        ------
        FileAccessError
            If the folder cannot be written to or the disk is full.
        """
        atomic_write(Path(folder) / "result.md", _page(self.study, show_table(self.judgements)).encode("utf-8"))
        atomic_write(Path(folder) / "figure.svg", self.figure)


def names() -> tuple[str, ...]:
    """Give the names of all targets, sorted."""
    folders = importlib.resources.files(_PACKAGE).iterdir()
    return tuple(sorted(folder.name for folder in folders if (folder / "expected.toml").is_file()))


def find(wanted: Iterable[str]) -> tuple[str, ...]:
    """Give the names of targets that are asked for by name or by number, such as ``"C8"``.

    Parameters
    ----------
    wanted : iterable of str
        None for all.

    Returns
    -------
    tuple of str
        Each once, in the order in which they are asked for.

    Raises
    ------
    OptionError
        If there is no such target.
    """
    by_id: dict[str, list[str]] = {}
    for name in names():
        for number in load_study(name).id.split(", "):
            by_id.setdefault(number, []).append(name)
    found: list[str] = []
    for each in wanted:
        found += by_id.get(each.upper()) or [load_study(each).name]
    return tuple(dict.fromkeys(found)) or names()


def load_study(name: str) -> Study:
    """Read what a target expects.

    Parameters
    ----------
    name : str
        One of `names`.

    Returns
    -------
    Study

    Raises
    ------
    OptionError
        If there is no such target.
    DataError
        If its file is malformed.
    """
    if name not in names():
        raise OptionError(
            f"{name!r} is no validation target; expected one of {', '.join(names())}, or a number such as 'C8'."
        )
    text = (importlib.resources.files(_PACKAGE) / name / "expected.toml").read_text(encoding="utf-8")
    try:
        content = tomllib.loads(text)
        targets = tuple(Target(**entry) for entry in content.pop("targets"))
        return Study(name=name, targets=targets, **content)
    except (tomllib.TOMLDecodeError, TypeError, KeyError) as error:
        raise DataError(f"{error}.", where=f"{name}/expected.toml") from error


def judge(study: Study, values: Mapping[str, float]) -> tuple[Judgement, ...]:
    """Hold what came out against what is expected.

    Parameters
    ----------
    study : Study
    values : mapping of str to float
        Exactly the quantities of the study.

    Returns
    -------
    tuple of Judgement
        In the order of the study.

    Raises
    ------
    DataError
        If a quantity is missing, or nobody expects it.
    """
    expected = {target.quantity for target in study.targets}
    if expected != set(values):
        raise DataError(
            f"measured and expected quantities differ in {sorted(expected ^ set(values))}.",
            where=study.name,
            hint="Every quantity stands in measure() and in expected.toml.",
        )
    return tuple(Judgement(target=target, value=float(values[target.quantity])) for target in study.targets)


def show_table(judgements: tuple[Judgement, ...]) -> str:
    """Lay out judgements as a Markdown table that also reads well on a screen.

    Parameters
    ----------
    judgements : tuple of Judgement

    Returns
    -------
    str
    """
    rows = [("quantity", "paper", "ours", "off by", "tolerance", "")]
    for judgement in judgements:
        target, value = judgement.target, judgement.value
        off = f"{abs(value - target.expected):.1e}" if target.size is not None else ""
        verdict = "PASS" if judgement.passed else "FAIL"
        rows.append((target.words, target.shown_expected, f"{value:.6g}", off, target.shown_tolerance, verdict))
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    rows.insert(1, tuple("-" * width for width in widths))
    padded = [[cell.ljust(width) for cell, width in zip(row, widths, strict=True)] for row in rows]
    return "\n".join(f"| {' | '.join(row)} |" for row in padded)


def run(name: str, *, is_quick: bool = False) -> Outcome:
    """Measure a target and hold it against what is expected.

    Parameters
    ----------
    name : str
        One of `names`.
    is_quick : bool
        Whether fewer or smaller networks will do, where the whole takes longer than a minute.

    Returns
    -------
    Outcome

    Raises
    ------
    OptionError
        If there is no such target.
    """
    study = load_study(name)
    script = importlib.import_module(f"{_PACKAGE}.{name}.run")
    is_quick = is_quick and hasattr(script, "measure_quick")
    began = time.perf_counter()
    # One thread of linear algebra: the same sums in the same order, and no threads that wait for each other.
    with threadpool_limits(1):
        values, evidence = script.measure_quick() if is_quick else script.measure()
    seconds = time.perf_counter() - began
    figure = draw_svg(script.draw, evidence)
    return Outcome(
        study=study, judgements=judge(study, values), figure=figure, seconds=seconds, is_quick=is_quick
    )


def main(name: str, folder: str | Path | None = None, *, quick: bool = False) -> int:
    """Measure a target, print its table, and write the result and the figure.

    Parameters
    ----------
    name : str
        One of `names`.
    folder : path, optional
        Where ``result.md`` and ``figure.svg`` go; without it nothing is written.
    quick : bool
        As for `run`.

    Returns
    -------
    int
        0 if every quantity passes, else 1: the exit code.

    Raises
    ------
    OptionError
        If there is no such target.
    """
    outcome = run(name, is_quick=quick)
    print(outcome.show(), flush=True)
    if folder is not None:
        outcome.save(folder)
    return EXIT_DONE if outcome.passed else EXIT_CHECK_FAILED


def run_script(name: str, script: str) -> None:
    """Run a target as a script and exit with its code; with ``--quick`` behind it nothing is written.

    Parameters
    ----------
    name : str
        One of `names`.
    script : str
        Path of its ``run.py``.
    """
    quick = "--quick" in sys.argv[1:]
    sys.exit(main(name, None if quick else Path(script).parent, quick=quick))


def draw_svg(draw: Any, evidence: Any) -> bytes:
    """Draw a target's figure in the style of the package.

    Parameters
    ----------
    draw : callable
        Takes an empty figure and the evidence.
    evidence : object
        Second result of the target's ``measure()``.

    Returns
    -------
    bytes
        An SVG file.
    """
    from matplotlib import rc_context

    from cortexrnn.report.style import FIGURE_STYLE

    # Text as outlines: the figure looks the same in every viewer. No date, and ids from a fixed salt.
    settings = FIGURE_STYLE | {"svg.fonttype": "path", "svg.hashsalt": "validation"}
    file = io.BytesIO()
    with rc_context(settings):
        figure = new_figure()
        draw(figure, evidence)
        figure.savefig(file, format="svg", dpi=160, metadata={"Date": None, "Creator": None})
    return file.getvalue()


def new_figure() -> Figure:
    """Make an empty figure, 400 points wide, that no global list of figures knows."""
    from matplotlib.figure import Figure

    return Figure(figsize=(_WIDTH_IN, _HEIGHT_IN), layout="constrained")


def _page(study: Study, table: str) -> str:
    """Write the page of a target: source, setting, table, notes, figure."""
    notes = [f"- {target.words}: {target.note}" for target in study.targets if target.note]
    parts = [
        f"# {study.id}: {study.title}",
        f"{study.source} [doi:{study.doi}](https://doi.org/{study.doi})",
        study.setting,
        table,
        "\n".join(notes),
        f"![{study.caption}](figure.svg)\n\n{study.caption}",
        f"Written by `python -m {_PACKAGE}.{study.name}.run`.",
    ]
    return "\n\n".join(part for part in parts if part) + "\n"
