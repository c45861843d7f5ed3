"""`facecli check` and its repair as their users run them."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from conftest import Shell


@pytest.fixture
def index(indexed_album: Path) -> Path:
    """The index of the album."""
    return indexed_album.parent / ".facecli"


def test_sound_damaged_mended(shell: Shell, index: Path) -> None:
    assert shell("check").text == "sound: 4 photos, 34 faces\n"
    (file,) = index.glob("vectors-*")
    with file.open("r+b") as vectors:
        vectors.seek(81 + 1024 * 3)
        vectors.write(b"damage")
    with closing(sqlite3.connect(index / "catalog.db", isolation_level=None)) as database:
        database.execute("UPDATE embeddings SET embedding = zeroblob(1024) WHERE face_id = 9")
        database.execute("UPDATE faces SET score = 0.25 WHERE face_id = 12")
    ran = shell("check", code=1)
    assert "face:4 has a different embedding in the vector file: album/party/gdp.jpg" in ran.text
    assert "face:9 fails its checksum: album/party/t1.jpg" in ran.text
    assert "face:12 fails its checksum: album/space/astronaut.png" in ran.text
    ran = shell("check", "--repair")
    assert ran.text.endswith("sound: 4 photos, 33 faces\n")
    assert "face:9 has its embedding restored" in ran.errors
    assert "face:12 is dropped" in ran.errors
    assert "the vector file is rebuilt" in ran.errors
    assert "1 changed" in shell("index", "album").errors
    assert shell("check").text == "sound: 4 photos, 34 faces\n"


def test_a_catalogue_that_is_none_is_a_failure(shell: Shell, index: Path) -> None:
    (index / "catalog.db").write_bytes(b"\0" * 40_000)
    for arguments in (("check",), ("check", "--repair"), ("info",)):
        ran = shell(*arguments, code=2)
        assert ran.out == b""
        assert ran.errors.startswith("facecli: error: the catalogue is damaged")


def test_quiet_repairs_in_silence(shell: Shell, index: Path) -> None:
    next(index.glob("vectors-*")).unlink()
    ran = shell("check", "--repair", "-q")
    assert ran.errors == ""
    assert "cannot be read" in ran.text
