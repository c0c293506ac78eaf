"""The linear system of GDML on a device of torch."""

from functools import cached_property, partial

import numpy as np

from skatom._device import resolve
from skatom.descriptors.inverse_distances import incidence
from skatom.models.gdml.system import GDMLSystem, memory_message
from skatom.solvers import PackedCholesky

# Target width of block columns of K, and a divisor of the number of frames in one, unless they are
# fewer: products are faster where widths are multiples of such a number.
_WIDTH = 2048
_FRAMES = 16
# Numbers of selected columns, and of weights of a product, that are made at once.
_COLUMN_NUMBERS, _WEIGHTS_ON_CARD, _WEIGHTS_ON_CPU = 2**26, 2**28, 2**22


def check_device_memory(n_frames, n_atoms, max_memory, device, energies=False):
    """Raise MemoryError if the triangle of K and its making would not fit on the device."""
    device.check_memory(
        _memory(n_frames, n_atoms, energies),
        *memory_message(n_frames, n_atoms, max_memory),
        max_memory,
    )


def _memory(n_frames, n_atoms, energies):
    from skatom.models._torch.gdml_columns import memory

    n_kept = 3 * n_atoms - 6
    width = max(_WIDTH, n_kept, n_frames * energies)
    matrix = PackedCholesky.memory(n_frames * (n_kept + energies), width)
    return matrix + memory(n_frames, n_atoms)


