"""Compositions and elements on the sites of prototypes: closed forms, invariances and errors.

What all descriptors promise is tested in `test_features_contract`.
"""

from itertools import permutations

import numpy as np
import pytest
import skops.io
from ase import Atoms
from ase.build import bulk, make_supercell, molecule
from ase.spacegroup import crystal
from batches import random_rotation
from sklearn.kernel_ridge import KernelRidge
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from skatom import Structures
from skatom.datasets import free_atoms
from skatom.descriptors import CompositionDescriptors, PrototypeEncoder, elemental_properties
from skatom.elements import valence_electrons

SALT = bulk("NaCl", "rocksalt", a=5.64)
CUBIC = [90, 90, 90]


def perovskite(a="Sr", b="Ti", x="O"):
    sites = [(0, 0, 0), (0.5, 0.5, 0.5), (0.5, 0.5, 0)]
    return crystal([a, b, x], sites, spacegroup=221, cellpar=[3.9, 3.9, 3.9, *CUBIC])


def elpasolite(a="K", b="Al", c="Na", d="F", x=0.22):
    sites = [(0, 0, 0), (0.5, 0.5, 0.5), (0.25, 0.25, 0.25), (x, 0, 0)]
    return crystal(
        [a, b, c, d], sites, spacegroup=225, cellpar=[8.1, 8.1, 8.1, *CUBIC], primitive_cell=True
    )


# --- compositions -------------------------------------------------------------------------------


def test_moments_of_salt():
    table = {"electronegativity": {"Na": 0.93, "Cl": 3.16}, "period": {"Na": 3, "Cl": 4}}
    descriptor = CompositionDescriptors(table)
    found = descriptor.fit_transform([SALT])
    expected = [2.045, 3.5, 1.115, 0.5, 1.115 * 0.5]
    np.testing.assert_allclose(found.values, [expected], rtol=1e-12)
    assert list(found.feature_names) == [
        "mean(electronegativity)", "mean(period)", "std(electronegativity)", "std(period)",
        "cov(electronegativity, period)",
    ]  # fmt: skip


def test_numbers_of_features():
    assert CompositionDescriptors().fit([SALT]).n_features_out_ == 2 * 15 + 15 * 14 // 2
    many = {f"p{k}": {"Na": k, "Cl": -k} for k in range(22)}
    assert CompositionDescriptors(many).fit([SALT]).n_features_out_ == 275


def test_pure_elements_have_no_spread():
    found = CompositionDescriptors().fit_transform(["Ti", "O2", "NaCl"])
    n = len(elemental_properties())
    assert not found[:2, n:].any() and found[2, n:].any()


def test_formula_units_and_atoms_do_not_count():
    descriptor = CompositionDescriptors()
    supercell = make_supercell(SALT, [[2, 0, 0], [0, 1, 1], [0, -1, 1]])[::-1]
    of_structures = descriptor.fit_transform([SALT, supercell]).values
    amounts = [{"Cl": 2.5, "Na": 2.5}, {"Na": 1, "Cl": 1, "H": 0}]
    of_tables = [*descriptor.transform(["NaCl", "Cl4Na4"]), *descriptor.transform(amounts)]
    for row in [*of_structures, *of_tables]:
        np.testing.assert_allclose(row, of_structures[0], rtol=0, atol=1e-12)


@pytest.mark.parametrize(
    ("symbol", "shells"),
    [("H", (1, 0, 0, 0)), ("Ne", (2, 6, 0, 0)), ("Ti", (2, 0, 2, 0)), ("Ga", (2, 1, 10, 0)),
     ("Nd", (2, 0, 0, 4)), ("Pb", (2, 2, 10, 14))],
)  # fmt: skip
def test_valence_electrons(symbol, shells):
    table = elemental_properties(["s", "p", "d", "f", "valence"])
    assert tuple(table[shell][symbol] for shell in "spdf") == shells
    assert valence_electrons(Atoms(symbol).numbers[0]) == shells
    assert table["valence"][symbol] == sum(shells)


def test_elements_without_a_value_are_left_out():
    table = elemental_properties()
    assert "Po" in table["mass"] and "Po" not in table["vdw_radius"]
    assert table["covalent_radius"]["C"] == 0.76 and table["vdw_radius"]["Sc"] == 2.58
    with pytest.raises(ValueError, match="no vdw_radius of Po: leave out the property"):
        CompositionDescriptors().fit_transform(["PoO2"])
    assert CompositionDescriptors(["row", "mass"]).fit_transform(["PoO2"]).shape == (1, 5)


