"""Packages in each other's way: found through what is installed, and mended by the command that is named."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from facecli import installation
from facecli.installation import Conflict, explain_import_error, find_conflicts, pip

PIP = f"{sys.executable} -P -m pip"


@pytest.fixture
def install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Let nothing but the named packages be installed, and the module onnxruntime be that of `winner`."""

    def put(*packages: str, winner: str = "") -> None:
        for package in packages:
            name, version = package.split("==")
            info = tmp_path / f"{name.replace('-', '_')}-{version}.dist-info"
            info.mkdir()
            (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n")
        if winner:
            name, version = winner.split("==")
            (tmp_path / "onnxruntime/capi").mkdir(parents=True)
            (tmp_path / "onnxruntime/__init__.py").touch()
            (tmp_path / "onnxruntime/capi/build_and_package_info.py").write_text(f"package_name = '{name}'\n__version__ = '{version}'\n")
        monkeypatch.setattr(sys, "path", [str(tmp_path)])
        monkeypatch.delitem(sys.modules, "onnxruntime", raising=False)
        monkeypatch.delitem(sys.modules, "faiss", raising=False)
        monkeypatch.delitem(sys.modules, "pip", raising=False)
        monkeypatch.setattr(installation, "pip", lambda *arguments: ("pip", *arguments))

    return put


SOUND = ("faiss-cpu==1.15.1", "opencv-python-headless==5.0.0", "onnxruntime==1.32.0")


def mends(found: list[Conflict]) -> list[str]:
    return [conflict.mend for conflict in found]


def test_this_environment_is_sound() -> None:
    assert find_conflicts() == []


def test_headless_opencv_alone_is_sound_although_insightface_asks_for_the_other(install: Callable[..., None]) -> None:
    install(*SOUND, "insightface==2.1")
    assert find_conflicts() == []


def test_opencv_twice_is_named_with_its_command(install: Callable[..., None]) -> None:
    install(*SOUND, "opencv-python==5.0.0")
    (found,) = find_conflicts()
    assert found.what == "opencv-python 5.0.0 and opencv-python-headless 5.0.0 overwrite each other"
    assert found.mend == "pip uninstall -y opencv-python opencv-python-headless && pip install opencv-python-headless"


def test_a_gpu_runtime_under_the_plain_one_is_put_on_top(install: Callable[..., None]) -> None:
    install(*SOUND, "onnxruntime-gpu==1.32.0", winner="onnxruntime==1.32.0")
    (found,) = find_conflicts()
    assert "the files are those of onnxruntime 1.32.0" in found.what
    assert found.mend == "pip install --force-reinstall --no-deps onnxruntime-gpu==1.32.0"


def test_a_gpu_runtime_whose_files_won_is_sound(install: Callable[..., None]) -> None:
    install(*SOUND, "onnxruntime-gpu==1.32.0", winner="onnxruntime-gpu==1.32.0")
    assert find_conflicts() == []


def test_an_older_gpu_runtime_that_was_overwritten_by_a_newer_one_of_its_kind_is_found(install: Callable[..., None]) -> None:
    install(*SOUND, "onnxruntime-gpu==1.32.0", winner="onnxruntime-gpu==1.31.0")
    assert mends(find_conflicts()) == ["pip install --force-reinstall --no-deps onnxruntime-gpu==1.32.0"]


def test_two_special_runtimes_come_down_to_one(install: Callable[..., None]) -> None:
    install("faiss-cpu==1.15.1", "opencv-python==5.0.0", "onnxruntime-gpu==1.32.0", "onnxruntime-directml==1.24.4")
    assert mends(find_conflicts()) == ["pip uninstall -y onnxruntime-directml onnxruntime-gpu && pip install onnxruntime-directml==1.24.4"]


def test_faiss_twice_and_not_at_all(install: Callable[..., None]) -> None:
    install("onnxruntime==1.32.0")
    assert mends(find_conflicts()) == ["pip install faiss-cpu"]
    install("faiss-cpu==1.15.1", "faiss-gpu==1.15.1")
    assert mends(find_conflicts()) == ["pip uninstall -y faiss-cpu faiss-gpu && pip install faiss-gpu==1.15.1"]


def test_a_library_that_opencv_lacks_becomes_one_line_with_the_fix() -> None:
    error = ImportError("libGL.so.1: cannot open shared object file: No such file or directory", name="cv2")
    told = explain_import_error(error)
    assert told is not None
    assert str(told) == "OpenCV cannot be loaded, for it needs a library of the system: libGL.so.1"
    assert told.hint == f"{PIP} uninstall -y opencv-python-headless && {PIP} install opencv-python-headless"


def test_a_broken_opencv_is_installed_anew() -> None:
    told = explain_import_error(ImportError("/site-packages/cv2/cv2.abi3.so: file too short", name="cv2"))
    assert told is not None
    assert told.what == "OpenCV cannot be loaded"
    assert told.hint.endswith("install opencv-python-headless")


@pytest.mark.parametrize("name", ["cv2", None])
def test_what_memory_lacks_no_installation_mends(name: str | None) -> None:
    told = explain_import_error(ImportError("libaom.so.3: failed to map segment from shared object", name=name))
    assert told is not None
    assert (told.where, told.hint) == ("libaom.so.3: failed to map segment from shared object", "")


def test_a_missing_module_is_named_with_its_package() -> None:
    told = explain_import_error(ModuleNotFoundError("No module named 'faiss'", name="faiss"))
    assert told is not None
    assert (str(told), told.hint) == ("a library is missing: faiss", f"{PIP} install faiss-cpu")


@pytest.mark.parametrize(
    "error",
    [
        ImportError("cannot import name 'x'"),
        ImportError("libfoo.so: cannot open shared object file", name="foo"),
        ModuleNotFoundError("x", name="facecli.x"),
    ],
)
def test_other_import_errors_stay_what_they_are(error: ImportError) -> None:
    assert explain_import_error(error) is None


def test_an_environment_without_pip_is_mended_by_uv(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda _: None)
    assert pip("uninstall", "-y", "one") == ("uv", "pip", "uninstall", "--python", sys.executable, "one")
