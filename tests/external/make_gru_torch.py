"""Write data/gru_torch.npz: losses and gradients of the recurrent rung's network by PyTorch's autograd.

Run ``python tests/external/make_gru_torch.py`` with PyTorch installed (written by PyTorch 2.13.0, CPU, float64).
The network is torch.nn.GRU with a linear read-out of states and inputs, bounded by 8 tanh(eta / 8), on top of a
log baseline; the losses are the Poisson one, sum w (mu - y log mu), and the Bernoulli one with the complementary
log-log link, sum w ((1 - y) mu - y log(1 - exp(-mu))).
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch

N_STEPS, N_TRIALS, N_INPUTS, N_HIDDEN = 20, 16, 3, 16
LOG_BOUND = 8.0


def main() -> None:
    """Draw a problem, differentiate it, store everything that a test needs."""
    rng = np.random.default_rng(11)
    arrays = {
        "inputs": rng.normal(size=(N_STEPS, N_INPUTS, N_TRIALS)),
        "log_baseline": rng.normal(size=(N_STEPS, N_TRIALS)) - 2.0,
        "counts": (rng.random((N_STEPS, N_TRIALS)) < 0.2).astype(float),
        "weight": (rng.random((N_STEPS, N_TRIALS)) < 0.8).astype(float),
        "weight_ih": rng.normal(size=(3 * N_HIDDEN, N_INPUTS)) * 0.3,
        "weight_hh": rng.normal(size=(3 * N_HIDDEN, N_HIDDEN)) * 0.3,
        "bias_ih": rng.normal(size=3 * N_HIDDEN) * 0.3,
        "bias_hh": rng.normal(size=3 * N_HIDDEN) * 0.3,
        "start": rng.normal(size=N_HIDDEN) * 0.3,
        "readout": rng.normal(size=N_HIDDEN) * 0.5,
        "skip": rng.normal(size=N_INPUTS) * 0.5,
        "offset": rng.normal(size=1) * 0.1,
    }
    names = ["weight_ih", "weight_hh", "bias_ih", "bias_hh", "start", "readout", "skip", "offset"]
    for likelihood in ("poisson", "bernoulli"):
        leaves = {name: torch.tensor(arrays[name], requires_grad=True) for name in names}
        states, loss = run(arrays, leaves, likelihood)
        gradients = torch.autograd.grad(loss, [leaves[name] for name in names])
        arrays[f"loss_{likelihood}"] = loss.detach().numpy()
        arrays |= {f"{likelihood}_{name}": g.numpy() for name, g in zip(names, gradients, strict=True)}
    arrays["states"] = states.detach().numpy()
    np.savez_compressed(Path(__file__).parent / "data" / "gru_torch.npz", **arrays)


def run(arrays, leaves, likelihood):
    """Give states, shape (n_steps, n_hidden, n_trials), and the loss."""
    gru = torch.nn.GRU(N_INPUTS, N_HIDDEN, dtype=torch.float64)
    flat = {f"{name}_l0": leaves[name] for name in ("weight_ih", "weight_hh", "bias_ih", "bias_hh")}
    inputs = torch.tensor(arrays["inputs"]).permute(0, 2, 1)
    start = leaves["start"].expand(1, N_TRIALS, N_HIDDEN).contiguous()
    states, _ = torch.func.functional_call(gru, flat, (inputs, start))
    eta = states @ leaves["readout"] + inputs @ leaves["skip"] + leaves["offset"]
    log_mu = torch.tensor(arrays["log_baseline"]) + LOG_BOUND * torch.tanh(eta / LOG_BOUND)
    y, weight = torch.tensor(arrays["counts"]), torch.tensor(arrays["weight"])
    mu = torch.exp(log_mu)
    if likelihood == "poisson":
        loss = torch.sum(weight * (mu - y * log_mu))
    else:
        loss = torch.sum(weight * ((1 - y) * mu - y * torch.log(-torch.expm1(-mu))))
    return states.permute(0, 2, 1), loss


if __name__ == "__main__":
    main()
