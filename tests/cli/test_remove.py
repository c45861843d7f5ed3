"""`facecli remove` as its users run it."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest

from facecli.fingerprint import Fingerprint
from facecli.store.reader import open_reader
from facecli.store.records import Batch, EmbeddingKind
from facecli.store.writer import open_writer
from facecli.types import Detections, IndexedPhoto, PhotoFile

if TYPE_CHECKING:
    from conftest import Shell


@pytest.fixture
def index(shell: Shell, indexed_album: Path) -> Path:
    """The index of the album with a copy of one photo."""
    shutil.copyfile(indexed_album / "party" / "gdp.jpg", indexed_album / "space" / "copy.jpg")
    shell("index", "-q", "album")
    return shell.work / ".facecli"


def paths(shell: Shell) -> list[str]:
    return [line.split("\t")[0] for line in shell("info", "--photos").text.splitlines()]


def counts(shell: Shell, *arguments: str) -> dict[str, int]:
    found = json.loads(shell("index", "--json", *arguments).out)["photos"]
    return {key: value for key, value in found.items() if value}


@pytest.mark.usefixtures("index")
def test_a_photo_goes_with_its_copy_and_stays_out_until_it_is_let_back(shell: Shell) -> None:
    ran = shell("remove", "party/gdp.jpg", cwd=shell.work / "album")
    assert ran.text == "party/gdp.jpg\tphoto\t5\nspace/copy.jpg\tcopy\t5\n"
    assert "2 photos, 10 faces (1 copy of a photo among them)" in ran.errors
    assert "--forget" in ran.errors
    assert counts(shell, "--force", "album") == {"seen": 5, "changed": 3, "total": 3}
    assert shell("remove", "--forget", "--dry-run", "album/party/gdp.jpg").errors.startswith(
        "1 removal would be forgotten"
    )
    assert "1 removal forgotten; the next" in shell("remove", "--forget", "album/party/gdp.jpg").errors
    assert counts(shell, "album") == {"seen": 5, "new": 2, "unchanged": 3, "total": 5}
    assert "nothing was removed earlier" in shell("remove", "--forget", "album/party/gdp.jpg", code=2).errors


def test_two_slashes_at_the_beginning_are_one(shell: Shell, index: Path) -> None:
    """POSIX distinguishes two leading slashes from one, and `$HOME/album` has two if HOME is the root."""
    photo = shell.work / "album/party/gdp.jpg"
    assert "album/party/gdp.jpg\tphoto\t5\n" in shell("remove", "--dry-run", "-i", f"/{index}", f"/{photo}").text
    assert shell("search", "-l", "-k", "1", "-i", f"/{index}", str(photo)).text == "album/party/gdp.jpg\n"
    assert (
        json.loads(shell("index", "--json", "-i", f"/{index}", "-", stdin=f"/{photo}\n".encode()).out)["photos"][
            "unchanged"
        ]
        == 1
    )


@pytest.mark.usefixtures("index")
def test_a_directory_goes_whole(shell: Shell) -> None:
    assert shell("remove", "album/party/").text.count("\n") == 3
    assert paths(shell) == ["album/space/astronaut.png", "album/sport/players.jpg"]
    assert "removals forgotten; the next" in shell("remove", "--forget", "album").errors
    assert counts(shell, "album")["total"] == 5


def test_a_face_goes_alone_and_comes_back_by_its_number(shell: Shell, index: Path) -> None:
    with open_reader(index) as reader:
        known = reader.at(str(shell.work / "album/party/t1.jpg"))
        assert known is not None
        assert known.photo_id is not None
        face = reader.faces_of(known.photo_id)[2].face_id
    assert shell("remove", f"face:{face}").text == f"album/party/t1.jpg\tface\tface:{face}\n"
    assert shell("search", f"face:{face}", code=2).out == b""
    assert json.loads(shell("index", "--force", "--json", "album").out)["faces"]["total"] == 38
    shell("remove", "--forget", f"face:{face}")
    assert json.loads(shell("index", "--json", "album").out)["faces"]["total"] == 39


@pytest.mark.usefixtures("index")
def test_all_or_nothing(shell: Shell) -> None:
    for wrong in ("album/none.jpg", "face:999", "face:x", f"{shell.work}/elsewhere"):
        ran = shell("remove", "album/party/gdp.jpg", wrong, code=2)
        assert ran.out == b""
        assert ran.errors.startswith("facecli: error: ")
    shell("remove", code=2)
    shell("remove", "--missing", "album/party/gdp.jpg", code=2)
    assert shell("remove", "--dry-run", "album/party").text.count("\n") == 3
    assert len(paths(shell)) == 5


@pytest.mark.usefixtures("index")
def test_missing_follows_the_rules_of_pruning(shell: Shell, indexed_album: Path) -> None:
    (indexed_album / "party" / "t1.jpg").unlink()
    assert shell("remove", "--missing", "--dry-run").text == "album/party/t1.jpg\tphoto\tmissing\n"
    assert len(paths(shell)) == 5
    ran = shell("remove", "--missing")
    assert ran.text == "album/party/t1.jpg\tphoto\tmissing\n"
    assert "--forget" not in ran.errors
    assert len(paths(shell)) == 4
    indexed_album.rename(shell.work / "unplugged")
    assert "is missing; its photos are kept" in shell("remove", "--missing").errors
    indexed_album.mkdir()
    assert "contains none of its photos now" in shell("remove", "--missing").errors
    assert len(paths(shell)) == 4


def test_a_root_is_forgotten_without_a_mark(shell: Shell, index: Path) -> None:
    other = shell.work / "Zq81-other"
    other.mkdir()
    shutil.copyfile(shell.work / "album" / "party" / "t1.jpg", other / "six.jpg")
    (other / "bad.jpg").write_text("no image at all\n" * 9)
    shell("index", "-q", other, code=3)
    assert (
        shell("remove", "--root", "Zq81-other", "--dry-run").text
        == "Zq81-other/six.jpg\tphoto\t6\nZq81-other/bad.jpg\tskipped\t0\n"
    )
    assert len(paths(shell)) == 6
    shutil.rmtree(other)
    ran = shell("remove", "--root", "Zq81-other/")
    assert ran.text == "Zq81-other/six.jpg\tphoto\t6\nZq81-other/bad.jpg\tskipped\t0\n"
    assert ran.errors.startswith(f"dropped {other} with 1 photo; ")
    assert [path.name for path in index.iterdir() if b"Zq81" in path.read_bytes()] == []
    assert counts(shell) == {"seen": 5, "unchanged": 5, "total": 5}, (
        "its copy in the album stays, and nothing is missing"
    )
    assert json.loads(shell("info", "--json").out)["kept_out"] == 0
    shell("check")
    for wrong in (
        ("--root", "Zq81-other"),
        ("--root", "album/party"),
        ("--root", ""),
        ("--root", "album", "--missing"),
        ("--root", ".", "album"),
    ):
        ran = shell("remove", *wrong, code=2)
        assert ran.errors.startswith("facecli: error: ")
    assert len(paths(shell)) == 5
    assert shell("remove", "--root", "album").text.count("\n") == 5
    assert counts(shell, "album")["new"] == 5


def test_a_reader_that_holds_the_index_open_is_told_of(
    shell: Shell, index: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The removal is done; the next writer makes its proof."""
    from click.testing import CliRunner

    from facecli.cli import remove as module
    from facecli.cli.group import facecli
    from facecli.errors import StoreError

    monkeypatch.setattr(module, "WAIT_READERS", 0.1)
    monkeypatch.chdir(shell.work)
    with open_reader(index):
        ran = CliRunner().invoke(facecli, ["remove", "album/party/t1.jpg"])
    assert isinstance(ran.exception, StoreError)
    assert "the erasure is not finished" in ran.exception.what
    assert len(paths(shell)) == 4
    with open_writer(index) as writer:
        assert not writer.info.pending


