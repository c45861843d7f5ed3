"""Which files a scan finds, in which order, and which it leaves out."""

from __future__ import annotations

import io
import os
import random
import socket
import subprocess
from collections.abc import Sequence
from pathlib import Path

import pytest
from picture_files import saved, scene

from facecli.config import ReadOptions, ScanOptions
from facecli.errors import UsageError
from facecli.photos import mounts, walk
from facecli.photos.files import read_photo
from facecli.photos.scan import Scan, read_list
from facecli.types import PhotoFile, Skipped, SkipReason

GIF = saved(scene(), "GIF")


def put(root: Path, *names: str | bytes, data: bytes = b"x") -> None:
    for name in names:
        path = os.path.join(os.fsencode(root), os.fsencode(name))
        os.makedirs(os.path.dirname(path), exist_ok=True)
        with open(path, "wb") as file:
            file.write(data)


def paths(scan: Scan) -> list[str]:
    return [item.file.path if isinstance(item, Skipped) else item.path for item in scan]


def found(root: Path, *roots: str, options: ScanOptions | None = None, leave_out: Sequence[str] = ()) -> list[str]:
    """The paths found below `roots`, or below `root` if there are none; all relative to `root`."""
    named = [str(root / name) for name in roots] or [str(root)]
    got = paths(Scan(named, options or ScanOptions(), leave_out=leave_out))
    assert got == sorted(set(got), key=os.fsencode)
    return [os.path.relpath(path, root) for path in got]


def test_photos_carry_size_and_time(tmp_path: Path) -> None:
    put(tmp_path, "a.jpg", data=b"12345")
    os.utime(tmp_path / "a.jpg", ns=(1, 1_234_567_890_123_456_789))
    (found,) = Scan([str(tmp_path)], ScanOptions())
    assert isinstance(found, PhotoFile)
    assert (found.path, found.size, found.mtime_ns) == (str(tmp_path / "a.jpg"), 5, 1_234_567_890_123_456_789)


