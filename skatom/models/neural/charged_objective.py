"""The loss of networks of energies beside networks of charges that interact."""

from __future__ import annotations

import numpy as np

from skatom.models.neural.electrostatics import less_mean, with_total
from skatom.models.neural.objective import RowPassages, SquaredErrors


class ElectrostaticErrors(SquaredErrors):
    r"""`SquaredErrors` of energies :math:`\sum_i f(x_i) + \tfrac12 q^\top A q` and derivatives.

    With the charges :math:`q_i = \chi(x_i) + c`, whose sum c fixes, the potentials
    :math:`\varphi = A q`, :math:`\psi = \varphi - \bar\varphi` and the tangents t = J v of the
    errors v of derivatives,

    .. math::
        \frac{\partial E}{\partial R} = \sum_i \Big( \nabla f(x_i) + \psi_i \nabla \chi(x_i) \Big)
            \frac{\partial x_i}{\partial R} + \tfrac12 q^\top \frac{\partial A}{\partial R} q

    .. math::
        \delta \Big( v \cdot \frac{\partial E}{\partial R} \Big) = \sum_i t_i \cdot \delta \nabla f
            + \psi_i t_i \cdot \delta \nabla \chi
            + \big( A\, \delta_v q + (\delta_v A)\, q \big)_i\, \delta q_i

    where :math:`\delta_v q` are the changes :math:`t_i \cdot \nabla \chi(x_i)` less their mean.

    Parameters
    ----------
    data : LabelledRows
    networks : ChargedNetworks
    alpha : float
    chosen : ndarray of int
    interactions : ChargeInteractions
    total : float
        The charge of each structure, e.
    """

    def __init__(self, data, networks, alpha, chosen, *, interactions, total):
        super().__init__(data, networks, alpha, chosen)
        self.interactions, self.total = interactions, total

    def _piece(self, networks, some, with_slopes):
        chosen, starts, firsts = some.chosen, some.starts, some.firsts
        short, charging = (
            RowPassages(n, some.x, some.kinds) for n in (networks.short, networks.charging)
        )
        charges = with_total(charging.outputs(), starts, self.total)
        potentials = self.interactions.potentials(chosen, starts, charges)
        local = short.outputs() + 0.5 * charges * potentials
        errors, pull = self._of_energies(local, some)
        psi = less_mean(potentials, starts)
        of_charges, tangents, of_slopes = pull * psi, None, None
        if some.has_slopes:
            slopes = charging.input_slopes()
            found = some.along(short.input_slopes() + psi[:, None] * slopes)
            found += self.interactions.slopes(chosen, starts, firsts, charges)
            more, vector = self._of_derivatives(found, some)
            errors += more
        if not with_slopes:
            return errors, None
        if some.has_slopes:
            tangents = some.tangents(vector)
            changes = less_mean(np.einsum("if,if->i", tangents, slopes), starts)
            along = self.interactions.potentials(chosen, starts, changes)
            along += self.interactions.changes(chosen, starts, firsts, charges, vector)
            of_charges = of_charges + less_mean(along, starts)
            of_slopes = psi[:, None] * tangents
        return errors, np.concatenate([
            short.parameter_slopes(pull, tangents),
            charging.parameter_slopes(of_charges, of_slopes),
        ])  # fmt: skip
