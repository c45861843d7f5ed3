"""Which paths patterns and `.facecliignore` files exclude, and what a scan passes over by itself."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

from facecli.config import OUTPUT_NAME, ScanOptions
from facecli.errors import UsageError
from facecli.photos.exclusions import MOST_BYTES
from facecli.photos.scan import Scan
from facecli.types import Skipped, SkipReason

FILES = ("a.jpg", "a.png", "cache/b.jpg", "cache/keep/c.jpg", "trip/cache/d.jpg", "trip/e.jpg", "trip/deep/f.png")


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    for name in FILES:
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(b"x")
    return tmp_path


def found(root: Path, *exclude: str, at: str = "", within: tuple[str, ...] = ()) -> list[str]:
    """The files found at and below `root / at`, relative to `root`."""
    scan = Scan([str(root / at)], ScanOptions(exclude=exclude), within=within)
    names = [os.path.relpath(one.file.path if isinstance(one, Skipped) else one.path, root) for one in scan]
    for name in FILES:
        if (root / name).is_relative_to(root / at):
            assert scan.excludes(str(root / name)) == (name not in names), "the scan and the question agree"
    return names


GITIGNORES = [
    {"": "*.png\n"},
    {"": "cache/\n"},
    {"": "/cache\n"},
    {"": "*.jpg\n!e.jpg\n", "trip": "# a comment\n\ne.jpg\n"},
    {"": "*.png\n", "trip/deep": "!f.png\n"},
    {"": "\ufefftrip/*\r\n!trip/deep/\r\n"},
    {"": "**/cache/**\n", "cache": "!b.jpg\n"},
    {"trip": "/deep\nd.jpg\n"},
    {"trip": "deep/\n!deep/f.png\n"},
    {"trip": "deep/\n", "trip/deep": "!f.png\n"},
    {"": "trip/**  \r\n!trip/e.jpg\n"},
    {"": "a.jpg\\ \n*.png\n"},
]


@pytest.mark.parametrize("ignored", GITIGNORES)
@pytest.mark.skipif(shutil.which("git") is None, reason="git is the reference")
def test_files_exclude_as_those_of_git_do(tree: Path, ignored: dict[str, str]) -> None:
    for directory, text in ignored.items():
        for name in (".facecliignore", ".gitignore"):
            (tree / directory / name).write_text(text, "utf-8")
    subprocess.run(["git", "init", "-q", str(tree)], check=True)
    command = ["git", "-C", str(tree), "ls-files", "--others", "--exclude-standard"]
    asked = subprocess.run(command, capture_output=True, text=True, check=True).stdout.split()
    assert found(tree) == sorted(name for name in asked if not Path(name).name.startswith("."))
    assert len(asked) < len(FILES) + 2 * len(ignored), "something is ignored"


def test_patterns_of_the_caller_decide_before_files(tree: Path) -> None:
    (tree / ".facecliignore").write_text("a.*\n")
    assert "a.png" not in found(tree)
    assert "a.png" in found(tree, "!a.png")
    (tree / "trip/.facecliignore").write_text("!e.jpg\n")
    assert "trip/e.jpg" not in found(tree, "e.jpg")


def test_patterns_mean_the_same_for_a_part_of_what_was_indexed(tree: Path) -> None:
    whole = (str(tree),)
    assert found(tree, "/cache", at="trip", within=whole) == ["trip/cache/d.jpg", "trip/deep/f.png", "trip/e.jpg"]
    assert found(tree, "/trip/cache", at="trip", within=whole) == ["trip/deep/f.png", "trip/e.jpg"]
    (tree / ".facecliignore").write_text("*.png\n")
    assert found(tree, at="trip", within=whole) == ["trip/cache/d.jpg", "trip/e.jpg"], "files above it count too"


def test_a_directory_that_is_named_is_read_although_it_is_excluded(tree: Path) -> None:
    scan = Scan([str(tree / "cache")], ScanOptions(exclude=("cache/",)), within=(str(tree),))
    assert len(list(scan)) == 2
    assert scan.excluded_roots == [str(tree / "cache")]
    assert found(tree, "cache/") == ["a.jpg", "a.png", "trip/deep/f.png", "trip/e.jpg"]


def test_below_two_directories_only_what_both_exclude_is_excluded(tree: Path) -> None:
    scan = Scan([str(tree), str(tree / "trip")], ScanOptions(exclude=("/trip/e.jpg",)))
    assert str(tree / "trip/e.jpg") in {one.path for one in scan if not isinstance(one, Skipped)}
    assert not scan.excludes(str(tree / "trip/e.jpg"))


@pytest.mark.parametrize("kind", ["link", "directory", "pipe", "large", "pattern", "range"])
def test_a_file_that_cannot_be_used_leaves_its_directory_alone(tree: Path, kind: str) -> None:
    """Nobody knows what it excludes; so nothing is read there, and nothing counts as excluded."""
    place = tree / "trip/.facecliignore"
    match kind:
        case "link":
            place.symlink_to(tree / "a.jpg")
        case "directory":
            place.mkdir()
        case "pipe":
            os.mkfifo(place)
        case "large":
            place.write_bytes(b"x\n" * MOST_BYTES)
        case "pattern":
            place.write_text("!\n")
        case "range":
            place.write_text("[z-a]\n")
    scan = Scan([str(tree)], ScanOptions())
    (skipped,) = [one for one in scan if isinstance(one, Skipped)]
    assert (skipped.file.path, skipped.reason) == (f"{tree}/trip/", SkipReason.UNAVAILABLE)
    assert "its .facecliignore cannot be used" in skipped.detail
    assert scan.unlisted == [str(tree / "trip")]
    assert not scan.excludes(str(tree / "trip/e.jpg"))


@pytest.mark.parametrize("name", ["$RECYCLE.BIN", "$Recycle.Bin", "#recycle", ".Trash-1000", ".Trashes", "@Recycle"])
def test_trash_is_passed_over(tree: Path, name: str) -> None:
    (tree / "trip" / name).mkdir()
    (tree / "trip" / name / "gone.jpg").write_bytes(b"x")
    scan = Scan([str(tree)], ScanOptions())
    assert len(list(scan)) == len(FILES)
    assert not scan.excludes(str(tree / "trip" / name / "gone.jpg")), "not seen, but no pattern drops it"


def test_marked_folders_are_passed_over_unless_they_are_named(tree: Path) -> None:
    (tree / "trip" / OUTPUT_NAME).touch()
    scan = Scan([str(tree)], ScanOptions())
    assert len(list(scan)) == 4
    assert scan.outputs == [f"{tree}/trip/"]
    assert not scan.excludes(str(tree / "trip/e.jpg")), "a mark drops nothing"
    assert len(list(Scan([str(tree / "trip")], ScanOptions()))) == 3


@pytest.mark.parametrize("pattern", ["", " ", "a\nb", "x" * 5000, "a\0"])
def test_a_pattern_that_cannot_be_kept_is_refused(pattern: str) -> None:
    with pytest.raises(UsageError, match="one line of at most 4096 characters"):
        ScanOptions(exclude=(pattern,))


def test_more_patterns_than_an_index_keeps_are_refused() -> None:
    with pytest.raises(UsageError, match="more than 1000 patterns"):
        ScanOptions(exclude=tuple(map(str, range(1001))))
