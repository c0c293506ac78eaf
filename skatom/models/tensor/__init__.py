"""Kernel models of vectors and tensors."""
