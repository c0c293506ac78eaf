"""A training epoch and predictions of skatom's networks, for the benchmark neural."""

import time
from functools import partial

import numpy as np

from benchmarks.harness import peak_gib, repeated_within, touch_memory
from skatom import Structures, Targets
from skatom._prediction import predict
from skatom.models import PaiNN, SchNet
from skatom.models.neural.fitted_network import FittedNetwork
from skatom.models.neural.graph_training import GraphTraining

CLOCKS = {"s": time.perf_counter, "processor_s": time.process_time}
CUTOFF, N_GAUSSIANS = 5.0, 50


def network(task, **changes):
    """An estimator with the sizes of the peers' networks."""
    settings = {
        "cutoff": CUTOFF, "n_features": task["width"], "batch_size": task["batch"],
        "validation_fraction": 0, "random_state": 0, **changes,
    }  # fmt: skip
    if task["network"] == "painn":
        return PaiNN(**settings)
    gamma = 0.5 * ((N_GAUSSIANS - 1) / CUTOFF) ** 2
    return SchNet(n_rbf=N_GAUSSIANS, gamma=gamma, **settings)


def data(task):
    """The first frames of the file."""
    arrays, n = np.load(task["arrays"]), task["n"]
    structures = Structures.from_frames(arrays["z"], arrays["R"][:n])
    forces = arrays["F"][:n].reshape(-1, 3)
    return structures, Targets(arrays["E"][:n], forces, offsets=structures.offsets)


def measured(task):
    """Seconds of an epoch and of the prediction of all frames, memory of one batch of them."""
    import torch

    torch.set_num_threads(task["threads"])
    structures, targets = data(task)
    model = network(task, max_iter=1).fit(structures, targets)
    times = _epochs(model, task, structures, targets)
    for name, clock in CLOCKS.items():
        work = partial(model.predict, structures, return_forces=True)
        found = repeated_within(work, task["seconds"], 3, 50, clock)
        times[f"prediction_{name}"] = min(found)
    touch_memory(2**28)
    before = peak_gib()
    network(task, max_iter=1, batch_size=task["n"]).fit(structures, targets)
    return times | {"kib_per_atom": 2**20 * (peak_gib() - before) / len(structures.numbers)}


def _epochs(model, task, structures, targets):
    """The shortest epochs of a training, by both clocks, batches included."""
    times, iterate = [], GraphTraining._iterate

    def timed(training):
        begin = [clock() for clock in CLOCKS.values()]
        iterate(training)
        times.append([clock() - t for clock, t in zip(CLOCKS.values(), begin, strict=True)])

    GraphTraining._iterate = timed
    model.set_params(max_iter=10**6, max_time=2 * task["seconds"]).fit(structures, targets)
    GraphTraining._iterate = iterate
    return {f"epoch_{name}": best for name, best in zip(CLOCKS, np.min(times, 0), strict=True)}


def with_weights(task):
    """Energies and forces with weights that all contribute, which are written to a file."""
    structures, targets = data(task)
    model = network(task, max_iter=1, dtype="float64").fit(structures, targets)
    fitted, rng = model.network_, np.random.RandomState(0)
    first = fitted.architecture.initial(rng)
    weights = {
        name: first.get(name, 0.1) + 0.1 * rng.normal(size=values.shape)
        for name, values in fitted.weights.items()
    }
    constants = np.zeros_like(fitted.constants)
    model.network_ = FittedNetwork(
        fitted.architecture, fitted.head, weights, 1.0, constants, fitted.species
    )
    np.savez(task["weights"], species=fitted.species, **weights)
    found = predict(model, structures, {"energy", "forces"})
    np.savez(task["out"], energies=found["energy"], forces=found["forces"])
    return {"n_weights": sum(map(np.size, weights.values()))}
