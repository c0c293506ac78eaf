"""N-body processes: order of the kernel, mapping, and what LAMMPS makes of them.

    python -m benchmarks nbody

On real crystals:

- The order of the kernel: log marginal likelihood for each observation and mean error of the
  forces, |ΔF| averaged over atoms, with pairs alone and with triangles, for training sets of 50 to
  500 environments of nickel and silicon (mlearn, published split), with the same noise.
- Mapping: at 500 environments, the time of a prediction of energies and forces by the process and
  by its tables, their ratio, and the largest difference of the forces on unseen frames.
- In LAMMPS: the largest difference of the forces of ``pair_style table``, for pairs, and
  ``pair_style uf3``, for triangles, for one frame. With ``--alone``, this part is left out.
"""

import tempfile
from functools import partial
from pathlib import Path

import numpy as np

from benchmarks.harness import DATA, peer_of, peer_script, run_process, table, timed

PEER = "lammps"
SETTINGS = {  # sigma, cutoff of pairs; sigma, cutoff of triangles, Å
    "Ni": (0.5, 5.0, 0.8, 4.0),
    "Si": (0.5, 5.0, 1.0, 4.6),
}


def frames(element, part):
    """Structures and targets of a published part of mlearn."""
    from skatom.datasets import read

    data = read(DATA / "mlearn" / f"mlearn_{element}_{part}.xyz.xz")
    return data.structures, data.targets


def kernels(element):
    from skatom.kernels import NBody

    sigma_2, cutoff_2, sigma_3, cutoff_3 = SETTINGS[element]
    pairs = NBody(order=2, sigma=sigma_2, cutoff=cutoff_2, amplitude=2.0)
    triangles = NBody(order=3, sigma=sigma_3, cutoff=cutoff_3, amplitude=0.2)
    return {"pairs": pairs, "pairs and triangles": pairs + triangles}


def process(kernel, n_environments):
    from skatom.models import NBodyGaussianProcess

    return NBodyGaussianProcess(
        kernel, noise_forces=0.1, n_environments=n_environments, random_state=0
    )


def force_error(predicted, targets):
    return np.linalg.norm(predicted - targets.forces, axis=1).mean()


def forces_only(targets):
    from skatom import Targets

    return Targets(forces=targets.forces, offsets=targets.offsets)


def orders():
    from skatom.models import MappedForceField

    rows = []
    for element in SETTINGS:
        structures, targets = frames(element, "train")
        unseen, truth = frames(element, "test")
        for n in (50, 200, 500):
            for name, kernel in kernels(element).items():
                model = process(kernel, n)
                seconds, _ = timed(partial(model.fit, structures, forces_only(targets)))
                mapped = MappedForceField.from_fitted(model)
                _, forces = mapped.predict(unseen, return_forces=True)
                rows.append([
                    element, str(n), name,
                    f"{model.log_marginal_likelihood_ / model.n_observations_:.3f}",
                    f"{force_error(forces, truth):.3f}", f"{seconds:.1f}",
                ])  # fmt: skip
    table(
        "Learning from forces alone",
        ["element", "environments", "kernel", "LML/N", "error eV/Å", "fit s"], rows,
    )  # fmt: skip


def mapping():
    from skatom.models import MappedForceField

    rows = []
    for element in SETTINGS:
        structures, targets = frames(element, "train")
        unseen = frames(element, "test")[0]
        unseen = unseen[:4]
        for name, kernel in kernels(element).items():
            model = process(kernel, 500).fit(structures, forces_only(targets))
            seconds, mapped = timed(partial(MappedForceField.from_fitted, model))
            slow, exact = timed(partial(model.predict, unseen, return_forces=True))
            fast, tables = timed(partial(mapped.predict, unseen, return_forces=True), 5)
            difference = np.abs(exact[1] - tables[1]).max()
            rows.append([
                element, name, f"{len(unseen.numbers)}", f"{slow:.3f}", f"{1e3 * fast:.2f}",
                f"{slow / fast:.0f}", f"{seconds:.2f}", f"{difference:.1e}",
            ])  # fmt: skip
    table(
        "500 environments: the process and its tables",
        ["element", "kernel", "atoms", "process s", "tables ms", "ratio", "mapping s", "ΔF eV/Å"],
        rows,
    )  # fmt: skip


def in_lammps(peer, threads):
    """Differences of forces in eV/Å to those of LAMMPS from the exported files."""
    from skatom.models import MappedForceField

    rows = []
    structures, targets = frames("Si", "train")
    unseen = frames("Si", "test")[0][:1]
    for name, kernel in kernels("Si").items():
        model = process(kernel, 100).fit(structures, forces_only(targets))
        mapped = MappedForceField.from_fitted(model)
        forces = mapped.predict(unseen, return_forces=True)[1]
        with tempfile.TemporaryDirectory() as folder:
            commands = mapped.write_lammps(Path(folder) / "Si")
            frame = Path(folder) / "frame.xyz"
            unseen.to_ase()[0].write(frame, format="extxyz")
            theirs = run_process((peer, peer_script("lammps_forces.py"), frame, *commands), threads)
        difference = np.abs(np.array(theirs) - forces)
        rows.append([name, f"{difference.max():.1e}", f"{np.abs(forces).mean():.2f}"])
    table(
        "Forces of the exported files in LAMMPS",
        ["kernel", "largest difference eV/Å", "mean |F|"], rows,
    )  # fmt: skip


def run(options):
    mapping()
    orders()
    if peer := peer_of(options, PEER):
        in_lammps(peer, options.threads)
