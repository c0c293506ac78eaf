"""
Quantum nuclei by path integrals
================================

Hydrogen is so light that its zero-point motion is larger than its thermal one. In path-integral
molecular dynamics each nucleus is a ring of beads on springs, as many copies of the molecule;
i-PI moves them, and a model predicts the forces of all copies at once.
"""

# %%
# A force field of ethanol, as a file, from which i-PI's driver in `skatom.ipi` reads it. The run
# needs i-PI (``pip install ipi``); without it this page ends here.
import os
import tempfile
from importlib.util import find_spec
from pathlib import Path

import numpy as np

from skatom import save_model
from skatom.datasets import load_ethanol
from skatom.ipi import driver_path
from skatom.model_selection import energy_stratified_sample
from skatom.models import SGDML

data = load_ethanol()
train = energy_stratified_sample(data.targets, 200, random_state=0)
model = SGDML(random_state=0).fit(data.structures[train], data.targets[train])
start = data.structures[np.argmin(data.targets.energy)].to_ase()[0]
start.set_cell([30, 30, 30])  # i-PI needs a cell

installed = find_spec("ipi") is not None
if not installed:
    print("i-PI is not installed: pip install ipi")

# %%
# The input of i-PI: a thermostat of the ring polymer at 300 K, and the positions of every bead at
# each fifth step. With one bead the nuclei are classical.
INPUT = """
<simulation verbosity="quiet">
  <output prefix="run">
    <properties stride="5" filename="out"> [ step, kinetic_cv{{electronvolt}} ] </properties>
    <trajectory stride="5" filename="pos"> positions{{angstrom}} </trajectory>
  </output>
  <total_steps> {steps} </total_steps>
  <prng> <seed> 1 </seed> </prng>
  <ffdirect name="model">
    <pes> custom </pes>
    <pes_path> {path} </pes_path>
    <parameters> {{model: model.joblib, template: start.xyz}} </parameters>
    <batch_size> {beads} </batch_size>
  </ffdirect>
  <system>
    <initialize nbeads="{beads}">
      <file mode="ase"> start.xyz </file>
      <velocities mode="thermal" units="kelvin"> 300 </velocities>
    </initialize>
    <forces> <force forcefield="model"/> </forces>
    <ensemble> <temperature units="kelvin"> 300 </temperature> </ensemble>
    <motion mode="dynamics">
      <dynamics mode="nvt">
        <timestep units="femtosecond"> 0.5 </timestep>
        <thermostat mode="pile_l"> <tau units="femtosecond"> 50 </tau> </thermostat>
      </dynamics>
    </motion>
  </system>
</simulation>
"""


def path_integrals(beads, steps):
    """Positions (n_frames, 9, 3) of all beads, and the kinetic energies of the frames."""
    from ase.io import read
    from ipi.engine.simulation import Simulation

    here = Path.cwd()
    with tempfile.TemporaryDirectory() as folder:
        os.chdir(folder)
        try:
            save_model(model, "model.joblib")
            start.write("start.xyz")
            text = INPUT.format(beads=beads, steps=steps, path=driver_path())
            Simulation.load_from_xml(text).run()
            files = sorted(Path(folder).glob("run.pos_*.xyz"))
            frames = [
                atoms.positions
                for file in files
                for atoms in read(file, ":", format="xyz")[80:]
            ]
            kinetic = np.loadtxt("run.out")[80:, 1]
        finally:
            os.chdir(here)
    return np.array(frames), kinetic


if installed:
    runs = {
        "classical": path_integrals(1, 3000),
        "quantum, 16 beads": path_integrals(16, 2000),
    }
    for name, (_, kinetic) in runs.items():
        print(f"{name}: kinetic energy {kinetic.mean():.2f} eV")

# %%
# Distances of atoms that are bound: of quantum nuclei O-H and C-H bonds are spread out much more,
# C-C and C-O bonds of heavier atoms little. The kinetic energy is mostly that of zero-point motion,
# which classical nuclei lack.
if installed:
    import matplotlib.pyplot as plt

    bonds = {"O–H": (2, 3), "C–H": (0, 6), "C–C": (0, 1)}
    figure, axes = plt.subplots(
        1, 3, figsize=(8.0, 3.0), sharey=True, layout="constrained"
    )
    for ax, (bond, (i, j)) in zip(axes, bonds.items(), strict=True):
        for name, (frames, _) in reversed(runs.items()):
            distances = np.linalg.norm(frames[:, i] - frames[:, j], axis=1)
            bins = np.arange(0.7, 1.8, 0.01)
            ax.hist(distances, bins, density=True, histtype="step", label=name)
            print(f"{bond}, {name}: {distances.mean():.3f} ± {distances.std():.3f} Å")
        ax.set_xlim(distances.mean() - 0.3, distances.mean() + 0.3)
        ax.set_xlabel(f"{bond} distance (Å)")
    axes[0].set_ylabel("density (1/Å)")
    axes[0].legend(frameon=False, loc="upper left", fontsize="small")
    plt.show()
