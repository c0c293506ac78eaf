"""Stability of compounds: convex hulls of formation energies, and screening of candidates."""

from skatom.stability.phase_diagram import PhaseDiagram
from skatom.stability.screening import Screening, screen

__all__ = ["PhaseDiagram", "Screening", "screen"]
