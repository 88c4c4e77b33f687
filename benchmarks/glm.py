"""One unit's Poisson regression, 500 000 bins and 31 coefficients, beside scikit-learn, statsmodels and NeMoS.

Two problems: spike history alone, which our kernel fits without a design matrix, and a design matrix that the
user brings (20 stimulus lags and 10 history functions) through `fit_poisson`. Peers get the design matrix ready
made; its construction is timed apart. Every answer is checked against ours before anything is printed.

Run: python benchmarks/glm.py [--bins 500000] [--repeats 15] [--without-nemos] [--problem history]
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import warnings
from collections.abc import Callable
from dataclasses import dataclass

import measure

measure.use_one_core()

import numpy as np  # noqa: E402
from scipy.signal import lfilter  # noqa: E402

from cortexrnn import fit_poisson  # noqa: E402
from cortexrnn.encoding.arrays import UnitTrials  # noqa: E402
from cortexrnn.encoding.kernels import history_design, history_pass, thin_blocks  # noqa: E402
from cortexrnn.encoding.likelihood import POISSON  # noqa: E402
from cortexrnn.encoding.newton import approach, maximise, thinning  # noqa: E402

_BIN_S = 1e-3
_BASE_RATE = 0.02
_N_STIMULUS_LAGS = 20
# Nats of the whole likelihood by which an answer may lie below ours, and still count as the same answer.
_SAME_NATS = 0.05
_PACKAGES = ("cortexrnn", "numpy", "scipy", "numba", "scikit-learn", "statsmodels", "nemos", "jax")
_GOALS = "goals: at least 5 x scikit-learn newton-cholesky, 200 x NeMoS LBFGS, less than 10 MB of extra memory"


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Problem:
    """A regression for peers: covariates without the constant, and counts.

    Attributes
    ----------
    name : str
    covariates : ndarray, shape (n_bins, 30)
    counts : ndarray of float64, shape (n_bins,)
    ours : callable
        Fits and gives intercept and weights, shape (31,).
    """

    name: str
    covariates: np.ndarray
    counts: np.ndarray
    ours: Callable[[], np.ndarray]

    def log_likelihood(self, weights: np.ndarray) -> float:
        """Give the Poisson log-likelihood without log(y!)."""
        eta = weights[0] + self.covariates @ weights[1:]
        return float(self.counts @ eta - np.exp(eta).sum())


def raised_cosines(n_basis: int, n_lags: int, offset: float) -> np.ndarray:
    """Give raised cosines over log(lag + offset), shape (n_basis, n_lags), all of them distinguishable."""
    position = np.log(np.arange(1, n_lags + 1) + offset)
    spacing = (position[-1] - position[0]) / n_basis
    peaks = position[0] + spacing * np.arange(n_basis)
    phase = np.clip((position - peaks[:, None]) * np.pi / (2.0 * spacing), -np.pi, np.pi)
    return np.ascontiguousarray(0.5 * (1.0 + np.cos(phase)))


def simulate(drive: np.ndarray, effect: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Draw one spike at most a bin from a log rate `drive` and a spike's `effect` on the bins after it."""
    chance = rng.random(drive.size)
    log_rate = np.concatenate([drive, np.zeros(effect.size)])
    spikes = np.zeros(drive.size, dtype=np.uint16)
    for t in range(drive.size):
        if chance[t] < np.exp(log_rate[t]):
            spikes[t] = 1
            log_rate[t + 1 : t + 1 + effect.size] += effect
    return spikes


