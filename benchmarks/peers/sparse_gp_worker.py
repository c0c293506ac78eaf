"""Fit with gap_fit and predict with quippy; runs in the peer's environment.

See the benchmark sparse_gp.
"""

import json
import resource
import subprocess
import sys
from pathlib import Path

import numpy as np
from ase.io import read

sys.path.append(str(Path(__file__).parents[2]))

from benchmarks.harness import report, timed

SOAP = (
    "soap cutoff=5.0 cutoff_transition_width=0.5 n_max=8 l_max=6 atom_sigma=0.5 zeta=4 delta=1.0 "
    "covariance_type=dot_product sparse_method=cur_points"
)


def fit(task, folder):
    command = [
        Path(sys.executable).parent / "gap_fit",
        f"at_file={task['train']}",
        f"gap={{{SOAP} n_sparse={task['n_sparse']}}}",
        "default_sigma={0.001 0.05 0.0 0.0}",
        "e0_method=average",
        "energy_parameter_name=energy_ref",
        "force_parameter_name=force_ref",
        "virial_parameter_name=none",
        "do_copy_at_file=F",
        "sparse_separate_file=F",
        f"gp_file={folder / 'gap.xml'}",
    ]
    subprocess.run([str(part) for part in command], cwd=folder, check=True, capture_output=True)


def predict(model, structures):
    """Energies (n,), forces of all atoms, and stresses (n, 6)."""
    energies, forces, stresses = [], [], []
    for atoms in structures:
        atoms = atoms.copy()
        atoms.calc = model
        energies.append(atoms.get_potential_energy())
        forces.append(atoms.get_forces())
        stresses.append(atoms.get_stress())
    return np.array(energies), np.concatenate(forces), np.array(stresses)


def main(task):
    from quippy.potential import Potential

    folder = Path(task["train"]).parent
    fit_s, _ = timed(lambda: fit(task, folder))
    peak = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 2**20
    model = Potential("IP GAP", param_filename=str(folder / "gap.xml"))
    structures = read(task["test"], ":")
    predict_s, (energies, forces, _) = timed(lambda: predict(model, structures), 3)
    report(
        fit_s=fit_s, predict_s=predict_s, peak_gib=peak, energies=energies.tolist(),
        forces=forces.tolist(),
    )  # fmt: skip


if __name__ == "__main__":
    main(json.loads(sys.argv[1]))
