"""What regressors from structures share."""

from sklearn.base import RegressorMixin
from sklearn.metrics import r2_score

from skatom.descriptors.atomic_features import as_batch
from skatom.targets import as_targets


class StructureRegressorMixin(RegressorMixin):
    """The score and the tags of a regressor from structures to energies and forces.

    A subclass has `absolute_energies_` and a ``predict`` that takes ``return_forces``.
    """

    def score(self, X, y):
        """R² of the energies, or of the forces where the model learnt no energies.

        Parameters
        ----------
        X : what ``predict`` takes
        y : Targets, or array of energies

        Returns
        -------
        float
        """
        X = as_batch(X)
        targets = as_targets(y, X)
        if self.absolute_energies_:
            return r2_score(targets.require("energy"), self.predict(X))
        forces = self.predict(X, return_forces=True)[1]
        return r2_score(targets.require("forces").ravel(), forces.ravel())

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.input_tags.two_d_array = False
        tags.target_tags.required = True
        return tags
