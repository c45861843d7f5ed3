"""The user's cache: leftovers of killed runs, trial results that expire, and a missing cache."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from facecli import directories, health
from facecli.cache import LASTING_SECONDS, cache_folder, keep_answer, read_record, recall_answer
from facecli.calibrating import kept_place, read_kept
from facecli.config import DetectionOptions
from facecli.reporting import SilentReporter
from facecli.scratch import PREFIX, scratch_folder, sweep
from facecli.vision.devices import benchmark
from facecli.vision.devices.select import Device
from facecli.vision.models import Needs, Serving, open_served
from facecli.vision.packs.resolve import find_pack
from facecli.vision.runtime.providers import CPU

if TYPE_CHECKING:
    from conftest import Shell

WRITING = (
    "import sys, time; from pathlib import Path; from facecli.scratch import scratch_folder\n"
    "with scratch_folder(Path(sys.argv[1])) as folder:\n"
    "    (folder / 'model.onnx').write_bytes(bytes(1000)); print(flush=True); time.sleep(600)\n"
)


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    return tmp_path / "facecli"


def left_in(directory: Path) -> list[str]:
    return sorted(p.name for p in directory.rglob("*") if p.name.startswith(PREFIX))


def test_what_a_killed_process_leaves_goes_and_what_a_live_one_writes_stays(tmp_path: Path) -> None:
    writers = [
        subprocess.Popen([sys.executable, "-c", WRITING, str(tmp_path)], stdout=subprocess.PIPE) for _ in range(2)
    ]
    try:
        for writer in writers:
            assert writer.stdout is not None
            assert writer.stdout.readline() == b"\n"
        sweep(tmp_path)
        assert len(left_in(tmp_path)) == 2
        writers[0].send_signal(signal.SIGKILL)
        writers[0].wait()
        sweep(tmp_path)
        assert len(left_in(tmp_path)) == 1
        assert len(list(tmp_path.rglob("model.onnx"))) == 1
    finally:
        for writer in writers:
            writer.kill()
            with writer:
                pass
    sweep(tmp_path)
    assert left_in(tmp_path) == []


def test_a_run_removes_leftovers_of_any_kind_and_nothing_else(cache: Path, tmp_path: Path) -> None:
    for place in (cache, cache / "graphs"):
        (place / ".new-folder").mkdir(parents=True)
        (place / ".new-folder/optimised.onnx").write_bytes(bytes(1000))
        (place / ".new-file").write_bytes(bytes(1000))
        (place / "other").touch()
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "mine").touch()
    (cache / ".new-link").symlink_to(outside)
    open_served(find_pack(None), Device("cpu", CPU), Needs(DetectionOptions()), Serving())
    assert left_in(cache) == [".new-link"]
    assert (cache / "other").exists()
    assert (cache / "graphs/other").exists()
    assert (outside / "mine").exists()


def test_nothing_is_left_where_the_block_fails(tmp_path: Path) -> None:
    def fail() -> None:
        with scratch_folder(tmp_path) as folder:
            (folder / "part").touch()
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail()
    assert list(tmp_path.iterdir()) == []


def grow_old(record: Path, seconds: float) -> None:
    entries = json.loads(record.read_text())
    record.write_text(
        json.dumps({key: entry | {"made_at": int(time.time() - seconds)} for key, entry in entries.items()})
    )


@pytest.mark.parametrize(
    ("age", "kept"), [(0, "gpu"), (LASTING_SECONDS - 60, "gpu"), (LASTING_SECONDS + 60, None), (-3600, None)]
)
def test_the_answer_of_a_trial_holds_for_90_days(age: float, kept: str | None, cache: Path) -> None:
    keep_answer("devices", "key", "gpu")
    grow_old(cache / "devices.json", age)
    assert recall_answer("devices", "key") == kept


@pytest.mark.parametrize("entry", ["gpu", {"answer": "gpu"}, {"answer": "gpu", "made_at": "yesterday"}, 7])
def test_an_answer_that_does_not_say_when_it_was_made_is_none(entry: object, cache: Path) -> None:
    keep_answer("devices", "other", "cpu")
    (cache / "devices.json").write_text(json.dumps({"key": entry}))
    assert recall_answer("devices", "key") is None


@pytest.mark.parametrize("text", ["[" * 100_000, "[]", "\0", ""])
def test_a_record_that_is_none_is_empty(text: str, cache: Path) -> None:
    cache.mkdir()
    for place in (cache / "devices.json", kept_place("0" * 64)):
        place.parent.mkdir(exist_ok=True)
        place.write_text(text)
    assert read_record("devices") == {}
    assert read_kept("0" * 64) is None


def test_a_choice_is_made_anew_with_another_number_of_processors(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(benchmark, "_fastest", lambda _, cpu: asked.append(1) or (cpu, True))
    asked: list[int] = []
    for processors in (64, 64, 2, 2):
        monkeypatch.setattr(benchmark, "count_processors", lambda processors=processors: processors)
        assert benchmark.choose_device([Device("gpu:0", "X")]).name == "cpu"
    assert len(asked) == 2
    assert len(read_record(benchmark.RECORD)) == 2
    assert cache.is_dir()


def test_the_processor_is_as_fast_as_its_quota_allows(monkeypatch: pytest.MonkeyPatch) -> None:
    seconds = {}
    monkeypatch.setattr(benchmark, "ROUNDS", 1)
    monkeypatch.setattr(benchmark.time, "perf_counter", iter(range(1000)).__next__)
    for processors in (64, 2):
        monkeypatch.setattr(benchmark, "count_processors", lambda processors=processors: processors)
        seconds[processors] = benchmark.run_trial(find_pack(None), Device("cpu", CPU)).seconds
    assert seconds[2] == 32 * seconds[64]


def test_doctor_lets_every_trial_be_made_again(cache: Path) -> None:
    keep_answer("devices", "key", "gpu")
    keep_answer("openvino", "key", answer=False)
    graphs = cache_folder("graphs")
    assert graphs is not None
    for name in ("a-recogniser-half-exact-1", "b-detector-cpu-1", "c-recogniser-cpu-1"):
        (graphs / name).touch()
    for name in ("a-recogniser-half-exact-1.onnx", "c-recogniser-cpu-1.onnx"):
        (graphs / name).touch()
    health.check_health(SilentReporter())
    assert read_record("devices") == read_record("openvino") == {}
    assert sorted(p.name for p in graphs.iterdir()) == ["c-recogniser-cpu-1", "c-recogniser-cpu-1.onnx"]
    assert cache.is_dir()


def without_home(monkeypatch: pytest.MonkeyPatch) -> None:
    import pwd

    def unknown(_: int) -> None:
        raise KeyError

    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    monkeypatch.delenv("HOME", raising=False)
    monkeypatch.setattr(pwd, "getpwuid", unknown)


@pytest.mark.parametrize("home", [None, "", "relative/home"])
def test_a_user_without_a_home_directory_has_no_cache_and_no_packs(
    home: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    without_home(monkeypatch)
    if home is not None:
        monkeypatch.setenv("HOME", home)
    for directory in (directories.cache_directory, directories.insightface_directory):
        with pytest.raises(FileNotFoundError, match="no home directory"):
            directory()
    assert cache_folder("graphs") is None
    keep_answer("devices", "key", "gpu")
    assert recall_answer("devices", "key") is None
    assert find_pack(None).known
    assert health.check_health(SilentReporter()).cache == health.CacheHealth(
        "there is no home directory", 0, writable=False
    )


@pytest.fixture
def open_folder() -> Iterator[Path]:
    """A folder that every user can write to; pytest makes its own folders private."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        folder.chmod(0o777)
        yield folder


