"""Moment tensor potentials in the format of the program MLIP."""

from __future__ import annotations

from os import PathLike
from typing import Any, NamedTuple

import numpy as np
from ase.data import chemical_symbols
from sklearn.utils.validation import check_is_fitted

from skatom._files import written_whole
from skatom._prediction import last_step
from skatom._typing import Array
from skatom.baseline import energies_of_elements
from skatom.descriptors import MomentTensor
from skatom.descriptors.contractions import basic_moments, program_of
from skatom.models.linear.base import LinearModel
from skatom.models.linear.moment_tensor_potential import MomentTensorPotential

_SUGGESTION = (
    "make_pipeline(MomentTensor(), LinearPotential()) or MomentTensorPotential() can be written"
)


def write_mtp(model: Any, path: str | PathLike) -> list[str]:
    r"""Write a moment tensor potential as a file ``.mtp`` of the program MLIP.

    .. math::
        E = \sum_i \Big( \varepsilon_{Z_i} + \sum_k \xi_k B_k(i) \Big), \qquad
        f_\mu(r; Z_i, Z_j) = \sum_\beta c_{\mu Z_i Z_j \beta}\,
        T_\beta\!\left(\frac{2r - r_\mathrm{min} - r_\mathrm{cut}}
        {r_\mathrm{cut} - r_\mathrm{min}}\right) (r_\mathrm{cut} - r)^2

    The file has the constants ε, ξ and c and the products that make the invariants B of moments
    [1]_, in version 1.1.0 of the format. MLIP, its interface to LAMMPS and other programs for such
    files give the energies, forces and stresses of the model from it. Units are eV and Å. Species
    have numbers in the format, and no names: 0 is the first of the returned symbols.

    Coefficients of each species of the centre, those of `LinearPotential` by default, become
    invariants of their own, whose radial functions vanish for other centres: with C species the
    file has C times as many invariants. What only coefficients of 0 need is left out, so that files
    of `GreedyOLS` are short. Linear maps between descriptor and model, such as those of
    `FeatureScaler <skatom.descriptors.FeatureScaler>`, are part of the coefficients.

    Parameters
    ----------
    model : Pipeline, LinearPotential, GreedyOLS, BaggedGreedyOLS or MomentTensorPotential
        A fitted model of the `AtomicFeatures` of `MomentTensor`.
    path : str or path
        Where to write. A file that is there is replaced.

    Returns
    -------
    list of str
        Symbols of the species, in the order of their numbers in the file.

    Raises
    ------
    TypeError
        If the model is another one.
    ValueError
        If the features are pooled, from another descriptor or of tensor powers of whole vectors
        (``unit_vectors=False``), a map between is not linear, or the baseline has forces.

    Notes
    -----
    Some versions of MLIP add a repulsion between atoms that are closer than the ``min_dist`` of the
    file, which is ``r_min_`` of the descriptor, the smallest distance in the training structures
    unless ``r_min`` is given.

    References
    ----------
    .. [1] I. S. Novikov, K. Gubaev, E. V. Podryabinkin, A. V. Shapeev, Mach. Learn.: Sci. Technol.
       2, 025002 (2021).

    Examples
    --------
    >>> from pathlib import Path
    >>> from tempfile import TemporaryDirectory
    >>> from sklearn.pipeline import make_pipeline
    >>> from skatom.datasets import load_boron_nitride
    >>> from skatom.descriptors import MomentTensor
    >>> from skatom.models import LinearPotential, write_mtp
    >>> data = load_boron_nitride()
    >>> model = make_pipeline(MomentTensor(cutoff=3.5, level=6), LinearPotential())
    >>> model = model.fit(data.structures[:6], data.targets[:6])
    >>> with TemporaryDirectory() as folder:
    ...     symbols = write_mtp(model, Path(folder) / "bn.mtp")
    ...     head = (Path(folder) / "bn.mtp").read_text().splitlines()[:4]
    >>> symbols, head[1], head[3]
    (['B', 'N'], 'version = 1.1.0', 'species_count = 2')
    """
    potential = _potential(model)
    descriptor, *maps = _origin(potential)
    contents = _pruned(_contents(descriptor, *_energies(potential, descriptor, maps)))
    symbols = [chemical_symbols[z] for z in descriptor.species_]
    with written_whole(path) as beside:
        beside.write_text(_text(contents, descriptor, symbols), encoding="utf-8")
    return symbols


