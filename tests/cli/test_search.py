"""`facecli search` as its users run it, on an album of four photos with 34 faces."""

from __future__ import annotations

import csv
import hashlib
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

if TYPE_CHECKING:
    from conftest import Shell

Find = Callable[[str], Path]
YAO = "yao.jpg"


def records(ran: Any) -> list[dict[str, Any]]:
    return [json.loads(line) for line in ran.text.splitlines()]


def test_the_person_comes_first_and_nobody_else_passes(search: Callable[..., Any]) -> None:
    ran = search(YAO, "-v")
    (row,) = ran.text.splitlines()
    assert re.fullmatch(r"0\.6\d{3}\talbum/sport/players\.jpg\t\d+\t\d+,\d+,\d+,\d+", row)
    assert "threshold 0.28 (auto): about 1 false match in 2,100 comparisons (measured on 24 people)" in ran.errors


def test_a_query_by_a_face_loads_nothing_that_reads_photos(
    album_home: Path, find_sample: Callable[[str], Path]
) -> None:
    def loaded(query: str) -> set[str]:
        command = [sys.executable, "-X", "importtime", "-m", "facecli", "search", query, "-t", "none"]
        done = subprocess.run(command, cwd=album_home, capture_output=True, text=True, check=True)
        modules = {line.rpartition("|")[2].strip() for line in done.stderr.splitlines()}
        return {"cv2", "facecli.photos.decode", "facecli.vision.models"} & modules

    assert loaded("face:1") == set()
    assert len(loaded(str(find_sample("yaoming.jpg")))) == 3


def test_without_vectors_the_catalogue_answers_and_says_so(shell: Shell, album_home: Path) -> None:
    shutil.copytree(album_home, shell.work / "copy")
    wanted = shell("search", YAO, "-t", "none", cwd=shell.work / "copy").text
    (vectors,) = (shell.work / "copy" / ".facecli").glob("vectors-*.faiss")
    vectors.unlink()
    ran = shell("search", "-v", YAO, "-t", "none", cwd=shell.work / "copy")
    assert ran.text == wanted
    assert "searching the catalogue instead of the vector file: the vector file cannot be read" in ran.errors


def test_all_formats_tell_the_same_matches(search: Callable[..., Any]) -> None:
    every = (YAO, "-k", "0", "-t", "none", "--by", "face")
    rows = [line.split("\t") for line in search(*every).text.splitlines()]
    objects = records(search(*every, "--json"))
    table = list(csv.DictReader(io.StringIO(search(*every, "--csv").text)))
    assert len(rows) == 34
    assert [row[2] for row in rows] == [str(o["face"]) for o in objects] == [row["face"] for row in table]
    assert [o["rank"] for o in objects] == list(range(1, 35))
    photos = list(dict.fromkeys(row[1] for row in rows))
    assert search(*every, "-l").text.splitlines() == photos
    assert search(*every, "-0").text.split("\0") == [*photos, ""]
    assert search(*every, "-l", "--absolute").text.splitlines() != photos


def test_any_and_mean_make_one_block(search: Callable[..., Any]) -> None:
    separate = records(search(YAO, "eileen.png", "-t", "none", "--json"))
    assert [m["query"] for m in separate] == [YAO] * 4 + ["eileen.png"] * 4
    either = records(search(YAO, "eileen.png", "-t", "none", "--json", "--combine", "any"))
    assert [(m["query"], Path(m["path"]).name) for m in either[:2]] == [
        ("eileen.png", "astronaut.png"),
        (YAO, "players.jpg"),
    ]
    best = {m["path"]: max(o["similarity"] for o in separate if o["path"] == m["path"]) for m in either}
    assert [m["similarity"] for m in either] == [best[m["path"]] for m in either]
    mean = records(search(YAO, "eileen.png", "-t", "none", "--json", "--combine", "mean"))
    assert {m["query"] for m in mean} == {f"{YAO},eileen.png"}
    assert 0.3 < mean[0]["similarity"] < 0.9
    assert "--face" in search(YAO, "--combine", "mean", "--face", "all", code=2).errors


def test_a_face_of_the_index_asks_and_leaves_itself_out(search: Callable[..., Any]) -> None:
    own = records(search("eileen.png", "--json"))[0]["face"]
    for how in ("separate", "any", "mean"):
        answers = records(search(f"face:{own}", "-k", "0", "-t", "none", "--by", "face", "--json", "--combine", how))
        assert len(answers) == 33
        assert own not in {m["face"] for m in answers}
    both = records(
        search(f"face:{own}", "face:1", "-k", "0", "-t", "none", "--by", "face", "--json", "--combine", "mean")
    )
    assert len(both) == 32 if own != 1 else 33
    # `any` with two faces of the index: neither answers the other.
    either = records(
        search(f"face:{own}", "face:1", "-k", "0", "-t", "none", "--by", "face", "--json", "--combine", "any")
    )
    assert not {own, 1} & {m["face"] for m in either}


