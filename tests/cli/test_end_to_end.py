"""The command as its users run it, on the sample album: whole outputs, exit codes, and what a second run does."""

from __future__ import annotations

import contextlib
import csv
import io
import json
import os
import pty
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from PIL import Image

if TYPE_CHECKING:
    from conftest import Shell

ROOT = Path(__file__).parent.parent.parent
GOLDEN = Path(__file__).parent.parent / "golden" / "cli"
NUMBER = re.compile(r"(?<![\w.])-?\d+(?:\.\d+)?(?![\w.])")
EVERY_FACE = ("-k", "0", "-t", "none", "--by", "face")


@pytest.fixture(scope="module")
def library(tmp_path_factory: pytest.TempPathFactory, shared_cache: Path) -> Path:
    """A directory with the sample album and its index, for tests that only read it."""
    folder = tmp_path_factory.mktemp("library")
    subprocess.run([sys.executable, str(ROOT / "examples/sample_album.py"), str(folder)], check=True)
    command = [sys.executable, "-m", "facecli", "index", "-q", "album"]
    subprocess.run(command, check=True, cwd=folder, env=os.environ | {"XDG_CACHE_HOME": str(shared_cache)})
    return folder


def assert_golden(name: str, seen: str) -> None:
    """Compare a whole output with a golden file: text equal, similarities within 0.003, coordinates within 1.5 px.

    Processors differ in the last digits of a network's result.
    """
    wanted = (GOLDEN / name).read_text("utf-8")
    assert NUMBER.sub("#", seen) == NUMBER.sub("#", wanted)
    for ours, theirs in zip(NUMBER.finditer(seen), NUMBER.finditer(wanted), strict=True):
        assert float(ours[0]) == pytest.approx(float(theirs[0]), abs=tolerance(wanted, theirs)), f"{name}: {seen}"


def tolerance(text: str, number: re.Match[str]) -> float:
    """The tolerance of a number, by its form and its context."""
    beside = text[max(0, number.start() - 1)] + text[number.end() : number.end() + 1]
    in_box = (
        "," in beside
        or "[" in beside
        or "]" in beside
        or (beside[0] == " " and text[: number.start()].rstrip()[-1:] == ",")
    )
    decimals = len(number[0].partition(".")[2])
    if decimals >= 3 or (decimals and abs(float(number[0])) <= 1):
        return 0.003
    return 1.5 if in_box or decimals else 0.0


@pytest.mark.parametrize(
    ("golden", "arguments"),
    [
        ("search.tsv", ("yaoming.jpg", "-t", "none")),
        ("search-auto.tsv", ("yaoming.jpg",)),
        ("search-faces.tsv", ("yaoming.jpg", *EVERY_FACE, "-k", "6")),
        ("search-paths.txt", ("-l", "yaoming.jpg", "-t", "none")),
        ("search.jsonl", ("--json", "yaoming.jpg", "-t", "none", "-k", "2")),
        ("search.csv", ("--csv", "yaoming.jpg", "-t", "none", "-k", "2")),
        ("search-all-faces.csv", ("--csv", "album/party/gdp.jpg", "--face", "all", "-k", "1")),
        (
            "search-mean.jsonl",
            ("--json", "yaoming.jpg", "album/sport/players.jpg", "--combine", "mean", "-t", "none", "-k", "1"),
        ),
    ],
)
def test_search_prints(shell: Shell, library: Path, golden: str, arguments: tuple[str, ...]) -> None:
    assert_golden(golden, shell("search", *arguments, cwd=library).text)


def test_the_player_is_found(shell: Shell, library: Path) -> None:
    """The known answer: similarity 0.633, and no other similar face."""
    rows = [line.split("\t") for line in shell("search", "yaoming.jpg", "-t", "none", cwd=library).text.splitlines()]
    assert rows[0][1] == "album/sport/players.jpg"
    assert float(rows[0][0]) == pytest.approx(0.633, abs=0.003)
    assert float(rows[1][0]) < 0.2


def test_print0_ends_each_path(shell: Shell, library: Path) -> None:
    lines = shell("search", "-l", "yaoming.jpg", "-t", "none", cwd=library).out
    assert shell("search", "-0", "yaoming.jpg", "-t", "none", cwd=library).out == lines.replace(b"\n", b"\0")


