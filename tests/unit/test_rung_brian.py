"""Fitted rungs that fire in Brian2. Oracles: `log_mu` of the finished spikes, and `simulate_copies`.

Both are given the same uniform numbers, so that spikes are the same and not only alike. What the rungs without networks
compute differs by the order of sums alone; the networks of the rungs are in single precision, those of Brian2 in
double.
"""

from __future__ import annotations

import ast
import subprocess
import sys
from dataclasses import dataclass, fields, replace
from typing import ClassVar

import numpy as np
import pytest
from scipy.stats import chi2, chi2_contingency

from cortexrnn.encoding import PSTH, RNN, CausalGain, Constant, Drift, HistoryGLM, Network, Renewal
from cortexrnn.encoding.constant import FittedConstant
from cortexrnn.encoding.contamination import FittedGuard, Guarded
from cortexrnn.encoding.glm import BoundedHistoryGLM, FittedHistoryGLM
from cortexrnn.encoding.markov import FittedMarkov
from cortexrnn.encoding.model import Fitted
from cortexrnn.encoding.network import BoundedNetwork, FittedNetwork
from cortexrnn.encoding.rnn import BoundedRNN, FittedRNN
from cortexrnn.encoding.simulation import simulate_copies
from cortexrnn.errors import DataWarning, NumericalError, OptionError

ROUND_OFF, SINGLE = 1e-11, 1e-5
QUICK = {"n_hidden": 6, "max_epochs": 4, "piece_s": 0.05}
SPECS = {
    "M1": PSTH(),
    "M2": Drift(),
    "M3": CausalGain(),
    "M4": Renewal(),
    "M5": HistoryGLM(),
    "M5 without baseline": HistoryGLM(baseline=None),
    "M5 on M4": HistoryGLM(baseline=Renewal(), history_s=0.05),
    "M5 bounded": HistoryGLM(history_s=0.05),
    "M5 guarded": HistoryGLM(history_s=0.05),
    "M5 bounded and guarded": HistoryGLM(history_s=0.05),
    "M6": RNN(**QUICK),
    "M6 bounded": RNN(**QUICK),
    "M6 guarded": RNN(**QUICK),
    "M6cut": RNN(uses_own_spikes=False, **QUICK),
    "M6 vanilla": Network(cell="vanilla", **QUICK),
    "M6 LSTM": Network(cell="lstm", **QUICK),
    "M6 GRU": Network(cell="gru", **QUICK),
    "M6 GRU bounded": Network(cell="gru", **QUICK),
    "M6 Dale": Network(cell="dale", **QUICK),
    "M6 Dale cut": Network(cell="dale", uses_own_spikes=False, **QUICK),
}
UNKNOWN = FittedMarkov(below=None, order=1, prior_count=1.0, log_factors=np.zeros(3), validation_log_likelihood=0.0)
BOUNDED = {FittedHistoryGLM: BoundedHistoryGLM, FittedRNN: BoundedRNN, FittedNetwork: BoundedNetwork}
NO_NUMBER = FittedConstant(below=None, mu=np.nan)
RUN = [sys.executable, "-W", "ignore"]


