"""Downloading a pack from a server: progress, resumption, wrong content, unsafe archives, no network."""

from __future__ import annotations

import hashlib
import http.server
import io
import os
import threading
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import filelock
import pytest

from facecli.errors import PackError
from facecli.reporting import SilentReporter
from facecli.vision.packs.download import pull_pack
from facecli.vision.packs.inventory import Presence, check_known
from facecli.vision.packs.known import PACKS, KnownModel, KnownPack, Role

DETECTOR, RECOGNISER, EXTRA = b"a detector " * 300_000, b"a recogniser " * 200_000, b"landmarks"


@dataclass
class Server:
    """A server of archives that can fail on request."""

    files: dict[str, bytes] = field(default_factory=dict)
    requests: list[tuple[str, str | None]] = field(default_factory=list)
    ignores_ranges: bool = False
    cuts: list[int] = field(default_factory=list)
    """After how many bytes the next answers end."""
    address: str = ""

    def answer(self, path: str, wanted: str | None) -> tuple[int, bytes, dict[str, str]]:
        self.requests.append((path, wanted))
        data = self.files.get(path)
        if data is None:
            return 404, b"", {}
        if wanted is None or self.ignores_ranges:
            return 200, data, {}
        start = int(wanted.removeprefix("bytes=").removesuffix("-"))
        if start >= len(data):
            return 416, b"", {}
        return 206, data[start:], {"Content-Range": f"bytes {start}-{len(data) - 1}/{len(data)}"}


@pytest.fixture
def server() -> Iterator[Server]:
    place = Server()

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            code, data, headers = place.answer(self.path, self.headers.get("Range"))
            self.send_response(code)
            for name, value in headers.items():
                self.send_header(name, value)
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            self.wfile.write(data[: place.cuts.pop(0)] if place.cuts else data)

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    class Listener(http.server.ThreadingHTTPServer):
        def handle_error(self, *_: object) -> None:
            """Clients may close the connection early."""

    with Listener(("127.0.0.1", 0), Handler) as listening:
        place.address = f"http://127.0.0.1:{listening.server_port}"
        thread = threading.Thread(target=listening.serve_forever, args=(0.01,))
        thread.start()
        yield place
        listening.shutdown()
        thread.join()


class Counting(SilentReporter):
    """Records the progress."""

    def __init__(self) -> None:
        self.totals: list[tuple[str, int | None]] = []
        self.done: list[int] = []

    def start(self, what: str, total: int | None) -> None:
        self.totals.append((what, total))
        self.done.append(0)

    def advance(self, done: int, **_counts: int) -> None:
        self.done[-1] += done


def zipped(*entries: tuple[str | zipfile.ZipInfo, bytes]) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name, data in entries:
            archive.writestr(name, data)
    return buffer.getvalue()


def model(file: str, data: bytes, role: Role) -> KnownModel:
    return KnownModel(file, hashlib.sha256(data).hexdigest(), len(data), role)


def published_as(archive: bytes) -> KnownPack:
    pair = model("det.onnx", DETECTOR, Role.DETECTOR), model("rec.onnx", RECOGNISER, Role.RECOGNISER)
    return KnownPack("mine", *pair, hashlib.sha256(archive).hexdigest())


GOOD = zipped(
    ("mine/det.onnx", DETECTOR),
    ("mine/rec.onnx", RECOGNISER),
    ("mine/extra.onnx", EXTRA),
    ("mine/readme.txt", b"not wanted"),
)


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "home/.cache"))
    (tmp_path / "home").mkdir()
    return tmp_path / "home"


def files_below(home: Path) -> list[str]:
    """All files except the lock file, which is empty."""
    return sorted(str(p.relative_to(home)) for p in home.rglob("*") if p.is_file() and p.suffix != ".lock")


PLACE = ".insightface/models/mine"
PART = ".cache/facecli/downloads/mine.zip.part"


def test_a_pack_is_fetched_checked_and_put_in_place(server: Server, home: Path) -> None:
    server.files["/mine.zip"] = GOOD
    pack, report = published_as(GOOD), Counting()
    assert pull_pack(pack, report, [server.address]) == str(home / PLACE)
    assert files_below(home) == [f"{PLACE}/det.onnx", f"{PLACE}/extra.onnx", f"{PLACE}/rec.onnx"]
    assert (home / PLACE / "det.onnx").read_bytes() == DETECTOR
    assert check_known(pack).presence is Presence.PRESENT
    megabytes = len(GOOD) // 1_000_000
    assert report.totals == [("MB", megabytes)]
    assert report.done == [megabytes]


