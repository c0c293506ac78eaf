"""Amorphous aluminium-nickel for alloy_extrapolation, quenched and labelled with ASE's EMT.

    python -m benchmarks alloy_data

The sets follow the amorphous Li-Si data of Sinz et al., J. Chem. Phys. 153, 084109 (2020), with
effective medium theory in the place of density functional theory:

paths      relaxation paths of 40 atoms in a cubic cell at constant volume, each from a liquid of
           its own at 2500 K, its edge drawn within 3 % of the mean for the composition: 10
           compositions x 10 paths x 24 frames. The source kept 244 frames of each of 370 paths.
tiled      final frames, tiled 2x1x1 and 2x2x2, every atom moved by 0.1 Å in a random direction
large      cells of 80 and 320 atoms, melted and quenched on their own
strained   the final frame of lowest energy of each composition, edges scaled by -9 to 9 % in 19
           steps; the source had 9
barriers   11 images of a nudged elastic band each: an atom hops into a neighbouring vacancy

They are written to ``benchmarks/.data/alloy`` (or ``SKATOM_ALLOY``), the same on every run with
the same versions of ASE and NumPy. Takes some four minutes on two cores. `bulk_modulus` and
`barrier` are what the study compares.
"""

import os
import shutil
import time
from pathlib import Path

import numpy as np
from ase import Atoms, units
from ase.calculators.emt import EMT
from ase.calculators.singlepoint import SinglePointCalculator
from ase.io import read, write
from ase.md.langevin import Langevin
from ase.mep import NEB
from ase.optimize import FIRE
from joblib import Parallel, delayed

from benchmarks.harness import HERE

FOLDER = Path(os.environ.get("SKATOM_ALLOY", HERE / ".data" / "alloy"))
SETS = ("paths", "tiled", "large", "strained", "barriers")
SEED = 2021
N_ATOMS = 40
N_ALUMINIUM = (4, 8, 12, 14, 18, 20, 24, 28, 32, 36)
PATHS_PER_COMPOSITION, FRAMES_PER_PATH = 10, 24
# Volume of an atom in the elements' crystals within EMT, Å³, and the excess of the glass.
VOLUME, EXCESS = {"Al": 16.0, "Ni": 10.49}, 1.03
# Edges of the cells of the paths differ by up to this part: each glass has a pressure of its own.
STRETCH = 0.03
STRAINS = np.linspace(-0.09, 0.09, 19)
GPA = 160.21766  # in an eV/Å³


def load(name):
    """The frames of one of `SETS`, as a list of ase.Atoms with energies and forces."""
    return read(FOLDER / f"{name}.xyz", ":")


def bulk_modulus(volumes, energies, window=0.04):
    """K = V d²E/dV² in GPa, of a parabola through the points within ``window`` of the lowest.

    The window is a strain of the edge; volumes are sorted. Where the lowest is an end of the curve,
    the parabola is that of the three points there.
    """
    edges = np.cbrt(volumes)
    low = np.clip(np.argmin(energies), 1, len(energies) - 2)
    near = np.abs(edges / edges[low] - 1) < window
    curvature, slope, _ = np.polyfit(volumes[near] - volumes[low], energies[near], 2)
    return 2 * curvature * (volumes[low] - slope / (2 * curvature)) * GPA


def barrier(energies):
    """Highest less lowest energy along a path, eV."""
    return np.max(energies) - np.min(energies)


# --- melting and quenching --------------------------------------------------------------------


def quench(n_aluminium, n_atoms, shape, stretch, rng):
    """All frames of the relaxation, at constant volume, of a liquid at 2500 K.

    ``shape``: the cell in multiples of its shortest edge; ``stretch``: the factor of all edges.
    """
    atoms = random_packing(n_aluminium, n_atoms, shape, rng)
    atoms.set_cell(stretch * atoms.cell, scale_atoms=True)
    atoms.calc = EMT()
    FIRE(atoms, logfile=None).run(fmax=5.0, steps=50)
    md = Langevin(
        atoms, 3 * units.fs, temperature_K=2500, friction=0.02 / units.fs, fixcm=False, rng=rng
    )
    md.run(300)
    return relax(atoms)


def relax(atoms):
    frames = []
    optimizer = FIRE(atoms, logfile=None)
    optimizer.attach(lambda: frames.append(labelled(atoms)))
    optimizer.run(fmax=0.05, steps=200)
    return frames


def random_packing(n_aluminium, n_atoms, shape, rng):
    """Atoms at random places, none of them closer than 1.6 Å."""
    symbols = np.repeat(["Al", "Ni"], [n_aluminium, n_atoms - n_aluminium])
    volume = EXCESS * sum(VOLUME[symbol] for symbol in symbols)
    cell = np.array(shape) * (volume / np.prod(shape)) ** (1 / 3)
    positions = np.empty((0, 3))
    while len(positions) < n_atoms:
        trial = rng.uniform(size=3) * cell
        apart = positions - trial
        apart -= cell * np.round(apart / cell)
        if np.linalg.norm(apart, axis=1).min(initial=np.inf) > 1.6:
            positions = np.vstack([positions, trial])
    return Atoms(list(symbols), positions, cell=cell, pbc=True)


