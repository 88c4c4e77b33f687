"""The spiking twin. Oracles: our rate model, Siegert's rate, and our event form of plasticity on the twin's spikes."""

from __future__ import annotations

import numpy as np
import pytest

from cortexrnn.cells.activation import Activation
from cortexrnn.cells.stp import ShortTermPlasticity, release_trains
from cortexrnn.circuit import Circuit, Input, Population, Projection, WeightLaw
from cortexrnn.dynamics.brian_layout import BrianRun
from cortexrnn.dynamics.lif import LIF, lif_rate_hz
from cortexrnn.dynamics.stimuli import Pulse
from cortexrnn.dynamics.twin import spiking_twin
from cortexrnn.errors import NumericalWarning, OptionError
from cortexrnn.evaluation import CompareOptions, RunSettings, compare, ladder
from cortexrnn.spikes.recording import Recording

DRIVE = {"drive": Pulse(amplitude=1.5)}
# Neurons whose first spike comes after such short runs.
pytestmark = pytest.mark.filterwarnings("ignore:.* have no spikes:cortexrnn.errors.DataWarning")
FACILITATING = ShortTermPlasticity(U=0.15, tau_f_s=0.5, tau_d_s=0.1)
MONGILLO = ShortTermPlasticity(U=0.15, tau_f_s=0.5, tau_d_s=0.1, convention="mongillo2008")
DEPRESSING = ShortTermPlasticity(U=0.5, tau_f_s=0.0, tau_d_s=0.2)


def pair(form="current", plasticity=FACILITATING, kind="softplus", bias=0.0, scale_hz=10.0):
    """One excitatory and one inhibitory unit; excitation of inhibition is plastic."""
    shape = Activation(kind=kind)
    populations = tuple(
        Population(name=name, size=1, sign=name, activation=shape, tau_s=tau_s, bias=bias)
        for name, tau_s in (("excitatory", 0.02), ("inhibitory", 0.01))
    )
    weights = {
        ("excitatory", "excitatory"): 0.4,
        ("excitatory", "inhibitory"): 2.0,
        ("inhibitory", "excitatory"): 0.8,
        ("inhibitory", "inhibitory"): 0.5,
    }
    projections = tuple(
        Projection(
            source=source,
            target=target,
            weights=WeightLaw(mean=weight),
            allow_autapses=True,
            plasticity="class" if (source, target) == ("excitatory", "inhibitory") else "",
        )
        for (source, target), weight in weights.items()
    )
    return Circuit(
        name="pair",
        form=form,
        populations=populations,
        projections=projections,
        plasticity={"class": plasticity},
        inputs=(Input(name="drive", target="excitatory"),),
        rate_scale_hz=scale_hz,
    )


def state_of_spikes(stp, recording, population, time_s):
    """Mean u, in the meaning of the rate form, and x of a population's neurons at a time, from their spikes."""
    neurons = np.flatnonzero(recording.units.population == population)
    chosen = recording.select(units=recording.units.index[neurons])
    times_s = chosen.ticks / chosen.tick_hz
    release, used, found = release_trains(stp, times_s, chosen.offsets)
    rest = stp.U if stp.convention == "mongillo2008" or stp.tau_f_s == 0.0 else 0.0
    u, x = np.full(neurons.size, rest), np.ones(neurons.size)
    for k in range(neurons.size):
        train = slice(chosen.offsets[k], chosen.offsets[k + 1])
        n = np.searchsorted(times_s[train], time_s, side="right")
        if n:
            last, since_s = chosen.offsets[k] + n - 1, time_s - times_s[train][n - 1]
            x[k] = 1.0 - (1.0 - (found[last] - release[last])) * np.exp(-since_s / stp.tau_d_s)
            if stp.tau_f_s > 0.0:
                u[k] = rest + (used[last] - rest) * np.exp(-since_s / stp.tau_f_s)
    if stp.convention == "tsodyks1998" and stp.tau_f_s > 0.0:
        u = u + stp.U * (1.0 - u)
    return u.mean(), x.mean()


@pytest.mark.parametrize("stp", [FACILITATING, MONGILLO, DEPRESSING])
def test_synapses_are_those_of_our_event_form_on_the_same_spikes(stp):
    """Both relax exactly; 1e-11 is some ten thousand roundings. Samples are of the step before, which ends there."""
    run = BrianRun(duration_s=0.2, dt_s=5e-4, stimulus=DRIVE, seed=3)
    twin = spiking_twin(pair(plasticity=stp), run, n_per_unit=40, bin_s=0.05)
    for at in (1, 3):
        sample = twin.rates.isel(time=at).sel(model="spiking", population="excitatory")
        u, x = state_of_spikes(stp, twin.recording, "excitatory", float(sample.time) - run.dt_s)
        assert float(sample.u) == pytest.approx(u, abs=1e-11)
        assert float(sample.x) == pytest.approx(x, abs=1e-11)
    assert np.isnan(twin.rates.x.sel(population="inhibitory")).all()


