"""A training epoch and predictions of skatom's networks beside peers, for the benchmark neural."""

import json
import tempfile
import time
from functools import partial
from pathlib import Path

import numpy as np

from benchmarks.harness import (
    finished,
    own,
    peer_python,
    peer_script,
    repeated_within,
    run_worker,
    table,
    used,
)
from skatom import Structures, Targets
from skatom._prediction import predict
from skatom.models import PaiNN, SchNet
from skatom.models.neural.fitted_network import FittedNetwork
from skatom.models.neural.graph_training import GraphTraining

CLOCKS = {"s": time.perf_counter, "processor_s": time.process_time}
CUTOFF, N_GAUSSIANS = 5.0, 50


EPOCHS = 6
PEERS = {"schnet": ("schnetpack", "pyg"), "painn": ("schnetpack",)}


def compare(options, train):
    """Print differences with equal weights, then times and memory of skatom and of the peers."""
    structures, targets = train
    with tempfile.TemporaryDirectory() as folder:
        shape = len(structures), -1, 3
        np.savez(
            Path(folder, "frames.npz"), z=structures.numbers[: structures.n_atoms[0]],
            R=structures.positions.reshape(shape), F=targets.forces.reshape(shape),
            E=targets.energy - targets.energy.mean(),
        )  # fmt: skip
        task = {
            "network": options.network, "arrays": str(Path(folder, "frames.npz")),
            "n": options.frames, "batch": options.batch_size, "width": options.width,
            "threads": options.threads, "seconds": 1.0 if options.device == "cuda" else 5.0,
            "what": "speed", "device": options.device,
            "weights": str(Path(folder, "weights.npz")),
        }  # fmt: skip
        _agreement(task | {"what": "agreement", "n": 6}, folder)
        _speed(task)


def _commands(task):
    """Our command and those of the peers, by name."""
    function = with_weights if task["what"] == "agreement" else measured
    commands = {"skatom": own(function, task)}
    for peer in PEERS[task["network"]]:
        given = json.dumps(task | {"peer": peer})
        commands[peer] = peer_python("neural"), peer_script("neural_networks.py"), given
    return commands


def _agreement(task, folder):
    found = {}
    task["out"] = str(Path(folder, "found.npz"))
    for name, command in _commands(task).items():
        run_worker(command, task["threads"])
        found[name] = dict(np.load(task["out"]))
    for name in PEERS[task["network"]]:
        differences = [
            np.abs(found[name][k] - values).max() / np.abs(values).max()
            for k, values in found["skatom"].items()
        ]
        print("  {}: energies and forces differ by {:.0e} and {:.0e}".format(name, *differences))


def _speed(task):
    rows, first = [], None
    for name, command in _commands(task).items():
        found = run_worker(command, task["threads"])
        first = first or found
        row = [name]
        for what in ("epoch", "prediction"):
            for clock in CLOCKS:
                seconds = found[f"{what}_{clock}"]
                row.append(f"{seconds:.3f} ({seconds / first[f'{what}_{clock}']:.1f})")
        rows.append([*row, f"{found['kib_per_atom']:.0f}", f"{found['foreign_cores']:.1f}"])
    table(
        f"{task['n']} frames, seconds (and ratios), KiB for each atom of a training batch of all",
        ["", "epoch", "processor", "prediction", "processor", "KiB", "foreign cores"], rows,
    )  # fmt: skip


def network(task, **changes):
    """An estimator with the sizes of the peers' networks."""
    settings = {
        "cutoff": CUTOFF, "n_features": task["width"], "batch_size": task["batch"],
        "device": task["device"], "validation_fraction": 0, "random_state": 0, **changes,
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
    whole = network(task, max_iter=1, batch_size=task["n"])
    grown = used(partial(whole.fit, structures, targets), task["device"])
    return times | {"kib_per_atom": grown / 1024 / len(structures.numbers)}


def _epochs(model, task, structures, targets):
    """The shortest epochs of a training, by both clocks, batches included."""
    times, iterate = [], GraphTraining._iterate

    def timed(training):
        begin = [clock() for clock in CLOCKS.values()]
        finished(partial(iterate, training), task["device"])
        times.append([clock() - t for clock, t in zip(CLOCKS.values(), begin, strict=True)])

    GraphTraining._iterate = timed
    model.set_params(max_iter=EPOCHS).fit(structures, targets)
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
