"""A file appears whole or not at all, whatever moment a signal chooses."""

from __future__ import annotations

import errno
import os
import sys
from pathlib import Path
from types import FrameType

import pytest

from facecli.whole_files import Part, write_whole


def interrupted_at(moment: int, place: Path) -> bool:
    """Write a file with a KeyboardInterrupt at one of the moments when Python runs handlers; whether it came."""
    passed = 0

    def count(_frame: FrameType, event: str, _: object) -> None:
        nonlocal passed
        passed += event in ("call", "c_return")
        if passed == moment:
            sys.setprofile(None)
            raise KeyboardInterrupt

    try:
        sys.setprofile(count)
        write_whole(str(place), [b"first ", b"second"])
        sys.setprofile(None)
    except KeyboardInterrupt:
        return True
    return False


def test_no_part_of_a_file_is_left_by_a_signal_at_any_moment(tmp_path: Path) -> None:
    place, moment = tmp_path / "page.html", 1
    write_whole(str(place), [])  # imports are moments too, but in the first call alone
    while interrupted_at(moment, place):
        assert [path.name for path in tmp_path.iterdir()] == ["page.html"]
        moment += 1
    assert place.read_bytes() == b"first second"
    assert moment > 40


def test_without_hard_links_a_name_that_is_taken_stays_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise PermissionError(errno.EPERM, "no links here")

    monkeypatch.setattr(os, "link", refuse)
    (tmp_path / "taken").write_text("years of work")
    with Part(str(tmp_path)) as part:
        part.fill([b"new"])
        with pytest.raises(FileExistsError):
            part.become(str(tmp_path / "taken"))
        part.become(str(tmp_path / "free"))
    found = {path.name: path.read_text() for path in tmp_path.iterdir()}
    assert found == {"taken": "years of work", "free": "new"}