@pytest.mark.parametrize("z, energy", [(2, -2.834836), (10, -128.233481), (18, -525.946195)])
def test_free_atoms_have_the_energies_of_the_local_density_approximation(z, energy):
    """Reference energies of NIST, in hartree, of another fit of the same electron gas."""
    atom = free_atoms.FreeAtom(z, free_atoms.configuration(z), light=np.inf).converge()
    assert atom.total_energy == pytest.approx(energy, rel=2e-4)
    assert sum(atom.occupations.values()) == z


def test_relativistic_energies_of_one_electron_are_those_of_dirac():
    """Of s states, by the relation of the regular approximation with Dirac's equation."""
    z, light = 80, free_atoms.LIGHT
    atom = free_atoms.FreeAtom(z, {(1, 0): 1.0})
    energies, orbitals = atom.solve(-z / atom.r, 0, 3)
    root = np.sqrt(1 - (z / light) ** 2)
    dirac = light**2 * (1 / np.sqrt(1 + (z / light / (np.arange(3) + root)) ** 2) - 1)
    np.testing.assert_allclose(energies, dirac / (1 + dirac / (2 * light**2)), rtol=2e-4)
    products = np.einsum("r,ra,rb->ab", atom.weights * atom.r**3, orbitals, orbitals)
    np.testing.assert_allclose(products, np.eye(3), atol=1e-8)


def test_potential_of_the_electron_gas_is_the_derivative_of_its_energy():
    density = np.logspace(-6, 3, 30)
    step = 1e-4 * density
    energies = [n * free_atoms.exchange_correlation(n)[0] for n in (density + step, density - step)]
    potential = free_atoms.exchange_correlation(density)[1]
    np.testing.assert_allclose((energies[0] - energies[1]) / (2 * step), potential, rtol=1e-6)


def test_the_table_of_free_atoms_is_what_the_program_computes():
    table = elemental_properties(free_atoms.COLUMNS)
    for symbol in ("Na", "Pd", "Au"):
        found = free_atoms.properties_of(Atoms(symbol).numbers[0])
        embedded = [table[name][symbol] for name in free_atoms.COLUMNS]
        np.testing.assert_allclose(embedded, found, rtol=0, atol=2e-4)
    assert len(table["s_radius"]) == 103


def test_trends_of_the_periodic_table():
    """Measured first ionisation energies, in eV, of atoms of all blocks."""
    measured = {
        "Li": 5.39, "Na": 5.14, "K": 4.34, "Mg": 7.65, "C": 11.26, "Si": 8.15, "F": 17.42,
        "Cl": 12.97, "Fe": 7.90, "Cu": 7.73, "Ag": 7.58, "Au": 9.23, "Cs": 3.89, "Pb": 7.42,
    }  # fmt: skip
    table = elemental_properties(["ionization_energy", "electronegativity", "s_radius"])
    for symbol, energy in measured.items():
        assert table["ionization_energy"][symbol] == pytest.approx(energy, rel=0.15)
    chi, radius = table["electronegativity"], table["s_radius"]
    assert chi["F"] > chi["O"] > chi["N"] > chi["C"] > chi["B"] > chi["Li"] > chi["Cs"]
    assert radius["Cs"] > radius["K"] > radius["Na"] > radius["Mg"] > radius["Cl"]


def test_an_atom_that_does_not_converge():
    occupations = free_atoms.configuration(2)
    with pytest.raises(RuntimeError, match="the atom of charge 2 did not converge in 1 steps"):
        free_atoms.FreeAtom(2, occupations).converge(n_steps=1)


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({"properties": ["colour"]}, "no property 'colour': choose from number, row"),
        ({"properties": []}, "leave no features"),
        ({"properties": ["row"], "moments": ["cov"]}, "leave no features"),
        ({"moments": ["median"]}, "must be one or more of 'mean'"),
        ({"moments": ["mean", "mean"]}, "a moment twice"),
        ({"properties": {"x": [1.0]}}, "not given as numbers by chemical symbol"),
        ({"properties": {"x": {"Unobtainium": 1.0}}}, "not given as numbers by chemical symbol"),
    ],
)
def test_parameters_of_compositions(parameters, message):
    with pytest.raises(ValueError, match=message):
        CompositionDescriptors(**parameters).fit([SALT])


def test_values_that_are_not_finite():
    descriptor = CompositionDescriptors({"x": {"Na": np.nan, "Cl": 1.0}}).fit([SALT])
    with pytest.raises(ValueError, match="the x of Na is nan: give a finite number"):
        descriptor.transform([SALT])


