"""Steps of the preconditioner on tensors."""

import torch


def factor(matrix):
    """The lower Cholesky factor, None if the matrix has none."""
    lower, failed = torch.linalg.cholesky_ex(matrix)
    return None if failed else lower


def divide_rows(rows, lower):
    """Multiply rows by L⁻ᵀ from the right, in place."""
    rows.copy_(torch.linalg.solve_triangular(lower.T, rows, upper=True, left=False))


def inverse(lower):
    """L⁻¹."""
    unit = torch.eye(len(lower), dtype=lower.dtype, device=lower.device)
    return torch.linalg.solve_triangular(lower, unit, upper=False)
