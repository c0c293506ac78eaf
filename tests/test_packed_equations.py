"""Normal equations of which half is stored, and ridge regression from them."""

import pickle

import numba
import numpy as np
import pytest

from skatom._device import resolve
from skatom.models.linear.equations_ridge import EquationsRidge
from skatom.models.linear.label_sums import LabelSums
from skatom.models.linear.ridge import RidgeProblem
from skatom.solvers.packed_equations import PackedEquations

N, CONSTANTS, ALPHA = 600, 2, 1e-5  # in three block columns


@pytest.fixture(scope="module")
def rows():
    rng = np.random.default_rng(0)
    return rng.normal(size=(900, N)) * rng.uniform(0.1, 10, N), rng.normal(size=900)


def lower(equations):
    """The lower triangle of the matrix."""
    whole = np.zeros((N, N))
    for start, column in zip(equations.edges[:-1], equations.columns, strict=True):
        whole[start:, start : start + column.shape[1]] = column
    return np.tril(whole)


@pytest.fixture(scope="module", params=["cpu", "torch"])
def device(request):
    if request.param == "torch":
        pytest.importorskip("torch")
    return resolve(request.param)


def there(arrays, device):
    return arrays if device is None else tuple(map(device.tensor, arrays))


def test_parts_add_up_to_the_gram_matrix_wherever_they_are(rows, device):
    A, b = rows
    first = PackedEquations.of_rows(*there((A[:500], b[:500]), device))
    second = PackedEquations.of_rows(A[500:], b[500:])
    for found in (first.merge(second), second.merge(first)):
        found = pickle.loads(pickle.dumps(found))  # as arrays of numpy
        gram = np.tril(A.T @ A)
        np.testing.assert_allclose(lower(found), gram, atol=1e-12 * gram.max())
        np.testing.assert_allclose(found.diagonal(), gram.diagonal())
        np.testing.assert_allclose(found.products, A.T @ b, atol=1e-11 * np.abs(A.T @ b).max())
        assert found.total == pytest.approx(b @ b)


def test_half_of_the_matrix_is_kept_and_saved(rows):
    found = PackedEquations.of_rows(*rows)
    size = sum(column.nbytes for column in found.columns)
    assert PackedEquations.memory(N) == pytest.approx(size, rel=0.05)
    assert len(pickle.dumps(found)) == pytest.approx(size, rel=0.05)
    # the narrow blocks beside the diagonal weigh less the more columns there are
    assert PackedEquations.memory(6000) < 0.53 * 8 * 6000**2


def test_equations_of_other_columns_do_not_add_up(rows):
    A, b = rows
    with pytest.raises(ValueError, match="of 600 and of 599 columns do not add up"):
        PackedEquations.of_rows(A, b).merge(PackedEquations.of_rows(A[:, 1:], b))


@pytest.mark.skipif(numba.config.NUMBA_NUM_THREADS < 2, reason="needs two threads")
def test_sums_are_equal_to_the_bit_for_any_number_of_threads(rows):
    before, found = numba.get_num_threads(), []
    try:
        for threads in (1, 2):
            numba.set_num_threads(threads)
            found.append(PackedEquations.of_rows(*rows))
    finally:
        numba.set_num_threads(before)
    for one, other in zip(*(equations.columns for equations in found), strict=True):
        np.testing.assert_array_equal(one, other)


@pytest.mark.parametrize("kinds", [("energy", "forces"), ("forces", "virial"), ("energy",)])
def test_ridge_is_that_of_triangles(rows, device, kinds):
    """Coefficients, deviations, likelihood and what is left of the squares, in several blocks."""
    A, b = rows
    problems, growth = [], np.linspace(1, 2, N - CONSTANTS)
    for as_equations in (False, True):
        sums = LabelSums(N)
        for kind, some in zip(kinds, np.array_split(np.arange(len(b)), len(kinds)), strict=True):
            part = A[some].copy()
            part[:, :CONSTANTS] = kind == "energy"
            (part,) = there((part,), device if as_equations else None)
            sums = sums.add(kind, part, b[some], np.full(len(some), 0.5), np.ones(len(some)))
        if as_equations:
            sums = sums.merge(LabelSums(N, as_equations=True))
            assert set(sums.parts) == {"derivatives" if k != "energy" else k for k in kinds}
        cls = EquationsRidge if as_equations else RidgeProblem
        problems.append(cls(sums.reduced(), CONSTANTS, growth))
    factors = np.ones(len(kinds))
    one, other = (problem.posterior(ALPHA, factors) for problem in problems)
    np.testing.assert_allclose(other.solve(), one.solve(), atol=1e-8 * np.abs(one.solve()).max())
    assert other.residuals[0] == pytest.approx(one.residuals[0], rel=1e-8)
    values = [
        problem.log_likelihood(posterior, ALPHA, factors)
        for problem, posterior in zip(problems, (one, other), strict=True)
    ]
    assert values[1] == pytest.approx(values[0], rel=1e-8)
    expected = np.linalg.norm(np.linalg.solve(one.triangle.T, A[:7].T), axis=0)
    again = pickle.loads(pickle.dumps(other))
    for posterior in (other, again):
        for asked in (A[:7], *there((A[:7],), device)):
            np.testing.assert_allclose(posterior.deviations(asked), expected, rtol=1e-8)
    assert len(other.deviations(A[:0])) == 0
