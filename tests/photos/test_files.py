"""Files that are not photos, that are gone, forbidden or changing, and limits checked before decoding."""

from __future__ import annotations

import errno
import io
import os
import socket
import threading
import time
import zlib
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pillow_heif
import pillow_jxl  # noqa: F401  # lets Pillow write JPEG XL
import pytest
import xxhash
from picture_files import png_file, saved, scene, with_segments

from facecli.config import ReadOptions, ScanOptions
from facecli.photos import files
from facecli.photos.budget import PixelBudget
from facecli.photos.decode import PhotoReader, refusal_holds, stat_photo
from facecli.photos.scan import Scan
from facecli.types import FileContents, Photo, PhotoFile, Skipped, SkipReason

Reading = Callable[[bytes], Photo | Skipped]
JPEG = saved(scene(640, 480), "JPEG", quality=90)
BOMB = png_file(100_000, 100_000, bytes(100_000))


def read_path(path: Path, options: ReadOptions | None = None) -> FileContents | Photo | Skipped:
    reader = PhotoReader(options or ReadOptions())
    try:
        file = stat_photo(str(path))
        contents = file if isinstance(file, Skipped) else reader.read(file)
        return reader.decode(contents) if isinstance(contents, FileContents) else contents
    finally:
        reader.close()


def skipped(outcome: object) -> Skipped:
    assert isinstance(outcome, Skipped), outcome
    assert outcome.detail
    return outcome


