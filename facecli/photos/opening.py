"""Open a picture from a file's bytes; used by the workers and the helper process."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable

from msgspec import Struct

from facecli.photos.jpeg import JpegPicture
from facecli.photos.picture import Picture
from facecli.photos.refusal import Refusal, loading, unsupported
from facecli.photos.sniff import HEAD, ImageFormat, describe_other, describe_unread, sniff
from facecli.photos.tiff.directory import is_raw
from facecli.types import SkipReason

IN_WORKER = frozenset((ImageFormat.JPEG, ImageFormat.PNG, ImageFormat.WEBP))
"""Frequent formats with decoders robust enough to run in the worker itself."""


class Reader(Struct, frozen=True):
    """An optional package that decodes a format."""

    module: str
    package: str


OPTIONAL_READERS: dict[ImageFormat, Reader] = {
    ImageFormat.HEIF: Reader("pillow_heif", "pillow-heif"),
    ImageFormat.JXL: Reader("pillow_jxl", "pillow-jxl-plugin"),
    ImageFormat.RAW: Reader("rawpy", "rawpy"),
}


def reader_refusal(package: str) -> str:
    """The value of `Skipped.refused_by` for a photo whose reader is not installed."""
    return f"reader={package}"


def is_installed(reader: Reader) -> bool:
    """Whether a reader is installed; does not import it."""
    return importlib.util.find_spec(reader.module) is not None


def format_of(data: bytes) -> ImageFormat:
    """The format of a file, from its bytes or its first HEAD bytes; raises Refusal if it cannot be read here.

    Only the whole file shows whether a TIFF is a raw file of a camera.
    """
    if not data:
        raise Refusal(SkipReason.TRUNCATED, "the file is empty")
    head = data[:HEAD]
    form = sniff(head)
    if form is None and (unread := describe_unread(head)):
        raise unsupported(f"{unread}, which is not read")
    if form is None:
        raise Refusal(SkipReason.NOT_AN_IMAGE, f"the content is {describe_other(head)}")
    if form is ImageFormat.TIFF and is_raw(data):
        form = ImageFormat.RAW
    if form is ImageFormat.PSB:
        raise unsupported(f"a {form} (PSB)")
    reader = OPTIONAL_READERS.get(form)
    if reader is not None and not is_installed(reader):
        said = f"{form} needs {reader.package}: pip install {reader.package}"
        raise Refusal(SkipReason.UNSUPPORTED, said, reader_refusal(reader.package))
    return form


def open_picture(form: ImageFormat, data: bytes, *, accept_truncated: bool) -> Picture:
    """Read the header of a picture; raises Refusal or any error of the decoder (see `decoder_faults`)."""
    if form is ImageFormat.JPEG:
        return JpegPicture(data, accept_truncated=accept_truncated)
    # Imported here: most runs see only JPEG, which needs no Pillow.
    with loading():
        reading = _find_reading(form)
    return reading(data)


def _find_reading(form: ImageFormat) -> Callable[[bytes], Picture]:
    match form:
        case ImageFormat.RAW:
            from facecli.photos.raw import RawPicture  # noqa: PLC0415

            return RawPicture
        case ImageFormat.TIFF:
            from facecli.photos.tiff.tiff_picture import open_tiff  # noqa: PLC0415

            return open_tiff
        case ImageFormat.PSD:
            from facecli.photos.tiff.tiff_picture import open_psd  # noqa: PLC0415

            return open_psd
        case ImageFormat.JP2:
            from facecli.photos.jp2 import open_jp2  # noqa: PLC0415

            return open_jp2
        case _:
            from facecli.photos.raster import raster_reader  # noqa: PLC0415

            return raster_reader(form)