class Derived(FittedHistoryGLM):
    """A history GLM of which nobody knows what it does otherwise."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Level(Fitted):
    """A rung at one level, whatever the spikes."""

    looks_at_spikes: ClassVar[bool] = False
    below: Fitted | None = None
    level: float = 0.0

    def extend(self, trials, log_mu):
        return np.full(trials.counts.shape, self.level)


def _bursty(n_trials, n_bins, seed):
    """At most one spike a bin: a rate that varies in time and over trials, a dead time, bursts after silence."""
    rng = np.random.default_rng(seed)
    uniform, gain = rng.random((n_trials, n_bins)), rng.gamma(8.0, 1.0 / 8.0, n_trials)
    counts, since, left = np.zeros((n_trials, n_bins), int), np.full(n_trials, 100), np.zeros(n_trials, int)
    for t in range(n_bins):
        mu = gain * 0.03 * (1.0 + 0.8 * np.sin(t / 30.0))
        mu = np.where(since <= 2, 0.0, np.where((left > 0) & (since <= 12), 0.25, mu))
        spikes = uniform[:, t] < mu
        left = np.where(spikes, np.where(since > 50, 3, np.maximum(left - 1, 0)), left)
        since = np.where(spikes, 1, since + 1)
        counts[:, t] = spikes
    return counts


@pytest.fixture(scope="module")
def gappy(make_unit):
    """Twenty trials with two conditions, bursts, burn-in with a bin of three spikes, and bins that nobody observed."""
    observed = np.random.default_rng(2).random((20, 250)) < 0.98
    observed[3, :40] = False
    observed[5, 120:160] = False
    counts = _bursty(20, 250, seed=1)
    counts[2, 30] = 3
    observed[2, 30] = True
    return make_unit(counts, observed=observed, n_burn_in=60, condition=np.arange(20) % 2)


# The state updater of plastic synapses alone takes Brian2 seconds to derive.
SLOW = (
    "M5 without baseline", "M6 bounded", "M6 guarded", "M6cut", "M6 vanilla", "M6 LSTM", "M6 GRU", "M6 GRU bounded",
    "M6 Dale", "M6 Dale cut",
)  # fmt: skip


def _as(kind, fitted, **more):
    """Make a fitted rung one of another class."""
    return kind(**{each.name: getattr(fitted, each.name) for each in fields(fitted)} | more)


def _held_back(name, found, unit):
    """Give a rung a bound that one scored bin in ten meets, and a tenth of foreign spikes."""
    if "bounded" in name:
        bound = float(np.quantile(found.log_mu(unit)[unit.scored], 0.9))
        found = _as(BOUNDED[type(found)], found, log_bound=bound)
    return FittedGuard(below=found, share=0.1, mean=0.04) if "guarded" in name else found


@pytest.fixture(
    scope="module", params=[pytest.param(name, marks=pytest.mark.slow if name in SLOW else ()) for name in SPECS]
)
def fitted(request, gappy):
    """Every rung that can be exported, with a read-out that says something where training has found nothing."""
    found = SPECS[request.param].fit(gappy)
    if request.param.startswith("M6"):
        rng = np.random.default_rng(4)
        moves = np.ones(found.weights.size)
        if "Dale" in request.param:
            # What synapses of a class share, and what is not trained, stays as it is.
            model = found.network(n_steps=1).model
            places = model.parts(np.arange(model.theta.size))
            still = np.concatenate([places[name].ravel() for name in ("U", "tau_f_s", "tau_d_s", "start")])
            moves[still] = 0.0
            moves[: model.theta.size] *= model.moves
        weights = found.weights + (0.1 if "Dale" in request.param else 0.3) * moves * rng.normal(size=moves.size)
        found = replace(found, weights=weights.astype(np.float32))
        gain = found.log_mu(gappy) - found.below.log_mu(gappy)
        assert gain[gappy.scored].std() > 0.05
    return _held_back(request.param, found, gappy)


def _tolerance(fitted):
    """Single precision for networks, the order of sums for all others."""
    return SINGLE if any(hasattr(each, "scale") for each in (fitted, fitted.below)) else ROUND_OFF


def test_copies_are_those_of_our_own_simulation_to_the_spike(fitted, gappy):
    made = fitted.to_brian2(gappy, n_copies=3, seed=5, keeps_log_mu=True)
    counts = made.run()
    ours = simulate_copies(fitted, gappy, n_copies=3, likelihood="bernoulli", seed=5)
    np.testing.assert_array_equal(counts, ours.counts)
    assert counts.dtype == ours.counts.dtype
    assert counts[:, gappy.scored].sum() > 100
    assert counts[0, 2, 30] == 3
    for copy, log_mu in zip(counts, made.log_mu(), strict=True):
        expected = fitted.log_mu(gappy._replace(counts=copy))
        np.testing.assert_allclose(log_mu[gappy.scored], expected[gappy.scored], rtol=0, atol=_tolerance(fitted))


def test_on_the_recorded_spikes_log_mu_is_that_of_the_rung_in_every_scored_bin(fitted, gappy):
    """After the uniform numbers come others, which make neurons fire in scored bins as the unit did."""
    import brian2

    made = fitted.to_brian2(gappy, n_copies=2, keeps_log_mu=True)
    numbers = np.where(gappy.scored, np.where(gappy.counts > 0, -1.0, 2.0), 0.5)
    bins = iter(np.tile(numbers, (2, 1)).T)

    def force():
        made.objects.copies.uniform = next(bins)

    made.objects.network.add(brian2.NetworkOperation(force, clock=made.objects.copies.clock, when="start", order=1))
    counts = made.run()
    np.testing.assert_array_equal(counts, np.repeat(gappy.counts[None], 2, axis=0))
    expected = fitted.log_mu(gappy)
    for log_mu in made.log_mu():
        np.testing.assert_allclose(log_mu[gappy.scored], expected[gappy.scored], rtol=0, atol=_tolerance(fitted))


def test_a_bound_and_a_guard_are_there_in_the_copies(gappy):
    """To the bit for the bound; the guard lets nothing fall below its foreign spikes."""
    glm = HistoryGLM(history_s=0.05).fit(gappy)
    bounded, guarded = (_held_back(name, glm, gappy) for name in ("bounded", "guarded"))
    found = []
    for fitted in (glm, bounded, guarded):
        made = fitted.to_brian2(gappy, keeps_log_mu=True)
        made.run()
        found.append(made.log_mu()[0][gappy.scored])
    free, capped, mixed = found
    assert free.max() > bounded.log_bound == capped.max()
    least = np.log(0.1 * 0.04)
    assert free.min() < least < mixed.min()


@pytest.mark.parametrize("share", [1.0, 1e-6])
@pytest.mark.parametrize("level", [-1e4, -3.0, 700.0])
def test_a_guard_mixes_from_next_to_nothing_to_the_largest_number(share, level, make_unit):
    """Oracle: NumPy's logaddexp. A share of 1 leaves nothing of the rung, whose log is minus infinity."""
    unit = make_unit(np.zeros((3, 4)))
    fitted = FittedGuard(below=Level(level=level), share=share, mean=0.03)
    made = fitted.to_brian2(unit, keeps_log_mu=True)
    made.run()
    with np.errstate(divide="ignore"):
        expected = np.logaddexp(np.log1p(-share) + level, np.log(share * 0.03))
    np.testing.assert_allclose(made.log_mu()[0], expected, rtol=0, atol=1e-12)


