"""What every descriptor promises: the contract of features.

A descriptor is added to `CASES`; all tests below then run for it.
"""

import pickle
from dataclasses import dataclass, field

import joblib
import numba
import numpy as np
import pandas as pd
import pytest
from ase import Atoms
from ase.build import make_supercell, molecule
from batches import CELL, SCALED, crystal, mixed, random_rotation, rattled_methanol
from derivatives import slopes_of_displacements, slopes_of_strains
from sklearn.base import clone
from sklearn.decomposition import PCA
from sklearn.linear_model import Ridge
from sklearn.model_selection import GridSearchCV, train_test_split
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from skatom import Structures
from skatom.descriptors import (
    ACSF,
    FCHL19,
    SOAP,
    AtomicClusterExpansion,
    AtomicFeatures,
    AveragedSOAP,
    BagOfBonds,
    CartesianCoordinates,
    ChebyshevFunctions,
    CompositionDescriptors,
    CoulombMatrix,
    DescriptorUnion,
    EwaldMatrix,
    ExtendedCoulombMatrix,
    FeatureMap,
    FeatureScaler,
    FeatureSelector,
    GeneralizedCoulombMatrix,
    InverseDistances,
    Linear,
    ManyBodyExpansion,
    ManyBodyTensor,
    MomentTensor,
    PairDistances,
    PairKernelMatrix,
    PartialRadialDistribution,
    PointScattering,
    PrototypeEncoder,
    Scale,
    Select,
    SineMatrix,
    StructureFeatures,
    ThermometerEncoder,
    TripleAngles,
    ValleOganovFingerprint,
    WaveletScattering,
    atomic_derivatives,
)
from skatom.descriptors import base as descriptors_base
from skatom.descriptors.origin import difference_of
from skatom.kernels import Gaussian
from skatom.neighbors import NeighborList, neighbor_list
from skatom.random_features import (
    PrincipalComponents,
    RandomFourierFeatures,
    SampledNetworkFeatures,
)


def same_atoms():
    """A molecule, a crystal and a slab of the same three atoms."""
    return [crystal(False), crystal(), crystal((True, True, False))]


def same_molecules():
    frames = [rattled_methanol() for _ in range(3)]
    for seed, atoms in enumerate(frames):
        atoms.rattle(0.1, seed=seed)
    return frames


def molecules():
    """Rattled molecules of several sizes."""
    frames = [rattled_methanol(), molecule("H2O"), molecule("C2H4")]
    for seed, atoms in enumerate(frames):
        atoms.rattle(0.1, seed=seed)
    return frames


def crystals():
    """Crystals of two sizes, the smaller one of another cell."""
    small = Atoms("CO", cell=CELL[::-1] + 0.3, scaled_positions=SCALED[1:] ** 2, pbc=True)
    moved = crystal()
    moved.rattle(0.1, seed=1)
    return [crystal(), small, moved]


def substituted_crystals():
    """The same crystal with other elements, its atoms a little off."""
    found = [crystal() for _ in range(4)]
    for atoms, elements in zip(found[1:], ("NaClO", "GaAsS", "TiBrN"), strict=True):
        atoms.symbols = elements
        atoms.rattle(0.05, seed=1)
    return found


def one_crystal():
    return crystals()[1:2]


def without_slabs():
    return [rattled_methanol(), crystal()]


@dataclass
class Case:
    """A descriptor, some structures for it, and what it does not promise."""

    make: type
    parameters: dict = field(default_factory=dict)
    structures: callable = mixed
    invariant: bool = True  # exactly, under all motions
    extensive: bool = True  # a supercell and other atoms than in ``fit`` are allowed
    smooth: bool = True  # no kinks
    pairs: bool = True  # features of atoms are functions of pairs with neighbours
    periodic: bool = True  # describes crystals, whatever the choice of their cell
    other: callable = lambda: [molecule("H2O")]  # another structure to fit to
    first: bool = True  # the first of its class: what the class as a whole does is tested once

    def __call__(self, **parameters):
        return self.make(**{**self.parameters, **parameters})

    @property
    def atomic(self):
        return self.make in ATOMIC and self.parameters.get("pool") is None


def matrix_case(make, structures, permutation, periodic=True, **parameters):
    """A matrix of pairs of atoms with another order."""
    parameters = {"permutation": permutation, **parameters}
    return Case(make, parameters, structures, extensive=False, periodic=periodic, first=False)


def tensor_case(function, structures, periodic=True, **parameters):
    """A many-body tensor of another function.

    Exponential weights end with a step: their cutoffs are no distances in lattices.
    """
    parameters = {"function": function, **parameters}
    other = one_crystal if structures is crystals else molecules
    return Case(
        ManyBodyTensor,
        parameters,
        structures,
        extensive=False,
        periodic=periodic,
        other=other,
        first=False,
    )


ATOMIC = {
    SOAP, ACSF, AtomicClusterExpansion, ChebyshevFunctions, FCHL19, MomentTensor, PointScattering,
}  # fmt: skip
SMALL_SOAP = {"cutoff": 4.0, "n_max": 3, "l_max": 2}
ACSF_ALL = {
    "cutoff": 4.0, "g1": True, "g2": [(0.5, 0.0), (1.0, 1.5)], "g3": [0.7],
    "g4": [(0.05, 1, -1, 0), (0.05, 2, -1, 0), (0.1, 4, 1, 0.5)],
    "g5": [(0.05, 1, 1, 0), (0.3, 2.5, 0.5, 1.0)],
    "ani": [(0.8, 8, 1.5, 0.4), (0.8, 3.5, 2.5, 2.0), (0.8, 8, 2.5, np.pi)],
    "angular_cutoff": 3.7,
}  # fmt: skip
SMALL_FCHL19 = {"cutoff": 4.0, "n_r2": 6, "n_r3": 5}
SMALL_EXPANSION = {"cutoff": 4.0, "degrees": (4, 3, 4, 4.5)}
SMALL_MOMENTS = {"cutoff": 4.0, "level": 8}
SMOOTH = {"weighting": "smooth_cutoff", "cutoff": 4.0}
# Without l = 0 of n > 1, where a modulus has a kink wherever its field changes its sign.
SMOOTH_POINTS = {"beta": 0.5, "scales": (0, 1), "orbitals": [(3, 1), (3, 2)]}
SCATTERING = {
    "orbitals": [(2, 1)], "scales": (0,), "beta": 0.4, "channels": ("total", "valence"),
    "padding": 3.0, "grid_spacing": 0.4, "grid_shape": (12, 11, 14),
}  # fmt: skip

