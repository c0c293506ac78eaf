"""Molecular dynamics of 10,648 silicon atoms with a sparse Gaussian process: time, drift, error.

    python -m benchmarks silicon_md
    python -m benchmarks silicon_md --device cuda --n-sparse 1000 --steps 100

The model learns energies, forces and stresses of strained and rattled cells of 64 atoms, whose
labels are Tersoff's. The crystal begins at 600 K, of which half becomes potential energy, and runs
at constant energy. The table has the time of a step, that for each atom, on the clock and of all
processors, and the largest change of the total energy. Up to 1,000 atoms, the last forces are
compared with Tersoff's, which is slow.
"""

import time
import warnings

import numpy as np
from ase.build import bulk
from ase.calculators.singlepoint import SinglePointCalculator
from ase.calculators.tersoff import Tersoff, TersoffParameters
from sklearn.pipeline import make_pipeline

from benchmarks.harness import table
from skatom import Structures, Targets
from skatom.calculators import SkatomCalculator
from skatom.descriptors import SOAP
from skatom.kernels import Cosine
from skatom.models import SparseGaussianProcess
from skatom.simulation import molecular_dynamics

# Tersoff, Phys. Rev. B 38, 9902 (1988): Si(C)
SILICON = TersoffParameters(
    A=1830.8, B=471.18, lambda1=2.4799, lambda2=1.7322, lambda3=0.0, beta=1.1e-6, gamma=1.0, m=3,
    n=0.78734, c=100390.0, d=16.217, h=-0.59825, R=2.85, D=0.15,
)  # fmt: skip
_LATTICE, _TEMPERATURE, _TIMESTEP = 5.432, 600, 1.0


def tersoff():
    return Tersoff({("Si", "Si", "Si"): SILICON})


def training(n=15):
    """Cells of 64 atoms with labels."""
    rng, reference, images = np.random.RandomState(0), tersoff(), []
    for k in range(n):
        atoms = bulk("Si", "diamond", a=_LATTICE, cubic=True) * 2
        strain = np.eye(3) + rng.normal(scale=0.015, size=(3, 3))
        atoms.set_cell(atoms.cell @ strain, scale_atoms=True)
        atoms.rattle((0.03, 0.08, 0.12)[k % 3], rng=rng)
        atoms.calc = reference
        atoms.get_stress()
        atoms.calc = SinglePointCalculator(atoms, **reference.results)
        images.append(atoms)
    return Structures.from_ase(images), Targets.from_ase(images)


def model_of(n_sparse, device):
    return make_pipeline(
        SOAP(cutoff=4.5, n_max=8, l_max=6, sigma=0.4, device=device),
        SparseGaussianProcess(
            3.0 * Cosine(zeta=4), n_sparse=n_sparse, noise_energy=5e-4, noise_forces=0.02,
            noise_virial=5e-3, random_state=0,
        ),
    )  # fmt: skip


def add_arguments(parser):
    parser.add_argument("--repeat", type=int, default=11, help="cells along an edge (default: 11)")
    parser.add_argument("--steps", type=int, default=20, help="of 1 fs (default: 20)")
    parser.add_argument("--n-sparse", type=int, default=300, help="environments (default: 300)")
    parser.add_argument("--device", default="cpu", help="of SOAP (default: cpu)")


def run(options):
    begin = time.perf_counter()
    with warnings.catch_warnings(action="ignore"):
        model = model_of(options.n_sparse, options.device).fit(*training())
    fit = time.perf_counter() - begin
    atoms = bulk("Si", "diamond", a=_LATTICE, cubic=True) * options.repeat
    calculator = SkatomCalculator(model)
    # compilation, and the first search of neighbours
    first = molecular_dynamics(calculator, atoms, 1, timestep=_TIMESTEP, temperature=_TEMPERATURE)
    begin, before = time.perf_counter(), time.process_time()
    found = molecular_dynamics(
        calculator, first.atoms, options.steps, timestep=_TIMESTEP, interval=1
    )
    seconds = (time.perf_counter() - begin) / options.steps
    processor = (time.process_time() - before) / options.steps
    forces = found.atoms.get_forces()
    last = found.atoms.copy()
    last.calc = tersoff()
    error = np.sqrt(np.mean((forces - last.get_forces()) ** 2)) if len(last) <= 1000 else np.nan
    table(
        f"{len(atoms)} silicon atoms, {options.n_sparse} environments, fit {fit:.1f} s, "
        f"{options.device}",
        ["steps", "s/step", "µs/atom/step", "of processors", "K", "drift, meV/atom", "error, eV/Å"],
        [[
            str(options.steps), f"{seconds:.3f}", f"{1e6 * seconds / len(atoms):.1f}",
            f"{1e6 * processor / len(atoms):.1f}",
            f"{found.temperatures[-1]:.0f}", f"{1e3 * found.drift:.4f}", f"{error:.3f}",
        ]],
    )  # fmt: skip
