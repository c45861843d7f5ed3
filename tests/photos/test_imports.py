"""Modules that a command does not need are not imported, because they slow down every start."""

from __future__ import annotations

import subprocess
import sys

import pytest
from picture_files import saved, scene

LATE = ["PIL", "cv2", "simplejpeg", "pillow_heif", "pillow_jxl", "rawpy"]
REPORT = "\nimport sys\nprint(*sorted({m.split('.')[0] for m in sys.modules} & set(" + repr(LATE) + ")))"
DECODE = """
import sys
from facecli.config import ReadOptions
from facecli.photos.decode import PhotoReader
from facecli.types import FileContents, Photo, PhotoFile
data = sys.stdin.buffer.read()
reader = PhotoReader(ReadOptions())
assert isinstance(reader.decode(FileContents(PhotoFile("/x", 1, 1), b"", data)), Photo)
"""


def imported(code: str, data: bytes = b"") -> list[str]:
    done = subprocess.run([sys.executable, "-c", code + REPORT], input=data, capture_output=True, check=True)
    return done.stdout.decode().split()


def test_the_scan_needs_no_decoder() -> None:
    scan = "from facecli.config import ScanOptions\nfrom facecli.photos.scan import Scan\nlist(Scan(['/etc'], ScanOptions()))\n"  # noqa: E501
    code = scan + "import facecli.photos.decode"
    assert imported(code) == []


@pytest.mark.parametrize(
    ("kind", "wanted"), [("JPEG", {"simplejpeg"}), ("PNG", {"PIL"}), ("WEBP", {"PIL"}), ("GIF", set())]
)
def test_a_photo_needs_its_own_decoder_alone(kind: str, wanted: set[str]) -> None:
    assert set(imported(DECODE, saved(scene(), kind))) == wanted
