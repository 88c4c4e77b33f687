"""The recurrent rung's network against PyTorch: stored states, losses and gradients in float64."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from cortexrnn.encoding.rnn_kernels import (
    LOG_BOUND,
    Tile,
    as_network,
    count_weights,
    empty_workspace,
    run_network,
    tile_gradient,
)

STORED = Path(__file__).parent / "data" / "gru_torch.npz"
NAMES = ["weight_ih", "weight_hh", "bias_ih", "bias_hh", "start", "readout", "skip", "offset"]


@pytest.fixture(scope="module")
def stored():
    with np.load(STORED, allow_pickle=False) as file:
        return dict(file)


def _run(stored, dtype=np.float64):
    """Tile, network and workspace of the stored problem after the forward sweep."""
    n_steps, n_inputs, _ = stored["inputs"].shape
    n_hidden = stored["readout"].size
    flat = np.concatenate([stored[name].ravel() for name in NAMES]).astype(dtype)
    assert flat.size == count_weights(n_inputs, n_hidden)
    network = as_network(flat, n_inputs, n_hidden)
    work = empty_workspace(n_steps, n_hidden, dtype)
    work.tape.hidden[0] = network.gru.start[:, None]
    tile = Tile(*(stored[name].astype(dtype) for name in ("inputs", "log_baseline", "counts", "weight")))
    run_network(tile.inputs, network, work)
    return tile, network, work


def test_bound_is_the_one_of_the_stored_arrays():
    assert LOG_BOUND == 8.0


def test_states_equal_pytorchs(stored):
    _, _, work = _run(stored)
    np.testing.assert_allclose(work.tape.hidden[1:], stored["states"], rtol=0, atol=1e-10)


@pytest.mark.parametrize("likelihood", ["poisson", "bernoulli"])
def test_loss_equals_pytorchs(stored, likelihood):
    tile, _, work = _run(stored)
    log_mu = tile.log_baseline + work.output
    mu, y = np.exp(log_mu), tile.counts
    terms = mu - y * log_mu if likelihood == "poisson" else (1 - y) * mu - y * np.log(-np.expm1(-mu))
    np.testing.assert_allclose(np.sum(tile.weight * terms), stored[f"loss_{likelihood}"], rtol=1e-10)


@pytest.mark.parametrize("likelihood", ["poisson", "bernoulli"])
def test_gradients_equal_pytorchs(stored, likelihood):
    tile, network, work = _run(stored)
    gradient = np.zeros(count_weights(tile.inputs.shape[1], network.readout.size))
    total = as_network(gradient, tile.inputs.shape[1], network.readout.size)
    tile_gradient(tile, network, work, likelihood == "bernoulli", total)
    found = [*total.gru[:4], work.carried.sum(axis=1), total.readout, total.skip, total.offset]
    for name, ours in zip(NAMES, found, strict=True):
        np.testing.assert_allclose(ours, stored[f"{likelihood}_{name}"], rtol=1e-10, atol=1e-10, err_msg=name)


def test_float32_gradients_agree_within_single_precision(stored):
    tile, network, work = _run(stored, np.float32)
    gradient = np.zeros(count_weights(tile.inputs.shape[1], network.readout.size), np.float32)
    tile_gradient(tile, network, work, False, as_network(gradient, tile.inputs.shape[1], network.readout.size))
    theirs = np.concatenate([stored[f"poisson_{name}"].ravel() for name in NAMES[:4]])
    # Sums of 320 terms of order one in float32, each the end of 20 steps.
    np.testing.assert_allclose(gradient[: theirs.size], theirs, rtol=0, atol=2e-5 * np.abs(theirs).max())
