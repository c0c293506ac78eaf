"""What a model needs of a running LAMMPS: units, a box, elements of the types of atoms."""

import numpy as np
from ase.data import atomic_masses, atomic_numbers, chemical_symbols

from skatom._prediction import unwrap

# How far the mass of a type may be from that of its element.
_SAME_MASS = 0.05


def check_program(program):
    """ValueError if the units, the ranks or the box are not what a model can be used with."""
    units = program.extract_global("units")
    if units != "metal":
        raise ValueError(
            f"the input has units {units}, but models have eV and Å: write units metal, with "
            "lengths in Å, times in ps and temperatures in K"
        )
    ranks = program.extract_setting("world_size")
    if ranks != 1:
        raise ValueError(
            f"LAMMPS runs on {ranks} ranks, but a model sees the atoms of one rank only: run one "
            "rank, whose predictions use all threads"
        )
    if not program.extract_setting("box_exist"):
        raise ValueError(
            "the input has a fix or a run before there is a box: read_data, read_restart or "
            "create_box must come first"
        )


def elements_of_types(program, model, species=None):
    """Atomic numbers of the types 1, 2, … with a zero before them.

    Parameters
    ----------
    program : lammps.lammps
    model : fitted estimator
    species : sequence of str, or None
        Their symbols. None: from the masses.

    Returns
    -------
    ndarray of int, shape (n_types + 1,)
    """
    n_types = program.extract_setting("ntypes")
    known = known_elements(model)
    if species is None:
        numbers = [_of_mass(program, t, known) for t in range(1, n_types + 1)]
    else:
        unknown = [symbol for symbol in species if symbol not in atomic_numbers]
        if unknown:
            raise ValueError(f"species {unknown[0]} is no element: give chemical symbols")
        if len(species) != n_types:
            raise ValueError(
                f"species {' '.join(species)} are {len(species)}, but the box has {n_types} atom "
                "types: give one element for each type"
            )
        numbers = [atomic_numbers[symbol] for symbol in species]
    for t, number in enumerate(numbers, 1):
        if known is not None and number not in known:
            symbol, others = chemical_symbols[number], [chemical_symbols[z] for z in known]
            raise ValueError(
                f"atom type {t} is {symbol}, but the model knows {', '.join(others)} only: train "
                f"it on structures with {symbol}, or name the elements of the types by species"
            )
    return np.array([0, *numbers])


def known_elements(model):
    """Sorted atomic numbers that a model learnt from, or None if it does not say."""
    model = unwrap(model)
    for step in [step for _, step in getattr(model, "steps", [(None, model)])]:
        for name in ("species_", "numbers_"):
            found = getattr(unwrap(step), name, None)
            if found is not None:
                return sorted(set(np.asarray(found).tolist()))
    return None


def _of_mass(program, atom_type, known):
    masses = program.numpy.extract_atom("mass")
    mass = 0.0 if masses is None else float(masses[atom_type])
    candidates = np.arange(1, len(atomic_masses))
    nearest = int(candidates[np.argmin(np.abs(atomic_masses[candidates] - mass))])
    if abs(atomic_masses[nearest] - mass) > _SAME_MASS:
        elements = "" if known is None else f" of {', '.join(chemical_symbols[z] for z in known)}"
        raise ValueError(
            f"atom type {atom_type} has the mass {mass:g}, which is that of no element: name the "
            f"elements{elements} of the types by species"
        )
    return nearest
