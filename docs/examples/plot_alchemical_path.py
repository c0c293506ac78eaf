"""
From benzene to triazine
========================

A network knows elements by vectors, so an atom may be half carbon, half nitrogen, and one that fades tells
its neighbours less and less. On such a path a CH of benzene becomes the N of pyridine, and so on: molecules
whose energies are known are joined by others that nobody can make.
"""

# %%
# ASE's EMT potential stands in for quantum chemistry: its carbon and nitrogen are no real ones. Each CH that
# becomes N loses its hydrogen atom; all molecules have the bond lengths of benzene, and are rattled.
import matplotlib.pyplot as plt
import numpy as np
from ase.build import molecule
from ase.calculators.emt import EMT

from skatom import Structures, Targets
from skatom.attribution import alchemical_path
from skatom.metrics import evaluate
from skatom.models import SchNet

benzene = molecule("C6H6")  # atom k + 6 is the hydrogen atom of carbon k
names = {(): "benzene", (0,): "pyridine", (0, 3): "pyrazine", (0, 2, 4): "triazine"}
others = [(0, 1), (0, 2), (0, 1, 2), (0, 1, 3)]


def with_nitrogen(places):
    """Benzene with N for CH at some places of the ring."""
    atoms = benzene.copy()
    atoms.numbers[list(places)] = 7
    del atoms[[k + 6 for k in places]]
    return atoms


def labelled(atoms):
    """The energy and the forces of EMT."""
    atoms.calc = EMT()
    return atoms.get_potential_energy(), atoms.get_forces()


rng = np.random.default_rng(0)
frames = []
for _ in range(16):
    for places in [*names, *others]:
        atoms = with_nitrogen(places)
        atoms.positions += rng.normal(scale=0.05, size=atoms.positions.shape)
        frames.append(atoms)
energies, forces = zip(*map(labelled, frames), strict=True)
structures = Structures.from_ase(frames)
targets = Targets(
    np.array(energies), np.concatenate(forces), offsets=structures.offsets
)
model = SchNet(
    n_features=24,
    n_interactions=2,
    batch_size=8,
    max_iter=50,
    learning_rate_init=5e-3,
    noise_energy=0.01,
    random_state=0,
).fit(structures[:112], targets[:112])
errors = evaluate(model, structures[112:], targets[112:])
print(
    f"energy: {1000 * errors['energy_mae_per_atom']:.0f} meV per atom, "
    f"forces: {errors['force_mae']:.2f} eV/Å"
)

# %%
# From benzene to pyridine, and from there to pyrazine, or with two places at once to triazine. Lines are the
# network's energies, and dots are those of EMT at the ends; between them the energies are nearly straight.
steps = np.linspace(0, 1, 21)


def path(before, after):
    """Energies from one molecule of the ring to another one."""
    start, end = benzene.numbers.copy(), benzene.numbers.copy()
    start[list(before)] = end[list(after)] = 7
    presence = np.ones((len(steps), 12))
    presence[:, [k + 6 for k in before]] = 0
    fading = [k + 6 for k in after if k not in before]
    presence[:, fading] = 1 - steps[:, None]
    atoms = benzene.copy()
    atoms.numbers = start
    return alchemical_path(model, [atoms], end, steps, presence)


fig, ax = plt.subplots(figsize=(6, 3.6), layout="constrained")
for before, after in (((), (0,)), ((0,), (0, 3)), ((0,), (0, 2, 4))):
    found = path(before, after)
    ax.plot(len(before) + (len(after) - len(before)) * steps, found, color="tab:blue")
for places, name in names.items():
    energy = labelled(with_nitrogen(places))[0]
    ax.plot(len(places), energy, "o", color="tab:orange")
    ax.annotate(
        name, (len(places), energy), textcoords="offset points", xytext=(6, -10)
    )
ax.set(xlabel="N in place of CH", ylabel="energy (eV)", xticks=range(4))
ax.margins(x=0.2)
plt.show()