def labelled(atoms, **info):
    """A copy with EMT's energy and forces."""
    copy = atoms.copy()
    copy.arrays.pop("momenta", None)
    if atoms.calc is None:
        atoms = atoms.copy()
        atoms.calc = EMT()
    energy, forces = atoms.get_potential_energy(), atoms.get_forces()
    copy.calc = SinglePointCalculator(copy, energy=energy, forces=forces)
    copy.info.update(info)
    return copy


# --- the sets ---------------------------------------------------------------------------------


def path(number, n_aluminium, rng):
    """Frames at equal steps along one relaxation, the last one included."""
    frames = quench(n_aluminium, N_ATOMS, (1, 1, 1), 1 + rng.uniform(-1, 1) * STRETCH, rng)
    steps = np.round(np.linspace(0, len(frames) - 1, FRAMES_PER_PATH)).astype(int)
    for step in steps:
        frames[step].info.update(path=number, composition=n_aluminium / N_ATOMS)
    return [frames[step] for step in steps]


def tiled(final, repeats, rng):
    atoms = final.repeat(repeats)
    directions = rng.normal(size=(len(atoms), 3))
    atoms.positions += 0.1 * directions / np.linalg.norm(directions, axis=1)[:, None]
    atoms.calc = None
    return labelled(atoms, kind="tiled " + "x".join(map(str, repeats)), **composition(final))


def large(n_aluminium, repeats, rng):
    copies = int(np.prod(repeats))
    final = quench(copies * n_aluminium, copies * N_ATOMS, repeats, 1.0, rng)[-1]
    kind = "quenched " + "x".join(map(str, repeats))
    final.info.update(kind=kind, composition=n_aluminium / N_ATOMS)
    return final


def strained(final):
    frames = []
    for strain in STRAINS:
        atoms = final.copy()
        atoms.set_cell(final.cell * (1 + strain), scale_atoms=True)
        frames.append(labelled(atoms, strain=strain, **composition(final)))
    return frames


def hop(final, number, rng, n_images=11):
    """Images of the band of one atom that hops into a vacancy beside it."""
    for _ in range(40):
        vacancy = rng.integers(len(final))
        distances = final.get_distances(vacancy, np.arange(len(final)), mic=True)
        distances[vacancy] = np.inf
        hopper = int(np.argsort(distances)[rng.integers(4)])
        images = [final.copy() for _ in range(n_images)]
        step = final.get_distance(hopper, vacancy, mic=True, vector=True)
        images[-1].positions[hopper] += step
        for image in images:
            del image[vacancy]
            image.calc = EMT()
        hopper -= hopper > vacancy
        for end in (images[0], images[-1]):
            FIRE(end, logfile=None).run(fmax=0.05, steps=200)
        moved = images[-1].positions - images[0].positions
        # another path if the vacancy closed, or other atoms went with the hopper
        others = np.delete(np.linalg.norm(moved, axis=1), hopper)
        if np.linalg.norm(moved[hopper]) < 1.5 or others.max() > 0.8:
            continue
        band = NEB(images, k=0.5, method="improvedtangent")
        band.interpolate("idpp")
        FIRE(band, logfile=None).run(fmax=0.1, steps=150)
        frames = [labelled(image, hop=number, **composition(final)) for image in images]
        if barrier([frame.get_potential_energy() for frame in frames]) > 0.1:
            return frames
    raise RuntimeError("no vacancy of this cell takes an atom; change SEED")


def composition(frame):
    return {"composition": frame.info["composition"]}


def generate(n_jobs):
    streams = iter(np.random.SeedSequence(SEED).spawn(10_000))

    def each(function, arguments):
        calls = [delayed(function)(*a, np.random.default_rng(next(streams))) for a in arguments]
        return Parallel(n_jobs=n_jobs)(calls)

    order = np.tile(N_ALUMINIUM, PATHS_PER_COMPOSITION)
    paths = each(path, [(number, n) for number, n in enumerate(order)])
    yield "paths", [frame for frames in paths for frame in frames]
    finals = [frames[-1] for frames in paths]
    n = len(N_ALUMINIUM)
    yield (
        "tiled",
        each(
            tiled,
            [(final, (2, 1, 1)) for final in finals[: 3 * n]]
            + [(final, (2, 2, 2)) for final in finals[:n]],
        ),
    )
    yield (
        "large",
        each(
            large,
            [(count, (2, 1, 1)) for count in N_ALUMINIUM]
            + [(count, (2, 2, 2)) for count in N_ALUMINIUM[1::3]],
        ),
    )
    lowest = [min(finals[i::n], key=lambda frame: frame.get_potential_energy()) for i in range(n)]
    yield "strained", [frame for final in lowest for frame in strained(final)]
    hops = each(hop, [(lowest[i], number) for number, i in enumerate((1, 2, 4, 5, 7, 8))])
    yield "barriers", [frame for frames in hops for frame in frames]


def add_arguments(parser):
    parser.add_argument("--n-jobs", type=int, default=2)


def run(options):
    FOLDER.mkdir(parents=True, exist_ok=True)
    shutil.rmtree(FOLDER / "cache", ignore_errors=True)  # features of older data
    begin = time.perf_counter()
    for name, frames in generate(options.n_jobs):
        write(FOLDER / f"{name}.xyz", frames, format="extxyz")
        energies = [frame.get_potential_energy() / len(frame) for frame in frames]
        print(
            f"{name:9s}{len(frames):6d} frames, {min(energies):.3f} to {max(energies):.3f} eV an "
            f"atom, after {time.perf_counter() - begin:.0f} s",
            flush=True,
        )
