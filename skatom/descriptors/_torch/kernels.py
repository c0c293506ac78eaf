"""Kernels of Triton where they can be compiled."""

from functools import cache


@cache
def fused_kernels(device_name):
    """The module `fused_soap`, or None on the CPU, without Triton or without a C compiler."""
    if device_name == "cpu":
        return None
    try:
        from skatom.descriptors._torch import fused_soap

        fused_soap.try_out(device_name)
    except Exception:  # whatever a compiler and a driver may raise: torch's own operations do
        return None
    return fused_soap
