"""Gradient flow: products of derivatives, their bounds, and gates as leaks.

Oracles: products multiplied out and decomposed by NumPy, linear networks, the equations of an LSTM written out, and
the Lyapunov exponents of `cortexrnn.theory.lyapunov`.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from cortexrnn.cells.recurrent import CELLS
from cortexrnn.circuit import Circuit, build_weights
from cortexrnn.errors import DataError, NumericalError, OptionError
from cortexrnn.report import lyapunov as figures
from cortexrnn.report.figure_file import own_axes
from cortexrnn.theory.gates import driven_jacobians, driven_states, forget_times
from cortexrnn.theory.gradient_flow import ProductOptions, gradient_flow, jacobian_products, step_bound
from cortexrnn.theory.lyapunov import LyapunovOptions, lyapunov
from cortexrnn.theory.rate_system import circuit_system

EVERY_LAG = ProductOptions(n_values=3, n_lags=30)


def some_jacobians(n_steps=30, size=5, seed=0):
    return np.random.default_rng(seed).normal(size=(n_steps, size, size))


def test_singular_values_are_those_of_the_products_multiplied_out():
    """Thirty random factors, both ways, every lag; those that rounding does not hide, to 1e-9."""
    factors = some_jacobians()
    found = jacobian_products(factors, dt_s=1.0, options=EVERY_LAG)
    for direction, order in (("backward", [f.T for f in factors[::-1]]), ("forward", factors)):
        product = np.eye(5)
        for lag, factor in enumerate(order, start=1):
            product = factor @ product
            values = np.linalg.svd(product, compute_uv=False)[:3]
            one = found.products.sel(direction=direction, lag=lag)
            known = np.isfinite(one["log_value"].values)
            assert known[0]
            # What is shown is a hundred times above the rounding of the largest.
            np.testing.assert_allclose(one["log_value"].values[known], np.log(values[known]), rtol=0, atol=0.02)
            assert float(one["log_value"][0]) == pytest.approx(np.log(values[0]), abs=1e-12)
            assert float(one["log_norm"]) == pytest.approx(np.log(np.linalg.norm(product)), abs=1e-12)


def test_both_ways_end_in_the_same_product():
    """After all steps the two are transposes of each other: the same singular values."""
    products = jacobian_products(some_jacobians(), dt_s=1.0, options=EVERY_LAG).products
    last = products["log_value"].isel(lag=-1)
    np.testing.assert_allclose(last.sel(direction="backward"), last.sel(direction="forward"), atol=1e-9)


def test_a_normal_linear_network_grows_as_its_eigenvalues_say():
    """Symmetric weights: singular values are powers; rate, exponent and discount are those of the largest, 1e-12."""
    basis = np.linalg.qr(np.random.default_rng(0).normal(size=(4, 4)))[0]
    matrix = basis @ np.diag([0.95, 0.6, 0.4, 0.3]) @ basis.T
    found = jacobian_products([matrix] * 400, dt_s=0.01, options=ProductOptions(n_values=2))
    np.testing.assert_allclose(
        found.products["log_value"].sel(direction="backward")[:, 0],
        found.products["lag"] * np.log(0.95), rtol=1e-12,
    )  # fmt: skip
    assert found.growth_per_s == pytest.approx(np.log(0.95) / 0.01, rel=1e-12)
    assert found.lyapunov_per_s == pytest.approx(np.log(0.95) / 0.01, rel=1e-9)
    assert found.discount == pytest.approx(0.95, rel=1e-12)
    assert found.horizon_s == pytest.approx(-0.01 / np.log(0.95), rel=1e-12)


@pytest.mark.parametrize("scale", [1e-3, 1.0, 1e3])
def test_products_far_outside_the_range_of_numbers_keep_their_logarithms(scale):
    """Three hundred factors of 1e-3 or 1e3: 1e-900 and 1e900."""
    found = jacobian_products([scale * np.eye(3)] * 300, dt_s=1.0)
    expected = 300.0 * np.log(scale) + 0.5 * np.log(3.0)
    assert float(found.products["log_norm"][0, -1]) == pytest.approx(expected, rel=1e-12)
    assert found.discount == pytest.approx(scale, rel=1e-12)
    assert found.horizon_s == (np.inf if scale >= 1.0 else pytest.approx(-1.0 / np.log(scale)))


def test_gradients_of_a_chaotic_network_grow_at_the_lyapunov_exponent():
    """40 units at g = 8, 500 tau: the same derivatives to 1 %, `lyapunov` over the same steps within 5 %."""
    system = circuit_system(Circuit.random(40, gain=8.0, seed=3, tau_s=0.01), dt_s=1e-3)
    start = system.start(1, seed=0)
    found = gradient_flow(system, n_steps=5000, transient_s=1.0, start=start, options=ProductOptions(n_lags=40))
    assert found.growth_per_s == pytest.approx(found.lyapunov_per_s, rel=0.01)
    options = LyapunovOptions(start=start)
    exponent = lyapunov(system, n=1, duration_s=5.0, transient_s=1.0, options=options).exponents_per_s[0]
    assert exponent > 0.0
    forward = found.products["log_value"].sel(direction="forward")[:, 0]
    assert float(forward[-1]) / 5.0 == pytest.approx(exponent, rel=0.05)
    assert found.discount > 1.0


@pytest.mark.parametrize("form", ["current", "rate"])
def test_no_product_exceeds_the_power_of_the_bound(form):
    """Leaky networks in both forms and a vanilla one, at every lag and both ways; equality for orthogonal weights."""
    circuit = Circuit.random(30, gain=1.5, seed=3, tau_s=0.01)
    system = circuit_system(replace(circuit, form=form), dt_s=2e-3)
    bound = step_bound(build_weights(circuit).total(), move=-np.expm1(-0.2))
    found = gradient_flow(system, n_steps=60, options=ProductOptions(step_bound=bound)).products
    assert np.all(found["log_value"][:, :, 0] <= found["log_bound"] + 1e-12)
    weights = CELLS["vanilla"].draw(2, 12, seed=0, dtype=np.float64)
    factors = driven_jacobians("vanilla", weights, np.random.default_rng(0).normal(size=(40, 2)))
    options = ProductOptions(step_bound=step_bound(weights.hidden))
    vanilla = jacobian_products(factors, dt_s=1.0, options=options).products
    assert np.all(vanilla["log_value"][:, :, 0] <= vanilla["log_bound"] + 1e-12)
    turn = np.linalg.qr(np.random.default_rng(0).normal(size=(4, 4)))[0]
    exact = jacobian_products([turn] * 20, dt_s=1.0, options=ProductOptions(step_bound=step_bound(turn))).products
    np.testing.assert_allclose(exact["log_value"][0, :, 0], exact["log_bound"], atol=1e-12)


def test_the_gradient_of_a_loss_is_followed_back():
    """Its length at every lag is that of the row vector times the products; the discount is its own."""
    factors, gradient = some_jacobians(12), np.arange(1.0, 6.0)
    options = ProductOptions(n_lags=12, loss_gradient=gradient)
    found = jacobian_products(factors, dt_s=1.0, options=options)
    row, logs = gradient, []
    for factor in factors[::-1]:
        row = row @ factor
        logs.append(np.log(np.linalg.norm(row)))
    np.testing.assert_allclose(found.products["log_gradient"], logs, rtol=0, atol=1e-12)
    assert found.discount == pytest.approx(np.exp((logs[-1] - logs[3]) / 8.0), rel=1e-12)


def test_a_gradient_that_vanishes_at_once_is_zero_and_no_error():
    """Nilpotent weights: after two steps nothing is left."""
    found = jacobian_products([np.array([[0.0, 1.0], [0.0, 0.0]])] * 10, dt_s=1.0)
    values = found.products["log_value"].sel(direction="backward")[:, 0]
    assert float(values[0]) == 0.0
    assert np.all(values[1:] == -np.inf)


def test_what_is_not_finite_or_does_not_fit_is_refused():
    """A NaN among the derivatives; too few; not square; a gradient of another size; options out of range."""
    factors = some_jacobians(10)
    broken = factors.copy()
    broken[4, 0, 0] = np.nan
    with pytest.raises(NumericalError, match="not finite, 6 steps along"):
        jacobian_products(broken, dt_s=1.0)
    with pytest.raises(DataError, match="7 derivatives were given"):
        jacobian_products(factors[:7], dt_s=1.0)
    with pytest.raises(DataError, match="of the shape"):
        jacobian_products(factors[:, :2], dt_s=1.0)
    with pytest.raises(OptionError, match="loss_gradient is not valid; expected 5"):
        jacobian_products(factors, dt_s=1.0, options=ProductOptions(loss_gradient=np.ones(3)))
    with pytest.raises(OptionError, match="n_lags=2"):
        ProductOptions(n_lags=2)
    with pytest.raises(OptionError, match="expected at most 1"):
        step_bound(np.eye(2), move=1.5)


def sigmoid(z):
    return 1.0 / (1.0 + np.exp(-z))


def lstm_by_hand(weights, inputs):
    """States and forget gates of an LSTM as its equations stand in the module of the cell."""
    n = weights.start.shape[1]
    h = np.tile(weights.start[0], (len(inputs), 1))
    c = np.tile(weights.start_cell[0], (len(inputs), 1))
    states, gates = [np.hstack([h, c])], []
    for now in inputs.transpose(1, 0, 2):
        z = now @ weights.input.T + weights.input_bias + h @ weights.hidden.T + weights.hidden_bias
        i, f, g, o = z[:, :n], z[:, n : 2 * n], z[:, 2 * n : 3 * n], z[:, 3 * n :]
        c = sigmoid(f) * c + sigmoid(i) * np.tanh(g)
        h = sigmoid(o) * np.tanh(c)
        states.append(np.hstack([h, c]))
        gates.append(sigmoid(f))
    return np.stack(states, axis=1), np.stack(gates, axis=1)


def test_forget_gates_are_leaks():
    """Twenty trials, more than a tile: states, gates and time constants by hand, 1e-12."""
    weights = CELLS["lstm"].draw(3, 7, seed=1, dtype=np.float64)
    weights = weights._replace(start=np.full((1, 7), 0.2), start_cell=np.full((1, 7), -0.3))
    inputs = np.random.default_rng(0).normal(size=(20, 15, 3))
    states, gates = lstm_by_hand(weights, inputs)
    np.testing.assert_allclose(driven_states("lstm", weights, inputs), states, rtol=0, atol=1e-12)
    found = forget_times(weights, inputs, dt_s=0.01)
    np.testing.assert_allclose(found["gate"], gates, rtol=0, atol=1e-12)
    np.testing.assert_allclose(found["tau_s"], -0.01 / np.log(gates).mean(axis=(0, 1)), rtol=1e-12)
    np.testing.assert_allclose(found["tau_low_s"], -0.01 / np.log(np.quantile(gates, 0.1, axis=(0, 1))), rtol=0.02)
    assert np.all(found["tau_low_s"] <= found["tau_s"])
    assert np.all(found["tau_s"] <= found["tau_high_s"])


def test_a_cell_keeps_for_the_time_constant_of_its_gate():
    """No weights but a forget bias of 3, gates 1 / (1 + exp(-3)): the cell's own derivative decays with that leak."""
    weights = CELLS["lstm"].draw(1, 2, seed=0, dtype=np.float64)
    weights = type(weights)(*(np.zeros_like(part) for part in weights))
    weights.input_bias[2:4] = 3.0
    inputs = np.zeros((1, 60, 1))
    tau_s = float(forget_times(weights, inputs, dt_s=1.0)["tau_s"][0])
    assert tau_s == pytest.approx(-1.0 / np.log(sigmoid(3.0)), rel=1e-12)
    found = jacobian_products(driven_jacobians("lstm", weights, inputs[0]), dt_s=1.0)
    assert found.horizon_s == pytest.approx(tau_s, rel=1e-9)


