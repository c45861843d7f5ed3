"""Decode formats other than JPEG with Pillow and its plug-ins, strip by strip, into RGB."""

from __future__ import annotations

import importlib
import io
from collections.abc import Callable
from typing import Any

import numpy as np
from PIL import Image, ImageOps

from facecli.photos.containers import outline_png, outline_webp, unread_bmp
from facecli.photos.exif import orientation_of_exif
from facecli.photos.jxl import outline_jxl
from facecli.photos.picture import Header
from facecli.photos.refusal import unreadable, unsupported
from facecli.photos.sniff import ImageFormat
from facecli.types import ByteArray

_PLUGINS: dict[ImageFormat, tuple[str, str]] = {
    ImageFormat.JPEG: ("PIL.JpegImagePlugin", "JpegImageFile"),
    ImageFormat.PNG: ("PIL.PngImagePlugin", "PngImageFile"),
    ImageFormat.WEBP: ("PIL.WebPImagePlugin", "WebPImageFile"),
    ImageFormat.GIF: ("PIL.GifImagePlugin", "GifImageFile"),
    ImageFormat.BMP: ("PIL.BmpImagePlugin", "BmpImageFile"),
    ImageFormat.AVIF: ("PIL.AvifImagePlugin", "AvifImageFile"),
    ImageFormat.HEIF: ("pillow_heif.as_plugin", "HeifImageFile"),
    ImageFormat.JXL: ("pillow_jxl.JpegXLImagePlugin", "JXLImageFile"),
    ImageFormat.JP2: ("PIL.Jpeg2KImagePlugin", "Jpeg2KImageFile"),
    ImageFormat.PNM: ("PIL.PpmImagePlugin", "PpmImageFile"),
    ImageFormat.QOI: ("PIL.QoiImagePlugin", "QoiImageFile"),
}
_COST = {ImageFormat.PNG: 8, ImageFormat.WEBP: 20}
_COST_OF_OTHERS = 24
_JXL_BITS = (0, 8, 16)
_UNREAD_MODES = {"F": "floating-point numbers", "LAB": "CIELab colours"}
_STRIP = 1 << 20
"""Pixels converted at once."""
_HARD_WEBP = 80_000_000
"""Pixels above which Pillow's own limit must be lifted; it is global, so this is done in the helper process."""


class RasterPicture:
    """A file's bytes, read by the plug-in for its format and by no other."""

    def __init__(self, form: ImageFormat, data: bytes, header: Header | None = None) -> None:
        """Without a `header`, it is read from the file."""
        self._form, self._data = form, data
        self._image: Any = None
        self._key_scale = 1
        """The factor by which Pillow multiplies grays, but not the gray that is marked as transparent."""
        self._deep = False
        """Whether it is a JPEG XL of 16 bits."""
        self.header = header or self._read_header()

    def _read_header(self) -> Header:
        match self._form:
            case ImageFormat.PNG:
                return self._outline_png()
            case ImageFormat.WEBP:
                webp = outline_webp(self._data)
                hard = webp.width * webp.height > _HARD_WEBP
                return Header(webp.width, webp.height, webp.orientation, _COST[self._form], hard)
            case ImageFormat.JXL:
                return self._outline_jxl()
            case _:
                return self._ask_plugin()

    def _outline_png(self) -> Header:
        png = outline_png(self._data)
        if (
            png.keyed and png.depth == 16 and png.colours == 2
        ):  # Pillow keeps 8 bits, in which other colours equal the transparent one
            raise unsupported("PNG of 16 bits with a transparent colour")
        if png.colours == 0 and png.depth in (2, 4):
            self._key_scale = 255 // ((1 << png.depth) - 1)
        self._data = png.picture
        return Header(png.width, png.height, png.orientation, _COST[ImageFormat.PNG])

    def _outline_jxl(self) -> Header:
        jxl = outline_jxl(self._data)
        if jxl.bits not in _JXL_BITS:  # the plug-in returns wrong values for these
            raise unsupported(f"JPEG XL of {jxl.bits} bits a sample")
        self._deep = jxl.bits == 16
        return Header(jxl.width, jxl.height, cost=_COST_OF_OTHERS)

    def _ask_plugin(self) -> Header:
        if self._form is ImageFormat.BMP and (kind := unread_bmp(self._data)):
            raise unsupported(kind)
        self._image = self._open()
        width, height = self._image.size
        return Header(width, height, self._orientation(), _COST_OF_OTHERS)

    def _open(self) -> Any:
        return plugin(self._form)(io.BytesIO(self._data))

    def _orientation(self) -> int:
        """The orientation still to apply: in EXIF for AVIF; other plug-ins turn the pixels or have none."""
        exif: bytes = self._image.info.get("exif", b"") if self._form is ImageFormat.AVIF else b""
        return orientation_of_exif(exif.removeprefix(b"Exif\0\0")) or 1

    def read_into(self, frame: ByteArray) -> str:
        """See `Picture`."""
        height, width = frame.shape[:2]
        image = self._image if self._image is not None else self._open()
        image.load()
        self._mend(image)
        if image.size != (width, height):
            raise unreadable("the size in the header is not that of the picture")
        rows = max(1, _STRIP // width)
        scale = _scale_of(image)
        for top in range(0, height, rows):
            bottom = min(top + rows, height)
            frame[top:bottom] = _rgb(image.crop((0, top, width, bottom)), scale)
        return ""

    def _mend(self, image: Any) -> None:
        """Correct a result of a plug-in, or raise Refusal if it cannot be corrected."""
        if self._key_scale > 1 and "transparency" in image.info:
            image.info["transparency"] *= self._key_scale
        if self._deep and image.mode == "LA":
            raise unsupported("JPEG XL of gray with opacity of 16 bits")
        if image.mode in _UNREAD_MODES:
            raise unsupported(f"{self._form} of {_UNREAD_MODES[image.mode]}")
        if self._form is ImageFormat.JXL and image.jpeg:  # the plug-in does not turn a losslessly repacked JPEG
            ImageOps.exif_transpose(image, in_place=True)


def raster_reader(form: ImageFormat) -> Callable[[bytes], RasterPicture]:
    """Load the plug-in for a format and return its reader; raises any error of the import."""
    plugin(form)
    return lambda data: RasterPicture(form, data)


def plugin(form: ImageFormat) -> Any:
    """The class of Pillow or one of its plug-ins that opens a format."""
    module, name = _PLUGINS[form]
    return getattr(importlib.import_module(module), name)


def _scale_of(image: Image.Image) -> float:
    """The factor for samples of more than 8 bits; 0 for other pictures.

    16 bits are cut to 8 as OpenCV and libpng do.
    """
    return 1 / 256 if image.mode.startswith("I") else 0.0


def _rgb(strip: Image.Image, scale: float) -> ByteArray:
    """A strip as uint8 (h, w, 3), RGB; transparent pixels are composed on white."""
    if scale:
        values = np.asarray(strip)
        gray = np.clip(values * np.float32(scale), 0, 255).astype(np.uint8)
        if "transparency" in strip.info:
            gray[values == strip.info["transparency"]] = 255
        return np.repeat(gray[:, :, None], 3, axis=2)
    if strip.has_transparency_data:
        rgba = strip.convert("RGBA")
        strip = Image.alpha_composite(Image.new("RGBA", rgba.size, "white"), rgba)
    return np.asarray(strip.convert("RGB"))
