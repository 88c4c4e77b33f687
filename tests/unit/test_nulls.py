"""Bits per spike over three nulls. Oracles: a slow twin of NLB's score, the expected cost of M0, sums by hand."""

from __future__ import annotations

import json
import runpy
from pathlib import Path

import numpy as np
import pytest
import xarray as xr
from scipy.special import gammaln

from cortexrnn.evaluation.nulls import (
    NULLS,
    describe_nulls,
    describe_unit_nulls,
    held_out_mean_advantage,
    three_nulls,
)
from cortexrnn.evaluation.scores import gain_interval

LN2 = np.log(2.0)
N_FOLDS, N_BINS = 4, 60
NLB = runpy.run_path(str(Path(__file__).parents[1] / "reference" / "nlb_twin.py"))["bits_per_spike"]


def draw(seed=1, *, rates_hz=(0.05, 0.2, 0.4)):
    """Counts (trial, bin, unit) with bins that nobody observed, and rates of two made-up models."""
    rng = np.random.default_rng(seed)
    counts = rng.poisson(np.array(rates_hz), (20, N_BINS, len(rates_hz))).astype(float)
    counts[3, 10:40] = np.nan
    counts[7, :, 0] = np.nan
    rates = {name: rng.uniform(0.05, 0.5, counts.shape) for name in ("M1", "M5")}
    return counts, rates


