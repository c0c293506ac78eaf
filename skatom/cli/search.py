"""The choice of sigma, which keeps what it has finished until it is done."""

import shutil
from pathlib import Path

from skatom.cli.fitting import announce, fit
from skatom.cli.report import warn


def search_sigma(model, sigmas, data, validation, finished):
    """Fit with each sigma and keep the one of lowest force RMSE on the validation frames."""
    from sklearn.base import clone

    from skatom.metrics import neg_force_rmse

    X, y = data.structures[validation], data.targets[validation]
    fitted, errors = [], []
    for sigma in sigmas:
        fitted.append(finished.fit(clone(model).set_params(sigma=sigma)))
        errors.append(-neg_force_rmse(fitted[-1], X, y))
        print(f"          force RMSE {errors[-1]:.5f} eV/Å on {len(validation)} validation frames")
    best = min(range(len(sigmas)), key=errors.__getitem__)
    print(f"Chosen    sigma {sigmas[best]:g}")
    if sigmas[best] in (min(sigmas), max(sigmas)):
        side = "smaller" if sigmas[best] == min(sigmas) else "larger"
        warn(f"sigma {sigmas[best]:g} is at the edge of those tried: try {side} ones too")
    return fitted[best]


class FinishedFits:
    """Models of a search that are fitted, in a folder beside the file that the best shall go to.

    Each is saved when it is fitted, under a name made of its parameters and data: the same command
    goes on after the last one. The folder is removed when the search is done.
    """

    def __init__(self, out, data, train):
        out = Path(out)
        self.folder, self.suffix = out.with_name(f"{out.name}.search"), out.suffix
        self.data, self.train = data, train
        structures, targets = data.structures[train], data.targets[train]
        self.content = [
            structures.numbers, structures.positions, structures.offsets, structures.cells,
            structures.pbc, [getattr(targets, name) for name in targets.names], targets.names,
        ]  # fmt: skip

    def fit(self, model):
        """The model, read if it was fitted before."""
        from skatom._persistence import load_model, save_model

        path = self._path(model)
        if path.exists():
            try:
                fitted = load_model(path)
            except ValueError as error:
                warn(f"{error}: the model is fitted again")
            else:
                announce(model, len(self.train))
                print("          done before", flush=True)
                return fitted
        fit(model, self.data, self.train)
        self.folder.mkdir(exist_ok=True)
        save_model(model, path)
        return model

    def _path(self, model):
        import joblib

        from skatom import __version__

        content = [type(model).__name__, model.get_params(), self.content, __version__]
        return self.folder / f"{joblib.hash(content)}{self.suffix}"

    def remove(self):
        """Remove the folder."""
        shutil.rmtree(self.folder, ignore_errors=True)
