"""`facecli faces` as its users run it."""

from __future__ import annotations

import csv
import io
import json
import os
import re
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import cv2
import numpy as np

if TYPE_CHECKING:
    from conftest import Shell

Find = Callable[[str], Path]
ROW = re.compile(r"(\d+)\t(-?\d+(?:,-?\d+){3})\t(0\.\d{4})\t(\d+)x(\d+)\t(.+)")


def test_a_line_for_each_face_by_falling_area(shell: Shell, find_sample: Find) -> None:
    ran = shell("faces", find_sample("t1.jpg"))
    rows = [ROW.fullmatch(line) for line in ran.text.splitlines()]
    assert [row is not None and int(row[1]) for row in rows] == [1, 2, 3, 4, 5, 6]
    areas = [int(row[4]) * int(row[5]) for row in rows if row is not None]
    assert areas == sorted(areas, reverse=True)
    assert ran.errors == ""
    assert not (shell.work / ".facecli").exists()


def test_json_has_every_key_and_the_embedding_only_when_asked(shell: Shell, find_sample: Find) -> None:
    (shell.work / "a.jpg").write_bytes(find_sample("yaoming.jpg").read_bytes())
    bare = json.loads(shell("faces", "--json", "a.jpg").out)
    assert list(bare) == ["path", "face", "face_number", "box", "score", "size"]
    assert bare["path"] == "a.jpg"
    whole = json.loads(shell("faces", "--json", "--embeddings", "a.jpg").out)
    assert bare == {k: v for k, v in whole.items() if k != "embedding"}
    assert np.isclose(np.linalg.norm(whole["embedding"]), 1, atol=1e-5)
    assert len(whole["embedding"]) == 512


def test_crops_are_aligned_and_never_overwritten(shell: Shell, find_sample: Find) -> None:
    (shell.work / "crops").mkdir()
    (shell.work / "crops" / "yaoming-1.png").write_bytes(b"mine")
    for _ in range(2):
        shell("faces", "-q", "--crops", "crops", find_sample("yaoming.jpg"))
        assert sorted(p.name for p in (shell.work / "crops").iterdir()) == ["yaoming-1-2.png", "yaoming-1.png"]
    assert (shell.work / "crops" / "yaoming-1.png").read_bytes() == b"mine"
    crop = cv2.imread(str(shell.work / "crops" / "yaoming-1-2.png"))
    assert crop is not None
    assert crop.shape == (112, 112, 3)
    assert (shell.work / "crops" / "yaoming-1-2.png").stat().st_mode & 0o777 == 0o600


def test_what_cannot_be_read_is_named_and_the_rest_listed(shell: Shell, find_sample: Find) -> None:
    (shell.work / "text.jpg").write_text("no image\n" * 9)
    ran = shell("faces", "gone.jpg", find_sample("yaoming.jpg"), "text.jpg", find_sample("astronaut.png"), code=3)
    assert [Path(line.split("\t")[-1]).name for line in ran.text.splitlines()] == ["yaoming.jpg", "astronaut.png"]
    assert "no such photo: gone.jpg" in ran.errors
    assert ran.errors.count("facecli: error: ") == 2
    assert "no such photo: gone.jpg" in shell("faces", "gone.jpg", code=2).errors
    assert shell("faces", "gone.jpg", "text.jpg", code=2).out == b""


def test_a_photo_without_a_face_is_no_error(shell: Shell) -> None:
    cv2.imwrite(str(shell.work / "black.png"), np.zeros((200, 200, 3), np.uint8))
    ran = shell("faces", "black.png")
    assert (ran.out, ran.errors) == (b"", "black.png: no face found\n")


def test_one_face_may_be_chosen_and_stdin_read(shell: Shell, find_sample: Find) -> None:
    ran = shell("faces", "--face", "2", "-", stdin=find_sample("t1.jpg").read_bytes())
    assert [line.split("\t")[0] for line in ran.text.splitlines()] == ["2"]
    assert "no face 7, the photo has 6" in shell("faces", "--face", "7", find_sample("t1.jpg"), code=2).errors
    for wrong in ("0", "-1", "some"):
        assert "--face" in shell("faces", "--face", wrong, "x.jpg", code=2).errors
    assert "only once" in shell("faces", "-", "-", code=2).errors
    assert "--json" in shell("faces", "--embeddings", "x.jpg", code=2).errors


