"""Files that are put into a directory without writing over any."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from facecli.errors import OutputError
from facecli.output import placing
from facecli.output.placing import Folder, numbered, replace_file


@pytest.fixture
def photos(tmp_path: Path) -> list[Path]:
    places = [tmp_path / "a/x.jpg", tmp_path / "b/x.jpg", tmp_path / "c/x.jpg"]
    for place, data in zip(places, (b"one", b"two", b"one"), strict=True):
        place.parent.mkdir()
        place.write_bytes(data)
    return places


def test_same_names_get_numbers_and_a_second_run_adds_nothing(photos: list[Path], tmp_path: Path) -> None:
    for _ in range(2):
        folder = Folder(str(tmp_path / "out"))
        assert [Path(folder.copy(str(p))).name for p in photos] == ["x.jpg", "x-2.jpg", "x-3.jpg"]
    assert [(tmp_path / "out" / n).read_bytes() for n in ("x.jpg", "x-2.jpg", "x-3.jpg")] == [b"one", b"two", b"one"]
    assert len(list((tmp_path / "out").iterdir())) == 3


def test_links_are_told_from_files_and_other_links(photos: list[Path], tmp_path: Path) -> None:
    out = tmp_path / "out"
    out.mkdir()
    (out / "x.jpg").symlink_to("nowhere")
    folder = Folder(str(out))
    assert folder.link(str(photos[0])) == str(out / "x-2.jpg")
    assert Folder(str(out)).link(str(photos[0])) == str(out / "x-2.jpg")
    assert Folder(str(out)).copy(str(photos[0])) == str(out / "x-3.jpg")
    assert os.readlink(out / "x.jpg") == "nowhere"


def test_a_name_that_another_takes_first_is_left_to_it(photos: list[Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real = os.path.lexists
    monkeypatch.setattr(placing.os.path, "lexists", lambda p: False if str(p).endswith("out/x.jpg") else real(p))
    (tmp_path / "out").mkdir()
    (tmp_path / "out/x.jpg").write_bytes(b"theirs")
    assert Folder(str(tmp_path / "out")).copy(str(photos[0])) == str(tmp_path / "out/x-2.jpg")
    assert (tmp_path / "out/x.jpg").read_bytes() == b"theirs"


def test_a_copy_that_fails_leaves_nothing(photos: list[Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(placing.shutil, "copyfileobj", fail)
    with pytest.raises(OutputError, match="No space left"):
        Folder(str(tmp_path / "out")).copy(str(photos[0]))
    assert list((tmp_path / "out").iterdir()) == []


def test_a_file_system_without_links_is_an_error_that_says_so(photos: list[Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object) -> None:
        raise OSError(1, "Operation not permitted")

    monkeypatch.setattr(placing.os, "symlink", fail)
    with pytest.raises(OutputError, match="Operation not permitted") as caught:
        Folder(str(tmp_path / "out")).link(str(photos[0]))
    assert "--copy-to" in caught.value.hint


def test_copies_are_their_owners_and_as_old_as_the_original(photos: list[Path], tmp_path: Path) -> None:
    os.utime(photos[0], ns=(5, 1_000_000_007))
    copy = Path(Folder(str(tmp_path / "out")).copy(str(photos[0])))
    assert (copy.stat().st_mode & 0o777, copy.stat().st_mtime_ns) == (0o600, 1_000_000_007)
    assert copy.parent.stat().st_mode & 0o777 == 0o700


@pytest.mark.parametrize(("name", "number", "made"), [("x.jpg", 1, "x.jpg"), ("x.jpg", 2, "x-2.jpg"), ("x", 3, "x-3"), (".x", 2, ".x-2")])
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
