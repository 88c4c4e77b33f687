"""Recordings that may not be redistributed: published numbers, and verdicts that must or must not come out.

Run with ``CORTEXRNN_RECORDINGS=FOLDER pytest -m recordings``; the tables of results are in ``validation/recordings``.
"""

import os
import warnings
from pathlib import Path

import numpy as np
import pytest
import scipy.io

import cortexrnn as cx
from cortexrnn.errors import CortexWarning
from cortexrnn.evaluation.ladder import QUICK_RUNGS

pytestmark = [pytest.mark.recordings, pytest.mark.slow]


@pytest.fixture(scope="module")
def folder():
    return Path(os.environ["CORTEXRNN_RECORDINGS"])


@pytest.fixture(scope="module")
def place_cell(folder):
    case = scipy.io.loadmat(folder / "kramer_cases/spikes-1.mat")
    counts = np.histogram(case["spiketimes"], np.append(case["t"], np.inf))[0]
    return counts, case["X"].ravel()


@pytest.fixture(scope="module")
def stn(folder):
    case = scipy.io.loadmat(folder / "kramer_cases/10_spikes-1.mat")
    return case["train"], case["t"].ravel(), case["direction"].ravel()


def read_cockroach(folder, dataset):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", CortexWarning)
        return cx.read_recording(folder / "cockroach_al/spikes.csv", select={"dataset": dataset})


def compare_quickly(recording, **alignment):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", CortexWarning)
        return cx.compare(recording, models=cx.ladder(QUICK_RUNGS), **alignment)


def test_place_cell_aics_are_those_published(place_cell):
    # Kramer & Eden 2016, notebook 9; the tolerance is round-off over 177 761 bins.
    counts, x = place_cell
    linear = cx.fit_poisson(np.c_[np.ones_like(x), x], counts)
    quadratic = cx.fit_poisson(np.c_[np.ones_like(x), x, x**2], counts)
    np.testing.assert_allclose(linear.aic, 3344.790862938608, rtol=1e-12)
    np.testing.assert_allclose(quadratic.aic, 2708.7763622920475, rtol=1e-12)
    np.testing.assert_allclose(quadratic.coefficients, [-26.279057, 0.690114, -0.005463], rtol=1e-4)


def test_stn_deviances_are_those_published(stn):
    # Kramer & Eden 2016, notebook 10: printed without decimals; models with history drop the first 71 bins.
    train, time_ms, direction = stn
    n_trials, n_bins = train.shape
    move = np.tile((time_ms >= 0).astype(float), n_trials)
    ones = np.ones(n_trials * n_bins)
    moving = cx.fit_poisson(np.c_[ones, move], train.ravel())
    directed = cx.fit_poisson(np.c_[ones, move, np.repeat(direction, n_bins)], train.ravel())
    first, n_lags = 71, 70
    lags = np.stack([train[:, first - lag : n_bins - lag] for lag in range(1, n_lags + 1)], axis=-1)
    lags = lags.reshape(-1, n_lags).astype(float)
    move = np.tile((time_ms >= 0)[first:].astype(float), n_trials)
    design = np.c_[np.ones(lags.shape[0]), move, np.repeat(direction, n_bins - first), lags]
    counts = train[:, first:].ravel()
    history = cx.fit_poisson(design, counts)
    crossed = cx.fit_poisson(np.c_[design, lags * move[:, None]], counts)
    assert [round(fit.deviance) for fit in (moving, directed, history, crossed)] == [28588, 28293, 26792, 26637]
    np.testing.assert_allclose(np.exp(moving.coefficients), [0.038960, 1.410678], atol=5e-7)


def test_citron_unit_1_is_not_called_history(folder):
    result = compare_quickly(read_cockroach(folder, "e060817citron"), units=["1"])
    assert result.verdicts["1"] != "history matters"


def test_vanillin_units_1_and_2_are_called_history(folder):
    result = compare_quickly(read_cockroach(folder, "CAL1V"), units=["1", "2"], window_s=(0.0, 11.0))
    assert result.verdicts == {"1": "history matters", "2": "history matters"}


def test_bursting_mouse_unit_does_not_run_away(folder):
    # A plain history GLM scored -1.26 bits/spike on held-out blocks of this unit.
    result = compare_quickly(cx.read_recording(folder / "mouse_psb_nwb/A8604-211122.nwb"), units=["191"])
    unit = result.summary["units"][0]
    assert unit["rungs"]["M5"]["bits_per_spike"] > unit["rungs"]["M3"]["bits_per_spike"]


def test_network_is_a_real_competitor_on_vanillin_unit_1(folder):
    # An independent 16-unit GRU on top of M3 reached 1.17 bits/spike.
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", CortexWarning)
        result = cx.compare(
            read_cockroach(folder, "CAL1V"),
            units=["1"],
            window_s=(0.0, 11.0),
            options=cx.CompareOptions(n_surrogates=0),
        )
    rungs = result.summary["units"][0]["rungs"]
    assert rungs["M6"]["bits_per_spike"] >= 1.15
    assert rungs["M6"]["bits_per_spike"] >= rungs["M5"]["bits_per_spike"] - 0.03
    assert abs(rungs["M6cut"]["bits_per_spike"] - rungs["M3"]["bits_per_spike"]) < 0.02
