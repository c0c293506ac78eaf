"""Farthest point sampling says what memory it needs."""

import numpy as np
import pytest

from skatom import memory
from skatom.selection import FarthestPointSampling


def test_memory_of_distances_is_checked(monkeypatch):
    monkeypatch.setattr(memory, "available_memory", lambda: 2**20)
    points = np.arange(40000.0)[:, None]
    with pytest.raises(MemoryError, match="distances of 40000 samples .* select among fewer"):
        FarthestPointSampling(2, axis="samples", first=0).fit(points)
