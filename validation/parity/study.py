"""Measure by how much our regression and statistics differ from those of statsmodels, NeMoS and Elephant.

    python validation/parity/study.py

Poisson regressions on 20 random problems (100 to 2000 bins, one to seven correlated covariates of unit size):
coefficients relative to the largest of the problem, deviance, and likelihood ratio against a constant rate. Spike
statistics on 20 trials of 2 s. What is not installed is left out, and the table says so.

Writes ``table.md`` beside this file and exits with 1 if a difference is above its limit.
"""

from __future__ import annotations

import importlib
import sys
from collections.abc import Callable, Iterator
from importlib.metadata import version
from pathlib import Path

import numpy as np

from cortexrnn.encoding import fit_poisson, spike_statistics
from cortexrnn.encoding.poisson import PoissonFit
from cortexrnn.numerics.streams import stream
from cortexrnn.runs.files import atomic_write

HERE = Path(__file__).parent
N_PROBLEMS, LIMIT, STATISTICS_LIMIT = 20, 1e-6, 1e-12
BIN_S, N_TRIALS, N_BINS = 0.001, 20, 2000
Fit = tuple[np.ndarray, float, float]


def problems() -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Draw designs, a column of ones first, and counts of log-linear models."""
    for seed in range(N_PROBLEMS):
        rng = stream(seed, "parity")
        n_bins, n_columns = int(rng.integers(100, 2000)), int(rng.integers(1, 8))
        covariates = rng.normal(size=(n_bins, n_columns)) @ rng.normal(size=(n_columns, n_columns))
        covariates /= covariates.std(axis=0)
        weights = np.r_[rng.normal(-1.0, 0.5), rng.normal(0.0, 0.4, n_columns)]
        design = np.column_stack([np.ones(n_bins), covariates])
        yield design, rng.poisson(np.exp(np.clip(design @ weights, -20.0, 4.0)))


def ours(design: np.ndarray, counts: np.ndarray) -> Fit:
    """Fit with `fit_poisson`."""
    full, none = fit_poisson(design, counts), fit_poisson(design[:, :1], counts)
    return full.coefficients, full.deviance, likelihood_ratio(full, none)


def likelihood_ratio(full: PoissonFit, none: PoissonFit) -> float:
    """Give twice the log-likelihood that the covariates gain."""
    return 2.0 * (full.log_likelihood - none.log_likelihood)


def statsmodels(design: np.ndarray, counts: np.ndarray) -> Fit:
    """Fit with statsmodels to its last digit."""
    import statsmodels.api as sm

    full, none = (
        sm.GLM(counts, x, family=sm.families.Poisson()).fit(tol=1e-14, maxiter=100, tol_criterion="params")
        for x in (design, design[:, :1])
    )
    return full.params, full.deviance, 2.0 * (full.llf - none.llf)


def nemos(design: np.ndarray, counts: np.ndarray) -> Fit:
    """Fit with NeMoS in double precision; deviance and ratio from its coefficients."""
    import jax

    jax.config.update("jax_enable_x64", True)
    import nemos as nmo

    solver = {"tol": 1e-14, "maxiter": 10_000}
    model = nmo.glm.GLM(regularizer="UnRegularized", solver_name="LBFGS", solver_kwargs=solver)
    model.fit(design[:, 1:], counts)
    weights = np.r_[np.asarray(model.intercept_).ravel(), np.asarray(model.coef_)]
    log_mu, constant = design @ weights, np.log(counts.mean())
    saturated = counts @ np.log(np.maximum(counts, 1)) - counts.sum()
    better, null = (counts @ eta - np.exp(eta).sum() for eta in (log_mu, np.full(counts.size, constant)))
    return weights, 2.0 * (saturated - better), 2.0 * (better - null)


def compare_regressions(theirs: Callable[[np.ndarray, np.ndarray], Fit]) -> dict[str, float]:
    """Give the largest relative differences over all problems."""
    largest = {"coefficients": 0.0, "deviance": 0.0, "likelihood ratio": 0.0}
    for design, counts in problems():
        found, expected = ours(design, counts), theirs(design, counts)
        largest["coefficients"] = max(
            largest["coefficients"], float(np.abs(found[0] - expected[0]).max() / np.abs(expected[0]).max())
        )
        for name, a, b in zip(("deviance", "likelihood ratio"), found[1:], expected[1:], strict=True):
            largest[name] = max(largest[name], abs(a / b - 1.0))
    return largest


def compare_statistics() -> dict[str, float]:
    """Give the largest relative differences from Elephant's statistics of the same trials."""
    import neo
    import quantities as pq
    from elephant import statistics as elephant

    counts = (stream(0, "statistics").random((N_TRIALS, N_BINS)) < 0.04).astype(np.uint16)
    scored = np.ones(counts.shape, dtype=bool)
    trains = [neo.SpikeTrain((np.flatnonzero(row) + 0.5) * pq.ms, t_stop=N_BINS * pq.ms) for row in counts]
    intervals = spike_statistics.find_intervals(counts, scored)
    theirs = np.concatenate([elephant.isi(train).rescale("ms").magnitude for train in trains])
    one = spike_statistics.find_intervals(counts[:1], scored[:1])
    return {
        "intervals": float(np.abs(intervals.n_bins / theirs - 1.0).max()),
        "CV": abs(spike_statistics.interval_cv(intervals) / float(elephant.cv(theirs)) - 1.0),
        "CV2": abs(spike_statistics.interval_cv2(one) / float(elephant.cv2(elephant.isi(trains[0]))) - 1.0),
    }


def main() -> int:
    """Compare with whatever is installed and write the table."""
    lines = ["| library | quantity | largest relative difference | limit | |", "|---|---|---|---|---|"]
    is_within = True
    comparisons = {
        "statsmodels": (lambda: compare_regressions(statsmodels), LIMIT),
        "nemos": (lambda: compare_regressions(nemos), LIMIT),
        "elephant": (compare_statistics, STATISTICS_LIMIT),
    }
    for library, (compare, limit) in comparisons.items():
        try:
            importlib.import_module(library)
        except ModuleNotFoundError:
            lines.append(f"| {library} | not installed | | | |")
            continue
        for quantity, difference in compare().items():
            is_within &= difference <= limit
            verdict = "PASS" if difference <= limit else "FAIL"
            lines.append(f"| {library} {version(library)} | {quantity} | {difference:.1e} | {limit:g} | {verdict} |")
    text = "\n".join(["# The same numbers from other libraries", "", "`python validation/parity/study.py`", "", *lines])
    print(text)
    atomic_write(HERE / "table.md", (text + "\n").encode("utf-8"))
    return 0 if is_within else 1


if __name__ == "__main__":
    sys.exit(main())