CASES = {
    "soap": Case(SOAP, SMALL_SOAP),
    "soap_distances": Case(SOAP, {**SMALL_SOAP, "nu": 1}, first=False),
    "soap_bispectrum": Case(SOAP, {**SMALL_SOAP, "nu": 3, "n_max": 2}, first=False),
    "soap_chiral": Case(
        SOAP, {**SMALL_SOAP, "nu": 3, "n_max": 2, "parity": "both"}, invariant=False, first=False
    ),
    "soap_mixed": Case(SOAP, {**SMALL_SOAP, "species_compression": 2}, first=False),
    "soap_plain": Case(
        SOAP,
        {
            **SMALL_SOAP, "normalize": False, "radial_basis": "gto", "central_weight": 0.0,
            "radial_scaling": {"rate": 1.0, "scale": 2.0, "exponent": 5.0},
        },
        first=False,
    ),
    "soap_widths": Case(
        SOAP,
        {**SMALL_SOAP, "sigma": {"H": 0.3, "C": 0.5, "O": 0.4}, "sigma_scaling": 0.15},
        first=False,
    ),
    "soap_optimal": Case(
        SOAP, {**SMALL_SOAP, "radial_basis": "optimal", "n_primitives": 8}, first=False
    ),
    "soap_learnt": Case(
        SOAP,
        {
            **SMALL_SOAP, "radial_basis": "optimal", "n_primitives": 8, "species_compression": 2,
            "species_similarity": "data",
        },
        first=False,
    ),
    "soap_sum": Case(SOAP, {**SMALL_SOAP, "pool": "sum"}),
    "soap_mean": Case(SOAP, {**SMALL_SOAP, "pool": "mean"}, first=False),
    "acsf": Case(ACSF, {"cutoff": 4.0, "cutoff_function": "tanh3"}),
    "acsf_all": Case(ACSF, ACSF_ALL, first=False),
    "acsf_weighted": Case(
        ACSF, {**ACSF_ALL, "weighting": "Z", "cutoff_function": "polynomial"}, first=False
    ),
    "chebyshev": Case(ChebyshevFunctions, {"cutoff": 4.0}),
    "chebyshev_angles": Case(
        ChebyshevFunctions,
        {"cutoff": 4.0, "radial_order": -1, "angular_order": 8, "angular_cutoff": 3.3},
        first=False,
    ),
    "fchl19": Case(FCHL19, SMALL_FCHL19),
    "fchl19_near": Case(FCHL19, {**SMALL_FCHL19, "cutoff3": 3.0}, first=False),
    "fchl19_harmonics": Case(FCHL19, {**SMALL_FCHL19, "n_fourier": 3, "zeta": 0.4}, first=False),
    "fchl19_sharp": Case(
        FCHL19, {**SMALL_FCHL19, "eta3": 30.0, "decay2": 0.0, "decay3": 0.0}, first=False
    ),
    "expansion": Case(AtomicClusterExpansion, SMALL_EXPANSION),
    "expansion_mixed": Case(
        AtomicClusterExpansion,
        {"cutoff": 4.5, "product_cutoff": 3.5, "degrees": (6, 5, 5, 6), "l_weight": 0.5,
         "species_compression": 2},
        first=False,
    ),
    "expansion_spheres": Case(
        AtomicClusterExpansion,
        {"cutoff": 4.5, "product_cutoff": (4.0, 2.5, 3.0), "degrees": (6, 5, 5, 6),
         "l_weight": 0.5},
        first=False,
    ),
    "moments": Case(MomentTensor, SMALL_MOMENTS),
    "moments_vectors": Case(MomentTensor, {**SMALL_MOMENTS, "unit_vectors": False}, first=False),
    "moments_plain": Case(
        MomentTensor, {**SMALL_MOMENTS, "by_center": False, "mu_level": 2, "r_min": 0.5},
        first=False,
    ),
    "moments_mixed": Case(
        MomentTensor, {**SMALL_MOMENTS, "species_compression": 2, "include_bias": True},
        first=False,
    ),
    "moments_high": Case(
        MomentTensor,
        {"cutoff": 4.0, "level": 18, "max_factors": None, "species_compression": 1},
        first=False,
    ),
    "points": Case(PointScattering, {**SMOOTH_POINTS, "order": 1}),
    "points_kinks": Case(
        PointScattering, {"beta": 0.5, "scales": (0, 1)}, smooth=False, pairs=False, first=False
    ),
    "points_second": Case(PointScattering, SMOOTH_POINTS, pairs=False, first=False),
    "points_cut": Case(
        PointScattering, {**SMOOTH_POINTS, "cutoff": 3.5}, pairs=False, first=False
    ),
    "points_gaps": Case(
        PointScattering,
        {
            **SMOOTH_POINTS, "scales": (0, 0.5), "scale_gap": -0.5, "self_term": False,
            "channels": ["total"],
        },
        pairs=False, first=False,
    ),
    "points_low": Case(
        PointScattering, {**SMOOTH_POINTS, "orbitals": 1}, pairs=False, first=False
    ),
    "points_squared": Case(
        PointScattering,
        {"beta": 0.5, "scales": (0, 1), "order": 1, "exponents": (2,)}, first=False,
    ),
    "points_sum": Case(
        PointScattering, {**SMOOTH_POINTS, "channels": ["total"], "pool": "sum"}, first=False
    ),
    "averaged_soap": Case(AveragedSOAP, {"soap": SOAP(**SMALL_SOAP)}),
    "averaged_bispectrum": Case(
        AveragedSOAP,
        {"soap": SOAP(**{**SMALL_SOAP, "nu": 3, "n_max": 2, "normalize": False})}, first=False,
    ),
    "averaged_mixed": Case(
        AveragedSOAP, {"soap": SOAP(**SMALL_SOAP, species_compression=2)}, first=False
    ),
    "cartesian": Case(
        CartesianCoordinates, structures=same_molecules, invariant=False, extensive=False
    ),
    "inverse_distances": Case(InverseDistances, structures=same_atoms, extensive=False),
    "coulomb": Case(CoulombMatrix, structures=molecules, extensive=False, periodic=False),
    "coulomb_plain": matrix_case(CoulombMatrix, molecules, "none", periodic=False),
    "coulomb_random": matrix_case(
        CoulombMatrix, molecules, "random", periodic=False, n_realizations=2, random_state=0,
        unit="bohr",
    ),
    "coulomb_eigenvalues": matrix_case(CoulombMatrix, molecules, "eigenvalues", periodic=False),
    "coulomb_singular": matrix_case(CoulombMatrix, molecules, "singular_values", periodic=False),
    "bonds": Case(BagOfBonds, structures=molecules, extensive=False, periodic=False),
    "bonds_bohr": Case(
        BagOfBonds, {"unit": "bohr"}, molecules, extensive=False, periodic=False, first=False
    ),
    "bodies": Case(
        ManyBodyExpansion, {"pair_powers": 3, "triple_powers": 2}, molecules, extensive=False,
        periodic=False,
    ),
    "bodies_bonded": Case(
        ManyBodyExpansion, {"pair_powers": 0, "triple_powers": 2, "bond_factor": 1.6}, molecules,
        extensive=False, periodic=False, first=False,
    ),
    "tensor": Case(
        ManyBodyTensor, {**SMOOTH, "grid": (0.0, 1.2, 25)}, extensive=False
    ),
    "tensor_distances": tensor_case(
        "distance", without_slabs, weighting="exp", decay=0.7, cutoff=4.83, normalization="l2",
        grid=(0, 4, 20),
    ),
    "tensor_squares": tensor_case(
        "inverse_distance", molecules, periodic=False, weighting="inverse_square", grid=(0, 1, 9),
    ),
    "tensor_angles": tensor_case(
        "angle", mixed, **SMOOTH, normalization="n_atoms", grid=(0, 180, 12), sigma=10.0
    ),
    "tensor_cosines": tensor_case(
        "cosine", mixed, weighting="exp", cutoff=3.4721, grid=(-1, 1, 8), sigma=0.2
    ),
    "tensor_oganov": tensor_case(
        "distance", crystals, **SMOOTH, normalization="valle_oganov", grid=(0, 4, 20)
    ),
    "tensor_oganov_angles": tensor_case(
        "angle", crystals, weighting="smooth_cutoff", cutoff=3.5, normalization="valle_oganov",
        grid=(0, 180, 6), sigma=20.0,
    ),
    "radial": Case(
        PartialRadialDistribution, {"cutoff": 4.0, "n_shells": 8, "sigma": 0.2}, extensive=False
    ),
    "fingerprint": Case(
        ValleOganovFingerprint, {"cutoff": 4.0, "n_grid": 15}, crystals, extensive=False,
        other=one_crystal,
    ),
    "fingerprint_angles": Case(
        ValleOganovFingerprint, {"function": "angle", "cutoff": 3.5, "n_grid": 7}, crystals,
        extensive=False, other=one_crystal, first=False,
    ),
    "union": Case(
        DescriptorUnion,
        {
            "descriptors": [
                ("pairs", ManyBodyTensor(**SMOOTH, grid=(0.0, 1.2, 10))),
                ("angles", ManyBodyTensor("angle", **SMOOTH, grid=(0, 180, 5), sigma=20.0)),
            ],
            "weights": {"angles": 0.1},
        },
        extensive=False,
    ),
    "union_by_pullbacks": Case(
        DescriptorUnion,
        {
            "descriptors": [
                ("unit", ManyBodyTensor(**SMOOTH, grid=(0, 1, 5), normalization="l2")),
                ("radial", PartialRadialDistribution(4.0, n_shells=4, sigma=0.3)),
            ]
        },
        extensive=False, first=False,
    ),
    "distances": Case(PairDistances, structures=same_atoms, extensive=False),
    "distances_power": Case(
        PairDistances, {"power": -2.5}, same_atoms, extensive=False, first=False
    ),
    "pair_kernels": Case(PairKernelMatrix, structures=same_atoms, extensive=False),
    "pair_kernels_exponential": Case(
        PairKernelMatrix, {"kernel": "exponential", "sigma": 1.4, "gamma": 1.3}, same_atoms,
        extensive=False, first=False,
    ),
    "pair_kernels_power": Case(
        PairKernelMatrix, {"kernel": "power", "gamma": -2.0}, same_atoms, extensive=False,
        first=False,
    ),
    "triple_cosines": Case(
        TripleAngles, structures=same_molecules, extensive=False, periodic=False
    ),
    "triple_angles": Case(
        TripleAngles, {"output": "angle"}, same_molecules, extensive=False, periodic=False,
        first=False,
    ),
    "generalized_coulomb": Case(
        GeneralizedCoulombMatrix, structures=same_molecules, extensive=False, periodic=False
    ),
    "sine": Case(
        SineMatrix, structures=crystals, extensive=False, periodic=False, other=one_crystal
    ),
    "sine_eigenvalues": matrix_case(SineMatrix, crystals, "eigenvalues", periodic=False),
    "ewald": Case(
        EwaldMatrix, {"accuracy": 1e-15}, structures=crystals, extensive=False, other=one_crystal
    ),
    "ewald_eigenvalues": matrix_case(EwaldMatrix, crystals, "eigenvalues", accuracy=1e-15),
    "extended": Case(
        ExtendedCoulombMatrix, {"cutoff": 5.0}, structures=crystals, extensive=False,
        other=one_crystal,
    ),
    "extended_plain": matrix_case(
        ExtendedCoulombMatrix, crystals, "none", cutoff=5.0, unit="bohr"
    ),
    "composition": Case(CompositionDescriptors, structures=substituted_crystals, extensive=False),
    "composition_means": Case(
        CompositionDescriptors, {"properties": ["row", "column", "mass"], "moments": ["mean"]},
        mixed, extensive=False, first=False,
    ),
    "prototype": Case(
        PrototypeEncoder, {"prototype": Structures.from_ase([crystal()])}, substituted_crystals,
        extensive=False, other=substituted_crystals,
    ),
    "prototype_mixed": Case(
        PrototypeEncoder, {"prototype": crystal(), "mixed": True}, substituted_crystals,
        extensive=False, first=False,
    ),
    "scattering": Case(
        WaveletScattering, SCATTERING, structures=without_slabs, invariant=False, extensive=False
    ),
}  # fmt: skip


