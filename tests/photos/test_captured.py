"""When and where a photo was taken, as Pillow wrote it and as exiftool reads it; nothing that cannot be true."""

from __future__ import annotations

import io
import json
import shutil
import struct
import subprocess
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from facecli.captures import Capture, iso_offset, iso_time
from facecli.photos.captured import capture_of, orientation_of_file

FORMATS = {"JPEG": "jpg", "PNG": "png", "WEBP": "webp", "AVIF": "avif"}
WHEN, DIGITISED, OFFSET, SUBSECOND = 0x9003, 0x9004, 0x9011, 0x9291


def exif(*, taken: dict[int, Any] | None = None, gps: dict[int, Any] | None = None, names: bool = True) -> Image.Exif:
    made = Image.Exif()
    if names:
        made[0x010F], made[0x0110] = "Maker  ", "Model\tX"
    made.get_ifd(0x8769).update(taken or {})
    made.get_ifd(0x8825).update(gps or {})
    return made


def gps(latitude: tuple[float, ...], longitude: tuple[float, ...], references: str = "NE") -> dict[int, Any]:
    return {1: references[0], 2: latitude, 3: references[1], 4: longitude}


def photo(block: Image.Exif, form: str = "JPEG") -> bytes:
    file = io.BytesIO()
    Image.new("RGB", (40, 30), "teal").save(file, form, exif=block)
    return file.getvalue()


FULL = exif(
    taken={WHEN: "2005:07:14 12:30:59", OFFSET: "-03:30", SUBSECOND: "25", 0x0132: "2020:01:01 00:00:00"},
    gps=gps((33.0, 54.0, 30.5), (18.0, 24.0, 0.0), "SW"),
)


@pytest.mark.parametrize("form", FORMATS)
def test_every_container_says_the_same(form: str) -> None:
    found = capture_of(photo(FULL, form))
    assert (iso_time(found.taken_ms), iso_offset(found.offset_minutes)) == ("2005-07-14T12:30:59.250", "-03:30")
    assert (found.latitude, found.longitude) == (pytest.approx(-33.90847222), pytest.approx(-18.4))
    assert (found.make, found.model) == ("Maker", "Model X")
    assert capture_of(photo(Image.Exif(), form)) == Capture()


@pytest.mark.parametrize("form", FORMATS)
def test_exiftool_reads_the_same(form: str, tmp_path: Path) -> None:
    if shutil.which("exiftool") is None:
        pytest.skip("exiftool is not installed")
    path = tmp_path / f"photo.{FORMATS[form]}"
    path.write_bytes(photo(FULL, form))
    command = ["exiftool", "-json", "-n", str(path)]
    (said,) = json.loads(subprocess.run(command, capture_output=True, check=True).stdout)
    found = capture_of(path.read_bytes())
    when = said["DateTimeOriginal"].replace(":", "-", 2).replace(" ", "T")
    assert iso_time(found.taken_ms) == f"{when}.{said['SubSecTimeOriginal']}0"
    assert iso_offset(found.offset_minutes) == said["OffsetTimeOriginal"]
    assert (found.latitude, found.longitude) == (
        pytest.approx(said["GPSLatitude"], abs=1e-7),
        pytest.approx(said["GPSLongitude"], abs=1e-7),
    )


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("big", [False, True], ids=["TIFF", "BigTIFF"])
def test_a_tiff_file_of_either_order_and_size(order: str, *, big: bool) -> None:
    """Written here without a library."""
    word, entry, start = ("Q", "HHQQ", 16) if big else ("I", "HHII", 8)
    count = "Q" if big else "H"

    def directory(*entries: tuple[int, int, int, int]) -> bytes:
        packed = b"".join(struct.pack(order + entry, *one) for one in entries)
        return struct.pack(order + count, len(entries)) + packed + struct.pack(order + word, 0)

    first = directory((0x8769, 4, 1, 0))
    at = start + len(first)
    text_at = at + len(directory((0x9003, 2, 20, 0)))
    inner = struct.pack(order + "I", at).ljust(8 if big else 4, b"\0")
    number = struct.unpack(order + word, inner)[0]
    body = directory((0x8769, 4, 1, number)) + directory((0x9003, 2, 20, text_at)) + b"1999:12:31 23:59:58\0"
    magic = (b"II" if order == "<" else b"MM") + struct.pack(order + "H", 43 if big else 42)
    head = magic + (struct.pack(order + "HHQ", 8, 0, start) if big else struct.pack(order + "I", start))
    assert iso_time(capture_of(head + body).taken_ms) == "1999-12-31T23:59:58"