@pytest.mark.parametrize(
    "formula", ["NaXy", "", {"Na": -1}, {}, {"Na": np.nan}, {"Q": 1}, {"Na": "many"}, "NaCl)"]
)
def test_formulas_that_cannot_be_read(formula):
    with pytest.raises(ValueError, match=r"composition 1, .*(cannot be read|has no atoms)"):
        CompositionDescriptors().fit_transform(["NaCl", formula])


def test_a_formula_alone_is_no_list():
    with pytest.raises(ValueError, match="got the name 'NaCl' where"):
        CompositionDescriptors().fit("NaCl")


# --- prototypes ---------------------------------------------------------------------------------


def test_counts_of_elpasolites():
    """39 and 12 elements on four sites of which two are one another's equals."""
    encoder = PrototypeEncoder("elpasolite", columns="short").fit([elpasolite()])
    elements = ["Li", "Be", "B", "C", "N", "O", "F", "Na", "Mg", "Al", "Si", "P"]
    table = encoder.transform(list(permutations(elements, 4)))
    assert table.shape == (11880, 8)
    assert len(np.unique(table, axis=0)) == 11880 // 2


def test_any_cell_and_order_of_atoms():
    rng = np.random.default_rng(0)
    for atoms, encoder in (
        (perovskite("Ba"), PrototypeEncoder()),
        (elpasolite(), PrototypeEncoder("elpasolite", columns="short")),
    ):
        expected = encoder.fit_transform([atoms]).values
        for vectors in ([[1, 1, 0], [0, 1, 0], [0, -1, 1]], [[1, 2, 0], [0, 1, 3], [0, 0, 1]]):
            other = atoms[rng.permutation(len(atoms))]
            other.set_cell(np.array(vectors) @ atoms.cell.array)
            other.rattle(0.1, rng=rng)
            rotation = -random_rotation(2)
            other.positions = other.positions @ rotation.T + [3.0, -40.0, 1.0]
            other.set_cell(other.cell.array @ rotation.T)
            np.testing.assert_array_equal(encoder.transform([other]).values, expected)


def test_equal_sites_are_exchanged():
    encoder = PrototypeEncoder("elpasolite").fit([elpasolite()])
    one, other = elpasolite("K", "Al"), elpasolite("Al", "K", x=0.28)
    found = encoder.transform([one, other]).values
    np.testing.assert_array_equal(found[0], found[1])
    np.testing.assert_array_equal(
        encoder.transform([["K", "Al", "Na", "F"], ["Al", "K", "Na", "F"]]), found
    )
    assert encoder.sites_ == ["A", "B", "C", "D"]
    # A and B of perovskites are not
    table = PrototypeEncoder().fit([perovskite()]).transform([[38, 22, 8], [22, 38, 8]])
    assert (table[0] != table[1]).any()


def test_a_prototype_of_ones_own():
    """The two sites of rock salt are equal; those of zinc telluride and fluorite are not merged."""
    salt = PrototypeEncoder(SALT).fit([SALT])
    np.testing.assert_array_equal(
        salt.elements_of([SALT, bulk("ClNa", "rocksalt", 5.6)]), [[11, 17]] * 2
    )
    fluorite = bulk("CaF2", "fluorite", a=5.46)
    encoder = PrototypeEncoder(Structures.from_ase([fluorite])).fit([fluorite])
    assert encoder.sites_ == ["A", "B"]
    np.testing.assert_array_equal(encoder.elements_of([fluorite]), [[20, 9]])


def test_settings_of_a_prototype_of_low_symmetry():
    """A tetragonal prototype in a cell that is nearly cubic: positions tell the axis."""
    cell = np.diag([4.0, 4.0, 4.05])
    places = [[0, 0, 0], [0.5, 0.5, 0.54], [0.5, 0.5, -0.08], [0, 0.5, 0.45], [0.5, 0, 0.45]]
    tetragonal = Atoms("SrTiNO2", cell=cell, scaled_positions=places, pbc=True)
    encoder = PrototypeEncoder(tetragonal).fit([tetragonal])
    turned = tetragonal.copy()
    turned.set_cell(np.roll(np.eye(3), 1, axis=0) * 4.0)  # cubic: the metric does not tell
    turned.positions = np.roll(np.array(places) * 4.0, 1, axis=1)
    np.testing.assert_array_equal(encoder.elements_of([tetragonal, turned]), [[38, 22, 7, 8]] * 2)


