"""A training step of a rate network: loss and gradient by ours and by JAX, on one core and on two, in one run.

A leaky network of 256 tanh units, 64 trials, 500 steps, float32, mean squared error on two outputs; and an
excitatory-inhibitory one of rectified units whose excitatory synapses are plastic, with a gradient for U, tau_f and
tau_d too. The gradients are compared before anything is timed. Run ``python benchmarks/bptt.py`` where JAX is
installed (``pip install ".[peers]"``); PyTorch, where it is there, runs the leaky network.
"""

from __future__ import annotations

import os
import subprocess
import sys

if len(sys.argv) > 1:
    # Libraries count cores when they are loaded.
    os.sched_setaffinity(0, set(sorted(os.sched_getaffinity(0))[: int(sys.argv[1])]))
import time
from types import SimpleNamespace

import jax
import jax.numpy as jnp
import numpy as np
import torch
from measure import describe_machine, describe_versions

import cortexrnn as cx
from cortexrnn.training.bptt import Sweep, Trainer
from cortexrnn.training.circuit_model import CircuitModel, Trainable
from cortexrnn.training.model import Asked

N_UNITS, N_TRIALS, N_STEPS, N_INPUTS, N_OUTPUTS = 256, 64, 500, 4, 2
DT_S, TAU_S, SCALE_HZ = 2e-3, 0.02, 10.0
N_ROUNDS = 5
ALL = ("recurrent", "input", "bias", "start", "readout", "readout_bias", "U", "tau_f_s", "tau_d_s")


def main() -> None:
    """Run both networks with the cores that the argument names, or one process for each number of cores."""
    if len(sys.argv) == 1:
        print(describe_machine())
        print(describe_versions(("cortexrnn", "numpy", "numba", "jax", "torch")))
        for n_cores in (1, 2):
            subprocess.run([sys.executable, __file__, str(n_cores)], check=True)
        return
    n_cores = int(sys.argv[1])
    torch.set_num_threads(n_cores)
    print(f"\n{n_cores} core(s): milliseconds a step of the optimiser (times ours)")
    for name, circuit in (("leaky", leaky()), ("Dale, plastic", plastic())):
        compare(name, circuit, n_cores)


def leaky() -> cx.Circuit:
    """Give the unconstrained network."""
    return cx.Circuit.random(N_UNITS, gain=1.2, seed=1, tau_s=TAU_S)


def plastic() -> cx.Circuit:
    """Give the excitatory-inhibitory network with facilitating excitation."""
    sizes, means = {"excitatory": 208, "inhibitory": 48}, {"excitatory": 0.002, "inhibitory": 0.008}
    activation = cx.Activation(kind="softplus")
    return cx.Circuit(
        name="plastic",
        populations=tuple(
            cx.Population(name=name, size=size, sign=name, activation=activation, tau_s=TAU_S)
            for name, size in sizes.items()
        ),
        projections=tuple(
            cx.Projection(
                source=source,
                target=target,
                weights=cx.WeightLaw(law="gamma", mean=means[source], sd=means[source]),
                plasticity="facil" if source == "excitatory" else "",
            )
            for source in sizes
            for target in sizes
        ),
        plasticity={"facil": cx.ShortTermPlasticity(U=0.3, tau_f_s=0.5, tau_d_s=0.2)},
        rate_scale_hz=SCALE_HZ,
    )


def compare(name: str, circuit: cx.Circuit, n_cores: int) -> None:
    """Check and time one network."""
    rng = np.random.default_rng(0)
    batch = SimpleNamespace(
        inputs=rng.normal(size=(N_TRIALS, N_STEPS, N_INPUTS)).astype(np.float32),
        targets=rng.normal(size=(N_TRIALS, N_STEPS, N_OUTPUTS)).astype(np.float32),
        labels=None,
        mask=np.ones((N_TRIALS, N_STEPS), np.float32),
        length=np.full(N_TRIALS, N_STEPS),
        loss="mse",
        n_fed_back=0,
    )
    model = CircuitModel(circuit, Asked(N_INPUTS, N_OUTPUTS, DT_S), Trainable(trains=ALL), seed=0, dtype=np.float32)
    trainer = Trainer(model, n_cores)
    steps = {
        "ours": lambda: trainer.run(batch, Sweep(noise_key=(0,))).gradient,
        "JAX": jax_step(model, batch),
    }
    if not circuit.plasticity:
        steps["PyTorch"] = torch_step(model, batch)
    answers = {peer: step() for peer, step in steps.items()}
    for peer, answer in answers.items():
        apart = np.linalg.norm(answer - answers["ours"]) / np.linalg.norm(answers["ours"])
        assert apart < 1e-3, f"{peer}: gradients are {apart:.1e} apart"
    best_s = dict.fromkeys(steps, np.inf)
    for _ in range(N_ROUNDS):
        for peer, step in steps.items():
            # On one core processor time is the wall time of an idle machine.
            start = (time.perf_counter(), time.process_time())
            step()
            taken = (time.perf_counter() - start[0], time.process_time() - start[1])
            best_s[peer] = min(best_s[peer], taken[n_cores == 1])
    row = "  ".join(f"{peer} {1e3 * s:8.1f} ({s / best_s['ours']:5.2f})" for peer, s in best_s.items())
    speed = 6e-9 * N_UNITS**2 * N_TRIALS * N_STEPS / best_s["ours"]
    print(f"{name:14s} {row}   products of W: {speed:.0f} GFLOP/s", flush=True)