def test_a_fitted_guard_is_exported_with_what_it_guards(gappy):
    fitted = Guarded(baseline=Renewal()).fit(gappy)
    counts = fitted.to_brian2(gappy, n_copies=2, seed=7).run()
    np.testing.assert_array_equal(
        counts, simulate_copies(fitted, gappy, n_copies=2, likelihood="bernoulli", seed=7).counts
    )


@pytest.fixture(scope="module")
def glm(gappy):
    """The history GLM on the trial gain."""
    return HistoryGLM(history_s=0.05).fit(gappy)


def test_every_lag_of_the_filter_is_a_synapse_with_its_own_delay(glm, gappy):
    made = glm.to_brian2(gappy, n_copies=2)
    lag_s, effect, _ = glm.filter()
    assert len(made.objects.synapses["history"]) == 40 * 50
    own = made.objects.synapses["history"].i[:] == 7
    # A spike acts on the bin after the step in which it arrives.
    np.testing.assert_allclose(
        np.asarray(made.objects.synapses["history"].delay)[own], lag_s - 0.001, rtol=0, atol=1e-12
    )
    np.testing.assert_array_equal(np.asarray(made.objects.synapses["history"].effect)[own], effect)


def test_the_network_is_brian2_own_and_can_be_changed_and_run_on(glm, gappy):
    import brian2

    made = glm.to_brian2(gappy, n_copies=2, seed=1)
    assert isinstance(made.objects.network, brian2.Network)
    # Without its filter the model is the rung below, but for the offset.
    made.objects.synapses["history"].effect = 0.0
    made.run()
    before = made.counts()
    made.objects.network.run(20 * brian2.ms, namespace={})
    np.testing.assert_array_equal(made.counts(), before)
    assert (before != glm.to_brian2(gappy, n_copies=2, seed=1).run()).any()


