"""Wavelet scattering of structures whose grids agree, on a device: the passes of the CPU's modules.

All first indices run over the structures, the second over the channels of a task.
"""

import numpy as np
import torch

from skatom.descriptors._torch.scattering_grids import (
    BoxTransfer,
    CellTransfer,
    TensorGrid,
    power_slopes,
    power_sums,
)

# σ below this is zero: its direction is not divided by it
_TINY = 1e-90


class TensorScenes:
    """Structures whose grids agree, with these grids and their charges.

    Parameters
    ----------
    scenes : list of Scene
        Their grids have outlines instead of tables.
    settings : Settings
    device : Device
    """

    def __init__(self, scenes, settings, device):
        self.scenes, self.device, self.paths = scenes, device, settings.paths
        self.settings = settings
        self.periodic = scenes[0].grids.periodic
        self.exponents = settings.paths.exponents.tolist()
        self.positions = np.array([scene.positions for scene in scenes])
        self.charges = device.tensor(
            np.array([settings.charges[:, scene.species] for scene in scenes])
        )
        self.l_max = max((w.l for w in self.paths.wavelets), default=0)
        self._grids, self._densities, self._transfers = {}, {}, {}

    def _grid(self, grids):
        key = grids[0]
        if key not in self._grids:
            self._grids[key] = TensorGrid(grids, self.settings.beta, self.l_max, self.device)
        return self._grids[key]

    def first_grid(self, task):
        return self._grid([s.first_grid(task.wavelet, task.level) for s in self.scenes])

    def second_grid(self, group):
        return self._grid([s.second_grid(group.pairs[0]) for s in self.scenes])

    def transfer(self, source, target):
        key = source, target
        if key not in self._transfers:
            make = CellTransfer if self.periodic else BoxTransfer
            self._transfers[key] = make(source, target)
        return self._transfers[key]

    def density(self, grid):
        """Spectra (n, n_channels, n_ω) of the pseudo-densities on a grid."""
        if grid not in self._densities:
            spectra = grid.density(self.positions, self.charges)
            if self.settings.density_width:
                spectra = spectra * grid.gaussian(self.settings.density_width)[:, None]
            self._densities[grid] = spectra
        return self._densities[grid]

    def density_gradients(self, grid, channels, cotangents):
        """dE/dR (n, C, N, 3) of the densities of some channels for cotangents (n, C, n_ω)."""
        if self.settings.density_width:
            cotangents = cotangents * grid.gaussian(self.settings.density_width)[:, None]
        slopes = grid.density_gradient(self.positions, cotangents)
        return self.charges[:, channels, :, None] * slopes

    # --- normalisation --------------------------------------------------------------------------

    def zeroth(self):
        """The integrals of order zero, (n, n_channels, n_q)."""
        return torch.stack([(self.charges**q).sum(-1) for q in self.exponents], -1)

    def normalized(self, zeroth, first, second):
        """The features of the three orders from the integrals."""
        if self.settings.normalize is None:
            return zeroth, first, second
        n_atoms = self.positions.shape[1]
        if self.settings.normalize == "per_atom":
            return zeroth / n_atoms, first / n_atoms, second / n_atoms
        starts = first[:, :, np.array([a for a, _ in self.paths.pairs], dtype=int)]
        return zeroth / n_atoms, _ratio(first, zeroth[:, :, None]), _ratio(second, starts)


class Pass:
    """The first-order maps of a task, and what follows from them."""

    def __init__(self, scenes, task):
        self.scenes, self.task, self.paths = scenes, task, scenes.paths
        self.wavelet = self.paths.wavelets[task.wavelet]
        self.grid = scenes.first_grid(task)
        self.spectra = scenes.density(self.grid)[:, task.channels]
        self.fields = self.grid.filtered(self.spectra, self.wavelet)
        self.squares = (self.fields * self.fields).sum(2)
        self.sums = self.integrals(self.squares, self.grid)
        self.modulus = self.squares.sqrt()

    def integrals(self, squares, grid):
        """∫σ^q (n, C, n_q) of σ²."""
        return grid.voxel[:, None, None] * power_sums(squares, self.scenes.exponents)

    def slopes(self, squares, grid, bars):
        """h of the fields' cotangents h f_m, for cotangents (n, C, n_q) of the integrals."""
        return power_slopes(squares, self.scenes.exponents, grid.voxel[:, None, None] * bars)

    def seconds(self):
        """(group, its grid, the transfer there, spectra of the first order on it)."""
        for group in self.task.groups:
            grid = self.scenes.second_grid(group)
            transfer = self.scenes.transfer(self.grid, grid)
            yield group, grid, transfer, transfer.spectra(self.modulus)

    def own_derivatives(self, rows, slopes, sums):
        """Derivatives (n, C, N + 3, 3) of integrals whose cotangents of the fields are h f_m.

        ``sums``: the integrals, in which the voxel, unlike the fields, grows with the volume.
        """
        scenes, grid = self.scenes, self.grid
        cotangent = grid.cotangent_spectra(slopes[:, :, None] * self.fields[:, rows])
        back = grid.filter_adjoint(cotangent, self.wavelet)
        gradient = scenes.density_gradients(grid, self.task.channels[rows], back)
        if not scenes.periodic:
            return torch.nn.functional.pad(gradient, (0, 0, 0, 3))
        blur = 0.5 * scenes.settings.density_width**2
        growth = sums - (slopes * self.squares[:, rows]).sum(-1)
        strain = grid.filter_strain(self.spectra[:, rows], cotangent, self.wavelet, blur)
        eye = torch.eye(3, dtype=growth.dtype, device=growth.device)
        return torch.cat([gradient, strain + growth[:, :, None, None] * eye], 2)