def score(counts, rates):
    """Lay counts and rates out as a comparison's scores, M0 with (N + 1/2) / T of the other folds."""
    fold = np.repeat(np.arange(N_FOLDS), len(counts) // N_FOLDS)
    seen = ~np.isnan(counts)
    y = np.where(seen, counts, 0.0)
    constant = np.empty(counts.shape)
    for k in range(N_FOLDS):
        train = fold != k
        constant[~train] = (y[train].sum(axis=(0, 1)) + 0.5) / np.maximum(seen[train].sum(axis=(0, 1)), 1)

    def log_likelihood(mu):
        return np.where(seen, y * np.log(mu) - mu - gammaln(y + 1.0), 0.0).sum(axis=1).T

    rows = {name: log_likelihood(mu) for name, mu in ({"M0": constant} | rates).items()}
    return xr.Dataset(
        {
            "log_likelihood": (("rung", "seed", "unit", "trial"), np.array(list(rows.values()))[:, None]),
            "n_spikes": (("unit", "trial"), y.sum(axis=1).T.astype(int)),
            "n_bins": (("unit", "trial"), seen.sum(axis=1).T),
        },
        coords={
            "rung": list(rows), "unit": [f"u{u}" for u in range(counts.shape[2])], "trial_fold": ("trial", fold)
        },
    )  # fmt: skip


def test_held_out_mean_null_is_that_of_nlb_fold_by_fold():
    """NLB scores one test set; over folds its numerators and spikes are added up. Agreement to round-off."""
    counts, rates = draw()
    scores = score(counts, rates)
    table = three_nulls(scores)
    fold = scores["trial_fold"].values
    for name, mu in rates.items():
        for units in ([0], [1], [2], [0, 1, 2]):
            parts = [(mu[fold == k][..., units], counts[fold == k][..., units]) for k in range(N_FOLDS)]
            spikes = [np.nansum(y) for _, y in parts]
            expected = sum(NLB(*part) * n for part, n in zip(parts, spikes, strict=True)) / sum(spikes)
            found = table.sel(null="test mean", rung=name)
            value = found["bits_per_spike"].values[units[0]] if len(units) == 1 else found["pooled"].item()
            assert value == pytest.approx(expected, abs=1e-10)


def test_training_mean_and_psth_nulls_are_gains_over_m0_and_m1():
    scores = score(*draw())
    table = three_nulls(scores)
    rows = scores["log_likelihood"].values[:, 0]
    n = scores["n_spikes"].values
    for null, reference in (("train mean", 0), ("PSTH", 1)):
        for u in range(3):
            gain = gain_interval(rows[2, u], rows[reference, u], n[u], N_FOLDS)
            found = table.sel(null=null, rung="M5").isel(unit=u)
            values = [found[name].item() for name in ("bits_per_spike", "low", "high")]
            np.testing.assert_allclose(values, gain[:3], rtol=1e-12)
    assert (table["bits_per_spike"].sel(null="train mean", rung="M0") == 0.0).all()
    assert (table["bits_per_spike"].sel(null="PSTH", rung="M1") == 0.0).all()


def test_pooled_is_weighted_by_spikes_and_the_median_is_not():
    table = three_nulls(score(*draw()))
    n = table["n_spikes"].values
    for null in NULLS:
        each = table["bits_per_spike"].sel(null=null, rung="M5").values
        found = table.sel(null=null, rung="M5")
        assert found["pooled"].item() == pytest.approx((each * n).sum() / n.sum(), rel=1e-12)
        assert found["median"].item() == pytest.approx(np.median(each), rel=1e-12)


def test_a_unit_without_spikes_has_no_score_but_costs_the_pool_what_was_expected_of_it():
    """Oracle: the pooled numerator gets -sum(mu_M - mu_0) over its bins, in nats."""
    counts, rates = draw(rates_hz=(0.0, 0.2, 0.4))
    scores = score(counts, rates)
    table = three_nulls(scores)
    assert np.isnan(table["bits_per_spike"].sel(unit="u0").values).all()
    without = three_nulls(scores.isel(unit=[1, 2]))
    n = table["n_spikes"].values.sum()
    seen = ~np.isnan(counts[..., 0])
    fold = scores["trial_fold"].values
    bins = seen.sum(axis=1)
    null_mass = sum(bins[fold == k].sum() * 0.5 / bins[fold != k].sum() for k in range(N_FOLDS))
    model_mass = np.where(seen, rates["M5"][..., 0], 0.0).sum()
    for null, mass in (("train mean", null_mass), ("test mean", 0.0)):
        cost = (table["pooled"] - without["pooled"]).sel(null=null, rung="M5").item() * n * LN2
        assert cost == pytest.approx(-(model_mass - mass), rel=1e-9)
    entry = describe_unit_nulls(table, 0)
    assert entry["test mean"]["M5"] == {"value": None, "ci": None}
    json.dumps(entry, allow_nan=False)


def test_m0_lies_below_the_held_out_mean_by_what_two_estimates_cost():
    """Expected -(1 / (2 N_test)) (1 + N_test / N_train) nats a spike (ladder); 4000 homogeneous recordings."""
    rng = np.random.default_rng(5)
    fold = np.repeat(np.arange(5), 4)
    bins = np.full(20, 100)
    costs = []
    for _ in range(4000):
        n = rng.poisson(10.0, 20)
        costs.append(-held_out_mean_advantage(n, bins, fold).sum() / n.sum())
    expected = -(1.0 + 40.0 / 160.0) / (2.0 * 40.0)
    # Higher orders of 1 / N_test are about 1/6 of 1/40 of it; sampling error by the repeats.
    assert np.mean(costs) == pytest.approx(expected, abs=3 * np.std(costs) / np.sqrt(4000) + 0.005 * abs(expected))


def test_bernoulli_null_is_the_share_of_bins_with_a_spike():
    """By hand: two folds of one trial, 2 and 3 spikes in 10 bins each."""
    found = held_out_mean_advantage(np.array([2, 3]), np.array([10, 10]), np.array([0, 1]), likelihood="bernoulli")
    oracle = 2 * np.log(0.2) + 8 * np.log(0.8)
    learned = 2 * np.log(1.0 - np.exp(-0.35)) - 8 * 0.35
    assert found[0] == pytest.approx(oracle - learned, rel=1e-12)


@pytest.mark.parametrize("likelihood", ["poisson", "bernoulli"])
def test_empty_and_full_folds_have_a_null(likelihood):
    """No spike, a spike in every bin, nobody there: finite, and never worse than M0."""
    n, bins = np.array([0, 10, 0]), np.array([10, 10, 0])
    found = held_out_mean_advantage(n, bins, np.arange(3), likelihood=likelihood)
    assert np.isfinite(found).all()
    assert found[2] == 0.0
    assert (found[:2] >= 0.0).all()


def test_a_negative_binomial_has_no_mean_of_totals_and_keeps_the_other_nulls():
    scores = score(*draw())
    table, poisson = (three_nulls(scores, likelihood=name) for name in ("negative binomial", "poisson"))
    assert np.isnan(table["pooled"].sel(null="test mean").values).all()
    for null in ("train mean", "PSTH"):
        xr.testing.assert_equal(table.sel(null=null), poisson.sel(null=null))
    json.dumps([describe_nulls(table), describe_unit_nulls(table, 2)], allow_nan=False)


def test_summary_holds_every_null_and_rung_and_survives_json():
    table = three_nulls(score(*draw()))
    pooled = json.loads(json.dumps(describe_nulls(table), allow_nan=False))
    assert list(pooled) == ["train mean", "test mean", "PSTH"]
    assert pooled["PSTH"]["M5"]["value"] == table["pooled"].sel(null="PSTH", rung="M5").item()
    assert pooled["PSTH"]["M5"]["ci"][0] < pooled["PSTH"]["M5"]["value"] < pooled["PSTH"]["M5"]["ci"][1]
    unit = describe_unit_nulls(table, 2)
    assert unit["train mean"]["M1"]["value"] == table["bits_per_spike"].sel(null="train mean", rung="M1").values[2]


def test_few_spikes_are_no_score_of_a_unit():
    counts, rates = draw(rates_hz=(0.005, 0.2, 0.4))
    table = three_nulls(score(counts, rates))
    assert 0 < table["n_spikes"].values[0] < 30
    assert describe_unit_nulls(table, 0)["PSTH"]["M5"]["value"] is None
    both = table["bits_per_spike"].sel(null="PSTH", rung="M5").values[1:]
    assert table["median"].sel(null="PSTH", rung="M5").item() == pytest.approx(both.mean(), rel=1e-12)
