"""Coupled Poisson regression of a population: 50 units, 200 000 bins, some 500 coefficients each; and scikit-learn.

Ours fits all units at once from their spikes; scikit-learn fits one unit on a design matrix that it gets ready made,
and its time is multiplied by the number of units. Both climb to the same penalised likelihood, which is checked.

Run: python benchmarks/coupling.py [--units 50] [--trials 100] [--small]
"""

from __future__ import annotations

import argparse
import warnings

import measure

measure.use_one_core()

import numpy as np  # noqa: E402

from cortexrnn.encoding.coupling import CoupledGLM, Population  # noqa: E402
from cortexrnn.encoding.coupling_kernels import lay_features  # noqa: E402

_N_BINS, _BIN_S, _RATE, _DENSITY = 2000, 1e-3, 0.015, 0.08
_EFFECT = np.exp(-np.arange(40) / 10.0)
_SPEC = CoupledGLM(history_s=0.1, coupling_s=0.1, ridge=3.0, tolerance_nats=1e-4)
# Nats of the penalised likelihood by which an answer may lie below ours, and still count as the same.
_SAME_NATS = 0.05


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--units", type=int, default=50)
    parser.add_argument("--trials", type=int, default=100)
    parser.add_argument("--small", action="store_true", help="10 units, 20 trials: seconds")
    given = parser.parse_args()
    n_units, n_trials = (10, 20) if given.small else (given.units, given.trials)
    print(measure.describe_machine())
    print(measure.describe_versions(("cortexrnn", "numpy", "numba", "scikit-learn")))
    population = simulate(n_units, n_trials)
    CoupledGLM(history_s=0.01, coupling_s=0.01).fit(Population(*(part[:2] for part in population[:3]), _BIN_S))
    fitted = _SPEC.fit(population)
    ours_s = measure.best_cpu_s(lambda: _SPEC.fit(population), 2)
    problem = fitted.problem
    features = np.concatenate([lay_out(problem, part, n_units) for part in problem.parts])
    n_used, n_weights = features.shape
    n_spikes = int(population.counts.sum())
    print(f"\n{n_units} units, {n_used} bins, {n_weights} coefficients each, {n_spikes} spikes; one core")
    print(f"{'ours, all units':34s} {ours_s:9.2f} s")
    others = np.delete(fitted.coupling[0], 0, axis=0).ravel()
    best = np.concatenate([[fitted.intercept[0]], others, fitted.own[0]])
    counts = population.counts[:, :, 0][population.used].astype(float)
    reference = penalised(best, features, counts)
    for solver in ("newton-cholesky", "lbfgs"):
        seconds, weights = sklearn_fit(features[:, 1:], counts, solver)
        left = reference - penalised(weights, features, counts)
        note = "" if left < _SAME_NATS else f"  ({left:.2g} nats short)"
        each, every = f"scikit-learn {solver}, one unit", seconds * n_units
        print(f"{each:34s} {seconds:9.2f} s; {n_units} of them {every:8.0f} s: {every / ours_s:6.0f} times ours{note}")


def simulate(n_units: int, n_trials: int) -> Population:
    """Give counts of a sparse network of which a fifth inhibits."""
    rng = np.random.default_rng(7)
    sign = np.where(np.arange(n_units) < 0.8 * n_units, 0.5, -1.0)
    weights = sign * (rng.random((n_units, n_units)) < _DENSITY) * ~np.eye(n_units, dtype=bool)
    counts = np.zeros((n_trials, _N_BINS, n_units), np.uint16)
    for t in range(_N_BINS):
        past = counts[:, max(t - _EFFECT.size, 0) : t][:, ::-1]
        eta = np.einsum("itj,t->ij", past, _EFFECT[: past.shape[1]]) @ weights.T
        counts[:, t] = rng.random((n_trials, n_units)) < _RATE * np.exp(np.minimum(eta, 3.0))
    used = np.ones((n_trials, _N_BINS), bool)
    used[:, :100] = False
    return Population(counts, used, np.full(counts.shape, np.log(_RATE)), _BIN_S)


def lay_out(problem, part, n_units: int) -> np.ndarray:
    """Give the rows of the first unit's design matrix."""
    n_weights = 1 + (n_units - 1) * len(problem.basis) + len(problem.own_basis)
    features = np.zeros((part.use.size, n_weights))
    lay_features(part.spikes, problem.basis, problem.own_basis, 0, part.first_bin, features)
    return features[part.use]


def penalised(weights: np.ndarray, features: np.ndarray, counts: np.ndarray) -> float:
    """Give the log-likelihood, about the constant baseline, minus the penalty."""
    eta = features @ weights + np.log(_RATE)
    return float(counts @ eta - np.exp(eta).sum() - 0.5 * _SPEC.ridge * np.sum(weights[1:] ** 2))


def sklearn_fit(covariates: np.ndarray, counts: np.ndarray, solver: str) -> tuple[float, np.ndarray]:
    """Fit scikit-learn's regression; give processor seconds and intercept and weights about the baseline."""
    from sklearn.linear_model import PoissonRegressor

    model = PoissonRegressor(alpha=_SPEC.ridge / len(counts), solver=solver, tol=1e-7, max_iter=1000)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        seconds = measure.best_cpu_s(lambda: model.fit(covariates, counts), 1)
    return seconds, np.concatenate([[model.intercept_ - np.log(_RATE)], model.coef_])


if __name__ == "__main__":
    main()
