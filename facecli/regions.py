"""Regions of faces as photo managers exchange them: MWG regions, Microsoft's, and IPTC's names, written as XMP."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from xml.sax.saxutils import quoteattr

from msgspec import Struct

from facecli.wording import is_shown

Area = tuple[float, float, float, float]
"""x1, y1, x2, y2 as parts of the stored picture's width and height."""
RDF = "http://www.w3.org/1999/02/22-rdf-syntax-ns#"
MWG = "http://www.metadataworkinggroup.com/schemas/regions/"
AREA, DIMENSIONS = "http://ns.adobe.com/xmp/sType/Area#", "http://ns.adobe.com/xap/1.0/sType/Dimensions#"
IPTC = "http://iptc.org/std/Iptc4xmpExt/2008-02-29/"
MP, MPRI = "http://ns.microsoft.com/photo/1.2/", "http://ns.microsoft.com/photo/1.2/t/RegionInfo#"
MPREG = "http://ns.microsoft.com/photo/1.2/t/Region#"
SAME = 0.5
"""The least IoU of two regions of one face."""


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
    size: tuple[float, float] | None = None
    """The size of the picture that the regions are parts of, in any unit."""
    plain: bool = True
    """Whether it holds nothing but what `write_xmp` writes."""


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


class RegionItems(Struct, frozen=True):
    """Items of both kinds of lists as XML."""

    mwg: tuple[str, ...] = ()
    mp: tuple[str, ...] = ()


def region_items(mwg: Iterable[Region], mp: Iterable[Region]) -> RegionItems:
    """The items of regions."""
    return RegionItems(tuple(map(_mwg_item, mwg)), tuple(map(_mp_item, mp)))


def write_xmp(regions: Sequence[Region], people: Iterable[str], size: tuple[int, int], toolkit: str) -> bytes:
    """An XMP sidecar, an empty one without regions; `size` is width and height of the stored picture in pixels."""
    return write_items(region_items(regions, regions), people, size, toolkit)


def write_items(items: RegionItems, people: Iterable[str], size: tuple[int, int], toolkit: str) -> bytes:
    """An XMP sidecar of these items; an empty one without any."""
    bag, old = "".join(items.mwg), "".join(items.mp)
    names = "".join(f"<rdf:li>{_text(name)}</rdf:li>" for name in people)
    spaces = {"mwg-rs": MWG, "stArea": AREA, "stDim": DIMENSIONS, "Iptc4xmpExt": IPTC}
    spaces |= {"MP": MP, "MPRI": MPRI, "MPReg": MPREG}
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
        if bag or old
        else ""
    )
    return f"""<?xpacket begin="\ufeff" id="W5M0MpCehiHzreSzNTczkc9d"?>
<x:xmpmeta xmlns:x="adobe:ns:meta/" x:xmptk={quoteattr(toolkit)}>
 <rdf:RDF xmlns:rdf="{RDF}">
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
    return text if is_shown(text) else "".join(c if c.isprintable() else " " for c in text)
