"""Kernel ridge regression of energies, forces and dipoles."""