def cases(condition=lambda case: True):
    """Parametrise a test over the cases for which a condition holds."""
    names = [name for name, case in CASES.items() if condition(case)]
    return pytest.mark.parametrize("name", names)


@pytest.fixture(scope="module")
def made():
    """A function that makes the features of the structures of a case, once."""
    found = {}

    def features(name):
        if name not in found:
            case = CASES[name]
            found[name] = case().fit_transform(case.structures())
        return found[name]

    return features


def even_cotangent(features):
    """Random weights of features that are all of the size 1, but for those that nearly vanish."""
    size = np.abs(features.values).max(axis=0)
    weights = np.random.default_rng(0).normal(size=features.values.shape)
    return weights / np.maximum(size, 1e-6 * size.max() or 1.0)


def assert_close(found, expected, tolerance):
    """Equal within a part of the largest element."""
    np.testing.assert_allclose(found, expected, rtol=0, atol=tolerance * np.abs(expected).max())


# --- derivatives --------------------------------------------------------------------------------


@cases(lambda case: case.smooth)
def test_gradients_equal_central_differences(name, made):
    features = made(name)
    cotangent = even_cotangent(features)
    gradient, _ = features.pullback(cotangent)
    assert_close(gradient, slopes_of_displacements(features, cotangent), 3e-7)