class DeviceGDMLSystem(GDMLSystem):
    """`GDMLSystem` whose block columns are tensors.

    Frames have equal numbers of rows unless some are linear molecules and others bent. Those with
    fewer rows are then padded with rows of zeros, which are left out where a block is written.

    Parameters
    ----------
    device : {"cuda", "auto", "torch"}
    *arguments : those of `GDMLSystem`
    """

    def __init__(self, device, *arguments):
        super().__init__(*arguments)
        self.device, self._on = device, resolve(device)
        self._kept = self._padded_coordinates()
        self._present = self._kept >= 0
        with self._room():
            self._pairs = self._on.tensor(self.pair_permutations)
            self._frames = self._upload()

    def _room(self):
        n_frames, n_coordinates, _ = self.rigid.shape
        sizes = n_frames, n_coordinates // 3
        needed = _memory(*sizes, self.n_energies > 0)
        return self._on.room_for(needed, *memory_message(*sizes, None))

    def _padded_coordinates(self):
        """The kept coordinates (M, k) of each frame, -1 beyond their number."""
        counts = np.diff(self.rows)
        kept = np.full((len(counts), counts.max()), -1)
        kept[np.arange(kept.shape[1]) < counts[:, None]] = self.kept
        return kept

    def _upload(self):
        from skatom.models._torch.gdml_columns import dense_jacobians, frames_of

        values, on = self.features.values, self._on
        # all images have this centre, so differences between them are not changed
        center = values[:, self.pair_permutations].mean(axis=(0, 1))
        signs = incidence(self.permutations.shape[1])
        jacobians = dense_jacobians(
            on.tensor(self.features.gradients), on.tensor(signs), on.tensor(self._kept)
        )
        return frames_of(on.tensor(values - center), jacobians)

    def solve(self, forces, energies, verbose):
        with self._room():
            return super().solve(forces, energies, verbose)

    def _frames_in_column(self):
        frames = max(1, round(_WIDTH / max(self._kept.shape[1], 1)))
        return frames // _FRAMES * _FRAMES or frames

    def can_be_copied(self):
        return bool(self._present.all())

    def fill(self, start, stop, out):
        """The block column of the matrix that begins at a row, into the tensor ``out``."""
        if self._stored is not None:
            super().fill(start, stop, out)
            return
        from skatom.models._torch import gdml_columns

        n_forces = self.rows[-1]
        if start == n_forces:
            out.copy_(gdml_columns.energy_energy(self._frames, self._pairs, self.sigma))
            self._add_noise(start, stop, out)
            return
        columns = slice(*np.searchsorted(self.rows, [start, stop]).tolist())
        arguments = (self._frames, self._pairs, self.sigma, columns)

        def forces(block):
            gdml_columns.force_columns(*arguments, block)
            self._regularize(block, columns)

        self._write(forces, out[: n_forces - start], self._present[columns.start :], columns)
        if self.n_energies:
            every = np.ones(self.n_energies, bool)
            energies = partial(gdml_columns.energy_force_rows, *arguments)
            self._write(energies, out[n_forces - start :], every, columns)

    def _add_noise(self, start, stop, out):
        if start == self.rows[-1]:
            out.diagonal().add_(self.alpha)
        else:
            self._regularize(out, slice(*np.searchsorted(self.rows, [start, stop]).tolist()))

    def _write(self, make, out, rows, columns):
        """Let ``make`` fill ``out``, or a block with padding of which ``out`` gets the rest."""
        columns = self._present[columns]
        if rows.all() and columns.all():
            make(out)
            return
        block = self._on.empty(rows.size, columns.size)
        make(block)
        rows, columns = (self._on.tensor(np.flatnonzero(kept)) for kept in (rows, columns))
        out.copy_(block[rows][:, columns])

    def _regularize(self, block, columns):
        """Add λ SᵀPS of each column frame to its diagonal block."""
        kept = self._kept[columns]
        motions = self._on.tensor(np.take_along_axis(self.rigid[columns], kept[..., None], axis=1))
        shape = kept.shape * 2
        diagonal = block[: kept.size].view(shape).diagonal(dim1=0, dim2=2)  # (k, k, c)
        diagonal.sub_((motions @ motions.transpose(1, 2)).permute(1, 2, 0), alpha=self.alpha)
        diagonal.diagonal().add_(self.alpha)

    def part(self, frames):
        part = super().part(frames)
        for made in ("_references", "_places", "_device_motions"):
            vars(part).pop(made, None)
        part._kept, part._present = self._kept[frames], self._present[frames]
        part._frames = type(self._frames)(*(tensor[frames] for tensor in self._frames))
        return part

    def zeros(self, *shape):
        return self._on.zeros(*shape)

    def room_for(self, n_bytes, what, remedy):
        return self._on.room_for(n_bytes, what, remedy)

    def to_device(self, array):
        return self._on.tensor(array)

    def on_host(self, tensor):
        return self._on.array(tensor)

    @cached_property
    def _places(self):
        """Where the rows are in the padded rows of all frames."""
        return self._on.tensor(np.flatnonzero(self._present))

    @cached_property
    def _device_motions(self):
        """Rigid motions of the kept coordinates (M, k, 6), zero for padding."""
        kept = np.take_along_axis(self.rigid, self._kept[..., None], axis=1)
        return self._on.tensor(kept * self._present[..., None])

    @cached_property
    def _references(self):
        from skatom.models._torch.gdml_expansion import references

        x = self._frames.values
        signs = self._on.tensor(incidence(self.permutations.shape[1]))
        nothing = self._on.zeros(len(x))
        return references(x, x, nothing, self._pairs, 0.0, signs, self.sigma)

    def product(self, v):
        from skatom.models._torch import gdml_expansion

        x, _, jacobians, _ = self._frames
        padded = self._on.zeros(*jacobians.shape[:2])
        padded.view(-1)[self._places] = v
        u = (padded[:, None] @ jacobians)[:, 0]
        refs = gdml_expansion.with_coefficients(self._references, u, self._pairs)
        numbers = _WEIGHTS_ON_CARD if self._on.is_card else _WEIGHTS_ON_CPU
        step = max(1, numbers // gdml_expansion.numbers_per_query(refs))
        slopes = [gdml_expansion.energies_and_slopes(refs, some)[1] for some in x.split(step)]
        out = -(jacobians @ self._on.torch.cat(slopes)[..., None])[..., 0]
        motions = self._device_motions
        rigid = (motions @ (motions.transpose(1, 2) @ padded[..., None]))[..., 0]
        out += self.alpha * (padded - rigid)
        return out.view(-1)[self._places]

    def kernel_columns(self, index):
        """SᵀKS[:, index], with sorted indices.

        The columns of a frame are padded to the largest number of them.
        """
        from skatom.models._torch.gdml_columns import rows_of_columns

        frames = np.searchsorted(self.rows, index, side="right") - 1
        firsts = np.searchsorted(frames, np.arange(len(self.rigid)))
        places = np.arange(len(index)) - firsts[frames]
        counts = np.bincount(frames, minlength=len(self.rigid))
        chosen = np.full((len(counts), counts.max()), -1)
        chosen[frames, places] = index - self.rows[frames]
        others = self._chosen(chosen)
        n_frames, n_kept, _ = self._frames.jacobians.shape
        step = max(1, _COLUMN_NUMBERS // (n_frames * n_kept * chosen.shape[1]))
        out = self._on.empty(len(self._places), len(index))
        for first in range(0, len(counts), step):
            some = slice(first, first + step)
            block = self._on.empty(n_frames, n_kept, *chosen[some].shape)
            part = type(others)(*(tensor[some] for tensor in others))
            rows_of_columns(self._frames, self._pairs, self.sigma, part, block)
            block = block.view(n_frames * n_kept, -1)[self._places]
            columns = slice(firsts[first], firsts[first] + counts[some].sum())
            out[:, columns] = block[:, self._on.tensor(np.flatnonzero(chosen[some] >= 0))]
        return out

    def _chosen(self, chosen):
        """`Frames` of chosen coordinates (M, k') among those that are kept, -1 for none."""
        x, squares, jacobians, along = self._frames
        present = self._on.tensor(1.0 * (chosen >= 0))
        places = self._on.tensor(np.maximum(chosen, 0))
        some = jacobians.gather(1, places[..., None].expand(-1, -1, x.shape[1]))
        return type(self._frames)(
            x, squares, some * present[..., None], along.gather(1, places) * present
        )
