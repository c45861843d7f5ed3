"""`facecli export`: every format holds the same, is read by others, and appears whole or not at all."""

from __future__ import annotations

import csv
import errno
import io
import json
import os
import shutil
import signal
import stat
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import duckdb
import numpy as np
import pyarrow.parquet
import pytest
from PIL import Image

from facecli import Index

if TYPE_CHECKING:
    from conftest import Shell

FULL = os.strerror(errno.ENOSPC)
FIELDS = [
    *("face_id", "photo_id", "path", "path_bytes", "digest", "width", "height", "taken_at", "offset", "lat", "lon"),
    *("box", "landmarks", "score", "found_by", "person_id", "person", "embedding"),
]


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory, make_album: Callable[[Path], Path]) -> Path:
    """An album with a dated photo and one whose name is not text."""
    folder = tmp_path_factory.mktemp("export")
    album = make_album(folder / "album")
    exif = Image.Exif()
    exif.get_ifd(0x8769).update({0x9003: "2005:07:14 12:00:00", 0x9291: "5", 0x9011: "+02:00"})
    exif.get_ifd(0x8825).update({1: "N", 2: (48.0, 30.0, 0.0), 3: "E", 4: (16.0, 0.0, 0.0)})
    with Image.open(album / "party/t1.jpg") as photo:
        photo.save(album / "party/t1.jpg", quality=95, exif=exif)
    os.rename(album / "party/gdp.jpg", os.fsdecode(os.fsencode(album) + b"/party/g\xff.jpg"))
    index = Index(folder / ".facecli")
    index.add(album)
    index.close()
    return folder


@pytest.fixture
def work(shell: Shell, made: Path) -> Path:
    shutil.copytree(made, shell.work, dirs_exist_ok=True)
    return shell.work


def lines(shell: Shell, *arguments: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in shell("export", *arguments, "-").out.splitlines()]


def test_json_lines_hold_every_field(shell: Shell, work: Path) -> None:
    faces = lines(shell)
    assert len(faces) == 34
    assert all(list(face) == FIELDS for face in faces)
    assert [face["face_id"] for face in faces] == sorted(face["face_id"] for face in faces)
    dated = next(face for face in faces if face["path"].endswith("t1.jpg"))
    assert dated["taken_at"] == "2005-07-14T12:00:00.500"
    assert (dated["offset"], dated["lat"], dated["lon"]) == ("+02:00", 48.5, 16.0)
    assert dated["path"] == str(work / "album/party/t1.jpg")
    odd = next(face for face in faces if face["path_bytes"])
    assert odd["path"].endswith("g\ufffd.jpg")
    with Index(work / ".facecli") as index:
        for face, stored in zip(faces, index, strict=True):
            assert np.array_equal(np.array(face["embedding"], "<f2"), stored.embedding.astype("<f2"))
            assert face["box"] == pytest.approx(stored.box, abs=0.01)
            assert face["landmarks"] == pytest.approx(stored.landmarks.ravel().tolist(), abs=0.01)


def test_csv_holds_the_same(shell: Shell, work: Path) -> None:
    rows = list(csv.DictReader(io.StringIO(shell("export", "--format", "csv", "-").text, newline="")))
    for row, face in zip(rows, lines(shell), strict=True):
        assert [float(row[edge]) for edge in ("x1", "y1", "x2", "y2")] == face["box"]
        assert [float(number) for number in row["embedding"].split()] == face["embedding"]
        assert row["taken_at"] == (face["taken_at"] or "")
    assert work.exists()


def test_numpy_reads_the_arrays_without_a_pickle(shell: Shell, work: Path) -> None:
    shell("export", "faces.npz")
    held = np.load(work / "faces.npz", allow_pickle=False)
    faces = lines(shell)
    assert sorted(held) == sorted([*FIELDS, "about"])
    assert all(len(held[name]) == 34 for name in FIELDS)
    assert held["path"].tolist() == [face["path"] for face in faces]
    assert held["embedding"].dtype == np.float16
    assert np.array_equal(held["embedding"], np.array([face["embedding"] for face in faces], np.float16))
    assert held["taken_at"].astype(str).tolist() == [_milliseconds(face["taken_at"]) for face in faces]
    assert held["person_id"].tolist() == [-1 if face["person_id"] is None else face["person_id"] for face in faces]
    about = json.loads(str(held["about"]))
    assert about["dimension"] == "512"
    assert len(about["detector_sha256"]) == 64


