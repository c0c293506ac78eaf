"""Sparse Gaussian processes of atomic environments."""