def test_several_faces_and_small_ones_are_said(search: Callable[..., Any]) -> None:
    assert "group.jpg: 6 faces, the largest is used" in search("group.jpg").errors
    assert search("group.jpg", "-q").errors == ""
    assert "pixels wide" in search("album/sport/players.jpg", "--face", "22", "-t", "none").errors
    assert "6 faces" not in search("group.jpg", "--face", "2").errors


def test_not_found_says_among_how_many(search: Callable[..., Any]) -> None:
    ran = search(YAO, "-t", "0.9", code=1)
    nothing = "not found among 34 faces in 4 photos; the nearest has 0.63 (-t none shows it)\n"
    assert (ran.out, ran.errors) == (b"", nothing)
    assert search(YAO, "-t", "0.9", "-q", code=1).errors == ""
    one = search(YAO, "eileen.png", "-t", "0.9")
    assert one.errors == f"{YAO}: {nothing}"


def test_one_query_fails_and_the_others_are_answered(search: Callable[..., Any]) -> None:
    ran = search("gone.jpg", YAO, "text.jpg", "face:999", "face:x", "--json", code=2)
    assert {m["query"] for m in records(ran)} == {YAO}
    errors = [line for line in ran.errors.splitlines() if line.startswith("facecli: error: ")]
    assert [line.rsplit(": ", 1)[1] for line in errors] == ["gone.jpg", "text.jpg", "face:999", "face:x"]


def test_many_queries_keep_their_order_over_all_processors(search: Callable[..., Any]) -> None:
    names = [YAO, "eileen.png", "group.jpg", "gone.jpg"] * 5
    ran = search(*names, "-k", "1", "-t", "none", "--json", code=2)
    assert [m["query"] for m in records(ran)] == [name for name in names if name != "gone.jpg"]


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("gone.jpg",), "no such photo: gone.jpg"),
        (("text.jpg",), ": text.jpg"),
        (("album",), ": album"),
        (("face:999",), ": face:999"),
        (("-",), ": -"),
        (("-", "-"), "only once"),
        ((YAO, "-t", "tight"), "loose, balanced"),
        ((YAO, "-t", "1.5"), "-1 to 1"),
        ((YAO, "-k", "-1"), "-k"),
        ((YAO, "--face", "2"), "no face 2, the photo has 1"),
        ((YAO, "--json", "--csv"), "one format"),
        ((YAO, "--provenance"), "--json"),
        ((YAO, "--dry-run"), "--link-to"),
        ((YAO, "--html", "none/page.html"), "no such directory: "),
        ((YAO, "--html", YAO), "not overwritten"),
        ((YAO, "--link-to", "text.jpg/x"), "text.jpg/x"),
        ((YAO, "-d", "nonsense"), "nonsense"),
        ((YAO, "-m", "nonsense"), "nonsense"),
    ],
)
def test_what_cannot_be_done_is_one_line(search: Callable[..., Any], arguments: tuple[str, ...], said: str) -> None:
    ran = search(*arguments, code=2)
    assert said in ran.errors
    assert ran.errors.count("facecli: error: ") == 1


def test_provenance_is_the_first_line_and_true(search: Callable[..., Any], album_home: Path) -> None:
    first, *rest = records(search(YAO, "--json", "--provenance"))
    told = first["provenance"]
    assert (told["model"], told["threshold"], told["faces"], told["photos"]) == ("buffalo_sc", 0.28, 34, 4)
    assert told["queries"][0]["sha256"] == hashlib.sha256((album_home / YAO).read_bytes()).hexdigest()
    assert told["recogniser_sha256"].startswith("9cc6e4a7")
    assert [m["rank"] for m in rest] == [1]


def test_links_and_copies_overwrite_nothing_and_repeat_nothing(
    search: Callable[..., Any], album_home: Path, tmp_path: Path
) -> None:
    for option in ("--link-to", "--copy-to"):
        target = tmp_path / option[2:]
        dry = search(YAO, "-t", "none", option, target, "--dry-run")
        assert dry.errors.count("would create ") == 4
        assert not target.exists()
        target.mkdir()
        (target / "players.jpg").write_bytes(b"mine")
        for _ in range(2):
            search(YAO, "-t", "none", option, target)
            assert sorted(p.name for p in target.iterdir()) == [
                "astronaut.png",
                "gdp.jpg",
                "players-2.jpg",
                "players.jpg",
                "t1.jpg",
            ]
        assert (target / "players.jpg").read_bytes() == b"mine"
        assert (target / "players-2.jpg").read_bytes() == (album_home / "album/sport/players.jpg").read_bytes()
        assert (target / "t1.jpg").is_symlink() == (option == "--link-to")


def test_a_photo_that_is_gone_is_named_and_the_others_copied(
    shell: Shell, indexed_album: Path, find_sample: Find
) -> None:
    (indexed_album / "party/t1.jpg").unlink()
    ran = shell(
        "search", find_sample("yaoming.jpg"), "-t", "none", "--copy-to", "copies", "--html", "page.html", code=2
    )
    assert "album/party/t1.jpg" in ran.errors
    assert sorted(p.name for p in (shell.work / "copies").glob("[!.]*")) == ["astronaut.png", "gdp.jpg", "players.jpg"]
    assert "no such photo" in (shell.work / "page.html").read_text("utf-8")