@cases(lambda case: case.smooth)
def test_virials_equal_central_differences(name, made):
    features = made(name)
    cotangent = even_cotangent(features)
    _, virial = features.pullback(cotangent)
    assert_close(virial, slopes_of_strains(features, cotangent), 3e-7)


@cases(lambda case: case.invariant)
def test_forces_sum_to_zero_and_virials_are_symmetric(name, made):
    features = made(name)
    gradient, virial = features.pullback(even_cotangent(features))
    assert_close(virial.transpose(0, 2, 1), virial, 1e-10)
    sums = np.add.reduceat(gradient, features.structures.offsets[:-1])
    np.testing.assert_allclose(sums, 0, atol=1e-10 * np.abs(gradient).max())


@cases()
def test_one_cotangent_for_all_rows(name, made):
    features = made(name)
    row = even_cotangent(features)[0]
    repeated = features.pullback(np.tile(row, (len(features.values), 1)))
    for found, expected in zip(features.pullback(row), repeated, strict=True):
        assert_close(found, expected, 1e-12)


@cases()
def test_cotangents_of_other_shapes_are_errors(name, made):
    features = made(name)
    n_rows, n_features = features.values.shape
    for shape in [(n_features + 1,), (n_rows + 1, n_features), (n_rows, n_features + 1)]:
        with pytest.raises(ValueError, match="cotangent has the shape"):
            features.pullback(np.zeros(shape))


def pulled_along_pairs(jacobian, cotangent, structures):
    """Gradient and virial from a PairJacobian of all structures."""
    pairs = jacobian.pairs
    along = np.einsum("pxf,pf->px", jacobian.values, cotangent[pairs.centers])
    gradient = np.zeros((len(structures.numbers), 3))
    np.add.at(gradient, pairs.indices, along)
    np.add.at(gradient, pairs.centers, -along)
    owner = np.searchsorted(structures.offsets, pairs.centers, side="right") - 1
    virial = np.zeros((len(structures), 3, 3))
    np.add.at(virial, owner, along[:, :, None] * pairs.vectors[:, None])
    return gradient, virial


def contracted(features, batch, cotangent):
    """Gradient and virial of some structures from their Jacobian."""
    jacobian = features.jacobian(batch)
    if isinstance(features, AtomicFeatures):
        return pulled_along_pairs(jacobian, cotangent, features[batch].structures)
    rows = np.repeat(cotangent, np.diff(jacobian.offsets), axis=0)
    gradient = np.einsum("axf,af->ax", jacobian.gradients, rows)
    return gradient, np.einsum("nxyf,nf->nxy", jacobian.strains, cotangent)


@cases(lambda case: case.pairs or not case.atomic)
@pytest.mark.parametrize("batch", [slice(None), [1, 0]], ids=["all", "some"])
def test_jacobian_equals_pullback(name, batch, made):
    features = made(name)
    part = features[batch]
    cotangent = even_cotangent(part)
    for found, expected in zip(
        contracted(features, batch, cotangent), part.pullback(cotangent), strict=True
    ):
        assert_close(found, expected, 1e-10)


@cases(lambda case: case.atomic and case.pairs)
@pytest.mark.parametrize("kept", [True, False])
def test_jacobian_and_projection_of_some_atoms(name, kept, made):
    features = made(name) if kept else without_neighbors(made(name))
    if kept:
        features = features.with_neighbors()
    centers = np.array([4, 7, 1, 12])
    whole = features.jacobian(slice(None))
    expected = whole.pairs.take(centers)
    rows = np.concatenate([np.flatnonzero(whole.pairs.centers == i) for i in centers])
    some = features.jacobian_of(centers)
    np.testing.assert_array_equal(some.pairs.centers, expected.centers)
    np.testing.assert_array_equal(some.pairs.indices, expected.indices)
    np.testing.assert_array_equal(some.pairs.vectors, expected.vectors)
    np.testing.assert_array_equal(some.values, whole.values[rows])
    vectors = np.random.default_rng(0).normal(size=(3, features.n_features))
    products, along = features.project(centers, vectors)
    assert_close(products, np.einsum("pxf,mf->pxm", some.values, vectors), 1e-12)
    x = features.values[expected.centers]
    assert_close(along, np.einsum("pxf,pf->px", some.values, x), 1e-12)


@cases(lambda case: case.atomic and not case.pairs)
def test_no_jacobian_of_features_of_neighbours_of_neighbours(name, made):
    with pytest.raises(ValueError, match="neighbours of the neighbours"):
        made(name).jacobian(0)


# --- maps ---------------------------------------------------------------------------------------


