"""Regions of faces as photo managers exchange them: MWG regions, Microsoft's, and IPTC's names, in XMP."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from xml.etree import ElementTree as ET
from xml.sax.saxutils import quoteattr

from msgspec import Struct

from facecli.errors import FacecliError

Area = tuple[float, float, float, float]
"""x1, y1, x2, y2 as parts of the stored picture's width and height."""
_RDF = "http://www.w3.org/1999/02/22-rdf-syntax-ns#"
_MWG = "http://www.metadataworkinggroup.com/schemas/regions/"
_AREA, _DIMENSIONS = "http://ns.adobe.com/xmp/sType/Area#", "http://ns.adobe.com/xap/1.0/sType/Dimensions#"
_IPTC = "http://iptc.org/std/Iptc4xmpExt/2008-02-29/"
_MP, _MPRI = "http://ns.microsoft.com/photo/1.2/", "http://ns.microsoft.com/photo/1.2/t/RegionInfo#"
_MPREG = "http://ns.microsoft.com/photo/1.2/t/Region#"
MOST_BYTES = 16 << 20


class Region(Struct, frozen=True):
    """A named face in the stored picture."""

    name: str
    area: Area


class RegionSet(Struct, frozen=True):
    """What a photo's XMP data says about faces."""

    regions: tuple[Region, ...] = ()
    people: tuple[str, ...] = ()
    """IPTC's names of those in the picture."""
    toolkit: str = ""
    """The program that wrote it last."""


def turned(area: Area, orientation: int) -> Area:
    """An area of the stored picture for one of the upright picture, by its EXIF orientation, 1 to 8."""
    points = [_STORED[orientation](x, y) for x, y in (area[:2], area[2:])]
    (a, b), (c, d) = points
    return min(a, c), min(b, d), max(a, c), max(b, d)


def upright(area: Area, orientation: int) -> Area:
    """The reverse of `turned`."""
    return turned(area, {6: 8, 8: 6}.get(orientation, orientation))


_STORED = {
    1: lambda x, y: (x, y),
    2: lambda x, y: (1 - x, y),
    3: lambda x, y: (1 - x, 1 - y),
    4: lambda x, y: (x, 1 - y),
    5: lambda x, y: (y, x),
    6: lambda x, y: (y, 1 - x),
    7: lambda x, y: (1 - y, 1 - x),
    8: lambda x, y: (1 - y, x),
}


def overlap(one: Area, other: Area) -> float:
    """Intersection over union."""
    width = min(one[2], other[2]) - max(one[0], other[0])
    height = min(one[3], other[3]) - max(one[1], other[1])
    if width <= 0 or height <= 0:
        return 0.0
    both = sum((a[2] - a[0]) * (a[3] - a[1]) for a in (one, other))
    return width * height / (both - width * height)


def write_xmp(regions: Sequence[Region], people: Iterable[str], size: tuple[int, int], toolkit: str) -> bytes:
    """An XMP sidecar, an empty one without regions; `size` is width and height of the stored picture in pixels."""
    bag = "".join(_mwg_item(region) for region in regions)
    old = "".join(_mp_item(region) for region in regions)
    names = "".join(f"<rdf:li>{_text(name)}</rdf:li>" for name in people)
    spaces = {"mwg-rs": _MWG, "stArea": _AREA, "stDim": _DIMENSIONS, "Iptc4xmpExt": _IPTC}
    spaces |= {"MP": _MP, "MPRI": _MPRI, "MPReg": _MPREG}
    declared = "".join(f'\n    xmlns:{prefix}="{space}"' for prefix, space in spaces.items())
    said = (
        f"""   <mwg-rs:Regions rdf:parseType="Resource">
    <mwg-rs:AppliedToDimensions stDim:w="{size[0]}" stDim:h="{size[1]}" stDim:unit="pixel"/>
    <mwg-rs:RegionList><rdf:Bag>{bag}
    </rdf:Bag></mwg-rs:RegionList>
   </mwg-rs:Regions>
   <Iptc4xmpExt:PersonInImage><rdf:Bag>{names}</rdf:Bag></Iptc4xmpExt:PersonInImage>
   <MP:RegionInfo rdf:parseType="Resource">
    <MPRI:Regions><rdf:Bag>{old}
    </rdf:Bag></MPRI:Regions>
   </MP:RegionInfo>
"""
        if regions
        else ""
    )
    return f"""<?xpacket begin="\ufeff" id="W5M0MpCehiHzreSzNTczkc9d"?>
<x:xmpmeta xmlns:x="adobe:ns:meta/" x:xmptk={quoteattr(toolkit)}>
 <rdf:RDF xmlns:rdf="{_RDF}">
  <rdf:Description rdf:about=""{declared}>
{said}  </rdf:Description>
 </rdf:RDF>
</x:xmpmeta>
<?xpacket end="w"?>
""".encode()