def jax_step(model: CircuitModel, batch: SimpleNamespace):
    """Differentiate a scan, compiled; the input product stands outside the scan."""
    units, raw = model.units, model.parts(model.theta)
    decay = np.float32(np.exp(-DT_S / TAU_S))
    static, sends = jnp.asarray(units.static_unit), jnp.asarray(units.plastic_unit)
    signs = jnp.asarray(model.circuit.signs[np.concatenate([units.static_unit, units.plastic_unit])], np.float32)
    connected = jnp.asarray(model.core_weights().recurrent != 0)
    reads = jnp.asarray(model.readout()[0] != 0)
    is_plastic = units.plastic_unit.size > 0
    inputs = jnp.asarray(batch.inputs.transpose(1, 0, 2))
    targets = jnp.asarray(batch.targets.transpose(1, 0, 2))
    phi = jax.nn.softplus if is_plastic else jnp.tanh

    def loss(p):
        w = jnp.where(connected, jnp.maximum(p["recurrent"], 0.0) * signs if is_plastic else p["recurrent"], 0.0)
        use, tau_f, tau_d = jax.nn.sigmoid(p["U"]), jnp.exp(p["tau_f_s"]), jnp.exp(p["tau_d_s"])
        external = inputs @ p["input"].T + p["bias"]

        def step(state, now):
            y, u, x = state
            rate = phi(y)
            sent = jnp.concatenate([rate[:, static], u * x * rate[:, sends]], axis=1)
            y = decay * y + (1.0 - decay) * (now + sent @ w.T)
            if is_plastic:
                hz = SCALE_HZ * rate[:, sends]
                speed = 1.0 / tau_f + use * hz
                new_u = u + (use * (1.0 / tau_f + hz) / speed - u) * (1.0 - jnp.exp(-DT_S * speed))
                speed = 1.0 / tau_d + 0.5 * (u + new_u) * hz
                x = x + (1.0 / tau_d / speed - x) * (1.0 - jnp.exp(-DT_S * speed))
                u = new_u
            return (y, u, x), phi(y)

        n = units.plastic_unit.size
        start = (jnp.broadcast_to(p["start"], (N_TRIALS, N_UNITS)), jnp.broadcast_to(use, (N_TRIALS, n)),
                 jnp.ones((N_TRIALS, n), jnp.float32))  # fmt: skip
        _, rates = jax.lax.scan(step, start, external)
        outputs = rates @ jnp.where(reads, p["readout"], 0.0).T + p["readout_bias"]
        return jnp.mean((outputs - targets) ** 2)

    on_device = {name: jnp.asarray(part) for name, part in raw.items()}
    compiled = jax.jit(jax.grad(loss))

    def run():
        found = jax.block_until_ready(compiled(on_device))
        flat = np.concatenate([np.asarray(found[name]).ravel() for name in raw])
        return np.where(model.moves, flat, 0.0)

    return run


def torch_step(model: CircuitModel, batch: SimpleNamespace):
    """Differentiate the loop by autograd."""
    decay = float(np.exp(-DT_S / TAU_S))
    names = ("recurrent", "input", "bias", "start", "readout", "readout_bias")
    p = {name: torch.tensor(part, requires_grad=name in names) for name, part in model.parts(model.theta).items()}
    inputs = torch.tensor(batch.inputs.transpose(1, 0, 2).copy())
    targets = torch.tensor(batch.targets.transpose(1, 0, 2).copy())
    connected = torch.tensor((model.core_weights().recurrent != 0).astype(np.float32))

    def run():
        w = p["recurrent"] * connected
        external = inputs @ p["input"].T + p["bias"]
        y, rates = p["start"].expand(N_TRIALS, N_UNITS), []
        for t in range(N_STEPS):
            y = decay * y + (1.0 - decay) * (external[t] + torch.tanh(y) @ w.T)
            rates.append(torch.tanh(y))
        outputs = torch.stack(rates) @ p["readout"].T + p["readout_bias"]
        found = torch.autograd.grad(torch.mean((outputs - targets) ** 2), [p[name] for name in names])
        by_name = dict(zip(names, found, strict=True))
        zeros = {name: np.zeros(part.numel()) for name, part in p.items()}
        return np.concatenate([by_name[n].numpy().ravel() if n in by_name else zeros[n] for n in p])

    return run


if __name__ == "__main__":
    main()
