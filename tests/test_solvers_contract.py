"""What every solver promises; a new one is a case more."""

import pickle
import tracemalloc
from dataclasses import dataclass

import numba
import numpy as np
import pytest
from sklearn.exceptions import ConvergenceWarning
from threadpoolctl import threadpool_limits

from skatom.parallel import tree_reduce
from skatom.solvers import (
    LeastSquaresSystem,
    MatrixSystem,
    NormalEquations,
    NystromPreconditioner,
    PackedCholesky,
    StreamedQR,
    base,
    conjugate_gradients,
    orthogonal_least_squares,
)


def no_preconditioner(v):
    return v


class Cholesky:
    solver = PackedCholesky

    @staticmethod
    def solve(system, b):
        edges = [*range(0, len(b), max(1, len(b) // 3)), len(b)]
        cholesky = PackedCholesky(edges)
        cholesky.factor(system)
        return cholesky.solve(b)


class ConjugateGradients:
    solver = conjugate_gradients

    @staticmethod
    def solve(system, b):
        return conjugate_gradients(system, b, no_preconditioner, 1e-13, 500)[0]


class Nystrom:
    """The preconditioner of all columns is the inverse of the matrix."""

    solver = NystromPreconditioner

    @staticmethod
    def solve(system, b):
        return NystromPreconditioner.of(system, np.arange(len(b)))(b)


class QR:
    solver = StreamedQR
    n_columns = 9

    @classmethod
    def solve(cls, system, b=None):
        return StreamedQR(cls.n_columns).take(system).solve()


class Greedy:
    solver = orthogonal_least_squares
    n_columns = 9
    method = "gram"

    @classmethod
    def solve(cls, system, b=None):
        path = orthogonal_least_squares(system, cls.n_columns, method=cls.method)
        return path.coefficients(cls.n_columns)[np.argsort(path.support)]


class GreedySchmidt(Greedy):
    method = "gram-schmidt"


SQUARE = [Cholesky, ConjugateGradients, Nystrom]
TALL = [QR, Greedy, GreedySchmidt]
every_solver = pytest.mark.parametrize("case", SQUARE + TALL, ids=lambda case: case.__name__)


def positive_definite(n, seed=0):
    """K + 1 with K positive semidefinite, and a right side."""
    rng = np.random.default_rng(seed)
    half = rng.normal(size=(n, n))
    return half @ half.T / n + np.eye(n), rng.normal(size=n)


def tall(n=60, m=9, seed=0):
    rng = np.random.default_rng(seed)
    return rng.normal(size=(n, m)), rng.normal(size=n)


def problem(case):
    """A system of the kind that the solver is for, and its right side."""
    A, b = positive_definite(40) if case in SQUARE else tall()
    return (MatrixSystem(A) if case in SQUARE else LeastSquaresSystem(A, b)), A, b


def test_every_solver_is_among_the_cases():
    assert {case.solver for case in SQUARE + TALL} == set(base.SOLVERS)


@every_solver
def test_solution_is_that_of_numpy(case):
    system, A, b = problem(case)
    expected = np.linalg.lstsq(A, b, rcond=None)[0]
    np.testing.assert_allclose(case.solve(system, b), expected, rtol=1e-10, atol=1e-12)


@every_solver
def test_needs_that_it_declares_are_enough(case):
    system, _, b = problem(case)
    only = type("Only", (), {need: staticmethod(getattr(system, need)) for need in needs(case)})
    np.testing.assert_array_equal(case.solve(only(), b), case.solve(system, b))


def needs(case):
    assert case.solver.needs
    return case.solver.needs


@every_solver
def test_a_system_that_lacks_what_it_needs_is_refused(case):
    _, A, b = problem(case)
    other = LeastSquaresSystem(A, b) if case in SQUARE else MatrixSystem(A[: A.shape[1]])
    (need,) = case.solver.needs
    signature, what = base.WAYS[need]
    with pytest.raises(TypeError) as error:
        case.solve(other, b)
    assert str(error.value) == (
        f"{case.solver.__name__} needs {what}, which {type(other).__name__} does not give: "
        f"write its method {signature}, or use another solver"
    )


@every_solver
@pytest.mark.parametrize("number", [np.nan, np.inf])
@pytest.mark.parametrize("place", [(0, 0), (5, 3), (8, 8)])
@pytest.mark.filterwarnings("ignore:invalid value encountered")
def test_a_matrix_that_is_not_finite_is_refused(case, number, place):
    system, A, b = problem(case)
    A[place] = A[place[::-1]] = number
    with pytest.raises(ValueError, match="finite"):
        case.solve(system, b)


@pytest.mark.parametrize("case", [Cholesky, ConjugateGradients, *TALL])
@pytest.mark.filterwarnings("ignore:invalid value encountered")
def test_a_right_side_that_is_not_finite_is_refused(case):
    system, _, b = problem(case)
    b[7] = np.nan
    with pytest.raises(ValueError, match="finite"):
        case.solve(system, b)


@pytest.mark.parametrize("case", TALL)
def test_blocks_of_rows_that_do_not_agree_are_refused(case):
    A, b = tall()

    class System:
        def __init__(self, *blocks):
            self.given = blocks

        def blocks(self, columns):
            return iter(self.given)

    with pytest.raises(ValueError, match=r"rows \(60, 8\) and targets \(60,"):
        case.solve(System((A, b), (A[:, :-1], b)))
    with pytest.raises(ValueError, match=r"rows \(60, 9\) and targets \(59,"):
        case.solve(System((A, b[:-1])))


@pytest.mark.parametrize("method", ["gram", "gram-schmidt"])
def test_a_system_without_rows_is_refused(method):
    class Empty:
        def blocks(self, columns):
            return iter([])

    with pytest.raises(ValueError, match="no blocks of rows: give at least one"):
        orthogonal_least_squares(Empty(), 3, method=method)


def test_arrays_that_make_no_system_are_refused():
    with pytest.raises(ValueError, match=r"matrix has shape \(4, 3\): give a square one"):
        MatrixSystem(np.ones((4, 3)))
    with pytest.raises(ValueError, match=r"matrix has shape \(4, 3\) and the targets \(5,\)"):
        LeastSquaresSystem(np.ones((4, 3)), np.ones(5))


def test_right_sides_that_do_not_fit_the_matrix_are_refused():
    system = MatrixSystem(positive_definite(6)[0])
    cholesky = PackedCholesky([0, 6])
    cholesky.factor(system)
    with pytest.raises(ValueError, match=r"shape \(5,\), but the matrix has 6 rows"):
        cholesky.solve(np.ones(5))
    with pytest.raises(ValueError, match=r"right-hand side .*: give numbers of shape \(6,\)"):
        conjugate_gradients(system, np.ones((6, 1)), no_preconditioner, 1e-6, 10)
    with pytest.raises(ValueError, match=r"columns have shape \(6, 2\) and the index \(3,\)"):
        NystromPreconditioner(np.ones((6, 2)), np.arange(3))


@every_solver
def test_solution_is_equal_to_the_bit_for_any_number_of_threads(case):
    if case in SQUARE:
        A, b = positive_definite(700)
        system = MatrixSystem(A)
    else:
        A, b = tall(3000, 300)
        system = LeastSquaresSystem(A, b)
        case = type(case.__name__, (case,), {"n_columns": 300})
    solutions, threads = [], numba.get_num_threads()
    try:
        for count in (1, threads):
            numba.set_num_threads(count)
            with threadpool_limits(count, "blas"):
                solutions.append(case.solve(system, b))
    finally:
        numba.set_num_threads(threads)
    np.testing.assert_array_equal(*solutions)


class Diagonal:
    """A large system that allocates nothing but what it hands over."""

    def __init__(self, n):
        self.n = n
        self.diagonal = 1.0 + np.arange(n) / n

    def fill(self, start, stop, out):
        out[:] = 0.0
        np.fill_diagonal(out, self.diagonal[start:stop])

    def product(self, v):
        return self.diagonal * v

    def columns(self, index):
        columns = np.zeros((self.n, len(index)))
        columns[index, np.arange(len(index))] = self.diagonal[index]
        return columns


class FewRowsAtATime:
    def __init__(self, n_rows, n_columns):
        self.n_rows, self.n_columns = n_rows, n_columns

    def blocks(self, columns=slice(None)):
        rng = np.random.default_rng(0)
        for _ in range(self.n_rows // 50):
            yield rng.normal(size=(50, self.n_columns))[:, columns], rng.normal(size=50)


@dataclass
class Job:
    """Work, and the sizes by which a solver estimates its memory."""

    solver: object
    sizes: tuple
    work: object

    def __str__(self):
        return f"{self.solver.__name__}{self.sizes}"


def greedy_job(n_rows, n_columns, n_terms, method):
    system = FewRowsAtATime(n_rows, n_columns)
    return Job(
        orthogonal_least_squares,
        (n_rows, n_columns, n_terms, method),
        lambda: orthogonal_least_squares(system, n_terms, method=method),
    )


def cholesky_job(n, width):
    edges = [*range(0, n, width), n]

    def work():
        cholesky = PackedCholesky(edges)
        cholesky.factor(Diagonal(n))
        cholesky.solve(np.ones(n))

    return Job(PackedCholesky, (n, width), work)


def qr_job(n_columns, n_targets):
    def work():
        qr = StreamedQR(n_columns, n_targets)
        rng = np.random.default_rng(0)
        for _ in range(3):
            qr.update(rng.normal(size=(50, n_columns)), rng.normal(size=(50, n_targets)))

    return Job(StreamedQR, (n_columns, n_targets), work)


def nystrom_job(n, m):
    return Job(
        NystromPreconditioner,
        (n, m),
        lambda: NystromPreconditioner.of(Diagonal(n), np.arange(m))(np.ones(n)),
    )


def block_job(n, m, width):
    edges, block = np.arange(0, n + 1, width), 2.0 * np.eye(width)
    return Job(
        NystromPreconditioner,
        (n, m, width),
        lambda: NystromPreconditioner(
            Diagonal(n).columns(np.arange(m)), np.arange(m), edges,
            lambda start, stop: block.copy(),
        )(np.ones(n)),
    )  # fmt: skip


def cg_job(n):
    system, b = Diagonal(n), np.ones(n)
    return Job(
        conjugate_gradients,
        (n,),
        lambda: conjugate_gradients(system, b, no_preconditioner, 1e-6, 50),
    )


JOBS = [
    cholesky_job(2000, 500),
    cholesky_job(3000, 300),
    nystrom_job(20_000, 300),
    nystrom_job(2000, 1000),
    block_job(20_000, 200, 500),
    cg_job(500_000),
    qr_job(1500, 1),
    qr_job(900, 200),
    greedy_job(2000, 1500, 100, "gram"),
    greedy_job(1000, 800, 600, "gram"),
    greedy_job(20_000, 100, 50, "gram-schmidt"),
    greedy_job(300, 4000, 100, "gram-schmidt"),
]


def peak_of(work):
    """Bytes that it allocates at most; once before, for what stays in caches."""
    work()
    tracemalloc.start()
    try:
        work()
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("job", JOBS, ids=str)
def test_memory_is_estimated_to_a_quarter(job):
    assert job.solver.memory(*job.sizes) == pytest.approx(peak_of(job.work), rel=0.25)


def test_every_solver_has_its_memory_measured():
    assert {job.solver for job in JOBS} == set(base.SOLVERS)


def test_memory_of_normal_equations_is_estimated_to_a_quarter():
    equations = NormalEquations.of(FewRowsAtATime(50, 900).blocks())
    size = equations.gram.nbytes + equations.products.nbytes
    assert NormalEquations.memory(900) == pytest.approx(size, rel=0.25)


def qr_of(A, b):
    qr = StreamedQR(A.shape[1])
    qr.update(A, b)
    return qr


def qr_numbers(qr):
    R = qr.triangle
    signs = np.sign(R.diagonal())
    return signs[:, None] * R, signs[:, None] * qr.projections, qr.residuals, qr.solve(), qr.n_rows


def equations_of(A, b):
    return NormalEquations.of([(A, b)])


def equations_numbers(equations):
    return equations.gram, equations.products, equations.total


@dataclass
class Reduction:
    """What is made of some rows, and the numbers in it."""

    make: object
    numbers: object


reductions = pytest.mark.parametrize(
    "reduction",
    [
        pytest.param(Reduction(qr_of, qr_numbers), id="StreamedQR"),
        pytest.param(Reduction(equations_of, equations_numbers), id="NormalEquations"),
        pytest.param(Reduction(lambda A, b: A.T @ A, lambda gram: (gram,)), id="gram"),
    ],
)


class TestMerge:
    @reductions
    @pytest.mark.parametrize("n_parts", [2, 3, 8])
    def test_parts_make_the_whole(self, reduction, n_parts):
        A, b = tall(400, 30)
        rows = np.array_split(np.arange(400), n_parts)
        total = tree_reduce(reduction.make(A[part], b[part]) for part in rows)
        found, expected = (reduction.numbers(x) for x in (total, reduction.make(A, b)))
        for number, whole in zip(found, expected, strict=True):
            np.testing.assert_allclose(number, whole, rtol=1e-11, atol=1e-12)

    @reductions
    def test_parts_may_be_few_rows_and_stay_as_they_are(self, reduction):
        A, b = tall(400, 30)
        parts = [reduction.make(A[:395], b[:395]), reduction.make(A[395:], b[395:])]
        before = pickle.dumps(parts)
        tree_reduce(parts)
        assert pickle.dumps(parts) == before

    @reductions
    def test_pickled_parts_make_the_same_to_the_bit(self, reduction):
        A, b = tall(200, 30)
        parts = [reduction.make(A[:100], b[:100]), reduction.make(A[100:], b[100:])]
        sent = [pickle.loads(pickle.dumps(part)) for part in parts]
        for number, here in zip(
            reduction.numbers(tree_reduce(sent)), reduction.numbers(tree_reduce(parts)), strict=True
        ):
            np.testing.assert_array_equal(number, here)

    @pytest.mark.parametrize("make", [qr_of, equations_of])
    def test_parts_of_other_problems_are_refused(self, make):
        A, b = tall()
        with pytest.raises(ValueError, match="do not add up"):
            make(A, b).merge(make(A[:, :4], b))

    def test_prior_counts_once(self):
        A, b = tall()
        prior = np.triu(np.random.default_rng(1).normal(size=(9, 9)))
        whole, total = StreamedQR(9, prior=prior), StreamedQR(9, prior=prior)
        whole.update(A, b)
        for part in (slice(0, 4), slice(4, 60)):
            total = total.merge(qr_of(A[part], b[part]))
        assert (total.n_rows, total.has_prior) == (whole.n_rows, True)
        np.testing.assert_allclose(total.solve(), whole.solve(), rtol=1e-12)
        np.testing.assert_allclose(qr_of(A, b).merge(StreamedQR(9, prior=prior)).solve(),
                                   whole.solve(), rtol=1e-12)  # fmt: skip
        with pytest.raises(ValueError, match="would count twice"):
            total.merge(whole)

    def test_condition_number_is_not_squared(self):
        """1e-9 of the other columns is lost in AᵀA, but not in merged triangles."""
        A, b = tall(300, 6)
        A[:, 5] = A[:, 4] + 1e-9 * A[:, 5]
        x = np.arange(1.0, 7.0)
        total = tree_reduce(qr_of(A[k : k + 50], A[k : k + 50] @ x) for k in range(0, 300, 50))
        np.testing.assert_allclose(total.solve(), x, rtol=1e-5)


def test_pickle_of_a_factorisation_is_its_triangle():
    qr = qr_of(*tall(500, 300))
    n = 301
    assert len(pickle.dumps(qr)) < 8 * n * (n + 1) / 2 + 1000


class TestInterrupt:
    """An interrupt leaves all of a step, or nothing."""

    def test_rows_are_taken_all_or_none(self, monkeypatch):
        from skatom.solvers import streamed_qr

        A, b = tall(2000, 30)
        qr, calls = qr_of(A[:50], b[:50]), []

        def interrupted(factor, block):
            calls.append(1)
            if len(calls) == 3:
                raise KeyboardInterrupt
            return step(factor, block)

        before = pickle.dumps(qr)
        step = streamed_qr._factor_below
        monkeypatch.setattr(streamed_qr, "_factor_below", interrupted)
        with pytest.raises(KeyboardInterrupt):
            qr.update(A[50:], b[50:])
        assert pickle.dumps(qr) == before
        monkeypatch.undo()
        qr.update(A[50:], b[50:])
        np.testing.assert_allclose(qr.solve(), qr_of(A, b).solve(), rtol=1e-11, atol=1e-13)

    def test_a_factorisation_that_was_interrupted_does_not_solve(self):
        class System(MatrixSystem):
            def fill(self, start, stop, out):
                if start:
                    raise KeyboardInterrupt
                super().fill(start, stop, out)

        A, b = positive_definite(6)
        cholesky = PackedCholesky([0, 3, 6])
        for work in (lambda: None, lambda: cholesky.factor(MatrixSystem(A))):
            work()
            with pytest.raises(KeyboardInterrupt):
                cholesky.factor(System(A))
            with pytest.raises(ValueError, match="no factor of a matrix yet: call factor first"):
                cholesky.solve(b)

    def test_conjugate_gradients_return_what_they_have(self):
        class System(MatrixSystem):
            n_left = 5

            def product(self, v):
                self.n_left -= 1
                if not self.n_left:
                    raise KeyboardInterrupt
                return super().product(v)

        A, b = positive_definite(40)
        with pytest.warns(ConvergenceWarning, match="stopped after 4 iterations"):
            x, n_iter = conjugate_gradients(System(A), b, no_preconditioner, 1e-13, 500)
        assert n_iter == 4
        assert np.linalg.norm(A @ x - b) < 0.5 * np.linalg.norm(b)
