"""The two passes over one structure: features from atoms, and gradients back to them."""

import numpy as np

from skatom.descriptors._cpu import scattering as loops
from skatom.descriptors._cpu.scattering_maps import maps

# σ below this is zero: its direction is not divided by it
TINY = 1e-90


class Scene:
    """One structure with its grids and charges.

    Parameters
    ----------
    grids : CellGrids or BoxGrids
    positions : ndarray of float, shape (N, 3)
    species : ndarray of int, shape (N,)
        Indices into the columns of ``charges``.
    charges : ndarray of float, shape (n_channels, n_species)
    paths : Paths
    reach : float
        Distance in Å from its centre at which the wavelet of scale 0 is truncated.
    density_width : float
        Width of the atoms' Gaussians, Å; 0: Dirac.
    """

    def __init__(self, grids, positions, species, charges, paths, reach, density_width):
        self.grids = grids
        self.positions = positions
        self.species = species
        self.groups = [np.flatnonzero(species == s) for s in range(charges.shape[1])]
        self.charges = charges
        self.counts = np.bincount(species, minlength=charges.shape[1])
        self.paths = paths
        self.exponents = paths.exponents
        self.reach = reach
        self.density_width = density_width
        self._densities, self._seconds = {}, {}

    def first_grid(self, wavelet, level):
        """The grid of a first-order map."""
        return self.grids.grid(level, self.reach * 2.0 ** self.paths.wavelets[wavelet].j)

    def second_grid(self, pair):
        """The grid of a second-order map."""
        if pair not in self._seconds:
            a, b = self.paths.pairs[pair]
            j1, j2 = self.paths.wavelets[a].j, self.paths.wavelets[b].j
            reach = self.reach * (2.0**j1 + 2.0**j2)
            self._seconds[pair] = self.grids.grid(self.paths.level(b), reach)
        return self._seconds[pair]

    def density(self, grid):
        """Spectra (n_channels, n_ω) of the pseudo-densities on a grid."""
        key = grid.spectrum
        if key not in self._densities:
            spectra = grid.densities(self.positions, self.species, self.charges)
            if self.density_width:
                spectra *= grid.tables.gaussian(self.density_width)
            self._densities[key] = spectra
        return self._densities[key]

    def prepare(self, tasks, strain=None):
        """Make what all tasks share, before threads ask for it at once.

        ``strain``: whether derivatives need the slopes of the filters. None: no derivatives.
        """
        wavelets = self.paths.wavelets
        sources, filters, moves = {}, {}, {}  # in order, and each once
        for task in tasks:
            grid = self.first_grid(task.wavelet, task.level)
            sources[grid] = filters[grid, (wavelets[task.wavelet],)] = None
            for group in task.groups:
                target = self.second_grid(group.pairs[0])
                filters[target, group.wavelets] = moves[grid, target] = None
        for grid in sources:
            self.density(grid)
        for grid, some in filters:
            grid.tables.prepare(some, strain)
        for grid, target in moves:
            self.grids.prepare(grid, target, strain is None)

    def density_gradient(self, grid, cotangents):
        """dE/dR (N, 3) for the cotangents (n_channels, n_ω) of the densities on a grid."""
        if self.density_width:
            cotangents = cotangents * grid.tables.gaussian(self.density_width)
        cotangents = self.charges.T @ cotangents
        gradient = np.zeros_like(self.positions)
        for atoms, cotangent in zip(self.groups, cotangents, strict=True):
            if len(atoms):
                gradient[atoms] = grid.phase_gradients(self.positions[atoms], cotangent[None])[0]
        return gradient

    def density_gradients(self, grid, channels, cotangents):
        """dE/dR (n, N, 3) of n energies, each of one channel's density, for cotangents (n, n_ω)."""
        if self.density_width:
            cotangents = cotangents * grid.tables.gaussian(self.density_width)
        charges = self.charges[channels][:, self.species]
        return charges[:, :, None] * grid.phase_gradients(self.positions, cotangents)


def features(scene, tasks, run):
    """Integrals of the three orders; NaN where no task computes them.

    Parameters
    ----------
    scene : Scene
    tasks : list of Task
    run : callable (function, items) -> iterator
        `map`, or that of a thread pool.

    Returns
    -------
    list of ndarray
        Arrays of the shapes of `Paths`.
    """
    scene.prepare(tasks)
    zeroth, first, second = (np.full(shape, np.nan) for shape in scene.paths.shapes)
    zeroth[:] = np.einsum("s,csq->cq", scene.counts, scene.charges[:, :, None] ** scene.exponents)
    results = run(lambda task: _integrals_of(scene, task), tasks)
    for task, (sums, group_sums) in zip(tasks, results, strict=True):
        first[task.channels[task.first], task.wavelet] = sums[task.first]
        for group, values in zip(task.groups, group_sums, strict=True):
            values = np.where(group.wanted[:, :, None], values, np.nan)
            second[task.channels[:, None], group.pairs] = values.transpose(1, 0, 2)
    return zeroth, first, second


