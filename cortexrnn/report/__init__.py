"""What you show: labelled results in, figures, words and one HTML page out."""

from __future__ import annotations

from cortexrnn.report.drawing import draw_figures
from cortexrnn.report.figures import (
    plot_history_filter,
    plot_isi,
    plot_psth,
    plot_raster,
    select_unit,
)
from cortexrnn.report.html import write_report
from cortexrnn.report.population import plot_ladder, plot_population, plot_refractory
from cortexrnn.report.text import methods_paragraph, refractory_sentence, screen_summary, units_table
from cortexrnn.report.waterfall import plot_waterfall

__all__ = [
    "draw_figures",
    "methods_paragraph",
    "plot_history_filter",
    "plot_isi",
    "plot_ladder",
    "plot_population",
    "plot_psth",
    "plot_raster",
    "plot_refractory",
    "plot_waterfall",
    "refractory_sentence",
    "screen_summary",
    "select_unit",
    "units_table",
    "write_report",
]
