"""Linear algebra on tensors; imported only when a device of torch is used."""