def test_faces_prints(shell: Shell, library: Path) -> None:
    assert_golden("faces.tsv", shell("faces", "album/party/gdp.jpg", "yaoming.jpg", cwd=library).text)


@pytest.mark.parametrize(
    ("other", "verdict", "code"), [("album/sport/players.jpg", "different", 1), ("yaoming.jpg", "same", 0)]
)
def test_verify_prints(shell: Shell, library: Path, other: str, verdict: str, code: int) -> None:
    """The largest face in the team photo is another player; --face all finds the right one."""
    fields = shell("verify", "yaoming.jpg", other, code=code, cwd=library).text.rstrip("\n").split("\t")
    assert fields[2] == verdict
    assert (float(fields[0]) >= float(fields[1])) == (verdict == "same")
    assert shell("verify", "--face", "all", "yaoming.jpg", other, cwd=library).text.split("\t")[2] == "same\n"


def test_stdin_is_a_query(shell: Shell, library: Path) -> None:
    piped = shell("search", "-", "-t", "none", stdin=(library / "yaoming.jpg").read_bytes(), cwd=library)
    assert piped.out == shell("search", "yaoming.jpg", "-t", "none", cwd=library).out


def test_a_face_of_the_index_is_a_query(shell: Shell, library: Path) -> None:
    """A search by the astronaut's indexed face gives the same results as by her photo, without that face itself."""
    by_photo = [
        line.split("\t")
        for line in shell("search", "album/space/astronaut.png", *EVERY_FACE, cwd=library).text.splitlines()
    ]
    by_face = [
        line.split("\t")
        for line in shell("search", f"face:{by_photo[0][2]}", *EVERY_FACE, cwd=library).text.splitlines()
    ]
    likeness = {row[2]: float(row[0]) for row in by_photo[1:]}
    assert {row[2]: float(row[0]) for row in by_face} == pytest.approx(likeness, abs=0.002)


def test_paths_fit_the_working_directory(shell: Shell, library: Path) -> None:
    here = shell("search", "-l", library / "yaoming.jpg", "-t", "none", cwd=library / "album/party").text.splitlines()
    assert {path for path in here if not path.startswith("/")} == {"gdp.jpg", "t1.jpg"}
    assert all((library / "album/party" / path).is_file() for path in here)
    absolute = shell("search", "-l", "--absolute", "yaoming.jpg", "-t", "none", cwd=library).text.splitlines()
    assert set(absolute) == {str(path) for path in (library / "album").rglob("*.*")}


def test_info_counts(shell: Shell, library: Path) -> None:
    record = json.loads(shell("info", "--json", cwd=library).text)
    assert (record["photos"], record["faces"]) == (4, 34)
    shell("check", cwd=library)


@pytest.mark.parametrize(
    ("arguments", "what"),
    [
        (("search", "gone.jpg"), "gone.jpg"),
        (("search", "text.jpg"), "text.jpg"),
        (("search", "black.png"), "black.png"),
        (("search", "face:999999"), "999999"),
        (("search", "yaoming.jpg", "-t", "2"), "2"),
        (("search", "yaoming.jpg", "-i", "nowhere"), "nowhere"),
        (("search", "yaoming.jpg", "--face", "7"), "7"),
        (("search", "yaoming.jpg", "-d", "cuda:99"), "cuda"),
        (("search", "yaoming.jpg", "-m", "nowhere"), "nowhere"),
        (("index", "nowhere"), "nowhere"),
        (("verify", "yaoming.jpg", "black.png"), "black.png"),
        (("faces", "text.jpg"), "text.jpg"),
        (("remove", "nowhere.jpg"), "nowhere.jpg"),
    ],
)
def test_a_failure_is_one_line_and_a_hint(shell: Shell, library: Path, arguments: tuple[str, ...], what: str) -> None:
    Image.new("RGB", (200, 200)).save(library / "black.png")
    (library / "text.jpg").write_text("no image\n" * 20)
    ran = shell(*arguments, code=2, cwd=library)
    lines = [line for line in ran.errors.splitlines() if not line.startswith("hint: ")]
    assert ran.out == b""
    assert len(lines) == 1, ran.errors
    assert re.fullmatch(r"facecli: error: \S.*: \S.*", lines[0])
    assert what in lines[0]


