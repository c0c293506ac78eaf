"""Models as force fields of LAMMPS: equality with predict, conserved energy, overhead.

    python -m benchmarks lammps_driver

216 silicon atoms at 300 K with a sparse Gaussian process (SOAP of 5 Å, 300 environments), and one
ethanol molecule at 300 K with sGDML of 500 frames, 200 steps each at constant energy:

- largest differences of the last energy and forces of LAMMPS to ``predict``;
- largest change of the total energy, for each atom;
- time of a step, that within ``predict``, and that of ``predict`` alone, which searches the
  neighbours each time; the overhead is that of a step over ``predict`` alone;
- quippy's time for the energy, the forces and the stress of the same silicon, with the same
  descriptor and number of environments, through ASE.

LAMMPS must be installed beside skatom. Without the peer: ``--alone``.
"""

import json
import tempfile
import time
from pathlib import Path

import numpy as np
from ase.build import bulk
from ase.io import write
from ase.io.lammpsdata import write_lammps_data

from benchmarks.harness import own, peer_of, peer_script, run_worker, table

PEER = "quippy"
N_STEPS = 200


class Timed:
    """A model that measures the time within its predictions."""

    def __init__(self, model):
        self.model, self.outputs_ = model, model[-1].outputs_
        self.begins, self.seconds = [], []

    def predict(self, X, **returns):
        begin = time.perf_counter()
        answer = self.model.predict(X, **returns)
        self.seconds.append(time.perf_counter() - begin)
        self.begins.append(begin)
        return answer

    def forget(self):
        self.begins, self.seconds = [], []


def silicon_model(train):
    from ase.io import read
    from sklearn.pipeline import make_pipeline

    from skatom import Targets
    from skatom.descriptors import SOAP
    from skatom.kernels import Cosine
    from skatom.models import SparseGaussianProcess

    images = read(train, ":")
    targets = Targets(
        [atoms.info["energy_ref"] for atoms in images],
        np.concatenate([atoms.arrays["force_ref"] for atoms in images]),
        offsets=np.cumsum([0, *map(len, images)]),
    )
    model = make_pipeline(
        SOAP(cutoff=5.0, n_max=8, l_max=6, sigma=0.5),
        SparseGaussianProcess(Cosine(zeta=4), n_sparse=300, random_state=0),
    )
    return model.fit(images, targets)


def ethanol_model():
    from sklearn.pipeline import make_pipeline

    from skatom.datasets import load_ethanol
    from skatom.models import SGDML

    data = load_ethanol()
    return make_pipeline(SGDML(random_state=0).fit(data.structures[:500], data.targets[:500]))


def ethanol_atoms():
    from skatom.datasets import load_ethanol

    atoms = load_ethanol().structures[600:601].to_ase()[0]
    atoms.center(vacuum=8.0)
    return atoms


def dynamics(train, system):
    """Figures of a run of LAMMPS; called in a process of its own."""
    from skatom.lammps import LammpsDriver
    from skatom.lammps.program import open_program

    if system == "silicon":
        model, atoms = silicon_model(train), bulk("Si", cubic=True) * (3, 3, 3)
        boundary, temperature, timestep = "p p p", 300, 0.0004
    else:
        model, atoms = ethanol_model(), ethanol_atoms()
        boundary, temperature, timestep = "f f f", 300, 0.0001
    timed = Timed(model)
    program = open_program(["-screen", "none", "-log", "none"])
    with tempfile.TemporaryDirectory() as folder:
        data = Path(folder) / "atoms.data"
        write_lammps_data(data, atoms, masses=True)
        program.commands_list([
            "units metal", f"boundary {boundary}", "atom_modify map array", f"read_data {data}",
            f"velocity all create {temperature} 1 loop geom", f"timestep {timestep}",
        ])  # fmt: skip
    driver = LammpsDriver(timed)
    driver.attach(program)
    program.commands_list(["fix nve all nve", "run 10"])
    timed.forget()
    alone, energies, steps, n = Timed(model), [program.get_thermo("etotal")], [], len(atoms)
    for _ in range(N_STEPS // 20):
        first = len(timed.begins)
        program.command("run 20 pre no post no")
        steps += np.diff(timed.begins[first:]).tolist()
        energies.append(program.get_thermo("etotal"))
        for _ in range(20 if n < 20 else 3):  # in turns, as a shared machine changes its speed
            alone.predict([atoms], return_forces=True)
    program.command("run 0")
    order = np.argsort(program.numpy.extract_atom("id")[:n])
    atoms.positions = np.array(program.numpy.extract_atom("x")[:n])[order]
    energy, forces = model.predict([atoms], return_forces=True)
    found = np.array(program.numpy.extract_atom("f")[:n])[order]
    return {
        "n": n, "step_s": float(np.median(steps)), "within_s": float(np.median(timed.seconds)),
        "alone_s": float(np.median(alone.seconds)), "searches": driver.n_searches,
        "energy": abs(program.get_thermo("pe") - energy[0]),
        "forces": float(np.abs(found - forces).max()),
        "drift": float(np.abs(np.array(energies) - energies[0]).max() / n),
    }  # fmt: skip


def run(options):
    from benchmarks.sparse.sparse_gp import write_cells

    with tempfile.TemporaryDirectory() as folder:
        task = write_cells(Path(folder), 10, 1)
        rows = []
        for system in ("silicon", "ethanol"):
            f = run_worker(own(dynamics, task["train"], system), options.threads)
            rows.append([
                system, f"{f['energy']:.0e}", f"{f['forces']:.0e}", f"{f['drift']:.1e}",
                f"{1e3 * f['step_s']:.3f}", f"{1e3 * f['within_s']:.3f}",
                f"{1e3 * f['alone_s']:.3f}", f"{100 * (f['step_s'] / f['alone_s'] - 1):.1f}",
                f"{1e3 * f['step_s'] / f['n']:.4f}", str(f["searches"]),
                f"{f['foreign_cores']:.2f}",
            ])  # fmt: skip
        table(
            f"{N_STEPS} steps at constant energy in LAMMPS",
            ["system", "ΔE eV", "ΔF eV/Å", "drift eV/atom", "step ms", "in predict", "alone",
             "overhead %", "ms/atom/step", "searches", "other load"], rows,
        )  # fmt: skip
        if peer := peer_of(options, PEER):
            images = [bulk("Si", cubic=True) * (3, 3, 3) for _ in range(3)]
            for seed, atoms in enumerate(images):  # its calculator would know equal ones
                atoms.rattle(0.1, seed=seed)
            write(task["test"], images, format="extxyz")
            command = (
                peer,
                peer_script("sparse_gp_worker.py"),
                json.dumps({**task, "n_sparse": 300}),
            )
            theirs = run_worker(command, options.threads)
            print(f"quippy: {1e3 * theirs['predict_s'] / 3 / len(atoms):.4f} ms/atom/step")
