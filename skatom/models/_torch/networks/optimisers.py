"""Steps along the slopes of a loss, of tensors alone, so that they can be recorded."""

import torch

# Decay of the means of the slopes and of their squares, and the smallest root of the latter.
_MEAN, _SQUARE, _SMALLEST = 0.9, 0.999, 1e-8


class AdamSteps:
    """Steps along the mean slope, divided by the root of its mean square."""

    def __init__(self, theta):
        self.tensors = {"mean": torch.zeros_like(theta), "square": torch.zeros_like(theta)}

    def step(self, theta, slope, rate, time):
        """Change theta; ``time`` is the number of steps, this one included."""
        mean, square = self.tensors["mean"], self.tensors["square"]
        mean.lerp_(slope, 1 - _MEAN)
        square.mul_(_SQUARE).addcmul_(slope, slope, value=1 - _SQUARE)
        root = (square / (1 - _SQUARE**time)).sqrt_().add_(_SMALLEST)
        theta.sub_(mean / root * (rate / (1 - _MEAN**time)))


class MomentumSteps:
    """Steps along a sum of slopes, of which the older ones fade."""

    def __init__(self, theta):
        self.tensors = {"sum": torch.zeros_like(theta)}

    def step(self, theta, slope, rate, time):
        """Change theta."""
        total = self.tensors["sum"].mul_(_MEAN).add_(slope)
        theta.sub_(total * rate)