def test_log_mu_that_was_not_kept_is_not_given(glm, gappy):
    with pytest.raises(OptionError, match="log_mu was not kept"):
        glm.to_brian2(gappy).log_mu()


def test_nothing_of_brian2_or_numpy_is_changed_for_others(glm, gappy):
    import brian2

    before = brian2.prefs.codegen.target, np.random.get_state()[1].copy()  # noqa: NPY002 -- the state nobody may touch
    glm.to_brian2(gappy).run()
    assert brian2.prefs.codegen.target == before[0]
    np.testing.assert_array_equal(np.random.get_state()[1], before[1])  # noqa: NPY002


def test_brian2_is_loaded_by_the_first_call_only():
    statement = "import sys, cortexrnn.encoding.brian; print('brian2' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", statement], capture_output=True, text=True, check=True, timeout=60)
    assert done.stdout.strip() == "False"


def test_bins_that_hold_several_spikes_are_told_of(gappy):
    several = gappy._replace(counts=np.where(gappy.scored, 2 * gappy.counts, gappy.counts).astype(np.uint16))
    n_double = int((several.counts[several.scored] > 1).sum())
    fitted = Constant().fit(several)
    with pytest.warns(DataWarning, match=f"{n_double} scored bins hold more than one spike") as told:
        fitted.to_brian2(several)
    assert told[0].filename == __file__


@pytest.mark.parametrize(
    ("change", "options", "error", "message"),
    [
        (lambda glm: glm, {"n_copies": 0}, OptionError, "n_copies=0"),
        (lambda glm: glm, {"seed": -1}, OptionError, "seed=-1"),
        (lambda glm: replace(glm, below=glm), {}, OptionError, "FittedHistoryGLM below FittedHistoryGLM"),
        (
            lambda glm: _as(BoundedHistoryGLM, glm, below=glm, log_bound=0.0),
            {},
            OptionError,
            "FittedHistoryGLM below BoundedHistoryGLM",
        ),
        (lambda glm: _as(Derived, glm), {}, OptionError, "Derived cannot be exported"),
        (lambda glm: replace(glm, below=UNKNOWN), {}, OptionError, "FittedMarkov cannot be exported to Brian2"),
        (lambda glm: replace(glm, below=NO_NUMBER), {}, NumericalError, "NaN in 5000 bins"),
    ],
)
def test_what_cannot_be_exported_is_refused(change, options, error, message, glm, gappy):
    with pytest.raises(error, match=message):
        change(glm).to_brian2(gappy, **options)


def test_a_network_that_sees_more_than_spikes_and_baseline_is_refused(gappy):
    network = RNN(n_hidden=2, max_epochs=1).fit(gappy)
    wider = replace(network, weights=np.zeros(network.weights.size + 6, dtype=np.float32))
    with pytest.raises(OptionError, match="the network M6 has inputs beside the unit's own spikes"):
        wider.to_brian2(gappy)


