"""Files are put into a directory without overwriting any."""

from __future__ import annotations

import errno
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import xxhash

from facecli.config import INDEX_NAME
from facecli.errors import OutputError, PhotoError
from facecli.fingerprint import Fingerprint
from facecli.output import placing
from facecli.output.placing import Folder, numbered, replace_file
from facecli.photos.recorded import Recorded
from facecli.store.records import EmbeddingKind
from facecli.store.writer import open_writer
from facecli.types import PhotoFile
from facecli.whole_files import Part


def recorded(place: Path) -> Recorded:
    """A file as it is now."""
    state = place.stat()
    return Recorded(PhotoFile(str(place), state.st_size, state.st_mtime_ns), xxhash.xxh3_128_digest(place.read_bytes()))


@pytest.fixture
def files(tmp_path: Path) -> list[Path]:
    places = [tmp_path / "a/x.jpg", tmp_path / "b/x.jpg", tmp_path / "c/x.jpg"]
    for place, data in zip(places, (b"one", b"two", b"one"), strict=True):
        place.parent.mkdir()
        place.write_bytes(data)
    return places


@pytest.fixture
def photos(files: list[Path]) -> list[Recorded]:
    return [recorded(file) for file in files]


def test_same_names_get_numbers_and_a_second_run_adds_nothing(photos: list[Recorded], tmp_path: Path) -> None:
    for _ in range(2):
        folder = Folder(str(tmp_path / "out"))
        assert [Path(folder.copy(p)).name for p in photos] == ["x.jpg", "x-2.jpg", "x-3.jpg"]
    assert [(tmp_path / "out" / n).read_bytes() for n in ("x.jpg", "x-2.jpg", "x-3.jpg")] == [b"one", b"two", b"one"]
    assert len(list((tmp_path / "out").glob("[!.]*"))) == 3