@pytest.mark.parametrize(
    "text",
    ["0000:00:00 00:00:00", "2005:13:14 12:00:00", "2005:02:30 12:00:00", "2005:07:14 24:00:00", "2005:07:14",
     "    :  :     :  :  ", "", "yesterday", "1601:01:01 00:00:00", "2005:07:14 12:00:61"],
)  # fmt: skip
def test_a_time_that_is_none_is_unknown(text: str) -> None:
    assert capture_of(photo(exif(taken={WHEN: text, OFFSET: "+02:00"}))).taken_ms is None


def test_the_time_of_digitising_stands_in() -> None:
    found = capture_of(photo(exif(taken={WHEN: "0000:00:00 00:00:00", DIGITISED: "2001:02:03 04:05:06"})))
    assert iso_time(found.taken_ms) == "2001-02-03T04:05:06"


@pytest.mark.parametrize(
    ("text", "minutes"), [("Z", 0), ("+05:45", 345), ("-0800", -480), ("BST", None), ("+25:00", None), ("+01:75", None)]
)
def test_offsets(text: str, minutes: int | None) -> None:
    found = capture_of(photo(exif(taken={WHEN: "2005:07:14 12:00:00", OFFSET: text})))
    assert (found.offset_minutes, found.taken_ms) == (minutes, 1121342400000)


@pytest.mark.parametrize(
    "place",
    [
        gps((91.0, 0.0, 0.0), (18.0, 0.0, 0.0)),
        gps((48.0, 0.0, 0.0), (181.0, 0.0, 0.0)),
        gps((0.0, 0.0, 0.0), (0.0, 0.0, 0.0)),
        gps((48.0, 12.0, 0.0), (16.0, 22.0, 0.0), "XE"),
        {2: (48.0, 12.0, 0.0), 4: (16.0, 22.0, 0.0)},
        {1: "N", 2: (48.0, 12.0, 0.0)},
    ],
)
def test_a_place_that_is_none_is_unknown(place: dict[int, Any]) -> None:
    found = capture_of(photo(exif(gps=place)))
    assert (found.latitude, found.longitude, found.make) == (None, None, "Maker")


@pytest.mark.parametrize(
    ("place", "degrees"),
    [
        (gps((51.0, 28.0, 36.0), (0.0, 0.0, 5.4), "NW"), (51.476666, -0.0015)),
        (gps((0.0, 30.0, 0.0), (18.0, 0.0, 0.0), "SE"), (-0.5, 18.0)),
        (gps((0.0, 0.0, 0.0), (18.5, 0.0, 0.0), "NE"), (0.0, 18.5)),
        (gps((90.0, 0.0, 0.0), (180.0, 0.0, 0.0), "SW"), (-90.0, -180.0)),
    ],
)
def test_places_beside_the_equator_and_at_the_ends(place: dict[int, Any], degrees: tuple[float, float]) -> None:
    found = capture_of(photo(exif(gps=place)))
    assert (found.latitude, found.longitude) == pytest.approx(degrees, abs=1e-5)


@pytest.mark.parametrize(
    ("part", "milliseconds"), [("5", 500), ("25", 250), ("007", 7), ("123987", 123), (" ", 0), ("x", 0)]
)
def test_parts_of_a_second_are_cut_to_milliseconds(part: str, milliseconds: int) -> None:
    found = capture_of(photo(exif(taken={WHEN: "2005:07:14 12:00:00", SUBSECOND: part})))
    assert found.taken_ms == 1121342400000 + milliseconds


def test_a_fraction_without_a_denominator_is_no_place() -> None:
    data = photo(FULL)
    pair = next(found for order in "<>" if (found := struct.pack(order + "II", 33, 1)) in data)
    at = data.index(pair)
    assert capture_of(data[: at + 4] + bytes(4) + data[at + 8 :]).latitude is None


def test_a_file_cut_or_changed_anywhere_is_no_error() -> None:
    data = photo(FULL)
    for length in range(min(len(data), 700)):
        capture_of(data[:length])
        capture_of(data[:length] + b"\xff" + data[length + 1 :])


def test_a_directory_that_leads_to_itself_ends() -> None:
    block = b"II*\0\x08\0\0\0" + struct.pack("<H", 2)
    block += struct.pack("<HHII", 0x8769, 4, 1, 8) + struct.pack("<HHII", 0x8825, 4, 1, 8) + bytes(4)
    assert capture_of(block) == Capture()


def test_names_are_bounded_and_printable() -> None:
    block = exif(names=False)
    block[0x010F], block[0x0110] = "x" * 100, "a\x1b[31mb"
    found = capture_of(photo(block))
    assert (len(found.make), found.model) == (64, "a [31mb")