def history_problem(n_bins: int) -> Problem:
    """Make the problem of 30 history functions over half a second."""
    rng = np.random.default_rng(1)
    basis = raised_cosines(30, 500, 10.0)
    effect = -4.0 * np.exp(-np.arange(1, 501) / 3.0) + 0.3 * np.exp(-np.arange(1, 501) / 60.0)
    burn_in = basis.shape[1]
    spikes = simulate(np.full(n_bins + burn_in, np.log(_BASE_RATE)), effect, rng)
    scored = np.arange(spikes.size) >= burn_in
    trials = UnitTrials(
        counts=spikes[None],
        observed=np.ones((1, spikes.size), dtype=bool),
        scored=scored[None],
        condition=np.zeros(1, dtype=np.int64),
        start_s=np.zeros(1),
        bin_s=_BIN_S,
        is_locked=False,
    )
    log_mu = np.zeros(trials.counts.shape)
    mask = np.ones(1, dtype=bool)
    start = np.zeros(31)
    start[0] = np.log(spikes[scored].mean())

    def ours() -> np.ndarray:
        design = history_design(trials, basis, float(np.exp(start[0])))

        def pass_over(bins: np.ndarray) -> Callable:
            return lambda weights: history_pass(weights, design, trials.counts, bins, log_mu, mask, POISSON, True)

        # As `HistoryGLM` does for one ridge.
        near, every = start, thinning(int(spikes[scored].sum()), start.size)
        while every > 1:
            near = approach(pass_over(thin_blocks(trials.scored, every)), near, np.zeros(31))
            every //= 4
        return maximise(pass_over(trials.scored), near, np.zeros(31), tolerance_nats=1e-6).weights

    return Problem(
        name="30 history functions, no design matrix",
        covariates=history_columns(spikes, basis)[burn_in:],
        counts=spikes[burn_in:].astype(float),
        ours=ours,
    )


def design_problem(n_bins: int) -> Problem:
    """Make the problem of a user's design matrix with 20 stimulus lags and 10 history functions."""
    rng = np.random.default_rng(2)
    stimulus = rng.standard_normal(n_bins)
    lag = np.arange(_N_STIMULUS_LAGS)
    stimulus_filter = 0.3 * np.exp(-lag / 5.0) * np.sin(lag / 3.0 + 1.0)
    basis = raised_cosines(10, 100, 1.0)
    effect = np.r_[-3.0, -1.0, -0.5, np.full(7, -0.05)] @ basis
    spikes = simulate(np.log(_BASE_RATE) + lfilter(stimulus_filter, 1.0, stimulus), effect, rng)
    design = np.ones((n_bins, 31))
    for j in range(_N_STIMULUS_LAGS):
        design[:j, 1 + j] = 0.0
        design[j:, 1 + j] = stimulus[: n_bins - j]
    design[:, 1 + _N_STIMULUS_LAGS :] = history_columns(spikes, basis)
    return Problem(
        name="a design matrix given to fit_poisson",
        covariates=np.ascontiguousarray(design[:, 1:]),
        counts=spikes.astype(float),
        ours=lambda: fit_poisson(design, spikes).coefficients,
    )


def history_columns(spikes: np.ndarray, basis: np.ndarray) -> np.ndarray:
    """Give the history part of a design matrix, shape (n_bins, n_basis): what our kernel never makes."""
    columns = np.zeros((spikes.size, basis.shape[0]))
    for k, function in enumerate(basis):
        columns[:, k] = lfilter(np.r_[0.0, function], 1.0, spikes.astype(float))
    return columns


def peers(problem: Problem, *, with_nemos: bool) -> dict[str, tuple[Callable[[], np.ndarray], int]]:
    """Give every peer that is installed: its fit, and how often to repeat it at most."""
    found: dict[str, tuple[Callable[[], np.ndarray], int]] = {}
    for add in (_add_scikit_learn, _add_statsmodels) + ((_add_nemos,) if with_nemos else ()):
        try:
            add(found, problem)
        except ImportError as error:
            print(f"left out: {error}")
    return found


def _add_scikit_learn(found: dict, problem: Problem) -> None:
    """Add both solvers of PoissonRegressor."""
    from sklearn.linear_model import PoissonRegressor

    def fit(solver: str, tolerance: float) -> np.ndarray:
        model = PoissonRegressor(alpha=0.0, solver=solver, tol=tolerance, max_iter=1000)
        model.fit(problem.covariates, problem.counts)
        return np.r_[model.intercept_, model.coef_]

    found["scikit-learn newton-cholesky"] = (lambda: fit("newton-cholesky", 1e-8), 5)
    found["scikit-learn lbfgs"] = (lambda: fit("lbfgs", 1e-6), 3)