def test_a_pack_that_is_here_is_not_fetched_again(server: Server, home: Path) -> None:
    server.files["/mine.zip"] = GOOD
    pull_pack(published_as(GOOD), SilentReporter(), [server.address])
    pull_pack(published_as(GOOD), SilentReporter(), [server.address])
    assert len(server.requests) == 1
    assert (home / PLACE).is_dir()


def test_the_default_pack_is_here_already() -> None:
    assert os.path.isdir(pull_pack(PACKS[0], SilentReporter(), []))


def test_a_cut_download_goes_on_where_it_stopped(server: Server, home: Path) -> None:
    server.files["/mine.zip"] = GOOD
    server.cuts = [1_000_000, 500_000]
    report = Counting()
    pull_pack(published_as(GOOD), report, [server.address])
    assert server.requests == [("/mine.zip", None), ("/mine.zip", "bytes=1000000-"), ("/mine.zip", "bytes=1500000-")]
    assert report.done[-1] == len(GOOD) // 1_000_000
    assert not (home / PART).exists()


def test_a_download_that_stands_still_is_kept_for_the_next_run(server: Server, home: Path) -> None:
    server.files["/mine.zip"] = GOOD
    server.cuts = [2_000_000, 0]
    with pytest.raises(PackError, match="connection ended after 2 of") as caught:
        pull_pack(published_as(GOOD), SilentReporter(), [server.address])
    assert "goes on from there" in caught.value.hint
    assert files_below(home) == [PART]
    pull_pack(published_as(GOOD), SilentReporter(), [server.address])
    assert server.requests[-1] == ("/mine.zip", "bytes=2000000-")
    assert (home / PLACE / "rec.onnx").read_bytes() == RECOGNISER


def test_a_server_that_knows_no_ranges_gives_it_anew(server: Server, home: Path) -> None:
    server.files["/mine.zip"] = GOOD
    server.ignores_ranges = True
    (home / PART).parent.mkdir(parents=True)
    (home / PART).write_bytes(b"x" * 1_000_000)
    pull_pack(published_as(GOOD), SilentReporter(), [server.address])
    assert (home / PLACE / "det.onnx").read_bytes() == DETECTOR


@pytest.mark.parametrize("left", [b"wrong" * 1000, GOOD + b"longer", GOOD], ids=["wrong", "too long", "whole"])
def test_what_an_earlier_run_left_is_used_only_if_it_is_right(server: Server, home: Path, left: bytes) -> None:
    server.files["/mine.zip"] = GOOD
    (home / PART).parent.mkdir(parents=True)
    (home / PART).write_bytes(left)
    pull_pack(published_as(GOOD), SilentReporter(), [server.address])
    assert (home / PLACE / "det.onnx").read_bytes() == DETECTOR
    assert not (home / PART).exists()


def test_an_archive_with_another_hash_is_named_with_both_and_not_unpacked(server: Server, home: Path) -> None:
    other = zipped(("det.onnx", b"malicious"), ("rec.onnx", RECOGNISER))
    server.files["/mine.zip"] = other
    with pytest.raises(PackError, match=hashlib.sha256(other).hexdigest()) as caught:
        pull_pack(published_as(GOOD), SilentReporter(), [server.address])
    assert hashlib.sha256(GOOD).hexdigest() in caught.value.what
    assert files_below(home) == []


def link(name: str) -> zipfile.ZipInfo:
    entry = zipfile.ZipInfo(name)
    entry.external_attr = 0o120777 << 16
    return entry


@pytest.mark.parametrize(
    ("entry", "why"),
    [
        (("/tmp/evil.onnx", b"x"), "unsafe name"),
        (("../evil.onnx", b"x"), "unsafe name"),
        (("a/../../evil.onnx", b"x"), "unsafe name"),
        (("..\\evil.onnx", b"x"), "unsafe name"),
        (("C:/evil.onnx", b"x"), "unsafe name"),
        ((link("evil.onnx"), b"/etc/passwd"), "unsafe name"),
        (("again/det.onnx", b"x"), "a model twice"),
    ],
)
def test_an_unsafe_archive_leaves_nothing(
    server: Server, home: Path, entry: tuple[str | zipfile.ZipInfo, bytes], why: str
) -> None:
    archive = zipped(("det.onnx", DETECTOR), ("rec.onnx", RECOGNISER), entry)
    server.files["/mine.zip"] = archive
    with pytest.raises(PackError, match=why):
        pull_pack(published_as(archive), SilentReporter(), [server.address])
    assert files_below(home) == []
    assert not list(home.rglob(".mine-*"))


