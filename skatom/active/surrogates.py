"""Models of the values of candidates, whose hyperparameters are learnt now and then."""

from sklearn.base import clone
from sklearn.pipeline import Pipeline


class Surrogates:
    """Copies of an estimator fitted to the values that a search knows.

    Hyperparameters of a Gaussian process of scikit-learn take much longer to learn than the process
    to fit. They are learnt from the first values, by one more after each ``learn_every``, so that
    they depend on the values alone and not on where a search was interrupted.

    Parameters
    ----------
    estimator : estimator or Pipeline
    n_initial : int
        Values before there is a model.
    learn_every : int
    """

    def __init__(self, estimator, n_initial, learn_every):
        self.estimator, self.n_initial, self.learn_every = estimator, n_initial, learn_every
        self._learnt = None, None

    def fitted(self, pool, places, values, n_told):
        """A copy that knows the values at some places; those after ``n_told`` are guesses.

        Parameters
        ----------
        pool : Structures, features or ndarray
        places : ndarray of int, shape (n,)
        values : ndarray of float, shape (n,)
        n_told : int
        """
        model = clone(self.estimator)
        process = last_step(model)
        if self.learn_every > 1 and n_told >= self.n_initial and hasattr(process, "optimizer"):
            more = (n_told - self.n_initial) // self.learn_every * self.learn_every
            n = self.n_initial + more
            if self._learnt[0] != n:
                learnt = clone(self.estimator).fit(pool[places[:n]], values[:n])
                self._learnt = n, last_step(learnt).kernel_
            process.set_params(kernel=self._learnt[1], optimizer=None)
        return model.fit(pool[places], values)


def last_step(model):
    """The model itself, or the last step of a Pipeline."""
    return model.steps[-1][1] if isinstance(model, Pipeline) else model