def gradients(scene, tasks, first, second, run):
    """dE/dR (N, 3) and dE/dε (3, 3) of E = Σ first · order 1 + Σ second · order 2.

    Parameters
    ----------
    scene : Scene
    tasks : list of Task
        They must compute what has a cotangent.
    first, second : ndarray of float
        Cotangents, of the shapes of `Paths`.
    run : callable (function, items) -> iterator

    Returns
    -------
    gradient, virial : ndarray of float
    """
    scene.prepare(tasks, scene.grids.periodic)
    totals, virial = {}, np.zeros((3, 3))
    results = run(lambda task: _cotangent_of(scene, task, first, second), tasks)
    for task, (cotangent, strain) in zip(tasks, results, strict=True):
        grid = scene.first_grid(task.wavelet, task.level)
        if grid.spectrum not in totals:
            zero = np.zeros((len(scene.charges), cotangent.shape[1]), complex)
            totals[grid.spectrum] = grid, zero
        totals[grid.spectrum][1][task.channels] += cotangent
        virial += strain
    gradient = sum(
        (scene.density_gradient(grid, total) for grid, total in totals.values()),
        np.zeros_like(scene.positions),
    )
    if not scene.grids.periodic:
        # the grid follows the mean position, and is not strained
        gradient -= gradient.mean(axis=0)
        virial = gradient.T @ scene.positions
    return gradient, virial


def _integrals_of(scene, task):
    """First- and second-order integrals of a task: (C, n_q), and (n_pairs, C, n_q) of each group.

    Second orders that are not wanted are zero.
    """
    paths = scene.paths
    wavelet = paths.wavelets[task.wavelet]
    grid = scene.first_grid(task.wavelet, task.level)
    channels = task.channels
    if len(channels) == channels[-1] - channels[0] + 1:
        channels = slice(channels[0], channels[-1] + 1)  # no copy
    spectra = scene.density(grid)[channels]
    squares = np.empty((len(spectra) if task.groups else 1, grid.n_points))
    wanted = np.ones((1, len(spectra)), bool)
    sums = moduli(spectra, grid, (wavelet,), np.array([wavelet.l]), wanted, paths, squares)[0]
    group_sums = []
    for group in task.groups:
        target = scene.second_grid(group.pairs[0])
        sources = scene.grids.band_spectra(squares, group.sources, grid, target)
        scratch = np.empty((1, target.n_points))
        group_sums.append(moduli(
            sources, target, group.wavelets, group.degrees, group.wanted, paths, scratch
        ))  # fmt: skip
    return sums, group_sums


def moduli(spectra, grid, wavelets, degrees, wanted, paths, squares):
    """∫σ^q (n_wavelets, C, n_q) of spectra (C, n_ω), where they are ``wanted`` (n_wavelets, C).

    ``degrees``: the l of the wavelets. ``squares``: becomes σ of the last wavelet; of each
    spectrum, or of the last if it has one row.
    """
    tables, waves = grid.tables, grid.waves
    sums = np.zeros((*wanted.shape, len(paths.exponents)))
    maps(
        spectra, wanted, tables.radials(wavelets), tables.harmonics, degrees, 1 / grid.volume,
        tables.sizes, grid.sizes, waves.cosines, waves.sines, waves.lines, waves.phases,
        waves.more_phases, paths.exponents, paths.root, squares, sums,
    )  # fmt: skip
    sums *= grid.voxel
    return sums


def spectra_on(scene, task, modulus, grid):
    """Spectra of a first-order map on the grids of the second order."""
    targets = list(dict.fromkeys(scene.second_grid(pair) for pair, _ in task.seconds))
    if not targets:
        return {}
    return dict(zip(targets, scene.grids.spectra(modulus, grid, targets), strict=True))


