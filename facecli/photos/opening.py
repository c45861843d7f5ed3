"""From a file's bytes to an opened picture: one function for both homes of decoding, the worker and the helper process."""

from __future__ import annotations

import importlib.util
from collections.abc import Iterator
from contextlib import contextmanager

from msgspec import Struct

from facecli.photos.containers import ends_early
from facecli.photos.exif import is_raw
from facecli.photos.jpeg import JpegPicture
from facecli.photos.picture import Picture
from facecli.photos.refusal import Refusal
from facecli.photos.sniff import HEAD, Format, describe_other, sniff
from facecli.types import SkipReason

IN_WORKER = frozenset((Format.JPEG, Format.PNG, Format.WEBP))
"""The formats that are frequent, and whose decoders are hardened enough to run in the worker itself."""
OUT_OF_MEMORY = "memory"
NOT_STARTED = "helper-process"


class Reader(Struct, frozen=True):
    """A package that facecli can do without."""

    module: str
    package: str
    extra: str


OPTIONAL_READERS: dict[Format, Reader] = {
    Format.HEIF: Reader("pillow_heif", "pillow-heif", "heif"),
    Format.JXL: Reader("pillow_jxl", "pillow-jxl-plugin", "jxl"),
    Format.RAW: Reader("rawpy", "rawpy", "raw"),
}


def reader_refusal(package: str) -> str:
    """How a skip names the package whose absence refused a photo."""
    return f"reader={package}"


def is_installed(reader: Reader) -> bool:
    """Whether a reader can be imported; it isn't imported."""
    return importlib.util.find_spec(reader.module) is not None


def format_of(data: bytes) -> Format:
    """The format of a file, or of its beginning of HEAD bytes, that can be read here; raises Refusal for anything else.

    What is a raw file among the TIFFs shows only in the whole.
    """
    if not data:
        raise Refusal(SkipReason.TRUNCATED, "the file is empty")
    head = data[:HEAD]
    form = sniff(head)
    if form is None:
        raise Refusal(SkipReason.NOT_AN_IMAGE, f"the content is {describe_other(head)}")
    if form is Format.TIFF and is_raw(data):
        form = Format.RAW
    if form is Format.PSB:
        raise Refusal(SkipReason.UNSUPPORTED, f"{form} (PSB)")
    reader = OPTIONAL_READERS.get(form)
    if reader is not None and not is_installed(reader):
        refused_by = reader_refusal(reader.package)
        raise Refusal(SkipReason.UNSUPPORTED, f"{form} needs {reader.package}: pip install 'facecli[{reader.extra}]'", refused_by)
    return form


def open_picture(form: Format, data: bytes, *, accept_truncated: bool) -> Picture:
    """Read the header of a picture; raises Refusal, or whatever its decoder raises (see `fault`)."""
    if form is Format.JPEG:
        return JpegPicture(data, accept_truncated=accept_truncated)
    # Imported here: photos that are all JPEG, as most are, need no Pillow.
    if form is Format.RAW:
        from facecli.photos.raw import RawPicture  # noqa: PLC0415

        return RawPicture(data)
    from facecli.photos.raster import RasterPicture  # noqa: PLC0415

    return RasterPicture(form, data)


@contextmanager
def decoder_faults(form: Format, data: bytes) -> Iterator[None]:
    """Turn whatever a decoder raises for broken bytes into a Refusal, so that one photo doesn't end the run."""
    try:
        yield
    except Refusal:
        raise
    except Exception as error:
        raise _fault(error, form, data) from error


def _fault(error: Exception, form: Format, data: bytes) -> Refusal:
    """What an error of a decoder says about the photo."""
    said = " ".join(str(error).split())[:200] or type(error).__name__
    if isinstance(error, MemoryError):
        return Refusal(SkipReason.UNREADABLE, "not enough memory to decode it", OUT_OF_MEMORY)
    unsupported = "nsupported" in said or "not supported" in said
    if isinstance(error, NotImplementedError) or (unsupported and "marker type" not in said):  # libjpeg means a broken file by that
        return Refusal(SkipReason.UNSUPPORTED, f"{form}: {said}")
    if "truncated" in said or "not enough image data" in said or _ends_early(form, data):
        return Refusal(SkipReason.TRUNCATED, f"{form}: {said}")
    return Refusal(SkipReason.UNREADABLE, f"{form}: {said}")


def _ends_early(form: Format, data: bytes) -> bool:
    try:
        return ends_early(form, data)
    except Refusal as refusal:
        return refusal.reason is SkipReason.TRUNCATED
