"""Coupled regression: a design matrix written out, differences of the gradient, planted networks, false discoveries."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import xarray as xr
from scipy.stats import false_discovery_control

from cortexrnn.encoding.connectivity import _has_history, false_discovery, functional_connectivity, take_population
from cortexrnn.encoding.constant import Constant
from cortexrnn.encoding.coupling import CoupledGLM, Population, _Problem
from cortexrnn.errors import DataError, OptionError
from cortexrnn.report.figure_file import own_axes

# Sources 0 to 3 excite, 4 and 5 inhibit; target, source.
WIRING = np.zeros((6, 6))
for _target, _source in [(1, 0), (2, 1), (4, 2), (5, 3), (0, 3)]:
    WIRING[_target, _source] = 1.0
for _target, _source in [(0, 4), (3, 4), (1, 5), (2, 5)]:
    WIRING[_target, _source] = -1.0
FILTER = np.exp(-np.arange(30) / 8.0)


def network(n_trials, n_bins, weights, *, seed, rate=0.02):
    """Counts of a network whose units multiply each other's rates; effect of a spike by lag: weight times FILTER."""
    rng = np.random.default_rng(seed)
    n = len(weights)
    counts = np.zeros((n_trials, n_bins, n), np.uint16)
    for t in range(n_bins):
        past = counts[:, max(t - FILTER.size, 0) : t][:, ::-1]
        eta = np.einsum("itj,t->ij", past, FILTER[: past.shape[1]]) @ weights.T
        dead = counts[:, max(t - 2, 0) : t].any(axis=1)
        counts[:, t] = (rng.random((n_trials, n)) < rate * np.exp(eta)) & ~dead
    return counts


def as_trials(counts, *, n_burn_in=100, bin_s=1e-3):
    """Lay counts out as a Trials dataset of one condition."""
    n_trials, n_bins, n = counts.shape
    return xr.Dataset(
        {
            "counts": (("trial", "time", "unit"), counts),
            "observed": (("trial", "time", "unit"), np.ones(counts.shape, bool)),
        },
        coords={
            "trial": np.arange(n_trials), "time": bin_s * (np.arange(n_bins) - n_burn_in), "unit": np.arange(n),
            "condition": ("trial", np.zeros(n_trials, int)), "start_s": ("trial", 10.0 * np.arange(n_trials)),
            "scored": ("time", np.arange(n_bins) >= n_burn_in),
        },
        attrs={"bin_s": bin_s, "align_to": "trial start", "history_s": bin_s * n_burn_in},
    )  # fmt: skip


@pytest.fixture(scope="module")
def small():
    """Eight trials of three units in which one excites another, a few bins with two spikes, a varying baseline."""
    weights = np.zeros((3, 3))
    weights[1, 0], weights[2, 1] = 1.2, -1.5
    counts = network(8, 700, weights, seed=1, rate=0.04)
    counts[0, 50, 2] = 2
    used = np.ones((8, 700), bool)
    used[:, :60] = used[3, 300:400] = False
    log_mu = np.log(0.04) + 0.3 * np.sin(np.arange(700) / 50.0)[None, :, None] * np.array([1.0, 0.5, -1.0])
    return Population(counts, used, np.broadcast_to(log_mu, counts.shape), 1e-3)


def written_out(problem, population, target):
    """Give the design matrix of a target bin by bin: intercept, others' functions, own functions."""
    counts, bases = population.counts.astype(float), (problem.basis, problem.own_basis)
    rows = []
    for i, t in np.argwhere(population.used):
        row = [np.ones(1)]
        for source in [j for j in range(counts.shape[2]) if j != target] + [target]:
            basis = bases[source == target]
            past = counts[i, max(t - basis.shape[1], 0) : t, source][::-1]
            row.append(basis[:, : past.size] @ past)
        rows.append(np.concatenate(row))
    return np.array(rows)


def test_the_fit_and_its_covariance_are_those_of_the_design_matrix_written_out(small):
    fitted = CoupledGLM(history_s=0.03, coupling_s=0.02, ridge=2.0, tolerance_nats=1e-14).fit(small)
    for target in range(3):
        x = written_out(fitted.problem, small, target)
        y, offset = (np.asarray(each)[:, :, target][small.used] for each in (small.counts, small.log_mu))
        precision = np.diag(np.r_[0.0, np.full(x.shape[1] - 1, 2.0)])
        w = np.zeros(x.shape[1])
        for _ in range(30):
            mu = np.exp(x @ w + offset)
            hessian = (x * mu[:, None]).T @ x + precision
            w += np.linalg.solve(hessian, x.T @ (y - mu) - precision @ w)
        others = np.delete(fitted.coupling[target], target, axis=0).ravel()
        ours = np.concatenate([[fitted.intercept[target]], others, fitted.own[target]])
        # The climb stops when a step would gain 1e-14 nats: the root of it in standard errors.
        np.testing.assert_allclose(ours, w, atol=1e-6)
        np.testing.assert_allclose(fitted.covariance(target), np.linalg.inv(hessian), rtol=1e-5, atol=1e-8)
        np.testing.assert_allclose(fitted.log_mu()[small.used][:, target], x @ w + offset, atol=1e-5)