def integrals(scenes, tasks):
    """Integrals of the three orders, (n, *shape of `Paths`); NaN where no task computes them."""
    zeroth, n = scenes.zeroth(), len(scenes.scenes)
    first, second = (
        scenes.device.zeros(n, *shape).fill_(torch.nan) for shape in scenes.paths.shapes[1:]
    )
    for task in tasks:
        work = Pass(scenes, task)
        channels = scenes.device.tensor(task.channels)
        first[:, channels[task.first], task.wavelet] = work.sums[:, task.first]
        for group, grid, _, spectra in work.seconds():
            for pair, wavelet, wanted in zip(
                group.pairs, group.wavelets, group.wanted, strict=True
            ):
                rows = np.flatnonzero(wanted)
                fields = grid.filtered(spectra[:, rows], wavelet)
                squares = (fields * fields).sum(2)
                second[:, channels[rows], pair] = work.integrals(squares, grid)
    return zeroth, first, second


def gradients(scenes, tasks, first, second):
    """dE/dR (n, N, 3) and dE/dε (n, 3, 3) of E = Σ first · order 1 + Σ second · order 2."""
    n, n_atoms, _ = scenes.positions.shape
    total = scenes.device.zeros(n, n_atoms + 3, 3)
    for task in tasks:
        work = Pass(scenes, task)
        channels = scenes.device.tensor(task.channels)
        bars = torch.zeros_like(work.sums)
        bars[:, task.first] = first[:, channels[task.first], task.wavelet]
        slopes = work.slopes(work.squares, work.grid, bars)
        growth = (bars * work.sums).sum(-1)
        for group, grid, transfer, spectra in work.seconds():
            back = torch.zeros_like(spectra)
            for pair, wavelet, wanted in zip(
                group.pairs, group.wavelets, group.wanted, strict=True
            ):
                rows = np.flatnonzero(wanted)
                other = second[:, channels[rows], pair]
                cotangent, sums = _second_cotangent(work, grid, wavelet, spectra[:, rows], other)
                back[:, rows] += grid.filter_adjoint(cotangent, wavelet)
                growth[:, rows] += (other * sums).sum(-1)
                if scenes.periodic:
                    strain = grid.filter_strain(spectra[:, rows], cotangent, wavelet)
                    total[:, -3:] += strain.sum(1)
            slopes += transfer.adjoint(back) / work.modulus.clamp(min=_TINY)
        everything = np.arange(len(task.channels))
        total += work.own_derivatives(everything, slopes, growth).sum(1)
    _follow_the_grid(scenes, total)
    return total[:, :-3], total[:, -3:]


def _second_cotangent(work, grid, wavelet, spectra, bars):
    """Spectra of the cotangents of second-order fields, and the integrals of their powers."""
    fields = grid.filtered(spectra, wavelet)
    squares = (fields * fields).sum(2)
    slopes = work.slopes(squares, grid, bars)
    cotangent = grid.cotangent_spectra(slopes[:, :, None] * fields)
    return cotangent, work.integrals(squares, grid)


