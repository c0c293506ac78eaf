"""Axes for plots that are given none, how grids look, and bonds of molecules."""

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.collections import LineCollection

# Atoms closer than this, in sums of their covalent radii, have a bond.
_BOND = 1.25


def draw_grid(ax):
    ax.grid(True, alpha=0.3, linewidth=0.5)


def new_axes(size, n_columns=1):
    return plt.subplots(1, n_columns, figsize=size, dpi=150, layout="constrained")[1]


def draw_bonds(ax, positions, places, radii, zorder=1):
    """Lines between the places of bonded atoms."""
    distances = np.linalg.norm(positions[:, None] - positions, axis=2)
    near = np.triu(distances < _BOND * (radii[:, None] + radii), k=1)
    lines = [places[[i, j], :2] for i, j in zip(*np.nonzero(near), strict=True)]
    ax.add_collection(LineCollection(lines, colors="0.6", linewidths=2.5, zorder=zorder))
