"""The loops of `skatom.kernels._cpu` on tensors; imported only for features on a device."""
