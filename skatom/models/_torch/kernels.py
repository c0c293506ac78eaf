"""Kernels of Triton where they can be compiled."""

from functools import cache


@cache
def fused_kernels(device_name):
    """The module of kernels `fused`, or None on the CPU, without Triton or without a C compiler."""
    if device_name == "cpu":
        return None
    try:
        from skatom.models._torch import fused

        fused.try_out(device_name)
    except Exception:  # whatever a compiler and a driver may raise: torch's own operations do
        return None
    return fused
