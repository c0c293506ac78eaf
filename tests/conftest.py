"""Processes that share the tests, and shared fixtures: small systems, the folder of real data."""

import os
from pathlib import Path

import joblib
import numpy as np
import pytest
from ase.build import molecule

import skatom
from skatom import Structures, Targets

# Processes that tests start import the package that is tested, whatever folder they run in: another
# copy of it would be another program, and compile all its functions again.
_HERE = [str(Path(skatom.__file__).parents[1]), *filter(None, [os.environ.get("PYTHONPATH")])]
os.environ |= {"PYTHONSAFEPATH": "1", "PYTHONPATH": os.pathsep.join(_HERE)}

# What is run without an option, and what is run after it: see setup.cfg.
TIERS = {"not slow and not thorough", "thorough"}
MOST_PROCESSES = 4  # each takes about 1 GB, and some functions are compiled in all of them


def is_whole(config):
    """Whether a command line asks for a whole tier, without a choice of some or a debugger."""
    option = config.option
    chosen = option.keyword or option.markexpr not in TIERS
    chosen = chosen or getattr(option, "lf", False) or getattr(option, "stepwise", False)
    watched = option.usepdb or option.trace or option.collectonly or option.capture == "no"
    return config.args_source is config.ArgsSource.TESTPATHS and not (chosen or watched)


@pytest.hookimpl(tryfirst=True)
def pytest_cmdline_main(config):
    """Run the whole suite in a process for each core, where pytest-xdist is installed.

    A part of the suite stays in one process, which starts at once, and ``-n`` is obeyed. Tests stay
    with their neighbours, which use the same compiled functions; a process that has done its part
    takes tests from the end of another's. More threads than cores would wait for each other.
    """
    option = config.option
    free = getattr(option, "numprocesses", 0) is None and option.dist == "no" and not option.tx
    cores = joblib.cpu_count()
    n = min(cores, MOST_PROCESSES)
    if free and n > 1 and not hasattr(config, "workerinput") and is_whole(config):
        option.numprocesses, option.dist = n, "worksteal"
        os.environ.setdefault("NUMBA_NUM_THREADS", str(max(2, cores // n)))  # some tests need two
        for name in ("MKL_NUM_THREADS", "OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
            os.environ.setdefault(name, str(cores // n))


@pytest.fixture(scope="session")
def reference_data():
    """Folder of real data; tests that need it are skipped where it is absent."""
    path = Path(os.environ.get("SKATOM_DATA", Path(__file__).parents[2] / "shared" / "data"))
    if not path.is_dir():
        pytest.skip(f"no reference data at {path}: set SKATOM_DATA")
    return path


def morse_targets(structures):
    """Energies and forces of a sum over pairs that depends on the two elements only."""
    energies, forces = [], []
    for atoms in structures.to_ase():
        vectors = atoms.positions[:, None] - atoms.positions
        distances = np.linalg.norm(vectors, axis=2) + np.eye(len(atoms))
        rest = 0.5 + 0.05 * (atoms.numbers[:, None] + atoms.numbers)
        decay = np.exp(-1.3 * (distances - rest))
        off_diagonal = 1.0 - np.eye(len(atoms))
        energies.append(0.5 * np.sum(off_diagonal * (1.0 - decay) ** 2))
        slope = off_diagonal * 2.0 * (1.0 - decay) * 1.3 * decay
        forces.append(-np.einsum("ab,abx->ax", slope / distances, vectors))
    return Targets(energy=energies, forces=np.concatenate(forces), offsets=structures.offsets)


def rattled(name, n, amplitude=0.15, seed=0):
    """Randomly displaced and rotated copies of a molecule of ASE's collection."""
    rng = np.random.default_rng(seed)
    images = []
    for _ in range(n):
        atoms = molecule(name)
        atoms.rotate(rng.uniform(0, 360), rng.normal(size=3))
        atoms.positions += rng.normal(scale=amplitude, size=atoms.positions.shape)
        images.append(atoms)
    return Structures.from_ase(images)


@pytest.fixture(scope="session")
def water():
    """Forty distorted water molecules with Morse energies and forces."""
    structures = rattled("H2O", 40)
    return structures, morse_targets(structures)


@pytest.fixture(scope="session")
def ammonia():
    """Forty distorted ammonia molecules with Morse energies and forces."""
    structures = rattled("NH3", 40)
    return structures, morse_targets(structures)
