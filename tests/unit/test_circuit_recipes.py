"""Published recipes for the weights at the start. Oracles: the authors' formulas by hand, and the drawn spectrum."""

from __future__ import annotations

import numpy as np
import pytest

from cortexrnn.circuit import audit_signs, build_weights, dann_recipe, predict_spectrum, spectral_recipe
from cortexrnn.circuit.files import circuit_from_toml, circuit_to_toml
from cortexrnn.errors import OptionError


def test_the_spectral_recipe_has_the_papers_weights():
    """90 and 10: 1/s^2 = 0.8408451 x 900 = 756.7606, so s = 0.0363512 and nine times that.

    Without autapses the bulk's square is the larger eigenvalue of ((89, 810), (90, 729)) s^2, 827.688 s^2.
    """
    circuit = spectral_recipe(90, 10, radius=None)
    means = {(p.source, p.target): p.weights.mean for p in circuit.projections}
    assert means["excitatory", "inhibitory"] == means["excitatory", "excitatory"] == pytest.approx(0.0363512, rel=1e-5)
    assert means["inhibitory", "inhibitory"] == means["inhibitory", "excitatory"] == pytest.approx(0.3271610, rel=1e-5)
    assert {p.weights.law for p in circuit.projections} == {"exponential"}
    assert predict_spectrum(circuit).radius == pytest.approx(1.045812, rel=1e-5)
    assert circuit.form == "rate"


@pytest.mark.parametrize("seed", [0, 7])
def test_the_spectral_radius_is_what_was_asked_for(seed):
    """Largest absolute eigenvalue of the drawn weights, 1e-12: scaling a law scales its draws; signs are kept."""
    circuit = spectral_recipe(32, 8, radius=1.5, seed=seed)
    weights = build_weights(circuit).static
    assert np.abs(np.linalg.eigvals(weights)).max() == pytest.approx(1.5, rel=1e-12)
    audit_signs(weights, circuit.signs)
    assert not weights.diagonal().any()
    drawn = build_weights(spectral_recipe(32, 8, radius=None, seed=seed)).static
    np.testing.assert_allclose(weights / weights[0, 1], drawn / drawn[0, 1], rtol=1e-12)


def test_the_start_of_a_dann_has_the_papers_weights():
    """41 and 4: excitation 1/sqrt(3 x 40) with autapses, no inhibition of inhibition; 3 deviations of the mean."""
    circuit = dann_recipe(41, 4, seed=3)
    weights = audit_signs(build_weights(circuit).static, circuit.signs)
    mean = 120.0**-0.5
    assert weights[:41, :41].mean() == pytest.approx(mean, abs=3.0 * mean / 41.0)
    assert weights[:41, :41].std() == pytest.approx(mean, rel=0.1)
    assert weights.diagonal()[:41].all()
    assert not weights[41:, 41:].any()
    assert weights[:41, 41:].sum(axis=1).mean() == pytest.approx(-1.0, abs=3.0 * 0.5 / np.sqrt(41.0))


@pytest.mark.parametrize("circuit", [spectral_recipe(8, 2), dann_recipe(8, 2)])
def test_a_recipe_comes_back_from_its_own_text(circuit):
    assert circuit_from_toml(circuit_to_toml(circuit).encode(), where="recipe") == circuit


@pytest.mark.parametrize(("recipe", "sizes", "field"), [
    (spectral_recipe, (0, 2), "n_excitatory"), (spectral_recipe, (8, 0), "n_inhibitory"),
    (dann_recipe, (1, 1), "n_excitatory"), (dann_recipe, (8, 1.5), "n_inhibitory"),
])  # fmt: skip
def test_sizes_that_make_no_network_are_refused(recipe, sizes, field):
    """No units of a sign; one excitatory unit, whose deviation would be infinite; half a unit."""
    with pytest.raises(OptionError, match=field):
        recipe(*sizes)


def test_a_radius_below_zero_is_refused():
    with pytest.raises(OptionError, match="radius"):
        spectral_recipe(8, 2, radius=-1.0)
