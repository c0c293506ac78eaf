"""GDML beyond memory: how conjugate gradients scale with frames and atoms.

    python -m benchmarks gdml_scaling              a minute or two on one core
    python -m benchmarks gdml_scaling --frames 1000 --max-memory 2      a whole fit besides

Printed are, for aspirin with its six permutations and for alkanes without any, the processor
seconds and the memory of a product with the matrix, which is most of an iteration; what the matrix
would take; and exponents fitted to them. Of the 2,000 frames of aspirin, 200 are others whose atoms
are moved a little at random: there are no more. Whole fits of small sets of frames show how the
number of iterations grows. ``--frames`` fits so many frames of rMD17 aspirin and prints the errors.
Needs the data in SKATOM_DATA.
"""

import time
import tracemalloc

import numpy as np
from ase import Atoms

from benchmarks.harness import DATA, peak_gib, table
from skatom import Structures
from skatom.datasets import read
from skatom.descriptors.inverse_distances import pair_features
from skatom.metrics import evaluate
from skatom.models import SGDML
from skatom.models.gdml.system import GDMLSystem, permute_pairs
from skatom.solvers import PackedCholesky
from skatom.symmetry import find_permutations

PARTS = ("train", "test")
FRAMES, FITTED, SIGMA, ALPHA = (250, 500, 1000, 2000), (25, 50, 100, 200), 20.0, 1e-10
CARBONS = (2, 4, 8, 16, 32)  # of alkanes: 8, 14, 26, 50 and 98 atoms
ALKANE_FRAMES = 200
HEADER = ["", "frames", "atoms", "product/s", "product/MiB", "matrix/GiB"]


def add_arguments(parser):
    parser.add_argument("--frames", type=int, help="frames of a whole fit of aspirin")
    parser.add_argument("--max-memory", type=float, default=2.0, help="of it, GiB (2)")


def run(options):
    train, test = (read(DATA / "molecules" / f"rmd17_aspirin_{part}.npz") for part in PARTS)
    group = find_permutations(train.structures[:200])
    frames = np.concatenate([
        of.structures.positions.reshape(len(of.structures), -1, 3) for of in (train, test)
    ])  # fmt: skip
    moved = frames[: max(FRAMES) - len(frames)]
    moved = moved + np.random.default_rng(0).normal(scale=0.02, size=moved.shape)
    frames = np.concatenate([frames, moved])
    numbers = train.structures[0].numbers
    products("aspirin", FRAMES, lambda n: Structures.from_frames(numbers, frames[:n]), group)
    products("alkanes", CARBONS, alkanes, None)
    fits(train, group)
    if options.frames:
        whole_fit(train, test, group, options)


def products(name, sizes, make, group):
    """Print seconds and memory of a product for each size, and the exponents."""
    figures = []
    for size in sizes:
        structures = make(size)
        n_atoms = len(structures[0].numbers)
        permutations = np.arange(n_atoms)[None] if group is None else group
        seconds, memory, n = product(structures, permutations)
        matrix = PackedCholesky.memory(n, 512)
        figures.append((len(structures), n_atoms, seconds, memory / 2**20, matrix / 2**30))
    rows = [[name, str(m), str(n), *(f"{x:.3g}" for x in rest)] for m, n, *rest in figures]
    columns = np.array(figures).T
    varies = columns[0 if group is not None else 1]
    powers = [np.polyfit(np.log(varies), np.log(column), 1)[0] for column in columns[2:]]
    rows.append(["exponent", "", "", *(f"{power:.2f}" for power in powers)])
    table(f"A product for {name}", HEADER, rows)


def product(structures, permutations):
    """Processor seconds and bytes of a product, and the number of unknowns."""
    features = pair_features(structures)
    system = GDMLSystem(
        structures, features, permutations, permute_pairs(permutations), SIGMA, ALPHA, False
    )
    n = int(system.rows[-1])
    v = np.random.default_rng(0).normal(size=n)
    times = []
    for _ in range(2):  # the first may compile
        begin = time.process_time()
        system.product(v)
        times.append(time.process_time() - begin)
    tracemalloc.start()
    system.product(v)
    _, memory = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    return min(times), memory, n


def alkanes(n_carbons):
    """Frames of a chain of carbon atoms in zigzag with two hydrogen atoms each, three at ends."""
    x = 1.27 * np.arange(n_carbons)
    z = 0.42 * (-1.0) ** np.arange(n_carbons)
    carbon = np.stack([x, 0 * x, z], axis=1)
    outwards = np.sign(z)[:, None] * [0.0, 0.0, 0.63]
    hydrogen = [carbon + outwards + [0.0, y, 0.0] for y in (-0.89, 0.89)]
    ends = carbon[[0, -1]] - np.sign(z[[0, -1]])[:, None] * [0.0, 0.0, 0.36]
    ends[:, 0] += [-1.03, 1.03]
    chain = Atoms(f"C{n_carbons}H{2 * n_carbons + 2}", np.concatenate([carbon, *hydrogen, ends]))
    shifts = np.random.default_rng(0).normal(scale=0.05, size=(ALKANE_FRAMES, len(chain), 3))
    return Structures.from_frames(chain.numbers, chain.positions + shifts)


def fits(train, group):
    """Print iterations and processor seconds of fits to a residual of 1e-4."""
    rows = []
    for n in FITTED:
        model = SGDML(SIGMA, ALPHA, solver="cg", permutations=group, random_state=0)
        begin = time.process_time()
        model.fit(train.structures[:n], train.targets[:n])
        rows.append([str(n), str(model.n_iter_), f"{time.process_time() - begin:.1f}"])
    table("Fits of aspirin to a residual of 1e-4", ["frames", "iterations", "seconds"], rows)


def whole_fit(train, test, group, options):
    model = SGDML(
        SIGMA, ALPHA, solver="cg", permutations=group, max_memory=options.max_memory,
        random_state=0, verbose=1,
    )  # fmt: skip
    begin = time.process_time()
    model.fit(train.structures[: options.frames], train.targets[: options.frames])
    seconds = time.process_time() - begin
    errors = evaluate(model, test.structures, test.targets)
    print(
        f"\n{options.frames} frames of aspirin with {options.max_memory:g} GiB: {model.n_iter_} "
        f"iterations, {seconds:.0f} processor seconds, peak {peak_gib():.2f} GiB, errors "
        f"{1e3 * errors['energy_mae']:.2f} meV, {1e3 * errors['force_mae']:.2f} meV/Å"
    )
