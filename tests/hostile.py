"""Hostile input for the fuzzers of `test_fuzz.py`: structures, labels, and what is an answer."""

import signal
import traceback
import warnings
from contextlib import contextmanager

import numpy as np
from hypothesis import strategies as st
from sklearn.base import clone
from sklearn.exceptions import ConvergenceWarning, NotFittedError

from skatom import Structures, Targets

ALLOWED = (ValueError, TypeError, MemoryError)
_SECONDS = 60

rarely = st.sampled_from([False] * 9 + [True])
# Mostly an ordinary number; now and then one at which an equation breaks.
coordinate = st.one_of(
    st.floats(-4.0, 4.0), st.floats(-4.0, 4.0), st.integers(-3, 3).map(float),
    st.sampled_from([0.0, -0.0, 1.0, 2e-3, 1e-9, 5e-324]),
)  # fmt: skip
strange = st.sampled_from([np.nan, np.inf, 1e300, -1e17, 1e8])
scale = st.sampled_from([1.0] * 12 + [0.3, 3.0, 1e-2, 1e-6, 1e-200, 1e3, 1e6, 1e200])
element = st.sampled_from([1, 1, 1, 6, 6, 8, 8, 3, 9, 79, 118])


@st.composite
def positions_of(draw, n):
    """Positions (n, 3): in general, on a line, in a plane, on a lattice, far apart or together."""
    r = np.array([[draw(coordinate) for _ in range(3)] for _ in range(n)])
    kind = draw(st.sampled_from(["any"] * 5 + ["spread", "line", "plane", "lattice", "together"]))
    if kind == "spread":
        r = r + 2.0 * np.arange(n)[:, None]
    elif kind == "line":
        r[:, 1:] = 0.0
    elif kind == "plane":
        r[:, 2] = 0.0
    elif kind == "lattice":
        r = np.round(r)
    elif kind == "together":
        r = r[:1] + draw(st.sampled_from([0.0, 1e-12, 1e-6, 1e-2, 0.5])) * r
    if draw(rarely):
        r[draw(st.integers(0, n - 1)), draw(st.integers(0, 2))] = draw(strange)
    return r * draw(scale)


@st.composite
def cell_of(draw):
    """A cell and its periodic directions: none, a box, skewed, tiny, thin, flat, left-handed."""
    pbc = draw(
        st.sampled_from(
            [(False,) * 3] * 3 + [(True,) * 3] * 3 + [(True, True, False), (False, False, True)]
        )
    )
    kind = draw(st.sampled_from(["box"] * 4 + ["skewed"] * 4 + ["any", "thin", "swapped", "zero"]))
    lengths = [draw(st.floats(1.5, 6.0)) for _ in range(3)]
    cell = np.diag(lengths)
    if kind in ("skewed", "swapped"):
        cell[np.tril_indices(3, -1)] = [draw(st.floats(-1.5, 1.5)) for _ in range(3)]
    if kind == "swapped":
        cell = cell[[1, 0, 2]]
    elif kind == "any":
        cell = np.array([[draw(coordinate) for _ in range(3)] for _ in range(3)])
    elif kind == "thin":
        cell[2] *= draw(st.sampled_from([1e-1, 1e-2, 1e-4, 1e3, 1e6]))
    elif kind == "zero":
        cell[draw(st.integers(0, 2))] = 0.0
    return cell, pbc


@st.composite
def structures(draw, most=3, most_atoms=5):
    """One to three structures of one to five atoms, or the error that they cannot be made."""
    parts = []
    for _ in range(draw(st.integers(1, most))):
        n = draw(st.integers(1, most_atoms))
        numbers = [draw(element) for _ in range(n)]
        parts.append((numbers, draw(positions_of(n)), *draw(cell_of())))
    numbers, positions, cells, pbc = zip(*parts, strict=True)
    return (
        np.concatenate(numbers), np.concatenate(positions),
        np.cumsum([0, *map(len, numbers)]), np.array(cells), np.array(pbc),
    )  # fmt: skip


FAULTS = {
    "none": lambda y, at: y,
    "constant energies": lambda y, at: {
        k: np.ones_like(v) if k == "energy" else v for k, v in y.items()
    },
    "no energy": lambda y, at: {k: v for k, v in y.items() if k != "energy"},
    "no forces": lambda y, at: {k: v for k, v in y.items() if k != "forces"},
    "zero": lambda y, at: {k: 0 * v for k, v in y.items()},
    "tiny": lambda y, at: {k: 1e-200 * v for k, v in y.items()},
    "large": lambda y, at: {k: 1e12 * v for k, v in y.items()},
    "huge": lambda y, at: {k: 1e200 * v for k, v in y.items()},
    "infinite": lambda y, at: _replaced(y, at, np.inf),
    "half a label": lambda y, at: _replaced(y, at, np.nan),
    "unlabelled structure": lambda y, at: _without(y, at),
    "wrong length": lambda y, at: {k: v[:-1] for k, v in y.items()},
    "noise": lambda y, at: {
        k: np.random.default_rng(at).normal(size=v.shape) for k, v in y.items()
    },
}