BAD: dict[str, tuple[bytes, SkipReason]] = {
    "empty": (b"", SkipReason.TRUNCATED),
    "half a JPEG": (JPEG[: len(JPEG) // 2], SkipReason.TRUNCATED),
    "head of a JPEG": (JPEG[:300], SkipReason.TRUNCATED),
    "three bytes of a JPEG": (JPEG[:3], SkipReason.TRUNCATED),
    "half a progressive JPEG": (saved(scene(), "JPEG", progressive=True)[:700], SkipReason.TRUNCATED),
    "half a PNG": (saved(scene(), "PNG")[:900], SkipReason.TRUNCATED),
    "head of a PNG": (saved(scene(), "PNG")[:30], SkipReason.TRUNCATED),
    "half a WebP": (saved(scene(), "WEBP")[:200], SkipReason.TRUNCATED),
    "half a BMP": (saved(scene(), "BMP")[:900], SkipReason.TRUNCATED),
    "half a GIF": (saved(scene(), "GIF")[:900], SkipReason.TRUNCATED),
    "half a TIFF": (saved(scene(), "TIFF", compression="tiff_lzw")[:900], SkipReason.TRUNCATED),
    "half an AVIF": (saved(scene(), "AVIF")[:400], SkipReason.TRUNCATED),
    "first box of an AVIF": (saved(scene(), "AVIF")[:32], SkipReason.TRUNCATED),
    "half a bare JPEG 2000": (saved(scene(), "JPEG2000", no_jp2=True)[:900], SkipReason.TRUNCATED),
    "head of a PPM": (saved(scene(), "PPM")[:6], SkipReason.TRUNCATED),
    "PPM of no width": (b"P6 0 5 255\n" + bytes(100), SkipReason.UNREADABLE),
    "head of a QOI": (saved(scene(), "QOI")[:9], SkipReason.TRUNCATED),
    "text": (b"this is no image\n" * 40, SkipReason.NOT_AN_IMAGE),
    "web page": (b"<!doctype html><title>404</title>", SkipReason.NOT_AN_IMAGE),
    "film": (b"\0\0\0\x18ftypisom\0\0\0\0isommp42" + bytes(400), SkipReason.NOT_AN_IMAGE),
    "zeros": (bytes(5000), SkipReason.NOT_AN_IMAGE),
    "archive": (b"PK\x03\x04" + bytes(90), SkipReason.NOT_AN_IMAGE),
    "bomb": (BOMB, SkipReason.TOO_LARGE),
    "JPEG without a picture": (b"\xff\xd8\xff\xfe\0\4ab\xff\xd9" + bytes(20), SkipReason.UNREADABLE),
    "JPEG of no height": (
        JPEG.replace(b"\xff\xc0\0\x11\x08\x01\xe0", b"\xff\xc0\0\x11\x08\0\0"),
        SkipReason.UNREADABLE,
    ),
    "PNG of no width": (png_file(0, 5, b"\0"), SkipReason.UNREADABLE),
    "PNG with broken pixels": (saved(scene(), "PNG").replace(b"IDATx", b"IDAT\xff"), SkipReason.UNREADABLE),
}


@pytest.mark.parametrize(("data", "reason"), BAD.values(), ids=BAD.keys())
def test_bad_content_is_a_value_with_its_reason(
    read_bytes: Reading, capfd: pytest.CaptureFixture[str], data: bytes, reason: SkipReason
) -> None:
    assert skipped(read_bytes(data)).reason is reason
    assert capfd.readouterr() == ("", "")


def test_a_reader_goes_on_after_bad_content(read_bytes: Reading) -> None:
    for data in (BOMB, JPEG[:2000], saved(scene(), "GIF")[:900], saved(scene(), "BMP")[:900]):
        skipped(read_bytes(data))
        assert isinstance(read_bytes(JPEG), Photo)
        assert isinstance(read_bytes(saved(scene(), "GIF")), Photo)


def test_a_bomb_of_every_format_is_refused_by_its_header(tmp_path: Path) -> None:
    from facecli.photos.frames import FrameBuffer

    options = ReadOptions(max_pixels=96 * 64 - 1)
    taken: list[int] = []
    pillow_heif.register_heif_opener()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(FrameBuffer, "take", lambda _, size: taken.append(size))
        for kind in ("JPEG", "PNG", "WEBP", "GIF", "BMP", "TIFF", "AVIF", "HEIF", "JXL", "JPEG2000", "PPM", "QOI"):
            (tmp_path / "photo").write_bytes(saved(scene(), kind))
            outcome = skipped(read_path(tmp_path / "photo", options))
            assert (outcome.reason, outcome.refused_by) == (SkipReason.TOO_LARGE, f"max-pixels={options.max_pixels}"), (
                kind
            )
    assert taken == []


def test_a_file_far_too_large_is_not_read(tmp_path: Path) -> None:
    path = tmp_path / "photo"
    path.write_bytes(JPEG)
    os.truncate(path, 1 << 40)
    assert skipped(read_path(path)).reason is SkipReason.TOO_LARGE


def test_a_film_is_not_read_to_its_end(tmp_path: Path) -> None:
    path = tmp_path / "film.jpg"
    path.write_bytes(b"\0\0\0\x18ftypmp42" + bytes(20))
    os.truncate(path, 1_500_000_000)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(files, "_read_whole", None)
        assert skipped(read_path(path)).reason is SkipReason.NOT_AN_IMAGE


def test_contents_carry_bytes_digest_and_fresh_stat(tmp_path: Path, reader: PhotoReader) -> None:
    path = tmp_path / "photo"
    path.write_bytes(JPEG)
    contents = reader.read(PhotoFile(str(path), 1, 1))
    assert isinstance(contents, FileContents)
    assert contents.data == JPEG
    assert contents.digest == xxhash.xxh3_128_digest(JPEG)
    assert contents.file == PhotoFile(str(path), len(JPEG), path.stat().st_mtime_ns)


@pytest.mark.parametrize("change", ["longer", "shorter", "later"])
def test_changed_while_reading(
    tmp_path: Path, reader: PhotoReader, monkeypatch: pytest.MonkeyPatch, change: str
) -> None:
    path = tmp_path / "photo"
    path.write_bytes(JPEG)
    whole = files._read_whole

    def interrupted(handle: int, size: int) -> bytes:
        match change:
            case "longer":
                path.write_bytes(JPEG * 2)
            case "shorter":
                path.write_bytes(JPEG[:100])
            case _:
                os.utime(path, ns=(time.time_ns(), time.time_ns() + 5))
        return whole(handle, size)

    monkeypatch.setattr(files, "_read_whole", interrupted)
    assert skipped(reader.read(PhotoFile(str(path), len(JPEG), 0))).reason is SkipReason.CHANGED


def test_gone_forbidden_and_no_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    os.mkfifo("pipe")
    Path("self").symlink_to("self")
    Path("nowhere").symlink_to("gone")
    with socket.socket(socket.AF_UNIX) as plug:
        plug.bind("plug")
    reasons = {
        "gone": SkipReason.VANISHED,
        "gone/deep": SkipReason.VANISHED,
        "self": SkipReason.VANISHED,
        "nowhere": SkipReason.VANISHED,
        "x" * 300: SkipReason.VANISHED,
        "zero\0byte": SkipReason.VANISHED,
        "pipe": SkipReason.NOT_AN_IMAGE,
        "plug": SkipReason.NOT_AN_IMAGE,
        ".": SkipReason.NOT_AN_IMAGE,
        "/dev/null": SkipReason.NOT_AN_IMAGE,
    }
    for name, reason in reasons.items():
        assert skipped(stat_photo(str(tmp_path / name))).reason is reason, name


def test_what_changed_since_the_scan_is_told_too(tmp_path: Path, reader: PhotoReader) -> None:
    pipe = tmp_path / "photo"
    os.mkfifo(pipe)
    assert skipped(reader.read(PhotoFile(str(pipe), 5, 5))).reason is SkipReason.NOT_AN_IMAGE
    assert skipped(reader.read(PhotoFile(str(tmp_path / "gone"), 5, 5))).reason is SkipReason.VANISHED


def test_permission(tmp_path: Path, reader: PhotoReader, monkeypatch: pytest.MonkeyPatch) -> None:
    def forbidden(*_: object) -> int:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(files.os, "open", forbidden)
    assert skipped(reader.read(PhotoFile(str(tmp_path), 5, 5))).reason is SkipReason.PERMISSION


@pytest.mark.parametrize("number", [errno.EIO, errno.EMFILE, errno.ENFILE, errno.ENOMEM, errno.EAGAIN, errno.ETIMEDOUT])
@pytest.mark.parametrize("call", ["open", "fstat", "pread", "read"])
def test_what_the_system_refuses_is_no_verdict(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int, call: str
) -> None:
    path = tmp_path / "photo"
    path.write_bytes(JPEG)

    def refuse(*_: object) -> int:
        raise OSError(number, os.strerror(number))

    with monkeypatch.context() as patch:
        patch.setattr(files.os, call, refuse)
        outcome = skipped(read_path(path))
    assert outcome.reason is SkipReason.UNAVAILABLE
    assert not outcome.reason.lasts
    assert isinstance(read_path(path), Photo)


def test_a_file_for_which_there_is_no_memory_is_no_verdict(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "photo"
    path.write_bytes(JPEG)

    def refuse(*_: object) -> bytes:
        raise MemoryError

    monkeypatch.setattr(files.os, "read", refuse)
    assert skipped(read_path(path)).reason is SkipReason.UNAVAILABLE


@pytest.mark.parametrize("seconds", [9_223_372_037, 9_300_000_000, 15_000_000_000])
def test_a_time_that_the_index_cannot_hold_is_the_nearest_that_it_can(
    tmp_path: Path, reader: PhotoReader, seconds: int
) -> None:
    path = tmp_path / "photo"
    path.write_bytes(JPEG)
    os.utime(path, (seconds, seconds))
    assert path.stat().st_mtime_ns == seconds * 10**9, "this file system cannot hold such a time"
    walked = next(iter(Scan([str(tmp_path)], ScanOptions())))
    contents = reader.read(PhotoFile(str(path), 0, 0))
    assert isinstance(contents, FileContents)
    assert isinstance(walked, PhotoFile)
    assert contents.file == stat_photo(str(path))
    assert (walked.size, walked.mtime_ns) == (contents.file.size, contents.file.mtime_ns)
    assert contents.file.mtime_ns == 2**63 - 1


@pytest.mark.parametrize(
    ("time", "kept"), [(2**63, 2**63 - 1), (2**90, 2**63 - 1), (-(2**63) - 1, -(2**63)), (-(2**63), -(2**63)), (-5, -5)]
)
def test_times_are_kept_within_what_the_index_holds(time: int, kept: int) -> None:
    """Few file systems store such early times, but network file systems may report them."""
    state = SimpleNamespace(st_size=7, st_mtime_ns=time)
    assert PhotoFile.seen("/photo", cast("os.stat_result", state)) == PhotoFile("/photo", 7, kept)


def test_what_comes_through_a_pipe_is_bounded(reader: PhotoReader) -> None:
    class Endless(io.RawIOBase):
        """A stream of a given beginning, then zeros without end."""

        def __init__(self, start: bytes) -> None:
            self.start, self.given = start, 0

        def readable(self) -> bool:
            return True

        def readinto(self, buffer: Any) -> int:
            size = len(buffer)
            part = self.start[self.given : self.given + size].ljust(size, b"\0")
            buffer[:] = part
            self.given += size
            return size

    zeros = Endless(b"")
    assert skipped(reader.read_stream(io.BufferedReader(zeros), "-")).reason is SkipReason.NOT_AN_IMAGE
    assert zeros.given < 1_000_000
    small = PhotoReader(ReadOptions(max_pixels=1000))
    jpeg = Endless(JPEG)
    assert skipped(small.read_stream(io.BufferedReader(jpeg), "-")).reason is SkipReason.TOO_LARGE
    assert jpeg.given < 70_000_000
    contents = reader.read_stream(io.BytesIO(JPEG), "-")
    assert isinstance(contents, FileContents)
    assert (contents.data, contents.digest) == (JPEG, xxhash.xxh3_128_digest(JPEG))
    assert skipped(reader.read_stream(io.BytesIO(), "-")).reason is SkipReason.TRUNCATED


def test_a_pipe_is_read_a_call_at_a_time(reader: PhotoReader) -> None:
    """Ctrl-C is heard between two calls, and not within one that goes on until it has as much as it was asked for."""
    calls: list[int] = []

    class Pipe(io.BytesIO):
        def read1(self, size: int | None = -1, /) -> bytes:
            calls.append(self.tell())
            return super().read1(1000)

    photo = JPEG + bytes(5000)
    contents = reader.read_stream(Pipe(photo), "-")
    assert isinstance(contents, FileContents)
    assert contents.data == photo
    assert len(calls) > 4


def test_the_budget_covers_the_bytes_of_files(tmp_path: Path) -> None:
    """A second worker reads only after the first has given back its budget."""
    path = tmp_path / "photo"
    path.write_bytes(JPEG)
    budget = PixelBudget(8 * len(JPEG) - 8)
    first, second = PhotoReader(ReadOptions(), budget), PhotoReader(ReadOptions(), budget)
    assert isinstance(first.read(PhotoFile(str(path), 0, 0)), FileContents)
    done: list[object] = []
    other = threading.Thread(target=lambda: done.append(second.read(PhotoFile(str(path), 0, 0))), daemon=True)
    other.start()
    while not budget.waiting:
        time.sleep(0.001)
    assert done == []
    first.release()
    other.join(timeout=60)
    assert isinstance(done[0], FileContents)
    second.release()
    assert budget.files.take(budget.total) == budget.files.total


def test_only_the_end_marker_is_missing(read_bytes: Reading, reader: PhotoReader) -> None:
    assert isinstance(read_bytes(JPEG[:-2]), Photo)
    assert reader.warning == "the end marker is missing"
    assert isinstance(read_bytes(JPEG), Photo)
    assert reader.warning == ""


def test_a_truncated_jpeg_is_used_only_when_asked(tmp_path: Path) -> None:
    path = tmp_path / "photo"
    path.write_bytes(JPEG[: len(JPEG) // 2])
    refused = skipped(read_path(path))
    assert refusal_holds(refused.refused_by, ReadOptions())
    assert not refusal_holds(refused.refused_by, ReadOptions(accept_truncated=True))
    photo = read_path(path, ReadOptions(accept_truncated=True))
    assert isinstance(photo, Photo)
    assert (photo.width, photo.height) == (640, 480)


def test_a_complaint_is_a_warning(read_bytes: Reading, reader: PhotoReader, capfd: pytest.CaptureFixture[str]) -> None:
    at = len(JPEG) // 2
    assert isinstance(read_bytes(JPEG[:at] + b"\xff\xd9" + JPEG[at + 2 :]), Photo)
    assert "Corrupt JPEG data" in reader.warning
    assert capfd.readouterr() == ("", "")


def test_what_libjpeg_gives_up_never_shows_another_photo(read_bytes: Reading) -> None:
    data = bytearray(saved(scene(640, 480), "JPEG", progressive=True))
    scans = [at for at in range(len(data) - 1) if data[at : at + 2] == b"\xff\xda"]
    data[scans[-1] + 2 : scans[-1] + 4] = b"\0\0"
    for broken, reason in ((data, SkipReason.UNREADABLE), (data[: scans[3] + 4], SkipReason.TRUNCATED)):
        assert isinstance(read_bytes(JPEG), Photo)
        assert skipped(read_bytes(bytes(broken))).reason is reason


def test_a_missing_reader_is_named_with_the_way_out(read_bytes: Reading, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("facecli.photos.opening.is_installed", lambda _: False)
    monkeypatch.setattr("facecli.photos.decode.is_installed", lambda _: False)
    outcome = skipped(read_bytes(b"\0\0\0\x18ftypheic\0\0\0\0mif1heic" + bytes(90)))
    assert outcome.reason is SkipReason.UNSUPPORTED
    assert outcome.detail == "HEIF needs pillow-heif: pip install pillow-heif"
    assert outcome.refused_by == "reader=pillow-heif"
    assert refusal_holds(outcome.refused_by, ReadOptions())
    monkeypatch.setattr("facecli.photos.decode.is_installed", lambda _: True)
    assert not refusal_holds(outcome.refused_by, ReadOptions())


@pytest.mark.parametrize(
    ("refused_by", "options", "holds"),
    [
        ("", ReadOptions(), True),
        ("max-pixels=100", ReadOptions(max_pixels=100), True),
        ("max-pixels=100", ReadOptions(max_pixels=50), True),
        ("max-pixels=100", ReadOptions(max_pixels=101), False),
        ("max-pixels=odd", ReadOptions(), True),
        ("reader=nobody-knows", ReadOptions(), True),
        ("memory", ReadOptions(), False),
        ("helper-process", ReadOptions(), False),
        ("what a later version wrote", ReadOptions(), True),
    ],
)
def test_refusals_hold_until_their_cause_changes(refused_by: str, options: ReadOptions, *, holds: bool) -> None:
    assert refusal_holds(refused_by, options) is holds


def test_a_jpeg_of_countless_segments_ends_soon(read_bytes: Reading) -> None:
    many = with_segments(JPEG, *[(0xFE, b"")] * 30_000)
    assert skipped(read_bytes(many)).reason is SkipReason.UNREADABLE


def test_a_png_of_countless_chunks_ends_soon(read_bytes: Reading) -> None:
    head = saved(scene(), "PNG")
    empty = b"\0\0\0\0tEXt" + zlib.crc32(b"tEXt").to_bytes(4, "big")
    assert skipped(read_bytes(head[:33] + empty * 600_000 + head[33:])).reason is SkipReason.UNREADABLE
