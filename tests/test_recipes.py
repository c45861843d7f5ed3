"""The recipes of examples/recipes run on the sample album; one whose tool is missing is skipped with that reason."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from PIL import Image

if TYPE_CHECKING:
    from conftest import Shell

RECIPES = Path(__file__).parent.parent / "examples" / "recipes"


class Kitchen:
    """An indexed album in which recipes run."""

    def __init__(self, shell: Shell) -> None:
        self.work = shell.work
        self.environment = shell.environment | {
            "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
        }

    def __call__(self, recipe: str, *arguments: str | Path, code: int = 0, needs: str = "sh") -> str:
        """Run a recipe and return its stdout."""
        if shutil.which(needs) is None:
            pytest.skip(f"{needs} is not installed")
        command = ["bash", str(RECIPES / recipe), *map(str, arguments)]
        done = subprocess.run(
            command, capture_output=True, text=True, cwd=self.work, env=self.environment, check=False, timeout=120
        )
        assert done.returncode == code, done.stderr
        return done.stdout


@pytest.fixture
def kitchen(shell: Shell, indexed_album: Path, find_sample: Callable[[str], Path]) -> Kitchen:
    shutil.copyfile(find_sample("yaoming.jpg"), indexed_album.parent / "yaoming.jpg")
    return Kitchen(shell)


def test_person_to_folder(kitchen: Kitchen) -> None:
    kitchen("person-to-folder.sh", "yaoming.jpg", "found")
    copies = list((kitchen.work / "found").glob("[!.]*"))
    assert [copy.name for copy in copies] == ["players.jpg"]
    assert copies[0].read_bytes() == (kitchen.work / "album/sport/players.jpg").read_bytes()


def test_together(kitchen: Kitchen, shell: Shell) -> None:
    """Two guests, cut out of the party photo, are together only in that photo; a guest and the player in none."""
    party = kitchen.work / "album/party/gdp.jpg"
    rows = [
        line.split("\t") for line in shell("search", "-k", "0", "-t", "none", "--by", "face", party).text.splitlines()
    ]
    boxes = [[float(x) for x in row[3].split(",")] for row in rows if row[1] == "album/party/gdp.jpg"]
    for name, (left, top, right, bottom) in zip(("a.png", "b.png"), boxes, strict=False):
        margin = (bottom - top) / 2
        with Image.open(party) as photo:
            photo.crop((int(left - margin), int(top - margin), int(right + margin), int(bottom + margin))).save(
                kitchen.work / name
            )
    assert kitchen("together.sh", "a.png", "b.png") == "album/party/gdp.jpg\n"
    assert kitchen("together.sh", "a.png", "yaoming.jpg", code=1) == ""
    assert kitchen("together.sh", "a.png", "gone.jpg", code=2) == ""


def test_newest(kitchen: Kitchen, shell: Shell) -> None:
    """The player is on three photos of different ages; the newest come first, as many as requested."""
    photos = [kitchen.work / f"album/{name}.jpg" for name in ("old", "newest", "line\tbreak")]
    for number, (photo, age) in enumerate(zip(photos, (1_000, 3_000, 2_000), strict=True)):
        with Image.open(kitchen.work / "yaoming.jpg") as picture:
            picture.putpixel((0, 0), (number * 9, 0, 0))
            picture.save(photo, quality=95)
        os.utime(photo, (age, age))
    shell("index", "-q")
    newest = kitchen("newest.sh", "yaoming.jpg", "3").splitlines()
    assert newest == [str(kitchen.work / "album/sport/players.jpg"), str(photos[1]), str(photos[2])]


def test_nightly(kitchen: Kitchen) -> None:
    """A photo that cannot be read is reported only in the first night."""
    (kitchen.work / "broken.jpg").write_text("no image\n" * 20)
    first = kitchen("nightly.sh", kitchen.work, needs="jq")
    assert first.startswith("broken.jpg: not-an-image: ")
    assert kitchen("nightly.sh", kitchen.work, needs="jq") == ""
    assert kitchen("nightly.sh", kitchen.work / "gone", needs="jq", code=1) == ""


def test_folders(kitchen: Kitchen) -> None:
    assert kitchen("folders.sh", "yaoming.jpg", needs="jq").split() == ["1", "album/sport"]


def test_faces_per_photo(kitchen: Kitchen) -> None:
    photos = ("album/party/gdp.jpg", "album/sport/players.jpg", "album/party/t1.jpg")
    assert (
        kitchen("faces-per-photo.sh", *photos)
        == "22\talbum/sport/players.jpg\n6\talbum/party/t1.jpg\n5\talbum/party/gdp.jpg\n"
    )


def test_keywords(kitchen: Kitchen, shell: Shell) -> None:
    """The name is written to the photo, only once in two runs, and the next index run keeps the face ids."""
    before = shell("search", "yaoming.jpg").out
    for _ in range(2):
        kitchen("keywords.sh", "yaoming.jpg", "Yao Ming", needs="exiftool")
    command = ["exiftool", "-s3", "-keywords", str(kitchen.work / "album/sport/players.jpg")]
    assert subprocess.run(command, capture_output=True, text=True, check=True).stdout == "Yao Ming\n"
    shell("index", "-q")
    assert shell("search", "yaoming.jpg").out == before


@pytest.mark.parametrize(
    "script", [*RECIPES.iterdir(), *(RECIPES.parent / "fleet").glob("[mp]*.sh")], ids=lambda p: p.name
)
def test_without_arguments_it_is_one_line_of_usage(script: Path) -> None:
    said = re.search(rf"^# .*: ({script.name} .*)$", script.read_text("utf-8"), re.MULTILINE)
    assert said is not None
    done = subprocess.run(["bash", script], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (2, "", f"usage: {said[1]}\n")


def test_every_recipe_is_tested() -> None:
    text = Path(__file__).read_text("utf-8")
    assert [path.name for path in RECIPES.iterdir() if f'"{path.name}"' not in text] == []
