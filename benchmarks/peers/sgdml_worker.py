"""Train and predict with sGDML; runs in the peer's environment. See the benchmark sgdml."""

import contextlib
import json
import logging
import sys
import time
from pathlib import Path

import numpy as np

sys.path.append(str(Path(__file__).parents[2]))

from sgdml.predict import GDMLPredict
from sgdml.train import GDMLTrain
from sgdml.utils import io

from benchmarks.harness import peak_gib, report, timed, touch_memory


def data_set(arrays):
    """The arrays in the layout that sGDML wants."""
    data = {
        "type": "d",
        "code_version": "1.0.3",
        "name": np.array("ethanol"),
        "theory": np.array("unknown"),
        "r_unit": np.array("Ang"),
        "e_unit": np.array("eV"),
        "z": arrays["z"].astype(np.uint8),
        "R": arrays["R"],
        "E": arrays["E"],
        "F": arrays["F"],
    }
    for key in "EF":
        values = data[key]
        figures = {"min": values.min(), "max": values.max(), "mean": values.mean()}
        data.update({f"{key}_{name}": value for name, value in figures.items()})
        data[f"{key}_var"] = values.var()
    data["md5"] = io.dataset_md5(data)
    return data


def main(task):
    logging.disable(logging.INFO)
    arrays = np.load(task["arrays"])
    data = data_set(arrays)
    trainer = GDMLTrain(max_processes=task["threads"], use_torch=False)
    np.random.seed(0)  # noqa: NPY002, the peer draws from the global generator
    begin = time.perf_counter()
    job = trainer.create_task(data, len(arrays["train"]), data, 50, sig=20, lam=1e-10)
    search = time.perf_counter() - begin
    job["idxs_train"] = arrays["train"]
    job["R_train"], job["F_train"] = data["R"][arrays["train"]], data["F"][arrays["train"]]
    job["E_train"] = data["E"][arrays["train"]]
    assembly = []
    assemble = trainer._assemble_kernel_mat

    def timed_assembly(*args, **kwargs):
        seconds, kernel = timed(lambda: assemble(*args, **kwargs))
        assembly.append(seconds)
        return kernel

    trainer._assemble_kernel_mat = timed_assembly
    touch_memory(task["touch"])
    train, model = timed(lambda: trainer.train(job))
    peak = peak_gib()
    queries = arrays["R"][arrays["test"]].reshape(len(arrays["test"]), -1)
    times = []
    for processes in {1, task["threads"]}:  # small molecules gain nothing from its pool
        predictor = GDMLPredict(model, use_torch=False, max_processes=processes)
        predictor.prepare_parallel(n_bulk=len(queries))
        seconds, (energies, forces) = timed(lambda p=predictor: p.predict(queries), 5)
        times.append(seconds)
    predictor = GDMLPredict(model, use_torch=False, max_processes=1)
    single, _ = timed(lambda: predictor.predict(queries[:1]), 50)
    np.savez(task["out"], E=energies, F=forces.reshape(len(queries), -1, 3), perms=job["perms"])
    report(
        search_s=search, assembly_s=sum(assembly), fit_s=train, predict_s=min(times),
        single_s=single, peak_gib=peak,
    )  # fmt: skip


if __name__ == "__main__":
    with contextlib.redirect_stdout(sys.stderr):
        task = json.loads(sys.argv[1])
    main(task)
