import numpy as np
import pytest

from skatom.solvers import MatrixSystem, PackedCholesky


def positive_definite(n, seed=0):
    half = np.random.default_rng(seed).normal(size=(n, n))
    return half @ half.T + np.eye(n)


@pytest.mark.parametrize("edges", [[0, 7], [0, 3, 7], [0, 1, 2, 5, 7]])
def test_solution_for_any_partition_into_columns(edges):
    A, b = positive_definite(7), np.arange(7.0)

    class System:
        def fill(self, start, stop, out):
            out[:] = A[start:, start:stop]
            out[: stop - start][np.triu_indices(stop - start, 1)] = np.nan  # must not be read

    solver = PackedCholesky(edges)
    solver.factor(System())
    np.testing.assert_allclose(A @ solver.solve(b), b, atol=1e-12)


def test_columns_wider_than_a_tile():
    A, b = positive_definite(900), np.arange(900.0)
    solver = PackedCholesky([0, 300, 310, 900])
    solver.factor(MatrixSystem(A))
    np.testing.assert_allclose(A @ solver.solve(b), b, atol=1e-8)


def test_threads_do_not_wait_for_tiles_above_which_a_block_has_failed():
    A = positive_definite(600)
    A[320, 320] = -1.0
    solver = PackedCholesky(np.arange(0, 601, 40))
    with pytest.raises(np.linalg.LinAlgError, match="not positive definite at row 321"):
        solver.factor(MatrixSystem(A))
    with pytest.raises(ValueError, match="no factor"):
        solver.solve(np.ones(600))


@pytest.mark.parametrize("shape", [(70,), (70, 1), (70, 200)])
def test_right_sides_have_the_solutions_that_each_has(shape):
    A, b = positive_definite(70), np.random.default_rng(1).normal(size=shape)
    solver = PackedCholesky([0, 30, 70])
    solver.factor(MatrixSystem(A))
    x = solver.solve(b)
    assert x.shape == shape
    np.testing.assert_allclose(A @ x, b, atol=1e-11)


@pytest.mark.parametrize("edges", [[0, 70], [0, 30, 70], [0, 7, 8, 50, 70]])
def test_squares_of_the_half_solution_are_those_of_the_inverse(edges):
    A, b = positive_definite(70), np.random.default_rng(1).normal(size=(70, 90))
    solver = PackedCholesky(edges)
    solver.factor(MatrixSystem(A))
    half = solver.half_solve(b)
    np.testing.assert_allclose(half.T @ half, b.T @ np.linalg.solve(A, b), atol=1e-9)
    np.testing.assert_allclose(half, np.linalg.solve(np.linalg.cholesky(A), b), atol=1e-10)
    np.testing.assert_array_equal(solver.half_solve(b[:, 3]), solver.half_solve(b[:, 3:4])[:, 0])


def test_a_factor_moves_between_devices():
    pytest.importorskip("torch")
    A, b = positive_definite(70), np.random.default_rng(1).normal(size=(70, 9))
    solver = PackedCholesky([0, 30, 70])
    assert solver.to("torch").to("cpu")._columns is None
    solver.factor(MatrixSystem(A))
    there = solver.to("torch")
    back = there.to("cpu")
    for one, other in ((solver, there), (solver, back)):
        np.testing.assert_allclose(other.solve(b), one.solve(b), rtol=1e-11, atol=1e-13)
        np.testing.assert_allclose(other.half_solve(b), one.half_solve(b), rtol=1e-11, atol=1e-13)
        np.testing.assert_allclose(other.half_solve(b[:, 0]), one.half_solve(b[:, 0]), atol=1e-13)


def test_what_a_system_leaves_above_the_diagonal_is_zero():
    """It is subtracted with the rest, so it must not be whatever was in the memory before."""
    A, seen = positive_definite(8), []

    class System:
        def fill(self, start, stop, out):
            rows, columns = np.tril_indices(len(out), 0, stop - start)
            seen.append(out[np.triu_indices(stop - start, 1)].copy())
            out[rows, columns] = A[start:, start:stop][rows, columns]

    used = [np.full((8, 4), np.inf) for _ in range(50)]
    del used
    solver = PackedCholesky([0, 4, 8])
    solver.factor(System())
    assert not np.concatenate(seen).any()
    np.testing.assert_allclose(A @ solver.solve(np.ones(8)), np.ones(8), atol=1e-12)


