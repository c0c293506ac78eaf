"""Axes for plots that are given none, and how grids look."""

import matplotlib.pyplot as plt


def draw_grid(ax):
    ax.grid(True, alpha=0.3, linewidth=0.5)


def new_axes(size, n_columns=1):
    return plt.subplots(1, n_columns, figsize=size, dpi=150, layout="constrained")[1]