def test_many_photos_come_in_the_order_they_were_named(shell: Shell, find_sample: Find) -> None:
    names = ["yaoming.jpg", "t1.jpg", "astronaut.png"] * 3
    ran = shell("faces", *map(find_sample, names))
    seen = [Path(line.split("\t")[-1]).name for line in ran.text.splitlines() if line.startswith("1\t")]
    assert seen == names


def test_a_closed_pipe_and_an_unwritable_folder(shell: Shell, find_sample: Find) -> None:
    (shell.work / "file").write_bytes(b"")
    ran = shell("faces", "--crops", "file/crops", find_sample("yaoming.jpg"), code=2)
    assert re.match(r"facecli: error: .+: file/crops", ran.errors)


def test_the_faces_of_the_index_are_listed_without_a_model(shell: Shell, album_home: Path, tmp_path: Path) -> None:
    """Numbers and boxes are those of the photo, ids those of a search."""
    none = {"HOME": str(tmp_path), "PATH": os.environ["PATH"]}
    ran = shell("faces", "--indexed", "--json", "album/party", cwd=album_home, env=none)
    listed = [json.loads(line) for line in ran.text.splitlines()]
    assert list(listed[0]) == ["path", "face_id", "face_number", "box", "score", "size", "person"]
    assert {record["path"] for record in listed} == {"album/party/gdp.jpg", "album/party/t1.jpg"}
    seen = [record for record in listed if record["path"] == "album/party/t1.jpg"]
    found = [
        json.loads(line) for line in shell("faces", "--json", "album/party/t1.jpg", cwd=album_home).out.splitlines()
    ]
    assert [r["face_number"] for r in seen] == [r["face_number"] for r in found] == [1, 2, 3, 4, 5, 6]
    assert np.allclose([r["box"] for r in seen], [r["box"] for r in found], atol=0.01)
    every = shell("search", "group.jpg", "-k", "0", "-t", "none", "--by", "face", "--json", cwd=album_home)
    ids = {m["face_id"]: m["path"] for m in map(json.loads, every.text.splitlines())}
    assert {r["face_id"]: r["path"] for r in listed}.items() <= ids.items()
    (whole,) = shell("faces", "--indexed", "--json", "--embeddings", "album/space", cwd=album_home).text.splitlines()
    assert np.isclose(np.linalg.norm(json.loads(whole)["embedding"]), 1, atol=1e-3)
    first = shell("faces", "--indexed", "--face", "largest", "album", cwd=album_home).text.splitlines()
    assert [Path(row.split("\t")[4]).name for row in first] == ["gdp.jpg", "t1.jpg", "astronaut.png", "players.jpg"]


def test_what_the_index_does_not_have_is_named(shell: Shell, album_home: Path) -> None:
    ran = shell("faces", "--indexed", "yao.jpg", "album/space", cwd=album_home, code=3)
    assert len(ran.text.splitlines()) == 1
    assert "facecli: error: not in the index: yao.jpg\n" in ran.errors
    shell("faces", "--indexed", "yao.jpg", cwd=album_home, code=2)
    assert "--indexed --crops" in shell("faces", "--indexed", "--crops", "c", "album", cwd=album_home, code=2).errors
    assert "no index" in shell("faces", "--indexed", "album", code=2).errors


def test_csv_has_the_fields_of_the_record(shell: Shell, find_sample: Find) -> None:
    rows = list(csv.DictReader(io.StringIO(shell("faces", "--csv", find_sample("yaoming.jpg")).text)))
    (record,) = map(json.loads, shell("faces", "--json", find_sample("yaoming.jpg")).text.splitlines())
    assert [list(row) for row in rows] == [
        ["path", "face", "face_number", "x1", "y1", "x2", "y2", "score", "width", "height"]
    ]
    assert [float(rows[0][edge]) for edge in ("x1", "y1", "x2", "y2")] == record["box"]
    assert "one format" in shell("faces", "--csv", "--json", "x.jpg", code=2).errors