def test_memory_is_that_of_a_triangle():
    n, width, held = 4000, 100, []

    class System:
        def fill(self, start, stop, out):
            held.append(out.nbytes)
            out[:] = 0.0
            np.fill_diagonal(out, 1.0)

    PackedCholesky(np.arange(0, n + 1, width)).factor(System())
    assert sum(held) == PackedCholesky.memory(n, width) == 8 * n * (n + width) // 2


def test_an_indefinite_matrix_is_refused():
    A = np.diag([1.0, -1.0, 1.0])
    solver = PackedCholesky([0, 1, 3])
    with pytest.raises(np.linalg.LinAlgError, match="not positive definite at row 2"):
        solver.factor(MatrixSystem(A))


def test_row_of_a_number_that_is_not_finite_is_named():
    A = positive_definite(9)
    A[7, 2] = np.nan
    with pytest.raises(ValueError, match="row 7 of the matrix has a number that is not finite"):
        PackedCholesky([0, 4, 9]).factor(MatrixSystem(A))


class TestOnADevice:
    """torch on the CPU: the same factor in tensors."""

    @pytest.fixture(autouse=True)
    def torch(self):
        return pytest.importorskip("torch")

    @staticmethod
    def of_matrix(A):
        class System:
            def fill(self, start, stop, out):
                out.copy_(out.new_tensor(A[start:, start:stop]))
                above = np.triu_indices(stop - start, 1)
                out[above] = float("nan")  # must not be read

        return System()

    @pytest.fixture(params=[512, 16, 7])
    def panel(self, request, monkeypatch):
        monkeypatch.setattr("skatom.solvers._torch.cholesky._PANEL", request.param)
        monkeypatch.setattr("skatom.solvers._torch.cholesky._ROWS", 20)

    @pytest.mark.parametrize("edges", [[0, 70], [0, 3, 40, 70], [0, 1, 2, 69, 70]])
    @pytest.mark.parametrize("shape", [(70,), (70, 5)])
    def test_solution_is_that_of_numpy(self, torch, panel, edges, shape):
        A, b = positive_definite(70), np.random.default_rng(1).normal(size=shape)
        solver = PackedCholesky(edges, device="torch")
        solver.factor(self.of_matrix(A))
        x = solver.solve(b)
        np.testing.assert_allclose(A @ x, b, atol=1e-11)
        tensor = solver.solve(torch.tensor(b))
        assert torch.is_tensor(tensor)
        np.testing.assert_array_equal(tensor.numpy(), x)

    def test_memory_is_that_of_a_triangle_and_a_little(self):
        n, width, held = 2000, 100, []

        class System:
            def fill(self, start, stop, out):
                held.append(out.untyped_storage().nbytes())
                out.zero_()
                out.diagonal().fill_(1.0)

        PackedCholesky(np.arange(0, n + 1, width), device="torch").factor(System())
        assert sum(held) < 1.13 * PackedCholesky.memory(n, width)  # rows of 100 begin every 112

    @pytest.mark.parametrize("width", [512, 2])
    def test_errors_are_those_of_numpy(self, monkeypatch, width):
        monkeypatch.setattr("skatom.solvers._torch.cholesky._PANEL", width)

        def factor(A, edges=(0, 4, 9)):
            solver = PackedCholesky(edges, device="torch")
            solver.factor(self.of_matrix(A))
            return solver

        A = positive_definite(9)
        with pytest.raises(ValueError, match="has shape .8,., but the matrix has 9 rows"):
            factor(A).solve(np.ones(8))
        with pytest.raises(ValueError, match="right-hand side has numbers that are not finite"):
            factor(A).solve(np.full(9, np.inf))
        A[7, 2] = np.nan
        with pytest.raises(ValueError, match="row 7 of the matrix has a number that is not finite"):
            factor(A)
        with pytest.raises(np.linalg.LinAlgError, match="not positive definite at row 6"):
            factor(np.diag([1.0] * 5 + [-1.0] + [1.0] * 3))
