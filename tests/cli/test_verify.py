"""`facecli verify` as its users run it."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import cv2
import pytest

if TYPE_CHECKING:
    from conftest import Shell

Find = Callable[[str], Path]


@pytest.fixture
def mirrored(shell: Shell, find_sample: Find) -> str:
    image = cv2.imread(str(find_sample("yaoming.jpg")))
    assert image is not None
    cv2.imwrite(str(shell.work / "mirrored.png"), image[:, ::-1])
    return "mirrored.png"


def test_the_same_person_and_another(shell: Shell, find_sample: Find, mirrored: str) -> None:
    same = shell("verify", find_sample("yaoming.jpg"), mirrored).text.split("\t")
    other = shell("verify", find_sample("yaoming.jpg"), find_sample("astronaut.png"), code=1).text.split("\t")
    assert (same[1:], other[1:]) == (["0.2800", "same\n"], ["0.2800", "different\n"])
    assert (float(same[0]) > 0.9, float(other[0]) < 0.28) == (True, True)
    assert not (shell.work / ".facecli").exists()


def test_json_says_what_was_compared(shell: Shell, find_sample: Find, mirrored: str) -> None:
    report = json.loads(
        shell("verify", "--json", "-t", "strict", "-", mirrored, stdin=find_sample("yaoming.jpg").read_bytes()).out
    )
    assert (report["a"], report["b"], report["face_a"], report["verdict"]) == ("-", mirrored, 1, "same")
    assert (report["threshold"], report["false_match_rate"]) == (0.4, 6.3e-7)


def test_all_compares_the_most_similar_pair(shell: Shell, find_sample: Find) -> None:
    t1, players = find_sample("t1.jpg"), find_sample("players.jpg")
    report = json.loads(shell("verify", "--json", "--face", "all", t1, t1).out)
    assert report["similarity"] > 0.999
    assert report["face_a"] == report["face_b"]
    found = json.loads(shell("verify", "--json", "--face", "all", find_sample("yaoming.jpg"), players).out)
    assert found["similarity"] > 0.6
    assert "22 faces" in shell("verify", find_sample("yaoming.jpg"), players, code=None).errors


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("gone.jpg", "yaoming.jpg"), "no such photo: gone.jpg"),
        (("yaoming.jpg", "text.jpg"), ": text.jpg"),
        (("yaoming.jpg", "-"), ": -"),
        (("-", "-"), "only once"),
        (("-t", "none", "yaoming.jpg", "yaoming.jpg"), "without a threshold"),
        (("-t", "2", "yaoming.jpg", "yaoming.jpg"), "-1 to 1"),
        (("--face", "2", "yaoming.jpg", "yaoming.jpg"), "no face 2, the photo has 1"),
        (("yaoming.jpg",), "verify"),
    ],
)
def test_what_cannot_be_compared_is_one_line(
    shell: Shell, find_sample: Find, arguments: tuple[str, ...], said: str
) -> None:
    (shell.work / "yaoming.jpg").write_bytes(find_sample("yaoming.jpg").read_bytes())
    (shell.work / "text.jpg").write_text("no image\n" * 9)
    ran = shell("verify", *arguments, code=2)
    assert ran.out == b""
    assert said in ran.errors
    assert ran.errors.count("facecli: error: ") == 1


def test_a_face_of_the_index_is_compared(shell: Shell, album_home: Path) -> None:
    listed = shell("faces", "--indexed", "--json", "album/party/t1.jpg", cwd=album_home).text.splitlines()
    one, other = (f"face:{json.loads(line)['face_id']}" for line in listed[:2])
    same = json.loads(shell("verify", "--json", one, "album/party/t1.jpg", "--face", "1", cwd=album_home).out)
    assert (same["verdict"], same["similarity"] > 0.999, same["a"]) == ("same", True, one)
    assert shell("verify", one, other, cwd=album_home, code=1).text.endswith("\tdifferent\n")
    assert "no such face in the index: face:999" in shell("verify", "face:999", one, cwd=album_home, code=2).errors
    assert "not the number of a face" in shell("verify", "face:x", one, cwd=album_home, code=2).errors
    assert "no index" in shell("verify", one, other, code=2).errors


def test_a_terminal_gets_a_header(shell: Shell, album_home: Path, on_terminal: Callable[..., str]) -> None:
    lines = on_terminal(shell, "verify", "yao.jpg", "eileen.png", cwd=album_home).splitlines()
    assert lines[0].split() == ["similarity", "threshold", "verdict"]
    assert lines[1].split()[1:] == ["0.2800", "different"]
