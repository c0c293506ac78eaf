"""
How fast kernel models learn
============================

Errors of kernel models fall as a power of the number of training frames, a straight line on
logarithmic axes. `SGDML` compares whole molecules by their interatomic distances;
`ForceKernelRidge` compares atoms by what surrounds them, so that every atom of every frame is an
example for its element.
"""

# %%
# Three models of the same frames, which are half a picosecond apart.
import matplotlib.pyplot as plt
from sklearn.model_selection import ShuffleSplit
from sklearn.pipeline import make_pipeline

from skatom.datasets import load_ethanol
from skatom.descriptors import FCHL19
from skatom.kernels import Gaussian
from skatom.models import SGDML, ForceKernelRidge
from skatom.plotting import LearningCurveDisplay

data = load_ethanol()
X, y = data.structures[::10], data.targets[::10]
models = {
    "sGDML": SGDML(sigma=10, random_state=0),
    "FCHL19, derivatives": make_pipeline(FCHL19(), ForceKernelRidge(Gaussian(2.0))),
    "FCHL19, operators": make_pipeline(
        FCHL19(), ForceKernelRidge(Gaussian(2.0), basis="operators")
    ),
}

# %%
# One split is enough for a picture.
cv = ShuffleSplit(1, test_size=50, random_state=0)
ax, slopes = None, []
for model in models.values():
    display = LearningCurveDisplay.from_estimator(
        model, X, y, train_sizes=[25, 50, 100, 200], cv=cv, ax=ax
    )
    ax = display.ax_
    slopes.append(display.slope_)
for text, name, slope in zip(ax.get_legend().get_texts(), models, slopes, strict=True):
    text.set_text(f"{name}: slope {slope:.2f}")
plt.show()
