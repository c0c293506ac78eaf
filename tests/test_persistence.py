"""Model files: whole or as they were, of known contents, and readable by joblib and skops."""

import io
import os
import signal
import stat
import subprocess
import sys
import threading
import zipfile
from pathlib import Path

import joblib
import numpy as np
import pytest
import skops.io
from models_under_contract import CASES, waters
from sklearn.dummy import DummyRegressor
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline

import skatom
from skatom._files import _SEAL, check_seal, write_seal
from skatom._prediction import predict, predictable
from skatom.descriptors import SOAP, InverseDistances
from skatom.metrics import neg_force_mae
from skatom.models import GDML, ForceKernelRidge

SUFFIXES = ("joblib", "skops")


@pytest.fixture(scope="module")
def structures():
    return waters()


@pytest.fixture(scope="module")
def model():
    structures, targets = CASES["gdml"].data()
    return GDML(sigma=3.0, alpha=1e-8).fit(structures, targets)


@pytest.fixture(params=SUFFIXES)
def path(request, tmp_path, model):
    """A file of the model."""
    path = tmp_path / f"model.{request.param}"
    skatom.save_model(model, path)
    return path


def same(found, expected, X):
    """Whether all that two models predict is equal to the bit."""
    names = [name for name in predictable(expected) if X.pbc.all() or "stress" not in name]
    first, second = predict(found, X, names), predict(expected, X, names)
    return all(np.array_equal(first[name], second[name]) for name in names)


def error_of(path):
    """The one sentence of a file that is refused."""
    with pytest.raises(ValueError) as error:
        skatom.load_model(path)
    message = str(error.value)
    assert message.startswith(str(path)) and "\n" not in message
    return message.removeprefix(str(path))


@pytest.fixture(scope="module", params=CASES)
def of_a_case(request):
    """A fitted model and some structures."""
    case = CASES[request.param]
    X, y = case.data()
    return case.make().fit(X, y), X[:2]


class TestEveryModel:
    @pytest.mark.parametrize("suffix", SUFFIXES)
    def test_is_saved(self, of_a_case, suffix, tmp_path):
        (model, X), path = of_a_case, tmp_path / f"model.{suffix}"
        skatom.save_model(model, path)
        assert same(skatom.load_model(path), model, X)

    @pytest.mark.parametrize("device", ["cpu", "torch"])
    @pytest.mark.parametrize("suffix", SUFFIXES)
    def test_of_a_device_in_a_pipeline_is_saved(self, device, suffix, tmp_path):
        if device == "torch":
            pytest.importorskip("torch")
        X, y = (data[:4] for data in CASES["kernel-ridge"].data())
        soap = SOAP(cutoff=3.5, n_max=3, l_max=2, device=device)
        model = make_pipeline(soap, ForceKernelRidge(alpha=1e-6)).fit(X, y)
        path = tmp_path / f"model.{suffix}"
        skatom.save_model(model, path)
        assert same(skatom.load_model(path), model, X[:2])

    @pytest.mark.parametrize("scoring", [None, neg_force_mae])
    @pytest.mark.parametrize("suffix", SUFFIXES)
    def test_in_a_search_is_saved(self, suffix, scoring, tmp_path):
        X, y = CASES["kernel-ridge-distances"].data()
        pipeline = make_pipeline(InverseDistances(), ForceKernelRidge())
        grid = {"forcekernelridge__alpha": [1e-4, 1e-6]}
        search = GridSearchCV(pipeline, grid, cv=2, scoring=scoring).fit(X, y)
        path = tmp_path / f"model.{suffix}"
        skatom.save_model(search, path)
        assert same(skatom.load_model(path), search, X[:2])


