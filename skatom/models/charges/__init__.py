"""Models of charges that are learnt from dipoles."""
