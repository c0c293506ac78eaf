"""Models of phase transitions in closed form, as data whose extrapolation is known."""

from __future__ import annotations

import numpy as np

from skatom._typing import Array, ArrayLike

# Points of the quadrature over phonon momenta: that of a periodic function converges exponentially.
_PHONONS = 256


def polaron_dispersion(
    momentum: ArrayLike, coupling: ArrayLike, ratio: ArrayLike = 0.0, frequency: float | None = None
) -> Array:
    r"""The energy of a polaron on a chain, to second order in its coupling to phonons.

    .. math::
        E(K) = 2 \cos K - \frac{1}{2 \pi} \int_0^{2 \pi} \frac{4 \{\alpha [\sin(K + q) - \sin K]
        + \beta \sin q\}^2}{\omega + 2 \cos(K + q) - 2 \cos K}\, dq, \qquad
        \lambda = \frac{2 \alpha^2}{\omega}, \quad r = \frac{\beta}{\alpha}

    in units of the hopping. For ω → ∞ it is

    .. math:: E(K) = 2 (1 - \lambda r) \cos K + \lambda \cos 2K - \lambda (2 + r^2)

    whose minimum leaves K = π at λ = 1/(2 + r), and reaches K = 0 at λ = 1/(r − 2) if r > 2.

    Parameters
    ----------
    momentum : array-like of float
        The momentum K, in radians.
    coupling : array-like of float
        The coupling λ.
    ratio : array-like of float, default=0.0
        The ratio r of the couplings to the energy of a site (β) and to hopping (α).
    frequency : float, default=None
        The energy ω of a phonon, above 4. None: infinite.

    Returns
    -------
    ndarray of float
        The energies; arguments broadcast.

    Raises
    ------
    ValueError
        If the frequency is 4 or less, where a phonon may be emitted.

    References
    ----------
    .. [1] D. J. J. Marchand et al., Phys. Rev. Lett. 105, 266605 (2010).

    Examples
    --------
    >>> import numpy as np
    >>> from skatom.datasets import polaron_dispersion
    >>> momenta = np.linspace(0, np.pi, 181)
    >>> [int(np.degrees(momenta[polaron_dispersion(momenta, c).argmin()])) for c in (0.4, 0.8)]
    [180, 129]
    """
    K, c, r = np.broadcast_arrays(*(np.asarray(a, float) for a in (momentum, coupling, ratio)))
    if frequency is None:
        return 2 * (1 - c * r) * np.cos(K) + c * np.cos(2 * K) - c * (2 + r * r)
    if frequency <= 4:
        raise ValueError(f"frequency={frequency}: phonons need an energy above the band width of 4")
    K, c, r = K[..., None], c[..., None], r[..., None]
    q = 2 * np.pi * np.arange(_PHONONS) / _PHONONS
    vertex = 2 * c * frequency * (np.sin(K + q) - np.sin(K) + r * np.sin(q)) ** 2
    gap = frequency + 2 * np.cos(K + q) - 2 * np.cos(K)
    return 2 * np.cos(K[..., 0]) - (vertex / gap).mean(axis=-1)


def heisenberg_free_energy(
    temperature: ArrayLike, magnetization: ArrayLike, critical: float = 1.25
) -> Array:
    r"""The free energy of the Heisenberg model in mean field, near its transition.

    .. math::
        f(T, m) = \frac12 \Big(1 - \frac{T_c}{T}\Big) m^2
        + \frac{1}{12} \Big(\frac{T_c}{T}\Big)^3 m^4

    Its minimum is at m = 0 above :math:`T_c`, and at
    :math:`m_0 = \sqrt 3\, (T / T_c) \sqrt{1 - T / T_c}` below.

    Parameters
    ----------
    temperature : array-like of float
        The temperature T.
    magnetization : array-like of float
        The magnetisation m.
    critical : float, default=1.25
        The critical temperature :math:`T_c`.

    Returns
    -------
    ndarray of float
        The free energies; arguments broadcast.

    Examples
    --------
    >>> import numpy as np
    >>> from skatom.datasets import heisenberg_free_energy
    >>> m = np.linspace(0, 1, 1001)
    >>> float(m[heisenberg_free_energy(0.625, m).argmin()].round(3))
    0.612
    """
    ratio, m = critical / np.asarray(temperature, float), np.asarray(magnetization, float)
    return 0.5 * (1 - ratio) * m**2 + ratio**3 * m**4 / 12