def _replaced(y, at, value):
    y = {name: label.copy() for name, label in y.items()}
    name = sorted(y)[at % len(y)]
    y[name].flat[at % y[name].size] = value
    return y


def _without(y, at):
    y = {name: label.copy() for name, label in y.items()}
    if "energy" in y:
        y["energy"][at % len(y["energy"])] = np.nan
    return y


DAMAGE = {
    "none": lambda r, at: r,
    "twice the same": lambda r, at: np.concatenate([r[:1]] * len(r)),
    "one pair the same": lambda r, at: np.concatenate([r[:-1], r[:1]]),
    "coincident atoms": lambda r, at: _moved(r, at, r[at % len(r), 0]),
    "nearly coincident atoms": lambda r, at: _moved(r, at, r[at % len(r), 0] + 1e-7),
    "an atom far away": lambda r, at: _moved(r, at, r[at % len(r), 0] + 37.0),
    "a line": lambda r, at: r * [1.0, 0.0, 0.0],
    "a plane": lambda r, at: r * [1.0, 1.0, 0.0],
    "shrunk": lambda r, at: 0.3 * r,
    "grown": lambda r, at: 7.0 * r,
    "far from the origin": lambda r, at: r + 1e4,
}


def _moved(r, at, place):
    r = r.copy()
    r[at % len(r), 1] = place
    return r


def damaged(batch, kind, at):
    """The same structures with other positions; all have the same number of atoms."""
    n_atoms = batch.n_atoms[0]
    r = DAMAGE[kind](batch.positions.reshape(-1, n_atoms, 3), at).reshape(-1, 3)
    return Structures(batch.numbers, r, batch.offsets, batch.cells, batch.pbc)


def spoilt(targets, kind, at):
    names = targets.names
    labels = FAULTS[kind]({name: getattr(targets, name) for name in names}, at)
    return Targets(**labels, offsets=targets.offsets)


# Values at which an equation may break, and some that are no numbers.
VALUES = [0, 1, 2, -1, 0.0, 1e-300, 1e-12, 0.5, 1e3, 1e12, 1e300, 10**9, -3.5, np.nan, np.inf, None,
          True, "text", (), [2.0, 1.0], np.float32(1.5), np.array([0.5, 1.0])]  # fmt: skip


def with_strange_parameter(estimator, which, value):
    """The estimator with one parameter of its own, or of what is in it, replaced."""
    estimator = clone(estimator)
    parameters = estimator.get_params()
    # not the steps and estimators themselves: what they would be is another test's subject
    names = sorted(p for p, v in parameters.items() if not hasattr(v, "get_params"))
    names = [
        p
        for p in names
        if p.split("__")[-1] not in ("memory", "n_jobs", "steps", "transform_input", "verbose")
    ]
    if not names:
        return estimator
    return estimator.set_params(**{names[which % len(names)]: VALUES[value % len(VALUES)]})


class TooSlowError(Exception):
    """A hang is a failure with the example that hangs."""


@contextmanager
def time_limit(seconds=_SECONDS):
    """Raise an error after so many seconds of the processor; other processes do not count."""

    def stop(*_):
        raise TooSlowError(f"no answer within {seconds} s of processor time")

    if not hasattr(signal, "setitimer"):  # Windows
        yield
        return
    before = signal.signal(signal.SIGPROF, stop)
    signal.setitimer(signal.ITIMER_PROF, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)
        signal.signal(signal.SIGPROF, before)


def answer(function, *args):
    """The result of a call, or None after an error that a user can understand.

    Such an error is a ValueError, TypeError or MemoryError that was raised on purpose, by a
    statement ``raise``, in one line. Warnings of numpy are failures: they announce a NaN.
    """
    with time_limit(), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        warnings.simplefilter("error", RuntimeWarning)
        warnings.simplefilter("ignore", ConvergenceWarning)
        try:
            return function(*args)
        except NotFittedError:
            raise
        except ALLOWED as error:
            where = traceback.extract_tb(error.__traceback__)[-1]
            text = str(error)
            assert where.line.startswith("raise "), f"not raised on purpose: {error!r} at {where}"
            assert text and "\n" not in text.strip(), f"not one line: {text!r}"
            return None
