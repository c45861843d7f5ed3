"""Compare docs/formats.md and pyproject.toml with the code."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

from facecli.photos.opening import IN_WORKER, OPTIONAL_READERS
from facecli.photos.sniff import ImageFormat

ROOT = Path(__file__).parents[2]
TABLE = re.compile(
    r"^\| (?P<what>.+?) \| (?P<reader>.+?) \| (?P<home>worker|helper) \| (?P<tests>.+?) \|$", re.MULTILINE
)
ROWS = {
    re.split(r"[:( ]", row["what"].replace("JPEG XL", "JXL").replace("JPEG 2000", "JP2"))[0]: row
    for row in TABLE.finditer((ROOT / "docs/formats.md").read_text())
}


def test_every_format_has_its_row() -> None:
    assert {name.upper() for name in ROWS} == {form.name for form in ImageFormat} - {"PSB"}


def test_homes_and_readers_are_right() -> None:
    for name, row in ROWS.items():
        form = ImageFormat[name.upper()]
        assert (row["home"] == "worker") is (form in IN_WORKER), name
        reader = OPTIONAL_READERS.get(form)
        assert ("pip install" in row["reader"]) is (reader is not None), name
        assert reader is None or f"`pip install {reader.package}`" in row["reader"], name


def test_the_tests_named_there_test_it() -> None:
    for name, row in ROWS.items():
        for file in re.findall(r"`([\w/]+\.py)`", row["tests"]):
            assert re.search(name, (ROOT / "tests/photos" / file).read_text(), re.IGNORECASE), f"{name} in {file}"


def test_extras_bring_the_readers() -> None:
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]
    for reader in OPTIONAL_READERS.values():
        (extra,) = (name for name, needed in extras.items() if any(one.startswith(reader.package) for one in needed))
        assert extra in extras["formats"][0]
