"""Kernels of Triton where they can be compiled."""

from functools import cache
from importlib import import_module


@cache
def fused_kernels(name, device_name):
    """The module ``fused_name``, or None on the CPU, without Triton or without a C compiler."""
    if device_name == "cpu":
        return None
    try:
        module = import_module(f"skatom.descriptors._torch.fused_{name}")
        module.try_out(device_name)
    except Exception:  # whatever a compiler and a driver may raise: torch's own operations do
        return None
    return module