class Sine(FeatureMap):
    """y = sin(A x): a map that is not linear."""

    def __init__(self, matrix):
        self.matrix = matrix
        self.n_features_out, self.n_features_in = matrix.shape

    def value(self, x, numbers=None):
        return np.sin(x @ self.matrix.T)

    def pullback(self, x, cotangent, numbers=None):
        return (cotangent * np.cos(x @ self.matrix.T)) @ self.matrix

    def pushforward(self, x, tangents, numbers=None):
        return (tangents @ self.matrix.T) * np.cos(x @ self.matrix.T)[:, None]


def sine(features):
    """A sine of features of the size 1."""
    size = np.abs(features.values).max(axis=0)
    matrix = np.random.default_rng(1).normal(size=(4, features.n_features))
    return Sine(0.5 * matrix / np.sqrt(features.n_features) / np.maximum(size, 1e-3 * size.max()))


def mapped_by(make):
    def prepare(features):
        feature_map = make(features)
        return lambda other: other.map(feature_map)

    return prepare


def principal_components(features):
    pca = PCA(2).fit(features.values)
    return Linear(pca.components_, pca.mean_)


def scaled(features):
    """Scaler of the features that vary most, of each species; some are rounding errors alone."""
    numbers = features.numbers if isinstance(features, AtomicFeatures) else np.zeros(len(features))
    spread = [features.values[numbers == z].std(axis=0) for z in np.unique(numbers)]
    columns = np.argsort(-np.min(spread, axis=0), kind="stable")[:3]
    scaler = FeatureScaler("standard", out_of_range="ignore").fit(features[:, columns])
    return lambda other: scaler.transform(other[:, columns])


def chained(features):
    """Sine, scaler, another sine, and a selection."""
    first = mapped_by(sine)(features)
    scaler = FeatureScaler("standard", out_of_range="ignore").fit(first(features))
    second = mapped_by(sine)(scaler.transform(first(features)))
    return lambda other: second(scaler.transform(first(other)))[:, [2, 0, 3]]


def standardised(features):
    """All features that vary, in units of their spread."""
    spread = features.values.std(axis=0)
    columns = np.flatnonzero(spread > 1e-3 * spread.max())
    scale = Scale(features.values[:, columns].mean(axis=0), spread[columns])
    return lambda other: other[:, columns].map(scale)


def learnt_by(transformer):
    """The map that a transformer learns from standardised features."""

    def prepare(features):
        first = standardised(features)
        fitted = clone(transformer).fit(first(features))
        return lambda other: fitted.transform(first(other))

    return prepare


def random_waves(method):
    return learnt_by(RandomFourierFeatures(Gaussian(8.0), 5, method=method, random_state=0))


def random_neurons(activation):
    return learnt_by(
        SampledNetworkFeatures(5, activation=activation, by_element=False, random_state=0)
    )


MAPS = {
    "principal components": learnt_by(PrincipalComponents(1)),
    "independent waves": random_waves("independent"),
    "orthogonal waves": random_waves("orthogonal"),
    "hadamard waves": random_waves("hadamard"),
    "tanh neurons": random_neurons("tanh"),
    "gelu neurons": random_neurons("gelu"),
    "softplus neurons": random_neurons("softplus"),
    "scaler": scaled,
    "thermometer": learnt_by(ThermometerEncoder((1, -1))),
    "selector": lambda features: FeatureSelector(2).fit(features).transform,
    "sine": mapped_by(sine),
    "linear": mapped_by(principal_components),
    "chain": chained,
}


def marks(name, kind):
    """All maps of two descriptors, and one chain of maps of all others, are tested each time."""
    often = kind == "chain" or name in {"soap", "inverse_distances"}
    return () if often else pytest.mark.thorough


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        pytest.param(name, kind, marks=marks(name, kind))
        for name, case in CASES.items()
        if case.first
        for kind in MAPS
    ],
)
def test_derivatives_go_through_maps(name, kind, made):
    features = made(name)
    apply = MAPS[kind](features)
    part = slice(0, 3) if len(features) > 2 else slice(0, 2)
    result = apply(features)[part]
    assert type(result) is type(features)
    assert len(result.feature_names) == result.n_features
    cotangent = even_cotangent(result)
    gradient, virial = result.pullback(cotangent)

    def transform(structures):
        return apply(features.descriptor.transform(structures))

    assert_close(gradient, slopes_of_displacements(result, cotangent, transform), 1e-6)
    assert_close(virial, slopes_of_strains(result, cotangent, transform), 1e-6)
    for found, expected in zip(
        contracted(result, slice(None), cotangent), (gradient, virial), strict=True
    ):
        assert_close(found, expected, 1e-10)
    again = pickle.loads(pickle.dumps(result)).pullback(cotangent)
    assert_close(again[0], gradient, 1e-12)


@pytest.mark.parametrize("kind", MAPS)
def test_pooled_maps_keep_derivatives(kind, made):
    features = MAPS[kind](made("soap"))(made("soap"))
    for how in ("sum", "mean"):
        pooled = features.pool(how)
        weights = even_cotangent(pooled)
        rows = np.repeat(weights, features.n_atoms, axis=0)
        if how == "mean":
            rows = rows / np.repeat(features.n_atoms, features.n_atoms)[:, None]
        for found, expected in zip(pooled.pullback(weights), features.pullback(rows), strict=True):
            assert_close(found, expected, 1e-12)
        for found, expected in zip(
            contracted(pooled, slice(None), weights), pooled.pullback(weights), strict=True
        ):
            assert_close(found, expected, 1e-10)


def test_maps_of_other_features_are_errors(made):
    features, pooled = made("soap"), made("soap_sum")
    with pytest.raises(ValueError, match=f"got {features.n_features} features, but Scale is a map"):
        features.map(Scale(0.0, np.ones(3)))
    with pytest.raises(ValueError, match="features without atoms, .* give it AtomicFeatures"):
        pooled.map(Scale(np.zeros((2, pooled.n_features)), 1.0, species=[1, 6]))
    with pytest.raises(ValueError, match="structure 0 contains O, .*species H, C"):
        features.map(Scale(np.zeros((2, features.n_features)), 1.0, species=[1, 6]))
    with pytest.raises(IndexError):
        pooled[:, pooled.n_features]
    with pytest.raises(IndexError, match="two dimensions"):
        pooled[:, 0, 0]
    scaler = FeatureScaler().fit(features)
    with pytest.raises(ValueError, match="give it AtomicFeatures"):
        scaler.transform(pooled)
    with pytest.raises(ValueError, match="features as input"):
        FeatureSelector(3).fit(features).transform(made("acsf"))


