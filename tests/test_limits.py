"""Times, places and patterns as typed."""

from __future__ import annotations

from pathlib import Path

import pytest

from facecli.captures import iso_time
from facecli.errors import UsageError
from facecli.limits import PhotoLimits, Place, pattern_of, read_limits, read_place, read_time


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("2004", "2004-01-01T00:00:00"),
        ("2004-07", "2004-07-01T00:00:00"),
        ("2004-07-14", "2004-07-14T00:00:00"),
        ("2004-07-14T12:30", "2004-07-14T12:30:00"),
        (" 2004-07-14 12:30:05 ", "2004-07-14T12:30:05"),
    ],
)
def test_times(text: str, expected: str) -> None:
    assert iso_time(read_time(text)) == expected


@pytest.mark.parametrize(
    "text", ["", "04", "2004-13", "2004-02-30", "yesterdayish", "2004-07-14T25:00", "2004-07-14T12", "0000", "2004-7"]
)
def test_what_is_no_time_is_refused(text: str) -> None:
    with pytest.raises(UsageError, match="not a time"):
        read_time(text)


def test_a_path_has_one_leading_slash_as_in_the_index() -> None:
    assert read_limits(("//photos/2004", "//photos/*")).under == ("/photos/2004", "/photos/*")


def test_places() -> None:
    assert read_place("48.2,16.37") == Place(48.2, 16.37, 10)
    assert read_place("-33.9, 18.4,5") == Place(-33.9, 18.4, 5)
    for text in ("91,0", "0,181", "1", "a,b", "1,2,3,4", "nan,0", "1,2,-3", "1,2,inf", ""):
        with pytest.raises(UsageError):
            read_place(text)


def test_distances_are_those_of_the_great_circle() -> None:
    vienna = Place(48.2082, 16.3738, 55.4)
    assert vienna.holds(48.1486, 17.1077), "Bratislava, 55 km"
    assert not Place(48.2082, 16.3738, 54.0).holds(48.1486, 17.1077)
    assert Place(0, 179.9, 30).holds(0, -179.9), "across the date line"
    assert Place(90, 0, 1).holds(90, 77), "the pole has every longitude"


@pytest.mark.parametrize(
    ("pattern", "path", "holds"),
    [
        ("/p/20*", "/p/2004/a.jpg", True),
        ("/p/20*", "/p/x/2004/a.jpg", False),
        ("/p/**/2004", "/p/x/y/2004/a.jpg", True),
        ("/p/*.jpg", "/p/a.jpg", True),
        ("/p/*.jpg", "/p/x/a.jpg", False),
        ("/p/[ab]?", "/p/ax/y", True),
        ("/p/[!ab]", "/p/a/y", False),
        ("/p/a.b*", "/p/axb", False),
        ("/p/[", "/p/[/x", True),
        ("/p/[[]x", "/p/[x/a.jpg", True),
        ("/p/[a--b]x", "/p/ax", False),
        ("/p/[z-a]x", "/p/zx", False),
        ("/p/x[!a]b", "/p/x/b", False),
        ("/p/[^ab]", "/p/c/y", True),
    ],
)
def test_patterns(pattern: str, path: str, *, holds: bool) -> None:
    assert bool(pattern_of(pattern).fullmatch(path)) is holds


def test_the_working_directory_is_no_pattern(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "[2004] trip*").mkdir()
    monkeypatch.chdir(tmp_path / "[2004] trip*")
    for typed, path in (("x*", "xy.jpg"), ("gone", "gone/a.jpg"), ("../[[]2004*/x?", "xy")):
        (pattern,) = read_limits((typed,)).under
        assert pattern_of(pattern).fullmatch(f"{tmp_path}/[2004] trip*/{path}"), pattern
    assert read_limits((".",)).under == (f"{tmp_path}/[2004] trip*",)


def test_no_limits_are_none() -> None:
    assert not read_limits()
    assert read_limits(after="2004")
    assert not PhotoLimits().timed
    with pytest.raises(UsageError):
        read_limits(("",))
