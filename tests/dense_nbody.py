"""Covariances of energies, forces and virials under n-body kernels, by sums over all n-plets."""

from itertools import combinations, permutations, product

import numpy as np


def covariance_of_all(kernel, X, Y):
    """Rows: of each of a list of ase.Atoms its energy, forces and six components of the virial."""
    terms = getattr(kernel, "terms", [kernel])
    return sum(
        np.block([[_block(term, _rows(term, x), _rows(term, y)) for y in Y] for x in X])
        for term in terms
    )


def _block(kernel, x, y):
    total = 0.0
    for order in permutations(range(kernel.order)):
        p = list(order)
        same = np.all(x["numbers"][:, None] == y["numbers"][None][..., p], axis=2)
        if kernel.order == 2:  # the exchange of like atoms leaves the distance as it is
            same = same / (1 + (x["numbers"][:, :1] == x["numbers"][:, 1:]))
        sides = p if kernel.order == 3 else [0]
        t, c = y["sides"][:, sides], y["c"][..., sides]
        d = (x["sides"][:, None] - t[None]) / kernel.sigma**2
        k = same * np.exp(-0.5 * kernel.sigma**2 * np.sum(d**2, axis=2))
        left = x["a"][:, :, None] - np.einsum("rns,nms->rnm", x["c"], d)
        right = y["a"][:, None, :] + np.einsum("qms,nms->qnm", c, d)
        total = total + np.einsum("nm,rnm,qnm->rq", k, left, right, optimize=True)
        total += np.einsum("nm,rns,qms->rq", k, x["c"], c, optimize=True) / kernel.sigma**2
    return kernel.amplitude**2 * total


def _rows(kernel, atoms):
    """All n-plets of a structure, seen from each of their atoms, and what the rows are of each."""
    found = {"numbers": [], "sides": [], "a": [], "c": []}
    for i in range(len(atoms)):
        for others in combinations(list(_neighbors(atoms, i, kernel.cutoff)), kernel.order - 1):
            members = [i, *(j for j, _ in others)]
            places = [np.zeros(3), *(v for _, v in others)]
            # of a triangle the side opposite to each atom
            edges = [(0, 1)] if kernel.order == 2 else [(1, 2), (0, 2), (0, 1)]
            vectors = [places[b] - places[a] for a, b in edges]
            sides = np.linalg.norm(vectors, axis=1)
            if sides.max() >= kernel.cutoff:
                continue
            along = np.zeros((3 * len(atoms) + 6, len(edges)))
            for k, ((a, b), v) in enumerate(zip(edges, vectors, strict=True)):
                unit = v / sides[k]
                along[3 * members[a] : 3 * members[a] + 3, k] += unit
                along[3 * members[b] : 3 * members[b] + 3, k] -= unit
                along[-6:, k] = [
                    v[p] * unit[q] for p, q in ((0, 0), (1, 1), (2, 2), (1, 2), (0, 2), (0, 1))
                ]
            f = np.array([_fade(kernel, r) for r in sides])
            total = f[:, 0].prod()
            slopes = np.array([f[k, 1] * np.delete(f[:, 0], k).prod() for k in range(len(sides))])
            c = np.vstack([np.zeros(len(edges)), along * total]) / kernel.order
            a = np.concatenate([[total], along @ slopes]) / kernel.order
            for name, value in (
                ("numbers", atoms.numbers[members]),
                ("sides", sides),
                ("a", a),
                ("c", c),
            ):
                found[name].append(value)
    arrays = {name: np.array(values) for name, values in found.items()}
    arrays["a"], arrays["c"] = arrays["a"].T, arrays["c"].transpose(1, 0, 2)
    return arrays


def _neighbors(atoms, i, cutoff):
    images = [range(-4, 5) if periodic else range(1) for periodic in atoms.pbc]
    for shift in product(*images):
        for j in range(len(atoms)):
            vector = atoms.positions[j] + shift @ atoms.cell.array - atoms.positions[i]
            if 0 < np.linalg.norm(vector) < cutoff:
                yield j, vector


def _fade(kernel, r):
    """The cosine cutoff function and its slope."""
    x = np.pi * (r - kernel.cutoff + kernel.cutoff_width) / kernel.cutoff_width
    if x <= 0:
        return 1.0, 0.0
    return 0.5 * (1 + np.cos(x)), -0.5 * np.pi / kernel.cutoff_width * np.sin(x)
