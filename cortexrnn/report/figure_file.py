"""One figure, one file: in the style of the package, the same bytes for the same figure."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import xarray as xr

from cortexrnn.errors import DataError
from cortexrnn.report.style import FIGURE_STYLE
from cortexrnn.runs.files import atomic_path

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_AXES_SIZE_IN = (5.6, 4.2)


def own_axes() -> Axes:
    """Make axes in a figure of their own, in the style of the package, that no global list of figures knows."""
    from matplotlib import rc_context
    from matplotlib.figure import Figure

    with rc_context(FIGURE_STYLE):
        return Figure(figsize=_AXES_SIZE_IN, dpi=160, layout="constrained").add_subplot()


def check_variables(dataset: xr.Dataset, *names: str) -> None:
    """Raise DataError where a variable that a figure draws is missing."""
    missing = [name for name in names if name not in dataset]
    if missing:
        known = ", ".join(sorted(map(str, dataset.data_vars)))
        raise DataError(f"there is no variable {missing[0]!r}; there are {known}.")


def draw_file(path: Path, size_in: tuple[float, float], plot: Callable[[Figure], object]) -> Path:
    """Draw a figure and write it.

    Parameters
    ----------
    path : pathlib.Path
        Its ending says as what the figure is written.
    size_in : tuple of float
        Width and height in inches.
    plot : callable
        Takes the empty figure.

    Returns
    -------
    pathlib.Path
        `path`.

    Raises
    ------
    FileAccessError
        If the file cannot be written.
    """
    from matplotlib import rc_context
    from matplotlib.figure import Figure

    with rc_context({**FIGURE_STYLE, "svg.hashsalt": path.stem}):
        figure = Figure(figsize=size_in, dpi=160, layout="constrained")
        plot(figure)
        with atomic_path(path) as temporary:
            figure.savefig(temporary, format=path.suffix[1:], metadata={"Date": None, "Creator": None})
    return path


def draw_plot(path: Path, plot: Callable[[Axes], object]) -> Path:
    """Write what a result's ``plot`` draws onto one pair of axes.

    Parameters
    ----------
    path : pathlib.Path
        Its ending says as what the figure is written.
    plot : callable
        Takes the empty axes.

    Returns
    -------
    pathlib.Path
        `path`.

    Raises
    ------
    FileAccessError
        If the file cannot be written.
    """
    return draw_file(path, _AXES_SIZE_IN, lambda figure: plot(figure.subplots()))