def test_thermometers_are_steps_of_each_feature():
    x = np.linspace(-3, 3, 50)[:, None] * [1.0, 0.5]
    steps = ThermometerEncoder().fit_transform(x)
    assert steps.shape == (50, 10) and np.abs(steps).max() < 1
    assert (np.diff(steps, axis=0) > 0).all()
    np.testing.assert_array_equal(steps[:, [2, 7]], np.tanh(x))
    assert [*ThermometerEncoder((1, -2)).fit(x).get_feature_names_out()] == [
        "x0+1", "x0-2", "x1+1", "x1-2",
    ]  # fmt: skip
    for shifts in ((), (np.nan,), [[1.0]]):
        with pytest.raises(ValueError, match="must be one or more finite numbers"):
            ThermometerEncoder(shifts).fit(x)


def test_maps_are_what_they_say():
    x, rng = np.arange(12.0).reshape(4, 3), np.random.default_rng(0)
    species = np.array([1, 8, 1, 6])
    scale = Scale(np.arange(9).reshape(3, 3), [[1.0], [2.0], [4.0]], species=[1, 6, 8])
    expected = [x[0] - [0, 1, 2], (x[1] - [6, 7, 8]) / 4, x[2] - [0, 1, 2], (x[3] - [3, 4, 5]) / 2]
    np.testing.assert_array_equal(scale.value(x, species), expected)
    np.testing.assert_array_equal(Select([2, 0], 3).value(x), x[:, [2, 0]])
    np.testing.assert_array_equal(Select(slice(1, None), 3).value(x), x[:, 1:])
    np.testing.assert_array_equal(Select(np.array([True, False, True]), 3).value(x), x[:, [0, 2]])
    matrix = rng.normal(size=(2, 3))
    np.testing.assert_allclose(Linear(matrix, x[0]).value(x), (x - x[0]) @ matrix.T)
    np.testing.assert_array_equal(Linear(matrix).value(x), x @ matrix.T)
    twice = Select([0, 0], 3)
    np.testing.assert_array_equal(twice.pullback(None, np.array([[1.0, 2.0]])), [[3.0, 0, 0]])


def test_maps_know_on_which_features_they_depend():
    chosen = np.array([True, False])
    np.testing.assert_array_equal(Select([2, 0], 3).depends_on(chosen), [False, False, True])
    np.testing.assert_array_equal(Scale(np.zeros(2), 1.0).depends_on(chosen), chosen)
    matrix = np.array([[0.0, 1.0, 2.0], [3.0, 0.0, 0.0]])
    np.testing.assert_array_equal(Linear(matrix).depends_on(chosen), [False, True, True])
    np.testing.assert_array_equal(Sine(matrix).depends_on(chosen), [True, True, True])


# --- invariances --------------------------------------------------------------------------------


def rows_of(features, atoms, order):
    """The rows of reordered atoms, or that of their structure."""
    return features.values[order] if len(features.values) == len(atoms) else features.values


@cases(lambda case: case.invariant)
def test_rotation_reflection_translation_and_permutation_change_nothing(name):
    case = CASES[name]
    improper = -random_rotation(1)
    descriptor = case().fit(case.structures())
    for atoms in case.structures()[:2]:
        order = np.arange(len(atoms))
        if case.extensive:
            order = np.random.default_rng(0).permutation(order)
        moved = atoms[order]
        moved.positions = moved.positions @ improper.T + [1.0, -2.0, 30.0]
        moved.cell = moved.cell.array @ improper.T  # left-handed
        features, same = descriptor.transform([atoms]), descriptor.transform([moved])
        expected = rows_of(features, atoms, order)
        size = np.abs(expected).max(axis=0)
        error = np.abs(same.values - expected) / np.maximum(size, 1e-6 * size.max())
        assert error.max() < 1e-9


@pytest.mark.parametrize(
    "vectors",
    [[[1, 1, 0], [0, 1, 0], [0, -1, 1]], [[0, 1, 0], [1, 0, 0], [0, 0, 1]]],
    ids=["others", "in another order, left-handed"],
)
@cases(lambda case: case.invariant and case.periodic)
def test_choice_of_cell_changes_nothing(name, vectors):
    case = CASES[name]
    descriptor = case().fit(case.structures())
    atoms = crystal()
    other = atoms.copy()
    other.set_cell(np.array(vectors) @ CELL)
    expected = descriptor.transform([atoms]).values
    assert_close(descriptor.transform([other]).values, expected, 1e-10)


@cases(lambda case: case.invariant and case.extensive)
def test_supercell_repeats_the_features(name):
    case = CASES[name]
    descriptor = case().fit(case.structures())
    supercell = make_supercell(crystal(), [[2, 0, 0], [0, 1, 1], [0, -1, 1]])
    values = descriptor.transform([crystal()]).values
    repeated = descriptor.transform([supercell]).values
    if case.atomic:
        place = [int(np.flatnonzero(crystal().numbers == z)[0]) for z in supercell.numbers]
        assert_close(repeated, values[place], 1e-10)
    else:
        means = case.make is AveragedSOAP or case.parameters["pool"] == "mean"
        copies = 1 if means else len(supercell) // 3
        assert_close(repeated, copies * values, 1e-10)


@cases(lambda case: case.extensive)
def test_atoms_out_of_reach_do_not_see_each_other(name):
    case = CASES[name]
    descriptor = case().fit(case.structures())
    apart = Atoms("CH", [[0, 0, 0], [0, 0, 50.0]])
    features = descriptor.transform([apart, Atoms("C"), Atoms("H")])
    assert np.isfinite(features.values).all()
    if case.atomic:
        np.testing.assert_array_equal(features.values[:2], features.values[2:])
    gradient, virial = features.pullback(np.ones(features.n_features))
    assert not gradient.any() and not virial.any()
    if case.atomic and case.pairs:
        assert features.jacobian(0).values.shape == (0, 3, features.n_features)


# --- features as a sequence -----------------------------------------------------------------------


