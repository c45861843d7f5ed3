"""`facecli info` as its users run it."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest
from msgspec.structs import replace
from PIL import Image

from facecli.fingerprint import Fingerprint
from facecli.store.records import Batch, EmbeddingKind
from facecli.store.writer import open_writer
from facecli.types import Detections, IndexedPhoto, PhotoFile, Skipped, SkipReason

if TYPE_CHECKING:
    from conftest import Shell

RECOGNISER = "9cc6e4a75f0e2bf0b1aed94578f144d15175f357bdc05e815e5c4a02b319eb4f"
KIND = EmbeddingKind(Fingerprint("buffalo_sc", "d" * 64, RECOGNISER, 512), "non-commercial research only")


@pytest.fixture
def index(shell: Shell) -> Shell:
    """An index of two photos without faces, one of an odd name, and a file that could not be read."""
    with open_writer(shell.work / ".facecli", KIND, create=True) as writer:
        none = np.zeros((0, 512), np.float32)
        names = ["album/a.jpg", os.fsdecode(b"album/tab\t\xff.jpg")]
        photos = [
            IndexedPhoto(PhotoFile(f"{shell.work}/{n}", 1, 2), bytes(16), 30, 20, Detections.none(), none)
            for n in names
        ]
        skip = Skipped(PhotoFile(f"{shell.work}/album/b.jpg", 1, 2), SkipReason.TRUNCATED, "it ends early")
        writer.commit(Batch(photos=tuple(photos), skips=(skip,)))
        writer.finish()
    return shell


def test_the_summary(index: Shell) -> None:
    lines = dict(line.split(maxsplit=1) for line in index("info").text.splitlines())
    assert (lines["index"], lines["photos"], lines["faces"], lines["generation"]) == (".facecli", "2", "0", "2")
    assert lines["skipped"] == "1 (facecli info --skipped)"
    assert lines["model"] == "buffalo_sc, 512 dimensions"
    assert "non-commercial" in lines["licence"]
    assert "det-size 640" in lines["settings"]
    assert "1 false match in" in lines["threshold"]
    assert "catalog.db" in lines["size"]


def test_lists_escape_what_would_break_a_line(index: Shell) -> None:
    assert index("info", "--photos").out == b"album/a.jpg\t0\t30\t20\nalbum/tab\\t\xff.jpg\t0\t30\t20\n"
    assert index("info", "--skipped").out == b"album/b.jpg\ttruncated\tit ends early\n"
    assert index("info", "--skipped", "--photos", cwd=index.work / ".facecli").out.count(b"\n") == 3
    assert index("info", "--photos", "--absolute").text.startswith(f"{index.work}/album/a.jpg\t")


def test_json(index: Shell) -> None:
    about = json.loads(index("info", "--json").out)
    assert (about["photos"], about["faces"], about["skipped"], about["model"], about["dimension"]) == (
        2,
        0,
        1,
        "buffalo_sc",
        512,
    )
    assert about["settings"]["det-size"] == 640
    assert (about["pending"], about["migrating_to"]) == (False, None)
    assert "photo_list" not in about
    assert about["threshold"] == {
        "name": "auto",
        "value": 0.28,
        "false_match_rate": 4.7e-4,
        "people": 24,
        "pairs": 49_300_000,
    }
    whole = json.loads(index("info", "--json", "--photos", "--skipped").out)
    known = {"path": "album/a.jpg", "faces": 0, "width": 30, "height": 20}
    assert whole["photo_list"][0] == {**known, "taken_at": None, "lat": None, "lon": None}
    assert whole["photo_list"][1]["path_base64"] == "YWxidW0vdGFiCf8uanBn"
    assert whole["skipped_list"] == [{"path": "album/b.jpg", "reason": "truncated", "detail": "it ends early"}]


def test_a_migration_that_is_not_finished_is_named_by_what_changes(index: Shell) -> None:
    found = KIND.fingerprint
    others = (
        replace(found, detection=replace(found.detection, det_size=960, rotate=False)),
        replace(found, model="big", detector_sha256="e" * 64),
    )
    said = []
    for fingerprint in others:
        with open_writer(index.work / ".facecli", KIND) as writer:
            writer.begin_migration(EmbeddingKind(fingerprint, "none"))
        said += [line for line in index("info").text.splitlines() if line.startswith("migration")]
    goes_on = ", not finished; facecli index --migrate continues"
    assert said == [
        f"migration   det-size 640 to 960, rotate yes to no{goes_on}",
        f"migration   model buffalo_sc to big{goes_on}",
    ]


def test_no_index_is_one_line_with_a_hint(shell: Shell) -> None:
    ran = shell("info", code=2)
    assert ran.out == b""
    assert ran.errors.splitlines()[0].startswith("facecli: error: there is no index at or above: ")
    assert ran.errors.splitlines()[1].startswith("hint: facecli index")
    (shell.work / "empty").mkdir()
    assert "there is no index: " in shell("info", "-i", "empty", code=2).errors
    assert list((shell.work / "empty").iterdir()) == []


def test_lists_are_tables_on_a_terminal(index: Shell, on_terminal: Callable[..., str]) -> None:
    photos = [line.split() for line in on_terminal(index, "info", "--photos").splitlines()]
    assert photos[:2] == [["path", "faces", "width", "height"], ["album/a.jpg", "0", "30", "20"]]
    skipped = on_terminal(index, "info", "--skipped").splitlines()
    assert [line.split(maxsplit=2) for line in skipped] == [
        ["path", "reason", "detail"],
        ["album/b.jpg", "truncated", "it ends early"],
    ]


@pytest.mark.usefixtures("indexed_album")
def test_the_patterns_to_exclude_are_shown(shell: Shell) -> None:
    assert "excluded" not in shell("info").text
    assert json.loads(shell("info", "--json").text)["exclude"] == []
    shell("index", "-q", "--exclude", "party/", "--exclude", "*.gif")
    assert re.search(r"^excluded +party/, \*\.gif \(index --no-exclude", shell("info").text, re.MULTILINE)
    assert json.loads(shell("info", "--json").text)["exclude"] == ["party/", "*.gif"]


def test_photos_within_limits(shell: Shell, album: Path) -> None:
    for name, year in (("gdp.jpg", 2004), ("t1.jpg", 2035)):
        exif = Image.Exif()
        exif.get_ifd(0x8769)[0x9003] = f"{year}:07:14 12:00:00"
        Image.open(album / "party" / name).copy().save(album / "party" / name, exif=exif)
    shell("index", "-q", album.name)
    assert [line.split("\t")[0] for line in shell("info", "--photos", "--under", "album/p*").text.splitlines()] == [
        "album/party/gdp.jpg",
        "album/party/t1.jpg",
    ]
    ran = shell("info", "--json", "--photos", "--before", "2030")
    record = json.loads(ran.out)
    assert [(photo["path"], photo["taken_at"]) for photo in record["photo_list"]] == [
        ("album/party/gdp.jpg", "2004-07-14T12:00:00")
    ]
    assert ran.errors.startswith("2 photos ")
    assert "limits are for --photos" in shell("info", "--after", "2004", code=2).errors
