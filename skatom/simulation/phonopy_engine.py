"""Phonons by phonopy, which displaces only atoms that symmetry does not relate."""

import numpy as np
from ase import Atoms

from skatom._files import written_whole
from skatom._progress import tqdm


def phonopy_frequencies(calculator, atoms, supercell, displacement, place, verbose):
    """Frequencies by phonopy.

    Parameters
    ----------
    calculator : ASE calculator
    atoms : ase.Atoms
        The cell, whose vectors define the wave vectors.
    supercell : tuple of int
        Its repeats.
    displacement : float
        In Å.
    place : Path
        Folder of the forces, those of earlier runs included.
    verbose : int
        Whether to show a progress bar.

    Returns
    -------
    callable
        Gives frequencies in THz, (n, n_bands), of wave vectors (n, 3) in units of the reciprocal
        cell; imaginary ones are negative.

    Raises
    ------
    ImportError
        If phonopy is not installed.
    """
    try:
        from phonopy import Phonopy
        from phonopy.structure.atoms import PhonopyAtoms
    except ImportError as error:
        raise ImportError(
            "engine='phonopy' needs the package phonopy: pip install phonopy, or take engine='ase'"
        ) from error
    cell = PhonopyAtoms(
        symbols=atoms.get_chemical_symbols(),
        cell=atoms.cell.array,
        scaled_positions=atoms.get_scaled_positions(),
        masses=atoms.get_masses(),
    )
    method = Phonopy(cell, np.diag(supercell), primitive_matrix=np.eye(3))
    method.generate_displacements(distance=displacement)
    displaced = method.supercells_with_displacements
    with tqdm(total=len(displaced), desc="displacements", disable=not verbose) as bar:
        forces = []
        for number, crystal in enumerate(displaced):
            forces.append(_forces(calculator, crystal, atoms.pbc, place / f"{number}.npy"))
            bar.update()
    method.forces = forces
    method.produce_force_constants()
    method.symmetrize_force_constants()

    def frequencies(wave_vectors):
        method.run_qpoints(wave_vectors)
        return np.array(method.qpoints.frequencies)

    return frequencies


def _forces(calculator, crystal, pbc, file):
    """Forces on a supercell, from the file if they were computed before."""
    if file.exists():
        return np.load(file)
    atoms = Atoms(
        crystal.symbols, cell=crystal.cell, scaled_positions=crystal.scaled_positions, pbc=pbc
    )
    atoms.calc = calculator
    forces = atoms.get_forces()
    with written_whole(file) as beside:
        np.save(beside, forces)
    return forces
