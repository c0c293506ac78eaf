"""Networks of graphs on tensors: architectures, heads, derivatives and training."""