def test_the_page_is_its_owners_and_replaces_an_earlier_one(search: Callable[..., Any], tmp_path: Path) -> None:
    page = tmp_path / "page.html"
    for queries in ((YAO,), ("group.jpg", "--face", "all"), (YAO, "eileen.png", "--combine", "mean"), ("face:1",)):
        search(*queries, "-t", "none", "--html", page)
        text = page.read_text("utf-8")
        assert text.count("<article") == 4 * (6 if "all" in queries else 1)
        assert "players.jpg" in text
    assert page.stat().st_mode & 0o777 == 0o600
    search(YAO, "-t", "0.9", "--html", page, code=1)
    assert "Not found among 34 faces in 4 photos" in page.read_text("utf-8")
    ran = search(YAO, "-t", "0.9", "--under", "album/space", "--html", page, code=1)
    assert "not found among the 1 face of photos within the limits" in ran.errors
    assert "Not found among the 1 face of photos within the limits" in page.read_text("utf-8")
    assert [p.name for p in tmp_path.iterdir() if "part" in p.name] == []


def test_a_page_names_queries_that_failed_and_stays_where_none_was_answered(
    search: Callable[..., Any], tmp_path: Path
) -> None:
    page = tmp_path / "page.html"
    search("nobody.jpg", YAO, "--html", page, code=2)
    text = page.read_text("utf-8")
    assert "Not searched for: no such photo" in text
    assert text.count("<article") == 1
    for queries in (("nobody.jpg",), (YAO, "nobody.jpg", "--combine", "all")):
        ran = search(*queries, "--html", page, code=2)
        assert "wrote" not in ran.errors
        assert page.read_text("utf-8") == text


def test_the_page_of_an_image_on_stdin(search: Callable[..., Any], find_sample: Find, tmp_path: Path) -> None:
    search("-", "--html", tmp_path / "page.html", stdin=find_sample("yaoming.jpg").read_bytes())
    assert 'alt="Query face from -"' in (tmp_path / "page.html").read_text("utf-8")


def on_a_terminal(shell: Shell, home: Path, *arguments: str, **environment: str) -> str:
    """The output of `facecli search` on a terminal of 100 columns."""
    ours, theirs = pty.openpty()
    settings = shell.environment | {"TERM": "xterm", "COLUMNS": "100"} | environment
    process = subprocess.Popen(
        [sys.executable, "-m", "facecli", "search", *arguments], cwd=home, stdout=theirs, stderr=theirs, env=settings
    )
    os.close(theirs)
    shown = b""
    try:
        while part := os.read(ours, 65536):
            shown += part
    except OSError:  # the other end is closed
        pass
    os.close(ours)
    assert process.wait(60) == 0
    return shown.decode()


def test_a_terminal_gets_a_table_with_the_confidence_in_each_match(shell: Shell, album_home: Path) -> None:
    shown = on_a_terminal(shell, album_home, YAO, "-t", "none", NO_COLOR="1")
    lines = [line for line in shown.splitlines() if "album/" in line]
    assert [line.split()[2] for line in lines] == ["likely", "unlikely", "unlikely", "unlikely"]
    assert "\x1b" not in shown
    assert "\t" not in shown
    assert "\x1b" in on_a_terminal(shell, album_home, YAO)
    assert "\x1b" not in on_a_terminal(shell, album_home, YAO, TERM="dumb")


def test_a_terminal_that_can_gets_colours_and_links(shell: Shell, album_home: Path) -> None:
    shown = on_a_terminal(shell, album_home, YAO, TERM_PROGRAM="WezTerm")
    assert "\x1b[32m" in shown
    assert f"\x1b]8;;file://{album_home}/album/sport/players.jpg\x1b\\" in shown


def test_a_search_imports_only_what_it_needs(search: Callable[..., Any]) -> None:
    ran = search(YAO, env={"PYTHONPROFILEIMPORTTIME": "1"})
    modules = {name.partition(".")[0] for name in re.findall(r"^import time:.*\|\s*(\S+)$", ran.errors, re.MULTILINE)}
    assert {"numpy", "cv2", "sqlite3"} <= modules
    assert (
        modules & {"PIL", "scipy", "insightface", "onnx", "tqdm", "csv", "html", "skimage", "requests", "openvino"}
        == set()
    )


def test_a_stdout_that_is_full_or_closed_ends_in_one_line(shell: Shell, album_home: Path) -> None:
    def run(redirection: str) -> tuple[int, str]:
        line = f'"{sys.executable}" -m facecli search {YAO} {redirection}'
        done = subprocess.run(
            ["bash", "-c", line], cwd=album_home, env=shell.environment, capture_output=True, check=False
        )
        return done.returncode, done.stderr.decode()

    assert run(">/dev/full") == (2, "facecli: error: cannot be written (No space left on device): stdout\n")
    assert run(">&-") == (2, "facecli: error: cannot be written (it is closed): stdout\n")
    assert run("<&- >&- 2>&-") == (2, "")
    assert run("| true; exit ${PIPESTATUS[0]}") == (0, "")
