"""Fitted models in MLIPAudit, by the file that its command line takes."""

import json
import re
import sys
from pathlib import Path

import joblib
import pytest

from skatom.datasets import load_ethanol
from skatom.models import SGDML

pytest.importorskip("mlipaudit", reason="MLIPAudit is not installed")

GUIDE = Path(__file__).parents[1] / "docs" / "guide" / "lammps.md"


def file_of_the_guide():
    """The Python file that the guide shows."""
    section = GUIDE.read_text(encoding="utf-8").split("## MLIPAudit")[1]
    return re.search(r"```text\n(.*?mlipaudit_external_model.*?)```", section, re.DOTALL)[1]


def test_the_file_of_the_guide_runs_a_benchmark(tmp_path, monkeypatch):
    """Dynamics at constant energy; the molecule takes the place of the benchmark's own."""
    from mlipaudit.main import main

    monkeypatch.chdir(tmp_path)
    data = load_ethanol()
    model = SGDML(random_state=0).fit(data.structures[:100], data.targets[:100])
    joblib.dump(model, "ethanol.joblib")
    Path("audited.py").write_text(file_of_the_guide(), encoding="utf-8")
    folder = tmp_path / "data" / "nve_energy_conservation"
    folder.mkdir(parents=True)
    data.structures[300:301].to_ase()[0].write(folder / "small_molecule_HCNO.xyz")
    arguments = "mlipaudit benchmark -m audited.py -o found -rm dev -b nve_energy_conservation"
    monkeypatch.setattr(sys, "argv", arguments.split())
    main()
    result = json.loads(Path("found/audited/nve_energy_conservation/result.json").read_text())
    (molecule,) = result["structure_results"]
    assert molecule["num_atoms"] == 9 and not molecule["skipped"] and not molecule["failed"]
    assert molecule["kinetic_energy_std_ev"] > 0
    assert abs(molecule["total_drift_ev"]) < 1e-3 * 9
    assert result["score"] == pytest.approx(1.0)
