"""`facecli people` on photos of six people, each photo changed a little: real faces, real embeddings."""

from __future__ import annotations

import json
import os
import re
import shutil
import stat
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import cv2
import numpy as np
import pytest
from PIL import Image

if TYPE_CHECKING:
    from conftest import Ran, Shell


@pytest.fixture(scope="module")
def indexed(
    tmp_path_factory: pytest.TempPathFactory, find_sample: Callable[[str], Path], shell_in: Callable[[Path], Shell]
) -> Path:
    """A folder of four versions of one photo of six people, and its index."""
    home = tmp_path_factory.mktemp("people")
    picture = cv2.imread(str(find_sample("t1.jpg")))
    assert picture is not None
    (home / "album").mkdir()
    for number, (scale, light) in enumerate(((1.0, 1.0), (0.9, 1.2), (0.8, 0.8), (1.1, 0.9))):
        sized = cv2.resize(picture, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
        lit = np.clip(sized.astype(np.float32) * light, 0, 255).astype(np.uint8)
        cv2.imwrite(str(home / "album" / f"{number}.jpg"), lit)
    shell = shell_in(home)
    shell("index", "album")
    return home


@pytest.fixture
def party(shell: Shell, indexed: Path) -> Shell:
    """A shell in a copy of the folder."""
    shutil.copytree(indexed / "album", shell.work / "album")
    shutil.copytree(indexed / ".facecli", shell.work / ".facecli")
    return shell


def records(ran: Ran) -> list[dict[str, Any]]:
    return [json.loads(line) for line in ran.out.splitlines()]


def test_six_people_in_four_photos_each(party: Shell) -> None:
    people = records(party("people", "--json"))
    assert [(one["faces"], one["photos"], one["name"], one["hidden"]) for one in people] == [(4, 4, None, False)] * 6
    assert list(people[0]) == ["person", "name", "hidden", "faces", "photos", "cover", "cohesion", "first", "last"]
    faces = records(party("people", "--json", "--faces"))
    assert list(faces[0]) == ["person", "name", "face", "face_id", "path", "box", "similarity", "by"]
    for one in people:
        mine = [face for face in faces if face["person"] == one["person"]]
        assert sorted(face["path"] for face in mine) == [f"album/{n}.jpg" for n in range(4)]
        assert mine == sorted(mine, key=lambda face: -face["similarity"])
        assert one["cover"] in [face["face"] for face in mine]
    assert party("people", "--json", "--faces").out == party("people", "--json", "--faces").out


def test_index_has_sorted_the_faces_already(party: Shell) -> None:
    before = {
        file.name: file.stat().st_mtime_ns for file in (party.work / ".facecli").iterdir() if "catalog" in file.name
    }
    assert "people      6, 0 of them named" in party("info").text
    party("people")
    after = {
        file.name: file.stat().st_mtime_ns for file in (party.work / ".facecli").iterdir() if "catalog" in file.name
    }
    assert after["catalog.db"] == before["catalog.db"]


def test_who_is_not_listed_is_told_so_that_the_counts_agree(party: Shell) -> None:
    assert party("people").errors == ""
    party("people", "hide", "6")
    party("people", "name", "1", "Anna")
    (party.work / "album/3.jpg").unlink()
    (party.work / "album/2.jpg").unlink()
    party("index")
    ran = party("people")
    further = "5 further people, hidden or in fewer than 3 photos: facecli people --all\n"
    assert (len(ran.out.splitlines()), ran.errors) == (1, further)
    assert len(party("people", "--all").out.splitlines()) == records(party("info", "--json"))[0]["people"] == 6
    assert party("people", "--min-photos", "3").errors.startswith("nobody to list among 6 people")
    assert party("people", "--named").errors == ""
    for photo in (party.work / "album").iterdir():
        party("remove", photo)
    # Without faces, the people about whom something is decided are left, and counted with those who have a name.
    assert "people      2, 1 of them named" in party("info").text
    assert len(party("people", "--all").out.splitlines()) == 2


def test_rows_in_a_pipe(party: Shell) -> None:
    rows = [line.split("\t") for line in party("people").text.splitlines()]
    assert [(row[1:4], row[5].startswith("face:")) for row in rows] == [(["-", "4", "4"], True)] * 6
    rows = [line.split("\t") for line in party("people", "--faces").text.splitlines()]
    assert len(rows) == 24
    assert {len(row) for row in rows} == {7}
    assert {row[6] for row in rows} == {"auto"}


def test_a_name_finds_the_photos_and_stays_after_force_and_a_move(party: Shell) -> None:
    ran = party("people", "name", "1", "Anna Ä.")
    assert ran.errors == "person 1 is Anna Ä.\n"
    first = sorted(party("search", "-l", "Anna Ä.").text.splitlines())
    assert first == [f"album/{n}.jpg" for n in range(4)]
    assert sorted(party("search", "-l", "person:1").text.splitlines()) == first
    party("index", "--force", "album")
    (party.work / "album").rename(party.work / "moved")
    party("index", "moved")
    assert sorted(party("search", "-l", "person:anna ä.").text.splitlines()) == [f"moved/{n}.jpg" for n in range(4)]
    assert records(party("info", "--json"))[0]["named"] == 1


def test_a_file_comes_before_a_name(party: Shell, find_sample: Callable[[str], Path]) -> None:
    party("people", "name", "1", "yaoming.jpg")
    assert len(party("search", "-l", "yaoming.jpg").text.splitlines()) == 4
    shutil.copyfile(find_sample("yaoming.jpg"), party.work / "yaoming.jpg")
    party("search", "yaoming.jpg", code=1)
    assert len(party("search", "-l", "person:yaoming.jpg").text.splitlines()) == 4


def test_photos_that_show_two_people(party: Shell) -> None:
    party("people", "name", "1", "Anna")
    party("people", "name", "2", "Ben")
    out = next(face for face in records(party("people", "--json", "--faces")) if face["name"] == "Ben")
    party("people", "not", "Ben", f"face:{out['face']}")
    left = sorted({f"album/{n}.jpg" for n in range(4)} - {out["path"]})
    assert sorted(party("search", "-l", "Anna", "Ben", "--combine", "all").text.splitlines()) == left
    both = records(party("search", "--json", "Anna", "Ben", "--combine", "all", "--by", "face"))
    assert [row["path"] for row in both[::2]] == [row["path"] for row in both[1::2]]
    assert {row["query"] for row in both} == {"Anna", "Ben"}
    assert len(party("search", "-l", "Anna", "Ben", "--combine", "any").text.splitlines()) == 4
    party("search", "Anna", "Ben", "--combine", "all", "-t", "0.999", code=1)
    for again in (("Anna", "anna"), ("person:1", "Anna", "Anna")):
        once = party("search", "-l", "Anna", "--combine", "all").out
        assert party("search", "-l", *again, "--combine", "all").out == once


def test_of_no_photo_is_it_known_that_it_shows_all_if_a_query_fails(party: Shell) -> None:
    party("people", "name", "1", "Anna")
    for combine, shown in (("all", 0), ("any", 4)):
        found = party("search", "-l", "Anna", "Bem", "--combine", combine, code=2)
        assert "nobody in the index is called so: Bem" in found.errors
        assert len(found.text.splitlines()) == shown


def test_queries_that_match_all_are_the_photos_of_each(party: Shell) -> None:
    photo = party.work / "album/0.jpg"
    each = records(party("search", "--json", "-k", "0", "--face", "all", photo))
    numbers = {row["query_face"] for row in each}
    everyone = set.intersection(*({row["path"] for row in each if row["query_face"] == n} for n in numbers))
    found = party("search", "-l", "-k", "0", "--face", "all", "--combine", "all", photo).text.splitlines()
    assert set(found) == everyone
    assert len(found) >= 3


def test_decisions_from_one_command_to_the_next(party: Shell) -> None:
    party("people", "name", "1", "Anna")
    assert "another person has this name: Anna (person 1)" in party("people", "name", "2", "anna", code=2).errors
    assert party("people", "merge", "1", "2", code=2).errors.startswith("facecli: error: face:")
    face = records(party("people", "--json", "--faces"))[0]["face"]
    party("people", "split", "Anna", f"face:{face}")
    party("people", "hide", "3")
    assert [one["person"] for one in records(party("people", "--json", "--hidden"))] == [3]
    assert "taken back: the hiding of person 3" in party("people", "undo").errors
    party("people", "undo")
    assert [one["faces"] for one in records(party("people", "--json"))] == [4] * 6
    party("people", "undo")
    assert records(party("people", "--json", "--named")) == []
    assert "nothing to undo" in party("people", "undo", code=2).errors
    assert party("check").code == 0


@pytest.mark.parametrize(
    ("arguments", "error"),
    [
        (["name", "99", "X"], "no such person in the index: 99"),
        (["name", "1", ""], "an empty name"),
        (["merge", "1"], "a merge needs two people"),
        (["merge", "1", "1"], "a person cannot be merged with itself"),
        (["not", "1", "face:99999"], "no such face in the index: face:99999"),
        (["not", "1", "99"], "Invalid value"),
        (["assign", "X", "face:abc"], "Invalid value"),
        (["split", "nobody", "face:1"], "no such person in the index: nobody"),
        (["apply", "nothing.jsonl"], "the sheet cannot be read"),
        (["adore", "1"], "No such command"),
        (["--named", "--all"], "only one kind of people"),
        (["--min-photos", "-1"], "Invalid value"),
        (["--threshold", "2"], "Invalid value"),
    ],
)
def test_what_cannot_be_done_is_one_line(party: Shell, arguments: list[str], error: str) -> None:
    ran = party("people", *arguments, code=2)
    assert ran.errors.startswith(f"facecli: error: {error}")
    assert len([line for line in ran.errors.splitlines() if not line.startswith("hint: ")]) == 1
    assert ran.out == b""


def test_the_number_of_a_face_is_told_to_be_written_as_one(party: Shell) -> None:
    assert "hint: face:12; facecli people --faces lists them" in party("people", "not", "1", "99", code=2).errors


def test_a_person_is_verified(party: Shell) -> None:
    party("people", "name", "1", "Anna")
    assert party("verify", "person:Anna", "person:1").text.endswith("same\n")
    party("verify", "person:Anna", "person:2", code=1)
    assert "no such person" in party("verify", "person:Ben", "person:1", code=2).errors


def test_a_search_for_nobody_and_an_index_without_faces(party: Shell) -> None:
    assert "no such person in the index: Nobody" in party("search", "person:Nobody", code=2).errors
    nobody = party("search", "Nobody", code=2).errors
    assert nobody.startswith("facecli: error: no such photo, and nobody in the index is called so: Nobody\nhint: ")
    party("people", "name", "1", "J. Smith")
    meant = "hint: did you mean J. Smith? facecli people --all lists everybody\n"
    for misspelt in ("J. Smth", "j smith", "J.Smith", "smith"):
        ran = party("search", misspelt, code=2)
        what = "no such photo, and nobody in the index is called so"
        assert ran.errors == f"facecli: error: {what}: {misspelt}\n{meant}"
    for command in (
        ("search", "person:J Smith"),
        ("people", "hide", "J Smith"),
        ("export", "-", "--person", "J Smith"),
    ):
        assert party(*command, code=2).errors == f"facecli: error: no such person in the index: J Smith\n{meant}"
    assert party("people", "forget", "J Smith", code=2).errors.endswith(meant)
    assert party("search", "gone.jpg", code=2).errors == "facecli: error: no such photo: gone.jpg\n"
    assert "not a person: person:" in party("search", "person:", code=2).errors
    (party.work / "empty").mkdir()
    cv2.imwrite(str(party.work / "empty/gray.png"), np.full((64, 64), 99, np.uint8))
    party("index", "-i", "none", "empty")
    assert "the index holds no faces" in party("people", "-i", "none", code=2).errors


def test_the_page_and_the_sheet(party: Shell) -> None:
    ran = party("people", "--html", "people.html")
    assert len(ran.text.splitlines()) == 6
    assert ran.errors == "wrote people.html: 6 people\n"
    page = party.work / "people.html"
    assert stat.S_IMODE(page.stat().st_mode) == 0o600
    assert page.read_text("utf-8").count("<article") == 6
    assert party("people", "--html", "/dev/stdout").text.count("<article") == 6
    (party.work / "notes.txt").write_text("mine")
    assert "not an HTML page" in party("people", "--html", "notes.txt", code=2).errors
    party("people", "export", "names.jsonl")
    assert "the file exists" in party("people", "export", "names.jsonl", code=2).errors
    lines = records(party("people", "export", "-"))
    lines[0]["name"] = "Berta"
    stale = {**lines[1], "person": 999_999, "faces": [999_998], "name": "Nobody"}
    ran = party(
        "people", "apply", "-", stdin="".join(json.dumps(line) + "\n" for line in (lines[0], stale)).encode(), code=3
    )
    assert "left out: person 999999 (Nobody)" in ran.errors
    assert [one["name"] for one in records(party("people", "--json", "--named"))] == ["Berta"]
    party("people", "export", "names.jsonl", "--force")
    assert party("people", "apply", "names.jsonl").errors == "0 people changed\n"
    for name, said in (("Berta B.", "Berta is Berta B. now"), ("", "Berta B. has no name now")):
        ran = party("people", "apply", "-", stdin=json.dumps({**lines[0], "name": name}).encode())
        assert ran.errors == f"{said}; facecli people undo takes all of it back\n1 person changed\n"


def test_a_photo_that_is_gone_has_no_picture_on_the_page(party: Shell) -> None:
    for photo in (party.work / "album").iterdir():
        photo.unlink()
    party("people", "--html", "people.html")
    assert "no such photo" in (party.work / "people.html").read_text("utf-8")


def test_an_index_that_cannot_be_written_is_read(party: Shell) -> None:
    if os.geteuid() == 0:
        pytest.skip("root may write everywhere")
    party("people", "name", "1", "Anna")
    for place in (party.work / ".facecli").iterdir():
        place.chmod(0o400)
    (party.work / ".facecli").chmod(0o500)
    assert [one["name"] for one in records(party("people", "--json", "--named"))] == ["Anna"]
    assert len(party("search", "-l", "Anna").text.splitlines()) == 4
    assert "cannot be opened or written" in party("people", "name", "1", "Ann", code=2).errors


def test_the_group_takes_the_index_in_front_of_a_command(party: Shell) -> None:
    (party.work / "elsewhere").mkdir()
    party("people", "-i", ".facecli", "name", "1", "Anna")
    ran = party("people", "name", "-i", "../.facecli", "2", "Ben", cwd=party.work / "elsewhere")
    assert ran.code == 0
    assert len(records(party("people", "--json", "--named"))) == 2


def test_limits_list_who_is_in_these_photos(party: Shell) -> None:
    for number in (0, 1):
        exif = Image.Exif()
        exif.get_ifd(0x8769)[0x9003] = f"200{4 + number}:07:14 12:00:00"
        with Image.open(party.work / f"album/{number}.jpg") as photo:
            photo.save(party.work / f"album/{number}.jpg", quality=95, exif=exif)
    party("index")
    ran = party("people", "--json", "--after", "2004", "--before", "2005")
    assert "2 photos without a date left out" in ran.errors
    assert [(one["faces"], one["photos"], one["first"][:4], one["last"][:4]) for one in records(ran)] == [
        (1, 1, "2004", "2004")
    ] * 6
    assert {face["path"] for face in records(party("people", "--json", "--faces", "--after", "2005"))} == {
        "album/1.jpg"
    }
    assert records(party("people", "--json", "--all", "--under", "album/2.jpg", "--min-photos", "2")) == []
    assert records(party("people", "--json", "--all", "--after", "2007")) == []
    assert "not a time" in party("people", "--after", "yesterday", code=2).errors
    party("people", "--html", "people.html", "--under", "album/[01].jpg")
    page = (party.work / "people.html").read_text()
    assert page.count('<article class="person') == 6
    assert "album/3.jpg" not in page
    assert all(len(faces.split(",")) == 4 for faces in re.findall(r'data-faces="([^"]+)"', page))
