"""Where plots are drawn that are given no axes."""

import matplotlib.pyplot as plt


def new_axes(size):
    return plt.subplots(figsize=size, dpi=150, layout="constrained")[1]