class TestChecksum:
    def test_is_ignored_by_joblib_and_skops(self, path, model, structures):
        if path.suffix == ".joblib":
            again = joblib.load(path)
        else:
            again = skops.io.load(path, trusted=skops.io.get_untrusted_types(file=path))
        assert same(again, model, structures)

    def test_finds_every_flipped_bit_before_anything_is_loaded(self, path, monkeypatch):
        content, rng = path.read_bytes(), np.random.default_rng(0)
        for module, name in ((joblib, "load"), (skops.io, "load")):
            monkeypatch.setattr(module, name, None)
        ends = 8 * len(content) - 1 - np.arange(1000)  # all bits of the checksum itself
        for bit in [*rng.integers(8 * len(content), size=200), *ends]:
            damaged = bytearray(content)
            damaged[bit // 8] ^= 1 << (bit % 8)
            path.write_bytes(damaged)
            assert "damaged" in error_of(path) or "it begins with" in error_of(path)

    def test_finds_every_truncation(self, path, model, structures):
        content, rng = path.read_bytes(), np.random.default_rng(0)
        ends = [*rng.integers(1, len(content), 40), *(len(content) - np.arange(1, 120))]
        for end in ends:
            path.write_bytes(content[:end])
            if path.suffix == ".joblib" and end == len(content) - _SEAL:  # a whole pickle
                assert same(skatom.load_model(path), model, structures)
                continue
            assert "cannot be read as a model: " in error_of(path)

    def test_of_a_large_file_is_that_of_its_contents(self, tmp_path):
        path = tmp_path / "large"
        path.write_bytes(bytes(3 * 2**20 + 17))
        assert not check_seal(path)
        write_seal(path)
        assert check_seal(path)

    @pytest.mark.parametrize("compress", [False, True])
    def test_is_not_needed(self, model, structures, tmp_path, compress):
        joblib.dump(model, tmp_path / "plain.joblib", compress=compress)
        skops.io.dump(model, tmp_path / "plain.skops")
        for name in ("plain.joblib", "plain.skops"):
            assert same(skatom.load_model(tmp_path / name), model, structures)


class TestForeignFiles:
    @pytest.mark.parametrize("suffix", SUFFIXES)
    def test_are_named(self, suffix, tmp_path):
        path = tmp_path / f"model.{suffix}"
        path.write_bytes(b"")
        assert error_of(path) == " cannot be read as a model: it is empty"
        path.write_bytes(b"\x89PNG\r\n\x1a\n" + bytes(100))
        assert r"it begins with b'\x89PNG\r\n\x1a\n', as a " in error_of(path)
        path.write_text("an essay")
        assert "it begins with b'an essay'" in error_of(path)
        path.unlink()
        path.mkdir()
        assert error_of(path) == " is a folder: give the name of a model file in it"

    def test_a_zip_archive(self, tmp_path):
        stream = io.BytesIO()
        with zipfile.ZipFile(stream, "w") as archive:
            archive.writestr("notes.txt", "nothing")
        for suffix, message in (("joblib", "it begins with b'PK"), ("skops", "no schema.json")):
            path = tmp_path / f"model.{suffix}"
            path.write_bytes(stream.getvalue())
            assert message in error_of(path)

    def test_a_pickle_of_something_else(self, tmp_path):
        joblib.dump({"sigma": 20}, tmp_path / "dict.joblib")
        assert "holds no model but an object of type dict" in error_of(tmp_path / "dict.joblib")
        skops.io.dump({"sigma": 20}, tmp_path / "dict.skops")
        assert "holds no model but an object of type dict" in error_of(tmp_path / "dict.skops")
        joblib.dump(DummyRegressor(), tmp_path / "new.joblib")
        assert "holds a DummyRegressor that is not fitted" in error_of(tmp_path / "new.joblib")

    def test_a_pickle_that_needs_a_missing_package(self, tmp_path):
        (tmp_path / "model.joblib").write_bytes(b"\x80\x04cno_such_package\nmodel\n.")
        assert "No module named 'no_such_package'" in error_of(tmp_path / "model.joblib")

    @pytest.mark.parametrize("suffix", SUFFIXES)
    def test_of_another_version(self, model, suffix, tmp_path, monkeypatch):
        path = tmp_path / f"model.{suffix}"
        with monkeypatch.context() as patch:
            patch.setattr("skatom.base.__version__", "99.1.0")
            skatom.save_model(model, path)
        assert "was saved by skatom 99.1.0 and cannot be read by" in error_of(path)

    def test_that_do_not_exist(self, tmp_path):
        with pytest.raises(FileNotFoundError, match="none.joblib: no such model file"):
            skatom.load_model(tmp_path / "none.joblib")


# Each ends a save after the first bytes of the new file are written.
def _full_disk(*args, **kwargs):
    raise OSError(28, "No space left on device")


def _interrupted(*args, **kwargs):
    raise KeyboardInterrupt


def _failing(*args, **kwargs):
    raise RuntimeError("broken")


class TestSavesThatFail:
    @pytest.mark.parametrize("failure", [_full_disk, _interrupted, _failing])
    @pytest.mark.parametrize("stage", ["skatom._persistence.write_seal", "os.fsync", "os.replace"])
    def test_leave_the_old_file_and_nothing_else(
        self, path, model, structures, failure, stage, monkeypatch
    ):
        other = GDML(sigma=9.0, alpha=1e-3).fit(*CASES["gdml"].data())
        monkeypatch.setattr(stage, failure)
        with pytest.raises((OSError, KeyboardInterrupt, RuntimeError)) as error:
            skatom.save_model(other, path)
        if failure is _full_disk:
            assert str(error.value) == (
                f"{path} could not be written: the disk is full; a file that was there before is "
                "as it was"
            )
        assert os.listdir(path.parent) == [path.name]
        assert same(skatom.load_model(path), model, structures)

    @pytest.mark.skipif(sys.platform == "win32", reason="limits of files are of POSIX")
    @pytest.mark.parametrize("suffix", SUFFIXES)
    def test_for_a_limit_of_the_system(self, model, structures, suffix, tmp_path):
        import resource

        path, before = tmp_path / f"model.{suffix}", resource.getrlimit(resource.RLIMIT_FSIZE)
        skatom.save_model(model, path)
        handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        try:
            resource.setrlimit(resource.RLIMIT_FSIZE, (1000, before[1]))
            with pytest.raises(OSError, match="could not be written: the file is larger"):
                skatom.save_model(model, path)
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, before)
            signal.signal(signal.SIGXFSZ, handler)
        assert same(skatom.load_model(path), model, structures)

    @pytest.mark.skipif(sys.platform == "win32", reason="kills with SIGKILL")
    @pytest.mark.thorough
    def test_for_a_killed_process(self, path, model, structures):
        code = f"""if True:
            import os, signal, skatom, skatom._persistence as persistence
            model = skatom.load_model({str(path)!r})
            persistence.write_seal = lambda *_, **__: os.kill(os.getpid(), signal.SIGKILL)
            skatom.save_model(model, {str(path)!r})"""
        assert subprocess.run([sys.executable, "-c", code]).returncode == -signal.SIGKILL
        assert same(skatom.load_model(path), model, structures)

    @pytest.mark.parametrize(
        ("name", "message"),
        [
            ("model.pickle", "a model file's name ends in .joblib or .skops"),
            ("no/model.joblib", "no does not exist or is not writable"),
            (".", "a model file's name ends in"),
        ],
    )
    def test_for_a_wrong_name(self, model, name, message, tmp_path):
        with pytest.raises(ValueError, match=message):
            skatom.save_model(model, tmp_path / name)
        (tmp_path / "folder.joblib").mkdir()
        with pytest.raises(ValueError, match="folder.joblib is a folder: give the name of a file"):
            skatom.save_model(model, tmp_path / "folder.joblib")

    def test_for_a_model_that_is_not_fitted(self, tmp_path):
        with pytest.raises(ValueError, match="holds a GDML that is not fitted yet: fit it, then"):
            skatom.save_model(GDML(), tmp_path / "model.joblib")
        with pytest.raises(ValueError, match="no model but an object of type SOAP"):
            skatom.save_model(SOAP(), tmp_path / "model.joblib")
        assert not os.listdir(tmp_path)

    @pytest.mark.parametrize("suffix", SUFFIXES)
    def test_for_contents_that_the_format_cannot_hold(self, model, suffix, tmp_path):
        strange = GDML(sigma=3.0, alpha=1e-8).fit(*CASES["gdml"].data())
        strange.note = threading.Lock()
        path = tmp_path / f"model.{suffix}"
        with pytest.raises(ValueError, match=f"a .{suffix} file cannot hold this model: .*lock"):
            skatom.save_model(strange, path)
        assert not path.exists()


@pytest.mark.skipif(sys.platform == "win32", reason="links and modes are of POSIX")
def test_a_link_and_the_mode_of_the_file_stay(path, model, structures):
    path.chmod(0o640)
    link = Path(path.parent, f"link{path.suffix}")
    link.symlink_to(path)
    skatom.save_model(model, link)
    assert link.is_symlink() and not path.is_symlink()
    assert stat.S_IMODE(path.stat().st_mode) == 0o640
    assert same(skatom.load_model(link), model, structures)