def jacobian(scenes, tasks, first, second):
    """Integrals of the orders 1 and 2, and their derivatives (n, *shape, N + 3, 3).

    ``first``, ``second``: masks of what is needed, of the shapes of `Paths`.
    """
    n, n_atoms, _ = scenes.positions.shape
    zeros, shapes = scenes.device.zeros, scenes.paths.shapes[1:]
    values = [zeros(n, *shape) for shape in shapes]
    rows_of = [zeros(n, *shape, n_atoms + 3, 3) for shape in shapes]
    for task in tasks:
        work = Pass(scenes, task)
        channels = scenes.device.tensor(task.channels)
        values[0][:, channels[task.first], task.wavelet] = work.sums[:, task.first]
        for q, rows in _chosen(first[task.channels[task.first], task.wavelet]):
            rows = task.first[rows]
            slopes = work.slopes(work.squares[:, rows], work.grid, _one(work.sums[:, rows], q))
            found = work.own_derivatives(rows, slopes, work.sums[:, rows, q])
            rows_of[0][:, channels[rows], task.wavelet, q] = found
        for group, grid, transfer, spectra in work.seconds():
            for pair, wavelet, wanted in zip(
                group.pairs, group.wavelets, group.wanted, strict=True
            ):
                rows = np.flatnonzero(wanted)
                for q, some in _chosen(second[task.channels[rows], pair]):
                    own = rows[some]
                    bars = _one(work.sums[:, own], q)
                    cotangent, sums = _second_cotangent(work, grid, wavelet, spectra[:, own], bars)
                    back = grid.filter_adjoint(cotangent, wavelet)
                    slopes = transfer.adjoint(back) / work.modulus[:, own].clamp(min=_TINY)
                    found = work.own_derivatives(own, slopes, sums[:, :, q])
                    if scenes.periodic:
                        found[:, :, -3:] += grid.filter_strain(spectra[:, own], cotangent, wavelet)
                    values[1][:, channels[own], pair] = sums
                    rows_of[1][:, channels[own], pair, q] = found
    for rows in rows_of:
        _follow_the_grid(scenes, rows)
    return values, rows_of


def _follow_the_grid(scenes, rows):
    """The grid of a molecule follows its mean position, and is not strained."""
    if scenes.periodic:
        return
    gradient = rows[..., :-3, :]
    gradient -= gradient.mean(-2, keepdim=True)
    positions = scenes.device.tensor(scenes.positions)
    positions = positions.reshape(len(rows), *[1] * (rows.ndim - 3), *positions.shape[1:])
    rows[..., -3:, :] = gradient.mT @ positions


def _one(sums, q):
    """The cotangents that differentiate the integrals of one power."""
    bars = torch.zeros_like(sums)
    bars[..., q] = 1.0
    return bars


def _chosen(needed):
    """(q, rows) of the exponents that some rows (n_rows, n_q) need."""
    for q in np.flatnonzero(needed.any(axis=0)):
        yield int(q), np.flatnonzero(needed[:, q])


def _ratio(a, b, empty=1e-12):
    """a / b, or 0 where b, the denominator of an empty channel, vanishes."""
    return torch.where(b > empty, a / torch.where(b > empty, b, 1.0), 0.0)


# --- batches --------------------------------------------------------------------------------------


def values(scenes, tasks):
    """All features (n, n_all); NaN where no task computes them."""
    orders = scenes.normalized(*integrals(scenes, tasks))
    return torch.cat([order.flatten(1) for order in orders], 1)


def pullback(scenes, tasks, bars):
    """Gradients (n, N, 3) and virials (n, 3, 3) for cotangents (n, n_all) of all features."""
    paths, normalize = scenes.paths, scenes.settings.normalize
    parts = bars.split(paths.sizes, 1)
    first, second = (
        part.reshape(len(bars), *shape)
        for part, shape in zip(parts[1:], paths.shapes[1:], strict=True)
    )
    if normalize == "per_atom":
        n_atoms = scenes.positions.shape[1]
        first, second = first / n_atoms, second / n_atoms
    elif normalize == "ratio":
        zeroth, sums, pair_sums = (part.nan_to_num() for part in integrals(scenes, tasks))
        starts = scenes.device.tensor(np.array([a for a, _ in paths.pairs], dtype=int))
        first = _ratio(first, zeroth[:, :, None])
        first.index_add_(2, starts, -_ratio(second * pair_sums, sums[:, :, starts] ** 2))
        second = _ratio(second, sums[:, :, starts])
    return gradients(scenes, tasks, first, second)


def jacobian_rows(scenes, tasks, wanted):
    """Derivatives (n, n_all, N + 3, 3) of all features; zero where they are not ``wanted``."""
    paths, normalize = scenes.paths, scenes.settings.normalize
    _, first, second = paths.split(wanted)
    starts = np.array([a for a, _ in paths.pairs], dtype=int)
    if normalize == "ratio":
        first = first.copy()
        np.logical_or.at(first, (slice(None), starts), second)
    (sums, pair_sums), (ones, twos) = jacobian(scenes, tasks, first, second)
    n_atoms = scenes.positions.shape[1]
    if normalize == "per_atom":
        ones, twos = ones / n_atoms, twos / n_atoms
    elif normalize == "ratio":
        bottom = sums[:, :, starts]
        twos = twos * _ratio(torch.ones_like(bottom), bottom)[..., None, None]
        twos -= ones[:, :, starts] * _ratio(pair_sums, bottom**2)[..., None, None]
        zeroth = scenes.zeroth()[:, :, None]
        ones = ones * _ratio(torch.ones_like(zeroth), zeroth)[..., None, None]
    nothing = scenes.device.zeros(len(ones), paths.sizes[0], n_atoms + 3, 3)
    return torch.cat([nothing, *(part.flatten(1, -3) for part in (ones, twos))], 1)