def _milliseconds(time: str | None) -> str:
    return "NaT" if time is None else time if "." in time else f"{time}.000"


def test_duckdb_finds_in_parquet_the_neighbours_that_a_search_finds(
    shell: Shell, work: Path, find_sample: Callable[[str], Path]
) -> None:
    shell("export", "faces.parquet")
    table = pyarrow.parquet.read_table(work / "faces.parquet")
    assert (table.num_rows, table.column_names) == (34, FIELDS)
    assert table.schema.metadata[b"licence"]
    assert str(table.schema.field("embedding").type) == "fixed_size_list<element: halffloat>[512]"
    query = json.loads(shell("faces", "--json", "--embeddings", find_sample("yaoming.jpg")).out)["embedding"]
    found = duckdb.execute(
        "SELECT face_id FROM read_parquet(?) "
        "ORDER BY array_inner_product(embedding::FLOAT[512], ?::FLOAT[512]) DESC LIMIT 5",
        [str(work / "faces.parquet"), query],
    ).fetchall()
    searched = shell("search", "--json", "--by", "face", "-k", "5", "-t", "none", find_sample("yaoming.jpg")).out
    assert [face for (face,) in found] == [json.loads(line)["face"] for line in searched.splitlines()]
    assert pyarrow.parquet.read_table(work / "faces.parquet", columns=["taken_at"])["taken_at"].null_count == 34 - sum(
        face["taken_at"] is not None for face in lines(shell)
    )


def test_photos_and_limits(shell: Shell, work: Path) -> None:
    photos = lines(shell, "--photos")
    assert [photo["faces"] for photo in photos] == [photo["faces"] for photo in sorted(photos, key=lambda p: p["path"])]
    assert sum(photo["faces"] for photo in photos) == 34
    assert "embedding" not in photos[0]
    assert {face["path"] for face in lines(shell, "--under", "album/sport")} == {str(work / "album/sport/players.jpg")}
    ran = shell("export", "--photos", "--after", "2004", "-")
    assert len(ran.out.splitlines()) == 1
    assert "3 photos without a date left out" in ran.errors
    assert "embedding" not in lines(shell, "--no-embeddings")[0]


def test_the_faces_of_a_person(shell: Shell, work: Path) -> None:
    shutil.copyfile(work / "album/party/t1.jpg", work / "album/party/t2.jpg")
    with Image.open(work / "album/party/t1.jpg") as photo:
        photo.save(work / "album/party/t3.jpg", quality=80)
    shell("index", "-q")
    listed = [json.loads(line) for line in shell("people", "--json", "--faces", "--min-photos", "1").out.splitlines()]
    person = listed[0]["person"]
    shell("people", "name", str(person), "Carla")
    faces = lines(shell, "--person", "Carla")
    assert {face["face_id"] for face in faces} == {face["face_id"] for face in listed if face["person"] == person}
    assert {(face["person_id"], face["person"]) for face in faces} == {(person, "Carla")}
    assert {photo["path"] for photo in lines(shell, "--photos", "--person", f"person:{person}")} == {
        face["path"] for face in faces
    }
    assert "no such person" in shell("export", "--person", "Nobody", "-", code=2).errors


@pytest.mark.parametrize("form", ["jsonl", "csv", "npz", "parquet"])
def test_a_file_is_private_and_is_not_overwritten_unasked(shell: Shell, work: Path, form: str) -> None:
    before = {path.name for path in work.iterdir()}
    shell("export", f"faces.{form}")
    assert (work / f"faces.{form}").stat().st_mode & 0o777 == 0o600
    (work / f"faces.{form}").write_text("mine")
    assert "--force" in shell("export", f"faces.{form}", code=2).errors
    assert (work / f"faces.{form}").read_text() == "mine"
    shell("export", "--force", f"faces.{form}")
    assert (work / f"faces.{form}").stat().st_size > 1000
    assert {path.name for path in work.iterdir()} == before | {f"faces.{form}"}