def test_the_gradient_is_that_of_central_differences(small):
    problem = _Problem(CoupledGLM(history_s=0.02, coupling_s=0.01), small)
    rng = np.random.default_rng(2)
    point = 0.3 * rng.standard_normal((3, problem.size))
    with ThreadPoolExecutor(1) as pool:
        _, gradient = problem.evaluate(point, pool)
        for _ in range(4):
            way = rng.standard_normal(point.shape)
            ahead, behind = (problem.evaluate(point + h * way, pool)[0] for h in (1e-5, -1e-5))
            # A unit's coordinates for itself as a source mean nothing, and their derivative is zero.
            np.testing.assert_allclose((gradient * way).sum(axis=1), (ahead - behind) / 2e-5, rtol=2e-6, atol=1e-5)


def test_no_bit_depends_on_the_number_of_threads(small):
    one, two = (CoupledGLM(history_s=0.03, coupling_s=0.02, n_threads=n).fit(small) for n in (1, 2))
    np.testing.assert_array_equal(one.coupling, two.coupling)
    np.testing.assert_array_equal(one.own, two.own)


def test_a_planted_network_is_found_with_its_signs():
    found = functional_connectivity(as_trials(network(150, 1100, WIRING, seed=3)), baseline=Constant())
    signs = found.found()
    off = ~np.eye(6, dtype=bool)
    # Each unit has some 3000 spikes, and filters of unit size: nothing is missed, at most a false one on average.
    np.testing.assert_array_equal(signs[WIRING != 0.0], np.sign(WIRING[WIRING != 0.0]))
    assert (signs[off & (WIRING == 0.0)] != 0).sum() <= 1
    truth = WIRING * FILTER.sum()
    error = (found.data["strength"].values - truth) / found.data["strength_se"].values
    # The prior pulls strengths a little towards zero; 30 values of about unit size.
    assert np.sqrt(np.mean(error[off] ** 2)) < 1.6
    # The dead time of two bins is in the own filter, and nothing else is.
    assert (np.exp(found.data["own_filter"].values[:, :2]) < 0.2).all()
    assert np.abs(found.data["own_filter"].values[:, 20:]).max() < 0.4
    names = [label.get_text() for label in found.plot(own_axes()).get_yticklabels()]
    assert names == [str(k) for k in range(6)]
    assert "0 to 1" in found.plot_filter(1, 0).get_title()


def test_without_connections_few_are_called():
    """Over 20 networks of four independent units the p-values are no smaller than chance has them."""
    p = []
    for seed in range(20):
        trials = as_trials(network(30, 600, np.zeros((4, 4)), seed=100 + seed))
        found = functional_connectivity(trials, baseline=Constant())
        p.append(found.data["p"].values[~np.eye(4, dtype=bool)])
    p = np.concatenate(p)
    # 240 tests: 5 % and three standard errors.
    assert np.mean(p <= 0.05) <= 0.05 + 3.0 * np.sqrt(0.05 * 0.95 / p.size)


def test_false_discovery_rates_are_those_of_scipy_and_leave_nan_alone():
    p = np.random.default_rng(0).random(50) ** 2
    np.testing.assert_allclose(false_discovery(p), false_discovery_control(p), rtol=1e-12)
    assert np.isnan(false_discovery(np.array([[np.nan, 0.01], [0.2, np.nan]]))[0, 0])


def test_bins_behind_a_gap_are_left_out():
    observed = np.ones((1, 12), bool)
    observed[0, 5] = False
    np.testing.assert_array_equal(np.flatnonzero(_has_history(observed, 3)[0]), [3, 4, 5, 9, 10, 11])
    trials = as_trials(network(10, 400, np.zeros((2, 2)), seed=5))
    seen = trials["observed"].values.copy()
    seen[2, 200, 1] = False
    used = take_population(trials.assign(observed=(trials["observed"].dims, seen)), CoupledGLM(), Constant()).used
    assert not used[2, 200:301].any()
    assert used[2, 301]
    assert used[3, 200:301].all()


def test_what_cannot_be_fitted_is_refused(small):
    with pytest.raises(DataError, match="do not fit"):
        CoupledGLM().fit(small._replace(used=small.used[:, 1:]))
    with pytest.raises(DataError, match="no bin is used"):
        CoupledGLM().fit(small._replace(used=np.zeros_like(small.used)))
    silent = np.array(small.counts)
    silent[:, :, 1] = 0
    with pytest.raises(DataError, match="unit 1 has no spike"):
        CoupledGLM().fit(small._replace(counts=silent))
    with pytest.raises(DataError, match="log_mu is not finite"):
        CoupledGLM().fit(small._replace(log_mu=np.full(small.counts.shape, -np.inf)))
    with pytest.raises(OptionError, match=r"ridge=0\.0 is not a positive"):
        CoupledGLM(ridge=0.0)
    with pytest.raises(OptionError, match="shorter than a bin"):
        CoupledGLM(coupling_s=1e-4).fit(small)
    trials = as_trials(network(10, 400, np.zeros((2, 2)), seed=6))
    with pytest.raises(DataError, match="expected at least two"):
        functional_connectivity(trials.isel(unit=[0]))
    with pytest.raises(OptionError, match="false_discovery_rate=1"):
        functional_connectivity(trials, baseline=Constant()).found(1)
