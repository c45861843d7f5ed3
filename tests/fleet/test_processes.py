"""Workers in processes of their own: the same index to the bit, whatever happens to them, and none outlives the run."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from conftest import Shell
from indexes import PATIENCE, command_of, contents, count_photos, is_alive, processes_below, reach, wait_for
from notes import Notes
from PIL import Image

from facecli.config import IndexOptions
from facecli.errors import FacecliError, UsageError
from facecli.fleet import processes
from facecli.indexing import engines
from facecli.indexing.index_photos import index_photos
from facecli.indexing.request import IndexRequest
from facecli.store.reader import open_reader
from facecli.types import IndexReport
from facecli.vision.devices.select import CPU, Device

PATCH = """
import os
from facecli.photos.decode import PhotoReader
decode = PhotoReader.decode
def deadly(self, contents, *, isolated=False):
    name = os.path.basename(contents.file.path)
    if name.startswith("poison") or (name.startswith("bitter") and not isolated):
        os.kill(os.getpid(), 9)
    return decode(self, contents, isolated=isolated)
PhotoReader.decode = deadly
"""

NO_DEVICE = """
from facecli.errors import FacecliError, UsageError
from facecli.pipeline import chunk_worker
def refuse(name):
    raise UsageError("no device here", name, hint="plug it in")
chunk_worker.find_devices = refuse
"""

LACKING = """
from facecli.pipeline import chunk_worker
def fail(*_):
    raise ERROR
chunk_worker.open_served = fail
"""


def index(target: Path, photos: Path, notes: Notes | None = None, **options: Any) -> IndexReport:
    return index_photos(IndexRequest(str(target), (str(photos),), None, IndexOptions(**options)), notes or Notes())


@pytest.fixture(scope="module")
def alone(tmp_path_factory: pytest.TempPathFactory, crowd: Path, shared_cache: Path) -> Path:
    """The index of the crowd by one process."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CACHE_HOME", str(shared_cache))
        target = tmp_path_factory.mktemp("alone") / "index"
        index(target, crowd, processes=0)
        return target


def change(folder: Path) -> None:
    """Move, copy, edit, touch, break and drop photos."""
    (folder / "00.png").rename(folder / "moved.png")
    shutil.copy(folder / "01.png", folder / "aa-copy.png")
    shutil.copy(folder / "01.png", folder / "zz-copy.png")
    with Image.open(folder / "02.png") as picture:
        picture.rotate(2).save(folder / "02.png")
    os.utime(folder / "03.png", ns=(10**18, 10**18))
    (folder / "04.png").write_bytes((folder / "04.png").read_bytes()[:2000])
    (folder / "05.png").unlink()
    shutil.copy(folder / "02.png", folder / "new-1.png")
    shutil.copy(folder / "02.png", folder / "new-2.png")


@pytest.mark.parametrize("options", [{"processes": 2, "chunk": 3}, {"device": "cpu:0,1"}, {"processes": 1}])
def test_the_index_is_that_of_one_process_to_the_bit(
    tmp_path: Path, crowd: Path, alone: Path, options: dict[str, Any]
) -> None:
    report = index(tmp_path / "index", crowd, **options)
    assert contents(tmp_path / "index") == contents(alone)
    workers = 2 if options != {"processes": 1} else 1
    assert (report.workers, report.engine) == (workers, "processes" if "processes" in options else "threads")
    assert (report.provider, report.machines) == ("CPUExecutionProvider", 1)
    assert report.stages["detect"].busy_seconds > 0


def test_further_runs_are_the_same_too(tmp_path: Path, crowd: Path) -> None:
    """Moved, copied, edited, touched, broken and dropped photos, one that was removed, all again, another setting."""
    folder = tmp_path / "photos"
    shutil.copytree(crowd, folder)
    runs = {"one": {"processes": 0}, "two": {"processes": 2, "chunk": 3}}
    for name, options in runs.items():
        index(tmp_path / name, folder, **options)
        command = [sys.executable, "-m", "facecli", "remove", "-q", "-i", tmp_path / name, folder / "06.png"]
        subprocess.run(command, check=True)
    change(folder)
    shutil.copy(folder / "06.png", folder / "removed-again.png")
    for further in ({}, {"force": True}, {"migrate": True, "det_size": 320, "drop_unreachable": True}):
        reports = [index(tmp_path / name, folder, **(options | further)) for name, options in runs.items()]
        assert reports[0].photos == reports[1].photos
        assert reports[0].faces == reports[1].faces
        assert reports[0].kept_out == reports[1].kept_out >= 2
        assert rows(tmp_path / "one") == rows(tmp_path / "two")