@pytest.mark.parametrize("kind", ["vanilla", "lstm", "gru"])
def test_driven_derivatives_are_those_of_central_differences(kind):
    """Of the state after all steps with respect to the start, against the product of the steps; 1e-8."""
    weights = CELLS[kind].draw(2, 4, seed=2, dtype=np.float64)
    inputs = np.random.default_rng(1).normal(size=(6, 2))
    starts = [name for name in weights._fields if name.startswith("start")]
    product = np.linalg.multi_dot(driven_jacobians(kind, weights, inputs)[::-1])
    columns = []
    for name in starts:
        for k in range(4):
            ends = []
            for move in (1e-6, -1e-6):
                moved = getattr(weights, name).copy()
                moved[0, k] += move
                ends.append(driven_states(kind, weights._replace(**{name: moved}), inputs[None])[0, -1])
            columns.append((ends[0] - ends[1]) / 2e-6)
    np.testing.assert_allclose(product, np.transpose(columns), rtol=0, atol=1e-8)


def test_what_does_not_fit_a_cell_is_refused():
    """Another number of inputs; values that are not finite; a cell that is not driven here."""
    weights = CELLS["gru"].draw(2, 4, seed=0)
    with pytest.raises(DataError, match="trials, steps and 2 inputs"):
        driven_states("gru", weights, np.zeros((3, 5, 1)))
    with pytest.raises(DataError, match="not finite"):
        driven_states("gru", weights, np.full((3, 5, 2), np.nan))
    with pytest.raises(OptionError, match="expected one of vanilla, lstm, gru"):
        driven_states("ode", weights, np.zeros((3, 5, 2)))


def test_figures_show_products_and_gates(tmp_path):
    """The largest singular value in powers of ten; a point a unit."""
    found = jacobian_products(some_jacobians(40), dt_s=1.0, options=ProductOptions(step_bound=8.0))
    ax = found.plot()
    largest = next(line for line in ax.lines if line.get_label() == "largest")
    np.testing.assert_allclose(
        largest.get_ydata(), found.products["log_value"].sel(direction="backward")[:, 0] / np.log(10.0)
    )
    weights = CELLS["lstm"].draw(1, 6, seed=0, dtype=np.float64)
    gates = forget_times(weights, np.zeros((2, 5, 1)), dt_s=1.0)
    points = figures.plot_forget_times(own_axes(), gates).lines[0].get_ydata()
    np.testing.assert_allclose(points, np.sort(gates["tau_s"].values))
    products = found.products.assign(lyapunov=found.rates["lyapunov"])
    files = figures.draw_lyapunov(tmp_path, products=products, gates=gates)
    assert [path.name for path in files] == ["gradient_flow.svg", "forget_times.svg"]
