"""The layers of learnt point scattering."""

from __future__ import annotations

from dataclasses import dataclass

from skatom.models.neural.architecture import Architecture, glorot
from skatom.models.neural.radial_wavelets import POWERS


@dataclass(frozen=True)
class PointScatteringArchitecture(Architecture):
    """Wavelets at atoms, moduli and mixing matrices, see `skatom.models.PointScatteringNetwork`.

    Attributes
    ----------
    n_mixed, n_layers : int
        Features d of an atom that each layer mixes, and number of layers.
    orbitals : tuple of (int, int)
        The pairs (n, l) of the wavelets.
    widths : tuple of float
        Widths of their Gaussians, in Å.
    smallest_modulus : float
        The modulus of a field of zeros: moduli are smooth functions.
    """

    n_mixed: int
    n_layers: int
    orbitals: tuple
    widths: tuple
    smallest_modulus: float = 1e-2

    @classmethod
    def of(cls, n_species, cutoff, n_mixed, n_layers, orbitals, widths):
        """The architecture of these sizes, which has a feature for each of the powers."""
        n_features = len(POWERS) * len(orbitals) * len(widths) * n_mixed
        return cls(n_species, cutoff, n_features, n_mixed, n_layers, tuple(orbitals), tuple(widths))

    @property
    def n_moduli(self):
        """How many moduli a layer makes of each mixed feature."""
        return len(self.orbitals) * len(self.widths)

    @property
    def shapes(self):
        d = self.n_mixed
        sizes = [self.n_species] + (self.n_layers - 1) * [self.n_moduli * d]
        return {f"mixing_{k}": (size, d) for k, size in enumerate(sizes, 1)}

    def initial(self, rng):
        return {name: glorot(rng, shape) for name, shape in self.shapes.items()}

    def graphs(self, structures, species):
        return super().graphs(structures, species).with_table()

    def features(self, weights, batch):
        from skatom.models._torch.networks.point_scattering import features

        return features(self, weights, batch)

    @property
    def n_fields(self):
        """How many fields are made of each mixed feature."""
        return len(self.widths) * sum(2 * l + 1 for _, l in self.orbitals)

    @property
    def numbers_per_edge(self):
        return 9 * self.n_fields + 2 * self.n_layers * self.n_mixed

    def numbers(self, graphs):
        of_atom = 2 * self.n_layers * self.n_mixed * (self.n_fields + self.n_moduli)
        return super().numbers(graphs) + float(of_atom) * graphs.n_atoms
