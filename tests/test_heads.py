"""Heads of neural potentials: sums, means, charges, and the dipoles that charges make."""

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from architectures_under_contract import CPU, SMOOTH, WATER, random_network, rattled  # noqa: E402
from ase import Atoms  # noqa: E402
from ase.build import molecule  # noqa: E402
from models_under_contract import crystals, labels_of, waters  # noqa: E402

from skatom import Structures, Targets  # noqa: E402
from skatom.models import SchNet  # noqa: E402
from skatom.models.neural.heads import (  # noqa: E402
    ChargeHead,
    DipoleHead,
    DipoleNormHead,
    EnergyHead,
    MeanHead,
)

SMALL = {
    "cutoff": 3.5, "n_features": 8, "n_interactions": 1, "n_rbf": 8, "gamma": 4.0, "batch_size": 6,
    "max_iter": 60, "learning_rate_init": 0.02, "ema_decay": 0.9, "validation_fraction": 0.2,
    "dtype": "float64", "random_state": 0,
}  # fmt: skip
IMAGES = [rattled(molecule("CH3CH2OH")), WATER, Atoms("O")]


def found(head, images=IMAGES, derivatives=False):
    """What a network of random weights gives with a head."""
    network = random_network(SMOOTH["schnet"](), head(6, 3))
    return network.evaluate(Structures.from_ase(images), CPU, derivatives)


class TestOutputs:
    def test_means_are_sums_over_the_number_of_atoms(self):
        sums, means = (found(head, derivatives=True) for head in (EnergyHead, MeanHead))
        n = np.array([9, 3, 1])
        np.testing.assert_allclose(means["energy"] * n, sums["energy"], rtol=1e-12)
        rows = np.repeat(n, n)
        for name in ("local_energies", "gradient"):
            expected = (sums[name].T / rows).T
            np.testing.assert_allclose(means[name], expected, rtol=1e-11, atol=1e-13)

    def test_dipoles_are_those_of_charges_that_sum_up_to_zero(self):
        charges = found(ChargeHead)["charges"]
        dipoles = found(DipoleHead)
        offsets = np.array([0, 9, 12, 13])
        for k, atoms in enumerate(IMAGES):
            own = charges[offsets[k] : offsets[k + 1]]
            own = own - own.mean()
            np.testing.assert_allclose(
                dipoles["charges"][offsets[k] : offsets[k + 1]], own, atol=1e-12
            )
            np.testing.assert_allclose(dipoles["dipole"][k], own @ atoms.positions, atol=1e-12)

    def test_dipoles_follow_rotations_and_not_translations(self):
        turn = np.linalg.qr(np.random.default_rng(1).normal(size=(3, 3)))[0]
        other = [atoms.copy() for atoms in IMAGES]
        for atoms in other:
            atoms.positions = atoms.positions @ turn.T + 100.0
        expected = found(DipoleHead)["dipole"] @ turn.T
        np.testing.assert_allclose(found(DipoleHead, other)["dipole"], expected, atol=1e-11)

    def test_norms_are_the_lengths_of_the_network_s_dipoles(self):
        network = random_network(SMOOTH["schnet"](), DipoleHead(6, 3))
        network.constants = np.zeros(3)
        dipoles = network.evaluate(Structures.from_ase(IMAGES), CPU, False)["dipole"]
        norms = found(DipoleNormHead)["dipole_norm"]
        np.testing.assert_allclose(norms, np.linalg.norm(dipoles, axis=1), rtol=1e-12)


