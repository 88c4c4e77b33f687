"""Figures of circuits: what is drawn is what was handed over.

Oracle: hand-made runs whose lines, limits and colours are known.
"""

from __future__ import annotations

import numpy as np
import pytest
import xarray as xr
from matplotlib.colors import to_hex
from matplotlib.figure import Figure

from cortexrnn.errors import DataError, OptionError
from cortexrnn.report.circuits import (
    EXCITATORY,
    INHIBITORY,
    MAX_COLUMNS,
    MAX_ROWS,
    plot_currents,
    plot_plasticity,
    plot_raster_of_rates,
    plot_spectrum,
)

DIMS = ("trial", "time", "unit")


@pytest.fixture
def ax():
    """Empty axes."""
    return Figure(figsize=(4, 3)).add_subplot()


@pytest.fixture
def run():
    """Two trials, four moments, three excitatory and two inhibitory units; every number is its own."""
    values = np.arange(40.0).reshape(2, 4, 5)
    u = values / 40.0
    u[:, :, 3:] = np.nan
    return xr.Dataset(
        {
            "rate": (DIMS, values, {"units": "Hz"}),
            "current_e": (DIMS, values, {"units": "1"}),
            "current_i": (DIMS, -values + 0.5),
            "u": (DIMS, u),
            "x": (DIMS, 1.0 - u),
        },
        coords={
            "time": [0.0, 0.1, 0.2, 0.3],
            "population": ("unit", ["e"] * 3 + ["i"] * 2),
            "sign": ("unit", [1, 1, 1, -1, -1]),
        },
    )


def spectrum(values, **attrs):
    """Make a spectrum."""
    return xr.Dataset({"eigenvalues": ("eigenvalue", np.asarray(values, dtype=complex))}, attrs=attrs)


def line_of(ax, label):
    """Give the line with a label."""
    return next(line for line in ax.lines if line.get_label() == label)


def test_the_spectrum_shows_every_eigenvalue_the_circle_and_the_outliers(ax):
    plot_spectrum(ax, spectrum([0.5, 0.1 + 0.2j, 0.1 - 0.2j], radius=0.8, outliers=[2.0 + 0.0j]))
    drawn, circle = line_of(ax, "drawn"), line_of(ax, "predicted")
    assert drawn.get_xdata().tolist() == [0.5, 0.1, 0.1]
    assert drawn.get_ydata().tolist() == [0.0, 0.2, -0.2]
    # Round-off of the circle's points.
    np.testing.assert_allclose(np.hypot(*circle.get_data()), 0.8, rtol=1e-14)
    assert [line.get_xdata().tolist() for line in ax.lines if line.get_markersize() == 9.0] == [[2.0]]
    assert ax.get_aspect() == 1.0
    low, high = ax.get_xlim()
    assert low < -0.8
    assert high > 2.0


def test_a_spectrum_of_several_draws_is_drawn_whole(ax):
    both = xr.Dataset({"eigenvalues": (("draw", "eigenvalue"), np.ones((2, 3), dtype=complex))}, attrs={"radius": 1.0})
    assert line_of(plot_spectrum(ax, both), "drawn").get_xdata().size == 6


def test_a_spectrum_without_a_prediction_is_refused(ax):
    with pytest.raises(DataError, match="an attribute 'radius'"):
        plot_spectrum(ax, spectrum([1.0]))


def test_the_heat_map_shows_every_rate_with_populations_apart(ax, run):
    plot_raster_of_rates(ax, run, trial=1)
    image = ax.images[0].get_array()
    shown = run["rate"].values[1].T
    # Five units are repeated to a hundred rows, and two rows are the gap.
    assert image.shape == (102, 4)
    assert np.ma.filled(image[:60:20]).tolist() == shown[:3].tolist()
    assert image.mask[60:62].all()
    assert np.ma.filled(image[62::20]).tolist() == shown[3:].tolist()
    assert image.mask.sum() == 8
    assert ax.images[0].get_extent() == [0.0, pytest.approx(0.4), 102, 0.0]
    assert [label.get_text() for label in ax.get_yticklabels()] == ["e\n3 units", "i\n2 units"]
    assert [label.get_color() for label in ax.get_yticklabels()] == [EXCITATORY, INHIBITORY]
    assert ax.figure.axes[1].get_ylabel() == "rate (Hz)"


def test_rates_of_both_signs_get_a_scale_with_zero_in_its_middle(ax, run):
    plot_raster_of_rates(ax, run.assign(rate=run["rate"] - 30.0), trial=0)
    low, high = ax.images[0].get_clim()
    assert low == -high
    assert high == pytest.approx(30.0)
    assert to_hex(ax.images[0].cmap(0.5)) == "#f7f6f6"


def test_rates_without_a_sign_start_at_zero(ax, run):
    plot_raster_of_rates(ax, run)
    assert ax.images[0].get_clim() == (0.0, 19.0)


def test_a_single_peak_does_not_whiten_the_rest(ax):
    rates = np.ones((1, 1000, 10))
    rates[0, 5, 3] = 1e6
    run = xr.Dataset(
        {"rate": (DIMS, rates)}, coords={"time": np.arange(1000) * 0.1, "population": ("unit", ["p"] * 10)}
    )
    plot_raster_of_rates(ax, run)
    assert ax.images[0].get_clim() == (0.0, 1.0)
    assert ax.images[0].colorbar.extend == "max"


