"""Loops of FCHL18 over environments; see `skatom.kernels.FCHL18` for the formulas."""