def _cotangent_of(scene, task, first, second):
    """Cotangent (C, n_ω) of a task's densities, and its part of dE/dε at fixed densities.

    With h = Σ_q cotangent · q σ^(q−2), the fields' cotangents are h f_m; what comes back from a
    second order to σ is divided by σ and joins h.
    """
    paths, strain = scene.paths, scene.grids.periodic
    wavelet = paths.wavelets[task.wavelet]
    grid = scene.first_grid(task.wavelet, task.level)
    spectra = scene.density(grid)[task.channels]
    fields = filtered(spectra, grid, wavelet)
    squares = squared(fields)
    modulus = squares.copy()
    sums = integrals(modulus, grid, paths)
    bars = np.zeros_like(sums)
    bars[task.first] = first[task.channels[task.first], task.wavelet]
    slopes = field_slopes(squares, grid, scene.exponents, bars)
    virial, volume_term = np.zeros((3, 3)), np.sum(bars * sums)

    sources = spectra_on(scene, task, modulus, grid)
    back = {target: np.zeros_like(spectra) for target, spectra in sources.items()}
    for pair, rows in task.seconds:
        target = scene.second_grid(pair)
        other = paths.wavelets[paths.pairs[pair][1]]
        source = sources[target][rows]
        other_fields = filtered(source, target, other)
        other_squares = squared(other_fields)
        other_bars = second[task.channels[rows], pair]
        other_slopes = field_slopes(other_squares, target, scene.exponents, other_bars)
        cotangent = pulled(other_slopes, other_fields, target)
        back[target][rows] += filter_adjoint(cotangent, target, other)
        if strain:
            virial += filter_strain(source, cotangent, target, other)
            other_sums = integrals(other_squares, target, paths)
            volume_term += np.sum(other_bars * other_sums)
    for target, cotangent in back.items():
        slopes += scene.grids.adjoint_spectra(cotangent, grid, target) / np.maximum(modulus, TINY)

    if strain:
        # f is 1/V times a sum that does not know the volume; V of the integral is in volume_term
        volume_term -= np.vdot(slopes, squares)
    cotangent = pulled(slopes, fields, grid)
    if strain:
        blur = 0.5 * scene.density_width**2
        virial += filter_strain(spectra, cotangent, grid, wavelet, blur)
        virial += volume_term * np.eye(3)
    return filter_adjoint(cotangent, grid, wavelet), virial


def filtered(spectra, grid, wavelet, members=slice(None)):
    """Fields (C, 2l + 1, n_points) of spectra (C, n_ω) convolved with a wavelet.

    ``members``: some of the 2l + 1.
    """
    tables = grid.tables
    harmonic = tables.harmonic(wavelet.l)[members]
    products = np.empty((len(spectra), *harmonic.shape), complex)
    loops.apply_filter(spectra, tables.radial(wavelet), harmonic, _scale(grid, wavelet), products)
    return grid.fields(products)


def filter_adjoint(cotangent, grid, wavelet):
    """The transpose of `filtered`, from the spectra of the fields' cotangents."""
    tables = grid.tables
    harmonic = tables.harmonic(wavelet.l)
    result = np.zeros((len(cotangent), harmonic.shape[1]), complex)
    loops.adjoint_filter(cotangent, tables.radial(wavelet), harmonic, _scale(grid, wavelet), result)
    return result


def filter_strain(spectra, cotangent, grid, wavelet, blur=0.0):
    """dE/dε (3, 3) of the filter alone; ``blur``: a further exp(−blur |ω|²) in the spectra."""
    tables = grid.tables
    virial = np.zeros((3, 3))
    loops.filter_virial(
        spectra, cotangent, tables.omega, tables.weights, tables.radial(wavelet),
        tables.radial_slope(wavelet) - blur, tables.harmonic(wavelet.l),
        tables.harmonic_gradient(wavelet.l), _scale(grid, wavelet), virial,
    )  # fmt: skip
    return virial


def _scale(grid, wavelet):
    """i^l / V, up to its sign, which does not matter to a modulus."""
    return (1j if wavelet.l % 2 else 1.0 + 0j) / grid.volume


def squared(fields):
    """σ² (C, n_points) of fields (C, 2l + 1, n_points)."""
    squares = np.zeros((fields.shape[0], fields.shape[2]))
    loops.add_squared_modulus(fields, squares)
    return squares


def integrals(squares, grid, paths):
    """∫σ^q (C, n_q); σ² (C, n_points) becomes σ in place."""
    sums, nothing = np.empty((len(squares), len(paths.exponents))), np.empty((0, 0))
    loops.powers(squares, paths.exponents, paths.root, nothing, nothing, sums)
    return grid.voxel * sums


def field_slopes(squares, grid, exponents, bars):
    """h (C, n_points), the fields' cotangents being h f_m, for cotangents (C, n_q) of ∫σ^q."""
    slopes = np.empty_like(squares)
    loops.powers(squares, exponents, 0, grid.voxel * bars, slopes, np.empty((0, 0)))
    return slopes


def pulled(slopes, fields, grid):
    """Spectra of the cotangents h f_m (C, 2l + 1, n_ω); the fields are overwritten."""
    fields *= slopes[:, None]
    return grid.cotangent_spectra(fields)
