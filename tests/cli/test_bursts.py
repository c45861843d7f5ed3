"""`facecli search` with photos that nearly or exactly repeat each other: bursts in rows, copies on the page."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from PIL import Image

if TYPE_CHECKING:
    from conftest import Shell

PHOTOS = {
    "1": ("astronaut.png", "Nikon", "12:00:00"),
    "2": ("astronaut.png", "Nikon", "12:00:01"),
    "3": ("astronaut.png", "Nikon", "12:00:03"),
    "late": ("astronaut.png", "Nikon", "12:00:06"),
    "canon": ("astronaut.png", "Canon", "12:00:01"),
    "unknown": ("astronaut.png", "", "12:00:01"),
    "undated": ("astronaut.png", "Nikon", ""),
    "yao": ("yaoming.jpg", "Nikon", "12:00:02"),
}


@pytest.fixture(scope="module")
def made(
    tmp_path_factory: pytest.TempPathFactory, find_sample: Callable[[str], Path], shell_in: Callable[[Path], Shell]
) -> Path:
    """An album with a burst, a copy of one of its photos, and photos that are near it; with its index."""
    home = tmp_path_factory.mktemp("bursts")
    (home / "album").mkdir()
    for number, (name, (source, camera, time)) in enumerate(PHOTOS.items()):
        exif = Image.Exif()
        if camera:
            exif[0x010F] = camera
        if time:
            exif.get_ifd(0x8769)[0x9003] = f"2005:07:14 {time}"
        with Image.open(find_sample(source)) as photo:
            photo.convert("RGB").save(home / f"album/{name}.jpg", quality=95 - number, exif=exif)
    shutil.copyfile(home / "album/2.jpg", home / "album/copy of 2.jpg")
    shutil.copyfile(find_sample("astronaut.png"), home / "query.png")
    shell = shell_in(home)
    shell("index", "album")
    return home


def rows(shell: Shell, made: Path, *arguments: str) -> dict[str, dict[str, Any]]:
    ran = shell("search", "query.png", "--json", "-k", "0", *arguments, cwd=made)
    return {Path(row["path"]).stem: row for row in map(json.loads, ran.out.splitlines())}


def test_a_burst_is_one_row(shell: Shell, made: Path) -> None:
    every = rows(shell, made)
    assert len(every) == 8
    assert "burst" not in every["1"]
    found = rows(shell, made, "--bursts")
    (best,) = found.keys() & {"1", "2", "3", "copy of 2"}
    assert found.keys() == {best, "late", "canon", "unknown", "undated"}
    assert {name: row["burst"] for name, row in found.items()} == dict.fromkeys(found, 1) | {best: 3}
    assert [row["rank"] for row in found.values()] == [1, 2, 3, 4, 5]
    of_burst = [every[name]["similarity"] for name in ("1", "2", "3", "copy of 2")]
    assert found[best]["similarity"] == max(of_burst)


def test_other_people_are_no_part_of_a_burst(shell: Shell, made: Path) -> None:
    found = rows(shell, made, "--bursts", "-t", "none")
    assert found["yao"]["burst"] == 1
    assert len(found) == 6
    both = ("yao.jpg", "--combine", "any", "-t", "none", "--bursts")
    shutil.copyfile(made / "album/yao.jpg", made / "yao.jpg")
    assert len(rows(shell, made, *both)) == 6


def test_limits_of_rows_count_bursts(shell: Shell, made: Path) -> None:
    ran = shell("search", "query.png", "--bursts", "-k", "2", "-l", cwd=made)
    assert len(ran.text.splitlines()) == 2
    assert "2 of 5 matches" in ran.errors
    assert shell("search", "query.png", "--bursts", "--csv", cwd=made).text.splitlines()[0].endswith(",burst")
    assert "bursts are of photos" in shell("search", "query.png", "--bursts", "--by", "face", cwd=made, code=2).errors


def test_a_terminal_says_how_many(shell: Shell, made: Path, on_terminal: Callable[..., str]) -> None:
    assert "burst of 3" in on_terminal(shell, "search", "query.png", "--bursts", cwd=made)


def test_the_page_has_one_card_for_copies(shell: Shell, made: Path, tmp_path: Path) -> None:
    page = tmp_path / "page.html"
    shell("search", "query.png", "--html", str(page), cwd=made)
    text = page.read_text("utf-8")
    assert text.count("<article") == 7
    assert 'data-time="2005-07-14T12:00:06"' in text
    dates = re.findall(r'<p class="more"><span>(.*?)</span>', text)
    assert set(dates) == {"2005-07-14", *(date for date in dates if date.startswith("file of 20"))}
    assert 0 < dates.count("2005-07-14") < 7, "a photo without a date does not show its file's as its own"
    assert text.count('<span class="others">2 copies</span>') == 1
    shell("search", "query.png", "--html", str(page), "--bursts", cwd=made)
    text = page.read_text("utf-8")
    assert text.count("<article") == 5
    assert "burst of 3" in text