def test_only_links_are_said_to_be_missing_in_a_file_system(
    photos: list[Recorded], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> None:
        raise PermissionError(errno.EPERM, os.strerror(errno.EPERM))

    monkeypatch.setattr(placing.os, "symlink", refuse)
    monkeypatch.setattr(Part, "fill", refuse)
    with pytest.raises(OutputError) as link:
        Folder(str(tmp_path / "out")).link(photos[0])
    with pytest.raises(OutputError) as copy:
        Folder(str(tmp_path / "out")).copy(photos[0])
    assert "--copy-to makes copies" in link.value.hint
    assert copy.value.hint == ""


def test_links_are_told_from_files_and_other_links(photos: list[Recorded], tmp_path: Path) -> None:
    out = tmp_path / "out"
    out.mkdir()
    (out / "x.jpg").symlink_to("nowhere")
    folder = Folder(str(out))
    assert folder.link(photos[0]) == str(out / "x-2.jpg")
    assert Folder(str(out)).link(photos[0]) == str(out / "x-2.jpg")
    assert Folder(str(out)).copy(photos[0]) == str(out / "x-3.jpg")
    assert os.readlink(out / "x.jpg") == "nowhere"
    assert os.readlink(out / "x-2.jpg") == photos[0].path


def test_a_name_that_another_takes_first_is_left_to_it(
    photos: list[Recorded], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = os.path.lexists
    monkeypatch.setattr(placing.os.path, "lexists", lambda p: False if str(p).endswith("out/x.jpg") else real(p))
    (tmp_path / "out").mkdir()
    (tmp_path / "out/x.jpg").write_bytes(b"theirs")
    assert Folder(str(tmp_path / "out")).copy(photos[0]) == str(tmp_path / "out/x-2.jpg")
    assert (tmp_path / "out/x.jpg").read_bytes() == b"theirs"


def test_a_copy_that_fails_leaves_nothing(
    photos: list[Recorded], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "link", fail)
    monkeypatch.setattr(os, "replace", fail)
    with pytest.raises(OutputError, match="No space left"):
        Folder(str(tmp_path / "out")).copy(photos[0])
    assert list((tmp_path / "out").glob("[!.]*")) == []


def test_a_disk_that_is_read_only_is_an_error_like_any_other(
    photos: list[Recorded], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise OSError(30, "Read-only file system")

    (tmp_path / "out").mkdir()
    for name in ("link", "replace", "unlink"):
        monkeypatch.setattr(os, name, refuse)
    with pytest.raises(OutputError, match="Read-only file system"):
        Folder(str(tmp_path / "out")).copy(photos[0])


def test_a_file_system_without_links_is_an_error_that_says_so(
    photos: list[Recorded], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> None:
        raise OSError(1, "Operation not permitted")

    monkeypatch.setattr(placing.os, "symlink", fail)
    with pytest.raises(OutputError, match="Operation not permitted") as caught:
        Folder(str(tmp_path / "out")).link(photos[0])
    assert "--copy-to" in caught.value.hint


def test_copies_are_their_owners_and_as_old_as_the_original(files: list[Path], tmp_path: Path) -> None:
    os.utime(files[0], ns=(5, 1_000_000_007))
    copy = Path(Folder(str(tmp_path / "deep/er/out")).copy(recorded(files[0])))
    assert (copy.stat().st_mode & 0o777, copy.stat().st_mtime_ns) == (0o600, 1_000_000_007)
    assert [copy.parents[up].stat().st_mode & 0o777 for up in range(3)] == [0o700] * 3


def test_folders_that_are_there_keep_their_rights(photos: list[Recorded], tmp_path: Path) -> None:
    (tmp_path / "open").mkdir(mode=0o755)
    Folder(str(tmp_path / "open/out")).copy(photos[0])
    Folder(str(tmp_path / "open/out/../other/./deep/")).copy(photos[0])
    modes = {name: (tmp_path / "open" / name).stat().st_mode & 0o777 for name in (".", "out", "other", "other/deep")}
    assert modes == {".": 0o755, "out": 0o700, "other": 0o700, "other/deep": 0o700}


@pytest.mark.parametrize("size_is_known", [True, False])
def test_what_has_another_content_than_recorded_is_left_out(
    photos: list[Recorded], tmp_path: Path, *, size_is_known: bool
) -> None:
    Path(photos[0].path).write_bytes(b"ONE" if size_is_known else b"more than one")
    folder = Folder(str(tmp_path / "out"))
    for put in (folder.copy, folder.link, Folder(str(tmp_path / "out"), dry_run=True).copy):
        with pytest.raises(PhotoError, match="not the one that was indexed"):
            put(photos[0])
    assert not (tmp_path / "out").exists() or list((tmp_path / "out").glob("[!.]*")) == []


@pytest.mark.parametrize("what", ["pipe", "device", "socket", "directory", "gone", "loop", "link to a device"])
def test_what_is_no_file_is_left_out_at_once(tmp_path: Path, what: str) -> None:
    place = tmp_path / "x.jpg"
    match what:
        case "pipe":
            os.mkfifo(place)
        case "device":
            place = Path("/dev/zero")
        case "socket":
            with socket.socket(socket.AF_UNIX) as bound:
                bound.bind(str(place))
        case "directory":
            place.mkdir()
        case "loop":
            place.symlink_to("x.jpg")
        case "link to a device":
            place.symlink_to("/dev/zero")
    for size in (0, 5):
        original = Recorded(PhotoFile(str(place), size, 0), xxhash.xxh3_128_digest(b"x" * size))
        with pytest.raises(PhotoError):
            Folder(str(tmp_path / "out")).copy(original)
        with pytest.raises(PhotoError):
            Folder(str(tmp_path / "out")).link(original)


def test_a_pipe_that_takes_the_place_of_a_file_hangs_nobody(
    photos: list[Recorded], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    place, real = photos[0].path, os.open

    def swapped(path: str, *rest: Any, **more: Any) -> int:
        if path == place:
            os.unlink(place)
            os.mkfifo(place)
        return real(path, *rest, **more)

    monkeypatch.setattr(os, "open", swapped)
    with pytest.raises(PhotoError, match="no longer a regular file"):
        Folder(str(tmp_path / "out")).copy(photos[0])


def test_links_to_photos_and_to_directories_are_followed(files: list[Path], tmp_path: Path) -> None:
    (tmp_path / "linked.jpg").symlink_to(files[0])
    (tmp_path / "disk").symlink_to(files[1].parent)
    folder = Folder(str(tmp_path / "out"))
    for place, data in ((tmp_path / "linked.jpg", b"one"), (tmp_path / "disk/x.jpg", b"two")):
        assert Path(folder.copy(recorded(place))).read_bytes() == data
        assert Path(folder.link(recorded(place))).read_bytes() == data


@pytest.mark.parametrize("name", [".bashrc", INDEX_NAME, "..jpg"])
def test_no_name_hides_a_copy_or_makes_it_an_index(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_bytes(b"one")
    for put in (Folder.copy, Folder.link):
        place = put(Folder(str(tmp_path / "out")), recorded(tmp_path / name))
        assert not os.path.basename(place).startswith(".")


@pytest.mark.parametrize(
    ("name", "number", "made"), [("x.jpg", 1, "x.jpg"), ("x.jpg", 2, "x-2.jpg"), ("x", 3, "x-3"), (".x", 2, ".x-2")]
)
def test_numbered_names(name: str, number: int, made: str) -> None:
    assert numbered(name, number) == made


def test_a_long_name_stays_within_the_file_system() -> None:
    name = "ä" * 125 + ".jpg"
    assert len(os.fsencode(numbered(name, 12))) <= 255
    assert numbered(name, 12).endswith("-12.jpg")


def test_a_file_is_replaced_whole_or_not_at_all(tmp_path: Path) -> None:
    place = tmp_path / "page.html"
    place.write_bytes(b"old")
    replace_file(str(place), [b"new", b"er"])
    assert place.read_bytes() == b"newer"

    def broken() -> object:
        yield b"half"
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        replace_file(str(place), broken())  # type: ignore[arg-type]
    assert place.read_bytes() == b"newer"
    assert [p.name for p in tmp_path.iterdir()] == ["page.html"]


def test_a_copy_has_its_name_only_when_it_is_whole(photos: list[Recorded], tmp_path: Path) -> None:
    class Interrupted(Recorded, frozen=True):
        def pieces(self) -> Iterator[bytes]:
            yield b"o"
            assert not (tmp_path / "out/x.jpg").exists()
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        Folder(str(tmp_path / "out")).copy(Interrupted(photos[0].file, photos[0].digest))
    assert list((tmp_path / "out").glob("[!.]*")) == []


KILLED = """
import os, signal, sys
from facecli.output.placing import Folder, replace_file
def pieces():
    yield b"<!doctype html>" * 9
    os.kill(os.getpid(), signal.SIGKILL)
class Original:
    path, size, mtime_ns, digest = "/a/x.jpg", 999, 0, b""
    pieces = staticmethod(pieces)
replace_file(sys.argv[2], pieces()) if sys.argv[1] == "page" else Folder(sys.argv[2]).copy(Original)
"""


@pytest.mark.parametrize("what", ["page", "copy"])
def test_what_a_killed_command_left_is_cleared_by_the_next_and_no_other_part(
    photos: list[Recorded], tmp_path: Path, what: str
) -> None:
    out = tmp_path / "out"
    out.mkdir()
    target = str(out / "page.html") if what == "page" else str(out)
    assert subprocess.run([sys.executable, "-c", KILLED, what, target], check=False).returncode == -signal.SIGKILL
    (left,) = out.iterdir()
    assert left.name.endswith(".part")
    (out / ".facecli-mine.part").symlink_to(photos[0].path)
    with Part(str(out)) as held:
        held.fill([b"another command is writing this"])
        if what == "page":
            replace_file(target, [b"whole"])
        else:
            Folder(target).copy(photos[0])
        assert not left.exists()
        assert len(list(out.iterdir())) == 3
    assert sorted(p.name for p in out.iterdir()) == [".facecli-mine.part", "page.html" if what == "page" else "x.jpg"]


def test_a_file_system_without_hard_links_gets_whole_copies_too(
    photos: list[Recorded], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> None:
        raise OSError(1, "Operation not permitted")

    monkeypatch.setattr(os, "link", fail)
    (tmp_path / "out").mkdir()
    (tmp_path / "out/x.jpg").write_bytes(b"theirs")
    assert Folder(str(tmp_path / "out")).copy(photos[0]) == str(tmp_path / "out/x-2.jpg")
    assert {p.name: p.read_bytes() for p in (tmp_path / "out").glob("[!.]*")} == {"x.jpg": b"theirs", "x-2.jpg": b"one"}


def test_nothing_is_put_into_an_index_by_whatever_name(tmp_path: Path) -> None:
    index = tmp_path / "album/faces"
    index.parent.mkdir()
    open_writer(index, EmbeddingKind(Fingerprint("test", "d" * 64, "e" * 64, 64), "none"), create=True).close()
    before = sorted(p.name for p in index.iterdir())
    (tmp_path / "elsewhere").symlink_to(index)
    (tmp_path / "plain").mkdir()
    (tmp_path / "plain/catalog.db").write_bytes(b"a catalogue of somebody else")
    for inside in (
        index,
        index / "out",
        tmp_path / "elsewhere",
        tmp_path / "elsewhere/out",
        tmp_path / "album/x/../faces",
        tmp_path / INDEX_NAME,
    ):
        with pytest.raises(OutputError, match="index"):
            Folder(str(inside))
        with pytest.raises(OutputError, match="index"):
            replace_file(str(inside / "page.html"), [b"page"])
    with pytest.raises(OutputError, match="index"):
        replace_file(str(tmp_path / INDEX_NAME), [b"page"])
    assert sorted(p.name for p in index.iterdir()) == before
    assert not (tmp_path / INDEX_NAME).exists()
    Folder(str(tmp_path / "plain")).write("x.png", b"data")
    Folder(str(tmp_path / "album")).write("x.png", b"data")
