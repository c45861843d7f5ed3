"""Read the regions and names of faces from XMP data; it may be anybody's."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from xml.etree import ElementTree as ET

from facecli.errors import FacecliError
from facecli.regions import AREA, DIMENSIONS, IPTC, MPREG, MPRI, MWG, RDF, Area, Region, RegionSet, write_xmp

MWG_NAME, MP_NAME = (MWG, "Name"), (MPREG, "PersonDisplayName")
MOST_BYTES = 16 << 20
MOST_REGIONS = 2000
"""More than the people in any photo; each is compared with each."""
_WIDE = (b"\xff\xfe", b"\xfe\xff")
"""The beginnings of UTF-16, of which a zero byte is part."""


def read_xmp(data: bytes, where: str) -> RegionSet:
    """The regions and names in XMP data; raises FacecliError where it cannot be read.

    Named MWG regions of faces count, else Microsoft's.
    """
    root = parse_xmp(data, where)
    mwg, mp = [_mwg_region(item) for item in mwg_items(root)], [_mp_region(item) for item in mp_items(root)]
    if max(len(mwg), len(mp)) > MOST_REGIONS:
        raise FacecliError("more regions than a photo has faces", where)
    regions = tuple(filter(None, mwg)) or tuple(filter(None, mp))
    toolkit = next((node.get("{adobe:ns:meta/}xmptk") or "" for node in root.iter("{adobe:ns:meta/}xmpmeta")), "")
    plain = None not in mwg and names_used(root) <= names_used(_parsed(_SAMPLE))
    return RegionSet(regions, people_named(root), toolkit, _size(root), plain)


class _Untyped(ET.TreeBuilder):
    def doctype(self, *_: object) -> None:
        """Refuse a document type, in any encoding: it can expand without bounds."""
        raise ValueError("a document type")


def parse_xmp(data: bytes, where: str) -> ET.Element:
    """XMP data as a tree; raises FacecliError where it is none."""
    if len(data) > MOST_BYTES:
        raise FacecliError("too large for XMP", where)
    try:
        return _parsed(data)
    except (ET.ParseError, ValueError, LookupError) as error:
        raise FacecliError("no XML, or more than XMP", where) from error


def _parsed(data: bytes) -> ET.Element:
    parser = ET.XMLParser(target=_Untyped())  # noqa: S314 (entities need a document type)
    parser.feed(data if data.startswith(_WIDE) else data.strip(b"\0 \r\n\t"))
    root: ET.Element = parser.close()
    return root


def mwg_items(root: ET.Element) -> Iterator[ET.Element]:
    """The items of the lists of MWG regions."""
    return _items(root, f"{{{MWG}}}RegionList")


def mp_items(root: ET.Element) -> Iterator[ET.Element]:
    """The items of Microsoft's lists of regions."""
    return _items(root, f"{{{MPRI}}}Regions")


def people_named(root: ET.Element) -> tuple[str, ...]:
    """IPTC's names of those in the picture."""
    items = _items(root, f"{{{IPTC}}}PersonInImage")
    return tuple(text for item in items if (text := (item.text or "").strip()))


def _items(root: ET.Element, tag: str) -> Iterator[ET.Element]:
    """The items of the lists of a name; not of lists deeper in these, which would take the square of the time."""
    return (item for listed in root.iter(tag) for bag in listed for item in bag if item.tag == f"{{{RDF}}}li")


def mwg_area(item: ET.Element) -> Area | None:
    """Where an MWG region of a face is; None if it is no face, or nowhere."""
    area = _area_of(item)
    if area is None or _value(item, MWG, "Type") not in ("Face", ""):
        return None
    numbers = _numbers(_value(area, AREA, key) for key in "xywh")
    if numbers is None or _value(area, AREA, "unit") not in ("normalized", ""):
        return None
    x, y, w, h = numbers
    return x - w / 2, y - h / 2, x + w / 2, y + h / 2


def mp_area(item: ET.Element) -> Area | None:
    """Where one of Microsoft's regions is."""
    numbers = _numbers(_value(item, MPREG, "Rectangle").split(","))
    if numbers is None:
        return None
    x, y, w, h = numbers
    return x, y, x + w, y + h


def _mwg_region(item: ET.Element) -> Region | None:
    name, area = _value(item, *MWG_NAME), mwg_area(item)
    return Region(name, area) if name and area is not None else None


def _mp_region(item: ET.Element) -> Region | None:
    name, area = _value(item, *MP_NAME), mp_area(item)
    return Region(name, area) if name and area is not None else None


def rename(item: ET.Element, place: tuple[str, str], name: str) -> str:
    """Give the region of an item a name, where it has none or another one; returns the one before."""
    before, tag = _value(item, *place), f"{{{place[0]}}}{place[1]}"
    nodes = _nodes(item)
    for node in nodes:
        node.attrib.pop(tag, None)
        for old in node.findall(tag):
            node.remove(old)
    ET.SubElement(nodes[-1], tag).text = name
    return before


def _size(root: ET.Element) -> tuple[float, float] | None:
    """The size of the picture that MWG regions are parts of, as the data says."""
    for node in root.iter(f"{{{MWG}}}AppliedToDimensions"):
        try:
            width, height = (float(_value(node, DIMENSIONS, side)) for side in "wh")
        except ValueError:
            continue
        if 0 < width < 1e9 and 0 < height < 1e9:
            return width, height
    return None


def names_used(root: ET.Element) -> set[str]:
    """The names of all elements and attributes."""
    return {name for node in root.iter() for name in (node.tag, *node.attrib)}


def _nodes(node: ET.Element) -> tuple[ET.Element, ...]:
    """A node and the description in it: either may hold its properties."""
    return (node, *node.findall(f"{{{RDF}}}Description"))


def _area_of(item: ET.Element) -> ET.Element | None:
    found = (one.find(f"{{{MWG}}}Area") for one in _nodes(item))
    return next((area for area in found if area is not None), None)


def _value(node: ET.Element, space: str, name: str) -> str:
    """A property, as an attribute or an element, of a node or of the description in it."""
    tag = f"{{{space}}}{name}"
    for one in _nodes(node):
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


_SAMPLE = write_xmp([Region("-", (0, 0, 1, 1))], ["-"], (1, 1), "-")
"""All that facecli writes."""
