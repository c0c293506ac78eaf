"""Threads on this machine, joblib's jobs beyond it, and sums that do not depend on either.

Threads share the cores with BLAS instead of competing with it: `threads_over_blas` and
`serial_blas` are for matrix products, `run_in_threads` is for compiled loops. Work for other
processes or machines goes through `map_jobs`, and `tree_reduce` adds up its results.

Reproducibility
---------------
Work is cut into pieces that do not depend on the number of workers, each piece is computed by one
thread, and sums follow a fixed tree. Hence, within a process, results are equal to the bit for any
number of threads. Features made by compiled loops are equal to the bit between processes on one
kind of processor, too, whatever was cached or called before (`skatom._numba.compiler`). Between
processors, versions of numba and builds of BLAS, which may round in another order, features agree
to 1e-13 of their norm and predictions to 1e-10; those of a fit by conjugate gradients to what their
tolerance leaves open.
"""

from skatom._jobs import map_jobs, merged, reduce_jobs, tree_reduce, works_elsewhere
from skatom._threads import (
    ThreadTeam,
    available_threads,
    run_in_threads,
    serial_blas,
    small_steps,
    split_rows,
    split_sizes,
    threads_over_blas,
)

__all__ = [
    "ThreadTeam",
    "available_threads",
    "map_jobs",
    "merged",
    "reduce_jobs",
    "run_in_threads",
    "serial_blas",
    "small_steps",
    "split_rows",
    "split_sizes",
    "threads_over_blas",
    "tree_reduce",
    "works_elsewhere",
]
