import numpy as np
import pandas as pd
import pytest
from ase.build import molecule
from derivatives import cotangent_for
from sklearn.base import clone

from skatom.descriptors import ACSF, FeatureScaler, FeatureSelector


@pytest.fixture(scope="module")
def frames():
    """Rattled copies of two molecules."""
    structures = []
    for seed in range(12):
        atoms = molecule(("CH3OH", "CH3CHO")[seed % 2])
        atoms.rattle(0.1, seed=seed)
        structures.append(atoms)
    return ACSF(4.0).fit_transform(structures)


@pytest.mark.parametrize("scaling", ["minmax", "center", "standard"])
def test_scaled_features_of_each_species(frames, scaling):
    scaled = FeatureScaler(scaling).fit_transform(frames)
    for z in frames.species:
        part = scaled.values[frames.numbers == z]
        varies = np.ptp(frames.values[frames.numbers == z], axis=0) > 0
        assert not part[:, ~varies].any()
        part = part[:, varies]
        if scaling == "minmax":
            np.testing.assert_allclose(part.min(axis=0), -1)
            np.testing.assert_allclose(part.max(axis=0), 1)
        else:
            np.testing.assert_allclose(part.mean(axis=0), 0, atol=1e-9)
            size = part.std(axis=0) if scaling == "standard" else np.ptp(part, axis=0)
            np.testing.assert_allclose(size, 1)


def test_one_cotangent_for_all_atoms_of_scaled_features(frames):
    scaled = FeatureScaler().fit_transform(frames)
    row = cotangent_for(scaled)[0]
    expected, _ = scaled.pullback(np.tile(row, (len(scaled.numbers), 1)))
    np.testing.assert_array_equal(scaled.pullback(row)[0], expected)


def test_range_is_watched(frames):
    scaler = FeatureScaler().fit(frames)
    scaler.transform(frames)
    assert not scaler.count_out_of_range(frames).any()
    squeezed = molecule("CH3OH")
    squeezed.positions[1] = squeezed.positions[0] + 0.6 * (
        squeezed.positions[1] - squeezed.positions[0]
    )
    features = frames.descriptor.transform([frames.structures.to_ase()[1], squeezed])
    assert scaler.count_out_of_range(features)[-6:].all()
    message = r"atom 0 \(C\) of structure 1, whose acsf_g2_._. is .* and not between"
    with pytest.warns(UserWarning, match=message):
        scaler.transform(features)
    with pytest.raises(ValueError, match="outside of the range of the training data"):
        clone(scaler).set_params(out_of_range="raise").fit(frames).transform(features)


def test_scaler_refuses_what_it_cannot_scale(frames):
    both = ACSF(4.0).fit([molecule("CH3OH"), molecule("NH3")])
    scaler = FeatureScaler(out_of_range="ignore").fit(both.transform([molecule("CH3OH")]))
    with pytest.raises(ValueError, match="structure 1 contains N, which was not in the structures"):
        scaler.transform(both.transform([molecule("CH4"), molecule("NH3")]))
    known = scaler.transform(both.transform([molecule("CH3OH")]))
    assert np.isfinite(known.pullback(np.ones(known.values.shape[1]))[0]).all()
    with pytest.raises(ValueError, match="give it AtomicFeatures"):
        scaler.transform(np.zeros((3, scaler.n_features_in_)))
    with pytest.raises(ValueError, match="is expecting 104 features as input"):
        scaler.transform(frames)


def test_cur_reconstructs_with_few_features(frames):
    selector = FeatureSelector().fit(frames)
    kept = frames.values[:, selector.support_]
    fit = kept @ np.linalg.lstsq(kept, frames.values, rcond=None)[0]
    np.testing.assert_allclose(fit, frames.values, atol=1e-4)
    assert len(selector.support_) < frames.values.shape[1]
    few = FeatureSelector(6).fit(frames)
    np.testing.assert_array_equal(few.support_, selector.support_[:6])


def test_uncorrelated_features(frames):
    selector = FeatureSelector(method="correlation", max_correlation=0.8).fit(frames)
    kept = np.abs(np.corrcoef(frames.values[:, selector.support_], rowvar=False))
    assert (kept - np.eye(len(kept))).max() <= 0.8
    with pytest.raises(ValueError, match="only .* features are weakly correlated"):
        FeatureSelector(40, method="correlation", max_correlation=0.1).fit(frames)


@pytest.mark.parametrize("scaling", ["minmax", "center", "standard"])
def test_arrays_and_features_of_structures_have_one_scale(frames, scaling):
    pooled = frames.pool("sum")
    scaler = FeatureScaler(scaling).fit(pooled)
    assert scaler.species_ is None and scaler.scale_.shape == (1, pooled.n_features)
    scaled = scaler.transform(pooled)
    np.testing.assert_array_equal(
        scaled.values, FeatureScaler(scaling).fit_transform(pooled.values)
    )
    width = np.ptp(scaled.values, axis=0)
    kept = np.ptp(pooled.values, axis=0) > 0
    expected = {"minmax": 2, "center": 1}.get(scaling)
    if expected is not None:
        np.testing.assert_allclose(width[kept], expected)
    else:
        np.testing.assert_allclose(scaled.values[:, kept].std(axis=0), 1)


def test_range_of_arrays_is_watched():
    scaler = FeatureScaler().fit([[0.0, 1.0], [2.0, 3.0]])
    np.testing.assert_array_equal(scaler.count_out_of_range([[1.0, 1.0], [3.0, 0.0]]), [0, 2])
    with pytest.warns(UserWarning, match="the first of them row 1, whose feature 0 is 3 and not"):
        scaler.transform([[1.0, 1.0], [3.0, 0.0]])


def test_names_and_data_frames():
    table = pd.DataFrame(np.random.default_rng(0).normal(size=(20, 4)), columns=list("abcd"))
    scaled = FeatureScaler().set_output(transform="pandas").fit_transform(table)
    assert list(scaled.columns) == list("abcd")
    selector = FeatureSelector(2).set_output(transform="pandas")
    chosen = selector.fit_transform(table)
    assert list(chosen.columns) == list(table.columns[selector.support_])


def test_selector_needs_features_that_vary():
    with pytest.raises(ValueError, match="only 1 of 2 features vary"):
        FeatureSelector(2).fit([[1.0, 1.0], [1.0, 2.0], [1.0, 5.0]])
    with pytest.raises(ValueError, match="only 0 of 2 features vary"):
        FeatureSelector().fit(np.ones((3, 2)))