def _add_statsmodels(found: dict, problem: Problem) -> None:
    """Add the iteratively reweighted least squares of statsmodels."""
    import statsmodels.api as sm

    design = np.column_stack([np.ones(problem.counts.size), problem.covariates])
    found["statsmodels IRLS"] = (lambda: sm.GLM(problem.counts, design, family=sm.families.Poisson()).fit().params, 1)


def _add_nemos(found: dict, problem: Problem) -> None:
    """Add NeMoS in float64."""
    import jax

    jax.config.update("jax_enable_x64", True)
    import nemos

    covariates, counts = jax.numpy.asarray(problem.covariates), jax.numpy.asarray(problem.counts)

    def fit() -> np.ndarray:
        model = nemos.glm.GLM(solver_name="LBFGS", solver_kwargs={"maxiter": 1000, "tol": 1e-8})
        model.fit(covariates, counts)
        return np.r_[np.ravel(model.intercept_), np.ravel(model.coef_)]

    found["NeMoS LBFGS"] = (fit, 1)


def compare(problem: Problem, repeats: int, *, with_nemos: bool) -> None:
    """Check that all answers agree, then print times, ratios and memory of one problem."""
    n_bins, n_covariates = problem.covariates.shape
    print(f"\n{problem.name}: {n_bins} bins, {n_covariates + 1} coefficients, {int(problem.counts.sum())} spikes")
    contenders = {"cortexrnn": (problem.ours, repeats)} | peers(problem, with_nemos=with_nemos)
    answers, memory = {}, {}
    for name, (fit, n) in contenders.items():
        # The first call compiles what has to be compiled; where calls are dear, memory is that of the first.
        if n > 1:
            answers[name] = fit()
        memory[name] = measure.peak_extra_mib(lambda name=name, fit=fit: answers.update({name: fit()}))
    best = problem.log_likelihood(answers["cortexrnn"])
    missing = {name: best - problem.log_likelihood(answer) for name, answer in answers.items()}
    for name, nats in missing.items():
        if not abs(nats) < _SAME_NATS:
            print(f"  {name} stops {nats:.2g} nats below our optimum: its time is not of the same answer")
    times_s = {name: measure.best_cpu_s(fit, n) for name, (fit, n) in contenders.items()}
    print(f"  {'':30s} {'s':>9s} {'ratio':>8s} {'extra MiB':>10s} {'nats below ours':>16s} {'max |dw|':>9s}")
    for name, seconds in times_s.items():
        apart = np.abs(answers[name] - answers["cortexrnn"]).max()
        ratio = seconds / times_s["cortexrnn"]
        print(f"  {name:30s} {seconds:9.3f} {ratio:8.1f} {memory[name]:10.1f} {missing[name]:16.1e} {apart:9.1e}")


PROBLEMS = {"history": history_problem, "design": design_problem}


def main() -> None:
    """Read the options and run every problem in a process of its own, whose memory nothing else has stirred."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--bins", type=int, default=500_000)
    parser.add_argument("--repeats", type=int, default=15)
    parser.add_argument("--without-nemos", action="store_true", help="leave NeMoS out (it takes most of the time)")
    parser.add_argument("--problem", choices=PROBLEMS, help="run this one only")
    options = parser.parse_args()
    if options.problem:
        # Peers warn of iteration limits and missing accelerators; what counts is the answer, which is checked.
        warnings.simplefilter("ignore")
        compare(PROBLEMS[options.problem](options.bins), options.repeats, with_nemos=not options.without_nemos)
        return
    print(measure.describe_machine())
    print(measure.describe_versions(_PACKAGES))
    print(_GOALS, flush=True)
    for name in PROBLEMS:
        subprocess.run([sys.executable, __file__, *sys.argv[1:], "--problem", name], check=True)


if __name__ == "__main__":
    main()