def test_no_index_says_how_to_make_one(shell: Shell, find_sample: Callable[[str], Path]) -> None:
    lines = shell("search", find_sample("yaoming.jpg"), code=2).errors.splitlines()
    assert re.fullmatch(r"facecli: error: .*: .*", lines[0])
    assert lines[1].startswith("hint: ")
    assert "facecli index" in lines[1]
    assert list(shell.work.iterdir()) == []


def test_nothing_matched_is_1(shell: Shell, library: Path) -> None:
    ran = shell("search", "yaoming.jpg", "-t", "0.9", code=1, cwd=library)
    assert ran.out == b""
    assert ran.errors == "not found among 34 faces in 4 photos; the nearest has 0.63 (-t none shows it)\n"


def test_one_of_several_queries_fails(shell: Shell, library: Path) -> None:
    ran = shell("search", "--csv", "yaoming.jpg", "gone.jpg", "album/space/astronaut.png", code=2, cwd=library)
    assert [line.split(",")[0] for line in ran.text.splitlines()[1:]] == ["yaoming.jpg", "album/space/astronaut.png"]
    assert re.search(r"^facecli: error: .*gone\.jpg$", ran.errors, re.MULTILINE)


def test_quiet_is_silent(shell: Shell, album: Path, library: Path) -> None:
    assert shell("index", "-q", album).errors == ""
    assert shell("search", "-q", "album/party/t1.jpg", cwd=library).errors == ""
    assert shell("search", "-q", "gone.jpg", code=2, cwd=library).errors.startswith("facecli: error: ")


@pytest.mark.parametrize("form", [(), ("--json",), ("--csv",), ("-0",)])
def test_a_closed_pipe_ends_it_silently(shell: Shell, library: Path, form: tuple[str, ...]) -> None:
    reader, writer = os.pipe()
    os.close(reader)
    command = [sys.executable, "-m", "facecli", "search", "-q", "yaoming.jpg", *EVERY_FACE, *form]
    done = subprocess.run(
        command, stdout=writer, stderr=subprocess.PIPE, cwd=library, env=shell.environment, check=False
    )
    os.close(writer)
    assert (done.returncode, done.stderr) == (0, b"")


def on_terminal(shell: Shell, folder: Path, *arguments: str, **environment: str) -> str:
    """The output of a command on a terminal of 80 columns."""
    ours, theirs = pty.openpty()
    env = shell.environment | {"TERM": "xterm-256color", "COLUMNS": "80"} | environment
    process = subprocess.Popen(
        [sys.executable, "-m", "facecli", *arguments], stdin=theirs, stdout=theirs, stderr=theirs, cwd=folder, env=env
    )
    os.close(theirs)
    shown = b""
    with contextlib.suppress(OSError):  # Linux ends a terminal whose other side is closed with EIO
        while part := os.read(ours, 65536):
            shown += part
    os.close(ours)
    assert process.wait() == 0
    return shown.decode().replace("\r\n", "\n")


def test_a_terminal_gets_a_table(shell: Shell, library: Path) -> None:
    shown = on_terminal(shell, library, "search", "yaoming.jpg", "-t", "none", NO_COLOR="1")
    rows = [line for line in shown.splitlines() if "album/" in line]
    assert len(rows) == 4
    assert len({row.index("album/") for row in rows}) == 1
    assert "\t" not in shown
    assert not re.search(r"\x1b\[[\d;]*m", shown)
    assert re.search(r"\x1b\[[\d;]*m", on_terminal(shell, library, "search", "yaoming.jpg", "-t", "none"))


def index_report(shell: Shell, *arguments: str | Path, code: int = 0) -> dict[str, Any]:
    report: dict[str, Any] = json.loads(shell("index", "--json", *arguments, code=code).text)
    return report


def changes(report: dict[str, Any]) -> dict[str, int]:
    """The counts of photos that are not 0."""
    return {name: count for name, count in report["photos"].items() if count}