@pytest.mark.parametrize(
    "command", [("export",), ("export", "--force", "--format", "csv"), ("people", "export", "--force")]
)
def test_a_pipe_is_written_into_and_not_replaced(shell: Shell, work: Path, command: tuple[str, ...]) -> None:
    os.mkfifo(work / "pipe")
    wanted = shell(*command, "-").out
    with open(work / "got", "wb") as got, subprocess.Popen(["cat", work / "pipe"], stdout=got) as reader:
        try:
            shell(*command, "pipe")
            assert stat.S_ISFIFO((work / "pipe").stat().st_mode)
            reader.wait(60)
        finally:
            reader.kill()
    assert (work / "got").read_bytes() == wanted
    assert "pipe" in shell("export", "--format", "npz", "pipe", code=2).errors


@pytest.mark.parametrize("ending", ["", ".json", ".NDJSON", ".pdf"])
def test_json_lines_without_an_ending_by_their_endings_or_if_named(shell: Shell, work: Path, ending: str) -> None:
    named = ("--format", "jsonl") if ending == ".pdf" else ()
    shell("export", "--no-embeddings", *named, f"faces{ending}")
    assert (work / f"faces{ending}").read_bytes() == shell("export", "--no-embeddings", "-").out


@pytest.mark.parametrize("file", ["-", "/dev/full", "/dev/stdout"])
def test_nothing_is_said_to_be_written_that_was_not(shell: Shell, work: Path, file: str) -> None:
    command = f"{sys.executable} -m facecli export {file}"
    for stdout, code, said in ((">/dev/full", 2, 1), ("| true; exit ${PIPESTATUS[0]}", 0, 0)):
        done = subprocess.run(
            ["bash", "-c", f"{command} {stdout}"], cwd=work, env=shell.environment, check=False, capture_output=True
        )
        lines = done.stderr.decode().splitlines()
        if file == "/dev/full":
            assert (done.returncode, lines) == (2, [f"facecli: error: cannot be written ({FULL}): {file}"])
        else:
            assert (done.returncode, len(lines)) == (code, said), lines
            assert all(line.startswith("facecli: error: cannot be written") for line in lines)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_leaves_no_part_of_a_file(shell: Shell, work: Path, number: signal.Signals) -> None:
    """The export waits in the middle of its records."""
    before = sorted(path.name for path in work.iterdir())
    script = f"""
import os, sys, time, facecli.cli.main, facecli.exporting
def slow(self):
    yield from list(ExportRecords(self))[:9]
    os.kill(os.getpid(), {int(number)})
    time.sleep(60)
ExportRecords, facecli.exporting.Export.records = facecli.exporting.Export.records, slow
sys.argv[1:] = ["export", "out.npz"]
sys.exit(facecli.cli.main.main())
"""
    done = subprocess.run(
        [sys.executable, "-c", script], cwd=work, env=shell.environment, check=False, capture_output=True, timeout=60
    )
    assert done.returncode == 128 + number, done.stderr
    assert sorted(path.name for path in work.iterdir()) == before


def test_a_directory_is_not_replaced(shell: Shell, work: Path) -> None:
    before = sorted(path.name for path in work.iterdir())
    assert "a directory: album" in shell("export", "--force", "album", code=2).errors
    assert sorted(path.name for path in work.iterdir()) == before


@pytest.mark.parametrize("form", ["jsonl", "npz", "parquet"])
def test_a_full_disk_leaves_nothing(shell: Shell, work: Path, form: str) -> None:
    before = sorted(path.name for path in work.iterdir())
    command = f"ulimit -f 8; exec {sys.executable} -m facecli export out.{form}"
    done = subprocess.run(["bash", "-c", command], cwd=work, env=shell.environment, check=False, capture_output=True)
    assert done.returncode in (2, 153), done.stderr
    left = sorted(path.name for path in work.iterdir() if not path.name.endswith(".part"))
    assert left == before


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["no/such/f.jsonl"], "no such directory"),
        (["faces.pdf"], "no format of an export ends in .pdf: faces.pdf\nhint: end it in jsonl, csv, npz, parquet, or"),
        (["faces.csv.gz"], "no format of an export ends in .gz: faces.csv.gz\n"),
        (["--format", "npz", "-"], "pipe"),
        (["--format", "parquet", "-"], "pipe"),
        ([""], "empty name"),
        ([".facecli/x.jsonl"], "index"),
        (["--near", "91,0", "-"], "not a place"),
        (["--after", "yesterday", "-"], "not a time"),
    ],
)
def test_what_is_wrong_is_one_line(shell: Shell, work: Path, arguments: list[str], said: str) -> None:
    ran = shell("export", *arguments, code=2)
    assert said in ran.errors
    assert ran.out == b""
    assert work.exists()