def _mwg_item(region: Region) -> str:
    x1, y1, x2, y2 = region.area
    values = {"x": (x1 + x2) / 2, "y": (y1 + y2) / 2, "w": x2 - x1, "h": y2 - y1}
    area = " ".join(f'stArea:{name}="{value:.6f}"' for name, value in values.items())
    return (
        f'\n     <rdf:li><rdf:Description mwg-rs:Name={_quoted(region.name)} mwg-rs:Type="Face">'
        f'<mwg-rs:Area {area} stArea:unit="normalized"/></rdf:Description></rdf:li>'
    )


def _mp_item(region: Region) -> str:
    x1, y1, x2, y2 = region.area
    rectangle = ", ".join(f"{value:.6f}" for value in (x1, y1, x2 - x1, y2 - y1))
    return (
        f"\n     <rdf:li><rdf:Description MPReg:PersonDisplayName={_quoted(region.name)} "
        f'MPReg:Rectangle="{rectangle}"/></rdf:li>'
    )


def _quoted(text: str) -> str:
    return quoteattr(_clean(text))


def _text(text: str) -> str:
    return _clean(text).replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


def _clean(text: str) -> str:
    """Without characters that XML cannot hold."""
    return "".join(c if c.isprintable() else " " for c in text)


def read_xmp(data: bytes, where: str) -> RegionSet:
    """The regions and names in XMP data; raises FacecliError where it cannot be read.

    Named MWG regions of faces count, else Microsoft's. Data with a document type is refused, since it can expand
    without bounds.
    """
    if len(data) > MOST_BYTES or b"<!DOCTYPE" in data or b"<!ENTITY" in data:
        raise FacecliError("the sidecar is too large, or holds more than XMP", where)
    try:
        root = ET.fromstring(data.strip(b"\0 \r\n\t"))  # noqa: S314 (entities are refused above)
    except (ET.ParseError, ValueError, LookupError) as error:
        raise FacecliError("the sidecar is no XML", where) from error
    regions = tuple(_mwg_regions(root)) or tuple(_mp_regions(root))
    bags = root.iter(f"{{{_IPTC}}}PersonInImage")
    people = tuple(item.text.strip() for bag in bags for item in bag.iter(f"{{{_RDF}}}li") if item.text)
    toolkit = next((node.get("{adobe:ns:meta/}xmptk") or "" for node in root.iter("{adobe:ns:meta/}xmpmeta")), "")
    return RegionSet(regions, people, toolkit)


def _mwg_regions(root: ET.Element) -> Iterator[Region]:
    for item in _items(root, f"{{{_MWG}}}RegionList"):
        name, kind = _value(item, _MWG, "Name"), _value(item, _MWG, "Type")
        area = next(item.iter(f"{{{_MWG}}}Area"), None)
        if name and kind in ("Face", "") and area is not None:
            numbers = _numbers(_value(area, _AREA, key) for key in "xywh")
            if numbers is not None and _value(area, _AREA, "unit") in ("normalized", ""):
                x, y, w, h = numbers
                yield Region(name, (x - w / 2, y - h / 2, x + w / 2, y + h / 2))


def _mp_regions(root: ET.Element) -> Iterator[Region]:
    for item in _items(root, f"{{{_MPRI}}}Regions"):
        name = _value(item, _MPREG, "PersonDisplayName")
        numbers = _numbers(_value(item, _MPREG, "Rectangle").split(","))
        if name and numbers is not None:
            x, y, w, h = numbers
            yield Region(name, (x, y, x + w, y + h))


def _items(root: ET.Element, tag: str) -> Iterator[ET.Element]:
    return (item for bag in root.iter(tag) for item in bag.iter(f"{{{_RDF}}}li"))


def _value(node: ET.Element, space: str, name: str) -> str:
    """A property, as an attribute or an element, of a node or of the description in it."""
    tag = f"{{{space}}}{name}"
    for one in (node, *node.findall(f"{{{_RDF}}}Description")):
        text = one.get(tag) or one.findtext(tag)
        if text:
            return text.strip()
    return ""


def _numbers(texts: Iterable[str]) -> Area | None:
    try:
        x, y, w, h = map(float, texts)
    except ValueError:
        return None
    sound = all(-1 <= number <= 2 for number in (x, y, w, h)) and w > 0 and h > 0
    return (x, y, w, h) if sound else None