@pytest.mark.skipif(
    os.geteuid() != 0 or shutil.which("setpriv") is None,
    reason="becoming a user whom nobody knows needs root and setpriv",
)
def test_everything_works_for_a_user_whom_nobody_knows_and_says_what_it_costs(
    shell: Shell, find_sample: Callable[[str], Path], open_folder: Path
) -> None:
    environment = {k: v for k, v in shell.environment.items() if k not in ("HOME", "XDG_CACHE_HOME")}

    def run(*command: str) -> subprocess.CompletedProcess[str]:
        who = ["setpriv", "--reuid=54321", "--regid=54321", "--clear-groups", "--", sys.executable]
        return subprocess.run(
            [*who, *command], env=environment, cwd=open_folder, check=False, capture_output=True, text=True
        )

    shutil.copyfile(find_sample("yaoming.jpg"), open_folder / "photo.jpg")
    if run("-c", "import facecli.cli.main").returncode:
        pytest.skip("such a user cannot read this Python")
    for command in (
        "index photo.jpg",
        "search photo.jpg",
        "faces photo.jpg",
        "verify photo.jpg photo.jpg",
        "info",
        "check",
        "models",
    ):
        ran = run("-m", "facecli", *command.split())
        assert (command, ran.returncode) == (command, 0), ran.stderr
        assert ran.stderr.count("the cache cannot be written") == ("photo.jpg" in command), ran.stderr
    environment["XDG_CACHE_HOME"] = str(open_folder / "cache")
    assert "the cache cannot be written" not in run("-m", "facecli", "faces", "photo.jpg").stderr
    pulled = run("-m", "facecli", "models", "pull", "buffalo_s")
    assert pulled.returncode == 2
    first, hint = pulled.stderr.splitlines()
    assert first.startswith("facecli: error: there is no home directory")
    assert "HOME" in hint