class _Contents(NamedTuple):
    """What a file has, besides the radial basis."""

    radial: Array  # (n_functions, n_species, n_species, n_radial)
    basics: Array  # (n_basics, 4), function and exponents of x, y and z of each moment
    times: Array  # (n_products, 4), two numbers that are multiplied, a factor, where it is added
    n_numbers: int
    scalars: Array  # which numbers are invariants
    moment_coeffs: Array
    species_coeffs: Array


def _potential(model):
    """The fitted linear model at the end."""
    model = last_step(model)
    if not isinstance(model, MomentTensorPotential | LinearModel):
        raise TypeError(f"got {type(model).__name__}: {_SUGGESTION}")
    check_is_fitted(model)
    return model.estimator_ if isinstance(model, MomentTensorPotential) else model


def _origin(potential):
    """The descriptor and the maps of its features."""
    origin = potential._origin
    if origin is None or not isinstance(origin[0], MomentTensor):
        name = "an array" if origin is None else f"features of {type(origin[0]).__name__}"
        raise ValueError(f"the model was fitted to {name}: {_SUGGESTION}")
    for step in origin[1:]:
        if isinstance(step, str):
            raise ValueError(
                f"the model was fitted to {step}, and the format has energies of atoms: leave "
                "pool=None"
            )
        if not step.linear:
            raise ValueError(
                f"{type(step).__name__} is no linear function of the features, and the format has "
                f"linear models: {_SUGGESTION}"
            )
    if not origin[0].unit_vectors:
        raise ValueError(
            "the moments of the format are those of unit vectors: fit with unit_vectors=True"
        )
    return origin


def _energies(potential, descriptor, maps):
    """Coefficients of the contractions (n_species, n), and constants, for each kind of centre."""
    species = descriptor.species_
    constants = energies_of_elements(potential.baseline_, species) + potential.intercept_
    coef = np.broadcast_to(potential.coef_, (len(species), potential.coef_.shape[-1]))
    origin = np.zeros((len(species), descriptor.n_features_out_))
    for step in maps:
        origin = step.value(origin, species)
    constants = constants + np.einsum("sf,sf->s", coef, origin)
    for step in reversed(maps):
        coef = step.pullback(None, coef, species)
    if descriptor.by_center:
        blocks = coef.reshape(len(species), len(species), -1)
        coef = blocks[np.arange(len(species)), np.arange(len(species))]
    if descriptor.include_bias:
        constants, coef = constants + coef[:, 0], coef[:, 1:]
    return coef, constants


