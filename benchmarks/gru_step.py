"""Training step of a GRU at the size of spike fits: ours, JAX and PyTorch, one core, one run.

16 units, 16 trials, 500 steps, float32: loss and gradient of the recurrent rung's network under the Poisson
likelihood. The gradients are compared before anything is timed. Run ``python benchmarks/gru_step.py`` where JAX and
PyTorch are installed (``pip install ".[peers]"``). Ratios of one run are what counts; times depend on the machine.
"""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import torch
from measure import best_cpu_s, describe_machine, use_one_core

from cortexrnn.encoding.rnn import initial_weights
from cortexrnn.encoding.rnn_kernels import (
    LOG_BOUND,
    Tile,
    as_network,
    empty_workspace,
    run_network,
    tile_gradient,
)
from cortexrnn.numerics.lanes import N_LANES

N_HIDDEN, N_INPUTS, N_STEPS = 16, 2, 500
N_ROUNDS = 10


def main() -> None:
    """Check the gradients, time the steps in turns, print the table."""
    # XLA counts the cores when it runs for the first time.
    use_one_core()
    rng = np.random.default_rng(0)
    tile = Tile(
        inputs=rng.normal(size=(N_STEPS, N_INPUTS, N_LANES)).astype(np.float32),
        log_baseline=np.full((N_STEPS, N_LANES), -4.0, np.float32),
        counts=(rng.random((N_STEPS, N_LANES)) < 0.02).astype(np.float32),
        weight=np.full((N_STEPS, N_LANES), 1.0 / (N_STEPS * N_LANES), np.float32),
    )
    weights = initial_weights(N_INPUTS, N_HIDDEN, rng)
    weights[-(N_HIDDEN + N_INPUTS + 1) :] = rng.normal(size=N_HIDDEN + N_INPUTS + 1) * 0.3
    steps = {"ours": our_step(tile, weights), "JAX": jax_step(tile, weights), "PyTorch": torch_step(tile, weights)}
    gradients = {name: step() for name, step in steps.items()}
    for name, gradient in gradients.items():
        difference = np.abs(gradient - gradients["ours"]).max() / np.abs(gradients["ours"]).max()
        print(f"{name:8s} largest difference of the gradient, relative to its largest entry: {difference:.1e}")
        assert difference < 1e-4, "the answers differ"
    best_s = dict.fromkeys(steps, np.inf)
    for _ in range(N_ROUNDS):
        for name, step in steps.items():
            best_s[name] = min(best_s[name], best_cpu_s(step, 3))
    print(f"\n{describe_machine()}\nJAX {jax.__version__}, PyTorch {torch.__version__}")
    print(f"{N_HIDDEN} units, {N_LANES} trials, {N_STEPS} steps, float32, one core, best of {3 * N_ROUNDS} in turns")
    for name, taken_s in best_s.items():
        ratio = taken_s / best_s["ours"]
        print(f"{name:8s} {1e6 * taken_s / N_STEPS:7.2f} us a time step   {ratio:6.2f} times ours")


def our_step(tile, weights):
    """Run our forward sweep and adjoint."""
    work = empty_workspace(N_STEPS, N_HIDDEN)
    network = as_network(weights, N_INPUTS, N_HIDDEN)
    gradient = np.zeros_like(weights)
    total = as_network(gradient, N_INPUTS, N_HIDDEN)

    def step():
        work.tape.hidden[0] = network.gru.start[:, None]
        run_network(tile.inputs, network, work)
        gradient.fill(0.0)
        tile_gradient(tile, network, work, False, total)
        total.gru.start[:] = work.carried.sum(axis=1)
        return gradient.copy()

    return step


def jax_step(tile, weights):
    """Differentiate a scan, compiled; the input product stands outside the scan."""
    inputs, base, counts, weight = (jnp.asarray(np.ascontiguousarray(a)) for a in tile)
    inputs = inputs.transpose(0, 2, 1)

    def loss(flat):
        w = as_network.py_func(flat, N_INPUTS, N_HIDDEN)
        h = N_HIDDEN
        from_input = inputs @ w.gru.input.T + w.gru.input_bias

        def advance(state, gi):
            gh = state @ w.gru.hidden.T + w.gru.hidden_bias
            reset = jax.nn.sigmoid(gi[:, :h] + gh[:, :h])
            update = jax.nn.sigmoid(gi[:, h : 2 * h] + gh[:, h : 2 * h])
            new = jnp.tanh(gi[:, 2 * h :] + reset * gh[:, 2 * h :])
            state = (1.0 - update) * new + update * state
            return state, state

        _, states = jax.lax.scan(advance, jnp.broadcast_to(w.gru.start, (N_LANES, h)), from_input)
        eta = states @ w.readout + inputs @ w.skip + w.offset
        log_mu = base + LOG_BOUND * jnp.tanh(eta / LOG_BOUND)
        return jnp.sum(weight * (jnp.exp(log_mu) - counts * log_mu))

    compiled = jax.jit(jax.value_and_grad(loss))
    on_device = jnp.asarray(weights)
    return lambda: np.asarray(jax.block_until_ready(compiled(on_device))[1])


def torch_step(tile, weights):
    """Differentiate torch.nn.GRU by autograd."""
    torch.set_num_threads(1)
    inputs, base, counts, weight = (torch.tensor(a) for a in tile)
    inputs = inputs.permute(0, 2, 1).contiguous()
    gru = torch.nn.GRU(N_INPUTS, N_HIDDEN)
    w = as_network(weights, N_INPUTS, N_HIDDEN)
    with torch.no_grad():
        for parameter, values in zip(gru.parameters(), w.gru[:4], strict=True):
            parameter.copy_(torch.tensor(values))
    rest = [torch.tensor(v, requires_grad=True) for v in (w.gru.start, w.readout, w.skip, w.offset)]
    start, readout, skip, offset = rest

    def step():
        states, _ = gru(inputs, start.expand(1, N_LANES, N_HIDDEN).contiguous())
        eta = states @ readout + inputs @ skip + offset
        log_mu = base + LOG_BOUND * torch.tanh(eta / LOG_BOUND)
        loss = torch.sum(weight * (torch.exp(log_mu) - counts * log_mu))
        found = torch.autograd.grad(loss, [*gru.parameters(), *rest])
        return np.concatenate([g.numpy().ravel() for g in found])

    return step


if __name__ == "__main__":
    main()
