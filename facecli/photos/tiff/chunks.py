"""The samples of a strip or tile of a TIFF file.

Only the decompression is left to a library: libtiff, through Pillow, reads each chunk as a small file of its own whose
pixels are the chunk's bytes. The bytes are interpreted here, because Pillow and OpenCV read several layouts wrongly
without an error.
"""

from __future__ import annotations

import io
import lzma
import struct
import zlib

import numpy as np
from numpy.typing import NDArray
from PIL.TiffImagePlugin import TiffImageFile

from facecli.photos.jpeg import sampling_of
from facecli.photos.raster import plugin
from facecli.photos.refusal import loading, unreadable
from facecli.photos.sniff import ImageFormat
from facecli.photos.tiff.directory import truncated_tiff
from facecli.photos.tiff.layout import EMBEDDED, FAX, Colours, Packing, SampleLayout

Fields = dict[int, tuple[int, ...]]
"""Tags with their values of 16 bits."""
Samples = NDArray[np.uint8] | NDArray[np.uint16]
_REVERSED = bytes(int(f"{byte:08b}"[::-1], 2) for byte in range(256))
_LZMA_MEMORY = 1 << 28
_PLACE = 8
"""Offset of a chunk's bytes in the small file."""


class Chunk:
    """One strip or tile; of one plane if each sample has its own plane."""

    def __init__(self, layout: SampleLayout, data: bytes, number: int, rows: int) -> None:
        """`number` counts chunks over all planes; `rows` is the number of stored rows. Raises Refusal."""
        self._layout, self._data, self._number = layout, data, number
        self.rows, self.width = rows, layout.chunk_width
        self.samples = 1 if layout.separate else layout.samples
        self.stored = b""
        """The decompressed bytes; subsampled colours are not stored pixel by pixel, so the caller unpacks them."""
        self._ready: Samples | None = None
        if layout.packing is Packing.JPEG or layout.packing in FAX:
            self._ready = self._decode_picture()
        elif layout.packing in EMBEDDED:
            self._ready = self._decode_file()
        else:
            self.stored = self._decompress()

    def band(self, top: int, bottom: int) -> Samples:
        """The rows from `top` to before `bottom`: (rows, width, samples), uint8, or uint16 for more than 8 bits."""
        if self._ready is not None:
            return self._ready[top:bottom]
        size = self._row_size
        samples = _unpack(
            self.stored[top * size : bottom * size],
            (bottom - top, self.width, self.samples),
            self._layout.bits,
            self._order,
        )
        if not self._layout.differenced:
            return samples
        summed = np.empty_like(samples)
        np.cumsum(samples, axis=1, dtype=samples.dtype, out=summed)
        return summed

    @property
    def _order(self) -> str:
        return "<" if self._data[:2] == b"II" else ">"

    @property
    def _row_size(self) -> int:
        return -(-self.width * self.samples * self._layout.bits // 8)

    @property
    def _grid(self) -> tuple[int, int]:
        """Bytes per row and number of rows, as stored."""
        if not self._layout.is_subsampled:
            return self._row_size, self.rows
        across, down = self._layout.subsampling
        return -(-self.width // across) * (across * down + 2), -(-self.rows // down)

    def _stored(self, size: int | None = None) -> bytes:
        """The chunk's bytes as stored.

        The size of an uncompressed chunk is passed in, since the file may state a wrong one. If the file states none,
        the chunk reaches to the end of the file, and its decoder finds its end.
        """
        layout, number = self._layout, self._number
        place = layout.places[number] if number < len(layout.places) else 0
        if not place:
            raise unreadable(f"a {layout.kind} file that lacks parts of its picture")
        if size is None:
            size = (layout.sizes[number] if number < len(layout.sizes) else 0) or len(self._data) - place
        end = place + size
        if end > len(self._data) or end <= place:
            raise truncated_tiff(layout.kind)
        stored = self._data[place:end]
        return stored.translate(_REVERSED) if layout.reversed_bits and layout.packing is not Packing.JPEG else stored

    def _decompress(self) -> bytes:
        width, rows = self._grid
        size = width * rows
        match self._layout.packing:
            case Packing.NONE:
                found = self._stored(size)
            case Packing.DEFLATE | Packing.OLD_DEFLATE:
                found = zlib.decompressobj().decompress(self._stored(), size)
            case Packing.LZMA:
                found = _from_lzma(self._stored(), size)
            case packing:
                fields: Fields = {258: (8,), 259: (packing,), 262: (Colours.BLACK_IS_ZERO,), 277: (1,)}
                found = _open_alone(self._stored(), (width, rows), fields).tobytes()
        if len(found) < size:
            raise unreadable(f"a {self._layout.kind} file with a strip or tile that is too short")
        return found

    def _decode_picture(self) -> Samples:
        """Decode a chunk whose compression works on pixels: JPEG or fax."""
        stored = self._stored()
        fields = self._jpeg_fields(stored) if self._layout.packing is Packing.JPEG else self._fax_fields()
        pixels = np.asarray(_open_alone(stored, (self.width, self.rows), fields, self._layout.tables))
        return pixels.reshape(self.rows, self.width, -1).astype(np.uint8, copy=False)

    def _jpeg_fields(self, stored: bytes) -> Fields:
        """The tags that libtiff needs.

        The sampling comes from the JPEG itself: some directories omit it or give a wrong one.
        """
        colours = Colours.BLACK_IS_ZERO if self.samples < 3 else self._layout.colours
        sampling = sampling_of(stored) if self.samples == 3 else (1, 1)
        if sampling != (1, 1):  # also if the directory says RGB, which is never subsampled
            colours = Colours.YCBCR
        fields: Fields = {258: (8,) * self.samples, 259: (Packing.JPEG,), 262: (colours,), 277: (self.samples,)}
        if colours is Colours.YCBCR:
            fields[530] = sampling
        if self.samples in (2, 4) and colours is not Colours.CMYK:
            fields[338] = (2,)
        return fields

    def _fax_fields(self) -> Fields:
        three, four = self._layout.fax_options
        return {
            258: (1,),
            259: (self._layout.packing,),
            262: (Colours.BLACK_IS_ZERO,),
            277: (1,),
            292: (three & 7,),
            293: (four & 7,),
        }

    def _decode_file(self) -> Samples:
        """Decode a chunk that is a whole file of another format."""
        with loading():
            opener = plugin(ImageFormat.WEBP if self._layout.packing is Packing.WEBP else ImageFormat.JP2)
        image = opener(io.BytesIO(self._stored()))
        if image.size != (self.width, self.rows):
            raise unreadable("a TIFF file with a strip or tile of another size")
        pixels = np.asarray(image).reshape(self.rows, self.width, -1)
        if pixels.dtype != np.uint8 or pixels.shape[2] < self.samples:
            raise unreadable("a TIFF file with a strip or tile of another kind")
        return pixels


def _from_lzma(stored: bytes, size: int) -> bytes:
    try:
        return lzma.LZMADecompressor(memlimit=_LZMA_MEMORY).decompress(stored, size)
    except lzma.LZMAError as error:  # lzma reports broken bytes as an unsupported format
        raise unreadable("the TIFF file is broken") from error


def _open_alone(stored: bytes, size: tuple[int, int], fields: Fields, tables: bytes = b"") -> TiffImageFile:
    """Decode a chunk of a given width and height as a small TIFF file of its own."""
    longs = {256: size[0], 257: size[1], 273: _PLACE, 278: size[1], 279: len(stored)}
    values = {tag: (4, 1, struct.pack("<I", value)) for tag, value in longs.items()}
    values |= {tag: (3, len(shorts), struct.pack(f"<{len(shorts)}H", *shorts)) for tag, shorts in fields.items()}
    if tables:
        values[347] = (7, len(tables), tables)
    start = _PLACE + len(stored) + len(stored) % 2
    directory, beyond, after = struct.pack("<H", len(values)), b"", start + 6 + 12 * len(values)
    for tag, (kind, count, value) in sorted(values.items()):
        directory += struct.pack("<HHI", tag, kind, count)
        directory += value.ljust(4, b"\0") if len(value) <= 4 else struct.pack("<I", after + len(beyond))
        beyond += value if len(value) > 4 else b""
    head = struct.pack("<2sHI", b"II", 42, start)
    image = TiffImageFile(io.BytesIO(head + stored.ljust(start - _PLACE, b"\0") + directory + bytes(4) + beyond))
    image.load()
    return image


def _unpack(stored: bytes, shape: tuple[int, int, int], bits: int, order: str) -> Samples:
    """Unpack samples of `bits` bits into `shape`; each row begins at a whole byte."""
    rows, width, samples = shape
    if bits == 8:
        return np.frombuffer(stored, np.uint8).reshape(shape)
    if bits == 16:
        return np.frombuffer(stored, f"{order}u2").astype(np.uint16).reshape(shape)
    single = np.unpackbits(np.frombuffer(stored, np.uint8).reshape(rows, -1), axis=1, count=width * samples * bits)
    values = np.zeros(shape, np.uint8 if bits < 8 else np.uint16)
    single = single.reshape(*shape, bits)
    for bit in range(bits):
        values = values << 1 | single[..., bit]
    return values