def _contents(descriptor, coef, constants):
    """All arrays, with a copy of the program for each kind of centre of other coefficients."""
    program = program_of(descriptor)
    n_copies = 1 if (coef == coef[0]).all() else len(coef)
    one = _radial_functions(descriptor, program)
    radial = np.zeros((n_copies, *one.shape))
    for copy in range(n_copies):
        centers = slice(None) if n_copies == 1 else copy
        radial[copy, :, centers] = one[:, centers]
    basics = basic_moments(program.degrees, len(one) // len(program.degrees))
    n_products = len(program.starts) - 1
    n_basics = n_copies * len(basics)
    products = np.repeat(np.arange(n_products), np.diff(program.starts))

    def place(numbers, copy):
        """The place among all numbers of one of the program."""
        among_basics = numbers + copy * len(basics)
        among_products = numbers - len(basics) + n_basics + copy * n_products
        return np.where(numbers < len(basics), among_basics, among_products)

    copies = range(n_copies)
    times = [
        np.column_stack([
            place(program.left, copy), place(program.right, copy), program.factors.astype(int),
            place(products + len(basics), copy),
        ])
        for copy in copies
    ]  # fmt: skip
    return _Contents(
        radial=radial.reshape(-1, *one.shape[1:]),
        basics=np.concatenate([basics + [copy * len(one), 0, 0, 0] for copy in copies]),
        times=np.concatenate(times),
        n_numbers=n_basics + n_copies * n_products,
        scalars=np.concatenate([place(program.scalars, copy) for copy in copies]),
        moment_coeffs=coef[:n_copies].ravel(),
        species_coeffs=constants,
    )


def _pruned(contents):
    """The same without invariants of coefficient 0, and all that only they need."""
    kept = contents.moment_coeffs != 0
    kept[0] |= not kept.any()
    used = np.zeros(contents.n_numbers, bool)
    used[contents.scalars[kept]] = True
    for left, right, _, number in contents.times[::-1]:
        used[[left, right]] |= used[number]
    place = np.cumsum(used) - 1
    times = contents.times[used[contents.times[:, 3]]]
    times[:, [0, 1, 3]] = place[times[:, [0, 1, 3]]]
    basics = contents.basics[used[: len(contents.basics)]]
    functions, basics[:, 0] = np.unique(basics[:, 0], return_inverse=True)
    return contents._replace(
        radial=contents.radial[functions], basics=basics, times=times, n_numbers=used.sum(),
        scalars=place[contents.scalars[kept]], moment_coeffs=contents.moment_coeffs[kept],
    )  # fmt: skip


def _radial_functions(descriptor, program):
    """Coefficients of the functions (channel, μ) by species of centre and neighbour, and β."""
    if descriptor.radial_coefficients is not None:
        return np.asarray(descriptor.radial_coefficients, float)
    n_mu, n_species = len(program.degrees), len(descriptor.species_)
    shape = len(descriptor.mixing_), n_mu, n_species, n_species, n_mu
    weights = descriptor.mixing_[:, None, None, :, None] * np.eye(n_mu)[:, None, None, :]
    return np.broadcast_to(weights, shape).reshape(-1, *shape[2:])


def _text(contents, descriptor, symbols):
    radial = contents.radial.transpose(1, 2, 0, 3)
    lines = [
        "MTP",
        "version = 1.1.0",
        "potential_name = skatom",
        f"species_count = {len(symbols)}",
        f"potential_tag = {' '.join(symbols)}",
        "radial_basis_type = RBChebyshev",
        f"min_dist = {descriptor.r_min_!r}",
        f"max_dist = {float(descriptor.cutoff)!r}",
        f"radial_basis_size = {radial.shape[-1]}",
        f"radial_funcs_count = {radial.shape[2]}",
        "radial_coeffs",
    ]
    for s, of_center in enumerate(radial):
        for t, functions in enumerate(of_center):
            lines += [f"{s}-{t}", *map(_braces, functions)]
    lines += [
        f"alpha_moments_count = {contents.n_numbers}",
        f"alpha_index_basic_count = {len(contents.basics)}",
        f"alpha_index_basic = {_braces(map(_braces, contents.basics))}",
        f"alpha_index_times_count = {len(contents.times)}",
        f"alpha_index_times = {_braces(map(_braces, contents.times))}",
        f"alpha_scalar_moments = {len(contents.scalars)}",
        f"alpha_moment_mapping = {_braces(contents.scalars)}",
        f"species_coeffs = {_braces(contents.species_coeffs)}",
        f"moment_coeffs = {_braces(contents.moment_coeffs)}",
    ]
    return "\n".join(lines) + "\n"


def _braces(values):
    """``{1.5, 2.0}``; floats with as many digits as they have."""
    texts = (v if isinstance(v, str) else repr(v.item()) for v in values)
    return "{" + ", ".join(texts) + "}"
