"""Gradient-domain machine learning of molecular force fields."""

from __future__ import annotations

from numbers import Integral, Real
from os import PathLike
from typing import Self

import numpy as np
from sklearn.base import _fit_context
from sklearn.utils._param_validation import Interval, StrOptions
from sklearn.utils.validation import check_is_fitted

from skatom._device import DEVICES, resolve
from skatom._intervals import POSITIVE
from skatom._typing import Array, BaselineLike, RandomState, StructuresLike, TargetsLike
from skatom.baseline import fit_baseline, less_baseline
from skatom.descriptors.one_composition import check_composition, fixed_composition
from skatom.models._regressor import StructureRegressor
from skatom.models.gdml.deviations import GDMLPosterior
from skatom.models.gdml.device_expansion import on_device
from skatom.models.gdml.expansion import KernelExpansion
from skatom.models.gdml.labels import energies_contradict, force_targets, warn_of_rigid_motions
from skatom.models.gdml.periodicity import check_cells
from skatom.models.gdml.shared_fits import FramesAlone, shared_fits
from skatom.models.gdml.solution import solution_plan
from skatom.models.gdml.system import permute_pairs
from skatom.properties import in_order
from skatom.structures import as_structures


class GDML(StructureRegressor):
    r"""Energy-conserving force field of one molecule, learnt from forces.

    .. math::

        \hat E(R) = c - \sum_i w_1(\delta_i)\, \delta_i \cdot J_i \alpha_i, \qquad
        \hat F(R) = -\frac{\partial \hat E}{\partial R}
        = J^\top \sum_i \big[ w_1 I - w_2\, \delta_i \delta_i^\top \big] J_i \alpha_i

    where :math:`\delta_i = x(R) - x(R_i)` are differences of inverse distances x to training frame
    i, J = ∂x/∂R, and :math:`w_1 I - w_2 \delta\delta^\top` is the Hessian of the Matérn-5/2 kernel
    of length scale ``sigma``. The coefficients solve :math:`(K + \lambda I)\,\alpha = F` in closed
    form. The model is not symmetric under permutations of like atoms; `SGDML` is.

    In periodic directions distances are those to the nearest image, so a cell must be larger than
    what it holds: the energy has a kink where two atoms are as near in two images.

    Parameters
    ----------
    sigma : float, default=20.0
        Length scale of the kernel in 1/Å. Search from 5 to 80 in factors of two.
    alpha : float, default=1e-10
        Regularisation strength λ, added to the diagonal of the kernel matrix, whose elements fall
        as 1/σ². Larger values give smoother models.
    energy_constraint : bool, default=False
        Learn from the energies as well, one row each. This rarely improves the forces.
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
        Seed of the draw of columns for the preconditioner.
    verbose : int, default=0
        1 shows progress bars.

    Attributes
    ----------
    numbers_ : ndarray of int, shape (N,)
        Atomic numbers of the molecule.
    permutations_ : ndarray of int, shape (S, N)
        The symmetry group, which is the identity only.
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
        neighbours have two nearest images, or the kernel matrix is not positive definite.
    MemoryError
        If neither the kernel matrix, about (3N - 6)² M² · 4 bytes, nor a preconditioner of "cg"
        would fit in memory.

    Notes
    -----
    Standard deviations are those of the Gaussian process with the covariance :math:`s^2 k` of
    energies and the noise variance :math:`s^2 \lambda` of forces, where s² maximises the likelihood
    of the labels. That of the energy is the deviation of its difference to the mean over the
    training frames, which fixes the integration constant; with ``energy_constraint``, that of the
    energy itself. With n = (3N - 6) M labels, the deviation of an energy costs about n² operations,
    and those of the forces of a frame 3N n².

    See Also
    --------
    SGDML : With permutational symmetry; needs several times fewer frames.

    References
    ----------
    Chmiela et al., Sci. Adv. 3, e1603015 (2017), https://doi.org/10.1126/sciadv.1603015

    Examples
    --------
    >>> from skatom.datasets import load_ethanol
    >>> from skatom.models import GDML
    >>> data = load_ethanol()
    >>> model = GDML().fit(data.structures[::40], data.targets[::40])
    >>> energy, forces = model.predict(data.structures[1:3], return_forces=True)
    >>> energy.shape, forces.shape
    ((2,), (18, 3))
    """

    gives = in_order({"energy", "forces", "stress", "energy_std", "forces_std"})

    _parameter_constraints = {
        "sigma": [POSITIVE],
        "alpha": [Interval(Real, 0, None, closed="left")],
        "energy_constraint": ["boolean"],
        "baseline": "no_validation",
        "solver": [StrOptions({"auto", "cholesky", "cg"})],
        "n_inducing": [None, Interval(Integral, 1, None, closed="left")],
        "tol": [Interval(Real, 0, None, closed="neither")],
        "max_iter": [Interval(Integral, 1, None, closed="left")],
        "checkpoint": [None, str, PathLike],
        "keep_factor": ["boolean"],
        "max_memory": [None, Interval(Real, 0, None, closed="neither")],
        "device": [DEVICES],
        "random_state": ["random_state"],
        "verbose": ["verbose"],
    }

    def __init__(
        self,
        sigma: float = 20.0,
        alpha: float = 1e-10,
        energy_constraint: bool = False,
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
        self.sigma = sigma
        self.alpha = alpha
        self.energy_constraint = energy_constraint
        self.baseline = baseline
        self.solver = solver
        self.n_inducing = n_inducing
        self.tol = tol
        self.max_iter = max_iter
        self.checkpoint = checkpoint
        self.keep_factor = keep_factor
        self.max_memory = max_memory
        self.device = device
        self.random_state = random_state
        self.verbose = verbose

    @_fit_context(prefer_skip_nested_validation=False)
    def fit(self, X: StructuresLike, y: TargetsLike) -> Self:
        """Solve for the coefficients.

        Parameters
        ----------
        X : Structures or list of ase.Atoms
            M frames of one molecule of N atoms.
        y : Targets
            Forces (eV/Å), and energies (eV) if there are any.

        Returns
        -------
        self
        """
        return self._learn(y, FramesAlone(as_structures(X)))

    def _learn(self, y, frames):
        """Fit to the labels of `FramesAlone`, or of a part of frames that other fits share."""
        structures = frames.structures
        targets = force_targets(y, structures, self.energy_constraint, type(self).__name__)
        self.numbers_ = fixed_composition(structures)
        if len(self.numbers_) < 2:
            raise ValueError("one atom has no distances: give molecules of at least two atoms")
        check_cells(structures)
        plan = solution_plan(self, len(structures))
        features = frames.features
        self.permutations_ = frames.permutations(self)
        pair_permutations = permute_pairs(self.permutations_)
        self.baseline_ = fit_baseline(self.baseline, structures, targets)
        if self.baseline_ is not None:
            targets = less_baseline(targets, structures, self.baseline_)
        has_energies = targets.energy is not None
        mean_energy = targets.require("energy").mean() if has_energies else 0.0

        system = frames.system(self, plan, self.permutations_, pair_permutations)
        warn_of_rigid_motions(system.rigid, targets.forces)
        energies = targets.energy - mean_energy if self.energy_constraint else []
        coefficients, energy_coefficients = system.solve(targets.forces, energies, self.verbose)
        self.expansion_ = KernelExpansion(
            features.values, coefficients, energy_coefficients, pair_permutations, self.sigma
        )
        self.n_iter_ = system.n_iter
        self.posterior_ = GDMLPosterior(system) if self.keep_factor else None
        self.outputs_ = self.gives if self.keep_factor else ("energy", "forces", "stress")
        self.absolute_energies_ = has_energies
        self.constant_ = float(mean_energy)
        if not self.energy_constraint:
            predicted = self._predictor().of_descriptors(features.values)[0]
            self.constant_ -= float(predicted.mean())
        return self

    shared_fits = staticmethod(shared_fits)

    def _contradictions(self, structures, targets, names):
        """If forces alone were learnt, energies are compared with the model's own."""
        if self.energy_constraint or "energy" not in names:
            return super()._contradictions(structures, targets, names)
        found = energies_contradict(self, structures, targets)
        return found and (super()._contradictions(structures, targets, names) or found)

    def _permutations(self, structures):
        return np.arange(len(self.numbers_))[None]

    def _checked(self, X):
        structures = as_structures(X)
        check_composition(structures, self.numbers_)
        return structures

    def _evaluate(self, X, names):
        found = self.posterior_.by_name(X, names, self.device) if self.posterior_ else {}
        if not {"gradient", "virial"} & {*names}:
            return {"energy": self._predictor().energies(X) + self.constant_, **found}
        energies, gradient, virial = self._predictor().differentiate(X, "virial" in names)
        found |= {"energy": energies + self.constant_, "gradient": gradient}
        return found if virial is None else {**found, "virial": virial}

    def _predictor(self):
        return on_device(self.expansion_, resolve(self.device))

    def hessian(self, X: StructuresLike) -> Array:
        """Second derivatives of the energy.

        Parameters
        ----------
        X : Structures or list of ase.Atoms, n of them

        Returns
        -------
        ndarray of shape (n, 3N, 3N), eV/Å²
        """
        check_is_fitted(self)
        return self._predictor().hessians(self._checked(X))
