"""Gaussian processes of pairs and triangles, and their tables."""
