"""Read-outs with and without signs against every peer that installs: one core, answers checked before they are timed.

python benchmarks/readout.py [--units 1000] [--without-scipy]
"""

from __future__ import annotations

import argparse
from collections.abc import Callable

import measure

measure.use_one_core()

import numpy as np  # noqa: E402
from scipy.optimize import nnls  # noqa: E402
from sklearn.linear_model import Ridge as SklearnRidge  # noqa: E402
from threadpoolctl import threadpool_limits  # noqa: E402

from cortexrnn.training.reservoirs import rls_kernels  # noqa: E402
from cortexrnn.training.reservoirs.nonnegative import broken_conditions, solve_signed  # noqa: E402
from cortexrnn.training.reservoirs.reservoir import ReservoirSpec  # noqa: E402
from cortexrnn.training.reservoirs.rls import RLS, SignedRLS  # noqa: E402

_PACKAGES = ("numpy", "scipy", "numba", "scikit-learn")
_N_UPDATES = 200
_PENALTY = 1e-4


def draw_problem(n_units: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Give states of a Dale reservoir, a target that needs memory and product, and the units' signs."""
    reservoir = ReservoirSpec(n_units=n_units, wiring="dale", bias_scale=0.3, input_scale=0.5).build()
    inputs = np.random.default_rng(0).uniform(-1.0, 1.0, 5 * n_units + 10)
    states = reservoir.run(inputs)[10:]
    target = inputs[7:-3] * inputs[8:-2]
    return states - states.mean(axis=0), target - target.mean(), reservoir.signs.astype(float)


def compare_solvers(options: argparse.Namespace) -> None:
    """Print the time of sign-constrained ridge regression, Gram matrix included."""
    states, target, signs = draw_problem(options.units)
    n = options.units
    alpha = _PENALTY * np.sum(states**2) / n
    flipped = states * signs

    def gram() -> tuple[np.ndarray, np.ndarray]:
        return states.T @ states + alpha * np.eye(n), states.T @ target

    def by_scipy() -> np.ndarray:
        augmented = np.vstack([flipped, np.sqrt(alpha) * np.eye(n)])
        return signs * nnls(augmented, np.r_[target, np.zeros(n)], maxiter=50 * n)[0]

    def by_scipy_small() -> np.ndarray:
        # The same problem with n rows, from the Cholesky factor: what a careful user of nnls would do.
        matrix, moment = gram()
        factor = np.linalg.cholesky(matrix)
        return signs * nnls(factor.T * signs, np.linalg.solve(factor, moment), maxiter=50 * n)[0]

    def by_sklearn() -> np.ndarray:
        rule = SklearnRidge(alpha=alpha, positive=True, fit_intercept=False, tol=1e-6, max_iter=20_000)
        return signs * rule.fit(flipped, target).coef_

    contenders: dict[str, tuple[Callable, int]] = {
        "cortexrnn, solve_signed": (lambda: solve_signed(*gram(), signs)[0], 5),
        "scikit-learn, Ridge(positive=True)": (by_sklearn, 1),
    }
    if not options.without_scipy:
        contenders["SciPy, nnls of the states"] = (by_scipy, 1)
        contenders["SciPy, nnls of the Cholesky factor"] = (by_scipy_small, 1)
    matrix, moment = gram()
    best = 0.5 * moment @ solve_signed(matrix, moment, signs)[0]
    seconds = {"Gram matrix alone": measure.best_cpu_s(gram, 5)}
    notes = {"Gram matrix alone": ""}
    for name, (run, repeats) in contenders.items():
        weights = run()
        broken = broken_conditions(matrix @ weights - moment, moment, signs, weights)
        # How much of the explained sum of squares is missing.
        behind = 1.0 - (moment @ weights - 0.5 * weights @ matrix @ weights) / best
        notes[name] = f"conditions broken by {broken:.0e}, behind by {behind:.0e}"
        if behind > 1e-3:
            raise SystemExit(f"{name} gave another answer: behind by {behind:.1e}.")
        seconds[name] = measure.best_cpu_s(run, repeats)
    print(f"\nsign-constrained ridge, {len(states)} samples of {n} units")
    for name, s in seconds.items():
        print(f"  {name:38s} {1e3 * s:10.1f} ms {s / seconds['cortexrnn, solve_signed']:8.1f}x  {notes[name]}")


def compare_updates(options: argparse.Namespace) -> None:
    """Print the time of one recursive update."""
    states, target, signs = draw_problem(options.units)
    n = options.units
    warm_up = min(2 * n, len(states) - _N_UPDATES)
    free, signed = RLS().start(n, 1), SignedRLS(signs=tuple(signs.astype(int))).start(n, 1)
    inverse, weights = np.eye(n), np.zeros((1, n))
    flipped = np.ascontiguousarray(states * signs)

    def run_free(samples: range) -> None:
        for t in samples:
            rls_kernels.update(free, states[t], target[t : t + 1] - free.weights @ states[t])

    n_exchanges = []

    def run_signed(samples: range) -> None:
        n_exchanges.extend(rls_kernels.update_signed(signed, flipped[t], target[t : t + 1]) for t in samples)

    def run_numpy(samples: range) -> None:
        # As in the code that the authors of FORCE published, in place.
        for t in samples:
            k = inverse @ states[t]
            c = 1.0 / (1.0 + states[t] @ k)
            inverse[:] -= np.outer(k, k * c)
            weights[:] += c * (target[t] - weights @ states[t])[:, None] * k

    seconds = {}
    for name, run in (("cortexrnn", run_free), ("cortexrnn, signed", run_signed), ("NumPy", run_numpy)):
        run(range(warm_up))
        n_exchanges.clear()
        seconds[name] = measure.best_cpu_s(lambda run=run: run(range(warm_up, warm_up + _N_UPDATES)), 1) / _N_UPDATES
        if name == "cortexrnn, signed":
            mean_exchanges = np.mean(n_exchanges)
    np.testing.assert_allclose(free.weights, weights, rtol=1e-6, atol=1e-9)
    print(f"\none update of {n} units after {warm_up} samples ({mean_exchanges:.2f} exchanges an update with signs)")
    for name, s in seconds.items():
        print(f"  {name:38s} {1e6 * s:10.0f} us {s / seconds['cortexrnn']:8.1f}x")


def main() -> None:
    """Read the options and print both tables."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--units", type=int, default=1000)
    parser.add_argument("--without-scipy", action="store_true", help="leave out nnls, which takes long")
    options = parser.parse_args()
    print(measure.describe_machine())
    print(measure.describe_versions(_PACKAGES))
    with threadpool_limits(1):
        compare_solvers(options)
        compare_updates(options)


if __name__ == "__main__":
    main()
