"""SchNet and PaiNN with SchNetPack and PyTorch Geometric; run by the benchmark neural.

Usage: neural_networks.py TASK, a JSON object; prints one line of JSON. Batches are made before the
clock starts, on the device, with all pairs of the frames within the cutoff.
"""

import json
import sys
import time
from functools import partial
from pathlib import Path
from typing import TypeVar

import numpy as np
import torch

sys.path.append(str(Path(__file__).parents[2]))
from benchmarks.harness import finished, repeated_within, report, used

CLOCKS = {"s": time.perf_counter, "processor_s": time.process_time}
CUTOFF, N_INTERACTIONS, N_GAUSSIANS, N_WAVES = 5.0, 3, 50, 20


class Potential(torch.nn.Module):
    """Energies and forces of a batch: numbers, positions, structures of atoms, pairs."""

    def __init__(self, task):
        super().__init__()
        self.is_schnetpack = task["peer"] == "schnetpack"
        width = task["width"]
        if self.is_schnetpack:
            self.network = _schnetpack(task["network"], width)
        else:
            from torch_geometric.nn.models import SchNet

            self.network = SchNet(
                width, width, N_INTERACTIONS, N_GAUSSIANS, CUTOFF, interaction_graph=self._graph
            )

    def _graph(self, positions, _):
        (i, j) = self.pairs
        return torch.stack([j, i]), (positions[i] - positions[j]).norm(dim=-1)

    def forward(self, batch):
        z, positions, owners, pairs = batch
        if self.is_schnetpack:
            found = self.network(
                {
                    "_atomic_numbers": z,
                    "_positions": positions.clone(),
                    "_idx_m": owners,
                    "_idx_i": pairs[0],
                    "_idx_j": pairs[1],
                    "_offsets": positions.new_zeros((len(pairs[0]), 3)),
                }  # fmt: skip
            )
            return found["energy"], found["forces"]
        self.pairs = pairs
        positions = positions.clone().requires_grad_(True)
        energies = self.network(z, positions, owners)[:, 0]
        (slopes,) = torch.autograd.grad(
            energies.sum(), positions, create_graph=self.network.training
        )
        return energies, -slopes


def _schnetpack(network, width):
    # SchNetPack 2.1.1 imports the name of a type that torch 2.13 has no more
    torch.utils.data.dataloader.T_co = TypeVar("T_co")
    import schnetpack as spk
    from schnetpack.nn.activations import shifted_softplus

    cutoff = spk.nn.CosineCutoff(CUTOFF)
    if network == "schnet":
        radial = spk.nn.GaussianRBF(N_GAUSSIANS, CUTOFF)
        representation = spk.representation.SchNet(width, N_INTERACTIONS, radial, cutoff)
    else:
        radial = spk.nn.BesselRBF(N_WAVES, CUTOFF)
        representation = spk.representation.PaiNN(width, N_INTERACTIONS, radial, cutoff)
    activation = shifted_softplus if network == "schnet" else torch.nn.functional.silu
    energy = spk.atomistic.Atomwise(width, output_key="energy", activation=activation)
    return spk.model.NeuralNetworkPotential(
        representation,
        [spk.atomistic.PairwiseDistances()],
        [energy, spk.atomistic.Forces()],
    )


def batches(arrays, rows, size, dtype, device="cpu"):
    """Tensors of the frames, so many together, and their labels."""
    found = []
    z = np.asarray(arrays["z"], np.int64)
    n = len(z)
    for start in range(0, len(rows), size):
        positions = arrays["R"][rows[start : start + size]]
        apart = np.linalg.norm(positions[:, :, None] - positions[:, None], axis=-1)
        s, i, j = np.nonzero((apart < CUTOFF) & ~np.eye(n, dtype=bool))
        m = len(positions)
        batch = (
            torch.tensor(np.tile(z, m), device=device),
            torch.tensor(positions.reshape(-1, 3), dtype=dtype, device=device),
            torch.arange(m, device=device).repeat_interleave(n),
            tuple(torch.tensor(s * n + k, device=device) for k in (i, j)),
        )  # fmt: skip
        some = rows[start : start + size]
        labels = [arrays["E"][some], arrays["F"][some].reshape(-1, 3)]
        found.append((batch, *(torch.tensor(x, dtype=dtype, device=device) for x in labels)))
    return found


def train(model, parts):
    """A step for each batch."""
    model.train()
    optimiser = model.optimiser
    for batch, energies, forces in parts:
        optimiser.zero_grad(set_to_none=True)
        found = model(batch)
        loss = ((found[0] - energies) ** 2).mean() + ((found[1] - forces) ** 2).mean()
        loss.backward()
        optimiser.step()


def predict(model, parts):
    model.eval()
    return [[x.detach() for x in model(batch)] for batch, *_ in parts]


def copied(model, task):
    """The model with the weights of skatom's, and its activation behind the filters."""
    from benchmarks.peers.neural_weights import copy_weights

    return copy_weights(model.double(), task["peer"], task["network"], np.load(task["weights"]))


def main(task):
    arrays = np.load(task["arrays"])
    torch.manual_seed(0)
    model = Potential(task)
    if task["what"] == "agreement":
        parts = batches(arrays, np.arange(task["n"]), task["n"], torch.float64)
        energies, forces = predict(copied(model, task), parts)[0]
        np.savez(task["out"], energies=energies.numpy(), forces=forces.numpy())
        report(n_weights=sum(p.numel() for p in model.parameters()))
        return
    device = task["device"]
    model.to(device)
    model.optimiser = torch.optim.Adam(model.parameters(), 1e-3)
    parts = batches(arrays, np.arange(task["n"]), task["batch"], torch.float32, device)
    train(model, parts[:2])
    times = {}
    for name, clock in CLOCKS.items():
        for what, work in (("epoch", train), ("prediction", predict)):
            work = partial(finished, partial(work, model, parts), device)
            found = repeated_within(work, task["seconds"], 3, 50, clock)
            times[f"{what}_{name}"] = min(found)
    del model.optimiser
    whole = batches(arrays, np.arange(task["n"]), task["n"], torch.float32, device)
    model.optimiser = torch.optim.Adam(model.parameters(), 1e-3)
    grown = used(partial(train, model, whole), device)
    report(**times, kib_per_atom=grown / 1024 / (task["n"] * len(arrays["z"])))


if __name__ == "__main__":
    main(json.loads(sys.argv[1]))