KEYS = [0, -1, slice(0, 2), slice(None, None, -1), [1, 0], (np.array([1, 1]), ...)]


@cases(lambda case: case.first)
@pytest.mark.parametrize("key", KEYS, ids=str)
def test_slices_are_the_features_of_their_structures(name, key, made):
    features = made(name)
    part = features[key]
    index = key[0] if isinstance(key, tuple) else key
    rows = np.atleast_1d(np.arange(len(features))[index])
    structures = CASES[name].structures()
    again = features.descriptor.transform([structures[s] for s in rows])
    assert len(part) == len(rows)
    assert_close(part.values, again.values, 1e-12)
    np.testing.assert_array_equal(part.structures.offsets, again.structures.offsets)
    cotangent = even_cotangent(part)
    for found, expected in zip(part.pullback(cotangent), again.pullback(cotangent), strict=True):
        assert_close(found, expected, 1e-10)


@cases(lambda case: case.first)
def test_masks_and_columns(name, made):
    features = made(name)
    mask = np.arange(len(features)) == 1
    np.testing.assert_array_equal(features[mask].values, features[1].values)
    columns = np.array([2, 0])
    few = features[:, columns]
    np.testing.assert_array_equal(few.values, features.values[:, columns])
    np.testing.assert_array_equal(features[mask, columns].values, features[1].values[:, columns])
    assert features[:, 1].values.shape == (len(features.values), 1)
    np.testing.assert_array_equal(few.feature_names, features.feature_names[columns])
    cotangent = np.zeros(features.n_features)
    cotangent[columns] = [1.0, -2.0]
    assert_close(few.pullback([1.0, -2.0])[0], features.pullback(cotangent)[0], 1e-12)


@cases()
def test_names_match_the_features(name, made):
    features = made(name)
    names = features.descriptor.get_feature_names_out()
    assert len(set(names)) == len(names) == features.n_features
    assert features.descriptor.n_features_out_ == features.n_features
    assert list(features.feature_names) == list(names)


# --- the list of neighbours -----------------------------------------------------------------------


def without_neighbors(features):
    """The same features after pickling, which does not keep the list."""
    return pickle.loads(pickle.dumps(features))


def cutoff_of(descriptor):
    return getattr(descriptor, "cutoff_", None) or descriptor.cutoff


@cases(lambda case: case.make in ATOMIC)
def test_neighbors_can_be_given(name, made):
    features = made(name)
    descriptor, structures = features.descriptor, features.structures
    cutoff = cutoff_of(descriptor)
    longer = neighbor_list(structures, cutoff + 1.0)
    given = descriptor.transform(structures, neighbors=longer)
    np.testing.assert_array_equal(given.values, features.values)
    exact = longer.within(cutoff)
    order = np.random.default_rng(0).permutation(len(exact))
    shuffled = NeighborList.from_pairs(
        structures, exact.centers[order], exact.indices[order], exact.vectors[order], cutoff
    )
    given = descriptor.transform(structures, neighbors=shuffled)
    assert_close(given.values, features.values, 1e-12)
    cotangent = even_cotangent(features)
    for found, expected in zip(
        given.pullback(cotangent), features.pullback(cotangent), strict=True
    ):
        assert_close(found, expected, 1e-10)
    with pytest.raises(ValueError, match="find the neighbours with a cutoff of at least"):
        descriptor.transform(structures, neighbors=neighbor_list(structures, 0.9 * cutoff))
    with pytest.raises(ValueError, match="give the list of all atoms of these structures"):
        descriptor.transform(structures[:1], neighbors=longer)


@cases(lambda case: case.atomic and case.first)
def test_neighbors_are_found_once(name, monkeypatch):
    case, searches = CASES[name], []
    descriptor = case().fit(case.structures())

    def counted(structures, cutoff):
        searches.append(len(structures))
        return neighbor_list(structures, cutoff)

    monkeypatch.setattr(descriptors_base, "neighbor_list", counted)
    # most of the atoms have few neighbours: their list is smaller than the features
    features = descriptor.transform(case.structures() + 10 * [rattled_methanol()])
    assert features.derivatives.has_neighbors
    assert searches == [len(features)]
    searches.clear()
    cotangent = np.ones(features.n_features)
    gradient, _ = features.pullback(cotangent)
    features[[2, 0]].pullback(cotangent)
    features.jacobian(1)
    features.project([0, 1], features.values[:2])
    assert features.n_pairs.sum() == len(features.neighbors)
    assert not searches
    np.testing.assert_array_equal(without_neighbors(features).pullback(cotangent)[0], gradient)
    assert searches == [len(features)]


def test_no_long_list_of_neighbors_that_is_larger_than_the_features(monkeypatch):
    small = ACSF(4.0, g2=[(0.5, 0.0)], g4=()).fit_transform(mixed())
    assert small.derivatives.has_neighbors
    for module in (atomic_derivatives, descriptors_base):
        monkeypatch.setattr(module, "SMALL_LIST", 0)
    few = ACSF(4.0, g2=[(0.5, 0.0)], g4=()).fit_transform(mixed())
    assert not few.derivatives.has_neighbors
    assert few.with_neighbors().derivatives.has_neighbors
    many = SOAP(**SMALL_SOAP).fit_transform(mixed())
    assert many.derivatives.has_neighbors
    assert not many[:, :2].derivatives.has_neighbors


# --- estimators -----------------------------------------------------------------------------------


@cases()
def test_clone_keeps_the_parameters(name):
    descriptor = CASES[name]()
    assert str(clone(descriptor).get_params()) == str(descriptor.get_params())


@cases(lambda case: case.first)
def test_features_do_not_change_when_their_descriptor_is_fitted_again(name):
    case = CASES[name]
    structures = case.structures()[:2]
    descriptor = case().fit(structures)
    features = descriptor.transform(structures)
    before = features.pullback(np.ones(features.n_features))[0]
    descriptor.fit(case.other())
    np.testing.assert_array_equal(features.pullback(np.ones(features.n_features))[0], before)


