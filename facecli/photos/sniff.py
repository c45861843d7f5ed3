"""The format of a file, from its first bytes."""

from __future__ import annotations

import re
from enum import StrEnum

HEAD = 64
"""The number of bytes read from the beginning of a file."""


class ImageFormat(StrEnum):
    """A picture format; the value is its name in messages."""

    JPEG = "JPEG"
    PNG = "PNG"
    WEBP = "WebP"
    GIF = "GIF"
    BMP = "BMP"
    TIFF = "TIFF"
    AVIF = "AVIF"
    HEIF = "HEIF"
    JXL = "JPEG XL"
    JP2 = "JPEG 2000"
    PSD = "PSD"
    PSB = "large Photoshop document"
    PNM = "PNM"
    QOI = "QOI"
    RAW = "RAW"


_FORMAT_BY_START: tuple[tuple[bytes, ImageFormat], ...] = (
    (b"\xff\xd8\xff", ImageFormat.JPEG),
    (b"\x89PNG\r\n\x1a\n", ImageFormat.PNG),
    (b"GIF87a", ImageFormat.GIF),
    (b"GIF89a", ImageFormat.GIF),
    (b"\0\0\0\x0cJXL \r\n\x87\n", ImageFormat.JXL),
    (b"\xff\x0a", ImageFormat.JXL),
    (b"\0\0\0\x0cjP  \r\n\x87\n", ImageFormat.JP2),
    (b"\xff\x4f\xff\x51", ImageFormat.JP2),
    (b"8BPS\0\1", ImageFormat.PSD),
    (b"8BPS\0\2", ImageFormat.PSB),
    (b"qoif", ImageFormat.QOI),
    (b"FUJIFILMCCD-RAW", ImageFormat.RAW),
    (b"IIU\0", ImageFormat.RAW),
    (b"IIRO", ImageFormat.RAW),
    (b"IIRS", ImageFormat.RAW),
    (b"MMOR", ImageFormat.RAW),
    (b"II\x1a\0\0\0HEAPCCDR", ImageFormat.RAW),
    (b"FOVb", ImageFormat.RAW),
    (b"\0MRM", ImageFormat.RAW),
    (b"II*\0", ImageFormat.TIFF),
    (b"MM\0*", ImageFormat.TIFF),
    (b"II+\0", ImageFormat.TIFF),
    (b"MM\0+", ImageFormat.TIFF),
)
_BMP_HEADERS = (12, 16, 40, 52, 56, 64, 108, 124)
_PNM = re.compile(rb"P[1-6](?:[ \t\r\n]+|#[^\n]*\n)+\d")
_AVIF_BRANDS = frozenset((b"avif", b"avis"))
_HEIF_BRANDS = frozenset((b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"hevm", b"hevs"))
_OTHER: tuple[tuple[bytes, str], ...] = (
    (rb"%PDF", "a PDF document"),
    (rb"PK\x03\x04", "a ZIP archive"),
    (rb"Rar!", "a RAR archive"),
    (rb"7z\xbc\xaf", "a 7z archive"),
    (rb"\x1f\x8b", "a gzip archive"),
    (rb"SQLite format 3", "a database"),
    (rb"....ftyp|\x1a\x45\xdf\xa3|RIFF....AVI ", "a video"),
    (rb"\s*(?:<!doctype html|<html)", "a web page"),
    (rb"(?:\xef\xbb\xbf)?\s*(?:<\?xml|<svg)", "an XML or SVG document"),
    (rb"\0*\Z", "nothing but zeros"),
)


_UNREAD: tuple[tuple[bytes, str], ...] = (
    (rb"P[fF][ \t\r\n]", "a PFM picture of floating-point numbers"),
    (rb"P7\n", "a PAM picture"),
    (rb"\x76\x2f\x31\x01", "an OpenEXR picture"),
    (rb"#\?(?:RADIANCE|RGBE)", "a Radiance picture"),
    (rb"\0\0[\x01\x02]\0[\x01-\xff]\0.{3}\0", "a Windows icon or cursor"),
    (rb"\x0a[\0-\x05]\x01[\x01\x02\x04\x08]", "a PCX picture"),
    (rb"\x01\xda[\0\x01][\x01\x02]", "an SGI picture"),
    (rb"\x59\xa6\x6a\x95", "a Sun raster picture"),
    (rb"DDS \x7c", "a DDS texture"),
    (rb"gimp xcf", "a GIMP picture"),
    (rb"SIMPLE  =", "a FITS picture"),
    (rb"II\xbc[\0\x01]", "a JPEG XR picture"),
    (rb"BPG\xfb", "a BPG picture"),
    (rb"FLIF[1-Z]", "a FLIF picture"),
    (rb"[\x8a\x8b][JM]NG\r\n", "a JNG or MNG picture"),
    (rb"AT&TFORM", "a DjVu document"),
    (rb"icns", "an Apple icon"),
    (rb"farbfeld", "a farbfeld picture"),
    (rb"....ftyp(?:avc[is]|jpeg|jpgs|j2ki|j2is|vvi[cs]|evb[is])", "a HEIF picture of another compression than HEVC"),
    (rb"\0\0\0\x0cJXS \r\n\x87\n", "a JPEG XS picture"),
)


def sniff(head: bytes) -> ImageFormat | None:
    """The format of a file, from its first HEAD bytes; None if they are not those of a supported image format."""
    for start, found in _FORMAT_BY_START:
        if head.startswith(start):
            return ImageFormat.RAW if found is ImageFormat.TIFF and head[8:10] == b"CR" else found
    if head[:4] == b"RIFF" and head[8:12] == b"WEBP":
        return ImageFormat.WEBP
    if head[:2] == b"BM" and int.from_bytes(head[14:18], "little") in _BMP_HEADERS:
        return ImageFormat.BMP
    if head[4:8] == b"ftyp":
        return _sniff_boxes(head)
    return ImageFormat.PNM if _PNM.match(head) else None


def _brands(head: bytes) -> list[bytes]:
    size = min(int.from_bytes(head[:4], "big"), len(head))
    return [head[8:12], *(head[i : i + 4] for i in range(16, size - 3, 4))]


def _sniff_boxes(head: bytes) -> ImageFormat | None:
    """The format of an ISO base media file, by its brands: images and videos share the container."""
    brands = _brands(head)
    if brands[0] == b"crx ":
        return ImageFormat.RAW
    if brands[0] in _AVIF_BRANDS:
        return ImageFormat.AVIF
    if brands[0] in _HEIF_BRANDS:
        return ImageFormat.HEIF
    if brands[0] in (b"mif1", b"mif2", b"msf1", b"miaf"):
        return ImageFormat.AVIF if _AVIF_BRANDS.intersection(brands) else ImageFormat.HEIF
    return None


def describe_unread(head: bytes) -> str:
    """The name of a picture format that is not supported, for a message; empty if it is not one."""
    return next((what for pattern, what in _UNREAD if re.match(pattern, head, re.DOTALL)), "")


def describe_other(head: bytes) -> str:
    """The apparent kind of a file that is not an image, for a message."""
    for pattern, what in _OTHER:
        if re.match(pattern, head, re.DOTALL | re.IGNORECASE):
            return what
    return "text" if all(byte >= 0x20 or byte in b"\t\r\n" for byte in head) else "of an unknown kind"
