"""Kernels of Triton where they can be compiled."""

from functools import cache


@cache
def fused_kernel(name, device_name):
    """A function of `fused`, or None on the CPU, without Triton or without a C compiler."""
    if device_name == "cpu":
        return None
    try:
        from skatom.models._torch import fused

        fused.try_out(name, device_name)
    except Exception:  # whatever a compiler and a driver may raise: torch's own operations do
        return None
    return getattr(fused, name)
