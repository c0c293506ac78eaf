"""Fragments: which atoms they have, forces that may be trusted, models that learn these alone."""

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk
from ase.calculators.lj import LennardJones
from ase.calculators.singlepoint import SinglePointCalculator

from skatom import Structures, Targets
from skatom.active import cut_fragment, fragment_noises
from skatom.descriptors import MomentTensor
from skatom.models import LinearPotential

REACH = 4.0


def argon(size=4, seed=0):
    atoms = bulk("Ar", a=4.4, cubic=True) * size
    atoms.rattle(0.15, seed=seed)
    return atoms


def reference():
    """Energies of pairs, which end at a distance: a force does not depend on atoms beyond."""
    return LennardJones(sigma=3.0, epsilon=0.01, rc=REACH, ro=0.8 * REACH, smooth=True)


def labelled(atoms):
    atoms = atoms.copy()
    known = reference()
    known.calculate(atoms, ["energy", "forces"])
    results = {name: known.results[name] for name in ("energy", "forces")}
    atoms.calc = SinglePointCalculator(atoms, **results)
    return atoms


@pytest.mark.parametrize("size", [2, 3])  # smaller and larger than the fragment
@pytest.mark.parametrize("centers", [[0], [5, 6]])
def test_forces_on_trusted_atoms_are_those_in_the_whole(size, centers):
    whole = labelled(argon(size))
    fragment = labelled(cut_fragment(whole, centers, 3.5, buffer=REACH))
    trusted, index = fragment.arrays["trusted"], fragment.arrays["index"]
    assert set(centers) <= set(index[trusted])
    assert 0 < trusted.sum() < len(fragment)
    np.testing.assert_allclose(
        fragment.get_forces()[trusted], whole.get_forces()[index[trusted]], atol=1e-12
    )
    assert np.abs(fragment.get_forces() - whole.get_forces()[index]).max() > 1e-3


def test_a_fragment_across_the_boundary_is_in_one_piece():
    whole = argon(3)
    fragment = cut_fragment(whole, [0], 3.5, buffer=2.0)
    distances = np.linalg.norm(fragment.positions - fragment.positions[0], axis=1)
    assert distances.max() < 5.5
    assert not fragment.pbc.any()
    moved = whole.copy()
    moved.positions += [7.0, -3.0, 30.0]
    moved.wrap()
    again = cut_fragment(moved, [0], 3.5, buffer=2.0)
    np.testing.assert_allclose(
        np.sort(again.get_all_distances(), axis=None),
        np.sort(fragment.get_all_distances(), axis=None), atol=1e-9,
    )  # fmt: skip


def test_all_of_a_molecule_in_reach_is_the_molecule():
    molecule = Atoms("Ar3", [[0, 0, 0], [3, 0, 0], [0, 3, 0]])
    fragment = cut_fragment(molecule, [1], 10.0, buffer=1.0)
    assert fragment.arrays["trusted"].all()
    assert sorted(fragment.arrays["index"]) == [0, 1, 2]


def test_models_learn_the_trusted_forces_alone():
    whole = [argon(2, seed) for seed in range(2)]
    fragments = [labelled(cut_fragment(atoms, [3], 3.5, buffer=2 * REACH)) for atoms in whole]
    wrong = [frame.copy() for frame in fragments]
    for frame, fragment in zip(wrong, fragments, strict=True):
        forces = fragment.get_forces()
        forces[~frame.arrays["trusted"]] = 7.0
        frame.calc = SinglePointCalculator(frame, energy=-100.0, forces=forces)
    tensors = MomentTensor(cutoff=REACH, level=6).fit(Structures.from_ase(fragments))
    test = tensors.transform(Structures.from_ase(whole))
    found = []
    for frames in (fragments, wrong):
        model = LinearPotential(alpha=1e-8, **fragment_noises(frames))
        features = tensors.transform(Structures.from_ase(frames))
        model.fit(features, Targets.from_ase(frames))
        found.append(model.predict(test, return_forces=True)[1])
    np.testing.assert_allclose(*found, atol=1e-6)
    true = np.concatenate([labelled(atoms).get_forces() for atoms in whole])
    assert np.sqrt(np.mean((found[0] - true) ** 2)) < 0.3 * np.sqrt(np.mean(true**2))


def test_whole_structures_keep_their_noises():
    whole = argon(2)
    noises = fragment_noises([whole], noise_energy=0.002, noise_forces=0.05)
    assert noises["noise_energy"].tolist() == [0.002]
    assert (noises["noise_forces"] == 0.05).all()


def test_bad_input_is_told():
    whole = argon(2)
    with pytest.raises(ValueError, match="no centers"):
        cut_fragment(whole, [], 3.0, buffer=3.0)
    with pytest.raises(ValueError, match=r"centers=\[99\] of 32 atoms"):
        cut_fragment(whole, [99], 3.0, buffer=3.0)
    with pytest.raises(ValueError, match="radius=0 must be positive"):
        cut_fragment(whole, [0], 0.0, buffer=3.0)
