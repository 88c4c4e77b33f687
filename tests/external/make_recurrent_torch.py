"""Write data/recurrent_torch.npz: states, losses and gradients of PyTorch's recurrent networks by its autograd.

Run ``python tests/external/make_recurrent_torch.py`` with PyTorch installed (written by PyTorch 2.13.0, CPU, float64).
The networks are torch.nn.RNN with tanh and with relu, torch.nn.LSTM and torch.nn.GRU, one layer, start states that
all 16 trials share, lengths that differ. The loss is sum(mask (h - target)^2) / 2, mask zero past a trial's end.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch

N_STEPS, N_TRIALS, N_INPUTS, N_HIDDEN = 20, 16, 2, 5
NAMES = ("weight_ih_l0", "weight_hh_l0", "bias_ih_l0", "bias_hh_l0")
KINDS = {
    "tanh": torch.nn.RNN(N_INPUTS, N_HIDDEN, dtype=torch.float64),
    "relu": torch.nn.RNN(N_INPUTS, N_HIDDEN, nonlinearity="relu", dtype=torch.float64),
    "lstm": torch.nn.LSTM(N_INPUTS, N_HIDDEN, dtype=torch.float64),
    "gru": torch.nn.GRU(N_INPUTS, N_HIDDEN, dtype=torch.float64),
}


def main() -> None:
    """Draw a problem, differentiate every network, store everything that a test needs."""
    rng = np.random.default_rng(12)
    length = rng.integers(5, N_STEPS + 1, N_TRIALS)
    arrays = {
        "inputs": rng.normal(size=(N_STEPS, N_INPUTS, N_TRIALS)),
        "target": rng.normal(size=(N_STEPS, N_HIDDEN, N_TRIALS)),
        "mask": (np.arange(N_STEPS)[:, None] < length).astype(float),
    }
    for kind, network in KINDS.items():
        arrays |= {f"{kind}_{name}": values for name, values in differentiate(network, arrays, rng).items()}
    np.savez_compressed(Path(__file__).parent / "data" / "recurrent_torch.npz", **arrays)


def differentiate(network: torch.nn.Module, arrays: dict[str, np.ndarray], rng: np.random.Generator) -> dict:
    """Give weights, start states, states after every step, the loss and its gradients."""
    starts = ("h0", "c0") if isinstance(network, torch.nn.LSTM) else ("h0",)
    shapes = {name: getattr(network, name).shape for name in NAMES} | dict.fromkeys(starts, (N_HIDDEN,))
    values = {name: rng.normal(size=tuple(shape)) * 0.3 for name, shape in shapes.items()}
    leaves = {name: torch.tensor(array, requires_grad=True) for name, array in values.items()}
    inputs = torch.tensor(arrays["inputs"], requires_grad=True)
    given = tuple(leaves[name].expand(1, N_TRIALS, N_HIDDEN).contiguous() for name in starts)
    call = (inputs.permute(0, 2, 1), given if len(given) == 2 else given[0])
    found, _ = torch.func.functional_call(network, {name: leaves[name] for name in NAMES}, call)
    states = found.permute(0, 2, 1)
    mask = torch.tensor(arrays["mask"])[:, None]
    loss = 0.5 * torch.sum(mask * (states - torch.tensor(arrays["target"])) ** 2)
    gradients = torch.autograd.grad(loss, [*leaves.values(), inputs])
    by = {f"by_{name}": g.numpy() for name, g in zip([*leaves, "inputs"], gradients, strict=True)}
    return values | by | {"states": states.detach().numpy(), "loss": loss.detach().numpy()}


if __name__ == "__main__":
    main()