def test_a_large_run_is_averaged_within_populations(ax):
    n_times, sizes = 2 * MAX_COLUMNS + 1, (MAX_ROWS + 1, 3)
    rates = np.broadcast_to(np.repeat([1.0, 5.0], sizes), (1, n_times, sum(sizes)))
    names = np.repeat(["many", "few"], sizes)
    run = xr.Dataset({"rate": (DIMS, rates)}, coords={"time": np.arange(n_times) * 1e-3, "population": ("unit", names)})
    plot_raster_of_rates(ax, run)
    image = ax.images[0].get_array()
    assert image.shape[0] <= 1.03 * MAX_ROWS
    assert image.shape[1] <= MAX_COLUMNS
    # No pixel mixes the two populations, and the last, smaller groups are means too.
    assert set(image.compressed().tolist()) == {1.0, 5.0}


def test_currents_are_those_of_the_unit_and_their_sum(ax, run):
    plot_currents(ax, run, unit=2, trial=1)
    excitation = run["current_e"].values[1, :, 2]
    assert line_of(ax, "excitatory").get_ydata().tolist() == excitation.tolist()
    assert line_of(ax, "inhibitory").get_ydata().tolist() == (0.5 - excitation).tolist()
    assert line_of(ax, "sum").get_ydata().tolist() == [0.5] * 4
    assert ax.get_ylabel() == "current"
    assert ax.get_xlim() == (0.0, pytest.approx(0.4))


@pytest.mark.parametrize(("external", "n_words"), [(2.0, 4), (0.0, 3)])
def test_an_external_current_is_drawn_and_summed_where_there_is_one(ax, run, external, n_words):
    plot_currents(ax, run.assign(current_ext=0.0 * run["rate"] + external))
    assert line_of(ax, "sum").get_ydata().tolist() == [0.5 + external] * 4
    assert len(ax.get_legend().get_texts()) == n_words


def test_plasticity_is_the_mean_of_a_population_and_leaves_static_ones_out(ax, run):
    plot_plasticity(ax, run)
    np.testing.assert_allclose(line_of(ax, "u").get_ydata(), run["u"].values[0, :, :3].mean(axis=1), rtol=1e-15)
    np.testing.assert_allclose(line_of(ax, "x").get_ydata(), run["x"].values[0, :, :3].mean(axis=1), rtol=1e-15)
    assert {line.get_color() for line in ax.lines} == {EXCITATORY}
    assert ax.get_ylabel() == "e"
    assert ax.get_ylim()[0] == 0.0


def test_populations_differ_in_colour_and_u_and_x_in_dashes(ax, run):
    both = run.assign(u=run["u"].fillna(0.3), x=run["x"].fillna(0.6))
    plot_plasticity(ax, both)
    assert [text.get_text() for text in ax.get_legend().get_texts()] == ["e", "i"]
    assert [line.get_color() for line in ax.lines] == [EXCITATORY] * 2 + [INHIBITORY] * 2
    assert [line.get_linestyle() for line in ax.lines] == ["-", "--"] * 2


def test_a_class_of_plasticity_is_drawn_by_its_name(ax, run):
    named = run.rename(u="u_slow", x="x_slow")
    plot_plasticity(ax, named, plasticity="slow")
    assert line_of(ax, "u").get_ydata()[0] == pytest.approx(run["u"].values[0, 0, :3].mean())


def test_without_plastic_synapses_the_figure_says_so(ax, run):
    plot_plasticity(ax, run.assign(u=run["u"] * np.nan))
    assert [text.get_text() for text in ax.texts] == ["no plastic synapses"]


def test_several_populations_of_one_sign_get_colours_of_their_own(ax, run):
    apart = run.assign_coords(population=("unit", ["a", "b", "c", "i", "i"]))
    plot_raster_of_rates(ax, apart)
    colours = [label.get_color() for label in ax.get_yticklabels()]
    assert colours[0] == EXCITATORY
    assert colours[3] == INHIBITORY
    assert len(set(colours)) == 4


@pytest.mark.parametrize(
    ("plot", "missing"), [(plot_raster_of_rates, "rate"), (plot_currents, "current_i"), (plot_plasticity, "x")]
)
def test_a_missing_variable_is_named(ax, run, plot, missing):
    with pytest.raises(DataError, match=f"no variable '{missing}'.*ask for '{missing}' to be recorded"):
        plot(ax, run.drop_vars(missing))


def test_units_without_a_population_are_refused(ax, run):
    with pytest.raises(DataError, match="no coordinate 'population'"):
        plot_raster_of_rates(ax, run.drop_vars("population"))


def test_rates_that_are_all_missing_are_refused(ax, run):
    with pytest.raises(DataError, match="no finite rate"):
        plot_raster_of_rates(ax, run.assign(rate=run["rate"] * np.nan))


@pytest.mark.parametrize("plot", [plot_raster_of_rates, plot_currents, plot_plasticity])
def test_a_trial_that_does_not_exist_is_refused(ax, run, plot):
    with pytest.raises(OptionError, match="trial=2 is not valid; expected a position from 0 to 1"):
        plot(ax, run, trial=2)


def test_a_unit_that_does_not_exist_is_refused(ax, run):
    with pytest.raises(OptionError, match="unit=5 is not valid; expected a position from 0 to 4"):
        plot_currents(ax, run, unit=5)


def test_the_number_of_units_is_left_out_where_there_is_no_room(ax, run):
    plot_raster_of_rates(ax, run.assign_coords(population=("unit", list("abcde"))))
    assert [label.get_text() for label in ax.get_yticklabels()] == list("abcde")