def test_a_first_and_a_second_run(shell: Shell, album: Path) -> None:
    first = index_report(shell, album)
    assert changes(first) == {"seen": 4, "new": 4, "total": 4}
    assert first["faces"] == {"added": 34, "removed": 0, "total": 34}
    assert first["bottleneck"] in first["stages"]
    assert (first["device"], first["provider"]) == ("cpu", "CPUExecutionProvider")
    before = shell("search", album / "space/astronaut.png", *EVERY_FACE).out
    second = index_report(shell)
    assert changes(second) == {"seen": 4, "unchanged": 4, "total": 4}
    assert second["faces"] == {"added": 0, "removed": 0, "total": 34}
    assert shell("search", album / "space/astronaut.png", *EVERY_FACE).out == before


def test_moved_changed_new_and_gone(shell: Shell, album: Path, find_sample: Callable[[str], Path]) -> None:
    shell("index", "-q", album)
    ids = shell("search", "-k", "0", "-t", "none", "--by", "face", "--csv", find_sample("yaoming.jpg")).text
    (album / "space/astronaut.png").rename(album / "moved.png")
    (album / "party/t1.jpg").unlink()
    shutil.copyfile(find_sample("yaoming.jpg"), album / "new.jpg")
    with Image.open(album / "party/gdp.jpg") as photo:
        photo.save(album / "party/gdp.jpg", quality=97, comment="edited")
    report = index_report(shell)
    assert changes(report) == {"seen": 4, "new": 1, "changed": 1, "moved": 1, "unchanged": 1, "removed": 1, "total": 4}
    assert report["faces"]["total"] == 34 - 6 + 1
    after = shell("search", "-k", "0", "-t", "none", "--by", "face", "--csv", find_sample("yaoming.jpg")).text
    assert len(faces_of(ids, "gdp.jpg")) == 5
    assert faces_of(after, "moved.png") == faces_of(ids, "astronaut.png")
    assert faces_of(after, "gdp.jpg") == faces_of(ids, "gdp.jpg")
    shell("check")


def faces_of(rows: str, name: str) -> set[str]:
    """The face ids of one photo in the CSV rows of a search."""
    return {row["face"] for row in csv.DictReader(io.StringIO(rows)) if row["path"].endswith(name)}


def test_bad_files_are_named_once_and_stop_nothing(shell: Shell, album: Path) -> None:
    (album / "bad.jpg").write_text("no image at all\n" * 20)
    (album / "cut.jpg").write_bytes((album / "party/t1.jpg").read_bytes()[:40_000])
    (album / "notes.txt").write_text("not a photo\n")
    first = shell("index", album, code=3)
    assert first.out == b""
    assert [name for name in ("bad.jpg", "cut.jpg") if first.errors.count(name) != 1] == []
    assert "notes.txt" not in first.errors
    again = index_report(shell)
    assert [(s["path"], s["reason"], s.get("known")) for s in again["skipped"]] == [
        ("album/bad.jpg", "not-an-image", True),
        ("album/cut.jpg", "truncated", True),
    ]
    assert changes(again) == {"seen": 6, "unchanged": 4, "skipped": 2, "total": 4}


def test_removed_stays_out(shell: Shell, album: Path, find_sample: Callable[[str], Path]) -> None:
    shell("index", "-q", album)
    shell("remove", "album/sport/players.jpg")
    shell("search", find_sample("yaoming.jpg"), code=1)
    shell("index", "-q", "--force")
    shell("search", find_sample("yaoming.jpg"), code=1)
    shell("check")
    assert (album / "sport/players.jpg").is_file()


def test_an_empty_directory_is_no_failure(shell: Shell) -> None:
    (shell.work / "empty").mkdir()
    assert "no photos" in shell("index", "empty").errors


def test_photos_and_home_are_left_as_they_are(shell: Shell, album: Path) -> None:
    before = {path: (path.stat().st_mtime_ns, path.read_bytes()) for path in album.rglob("*") if path.is_file()}
    shell("index", "-q", album)
    shell("search", "-q", album / "party/t1.jpg")
    assert {path: (path.stat().st_mtime_ns, path.read_bytes()) for path in album.rglob("*") if path.is_file()} == before
    assert [path.name for path in shell.work.iterdir() if path != album] == [".facecli"]
    assert list(Path(shell.environment["HOME"]).iterdir()) == []
