"""Loops of models as operations on tensors; imported only when a device of torch is used."""
