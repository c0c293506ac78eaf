"""SOAP of the averaged density: its relation to sums of atoms, and models of it."""

import numpy as np
import pytest
from ase.build import bulk, molecule
from models_under_contract import crystals, labels_of
from sklearn.pipeline import make_pipeline

from skatom import Structures
from skatom._prediction import predict
from skatom.descriptors import SOAP, AveragedSOAP, FeatureScaler
from skatom.kernels import Cosine, Gaussian
from skatom.models import ForceKernelRidge
from skatom.neighbors import neighbor_list

SMALL = {"cutoff": 4.0, "n_max": 3, "l_max": 3}


def images():
    found = [molecule(name) for name in ("CH3OH", "CH3CHO", "H2O")]
    for seed, atoms in enumerate(found):
        atoms.rattle(0.1, seed=seed)
    return found


@pytest.mark.parametrize("nu", [1, 2, 3])
def test_one_environment_has_the_features_of_its_atoms(nu):
    aluminium = [bulk("Al", "fcc", a=4.05), bulk("Al", "fcc", a=4.05, cubic=True)]
    inner = AveragedSOAP(SOAP(**SMALL, nu=nu)).fit_transform(aluminium).values
    outer = SOAP(**SMALL, nu=nu, pool="mean").fit_transform(aluminium).values
    np.testing.assert_allclose(inner, outer, atol=1e-12)


def test_environments_that_are_images_of_each_other_do_not_average_to_themselves():
    """Those of diamond are inverted, and lose their odd coefficients."""
    diamond = [bulk("Si", "diamond", a=5.43)]
    inner = AveragedSOAP(SOAP(**SMALL)).fit_transform(diamond)
    outer = SOAP(**SMALL, pool="mean").fit_transform(diamond).values
    odd = [name.startswith(("soap_l1", "soap_l3")) for name in inner.feature_names]
    np.testing.assert_allclose(inner.values[0, odd], 0.0, atol=1e-12)
    assert outer[0, odd].max() > 0.01


def test_radial_spectrum_is_the_mean_of_those_of_the_atoms():
    """It is linear in the density."""
    soap = SOAP(**SMALL, nu=1, normalize=False)
    inner = AveragedSOAP(soap).fit_transform(images()).values
    outer = soap.set_params(pool="mean").fit_transform(images()).values
    np.testing.assert_allclose(inner, outer, rtol=1e-12)


@pytest.mark.parametrize("nu", [2, 3])
def test_features_are_those_of_all_neighbours_around_one_centre(nu):
    (atoms, *_) = images()
    soap = SOAP(**SMALL, nu=nu, normalize=False, central_weight=0.0).fit([atoms])
    inner = AveragedSOAP(soap).fit_transform([atoms]).values[0]
    pairs = neighbor_list(Structures.from_ase([atoms]), 4.0)
    numbers = [8, *atoms.numbers[pairs.indices]]
    union = Structures(numbers, np.concatenate([np.zeros((1, 3)), pairs.vectors]))
    together = soap.transform(union).values[0]
    np.testing.assert_allclose(inner, together / len(atoms) ** nu, rtol=1e-10)


def test_learns_forces_and_stresses():
    structures = crystals(8)
    targets = labels_of(structures, ("energy", "forces", "stress"))
    model = make_pipeline(
        AveragedSOAP(SOAP(cutoff=3.5, n_max=3, l_max=2)), FeatureScaler(),
        ForceKernelRidge(Gaussian(5.0), alpha=1e-6, alpha_virial=1e-8),
    )  # fmt: skip
    found = predict(model.fit(structures, targets), structures, targets.names)
    for name, values in found.items():
        truth = getattr(targets, name)
        spread = np.abs(truth - truth.mean(axis=0)).mean()
        assert np.abs(values - truth).mean() < 0.1 * spread


def test_normalised_kernel_of_structures():
    features = AveragedSOAP(SOAP(**SMALL)).fit_transform(images())
    gram = Cosine(2)(features)
    np.testing.assert_allclose(gram.diagonal(), 1.0, rtol=1e-12)
    assert gram[0, 1] > gram[0, 2] > 0


def test_batches_do_not_matter(monkeypatch):
    from skatom.descriptors import averaged_soap

    features = AveragedSOAP(SOAP(**SMALL)).fit_transform(images())
    cotangent = np.random.default_rng(0).normal(size=features.shape)
    expected = features.values, *features.pullback(cotangent)
    monkeypatch.setattr(averaged_soap, "_COEFFICIENTS", 1)
    again = features.descriptor.transform(images())
    for found, known in zip((again.values, *again.pullback(cotangent)), expected, strict=True):
        np.testing.assert_allclose(found, known, atol=1e-13)


@pytest.mark.parametrize("parameters", [{"pool": "mean"}, {"device": "torch"}])
def test_other_pools_and_devices_are_errors(parameters):
    with pytest.raises(ValueError, match="use pool=None and device='cpu'"):
        AveragedSOAP(SOAP(**parameters)).fit(images())
    with pytest.raises(ValueError, match="'soap' parameter of AveragedSOAP"):
        AveragedSOAP("soap").fit(images())
