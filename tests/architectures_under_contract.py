"""The architectures of neural potentials that their suite runs over: add a case for a new one.

A case is a function without arguments that makes an `Architecture` of three species, cutoff 4.5 Å
and small sizes, in which everything contributes.
"""

from dataclasses import replace

import numpy as np
from ase import Atoms

from skatom import Structures
from skatom._device import resolve_torch
from skatom.models.neural.angular_filter_architecture import AngularFilterArchitecture
from skatom.models.neural.dtnn_architecture import DTNNArchitecture
from skatom.models.neural.fitted_network import FittedNetwork
from skatom.models.neural.heads import EnergyHead
from skatom.models.neural.message_passing_architecture import MessagePassingArchitecture
from skatom.models.neural.painn_architecture import PaiNNArchitecture
from skatom.models.neural.point_scattering_architecture import PointScatteringArchitecture
from skatom.models.neural.schnet_architecture import SchNetArchitecture

WATER = Atoms("OHH", [[0, 0, 0.1173], [0, 0.7572, -0.4692], [0, -0.7572, -0.4692]])
CPU = resolve_torch("cpu", "SchNet")

_SCHNET = SchNetArchitecture(3, 4.5, 6, 5, 3, 8, 4.5, 4.0, "cosine", False, False)
_DTNN = DTNNArchitecture(3, 4.5, 6, 5, 3, 8, 4.5, 4.0, "cosine")
_ANGULAR = AngularFilterArchitecture(3, 4.5, 6, 5, 2, 6, 4, "neighbor")
_EDGE_NETWORK = MessagePassingArchitecture(
    3, 4.5, 8, 4, 2, "edge_network", "gru", None, "ends", "distances", "cosine", False, False, True,
    True, 0, 5, 2, 8, 7, 2, 0, 4, 4.0,
)  # fmt: skip
_UPDATED_EDGES = MessagePassingArchitecture(
    3, 4.5, 4, 4, 2, "filters", "residual", "network", "last", "gaussians", "cosine", False, False,
    False, False, 0, 5, 2, 8, 7, 1, 0, 4, 4.0,
)  # fmt: skip
# Those whose energies and forces are continuous where atoms cross the cutoff, and others.
SMOOTH = {
    "schnet": lambda: _SCHNET,
    "schnet-normalised": lambda: replace(_SCHNET, normalize_filter=True),
    "schnet-shared": lambda: replace(_SCHNET, shared_filters=True),
    "dtnn": lambda: _DTNN,
    "edge-network": lambda: _EDGE_NETWORK,
    "updated-edges": lambda: _UPDATED_EDGES,
    "painn": lambda: PaiNNArchitecture(3, 4.5, 4, 2, 4),
    "angular-filters": lambda: _ANGULAR,
    "angular-filters-of-centers": lambda: replace(_ANGULAR, message_from="center"),
    "point-scattering": lambda: PointScatteringArchitecture.of(
        3, 4.5, 2, 2, [(3, 0), (3, 1), (2, 1), (4, 2), (4, 3)], [0.6, 1.2]
    ),
}
ARCHITECTURES = SMOOTH | {
    "schnet-hard": lambda: replace(_SCHNET, cutoff_function="hard"),
    "dtnn-hard": lambda: replace(_DTNN, cutoff_function="hard"),
}
# Spread of random weights: where features are multiplied with each other, numbers grow fast.
_SPREADS = {
    PaiNNArchitecture: 0.35, PointScatteringArchitecture: 0.35, AngularFilterArchitecture: 0.35
}  # fmt: skip


def random_network(architecture, head=None):
    """A network with random weights, in which everything contributes."""
    head = head or EnergyHead(architecture.n_features, 3)
    rng = np.random.RandomState(0)
    shapes = architecture.shapes | head.shapes
    spread = _SPREADS.get(type(architecture), 0.7)
    weights = {name: spread * rng.normal(size=shape) for name, shape in shapes.items()}
    species = np.array([1, 6, 8])
    return FittedNetwork(architecture, head, weights, 0.5, np.array([-1.0, -2.0, -3.0]), species)


def sines(p, shape):
    """Parameter number p of golden numbers: sin(p + 0.37 m) in C order."""
    return np.sin(p + 0.37 * np.arange(np.prod(shape))).reshape(shape)


def evaluated(network, atoms):
    """Energy, energies of atoms, forces and virial of one structure."""
    found = network.evaluate(Structures.from_ase([atoms]), CPU, True)
    local = found.get("local_energies")
    return found["energy"][0], local, -found["gradient"], found["virial"][0]


def rattled(atoms, seed=0):
    atoms = atoms.copy()
    atoms.positions += np.random.default_rng(seed).normal(scale=0.05, size=atoms.positions.shape)
    return atoms


def ice(seed=0):
    """A skewed cell of water, smaller than the cutoff in two directions."""
    atoms = WATER.copy()
    atoms.set_cell([[3.4, 0, 0], [0.9, 3.1, 0], [-0.7, 0.5, 5.2]])
    atoms.pbc = True
    return rattled(atoms, seed)