def rows(target: Path) -> list[object]:
    """What an index holds, apart from the random key of what was removed."""
    return [contents(target)[table] for table in ("photos", "faces", "embeddings", "skips", "roots")]


def test_a_photo_that_kills_its_worker_costs_no_other_photo(
    tmp_path: Path, crowd: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "photos"
    shutil.copytree(crowd, folder)
    for name, turn in (("bitter", 93), ("poison", 94)):
        with Image.open(folder / "00.png") as picture:
            picture.rotate(turn).save(folder / f"{name}.png")
    monkeypatch.setattr(processes, "_START", PATCH + processes._START)
    notes = Notes()
    report = index(tmp_path / "index", folder, notes, processes=2, chunk=4)
    assert [(Path(s.file.path).name, str(s.reason), s.refused_by) for s in report.skipped] == [
        ("poison.png", "unreadable", "worker-died")
    ]
    assert "the process was ended by signal 9" in report.skipped[0].detail
    assert report.photos.new == report.photos.seen - 1
    assert any("was lost, and another takes its place: the process was ended by signal 9" in w for w in notes.warnings)
    report = index(tmp_path / "index", folder, notes, processes=0)
    assert (report.photos.unchanged, [s.known for s in report.skipped]) == (report.photos.seen - 1, [True])


def start(shell: Shell, *arguments: str | Path) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-m", "facecli", "index", "-i", "index", *map(str, arguments)]
    return subprocess.Popen(
        command,
        cwd=shell.work,
        env=shell.environment | {"TMPDIR": str(shell.work)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        start_new_session=True,
    )


def workers_of(process: subprocess.Popen[bytes]) -> list[int]:
    return [pid for pid in processes_below(process.pid) if "facecli.fleet.process" in command_of(pid)]


@pytest.fixture
def many(shell: Shell, crowd: Path) -> Path:
    """The crowd four times, each photo another one."""
    folder = shell.work / "photos"
    folder.mkdir()
    for path in sorted(crowd.iterdir()):
        for turn in range(4):
            with Image.open(path) as picture:
                picture.rotate(turn).save(folder / f"{path.stem}-{turn}.png", compress_level=1)
    return folder


@pytest.mark.usefixtures("many")
def test_a_worker_that_is_killed_costs_time_and_nothing_else(shell: Shell) -> None:
    process = start(shell, "--processes", "2", "--chunk", "4", "--batch-size", "8", "photos")
    reach(process, lambda: count_photos(shell.work / "index") >= 8)
    victim = workers_of(process)[0]
    os.kill(victim, signal.SIGKILL)
    out, errors = process.communicate(timeout=PATIENCE)
    assert (process.returncode, out) == (0, b"")
    assert b"was lost, and another takes its place: the process was ended by signal 9" in errors
    shell("index", "-i", "other", "--processes", "0", "photos")
    assert contents(shell.work / "index") == contents(shell.work / "other")


@pytest.mark.usefixtures("many")
def test_no_worker_outlives_a_driver_that_is_killed_and_the_next_run_goes_on(shell: Shell) -> None:
    process = start(shell, "--processes", "2", "--chunk", "4", "--batch-size", "8", "photos")
    reach(process, lambda: count_photos(shell.work / "index") >= 8)
    workers = workers_of(process)
    process.kill()
    process.communicate()
    assert len(workers) == 2
    wait_for(lambda: not any(map(is_alive, workers)))
    assert sorted(entry.name for entry in shell.work.iterdir()) == ["index", "photos"], "nothing is left in TMPDIR"
    shell("index", "-i", "index", "--processes", "2", "photos")
    shell("index", "-i", "other", "--processes", "0", "photos")
    assert contents(shell.work / "index") == contents(shell.work / "other")


@pytest.mark.parametrize("signals", [1, 2])
def test_a_signal_to_the_whole_group_finishes_photos_and_two_end_it_at_once(
    shell: Shell, many: Path, signals: int
) -> None:
    process = start(shell, "--processes", "2", "--chunk", "16", "--batch-size", "4", "photos")
    reach(process, lambda: len(workers_of(process)) == 2)
    workers = workers_of(process)
    if signals == 1:
        reach(process, lambda: count_photos(shell.work / "index"))
    for _ in range(signals):
        os.killpg(process.pid, signal.SIGINT)
    _, errors = process.communicate(timeout=PATIENCE)
    wait_for(lambda: not any(map(is_alive, workers)))
    assert process.returncode == 130
    if signals == 1:
        assert b"was lost" not in errors
        with open_reader(shell.work / "index") as store:
            done = [os.path.basename(photo.file.path) for photo in store.photos()]
        assert done == sorted(os.listdir(many))[: len(done)], "the first photos, without a gap"
        assert 0 < len(done) < 96


@pytest.mark.usefixtures("many")
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_a_worker_is_told_by_its_driver_alone_when_to_end(shell: Shell, number: signal.Signals) -> None:
    """A service manager sends SIGTERM to every process of a service, and a terminal that closes SIGHUP."""
    process = start(shell, "--processes", "2", "--chunk", "4", "--batch-size", "4", "photos")
    reach(process, lambda: count_photos(shell.work / "index"))
    os.killpg(process.pid, number)
    _, errors = process.communicate(timeout=PATIENCE)
    assert (process.returncode, b"was lost" in errors) == (128 + number, False)


@pytest.mark.usefixtures("album")
def test_a_ctrl_c_while_a_worker_starts_is_none_for_it(shell: Shell) -> None:
    """Its Python would print a traceback before it could ignore the signal."""
    process = start(shell, "--processes", "1", "album")
    reach(process, lambda: workers_of(process))
    os.kill(workers_of(process)[0], signal.SIGINT)
    _, errors = process.communicate(timeout=PATIENCE)
    assert (process.returncode, b"Traceback" in errors, b"was lost" in errors) == (0, False, False), errors


def test_a_device_that_no_worker_can_use_is_one_error(
    tmp_path: Path, crowd: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(processes, "_START", NO_DEVICE + processes._START)
    with pytest.raises(UsageError, match="no device here: cpu") as caught:
        index(tmp_path / "index", crowd, processes=2)
    assert caught.value.hint == "plug it in"


@pytest.mark.parametrize(
    ("error", "said"),
    [
        ("ModuleNotFoundError('no', name='onnx')", "a library is missing: onnx"),
        ("ImportError('libz.so.9: not found')", "a library cannot be loaded: libz.so.9: not found"),
    ],
)
def test_a_library_that_workers_lack_is_one_error_and_no_photo_is_at_fault(
    error: str, said: str, tmp_path: Path, crowd: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(processes, "_START", LACKING.replace("ERROR", error) + processes._START)
    with pytest.raises(FacecliError) as caught:
        index(tmp_path / "index", crowd, processes=2)
    assert str(caught.value) == said
    assert not (tmp_path / "index").exists(), "no photo and no skipped file is recorded"


@pytest.mark.usefixtures("album")
def test_the_report_says_who_did_the_work(shell: Shell) -> None:
    ran = shell("index", "--processes", "2", "--json", "album")
    assert b'"engine": "processes", "workers": 2' in ran.out
    assert "on cpu (CPUExecutionProvider, 2 processes, 2 jobs)" in ran.errors


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("--processes", "-1"), "a whole number from 0 to 1024"),
        (("--processes", "2", "--fleet", "local"), "--processes is for this machine alone"),
        (("--workers", "3"), "--workers needs --fleet"),
        (("--worker-gpus", "1"), "--worker-gpus needs --fleet"),
        (("--fleet", "nearby"), "not local, local:N, auto or ray://HOST:PORT: nearby"),
        (("--fleet", "ray://head"), "not local, local:N, auto or ray://HOST:PORT"),
    ],
)
def test_options_that_cannot_be_meant_are_refused(shell: Shell, arguments: tuple[str, ...], said: str) -> None:
    ran = shell("index", *arguments, ".", code=2)
    assert said in ran.errors
    assert ran.errors.count("\n") <= 2


@pytest.mark.parametrize(
    ("cores", "names", "processes_wanted"),
    [
        (2, ["cpu"], 0),
        (7, ["cpu"], 0),
        (8, ["cpu"], 2),
        (64, ["cpu"], 16),
        (2, ["cpu:0", "cpu:1"], 0),
        (2, ["fake:0"], 1),
        (2, ["fake:0", "fake:1"], 2),
        (64, ["fake:0", "fake:1"], 2),
    ],
)
def test_the_default_suits_the_machine(
    monkeypatch: pytest.MonkeyPatch, cores: int, names: list[str], processes_wanted: int
) -> None:
    monkeypatch.setattr(engines, "count_processors", lambda: cores)
    devices = [Device(name, CPU if name.startswith("cpu") else "FakeExecutionProvider") for name in names]
    assert engines.count_processes(devices, IndexOptions()) == processes_wanted
    assert engines.count_processes(devices, IndexOptions(processes=5)) == 5
