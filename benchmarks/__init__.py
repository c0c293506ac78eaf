"""Benchmarks of skatom: ``python -m benchmarks`` lists them."""