def _run_script(path):
    """Run a script in another process and folder; give copy, trial and bin of every spike."""
    out = path.with_name("spikes.npz")
    done = subprocess.run(
        [*RUN, str(path), str(out)], cwd=path.parent, capture_output=True, text=True, check=False, timeout=300
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("mean rate ")
    with np.load(out, allow_pickle=False) as arrays:
        return arrays["copy"], arrays["trial"], arrays["bin"]


@pytest.mark.slow
def test_a_script_has_the_burn_in_of_the_trials_and_spikes_in_scored_bins_alone(glm, gappy, tmp_path):
    path = glm.to_brian2(gappy, n_copies=2).script().save(tmp_path / "unit.py")
    assert sorted(each.name for each in tmp_path.iterdir()) == ["unit.npz", "unit.py"]
    found = np.zeros((2, *gappy.counts.shape), dtype=int)
    np.add.at(found, _run_script(path), 1)
    assert found.max() == 1
    np.testing.assert_array_equal(found[0, :, :60], gappy.counts[:, :60] > 0)
    assert found[:, :, 60:][:, ~gappy.scored[:, 60:]].sum() == 0
    assert found[:, gappy.scored].sum() > 100


def test_a_script_refuses_the_arrays_of_another_one(glm, gappy, tmp_path):
    path = glm.to_brian2(gappy).script().save(tmp_path / "one.py")
    glm.to_brian2(gappy.take(np.arange(3))).script().save(tmp_path / "two.py")
    (tmp_path / "two.npz").replace(tmp_path / "one.npz")
    done = subprocess.run([*RUN, str(path)], capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == 1
    assert "belongs to another one: export the model again" in done.stderr


def test_a_script_is_short_imports_brian2_and_numpy_alone_and_wants_a_path_of_its_kind(fitted, gappy, tmp_path):
    script = fitted.to_brian2(gappy).script()
    tree = ast.parse(script.text)
    modules = {alias.name for node in ast.walk(tree) if isinstance(node, ast.Import) for alias in node.names}
    modules |= {node.module for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)}
    assert modules - set(sys.stdlib_module_names) == {"brian2", "numpy"}
    assert script.text.isascii()
    lines = script.text.splitlines()
    assert max(len(line) for line in lines) <= 120
    assert len(lines) < 400
    with pytest.raises(OptionError, match=r"no Python script; expected a name that ends in \.py"):
        script.save(tmp_path / "unit.txt")


def _psth_p(first, second):
    """Two-sided p of a difference between two PSTHs in windows of 10 ms, shape (n_copies, n_trials, n_bins) each.

    Hotelling's T^2 with the covariance over copies of the same trial, which is known well enough from 2500 of them to
    be compared with a chi-square distribution.
    """
    starts = np.arange(0, first.shape[2], 10)
    windows = [np.add.reduceat(counts.astype(float), starts, axis=2) for counts in (first, second)]
    difference = windows[0].mean(axis=(0, 1)) - windows[1].mean(axis=(0, 1))
    apart = np.concatenate([(each - each.mean(axis=0)).reshape(-1, difference.size) for each in windows])
    n_free = sum((len(each) - 1) * each.shape[1] for each in windows)
    covariance = apart.T @ apart / n_free * sum(1.0 / (each.shape[0] * each.shape[1]) for each in windows)
    return float(chi2.sf(difference @ np.linalg.solve(covariance, difference), difference.size))


def _interval_p(first, second):
    """Two-sided p of a difference between two histograms of intervals, which are taken to be independent."""
    edges = [1, 2, 3, 4, 5, 7, 10, 14, 20, 30, 50, 1000]
    table = []
    for counts in (first, second):
        intervals = [np.diff(np.flatnonzero(trial)) for trial in counts.reshape(-1, counts.shape[2])]
        table.append(np.histogram(np.concatenate(intervals), edges)[0])
    table = np.array(table)
    return float(chi2_contingency(table[:, table.sum(axis=0) > 10]).pvalue)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["M5", "M6", "M6 Dale"])
def test_500_exported_trials_have_the_psth_and_the_intervals_of_our_own(name, make_unit, tmp_path):
    """Scripts, which draw random numbers of their own, against four times as many copies of `simulate_copies`.

    Where the models are the same, both p are above 1e-3 but in one run of 500 (of 300 pairs of our own copies of M5,
    16 and 11 had one below .05, 3 and 2 below .01); the seeds are fixed. That the criterion can fail is seen on spikes
    of which a sixth is missing, and on the rung below.
    """
    spec = replace(SPECS[name], max_epochs=8) if name.startswith("M6") else SPECS[name]
    unit = make_unit(_bursty(20, 300, seed=3), n_burn_in=0)
    fitted = spec.fit(unit)
    path = fitted.to_brian2(unit, n_copies=25, seed=1).script().save(tmp_path / "unit.py")
    exported = np.zeros((25, *unit.counts.shape), dtype=int)
    exported[_run_script(path)] = 1
    settings = {"n_copies": 100, "likelihood": "bernoulli", "seed": 2}
    ours = simulate_copies(fitted, unit, **settings).counts
    assert _psth_p(exported, ours) > 1e-3
    assert _interval_p(exported, ours) > 1e-3
    kept = np.random.default_rng(6).random(ours.shape) > 1.0 / 6.0
    assert _psth_p(exported, ours * kept) < 1e-3
    assert _interval_p(exported, simulate_copies(fitted.below, unit, **settings).counts) < 1e-6