def test_inodes_are_told_only_where_the_file_system_keeps_them(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    put(tmp_path, "a.jpg")
    state = (tmp_path / "a.jpg").stat()
    for keeps in (True, False):
        monkeypatch.setattr(mounts, "keeps_inodes", lambda _, keeps=keeps: keeps)
        for scan in (Scan([str(tmp_path)], ScanOptions()), Scan([], ScanOptions(), listed=[str(tmp_path / "a.jpg")])):
            (found,) = scan
            assert isinstance(found, PhotoFile)
            assert (found.ctime_ns, found.inode) == ((state.st_ctime_ns, state.st_ino) if keeps else (None, None))
            read = read_photo(found, ReadOptions())
            assert read.file == found, "what is read says of itself what the scan says"


def test_the_system_tells_which_file_systems_keep_inodes(tmp_path: Path) -> None:
    told = subprocess.run(["stat", "-f", "-c", "%T", tmp_path], capture_output=True, text=True, check=False)
    if told.returncode != 0:
        pytest.skip("no `stat -f` here to compare with")
    assert mounts.keeps_inodes(str(tmp_path)) == (told.stdout.strip() in ("ext2/ext3", "xfs", "btrfs", "zfs"))
    assert not mounts.keeps_inodes("/proc")
    assert not mounts.keeps_inodes(str(tmp_path / "none"))


def test_the_order_is_that_of_the_paths_bytes(tmp_path: Path) -> None:
    names = [
        "a.jpg",
        "a/b.jpg",
        "a-b/c.jpg",
        "a0.jpg",
        "a/b/c.jpg",
        "a/b-c.jpg",
        "B.jpg",
        "b.jpg",
        "é.jpg",
        "z/é/x.jpg",
        "\U0001f642.jpg",
        "￿.jpg",
    ]
    odd = [b"\xff.jpg", b"\xe9/x.jpg", b"new\nline.jpg", b"-k.jpg", b" .jpg", b"tab\t.jpg", b"x" * 251 + b".jpg"]
    put(tmp_path, *names, *odd)
    wanted = sorted([os.fsencode(n) for n in names] + odd)
    assert [os.fsencode(path) for path in found(tmp_path)] == wanted


def test_random_trees_come_in_order_and_whole(tmp_path: Path) -> None:
    dice = random.Random(5)
    names = {
        "/".join("".join(dice.choices("ab.-/ é", k=3)).strip("/. ") or "x" for _ in range(dice.randint(1, 4))) + ".jpg"
        for _ in range(300)
    }
    wanted = []
    for name in sorted(names):
        parts = [part for part in name.split("/") if part]
        if any(part.startswith(".") for part in parts):
            continue
        put(tmp_path, "/".join(parts))
        wanted.append("/".join(parts))
    assert sorted(found(tmp_path)) == sorted(set(wanted))


def test_kinds_by_name_and_content(tmp_path: Path) -> None:
    put(tmp_path, "a.jpg", "b.JPEG", "c.HeIc", "d.NEF", "e.tif")
    put(tmp_path, "noname", "IMG.1234", "photo.jpg~", data=GIF)
    put(
        tmp_path, "film.mp4", "film.MOV", "note.txt", "a.xmp", "all.zip", "song.mp3", "tool.exe", "x.jpg.part", data=GIF
    )
    put(tmp_path, "text", "IMG.5678", data=b"no image at all")
    put(tmp_path, "empty", data=b"")
    scan = Scan([str(tmp_path)], ScanOptions())
    assert [os.path.basename(path) for path in paths(scan)] == [
        "IMG.1234",
        "a.jpg",
        "b.JPEG",
        "c.HeIc",
        "d.NEF",
        "e.tif",
        "noname",
        "photo.jpg~",
    ]
    wanted = {
        "video": 2,
        "text": 1,
        "sidecar": 1,
        "archive": 1,
        "audio": 1,
        "program": 1,
        "download": 1,
        "of an unknown kind": 3,
    }
    assert scan.ignored == wanted


def test_hidden_files_and_directories_stay_out(tmp_path: Path) -> None:
    hidden = [
        ".x.jpg",
        ".hidden/x.jpg",
        "@eaDir/x.jpg",
        "a/.thumbnails/x.jpg",
        ".facecli/x.jpg",
        "a/Thumbs.db",
        "._a.jpg",
    ]
    put(tmp_path, "a/a.jpg", *hidden)
    assert found(tmp_path) == ["a/a.jpg"]
    assert found(tmp_path, ".hidden", ".x.jpg") == [".hidden/x.jpg", ".x.jpg"]


def test_the_index_itself_stays_out(tmp_path: Path) -> None:
    put(tmp_path, "a.jpg", "index/x.jpg", "link/y.jpg")
    (tmp_path / "other").symlink_to("index")
    assert found(tmp_path, leave_out=[str(tmp_path / "index")]) == ["a.jpg", "link/y.jpg"]
    assert found(tmp_path, leave_out=[str(tmp_path / "other")]) == ["a.jpg", "link/y.jpg"]


@pytest.mark.parametrize(
    ("patterns", "wanted"),
    [
        ((), ["a.jpg", "keep/a.png", "keep/b.jpg", "out/deep/a.jpg", "out/x.jpg"]),
        (("*.png",), ["a.jpg", "keep/b.jpg", "out/deep/a.jpg", "out/x.jpg"]),
        (("out",), ["a.jpg", "keep/a.png", "keep/b.jpg"]),
        (("out/",), ["a.jpg", "keep/a.png", "keep/b.jpg"]),
        (("/a.jpg",), ["keep/a.png", "keep/b.jpg", "out/deep/a.jpg", "out/x.jpg"]),
        (("deep/",), ["a.jpg", "keep/a.png", "keep/b.jpg", "out/x.jpg"]),
        (("*.jpg", "!b.jpg"), ["keep/a.png", "keep/b.jpg"]),
        (("out/**/a.jpg",), ["a.jpg", "keep/a.png", "keep/b.jpg", "out/x.jpg"]),
        (("[ab].*",), ["out/x.jpg"]),
    ],
)
def test_excludes_are_those_of_gitignore(tmp_path: Path, patterns: tuple[str, ...], wanted: list[str]) -> None:
    put(tmp_path, "a.jpg", "keep/a.png", "keep/b.jpg", "out/deep/a.jpg", "out/x.jpg")
    assert found(tmp_path, options=ScanOptions(exclude=patterns)) == wanted


def test_excludes_count_from_each_root_and_spare_what_is_named(tmp_path: Path) -> None:
    put(tmp_path, "one/a.jpg", "two/a.jpg", "two/b.jpg")
    options = ScanOptions(exclude=("/a.jpg", "two"))
    assert found(tmp_path, "one", "two", options=options) == ["two/b.jpg"]
    assert found(tmp_path, "one", "two/a.jpg", options=options) == ["two/a.jpg"]


def test_excludes_match_odd_names(tmp_path: Path) -> None:
    put(tmp_path, b"\xff.jpg", b"a\nb.png", b"a\nb.jpg")
    assert found(tmp_path, options=ScanOptions(exclude=("*.jpg",))) == ["a\nb.png"]


def test_a_broken_pattern_is_a_usage_error(tmp_path: Path) -> None:
    with pytest.raises(UsageError):
        Scan([str(tmp_path)], ScanOptions(exclude=("!",)))


def test_not_recursive(tmp_path: Path) -> None:
    put(tmp_path, "a.jpg", "below/b.jpg")
    assert found(tmp_path, options=ScanOptions(recursive=False)) == ["a.jpg"]


def test_overlapping_roots_and_lists_give_each_path_once(tmp_path: Path) -> None:
    put(tmp_path, "a/1.jpg", "a/b/2.jpg", "a/b/.hidden/3.jpg", "c.jpg", "0.txt")
    roots = [str(tmp_path / name) for name in ("a/b", "a", "c.jpg", "a/b/2.jpg", "a", "a/b/.hidden")]
    listed = [str(tmp_path / name) for name in ("a/1.jpg", "0.txt", "a/b", "gone.jpg")]
    scan = Scan(roots, ScanOptions(), listed=listed)
    got = list(scan)
    assert [os.path.relpath(i.file.path if isinstance(i, Skipped) else i.path, tmp_path) for i in got] == [
        "0.txt", "a/1.jpg", "a/b/.hidden/3.jpg", "a/b/2.jpg", "c.jpg", "gone.jpg",
    ]  # fmt: skip
    assert isinstance(got[-1], Skipped)
    assert got[-1].reason is SkipReason.VANISHED
    assert scan.directories == roots[:2] + roots[5:]
    assert scan.missing_roots == []


def test_missing_roots_are_known_at_once(tmp_path: Path) -> None:
    put(tmp_path, "a.jpg")
    (tmp_path / "loop.jpg").symlink_to("loop.jpg")
    missing = [str(tmp_path / name) for name in ("gone", "gone/x.jpg", "a.jpg/x", "loop.jpg", "x" * 300)]
    assert Scan([*missing, str(tmp_path)], ScanOptions()).missing_roots == missing


def test_no_photos_at_all(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    put(tmp_path, "folder.jpg/inside.jpg")
    os.mkfifo("pipe.jpg")
    os.mkfifo("pipe")
    Path("nowhere.jpg").symlink_to("gone.jpg")
    Path("self.jpg").symlink_to("self.jpg")
    Path("null.jpg").symlink_to("/dev/null")
    with socket.socket(socket.AF_UNIX) as plug:
        plug.bind("plug.jpg")
    for follow in (False, True):
        assert found(tmp_path, options=ScanOptions(follow_symlinks=follow)) == ["folder.jpg/inside.jpg"]
    assert found(tmp_path, "pipe.jpg") == ["pipe.jpg"]


def test_links_to_files_are_photos(tmp_path: Path) -> None:
    put(tmp_path, "away/a.jpg", data=b"12345")
    put(tmp_path, "away/film", data=b"film")
    (tmp_path / "in").mkdir()
    (tmp_path / "in/x.jpg").symlink_to("../away/a.jpg")
    (tmp_path / "in/x.png").symlink_to("../away")
    item = next(iter(Scan([str(tmp_path / "in")], ScanOptions())))
    assert isinstance(item, PhotoFile)
    assert (item.path, item.size) == (str(tmp_path / "in/x.jpg"), 5)
    assert found(tmp_path, "in") == ["in/x.jpg"]


def test_links_to_directories_are_followed_only_when_asked(tmp_path: Path) -> None:
    put(tmp_path, "album/a.jpg", "away/b.jpg", "away/deep/c.jpg")
    (tmp_path / "album/linked").symlink_to(tmp_path / "away")
    (tmp_path / "away/back").symlink_to(tmp_path / "album")
    (tmp_path / "away/self").symlink_to(".")
    assert found(tmp_path, "album") == ["album/a.jpg"]
    follow = ScanOptions(follow_symlinks=True)
    assert found(tmp_path, "album", options=follow) == ["album/a.jpg", "album/linked/b.jpg", "album/linked/deep/c.jpg"]


def test_a_linked_directory_that_is_met_anyway_keeps_its_own_path(tmp_path: Path) -> None:
    put(tmp_path, "z/a.jpg", "z/.hidden/b.jpg", "out/c.jpg")
    (tmp_path / "a").symlink_to("z")
    (tmp_path / "b").symlink_to("z/.hidden")
    (tmp_path / "c").symlink_to("out")
    (tmp_path / "d").symlink_to(".")
    follow = ScanOptions(follow_symlinks=True)
    assert found(tmp_path, options=follow) == ["b/b.jpg", "out/c.jpg", "z/a.jpg"]
    assert found(tmp_path, options=ScanOptions(follow_symlinks=True, exclude=("/out",))) == [
        "b/b.jpg",
        "c/c.jpg",
        "z/a.jpg",
    ]


def test_directories_that_all_link_to_each_other_end(tmp_path: Path) -> None:
    names = [f"d{i}" for i in range(9)]
    for name in names:
        put(tmp_path, f"away/{name}/{name}.jpg")
        for other in names:
            (tmp_path / "away" / name / f"to-{other}").symlink_to(f"../{other}")
    (tmp_path / "in").mkdir()
    (tmp_path / "in/start").symlink_to("../away/d0")
    got = found(tmp_path, "in", options=ScanOptions(follow_symlinks=True))
    assert sorted(os.path.basename(path) for path in got) == [f"{name}.jpg" for name in names]


def test_a_root_that_is_a_link_is_walked(tmp_path: Path) -> None:
    put(tmp_path, "album/a.jpg")
    (tmp_path / "link").symlink_to("album")
    assert found(tmp_path, "link") == ["link/a.jpg"]


def test_a_directory_that_cannot_be_listed_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    put(tmp_path, "a/1.jpg", "b/2.jpg", "b.jpg", "b0.jpg")
    scandir = os.scandir

    def guarded(path: bytes) -> object:
        if path.rstrip(b"/").endswith(b"/b"):
            raise PermissionError(13, "Permission denied")
        return scandir(path)

    monkeypatch.setattr(walk.os, "scandir", guarded)
    scan = Scan([str(tmp_path)], ScanOptions())
    got = list(scan)
    skips = [item for item in got if isinstance(item, Skipped)]
    assert [(s.file.path, s.reason) for s in skips] == [(f"{tmp_path}/b/", SkipReason.PERMISSION)]
    assert scan.unlisted == [str(tmp_path / "b")]
    order = [item.file.path if isinstance(item, Skipped) else item.path for item in got]
    assert order == sorted(order, key=os.fsencode)
    assert len(got) == 4


def test_what_vanishes_during_the_walk_is_not_named(tmp_path: Path) -> None:
    put(tmp_path, "a.jpg", "b.jpg", "c/d.jpg")
    items = iter(Scan([str(tmp_path)], ScanOptions()))
    next(items)
    (tmp_path / "b.jpg").unlink()
    (tmp_path / "c/d.jpg").unlink()
    (tmp_path / "c").rmdir()
    assert list(items) == []


def test_mount_points_below_a_root_are_noted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    put(tmp_path, "a/1.jpg", "b/c/2.jpg")
    monkeypatch.setattr(walk, "mounts_below", lambda root: frozenset({f"{root}/b/c"}))
    scan = Scan([str(tmp_path)], ScanOptions())
    assert len(list(scan)) == 2
    assert scan.mounts == [str(tmp_path / "b/c")]


def test_the_systems_mount_points_are_read() -> None:
    from facecli.photos.mounts import mounts_below

    assert "/proc" in mounts_below("/")
    assert mounts_below("/proc/self/fd") == frozenset()


def test_lists(tmp_path: Path) -> None:
    base = str(tmp_path)
    lines = io.BytesIO(b"a.jpg\n/abs/b.jpg\nsub/../c.jpg\nlatin-\xe9.jpg")
    assert read_list(lines, nul=False, base=base) == [
        f"{base}/a.jpg",
        "/abs/b.jpg",
        f"{base}/c.jpg",
        f"{base}/latin-\udce9.jpg",
    ]
    ended = io.BytesIO(b"new\nline.jpg\0last.jpg\0")
    assert read_list(ended, nul=True, base=base) == [f"{base}/new\nline.jpg", f"{base}/last.jpg"]
    assert read_list(io.BytesIO(b""), nul=True, base=base) == []
