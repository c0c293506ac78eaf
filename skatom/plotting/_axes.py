"""Axes for plots that are given none."""

import matplotlib.pyplot as plt


def new_axes(size, n_columns=1):
    return plt.subplots(1, n_columns, figsize=size, dpi=150, layout="constrained")[1]
