"""Atomisation energies of QM7 with networks of messages: one fold of five, errors after a time.

    python -m benchmarks qm7_networks                                  ten minutes each
    python -m benchmarks qm7_networks --seconds 3600 --threads 2       an hour on two cores
    python -m benchmarks qm7_networks --seconds 1800 --width 128       on a card, if there is one
    python -m benchmarks qm7_networks --models schnet weave --seconds 60

A twentieth of the training part is left out to choose the weights; the test part is seen once, in
the end. Networks of bonds need RDKit. QM7 has no forces.
"""

import time

import numpy as np
from sklearn.model_selection import KFold

from benchmarks.descriptors.global_descriptors import qm7
from benchmarks.harness import KCAL, table

# What differs from what all have.
SETTINGS = {
    "edge_network": {"read_out": "sum"},
    "edge_network_set2set": {},
    "schnet_edge_updates": {},
    "interaction_network": {},
    "gated_graph": {"cutoff": 12.0},
    "weave": {"cutoff": 12.0},
    "neural_fingerprints": {},
    "chebyshev": {},
    "spectral": {},
    "graph_convolution": {},
}
# kcal/mol, aims with one fold: on a card, and after an hour on two cores
AIMS = 1.3, 2.5
# The default noise of energies in eV per atom, in which the loss is measured.
_NOISE = 0.03


def add_arguments(parser):
    parser.add_argument(
        "--models", nargs="+", choices=("schnet", *SETTINGS), default=("edge_network",)
    )
    parser.add_argument("--seconds", type=float, default=600, help="time of each training")
    parser.add_argument("--batch-size", type=int, default=20)
    parser.add_argument("--width", type=int, default=64, help="features of an atom")
    parser.add_argument("--filters", type=int, default=16, help="neurons of the edge network")
    parser.add_argument("--passes", type=int, default=3)
    parser.add_argument("--rate", type=float, default=1e-3, help="the first learning rate")
    parser.add_argument("--torch", action="store_true", help="on the CPU, card or not")


def run(options):
    import torch

    torch.set_num_threads(options.threads)
    on_card = torch.cuda.is_available() and not options.torch
    options.device = "cuda" if on_card else "cpu"
    print(torch.cuda.get_device_name() if on_card else "torch on the CPU")
    structures, energies = qm7()
    folds = KFold(5, shuffle=True, random_state=0)
    train, test = next(folds.split(np.arange(len(structures))))
    rows = []
    for name in options.models:
        model, seconds = _model(name, options), time.perf_counter()
        own = _bonded(model, structures)
        model.fit(own[train], energies[train] / KCAL)
        seconds, history = time.perf_counter() - seconds, model.history_
        for k in np.unique(np.linspace(0, len(history["step"]) - 1, 10).astype(int)):
            root = KCAL * _NOISE * np.sqrt(history["validation_loss"][k])
            print(f"  {name}: step {history['step'][k]}, left out: {root:.3f} kcal/mol of an atom")
        errors = KCAL * model.predict(own[test]) - energies[test]
        rows.append([
            name, f"{np.abs(errors).mean():.2f}", f"{np.sqrt(np.mean(errors**2)):.2f}",
            str(history["step"][-1]), f"{seconds:.0f} s",
        ])  # fmt: skip
    table(
        f"QM7, {len(test)} molecules, kcal/mol; aims: {AIMS[0]} on a card, {AIMS[1]} after an hour",
        ["network", "MAE", "RMSE", "steps", "training"], rows,
    )  # fmt: skip


def _model(name, options):
    from skatom.models import MessagePassingNetwork, SchNet

    shared = {
        "n_features": options.width, "batch_size": options.batch_size, "max_iter": 10**6,
        "max_time": options.seconds, "learning_rate_init": options.rate, "random_state": 0,
        "validation_fraction": 0.05, "device": options.device,
    }  # fmt: skip
    if name == "schnet":
        return SchNet(n_interactions=options.passes, **shared)
    preset = name.removesuffix("_set2set")
    filters = {"n_filters": options.filters} if preset == "edge_network" else {}
    return MessagePassingNetwork(
        preset, n_passes=options.passes, **{**shared, **filters, **SETTINGS[name]}
    )


def _bonded(model, structures):
    """The structures, with bonds where a network needs them."""
    from skatom.bonds import perceive_bonds
    from skatom.models.neural.message_passing_presets import PRESETS
    from skatom.models.neural.molecular_graphs import DISCRETE

    preset = PRESETS.get(getattr(model, "preset", None))
    if preset is None or preset.edges not in DISCRETE:
        return structures
    return structures.with_bonds(perceive_bonds(structures))
