"""Gradient-domain machine learning with permutational symmetry."""

from __future__ import annotations

from os import PathLike

from sklearn.utils._param_validation import StrOptions

from skatom._typing import BaselineLike, RandomState
from skatom.models.gdml.gdml import GDML
from skatom.symmetry import check_permutations, find_permutations


class SGDML(GDML):
    r"""Symmetric gradient-domain machine learning: `GDML` with permutational symmetry.

    .. math::

        \hat F(R) = J^\top \sum_i \sum_q \big[ w_1 I - w_2\, \delta_{iq} \delta_{iq}^\top \big]
        P_q J_i \alpha_i, \qquad \delta_{iq} = x(R) - P_q\, x(R_i)

    The sum runs over the permutations :math:`P_q` of like atoms that the molecule undergoes, such
    as the rotation of a methyl group. They are recovered from the training frames. Each frame then
    counts as S frames, while the linear system keeps its size.

    Parameters
    ----------
    sigma : float, default=20.0
        Length scale of the kernel in 1/Å. Search from 5 to 80 in factors of two.
    alpha : float, default=1e-10
        Regularisation strength λ, added to the diagonal of the kernel matrix, whose elements fall
        as 1/σ². Larger values give smoother models.
    energy_constraint : bool, default=False
        Learn from the energies as well, one row each. This rarely improves the forces.
    permutations : "auto" or array-like of int, shape (S, N), default="auto"
        The symmetry group; each row is a permutation of the atoms. "auto": recovered from the
        training frames.
    baseline : "elements", dict, estimator, list of these, or None, default=None
        Baseline that is subtracted from energies and forces before the fit and added to
        predictions: energies of the elements by least squares ("elements") or given, as in
        ``{"Si": -0.8}``; a `skatom.baseline.PairRepulsion`; any estimator of energies and forces;
        or a list of these.
    solver : {"auto", "cholesky", "cg"}, default="auto"
        "cholesky" factors the kernel matrix, of which it stores half. "cg" uses conjugate gradients
        and never forms the matrix: an iteration is a prediction for the training frames; standard
        deviations and ``energy_constraint`` need "cholesky". "auto": "cholesky" if it fits in
        memory.
    n_inducing : int, default=None
        Number of columns of the kernel matrix in the preconditioner of "cg". None: as many as are
        worth their time, within ``max_memory``. If the iteration stalls, it begins again with more.
    tol : float, default=1e-4
        Norm of the residual, relative to that of the forces, at which "cg" stops. Deviations of
        predicted forces from those of "cholesky" are about as large.
    max_iter : int, default=2000
        Largest number of iterations of "cg"; a warning says if it was reached.
    checkpoint : str or path, default=None
        File to which "cg" writes its solution once a minute. A fit to the same frames that finds
        the file goes on from there; a complete one removes it.
    keep_factor : bool, default=False
        Keep the factor of the kernel matrix, which standard deviations need. It takes as much
        memory as `fit`, about (3N - 6)² M² · 4 bytes, also in files.
    max_memory : float, default=None
        Memory limit of the kernel matrix or of the preconditioner in GiB. None: the available
        memory.
    device : {"cpu", "cuda", "auto", "torch"}, default="cpu"
        Where ``fit`` and ``predict`` work: in compiled loops ("cpu"), or with torch on a card
        ("cuda"; "auto" if there is one) or on the CPU ("torch"). A fitted model holds numpy arrays
        and may change its device: ``model.set_params(device="cuda")``.
    random_state : int, RandomState or None, default=None
        Seed of the draw of 1000 frames in which symmetries are searched, if there are more, and of
        columns for the preconditioner.
    verbose : int, default=0
        1 shows progress bars.

    Attributes
    ----------
    numbers_ : ndarray of int, shape (N,)
        Atomic numbers of the molecule.
    permutations_ : ndarray of int, shape (S, N)
        The symmetry group, identity first.
    expansion_ : KernelExpansion
        The energy as a function of the inverse distances.
    posterior_ : GDMLPosterior or None
        What standard deviations are computed from; None unless ``keep_factor``.
    constant_ : float
        Integration constant c in eV.
    baseline_ : Baseline or None
        The fitted baseline.
    outputs_ : tuple of str
        Names of the properties that the model predicts.
    n_iter_ : int
        Number of iterations of "cg"; 1 for a direct solution.
    absolute_energies_ : bool
        Whether energies were learnt; if not, predicted energies are relative to their mean over
        the training frames.

    Raises
    ------
    ValueError
        If frames differ in composition, atom order or lattice, forces are missing, atoms coincide,
        neighbours have two nearest images, the permutations are not a group, or the kernel matrix
        is not positive definite.
    MemoryError
        If neither the kernel matrix, about (3N - 6)² M² · 4 bytes, nor a preconditioner of "cg"
        would fit in memory.

    Notes
    -----
    Standard deviations are defined as in `GDML`.

    See Also
    --------
    skatom.symmetry.find_permutations : How symmetries are recovered.

    References
    ----------
    Chmiela et al., Nat. Commun. 9, 3887 (2018), https://doi.org/10.1038/s41467-018-06169-2

    Examples
    --------
    >>> from skatom.datasets import load_ethanol
    >>> from skatom.models import SGDML
    >>> data = load_ethanol()
    >>> model = SGDML().fit(data.structures[::20], data.targets[::20])
    >>> len(model.permutations_)
    6
    >>> bool(model.score(data.structures[1::20], data.targets[1::20]) > 0.99)
    True
    """

    _parameter_constraints = {
        **GDML._parameter_constraints,
        "permutations": [StrOptions({"auto"}), "array-like"],
    }

    def __init__(
        self,
        sigma: float = 20.0,
        alpha: float = 1e-10,
        energy_constraint: bool = False,
        permutations: str = "auto",
        *,
        baseline: BaselineLike = None,
        solver: str = "auto",
        n_inducing: int | None = None,
        tol: float = 1e-4,
        max_iter: int = 2000,
        checkpoint: str | PathLike | None = None,
        keep_factor: bool = False,
        max_memory: float | None = None,
        device: str = "cpu",
        random_state: RandomState = None,
        verbose: int = 0,
    ) -> None:
        super().__init__(
            sigma,
            alpha,
            energy_constraint,
            baseline=baseline,
            solver=solver,
            n_inducing=n_inducing,
            tol=tol,
            max_iter=max_iter,
            checkpoint=checkpoint,
            keep_factor=keep_factor,
            max_memory=max_memory,
            device=device,
            random_state=random_state,
            verbose=verbose,
        )
        self.permutations = permutations

    def _permutations(self, structures):
        if isinstance(self.permutations, str):
            return find_permutations(
                structures, random_state=self.random_state, verbose=self.verbose
            )
        return check_permutations(self.permutations, self.numbers_)