def test_mixed_sites():
    mixed = perovskite()
    mixed.symbols[mixed.symbols == "O"] = ["O", "N", "F"]
    with pytest.raises(ValueError, match="site X of structure 1 has N, O, F: set mixed=True"):
        PrototypeEncoder().fit_transform([perovskite(), mixed])
    encoder = PrototypeEncoder(mixed=True).fit([mixed])
    assert encoder.sites_ == ["A", "B", "X1", "X2", "X3"]
    np.testing.assert_array_equal(encoder.elements_of([mixed]), [[38, 22, 7, 8, 9]])
    np.testing.assert_array_equal(
        encoder.transform([["Sr", "Ti", "F", "N", "O"]]), encoder.transform([mixed]).values
    )


def test_structures_that_are_not_like_the_prototype():
    encoder = PrototypeEncoder().fit([perovskite()])
    moved, strained = perovskite(), perovskite()
    moved.positions[1] += [1.0, 0, 0]
    strained.set_cell(np.diag([3.9, 3.9, 6.0]), scale_atoms=True)
    for atoms, what in ((moved, "atoms are"), (strained, "cell vectors are")):
        with pytest.raises(
            ValueError, match=f"structure 1 is not like the prototype: its {what} off"
        ):
            encoder.transform([perovskite(), atoms])
    with pytest.raises(ValueError, match="structure 0 has 2 atoms .*crystal of 5 atoms: give prim"):
        encoder.transform([SALT])
    with pytest.raises(ValueError, match=r"structure 0 has 5 atoms and pbc=\[False"):
        encoder.transform([molecule("CH4")])


@pytest.mark.parametrize(
    ("table", "message"),
    [
        ([[1, 2]], r"the shape \(1, 2\), but there are 3 sites \(A, B, X\)"),
        ([[1, 2, 0]], "row 0 of the table has no element on site X"),
        ([[1, 2, 3], [1, 119, 2]], "row 1 of the table has no element on site B"),
        ([["Sr", "Tj", "O"]], "row 0 of the table has no element on site B"),
        (np.full((1, 3), np.nan), "row 0 of the table has no element on site A"),
        (np.full((1, 3), 1.5), "row 0 of the table has no element on site A"),
    ],
)
def test_tables_that_name_no_elements(table, message):
    with pytest.raises(ValueError, match=message):
        PrototypeEncoder().fit([perovskite()]).transform(table)


def test_columns_of_the_short_form():
    encoder = PrototypeEncoder(columns="short").fit([[1, 2, 3]])
    np.testing.assert_array_equal(encoder.transform([["Ba", "Sn", "O"]]), [[6, 2, 5, 4, 2, 6]])
    with pytest.raises(ValueError, match="Ti on site B of row 1 is in column 4, .*columns='long'"):
        encoder.transform([["Ba", "Sn", "O"], ["Sr", "Ti", "O"]])


def test_prototypes_that_are_no_crystal():
    for prototype in (molecule("H2O"), Structures.from_ase([SALT, SALT])):
        with pytest.raises(ValueError, match="give one crystal of at most 26 elements"):
            PrototypeEncoder(prototype).fit([SALT])


@pytest.mark.parametrize(
    ("descriptor", "X", "table"),
    [
        (PrototypeEncoder(), [perovskite(), perovskite("Ba")], [[38, 22, 8], [56, 22, 8]]),
        (CompositionDescriptors(["mass"]), [perovskite(), SALT], ["SrTiO3", "NaCl"]),
    ],
)
def test_models_of_structures_predict_tables(descriptor, X, table):
    model = make_pipeline(descriptor, StandardScaler(), KernelRidge(kernel="laplacian"))
    model.fit(X, [1.0, 2.0])
    np.testing.assert_allclose(model.predict(table), model.predict(X), rtol=1e-12)
    same = model.fit(table, [1.0, 2.0])
    np.testing.assert_allclose(same.predict(table), model.predict(X), rtol=1e-12)
    saved = skops.io.dumps(model[0])
    trusted = skops.io.get_untrusted_types(data=saved)
    assert all(name.startswith("skatom.") for name in trusted)
    again = skops.io.loads(saved, trusted=trusted)
    np.testing.assert_array_equal(again.transform(table), model[0].transform(table))


def test_tables_in_data_frames():
    encoder = PrototypeEncoder().set_output(transform="pandas")
    frame = encoder.fit_transform([["Sr", "Ti", "O"]])
    assert list(frame.columns) == [*encoder.get_feature_names_out()]
    table = frame[["row(A)", "column(A)", "row(B)"]].astype(int)
    assert encoder.transform(table).shape == (1, 6)