class TestTraining:
    def test_of_dipoles_begins_with_charges_of_the_elements(self):
        structures = waters(16)
        x = structures.positions.reshape(-1, 3, 3)
        targets = Targets(dipole=np.array([-0.8, 0.4, 0.4]) @ x)
        model = SchNet(**SMALL | {"max_iter": 1, "learning_rate_init": 1e-12}, target="dipole")
        dipole, charges = model.fit(structures, targets).predict(structures, return_charges=True)
        np.testing.assert_allclose(dipole, targets.dipole, atol=1e-9)
        np.testing.assert_allclose(charges, np.tile([-0.8, 0.4, 0.4], 16), atol=1e-9)
        assert model.outputs_ == ("dipole", "charges")
        assert model.score(structures, targets) == pytest.approx(1, abs=1e-12)

    def test_of_dipoles_by_polarised_charges(self):
        """Charges that depend on distances are learnt from dipoles alone."""
        structures = waters(40)
        x = structures.positions.reshape(-1, 3, 3)
        lengths = np.linalg.norm(x[:, 1:] - x[:, :1], axis=2)
        q = 0.4 * (1 + (lengths - 1.0))
        dipoles = np.einsum("nh,nhx->nx", q, x[:, 1:] - x[:, :1])
        model = SchNet(**SMALL, target="dipole").fit(structures[:32], dipoles[:32])
        errors = model.predict(structures[32:]) - dipoles[32:]
        fixed = SchNet(**SMALL | {"max_iter": 1, "learning_rate_init": 1e-12}, target="dipole")
        fixed.fit(structures[:32], dipoles[:32])
        left = fixed.predict(structures[32:]) - dipoles[32:]
        assert np.abs(errors).mean() < 0.3 * np.abs(left).mean()

    def test_of_norms(self):
        structures = waters(40)
        norms = np.linalg.norm(labels_of(structures, ("dipole",)).dipole, axis=1)
        targets = Targets(dipole_norm=norms)
        model = SchNet(**SMALL, target="dipole_norm").fit(structures[:32], targets[:32])
        errors = model.predict(structures[32:]) - norms[32:]
        assert np.abs(errors).mean() < 0.3 * np.abs(norms - norms.mean()).mean()
        assert model.outputs_ == ("dipole_norm",)

    def test_of_charges(self):
        """Of some structures, in crystals; those of the elements are the constants."""
        structures = crystals(12)
        charges = np.where(structures.numbers == 3, 0.9, -0.9) + 0.05 * structures.positions[:, 0]
        charges[:4] = np.nan
        targets = Targets(charges=charges, offsets=structures.offsets)
        model = SchNet(**SMALL | {"max_iter": 5}, target="charges").fit(structures, targets)
        found = model.predict(structures)
        assert found.shape == (48,)
        mean = {z: np.nanmean(charges[structures.numbers == z]) for z in (3, 9)}
        np.testing.assert_allclose(found, [mean[z] for z in structures.numbers], atol=0.2)
        assert model.outputs_ == ("charges",)

    def test_means_do_not_grow_with_the_molecule(self):
        """Labels that are the same for one molecule and two of them, far apart."""
        one = waters(12).to_ase()
        two = [atoms.copy() for atoms in one]
        for atoms in two:
            other = atoms.copy()
            other.positions += [30, 0, 0]
            atoms += other
        numbers = [atoms.get_distance(0, 1) for atoms in one]
        model = SchNet(**SMALL | {"max_iter": 20}, pooling="mean").fit(one, numbers)
        np.testing.assert_allclose(model.predict(two), model.predict(one), rtol=1e-9)


class TestErrors:
    def test_a_baseline_is_one_of_energies(self):
        structures = waters(8)
        model = SchNet(**SMALL, target="dipole", baseline="elements")
        with pytest.raises(ValueError, match="baseline='elements' is one of energies, and target="):
            model.fit(structures, labels_of(structures, ("dipole",)))

    def test_dipoles_of_crystals(self):
        structures = crystals(8)
        with pytest.raises(ValueError, match="structure 0 is periodic, and the dipole of its char"):
            SchNet(**SMALL, target="dipole").fit(structures, np.zeros((8, 3)))

    def test_no_labels_of_the_target(self):
        structures = waters(8)
        with pytest.raises(ValueError, match="no structure has dipole, which SchNet learns from"):
            SchNet(**SMALL, target="dipole").fit(structures, labels_of(structures, ("energy",)))

    def test_another_head_is_no_warm_start(self):
        structures = waters(8)
        model = SchNet(**SMALL | {"max_iter": 1}, warm_start=True)
        model.fit(structures, labels_of(structures, ("energy",)))
        with pytest.raises(ValueError, match="network of another target or pooling: set them as"):
            model.set_params(pooling="mean").fit(structures, labels_of(structures, ("energy",)))
