"""Systematic sets of symmetry functions, as parameters of `skatom.descriptors.ACSF`.

`shifted` and `centered` give G2 functions; the others give a dictionary of parameters, for
``ACSF(**ani())`` or as a starting point.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from skatom._typing import Array


def shifted(n: int, cutoff: float, start: float = 0.5, stop: float | None = None) -> Array:
    """Gaussians of equal width whose centres are evenly spaced.

        η = 1 / (2 Δ²),   R_m = start + m Δ,   m = 0 … n − 1

    Parameters
    ----------
    n : int
        Number of functions, at least 2.
    cutoff : float
        Cutoff radius in Å.
    start : float, default=0.5
        The first centre, Å.
    stop : float, default=None
        The last centre, Å. None: ``cutoff - 0.5``.

    Returns
    -------
    ndarray of float, shape (n, 2)
        (η, R) of each function.

    Examples
    --------
    >>> from skatom.descriptors import ACSF
    >>> from skatom.descriptors.symmetry_functions import shifted
    >>> shifted(3, cutoff=5.0, start=1.0, stop=5.0)
    array([[0.125, 1.   ],
           [0.125, 3.   ],
           [0.125, 5.   ]])
    >>> acsf = ACSF(cutoff=5.0, g2=shifted(20, cutoff=5.0))
    """
    if n < 2:
        raise ValueError(f"n={n} must be at least 2 for a spacing of the centres")
    centers = np.linspace(start, cutoff - 0.5 if stop is None else stop, n)
    return np.stack([np.full(n, 0.5 / (centers[1] - centers[0]) ** 2), centers], 1)


def centered(n: int, cutoff: float, start: float = 1.0, stop: float | None = None) -> Array:
    """Gaussians centred at the atom whose widths are evenly spaced.

        η_m = 1 / (2 w_m²),   w_m from start to stop

    Parameters
    ----------
    n : int
        Number of functions.
    cutoff : float
        Cutoff radius in Å.
    start : float, default=1.0
        The smallest width, Å.
    stop : float, default=None
        The largest width, Å. None: ``cutoff - 0.5``.

    Returns
    -------
    ndarray of float, shape (n, 2)
        (η, R = 0) of each function.

    Examples
    --------
    >>> from skatom.descriptors.symmetry_functions import centered
    >>> centered(3, cutoff=5.0, start=1.0, stop=2.0)[:, 0].round(3)
    array([0.5  , 0.222, 0.125])
    """
    widths = np.linspace(start, cutoff - 0.5 if stop is None else stop, n)
    return np.stack([0.5 / widths**2, np.zeros(n)], 1)


def weighted(
    n_radial: int = 22, n_angular: int = 5, cutoff: float = 5.0, zetas: Sequence[float] = (1,)
) -> dict:
    """Element-weighted functions for many species [1]_.

    ``shifted(n_radial, cutoff)`` for G2, and G5 with the widths of ``centered(n_angular,
    cutoff)``, λ = ±1 and every ζ.

    Parameters
    ----------
    n_radial : int, default=22
        Number of radial functions.
    n_angular : int, default=5
        Number of widths of the angular functions.
    cutoff : float, default=5.0
        Cutoff radius in Å.
    zetas : sequence of float, default=(1,)
        Exponents ζ of the angular functions.

    Returns
    -------
    dict
        Parameters of `ACSF`.

    References
    ----------
    .. [1] M. Gastegger, L. Schwiedrzik, M. Bittermann, F. Berzsenyi, P. Marquetand, J. Chem. Phys.
       148, 241709 (2018).

    Examples
    --------
    >>> from ase.build import molecule
    >>> from skatom.descriptors import ACSF
    >>> from skatom.descriptors.symmetry_functions import weighted
    >>> ACSF(**weighted()).fit_transform([molecule("CH3OH")])
    AtomicFeatures(1 structures, 6 atoms, 32 features, species H C O)
    """
    widths = centered(n_angular, cutoff)[:, 0]
    return {
        "cutoff": cutoff,
        "g2": shifted(n_radial, cutoff),
        "g4": (),
        "g5": np.array([(eta, z, sign) for eta in widths for z in zetas for sign in (1, -1)]),
        "weighting": "Z",
    }


def library(n: int = 8, cutoff: float = 6.0, zetas: Sequence[float] = (1, 4, 16)) -> dict:
    """A large set of functions, from which to select [1]_.

        centred:  η_m = (n^(m/n) / r_c)²,   R = 0,              m = 0 … n
        shifted:  R_m = r_c / n^(m/n),      η_m = (R_{m-1} − R_m)⁻²,   m = 1 … n

    for G2, and the centred η with λ = ±1 and every ζ for G4.

    Parameters
    ----------
    n : int, default=8
        Number of shifted functions, at least 2; there are n + 1 centred ones.
    cutoff : float, default=6.0
        Cutoff radius in Å.
    zetas : sequence of float, default=(1, 4, 16)
        Exponents ζ of the angular functions.

    Returns
    -------
    dict
        Parameters of `ACSF`.

    References
    ----------
    .. [1] G. Imbalzano, A. Anelli, D. Giofré, S. Klees, J. Behler, M. Ceriotti, J. Chem. Phys.
       148, 241730 (2018).

    Examples
    --------
    >>> from skatom.descriptors.symmetry_functions import library
    >>> {name: len(table) for name, table in library().items() if name != "cutoff"}
    {'g2': 17, 'g4': 54}
    """
    if n < 2:
        raise ValueError(f"n={n} must be at least 2 for different widths")
    centers = cutoff / n ** (np.arange(n + 1) / n)
    etas = centers**-2
    steps = centers[:-1] - centers[1:]
    return {
        "cutoff": cutoff,
        "g2": np.concatenate(
            [
                np.stack([etas, np.zeros(n + 1)], 1),
                np.stack([steps**-2, centers[1:]], 1),
            ]
        ),
        "g4": np.array([(eta, z, sign) for eta in etas for z in zetas for sign in (1, -1)]),
    }


def ani(
    cutoff: float = 5.2,
    angular_cutoff: float = 3.5,
    n_radial: int = 16,
    n_angular: int = 4,
    n_theta: int = 8,
    eta: float = 16.0,
    angular_eta: float = 8.0,
    zeta: float = 32.0,
    start: float = 0.9,
) -> dict:
    """Functions of the ANI-1x potential [1]_, by default 16 radial and 32 angular.

    The centres are R_m = start + m (cutoff − start) / n, without the cutoff itself, and the angles
    θ_m = (m + 1/2) π / n_theta. ANI also multiplies its radial functions by 1/4 and its angular
    functions by 2, which makes no difference once features are scaled, and cos θ by 0.95.

    Parameters
    ----------
    cutoff, angular_cutoff : float, default=5.2, 3.5
        Cutoff radii in Å of the radial and of the angular functions.
    n_radial, n_angular, n_theta : int, default=16, 4, 8
        Number of centres of the radial and the angular functions, and of angles.
    eta, angular_eta : float, default=16.0, 8.0
        Exponents η in Å⁻² of the radial and of the angular functions.
    zeta : float, default=32.0
        Exponent ζ of the angular functions.
    start : float, default=0.9
        The first centre, in Å.

    Returns
    -------
    dict
        Parameters of `ACSF`.

    References
    ----------
    .. [1] J. S. Smith, B. Nebgen, N. Lubbers, O. Isayev, A. E. Roitberg, J. Chem. Phys. 148,
       241733 (2018).

    Examples
    --------
    >>> from ase.build import molecule
    >>> from skatom.descriptors import ACSF
    >>> from skatom.descriptors.symmetry_functions import ani
    >>> ACSF(**ani()).fit_transform([molecule("CH4")])
    AtomicFeatures(1 structures, 5 atoms, 128 features, species H C)
    """
    radial = np.linspace(start, cutoff, n_radial, endpoint=False)
    angular = np.linspace(start, angular_cutoff, n_angular, endpoint=False)
    thetas = (np.arange(n_theta) + 0.5) * np.pi / n_theta
    return {
        "cutoff": cutoff,
        "angular_cutoff": angular_cutoff,
        "g2": np.stack([np.full(n_radial, eta), radial], 1),
        "g4": (),
        "ani": np.array([(angular_eta, zeta, r, theta) for r in angular for theta in thetas]),
    }