def tiff(*entries: tuple[int, int, int, bytes]) -> bytes:
    """A TIFF structure of one directory; an entry is tag, type, count and value."""
    at, body, packed = 14 + 12 * len(entries), b"", b""
    for tag, kind, count, value in entries:
        place = value.ljust(4, b"\0") if len(value) <= 4 else struct.pack("<I", at + len(body))
        packed += struct.pack("<HHI", tag, kind, count) + place
        body += value if len(value) > 4 else b""
    return b"II*\0" + struct.pack("<IH", 8, len(entries)) + packed + bytes(4) + body


def text(tag: int, value: bytes) -> tuple[int, int, int, bytes]:
    return tag, 2, len(value) + 1, value + b"\0"


def degrees(tag: int, *values: int) -> tuple[int, int, int, bytes]:
    return tag, 5, len(values), b"".join(struct.pack("<II", value, 1) for value in values)


def box(kind: bytes, content: bytes) -> bytes:
    return struct.pack(">I", 8 + len(content)) + kind + content


def canon_raw(orientation: int = 6) -> bytes:
    """The beginning of a CR3 file, whose directories are boxes of their own."""
    boxes = {
        b"CMT1": tiff(text(0x010F, b"Canon"), text(0x0110, b"Canon EOS R5"), (0x0112, 3, 1, bytes([orientation, 0]))),
        b"CMT2": tiff(text(WHEN, b"2021:03:04 05:06:07"), text(OFFSET, b"+01:00"), text(SUBSECOND, b"42")),
        b"CMT4": tiff(text(1, b"S"), degrees(2, 33, 54, 36), text(3, b"W"), degrees(4, 18, 24, 0)),
    }
    named = bytes.fromhex("85c0b687820f11e08111f4ce462b6a48") + b"".join(box(*one) for one in boxes.items())
    return box(b"ftyp", b"crx \0\0\0\x01crx isom") + box(b"moov", box(b"uuid", named)) + box(b"mdat", bytes(64))


def test_a_canon_raw_file(tmp_path: Path) -> None:
    found = capture_of(canon_raw())
    assert (iso_time(found.taken_ms), iso_offset(found.offset_minutes)) == ("2021-03-04T05:06:07.420", "+01:00")
    assert (found.latitude, found.longitude) == (pytest.approx(-33.91), pytest.approx(-18.4))
    assert (found.make, found.model, orientation_of_file(canon_raw())) == ("Canon", "Canon EOS R5", 6)
    if shutil.which("exiftool") is None:
        pytest.skip("exiftool is not installed")
    (tmp_path / "a.cr3").write_bytes(canon_raw())
    command = ["exiftool", "-json", "-n", "-DateTimeOriginal", "-GPSLatitude", "-Orientation", str(tmp_path / "a.cr3")]
    (said,) = json.loads(subprocess.run(command, capture_output=True, check=True).stdout)
    assert said["DateTimeOriginal"] == "2021:03:04 05:06:07"
    assert said["GPSLatitude"] == pytest.approx(-33.91)
    assert said["Orientation"] == 6


@pytest.mark.parametrize("length", range(0, 600, 7))
def test_a_canon_raw_file_that_is_cut_is_no_error(length: int) -> None:
    capture_of(canon_raw()[:length])
    orientation_of_file(canon_raw()[:length])


@pytest.mark.parametrize("start", [b"IIRO", b"IIRS", b"IIU\0"])
def test_the_orientation_of_raw_files_that_begin_in_a_makers_way(start: bytes) -> None:
    assert orientation_of_file(start + tiff((0x0112, 3, 1, b"\x08\0"), text(0x0110, b"Model"))[4:]) == 8


@pytest.mark.parametrize("form", ["WEBP", "PNG", "AVIF"])
def test_what_exiftool_writes_into_a_photo_without_any(form: str, tmp_path: Path) -> None:
    if shutil.which("exiftool") is None:
        pytest.skip("exiftool is not installed")
    path = tmp_path / f"photo.{FORMATS[form]}"
    path.write_bytes(photo(Image.Exif(), form))
    tags = ["-DateTimeOriginal=2005:07:14 12:30:59", "-Orientation#=6", "-GPSLatitude=-33.9", "-GPSLatitudeRef=S"]
    tags += ["-GPSLongitude=18.4", "-GPSLongitudeRef=E"]
    subprocess.run(["exiftool", "-overwrite_original", *tags, str(path)], capture_output=True, check=True)
    found = capture_of(path.read_bytes())
    assert iso_time(found.taken_ms) == "2005-07-14T12:30:59"
    assert (found.latitude, found.longitude) == (pytest.approx(-33.9), pytest.approx(18.4))
    assert orientation_of_file(path.read_bytes()) == 6