@pytest.mark.usefixtures("home")
def test_limits_hold_whatever_the_archive_says(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    server.files["/mine.zip"] = GOOD
    monkeypatch.setattr("facecli.vision.packs.archive.LARGEST_MODEL", 1_000_000)
    with pytest.raises(PackError, match="holds a model of"):
        pull_pack(published_as(GOOD), SilentReporter(), [server.address])
    monkeypatch.setattr("facecli.vision.packs.download.LARGEST_ARCHIVE", 1_000_000)
    with pytest.raises(PackError, match="MB large"):
        pull_pack(published_as(GOOD), SilentReporter(), [server.address])


@pytest.mark.parametrize(
    "content", [{"det.onnx": DETECTOR}, {"det.onnx": DETECTOR, "rec.onnx": b"another"}], ids=["missing", "another"]
)
def test_an_archive_without_the_very_models_is_refused(server: Server, home: Path, content: dict[str, bytes]) -> None:
    archive = zipped(*content.items())
    server.files["/mine.zip"] = archive
    with pytest.raises(PackError, match=r"rec\.onnx"):
        pull_pack(published_as(archive), SilentReporter(), [server.address])
    assert not (home / PLACE).exists()


def test_what_is_no_archive_is_an_error(server: Server, home: Path) -> None:
    server.files["/mine.zip"] = b"<html>no zip</html>"
    with pytest.raises(PackError, match="cannot be unpacked"):
        pull_pack(published_as(b"<html>no zip</html>"), SilentReporter(), [server.address])
    assert not (home / PLACE).exists()


def test_a_damaged_pack_is_mended_and_what_else_lies_there_stays(server: Server, home: Path) -> None:
    server.files["/mine.zip"] = GOOD
    (home / PLACE).mkdir(parents=True)
    (home / PLACE / "det.onnx").write_bytes(b"damaged")
    (home / PLACE / "own.txt").write_bytes(b"mine")
    assert check_known(published_as(GOOD)).presence is Presence.DAMAGED
    pull_pack(published_as(GOOD), SilentReporter(), [server.address])
    assert check_known(published_as(GOOD)).presence is Presence.PRESENT
    assert (home / PLACE / "own.txt").read_bytes() == b"mine"


def test_the_second_source_serves_where_the_first_has_none(server: Server, home: Path) -> None:
    server.files["/second/mine.zip"] = GOOD
    pull_pack(published_as(GOOD), SilentReporter(), [f"{server.address}/first", f"{server.address}/second/"])
    assert [path for path, _ in server.requests] == ["/first/mine.zip", "/second/mine.zip"]
    assert (home / PLACE).is_dir()


def test_a_server_without_the_pack_and_no_server_are_told_in_one_line(server: Server, home: Path) -> None:
    with pytest.raises(PackError, match="answers 404"):
        pull_pack(published_as(GOOD), SilentReporter(), [server.address])
    with pytest.raises(PackError, match="cannot be downloaded") as caught:
        pull_pack(published_as(GOOD), SilentReporter(), ["http://127.0.0.1:9"])
    assert "check the network" in caught.value.hint
    assert files_below(home) == []


def test_two_pulls_of_one_pack_do_not_meet(server: Server, home: Path) -> None:
    (home / PART).parent.mkdir(parents=True)
    with (
        filelock.FileLock(home / ".cache/facecli/downloads/mine.lock"),
        pytest.raises(PackError, match="another process"),
    ):
        pull_pack(published_as(GOOD), SilentReporter(), [server.address])


def test_a_place_that_cannot_be_written_is_named(server: Server, home: Path) -> None:
    server.files["/mine.zip"] = GOOD
    (home / ".insightface").write_bytes(b"a file where a directory belongs")
    with pytest.raises(PackError, match="cannot be written"):
        pull_pack(published_as(GOOD), SilentReporter(), [server.address])
    assert files_below(home) == [PART, ".insightface"]
