"""Axes for plots that are given none."""

import matplotlib.pyplot as plt


def new_axes(size):
    return plt.subplots(figsize=size, dpi=150, layout="constrained")[1]
