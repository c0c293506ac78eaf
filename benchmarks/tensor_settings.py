"""Settings of many-body tensors, as the benchmark of global descriptors and its peer know them."""

PAIRS = {"low": 0.0, "high": 1.5, "n": 100, "sigma": 0.03, "decay": 0.5}
ANGLES = {"low": 0.0, "high": 180.0, "n": 100, "sigma": 4.0, "decay": 0.5}
# the smallest weight that counts
THRESHOLD = 1e-3
FINGERPRINTS = {
    "distance": {"n": 100, "sigma": 0.1, "cutoff": 8.0},
    "angle": {"n": 100, "sigma": 4.0, "cutoff": 4.0},
}