@cases(lambda case: case.first)
def test_pickles(name, made):
    features = made(name)
    copy = pickle.loads(pickle.dumps(features))
    np.testing.assert_array_equal(copy.values, features.values)
    cotangent = even_cotangent(features)
    for found, expected in zip(copy.pullback(cotangent), features.pullback(cotangent), strict=True):
        np.testing.assert_array_equal(found, expected)
    assert joblib.hash(copy) == joblib.hash(features)
    structures = CASES[name].structures()
    again = pickle.loads(pickle.dumps(features.descriptor)).transform(structures)
    np.testing.assert_array_equal(again.values, features.values)
    assert difference_of(features.descriptor, again.descriptor) is None
    fitted = CASES[name]().fit(structures)
    assert difference_of(features.descriptor, fitted) is None


@cases(lambda case: case.first)
def test_jobs_give_the_same(name, made):
    case, features = CASES[name], made(name)
    shared = case(n_jobs=2, verbose=1) if "n_jobs" in case().get_params() else case()
    shared = shared.fit_transform(case.structures())
    # numba inlines callees, so another process may round in another way
    assert_close(shared.values, features.values, 1e-13)
    cotangent = even_cotangent(features)
    assert_close(shared.pullback(cotangent)[0], features.pullback(cotangent)[0], 1e-12)


@cases(lambda case: case.first)
def test_number_of_threads_changes_nothing(name):
    case = CASES[name]
    structures = Structures.from_ase(case.structures() * 20)
    descriptor = case().fit(structures)
    features = descriptor.transform(structures)
    cotangent = even_cotangent(features)
    pulled = features.pullback(cotangent)
    threads = numba.get_num_threads()
    numba.set_num_threads(1)
    try:
        serial = descriptor.transform(structures)
        serial_pulled = serial.pullback(cotangent)
    finally:
        numba.set_num_threads(threads)
    np.testing.assert_array_equal(serial.values, features.values)
    for one, other in zip(serial_pulled, pulled, strict=True):
        np.testing.assert_array_equal(one, other)


@cases(lambda case: case.atomic and case.first)
def test_data_frames_leave_features_of_atoms_alone(name):
    case = CASES[name]
    descriptor = case().set_output(transform="pandas")
    features = descriptor.fit_transform(case.structures())
    assert isinstance(features, AtomicFeatures)
    scaled = FeatureScaler().set_output(transform="pandas").fit_transform(features)
    assert isinstance(scaled, AtomicFeatures)


@cases(lambda case: not case.atomic)
def test_features_of_structures_are_a_table(name, made):
    case, features = CASES[name], made(name)
    table = np.asarray(features)
    assert isinstance(features, StructureFeatures)
    assert features.shape == table.shape == (len(features), features.n_features)
    assert table is features.values and np.array(features) is not features.values
    np.testing.assert_allclose(features @ np.ones(features.n_features), table.sum(axis=1))
    frame = case().set_output(transform="pandas").fit_transform(case.structures())
    assert isinstance(frame, pd.DataFrame)
    assert list(frame.columns) == list(features.feature_names)
    np.testing.assert_array_equal(frame, table)


@pytest.mark.parametrize(
    "name",
    [
        pytest.param(name, marks=() if case.first else pytest.mark.thorough)
        for name, case in CASES.items()
        if not case.atomic
    ],
)
def test_features_of_structures_pass_through_scikit_learn(name):
    case, rng = CASES[name], np.random.default_rng(0)
    frames = []
    for atoms in case.structures()[:2] * 5:
        atoms.positions += rng.normal(scale=0.02, size=atoms.positions.shape)
        frames.append(atoms)
    y = np.arange(10.0)
    features = case().fit_transform(frames)
    train, test, _, _ = train_test_split(features, y, random_state=0)
    assert isinstance(train, StructureFeatures) and (len(train), len(test)) == (7, 3)
    search = GridSearchCV(
        make_pipeline(StandardScaler(), Ridge()), {"ridge__alpha": [0.1, 1]}, cv=2
    )
    search.fit(features, y)
    np.testing.assert_array_equal(search.predict(features), search.predict(features.values))
    model = make_pipeline(case(), StandardScaler(), Ridge(0.1)).fit(frames, y)
    assert_close(model.predict(frames), model[1:].predict(features), 1e-12)
    scaled = FeatureScaler("standard").set_output(transform="pandas")
    assert isinstance(scaled.fit_transform(features), pd.DataFrame)


@pytest.mark.parametrize("how", ["sum", "mean"])
@cases(lambda case: case.atomic and case.first)
def test_pooled_descriptor_is_the_pooled_features(name, how, made):
    features = made(name)
    pooled = features.pool(how)
    same = clone(features.descriptor).set_params(pool=how).fit_transform(features.structures)
    assert_close(same.values, pooled.values, 1e-13)
    expected = [getattr(part.values, how)(axis=0) for part in features]
    assert_close(pooled.values, np.array(expected), 1e-13)
    cotangent = even_cotangent(pooled)
    for found, other in zip(same.pullback(cotangent), pooled.pullback(cotangent), strict=True):
        assert_close(found, other, 1e-12)
    with pytest.raises(ValueError, match="'sum' or 'mean'"):
        features.pool("max")


# --- bad input --------------------------------------------------------------------------------


@cases(lambda case: case.first)
@pytest.mark.parametrize("X", [[], [Atoms()], molecule("CH4"), [1, 2]], ids=str)
def test_bad_structures(name, X):
    with pytest.raises(ValueError, match="structure|ase.Atoms"):
        CASES[name]().fit(X)


@cases(lambda case: case.extensive and case.first)
def test_unseen_species_is_an_error(name):
    parameters = {**CASES[name].parameters}
    descriptor = CASES[name].make(**parameters).fit([molecule("CH4")])
    with pytest.raises(ValueError, match=r"structure 1 contains O, .*species H, C"):
        descriptor.transform([molecule("C2H6"), molecule("H2O")])


@cases(lambda case: case.extensive and case.first)
def test_coincident_atoms_are_an_error(name):
    case = CASES[name]
    descriptor = case().fit(case.structures())
    with pytest.raises(ValueError, match="structure 0: atoms 0 and 1 are at the same place"):
        descriptor.transform([Atoms("H2", [[0, 0, 0], [0, 0, 0]])])


@cases(lambda case: case.atomic and case.first)
def test_features_of_atoms_are_no_array(name, made):
    with pytest.raises(TypeError, match="pool"):
        np.asarray(made(name))
