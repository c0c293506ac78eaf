"""The terms of a model, sums over several descriptors, and their nested parameters."""

from __future__ import annotations

from numbers import Integral
from typing import Any, NamedTuple, Self

from skatom.kernels.dot_kernel import DotKernel

_PARTS = ("descriptor", "kernel", "n_sparse")


class HasTerms:
    """Parameters of the terms of an estimator, for searches; before BaseEstimator in the bases."""

    def get_params(self, deep: bool = True) -> dict:
        """Parameters, those of the terms included.

        Parameters
        ----------
        deep : bool, default=True
            Whether to include the parameters of kernels, descriptors and terms.

        Returns
        -------
        dict
        """
        params = super().get_params(deep)
        if deep and self.terms is not None:
            params |= {f"terms__{key}": v for key, v in nested_params(self.terms).items()}
        return params

    def set_params(self, **params: Any) -> Self:
        """Set parameters, those of the terms included.

        Parameters
        ----------
        **params
            Values by name, such as ``noise_forces=0.1`` or ``terms__0__descriptor__sigma=0.4``.

        Returns
        -------
        self
        """
        nested = {key.removeprefix("terms__"): params.pop(key) for key in [*params]
                  if key.startswith("terms__")}  # fmt: skip
        super().set_params(**params)
        if nested:
            self.terms = with_params(self.terms, nested)
        return self


class Term(NamedTuple):
    """One descriptor, its kernel and its number of representatives."""

    name: str
    descriptor: object
    kernel: DotKernel
    n_sparse: object


def named_terms(terms):
    """The terms, checked; those without a name are named by their position.

    Parameters
    ----------
    terms : list of (descriptor, kernel, n_sparse) or (name, descriptor, kernel, n_sparse)

    Returns
    -------
    list of Term

    Raises
    ------
    ValueError
        If there are none, or one of them is no such tuple, has a name that cannot be part of a
        parameter's name or occurs twice, a descriptor without ``transform``, a kernel that is no
        `DotKernel`, or a number of representatives that is not positive.
    """
    if not terms:
        raise ValueError(
            "terms is empty: give at least one (descriptor, kernel, n_sparse), or terms=None"
        )
    found = [_named(k, term) for k, term in enumerate(terms)]
    names = [term.name for term in found]
    for term in found:
        _check(term)
        if names.count(term.name) > 1:
            raise ValueError(f"two terms have the name {term.name!r}: give each its own")
    return found


def _named(position, term):
    if isinstance(term, tuple | list) and len(term) == 3:
        return Term(str(position), *term)
    if isinstance(term, tuple | list) and len(term) == 4:
        return Term(*term)
    raise ValueError(
        f"term {position} is {term!r}: give (descriptor, kernel, n_sparse), or "
        "(name, descriptor, kernel, n_sparse)"
    )


def _check(term):
    name = term.name
    if not isinstance(name, str) or not name or "__" in name or name == "baseline":
        raise ValueError(
            f"the name of a term is {name!r}: give a text without '__' other than 'baseline'"
        )
    if not hasattr(term.descriptor, "fit") or not hasattr(term.descriptor, "transform"):
        raise ValueError(
            f"the descriptor of term {name!r} is {term.descriptor!r}: give a descriptor, or a "
            "Pipeline of a descriptor and maps such as FeatureScaler"
        )
    if not isinstance(term.kernel, DotKernel):
        raise ValueError(
            f"the kernel of term {name!r} is {term.kernel!r}, no DotKernel: give a kernel of "
            "features with derivatives, such as Cosine, Gaussian, Polynomial, or their sums"
        )
    numbers = term.n_sparse
    numbers = list(numbers.values()) if isinstance(numbers, dict) else [numbers]
    if not all(isinstance(n, Integral) and n > 0 for n in numbers):
        raise ValueError(
            f"n_sparse of term {name!r} is {term.n_sparse!r}: give a positive number of "
            "representatives, or a dict of them such as {'H': 300, 'O': 800}"
        )


def nested_params(terms):
    """Parameters ``NAME__descriptor__…``, ``NAME__kernel__…`` and ``NAME__n_sparse``, as a dict.

    What is not a list of terms has none; `named_terms` says so in ``fit``.
    """
    try:
        found = [_named(k, term) for k, term in enumerate(terms)]
    except (TypeError, ValueError):
        return {}
    params = {}
    for term in found:
        for part in _PARTS:
            value = getattr(term, part)
            params[f"{term.name}__{part}"] = value
            if hasattr(value, "get_params") and not isinstance(value, type):
                inner = value.get_params(deep=True)
                params |= {f"{term.name}__{part}__{key}": inner[key] for key in inner}
    return params


def with_params(terms, params):
    """The terms with some nested parameters changed: whole parts first, then what is within them.

    Parameters
    ----------
    terms : list of tuples
    params : dict
        Values by the names of `nested_params`.

    Returns
    -------
    list of tuples

    Raises
    ------
    ValueError
        If there is no such parameter.
    """
    found = [_named(k, term) for k, term in enumerate(terms or [])]
    places = {term.name: k for k, term in enumerate(found)}
    for key in sorted(params, key=lambda key: key.count("__") > 1):
        name, _, rest = key.partition("__")
        part, _, inner = rest.partition("__")
        if name not in places or part not in _PARTS:
            raise ValueError(
                f"there is no parameter terms__{key}: the terms are {', '.join(places) or 'none'}, "
                f"each with {', '.join(_PARTS)}"
            )
        if inner:
            getattr(found[places[name]], part).set_params(**{inner: params[key]})
        else:
            found[places[name]] = found[places[name]]._replace(**{part: params[key]})
    return [tuple(term)[4 - len(terms[k]) :] for k, term in enumerate(found)]
