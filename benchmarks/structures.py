"""Structures that several benchmarks measure: molecules at random, and rattled copies of one."""

import numpy as np
from ase import Atoms
from ase.collections import g2

# Å, to two digits
ASPIRIN = Atoms("C7O3C2OH8", [
    [2.14, -1.10, -0.19], [0.88, 1.10, -1.53], [2.73, -0.64, -1.36], [2.05, 0.43, -1.98],
    [-3.13, 1.31, 0.61], [0.86, -0.60, 0.24], [0.33, 0.53, -0.36], [-1.12, -1.12, 1.68],
    [-2.24, 0.60, -1.57], [1.13, -1.50, 2.41], [0.13, -1.14, 1.50], [-2.01, 1.07, -0.44],
    [-0.74, 1.18, 0.14], [0.81, -1.88, 3.20], [2.64, -1.87, 0.45], [0.45, 1.81, -2.20],
    [3.57, -1.10, -1.78], [2.42, 0.73, -2.93], [-4.22, 1.13, 0.30], [-2.94, 0.69, 1.51],
    [-2.90, 2.30, 1.11],
])  # fmt: skip


def configurations(atoms, n, rng):
    """Copies of a molecule, each rattled by 0.05 Å."""
    copies = [atoms.copy() for _ in range(n)]
    for copy in copies:
        copy.positions += rng.normal(scale=0.05, size=copy.positions.shape)
    return copies


def molecules(n, rng):
    """Pairs of small CHNO molecules in contact: 14 to 21 atoms, rattled by 0.05 Å."""
    names = [
        name for name in g2.names
        if set(g2[name].get_chemical_symbols()) <= set("CHNO")
        and len(g2[name]) >= 5 and "C" in g2[name].get_chemical_symbols()
    ]  # fmt: skip
    found = []
    while len(found) < n:
        a, b = (g2[names[rng.integers(len(names))]].copy() for _ in range(2))
        if not 14 <= len(a) + len(b) <= 21:
            continue
        a.positions -= a.positions.mean(axis=0)
        b.positions -= b.positions.mean(axis=0)
        b.rotate(rng.uniform(0, 360), rng.normal(size=3))
        direction = rng.normal(size=3)
        direction /= np.linalg.norm(direction)
        for distance in np.arange(0, 12, 0.1):
            moved = b.positions + distance * direction
            if np.linalg.norm(a.positions[:, None] - moved, axis=-1).min() >= 1.5:
                break
        positions = np.vstack([a.positions, moved])
        positions += rng.normal(scale=0.05, size=positions.shape)
        found.append(Atoms(a.get_chemical_symbols() + b.get_chemical_symbols(), positions))
    return found


def pack(path, structures):
    """Write structures to a file that `unpack` reads in a fraction of the time of extxyz."""
    np.savez(
        path,
        numbers=np.concatenate([atoms.numbers for atoms in structures]),
        positions=np.concatenate([atoms.positions for atoms in structures]),
        ends=np.cumsum([len(atoms) for atoms in structures]),
        cells=np.array([atoms.cell.array for atoms in structures]),
        pbc=np.array([atoms.pbc for atoms in structures]),
    )


def unpack(path):
    """The `ase.Atoms` of a file of `pack`."""
    with np.load(path) as data:
        parts = [np.split(data[name], data["ends"][:-1]) for name in ("numbers", "positions")]
        return [
            Atoms(numbers=z, positions=r, cell=cell, pbc=pbc)
            for z, r, cell, pbc in zip(*parts, data["cells"], data["pbc"], strict=True)
        ]