def test_a_writer_is_waited_for_or_named(shell: Shell, index: Path) -> None:
    with open_writer(index):
        ran = shell("remove", "album/party/t1.jpg", code=2)
    assert "another process writes to the index (process " in ran.errors
    assert "hint: wait for it, or let facecli wait: --wait SECONDS" in ran.errors


@pytest.fixture
def many(shell: Shell) -> Shell:
    """An index of 21 photos without faces."""
    kind = EmbeddingKind(Fingerprint("buffalo_sc", "d" * 64, "e" * 64, 512), "free")
    none = np.zeros((0, 512), np.float32)
    files = [PhotoFile(f"{shell.work}/album/{n:02}.jpg", n, n) for n in range(21)]
    photos = [IndexedPhoto(f, f.path[-16:].encode(), 30, 20, Detections.none(), none) for f in files]
    with open_writer(shell.work / ".facecli", kind, create=True) as writer:
        writer.commit(Batch(photos=tuple(photos)))
        writer.finish()
    return shell


def test_a_terminal_is_asked_before_many_photos(many: Shell, on_terminal: Callable[..., str]) -> None:
    question = "Remove 21 photos, 0 faces from the index? The files stay. [y/N]: "
    shown = on_terminal(many, "remove", "album", answer=b"n\n")
    assert question in shown
    assert "nothing was changed" in shown
    assert len(paths(many)) == 21
    assert question not in on_terminal(many, "remove", "--dry-run", "album")
    assert "Remove" not in on_terminal(many, "remove", "album/00.jpg"), "few photos do not ask"
    assert "Remove" not in on_terminal(many, "remove", "album"), "20 are few"
    assert paths(many) == []


def test_yes_and_a_pipe_are_not_asked(many: Shell, on_terminal: Callable[..., str]) -> None:
    shown = on_terminal(many, "remove", "--yes", "album")
    assert "[y/N]" not in shown
    assert "removed 21 photos, 0 faces from the index; the files stay; later" in shown
    assert paths(many) == []


def test_all_removals_are_forgotten(shell: Shell, index: Path, on_terminal: Callable[..., str]) -> None:
    album = shell.work / "album"
    with open_reader(index) as reader:
        face = next(f.face_id for f in reader.faces() if f.path.endswith("t1.jpg"))
    shell("remove", "album/party/gdp.jpg", f"face:{face}")
    for copy in ("party/gdp.jpg", "space/copy.jpg"):
        (album / copy).rename(shell.work / Path(copy).name)
    hint = shell("remove", "--forget", "album/party/gdp.jpg", code=2).errors
    assert "hint: facecli remove --forget-all" in hint
    assert shell("remove", "--forget-all", "--dry-run").errors == "2 removals would be forgotten\n"
    shown = on_terminal(shell, "remove", "--forget-all", answer=b"n\n")
    assert "Forget 2 removals? Later index runs add these photos and faces again. [y/N]: " in shown
    assert "2 removals" in shell("remove", "--forget-all", "--dry-run").errors
    assert "2 removals forgotten; the next index run" in shell("remove", "--forget-all").errors
    assert shell("remove", "--forget-all").errors == "nothing was removed\n"
    (shell.work / "gdp.jpg").rename(album / "party/gdp.jpg")
    report = json.loads(shell("index", "--json", "album").out)
    assert (report["photos"]["total"], report["faces"]["total"]) == (4, 34)
    assert "other modes" in shell("remove", "--forget-all", "album", code=2).errors