@pytest.mark.slow
@pytest.mark.parametrize("form", ["current", "rate"])
def test_steady_rates_and_synapses_are_those_of_the_rate_model(form):
    """Sampling error of 10 000 spikes in a network is 2 %; fit and spikes more regular than Poisson add as much."""
    run = BrianRun(duration_s=1.5, dt_s=2e-4, stimulus=DRIVE, seed=1)
    twin = spiking_twin(pair(form), run, n_per_unit=1000)
    mean = twin.rates.sel(time=slice(0.75, None)).mean("time")
    np.testing.assert_allclose(mean.rate[1], mean.rate[0], rtol=0.04)
    for variable in ("u", "x"):
        rate, spiking = mean[variable].sel(population="excitatory").values
        assert spiking == pytest.approx(rate, abs=0.02)
    # Not trivially so: the rates differ from those without recurrence or plasticity.
    assert not np.allclose(mean.rate[0, 0], 10.0 * np.log1p(np.exp(1.5)), rtol=0.05)


@pytest.mark.slow
def test_neurons_on_their_own_fire_at_siegerts_rate():
    """2000 neurons and 0.8 s at 9 to 70 Hz: a sampling error of 1 % at most, and less than 0.5 % from the step."""
    shape = Activation(kind="softplus")
    populations = tuple(
        Population(name=f"p{k}", size=1, sign="excitatory", activation=shape, bias=bias)
        for k, bias in enumerate((0.5, 2.0, 4.0, 7.0))
    )
    circuit = Circuit(name="free", populations=populations, rate_scale_hz=10.0)
    # A little change of the input, so that there is a curve to be fitted.
    initial = [0.0, 1.5, 3.5, 6.5]
    twin = spiking_twin(circuit, BrianRun(duration_s=1.0, dt_s=1e-4, initial=initial), n_per_unit=2000)
    measured = twin.rates.rate.sel(model="spiking", time=slice(0.2, None)).mean("time")
    for population in populations:
        transfer = twin.transfers[population.name]
        mean = transfer.offset + transfer.slope * population.bias
        expected = lif_rate_hz(mean, transfer.noise_sd, LIF(), dt_s=1e-4)
        assert float(measured.sel(population=population.name)) == pytest.approx(float(expected), rel=0.035)


@pytest.mark.slow
def test_the_recording_enters_a_comparison():
    run = BrianRun(duration_s=3.0, dt_s=5e-4, stimulus=DRIVE, seed=2)
    twin = spiking_twin(pair(), run, n_per_unit=20)
    recording = twin.recording
    assert isinstance(recording, Recording)
    assert recording.units.population.value_counts().to_dict() == {"excitatory": 20, "inhibitory": 20}
    assert recording.units.unit.tolist() == [0] * 20 + [1] * 20
    counted = recording.n_spikes / (40 * 3.0)
    assert counted == pytest.approx(float(twin.rates.rate.sel(model="spiking").mean()), rel=1e-9)
    trials = recording.blocks(block_s=0.25, history_s=0.1, units=recording.unit_ids[:1])
    result = compare(
        trials, models=ladder(("M0", "M4")), seed=1, options=CompareOptions(n_surrogates=2), run=RunSettings(workers=1)
    )
    assert {"M0", "M4"} <= set(result.scores.rung.values.tolist())
    assert np.isfinite(result.scores["log_likelihood"]).all()


def test_the_same_seed_gives_the_same_spikes_and_another_seed_others():
    units = Population(name="units", size=2, sign="excitatory", activation=Activation(kind="softplus"), tau_s=0.01)
    circuit = Circuit(name="free", populations=(units,), rate_scale_hz=10.0, initial_sd=1.0)
    ticks = [
        spiking_twin(circuit, BrianRun(duration_s=0.1, dt_s=5e-4, seed=seed), n_per_unit=50).recording.ticks
        for seed in (1, 1, 2)
    ]
    np.testing.assert_array_equal(ticks[0], ticks[1])
    assert not np.array_equal(ticks[0], ticks[2])


def test_an_activation_that_no_neuron_has_is_warned_of():
    """A sigmoid saturates and an LIF neuron does not. A warning is an error here, so that nothing is run."""
    run = BrianRun(duration_s=0.1, dt_s=5e-4, stimulus={"drive": Pulse(amplitude=20.0)})
    circuit = pair(kind="sigmoid", bias=-3.0, scale_hz=50.0)
    with pytest.raises(
        NumericalWarning, match=r"LIF neurons fire up to \d+(\.\d+)? Hz off the activation of 'excitatory'"
    ):
        spiking_twin(circuit, run, n_per_unit=5)


@pytest.mark.parametrize(
    ("circuit", "settings", "message"),
    [
        (Circuit.random(5, 1.0), {}, "has no rate_scale_hz"),
        (pair(), {"dt_s": 1e-3}, r"dt_s=0\.001 is too long for a membrane time constant of 0\.01 s"),
        (pair(), {"dt_s": 3e-4, "duration_s": 0.3}, r"bin_s=0\.005 is 16\.6667 steps of 1000"),
        (pair(), {"duration_s": 0.1005}, r"bin_s=0\.005 is 10 steps of 201"),
    ],
)
def test_what_has_no_spiking_twin_is_refused(circuit, settings, message):
    with pytest.raises(OptionError, match=message):
        spiking_twin(circuit, BrianRun(**({"dt_s": 5e-4} | settings)))
